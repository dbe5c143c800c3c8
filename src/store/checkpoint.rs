//! `checkpoint/`: the newest complete state of a trial, and its best one.
//!
//! A state is written beside under a name that carries its step and the start of its checksum, then `newest.json` (step,
//! size, checksum) is renamed over the old one: that is the moment at which it counts. The state before it stays until
//! then, even one of the same step.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{StoreError, atomic, disk};
use crate::trial::Keep;

/// The states of one trial.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
}

/// A state that an attempt can go on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    pub mark: Mark,
    pub state: Vec<u8>,
}

/// Where in its curves a trial stood when its state was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Optimizer steps taken: as many rows of `metrics.csv`.
    pub step: u64,
    /// Rows of `evals.csv`.
    pub evals: u64,
}

#[derive(Serialize, Deserialize)]
struct Newest {
    #[serde(flatten)]
    mark: Mark,
    bytes: u64,
    blake3: String,
}

impl Checkpoints {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The state at the lowest evaluation loss, if it is kept.
    #[must_use]
    pub fn best(&self) -> PathBuf {
        self.folder.join("best.safetensors")
    }

    /// The final state, if it is kept.
    #[must_use]
    pub fn last(&self) -> PathBuf {
        self.folder.join("last.safetensors")
    }

    fn newest_file(&self) -> PathBuf {
        self.folder.join("newest.json")
    }

    fn state_file(&self, newest: &Newest) -> PathBuf {
        let (step, start) = (newest.mark.step, newest.blake3.get(..8).unwrap_or_default());
        self.folder.join(format!("state-{step}-{start}.safetensors"))
    }

    /// Saves the state at `mark`; as the best one too if `best`. The rows that it rests on are on the disk already.
    pub fn save(&self, mark: &Mark, state: &[u8], best: bool) -> Result<(), StoreError> {
        let newest = Newest { mark: mark.clone(), bytes: state.len() as u64, blake3: checksum(state) };
        let path = self.state_file(&newest);
        atomic::write(&path, state)?;
        if best {
            self.name_best(&path)?;
        }
        let document = self.newest_file();
        atomic::write(&document, &atomic::to_json(&document, &newest)?)?;
        self.remove_states(|name| name != path);
        Ok(())
    }

    /// Gives the state at `path` the name of the best one as well.
    fn name_best(&self, path: &Path) -> Result<(), StoreError> {
        link_or_copy(path, &self.best())
    }

    /// Every state that lies here.
    #[must_use]
    pub fn kept(&self) -> Vec<PathBuf> {
        let newest = atomic::read_json::<Newest>(&self.newest_file()).ok().flatten();
        let newest = newest.map(|newest| self.state_file(&newest));
        [self.best(), self.last()].into_iter().chain(newest).filter(|path| path.is_file()).collect()
    }

    fn name_last(&self) -> Result<(), StoreError> {
        let Ok(Some(newest)) = atomic::read_json::<Newest>(&self.newest_file()) else { return Ok(()) };
        let state = self.state_file(&newest);
        if state.exists() { disk::rename(&state, &self.last()).map_err(StoreError::at(&state)) } else { Ok(()) }
    }

    /// The newest state that is whole. A damaged one counts as none: the trial starts over.
    pub fn newest(&self) -> Result<Option<Saved>, StoreError> {
        atomic::tidy(&self.folder);
        let newest: Newest = match atomic::read_json(&self.newest_file()) {
            Ok(Some(newest)) => newest,
            Ok(None) | Err(StoreError::Damaged { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(state) = atomic::read(&self.state_file(&newest))? else { return Ok(None) };
        let whole = state.len() as u64 == newest.bytes && checksum(&state) == newest.blake3;
        Ok(whole.then_some(Saved { mark: newest.mark, state }))
    }

    /// Leaves only what `keep` asks for, once the trial has ended. May be called again.
    pub fn prune(&self, keep: Keep) -> Result<(), StoreError> {
        if !self.folder.exists() {
            return Ok(());
        }
        if matches!(keep, Keep::Last | Keep::All) {
            self.name_last()?;
        }
        // First the document, so that nothing claims a state that is gone.
        let _ = fs::remove_file(self.newest_file());
        self.remove_states(|_| true);
        if matches!(keep, Keep::None | Keep::Last) {
            let _ = fs::remove_file(self.best());
        }
        if matches!(keep, Keep::None | Keep::Best) {
            let _ = fs::remove_file(self.last());
        }
        atomic::tidy(&self.folder);
        // Fails where something is kept, or something foreign lies there; both are to stay.
        let _ = fs::remove_dir(&self.folder);
        Ok(())
    }

    /// Whether [`Self::prune`] has come to its end; or there is nothing to prune.
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

/// Gives the state at `path` the name `other` as well, where it stays whatever becomes of the first: one copy on the disk,
/// two names.
pub fn link_or_copy(path: &Path, other: &Path) -> Result<(), StoreError> {
    let beside = other.with_extension(atomic::UNFINISHED.trim_start_matches('.'));
    let folder = other.parent().unwrap_or(other);
    disk::make_folders(folder).map_err(StoreError::at(folder))?;
    let _ = fs::remove_file(&beside);
    disk::link(path, &beside)
        .or_else(|_| disk::copy(path, &beside))
        .and_then(|()| disk::rename(&beside, other))
        .map_err(StoreError::at(other))
}

/// Removes a state that nobody starts from any more.
pub fn remove_state(path: &Path) {
    let _ = fs::remove_file(path);
    // Fails where others are left.
    let _ = path.parent().map(fs::remove_dir);
}

fn checksum(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Mark = Mark { step: 10, evals: 3 };
    const TWENTY: Mark = Mark { step: 20, evals: 5 };

    /// Where this state lies once it is saved.
    fn place(checkpoints: &Checkpoints, mark: &Mark, state: &[u8]) -> PathBuf {
        checkpoints.state_file(&Newest { mark: mark.clone(), bytes: 0, blake3: checksum(state) })
    }

    fn names(checkpoints: &Checkpoints) -> Vec<String> {
        let entries = fs::read_dir(&checkpoints.folder).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_newest_whole_state_counts() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path().join("checkpoint"));
        assert_eq!(checkpoints.newest().unwrap(), None);
        checkpoints.save(&TEN, b"ten", true).unwrap();
        checkpoints.save(&TWENTY, b"twenty", false).unwrap();
        assert_eq!(checkpoints.newest().unwrap(), Some(Saved { mark: TWENTY, state: b"twenty".to_vec() }));
        assert_eq!(fs::read(checkpoints.best()).unwrap(), b"ten");
        let twenty = place(&checkpoints, &TWENTY, b"twenty");
        let name = twenty.file_name().unwrap().to_str().unwrap();
        assert_eq!(names(&checkpoints), ["best.safetensors", "newest.json", name]);
        fs::write(&twenty, b"twent!").unwrap();
        assert_eq!(checkpoints.newest().unwrap(), None);
    }

    #[test]
    fn a_state_without_its_document_does_not_count_yet() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path().join("checkpoint"));
        checkpoints.save(&TEN, b"ten", false).unwrap();
        for (mark, state) in [(TWENTY, b"twenty".as_slice()), (TEN, b"another ten")] {
            fs::write(place(&checkpoints, &mark, state), state).unwrap();
            assert_eq!(checkpoints.newest().unwrap(), Some(Saved { mark: TEN, state: b"ten".to_vec() }));
        }
    }

    #[test]
    fn what_stays_is_what_was_asked_for() {
        for (keep, expected) in [
            (Keep::None, vec![]),
            (Keep::Best, vec!["best.safetensors"]),
            (Keep::Last, vec!["last.safetensors"]),
            (Keep::All, vec!["best.safetensors", "last.safetensors"]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let checkpoints = Checkpoints::new(folder.path().join("checkpoint"));
            checkpoints.save(&TEN, b"ten", true).unwrap();
            checkpoints.save(&TWENTY, b"twenty", false).unwrap();
            assert!(!checkpoints.is_pruned());
            for _ in 0..2 {
                checkpoints.prune(keep).unwrap();
                assert!(checkpoints.is_pruned());
                assert_eq!(names(&checkpoints), expected, "{keep:?}");
            }
            assert_eq!(checkpoints.folder.exists(), !expected.is_empty());
        }
    }
}
