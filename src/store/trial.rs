//! `trials/<id>/`: what a trial was (`config.json`) and how it ended (`outcome.json`).

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{AttemptDir, RunDir, StoreError, TrialDir, atomic, disk};
use crate::trial::{BestEvaluation, Device, Outcome, Trial, TrialId};

/// `config.json`: the complete configuration, and the program and machine that computed it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    #[serde(flatten)]
    pub trial: Trial,
    pub made_by: MadeBy,
}

/// The program and the machine that computed a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MadeBy {
    /// Version of plateau.
    pub version: String,
    pub host: String,
    /// Operating system and processor family.
    pub platform: String,
    pub device: Device,
    pub threads: usize,
    /// Commit of the repository around the working directory.
    pub git_commit: Option<String>,
    /// Number of parameters of the model.
    pub parameters: Option<u64>,
    /// Target size of a micro-batch in tokens, if the memory of an accelerator has determined it. Sums over other micro-batches
    /// differ in rounding, so an attempt that continues keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch_tokens: Option<usize>,
    /// How often micro-batches were halved to save memory, in this attempt or in an attempt that it continues.
    #[serde(default, alias = "halvings")]
    pub micro_batch_splits: u32,
    /// What multiplied the bf16 factors of a trial with `precision: bf16`, such as `amx_bf16`; units differ in rounding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bf16_unit: Option<String>,
}

impl RunDir {
    /// The trials that have a folder.
    #[must_use]
    pub fn trials_there(&self) -> HashSet<TrialId> {
        disk::names(&self.trials()).iter().filter_map(|name| TrialId::parse(name)).collect()
    }

    /// Entries among the folders of trials that are not trials, sorted by name.
    #[must_use]
    pub fn unknown_entries(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.trials()).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_trial = |path: &Path| {
            path.file_name().and_then(|name| name.to_str()).and_then(TrialId::parse).is_some() && path.is_dir()
        };
        let mut unknown: Vec<PathBuf> = entries.filter(|path| !is_trial(path)).collect();
        unknown.sort_unstable();
        unknown
    }
}

impl TrialDir {
    pub fn write_record(&self, record: &TrialRecord) -> Result<(), StoreError> {
        self.write_soon(&self.config(), record)
    }

    pub fn record(&self) -> Result<Option<TrialRecord>, StoreError> {
        self.read(&self.config())
    }

    /// The program and the machine of [`Self::record`]. Tables of thousands of trials need nothing else of it.
    pub fn made_by(&self) -> Result<Option<MadeBy>, StoreError> {
        #[derive(Deserialize)]
        struct Part {
            made_by: MadeBy,
        }
        Ok(self.read::<Part>(&self.config())?.map(|part| part.made_by))
    }

    /// Replaces the details of the best evaluation so far.
    pub fn write_best_evaluation(&self, best: &BestEvaluation) -> Result<(), StoreError> {
        self.write_soon(&self.best_evaluation_file(), best)
    }

    /// The details of the best evaluation; None before the first one.
    pub fn best_evaluation(&self) -> Result<Option<BestEvaluation>, StoreError> {
        self.read(&self.best_evaluation_file())
    }

    /// A file that an ended trial should have beside its outcome and its curves of losses, and has not. Something else in
    /// the place of a file is an error. `has_details`: whether the trial has left the details of its best evaluation.
    pub fn lost_file(&self, has_details: bool) -> Result<Option<PathBuf>, StoreError> {
        self.check_folders()?;
        let details = has_details.then(|| self.best_evaluation_file());
        for path in [self.config(), self.diagnostics()].into_iter().chain(details) {
            match disk::open(&path) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(path)),
                Err(error) => return Err(StoreError::at(&path)(error)),
            }
        }
        Ok(None)
    }

    /// Fails if something else than a file stands in the place of a curve.
    pub fn check_curves(&self) -> Result<(), StoreError> {
        for path in [self.metrics(), self.evals(), self.diagnostics()] {
            match disk::open(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(StoreError::at(&path)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    #[must_use]
    pub fn has_outcome(&self) -> bool {
        self.outcome_file().exists()
    }

    /// How the trial ended. None if it has no outcome yet.
    pub fn outcome(&self) -> Result<Option<Outcome>, StoreError> {
        self.read(&self.outcome_file())
    }

    /// Publishes `outcome`, unless the trial has one already.
    pub fn publish(&self, attempt: &AttemptDir, outcome: &Outcome) -> Result<(), StoreError> {
        attempt.check_folders()?;
        let own = attempt.outcome_file();
        self.write_soon(&own, outcome)?;
        atomic::link_once(&own, &self.outcome_file())
    }

    /// After its outcome is published, no other file of a curve than that of the trial is needed.
    pub fn remove_curves_of_attempts(&self) {
        let curves = [self.metrics(), self.evals(), self.diagnostics()];
        for attempt in (1..=self.newest_attempt().unwrap_or(0)).map(|number| self.attempt(number)) {
            for curve in &curves {
                // Most attempts have none.
                let _ = fs::remove_file(attempt.own(curve));
            }
        }
    }

    /// Renames a damaged outcome, so that a person can inspect it.
    pub fn set_outcome_aside(&self) -> Result<(), StoreError> {
        self.move_outcome("outcome.json.damaged")
    }

    /// Renames the outcome of a stopped trial, so that the trial can continue.
    pub fn set_stopped_outcome_aside(&self) -> Result<(), StoreError> {
        self.move_outcome("outcome.json.stopped")
    }

    /// Removes what dead processes have not finished writing.
    pub(super) fn remove_unfinished(&self) {
        disk::remove_unfinished(self.path());
        for attempt in fs::read_dir(self.attempts()).into_iter().flatten().flatten() {
            disk::remove_unfinished(&attempt.path());
        }
    }

    /// Reads a document of the trial, but not through a link.
    fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, StoreError> {
        self.check_folders()?;
        atomic::read_json(path)
    }

    /// Replaces a document of the trial, but not through a link.
    fn write_soon<T: Serialize>(&self, path: &Path, value: &T) -> Result<(), StoreError> {
        atomic::write_soon_if(path, &atomic::to_json(path, value)?, &|| self.check_folders())
    }

    fn move_outcome(&self, name: &str) -> Result<(), StoreError> {
        self.check_folders()?;
        let path = self.outcome_file();
        disk::rename(&path, &self.path().join(name)).map_err(StoreError::at(&path))
    }
}
