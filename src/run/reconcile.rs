//! Compares the journal with the folders of the trials.
//!
//! The folders decide which trials have ended. What they show and the journal does not is returned as events.

use std::collections::HashSet;

use super::order::RunOrder;
use crate::event::Event;
use crate::spec::Probing;
use crate::state::{SweepState, TrialPhase, TrialState};
use crate::store::{DamagedLine, RunDir, StoreError, TrialDir, read_curve};
use crate::trial::{DiagnosticRow, EvalRow, MetricRow, Outcome, SHOWN_NAMES, Status, TrialId, first_names};

/// Events that the journal lacks, and what the user should know.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) events: Vec<Event>,
    pub(super) warnings: Vec<String>,
    /// Stopped trials that continue: their outcomes must be renamed once that is journaled.
    pub(super) continued: Vec<TrialId>,
}

/// Looks at the folder of every trial. The caller holds the lock, so no other parent runs. Workers of a dead parent may
/// still be ending; what they publish from now on is found when their trial is launched again.
pub(super) fn reconcile(order: &RunOrder<'_>, dir: &RunDir, state: &SweepState) -> Result<Findings, StoreError> {
    let mut findings = Findings::default();
    for (id, known) in state.planned() {
        let folder = dir.trial(id);
        match (&known.phase, folder.has_outcome()) {
            (TrialPhase::Ended(_), true) if order.continued.contains(id) => {
                if known.phase.was_stopped() {
                    findings.events.push(Event::TrialContinued { trial: id.clone() });
                    findings.continued.push(id.clone());
                } else {
                    findings.warnings.push(format!(
                        "trial {id} was not stopped by a rule of the sweep: there is nothing to continue"
                    ));
                }
            }
            (TrialPhase::Ended(outcome), _) => recheck(order, &folder, (id, known), outcome, &mut findings)?,
            (_, true) => match folder.outcome() {
                Ok(Some(outcome)) => {
                    let attempt = known.attempts.max(1);
                    if order.config.probe == Probing::Off {
                        prune(order, &folder, outcome.status)?;
                    }
                    let outcome = Box::new(outcome);
                    findings.events.push(Event::TrialFinished { trial: id.clone(), attempt, outcome });
                }
                Err(error @ StoreError::Damaged { .. }) => {
                    findings.warnings.push(format!("{error}: renamed, and the trial is trained again"));
                    folder.set_outcome_aside()?;
                }
                Ok(None) => {}
                Err(error) => return Err(error),
            },
            (TrialPhase::Failed(_), false) if order.retry_failed && is_wanted(order, id) => {
                findings.events.push(Event::TrialRequeued { trial: id.clone() });
            }
            _ => {}
        }
    }
    findings.warnings.extend(trials_out_of_plan(dir, state));
    let unknown = dir.unknown_entries();
    let shown = unknown.iter().take(SHOWN_NAMES);
    findings.warnings.extend(shown.map(|entry| format!("{}: not a trial; left alone", entry.display())));
    if let Some(more) = unknown.len().checked_sub(SHOWN_NAMES).filter(|more| *more > 0) {
        findings.warnings.push(format!("{}: {more} more entries are not trials; left alone", dir.trials().display()));
    }
    // Only this process may have workers now. Workers of an earlier parent end by themselves. This includes trials that
    // are no longer in the plan.
    let finished: HashSet<&TrialId> = findings.events.iter().filter_map(finished).collect();
    let orphans: Vec<Event> = state
        .known()
        .filter(|(id, _)| !finished.contains(id))
        // A job on a cluster does not end with its parent.
        .filter(|(_, known)| order.queue.is_none() || known.job.is_none())
        .filter_map(|(id, known)| match known.phase {
            TrialPhase::Running { attempt, .. } => Some(Event::AttemptInterrupted { trial: id.clone(), attempt }),
            _ => None,
        })
        .collect();
    findings.events.extend(orphans);
    Ok(findings)
}

/// Looks once more at the folders of the ended trials of this run.
pub(super) fn recheck_ended(order: &RunOrder<'_>, dir: &RunDir, state: &SweepState) -> Result<Findings, StoreError> {
    let mut findings = Findings::default();
    for (id, known) in state.planned().filter(|(id, _)| is_wanted(order, id)) {
        if let TrialPhase::Ended(outcome) = &known.phase {
            recheck(order, &dir.trial(id), (id, known), outcome, &mut findings)?;
        }
    }
    Ok(findings)
}

/// Compares the files of an ended trial with its journaled outcome. The outcome can be written again from the journal; a
/// curve can only be trained again.
fn recheck(
    order: &RunOrder<'_>,
    folder: &TrialDir,
    (id, known): (&TrialId, &TrialState),
    outcome: &Outcome,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let file = folder.outcome_file();
    let damage = match folder.outcome() {
        Ok(Some(_)) => None,
        Ok(None) => Some("is gone".to_owned()),
        Err(StoreError::Damaged { source, .. }) => Some(format!("cannot be read ({source})")),
        Err(error) => return Err(error),
    };
    let missing = missing_files(folder, outcome)?;
    if damage.is_none() && missing.is_none() {
        // The process that journaled this outcome may have died before it deleted the states.
        let is_left = order.config.probe == Probing::Off && !folder.checkpoints().is_pruned();
        return if is_left { prune(order, folder, outcome.status) } else { Ok(()) };
    }
    if folder.has_outcome() {
        folder.set_outcome_aside()?;
    }
    let file = file.display();
    let warning = match (damage, missing) {
        (Some(damage), None) => {
            folder.publish(&folder.attempt(known.attempts.max(1)), outcome)?;
            format!("trial {id}: {file} {damage}: written again from the journal")
        }
        (None, Some(missing)) => format!("trial {id}: {missing}: its outcome is renamed, and it is trained again"),
        (damage, _) => {
            format!(
                "trial {id} has ended by the journal, but {file} {}: it is trained again",
                damage.unwrap_or_default()
            )
        }
    };
    if !folder.has_outcome() {
        findings.events.push(Event::TrialRequeued { trial: id.clone() });
    }
    findings.warnings.push(warning);
    Ok(())
}

/// A warning about trials that are no longer in the plan and whose results still exist.
fn trials_out_of_plan(dir: &RunDir, state: &SweepState) -> Option<String> {
    let there = dir.trials_there();
    let ids: Vec<&str> =
        state.removed().map(|(id, _)| id).filter(|id| there.contains(*id)).map(TrialId::as_str).collect();
    let (trials, are) = if ids.len() == 1 { ("trial", "is") } else { ("trials", "are") };
    (!ids.is_empty()).then(|| {
        format!(
            "{} {trials} in {} {are} no longer in the sweep: kept there, and left out of tables and figures ({})",
            ids.len(),
            dir.trials().display(),
            first_names(&ids, ids.len())
        )
    })
}

/// What the files of an ended trial lack, if anything. A curve with a hole would be drawn as if it were complete.
pub(super) fn missing_files(folder: &TrialDir, outcome: &Outcome) -> Result<Option<String>, StoreError> {
    let metrics = read_curve::<MetricRow>(&folder.metrics())?.rows;
    if metrics.len() as u64 != outcome.steps {
        let (path, rows, steps) = (folder.metrics(), metrics.len(), outcome.steps);
        return Ok(Some(format!("it has ended after {steps} steps, but {} holds {rows}", path.display())));
    }
    let evals = read_curve::<EvalRow>(&folder.evals())?.rows;
    // A finished trial was evaluated after its last step.
    let is_complete = outcome.status != Status::Finished || evals.last().is_some_and(|row| row.step == outcome.steps);
    if !is_complete {
        let (path, steps) = (folder.evals(), outcome.steps);
        return Ok(Some(format!("it has ended after {steps} steps, but {} ends before", path.display())));
    }
    let diagnostics = read_curve::<DiagnosticRow>(&folder.diagnostics())?.rows;
    // Where classes were counted, the best evaluation has left its details.
    let has_details = outcome.best.is_some() && diagnostics.iter().any(|row| !row.predicted.is_empty());
    Ok(folder.lost_file(has_details)?.map(|path| format!("{} is gone", path.display())))
}

/// Deletes the states of an ended trial that are not to be kept.
fn prune(order: &RunOrder<'_>, folder: &TrialDir, status: Status) -> Result<(), StoreError> {
    if can_continue(order, status) { Ok(()) } else { folder.checkpoints().prune(order.config.keep) }
}

/// Whether a trial that ended with this status can be continued: a probe cannot.
pub(super) fn can_continue(order: &RunOrder<'_>, status: Status) -> bool {
    let are_probes = order.plan.trials.first().is_some_and(|trial| trial.config.probe.is_some());
    status == Status::Stopped && !are_probes
}

fn finished(event: &Event) -> Option<&TrialId> {
    match event {
        Event::TrialFinished { trial, .. } => Some(trial),
        _ => None,
    }
}

pub(super) fn is_wanted(order: &RunOrder<'_>, id: &TrialId) -> bool {
    order.only.is_none_or(|only| only.contains(id))
}

/// Warnings about lines of the journal that cannot be read.
pub(super) fn damage_warnings(dir: &RunDir, damaged: &[DamagedLine]) -> Vec<String> {
    let path = dir.journal();
    let warning = |DamagedLine { line, message }: &DamagedLine| {
        format!(
            "{}:{line}: invalid journal line skipped ({message}); the folders of the trials show what happened",
            path.display()
        )
    };
    damaged.iter().map(warning).collect()
}
