//! ELECTRA's discriminator (Clark et al., 2020): BERT with embeddings of another width, which a linear layer projects.

use super::bert;
use super::config::BertConfig;
use super::declarations::{Declarations, Group};
use super::encoder::{ChoiceHead, Encoder, HeadLayout, MaskedHead, Shape};
use super::operations::{Embeddings, PositionTable, TypeTable};
use super::stack::Stack;
use crate::train::TrainError;
use plateau_kernels::activation::Activation;

/// Dense layer, LayerNorm and bias of the generator's head.
const MASKED: [&str; 3] = ["generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head.bias"];
/// Default of `embedding_size`.
const EMBEDDING_SIZE: usize = 128;

/// Reads `config.json` and declares the parameters.
pub fn read(json: &[u8], declarations: &mut Declarations) -> Result<Box<dyn Encoder>, TrainError> {
    let config = BertConfig::parse(json, 0)?;
    let width = config.embedding_size.unwrap_or(EMBEDDING_SIZE);
    let group = Group::Embeddings;
    let mut table = |name: &str, rows| declarations.table(&format!("embeddings.{name}"), rows, width, group);
    let tokens = table("word_embeddings", config.vocabulary);
    let positions = PositionTable { table: table("position_embeddings", config.positions), first: 0 };
    let types = TypeTable { table: table("token_type_embeddings", config.types), always_zero: false };
    let embedding_norm = declarations.norm("embeddings.LayerNorm", width, config.epsilon, group);
    let projection =
        (width != config.hidden).then(|| declarations.linear("embeddings_project", config.hidden, width, group));
    let layers = (0..config.layers).map(|number| bert::layer(declarations, &config, number)).collect();
    let shape = Shape {
        prefix: "electra",
        vocabulary: config.vocabulary,
        hidden: config.hidden,
        layers: config.layers,
        heads: config.heads,
        intermediate: config.intermediate,
        positions: config.positions,
        types: Some(config.types),
        embeddings: Embeddings { tokens, width, positions: Some(positions), types: Some(types) },
        initializer_range: config.initializer_range,
        dropout: config.dropout,
        head: HeadLayout {
            masked: Some(MaskedHead::new(MASKED, Activation::Gelu, config.epsilon)),
            choices: ChoiceHead::Pooler("sequence_summary.summary", Activation::Gelu),
            ..HeadLayout::classification_head(Activation::Gelu)
        },
    };
    Ok(Box::new(Stack { shape, embedding_norm, projection, layers }))
}
