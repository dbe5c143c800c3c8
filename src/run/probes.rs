//! The probes of a sweep as they are on disk, and the training states that the sweep keeps for them.

use super::leaders::Leaders;
use super::order::RunOrder;
use super::reconcile::can_continue;
use super::survey::survey;
use crate::analysis::probes::{self, Probed};
use crate::plan::{Plan, probe_plan};
use crate::spec::Probing;
use crate::state::{SweepState, TrialPhase};
use crate::store::{RunDir, StoreError, read_journal};
use crate::trial::{Keep, Status, TrialId};

/// The results of the probes in the sub-folder of `dir`. Takes no lock and changes nothing.
pub fn probe_results(dir: &RunDir) -> Result<Vec<Probed>, StoreError> {
    let folder = dir.probes();
    let trials = folder.probe_trials()?;
    if trials.is_empty() {
        return Ok(Vec::new());
    }
    let sweep = survey(&probe_plan(RunDir::PROBES, trials), &folder)?;
    Ok(probes::probed(&sweep.runs))
}

/// Deletes the states of ended trials that `keep` does not ask for, once no probe needs them any more.
pub fn prune_states(plan: &Plan, dir: &RunDir, keep: Keep) -> Result<(), StoreError> {
    let state = SweepState::fold(plan, &read_journal(&dir.journal())?.records);
    let mut leaders = Leaders::default();
    let ended = || {
        state.planned().filter_map(|(id, known)| match &known.phase {
            TrialPhase::Ended(outcome) => Some((id, outcome)),
            _ => None,
        })
    };
    ended().for_each(|(id, outcome)| drop(leaders.add(id, outcome, keep, dir)));
    for (id, outcome) in ended() {
        leaders.prune(id, outcome.status == Status::Stopped, keep, dir)?;
    }
    Ok(())
}

/// The ended trials whose states are kept for probes, and the leading trials, whose weights are kept. The states and weights
/// of all others are deleted.
#[derive(Debug, Default)]
pub(super) struct KeptStates {
    trials: Vec<TrialId>,
    leaders: Leaders,
}

impl KeptStates {
    /// `ended`: the trials that have ended since the last call.
    pub(super) fn update(
        &mut self,
        ended: impl Iterator<Item = TrialId>,
        order: &RunOrder<'_>,
        dir: &RunDir,
        state: &SweepState,
    ) -> Result<(), StoreError> {
        let new = self.trials.len();
        self.trials.extend(ended);
        let outcome = |id| match state.get(id).map(|known| &known.phase) {
            Some(TrialPhase::Ended(outcome)) => Some((id, outcome.as_ref())),
            _ => None,
        };
        let keep = order.config.keep;
        let mut behind = Vec::new();
        for (id, outcome) in self.trials[new..].iter().filter_map(outcome) {
            behind.extend(self.leaders.add(id, outcome, keep, dir));
        }
        let chosen: Vec<TrialId> = match order.config.probe {
            Probing::Off => Vec::new(),
            Probing::Plateaus => probes::choose(self.trials.iter().filter_map(outcome)).into_iter().cloned().collect(),
        };
        for id in self.trials.iter().chain(&behind).filter(|id| !chosen.contains(id)) {
            if let Some((_, outcome)) = outcome(id) {
                self.leaders.prune(id, can_continue(order, outcome.status), keep, dir)?;
            }
        }
        self.trials = chosen;
        Ok(())
    }
}
