//! How the parent starts attempts, and what it makes of their ends.

use super::failure_cause::{blame_limit, failure};
use super::follow::{RunningTrial, TrialPosition};
use super::order::{RunError, RunOrder};
use super::parent::Parent;
use super::reconcile::missing_files;
use crate::event::{Event, Failure, OomPolicy, Slot};
use crate::exec::{Batch, Engine, ExitStatus, Launch, Submission, WorkerExit, WorkerId, device_seen_by_worker};
use crate::store::exit::{self, MemoryLimit};
use crate::store::{Assignment, StoreError};
use crate::trial::{Keep, Probe, Trial, TrialId};

/// The exit code of a worker that was asked to end.
const INTERRUPTED: i32 = exit::INTERRUPTED as i32;

impl<E: Engine> Parent<'_, E> {
    /// Claims the next attempt, then starts it. If the engine cannot start it, the attempt has failed.
    pub(super) fn launch(
        &mut self,
        id: &TrialId,
        attempt: u32,
        slot: Slot,
        oom_policy: OomPolicy,
    ) -> Result<(), RunError> {
        let Some(trial) = self.trials.get(id).and_then(|&at| self.plan.trials.get(at)) else { return Ok(()) };
        let trial = trial.clone();
        let place = match self.order.queue.map(|queue| self.place_in_new_job(queue, id)) {
            // No job takes it now.
            Some(None) => return Ok(()),
            place => place.flatten(),
        };
        self.check_folder()?;
        let folder = self.dir.trial(id);
        let claimed = folder.claim(attempt)?;
        let attempt = claimed.number();
        self.record(Event::AttemptClaimed { trial: id.clone(), attempt, slot })?;
        if oom_policy != OomPolicy::default() {
            self.record(Event::OomPolicyApplied { trial: id.clone(), attempt, oom_policy })?;
        }
        claimed.assign(&self.assignment(&trial, attempt, slot, oom_policy))?;
        // The worker of an earlier attempt may have died before it saw the request.
        if let Some(judgement) = self.state.get(id).and_then(|known| known.stop.as_ref()) {
            claimed.request_stop(&judgement.into())?;
        }
        let worker = WorkerId { trial: id.clone(), attempt };
        let path = claimed.path().to_owned();
        if let Some(at) = place {
            self.new_jobs.put(at, Launch { worker, folder: path, log: None, slot });
            return Ok(());
        }
        let launch = Launch { worker: worker.clone(), folder: path, log: Some(claimed.open_log()?), slot };
        match self.engine.submit(Batch { launches: vec![launch], request: None }).pop() {
            Some(Submission::Taken(handle)) => {
                let position = TrialPosition::new(&trial, slot, &folder);
                self.running.push(RunningTrial { worker, position, killed_for: None, job: None });
                self.record(Event::AttemptStarted { trial: id.clone(), attempt, handle })?;
            }
            Some(Submission::Unknown) | None => {}
            Some(Submission::Refused(error)) => {
                let error = StoreError::at(claimed.path())(error);
                if error.is_limit() {
                    // The trial is not to blame: it can start when the limit is raised.
                    self.record(Event::AttemptInterrupted { trial: id.clone(), attempt })?;
                    return Err(error.into());
                }
                let message = format!("the worker could not be started: {error}");
                let failure = Failure::Crashed { message, log_tail: Vec::new() };
                self.record(Event::AttemptFailed { trial: id.clone(), attempt, failure })?;
            }
        }
        Ok(())
    }

    fn assignment(&self, trial: &Trial, attempt: u32, slot: Slot, oom_policy: OomPolicy) -> Assignment {
        let RunOrder { config, results, parameters, facts, micro_batch_tokens, .. } = self.order;
        Assignment {
            trial: trial.clone(),
            attempt,
            slot,
            device: device_seen_by_worker(slot.device),
            checkpoint_every: config.checkpoint_every,
            keep: config.keep_while_running(),
            keep_weights: matches!(config.keep, Keep::Top(_)),
            micro_batch_tokens: micro_batch_tokens
                .get(&trial.id)
                .or_else(|| micro_batch_tokens.values().min())
                .copied(),
            micro_batch_splits: oom_policy.micro_batch_splits,
            ignores_stop_rules: self.state.get(&trial.id).is_some_and(|known| known.ignores_stop_rules),
            sources: facts.source_hashes(&trial.config),
            start: fork_of(trial).map(|probe| self.dir.start(&probe.trial, probe.step)),
            cache: results.cache().folder().to_owned(),
            git_commit: self.git_commit.clone(),
            parameters: parameters.get(&trial.config.model.network()).copied(),
        }
    }

    /// Journals the end of a worker. The folder of its trial says what that end means.
    pub(super) fn settle(&mut self, exited: &WorkerExit) -> Result<(), RunError> {
        self.check_owner()?;
        let WorkerExit { worker, status } = exited;
        let at = self.running.iter().position(|running| running.worker == *worker);
        let killed_for = at.and_then(|at| {
            let mut running = self.running.swap_remove(at);
            self.early_stopping.add(&worker.trial, running.position.look());
            running.killed_for
        });
        if self.finish(worker)? {
            return Ok(());
        }
        let WorkerId { trial, attempt } = worker.clone();
        let folder = self.dir.trial(&trial).attempt(attempt);
        // A signal to the worker alone asked it to end: its checkpoint is newer than any crash would have left.
        if killed_for.is_none() && *status == ExitStatus::Code(INTERRUPTED) && folder.failure().is_none() {
            return Ok(self.record(Event::AttemptInterrupted { trial, attempt })?);
        }
        let failure = killed_for.unwrap_or_else(|| failure(&folder, *status, &self.memory));
        self.fail(worker, failure)
    }

    /// Journals the failure of an attempt. Some failures end the run.
    pub(super) fn fail(&mut self, worker: &WorkerId, failure: Failure) -> Result<(), RunError> {
        let WorkerId { trial, attempt } = worker.clone();
        let failures = self.state.get(&trial).map_or(0, |known| known.failures);
        let is_last = failures >= self.order.config.retries;
        match if is_last { blame_limit(failure, MemoryLimit::of_this_process()) } else { failure } {
            // The trial is not to blame: the next run continues it.
            Failure::Disk { message } => {
                self.record(Event::AttemptInterrupted { trial, attempt })?;
                Err(RunError::Disk { message })
            }
            Failure::DiskFull { message } => {
                self.record(Event::AttemptInterrupted { trial, attempt })?;
                Err(RunError::DiskFull { message })
            }
            Failure::Limit { message } => {
                self.record(Event::AttemptInterrupted { trial, attempt })?;
                Err(RunError::Limit { message })
            }
            failure => Ok(self.record(Event::AttemptFailed { trial, attempt, failure })?),
        }
    }

    /// Journals the outcome of the trial, if it has one and its curves are complete.
    pub(super) fn finish(&mut self, worker: &WorkerId) -> Result<bool, RunError> {
        let folder = self.dir.trial(&worker.trial);
        let outcome = match folder.outcome() {
            Ok(Some(outcome)) => outcome,
            Ok(None) => return Ok(false),
            Err(error @ StoreError::Damaged { .. }) => {
                self.warn(format!("{error}: renamed"));
                folder.set_outcome_aside()?;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(missing) = missing_files(&folder, &outcome)? {
            self.warn(format!("trial {}: {missing}: its outcome is renamed", worker.trial));
            folder.set_outcome_aside()?;
            return Ok(false);
        }
        let WorkerId { trial, attempt } = worker.clone();
        self.record(Event::TrialFinished { trial, attempt, outcome: Box::new(outcome) })?;
        self.kept.update([worker.trial.clone()].into_iter(), self.order, &self.dir, &self.state)?;
        Ok(true)
    }

    /// Journals the end of a worker that was asked to stop.
    pub(super) fn release(&mut self, worker: &WorkerId) -> Result<(), RunError> {
        self.check_owner()?;
        if !self.finish(worker)? {
            let WorkerId { trial, attempt } = worker.clone();
            self.record(Event::AttemptInterrupted { trial, attempt })?;
        }
        Ok(())
    }
}

/// The probe of a trial that starts from a training state of another trial.
fn fork_of(trial: &Trial) -> Option<&Probe> {
    trial.config.probe.as_ref().filter(|probe| probe.kind.is_fork())
}
