//! Where a trial's rows and states go.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::analysis::rests;
use crate::store::{Assignment, AttemptDir, Checkpoints, CurveWriter, Mark, StoreError, read_curve, strike_step};
use crate::train::Sink;
use crate::trial::{DiagnosticRow, EvalRow, Keep, MetricRow, Plateau, Verdict};

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
    resting: Option<Resting>,
    keep: Keep,
    attempt: &'a AttemptDir,
    stop: &'a AtomicBool,
}

impl<'a> TrialSink<'a> {
    /// Opens the curves to go on after step `resume`; None starts them anew.
    pub(super) fn open(
        attempt: &'a AttemptDir,
        resume: Option<u64>,
        assignment: &Assignment,
        stop: &'a AtomicBool,
    ) -> Result<Self, StoreError> {
        let (trial, keep) = (attempt.trial(), assignment.keep);
        let metrics = CurveWriter::open(&trial.metrics(), resume)?;
        let evals = CurveWriter::open(&trial.evals(), resume)?;
        let diagnostics = CurveWriter::open(&trial.diagnostics(), resume)?;
        let rule = assignment.trial.config.stop.plateau.as_ref().filter(|_| !assignment.ignores_stop_rules);
        // The files hold the rows up to where the trial goes on from.
        let resting = rule.map(|rule| {
            let (metrics, evals) = (read_curve(&trial.metrics())?.rows, read_curve(&trial.evals())?.rows);
            Ok(Resting {
                rule: rule.clone(),
                steps: assignment.trial.steps,
                prior: Vec::new(),
                metrics,
                evals,
                found: None,
            })
        });
        let (checkpoints, resting) = (trial.checkpoints(), resting.transpose()?);
        Ok(Self { metrics, evals, diagnostics, checkpoints, writing: None, resting, keep, attempt, stop })
    }

    /// Why the trial was ended by its rule on plateaus, if it was.
    pub(super) fn rested(&mut self) -> Option<Verdict> {
        self.resting.as_mut()?.found.take()
    }

    /// Waits until the newest state is on the disk.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        // A panic of the writer is one of this attempt.
        writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// What the rule `stop.plateau` needs to see, kept while it is on.
struct Resting {
    rule: Plateau,
    /// Of the whole trial.
    steps: u64,
    /// Share of each class in the training split.
    prior: Vec<f64>,
    metrics: Vec<MetricRow>,
    evals: Vec<EvalRow>,
    found: Option<Verdict>,
}

impl Resting {
    fn judge(&mut self) {
        self.found = rests(&self.rule, self.steps, &self.metrics, &self.evals, &self.prior);
    }
}

impl Sink for TrialSink<'_> {
    fn metric(&mut self, row: &MetricRow) -> io::Result<()> {
        strike_step();
        if let Some(resting) = &mut self.resting
            && resting.metrics.last().is_none_or(|last| last.step < row.step)
        {
            resting.metrics.push(*row);
        }
        self.metrics.append(row).map_err(to_io)
    }

    fn eval(&mut self, row: &EvalRow) -> io::Result<()> {
        if let Some(resting) = &mut self.resting {
            // A state may lack an evaluation that was written: it is made again.
            if resting.evals.last().is_none_or(|last| last.step < row.step) {
                resting.evals.push(*row);
            }
            resting.judge();
        }
        self.evals.append(row).map_err(to_io)
    }

    /// A trial that goes on from the very state after which it was to end ends there again.
    fn classes(&mut self, prior: &[f64]) {
        if let Some(resting) = &mut self.resting {
            resting.prior = prior.to_vec();
            resting.judge();
        }
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

    fn stop_reason(&self) -> Option<String> {
        let own = self.resting.as_ref().and_then(|resting| resting.found.as_ref());
        own.map(|verdict| verdict.text.clone()).or_else(|| self.attempt.stop_reason())
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
