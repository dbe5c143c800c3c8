//! What a trial measured, how it ended, and what its curve says.

use serde::{Deserialize, Serialize};

/// A row of `metrics.csv`: one optimizer step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MetricRow {
    /// Counts from 1: the number of steps taken, this one included.
    pub step: u64,
    /// Epochs of data seen after this step.
    pub epoch: f64,
    /// Mean loss of the batch, in nats.
    pub train_loss: f32,
    /// Rate that this step used.
    pub lr: f64,
    /// Global norm before clipping.
    pub grad_norm: f32,
    /// Real (unpadded) tokens of the batch.
    pub tokens: u64,
    /// Since the trial's start, earlier attempts included.
    pub seconds: f64,
}

/// A row of `evals.csv`: one evaluation, after `step` steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EvalRow {
    /// 0 is the untrained model.
    pub step: u64,
    pub eval_loss: f32,
    pub accuracy: f32,
    pub macro_f1: f32,
    /// Loss of a fixed set of clean training examples, dropout off.
    pub train_probe_loss: f32,
}

/// A row of `diagnostics.csv`: beside an evaluation, what the curves do not hold. None where it was not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiagnosticRow {
    /// As in the row of `evals.csv`.
    pub step: u64,
    /// Of the step that led here: norm of the gradient of the lowest trained encoder layer, before clipping.
    pub first_grad_norm: Option<f32>,
    /// Likewise of the highest one.
    pub last_grad_norm: Option<f32>,
    /// Likewise: mean |change| over mean |weight| of the query matrix of the highest trained layer.
    pub update_ratio: Option<f32>,
    /// Evaluation examples that were given each class.
    pub predicted: Vec<u32>,
    /// Of the quarter of the evaluation examples whose class the model is surest of, how many are labelled otherwise.
    pub surest_wrong: Option<u32>,
}

impl DiagnosticRow {
    /// How many of `examples` are those that a model is surest of: a quarter.
    #[must_use]
    pub fn surest_of(examples: usize) -> usize {
        examples / 4
    }
}

/// How a trial stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Finished,
    /// The loss became NaN or infinite or ran away: a result, not an error.
    Diverged,
    /// Ended early by a rule.
    Stopped,
    Failed,
    Running,
    Pending,
}

impl Status {
    /// Whether the trial has an outcome: nothing is left to train.
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

/// `outcome.json`: how a trial ended. Non-finite figures are None.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Finished, Diverged or Stopped.
    pub status: Status,
    /// Why a diverged or stopped trial ended where it did, in words.
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
    /// Training and evaluating, all attempts together.
    pub seconds: f64,
    /// Real training tokens a second of training.
    pub tokens_per_second: f64,
    /// Peak resident memory of the worker, bytes; None where the system does not tell.
    pub peak_memory: Option<u64>,
    /// Labels in class order, and the share of each in the training split and in the evaluation set.
    pub labels: Vec<String>,
    pub class_prior: Vec<f64>,
    pub eval_prior: Vec<f64>,
    /// What the trial's own curve says; see `analysis`.
    pub verdicts: Vec<Verdict>,
}

/// A statement about a trial's curve, with the numbers it rests on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// Stable name: `plateaued`, `still_improving`, `overfits`, `collapsed`, `stuck_at_chance`, `nan`, ... for what became
    /// of the evaluation loss; the names of `analysis::rules` for why.
    pub id: String,
    #[serde(default)]
    pub kind: VerdictKind,
    /// Step that the statement is about.
    pub step: Option<u64>,
    /// In plain words, numbers included.
    pub text: String,
    /// The numbers it rests on, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// First and last step of what it rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<(u64, u64)>,
    /// What to change, as a line of a sweep file or in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Verdict {
    /// The note on a trial that ran out of memory and was trained with smaller micro-batches.
    pub const SMALLER_MICRO_BATCHES: &str = "SMALLER_MICRO_BATCHES";
    /// The note on a trial that the rule `stop.plateau` ended.
    pub const STOPPED_FLAT: &str = "STOPPED_FLAT";
}

/// What a verdict speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// What became of the evaluation loss.
    #[default]
    Shape,
    /// Why the loss does not fall.
    Cause,
    /// Worth knowing, and no fault.
    Note,
}

/// A number that a verdict rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub name: String,
    /// None if it is not finite.
    pub value: Option<f64>,
}
