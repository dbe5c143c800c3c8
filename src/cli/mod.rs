//! The command line: one file a subcommand, and the one place where errors become messages and exit codes.

mod augment;
mod compare;
mod diagnose;
mod export;
mod failure;
mod live;
mod log;
mod lr_find;
mod origin;
mod plan;
mod prepare;
mod probe;
mod refine;
mod report;
mod run;
mod schedule;
mod status;
mod track;
mod watch;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use failure::Failure;

/// Experiment sweeps that answer one question: why is my loss not decreasing?
#[derive(Debug, Parser)]
#[command(name = "plateau", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train what is missing of a sweep, then draw its report. Run it again to continue
    Run(run::Arguments),
    /// Show the trials of a sweep and what they will cost, without training
    Plan(plan::Arguments),
    /// Redraw the report from what is on disk, finished or not
    Report(report::Arguments),
    /// Show what is done, running, failed and left
    Status(status::Arguments),
    /// Follow a run of another process until it ends
    Watch(watch::Arguments),
    /// Lay sweeps side by side: the same configurations, and how their losses differ
    Compare(compare::Arguments),
    /// Write what was measured for other programs: csv, json, parquet, tensorboard, mlflow
    Export(export::Arguments),
    /// Say why a loss does not fall: verdicts on training logs of any origin
    Diagnose(diagnose::Arguments),
    /// Write the next sweep file, from what the trials of this one say
    Refine(refine::Arguments),
    /// Train the best configurations again with new seeds, and say whether the winner stands
    Confirm(refine::ConfirmArguments),
    /// Ask trials that went flat why, by experiment: forks at other rates, other texts, one batch by heart
    Probe(probe::Arguments),
    /// Show the learning rate of every step, as csv or as a picture
    Schedule(schedule::Arguments),
    /// Show texts before and after an augmentation
    Augment(augment::Arguments),
    /// Find a learning rate: one short run with the rate rising step by step, and where its loss falls
    LrFind(lr_find::Arguments),
    /// Train one attempt at one trial (started by `run`)
    #[command(hide = true)]
    Worker {
        /// Folder of the attempt, holding its assignment
        #[arg(long)]
        attempt: PathBuf,
    },
}

/// Parses the arguments, runs the command, prints what went wrong.
pub fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Plan(arguments) => plan::plan(&arguments),
        Command::Report(arguments) => report::report(&arguments),
        Command::Status(arguments) => status::status(&arguments),
        Command::Watch(arguments) => watch::watch(&arguments),
        Command::Compare(arguments) => compare::compare(&arguments),
        Command::Export(arguments) => export::export(&arguments),
        Command::Diagnose(arguments) => diagnose::diagnose(&arguments),
        Command::Refine(arguments) => refine::refine(&arguments),
        Command::Confirm(arguments) => refine::confirm(arguments),
        Command::Probe(arguments) => probe::probe(arguments),
        Command::Schedule(arguments) => schedule::schedule(&arguments),
        Command::Augment(arguments) => augment::augment(&arguments),
        Command::LrFind(arguments) => lr_find::lr_find(&arguments),
        Command::Worker { attempt } => return ExitCode::from(crate::worker::run(&attempt)),
    };
    match result {
        Ok(code) => code,
        Err(failure) => failure.print(),
    }
}
