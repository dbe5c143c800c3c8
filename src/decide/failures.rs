//! The consequences of failures: why a killed worker died, how the next attempt runs, and which slots are used. Pure.

use std::collections::BTreeSet;

use crate::event::{Failure, OomPolicy, Slot};
use crate::state::{SweepState, TrialState};

/// After so many faults of its device in a row, nothing is started on a slot any more.
pub const MAX_FAULTS: u32 = 2;
/// So many faults of nodes do not count against a trial.
const MAX_BAD_NODES: usize = 3;
/// Micro-batches are not split further: the rest of the memory of a trial is its model.
const MAX_MICRO_BATCH_SPLITS: u32 = 4;

/// What the system says about memory when a worker was killed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryEvidence {
    /// Whether the kernel has just killed a process for lack of memory. None where it does not count them.
    pub kernel_killed: Option<bool>,
    /// Whether almost no memory was free just before: then services such as earlyoom kill processes.
    pub was_scarce: bool,
}

/// Why a worker died by SIGKILL that this program has not killed.
#[must_use]
pub fn killed(evidence: MemoryEvidence, log_tail: Vec<String>) -> Failure {
    match evidence {
        MemoryEvidence { kernel_killed: Some(false), was_scarce: false } => {
            let message =
                "killed by another process (signal 9); the system has killed nothing for lack of memory".to_owned();
            Failure::Crashed { message, log_tail }
        }
        _ => Failure::OutOfMemory { log_tail },
    }
}

/// The rules for the jobs of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueRules {
    /// How often the memory of a job can be doubled before no node has so much.
    pub doublings: u32,
    /// At most so many trials are launched now.
    pub room: usize,
}

/// How the next attempt runs. A trial that ran out of memory runs alone, on its device if the memory was that of the device. One that
/// ran out of memory alone gets smaller micro-batches.
#[must_use]
pub fn oom_policy(trial: &TrialState) -> OomPolicy {
    let TrialState { out_of_memory, out_of_device_memory, out_of_shared_memory, .. } = *trial;
    let alone = [out_of_memory, out_of_shared_memory].map(|times| times.saturating_sub(1));
    let micro_batch_splits = alone.iter().fold(out_of_device_memory, |sum, times| sum.saturating_add(*times));
    OomPolicy {
        alone: out_of_memory > 0,
        alone_on_device: out_of_shared_memory > 0,
        micro_batch_splits: micro_batch_splits.min(MAX_MICRO_BATCH_SPLITS),
    }
}

impl QueueRules {
    /// How the next job runs: with more memory, and with smaller micro-batches when no node has more.
    pub(super) fn oom_policy(self, trial: &TrialState) -> OomPolicy {
        let splits = trial.out_of_memory.saturating_sub(self.doublings).saturating_add(trial.out_of_device_memory);
        OomPolicy { micro_batch_splits: splits.min(MAX_MICRO_BATCH_SPLITS), ..OomPolicy::default() }
    }

    /// By how much the memory of the next job is multiplied.
    #[must_use]
    pub fn memory_factor(self, trial: &TrialState) -> u64 {
        1 << trial.out_of_memory.min(self.doublings).min(32)
    }
}

/// The nodes that the next job of a trial must avoid, in order of their names: those that have failed it, and those that have failed
/// several trials.
#[must_use]
pub fn nodes_to_avoid(state: &SweepState, trial: &TrialState) -> Vec<String> {
    let bad: BTreeSet<&str> =
        state.bad_nodes(MAX_FAULTS as usize).chain(trial.bad_nodes.iter().map(String::as_str)).collect();
    bad.into_iter().map(str::to_owned).collect()
}

/// Whether a trial runs that no other trial may run beside.
pub(super) fn must_run_alone(state: &SweepState) -> bool {
    state.running().any(|(_, known)| oom_policy(known).alone)
}

pub(super) fn is_in_use(state: &SweepState, place: usize) -> bool {
    state.faults(place).is_none_or(|(faults, _)| faults < MAX_FAULTS)
}

/// The failures that count against a trial. Failures on retired slots count against the device.
pub(super) fn own_failures(state: &SweepState, trial: &TrialState) -> u32 {
    let by_devices = trial.faulted_on.iter().filter(|place| !is_in_use(state, **place)).count();
    // A trial that fails on one node after the other may itself be at fault.
    let by_nodes = trial.bad_nodes.len().min(MAX_BAD_NODES);
    trial.failures.saturating_sub((by_devices + by_nodes) as u32)
}

/// The slot for a trial, of those in which it may start: not on the device of its last device fault, if there is another, and on the
/// device with the fewest trials. `trials`: how many run at a place.
pub(super) fn choose(open: &[Slot], trial: &TrialState, trials: impl Fn(usize) -> usize) -> Option<Slot> {
    let is_faulty = |slot: &Slot| trial.faulted_on.last() == Some(&slot.place());
    open.iter().copied().min_by_key(|slot| (is_faulty(slot), trials(slot.place()), slot.index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Action, DeviceSharing, Policy, decide};
    use crate::event::Event;
    use crate::state::TrialPhase;
    use crate::state::tests::{id, outcome, slot};

    #[test]
    fn the_system_tells_why_a_worker_was_killed() {
        let check = |kernel_killed: Option<bool>, was_scarce: bool, is_memory: bool| {
            let failure = killed(MemoryEvidence { kernel_killed, was_scarce }, Vec::new());
            assert_eq!(matches!(failure, Failure::OutOfMemory { .. }), is_memory, "{kernel_killed:?} {was_scarce}");
            assert!(failure.is_worth_a_retry());
        };
        check(Some(true), false, true);
        check(Some(true), true, true);
        check(Some(false), false, false);
        check(Some(false), true, true);
        // If the kernel does not count, memory is the most likely reason.
        check(None, false, true);
        check(None, true, true);
    }

    #[test]
    fn the_next_attempt_needs_less_memory() {
        let check =
            |out_of_memory: u32, out_of_device_memory: u32, alone: bool, micro_batch_splits: u32, words: &str| {
                let oom_policy =
                    oom_policy(&TrialState { out_of_memory, out_of_device_memory, ..TrialState::default() });
                assert_eq!(oom_policy, OomPolicy { alone, alone_on_device: false, micro_batch_splits });
                assert_eq!(oom_policy.to_string(), words);
            };
        check(0, 0, false, 0, "as usual");
        check(1, 0, true, 0, "alone");
        check(2, 0, true, 1, "alone, with micro-batches 1/2 as large");
        check(3, 0, true, 2, "alone, with micro-batches 1/4 as large");
        check(0, 1, false, 1, "with micro-batches 1/2 as large");
        check(1, 1, true, 1, "alone, with micro-batches 1/2 as large");
        check(99, 99, true, 4, "alone, with micro-batches 1/16 as large");
    }

    /// A sweep of five trials on some slots.
    struct Play {
        state: SweepState,
        slots: Vec<Slot>,
    }

    impl Play {
        fn new(slots: usize) -> Self {
            let ids: Vec<_> = (0..5).map(id).collect();
            Self { state: SweepState::new(&ids), slots: (0..slots).map(slot).collect() }
        }

        fn decide(&self) -> Vec<Action> {
            let policy = Policy {
                slots: &self.slots,
                retries: 2,
                wanted: None,
                memory: None,
                sharing: DeviceSharing::default(),
                queue: None,
            };
            decide(&self.state, &policy)
        }

        /// Does what is decided. Returns it as text.
        fn turn(&mut self) -> Vec<String> {
            let words = |trial: &crate::trial::TrialId, slot: Slot| {
                let number = u64::from_str_radix(trial.as_str(), 16).unwrap();
                format!("{number} on {}", slot.index)
            };
            let mut done = Vec::new();
            for action in self.decide() {
                let (event, text) = match action {
                    Action::Launch { trial, attempt, slot } => {
                        let text = words(&trial, slot);
                        (Event::AttemptClaimed { trial, attempt, slot }, text)
                    }
                    Action::Retry { trial, attempt, slot, oom_policy } => {
                        let text = format!("{} {oom_policy}", words(&trial, slot));
                        (Event::AttemptClaimed { trial, attempt, slot }, text)
                    }
                    Action::Retire { slot, failure } => {
                        let text = format!("retire {}", slot.index);
                        (Event::SlotRetired { slot, failure }, text)
                    }
                    other => {
                        done.push(format!("{other:?}"));
                        continue;
                    }
                };
                self.state.apply(&event);
                done.push(text);
            }
            done
        }

        fn fails(&mut self, trial: u64, attempt: u32, failure: Failure) {
            self.state.apply(&Event::AttemptFailed { trial: id(trial), attempt, failure });
        }

        fn ends(&mut self, trial: u64, attempt: u32) {
            self.state.apply(&Event::TrialFinished { trial: id(trial), attempt, outcome: Box::new(outcome(1)) });
        }
    }

    fn fault() -> Failure {
        Failure::DeviceFault { message: "fell off the bus".into() }
    }

    #[test]
    fn a_trial_out_of_memory_waits_until_it_is_alone() {
        let mut play = Play::new(2);
        let out_of_memory = || Failure::OutOfMemory { log_tail: Vec::new() };
        assert_eq!(play.turn(), ["0 on 0", "1 on 1"]);
        play.fails(0, 1, out_of_memory());
        assert_eq!(play.turn(), [""; 0], "trial 1 still runs, and nothing else starts meanwhile");
        play.ends(1, 1);
        assert_eq!(play.turn(), ["0 on 0 alone"]);
        assert_eq!(play.turn(), [""; 0], "nothing beside it");
        play.fails(0, 2, out_of_memory());
        assert_eq!(play.turn(), ["0 on 0 alone, with micro-batches 1/2 as large"]);
        play.state.apply(&Event::AttemptInterrupted { trial: id(0), attempt: 3 });
        assert_eq!(play.turn(), ["0 on 0 alone, with micro-batches 1/2 as large"], "an interruption changes nothing");
        play.ends(0, 4);
        assert_eq!(play.turn(), ["2 on 0", "3 on 1"]);
    }

    #[test]
    fn a_slot_is_retired_after_two_faults_and_the_others_continue() {
        let mut play = Play::new(2);
        assert_eq!(play.turn(), ["0 on 0", "1 on 1"]);
        play.fails(0, 1, fault());
        assert_eq!(play.turn(), ["2 on 0"], "another trial tells whether it is the device");
        play.fails(2, 1, fault());
        assert_eq!(play.turn(), ["retire 0"]);
        play.ends(1, 1);
        assert_eq!(play.turn(), ["3 on 1"]);
        play.ends(3, 1);
        assert_eq!(play.turn(), ["4 on 1"]);
        play.ends(4, 1);
        assert_eq!(play.turn(), ["0 on 1 as usual"]);
    }

    #[test]
    fn a_trial_that_fails_on_every_device_comes_last() {
        let mut play = Play::new(1);
        assert_eq!(play.turn(), ["0 on 0"]);
        play.fails(0, 1, fault());
        for other in 1..5 {
            assert_eq!(play.turn(), [format!("{other} on 0")]);
            play.ends(other, 1);
        }
        assert_eq!(play.turn(), ["0 on 0 as usual"]);
        play.fails(0, 2, fault());
        assert_eq!(play.turn(), ["0 on 0 as usual"]);
        play.fails(0, 3, fault());
        assert_eq!(
            play.turn(),
            ["retire 0", &format!("{:?}", Action::NoSlotLeft)],
            "its own first fault is one, not three"
        );
    }

    #[test]
    fn faults_of_retired_devices_use_up_no_retries() {
        let mut play = Play::new(2);
        assert_eq!(play.turn(), ["0 on 0", "1 on 1"]);
        play.fails(0, 1, Failure::Lost);
        assert_eq!(play.turn(), ["0 on 0 as usual"]);
        for (trial, attempt) in [(0, 2), (2, 1)] {
            play.fails(trial, attempt, fault());
            play.turn();
        }
        for trial in [1, 3, 4] {
            play.ends(trial, 1);
            play.turn();
        }
        play.fails(0, 3, Failure::Lost);
        assert_eq!(play.turn(), ["0 on 1 as usual"], "three failures, but only two of its own");
        play.fails(0, 4, Failure::Lost);
        let given_up = format!("{:?}", Action::GiveUp { trial: id(0), failure: Failure::Lost });
        assert_eq!(play.turn()[0], given_up);
    }

    #[test]
    fn a_fault_is_retried_on_another_slot_and_cleared_by_a_trial_that_ends_well() {
        let mut play = Play::new(3);
        assert_eq!(play.turn().len(), 3);
        play.fails(0, 1, fault());
        play.ends(1, 1);
        assert_eq!(play.turn(), ["3 on 0", "4 on 1"]);
        play.ends(3, 1);
        assert_eq!(play.turn(), ["0 on 0 as usual"], "no other slot is free");
        play.fails(0, 2, fault());
        play.ends(4, 1);
        assert_eq!(play.turn(), ["0 on 1 as usual"], "the fault before trial 3 ended on slot 0 counts no more");
        play.fails(2, 1, fault());
        assert_eq!(play.turn(), ["2 on 0 as usual"]);
    }

    #[test]
    fn the_run_ends_without_a_slot() {
        let mut play = Play::new(2);
        play.turn();
        play.fails(0, 1, fault());
        play.fails(1, 1, fault());
        assert_eq!(play.turn(), ["2 on 0", "3 on 1"]);
        play.fails(2, 1, fault());
        play.fails(3, 1, fault());
        assert_eq!(play.turn(), ["retire 0", "retire 1", &format!("{:?}", Action::NoSlotLeft)]);
        assert!(play.state.planned().all(|(_, known)| known.phase == TrialPhase::Pending), "no trial is to blame");
    }
}
