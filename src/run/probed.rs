//! The probes of a sweep as they stand on disk, and the states that the sweep keeps for them.

use super::open::prune;
use super::{RunOrder, survey};
use crate::analysis::probes::{self, Probed};
use crate::plan::{Plan, probe_plan};
use crate::spec::Probing;
use crate::state::{SweepState, TrialPhase};
use crate::store::{RunDir, StoreError, read_journal};
use crate::trial::{Keep, TrialId};

/// What the probes in the sub-folder of `dir` say. Takes no lock and changes nothing.
pub fn probe_results(dir: &RunDir) -> Result<Vec<Probed>, StoreError> {
    let folder = dir.probes();
    let asked = folder.probe_trials()?;
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let sweep = survey(&probe_plan(RunDir::PROBES, asked), &folder)?;
    Ok(probes::probed(&sweep.runs))
}

/// Leaves of the states of ended trials what `keep` asks for, once their probes need no more of them.
pub fn prune_states(plan: &Plan, dir: &RunDir, keep: Keep) -> Result<(), StoreError> {
    let state = SweepState::fold(plan, &read_journal(&dir.journal())?.records);
    for (id, known) in state.planned() {
        if matches!(known.phase, TrialPhase::Ended(_)) && !known.phase.was_stopped() {
            dir.trial(id).checkpoints().prune(keep)?;
        }
    }
    Ok(())
}

/// The ended trials that keep their states to be probed; all others leave theirs.
#[derive(Debug, Default)]
pub(super) struct Kept {
    trials: Vec<TrialId>,
}

impl Kept {
    /// `ended` have ended since the last call.
    pub(super) fn settle(
        &mut self,
        ended: impl Iterator<Item = TrialId>,
        order: &RunOrder<'_>,
        dir: &RunDir,
        state: &SweepState,
    ) -> Result<(), StoreError> {
        self.trials.extend(ended);
        let outcome = |id| match state.get(id).map(|known| &known.phase) {
            Some(TrialPhase::Ended(outcome)) => Some((id, outcome.as_ref())),
            _ => None,
        };
        let chosen: Vec<TrialId> = match order.config.probe {
            Probing::Off => Vec::new(),
            Probing::Plateaus => probes::choose(self.trials.iter().filter_map(outcome)).into_iter().cloned().collect(),
        };
        for id in self.trials.iter().filter(|id| !chosen.contains(id)) {
            if let Some((_, outcome)) = outcome(id) {
                prune(order, &dir.trial(id), outcome.status)?;
            }
        }
        self.trials = chosen;
        Ok(())
    }
}
