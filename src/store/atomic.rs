//! Files that are whole or absent: written beside, then renamed or linked into place.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{StoreError, disk};

/// Ending of files that are still being written. One left behind belongs to a process that was killed.
pub(super) const UNFINISHED: &str = ".unfinished";

/// Replaces `path` by `bytes`, surviving a power cut: readers see the old content or the new, never a part. Makes the
/// folders on the way.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    replace(path, bytes, true)
}

/// As [`write()`], without waiting for the disk: after a power cut the file may be empty or old. For what can be made again.
pub(super) fn write_soon(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    replace(path, bytes, false)
}

/// Removes the file at `path` if there is one and `is_ours` says so of its content.
pub fn remove_file_if(path: &Path, is_ours: impl FnOnce(&[u8]) -> bool) -> Result<(), StoreError> {
    match read(path)? {
        Some(bytes) if is_ours(&bytes) => fs::remove_file(path).map_err(StoreError::at(path)),
        _ => Ok(()),
    }
}

fn replace(path: &Path, bytes: &[u8], durable: bool) -> Result<(), StoreError> {
    let beside = beside(path);
    let done = put(&beside, bytes, durable).and_then(|()| disk::rename(&beside, path));
    if done.is_err() {
        // The error below is the one to report; a leftover is only untidy.
        let _ = fs::remove_file(&beside);
    }
    done.map_err(StoreError::at(path))?;
    if durable {
        sync_folder(path);
    }
    Ok(())
}

/// Writes `bytes` as a new file at `path`, to be linked or renamed by the caller.
fn put(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let mut file = match disk::create(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), disk::make_folders)?;
            disk::create(path)?
        }
        other => other?,
    };
    disk::write(&mut file, bytes)?;
    if durable { disk::sync(&file) } else { Ok(()) }
}

/// Gives `from` the second name `to`, unless `to` exists, and then waits for the disk.
///
/// `from` need not have been waited for: a file system that keeps a journal puts the names of a file on the disk with it, and
/// one turn of the disk in place of three is what thousands of short trials wait for. After a power cut before the end of
/// this call the file may be there and not be whole. File systems without hard links get the next best, a rename after a
/// look.
pub(super) fn link_once(from: &Path, to: &Path) -> Result<(), StoreError> {
    match disk::link(from, to) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) => {
            if !to.exists() {
                disk::rename(from, to).map_err(StoreError::at(to))?;
            }
        }
        Err(error) => return Err(StoreError::at(to)(error)),
    }
    // Also of one that was there: whoever made it may have failed here.
    disk::open(to).and_then(|file| disk::sync(&file)).map_err(StoreError::at(to))
}

/// Makes a rename durable. Not every file system can; then the rename is as safe as it gets there.
fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent().and_then(|folder| File::open(folder).ok()) {
        let _ = folder.sync_all();
    }
}

/// A name in the same folder that no other process and no other thread uses.
fn beside(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{name}.{}-{count}{UNFINISHED}", process::id()))
}

/// Removes what killed processes left unfinished in `folder`.
pub(super) fn tidy(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(UNFINISHED) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Reads a whole file; None if it does not exist.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match disk::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::at(path)(error)),
    }
}

/// Reads a JSON file; None if it does not exist, [`StoreError::Damaged`] if it is not what it should be.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| StoreError::damaged(path, error.to_string()))
}

/// A JSON document for people and programs, with a line end.
pub(super) fn to_json<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, StoreError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| StoreError::damaged(path, error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_replace_and_leave_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/file.json");
        write(&path, b"one").unwrap();
        write_soon(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_leftover() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("a-folder");
        fs::create_dir_all(taken.join("full")).unwrap();
        assert!(write(&taken, b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_first_link_wins() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second, shared] = ["1", "2", "shared"].map(|name| folder.path().join(name));
        fs::write(&first, "first").unwrap();
        fs::write(&second, "second").unwrap();
        link_once(&first, &shared).unwrap();
        link_once(&second, &shared).unwrap();
        assert_eq!(fs::read(&shared).unwrap(), b"first");
    }

    #[test]
    fn tidy_takes_only_leftovers() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(beside(&folder.path().join("state")), "half").unwrap();
        fs::write(folder.path().join("state"), "whole").unwrap();
        tidy(folder.path());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
