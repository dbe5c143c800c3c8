//! Reads whole files: found by path, unpacked if they are compressed.
//!
//! Every error names the file and says what to do. The content is left to other modules.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::error::{DataError, DataErrorKind};
use super::split_name::SplitName;
use super::zip;
use crate::trial::{FileHashes, file_kind};

/// Returns `source` itself if it is an absolute path, else the first match in `roots`. `what` names the thing in the error.
pub fn find(source: &str, roots: &[PathBuf], what: &str) -> Result<PathBuf, DataError> {
    let tried: Vec<PathBuf> = if Path::new(source).is_absolute() {
        vec![PathBuf::from(source)]
    } else {
        roots.iter().map(|root| root.join(source)).collect()
    };
    if let Some(found) = tried.iter().find_map(|path| path.canonicalize().ok()) {
        return Ok(found);
    }
    let mut tried: Vec<String> =
        tried.iter().map(|path| std::path::absolute(path).unwrap_or(path.clone()).display().to_string()).collect();
    tried.dedup();
    let message = format!("{what} `{source}` not found; looked for {}", tried.join(" and "));
    Err(DataError::new(DataErrorKind::NotFound, message))
}

/// The path as text.
pub(super) fn path_text(path: &Path) -> Result<String, DataError> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let message = format!("{}: the path is not UTF-8; rename it", path.display());
        DataError::new(DataErrorKind::Unsupported, message)
    })
}

/// Bytes that a file takes on the disk, 0 if it cannot be read. A sparse file counts as what it holds.
#[must_use]
pub fn stored_size(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let file = path.metadata().ok().filter(std::fs::Metadata::is_file);
    file.map_or(0, |file| file.blocks().saturating_mul(512).min(file.len()))
}

/// The hashes of more files than this are not kept one by one.
pub(super) const NAMED_FILES: usize = 100;

/// blake3 over each of the files, and over each file in the folders, to tell later which one has changed. Files that are not
/// there, cannot be read or are huge are left out, and so are those after the first 100.
#[must_use]
pub fn file_hashes<'p>(paths: impl IntoIterator<Item = &'p Path>) -> FileHashes {
    const HUGE: u64 = 8 << 30;
    let within = |path: &Path| match path.read_dir() {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => vec![path.to_owned()],
    };
    let mut paths: Vec<PathBuf> = paths.into_iter().flat_map(within).collect();
    paths.sort_unstable();
    let is_small = |path: &PathBuf| path.metadata().is_ok_and(|found| found.is_file() && found.len() <= HUGE);
    let hash = |path: &PathBuf| -> Option<String> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(path).ok()?).ok()?;
        Some(hasher.finalize().to_hex().to_string())
    };
    let paths = paths.iter().filter(|path| is_small(path)).take(NAMED_FILES);
    paths.filter_map(|path| Some((path.display().to_string(), hash(path)?))).collect()
}

/// Largest document of a checkpoint that is read, in bytes. The largest vocabularies take a tenth of it.
const DOCUMENT: u64 = 256 << 20;

/// Reads a document of a checkpoint: its configuration, its tokenizer, an index. A file above a sane size is refused before
/// it is read.
pub(super) fn read_document(path: &Path) -> Result<Vec<u8>, DataError> {
    if let Some(size) = path.metadata().ok().map(|metadata| metadata.len()).filter(|size| *size > DOCUMENT) {
        let message = format!(
            "{}: the file holds {size} bytes, more than the {DOCUMENT} bytes that such a file can have; copy it again \
             from the checkpoint's page",
            path.display()
        );
        return Err(DataError::new(DataErrorKind::Unsupported, message));
    }
    read(path)
}

/// Whether a file of a checkpoint is there. Something else in its place is an error that says what it is.
pub(super) fn is_there(path: &Path) -> Result<bool, DataError> {
    let what = match (path.symlink_metadata(), path.metadata()) {
        (Err(error), _) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(false),
        (Ok(named), Err(_)) if named.is_symlink() => "a symbolic link to a file that does not exist",
        (_, Ok(found)) if !found.is_file() => file_kind(found.file_type()),
        // If it cannot be read, reading it says why.
        _ => return Ok(true),
    };
    let message = format!("{}: this is {what}; put the file from the checkpoint's page in its place", path.display());
    Err(DataError::new(DataErrorKind::Unsupported, message))
}

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    // A device or a pipe may have no end.
    if let Some(kind) = path.metadata().ok().map(|found| found.file_type()).filter(|kind| !kind.is_file()) {
        let message = format!("{}: this is {}, not a file", path.display(), file_kind(kind));
        return Err(DataError::new(DataErrorKind::Unsupported, message));
    }
    File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(|error| {
        let message = format!("{}: cannot be read: {error}", path.display());
        DataError::new(DataErrorKind::Unreadable, message).caused_by(error)
    })?;
    if bytes.starts_with(b"version https://git-lfs") {
        let message = format!(
            "{}: this is a git-lfs pointer, not the file itself; run `git lfs pull` in that repository, or download the \
             file from its page",
            path.display()
        );
        return Err(DataError::new(DataErrorKind::Unsupported, message));
    }
    Ok(bytes)
}

/// Reads a data file and unpacks it if it is compressed. Returns the file name in lower case without the extension of the
/// compression, and the content. Of several files in an archive, that of `split` is read.
pub(super) fn read_unpacked(source: &str, split: SplitName) -> Result<(String, Vec<u8>), DataError> {
    let (name, bytes) = unpack_split(source, read(Path::new(source))?, split)?;
    if bytes.get(257..262) == Some(b"ustar") {
        let message = format!(
            "{source}: a tar archive holds several files; unpack it with `tar -xf`, and name the data file or the folder"
        );
        return Err(DataError::new(DataErrorKind::Unsupported, message));
    }
    Ok((name, bytes))
}

/// Unpacks the content of a file that [`read`] or a pipe gave, if it is compressed. `source`: the path of the file. Returns the name and the
/// content as [`read_unpacked`] does.
pub fn unpack(source: &str, content: Vec<u8>) -> Result<(String, Vec<u8>), DataError> {
    unpack_split(source, content, SplitName::Train)
}

fn unpack_split(source: &str, packed: Vec<u8>, split: SplitName) -> Result<(String, Vec<u8>), DataError> {
    let name = source.to_ascii_lowercase();
    let limit = unpacked_limit(packed.len());
    let Some(packing) = Packing::of(&name, &packed) else {
        let plain = [".gz", ".zst", ".zip"].iter().find_map(|ending| name.strip_suffix(ending)).map(str::to_owned);
        return Ok((plain.unwrap_or(name), packed));
    };
    let (inner, unpacked) = match packing {
        Packing::Zip => {
            let member = zip::only_file(source, &packed, split)?;
            (member.name.to_ascii_lowercase(), member.content().and_then(|content| read_up_to(content, limit)))
        }
        Packing::Gzip => {
            let inner = name.strip_suffix(".gz").unwrap_or(&name).to_owned();
            (inner, read_up_to(flate2::read::MultiGzDecoder::new(packed.as_slice()), limit))
        }
        Packing::Zstd => {
            let inner = name.strip_suffix(".zst").unwrap_or(&name).to_owned();
            (inner, zstd::Decoder::new(packed.as_slice()).and_then(|decoder| read_up_to(decoder, limit)))
        }
    };
    let bytes = unpacked.map_err(|error| damaged(source, error))?;
    if bytes.len() as u64 > limit {
        return Err(too_large(source, packed.len(), limit));
    }
    Ok((inner, bytes))
}

/// How a file is compressed.
#[derive(Clone, Copy)]
enum Packing {
    Gzip,
    Zstd,
    Zip,
}

impl Packing {
    /// By the extension, or by the first bytes.
    fn of(name: &str, bytes: &[u8]) -> Option<Self> {
        let kinds = [
            (Self::Gzip, ".gz", [0x1f, 0x8b].as_slice()),
            (Self::Zstd, ".zst", &[0x28, 0xb5, 0x2f, 0xfd]),
            (Self::Zip, ".zip", b"PK\x03\x04"),
        ];
        // Browsers may unpack a file and keep its name.
        let is_text = || std::str::from_utf8(bytes).is_ok_and(|text| !text.is_empty() && !text.contains('\0'));
        let fits = |(_, extension, magic): &&(Self, &str, &[u8])| {
            bytes.starts_with(magic) || name.ends_with(extension) && !is_text()
        };
        kinds.iter().find(fits).map(|(packing, ..)| *packing)
    }
}

fn damaged(source: &str, error: std::io::Error) -> DataError {
    let message = format!("{source}: cannot be unpacked: {error}. The file is damaged or incomplete; copy it again");
    DataError::new(DataErrorKind::Unreadable, message).caused_by(error)
}

fn too_large(source: &str, packed: usize, limit: u64) -> DataError {
    let message = format!(
        "{source}: {packed} compressed bytes expand to more than {limit} bytes, which is not typical of text; if this is \
         right, unpack the file yourself and give the path of the unpacked file"
    );
    DataError::new(DataErrorKind::Unsupported, message)
}

/// Bytes that a compressed file of `packed` bytes may expand to: 200 times its size, and 16 MiB in any case. Text shrinks
/// to a tenth and hardly ever to a fiftieth. A file made to exhaust memory shrinks to a thousandth and less.
pub(super) fn unpacked_limit(packed: usize) -> u64 {
    (packed as u64).saturating_mul(200).max(16 << 20)
}

/// Reads at most one byte more than `limit`.
fn read_up_to(reader: impl Read, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
