//! Where a trial's rows and states go.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::{Checkpoints, CurveWriter, Mark, StoreError, TrialDir};
use crate::train::Sink;
use crate::trial::{DiagnosticRow, EvalRow, Keep, MetricRow};

/// The trainer's view of a trial's folder. Every row is on its way to the disk when the call returns.
pub(super) struct TrialSink<'a> {
    metrics: CurveWriter<MetricRow>,
    evals: CurveWriter<EvalRow>,
    diagnostics: CurveWriter<DiagnosticRow>,
    checkpoints: Checkpoints,
    keep: Keep,
    stop: &'a AtomicBool,
}

impl<'a> TrialSink<'a> {
    /// Opens the curves to go on after step `resume`; None starts them anew.
    pub(super) fn open(
        trial: &TrialDir,
        resume: Option<u64>,
        keep: Keep,
        stop: &'a AtomicBool,
    ) -> Result<Self, StoreError> {
        let metrics = CurveWriter::open(&trial.metrics(), resume)?;
        let evals = CurveWriter::open(&trial.evals(), resume)?;
        let diagnostics = CurveWriter::open(&trial.diagnostics(), resume)?;
        Ok(Self { metrics, evals, diagnostics, checkpoints: trial.checkpoints(), keep, stop })
    }
}

impl Sink for TrialSink<'_> {
    fn metric(&mut self, row: &MetricRow) -> io::Result<()> {
        self.metrics.append(row).map_err(to_io)
    }

    fn eval(&mut self, row: &EvalRow) -> io::Result<()> {
        self.evals.append(row).map_err(to_io)
    }

    fn diagnostic(&mut self, row: &DiagnosticRow) -> io::Result<()> {
        self.diagnostics.append(row).map_err(to_io)
    }

    fn checkpoint(&mut self, step: u64, best: bool, state: &[u8]) -> io::Result<()> {
        // Rows first: a state whose rows are missing is of no use.
        self.metrics.sync().and_then(|()| self.evals.sync()).and_then(|()| self.diagnostics.sync()).map_err(to_io)?;
        let best = best && matches!(self.keep, Keep::Best | Keep::All);
        self.checkpoints.save(&Mark { step, evals: self.evals.rows() }, state, best).map_err(to_io)
    }

    fn interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn keep(&self) -> Keep {
        self.keep
    }
}

/// Keeps the path and the advice in the message.
fn to_io(error: StoreError) -> io::Error {
    io::Error::other(error)
}
