//! From a data section to labelled, split and tokenised examples.
//!
//! Guarantees: the same files, tokenizer and settings give the same [`Dataset`], whatever the threads and the cache.
//! Every fault of a user's file is a [`TrainError::Input`] that names file and line. Rules for files stand with `table`,
//! those for classes and the split with `split`. Texts are read up to [`CHARACTERS_PER_TOKEN`] characters for each
//! token of `max_length`, so that an absurdly long text costs nothing. Leaves augmented variants to [`Epochs`].

mod epochs;
mod hub;
mod probe;
pub mod source;
mod split;
mod table;
#[cfg(test)]
mod tests;
mod tokens;
mod vocabulary;

use std::collections::{BTreeMap, BTreeSet};

pub use epochs::Epochs;
pub use split::batches;
pub use tokens::{Encoder, Piece, Tokens};

use table::{Columns, Row};

use super::{Cache, KeyFault, TrainError};
use crate::trial::{DataConfig, DataFacts, EvalSource};

/// Of a text, this many characters for each token of `max_length` are read.
pub const CHARACTERS_PER_TOKEN: usize = 64;

/// Everything a trial learns from and is measured on.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Names in class order.
    pub labels: Vec<String>,
    /// Share of each class in `train`.
    pub class_prior: Vec<f64>,
    pub train: Split,
    pub eval: Split,
}

/// One side of the data, in file order; example i has tokens i.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Split {
    pub examples: Vec<Example>,
    pub tokens: Tokens,
}

impl Split {
    /// Share of each of `classes` classes.
    #[must_use]
    pub fn prior(&self, classes: usize) -> Vec<f64> {
        let count = |class: usize| self.examples.iter().filter(|example| example.label as usize == class).count();
        (0..classes).map(|class| count(class) as f64 / self.examples.len().max(1) as f64).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub text: String,
    /// Of a sentence pair.
    pub pair: Option<String>,
    /// Class number.
    pub label: u32,
}

/// Reads, checks, splits and tokenises. Sources are located ones; tokens come from `cache` where it has them.
pub fn load(config: &DataConfig, model: &str, cache: &dyn Cache) -> Result<Dataset, TrainError> {
    read(config, model, cache).map(|(dataset, _)| dataset)
}

/// Reads, splits and tokenises (or finds in `cache`) and says what a plan must know. Sources are located ones.
pub fn data_facts(data: &DataConfig, model: &str, cache: &dyn Cache) -> Result<DataFacts, TrainError> {
    let (dataset, hash) = read(data, model, cache)?;
    let train = &dataset.train;
    Ok(DataFacts {
        hash,
        train_rows: train.examples.len(),
        eval_rows: dataset.eval.examples.len(),
        mean_tokens: train.tokens.ids.len() as f64 / train.examples.len() as f64,
        labels: dataset.labels,
        class_prior: dataset.class_prior,
    })
}

/// Looks for mistakes in the files of a data section, as [`data_facts`] does, without a tokenizer.
pub fn check_data(data: &DataConfig) -> Result<(), TrainError> {
    tables(data, None).map(drop)
}

/// The texts of a located data file in its order, unsplit; of labels only that they are there is known.
pub fn texts(source: &str, config: &DataConfig) -> Result<Vec<Example>, TrainError> {
    let rows = table(source, config)?.rows.into_iter();
    Ok(rows.map(|row| Example { text: row.text, pair: row.pair, label: 0 }).collect())
}

/// A tokenizer set up as `config` wants it, of a located checkpoint.
pub fn encoder(config: &DataConfig, model: &str) -> Result<Encoder, TrainError> {
    Ok(tokenizer(config, model)?.encoder)
}

/// A file as read, its rows not yet split.
struct Table {
    rows: Vec<Row>,
    /// blake3 over format and unpacked content.
    hash: blake3::Hash,
}

/// The files of a data section.
struct Tables {
    train: Table,
    eval: Option<Table>,
    /// Names in class order.
    labels: Vec<String>,
}

struct Checkpoint {
    encoder: Encoder,
    /// blake3 of the tokenizer.
    hash: blake3::Hash,
    label2id: Option<BTreeMap<String, u32>>,
}

fn read(config: &DataConfig, model: &str, cache: &dyn Cache) -> Result<(Dataset, String), TrainError> {
    let checkpoint = tokenizer(config, model)?;
    let Tables { train, eval, labels } = tables(config, checkpoint.label2id.as_ref())?;
    let mut hash = blake3::Hasher::new();
    hash.update(train.hash.as_bytes());
    let mut whole = split_of(train, &labels, config, &checkpoint, cache)?;
    let eval = match (&config.eval, eval) {
        (_, Some(table)) => {
            hash.update(table.hash.as_bytes());
            split_of(table, &labels, config, &checkpoint, cache)?
        }
        (EvalSource::Fraction(fraction), None) => {
            let names: Vec<u32> = whole.examples.iter().map(|example| example.label).collect();
            let (train, eval) = split::hold_out(&names, *fraction, config.seed);
            let eval = select(&whole, &eval);
            whole = select(&whole, &train);
            eval
        }
        (EvalSource::File(_), None) => Split::default(),
    };
    if eval.examples.is_empty() {
        let message = format!(
            "{}: no label has two rows, so nothing can be held out for evaluation; is `{}` the column of the labels?",
            config.train, config.label
        );
        return Err(TrainError::key("data.label", message));
    }
    if let Some(limit) = config.limit.filter(|&limit| limit < whole.examples.len()) {
        whole = select(&whole, &(0..limit as u32).collect::<Vec<_>>());
    }
    let class_prior = prior(config, &whole, &labels)?;
    Ok((Dataset { labels, class_prior, train: whole, eval }, hash.finalize().to_hex().to_string()))
}

/// Reads train and eval, and says what is wrong with both.
fn tables(config: &DataConfig, label2id: Option<&BTreeMap<String, u32>>) -> Result<Tables, TrainError> {
    const TRAIN: &str = "data.train";
    const EVAL: &str = "data.eval";
    let train = table(&config.train, config);
    let eval = match &config.eval {
        EvalSource::File(source) => table(source, config).map(|table| Some((source, table))),
        EvalSource::Fraction(_) => Ok(None),
    };
    let (train, eval) = match (train, eval) {
        (Ok(train), Ok(eval)) => (train, eval),
        (Ok(_), Err(error)) => return Err(TrainError::key(EVAL, error.to_string())),
        // The same keys are wrong for both files: told once.
        (Err(error), Ok(_)) | (Err(error @ TrainError::Keys(_)), Err(TrainError::Keys(_))) => return Err(error),
        (Err(error), Err(other)) => {
            let mut faults = error.faults(TRAIN);
            faults.push(KeyFault { key: EVAL, message: other.to_string() });
            return Err(TrainError::Keys(faults));
        }
    };
    let labels = classes(&config.train, &train.rows, label2id)?;
    let eval = match eval {
        Some((source, table)) => {
            known_labels(source, &table.rows, &labels).map_err(|message| TrainError::key(EVAL, message))?;
            Some(table)
        }
        None => None,
    };
    Ok(Tables { train, eval, labels })
}

fn table(source: &str, config: &DataConfig) -> Result<Table, TrainError> {
    let (name, bytes) = source::data(source)?;
    let longest = config.max_length.saturating_mul(CHARACTERS_PER_TOKEN);
    let rows = table::rows(source, &name, &bytes, &Columns::new(config, longest))?;
    let format = name.rsplit('.').next().unwrap_or_default();
    let hash = blake3::Hasher::new().update(format.as_bytes()).update(b"\n").update(&bytes).finalize();
    Ok(Table { rows, hash })
}

fn tokenizer(config: &DataConfig, model: &str) -> Result<Checkpoint, TrainError> {
    /// What matters here of a `config.json`.
    #[derive(serde::Deserialize)]
    struct Settings {
        label2id: Option<serde_json::Value>,
    }
    let (settings, tokenizer) = source::config_and_tokenizer(model)?;
    let settings: Settings = serde_json::from_slice(&settings)
        .map_err(|error| TrainError::Input(format!("{model}: config.json: {error}")))?;
    Ok(Checkpoint {
        encoder: Encoder::new(model, &tokenizer, config.max_length, config.text_pair.is_some())?,
        hash: blake3::hash(&tokenizer),
        label2id: settings.label2id.and_then(|map| serde_json::from_value(map).ok()),
    })
}

/// Label names of the train file in class order; two at least.
fn classes(source: &str, rows: &[Row], label2id: Option<&BTreeMap<String, u32>>) -> Result<Vec<String>, TrainError> {
    let names: BTreeSet<&str> = rows.iter().map(|row| row.label.as_str()).collect();
    if names.len() < 2 {
        let only = names.first().unwrap_or(&"");
        return Err(TrainError::Input(format!(
            "{source}: every row has the label `{only}`; a classifier needs two at least"
        )));
    }
    Ok(split::class_order(&names, label2id))
}

fn known_labels(source: &str, rows: &[Row], labels: &[String]) -> Result<(), String> {
    match rows.iter().find(|row| !labels.contains(&row.label)) {
        None => Ok(()),
        Some(row) => Err(format!(
            "{source}:{}: the label `{}` is not in the training data, which has {}; remove such rows from the one or add \
             some to the other",
            row.line,
            row.label,
            listed(labels.iter().map(String::as_str))
        )),
    }
}

/// Names for a message, the first ones if there are many.
fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const MOST: usize = 20;
    let more = names.len().saturating_sub(MOST);
    let shown: Vec<String> = names.take(MOST).map(|name| format!("`{}`", table::cut(name.to_owned(), 40))).collect();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &rest
}

/// All rows of a table as examples, with their tokens.
fn split_of(
    table: Table,
    labels: &[String],
    config: &DataConfig,
    checkpoint: &Checkpoint,
    cache: &dyn Cache,
) -> Result<Split, TrainError> {
    let number: BTreeMap<&str, u32> = labels.iter().map(String::as_str).zip(0..).collect();
    let examples: Vec<Example> = table
        .rows
        .into_iter()
        .map(|row| Example { label: number[row.label.as_str()], text: row.text, pair: row.pair })
        .collect();
    let columns = serde_json::json!([config.text, config.text_pair, config.max_length]).to_string();
    let key = blake3::Hasher::new()
        .update(table.hash.as_bytes())
        .update(checkpoint.hash.as_bytes())
        .update(columns.as_bytes())
        .finalize()
        .to_hex();
    let kept = cache.get(&key).and_then(|bytes| Tokens::from_bytes(&bytes));
    if let Some(tokens) = kept.filter(|tokens| tokens.len() == examples.len()) {
        return Ok(Split { examples, tokens });
    }
    let tokens = checkpoint.encoder.encode(&examples)?;
    cache.put(&key, &tokens.to_bytes());
    Ok(Split { examples, tokens })
}

fn select(split: &Split, indices: &[u32]) -> Split {
    let examples = indices.iter().map(|&index| split.examples[index as usize].clone()).collect();
    Split { examples, tokens: split.tokens.select(indices) }
}

/// Share of each class in the training split, which must hold two at least.
fn prior(config: &DataConfig, train: &Split, labels: &[String]) -> Result<Vec<f64>, TrainError> {
    let prior = train.prior(labels.len());
    if prior.iter().filter(|&&share| share > 0.0).count() < 2 {
        let message = format!(
            "{}: the {} training rows have one label only; raise data.limit or mix the rows of the file",
            config.train,
            train.examples.len()
        );
        return Err(TrainError::key("data.limit", message));
    }
    Ok(prior)
}
