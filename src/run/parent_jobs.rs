//! What the parent does about a job: it acts on what the cluster and the folders say about it.

use super::failure_cause::failure;
use super::follow::RunningTrial;
use super::order::RunError;
use super::parent::Parent;
use super::queue::QueuedJob;
use crate::decide::JobAction;
use crate::event::{Event, Failure, JobEnd, JobState, Slot};
use crate::exec::{Engine, ExitStatus, WorkerId};
use crate::state::TrialPhase;
use crate::store::{ScriptEnd, exit};
use crate::trial::TrialId;

/// The exit code of a worker that was asked to end.
const INTERRUPTED: i32 = exit::INTERRUPTED as i32;
/// What a shell reports of a process that was killed.
const KILLED: i32 = 128 + 9;

impl<E: Engine> Parent<'_, E> {
    /// Looks at the folders of a queued trial, and does what they and the cluster together ask for.
    pub(super) fn look_at_job(&mut self, at: usize) -> Result<(), RunError> {
        let Some(RunningTrial { worker, job: Some(job), .. }) = self.running.get_mut(at) else { return Ok(()) };
        let folder = self.dir.trial(&worker.trial);
        let attempt = folder.attempt(worker.attempt);
        let look = job.look(&self.dir, &attempt);
        let (worker, job_name) = (worker.clone(), job.name.clone());
        let WorkerId { trial, attempt: number } = worker.clone();
        if let Some(handle) = look.started {
            if let Some(running) = self.running.get_mut(at) {
                running.position.start_clock();
            }
            self.record(Event::AttemptStarted { trial: trial.clone(), attempt: number, handle })?;
        }
        // Slurm has started the job again: it is the next attempt now.
        let next = folder.attempt(number.saturating_add(1));
        if look.action != JobAction::Finish
            && attempt.is_superseded()
            && next.started().is_some_and(|handle| handle.job == attempt.started().and_then(|earlier| earlier.job))
        {
            let Some(slot) = self.slot_of(&trial) else { return Ok(()) };
            let attempt = next.number();
            self.record(Event::AttemptInterrupted { trial: trial.clone(), attempt: number })?;
            self.record(Event::AttemptClaimed { trial: trial.clone(), attempt, slot })?;
            self.record(Event::AttemptQueued { trial: trial.clone(), attempt, job: job_name.clone() })?;
            let worker = WorkerId { trial, attempt };
            self.engine.adopt(worker.clone(), job_name.clone());
            let running = &mut self.running[at];
            let (place, state) = running.job.take().map(|job| (job.place, job.state)).unwrap_or_default();
            let mut job = QueuedJob::new(job_name, place, folder.checkpoints().newest_step());
            job.see(state);
            (running.worker, running.job) = (worker, Some(job));
            return Ok(());
        }
        let (trial, attempt) = (trial, number);
        if look.action == JobAction::BlameNode && look.script.is_none() && self.nothing_comes_back(at) {
            self.engine.cancel_all();
            let folder = self.dir.path().display();
            return Err(RunError::Refused {
                message: format!(
                    "a job has ended and left nothing in {folder}: the nodes do not see the results folder. Choose one on a file system \
                     that all nodes share, with --results. `plateau plan --probe` tests it"
                ),
            });
        }
        let killed_for = self.running.get(at).and_then(|running| running.killed_for.clone());
        // All trials of a job show the fault of its node. It counts once.
        let is_known_fault = look.action == JobAction::BlameNode && !self.blamed.insert(job_name);
        match look.action {
            JobAction::Wait => return Ok(()),
            JobAction::Finish if self.finish(&worker)? => {}
            // The outcome was damaged, or its curves are incomplete: the attempt counts as failed.
            JobAction::Finish => self.fail(&worker, Failure::Lost)?,
            JobAction::Resubmit if killed_for.is_some() => self.fail(&worker, killed_for.unwrap_or(Failure::Lost))?,
            JobAction::Resubmit => self.record(Event::AttemptInterrupted { trial, attempt })?,
            JobAction::BlameNode if is_known_fault => self.record(Event::AttemptInterrupted { trial, attempt })?,
            JobAction::Fail
            | JobAction::RaiseMemory
            | JobAction::Lose
            | JobAction::BlameNode
            | JobAction::Pause
            | JobAction::ResubmitWithoutCheckpoint => {
                let failure = self.failure_of_job(at, look.action, look.script);
                self.fail(&worker, failure)?;
            }
        }
        self.engine.forget(&worker);
        if let Some(at) = self.running.iter().position(|running| running.worker == worker) {
            let mut running = self.running.swap_remove(at);
            self.early_stopping.add(&worker.trial, running.position.look());
        }
        Ok(())
    }

    /// Whether this job has left no log, and no job of this sweep has ever started a worker.
    fn nothing_comes_back(&self, at: usize) -> bool {
        let job = self.running.get(at).and_then(|running| running.job.as_ref());
        let has_log = job.is_some_and(|job| !job.batch(&self.dir).log_tail(job.name.index, 1).is_empty());
        let is_dead = job.is_some_and(|job| job.has_ended_by(JobEnd::NodeFailed));
        !has_log && !is_dead && self.state.known().all(|(_, known)| known.node.is_none())
    }

    /// Why the attempt of a job has failed.
    fn failure_of_job(&self, at: usize, action: JobAction, script: Option<ScriptEnd>) -> Failure {
        let Some(RunningTrial { worker, job: Some(job), .. }) = self.running.get(at) else { return Failure::Lost };
        let attempt = self.dir.trial(&worker.trial).attempt(worker.attempt);
        let id = &worker.trial;
        let node = job.node().unwrap_or("unknown").to_owned();
        let batch = job.batch(&self.dir);
        match action {
            JobAction::RaiseMemory => Failure::OutOfMemory { log_tail: attempt.log_tail(20) },
            JobAction::BlameNode => {
                let message = match job.state {
                    JobState::Ended { how: JobEnd::NodeFailed, .. } => "it has failed".to_owned(),
                    _ => match batch.log_tail(job.name.index, 3).join(" / ") {
                        text if text.is_empty() => {
                            "the job script ended before the worker had started, and has left nothing. Does the node see the \
                             results folder and the program?"
                                .to_owned()
                        }
                        text => format!("the job script failed before the worker had started: {text}"),
                    },
                };
                Failure::Node { node, message }
            }
            JobAction::ResubmitWithoutCheckpoint if job.has_ended_by(JobEnd::Preempted) => Failure::Lost,
            JobAction::ResubmitWithoutCheckpoint => {
                let message =
                    "no checkpoint within the time of a job: raise `run.slurm.time`, or lower `run.checkpoint_every`";
                Failure::NoCheckpoint { message: message.to_owned() }
            }
            JobAction::Pause => {
                let batch = &job.name.batch;
                let message =
                    format!("its job {batch} was cancelled by hand. `plateau run --retry-failed` queues {id} again");
                Failure::Cancelled { message }
            }
            JobAction::Fail => {
                let status = match script.map_or(1, |end| end.code) {
                    KILLED => ExitStatus::OutOfMemory,
                    code if code > 128 && code != INTERRUPTED => ExitStatus::Signal(code - 128),
                    code => ExitStatus::Code(code),
                };
                match failure(&attempt, status, &self.memory) {
                    // On a cluster the node is what can be avoided.
                    Failure::DeviceFault { message } => {
                        Failure::Node { node, message: format!("device fault: {message}") }
                    }
                    failure => failure,
                }
            }
            JobAction::Wait | JobAction::Finish | JobAction::Resubmit | JobAction::Lose => Failure::Lost,
        }
    }

    fn slot_of(&self, trial: &TrialId) -> Option<Slot> {
        match self.state.get(trial)?.phase {
            TrialPhase::Running { slot, .. } => Some(slot),
            _ => None,
        }
    }
}
