//! The system calls on files. Every read and write of the store goes through this file.
//!
//! * Only regular files are opened, and never through a symbolic link (`O_NOFOLLOW`). Opening a FIFO does not wait.
//! * A file with several names (hard links, as in a copy by `cp -al`) gets a content of its own before it is written.
//! * A file above a sane size is refused before it is read.
//! * A passing error (a stale handle of a network file system, an I/O error) is tried three times.
//!
//! With the cargo feature `faults` these calls fail on purpose when a test asks for it.

#![expect(clippy::disallowed_methods, reason = "the functions that the other modules must not call")]

use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;

#[cfg(feature = "faults")]
use super::faults::{Operation, fail, fail_path};

/// Ending of temporary files. One that is left behind belongs to a process that was killed.
pub(super) const UNFINISHED: &str = ".unfinished";
/// Largest JSON document that is read, in bytes.
pub(super) const DOCUMENT: u64 = 256 << 20;
/// Largest journal or curve that is read, in bytes: 10 million rows of metrics.
pub(super) const TABLE: u64 = 1 << 30;
/// Largest training state that is read, in bytes.
pub(super) const STATE: u64 = 64 << 30;

/// Why the store does not open a path that the system would open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("is a symbolic link, and links are not followed in a results folder")]
    Link,
    /// What it is instead of a regular file.
    #[error("is {0}, not a regular file")]
    NotRegular(&'static str),
    #[error("is a folder, not a file")]
    Folder,
    #[error("holds {size} bytes, more than the {limit} bytes that such a file can have")]
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
    match kind {
        kind if kind.is_file() => Ok(file),
        kind if kind.is_dir() => Err(Refusal::Folder.into()),
        kind if kind.is_fifo() => Err(Refusal::NotRegular("a FIFO").into()),
        kind if kind.is_socket() => Err(Refusal::NotRegular("a socket").into()),
        _ => Err(Refusal::NotRegular("a device").into()),
    }
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
    let temporary = temporary_path(path);
    let mut copy = create_new(&temporary)?;
    let done = io::copy(&mut file, &mut copy).and_then(|_| rename(&temporary, path));
    if done.is_err() {
        // The error below is the one to report; a leftover file does no harm.
        let _ = fs::remove_file(&temporary);
    }
    done.and_then(|()| open())
}

/// A path beside `path` for a temporary file. Its name is random, so no other user can put a link there in advance.
pub(super) fn temporary_path(path: &Path) -> PathBuf {
    // The standard library seeds every `RandomState` differently.
    let random = RandomState::new().hash_one(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{random:016x}{UNFINISHED}"))
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
}
