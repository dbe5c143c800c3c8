//! What a tracker is: a program that shows curves, and takes the rows that it does not have yet.

use std::time::Instant;

use crate::store::StoreError;
use crate::trial::{EvalRow, MetricRow, Outcome, Status, Trial};

/// What one trial has measured so far.
#[derive(Debug, Clone, Copy)]
pub struct TrialCurves<'a> {
    pub trial: &'a Trial,
    /// The values that vary in the sweep, for people.
    pub name: &'a str,
    /// The whole configuration as dotted keys and texts.
    pub parameters: &'a [(String, String)],
    pub status: Status,
    pub metrics: &'a [MetricRow],
    pub evals: &'a [EvalRow],
    /// None until the trial ends.
    pub outcome: Option<&'a Outcome>,
    /// When the trial was first started, in milliseconds since 1970.
    pub started: u64,
}

impl TrialCurves<'_> {
    /// Training time in seconds when the step `step` was done.
    pub(super) fn seconds_at(&self, step: u64) -> f64 {
        let done = &self.metrics[..self.metrics.partition_point(|row| row.step <= step)];
        done.last().map_or(0.0, |row| row.seconds)
    }
}

/// Why a tracker did not take the curves of a trial.
#[derive(Debug, thiserror::Error)]
pub enum TrackError {
    /// The server is unreachable or refused a request; the text says which, and what to do.
    #[error("{0}")]
    Server(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A program that shows curves.
pub trait Tracker: Send {
    /// Adds the rows that are missing there, and the trial's status once it has ended. Returns whether anything was
    /// missing.
    fn update(&mut self, curves: &TrialCurves<'_>) -> Result<bool, TrackError>;

    /// After `deadline` every update fails at once. A tracker that never waits ignores it.
    fn set_deadline(&mut self, deadline: Instant) {
        let _ = deadline;
    }
}
