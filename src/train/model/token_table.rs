//! What the networks without an encoder share: a table of token embeddings, and the `config.json` of a new network.
//!
//! A new network takes its table from the checkpoint whose tokenizer it uses, or starts it from random values. Everything else
//! starts from random values.

use candle_core::{Result, Tensor};
use serde::Deserialize;
use serde_json::{Value, json};

use super::architectures;
use super::config::{DropoutRates, check_sizes, tenth};
use super::declarations::{Declarations, Group};
use super::encoder::{HeadLayout, Shape};
use super::operations::{Embeddings, Operations, Place};
use crate::train::TrainError;
use crate::trial::{Architecture, ModelConfig, ModelFacts};

/// Name of the table.
const TABLE: &str = "embeddings";
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

/// A network that `model.architecture` describes.
pub struct NewNetwork {
    /// Its `config.json`.
    pub config: Vec<u8>,
    /// The name of the table in the checkpoint, without prefix.
    pub table: String,
    /// The prefix of the checkpoint's names.
    pub prefix: &'static str,
}

impl NewNetwork {
    /// The network with the vocabulary of the checkpoint whose `config.json` is given. None if `wanted` names no architecture.
    pub fn read(json: &[u8], wanted: &ModelConfig) -> std::result::Result<Option<Self>, TrainError> {
        let mut network = match &wanted.architecture {
            Architecture::None => return Ok(None),
            Architecture::BagOfWords { hidden } => json!({"model_type": "bag_of_words", "hidden_size": hidden}),
            Architecture::Textcnn { kernels, filters } => {
                json!({"model_type": "textcnn", "kernels": kernels, "filters": filters})
            }
            Architecture::Bilstm { hidden, layers, pooling } => json!({
                "model_type": "bilstm", "hidden_size": hidden, "num_layers": layers, "pooling": pooling,
            }),
        };
        let mut declarations = Declarations::default();
        let encoder = architectures::read(json, &mut declarations)?;
        let shape = encoder.shape();
        network["vocab_size"] = shape.vocabulary.into();
        network["embedding_size"] = shape.embeddings.width.into();
        if let Some(dropout) = wanted.dropout {
            network["dropout"] = dropout.into();
        }
        Ok(Some(Self {
            config: to_bytes(&network)?,
            table: declarations.all[shape.embeddings.tokens].name.clone(),
            prefix: shape.prefix,
        }))
    }

    /// The name of the table in the new network.
    pub fn table_name() -> String {
        format!("{TABLE}.weight")
    }
}

fn to_bytes(value: &Value) -> std::result::Result<Vec<u8>, TrainError> {
    Ok(serde_json::to_vec(value).map_err(std::io::Error::from)?)
}
