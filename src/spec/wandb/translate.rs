//! The way from a W&B file to the sections of ours.

use std::collections::BTreeSet;

use super::super::kind::{number, whole};
use super::super::problem::{Place, Problem, nearest};
use super::super::yaml::{Content, Node};
use super::names::{self, Meaning};
use crate::trial::rounded_text;

/// Names that the user leaves out or renames.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Names of parameters.
    pub drop: Vec<String>,
    /// Names of parameters, each with the key that it means.
    pub keys: Vec<(String, String)>,
}

/// A key with its value, and what the user should know of it.
#[derive(Debug)]
pub(super) struct Line {
    pub key: Node,
    pub value: Node,
    pub notes: Vec<Problem>,
}

impl Line {
    pub fn new(key: &str, place: Place, value: Node) -> Self {
        Self { key: Node::plain(key, place), value, notes: Vec::new() }
    }
}

/// A W&B file in the terms of ours.
#[derive(Debug, Default)]
pub(in super::super) struct Translation {
    /// Notes about what has no line.
    pub(super) head: Vec<Problem>,
    pub(super) fixed: Vec<Line>,
    pub(super) grid: Vec<Line>,
    pub(super) space: Vec<Line>,
    pub(super) seeds: Option<Line>,
    pub(super) search: Vec<Line>,
    pub(super) stop: Vec<Line>,
    pub errors: Vec<Problem>,
}

impl Translation {
    pub fn notes(&self) -> impl Iterator<Item = &Problem> {
        self.head.iter().chain(self.lines().flat_map(|line| &line.notes))
    }

    fn lines(&self) -> impl Iterator<Item = &Line> {
        let sections = [&self.fixed, &self.grid, &self.space, &self.search, &self.stop];
        sections.into_iter().flatten().chain(&self.seeds)
    }

    /// The sections with several lines, by name.
    pub(super) fn sections(&self) -> [(&'static str, &[Line]); 4] {
        [("grid", &self.grid), ("space", &self.space), ("search", &self.search), ("stop", &self.stop)]
    }

    /// The sweep as the tree of one of our files.
    pub fn root(&self) -> Node {
        let entry = |line: &Line| (line.key.clone(), line.value.clone());
        let mut entries: Vec<(Node, Node)> = self.fixed.iter().chain(&self.seeds).map(entry).collect();
        for (name, lines) in self.sections() {
            if let Some(first) = lines.first() {
                let place = first.key.place;
                let content = Content::Map(lines.iter().map(entry).collect());
                entries.push((Node::plain(name, place), Node { place, content }));
            }
        }
        Node { place: Place::NOWHERE, content: Content::Map(entries) }
    }
}

/// Whether a file is one of W&B. `method` may have been forgotten.
pub(in super::super) fn is_sweep(root: &Node) -> bool {
    let forms = ["value", "values", "min", "max", "distribution", "parameters"];
    let is_parameter = |(_, value): &(Node, Node)| forms.iter().any(|form| entry(value, form).is_some());
    let parameters = entry(root, "parameters");
    let has_form = || parameters.and_then(Node::map).is_some_and(|entries| entries.iter().any(is_parameter));
    parameters.is_some() && (entry(root, "method").is_some() || has_form())
}

pub(super) fn entry<'n>(map: &'n Node, name: &str) -> Option<&'n Node> {
    map.map()?.iter().find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value)
}

/// How W&B chooses the next run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Grid,
    Random,
    Bayes,
}

/// What a parameter may be.
#[derive(Debug)]
pub(super) enum Form {
    Fixed(Node),
    Listed(Node),
    /// Only a search draws it.
    Range(Node),
}

pub(super) struct Translator<'o> {
    pub options: &'o ImportOptions,
    pub method: Method,
    pub out: Translation,
    /// Fixed parameters without a key, and those that are not needed.
    unknown: Vec<(String, Place)>,
    needless: Vec<(String, Place)>,
    /// The names of all parameters, also of those in `command`.
    pub met: BTreeSet<String>,
    /// The value of the metric at which the sweep ends.
    pub target: Option<Node>,
}

/// Sections that only W&B uses.
const SET_ASIDE: &[&str] =
    &["program", "project", "entity", "name", "description", "kind", "controller", "job", "image_uri"];

pub(in super::super) fn translate(root: &Node, options: &ImportOptions) -> Translation {
    let method = entry(root, "method").and_then(Node::text).unwrap_or_default().to_lowercase();
    let known = match method.as_str() {
        "grid" => Some(Method::Grid),
        "random" => Some(Method::Random),
        "bayes" => Some(Method::Bayes),
        _ => None,
    };
    let mut translator = Translator {
        options,
        method: known.unwrap_or(Method::Random),
        out: Translation::default(),
        unknown: Vec::new(),
        needless: Vec::new(),
        met: BTreeSet::new(),
        target: None,
    };
    if known.is_none() {
        let what = entry(root, "method").map(|node| (node, format!("`method` cannot be {}", node.described())));
        let (node, what) = what.unwrap_or_else(|| {
            (root, "the file has `parameters` as sweep files of W&B do, and no `method`".to_owned())
        });
        translator.error(node, what, "expected grid, random or bayes");
    }
    translator.file(root);
    translator.out
}

impl Translator<'_> {
    pub fn error(&mut self, node: &Node, what: impl Into<String>, hint: impl Into<String>) {
        self.out.errors.push(Problem::new(node.place, what).hint(hint));
    }

    pub fn note(&mut self, place: Place, what: impl Into<String>) {
        self.out.head.push(Problem::new(place, what));
    }

    fn file(&mut self, root: &Node) {
        let (mut aside, mut place) = (Vec::new(), None);
        for (key, value) in root.map().unwrap_or_default() {
            match key.text().unwrap_or_default() {
                "method" | "metric" | "early_terminate" | "run_cap" => {}
                "parameters" => self.parameters("", value),
                "command" => self.command(value),
                name if name.starts_with("condition") => self.condition(key),
                name => {
                    place = place.or(Some(key.place));
                    aside.push(name.to_owned());
                    if !SET_ASIDE.contains(&name) {
                        self.note(key.place, format!("`{name}` is set aside: it has no meaning here"));
                        aside.pop();
                    }
                }
            }
        }
        if let Some(place) = place.filter(|_| !aside.is_empty()) {
            self.note(place, format!("set aside, because only W&B uses them: {}", aside.join(", ")));
        }
        let metric = self.metric(root);
        self.stop(root, metric);
        self.search(root);
        self.finish(root);
    }

    /// The parameters of a section, or of a parameter that holds others.
    fn parameters(&mut self, prefix: &str, value: &Node) {
        let Some(entries) = value.map() else {
            return self.error(value, "`parameters` needs names with values", "such as {lr: {values: [1e-5, 1e-4]}}");
        };
        for (key, value) in entries {
            let written = format!("{prefix}{}", key.text().unwrap_or_default());
            if let Some(inner) = entry(value, "parameters") {
                self.parameters(&format!("{written}."), inner);
            } else if written.starts_with("condition") {
                self.condition(key);
            } else {
                self.parameter(&written, key, value);
            }
        }
    }

    pub fn condition(&mut self, key: &Node) {
        let hint =
            "write it into the value: `scheduler: [linear, {name: cosine_with_restarts, cycles: {int: [1, 4]}}]`";
        let what = format!(
            "`{}`: parameters that depend on others are written differently here",
            key.text().unwrap_or_default()
        );
        self.error(key, what, hint);
    }

    fn parameter(&mut self, written: &str, key: &Node, value: &Node) {
        self.met.insert(written.to_owned());
        if self.options.drop.iter().any(|name| name == written) {
            return self.note(key.place, format!("`{written}` is left out, as `--drop` says"));
        }
        let Some((form, notes)) = self.form(written, value) else { return };
        self.set(written, key, form, notes);
    }

    /// Puts a parameter into its section.
    pub fn set(&mut self, written: &str, key: &Node, form: Form, mut notes: Vec<Problem>) {
        let path = match (names::meaning(written, &self.options.keys), &form) {
            (Meaning::Key(path), _) => path,
            (Meaning::Needless(_), Form::Fixed(_)) => return self.needless.push((written.to_owned(), key.place)),
            (Meaning::Unknown, Form::Fixed(_)) => return self.unknown.push((written.to_owned(), key.place)),
            (Meaning::Needless(why), _) => {
                return self.error(
                    key,
                    format!("`{written}` is searched, and has no counterpart"),
                    format!("{why} (`plateau import --drop {written}`)"),
                );
            }
            (Meaning::Unknown, _) => {
                let near = names::near(written).map_or_else(|| "KEY".to_owned(), str::to_owned);
                let hint = format!(
                    "`plateau import --drop {written}` leaves it out, `--key {written}={near}` names the key that it means"
                );
                return self.error(key, format!("`{written}` is searched, and is no key of a trial here"), hint);
            }
        };
        let (form, changed) = in_our_words(&path, form);
        notes.extend(changed.map(|what| Problem::new(key.place, what)));
        if names::plain(written) != path {
            notes.push(Problem::new(key.place, format!("`{written}` is `{path}` here")));
        }
        let is_seed = path == "seed";
        let line = |value: Node, notes| Line { key: Node::plain(&path, key.place), value, notes };
        match form {
            // Arguments of transformers say so that they do not count.
            Form::Fixed(value) if path == "steps" && value.text().is_some_and(|text| text.starts_with('-')) => {}
            Form::Fixed(value) => self.out.fixed.push(line(value, notes)),
            Form::Listed(value) if is_seed && value.list().is_some() => {
                if self.method != Method::Grid {
                    notes.push(Problem::new(key.place, "each configuration runs with every seed; W&B draws one"));
                }
                self.out.seeds = Some(Line { key: Node::plain("seeds", key.place), value, notes });
            }
            Form::Range(value) if is_seed && self.method == Method::Grid && counted(&value).is_some() => {
                let seeds = counted(&value).map(|value| Line { key: Node::plain("seeds", key.place), value, notes });
                self.out.seeds = seeds;
            }
            Form::Range(_) | Form::Listed(_) if is_seed => {
                let what = format!(
                    "`{written}` is left out: a search draws no seeds. `plateau confirm` trains the best configurations again with new ones"
                );
                self.note(key.place, what);
            }
            Form::Listed(value) if self.method == Method::Grid => self.out.grid.push(line(value, notes)),
            Form::Range(value) if self.method == Method::Grid => {
                if let Some(values) = counted(&value) {
                    if entry(&value, "step").is_some() {
                        let what = format!("`{written}`: a grid of W&B has the values of `q_uniform` below `max`");
                        notes.push(Problem::new(key.place, what));
                    }
                    self.out.grid.push(line(values, notes));
                } else {
                    self.error(
                        key,
                        format!("`{written}` needs a list of values, because `method` is grid"),
                        "write `values: [..]`, or `method: random`",
                    );
                }
            }
            Form::Listed(value) | Form::Range(value) => self.out.space.push(line(value, notes)),
        }
    }

    /// W&B's programs train the batch of a device times the accumulated ones in a step. Here `batch_size` is that of a step.
    fn whole_batches(&mut self) {
        let is = |path: &'static str| move |line: &&mut Line| line.key.text() == Some(path);
        let parts = self.out.lines().find(|line| line.key.text() == Some("grad_accumulation"));
        let Some((parts, place)) = parts.map(|line| (whole(&line.value), line.key.place)) else { return };
        let batch = self.out.fixed.iter_mut().find(is("batch_size"));
        let batch = batch.and_then(|line| Some((whole(&line.value)?, line)));
        let note = |what: String| Problem::new(place, what);
        match (batch, parts) {
            (_, Some(1)) => {}
            (Some((size, line)), Some(parts)) => {
                let all = size.saturating_mul(parts);
                line.value = Node::plain(&all.to_string(), line.value.place);
                line.notes.push(note(format!("an optimizer step has {size} x {parts} = {all} examples")));
            }
            _ => self.note(
                place,
                "`batch_size` has all examples of an optimizer step here, which W&B's program multiplies by `grad_accumulation`: \
                 compare only trials whose product is meant"
                    .to_owned(),
            ),
        }
    }

    /// Adds the notes about all parameters together.
    fn finish(&mut self, root: &Node) {
        self.whole_batches();
        let names = |all: &[(String, Place)]| all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        for (list, why) in [
            (std::mem::take(&mut self.unknown), "set aside, because these are no keys here"),
            (std::mem::take(&mut self.needless), "set aside, not needed here"),
        ] {
            if let Some((_, place)) = list.first() {
                self.note(*place, format!("{why}: {}", names(&list)));
            }
        }
        self.check_options();
        let is = |line: &Line, key: &str| line.key.text() == Some(key);
        // `warmup_steps: 0` beside `warmup_ratio` says nothing. If both are 0, one of them stays.
        let mut has_warmup = self.out.grid.iter().chain(&self.out.space).any(|line| is(line, "warmup"))
            || self.out.fixed.iter().any(|line| is(line, "warmup") && whole(&line.value) != Some(0));
        self.out.fixed.retain(|line| {
            let says_nothing = has_warmup && is(line, "warmup") && whole(&line.value) == Some(0);
            has_warmup |= is(line, "warmup");
            !says_nothing
        });
        self.check_names();
        if !self.out.lines().any(|line| is(line, "data.train")) {
            let place = entry(root, "parameters").map_or(Place::NOWHERE, |node| node.place);
            self.note(
                place,
                "the file names no data, so the trials learn from `embedded:tweets`: add `data: {train: FILE}`",
            );
        }
    }

    /// Reports keys of a grid that are there a second time, under another name.
    fn check_names(&mut self) {
        let grid = &self.out.grid;
        for (at, line) in grid.iter().enumerate() {
            let others = self.out.fixed.iter().chain(&grid[at + 1..]);
            let mut same = others.filter(|other| other.key.text() == line.key.text());
            if let (Some(other), Some(key)) = (same.next(), line.key.text()) {
                let what = format!("`{key}` is searched, and stands again in line {}", other.key.place.line());
                let problem = Problem::new(line.key.place, what);
                self.out.errors.push(problem.hint("keep one of the two; `plateau import --drop NAME` leaves one out"));
            }
        }
    }

    /// Reports names among the options that no parameter has.
    fn check_options(&mut self) {
        let ImportOptions { drop, keys } = self.options;
        let given = drop.iter().map(|name| ("--drop", name)).chain(keys.iter().map(|(name, _)| ("--key", name)));
        for (option, name) in given.filter(|(_, name)| !self.met.contains(*name)) {
            let problem = Problem::new(Place::NOWHERE, format!("{option} {name}: no parameter has this name"));
            let met: Vec<&str> = self.met.iter().map(String::as_str).collect();
            let hint = nearest(name, met.iter().copied()).map_or_else(
                || format!("the parameters are {}", met.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.out.errors.push(problem.hint(hint));
        }
    }
}

/// A form whose values have the names that we use, with a note if one of them changed.
fn in_our_words(path: &str, form: Form) -> (Form, Option<String>) {
    let mut changes = Vec::new();
    let mut node = |node: Node| {
        let ours = node.text().and_then(|text| names::value(path, text));
        let Some(ours) = ours else { return node };
        changes.push(format!("`{}` is `{ours}`", node.text().unwrap_or_default()));
        Node::plain(&ours, node.place)
    };
    let form = match form {
        Form::Fixed(value) => Form::Fixed(node(value)),
        Form::Listed(value) => Form::Listed(match value.content {
            Content::List(items) => {
                Node { content: Content::List(items.into_iter().map(&mut node).collect()), ..value }
            }
            content => Node { content, ..value },
        }),
        range @ Form::Range(_) => range,
    };
    (form, (!changes.is_empty()).then(|| format!("{} here", changes.join(", "))))
}

/// Most values of a range that a grid lists.
const MOST_LISTED: f64 = 1000.0;
/// Significant digits of its values.
const DIGITS: usize = 12;
/// A part of a step that is rounding.
const DUST: f64 = 1e-9;

/// The values of a range of whole numbers, or with steps. W&B lists those of `q_uniform`, which has steps, without the upper end.
fn counted(range: &Node) -> Option<Node> {
    let step = entry(range, "step");
    let ends = entry(range, "int").or_else(|| step.and(entry(range, "uniform")))?.list()?;
    let (low, high) = (number(ends.first()?)?, number(ends.get(1)?)?);
    let width = step.map_or(Some(1.0), number).filter(|width| *width > 0.0)?;
    let steps = (high - low) / width;
    // The quotient of decimal fractions has dust.
    let count = if step.is_some() { (steps - DUST).ceil() } else { steps + 1.0 };
    if !(1.0..=MOST_LISTED).contains(&count) {
        return None;
    }
    let items = (0..count as u64).map(|index| low + index as f64 * width);
    let items = items.map(|x| Node::plain(&rounded_text(x, DIGITS), range.place)).collect();
    Some(Node { place: range.place, content: Content::List(items) })
}
