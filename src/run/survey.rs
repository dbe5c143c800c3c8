//! A sweep as it stands on disk, also while another process runs it.

use std::collections::HashMap;

use crate::analysis::{Run, Sweep};
use crate::plan::Plan;
use crate::state::{SweepState, TrialPhase, TrialState};
use crate::store::{RunDir, StoreError, TrialDir, read_curve, read_journal};
use crate::trial::{DiagnosticRow, EvalRow, MetricRow, Outcome, Status, Trial, TrialId};

/// Every trial of the plan with its curves and how it stands. Takes no lock and changes nothing.
///
/// The trial folders decide what has ended; the journal tells failed from pending; and a trial runs only while the
/// process lives that claimed it.
pub fn survey(plan: &Plan, dir: &RunDir) -> Result<Sweep, StoreError> {
    look(plan, dir, Vec::new())
}

/// Looks again and again at the same folder. A trial that has ended is read once: its files never change.
#[derive(Debug, Default)]
pub struct Surveyor {
    sweep: Option<Sweep>,
}

impl Surveyor {
    /// As [`survey`].
    pub fn look(&mut self, plan: &Plan, dir: &RunDir) -> Result<&Sweep, StoreError> {
        let seen = self.sweep.take().map(|sweep| sweep.runs).unwrap_or_default();
        Ok(self.sweep.insert(look(plan, dir, seen)?))
    }
}

/// `seen`: what an earlier look found.
fn look(plan: &Plan, dir: &RunDir, seen: Vec<Run>) -> Result<Sweep, StoreError> {
    let ended = seen.into_iter().filter(|run| run.outcome.is_some());
    let mut ended: HashMap<TrialId, Run> = ended.map(|run| (run.trial.id.clone(), run)).collect();
    let journal = read_journal(&dir.journal())?;
    let state = SweepState::fold(plan, &journal.records);
    let alive = dir.holder().is_some();
    let mut runs = Vec::with_capacity(plan.trials.len());
    for trial in &plan.trials {
        // An outcome that was taken away, as by a fresh start, makes the trial an open one again.
        let known = ended.remove(&trial.id).filter(|_| dir.trial(&trial.id).has_outcome());
        runs.push(match known {
            Some(run) => run,
            None => run(trial, state.get(&trial.id), dir, alive)?,
        });
    }
    Ok(Sweep { name: plan.name.clone(), axes: plan.axes.clone(), runs })
}

/// How each of `trials` stands, curves unread.
pub fn statuses(trials: &[TrialId], dir: &RunDir) -> Result<Vec<Status>, StoreError> {
    let journal = read_journal(&dir.journal())?;
    let mut state = SweepState::new(trials);
    journal.records.iter().for_each(|record| state.apply(&record.event));
    let alive = dir.holder().is_some();
    let of = |id: &TrialId| Ok(stands(state.get(id), outcome(&dir.trial(id))?.as_ref(), alive));
    trials.iter().map(of).collect()
}

/// Trials that earlier runs trained here and that are not in the plan any more, and how each stands.
pub fn trials_out_of_plan(plan: &Plan, dir: &RunDir) -> Result<Vec<(TrialId, Status)>, StoreError> {
    let journal = read_journal(&dir.journal())?;
    let state = SweepState::fold(plan, &journal.records);
    let there = state.removed().filter(|(id, _)| dir.trial(id).path().exists());
    there.map(|(id, known)| Ok((id.clone(), stands(Some(known), outcome(&dir.trial(id))?.as_ref(), false)))).collect()
}

/// The outcome in a trial's folder; a damaged one counts as none.
fn outcome(folder: &TrialDir) -> Result<Option<Outcome>, StoreError> {
    match folder.outcome() {
        Err(StoreError::Damaged { .. }) => Ok(None),
        other => other,
    }
}

/// What the folder and the journal say together. `alive`: whether the process that claimed running trials lives.
fn stands(known: Option<&TrialState>, outcome: Option<&Outcome>, alive: bool) -> Status {
    match (outcome, known.map(|known| &known.phase)) {
        (Some(outcome), _) => outcome.status,
        // The journal remembers an outcome that is gone; the next run trains the trial again.
        (None, None | Some(TrialPhase::Ended(_))) => Status::Pending,
        (None, Some(phase)) => status(phase, alive),
    }
}

/// A trial by what its folder alone says, wherever that came from; None if the folder does not say what was trained.
pub fn survey_folder(folder: &TrialDir) -> Result<Option<Run>, StoreError> {
    let Some(record) = folder.record()? else { return Ok(None) };
    let outcome = outcome(folder)?;
    let status = outcome.as_ref().map_or(Status::Running, |outcome| outcome.status);
    read(record.trial, status, None, outcome, folder).map(Some)
}

/// One trial of a sweep that this process runs.
pub fn survey_trial(trial: &Trial, known: &TrialState, dir: &RunDir) -> Result<Run, StoreError> {
    run(trial, Some(known), dir, true)
}

fn run(trial: &Trial, known: Option<&TrialState>, dir: &RunDir, alive: bool) -> Result<Run, StoreError> {
    let folder = dir.trial(&trial.id);
    let outcome = outcome(&folder)?;
    let status = stands(known, outcome.as_ref(), alive);
    let error = known.filter(|_| outcome.is_none()).and_then(error);
    read(trial.clone(), status, error, outcome, &folder)
}

/// With the curves of its folder.
fn read(
    trial: Trial,
    status: Status,
    error: Option<String>,
    outcome: Option<Outcome>,
    folder: &TrialDir,
) -> Result<Run, StoreError> {
    Ok(Run {
        trial,
        status,
        error,
        metrics: read_curve::<MetricRow>(&folder.metrics())?.rows,
        evals: read_curve::<EvalRow>(&folder.evals())?.rows,
        diagnostics: read_curve::<DiagnosticRow>(&folder.diagnostics())?.rows,
        outcome,
    })
}

/// `alive`: whether the process that claimed running trials lives.
pub(super) fn status(phase: &TrialPhase, alive: bool) -> Status {
    match phase {
        TrialPhase::Running { .. } if alive => Status::Running,
        TrialPhase::Running { .. } | TrialPhase::Pending => Status::Pending,
        TrialPhase::Ended(outcome) => outcome.status,
        TrialPhase::Failed(_) => Status::Failed,
    }
}

/// Why a trial failed for good.
pub(super) fn error(known: &TrialState) -> Option<String> {
    match &known.phase {
        TrialPhase::Failed(failure) => Some(failure.to_string()),
        _ => None,
    }
}
