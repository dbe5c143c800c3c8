//! The paths of all files below `results/`. No other module joins path names there.

use std::path::{Path, PathBuf};

use super::folders::{FOLDERS_ABOVE_TRIAL, check_all, check_within};
use super::{Blobs, Checkpoints, StoreError, atomic};
use crate::trial::TrialId;

/// The file that the worker of a trial locks.
pub(super) const WRITER_LOCK: &str = ".writer";

/// The folder of all sweeps: `results`, or the folder given by `--results`.
#[derive(Debug, Clone)]
pub struct Results {
    root: PathBuf,
    cache: PathBuf,
}

impl Results {
    /// A relative `root` starts from the current working directory, also if that changes later.
    pub fn new(root: &Path) -> Result<Self, StoreError> {
        let root = std::path::absolute(root).map_err(StoreError::at(root))?;
        Ok(Self { cache: root.join(".cache"), root })
    }

    /// The folder of a sweep as a folder of sweeps, for [`RunDir::probes`]. The cache stays where it is.
    #[must_use]
    pub fn within(&self, dir: &RunDir) -> Self {
        Self { root: dir.root.clone(), cache: self.cache.clone() }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The folder of the sweep `name`, which need not exist.
    ///
    /// # Errors
    /// A name that is no plain file name, because nothing is written outside `results`. A folder in it that is a symbolic
    /// link, see [`RunDir::check_folders`].
    pub fn sweep(&self, name: &str) -> Result<RunDir, StoreError> {
        let dir = self.unchecked(name)?;
        dir.check_folders()?;
        Ok(dir)
    }

    fn unchecked(&self, name: &str) -> Result<RunDir, StoreError> {
        let plain = !name.is_empty()
            && !name.starts_with('.')
            && !name.contains(['/', '\\'])
            && !name.contains(char::is_control);
        if !plain || name.len() > 200 {
            return Err(StoreError::Name { name: name.to_owned() });
        }
        Ok(RunDir { root: self.root.join(name) })
    }

    /// Names of the sweeps with a journal, without archived ones.
    #[must_use]
    pub fn sweeps(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let has_run = |name: &String| {
            !name.contains(".archived-") && self.unchecked(name).is_ok_and(|dir| dir.journal().exists())
        };
        let mut names: Vec<String> = names.filter(has_run).collect();
        names.sort_unstable();
        names
    }

    /// The cache that all sweeps share.
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

    /// What the sweep was made from, so that it can be shown when its sources are gone.
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

    /// The result of the learning-rate range test.
    #[must_use]
    pub fn lr_find(&self) -> PathBuf {
        self.root.join("lr-find")
    }

    /// The sub-folder of the sweep's probes. It has the form of a sweep folder.
    #[must_use]
    pub fn probes(&self) -> Self {
        Self { root: self.root.join(Self::PROBES) }
    }

    /// In the folder of probes: the list of probes.
    pub(super) fn probe_list(&self) -> PathBuf {
        self.root.join("probed.json")
    }

    /// In the folder of probes: the training state of `trial` after `step` steps, from which probes start.
    #[must_use]
    pub fn start(&self, trial: &TrialId, step: u64) -> PathBuf {
        self.starts().join(format!("{trial}-{step}.safetensors"))
    }

    fn starts(&self) -> PathBuf {
        self.root.join("starts")
    }

    /// Fails if a folder of the sweep, of one of its trials or of its probes is a symbolic link or no folder: nothing is read
    /// or written through links.
    pub fn check_folders(&self) -> Result<(), StoreError> {
        self.check_own_folders()?;
        self.check_trials()?;
        // Probes have no probes.
        let probes = self.probes();
        probes.check_own_folders()?;
        probes.check_trials()
    }

    /// As [`Self::check_folders`], without the folders of trials.
    pub fn check_own_folders(&self) -> Result<(), StoreError> {
        check_all(&[&self.root, &self.trials(), &self.batches(), &self.report(), &self.lr_find(), &self.starts()])?;
        // A file in this place only keeps the tracker from writing, which the tracker reports.
        let events = self.tensorboard();
        if events.is_symlink() { check_all(&[&events]) } else { Ok(()) }
    }

    /// Replaces a file of the sweep, durably, unless one of its own folders is a symbolic link or no folder. Creates missing folders.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        atomic::write_if(path, bytes, &|| self.check_own_folders())
    }

    fn check_trials(&self) -> Result<(), StoreError> {
        for entry in std::fs::read_dir(self.trials()).into_iter().flatten().flatten() {
            if let Some(id) = entry.file_name().to_str().and_then(TrialId::parse) {
                self.trial(&id).check_folders()?;
            }
        }
        Ok(())
    }

    pub(super) fn lock_file(&self) -> PathBuf {
        self.root.join(".lock")
    }

    /// The request of another process to end the run.
    pub(super) fn end_file(&self) -> PathBuf {
        self.root.join("end.json")
    }

    pub(super) fn batches(&self) -> PathBuf {
        self.root.join("batches")
    }

    /// The batch `name` of this sweep.
    #[must_use]
    pub fn batch(&self, name: &str) -> BatchDir {
        BatchDir { root: self.batches(), name: name.to_owned() }
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
    /// `root`: any folder of a trial.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The trial whose folder this is. None for a folder of another name.
    #[must_use]
    pub fn id(&self) -> Option<TrialId> {
        TrialId::parse(self.root.file_name()?.to_str()?)
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
    pub(super) fn best_evaluation_file(&self) -> PathBuf {
        self.root.join("best_evaluation.json")
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

    /// Fails if a folder of the trial, or one above it within the sweep, is a symbolic link or no folder.
    pub fn check_folders(&self) -> Result<(), StoreError> {
        check_within(&self.root, FOLDERS_ABOVE_TRIAL)?;
        check_all(&[&self.attempts(), &self.root.join("checkpoint")])
    }

    pub(super) fn attempts(&self) -> PathBuf {
        self.root.join("attempts")
    }

    pub(super) fn writer_lock(&self) -> PathBuf {
        self.root.join(WRITER_LOCK)
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
    /// The folder that a worker was started with. None if the path does not have the form `.../attempts/<n>`.
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

    /// The trial of this attempt.
    #[must_use]
    pub fn trial(&self) -> TrialDir {
        TrialDir::new(self.root.parent().and_then(Path::parent).unwrap_or(&self.root).to_owned())
    }

    /// Fails if the folder of the attempt or one above it within the sweep is a symbolic link or no folder.
    pub(super) fn check_folders(&self) -> Result<(), StoreError> {
        self.trial().check_folders()?;
        check_all(&[&self.root])
    }

    pub(super) fn assignment_file(&self) -> PathBuf {
        self.root.join("assignment.json")
    }

    /// The parent's request to stop before the last step.
    pub(super) fn stop_file(&self) -> PathBuf {
        self.root.join("stop.json")
    }

    /// The request to save the training state and end.
    pub(super) fn interrupt_file(&self) -> PathBuf {
        self.root.join("interrupt.json")
    }

    /// Created by the process that trains, if it was not started by the parent itself.
    pub(super) fn started_file(&self) -> PathBuf {
        self.root.join("started.json")
    }

    pub(super) fn heartbeat_file(&self) -> PathBuf {
        self.root.join("heartbeat")
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

    /// The attempt's own file of a curve of the trial.
    pub(super) fn own(&self, curve: &Path) -> PathBuf {
        self.root.join(curve.file_name().unwrap_or_default())
    }
}

/// `batches/<name>.json` and its siblings: attempts that are submitted to a cluster together. Each has an index in the batch.
#[derive(Debug, Clone)]
pub struct BatchDir {
    root: PathBuf,
    name: String,
}

impl BatchDir {
    /// The batch whose document is at `path`. None if the path does not have the form `.../<sweep>/batches/<name>.json`.
    #[must_use]
    pub fn open(path: &Path) -> Option<Self> {
        let name = path.file_stem()?.to_str()?.to_owned();
        path.parent()?.parent()?;
        Some(Self { root: path.parent()?.to_owned(), name })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sweep of this batch.
    #[must_use]
    pub fn sweep(&self) -> RunDir {
        RunDir { root: self.root.parent().unwrap_or(&self.root).to_owned() }
    }

    /// Which attempt has which index.
    #[must_use]
    pub fn document(&self) -> PathBuf {
        self.root.join(format!("{}.json", self.name))
    }

    /// A folder for what the job script of each index leaves.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// The output of the job script of an index.
    #[must_use]
    pub fn log(&self, index: u32) -> PathBuf {
        self.folder().join(format!("{index}.log"))
    }

    /// The last exit code of the job script of an index.
    pub(super) fn exit_file(&self, index: u32) -> PathBuf {
        self.folder().join(format!("{index}.exit"))
    }

    /// The last exit code of a worker that shares its job with others.
    pub(super) fn shared_exit_file(&self, index: u32, trial: &TrialId) -> PathBuf {
        self.folder().join(format!("{index}.{trial}.exit"))
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
