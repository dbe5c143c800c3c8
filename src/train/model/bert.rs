//! BERT (Devlin et al., "BERT: Pre-training of deep bidirectional transformers for language understanding", 2019).

use candle_core::{Result, Tensor};

use super::config::BertConfig;
use super::declarations::{Declarations, Group};
use super::encoder::{Encoder, HeadLayout, Shape};
use super::operations::{Attention, Embeddings, Norm, Operations, Place, PositionTable, Rows, TypeTable};
use super::transformer_layer::TransformerLayer;
use crate::train::TrainError;
use plateau_kernels::activation::Activation;

#[derive(Debug)]
struct Bert {
    shape: Shape,
    embedding_norm: Norm,
    layers: Vec<TransformerLayer>,
}

/// Reads `config.json` and declares the parameters.
pub fn read(json: &[u8], declarations: &mut Declarations) -> std::result::Result<Box<dyn Encoder>, TrainError> {
    let config = BertConfig::parse(json, 0)?;
    let group = Group::Embeddings;
    let mut table = |name: &str, rows| declarations.table(&format!("embeddings.{name}"), rows, config.hidden, group);
    let tokens = table("word_embeddings", config.vocabulary);
    let positions = PositionTable { table: table("position_embeddings", config.positions), first: 0 };
    let types = TypeTable { table: table("token_type_embeddings", config.types), always_zero: false };
    let embedding_norm = declarations.norm("embeddings.LayerNorm", config.hidden, config.epsilon, group);
    let layers = (0..config.layers).map(|number| layer(declarations, &config, number)).collect();
    let head = HeadLayout { needs_checkpoint: true, ..HeadLayout::plain("pooler.dense", Activation::Tanh) };
    let shape = Shape {
        prefix: "bert",
        vocabulary: config.vocabulary,
        hidden: config.hidden,
        layers: config.layers,
        heads: config.heads,
        intermediate: config.intermediate,
        positions: config.positions,
        types: Some(config.types),
        embeddings: Embeddings { tokens, width: config.hidden, positions: Some(positions), types: Some(types) },
        initializer_range: config.initializer_range,
        dropout: config.dropout,
        head,
    };
    Ok(Box::new(Bert { shape, embedding_norm, layers }))
}

/// Declares layer `number` (from 0) with BERT's names.
pub fn layer(declarations: &mut Declarations, config: &BertConfig, number: usize) -> TransformerLayer {
    let (hidden, inner, epsilon, group) = (config.hidden, config.intermediate, config.epsilon, Group::Layer(number));
    let stem = format!("encoder.layer.{number}");
    let mut linear =
        |name: &str, outputs, inputs| declarations.linear(&format!("{stem}.{name}"), outputs, inputs, group);
    let query = linear("attention.self.query", hidden, hidden);
    let key = linear("attention.self.key", hidden, hidden);
    let value = linear("attention.self.value", hidden, hidden);
    let output = linear("attention.output.dense", hidden, hidden);
    let attention_norm = declarations.norm(&format!("{stem}.attention.output.LayerNorm"), hidden, epsilon, group);
    let up = declarations.linear(&format!("{stem}.intermediate.dense"), inner, hidden, group);
    let down = declarations.linear(&format!("{stem}.output.dense"), hidden, inner, group);
    let norm = declarations.norm(&format!("{stem}.output.LayerNorm"), hidden, epsilon, group);
    TransformerLayer {
        query,
        key,
        value,
        output,
        attention_norm,
        up,
        down,
        norm,
        attention: Attention {
            heads: config.heads,
            dropout: Place::attention(number, number),
            bias: None,
            window: None,
        },
        activation: config.activation,
        output_dropout: Some(Place::attention_output(number, number)),
        feed_forward_dropout: Some(Place::feed_forward_output(number, number)),
    }
}

impl Encoder for Bert {
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
