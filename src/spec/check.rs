//! Mistakes that involve several keys: keys that are set twice, axes that hide fixed values, and parameters that do not fit
//! the schedules and augmentations that they are combined with.

use std::collections::HashMap;

use super::keys;
use super::kind::whole;
use super::problem::{Place, Problem};
use super::read::Reader;
use super::sweep::{AxisKey, Entry, Factor, Setting, SweepSpec};
use super::yaml::Node;
use crate::trial::{AxisValue, Key, TrialConfig};

/// The mistakes of axes such as `scheduler.cycles`, which must fit every schedule that they are combined with, and of
/// entries of `include`, which must fit the fixed values.
pub(super) fn parameters(spec: &SweepSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let axes = || spec.factors.iter().flat_map(|factor| &factor.keys);
    for axis in axes() {
        let Some((owner, _)) = axis.path.split_once('.').filter(|(owner, _)| keys::variants(owner).is_some()) else {
            continue;
        };
        let owners: Vec<TrialConfig> = match axes().find(|other| other.path == owner) {
            Some(group) => {
                group.choices.iter().map(|choice| applied(spec, choice.settings.iter(), &mut problems)).collect()
            }
            None => vec![spec.base.clone()],
        };
        for mut config in owners {
            let first = axis.choices.first().and_then(|choice| choice.settings.first());
            if let Some(Err(problem)) = first.map(|setting| setting.apply(&mut config)) {
                let problem = Problem::new(axis.place, problem.what());
                let hint = format!("it is a parameter of {}", keys::owners(&axis.path).join(", "));
                problems.push(problem.hint(hint));
            }
        }
    }
    for entry in &spec.include {
        applied(spec, entry.settings().into_iter(), &mut problems);
    }
    problems
}

fn applied<'s>(
    spec: &SweepSpec,
    settings: impl Iterator<Item = &'s Setting>,
    problems: &mut Vec<Problem>,
) -> TrialConfig {
    let mut config = spec.base.clone();
    for setting in settings {
        problems.extend(setting.apply(&mut config).err());
    }
    config
}

impl Reader {
    pub(super) fn check_entry(&mut self, entry: &Entry) {
        let settings = entry.settings();
        let mut seen: Vec<Setting> = Vec::new();
        for setting in settings {
            self.errors.extend(repeated(setting, &seen));
            seen.push(setting.clone());
        }
        self.errors.extend(two_lengths(&seen));
    }

    /// Reports values that occur twice on an axis, fixed values that an axis would replace, and `epochs` beside `steps`.
    pub(super) fn check_axes(&mut self) {
        let mut errors = Vec::new();
        for factor in &self.factors {
            for key in &factor.keys {
                if factor.keys.len() == 1 {
                    errors.extend(twice(key));
                }
                errors.extend(self.fixed.iter().filter(|fixed| fixed.place.is_override()).filter_map(|fixed| {
                    let mut varying = key.choices.iter().flat_map(|choice| &choice.settings);
                    let hidden = varying.any(|setting| setting.path == fixed.path);
                    let what = || format!("`{}` varies in this sweep", fixed.path);
                    hidden.then(|| {
                        Problem::new(fixed.key_place, what())
                            .hint("--set changes fixed values; --only trains some values of an axis")
                    })
                }));
                let inner = format!("{}.", key.path);
                let is_whole = keys::variants(&key.path).is_some();
                errors.extend(self.fixed.iter().filter(|fixed| is_whole && fixed.path.starts_with(&inner)).map(
                    |fixed| {
                        let what = format!("`{}` varies, which would replace `{}`", key.path, fixed.path);
                        Problem::new(fixed.key_place, what).hint("write it into the values of the axis")
                    },
                ));
            }
        }
        let axes = self.factors.iter().flat_map(|d| &d.keys).map(|key| (key.path.as_str(), key.place));
        let fixed = self.fixed.iter().map(|setting| (setting.path.as_str(), setting.key_place));
        let lengths: Vec<(&str, Place)> = fixed.chain(axes).filter(|(path, _)| Key::is_length(path)).collect();
        if let Some((_, place)) = lengths.iter().find(|(path, _)| lengths.iter().any(|(other, _)| other != path)) {
            let varies = self.factors.iter().flat_map(|d| &d.keys).any(|key| Key::is_length(&key.path));
            if varies {
                errors.push(epochs_and_steps(*place));
            }
        }
        self.errors.append(&mut errors);
    }

    /// Makes `seeds` the last axis.
    pub(super) fn check_seeds(&mut self) {
        let Some(seeds) = self.seeds.take() else { return };
        if let Some(axis) = self.factors.iter().flat_map(|d| &d.keys).find(|key| Key::Seed.is(&key.path)) {
            let hint = format!("`seed` varies in line {}; keep one of the two", axis.place.line());
            self.errors.push(Problem::new(seeds.place, "`seeds` and the axis `seed` both set the seed").hint(hint));
        }
        self.factors.push(Factor { keys: vec![seeds] });
    }

    /// Warns where the two keys have another meaning than in transformers.
    pub(super) fn check_batch_meaning(&mut self, entries: &[(Node, Node)]) {
        let find = |name: &str| entries.iter().find(|(key, _)| key.text() == Some(name));
        let batch = find("per_device_train_batch_size").map(|(key, _)| key.place);
        let accumulation = find("gradient_accumulation_steps").or_else(|| find("grad_accumulation"));
        if let (Some(place), Some((_, parts))) = (batch, accumulation)
            && whole(parts).is_some_and(|parts| parts > 1)
        {
            let what = "`batch_size` is the number of examples per optimizer step; transformers would multiply it by the accumulation";
            self.warnings.push(Problem::new(place, what).hint("for the same run, multiply it by the accumulation"));
        }
    }
}

/// Reports a setting whose key was set before.
pub(super) fn repeated(setting: &Setting, earlier: &[Setting]) -> Option<Problem> {
    let first = earlier.iter().find(|earlier| earlier.path == setting.path)?;
    let problem = Problem::new(setting.key_place, format!("`{}` is set twice", setting.path));
    Some(problem.hint(format!("first in line {}", first.key_place.line())))
}

pub(super) fn two_lengths(settings: &[Setting]) -> Option<Problem> {
    let find = |path| settings.iter().find(|setting| setting.path == path);
    let (epochs, steps) = (find("epochs")?, find("steps")?);
    Some(epochs_and_steps(epochs.key_place.max(steps.key_place)))
}

fn epochs_and_steps(place: Place) -> Problem {
    Problem::new(place, "`epochs` and `steps` both say how long to train").hint("keep one of them")
}

/// Reports values that occur twice on an axis.
fn twice(key: &AxisKey) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen: HashMap<String, &str> = HashMap::new();
    for choice in &key.choices {
        let AxisValue { value, text } = &choice.shown;
        let place = choice.settings.first().map_or(key.place, |setting| setting.place);
        match seen.get(&value.to_string()) {
            Some(earlier) if *earlier == text => {
                problems.push(Problem::new(place, format!("`{text}` is on this axis twice")).hint("remove one"));
            }
            Some(earlier) => {
                let what = format!("`{text}` and `{earlier}` are the same value");
                problems.push(Problem::new(place, what).hint("remove one"));
            }
            None => drop(seen.insert(value.to_string(), text)),
        }
    }
    problems
}
