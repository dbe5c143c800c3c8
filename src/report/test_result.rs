//! The part of page and summary about the test set.

use super::format;
use super::winner::class_rows;
use crate::analysis::Sweep;
use crate::trial::{TestEvaluation, TestRecord};

/// The last evaluation of the test set, in words.
pub struct TestResult<'a> {
    evaluation: &'a TestEvaluation,
    /// What was evaluated and when, the scores, and what is to be known of earlier evaluations.
    pub sentences: Vec<String>,
}

impl<'a> TestResult<'a> {
    /// None if the test set was not evaluated.
    pub fn of(sweep: &Sweep, record: &'a TestRecord) -> Option<Self> {
        let evaluation = record.evaluations.last()?;
        let run = sweep.runs.iter().find(|run| run.trial.id == evaluation.trial);
        let name = run.map_or_else(|| "no longer in the sweep".to_owned(), format::trial_name);
        let TestEvaluation { trial, step, date, .. } = evaluation;
        let mut sentences = vec![
            format!(
                "No trial read the rows of the test set. The kept weights of the best trial, {trial} ({name}) at step {step}, were \
                 evaluated on {date}."
            ),
            format!("It has {}.", evaluation.text()),
        ];
        sentences.extend(record.repeated_use());
        Some(Self { evaluation, sentences })
    }

    /// The classes with their scores, as rows under [`super::winner::Winner::HEADER`].
    pub fn class_rows(&self) -> Vec<[String; 5]> {
        class_rows(&self.evaluation.labels, &self.evaluation.scores.classes)
    }
}
