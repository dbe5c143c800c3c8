//! Trials of a sweep in groups: those of one configuration, and those that differ in one axis alone.

use std::collections::{BTreeMap, HashMap};

use super::sweep::Sweep;
use crate::trial::{Axis, AxisValue, Key, Trial};

/// Key of the axis that repeats a configuration.
pub const SEED: &str = Key::Seed.path();
/// Key of the learning rate.
pub const LEARNING_RATE: &str = Key::LearningRate.path();

/// The axes that tell configurations apart: all but the seed.
pub fn axes(sweep: &Sweep) -> impl Iterator<Item = &Axis> {
    sweep.axes.iter().filter(|axis| axis.key != SEED)
}

/// The learning rate if it varies, else the first axis.
pub fn lead_axis(sweep: &Sweep) -> Option<&Axis> {
    let first = axes(sweep).next();
    axes(sweep).find(|axis| axis.key == LEARNING_RATE).or(first)
}

/// The values of a trial without those of `key`, as one name.
fn others(trial: &Trial, key: &str) -> Vec<String> {
    let values = trial.values.iter().filter(|(name, _)| name != key);
    values.map(|(name, value)| format!("{name}={}", value.value)).collect()
}

/// Indices of the runs of each configuration, in plan order.
pub fn by_configuration(sweep: &Sweep) -> Vec<Vec<usize>> {
    let mut position = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, run) in sweep.runs.iter().enumerate() {
        let group = *position.entry(others(&run.trial, SEED)).or_insert(groups.len());
        match groups.get_mut(group) {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    groups
}

/// Groups of runs that differ in the axis `key` alone, each run with its value on that axis.
pub fn matched<'a>(sweep: &'a Sweep, key: &str) -> Vec<Vec<(&'a AxisValue, usize)>> {
    let mut groups: BTreeMap<Vec<String>, Vec<(&AxisValue, usize)>> = BTreeMap::new();
    for (index, run) in sweep.runs.iter().enumerate() {
        if let Some(value) = run.trial.value(key) {
            groups.entry(others(&run.trial, key)).or_default().push((value, index));
        }
    }
    groups.into_values().collect()
}
