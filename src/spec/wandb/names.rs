//! The key of ours that a parameter of a W&B file means.

use super::super::keys;
use super::super::kind::Kind;
use super::super::names::{alias, misnomer, needless};
use super::super::problem::nearest;

/// What the name of a parameter means.
#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    /// The dotted path of a key.
    Key(String),
    /// It has no counterpart, for this reason.
    Needless(&'static str),
    Unknown,
}

/// Names in files of others that [`super::super::names`] does not know, because an error about them would name no single key.
const NAMES: &[(&str, &str)] = &[
    ("dropout", "model.dropout"),
    ("dropout_rate", "model.dropout"),
    ("dropout_prob", "model.dropout"),
    ("drop_prob", "model.dropout"),
    ("hidden_dropout", "model.dropout"),
    ("pooling", "model.pooling"),
    ("max_length", "data.max_length"),
    ("max_seq_len", "data.max_length"),
    ("seq_len", "data.max_length"),
    ("sequence_length", "data.max_length"),
    ("max_sequence_length", "data.max_length"),
    ("base_model", "model.from"),
    ("bert_model", "model.from"),
    ("pretrained_model", "model.from"),
    ("pretrained_model_name_or_path", "model.from"),
    ("epoch", "epochs"),
    ("max_epochs", "epochs"),
    ("batchsize", "batch_size"),
    ("per_gpu_train_batch_size", "batch_size"),
    ("warmup_proportion", "warmup"),
    ("num_warmup_steps", "warmup"),
    ("adam_epsilon", "optimizer.eps"),
    ("layer_decay", "optimizer.layer_decay"),
    ("random_seed", "seed"),
    ("random_state", "seed"),
    ("accumulate_grad_batches", "grad_accumulation"),
    ("gradient_accumulation", "grad_accumulation"),
    ("gradient_clip_val", "max_grad_norm"),
    ("lora_r", "model.lora.r"),
    ("lora_rank", "model.lora.r"),
    ("lora_alpha", "model.lora.alpha"),
];

/// The meaning of a name. Case, leading `-` and `_`, and groups before the name (`train.lr`) do not count. `renamed` holds
/// each `--key NAME=KEY`.
pub(super) fn meaning(written: &str, renamed: &[(String, String)]) -> Meaning {
    if let Some((_, key)) = renamed.iter().find(|(name, _)| name == written) {
        // `--key rate=dropout` is as good as `--key rate=model.dropout`.
        return Meaning::Key(known(key).unwrap_or_else(|| key.clone()));
    }
    let plain = plain(written);
    let tails = std::iter::successors(Some(plain.as_str()), |tail| tail.split_once('.').map(|(_, rest)| rest));
    for tail in tails {
        if let Some(path) = known(tail) {
            return Meaning::Key(path);
        }
        if let Some(why) = needless(tail) {
            return Meaning::Needless(why);
        }
    }
    Meaning::Unknown
}

/// A name without what does not count.
pub(super) fn plain(written: &str) -> String {
    written.trim_start_matches(['-', '_', '+']).to_lowercase().replace('-', "_").replace('/', ".")
}

fn known(name: &str) -> Option<String> {
    if let Some(group) = keys::group(name) {
        return group.scalar.filter(|scalar| *scalar != group.path).map(str::to_owned);
    }
    if name == "metric" {
        return None;
    }
    if keys::key(name).is_some() || keys::parameter(name).is_some() {
        return Some(name.to_owned());
    }
    let other = NAMES.iter().find(|(other, _)| *other == name).map(|(_, path)| *path);
    let path = alias(name).map(|alias| alias.path).or(other).or_else(|| misnomer(name))?;
    match keys::group(path) {
        Some(group) => group.scalar.filter(|scalar| *scalar != group.path).map(str::to_owned),
        None => keys::key(path).map(|key| key.path.to_owned()),
    }
}

/// The key whose name is nearest.
pub(super) fn near(written: &str) -> Option<&'static str> {
    let name = written.rsplit('.').next().unwrap_or(written);
    nearest(name.trim_start_matches(['-', '_']), keys::paths().filter(|path| *path != "metric"))
}

/// Organisations on the hub of models that W&B files name without them.
const ORGANISATIONS: &[(&str, &str)] = &[
    ("bert-", "google-bert"),
    ("distilbert-", "distilbert"),
    ("distilroberta-", "distilbert"),
    ("roberta-", "FacebookAI"),
    ("albert-", "albert"),
];

/// A name for a value of a key, as we spell it; None if it stays.
pub(super) fn value(path: &str, text: &str) -> Option<String> {
    if matches!(path, "model.from" | "model.embeddings.from") {
        let is_local = text.starts_with(['.', '/', '~']) || text.contains([':', '\\']) || text.ends_with('/');
        return match text.split('/').count() {
            _ if is_local => None,
            1 => ORGANISATIONS
                .iter()
                .find(|(start, _)| text.starts_with(start))
                .map(|(_, organisation)| format!("hf:{organisation}/{text}")),
            2 => Some(format!("hf:{text}")),
            _ => None,
        };
    }
    let names: Vec<&str> = match keys::kind(path)? {
        Kind::Choice(names) => names.to_vec(),
        Kind::Named(variants) | Kind::NamedList(variants) => variants.iter().map(|variant| variant.name).collect(),
        _ => return None,
    };
    let plain = text.to_lowercase().replace('-', "_");
    let plain = match plain.as_str() {
        // Every schedule has a warm-up here.
        "constant_with_warmup" => "constant",
        "reduce_lr_on_plateau" => "reduce_on_plateau",
        adamw if adamw.starts_with("adamw") => "adamw",
        plain => plain,
    };
    (names.contains(&plain) && plain != text).then(|| plain.to_owned())
}
