//! What to do next: a function of the state, the slots and the rules. Pure: it starts nothing and looks at no clock.

mod across;
mod memory;
mod overdue;
mod slots;

use std::collections::HashSet;

pub use across::{Scores, judge};
pub use memory::Memory;
pub use overdue::{Pulse, overdue};
pub use slots::{Machine, SlotError, check_devices, memory_limit, slots};

use crate::event::{Failure, Slot};
use crate::state::{Standing, SweepState, TrialState};
use crate::trial::TrialId;

/// What the caller is to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start attempt `attempt` (or the next free number) of a trial that never failed.
    Launch { trial: TrialId, attempt: u32, slot: Slot },
    /// The same after a failure that is worth another try.
    Retry { trial: TrialId, attempt: u32, slot: Slot },
    /// The trial has failed for good.
    GiveUp { trial: TrialId, failure: Failure },
    /// Nothing is left to do, and nothing runs.
    Finish { finished: usize, failed: usize },
}

/// The rules of this run.
#[derive(Debug, Clone)]
pub struct Policy<'a> {
    pub slots: &'a [Slot],
    /// Failed attempts that are followed by another.
    pub retries: u32,
    /// The trials that this run is about; None: all of the plan.
    pub wanted: Option<&'a HashSet<TrialId>>,
    /// None: not known, and not waited for.
    pub memory: Option<Memory<'a>>,
}

/// Trials go in the order of the plan, one on each free slot; a failed one comes again before later ones.
#[must_use]
pub fn decide(state: &SweepState, policy: &Policy<'_>) -> Vec<Action> {
    let taken: HashSet<usize> = state.taken().collect();
    let mut free = policy.slots.iter().filter(|slot| !taken.contains(&slot.index));
    let (mut actions, mut launched) = (Vec::new(), Vec::new());
    let ((finished, mut failed), mut running) = (state.over(), taken.len());
    for (id, trial) in state.open() {
        match &trial.standing {
            Standing::Ended(_) | Standing::Failed(_) | Standing::Running { .. } => {}
            Standing::Pending if policy.wanted.is_some_and(|wanted| !wanted.contains(id)) => {}
            Standing::Pending => {
                if let Some(failure) = given_up(trial, policy.retries) {
                    actions.push(Action::GiveUp { trial: id.clone(), failure: failure.clone() });
                    failed += 1;
                    continue;
                }
                // With all slots taken this turn is over; there will be another when a worker ends.
                let Some(&slot) = free.next() else { return actions };
                if policy.memory.is_some_and(|memory| !memory.has_room(state, &launched, id)) {
                    return actions;
                }
                launched.push(id);
                let (trial, attempt, is_retry) = (id.clone(), trial.attempts + 1, trial.failures > 0);
                actions.push(if is_retry {
                    Action::Retry { trial, attempt, slot }
                } else {
                    Action::Launch { trial, attempt, slot }
                });
                running += 1;
            }
        }
    }
    if running == 0 {
        actions.push(Action::Finish { finished, failed });
    }
    actions
}

/// The failure that a pending trial is given up for, if it is.
fn given_up(trial: &TrialState, retries: u32) -> Option<&Failure> {
    trial.last_failure.as_ref().filter(|failure| trial.failures > retries || !failure.is_worth_a_retry())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Event;
    use crate::state::tests::{id, outcome, slot};

    /// Plays a sweep: each launched attempt ends as `endings` says, in turn. Returns what was launched.
    fn play(trials: u64, slots: usize, retries: u32, endings: &[u8]) -> (SweepState, Vec<TrialId>) {
        let ids: Vec<_> = (0..trials).map(id).collect();
        let slots: Vec<_> = (0..slots).map(slot).collect();
        let policy = Policy { slots: &slots, retries, wanted: None, memory: None };
        let mut state = SweepState::new(&ids);
        let mut launched = Vec::new();
        let mut running = Vec::new();
        let mut endings = endings.iter().chain(std::iter::repeat(&0));
        for _ in 0..10_000 {
            for action in decide(&state, &policy) {
                match action {
                    Action::Launch { trial, attempt, slot } | Action::Retry { trial, attempt, slot } => {
                        launched.push(trial.clone());
                        running.push((trial.clone(), attempt));
                        state.apply(&Event::AttemptClaimed { trial, attempt, slot });
                    }
                    Action::GiveUp { trial, failure } => state.apply(&Event::TrialFailed { trial, failure }),
                    Action::Finish { .. } => return (state, launched),
                }
            }
            assert!(!running.is_empty(), "nothing runs and nothing was decided");
            let busy: HashSet<_> = state.taken().collect();
            assert_eq!(busy.len(), running.len(), "a slot is taken twice");
            let ending = *endings.next().unwrap();
            let (trial, attempt) = running.remove(usize::from(ending) % running.len());
            state.apply(&match ending % 4 {
                0 | 1 => Event::TrialFinished { trial, attempt, outcome: outcome(1) },
                2 => Event::AttemptFailed { trial, attempt, failure: Failure::Lost },
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
            for (trial, known) in state.planned() {
                prop_assert!(known.standing.is_over());
                let starts = launched.iter().filter(|id| *id == trial).count();
                prop_assert!((1..=retries as usize + 1).contains(&starts));
            }
        }
    }

    #[test]
    fn order_retries_and_the_end() {
        let slots = [slot(0), slot(1)];
        let mut state = SweepState::new(&[id(0), id(1), id(2)]);
        let policy = Policy { slots: &slots, retries: 1, wanted: None, memory: None };
        let launch = |trial, attempt, at| Action::Launch { trial: id(trial), attempt, slot: slot(at) };
        assert_eq!(decide(&state, &policy), [launch(0, 1, 0), launch(1, 1, 1)]);
        state.apply(&Event::AttemptClaimed { trial: id(0), attempt: 1, slot: slot(0) });
        state.apply(&Event::AttemptClaimed { trial: id(1), attempt: 1, slot: slot(1) });
        assert_eq!(decide(&state, &policy), []);
        state.apply(&Event::AttemptFailed { trial: id(1), attempt: 1, failure: Failure::Lost });
        assert_eq!(decide(&state, &policy), [Action::Retry { trial: id(1), attempt: 2, slot: slot(1) }]);
        state.apply(&Event::AttemptClaimed { trial: id(1), attempt: 2, slot: slot(1) });
        state.apply(&Event::AttemptFailed { trial: id(1), attempt: 2, failure: Failure::Lost });
        let give_up = Action::GiveUp { trial: id(1), failure: Failure::Lost };
        assert_eq!(decide(&state, &policy), [give_up, launch(2, 1, 1)]);
        state.apply(&Event::TrialFailed { trial: id(1), failure: Failure::Lost });
        let only = HashSet::from([id(1)]);
        let policy = Policy { wanted: Some(&only), ..policy };
        assert_eq!(decide(&state, &policy), [], "trial 0 still runs");
        state.apply(&Event::TrialFinished { trial: id(0), attempt: 1, outcome: outcome(1) });
        assert_eq!(decide(&state, &policy), [Action::Finish { finished: 1, failed: 1 }]);
    }
}
