//! How exactly matrices are multiplied.

use serde::{Deserialize, Serialize};

/// The precision of a trial. Weights, moments, sums, LayerNorm, softmax and the loss are f32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionName {
    /// Matrices are multiplied as they are.
    #[default]
    F32,
    /// The factors of the products of linear layers and of attention are rounded to bf16.
    Bf16,
    /// `bf16` where the device multiplies it, else `f32`. The plan decides, so no trial has this value.
    Auto,
}
