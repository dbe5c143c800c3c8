//! BERT with a classifier on top: parameters, forward and backward of one micro-batch.
//!
//! On the CPU the model is a chain of custom operations in candle's graph ([`blocks`]), one for each half of a layer,
//! made of the functions of [`crate::train::kernels`]. Halves of layers and not single products, because candle's backward
//! makes a tensor of zeros and a sum for each input of each operation: with one operation per product that is a tenth of
//! a step. On other devices, and as the oracle of the tests, [`composed`] builds the same numbers from candle's own
//! differentiable operations.
//!
//! A frozen part (embeddings and the first layers) is a fixed function: it runs without dropout and without a backward.

pub mod blocks;
pub mod composed;
pub mod config;
pub mod gradient_buffer;
mod head;
pub mod host;
pub mod parameters;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use candle_core::{DType, Device};

use self::config::{Config, DropoutRates};
use self::gradient_buffer::GradientBuffer;
pub use self::parameters::Parameter;
use self::parameters::{Index, Tensors, Wanted};
use crate::random::Random;
use crate::train::TrainError;
use crate::train::batch::{MicroBatch, Mix};
use crate::train::kernels::dropout::Dropout;
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

    fn load_as(
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
    fn trains_embeddings(&self) -> bool {
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

/// What a training pass needs beside the micro-batch.
#[derive(Debug, Clone)]
pub struct Training {
    /// Of this seed and step, for dropout masks.
    pub random: Random,
    /// Where gradients go.
    pub gradients: Arc<GradientBuffer>,
    /// What each sequence's loss counts in the loss of the step: 1 / sequences of the batch.
    pub weight: f64,
    pub smoothing: f64,
}

/// A place in the model that has dropout.
#[derive(Debug, Clone, Copy)]
enum Place {
    Embeddings,
    Attention(usize),
    AttentionOutput(usize),
    Output(usize),
    Classifier,
}

impl Place {
    fn number(self) -> u64 {
        match self {
            Self::Embeddings => 0,
            Self::Classifier => 1,
            Self::Attention(layer) => 4 * layer as u64 + 4,
            Self::AttentionOutput(layer) => 4 * layer as u64 + 5,
            Self::Output(layer) => 4 * layer as u64 + 6,
        }
    }
}

/// One micro-batch on its way through the model.
#[derive(Debug, Clone)]
pub struct Pass {
    pub model: Arc<Bert>,
    pub batch: Arc<MicroBatch>,
    /// None: evaluation, without dropout, and nothing is kept for a backward.
    pub training: Option<Training>,
}

impl Pass {
    /// Scores `[sequences, classes]` in evaluation mode.
    pub fn logits(self) -> Result<Vec<f32>, TrainError> {
        let pass = Arc::new(Self { training: None, ..self });
        Ok(if pass.model.composed { composed::logits(&pass)? } else { blocks::logits(&pass)? })
    }

    /// What the frozen part gives in evaluation mode, `[rows, hidden]`: the sequences' tokens, or the first of each where
    /// the last layer is frozen and the pooling reads no more. On the CPU alone.
    pub fn frozen(self) -> Result<Vec<f32>, TrainError> {
        Ok(blocks::frozen_rows(&Arc::new(Self { training: None, ..self }))?)
    }

    /// The last layer's vectors of every token, `[tokens, hidden]`, on the CPU. The model pools by mean, so that none is
    /// left out.
    pub fn vectors(self) -> Result<Vec<f32>, TrainError> {
        Ok(blocks::vectors(&Arc::new(Self { training: None, ..self }))?)
    }

    /// Forward and backward: adds this micro-batch's gradients to its lane and returns its share of the loss.
    pub fn train(self) -> Result<f64, TrainError> {
        let pass = Arc::new(self);
        Ok(if pass.model.composed { composed::train(&pass)? } else { blocks::train(&pass)? })
    }

    /// How pooled outputs are mixed; in training alone.
    fn mix(&self) -> Option<&Mix> {
        self.batch.mix.as_ref().filter(|_| self.training.is_some())
    }

    fn dropout(&self, place: Place) -> Option<Dropout> {
        let rates = self.model.rates;
        let (rate, layer) = match place {
            Place::Embeddings => (rates.hidden, 0),
            Place::Attention(layer) => (rates.attention, layer + 1),
            Place::AttentionOutput(layer) | Place::Output(layer) => (rates.hidden, layer + 1),
            Place::Classifier => (rates.classifier, usize::MAX),
        };
        let frozen = self.model.freeze > 0 && layer <= self.model.freeze;
        let random = self.training.as_ref().filter(|_| !frozen)?.random.at(place.number());
        Dropout::new(
            rate,
            self.batch.places.iter().map(|&place| {
                let [a, b, ..] = random.at(u64::from(place)).words(0);
                [a, b]
            }),
        )
    }

    /// Offsets of the rows that layer `layer` gives out.
    fn offsets(&self, rows: Rows) -> Vec<u32> {
        match rows {
            Rows::All => self.batch.offsets.clone(),
            Rows::First => (0..=self.batch.sequences() as u32).collect(),
        }
    }
}
