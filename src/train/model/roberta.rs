//! `RoBERTa` (Liu et al., 2019) and XLM-`RoBERTa` (Conneau et al., 2020): BERT with other positions, one token type and another
//! head. Both have the same parameter names.

use super::bert;
use super::config::{BertConfig, wrong};
use super::declarations::{Declarations, Group};
use super::encoder::{Encoder, HeadLayout, MaskedHead, Shape};
use super::operations::{Embeddings, Norm, PositionTable, TypeTable};
use super::stack::Stack;
use crate::train::TrainError;
use plateau_kernels::activation::Activation;

/// Default of `pad_token_id`.
pub const PADDING: u32 = 1;

/// Reads `config.json` and declares the parameters.
pub fn read(json: &[u8], declarations: &mut Declarations) -> Result<Box<dyn Encoder>, TrainError> {
    let config = BertConfig::parse(json, PADDING)?;
    let (shape, embedding_norm) = embeddings(&config, "roberta", declarations)?;
    let layers = (0..config.layers).map(|number| bert::layer(declarations, &config, number)).collect();
    Ok(Box::new(Stack { shape, embedding_norm, projection: None, layers }))
}

/// Declares the embeddings with their LayerNorm. `prefix` is that of the names in checkpoint files.
pub fn embeddings(
    config: &BertConfig,
    prefix: &'static str,
    declarations: &mut Declarations,
) -> Result<(Shape, Norm), TrainError> {
    // Positions count from the id after the padding token.
    let first = config.padding + 1;
    let positions = config.positions.saturating_sub(first as usize);
    if positions == 0 {
        return Err(wrong(format!(
            "max_position_embeddings is {}; with pad_token_id {} it must be at least {}",
            config.positions,
            config.padding,
            first + 1
        )));
    }
    let group = Group::Embeddings;
    let mut table = |name: &str, rows| declarations.table(&format!("embeddings.{name}"), rows, config.hidden, group);
    let tokens = table("word_embeddings", config.vocabulary);
    let position_table = PositionTable { table: table("position_embeddings", config.positions), first };
    let types = TypeTable { table: table("token_type_embeddings", config.types), always_zero: true };
    let embedding_norm = declarations.norm("embeddings.LayerNorm", config.hidden, config.epsilon, group);
    let shape = Shape {
        prefix,
        vocabulary: config.vocabulary,
        hidden: config.hidden,
        layers: config.layers,
        heads: config.heads,
        intermediate: config.intermediate,
        positions,
        types: None,
        embeddings: Embeddings { tokens, width: config.hidden, positions: Some(position_table), types: Some(types) },
        initializer_range: config.initializer_range,
        dropout: config.dropout,
        head: HeadLayout {
            masked: Some(MaskedHead::of_roberta(config.epsilon)),
            ..HeadLayout::classification_head(Activation::Tanh)
        },
    };
    Ok((shape, embedding_norm))
}
