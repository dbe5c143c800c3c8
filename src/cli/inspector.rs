//! Asks a child process to open foreign files, and tells how the child ended if it gave no answer.

use std::io::{BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit};

use super::Failure;
use super::deferred_cache::DeferredCache;
use super::format::bytes;
use super::inspect::{Answer, Entry, Fault, Request, Source, TestResult, TestSet, open, read_answer};
use super::limits::Limits;
use crate::exec::this_program;
use crate::store::{Results, StoreError, exit};
use crate::train::{self, Cache as _};
use crate::trial::{Augmentation, DataConfig, DataFacts, EvalSource, FileHashes, ModelFacts, TrialConfig};

/// A child that waits for a disk uses no processor time. It may take so many times its processor time.
const WALL_FACTOR: u32 = 5;

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
            Answer::Model(facts) => Ok(*facts),
            answer => Err(answer.faults()),
        })
    }

    /// What a plan must know of a located data section, read with the tokenizer of a checkpoint that [`Self::model`] knows.
    pub(super) fn data(&mut self, data: &DataConfig, model: &str) -> Result<Result<DataFacts, Vec<Fault>>, Failure> {
        Ok(match self.ask(&Source::Data { data: Box::new(data.clone()), model: Some(model.to_owned()) })? {
            Answer::Data(facts) => Ok(*facts),
            answer => Err(answer.faults()),
        })
    }

    /// Looks for mistakes in a located data section whose checkpoint is unknown.
    pub(super) fn check_data(&mut self, data: &DataConfig) -> Result<Vec<Fault>, Failure> {
        Ok(self.ask(&Source::Data { data: Box::new(data.clone()), model: None })?.faults())
    }

    /// The augmentation with the hash of each of its resources, and the files behind them; or why they cannot be used.
    pub(super) fn augmentation(
        &mut self,
        written: &Augmentation,
        located: &Augmentation,
    ) -> Result<Result<(Augmentation, FileHashes), Vec<Fault>>, Failure> {
        let (written, located) = (Box::new(written.clone()), Box::new(located.clone()));
        Ok(match self.ask(&Source::Augmentation { written, located })? {
            Answer::Augmentation(identity, files) => Ok((*identity, files)),
            answer => Err(answer.faults()),
        })
    }

    /// Computes what the models of the augmentations of a trial make of its texts, and what is wrong. The variants are in the
    /// cache then. `notify` is called with the number of texts.
    pub(super) fn variants(&mut self, config: &TrialConfig, notify: &dyn Fn(usize)) -> Result<Vec<Fault>, Failure> {
        Ok(self.ask_notified(&Source::Variants { config: Box::new(config.clone()) }, notify)?.faults())
    }

    /// Evaluates a model on a test set. None if the test set is not the one that was planned. `notify` is called with the number
    /// of rows.
    pub(super) fn test_set(
        &mut self,
        test_set: TestSet,
        notify: &dyn Fn(usize),
    ) -> Result<Result<Option<TestResult>, Vec<Fault>>, Failure> {
        Ok(match self.ask_notified(&Source::TestSet(Box::new(test_set)), notify)? {
            Answer::TestSet(result) => Ok(result.map(|result| *result)),
            answer => Err(answer.faults()),
        })
    }

    fn ask(&mut self, source: &Source) -> Result<Answer, Failure> {
        self.ask_notified(source, &|_| ())
    }

    fn ask_notified(&mut self, source: &Source, notify: &dyn Fn(usize)) -> Result<Answer, Failure> {
        if source.is_trusted() {
            train::start_threads().map_err(|error| Failure::results(error.to_string()))?;
            return Ok(open(source, self.cache, notify));
        }
        let mut running = match self.running.take() {
            Some(running) => running,
            None => Running::start(self.results).map_err(StoreError::at(Path::new("plateau inspect")))?,
        };
        let mut more = source.limits();
        running.limits = running.limits.with(more);
        let request = Request { source: source.clone(), limits: running.limits };
        let request = serde_json::to_string(&request).map_err(|error| Failure::input(error.to_string()))?;
        // A child that has ended cannot read it, and gives no answer.
        let _ = writeln!(running.input, "{request}");
        let what = loop {
            match running.answer(more) {
                Ok((Answer::Processing(texts), _)) => {
                    more.seconds = None;
                    notify(texts);
                }
                Ok((Answer::Limit(message), _)) => return Err(Failure::results(message)),
                Ok((answer, entries)) => {
                    for (key, content) in &entries {
                        self.cache.put(key, content);
                    }
                    self.running = Some(running);
                    return Ok(answer);
                }
                Err(what) => break what,
            }
        };
        Ok(Answer::Faults(vec![source.fault(&what)]))
    }
}

impl Answer {
    /// What is wrong, if anything is.
    fn faults(self) -> Vec<Fault> {
        match self {
            Self::Faults(faults) => faults,
            _ => Vec::new(),
        }
    }
}

impl Source {
    /// The folders that are opened as a checkpoint, a dictionary or the kept state of a trial. What is compiled in has none.
    fn folders(&self) -> Vec<&Path> {
        let foreign = |model: &'_ str| !model.starts_with("embedded:");
        match self {
            Self::Model { model } | Self::Data { model: Some(model), .. } if foreign(model) => vec![Path::new(model)],
            Self::Model { .. } | Self::Data { .. } => Vec::new(),
            Self::TestSet(test_set) => {
                let model = Some(&test_set.config.model.from).filter(|model| foreign(model)).map(Path::new);
                model.into_iter().chain(test_set.weights.parent()).collect()
            }
            Self::Augmentation { located, .. } => train::augment::resources(located),
            Self::Variants { config } => {
                let model = Some(&config.model.from).filter(|model| foreign(model)).map(Path::new);
                let resources = config.augmentation.iter().flat_map(train::augment::resources);
                resources.chain(model).collect()
            }
        }
    }

    fn data(&self) -> Option<&DataConfig> {
        match self {
            Self::Data { data, .. } => Some(data),
            Self::Variants { config } => Some(&config.data),
            Self::TestSet(test_set) => Some(&test_set.config.data),
            Self::Model { .. } | Self::Augmentation { .. } => None,
        }
    }

    /// Whether everything that is opened is compiled into this program.
    fn is_trusted(&self) -> bool {
        let is_embedded = |data: &DataConfig| {
            let test = data.test.as_ref().and_then(EvalSource::file);
            let mut files = [Some(data.train.as_str()), data.eval.file(), test].into_iter().flatten();
            files.all(|file| file.starts_with("embedded:"))
        };
        self.folders().is_empty() && self.data().is_none_or(is_embedded)
    }

    /// What opening this source may use. A file whose size is unknown counts as empty.
    fn limits(&self) -> Limits {
        let checkpoints: u64 = self.folders().into_iter().map(folder_size).sum();
        let texts = self.data().map_or(0, train::data_size);
        let limits = Limits::of_files(checkpoints, texts);
        match self {
            // Models may take hours for all texts of a large file.
            Self::Variants { .. } => Limits { seconds: None, ..limits },
            _ => limits,
        }
    }
}

/// Bytes of the files in a folder, without its sub-folders.
pub(super) fn folder_size(folder: &Path) -> u64 {
    let files = folder.read_dir().into_iter().flatten().flatten();
    files.map(|file| train::data::stored_size(&file.path())).sum()
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
        let started = thread::Builder::new().name("inspector".into()).spawn(move || receive(output, &sender));
        let mut running = Self { child, input, answers, limits: Limits::start() };
        match started {
            Ok(_) => Ok(running),
            Err(error) => {
                running.end();
                Err(error)
            }
        }
    }

    /// The next answer and its entries, or why there is none. `asked`: what the request allowed.
    fn answer(&mut self, asked: Limits) -> Result<(Answer, Vec<Entry>), String> {
        let wall = asked.seconds.map(|seconds| Duration::from_secs(seconds) * WALL_FACTOR);
        let answer = match wall {
            Some(wall) => self.answers.recv_timeout(wall),
            None => self.answers.recv().map_err(RecvTimeoutError::from),
        };
        match (answer, wall) {
            (Ok(answer), _) => Ok(answer),
            (Err(RecvTimeoutError::Timeout), Some(wall)) => Err(format!("has not ended after {} s", wall.as_secs())),
            (Err(_), _) => match self.child.wait() {
                Ok(status) => match own_limit(status, self.limits, getrlimit(Resource::As), getrlimit(Resource::Cpu)) {
                    Some(limit) => Ok((Answer::Limit(limit), Vec::new())),
                    None => Err(why(status, asked, self.limits)),
                },
                Err(error) => Err(format!("has no result ({error})")),
            },
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

/// The limit of this process that ended the child, if it allows less than the child was given.
fn own_limit(status: ExitStatus, given: Limits, memory: Rlimit, time: Rlimit) -> Option<String> {
    const THEN: &str = "Raise the limit, then run the same command again";
    let is_lower =
        |limit: Option<u64>, given: Option<u64>| limit.filter(|limit| given.is_none_or(|given| *limit < given));
    if status.code() == Some(i32::from(exit::OUT_OF_MEMORY)) {
        let limit = is_lower(memory.current, Some(given.memory))? >> 10;
        return Some(format!("the address space of this process is limited to {limit} KiB (`ulimit -v`). {THEN}"));
    }
    let is_killed = matches!(status.signal(), Some(libc::SIGXCPU | libc::SIGKILL));
    let limit = is_lower(time.maximum, given.seconds).filter(|_| is_killed)?;
    Some(format!("the processor time of this process is limited to {limit} s (`ulimit -t`). {THEN}"))
}

/// Why the child ended without an answer. `asked`: what the request allowed; `all`: what the child had in all.
fn why(status: ExitStatus, asked: Limits, all: Limits) -> String {
    let killed = |signal: i32| status.signal() == Some(signal);
    if killed(libc::SIGXCPU) {
        format!("takes more than {} s of processor time", asked.seconds.unwrap_or_default())
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
        let limits = Limits { seconds: Some(20), memory: 3_000_000_000 };
        let check = |raw: i32, expected: &str| assert_eq!(why(ExitStatus::from_raw(raw), limits, limits), expected);
        check(libc::SIGXCPU, "takes more than 20 s of processor time");
        check(i32::from(exit::OUT_OF_MEMORY) << 8, "needs more than 3.0 GB of memory");
        check(libc::SIGKILL, "was ended by the system, most likely because memory ran out");
        check(libc::SIGSEGV, "crashes the process that does it (signal: 11 (SIGSEGV))");
    }

    #[test]
    fn a_limit_of_this_process_is_not_blamed_on_a_file() {
        let given = Limits { seconds: Some(20), memory: 3_000_000_000 };
        let limit = |bytes: Option<u64>| Rlimit { current: bytes, maximum: bytes };
        let of = |raw: i32, memory, time| own_limit(ExitStatus::from_raw(raw), given, limit(memory), limit(time));
        let out_of_memory = i32::from(exit::OUT_OF_MEMORY) << 8;
        assert!(of(out_of_memory, Some(200 << 20), None).unwrap().contains("204800 KiB (`ulimit -v`)"));
        assert!(of(libc::SIGXCPU, None, Some(2)).unwrap().contains("limited to 2 s (`ulimit -t`)"));
        for (raw, memory, time) in [
            (out_of_memory, None, None),
            (out_of_memory, Some(4_000_000_000), None),
            (libc::SIGXCPU, None, Some(30)),
            (libc::SIGSEGV, Some(1), Some(1)),
        ] {
            assert_eq!(of(raw, memory, time), None);
        }
    }

    #[test]
    fn larger_sources_may_use_more() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::Model { model: folder.path().to_str().unwrap().to_owned() };
        assert_eq!(source.limits(), Limits::of_files(0, 0));
        std::fs::write(folder.path().join("model.safetensors"), vec![1; 20_000_000]).unwrap();
        let file = std::fs::File::create(folder.path().join("sparse")).unwrap();
        file.set_len(1 << 40).unwrap();
        assert_eq!(source.limits(), Limits::of_files(20_000_000, 0));
    }
}
