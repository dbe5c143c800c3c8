//! `plateau report`: redraws the report from what is on disk.

use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::prepare::{self, Prepared, SweepArguments};
use super::words::{say, warn};
use crate::report;
use crate::run;
use crate::store;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    sweep: SweepArguments,
}

pub(crate) fn report(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let prepared = prepare::prepare(&arguments.sweep)?;
    warn(&prepared.plan.warnings);
    if !prepared.dir.journal().exists() && !prepared.dir.trials().exists() {
        let folder = prepared.dir.path().display();
        return Err(Failure::input(format!(
            "{folder}: nothing was run yet. `plateau run {}` does",
            arguments.sweep.sweep
        )));
    }
    draw(&prepared)?;
    say(&format!("report: {}", prepared.dir.report().join("index.html").display()));
    Ok(ExitCode::SUCCESS)
}

/// Draws the sweep as it stands on disk, and replaces the files of its report one by one.
pub(crate) fn draw(prepared: &Prepared) -> Result<(), Failure> {
    let sweep = run::survey(&prepared.plan, &prepared.dir)?;
    let report = report::draw(&sweep, &source(prepared)).map_err(|error| Failure::results(error.to_string()))?;
    let folder = prepared.dir.report();
    for (name, bytes) in &report.files {
        store::write_file(&folder.join(name), bytes)?;
    }
    Ok(())
}

/// What the pictures show, for their metadata: the hash of the sweep's trials, and this program's version.
fn source(prepared: &Prepared) -> String {
    let ids: String = prepared.plan.trials.iter().map(|trial| trial.id.as_str()).collect();
    let hash = blake3::hash(ids.as_bytes()).to_hex();
    format!("sweep {} {}, plateau {}", prepared.plan.name, &hash[..12], env!("CARGO_PKG_VERSION"))
}
