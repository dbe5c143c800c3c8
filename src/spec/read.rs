//! Turns the tree of a sweep file into a [`SweepSpec`] and collects every mistake on the way.

use std::sync::Arc;

use super::across::{self, RULES};
use super::arm_checks;
use super::check;
use super::count;
use super::keys::{self, Target};
use super::kind::Kind;
use super::names::{self, ALIASES};
use super::problem::{Place, Problem, Problems, Text, nearest};
use super::run_config::RunConfig;
use super::run_section::run_keys;
use super::search::SearchConfig;
use super::sections::SECTIONS;
use super::sweep::{Arm, AxisKey, DrawnSpace, Entry, Factor, SearchSpec, Setting, Sources, SweepSpec};
use super::wandb::{self, ImportOptions, Translation};
use super::yaml::{self, Content, Node};
use crate::trial::{Key, TrialConfig};

/// Reads a sweep file. Messages call it `file`, and `stem` is the default name of the sweep. `set` holds each `--set
/// key=value` of the command line, which replaces a fixed value.
///
/// # Errors
/// All mistakes at once.
pub fn parse(file: &str, stem: &str, text: &str, set: &[(String, String)]) -> Result<SweepSpec, Problems> {
    let Draft { spec, problems, .. } = draft(file, stem, text, set);
    if problems.is_empty() { Ok(spec) } else { Err(spec.problems(problems)) }
}

/// A sweep file, read as far as possible.
#[derive(Debug)]
pub struct Draft {
    /// Without the values that are wrong; complete if there are no problems.
    pub spec: SweepSpec,
    pub problems: Vec<Problem>,
    uncertain: UncertainSections,
}

impl Draft {
    /// The sources that the file names for certain. Sections with a mistake are left out.
    pub fn sources(&self) -> Sources {
        let UncertainSections { data, model, augmentation } = self.uncertain;
        if model {
            return Sources::default();
        }
        let mut sources = self.spec.sources();
        if data {
            sources.data.clear();
        }
        if augmentation {
            sources.augmentations.clear();
        }
        sources
    }
}

/// Sections with a mistake, whose sources are not certain.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct UncertainSections {
    data: bool,
    model: bool,
    augmentation: bool,
}

impl UncertainSections {
    const ALL: Self = Self { data: true, model: true, augmentation: true };

    /// Records a mistake at a dotted key.
    fn add(&mut self, key: &str) {
        match key.split('.').next() {
            Some("data") => self.data = true,
            Some("model") => self.model = true,
            Some("augmentation") => self.augmentation = true,
            _ => {}
        }
    }
}

/// Like [`parse`], but keeps the right values of a file with mistakes.
pub fn draft(file: &str, stem: &str, text: &str, set: &[(String, String)]) -> Draft {
    read_file(file, stem, text, set, &ImportOptions::default()).0
}

/// A sweep file of W&B as one of ours.
#[derive(Debug)]
pub struct Import {
    /// With a comment for each note.
    pub text: String,
    /// What has another meaning here, or none, as text to print.
    pub notes: Vec<String>,
}

/// Translates a sweep file of W&B.
///
/// # Errors
/// What cannot be translated, and all values that are not valid here.
pub fn import(file: &str, stem: &str, text: &str, options: &ImportOptions) -> Result<Import, Problems> {
    let (Draft { spec, mut problems, .. }, translation) = read_file(file, stem, text, &[], options);
    if translation.is_none() && problems.is_empty() {
        let problem = Problem::new(Place::NOWHERE, "this is no sweep file of W&B");
        problems.push(problem.hint("expected a file with `method` and `parameters`"));
    }
    match translation {
        Some(translation) if problems.is_empty() => {
            let notes = translation.notes().map(|note| spec.warning(note)).collect();
            Ok(Import { text: translation.text(file), notes })
        }
        _ => Err(spec.problems(problems)),
    }
}

/// Reads a sweep file, ours or one of W&B, which is translated.
fn read_file(
    file: &str,
    stem: &str,
    text: &str,
    set: &[(String, String)],
    options: &ImportOptions,
) -> (Draft, Option<Translation>) {
    let overrides = set.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let text = Arc::new(Text { file: file.to_owned(), content: text.to_owned(), overrides });
    let mut reader = Reader::default();
    let root = yaml::read(&text.content, 0, &mut reader.errors).unwrap_or_else(|problem| {
        reader.errors.push(problem);
        None
    });
    if !reader.errors.is_empty() {
        reader.uncertain = UncertainSections::ALL;
    }
    let most_trials = set.iter().rev().find(|(key, _)| key.trim() == "run.max_trials");
    let most_trials = most_trials.and_then(|(_, value)| value.trim().parse().ok());
    let translation = root.as_ref().filter(|root| wandb::is_sweep(root)).map(|root| wandb::translate(root, options));
    match (&translation, &root) {
        (Some(translation), _) => {
            reader.errors.extend(translation.errors.iter().cloned());
            reader.warnings.extend(translation.notes().cloned());
            reader.file(&translation.root(), most_trials);
        }
        (None, Some(root)) => reader.file(root, most_trials),
        (None, None) => {}
    }
    for (index, (key, value)) in set.iter().enumerate() {
        reader.override_value(index + 1, key, value);
    }
    (reader.finish(stem, text), translation)
}

/// What has been read so far.
#[derive(Default)]
pub(super) struct Reader {
    pub errors: Vec<Problem>,
    pub warnings: Vec<Problem>,
    pub name: Option<(String, Place)>,
    pub run: RunConfig,
    pub run_seen: Vec<(String, Place)>,
    pub fixed: Vec<Setting>,
    pub factors: Vec<Factor>,
    /// The place of `grid`, else of `zip`, else of `seeds`.
    pub grid: Option<Place>,
    pub seeds: Option<AxisKey>,
    pub arms: Vec<Arm>,
    pub arms_place: Option<Place>,
    pub include: Vec<Entry>,
    pub exclude: Vec<Entry>,
    pub drawn: DrawnSpace,
    /// Keys of `space` whose ranges or lists have mistakes.
    pub undrawable: Vec<(String, Place)>,
    pub search: SearchConfig,
    pub search_seen: Vec<(String, Place)>,
    /// The places of the sections `space` and `search`.
    pub space_place: Option<Place>,
    pub search_place: Option<Place>,
    pub uncertain: UncertainSections,
}

impl Reader {
    /// `most_trials`: the limit that the command line gives.
    fn file(&mut self, root: &Node, most_trials: Option<u128>) {
        let Some(entries) = root.map() else {
            let what = format!("a sweep file is a map of keys, not {}", root.described());
            self.errors.push(Problem::new(root.place, what).hint("expected keys with values, such as `lr: 3e-5`"));
            return;
        };
        let too_many = count::too_many_trials(entries, most_trials);
        let is_too_large = too_many.is_some();
        if is_too_large {
            self.uncertain = UncertainSections::ALL;
        }
        self.errors.extend(too_many);
        for (key, value) in entries {
            let varies = matches!(key.text(), Some("grid" | "zip" | "seeds"));
            if !(is_too_large && varies) {
                self.top_level(key, value);
            }
        }
        self.errors.extend(check::repeated_keys(&self.fixed));
        self.warnings.extend(check::batch_meaning(entries));
    }

    fn top_level(&mut self, key: &Node, value: &Node) {
        match key.text().unwrap_or_default() {
            "name" => self.name(value),
            "grid" => self.grid(key, value),
            "zip" => self.zip(key, value),
            "arms" => self.arms(key, value),
            "include" => self.include = self.entries(key, value),
            "exclude" => self.exclude = self.entries(key, value),
            "seeds" => self.seeds(key, value),
            "space" => self.space(key, value),
            "search" => {
                self.search_place = Some(key.place);
                for (key, value) in self.section(key, value) {
                    self.search_key(key.text().unwrap_or_default(), &key, &value);
                }
            }
            "run" => {
                for (key, value) in self.section(key, value) {
                    self.run_key(key.text().unwrap_or_default(), &key, &value);
                }
            }
            text => {
                if let Some(name) = text.strip_prefix("run.") {
                    self.run_key(name, key, value);
                } else if let Some(name) = text.strip_prefix("search.") {
                    self.search_place = self.search_place.or(Some(key.place));
                    self.search_key(name, key, value);
                } else if let Some(path) = text.strip_prefix("stop.").filter(|path| across::rule_of(path).is_some()) {
                    self.stop_across(path, key, value);
                } else if let (true, Some(entries)) = (text == "stop", value.map()) {
                    self.stop(key, value, entries);
                } else {
                    let (before, mut settings) = (self.errors.len(), Vec::new());
                    self.settings("", key, value, &mut settings);
                    self.fixed.append(&mut settings);
                    self.mark_uncertain_since(before, key);
                }
            }
        }
    }

    pub(super) fn error(&mut self, node: &Node, what: impl Into<String>, hint: impl Into<String>) {
        self.errors.push(Problem::new(node.place, what).hint(hint));
    }

    /// Records a mistake at `key` if there are more than `before` errors.
    pub(super) fn mark_uncertain_since(&mut self, before: usize, key: &Node) {
        if self.errors.len() > before {
            self.uncertain.add(key.text().unwrap_or_default());
        }
    }

    fn name(&mut self, value: &Node) {
        match value.text().filter(|_| !value.is_null()) {
            Some(text) => self.name = Some((text.to_owned(), value.place)),
            None => self.error(value, format!("`name` cannot be {}", value.described()), "expected a name"),
        }
    }

    /// The entries of `run` or `search`.
    fn section(&mut self, key: &Node, value: &Node) -> Vec<(Node, Node)> {
        match value.map() {
            Some(entries) => entries.to_vec(),
            None if value.is_null() => Vec::new(),
            None => {
                let name = key.text().unwrap_or_default();
                let example = if name == "run" { "{jobs: 2}" } else { "{trials: 60}" };
                let what = format!("`{name}` cannot be {}", value.described());
                self.error(value, what, format!("expected a map, such as {example}"));
                Vec::new()
            }
        }
    }

    fn search_key(&mut self, name: &str, key: &Node, value: &Node) {
        if let Some((_, earlier)) = self.search_seen.iter().find(|(seen, _)| seen == name) {
            let hint = format!("first in line {}", earlier.line());
            return self.error(key, format!("`search.{name}` is given twice"), hint);
        }
        self.search_seen.push((name.to_owned(), value.place));
        if name == "metric" {
            // The whole sweep has one metric.
            let (key, mut settings) = (Node::plain("metric", key.place), Vec::new());
            self.settings("", &key, value, &mut settings);
            return self.fixed.append(&mut settings);
        }
        if let Err(problems) = self.search.set(name, key, value) {
            self.errors.extend(problems);
        }
    }

    fn run_key(&mut self, name: &str, key: &Node, value: &Node) {
        if name == "slurm" {
            let Some(entries) = value.map() else {
                if !value.is_null() {
                    let what = format!("`run.slurm` cannot be {}", value.described());
                    self.error(value, what, "expected a map, such as {partition: gpu}");
                }
                return;
            };
            for (key, value) in entries {
                self.run_key(&format!("slurm.{}", key.text().unwrap_or_default()), key, value);
            }
            return;
        }
        if let Some((_, earlier)) = self.run_seen.iter().find(|(seen, _)| seen == name) {
            let hint = format!("first in line {}", earlier.line());
            self.error(key, format!("`run.{name}` is given twice"), hint);
            return;
        }
        self.run_seen.push((name.to_owned(), value.place));
        if let Err(problem) = self.run.set(name, key, value) {
            self.errors.push(problem);
        }
    }

    /// The section `stop`: rules that compare trials, and rules of a single trial.
    fn stop(&mut self, key: &Node, value: &Node, entries: &[(Node, Node)]) {
        let (across, own): (Vec<_>, Vec<_>) =
            entries.iter().cloned().partition(|(key, _)| key.text().and_then(across::rule_of).is_some());
        for (key, value) in &across {
            self.stop_across(key.text().unwrap_or_default(), key, value);
        }
        let own = Node { place: value.place, content: Content::Map(own) };
        let mut settings = Vec::new();
        self.settings("", key, &own, &mut settings);
        self.fixed.append(&mut settings);
    }

    fn stop_across(&mut self, path: &str, key: &Node, value: &Node) {
        self.run.stop.set(path, key, value, &mut self.errors);
    }

    /// Reads the value of a key of a trial into settings, one for each key inside a group.
    pub(super) fn settings(&mut self, prefix: &str, key: &Node, value: &Node, out: &mut Vec<Setting>) {
        let Some(resolved) = self.resolve(prefix, key) else { return };
        match resolved.meaning {
            Meaning::Group(group) => match value.map() {
                // An empty map switches a rule on.
                Some(entries) if !entries.is_empty() || group.scalar != Some(group.path) => {
                    for (key, value) in entries {
                        self.settings(group.path, key, value, out);
                    }
                }
                _ => match group.scalar {
                    // A section without lines, such as one that is commented out, sets nothing.
                    scalar if value.is_null() && scalar != Some(group.path) => {}
                    Some(path) => {
                        if let Some(key_of_scalar) = keys::key(path) {
                            let (kind, target) = (&key_of_scalar.kind, Target::Key(key_of_scalar));
                            self.leaf(Leaf { path, written: &resolved.written, kind, target }, key, value, out);
                        }
                    }
                    None => {
                        let what = format!("`{}` cannot be {}", resolved.written, value.described());
                        let known: Vec<&str> = children(group.path).collect();
                        self.error(value, what, format!("expected a map of {}", known.join(", ")));
                    }
                },
            },
            Meaning::Leaf(kind, target) => {
                let leaf = Leaf { path: &resolved.path, written: &resolved.written, kind, target };
                self.leaf(leaf, key, value, out);
            }
        }
    }

    fn leaf(&mut self, leaf: Leaf<'_>, key: &Node, value: &Node, out: &mut Vec<Setting>) {
        match leaf.kind.read(leaf.written, value) {
            Ok(read) => out.push(Setting {
                path: leaf.path.to_owned(),
                key_place: key.place,
                place: value.place,
                value: read.full,
                given: read.given,
                target: leaf.target,
            }),
            Err(problems) => self.errors.extend(problems),
        }
    }

    /// Finds the key, group or parameter that `key` names inside `prefix`; reports an unknown one.
    pub(super) fn resolve(&mut self, prefix: &str, key: &Node) -> Option<Resolved> {
        let name = key.text().unwrap_or_default();
        let written = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        let alias = names::alias(&written);
        let path = alias.map_or_else(|| written.clone(), |alias| alias.path.to_owned());
        let meaning = if let Some(group) = keys::group(&path) {
            Meaning::Group(group)
        } else if let Some(key) = keys::key(&path) {
            Meaning::Leaf(alias.and_then(|alias| alias.kind.as_ref()).unwrap_or(&key.kind), Target::Key(key))
        } else if let Some((kind, target)) = keys::parameter(&path) {
            Meaning::Leaf(kind, target)
        } else if path.strip_prefix("stop.").is_some_and(|path| across::rule_of(path).is_some()) {
            let what = format!("`{written}` compares trials, so it cannot differ between them");
            self.error(key, what, "write it into the section `stop` at the top level");
            return None;
        } else {
            let meant = meant(prefix, name);
            self.uncertain.add(&meant.clone().unwrap_or_default());
            self.errors.push(unknown(prefix, &written, key.place, meant));
            return None;
        };
        Some(Resolved { path, written, meaning })
    }

    /// `--set key=value` replaces a fixed value of the file.
    fn override_value(&mut self, number: usize, key: &str, value: &str) {
        let key = Node::plain(key.trim(), Place::new(number, 1, 1, key.len()));
        let text = key.text().unwrap_or_default();
        let value = match yaml::read(value, number, &mut self.errors) {
            Ok(value) => value.unwrap_or_else(|| Node::plain("", key.place)),
            // A word such as `@`, which a file has to quote.
            Err(_) if !value.contains(['[', '{', '"', '\'', ':', '\n']) => Node::plain(value.trim(), key.place),
            Err(problem) => return self.errors.push(problem),
        };
        if matches!(text, "grid" | "zip" | "arms" | "space" | "include" | "exclude") {
            return self.error(
                &key,
                format!("`{text}` cannot be set on the command line"),
                "--set changes fixed values; edit the sweep file",
            );
        }
        if let Some(name) = text.strip_prefix("run.") {
            self.run_seen.retain(|(seen, _)| seen != name);
        }
        if let Some(name) = text.strip_prefix("search.") {
            self.search_seen.retain(|(seen, _)| seen != name);
        }
        let earlier = std::mem::take(&mut self.fixed);
        self.top_level(&key, &value);
        let replaced = |old: &Setting| {
            self.fixed.iter().any(|new| {
                old.path == new.path
                    || old.path.starts_with(&format!("{}.", new.path))
                    || Key::is_length(&old.path) && Key::is_length(&new.path)
            })
        };
        let mut kept: Vec<Setting> = earlier.into_iter().filter(|old| !replaced(old)).collect();
        kept.append(&mut self.fixed);
        self.fixed = kept;
    }

    /// Adds the axis of the folds that `data.folds` asks for, unless the file names folds itself. Returns its index.
    fn folds(&mut self) -> Option<usize> {
        let folds = self.fixed.iter().rfind(|setting| setting.path == "data.folds")?;
        let (place, count) = (folds.key_place, folds.value.as_u64()?);
        let varying = self.factors.iter().flat_map(|factor| &factor.keys).map(|key| key.path.as_str());
        if self.fixed.iter().map(|setting| setting.path.as_str()).chain(varying).any(|path| Key::Fold.is(path)) {
            return None;
        }
        let path = Key::Fold.path();
        let key = Node::plain(path, place);
        let choices =
            (1..=count).filter_map(|fold| self.choice(path, &key, &Node::plain(&fold.to_string(), place))).collect();
        self.factors.push(Factor { keys: vec![AxisKey { path: path.into(), place, choices }] });
        Some(self.factors.len() - 1)
    }

    fn finish(mut self, stem: &str, text: Arc<Text>) -> Draft {
        if !self.errors.is_empty() {
            self.factors.retain_mut(Factor::even);
            self.arms.iter_mut().for_each(|arm| arm.factors.retain_mut(Factor::even));
            self.seeds = self.seeds.take().filter(|seeds| !seeds.choices.is_empty());
        }
        let folds = self.folds();
        if let Some(seeds) = self.seeds.take() {
            self.errors.extend(check::seeds(&seeds, &self.factors));
            self.factors.push(Factor { keys: vec![seeds] });
        }
        self.errors.extend(check::values(&self.factors));
        self.errors.extend(check::axes(&self.factors, &self.fixed));
        self.errors.extend(check::axes(&self.drawn.factors, &self.fixed));
        for arm in &self.arms {
            self.errors.extend(check::values(&arm.factors));
            self.errors.extend(check::axes(&arm.factors, &self.fixed));
        }
        self.errors.extend(arm_checks::conflicts(&self.arms, &self.factors));
        self.errors.extend(arm_checks::beside_search(self.arms_place, self.space_place));
        self.warnings.extend(arm_checks::one_rate(self.arms_place, &self.arms, &self.factors));
        let places = check::SearchPlaces { arms: self.arms_place, space: self.space_place, search: self.search_place };
        self.errors.extend(check::search(places, (&self.drawn, &self.undrawable), &self.factors, &self.fixed));
        let seen = |key: &str| self.search_seen.iter().find(|(seen, _)| seen == key).map(|(_, place)| *place);
        let (trials_place, until_place) = (seen("trials"), seen("until"));
        let from_place = seen("from").unwrap_or(Place::NOWHERE);
        if self.search.time.is_some() && trials_place.is_none() {
            self.search.trials = self.run.max_trials as u64;
        }
        let search = self.space_place.map(|_| SearchSpec { config: self.search, from_place, drawn: self.drawn });
        let (name, name_place) = self.name.take().unwrap_or_else(|| (stem.to_owned(), Place::NOWHERE));
        if !is_folder_name(&name) {
            let what = format!("`{name}` cannot name a sweep");
            let hint = "expected letters, digits, `-`, `_`, `.` and blanks, not starting with a dot: it names the results folder";
            self.errors.push(Problem::new(name_place, what).hint(hint));
        }
        self.fixed.sort_by_key(Setting::depth);
        let mut base = TrialConfig::default();
        self.errors.extend(check::two_lengths(&self.fixed));
        for setting in &self.fixed {
            self.errors.extend(setting.apply(&mut base).err());
        }
        let mut spec = SweepSpec {
            name,
            run: self.run,
            text,
            run_places: self.run_seen,
            base,
            fixed: self.fixed,
            seeds: self.factors.iter().position(|d| matches!(d.keys.as_slice(), [only] if Key::Seed.is(&only.path))),
            folds,
            factors: self.factors,
            arms: self.arms,
            include: self.include,
            exclude: self.exclude,
            search,
            warnings: Vec::new(),
        };
        let size = spec.size();
        if size > spec.run.max_trials as u128 {
            let place = self.grid.unwrap_or(Place::NOWHERE);
            self.errors.push(count::problem(place, size, spec.run.max_trials as u128));
            self.uncertain = UncertainSections::ALL;
        } else if self.errors.is_empty() {
            self.errors.extend(check::parameters(&spec));
            self.errors.extend(check::folds(&spec));
            self.errors.extend(spec.check_accumulation());
        }
        self.warnings.extend(check::test_without_weights(&spec));
        let search_place = self.search_place.or(self.space_place);
        let trials_place = trials_place.or(search_place).unwrap_or(Place::NOWHERE);
        self.errors.extend(check::too_few_trials(&spec, trials_place));
        self.errors.extend(check::goal(&spec, until_place.unwrap_or(trials_place)));
        self.warnings.extend(check::uneven_trials(&spec, trials_place));
        self.warnings.extend(check::never_learns(&spec, search_place));
        spec.warnings = self.warnings;
        Draft { spec, problems: self.errors, uncertain: self.uncertain }
    }
}

/// A key that takes a value: its path, the name that the user wrote, and what the value sets.
#[derive(Clone, Copy)]
struct Leaf<'k> {
    path: &'k str,
    written: &'k str,
    kind: &'k Kind,
    target: Target,
}

/// A known key.
pub(super) struct Resolved {
    /// Aliases resolved.
    pub path: String,
    pub written: String,
    meaning: Meaning,
}

impl Resolved {
    /// The key that a single scalar in place of the group sets.
    pub fn scalar_path(&self) -> Option<&str> {
        if let Meaning::Group(group) = self.meaning { group.scalar } else { None }
    }
}

enum Meaning {
    Group(&'static keys::Group),
    Leaf(&'static Kind, Target),
}

/// The keys directly inside a group.
fn children(group: &'static str) -> impl Iterator<Item = &'static str> {
    let own = keys::paths()
        .filter_map(move |path| path.strip_prefix(group)?.strip_prefix('.').filter(|rest| !rest.contains('.')));
    let across = if group == "stop" { RULES } else { &[] };
    own.chain(across.iter().copied())
}

/// The key that was most likely meant by an unknown one.
fn meant(prefix: &str, name: &str) -> Option<String> {
    // Most often, a known key is in the wrong place, or has the name that another program uses.
    let elsewhere = keys::paths().find(|path| *path == name || path.rsplit('.').next() == Some(name));
    let known = names::alias(name).map(|alias| alias.path).or(elsewhere).or_else(|| names::misnomer(name));
    known.map(str::to_owned).or_else(|| {
        if let Some(group) = keys::group(prefix) {
            return nearest(name, children(group.path)).map(|child| format!("{}.{child}", group.path));
        }
        if run_keys().any(|key| key.name == name) {
            return Some(format!("run.{name}"));
        }
        let known = keys::paths().chain(ALIASES.iter().map(|alias| alias.name));
        nearest(name, known.chain(SECTIONS.iter().map(|section| section.name))).map(str::to_owned)
    })
}

fn unknown(prefix: &str, written: &str, place: Place, meant: Option<String>) -> Problem {
    let problem = Problem::new(place, format!("unknown key `{written}`"));
    if let Some(why) = names::needless(written.rsplit('.').next().unwrap_or(written)) {
        return problem.hint(why);
    }
    match (meant, keys::group(prefix)) {
        (Some(meant), _) => {
            let inside = meant.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.'));
            problem.hint(format!("did you mean `{}`?", inside.unwrap_or(&meant)))
        }
        (None, Some(group)) => problem.hint(format!("known: {}", children(group.path).collect::<Vec<_>>().join(", "))),
        (None, None) => problem,
    }
}

fn is_folder_name(name: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
    !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && name.trim() == name && name.chars().all(fits)
}
