//! Finds data files and checkpoints as a sweep file names them: embedded (`embedded:NAME`), a path, or the Hugging Face hub
//! (`hf:org/name`).
//!
//! A located source is an embedded name or an absolute path. Every error says where was looked and what to do.

use std::path::{Path, PathBuf};

use super::error::{DataError, DataErrorKind};
use super::files::{find, path_text};
use super::{embedded, hub};

/// Locates a data source. A path is looked up in `roots` in turn and made absolute.
pub fn locate_data(source: &str, roots: &[PathBuf]) -> Result<String, DataError> {
    if embedded::data(source)?.is_some() {
        return Ok(source.to_owned());
    }
    let path = find(source, roots, "data file")?;
    if path.is_dir() {
        let message = format!(
            "{}: this is a folder; data is one file (.tsv, .csv or .jsonl, also with .gz or .zst)",
            path.display()
        );
        return Err(DataError::new(DataErrorKind::Unsupported, message));
    }
    path_text(&path)
}

/// Locates a BERT checkpoint. `hf:` is downloaded into the Hugging Face cache and becomes its folder. A path is looked up
/// in `roots` in turn and made absolute.
pub fn locate_model(source: &str, roots: &[PathBuf]) -> Result<String, DataError> {
    if embedded::checkpoint(source)?.is_some() {
        return Ok(source.to_owned());
    }
    if let Some(repository) = source.strip_prefix("hf:") {
        return path_text(&hub::download_bert(repository)?);
    }
    let path = find(source, roots, "checkpoint").map_err(|error| with_hub_suggestion(source, error))?;
    if !path.join("config.json").is_file() {
        let message = format!(
            "{}: not a checkpoint folder; it needs config.json, tokenizer.json (or vocab.txt) and model.safetensors",
            path.display()
        );
        return Err(DataError::new(DataErrorKind::NotFound, message));
    }
    path_text(&path)
}

/// Locates a Marian checkpoint, like [`locate_model`]. The content of its folder is not checked.
pub fn locate_translator(source: &str, roots: &[PathBuf]) -> Result<String, DataError> {
    let path = match source.strip_prefix("hf:") {
        Some(repository) => hub::download_marian(repository)?,
        None => find(source, roots, "Marian checkpoint").map_err(|error| with_hub_suggestion(source, error))?,
    };
    path_text(&path)
}

/// Adds a suggestion to the error if `source` looks like the name of a repository on the hub.
fn with_hub_suggestion(source: &str, error: DataError) -> DataError {
    match hub_name(source) {
        Some(name) => {
            let message = format!("{error}; did you mean `hf:{name}`, from the Hugging Face hub?");
            DataError::new(error.kind(), message).caused_by(error)
        }
        None => error,
    }
}

/// The hub repository that a name without `hf:` probably means.
fn hub_name(source: &str) -> Option<String> {
    let plain = |part: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty() && !part.starts_with('.') && part.chars().all(fits)
    };
    match source.split('/').collect::<Vec<_>>().as_slice() {
        [name] if name.starts_with("bert-") && plain(name) => Some(format!("google-bert/{name}")),
        [organisation, name] if plain(organisation) && plain(name) && !Path::new(organisation).is_dir() => {
            Some(source.to_owned())
        }
        _ => None,
    }
}
