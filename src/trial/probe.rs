//! Probes: short trials that change one setting of another trial. What they change is ordinary configuration. This file
//! defines where they start and what a sweep file cannot express.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AxisValue, TrialId};

/// What makes a trial a probe of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The probed trial.
    pub trial: TrialId,
    /// Step of the probed trial. A fork continues from the state after this step: it reads the batches and draws the random
    /// numbers of the steps that follow.
    pub step: u64,
    pub kind: ProbeKind,
}

/// What a probe changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// Nothing: the trial itself up to the step, to obtain its state.
    Approach,
    /// Nothing: the learning rate stays constant. The other forks are compared with this one.
    Control,
    /// A tenth of the learning rate.
    LrDown,
    /// Three times the learning rate.
    LrUp,
    /// The peak of the trial's schedule, where the learning rate is far below it.
    LrPeak,
    AugmentationOff,
    AugmentationOn,
    /// Every text empty.
    Blank,
    /// From the start, [`Probe::EXAMPLES`] examples again and again, at the trial's own peak learning rate.
    OneBatch,
    /// The same at a learning rate that fine-tunes most models.
    OneBatchUsualLr,
}

impl Probe {
    /// Key of the kind among the values of a probe.
    pub const KIND: &'static str = "probe";
    /// Key of the probed trial.
    pub const TRIAL: &'static str = "trial";
    /// Number of examples that a working model memorises.
    pub const EXAMPLES: usize = 16;
    /// Most steps to memorise them.
    pub const STEPS: u64 = 1000;
    /// Steps between evaluations.
    pub const LOOK: u64 = 10;
    /// Accuracy at which the examples count as memorised.
    pub const FITTED: f32 = 0.95;
    /// Share of the chance level at which they do, where there is no accuracy.
    pub const FITTED_LOSS: f64 = 0.05;

    /// Whether the examples count as memorised. `chance`: the loss of a model that ignores its input.
    pub fn is_fitted(accuracy: Option<f32>, loss: Option<f32>, chance: impl FnOnce() -> Option<f64>) -> bool {
        match (accuracy, loss) {
            (Some(accuracy), _) => accuracy >= Self::FITTED,
            (None, Some(loss)) => chance().is_some_and(|chance| f64::from(loss) <= Self::FITTED_LOSS * chance),
            (None, None) => false,
        }
    }

    /// Steps of the probed trial before the first step of the probe.
    #[must_use]
    pub fn offset(&self) -> u64 {
        if self.kind.is_fork() { self.step } else { 0 }
    }

    /// The values that distinguish this probe from others, without the seed.
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

    /// The name in `trials.csv` and the journal.
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
    /// The name in figures and tables.
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
            Self::OneBatch => "memorise one batch",
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
