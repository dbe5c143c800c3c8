//! `plateau report`: redraws the report from what is on disk.

use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::prepare::{self, Standing, SweepArguments};
use super::words::{say, warn};
use crate::plan::Plan;
use crate::report::{self, Sources};
use crate::run;
use crate::store::{self, RunDir};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    sweep: SweepArguments,
}

pub(crate) fn report(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Standing { plan, dir } = prepare::standing(&arguments.sweep)?;
    warn(&plan.warnings);
    if !dir.journal().exists() && !dir.trials().exists() {
        let folder = dir.path().display();
        return Err(Failure::input(format!(
            "{folder}: nothing was run yet. `plateau run {}` does",
            arguments.sweep.sweep
        )));
    }
    Drawing::default().draw(&plan, &dir)?;
    say(&format!("report: {}", dir.report().join("index.html").display()));
    Ok(ExitCode::SUCCESS)
}

/// A report that is drawn again and again as trials end.
#[derive(Debug, Default)]
pub(crate) struct Drawing {
    surveyor: run::Surveyor,
    sources: Sources,
}

impl Drawing {
    /// Draws the sweep as it stands on disk, and replaces the files of its report one by one; figures of an
    /// earlier report that this one leaves out go.
    pub(crate) fn draw(&mut self, plan: &Plan, dir: &RunDir) -> Result<(), Failure> {
        let sweep = self.surveyor.look(plan, dir)?;
        let provenance = self.sources.read(dir, sweep)?;
        let probed = run::probed(dir)?;
        let report = report::draw(sweep, &probed, &provenance).map_err(|error| Failure::results(error.to_string()))?;
        let folder = dir.report();
        for (name, bytes) in &report.files {
            store::write_file(&folder.join(name), bytes)?;
        }
        for name in report.left_out() {
            store::remove_if(&folder.join(name), report::is_ours)?;
        }
        Ok(())
    }
}
