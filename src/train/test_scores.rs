//! The scores of a finished model on labelled rows that it was not trained on.

use serde::{Deserialize, Serialize};

use super::TrainError;
use super::classifier::Classifier;
use super::data::{TestRows, output_targets};
use super::evaluate::mean_loss;
use super::tasks::{Evaluated, Target, Task};
use crate::trial::Scores;

/// All metrics on the rows of a test set. What is undefined is None.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestScores {
    pub loss: Option<f32>,
    pub accuracy: Option<f32>,
    pub macro_f1: Option<f32>,
    pub scores: Scores,
    /// Empty if the task has no classes.
    pub confusion: Vec<Vec<u32>>,
}

impl TestScores {
    /// Scores `classifier`, whose labels are those of the rows. `notify` is called with the number of rows once they are
    /// tokenised: what follows is arithmetic.
    pub fn of(
        classifier: &Classifier,
        task: &dyn Task,
        rows: &TestRows,
        notify: &dyn Fn(usize),
    ) -> Result<Self, TrainError> {
        let tokens = classifier.tokens(&rows.examples)?;
        notify(rows.examples.len());
        let outputs = classifier.outputs_of(&tokens)?;
        let outputs: Vec<&[f32]> = outputs.iter().flat_map(|outputs| outputs.chunks_exact(task.outputs())).collect();
        let truth = output_targets(&rows.examples, &tokens);
        let truth: Vec<&Target> = truth.iter().collect();
        let loss = mean_loss(task, &outputs, &truth);
        let Evaluated { accuracy, macro_f1, scores, classes } = task.evaluate(&outputs, &truth);
        let confusion = classes.map(|classes| classes.confusion).unwrap_or_default();
        Ok(Self { loss: Some(loss).filter(|loss| loss.is_finite()), accuracy, macro_f1, scores, confusion })
    }
}
