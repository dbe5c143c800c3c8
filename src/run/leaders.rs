//! `run.keep: winner` and `top`: the trials that are best by the metric of the sweep, whose models are kept.

use crate::store::{RunDir, StoreError};
use crate::trial::{Keep, Outcome, Status, TrialId};

/// The leading trials with a model, best first. The models of all other ended trials are to be deleted.
#[derive(Debug, Default)]
pub(super) struct Leaders {
    /// With the costs of their best evaluations.
    ranked: Vec<(f64, TrialId)>,
}

impl Leaders {
    /// Ranks a trial that has ended. Returns the trials that do not lead any more.
    pub(super) fn add(&mut self, id: &TrialId, outcome: &Outcome, keep: Keep, dir: &RunDir) -> Vec<TrialId> {
        let Keep::Top(count) = keep else { return Vec::new() };
        if !dir.trial(id).checkpoints().models().iter().any(|model| model.is_file()) {
            return Vec::new();
        }
        // A stopped trial that was continued ends again.
        self.ranked.retain(|(_, ranked)| ranked != id);
        if let Some(cost) = Some(outcome.cost()).filter(|cost| cost.is_finite() && outcome.status != Status::Diverged) {
            self.ranked.push((cost, id.clone()));
            self.ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        }
        self.ranked.drain(count.min(self.ranked.len())..).map(|(_, id)| id).collect()
    }

    /// Deletes what `keep` does not ask for of a ranked trial. A stopped trial can continue, so its states stay.
    pub(super) fn prune(&self, id: &TrialId, is_stopped: bool, keep: Keep, dir: &RunDir) -> Result<(), StoreError> {
        let checkpoints = dir.trial(id).checkpoints();
        match (self.lead(id, keep), is_stopped) {
            (true, true) => Ok(()),
            (true, false) => checkpoints.prune(keep),
            (false, true) => checkpoints.remove_models(),
            (false, false) => checkpoints.prune(Keep::None),
        }
    }

    fn lead(&self, id: &TrialId, keep: Keep) -> bool {
        !matches!(keep, Keep::Top(_)) || self.ranked.iter().any(|(_, ranked)| ranked == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Results;
    use crate::trial::{BestScore, Metric};
    use crate::worker::tests::trial;

    #[test]
    fn the_best_trials_keep_their_weights() {
        let trials: Vec<TrialId> = (0..5).map(|seed| trial("fine", seed, 10).id).collect();
        let folder = tempfile::tempdir().unwrap();
        let dir = Results::new(folder.path()).unwrap().sweep("s").unwrap();
        let mut leaders = Leaders::default();
        let mut end = |at: usize, value: f32, status: Status| {
            let best = Some(BestScore { metric: Metric::EvalLoss, step: 5, value });
            let outcome = Outcome { status, best, ..crate::state::tests::outcome(10) };
            dir.trial(&trials[at]).checkpoints().write_weights(b"weights").unwrap();
            leaders.add(&trials[at], &outcome, Keep::Top(2), &dir);
            (0..trials.len()).filter(|at| leaders.lead(&trials[*at], Keep::Top(2))).collect::<Vec<_>>()
        };
        assert_eq!(end(0, 0.9, Status::Finished), [0]);
        assert_eq!(end(1, 0.5, Status::Finished), [0, 1]);
        assert_eq!(end(2, 0.7, Status::Stopped), [1, 2], "the third best does not lead");
        assert_eq!(end(3, 0.1, Status::Diverged), [1, 2], "a diverged trial does not lead");
        assert_eq!(end(4, 0.6, Status::Finished), [1, 4]);
        assert_eq!(end(1, 0.8, Status::Finished), [1, 4], "a trial that was continued is ranked once");
    }

    #[test]
    fn a_higher_score_leads() {
        let trials: Vec<TrialId> = (0..2).map(|seed| trial("fine", seed, 10).id).collect();
        let folder = tempfile::tempdir().unwrap();
        let dir = Results::new(folder.path()).unwrap().sweep("s").unwrap();
        let mut leaders = Leaders::default();
        for (id, value) in trials.iter().zip([0.5, 0.75]) {
            let best = Some(BestScore { metric: Metric::MacroF1, step: 5, value });
            let outcome = Outcome { best, ..crate::state::tests::outcome(10) };
            dir.trial(id).checkpoints().write_weights(b"weights").unwrap();
            leaders.add(id, &outcome, Keep::WINNER, &dir);
        }
        assert_eq!(trials.iter().map(|id| leaders.lead(id, Keep::WINNER)).collect::<Vec<_>>(), [false, true]);
    }
}
