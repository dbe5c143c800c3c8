//! Where a trial's rows and states go.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::store::{AttemptDir, Checkpoints, CurveWriter, Mark, StoreError, strike_step};
use crate::train::Sink;
use crate::trial::{DiagnosticRow, EvalRow, Keep, MetricRow};

/// The trainer's view of a trial's folder. Every row is on its way to the disk when the call returns; a state is written
/// while training goes on, and the one before it counts until it is whole. One that cannot be written is reported by
/// the next call about states.
pub(super) struct TrialSink<'a> {
    metrics: CurveWriter<MetricRow>,
    evals: CurveWriter<EvalRow>,
    diagnostics: CurveWriter<DiagnosticRow>,
    checkpoints: Checkpoints,
    /// The state on its way to the disk.
    writing: Option<JoinHandle<Result<(), StoreError>>>,
    keep: Keep,
    attempt: &'a AttemptDir,
    stop: &'a AtomicBool,
}

impl<'a> TrialSink<'a> {
    /// Opens the curves to go on after step `resume`; None starts them anew.
    pub(super) fn open(
        attempt: &'a AttemptDir,
        resume: Option<u64>,
        keep: Keep,
        stop: &'a AtomicBool,
    ) -> Result<Self, StoreError> {
        let trial = attempt.trial();
        let metrics = CurveWriter::open(&trial.metrics(), resume)?;
        let evals = CurveWriter::open(&trial.evals(), resume)?;
        let diagnostics = CurveWriter::open(&trial.diagnostics(), resume)?;
        Ok(Self { metrics, evals, diagnostics, checkpoints: trial.checkpoints(), writing: None, keep, attempt, stop })
    }

    /// Waits until the newest state is on the disk.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        // A panic of the writer is one of this attempt.
        writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Sink for TrialSink<'_> {
    fn metric(&mut self, row: &MetricRow) -> io::Result<()> {
        strike_step();
        self.metrics.append(row).map_err(to_io)
    }

    fn eval(&mut self, row: &EvalRow) -> io::Result<()> {
        self.evals.append(row).map_err(to_io)
    }

    fn diagnostic(&mut self, row: &DiagnosticRow) -> io::Result<()> {
        self.diagnostics.append(row).map_err(to_io)
    }

    fn checkpoint(&mut self, step: u64, best: bool, state: Vec<u8>) -> io::Result<()> {
        self.settle().map_err(to_io)?;
        let best = best && matches!(self.keep, Keep::Best | Keep::All);
        let mark = Mark { step, evals: self.evals.rows() };
        let metrics = self.metrics.syncing().map_err(to_io)?;
        let evals = self.evals.syncing().map_err(to_io)?;
        let diagnostics = self.diagnostics.syncing().map_err(to_io)?;
        let checkpoints = self.checkpoints.clone();
        self.writing = Some(thread::Builder::new().name("checkpoint".into()).spawn(move || {
            // Rows first: a state whose rows are missing is of no use.
            metrics()?;
            evals()?;
            diagnostics()?;
            checkpoints.save(&mark, &state, best)
        })?);
        Ok(())
    }

    fn interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn told_to_end(&self) -> Option<String> {
        self.attempt.told_to_end()
    }

    fn keep(&self) -> Keep {
        self.keep
    }
}

impl Drop for TrialSink<'_> {
    /// Nothing is written to the trial's folder once its lock is let go of, not after an error or a panic either.
    fn drop(&mut self) {
        if let Some(writing) = self.writing.take() {
            let _ = writing.join();
        }
    }
}

/// Keeps the path and the advice in the message.
fn to_io(error: StoreError) -> io::Error {
    io::Error::other(error)
}
