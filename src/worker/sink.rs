//! Writes the rows and the training states of a trial.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use super::outcome::RowCounts;
use super::stop::Orders;
use crate::analysis::rests;
use crate::store::{Assignment, AttemptDir, Checkpoints, CurvePosition, CurveWriter, StoreError, read_curve};
use crate::train::Sink;
use crate::trial::{BestEvaluation, DiagnosticRow, EvalRow, Keep, MetricRow, Plateau, Verdict};

/// After so long without a row this process may have been stopped, and another attempt may have taken the files of the trial.
const PAUSE: Duration = Duration::from_secs(2);

/// The folder of a trial as the trainer sees it. A row is passed to the system before the call returns. A state is written
/// in the background; until it is complete, the state before it is used. An error is reported by the next call about
/// states.
pub(super) struct TrialSink<'a> {
    metrics: CurveWriter<MetricRow>,
    evals: CurveWriter<EvalRow>,
    diagnostics: CurveWriter<DiagnosticRow>,
    checkpoints: Checkpoints,
    /// The state that is being written.
    writing: Option<JoinHandle<Result<(), StoreError>>>,
    plateau_rule: Option<PlateauRule>,
    keep: Keep,
    keeps_weights: bool,
    attempt: &'a AttemptDir,
    orders: &'a Orders<'a>,
    /// When the last row was written, by the clock: it also runs while the machine sleeps.
    last_row: SystemTime,
}

impl<'a> TrialSink<'a> {
    /// Opens the curves to continue from `resume`. None starts empty curves.
    ///
    /// # Errors
    /// [`StoreError::Vanished`] if rows up to there are gone meanwhile: nothing would ever fill the hole.
    pub(super) fn open(
        attempt: &'a AttemptDir,
        resume: Option<&CurvePosition>,
        assignment: &Assignment,
        orders: &'a Orders<'a>,
    ) -> Result<Self, StoreError> {
        let (trial, keep, keeps_weights) = (attempt.trial(), assignment.keep, assignment.keep_weights);
        let last = resume.map(|position| position.step);
        let metrics = CurveWriter::of_attempt(attempt, &trial.metrics(), last)?;
        let evals = CurveWriter::of_attempt(attempt, &trial.evals(), last)?;
        let diagnostics = CurveWriter::of_attempt(attempt, &trial.diagnostics(), last)?;
        let kept = resume.into_iter().flat_map(|position| {
            [
                (trial.metrics(), metrics.rows() >= position.step),
                (trial.evals(), evals.rows() >= position.evals),
                (trial.diagnostics(), diagnostics.rows() >= position.diagnostics),
            ]
        });
        if let Some((path, _)) = kept.into_iter().find(|(_, is_whole)| !is_whole) {
            return Err(StoreError::Vanished { path });
        }
        let rule = assignment.trial.config.stop.plateau.as_ref().filter(|_| !assignment.ignores_stop_rules);
        // The files hold the rows up to the step from which the trial continues.
        let plateau_rule = rule.map(|rule| {
            let (metrics, evals) = (read_curve(&trial.metrics())?.rows, read_curve(&trial.evals())?.rows);
            Ok(PlateauRule {
                rule: rule.clone(),
                steps: assignment.trial.steps,
                chance: None,
                metrics,
                evals,
                verdict: None,
            })
        });
        let (checkpoints, plateau_rule) = (trial.checkpoints(), plateau_rule.transpose()?);
        Ok(Self {
            metrics,
            evals,
            diagnostics,
            checkpoints,
            writing: None,
            plateau_rule,
            keep,
            keeps_weights,
            attempt,
            orders,
            last_row: SystemTime::now(),
        })
    }

    /// Fails if a later attempt has taken the files while this process did not run. A file system without locks allows that.
    fn check_owner(&mut self) -> Result<(), StoreError> {
        let pause = SystemTime::now().duration_since(self.last_row).unwrap_or(PAUSE);
        self.last_row = SystemTime::now();
        if pause >= PAUSE { self.attempt.check_newest() } else { Ok(()) }
    }

    /// Why the rule `stop.plateau` ended the trial, if it did.
    pub(super) fn take_stop_verdict(&mut self) -> Option<Verdict> {
        self.plateau_rule.as_mut()?.verdict.take()
    }

    /// Rows of the curves so far.
    pub(super) fn rows(&self) -> RowCounts {
        RowCounts { metrics: self.metrics.rows(), evals: self.evals.rows(), diagnostics: self.diagnostics.rows() }
    }

    /// Waits until the newest state is on the disk.
    pub(super) fn wait_for_state(&mut self) -> Result<(), StoreError> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        // A panic of the writing thread is a panic of this attempt.
        writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// The rule `stop.plateau` with the data that it uses.
struct PlateauRule {
    rule: Plateau,
    /// Steps of the whole trial.
    steps: u64,
    /// The loss of the best model that ignores its input.
    chance: Option<f64>,
    metrics: Vec<MetricRow>,
    evals: Vec<EvalRow>,
    verdict: Option<Verdict>,
}

impl PlateauRule {
    fn judge(&mut self) {
        self.verdict = rests(&self.rule, self.steps, &self.metrics, &self.evals, self.chance);
    }
}

impl Sink for TrialSink<'_> {
    fn metric(&mut self, row: &MetricRow) -> io::Result<()> {
        #[cfg(feature = "faults")]
        crate::store::fail_step();
        self.check_owner().map_err(to_io)?;
        if let Some(rule) = &mut self.plateau_rule
            && rule.metrics.last().is_none_or(|last| last.step < row.step)
        {
            rule.metrics.push(*row);
        }
        self.metrics.append(row).map_err(to_io)
    }

    fn eval(&mut self, row: &EvalRow) -> io::Result<()> {
        self.check_owner().map_err(to_io)?;
        if let Some(rule) = &mut self.plateau_rule {
            // An evaluation after the checkpoint is computed again.
            if rule.evals.last().is_none_or(|last| last.step < row.step) {
                rule.evals.push(row.clone());
            }
            rule.judge();
        }
        self.evals.append(row).map_err(to_io)
    }

    fn best_evaluation(&mut self, best: &BestEvaluation) -> io::Result<()> {
        self.attempt.trial().write_best_evaluation(best).map_err(to_io)
    }

    /// A trial that continues from the state at which the rule ended it ends there again.
    fn chance(&mut self, chance: Option<f64>) {
        if let Some(rule) = &mut self.plateau_rule {
            rule.chance = chance;
            rule.judge();
        }
    }

    fn diagnostic(&mut self, row: &DiagnosticRow) -> io::Result<()> {
        self.diagnostics.append(row).map_err(to_io)
    }

    fn checkpoint(&mut self, step: u64, best: bool, state: Vec<u8>) -> io::Result<()> {
        self.wait_for_state().map_err(to_io)?;
        let best = best && matches!(self.keep, Keep::Best | Keep::All);
        let position = CurvePosition { step, evals: self.evals.rows(), diagnostics: self.diagnostics.rows() };
        let metrics = self.metrics.syncing().map_err(to_io)?;
        let evals = self.evals.syncing().map_err(to_io)?;
        let diagnostics = self.diagnostics.syncing().map_err(to_io)?;
        let (checkpoints, attempt, is_fenced) = (self.checkpoints.clone(), self.attempt.clone(), self.orders.is_fenced);
        let folder = self.attempt.path();
        let write = move || {
            // A later attempt continues from the state that it found.
            if is_fenced {
                attempt.check_newest()?;
            }
            // The rows first: a state is useless without its rows.
            metrics()?;
            evals()?;
            diagnostics()?;
            checkpoints.save(&position, &state, best)
        };
        let thread = thread::Builder::new().name("checkpoint".into());
        self.writing = Some(thread.spawn(write).map_err(StoreError::at(folder)).map_err(to_io)?);
        Ok(())
    }

    fn keeps_weights(&self) -> bool {
        self.keeps_weights
    }

    fn weights(&mut self, weights: &[u8]) -> io::Result<()> {
        self.wait_for_state().map_err(to_io)?;
        self.checkpoints.write_weights(weights).map_err(to_io)
    }

    fn interrupted(&self) -> bool {
        self.orders.is_interrupted()
    }

    fn stop_reason(&self, step: u64) -> Option<String> {
        let own = self.plateau_rule.as_ref().and_then(|rule| rule.verdict.as_ref());
        own.map(|verdict| verdict.text.clone()).or_else(|| self.orders.stop_reason(step))
    }

    fn keep(&self) -> Keep {
        self.keep
    }
}

impl Drop for TrialSink<'_> {
    /// Nothing is written to the folder after its lock is released, also not after an error or a panic.
    fn drop(&mut self) {
        if let Some(writing) = self.writing.take() {
            let _ = writing.join();
        }
    }
}

/// Keeps the error of the store as the source.
fn to_io(error: StoreError) -> io::Error {
    io::Error::other(error)
}
