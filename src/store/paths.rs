//! Where everything is. No other module joins path names under `results/`.

use std::path::{Path, PathBuf};

use super::{Blobs, Checkpoints, StoreError};
use crate::trial::TrialId;

/// The folder that holds all sweeps, `results` unless told otherwise.
#[derive(Debug, Clone)]
pub struct Results {
    root: PathBuf,
    cache: PathBuf,
}

impl Results {
    /// Relative to the working directory, which is looked at once, here.
    pub fn new(root: &Path) -> Result<Self, StoreError> {
        let root = std::path::absolute(root).map_err(StoreError::at(root))?;
        Ok(Self { cache: root.join(".cache"), root })
    }

    /// The folder of a sweep as one that holds sweeps, for [`RunDir::probes`]. What is shared stays where it is.
    #[must_use]
    pub fn within(&self, dir: &RunDir) -> Self {
        Self { root: dir.root.clone(), cache: self.cache.clone() }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The folder of the sweep called `name`, which must be a plain file name: nothing is ever written outside `results`.
    pub fn sweep(&self, name: &str) -> Result<RunDir, StoreError> {
        let plain = !name.is_empty()
            && !name.starts_with('.')
            && !name.contains(['/', '\\'])
            && !name.contains(char::is_control);
        if !plain || name.len() > 200 {
            return Err(StoreError::Name { name: name.to_owned() });
        }
        Ok(RunDir { root: self.root.join(name) })
    }

    /// Names of the sweeps that were run here, archived ones left out.
    #[must_use]
    pub fn sweeps(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let ran =
            |name: &String| !name.contains(".archived-") && self.sweep(name).is_ok_and(|dir| dir.journal().is_file());
        let mut names: Vec<String> = names.filter(ran).collect();
        names.sort_unstable();
        names
    }

    /// What is expensive to make and shared by all sweeps.
    #[must_use]
    pub fn cache(&self) -> Blobs {
        Blobs::new(self.cache.clone())
    }
}

/// `results/<name>/`: one sweep.
#[derive(Debug, Clone)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// Name of [`RunDir::probes`] within the sweep.
    pub const PROBES: &'static str = "probes";

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The sweep as run, defaults filled in.
    #[must_use]
    pub fn sweep_yaml(&self) -> PathBuf {
        self.root.join("sweep.yaml")
    }

    /// What the sweep was made from, for a look at it when its sources are gone.
    #[must_use]
    pub fn origin(&self) -> PathBuf {
        self.root.join(".origin.json")
    }

    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal.jsonl")
    }

    #[must_use]
    pub fn trials_csv(&self) -> PathBuf {
        self.root.join("trials.csv")
    }

    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.root.join("report")
    }

    /// Event files for TensorBoard, a folder for each trial.
    #[must_use]
    pub fn tensorboard(&self) -> PathBuf {
        self.root.join("tensorboard")
    }

    /// What the learning-rate range test found.
    #[must_use]
    pub fn lr_find(&self) -> PathBuf {
        self.root.join("lr-find")
    }

    /// The sub-folder of the sweep's probes, which is that of a sweep.
    #[must_use]
    pub fn probes(&self) -> Self {
        Self { root: self.root.join(Self::PROBES) }
    }

    /// Of the probes: what was asked.
    #[must_use]
    pub fn asked(&self) -> PathBuf {
        self.root.join("asked.json")
    }

    /// Of the probes: the state of `trial` after `step` steps, for those that start from it.
    #[must_use]
    pub fn start(&self, trial: &TrialId, step: u64) -> PathBuf {
        self.root.join("starts").join(format!("{trial}-{step}.safetensors"))
    }

    pub(super) fn lock_file(&self) -> PathBuf {
        self.root.join(".lock")
    }

    #[must_use]
    pub fn trials(&self) -> PathBuf {
        self.root.join("trials")
    }

    #[must_use]
    pub fn trial(&self, id: &TrialId) -> TrialDir {
        TrialDir { root: self.trials().join(id.as_str()) }
    }
}

/// `trials/<id>/`: one trial.
#[derive(Debug, Clone)]
pub struct TrialDir {
    root: PathBuf,
}

impl TrialDir {
    /// `root`: wherever such a folder lies.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("config.json")
    }

    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.csv")
    }

    #[must_use]
    pub fn evals(&self) -> PathBuf {
        self.root.join("evals.csv")
    }

    #[must_use]
    pub fn diagnostics(&self) -> PathBuf {
        self.root.join("diagnostics.csv")
    }

    #[must_use]
    pub fn outcome_file(&self) -> PathBuf {
        self.root.join("outcome.json")
    }

    #[must_use]
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.root.join("checkpoint"))
    }

    pub(super) fn attempts(&self) -> PathBuf {
        self.root.join("attempts")
    }

    pub(super) fn writer_lock(&self) -> PathBuf {
        self.root.join(".writer")
    }

    #[must_use]
    pub fn attempt(&self, number: u32) -> AttemptDir {
        AttemptDir { root: self.attempts().join(number.to_string()), number }
    }
}

/// `attempts/<n>/`: one start of a trial.
#[derive(Debug, Clone)]
pub struct AttemptDir {
    root: PathBuf,
    number: u32,
}

impl AttemptDir {
    /// The folder that a worker was started with; None if the path has not the form `.../attempts/<n>`.
    #[must_use]
    pub fn open(path: &Path) -> Option<Self> {
        let number = path.file_name()?.to_str()?.parse().ok()?;
        path.parent()?.parent()?;
        Some(Self { root: path.to_owned(), number })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The trial that this is an attempt at.
    #[must_use]
    pub fn trial(&self) -> TrialDir {
        TrialDir::new(self.root.parent().and_then(Path::parent).unwrap_or(&self.root).to_owned())
    }

    pub(super) fn assignment_file(&self) -> PathBuf {
        self.root.join("assignment.json")
    }

    pub(super) fn heartbeat_file(&self) -> PathBuf {
        self.root.join("heartbeat")
    }

    /// The parent's word that the trial is to end before its last step.
    pub(super) fn ending_file(&self) -> PathBuf {
        self.root.join("ending.json")
    }

    pub(super) fn failure_file(&self) -> PathBuf {
        self.root.join("failure.json")
    }

    pub(super) fn outcome_file(&self) -> PathBuf {
        self.root.join("outcome.json")
    }

    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_the_results_folder() {
        let results = Results::new(Path::new("/r")).unwrap();
        for name in ["", ".", "..", "../x", "a/b", "/etc", ".cache", "a\\b", "a\nb"] {
            assert!(results.sweep(name).is_err(), "{name:?}");
        }
        assert_eq!(results.sweep("lr-grid v1.2").unwrap().path(), Path::new("/r/lr-grid v1.2"));
    }

    #[test]
    fn an_attempt_knows_its_trial() {
        let attempt = AttemptDir::open(Path::new("/r/s/trials/0123456789ab/attempts/3")).unwrap();
        assert_eq!(attempt.number(), 3);
        assert_eq!(attempt.trial().outcome_file(), Path::new("/r/s/trials/0123456789ab/outcome.json"));
        assert!(AttemptDir::open(Path::new("/r/s/trials/0123456789ab/attempts/x")).is_none());
    }
}
