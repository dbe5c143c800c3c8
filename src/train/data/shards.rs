//! The index of a checkpoint whose weights are split over several files (`model.safetensors.index.json`).

use std::path::Path;

use super::error::DataError;

/// The shard files that an index names, sorted, each once. `name` is the path of the index for error messages.
pub(super) fn shard_files(name: &str, index: &[u8]) -> Result<Vec<String>, DataError> {
    let malformed =
        || DataError::malformed(format!("{name}: not an index of shards: `weight_map` must map to file names"));
    let index: serde_json::Value = serde_json::from_slice(index).map_err(|error| malformed().caused_by(error))?;
    let map = index.get("weight_map").and_then(|map| map.as_object()).ok_or_else(malformed)?;
    let mut files = map
        .values()
        .map(|file| match file.as_str() {
            // A shard must lie beside its index. This check refuses names such as `../secret`.
            Some(file) if Path::new(file).file_name() == Some(file.as_ref()) => Ok(file.to_owned()),
            _ => Err(malformed()),
        })
        .collect::<Result<Vec<_>, _>>()?;
    files.sort_unstable();
    files.dedup();
    if files.is_empty() { Err(malformed()) } else { Ok(files) }
}
