//! From the tree of a sweep file to a [`SweepSpec`], collecting every mistake on the way.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::keys::{self, Target};
use super::kind::{Kind, brief};
use super::problem::{Place, Problem, Problems, Text, suggestion};
use super::run_config::RunConfig;
use super::sweep::{AxisKey, Choice, Dimension, Entry, Setting, SweepSpec, default_trial, readable};
use super::yaml::{self, Node};
use crate::trial::AxisValue;

/// Sections of a sweep file that are no keys of a trial.
const SECTIONS: &[&str] = &["name", "grid", "zip", "include", "exclude", "seeds", "run"];

/// Reads a sweep file. `file` is how messages name it, `stem` the default name of the sweep, `set` the `--set key=value`
/// of the command line, which replace fixed values.
///
/// # Errors
/// All mistakes at once.
pub fn parse(file: &str, stem: &str, text: &str, set: &[(String, String)]) -> Result<SweepSpec, Problems> {
    let overrides = set.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let text = Arc::new(Text { file: file.to_owned(), content: text.to_owned(), overrides });
    let mut reader = Reader::default();
    match yaml::read(&text.content, 0, &mut reader.errors) {
        Ok(Some(root)) => reader.file(&root),
        Ok(None) => {}
        Err(problem) => reader.errors.push(problem),
    }
    for (index, (key, value)) in set.iter().enumerate() {
        reader.override_value(index + 1, key, value);
    }
    reader.finish(stem, text)
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
    name: Option<(String, Place)>,
    run: RunConfig,
    run_seen: Vec<(String, Place)>,
    fixed: Vec<Setting>,
    dimensions: Vec<Dimension>,
    /// Where `grid`, else `zip`, else `seeds` stands.
    grid: Option<Place>,
    seeds: Option<AxisKey>,
    include: Vec<Entry>,
    exclude: Vec<Entry>,
}

impl Reader {
    fn file(&mut self, root: &Node) {
        let Some(entries) = root.map() else {
            let what = format!("a sweep file is a map of keys, not {}", root.described());
            self.errors.push(Problem::new(root.place, what).hint("such as `lr: 3e-5`"));
            return;
        };
        for (key, value) in entries {
            self.top_level(key, value);
        }
        let again: Vec<Problem> =
            self.fixed.iter().enumerate().filter_map(|(i, s)| repeated(s, &self.fixed[..i])).collect();
        self.errors.extend(again);
        self.check_batch_meaning(entries);
    }

    fn top_level(&mut self, key: &Node, value: &Node) {
        match key.text().unwrap_or_default() {
            "name" => self.name(value),
            "grid" => self.grid(key, value),
            "zip" => self.zip(key, value),
            "include" => self.include = self.entries(key, value),
            "exclude" => self.exclude = self.entries(key, value),
            "seeds" => self.seeds(key, value),
            "run" => match value.map() {
                Some(entries) => {
                    for (key, value) in entries {
                        self.run_key(key.text().unwrap_or_default(), key, value);
                    }
                }
                None if value.is_null() => {}
                None => self.error(
                    value,
                    format!("`run` cannot be {}", value.described()),
                    "expected a map, such as {jobs: 2}",
                ),
            },
            text => match text.strip_prefix("run.") {
                Some(name) => self.run_key(name, key, value),
                None => {
                    let mut settings = Vec::new();
                    self.settings("", key, value, &mut settings);
                    self.fixed.append(&mut settings);
                }
            },
        }
    }

    fn error(&mut self, node: &Node, what: impl Into<String>, hint: impl Into<String>) {
        self.errors.push(Problem::new(node.place, what).hint(hint));
    }

    fn name(&mut self, value: &Node) {
        match value.text().filter(|_| !value.is_null()) {
            Some(text) => self.name = Some((text.to_owned(), value.place)),
            None => self.error(value, format!("`name` cannot be {}", value.described()), "expected a name"),
        }
    }

    fn run_key(&mut self, name: &str, key: &Node, value: &Node) {
        if let Some((_, earlier)) = self.run_seen.iter().find(|(seen, _)| seen == name) {
            let hint = format!("first in line {}", earlier.line());
            self.error(key, format!("`run.{name}` is given twice"), hint);
            return;
        }
        self.run_seen.push((name.to_owned(), key.place));
        if let Err(problem) = self.run.set(name, key, value) {
            self.errors.push(problem);
        }
    }

    /// Reads what stands at a key of a trial into settings, one for each key inside a group.
    fn settings(&mut self, prefix: &str, key: &Node, value: &Node, out: &mut Vec<Setting>) {
        let Some(resolved) = self.resolve(prefix, key) else { return };
        match resolved.meaning {
            Meaning::Group(group) => match value.map() {
                Some(entries) => {
                    for (key, value) in entries {
                        self.settings(group.path, key, value, out);
                    }
                }
                None => match group.scalar {
                    // A section whose lines are all commented out says nothing.
                    _ if value.is_null() && group.path != "stop.patience" => {}
                    Some(path) => {
                        if let Some(key_of_scalar) = keys::key(path) {
                            let target = Target::Key(key_of_scalar);
                            self.leaf(path, &resolved.written, &key_of_scalar.kind, target, key, value, out);
                        }
                    }
                    None => {
                        let what = format!("`{}` cannot be {}", resolved.written, value.described());
                        let mut known: Vec<&str> = children(group.path).collect();
                        known.dedup();
                        self.error(value, what, format!("expected a map of {}", known.join(", ")));
                    }
                },
            },
            Meaning::Leaf(kind, target) => self.leaf(&resolved.path, &resolved.written, kind, target, key, value, out),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call joins what two branches have found")]
    fn leaf(
        &mut self,
        path: &str,
        written: &str,
        kind: &Kind,
        target: Target,
        key: &Node,
        value: &Node,
        out: &mut Vec<Setting>,
    ) {
        match kind.read(written, value) {
            Ok(read) => out.push(Setting {
                path: path.to_owned(),
                key_place: key.place,
                place: value.place,
                value: read.full,
                given: read.given,
                target,
            }),
            Err(problems) => self.errors.extend(problems),
        }
    }

    /// What a key inside `prefix` means; reports one that means nothing.
    fn resolve(&mut self, prefix: &str, key: &Node) -> Option<Resolved> {
        let name = key.text().unwrap_or_default();
        let written = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        let alias = keys::alias(&written);
        let path = alias.map_or_else(|| written.clone(), |alias| alias.path.to_owned());
        let meaning = if let Some(group) = keys::group(&path) {
            Meaning::Group(group)
        } else if let Some(key) = keys::key(&path) {
            Meaning::Leaf(alias.and_then(|alias| alias.kind.as_ref()).unwrap_or(&key.kind), Target::Key(key))
        } else if let Some((kind, target)) = keys::parameter(&path) {
            Meaning::Leaf(kind, target)
        } else {
            self.errors.push(unknown(prefix, name, &written, key.place));
            return None;
        };
        Some(Resolved { path, written, meaning })
    }

    fn grid(&mut self, key: &Node, value: &Node) {
        self.grid = Some(key.place);
        for (key, value) in self.axes_map(key, value) {
            if let Some(axis) = self.axis(&key, &value) {
                self.dimensions.push(Dimension { keys: vec![axis] });
            }
        }
    }

    fn zip(&mut self, key: &Node, value: &Node) {
        self.grid = self.grid.or(Some(key.place));
        let mut keys: Vec<AxisKey> = Vec::new();
        let mut wanted: Option<(String, usize)> = None;
        for (key, value) in self.axes_map(key, value) {
            let written = key.text().unwrap_or_default().to_owned();
            let length = value.list().map_or(0, <[Node]>::len);
            match &wanted {
                Some((first, expected)) if length > 0 && length != *expected => {
                    let what = format!("`{written}` has {length} values, `{first}` has {expected}");
                    self.error(&key, what, "lists under `zip` are taken in pairs: make them equally long");
                }
                None if length > 0 => wanted = Some((written, length)),
                _ => {}
            }
            if let Some(axis) = self.axis(&key, &value) {
                if keys.iter().any(|earlier| earlier.path == axis.path) {
                    self.error(&key, format!("`{}` is in `zip` twice", axis.path), "keep one of them");
                } else {
                    keys.push(axis);
                }
            }
        }
        if !keys.is_empty() {
            self.dimensions.push(Dimension { keys });
        }
    }

    /// The entries of `grid` or `zip`.
    fn axes_map(&mut self, key: &Node, value: &Node) -> Vec<(Node, Node)> {
        match value.map() {
            Some(entries) => entries.to_vec(),
            None if value.is_null() => Vec::new(),
            None => {
                let what = format!("`{}` cannot be {}", key.text().unwrap_or_default(), value.described());
                self.error(value, what, "expected keys with lists of values, such as {lr: [1e-5, 1e-4]}");
                Vec::new()
            }
        }
    }

    /// A key of `grid` or `zip` with its list of values.
    fn axis(&mut self, key: &Node, value: &Node) -> Option<AxisKey> {
        self.can_vary(key)?;
        let resolved = self.resolve("", key)?;
        let (path, written) = (&resolved.path, &resolved.written);
        if let Some(earlier) = self.dimensions.iter().flat_map(|d| &d.keys).find(|earlier| earlier.path == *path) {
            let hint = format!("first in line {}", earlier.place.line());
            self.error(key, format!("`{written}` varies twice"), hint);
            return None;
        }
        let Some(items) = value.list() else {
            let what = format!("`{written}` needs a list of values");
            let hint = value.text().filter(|_| !value.is_null()).map_or_else(
                || "expected a list, such as [1, 2]".into(),
                |text| format!("write [{text}], or move it out of the grid"),
            );
            self.error(value, what, hint);
            return None;
        };
        if items.is_empty() {
            self.error(value, format!("`{written}` has no values"), "list at least one, or leave the key out");
            return None;
        }
        let mut choices = Vec::with_capacity(items.len());
        for item in items {
            if let Some(choice) = self.choice(path, key, item) {
                choices.push(choice);
            }
        }
        // A list of folders under `model` is an axis of `model.from`.
        let scalars = items.iter().all(|item| item.text().is_some());
        let path = resolved.scalar_path().filter(|_| scalars).unwrap_or(path).to_owned();
        Some(AxisKey { path, place: key.place, choices })
    }

    /// Reports a key that says how to run, not what.
    fn can_vary(&mut self, key: &Node) -> Option<()> {
        let name = key.text().unwrap_or_default();
        let section = name.split('.').next().unwrap_or_default();
        if !SECTIONS.contains(&section) {
            return Some(());
        }
        let hint = match section {
            "seeds" => "`seeds: [1, 2]` stands at the top level",
            "run" | "name" => "it says how to run, not what; set it at the top level",
            _ => "it stands at the top level",
        };
        self.error(key, format!("`{name}` cannot vary"), hint);
        None
    }

    /// One value of an axis or entry; None if it is wrong, which has been reported.
    fn choice(&mut self, path: &str, key: &Node, value: &Node) -> Option<Choice> {
        let before = self.errors.len();
        let mut settings = Vec::new();
        self.settings("", key, value, &mut settings);
        if value.map().is_some_and(<[_]>::is_empty) {
            self.error(value, format!("this value of `{path}` says nothing"), "name at least one key");
        }
        (self.errors.len() == before).then(|| Choice { shown: shown_as_written(path, value, &settings), settings })
    }

    fn entries(&mut self, key: &Node, value: &Node) -> Vec<Entry> {
        let section = key.text().unwrap_or_default();
        let items = match value.list() {
            Some(items) => items,
            None if value.is_null() => &[],
            None => {
                let what = format!("`{section}` cannot be {}", value.described());
                self.error(value, what, "expected a list of maps, such as [{lr: 3e-4, warmup: 0}]");
                &[]
            }
        };
        let mut entries = Vec::new();
        for item in items {
            let Some(values) = item.map().filter(|map| !map.is_empty()) else {
                self.error(
                    item,
                    format!("an entry of `{section}` cannot be {}", item.described()),
                    "expected a map, such as {lr: 3e-4}",
                );
                continue;
            };
            let mut entry = Entry { place: item.place, values: Vec::new() };
            for (key, value) in values {
                if self.can_vary(key).is_none() {
                    continue;
                }
                let Some(resolved) = self.resolve("", key) else { continue };
                if let Some(choice) = self.choice(&resolved.path, key, value) {
                    let path = resolved.scalar_path().filter(|_| value.text().is_some()).unwrap_or(&resolved.path);
                    entry.values.push((path.to_owned(), choice));
                }
            }
            self.check_entry(&entry);
            entries.push(entry);
        }
        entries
    }

    fn check_entry(&mut self, entry: &Entry) {
        let settings = entry.settings();
        let mut seen: Vec<Setting> = Vec::new();
        for setting in settings {
            self.errors.extend(repeated(setting, &seen));
            seen.push(setting.clone());
        }
        self.errors.extend(two_lengths(&seen));
    }

    fn seeds(&mut self, key: &Node, value: &Node) {
        self.grid = self.grid.or(Some(key.place));
        let Some(items) = value.list() else {
            let what = format!("`seeds` cannot be {}", value.described());
            self.error(value, what, "expected a list of whole numbers, such as [1, 2, 3]");
            return;
        };
        if items.is_empty() {
            self.error(value, "`seeds` has no values", "list at least one, or leave the key out");
            return;
        }
        let seed = Node::plain("seed", key.place);
        let choices = items.iter().filter_map(|item| self.choice("seed", &seed, item)).collect();
        self.seeds = Some(AxisKey { path: "seed".into(), place: key.place, choices });
    }

    /// `--set key=value`: replaces what the file fixes.
    fn override_value(&mut self, number: usize, key: &str, value: &str) {
        let key = Node::plain(key.trim(), Place::new(number, 1, 1, key.len()));
        let text = key.text().unwrap_or_default();
        let value = match yaml::read(value, number, &mut self.errors) {
            Ok(value) => value.unwrap_or_else(|| Node::plain("", key.place)),
            Err(problem) => return self.errors.push(problem),
        };
        if matches!(text, "grid" | "zip" | "include" | "exclude") {
            return self.error(&key, format!("`{text}` is set in the sweep file"), "--set changes fixed values only");
        }
        if let Some(name) = text.strip_prefix("run.") {
            self.run_seen.retain(|(seen, _)| seen != name);
        }
        let earlier = std::mem::take(&mut self.fixed);
        self.top_level(&key, &value);
        let replaced = |old: &Setting| {
            self.fixed.iter().any(|new| {
                let is_length = |path: &str| matches!(path, "epochs" | "steps");
                old.path == new.path
                    || old.path.starts_with(&format!("{}.", new.path))
                    || is_length(&old.path) && is_length(&new.path)
            })
        };
        let mut kept: Vec<Setting> = earlier.into_iter().filter(|old| !replaced(old)).collect();
        kept.append(&mut self.fixed);
        self.fixed = kept;
    }

    fn finish(mut self, stem: &str, text: Arc<Text>) -> Result<SweepSpec, Problems> {
        self.check_axes();
        self.check_seeds();
        let (name, name_place) = self.name.take().unwrap_or_else(|| (stem.to_owned(), Place::START));
        if !is_folder_name(&name) {
            let what = format!("`{name}` cannot name a sweep");
            let hint =
                "it names a folder of results: letters, digits, `-`, `_`, `.` and blanks, not starting with a dot";
            self.errors.push(Problem::new(name_place, what).hint(hint));
        }
        self.fixed.sort_by_key(Setting::depth);
        let mut base = default_trial();
        self.errors.extend(two_lengths(&self.fixed));
        for setting in &self.fixed {
            self.errors.extend(setting.apply(&mut base).err());
        }
        let mut spec = SweepSpec {
            name,
            run: self.run,
            text: Arc::clone(&text),
            base,
            fixed: self.fixed,
            seeds: self.dimensions.iter().position(|d| matches!(d.keys.as_slice(), [only] if only.path == "seed")),
            dimensions: self.dimensions,
            include: self.include,
            exclude: self.exclude,
            warnings: Vec::new(),
        };
        let size = spec.size();
        if size > spec.run.max_trials as u128 {
            let what =
                format!("this sweep has {} trials, more than {}", grouped(size), grouped(spec.run.max_trials as u128));
            let place = self.grid.unwrap_or(Place::START);
            self.errors.push(Problem::new(place, what).hint("shorten an axis, or raise `run.max_trials`"));
        } else if self.errors.is_empty() {
            self.errors.extend(super::check::parameters(&spec));
            self.errors.extend(spec.check_accumulation());
        }
        spec.warnings = self.warnings;
        if self.errors.is_empty() { Ok(spec) } else { Err(Problems::new(text, self.errors)) }
    }

    /// Values that stand twice on an axis, fixed values that an axis would silently replace, `epochs` against `steps`.
    fn check_axes(&mut self) {
        let mut errors = Vec::new();
        for dimension in &self.dimensions {
            for key in &dimension.keys {
                if dimension.keys.len() == 1 {
                    errors.extend(twice(key));
                }
                errors.extend(self.fixed.iter().filter(|fixed| fixed.place.is_override()).filter_map(|fixed| {
                    let mut varying = key.choices.iter().flat_map(|choice| &choice.settings);
                    let hidden = varying.any(|setting| setting.path == fixed.path);
                    let what = || format!("`{}` varies in this sweep", fixed.path);
                    hidden.then(|| Problem::new(fixed.key_place, what()).hint("--set changes fixed values only"))
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
        let axes = self.dimensions.iter().flat_map(|d| &d.keys).map(|key| (key.path.as_str(), key.place));
        let fixed = self.fixed.iter().map(|setting| (setting.path.as_str(), setting.key_place));
        let lengths: Vec<(&str, Place)> =
            fixed.chain(axes).filter(|(path, _)| matches!(*path, "epochs" | "steps")).collect();
        if let Some((_, place)) = lengths.iter().find(|(path, _)| lengths.iter().any(|(other, _)| other != path)) {
            let varies =
                self.dimensions.iter().flat_map(|d| &d.keys).any(|key| matches!(key.path.as_str(), "epochs" | "steps"));
            if varies {
                errors.push(epochs_and_steps(*place));
            }
        }
        self.errors.append(&mut errors);
    }

    /// `seeds` becomes the last axis.
    fn check_seeds(&mut self) {
        let Some(seeds) = self.seeds.take() else { return };
        if let Some(axis) = self.dimensions.iter().flat_map(|d| &d.keys).find(|key| key.path == "seed") {
            let hint = format!("`seed` varies in line {}; keep one of the two", axis.place.line());
            self.errors.push(Problem::new(seeds.place, "`seeds` and an axis `seed` are the same thing").hint(hint));
        }
        self.errors.extend(twice(&seeds));
        self.dimensions.push(Dimension { keys: vec![seeds] });
    }

    /// transformers multiplies the two; here a batch is what an optimizer step sees.
    fn check_batch_meaning(&mut self, entries: &[(Node, Node)]) {
        let find = |name: &str| entries.iter().find(|(key, _)| key.text() == Some(name));
        let batch = find("per_device_train_batch_size").map(|(key, _)| key.place);
        let accumulation = find("gradient_accumulation_steps").or_else(|| find("grad_accumulation"));
        if let (Some(place), Some((_, parts))) = (batch, accumulation) {
            if super::kind::whole(parts).is_some_and(|parts| parts > 1) {
                let what = "a batch is split into micro-batches here, where transformers would multiply it";
                self.warnings.push(Problem::new(place, what).hint("for the same run, multiply it by the accumulation"));
            }
        }
    }
}

struct Resolved {
    /// Aliases resolved.
    path: String,
    written: String,
    meaning: Meaning,
}

impl Resolved {
    /// The key that a lone scalar sets, where a group stands.
    fn scalar_path(&self) -> Option<&str> {
        if let Meaning::Group(group) = self.meaning { group.scalar } else { None }
    }
}

enum Meaning {
    Group(&'static keys::Group),
    Leaf(&'static Kind, Target),
}

/// The keys directly inside a group.
fn children(group: &'static str) -> impl Iterator<Item = &'static str> {
    keys::paths().filter_map(move |path| path.strip_prefix(group)?.strip_prefix('.').filter(|rest| !rest.contains('.')))
}

fn unknown(prefix: &str, name: &str, written: &str, place: Place) -> Problem {
    let problem = Problem::new(place, format!("unknown key `{written}`"));
    // A known key in the wrong place is the likeliest mistake.
    let elsewhere = keys::paths().find(|path| *path == name || path.rsplit('.').next() == Some(name));
    let aliased = keys::alias(name).map(|alias| alias.path);
    if let Some(path) = aliased.or(elsewhere) {
        return problem.hint(format!("did you mean `{path}`?"));
    }
    let hint = match keys::group(prefix) {
        Some(group) => suggestion(name, children(group.path)),
        None => {
            let known = keys::paths().chain(keys::ALIASES.iter().map(|alias| alias.name));
            suggestion(name, known.chain(SECTIONS.iter().copied()))
        }
    };
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// A setting whose key has been set before.
fn repeated(setting: &Setting, earlier: &[Setting]) -> Option<Problem> {
    let first = earlier.iter().find(|earlier| earlier.path == setting.path)?;
    let problem = Problem::new(setting.key_place, format!("`{}` is set twice", setting.path));
    Some(problem.hint(format!("first in line {}", first.key_place.line())))
}

fn two_lengths(settings: &[Setting]) -> Option<Problem> {
    let find = |path| settings.iter().find(|setting| setting.path == path);
    let (epochs, steps) = (find("epochs")?, find("steps")?);
    Some(epochs_and_steps(epochs.key_place.max(steps.key_place)))
}

fn epochs_and_steps(place: Place) -> Problem {
    Problem::new(place, "`epochs` and `steps` both say how long to train").hint("keep one of them")
}

/// Values that stand on an axis twice.
fn twice(key: &AxisKey) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen: std::collections::HashMap<String, &str> = std::collections::HashMap::new();
    for choice in &key.choices {
        let AxisValue { value, text } = &choice.shown;
        let place = choice.settings.first().map_or(key.place, |setting| setting.place);
        match seen.get(&value.to_string()) {
            Some(earlier) if *earlier == text => {
                problems.push(Problem::new(place, format!("`{text}` stands on this axis twice")).hint("remove one"));
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

/// The value of an axis for tables: scalars as written, anything else in short.
fn shown_as_written(path: &str, node: &Node, settings: &[Setting]) -> AxisValue {
    let value = match (settings, node.map(), keys::variants(path)) {
        ([only], _, Some(variants)) => brief(variants, &only.value),
        ([only], None, None) => only.value.clone(),
        _ => {
            let inner = |setting: &Setting| {
                setting.path.strip_prefix(path).unwrap_or_default().trim_start_matches('.').to_owned()
            };
            Value::from(settings.iter().map(|setting| (inner(setting), setting.value.clone())).collect::<Map<_, _>>())
        }
    };
    let text = match (node.text(), settings, keys::variants(path)) {
        (Some(_), ..) if node.is_null() => "none".into(),
        (Some(text), ..) => text.to_owned(),
        (None, [only], Some(_)) => readable(&given_in_short(&only.given)),
        _ => readable(&value),
    };
    AxisValue { value, text }
}

/// `[{name: synonym}]` as `synonym`.
fn given_in_short(given: &Value) -> Value {
    match given {
        Value::Array(items) if items.is_empty() => "none".into(),
        Value::Array(items) => items.iter().map(given_in_short).collect(),
        other => other.clone(),
    }
}

fn is_folder_name(name: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
    !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && name.trim() == name && name.chars().all(fits)
}

/// `1,200,000`.
fn grouped(n: u128) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}
