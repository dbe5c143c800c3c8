//! Following a run of another process: its journal and the curves of its running trials, shown to a reporter.
//!
//! Reads, and changes nothing: whoever watches may stop at any time.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use super::follow::Position;
use crate::event::{Event, Reporter};
use crate::plan::Plan;
use crate::state::{Standing, SweepState};
use crate::store::{RunDir, StoreError, read_journal};
use crate::trial::TrialId;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// Why there is nothing more to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchEnd {
    /// Nothing was left to do.
    Closed,
    Interrupted,
    /// The process that ran the sweep is gone without a word.
    Gone,
}

/// Shows `reporter` what happens after the first `seen` records of the journal, until the run ends.
pub fn watch(plan: &Plan, dir: &RunDir, mut seen: usize, reporter: &mut dyn Reporter) -> Result<WatchEnd, StoreError> {
    let mut positions: HashMap<TrialId, Position> = HashMap::new();
    loop {
        // Asked before the journal is read: what a process wrote before it ended is not missed.
        let alive = dir.holder().is_some();
        let records = read_journal(&dir.journal())?.records;
        // A fresh start archives the old journal.
        seen = seen.min(records.len());
        let mut end = None;
        for record in &records[seen..] {
            reporter.event(record);
            end = match record.event {
                Event::SweepClosed { .. } => Some(WatchEnd::Closed),
                Event::SweepInterrupted => Some(WatchEnd::Interrupted),
                Event::SweepOpened { .. } => None,
                _ => end,
            };
        }
        seen = records.len();
        match (end, alive) {
            (Some(end), _) => return Ok(end),
            (None, false) => return Ok(WatchEnd::Gone),
            (None, true) => {}
        }
        let state = SweepState::fold(plan, &records);
        follow(plan, dir, &state, &mut positions);
        let mut running: Vec<_> = positions.values().map(|position| position.progress.clone()).collect();
        running.sort_by_key(|progress| progress.slot.index);
        reporter.progress(&running);
        thread::sleep(PAUSE);
    }
}

/// Looks at the files of the trials that run now, and forgets the others.
fn follow(plan: &Plan, dir: &RunDir, state: &SweepState, positions: &mut HashMap<TrialId, Position>) {
    let slot = |id: &TrialId| match state.get(id).map(|known| &known.standing) {
        Some(Standing::Running { slot, .. }) => Some(*slot),
        _ => None,
    };
    positions.retain(|id, _| slot(id).is_some());
    for trial in &plan.trials {
        if let Some(slot) = slot(&trial.id) {
            let new = || Position::new(trial, slot, &dir.trial(&trial.id));
            positions.entry(trial.id.clone()).or_insert_with(new).look();
        }
    }
}
