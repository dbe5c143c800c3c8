//! `trials/<id>/`: what a trial was (`config.json`) and how it ended (`outcome.json`).

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{AttemptDir, RunDir, StoreError, TrialDir, atomic, disk};
use crate::trial::{Device, Outcome, Trial, TrialId};

/// `config.json`: the complete configuration, and what computed it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    #[serde(flatten)]
    pub trial: Trial,
    pub made_by: MadeBy,
}

/// What computed a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MadeBy {
    /// Of plateau.
    pub version: String,
    pub host: String,
    /// Operating system and processor family.
    pub platform: String,
    pub device: Device,
    pub threads: usize,
    /// Of the working directory's repository.
    pub git_commit: Option<String>,
    /// Of the model.
    pub parameters: Option<u64>,
    /// Times that micro-batches were halved to save memory, in this attempt or in one whose state it went on from.
    #[serde(default, alias = "halvings")]
    pub micro_batch_splits: u32,
}

impl RunDir {
    /// What lies among the folders of trials and is none, by name.
    #[must_use]
    pub fn strangers(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.trials()).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_trial = |path: &Path| {
            path.file_name().and_then(|name| name.to_str()).and_then(TrialId::parse).is_some() && path.is_dir()
        };
        let mut strangers: Vec<PathBuf> = entries.filter(|path| !is_trial(path)).collect();
        strangers.sort_unstable();
        strangers
    }
}

impl TrialDir {
    pub fn write_record(&self, record: &TrialRecord) -> Result<(), StoreError> {
        let path = self.config();
        atomic::write_soon(&path, &atomic::to_json(&path, record)?)
    }

    pub fn record(&self) -> Result<Option<TrialRecord>, StoreError> {
        atomic::read_json(&self.config())
    }

    #[must_use]
    pub fn has_outcome(&self) -> bool {
        self.outcome_file().exists()
    }

    /// How the trial ended; None if it has not.
    pub fn outcome(&self) -> Result<Option<Outcome>, StoreError> {
        atomic::read_json(&self.outcome_file())
    }

    /// Makes `outcome` the trial's, unless it has one: that one stays.
    pub fn publish(&self, attempt: &AttemptDir, outcome: &Outcome) -> Result<(), StoreError> {
        let own = attempt.outcome_file();
        atomic::write_soon(&own, &atomic::to_json(&own, outcome)?)?;
        atomic::link_once(&own, &self.outcome_file())
    }

    /// Takes an unreadable outcome out of the way, keeping it for a look.
    pub fn set_outcome_aside(&self) -> Result<(), StoreError> {
        self.move_outcome("outcome.json.damaged")
    }

    /// Takes the outcome of a stopped trial out of the way, so that it can go on.
    pub fn set_stopped_outcome_aside(&self) -> Result<(), StoreError> {
        self.move_outcome("outcome.json.stopped")
    }

    fn move_outcome(&self, name: &str) -> Result<(), StoreError> {
        let path = self.outcome_file();
        disk::rename(&path, &self.path().join(name)).map_err(StoreError::at(&path))
    }
}
