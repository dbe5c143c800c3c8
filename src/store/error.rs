//! What the disk refused: which file, why, and what the user can do.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Refusal, free_inodes, free_space};
use crate::trial::file_kind;

/// An error of the disk or of a file below `results/`. The variant is its kind; the cause stays in the source chain.
///
/// A sweep that meets one of them ends with exit code 3.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "{}: the disk is full{}. Free some space or choose another folder with --results, then run the same command \
         again: finished trials stay finished", path.display(), space_left(*.free)
    )]
    Full { path: PathBuf, free: Option<u64>, source: io::Error },
    #[error(
        "{}: the file system has no inodes left, although it has free space. Delete files that you do not need or choose \
         another folder with --results, then run the same command again: finished trials stay finished", path.display()
    )]
    NoInodes { path: PathBuf, source: io::Error },
    #[error(
        "{}: this process may not do that: {}. Raise the limit, then run the same command again: finished trials stay \
         finished", path.display(), limit_text(source)
    )]
    Limit { path: PathBuf, source: io::Error },
    #[error(
        "{}: cannot be written ({source}). Make the folder writable or choose another one with --results", path.display()
    )]
    Unwritable { path: PathBuf, source: io::Error },
    #[error(
        "{} is {what}, but a folder of results belongs there. Move it away or choose another folder with --results",
        path.display()
    )]
    InTheWay { path: PathBuf, what: &'static str, source: io::Error },
    #[error("{} {source} or choose another folder with --results", path.display())]
    Refused { path: PathBuf, source: Refusal },
    #[error(
        "{} is in use by {holder}. Wait until that process ends, stop it, or choose another folder with --results",
        path.display()
    )]
    Locked { path: PathBuf, holder: String },
    /// Another attempt at the trial has begun, so this one must end.
    #[error("{} is superseded by a later attempt", path.display())]
    Superseded { path: PathBuf },
    #[error(
        "{}: removed, moved or replaced while this process used it. Put it back, then run the same command again",
        path.display()
    )]
    Vanished { path: PathBuf },
    #[error("{}: {source}. Check the disk, or choose another folder with --results", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The content is not what it should be.
    #[error("{}: {source}", path.display())]
    Damaged { path: PathBuf, source: Box<dyn Error + Send + Sync> },
    #[error(
        "`{name}` cannot be the name of a results folder: give the sweep a `name` without slashes, leading dots or control characters"
    )]
    Name { name: String },
}

fn space_left(free: Option<u64>) -> String {
    free.map_or_else(String::new, |bytes| format!(" ({:.1} MB left)", bytes as f64 / 1e6))
}

/// The limit of the process that an error number stands for, and how to raise it.
fn limit_text(source: &io::Error) -> &'static str {
    match source.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::MFILE) => "it has as many files open as its limit allows (`ulimit -n`)",
        Some(rustix::io::Errno::NFILE) => "the system has as many files open as it allows (`sysctl fs.file-max`)",
        Some(rustix::io::Errno::FBIG) => "a file has reached the largest size that its limit allows (`ulimit -f`)",
        Some(rustix::io::Errno::NOMEM) => {
            "the system has no memory for it (`ulimit -v`, or the limit of the container)"
        }
        _ => {
            "the system has no process, thread or memory left for it (`ulimit -u`, `ulimit -v`, or the limit of the container)"
        }
    }
}

impl StoreError {
    /// Turns an I/O error at `path` into the variant that says what to do.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => match free_inodes(&path) {
                Some(0) if free_space(&path).is_some_and(|bytes| bytes > 0) => Self::NoInodes { path, source },
                _ => Self::Full { free: free_space(&path), path, source },
            },
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                let what = |path: &Path| Some(file_kind(path.symlink_metadata().ok()?.file_type()));
                let in_the_way = path
                    .ancestors()
                    .filter(|path| !path.is_dir())
                    .find_map(|path| Some((path.to_owned(), what(path)?)));
                match in_the_way {
                    Some((path, what)) => Self::InTheWay { path, what, source },
                    None => Self::Io { path, source },
                }
            }
            io::ErrorKind::FileTooLarge => Self::Limit { path, source },
            _ if is_limit(&source) => Self::Limit { path, source },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Unwritable { path, source },
            _ => match source.downcast::<Refusal>() {
                Ok(source) => Self::Refused { path, source },
                Err(source) => Self::Io { path, source },
            },
        }
    }

    /// A file whose content is not what it should be. `source`: what is wrong with it.
    pub(crate) fn damaged(path: &Path, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Damaged { path: path.to_owned(), source: source.into() }
    }

    /// Whether a limit of this process or of the system is the cause, and not the disk or the trial.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::Limit { .. })
    }

    /// Whether there may be room again later: no space or no inodes.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::NoInodes { .. })
    }
}

/// Whether the system refused because of a limit on files, processes, threads or memory.
fn is_limit(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::NOMEM))
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
        insta::assert_snapshot!(advice, @"Free some space or choose another folder with --results, then run the same command again: finished trials stay finished");
    }

    #[test]
    fn errors_say_what_to_do_and_keep_their_cause() {
        let check = |code: i32, expected: &str| {
            let error = StoreError::at(Path::new("/r/journal.jsonl"))(io::Error::from_raw_os_error(code));
            assert_eq!(error.to_string(), expected);
            let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>()).unwrap();
            assert_eq!(cause.raw_os_error(), Some(code));
        };
        check(
            30,
            "/r/journal.jsonl: cannot be written (Read-only file system (os error 30)). Make the folder writable or \
             choose another one with --results",
        );
        check(
            5,
            "/r/journal.jsonl: Input/output error (os error 5). Check the disk, or choose another folder with --results",
        );
        check(
            24,
            "/r/journal.jsonl: this process may not do that: it has as many files open as its limit allows (`ulimit -n`). \
             Raise the limit, then run the same command again: finished trials stay finished",
        );
    }
}
