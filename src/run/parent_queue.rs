//! How the parent fills a queue: it adopts the jobs of an earlier one, puts trials into jobs, and submits these.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::follow::{RunningTrial, TrialPosition};
use super::new_jobs::{JobNeeds, NewBatch};
use super::order::{QueueOrder, RunError};
use super::parent::Parent;
use super::queue::QueuedJob;
use super::reconcile::is_wanted;
use crate::decide::{QueueRules, nodes_to_avoid};
use crate::event::{Event, JobName, JobState};
use crate::exec::{Batch, Engine, JobRequest, Launch, WorkerId};
use crate::state::{TrialPhase, TrialState};
use crate::store::{BatchDocument, BatchEntry};
use crate::trial::TrialId;

/// The shortest pause between two lines about the queue.
const SHOW: Duration = Duration::from_secs(30);

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
                let document =
                    batches.entry(job.batch.clone()).or_insert_with(|| self.dir.batch(&job.batch).read().ok());
                let entries = document.as_ref().and_then(|document| document.jobs.get(job.index as usize));
                let mut places = entries.into_iter().flatten().enumerate();
                let place = places.find(|(_, entry)| entry.trial == id);
                let (place, checkpoint) = place.map_or((0, None), |(place, entry)| (place, entry.checkpoint));
                let job = Some(QueuedJob::new(job, place, checkpoint));
                self.running.push(RunningTrial { worker, position, killed_for: None, job });
            } else {
                // A worker that shares its job reads it.
                folder.attempt(attempt).request_interrupt()?;
                self.engine.kill(&worker);
                self.record(Event::AttemptInterrupted { trial: id, attempt })?;
            }
        }
        Ok(())
    }

    /// The rules for what is launched in this turn.
    pub(super) fn rules_of_turn(&mut self, queue: &QueueOrder<'_>) -> QueueRules {
        let order = self.order;
        let is_waiting =
            |(id, known): &(&TrialId, &TrialState)| matches!(known.phase, TrialPhase::Pending) && is_wanted(order, id);
        let waiting = self.state.open().filter(is_waiting).count();
        let jobs: HashSet<&JobName> =
            self.running.iter().filter_map(|running| running.job.as_ref()).map(|job| &job.name).collect();
        let most = if queue.submits_all { usize::MAX } else { queue.packing.jobs };
        let free = most.saturating_sub(jobs.len());
        QueueRules { room: self.new_jobs.begin_turn(&queue.packing, waiting, free), ..queue.rules }
    }

    /// A job for the next attempt of a trial. None if no job may take it in this turn.
    pub(super) fn place_in_new_job(&mut self, queue: &QueueOrder<'_>, id: &TrialId) -> Option<usize> {
        // A configuration that a search drew meanwhile is taken for the longest of the others.
        let longest = || queue.seconds.values().copied().fold(0.0, f64::max);
        let seconds = queue.seconds.get(id).copied().unwrap_or_else(longest);
        self.new_jobs.place(&queue.packing, self.needs(queue, id), seconds)
    }

    /// What the next job of a trial needs.
    fn needs(&self, queue: &QueueOrder<'_>, id: &TrialId) -> JobNeeds {
        let known = self.state.get(id);
        // A configuration that a search drew meanwhile is taken for the largest of the others.
        let memory = queue.memory.and_then(|all| all.get(id).or_else(|| all.values().max()));
        let factor = known.map_or(1, |known| queue.rules.memory_factor(known));
        JobNeeds {
            memory: memory.map(|bytes| bytes.saturating_mul(factor)),
            avoid: known.map(|known| nodes_to_avoid(&self.state, known)).unwrap_or_default(),
        }
    }

    /// Submits what was launched in this turn: jobs with the same needs together. The document of a batch and the journal say which
    /// attempts its jobs train before the first of them is submitted.
    pub(super) fn submit_new_jobs(&mut self) -> Result<(), RunError> {
        let Some(queue) = self.order.queue else { return Ok(()) };
        let batches = self.new_jobs.take(queue.batch);
        // Slurm bounds each array by itself.
        let throttle = queue.submits_all.then(|| queue.packing.jobs.div_ceil(batches.len().max(1)));
        for NewBatch { needs: JobNeeds { memory, avoid }, jobs } in batches {
            let entry = |launch: &Launch| {
                let WorkerId { trial, attempt } = launch.worker.clone();
                let checkpoint = self.dir.trial(&trial).checkpoints().newest_step();
                BatchEntry { trial, attempt, checkpoint }
            };
            let pack = queue.packing.pack;
            let entries: Vec<Vec<BatchEntry>> = jobs.iter().map(|job| job.iter().map(entry).collect()).collect();
            let document = BatchDocument { pack, jobs: entries };
            let batch = self.dir.write_batch(&queue.prefix, &document)?;
            let side_by_side = jobs.iter().map(|job| job.len().min(pack)).max().unwrap_or(1);
            let (mut launches, mut indices) = (Vec::new(), Vec::new());
            for ((job, entries), index) in jobs.into_iter().zip(&document.jobs).zip(0..) {
                for ((launch, entry), place) in job.into_iter().zip(entries).zip(0..) {
                    let WorkerId { trial, attempt } = launch.worker.clone();
                    let name = JobName { batch: batch.name().to_owned(), index };
                    self.record(Event::AttemptQueued { trial: trial.clone(), attempt, job: name.clone() })?;
                    let Some(planned) = self.trials.get(&trial).and_then(|&at| self.plan.trials.get(at)) else {
                        continue;
                    };
                    let position = TrialPosition::new(planned, launch.slot, &self.dir.trial(&trial));
                    let job = Some(QueuedJob::new(name, place, entry.checkpoint));
                    self.unsubmitted.insert(launch.worker.clone());
                    self.running.push(RunningTrial { worker: launch.worker.clone(), position, killed_for: None, job });
                    launches.push(launch);
                    indices.push(index);
                }
            }
            let request = JobRequest {
                name: batch.name().to_owned(),
                indices,
                throttle,
                document: batch.document(),
                folder: batch.folder(),
                memory: memory.map(|bytes| bytes.saturating_mul(side_by_side as u64)),
                avoid,
            };
            self.engine.submit(Batch { launches, request: Some(request) });
        }
        Ok(())
    }

    /// Shows how many jobs wait and why, and how many run, when that has changed since the last time; at most once in a while.
    pub(super) fn show_queue(&mut self) {
        if self.shown_queue.as_ref().is_some_and(|(_, shown)| shown.elapsed() < SHOW) {
            return;
        }
        let jobs: HashMap<&JobName, &JobState> =
            self.running.iter().filter_map(|running| running.job.as_ref()).map(|job| (&job.name, &job.state)).collect();
        let queued = jobs.iter().filter(|(_, state)| matches!(state, JobState::Queued { .. }));
        let (queued, first) = (queued.clone().count(), queued.min_by_key(|(name, _)| **name));
        let running = jobs.values().filter(|state| matches!(state, JobState::Running { .. })).count();
        let mut text = format!("Slurm: {queued} queued");
        if let Some((_, JobState::Queued { reason, start })) = first {
            let start = start.as_ref().map_or_else(String::new, |start| format!(", expected start {start}"));
            let _ = write!(text, " ({reason}{start})");
        }
        let _ = write!(text, ", {running} running");
        if queued + running > 0 && self.shown_queue.as_ref().is_none_or(|(last, _)| *last != text) {
            self.reporter.warning(&text);
            self.shown_queue = Some((text, Instant::now()));
        }
    }
}
