//! Numbers from curves: when a loss stops falling, at what level, and which configuration is best. Pure.
//!
//! [`Study::of`] judges every trial by itself: what became of its evaluation loss ([`plateau`]), what its training loss does
//! ([`detector`]), and why ([`rules`]; in a sweep its neighbours have a say). Then it groups trials that differ in nothing but their seed and ranks the groups
//! ([`rank`]). What follows for the sweep as a whole, in words, is in [`findings`] and [`effects`]. Failed seeds are
//! counted and never averaged. `docs/diagnosis.md` is the user's view of it. Drawing is left to `report`.
//! [`range_test`] reads a learning-rate range test, [`probes`] what probes of single trials have answered.

pub mod curve;
pub mod detector;
pub mod effects;
pub mod findings;
pub mod measured;
mod neighbours;
pub mod plateau;
pub mod probes;
pub mod range_test;
pub mod rank;
pub mod refine;
mod resting;
pub mod rules;
pub mod statistics;
#[cfg(test)]
pub(crate) mod synthetic;
mod thresholds;

pub use measured::Measured;
pub use plateau::{Judgement, verdicts};
pub use range_test::RangeTest;
pub use rank::{Config, Study};
pub use resting::rests;
pub use rules::{Diagnosis, diagnose};

use crate::trial::{Axis, DiagnosticRow, EvalRow, MetricRow, Outcome, Status, Trial, Verdict};

/// A sweep as it stands on disk: every planned trial with what it has measured so far.
#[derive(Debug, Clone, PartialEq, Default)]
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
    pub diagnostics: Vec<DiagnosticRow>,
    pub outcome: Option<Outcome>,
}

impl Run {
    /// What is to be known of its numbers, if they were made with smaller micro-batches after it ran out of memory.
    #[must_use]
    pub fn memory_note(&self) -> Option<&str> {
        let verdicts = &self.outcome.as_ref()?.verdicts;
        verdicts
            .iter()
            .find(|verdict| verdict.id == Verdict::SMALLER_MICRO_BATCHES)
            .map(|verdict| verdict.text.as_str())
    }

    /// The curves, for everything that judges them.
    pub fn measured(&self) -> Measured<'_> {
        let prior = |of: fn(&Outcome) -> &[f64]| self.outcome.as_ref().map_or(&[][..], of);
        Measured {
            diagnostics: &self.diagnostics,
            train_prior: prior(|outcome| &outcome.class_prior),
            eval_prior: prior(|outcome| &outcome.eval_prior),
            steps: self.trial.steps,
            config: Some(&self.trial.config),
            ..Measured::of(&self.metrics, &self.evals)
        }
    }
}
