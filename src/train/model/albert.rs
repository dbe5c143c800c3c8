//! ALBERT (Lan et al., 2020): layers in groups that share their parameters, and embeddings of another width.

use candle_core::{Result, Tensor};
use serde::Deserialize;

use super::adapter::PartEnd;
use super::config::{
    DropoutRates, activation, check_heads, check_positions, check_sizes, epsilon, initializer_range, parse, tenth,
    wrong,
};
use super::declarations::{Declarations, Group};
use super::encoder::{Encoder, HeadLayout, MaskedHead, Shape};
use super::operations::{Attention, Embeddings, Linear, Norm, Operations, Place, PositionTable, Rows, TypeTable};
use super::transformer_layer::{LayerNames, LayerSizes, TransformerLayer};
use crate::train::TrainError;
use plateau_kernels::activation::Activation;

/// The keys of `config.json`, with the defaults of transformers.
#[derive(Deserialize)]
struct Keys {
    vocab_size: usize,
    embedding_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    #[serde(default = "one")]
    num_hidden_groups: usize,
    #[serde(default = "one")]
    inner_group_num: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default = "gelu_new")]
    hidden_act: String,
    #[serde(default = "epsilon")]
    layer_norm_eps: f64,
    #[serde(default = "initializer_range")]
    initializer_range: f64,
    #[serde(default)]
    hidden_dropout_prob: f64,
    #[serde(default)]
    attention_probs_dropout_prob: f64,
    #[serde(default = "tenth")]
    classifier_dropout_prob: f64,
    position_embedding_type: Option<String>,
}

fn one() -> usize {
    1
}
fn two() -> usize {
    2
}
fn gelu_new() -> String {
    "gelu_new".into()
}

#[derive(Debug)]
struct Albert {
    shape: Shape,
    embedding_norm: Norm,
    projection: Linear,
    /// The blocks of each layer. Layers of one group have the same parameters and different dropout places.
    layers: Vec<Vec<TransformerLayer>>,
}

const NAMES: LayerNames = LayerNames {
    query: "attention.query",
    key: "attention.key",
    value: "attention.value",
    output: "attention.dense",
    attention_norm: "attention.LayerNorm",
    up: "ffn",
    down: "ffn_output",
    norm: "full_layer_layer_norm",
};

/// Dense layer, LayerNorm and bias of the head for masked tokens.
const MASKED: [&str; 3] = ["predictions.dense", "predictions.LayerNorm", "predictions.bias"];

/// Reads `config.json` and declares the parameters.
pub fn read(json: &[u8], declarations: &mut Declarations) -> std::result::Result<Box<dyn Encoder>, TrainError> {
    let keys: Keys = parse(json)?;
    check_positions(keys.position_embedding_type.as_deref())?;
    check_sizes(&[
        ("vocab_size", keys.vocab_size),
        ("embedding_size", keys.embedding_size),
        ("hidden_size", keys.hidden_size),
        ("num_hidden_layers", keys.num_hidden_layers),
        ("num_hidden_groups", keys.num_hidden_groups),
        ("inner_group_num", keys.inner_group_num),
        ("num_attention_heads", keys.num_attention_heads),
        ("intermediate_size", keys.intermediate_size),
        ("max_position_embeddings", keys.max_position_embeddings),
        ("type_vocab_size", keys.type_vocab_size),
    ])?;
    check_heads(("hidden_size", keys.hidden_size), ("num_attention_heads", keys.num_attention_heads))?;
    if keys.num_hidden_groups > keys.num_hidden_layers {
        return Err(wrong(format!(
            "num_hidden_groups is {}; it must not exceed num_hidden_layers, which is {}",
            keys.num_hidden_groups, keys.num_hidden_layers
        )));
    }
    let sizes = LayerSizes {
        hidden: keys.hidden_size,
        intermediate: keys.intermediate_size,
        heads: keys.num_attention_heads,
        epsilon: keys.layer_norm_eps,
        activation: activation("hidden_act", &keys.hidden_act)?,
    };
    let group = Group::Embeddings;
    let width = keys.embedding_size;
    let mut table = |name: &str, rows| declarations.table(&format!("embeddings.{name}"), rows, width, group);
    let tokens = table("word_embeddings", keys.vocab_size);
    let positions = PositionTable { table: table("position_embeddings", keys.max_position_embeddings), first: 0 };
    let types = TypeTable { table: table("token_type_embeddings", keys.type_vocab_size), always_zero: false };
    let embedding_norm = declarations.norm("embeddings.LayerNorm", width, keys.layer_norm_eps, group);
    let projection = declarations.linear("encoder.embedding_hidden_mapping_in", keys.hidden_size, width, group);
    let mut layers: Vec<Vec<TransformerLayer>> = Vec::new();
    for number in 0..keys.num_hidden_layers {
        let blocks = match number.checked_sub(1) {
            Some(lower) if group_of(&keys, lower) == group_of(&keys, number) => layers[lower].clone(),
            _ => (0..keys.inner_group_num).map(|inner| block(declarations, &keys, sizes, number, inner)).collect(),
        };
        layers.push(blocks.into_iter().enumerate().map(|(inner, block)| at(&keys, &block, number, inner)).collect());
    }
    let masked = MaskedHead::new(MASKED, sizes.activation, keys.layer_norm_eps);
    let head = HeadLayout { masked: Some(masked), ..HeadLayout::plain("pooler", Activation::Tanh) };
    let shape = Shape {
        prefix: "albert",
        vocabulary: keys.vocab_size,
        hidden: keys.hidden_size,
        layers: keys.num_hidden_layers,
        heads: keys.num_attention_heads,
        intermediate: keys.intermediate_size,
        positions: keys.max_position_embeddings,
        types: Some(keys.type_vocab_size),
        embeddings: Embeddings { tokens, width, positions: Some(positions), types: Some(types) },
        initializer_range: keys.initializer_range,
        dropout: DropoutRates {
            hidden: keys.hidden_dropout_prob,
            attention: keys.attention_probs_dropout_prob,
            classifier: keys.classifier_dropout_prob,
        },
        head,
    };
    Ok(Box::new(Albert { shape, embedding_norm, projection, layers }))
}

/// The group of a layer: `int(layer / (layers / groups))` with a division of real numbers, as transformers computes it.
fn group_of(keys: &Keys, layer: usize) -> usize {
    (layer as f64 / (keys.num_hidden_layers as f64 / keys.num_hidden_groups as f64)) as usize
}

/// Declares a block. `number` is the lowest layer of the group.
fn block(
    declarations: &mut Declarations,
    keys: &Keys,
    sizes: LayerSizes,
    number: usize,
    inner: usize,
) -> TransformerLayer {
    let stem = format!("encoder.albert_layer_groups.{}.albert_layers.{inner}", group_of(keys, number));
    TransformerLayer::declare(declarations, &stem, &NAMES, sizes, number)
}

/// The block with the dropout places of layer `number`. transformers has no dropout after the feed-forward part of ALBERT.
fn at(keys: &Keys, block: &TransformerLayer, number: usize, inner: usize) -> TransformerLayer {
    let place = number * keys.inner_group_num + inner;
    TransformerLayer {
        attention: Attention { dropout: Place::attention(place, number), ..block.attention },
        attention_end: PartEnd { dropout: Some(Place::attention_output(place, number)), ..block.attention_end },
        end: PartEnd { dropout: None, ..block.end },
        ..*block
    }
}

impl Encoder for Albert {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn embed(&self, ops: &mut dyn Operations) -> Result<Tensor> {
        let x = ops.embed(&self.shape.embeddings)?;
        let x = ops.layer_norm(&x, self.embedding_norm)?;
        let x = ops.dropout(&x, Place::EMBEDDINGS)?;
        ops.linear(&x, self.projection)
    }

    fn layer(&self, number: usize, x: &Tensor, rows: Rows, ops: &mut dyn Operations) -> Result<Tensor> {
        let blocks = &self.layers[number];
        let (last, lower) =
            blocks.split_last().ok_or_else(|| candle_core::Error::Msg("a layer without blocks".into()))?;
        let mut x = x.clone();
        for block in lower {
            x = block.forward(ops, &x, Rows::All)?;
        }
        last.forward(ops, &x, rows)
    }

    fn shares_with_next(&self, number: usize) -> bool {
        let query = |number: usize| self.layers.get(number).and_then(|blocks| blocks.first()).map(|block| block.query);
        query(number) == query(number + 1)
    }
}
