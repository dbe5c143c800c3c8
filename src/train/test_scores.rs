//! The scores of a finished classifier on labelled rows that it was not trained on.

use plateau_kernels::loss::cross_entropy;

use super::TrainError;
use super::classifier::Classifier;
use super::data::TestRows;
use super::metrics::{self, Classified};
use crate::trial::Scores;

/// All metrics on the rows of a test set. What is undefined is None.
#[derive(Debug, Clone, PartialEq)]
pub struct TestScores {
    /// Mean cross-entropy in nats.
    pub loss: Option<f32>,
    pub accuracy: Option<f32>,
    pub macro_f1: Option<f32>,
    pub scores: Scores,
    pub confusion: Vec<Vec<u32>>,
}

impl TestScores {
    /// Scores `classifier`, whose classes are those of the rows.
    pub fn of(classifier: &Classifier, rows: &TestRows) -> Result<Self, TrainError> {
        let logits = classifier.logits(&rows.examples)?;
        let logits: Vec<&[f32]> = logits.iter().map(Vec::as_slice).collect();
        let truth: Vec<u32> = rows.examples.iter().map(|example| example.label).collect();
        let losses = logits.iter().zip(&truth).map(|(row, &label)| cross_entropy(row, label as usize, 0.0));
        let loss = (losses.sum::<f64>() / truth.len() as f64) as f32;
        let classified = Classified::new(&logits, &truth, rows.labels.len());
        let confusion = classified.confusion();
        let classes = metrics::class_scores(&confusion);
        let single = |score: Option<f64>| score.map(|score| score as f32);
        Ok(Self {
            loss: Some(loss).filter(|loss| loss.is_finite()),
            accuracy: single(metrics::accuracy(&confusion)),
            macro_f1: single(metrics::macro_f1(&classes)),
            scores: Scores {
                weighted_f1: single(metrics::weighted_f1(&classes)),
                mcc: single(metrics::matthews_correlation(&confusion)),
                auroc: single(classified.auroc()),
                average_precision: single(classified.average_precision()),
                classes,
            },
            confusion,
        })
    }
}
