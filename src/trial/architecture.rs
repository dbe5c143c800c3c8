//! Networks without an encoder, in place of a checkpoint.

use serde::{Deserialize, Serialize};

/// The network of a trial.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Architecture {
    /// The encoder of the checkpoint.
    #[default]
    None,
    /// The mean of the token embeddings.
    BagOfWords {
        /// Elements of the layer before the classifier; 0: there is none.
        hidden: usize,
    },
    /// Convolutions, each with its maximum over the text.
    Textcnn {
        /// Tokens of a window, of each convolution.
        kernels: Vec<usize>,
        /// Filters of each convolution.
        filters: usize,
    },
    /// A bidirectional LSTM.
    Bilstm {
        /// Elements of the state of a direction.
        hidden: usize,
        layers: usize,
        pooling: LstmPooling,
    },
}

/// How the outputs of an LSTM become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LstmPooling {
    /// The maximum over the tokens.
    Max,
    /// The last states of both directions.
    Last,
}

/// Where the token embeddings and the tokenizer of an [`Architecture`] come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddingsConfig {
    /// Like `model.from`; None: that checkpoint.
    pub from: Option<String>,
    pub vectors: Vectors,
}

/// The values from which token embeddings start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vectors {
    /// Those of the checkpoint.
    #[default]
    Pretrained,
    Random,
}
