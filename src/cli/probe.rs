//! `plateau probe`: experiments on trials that went flat, which settle why. Also the end of a run with `run.probe: plateaus`.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::failure::printed;
use super::prepare::{self, Prepared, SweepArguments};
use super::report::Drawing;
use super::words::{say, table};
use super::{Failure, run};
use crate::analysis::probes::{Probed, choose, place, plateau};
use crate::analysis::{Run, Sweep};
use crate::plan::{Question, approach, probes};
use crate::report::trial_name;
use crate::run::{probe_results, prune_states, survey};
use crate::store::{self, RunDir};
use crate::train;
use crate::trial::{Keep, Outcome, Probe, ProbeKind, Trial, TrialId};

/// Share of a trial's steps that each fork takes, and seeds of each.
const BUDGET: f64 = 0.05;
const SEEDS: u16 = 3;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    sweep: SweepArguments,
    #[command(flatten)]
    machine: run::MachineArguments,
    #[command(flatten)]
    shown: run::ViewArguments,
    /// Ask about this trial (repeatable); else about the best of each cause among those that went flat or stuck
    #[arg(long = "trial", value_name = "ID", value_parser = run::trial_id)]
    trials: Vec<TrialId>,
    /// Length of each probe, as a share of the trial's steps; 20 steps at least
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    budget: f64,
    /// Seeds of each probe
    #[arg(long, value_name = "N", default_value_t = SEEDS, value_parser = clap::value_parser!(u16).range(1..=20))]
    seeds: u16,
}

/// `5%` or `0.05`.
fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 0.01));
    let share = number.trim().parse::<f64>().map(|number| number * unit);
    share
        .ok()
        .filter(|share| *share > 0.0 && *share <= 1.0)
        .ok_or_else(|| "expected a share such as 5% or 0.05".to_owned())
}

/// How the trials are asked.
#[derive(Debug, Clone, Copy)]
struct Manner {
    budget: f64,
    seeds: u16,
    /// Whether people are told.
    told: bool,
}

impl Manner {
    fn tell(self, text: &str) {
        if self.told {
            say(text);
        }
    }
}

pub(crate) fn probe(arguments: Arguments) -> Result<ExitCode, Failure> {
    let prepared = prepare::prepare(&arguments.sweep, Some(&arguments.machine))?;
    let name = &prepared.plan.name;
    if !prepared.dir.trials().exists() {
        return Err(Failure::input(format!("{name}: nothing was run yet. `plateau run {name}` does")));
    }
    let sweep = survey(&prepared.plan, &prepared.dir)?;
    let wanted: Vec<&Run> = if arguments.trials.is_empty() {
        flat(&sweep)
    } else {
        arguments.trials.iter().map(|id| ended(&sweep, id)).collect::<Result<_, _>>()?
    };
    if wanted.is_empty() {
        return Err(Failure::input(format!(
            "{name}: no trial has gone flat or stuck: there is nothing to ask. --trial ID asks about any that has ended"
        )));
    }
    let order = run::Arguments::plain(arguments.sweep.clone(), arguments.machine).shown(arguments.shown);
    let manner = Manner { budget: arguments.budget, seeds: arguments.seeds, told: arguments.shown.is_for_people() };
    ask(&prepared, &sweep, &wanted, manner, &order)
}

/// The probes of a sweep that has just come to its end: as [`flat`], the lowest losses first, as many as do not take more
/// than 5 % of the sweep's steps together; one at least.
pub(crate) fn plateaus(prepared: &Prepared, order: &run::Arguments) -> Result<ExitCode, Failure> {
    let sweep = survey(&prepared.plan, &prepared.dir)?;
    let manner = Manner { budget: BUDGET, seeds: SEEDS, told: order.shown.is_for_people() };
    let all: u64 = prepared.plan.trials.iter().map(|trial| trial.steps).sum();
    let mut left = (all as f64 * BUDGET) as u64;
    let mut wanted = Vec::new();
    for run in flat(&sweep) {
        let forks = questions(prepared, run, 1, manner).into_iter().filter(is_fork);
        let steps: u64 = forks.map(|trial| trial.steps).sum();
        if wanted.is_empty() || steps <= left {
            left = left.saturating_sub(steps);
            wanted.push(run);
        }
    }
    let code = if wanted.is_empty() { ExitCode::SUCCESS } else { ask(prepared, &sweep, &wanted, manner, order)? };
    if code == ExitCode::SUCCESS {
        prune_states(&prepared.plan, &prepared.dir, prepared.spec.run.keep)?;
    }
    Ok(code)
}

fn is_fork(trial: &Trial) -> bool {
    trial.config.probe.as_ref().is_some_and(|probe| probe.kind.is_fork())
}

/// Of the trials that went flat or stuck, the best of each cause.
fn flat(sweep: &Sweep) -> Vec<&Run> {
    let ended = sweep.runs.iter().filter_map(|run| Some((&run.trial.id, run.outcome.as_ref()?)));
    choose(ended).into_iter().filter_map(|id| sweep.runs.iter().find(|run| run.trial.id == *id)).collect()
}

fn ended<'a>(sweep: &'a Sweep, id: &TrialId) -> Result<&'a Run, Failure> {
    let name = &sweep.name;
    let run = sweep.runs.iter().find(|run| run.trial.id == *id).ok_or_else(|| {
        Failure::input(format!("--trial {id}: {name} has no such trial. `plateau plan {name}` lists them"))
    })?;
    match &run.outcome {
        Some(outcome) if outcome.steps > 0 => Ok(run),
        _ => Err(Failure::input(format!("--trial {id}: it has not ended yet. `plateau run {name}` goes on with it"))),
    }
}

/// Trains the probes of `wanted` that are missing, and says what all of them say.
fn ask(
    prepared: &Prepared,
    sweep: &Sweep,
    wanted: &[&Run],
    manner: Manner,
    order: &run::Arguments,
) -> Result<ExitCode, Failure> {
    // Nobody is to change the trials meanwhile.
    let lock = prepared.dir.lock()?;
    let folder = prepared.dir.probes();
    let before = folder.probe_trials()?;
    let mut asked = Vec::new();
    for run in wanted {
        asked.extend(asked_of(prepared, run, &before, manner)?);
    }
    // What was asked earlier of others stays, and is gone on with.
    let others = before.iter().filter(|trial| {
        sweep.runs.iter().any(|run| asks(trial, &run.trial.id)) && !wanted.iter().any(|run| asks(trial, &run.trial.id))
    });
    asked.extend(others.cloned());
    folder.write_probe_trials(&asked)?;
    let missing = missing_starts(&folder, &asked);
    if !missing.is_empty() {
        let approaches = missing.iter().map(|(approach, _)| (*approach).clone()).collect();
        let code = run::train_as(&prepared.of_probes(approaches, Keep::Last)?, order)?;
        for (Trial { id, .. }, start) in missing {
            let checkpoints = folder.trial(id).checkpoints();
            if !checkpoints.last().is_file() {
                // It failed, or was interrupted, and that was said.
                return Ok(code);
            }
            store::link_or_copy(&checkpoints.last(), &start)?;
            checkpoints.prune(Keep::None)?;
        }
    }
    let code = run::train_as(&prepared.of_probes(asked, Keep::None)?, order)?;
    drop(lock);
    let found = probe_results(&prepared.dir)?;
    for done in found.iter().filter(|found| found.open == 0) {
        store::remove_state(&folder.start(&done.trial, done.step));
    }
    Drawing::default().draw(&prepared.plan, &prepared.dir)?;
    if manner.told {
        printed(io::stdout().lock().write_all(text(sweep, &found).as_bytes()))?;
    }
    Ok(code)
}

/// Whether `probe` asks about the trial called `id`.
fn asks(probe: &Trial, id: &TrialId) -> bool {
    probe.config.probe.as_ref().is_some_and(|probe| probe.trial == *id)
}

fn is_approach(trial: &Trial) -> bool {
    trial.config.probe.as_ref().is_some_and(|probe| probe.kind == ProbeKind::Approach)
}

/// The approaches to train, with the states that they are to leave: those that are not there and that some fork still needs.
fn missing_starts<'a>(folder: &RunDir, asked: &'a [Trial]) -> Vec<(&'a Trial, PathBuf)> {
    let waits = |fork: &Trial, of: &Probe| {
        let probe = fork.config.probe.as_ref().filter(|probe| probe.kind.is_fork());
        probe.is_some_and(|probe| (&probe.trial, probe.step) == (&of.trial, of.step))
            && !folder.trial(&fork.id).has_outcome()
    };
    let missing = |approach: &'a Trial| {
        let of = approach.config.probe.as_ref().filter(|probe| probe.kind == ProbeKind::Approach)?;
        let start = folder.start(&of.trial, of.step);
        (!start.is_file() && asked.iter().any(|fork| waits(fork, of))).then_some((approach, start))
    };
    asked.iter().filter_map(missing).collect()
}

/// The probes of one trial, with the approach to the step where it is asked if no state of it is left.
fn asked_of(prepared: &Prepared, run: &Run, before: &[Trial], manner: Manner) -> Result<Vec<Trial>, Failure> {
    let folder = prepared.dir.probes();
    let (id, outcome) = (&run.trial.id, run.outcome.as_ref());
    let kept = kept_states(prepared, run);
    // Once asked at a step, always at this one: the answers so far count.
    let earlier = before.iter().find(|trial| asks(trial, id)).and_then(|trial| trial.config.probe.as_ref());
    let step = earlier.map_or_else(|| step(outcome, &kept), |probe| probe.step);
    let start = folder.start(id, step);
    let mut asked = questions(prepared, run, step, manner);
    // An approach that was taken once stays on the list.
    let approached = before.iter().find(|trial| is_approach(trial) && asks(trial, id));
    asked.splice(0..0, approached.cloned());
    let over = |trial: &Trial| folder.trial(&trial.id).has_outcome();
    let whole = format!("{id} ({})", trial_name(run));
    if asked.iter().filter(|trial| is_fork(trial)).all(over) {
        return Ok(asked);
    }
    if !start.is_file()
        && let Some((_, path)) = kept.iter().find(|(at, _)| *at == step)
    {
        store::link_or_copy(path, &start)?;
    }
    if start.is_file() {
        manner.tell(&format!("{whole}: asked at step {step} of {}", run.trial.steps));
        return Ok(asked);
    }
    let text = format!(
        "{whole}: no state of its plateau is kept (run.keep, or run.probe: plateaus, would): it is trained again up to step \
         {step} of {}, to be asked there",
        run.trial.steps
    );
    manner.tell(&text);
    if let Some(approach) = approach(&run.trial, step, &prepared.facts) {
        let made = folder.trial(&approach.id);
        // Its state is gone, so it has to be trained again.
        if over(&approach) && !made.checkpoints().last().is_file() {
            made.set_stopped_outcome_aside()?;
        }
        asked.splice(0..usize::from(approached.is_some()), [approach]);
    }
    Ok(asked)
}

/// The states of a trial that lie in its plateau, with their steps.
fn kept_states(prepared: &Prepared, run: &Run) -> Vec<(u64, PathBuf)> {
    let paths = prepared.dir.trial(&run.trial.id).checkpoints().kept();
    let step = |path: &PathBuf| train::steps_of_state(&fs::read(path).ok()?).ok();
    paths.into_iter().filter_map(|path| Some((step(&path)?, path))).collect()
}

/// The kept step within the plateau that is nearest to the best place; without one, the best place.
fn step(outcome: Option<&Outcome>, kept: &[(u64, PathBuf)]) -> u64 {
    let Some(outcome) = outcome else { return 1 };
    let (flat, best) = (plateau(outcome), place(outcome));
    let within = kept.iter().map(|(step, _)| *step).filter(|step| flat.contains(step));
    within.min_by_key(|step| step.abs_diff(best)).unwrap_or(best)
}

fn questions(prepared: &Prepared, run: &Run, step: u64, manner: Manner) -> Vec<Trial> {
    // The rate of the step that would have come next; of the last one at the end.
    let rows = || run.metrics.iter();
    let rate = rows().find(|row| row.step == step + 1).or_else(|| rows().rfind(|row| row.step <= step));
    let rate = rate.map_or(run.trial.config.lr, |row| row.lr);
    let Manner { budget, seeds, .. } = manner;
    probes(&Question { trial: &run.trial, step, rate, budget, seeds }, &prepared.facts)
}

/// What the probes say, trial by trial.
fn text(sweep: &Sweep, found: &[Probed]) -> String {
    let mut text = String::new();
    for probed in found {
        let run = sweep.runs.iter().find(|run| run.trial.id == probed.trial);
        let name = run.map(trial_name).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n{} ({name}), at {}:", probed.trial, probed.place());
        let rows = probed.answers.iter().map(|answer| vec![format!("  {}", answer.question()), answer.answer()]);
        let _ = writeln!(text, "{}\n  {}", table(&rows.collect::<Vec<_>>()), probed.reading());
        if let Some(conclusion) = run.filter(|_| probed.open == 0).map(|run| probed.conclusion(run)) {
            let _ = writeln!(text, "  {conclusion}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_written_in_two_ways() {
        for (text, expected) in [("5%", 0.05), ("0.05", 0.05), ("100 %", 1.0)] {
            assert!((share(text).unwrap() - expected).abs() < 1e-12, "{text}");
        }
        for text in ["", "%", "0", "-1%", "101%", "2", "five", "nan"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
