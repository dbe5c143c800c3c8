//! One key of a trial, and what several keys have in common.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::spec::kind::{Doc, Kind};
use crate::spec::range::Range;
use crate::trial::TrialConfig;

/// Puts a canonical value of a key into a configuration. Fails only if the table and the types disagree.
type Put = fn(&mut TrialConfig, &Value) -> Result<(), String>;

/// One key of a trial.
#[derive(Debug)]
pub(in crate::spec) struct Key {
    /// Dotted. Also the place of the value in the JSON of a configuration.
    pub path: &'static str,
    pub kind: Kind,
    pub put: Put,
    pub doc: Doc,
}

pub(super) const POSITIVE: Kind = Kind::Number { range: Range::above(0.0), expected: "a number above 0" };
pub(super) const NOT_NEGATIVE: Kind = Kind::Number { range: Range::from(0.0), expected: "0 or a number above" };
pub(super) const SEED: Kind = Kind::Whole { from: 0, to: u64::MAX, expected: "a whole number from 0" };
/// Those of all tasks.
pub(in crate::spec) const METRIC: Kind = Kind::Choice(&[
    "eval_loss",
    "accuracy",
    "macro_f1",
    "weighted_f1",
    "mcc",
    "auroc",
    "average_precision",
    "mse",
    "mae",
    "r2",
    "pearson",
    "spearman",
    "micro_f1",
    "subset_accuracy",
    "macro_auroc",
    "macro_average_precision",
    "entity_precision",
    "entity_recall",
    "entity_f1",
    "token_accuracy",
    "perplexity",
]);

/// On with its defaults, or off.
pub(in crate::spec) fn switch<T: Default>(slot: &mut Option<T>, value: &Value) -> Result<(), String> {
    *slot = match value {
        Value::Null => None,
        Value::Bool(true) => Some(T::default()),
        other => return Err(format!("{other} switches nothing on or off")),
    };
    Ok(())
}

pub(in crate::spec) fn put<T: DeserializeOwned>(slot: &mut T, value: &Value) -> Result<(), String> {
    with(value, |read| *slot = read)
}

pub(super) fn with<T: DeserializeOwned>(value: &Value, then: impl FnOnce(T)) -> Result<(), String> {
    T::deserialize(value).map(then).map_err(|error| error.to_string())
}
