//! `results/.cache/`: data that are expensive to compute and can be computed again, such as tokens.
//!
//! A missing or damaged entry is never an error, and neither is a full disk. Each entry carries a checksum.

use std::path::{Path, PathBuf};

use super::disk::STATE;
use super::{atomic, disk};

const CHECKSUM: usize = blake3::OUT_LEN;

/// A cache of bytes by key.
#[derive(Debug, Clone)]
pub struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    #[must_use]
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        disk::check_folder(&self.folder).ok()?;
        let mut bytes = atomic::read_up_to(&self.file(key), STATE).ok().flatten()?;
        let (found, content) = bytes.split_first_chunk::<CHECKSUM>()?;
        if checksum(key, content) != *found {
            return None;
        }
        bytes.drain(..CHECKSUM);
        Some(bytes)
    }

    pub fn put(&self, key: &str, content: &[u8]) {
        if disk::check_folder(&self.folder).is_err() {
            return;
        }
        let mut bytes = checksum(key, content).as_bytes().to_vec();
        bytes.extend_from_slice(content);
        let _ = atomic::write_soon(&self.file(key), &bytes);
        disk::remove_unfinished(&self.folder);
    }

    /// A key may contain any character, so the file is named after its hash.
    fn file(&self, key: &str) -> PathBuf {
        self.folder.join(&blake3::hash(key.as_bytes()).to_hex()[..32])
    }
}

/// The content of another key, under the name of this one, is not taken for it.
fn checksum(key: &str, content: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_le_bytes()).update(key.as_bytes()).update(content);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn entries_are_read_back_unless_they_are_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(folder.path().join(".cache"));
        assert_eq!(blobs.get("../a key/"), None);
        blobs.put("../a key/", b"tokens");
        blobs.put("another", b"");
        assert_eq!(blobs.get("../a key/").as_deref(), Some(&b"tokens"[..]));
        assert_eq!(blobs.get("another").as_deref(), Some(&b""[..]));
        assert_eq!(fs::read_dir(blobs.folder()).unwrap().count(), 2);
        fs::write(blobs.file("another"), b"short").unwrap();
        fs::write(blobs.file("../a key/"), vec![7; 64]).unwrap();
        assert_eq!((blobs.get("another"), blobs.get("../a key/")), (None, None));
    }
}
