//! `plateau watch`: follows a run of another process.

use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::arguments::{ProgressMode, SweepArguments};
use super::output::notify;
use super::prepare::{RecordedSweep, recorded_sweep};
use crate::report::terminal::Terminal;
use crate::run::{self, WatchEnd};
use crate::state::SweepState;
use crate::store::JournalFollower;

#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    #[command(flatten)]
    sweep: SweepArguments,
    /// How to show progress; auto is bar on a terminal, and lines elsewhere
    #[arg(long, value_enum, default_value_t = ProgressMode::Auto)]
    progress: ProgressMode,
}

/// Shows the run until it ends. Ctrl-C ends the command, not the run.
pub(crate) fn watch(arguments: &WatchArguments) -> Result<ExitCode, Failure> {
    let RecordedSweep { mut plan, dir, .. } = recorded_sweep(&arguments.sweep)?;
    let sweep = &arguments.sweep;
    if !dir.is_held() {
        return Err(Failure::input(format!(
            "no process is running {sweep} now. `plateau status {sweep}` shows its trials, `plateau run {sweep}` runs it"
        )));
    }
    let mut journal = JournalFollower::new(dir.journal());
    let records = journal.poll()?.records;
    plan = run::with_drawn(&plan, &records).into_owned();
    let mut terminal = Terminal::new(arguments.progress.into(), false, &plan.name, &plan.trials);
    terminal.expect(plan.trials.len() + plan.undrawn());
    terminal.recall(&records);
    terminal.join(&records);
    let end = run::watch(&plan, &dir, journal, SweepState::fold(&plan, &records), &mut terminal)?;
    terminal.close();
    notify(&match end {
        WatchEnd::Closed => format!("report: {}", dir.report().join("index.html").display()),
        WatchEnd::Interrupted => format!("The run was interrupted. `plateau run {sweep}` continues it."),
        WatchEnd::Detached => format!("The trials continue in Slurm. `plateau run {sweep}` follows them again."),
        WatchEnd::Gone => format!("The process that ran {sweep} is gone. `plateau run {sweep}` continues the run."),
    });
    Ok(ExitCode::SUCCESS)
}
