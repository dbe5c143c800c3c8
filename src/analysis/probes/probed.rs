//! The results of a trial's probes.

use super::paired::{Change, Effect};
use super::settle::{Conclusion, Settled};
use crate::analysis::sweep::Run;
use crate::analysis::verdicts::Diagnosis;
use crate::trial::{EvalRow, ProbeKind, TrialId};

/// A trial that was probed, with the results.
#[derive(Debug, Clone, PartialEq)]
pub struct Probed {
    pub trial: TrialId,
    /// Steps of the trial before the forks.
    pub step: u64,
    /// The learning rate there, and the peak of the trial's schedule.
    pub rate: f64,
    pub peak: f64,
    /// Mean training loss of the control.
    pub level: Option<f64>,
    /// In the order of [`ProbeKind::ALL`] without the control.
    pub answers: Vec<Answer>,
    /// Number of probes that have not ended.
    pub open: usize,
    pub settled: Settled,
}

impl Probed {
    /// The primary cause of the probed trial after the probes. `own`: its diagnosis within the sweep, which its neighbours have
    /// corrected.
    #[must_use]
    pub fn conclusion(&self, own: &Diagnosis) -> Conclusion {
        Conclusion::of(self.settled, own.cause().and_then(|verdict| verdict.id.cause()))
    }
}

/// The result of one kind of probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub kind: ProbeKind,
    pub lr: f64,
    pub result: ProbeResult,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ProbeResult {
    /// Too few probes have ended.
    Missing,
    /// The difference between the forks and the control.
    Difference {
        measure: Measure,
        effect: Effect,
        change: Change,
        /// The same for the evaluation loss at the end.
        eval: Option<(Effect, Change)>,
    },
    /// More than half of the forks diverged and the control did not, or the other way round.
    Diverged(Change),
    /// How many seeds memorised one batch, and the median number of steps.
    Memorised { fitted: usize, seeds: usize, steps: u64 },
}

/// The loss that a probe compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Training loss. Forks and control read the same batches.
    Train,
    /// Final loss of training examples without augmentation. Without augmentation the batches themselves get easier.
    Clean,
    /// Final evaluation loss.
    Eval,
}

impl Measure {
    /// The loss that a kind of probe compares.
    pub(super) fn of(kind: ProbeKind) -> Self {
        match kind {
            ProbeKind::AugmentationOff => Self::Clean,
            ProbeKind::AugmentationOn => Self::Eval,
            _ => Self::Train,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train loss",
            Self::Clean => "clean train loss",
            Self::Eval => "eval loss",
        }
    }

    /// Its values in one run.
    pub(super) fn series(self, run: &Run) -> Vec<f64> {
        let last = |of: fn(&EvalRow) -> f32| {
            let end = run.evals.last().filter(|row| row.step == run.trial.steps);
            end.map(|row| f64::from(of(row))).into_iter().collect()
        };
        match self {
            Self::Train => run.metrics.iter().map(|row| f64::from(row.train_loss)).collect(),
            Self::Clean => last(|row| row.train_probe_loss),
            Self::Eval => last(|row| row.eval_loss),
        }
    }
}

impl ProbeResult {
    /// What the probe did to its loss, where that is known.
    #[must_use]
    pub fn change(&self) -> Option<Change> {
        match self {
            // Memorised training examples are not progress.
            Self::Difference {
                measure: Measure::Train,
                change: Change::Lowered,
                eval: Some((_, Change::Raised)),
                ..
            } => Some(Change::Undetected),
            Self::Difference { change, .. } | Self::Diverged(change) => Some(*change),
            Self::Missing | Self::Memorised { .. } => None,
        }
    }

    /// Whether most seeds memorised their batch.
    #[must_use]
    pub fn fits(&self) -> Option<bool> {
        match self {
            Self::Memorised { fitted, seeds, .. } if *seeds > 0 => Some(2 * fitted > *seeds),
            _ => None,
        }
    }
}
