//! What every task says.

use std::fmt::Debug;

use super::target::Target;
use crate::trial::{CalibrationBin, EvalRow, Scores};

/// The meaning of a network's outputs.
///
/// There is a target for each example, or for each word of an example. The loss of a batch or of an evaluation set is the sum
/// of its targets' losses over the sum of their weights.
pub trait Task: Debug + Send + Sync {
    /// Numbers that the network gives out for each target.
    fn outputs(&self) -> usize;

    /// The weight of a target in the mean loss.
    fn weight(&self, target: &Target) -> f64 {
        let _ = target;
        1.0
    }

    /// Numbers that evaluations keep for each target.
    fn kept(&self) -> usize {
        self.outputs()
    }

    /// What evaluations keep of the outputs of a micro-batch: all, unless there are too many.
    fn keep(&self, outputs: Vec<f32>, targets: &[Target]) -> Vec<f32> {
        let _ = targets;
        outputs
    }

    /// The loss of a target in evaluation, times its weight. `outputs` are what [`Task::keep`] kept.
    fn loss(&self, outputs: &[f64], target: &Target) -> f64;

    /// The loss of a target in training, times its weight, and the gradient of that with respect to the outputs.
    fn gradient(&self, outputs: &[f64], target: &Target) -> (f64, Vec<f64>);

    /// All metrics. There are as many targets as rows of outputs, which are what [`Task::keep`] kept.
    fn evaluate(&self, outputs: &[&[f32]], targets: &[&Target]) -> Evaluated;

    /// The evaluation loss of the best model that ignores its input. None if a single output fits all targets.
    fn chance(&self, targets: &[Target]) -> Option<f64>;
}

/// The metrics of an evaluation. What is undefined or no metric of the task is None.
#[derive(Debug, Default)]
pub struct Evaluated {
    pub accuracy: Option<f32>,
    pub macro_f1: Option<f32>,
    pub scores: Scores,
    /// None if the task has no classes.
    pub classes: Option<ClassDetails>,
}

impl Evaluated {
    /// The row of an evaluation after `step` steps. What is undefined is NaN.
    #[must_use]
    pub fn row(&self, step: u64, eval_loss: f32, train_probe_loss: f32) -> EvalRow {
        let [accuracy, macro_f1] = [self.accuracy, self.macro_f1].map(|score| score.unwrap_or(f32::NAN));
        EvalRow { step, eval_loss, accuracy, macro_f1, train_probe_loss, scores: self.scores.clone() }
    }
}

/// The answers that a model is surest of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Surest {
    /// How many are labelled otherwise.
    pub wrong: u32,
    /// How many of them the model expects to be wrong: the sum of 1 - p over its probabilities p.
    pub expected: f64,
}

/// What an evaluation says of the classes.
#[derive(Debug)]
pub struct ClassDetails {
    /// Examples that were given each class.
    pub counts: Vec<u32>,
    /// The quarter of them that the model is surest of; None of fewer than four.
    pub surest: Option<Surest>,
    /// Number of examples of each class (row) that were predicted to be of each class (column).
    pub confusion: Vec<Vec<u32>>,
    pub calibration: Vec<CalibrationBin>,
    /// The wrong predictions with the highest confidence: example, predicted class, confidence.
    pub mistakes: Vec<(usize, usize, f64)>,
}
