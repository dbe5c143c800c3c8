//! `batches/`: what is submitted to a cluster in one go.
//!
//! The document of a batch is on the disk before its jobs are submitted: a job learns from it which attempt it is. Job scripts
//! write `<name>/<index>.log` and `<name>/<index>.exit`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::paths::BatchDir;
use super::{AttemptDir, RunDir, StoreError, atomic, disk};
use crate::trial::TrialId;

/// An attempt of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchEntry {
    pub trial: TrialId,
    pub attempt: u32,
    /// The step of the newest checkpoint when the batch was written.
    pub checkpoint: Option<u64>,
}

/// How a job script ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScriptEnd {
    pub code: i32,
    /// How often the cluster had started the job before.
    pub restart: u32,
}

impl RunDir {
    /// Writes the next batch of this sweep, with one index for each of `entries`. `prefix`: the start of its name.
    pub fn write_batch(&self, prefix: &str, entries: &[BatchEntry]) -> Result<BatchDir, StoreError> {
        self.check_own_folders()?;
        let folder = self.batches();
        disk::create_folders(&folder).map_err(StoreError::at(&folder))?;
        let numbers = disk::names(&folder).into_iter().filter_map(|name| {
            name.strip_prefix(prefix)?.strip_suffix(".json")?.strip_prefix('-')?.parse::<u32>().ok()
        });
        let batch = self.batch(&format!("{prefix}-{}", numbers.max().map_or(1, |last| last.saturating_add(1))));
        disk::create_folders(&batch.folder()).map_err(StoreError::at(&batch.folder()))?;
        let path = batch.document();
        atomic::write(&path, &atomic::to_json(&path, &entries)?)?;
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
        self.check_own_folders()?;
        let path = self.end_file();
        atomic::write_soon(&path, &atomic::to_json(&path, &super::host())?)
    }

    /// Whether another process has asked for the end of this run. The request is removed.
    #[must_use]
    pub fn take_end_request(&self) -> bool {
        std::fs::remove_file(self.end_file()).is_ok()
    }
}

impl BatchDir {
    /// The attempts of this batch, by index.
    pub fn entries(&self) -> Result<Vec<BatchEntry>, StoreError> {
        let path = self.document();
        atomic::read_json(&path)?.ok_or_else(|| StoreError::damaged(&path, "there is no such batch"))
    }

    /// The folder of the attempt with this index.
    pub fn attempt(&self, index: u32) -> Result<AttemptDir, StoreError> {
        let missing = || StoreError::damaged(&self.document(), format!("it has no index {index}"));
        let entry = self.entries()?.into_iter().nth(index as usize).ok_or_else(missing)?;
        Ok(self.sweep().trial(&entry.trial).attempt(entry.attempt))
    }

    /// How the job script of `index` ended the last time. None before its first end.
    #[must_use]
    pub fn script_end(&self, index: u32) -> Option<ScriptEnd> {
        let bytes = atomic::read(&self.exit_file(index)).ok().flatten()?;
        let text = String::from_utf8(bytes).ok()?;
        let mut words = text.split_whitespace();
        let code = words.next()?.parse().ok()?;
        Some(ScriptEnd { code, restart: words.next().and_then(|word| word.parse().ok()).unwrap_or(0) })
    }

    /// The last lines that the job script of `index` has printed, oldest first.
    #[must_use]
    pub fn log_tail(&self, index: u32, lines: usize) -> Vec<String> {
        disk::tail(&self.log(index), lines)
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
        let first = dir.write_batch("plateau-12ab", &[entry(1)]).unwrap();
        let second = dir.write_batch("plateau-12ab", &[entry(2), entry(3)]).unwrap();
        assert_eq!([first.name(), second.name()], ["plateau-12ab-1", "plateau-12ab-2"]);
        let opened = BatchDir::open(&second.document()).unwrap();
        assert_eq!(opened.attempt(1).unwrap().path(), dir.trial(&entry(3).trial).attempt(3).path());
        assert!(opened.attempt(2).is_err() && dir.batch("plateau-12ab-3").entries().is_err());
        assert_eq!(opened.script_end(1), None);
        fs::write(opened.folder().join("1.exit"), "130 2\n").unwrap();
        assert_eq!(opened.script_end(1), Some(ScriptEnd { code: 130, restart: 2 }));
        assert!(!dir.take_end_request());
        dir.request_end().unwrap();
        assert!(dir.take_end_request() && !dir.take_end_request());
    }
}
