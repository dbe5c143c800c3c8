//! `run.keep: winner` and `top`: the trials that are best by the metric of the sweep, whose weights are kept.

use crate::store::RunDir;
use crate::trial::{Keep, Outcome, Status, TrialId};

/// The leading trials with weights, best first. The weights of all other ended trials are deleted.
#[derive(Debug, Default)]
pub(super) struct Leaders {
    /// With the costs of their best evaluations.
    ranked: Vec<(f64, TrialId)>,
}

impl Leaders {
    /// Adds a trial that has ended.
    pub(super) fn add(&mut self, id: &TrialId, outcome: &Outcome, keep: Keep, dir: &RunDir) {
        let Keep::Top(count) = keep else { return };
        let checkpoints = |id: &TrialId| dir.trial(id).checkpoints();
        if !checkpoints(id).weights().is_file() {
            return;
        }
        // A stopped trial that was continued ends again.
        self.ranked.retain(|(_, ranked)| ranked != id);
        match Some(outcome.cost()).filter(|cost| cost.is_finite() && outcome.status != Status::Diverged) {
            Some(cost) => {
                self.ranked.push((cost, id.clone()));
                self.ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
            }
            None => checkpoints(id).remove_weights(),
        }
        for (_, id) in self.ranked.drain(count.min(self.ranked.len())..) {
            checkpoints(&id).remove_weights();
        }
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
        let checkpoints = |at: usize| dir.trial(&trials[at]).checkpoints();
        let mut leaders = Leaders::default();
        let mut end = |at: usize, value: f32, status: Status| {
            let best = Some(BestScore { metric: Metric::EvalLoss, step: 5, value });
            let outcome = Outcome { status, best, ..crate::state::tests::outcome(10) };
            checkpoints(at).write_weights(b"weights").unwrap();
            leaders.add(&trials[at], &outcome, Keep::Top(2), &dir);
            (0..trials.len()).filter(|at| checkpoints(*at).weights().is_file()).collect::<Vec<_>>()
        };
        assert_eq!(end(0, 0.9, Status::Finished), [0]);
        assert_eq!(end(1, 0.5, Status::Finished), [0, 1]);
        assert_eq!(end(2, 0.7, Status::Stopped), [1, 2], "the third best loses its weights");
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
        assert_eq!(
            trials.iter().map(|id| dir.trial(id).checkpoints().weights().is_file()).collect::<Vec<_>>(),
            [false, true]
        );
    }
}
