//! Ends the jobs of a sweep that no process follows.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::event::{Event, JobName, Record};
use crate::exec::cancel_batches;
use crate::state::{SweepState, TrialPhase};
use crate::store::{Journal, RunDir, StoreError, read_journal};
use crate::trial::TrialId;

/// A trial whose job is or was in the queue of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedTrial {
    pub trial: TrialId,
    pub attempt: u32,
    pub job: JobName,
}

/// The trials of a sweep that are in the queue of a cluster by its journal. Their jobs may have ended since a process last followed
/// them.
pub fn queued_trials(dir: &RunDir) -> Result<Vec<QueuedTrial>, StoreError> {
    let records = read_journal(&dir.journal())?.records;
    let mut state = SweepState::new([]);
    for record in &records {
        state.apply(&record.event);
    }
    let queued = state.running().filter_map(|(id, known)| match (&known.phase, &known.job) {
        (TrialPhase::Running { attempt, .. }, Some(job)) => {
            Some(QueuedTrial { trial: id.clone(), attempt: *attempt, job: job.clone() })
        }
        _ => None,
    });
    Ok(queued.collect())
}

/// Cancels the jobs of a sweep that no process follows. Those that run save their states and end. Returns how many there were, and
/// what Slurm says if it does not do it.
pub fn cancel_jobs(dir: &RunDir) -> Result<(usize, Option<String>), StoreError> {
    let lock = dir.lock()?;
    let queued = queued_trials(dir)?;
    let (mut journal, _) = Journal::open(&dir.journal())?;
    // A job that Slurm does not cancel reads the request.
    for QueuedTrial { trial, attempt, .. } in &queued {
        dir.trial(trial).attempt(*attempt).request_interrupt()?;
    }
    let batches: BTreeSet<String> = queued.iter().map(|queued| queued.job.batch.clone()).collect();
    let refused = cancel_batches(&batches).err();
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    for QueuedTrial { trial, attempt, .. } in &queued {
        let event = Event::AttemptInterrupted { trial: trial.clone(), attempt: *attempt };
        journal.append(&Record { at, event })?;
    }
    journal.sync()?;
    drop(lock);
    Ok((queued.len(), refused))
}
