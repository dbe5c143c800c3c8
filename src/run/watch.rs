//! Following a run of another process: its journal and the curves of its running trials, shown to a reporter.
//!
//! Reads, and changes nothing: whoever watches may stop at any time.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use super::follow::Position;
use crate::event::{Event, Reporter};
use crate::plan::Plan;
use crate::state::{SweepState, TrialPhase};
use crate::store::{JournalFollower, News, RunDir, StoreError};
use crate::trial::{Trial, TrialId};

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

/// Shows `reporter` what happens in a sweep that stands at `state`, until the run ends. `journal` was read up to there.
pub fn watch(
    plan: &Plan,
    dir: &RunDir,
    mut journal: JournalFollower,
    mut state: SweepState,
    reporter: &mut dyn Reporter,
) -> Result<WatchEnd, StoreError> {
    let trials: HashMap<&TrialId, &Trial> = plan.trials.iter().map(|trial| (&trial.id, trial)).collect();
    let mut positions: HashMap<TrialId, Position> = HashMap::new();
    loop {
        // Asked before the journal is read: what a process wrote before it ended is not missed.
        let alive = dir.holder().is_some();
        let News { records, anew } = journal.poll()?;
        if anew {
            state = SweepState::fold(plan, []);
        }
        let mut end = None;
        for record in &records {
            state.apply(&record.event);
            reporter.event(record);
            end = match record.event {
                Event::SweepClosed { .. } => Some(WatchEnd::Closed),
                Event::SweepInterrupted => Some(WatchEnd::Interrupted),
                Event::SweepOpened { .. } => None,
                _ => end,
            };
        }
        match (end, alive) {
            (Some(end), _) => return Ok(end),
            (None, false) => return Ok(WatchEnd::Gone),
            (None, true) => {}
        }
        follow(&trials, dir, &state, &mut positions);
        let mut running: Vec<_> = positions.values().map(|position| position.progress.clone()).collect();
        running.sort_by_key(|progress| progress.slot.index);
        reporter.progress(&running);
        thread::sleep(PAUSE);
    }
}

/// Looks at the files of the trials that run now, and forgets the others.
fn follow(
    trials: &HashMap<&TrialId, &Trial>,
    dir: &RunDir,
    state: &SweepState,
    positions: &mut HashMap<TrialId, Position>,
) {
    let slot = |id: &TrialId| match state.get(id).map(|known| &known.phase) {
        Some(TrialPhase::Running { slot, .. }) => Some(*slot),
        _ => None,
    };
    positions.retain(|id, _| slot(id).is_some());
    for (id, _) in state.running() {
        if let (Some(trial), Some(slot)) = (trials.get(id), slot(id)) {
            let new = || Position::new(trial, slot, &dir.trial(id));
            positions.entry(id.clone()).or_insert_with(new).look();
        }
    }
}
