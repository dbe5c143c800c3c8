//! The expansion of a sweep: one pass over the product, then one over `include`.

use std::cell::LazyCell;
use std::collections::hash_map;
use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::defaults::{settle_model, settle_precision, settle_warmup};
use super::identity::Identities;
use super::{AugmentationFound, Bf16Found, DataFound, Facts, ModelFound, check, idle, task};
use crate::search::{Draw, Point, SearchHistory};
use crate::spec::{
    Arm, Choice, Entry, Exclusion, Factor, Place, Problem, Problems, Setting, SweepSpec, greatest, lookup, place_of,
    shown, source_key,
};
use crate::trial::{Augmentation, Axis, AxisValue, DrawnBy, Key, Trial, TrialConfig, TrialId};

/// The most entries of `exclude` that a warning names one by one.
const NAMED_ENTRIES: usize = 20;

/// The trials of a sweep, in order, each id once.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub name: String,
    /// What varies, in the order of the sweep file; `seed` last if it varies.
    pub axes: Vec<Axis>,
    pub trials: Vec<Trial>,
    /// What the search of the sweep has drawn; None for a grid.
    pub search: Option<SearchHistory>,
    /// What the user should know, such as an `exclude` entry that matches nothing.
    pub warnings: Vec<String>,
}

/// The trials of a sweep without a search.
///
/// # Errors
/// Every value that does not fit its data or checkpoint, with its place.
pub(super) fn grid(spec: &SweepSpec, facts: &Facts) -> Result<Plan, Problems> {
    let mut expansion = Expansion::new(spec, facts);
    expansion.product();
    expansion.include();
    let mut plan = expansion.finish()?;
    plan.warnings.extend(idle::warnings(&spec.run.stop, &plan.trials, plan.trials.len() as u64, facts));
    Ok(plan)
}

impl Plan {
    /// Adds trials of a search. Their new values join the axes, numbers in order.
    pub fn extend(&mut self, trials: &[Trial]) {
        for trial in trials {
            for (key, value) in &trial.values {
                if let Some(axis) = self.axes.iter_mut().find(|axis| axis.key == *key) {
                    insert(axis, value);
                }
            }
            self.trials.push(trial.clone());
        }
    }

    /// Trials that the search may still draw; 0 for a grid, and where only the time of the search bounds them.
    #[must_use]
    pub fn undrawn(&self) -> usize {
        self.search.as_ref().and_then(SearchHistory::undrawn).unwrap_or(0) as usize
    }

    /// Adds a configuration that the search has drawn.
    pub fn draw(&mut self, number: u64, by: DrawnBy, point: &Point, trials: &[Trial]) {
        self.extend(trials);
        if let Some(search) = &mut self.search {
            let trials = trials.iter().map(|trial| trial.id.clone()).collect();
            search.draws.push(Draw { number, by, point: Some(point.clone()), trials });
        }
    }
}

/// Adds a value to those of an axis, if it is new. Numbers stay in order.
fn insert(axis: &mut Axis, value: &AxisValue) {
    let values = &mut axis.values;
    // A range may have thousands of values. Those of a drawn axis are in order; those of a grid are as the file has them.
    let is_in_order = axis.drawn && values.first().is_some_and(|first| first.value.is_number());
    if let Some(x) = value.value.as_f64().filter(|_| is_in_order) {
        let at = values.partition_point(|known| known.value.as_f64().is_some_and(|known| known < x));
        if values.get(at).is_none_or(|known| known.value != value.value) {
            values.insert(at, value.clone());
        }
        return;
    }
    if values.iter().any(|known| known.value == value.value) {
        return;
    }
    let above = |known: &AxisValue| Some(known.value.as_f64()? > value.value.as_f64()?);
    let at = values.iter().position(|known| above(known) == Some(true)).unwrap_or(values.len());
    values.insert(at, value.clone());
}

/// Puts values in order, if all are numbers. Each arm has numbers of its own.
fn sort_numbers(values: &mut [AxisValue]) {
    if values.iter().all(|value| value.value.is_number()) {
        values.sort_by(|a, b| a.value.as_f64().unwrap_or(0.0).total_cmp(&b.value.as_f64().unwrap_or(0.0)));
    }
}

/// A key that varies, with its values so far.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) path: String,
    /// False for the arm and the keys that only `arms`, `include` or a search sets: their values come from the trials.
    is_on_grid: bool,
    values: Vec<AxisValue>,
    /// The index of each value, by its JSON text: an axis may have 100,000 values.
    index: HashMap<String, usize>,
}

impl Column {
    fn new(path: &str, is_on_grid: bool) -> Self {
        Self { path: path.to_owned(), is_on_grid, values: Vec::new(), index: HashMap::new() }
    }

    fn add(&mut self, shown: &AxisValue) {
        if let hash_map::Entry::Vacant(place) = self.index.entry(shown.value.to_string()) {
            place.insert(self.values.len());
            self.values.push(shown.clone());
        }
    }

    /// The value of a configuration, in the form of the sweep file. A new value is added to the axis.
    fn value_in(&mut self, config: &Value) -> AxisValue {
        let value = shown(&self.path, lookup(config, &self.path).unwrap_or(&Value::Null));
        if let Some(&known) = self.index.get(&value.value.to_string()) {
            return self.values[known].clone();
        }
        self.add(&value);
        value
    }
}

/// The axes of the product, then the keys that only `include` sets, then folds and seeds.
fn columns(spec: &SweepSpec) -> Vec<Column> {
    let mut columns: Vec<Column> = if spec.arms.is_empty() { Vec::new() } else { columns_of_arms(spec) };
    for key in spec.factors.iter().flat_map(|factor| &factor.keys) {
        let mut column = Column::new(&key.path, true);
        for choice in &key.choices {
            column.add(&choice.shown);
        }
        columns.push(column);
    }
    for key in spec.search.iter().flat_map(|search| &search.drawn.keys) {
        columns.push(Column::new(&key.path, false));
    }
    for (path, _) in spec.include.iter().flat_map(|entry| &entry.values) {
        if columns.iter().all(|column| column.path != *path) {
            columns.push(Column::new(path, false));
        }
    }
    // Values that only `include` gives to an axis keep the form in which they were written.
    for column in columns.iter_mut().filter(|column| column.is_on_grid) {
        for (path, choice) in spec.include.iter().flat_map(|entry| &entry.values) {
            if *path == column.path {
                column.add(&choice.shown);
            }
        }
    }
    let (mut repeats, mut columns): (Vec<Column>, Vec<Column>) =
        columns.into_iter().partition(|column| Key::is_repetition(&column.path));
    repeats.sort_by_key(|column| Key::Seed.is(&column.path));
    columns.extend(repeats.into_iter().filter(|column| !column.is_on_grid || column.values.len() > 1));
    columns
}

/// The name of the arm, then the keys that vary inside an arm. The name stands for the keys that an arm fixes.
fn columns_of_arms(spec: &SweepSpec) -> Vec<Column> {
    let mut name = Column::new(Key::Arm.path(), false);
    let mut columns: Vec<Column> = Vec::new();
    for arm in &spec.arms {
        name.add(&arm_name(arm));
        for key in arm.keys().filter(|key| key.choices.len() > 1) {
            if columns.iter().all(|column| column.path != key.path) {
                columns.push(Column::new(&key.path, false));
            }
        }
    }
    columns.insert(0, name);
    columns
}

fn arm_name(arm: &Arm) -> AxisValue {
    AxisValue { value: arm.name.as_str().into(), text: arm.name.clone() }
}

#[derive(Debug)]
pub(super) struct Expansion<'s> {
    spec: &'s SweepSpec,
    data: HashMap<String, &'s DataFound>,
    models: HashMap<&'s str, &'s ModelFound>,
    augmentations: &'s [AugmentationFound],
    bf16: &'s Bf16Found,
    /// The sources of the previous trial.
    last: Option<(&'s DataFound, &'s ModelFound)>,
    columns: Vec<Column>,
    pub(super) trials: Vec<Trial>,
    identities: Identities,
    ids: HashSet<TrialId>,
    /// The arm whose product is being expanded.
    arm: Option<usize>,
    /// The arm of each trial.
    arms: HashMap<TrialId, usize>,
    /// Number of trials that were equal to an earlier one.
    dropped: usize,
    exclude: Exclusion<'s>,
    /// For each entry of `exclude`, whether it has matched.
    matched: Vec<bool>,
    problems: HashMap<(Place, String), Problem>,
    /// The first mistake of a configuration that a search has left out.
    pub(super) unfit: Option<Problem>,
}

impl<'s> Expansion<'s> {
    pub(super) fn new(spec: &'s SweepSpec, facts: &'s Facts) -> Self {
        /// Room that is reserved for trials. Moving 100,000 of them again and again takes half a second.
        const RESERVED: u128 = 100_000;
        Self {
            spec,
            data: facts.data.iter().map(|found| (source_key(&found.written, &found.model), found)).collect(),
            models: facts.models.iter().map(|found| (found.written.as_str(), found)).collect(),
            augmentations: &facts.augmentations,
            bf16: &facts.bf16,
            last: None,
            columns: columns(spec),
            trials: Vec::with_capacity(spec.size().min(RESERVED) as usize),
            identities: Identities::new(),
            ids: HashSet::new(),
            arm: None,
            arms: HashMap::new(),
            dropped: 0,
            exclude: Exclusion::new(spec.exclude.iter().map(Entry::wanted)),
            matched: vec![false; spec.exclude.len()],
            problems: HashMap::new(),
            unfit: None,
        }
    }

    /// Every combination of the axes, the last varying fastest.
    fn product(&mut self) {
        for (arm, factors) in self.spec.grids() {
            self.arm = arm;
            self.product_of(&factors);
        }
        self.arm = None;
    }

    fn product_of(&mut self, factors: &[&'s Factor]) {
        let name = self.arm.map(|arm| arm_name(&self.spec.arms[arm]));
        // Shallow keys are applied before deeper ones, in whatever order they are written.
        let mut order: Vec<(usize, usize)> = Vec::new();
        for (d, factor) in factors.iter().enumerate() {
            order.extend((0..factor.keys.len()).map(|k| (d, k)));
        }
        order.sort_by_key(|&(d, k)| factors[d].keys[k].path.split('.').count());
        let mut point = vec![0; factors.len()];
        loop {
            let chosen: Vec<&Choice> = order.iter().map(|&(d, k)| &factors[d].keys[k].choices[point[d]]).collect();
            let settings: Vec<&Setting> = chosen.iter().flat_map(|choice| &choice.settings).collect();
            self.trial(&settings, |column| {
                if Key::Arm.is(&column.path) {
                    return name.clone();
                }
                let found = order.iter().find(|&&(d, k)| factors[d].keys[k].path == column.path);
                found.map(|&(d, k)| factors[d].keys[k].choices[point[d]].shown.clone())
            });
            let Some(next) = (0..factors.len()).rev().find(|&d| point[d] + 1 < factors[d].len()) else { break };
            point[next] += 1;
            point[next + 1..].fill(0);
        }
    }

    /// Included trials, over the fixed values. Folds and seeds repeat them, unless they name a fold or a seed.
    pub(super) fn include(&mut self) {
        for entry in &self.spec.include {
            for repeat in self.spec.repetitions(entry) {
                let mut settings = entry.settings();
                settings.extend(repeat.into_iter().flat_map(|choice| &choice.settings));
                self.trial(&settings, |column| {
                    let written = entry.values.iter().find(|(path, _)| *path == column.path);
                    written.map(|(_, choice)| choice.shown.clone())
                });
            }
        }
    }

    /// Adds the trial that `settings` and the fixed values describe. `known` gives the values that need no look-up.
    pub(super) fn trial(&mut self, settings: &[&Setting], known: impl Fn(&Column) -> Option<AxisValue>) {
        let mut config = self.spec.base.clone();
        for setting in settings {
            if let Err(problem) = setting.apply(&mut config) {
                self.problem(problem);
            }
        }
        let place = |key| place_of(self.spec.fixed.iter().chain(settings.iter().copied()), key);
        let Some((data, model)) = self.found(&config) else {
            // Sources that only excluded trials use are not looked up.
            if !serde_json::to_value(&config).is_ok_and(|json| self.is_excluded(&json)) {
                let place = place("data.train").or_else(|| place("model.from")).unwrap_or(Place::NOWHERE);
                self.problem(Problem::new(place, "nothing is known of this trial's data or checkpoint"));
            }
            return;
        };
        let model_facts = model.facts_of(&config.model);
        settle_model(&mut config, &model_facts);
        settle_precision(&mut config, self.bf16);
        settle_warmup(&mut config, place(Key::Warmup.path()).is_some());
        // Most sweeps need the configuration as JSON only for its id.
        let json = LazyCell::new(|| serde_json::to_value(&config).unwrap_or_default());
        if !self.exclude.is_empty() && self.is_excluded(&json) {
            return;
        }
        let steps = config.length.steps(data.facts.train_rows, config.batch_size);
        let first = self.trials.first().map(|trial| &trial.config);
        let unlike = first.and_then(|first| task::unlike_losses(first, &config, &self.spec.run.stop));
        let of_task = task::mistakes(&config, &data.facts).into_iter().chain(unlike);
        for mistake in check::mistakes(&config, steps, &data.facts, &model_facts)
            .into_iter()
            .chain(of_task)
            .chain(check::precision(&config, self.bf16))
        {
            let at = place(mistake.key).or_else(|| place(mistake.or_else)).unwrap_or(Place::NOWHERE);
            self.problem(mistake.at(at));
        }
        let values = self.columns.iter_mut().map(|column| {
            let value = match known(column) {
                Some(value) => {
                    if !column.is_on_grid {
                        column.add(&value);
                    }
                    value
                }
                None => column.value_in(&json),
            };
            (column.path.clone(), value)
        });
        let values = values.collect();
        drop(json);
        config.model.settle();
        let augmentations = self.augmentations;
        let identity_of = |method: &Augmentation| {
            let found = augmentations.iter().find(|found| found.written == *method);
            found.map_or_else(|| method.clone(), |found| found.identity.clone())
        };
        let Some(id) = self.identities.id(&config, identity_of, &data.facts, &model.facts) else { return };
        if !self.ids.insert(id.clone()) {
            match (self.arms.get(&id).copied(), self.arm) {
                (Some(first), Some(second)) if first != second => self.equal_arms(first, second),
                _ => self.dropped += 1,
            }
            return;
        }
        self.arms.extend(self.arm.map(|arm| (id.clone(), arm)));
        config.data.clone_from(&data.located);
        config.model.from.clone_from(&model.located);
        for method in &mut config.augmentation {
            if let Some(found) = self.augmentation(method) {
                *method = found.located.clone();
            }
        }
        self.trials.push(Trial { id, values, steps, config });
    }

    /// Reports two arms that have a trial in common.
    fn equal_arms(&mut self, first: usize, second: usize) {
        let (first, second) = (&self.spec.arms[first], &self.spec.arms[second]);
        let what = format!("the arms `{}` and `{}` have the same configuration", first.name, second.name);
        let hint = format!("`{}` is in line {}; a configuration belongs to one arm", first.name, first.place.line());
        self.problem(Problem::new(second.place, what).hint(hint));
    }

    fn augmentation(&self, written: &Augmentation) -> Option<&'s AugmentationFound> {
        self.augmentations.iter().find(|found| found.written == *written)
    }

    /// What is known of a trial's sources. Most often they are those of the previous trial.
    fn found(&mut self, config: &TrialConfig) -> Option<(&'s DataFound, &'s ModelFound)> {
        let source = config.model.source();
        let fits = |(data, model): &(&DataFound, &ModelFound)| {
            model.written == source && data.model == source && data.written == config.data
        };
        if !self.last.as_ref().is_some_and(fits) {
            let data = self.data.get(&source_key(&config.data, source))?;
            let model = self.models.get(source)?;
            self.last = Some((data, model));
        }
        self.last
    }

    fn is_excluded(&mut self, json: &Value) -> bool {
        let mut excluded = false;
        for entry in self.exclude.matches(json) {
            self.matched[entry] = true;
            excluded = true;
        }
        excluded
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.entry((problem.place(), problem.what().to_owned())).or_insert(problem);
    }

    /// Adds the trials that `add` adds, if there are `wanted`. Otherwise nothing changes, and of all mistakes the first is kept: a
    /// drawn configuration that does not fit is not given.
    pub(super) fn all_or_none(&mut self, wanted: usize, add: impl FnOnce(&mut Self)) -> Option<Vec<TrialId>> {
        let (before, dropped, problems) = (self.trials.len(), self.dropped, std::mem::take(&mut self.problems));
        add(self);
        let fits = self.problems.is_empty() && self.trials.len() == before + wanted;
        let mistakes = std::mem::replace(&mut self.problems, problems);
        self.dropped = dropped;
        if self.unfit.is_none() {
            self.unfit = mistakes.into_values().min_by(|a, b| a.what().cmp(b.what()));
        }
        if !fits {
            self.remove_from(before);
            return None;
        }
        Some(self.trials[before..].iter().map(|trial| trial.id.clone()).collect())
    }

    pub(super) fn holds(&self, id: &TrialId) -> bool {
        self.ids.contains(id)
    }

    /// Removes the trials from this index on.
    pub(super) fn remove_from(&mut self, index: usize) {
        for trial in self.trials.drain(index.min(self.trials.len())..) {
            self.ids.remove(&trial.id);
        }
    }

    pub(super) fn finish(self) -> Result<Plan, Problems> {
        if !self.problems.is_empty() {
            let mut problems: Vec<Problem> = self.problems.into_values().collect();
            // Problems at one place are sorted, too.
            problems.sort_by(|a, b| a.what().cmp(b.what()));
            return Err(self.spec.problems(problems));
        }
        let mut warnings = self.spec.warnings();
        // Of what a search may draw, few configurations are known yet.
        let unmatched = self.spec.exclude.iter().zip(&self.matched).filter(|(_, matched)| !**matched);
        let unmatched: Vec<Place> =
            unmatched.filter(|_| self.spec.search.is_none()).map(|(entry, _)| entry.place).collect();
        for &place in unmatched.iter().take(NAMED_ENTRIES) {
            warnings.push(self.spec.warning(&Problem::new(place, "this entry of `exclude` matches no trial")));
        }
        if let more @ 1.. = unmatched.len().saturating_sub(NAMED_ENTRIES) {
            warnings.push(format!("warning: {more} more entries of `exclude` match no trial"));
        }
        match self.dropped {
            0 => {}
            1 => warnings.push("warning: one trial is equal to an earlier one and was left out".into()),
            several => warnings.push(format!("warning: {several} trials are equal to earlier ones and were left out")),
        }
        if self.trials.is_empty() {
            let has_earlier = self.spec.search.as_ref().is_some_and(|search| !search.config.from.is_empty());
            let (place, hint) = match self.spec.exclude.first() {
                None => (Place::NOWHERE, "the sweeps of `search.from` have measured every configuration of the space"),
                Some(entry) if has_earlier => {
                    (entry.place, "`exclude` removes every trial that the sweeps of `search.from` have not measured")
                }
                Some(entry) => (entry.place, "`exclude` removes every trial"),
            };
            let problem = Problem::new(place, "no trial is left").hint(hint);
            return Err(self.spec.problems(vec![problem]));
        }
        let drawn = |path: &str| {
            let mut keys = self.spec.search.iter().flat_map(|search| &search.drawn.keys);
            keys.any(|key| key.path == path)
        };
        let axis = |column: Column| Axis {
            drawn: drawn(&column.path),
            greatest: greatest(&column.path),
            key: column.path,
            values: column.values,
        };
        let mut axes: Vec<Axis> = self.columns.into_iter().map(axis).collect();
        if !self.spec.arms.is_empty() {
            for axis in &mut axes {
                sort_numbers(&mut axis.values);
            }
        }
        Ok(Plan { name: self.spec.name.clone(), axes, trials: self.trials, search: None, warnings })
    }
}
