//! The names of verdicts: the shape of an evaluation loss ([`ShapeKind`]) and its cause ([`Cause`]).
//!
//! Each name is stable: `outcome.json` and `trials.csv` contain it. The short texts for people are here too, so that a
//! name and its title are made in one place. Old or newer files may hold a name that this version does not know:
//! [`VerdictId::Other`] keeps it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Declares an enum of names with their stable text and a short title.
macro_rules! names {
    ($(#[$meta:meta])* $enum:ident { $($variant:ident = $name:literal: $title:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $enum { $($variant,)* }

        impl $enum {
            /// All of them, in the order of this table.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// A few words for people, to be used in tables and counts.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// The inverse of [`Self::name`].
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.name() == name)
            }
        }

        impl fmt::Display for $enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

names! {
    /// What became of an evaluation loss.
    ShapeKind {
        Plateaued = "plateaued": "plateaued",
        StillImproving = "still_improving": "still improving",
        Overfits = "overfits": "overfits",
        Collapsed = "collapsed": "collapsed",
        Stuck = "stuck_at_chance": "stuck at chance",
        Overconfident = "overconfident": "over-confident",
        NotFinite = "nan": "NaN",
        Diverged = "diverged": "diverged",
        Failed = "failed_to_run": "failed to run",
        Unfinished = "unfinished": "unfinished",
        TooShort = "too_short": "too short",
    }
}

impl ShapeKind {
    /// The title for a narrow column.
    #[must_use]
    pub fn short_title(self) -> &'static str {
        if self == Self::Stuck { "stuck" } else { self.title() }
    }

    /// Whether a trial of this shape ended without a usable model. Its losses stay out of every mean.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Collapsed | Self::Stuck | Self::NotFinite | Self::Diverged | Self::Failed)
    }
}

names! {
    /// What a rule says about a trial: a reason why its loss does not fall, or a note. [`VerdictKind`](super::VerdictKind)
    /// tells which of the two; some rules give either.
    Cause {
        NonFinite = "NONFINITE": "NaN or infinite values",
        ZeroLoss = "ZERO_LOSS": "the loss drops to exactly zero",
        PriorShift = "PRIOR_SHIFT": "train and eval have different class frequencies",
        MissingClass = "MISSING_CLASS": "a class has no training examples",
        LeakedRows = "LEAKED_ROWS": "evaluation examples are in the training data",
        Frozen = "FROZEN": "nothing is trained, or the head alone",
        BadInit = "BAD_INIT": "wrong loss at the start",
        Explode = "EXPLODE": "exploding gradients",
        AugTooStrong = "AUG_TOO_STRONG": "the augmentation is too strong",
        DropoutTooStrong = "DROPOUT_TOO_STRONG": "dropout is too strong",
        DecayTooStrong = "DECAY_TOO_STRONG": "weight decay is too strong",
        AfterWarmup = "AFTER_WARMUP": "the peak learning rate is too high",
        Diverged = "DIVERGED": "the loss diverges at the end",
        Overshoot = "OVERSHOOT": "the learning rate is too high",
        Imbalanced = "IMBALANCED": "one class has nearly all labels",
        Collapsed = "COLLAPSED": "the model collapsed to the class prior",
        Vanish = "VANISH": "vanishing gradients",
        Truncated = "TRUNCATED": "texts are cut too short",
        WarmupTooLong = "WARMUP_TOO_LONG": "the warm-up takes too much of the run",
        LrExhausted = "LR_EXHAUSTED": "the schedule ended too early",
        PriorStuck = "PRIOR_STUCK": "stuck at the class prior",
        NeverFell = "NEVER_FELL": "the loss never falls",
        Memorised = "MEMORISED": "the training set is memorised",
        ClipBound = "CLIP_BOUND": "gradient clipping is too strict",
        NoisyBatches = "NOISY_BATCHES": "batches are too small",
        TooSlow = "TOO_SLOW": "the learning rate is too low or the run too short",
        NoiseFloor = "NOISE_FLOOR": "the learning rate stays too high at the end",
        LabelFloor = "LABEL_FLOOR": "wrong labels",
        Overfit = "OVERFIT": "overfitting",
        UpdateRatio = "UPDATE_RATIO": "steps of the wrong size",
        Stalled = "STALLED": "a floor that the learning rate does not explain",
        Spikes = "SPIKES": "loss spikes",
        EscapedLate = "ESCAPED_LATE": "late start of learning",
        CalibrationOnly = "CALIBRATION_ONLY": "over-confident predictions",
        Overconfident = "OVERCONFIDENT": "over-confident from the first evaluation",
        Wasted = "WASTED": "most of the run gained nothing",
        EvalNoisy = "EVAL_NOISY": "noisy evaluations",
        Unresolved = "UNRESOLVED": "unresolved whether the loss is flat",
        SmallerMicroBatches = "SMALLER_MICRO_BATCHES": "smaller micro-batches after running out of memory",
        StoppedFlat = "STOPPED_FLAT": "stopped on a plateau",
        Healthy = "HEALTHY": "no fault",
        TooShort = "TOO_SHORT": "too short to judge",
        Unexplained = "UNEXPLAINED": "failed, and no rule says why",
        Unfinished = "UNFINISHED": "not finished",
        Failed = "FAILED": "failed to run",
    }
}

/// Why a verdict with several possible reasons holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    RateTooHigh,
    RateTooLow,
    /// The eps of Adam is so large that it shrinks every step.
    EpsTooLarge,
    /// Neither the learning rate nor the gradients explain it: the inputs may be unrelated to the labels, or not reach the
    /// model.
    Inputs,
    /// The encoder is frozen, and the head alone is trained.
    Encoder,
    /// The weights are broken before the first step.
    Start,
    /// The schedule spent its learning rate in the first half of the steps.
    SpentEarly,
    /// The same losses return in every epoch.
    Repeats,
}

/// The name of a verdict. Written as one string.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum VerdictId {
    Shape(ShapeKind),
    Cause(Cause),
    /// A name that this version does not know.
    Other(String),
}

impl VerdictId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Shape(shape) => shape.name(),
            Self::Cause(cause) => cause.name(),
            Self::Other(name) => name,
        }
    }

    /// The shape, if it is one.
    #[must_use]
    pub fn shape(&self) -> Option<ShapeKind> {
        match self {
            Self::Shape(shape) => Some(*shape),
            _ => None,
        }
    }

    /// The rule's name, if it is one.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Cause(cause) => Some(*cause),
            _ => None,
        }
    }
}

impl From<ShapeKind> for VerdictId {
    fn from(shape: ShapeKind) -> Self {
        Self::Shape(shape)
    }
}

impl From<Cause> for VerdictId {
    fn from(cause: Cause) -> Self {
        Self::Cause(cause)
    }
}

impl PartialEq<ShapeKind> for VerdictId {
    fn eq(&self, other: &ShapeKind) -> bool {
        self.shape() == Some(*other)
    }
}

impl PartialEq<Cause> for VerdictId {
    fn eq(&self, other: &Cause) -> bool {
        self.cause() == Some(*other)
    }
}

impl fmt::Display for VerdictId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for VerdictId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for VerdictId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = ShapeKind::parse(&name).map(Self::Shape).or_else(|| Cause::parse(&name).map(Self::Cause));
        Ok(known.unwrap_or(Self::Other(name)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_reads_back_as_itself() {
        let ids = ShapeKind::ALL.iter().map(|&shape| VerdictId::from(shape));
        let ids: Vec<VerdictId> = ids.chain(Cause::ALL.iter().map(|&cause| cause.into())).collect();
        let names: BTreeSet<&str> = ids.iter().map(VerdictId::as_str).collect();
        assert_eq!(names.len(), ids.len(), "names are unique");
        for id in &ids {
            let json = serde_json::to_string(id).unwrap();
            assert_eq!((serde_json::from_str::<VerdictId>(&json).unwrap(), json), (id.clone(), format!("\"{id}\"")));
        }
    }

    #[test]
    fn an_unknown_name_is_kept() {
        let id: VerdictId = serde_json::from_str("\"NOT_YET_KNOWN\"").unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"NOT_YET_KNOWN\"");
        assert!(id != Cause::Healthy && id.shape().is_none());
    }
}
