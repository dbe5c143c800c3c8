//! Keeps `trials.csv` up to date without spending the sweep's time on it.

use std::time::{Duration, Instant};

use super::survey::{error, status};
use crate::plan::Plan;
use crate::state::{SweepState, TrialPhase};
use crate::store::{RunDir, StoreError, TrialRow};

/// At most this share of the time goes into the table: one write, then its duration this many times over without one.
const PATIENCE: u32 = 20;

/// Written after every change while that is quick; with many thousands of trials, now and then.
#[derive(Debug, Default)]
pub(super) struct Table {
    stale: bool,
    quiet_until: Option<Instant>,
}

impl Table {
    pub(super) fn touch(&mut self) {
        self.stale = true;
    }

    /// Writes if something changed and the last write is long enough ago.
    pub(super) fn refresh(&mut self, dir: &RunDir, plan: &Plan, state: &SweepState) -> Result<(), StoreError> {
        let quiet = self.quiet_until.is_some_and(|until| Instant::now() < until);
        if self.stale && !quiet { self.write(dir, plan, state) } else { Ok(()) }
    }

    pub(super) fn write(&mut self, dir: &RunDir, plan: &Plan, state: &SweepState) -> Result<(), StoreError> {
        let start = Instant::now();
        let keys: Vec<_> = plan.axes.iter().map(|axis| axis.key.as_str()).collect();
        let errors: Vec<_> = plan.trials.iter().map(|trial| state.get(&trial.id).and_then(error)).collect();
        let rows = plan.trials.iter().zip(&errors).map(|(trial, error)| {
            let phase = state.get(&trial.id).map_or(&TrialPhase::Pending, |known| &known.phase);
            let outcome = match phase {
                TrialPhase::Ended(outcome) => Some(outcome.as_ref()),
                _ => None,
            };
            TrialRow { trial, status: status(phase, true), outcome, error: error.as_deref() }
        });
        dir.write_trials(&keys, rows)?;
        self.stale = false;
        let cost: Duration = start.elapsed();
        self.quiet_until = Some(Instant::now() + cost * PATIENCE);
        Ok(())
    }
}
