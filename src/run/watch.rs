//! Follows the run of another process: its journal and the curves of its running trials, shown to a reporter.
//!
//! Only reads: a watcher may stop at any time.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use super::follow::TrialPosition;
use crate::event::{Event, Reporter};
use crate::plan::Plan;
use crate::state::{SweepState, TrialPhase};
use crate::store::{HEARTBEAT, JournalFollower, NewRecords, RunDir, StoreError};
use crate::trial::{Trial, TrialId};

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// Why watching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchEnd {
    /// Nothing was left to do.
    Closed,
    Interrupted,
    /// The parent ended, and its jobs continue in the queue of a cluster.
    Detached,
    /// The process that ran the sweep died.
    Gone,
}

/// Shows `reporter` what happens in a sweep until the run ends. `state` is the fold of what `journal` has already read.
pub fn watch(
    plan: &Plan,
    dir: &RunDir,
    mut journal: JournalFollower,
    mut state: SweepState,
    reporter: &mut dyn Reporter,
) -> Result<WatchEnd, StoreError> {
    let mut trials: HashMap<TrialId, Trial> =
        plan.trials.iter().map(|trial| (trial.id.clone(), trial.clone())).collect();
    let mut positions: HashMap<TrialId, TrialPosition> = HashMap::new();
    let mut liveness = Liveness::default();
    loop {
        // Asked before the journal is read, so that no event before the end of the process is missed.
        let alive = liveness.look(dir);
        let NewRecords { records, is_new_file } = journal.poll()?;
        if is_new_file {
            state = SweepState::fold(plan, []);
        }
        let mut end = None;
        for record in &records {
            if let Event::ConfigurationSuggested { trials: drawn, .. } = &record.event {
                for trial in drawn {
                    state.extend(&trial.id);
                    trials.insert(trial.id.clone(), trial.clone());
                }
            }
            state.apply(&record.event);
            reporter.event(record);
            end = match record.event {
                Event::SweepClosed { .. } => Some(WatchEnd::Closed),
                Event::SweepInterrupted => Some(WatchEnd::Interrupted),
                Event::SweepDetached { .. } => Some(WatchEnd::Detached),
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

/// Whether the parent is alive, asked every few seconds: the answer can take a while.
#[derive(Debug, Default)]
struct Liveness {
    seen: Option<Instant>,
}

impl Liveness {
    fn look(&mut self, dir: &RunDir) -> bool {
        let is_recent = self.seen.is_some_and(|seen| seen.elapsed() < HEARTBEAT / 2);
        if is_recent {
            return true;
        }
        let alive = dir.is_held();
        self.seen = alive.then(Instant::now);
        alive
    }
}

/// Looks at the files of the trials that run now, and forgets the others.
fn follow(
    trials: &HashMap<TrialId, Trial>,
    dir: &RunDir,
    state: &SweepState,
    positions: &mut HashMap<TrialId, TrialPosition>,
) {
    let slot = |id: &TrialId| match state.get(id).map(|known| &known.phase) {
        Some(TrialPhase::Running { slot, .. }) => Some(*slot),
        _ => None,
    };
    positions.retain(|id, _| slot(id).is_some());
    for (id, _) in state.running() {
        if let (Some(trial), Some(slot)) = (trials.get(id), slot(id)) {
            let new = || TrialPosition::new(trial, slot, &dir.trial(id));
            positions.entry(id.clone()).or_insert_with(new).look();
        }
    }
}
