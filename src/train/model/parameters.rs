//! The parameters of a BERT in a fixed order, read from a checkpoint or drawn from the seed.
//!
//! Names are those of Hugging Face without the leading `bert.`; the old names `gamma` and `beta` are read as `weight` and
//! `bias`.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use super::config::Config;
use crate::train::TrainError;
use crate::trial::Pooling;
use plateau_random::{Purpose, Random};

/// A trained tensor.
#[derive(Debug, Clone)]
pub struct Parameter {
    pub name: String,
    pub value: Var,
    pub trainable: bool,
    /// Neither a bias nor LayerNorm: weight decay applies.
    pub decays: bool,
    /// Layers above it: 0 for classifier and pooler, 1 for the top layer, and so on down to the embeddings.
    pub depth: usize,
}

/// Index of a weight and its bias in the list of parameters; also a LayerNorm's gain and shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    pub weight: usize,
    pub bias: usize,
}

/// The parameters of one layer.
#[derive(Debug, Clone, Copy)]
pub struct Layer {
    pub query: Pair,
    pub key: Pair,
    pub value: Pair,
    pub output: Pair,
    pub attention_norm: Pair,
    pub up: Pair,
    pub down: Pair,
    pub norm: Pair,
}

/// Where each parameter of the model stands in the list.
#[derive(Debug, Clone)]
pub struct Index {
    pub words: usize,
    pub positions: usize,
    pub types: usize,
    pub embedding_norm: Pair,
    pub layers: Vec<Layer>,
    pub pooler: Option<Pair>,
    pub classifier: Pair,
}

/// What a checkpoint's weights are turned into.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub classes: usize,
    pub pooling: Pooling,
    pub freeze: usize,
    pub reinit: usize,
    pub seed: u64,
}

/// The tensors of a checkpoint by plain name, over all its files.
pub struct Tensors<'a>(BTreeMap<String, TensorView<'a>>);

impl<'a> Tensors<'a> {
    pub fn read(files: &[&'a [u8]]) -> Result<Self, TrainError> {
        let mut tensors = BTreeMap::new();
        for file in files {
            let parsed = SafeTensors::deserialize(file).map_err(|e| {
                TrainError::Input(format!(
                    "the weights are no safetensors file, broken or cut short: {e}; copy model.safetensors again"
                ))
            })?;
            tensors.extend(parsed.tensors().into_iter().map(|(name, view)| (plain(&name), view)));
        }
        Ok(Self(tensors))
    }

    pub fn has_pooler(&self) -> bool {
        self.0.contains_key("pooler.dense.weight") && self.0.contains_key("pooler.dense.bias")
    }

    /// Elements of the model: embeddings, layers and pooler; heads of other tasks do not count.
    pub fn elements(&self) -> u64 {
        let ours = |name: &str| ["embeddings.", "encoder.", "pooler."].iter().any(|stem| name.starts_with(stem));
        let sizes = self.0.iter().filter(|(name, _)| ours(name) && !name.ends_with("position_ids"));
        sizes.map(|(_, view)| view.shape().iter().product::<usize>() as u64).sum()
    }

    /// The name of the first tensor of the model with a NaN or an infinite value.
    pub fn first_non_finite(&self) -> Option<&str> {
        // A value is not finite if all bits of its exponent are set.
        let all_set = |bytes: &[u8], mask: u32| {
            let value = bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
            value & mask == mask
        };
        let is_bad = |view: &TensorView<'_>| match view.dtype() {
            safetensors::Dtype::F32 => view.data().chunks_exact(4).any(|bytes| all_set(bytes, 0x7f80_0000)),
            safetensors::Dtype::BF16 => view.data().chunks_exact(2).any(|bytes| all_set(bytes, 0x7f80)),
            safetensors::Dtype::F16 => view.data().chunks_exact(2).any(|bytes| all_set(bytes, 0x7c00)),
            _ => false,
        };
        let ours = |name: &str| ["embeddings.", "encoder.", "pooler."].iter().any(|stem| name.starts_with(stem));
        self.0.iter().find(|(name, view)| ours(name) && is_bad(view)).map(|(name, _)| name.as_str())
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.0.get(name).map(TensorView::shape)
    }

    /// In f32 on the CPU; None if there is none of this plain name.
    pub fn value(&self, name: &str) -> Result<Option<Tensor>, TrainError> {
        let Some(view) = self.0.get(name) else { return Ok(None) };
        let dtype = match view.dtype() {
            safetensors::Dtype::F32 => DType::F32,
            safetensors::Dtype::F16 => DType::F16,
            safetensors::Dtype::BF16 => DType::BF16,
            other => {
                return Err(TrainError::Input(format!(
                    "the weights hold '{name}' as {other:?}; save them as f32, f16 or bf16"
                )));
            }
        };
        let raw = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?;
        Ok(Some(raw.to_dtype(DType::F32)?))
    }
}

fn plain(name: &str) -> String {
    let name = name.strip_prefix("bert.").unwrap_or(name);
    match name.strip_suffix(".gamma") {
        Some(stem) => format!("{stem}.weight"),
        None => name.strip_suffix(".beta").map_or_else(|| name.to_owned(), |stem| format!("{stem}.bias")),
    }
}

/// How a parameter starts when the checkpoint does not say.
#[derive(Clone, Copy)]
enum Fresh {
    Normal,
    Constant(f32),
}

/// Builds the list parameter by parameter; what is missing or misshapen is collected and reported together.
struct Builder<'a> {
    tensors: &'a Tensors<'a>,
    config: Config,
    wanted: Wanted,
    device: &'a Device,
    dtype: DType,
    list: Vec<Parameter>,
    faults: Vec<String>,
}

impl Builder<'_> {
    /// Adds a parameter; `layer` counts from 1, 0 is the embeddings, `layers + 1` the head.
    fn add(&mut self, name: String, shape: &[usize], fresh: Fresh, layer: usize) -> Result<usize, TrainError> {
        let head = self.config.layers + 1;
        let reinit = layer > 0 && layer + self.wanted.reinit >= head && self.wanted.reinit > 0;
        let renewed = reinit && !name.starts_with("classifier");
        let value = match self.tensors.shape(&name) {
            Some(found) if found == shape && !renewed => self.tensors.value(&name)?,
            // After a fault the model is not built, so nothing of the size that config.json claims is made.
            Some(found) if found != shape && layer != head => {
                self.faults.push(format!("'{name}' has shape {found:?} where config.json says {shape:?}"));
                return Ok(0);
            }
            None if layer != head => {
                self.faults.push(format!("'{name}' is missing"));
                return Ok(0);
            }
            _ => None,
        };
        let value = match value {
            Some(value) => value,
            None => self.draw(&name, shape, fresh)?,
        };
        let value = value.to_dtype(self.dtype)?.to_device(self.device)?;
        self.list.push(Parameter {
            value: Var::from_tensor(&value)?,
            trainable: self.wanted.freeze == 0 || layer > self.wanted.freeze,
            decays: name.rsplit('.').next() != Some("bias") && !name.contains("LayerNorm"),
            depth: head - layer,
            name,
        });
        Ok(self.list.len() - 1)
    }

    /// N(0, `initializer_range`) from the seed and the name, so that no other parameter has a say in it.
    fn draw(&self, name: &str, shape: &[usize], fresh: Fresh) -> Result<Tensor, TrainError> {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = match fresh {
            Fresh::Constant(value) => vec![value; count],
            Fresh::Normal => {
                let random = Random::new(self.wanted.seed, Purpose::Initialisation);
                let random = name.bytes().fold(random, |random, byte| random.at(u64::from(byte)));
                (0..count as u64).map(|i| (random.normal(i) * self.config.initializer_range) as f32).collect()
            }
        };
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }

    fn linear(&mut self, stem: &str, outputs: usize, inputs: usize, layer: usize) -> Result<Pair, TrainError> {
        Ok(Pair {
            weight: self.add(format!("{stem}.weight"), &[outputs, inputs], Fresh::Normal, layer)?,
            bias: self.add(format!("{stem}.bias"), &[outputs], Fresh::Constant(0.0), layer)?,
        })
    }

    fn norm(&mut self, stem: &str, layer: usize) -> Result<Pair, TrainError> {
        let width = self.config.hidden;
        Ok(Pair {
            weight: self.add(format!("{stem}.weight"), &[width], Fresh::Constant(1.0), layer)?,
            bias: self.add(format!("{stem}.bias"), &[width], Fresh::Constant(0.0), layer)?,
        })
    }

    fn layer(&mut self, number: usize) -> Result<Layer, TrainError> {
        let Config { hidden, intermediate, .. } = self.config;
        let stem = format!("encoder.layer.{}", number - 1);
        Ok(Layer {
            query: self.linear(&format!("{stem}.attention.self.query"), hidden, hidden, number)?,
            key: self.linear(&format!("{stem}.attention.self.key"), hidden, hidden, number)?,
            value: self.linear(&format!("{stem}.attention.self.value"), hidden, hidden, number)?,
            output: self.linear(&format!("{stem}.attention.output.dense"), hidden, hidden, number)?,
            attention_norm: self.norm(&format!("{stem}.attention.output.LayerNorm"), number)?,
            up: self.linear(&format!("{stem}.intermediate.dense"), intermediate, hidden, number)?,
            down: self.linear(&format!("{stem}.output.dense"), hidden, intermediate, number)?,
            norm: self.norm(&format!("{stem}.output.LayerNorm"), number)?,
        })
    }

    fn table(&mut self, name: &str, rows: usize) -> Result<usize, TrainError> {
        let width = self.config.hidden;
        self.add(format!("embeddings.{name}.weight"), &[rows, width], Fresh::Normal, 0)
    }
}

/// All parameters on `device`, from the checkpoint or fresh.
pub fn load(
    tensors: &Tensors<'_>,
    config: Config,
    wanted: Wanted,
    device: &Device,
    dtype: DType,
) -> Result<(Vec<Parameter>, Index), TrainError> {
    let mut builder = Builder { tensors, config, wanted, device, dtype, list: Vec::new(), faults: Vec::new() };
    let head = config.layers + 1;
    let words = builder.table("word_embeddings", config.vocabulary)?;
    let positions = builder.table("position_embeddings", config.positions)?;
    let types = builder.table("token_type_embeddings", config.types)?;
    let embedding_norm = builder.norm("embeddings.LayerNorm", 0)?;
    let layers = (1..head).map(|number| builder.layer(number)).collect::<Result<_, _>>()?;
    let pooler = match wanted.pooling {
        Pooling::Pooler => Some(builder.linear("pooler.dense", config.hidden, config.hidden, head)?),
        Pooling::Cls | Pooling::Mean => None,
    };
    let classifier = builder.linear("classifier", wanted.classes, config.hidden, head)?;
    if let Some((first, rest)) = builder.faults.split_first() {
        let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
        return Err(TrainError::Input(format!(
            "the weights do not fit config.json: {first}{more}; take config.json and model.safetensors from one and the \
             same BERT"
        )));
    }
    let index = Index { words, positions, types, embedding_norm, layers, pooler, classifier };
    Ok((builder.list, index))
}
