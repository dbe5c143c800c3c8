//! `plateau run`: plan, train what is missing, report.

use std::collections::{HashMap, HashSet};
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::thread;

use clap::{Args, ValueEnum};

use super::live::{Watched, redraw};
use super::prepare::{self, Prepared, SweepArguments};
use super::words::warn;
use super::{Failure, plan, report};
use crate::decide;
use crate::event::Slot;
use crate::exec::Local;
use crate::plan::PastTrial;
use crate::report::count;
use crate::report::terminal::{Mode, Terminal};
use crate::run::{self, FailedTrial, RunError, RunOrder, RunSummary};
use crate::spec::{Devices, RunConfig};
use crate::store;
use crate::train;
use crate::trial::{Trial, TrialId};

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Arguments {
    #[command(flatten)]
    sweep: SweepArguments,
    #[command(flatten)]
    machine: MachineArguments,
    /// Show the plan, train nothing (as `plateau plan`)
    #[arg(long)]
    dry_run: bool,
    /// Train only trials with this value (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = prepare::pair)]
    only: Vec<(String, String)>,
    /// Take up the trials again that failed for good
    #[arg(long)]
    retry_failed: bool,
    /// Archive the old results and start over
    #[arg(long)]
    fresh: bool,
    /// How to show what happens: auto is bar on a terminal, else lines
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    progress: Progress,
    /// Show errors alone
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Show each attempt, too
    #[arg(short, long)]
    verbose: bool,
}

/// What the sweep may use of this machine; beats the `run` section of the file.
#[derive(Debug, Args)]
pub(crate) struct MachineArguments {
    /// Trials at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// auto, cpu, cuda, cuda:0,1 or metal
    #[arg(long, value_name = "LIST")]
    devices: Option<Devices>,
    /// CPU threads a trial
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Progress {
    Auto,
    Bar,
    Lines,
    Json,
    None,
}

/// Runs the sweep and draws the report, also of a sweep that was interrupted.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let prepared = prepare::prepare(&arguments.sweep)?;
    if arguments.dry_run {
        return plan::show(&prepared, &arguments.only, &arguments.machine, plan::Format::Table);
    }
    complete(&prepared, arguments)
}

fn complete(prepared: &Prepared, arguments: &Arguments) -> Result<ExitCode, Failure> {
    warn(&prepared.plan.warnings);
    let summary = train_missing(prepared, arguments)?;
    tell_failures(&summary);
    report::draw(prepared)?;
    if !arguments.quiet {
        tell(&summary, prepared);
    }
    Ok(ExitCode::from(summary.exit_code()))
}

/// Trains and reports a sweep with the default options.
pub(crate) fn train(
    prepared: &Prepared,
    sweep: SweepArguments,
    machine: MachineArguments,
) -> Result<ExitCode, Failure> {
    let arguments = Arguments {
        sweep,
        machine,
        dry_run: false,
        only: Vec::new(),
        retry_failed: false,
        fresh: false,
        progress: Progress::Auto,
        quiet: false,
        verbose: false,
    };
    complete(prepared, &arguments)
}

fn train_missing(prepared: &Prepared, arguments: &Arguments) -> Result<RunSummary, Failure> {
    let only: HashSet<TrialId> = prepare::only(&prepared.plan, &arguments.only)?.into_iter().collect();
    let past = plan::past_trials(&prepared.results);
    let slots = slots(prepared, &arguments.machine, only.len(), &past)?;
    let sweep_yaml =
        prepared.spec.to_yaml().map_err(|error| Failure::input(format!("cannot write the sweep: {error}")))?;
    let parameters: HashMap<String, u64> =
        prepared.facts.models.iter().map(|model| (model.located.clone(), model.facts.parameters)).collect();
    let order = RunOrder {
        plan: &prepared.plan,
        sweep_yaml: &sweep_yaml,
        results: &prepared.results,
        config: &prepared.spec.run,
        slots: &slots,
        only: (!arguments.only.is_empty()).then_some(&only),
        retry_failed: arguments.retry_failed,
        fresh: arguments.fresh,
        parameters: &parameters,
    };
    let engine = Local::this_program().map_err(|error| Failure::input(format!("cannot find this program: {error}")))?;
    let shown: Vec<Trial> = prepared.plan.trials.iter().filter(|trial| only.contains(&trial.id)).cloned().collect();
    let mut terminal = Terminal::new(mode(arguments), arguments.verbose, &prepared.plan.name, &shown);
    if !arguments.fresh {
        terminal.recall(&store::read_journal(&prepared.dir.journal())?.records);
    }
    prepared.cache.store();
    let summary = thread::scope(|scope| {
        let (changed, changes) = channel();
        // What cannot be drawn is told by the last drawing.
        scope.spawn(move || redraw(&changes, || drop(report::draw(prepared))));
        run::sweep(&order, engine, &mut Watched { terminal: &mut terminal, changed })
    })?;
    terminal.close();
    Ok(summary)
}

fn mode(arguments: &Arguments) -> Mode {
    match arguments.progress {
        _ if arguments.quiet => Mode::None,
        Progress::Auto => Mode::Auto,
        Progress::Bar => Mode::Bar,
        Progress::Lines => Mode::Lines,
        Progress::Json => Mode::Json,
        Progress::None => Mode::None,
    }
}

/// Where the workers run, for `trials` trials at most.
pub(crate) fn slots(
    prepared: &Prepared,
    machine: &MachineArguments,
    trials: usize,
    past: &[PastTrial],
) -> Result<Vec<Slot>, Failure> {
    let written = &prepared.spec.run;
    let config = RunConfig {
        devices: machine.devices.clone().unwrap_or_else(|| written.devices.clone()),
        jobs: machine.jobs.map(usize::from).or(written.jobs),
        threads: machine.threads.map(usize::from).or(written.threads),
        ..written.clone()
    };
    let memory = prepared.plan.trials.iter().map(|trial| plan::cost(prepared, trial, past, 1).memory).max();
    let machine = run::machine(train::available_devices());
    decide::slots(&config, &machine, trials, memory).map_err(|error| Failure::input(error.to_string()))
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::with_code(error.to_string(), error.exit_code())
    }
}

/// What failed and why: errors, which are shown also to those who want nothing else.
#[expect(clippy::print_stderr, reason = "errors are for people")]
fn tell_failures(summary: &RunSummary) {
    for FailedTrial { trial, failure, attempts, log } in &summary.failed {
        eprintln!("\n{trial} failed after {}: {failure}", count(*attempts as usize, "attempt"));
        eprintln!("  log: {}", log.display());
    }
}

/// The last words: where the report is, how to go on.
#[expect(clippy::print_stderr, reason = "the last words of a run are for people")]
fn tell(summary: &RunSummary, prepared: &Prepared) {
    eprintln!("\nreport: {}", prepared.dir.report().join("index.html").display());
    if let Some(next) = summary.how_to_go_on() {
        eprintln!("{next}");
    }
}
