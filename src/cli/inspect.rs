//! The process that opens foreign checkpoints and tokenizers before a sweep is planned.
//!
//! A checkpoint may be damaged, or made to exhaust the machine. A child process with limits on memory and processor time
//! opens it, so that the parent always gets an answer. The parent writes a request as one line of JSON. The child answers
//! with one line of JSON, followed by the entries that it has added to its cache. It ends when its input ends.

use std::any::Any;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::Failure;
use super::deferred_cache::DeferredCache;
use crate::store::{Blobs, StoreError};
use crate::train::{self, Cache};
use crate::trial::{DataConfig, DataFacts, ModelFacts};
use crate::worker::{self, DiskCache};

/// What is to be opened. All names are located.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Source {
    Model {
        model: String,
    },
    /// A data section, read with the tokenizer of `model`.
    Data {
        data: Box<DataConfig>,
        model: String,
    },
}

/// What the child may use in all, since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Limits {
    /// Seconds of processor time.
    pub seconds: u64,
    /// Bytes of address space.
    pub memory: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub source: Source,
    pub limits: Limits,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Model(ModelFacts),
    Data(Box<DataFacts>),
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
pub(crate) fn inspect(cache: PathBuf) -> Result<ExitCode, Failure> {
    worker::become_worker();
    limit(Resource::Core, 0);
    let requests = requests().map_err(StoreError::at(Path::new("standard input")))?;
    let cache = DeferredCache::new(DiskCache(Blobs::new(cache)));
    let mut sent = 0;
    for Request { source, limits } in requests {
        limit(Resource::Cpu, limits.seconds);
        limit(Resource::As, limits.memory);
        let answer = catch_unwind(AssertUnwindSafe(|| open(&source, &cache)));
        let answer = answer.unwrap_or_else(|panic| Answer::Faults(vec![source.crash(panic.as_ref())]));
        // The parent is gone if this fails.
        sent = cache.entries_from(sent, |entries| write_answer(answer, entries)).unwrap_or(sent);
    }
    Ok(ExitCode::SUCCESS)
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

/// Lowers a limit of this process to `value`. A limit that is lower stays.
fn limit(resource: Resource, value: u64) {
    let Rlimit { maximum, .. } = getrlimit(resource);
    let current = Some(maximum.map_or(value, |maximum| maximum.min(value)));
    // Without the limit a hostile file takes longer to fail; nothing else changes.
    let _ = setrlimit(resource, Rlimit { current, maximum });
}

/// Opens a source in this process.
pub(super) fn open(source: &Source, cache: &dyn Cache) -> Answer {
    match source {
        Source::Model { model } => match train::model_facts(model) {
            Ok(facts) => Answer::Model(facts),
            Err(error) => {
                let message = error.to_string();
                let message = if message.starts_with(model) { message } else { format!("{model}: {message}") };
                Answer::Faults(vec![Fault::new("model.from", message)])
            }
        },
        Source::Data { data, model } => match train::data_facts(data, model, cache) {
            Ok(facts) => Answer::Data(Box::new(facts)),
            Err(error) => {
                let faults = error.faults("data.train").into_iter();
                Answer::Faults(faults.map(|fault| Fault::new(fault.key, fault.message)).collect())
            }
        },
    }
}

impl Source {
    /// What is opened, for messages, and the key that names it.
    pub(super) fn fault(&self, what: &str) -> Fault {
        const ADVICE: &str = "A file of the checkpoint is damaged or hostile. Copy config.json, tokenizer.json and \
                              model.safetensors again from a page that you trust, or use another checkpoint";
        match self {
            Self::Model { model } => {
                Fault::new("model.from", format!("{model}: opening the checkpoint {what}. {ADVICE}"))
            }
            Self::Data { data, model } => {
                let message = format!("{model}: tokenising the texts of {} {what}. {ADVICE}", data.train);
                Fault::new("model.from", message)
            }
        }
    }

    fn crash(&self, panic: &(dyn Any + Send)) -> Fault {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        let text: String = text.unwrap_or("no message").chars().take(200).collect();
        self.fault(&format!("crashes the library that reads it ({text})"))
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
