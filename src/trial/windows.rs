//! Long texts that are read in several windows.

use serde::{Deserialize, Serialize};

/// A text that is longer than `data.max_length` becomes several windows. In training each window has the label of its text.
/// Evaluations and predictions combine the outputs of a text's windows into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Windows {
    /// Tokens that a window shares with the one before it, as `stride` of transformers' tokenizers.
    pub stride: usize,
    pub combine: Combine,
}

impl Default for Windows {
    fn default() -> Self {
        Self { stride: 32, combine: Combine::default() }
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
