//! Lengths in optimizer steps, epochs or fractions.

use serde::{Deserialize, Serialize};

/// A length, written as a fraction of a whole (below 1) or as optimizer steps (1 or more).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FractionOrSteps(pub f64);

impl FractionOrSteps {
    /// The length in steps, where the whole has `whole` steps. Fractions are rounded up.
    #[must_use]
    pub fn steps(self, whole: u64) -> u64 {
        if self.0 < 1.0 { (whole as f64 * self.0).ceil() as u64 } else { self.0 as u64 }
    }
}

/// How long a trial trains.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    Epochs(f64),
    Steps(u64),
}

impl Length {
    /// Optimizer steps over `rows` training examples in batches of `batch_size` (the last batch of an epoch may be short).
    #[must_use]
    pub fn steps(self, rows: usize, batch_size: usize) -> u64 {
        match self {
            Self::Steps(steps) => steps,
            Self::Epochs(epochs) => (steps_per_epoch(rows, batch_size) as f64 * epochs).ceil() as u64,
        }
    }
}

/// Batches in one pass over `rows` examples; at least one.
#[must_use]
pub fn steps_per_epoch(rows: usize, batch_size: usize) -> u64 {
    rows.div_ceil(batch_size.max(1)).max(1) as u64
}
