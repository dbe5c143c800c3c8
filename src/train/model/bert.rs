//! BERT (Devlin et al., "BERT: Pre-training of deep bidirectional transformers for language understanding", 2019).

use super::config::BertConfig;
use super::declarations::{Declarations, Group};
use super::encoder::{Encoder, HeadLayout, MaskedHead, Shape};
use super::operations::{Embeddings, PositionTable, TypeTable};
use super::stack::Stack;
use super::transformer_layer::{LayerNames, TransformerLayer};
use crate::train::TrainError;
use plateau_kernels::activation::Activation;

const NAMES: LayerNames = LayerNames {
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    norm: "output.LayerNorm",
};

/// Dense layer, LayerNorm and bias of the head for masked tokens.
const MASKED: [&str; 3] =
    ["cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"];

/// Reads `config.json` and declares the parameters.
pub fn read(json: &[u8], declarations: &mut Declarations) -> Result<Box<dyn Encoder>, TrainError> {
    let config = BertConfig::parse(json, 0)?;
    let group = Group::Embeddings;
    let mut table = |name: &str, rows| declarations.table(&format!("embeddings.{name}"), rows, config.hidden, group);
    let tokens = table("word_embeddings", config.vocabulary);
    let positions = PositionTable { table: table("position_embeddings", config.positions), first: 0 };
    let types = TypeTable { table: table("token_type_embeddings", config.types), always_zero: false };
    let embedding_norm = declarations.norm("embeddings.LayerNorm", config.hidden, config.epsilon, group);
    let layers = (0..config.layers).map(|number| layer(declarations, &config, number)).collect();
    let head = HeadLayout {
        needs_checkpoint: true,
        masked: Some(MaskedHead::new(MASKED, config.activation, config.epsilon)),
        ..HeadLayout::plain("pooler.dense", Activation::Tanh)
    };
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
    Ok(Box::new(Stack { shape, embedding_norm, projection: None, layers }))
}

/// Declares layer `number` (from 0) with BERT's names.
pub fn layer(declarations: &mut Declarations, config: &BertConfig, number: usize) -> TransformerLayer {
    TransformerLayer::declare(declarations, &format!("encoder.layer.{number}"), &NAMES, config.layer_sizes(), number)
}
