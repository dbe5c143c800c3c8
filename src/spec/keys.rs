//! The table of keys: everything that a sweep file can say about a trial. A new key or augmentation is a row here
//! (a schedule one in `schedulers.rs`) and a field or variant in [`crate::trial`].

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::kind::{Kind, MOST_EPOCHS, MOST_STEPS, Parameter, Variant};
use super::schedulers;
use crate::trial::{Length, Patience, Plateau, TrialConfig};

/// Puts a canonical value of a key into a configuration. Fails only if the table and the types disagree.
type Put = fn(&mut TrialConfig, &Value) -> Result<(), String>;

/// One key of a trial.
#[derive(Debug)]
pub(super) struct Key {
    /// Dotted; also where the value stands in the JSON of a configuration.
    pub path: &'static str,
    pub kind: Kind,
    pub put: Put,
}

/// Another name of a key.
#[derive(Debug)]
pub(super) struct Alias {
    pub name: &'static str,
    pub path: &'static str,
    /// Narrower than the key's own, where the other name says more.
    pub kind: Option<Kind>,
}

/// A map of keys; a lone scalar in its place is the value of `scalar`.
#[derive(Debug)]
pub(super) struct Group {
    pub path: &'static str,
    pub scalar: Option<&'static str>,
}

pub(super) static GROUPS: &[Group] = &[
    Group { path: "data", scalar: Some("data.train") },
    Group { path: "model", scalar: Some("model.from") },
    Group { path: "optimizer", scalar: Some("optimizer.name") },
    Group { path: "stop", scalar: None },
    Group { path: "stop.patience", scalar: Some("stop.patience") },
    Group { path: "stop.plateau", scalar: Some("stop.plateau") },
];

/// From `transformers.TrainingArguments`; `head_lr` stands as well beside `lr`.
pub(super) static ALIASES: &[Alias] = &[
    Alias { name: "learning_rate", path: "lr", kind: None },
    Alias {
        name: "warmup_ratio",
        path: "warmup",
        kind: Some(Kind::Number { fits: |x| (0.0..1.0).contains(&x), expected: "a fraction from 0 to below 1" }),
    },
    Alias { name: "warmup_steps", path: "warmup", kind: Some(WHOLE_AS_NUMBER) },
    Alias { name: "lr_scheduler_type", path: "scheduler", kind: None },
    Alias { name: "head_lr", path: "optimizer.head_lr", kind: None },
    Alias { name: "num_train_epochs", path: "epochs", kind: None },
    Alias { name: "max_steps", path: "steps", kind: None },
    Alias { name: "per_device_train_batch_size", path: "batch_size", kind: None },
    Alias { name: "label_smoothing_factor", path: "label_smoothing", kind: None },
    Alias { name: "gradient_accumulation_steps", path: "grad_accumulation", kind: None },
];

/// Arguments of other programs that are not needed here, and why.
const NEEDLESS: &[(&str, &str)] = &[
    ("fp16", "training is in f32: leave it out"),
    ("bf16", "training is in f32: leave it out"),
    ("logging_steps", "every step is logged: leave it out"),
    ("logging_strategy", "every step is logged: leave it out"),
    ("per_device_eval_batch_size", "it changes no number: leave it out"),
    ("dataloader_num_workers", "texts are read once: leave it out"),
    ("tf32", "training is in f32: leave it out"),
    ("logging_dir", "`run.log_to` says where curves go beside the results folder"),
    ("eval_strategy", "`eval_every` says how often: a fraction of an epoch, or steps"),
    ("evaluation_strategy", "`eval_every` says how often: a fraction of an epoch, or steps"),
    ("save_steps", "leave it out; `run.checkpoint_every` says how often a state to go on from is saved"),
    ("save_strategy", "leave it out; `run.checkpoint_every` says how often a state to go on from is saved"),
    ("save_total_limit", "leave it out: no more is kept than `run.keep` says"),
    ("metric_for_best_model", "leave it out: the best evaluation is that of the lowest loss"),
    ("run_name", "`name` is the sweep's"),
    ("load_best_model_at_end", "`run.keep: best` keeps the weights of the lowest evaluation loss"),
    ("output_dir", "`--results DIR` on the command line says where results go"),
];

/// Why an argument of another program is not needed.
pub(super) fn needless(name: &str) -> Option<&'static str> {
    let plain = name.to_lowercase();
    NEEDLESS.iter().find(|(other, _)| *other == plain).map(|(_, why)| *why)
}

/// Names that other programs have for keys, none of which is near enough to be guessed.
pub(super) const MISNOMERS: &[(&str, &str)] = &[
    ("num_epochs", "epochs"),
    ("n_epochs", "epochs"),
    ("train_epochs", "epochs"),
    ("num_steps", "steps"),
    ("total_steps", "steps"),
    ("lr_schedule", "scheduler"),
    ("lr_scheduler", "scheduler"),
    ("learning_rate_schedule", "scheduler"),
    ("bs", "batch_size"),
    ("train_batch_size", "batch_size"),
    ("accumulation_steps", "grad_accumulation"),
    ("gradient_clipping", "max_grad_norm"),
    ("grad_clip", "max_grad_norm"),
    ("clip_grad_norm", "max_grad_norm"),
    ("wd", "weight_decay"),
    ("report_to", "run.log_to"),
    ("eval_steps", "eval_every"),
    ("eval_interval", "eval_every"),
    ("early_stopping", "stop.patience"),
    ("early_stopping_patience", "stop.patience"),
    ("augmentations", "augmentation"),
    ("optim", "optimizer"),
    ("llrd", "optimizer.layer_decay"),
    ("model_name", "model.from"),
    ("model_name_or_path", "model.from"),
    ("checkpoint", "model.from"),
    ("hidden_dropout_prob", "model.dropout"),
    ("dataset", "data.train"),
    ("train_file", "data.train"),
    ("validation_file", "data.eval"),
    ("valid", "data.eval"),
    ("validation", "data.eval"),
    ("text_column", "data.text"),
    ("label_column", "data.label"),
    ("max_len", "data.max_length"),
    ("max_seq_length", "data.max_length"),
    ("axes", "grid"),
    ("parameters", "grid"),
    ("gpus", "run.devices"),
    ("device", "run.devices"),
    ("workers", "run.jobs"),
    ("num_workers", "run.jobs"),
];

const LEARNING_RATE: Kind = Kind::Number { fits: |x| x > 0.0, expected: "a number above 0, such as 3e-5" };
const POSITIVE: Kind = Kind::Number { fits: |x| x > 0.0, expected: "a number above 0" };
const NOT_NEGATIVE: Kind = Kind::Number { fits: |x| x >= 0.0, expected: "0 or a number above" };
const COUNT: Kind = Kind::Whole { fits: |n| n >= 1, expected: "a whole number from 1" };
const STEPS: Kind = Kind::Whole { fits: |n| n >= 1 && n <= MOST_STEPS.into(), expected: "a whole number from 1" };
const EVALS: Kind = Kind::Whole { fits: |n| (1..=1_000_000).contains(&n), expected: "a whole number from 1" };
const STEPS_OR_NONE: Kind = Kind::Whole { fits: |n| n <= MOST_STEPS.into(), expected: "a whole number from 0" };
const EPOCHS: Kind = Kind::Number { fits: |x| x > 0.0 && x <= MOST_EPOCHS.into(), expected: "a number above 0" };
const LAYERS: Kind = Kind::Whole { fits: |n| n < 100_000, expected: "a number of layers, 0 for none" };
const SEED: Kind = Kind::Whole { fits: |_| true, expected: "a whole number from 0" };
const RATE: Kind = Kind::Number { fits: |x| (0.0..=1.0).contains(&x), expected: "a share from 0 to 1" };
const WHOLE_AS_NUMBER: Kind = Kind::Number {
    fits: |x| x.fract() == 0.0 && (0.0..=MOST_STEPS.into()).contains(&x),
    expected: "a whole number of steps, 0 for none",
};
const COLUMN: Kind = Kind::Text { expected: "the name of a column" };
const DROPOUT: Kind = Kind::Number { fits: |x| (0.0..1.0).contains(&x), expected: "a probability from 0 to below 1" };

/// Below 1 a fraction, from 1 whole steps.
pub(super) fn fraction_or_steps(x: f64) -> bool {
    (0.0..=MOST_STEPS.into()).contains(&x) && (x < 1.0 || x.fract() == 0.0)
}

pub(super) static KEYS: &[Key] = &[
    Key {
        path: "data.train",
        kind: Kind::Text { expected: "a file (.tsv, .csv, .jsonl) or embedded:tweets" },
        put: |c, v| put(&mut c.data.train, v),
    },
    Key { path: "data.eval", kind: Kind::FractionOrFile, put: |c, v| put(&mut c.data.eval, v) },
    Key { path: "data.text", kind: COLUMN, put: |c, v| put(&mut c.data.text, v) },
    Key { path: "data.text_pair", kind: Kind::Optional(&COLUMN), put: |c, v| put(&mut c.data.text_pair, v) },
    Key { path: "data.label", kind: COLUMN, put: |c, v| put(&mut c.data.label, v) },
    Key {
        path: "data.max_length",
        kind: Kind::Whole { fits: |n| n >= 3, expected: "tokens, at least 3 ([CLS], one of the text, [SEP])" },
        put: |c, v| put(&mut c.data.max_length, v),
    },
    Key { path: "data.limit", kind: Kind::Optional(&COUNT), put: |c, v| put(&mut c.data.limit, v) },
    Key { path: "data.shuffle", kind: Kind::Flag, put: |c, v| put(&mut c.data.shuffle, v) },
    Key { path: "data.seed", kind: SEED, put: |c, v| put(&mut c.data.seed, v) },
    Key {
        path: "model.from",
        kind: Kind::Text { expected: "a checkpoint folder, hf:org/name or embedded:minilm-l3" },
        put: |c, v| put(&mut c.model.from, v),
    },
    Key {
        path: "model.pooling",
        kind: Kind::Optional(&Kind::Choice(&["cls", "mean", "pooler"])),
        put: |c, v| put(&mut c.model.pooling, v),
    },
    Key { path: "model.dropout", kind: Kind::Optional(&DROPOUT), put: |c, v| put(&mut c.model.dropout, v) },
    Key { path: "model.freeze", kind: LAYERS, put: |c, v| put(&mut c.model.freeze, v) },
    Key { path: "model.reinit", kind: LAYERS, put: |c, v| put(&mut c.model.reinit, v) },
    Key { path: "optimizer.name", kind: Kind::Choice(&["adamw"]), put: |c, v| put(&mut c.optimizer.name, v) },
    Key {
        path: "optimizer.betas",
        kind: Kind::Pair {
            fits: |x| (0.0..1.0).contains(&x),
            expected: "two numbers from 0 to below 1, such as [0.9, 0.999]",
        },
        put: |c, v| put(&mut c.optimizer.betas, v),
    },
    Key { path: "optimizer.eps", kind: POSITIVE, put: |c, v| put(&mut c.optimizer.eps, v) },
    Key { path: "optimizer.bias_correction", kind: Kind::Flag, put: |c, v| put(&mut c.optimizer.bias_correction, v) },
    Key {
        path: "optimizer.layer_decay",
        kind: Kind::Number { fits: |x| x > 0.0 && x <= 1.0, expected: "a factor above 0, at most 1" },
        put: |c, v| put(&mut c.optimizer.layer_decay, v),
    },
    Key {
        path: "optimizer.head_lr",
        kind: Kind::Optional(&LEARNING_RATE),
        put: |c, v| put(&mut c.optimizer.head_lr, v),
    },
    Key { path: "lr", kind: LEARNING_RATE, put: |c, v| put(&mut c.lr, v) },
    Key {
        path: "warmup",
        kind: Kind::Number {
            fits: fraction_or_steps,
            expected: "a fraction of all steps (from 0 to below 1) or whole steps (from 1)",
        },
        put: |c, v| put(&mut c.warmup, v),
    },
    Key { path: "scheduler", kind: Kind::Named(schedulers::SCHEDULERS), put: |c, v| put(&mut c.scheduler, v) },
    Key { path: "augmentation", kind: Kind::NamedList(AUGMENTATIONS), put: |c, v| put(&mut c.augmentation, v) },
    Key { path: "weight_decay", kind: NOT_NEGATIVE, put: |c, v| put(&mut c.weight_decay, v) },
    Key {
        path: "max_grad_norm",
        kind: Kind::Number { fits: |x| x >= 0.0, expected: "a number above 0, or 0 for no clipping" },
        put: |c, v| put(&mut c.max_grad_norm, v),
    },
    Key {
        path: "label_smoothing",
        kind: Kind::Number { fits: |x| (0.0..1.0).contains(&x), expected: "a number from 0 to below 1" },
        put: |c, v| put(&mut c.label_smoothing, v),
    },
    Key { path: "batch_size", kind: COUNT, put: |c, v| put(&mut c.batch_size, v) },
    Key { path: "grad_accumulation", kind: COUNT, put: |c, v| put(&mut c.grad_accumulation, v) },
    Key { path: "epochs", kind: EPOCHS, put: |c, v| with(v, |epochs| c.length = Length::Epochs(epochs)) },
    Key { path: "steps", kind: STEPS, put: |c, v| with(v, |steps| c.length = Length::Steps(steps)) },
    Key {
        path: "eval_every",
        kind: Kind::Number {
            fits: |x| x > 0.0 && fraction_or_steps(x),
            expected: "a fraction of an epoch (below 1) or whole steps (from 1)",
        },
        put: |c, v| put(&mut c.eval_every, v),
    },
    Key { path: "seed", kind: SEED, put: |c, v| put(&mut c.seed, v) },
    Key { path: "stop.diverged", kind: Kind::Flag, put: |c, v| put(&mut c.stop.diverged, v) },
    Key {
        path: "stop.patience",
        kind: Kind::Switch { expected: "none, or a map such as {metric: eval_loss, evals: 5}" },
        put: |c, v| switch(&mut c.stop.patience, v),
    },
    Key {
        path: "stop.patience.metric",
        kind: Kind::Choice(&["eval_loss", "accuracy", "macro_f1"]),
        put: |c, v| put(&mut patience(c).metric, v),
    },
    Key { path: "stop.patience.evals", kind: EVALS, put: |c, v| put(&mut patience(c).evals, v) },
    Key { path: "stop.patience.min_delta", kind: NOT_NEGATIVE, put: |c, v| put(&mut patience(c).min_delta, v) },
    Key {
        path: "stop.plateau",
        kind: Kind::Switch { expected: "none, true, or a map such as {evals: 3}" },
        put: |c, v| switch(&mut c.stop.plateau, v),
    },
    Key { path: "stop.plateau.evals", kind: EVALS, put: |c, v| put(&mut plateau(c).evals, v) },
    Key { path: "stop.plateau.min_steps", kind: STEPS_OR_NONE, put: |c, v| put(&mut plateau(c).min_steps, v) },
];

const WORD_RATE: Parameter = Parameter { name: "rate", kind: RATE, default: "0.1" };
const EDA_ALPHA: Parameter = Parameter { name: "alpha", kind: RATE, default: "0.1" };
const WORDNET: Parameter = Parameter {
    name: "wordnet",
    kind: Kind::Optional(&Kind::Text { expected: "a WordNet dictionary folder (index.noun, data.noun, ...)" }),
    default: "null",
};

const TRANSLATOR: Kind = Kind::Optional(&Kind::Text {
    expected: "a command that reads lines and writes lines, such as apertium -u eng-spa, or a Marian checkpoint",
});

/// `null` stands for what is at hand: the embedded lexicon, the trial's own checkpoint.
pub(super) static AUGMENTATIONS: &[Variant] = &[
    Variant {
        name: "synonym",
        parameters: &[
            WORD_RATE,
            Parameter { name: "choose", kind: Kind::Choice(&["random", "first", "context"]), default: "random" },
            Parameter { name: "pos", kind: Kind::Flag, default: "true" },
            WORDNET,
        ],
    },
    Variant { name: "random_insertion", parameters: &[WORD_RATE, WORDNET] },
    Variant { name: "random_swap", parameters: &[WORD_RATE] },
    Variant { name: "random_deletion", parameters: &[WORD_RATE] },
    Variant { name: "eda", parameters: &[EDA_ALPHA, WORDNET] },
    Variant {
        name: "eda_exact",
        parameters: &[EDA_ALPHA, Parameter { name: "copies", kind: COUNT, default: "9" }, WORDNET],
    },
    Variant { name: "aeda", parameters: &[Parameter { name: "share", kind: RATE, default: "0.3" }] },
    Variant { name: "token_cutoff", parameters: &[WORD_RATE] },
    Variant { name: "mixup", parameters: &[Parameter { name: "alpha", kind: POSITIVE, default: "0.2" }] },
    Variant {
        name: "contextual",
        parameters: &[
            WORD_RATE,
            Parameter { name: "top_k", kind: COUNT, default: "20" },
            Parameter {
                name: "model",
                kind: Kind::Optional(&Kind::Text { expected: "a BERT checkpoint with an MLM head" }),
                default: "null",
            },
        ],
    },
    Variant {
        name: "back_translation",
        parameters: &[
            Parameter { name: "engine", kind: Kind::Choice(&["command", "marian"]), default: "command" },
            Parameter { name: "out", kind: TRANSLATOR, default: "null" },
            Parameter { name: "home", kind: TRANSLATOR, default: "null" },
            Parameter {
                name: "timeout",
                kind: Kind::Number { fits: |x| x > 0.0 && x <= 1e6, expected: "seconds, above 0" },
                default: "600",
            },
            Parameter {
                name: "beams",
                kind: Kind::Whole { fits: |n| (1..=32).contains(&n), expected: "a whole number of 1 to 32" },
                default: "4",
            },
            Parameter {
                name: "samples",
                kind: Kind::Whole { fits: |n| n <= 100, expected: "a whole number of 0 to 100" },
                default: "0",
            },
        ],
    },
];

fn patience(config: &mut TrialConfig) -> &mut Patience {
    config.stop.patience.get_or_insert_default()
}

fn plateau(config: &mut TrialConfig) -> &mut Plateau {
    config.stop.plateau.get_or_insert_default()
}

/// On with its defaults, or off.
fn switch<T: Default>(slot: &mut Option<T>, value: &Value) -> Result<(), String> {
    *slot = match value {
        Value::Null => None,
        Value::Bool(true) => Some(T::default()),
        other => return Err(format!("{other} switches nothing")),
    };
    Ok(())
}

fn put<T: DeserializeOwned>(slot: &mut T, value: &Value) -> Result<(), String> {
    with(value, |read| *slot = read)
}

fn with<T: DeserializeOwned>(value: &Value, then: impl FnOnce(T)) -> Result<(), String> {
    T::deserialize(value).map(then).map_err(|error| error.to_string())
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
pub(super) enum Target {
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

pub(super) fn key(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

pub(super) fn group(path: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.path == path)
}

pub(super) fn alias(name: &str) -> Option<&'static Alias> {
    ALIASES.iter().find(|alias| alias.name == name)
}

/// The key that other programs call `name`.
pub(super) fn misnomer(name: &str) -> Option<&'static str> {
    let plain = name.to_lowercase().replace('-', "_");
    MISNOMERS.iter().find(|(other, _)| *other == plain).map(|(_, path)| *path)
}

/// The schedules or augmentations, if `path` is theirs.
pub(super) fn variants(path: &str) -> Option<&'static [Variant]> {
    match key(path)?.kind {
        Kind::Named(variants) | Kind::NamedList(variants) => Some(variants),
        _ => None,
    }
}

/// `scheduler.cycles` and the like: a parameter that some schedule or augmentation has.
pub(super) fn parameter(path: &str) -> Option<(&'static Kind, Target)> {
    let (owner, name) = path.split_once('.')?;
    let put: PutParameter = match owner {
        "scheduler" => put_scheduler,
        "augmentation" => put_augmentation,
        _ => return None,
    };
    let mut all = variants(owner)?.iter().flat_map(|variant| variant.parameters);
    let parameter = all.find(|parameter| parameter.name == name)?;
    Some((&parameter.kind, Target::Parameter(parameter, put)))
}

/// The schedules or augmentations that have the parameter at `path`; none if it is no parameter.
pub(super) fn owners(path: &str) -> Vec<&'static str> {
    let Some((owner, name)) = path.split_once('.') else { return Vec::new() };
    let has = |variant: &&Variant| variant.parameters.iter().any(|parameter| parameter.name == name);
    variants(owner).unwrap_or_default().iter().filter(has).map(|variant| variant.name).collect()
}

/// Dotted names of all keys and groups, each once.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    let alone = |group: &&Group| group.scalar != Some(group.path);
    KEYS.iter().map(|key| key.path).chain(GROUPS.iter().filter(alone).map(|group| group.path))
}
