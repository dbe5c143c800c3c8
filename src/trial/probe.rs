//! Probes: trials that ask a question about another one. What they change is ordinary configuration; here stands where they
//! start, and what no sweep file can say.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AxisValue, TrialId};

/// What makes a trial a probe of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The trial that is asked about.
    pub trial: TrialId,
    /// Steps of it after which the question is asked. A fork goes on from the state that it had then: it reads the batches
    /// and draws the randomness of the steps that follow.
    pub step: u64,
    pub kind: ProbeKind,
}

/// The question: what is different from simply going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// Nothing, and nothing is asked: the trial itself up to the step, to have its state.
    Approach,
    /// Nothing: the rate stays what it was. What the other forks are compared with.
    Control,
    /// A tenth of the rate.
    LrDown,
    /// Three times the rate.
    LrUp,
    /// The peak of the trial's schedule, where the rate has fallen far below it.
    LrPeak,
    AugmentationOff,
    AugmentationOn,
    /// Every text empty.
    Blank,
    /// From the start, [`Probe::EXAMPLES`] examples again and again at the trial's own peak rate.
    OneBatch,
    /// The same at a rate that fine-tunes most models.
    OneBatchUsualLr,
}

impl Probe {
    /// Key of the kind among the values of a probe.
    pub const KIND: &'static str = "probe";
    /// Key of the probed trial.
    pub const TRIAL: &'static str = "trial";
    /// Examples that a model able to learn learns by heart.
    pub const EXAMPLES: usize = 16;
    /// In at most so many steps.
    pub const STEPS: u64 = 1000;
    /// Steps between looks at whether it has.
    pub const LOOK: u64 = 10;
    /// Accuracy on them that is enough: 5 % error.
    pub const FITTED: f32 = 0.95;

    /// Steps of the probed trial that went before the first one of this.
    #[must_use]
    pub fn offset(&self) -> u64 {
        if self.kind.is_fork() { self.step } else { 0 }
    }

    /// The values that tell this probe from its neighbours, without the seed.
    #[must_use]
    pub fn values(&self) -> Vec<(String, AxisValue)> {
        let plain = |key: &str, text: &str| (key.to_owned(), AxisValue { value: text.into(), text: text.to_owned() });
        vec![plain(Self::TRIAL, self.trial.as_str()), plain(Self::KIND, self.kind.name())]
    }
}

impl ProbeKind {
    /// In the order of tables and figures.
    pub const ALL: [Self; 10] = [
        Self::Approach,
        Self::Control,
        Self::LrDown,
        Self::LrUp,
        Self::LrPeak,
        Self::AugmentationOff,
        Self::AugmentationOn,
        Self::Blank,
        Self::OneBatch,
        Self::OneBatchUsualLr,
    ];

    /// Whether it starts from the state of the probed trial.
    #[must_use]
    pub fn is_fork(self) -> bool {
        !matches!(self, Self::Approach) && !self.is_one_batch()
    }

    #[must_use]
    pub fn is_one_batch(self) -> bool {
        matches!(self, Self::OneBatch | Self::OneBatchUsualLr)
    }

    /// As `trials.csv` and the journal name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Approach => "approach",
            Self::Control => "control",
            Self::LrDown => "lr_down",
            Self::LrUp => "lr_up",
            Self::LrPeak => "lr_peak",
            Self::AugmentationOff => "augmentation_off",
            Self::AugmentationOn => "augmentation_on",
            Self::Blank => "blank",
            Self::OneBatch => "one_batch",
            Self::OneBatchUsualLr => "one_batch_usual_lr",
        }
    }
}

impl fmt::Display for ProbeKind {
    /// As people are told.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Approach => "the trial itself",
            Self::Control => "unchanged",
            Self::LrDown => "lr × 0.1",
            Self::LrUp => "lr × 3",
            Self::LrPeak => "lr back at its peak",
            Self::AugmentationOff => "augmentation off",
            Self::AugmentationOn => "augmentation on",
            Self::Blank => "inputs blanked",
            Self::OneBatch => "one batch by heart",
            Self::OneBatchUsualLr => "one batch, usual lr",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_configuration() {
        for kind in ProbeKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        assert!(ProbeKind::ALL.is_sorted());
    }
}
