//! The augmentations by name and parameters.

use serde::{Deserialize, Serialize};

/// Text augmentations of the training split; the definitions stand with [`crate::train::augment`]. `wordnet` is a
/// dictionary folder in place of the embedded lexicon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Augmentation {
    /// A share `rate` of words, each replaced by a WordNet synonym.
    Synonym {
        rate: f64,
        #[serde(default)]
        choose: Choose,
        /// Whether the synonym is of the part of speech that the word has in its sentence.
        #[serde(default = "yes")]
        pos: bool,
        #[serde(default)]
        wordnet: Option<String>,
    },
    /// A share `rate` of times, a synonym of a random word is put at a random place.
    RandomInsertion {
        rate: f64,
        #[serde(default)]
        wordnet: Option<String>,
    },
    /// A share `rate` of times, two random words change places.
    RandomSwap { rate: f64 },
    /// Each word goes with probability `rate`; one stays.
    RandomDeletion { rate: f64 },
    /// One of the four above at rate `alpha`, drawn for each example and epoch.
    Eda {
        alpha: f64,
        #[serde(default)]
        wordnet: Option<String>,
    },
    /// The program of the EDA paper: `copies` versions of each example and the example itself, one of them each epoch.
    EdaExact {
        alpha: f64,
        copies: usize,
        #[serde(default)]
        wordnet: Option<String>,
    },
    /// 1 to `share` of the words get a punctuation mark before them.
    Aeda { share: f64 },
    /// A share `rate` of word pieces left out of attention and input.
    TokenCutoff { rate: f64 },
    /// Pooled outputs and labels mixed in pairs by a share from Beta(alpha, alpha).
    Mixup { alpha: f64 },
    /// A share `rate` of words, each replaced by one of the `top_k` that a masked-language model puts in its place.
    Contextual {
        rate: f64,
        top_k: usize,
        /// A checkpoint with an MLM head; None: the trial's own.
        model: Option<String>,
    },
    /// The text translated there and back.
    BackTranslation {
        engine: Translator,
        /// Command lines, both needed; or Marian checkpoints, None: OPUS-MT's of English and French.
        out: Option<String>,
        home: Option<String>,
        /// Seconds that each program may take.
        timeout: f64,
        /// Hypotheses that Marian follows; 1: greedy.
        #[serde(default = "four")]
        beams: usize,
        /// Ways out that Marian draws, one of them each epoch; 0: the best alone.
        #[serde(default)]
        samples: usize,
    },
}

impl Augmentation {
    /// Whether a model or a program is asked about every text, once, before training.
    #[must_use]
    pub fn asks(&self) -> bool {
        matches!(
            self,
            Self::Synonym { choose: Choose::Context, .. } | Self::Contextual { .. } | Self::BackTranslation { .. }
        )
    }

    /// Whether it changes texts; the others change what the model makes of them.
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

/// What translates.
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
