//! The files of a BERT checkpoint folder in Hugging Face format, as bytes.
//!
//! A folder without `tokenizer.json` gets one made from its `vocab.txt`. The content of the files is left to the model and
//! the tokenizer.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::embedded;
use super::error::{DataError, DataErrorKind};
use super::files::{file_hashes, is_there, read, read_document};
use super::shards::shard_files;
use super::vocabulary::{TokenizerSettings, from_vocabulary, with_settings};
use crate::trial::FileHashes;

/// The weights of a checkpoint that is not divided into shards.
const WEIGHTS: &str = "model.safetensors";

/// The content of a file: compiled into the binary, or read.
pub type Bytes = Cow<'static, [u8]>;

/// The files of a checkpoint.
#[derive(Debug, Clone)]
pub struct CheckpointFiles {
    /// `config.json`.
    pub config: Bytes,
    /// `tokenizer.json`, or one made from `vocab.txt`.
    pub tokenizer: Bytes,
    /// Safetensors files: `model.safetensors`, or the shards of `model.safetensors.index.json` in the order of their names.
    pub weights: Vec<Bytes>,
    /// The names of these files.
    pub weight_names: Vec<String>,
    /// The files of peft in the folder or in its subfolder `adapter`.
    pub adapter: Option<AdapterFiles>,
}

/// The files of an adapter.
#[derive(Debug, Clone)]
pub struct AdapterFiles {
    /// `adapter_config.json`.
    pub config: Bytes,
    /// `adapter_model.safetensors`.
    pub weights: Bytes,
}

impl CheckpointFiles {
    /// Reads all files of a located checkpoint into memory.
    pub fn read(model: &str) -> Result<Self, DataError> {
        let (config, tokenizer) = config_and_tokenizer(model)?;
        let folder = Path::new(model);
        let (weights, weight_names) = if let Some([.., weights]) = embedded::checkpoint(model)? {
            (vec![Cow::Borrowed(weights)], vec![WEIGHTS.to_owned()])
        } else {
            let names = weight_files(folder)?;
            let read = |name: &String| read_weights(&folder.join(name)).map(Cow::Owned);
            (names.iter().map(read).collect::<Result<_, _>>()?, names)
        };
        let adapter = adapter_files(folder)?;
        Ok(Self { config, tokenizer, weights, weight_names, adapter })
    }

    /// blake3 over each file of `model`.
    pub fn hashes(&self, model: &str) -> FileHashes {
        let weights = self.weight_names.iter().map(String::as_str).zip(&self.weights);
        let adapter = self.adapter.iter().flat_map(|adapter| {
            [("adapter_config.json", &adapter.config), ("adapter_model.safetensors", &adapter.weights)]
        });
        let files = std::iter::once(("config.json", &self.config)).chain(weights).chain(adapter);
        let files = files.map(|(name, bytes)| (format!("{model}/{name}"), bytes));
        let mut hashes: FileHashes =
            files.map(|(name, bytes)| (name, blake3::hash(bytes).to_hex().to_string())).collect();
        hashes.extend(tokenizer_hashes(model));
        hashes
    }

    /// blake3 over the content of all files, in hex.
    pub fn hash(&self) -> String {
        let mut hash = blake3::Hasher::new();
        let weights = self.weights.iter().map(|bytes| &**bytes);
        let adapter = self.adapter.iter().flat_map(|adapter| [&*adapter.config, &*adapter.weights]);
        for bytes in std::iter::once(&*self.config).chain(weights).chain([&*self.tokenizer]).chain(adapter) {
            hash.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        }
        hash.finalize().to_hex().to_string()
    }
}

/// blake3 over each file that the tokenizer of `model` can be made from.
pub(in crate::train) fn tokenizer_hashes(model: &str) -> FileHashes {
    const FILES: [&str; 5] =
        ["tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];
    file_hashes(FILES.map(|name| Path::new(model).join(name)).iter().map(PathBuf::as_path))
}

/// The adapter in a folder or in its subfolder `adapter`.
fn adapter_files(folder: &Path) -> Result<Option<AdapterFiles>, DataError> {
    for folder in [folder.to_owned(), folder.join("adapter")] {
        let (config, weights) = (folder.join("adapter_config.json"), folder.join("adapter_model.safetensors"));
        if is_there(&config)? && is_there(&weights)? {
            let (config, weights) = (Cow::Owned(read_document(&config)?), Cow::Owned(read_weights(&weights)?));
            return Ok(Some(AdapterFiles { config, weights }));
        }
    }
    Ok(None)
}

/// `config.json` and `tokenizer.json` of a located checkpoint, without its weights.
pub(in crate::train) fn config_and_tokenizer(model: &str) -> Result<(Bytes, Bytes), DataError> {
    if let Some([config, tokenizer, _]) = embedded::checkpoint(model)? {
        return Ok((Cow::Borrowed(config), Cow::Borrowed(tokenizer)));
    }
    let folder = Path::new(model);
    let config = read_document(&folder.join("config.json"))?;
    let settings = tokenizer_settings(folder)?;
    let tokenizer = folder.join("tokenizer.json");
    let vocabulary = folder.join("vocab.txt");
    let tokenizer = if is_there(&tokenizer)? {
        with_settings(read_document(&tokenizer)?, &settings)
    } else if is_there(&vocabulary)? {
        from_vocabulary(&vocabulary.display().to_string(), &read_document(&vocabulary)?, &settings)?
    } else {
        let message = format!(
            "{model}: the folder has neither tokenizer.json nor vocab.txt; copy one of them from the checkpoint's page \
             into the folder"
        );
        return Err(DataError::new(DataErrorKind::NotFound, message));
    };
    Ok((Cow::Owned(config), Cow::Owned(tokenizer)))
}

/// The optional files that change the tokenizer. A missing file is empty.
fn tokenizer_settings(folder: &Path) -> Result<TokenizerSettings, DataError> {
    let optional = |name: &str| -> Result<serde_json::Value, DataError> {
        let path = folder.join(name);
        if !is_there(&path)? {
            return Ok(serde_json::Value::Null);
        }
        serde_json::from_slice(&read_document(&path)?).map_err(|error| {
            let message = format!("{}: not JSON: {error}; copy it again from the checkpoint's page", path.display());
            DataError::malformed(message).caused_by(error)
        })
    };
    Ok(TokenizerSettings {
        config: optional("tokenizer_config.json")?,
        special_tokens: optional("special_tokens_map.json")?,
        added_tokens: optional("added_tokens.json")?,
    })
}

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

/// The names of the safetensors files of a folder, in order.
fn weight_files(folder: &Path) -> Result<Vec<String>, DataError> {
    if is_there(&folder.join(WEIGHTS))? {
        return Ok(vec![WEIGHTS.to_owned()]);
    }
    let index = folder.join("model.safetensors.index.json");
    if is_there(&index)? {
        return shard_files(&index.display().to_string(), &read_document(&index)?);
    }
    let advice = if folder.join("pytorch_model.bin").is_file() {
        "the folder holds only pytorch_model.bin; convert it with save_pretrained(..., safe_serialization=True) of \
         transformers"
    } else {
        "a checkpoint folder holds config.json, tokenizer.json and model.safetensors"
    };
    Err(DataError::new(DataErrorKind::NotFound, format!("{}: no model.safetensors; {advice}", folder.display())))
}
