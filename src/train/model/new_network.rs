//! A network that `model.architecture` describes, with the vocabulary of a checkpoint.
//!
//! It takes its table of token embeddings from the checkpoint whose tokenizer it uses, or starts it from random values.
//! Everything else starts from random values.

use serde_json::{Value, json};

use super::architectures;
use super::declarations::Declarations;
use super::token_table::TABLE;
use crate::train::TrainError;
use crate::trial::{Architecture, ModelConfig};

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
    pub fn read(json: &[u8], wanted: &ModelConfig) -> Result<Option<Self>, TrainError> {
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

fn to_bytes(value: &Value) -> Result<Vec<u8>, TrainError> {
    Ok(serde_json::to_vec(value).map_err(std::io::Error::from)?)
}
