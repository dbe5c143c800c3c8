//! `attempts/<n>/`: the assignment of a worker, its log, and why it failed.
//!
//! The parent writes `assignment.json`, `stop.json` and `interrupt.json`, the worker everything else. The process that creates the
//! folder owns the attempt. On a cluster a job is started later, perhaps twice: the process that creates `started.json` trains.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{AttemptDir, StoreError, TrialDir, atomic, disk};
use crate::event::{Failure, Handle, Slot, StopJudgement};
use crate::trial::{CheckpointEvery, Device, Keep, SourceHashes, Trial};

/// `assignment.json`: everything that a worker needs to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    pub trial: Trial,
    pub attempt: u32,
    pub slot: Slot,
    /// The device of the slot, by the number under which the worker sees it.
    pub device: Device,
    pub checkpoint_every: CheckpointEvery,
    pub keep: Keep,
    /// Whether to keep the weights of the best evaluation.
    #[serde(default)]
    pub keep_weights: bool,
    /// Target size of a micro-batch in tokens on an accelerator. None: that of the CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch_tokens: Option<usize>,
    /// How often micro-batches are halved to save memory.
    #[serde(default)]
    pub micro_batch_splits: u32,
    /// Train to the last step: no early stopping.
    #[serde(default)]
    pub ignores_stop_rules: bool,
    /// The content hashes behind the id of the trial. None: they are not compared (for toys).
    #[serde(default)]
    pub sources: Option<SourceHashes>,
    /// For a fork: the file of the training state to start from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<PathBuf>,
    /// Folder of [`super::Blobs`].
    pub cache: PathBuf,
    /// Commit of the repository around the working directory.
    pub git_commit: Option<String>,
    /// Number of parameters of the model, for estimates by later runs.
    pub parameters: Option<u64>,
}

impl TrialDir {
    /// Creates the folder of the next attempt, counting from `first`. The process that creates it owns the attempt.
    pub fn claim(&self, first: u32) -> Result<AttemptDir, StoreError> {
        self.check_folders()?;
        let attempts = self.attempts();
        disk::create_folders(&attempts).map_err(StoreError::at(&attempts))?;
        for number in first..u32::MAX {
            let attempt = self.attempt(number);
            match disk::create_folder(attempt.path()) {
                Ok(()) => return Ok(attempt),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(StoreError::at(attempt.path())(error)),
            }
        }
        Err(StoreError::damaged(&attempts, "no number is left for another attempt"))
    }

    /// The number of the newest attempt. None before the first one.
    #[must_use]
    pub fn newest_attempt(&self) -> Option<u32> {
        disk::names(&self.attempts()).iter().filter_map(|name| name.parse().ok()).max()
    }
}

impl AttemptDir {
    pub fn assign(&self, assignment: &Assignment) -> Result<(), StoreError> {
        self.write_soon(&self.assignment_file(), assignment)
    }

    /// What this attempt has to do. The file stands before a worker starts.
    ///
    /// # Errors
    /// [`StoreError::Vanished`] if it is gone: another attempt gets another one.
    pub fn assignment(&self) -> Result<Assignment, StoreError> {
        self.check_folders()?;
        let path = self.assignment_file();
        atomic::read_json(&path)?.ok_or(StoreError::Vanished { path })
    }

    /// Asks the worker to save its training state and to publish an outcome.
    pub fn request_stop(&self, request: &StopRequest) -> Result<(), StoreError> {
        self.write_soon(&self.stop_file(), request)
    }

    /// Why and when the trial should stop, if the parent asked for it.
    #[must_use]
    pub fn stop_request(&self) -> Option<StopRequest> {
        self.read(&self.stop_file())
    }

    /// Asks the worker to save its training state and end.
    pub fn request_interrupt(&self) -> Result<(), StoreError> {
        self.write_soon(&self.interrupt_file(), &"end")
    }

    /// Lists the folders of the attempt once, and says what was asked of its worker.
    #[must_use]
    pub fn requests(&self) -> Requests {
        let names = disk::names(self.path());
        let has = |path: PathBuf| names.iter().any(|name| path.file_name() == Some(name.as_ref()));
        Requests {
            stop: if has(self.stop_file()) { self.stop_request() } else { None },
            is_interrupted: has(self.interrupt_file()) || self.is_superseded(),
        }
    }

    /// Claims the start of this attempt, or of the next one if the same job has begun this one before. Only one process of all
    /// that try wins an attempt, also where locks of other hosts are not seen.
    pub fn start(&self, handle: &Handle) -> Result<Start, StoreError> {
        self.check_folders()?;
        let trial = self.trial();
        let mut attempt = self.clone();
        loop {
            let is_newest = !attempt.is_superseded();
            let path = attempt.started_file();
            match attempt.started() {
                None if !is_newest => return Ok(Start::Superseded),
                None => match disk::create_new(&path) {
                    Ok(mut file) => {
                        let document = atomic::to_json(&path, handle)?;
                        disk::write(&mut file, &document).map_err(StoreError::at(&path))?;
                        return Ok(Start::Won(attempt));
                    }
                    // The winner may not have written its name yet.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => std::thread::sleep(MOMENT),
                    Err(error) => return Err(StoreError::at(&path)(error)),
                },
                Some(winner) if winner.job.is_none() || winner.job != handle.job => return Ok(Start::Taken(winner)),
                // The cluster has started this job again.
                Some(_) => {
                    let next = trial.attempt(attempt.number().saturating_add(1));
                    if is_newest {
                        let assignment = Assignment { attempt: next.number(), ..attempt.assignment()? };
                        match disk::create_folder(next.path()) {
                            Ok(()) => next.assign(&assignment)?,
                            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Start::Superseded),
                            Err(error) => return Err(StoreError::at(next.path())(error)),
                        }
                    } else if next.started().is_none() {
                        return Ok(Start::Superseded);
                    }
                    attempt = next;
                }
            }
        }
    }

    /// The process that has claimed the start of this attempt, if it was not started by the parent itself.
    #[must_use]
    pub fn started(&self) -> Option<Handle> {
        self.read(&self.started_file())
    }

    /// Opens the file of heartbeats.
    pub fn heart(&self) -> Result<Heart, StoreError> {
        let path = self.heartbeat_file();
        let file = disk::open_to_write(&path).map_err(StoreError::at(&path))?;
        Ok(Heart { file, beats: 0 })
    }

    /// The newest heartbeat. It says nothing by itself: the worker lives if it changes.
    #[must_use]
    pub fn heartbeat(&self) -> Option<u64> {
        let bytes = atomic::read(&self.heartbeat_file()).ok().flatten()?;
        String::from_utf8(bytes).ok()?.trim().parse().ok()
    }

    /// Opens the file for the output of the worker.
    pub fn open_log(&self) -> Result<File, StoreError> {
        self.check_folders()?;
        let path = self.log();
        disk::open_to_append(&path).map_err(StoreError::at(&path))
    }

    /// The last `lines` lines of the log, oldest first. Lines that cannot be read are left out.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> Vec<String> {
        if self.check_folders().is_err() { Vec::new() } else { disk::tail(&self.log(), lines) }
    }

    /// The message and the place of the worker's last panic. A backtrace may have pushed them out of the last lines.
    #[must_use]
    pub fn panic_message(&self) -> Option<String> {
        let end = self.end_of_log();
        let (place, rest) = end.rsplit_once(" panicked at ")?.1.split_once('\n')?;
        let message = rest.lines().next().unwrap_or_default().trim();
        Some(format!("panicked: {message} ({})", place.trim_end().trim_end_matches(':')))
    }

    fn end_of_log(&self) -> String {
        if self.check_folders().is_err() { String::new() } else { disk::end(&self.log()) }
    }

    /// Leaves the reason of a failure for the parent.
    pub fn fail(&self, failure: &Failure) -> Result<(), StoreError> {
        self.write_soon(&self.failure_file(), failure)
    }

    /// The reason that the worker left, if it could.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.read(&self.failure_file())
    }

    /// A document of the attempt. None also if it cannot be read, or only through a link.
    fn read<T: DeserializeOwned>(&self, path: &Path) -> Option<T> {
        self.check_folders().ok()?;
        atomic::read_json(path).ok().flatten()
    }

    /// Replaces a document of the attempt, but not through a link.
    fn write_soon<T: Serialize>(&self, path: &Path, value: &T) -> Result<(), StoreError> {
        atomic::write_soon_if(path, &atomic::to_json(path, value)?, &|| self.check_folders())
    }

    /// Whether a later attempt at the trial was claimed: then this attempt must stop.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.trial().newest_attempt().is_some_and(|newest| newest > self.number())
    }

    /// Fails if a later attempt was claimed.
    pub fn check_newest(&self) -> Result<(), StoreError> {
        if self.is_superseded() { Err(StoreError::Superseded { path: self.path().to_owned() }) } else { Ok(()) }
    }
}

/// How long the winner of a claim takes to write its name.
const MOMENT: Duration = Duration::from_millis(20);

/// A trial should end before its last step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequest {
    pub reason: String,
    /// Not before this step, at which the trial was judged: an attempt that begins again from an earlier one trains to it, so that
    /// what was measured there is measured again.
    pub step: u64,
}

impl From<&StopJudgement> for StopRequest {
    fn from(judgement: &StopJudgement) -> Self {
        Self { reason: judgement.to_string(), step: judgement.step }
    }
}

/// What was asked of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requests {
    /// Whether the trial should stop and publish its outcome.
    pub stop: Option<StopRequest>,
    /// Whether to save the training state and end: it was asked for, or a later attempt was claimed.
    pub is_interrupted: bool,
}

/// What became of the claim of a start.
#[derive(Debug)]
pub enum Start {
    /// This process trains the attempt.
    Won(AttemptDir),
    /// Another job trains the attempt.
    Taken(Handle),
    /// A later attempt was claimed.
    Superseded,
}

/// Shows that a worker lives, by one write for each beat.
#[derive(Debug)]
pub struct Heart {
    file: File,
    beats: u64,
}

impl Heart {
    pub fn beat(&mut self) {
        self.beats += 1;
        // A heartbeat that cannot be written is no reason to stop.
        let _ = disk::write_at_start(&self.file, format!("{:010}\n", self.beats).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::Results;
    use crate::trial::TrialId;

    fn trial(folder: &Path) -> TrialDir {
        Results::new(folder).unwrap().sweep("s").unwrap().trial(&TrialId::parse("0123456789ab").unwrap())
    }

    #[test]
    fn every_claim_is_a_new_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let trial = trial(folder.path());
        let numbers: Vec<_> = (0..3).map(|_| trial.claim(1).unwrap().number()).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert!(trial.attempt(2).is_superseded() && !trial.attempt(3).is_superseded());
    }

    #[test]
    fn documents_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let attempt = trial(folder.path()).claim(1).unwrap();
        assert_eq!(attempt.failure(), None);
        assert!(matches!(attempt.assignment(), Err(StoreError::Vanished { .. })));
        let request = StopRequest { reason: "worse than others".into(), step: 20 };
        assert_eq!(attempt.stop_request(), None);
        attempt.request_stop(&request).unwrap();
        assert_eq!((attempt.requests().stop, attempt.stop_request()), (Some(request.clone()), Some(request)));
        attempt.fail(&Failure::Disk { message: "full".into() }).unwrap();
        assert_eq!(attempt.failure(), Some(Failure::Disk { message: "full".into() }));
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let attempt = trial(folder.path()).claim(1).unwrap();
        assert!(attempt.log_tail(3).is_empty());
        let lines: Vec<_> = (0..9999).map(|n| format!("line {n}\n\n")).collect();
        fs::write(attempt.log(), lines.concat()).unwrap();
        assert_eq!(attempt.log_tail(2), ["line 9997", "line 9998"]);
        assert_eq!(attempt.panic_message(), None);
        let panic = "thread 'main' (7) panicked at src/a.rs:3:5:\nout of range\nnote: run with\n";
        fs::write(attempt.log(), panic).unwrap();
        assert_eq!(attempt.panic_message().unwrap(), "panicked: out of range (src/a.rs:3:5)");
    }
}
