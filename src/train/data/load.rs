//! Loads the data section of a trial: read the files, check the rows, split, tokenise.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::checkpoint::config_and_tokenizer;
use super::columns::Columns;
use super::dataset::{Dataset, Split};
use super::encoder::Encoder;
use super::error::DataError;
use super::example::Example;
use super::files::stored_size;
use super::labels::{labels_of, numbers, prior, whole_numbers};
use super::origins::Origins;
use super::report::{ReportInput, report};
use super::rows::Row;
use super::source::files;
use super::split::{EVAL_SPLIT, TEST_SPLIT, draw_rows, fold_rows, hold_out};
use super::split_name::SplitName;
use super::table::{Table, file_name};
use super::tokens::Tokens;
use crate::train::tasks::{Target, looks_like_number, read_target};
use crate::train::{Cache, KeyFault, TrainError};
use crate::trial::{BadRows, DataConfig, DataFacts, EvalSource, EvalTable, FileHashes, TaskName, Truncate};

/// At most this many characters of a text are read for each token of `max_length`.
pub const CHARACTERS_PER_TOKEN: usize = 64;

const TRAIN: &str = "data.train";
const EVAL: &str = "data.eval";
const TEST: &str = "data.test";

/// Separate the draws of `data.limit` and `data.eval_limit`.
const TRAIN_DRAW: u64 = 1;
const EVAL_DRAW: u64 = 2;

/// Loads the data of located sources. Tokens are taken from `cache` if it has them.
pub fn load(config: &DataConfig, model: &str, cache: &dyn Cache) -> Result<Dataset, TrainError> {
    Loaded::read(config, model, cache, Purpose::Train).map(|loaded| loaded.dataset)
}

/// The hashes of what [`load_hashed`] has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedHashes {
    /// As in [`DataFacts::hash`].
    pub data: String,
    /// As in [`DataFacts::files`].
    pub files: FileHashes,
    /// blake3 over `tokenizer.json`.
    pub tokenizer: blake3::Hash,
}

/// Loads the data like [`load`], with the hashes of the bytes that were read.
pub fn load_hashed(config: &DataConfig, model: &str, cache: &dyn Cache) -> Result<(Dataset, LoadedHashes), TrainError> {
    let Loaded { dataset, hash, file_hashes, checkpoint, .. } = Loaded::read(config, model, cache, Purpose::Train)?;
    Ok((dataset, LoadedHashes { data: hash, files: file_hashes, tokenizer: checkpoint.hash }))
}

/// The rows of a test set.
#[derive(Debug, Clone, PartialEq)]
pub struct TestRows {
    /// Label names in class order.
    pub labels: Vec<String>,
    pub examples: Vec<Example>,
    /// As in [`DataFacts::test_hash`].
    pub hash: String,
}

/// Reads the test set of a located data section; None if it has none.
pub fn test_rows(config: &DataConfig, model: &str, cache: &dyn Cache) -> Result<Option<TestRows>, TrainError> {
    let Loaded { dataset, test, .. } = Loaded::read(config, model, cache, Purpose::Test)?;
    let labels = dataset.labels;
    Ok(test.map(|test| TestRows { hash: rows_hash(&test, &labels), labels, examples: test.examples }))
}

/// blake3 over the texts and labels of all rows, in hex.
fn rows_hash(split: &Split, labels: &[String]) -> String {
    let mut hash = blake3::Hasher::new();
    let name = |label: &u32| labels[*label as usize].as_str();
    for Example { text, pair, choices, target } in &split.examples {
        let row = match target {
            Target::Unknown | Target::Masked | Target::Word(..) => serde_json::json!([text, pair]),
            Target::Class(class) => serde_json::json!([text, pair, name(class)]),
            Target::Number(number) => serde_json::json!([text, pair, number]),
            Target::Choice(choice) => serde_json::json!([text, pair, choices, choice]),
            Target::Labels(all) | Target::Tags(all) => {
                serde_json::json!([text, pair, all.iter().map(name).collect::<Vec<_>>()])
            }
        };
        hash.update(row.to_string().as_bytes()).update(b"\n");
    }
    hash.finalize().to_hex().to_string()
}

/// Loads the data like [`load`] and returns what a plan must know about it.
pub fn data_facts(config: &DataConfig, model: &str, cache: &dyn Cache) -> Result<DataFacts, TrainError> {
    let loaded = Loaded::read(config, model, cache, Purpose::Describe)?;
    let dataset = &loaded.dataset;
    let is_pair = config.text_pair.is_some() || !config.choices.is_empty();
    let test_hash = loaded.test.as_ref().map(|test| rows_hash(test, &dataset.labels));
    let input = ReportInput {
        test: loaded.test,
        unknown_token: loaded.checkpoint.encoder.unknown_token(),
        special_tokens: loaded.checkpoint.encoder.special_tokens(is_pair),
        files: loaded.files,
        skipped_rows: loaded.skipped_rows,
        rows: loaded.rows,
        max_length: if config.windows.is_some() { usize::MAX } else { config.max_length },
        has_windows: config.windows.is_some(),
        label_column: config.label.to_string(),
        task: config.task,
    };
    let report = report(dataset, &input);
    let train = &dataset.train;
    Ok(DataFacts {
        hash: loaded.hash,
        files: loaded.file_hashes,
        train_rows: train.examples.len(),
        eval_rows: dataset.eval.examples.len(),
        mean_tokens: train.tokens.ids.len() as f64 / train.examples.len() as f64,
        largest_token: train.tokens.ids.iter().chain(&dataset.eval.tokens.ids).copied().max().unwrap_or(0),
        labels: loaded.dataset.labels,
        class_prior: loaded.dataset.class_prior,
        test_hash,
        report,
    })
}

/// Bytes of the files of a located data section. A file that cannot be found counts as empty.
pub fn data_size(config: &DataConfig) -> u64 {
    let test = config.test.as_ref().and_then(EvalSource::file);
    source_size(&config.train)
        + config.eval.file().map_or(0, |file| size_of_split(file, SplitName::Eval))
        + test.map_or(0, |file| size_of_split(file, SplitName::Test))
}

/// Bytes of the files of a located data source.
#[must_use]
pub fn source_size(source: &str) -> u64 {
    size_of_split(source, SplitName::Train)
}

fn size_of_split(source: &str, split: SplitName) -> u64 {
    let files = files(source, split).unwrap_or_default();
    files.iter().map(|file| stored_size(Path::new(&file.path))).sum()
}

/// Checks the files of a data section like [`data_facts`], without a tokenizer.
pub fn check_data(config: &DataConfig) -> Result<(), TrainError> {
    Tables::read(config, None, Purpose::Describe).map(drop)
}

/// The tokenizer of a located checkpoint with the settings of `config`, and the hash of its file.
pub fn encoder(config: &DataConfig, model: &str) -> Result<(Encoder, blake3::Hash), TrainError> {
    let CheckpointTokenizer { encoder, hash, .. } = CheckpointTokenizer::read(config, model)?;
    Ok((encoder, hash))
}

pub(super) fn longest(config: &DataConfig) -> usize {
    // Windows read whole texts.
    if config.windows.is_some() { usize::MAX } else { config.max_length.saturating_mul(CHARACTERS_PER_TOKEN) }
}

/// What a data section is read for. Test rows that are a fraction of the training file are never among the training rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// All files, and the length of each text without truncation.
    Describe,
    /// All files.
    Test,
    /// All files but that of the test set.
    Train,
}

/// A data set, and what was found on the way.
struct Loaded {
    dataset: Dataset,
    /// None if there is no test set, or if its file is not read.
    test: Option<Split>,
    /// blake3 over the content of all files but those of the test set, in hex.
    hash: String,
    file_hashes: FileHashes,
    files: Vec<String>,
    skipped_rows: usize,
    /// Training and evaluation rows before `data.limit` and `data.eval_limit`.
    rows: usize,
    checkpoint: CheckpointTokenizer,
}

impl Loaded {
    fn read(config: &DataConfig, model: &str, cache: &dyn Cache, purpose: Purpose) -> Result<Self, TrainError> {
        let checkpoint = CheckpointTokenizer::read(config, model)?;
        let Tables { train, eval, test, labels } = Tables::read(config, checkpoint.label2id.as_ref(), purpose)?;
        let mut hash = blake3::Hasher::new();
        hash.update(train.hash.as_bytes());
        let mut file_hashes = train.file_hashes.clone();
        let (mut files, mut skipped_rows) = (train.files.clone(), train.skipped_rows);
        let tokenised = |table: Table, source: &EvalSource| {
            let mut split = tokenised_split(table, &labels, config, source, &checkpoint, cache)?;
            if purpose == Purpose::Describe {
                // Those of all rows, whichever of them a fold, a draw or a held-out part takes: the cache has them for the next one.
                split.full_lengths = checkpoint.full_lengths(&split, config.max_length, cache)?;
            }
            Ok::<_, TrainError>(split)
        };
        let mut split = |table: Table, source: &EvalSource| {
            files.extend(table.files.clone());
            skipped_rows += table.skipped_rows;
            tokenised(table, source)
        };
        let eval = eval.map(|table| {
            hash.update(table.hash.as_bytes());
            file_hashes.extend(table.file_hashes.clone());
            split(table, &config.eval)
        });
        let test = config.test.as_ref().zip(test).map(|(source, table)| split(table, source));
        let (eval, mut test) = (eval.transpose()?, test.transpose()?);
        let mut whole = tokenised(train, &config.eval)?;
        if let Some(EvalSource::Fraction(fraction)) = config.test {
            let (rest, held_out) = hold_out(&whole.strata(), fraction, config.seed, TEST_SPLIT);
            test = Some(whole.select(&held_out));
            whole = whole.select(&rest);
        }
        let mut eval = match (&config.eval, eval) {
            (_, None) if config.folds.is_some() => {
                let (fold, folds) = (config.fold.unwrap_or(1), config.folds.unwrap_or(2));
                if whole.examples.len() < folds {
                    let message = format!(
                        "{}: {} training rows cannot be divided into {folds} folds",
                        config.train,
                        whole.examples.len()
                    );
                    return Err(TrainError::key("data.folds", message));
                }
                let (train, eval) = fold_rows(&whole.strata(), (fold, folds), config.seed);
                let eval = whole.select(&eval);
                whole = whole.select(&train);
                eval
            }
            (_, Some(eval)) => eval,
            (EvalSource::Fraction(fraction), None) => {
                let (train, eval) = hold_out(&whole.strata(), *fraction, config.seed, EVAL_SPLIT);
                let eval = whole.select(&eval);
                whole = whole.select(&train);
                eval
            }
            (_, None) => Split::default(),
        };
        if eval.examples.is_empty() {
            let numbers = labels.iter().filter(|label| looks_like_number(label)).count();
            let why = if numbers * 10 >= labels.len() * 9 {
                "if the labels are numbers to predict, write `task: regression`".to_owned()
            } else {
                format!("is `{}` the column of the labels?", config.label)
            };
            let message =
                format!("{}: no label has two rows, so no rows can be held out for evaluation; {why}", config.train);
            return Err(TrainError::key("data.label", message));
        }
        let rows = whole.examples.len() + eval.examples.len();
        if let Some(limit) = config.limit {
            whole = whole.select(&draw_rows(&whole.strata(), limit, config.seed, TRAIN_DRAW));
        }
        if let Some(limit) = config.eval_limit {
            eval = eval.select(&draw_rows(&eval.strata(), limit, config.seed, EVAL_DRAW));
        }
        let class_prior = prior(config, &whole, &labels)?;
        let vocabulary = checkpoint.vocabulary;
        let dataset = Dataset { labels, class_prior, train: whole, eval, vocabulary };
        let hash = hash.finalize().to_hex().to_string();
        Ok(Self { dataset, test, hash, file_hashes, files, skipped_rows, rows, checkpoint })
    }
}

/// The names of the columns of a file.
#[derive(Debug, Clone, Copy)]
struct ColumnsOf<'a> {
    text: &'a [String],
    text_pair: Option<&'a str>,
    choices: &'a [String],
    label: &'a [String],
}

impl<'a> ColumnsOf<'a> {
    /// Those of the training file.
    fn train(config: &'a DataConfig) -> Self {
        let DataConfig { text, text_pair, choices, label, .. } = config;
        Self { text: &text.0, text_pair: text_pair.as_deref(), choices, label: &label.0 }
    }

    /// Those of an evaluation or test file; None for a fraction.
    fn held_out(source: &'a EvalSource, config: &'a DataConfig) -> Option<Self> {
        let train = Self::train(config);
        match source {
            EvalSource::Fraction(_) => None,
            EvalSource::File(_) => Some(train),
            EvalSource::Table(EvalTable { text, text_pair, choices, label, .. }) => Some(Self {
                text: text.as_ref().map_or(train.text, |names| &names.0),
                text_pair: text_pair.as_deref().or(train.text_pair),
                choices: choices.as_deref().unwrap_or(train.choices),
                label: label.as_ref().map_or(train.label, |names| &names.0),
            }),
        }
    }

    /// How a file with these columns is read.
    fn columns(self, config: &DataConfig) -> Columns<'a> {
        Columns::of_task(config.task, self.text, self.text_pair, self.label, longest(config))
            .with_truncation(config.truncate)
            .with_choices(self.choices)
    }

    /// Why several columns cannot be those of labels.
    fn label_fault(self, config: &DataConfig) -> Option<String> {
        if self.label.len() < 2 {
            return None;
        }
        if config.task != TaskName::MultiLabel {
            return Some("several columns of labels belong to `task: multi_label`; other tasks have one".to_owned());
        }
        if let Some(name) = repeated(self.label) {
            return Some(format!("the column `{name}` stands twice among the labels; name each once"));
        }
        let name = self.label.iter().find(|name| name.contains('|'))?;
        Some(format!("the column `{name}` cannot be a label, because `|` stands between labels; rename the column"))
    }

    /// Why the columns of the choices cannot be those of a question.
    fn choice_fault(self, config: &DataConfig) -> Option<String> {
        let choices = self.choices;
        if config.task != TaskName::MultipleChoice {
            return None;
        }
        if let [list] = choices {
            return Some(format!(
                "`{list}` is one choice, and task: multiple_choice needs at least two; if the column is a list, name its items: \
                 [{list}.0, {list}.1]"
            ));
        }
        if choices.is_empty() {
            let message = "task: multiple_choice needs the columns of at least two choices, such as data.choices: [ending0, ending1]";
            return Some(message.to_owned());
        }
        if let Some(name) = repeated(choices) {
            return Some(format!("the column `{name}` stands twice among the choices; name each once"));
        }
        let texts = self.text.iter().map(|name| (name.as_str(), "text"));
        let labels = self.label.iter().map(|name| (name.as_str(), "label"));
        let mut others = texts.chain(labels).chain(self.text_pair.map(|name| (name, "text_pair")));
        let both = others.find(|(name, _)| choices.iter().any(|choice| choice == name));
        if let Some((name, role)) = both {
            return Some(format!("the column `{name}` is a choice and data.{role}; leave it out of the choices"));
        }
        (choices.len() != config.choices.len()).then(|| {
            format!(
                "it has {} choices, and the training data {}; expected as many",
                choices.len(),
                config.choices.len()
            )
        })
    }
}

/// The files of a data section.
struct Tables {
    train: Table,
    eval: Option<Table>,
    test: Option<Table>,
    /// Label names in class order.
    labels: Vec<String>,
}

impl Tables {
    /// Reads the files and reports the faults of all of them.
    fn read(
        config: &DataConfig,
        label2id: Option<&BTreeMap<String, u32>>,
        purpose: Purpose,
    ) -> Result<Self, TrainError> {
        let tables = [(EVAL, Some(&config.eval)), (TEST, config.test.as_ref())];
        let own = tables.into_iter().filter_map(|(key, source)| match source? {
            EvalSource::Table(EvalTable { choices: Some(_), .. }) => Some((key, ColumnsOf::held_out(source?, config)?)),
            _ => None,
        });
        let all = std::iter::once(("data.choices", ColumnsOf::train(config))).chain(own);
        let faults = all.filter_map(|(key, columns)| Some(KeyFault { key, message: columns.choice_fault(config)? }));
        let mut faults: Vec<KeyFault> = faults.collect();
        let label = ColumnsOf::train(config).label_fault(config);
        faults.extend(label.map(|message| KeyFault { key: "data.label", message }));
        if !faults.is_empty() {
            return Err(TrainError::Keys(faults));
        }
        let columns = ColumnsOf::train(config).columns(config);
        let train = Table::read_all(&config.train, SplitName::Train, config, &columns);
        let eval = held_out_table(EVAL, &config.eval, SplitName::Eval, config);
        let test = match config.test.as_ref().filter(|_| purpose != Purpose::Train) {
            Some(source) => held_out_table(TEST, source, SplitName::Test, config),
            None => Ok(None),
        };
        let (mut train, mut eval, mut test) = match (train, eval, test) {
            (Ok(train), Ok(eval), Ok(test)) => (train, eval, test),
            (train, eval, test) => {
                let whole = |table: Option<Table>| bad_rows_of(table.as_ref(), config);
                let train = train.map_or_else(Some, |train| whole(Some(train)));
                let (eval, test) = (eval.map_or_else(Some, whole), test.map_or_else(Some, whole));
                return Err(file_faults(config, train, eval, test));
            }
        };
        // The test file may not change how the labels of training are written.
        let has_classes = config.task == TaskName::Classification;
        if has_classes {
            whole_numbers(train.rows.iter_mut().chain(eval.iter_mut().flat_map(|table| &mut table.rows)));
        }
        // Labels that only bad rows have are not known.
        let is_whole = train.is_whole() || config.bad_rows == BadRows::Skip;
        let labels = match labels_of(config, &train.rows, label2id) {
            Err(_) if !is_whole => Vec::new(),
            labels => labels?,
        };
        let numbers = numbers(&labels);
        let tests = test.iter_mut().flat_map(|table| &mut table.rows);
        for row in tests.filter(|row| has_classes && !numbers.contains_key(row.label.as_str())) {
            whole_numbers(std::iter::once(row));
        }
        let mut faults = Vec::new();
        // An evaluation or test file may only have labels of the training file.
        for (key, table) in [(TRAIN, Some(&mut train)), (EVAL, eval.as_mut()), (TEST, test.as_mut())] {
            let Some(table) = table else { continue };
            let fault = |label: &str| read_target(config.task, label, &numbers).err().filter(|_| is_whole);
            let error = table.check_labels(config.bad_rows, fault).err().or_else(|| table.fault(config.bad_rows));
            faults.extend(error.map(|error| KeyFault { key, message: error.to_string() }));
        }
        if faults.is_empty() { Ok(Self { train, eval, test, labels }) } else { Err(TrainError::Keys(faults)) }
    }
}

/// The error about the bad rows of a file that is read beside others.
fn bad_rows_of(table: Option<&Table>, config: &DataConfig) -> Option<TrainError> {
    table?.fault(config.bad_rows).map(TrainError::from)
}

/// Reads an evaluation or test file; None for a fraction. `key` is that of the source.
fn held_out_table(
    key: &str,
    source: &EvalSource,
    split: SplitName,
    config: &DataConfig,
) -> Result<Option<Table>, TrainError> {
    let Some((file, columns)) = source.file().zip(ColumnsOf::held_out(source, config)) else { return Ok(None) };
    Table::read_all(file, split, config, &columns.columns(config).within(key)).map(Some)
}

/// The faults of the files together. Keys that are wrong for the training file are reported once.
fn file_faults(
    config: &DataConfig,
    train: Option<TrainError>,
    eval: Option<TrainError>,
    test: Option<TrainError>,
) -> TrainError {
    let held_out = [(EVAL, Some(&config.eval), eval), (TEST, config.test.as_ref(), test)];
    let held_out = held_out.into_iter().filter_map(|(key, source, error)| Some((key, source?, error?)));
    let Some(train) = train else {
        let fault = |(key, source, error)| KeyFault { key, message: held_out_fault(key, source, &error) };
        return TrainError::Keys(held_out.map(fault).collect());
    };
    let is_of_keys = matches!(train, TrainError::Keys(_));
    let others: Vec<KeyFault> = held_out
        .filter(|(_, _, error)| !(is_of_keys && matches!(error, TrainError::Keys(_))))
        .map(|(key, _, error)| KeyFault { key, message: error.to_string() })
        .collect();
    if others.is_empty() || is_of_keys {
        return train;
    }
    let mut faults = train.faults(TRAIN);
    faults.extend(others);
    TrainError::Keys(faults)
}

/// The error of an evaluation or test file. If its columns have other names, says how to name them.
fn held_out_fault(key: &str, source: &EvalSource, error: &TrainError) -> String {
    let mut message = error.to_string();
    if let (TrainError::Keys(faults), EvalSource::File(file)) = (error, source)
        && faults.iter().all(|fault| fault.key.strip_prefix(key).is_some_and(|column| column.starts_with('.')))
    {
        message.push_str("; if this file has other columns, write ");
        message.push_str(key);
        message.push_str(": {file: ");
        message.push_str(&file_name(file));
        message.push_str(", text: ..., label: ...}");
    }
    message
}

/// The first name that has stood in the list before.
fn repeated(names: &[String]) -> Option<&String> {
    let mut seen = HashSet::new();
    names.iter().find(|name| !seen.insert(*name))
}

/// What the data needs of a checkpoint.
struct CheckpointTokenizer {
    encoder: Encoder,
    /// blake3 over `tokenizer.json`.
    hash: blake3::Hash,
    label2id: Option<BTreeMap<String, u32>>,
    /// Number of token embeddings.
    vocabulary: usize,
}

impl CheckpointTokenizer {
    fn read(config: &DataConfig, model: &str) -> Result<Self, TrainError> {
        /// The part of `config.json` that is needed here.
        #[derive(serde::Deserialize)]
        struct Settings {
            label2id: Option<serde_json::Value>,
            id2label: Option<serde_json::Value>,
            vocab_size: Option<usize>,
        }
        let (settings, tokenizer) = config_and_tokenizer(model)?;
        let settings: Settings = serde_json::from_slice(&settings)
            .map_err(|error| DataError::malformed(format!("{model}: config.json: {error}")).caused_by(error))?;
        let ids = settings.id2label.and_then(|map| serde_json::from_value::<BTreeMap<u32, String>>(map).ok());
        let inverse = || ids.map(|map| map.into_iter().map(|(id, label)| (label, id)).collect());
        Ok(Self {
            encoder: Encoder::of(model, &tokenizer, config)?,
            hash: blake3::hash(&tokenizer),
            vocabulary: settings.vocab_size.unwrap_or(0),
            label2id: settings.label2id.and_then(|map| serde_json::from_value(map).ok()).or_else(inverse),
        })
    }

    /// Tokens of each example's longest sequence without truncation. Only examples that fill `max_length` are tokenised again.
    fn full_lengths(&self, split: &Split, max_length: usize, cache: &dyn Cache) -> Result<Vec<u32>, TrainError> {
        let longest =
            |example| split.tokens.sequences(example).map(|sequence| sequence.len() as u32).max().unwrap_or(0);
        let mut lengths: Vec<u32> = (0..split.tokens.len()).map(longest).collect();
        let full: Vec<usize> = (0..lengths.len()).filter(|&index| lengths[index] as usize >= max_length).collect();
        if full.is_empty() {
            return Ok(lengths);
        }
        let mut key = blake3::Hasher::new();
        key.update(b"full lengths 1").update(self.hash.as_bytes());
        for &index in &full {
            let example = &split.examples[index];
            for text in std::iter::once(&example.text).chain(&example.pair).chain(&example.choices) {
                key.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
            }
        }
        let key = key.finalize().to_hex();
        let cached = cache.get(&key).and_then(|bytes| serde_json::from_slice::<Vec<u32>>(&bytes).ok());
        let found = if let Some(found) = cached.filter(|found| found.len() == full.len()) {
            found
        } else {
            let examples: Vec<&Example> = full.iter().map(|&index| &split.examples[index]).collect();
            let found = self.encoder.full_lengths(&examples)?;
            if let Ok(bytes) = serde_json::to_vec(&found) {
                cache.put(&key, &bytes);
            }
            found
        };
        for (index, length) in full.into_iter().zip(found) {
            lengths[index] = length;
        }
        Ok(lengths)
    }
}

/// All rows of a table as examples with their tokens. `source`: that of the evaluation set, or that of the test set for its
/// own table.
fn tokenised_split(
    table: Table,
    labels: &[String],
    config: &DataConfig,
    source: &EvalSource,
    checkpoint: &CheckpointTokenizer,
    cache: &dyn Cache,
) -> Result<Split, TrainError> {
    let numbers = numbers(labels);
    let key = tokens_key(&table, config, source, checkpoint);
    let origins = Origins::new(table.paths, table.rows.iter().map(|row| (row.file, row.line)).collect());
    let example = |row: Row| {
        let target = read_target(config.task, &row.label, &numbers).map_err(DataError::malformed)?;
        Ok(Example { target, text: row.text, pair: row.pair, choices: row.choices })
    };
    let examples = table.rows.into_iter().map(example).collect::<Result<Vec<_>, TrainError>>()?;
    let cached = cache.get(&key).and_then(|bytes| Tokens::from_bytes(&bytes));
    if let Some(tokens) = cached.filter(|tokens| tokens.len() == examples.len()) {
        return Ok(Split { examples, tokens, origins, ..Split::default() });
    }
    let tokens = checkpoint.encoder.encode(&examples)?;
    cache.put(&key, &tokens.to_bytes());
    Ok(Split { examples, tokens, origins, ..Split::default() })
}

/// The cache key of the tokens of all rows: everything that they depend on.
fn tokens_key(table: &Table, config: &DataConfig, source: &EvalSource, checkpoint: &CheckpointTokenizer) -> String {
    let mut hash = blake3::Hasher::new();
    // Raised when a file is read otherwise than before.
    hash.update(b"rows 2").update(table.hash.as_bytes()).update(checkpoint.hash.as_bytes());
    hash.update(serde_json::json!([config.text, config.text_pair, config.max_length]).to_string().as_bytes());
    if matches!(config.task, TaskName::Tokens | TaskName::MaskedLm) {
        hash.update(config.task.name().as_bytes());
    }
    if !config.choices.is_empty() || config.windows.is_some() {
        hash.update(
            serde_json::json!([config.choices, config.windows.map(|windows| windows.stride)]).to_string().as_bytes(),
        );
    }
    if config.truncate != Truncate::Head {
        hash.update(serde_json::json!(config.truncate).to_string().as_bytes());
    }
    let own_columns = if let EvalSource::Table(table) = source { Some(table) } else { None };
    if config.bad_rows == BadRows::Skip {
        // Their labels, and those of the training data, decide which rows are bad.
        hash.update(serde_json::json!([config.task, config.label]).to_string().as_bytes());
        for row in &table.rows {
            hash.update(&row.line.to_le_bytes());
        }
    }
    let settings = (&config.format, &config.delimiter, &config.header, &config.encoding, config.bad_rows, own_columns);
    if settings != (&None, &None, &None, &None, BadRows::Error, None) {
        hash.update(serde_json::json!(settings).to_string().as_bytes());
    }
    hash.finalize().to_hex().to_string()
}
