//! The table of all keys: its groups, and what a dotted path means.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::key::{Key, put};
use super::{data, model, stop, training};
use crate::spec::kind::{Kind, Parameter, Variant};
use crate::trial::{Key as Role, TrialConfig};

/// A map of keys. A lone scalar in its place is the value of the key `scalar`.
#[derive(Debug)]
pub(in crate::spec) struct Group {
    pub path: &'static str,
    pub scalar: Option<&'static str>,
}

pub(in crate::spec) static GROUPS: &[Group] = &[
    Group { path: "data", scalar: Some("data.train") },
    Group { path: "data.windows", scalar: Some("data.windows") },
    Group { path: "model", scalar: Some("model.from") },
    Group { path: "model.embeddings", scalar: Some("model.embeddings.from") },
    Group { path: "model.lora", scalar: Some("model.lora") },
    Group { path: "model.adapters", scalar: Some("model.adapters") },
    Group { path: "loss", scalar: Some("loss.name") },
    Group { path: "optimizer", scalar: Some("optimizer.name") },
    Group { path: "stop", scalar: None },
    Group { path: "stop.patience", scalar: Some("stop.patience") },
    Group { path: "stop.plateau", scalar: Some("stop.plateau") },
];

/// All keys, in the order of the reference.
pub(in crate::spec) fn all() -> impl Iterator<Item = &'static Key> {
    [data::KEYS, model::KEYS, training::KEYS, stop::KEYS].into_iter().flatten()
}

/// Sets one parameter of a thing with parameters, if it has it.
fn put_parameter<T: Serialize + DeserializeOwned>(slot: &mut T, name: &str, value: &Value) -> Result<(), String> {
    let mut json = serde_json::to_value(&*slot).map_err(|error| error.to_string())?;
    let owner = json.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    match json.get_mut(name) {
        Some(parameter) => *parameter = value.clone(),
        None => return Err(format!("`{owner}` has no parameter `{name}`")),
    }
    put(slot, &json)
}

/// Sets `scheduler.NAME`.
fn put_scheduler(config: &mut TrialConfig, name: &str, value: &Value) -> Result<(), String> {
    put_parameter(&mut config.scheduler, name, value)
}

/// Sets `augmentation.NAME`, which needs exactly one augmentation to be set.
fn put_augmentation(config: &mut TrialConfig, name: &str, value: &Value) -> Result<(), String> {
    match config.augmentation.as_mut_slice() {
        [one] => put_parameter(one, name, value),
        [] => Err(format!("`none` has no parameter `{name}`")),
        _ => Err(format!("`augmentation.{name}` is ambiguous: there are several augmentations")),
    }
}

type PutParameter = fn(&mut TrialConfig, &str, &Value) -> Result<(), String>;

/// What a dotted path means.
#[derive(Debug, Clone, Copy)]
pub(in crate::spec) enum Target {
    Key(&'static Key),
    /// A parameter inside `scheduler` or `augmentation`.
    Parameter(&'static Parameter, PutParameter),
}

impl Target {
    pub fn apply(self, config: &mut TrialConfig, value: &Value) -> Result<(), String> {
        match self {
            Self::Key(key) => (key.put)(config, value),
            Self::Parameter(parameter, put) => put(config, parameter.name, value),
        }
    }
}

pub(in crate::spec) fn key(path: &str) -> Option<&'static Key> {
    /// A large sweep file asks for one key 100,000 times.
    static BY_PATH: LazyLock<HashMap<&str, &Key>> = LazyLock::new(|| all().map(|key| (key.path, key)).collect());
    BY_PATH.get(path).copied()
}

pub(in crate::spec) fn group(path: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.path == path)
}

/// The schedules or augmentations, if `path` is theirs.
pub(in crate::spec) fn variants(path: &str) -> Option<&'static [Variant]> {
    match key(path)?.kind {
        Kind::Named(variants) | Kind::NamedList(variants) => Some(variants),
        _ => None,
    }
}

/// `scheduler.cycles` and the like: a parameter that some schedule or augmentation has.
pub(in crate::spec) fn parameter(path: &str) -> Option<(&'static Kind, Target)> {
    let (owner, name) = path.split_once('.')?;
    let put: PutParameter = match Role::of(owner) {
        Some(Role::Scheduler) => put_scheduler,
        Some(Role::Augmentation) => put_augmentation,
        _ => return None,
    };
    let mut all = variants(owner)?.iter().flat_map(|variant| variant.parameters);
    let parameter = all.find(|parameter| parameter.name == name)?;
    Some((&parameter.kind, Target::Parameter(parameter, put)))
}

/// What may stand at the path of a key or a parameter, beside `null`.
pub(in crate::spec) fn kind(path: &str) -> Option<&'static Kind> {
    let kind = key(path).map(|key| &key.kind).or_else(|| parameter(path).map(|(kind, _)| kind))?;
    if let Kind::Optional(inner) = kind { Some(inner) } else { Some(kind) }
}

/// The greatest number that the key or parameter at `path` can have, or the greatest fraction; None if there is none.
pub(crate) fn greatest(path: &str) -> Option<f64> {
    kind(path)?.greatest()
}

/// The schedules or augmentations that have the parameter at `path`; none if it is no parameter.
pub(in crate::spec) fn owners(path: &str) -> Vec<&'static str> {
    let Some((owner, name)) = path.split_once('.') else { return Vec::new() };
    let has = |variant: &&Variant| variant.parameters.iter().any(|parameter| parameter.name == name);
    variants(owner).unwrap_or_default().iter().filter(has).map(|variant| variant.name).collect()
}

/// Dotted names of all keys and groups, each once.
pub(in crate::spec) fn paths() -> impl Iterator<Item = &'static str> {
    let alone = |group: &&Group| group.scalar != Some(group.path);
    all().map(|key| key.path).chain(GROUPS.iter().filter(alone).map(|group| group.path))
}
