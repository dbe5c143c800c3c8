//! A network: an encoder, a classification head and the values of their parameters.

use candle_core::{DType, Device};

use super::architectures;
use super::config::DropoutRates;
use super::declarations::{Declarations, Group};
use super::encoder::{ChoiceHead, Encoder, Shape};
use super::head::{Head, Outputs, WantedHead};
use super::new_network::NewNetwork;
use super::operations::Rows;
use super::parameters::{self, LoadSettings, Parameter, Tensors, Trained};
use crate::train::TrainError;
use crate::train::data::Tokens;
use crate::trial::{Extra, LinearModule, ModelConfig, Pooling, Vectors};
use plateau_kernels::product::Precision;

/// What runs the operations of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Hand-written kernels on the CPU.
    Kernels,
    /// candle's operations, on any device.
    Candle,
}

#[derive(Debug)]
pub struct Network {
    pub encoder: Box<dyn Encoder>,
    pub head: Head,
    pub parameters: Vec<Parameter>,
    /// The linear layers that LoRA can change.
    pub modules: Vec<LinearModule>,
    pub dropout: DropoutRates,
    /// The embeddings and the first `freeze` layers are frozen. 0: nothing is frozen.
    pub freeze: usize,
    /// Numbers for each target.
    pub outputs: usize,
    pub device: Device,
    pub dtype: DType,
    pub backend: Backend,
    /// Of the products of linear layers and of attention.
    pub precision: Precision,
}

impl Network {
    /// Builds the network that `wanted` describes from `config.json` and the safetensors files of a checkpoint.
    pub fn load(
        json: &[u8],
        weights: &[&[u8]],
        wanted: &ModelConfig,
        head: impl Into<WantedHead>,
        seed: u64,
        device: &Device,
    ) -> Result<Self, TrainError> {
        Self::load_as(json, weights, wanted, head, seed, device, DType::F32)
    }

    /// The same with parameters of another type.
    pub(super) fn load_as(
        json: &[u8],
        weights: &[&[u8]],
        wanted: &ModelConfig,
        head: impl Into<WantedHead>,
        seed: u64,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, TrainError> {
        let new = NewNetwork::read(json, wanted)?;
        let json = new.as_ref().map_or(json, |new| &new.config);
        let mut declarations = Declarations::of(wanted);
        let encoder = architectures::read(json, &mut declarations)?;
        let shape = encoder.shape();
        check_layers(&*encoder, "freeze", wanted.freeze, wanted.freeze)?;
        check_layers(&*encoder, "reinit", wanted.reinit, shape.layers.saturating_sub(wanted.reinit))?;
        let tensors = match &new {
            Some(_) if wanted.embeddings.vectors == Vectors::Random => Tensors::default(),
            Some(new) => Tensors::read(weights, new.prefix)?.only(&new.table, NewNetwork::table_name()),
            None => Tensors::read(weights, shape.prefix)?,
        };
        if new.is_none() {
            declarations.check_size(tensors.elements())?;
        }
        let WantedHead { outputs, is_new } = head.into();
        let has_extra = wanted.extra != Extra::None;
        check_modules(shape, wanted)?;
        let pooling = match outputs {
            Outputs::Choices if shape.head.choices == ChoiceHead::None => {
                return Err(no_head("multiple_choice", "a head for choices", json));
            }
            Outputs::Sequences(_) | Outputs::Choices if has_extra => wanted.pooling.unwrap_or(Pooling::Pooler),
            Outputs::Sequences(_) => wanted.pooling.unwrap_or_else(|| default_pooling(shape, &tensors)),
            Outputs::Choices => wanted.pooling.unwrap_or(Pooling::Pooler),
            Outputs::Words(_) | Outputs::Vocabulary if has_extra => return Err(extra_on_tokens()),
            Outputs::Words(_) if shape.head.words.is_none() => {
                return Err(no_head("tokens", "a vector for each word", json));
            }
            Outputs::Vocabulary if shape.head.masked.is_none() => {
                return Err(no_head("masked_lm", "a head for masked tokens", json));
            }
            Outputs::Words(_) | Outputs::Vocabulary => Pooling::Pooler,
        };
        if shape.head.is_fixed && pooling != Pooling::Pooler {
            return Err(TrainError::Input(
                "model.pooling does not apply to a network without an encoder, which has its own; remove it".into(),
            ));
        }
        let head = Head::declare(&mut declarations, shape, pooling, &wanted.extra, outputs);
        declarations.check_lora()?;
        let trained = match (&wanted.lora, &wanted.adapters) {
            (Some(_), _) => Trained::Lora,
            (None, Some(_)) => Trained::Adapters,
            (None, None) => Trained::All,
        };
        let settings = LoadSettings {
            freeze: wanted.freeze,
            reinit: wanted.reinit,
            new_classifier: is_new.then(|| head.classifier_parameters()),
            draws_missing: new.is_some(),
            trained,
            seed,
        };
        let parameters = parameters::load(&declarations, shape, &tensors, settings, device, dtype)?;
        let dropout = wanted.dropout.map_or(shape.dropout, DropoutRates::all);
        let backend = if device.is_cpu() { Backend::Kernels } else { Backend::Candle };
        let (freeze, device, outputs) = (wanted.freeze, device.clone(), head.outputs());
        let modules = declarations.modules;
        Ok(Self {
            encoder,
            head,
            parameters,
            modules,
            dropout,
            freeze,
            outputs,
            device,
            dtype,
            backend,
            precision: Precision::F32,
        })
    }

    /// The same network with products of another precision.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    pub fn shape(&self) -> &Shape {
        self.encoder.shape()
    }

    /// The index of the token embeddings if they are trained and have gradients for the rows that a batch reads alone. The head of a
    /// masked language model gives gradients to all rows.
    pub fn sparse_embeddings(&self) -> Option<usize> {
        let table = self.shape().embeddings.tokens;
        let is_sparse = self.backend == Backend::Kernels && self.parameters[table].trainable && !self.head.is_tied;
        is_sparse.then_some(table)
    }

    /// The token embeddings.
    pub fn token_embeddings(&self) -> &Parameter {
        &self.parameters[self.shape().embeddings.tokens]
    }

    /// The indices of the parameters of layer `number` (from 0).
    pub fn layer_parameters(&self, number: usize) -> impl Iterator<Item = usize> {
        let group = Group::Layer(number);
        self.parameters.iter().enumerate().filter(move |(_, parameter)| parameter.group == group).map(|(i, _)| i)
    }

    /// The rows of each sequence that layer `number` (from 0) computes.
    pub fn rows(&self, number: usize) -> Rows {
        if number + 1 == self.shape().layers { self.head.rows() } else { Rows::All }
    }

    /// Refuses tokens without an embedding.
    pub fn check(&self, tokens: &Tokens) -> Result<(), TrainError> {
        let shape = self.shape();
        let longest = tokens.positions.iter().max().map_or(0, |last| *last as usize + 1);
        if longest > shape.positions {
            let most = shape.positions;
            return Err(TrainError::Input(format!(
                "a text has {longest} tokens, but the checkpoint supports at most {most}: set data.max_length to {most} or less"
            )));
        }
        if let Some(id) = tokens.ids.iter().find(|&&id| id as usize >= shape.vocabulary) {
            return Err(TrainError::Input(format!(
                "token id {id} is out of range: the model has {} embeddings. tokenizer.json does not match the checkpoint",
                shape.vocabulary
            )));
        }
        let types = shape.types.unwrap_or(usize::MAX);
        if tokens.types.iter().any(|&kind| usize::from(kind) >= types) {
            return Err(TrainError::Input(
                "data.text_pair needs a checkpoint with two token types (type_vocab_size 2)".into(),
            ));
        }
        Ok(())
    }
}

/// Why an extra module cannot give outputs for tokens.
fn extra_on_tokens() -> TrainError {
    TrainError::Input("model.extra gives one vector for a text, and this task has outputs for tokens: remove it".into())
}

/// Why a network cannot be trained for a task.
fn no_head(task: &str, what: &str, json: &[u8]) -> TrainError {
    let name = super::config::model_type(json).unwrap_or_default();
    TrainError::Input(format!("task: {task} needs {what}, which {name} does not have: use another architecture"))
}

/// The pooling of a checkpoint if the configuration names none: the architecture's own head, but the mean for a BERT
/// checkpoint without a pooler.
pub fn default_pooling(shape: &Shape, tensors: &Tensors<'_>) -> Pooling {
    let has_own = !shape.head.needs_checkpoint || shape.head.dense.is_some_and(|dense| tensors.has_linear(dense));
    if has_own { Pooling::Pooler } else { Pooling::Mean }
}

/// Refuses modules that this network cannot have.
fn check_modules(shape: &Shape, wanted: &ModelConfig) -> Result<(), TrainError> {
    let has_extra = wanted.extra != Extra::None;
    let wrong = if shape.heads == 0 && (has_extra || wanted.adapters.is_some()) {
        "model.extra and model.adapters need an encoder, and this network has none; remove them"
    } else if has_extra && wanted.pooling.is_some_and(|pooling| pooling != Pooling::Pooler) {
        "model.pooling does not apply with model.extra, which has its own; remove it"
    } else if wanted.adapters.is_some() && wanted.lora.is_some() {
        "model.adapters and model.lora are both set; keep one of them"
    } else {
        return Ok(());
    };
    Err(TrainError::Input(wrong.to_owned()))
}

/// Refuses a number of layers that the checkpoint does not have, or whose `boundary` separates layers with shared parameters.
fn check_layers(encoder: &dyn Encoder, key: &str, number: usize, boundary: usize) -> Result<(), TrainError> {
    let layers = encoder.shape().layers;
    if number > layers {
        return Err(TrainError::Input(format!("model.{key} is {number}, but the checkpoint has {layers} layers")));
    }
    if number > 0 && boundary > 0 && boundary < layers && encoder.shares_with_next(boundary - 1) {
        let usable = |n: &usize| *n == 0 || *n == layers || !encoder.shares_with_next(n - 1);
        let counts = (0..=layers).filter(usable).map(|n| if key == "reinit" { layers - n } else { n });
        let mut counts: Vec<usize> = counts.collect();
        counts.sort_unstable();
        let counts: Vec<String> = counts.iter().map(usize::to_string).collect();
        return Err(TrainError::Input(format!(
            "model.{key} is {number}, but layers of this checkpoint share parameters; use one of {}",
            counts.join(", ")
        )));
    }
    Ok(())
}
