//! Reads safetensors files, which other people may have written.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::error::DataError;
use super::files::read;

/// Largest header of a safetensors file that is parsed, in bytes. A tensor takes about 100 of them.
const HEADER: u64 = 16 << 20;

/// A safetensors file after the length of its header, and that length. None if the file is too short, or is a pointer of git-lfs.
fn header(path: &Path) -> Option<(File, u64)> {
    let mut file = path.is_file().then(|| File::open(path).ok())??;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    // A pointer of git-lfs has no header. Reading it tells what it is.
    (length != *b"version ").then(|| (file, u64::from_le_bytes(length)))
}

/// Reads a safetensors file. A file with a huge header, or whose size is not the one that its header describes, is refused
/// before it is read.
pub(in crate::train) fn read_weights(path: &Path) -> Result<Vec<u8>, DataError> {
    if let Some((_, length)) = header(path).filter(|(_, length)| *length > HEADER) {
        return Err(DataError::malformed(format!(
            "{}: the header claims {length} bytes, more than the {HEADER} bytes that the header of a checkpoint can have; \
             copy model.safetensors again",
            path.display()
        )));
    }
    match (described_size(path), path.metadata().map(|metadata| metadata.len())) {
        (Some(described), Ok(size)) if described != size => Err(DataError::malformed(format!(
            "{}: the header describes {described} bytes, but the file holds {size}; copy model.safetensors again",
            path.display()
        ))),
        _ => read(path),
    }
}

/// The size of a safetensors file by its header. None if the beginning of the file is no such header.
fn described_size(path: &Path) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Tensor {
        data_offsets: Option<[u64; 2]>,
    }
    let (mut file, length) = header(path)?;
    let mut header = Vec::new();
    (&mut file).take(length).read_to_end(&mut header).ok()?;
    let tensors: HashMap<String, Tensor> = serde_json::from_slice(&header).ok()?;
    let end = tensors.values().filter_map(|tensor| tensor.data_offsets).map(|[_, end]| end).max().unwrap_or(0);
    end.checked_add(8 + length)
}
