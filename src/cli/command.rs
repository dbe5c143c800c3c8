//! The commands of `plateau`, and the function that runs one of them.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::borrow::Cow;
use std::ffi::OsString;
use std::panic::{self, PanicHookInfo};
use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, thread};

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use super::Failure;
use super::augment::{AugmentArguments, augment};
use super::compare::{CompareArguments, compare};
use super::completions::{CompletionsArguments, ManArguments, completions, man};
use super::confirm::{ConfirmArguments, confirm};
use super::diagnose;
use super::export::{ExportArguments, export};
use super::import::{ImportArguments, import};
use super::init::{InitArguments, init};
use super::inspect::inspect;
use super::keys::{KeysArguments, keys};
use super::lr_find::{LrFindArguments, lr_find};
use super::output::notify;
use super::plan::{PlanArguments, plan};
use super::predict::{PredictArguments, predict};
use super::probe::{ProbeArguments, probe};
use super::refine::{RefineArguments, refine};
use super::report::{ReportArguments, report};
use super::run::{RunArguments, run};
use super::schedule::{ScheduleArguments, schedule};
use super::schema::schema;
use super::status::{StatusArguments, status};
use super::stop::{StopArguments, stop};
use super::watch::{WatchArguments, watch};
use crate::trial::printable;
use crate::{store, train, worker};

/// Experiment sweeps that answer one question: why is my loss not decreasing?
#[derive(Debug, Parser)]
#[command(name = "plateau", version, max_term_width = 100)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at a data file and write a first sweep file for it
    Init(InitArguments),
    /// Translate a sweep file of W&B, with a comment for every change
    Import(ImportArguments),
    /// Train what is missing of a sweep, then draw its report. Run it again to continue
    Run(RunArguments),
    /// Show the trials of a sweep and their cost, without training
    Plan(PlanArguments),
    /// Redraw the report from the results on disk, finished or not
    Report(ReportArguments),
    /// Show which trials are finished, running, failed or left
    Status(StatusArguments),
    /// End a run of another process, and its jobs on a cluster. `run` continues it
    Stop(StopArguments),
    /// Follow a run of another process until it ends
    Watch(WatchArguments),
    /// Compare the configurations that several sweeps share, and how their losses differ
    Compare(CompareArguments),
    /// Write measurements or the best model for other programs: csv, json, parquet, tensorboard, mlflow, hf
    Export(ExportArguments),
    /// Label new texts with the best model of a sweep or an exported model
    Predict(PredictArguments),
    /// Say why a loss does not decrease: verdicts on training logs of any program
    Diagnose(diagnose::Arguments),
    /// Write the next sweep file, based on the trials of this one
    Refine(RefineArguments),
    /// Train the best configurations again with new seeds, and say whether the winner holds
    Confirm(ConfirmArguments),
    /// Find out by experiment why trials stopped improving: short forks that change one setting each
    Probe(ProbeArguments),
    /// Show what a sweep file can contain: every key, with its range, its default and an example
    Keys(KeysArguments),
    /// Print the JSON Schema of sweep files, with which editors complete and check them
    Schema,
    /// Show the learning rate of every step, as csv or as a figure
    Schedule(ScheduleArguments),
    /// Show texts before and after an augmentation
    Augment(AugmentArguments),
    /// Find a learning rate: one short run with a rising rate, and where its loss falls
    LrFind(LrFindArguments),
    /// Print a script that completes commands and options in a shell
    Completions(CompletionsArguments),
    /// Print the manual page, or write one for each command
    Man(ManArguments),
    /// Train one attempt of one trial (`run` starts it)
    #[command(hide = true)]
    Worker(WorkerArguments),
    /// Run a program, and end everything that it has started when it or the parent ends (`worker` and `inspect` start it)
    #[command(hide = true)]
    Guard {
        /// Process id of the parent
        parent: i32,
        /// The program and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        line: Vec<OsString>,
    },
    /// Open the checkpoints that standard input names (`run` and `plan` start it)
    #[command(hide = true)]
    Inspect {
        /// Folder of the cache, which is only read
        #[arg(long)]
        cache: PathBuf,
    },
}

/// Which attempt a worker trains.
#[derive(Debug, Args)]
struct WorkerArguments {
    /// Folder of the attempt, with its assignment
    #[arg(long, required_unless_present = "batch")]
    attempt: Option<PathBuf>,
    /// Document of the batch that a cluster has started
    #[arg(long, requires = "index", conflicts_with = "attempt")]
    batch: Option<PathBuf>,
    /// Index in the batch
    #[arg(long)]
    index: Option<u32>,
    /// What standard input is: a pipe from the parent, whose end stops the worker, or nothing
    #[arg(long, value_enum, default_value_t = WorkerInput::Pipe)]
    stdin: WorkerInput,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WorkerInput {
    Pipe,
    None,
}

impl Command {
    /// Whether the command trains. Then it continues when its terminal is closed.
    fn trains(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Confirm(_) | Self::Probe(_) | Self::LrFind(_))
    }
}

fn run_worker(arguments: &WorkerArguments) -> u8 {
    match (&arguments.batch, &arguments.attempt) {
        (Some(batch), _) => worker::run_job(batch, arguments.index.unwrap_or_default()),
        (None, Some(attempt)) => worker::run(attempt, arguments.stdin == WorkerInput::Pipe),
        (None, None) => store::exit::BAD_INPUT,
    }
}

/// Parses the arguments, runs the command, and prints why it failed.
pub fn main() -> ExitCode {
    if let Err(limit) = store::report_limits() {
        return report_failure(&Failure::results(limit));
    }
    panic::set_hook(Box::new(report_panic));
    let program = match Program::try_parse() {
        Ok(program) => program,
        Err(error) => return report_usage(&error),
    };
    if program.command.trains() {
        // The thread that hears signals starts with the first trial.
        store::leave_hangups();
    }
    let result = match program.command {
        Command::Init(arguments) => init(&arguments),
        Command::Import(arguments) => import(&arguments),
        Command::Run(arguments) => run(&arguments),
        Command::Plan(arguments) => plan(arguments),
        Command::Report(arguments) => report(&arguments),
        Command::Status(arguments) => status(&arguments),
        Command::Stop(arguments) => stop(&arguments),
        Command::Watch(arguments) => watch(&arguments),
        Command::Compare(arguments) => compare(&arguments),
        Command::Export(arguments) => export(&arguments),
        Command::Predict(arguments) => predict(&arguments),
        Command::Diagnose(arguments) => diagnose::diagnose(&arguments),
        Command::Refine(arguments) => refine(&arguments),
        Command::Confirm(arguments) => confirm(arguments),
        Command::Probe(arguments) => probe(arguments),
        Command::Keys(arguments) => keys(&arguments),
        Command::Schema => schema(),
        Command::Schedule(arguments) => schedule(&arguments),
        Command::Augment(arguments) => augment(&arguments),
        Command::LrFind(arguments) => lr_find(&arguments),
        Command::Inspect { cache } => {
            inspect(cache);
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions(arguments) => completions(Program::command(), &arguments),
        Command::Man(arguments) => man(Program::command(), &arguments),
        Command::Worker(arguments) => return ExitCode::from(run_worker(&arguments)),
        Command::Guard { parent, line } => return ExitCode::from(train::augment::guard(parent, &line) as u8),
    };
    result.unwrap_or_else(|failure| report_failure(&failure))
}

fn report_failure(failure: &Failure) -> ExitCode {
    notify(&format!("error: {failure}"));
    failure.exit_code()
}

/// Prints a help text, or what is wrong with the arguments. They may be names of files of others, as with `plateau plan *`.
fn report_usage(error: &clap::Error) -> ExitCode {
    let is_safe = |argument: OsString| matches!(printable(&argument.to_string_lossy()), Cow::Borrowed(_));
    if env::args_os().all(is_safe) {
        // A closed terminal shows nothing.
        let _ = error.print();
    } else {
        // Without colours: clap does not tell its own escape sequences from those in an argument.
        notify(error.render().to_string().trim_end());
    }
    ExitCode::from(error.exit_code() as u8)
}

/// Prints a panic as the standard library does, with control characters escaped: its message may quote a foreign file.
fn report_panic(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    notify(&format!("thread '{}' {panic}", thread.name().unwrap_or("<unnamed>")));
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        notify(&trace.to_string());
    }
}
