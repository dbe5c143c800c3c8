//! `checkpoint/`: the newest training state of a trial, its best one, and the weights of its best evaluation.
//!
//! A state is written to a file whose name holds its step and the start of its checksum. Then `newest.json` (step, size,
//! checksum) replaces the old one; from that moment the state is used. The state before it is kept until then, even if it
//! has the same step. A file that stays after the trial has its checksum beside it, in the format of `b3sum --check`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::STATE;
use super::folders::{FOLDERS_ABOVE_TRIAL, check_within};
use super::{StoreError, atomic, disk};
use crate::trial::Keep;

/// The training states of one trial.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
}

/// A training state that an attempt can continue from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedState {
    pub position: CurvePosition,
    /// A safetensors file.
    pub state: Vec<u8>,
}

/// How long the curves of a trial were when its state was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurvePosition {
    /// Optimizer steps taken, which is the number of rows of `metrics.csv`.
    pub step: u64,
    /// Rows of `evals.csv`.
    pub evals: u64,
    /// Rows of `diagnostics.csv`.
    #[serde(default)]
    pub diagnostics: u64,
}

#[derive(Serialize, Deserialize)]
struct Newest {
    #[serde(flatten)]
    position: CurvePosition,
    bytes: u64,
    blake3: String,
}

impl Checkpoints {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The state of the best evaluation by the metric, if it is kept.
    #[must_use]
    pub fn best(&self) -> PathBuf {
        self.folder.join("best.safetensors")
    }

    /// The final state, if it is kept.
    #[must_use]
    pub fn last(&self) -> PathBuf {
        self.folder.join("last.safetensors")
    }

    /// The weights of the best evaluation, without the optimizer, if they are kept.
    #[must_use]
    pub fn weights(&self) -> PathBuf {
        self.folder.join("weights.safetensors")
    }

    /// Fails if the folder or one above it within the sweep is a symbolic link or no folder.
    fn check(&self) -> Result<(), StoreError> {
        check_within(&self.folder, FOLDERS_ABOVE_TRIAL + 1)
    }

    /// Replaces a file of the folder, unless the folder has become a link.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        atomic::write_if(path, bytes, &|| self.check())
    }

    fn write_checksum(&self, kept: &Path, checksum: &str) -> Result<(), StoreError> {
        let name = kept.file_name().and_then(OsStr::to_str).unwrap_or_default();
        self.write(&checksum_file(kept), format!("{checksum}  {name}\n").as_bytes())
    }

    /// Replaces the weights of the best evaluation.
    pub fn write_weights(&self, weights: &[u8]) -> Result<(), StoreError> {
        self.check()?;
        remove_checksum(&self.weights());
        self.write(&self.weights(), weights)?;
        self.write_checksum(&self.weights(), &checksum(weights))
    }

    /// The files that hold a model of the trial, the best model first.
    #[must_use]
    pub fn models(&self) -> [PathBuf; 3] {
        [self.weights(), self.best(), self.last()]
    }

    /// Deletes all models. The newest state stays.
    pub fn remove_models(&self) -> Result<(), StoreError> {
        self.check()?;
        self.models().iter().for_each(|model| remove_kept(model));
        // Fails if the folder holds anything else, which must stay.
        let _ = fs::remove_dir(&self.folder);
        Ok(())
    }

    fn newest_file(&self) -> PathBuf {
        self.folder.join("newest.json")
    }

    fn state_file(&self, newest: &Newest) -> PathBuf {
        let (step, start) = (newest.position.step, newest.blake3.get(..8).unwrap_or_default());
        self.folder.join(format!("state-{step}-{start}.safetensors"))
    }

    /// Saves the state at `position`, and also as the best one if `best`. The caller has synced the rows up to there.
    pub fn save(&self, position: &CurvePosition, state: &[u8], best: bool) -> Result<(), StoreError> {
        self.check()?;
        let newest = Newest { position: position.clone(), bytes: state.len() as u64, blake3: checksum(state) };
        let path = self.state_file(&newest);
        self.write(&path, state)?;
        // Writing a state takes long enough for the folder to be replaced.
        self.check()?;
        if best {
            remove_checksum(&self.best());
            link_or_copy(&path, &self.best())?;
            self.write_checksum(&self.best(), &newest.blake3)?;
        }
        let document = self.newest_file();
        self.write(&document, &atomic::to_json(&document, &newest)?)?;
        self.check()?;
        self.remove_states(|name| name != path);
        Ok(())
    }

    /// The files of all states in the folder.
    #[must_use]
    pub fn kept(&self) -> Vec<PathBuf> {
        if self.check().is_err() {
            return Vec::new();
        }
        let newest = atomic::read_json::<Newest>(&self.newest_file()).ok().flatten();
        let newest = newest.map(|newest| self.state_file(&newest));
        [self.best(), self.last()].into_iter().chain(newest).filter(|path| path.is_file()).collect()
    }

    /// Renames the newest state to the final one.
    fn rename_last(&self) -> Result<(), StoreError> {
        let Ok(Some(newest)) = atomic::read_json::<Newest>(&self.newest_file()) else { return Ok(()) };
        let state = self.state_file(&newest);
        if !state.exists() {
            return Ok(());
        }
        remove_checksum(&self.last());
        disk::rename(&state, &self.last()).map_err(StoreError::at(&state))?;
        self.write_checksum(&self.last(), &newest.blake3)
    }

    /// The step of the newest state. Looks at its document only.
    #[must_use]
    pub fn newest_step(&self) -> Option<u64> {
        atomic::read_json::<Newest>(&self.newest_file()).ok().flatten().map(|newest| newest.position.step)
    }

    /// The newest complete state. A damaged state counts as none: the trial then starts over.
    pub fn newest(&self) -> Result<Option<SavedState>, StoreError> {
        self.check()?;
        disk::remove_unfinished(&self.folder);
        let newest: Newest = match atomic::read_json(&self.newest_file()) {
            Ok(Some(newest)) => newest,
            Ok(None) | Err(StoreError::Damaged { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(state) = atomic::read_up_to(&self.state_file(&newest), STATE)? else { return Ok(None) };
        let is_complete = state.len() as u64 == newest.bytes && checksum(&state) == newest.blake3;
        Ok(is_complete.then_some(SavedState { position: newest.position, state }))
    }

    /// Deletes the states that `keep` does not ask for, once the trial has ended. May be called again. If the trial has none of the
    /// models that `keep` asks for, because `keep` was another one before, its best model stays.
    pub fn prune(&self, keep: Keep) -> Result<(), StoreError> {
        self.check()?;
        if !self.folder.exists() {
            return Ok(());
        }
        if matches!(keep, Keep::Last | Keep::All) {
            self.rename_last()?;
        }
        // First the document, so that it never names a state that is gone.
        let _ = fs::remove_file(self.newest_file());
        self.remove_states(|_| true);
        let models: Vec<PathBuf> = self.models().into_iter().filter(|model| model.is_file()).collect();
        let asked = match keep {
            Keep::None => Vec::new(),
            Keep::Best => vec![self.best()],
            Keep::Last => vec![self.last()],
            Keep::All => vec![self.best(), self.last()],
            Keep::Top(_) => vec![self.weights()],
        };
        let has_asked = models.iter().any(|model| asked.contains(model));
        let stays = |at: usize| if has_asked { asked.contains(&models[at]) } else { at == 0 && keep != Keep::None };
        (0..models.len()).filter(|at| !stays(*at)).for_each(|at| remove_kept(&models[at]));
        disk::remove_unfinished(&self.folder);
        // Fails if the folder holds a state or an unknown file; both must stay.
        let _ = fs::remove_dir(&self.folder);
        Ok(())
    }

    /// Whether nothing is left for [`Self::prune`] to delete.
    #[must_use]
    pub fn is_pruned(&self) -> bool {
        let is_state = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("state-");
        let mut entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        !self.newest_file().exists() && !entries.any(|entry| is_state(&entry.file_name()))
    }

    fn remove_states(&self, doomed: impl Fn(&Path) -> bool) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if name.starts_with("state-") && name.ends_with(".safetensors") && doomed(&path) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Gives the state at `path` the second name `other`: as a hard link, or as a copy where links are impossible. The second
/// name stays valid when the first is deleted.
pub fn link_or_copy(path: &Path, other: &Path) -> Result<(), StoreError> {
    let temporary = disk::temporary_path(other);
    let folder = other.parent().unwrap_or(other);
    disk::create_folders(folder).and_then(|()| disk::check_folder(folder)).map_err(StoreError::at(folder))?;
    disk::link(path, &temporary)
        .or_else(|_| disk::copy(path, &temporary))
        .and_then(|()| disk::rename(&temporary, other))
        .map_err(StoreError::at(other))
}

/// Deletes a state that no probe starts from any more.
pub fn remove_state(path: &Path) {
    let _ = fs::remove_file(path);
    // Fails if the folder holds other states.
    let _ = path.parent().map(fs::remove_dir);
}

/// Reads a kept file of weights or states.
///
/// # Errors
/// If it cannot be read, or does not have the checksum that it was written with. A file without one was written by an earlier version,
/// or its writer was killed: it is taken as it is.
pub fn read_kept(path: &Path) -> Result<Vec<u8>, StoreError> {
    let bytes = disk::read_state(path).map_err(StoreError::at(path))?;
    let document = checksum_file(path);
    let written = atomic::read_up_to(&document, CHECKSUM)?.unwrap_or_default();
    let known = written.get(..64).and_then(|hash| std::str::from_utf8(hash).ok());
    match known {
        Some(hash) if hash != checksum(&bytes) => {
            Err(StoreError::damaged(path, "does not have the checksum that it was written with; train the trial again"))
        }
        _ => Ok(bytes),
    }
}

/// Largest size of a checksum's file: 64 digits and a name.
const CHECKSUM: u64 = 1024;

fn checksum_file(kept: &Path) -> PathBuf {
    kept.with_added_extension("b3")
}

/// Before a kept file is replaced or removed, so that a checksum never stands beside another content.
fn remove_checksum(kept: &Path) {
    let _ = fs::remove_file(checksum_file(kept));
}

fn remove_kept(kept: &Path) {
    remove_checksum(kept);
    let _ = fs::remove_file(kept);
}

fn checksum(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: CurvePosition = CurvePosition { step: 10, evals: 3, diagnostics: 2 };
    const TWENTY: CurvePosition = CurvePosition { step: 20, evals: 5, diagnostics: 4 };

    /// The file of this state once it is saved.
    fn place(checkpoints: &Checkpoints, position: &CurvePosition, state: &[u8]) -> PathBuf {
        checkpoints.state_file(&Newest { position: position.clone(), bytes: 0, blake3: checksum(state) })
    }

    fn names(checkpoints: &Checkpoints) -> Vec<String> {
        let entries = fs::read_dir(&checkpoints.folder).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_newest_complete_state_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path().join("checkpoint"));
        assert_eq!(checkpoints.newest().unwrap(), None);
        checkpoints.save(&TEN, b"ten", true).unwrap();
        checkpoints.save(&TWENTY, b"twenty", false).unwrap();
        assert_eq!(checkpoints.newest().unwrap(), Some(SavedState { position: TWENTY, state: b"twenty".to_vec() }));
        assert_eq!(fs::read(checkpoints.best()).unwrap(), b"ten");
        let twenty = place(&checkpoints, &TWENTY, b"twenty");
        let name = twenty.file_name().unwrap().to_str().unwrap();
        assert_eq!(names(&checkpoints), ["best.safetensors", "best.safetensors.b3", "newest.json", name]);
        fs::write(&twenty, b"twent!").unwrap();
        assert_eq!(checkpoints.newest().unwrap(), None);
    }

    #[test]
    fn a_state_without_its_document_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path().join("checkpoint"));
        checkpoints.save(&TEN, b"ten", false).unwrap();
        for (position, state) in [(TWENTY, b"twenty".as_slice()), (TEN, b"another ten")] {
            fs::write(place(&checkpoints, &position, state), state).unwrap();
            assert_eq!(checkpoints.newest().unwrap(), Some(SavedState { position: TEN, state: b"ten".to_vec() }));
        }
    }

    #[test]
    fn the_states_that_keep_asks_for_stay() {
        for (keep, expected) in [
            (Keep::None, vec![]),
            (Keep::Best, vec!["best.safetensors"]),
            (Keep::Last, vec!["last.safetensors"]),
            (Keep::All, vec!["best.safetensors", "last.safetensors"]),
            (Keep::WINNER, vec!["weights.safetensors"]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let checkpoints = Checkpoints::new(folder.path().join("checkpoint"));
            checkpoints.save(&TEN, b"ten", true).unwrap();
            checkpoints.save(&TWENTY, b"twenty", false).unwrap();
            checkpoints.write_weights(b"weights").unwrap();
            assert!(!checkpoints.is_pruned());
            for _ in 0..2 {
                checkpoints.prune(keep).unwrap();
                assert!(checkpoints.is_pruned());
                let both = expected.iter().flat_map(|name| [(*name).to_owned(), format!("{name}.b3")]);
                assert_eq!(names(&checkpoints), both.collect::<Vec<_>>(), "{keep:?}");
            }
            assert_eq!(checkpoints.folder.exists(), !expected.is_empty());
        }
    }

    #[test]
    fn another_keep_leaves_the_only_model() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path().join("checkpoint"));
        checkpoints.save(&TEN, b"ten", true).unwrap();
        checkpoints.save(&TWENTY, b"twenty", false).unwrap();
        checkpoints.prune(Keep::All).unwrap();
        checkpoints.prune(Keep::WINNER).unwrap();
        assert_eq!(names(&checkpoints), ["best.safetensors", "best.safetensors.b3"], "the better of two");
        for keep in [Keep::WINNER, Keep::Best, Keep::Last, Keep::All] {
            checkpoints.prune(keep).unwrap();
            assert_eq!(fs::read(checkpoints.best()).unwrap(), b"ten", "{keep:?}");
        }
        checkpoints.prune(Keep::None).unwrap();
        assert!(!checkpoints.folder.exists());
    }

    #[test]
    fn kept_weights_with_another_content_are_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path().join("checkpoint"));
        checkpoints.write_weights(b"first").unwrap();
        checkpoints.write_weights(b"weights").unwrap();
        let path = checkpoints.weights();
        assert_eq!(read_kept(&path).unwrap(), b"weights");
        fs::write(&path, b"weighty").unwrap();
        assert!(matches!(read_kept(&path), Err(StoreError::Damaged { .. })));
        // An earlier version wrote none.
        fs::remove_file(checksum_file(&path)).unwrap();
        assert_eq!(read_kept(&path).unwrap(), b"weighty");
        checkpoints.save(&TEN, b"ten", true).unwrap();
        assert_eq!(read_kept(&checkpoints.best()).unwrap(), b"ten");
        checkpoints.prune(Keep::All).unwrap();
        fs::write(checkpoints.last(), b"tem").unwrap();
        assert!(read_kept(&checkpoints.last()).is_err());
    }
}
