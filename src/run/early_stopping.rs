//! The data of the rules that compare trials (`stop.median`, `stop.asha`), kept up to date.

use std::collections::HashSet;

use super::order::{RunOrder, TrialSource};
use super::reconcile::is_wanted;
use crate::decide::{EvalHistory, JudgingOrder, judge_across, unjudged};
use crate::event::StopJudgement;
use crate::plan::Plan;
use crate::spec::{AshaOrder, StopAcross};
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

/// A search judges by the plan, unless the file says otherwise, so that its sequence depends on no machine.
fn judging_order(order: &RunOrder<'_>) -> JudgingOrder {
    let written = order.config.stop.asha.as_ref().and_then(|rule| rule.order);
    let by_plan = written.unwrap_or(if order.search.is_some() { AshaOrder::Plan } else { AshaOrder::Arrival });
    let distance = (by_plan == AshaOrder::Plan).then(|| order.search.map_or(1, TrialSource::distance));
    JudgingOrder { distance, judges_ended: order.search.is_some() }
}

impl EarlyStopping {
    pub(super) fn new(order: &RunOrder<'_>, plan: &Plan, dir: &RunDir) -> Result<Self, StoreError> {
        let is_on = order.config.stop != StopAcross::default();
        let mut rules = Self { is_on, order: judging_order(order), ..Self::default() };
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

    /// The next judgement of the rules about a running trial.
    pub(super) fn next(&mut self, state: &SweepState, order: &RunOrder<'_>) -> Option<(TrialId, StopJudgement)> {
        if !self.is_on || !self.is_stale {
            return None;
        }
        let judgement = judge_across(state, &mut self.evals, &order.config.stop, self.order, |id| is_wanted(order, id));
        self.is_stale = judgement.is_some();
        judgement
    }
}
