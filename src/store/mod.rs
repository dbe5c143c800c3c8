//! The only door to the disk: every path under `results/`, and every write.
//!
//! Guarantees: a file is whole or absent (written beside, renamed), an appended line is whole or absent (one write, cut back
//! when it fails), a trial's outcome is published once (the first link wins), and one process at a time holds a sweep's
//! folder. Reads cope with what a killed process or a full disk leaves behind, and say what they found damaged. Tests can
//! have the disk fail (`PLATEAU_FAULTS`, see `faults`).
//! Leaves to others: what the files mean ([`crate::state`], [`crate::analysis`]) and when to write them.

mod asked;
mod atomic;
mod attempt;
mod cache;
mod checkpoint;
mod curve;
mod disk;
mod faults;
mod grown;
mod history;
mod journal;
mod lock;
mod paths;
mod table;
mod trial;

use std::io;
use std::path::{Path, PathBuf};

pub use atomic::{remove_file_if, write as write_file};
pub use attempt::{Assignment, exit};
pub use cache::Blobs;
pub use checkpoint::{Checkpoints, Mark, Saved, link_or_copy, remove_state};
pub use curve::{Curve, CurveWriter, Follower, Row, read as read_curve};
#[cfg(test)]
pub(crate) use disk::counted::reads;
pub use disk::go_first_out_of_memory;
pub use faults::{strike_device, strike_step, strike_training};
pub use grown::append;
pub use history::EndedTrial;
pub use journal::{Damage, Journal, JournalFollower, News, Reading, read as read_journal};
pub use lock::{BEAT, Holder, Lock, host};
pub use paths::{AttemptDir, Results, RunDir, TrialDir};
pub use table::TrialRow;
pub use trial::{MadeBy, TrialRecord};

/// What the disk refused. Each says which file, and what to do; a sweep that meets one ends with exit code 3.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "{}: the disk is full{}. Free some space or choose another folder with --results, then run the same command \
         again: what is finished stays finished", path.display(), left(*.free)
    )]
    Full { path: PathBuf, free: Option<u64>, source: io::Error },
    #[error(
        "{}: cannot be written ({source}). Make the folder writable or choose another one with --results", path.display()
    )]
    Unwritable { path: PathBuf, source: io::Error },
    #[error(
        "{} is a file, and stands where a folder of results is to be. Move it away or choose another folder with --results",
        path.display()
    )]
    InTheWay { path: PathBuf, source: io::Error },
    #[error(
        "{} is in use by {holder}. Wait for it to end, stop it, or choose another folder with --results", path.display()
    )]
    Locked { path: PathBuf, holder: String },
    #[error("{}: {source}. Look at the disk, or choose another folder with --results", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {message}", path.display())]
    Damaged { path: PathBuf, message: String },
    #[error(
        "`{name}` cannot be the name of a results folder: give the sweep a `name` without slashes, dots in front or control characters"
    )]
    Name { name: String },
}

/// Bytes that this user may still write where `path` is or would be; None where the system does not tell.
#[must_use]
pub fn free_space(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|path| path.exists())?;
    let about = rustix::fs::statvfs(there).ok()?;
    Some(about.f_bavail.saturating_mul(about.f_frsize))
}

fn left(free: Option<u64>) -> String {
    free.map_or_else(String::new, |bytes| format!(" ({:.1} MB left)", bytes as f64 / 1e6))
}

impl StoreError {
    /// Turns an I/O error at `path` into the variant that says what to do about it.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { free: free_space(&path), path, source }
            }
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                match path.ancestors().find(|path| path.is_file()) {
                    Some(file) => Self::InTheWay { path: file.to_owned(), source },
                    None => Self::Io { path, source },
                }
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::FileTooLarge => {
                Self::Unwritable { path, source }
            }
            _ => Self::Io { path, source },
        }
    }

    pub(crate) fn damaged(path: &Path, message: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_what_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let full = || io::Error::from_raw_os_error(28);
        let message = StoreError::at(&folder.path().join("deep/journal.jsonl"))(full()).to_string();
        assert!(free_space(folder.path()).is_some_and(|free| free > 0));
        let (start, rest) = message.split_once(" (").unwrap();
        let (left, advice) = rest.split_once(" MB left). ").unwrap();
        assert!(start.ends_with("/deep/journal.jsonl: the disk is full") && left.parse::<f64>().is_ok(), "{message}");
        insta::assert_snapshot!(advice, @"Free some space or choose another folder with --results, then run the same command again: what is finished stays finished");
    }

    fn check(code: i32, expected: &str) {
        let error = StoreError::at(Path::new("/r/journal.jsonl"))(io::Error::from_raw_os_error(code));
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn errors_say_what_to_do() {
        check(
            30,
            "/r/journal.jsonl: cannot be written (Read-only file system (os error 30)). Make the folder writable or \
             choose another one with --results",
        );
        check(
            5,
            "/r/journal.jsonl: Input/output error (os error 5). Look at the disk, or choose another folder with --results",
        );
    }
}
