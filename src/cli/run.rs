//! `plateau run`: plan, train what is missing, report.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::thread;

use clap::{Args, ValueEnum};

use super::live::{Watched, redraw};
use super::origin::Origin;
use super::plan::{Again, Outlook};
use super::prepare::{self, Prepared, SweepArguments};
use super::report::Drawing;
use super::track::Tracking;
use super::words::{bytes, say, warn};
use super::{Failure, plan, probe};
use crate::decide::{self, MemoryBudget};
use crate::event::{Reporter as _, Slot};
use crate::exec::Local;
use crate::plan::PastTrial;
use crate::report::count;
use crate::report::terminal::{Mode, Terminal};
use crate::run::{self, FailedTrial, RunError, RunOrder, RunSummary};
use crate::spec::{Devices, Probing, RunConfig};
use crate::store::{self, RunDir, StoreError};
use crate::train;
use crate::trial::{Trial, TrialId};

#[derive(Debug, Clone, Args)]
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
    /// Train a trial to its end that a rule of `stop` stopped (repeatable)
    #[arg(long = "continue", value_name = "ID", value_parser = trial_id, conflicts_with = "fresh")]
    go_on: Vec<TrialId>,
    /// Archive the old results and start over
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    pub shown: ViewArguments,
}

/// How a run is shown.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct ViewArguments {
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
#[derive(Debug, Clone, Args)]
pub(crate) struct MachineArguments {
    /// Trials at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// auto, cpu, cuda, cuda:0,1 or metal
    #[arg(long, value_name = "LIST")]
    pub devices: Option<Devices>,
    /// CPU threads a trial
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Progress {
    #[default]
    Auto,
    Bar,
    Lines,
    Json,
    None,
}

/// Runs the sweep and draws the report, also of a sweep that was interrupted.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let prepared = prepare::prepare(&arguments.sweep, Some(&arguments.machine))?;
    check_planned(&arguments.go_on, &prepared)?;
    let again = Again { failed: arguments.retry_failed, go_on: &arguments.go_on, all: arguments.fresh };
    let outlook = Outlook::new(&prepared, &arguments.only, &arguments.machine, again)?;
    if arguments.dry_run {
        return plan::show(&prepared, &outlook, plan::Format::Table);
    }
    complete(&prepared, &outlook, arguments)
}

fn complete(prepared: &Prepared, outlook: &Outlook<'_>, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let view = View::of(arguments.shown);
    prepare::ask(prepared, &arguments.only, !view.is_for_people)?;
    if view.is_for_people {
        announce(prepared, outlook, arguments.fresh);
    }
    let summary = train_missing(prepared, outlook, arguments, view)?;
    tell_failures(&summary, view);
    Drawing::default().draw(&prepared.plan, &prepared.dir)?;
    if view.is_for_people {
        tell(&summary, prepared);
    }
    let is_complete = !summary.interrupted && summary.left == 0;
    if is_complete && prepared.spec.run.probe == Probing::Plateaus {
        let code = probe::plateaus(prepared, arguments)?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    Ok(ExitCode::from(summary.exit_code()))
}

/// Trains and reports a sweep with the default options.
pub(crate) fn train(
    prepared: &Prepared,
    sweep: SweepArguments,
    machine: MachineArguments,
) -> Result<ExitCode, Failure> {
    train_as(prepared, &Arguments::plain(sweep, machine))
}

/// Trains and reports all of a sweep, shown as `arguments` say.
pub(crate) fn train_as(prepared: &Prepared, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let arguments = Arguments { only: Vec::new(), go_on: Vec::new(), fresh: false, ..arguments.clone() };
    let again = Again { failed: arguments.retry_failed, ..Again::default() };
    let outlook = Outlook::new(prepared, &[], &arguments.machine, again)?;
    complete(prepared, &outlook, &arguments)
}

impl Arguments {
    /// All options as they are by themselves.
    pub(crate) fn plain(sweep: SweepArguments, machine: MachineArguments) -> Self {
        Self {
            sweep,
            machine,
            dry_run: false,
            only: Vec::new(),
            retry_failed: false,
            go_on: Vec::new(),
            fresh: false,
            shown: ViewArguments::default(),
        }
    }

    /// Shown so.
    pub(crate) fn shown(self, shown: ViewArguments) -> Self {
        Self { shown, ..self }
    }
}

pub(crate) fn trial_id(text: &str) -> Result<TrialId, String> {
    TrialId::parse(text)
        .ok_or_else(|| format!("expected a trial's id, {} hex digits as in trials.csv", TrialId::LENGTH))
}

/// Refuses to continue what is no trial of the sweep.
fn check_planned(ids: &[TrialId], prepared: &Prepared) -> Result<(), Failure> {
    let strange = ids.iter().find(|id| !prepared.plan.trials.iter().any(|trial| trial.id == **id));
    strange.map_or(Ok(()), |id| {
        let name = &prepared.plan.name;
        Err(Failure::input(format!("--continue {id}: {name} has no such trial. `plateau plan {name}` lists them")))
    })
}

impl ViewArguments {
    /// Whether anything is said but errors, and what programs read.
    pub(crate) fn is_for_people(self) -> bool {
        !self.quiet && self.progress != Progress::Json
    }
}

/// What is shown of a run.
#[derive(Debug, Clone, Copy)]
struct View {
    mode: Mode,
    /// Whether anything but errors goes to standard error.
    is_for_people: bool,
}

impl View {
    fn of(shown: ViewArguments) -> Self {
        let mode = if shown.quiet { Mode::None } else { shown.progress.into() };
        Self { mode, is_for_people: shown.is_for_people() }
    }
}

/// The first words: what is to be done, and what should be known before.
fn announce(prepared: &Prepared, outlook: &Outlook<'_>, fresh: bool) {
    warn(&prepared.plan.warnings);
    if !fresh {
        warn(
            &Origin::read(&prepared.dir)
                .and_then(|last| last.clash(&prepared.origin, &prepared.dir))
                .into_iter()
                .collect::<Vec<_>>(),
        );
    }
    warn(&outlook.space_warning(prepared.dir.path()).into_iter().collect::<Vec<_>>());
    say(&format!("{}: {}", prepared.plan.name, outlook.line()));
}

fn train_missing(
    prepared: &Prepared,
    outlook: &Outlook<'_>,
    arguments: &Arguments,
    view: View,
) -> Result<RunSummary, Failure> {
    let only: HashSet<TrialId> = outlook.trials.iter().map(|trial| trial.id.clone()).collect();
    let unwritable = |error: String| Failure::input(format!("cannot write the sweep: {error}"));
    let sweep_yaml = prepared.spec.to_yaml(&prepared.facts.settled()).map_err(|error| unwritable(error.to_string()))?;
    let origin = prepared.origin.to_json().map_err(|error| unwritable(error.to_string()))?;
    let parameters: HashMap<String, u64> =
        prepared.facts.models.iter().map(|model| (model.located.clone(), model.facts.parameters)).collect();
    let estimates = outlook.memory();
    let limit = decide::memory_limit(&prepared.spec.run, &run::machine(Vec::new()));
    let order = RunOrder {
        plan: &prepared.plan,
        sweep_yaml: &sweep_yaml,
        origin: &origin,
        results: &prepared.results,
        config: &prepared.spec.run,
        slots: &outlook.slots,
        memory: limit.map(|limit| MemoryBudget::new(limit, &estimates)),
        only: (!arguments.only.is_empty()).then_some(&only),
        retry_failed: arguments.retry_failed,
        continued: &arguments.go_on,
        fresh: arguments.fresh,
        parameters: &parameters,
    };
    let engine = Local::this_program().map_err(|error| Failure::input(format!("cannot find this program: {error}")))?;
    let shown: Vec<Trial> = prepared.plan.trials.iter().filter(|trial| only.contains(&trial.id)).cloned().collect();
    let mut terminal = Terminal::new(view.mode, arguments.shown.verbose, &prepared.plan.name, &shown);
    if !arguments.fresh {
        terminal.recall(&store::read_journal(&prepared.dir.journal())?.records);
    }
    prepared.cache.store();
    let (warn, warnings) = channel();
    let summary = thread::scope(|scope| {
        let (changed, changes) = channel();
        let mut told = vec![changed];
        // What cannot be drawn is told by the last drawing.
        let mut drawing = Drawing::default();
        scope.spawn(move || redraw(&changes, || drop(drawing.draw(&prepared.plan, &prepared.dir))));
        if !prepared.spec.run.log_to.is_empty() {
            let (changed, changes) = channel();
            told.push(changed);
            let tracking = Tracking::new(prepared, &arguments.sweep, warn);
            scope.spawn(move || tracking.keep_up(&changes));
        }
        run::sweep(&order, engine, &mut Watched { terminal: &mut terminal, changed: told, warnings: &warnings })
    });
    terminal.close();
    for warning in warnings.try_iter() {
        terminal.warning(&warning);
    }
    summary.map_err(|error| cut_short(&error, outlook, &prepared.dir))
}

/// A run that the disk ended: with what is needed, so that the user knows how much room to make.
fn cut_short(error: &RunError, outlook: &Outlook<'_>, dir: &RunDir) -> Failure {
    let mut message = error.to_string();
    if let (RunError::Disk { .. } | RunError::Store(StoreError::Full { .. }), Some(free)) =
        (error, store::free_space(dir.path()))
    {
        let (folder, free, need) = (dir.path().display(), bytes(free), bytes(outlook.total.disk));
        let _ = write!(message, "\n{folder}: {free} free; what was left of the sweep at its start needs about {need}");
    }
    Failure::with_code(message, error.exit_code())
}

impl From<Progress> for Mode {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::Auto => Self::Auto,
            Progress::Bar => Self::Bar,
            Progress::Lines => Self::Lines,
            Progress::Json => Self::Json,
            Progress::None => Self::None,
        }
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

/// What failed and why: errors, which are shown also to those who want nothing else; to those with the end of the log, that
/// the others have seen when it happened.
fn tell_failures(summary: &RunSummary, view: View) {
    for FailedTrial { trial, failure, attempts, log } in &summary.failed {
        say(&format!("\n{trial} failed after {}: {failure}", count(*attempts as usize, "attempt")));
        if matches!(view.mode, Mode::None | Mode::Json) {
            failure.log_tail().iter().for_each(|line| say(&format!("  | {line}")));
        }
        say(&format!("  log: {}", log.display()));
    }
}

/// The last words: where the report is, how to go on.
fn tell(summary: &RunSummary, prepared: &Prepared) {
    say(&format!("\nreport: {}", prepared.dir.report().join("index.html").display()));
    if let Some(next) = summary.next_step() {
        say(&next);
    }
}
