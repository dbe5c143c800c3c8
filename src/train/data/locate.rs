//! Finds data files and checkpoints as a sweep file names them: embedded (`embedded:NAME`), a path, or the Hugging Face hub
//! (`hf:org/name`).
//!
//! A located source is an embedded name or an absolute path. Every error says where was looked and what to do.

use std::path::{Path, PathBuf};

use super::error::{DataError, DataErrorKind};
use super::files::{find, is_there, path_text};
use super::{embedded, hub, pattern};

/// Locates a data source: a file, a folder, or a pattern of files. A path is looked up in `roots` in turn and made absolute.
/// A pattern becomes the list of its files.
pub fn locate_data(source: &str, roots: &[PathBuf]) -> Result<String, DataError> {
    if embedded::data(source)?.is_some() {
        return Ok(source.to_owned());
    }
    match find(source, roots, "data file") {
        Ok(path) => path_text(&path),
        Err(_) if pattern::is_pattern(source) => {
            let paths = pattern::matches(source, roots)?;
            let paths: Vec<String> = paths
                .iter()
                .map(|path| path_text(&path.canonicalize().unwrap_or_else(|_| path.clone())))
                .collect::<Result<_, _>>()?;
            pattern::join(&paths)
        }
        Err(error) => Err(error),
    }
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
    if is_checkpoint(&path)? {
        return path_text(&path);
    }
    let inside = checkpoints_inside(&path);
    let advice = match inside.as_slice() {
        [] => "it needs config.json, tokenizer.json (or vocab.txt) and model.safetensors".to_owned(),
        [only] => format!("the checkpoint is in the folder inside: model.from: {}", only.display()),
        [.., last] => format!("it holds {} checkpoints; the last one is model.from: {}", inside.len(), last.display()),
    };
    Err(DataError::new(DataErrorKind::NotFound, format!("{}: not a checkpoint folder; {advice}", path.display())))
}

/// Whether a folder has the configuration of a model and its weights. The folder of a sentence-transformers model may have
/// a `config.json` without weights.
fn is_checkpoint(folder: &Path) -> Result<bool, DataError> {
    if !is_there(&folder.join("config.json"))? {
        return Ok(false);
    }
    for name in WEIGHTS {
        if is_there(&folder.join(name))? {
            return Ok(true);
        }
    }
    Ok(checkpoints_inside(folder).is_empty())
}

/// The files that a checkpoint folder may hold its weights in.
const WEIGHTS: [&str; 3] = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"];

/// The checkpoint folders directly inside a folder, such as `checkpoint-500` of a Trainer or `0_Transformer` of
/// sentence-transformers, in the order of their numbers.
fn checkpoints_inside(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut inside: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.join("config.json").is_file()).collect();
    let number = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let digits: String = name.chars().filter(char::is_ascii_digit).collect();
        (digits.parse::<u64>().unwrap_or(0), name)
    };
    // A pooling layer of sentence-transformers has a `config.json` without weights.
    inside.retain(|path| WEIGHTS.iter().any(|name| path.join(name).is_file()));
    inside.sort_by_key(number);
    inside
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
