//! The scores of a finished classifier on labelled rows that it was not trained on.

use plateau_kernels::loss::cross_entropy;
use serde::{Deserialize, Serialize};

use super::TrainError;
use super::classifier::Classifier;
use super::data::TestRows;
use super::metrics::{AllScores, Classified};
use crate::trial::Scores;

/// All metrics on the rows of a test set. What is undefined is None.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestScores {
    /// Mean cross-entropy in nats.
    pub loss: Option<f32>,
    pub accuracy: Option<f32>,
    pub macro_f1: Option<f32>,
    pub scores: Scores,
    pub confusion: Vec<Vec<u32>>,
}

impl TestScores {
    /// Scores `classifier`, whose classes are those of the rows. `notify` is called with the number of rows once they are
    /// tokenised: what follows is arithmetic.
    pub fn of(classifier: &Classifier, rows: &TestRows, notify: &dyn Fn(usize)) -> Result<Self, TrainError> {
        let tokens = classifier.tokens(&rows.examples)?;
        notify(rows.examples.len());
        let logits = classifier.logits_of(&tokens)?;
        let logits: Vec<&[f32]> = logits.iter().map(Vec::as_slice).collect();
        let truth: Vec<u32> = rows.examples.iter().map(|example| example.label).collect();
        let losses = logits.iter().zip(&truth).map(|(row, &label)| cross_entropy(row, label as usize, 0.0));
        let loss = (losses.sum::<f64>() / truth.len() as f64) as f32;
        let classified = Classified::new(&logits, &truth, rows.labels.len());
        let AllScores { accuracy, macro_f1, others, confusion } = AllScores::of(&classified);
        Ok(Self { loss: Some(loss).filter(|loss| loss.is_finite()), accuracy, macro_f1, scores: others, confusion })
    }
}
