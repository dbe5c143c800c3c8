//! Checks that need the whole sweep: whether parameters fit the schedules and augmentations they meet.

use super::keys;
use super::problem::Problem;
use super::sweep::{Setting, SweepSpec};
use crate::trial::TrialConfig;

/// Every value of an axis such as `scheduler.cycles` must fit every schedule that it is combined with, and every entry of
/// `include` must apply to the fixed values.
pub(super) fn parameters(spec: &SweepSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let axes = || spec.dimensions.iter().flat_map(|dimension| &dimension.keys);
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
                let hint = format!(
                    "`{}` is combined with it; it is a parameter of {}",
                    axis.path,
                    keys::owners(&axis.path).join(", ")
                );
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
