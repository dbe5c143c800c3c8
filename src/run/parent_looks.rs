//! What the parent reads: the files of workers, the folder of the sweep, and what follows from comparing trials.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::follow::RunningTrial;
use super::order::RunError;
use super::parent::{Parent, write_documents};
use super::reconcile::recheck_ended;
use crate::decide::overdue;
use crate::event::Event;
use crate::exec::Engine;
use crate::store::{HEARTBEAT, StopRequest, StoreError};
use crate::trial::TrialId;

/// How often a sweep that is complete may turn out to have lost files, before the run ends with an error.
const MAX_RECOVERIES: u32 = 3;

impl<E: Engine> Parent<'_, E> {
    /// Reads what the workers have written. True if another process asks for the end of the run.
    pub(super) fn look(&mut self) -> Result<bool, RunError> {
        self.memory.look();
        if self.since_heartbeat() >= HEARTBEAT {
            self.check_folder()?;
            if self.dir.take_end_request() {
                return Ok(true);
            }
        }
        let looked = match self.order.queue {
            Some(queue) => self.looks.due(&self.running, &self.dir, queue.packing.pack),
            None => (0..self.running.len()).collect(),
        };
        for at in &looked {
            let Some(running) = self.running.get_mut(*at) else { continue };
            if running.job.as_ref().is_some_and(|job| job.worker.is_none()) {
                continue;
            }
            let rows = running.position.look();
            self.early_stopping.add(&running.worker.trial, rows);
            if running.killed_for.is_some() {
                continue;
            }
            running.killed_for = overdue(running.position.pulse(), self.order.config);
            if running.killed_for.is_some() {
                if let Some(job) = &mut running.job {
                    job.is_cancelled_by_us = true;
                    // A worker that shares its job reads it, or the process of the job kills it.
                    let attempt = self.dir.trial(&running.worker.trial).attempt(running.worker.attempt);
                    attempt.request_interrupt()?;
                }
                self.engine.kill(&running.worker);
            }
        }
        if let Some(load) = &mut self.device_load {
            let trial = |id: &TrialId| self.trials.get(id).and_then(|&at| self.plan.trials.get(at));
            let parameters = self.order.parameters;
            let of = |id: &TrialId| parameters.get(&trial(id)?.config.model.network()).map(|count| *count as f64);
            load.look(&mut self.running, |id| of(id).unwrap_or(1.0));
        }
        let has_begun = |running: &&RunningTrial| running.job.as_ref().is_none_or(|job| job.worker.is_some());
        let begun = self.running.iter().filter(has_begun);
        let progress: Vec<_> = begun.map(|running| running.position.progress.clone()).collect();
        self.reporter.progress(&progress);
        self.show_queue();
        // From the end: a trial that is over is taken out of the list, and the last one takes its place.
        for at in looked.into_iter().rev() {
            self.look_at_job(at)?;
        }
        Ok(false)
    }

    fn since_heartbeat(&self) -> Duration {
        SystemTime::now().duration_since(self.last_heartbeat).unwrap_or(Duration::MAX)
    }

    /// Shows that this process is alive, and notices a folder that was removed or replaced by a link, and a removed journal.
    pub(super) fn check_folder(&mut self) -> Result<(), StoreError> {
        // Until it has succeeded, the folder counts as lost.
        self.last_heartbeat = UNIX_EPOCH;
        self.lock.beat()?;
        self.dir.check_own_folders()?;
        self.running.iter().try_for_each(|running| self.dir.trial(&running.worker.trial).check_folders())?;
        if self.journal.restore()? {
            self.warn(format!("{} was deleted or replaced: it is restored", self.dir.journal().display()));
        }
        self.last_heartbeat = SystemTime::now();
        Ok(())
    }

    /// Fails if another process has taken the folder while this one did not run (SIGSTOP, a machine that slept). Called
    /// before anything is written.
    pub(super) fn check_owner(&mut self) -> Result<(), StoreError> {
        if self.since_heartbeat() >= HEARTBEAT * 2 { self.check_folder() } else { Ok(()) }
    }

    /// Applies the rules that compare trials, and asks the workers of stopped trials to end.
    pub(super) fn stop_outdone(&mut self) -> Result<(), RunError> {
        while let Some((trial, judgement)) = self.early_stopping.next(&self.state, self.order) {
            let request = judgement.stops.then(|| StopRequest::from(&judgement));
            self.record(Event::TrialJudged { trial: trial.clone(), judgement })?;
            let worker = self.running.iter().map(|running| &running.worker).find(|worker| worker.trial == trial);
            if let (Some(request), Some(worker)) = (request, worker) {
                self.dir.trial(&trial).attempt(worker.attempt).request_stop(&request)?;
            }
        }
        Ok(())
    }

    /// Checks the files of all ended trials once more: a user may have deleted them since their trials ended. True if a
    /// trial must be trained again.
    pub(super) fn recover_lost_files(&mut self) -> Result<bool, RunError> {
        self.check_folder()?;
        if !(self.dir.sweep_yaml().exists() && self.dir.origin().exists()) {
            write_documents(self.order, &self.dir)?;
            self.warn(format!("{}: files of the sweep were deleted: they are restored", self.dir.path().display()));
        }
        let findings = recheck_ended(self.order, &self.dir, &self.state)?;
        findings.warnings.into_iter().for_each(|warning| self.warn(warning));
        let is_incomplete = !findings.events.is_empty();
        if is_incomplete {
            self.recoveries += 1;
            if self.recoveries > MAX_RECOVERIES {
                return Err(StoreError::Vanished { path: self.dir.trials() }.into());
            }
            for event in findings.events {
                self.record(event)?;
            }
        }
        Ok(is_incomplete)
    }
}
