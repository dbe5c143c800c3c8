//! The data of the rules that compare trials (`stop.median`, `stop.asha`), kept up to date.

use std::collections::HashSet;

use super::order::{RunOrder, TrialSource};
use super::reconcile::is_wanted;
use crate::decide::{EvalHistory, JudgingOrder, judge_across, unjudged};
use crate::event::StopJudgement;
use crate::plan::Plan;
use crate::spec::StopAcross;
use crate::state::SweepState;
use crate::store::{RunDir, StoreError, read_curve};
use crate::trial::{EvalRow, TrialId};

/// The evaluations of all trials, also from earlier runs. Empty if no such rule is on.
#[derive(Debug, Default)]
pub(super) struct EarlyStopping {
    is_on: bool,
    /// Whether anything has changed since the rules last found nothing.
    is_stale: bool,
    order: JudgingOrder,
    evals: EvalHistory,
}

impl EarlyStopping {
    pub(super) fn new(order: &RunOrder<'_>, plan: &Plan, dir: &RunDir) -> Result<Self, StoreError> {
        let stop = &order.config.stop;
        let judging_order = JudgingOrder::new(stop, order.search.map(TrialSource::distance));
        let mut rules = Self { is_on: *stop != StopAcross::default(), order: judging_order, ..Self::default() };
        if rules.is_on {
            for trial in &plan.trials {
                rules.add(&trial.id, read_curve(&dir.trial(&trial.id).evals())?.rows);
            }
        }
        Ok(rules)
    }

    pub(super) fn add(&mut self, trial: &TrialId, rows: Vec<EvalRow>) {
        if self.is_on && !rows.is_empty() {
            self.is_stale = true;
            self.evals.see(trial, rows);
        }
    }

    pub(super) fn mark_stale(&mut self) {
        self.is_stale = true;
    }

    /// Ended trials of a search that are still to be judged.
    pub(super) fn unjudged(&self, state: &SweepState, order: &RunOrder<'_>) -> HashSet<TrialId> {
        if self.is_on { unjudged(state, &self.evals, &order.config.stop, self.order) } else { HashSet::new() }
    }

    /// The next judgement of the rules.
    pub(super) fn next(&mut self, state: &SweepState, order: &RunOrder<'_>) -> Option<(TrialId, StopJudgement)> {
        if !self.is_on || !self.is_stale {
            return None;
        }
        let judgement = judge_across(state, &mut self.evals, &order.config.stop, self.order, |id| is_wanted(order, id));
        self.is_stale = judgement.is_some();
        judgement
    }
}
