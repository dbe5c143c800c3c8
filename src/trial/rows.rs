//! The rows of the curves that a trial measures.

use serde::{Deserialize, Serialize};

use super::Scores;

/// A row of `metrics.csv`: one optimizer step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MetricRow {
    /// Counts from 1: the number of steps taken, this one included.
    pub step: u64,
    /// Epochs of data seen after this step.
    pub epoch: f64,
    /// Mean loss of the batch.
    pub train_loss: f32,
    /// Learning rate of this step.
    pub lr: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f32,
    /// Real (unpadded) tokens of the batch.
    pub tokens: u64,
    /// Time since the trial's start, earlier attempts included.
    pub seconds: f64,
}

/// A row of `evals.csv`: one evaluation, after `step` steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalRow {
    /// 0 is the untrained model.
    pub step: u64,
    pub eval_loss: f32,
    pub accuracy: f32,
    pub macro_f1: f32,
    /// Loss of a fixed set of training examples without augmentation and dropout.
    pub train_probe_loss: f32,
    pub scores: Scores,
}

/// A row of `diagnostics.csv`, written with each evaluation. A value is None where it was not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiagnosticRow {
    /// Step of the evaluation.
    pub step: u64,
    /// Gradient norm of the lowest trained encoder layer at this step, before clipping.
    pub first_grad_norm: Option<f32>,
    /// Gradient norm of the highest trained encoder layer at this step.
    pub last_grad_norm: Option<f32>,
    /// Mean |change| over mean |weight| of the query matrix of the highest trained layer at this step.
    pub update_ratio: Option<f32>,
    /// Number of evaluation examples that the model assigned to each class.
    pub predicted: Vec<u32>,
    /// Number of wrong answers among the quarter of the evaluation examples that the model is most confident of.
    pub surest_wrong: Option<u32>,
    /// Number of wrong answers that the model itself expects among these: the sum of 1 - p, where p is its probability of each answer.
    pub surest_expected: Option<f32>,
}

impl DiagnosticRow {
    /// Number of evaluation examples.
    #[must_use]
    pub fn examples(&self) -> u64 {
        self.predicted.iter().map(|count| u64::from(*count)).sum()
    }

    /// Number of the most confident examples among `examples`: a quarter.
    #[must_use]
    pub fn surest_of(examples: usize) -> usize {
        examples / 4
    }
}
