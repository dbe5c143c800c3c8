//! The loop of a run: the only place that starts, stops and settles workers.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::device_load::DeviceLoad;
use super::early_stopping::EarlyStopping;
use super::failure_cause::MemoryMonitor;
use super::follow::RunningTrial;
use super::machine::git_commit;
use super::new_jobs::NewJobs;
use super::order::{RunError, RunOrder};
use super::probes::KeptStates;
use super::queue_looks::QueueLooks;
use super::reconcile::{damage_warnings, reconcile};
use super::signals::{self, Call};
use super::summary::{FailedTrial, RunSummary};
use super::trials_table::TrialsTable;
use crate::decide::{Action, DeviceSharing, MemoryBudget, Policy, decide};
use crate::event::{Event, Failure, JobName, OomPolicy, Record, Reporter, Slot};
use crate::exec::{Engine, ExitStatus, Sighting, WorkerId};
use crate::plan::{Plan, SearchStep, Suggestion};
use crate::spec::Probing;
use crate::state::{SweepState, TrialPhase, TrialState};
use crate::store::{Journal, Lock, RunDir, StoreError, host, read_journal};
use crate::trial::{Device, Keep, TrialId};

/// Time between two looks at the files of running trials.
const LOOK: Duration = Duration::from_millis(250);
/// With a queue, time between two decisions.
const DECIDE: Duration = Duration::from_secs(1);
/// Time for a second Ctrl-C, before the jobs are left to the cluster.
const SECOND_CALL: Duration = Duration::from_secs(1);
/// Time to draw the report of a run that leaves its jobs to the cluster.
pub(super) const LEAVE: Duration = Duration::from_secs(20);

/// How a run ends if no error ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunEnd {
    Closed,
    Interrupted,
    /// Jobs are left in the queue of a cluster.
    Detached,
    /// Trials are left, but every slot is retired.
    NoSlotLeft,
}

/// The process that runs a sweep.
pub(super) struct Parent<'a, E> {
    pub(super) order: &'a RunOrder<'a>,
    /// The plan, with what the search has drawn.
    pub(super) plan: Cow<'a, Plan>,
    /// The place of each trial in the plan.
    pub(super) trials: HashMap<TrialId, usize>,
    pub(super) dir: RunDir,
    pub(super) journal: Journal,
    pub(super) state: SweepState,
    pub(super) engine: &'a mut E,
    pub(super) reporter: &'a mut dyn Reporter,
    /// Workers that have not been settled.
    pub(super) running: Vec<RunningTrial>,
    pub(super) early_stopping: EarlyStopping,
    pub(super) memory: MemoryMonitor,
    /// The memory that trials are expected to take, corrected by what they have taken.
    pub(super) budget: Option<MemoryBudget<'a>>,
    /// The same for each accelerator.
    pub(super) device_budgets: Vec<(Device, MemoryBudget<'a>)>,
    /// The throughput of shared devices. None: the user has set how many trials share one, or none is shared.
    pub(super) device_load: Option<DeviceLoad>,
    /// What is to be submitted at the end of this turn.
    pub(super) new_jobs: NewJobs,
    /// Queued workers that the cluster has not taken yet.
    pub(super) unsubmitted: HashSet<WorkerId>,
    /// Whether the cluster has taken no more jobs for now.
    is_put_off: bool,
    /// Which trials of a queue are looked at.
    pub(super) looks: QueueLooks,
    /// Jobs whose node was found at fault. All trials of a job show the same fault.
    pub(super) blamed: HashSet<JobName>,
    /// When the trials were last decided upon.
    pub(super) decided: Option<Instant>,
    /// The last line about the queue, and when it was shown.
    pub(super) shown_queue: Option<(String, std::time::Instant)>,
    /// When this process leaves the jobs to the cluster.
    pub(super) leaves_at: Option<Instant>,
    /// Training states that are kept for probes.
    pub(super) kept: KeptStates,
    pub(super) table: TrialsTable,
    pub(super) git_commit: Option<String>,
    pub(super) warnings: Vec<String>,
    /// When the folder was last known to be ours, by the clock: it also runs while the machine sleeps.
    pub(super) last_heartbeat: SystemTime,
    /// How often a complete sweep had lost files.
    pub(super) recoveries: u32,
    /// Why the search ended before all of its trials were drawn.
    pub(super) search_end: Option<&'static str>,
    pub(super) opened: Instant,
    /// The last field, so that the folder is unlocked after everything else is dropped.
    pub(super) lock: Lock,
}

impl<'a, E: Engine> Parent<'a, E> {
    /// Locks the folder of the sweep, reads the journal, and adds the events that only the folders of the trials show.
    /// `is_archived`: set once the results before a run with `fresh` are out of the way.
    pub(super) fn open(
        order: &'a RunOrder<'a>,
        engine: &'a mut E,
        reporter: &'a mut dyn Reporter,
        is_archived: &mut bool,
    ) -> Result<Self, RunError> {
        let dir = order.results.sweep(&order.plan.name)?;
        let mut lock = dir.lock()?;
        let locked_at = SystemTime::now();
        // A request from before this run is not for it.
        let _ = dir.take_end_request();
        if order.fresh {
            check_no_jobs(&dir)?;
        }
        // Folders of trials are archived even without a journal. Otherwise this run would count their outcomes as its own.
        if order.fresh && (dir.journal().exists() || dir.trials().exists()) {
            (lock, _) = dir.archive(lock)?;
        }
        *is_archived = true;
        write_documents(order, &dir)?;
        let (journal, content) = Journal::open(&dir.journal())?;
        let plan = current_plan(order);
        let state = SweepState::fold(&plan, &content.records);
        let findings = reconcile(order, &dir, &state)?;
        let mut parent = Self {
            order,
            trials: plan.trials.iter().enumerate().map(|(at, trial)| (trial.id.clone(), at)).collect(),
            budget: order.memory.map(|memory| memory.after(&state)),
            device_budgets: order
                .device_memory
                .iter()
                .map(|(device, memory)| (*device, memory.after(&state)))
                .collect(),
            device_load: (order.config.jobs_per_device.is_none()
                && order.slots.iter().any(|slot| slot.shared_with.is_some()))
            .then(DeviceLoad::new),
            journal,
            state,
            engine,
            reporter,
            running: Vec::new(),
            early_stopping: EarlyStopping::new(order, &plan, &dir)?,
            new_jobs: NewJobs::default(),
            unsubmitted: HashSet::new(),
            is_put_off: false,
            looks: QueueLooks::default(),
            blamed: HashSet::new(),
            decided: None,
            shown_queue: None,
            leaves_at: None,
            plan,
            memory: MemoryMonitor::new(),
            kept: KeptStates::default(),
            table: TrialsTable::default(),
            git_commit: git_commit(Path::new(".")),
            warnings: Vec::new(),
            last_heartbeat: locked_at,
            recoveries: 0,
            search_end: None,
            opened: Instant::now(),
            lock,
            dir,
        };
        let warnings = damage_warnings(&parent.dir, &content.damaged);
        warnings.into_iter().chain(findings.warnings).for_each(|warning| parent.warn(warning));
        parent.record(Event::SweepOpened {
            sweep: order.plan.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: host(),
            pid: std::process::id(),
            trials: parent.plan.trials.iter().map(|trial| trial.id.clone()).collect(),
        })?;
        for event in findings.events {
            parent.record(event)?;
        }
        parent.record_search(&content.records)?;
        for trial in &findings.continued {
            parent.dir.trial(trial).set_stopped_outcome_aside()?;
        }
        if order.config.probe == Probing::Plateaus || matches!(order.config.keep, Keep::Top(_)) {
            let ended = parent.state.planned().filter(|(_, known)| matches!(known.phase, TrialPhase::Ended(_)));
            let ended: Vec<TrialId> = ended.map(|(id, _)| id.clone()).collect();
            parent.kept.update(ended.into_iter(), order, &parent.dir, &parent.state)?;
        }
        parent.adopt_jobs()?;
        Ok(parent)
    }

    /// Journals what a search knows of other sweeps and what it has drawn, unless that stands there.
    fn record_search(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let Some(search) = self.order.search else { return Ok(()) };
        let last = records.iter().rfind(|record| matches!(record.event, Event::SearchOpened { .. }));
        let opened = search.opened();
        if last.is_none_or(|last| last.event != opened) {
            self.record(opened)?;
        }
        let recorded: HashSet<&TrialId> =
            Event::suggested(records).flat_map(|(_, _, trials)| trials).map(|trial| &trial.id).collect();
        for Suggestion { number, by, point, trials } in search.suggestions() {
            if trials.iter().any(|trial| !recorded.contains(&trial.id)) {
                self.record(Event::ConfigurationSuggested { number, by, point, trials })?;
            }
        }
        Ok(())
    }

    /// Takes turns until nothing is left to do. Leaves no worker behind, also after an error.
    pub(super) async fn run(&mut self, calls: &mut UnboundedReceiver<Call>) -> Result<RunSummary, RunError> {
        let ended = self.turns(calls).await;
        // Jobs in a queue continue also after an error.
        let stopped = if self.order.queue.is_some() { Ok(()) } else { self.stop_all(calls).await };
        let end = ended?;
        stopped?;
        match end {
            RunEnd::Interrupted => self.record(Event::SweepInterrupted)?,
            RunEnd::Detached => self.record(Event::SweepDetached { attempts: self.running.len() })?,
            RunEnd::Closed | RunEnd::NoSlotLeft => {}
        }
        self.table.write(&self.dir, &self.plan, &self.state)?;
        self.journal.sync()?;
        Ok(self.summary(end))
    }

    async fn turns(&mut self, calls: &mut UnboundedReceiver<Call>) -> Result<RunEnd, RunError> {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let order = self.order;
        // An earlier run may have ended between the end of a trial and its judgement, for which the search waits.
        self.stop_outdone()?;
        loop {
            let is_over = self.is_out_of_time();
            // What ends within a second is queued again together.
            let is_due = self.decided.is_none_or(|decided| order.queue.is_none() || decided.elapsed() >= DECIDE);
            if is_due && let Some(end) = self.decide(is_over)? {
                return Ok(end);
            }
            let leaves = order.queue.is_some_and(|queue| queue.leaves) && self.unsubmitted.is_empty();
            if leaves || self.leaves_at.is_some_and(|at| at <= Instant::now()) {
                signals::allow(LEAVE, 0);
                return Ok(RunEnd::Detached);
            }
            if is_over && self.running.is_empty() {
                let (finished, failed) = self.state.over();
                self.record(Event::SweepClosed { finished, failed })?;
                return Ok(RunEnd::Closed);
            }
            tokio::select! {
                biased;
                Some(call) = calls.recv() => if let Some(end) = self.hear(call).await? {
                    return Ok(end);
                },
                sighting = self.engine.poll() => if let Some(end) = self.see(sighting)? {
                    return Ok(end);
                },
                _ = looks.tick() => if self.look()? {
                    return self.end().await;
                },
            }
            self.stop_outdone()?;
            self.table.refresh(&self.dir, &self.plan, &self.state)?;
        }
    }

    /// Does what is to be done next. Returns how the run ends, if it ends.
    fn decide(&mut self, is_over: bool) -> Result<Option<RunEnd>, RunError> {
        let order = self.order;
        self.decided = Some(Instant::now());
        if !is_over {
            self.draw()?;
        }
        let queue = order.queue.map(|queue| self.rules_of_turn(queue));
        let (slots, retries) = (order.slots, order.config.retries);
        let occupancy = self.device_load.as_ref().map(DeviceLoad::occupancy);
        let sharing = DeviceSharing { memory: &self.device_budgets, occupancy };
        let policy = Policy { slots, retries, wanted: order.only, memory: self.budget, sharing, queue };
        for action in decide(&self.state, &policy) {
            // What has begun is trained to its end.
            if is_over && matches!(action, Action::Launch { attempt: 1, .. }) {
                continue;
            }
            if let Some(end) = self.act(action)? {
                return Ok(Some(end));
            }
        }
        self.submit_new_jobs()?;
        Ok(None)
    }

    /// Does what a signal asks for. Returns how the run ends, if it ends.
    async fn hear(&mut self, call: Call) -> Result<Option<RunEnd>, RunError> {
        match (call, self.order.queue, self.leaves_at) {
            (Call::Hangup, None, _) => {
                self.reporter.hangup();
                Ok(None)
            }
            (Call::Stop | Call::Terminate, None, _) => Ok(Some(RunEnd::Interrupted)),
            (Call::Hangup | Call::Terminate, Some(_), _) => {
                signals::allow(LEAVE, 0);
                Ok(Some(RunEnd::Detached))
            }
            (Call::Stop, Some(_), None) => {
                self.reporter.warning("Leaving the jobs in Slurm. Ctrl-C again cancels them.");
                self.leaves_at = Some(Instant::now() + SECOND_CALL);
                Ok(None)
            }
            (Call::Stop, Some(_), Some(_)) => self.end().await.map(Some),
        }
    }

    /// Notes what the engine has seen. Returns how the run ends, if it ends.
    fn see(&mut self, sighting: Sighting) -> Result<Option<RunEnd>, RunError> {
        match sighting {
            Sighting::Exit(exited) if exited.status == ExitStatus::JobEnded => {
                self.running.retain(|running| running.worker != exited.worker);
                self.release(&exited.worker)?;
                self.warn("the Slurm job has ended: submit the same command again to continue".to_owned());
                return Ok(Some(RunEnd::Interrupted));
            }
            Sighting::Exit(exited) => self.settle(&exited)?,
            Sighting::Submitted { workers } => {
                for worker in &workers {
                    self.unsubmitted.remove(worker);
                }
            }
            Sighting::Refused { workers, message } => {
                for worker in workers {
                    self.unsubmitted.remove(&worker);
                    self.running.retain(|running| running.worker != worker);
                    let WorkerId { trial, attempt } = worker;
                    self.record(Event::AttemptInterrupted { trial, attempt })?;
                }
                return Err(RunError::Refused { message: format!("Slurm refuses the job: {message}") });
            }
            Sighting::Job { worker, state } => {
                self.unsubmitted.remove(&worker);
                if let Some(at) = self.running.iter().position(|running| running.worker == worker) {
                    if let Some(job) = &mut self.running[at].job {
                        job.see(state);
                    }
                    self.look_at_job(at)?;
                }
            }
            Sighting::PutOff { message } => self.put_off(&message)?,
            Sighting::Away { message } => {
                // Whether the jobs were taken is found out when Slurm answers again.
                self.unsubmitted.clear();
                self.reporter.warning(&format!("Slurm does not answer: {message}. Jobs continue; this run waits"));
            }
            Sighting::Back => self.reporter.warning("Slurm answers again"),
            Sighting::Cancelled => {}
        }
        Ok(None)
    }

    /// The cluster takes no more jobs for now. The rest waits, or is left to the next run if this one is about to leave.
    fn put_off(&mut self, message: &str) -> Result<(), RunError> {
        if !std::mem::replace(&mut self.is_put_off, true) {
            self.reporter.warning(&format!("Slurm takes no more jobs for now ({message}). The others wait"));
        }
        if self.order.queue.is_some_and(|queue| queue.leaves) {
            let left: Vec<WorkerId> = self.unsubmitted.drain().collect();
            self.running.retain(|running| !left.contains(&running.worker));
            for WorkerId { trial, attempt } in left {
                self.record(Event::AttemptInterrupted { trial, attempt })?;
            }
        }
        Ok(())
    }

    /// Whether the time of the search has passed. If that keeps a trial from starting, it is why the search ends.
    fn is_out_of_time(&mut self) -> bool {
        let Some(search) = self.order.search else { return false };
        let is_over = search.time().is_some_and(|time| self.opened.elapsed() >= time);
        let is_new = |known: &TrialState| known.phase == TrialPhase::Pending && known.attempts == 0;
        if is_over && self.search_end.is_none() {
            let is_something_left = !search.is_complete() || self.state.open().any(|(_, known)| is_new(known));
            self.search_end = is_something_left.then_some("`search.time` has passed");
        }
        is_over
    }

    /// Adds configurations of the search to the plan, until there is one for each slot, or until the next one has to wait.
    fn draw(&mut self) -> Result<(), RunError> {
        let Some(search) = self.order.search.filter(|_| self.order.only.is_none()) else { return Ok(()) };
        let is_pending = |(_, known): &(&TrialId, &TrialState)| known.phase == TrialPhase::Pending;
        let unjudged = self.early_stopping.unjudged(&self.state, self.order);
        while self.state.open().filter(is_pending).count() < self.order.slots.len() {
            let Suggestion { number, by, point, trials } = match search.next(&self.state, &unjudged) {
                SearchStep::Suggest(suggestion) => suggestion,
                SearchStep::Wait | SearchStep::Complete => break,
                SearchStep::Ended(why) => {
                    if self.search_end.is_none() {
                        self.record(Event::SearchEnded { why: why.to_owned() })?;
                        self.search_end = Some(why);
                        if let Some(search) = &mut self.plan.to_mut().search {
                            search.ended = Some(why.to_owned());
                        }
                    }
                    break;
                }
            };
            let suggested = Event::ConfigurationSuggested { number, by, point: point.clone(), trials: trials.clone() };
            self.record(suggested)?;
            for (index, trial) in trials.iter().enumerate() {
                self.trials.insert(trial.id.clone(), self.plan.trials.len() + index);
                self.state.extend(&trial.id);
            }
            self.plan.to_mut().draw(number, by, &point, &trials);
        }
        Ok(())
    }

    /// Does what was decided. Returns how the run ends, if it ends.
    fn act(&mut self, action: Action) -> Result<Option<RunEnd>, RunError> {
        match action {
            Action::Launch { trial, attempt, slot } => self.launch(&trial, attempt, slot, OomPolicy::default())?,
            Action::Retry { trial, attempt, slot, oom_policy } => self.launch(&trial, attempt, slot, oom_policy)?,
            Action::Retire { slot, failure } => self.record(Event::SlotRetired { slot, failure })?,
            Action::GiveUp { trial, failure } => self.record(Event::TrialFailed { trial, failure })?,
            Action::Finish { finished, failed } => {
                if self.recover_lost_files()? {
                    return Ok(None);
                }
                self.record(Event::SweepClosed { finished, failed })?;
                return Ok(Some(RunEnd::Closed));
            }
            Action::NoSlotLeft => return Ok(Some(RunEnd::NoSlotLeft)),
        }
        Ok(None)
    }

    /// Journals an event, then applies it to the state and shows it.
    pub(super) fn record(&mut self, event: Event) -> Result<(), StoreError> {
        self.check_owner()?;
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let record = Record { at, event };
        self.journal.append(&record)?;
        self.state.apply(&record.event);
        if let Event::TrialFinished { trial, .. } = &record.event
            && let Some(known) = self.state.get(trial)
        {
            let of_devices = self.device_budgets.iter_mut().map(|(_, budget)| budget);
            self.budget.iter_mut().chain(of_devices).for_each(|budget| budget.see(trial, known));
        }
        self.table.mark_stale();
        self.early_stopping.mark_stale();
        self.reporter.event(&record);
        Ok(())
    }

    /// The first slot of each device on which nothing is started any more, with the last fault of the device.
    fn retired_slots(&self) -> Vec<(Slot, Failure)> {
        let mut seen = HashSet::new();
        let first = self.order.slots.iter().filter(|slot| seen.insert(slot.place()));
        let retired = first.filter(|slot| self.state.is_retired(slot.place()));
        retired.filter_map(|slot| Some((*slot, self.state.faults(slot.place())?.1.clone()))).collect()
    }

    pub(super) fn warn(&mut self, warning: String) {
        self.reporter.warning(&warning);
        self.warnings.push(warning);
    }

    fn summary(&self, end: RunEnd) -> RunSummary {
        let mut summary = RunSummary {
            sweep: self.plan.name.clone(),
            folder: self.dir.path().to_owned(),
            finished: 0,
            failed: Vec::new(),
            left: 0,
            undrawn: self.plan.undrawn(),
            interrupted: end == RunEnd::Interrupted,
            left_in_queue: (end == RunEnd::Detached).then_some(self.running.len()),
            search_end: self.search_end,
            retired_slots: if end == RunEnd::NoSlotLeft { self.retired_slots() } else { Vec::new() },
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

/// Writes the documents that describe the sweep.
pub(super) fn write_documents(order: &RunOrder<'_>, dir: &RunDir) -> Result<(), StoreError> {
    dir.write(&dir.sweep_yaml(), order.sweep_yaml.as_bytes())?;
    dir.write(&dir.origin(), order.origin)
}

/// The plan with what the search has drawn so far. A fresh run draws anew.
fn current_plan<'a>(order: &RunOrder<'a>) -> Cow<'a, Plan> {
    let Some(search) = order.search else { return Cow::Borrowed(order.plan) };
    if order.fresh {
        search.forget();
    }
    search.plan().map_or(Cow::Borrowed(order.plan), Cow::Owned)
}

/// Fails if jobs of this sweep are in the queue of a cluster: their folders must not be moved away.
fn check_no_jobs(dir: &RunDir) -> Result<(), RunError> {
    let records = read_journal(&dir.journal())?.records;
    let mut state = SweepState::new([]);
    for record in &records {
        state.apply(&record.event);
    }
    let jobs = state.running().filter(|(_, known)| known.job.is_some()).count();
    if jobs == 0 {
        return Ok(());
    }
    let name = dir.path().file_name().unwrap_or_default().to_string_lossy();
    Err(RunError::Refused {
        message: format!(
            "{jobs} trials of {name} are in the queue of a cluster. `plateau stop {name}` ends them; then use --fresh"
        ),
    })
}
