//! Mistakes that involve several keys: keys that are set twice, axes that hide fixed values, and parameters that do not fit
//! the schedules and augmentations that they are combined with.

use std::collections::HashMap;

use super::keys;
use super::kind::whole;
use super::problem::{Place, Problem};
use super::search::SamplerName;
use super::sweep::{AxisKey, Choice, DrawnSpace, Entry, Factor, Setting, SweepSpec, place_of};
use super::yaml::Node;
use crate::trial::{AxisValue, Keep, Key, TrialConfig, number_text};

/// The mistakes of axes such as `scheduler.cycles`: they must fit every schedule that they are combined with. Also those of
/// `include`, whose entries must fit the fixed values.
pub(super) fn parameters(spec: &SweepSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (_, factors) in spec.grids() {
        let axes = || factors.iter().flat_map(|factor| &factor.keys);
        for axis in axes() {
            let Some((owner, _)) = axis.path.split_once('.').filter(|(owner, _)| keys::variants(owner).is_some())
            else {
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

/// Keys of an entry of `include` or `exclude` that cannot vary or are set twice, and `epochs` beside `steps`.
pub(super) fn entry(entry: &Entry) -> Vec<Problem> {
    let settings: Vec<Setting> = entry.settings().into_iter().cloned().collect();
    let varying = settings.iter().filter_map(|setting| cannot_vary(&setting.path, setting.key_place));
    varying.chain(repeated_keys(&settings)).chain(two_lengths(&settings)).collect()
}

/// Keys that are set twice.
pub(super) fn repeated_keys(settings: &[Setting]) -> Vec<Problem> {
    settings.iter().enumerate().filter_map(|(index, setting)| repeated(setting, &settings[..index])).collect()
}

/// Values that occur twice on an axis.
pub(super) fn values(factors: &[Factor]) -> Vec<Problem> {
    let alone = factors.iter().filter(|factor| factor.keys.len() == 1);
    alone.flat_map(|factor| &factor.keys).flat_map(|key| twice(key.place, &key.choices)).collect()
}

/// Fixed values that an axis would replace, and `epochs` beside `steps`.
pub(super) fn axes(factors: &[Factor], fixed: &[Setting]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for factor in factors {
        for key in &factor.keys {
            problems.extend(cannot_vary(&key.path, key.place));
            let inner = key.choices.iter().flat_map(|choice| &choice.settings).filter(|one| one.path != key.path);
            problems.extend(inner.filter_map(|setting| cannot_vary(&setting.path, setting.key_place)));
            problems.extend(fixed.iter().filter_map(|fixed| hidden_override(key, fixed)));
            problems.extend(fixed.iter().filter_map(|fixed| replaced(key, fixed)));
        }
    }
    let axes = factors.iter().flat_map(|factor| &factor.keys).map(|key| (key.path.as_str(), key.place));
    let varies = axes.clone().any(|(path, _)| Key::is_length(path));
    let fixed = fixed.iter().map(|setting| (setting.path.as_str(), setting.key_place));
    let lengths: Vec<(&str, Place)> = fixed.chain(axes).filter(|(path, _)| Key::is_length(path)).collect();
    let second = lengths.iter().find(|(path, _)| lengths.iter().any(|(other, _)| other != path));
    problems.extend(second.filter(|_| varies).map(|(_, place)| epochs_and_steps(*place)));
    problems
}

/// Reports a value of `--set` whose key is on an axis.
fn hidden_override(key: &AxisKey, fixed: &Setting) -> Option<Problem> {
    let mut varying = key.choices.iter().flat_map(|choice| &choice.settings);
    if !fixed.place.is_override() || !varying.any(|setting| setting.path == fixed.path) {
        return None;
    }
    let problem = Problem::new(fixed.key_place, format!("`{}` varies in this sweep", fixed.path));
    Some(problem.hint("--set changes fixed values; --only trains some values of an axis"))
}

/// Reports a fixed parameter, such as `scheduler.cycles`, of a key whose axis replaces the whole value.
fn replaced(key: &AxisKey, fixed: &Setting) -> Option<Problem> {
    keys::variants(&key.path)?;
    fixed.path.strip_prefix(&key.path)?.strip_prefix('.')?;
    let what = format!("`{}` varies, which would replace `{}`", key.path, fixed.path);
    Some(Problem::new(fixed.key_place, what).hint("write it into the values of the axis"))
}

/// Reports `seeds` beside an axis `seed`.
pub(super) fn seeds(seeds: &AxisKey, factors: &[Factor]) -> Option<Problem> {
    let axis = factors.iter().flat_map(|factor| &factor.keys).find(|key| Key::Seed.is(&key.path))?;
    let problem = Problem::new(seeds.place, "`seeds` and the axis `seed` both set the seed");
    Some(problem.hint(format!("`seed` varies in line {}; keep one of the two", axis.place.line())))
}

/// Reports `data.eval` beside `data.folds`, and folds that do not exist.
pub(super) fn folds(spec: &SweepSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (config, settings) in spec.variations(&["data.folds", "data.fold", "data.eval"]) {
        let place = |path| place_of(settings.iter().copied(), path).unwrap_or(Place::NOWHERE);
        let eval = settings.iter().find(|setting| setting.path == "data.eval");
        match (config.data.folds, config.data.fold, eval) {
            (Some(_), _, Some(eval)) => {
                let problem = Problem::new(eval.key_place, "`data.eval` and `data.folds` both say what is evaluated");
                problems.push(problem.hint("each fold is the evaluation set of some trials: remove `data.eval`"));
            }
            (Some(folds), Some(fold), None) if fold > folds => {
                let problem = Problem::new(place("data.fold"), format!("`data.fold` cannot be {fold}"));
                problems.push(problem.hint(format!("`data.folds` makes {folds} folds")));
            }
            _ => {}
        }
    }
    problems.dedup_by(|a, b| a.place() == b.place() && a.what() == b.what());
    problems
}

/// A warning where a test set waits for weights that no trial keeps.
pub(super) fn test_without_weights(spec: &SweepSpec) -> Option<Problem> {
    let test = spec.fixed.iter().find(|setting| setting.path == "data.test" && !setting.value.is_null())?;
    let problem =
        Problem::new(test.place, "the test set cannot be evaluated, because `run.keep: none` keeps no weights");
    (spec.run.keep == Keep::None).then(|| problem.hint("leave `run.keep` out, or write `run: {keep: winner}`"))
}

/// Where the sections `space` and `search` stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct SearchPlaces {
    pub arms: Option<Place>,
    pub space: Option<Place>,
    pub search: Option<Place>,
}

/// What does not go together with a search. `undrawable`: keys of the section whose ranges or lists have mistakes.
pub(super) fn search(
    places: SearchPlaces,
    (drawn, undrawable): (&DrawnSpace, &[(String, Place)]),
    factors: &[Factor],
    fixed: &[Setting],
) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let (None, Some(place)) = (places.space, places.search) {
        let hint = match places.arms {
            Some(_) => "leave it out: each arm has a grid of its own, and does not go together with `space`",
            None => "add one, such as `space: {lr: {log: [1e-6, 1e-3]}}`",
        };
        problems.push(Problem::new(place, "`search` needs a `space` to draw from").hint(hint));
    }
    if places.space.is_none() {
        return problems;
    }
    for factor in factors {
        for key in factor.keys.iter().filter(|_| factor.keys.len() > 1).take(1) {
            problems.push(
                Problem::new(key.place, "`zip` and `space` do not go together").hint("move its keys into `grid`"),
            );
        }
    }
    let valid =
        drawn.keys.iter().zip(&drawn.factors).map(|(key, axis)| (key.path.as_str(), key.place, axis.keys.as_slice()));
    let others = undrawable.iter().map(|(path, place)| (path.as_str(), *place, &[][..]));
    for (path, place, axis) in valid.chain(others) {
        let elsewhere = factors.iter().flat_map(|factor| &factor.keys).find(|key| key.path == path);
        if let Some(axis) = elsewhere {
            let hint = format!("it is on the grid in line {}; keep one of the two", axis.place.line());
            problems.push(Problem::new(place, format!("`{path}` is drawn and on the grid")).hint(hint));
        }
        let is_replaced = |fixed: &&Setting| fixed.path == path || axis.iter().any(|key| key.replaces(&fixed.path));
        if let Some(fixed) = fixed.iter().filter(|fixed| !fixed.key_place.is_override()).find(is_replaced) {
            let hint = format!("it is fixed in line {}; keep one of the two", fixed.key_place.line());
            problems.push(Problem::new(place, format!("`{}` is drawn and fixed", fixed.path)).hint(hint));
        }
        if Key::Seed.is(path) {
            let hint = "`seeds: [1, 2, 3]` at the top level repeats each configuration";
            problems.push(Problem::new(place, "`seed` cannot be drawn").hint(hint));
        }
    }
    problems
}

/// Trials of each configuration of a search: its seeds and folds.
fn repetitions(spec: &SweepSpec) -> u64 {
    let repeats = |axis: Option<usize>| axis.map_or(1, |index| spec.factors[index].len().max(1) as u64);
    repeats(spec.seeds) * repeats(spec.folds)
}

/// Reports a search with too few trials for a single configuration.
pub(super) fn too_few_trials(spec: &SweepSpec, place: Place) -> Option<Problem> {
    let (trials, each) = (spec.search.as_ref()?.config.trials, repetitions(spec));
    let what = format!("`search.trials` is {trials}, and each configuration takes {each} trials, one for each seed");
    (trials < each).then(|| Problem::new(place, what).hint(format!("raise `trials` to {each} or more")))
}

/// Reports a value of the metric that no model reaches.
pub(super) fn goal(spec: &SweepSpec, place: Place) -> Option<Problem> {
    let until = spec.search.as_ref()?.config.until?;
    let metric = spec.base.metric;
    let (ideal, side) = (metric.ideal(), if metric.is_cost() { "below" } else { "above" });
    let what = format!("`search.until` is {}, and {} is never {side} {ideal}", number_text(until), metric.title());
    let share = until / 100.0;
    let hint = if !metric.is_cost() && share <= ideal {
        format!("write {} for {} %", number_text(share), number_text(until))
    } else {
        "choose a value that a model can reach".to_owned()
    };
    (metric.cost(until) < metric.cost(ideal)).then(|| Problem::new(place, what).hint(hint))
}

/// Warnings where trials of the budget, or points of the grid, are left out.
pub(super) fn uneven_trials(spec: &SweepSpec, place: Place) -> Vec<Problem> {
    let Some(search) = &spec.search else { return Vec::new() };
    let (trials, each) = (search.config.trials, repetitions(spec));
    let mut warnings = Vec::new();
    if trials % each > 0 {
        let (fewer, more) = (trials - trials % each, trials + each - trials % each);
        let what = format!("each configuration takes {each} trials, so that {fewer} of {trials} are drawn");
        warnings.push(Problem::new(place, what).hint(format!("write `trials: {more}` for one configuration more")));
    }
    let repeated = [spec.seeds, spec.folds];
    let grid = spec.factors.iter().enumerate().filter(|(index, _)| !repeated.contains(&Some(*index)));
    let points: u64 = grid.map(|(_, factor)| factor.len() as u64).product();
    let included = spec.include.len() as u64;
    let drawn = (trials / each).saturating_sub(included);
    if drawn < points {
        let what = format!("points of the grid for which nothing is drawn: {} of {points}", points - drawn);
        let least = (points + included) * each;
        let hint = format!("each point has a search of its own; `trials: {least}` draws for each of them");
        warnings.push(Problem::new(place, what).hint(hint));
    }
    warnings
}

/// A warning where a search ends before its sampler learns.
pub(super) fn never_learns(spec: &SweepSpec, place: Option<Place>) -> Option<Problem> {
    let config = &spec.search.as_ref()?.config;
    let configurations = config.trials / repetitions(spec);
    let learns = config.sampler != SamplerName::Tpe || configurations > config.startup || !config.from.is_empty();
    let what =
        format!("all {configurations} configurations are drawn before `tpe` learns: `startup` is {}", config.startup);
    (!learns).then(|| Problem::new(place.unwrap_or(Place::NOWHERE), what).hint("raise `trials`, or lower `startup`"))
}

/// A warning where the two keys have another meaning than in transformers. `entries` are those of the top level.
pub(super) fn batch_meaning(entries: &[(Node, Node)]) -> Option<Problem> {
    let find = |name: &str| entries.iter().find(|(key, _)| key.text() == Some(name));
    let (batch, _) = find("per_device_train_batch_size")?;
    let (_, parts) = find("gradient_accumulation_steps").or_else(|| find("grad_accumulation"))?;
    if whole(parts)? <= 1 {
        return None;
    }
    let what =
        "`batch_size` is the number of examples per optimizer step; transformers would multiply it by the accumulation";
    Some(Problem::new(batch.place, what).hint("for the same run, multiply it by the accumulation"))
}

/// Reports an axis, or a value of an entry, for a key that all trials of a sweep share.
fn cannot_vary(path: &str, place: Place) -> Option<Problem> {
    let why = match path {
        "metric" => "it ranks all trials of a sweep",
        "data.task" => "the losses and metrics of different tasks cannot be compared",
        "data.folds" => "its folds repeat every configuration",
        _ => return None,
    };
    Some(Problem::new(place, format!("`{path}` cannot vary: {why}")).hint("write it at the top level, with one value"))
}

/// Reports a setting whose key was set before.
fn repeated(setting: &Setting, earlier: &[Setting]) -> Option<Problem> {
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

/// Reports values that occur twice among these. `axis`: the place of their key.
pub(super) fn twice<'c>(axis: Place, choices: impl IntoIterator<Item = &'c Choice>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen: HashMap<String, &str> = HashMap::new();
    for choice in choices {
        let AxisValue { value, text } = &choice.shown;
        let place = choice.settings.first().map_or(axis, |setting| setting.place);
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
