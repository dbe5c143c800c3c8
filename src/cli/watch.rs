//! `plateau watch`: follows a run of another process.

use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::prepare::{self, SweepArguments};
use super::run::Progress;
use crate::report::terminal::Terminal;
use crate::run::{self, WatchEnd};
use crate::store;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    sweep: SweepArguments,
    /// How to show what happens: auto is bar on a terminal, else lines
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    progress: Progress,
}

/// Shows the run until it ends. Ctrl-C ends the watching, not the run.
#[expect(clippy::print_stderr, reason = "the last word is for people")]
pub(crate) fn watch(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let prepared = prepare::prepare(&arguments.sweep)?;
    let name = &arguments.sweep.sweep;
    if prepared.dir.holder().is_none() {
        return Err(Failure::input(format!(
            "nobody runs {name} now. `plateau status {name}` shows how it stands, `plateau run {name}` runs it"
        )));
    }
    let plan = &prepared.plan;
    let records = store::read_journal(&prepared.dir.journal())?.records;
    let mut terminal = Terminal::new(arguments.progress.into(), false, &plan.name, &plan.trials);
    terminal.recall(&records);
    terminal.join(&records);
    let end = run::watch(plan, &prepared.dir, records.len(), &mut terminal)?;
    terminal.close();
    match end {
        WatchEnd::Closed => eprintln!("report: {}", prepared.dir.report().join("index.html").display()),
        WatchEnd::Interrupted => eprintln!("The run was interrupted. `plateau run {name}` goes on with it."),
        WatchEnd::Gone => eprintln!("The process that ran {name} is gone. `plateau run {name}` goes on with it."),
    }
    Ok(ExitCode::SUCCESS)
}
