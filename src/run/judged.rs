//! What the rules that hold trials against one another need to see, kept up to date.

use super::RunOrder;
use super::open::is_wanted;
use crate::decide::{EvalHistory, judge_across};
use crate::event::StopJudgement;
use crate::spec::StopAcross;
use crate::state::SweepState;
use crate::store::{RunDir, StoreError, read_curve};
use crate::trial::{EvalRow, TrialId};

/// The evaluations of all trials, from earlier runs too. Holds nothing where no such rule is on.
#[derive(Debug, Default)]
pub(super) struct Judged {
    is_on: bool,
    /// Whether anything has changed since the rules last had nothing to say.
    stale: bool,
    scores: EvalHistory,
}

impl Judged {
    pub(super) fn new(order: &RunOrder<'_>, dir: &RunDir) -> Result<Self, StoreError> {
        let mut judged = Self { is_on: order.config.stop != StopAcross::default(), ..Self::default() };
        if judged.is_on {
            for trial in &order.plan.trials {
                judged.see(&trial.id, read_curve(&dir.trial(&trial.id).evals())?.rows);
            }
        }
        Ok(judged)
    }

    pub(super) fn see(&mut self, trial: &TrialId, rows: Vec<EvalRow>) {
        if self.is_on && !rows.is_empty() {
            self.stale = true;
            self.scores.see(trial, rows);
        }
    }

    pub(super) fn touch(&mut self) {
        self.stale = true;
    }

    /// What the rules have to say next of a running trial.
    pub(super) fn next(&mut self, state: &SweepState, order: &RunOrder<'_>) -> Option<(TrialId, StopJudgement)> {
        if !self.is_on || !self.stale {
            return None;
        }
        let said = judge_across(state, &mut self.scores, &order.config.stop, |id| is_wanted(order, id));
        self.stale = said.is_some();
        said
    }
}
