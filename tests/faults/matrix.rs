//! Judges the trained runs by the rules as they are now, and counts how often the primary verdict is right.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use plateau::analysis::detector::Detection;
use plateau::analysis::measured::LEAST_DELTA;
use plateau::analysis::probes::Conclusion;
use plateau::analysis::{Run, diagnose};
use plateau::run::{self, survey_folder};
use plateau::store::{Results, RunDir};
use plateau::trial::{Cause, Length, TrialId, Verdict};

use super::table::{CONTINUED_FROM, FAULTS, Fault, Part};

/// The primary verdict of a trial: its first cause, else `HEALTHY`.
pub fn primary(run: &Run) -> Verdict {
    diagnose(&run.measured(), run.status, LEAST_DELTA).verdicts.swap_remove(0)
}

fn folder(results: &Path, name: &str) -> RunDir {
    Results::new(results).unwrap().sweep(name).unwrap()
}

/// All trials of a sweep that have ended.
pub fn runs(results: &Path, name: &str) -> Vec<Run> {
    let dir = folder(results, name);
    let mut ids: Vec<TrialId> = fs::read_dir(dir.trials())
        .into_iter()
        .flatten()
        .filter_map(|entry| TrialId::parse(entry.unwrap().file_name().to_str()?))
        .collect();
    ids.sort_unstable();
    let runs = ids.iter().filter_map(|id| survey_folder(&dir.trial(id)).unwrap());
    runs.filter(|run| run.outcome.is_some()).collect()
}

fn is_right(fault: &Fault, verdict: &Verdict) -> bool {
    fault.accepted.iter().any(|(cause, reason)| verdict.id == *cause && (reason.is_none() || verdict.reason == *reason))
}

/// How many runs of a part have the right primary verdict, and a line for each that has a wrong one.
pub fn right_and_wrong(results: &Path, part: Part) -> (usize, Vec<String>) {
    let (mut right, mut wrong) = (0, Vec::new());
    for fault in part.faults() {
        for verdict in runs(results, &fault.folder()).iter().map(primary) {
            if is_right(fault, &verdict) {
                right += 1;
            } else {
                wrong.push(format!("{}: {}: {}", fault.name, verdict.id, verdict.text));
            }
        }
    }
    (right, wrong)
}

/// A Markdown table of the injected faults against the primary verdicts, and the share of right ones. `classes`: count only runs
/// on data of so many classes.
pub fn matrix(results: &Path, part: Part, classes: Option<usize>) -> String {
    let mut text =
        "| injected fault | runs | right | primary verdicts (right ones in bold) |\n|---|---|---|---|\n".to_owned();
    let (mut right, mut all, mut alarms, mut healthy) = (0, 0, 0, 0);
    for fault in part.faults() {
        let mut counts: BTreeMap<(bool, String), usize> = BTreeMap::new();
        let of = |run: &Run| run.outcome.as_ref().map_or(0, |outcome| outcome.class_prior.len());
        let runs = runs(results, &fault.folder());
        for verdict in runs.iter().filter(|run| classes.is_none_or(|wanted| wanted == of(run))).map(primary) {
            let fits = is_right(fault, &verdict);
            *counts.entry((!fits, verdict.id.to_string())).or_default() += 1;
        }
        let total: usize = counts.values().sum();
        let fits: usize = counts.iter().filter(|((wrong, _), _)| !wrong).map(|(_, count)| count).sum();
        let cells: Vec<String> = counts
            .iter()
            .map(|((wrong, id), count)| if *wrong { format!("{id} {count}") } else { format!("**{id}** {count}") })
            .collect();
        let _ = writeln!(text, "| {} | {total} | {fits} | {} |", fault.what, cells.join(", "));
        (right, all) = (right + fits, all + total);
        if fault.accepted == [(Cause::Healthy, None)] {
            (healthy, alarms) = (healthy + total, alarms + total - fits);
        }
    }
    let _ = writeln!(text, "\n{right} of {all} right ({:.1} %).", share(right, all));
    let _ = writeln!(text, "{alarms} of {healthy} healthy runs called faulty ({:.1} %).", share(alarms, healthy));
    text
}

/// A Markdown table of the trials that `plateau probe` selects by itself. All other trials count as in [`matrix`].
pub fn probed(results: &Path) -> String {
    let mut text =
        "| injected fault | probed | right by curves | right with probes | primary cause after the probes (right ones in bold) |\n\
         |---|---|---|---|---|\n"
            .to_owned();
    let (mut all, mut right) = (0, 0);
    for fault in FAULTS {
        let found = run::probe_results(&folder(results, &fault.folder())).unwrap();
        let (mut tried, mut by_curves, mut with_probes, mut cells) = (0, 0, 0, Vec::new());
        for run in runs(results, &fault.folder()) {
            let verdict = primary(&run);
            let before = is_right(fault, &verdict);
            let probed = found.iter().find(|probed| probed.trial == run.trial.id && probed.open == 0);
            let after = probed.map_or(before, |probed| {
                let own = verdict.id.cause().filter(|_| verdict.is_cause());
                let conclusion = Conclusion::of(probed.settled, own);
                let is_right = match conclusion {
                    Conclusion::Settled(settled, _) => fault.probed.contains(&settled),
                    _ => before,
                };
                let words = format!("{} (probes: {})", conclusion.id().unwrap_or("none"), probed.settled.id());
                cells.push(if is_right { format!("**{words}**") } else { words });
                (tried, by_curves, with_probes) =
                    (tried + 1, by_curves + usize::from(before), with_probes + usize::from(is_right));
                is_right
            });
            (all, right) = (all + 1, right + usize::from(after));
        }
        if tried > 0 {
            let _ = writeln!(text, "| {} | {tried} | {by_curves} | {with_probes} | {} |", fault.what, cells.join(", "));
        }
    }
    let _ = writeln!(text, "\nWith the probes {right} of {all} right ({:.1} %).", share(right, all));
    text
}

fn share(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// Judges long runs by their first half, and counts those whose training loss was called flat and then fell further.
pub fn continued(results: &Path) -> String {
    let (mut text, mut all, mut flat, mut wrong) = (String::new(), 0, 0, 0);
    for fault in Part::Twice.faults() {
        for run in runs(results, &fault.folder()) {
            all += 1;
            let (half, whole) = (judged(&cut(&run)), judged(&run));
            if !half.is_flat() {
                continue;
            }
            flat += 1;
            let fall = half.tail.level - whole.tail.level;
            if fall > FLAT * half.scale {
                wrong += 1;
                let (from, to) = (half.tail.level, whole.tail.level);
                let _ =
                    writeln!(text, "* {} {}: flat at {from:.3}, {to:.3} at twice the steps", fault.name, run.trial.id);
            }
        }
    }
    format!(
        "Of {all} runs judged half-way, {flat} had a flat training loss; {wrong} of these fell further by more than the margin.\n{text}"
    )
}

/// Change of a flat loss, at most, as a share of the scale: as in `docs/diagnosis.md`.
const FLAT: f64 = 0.10;

fn judged(run: &Run) -> Detection {
    diagnose(&run.measured(), run.status, LEAST_DELTA).detection
}

/// The run after half of its steps.
fn cut(run: &Run) -> Run {
    let mut cut = run.clone();
    cut.trial.steps = CONTINUED_FROM;
    cut.trial.config.length = Length::Steps(CONTINUED_FROM);
    cut.metrics.retain(|row| row.step <= CONTINUED_FROM);
    cut.evals.retain(|row| row.step <= CONTINUED_FROM);
    cut.diagnostics.retain(|row| row.step <= CONTINUED_FROM);
    cut
}
