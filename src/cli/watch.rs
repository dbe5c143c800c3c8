//! `plateau watch`: follows a run of another process.

use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::prepare::{self, Standing, SweepArguments};
use super::run::Progress;
use super::words::say;
use crate::report::terminal::Terminal;
use crate::run::{self, WatchEnd};
use crate::state::SweepState;
use crate::store::JournalFollower;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    sweep: SweepArguments,
    /// How to show what happens: auto is bar on a terminal, else lines
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    progress: Progress,
}

/// Shows the run until it ends. Ctrl-C ends the watching, not the run.
pub(crate) fn watch(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Standing { plan, dir } = prepare::standing(&arguments.sweep)?;
    let name = &arguments.sweep.sweep;
    if dir.holder().is_none() {
        return Err(Failure::input(format!(
            "nobody runs {name} now. `plateau status {name}` shows how it stands, `plateau run {name}` runs it"
        )));
    }
    let mut journal = JournalFollower::new(dir.journal());
    let records = journal.poll()?.records;
    let mut terminal = Terminal::new(arguments.progress.into(), false, &plan.name, &plan.trials);
    terminal.recall(&records);
    terminal.join(&records);
    let end = run::watch(&plan, &dir, journal, SweepState::fold(&plan, &records), &mut terminal)?;
    terminal.close();
    say(&match end {
        WatchEnd::Closed => format!("report: {}", dir.report().join("index.html").display()),
        WatchEnd::Interrupted => format!("The run was interrupted. `plateau run {name}` goes on with it."),
        WatchEnd::Gone => format!("The process that ran {name} is gone. `plateau run {name}` goes on with it."),
    });
    Ok(ExitCode::SUCCESS)
}
