//! Asks a child process to open foreign checkpoints and tokenizers, and tells how the child ended if it gave no answer.

use std::io::{BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::Failure;
use super::deferred_cache::DeferredCache;
use super::format::bytes;
use super::inspect::{Answer, Entry, Fault, Limits, Request, Source, open, read_answer};
use crate::exec::this_program;
use crate::store::{Results, StoreError, exit};
use crate::train::{self, Cache as _};
use crate::trial::{DataConfig, DataFacts, ModelFacts};

/// Processor time for any source. Opening a checkpoint of 100 MB takes less than a second.
const SECONDS: u64 = 10;
/// Further processor time: a second for so many bytes of a checkpoint, and for so many bytes of texts. A tokenizer is at
/// least twenty times as fast.
const CHECKPOINT_BYTES_PER_SECOND: u64 = 10_000_000;
const TEXT_BYTES_PER_SECOND: u64 = 50_000;
/// A child that waits for a disk uses no processor time. It may take so many times its processor time.
const WALL_FACTOR: u32 = 5;
/// Address space of the program itself, and more for each processor (the stack and the heap of a thread).
const MEMORY: u64 = 2 << 30;
const MEMORY_PER_PROCESSOR: u64 = 256 << 20;
/// Further address space for each byte of a checkpoint, and for each byte of data files, which may be compressed.
const MEMORY_PER_CHECKPOINT_BYTE: u64 = 8;
const MEMORY_PER_TEXT_BYTE: u64 = 200;

/// Opens the sources of a sweep. What is compiled into the program is opened in this process, everything else in a child.
pub(super) struct Inspector<'a> {
    results: &'a Results,
    cache: &'a DeferredCache,
    running: Option<Running>,
}

/// The child, with what it may use in all.
struct Running {
    child: Child,
    input: ChildStdin,
    answers: Receiver<(Answer, Vec<Entry>)>,
    limits: Limits,
}

impl<'a> Inspector<'a> {
    /// `cache`: where the results of the child are stored.
    pub(super) fn new(results: &'a Results, cache: &'a DeferredCache) -> Self {
        Self { results, cache, running: None }
    }

    /// What a plan must know of a located checkpoint, or why it cannot be used.
    pub(super) fn model(&mut self, model: &str) -> Result<Result<ModelFacts, Vec<Fault>>, Failure> {
        Ok(match self.ask(&Source::Model { model: model.to_owned() })? {
            Answer::Model(facts) => Ok(facts),
            Answer::Faults(faults) => Err(faults),
            Answer::Data(_) => Err(Vec::new()),
        })
    }

    /// What a plan must know of a located data section, read with the tokenizer of a checkpoint that [`Self::model`] knows.
    pub(super) fn data(&mut self, data: &DataConfig, model: &str) -> Result<Result<DataFacts, Vec<Fault>>, Failure> {
        Ok(match self.ask(&Source::Data { data: Box::new(data.clone()), model: model.to_owned() })? {
            Answer::Data(facts) => Ok(*facts),
            Answer::Faults(faults) => Err(faults),
            Answer::Model(_) => Err(Vec::new()),
        })
    }

    fn ask(&mut self, source: &Source) -> Result<Answer, Failure> {
        if source.is_embedded() {
            return Ok(open(source, self.cache));
        }
        let mut running = match self.running.take() {
            Some(running) => running,
            None => Running::start(self.results).map_err(StoreError::at(Path::new(source.model())))?,
        };
        let more = source.limits();
        running.limits = running.limits.with(more);
        let request = Request { source: source.clone(), limits: running.limits };
        let request = serde_json::to_string(&request).map_err(|error| Failure::input(error.to_string()))?;
        // A child that has ended cannot read it, and gives no answer.
        let _ = writeln!(running.input, "{request}");
        let seconds = Duration::from_secs(more.seconds) * WALL_FACTOR;
        let what = match running.answers.recv_timeout(seconds) {
            Ok((answer, entries)) => {
                for (key, content) in &entries {
                    self.cache.put(key, content);
                }
                self.running = Some(running);
                return Ok(answer);
            }
            Err(RecvTimeoutError::Timeout) => format!("has not ended after {} s", seconds.as_secs()),
            Err(RecvTimeoutError::Disconnected) => match running.child.wait() {
                Ok(status) => why(status, more, running.limits),
                Err(error) => format!("has no result ({error})"),
            },
        };
        Ok(Answer::Faults(vec![source.fault(&what)]))
    }
}

impl Source {
    fn model(&self) -> &str {
        match self {
            Self::Model { model } | Self::Data { model, .. } => model,
        }
    }

    fn is_embedded(&self) -> bool {
        self.model().starts_with("embedded:")
    }

    /// What opening this source may use. A file whose size is unknown counts as empty.
    fn limits(&self) -> Limits {
        let checkpoint = folder_size(Path::new(self.model()));
        let texts = match self {
            Self::Model { .. } => 0,
            Self::Data { data, .. } => train::data_size(data),
        };
        Limits {
            seconds: SECONDS + checkpoint / CHECKPOINT_BYTES_PER_SECOND + texts / TEXT_BYTES_PER_SECOND,
            memory: checkpoint.saturating_mul(MEMORY_PER_CHECKPOINT_BYTE)
                + texts.saturating_mul(MEMORY_PER_TEXT_BYTE).min(u64::MAX / 4),
        }
    }
}

impl Limits {
    fn with(self, more: Self) -> Self {
        let Self { seconds, memory } = self;
        Self { seconds: seconds.saturating_add(more.seconds), memory: memory.saturating_add(more.memory) }
    }
}

/// Bytes of the files in a folder, without its sub-folders. A sparse file counts as what it holds.
fn folder_size(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = folder.read_dir().into_iter().flatten().flatten().filter_map(|entry| entry.path().metadata().ok());
    files.filter(std::fs::Metadata::is_file).map(|file| file.blocks().saturating_mul(512).min(file.len())).sum()
}

impl Running {
    fn start(results: &Results) -> std::io::Result<Self> {
        let mut child = Command::new(this_program()?)
            .arg0("plateau")
            .args(["inspect", "--cache"])
            .arg(results.cache().folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // The answers say what is wrong. The library behind a tokenizer prints more.
            .stderr(Stdio::null())
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or_else(|| std::io::Error::other("the child has no pipes"))?;
        let (sender, answers) = channel();
        let processors = thread::available_parallelism().map_or(1, usize::from) as u64;
        let limits = Limits { seconds: 0, memory: MEMORY + processors * MEMORY_PER_PROCESSOR };
        let started = thread::Builder::new().name("inspector".into()).spawn(move || receive(output, &sender));
        let mut running = Self { child, input, answers, limits };
        match started {
            Ok(_) => Ok(running),
            Err(error) => {
                running.end();
                Err(error)
            }
        }
    }

    /// Ends the child, which has nothing to save.
    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Passes answers on until the child ends, or sends something else.
fn receive(output: ChildStdout, sender: &Sender<(Answer, Vec<Entry>)>) {
    let mut output = BufReader::new(output);
    while let Ok(Some(answer)) = read_answer(&mut output) {
        if sender.send(answer).is_err() {
            return;
        }
    }
}

/// Why the child ended without an answer. `asked`: what the request allowed; `all`: what the child had in all.
fn why(status: ExitStatus, asked: Limits, all: Limits) -> String {
    let killed = |signal: i32| status.signal() == Some(signal);
    if killed(libc::SIGXCPU) {
        format!("takes more than {} s of processor time", asked.seconds)
    } else if status.code() == Some(i32::from(exit::OUT_OF_MEMORY)) {
        format!("needs more than {} of memory", bytes(all.memory))
    } else if killed(libc::SIGKILL) {
        "was ended by the system, most likely because memory ran out".to_owned()
    } else {
        format!("crashes the process that does it ({status})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_the_cause_of_the_end() {
        let limits = Limits { seconds: 20, memory: 3_000_000_000 };
        let check = |raw: i32, expected: &str| assert_eq!(why(ExitStatus::from_raw(raw), limits, limits), expected);
        check(libc::SIGXCPU, "takes more than 20 s of processor time");
        check(i32::from(exit::OUT_OF_MEMORY) << 8, "needs more than 3.0 GB of memory");
        check(libc::SIGKILL, "was ended by the system, most likely because memory ran out");
        check(libc::SIGSEGV, "crashes the process that does it (signal: 11 (SIGSEGV))");
    }

    #[test]
    fn larger_sources_may_use_more() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::Model { model: folder.path().to_str().unwrap().to_owned() };
        assert_eq!(source.limits(), Limits { seconds: SECONDS, memory: 0 });
        std::fs::write(folder.path().join("model.safetensors"), vec![1; 20_000_000]).unwrap();
        let file = std::fs::File::create(folder.path().join("sparse")).unwrap();
        file.set_len(1 << 40).unwrap();
        assert_eq!(source.limits(), Limits { seconds: SECONDS + 2, memory: 160_000_000 });
    }
}
