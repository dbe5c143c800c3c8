//! What the networks without an encoder share: a table of token embeddings.

use candle_core::{Result, Tensor};
use serde::Deserialize;

use super::config::{DropoutRates, check_sizes, tenth};
use super::declarations::{Declarations, Group};
use super::encoder::{HeadLayout, Shape};
use super::operations::{Embeddings, Operations, Place};
use crate::train::TrainError;
use crate::trial::ModelFacts;

/// Name of the table.
pub const TABLE: &str = "embeddings";
/// Standard deviation of a table that starts from random values.
const RANDOM_VECTORS: f64 = 0.1;

/// The keys of `config.json` that all these networks have.
#[derive(Deserialize)]
pub struct TokenTableKeys {
    vocab_size: usize,
    embedding_size: usize,
    /// Of the embeddings, and of the input of the classifier.
    #[serde(default = "tenth")]
    dropout: f64,
}

/// The table and the settings that do not depend on the network.
pub struct TokenTable {
    pub embeddings: Embeddings,
    vocabulary: usize,
    dropout: f64,
}

impl TokenTable {
    /// Declares the table.
    pub fn declare(keys: &TokenTableKeys, declarations: &mut Declarations) -> std::result::Result<Self, TrainError> {
        let (vocabulary, width) = (keys.vocab_size, keys.embedding_size);
        check_sizes(&[("vocab_size", vocabulary), ("embedding_size", width)])?;
        let tokens = declarations.table(TABLE, vocabulary, width, Group::Embeddings);
        let embeddings = Embeddings { tokens, width, positions: None, types: None };
        Ok(Self { embeddings, vocabulary, dropout: keys.dropout })
    }

    /// The shape of a network with `layers` layers, whose output has `hidden` elements.
    pub fn shape(&self, hidden: usize, layers: usize, head: HeadLayout) -> Shape {
        Shape {
            prefix: "",
            vocabulary: self.vocabulary,
            hidden,
            layers,
            heads: 0,
            intermediate: 0,
            positions: ModelFacts::NO_POSITIONS,
            types: None,
            embeddings: self.embeddings,
            initializer_range: RANDOM_VECTORS,
            dropout: DropoutRates::all(self.dropout),
            head,
        }
    }
}

/// The token embeddings with dropout.
pub fn embed(shape: &Shape, ops: &mut dyn Operations) -> Result<Tensor> {
    let x = ops.embed(&shape.embeddings)?;
    ops.dropout(&x, Place::EMBEDDINGS)
}
