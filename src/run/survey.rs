//! A sweep as it stands on disk, also while another process runs it.

use crate::analysis::{Run, Sweep};
use crate::plan::Plan;
use crate::state::{Standing, SweepState, TrialState};
use crate::store::{RunDir, StoreError, read_curve, read_journal};
use crate::trial::{DiagnosticRow, EvalRow, MetricRow, Status, Trial};

/// Every trial of the plan with its curves and how it stands. Takes no lock and changes nothing.
///
/// The trial folders decide what has ended; the journal tells failed from pending; and a trial runs only while the
/// process lives that claimed it.
pub fn survey(plan: &Plan, dir: &RunDir) -> Result<Sweep, StoreError> {
    let journal = read_journal(&dir.journal())?;
    let state = SweepState::fold(plan, &journal.records);
    let alive = dir.holder().is_some();
    let runs =
        plan.trials.iter().map(|trial| run(trial, state.get(&trial.id), dir, alive)).collect::<Result<_, _>>()?;
    Ok(Sweep { name: plan.name.clone(), axes: plan.axes.clone(), runs })
}

fn run(trial: &Trial, known: Option<&TrialState>, dir: &RunDir, alive: bool) -> Result<Run, StoreError> {
    let folder = dir.trial(&trial.id);
    let outcome = match folder.outcome() {
        Err(StoreError::Damaged { .. }) => None,
        other => other?,
    };
    let status = match (&outcome, known.map(|known| &known.standing)) {
        (Some(outcome), _) => outcome.status,
        // The journal remembers an outcome that is gone; the next run trains the trial again.
        (None, None | Some(Standing::Ended(_))) => Status::Pending,
        (None, Some(standing)) => status(standing, alive),
    };
    Ok(Run {
        trial: trial.clone(),
        status,
        error: known.filter(|_| outcome.is_none()).and_then(error),
        metrics: read_curve::<MetricRow>(&folder.metrics())?.rows,
        evals: read_curve::<EvalRow>(&folder.evals())?.rows,
        diagnostics: read_curve::<DiagnosticRow>(&folder.diagnostics())?.rows,
        outcome,
    })
}

/// `alive`: whether the process that claimed running trials lives.
pub(super) fn status(standing: &Standing, alive: bool) -> Status {
    match standing {
        Standing::Running { .. } if alive => Status::Running,
        Standing::Running { .. } | Standing::Pending => Status::Pending,
        Standing::Ended(outcome) => outcome.status,
        Standing::Failed(_) => Status::Failed,
    }
}

/// Why a trial failed for good.
pub(super) fn error(known: &TrialState) -> Option<String> {
    match &known.standing {
        Standing::Failed(failure) => Some(failure.to_string()),
        _ => None,
    }
}
