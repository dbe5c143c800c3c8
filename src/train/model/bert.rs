//! The model: its configuration, its parameters, and what it refuses.

use candle_core::{DType, Device};

use super::config::{Config, DropoutRates};
use super::parameters::{self, Index, Parameter, Tensors, Wanted};
use crate::train::TrainError;
use crate::trial::{ModelConfig, Pooling};

/// A BERT for classification and its parameters.
#[derive(Debug)]
pub struct Bert {
    pub config: Config,
    pub rates: DropoutRates,
    pub pooling: Pooling,
    /// Embeddings and the first `freeze` layers are fixed; 0: nothing is.
    pub freeze: usize,
    pub parameters: Vec<Parameter>,
    pub index: Index,
    pub device: Device,
    pub dtype: DType,
    pub classes: usize,
    /// Whether candle's own operations do the work.
    pub composed: bool,
}

impl Bert {
    /// Builds the model that `wanted` describes from a checkpoint's `config.json` and its safetensors files.
    pub fn load(
        json: &[u8],
        weights: &[&[u8]],
        wanted: &ModelConfig,
        classes: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Self, TrainError> {
        Self::load_as(json, weights, wanted, classes, seed, device, DType::F32)
    }

    pub(super) fn load_as(
        json: &[u8],
        weights: &[&[u8]],
        wanted: &ModelConfig,
        classes: usize,
        seed: u64,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, TrainError> {
        let config = Config::parse(json)?;
        let layers = config.layers;
        for (key, n) in [("freeze", wanted.freeze), ("reinit", wanted.reinit)] {
            if n > layers {
                return Err(TrainError::Input(format!("model.{key} is {n}, but the checkpoint has {layers} layers")));
            }
        }
        let tensors = Tensors::read(weights)?;
        config.check_size(tensors.elements())?;
        let pooling = wanted.pooling.unwrap_or(if tensors.has_pooler() { Pooling::Pooler } else { Pooling::Mean });
        let chosen = Wanted { classes, pooling, freeze: wanted.freeze, reinit: wanted.reinit, seed };
        let (parameters, index) = parameters::load(&tensors, config, chosen, device, dtype)?;
        Ok(Self {
            config,
            rates: wanted.dropout.map_or(config.dropout, DropoutRates::all),
            pooling,
            freeze: wanted.freeze,
            parameters,
            index,
            device: device.clone(),
            dtype,
            classes,
            composed: !device.is_cpu(),
        })
    }

    /// Refuses tokens that the checkpoint has no vector for.
    pub fn check(&self, tokens: &crate::train::data::Tokens) -> Result<(), TrainError> {
        let longest = tokens.positions.iter().max().map_or(0, |last| *last as usize + 1);
        if longest > self.config.positions {
            let known = self.config.positions;
            return Err(TrainError::Input(format!(
                "a text has {longest} tokens, but the checkpoint has positions for {known}: set data.max_length to {known} or less"
            )));
        }
        if let Some(id) = tokens.ids.iter().find(|&&id| id as usize >= self.config.vocabulary) {
            return Err(TrainError::Input(format!(
                "the tokenizer gives token {id}, but the checkpoint knows {} words: tokenizer.json belongs to another model",
                self.config.vocabulary
            )));
        }
        if tokens.types.iter().any(|&kind| usize::from(kind) >= self.config.types) {
            return Err(TrainError::Input(
                "data.text_pair needs a checkpoint with two token types (type_vocab_size 2)".into(),
            ));
        }
        Ok(())
    }

    /// Whether any parameter below the head learns.
    pub(super) fn trains_embeddings(&self) -> bool {
        self.freeze == 0
    }

    /// The tokens of each sequence that layer `layer` (from 0) gives out.
    pub fn rows(&self, layer: usize) -> Rows {
        let last = layer + 1 == self.config.layers;
        if last && self.pooling != Pooling::Mean { Rows::First } else { Rows::All }
    }
}

/// Which tokens of each sequence are computed: the last layer gives only what the pooling reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    All,
    First,
}
