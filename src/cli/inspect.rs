//! The process that opens foreign files before a sweep is planned (data, checkpoints, tokenizers, dictionaries), and the test set
//! with the best model after it has ended.
//!
//! Such a file may be damaged, or made to exhaust the machine. A child process with limits on memory and processor time
//! opens it, so that the parent always gets an answer. The parent writes a request as one line of JSON. The child answers
//! with one line of JSON, followed by the entries that it has added to its cache. Before the answer it may say how much there
//! is to compute. It ends when its input ends.

use std::any::Any;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rustix::process::Resource;
use serde::{Deserialize, Serialize};

use super::contained::{limit, message};
use super::deferred_cache::DeferredCache;
use super::limits::Limits;
use crate::store::{Blobs, StoreError, read_kept};
use crate::train::classifier::{Classifier, ClassifierFiles};
use crate::train::data::test_rows;
use crate::train::tasks;
use crate::train::{self, Cache, TestScores, TrainError};
use crate::trial::{Augmentation, DataConfig, DataFacts, FileHashes, ModelFacts, TrialConfig};
use crate::worker::{self, DiskCache};

/// What is to be opened. All names are located.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Source {
    Model {
        model: String,
    },
    /// A data section, read with the tokenizer of `model`. Without one it is only checked.
    Data {
        data: Box<DataConfig>,
        model: Option<String>,
    },
    /// The dictionaries and checkpoints of an augmentation.
    Augmentation {
        written: Box<Augmentation>,
        located: Box<Augmentation>,
    },
    /// What the models of the augmentations of a trial make of its texts.
    Variants {
        config: Box<TrialConfig>,
    },
    /// The test set of a trial, with the weights that the trial kept.
    TestSet(Box<TestSet>),
}

/// A classifier that a trial kept, and the test set that it is evaluated on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TestSet {
    pub config: TrialConfig,
    /// Names in class order.
    pub labels: Vec<String>,
    /// The share of each class in the training split. Balanced class weights are those of the training, not of the test set.
    pub class_prior: Vec<f64>,
    /// The file of the weights.
    pub weights: PathBuf,
    /// The hash of the rows when the sweep was planned.
    pub hash: Option<String>,
    pub threads: usize,
}

/// The classifier on the test set.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TestResult {
    /// The hash of the rows.
    pub hash: String,
    pub rows: usize,
    pub scores: TestScores,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub source: Source,
    pub limits: Limits,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Model(Box<ModelFacts>),
    Data(Box<DataFacts>),
    /// The identity of the augmentation, and the files behind it.
    Augmentation(Box<Augmentation>, FileHashes),
    /// None: the test set is not the one that was planned.
    TestSet(Option<Box<TestResult>>),
    /// The data are without mistakes, or the variants are in the cache.
    Done,
    /// A limit of the process or the system keeps the child from working.
    Limit(String),
    /// No answer yet: so many texts are being processed.
    Processing(usize),
    /// The source cannot be used.
    Faults(Vec<Fault>),
}

/// What is wrong with the value of one key, as in [`train::KeyFault`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fault {
    pub key: String,
    pub message: String,
}

impl Fault {
    pub(super) fn new(key: &str, message: impl Into<String>) -> Self {
        Self { key: key.to_owned(), message: message.into() }
    }
}

/// The line of JSON before the entries of the cache.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    answer: Answer,
    /// Key and length of each entry that follows.
    entries: Vec<(String, usize)>,
}

/// An entry of a cache: its key and its content.
pub(super) type Entry = (String, Vec<u8>);

/// Answers requests from standard input until it ends. `cache`: the folder of the cache, which is only read.
pub(crate) fn inspect(cache: PathBuf) {
    worker::become_worker();
    limit(Resource::Core, 0);
    let requests = match requests().map_err(StoreError::at(Path::new("plateau inspect"))) {
        Ok(requests) => requests,
        Err(limit) => {
            // The parent is gone if this fails.
            let _ = write_answer(Answer::Limit(limit.to_string()), &[]);
            return;
        }
    };
    let cache = DeferredCache::new(DiskCache(Blobs::new(cache)));
    let notify = |texts| {
        // What models make of texts that were opened may take any time.
        limit(Resource::Cpu, u64::MAX);
        // The parent is gone if this fails.
        drop(write_answer(Answer::Processing(texts), &[]));
    };
    let mut sent = 0;
    for Request { source, limits } in requests {
        limit(Resource::Cpu, limits.seconds.unwrap_or(u64::MAX));
        limit(Resource::As, limits.memory);
        let answer = match train::start_threads() {
            Ok(()) => catch_unwind(AssertUnwindSafe(|| open(&source, &cache, &notify))),
            Err(error) => Ok(Answer::Limit(error.to_string())),
        };
        let answer = answer.unwrap_or_else(|panic| Answer::Faults(vec![source.crash(panic.as_ref())]));
        // The parent is gone if this fails.
        sent = cache.entries_from(sent, |entries| write_answer(answer, entries)).unwrap_or(sent);
    }
}

/// The requests from standard input. A thread reads them, and ends this process at the end of the input, whatever the other
/// threads do then.
fn requests() -> io::Result<Receiver<Request>> {
    let (sender, requests) = channel();
    let read = move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let Ok(request) = serde_json::from_str(&line) else { break };
            if sender.send(request).is_err() {
                break;
            }
        }
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    };
    thread::Builder::new().name("requests".into()).spawn(read)?;
    Ok(requests)
}

/// Opens a source in this process. `notify` is called with the number of texts before a model processes them.
pub(super) fn open(source: &Source, cache: &dyn Cache, notify: &dyn Fn(usize)) -> Answer {
    let faults = |error: TrainError, key| {
        let faults = error.faults(key).into_iter();
        Answer::Faults(faults.map(|fault| Fault::new(fault.key, fault.message)).collect())
    };
    let fault = |error: &TrainError, key| Answer::Faults(vec![Fault::new(key, error.to_string())]);
    match source {
        Source::Model { model } => match train::model_facts(model) {
            Ok(facts) => Answer::Model(Box::new(facts)),
            Err(error) => {
                let message = error.to_string();
                let message = if message.starts_with(model) { message } else { format!("{model}: {message}") };
                Answer::Faults(vec![Fault::new("model.from", message)])
            }
        },
        Source::Data { data, model: Some(model) } => train::data_facts(data, model, cache)
            .map_or_else(|error| faults(error, "data.train"), |facts| Answer::Data(Box::new(facts))),
        Source::Data { data, model: None } => {
            train::check_data(data).map_or_else(|error| faults(error, "data.train"), |()| Answer::Done)
        }
        Source::Augmentation { written, located } => match train::augment::identify(written, located) {
            Ok(identity) => Answer::Augmentation(Box::new(identity), train::augment::hashes(located)),
            Err(error) => fault(&error, "augmentation"),
        },
        Source::Variants { config } => train::prepare_augmentation(config, cache, notify)
            .map_or_else(|error| fault(&error, "augmentation"), |()| Answer::Done),
        Source::TestSet(test_set) => test_set.evaluate(cache, notify).map_or_else(
            |message| Answer::Faults(vec![Fault::new("data.test", message)]),
            |result| Answer::TestSet(result.map(Box::new)),
        ),
    }
}

impl TestSet {
    /// None if the test set is not the one that was planned.
    fn evaluate(&self, cache: &dyn Cache, notify: &dyn Fn(usize)) -> Result<Option<TestResult>, String> {
        let TestSet { config, labels, class_prior, weights, hash, threads } = self;
        let text = |error: TrainError| error.to_string();
        let rows = test_rows(&config.data, &config.model.from, cache).map_err(text)?;
        let Some(rows) = rows.filter(|rows| Some(&rows.hash) == hash.as_ref() && rows.labels == *labels) else {
            return Ok(None);
        };
        let state = read_kept(weights).map_err(|error| error.to_string())?;
        let files = ClassifierFiles::of_trial(config, labels, &state)
            .map_err(|error| format!("{}: {error}", weights.display()))?;
        let classifier = Classifier::new(&files, *threads).map_err(text)?;
        let task = tasks::of(config, &rows.labels, class_prior, 0).map_err(text)?;
        let scores = TestScores::of(&classifier, &*task, &rows, notify).map_err(text)?;
        Ok(Some(TestResult { hash: rows.hash, rows: rows.examples.len(), scores }))
    }
}

impl Source {
    /// The fault of a source whose child process gave no answer. `what`: what happened.
    pub(super) fn fault(&self, what: &str) -> Fault {
        const CHECKPOINT: &str = "A file of the checkpoint is damaged or hostile. Copy config.json, tokenizer.json and \
                                  model.safetensors again from a page that you trust, or use another checkpoint";
        const FILES: &str = "A file is damaged or hostile. Copy it again from a place that you trust";
        match self {
            Self::Model { model } => {
                Fault::new("model.from", format!("{model}: opening the checkpoint {what}. {CHECKPOINT}"))
            }
            Self::Data { data, model: Some(model) } if !model.starts_with("embedded:") => {
                let message = format!("{model}: tokenising the texts of {} {what}. {CHECKPOINT}", data.train);
                Fault::new("model.from", message)
            }
            Self::Data { data, .. } => {
                Fault::new("data.train", format!("{}: reading the data {what}. {FILES}", data.train))
            }
            Self::Augmentation { located, .. } => {
                let name = located.name();
                Fault::new("augmentation", format!("{name}: opening its files {what}. {FILES}"))
            }
            Self::Variants { config } => {
                let names: Vec<&str> = config.augmentation.iter().map(Augmentation::name).collect();
                Fault::new("augmentation", format!("{}: computing its variants {what}. {FILES}", names.join(", ")))
            }
            Self::TestSet(test_set) => {
                let weights = test_set.weights.display();
                Fault::new("data.test", format!("evaluating {weights} {what}. {FILES}"))
            }
        }
    }

    fn crash(&self, panic: &(dyn Any + Send)) -> Fault {
        self.fault(&format!("crashes the library that reads it ({})", message(panic)))
    }
}

fn write_answer(answer: Answer, entries: &[Entry]) -> io::Result<()> {
    let entries_written = entries.iter().map(|(key, content)| (key.clone(), content.len())).collect();
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &Header { answer, entries: entries_written })?;
    out.write_all(b"\n")?;
    entries.iter().try_for_each(|(_, content)| out.write_all(content))?;
    out.flush()
}

/// Reads an answer and the entries behind it. None at the end of the input.
pub(super) fn read_answer(input: &mut BufReader<impl Read>) -> io::Result<Option<(Answer, Vec<Entry>)>> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let Header { answer, entries } = serde_json::from_str(&line)?;
    let entries = entries.into_iter().map(|(key, length)| {
        let mut content = vec![0; length];
        input.read_exact(&mut content)?;
        Ok((key, content))
    });
    Ok(Some((answer, entries.collect::<io::Result<_>>()?)))
}
