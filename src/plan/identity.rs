//! Ids of trials: a hash over everything that determines a trial's numbers, and nothing else.
//!
//! The hash covers what differs from the defaults. A new key with its default therefore leaves the ids of all earlier
//! trials as they are, and so does a new parameter of a schedule or an augmentation.

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::spec::in_short;
use crate::trial::{Augmentation, DataFacts, Key, Metric, ModelFacts, Patience, Plateau, TrialConfig, TrialId};

/// Version of the trainer's numbers. Raise it whenever the same configuration would give other numbers than before, and
/// whenever a default changes. Every trial then gets a new id, and no old result is taken for a new one.
const NUMERICS: u32 = 5;

/// The configuration whose keys an id leaves out.
static DEFAULT: LazyLock<Value> = LazyLock::new(|| {
    let mut default = json(&TrialConfig::default());
    for (key, value) in default.as_object_mut().into_iter().flatten() {
        *value = shortened(key, value);
    }
    default
});

/// What is left out of a group that is off by default, once it is on.
static GROUPS: LazyLock<[(&str, Value); 2]> = LazyLock::new(|| {
    // A resolved configuration names the metric.
    let patience = Patience { metric: Some(Metric::EvalLoss), ..Patience::default() };
    [("patience", json(&patience)), ("plateau", json(&Plateau::default()))]
});

/// Computes ids. Most of the time to plan a large sweep goes into ids, so what a configuration shares with the last one is kept.
#[derive(Debug)]
pub(super) struct Identities {
    /// The last configuration and its identity.
    last: Option<(TrialConfig, Identity)>,
    changes: Changes<'static>,
}

impl Identities {
    pub(super) fn new() -> Self {
        Self { last: None, changes: Changes::new(&DEFAULT) }
    }

    /// The id of a resolved configuration. `identity_of`: an augmentation with the hash of each of its sources in its place.
    /// `data` and `model` are those that the configuration names.
    pub(super) fn id(
        &mut self,
        config: &TrialConfig,
        identity_of: impl Fn(&Augmentation) -> Augmentation,
        data: &DataFacts,
        model: &ModelFacts,
    ) -> Option<TrialId> {
        if !self.moves_to(config) {
            self.last = None;
            let mut json = serde_json::to_value(config).ok()?;
            let augmentation: Vec<Augmentation> = config.augmentation.iter().map(identity_of).collect();
            json[Key::Augmentation.path()] = serde_json::to_value(augmentation).ok()?;
            let Value::Object(entries) = with_hashes(json, data, model) else { return None };
            self.changes.update(entries);
            self.last = Some((config.clone(), Identity::new(&self.changes.changed)));
        }
        let (_, identity) = self.last.as_ref()?;
        let is_default = Some(config.seed) == DEFAULT[Key::Seed.path()].as_u64();
        identity.id((!is_default).then_some(config.seed))
    }

    /// Moves to `config` if it differs from the last configuration in its seed and in the numbers that most sweeps vary, and in
    /// nothing else. After false, what is kept of the last configuration is of no use.
    fn moves_to(&mut self, config: &TrialConfig) -> bool {
        let Some((last, identity)) = &mut self.last else { return false };
        let numbers = [
            (Key::LearningRate, std::mem::replace(&mut last.lr, config.lr), config.lr),
            (Key::WeightDecay, std::mem::replace(&mut last.weight_decay, config.weight_decay), config.weight_decay),
        ];
        last.seed = config.seed;
        if last != config {
            return false;
        }
        let new = numbers.into_iter().filter(|(_, before, now)| before.to_bits() != now.to_bits());
        let count = new.map(|(key, _, now)| self.changes.change(key.path(), now.into())).count();
        if count > 0 {
            *identity = Identity::new(&self.changes.changed);
        }
        true
    }
}

/// What an id is a hash of. Sources are replaced by the hashes of their content, and parts that are at their default are left out. Keys are
/// sorted, because a JSON map is.
#[derive(Debug)]
struct Changes<'d> {
    default: &'d Value,
    /// The entries of the last configuration.
    entries: Map<String, Value>,
    /// The parts of these entries that differ from the default. A key that only the default has is null.
    changed: Map<String, Value>,
}

impl<'d> Changes<'d> {
    /// Of a configuration without entries.
    fn new(default: &'d Value) -> Self {
        let mut changes = Self { default, entries: Map::new(), changed: Map::new() };
        for key in default.as_object().into_iter().flat_map(Map::keys) {
            changes.set(key, &Value::Null);
        }
        changes
    }

    /// Moves to another configuration. Its entries are mostly those of the last one.
    fn update(&mut self, entries: Map<String, Value>) {
        let last = std::mem::replace(&mut self.entries, Map::new());
        for (key, value) in &entries {
            if last.get(key) != Some(value) {
                self.set(key, value);
            }
        }
        for key in last.keys().filter(|key| !entries.contains_key(*key)) {
            self.set(key, &Value::Null);
        }
        self.entries = entries;
    }

    /// Moves to a configuration that differs in one entry.
    fn change(&mut self, key: &str, value: Value) {
        self.set(key, &value);
        self.entries.insert(key.to_owned(), value);
    }

    /// `value`: Null for an entry that the configuration does not have.
    fn set(&mut self, key: &str, value: &Value) {
        let (value, default) = (shortened(key, value), self.default.get(key).unwrap_or(&Value::Null));
        if value == *default {
            self.changed.remove(key);
            return;
        }
        let mut changed = difference(&value, default);
        if key == "stop" {
            for (group, default) in GROUPS.iter() {
                if let Some(value @ Value::Object(_)) = changed.get_mut(*group) {
                    *value = difference(value, default);
                }
            }
        }
        self.changed.insert(key.to_owned(), changed);
    }
}

/// The JSON text that an id is a hash of, without its seed.
#[derive(Debug)]
struct Identity {
    /// Has read the text up to the place of the seed.
    before: blake3::Hasher,
    /// Whether an entry stands before that place.
    is_first: bool,
    /// The text after it.
    after: Vec<u8>,
}

impl Identity {
    /// The seed in `entries` does not matter.
    fn new(entries: &Map<String, Value>) -> Self {
        let entries = entries.clone().into_iter().filter(|(key, _)| *key != Key::Seed.path());
        let (before, after): (Map<_, _>, Map<_, _>) = entries.partition(|(key, _)| key.as_str() < Key::Seed.path());
        let is_first = before.is_empty();
        let [mut text, mut after] = [before, after].map(|entries| serde_json::to_vec(&entries).unwrap_or_default());
        // The texts of the two maps, without the braces between them.
        text.pop();
        after.drain(..1.min(after.len()));
        let mut before = blake3::Hasher::new();
        before.update(&NUMERICS.to_le_bytes()).update(&text);
        Self { before, is_first, after }
    }

    /// The first digits of a blake3 hash. `seed`: None if it is the default.
    fn id(&self, seed: Option<u64>) -> Option<TrialId> {
        let is_last = self.after == b"}";
        let seed = seed.map(|seed| format!("\"{}\":{seed}", Key::Seed.path()));
        let mut text = Vec::with_capacity(64);
        if !self.is_first && (seed.is_some() || !is_last) {
            text.push(b',');
        }
        if let Some(seed) = seed {
            text.extend(seed.as_bytes());
            if !is_last {
                text.push(b',');
            }
        }
        let mut hash = self.before.clone();
        hash.update(&text).update(&self.after);
        TrialId::parse(&hash.finalize().to_hex()[..TrialId::LENGTH])
    }
}

/// The configuration with the hashes of its sources in their places.
fn with_hashes(mut config: Value, data: &DataFacts, model: &ModelFacts) -> Value {
    if let Some(section) = config.get_mut("data") {
        replace(section, "train", &data.hash);
        // The hash of the data covers both files.
        match section.get_mut("eval") {
            Some(eval @ Value::String(_)) => *eval = "file".into(),
            Some(eval) => replace(eval, "file", "file"),
            None => {}
        }
        // A test file decides nothing about a trial. A fraction does: its rows are not trained on.
        if let Some(test) = section.get_mut("test").filter(|test| !test.is_number()) {
            *test = Value::Null;
        }
    }
    if let Some(section) = config.get_mut("model") {
        replace(section, "from", &model.hash);
    }
    config
}

/// An entry of a configuration without the parameters of schedules, augmentations and networks that are at their defaults.
fn shortened(key: &str, value: &Value) -> Value {
    if [Key::Scheduler, Key::Augmentation].iter().any(|structured| structured.is(key)) {
        return in_short(key, value);
    }
    let mut value = value.clone();
    if key == "model" {
        for key in ["architecture", "extra"] {
            if let Some(network) = value.get_mut(key) {
                *network = in_short(&format!("model.{key}"), network);
            }
        }
    }
    value
}

/// The parts of `value` that differ from `default`. A key that only the default has is null.
fn difference(value: &Value, default: &Value) -> Value {
    let (Value::Object(entries), Value::Object(defaults)) = (value, default) else { return value.clone() };
    let mut changed = Map::new();
    for (key, default) in defaults {
        let value = entries.get(key).unwrap_or(&Value::Null);
        if value != default {
            changed.insert(key.clone(), difference(value, default));
        }
    }
    let is_new = |(key, value): &(&String, &Value)| !value.is_null() && !defaults.contains_key(*key);
    changed.extend(entries.iter().filter(is_new).map(|(key, value)| (key.clone(), value.clone())));
    changed.into()
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn replace(section: &mut Value, key: &str, content: &str) {
    if let Some(value) = section.get_mut(key) {
        *value = content.into();
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::tests::{data_facts, model_facts, plan};
    use super::*;

    const SWEEPS: [&str; 4] = [
        "",
        "steps: 10\nscheduler: {name: cosine, cycles: 2}\naugmentation: [synonym, {name: mixup, alpha: 0.4}]",
        "stop: {patience: {evals: 3}, plateau: true}\nmodel: {freeze: 1}\noptimizer: {head_lr: 1e-3}",
        "data: {limit: 100, eval: rows.tsv}\ngrid: {lr: [1e-5, 1e-4], scheduler: [linear, one_cycle]}\nseeds: [1, 2]",
    ];

    fn configs() -> Vec<Value> {
        SWEEPS.iter().flat_map(|text| plan(text).trials).map(|trial| json(&trial.config)).collect()
    }

    fn of(config: &Value, default: &Value) -> Value {
        let mut changes = Changes::new(default);
        changes.update(with_hashes(config.clone(), &data_facts(), &model_facts()).as_object().unwrap().clone());
        changes.changed.into()
    }

    #[test]
    fn an_id_covers_what_differs_from_the_defaults() {
        let texts: Vec<String> = configs().iter().map(|config| of(config, &DEFAULT).to_string()).collect();
        assert_snapshot!(texts.join("\n"), @r#"
        {"data":{"train":"data"},"model":{"dropout":0.1,"from":"model","pooling":"mean"}}
        {"augmentation":["synonym",{"alpha":0.4,"name":"mixup"}],"data":{"train":"data"},"epochs":null,"model":{"dropout":0.1,"from":"model","pooling":"mean"},"scheduler":{"cycles":2.0,"name":"cosine"},"steps":10}
        {"data":{"train":"data"},"model":{"dropout":0.1,"freeze":1,"from":"model","pooling":"mean"},"optimizer":{"head_lr":0.001},"stop":{"patience":{"evals":3},"plateau":{}}}
        {"data":{"eval":"file","limit":100,"train":"data"},"lr":0.00001,"model":{"dropout":0.1,"from":"model","pooling":"mean"},"seed":1}
        {"data":{"eval":"file","limit":100,"train":"data"},"lr":0.00001,"model":{"dropout":0.1,"from":"model","pooling":"mean"},"seed":2}
        {"data":{"eval":"file","limit":100,"train":"data"},"lr":0.00001,"model":{"dropout":0.1,"from":"model","pooling":"mean"},"scheduler":"one_cycle","seed":1,"warmup":0.0}
        {"data":{"eval":"file","limit":100,"train":"data"},"lr":0.00001,"model":{"dropout":0.1,"from":"model","pooling":"mean"},"scheduler":"one_cycle","seed":2,"warmup":0.0}
        {"data":{"eval":"file","limit":100,"train":"data"},"lr":0.0001,"model":{"dropout":0.1,"from":"model","pooling":"mean"},"seed":1}
        {"data":{"eval":"file","limit":100,"train":"data"},"lr":0.0001,"model":{"dropout":0.1,"from":"model","pooling":"mean"},"seed":2}
        {"data":{"eval":"file","limit":100,"train":"data"},"lr":0.0001,"model":{"dropout":0.1,"from":"model","pooling":"mean"},"scheduler":"one_cycle","seed":1,"warmup":0.0}
        {"data":{"eval":"file","limit":100,"train":"data"},"lr":0.0001,"model":{"dropout":0.1,"from":"model","pooling":"mean"},"scheduler":"one_cycle","seed":2,"warmup":0.0}
        "#);
    }

    fn hash(identity: &Value) -> TrialId {
        Identity::new(identity.as_object().unwrap()).id(identity[Key::Seed.path()].as_u64()).unwrap()
    }

    /// The same configuration as a later version would write it, with keys of its own at their defaults.
    #[test]
    fn a_new_key_with_its_default_leaves_ids_alone() {
        let groups = ["", "/data", "/model", "/optimizer", "/stop"];
        let with = |config: &Value, group: &str, value: Value| {
            let mut config = config.clone();
            config.pointer_mut(group).and_then(Value::as_object_mut).unwrap().insert("a_new_key".into(), value);
            config
        };
        for config in configs() {
            let today = hash(&of(&config, &DEFAULT));
            for group in groups {
                for default in [Value::Null, 0.5.into(), "none".into()] {
                    let defaults = with(&DEFAULT, group, default.clone());
                    let unchanged = hash(&of(&with(&config, group, default), &defaults));
                    let changed = hash(&of(&with(&config, group, 0.7.into()), &defaults));
                    assert_eq!(unchanged, today, "{group}");
                    assert_ne!(changed, today, "{group}");
                }
            }
        }
    }

    /// Ids leave these values out, so that a changed one would give old ids to new trials. Where this test fails for more
    /// than a new key: raise `NUMERICS`, then accept the snapshot.
    #[test]
    fn the_defaults_stay_while_the_numerics_version_does() {
        assert_eq!(NUMERICS, 5);
        assert_snapshot!(DEFAULT.to_string(), @r#"{"augmentation":"none","batch_size":32,"data":{"eval":0.2,"label":"label","limit":null,"max_length":128,"seed":42,"shuffle":true,"task":"classification","text":"text","text_pair":null,"train":"embedded:tweets","truncate":"head"},"epochs":3.0,"eval_every":0.25,"grad_accumulation":1,"label_smoothing":0.0,"loss":{"class_weights":null,"gamma":2.0,"name":"cross_entropy"},"lr":0.00003,"max_grad_norm":1.0,"metric":"eval_loss","model":{"adapters":null,"architecture":"none","dropout":null,"embeddings":{"from":null,"vectors":"pretrained"},"extra":"none","freeze":0,"from":"embedded:minilm-l3","lora":null,"pooling":null,"reinit":0},"optimizer":{"betas":[0.9,0.999],"bias_correction":true,"eps":1e-8,"layer_decay":1.0,"name":"adamw"},"precision":"f32","scheduler":"linear","seed":42,"stop":{"diverged":true,"patience":null},"warmup":0.1,"weight_decay":0.01}"#);
        let groups: Vec<String> = GROUPS.iter().map(|(_, group)| group.to_string()).collect();
        assert_snapshot!(groups.join("\n"), @r#"
        {"evals":5,"metric":"eval_loss","min_delta":0.0}
        {"evals":3,"min_steps":50}
        "#);
    }

    /// The text that is hashed is that of the whole map.
    #[test]
    fn a_seed_stands_in_its_place() {
        for text in ["{}", r#"{"a":1}"#, r#"{"warmup":{"b":[0.1]}}"#, r#"{"a":1,"lr":3e-5,"seeds":2,"warmup":null}"#] {
            let mut entries: Value = serde_json::from_str(text).unwrap();
            for seed in [None, Some(7), Some(u64::MAX)] {
                let id = Identity::new(entries.as_object().unwrap()).id(seed).unwrap();
                entries.as_object_mut().unwrap().remove("seed");
                if let Some(seed) = seed {
                    entries["seed"] = seed.into();
                }
                let whole = [&NUMERICS.to_le_bytes(), entries.to_string().as_bytes()].concat();
                assert_eq!(id.as_str(), &blake3::hash(&whole).to_hex()[..TrialId::LENGTH], "{entries}");
            }
        }
    }

    /// Patience without a metric of its own watches that of the trial.
    #[test]
    fn a_metric_counts_only_where_it_is_not_the_loss() {
        let id = |text: &str| plan(text).trials[0].id.clone();
        assert_eq!(id("metric: eval_loss"), id(""));
        assert_ne!(id("metric: macro_f1"), id(""));
        let patience = |metric: &str| id(&format!("{metric}\nstop: {{patience: {{evals: 3}}}}"));
        let named = |metric: &str, own: &str| id(&format!("{metric}\nstop: {{patience: {{evals: 3, metric: {own}}}}}"));
        assert_eq!(patience(""), named("", "eval_loss"));
        assert_eq!(patience("metric: mcc"), named("metric: mcc", "mcc"));
        assert_ne!(patience("metric: mcc"), named("metric: mcc", "eval_loss"));
    }

    #[test]
    fn a_test_file_leaves_ids_alone_and_a_fraction_does_not() {
        let id = |test: &str| plan(&format!("data: {{test: {test}}}")).trials[0].id.clone();
        let without = plan("").trials[0].id.clone();
        assert_eq!(id("null"), without);
        assert_eq!(id("test.csv"), without);
        assert_eq!(id("{file: test.csv, label: target}"), without);
        assert_ne!(id("0.1"), without);
        assert_ne!(id("0.1"), id("0.2"));
    }

    /// What was kept of the configuration before makes no difference.
    #[test]
    fn changes_depend_on_one_configuration() {
        let configs = configs();
        for (first, second) in configs.iter().flat_map(|first| configs.iter().map(move |second| (first, second))) {
            let mut changes = Changes::new(&DEFAULT);
            for config in [first, second] {
                let config = with_hashes(config.clone(), &data_facts(), &model_facts());
                changes.update(config.as_object().unwrap().clone());
            }
            assert_eq!(Value::Object(changes.changed), of(second, &DEFAULT), "{second} after {first}");
        }
    }

    #[test]
    fn an_id_depends_on_one_configuration() {
        let text = "grid: {lr: [1e-5, 3e-5], weight_decay: [0, 0.01], scheduler: [linear, cosine]}\nseeds: [42, 1]";
        let configs: Vec<TrialConfig> = plan(text).trials.into_iter().map(|trial| trial.config).collect();
        let id = |identities: &mut Identities, config: &TrialConfig| {
            identities.id(config, Augmentation::clone, &data_facts(), &model_facts()).unwrap()
        };
        for (first, second) in configs.iter().flat_map(|first| configs.iter().map(move |second| (first, second))) {
            let mut identities = Identities::new();
            id(&mut identities, first);
            assert_eq!(id(&mut identities, second), id(&mut Identities::new(), second), "{second:?} after {first:?}");
            assert_eq!(id(&mut identities, first), id(&mut Identities::new(), first), "{first:?} after {second:?}");
        }
    }

    #[test]
    fn a_difference_tells_everything_apart() {
        let check = |value: &str, default: &str, expected: &str| {
            let [value, default] = [value, default].map(|text| serde_json::from_str::<Value>(text).unwrap());
            assert_eq!(difference(&value, &default).to_string(), expected);
        };
        check("{\"b\": 1, \"a\": 2}", "{\"b\": 2, \"a\": 1}", "{\"a\":2,\"b\":1}");
        check("{\"steps\": 5}", "{\"epochs\": 3}", "{\"epochs\":null,\"steps\":5}");
        check("{\"a\": null, \"b\": {\"c\": 1}}", "{\"a\": 1, \"b\": {\"c\": 1}}", "{\"a\":null}");
        check("{\"a\": {}}", "{\"a\": null}", "{\"a\":{}}");
        check("{\"a\": [1, 2]}", "{\"a\": [1]}", "{\"a\":[1,2]}");
    }
}
