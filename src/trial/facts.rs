//! What must be known of the data and the checkpoint before a trial can be planned.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::extra::{bilstm_parameters, textcnn_parameters};
use super::{
    Architecture, Augmentation, DataReport, Extra, LinearModule, LoraConfig, ModelConfig, Pooling, StoredHead,
};

/// Files with the blake3 of their content, in hex: they tell which file has changed. Facts of earlier versions have none.
pub type FileHashes = BTreeMap<String, String>;

/// What is known of a data section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataFacts {
    /// blake3 over the content of the train and the eval file.
    pub hash: String,
    /// The files behind `hash`, unless they are very many.
    #[serde(default)]
    pub files: FileHashes,
    pub train_rows: usize,
    pub eval_rows: usize,
    /// Label names in class order.
    pub labels: Vec<String>,
    /// Share of each class in the training split.
    pub class_prior: Vec<f64>,
    /// Mean tokens of a training example, after truncation.
    pub mean_tokens: f64,
    /// The largest token id of all examples.
    #[serde(default)]
    pub largest_token: u32,
    /// blake3 over the rows of the test set; None if there is none.
    #[serde(default)]
    pub test_hash: Option<String>,
    #[serde(default)]
    pub report: DataReport,
}

/// What is known of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// blake3 over the content of config, weights and tokenizer.
    pub hash: String,
    /// The files behind `hash`.
    #[serde(default)]
    pub files: FileHashes,
    pub parameters: u64,
    pub vocabulary: usize,
    pub layers: usize,
    pub hidden: usize,
    /// Elements of a token embedding.
    #[serde(default)]
    pub embedding_width: usize,
    pub heads: usize,
    pub intermediate: usize,
    pub max_positions: usize,
    /// Tokens that a token sees at most, in each layer. Empty: all of them, in all layers.
    #[serde(default)]
    pub attention_spans: Vec<Option<usize>>,
    /// Token types that the checkpoint knows; a sentence pair needs two.
    #[serde(default)]
    pub token_types: usize,
    pub has_pooler: bool,
    /// The linear layers that LoRA can change.
    #[serde(default)]
    pub modules: Vec<LinearModule>,
    /// The settings of an adapter of peft in the checkpoint's folder.
    #[serde(default)]
    pub adapter: Option<LoraConfig>,
    /// The checkpoint's dropout probability, where its hidden, attention and classifier dropout agree.
    pub dropout: Option<f64>,
    /// The classifier that the checkpoint holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<StoredHead>,
}

/// The content hashes behind the id of a trial: a worker that reads other content must not train it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceHashes {
    /// [`DataFacts::hash`].
    pub data: String,
    /// [`ModelFacts::hash`].
    pub model: String,
    /// The files behind both, and behind the augmentations.
    #[serde(default)]
    pub files: FileHashes,
    /// The augmentations of the trial with the hashes of their files in place of the paths.
    pub augmentation: Vec<Augmentation>,
}

impl ModelFacts {
    /// The most tokens of a text where there is no limit.
    pub const NO_POSITIONS: usize = 1_000_000_000;

    /// Tokens that a token of a text with `length` tokens sees, added up over the layers.
    #[must_use]
    pub fn attended_tokens(&self, length: f64) -> f64 {
        let span = |layer: usize| self.attention_spans.get(layer).copied().flatten();
        (0..self.layers).map(|layer| span(layer).map_or(length, |span| length.min(span as f64))).sum()
    }

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
                (1, filters * kernels.len(), textcnn_parameters(width, kernels, filters))
            }
            Architecture::Bilstm { hidden, layers, .. } => {
                (layers, 2 * hidden, bilstm_parameters(width, hidden, layers))
            }
        };
        Self {
            hash: self.hash.clone(),
            files: self.files.clone(),
            parameters: (self.vocabulary * width + inner) as u64,
            vocabulary: self.vocabulary,
            layers,
            hidden,
            embedding_width: width,
            heads: 0,
            intermediate: 0,
            max_positions: Self::NO_POSITIONS,
            attention_spans: Vec::new(),
            token_types: 2,
            has_pooler: true,
            head: None,
            modules: Vec::new(),
            adapter: None,
            dropout: Some(0.1),
        }
    }

    /// What is known of this encoder with the modules that a trial adds to it.
    #[must_use]
    pub fn with_modules(&self, model: &ModelConfig) -> Self {
        let mut facts = self.clone();
        if model.extra != Extra::None {
            // The module takes the place of the pooler.
            let pooler = if self.has_pooler { (self.hidden * (self.hidden + 1)) as u64 } else { 0 };
            facts.has_pooler = true;
            facts.parameters = facts.parameters.saturating_sub(pooler) + model.extra.parameters(self.hidden);
        }
        if let Some(adapters) = &model.adapters {
            facts.parameters += adapters.parameters(self.layers, self.hidden);
        }
        facts
    }

    /// The pooling where the sweep names none: that of a sentence-transformers folder with a classifier, else the checkpoint's pooler if
    /// it holds one, else the mean.
    #[must_use]
    pub fn default_pooling(&self) -> Pooling {
        if let Some(pooling) = self.head.as_ref().filter(|head| head.is_module).and_then(|head| head.pooling) {
            return pooling;
        }
        if self.has_pooler { Pooling::Pooler } else { Pooling::Mean }
    }
}
