//! `ModernBERT` (Warner et al., 2024): normalisation before each part of a layer, rotary positions, gated feed-forward parts, and
//! layers that see only near tokens.

use candle_core::{Result, Tensor};
use serde::Deserialize;

use super::adapter::Adapter;
use super::config::{DropoutRates, activation, check_heads, check_sizes, gelu, initializer_range, parse, wrong};
use super::declarations::{Declarations, Group};
use super::encoder::{Encoder, HeadLayout, HeadNorm, MaskedHead, Pool, Shape, WordHead};
use super::operations::{Attention, DropoutKind, Embeddings, Linear, Norm, Operations, Place, Rows};
use crate::train::TrainError;
use crate::trial::AdapterPlace;
use plateau_kernels::activation::Activation;

/// The keys of `config.json`, with the defaults of transformers.
#[expect(clippy::struct_excessive_bools, reason = "keys of a file")]
#[derive(Deserialize)]
struct Keys {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    #[serde(default = "positions")]
    max_position_embeddings: usize,
    #[serde(default = "gelu")]
    hidden_activation: String,
    #[serde(default = "gelu")]
    classifier_activation: String,
    #[serde(default = "epsilon")]
    norm_eps: f64,
    #[serde(default)]
    norm_bias: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    classifier_bias: bool,
    #[serde(default = "yes")]
    decoder_bias: bool,
    #[serde(default = "cls")]
    classifier_pooling: String,
    #[serde(default = "three")]
    global_attn_every_n_layers: usize,
    #[serde(default = "window")]
    local_attention: u32,
    global_rope_theta: Option<f64>,
    local_rope_theta: Option<f64>,
    layer_types: Option<Vec<String>>,
    rope_parameters: Option<RopeParameters>,
    #[serde(default = "initializer_range")]
    initializer_range: f64,
    #[serde(default)]
    embedding_dropout: f64,
    #[serde(default)]
    attention_dropout: f64,
    #[serde(default)]
    mlp_dropout: f64,
    #[serde(default)]
    classifier_dropout: f64,
}

/// The rotations as transformers 5 writes them.
#[derive(Deserialize)]
struct RopeParameters {
    full_attention: Option<Rope>,
    sliding_attention: Option<Rope>,
}

#[derive(Deserialize)]
struct Rope {
    rope_theta: f64,
    #[serde(default = "default_rope")]
    rope_type: String,
}

fn yes() -> bool {
    true
}
fn positions() -> usize {
    8192
}
fn epsilon() -> f64 {
    1e-5
}
fn cls() -> String {
    "cls".into()
}
fn three() -> usize {
    3
}
fn window() -> u32 {
    128
}
fn default_rope() -> String {
    "default".into()
}

#[derive(Debug)]
struct ModernBert {
    shape: Shape,
    embedding_norm: Norm,
    layers: Vec<Layer>,
}

/// A layer: attention and a gated feed-forward part, each after a LayerNorm and added to its input.
#[derive(Debug)]
struct Layer {
    /// None in the first layer, whose input is normalised already.
    attention_norm: Option<Norm>,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    attention_adapter: Option<Adapter>,
    attention: Attention,
    theta: f64,
    norm: Norm,
    values: Linear,
    gates: Linear,
    down: Linear,
    adapter: Option<Adapter>,
    activation: Activation,
}

/// Reads `config.json` and declares the parameters.
pub fn read(json: &[u8], declarations: &mut Declarations) -> std::result::Result<Box<dyn Encoder>, TrainError> {
    let keys: Keys = parse(json)?;
    keys.check()?;
    let activation_of_layers = activation("hidden_activation", &keys.hidden_activation)?;
    let (hidden, group) = (keys.hidden_size, Group::Embeddings);
    let tokens = declarations.table("embeddings.tok_embeddings", keys.vocab_size, hidden, group);
    let embedding_norm = declarations.norm_with(keys.norm_bias, "embeddings.norm", hidden, keys.norm_eps, group);
    let layers = (0..keys.num_hidden_layers)
        .map(|number| layer(declarations, &keys, activation_of_layers, number))
        .collect::<std::result::Result<_, _>>()?;
    // It is trained with the head, as it is above all layers.
    let final_norm = declarations.norm_with(keys.norm_bias, "final_norm", hidden, keys.norm_eps, Group::Head);
    let head_norm = HeadNorm { name: "head.norm", epsilon: keys.norm_eps, bias: keys.norm_bias };
    let head_activation = activation("classifier_activation", &keys.classifier_activation)?;
    let masked = MaskedHead {
        dense: "head.dense",
        dense_bias: keys.classifier_bias,
        activation: head_activation,
        norm: head_norm,
        bias: keys.decoder_bias.then_some("decoder.bias"),
    };
    let head = HeadLayout {
        masked: Some(masked),
        dense_bias: keys.classifier_bias,
        pool: if keys.classifier_pooling == "mean" { Pool::Mean } else { Pool::First },
        norm: Some(head_norm),
        final_norm: Some(final_norm),
        words: Some(WordHead { has_dense: true, ..WordHead::PLAIN }),
        ..HeadLayout::plain("head.dense", head_activation)
    };
    let shape = Shape {
        prefix: "model",
        vocabulary: keys.vocab_size,
        hidden,
        layers: keys.num_hidden_layers,
        heads: keys.num_attention_heads,
        intermediate: keys.intermediate_size,
        positions: keys.max_position_embeddings,
        types: None,
        embeddings: Embeddings { tokens, width: hidden, positions: None, types: None },
        initializer_range: keys.initializer_range,
        dropout: DropoutRates {
            hidden: keys.mlp_dropout,
            attention: keys.attention_dropout,
            classifier: keys.classifier_dropout,
        },
        head,
    };
    Ok(Box::new(ModernBert { shape, embedding_norm, layers }))
}

impl Keys {
    fn check(&self) -> std::result::Result<(), TrainError> {
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("global_attn_every_n_layers", self.global_attn_every_n_layers),
        ])?;
        check_heads(("hidden_size", self.hidden_size), ("num_attention_heads", self.num_attention_heads))?;
        let size = self.hidden_size / self.num_attention_heads;
        if !size.is_multiple_of(2) {
            return Err(wrong(format!(
                "hidden_size / num_attention_heads is {size}; rotary positions need an even number"
            )));
        }
        if !["cls", "mean"].contains(&self.classifier_pooling.as_str()) {
            let pooling = &self.classifier_pooling;
            return Err(wrong(format!("classifier_pooling is '{pooling}': not supported; supported are cls and mean")));
        }
        if self.embedding_dropout.to_bits() != self.mlp_dropout.to_bits() {
            return Err(wrong(format!(
                "embedding_dropout is {} and mlp_dropout is {}: not supported; use one value for both",
                self.embedding_dropout, self.mlp_dropout
            )));
        }
        match &self.layer_types {
            Some(types) if types.len() != self.num_hidden_layers => Err(wrong(format!(
                "layer_types has {} entries; num_hidden_layers is {}",
                types.len(),
                self.num_hidden_layers
            ))),
            _ => Ok(()),
        }
    }

    /// Whether a layer sees all tokens.
    fn sees_all(&self, number: usize) -> std::result::Result<bool, TrainError> {
        match self.layer_types.as_ref().map(|types| types[number].as_str()) {
            None => Ok(number.is_multiple_of(self.global_attn_every_n_layers)),
            Some("full_attention") => Ok(true),
            Some("sliding_attention") => Ok(false),
            Some(other) => Err(wrong(format!(
                "layer_types has '{other}': not supported; supported are full_attention and sliding_attention"
            ))),
        }
    }

    /// The base of the rotation's angles.
    fn theta(&self, sees_all: bool) -> std::result::Result<f64, TrainError> {
        let rope = self.rope_parameters.as_ref();
        let (rope, key, default) = if sees_all {
            (rope.and_then(|rope| rope.full_attention.as_ref()), self.global_rope_theta, 160_000.0)
        } else {
            (rope.and_then(|rope| rope.sliding_attention.as_ref()), self.local_rope_theta, 10_000.0)
        };
        match rope {
            Some(rope) if rope.rope_type != "default" => {
                Err(wrong(format!("rope_type is '{}': not supported; supported is 'default'", rope.rope_type)))
            }
            Some(rope) => Ok(rope.rope_theta),
            None => Ok(key.unwrap_or(default)),
        }
    }
}

fn layer(
    declarations: &mut Declarations,
    keys: &Keys,
    activation: Activation,
    number: usize,
) -> std::result::Result<Layer, TrainError> {
    let (hidden, inner, group) = (keys.hidden_size, keys.intermediate_size, Group::Layer(number));
    let stem = format!("layers.{number}");
    let sees_all = keys.sees_all(number)?;
    let theta = keys.theta(sees_all)?;
    let attention_norm = (number > 0)
        .then(|| declarations.norm_with(keys.norm_bias, &format!("{stem}.attn_norm"), hidden, keys.norm_eps, group));
    let mut linear = |bias, name: &str, outputs, inputs| {
        declarations.linear_with(bias, &format!("{stem}.{name}"), outputs, inputs, group)
    };
    let together = linear(keys.attention_bias, "attn.Wqkv", 3 * hidden, hidden);
    let output = linear(keys.attention_bias, "attn.Wo", hidden, hidden);
    let up = linear(keys.mlp_bias, "mlp.Wi", 2 * inner, hidden);
    let down = linear(keys.mlp_bias, "mlp.Wo", hidden, inner);
    let mut adapter = |place, name: &str| declarations.adapter(place, &format!("{stem}.{name}"), hidden, group);
    let attention_adapter = adapter(AdapterPlace::Attention, "attn.Wo");
    let adapter = adapter(AdapterPlace::Mlp, "mlp.Wo");
    Ok(Layer {
        attention_norm,
        query: together.part(0, hidden),
        key: together.part(hidden, hidden),
        value: together.part(2 * hidden, hidden),
        output,
        attention_adapter,
        attention: Attention {
            heads: keys.num_attention_heads,
            dropout: Place::attention(number, number),
            bias: None,
            window: (!sees_all).then_some(keys.local_attention / 2),
            sees_first: false,
        },
        theta,
        norm: declarations.norm_with(keys.norm_bias, &format!("{stem}.mlp_norm"), hidden, keys.norm_eps, group),
        values: up.part(0, inner),
        gates: up.part(inner, inner),
        down,
        adapter,
        activation,
    })
}

impl Encoder for ModernBert {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn attention_span(&self, number: usize) -> Option<usize> {
        self.layers[number].attention.window.map(|distance| 2 * distance as usize + 1)
    }

    fn embed(&self, ops: &mut dyn Operations) -> Result<Tensor> {
        let x = ops.embed(&self.shape.embeddings)?;
        let x = ops.layer_norm(&x, self.embedding_norm)?;
        ops.dropout(&x, Place::EMBEDDINGS)
    }

    fn layer(&self, number: usize, x: &Tensor, rows: Rows, ops: &mut dyn Operations) -> Result<Tensor> {
        let layer = &self.layers[number];
        let normal = match layer.attention_norm {
            Some(norm) => ops.layer_norm(x, norm)?,
            None => x.clone(),
        };
        let v = ops.linear(&normal, layer.value)?;
        let k = ops.linear(&normal, layer.key)?;
        let (asking, residual) = match rows {
            Rows::All => (normal, x.clone()),
            Rows::Outputs => (ops.output_rows(&normal)?, ops.output_rows(x)?),
        };
        let q = ops.linear(&asking, layer.query)?;
        let (heads, theta) = (layer.attention.heads, layer.theta);
        let (q, k) = (ops.rotate(&q, heads, theta)?, ops.rotate(&k, heads, theta)?);
        let context = ops.attention(&q, &k, &v, &layer.attention)?;
        let context = ops.linear(&context, layer.output)?;
        // transformers uses the attention probability for both.
        let place = Place { probability: DropoutKind::Attention, ..Place::attention_output(number, number) };
        let context = ops.dropout(&context, place)?;
        let context = match layer.attention_adapter {
            Some(adapter) => adapter.forward(ops, &context)?,
            None => context,
        };
        let x = ops.add(&residual, &context)?;
        let normal = ops.layer_norm(&x, layer.norm)?;
        let inner = ops.gate(&normal, layer.values, layer.gates, layer.activation)?;
        let inner = ops.dropout(&inner, Place::feed_forward_output(number, number))?;
        let inner = ops.linear(&inner, layer.down)?;
        let inner = match layer.adapter {
            Some(adapter) => adapter.forward(ops, &inner)?,
            None => inner,
        };
        ops.add(&x, &inner)
    }
}
