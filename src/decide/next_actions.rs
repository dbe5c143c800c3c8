//! The next actions of a run, from its state, its slots and its rules.

use std::collections::HashSet;

use super::failures::{self, QueueRules, oom_policy};
use super::memory::MemoryBudget;
use super::occupancy::Occupancy;
use crate::event::{Failure, OomPolicy, Slot};
use crate::state::{SweepState, TrialPhase, TrialState};
use crate::trial::{Device, TrialId};

/// A trial is given up after so many jobs that saved no checkpoint in their time.
const MAX_WITHOUT_CHECKPOINT: u32 = 2;

/// What the caller must do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start attempt `attempt` (or the next free number) of a trial that has not failed.
    Launch { trial: TrialId, attempt: u32, slot: Slot },
    /// The same after a failure, for a trial that may succeed now.
    Retry { trial: TrialId, attempt: u32, slot: Slot, oom_policy: OomPolicy },
    /// Start nothing on the device of this slot any more: it has failed too often.
    Retire { slot: Slot, failure: Failure },
    /// Record that the trial has failed for good.
    GiveUp { trial: TrialId, failure: Failure },
    /// End the run: nothing is left to do, and nothing runs.
    Finish { finished: usize, failed: usize },
    /// End the run: trials are left and nothing runs, but every slot is retired.
    NoSlotLeft,
}

/// The rules of this run.
#[derive(Debug, Clone)]
pub struct Policy<'a> {
    pub slots: &'a [Slot],
    /// How many failed attempts of a trial are followed by another.
    pub retries: u32,
    /// The trials of this run. None: all trials of the plan.
    pub wanted: Option<&'a HashSet<TrialId>>,
    /// None: the memory is unknown, and trials do not wait for it.
    pub memory: Option<MemoryBudget<'a>>,
    /// How the trials in slots on one device share it.
    pub sharing: DeviceSharing<'a>,
    /// Trials wait in the queue of a cluster, where each has a job of its own. None: they run side by side in the slots.
    pub queue: Option<QueueRules>,
}

/// The rules for devices with several slots.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeviceSharing<'a> {
    /// The memory of devices. Trials do not wait for that of others.
    pub memory: &'a [(Device, MemoryBudget<'a>)],
    /// The throughput so far. None: the user has set how many trials share a device.
    pub occupancy: Option<&'a Occupancy>,
}

/// The trials that run in slots, with those that are being started.
#[derive(Default)]
struct Places<'s> {
    /// Place, trial and whether it must be alone on its device.
    running: Vec<(usize, &'s TrialId, bool)>,
}

impl<'s> Places<'s> {
    fn of(state: &'s SweepState) -> Self {
        let mut places = Self::default();
        for (id, known) in state.running() {
            if let TrialPhase::Running { slot, .. } = known.phase {
                places.add(slot, id, oom_policy(known));
            }
        }
        places
    }

    fn add(&mut self, slot: Slot, trial: &'s TrialId, oom_policy: OomPolicy) {
        self.running.push((slot.place(), trial, oom_policy.alone_on_device));
    }

    fn all(&self) -> Vec<&'s TrialId> {
        self.running.iter().map(|(_, id, _)| *id).collect()
    }

    fn count(&self, place: usize) -> usize {
        self.running.iter().filter(|(at, ..)| *at == place).count()
    }

    /// Whether the device of a slot has room for a trial beside those that run there. A device without trials always has.
    fn has_room(&self, slot: Slot, trial: &TrialId, oom_policy: OomPolicy, sharing: DeviceSharing<'_>) -> bool {
        let here = || self.running.iter().filter(|(at, ..)| *at == slot.place());
        let beside: Vec<&TrialId> = here().map(|(_, id, _)| *id).collect();
        let is_kept_apart = oom_policy.alone_on_device || here().any(|(.., alone)| *alone);
        let fits = sharing
            .memory
            .iter()
            .filter(|(device, _)| *device == slot.device)
            .all(|(_, budget)| budget.has_room(&beside, trial));
        let pays = sharing.occupancy.is_none_or(|occupancy| beside.len() < occupancy.limit(slot.device));
        beside.is_empty() || (!is_kept_apart && fits && pays)
    }
}

/// Decides what to do next.
///
/// Trials start in plan order, one on each free slot. A failed trial starts again before later ones. A trial that ran out of
/// memory waits until it is alone, and later trials wait too: its peak shows how many fit. A trial on a faulty device starts
/// after all others: these show whether the device or the trial is at fault.
#[must_use]
pub fn decide(state: &SweepState, policy: &Policy<'_>) -> Vec<Action> {
    let taken: HashSet<usize> = state.taken().collect();
    let in_use: Vec<Slot> =
        policy.slots.iter().copied().filter(|slot| failures::is_in_use(state, slot.place())).collect();
    let mut free: Vec<Slot> = in_use.iter().copied().filter(|slot| !taken.contains(&slot.index)).collect();
    let mut actions: Vec<Action> = retired(state, policy.slots).collect();
    let (mut places, mut one_alone) = (Places::of(state), policy.queue.is_none() && failures::must_run_alone(state));
    let ((finished, mut failed), mut running, mut without_slot, mut launched) = (state.over(), taken.len(), 0, 0);
    let open = |after_fault: bool| state.open().filter(move |(_, trial)| trial.faulted_on.is_empty() != after_fault);
    for (id, trial) in open(false).chain(open(true)) {
        match &trial.phase {
            TrialPhase::Ended(_) | TrialPhase::Failed(_) | TrialPhase::Running { .. } => {}
            TrialPhase::Pending if policy.wanted.is_some_and(|wanted| !wanted.contains(id)) => {}
            TrialPhase::Pending => {
                if let Some(failure) = given_up(state, trial, policy.retries) {
                    actions.push(Action::GiveUp { trial: id.clone(), failure: failure.clone() });
                    failed += 1;
                    continue;
                }
                if in_use.is_empty() {
                    without_slot += 1;
                    continue;
                }
                let oom_policy = policy.queue.map_or_else(|| oom_policy(trial), |queue| queue.oom_policy(trial));
                let has_company = one_alone || (oom_policy.alone && running > 0);
                // If nothing more fits, this turn is over. The next one comes when a worker ends.
                if has_company || policy.memory.is_some_and(|memory| !memory.has_room(&places.all(), id)) {
                    return actions;
                }
                let slot = if let Some(queue) = policy.queue {
                    // The places of a queue are all alike.
                    if launched < queue.room { free.pop() } else { None }
                } else {
                    let has_room = |slot: &Slot| places.has_room(*slot, id, oom_policy, policy.sharing);
                    let open: Vec<Slot> = free.iter().copied().filter(has_room).collect();
                    failures::choose(&open, trial, |place| places.count(place))
                };
                let Some(slot) = slot else { return actions };
                if policy.queue.is_none() {
                    free.retain(|other| other.index != slot.index);
                }
                launched += 1;
                places.add(slot, id, oom_policy);
                let (attempt, is_retry) = (trial.attempts.saturating_add(1), trial.failures > 0);
                let trial = id.clone();
                actions.push(if is_retry {
                    Action::Retry { trial, attempt, slot, oom_policy }
                } else {
                    Action::Launch { trial, attempt, slot }
                });
                running += 1;
                one_alone = oom_policy.alone;
            }
        }
    }
    if running == 0 {
        actions.push(if without_slot > 0 { Action::NoSlotLeft } else { Action::Finish { finished, failed } });
    }
    actions
}

/// The first slot of each device that has failed too often and is not retired yet.
fn retired(state: &SweepState, slots: &[Slot]) -> impl Iterator<Item = Action> {
    let mut seen = HashSet::new();
    let first = slots.iter().filter(move |slot| seen.insert(slot.place()));
    first.filter(|slot| !failures::is_in_use(state, slot.place()) && !state.is_retired(slot.place())).filter_map(
        |slot| {
            let (_, failure) = state.faults(slot.place())?;
            Some(Action::Retire { slot: *slot, failure: failure.clone() })
        },
    )
}

/// The failure for which a pending trial is given up, if it is.
fn given_up<'a>(state: &SweepState, trial: &'a TrialState, retries: u32) -> Option<&'a Failure> {
    let has_used_retries = failures::own_failures(state, trial) > retries;
    let is_too_slow = trial.without_checkpoint >= MAX_WITHOUT_CHECKPOINT;
    trial.last_failure.as_ref().filter(|failure| has_used_retries || is_too_slow || !failure.is_worth_a_retry())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decide::MAX_FAULTS;
    use crate::event::Event;
    use crate::state::tests::{id, outcome, slot};

    /// Simulates a sweep: the launched attempts end as `endings` says. Returns the final state and what was launched.
    fn play(trials: u64, slots: usize, retries: u32, endings: &[u8]) -> (SweepState, Vec<TrialId>) {
        let ids: Vec<_> = (0..trials).map(id).collect();
        let slots: Vec<_> = (0..slots).map(slot).collect();
        let policy = Policy {
            slots: &slots,
            retries,
            wanted: None,
            memory: None,
            sharing: DeviceSharing::default(),
            queue: None,
        };
        let mut state = SweepState::new(&ids);
        let mut launched = Vec::new();
        let mut running = Vec::new();
        let mut endings = endings.iter().chain(std::iter::repeat(&0));
        for _ in 0..10_000 {
            for action in decide(&state, &policy) {
                match action {
                    Action::Launch { trial, attempt, slot } | Action::Retry { trial, attempt, slot, .. } => {
                        launched.push(trial.clone());
                        running.push((trial.clone(), attempt));
                        state.apply(&Event::AttemptClaimed { trial, attempt, slot });
                    }
                    Action::GiveUp { trial, failure } => state.apply(&Event::TrialFailed { trial, failure }),
                    Action::Retire { slot, failure } => state.apply(&Event::SlotRetired { slot, failure }),
                    Action::Finish { .. } | Action::NoSlotLeft => return (state, launched),
                }
            }
            assert!(!running.is_empty(), "nothing runs and nothing was decided");
            let busy: HashSet<_> = state.taken().collect();
            assert_eq!(busy.len(), running.len(), "a slot is taken twice");
            let ending = *endings.next().unwrap();
            let (trial, attempt) = running.remove(usize::from(ending) % running.len());
            state.apply(&match ending % 6 {
                0 | 1 => Event::TrialFinished { trial, attempt, outcome: Box::new(outcome(1)) },
                2 => Event::AttemptFailed { trial, attempt, failure: Failure::Lost },
                3 => Event::AttemptFailed { trial, attempt, failure: Failure::OutOfMemory { log_tail: Vec::new() } },
                4 => Event::AttemptFailed { trial, attempt, failure: Failure::DeviceFault { message: "no".into() } },
                _ => Event::AttemptFailed { trial, attempt, failure: Failure::BadInput { message: "no".into() } },
            });
        }
        panic!("the sweep does not end");
    }

    proptest! {
        #[test]
        fn every_sweep_ends_and_every_trial_is_over(
            trials in 0_u64..12, slots in 1_usize..4, retries in 0_u32..3, endings in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let (state, launched) = play(trials, slots, retries, &endings);
            let no_slot_left = (0..slots).all(|index| state.is_retired(index));
            for (trial, known) in state.planned() {
                prop_assert!(known.phase.is_over() || no_slot_left);
                let starts = launched.iter().filter(|id| *id == trial).count();
                // Failures on a retired slot do not count.
                let most = retries as usize + 1 + slots * MAX_FAULTS as usize;
                prop_assert!(starts <= most && (starts > 0 || no_slot_left));
            }
        }
    }

    #[test]
    fn order_retries_and_the_end() {
        let slots = [slot(0), slot(1)];
        let mut state = SweepState::new(&[id(0), id(1), id(2)]);
        let policy = Policy {
            slots: &slots,
            retries: 1,
            wanted: None,
            memory: None,
            sharing: DeviceSharing::default(),
            queue: None,
        };
        let launch = |trial, attempt, at| Action::Launch { trial: id(trial), attempt, slot: slot(at) };
        assert_eq!(decide(&state, &policy), [launch(0, 1, 0), launch(1, 1, 1)]);
        state.apply(&Event::AttemptClaimed { trial: id(0), attempt: 1, slot: slot(0) });
        state.apply(&Event::AttemptClaimed { trial: id(1), attempt: 1, slot: slot(1) });
        assert_eq!(decide(&state, &policy), []);
        state.apply(&Event::AttemptFailed { trial: id(1), attempt: 1, failure: Failure::Lost });
        assert_eq!(
            decide(&state, &policy),
            [Action::Retry { trial: id(1), attempt: 2, slot: slot(1), oom_policy: OomPolicy::default() }]
        );
        state.apply(&Event::AttemptClaimed { trial: id(1), attempt: 2, slot: slot(1) });
        state.apply(&Event::AttemptFailed { trial: id(1), attempt: 2, failure: Failure::Lost });
        let give_up = Action::GiveUp { trial: id(1), failure: Failure::Lost };
        assert_eq!(decide(&state, &policy), [give_up, launch(2, 1, 1)]);
        state.apply(&Event::TrialFailed { trial: id(1), failure: Failure::Lost });
        let only = HashSet::from([id(1)]);
        let policy = Policy { wanted: Some(&only), ..policy };
        assert_eq!(decide(&state, &policy), [], "trial 0 still runs");
        state.apply(&Event::TrialFinished { trial: id(0), attempt: 1, outcome: Box::new(outcome(1)) });
        assert_eq!(decide(&state, &policy), [Action::Finish { finished: 1, failed: 1 }]);
    }

    /// Two devices with two slots each.
    fn shared(index: usize) -> Slot {
        Slot { index, device: Device::Cuda(index % 2), threads: 1, shared_with: Some(index % 2) }
    }

    /// What starts at once, each as trial, slot and whether it is alone.
    fn started(state: &SweepState, sharing: DeviceSharing<'_>) -> Vec<(TrialId, usize)> {
        let slots = [0, 1, 2, 3].map(shared);
        let policy = Policy { slots: &slots, retries: 5, wanted: None, memory: None, sharing, queue: None };
        let started = decide(state, &policy).into_iter().filter_map(|action| match action {
            Action::Launch { trial, slot, .. } | Action::Retry { trial, slot, .. } => Some((trial, slot.index)),
            _ => None,
        });
        started.collect()
    }

    #[test]
    fn trials_spread_over_the_devices() {
        let ids: Vec<_> = (0..6).map(id).collect();
        let mut state = SweepState::new(&ids);
        let all = started(&state, DeviceSharing::default());
        assert_eq!(all, [(id(0), 0), (id(1), 1), (id(2), 2), (id(3), 3)]);
        for (trial, index) in all {
            state.apply(&Event::AttemptClaimed { trial, attempt: 1, slot: shared(index) });
        }
        for trial in [1, 3] {
            state.apply(&Event::TrialFinished { trial: id(trial), attempt: 1, outcome: Box::new(outcome(1)) });
        }
        assert_eq!(started(&state, DeviceSharing::default()), [(id(4), 1), (id(5), 3)]);
    }

    #[test]
    fn memory_and_throughput_bound_the_trials_of_a_device() {
        let ids: Vec<_> = (0..6).map(id).collect();
        let state = SweepState::new(&ids);
        let estimates = ids.iter().map(|id| (id.clone(), 100)).collect();
        let memory = [(Device::Cuda(0), 250), (Device::Cuda(1), 150)];
        let memory = memory.map(|(device, limit)| (device, MemoryBudget::of_device(limit, &estimates)));
        let sharing = DeviceSharing { memory: &memory, occupancy: None };
        assert_eq!(started(&state, sharing), [(id(0), 0), (id(1), 1), (id(2), 2)]);
        let mut occupancy = Occupancy::default();
        let starts =
            |occupancy: &Occupancy| started(&state, DeviceSharing { memory: &[], occupancy: Some(occupancy) }).len();
        assert_eq!(starts(&occupancy), 2, "one on each device, until that is measured");
        occupancy.observe(Device::Cuda(1), 1, 100.0, 10.0);
        assert_eq!(starts(&occupancy), 3);
    }

    #[test]
    fn a_trial_out_of_device_memory_runs_alone_on_its_device() {
        let ids: Vec<_> = (0..6).map(id).collect();
        let mut state = SweepState::new(&ids);
        for index in 0..4 {
            state.apply(&Event::AttemptClaimed { trial: id(index), attempt: 1, slot: shared(index as usize) });
        }
        let failure = || Failure::DeviceMemory { message: "out of memory".into() };
        state.apply(&Event::AttemptFailed { trial: id(0), attempt: 1, failure: failure() });
        assert_eq!(started(&state, DeviceSharing::default()), [], "trial 2 is on the device");
        state.apply(&Event::TrialFinished { trial: id(2), attempt: 1, outcome: Box::new(outcome(1)) });
        assert_eq!(started(&state, DeviceSharing::default()), [(id(0), 0)], "the second slot stays free");
        state.apply(&Event::AttemptClaimed { trial: id(0), attempt: 2, slot: shared(0) });
        state.apply(&Event::TrialFinished { trial: id(1), attempt: 1, outcome: Box::new(outcome(1)) });
        assert_eq!(started(&state, DeviceSharing::default()), [(id(4), 1)], "the other device takes trials");
        state.apply(&Event::AttemptFailed { trial: id(0), attempt: 2, failure: failure() });
        let policy = oom_policy(state.get(&id(0)).unwrap());
        assert_eq!(policy.to_string(), "alone on its device, with micro-batches 1/2 as large");
    }

    #[test]
    fn faults_count_by_device() {
        let ids: Vec<_> = (0..6).map(id).collect();
        let mut state = SweepState::new(&ids);
        for index in 0..4 {
            state.apply(&Event::AttemptClaimed { trial: id(index), attempt: 1, slot: shared(index as usize) });
        }
        let fault = || Failure::DeviceFault { message: "fell off the bus".into() };
        // Slots 0 and 2 are on the first device.
        for trial in [0, 2] {
            state.apply(&Event::AttemptFailed { trial: id(trial), attempt: 1, failure: fault() });
        }
        let slots = [0, 1, 2, 3].map(shared);
        let sharing = DeviceSharing::default();
        let policy = Policy { slots: &slots, retries: 5, wanted: None, memory: None, sharing, queue: None };
        let retire = Action::Retire { slot: shared(0), failure: fault() };
        assert_eq!(decide(&state, &policy), [retire], "once, and nothing starts in its slots");
        state.apply(&Event::SlotRetired { slot: shared(0), failure: fault() });
        state.apply(&Event::TrialFinished { trial: id(1), attempt: 1, outcome: Box::new(outcome(1)) });
        assert_eq!(started(&state, sharing), [(id(4), 1)]);
    }
}
