//! Long texts that are read in several windows.

use serde::{Deserialize, Serialize};

/// A text that is longer than `data.max_length` becomes several windows. In training each window has the label of its text.
/// Evaluations and predictions combine the outputs of a text's windows into one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Windows {
    /// Tokens that a window shares with the one before it, as `stride` of transformers' tokenizers. None: a quarter of a window.
    pub stride: Option<usize>,
    pub combine: Combine,
}

impl Windows {
    /// Tokens that a window of `length` tokens of the text shares with the one before it.
    #[must_use]
    pub fn shared(self, length: usize) -> usize {
        self.stride.unwrap_or(length / 4)
    }
}

/// How the outputs of a text's windows become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// The mean of each output.
    #[default]
    Mean,
    /// The largest value of each output.
    Max,
}
