//! The cost of earlier trials on this machine, for estimates of the next ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Results, TrialDir, TrialRecord, host};
use crate::trial::Outcome;

/// A trial that ended on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedTrial {
    pub record: TrialRecord,
    pub outcome: Outcome,
}

impl Results {
    /// At most `limit` trials of all sweeps that ended on this machine, newest first. Trials that cannot be read are left
    /// out: an estimate does not need them.
    #[must_use]
    pub fn history(&self, limit: usize) -> Vec<EndedTrial> {
        let mut ended: Vec<(SystemTime, PathBuf)> = folders(self.path())
            .flat_map(|sweep| folders(&sweep.join("trials")))
            .filter_map(|trial| {
                let ended = fs::metadata(TrialDir::new(trial.clone()).outcome_file()).ok()?.modified().ok()?;
                Some((ended, trial))
            })
            .collect();
        ended.sort_unstable_by(|one, other| other.cmp(one));
        let here = host();
        ended
            .into_iter()
            .filter_map(|(_, path)| {
                let trial = TrialDir::new(path);
                let record = trial.record().ok().flatten()?;
                let outcome = trial.outcome().ok().flatten()?;
                (record.made_by.host == here).then_some(EndedTrial { record, outcome })
            })
            .take(limit)
            .collect()
    }
}

fn folders(parent: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    // A link to a folder is none.
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}
