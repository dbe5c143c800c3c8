//! The reference of all keys: the tables of this room as data, and as the page `docs/reference.md`.

use std::fmt::Write as _;

use serde_json::Value;

use super::across::{RULE_KEYS, StopAcross};
use super::architectures::{ARCHITECTURES, EXTRAS};
use super::augmentations::AUGMENTATIONS;
use super::keys::{self, ARCHITECTURE, EXTRA};
use super::kind::{Doc, Kind, Parameter, Variant};
use super::lookup::lookup;
use super::names::{self, ALIASES, misnomer};
use super::problem::nearest;
use super::run_config::RunConfig;
use super::run_section;
use super::schedulers::SCHEDULERS;
use super::search::{SEARCH_KEYS, SearchConfig, SearchKey};
use super::sections::SECTIONS;
use super::sweep::in_short;
use crate::trial::{AdaptersConfig, Key as Role, LoraConfig, Patience, Plateau, TrialConfig, number_text};

/// What the reference says of one key, or of a parameter of a schedule or an augmentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDoc {
    /// Dotted, such as `data.max_length` or `scheduler.cycles`.
    pub path: String,
    /// The schedule or augmentation that has the parameter; None for a key.
    pub owner: Option<&'static str>,
    /// Type and range.
    pub takes: String,
    /// As a sweep file writes it; None if there is no default.
    pub default: Option<String>,
    /// Empty for none.
    pub unit: &'static str,
    pub about: &'static str,
    /// A line of a sweep file.
    pub example: String,
    /// Other names that are accepted.
    pub aliases: Vec<&'static str>,
}

impl KeyDoc {
    fn new(path: &str, takes: String, default: Option<String>, doc: Doc) -> Self {
        let Doc { about, unit, example } = doc;
        let aliases = ALIASES.iter().filter(|alias| alias.path == path).map(|alias| alias.name).collect();
        let example = format!("{path}: {example}");
        Self { path: path.to_owned(), owner: None, takes, default, unit, about, example, aliases }
    }

    fn of_parameter(key: &str, owner: &'static str, parameter: &Parameter) -> Self {
        let Parameter { name, kind, default, doc } = parameter;
        let path = format!("{key}.{name}");
        let example = format!("{key}: {{name: {owner}, {name}: {}}}", doc.example);
        let default = Some((*default).to_owned());
        Self { owner: Some(owner), example, ..Self::new(&path, kind.takes(), default, *doc) }
    }
}

/// Keys that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chapter {
    /// `data`, `scheduler cosine`, `run`.
    pub title: String,
    /// Empty where the keys speak for themselves.
    pub about: &'static str,
    pub keys: Vec<KeyDoc>,
}

/// Everything that a sweep file can say, in the order of the reference.
#[must_use]
pub fn reference() -> Vec<Chapter> {
    let chapter = |title: &str, about, keys| Chapter { title: title.to_owned(), about, keys };
    let inside = |group: &str| keys_where(|path| path.split_once('.').is_some_and(|(first, _)| first == group));
    let mut chapters = vec![
        chapter("sections", "A sweep file is a map of sections and of keys with fixed values.", sections()),
        chapter("data", "The rows that a trial trains on and is evaluated on.", inside("data")),
        chapter("model", "The checkpoint that a trial starts from, and what is changed in it.", inside("model")),
        chapter("optimizer", "", inside("optimizer")),
        chapter("training", "These keys are at the top level.", keys_where(|path| !path.contains('.'))),
    ];
    let named = [
        (ARCHITECTURE, ARCHITECTURES),
        (EXTRA, EXTRAS),
        (Role::Scheduler.path(), SCHEDULERS),
        (Role::Augmentation.path(), AUGMENTATIONS),
    ];
    for (key, variants) in named {
        chapters.extend(variants.iter().map(|variant| variant_chapter(key, variant)));
    }
    chapters.push(chapter("stop", "Rules that end trials early.", [inside("stop"), rules()].concat()));
    chapters.push(chapter("search", "How the configurations of `space` are drawn.", search_keys()));
    chapters.push(chapter("run", "How a sweep runs. These keys are never part of a trial's identity.", run_keys()));
    chapters
}

/// What there is to say of `name`: a key under any of its names, a group, a schedule, an augmentation, or a section.
///
/// # Errors
/// The name closest to an unknown one, if one is close.
pub fn look_up(name: &str) -> Result<Vec<Chapter>, Option<String>> {
    let chapters = reference();
    let resolved = names::alias(name).map(|alias| alias.path).or_else(|| misnomer(name)).unwrap_or(name);
    let narrowed = |fits: &dyn Fn(&KeyDoc) -> bool| -> Vec<Chapter> {
        let narrow = |chapter: &Chapter| Chapter {
            keys: chapter.keys.iter().filter(|key| fits(key)).cloned().collect(),
            ..chapter.clone()
        };
        chapters.iter().map(narrow).filter(|chapter| !chapter.keys.is_empty()).collect()
    };
    let titled = |chapter: &&Chapter| chapter.title.split(' ').next_back() == Some(resolved);
    if let Some(found) = chapters.iter().find(titled) {
        return Ok(vec![found.clone()]);
    }
    for found in [
        narrowed(&|key| {
            let rest = key.path.strip_prefix(resolved);
            rest.is_some_and(|rest| rest.is_empty() || key.owner.is_none() && rest.starts_with('.'))
        }),
        narrowed(&|key| key.path.rsplit('.').next() == Some(resolved)),
    ] {
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let paths = chapters.iter().flat_map(|chapter| &chapter.keys).map(|key| key.path.as_str());
    let titles = chapters.iter().filter_map(|chapter| chapter.title.split(' ').next_back());
    Err(nearest(name, paths.chain(titles).chain(ALIASES.iter().map(|alias| alias.name))).map(str::to_owned))
}

fn sections() -> Vec<KeyDoc> {
    let takes = |name: &str| match name {
        "name" => "text",
        "include" | "exclude" | "arms" => "list of maps",
        "seeds" => "list of whole numbers",
        _ => "map",
    };
    SECTIONS.iter().map(|section| KeyDoc::new(section.name, takes(section.name).into(), None, section.doc)).collect()
}

fn keys_where(fits: impl Fn(&str) -> bool) -> Vec<KeyDoc> {
    let mut defaults = TrialConfig::default();
    (defaults.stop.patience, defaults.stop.plateau) = (Some(Patience::default()), Some(Plateau::default()));
    defaults.model.lora = Some(LoraConfig::default());
    defaults.model.adapters = Some(AdaptersConfig::default());
    let defaults = serde_json::to_value(defaults).unwrap_or_default();
    let found = keys::all().filter(|key| fits(key.path));
    found.map(|key| KeyDoc::new(key.path, key.kind.takes(), default(key.path, &key.kind, &defaults), key.doc)).collect()
}

fn rules() -> Vec<KeyDoc> {
    let on = StopAcross { median: Some(super::Median::default()), asha: Some(super::Asha::default()) };
    let on = serde_json::json!({"stop": on});
    let rules = RULE_KEYS.iter();
    rules.map(|rule| KeyDoc::new(rule.path, rule.kind.takes(), default(rule.path, &rule.kind, &on), rule.doc)).collect()
}

fn search_keys() -> Vec<KeyDoc> {
    let defaults = serde_json::json!({"search": SearchConfig::default()});
    let doc = |key: &SearchKey| {
        let path = format!("search.{}", key.name);
        KeyDoc::new(&path, key.kind.takes(), default(&path, &key.kind, &defaults), key.doc)
    };
    SEARCH_KEYS.iter().map(doc).collect()
}

fn run_keys() -> Vec<KeyDoc> {
    let defaults = RunConfig::default().to_yaml();
    let keys = run_section::run_keys().map(|key| {
        let default = match key.name.split_once('.') {
            Some((section, name)) => defaults.get(section).and_then(|section| section.get(name)),
            None => defaults.get(key.name),
        };
        let default = default.and_then(|value| serde_json::to_value(value).ok());
        KeyDoc::new(
            &format!("run.{}", key.name),
            key.expected.to_owned(),
            default.map(|value| written(&value)),
            key.doc,
        )
    });
    keys.collect()
}

fn variant_chapter(key: &str, variant: &'static Variant) -> Chapter {
    let parameters = variant.parameters.iter().map(|parameter| KeyDoc::of_parameter(key, variant.name, parameter));
    Chapter { title: format!("{key} {}", variant.name), about: variant.about, keys: parameters.collect() }
}

/// The default of a key in the JSON of a configuration. What can be switched on is off.
fn default(path: &str, kind: &Kind, defaults: &Value) -> Option<String> {
    match (lookup(defaults, path), kind) {
        (_, Kind::Switch { .. }) => Some("none".into()),
        (Some(value), _) => Some(written(&in_short(path, value))),
        // A configuration leaves some keys out where they are null.
        (None, Kind::Optional(_)) => Some("null".into()),
        (None, _) => None,
    }
}

/// A value as a sweep file writes it.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if !number.is_u64() => number.as_f64().map_or_else(|| number.to_string(), number_text),
        Value::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

impl Kind {
    /// Type and range.
    fn takes(&self) -> String {
        let list = |names: &[&str]| match names {
            [] => String::new(),
            [only] => format!("`{only}`"),
            [first @ .., last] => {
                let first: Vec<String> = first.iter().map(|name| format!("`{name}`")).collect();
                format!("{} or `{last}`", first.join(", "))
            }
        };
        match self {
            Self::Number { range, .. } => format!("number {}", range.text()),
            Self::Whole { from, to, .. } if *to < 1_000_000_000 => format!("whole number from {from} to {to}"),
            Self::Whole { from, .. } => format!("whole number from {from}"),
            Self::FractionOrSteps { .. } => "fraction below 1, or whole number of steps from 1".into(),
            Self::Steps { .. } => "whole number of steps".into(),
            Self::Pair { each, .. } => format!("two numbers, each {}", each.text()),
            Self::Wholes { from, to, .. } => format!("list of whole numbers from {from} to {to}"),
            Self::Flag => "`true` or `false`".into(),
            Self::Text { .. } => "text".into(),
            Self::Choice(names) => list(names),
            Self::Choices(names) => format!("{}, or a list of them", list(names)),
            Self::Optional(inner) => format!("{}; or `null`", inner.takes()),
            Self::Switch { .. } => "`none`, `true` or a map of the keys below".into(),
            Self::Files => "file, folder, pattern, or list of files".into(),
            Self::Names { .. } => "name, or list of names".into(),
            Self::Columns => "name of a column, or list of names".into(),
            Self::ClassWeights => "`balanced`, or a map of each label and a number above 0".into(),
            Self::FractionOrFile => {
                "number above 0, below 1; a file as for `data.train`, or a map of `file`, `text`, `text_pair`, `choices` and `label`".into()
            }
            Self::Named(variants) => {
                list(&variants.iter().map(|variant| variant.name).collect::<Vec<_>>())
                    + ", or a map of `name` and parameters"
            }
            Self::NamedList(variants) => {
                let names = variants.iter().map(|variant| variant.name);
                list(&std::iter::once("none").chain(names).collect::<Vec<_>>())
                    + ", or a map of `name` and parameters, or a list of those"
            }
        }
    }
}

const HEAD: &str = "\
# Reference: every key of a sweep file

This page is made from the tables in `src/spec`. After a change of them, write it anew:

```sh
cargo run -- keys --format markdown > docs/reference.md
cargo run -- schema > docs/sweep.schema.json
```

`plateau keys KEY` shows one entry. Any key of a trial can vary: put it into `grid` with a list of values. Nested keys are
written as maps (`data: {max_length: 64}`) or with a dot (`data.max_length: 64`). An editor that knows the
[YAML language server](https://github.com/redhat-developer/yaml-language-server) completes and checks a sweep file that
begins with the line

```yaml
# yaml-language-server: $schema=../docs/sweep.schema.json
```
";

/// The page `docs/reference.md`.
#[must_use]
pub fn reference_page() -> String {
    let mut page = HEAD.to_owned();
    let mut part = String::new();
    for chapter in reference() {
        let (first, rest) = chapter.title.split_once(' ').map_or((chapter.title.as_str(), None), |(a, b)| (a, Some(b)));
        if let Some(name) = rest {
            if part != first {
                let _ = write!(page, "\n## {first}\n");
            }
            let _ = write!(page, "\n### `{name}`\n\n{}\n", chapter.about);
        } else {
            let _ = write!(page, "\n## {first}\n");
            if !chapter.about.is_empty() {
                let _ = write!(page, "\n{}\n", chapter.about);
            }
        }
        first.clone_into(&mut part);
        if !chapter.keys.is_empty() {
            page.push_str("\n| key | sets | takes | unit | default | example |\n|---|---|---|---|---|---|\n");
        }
        for key in &chapter.keys {
            let _ = writeln!(page, "{}", row(key));
        }
    }
    page
}

fn row(key: &KeyDoc) -> String {
    let name = key.owner.map_or(key.path.as_str(), |_| key.path.rsplit('.').next().unwrap_or_default());
    let mut about = key.about.to_owned();
    if !key.aliases.is_empty() {
        let aliases: Vec<String> = key.aliases.iter().map(|alias| format!("`{alias}`")).collect();
        let _ = write!(about, " Also: {}.", aliases.join(", "));
    }
    let default = key.default.as_ref().map_or_else(|| "–".to_owned(), |default| format!("`{default}`"));
    format!("| `{name}` | {about} | {} | {} | {default} | `{}` |", key.takes, key.unit, key.example)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::parse;

    fn all() -> Vec<KeyDoc> {
        reference().into_iter().flat_map(|chapter| chapter.keys).collect()
    }

    #[test]
    fn every_key_is_documented_in_sentences() {
        for key in all() {
            assert!(key.about.ends_with('.') && key.about.len() > 10, "{}: {:?}", key.path, key.about);
        }
        for variant in SCHEDULERS.iter().chain(AUGMENTATIONS) {
            assert!(variant.about.ends_with('.'), "{}", variant.name);
        }
    }

    /// A search needs something to draw.
    fn complete(path: &str, line: &str) -> String {
        if path.starts_with("search") { format!("{line}\nspace: {{lr: [1e-5, 1e-4]}}") } else { line.to_owned() }
    }

    #[test]
    fn every_example_is_a_line_of_a_sweep_file() {
        for KeyDoc { example, path, .. } in all() {
            let whole = parse("a.yaml", "a", &complete(&path, &example), &[]);
            assert!(whole.is_ok(), "{path}: {}", whole.unwrap_err());
        }
    }

    /// The defaults in the reference are those that an empty file gets.
    #[test]
    fn every_default_reads_back_as_the_default() {
        let empty = parse("a.yaml", "a", "", &[]).unwrap();
        for KeyDoc { path, default, owner, .. } in all() {
            let Some(default) = default.filter(|_| owner.is_none()) else { continue };
            let line = format!("{path}: {default}");
            let spec =
                parse("a.yaml", "a", &complete(&path, &line), &[]).unwrap_or_else(|problems| panic!("{problems}"));
            let is_inside = path.matches('.').count() == 2;
            let search = spec.search.map(|search| search.config).unwrap_or_default();
            let is_default = spec.base == empty.base && spec.run == empty.run && search == SearchConfig::default();
            assert!(is_inside || is_default, "{line}");
        }
    }

    #[test]
    fn a_key_is_found_under_every_name() {
        let paths = |name: &str| -> Vec<String> {
            look_up(name).unwrap().into_iter().flat_map(|chapter| chapter.keys).map(|key| key.path).collect()
        };
        assert_eq!(paths("lr"), ["lr"]);
        assert_eq!(paths("learning_rate"), ["lr"]);
        assert_eq!(paths("max_len"), ["data.max_length"]);
        assert_eq!(paths("run.keep"), ["run.keep"]);
        assert_eq!(paths("keep"), ["run.keep"]);
        assert_eq!(paths("stop.patience")[..2], ["stop.patience", "stop.patience.metric"]);
        assert_eq!(paths("cyclical").len(), 5);
        assert_eq!(paths("scheduler.min_lr").len(), 3);
        assert!(paths("model").len() > 4 && paths("scheduler").len() == 1);
        assert_eq!(look_up("schedular"), Err(Some("scheduler".to_owned())));
        assert_eq!(look_up("xyzzy"), Err(None));
    }

    #[test]
    fn the_page_is_that_of_the_tables() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference.md");
        let page = std::fs::read_to_string(path).unwrap();
        assert!(
            page == reference_page(),
            "docs/reference.md is older than the tables: run `cargo run -- keys --format markdown > docs/reference.md`"
        );
    }
}
