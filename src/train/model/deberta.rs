//! `DeBERTa` v2 and v3 (He et al., 2021): scores depend on the contents of two tokens and on their distance, each with projections of
//! its own ("disentangled attention").

use candle_core::{Result, Tensor};
use serde::Deserialize;

use super::config::{
    DropoutRates, activation, check_encoder, check_heads, check_sizes, gelu, initializer_range, parse, tenth, wrong,
};
use super::declarations::{Declarations, Group, Initial};
use super::encoder::{Encoder, HeadLayout, MaskedHead, Shape, WordHead};
use super::operations::{
    DistanceTables, DropoutKind, Embeddings, Linear, Norm, Operations, Place, PositionTable, Rows, TypeTable,
};
use super::transformer_layer::{LayerNames, LayerSizes, TransformerLayer};
use crate::train::TrainError;
use crate::trial::ModelFacts;
use plateau_kernels::activation::Activation;

/// The keys of `config.json`, with the defaults of transformers.
#[expect(clippy::struct_excessive_bools, reason = "the keys of the file")]
#[derive(Deserialize)]
struct Keys {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    embedding_size: Option<usize>,
    attention_head_size: Option<usize>,
    pooler_hidden_size: Option<usize>,
    #[serde(default = "positions")]
    max_position_embeddings: usize,
    #[serde(default)]
    type_vocab_size: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "gelu")]
    pooler_hidden_act: String,
    #[serde(default = "epsilon")]
    layer_norm_eps: f64,
    #[serde(default = "initializer_range")]
    initializer_range: f64,
    #[serde(default = "tenth")]
    hidden_dropout_prob: f64,
    #[serde(default = "tenth")]
    attention_probs_dropout_prob: f64,
    cls_dropout: Option<f64>,
    #[serde(default)]
    pooler_dropout: f64,
    #[serde(default)]
    relative_attention: bool,
    #[serde(default = "absent")]
    max_relative_positions: i64,
    #[serde(default = "absent")]
    position_buckets: i64,
    #[serde(default = "yes")]
    position_biased_input: bool,
    #[serde(default)]
    pos_att_type: Option<Terms>,
    #[serde(default)]
    share_att_key: bool,
    norm_rel_ebd: Option<String>,
    #[serde(default)]
    conv_kernel_size: usize,
    #[serde(default = "one")]
    conv_groups: usize,
    #[serde(default = "tanh")]
    conv_act: String,
    #[serde(default)]
    is_decoder: bool,
    /// Whether the head for masked tokens is that of BERT.
    #[serde(default = "yes")]
    legacy: bool,
}

fn positions() -> usize {
    512
}
fn epsilon() -> f64 {
    1e-7
}
fn absent() -> i64 {
    -1
}
fn yes() -> bool {
    true
}
fn one() -> usize {
    1
}
fn tanh() -> String {
    "tanh".into()
}

/// The terms of the scores that depend on the distance: a list, or names with `|` between.
#[derive(Deserialize)]
#[serde(untagged)]
enum Terms {
    Text(String),
    List(Vec<String>),
}

impl Terms {
    fn names(&self) -> Vec<String> {
        match self {
            Self::Text(text) => text.to_lowercase().split('|').map(|name| name.trim().to_owned()).collect(),
            Self::List(names) => names.clone(),
        }
    }
}

/// Dense layer, LayerNorm and bias of the head for masked tokens, as in transformers: with `legacy`, and without.
const MASKED: [[&str; 3]; 2] = [
    ["cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"],
    ["lm_predictions.lm_head.dense", "lm_predictions.lm_head.LayerNorm", "lm_predictions.lm_head.bias"],
];

const NAMES: LayerNames = LayerNames {
    query: "attention.self.query_proj",
    key: "attention.self.key_proj",
    value: "attention.self.value_proj",
    output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    norm: "output.LayerNorm",
};

#[derive(Debug)]
struct Deberta {
    shape: Shape,
    projection: Option<Linear>,
    embedding_norm: Norm,
    layers: Vec<Layer>,
    distances: Option<Distances>,
    convolution: Option<TokenConvolution>,
}

#[derive(Debug)]
struct Layer {
    base: TransformerLayer,
    /// From the embeddings of distances to their keys and queries.
    position_key: Option<Linear>,
    position_query: Option<Linear>,
}

/// The embeddings of distances, which all layers share. So they belong to the lowest one.
#[derive(Debug)]
struct Distances {
    table: usize,
    norm: Option<Norm>,
    buckets: Buckets,
}

/// The row of a distance.
#[derive(Debug, Clone, Copy)]
struct Buckets {
    /// Row of the distance 0, and half the number of rows.
    span: i64,
    /// Distances up to half of the span have a row of their own, larger ones share rows up to this distance. None: each distance has
    /// its own.
    largest: Option<i64>,
}

/// A convolution over the embeddings, which is added to the output of the lowest layer.
#[derive(Debug)]
struct TokenConvolution {
    /// Tokens of a window.
    size: usize,
    weight: Linear,
    activation: Activation,
    norm: Norm,
}

/// Reads `config.json` and declares the parameters.
pub fn read(json: &[u8], declarations: &mut Declarations) -> std::result::Result<Box<dyn Encoder>, TrainError> {
    let keys: Keys = parse(json)?;
    check(&keys)?;
    let (hidden, width) = (keys.hidden_size, keys.embedding_size.unwrap_or(keys.hidden_size));
    let sizes = LayerSizes {
        hidden,
        intermediate: keys.intermediate_size,
        heads: keys.num_attention_heads,
        epsilon: keys.layer_norm_eps,
        activation: activation("hidden_act", &keys.hidden_act)?,
    };
    let group = Group::Embeddings;
    let mut table = |name: &str, rows| declarations.table(&format!("embeddings.{name}"), rows, width, group);
    let tokens = table("word_embeddings", keys.vocab_size);
    let positions = keys
        .position_biased_input
        .then(|| PositionTable { table: table("position_embeddings", keys.max_position_embeddings), first: 0 });
    let types = (keys.type_vocab_size > 0)
        .then(|| TypeTable { table: table("token_type_embeddings", keys.type_vocab_size), always_zero: false });
    let projection =
        (width != hidden).then(|| declarations.linear_with(false, "embeddings.embed_proj", hidden, width, group));
    let embedding_norm = declarations.norm("embeddings.LayerNorm", hidden, keys.layer_norm_eps, group);
    let terms = keys.pos_att_type.as_ref().map(Terms::names).unwrap_or_default();
    let distances = (!terms.is_empty()).then(|| declare_distances(declarations, &keys));
    let convolution = declare_convolution(declarations, &keys)?;
    let layers = (0..keys.num_hidden_layers).map(|number| layer(declarations, &keys, sizes, &terms, number)).collect();
    let head = HeadLayout {
        input_dropout: keys.pooler_dropout > 0.0,
        masked: Some(MaskedHead::new(MASKED[usize::from(!keys.legacy)], sizes.activation, keys.layer_norm_eps)),
        words: Some(WordHead { dropout: DropoutKind::Hidden, ..WordHead::PLAIN }),
        ..HeadLayout::plain("pooler.dense", activation("pooler_hidden_act", &keys.pooler_hidden_act)?)
    };
    let shape = Shape {
        prefix: "deberta",
        vocabulary: keys.vocab_size,
        hidden,
        layers: keys.num_hidden_layers,
        heads: keys.num_attention_heads,
        intermediate: keys.intermediate_size,
        positions: if keys.position_biased_input { keys.max_position_embeddings } else { ModelFacts::NO_POSITIONS },
        types: types.map(|_| keys.type_vocab_size),
        embeddings: Embeddings { tokens, width, positions, types },
        initializer_range: keys.initializer_range,
        dropout: DropoutRates {
            hidden: keys.hidden_dropout_prob,
            attention: keys.attention_probs_dropout_prob,
            classifier: keys.cls_dropout.unwrap_or(keys.hidden_dropout_prob),
        },
        head,
    };
    Ok(Box::new(Deberta { shape, projection, embedding_norm, layers, distances, convolution }))
}

/// Refuses sizes and settings that are not supported.
fn check(keys: &Keys) -> std::result::Result<(), TrainError> {
    check_encoder(keys.is_decoder)?;
    check_sizes(&[
        ("vocab_size", keys.vocab_size),
        ("hidden_size", keys.hidden_size),
        ("embedding_size", keys.embedding_size.unwrap_or(1)),
        ("num_hidden_layers", keys.num_hidden_layers),
        ("num_attention_heads", keys.num_attention_heads),
        ("intermediate_size", keys.intermediate_size),
        ("max_position_embeddings", keys.max_position_embeddings),
        ("type_vocab_size", keys.type_vocab_size.max(1)),
    ])?;
    check_heads(("hidden_size", keys.hidden_size), ("num_attention_heads", keys.num_attention_heads))?;
    let size = keys.hidden_size / keys.num_attention_heads;
    let fixed = [
        ("attention_head_size", keys.attention_head_size, size),
        ("pooler_hidden_size", keys.pooler_hidden_size, keys.hidden_size),
    ];
    for (key, given, expected) in fixed {
        if let Some(given) = given.filter(|given| *given != expected) {
            return Err(wrong(format!("{key} is {given}: not supported; supported is {expected}")));
        }
    }
    let terms = keys.pos_att_type.as_ref().map(Terms::names).unwrap_or_default();
    if let Some(other) = terms.iter().find(|name| !["c2p", "p2c"].contains(&name.as_str())) {
        return Err(wrong(format!("pos_att_type has '{other}': not supported; supported are c2p and p2c")));
    }
    if keys.relative_attention == terms.is_empty() {
        return Err(wrong("relative_attention and pos_att_type do not fit: both must be given, or neither"));
    }
    if keys.position_buckets == 1 {
        return Err(wrong("position_buckets is 1; it must be at least 2"));
    }
    if keys.conv_groups != 1 {
        return Err(wrong(format!("conv_groups is {}: not supported; supported is 1", keys.conv_groups)));
    }
    if keys.conv_kernel_size > 0 && keys.conv_kernel_size.is_multiple_of(2) {
        return Err(wrong(format!("conv_kernel_size is {}; it must be odd", keys.conv_kernel_size)));
    }
    Ok(())
}

fn declare_distances(declarations: &mut Declarations, keys: &Keys) -> Distances {
    let (hidden, group) = (keys.hidden_size, Group::Layer(0));
    let largest =
        if keys.max_relative_positions < 1 { keys.max_position_embeddings as i64 } else { keys.max_relative_positions };
    let buckets = if keys.position_buckets > 0 {
        Buckets { span: keys.position_buckets, largest: Some(largest) }
    } else {
        Buckets { span: largest, largest: None }
    };
    let table = declarations.table("encoder.rel_embeddings", 2 * buckets.span as usize, hidden, group);
    let is_normed = keys.norm_rel_ebd.as_deref().unwrap_or_default().to_lowercase();
    let is_normed = is_normed.split('|').any(|name| name.trim() == "layer_norm");
    let norm = is_normed.then(|| declarations.norm("encoder.LayerNorm", hidden, keys.layer_norm_eps, group));
    Distances { table, norm, buckets }
}

fn declare_convolution(
    declarations: &mut Declarations,
    keys: &Keys,
) -> std::result::Result<Option<TokenConvolution>, TrainError> {
    let (size, hidden, group) = (keys.conv_kernel_size, keys.hidden_size, Group::Layer(0));
    if size == 0 {
        return Ok(None);
    }
    // As in torch's `Conv1d`.
    let initial = Initial::Uniform(1.0 / ((hidden * size) as f64).sqrt());
    let weight = declarations.add("encoder.conv.conv.weight".into(), &[hidden, hidden, size], initial, group);
    let bias = declarations.add("encoder.conv.conv.bias".into(), &[hidden], initial, group);
    Ok(Some(TokenConvolution {
        size,
        weight: Linear { weight, bias: Some(bias), first: 0, outputs: hidden, low_rank: None },
        activation: activation("conv_act", &keys.conv_act)?,
        norm: declarations.norm("encoder.conv.LayerNorm", hidden, keys.layer_norm_eps, group),
    }))
}

fn layer(declarations: &mut Declarations, keys: &Keys, sizes: LayerSizes, terms: &[String], number: usize) -> Layer {
    let stem = format!("encoder.layer.{number}");
    let base = TransformerLayer::declare(declarations, &stem, &NAMES, sizes, number);
    let mut projection = |term: &str, name: &str, shared: Linear| {
        terms.iter().any(|named| named == term).then(|| {
            if keys.share_att_key {
                return shared;
            }
            let name = format!("{stem}.attention.self.{name}");
            declarations.linear(&name, keys.hidden_size, keys.hidden_size, Group::Layer(number))
        })
    };
    let position_key = projection("c2p", "pos_key_proj", base.key);
    let position_query = projection("p2c", "pos_query_proj", base.query);
    Layer { base, position_key, position_query }
}

impl Buckets {
    /// The row of the distance query - key.
    fn row(self, distance: i64) -> u32 {
        (self.bucket(distance) + self.span).clamp(0, 2 * self.span - 1) as u32
    }

    /// The bucket of a distance: itself up to half of the span, logarithmic beyond, in f32 like transformers.
    fn bucket(self, distance: i64) -> i64 {
        let (Some(largest), middle) = (self.largest, self.span / 2) else { return distance };
        let size = distance.abs();
        if size <= middle {
            return distance;
        }
        let middle = middle as f32;
        let ratio = (size as f32 / middle).ln() / (((largest - 1) as f64 / f64::from(middle)) as f32).ln();
        distance.signum() * ((ratio * (middle - 1.0)).ceil() + middle) as i64
    }
}

impl Deberta {
    /// The tables of distances for a layer. Only the rows that the texts of the micro-batch need are computed.
    fn tables(&self, number: usize, ops: &mut dyn Operations) -> Result<Option<DistanceTables>> {
        let Some(Distances { table, norm, buckets }) = &self.distances else { return Ok(None) };
        let limit = ops.longest().saturating_sub(1);
        let rows: Vec<u32> = (-(limit as i64)..=limit as i64).map(|distance| buckets.row(distance)).collect();
        let (first, last) = (rows[0], rows[rows.len() - 1]);
        let mut x = ops.table_rows(*table, first as usize..last as usize + 1)?;
        if let Some(norm) = norm {
            x = ops.layer_norm(&x, *norm)?;
        }
        x = ops.table_dropout(&x, first as usize, Place::distances(number, number))?;
        let layer = &self.layers[number];
        let mut project = |layer: Option<Linear>| layer.map(|layer| ops.linear(&x, layer)).transpose();
        let (keys, queries) = (project(layer.position_key)?, project(layer.position_query)?);
        Ok(Some(DistanceTables { rows: rows.into_iter().map(|row| row - first).collect(), limit, keys, queries }))
    }
}

impl Encoder for Deberta {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn embed(&self, ops: &mut dyn Operations) -> Result<Tensor> {
        let mut x = ops.embed(&self.shape.embeddings)?;
        if let Some(projection) = self.projection {
            x = ops.linear(&x, projection)?;
        }
        let x = ops.layer_norm(&x, self.embedding_norm)?;
        ops.dropout(&x, Place::EMBEDDINGS)
    }

    fn layer(&self, number: usize, x: &Tensor, rows: Rows, ops: &mut dyn Operations) -> Result<Tensor> {
        let layer = &self.layers[number].base;
        let tables = self.tables(number, ops)?;
        let (asking, context) = layer.attend_at_distances(ops, x, rows, tables.as_ref())?;
        let y = layer.finish(ops, &context, &asking)?;
        let Some(TokenConvolution { size, weight, activation, norm }) =
            self.convolution.as_ref().filter(|_| number == 0)
        else {
            return Ok(y);
        };
        let windows = ops.windows(x, *size, rows)?;
        let near = ops.linear(&windows, *weight)?;
        let near = ops.dropout(&near, Place::convolution())?;
        let near = ops.activate(&near, *activation)?;
        let sum = ops.add(&y, &near)?;
        ops.layer_norm(&sum, *norm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_exact_near_zero_and_logarithmic_beyond() {
        let exact = Buckets { span: 4, largest: None };
        let rows: Vec<u32> = (-6..=6).map(|distance| exact.row(distance)).collect();
        assert_eq!(rows, [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 7]);
        let buckets = Buckets { span: 256, largest: Some(512) };
        // `make_log_bucket_position` of transformers 5.24.
        let expected = [
            (0, 0),
            (127, 127),
            (128, 128),
            (129, 129),
            (150, 143),
            (200, 169),
            (255, 192),
            (256, 192),
            (400, 233),
            (510, 255),
            (512, 256),
            (1000, 317),
        ];
        let short = Buckets { span: 8, largest: Some(64) };
        let found: Vec<i64> = (-12..=12).map(|distance| short.bucket(distance)).collect();
        let wanted = [-6, -6, -5, -5, -5, -5, -5, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 6, 6];
        assert_eq!(found, wanted);
        for (distance, bucket) in expected {
            assert_eq!((buckets.bucket(distance), buckets.bucket(-distance)), (bucket, -bucket), "{distance}");
        }
    }

    #[test]
    fn settings_that_are_not_supported_are_refused() {
        let message = |more: &str| {
            let json = format!(
                r#"{{"model_type": "deberta-v2", "vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 1,
                "num_attention_heads": 2, "intermediate_size": 40{more}}}"#
            );
            read(json.as_bytes(), &mut Declarations::default()).map(drop).unwrap_err().to_string()
        };
        insta::assert_snapshot!(message(r#", "relative_attention": true, "pos_att_type": "p2p|c2p""#), @"config.json: pos_att_type has 'p2p': not supported; supported are c2p and p2c");
        insta::assert_snapshot!(message(r#", "relative_attention": true"#), @"config.json: relative_attention and pos_att_type do not fit: both must be given, or neither");
        insta::assert_snapshot!(message(r#", "conv_kernel_size": 2"#), @"config.json: conv_kernel_size is 2; it must be odd");
        insta::assert_snapshot!(message(r#", "conv_kernel_size": 3, "conv_groups": 2"#), @"config.json: conv_groups is 2: not supported; supported is 1");
        insta::assert_snapshot!(message(r#", "pooler_hidden_size": 8"#), @"config.json: pooler_hidden_size is 8: not supported; supported is 24");
    }
}
