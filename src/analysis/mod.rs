//! Numbers from curves: when a loss stops falling, at what level, and which configuration is best. Pure.

use crate::trial::{Axis, EvalRow, MetricRow, Outcome, Status, Trial};

/// A sweep as it stands on disk: every planned trial with what it has measured so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    pub name: String,
    /// What varies, in the order of the sweep file; `seed` last if it varies.
    pub axes: Vec<Axis>,
    /// In the order of the plan.
    pub runs: Vec<Run>,
}

/// A trial and its curves.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub trial: Trial,
    pub status: Status,
    /// Why it failed, in words.
    pub error: Option<String>,
    pub metrics: Vec<MetricRow>,
    pub evals: Vec<EvalRow>,
    pub outcome: Option<Outcome>,
}
