//! What the disk is asked to do: every read and write of this room goes through here, so that tests can have it fail
//! ([`super::faults`]). Otherwise these are the standard library's own.

#![expect(clippy::disallowed_methods, reason = "the functions that the other rooms are to leave alone")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use super::faults::{self, Strike};

pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    #[cfg(test)]
    counted::note(path);
    faults::strike(Strike::Read)?;
    fs::read(path)
}

/// For reading.
pub(super) fn open(path: &Path) -> io::Result<File> {
    #[cfg(test)]
    counted::note(path);
    faults::strike(Strike::Read)?;
    File::open(path)
}

/// The rest of a file.
pub(super) fn read_rest(file: &mut impl Read) -> io::Result<Vec<u8>> {
    faults::strike(Strike::Read)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// For writing; makes the file, or empties it.
pub(super) fn create(path: &Path) -> io::Result<File> {
    faults::strike(Strike::Write)?;
    File::create(path)
}

/// For writing; makes the file if it is not there, and keeps what is in it.
pub(super) fn open_to_write(path: &Path) -> io::Result<File> {
    faults::strike(Strike::Write)?;
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
}

pub(super) fn open_to_append(path: &Path) -> io::Result<File> {
    faults::strike(Strike::Write)?;
    OpenOptions::new().create(true).append(true).open(path)
}

pub(super) fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    faults::strike(Strike::Write)?;
    if let Err(error) = faults::strike(Strike::Half) {
        file.write_all(&bytes[..bytes.len() / 2])?;
        return Err(error);
    }
    file.write_all(bytes)
}

/// Waits until a file is on the disk.
pub(super) fn sync(file: &File) -> io::Result<()> {
    faults::strike(Strike::Write)?;
    faults::strike(Strike::Read)?;
    file.sync_all()
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    faults::strike(Strike::Write)?;
    fs::rename(from, to)
}

pub(super) fn link(from: &Path, to: &Path) -> io::Result<()> {
    faults::strike(Strike::Write)?;
    fs::hard_link(from, to)
}

pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    faults::strike(Strike::Write)?;
    fs::copy(from, to).map(drop)
}

pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    faults::strike(Strike::Write)?;
    fs::create_dir(path)
}

pub(super) fn make_folders(path: &Path) -> io::Result<()> {
    faults::strike(Strike::Write)?;
    fs::create_dir_all(path)
}

/// Has the kernel take this process rather than others when memory runs out (on Linux): a worker's end costs an attempt,
/// its parent's the run.
pub fn go_first_out_of_memory() {
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

    /// How often anything under `folder` was read so far.
    pub(crate) fn reads(folder: &Path) -> usize {
        READ.lock().unwrap().iter().filter(|path| path.starts_with(folder)).count()
    }
}
