//! `plateau report`: redraws the report from what is on disk.

use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::prepare::{self, Prepared, SweepArguments};
use super::words::warn;
use crate::report::{self, Origin};
use crate::run;
use crate::store;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    sweep: SweepArguments,
}

#[expect(clippy::print_stderr, reason = "says where the report is")]
pub(crate) fn report(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let prepared = prepare::prepare(&arguments.sweep)?;
    warn(&prepared.plan.warnings);
    if !prepared.dir.path().is_dir() {
        let folder = prepared.dir.path().display();
        return Err(Failure::input(format!(
            "{folder}: nothing was run yet. `plateau run {}` does",
            arguments.sweep.sweep
        )));
    }
    Drawing::default().draw(&prepared)?;
    eprintln!("report: {}", prepared.dir.report().join("index.html").display());
    Ok(ExitCode::SUCCESS)
}

/// A report that is drawn again and again as trials end.
#[derive(Debug, Default)]
pub(crate) struct Drawing {
    surveyor: run::Surveyor,
}

impl Drawing {
    /// Draws the sweep as it stands on disk, and replaces the files of its report one by one.
    pub(crate) fn draw(&mut self, prepared: &Prepared) -> Result<(), Failure> {
        let sweep = self.surveyor.look(&prepared.plan, &prepared.dir)?;
        let origin = Origin::read(&prepared.dir, &sweep)?;
        let report = report::draw(&sweep, &origin).map_err(|error| Failure::results(error.to_string()))?;
        let folder = prepared.dir.report();
        for (name, bytes) in &report.files {
            store::write_file(&folder.join(name), bytes)?;
        }
        Ok(())
    }
}
