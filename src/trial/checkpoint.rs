//! When checkpoints are written, and which of them stay.

use serde::{Deserialize, Serialize};

/// How often a running trial saves its training state.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointEvery {
    Seconds(f64),
    /// Optimizer steps.
    Steps(u64),
}

/// What is left in `checkpoint/` when a trial has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    None,
    /// The state of the best evaluation.
    Best,
    /// The final state.
    Last,
    /// Both.
    All,
    /// The weights of the best evaluation, without the optimizer, of this many leading trials.
    Top(usize),
}

impl Keep {
    /// Keeps the weights of the leading trial.
    pub const WINNER: Self = Self::Top(1);
}
