//! The position of a running trial, read from its files.

use std::time::{Duration, Instant};

use super::queue::QueuedJob;
use crate::decide::Pulse;
use crate::event::{Failure, Slot, TrialProgress};
use crate::exec::WorkerId;
use crate::store::{CurveFollower, TrialDir};
use crate::trial::{EvalRow, MetricRow, Trial};

/// Number of losses kept for a sparkline.
const RECENT: usize = 64;

/// How far a running trial is.
pub(super) struct TrialPosition {
    pub(super) progress: TrialProgress,
    /// Training time according to the newest row.
    trained: Duration,
    /// Training tokens of the rows since [`TrialPosition::take_tokens`].
    tokens: u64,
    /// When the last new row was seen.
    last_row: Instant,
    metrics: CurveFollower<MetricRow>,
    evals: CurveFollower<EvalRow>,
}

/// A worker that was started and has not been settled.
pub(super) struct RunningTrial {
    pub(super) worker: WorkerId,
    pub(super) position: TrialPosition,
    /// Why this program killed it, if it did.
    pub(super) killed_for: Option<Failure>,
    /// Its job, if it is queued on a cluster.
    pub(super) job: Option<QueuedJob>,
}

impl TrialPosition {
    pub(super) fn new(trial: &Trial, slot: Slot, folder: &TrialDir) -> Self {
        let progress = TrialProgress {
            trial: trial.id.clone(),
            slot,
            step: 0,
            steps: trial.steps,
            recent_loss: Vec::new(),
            eval_loss: None,
            best_eval_loss: None,
        };
        Self {
            progress,
            trained: Duration::ZERO,
            tokens: 0,
            last_row: Instant::now(),
            metrics: CurveFollower::new(folder.metrics()),
            evals: CurveFollower::new(folder.evals()),
        }
    }

    /// The worker has just started: what it waited for does not count.
    pub(super) fn start_clock(&mut self) {
        self.last_row = Instant::now();
    }

    /// Reads what the worker has written since the last look. Returns the new evaluations.
    pub(super) fn look(&mut self) -> Vec<EvalRow> {
        let rows = self.metrics.poll();
        self.tokens += rows.iter().map(|row| row.tokens).sum::<u64>();
        let progress = &mut self.progress;
        if let Some(row) = rows.last() {
            progress.step = row.step;
            self.trained = Duration::try_from_secs_f64(row.seconds).unwrap_or_default();
        }
        progress.recent_loss.extend(rows.iter().rev().take(RECENT).rev().map(|row| row.train_loss));
        let surplus = progress.recent_loss.len().saturating_sub(RECENT);
        progress.recent_loss.drain(..surplus);
        let evals = self.evals.poll();
        if !rows.is_empty() || !evals.is_empty() {
            self.last_row = Instant::now();
        }
        for row in &evals {
            progress.eval_loss = Some(row.eval_loss);
            let best = progress.best_eval_loss.unwrap_or(f32::INFINITY);
            if row.eval_loss < best {
                progress.best_eval_loss = Some(row.eval_loss);
            }
        }
        evals
    }

    /// Training tokens since the last call.
    pub(super) fn take_tokens(&mut self) -> u64 {
        std::mem::take(&mut self.tokens)
    }

    pub(super) fn pulse(&self) -> Pulse {
        Pulse { quiet: self.last_row.elapsed(), trained: self.trained }
    }
}
