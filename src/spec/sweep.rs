//! The checked sweep: fixed values, axes, included and excluded trials. Every value is read and has its place.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::RunConfig;
use super::exclusion::Exclusion;
use super::keys::{self, ARCHITECTURE, EXTRA, Target};
use super::kind::brief;
use super::problem::{Place, Problem, Problems, Shown, Text};
use super::search::SearchConfig;
use super::yaml::Node;
use crate::search::Space;
use crate::trial::{Architecture, Augmentation, AxisValue, DataConfig, Extra, Key, TrialConfig, number_text};

/// A checked sweep file. It holds everything that the file says, and nothing that depends on data or checkpoints.
#[derive(Debug, Clone)]
pub struct SweepSpec {
    pub name: String,
    pub run: RunConfig,
    pub(super) text: Arc<Text>,
    /// The places of the values of the section `run`.
    pub(super) run_places: Vec<(String, Place)>,
    /// The defaults with the fixed values applied.
    pub(crate) base: TrialConfig,
    /// The fixed values of the file, shallow keys first.
    pub(crate) fixed: Vec<Setting>,
    /// Axes of the product in the order of the file, then the folds of `data.folds`, then seeds.
    pub(crate) factors: Vec<Factor>,
    /// Index in `factors` of the axis of seeds.
    pub(crate) seeds: Option<usize>,
    /// Index in `factors` of the axis that `data.folds` makes.
    pub(crate) folds: Option<usize>,
    /// Grids beside one another, each combined with `factors`; empty if there is one grid.
    pub(crate) arms: Vec<Arm>,
    pub(crate) include: Vec<Entry>,
    pub(crate) exclude: Vec<Entry>,
    /// The section `space` with `search`: configurations are drawn for each point of the product.
    pub(crate) search: Option<SearchSpec>,
    pub(super) warnings: Vec<Problem>,
}

/// What is drawn, and how.
#[derive(Debug, Clone)]
pub struct SearchSpec {
    pub config: SearchConfig,
    /// Where `from` stands in the file.
    pub from_place: Place,
    pub(crate) drawn: DrawnSpace,
}

/// What a search draws.
#[derive(Debug, Clone, Default)]
pub(crate) struct DrawnSpace {
    pub keys: Vec<DrawnKey>,
    /// The dimensions of all keys, in order.
    pub space: Space,
    /// Each key as an axis of the values that must be valid: the ends of a range, or all values of a list.
    pub factors: Vec<Factor>,
}

/// A key of the section.
#[derive(Debug, Clone)]
pub(crate) struct DrawnKey {
    /// Dotted; aliases resolved.
    pub path: String,
    pub place: Place,
    /// As written.
    pub(super) key: Node,
    pub(super) written: Node,
    /// Index of its dimension.
    pub(super) dimension: usize,
    /// The values of a list; empty for a range.
    pub(super) items: Vec<Item>,
}

/// A value of a list.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub node: Node,
    /// Entries of the map that are drawn, too.
    pub drawn: Vec<DrawnEntry>,
}

/// An entry of a map that is drawn.
#[derive(Debug, Clone)]
pub(super) struct DrawnEntry {
    /// Its place in the map.
    pub entry: usize,
    pub dimension: usize,
    /// The values of a list; empty for a range.
    pub values: Vec<Node>,
}

/// One key given one value.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// Dotted.
    pub path: String,
    pub key_place: Place,
    pub place: Place,
    /// Complete.
    pub value: Value,
    /// Only what was written. A configuration matches if it holds all of this.
    pub given: Value,
    pub(super) target: Target,
}

impl Setting {
    pub(crate) fn apply(&self, config: &mut TrialConfig) -> Result<(), Problem> {
        self.target.apply(config, &self.value).map_err(|what| {
            let problem = Problem::new(self.place, what);
            match keys::owners(&self.path).as_slice() {
                [] => problem,
                owners => problem.hint(format!("it is a parameter of {}", owners.join(", "))),
            }
        })
    }

    /// Levels of the path. Deeper settings are applied after shallow ones.
    pub(super) fn depth(&self) -> usize {
        self.path.split('.').count()
    }
}

/// A value that an axis or an entry gives to a key. The value of a group has several settings.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub settings: Vec<Setting>,
    pub shown: AxisValue,
}

/// A varying key.
#[derive(Debug, Clone)]
pub(crate) struct AxisKey {
    /// Dotted; aliases resolved.
    pub path: String,
    pub place: Place,
    pub choices: Vec<Choice>,
}

impl AxisKey {
    /// Whether every value of the key sets the key at a path, so that a fixed value there never counts.
    pub(super) fn replaces(&self, path: &str) -> bool {
        let sets = |choice: &Choice| choice.settings.iter().any(|setting| setting.path == path);
        !self.choices.is_empty() && self.choices.iter().all(sets)
    }
}

/// One factor of the product: a key, or all keys of `zip`. All of them have the same number of choices.
#[derive(Debug, Clone)]
pub(crate) struct Factor {
    pub keys: Vec<AxisKey>,
}

/// An entry of `arms`: a grid of its own, beside the common one.
#[derive(Debug, Clone)]
pub(crate) struct Arm {
    pub name: String,
    pub place: Place,
    /// One key each. A key that is fixed for the arm has one choice.
    pub factors: Vec<Factor>,
}

impl Arm {
    pub(crate) fn keys(&self) -> impl Iterator<Item = &AxisKey> {
        self.factors.iter().flat_map(|factor| &factor.keys)
    }
}

impl Factor {
    /// Cuts the keys to equal lengths, which differ when some values were wrong. False if no choice is left.
    pub(super) fn even(&mut self) -> bool {
        let shortest = self.keys.iter().map(|key| key.choices.len()).min().unwrap_or(0);
        self.keys.iter_mut().for_each(|key| key.choices.truncate(shortest));
        shortest > 0
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.first().map_or(0, |key| key.choices.len())
    }
}

/// An entry of `include` or `exclude`.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub place: Place,
    pub values: Vec<(String, Choice)>,
}

impl Entry {
    /// Shallow keys first.
    pub(crate) fn settings(&self) -> Vec<&Setting> {
        let mut settings: Vec<&Setting> = self.values.iter().flat_map(|(_, choice)| &choice.settings).collect();
        settings.sort_by_key(|setting| setting.depth());
        settings
    }

    /// What a configuration must hold to match: paths and values.
    pub(crate) fn wanted(&self) -> Vec<(&str, &Value)> {
        self.settings().into_iter().map(|setting| (setting.path.as_str(), &setting.given)).collect()
    }
}

/// What tables and figures show for a complete value at `path`.
pub(crate) fn shown(path: &str, full: &Value) -> AxisValue {
    let value = in_short(path, full);
    AxisValue { text: readable(&value), value }
}

/// A complete value at `path`, without the parameters of schedules and augmentations that are at their defaults.
pub(crate) fn in_short(path: &str, full: &Value) -> Value {
    keys::variants(path).map_or_else(|| full.clone(), |variants| brief(variants, full))
}

/// A short form of a structured value: `synonym 0.1`, `synonym+random_swap`, `0.9,0.999`, `freeze=2 reinit=1`.
pub(super) fn readable(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(x) if !number.is_u64() => number_text(x),
            _ => number.to_string(),
        },
        Value::Bool(flag) => flag.to_string(),
        Value::Array(items) => {
            let separator = if items.iter().any(Value::is_number) { "," } else { "+" };
            items.iter().map(readable).collect::<Vec<_>>().join(separator)
        }
        Value::Object(entries) => readable_map(entries),
    }
}

fn readable_map(entries: &Map<String, Value>) -> String {
    let name = entries.get("name").map(readable);
    let mut parts: Vec<String> = name.clone().into_iter().collect();
    let rest: Vec<_> = entries.iter().filter(|(key, _)| *key != "name").collect();
    match (name, rest.as_slice()) {
        (Some(_), [(_, value)]) => parts.push(readable(value)),
        _ => parts.extend(rest.iter().map(|(key, value)| format!("{key}={}", readable(value)))),
    }
    parts.join(" ")
}

/// Whether setting one of two dotted paths touches the other.
fn overlap(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The place of the last setting that decides `path`.
pub(crate) fn place_of<'s>(settings: impl DoubleEndedIterator<Item = &'s Setting>, path: &str) -> Option<Place> {
    settings.rev().find(|setting| overlap(&setting.path, path)).map(|setting| setting.place)
}

/// What a sweep needs from outside before it can be planned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sources {
    /// Every distinct data section, with the checkpoint whose tokenizer reads it.
    pub data: Vec<DataSource>,
    pub models: Vec<ModelSource>,
    /// Every distinct augmentation.
    pub augmentations: Vec<AugmentationSource>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DataSource {
    /// As written.
    pub data: DataConfig,
    /// `model.from` as written.
    pub model: String,
    /// The places of the keys of the section that are written.
    places: Vec<(&'static str, Place)>,
}

impl DataSource {
    /// The place of `key`, else that of `data.train`.
    pub fn place(&self, key: &str) -> Place {
        let find = |key: &str| self.places.iter().find(|(known, _)| *known == key).map(|&(_, place)| place);
        find(key).or_else(|| find("data.train")).unwrap_or(Place::NOWHERE)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct ModelSource {
    /// As written.
    pub from: String,
    pub place: Place,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AugmentationSource {
    /// As written.
    pub method: Augmentation,
    pub place: Place,
}

/// One combination of values of some axes.
struct Combination<'s> {
    config: TrialConfig,
    /// What was applied to the defaults, in order.
    settings: Vec<&'s Setting>,
}

impl SweepSpec {
    /// The configuration of the fixed values. Varying keys have their fixed or default values.
    pub fn base(&self) -> &TrialConfig {
        &self.base
    }

    /// Warnings, as text to print.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.iter().map(|warning| self.warning(warning)).collect()
    }

    /// A warning as text to print.
    pub fn warning(&self, problem: &Problem) -> String {
        Shown { text: &self.text, problem, label: "warning: " }.to_string()
    }

    /// Mistakes that were found later, such as a missing file, in the form of those of the parser.
    pub fn problems(&self, list: Vec<Problem>) -> Problems {
        Problems::new(Arc::clone(&self.text), list)
    }

    /// The place of the value of `run.NAME`.
    pub fn run_place(&self, name: &str) -> Place {
        self.run_places.iter().find(|(known, _)| known == name).map_or(Place::NOWHERE, |&(_, place)| place)
    }

    /// What a search draws, and the points of the grid that have searches of their own, as text that changes with them.
    pub(crate) fn space_text(&self) -> String {
        let mut text = String::new();
        for key in self.search.iter().flat_map(|search| &search.drawn.keys) {
            let _ = write!(text, "{}: {}; ", key.path, key.written.flow());
        }
        for key in self.factors.iter().flat_map(|factor| &factor.keys).filter(|key| !Key::is_repetition(&key.path)) {
            let values: Vec<String> = key.choices.iter().map(|choice| choice.shown.value.to_string()).collect();
            let _ = write!(text, "{}: [{}]; ", key.path, values.join(", "));
        }
        text
    }

    /// Forgets seeds and folds that repeat each configuration, and the trials of `include`.
    pub(crate) fn without_repetitions(&mut self) {
        let mut index = 0;
        let repeated = [self.seeds.take(), self.folds.take()];
        self.factors.retain(|_| {
            index += 1;
            !repeated.contains(&Some(index - 1))
        });
        self.include.clear();
    }

    /// Number of trials before `exclude` is applied and equal ones are left out.
    pub fn size(&self) -> u128 {
        if let Some(search) = &self.search {
            return u128::from(search.config.trials);
        }
        let size = |factors: Vec<&Factor>| {
            factors.iter().fold(1u128, |size, factor| size.saturating_mul(factor.len() as u128))
        };
        let product = self.grids().map(|(_, factors)| size(factors)).fold(0u128, u128::saturating_add);
        let extra = self.include.iter().map(|entry| {
            let repeats = self.repeats(entry).map(|axis| axis.choices.len() as u128);
            repeats.fold(1u128, u128::saturating_mul)
        });
        let extra = extra.fold(0u128, u128::saturating_add);
        product.saturating_add(extra)
    }

    /// The factors of each product: for each arm its own, then the common ones. Without arms there is one product.
    pub(crate) fn grids(&self) -> impl Iterator<Item = (Option<usize>, Vec<&Factor>)> {
        let of_arm = |index: usize| self.arms[index].factors.iter().chain(&self.factors).collect();
        let plain = self.arms.is_empty().then(|| (None, self.factors.iter().collect()));
        plain.into_iter().chain((0..self.arms.len()).map(move |index| (Some(index), of_arm(index))))
    }

    /// The axes that repeat an entry of `include`: folds and seeds, unless the entry sets them.
    fn repeats(&self, entry: &Entry) -> impl Iterator<Item = &AxisKey> {
        let axes = [self.folds, self.seeds].into_iter().flatten().flat_map(|index| &self.factors[index].keys);
        axes.filter(|axis| entry.values.iter().all(|(path, _)| *path != axis.path))
    }

    /// The choices of each repetition of an entry of `include`; one without choices if nothing repeats it.
    pub(crate) fn repetitions(&self, entry: &Entry) -> Vec<Vec<&Choice>> {
        self.repeats(entry).fold(vec![Vec::new()], |chosen, axis| {
            let with = |choices: Vec<_>| axis.choices.iter().map(move |one| [choices.as_slice(), &[one]].concat());
            chosen.into_iter().flat_map(with).collect()
        })
    }

    /// The distinct data sections and checkpoints of all trials, found without expanding the sweep.
    pub fn sources(&self) -> Sources {
        let mut sources = Sources::default();
        let (mut seen_data, mut seen_models) = (HashSet::new(), HashSet::new());
        for Combination { config, settings } in
            self.combinations(&["data", "model.from", "model.architecture", "model.embeddings"])
        {
            let place = |path| place_of(settings.iter().copied(), path);
            let model = config.model.source().to_owned();
            if seen_models.insert(model.clone()) {
                let is_own = config.model.from == model;
                let place = place(if is_own { "model.from" } else { "model.embeddings" }).unwrap_or(Place::NOWHERE);
                sources.models.push(ModelSource { from: model.clone(), place });
            }
            if seen_data.insert(source_key(&config.data, &model)) {
                let keys = keys::paths().filter(|path| path.starts_with("data."));
                let places = keys.filter_map(|path| Some((path, place(path)?))).collect();
                sources.data.push(DataSource { data: config.data, model, places });
            }
        }
        for Combination { config, settings } in self.combinations(&["augmentation"]) {
            let place = place_of(settings.iter().copied(), "augmentation").unwrap_or(Place::NOWHERE);
            for method in config.augmentation {
                if sources.augmentations.iter().all(|source| source.method != method) {
                    sources.augmentations.push(AugmentationSource { method, place });
                }
            }
        }
        sources
    }

    /// Each trial's `grad_accumulation` must not exceed its `batch_size`.
    pub(super) fn check_accumulation(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for Combination { config, settings } in self.combinations(&["batch_size", "grad_accumulation"]) {
            if config.grad_accumulation > config.batch_size {
                let place = place_of(settings.iter().copied(), "grad_accumulation").unwrap_or(Place::NOWHERE);
                let what = format!(
                    "a batch of {} cannot be split into {} micro-batches",
                    config.batch_size, config.grad_accumulation
                );
                problems.push(Problem::new(place, what).hint("expected at most `batch_size`"));
            }
        }
        problems
    }

    /// The configurations that the axes at, inside or around `paths` give, with all other axes at the base; then those of
    /// `include`, of which one stands for all that set none of `paths`. Combinations that `exclude` removes by keys of `paths` alone are left out.
    fn combinations(&self, paths: &[&str]) -> Vec<Combination<'_>> {
        let touches = |path: &str| paths.iter().any(|wanted| overlap(path, wanted));
        let within = |path: &str| paths.iter().any(|wanted| path.len() >= wanted.len() && overlap(path, wanted));
        let is_within = |entry: &&Entry| entry.settings().iter().all(|setting| within(&setting.path));
        let exclude = Exclusion::new(self.exclude.iter().filter(is_within).map(Entry::wanted));
        let drawn = || self.search.iter().flat_map(|search| &search.drawn.factors);
        let mut combinations = Vec::new();
        for (index, factors) in self.grids().flat_map(|(_, factors)| {
            let touched = |factor: &&Factor| factor.keys.iter().any(|key| touches(&key.path));
            let factors: Vec<&Factor> = factors.into_iter().chain(drawn()).filter(touched).collect();
            let total: usize = factors.iter().map(|factor| factor.len()).product();
            (0..total).map(move |index| (index, factors.clone()))
        }) {
            let mut rest = index;
            let mut chosen = Vec::new();
            for factor in factors.iter().rev() {
                let choice = rest % factor.len();
                rest /= factor.len();
                chosen.extend(factor.keys.iter().map(|key| (key, choice)));
            }
            // As in the product: a key inside a group is applied after the group.
            chosen.sort_by_key(|(key, _)| key.path.split('.').count());
            combinations.push(self.combine(chosen.iter().flat_map(|&(key, choice)| &key.choices[choice].settings)));
        }
        if !exclude.is_empty() {
            combinations.retain(|combination| {
                serde_json::to_value(&combination.config).is_ok_and(|json| exclude.matches(&json).next().is_none())
            });
        }
        // All entries that set none of `paths` give the same. There may be 100,000 of them.
        let mut has_base = false;
        for entry in &self.include {
            for repeat in self.repetitions(entry) {
                let repeat = repeat.into_iter().flat_map(|choice| &choice.settings);
                let settings: Vec<&Setting> = entry.settings().into_iter().chain(repeat).collect();
                if settings.iter().any(|setting| touches(&setting.path)) || !std::mem::replace(&mut has_base, true) {
                    combinations.push(self.combine(settings.iter().copied()));
                }
            }
        }
        combinations
    }

    /// The configurations that the axes at or inside `paths` give, then those of `include`, each with its settings.
    pub(crate) fn variations(&self, paths: &[&str]) -> impl Iterator<Item = (TrialConfig, Vec<&Setting>)> {
        self.combinations(paths).into_iter().map(|Combination { config, settings }| (config, settings))
    }

    /// The keys at or inside `paths` that vary, in the order of the file.
    pub(crate) fn varying(&self, paths: &[&str]) -> impl Iterator<Item = &str> {
        let axes = self.all_factors().flat_map(|factor| &factor.keys).map(|key| key.path.as_str());
        let extra = self.include.iter().flat_map(|entry| &entry.values).map(|(path, _)| path.as_str());
        let mut keys: Vec<&str> = Vec::new();
        for key in axes.chain(extra).filter(|key| paths.iter().any(|path| overlap(key, path))) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys.into_iter()
    }

    /// Whether some schedule rises on its own and no warm-up is written, so that each schedule decides its warm-up.
    pub(super) fn leaves_warmup_open(&self) -> bool {
        let rises = |setting: &Setting| {
            let mut config = self.base.clone();
            setting.path == "scheduler" && setting.apply(&mut config).is_ok() && config.scheduler.rises()
        };
        let varying = self.all_factors().flat_map(|d| &d.keys).flat_map(|key| &key.choices);
        let extra = self.include.iter().flat_map(|entry| &entry.values).map(|(_, choice)| choice);
        let mut chosen = varying.chain(extra).flat_map(|choice| &choice.settings);
        let written = self.fixed.iter().any(|setting| setting.path == "warmup");
        !written && (self.base.scheduler.rises() || chosen.any(rises))
    }

    /// Whether the pooling of some trial is not that of its checkpoint: it has no encoder, or a module on top of it.
    pub(super) fn has_own_pooling(&self) -> bool {
        let varying = self.all_factors().flat_map(|factor| &factor.keys).flat_map(|key| &key.choices);
        let extra = self.include.iter().flat_map(|entry| &entry.values).map(|(_, choice)| choice);
        let mut settings = varying.chain(extra).flat_map(|choice| &choice.settings);
        let is_own = self.base.model.architecture != Architecture::None || self.base.model.extra != Extra::None;
        is_own || settings.any(|setting| [ARCHITECTURE, EXTRA].contains(&setting.path.as_str()))
    }

    /// The axes of the products, then the drawn keys with the values that must be valid.
    pub(super) fn all_factors(&self) -> impl Iterator<Item = &Factor> {
        let of_arms = self.arms.iter().flat_map(|arm| &arm.factors);
        of_arms.chain(&self.factors).chain(self.search.iter().flat_map(|search| &search.drawn.factors))
    }

    fn combine<'s>(&'s self, chosen: impl Iterator<Item = &'s Setting> + Clone) -> Combination<'s> {
        let mut config = self.base.clone();
        for setting in chosen.clone() {
            // A setting that cannot be applied was reported when the file was read.
            let _ = setting.apply(&mut config);
        }
        Combination { config, settings: self.fixed.iter().chain(chosen).collect() }
    }
}

/// A text that is equal for equal data sections that are read with the same tokenizer.
pub(crate) fn source_key(data: &DataConfig, model: &str) -> String {
    serde_json::to_string(&(data, model)).unwrap_or_default()
}
