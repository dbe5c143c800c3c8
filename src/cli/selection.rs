//! `--only KEY=VALUE`: some of a sweep's trials.

use super::Failure;
use crate::plan::Plan;
use crate::trial::{AxisValue, TrialId};

/// The trials that match `only`. Several values of one key are alternatives; several keys must all match.
pub(crate) fn select(plan: &Plan, only: &[(String, String)]) -> Result<Vec<TrialId>, Failure> {
    check(plan, only)?;
    let matches = |values: &[(String, AxisValue)]| {
        only.iter().all(|(key, _)| {
            let mut alternatives = only.iter().filter(|(other, _)| other == key);
            let value = values.iter().find(|(name, _)| name == key);
            value.is_some_and(|(_, value)| alternatives.any(|(_, text)| is_same(value, text)))
        })
    };
    Ok(plan.trials.iter().filter(|trial| matches(&trial.values)).map(|trial| trial.id.clone()).collect())
}

/// Refuses keys that do not vary and values that no trial has.
fn check(plan: &Plan, only: &[(String, String)]) -> Result<(), Failure> {
    for (key, text) in only {
        let Some(axis) = plan.axes.iter().find(|axis| axis.key == *key) else {
            let keys: Vec<_> = plan.axes.iter().map(|axis| axis.key.as_str()).collect();
            return Err(Failure::input(format!(
                "--only {key}={text}: `{key}` does not vary. Keys that vary: {}",
                keys.join(", ")
            )));
        };
        if !axis.values.iter().any(|value| is_same(value, text)) {
            let values: Vec<_> = axis.values.iter().map(|value| value.text.as_str()).collect();
            return Err(Failure::input(format!(
                "--only {key}={text}: no trial has this value. Values of `{key}`: {}",
                values.join(", ")
            )));
        }
    }
    Ok(())
}

fn is_same(value: &AxisValue, text: &str) -> bool {
    let text = text.trim();
    value.text == text || text.parse::<f64>().is_ok_and(|number| value.value.as_f64() == Some(number))
}
