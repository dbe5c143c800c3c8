//! Trials of a sweep in groups: those of one configuration, and those that differ in one axis alone.

use std::collections::{BTreeMap, HashMap};

use super::sweep::Sweep;
use crate::trial::{Axis, AxisValue, Key, Trial};

/// What the trials of one configuration differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repetition {
    Seed,
    Fold,
    Both,
}

impl Repetition {
    /// That of the trials of a sweep.
    pub fn of(sweep: &Sweep) -> Self {
        Self::by(|key| sweep.axes.iter().any(|axis| key.is(&axis.key) && axis.values.len() > 1))
    }

    /// `varies`: whether trials differ in a key.
    pub fn by(varies: impl Fn(Key) -> bool) -> Self {
        match (varies(Key::Seed), varies(Key::Fold)) {
            (_, false) => Self::Seed,
            (false, true) => Self::Fold,
            (true, true) => Self::Both,
        }
    }

    /// The noun for one trial of a configuration.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Seed => "seed",
            Self::Fold => "fold",
            Self::Both => "repetition",
        }
    }
}

/// Key of the learning rate.
pub const LEARNING_RATE: &str = Key::LearningRate.path();

/// The axes that tell configurations apart: all but seed and fold.
pub fn axes(sweep: &Sweep) -> impl Iterator<Item = &Axis> {
    sweep.axes.iter().filter(|axis| !Key::is_repetition(&axis.key))
}

/// The learning rate if it varies, else the first axis.
pub fn lead_axis(sweep: &Sweep) -> Option<&Axis> {
    let first = axes(sweep).next();
    axes(sweep).find(|axis| axis.key == LEARNING_RATE).or(first)
}

/// The values of a trial without those of the keys that `is_left_out` names, as one name.
fn others(trial: &Trial, is_left_out: impl Fn(&str) -> bool) -> Vec<String> {
    let values = trial.values.iter().filter(|(name, _)| !is_left_out(name));
    values.map(|(name, value)| format!("{name}={}", value.value)).collect()
}

/// Indices of the runs of each configuration, in plan order.
pub fn by_configuration(sweep: &Sweep) -> Vec<Vec<usize>> {
    grouped(sweep, Key::is_repetition)
}

/// Indices of the runs that differ at most in the keys that `is_left_out` names, in plan order.
pub fn grouped(sweep: &Sweep, is_left_out: impl Fn(&str) -> bool) -> Vec<Vec<usize>> {
    let mut position = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, run) in sweep.runs.iter().enumerate() {
        let group = *position.entry(others(&run.trial, &is_left_out)).or_insert(groups.len());
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
            groups.entry(others(&run.trial, |name| name == key)).or_default().push((value, index));
        }
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::super::Study;
    use super::super::effects::effects;
    use super::super::finding::FindingKind;
    use super::super::refine::refine;
    use super::super::synthetic::{self, axis};
    use super::*;

    /// A sweep over folds says the same as the sweep over seeds with the same losses, in other words.
    #[test]
    fn folds_repeat_a_configuration_like_seeds() {
        let of = |key: &str| {
            let numbers = ["1", "2", "3", "4", "5", "6"];
            synthetic::sweep("s", &[axis("lr", &["1e-5", "3e-5"]), axis(key, &numbers)], 90)
        };
        let (seeds, mut folds) = (of("seed"), of("data.fold"));
        for (fold, seed) in folds.runs.iter_mut().zip(&seeds.runs) {
            (fold.metrics, fold.evals) = (seed.metrics.clone(), seed.evals.clone());
        }
        assert_eq!(axes(&folds).map(|axis| axis.key.as_str()).collect::<Vec<_>>(), ["lr"]);
        let [of_seeds, of_folds] = [&seeds, &folds].map(Study::of);
        assert_eq!((of_folds.repetition.noun(), of_folds.seeds, of_folds.configs.len()), ("fold", 6, 2));
        assert_eq!(of_folds.metric_sd, of_seeds.metric_sd);
        let texts = |sweep: &Sweep, study: &Study| {
            let found = effects(sweep, study).into_iter().filter(|finding| finding.kind == FindingKind::AxisEffect);
            found.map(|finding| finding.text.replace("seed", "fold")).collect::<Vec<_>>()
        };
        let decisions = refine(&folds, &of_folds, &[]).unwrap();
        assert!(decisions.iter().all(|decision| decision.key != "data.fold"), "{decisions:?}");
        let (ours, theirs) = (texts(&folds, &of_folds), texts(&seeds, &of_seeds));
        assert!(ours == theirs && ours[0].contains("6 matched pairs"), "{ours:?}");
    }
}
