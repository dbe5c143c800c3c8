//! Numbers from curves: when a loss stops falling, at what level, and which configuration is best. Pure.
//!
//! [`Study::of`] judges every trial by itself ([`plateau`]), then groups trials that differ in nothing but their seed
//! and ranks the groups ([`rank`]). What follows for the sweep as a whole, in words, is in [`findings`]. Failed seeds
//! are counted and never averaged. [`range_test`] reads a learning-rate range test. Drawing is left to `report`.

pub mod curve;
pub mod findings;
pub mod plateau;
pub mod range_test;
pub mod rank;
#[cfg(test)]
pub(crate) mod synthetic;

pub use plateau::{Judgement, Measured, verdicts};
pub use range_test::RangeTest;
pub use rank::{Config, Study};

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

impl Run {
    /// What `plateau` judges.
    pub fn measured(&self) -> plateau::Measured<'_> {
        plateau::Measured {
            metrics: &self.metrics,
            evals: &self.evals,
            eval_prior: self.outcome.as_ref().map_or(&[], |outcome| &outcome.eval_prior),
            steps: self.trial.steps,
        }
    }
}
