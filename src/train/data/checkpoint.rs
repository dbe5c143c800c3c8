//! The files of a BERT checkpoint folder in Hugging Face format, as bytes.
//!
//! A folder without `tokenizer.json` gets one made from its `vocab.txt`. The content of the files is left to the model and
//! the tokenizer.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::embedded;
use super::error::{DataError, DataErrorKind};
use super::files::{file_hashes, is_there, read_document};
use super::sentence_head::SentenceHead;
use super::shards::shard_files;
use super::vocabulary::{TokenizerSettings, from_vocabulary, with_settings};
use super::weight_file::read_weights;
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
    /// The classifier that stands beside the encoder in a sentence-transformers folder.
    pub head: Option<SentenceHead>,
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
        let (adapter, head) = (adapter_files(folder)?, SentenceHead::read(folder)?);
        Ok(Self { config, tokenizer, weights, weight_names, adapter, head })
    }

    /// blake3 over each file of `model`.
    pub fn hashes(&self, model: &str) -> FileHashes {
        let weights = self.weight_names.iter().map(String::as_str).zip(&self.weights);
        let adapter = self.adapter.iter().flat_map(|adapter| {
            [("adapter_config.json", &adapter.config), ("adapter_model.safetensors", &adapter.weights)]
        });
        let files = std::iter::once(("config.json", &self.config)).chain(weights).chain(adapter);
        let files = files.map(|(name, bytes)| (name, &**bytes));
        let files = files.chain(self.head.iter().map(|head| (head.name.as_str(), head.weights.as_slice())));
        let hash = |(name, bytes): (&str, &[u8])| (format!("{model}/{name}"), blake3::hash(bytes).to_hex().to_string());
        let mut hashes: FileHashes = files.map(hash).collect();
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
        // Since trials compare these names with their own labels.
        let config: serde_json::Value = serde_json::from_slice(&self.config).unwrap_or_default();
        if config.get("id2label").is_some() {
            hash.update(b"labels");
        }
        if let Some(head) = &self.head {
            hash.update(format!("{:?}", head.pooling).as_bytes()).update(&head.weights);
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
