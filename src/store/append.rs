//! Files that only grow, for programs that follow them while they do.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

use super::{StoreError, disk};

/// Keeps the first `keep` bytes of the file at `path` and appends `bytes`: all of them, or none after an error. Creates the
/// file and missing folders. Does not wait for the disk.
pub fn append(path: &Path, keep: u64, bytes: &[u8]) -> Result<(), StoreError> {
    let grow = || {
        path.parent().map_or(Ok(()), disk::check_folder)?;
        let mut file = open(path)?;
        file.set_len(keep)?;
        file.seek(SeekFrom::Start(keep))?;
        disk::write(&mut file, bytes).inspect_err(|_| drop(file.set_len(keep)))
    };
    grow().map_err(StoreError::at(path))
}

fn open(path: &Path) -> io::Result<File> {
    match disk::open_to_write(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), disk::create_folders)?;
            disk::open_to_write(path)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_grows_after_the_part_that_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/file");
        append(&path, 0, b"one two").unwrap();
        append(&path, 4, b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one three");
        append(&path, 9, b"").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one three");
        assert!(append(folder.path(), 0, b"x").is_err());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(path.parent().unwrap(), &link).unwrap();
        assert!(matches!(append(&link.join("file"), 0, b"x"), Err(StoreError::Refused { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"one three");
    }
}
