//! `DistilBERT` (Sanh et al., 2019): BERT without token types and pooler, with other names.

use serde::Deserialize;

use super::adapter::PartEnd;
use super::config::{DropoutRates, activation, check_heads, check_sizes, gelu, initializer_range, parse, tenth, wrong};
use super::declarations::{Declarations, Group};
use super::encoder::{Encoder, HeadLayout, MaskedHead, Shape, WordHead};
use super::operations::{DropoutKind, Embeddings, PositionTable};
use super::stack::Stack;
use super::transformer_layer::{LayerNames, LayerSizes, TransformerLayer};
use crate::train::TrainError;
use plateau_kernels::activation::Activation;

/// Of each `LayerNorm`; transformers has no key for it.
const EPSILON: f64 = 1e-12;

/// The keys of `config.json`, with the defaults of transformers.
#[derive(Deserialize)]
struct Keys {
    vocab_size: usize,
    max_position_embeddings: usize,
    #[serde(default)]
    sinusoidal_pos_embds: bool,
    n_layers: usize,
    n_heads: usize,
    dim: usize,
    hidden_dim: usize,
    #[serde(default = "tenth")]
    dropout: f64,
    #[serde(default = "tenth")]
    attention_dropout: f64,
    #[serde(default = "gelu")]
    activation: String,
    #[serde(default = "initializer_range")]
    initializer_range: f64,
    #[serde(default = "fifth")]
    seq_classif_dropout: f64,
}

fn fifth() -> f64 {
    0.2
}

/// Dense layer, LayerNorm and bias of the head for masked tokens.
const MASKED: [&str; 3] = ["vocab_transform", "vocab_layer_norm", "vocab_projector.bias"];

const NAMES: LayerNames = LayerNames {
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    norm: "output_layer_norm",
};

/// Reads `config.json` and declares the parameters.
pub fn read(json: &[u8], declarations: &mut Declarations) -> Result<Box<dyn Encoder>, TrainError> {
    let keys: Keys = parse(json)?;
    check_sizes(&[
        ("vocab_size", keys.vocab_size),
        ("max_position_embeddings", keys.max_position_embeddings),
        ("n_layers", keys.n_layers),
        ("n_heads", keys.n_heads),
        ("dim", keys.dim),
        ("hidden_dim", keys.hidden_dim),
    ])?;
    check_heads(("dim", keys.dim), ("n_heads", keys.n_heads))?;
    if keys.sinusoidal_pos_embds {
        return Err(wrong("sinusoidal_pos_embds is true; only learned position embeddings are supported"));
    }
    let sizes = LayerSizes {
        hidden: keys.dim,
        intermediate: keys.hidden_dim,
        heads: keys.n_heads,
        epsilon: EPSILON,
        activation: activation("activation", &keys.activation)?,
    };
    let group = Group::Embeddings;
    let mut table = |name: &str, rows| declarations.table(&format!("embeddings.{name}"), rows, keys.dim, group);
    let tokens = table("word_embeddings", keys.vocab_size);
    let positions = PositionTable { table: table("position_embeddings", keys.max_position_embeddings), first: 0 };
    let embedding_norm = declarations.norm("embeddings.LayerNorm", keys.dim, EPSILON, group);
    let layers = (0..keys.n_layers).map(|number| layer(declarations, sizes, number)).collect();
    let words = Some(WordHead { dropout: DropoutKind::Hidden, ..WordHead::PLAIN });
    let masked = Some(MaskedHead::new(MASKED, sizes.activation, EPSILON));
    let head = HeadLayout { words, masked, ..HeadLayout::plain("pre_classifier", Activation::Relu) };
    let shape = Shape {
        prefix: "distilbert",
        vocabulary: keys.vocab_size,
        hidden: keys.dim,
        layers: keys.n_layers,
        heads: keys.n_heads,
        intermediate: keys.hidden_dim,
        positions: keys.max_position_embeddings,
        types: None,
        embeddings: Embeddings { tokens, width: keys.dim, positions: Some(positions), types: None },
        initializer_range: keys.initializer_range,
        dropout: DropoutRates {
            hidden: keys.dropout,
            attention: keys.attention_dropout,
            classifier: keys.seq_classif_dropout,
        },
        head,
    };
    Ok(Box::new(Stack { shape, embedding_norm, projection: None, layers }))
}

fn layer(declarations: &mut Declarations, sizes: LayerSizes, number: usize) -> TransformerLayer {
    let stem = format!("transformer.layer.{number}");
    let layer = TransformerLayer::declare(declarations, &stem, &NAMES, sizes, number);
    TransformerLayer { attention_end: PartEnd { dropout: None, ..layer.attention_end }, ..layer }
}
