//! Networks without an encoder, in place of a checkpoint.

use serde::{Deserialize, Serialize};

use super::{ModelConfig, ModelFacts};

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
    /// Like [`ModelConfig::from`]; None: that checkpoint.
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

impl ModelConfig {
    /// The checkpoint that a trial reads: the one with its encoder, or the one with its tokenizer and token embeddings.
    #[must_use]
    pub fn source(&self) -> &str {
        match (&self.architecture, &self.embeddings.from) {
            (Architecture::None, _) => &self.from,
            (_, Some(from)) => from,
            (_, None) if self.from == "none" => Self::EMBEDDED,
            (_, None) => &self.from,
        }
    }

    /// A text that is equal for trials with the same network, once their sources are located.
    #[must_use]
    pub fn network(&self) -> String {
        let architecture = serde_json::to_string(&self.architecture).unwrap_or_default();
        format!("{architecture} {}", self.source())
    }

    /// Drops what has no effect, and names the checkpoint of the token embeddings as `from`.
    pub fn settle(&mut self) {
        if self.architecture == Architecture::None {
            self.embeddings = EmbeddingsConfig::default();
        } else {
            self.from = self.source().to_owned();
            self.embeddings.from = None;
        }
    }
}

impl ModelFacts {
    /// The most tokens of a text where there is no limit.
    pub const NO_POSITIONS: usize = 1_000_000_000;

    /// What is known of a network whose tokenizer and token embeddings are those of this checkpoint. The number of parameters
    /// is without the classifier, as for checkpoints.
    #[must_use]
    pub fn of_network(&self, architecture: &Architecture) -> Self {
        let width = if self.embedding_width == 0 { self.hidden } else { self.embedding_width };
        let (layers, hidden, inner) = match *architecture {
            Architecture::None => return self.clone(),
            Architecture::BagOfWords { hidden: 0 } => (0, width, 0),
            Architecture::BagOfWords { hidden } => (0, width, (width + 1) * hidden),
            Architecture::Textcnn { ref kernels, filters } => {
                let weights = |size: &usize| (size * width + 1) * filters;
                (1, filters * kernels.len(), kernels.iter().map(weights).sum())
            }
            Architecture::Bilstm { hidden, layers, .. } => {
                let direction = |width: usize| 4 * hidden * (width + hidden + 2);
                (layers, 2 * hidden, 2 * (direction(width) + (layers - 1) * direction(2 * hidden)))
            }
        };
        Self {
            hash: self.hash.clone(),
            parameters: (self.vocabulary * width + inner) as u64,
            vocabulary: self.vocabulary,
            layers,
            hidden,
            embedding_width: width,
            heads: 0,
            intermediate: 0,
            max_positions: Self::NO_POSITIONS,
            token_types: 2,
            has_pooler: true,
            modules: Vec::new(),
            adapter: None,
            dropout: Some(0.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_reads_the_checkpoint_that_has_its_vectors() {
        let bilstm = Architecture::Bilstm { hidden: 8, layers: 1, pooling: LstmPooling::Max };
        let check = |architecture: &Architecture, from: &str, embeddings: Option<&str>, expected: &str| {
            let embeddings = EmbeddingsConfig { from: embeddings.map(str::to_owned), vectors: Vectors::Random };
            let mut model = ModelConfig {
                from: from.into(),
                architecture: architecture.clone(),
                embeddings,
                ..ModelConfig::default()
            };
            assert_eq!(model.source(), expected);
            model.settle();
            assert_eq!((model.source(), model.from.as_str()), (expected, expected));
            assert_eq!(model.embeddings.from, None);
        };
        check(&Architecture::None, "a", Some("b"), "a");
        check(&bilstm, "a", Some("b"), "b");
        check(&bilstm, "a", None, "a");
        check(&bilstm, "none", None, ModelConfig::EMBEDDED);
    }
}
