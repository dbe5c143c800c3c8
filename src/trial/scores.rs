//! Scores on the evaluation set, beside loss and accuracy. What is undefined or no metric of the task is None, never 0.

use serde::{Deserialize, Serialize};

/// Scores over all classes or numbers, and those of each class.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Scores {
    /// F1 of the classes, weighted by their number of examples.
    pub weighted_f1: Option<f32>,
    /// Matthews correlation coefficient.
    pub mcc: Option<f32>,
    /// Area under the ROC curve. With two classes it is that of the second class, otherwise the mean of each class against the rest.
    pub auroc: Option<f32>,
    /// Average precision, with the same mean over classes as `auroc`.
    pub average_precision: Option<f32>,
    pub classes: ClassScores,
    /// Mean squared error.
    pub mse: Option<f32>,
    /// Mean absolute error.
    pub mae: Option<f32>,
    /// Coefficient of determination: 1 - mse / variance of the numbers.
    pub r2: Option<f32>,
    /// Pearson's correlation of predictions and numbers.
    pub pearson: Option<f32>,
    /// Spearman's correlation: Pearson's of the ranks, where equal values share the mean of their ranks.
    pub spearman: Option<f32>,
    /// F1 over all pairs of an example and a label.
    pub micro_f1: Option<f32>,
    /// Share of the examples of which every label is right.
    pub subset_accuracy: Option<f32>,
    /// Mean over labels of the area under the ROC curve.
    pub macro_auroc: Option<f32>,
    /// Mean over labels of the average precision.
    pub macro_average_precision: Option<f32>,
    /// Share of the predicted entities that are right in their words and their type.
    pub entity_precision: Option<f32>,
    /// Share of the entities that were predicted.
    pub entity_recall: Option<f32>,
    /// Harmonic mean of the two.
    pub entity_f1: Option<f32>,
    /// Share of the words whose tag is right.
    pub token_accuracy: Option<f32>,
    /// `exp(loss)`.
    pub perplexity: Option<f32>,
}

/// The scores of each class, in class order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClassScores {
    /// None if no example was predicted to be of the class.
    pub precision: Vec<Option<f64>>,
    /// None if the class has no example.
    pub recall: Vec<Option<f64>>,
    /// None if the class occurs neither in labels nor in predictions.
    pub f1: Vec<Option<f64>>,
    /// Number of examples.
    pub support: Vec<u32>,
}

/// `best_evaluation.json`: the best evaluation of a trial so far, in detail.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BestEvaluation {
    pub step: u64,
    /// Names in class order.
    pub labels: Vec<String>,
    /// Number of examples of each class (row) that were predicted to be of each class (column).
    pub confusion: Vec<Vec<u32>>,
    pub scores: ClassScores,
    /// Bins of equal width over the confidences 0 to 1.
    pub calibration: Vec<CalibrationBin>,
    /// Expected calibration error over these bins.
    pub calibration_error: Option<f64>,
    /// The wrong predictions with the highest confidence, the highest first.
    pub mistakes: Vec<Mistake>,
}

impl BestEvaluation {
    /// Most mistakes that are kept.
    pub const MISTAKES: usize = 20;
    /// Most characters of a text that are kept.
    pub const CHARACTERS: usize = 600;
}

/// The predictions whose confidence lies in one range. The confidence is the probability of the predicted class.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct CalibrationBin {
    pub examples: u32,
    /// Number of right predictions.
    pub correct: u32,
    /// Mean confidence; 0 without examples.
    pub confidence: f64,
}

impl CalibrationBin {
    /// Share of right predictions; NaN without examples.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        f64::from(self.correct) / f64::from(self.examples)
    }
}

/// An example that the model predicted wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Index of the example in the evaluation set, from 0.
    pub example: usize,
    pub text: String,
    /// The second text of a sentence pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
    /// Class numbers.
    pub label: usize,
    pub predicted: usize,
    pub confidence: f64,
    /// Where the example stands: its file and its line from 1, or the number of its row in a Parquet file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}
