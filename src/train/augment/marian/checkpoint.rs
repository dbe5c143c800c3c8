//! Reads the files of a Marian checkpoint folder: `config.json` and the weights.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use crate::train::TrainError;
use crate::train::data::{DataError, DataErrorKind, read};

/// The part of `config.json` that is needed.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct MarianConfig {
    pub vocab_size: usize,
    decoder_vocab_size: Option<usize>,
    pub d_model: usize,
    pub max_position_embeddings: usize,
    pub encoder_layers: usize,
    pub encoder_attention_heads: usize,
    pub encoder_ffn_dim: usize,
    pub decoder_layers: usize,
    pub decoder_attention_heads: usize,
    pub decoder_ffn_dim: usize,
    pub activation_function: candle_nn::Activation,
    #[serde(default)]
    pub scale_embedding: bool,
    pub pad_token_id: u32,
    pub eos_token_id: u32,
    decoder_start_token_id: Option<u32>,
}

impl MarianConfig {
    pub fn read(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join("config.json");
        let malformed = |what: String| DataError::malformed(format!("{}: {what}", path.display()));
        let json: serde_json::Value = serde_json::from_slice(&read(&path)?).map_err(|error| {
            malformed(format!("not JSON: {error}; copy it again from the checkpoint's page")).caused_by(error)
        })?;
        let kind = json.get("model_type").and_then(serde_json::Value::as_str);
        if let Some(kind) = kind.filter(|&kind| kind != "marian") {
            return Err(malformed(format!(
                "model_type is '{kind}'; `engine: marian` needs Marian checkpoints, such as hf:Helsinki-NLP/opus-mt-en-fr"
            )));
        }
        let config: Self = serde_json::from_value(json)
            .map_err(|error| malformed(format!("not a configuration of a Marian model: {error}")).caused_by(error))?;
        let width = config.d_model;
        for (name, heads) in [("encoder", config.encoder_attention_heads), ("decoder", config.decoder_attention_heads)]
        {
            if heads == 0 || width == 0 || !width.is_multiple_of(2) || !width.is_multiple_of(heads) {
                return Err(malformed(format!(
                    "d_model {width} must be even, and a multiple of {name}_attention_heads {heads}"
                )));
            }
        }
        let words = config.decoder_vocabulary();
        let ids = [config.pad_token_id, config.eos_token_id, config.start()];
        if ids.iter().any(|&id| id as usize >= words) || config.max_position_embeddings < 2 {
            return Err(malformed(format!(
                "the token id of pad, end or start is not below {words}, or max_position_embeddings is below 2"
            )));
        }
        Ok(config)
    }

    pub fn decoder_vocabulary(&self) -> usize {
        self.decoder_vocab_size.unwrap_or(self.vocab_size)
    }

    /// The token that starts a translation.
    pub fn start(&self) -> u32 {
        self.decoder_start_token_id.unwrap_or(self.pad_token_id)
    }
}

/// The files that the translations depend on. An error names all missing files.
pub(super) fn needed_files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let weights = if folder.join("model.safetensors").is_file() { "model.safetensors" } else { "pytorch_model.bin" };
    let tokenizer: &[&str] =
        if folder.join("tokenizer.json").is_file() { &["tokenizer.json"] } else { &["source.spm", "vocab.json"] };
    let names = ["config.json", weights].into_iter().chain(tokenizer.iter().copied());
    let (there, missing): (Vec<&str>, Vec<&str>) = names.partition(|name| folder.join(name).is_file());
    if missing.is_empty() {
        return Ok(there.iter().map(|name| folder.join(name)).collect());
    }
    let missing = missing.join(", ").replace("pytorch_model.bin", "model.safetensors (or pytorch_model.bin)");
    let message = format!(
        "{}: not a Marian checkpoint: missing {missing}; copy the files from the checkpoint's page into the folder",
        folder.display()
    );
    Err(DataError::new(DataErrorKind::NotFound, message))
}

/// blake3 over the content of all files, in hex.
pub(super) fn hash(folder: &Path) -> Result<String, DataError> {
    let mut hash = blake3::Hasher::new();
    for path in needed_files(folder)? {
        let fail = |error: std::io::Error| {
            let message = format!("{}: cannot be read: {error}", path.display());
            DataError::new(DataErrorKind::Unreadable, message).caused_by(error)
        };
        let file = std::fs::File::open(&path).map_err(fail)?;
        let length = file.metadata().map_err(fail)?.len();
        hash.update(&length.to_le_bytes()).update_reader(file).map_err(fail)?;
    }
    Ok(hash.finalize().to_hex().to_string())
}

/// The tensors of a checkpoint. Missing tensors are collected, so that one error names all.
pub(super) struct Weights {
    path: PathBuf,
    tensors: HashMap<String, Tensor>,
    missing: Vec<String>,
}

impl Weights {
    pub fn read(folder: &Path) -> Result<Self, DataError> {
        let whole = folder.join("model.safetensors");
        let (path, tensors) = if whole.is_file() {
            let tensors = candle_core::safetensors::load_buffer(&read(&whole)?, &Device::Cpu);
            (whole, tensors)
        } else {
            let pickled = folder.join("pytorch_model.bin");
            let tensors = candle_core::pickle::read_all(&pickled).map(|tensors| tensors.into_iter().collect());
            (pickled, tensors)
        };
        let tensors = tensors.map_err(|error| {
            let message = format!("{}: the weights cannot be read: {error}; copy the file again", path.display());
            DataError::malformed(message).caused_by(error)
        })?;
        Ok(Self { path, tensors, missing: Vec::new() })
    }

    /// The first of `names` that exists, in f32.
    pub fn get(&mut self, names: &[&str], shape: &[usize]) -> Result<Tensor, TrainError> {
        let found = names.iter().find_map(|name| self.tensors.get(*name)).filter(|tensor| tensor.dims() == shape);
        if let Some(tensor) = found {
            return Ok(tensor.to_dtype(DType::F32)?.contiguous()?);
        }
        self.missing.push(format!("{} {shape:?}", names[0]));
        Ok(Tensor::zeros(shape, DType::F32, &Device::Cpu)?)
    }

    /// Refuses a checkpoint with missing tensors.
    pub fn check(self) -> Result<(), DataError> {
        if self.missing.is_empty() {
            return Ok(());
        }
        Err(DataError::malformed(format!(
            "{}: tensors of a Marian model are missing or have another shape than in config.json: {}; copy the weights and \
             config.json of one checkpoint",
            self.path.display(),
            self.missing.join(", ")
        )))
    }
}
