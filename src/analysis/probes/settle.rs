//! What the results of the probes of one trial mean together: a table whose first matching line holds.

use std::fmt;

use super::paired::Change;
use crate::trial::Cause;

/// Why a trial went flat, found by experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settled {
    /// It cannot memorise even one batch.
    Architecture,
    RateTooHigh,
    RateTooLow,
    RateExhausted,
    AugmentationTooStrong,
    DataVariety,
    /// It can memorise a batch, and does as well without its inputs.
    Labels,
    /// It can memorise a batch and uses its inputs, and no probe lowers the loss.
    Floor,
    /// The results do not settle it, or some are missing.
    Open,
}

/// The results of the probes of one trial. None where a probe was not run or has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answers {
    pub lr_down: Option<Change>,
    pub lr_up: Option<Change>,
    /// Run only where the learning rate had fallen far below its peak.
    pub lr_peak: Option<Change>,
    pub augmentation_off: Option<Change>,
    pub augmentation_on: Option<Change>,
    pub blank: Option<Change>,
    /// Whether one batch is memorised at the trial's own peak learning rate.
    pub one_batch: Option<bool>,
    /// The same at a usual learning rate. Run only where that is another one.
    pub one_batch_usual: Option<bool>,
    /// Whether the trial's peak learning rate is above the usual one.
    pub above_usual: bool,
}

impl Settled {
    /// The first line of the table that holds.
    #[must_use]
    pub fn by(answers: &Answers) -> Self {
        use Change::{Lowered, Raised, Undetected};
        let own = answers.one_batch;
        let fits = own == Some(true) || answers.one_batch_usual == Some(true);
        match answers {
            Answers { one_batch: Some(false), one_batch_usual: None | Some(false), .. } => Self::Architecture,
            Answers { lr_down: Some(Lowered), .. } => Self::RateTooHigh,
            Answers { one_batch: Some(false), one_batch_usual: Some(true), above_usual, .. } => {
                if *above_usual {
                    Self::RateTooHigh
                } else {
                    Self::RateTooLow
                }
            }
            Answers { lr_peak: Some(Lowered), .. } | Answers { lr_peak: Some(_), lr_up: Some(Lowered), .. } => {
                Self::RateExhausted
            }
            Answers { lr_up: Some(Lowered), .. } => Self::RateTooLow,
            Answers { augmentation_off: Some(Lowered), .. } => Self::AugmentationTooStrong,
            Answers { augmentation_on: Some(Lowered), .. } => Self::DataVariety,
            Answers { blank: Some(Undetected), .. } if fits => Self::Labels,
            Answers { blank: Some(Raised), lr_down: Some(_), lr_up: Some(_), .. } if fits => Self::Floor,
            _ => Self::Open,
        }
    }

    /// Stable name.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Architecture => "ARCHITECTURE",
            Self::RateTooHigh => "RATE_TOO_HIGH",
            Self::RateTooLow => "RATE_TOO_LOW",
            Self::RateExhausted => "RATE_EXHAUSTED",
            Self::AugmentationTooStrong => "AUGMENTATION_TOO_STRONG",
            Self::DataVariety => "DATA_VARIETY",
            Self::Labels => "LABELS",
            Self::Floor => "FLOOR",
            Self::Open => "OPEN",
        }
    }

    /// The cause in a few words.
    #[must_use]
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Architecture => "architecture or disconnected parameters",
            Self::RateTooHigh => "the learning rate is too high",
            Self::RateTooLow => "the learning rate is too low",
            Self::RateExhausted => "the schedule ended too early",
            Self::AugmentationTooStrong => "the augmentation is too strong",
            Self::DataVariety => "too little variety in the data",
            Self::Labels => "labels unrelated to the inputs",
            Self::Floor => "labels and data allow no lower loss",
            Self::Open => "not settled",
        }
    }

    /// Why that follows, and what to do.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Architecture => {
                "it cannot memorise 16 examples: check model.freeze, optimizer.eps, max_grad_norm, dropout, data.max_length and \
                 parameters without a gradient"
            }
            Self::RateTooHigh => {
                "a lower learning rate gets below the plateau: lower lr, or let the schedule decay further"
            }
            Self::RateTooLow => "a higher learning rate learns faster: use 3 times the lr, or train longer",
            Self::RateExhausted => {
                "at a higher learning rate the loss falls again: train longer, or let the schedule end above zero \
                 (scheduler: {name: cosine_with_min_lr, min_lr_ratio: 0.1})"
            }
            Self::AugmentationTooStrong => "without it the loss of clean training examples falls: halve its rate",
            Self::DataVariety => "augmentation lowers the eval loss at once: augment, or label more texts",
            Self::Labels => {
                "it can memorise a batch, and its loss does not rise when its inputs are blanked: look for labels that are \
                 shuffled, shifted by a row, or from another column"
            }
            Self::Floor => {
                "neither learning rate nor architecture is the limit: near zero, nothing is left to learn; otherwise check the \
                 labels of the examples with the highest loss, or add data"
            }
            Self::Open => "the results do not point to one cause",
        }
    }
}

/// Causes that rest on a setting or on a signal of their own, not on the course of the loss. They explain whatever the probes
/// of such a trial find.
const SEEN_DIRECTLY: &[Cause] = &[
    Cause::NonFinite,
    Cause::Frozen,
    Cause::BadInit,
    Cause::Explode,
    Cause::Vanish,
    Cause::AugTooStrong,
    Cause::DropoutTooStrong,
    Cause::DecayTooStrong,
    Cause::Imbalanced,
    Cause::Truncated,
    Cause::WarmupTooLong,
    Cause::ClipBound,
    Cause::NoisyBatches,
    Cause::LabelFloor,
];

/// The primary cause of a trial after its probes, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// The cause that a rule found explains the results of the probes.
    Explains(Cause),
    /// The probes say the same as the rule, and the rule is more exact.
    Confirmed(Cause),
    /// The probes settled it. The curves alone led to another cause, or to none.
    Settled(Settled, Option<Cause>),
    /// The cause that a rule found; the probes do not contradict it.
    Kept(Cause),
    /// Neither the rules nor the probes found a fault.
    NoFault,
}

impl Conclusion {
    /// `own`: the primary cause that the trial's rules found.
    #[must_use]
    pub fn of(settled: Settled, own: Option<Cause>) -> Self {
        match (own, settled) {
            (None, Settled::Open | Settled::Floor) => Self::NoFault,
            (Some(own), Settled::Open | Settled::Floor) => Self::Kept(own),
            (Some(own), _) if SEEN_DIRECTLY.contains(&own) => Self::Explains(own),
            (Some(own), _) if settled.is_refined_by(own) => Self::Confirmed(own),
            _ => Self::Settled(settled, own),
        }
    }

    /// Stable name of the primary cause, if there is one.
    #[must_use]
    pub fn id(self) -> Option<&'static str> {
        match self {
            Self::Explains(own) | Self::Confirmed(own) | Self::Kept(own) => Some(own.name()),
            Self::Settled(settled, _) => Some(settled.id()),
            Self::NoFault => None,
        }
    }
}

impl fmt::Display for Conclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Explains(own) => write!(f, "primary cause: {own}, which explains the results"),
            Self::Confirmed(own) => write!(f, "primary cause: {own}, confirmed"),
            Self::Settled(settled, Some(own)) => {
                write!(f, "primary cause: {} (by the curves alone: {own})", settled.id())
            }
            Self::Settled(settled, None) => write!(f, "primary cause: {}", settled.id()),
            Self::Kept(own) => write!(f, "primary cause: {own}, as by the curves alone"),
            Self::NoFault => f.write_str("no fault found"),
        }
    }
}

impl Settled {
    /// Whether a rule's cause names the same fault more exactly.
    fn is_refined_by(self, own: Cause) -> bool {
        let closer: &[Cause] = match self {
            Self::RateTooHigh => &[Cause::Overshoot, Cause::AfterWarmup, Cause::Collapsed, Cause::NoiseFloor],
            Self::RateTooLow => &[Cause::TooSlow],
            Self::RateExhausted => &[Cause::LrExhausted],
            Self::DataVariety => &[Cause::Overfit, Cause::Memorised],
            Self::Labels => &[Cause::Memorised],
            _ => &[],
        };
        closer.contains(&own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Change::{Lowered, Raised, Undetected};

    /// A healthy trial at its floor. Every case below changes some of its results.
    const FLOOR: Answers = Answers {
        lr_down: Some(Undetected),
        lr_up: Some(Raised),
        lr_peak: None,
        augmentation_off: None,
        augmentation_on: Some(Undetected),
        blank: Some(Raised),
        one_batch: Some(true),
        one_batch_usual: None,
        above_usual: false,
    };

    fn check(answers: Answers, expected: Settled) {
        assert_eq!(Settled::by(&answers), expected, "{answers:?}");
    }

    #[test]
    fn the_table() {
        let above = Answers { above_usual: true, ..FLOOR };
        check(FLOOR, Settled::Floor);
        check(Answers { one_batch: Some(false), ..FLOOR }, Settled::Architecture);
        check(Answers { one_batch: Some(false), one_batch_usual: Some(false), ..above }, Settled::Architecture);
        check(Answers { one_batch: Some(false), one_batch_usual: Some(true), ..above }, Settled::RateTooHigh);
        check(Answers { one_batch: Some(false), one_batch_usual: Some(true), ..FLOOR }, Settled::RateTooLow);
        check(Answers { lr_down: Some(Lowered), ..FLOOR }, Settled::RateTooHigh);
        check(Answers { lr_up: Some(Lowered), ..FLOOR }, Settled::RateTooLow);
        check(Answers { lr_up: Some(Lowered), lr_peak: Some(Undetected), ..FLOOR }, Settled::RateExhausted);
        check(Answers { lr_peak: Some(Lowered), ..FLOOR }, Settled::RateExhausted);
        check(Answers { lr_peak: Some(Raised), ..FLOOR }, Settled::Floor);
        check(Answers { augmentation_on: Some(Lowered), ..FLOOR }, Settled::DataVariety);
        let augmented = Answers { augmentation_on: None, augmentation_off: Some(Lowered), ..FLOOR };
        check(augmented, Settled::AugmentationTooStrong);
        check(Answers { blank: Some(Undetected), ..FLOOR }, Settled::Labels);
        check(Answers { blank: Some(Lowered), ..FLOOR }, Settled::Open);
    }

    #[test]
    fn a_cause_seen_directly_is_kept_and_a_guessed_one_is_replaced() {
        let check = |settled: Settled, own: Option<Cause>, id: Option<&str>, words: &str| {
            let found = Conclusion::of(settled, own);
            assert_eq!((found.id(), found.to_string().as_str()), (id, words));
        };
        let high = Settled::RateTooHigh;
        check(
            high,
            Some(Cause::Stalled),
            Some("RATE_TOO_HIGH"),
            "primary cause: RATE_TOO_HIGH (by the curves alone: STALLED)",
        );
        check(high, None, Some("RATE_TOO_HIGH"), "primary cause: RATE_TOO_HIGH");
        check(high, Some(Cause::Overshoot), Some("OVERSHOOT"), "primary cause: OVERSHOOT, confirmed");
        check(high, Some(Cause::Truncated), Some("TRUNCATED"), "primary cause: TRUNCATED, which explains the results");
        check(
            high,
            Some(Cause::LabelFloor),
            Some("LABEL_FLOOR"),
            "primary cause: LABEL_FLOOR, which explains the results",
        );
        check(Settled::Floor, Some(Cause::Stalled), Some("STALLED"), "primary cause: STALLED, as by the curves alone");
        check(Settled::Open, None, None, "no fault found");
    }

    #[test]
    fn missing_results_settle_nothing() {
        check(Answers::default(), Settled::Open);
        check(Answers { one_batch: None, ..FLOOR }, Settled::Open);
        check(Answers { lr_up: None, ..FLOOR }, Settled::Open);
        check(Answers { blank: None, ..FLOOR }, Settled::Open);
    }
}
