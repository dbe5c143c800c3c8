//! The files of a Marian checkpoint's folder: `config.json`, the weights, and what the tokenizer needs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use crate::train::TrainError;
pub(super) use crate::train::data::source::read;

/// What of `config.json` counts here.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Config {
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

impl Config {
    pub fn read(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join("config.json");
        let fail = |what: String| TrainError::Input(format!("{}: {what}", path.display()));
        let json: serde_json::Value = serde_json::from_slice(&read(&path)?)
            .map_err(|error| fail(format!("no JSON: {error}; copy it again from the checkpoint's page")))?;
        let kind = json.get("model_type").and_then(serde_json::Value::as_str);
        if let Some(kind) = kind.filter(|&kind| kind != "marian") {
            return Err(fail(format!(
                "model_type is '{kind}'; `engine: marian` needs Marian checkpoints, such as hf:Helsinki-NLP/opus-mt-en-fr"
            )));
        }
        let config: Self =
            serde_json::from_value(json).map_err(|error| fail(format!("not that of a Marian model: {error}")))?;
        let width = config.d_model;
        for (name, heads) in [("encoder", config.encoder_attention_heads), ("decoder", config.decoder_attention_heads)]
        {
            if heads == 0 || width == 0 || !width.is_multiple_of(2) || !width.is_multiple_of(heads) {
                return Err(fail(format!(
                    "d_model {width} must be even, and a multiple of {name}_attention_heads {heads}"
                )));
            }
        }
        let words = config.decoder_vocabulary();
        let ids = [config.pad_token_id, config.eos_token_id, config.start()];
        if ids.iter().any(|&id| id as usize >= words) || config.max_position_embeddings < 2 {
            return Err(fail(format!("pad, end or start is no word of {words}, or there are no positions")));
        }
        Ok(config)
    }

    pub fn decoder_vocabulary(&self) -> usize {
        self.decoder_vocab_size.unwrap_or(self.vocab_size)
    }

    /// The token that a translation starts from.
    pub fn start(&self) -> u32 {
        self.decoder_start_token_id.unwrap_or(self.pad_token_id)
    }
}

/// The files that decide what a checkpoint gives; an error names all that are missing.
pub(super) fn needed(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let weights = if folder.join("model.safetensors").is_file() { "model.safetensors" } else { "pytorch_model.bin" };
    let tokenizer: &[&str] =
        if folder.join("tokenizer.json").is_file() { &["tokenizer.json"] } else { &["source.spm", "vocab.json"] };
    let names = ["config.json", weights].into_iter().chain(tokenizer.iter().copied());
    let (there, missing): (Vec<&str>, Vec<&str>) = names.partition(|name| folder.join(name).is_file());
    if missing.is_empty() {
        return Ok(there.iter().map(|name| folder.join(name)).collect());
    }
    let missing = missing.join(", ").replace("pytorch_model.bin", "model.safetensors (or pytorch_model.bin)");
    Err(TrainError::Input(format!(
        "{}: no Marian checkpoint: {missing} missing; copy the files from the checkpoint's page into the folder",
        folder.display()
    )))
}

/// blake3 over the content of all files, read in pieces.
pub(super) fn hash(folder: &Path) -> Result<String, TrainError> {
    let mut hash = blake3::Hasher::new();
    for path in needed(folder)? {
        let fail = |error| TrainError::Input(format!("{}: cannot be read: {error}", path.display()));
        let file = std::fs::File::open(&path).map_err(fail)?;
        let length = file.metadata().map_err(fail)?.len();
        hash.update(&length.to_le_bytes()).update_reader(file).map_err(fail)?;
    }
    Ok(hash.finalize().to_hex().to_string())
}

/// The tensors of a checkpoint. Those that are missed are gathered, so that an error names all.
pub(super) struct Weights {
    path: PathBuf,
    tensors: HashMap<String, Tensor>,
    missing: Vec<String>,
}

impl Weights {
    pub fn read(folder: &Path) -> Result<Self, TrainError> {
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
            TrainError::Input(format!(
                "{}: the weights cannot be read, broken or cut short: {error}; copy the file again",
                path.display()
            ))
        })?;
        Ok(Self { path, tensors, missing: Vec::new() })
    }

    /// The first of `names` that is there, in f32.
    pub fn get(&mut self, names: &[&str], shape: &[usize]) -> Result<Tensor, TrainError> {
        let found = names.iter().find_map(|name| self.tensors.get(*name)).filter(|tensor| tensor.dims() == shape);
        if let Some(tensor) = found {
            return Ok(tensor.to_dtype(DType::F32)?.contiguous()?);
        }
        self.missing.push(format!("{} {shape:?}", names[0]));
        Ok(Tensor::zeros(shape, DType::F32, &Device::Cpu)?)
    }

    /// Refuses a checkpoint that lacked something.
    pub fn check(self) -> Result<(), TrainError> {
        if self.missing.is_empty() {
            return Ok(());
        }
        Err(TrainError::Input(format!(
            "{}: tensors of a Marian model are missing, or of another shape than config.json says: {}; copy weights and \
             config.json of one checkpoint",
            self.path.display(),
            self.missing.join(", ")
        )))
    }
}
