//! Taking up a sweep: what the journal says, held against what the trial folders say.

use std::collections::HashSet;

use super::RunOrder;
use crate::event::Event;
use crate::spec::Probing;
use crate::state::{SweepState, TrialPhase, TrialState};
use crate::store::{Damage, RunDir, StoreError, TrialDir, read_curve};
use crate::trial::{EvalRow, MetricRow, Outcome, Status, TrialId};

/// What has happened that the journal does not know, and what the user should know.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) events: Vec<Event>,
    pub(super) warnings: Vec<String>,
    /// Trials whose outcomes are to be taken out of the way, once that is journaled.
    pub(super) reopened: Vec<TrialId>,
}

/// Looks at the folder of every trial. The caller holds the lock, so no other parent is at work; workers of a dead one may
/// still be ending, and what they publish from now on is found when their trial is next looked at.
pub(super) fn reconcile(order: &RunOrder<'_>, dir: &RunDir, state: &SweepState) -> Result<Findings, StoreError> {
    let mut findings = Findings::default();
    for (id, known) in state.planned() {
        let folder = dir.trial(id);
        match (&known.phase, folder.has_outcome()) {
            (TrialPhase::Ended(_), true) if order.continued.contains(id) => {
                if known.phase.was_stopped() {
                    findings.events.push(Event::TrialContinued { trial: id.clone() });
                    findings.reopened.push(id.clone());
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
                    findings.events.push(Event::TrialFinished { trial: id.clone(), attempt, outcome });
                }
                Err(error @ StoreError::Damaged { .. }) => {
                    findings.warnings.push(format!("{error}: put aside, and the trial is trained again"));
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
    findings.warnings.extend(removed(dir, state));
    findings.warnings.extend(
        dir.strangers().iter().map(|stranger| format!("{}: no trial of this program; left alone", stranger.display())),
    );
    // Nobody but this process may have workers now; whoever was running is an orphan and ends by itself. Trials that left
    // the plan are freed too.
    let settled: HashSet<&TrialId> = findings.events.iter().filter_map(finished).collect();
    let orphans: Vec<Event> = state
        .known()
        .filter(|(id, _)| !settled.contains(id))
        .filter_map(|(id, known)| match known.phase {
            TrialPhase::Running { attempt, .. } => Some(Event::AttemptInterrupted { trial: id.clone(), attempt }),
            _ => None,
        })
        .collect();
    findings.events.extend(orphans);
    Ok(findings)
}

/// Holds an ended trial's files against what the journal says of it. Its outcome can be written again from there, its
/// curves can only be trained again.
fn recheck(
    order: &RunOrder<'_>,
    folder: &TrialDir,
    (id, known): (&TrialId, &TrialState),
    outcome: &Outcome,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let file = folder.outcome_file();
    let wrong = match folder.outcome() {
        Ok(Some(_)) => None,
        Ok(None) => Some("is gone".to_owned()),
        Err(StoreError::Damaged { message, .. }) => Some(format!("cannot be read ({message})")),
        Err(error) => return Err(error),
    };
    let lacking = lacking(folder, outcome)?;
    if wrong.is_none() && lacking.is_none() {
        // The process that journaled this outcome may not have lived to prune.
        let is_left = order.config.probe == Probing::Off && !folder.checkpoints().is_pruned();
        return if is_left { prune(order, folder, outcome.status) } else { Ok(()) };
    }
    if folder.has_outcome() {
        folder.set_outcome_aside()?;
    }
    findings.warnings.push(match (wrong, lacking) {
        (Some(wrong), None) => {
            folder.publish(&folder.attempt(known.attempts.max(1)), outcome)?;
            format!("trial {id}: {} {wrong}: written again from the journal", file.display())
        }
        (wrong, what) => {
            findings.events.push(Event::TrialRequeued { trial: id.clone() });
            match (wrong, what) {
                (None, Some(what)) => format!(
                    "trial {id} has ended after {} steps, but {what}: its outcome is put aside, and it is trained again",
                    outcome.steps
                ),
                (wrong, _) => format!(
                    "trial {id} has ended by the journal, but {} {}: it is trained again",
                    file.display(),
                    wrong.unwrap_or_default()
                ),
            }
        }
    });
    Ok(())
}

/// What is said of trials that left the plan and whose results are still there.
fn removed(dir: &RunDir, state: &SweepState) -> Option<String> {
    let ids: Vec<&str> =
        state.removed().map(|(id, _)| id).filter(|id| dir.trial(id).path().exists()).map(TrialId::as_str).collect();
    let (trials, are) = if ids.len() == 1 { ("trial", "is") } else { ("trials", "are") };
    (!ids.is_empty()).then(|| {
        format!(
            "{} {trials} in {} {are} not in the sweep any more: kept there, and left out of tables and figures ({})",
            ids.len(),
            dir.trials().display(),
            ids.join(", ")
        )
    })
}

/// What is missing of an ended trial's curves. A curve with a hole would be drawn as if it were all.
fn lacking(folder: &TrialDir, outcome: &Outcome) -> Result<Option<String>, StoreError> {
    let metrics = read_curve::<MetricRow>(&folder.metrics())?.rows;
    if metrics.len() as u64 != outcome.steps {
        return Ok(Some(format!("{} holds {}", folder.metrics().display(), metrics.len())));
    }
    let evals = read_curve::<EvalRow>(&folder.evals())?.rows;
    // The last step of a trial that came to its end was evaluated.
    let whole = outcome.status != Status::Finished || evals.last().is_some_and(|row| row.step == outcome.steps);
    Ok((!whole).then(|| format!("{} ends before", folder.evals().display())))
}

/// Leaves of an ended trial's states what is asked for. One that a rule stopped can still go on: it keeps all. A probe that
/// has ended is done.
pub(super) fn prune(order: &RunOrder<'_>, folder: &TrialDir, status: Status) -> Result<(), StoreError> {
    let are_probes = order.plan.trials.first().is_some_and(|trial| trial.config.probe.is_some());
    if status == Status::Stopped && !are_probes { Ok(()) } else { folder.checkpoints().prune(order.config.keep) }
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

/// What is said of lines in the journal that cannot be read.
pub(super) fn damage_warnings(dir: &RunDir, damaged: &[Damage]) -> Vec<String> {
    let path = dir.journal();
    let told = damaged.iter().map(|Damage { line, message }| {
        format!(
            "{}:{line}: not an event ({message}); passed over, the trial folders tell what happened",
            path.display()
        )
    });
    told.collect()
}
