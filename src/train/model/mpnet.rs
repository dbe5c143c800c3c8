//! `MPNet` (Song et al., 2020): BERT with a learned bias on attention scores that depends on the distance of two tokens.

use serde::Deserialize;

use super::adapter::PartEnd;
use super::config::{
    DropoutRates, activation, check_heads, check_sizes, epsilon, gelu, initializer_range, parse, tenth, wrong,
};
use super::declarations::{Declarations, Group, Initial};
use super::encoder::{Encoder, HeadLayout, MaskedHead, Shape, WordHead};
use super::operations::{Attention, DropoutKind, Embeddings, Place, PositionTable, RelativeBias};
use super::stack::Stack;
use super::transformer_layer::{LayerNames, LayerSizes, TransformerLayer};
use crate::train::TrainError;
use plateau_kernels::activation::Activation;

/// Position of the first token; transformers fixes it.
const FIRST_POSITION: u32 = 2;
/// Buckets of distances and the distance from which on all have the same bucket. transformers fixes both.
const BUCKETS: usize = 32;
const MAX_DISTANCE: i32 = 128;

/// The keys of `config.json`, with the defaults of transformers.
#[derive(Deserialize)]
struct Keys {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "epsilon")]
    layer_norm_eps: f64,
    #[serde(default = "initializer_range")]
    initializer_range: f64,
    #[serde(default = "tenth")]
    hidden_dropout_prob: f64,
    #[serde(default = "tenth")]
    attention_probs_dropout_prob: f64,
    #[serde(default = "buckets")]
    relative_attention_num_buckets: usize,
}

fn buckets() -> usize {
    BUCKETS
}

const NAMES: LayerNames = LayerNames {
    query: "attention.attn.q",
    key: "attention.attn.k",
    value: "attention.attn.v",
    output: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    norm: "output.LayerNorm",
};

/// Reads `config.json` and declares the parameters.
pub fn read(json: &[u8], declarations: &mut Declarations) -> Result<Box<dyn Encoder>, TrainError> {
    let keys: Keys = parse(json)?;
    check_sizes(&[
        ("vocab_size", keys.vocab_size),
        ("hidden_size", keys.hidden_size),
        ("num_hidden_layers", keys.num_hidden_layers),
        ("num_attention_heads", keys.num_attention_heads),
        ("intermediate_size", keys.intermediate_size),
    ])?;
    check_heads(("hidden_size", keys.hidden_size), ("num_attention_heads", keys.num_attention_heads))?;
    let least = FIRST_POSITION as usize + 1;
    if keys.max_position_embeddings < least {
        return Err(wrong(format!(
            "max_position_embeddings is {}; it must be at least {least}",
            keys.max_position_embeddings
        )));
    }
    if keys.relative_attention_num_buckets < BUCKETS {
        return Err(wrong(format!(
            "relative_attention_num_buckets is {}; it must be at least {BUCKETS}",
            keys.relative_attention_num_buckets
        )));
    }
    let sizes = LayerSizes {
        hidden: keys.hidden_size,
        intermediate: keys.intermediate_size,
        heads: keys.num_attention_heads,
        epsilon: keys.layer_norm_eps,
        activation: activation("hidden_act", &keys.hidden_act)?,
    };
    let (hidden, group) = (keys.hidden_size, Group::Embeddings);
    let mut table = |name: &str, rows| declarations.table(&format!("embeddings.{name}"), rows, hidden, group);
    let tokens = table("word_embeddings", keys.vocab_size);
    let positions =
        PositionTable { table: table("position_embeddings", keys.max_position_embeddings), first: FIRST_POSITION };
    let embedding_norm = declarations.norm("embeddings.LayerNorm", hidden, keys.layer_norm_eps, group);
    // All layers share the bias, so it belongs to the lowest one.
    let bias = RelativeBias {
        table: declarations.add(
            "encoder.relative_attention_bias.weight".into(),
            &[keys.relative_attention_num_buckets, keys.num_attention_heads],
            Initial::Normal,
            Group::Layer(0),
        ),
        bucket,
        limit: MAX_DISTANCE,
    };
    let layers = (0..keys.num_hidden_layers).map(|number| layer(declarations, sizes, bias, number)).collect();
    let words = Some(WordHead { dropout: DropoutKind::Hidden, ..WordHead::PLAIN });
    let shape = Shape {
        prefix: "mpnet",
        vocabulary: keys.vocab_size,
        hidden,
        layers: keys.num_hidden_layers,
        heads: keys.num_attention_heads,
        intermediate: keys.intermediate_size,
        positions: keys.max_position_embeddings - FIRST_POSITION as usize,
        types: None,
        embeddings: Embeddings { tokens, width: hidden, positions: Some(positions), types: None },
        initializer_range: keys.initializer_range,
        dropout: DropoutRates {
            hidden: keys.hidden_dropout_prob,
            attention: keys.attention_probs_dropout_prob,
            classifier: keys.hidden_dropout_prob,
        },
        head: HeadLayout {
            words,
            masked: Some(MaskedHead::of_roberta(keys.layer_norm_eps)),
            ..HeadLayout::classification_head(Activation::Tanh)
        },
    };
    Ok(Box::new(Stack { shape, embedding_norm, projection: None, layers }))
}

fn layer(declarations: &mut Declarations, sizes: LayerSizes, bias: RelativeBias, number: usize) -> TransformerLayer {
    let stem = format!("encoder.layer.{number}");
    let layer = TransformerLayer::declare(declarations, &stem, &NAMES, sizes, number);
    // transformers uses the attention probability for both.
    let output_dropout = Place { probability: DropoutKind::Attention, ..Place::attention_output(number, number) };
    TransformerLayer {
        attention: Attention { bias: Some(bias), ..layer.attention },
        attention_end: PartEnd { dropout: Some(output_dropout), ..layer.attention_end },
        ..layer
    }
}

/// The bucket of `distance` = query - key: exact for small distances, logarithmic for larger ones, in f32 like transformers.
fn bucket(distance: i32) -> usize {
    const HALF: usize = BUCKETS / 2;
    const EXACT: usize = HALF / 2;
    let base = if distance < 0 { HALF } else { 0 };
    let n = distance.unsigned_abs() as usize;
    if n < EXACT {
        return base + n;
    }
    let ratio = (n as f32 / EXACT as f32).ln() / (MAX_DISTANCE as f32 / EXACT as f32).ln();
    base + (HALF - 1).min(EXACT + (ratio * EXACT as f32) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_exact_near_zero_and_logarithmic_beyond() {
        let check = |distance: i32, expected: usize| assert_eq!(bucket(distance), expected, "{distance}");
        for distance in 0..8 {
            check(distance, distance as usize);
            check(-distance, if distance == 0 { 0 } else { 16 + distance as usize });
        }
        // floor(8 + 8 ln(n / 8) / ln 16), at most 15.
        for (n, expected) in
            [(8, 8), (11, 8), (12, 9), (16, 10), (22, 10), (23, 11), (32, 12), (64, 14), (127, 15), (400, 15)]
        {
            check(n, expected);
            check(-n, 16 + expected);
        }
        assert!((MAX_DISTANCE..1000).all(|n| bucket(n) == bucket(MAX_DISTANCE) && bucket(-n) == bucket(-MAX_DISTANCE)));
    }
}
