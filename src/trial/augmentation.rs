//! The augmentations, with their parameters.

use serde::{Deserialize, Serialize};

/// Augmentations of the training split. [`crate::train::augment`] defines them. `wordnet` is a dictionary folder, in place
/// of the embedded lexicon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Augmentation {
    /// Replaces a share `rate` of the words by WordNet synonyms.
    Synonym {
        rate: f64,
        #[serde(default)]
        choose: Choose,
        /// Whether a synonym must have the part of speech that the word has in its sentence.
        #[serde(default = "yes")]
        pos: bool,
        #[serde(default)]
        wordnet: Option<String>,
    },
    /// Inserts synonyms of random words at random places, as many as a share `rate` of the words.
    RandomInsertion {
        rate: f64,
        #[serde(default)]
        wordnet: Option<String>,
    },
    /// Swaps two random words, as often as a share `rate` of the words.
    RandomSwap { rate: f64 },
    /// Deletes each word with probability `rate`; at least one stays.
    RandomDeletion { rate: f64 },
    /// One of the four methods above with rate `alpha`, drawn for each example and epoch.
    Eda {
        alpha: f64,
        #[serde(default)]
        wordnet: Option<String>,
    },
    /// The program of the EDA paper: `copies` versions of each example, and the example itself; one of them each epoch.
    EdaExact {
        alpha: f64,
        copies: usize,
        #[serde(default)]
        wordnet: Option<String>,
    },
    /// Inserts punctuation marks before random words, between one and a share `share` of the words.
    Aeda { share: f64 },
    /// Hides a share `rate` of the word pieces from input and attention.
    TokenCutoff { rate: f64 },
    /// Mixes pooled outputs and labels of pairs of examples by a share from Beta(alpha, alpha).
    Mixup { alpha: f64 },
    /// Replaces a share `rate` of the words, each by one of the `top_k` predictions of a masked-language model.
    Contextual {
        rate: f64,
        top_k: usize,
        /// A checkpoint with an MLM head; None: the trial's own.
        model: Option<String>,
    },
    /// Translates the text to another language and back.
    BackTranslation {
        engine: Translator,
        /// Command lines, both needed; or Marian checkpoints, by default those of OPUS-MT for English and French.
        out: Option<String>,
        home: Option<String>,
        /// Seconds that each program may take.
        timeout: f64,
        /// Hypotheses that Marian's beam search keeps; 1: greedy search.
        #[serde(default = "four")]
        beams: usize,
        /// Translations that Marian draws, of which each epoch uses one; 0: the best translation only.
        #[serde(default)]
        samples: usize,
    },
}

impl Augmentation {
    /// Whether a model or a program processes every text once, before training.
    #[must_use]
    pub fn is_precomputed(&self) -> bool {
        matches!(
            self,
            Self::Synonym { choose: Choose::Context, .. } | Self::Contextual { .. } | Self::BackTranslation { .. }
        )
    }

    /// Whether external programs compute it.
    #[must_use]
    pub fn runs_programs(&self) -> bool {
        matches!(self, Self::BackTranslation { engine: Translator::Command, .. })
    }

    /// Whether it changes texts. The others change what the model computes from them.
    #[must_use]
    pub fn changes_texts(&self) -> bool {
        !matches!(self, Self::TokenCutoff { .. } | Self::Mixup { .. })
    }

    /// The name used in sweep files.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Synonym { .. } => "synonym",
            Self::RandomInsertion { .. } => "random_insertion",
            Self::RandomSwap { .. } => "random_swap",
            Self::RandomDeletion { .. } => "random_deletion",
            Self::Eda { .. } => "eda",
            Self::EdaExact { .. } => "eda_exact",
            Self::Aeda { .. } => "aeda",
            Self::TokenCutoff { .. } => "token_cutoff",
            Self::Mixup { .. } => "mixup",
            Self::Contextual { .. } => "contextual",
            Self::BackTranslation { .. } => "back_translation",
        }
    }
}

/// What translates texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Translator {
    /// Programs that read lines and write lines.
    Command,
    /// Marian checkpoints.
    Marian,
}

/// How a synonym is chosen from the candidates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choose {
    /// Any, drawn.
    #[default]
    Random,
    /// The first lemma of the most frequent sense.
    First,
    /// The one that moves the sentence's embedding least.
    Context,
}

fn four() -> usize {
    4
}

fn yes() -> bool {
    true
}
