//! The state of a sweep: a fold over its journal. Pure.
//!
//! Guarantees: every list of events, in any order, has a state. Events about ended attempts change nothing. The first outcome
//! of a trial stays until the trial is requeued.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::event::{Event, Failure, JobName, Record, Slot, StopJudgement};
use crate::plan::Plan;
use crate::trial::{Outcome, Status, TrialId};

/// The state of every trial: those of the plan in plan order, then those that only the journal knows.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepState {
    trials: Vec<(TrialId, TrialState)>,
    index: HashMap<TrialId, usize>,
    planned: usize,
    /// Faults of each device ([`Slot::place`]) in this run, since a trial last ended there, and the last of them.
    faults: BTreeMap<usize, (u32, Failure)>,
    /// Places at which this run starts nothing any more.
    retired: BTreeSet<usize>,
    /// Nodes of a cluster that were at fault in this run since a trial last ended there, with the trials that they have failed.
    node_faults: BTreeMap<String, BTreeSet<TrialId>>,
    /// Indices of trials, so that a turn of a long sweep need not visit the ended ones: planned and open, planned and failed,
    /// running (planned or not).
    open: BTreeSet<usize>,
    failed: BTreeSet<usize>,
    running: BTreeSet<usize>,
    /// Index of the trial of the current event.
    touched: Option<usize>,
}

/// The state of one trial.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrialState {
    pub phase: TrialPhase,
    /// Number of the latest attempt; 0 before the first.
    pub attempts: u32,
    /// Failed attempts since the trial was last requeued; interruptions do not count.
    pub failures: u32,
    /// The failure of the latest of them.
    pub last_failure: Option<Failure>,
    /// Attempts since then that ran out of the memory of the machine, and of the device.
    pub out_of_memory: u32,
    pub out_of_device_memory: u32,
    /// Those that ran out of the memory of a device that other trials shared, or could have shared.
    pub out_of_shared_memory: u32,
    /// Places ([`Slot::place`]) with a device fault of this trial in this run, one entry per fault.
    pub faulted_on: Vec<usize>,
    /// Nodes of a cluster that were at fault when attempts failed in this run, one entry per fault.
    pub bad_nodes: Vec<String>,
    /// Jobs whose time was over before they saved a checkpoint.
    pub without_checkpoint: u32,
    /// The job of the latest attempt, if it was queued on a cluster.
    pub job: Option<JobName>,
    /// The node that the job runs on, once it has started.
    pub node: Option<String>,
    /// Its value at each rung of `stop.asha`. None where the value was not finite.
    pub rungs: Vec<Option<f32>>,
    /// The judgement that stops or stopped it.
    pub stop: Option<StopJudgement>,
    /// The same, and kept if the trial ended by itself before it saw the request: a search goes by it, because how soon a
    /// request is seen is chance.
    pub outdone: Option<StopJudgement>,
    /// The user continued it: only divergence stops it early.
    pub ignores_stop_rules: bool,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub enum TrialPhase {
    #[default]
    Pending,
    /// An attempt is claimed. The journal does not tell whether its worker is alive.
    Running {
        attempt: u32,
        slot: Slot,
    },
    /// Finished, diverged or stopped.
    Ended(Box<Outcome>),
    Failed(Failure),
}

impl SweepState {
    /// The state before the first event. `planned`: the ids of the plan, in order.
    pub fn new<'a>(planned: impl IntoIterator<Item = &'a TrialId>) -> Self {
        let mut state = Self {
            trials: Vec::new(),
            index: HashMap::new(),
            planned: 0,
            faults: BTreeMap::new(),
            retired: BTreeSet::new(),
            node_faults: BTreeMap::new(),
            open: BTreeSet::new(),
            failed: BTreeSet::new(),
            running: BTreeSet::new(),
            touched: None,
        };
        for id in planned {
            state.entry(id);
        }
        state.planned = state.trials.len();
        state.open = (0..state.planned).collect();
        state.touched = None;
        state
    }

    /// The state after all of `records`.
    pub fn fold<'a>(plan: &Plan, records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut state = Self::new(plan.trials.iter().map(|trial| &trial.id));
        for record in records {
            state.apply(&record.event);
        }
        state
    }

    /// Adds a trial to the end of the plan.
    pub fn extend(&mut self, id: &TrialId) {
        match self.index.get(id) {
            Some(&at) if at < self.planned => return,
            // An earlier plan had it: its state becomes that of a planned trial.
            Some(&at) => {
                let known = self.trials.remove(at);
                self.trials.insert(self.planned, known);
            }
            None => self.trials.insert(self.planned, (id.clone(), TrialState::default())),
        }
        self.planned += 1;
        self.index = self.trials.iter().enumerate().map(|(at, (id, _))| (id.clone(), at)).collect();
        for set in [&mut self.open, &mut self.failed, &mut self.running] {
            set.clear();
        }
        for at in 0..self.trials.len() {
            self.file(at);
        }
    }

    pub fn apply(&mut self, event: &Event) {
        self.apply_to_trial(event);
        if let Some(at) = self.touched.take() {
            self.file(at);
        }
    }

    /// Puts a trial into the sets that it belongs to.
    fn file(&mut self, at: usize) {
        let (_, TrialState { phase, .. }) = &self.trials[at];
        let is_planned = at < self.planned;
        let sets = [
            (&mut self.open, is_planned && !phase.is_over()),
            (&mut self.failed, is_planned && matches!(phase, TrialPhase::Failed(_))),
            (&mut self.running, matches!(phase, TrialPhase::Running { .. })),
        ];
        for (set, is_member) in sets {
            if is_member {
                set.insert(at)
            } else {
                set.remove(&at)
            };
        }
    }

    fn apply_to_trial(&mut self, event: &Event) {
        match event {
            Event::SweepOpened { .. } => self.forget_faults(),
            Event::SweepInterrupted
            | Event::SweepDetached { .. }
            | Event::SweepClosed { .. }
            | Event::OomPolicyApplied { .. }
            | Event::SearchOpened { .. }
            | Event::SearchEnded { .. }
            | Event::ConfigurationSuggested { .. } => {}
            Event::SlotRetired { slot, .. } => drop(self.retired.insert(slot.place())),
            Event::AttemptClaimed { trial, attempt, slot } => {
                let state = self.attempted(trial, *attempt);
                if matches!(state.phase, TrialPhase::Pending | TrialPhase::Running { .. }) {
                    state.phase = TrialPhase::Running { attempt: *attempt, slot: *slot };
                    (state.job, state.node) = (None, None);
                }
            }
            Event::AttemptQueued { trial, attempt, job } => {
                let state = self.attempted(trial, *attempt);
                if state.running_on(*attempt).is_some() {
                    (state.job, state.node) = (Some(job.clone()), None);
                }
            }
            Event::AttemptStarted { trial, attempt, handle } => {
                let state = self.attempted(trial, *attempt);
                if state.running_on(*attempt).is_some() {
                    state.node.clone_from(&handle.host);
                }
            }
            Event::AttemptFailed { trial, attempt, failure } => {
                let state = self.attempted(trial, *attempt);
                if let Some(slot) = state.running_on(*attempt) {
                    state.fail(failure, slot);
                    if let Failure::Node { node, .. } = failure {
                        self.node_faults.entry(node.clone()).or_default().insert(trial.clone());
                    }
                    if matches!(failure, Failure::DeviceFault { .. }) {
                        let before = self.faults.get(&slot.place()).map_or(0, |(count, _)| *count);
                        self.faults.insert(slot.place(), (before + 1, failure.clone()));
                    }
                }
            }
            Event::AttemptInterrupted { trial, attempt } => {
                let state = self.attempted(trial, *attempt);
                if state.running_on(*attempt).is_some() {
                    state.phase = TrialPhase::Pending;
                }
            }
            Event::TrialFinished { trial, attempt, outcome } => {
                let state = self.attempted(trial, *attempt);
                let slot = state.running_on(*attempt);
                if !matches!(state.phase, TrialPhase::Ended(_)) {
                    // It may have ended by itself before it saw the request to stop.
                    state.stop.take_if(|_| outcome.status != Status::Stopped);
                    state.phase = TrialPhase::Ended(outcome.clone());
                }
                let node = state.node.clone();
                if let Some(slot) = slot {
                    self.faults.remove(&slot.place());
                    // It can still end trials well.
                    if let Some(node) = node {
                        self.node_faults.remove(&node);
                    }
                }
            }
            Event::TrialFailed { trial, failure } => {
                let state = self.entry(trial);
                if !matches!(state.phase, TrialPhase::Ended(_)) {
                    state.phase = TrialPhase::Failed(failure.clone());
                }
            }
            Event::TrialJudged { trial, judgement } => self.entry(trial).judge(judgement),
            Event::TrialContinued { trial } => {
                let state = self.entry(trial);
                if state.phase.was_stopped() {
                    let (attempts, rungs) = (state.attempts, std::mem::take(&mut state.rungs));
                    *state = TrialState { attempts, rungs, ignores_stop_rules: true, ..TrialState::default() };
                }
            }
            Event::TrialRequeued { trial } => {
                let TrialState { attempts, ignores_stop_rules, .. } = *self.entry(trial);
                *self.entry(trial) = TrialState { attempts, ignores_stop_rules, ..TrialState::default() };
            }
        }
    }

    /// None if neither the plan nor the journal knows the trial.
    #[must_use]
    pub fn get(&self, id: &TrialId) -> Option<&TrialState> {
        self.index.get(id).map(|&at| &self.trials[at].1)
    }

    /// The trials of the plan, in plan order.
    pub fn planned(&self) -> impl Iterator<Item = (&TrialId, &TrialState)> {
        self.trials[..self.planned].iter().map(|(id, state)| (id, state))
    }

    /// The trials of the plan that have neither an outcome nor failed.
    pub fn open(&self) -> impl Iterator<Item = (&TrialId, &TrialState)> {
        self.at(&self.open)
    }

    /// How many trials of the plan have an outcome, and how many have failed for good.
    #[must_use]
    pub fn over(&self) -> (usize, usize) {
        (self.planned - self.open.len() - self.failed.len(), self.failed.len())
    }

    /// The trials with a claimed attempt, planned or not.
    pub fn running(&self) -> impl Iterator<Item = (&TrialId, &TrialState)> {
        self.at(&self.running)
    }

    fn at<'a>(&'a self, indices: &'a BTreeSet<usize>) -> impl Iterator<Item = (&'a TrialId, &'a TrialState)> {
        indices.iter().map(|&at| (&self.trials[at].0, &self.trials[at].1))
    }

    /// Trials of earlier plans, in journal order.
    pub fn removed(&self) -> impl Iterator<Item = (&TrialId, &TrialState)> {
        self.trials[self.planned..].iter().map(|(id, state)| (id, state))
    }

    /// The trials of the plan and of earlier plans.
    pub fn known(&self) -> impl Iterator<Item = (&TrialId, &TrialState)> {
        self.trials.iter().map(|(id, state)| (id, state))
    }

    /// Slots with a claimed attempt.
    pub fn taken(&self) -> impl Iterator<Item = usize> {
        self.running().filter_map(|(_, state)| match state.phase {
            TrialPhase::Running { slot, .. } => Some(slot.index),
            _ => None,
        })
    }

    /// The number of faults at a place in this run, since a trial last ended there, and the last of them.
    #[must_use]
    pub fn faults(&self, place: usize) -> Option<(u32, &Failure)> {
        self.faults.get(&place).map(|(count, failure)| (*count, failure))
    }

    /// The nodes that were at fault for at least so many trials in this run.
    pub fn bad_nodes(&self, trials: usize) -> impl Iterator<Item = &str> {
        self.node_faults.iter().filter(move |(_, failed)| failed.len() >= trials).map(|(node, _)| node.as_str())
    }

    /// Whether the device at a place was retired in this run.
    #[must_use]
    pub fn is_retired(&self, place: usize) -> bool {
        self.retired.contains(&place)
    }

    /// Between two runs the devices may have been repaired, and the slots may have changed: old faults do not count.
    fn forget_faults(&mut self) {
        self.faults.clear();
        self.retired.clear();
        self.node_faults.clear();
        for (_, trial) in &mut self.trials {
            trial.faulted_on.clear();
            trial.bad_nodes.clear();
            let is_fault = matches!(trial.last_failure, Some(Failure::DeviceFault { .. } | Failure::Node { .. }));
            if trial.phase == TrialPhase::Pending && is_fault {
                trial.failures = 0;
                trial.last_failure = None;
            }
        }
    }

    fn entry(&mut self, id: &TrialId) -> &mut TrialState {
        let at = *self.index.entry(id.clone()).or_insert_with(|| {
            self.trials.push((id.clone(), TrialState::default()));
            self.trials.len() - 1
        });
        self.touched = Some(at);
        &mut self.trials[at].1
    }

    fn attempted(&mut self, id: &TrialId, attempt: u32) -> &mut TrialState {
        let state = self.entry(id);
        state.attempts = state.attempts.max(attempt);
        state
    }
}

impl TrialState {
    fn judge(&mut self, judgement: &StopJudgement) {
        if self.ignores_stop_rules || matches!(self.phase, TrialPhase::Failed(_)) {
            return;
        }
        if judgement.rung.is_some_and(|rung| rung as usize == self.rungs.len()) {
            self.rungs.push(judgement.value);
        }
        if judgement.stops && self.outdone.is_none() {
            self.outdone = Some(judgement.clone());
        }
        if judgement.stops && self.stop.is_none() && !self.phase.is_over() {
            self.stop = Some(judgement.clone());
        }
    }

    fn fail(&mut self, failure: &Failure, slot: Slot) {
        self.phase = TrialPhase::Pending;
        self.failures += 1;
        self.last_failure = Some(failure.clone());
        match failure {
            Failure::OutOfMemory { .. } => self.out_of_memory += 1,
            Failure::DeviceMemory { .. } if slot.shared_with.is_some() => self.out_of_shared_memory += 1,
            Failure::DeviceMemory { .. } => self.out_of_device_memory += 1,
            Failure::DeviceFault { .. } => self.faulted_on.push(slot.place()),
            Failure::Node { node, .. } => self.bad_nodes.push(node.clone()),
            Failure::NoCheckpoint { .. } => self.without_checkpoint += 1,
            _ => {}
        }
    }

    /// The slot of attempt `number`, if it runs.
    fn running_on(&self, number: u32) -> Option<Slot> {
        match self.phase {
            TrialPhase::Running { attempt, slot } if attempt == number => Some(slot),
            _ => None,
        }
    }
}

impl TrialPhase {
    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Ended(_) | Self::Failed(_))
    }

    /// Whether a rule stopped the trial before its last step: it can continue.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        matches!(self, Self::Ended(outcome) if outcome.status == Status::Stopped)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Handle;
    use crate::trial::{Device, Scores, Status};

    pub(crate) fn id(number: u64) -> TrialId {
        TrialId::parse(&format!("{number:012x}")).unwrap()
    }

    pub(crate) fn slot(index: usize) -> Slot {
        Slot::alone(index, Device::Cpu, 1)
    }

    pub(crate) fn outcome(steps: u64) -> Outcome {
        Outcome {
            status: Status::Finished,
            reason: None,
            steps,
            final_train_loss: Some(0.25),
            final_eval_loss: Some(0.5),
            best_eval_loss: Some(0.375),
            best_eval_step: Some(steps / 2),
            final_accuracy: Some(0.75),
            best_accuracy: Some(0.8),
            best_macro_f1: None,
            best: None,
            last: None,
            best_scores: Scores::default(),
            final_scores: Scores::default(),
            seconds: 1.5,
            tokens_per_second: 1000.0,
            peak_memory: None,
            device_memory: None,
            labels: vec!["no".into(), "yes".into()],
            class_prior: vec![0.5, 0.5],
            eval_prior: vec![0.5, 0.5],
            train_chance: None,
            eval_chance: None,
            leaked_rows: 0,
            verdicts: Vec::new(),
        }
    }

    fn event() -> impl Strategy<Value = Event> {
        let failure = prop_oneof![
            Just(Failure::Lost),
            Just(Failure::BadInput { message: "no".into() }),
            Just(Failure::DeviceFault { message: "no".into() }),
        ];
        (0_usize..10, 0_u64..3, 1_u32..4, failure).prop_map(|(kind, trial, attempt, failure)| {
            let trial = id(trial);
            match kind {
                0 => Event::AttemptClaimed { trial, attempt, slot: slot(attempt as usize) },
                1 => Event::AttemptStarted { trial, attempt, handle: Handle::local(7) },
                2 => Event::AttemptFailed { trial, attempt, failure },
                3 => Event::AttemptInterrupted { trial, attempt },
                4 => Event::TrialFinished { trial, attempt, outcome: Box::new(outcome(u64::from(attempt))) },
                5 => Event::TrialFailed { trial, failure },
                6 => Event::TrialRequeued { trial },
                7 => Event::SweepInterrupted,
                8 => Event::SlotRetired { slot: slot(attempt as usize), failure },
                _ => Event::SweepClosed { finished: 0, failed: 0 },
            }
        })
    }

    fn after(events: &[Event]) -> SweepState {
        let mut state = SweepState::new(&[id(0), id(1)]);
        for event in events {
            state.apply(event);
        }
        state
    }

    proptest! {
        #[test]
        fn any_history_has_a_state(events in proptest::collection::vec(event(), 0..60)) {
            let state = after(&events);
            prop_assert_eq!(state.planned().map(|(id, _)| id.clone()).collect::<Vec<_>>(), [id(0), id(1)]);
            for (trial, known) in &state.trials {
                let claims = events.iter().filter(|event| matches!(event, Event::AttemptClaimed { trial: of, .. } if of == trial));
                prop_assert!(known.failures as usize <= claims.count());
                prop_assert_eq!(known.failures > 0, known.last_failure.is_some());
            }
        }

        /// The places that are kept are those that a look at every trial finds.
        #[test]
        fn nothing_is_lost_of_what_is_open(events in proptest::collection::vec(event(), 0..60)) {
            let state = after(&events);
            let open = state.planned().filter(|(_, known)| !known.phase.is_over());
            let running = state.known().filter(|(_, known)| matches!(known.phase, TrialPhase::Running { .. }));
            prop_assert!(state.open().eq(open) && state.running().eq(running));
            let count = |fits: fn(&TrialPhase) -> bool| state.planned().filter(|(_, known)| fits(&known.phase)).count();
            let expected = (count(|it| matches!(it, TrialPhase::Ended(_))), count(|it| matches!(it, TrialPhase::Failed(_))));
            prop_assert_eq!(state.over(), expected);
        }

        #[test]
        fn the_first_outcome_stays(before in proptest::collection::vec(event(), 0..20), later in proptest::collection::vec(event(), 0..20)) {
            let mut state = after(&before);
            state.apply(&Event::TrialFinished { trial: id(0), attempt: 1, outcome: Box::new(outcome(100)) });
            let TrialPhase::Ended(first) = state.get(&id(0)).unwrap().phase.clone() else { panic!("has an outcome") };
            let requeued = Event::TrialRequeued { trial: id(0) };
            later.iter().filter(|event| **event != requeued).for_each(|event| state.apply(event));
            prop_assert_eq!(&state.get(&id(0)).unwrap().phase, &TrialPhase::Ended(first));
        }
    }

    #[test]
    fn faults_of_a_slot_count_until_a_trial_ends_there_or_another_run_begins() {
        let fault = || Failure::DeviceFault { message: "fell off the bus".into() };
        let claimed = |trial, attempt| Event::AttemptClaimed { trial: id(trial), attempt, slot: slot(3) };
        let failed = |attempt| Event::AttemptFailed { trial: id(0), attempt, failure: fault() };
        let opened = || Event::SweepOpened {
            sweep: "s".into(),
            version: "0".into(),
            host: "h".into(),
            pid: 1,
            trials: Vec::new(),
        };
        let twice = [claimed(0, 1), failed(1), failed(1), claimed(0, 2), failed(2)];
        let mut state = after(&twice);
        assert_eq!(state.faults(3), Some((2, &fault())), "a fault that is reported twice counts once");
        assert_eq!(state.get(&id(0)).unwrap().faulted_on, [3, 3]);
        state.apply(&Event::SlotRetired { slot: slot(3), failure: fault() });
        assert!(state.is_retired(3) && !state.is_retired(0));
        state.apply(&opened());
        assert!(state.faults(3).is_none() && !state.is_retired(3));
        let trial = state.get(&id(0)).unwrap();
        assert_eq!((trial.failures, trial.attempts), (0, 2), "it is not to suffer for a device");
        assert!(trial.faulted_on.is_empty());
        let mut state = after(&twice);
        state.apply(&claimed(1, 1));
        state.apply(&Event::TrialFinished { trial: id(1), attempt: 1, outcome: Box::new(outcome(1)) });
        assert_eq!(state.faults(3), None);
    }

    #[test]
    fn a_life_of_failures() {
        let claimed = |attempt| Event::AttemptClaimed { trial: id(0), attempt, slot: slot(0) };
        let failed = |attempt| Event::AttemptFailed { trial: id(0), attempt, failure: Failure::Lost };
        let mut state = after(&[claimed(1), failed(1), claimed(2)]);
        assert_eq!(state.taken().collect::<Vec<_>>(), [0]);
        state.apply(&failed(1));
        assert_eq!(state.get(&id(0)).unwrap().failures, 1, "a late event about attempt 1 does not count for attempt 2");
        state.apply(&Event::AttemptInterrupted { trial: id(0), attempt: 2 });
        let trial = state.get(&id(0)).unwrap();
        assert_eq!((&trial.phase, trial.attempts, trial.failures), (&TrialPhase::Pending, 2, 1));
        state.apply(&Event::TrialFailed { trial: id(0), failure: Failure::Lost });
        assert!(state.get(&id(0)).unwrap().phase.is_over());
        state.apply(&Event::TrialRequeued { trial: id(0) });
        assert_eq!(state.get(&id(0)).unwrap(), &TrialState { attempts: 2, ..TrialState::default() });
    }
}
