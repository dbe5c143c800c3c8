//! A sweep as it is on disk, also while another process runs it.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::analysis::{Run, Sweep};
use crate::event::{Event, Record};
use crate::plan::Plan;
use crate::search::SearchHistory;
use crate::state::{SweepState, TrialPhase, TrialState};
use crate::store::{RunDir, StoreError, TrialDir, read_curve, read_journal};
use crate::trial::{ClassScores, DiagnosticRow, EvalRow, MetricRow, Outcome, SHOWN_NAMES, Status, Trial, TrialId};

/// Every trial of the plan with its status and its curves. Takes no lock and changes nothing.
///
/// The folders of the trials decide which have ended, and the journal which have failed. A trial runs only while the process
/// that claimed it is alive.
pub fn survey(plan: &Plan, dir: &RunDir) -> Result<Sweep, StoreError> {
    Journaled::read(plan, dir)?.look(dir, Vec::new(), Reading::Curves)
}

/// As [`survey`], but with the curves of those trials alone that have not ended. An outcome says enough for a table, and the curves of
/// 100,000 trials are gigabytes. Also the trials that have left the sweep.
pub fn survey_outcomes(plan: &Plan, dir: &RunDir) -> Result<(Sweep, RemovedTrials), StoreError> {
    let journaled = Journaled::read(plan, dir)?;
    let removed = RemovedTrials::find(&journaled.state, dir)?;
    Ok((journaled.look(dir, Vec::new(), Reading::Outcomes)?, removed))
}

/// Looks at the same folder many times, for reports. An ended trial is read once: its files do not change. The scores of each class stay
/// on the disk, because no report shows them over the steps.
#[derive(Debug, Default)]
pub struct Surveyor {
    sweep: Option<Sweep>,
}

impl Surveyor {
    /// As [`survey`], without the scores of each class.
    pub fn look(&mut self, plan: &Plan, dir: &RunDir) -> Result<&Sweep, StoreError> {
        let seen = self.sweep.take().map(|sweep| sweep.runs).unwrap_or_default();
        Ok(self.sweep.insert(Journaled::read(plan, dir)?.look(dir, seen, Reading::OfReport)?))
    }
}

/// What is read of a trial that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Its outcome alone.
    Outcomes,
    /// Its curves, without the scores of each class.
    OfReport,
    /// Its curves.
    Curves,
}

/// What the journal says of a sweep. The events themselves, which take more memory, are not kept.
struct Journaled<'p> {
    /// With what a search has drawn.
    plan: Cow<'p, Plan>,
    state: SweepState,
    search_end: Option<String>,
}

impl<'p> Journaled<'p> {
    fn read(plan: &'p Plan, dir: &RunDir) -> Result<Self, StoreError> {
        let records = read_journal(&dir.journal())?.records;
        let plan = with_drawn(plan, &records);
        let state = SweepState::fold(&plan, &records);
        Ok(Self { plan, state, search_end: Event::search_end(&records).map(str::to_owned) })
    }

    /// `runs`: the result of an earlier look at the same plan.
    fn look(self, dir: &RunDir, mut runs: Vec<Run>, reading: Reading) -> Result<Sweep, StoreError> {
        let Self { plan, state, search_end } = self;
        let alive = is_running(&state, dir);
        let there = dir.trials_there();
        runs.truncate(plan.trials.len());
        runs.reserve_exact(plan.trials.len() - runs.len());
        for (at, trial) in plan.trials.iter().enumerate() {
            // Without its outcome file, as after `run --fresh`, the trial is open again.
            let is_read =
                |run: &Run| run.trial.id == trial.id && run.outcome.is_some() && dir.trial(&trial.id).has_outcome();
            if runs.get(at).is_some_and(is_read) {
                continue;
            }
            let known = state.get(&trial.id);
            let run = if there.contains(&trial.id) {
                run(trial, known, dir, alive, reading)?
            } else {
                without_folder(trial, known, alive)
            };
            match runs.get_mut(at) {
                Some(before) => *before = run,
                None => runs.push(run),
            }
        }
        let search = plan.search.clone().map(|search| SearchHistory { ended: search_end, ..search });
        Ok(Sweep { name: plan.name.clone(), axes: plan.axes.clone(), search, runs })
    }
}

/// The plan with the trials that the search of the last run has drawn since it was made. A run of another plan adds nothing.
#[must_use]
pub fn with_drawn<'p>(plan: &'p Plan, records: &[Record]) -> Cow<'p, Plan> {
    let has_drawn = Event::drawn(records).next().is_some();
    let of_run: HashSet<TrialId> =
        if has_drawn { Event::planned(records).into_iter().collect() } else { HashSet::new() };
    if plan.trials.iter().any(|trial| !of_run.contains(&trial.id)) {
        return Cow::Borrowed(plan);
    }
    let mut known: HashSet<TrialId> = plan.trials.iter().map(|trial| trial.id.clone()).collect();
    let mut plan = Cow::Borrowed(plan);
    for record in records {
        if let Event::ConfigurationSuggested { number, by, point, trials } = &record.event
            && trials.iter().all(|trial| of_run.contains(&trial.id) && known.insert(trial.id.clone()))
        {
            plan.to_mut().draw(*number, *by, point, trials);
        }
    }
    plan
}

/// The status of each of `trials`. Reads no curves.
pub fn statuses(trials: &[TrialId], dir: &RunDir) -> Result<Vec<Status>, StoreError> {
    let journal = read_journal(&dir.journal())?;
    let mut state = SweepState::new(trials);
    journal.records.iter().for_each(|record| state.apply(&record.event));
    let alive = is_running(&state, dir);
    let there = dir.trials_there();
    let of = |id: &TrialId| {
        let (folder, known) = (dir.trial(id), state.get(id));
        if !there.contains(id) {
            return Ok(status_of(known, None, alive));
        }
        Ok(status_of(known, outcome(&folder)?.as_ref(), alive || runs_in_queue(known, &folder)))
    };
    trials.iter().map(of).collect()
}

/// Trials that earlier runs trained in the folder of a sweep and that are no longer in its plan.
#[derive(Debug)]
pub struct RemovedTrials {
    pub count: usize,
    /// The first [`SHOWN_NAMES`] of them, each with its status.
    pub first: Vec<(TrialId, Status)>,
}

impl RemovedTrials {
    fn find(state: &SweepState, dir: &RunDir) -> Result<Self, StoreError> {
        let there = dir.trials_there();
        let removed: Vec<_> = state.removed().filter(|(id, _)| there.contains(*id)).collect();
        let first = removed.iter().take(SHOWN_NAMES).map(|(id, known)| {
            let outcome = outcome(&dir.trial(id))?;
            Ok(((*id).clone(), status_of(Some(known), outcome.as_ref(), false)))
        });
        Ok(Self { count: removed.len(), first: first.collect::<Result<_, StoreError>>()? })
    }
}

/// The outcome in a trial's folder; a damaged one counts as none.
fn outcome(folder: &TrialDir) -> Result<Option<Outcome>, StoreError> {
    match folder.outcome() {
        Err(StoreError::Damaged { .. }) => Ok(None),
        other => other,
    }
}

/// Whether a process that runs the sweep is alive. Asked only if it matters: the answer may take seconds.
fn is_running(state: &SweepState, dir: &RunDir) -> bool {
    state.running().next().is_some() && dir.is_held()
}

/// Whether the trial has a job that has started, which continues without the process that has queued it.
fn runs_in_queue(known: Option<&TrialState>, folder: &TrialDir) -> bool {
    known.is_some_and(|known| match known.phase {
        TrialPhase::Running { attempt, .. } => known.job.is_some() && folder.attempt(attempt).started().is_some(),
        _ => false,
    })
}

/// The status by folder and journal together. `alive`: whether the process that claimed the running trials is alive.
fn status_of(known: Option<&TrialState>, outcome: Option<&Outcome>, alive: bool) -> Status {
    match (outcome, known.map(|known| &known.phase)) {
        (Some(outcome), _) => outcome.status,
        // The journal has an outcome whose file is gone; the next run trains the trial again.
        (None, None | Some(TrialPhase::Ended(_))) => Status::Pending,
        (None, Some(phase)) => status(phase, alive),
    }
}

/// A trial read from its folder alone. None if the folder has no `config.json`.
pub fn survey_folder(folder: &TrialDir) -> Result<Option<Run>, StoreError> {
    let Some(record) = folder.record()? else { return Ok(None) };
    let outcome = outcome(folder)?;
    let status = outcome.as_ref().map_or(Status::Running, |outcome| outcome.status);
    with_curves(without_curves(record.trial, status, None, outcome), folder).map(Some)
}

/// One trial of a sweep that this process runs.
pub fn survey_trial(trial: &Trial, known: &TrialState, dir: &RunDir) -> Result<Run, StoreError> {
    run(trial, Some(known), dir, true, Reading::Curves)
}

fn run(
    trial: &Trial,
    known: Option<&TrialState>,
    dir: &RunDir,
    alive: bool,
    reading: Reading,
) -> Result<Run, StoreError> {
    let folder = dir.trial(&trial.id);
    let outcome = outcome(&folder)?;
    let alive = alive || (outcome.is_none() && runs_in_queue(known, &folder));
    let status = status_of(known, outcome.as_ref(), alive);
    let error = known.filter(|_| outcome.is_none()).and_then(error);
    let run = without_curves(trial.clone(), status, error, outcome);
    if run.outcome.is_some() && reading == Reading::Outcomes {
        folder.check_curves()?;
        return Ok(run);
    }
    let mut run = with_curves(run, &folder)?;
    if reading == Reading::OfReport {
        run.evals.iter_mut().for_each(|row| row.scores.classes = ClassScores::default());
    }
    Ok(run)
}

/// A trial without a folder: most trials of a large sweep that has just begun.
fn without_folder(trial: &Trial, known: Option<&TrialState>, alive: bool) -> Run {
    without_curves(trial.clone(), status_of(known, None, alive), known.and_then(error), None)
}

fn without_curves(trial: Trial, status: Status, error: Option<String>, outcome: Option<Outcome>) -> Run {
    Run { trial, status, error, metrics: Vec::new(), evals: Vec::new(), diagnostics: Vec::new(), outcome }
}

/// Adds the curves in its folder.
fn with_curves(run: Run, folder: &TrialDir) -> Result<Run, StoreError> {
    Ok(Run {
        metrics: read_curve::<MetricRow>(&folder.metrics())?.rows,
        evals: read_curve::<EvalRow>(&folder.evals())?.rows,
        diagnostics: read_curve::<DiagnosticRow>(&folder.diagnostics())?.rows,
        ..run
    })
}

/// `alive`: whether the process that claimed the running trials is alive.
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
