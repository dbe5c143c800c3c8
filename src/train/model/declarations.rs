//! The list of a network's parameters before any value exists: names, shapes, initial values, groups.
//!
//! The list has a fixed order, which determines the order of all sums over parameters. An architecture adds its parameters
//! and keeps their indices.

use super::adapter::Adapter;
use super::operations::{Linear, LowRank, Norm};
use crate::train::TrainError;
use crate::trial::{AdapterPlace, AdaptersConfig, LinearModule, LoraConfig, ModelConfig};

/// The part of the network to which a parameter belongs. Freezing, `reinit` and `layer_decay` work on groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Embeddings,
    /// Layer from 0. A parameter that several layers share belongs to the lowest of them.
    Layer(usize),
    Head,
}

/// The initial value of a parameter that the checkpoint does not contain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initial {
    /// Normal with the checkpoint's `initializer_range` as standard deviation.
    Normal,
    /// Uniform between this number and its negative.
    Uniform(f64),
    Constant(f32),
}

/// One parameter.
#[derive(Debug, Clone)]
pub struct Declaration {
    /// The name without the architecture's prefix, for example `encoder.layer.0.output.dense.weight`.
    pub name: String,
    pub shape: Vec<usize>,
    pub initial: Initial,
    pub group: Group,
    pub role: Role,
}

/// What a parameter is to the methods that train only a part of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Of a checkpoint.
    Own,
    /// The same, of a LayerNorm.
    Norm,
    /// Of LoRA or of an adapter. It starts from new values if the checkpoint lacks it.
    Added,
}

/// The parameters in their order.
#[derive(Debug, Default)]
pub struct Declarations {
    pub all: Vec<Declaration>,
    /// Linear layers whose names match get two narrow matrices beside their weight.
    lora: Option<LoraConfig>,
    /// Parts of layers end with these.
    adapters: Option<AdaptersConfig>,
    /// Every linear layer that LoRA can change.
    pub modules: Vec<LinearModule>,
}

impl Declarations {
    /// An empty list for a model whose layers get what LoRA or adapters add.
    pub fn of(model: &ModelConfig) -> Self {
        Self { lora: model.lora.clone(), adapters: model.adapters.clone(), ..Self::default() }
    }

    /// Refuses a target of LoRA that matches no linear layer.
    pub fn check_lora(&self) -> Result<(), TrainError> {
        let unmatched = self.lora.as_ref().and_then(|lora| lora.unmatched(&self.modules));
        unmatched.map_or(Ok(()), |what| Err(TrainError::Input(what)))
    }

    /// Refuses sizes far beyond the `elements` of the weights, before any tensor of these sizes is created.
    pub fn check_size(&self, elements: u64) -> Result<(), TrainError> {
        let size =
            |declaration: &Declaration| declaration.shape.iter().fold(1u128, |n, &size| n.saturating_mul(size as u128));
        let described = self.all.iter().fold(0u128, |sum, declaration| sum.saturating_add(size(declaration)));
        // The weights may lack the head.
        if described <= u128::from(elements) * 2 + (1 << 20) {
            return Ok(());
        }
        Err(TrainError::Input(format!(
            "config.json describes a model of {described} parameters, but the weights hold {elements}: the two files do not \
             belong together"
        )))
    }

    /// Adds a parameter and returns its index.
    pub fn add(&mut self, name: String, shape: &[usize], initial: Initial, group: Group) -> usize {
        self.all.push(Declaration { name, shape: shape.to_vec(), initial, group, role: Role::Own });
        self.all.len() - 1
    }

    /// Adds a table of embeddings `[rows, width]`.
    pub fn table(&mut self, stem: &str, rows: usize, width: usize, group: Group) -> usize {
        self.add(format!("{stem}.weight"), &[rows, width], Initial::Normal, group)
    }

    /// Adds the weight `[outputs, inputs]` and the bias of a linear layer.
    pub fn linear(&mut self, stem: &str, outputs: usize, inputs: usize, group: Group) -> Linear {
        self.linear_with(true, stem, outputs, inputs, group)
    }

    /// Adds the weight of a linear layer, and its bias if it has one.
    pub fn linear_with(&mut self, bias: bool, stem: &str, outputs: usize, inputs: usize, group: Group) -> Linear {
        let weight = self.add(format!("{stem}.weight"), &[outputs, inputs], Initial::Normal, group);
        let zero = Initial::Constant(0.0);
        let bias = bias.then(|| self.add(format!("{stem}.bias"), &[outputs], zero, group));
        let low_rank = self.low_rank(stem, outputs, inputs, group);
        Linear { weight, bias, first: 0, outputs, low_rank }
    }

    /// Adds the narrow matrices of LoRA if the layer is a target. Their initial values are those of peft.
    fn low_rank(&mut self, stem: &str, outputs: usize, inputs: usize, group: Group) -> Option<LowRank> {
        if is_trained_whole(stem) {
            return None;
        }
        self.modules.push(LinearModule { name: stem.to_owned(), outputs, inputs });
        let lora = self.lora.as_ref().filter(|lora| lora.changes(stem))?;
        let (rank, scale) = (lora.r, lora.scale());
        let mut add = |name: &str, shape: [usize; 2], initial| {
            let index = self.add(format!("{stem}.{name}.weight"), &shape, initial, group);
            self.all[index].role = Role::Added;
            index
        };
        let a = add("lora_A", [rank, inputs], Initial::Uniform(1.0 / (inputs as f64).sqrt()));
        let b = add("lora_B", [outputs, rank], Initial::Constant(0.0));
        Some(LowRank { a, b, scale })
    }

    /// Adds the adapter that follows the linear layer `dense` with `width` outputs, if there is one at this place. Its name is that
    /// of the module around `dense`.
    pub fn adapter(&mut self, place: AdapterPlace, dense: &str, width: usize, group: Group) -> Option<Adapter> {
        let adapters = self.adapters.as_ref().filter(|adapters| adapters.follows(place))?;
        let (size, activation) = (adapters.size, adapters.activation.into());
        let stem = dense.rsplit_once('.').map_or("adapter".to_owned(), |(module, _)| format!("{module}.adapter"));
        let mut linear = |name: &str, outputs: usize, inputs: usize| {
            let weight = self.add(format!("{stem}.{name}.weight"), &[outputs, inputs], Initial::Normal, group);
            let bias = self.add(format!("{stem}.{name}.bias"), &[outputs], Initial::Constant(0.0), group);
            for index in [weight, bias] {
                self.all[index].role = Role::Added;
            }
            Linear { weight, bias: Some(bias), first: 0, outputs, low_rank: None }
        };
        Some(Adapter { down: linear("down", size, width), up: linear("up", width, size), activation })
    }

    /// Adds the weight and the bias of a LayerNorm.
    pub fn norm(&mut self, stem: &str, width: usize, epsilon: f64, group: Group) -> Norm {
        self.norm_with(true, stem, width, epsilon, group)
    }

    /// Adds the weight of a LayerNorm, and its bias if it has one.
    pub fn norm_with(&mut self, bias: bool, stem: &str, width: usize, epsilon: f64, group: Group) -> Norm {
        let weight = self.add(format!("{stem}.weight"), &[width], Initial::Constant(1.0), group);
        let zero = Initial::Constant(0.0);
        let bias = bias.then(|| self.add(format!("{stem}.bias"), &[width], zero, group));
        for index in [Some(weight), bias].into_iter().flatten() {
            self.all[index].role = Role::Norm;
        }
        Norm { weight, bias, epsilon }
    }
}

/// Whether a parameter or a layer is trained whole beside LoRA: that of the classifier, as in peft, and of a module before it.
pub fn is_trained_whole(name: &str) -> bool {
    let first = name.split('.').next().unwrap_or_default();
    ["classifier", "pre_classifier", "extra"].contains(&first)
}

/// Whether weight decay applies to a parameter. The rule is that of transformers' `Trainer`: no decay for names that contain
/// `bias`, `layernorm` or `rmsnorm`, or have a part that is `norm` or ends with `_norm` (in lower case).
pub fn decays(name: &str) -> bool {
    let name = name.to_lowercase();
    let is_norm = |part: &str| part == "norm" || part.ends_with("_norm");
    !["bias", "layernorm", "rmsnorm"].iter().any(|word| name.contains(word)) && !name.split('.').any(is_norm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_beyond_the_weights_are_refused() {
        let sized = |rows: usize, width: usize| {
            let mut declarations = Declarations::default();
            declarations.table("embeddings", rows, width, Group::Embeddings);
            declarations.check_size(1000)
        };
        assert!(sized(100, 4).is_ok());
        for (rows, width) in [(100_000_000, 1_000_000), (1 << 40, 1 << 40)] {
            let message = sized(rows, width).unwrap_err().to_string();
            assert!(message.contains("but the weights hold 1000"), "{message}");
        }
    }

    #[test]
    fn weight_decay_follows_the_trainer_of_transformers() {
        for name in [
            "encoder.layer.0.output.dense.bias",
            "embeddings.LayerNorm.weight",
            "transformer.layer.1.sa_layer_norm.weight",
            "encoder.albert_layer_groups.0.albert_layers.0.full_layer_layer_norm.weight",
            "encoder.relative_attention_bias.weight",
            "layers.3.attn_norm.weight",
            "head.norm.weight",
            "lstm.bias_ih_l0",
        ] {
            assert!(!decays(name), "{name}");
        }
        for name in
            ["embeddings.word_embeddings.weight", "classifier.out_proj.weight", "pooler.weight", "normal.weight"]
        {
            assert!(decays(name), "{name}");
        }
    }
}
