//! The labels of a data set: how they are written, which classes they name, and how frequent these are.

use std::collections::{BTreeMap, BTreeSet};

use super::dataset::Split;
use super::error::DataError;
use super::rows::Row;
use super::split::class_order;
use crate::train::TrainError;
use crate::train::tasks::label_names;
use crate::trial::{DataConfig, TaskName};

/// Writes labels as whole numbers (`1.0` as `1`) if all labels are whole numbers.
pub(super) fn whole_numbers<'a>(rows: impl Iterator<Item = &'a mut Row>) {
    let rows: Vec<&mut Row> = rows.collect();
    let whole =
        |label: &str| label.parse::<f64>().ok().filter(|x| x.fract() == 0.0 && x.abs() < 9e15).map(|x| x as i64);
    let is_float = |label: &str| label.contains(['.', 'e', 'E']);
    if rows.iter().any(|row| is_float(&row.label)) && rows.iter().all(|row| whole(&row.label).is_some()) {
        for row in rows.into_iter().filter(|row| is_float(&row.label)) {
            if let Some(number) = whole(&row.label) {
                row.label = number.to_string();
            }
        }
    }
}

/// Label names of the training file in class order; none if the task has no names. Otherwise there are at least two, or one
/// that some rows lack.
pub(super) fn labels_of(
    config: &DataConfig,
    rows: &[Row],
    label2id: Option<&BTreeMap<String, u32>>,
) -> Result<Vec<String>, DataError> {
    let source = &config.train;
    let mut names: BTreeSet<&str> = rows.iter().flat_map(|row| label_names(config.task, &row.label)).collect();
    // One file may write `True`, and another `true`.
    let [no, yes] = ["false", "true"].map(|word| names.iter().filter(|name| name.eq_ignore_ascii_case(word)).count());
    if config.task == TaskName::Classification && no.max(yes) > 1 && no + yes == names.len() {
        names =
            [(no, "false"), (yes, "true")].into_iter().filter(|(count, _)| *count > 0).map(|(_, word)| word).collect();
    }
    match config.task {
        TaskName::Classification if names.len() < 2 => {
            let only = names.first().unwrap_or(&"");
            Err(DataError::malformed(format!(
                "{source}: every row has the label `{only}`; a classifier needs at least two labels"
            )))
        }
        TaskName::Tokens if names.len() < 2 => {
            let only = names.first().unwrap_or(&"");
            Err(DataError::malformed(format!(
                "{source}: every word has the tag `{only}`; at least two tags are needed"
            )))
        }
        TaskName::MultipleChoice => Ok(config.choices.clone()),
        TaskName::MultiLabel if names.is_empty() => {
            Err(DataError::malformed(format!("{source}: no row has a label (column `{}`)", config.label)))
        }
        _ => Ok(class_order(&names, label2id)),
    }
}

/// The number of each label.
pub(super) fn numbers(labels: &[String]) -> BTreeMap<&str, u32> {
    labels.iter().map(String::as_str).zip(0..).collect()
}

/// Share of each class in the training split, which must have rows of at least two classes. Empty without classes.
pub(super) fn prior(config: &DataConfig, train: &Split, labels: &[String]) -> Result<Vec<f64>, TrainError> {
    if config.task != TaskName::Classification {
        return Ok(Vec::new());
    }
    let prior = train.prior(labels.len());
    if prior.iter().filter(|&&share| share > 0.0).count() < 2 {
        let message = format!(
            "{}: all {} training rows have the same label; raise data.limit",
            config.train,
            train.examples.len()
        );
        return Err(TrainError::key("data.limit", message));
    }
    Ok(prior)
}
