//! Which trials fit into memory. Pure.

use std::collections::HashMap;

use super::oom_policy;
use crate::state::{SweepState, TrialPhase, TrialState};
use crate::trial::{Outcome, TrialId};

/// The memory that the trials of a machine, or those on one device, together may take, and the expected peak of each, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct MemoryBudget<'a> {
    limit: u64,
    estimates: &'a HashMap<TrialId, u64>,
    /// The measured peak of a trial.
    peak: fn(&Outcome) -> Option<u64>,
    /// The largest ratio of measured to expected peak among the ended trials. None before a trial has ended.
    measured: Option<f64>,
}

impl<'a> MemoryBudget<'a> {
    /// The budget of the machine.
    #[must_use]
    pub fn new(limit: u64, estimates: &'a HashMap<TrialId, u64>) -> Self {
        Self { limit, estimates, peak: |outcome| outcome.peak_memory, measured: None }
    }

    /// The budget of a device.
    #[must_use]
    pub fn of_device(limit: u64, estimates: &'a HashMap<TrialId, u64>) -> Self {
        Self { peak: |outcome| outcome.device_memory, ..Self::new(limit, estimates) }
    }

    /// Adds the measured peaks of all ended trials.
    #[must_use]
    pub fn after(mut self, state: &SweepState) -> Self {
        state.planned().for_each(|(id, known)| self.see(id, known));
        self
    }

    /// Adds the measured peak of a trial, if it has ended. A trial with smaller micro-batches says nothing about the others.
    pub fn see(&mut self, id: &TrialId, known: &TrialState) {
        let TrialPhase::Ended(outcome) = &known.phase else { return };
        if let (Some(peak), Some(expected), 0) =
            ((self.peak)(outcome), self.estimates.get(id), oom_policy(known).micro_batch_splits)
        {
            let ratio = peak as f64 / (*expected).max(1) as f64;
            self.measured = Some(self.measured.map_or(ratio, |measured| measured.max(ratio)));
        }
    }

    /// Whether `next` fits beside these trials. A trial alone always fits: waiting would not help.
    pub(super) fn has_room(&self, beside: &[&TrialId], next: &TrialId) -> bool {
        let expected: f64 = beside.iter().copied().chain([next]).map(|id| self.estimate(id) as f64).sum();
        beside.is_empty() || expected * self.measured.unwrap_or(1.0) <= self.limit as f64
    }

    fn estimate(&self, id: &TrialId) -> u64 {
        // A configuration that a search drew meanwhile is taken for the largest of the others.
        let largest = || self.estimates.values().max().copied();
        self.estimates.get(id).copied().or_else(largest).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Action, DeviceSharing, Policy, decide};
    use crate::event::Event;
    use crate::state::tests::{id, outcome, slot};

    /// How many trials, each expected to take 100, start on four slots.
    fn started(limit: u64, measured: Option<u64>) -> usize {
        let ids: Vec<_> = (0..5).map(id).collect();
        let estimates = ids.iter().map(|id| (id.clone(), 100)).collect();
        let mut state = SweepState::new(&ids);
        if let Some(peak) = measured {
            let outcome = Box::new(Outcome { peak_memory: Some(peak), ..outcome(10) });
            state.apply(&Event::TrialFinished { trial: id(0), attempt: 1, outcome });
        }
        let slots: Vec<_> = (0..4).map(slot).collect();
        let memory = Some(MemoryBudget::new(limit, &estimates).after(&state));
        let policy =
            Policy { slots: &slots, retries: 0, wanted: None, memory, sharing: DeviceSharing::default(), queue: None };
        let actions = decide(&state, &policy);
        actions.iter().filter(|action| matches!(action, Action::Launch { .. })).count()
    }

    #[test]
    fn as_many_trials_start_as_fit() {
        let check = |limit: u64, measured: Option<u64>, expected: usize| {
            assert_eq!(started(limit, measured), expected, "{limit} {measured:?}");
        };
        check(400, None, 4);
        check(399, None, 3);
        check(100, None, 1);
        check(10, None, 1);
        // A measured trial corrects the expectation.
        check(400, Some(200), 2);
        check(400, Some(50), 4);
        check(100, Some(50), 2);
    }

    #[test]
    fn the_memory_of_a_device_is_measured_by_itself() {
        let estimates = (0..2).map(|number| (id(number), 100)).collect();
        let mut state = SweepState::new(&[id(0), id(1)]);
        let outcome = Box::new(Outcome { peak_memory: Some(900), device_memory: Some(50), ..outcome(10) });
        state.apply(&Event::TrialFinished { trial: id(0), attempt: 1, outcome });
        let on_device = MemoryBudget::of_device(100, &estimates).after(&state);
        assert!(on_device.has_room(&[&id(0)], &id(1)));
        assert!(!MemoryBudget::new(1000, &estimates).after(&state).has_room(&[&id(0)], &id(1)));
    }

    #[test]
    fn a_trial_with_smaller_micro_batches_says_nothing_about_the_others() {
        let ids: Vec<_> = (0..5).map(id).collect();
        let estimates = ids.iter().map(|id| (id.clone(), 100)).collect();
        let mut state = SweepState::new(&ids);
        for attempt in 1..4 {
            state.apply(&Event::AttemptClaimed { trial: id(0), attempt, slot: slot(0) });
            let failure = crate::event::Failure::OutOfMemory { log_tail: Vec::new() };
            state.apply(&Event::AttemptFailed { trial: id(0), attempt, failure });
        }
        let outcome = Box::new(Outcome { peak_memory: Some(10), ..outcome(10) });
        state.apply(&Event::TrialFinished { trial: id(0), attempt: 4, outcome });
        let memory = MemoryBudget::new(200, &estimates).after(&state);
        assert!(memory.has_room(&[&id(1)], &id(2)));
        assert!(!memory.has_room(&[&id(1), &id(2)], &id(3)));
    }
}
