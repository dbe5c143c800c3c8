//! `plateau probe`: experiments that find out why trials stopped improving. `run.probe: plateaus` does the same at the end
//! of a run.
//!
//! A probe forks a trial inside its plateau and changes one setting. Where the trial kept no training state there, an
//! *approach* first trains it again up to that step.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::arguments::{DisplayArguments, MachineArguments, RunOptions, SweepArguments, trial_id};
use super::format::table;
use super::output::{notify, print};
use super::pipeline::run_all;
use super::prepare::{Prepared, prepare};
use super::report::ReportWriter;
use crate::analysis::probes::{Probed, choose, place, plateau};
use crate::analysis::{Run, Study, Sweep};
use crate::plan::{ProbeRequest, approach, probes};
use crate::report::trial_name;
use crate::run::{probe_results, prune_states, survey};
use crate::store::{self, RunDir};
use crate::train;
use crate::trial::{Keep, Outcome, Probe, ProbeKind, Trial, TrialId};

/// Default length of a fork, as a share of its trial's steps.
const LENGTH: f64 = 0.05;
/// Default number of seeds of each probe.
const SEEDS: u16 = 3;
/// With `run.probe`, all forks together take at most this share of the sweep's steps.
const SWEEP_SHARE: f64 = 0.05;

#[derive(Debug, Args)]
pub(crate) struct ProbeArguments {
    #[command(flatten)]
    sweep: SweepArguments,
    #[command(flatten)]
    machine: MachineArguments,
    #[command(flatten)]
    display: DisplayArguments,
    /// Probe this trial (repeatable). Default: for each cause, the best trial that plateaued or got stuck
    #[arg(long = "trial", value_name = "ID", value_parser = trial_id)]
    trials: Vec<TrialId>,
    /// Length of each probe, as a share of the trial's steps; at least 20 steps
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    budget: f64,
    /// Seeds of each probe
    #[arg(long, value_name = "N", default_value_t = SEEDS, value_parser = clap::value_parser!(u16).range(1..=20))]
    seeds: u16,
}

/// Parses `5%` or `0.05`.
fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 0.01));
    let share = number.trim().parse::<f64>().map(|number| number * unit);
    share
        .ok()
        .filter(|share| *share > 0.0 && *share <= 1.0)
        .ok_or_else(|| "expected a share such as 5% or 0.05".to_owned())
}

/// How trials are probed.
#[derive(Debug, Clone, Copy)]
struct ProbeOptions {
    /// Length of a fork, as a share of its trial's steps.
    length: f64,
    seeds: u16,
    shows_notes: bool,
}

impl ProbeOptions {
    fn notify(self, line: &str) {
        if self.shows_notes {
            notify(line);
        }
    }
}

pub(crate) fn probe(arguments: ProbeArguments) -> Result<ExitCode, Failure> {
    let prepared = prepare(&arguments.sweep, Some(&arguments.machine))?;
    let name = &prepared.plan.name;
    if !prepared.dir.trials().exists() {
        let sweep = &arguments.sweep;
        return Err(Failure::input(format!("{name}: nothing was run yet. Run it with `plateau run {sweep}`")));
    }
    let sweep = survey(&prepared.plan, &prepared.dir)?;
    let runs: Vec<&Run> = if arguments.trials.is_empty() {
        plateaued(&sweep)
    } else {
        arguments.trials.iter().map(|id| ended(&sweep, id, &arguments.sweep)).collect::<Result<_, _>>()?
    };
    if runs.is_empty() {
        return Err(Failure::input(format!(
            "{name}: no trial plateaued or got stuck, so there is nothing to probe. --trial ID probes any trial that has ended"
        )));
    }
    let display = arguments.display;
    let options = ProbeOptions { length: arguments.budget, seeds: arguments.seeds, shows_notes: display.shows_notes() };
    let run_options = RunOptions::new(arguments.sweep, arguments.machine, display);
    run_probes(&prepared, &sweep, &runs, options, &run_options)
}

/// Probes a sweep that is complete, for `run.probe: plateaus`. The trials are those of [`plateaued`], best first, as many as
/// fit into [`SWEEP_SHARE`], and at least one.
pub(crate) fn probe_plateaus(prepared: &Prepared, run_options: &RunOptions) -> Result<ExitCode, Failure> {
    let sweep = survey(&prepared.plan, &prepared.dir)?;
    let shows_notes = run_options.display.shows_notes();
    let options = ProbeOptions { length: LENGTH, seeds: SEEDS, shows_notes };
    let all: u64 = prepared.plan.trials.iter().map(|trial| trial.steps).sum();
    let mut budget = (all as f64 * SWEEP_SHARE) as u64;
    let mut runs = Vec::new();
    for run in plateaued(&sweep) {
        let forks = forks(prepared, run, 1, options).into_iter().filter(is_fork);
        let steps: u64 = forks.map(|trial| trial.steps).sum();
        if runs.is_empty() || steps <= budget {
            budget = budget.saturating_sub(steps);
            runs.push(run);
        }
    }
    let code =
        if runs.is_empty() { ExitCode::SUCCESS } else { run_probes(prepared, &sweep, &runs, options, run_options)? };
    if code == ExitCode::SUCCESS {
        prune_states(&prepared.plan, &prepared.dir, prepared.spec.run.keep)?;
    }
    Ok(code)
}

fn is_fork(trial: &Trial) -> bool {
    trial.config.probe.as_ref().is_some_and(|probe| probe.kind.is_fork())
}

/// For each cause, the best trial that plateaued or got stuck.
fn plateaued(sweep: &Sweep) -> Vec<&Run> {
    let ended = sweep.runs.iter().filter_map(|run| Some((&run.trial.id, run.outcome.as_ref()?)));
    choose(ended).into_iter().filter_map(|id| sweep.runs.iter().find(|run| run.trial.id == *id)).collect()
}

/// The trial of `--trial`, which must have ended.
fn ended<'a>(sweep: &'a Sweep, id: &TrialId, typed: &SweepArguments) -> Result<&'a Run, Failure> {
    let name = &sweep.name;
    let run = sweep.runs.iter().find(|run| run.trial.id == *id).ok_or_else(|| {
        Failure::input(format!("--trial {id}: {name} has no such trial. `plateau plan {typed}` lists them"))
    })?;
    match &run.outcome {
        Some(outcome) if outcome.steps > 0 => Ok(run),
        _ => Err(Failure::input(format!("--trial {id}: the trial has not ended. `plateau run {typed}` continues it"))),
    }
}

/// Trains the probes of `runs` that are missing, and prints the results of all probes.
fn run_probes(
    prepared: &Prepared,
    sweep: &Sweep,
    runs: &[&Run],
    options: ProbeOptions,
    run_options: &RunOptions,
) -> Result<ExitCode, Failure> {
    // No other process may change the probed trials meanwhile.
    let lock = prepared.dir.lock()?;
    let folder = prepared.dir.probes();
    let earlier = folder.probe_trials()?;
    let mut trials = Vec::new();
    for run in runs {
        trials.extend(probe_trials(prepared, run, &earlier, options)?);
    }
    // Earlier probes of other trials stay, and are continued.
    let others = earlier.iter().filter(|trial| {
        sweep.runs.iter().any(|run| is_probe_of(trial, &run.trial.id))
            && !runs.iter().any(|run| is_probe_of(trial, &run.trial.id))
    });
    trials.extend(others.cloned());
    folder.write_probe_trials(&trials)?;
    let missing = missing_starts(&folder, &trials);
    if !missing.is_empty() {
        let approaches = missing.iter().map(|(approach, _)| (*approach).clone()).collect();
        let code = run_all(&prepared.of_probes(approaches, Keep::Last)?, run_options)?;
        for (Trial { id, .. }, start) in missing {
            let checkpoints = folder.trial(id).checkpoints();
            if !checkpoints.last().is_file() {
                // The approach failed or was interrupted, and the run has reported it.
                return Ok(code);
            }
            store::link_or_copy(&checkpoints.last(), &start)?;
            checkpoints.prune(Keep::None)?;
        }
    }
    let code = run_all(&prepared.of_probes(trials, Keep::None)?, run_options)?;
    drop(lock);
    let results = probe_results(&prepared.dir)?;
    for done in results.iter().filter(|probed| probed.open == 0) {
        store::remove_state(&folder.start(&done.trial, done.step));
    }
    ReportWriter::default().write(&prepared.plan, &prepared.dir)?;
    if options.shows_notes {
        print(text(sweep, &results))?;
    }
    Ok(code)
}

/// Whether `probe` is a probe, or an approach, of the trial `id`.
fn is_probe_of(probe: &Trial, id: &TrialId) -> bool {
    probe.config.probe.as_ref().is_some_and(|probe| probe.trial == *id)
}

fn is_approach(trial: &Trial) -> bool {
    trial.config.probe.as_ref().is_some_and(|probe| probe.kind == ProbeKind::Approach)
}

/// The approaches to train, each with the path of the training state that forks wait for.
fn missing_starts<'a>(folder: &RunDir, trials: &'a [Trial]) -> Vec<(&'a Trial, PathBuf)> {
    let waits = |fork: &Trial, of: &Probe| {
        let probe = fork.config.probe.as_ref().filter(|probe| probe.kind.is_fork());
        probe.is_some_and(|probe| (&probe.trial, probe.step) == (&of.trial, of.step))
            && !folder.trial(&fork.id).has_outcome()
    };
    let missing = |approach: &'a Trial| {
        let of = approach.config.probe.as_ref().filter(|probe| probe.kind == ProbeKind::Approach)?;
        let start = folder.start(&of.trial, of.step);
        (!start.is_file() && trials.iter().any(|fork| waits(fork, of))).then_some((approach, start))
    };
    trials.iter().filter_map(missing).collect()
}

/// The probes of one trial, and the approach to the step where they fork if no training state of that step is left.
fn probe_trials(
    prepared: &Prepared,
    run: &Run,
    earlier: &[Trial],
    options: ProbeOptions,
) -> Result<Vec<Trial>, Failure> {
    let folder = prepared.dir.probes();
    let (id, outcome) = (&run.trial.id, run.outcome.as_ref());
    let kept = kept_states(prepared, run);
    // Later calls fork at the same step as the first one, so that its results count.
    let first = earlier.iter().find(|trial| is_probe_of(trial, id)).and_then(|trial| trial.config.probe.as_ref());
    let step = first.map_or_else(|| fork_step(outcome, &kept), |probe| probe.step);
    let start = folder.start(id, step);
    let mut trials = forks(prepared, run, step, options);
    // An approach of an earlier call stays in the list.
    let old_approach = earlier.iter().find(|trial| is_approach(trial) && is_probe_of(trial, id));
    trials.splice(0..0, old_approach.cloned());
    let has_ended = |trial: &Trial| folder.trial(&trial.id).has_outcome();
    let name = format!("{id} ({})", trial_name(run));
    if trials.iter().filter(|trial| is_fork(trial)).all(has_ended) {
        return Ok(trials);
    }
    if !start.is_file()
        && let Some((_, path)) = kept.iter().find(|(at, _)| *at == step)
    {
        store::link_or_copy(path, &start)?;
    }
    if start.is_file() {
        options.notify(&format!("{name}: probed at step {step} of {}", run.trial.steps));
        return Ok(trials);
    }
    options.notify(&format!(
        "{name}: no training state of its plateau was kept, so the trial is first trained again up to step {step} of {}. \
         `run: {{probe: plateaus}}` keeps such states",
        run.trial.steps
    ));
    if let Some(approach) = approach(&run.trial, step, &prepared.facts) {
        let trained = folder.trial(&approach.id);
        // Its training state is gone, so it has to be trained again.
        if has_ended(&approach) && !trained.checkpoints().last().is_file() {
            trained.set_stopped_outcome_aside()?;
        }
        trials.splice(0..usize::from(old_approach.is_some()), [approach]);
    }
    Ok(trials)
}

/// The training states that a trial kept, with their steps.
fn kept_states(prepared: &Prepared, run: &Run) -> Vec<(u64, PathBuf)> {
    let paths = prepared.dir.trial(&run.trial.id).checkpoints().kept();
    let step = |path: &PathBuf| train::steps_of_state(&store::read_state(path).ok()?).ok();
    paths.into_iter().filter_map(|path| Some((step(&path)?, path))).collect()
}

/// The step to fork at: of the kept states inside the plateau the one nearest to the best place, else the best place.
fn fork_step(outcome: Option<&Outcome>, kept: &[(u64, PathBuf)]) -> u64 {
    let Some(outcome) = outcome else { return 1 };
    let (plateau, best) = (plateau(outcome), place(outcome));
    let inside = kept.iter().map(|(step, _)| *step).filter(|step| plateau.contains(step));
    inside.min_by_key(|step| step.abs_diff(best)).unwrap_or(best)
}

/// The probes of a trial at a step.
fn forks(prepared: &Prepared, run: &Run, step: u64, options: ProbeOptions) -> Vec<Trial> {
    // The learning rate of the next step, or of the last one at the end of the trial.
    let rows = || run.metrics.iter();
    let rate = rows().find(|row| row.step == step + 1).or_else(|| rows().rfind(|row| row.step <= step));
    let rate = rate.map_or(run.trial.config.lr, |row| row.lr);
    let ProbeOptions { length, seeds, .. } = options;
    probes(&ProbeRequest { trial: &run.trial, step, rate, budget: length, seeds }, &prepared.facts)
}

/// The results of the probes, trial by trial.
fn text(sweep: &Sweep, results: &[Probed]) -> String {
    let (mut text, study) = (String::new(), Study::of(sweep));
    for probed in results.iter().map(|probed| probed.clone().within(sweep)) {
        let run = sweep.runs.iter().position(|run| run.trial.id == probed.trial);
        let name = run.map(|run| trial_name(&sweep.runs[run])).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n{} ({name}), at {}:", probed.trial, probed.place());
        let rows = probed.answers.iter().map(|answer| vec![format!("  {}", answer.question()), answer.answer()]);
        let _ = writeln!(text, "{}\n  {}", table(&rows.collect::<Vec<_>>()), probed.reading());
        if let Some(conclusion) = run.filter(|_| probed.open == 0).map(|run| probed.conclusion(&study.diagnoses[run])) {
            let _ = writeln!(text, "  {conclusion}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_or_a_fraction() {
        for (text, expected) in [("5%", 0.05), ("0.05", 0.05), ("100 %", 1.0)] {
            assert!((share(text).unwrap() - expected).abs() < 1e-12, "{text}");
        }
        for text in ["", "%", "0", "-1%", "101%", "2", "five", "nan"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
