//! The system calls on files. Every read and write of the store goes through this file.
//!
//! * Only regular files are opened, and never through a symbolic link (`O_NOFOLLOW`). Opening a FIFO does not wait.
//! * A file with several names (hard links, as in a copy by `cp -al`) gets a content of its own before it is written.
//! * A file above a sane size is refused before it is read.
//! * A passing error (a stale handle of a network file system, an I/O error) is tried three times.
//!
//! With the cargo feature `faults` these calls fail on purpose when a test asks for it.

#![expect(clippy::disallowed_methods, reason = "the functions that the other modules must not call")]

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;

#[cfg(feature = "faults")]
use super::faults::{Operation, fail, fail_path};
use crate::trial::file_kind;

/// Ending of temporary files. One that is left behind belongs to a process that was killed.
const UNFINISHED: &str = ".unfinished";
/// Largest JSON document that is read, in bytes.
pub(super) const DOCUMENT: u64 = 256 << 20;
/// Largest journal or curve that is read, in bytes: 10 million rows of metrics.
pub(super) const TABLE: u64 = 1 << 30;
/// Largest training state that is read, in bytes.
pub(super) const STATE: u64 = 64 << 30;

/// Why the store does not open a path that the system would open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "is a symbolic link, and links are not followed in a results folder. Put the file or folder itself in its place"
    )]
    Link,
    /// What it is instead of a regular file.
    #[error("is {0}, not a regular file. Remove it")]
    NotRegular(&'static str),
    #[error("is a folder, not a file. Remove it")]
    Folder,
    #[error("holds {size} bytes, more than the {limit} bytes that such a file can have. Remove it")]
    TooLarge { size: u64, limit: u64 },
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        Self::other(refusal)
    }
}

/// What an operation does, for fault injection.
#[cfg(not(feature = "faults"))]
#[derive(Clone, Copy)]
enum Operation {
    Read,
    Write,
    Open,
    Link,
    Sync,
    Lock,
}

/// Does nothing: this build injects no faults.
#[cfg(not(feature = "faults"))]
#[expect(clippy::unnecessary_wraps, reason = "the version with faults can fail")]
fn fail(_: Operation) -> io::Result<()> {
    Ok(())
}

#[cfg(not(feature = "faults"))]
#[expect(clippy::unnecessary_wraps, reason = "the version with faults can fail")]
fn fail_path(_: &Path) -> io::Result<()> {
    Ok(())
}

/// An error in place of an operation that is tried again.
#[cfg(feature = "faults")]
fn fail_in_passing(operation: Operation) -> io::Result<()> {
    fail(Operation::Retried).and_then(|()| fail(operation))
}

#[cfg(not(feature = "faults"))]
use fail as fail_in_passing;

/// Attempts at an operation that fails in passing, and the pause between two of them.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(20);

/// Repeats an operation that fails with an error that may be gone the next time.
fn with_retries<T>(operation: Operation, call: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let mut tries = 1;
    loop {
        match fail_in_passing(operation).and_then(|()| call()) {
            Err(error) if is_passing(&error) && tries < TRIES => {
                thread::sleep(PAUSE * tries);
                tries += 1;
            }
            result => return result,
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::STALE | Errno::IO | Errno::INTR | Errno::BUSY))
}

/// Options that follow no link and do not wait for the other end of a FIFO.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    options
}

/// Opens a regular file and nothing else.
fn open_with(options: &OpenOptions, path: &Path, operation: Operation) -> io::Result<File> {
    with_retries(operation, || open_once(options, path))
}

fn open_once(options: &OpenOptions, path: &Path) -> io::Result<File> {
    fail(Operation::Open).and_then(|()| fail_path(path))?;
    let file = options.open(path).map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::LOOP) => Refusal::Link.into(),
        // A socket, or a FIFO without a reader.
        Some(Errno::NXIO) => Refusal::NotRegular("a socket, a FIFO or a device").into(),
        Some(Errno::ISDIR) => Refusal::Folder.into(),
        _ => error,
    })?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    Err(if kind.is_dir() { Refusal::Folder } else { Refusal::NotRegular(file_kind(kind)) }.into())
}

/// Reads a file of at most `limit` bytes. A stale handle stays stale, so each try opens the file again.
pub(super) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    #[cfg(test)]
    counted::note(path);
    with_retries(Operation::Read, || {
        let mut file = open_once(options().read(true), path)?;
        let size = file.metadata()?.len();
        if size > limit {
            return Err(Refusal::TooLarge { size, limit }.into());
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size as usize)?;
        // The file may grow while it is read.
        (&mut file).take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    })
}

/// Reads the training state at `path`.
pub fn read_state(path: &Path) -> io::Result<Vec<u8>> {
    read(path, STATE)
}

/// Opens a file for reading.
pub(super) fn open(path: &Path) -> io::Result<File> {
    #[cfg(test)]
    counted::note(path);
    open_with(options().read(true), path, Operation::Read)
}

/// Reads the rest of an open file, at most `limit` bytes.
pub(super) fn read_rest(file: &mut impl Read, limit: u64) -> io::Result<Vec<u8>> {
    fail(Operation::Read)?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The end of a log, at most 64 KiB of it. Empty if it cannot be read.
pub(super) fn end(path: &Path) -> String {
    const WINDOW: u64 = 64 << 10;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = open(path)?;
        let start = file.metadata()?.len().saturating_sub(WINDOW);
        file.seek(SeekFrom::Start(start))?;
        read_rest(&mut file, WINDOW)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// The last `lines` lines of a log that are not empty, oldest first.
pub(super) fn tail(path: &Path, lines: usize) -> Vec<String> {
    let end = end(path);
    let lines = end.lines().rev().filter(|line| !line.trim().is_empty()).take(lines);
    let mut tail: Vec<_> = lines.map(str::to_owned).collect();
    tail.reverse();
    tail
}

/// Creates a file that must not exist, not even as a link.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    open_with(options().write(true).create_new(true), path, Operation::Write)
}

/// Opens a file for reading and writing. Creates it if it does not exist, and keeps its content otherwise.
pub(super) fn open_to_write(path: &Path) -> io::Result<File> {
    with_one_name(path, || open_lock_file(path))
}

/// Opens a file for reading and for writes at its end. Creates it if it does not exist.
pub(super) fn open_to_append(path: &Path) -> io::Result<File> {
    with_one_name(path, || open_with(options().create(true).read(true).append(true), path, Operation::Write))
}

/// Like [`open_to_write`], for a file that others may have locked: it stays the same file.
pub(super) fn open_lock_file(path: &Path) -> io::Result<File> {
    open_with(options().create(true).truncate(false).read(true).write(true), path, Operation::Write)
}

/// Whether the file has other names: what is written to it appears there too.
pub(super) fn has_other_names(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.nlink() > 1)
}

/// Opens a file. If it has other names, a copy takes its place first.
fn with_one_name(path: &Path, open: impl Fn() -> io::Result<File>) -> io::Result<File> {
    let mut file = open()?;
    if !has_other_names(&file)? {
        return Ok(file);
    }
    let (temporary, mut copy) = create_temporary(path)?;
    let done = io::copy(&mut file, &mut copy).and_then(|_| rename(&temporary, path));
    if done.is_err() {
        // The error below is the one to report; a leftover file does no harm.
        let _ = fs::remove_file(&temporary);
    }
    done.and_then(|()| open())
}

/// Creates a temporary file beside `path` and locks it, so that no other process takes it for one of a dead process.
pub(super) fn create_temporary(path: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        let temporary = temporary_path(path);
        let file = match create_new(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            other => other?,
        };
        // Before it is locked, another process may take it for left over and remove it.
        if !matches!(try_lock(&file), Err(TryLockError::WouldBlock)) && is_at(&file, &temporary) {
            return Ok((temporary, file));
        }
    }
}

/// Removes the temporary files that dead processes left in `folder`. Those of living processes are locked.
pub(super) fn remove_unfinished(folder: &Path) {
    /// Where the file system has no locks, no write takes so long.
    const LONGEST: Duration = Duration::from_hours(24);
    let is_old = |file: &File| {
        let modified = file.metadata().and_then(|metadata| metadata.modified());
        modified.ok().and_then(|time| time.elapsed().ok()).is_some_and(|age| age > LONGEST)
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !is_temporary(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let Ok(file) = open_once(options().read(true), &entry.path()) else { continue };
        let is_left = match try_lock(&file) {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(_)) => is_old(&file),
        };
        if is_left {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a name has the form of [`temporary_path`].
fn is_temporary(name: &str) -> bool {
    let random = name.strip_prefix('.').and_then(|name| name.strip_suffix(UNFINISHED)?.rsplit_once('.'));
    random.is_some_and(|(_, random)| random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether `path` still names the opened file: its folder may have been archived, or a user has deleted it.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let same = || -> io::Result<bool> {
        let (opened, named) = (file.metadata()?, fs::symlink_metadata(path)?);
        Ok((opened.dev(), opened.ino()) == (named.dev(), named.ino()))
    };
    same().unwrap_or(false)
}

/// A path beside `path` for a temporary file. Its name is random, so no other user can put a link there in advance.
pub(super) fn temporary_path(path: &Path) -> PathBuf {
    // The standard library seeds every `RandomState` differently.
    let random = RandomState::new().hash_one(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{random:016x}{UNFINISHED}"))
}

/// Refuses a path at which something else than a regular file or a link lies: a rename would remove a device or a FIFO.
pub(super) fn check_replaceable(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?.file_type(),
    };
    match kind {
        kind if kind.is_file() || kind.is_symlink() => Ok(()),
        kind if kind.is_dir() => Err(Refusal::Folder.into()),
        kind => Err(Refusal::NotRegular(file_kind(kind)).into()),
    }
}

/// Gives an empty file the permissions that `model` has, and its owner and group as far as this process may.
pub(super) fn copy_access(model: &Metadata, file: &File) -> io::Result<()> {
    /// Without the bits for set-user-ID, set-group-ID and sticky: the new content has not been approved for them.
    const PERMISSIONS: u32 = 0o777;
    if fchown(file, Some(model.uid()), Some(model.gid())).is_err() {
        // A user may give a file to another of their groups. Otherwise it stays in the first.
        let _ = fchown(file, None, Some(model.gid()));
    }
    file.set_permissions(Permissions::from_mode(model.mode() & PERMISSIONS))
}

/// Writes into whatever lies at `path`, which stays in its place. Waits for the reader of a FIFO.
pub(super) fn write_into(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(bytes)
}

pub(super) fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    fail(Operation::Write)?;
    #[cfg(feature = "faults")]
    if let Err(error) = fail(Operation::HalfWrite) {
        file.write_all(&bytes[..bytes.len() / 2])?;
        return Err(error);
    }
    file.write_all(bytes)
}

/// Replaces the start of a file, in one write.
pub(super) fn write_at_start(file: &File, bytes: &[u8]) -> io::Result<()> {
    fail(Operation::Write)?;
    file.write_all_at(bytes, 0)
}

/// Waits until the content of a file is on the disk. A file system that cannot tell is taken at its word.
pub(super) fn sync(file: &File) -> io::Result<()> {
    fail(Operation::Write)?;
    fail(Operation::Read)?;
    match fail(Operation::Sync).and_then(|()| file.sync_all()) {
        Err(error) if is_unsupported(&error) => Ok(()),
        other => other,
    }
}

/// Locks an open file or folder against other processes, without waiting (`flock`).
pub(super) fn try_lock(file: &File) -> Result<(), TryLockError> {
    fail(Operation::Lock).map_err(TryLockError::Error)?;
    file.try_lock()
}

/// Like [`try_lock`], for a reader: several of them may hold the lock.
pub(super) fn try_lock_shared(file: &File) -> Result<(), TryLockError> {
    fail(Operation::Lock).map_err(TryLockError::Error)?;
    file.try_lock_shared()
}

/// Whether the file system does not have this operation.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    let codes = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOTSUP, Errno::NOLCK];
    code.is_some_and(|code| codes.contains(&code))
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    with_retries(Operation::Write, || fail_path(to).and_then(|()| fs::rename(from, to)))
}

pub(super) fn link(from: &Path, to: &Path) -> io::Result<()> {
    with_retries(Operation::Write, || fail(Operation::Link).and_then(|()| fs::hard_link(from, to)))
}

/// The names in a folder. A listing makes a network file system look anew, where a look at one name may answer from its cache.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Copies a regular file to a path that must not exist.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let (mut source, mut target) = (open(from)?, create_new(to)?);
    io::copy(&mut source, &mut target).map(drop)
}

pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    with_retries(Operation::Write, || fs::create_dir(path))
}

pub(super) fn create_folders(path: &Path) -> io::Result<()> {
    with_retries(Operation::Write, || fs::create_dir_all(path))
}

/// Fails if `folder` exists and is a link or no folder.
pub(super) fn check_folder(folder: &Path) -> io::Result<()> {
    match fs::symlink_metadata(folder) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(found) if found.is_symlink() => Err(Refusal::Link.into()),
        Ok(_) => Err(Errno::NOTDIR.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Bytes that this user may still write where `path` is or would be. None where the system does not tell.
#[must_use]
pub fn free_space(path: &Path) -> Option<u64> {
    let found = file_system(path)?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Files that this user may still create there. None where the file system does not count them.
pub(super) fn free_inodes(path: &Path) -> Option<u64> {
    file_system(path).filter(|found| found.f_files > 0).map(|found| found.f_favail)
}

/// Whether a trial has room to start where `path` is or would be. A limit on this user (a quota) is not seen here.
#[must_use]
pub fn has_room(path: &Path) -> bool {
    /// A folder with an assignment and a log, and the rows of some steps.
    const BYTES: u64 = 256 << 10;
    const INODES: u64 = 8;
    free_space(path).is_none_or(|bytes| bytes >= BYTES) && free_inodes(path).is_none_or(|inodes| inodes >= INODES)
}

fn file_system(path: &Path) -> Option<rustix::fs::StatVfs> {
    let existing = path.ancestors().find(|path| path.exists())?;
    rustix::fs::statvfs(existing).ok()
}

/// Makes the kernel kill this process before others when memory runs out (on Linux): the death of a worker costs an
/// attempt, the death of its parent costs the run.
pub fn prefer_as_oom_victim() {
    let _ = fs::write("/proc/self/oom_score_adj", "500");
}

/// What is read, for tests that count it.
#[cfg(test)]
pub(crate) mod counted {
    use std::path::{Path, PathBuf};
    use std::sync::Mutex;

    static READ: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

    pub(super) fn note(path: &Path) {
        READ.lock().unwrap().push(path.to_owned());
    }

    /// How often a file below `folder` was read so far.
    pub(crate) fn reads(folder: &Path) -> usize {
        READ.lock().unwrap().iter().filter(|path| path.starts_with(folder)).count()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn refusal(result: io::Result<impl Sized>) -> Option<Refusal> {
        result.err()?.downcast::<Refusal>().ok()
    }

    #[test]
    fn only_regular_files_are_opened_and_nothing_waits() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link, fifo, socket, missing] =
            ["file", "link", "fifo", "socket", "missing"].map(|name| folder.path().join(name));
        fs::write(&file, "mine").unwrap();
        symlink(&file, &link).unwrap();
        std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        for path in [&fifo, &socket] {
            let found = [refusal(open(path)), refusal(open_to_write(path)), refusal(open_to_append(path))];
            assert!(found.iter().all(|refusal| matches!(refusal, Some(Refusal::NotRegular(_)))), "{found:?}");
        }
        assert_eq!([refusal(open(&link)), refusal(open_to_append(&link))], [Some(Refusal::Link), Some(Refusal::Link)]);
        assert_eq!(refusal(open(folder.path())), Some(Refusal::Folder));
        assert_eq!(create_new(&link).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(open(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine", "nothing was written through the link");
    }

    #[test]
    fn what_is_written_does_not_appear_under_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let [file, other] = ["file", "other"].map(|name| folder.path().join(name));
        for open in [open_to_write, open_to_append] {
            fs::write(&file, "mine").unwrap();
            fs::hard_link(&file, &other).unwrap();
            let mut opened = open(&file).unwrap();
            assert_eq!(opened.metadata().unwrap().nlink(), 1);
            opened.write_all(b"more").unwrap();
            let [content, kept] = [&file, &other].map(|path| fs::read_to_string(path).unwrap());
            assert!(content.len() >= 4 && kept == "mine", "{content} {kept}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
            fs::remove_file(&other).unwrap();
        }
    }

    #[test]
    fn a_huge_file_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sparse");
        File::create(&path).unwrap().set_len(20 << 30).unwrap();
        assert_eq!(refusal(read(&path, TABLE)), Some(Refusal::TooLarge { size: 20 << 30, limit: TABLE }));
    }

    #[test]
    fn temporary_files_are_removed_unless_their_writers_live() {
        let folder = tempfile::tempdir().unwrap();
        let written = create_temporary(&folder.path().join("state")).unwrap();
        drop(create_temporary(&folder.path().join("dead")).unwrap());
        for name in ["state", ".notes.unfinished", ".state.0123456789abcdef"] {
            fs::write(folder.path().join(name), "whole").unwrap();
        }
        remove_unfinished(folder.path());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
        assert!(is_at(&written.1, &written.0));
    }
}
