//! A job of a cluster as its parent follows it: what the cluster says, and what the folders show.

use std::time::Instant;

use crate::decide::{JobAction, JobFacts, job_action, state_of_part};
use crate::event::{Handle, JobEnd, JobName, JobState};
use crate::store::{AttemptDir, BatchDir, RunDir, ScriptEnd};
use crate::trial::TrialId;

/// The job of a running trial.
#[derive(Debug)]
pub(super) struct QueuedJob {
    pub(super) name: JobName,
    /// Its place among the attempts of the job, in the order in which they start.
    pub(super) place: usize,
    pub(super) state: JobState,
    /// Since when the cluster says so.
    since: Instant,
    /// Since when the worker of a shared job is over.
    over_since: Option<Instant>,
    /// The last heartbeat, and when it was first seen.
    heartbeat: Option<(u64, Instant)>,
    /// The step of the newest checkpoint when the attempt was queued.
    first_checkpoint: Option<u64>,
    /// The process that trains.
    pub(super) worker: Option<Handle>,
    pub(super) is_cancelled_by_us: bool,
}

/// What a look at the folders of a job shows.
pub(super) struct QueueLook {
    pub(super) action: JobAction,
    pub(super) script: Option<ScriptEnd>,
    /// The process that has started since the last look.
    pub(super) started: Option<Handle>,
}

impl QueuedJob {
    /// `first_checkpoint`: the step of the newest checkpoint when the attempt was queued.
    pub(super) fn new(name: JobName, place: usize, first_checkpoint: Option<u64>) -> Self {
        Self {
            name,
            place,
            over_since: None,
            state: JobState::Unknown,
            since: Instant::now(),
            heartbeat: None,
            first_checkpoint,
            worker: None,
            is_cancelled_by_us: false,
        }
    }

    /// The cluster says something new.
    pub(super) fn see(&mut self, state: JobState) {
        (self.state, self.since) = (state, Instant::now());
    }

    pub(super) fn batch(&self, dir: &RunDir) -> BatchDir {
        dir.batch(&self.name.batch)
    }

    /// The node that the job runs or ran on, as far as is known.
    pub(super) fn node(&self) -> Option<&str> {
        let of_worker = self.worker.as_ref().and_then(|worker| worker.host.as_deref());
        let listed = match &self.state {
            JobState::Running { node } => Some(node.as_str()),
            JobState::Ended { node, .. } => node.as_deref(),
            _ => None,
        };
        of_worker.or(listed).filter(|node| !node.is_empty())
    }

    /// Whether its time is over or the cluster needed its node.
    pub(super) fn has_ended_by(&self, how: JobEnd) -> bool {
        matches!(&self.state, JobState::Ended { how: ended, .. } if *ended == how)
    }

    /// Looks at the folders of the attempt.
    pub(super) fn look(&mut self, dir: &RunDir, attempt: &AttemptDir) -> QueueLook {
        let trial = attempt.trial();
        let started = if self.worker.is_none() { attempt.started() } else { None };
        if started.is_some() {
            self.worker.clone_from(&started);
        }
        if self.worker.is_some()
            && let Some(beat) = attempt.heartbeat()
            && self.heartbeat.is_none_or(|(last, _)| last != beat)
        {
            self.heartbeat = Some((beat, Instant::now()));
        }
        let waits = matches!(self.state, JobState::Queued { .. } | JobState::Unknown);
        let own = if waits { None } else { trial.id().and_then(|id| self.own_end(dir, &id)) };
        let script = own.or_else(|| if waits { None } else { self.script_end(dir) });
        let state = state_of_part(&self.state, own.map(|end| end.code));
        let is_over_before_its_job = state != self.state;
        let over_since = is_over_before_its_job.then(|| *self.over_since.get_or_insert_with(Instant::now));
        let facts = JobFacts {
            state: &state,
            since: over_since.unwrap_or(self.since).elapsed(),
            has_outcome: trial.has_outcome(),
            has_failure: !waits && attempt.failure().is_some(),
            exit: script.map(|end| end.code),
            has_started: self.worker.is_some(),
            quiet: self.heartbeat.map(|(_, seen)| seen.elapsed()),
            has_progressed: trial.checkpoints().newest_step() > self.first_checkpoint,
            is_cancelled_by_us: self.is_cancelled_by_us,
        };
        QueueLook { action: job_action(&facts), script, started }
    }

    /// How the job script ended. Not the end of an earlier start of the same job.
    fn script_end(&self, dir: &RunDir) -> Option<ScriptEnd> {
        self.batch(dir).script_end(self.name.index).filter(|end| end.restart >= self.restart())
    }

    /// How the worker ended, if it shares the job with others.
    fn own_end(&self, dir: &RunDir, trial: &TrialId) -> Option<ScriptEnd> {
        self.batch(dir).worker_end(self.name.index, trial).filter(|end| end.restart >= self.restart())
    }

    fn restart(&self) -> u32 {
        self.worker.as_ref().and_then(|worker| worker.restart).unwrap_or(0)
    }
}
