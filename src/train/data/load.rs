//! Loads the data section of a trial: read, check, split, tokenise.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::checkpoint::config_and_tokenizer;
use super::dataset::{Dataset, Split};
use super::embedded;
use super::error::DataError;
use super::example::Example;
use super::files::read_unpacked;
use super::split::{class_order, hold_out};
use super::table::{self, Columns, Row, list_names};
use super::tokens::{Encoder, Tokens};
use crate::train::{Cache, KeyFault, TrainError};
use crate::trial::{DataConfig, DataFacts, EvalSource};

/// At most this many characters of a text are read for each token of `max_length`.
pub const CHARACTERS_PER_TOKEN: usize = 64;

/// Loads the data of located sources. Tokens are taken from `cache` if it has them.
pub fn load(config: &DataConfig, model: &str, cache: &dyn Cache) -> Result<Dataset, TrainError> {
    load_hashed(config, model, cache).map(|(dataset, _)| dataset)
}

/// The hashes of what [`load_hashed`] has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedHashes {
    /// As in [`DataFacts::hash`].
    pub data: String,
    /// blake3 over `tokenizer.json`.
    pub tokenizer: blake3::Hash,
}

/// Loads the data like [`load`] and returns what a plan must know about it.
pub fn data_facts(data: &DataConfig, model: &str, cache: &dyn Cache) -> Result<DataFacts, TrainError> {
    let (dataset, hashes) = load_hashed(data, model, cache)?;
    let train = &dataset.train;
    Ok(DataFacts {
        hash: hashes.data,
        train_rows: train.examples.len(),
        eval_rows: dataset.eval.examples.len(),
        mean_tokens: train.tokens.ids.len() as f64 / train.examples.len() as f64,
        labels: dataset.labels,
        class_prior: dataset.class_prior,
    })
}

/// Checks the files of a data section like [`data_facts`], without a tokenizer.
pub fn check_data(data: &DataConfig) -> Result<(), TrainError> {
    read_tables(data, None).map(drop)
}

/// The texts of a located data file in the order of the file, not split. All labels are 0.
pub fn texts(source: &str, config: &DataConfig) -> Result<Vec<Example>, TrainError> {
    let rows = read_table(source, config)?.rows.into_iter();
    Ok(rows.map(|row| Example { text: row.text, pair: row.pair, label: 0 }).collect())
}

/// The tokenizer of a located checkpoint with the settings of `config`, and the hash of its file.
pub fn encoder(config: &DataConfig, model: &str) -> Result<(Encoder, blake3::Hash), TrainError> {
    let CheckpointTokenizer { encoder, hash, .. } = CheckpointTokenizer::read(config, model)?;
    Ok((encoder, hash))
}

/// The rows of a file before the split.
struct Table {
    rows: Vec<Row>,
    /// blake3 over the format and the unpacked content.
    hash: blake3::Hash,
}

/// The files of a data section.
struct Tables {
    train: Table,
    eval: Option<Table>,
    /// Label names in class order.
    labels: Vec<String>,
}

/// What the data needs of a checkpoint.
struct CheckpointTokenizer {
    encoder: Encoder,
    /// blake3 over `tokenizer.json`.
    hash: blake3::Hash,
    label2id: Option<BTreeMap<String, u32>>,
}

/// Loads the data like [`load`], with the hashes of the bytes that were read.
pub fn load_hashed(config: &DataConfig, model: &str, cache: &dyn Cache) -> Result<(Dataset, LoadedHashes), TrainError> {
    let checkpoint = CheckpointTokenizer::read(config, model)?;
    let Tables { train, eval, labels } = read_tables(config, checkpoint.label2id.as_ref())?;
    let mut hash = blake3::Hasher::new();
    hash.update(train.hash.as_bytes());
    let mut whole = tokenised_split(train, &labels, config, &checkpoint, cache)?;
    let eval = match (&config.eval, eval) {
        (_, Some(table)) => {
            hash.update(table.hash.as_bytes());
            tokenised_split(table, &labels, config, &checkpoint, cache)?
        }
        (EvalSource::Fraction(fraction), None) => {
            let names: Vec<u32> = whole.examples.iter().map(|example| example.label).collect();
            let (train, eval) = hold_out(&names, *fraction, config.seed);
            let eval = whole.select(&eval);
            whole = whole.select(&train);
            eval
        }
        (EvalSource::File(_), None) => Split::default(),
    };
    if eval.examples.is_empty() {
        let message = format!(
            "{}: no label has two rows, so no rows can be held out for evaluation; is `{}` the column of the labels?",
            config.train, config.label
        );
        return Err(TrainError::key("data.label", message));
    }
    if let Some(limit) = config.limit.filter(|&limit| limit < whole.examples.len()) {
        whole = whole.select(&(0..limit as u32).collect::<Vec<_>>());
    }
    let class_prior = prior(config, &whole, &labels)?;
    let hashes = LoadedHashes { data: hash.finalize().to_hex().to_string(), tokenizer: checkpoint.hash };
    Ok((Dataset { labels, class_prior, train: whole, eval }, hashes))
}

/// Reads the files of train and eval and reports the faults of both.
fn read_tables(config: &DataConfig, label2id: Option<&BTreeMap<String, u32>>) -> Result<Tables, TrainError> {
    const TRAIN: &str = "data.train";
    const EVAL: &str = "data.eval";
    let train = read_table(&config.train, config);
    let eval = match &config.eval {
        EvalSource::File(source) => read_table(source, config).map(|table| Some((source, table))),
        EvalSource::Fraction(_) => Ok(None),
    };
    let (train, eval) = match (train, eval) {
        (Ok(train), Ok(eval)) => (train, eval),
        (Ok(_), Err(error)) => return Err(TrainError::key(EVAL, error.to_string())),
        // The same keys are wrong for both files: report them once.
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
            check_labels_known(source, &table.rows, &labels).map_err(|message| TrainError::key(EVAL, message))?;
            Some(table)
        }
        None => None,
    };
    Ok(Tables { train, eval, labels })
}

fn read_table(source: &str, config: &DataConfig) -> Result<Table, TrainError> {
    let (name, bytes): (String, Cow<'_, [u8]>) = match embedded::data(source)? {
        Some(bytes) => (format!("{source}.tsv"), bytes.into()),
        None => read_unpacked(source).map(|(name, bytes)| (name, bytes.into()))?,
    };
    let longest = config.max_length.saturating_mul(CHARACTERS_PER_TOKEN);
    let rows = table::rows(source, &name, &bytes, &Columns::new(config, longest))?;
    let format = name.rsplit('.').next().unwrap_or_default();
    let hash = blake3::Hasher::new().update(format.as_bytes()).update(b"\n").update(&bytes).finalize();
    Ok(Table { rows, hash })
}

impl CheckpointTokenizer {
    fn read(config: &DataConfig, model: &str) -> Result<Self, TrainError> {
        /// The part of `config.json` that is needed here.
        #[derive(serde::Deserialize)]
        struct Settings {
            label2id: Option<serde_json::Value>,
        }
        let (settings, tokenizer) = config_and_tokenizer(model)?;
        let settings: Settings = serde_json::from_slice(&settings)
            .map_err(|error| DataError::malformed(format!("{model}: config.json: {error}")).caused_by(error))?;
        Ok(Self {
            encoder: Encoder::new(model, &tokenizer, config.max_length, config.text_pair.is_some())?,
            hash: blake3::hash(&tokenizer),
            label2id: settings.label2id.and_then(|map| serde_json::from_value(map).ok()),
        })
    }
}

/// Label names of the training file in class order. A classifier needs at least two.
fn classes(source: &str, rows: &[Row], label2id: Option<&BTreeMap<String, u32>>) -> Result<Vec<String>, DataError> {
    let names: BTreeSet<&str> = rows.iter().map(|row| row.label.as_str()).collect();
    if names.len() < 2 {
        let only = names.first().unwrap_or(&"");
        return Err(DataError::malformed(format!(
            "{source}: every row has the label `{only}`; a classifier needs at least two labels"
        )));
    }
    Ok(class_order(&names, label2id))
}

/// An evaluation file may only have labels of the training file.
fn check_labels_known(source: &str, rows: &[Row], labels: &[String]) -> Result<(), String> {
    match rows.iter().find(|row| !labels.contains(&row.label)) {
        None => Ok(()),
        Some(row) => Err(format!(
            "{source}:{}: the label `{}` does not occur in the training data, which has {}; remove such rows from this \
             file, or add some to the training data",
            row.line,
            row.label,
            list_names(labels.iter().map(String::as_str))
        )),
    }
}

/// All rows of a table as examples with their tokens.
fn tokenised_split(
    table: Table,
    labels: &[String],
    config: &DataConfig,
    checkpoint: &CheckpointTokenizer,
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
    let cached = cache.get(&key).and_then(|bytes| Tokens::from_bytes(&bytes));
    if let Some(tokens) = cached.filter(|tokens| tokens.len() == examples.len()) {
        return Ok(Split { examples, tokens });
    }
    let tokens = checkpoint.encoder.encode(&examples)?;
    cache.put(&key, &tokens.to_bytes());
    Ok(Split { examples, tokens })
}

/// Share of each class in the training split, which must have rows of at least two classes.
fn prior(config: &DataConfig, train: &Split, labels: &[String]) -> Result<Vec<f64>, TrainError> {
    let prior = train.prior(labels.len());
    if prior.iter().filter(|&&share| share > 0.0).count() < 2 {
        let message = format!(
            "{}: all {} training rows have the same label; raise data.limit or mix the rows of the file",
            config.train,
            train.examples.len()
        );
        return Err(TrainError::key("data.limit", message));
    }
    Ok(prior)
}
