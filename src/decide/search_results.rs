//! What a search sees of a trial.

use crate::event::StopRule;
use crate::search::{Outdone, SearchResult, TrialResult};
use crate::spec::Evaluation;
use crate::state::{SweepState, TrialPhase};
use crate::trial::{Outcome, Status, TrialId};

/// What is known of a trial: lower values are better. `is_unjudged`: it has ended, and is still to be judged by a rule.
#[must_use]
pub fn trial_result(state: &SweepState, id: &TrialId, at: Evaluation, is_unjudged: bool) -> TrialResult {
    let Some(known) = state.get(id) else {
        return TrialResult { result: SearchResult::Running, rungs: 0, outdone: None };
    };
    let result = match &known.phase {
        TrialPhase::Ended(outcome) if !is_unjudged => ended(outcome, at),
        TrialPhase::Failed(_) => SearchResult::Failed,
        TrialPhase::Ended(_) | TrialPhase::Pending | TrialPhase::Running { .. } => SearchResult::Running,
    };
    let outdone = known.outdone.as_ref().map(|judgement| Outdone {
        step: judgement.step,
        value: judgement.value.map_or(f64::INFINITY, |value| judgement.metric.cost(f64::from(value))),
        at_rung: judgement.rule == StopRule::Asha,
    });
    TrialResult { result, rungs: known.rungs.len() as u64, outdone }
}

fn ended(outcome: &Outcome, at: Evaluation) -> SearchResult {
    let value = match at {
        Evaluation::Best => outcome.cost(),
        Evaluation::Final => outcome.final_cost(),
    };
    match outcome.status {
        Status::Finished if value.is_finite() => SearchResult::Ended(value),
        Status::Stopped if value.is_finite() => SearchResult::Stopped { step: outcome.steps, value },
        Status::Diverged => SearchResult::Diverged,
        _ => SearchResult::Failed,
    }
}
