//! The JSON Schema (draft 7) of sweep files, for editors. It is made from the same tables as the reader, and refuses less:
//! what depends on several keys, on data or on a checkpoint is left to the reader.

use serde_json::{Map, Value, json};

use super::across::RULE_KEYS;
use super::keys::{self, GROUPS, Target};
use super::kind::{Kind, Parameter, Variant};
use super::names::ALIASES;
use super::reference::{KeyDoc, reference};
use super::run_section::run_keys;
use super::search::SEARCH_KEYS;
use super::sections::SECTIONS;
use crate::trial::Key as Role;

/// The schema as a JSON document.
#[must_use]
pub fn schema() -> Value {
    let docs: Vec<KeyDoc> = reference().into_iter().flat_map(|chapter| chapter.keys).collect();
    let mut definitions = Map::new();
    for key in keys::all() {
        definitions.insert(key.path.to_owned(), documented(&docs, key.path, key.kind.schema()));
    }
    for (path, kind, about) in parameters() {
        definitions.insert(path, described(about, kind.schema()));
    }
    for group in GROUPS {
        let mut alternatives = vec![object(children(group.path).map(|(name, path)| (name, reference_to(path))))];
        alternatives.extend(group.scalar.map(reference_to_name));
        if group.scalar != Some(group.path) {
            alternatives.push(json!({"type": "null"}));
        }
        definitions.insert(group_name(group.path), json!({"anyOf": alternatives}));
    }
    for rule in RULE_KEYS {
        let mut alternatives = vec![documented(&docs, rule.path, rule.kind.schema())];
        if matches!(rule.kind, Kind::Switch { .. }) {
            let inner = RULE_KEYS.iter().filter_map(|key| {
                let name = key.path.strip_prefix(rule.path)?.strip_prefix('.')?;
                Some((name.to_owned(), documented(&docs, key.path, key.kind.schema())))
            });
            alternatives.push(object(inner));
        }
        definitions.insert(rule.path.to_owned(), any_of(alternatives));
    }
    for key in run_keys() {
        let path = format!("run.{}", key.name);
        definitions.insert(path.clone(), documented(&docs, &path, (key.schema)()));
    }
    let mut properties: Map<String, Value> = trial_properties().collect();
    properties.insert("stop".into(), json!({"anyOf": [stop_section(), {"type": "null"}]}));
    properties.extend(RULE_KEYS.iter().map(|rule| (rule.path.to_owned(), reference_to(rule.path))));
    for key in run_keys() {
        let path = format!("run.{}", key.name);
        properties.insert(path.clone(), reference_to(&path));
    }
    for key in SEARCH_KEYS {
        let path = format!("search.{}", key.name);
        definitions.insert(path.clone(), documented(&docs, &path, key.kind.schema()));
        properties.insert(path.clone(), reference_to(&path));
    }
    definitions.insert(DRAWN.to_owned(), drawn());
    for section in SECTIONS {
        properties.insert(section.name.to_owned(), described(section.doc.about, section_schema(section.name)));
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A sweep file of plateau",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "definitions": definitions,
    })
}

/// Every key, group, alias and parameter that describes a trial, with its schema.
fn trial_properties() -> impl Iterator<Item = (String, Value)> {
    let groups = GROUPS.iter().map(|group| group.path);
    let plain = keys::all().map(|key| key.path).filter(|path| keys::group(path).is_none());
    let direct = groups.chain(plain).map(|path| (path.to_owned(), reference_to(path)));
    let aliases = ALIASES.iter().map(|alias| {
        let schema = alias.kind.as_ref().map_or_else(|| reference_to(alias.path), Kind::schema);
        (alias.name.to_owned(), schema)
    });
    direct.chain(aliases).chain(parameters().map(|(path, ..)| (path.clone(), reference_to_name(&path))))
}

/// `scheduler.cycles` and the like, each once.
fn parameters() -> impl Iterator<Item = (String, &'static Kind, &'static str)> {
    let mut paths: Vec<String> = Vec::new();
    for key in [Role::Scheduler, Role::Augmentation].map(Role::path) {
        for parameter in keys::variants(key).unwrap_or_default().iter().flat_map(|variant| variant.parameters) {
            let path = format!("{key}.{}", parameter.name);
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    paths.into_iter().filter_map(|path| match keys::parameter(&path)? {
        (kind, Target::Parameter(parameter, _)) => Some((path, kind, parameter.doc.about)),
        (_, Target::Key(_)) => None,
    })
}

/// What may stand inside a group: the rest of the dotted path, and the whole one.
fn children(group: &'static str) -> impl Iterator<Item = (String, &'static str)> {
    let paths = keys::all().map(|key| key.path).chain(GROUPS.iter().map(|group| group.path));
    paths.filter_map(move |path| Some((path.strip_prefix(group)?.strip_prefix('.')?.to_owned(), path)))
}

/// The section `stop`: rules of a trial, and those that compare trials.
fn stop_section() -> Value {
    let own = children("stop").map(|(name, path)| (name, reference_to(path)));
    let across = RULE_KEYS
        .iter()
        .filter_map(|rule| Some((rule.path.strip_prefix("stop.")?.to_owned(), reference_to(rule.path))));
    object(own.chain(across))
}

fn section_schema(name: &str) -> Value {
    let axes = |named: (String, Value)| (named.0, json!({"type": "array", "items": named.1, "minItems": 1}));
    let optional = |schema: Value| json!({"anyOf": [schema, {"type": "null"}]});
    match name {
        "name" => json!({"type": ["string", "number"]}),
        "grid" | "zip" => optional(object(trial_properties().map(axes))),
        "include" | "exclude" => {
            let mut entry = object(trial_properties());
            entry["minProperties"] = 1.into();
            optional(json!({"type": "array", "items": entry}))
        }
        "arms" => {
            let varies = |(name, value): (String, Value)| {
                (name, json!({"anyOf": [value, {"type": "array", "items": value, "minItems": 1}]}))
            };
            let name = ("name".to_owned(), json!({"type": ["string", "number"]}));
            let mut arm = object(std::iter::once(name).chain(trial_properties().map(varies)));
            arm["required"] = json!(["name"]);
            json!({"type": "array", "items": arm, "minItems": 1})
        }
        "seeds" => json!({"type": "array", "items": reference_to(Role::Seed.path()), "minItems": 1}),
        "space" => optional(object(trial_properties().map(|(name, _)| (name, reference_to_name(DRAWN))))),
        "search" => optional(object(
            SEARCH_KEYS.iter().map(|key| (key.name.to_owned(), reference_to(&format!("search.{}", key.name)))),
        )),
        _ => {
            let reference = |name: &str, path: &str| (name.to_owned(), reference_to(&format!("run.{path}")));
            let (slurm, own): (Vec<_>, Vec<_>) =
                run_keys().map(|key| key.name).partition(|name| name.starts_with("slurm."));
            let slurm = slurm.into_iter().map(|path| reference(path.trim_start_matches("slurm."), path));
            let slurm = ("slurm".to_owned(), optional(object(slurm)));
            optional(object(own.into_iter().map(|name| reference(name, name)).chain([slurm])))
        }
    }
}

/// Name of the definition of [`drawn`].
const DRAWN: &str = "drawn";

/// What a search draws from: a list, a range, or a group of keys.
fn drawn() -> Value {
    let ends = json!({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2});
    let range = |word: &str, with_step: bool| {
        let step = with_step.then(|| ("step".to_owned(), json!({"type": "number", "exclusiveMinimum": 0})));
        let mut range = object([(word.to_owned(), ends.clone())].into_iter().chain(step));
        range["required"] = json!([word]);
        range
    };
    let list = json!({"type": "array", "minItems": 1});
    let weights = json!({"type": "array", "items": {"type": "number", "minimum": 0}, "minItems": 1});
    let mut choice = object([("choice".to_owned(), list.clone()), ("weights".to_owned(), weights)].into_iter());
    choice["required"] = json!(["choice"]);
    let ranges = [("log", false), ("log_int", false), ("uniform", true), ("int", true), ("normal", true)]
        .map(|(word, with_step)| range(word, with_step));
    any_of([vec![list, choice], ranges.to_vec(), vec![json!({"type": "object"})]].concat())
}

fn object(properties: impl Iterator<Item = (String, Value)>) -> Value {
    let properties: Map<String, Value> = properties.collect();
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

/// The definition at a path: that of the group where there is one, else that of the key.
fn reference_to(path: &str) -> Value {
    if keys::group(path).is_some() { reference_to_name(&group_name(path)) } else { reference_to_name(path) }
}

fn reference_to_name(name: &str) -> Value {
    json!({"$ref": format!("#/definitions/{name}")})
}

/// Some groups have the path of a key.
fn group_name(path: &str) -> String {
    format!("group.{path}")
}

fn any_of(mut alternatives: Vec<Value>) -> Value {
    match alternatives.len() {
        1 => alternatives.remove(0),
        _ => json!({"anyOf": alternatives}),
    }
}

fn described(about: &str, mut schema: Value) -> Value {
    if let Some(keywords) = schema.as_object_mut() {
        keywords.insert("description".into(), about.into());
    }
    schema
}

fn documented(docs: &[KeyDoc], path: &str, schema: Value) -> Value {
    let Some(doc) = docs.iter().find(|doc| doc.path == path && doc.owner.is_none()) else { return schema };
    let unit = if doc.unit.is_empty() { String::new() } else { format!(" Unit: {}.", doc.unit) };
    let default = doc.default.as_ref().map(|default| format!(" Default: {default}.")).unwrap_or_default();
    described(&format!("{}{unit}{default} Example: {}", doc.about, doc.example), schema)
}

impl Kind {
    fn schema(&self) -> Value {
        match self {
            Self::Number { range, .. } => numeric("number", range.schema()),
            Self::Whole { from, to, .. } => {
                let mut schema = json!({"type": "integer", "minimum": from});
                if *to < u64::MAX {
                    schema["maximum"] = (*to).into();
                }
                schema
            }
            Self::FractionOrSteps { range, .. } => {
                let mut fraction = range.schema();
                fraction.remove("maximum");
                fraction.insert("exclusiveMaximum".into(), 1.into());
                json!({"anyOf": [numeric("number", fraction), numeric("integer", range.schema())]})
            }
            Self::Steps { .. } => json!({"type": "integer", "minimum": 0}),
            Self::Pair { each, .. } => {
                json!({"type": "array", "items": numeric("number", each.schema()), "minItems": 2, "maxItems": 2})
            }
            Self::Wholes { from, to, .. } => json!({
                "type": "array", "items": {"type": "integer", "minimum": from, "maximum": to}, "minItems": 1,
            }),
            Self::Flag => json!({"type": "boolean"}),
            Self::Text { .. } => json!({"type": ["string", "number"], "minLength": 1}),
            Self::Choice(names) => json!({"enum": names}),
            Self::Choices(names) => {
                json!({"anyOf": [{"enum": names}, {"type": "array", "items": {"enum": names}, "minItems": 1}]})
            }
            Self::Optional(inner) => json!({"anyOf": [inner.schema(), {"type": "null"}]}),
            Self::Switch { .. } => json!({"enum": [null, "none", true, false]}),
            Self::Files | Self::Columns | Self::Names { .. } => {
                json!({"anyOf": [name(), {"type": "array", "items": name(), "minItems": 1}]})
            }
            Self::ClassWeights => json!({"anyOf": [
                {"enum": ["balanced"]},
                {"type": "object", "minProperties": 1, "additionalProperties": {"type": "number", "exclusiveMinimum": 0}},
            ]}),
            Self::FractionOrFile => json!({"anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                Self::Files.schema(),
                {"type": "object", "required": ["file"], "additionalProperties": false, "properties": {
                    "file": Self::Files.schema(), "text": Self::Columns.schema(), "text_pair": name(),
                    "choices": Self::Columns.schema(), "label": Self::Columns.schema(),
                }},
            ]}),
            Self::Named(variants) => any_of(named(variants)),
            Self::NamedList(variants) => {
                let mut one = named(variants);
                one.push(json!({"const": "none"}));
                one.push(json!({"type": "object", "properties": {"name": {"const": "none"}}, "required": ["name"],
                    "additionalProperties": false}));
                let list = json!({"type": "array", "items": any_of(one.clone())});
                one.push(list);
                any_of(one)
            }
        }
    }
}

/// The name of a file or a column.
fn name() -> Value {
    json!({"type": ["string", "number"], "minLength": 1})
}

fn numeric(kind: &str, mut keywords: Map<String, Value>) -> Value {
    keywords.insert("type".into(), kind.into());
    keywords.into()
}

/// A name alone, or a map with parameters.
fn named(variants: &[Variant]) -> Vec<Value> {
    let names: Vec<&str> = variants.iter().map(|variant| variant.name).collect();
    let mut alternatives = vec![json!({"enum": names})];
    alternatives.extend(variants.iter().map(|variant| {
        let parameter = |parameter: &Parameter| {
            let about = format!("{} Default: {}.", parameter.doc.about, parameter.default);
            (parameter.name.to_owned(), described(&about, parameter.kind.schema()))
        };
        let name = ("name".to_owned(), json!({"const": variant.name}));
        let mut schema = object(std::iter::once(name).chain(variant.parameters.iter().map(parameter)));
        schema["required"] = json!(["name"]);
        described(variant.about, schema)
    }));
    alternatives
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `plateau schema` as it is written to a file.
    fn text() -> String {
        format!("{:#}\n", schema())
    }

    #[test]
    fn every_reference_leads_to_a_definition() {
        let schema = schema();
        let text = schema.to_string();
        for (at, _) in text.match_indices("#/definitions/") {
            let name = text[at + "#/definitions/".len()..].split('"').next().unwrap();
            assert!(schema["definitions"].get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn every_key_may_stand_at_the_top_in_the_grid_and_in_entries() {
        let schema = schema();
        let names = |value: &Value| value["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let grid = names(&schema["properties"]["grid"]["anyOf"][0]);
        let entry = names(&schema["properties"]["include"]["anyOf"][0]["items"]);
        assert_eq!(grid, entry);
        let top = names(&schema);
        assert!(grid.iter().all(|name| top.contains(name)));
        for path in keys::all().map(|key| key.path).chain(ALIASES.iter().map(|alias| alias.name)) {
            assert!(grid.iter().any(|name| name == path), "{path}");
        }
    }

    #[test]
    fn the_file_is_that_of_the_tables() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sweep.schema.json");
        let file = std::fs::read_to_string(path).unwrap();
        assert!(
            file == text(),
            "docs/sweep.schema.json is older than the tables: run `cargo run -- schema > docs/sweep.schema.json`"
        );
    }

    #[test]
    fn sweep_files_name_the_schema() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/sweeps");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let first = text.lines().next().unwrap();
            assert_eq!(first, "# yaml-language-server: $schema=../docs/sweep.schema.json", "{}", path.display());
        }
    }
}
