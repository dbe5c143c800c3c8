//! The values of a network's parameters, read from a checkpoint or drawn from the seed.
//!
//! Names are those of Hugging Face without the architecture's prefix. The old names `gamma` and `beta` are read as `weight`
//! and `bias`.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use super::declarations::{Declaration, Declarations, Group, Initial, Role, decays, is_trained_whole};
use super::encoder::Shape;
use crate::train::TrainError;
use plateau_random::{Purpose, Random};

/// A parameter with its value.
#[derive(Debug, Clone)]
pub struct Parameter {
    pub name: String,
    /// The name in a checkpoint file of transformers.
    pub file_name: String,
    pub value: Var,
    pub trainable: bool,
    /// Whether weight decay applies.
    pub decays: bool,
    pub group: Group,
    /// Distance from the head: 0 for the head, 1 for the top layer, and so on down to the embeddings.
    pub depth: usize,
}

/// Which values come from the checkpoint and which are trained.
#[derive(Debug, Clone, Copy)]
pub struct LoadSettings {
    /// Number of frozen layers from below. If it is not 0, the embeddings are frozen too.
    pub freeze: usize,
    /// Number of layers from above that start from new values, together with the head's dense layer.
    pub reinit: usize,
    /// The classifier's weight and bias, if they start from new values.
    pub new_classifier: Option<(usize, Option<usize>)>,
    /// Whether parameters that the checkpoint lacks start from random values. Else only those of the head may.
    pub draws_missing: bool,
    pub trained: Trained,
    pub seed: u64,
}

/// Which parameters are trained, of those that are not frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trained {
    All,
    /// The changes of LoRA and the classifier.
    Lora,
    /// Adapters, every LayerNorm and the head.
    Adapters,
}

impl Trained {
    fn includes(self, declaration: &Declaration) -> bool {
        match self {
            Self::All => true,
            Self::Lora => declaration.role == Role::Added || is_trained_whole(&declaration.name),
            Self::Adapters => declaration.role != Role::Own || declaration.group == Group::Head,
        }
    }
}

/// The tensors of a checkpoint by name without prefix, over all its files.
#[derive(Default)]
pub struct Tensors<'a>(BTreeMap<String, TensorView<'a>>);

impl<'a> Tensors<'a> {
    /// `prefix` is the architecture's prefix without a dot.
    pub fn read(files: &[&'a [u8]], prefix: &str) -> Result<Self, TrainError> {
        let mut tensors = BTreeMap::new();
        for file in files {
            let parsed = SafeTensors::deserialize(file).map_err(|e| {
                TrainError::Input(format!(
                    "the weights are not a valid safetensors file: {e}. Copy model.safetensors again from the checkpoint's page"
                ))
            })?;
            tensors.extend(parsed.tensors().into_iter().map(|(name, view)| (plain_name(&name, prefix), view)));
        }
        Ok(Self(tensors))
    }

    /// Only the tensor `name`, under another name.
    #[must_use]
    pub fn only(mut self, name: &str, new_name: String) -> Self {
        Self(self.0.remove(name).map(|view| (new_name, view)).into_iter().collect())
    }

    /// Whether the checkpoint has the weight and the bias of this linear layer.
    pub fn has_linear(&self, stem: &str) -> bool {
        ["weight", "bias"].iter().all(|part| self.0.contains_key(&format!("{stem}.{part}")))
    }

    /// Number of elements of all tensors.
    pub fn elements(&self) -> u64 {
        self.0.values().map(|view| view.shape().iter().product::<usize>() as u64).sum()
    }

    /// The first of these tensors with a NaN or an infinite value.
    pub fn first_non_finite<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
        // A value is not finite if all bits of its exponent are set.
        let is_bad_half = |data: &[u8], exponent: u16| {
            data.as_chunks().0.iter().any(|bytes| u16::from_le_bytes(*bytes) & exponent == exponent)
        };
        let is_bad_float = |data: &[u8], exponent: u32| {
            data.as_chunks().0.iter().any(|bytes| u32::from_le_bytes(*bytes) & exponent == exponent)
        };
        let is_bad = |view: &TensorView<'_>| match view.dtype() {
            safetensors::Dtype::F32 => is_bad_float(view.data(), 0x7f80_0000),
            safetensors::Dtype::BF16 => is_bad_half(view.data(), 0x7f80),
            safetensors::Dtype::F16 => is_bad_half(view.data(), 0x7c00),
            _ => false,
        };
        names.find(|name| self.0.get(*name).is_some_and(&is_bad))
    }

    /// Its shape. None if there is none with this name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.0.get(name).map(TensorView::shape)
    }

    /// The tensor in f32 on the CPU. None if there is none with this name.
    pub fn value(&self, name: &str) -> Result<Option<Tensor>, TrainError> {
        let Some(view) = self.0.get(name) else { return Ok(None) };
        let dtype = match view.dtype() {
            safetensors::Dtype::F32 => DType::F32,
            safetensors::Dtype::F16 => DType::F16,
            safetensors::Dtype::BF16 => DType::BF16,
            other => {
                return Err(TrainError::Input(format!(
                    "the weights contain '{name}' as {other:?}; save them as f32, f16 or bf16"
                )));
            }
        };
        let raw = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?;
        Ok(Some(raw.to_dtype(DType::F32)?))
    }
}

/// The first part of names in the files of peft.
pub const PEFT: &str = "base_model.model.";

fn plain_name(name: &str, prefix: &str) -> String {
    let name = name.strip_prefix(PEFT).unwrap_or(name);
    let name = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name);
    match name.strip_suffix(".gamma") {
        Some(stem) => format!("{stem}.weight"),
        None => name.strip_suffix(".beta").map_or_else(|| name.to_owned(), |stem| format!("{stem}.bias")),
    }
}

/// Heads have no prefix in the files of transformers.
fn file_name(name: &str, prefix: &str) -> String {
    const HEADS: [&str; 11] = [
        "classifier.",
        "pre_classifier.",
        "head.",
        "extra.",
        "cls.",
        "lm_head.",
        "vocab_",
        "generator_",
        "predictions.",
        "decoder.",
        "sequence_summary.",
    ];
    // The pooler of DeBERTa is a part of the head, that of BERT is not.
    let is_pooler = prefix == "deberta" && name.starts_with("pooler.");
    let is_head = is_pooler || HEADS.iter().any(|stem| name.starts_with(stem));
    if is_head || prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// The values of all declared parameters on `device`. Parameters of the head may be missing or have another shape in the
/// checkpoint; then they are drawn. All other deviations are collected into one error.
pub fn load(
    declarations: &Declarations,
    shape: &Shape,
    tensors: &Tensors<'_>,
    settings: LoadSettings,
    device: &Device,
    dtype: DType,
) -> Result<Vec<Parameter>, TrainError> {
    let mut parameters = Vec::with_capacity(declarations.all.len());
    let mut faults = Vec::new();
    for (index, declaration) in declarations.all.iter().enumerate() {
        let is_new = settings.new_classifier.is_some_and(|(weight, bias)| index == weight || Some(index) == bias);
        let stored = if is_new { None } else { stored(declaration, shape, tensors, settings, &mut faults)? };
        let value = match stored {
            Some(value) => value,
            // After a fault the network is not built, so nothing of the size that config.json claims is made.
            None if !faults.is_empty() => continue,
            None => draw(declaration, shape.initializer_range, random_of(declaration, settings.seed, is_new))?,
        };
        let value = value.to_dtype(dtype)?.to_device(device)?;
        // Layers from 1; the embeddings are 0 and the head is above all layers.
        let level = match declaration.group {
            Group::Embeddings => 0,
            Group::Layer(number) => number + 1,
            Group::Head => shape.layers + 1,
        };
        parameters.push(Parameter {
            name: declaration.name.clone(),
            file_name: file_name(&declaration.name, shape.prefix),
            value: Var::from_tensor(&value)?,
            trainable: (settings.freeze == 0 || level > settings.freeze) && settings.trained.includes(declaration),
            decays: decays(&declaration.name),
            group: declaration.group,
            depth: shape.layers + 1 - level,
        });
    }
    match faults.split_first() {
        None => Ok(parameters),
        Some((first, rest)) => {
            let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
            Err(TrainError::Input(format!(
                "the weights do not match config.json: {first}{more}. Copy config.json and model.safetensors from the same \
                 checkpoint"
            )))
        }
    }
}

/// The value in the checkpoint, if the parameter is to start from it.
fn stored(
    declaration: &Declaration,
    shape: &Shape,
    tensors: &Tensors<'_>,
    settings: LoadSettings,
    faults: &mut Vec<String>,
) -> Result<Option<Tensor>, TrainError> {
    let Declaration { name, shape: expected, group, .. } = declaration;
    let renewed = match group {
        Group::Embeddings => false,
        Group::Layer(number) => number + settings.reinit >= shape.layers,
        Group::Head => settings.reinit > 0 && shape.head.dense.is_some_and(|dense| name.starts_with(dense)),
    };
    match tensors.shape(name) {
        Some(found) if found == expected && !renewed => tensors.value(name),
        Some(found) if found != expected && *group != Group::Head => {
            faults.push(format!("'{name}' has shape {found:?}; config.json requires {expected:?}"));
            Ok(None)
        }
        None if *group != Group::Head && !settings.draws_missing && declaration.role != Role::Added => {
            faults.push(format!("'{name}' is missing"));
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// An initial value.
fn draw(declaration: &Declaration, initializer_range: f64, random: Random) -> Result<Tensor, TrainError> {
    let count: usize = declaration.shape.iter().product();
    let values: Vec<f32> = match declaration.initial {
        Initial::Constant(value) => vec![value; count],
        Initial::Normal => (0..count as u64).map(|i| (random.normal(i) * initializer_range) as f32).collect(),
        Initial::Uniform(bound) => (0..count as u64).map(|i| ((2.0 * random.unit(i) - 1.0) * bound) as f32).collect(),
    };
    Ok(Tensor::from_vec(values, declaration.shape.as_slice(), &Device::Cpu)?)
}

/// The random numbers of a parameter, from the seed and the name, so that they do not depend on other parameters. `is_new`: its value
/// takes the place of one that was trained, perhaps from the value that this seed gives otherwise. It must not resemble that one.
fn random_of(declaration: &Declaration, seed: u64, is_new: bool) -> Random {
    let random = Random::new(seed, Purpose::Initialisation);
    let named = declaration.name.bytes().fold(random, |random, byte| random.at(u64::from(byte)));
    if is_new { named.at(u64::MAX) } else { named }
}
