//! What failures lead to: why a worker is gone that was killed, how the next attempt is treated, which slots are used. Pure.

use crate::event::{Failure, OomPolicy, Slot};
use crate::state::{SweepState, TrialState};

/// Faults of a slot's device one after the other, after which nothing is started there any more.
pub const MOST_FAULTS: u32 = 2;
/// Micro-batches are not cut further than this: what is left of a trial's memory then is its model.
const MAX_MICRO_BATCH_SPLITS: u32 = 4;

/// What the system tells about the moment in which a worker was killed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Whether the kernel has killed any process for lack of memory just now; None where it does not count them.
    pub kernel_killed: Option<bool>,
    /// Whether next to no memory was free just before: then services kill that the kernel knows nothing of.
    pub was_scarce: bool,
}

/// Why a worker is gone that was killed by SIGKILL, but not by this program.
#[must_use]
pub fn killed(evidence: Evidence, log_tail: Vec<String>) -> Failure {
    match evidence {
        Evidence { kernel_killed: Some(false), was_scarce: false } => {
            let message =
                "killed by somebody else (signal 9); the system has killed nothing for lack of memory".to_owned();
            Failure::Crashed { message, log_tail }
        }
        _ => Failure::OutOfMemory { log_tail },
    }
}

/// How the next attempt is treated. A trial that ran out of memory runs alone; one that did so alone gets smaller
/// micro-batches. On a device it was alone from the start.
#[must_use]
pub fn oom_policy(trial: &TrialState) -> OomPolicy {
    let micro_batch_splits = trial.out_of_memory.saturating_sub(1).saturating_add(trial.out_of_device_memory);
    OomPolicy { alone: trial.out_of_memory > 0, micro_batch_splits: micro_batch_splits.min(MAX_MICRO_BATCH_SPLITS) }
}

/// Whether a trial runs that nothing is to be started beside.
pub(super) fn is_one_alone(state: &SweepState) -> bool {
    state.running().any(|(_, known)| oom_policy(known).alone)
}

pub(super) fn is_in_use(state: &SweepState, slot: usize) -> bool {
    state.faults(slot).is_none_or(|(faults, _)| faults < MOST_FAULTS)
}

/// Failures that count against a trial: not those on slots that are out of use, which were the device's own.
pub(super) fn own(state: &SweepState, trial: &TrialState) -> u32 {
    let by_devices = trial.faulted_on.iter().filter(|slot| !is_in_use(state, **slot)).count();
    trial.failures.saturating_sub(by_devices as u32)
}

/// The free slot for a trial: not the one whose device failed it last, if there is another.
pub(super) fn choose(free: &mut Vec<Slot>, trial: &TrialState) -> Option<Slot> {
    let elsewhere = free.iter().position(|slot| trial.faulted_on.last() != Some(&slot.index));
    (!free.is_empty()).then(|| free.remove(elsewhere.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Action, Policy, decide};
    use crate::event::Event;
    use crate::state::TrialPhase;
    use crate::state::tests::{id, outcome, slot};

    #[test]
    fn a_killed_worker_is_judged_by_what_the_system_tells() {
        let check = |kernel_killed: Option<bool>, was_scarce: bool, is_memory: bool| {
            let failure = killed(Evidence { kernel_killed, was_scarce }, Vec::new());
            assert_eq!(matches!(failure, Failure::OutOfMemory { .. }), is_memory, "{kernel_killed:?} {was_scarce}");
            assert!(failure.is_worth_a_retry());
        };
        check(Some(true), false, true);
        check(Some(true), true, true);
        check(Some(false), false, false);
        check(Some(false), true, true);
        // Where the kernel does not count, memory is the likeliest reason.
        check(None, false, true);
        check(None, true, true);
    }

    #[test]
    fn memory_is_spared_step_by_step() {
        let check =
            |out_of_memory: u32, out_of_device_memory: u32, alone: bool, micro_batch_splits: u32, words: &str| {
                let oom_policy =
                    oom_policy(&TrialState { out_of_memory, out_of_device_memory, ..TrialState::default() });
                assert_eq!(oom_policy, OomPolicy { alone, micro_batch_splits });
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
            let policy = Policy { slots: &self.slots, retries: 2, wanted: None, memory: None };
            decide(&self.state, &policy)
        }

        /// What is decided is done; returned as words.
        fn turn(&mut self) -> Vec<String> {
            let words = |trial: &crate::trial::TrialId, slot: Slot| {
                let number = u64::from_str_radix(trial.as_str(), 16).unwrap();
                format!("{number} on {}", slot.index)
            };
            let mut done = Vec::new();
            for action in self.decide() {
                let (event, said) = match action {
                    Action::Launch { trial, attempt, slot } => {
                        let said = words(&trial, slot);
                        (Event::AttemptClaimed { trial, attempt, slot }, said)
                    }
                    Action::Retry { trial, attempt, slot, oom_policy } => {
                        let said = format!("{} {oom_policy}", words(&trial, slot));
                        (Event::AttemptClaimed { trial, attempt, slot }, said)
                    }
                    Action::Retire { slot, failure } => {
                        let said = format!("retire {}", slot.index);
                        (Event::SlotRetired { slot, failure }, said)
                    }
                    other => {
                        done.push(format!("{other:?}"));
                        continue;
                    }
                };
                self.state.apply(&event);
                done.push(said);
            }
            done
        }

        fn fails(&mut self, trial: u64, attempt: u32, failure: Failure) {
            self.state.apply(&Event::AttemptFailed { trial: id(trial), attempt, failure });
        }

        fn ends(&mut self, trial: u64, attempt: u32) {
            self.state.apply(&Event::TrialFinished { trial: id(trial), attempt, outcome: outcome(1) });
        }
    }

    fn fault() -> Failure {
        Failure::DeviceFault { message: "fell off the bus".into() }
    }

    #[test]
    fn a_trial_out_of_memory_waits_until_it_is_alone_and_stays_so() {
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
    fn a_slot_is_out_of_use_after_two_faults_and_the_others_go_on() {
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
    fn a_trial_that_fails_every_device_is_the_last_and_stops_no_other() {
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
            ["retire 0", &format!("{:?}", Action::Strand)],
            "its own first fault is one, not three"
        );
    }

    #[test]
    fn retries_are_not_used_up_by_devices_that_were_to_blame() {
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
    fn a_fault_is_retried_on_another_slot_and_forgotten_after_a_trial_that_ended_well() {
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
    fn without_a_slot_the_sweep_is_stranded() {
        let mut play = Play::new(2);
        play.turn();
        play.fails(0, 1, fault());
        play.fails(1, 1, fault());
        assert_eq!(play.turn(), ["2 on 0", "3 on 1"]);
        play.fails(2, 1, fault());
        play.fails(3, 1, fault());
        assert_eq!(play.turn(), ["retire 0", "retire 1", &format!("{:?}", Action::Strand)]);
        assert!(play.state.planned().all(|(_, known)| known.phase == TrialPhase::Pending), "no trial is to blame");
    }
}
