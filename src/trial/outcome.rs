//! How a trial ended: its state and its outcome.

use serde::{Deserialize, Serialize};

use super::{Metric, Scores, ShapeKind, Verdict};

/// The state of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Finished,
    /// The loss became NaN or infinite, or grew without bound. This is a result, not an error.
    Diverged,
    /// Ended early by a rule.
    Stopped,
    Failed,
    Running,
    Pending,
}

impl Status {
    /// Whether the trial has an outcome, so that nothing is left to train.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Diverged | Self::Stopped)
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Diverged => "diverged",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Running => "running",
            Self::Pending => "pending",
        }
    }
}

/// An evaluation of a trial, by one metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BestScore {
    pub metric: Metric,
    pub step: u64,
    pub value: f32,
}

/// `outcome.json`: how a trial ended. A figure that is not finite is None.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Finished, Diverged or Stopped.
    pub status: Status,
    /// Why a diverged or stopped trial ended early.
    pub reason: Option<String>,
    /// Optimizer steps taken.
    pub steps: u64,
    pub final_train_loss: Option<f32>,
    pub final_eval_loss: Option<f32>,
    pub best_eval_loss: Option<f32>,
    pub best_eval_step: Option<u64>,
    pub final_accuracy: Option<f32>,
    pub best_accuracy: Option<f32>,
    pub best_macro_f1: Option<f32>,
    /// The best evaluation by the metric of the trial; None for outcomes of versions that knew only the loss.
    #[serde(default)]
    pub best: Option<BestScore>,
    /// The last evaluation by the same metric; None for outcomes of versions that did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<BestScore>,
    /// Scores of the best evaluation, and of the last one.
    #[serde(default)]
    pub best_scores: Scores,
    #[serde(default)]
    pub final_scores: Scores,
    /// Time of training and evaluation over all attempts.
    pub seconds: f64,
    /// Real training tokens per second of training.
    pub tokens_per_second: f64,
    /// Peak resident memory of the worker, bytes; None where the system does not tell.
    pub peak_memory: Option<u64>,
    /// Peak memory of the worker on its device, bytes; None on the CPU, and where the device does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_memory: Option<u64>,
    /// Labels in class order; the share of each in the training split and in the evaluation set. Shares are empty if an example
    /// does not have exactly one label.
    pub labels: Vec<String>,
    pub class_prior: Vec<f64>,
    pub eval_prior: Vec<f64>,
    /// The evaluation loss of the best model that ignores its input, on the training split and on the evaluation set. None in
    /// outcomes of versions that knew only the cross-entropy, of which it is the entropy of the prior.
    #[serde(default)]
    pub train_chance: Option<f64>,
    #[serde(default)]
    pub eval_chance: Option<f64>,
    /// Evaluation examples whose text is also in the training split.
    #[serde(default)]
    pub leaked_rows: usize,
    /// What the trial's own curve says; see `analysis`.
    pub verdicts: Vec<Verdict>,
}

impl Outcome {
    /// Whether a rule of `stop` that compares trials has ended it.
    #[must_use]
    pub fn is_outdone(&self) -> bool {
        let by_comparison =
            |reason: &String| ["stop.asha:", "stop.median:"].iter().any(|rule| reason.starts_with(rule));
        self.status == Status::Stopped && self.reason.as_ref().is_some_and(by_comparison)
    }

    /// The best evaluation by the metric of the trial. None if that metric was never finite.
    #[must_use]
    pub fn best(&self) -> Option<BestScore> {
        self.best.or_else(|| {
            let (value, step) = (self.best_eval_loss?, self.best_eval_step?);
            Some(BestScore { metric: Metric::EvalLoss, step, value })
        })
    }

    /// The value of the best evaluation, where lower is better; infinite if there is none.
    #[must_use]
    pub fn cost(&self) -> f64 {
        self.best().map_or(f64::INFINITY, |best| best.metric.cost(f64::from(best.value)))
    }

    /// The best evaluation, unless the trial failed to learn.
    #[must_use]
    pub fn usable(&self) -> Option<BestScore> {
        let failed = self.status == Status::Diverged
            || self.verdicts.iter().any(|verdict| verdict.id.shape().is_some_and(ShapeKind::is_failure));
        self.best().filter(|_| !failed)
    }

    /// The value of the last evaluation, where lower is better; infinite if it is not known.
    #[must_use]
    pub fn final_cost(&self) -> f64 {
        self.last.map_or(f64::INFINITY, |last| last.metric.cost(f64::from(last.value)))
    }
}
