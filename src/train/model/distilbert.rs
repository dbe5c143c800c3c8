//! `DistilBERT` (Sanh et al., 2019): BERT without token types and pooler, with other names.

use candle_core::{Result, Tensor};
use serde::Deserialize;

use super::config::{DropoutRates, activation, check_heads, check_sizes, initializer_range, parse, tenth, wrong};
use super::declarations::{Declarations, Group};
use super::encoder::{Encoder, HeadLayout, Shape};
use super::operations::{Attention, Embeddings, Norm, Operations, Place, PositionTable, Rows};
use super::transformer_layer::TransformerLayer;
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

fn gelu() -> String {
    "gelu".into()
}
fn fifth() -> f64 {
    0.2
}

#[derive(Debug)]
struct DistilBert {
    shape: Shape,
    embedding_norm: Norm,
    layers: Vec<TransformerLayer>,
}

/// Reads `config.json` and declares the parameters.
pub fn read(json: &[u8], declarations: &mut Declarations) -> std::result::Result<Box<dyn Encoder>, TrainError> {
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
    let activation = activation("activation", &keys.activation)?;
    let group = Group::Embeddings;
    let mut table = |name: &str, rows| declarations.table(&format!("embeddings.{name}"), rows, keys.dim, group);
    let tokens = table("word_embeddings", keys.vocab_size);
    let positions = PositionTable { table: table("position_embeddings", keys.max_position_embeddings), first: 0 };
    let embedding_norm = declarations.norm("embeddings.LayerNorm", keys.dim, EPSILON, group);
    let layers = (0..keys.n_layers).map(|number| layer(declarations, &keys, activation, number)).collect();
    let head = HeadLayout::plain("pre_classifier", Activation::Relu);
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
    Ok(Box::new(DistilBert { shape, embedding_norm, layers }))
}

fn layer(declarations: &mut Declarations, keys: &Keys, activation: Activation, number: usize) -> TransformerLayer {
    let (dim, inner, group) = (keys.dim, keys.hidden_dim, Group::Layer(number));
    let stem = format!("transformer.layer.{number}");
    let mut linear =
        |name: &str, outputs, inputs| declarations.linear(&format!("{stem}.{name}"), outputs, inputs, group);
    let query = linear("attention.q_lin", dim, dim);
    let key = linear("attention.k_lin", dim, dim);
    let value = linear("attention.v_lin", dim, dim);
    let output = linear("attention.out_lin", dim, dim);
    let up = linear("ffn.lin1", inner, dim);
    let down = linear("ffn.lin2", dim, inner);
    TransformerLayer {
        query,
        key,
        value,
        output,
        attention_norm: declarations.norm(&format!("{stem}.sa_layer_norm"), dim, EPSILON, group),
        up,
        down,
        norm: declarations.norm(&format!("{stem}.output_layer_norm"), dim, EPSILON, group),
        attention: Attention {
            heads: keys.n_heads,
            dropout: Place::attention(number, number),
            bias: None,
            window: None,
        },
        activation,
        output_dropout: None,
        feed_forward_dropout: Some(Place::feed_forward_output(number, number)),
    }
}

impl Encoder for DistilBert {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn embed(&self, ops: &mut dyn Operations) -> Result<Tensor> {
        let x = ops.embed(&self.shape.embeddings)?;
        let x = ops.layer_norm(&x, self.embedding_norm)?;
        ops.dropout(&x, Place::EMBEDDINGS)
    }

    fn layer(&self, number: usize, x: &Tensor, rows: Rows, ops: &mut dyn Operations) -> Result<Tensor> {
        self.layers[number].forward(ops, x, rows)
    }
}
