//! What the answers of probes mean together: a table, from the surest reading to the last.

use std::fmt;

use super::Change;

/// Why a trial went flat, settled by experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settled {
    /// It cannot learn even one batch by heart.
    Architecture,
    RateTooHigh,
    RateTooLow,
    RateExhausted,
    AugmentationTooStrong,
    DataVariety,
    /// It can learn, and does as well without its inputs.
    Labels,
    /// It can learn and uses its inputs, and nothing that was tried lowers the loss.
    Floor,
    /// The answers do not settle it, or not all are there.
    Open,
}

/// What the probes of one trial found; None where a probe was not asked or has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answers {
    pub lr_down: Option<Change>,
    pub lr_up: Option<Change>,
    /// Asked only where the rate had fallen far below its peak.
    pub lr_peak: Option<Change>,
    pub augmentation_off: Option<Change>,
    pub augmentation_on: Option<Change>,
    pub blank: Option<Change>,
    /// Whether one batch is learnt by heart at the trial's own peak rate.
    pub one_batch: Option<bool>,
    /// The same at a usual rate; asked only where that is another one.
    pub one_batch_usual: Option<bool>,
    /// Whether the trial's peak is above the usual rate.
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
            Self::RateTooHigh => "the rate is too high",
            Self::RateTooLow => "the rate is too low",
            Self::RateExhausted => "the schedule has run out of rate",
            Self::AugmentationTooStrong => "the augmentation is too strong",
            Self::DataVariety => "too little variety in the data",
            Self::Labels => "labels that have nothing to do with the inputs",
            Self::Floor => "the labels and data allow no less",
            Self::Open => "not settled",
        }
    }

    /// Why that follows, and what to do.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Architecture => {
                "it cannot learn 16 examples by heart: look at model.freeze, optimizer.eps, max_grad_norm, dropout and \
                 data.max_length, and at parameters that get no gradient"
            }
            Self::RateTooHigh => "a lower rate gets below the plateau: lower lr, or let the schedule decay further",
            Self::RateTooLow => "a higher rate learns faster: raise lr by 3, or train longer",
            Self::RateExhausted => {
                "with the rate back up the loss falls again: train longer, or let the schedule end above zero \
                 (scheduler: {name: cosine_with_min_lr, min_lr_ratio: 0.1})"
            }
            Self::AugmentationTooStrong => "without it the loss of clean texts falls: halve its rate",
            Self::DataVariety => "augmentation lowers the eval loss at once: augment, or label more texts",
            Self::Labels => {
                "it can learn by heart, and loses nothing when its inputs are blanked: look for labels that are shuffled, \
                 shifted by a row, or of another column"
            }
            Self::Floor => {
                "neither the rate nor the architecture is the limit: near zero nothing is left to learn; else look at the \
                 examples with the highest loss, relabel, or add data"
            }
            Self::Open => "what was found does not point to one cause",
        }
    }
}

/// Causes that rest on a setting or on a signal of their own, not on the course of the loss: what the probes of such a trial
/// find follows from them.
const SEEN_BY_THEMSELVES: &[&str] = &[
    "NONFINITE",
    "FROZEN",
    "BAD_INIT",
    "EXPLODE",
    "VANISH",
    "AUG_TOO_STRONG",
    "DROPOUT_TOO_STRONG",
    "DECAY_TOO_STRONG",
    "IMBALANCED",
    "TRUNCATED",
    "WARMUP_TOO_LONG",
    "CLIP_BOUND",
    "NOISY_BATCHES",
];

/// The cause of a trial after its probes, and how it came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion<'a> {
    /// The cause that a rule found stands: it explains what the probes found.
    Explains(&'a str),
    /// The probes say the same as the rule, which says it more closely.
    Confirmed(&'a str),
    /// The probes settled it, in place of what the curves alone said, if anything.
    Settled(Settled, Option<&'a str>),
    /// The probes do not speak against it.
    Unshaken(&'a str),
    /// Neither the rules nor the probes found a fault.
    NoFault,
}

impl<'a> Conclusion<'a> {
    /// `own`: the id of the primary cause that the trial's rules found.
    #[must_use]
    pub fn of(settled: Settled, own: Option<&'a str>) -> Self {
        match (own, settled) {
            (None, Settled::Open | Settled::Floor) => Self::NoFault,
            (Some(own), Settled::Open | Settled::Floor) => Self::Unshaken(own),
            (Some(own), _) if SEEN_BY_THEMSELVES.contains(&own) => Self::Explains(own),
            (Some(own), _) if settled.is_said_by(own) => Self::Confirmed(own),
            _ => Self::Settled(settled, own),
        }
    }

    /// Of the primary cause, if there is one.
    #[must_use]
    pub fn id(self) -> Option<&'a str> {
        match self {
            Self::Explains(own) | Self::Confirmed(own) | Self::Unshaken(own) => Some(own),
            Self::Settled(settled, _) => Some(settled.id()),
            Self::NoFault => None,
        }
    }
}

impl fmt::Display for Conclusion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Explains(own) => write!(f, "primary cause: {own}, which explains this"),
            Self::Confirmed(own) => write!(f, "primary cause: {own}, confirmed"),
            Self::Settled(settled, Some(own)) => {
                write!(f, "primary cause: {} (by its curves alone {own})", settled.id())
            }
            Self::Settled(settled, None) => write!(f, "primary cause: {}", settled.id()),
            Self::Unshaken(own) => write!(f, "primary cause: {own}, as by its curves alone"),
            Self::NoFault => f.write_str("no fault found"),
        }
    }
}

impl Settled {
    /// Whether a rule's cause is a closer word for the same.
    fn is_said_by(self, own: &str) -> bool {
        let closer: &[&str] = match self {
            Self::RateTooHigh => &["OVERSHOOT", "AFTER_WARMUP", "COLLAPSED", "NOISE_FLOOR"],
            Self::RateTooLow => &["TOO_SLOW"],
            Self::RateExhausted => &["LR_EXHAUSTED"],
            Self::DataVariety => &["OVERFIT", "MEMORISED"],
            Self::Labels => &["MEMORISED", "LABEL_FLOOR"],
            _ => &[],
        };
        closer.contains(&own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Change::{Lowered, Raised, Undetected};

    /// A healthy trial at its floor: every case below changes some answers of it.
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
    fn a_cause_that_was_seen_stands_and_one_that_was_guessed_yields() {
        let check = |settled: Settled, own: Option<&str>, id: Option<&str>, words: &str| {
            let found = Conclusion::of(settled, own);
            assert_eq!((found.id(), found.to_string().as_str()), (id, words));
        };
        let high = Settled::RateTooHigh;
        check(
            high,
            Some("STALLED"),
            Some("RATE_TOO_HIGH"),
            "primary cause: RATE_TOO_HIGH (by its curves alone STALLED)",
        );
        check(high, None, Some("RATE_TOO_HIGH"), "primary cause: RATE_TOO_HIGH");
        check(high, Some("OVERSHOOT"), Some("OVERSHOOT"), "primary cause: OVERSHOOT, confirmed");
        check(high, Some("TRUNCATED"), Some("TRUNCATED"), "primary cause: TRUNCATED, which explains this");
        check(Settled::Floor, Some("STALLED"), Some("STALLED"), "primary cause: STALLED, as by its curves alone");
        check(Settled::Open, None, None, "no fault found");
    }

    #[test]
    fn what_is_not_known_settles_nothing() {
        check(Answers::default(), Settled::Open);
        check(Answers { one_batch: None, ..FLOOR }, Settled::Open);
        check(Answers { lr_up: None, ..FLOOR }, Settled::Open);
        check(Answers { blank: None, ..FLOOR }, Settled::Open);
    }
}
