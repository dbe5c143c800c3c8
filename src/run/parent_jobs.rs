//! What the parent does with a queue: it adopts and submits jobs, and acts on what the cluster and the folders say about them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::failure_cause::failure;
use super::follow::{RunningTrial, TrialPosition};
use super::order::{QueueOrder, RunError};
use super::parent::Parent;
use super::queue::{JobNeeds, QueuedJob};
use crate::decide::{JobAction, nodes_to_avoid};
use crate::event::{Event, Failure, JobEnd, JobName, JobState, Slot};
use crate::exec::{Batch, Engine, ExitStatus, JobRequest, Launch, WorkerId};
use crate::state::TrialPhase;
use crate::store::{BatchEntry, ScriptEnd, exit};
use crate::trial::TrialId;

/// The shortest pause between two lines about the queue.
const SHOW: Duration = Duration::from_secs(30);
/// The exit code of a worker that was asked to end.
const INTERRUPTED: i32 = exit::INTERRUPTED as i32;
/// What a shell reports of a process that was killed.
const KILLED: i32 = 128 + 9;

impl<E: Engine> Parent<'_, E> {
    /// Follows the jobs that an earlier parent has left in the queue. Those of trials that are no longer in the plan are cancelled.
    pub(super) fn adopt_jobs(&mut self) -> Result<(), RunError> {
        let running = self.state.running().filter_map(|(id, known)| match (&known.phase, &known.job) {
            (TrialPhase::Running { attempt, slot }, Some(job)) => Some((id.clone(), *attempt, *slot, job.clone())),
            _ => None,
        });
        let running: Vec<_> = running.collect();
        let mut batches = HashMap::new();
        for (id, attempt, slot, job) in running {
            let worker = WorkerId { trial: id.clone(), attempt };
            self.engine.adopt(worker.clone(), job.clone());
            let folder = self.dir.trial(&id);
            if let Some(trial) = self.trials.get(&id).and_then(|&at| self.plan.trials.get(at)) {
                let position = TrialPosition::new(trial, slot, &folder);
                let entries =
                    batches.entry(job.batch.clone()).or_insert_with(|| self.dir.batch(&job.batch).entries().ok());
                let entry = entries.as_ref().and_then(|entries| entries.get(job.index as usize));
                let job = Some(QueuedJob::new(job, entry.and_then(|entry| entry.checkpoint)));
                self.running.push(RunningTrial { worker, position, killed_for: None, job });
            } else {
                self.engine.kill(&worker);
                self.record(Event::AttemptInterrupted { trial: id, attempt })?;
            }
        }
        Ok(())
    }

    /// What the next job of a trial needs.
    pub(super) fn needs(&self, queue: &QueueOrder<'_>, id: &TrialId) -> JobNeeds {
        let known = self.state.get(id);
        // A configuration that a search drew meanwhile is taken for the largest of the others.
        let memory = queue.memory.and_then(|all| all.get(id).or_else(|| all.values().max()));
        let factor = known.map_or(1, |known| queue.rules.memory_factor(known));
        JobNeeds {
            memory: memory.map(|bytes| bytes.saturating_mul(factor)),
            avoid: known.map(|known| nodes_to_avoid(&self.state, known)).unwrap_or_default(),
        }
    }

    /// Queues what was launched in this turn: jobs with the same needs together. The document of a batch and the journal say which
    /// attempts its jobs are before the first of them is submitted.
    pub(super) fn submit_batches(&mut self) -> Result<(), RunError> {
        let Some(queue) = self.order.queue else { return Ok(()) };
        let mut groups: Vec<(JobNeeds, Vec<Launch>)> = Vec::new();
        for (launch, needs) in std::mem::take(&mut self.batched) {
            match groups.iter_mut().find(|(known, launches)| *known == needs && launches.len() < queue.batch) {
                Some((_, launches)) => launches.push(launch),
                None => groups.push((needs, vec![launch])),
            }
        }
        for (JobNeeds { memory, avoid }, launches) in groups {
            let entry = |launch: &Launch| {
                let WorkerId { trial, attempt } = launch.worker.clone();
                let checkpoint = self.dir.trial(&trial).checkpoints().newest_step();
                BatchEntry { trial, attempt, checkpoint }
            };
            let entries: Vec<BatchEntry> = launches.iter().map(entry).collect();
            let batch = self.dir.write_batch(&queue.prefix, &entries)?;
            for ((launch, entry), index) in launches.iter().zip(&entries).zip(0..) {
                let WorkerId { trial, attempt } = launch.worker.clone();
                let job = JobName { batch: batch.name().to_owned(), index };
                self.record(Event::AttemptQueued { trial: trial.clone(), attempt, job: job.clone() })?;
                let Some(planned) = self.trials.get(&trial).and_then(|&at| self.plan.trials.get(at)) else { continue };
                let folder = self.dir.trial(&trial);
                let position = TrialPosition::new(planned, launch.slot, &folder);
                let job = Some(QueuedJob::new(job, entry.checkpoint));
                self.unsubmitted.insert(launch.worker.clone());
                self.running.push(RunningTrial { worker: launch.worker.clone(), position, killed_for: None, job });
            }
            let (name, document, folder) = (batch.name().to_owned(), batch.document(), batch.folder());
            let request = Some(JobRequest { name, document, folder, memory, avoid });
            self.engine.submit(Batch { launches, request });
        }
        Ok(())
    }

    /// Shows how many jobs wait and why, and how many run, when that has changed since the last time; at most once in a while.
    pub(super) fn show_queue(&mut self) {
        if self.shown_queue.as_ref().is_some_and(|(_, shown)| shown.elapsed() < SHOW) {
            return;
        }
        let jobs = || self.running.iter().filter_map(|running| running.job.as_ref());
        let reasons = jobs().filter_map(|job| match &job.state {
            JobState::Queued { reason, start } => Some((reason.as_str(), start.as_deref())),
            _ => None,
        });
        let reasons: Vec<(&str, Option<&str>)> = reasons.collect();
        let running = jobs().filter(|job| matches!(job.state, JobState::Running { .. })).count();
        let mut text = format!("Slurm: {} queued", reasons.len());
        if let Some((reason, start)) = reasons.first() {
            let start = start.map_or_else(String::new, |start| format!(", expected start {start}"));
            let _ = write!(text, " ({reason}{start})");
        }
        let _ = write!(text, ", {running} running");
        if reasons.len() + running > 0 && self.shown_queue.as_ref().is_none_or(|(last, _)| *last != text) {
            self.reporter.warning(&text);
            self.shown_queue = Some((text, Instant::now()));
        }
    }

    /// Looks at the folders of a queued trial, and does what they and the cluster together ask for.
    pub(super) fn look_at_job(&mut self, at: usize) -> Result<(), RunError> {
        let Some(RunningTrial { worker, job: Some(job), .. }) = self.running.get_mut(at) else { return Ok(()) };
        let folder = self.dir.trial(&worker.trial);
        let attempt = folder.attempt(worker.attempt);
        let look = job.look(&self.dir, &attempt);
        let (worker, job_name) = (worker.clone(), job.name.clone());
        let WorkerId { trial, attempt: number } = worker.clone();
        if let Some(handle) = look.started {
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
            let state = running.job.take().map(|job| job.state).unwrap_or_default();
            let mut job = QueuedJob::new(job_name, folder.checkpoints().newest_step());
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
        match look.action {
            JobAction::Wait => return Ok(()),
            JobAction::Finish if self.finish(&worker)? => {}
            // The outcome was damaged, or its curves are incomplete: the attempt counts as failed.
            JobAction::Finish => self.fail(&worker, Failure::Lost)?,
            JobAction::Resubmit if killed_for.is_some() => self.fail(&worker, killed_for.unwrap_or(Failure::Lost))?,
            JobAction::Resubmit => self.record(Event::AttemptInterrupted { trial, attempt })?,
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
