//! The loop, and the only place that starts, stops and settles workers.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::cause::{MemoryMonitor, failure};
use super::follow::{Position, Watched};
use super::judged::Judged;
use super::machine::git_commit;
use super::open::{damage_warnings, reconcile};
use super::probed::Kept;
use super::table::Table;
use super::{Call, FailedTrial, RunError, RunOrder, RunSummary};
use crate::decide::{Action, MemoryBudget, Policy, decide, overdue};
use crate::event::{Event, Failure, OomPolicy, Record, Reporter, Slot};
use crate::exec::{Executor, Exited, Start, Worker, device_seen_by_worker};
use crate::spec::Probing;
use crate::state::{SweepState, TrialPhase};
use crate::store::{Assignment, BEAT, Journal, Lock, RunDir, StoreError, host, write_file};
use crate::trial::{Probe, Trial, TrialId};

/// Between looks at the files of running trials.
const LOOK: Duration = Duration::from_millis(250);
/// From asking workers to stop to killing those that have not.
const STOP: Duration = Duration::from_millis(1800);
/// From killing workers to going on without word of their end.
const KILL: Duration = Duration::from_secs(1);

/// How a run ends that the disk lets come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Interrupted,
    /// Trials are left, but no slot.
    Stranded,
}

/// The process that runs a sweep.
pub(super) struct Parent<'a, E> {
    order: &'a RunOrder<'a>,
    trials: HashMap<&'a TrialId, &'a Trial>,
    dir: RunDir,
    journal: Journal,
    state: SweepState,
    engine: E,
    reporter: &'a mut dyn Reporter,
    /// Workers that have not been settled.
    watched: Vec<Watched>,
    /// For the rules that hold trials against one another.
    judged: Judged,
    memory: MemoryMonitor,
    /// What the trials are expected to take, corrected by what they have taken.
    room: Option<MemoryBudget<'a>>,
    /// States that are kept to be probed.
    kept: Kept,
    table: Table,
    git_commit: Option<String>,
    warnings: Vec<String>,
    /// When other hosts were last told that this process lives.
    beaten: Instant,
    /// Last, so that the folder is let go of after everything else.
    lock: Lock,
}

impl<'a, E: Executor> Parent<'a, E> {
    /// Takes the sweep's folder, reads what happened so far, and journals what the journal does not know.
    pub(super) fn open(order: &'a RunOrder<'a>, engine: E, reporter: &'a mut dyn Reporter) -> Result<Self, RunError> {
        let dir = order.results.sweep(&order.plan.name)?;
        let mut lock = dir.lock()?;
        // The folders of trials count without a journal too: an outcome in one of them would be taken for this run's.
        if order.fresh && (dir.journal().exists() || dir.trials().exists()) {
            (lock, _) = dir.archive(lock)?;
        }
        write_file(&dir.sweep_yaml(), order.sweep_yaml.as_bytes())?;
        write_file(&dir.origin(), order.origin)?;
        let (journal, reading) = Journal::open(&dir.journal())?;
        let state = SweepState::fold(order.plan, &reading.records);
        let findings = reconcile(order, &dir, &state)?;
        let mut parent = Self {
            order,
            trials: order.plan.trials.iter().map(|trial| (&trial.id, trial)).collect(),
            room: order.memory.map(|memory| memory.after(&state)),
            journal,
            state,
            engine,
            reporter,
            watched: Vec::new(),
            judged: Judged::new(order, &dir)?,
            memory: MemoryMonitor::new(),
            kept: Kept::default(),
            table: Table::default(),
            git_commit: git_commit(Path::new(".")),
            warnings: Vec::new(),
            beaten: Instant::now(),
            lock,
            dir,
        };
        let warnings = damage_warnings(&parent.dir, &reading.damaged);
        warnings.into_iter().chain(findings.warnings).for_each(|warning| parent.warn(warning));
        parent.record(Event::SweepOpened {
            sweep: order.plan.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: host(),
            pid: std::process::id(),
            trials: order.plan.trials.iter().map(|trial| trial.id.clone()).collect(),
        })?;
        for event in findings.events {
            parent.record(event)?;
        }
        for trial in &findings.reopened {
            parent.dir.trial(trial).set_stopped_outcome_aside()?;
        }
        if order.config.probe == Probing::Plateaus {
            let ended = parent.state.planned().filter(|(_, known)| matches!(known.phase, TrialPhase::Ended(_)));
            let ended: Vec<TrialId> = ended.map(|(id, _)| id.clone()).collect();
            parent.kept.settle(ended.into_iter(), order, &parent.dir, &parent.state)?;
        }
        Ok(parent)
    }

    /// Takes turns until nothing is left to do. However that ends, no worker is left.
    pub(super) async fn run(&mut self, mut interrupts: UnboundedReceiver<Call>) -> Result<RunSummary, RunError> {
        let turned = self.turns(&mut interrupts).await;
        let stopped = self.stop_all(&mut interrupts).await;
        let end = turned?;
        stopped?;
        if end == End::Interrupted {
            self.record(Event::SweepInterrupted)?;
        }
        self.table.write(&self.dir, self.order.plan, &self.state)?;
        self.journal.sync()?;
        Ok(self.summary(end))
    }

    async fn turns(&mut self, interrupts: &mut UnboundedReceiver<Call>) -> Result<End, RunError> {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let order = self.order;
        loop {
            let policy =
                Policy { slots: order.slots, retries: order.config.retries, wanted: order.only, memory: self.room };
            for action in decide(&self.state, &policy) {
                if let Some(end) = self.act(action)? {
                    return Ok(end);
                }
            }
            tokio::select! {
                biased;
                Some(call) = interrupts.recv() => match call {
                    Call::Stop => return Ok(End::Interrupted),
                    Call::Hangup => self.reporter.hangup(),
                    Call::Nothing => {}
                },
                exited = self.engine.next_exit() => self.settle(&exited)?,
                _ = looks.tick() => self.look(),
            }
            self.judge()?;
            self.table.refresh(&self.dir, order.plan, &self.state)?;
        }
    }

    /// How the sweep is over, if it is.
    fn act(&mut self, action: Action) -> Result<Option<End>, RunError> {
        match action {
            Action::Launch { trial, attempt, slot } => self.launch(&trial, attempt, slot, OomPolicy::default())?,
            Action::Retry { trial, attempt, slot, oom_policy } => self.launch(&trial, attempt, slot, oom_policy)?,
            Action::Retire { slot, failure } => self.record(Event::SlotRetired { slot, failure })?,
            Action::GiveUp { trial, failure } => self.record(Event::TrialFailed { trial, failure })?,
            Action::Finish { finished, failed } => {
                self.record(Event::SweepClosed { finished, failed })?;
                return Ok(Some(End::Closed));
            }
            Action::Strand => return Ok(Some(End::Stranded)),
        }
        Ok(None)
    }

    /// Claims the next attempt, then starts it. An engine that cannot is a failed attempt.
    fn launch(&mut self, id: &TrialId, attempt: u32, slot: Slot, oom_policy: OomPolicy) -> Result<(), RunError> {
        let Some(&trial) = self.trials.get(id) else { return Ok(()) };
        let folder = self.dir.trial(id);
        let claimed = folder.claim(attempt)?;
        let attempt = claimed.number();
        self.record(Event::AttemptClaimed { trial: id.clone(), attempt, slot })?;
        if oom_policy != OomPolicy::default() {
            self.record(Event::OomPolicyApplied { trial: id.clone(), attempt, oom_policy })?;
        }
        claimed.assign(&self.assignment(trial, attempt, slot, oom_policy))?;
        // Its last worker may not have lived to hear of it.
        if let Some(judgement) = self.state.get(id).and_then(|known| known.stop.as_ref()) {
            claimed.request_stop(&judgement.to_string())?;
        }
        let worker = Worker { trial: id.clone(), attempt };
        let path = claimed.path().to_owned();
        let start = Start { worker: worker.clone(), folder: path, log: claimed.open_log()?, slot };
        match self.engine.launch(start) {
            Ok(pid) => {
                self.watched.push(Watched { worker, position: Position::new(trial, slot, &folder), killed_for: None });
                self.record(Event::AttemptStarted { trial: id.clone(), attempt, pid })?;
            }
            Err(error) => {
                let message = format!("the worker could not be started: {error}");
                let failure = Failure::Crashed { message, log_tail: Vec::new() };
                self.record(Event::AttemptFailed { trial: id.clone(), attempt, failure })?;
            }
        }
        Ok(())
    }

    fn assignment(&self, trial: &Trial, attempt: u32, slot: Slot, oom_policy: OomPolicy) -> Assignment {
        let RunOrder { config, results, parameters, .. } = self.order;
        Assignment {
            trial: trial.clone(),
            attempt,
            slot,
            device: device_seen_by_worker(slot.device),
            checkpoint_every: config.checkpoint_every,
            keep: config.keep_while_running(),
            micro_batch_splits: oom_policy.micro_batch_splits,
            ignores_stop_rules: self.state.get(&trial.id).is_some_and(|known| known.ignores_stop_rules),
            start: start_of(trial).map(|probe| self.dir.start(&probe.trial, probe.step)),
            cache: results.cache().folder().to_owned(),
            git_commit: self.git_commit.clone(),
            parameters: parameters.get(&trial.config.model.from).copied(),
        }
    }

    /// A worker has ended. What that means is for the trial's folder to say.
    fn settle(&mut self, exited: &Exited) -> Result<(), RunError> {
        let Exited { worker, how } = exited;
        let at = self.watched.iter().position(|watched| watched.worker == *worker);
        let killed_for = at.and_then(|at| {
            let mut watched = self.watched.swap_remove(at);
            self.judged.see(&worker.trial, watched.position.look());
            watched.killed_for
        });
        if self.finish(worker)? {
            return Ok(());
        }
        let Worker { trial, attempt } = worker.clone();
        let failure =
            killed_for.unwrap_or_else(|| failure(&self.dir.trial(&trial).attempt(attempt), *how, &self.memory));
        if let Failure::Disk { message } = failure {
            // The trial is not to blame: it is left to be continued when there is room again.
            self.record(Event::AttemptInterrupted { trial, attempt })?;
            return Err(RunError::Disk { message });
        }
        Ok(self.record(Event::AttemptFailed { trial, attempt, failure })?)
    }

    /// Journals the trial's outcome, if it has one.
    fn finish(&mut self, worker: &Worker) -> Result<bool, RunError> {
        let folder = self.dir.trial(&worker.trial);
        match folder.outcome() {
            Ok(Some(outcome)) => {
                let Worker { trial, attempt } = worker.clone();
                self.record(Event::TrialFinished { trial, attempt, outcome })?;
                self.kept.settle([worker.trial.clone()].into_iter(), self.order, &self.dir, &self.state)?;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error @ StoreError::Damaged { .. }) => {
                self.warn(format!("{error}: put aside"));
                folder.set_outcome_aside()?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Asks all workers to stop and waits for them; kills those that take too long, or all at a second Ctrl-C.
    async fn stop_all(&mut self, interrupts: &mut UnboundedReceiver<Call>) -> Result<(), RunError> {
        self.watched.iter().for_each(|watched| self.engine.stop(&watched.worker));
        let (deadline, mut killed) = (Instant::now() + STOP, false);
        let mut result = Ok(());
        while !self.watched.is_empty() {
            tokio::select! {
                exited = self.engine.next_exit() => {
                    self.watched.retain(|watched| watched.worker != exited.worker);
                    result = result.and(self.release(&exited.worker));
                    continue;
                }
                Some(Call::Stop) = interrupts.recv(), if !killed => {}
                () = sleep_until(deadline), if !killed => {}
                () = sleep_until(deadline + KILL), if killed => break,
            }
            killed = true;
            self.watched.iter().for_each(|watched| self.engine.kill(&watched.worker));
        }
        for watched in std::mem::take(&mut self.watched) {
            result = result.and(self.release(&watched.worker));
        }
        result
    }

    /// Journals how a worker that was told to stop has ended.
    fn release(&mut self, worker: &Worker) -> Result<(), RunError> {
        if !self.finish(worker)? {
            let Worker { trial, attempt } = worker.clone();
            self.record(Event::AttemptInterrupted { trial, attempt })?;
        }
        Ok(())
    }

    fn look(&mut self) {
        self.memory.look();
        if self.beaten.elapsed() >= BEAT {
            self.lock.beat();
            self.beaten = Instant::now();
        }
        for watched in &mut self.watched {
            let rows = watched.position.look();
            self.judged.see(&watched.worker.trial, rows);
            if watched.killed_for.is_none() {
                watched.killed_for = overdue(watched.position.pulse(), self.order.config);
                if watched.killed_for.is_some() {
                    self.engine.kill(&watched.worker);
                }
            }
        }
        let progress: Vec<_> = self.watched.iter().map(|watched| watched.position.progress.clone()).collect();
        self.reporter.progress(&progress);
    }

    /// Asks the rules that hold trials against one another, and has their word done.
    fn judge(&mut self) -> Result<(), RunError> {
        while let Some((trial, judgement)) = self.judged.next(&self.state, self.order) {
            let reason = judgement.stops.then(|| judgement.to_string());
            self.record(Event::TrialJudged { trial: trial.clone(), judgement })?;
            let worker = self.watched.iter().map(|watched| &watched.worker).find(|worker| worker.trial == trial);
            if let (Some(reason), Some(worker)) = (reason, worker) {
                self.dir.trial(&trial).attempt(worker.attempt).request_stop(&reason)?;
            }
        }
        Ok(())
    }

    /// Journals first; then it is true, and shown.
    fn record(&mut self, event: Event) -> Result<(), StoreError> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let record = Record { at, event };
        self.journal.append(&record)?;
        self.state.apply(&record.event);
        if let (Some(room), Event::TrialFinished { trial, .. }) = (&mut self.room, &record.event)
            && let Some(known) = self.state.get(trial)
        {
            room.see(trial, known);
        }
        self.table.touch();
        self.judged.touch();
        self.reporter.event(&record);
        Ok(())
    }

    /// Slots that nothing is started on any more, each with its last fault.
    fn out_of_use(&self) -> Vec<(Slot, Failure)> {
        let retired = self.order.slots.iter().filter(|slot| self.state.is_retired(slot.index));
        retired.filter_map(|slot| Some((*slot, self.state.faults(slot.index)?.1.clone()))).collect()
    }

    fn warn(&mut self, warning: String) {
        self.reporter.warning(&warning);
        self.warnings.push(warning);
    }

    fn summary(&self, end: End) -> RunSummary {
        let mut summary = RunSummary {
            sweep: self.order.plan.name.clone(),
            folder: self.dir.path().to_owned(),
            finished: 0,
            failed: Vec::new(),
            left: 0,
            interrupted: end == End::Interrupted,
            out_of_use: if end == End::Stranded { self.out_of_use() } else { Vec::new() },
            warnings: self.warnings.clone(),
        };
        for (id, known) in self.state.planned() {
            match &known.phase {
                TrialPhase::Ended(_) => summary.finished += 1,
                TrialPhase::Failed(failure) => {
                    let (trial, attempts, failure) = (id.clone(), known.attempts, failure.clone());
                    let log = self.dir.trial(id).attempt(attempts).log();
                    summary.failed.push(FailedTrial { trial, failure, attempts, log });
                }
                TrialPhase::Pending | TrialPhase::Running { .. } => summary.left += 1,
            }
        }
        summary
    }
}

/// Where a fork starts.
fn start_of(trial: &Trial) -> Option<&Probe> {
    trial.config.probe.as_ref().filter(|probe| probe.kind.is_fork())
}
