//! `batches/`: what is submitted to a cluster in one go.
//!
//! The document of a batch is on the disk before its jobs are submitted: a job learns from it which attempts it trains. A job script
//! writes `<name>/<index>.log` and `<name>/<index>.exit`. If several attempts share the job, `<name>/<index>.<trial>.exit` tells how the
//! worker of each has ended.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::paths::BatchDir;
use super::{AttemptDir, RunDir, StoreError, atomic, disk};
use crate::trial::TrialId;

/// `batches/<name>.json`: what is submitted together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchDocument {
    /// At most so many attempts of a job run side by side.
    pub pack: usize,
    /// The attempts of each job, by the index of the job, in the order in which they start.
    pub jobs: Vec<Vec<BatchEntry>>,
}

/// An attempt of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchEntry {
    pub trial: TrialId,
    pub attempt: u32,
    /// The step of the newest checkpoint when the batch was written.
    pub checkpoint: Option<u64>,
}

/// How a job script or a worker of a shared job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScriptEnd {
    pub code: i32,
    /// How often the cluster had started the job before.
    pub restart: u32,
}

impl RunDir {
    /// Writes the next batch of this sweep. `prefix`: the start of its name.
    pub fn write_batch(&self, prefix: &str, document: &BatchDocument) -> Result<BatchDir, StoreError> {
        self.check_own_folders()?;
        let folder = self.batches();
        disk::create_folders(&folder).map_err(StoreError::at(&folder))?;
        let numbers = disk::names(&folder).into_iter().filter_map(|name| {
            name.strip_prefix(prefix)?.strip_suffix(".json")?.strip_prefix('-')?.parse::<u32>().ok()
        });
        let batch = self.batch(&format!("{prefix}-{}", numbers.max().map_or(1, |last| last.saturating_add(1))));
        disk::create_folders(&batch.folder()).map_err(StoreError::at(&batch.folder()))?;
        let path = batch.document();
        self.write(&path, &atomic::to_json(&path, document)?)?;
        Ok(batch)
    }

    /// The file that a job must leave to show that its node sees this folder.
    pub fn probe_trace(&self, name: &str) -> Result<PathBuf, StoreError> {
        self.check_own_folders()?;
        let folder = self.batches();
        disk::create_folders(&folder).map_err(StoreError::at(&folder))?;
        Ok(folder.join(format!("{name}.seen")))
    }

    /// What the job has left, if it has. The file is removed.
    #[must_use]
    pub fn take_probe_trace(&self, trace: &Path) -> Option<String> {
        // A listing makes a network file system look anew.
        let name = trace.file_name()?.to_str()?;
        disk::names(&self.batches()).iter().find(|found| *found == name)?;
        let text = String::from_utf8(atomic::read(trace).ok().flatten()?).ok()?;
        let text = text.ends_with("end\n").then_some(text)?;
        let _ = std::fs::remove_file(trace);
        Some(text)
    }

    /// Asks the process that runs this sweep, if one does, to end it.
    pub fn request_end(&self) -> Result<(), StoreError> {
        let path = self.end_file();
        atomic::write_soon_if(&path, &atomic::to_json(&path, &super::host())?, &|| self.check_own_folders())
    }

    /// Whether another process has asked for the end of this run. The request is removed.
    #[must_use]
    pub fn take_end_request(&self) -> bool {
        std::fs::remove_file(self.end_file()).is_ok()
    }
}

impl BatchDir {
    /// The attempts of this batch.
    pub fn read(&self) -> Result<BatchDocument, StoreError> {
        let path = self.document();
        atomic::read_json(&path)?.ok_or_else(|| StoreError::damaged(&path, "there is no such batch"))
    }

    /// The folders of the attempts of the job with this index, and how many of them run side by side.
    pub fn attempts(&self, index: u32) -> Result<(Vec<AttemptDir>, usize), StoreError> {
        let BatchDocument { pack, jobs } = self.read()?;
        let missing = || StoreError::damaged(&self.document(), format!("it has no index {index}"));
        let entries = jobs.into_iter().nth(index as usize).ok_or_else(missing)?;
        let sweep = self.sweep();
        Ok((entries.iter().map(|entry| sweep.trial(&entry.trial).attempt(entry.attempt)).collect(), pack))
    }

    /// How the job script of `index` ended the last time. None before its first end.
    #[must_use]
    pub fn script_end(&self, index: u32) -> Option<ScriptEnd> {
        ScriptEnd::read(&self.exit_file(index))
    }

    /// How the worker of a trial that shares the job `index` with others ended the last time.
    #[must_use]
    pub fn worker_end(&self, index: u32, trial: &TrialId) -> Option<ScriptEnd> {
        ScriptEnd::read(&self.shared_exit_file(index, trial))
    }

    /// Notes how the worker of a trial has ended that shares the job `index` with others.
    pub fn write_worker_end(&self, index: u32, trial: &TrialId, end: ScriptEnd) -> Result<(), StoreError> {
        let ScriptEnd { code, restart } = end;
        let path = self.shared_exit_file(index, trial);
        atomic::write_soon_if(&path, format!("{code} {restart}\n").as_bytes(), &|| self.sweep().check_own_folders())
    }

    /// The names of the files that tell how job scripts and workers have ended.
    #[must_use]
    pub fn ends(&self) -> Vec<String> {
        let is_end = |name: &String| Path::new(name).extension().is_some_and(|extension| extension == "exit");
        disk::names(&self.folder()).into_iter().filter(is_end).collect()
    }

    /// The last lines that the job script of `index` has printed, oldest first.
    #[must_use]
    pub fn log_tail(&self, index: u32, lines: usize) -> Vec<String> {
        disk::tail(&self.log(index), lines)
    }
}

impl ScriptEnd {
    fn read(path: &Path) -> Option<Self> {
        let text = String::from_utf8(atomic::read(path).ok().flatten()?).ok()?;
        let mut words = text.split_whitespace();
        let code = words.next()?.parse().ok()?;
        Some(Self { code, restart: words.next().and_then(|word| word.parse().ok()).unwrap_or(0) })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::Results;

    #[test]
    fn batches_are_numbered_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Results::new(folder.path()).unwrap().sweep("s").unwrap();
        let entry = |attempt| BatchEntry { trial: TrialId::parse("0123456789ab").unwrap(), attempt, checkpoint: None };
        let document = |jobs| BatchDocument { pack: 2, jobs };
        let first = dir.write_batch("plateau-12ab", &document(vec![vec![entry(1)]])).unwrap();
        let second =
            dir.write_batch("plateau-12ab", &document(vec![vec![entry(2)], vec![entry(3), entry(4)]])).unwrap();
        assert_eq!([first.name(), second.name()], ["plateau-12ab-1", "plateau-12ab-2"]);
        let opened = BatchDir::open(&second.document()).unwrap();
        let (attempts, pack) = opened.attempts(1).unwrap();
        let trial = dir.trial(&entry(3).trial);
        let paths = attempts.iter().map(|attempt| attempt.path().to_owned()).collect::<Vec<_>>();
        assert_eq!((paths, pack), ([3, 4].map(|number| trial.attempt(number).path().to_owned()).to_vec(), 2));
        assert!(opened.attempts(2).is_err() && dir.batch("plateau-12ab-3").read().is_err());
        assert_eq!((opened.script_end(1), opened.worker_end(1, &entry(3).trial)), (None, None));
        fs::write(opened.folder().join("1.exit"), "130 2\n").unwrap();
        let end = ScriptEnd { code: 130, restart: 2 };
        assert_eq!((opened.script_end(1), opened.worker_end(1, &entry(3).trial)), (Some(end), None));
        opened.write_worker_end(1, &entry(3).trial, end).unwrap();
        assert_eq!(opened.worker_end(1, &entry(3).trial), Some(end));
        let mut ends = opened.ends();
        ends.sort();
        assert_eq!(ends, ["1.0123456789ab.exit", "1.exit"]);
        assert!(!dir.take_end_request());
        dir.request_end().unwrap();
        assert!(dir.take_end_request() && !dir.take_end_request());
    }
}
