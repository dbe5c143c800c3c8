//! The list of tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::classification::{self, Classification};
use super::masked_lm::MaskedLm;
use super::multi_label::{self, MultiLabel};
use super::multiple_choice::{self, MultipleChoice};
use super::regression::{self, Regression};
use super::target::Target;
use super::task::Task;
use super::tokens::{self, Tokens};
use crate::train::TrainError;
use crate::trial::{TaskName, TrialConfig};

/// The task of a trial. `prior`: the share of each class in the training split. Only balanced class weights depend on it.
/// `vocabulary`: the number of token embeddings. Only masked language models depend on it.
///
/// # Errors
/// If the class weights name other labels.
pub fn of(
    config: &TrialConfig,
    labels: &[String],
    prior: &[f64],
    vocabulary: usize,
) -> Result<Arc<dyn Task>, TrainError> {
    Ok(match config.data.task {
        TaskName::Classification => Arc::new(Classification::new(&config.loss, config.label_smoothing, labels, prior)?),
        TaskName::Regression => Arc::new(Regression),
        TaskName::MultiLabel => Arc::new(MultiLabel { labels: labels.len() }),
        TaskName::Tokens => Arc::new(Tokens { tags: labels.to_vec() }),
        TaskName::MaskedLm => Arc::new(MaskedLm { vocabulary }),
        TaskName::MultipleChoice => Arc::new(MultipleChoice { choices: labels.len() }),
    })
}

/// The label names in a field of the label column. A task without names has none.
pub fn label_names(task: TaskName, text: &str) -> BTreeSet<&str> {
    match task {
        TaskName::Classification => BTreeSet::from([text]),
        TaskName::Regression | TaskName::MaskedLm | TaskName::MultipleChoice => BTreeSet::new(),
        TaskName::MultiLabel => multi_label::names(text).collect(),
        TaskName::Tokens => tokens::words(text).collect(),
    }
}

/// A field of the label column as [`read_target`] expects it: the right one of `choices` becomes its number. The error says why
/// the field is no label of the task, whatever labels other rows have.
pub fn canonical_label(task: TaskName, text: &str, choices: &[String]) -> Result<String, String> {
    match task {
        TaskName::Regression => regression::read(text).map(|_| text.to_owned()),
        TaskName::MultipleChoice => multiple_choice::place(text, choices).map(|place| place.to_string()),
        TaskName::Classification | TaskName::MultiLabel | TaskName::Tokens | TaskName::MaskedLm => Ok(text.to_owned()),
    }
}

/// The target that a canonical label stands for, given the number of each label name. The error says what is wrong with it.
pub fn read_target(task: TaskName, text: &str, numbers: &BTreeMap<&str, u32>) -> Result<Target, String> {
    match task {
        TaskName::Classification => classification::read(text, numbers),
        TaskName::Regression => regression::read(text),
        TaskName::MultiLabel => multi_label::read(text, numbers),
        TaskName::Tokens => tokens::read(text, numbers),
        TaskName::MaskedLm => Ok(Target::Masked),
        TaskName::MultipleChoice => multiple_choice::read(text, numbers.len()),
    }
}

/// What the outputs for one target predict, and the probability of each label. A number has none.
pub fn predict(task: TaskName, outputs: &[f32]) -> (Target, Vec<f64>) {
    match task {
        TaskName::Classification | TaskName::Tokens | TaskName::MaskedLm => classification::predict(outputs),
        TaskName::MultipleChoice => {
            let (predicted, probabilities) = classification::predict(outputs);
            (predicted.class().map_or(Target::Unknown, Target::Choice), probabilities)
        }
        TaskName::Regression => (Target::Number(outputs.first().copied().unwrap_or(f32::NAN).into()), Vec::new()),
        TaskName::MultiLabel => multi_label::predict(outputs),
    }
}
