//! Keeps `trials.csv` up to date without taking much time.

use std::time::{Duration, Instant};

use super::survey::{error, status};
use crate::plan::Plan;
use crate::search::SearchHistory;
use crate::state::{SweepState, TrialPhase};
use crate::store::{RunDir, StoreError, TrialRow};

/// After a write, the next one waits for this many times its duration.
const PAUSE: u32 = 20;

/// The table is written after every change while that is quick, and less often with many thousands of trials.
#[derive(Debug, Default)]
pub(super) struct TrialsTable {
    is_stale: bool,
    pause_until: Option<Instant>,
}

impl TrialsTable {
    pub(super) fn mark_stale(&mut self) {
        self.is_stale = true;
    }

    /// Writes the table if something has changed and the last write is long enough ago.
    pub(super) fn refresh(&mut self, dir: &RunDir, plan: &Plan, state: &SweepState) -> Result<(), StoreError> {
        let pauses = self.pause_until.is_some_and(|until| Instant::now() < until);
        if self.is_stale && !pauses { self.write(dir, plan, state) } else { Ok(()) }
    }

    pub(super) fn write(&mut self, dir: &RunDir, plan: &Plan, state: &SweepState) -> Result<(), StoreError> {
        let start = Instant::now();
        let keys: Vec<_> = plan.axes.iter().map(|axis| axis.key.as_str()).collect();
        let errors: Vec<_> = plan.trials.iter().map(|trial| state.get(&trial.id).and_then(error)).collect();
        let draws = plan.search.as_ref().map(SearchHistory::by_trial);
        let rows = plan.trials.iter().zip(&errors).map(|(trial, error)| {
            let phase = state.get(&trial.id).map_or(&TrialPhase::Pending, |known| &known.phase);
            let outcome = match phase {
                TrialPhase::Ended(outcome) => Some(outcome.as_ref()),
                _ => None,
            };
            let draw = draws.as_ref().and_then(|draws| draws.get(&trial.id)).map(|draw| (draw.number, draw.by));
            TrialRow { trial, draw, status: status(phase, true), outcome, error: error.as_deref() }
        });
        dir.write_trials(&keys, draws.is_some(), rows)?;
        self.is_stale = false;
        let cost: Duration = start.elapsed();
        self.pause_until = Some(Instant::now() + cost * PAUSE);
        Ok(())
    }
}
