//! Documents that are complete or absent: they are written to a temporary file, then renamed or linked into place.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::disk::{DOCUMENT, create_new, create_temporary};
use super::{StoreError, disk};

/// Longer than a process takes from its claim to its rename.
const CLAIM: Duration = Duration::from_secs(1);

/// Replaces `path` by `bytes`, durably: after a power cut a reader finds the old content or the new, never a part.
/// Creates missing folders, and removes what dead processes have not finished writing beside it.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    replace(path, bytes, true, &|_| Ok(()))
}

/// Writes what a user asks for to the path that they name, as other programs do: the target of a symbolic link is replaced or made,
/// not the link, and the bytes go into a device or a FIFO (`/dev/stdout`, `>(gzip)`).
///
/// A regular file is replaced as a whole. The new file has its permissions, and its owner and group where this process may give a file
/// away. It is another file, though: further hard links keep the old content, and extended attributes are lost.
pub fn write_output(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_link(path) {
            // Relative to the folder of the link. A chain of links ends within the limit of the system, or was no NotFound.
            Ok(target) => write_output(&path.parent().unwrap_or(Path::new("")).join(target), bytes),
            Err(_) => write(path, bytes),
        },
        Ok(metadata) if metadata.is_file() => {
            let path = fs::canonicalize(path).map_err(StoreError::at(path))?;
            let copy_access = |file: Option<&File>| file.map_or(Ok(()), |file| disk::copy_access(&metadata, file));
            replace(&path, bytes, true, &|file| copy_access(file).map_err(StoreError::at(&path)))
        }
        _ => disk::write_into(path, bytes).map_err(StoreError::at(path)),
    }
}

/// Like [`write()`], into a folder below the results folder that must not be a link.
pub fn write_in_folder(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let Some(folder) = path.parent() else { return write(path, bytes) };
    write_if(path, bytes, &|| disk::check_folder(folder).map_err(StoreError::at(folder)))
}

/// Like [`write()`], if `check` holds before anything is created and still holds once there is a temporary file: a folder may have been
/// replaced by a link in between.
pub(super) fn write_if(
    path: &Path,
    bytes: &[u8],
    check: &dyn Fn() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    check()?;
    replace(path, bytes, true, &|_| check())
}

/// Like [`write_soon()`], on the conditions of [`write_if()`].
pub(super) fn write_soon_if(
    path: &Path,
    bytes: &[u8],
    check: &dyn Fn() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    check()?;
    replace(path, bytes, false, &|_| check())
}

/// Like [`write()`], but does not wait for the disk: after a power cut the file may be empty or old. For files that can be
/// made again.
pub(super) fn write_soon(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    replace(path, bytes, false, &|_| Ok(()))
}

/// Removes the file at `path` if it exists and `is_ours` recognises its content.
pub fn remove_file_if(path: &Path, is_ours: impl FnOnce(&[u8]) -> bool) -> Result<(), StoreError> {
    match read(path)? {
        Some(bytes) if is_ours(&bytes) => fs::remove_file(path).map_err(StoreError::at(path)),
        _ => Ok(()),
    }
}

/// `prepare` gets the temporary file while it is empty, and None before missing folders are created. If it fails, `path` stays as it is.
fn replace(
    path: &Path,
    bytes: &[u8],
    durable: bool,
    prepare: &dyn Fn(Option<&File>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    disk::check_replaceable(path).map_err(StoreError::at(path))?;
    let (temporary, mut file) = match create_temporary(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            prepare(None)?;
            path.parent().map_or(Ok(()), disk::create_folders).and_then(|()| create_temporary(path))
        }
        other => other,
    }
    .map_err(StoreError::at(path))?;
    if let Err(error) = prepare(Some(&file)) {
        // It may lie among the files of another program.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    let done = disk::write(&mut file, bytes)
        .and_then(|()| if durable { disk::sync(&file) } else { Ok(()) })
        .and_then(|()| disk::rename(&temporary, path));
    if done.is_err() {
        // The error below is the one to report; a leftover file does no harm.
        let _ = fs::remove_file(&temporary);
    }
    done.map_err(StoreError::at(path))?;
    if durable {
        sync_folder(path);
        if let Some(folder) = path.parent() {
            disk::remove_unfinished(folder);
        }
    }
    Ok(())
}

/// Gives `from` the second name `to`, unless `to` exists, and then waits for the disk.
///
/// `from` need not be on the disk: a file system with a journal writes the names of a file together with its content. One
/// wait in place of three matters for thousands of short trials. After a power cut before the end of this call the file may
/// exist and be incomplete.
///
/// Where the file system has no hard links, the first process that creates the claim file `<to>.claim` renames instead.
pub(super) fn link_once(from: &Path, to: &Path) -> Result<(), StoreError> {
    match disk::link(from, to) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) if has_no_links(&error) => rename_once(from, to).map_err(StoreError::at(to))?,
        Err(error) => return Err(StoreError::at(to)(error)),
    }
    // Also for a file that existed: the process that made it may have failed here.
    disk::open(to).and_then(|file| disk::sync(&file)).map_err(StoreError::at(to))
}

/// Makes `to` another name of `from`, in place of the file that had this name. False where the file system has no hard links.
pub(super) fn replace_by_link(from: &Path, to: &Path) -> Result<bool, StoreError> {
    let temporary = disk::temporary_path(to);
    match disk::link(from, &temporary) {
        Ok(()) => {}
        Err(error) if has_no_links(&error) => return Ok(false),
        Err(error) => return Err(StoreError::at(to)(error)),
    }
    let renamed = disk::rename(&temporary, to).map_err(StoreError::at(to));
    // If both were names of one file already, the rename has done nothing.
    let _ = fs::remove_file(&temporary);
    renamed.map(|()| true)
}

/// Whether this error means that two names of one file are impossible here.
fn has_no_links(error: &io::Error) -> bool {
    let codes = [Errno::XDEV, Errno::MLINK, Errno::PERM, Errno::ACCESS];
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    disk::is_unsupported(error) || code.is_some_and(|code| codes.contains(&code))
}

/// Renames `from` to `to` unless `to` exists. Of two processes only the one that creates the claim file renames. The other
/// waits for it; a claim without `to` after that belongs to a process that died in between.
fn rename_once(from: &Path, to: &Path) -> io::Result<()> {
    let claim = to.with_extension("claim");
    match create_new(&claim) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let start = Instant::now();
            while !to.exists() && start.elapsed() < CLAIM {
                thread::sleep(Duration::from_millis(10));
            }
        }
        other => drop(other?),
    }
    let result = if to.exists() { Ok(()) } else { disk::rename(from, to) };
    let _ = fs::remove_file(&claim);
    result
}

/// Makes a rename durable. Not every file system can do that; then the rename is as safe as it gets there.
fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent().and_then(|folder| File::open(folder).ok()) {
        let _ = folder.sync_all();
    }
}

/// Reads a document. None if it does not exist.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    read_up_to(path, DOCUMENT)
}

/// Reads a file of at most `limit` bytes. None if it does not exist.
pub(super) fn read_up_to(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
    match disk::read(path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::at(path)(error)),
    }
}

/// Reads a JSON document. None if it does not exist, [`StoreError::Damaged`] if it is not what it should be.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| StoreError::damaged(path, error))
}

/// A JSON document for people and programs, with a line end.
pub(super) fn to_json<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, StoreError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| StoreError::damaged(path, error))?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_write_replaces_the_file_and_leaves_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/file.json");
        write(&path, b"one").unwrap();
        write_soon(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_keeps_the_old_file_and_leaves_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("a-folder");
        fs::create_dir_all(taken.join("full")).unwrap();
        assert!(write(&taken, b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_replaced_and_its_target_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let [target, link] = ["target", "link"].map(|name| folder.path().join(name));
        fs::write(&target, "mine").unwrap();
        symlink(&target, &link).unwrap();
        write(&link, b"new").unwrap();
        assert_eq!((fs::read(&target).unwrap(), fs::read(&link).unwrap()), (b"mine".to_vec(), b"new".to_vec()));
    }

    #[test]
    fn nothing_is_created_through_a_link_that_appears_before_a_write() {
        let folder = tempfile::tempdir().unwrap();
        let [own, elsewhere] = ["own", "elsewhere"].map(|name| folder.path().join(name));
        fs::create_dir_all(own.join("report")).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        for write in [write_if, write_soon_if] {
            for name in ["file", "report/file"] {
                let check = || {
                    disk::check_folder(&own).map_err(StoreError::at(&own))?;
                    fs::rename(&own, folder.path().join("moved")).unwrap();
                    symlink(&elsewhere, &own).unwrap();
                    Ok(())
                };
                assert!(matches!(write(&own.join(name), b"x", &check), Err(StoreError::Refused { .. })), "{name}");
                assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "{name}");
                fs::remove_file(&own).unwrap();
                fs::rename(folder.path().join("moved"), &own).unwrap();
            }
        }
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _socket = UnixListener::bind(&path).unwrap();
        assert!(write(&path, b"x").unwrap_err().to_string().contains("is a socket, not a regular file"));
        assert!(write_output(&path, b"x").is_err());
        assert!(path.symlink_metadata().unwrap().file_type().is_socket());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_output_goes_through_links_and_into_fifos() {
        let folder = tempfile::tempdir().unwrap();
        let [target, link, fifo, new, dangling] =
            ["target", "link", "fifo", "new", "dangling"].map(|name| folder.path().join(name));
        fs::write(&target, "old and long").unwrap();
        symlink("target", &link).unwrap();
        write_output(&link, b"through").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"through");
        symlink("new", &dangling).unwrap();
        write_output(&dangling, b"made").unwrap();
        assert!(dangling.is_symlink());
        assert_eq!(fs::read(&new).unwrap(), b"made");

        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let reader = thread::spawn({
            let fifo = fifo.clone();
            move || fs::read(fifo).unwrap()
        });
        write_output(&fifo, b"into").unwrap();
        assert_eq!(reader.join().unwrap(), b"into");
        assert!(fifo.symlink_metadata().unwrap().file_type().is_fifo());
    }

    #[test]
    fn an_output_keeps_the_access_of_the_file_that_it_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other_name] = ["kept", "other-name"].map(|name| folder.path().join(name));
        fs::write(&path, "old").unwrap();
        fs::hard_link(&path, &other_name).unwrap();
        for mode in [0o600, 0o664, 0o4755] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            // Only root may give a file away.
            let _ = std::os::unix::fs::chown(&path, Some(65534), Some(65534));
            let before = fs::metadata(&path).unwrap();
            write_output(&path, b"new").unwrap();
            let after = fs::metadata(&path).unwrap();
            assert_eq!(after.permissions().mode() & 0o7777, mode & 0o777);
            assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
        }
        assert_eq!((fs::read(&path).unwrap(), fs::read(&other_name).unwrap()), (b"new".to_vec(), b"old".to_vec()));
    }

    #[test]
    fn the_first_link_wins_with_hard_links_and_without() {
        for publish in [link_once, |from: &Path, to: &Path| rename_once(from, to).map_err(StoreError::at(to))] {
            let folder = tempfile::tempdir().unwrap();
            let [first, second, shared] = ["1", "2", "shared.json"].map(|name| folder.path().join(name));
            fs::write(&first, "first").unwrap();
            fs::write(&second, "second").unwrap();
            publish(&first, &shared).unwrap();
            publish(&second, &shared).unwrap();
            assert_eq!(fs::read(&shared).unwrap(), b"first");
            assert!(!folder.path().join("shared.claim").exists());
        }
    }
}
