//! The curves of a sweep in other programs: TensorBoard's event files, and the runs of an MLflow tracking server.
//!
//! A [`Tracker`] receives a trial's curves as often as they grow and adds what is missing at its end. How much is there
//! already is read from the event file or asked of the server, so a kill at any moment loses nothing and duplicates
//! nothing. A [`Destination`] adds what a live run needs: it retries an unreachable tracker later and never sends a
//! trial that ended twice. Reading the trials, and printing, are left to the command line.

mod destination;
mod event_files;
mod mlflow;
mod rows;
mod tfevents;

pub use destination::{Destination, TrialVersion};
pub use event_files::EventFiles;
pub use mlflow::{Mlflow, default_url};
pub use rows::{Row, rows};

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
    fn seconds_at(&self, step: u64) -> f64 {
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
}

#[cfg(test)]
mod testing {
    use super::TrialCurves;
    use crate::analysis::Run;

    /// The curves of a run made up for tests.
    pub(super) fn curves<'a>(run: &'a Run, name: &'a str, parameters: &'a [(String, String)]) -> TrialCurves<'a> {
        let Run { trial, status, metrics, evals, outcome, .. } = run;
        TrialCurves { trial, name, parameters, status: *status, metrics, evals, outcome: outcome.as_ref(), started: 0 }
    }
}
