//! What a search sees of a trial.

use crate::search::SearchResult;
use crate::state::{SweepState, TrialPhase};
use crate::trial::{Outcome, Status, TrialId};

/// The result of a trial for the sampler, by the best evaluation: lower values are better.
#[must_use]
pub fn search_result(state: &SweepState, id: &TrialId) -> SearchResult {
    match state.get(id).map(|known| &known.phase) {
        Some(TrialPhase::Ended(outcome)) => ended(outcome),
        Some(TrialPhase::Failed(_)) => SearchResult::Failed,
        Some(TrialPhase::Pending | TrialPhase::Running { .. }) | None => SearchResult::Running,
    }
}

fn ended(outcome: &Outcome) -> SearchResult {
    let value = outcome.cost();
    match outcome.status {
        Status::Finished if value.is_finite() => SearchResult::Ended(value),
        Status::Stopped if value.is_finite() => SearchResult::Stopped { step: outcome.steps, value },
        Status::Diverged => SearchResult::Diverged,
        _ => SearchResult::Failed,
    }
}
