//! `plateau run`: plans a sweep, trains what is missing, draws the report.

use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::arguments::RunOptions;
use super::forecast::CostEstimate;
use super::pipeline::run_estimated;
use super::plan::{PlanFormat, print_plan};
use super::prepare::{Prepared, prepare};
use super::probe::probe_plateaus;
use crate::spec::Probing;
use crate::trial::TrialId;

#[derive(Debug, Clone, Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    options: RunOptions,
    /// Show the plan and train nothing (as `plateau plan`)
    #[arg(long)]
    dry_run: bool,
}

/// Runs the sweep, and its probes if `run.probe` asks for them.
pub(crate) fn run(arguments: &RunArguments) -> Result<ExitCode, Failure> {
    let options = &arguments.options;
    let prepared = prepare(&options.sweep, Some(&options.machine))?;
    check_planned(&options.continued, &prepared)?;
    let estimate = CostEstimate::new(&prepared, options)?;
    if arguments.dry_run {
        return print_plan(&prepared, &estimate, PlanFormat::Table);
    }
    let summary = run_estimated(&prepared, &estimate, options)?;
    let is_complete = !summary.interrupted && summary.left == 0;
    if is_complete && prepared.spec.run.probe == Probing::Plateaus {
        let code = probe_plateaus(&prepared, options)?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    Ok(ExitCode::from(summary.exit_code()))
}

/// Refuses `--continue` for an id that the sweep does not have.
fn check_planned(ids: &[TrialId], prepared: &Prepared) -> Result<(), Failure> {
    let unknown = ids.iter().find(|id| !prepared.plan.trials.iter().any(|trial| trial.id == **id));
    unknown.map_or(Ok(()), |id| {
        let name = &prepared.plan.name;
        Err(Failure::input(format!("--continue {id}: {name} has no such trial. `plateau plan {name}` lists them")))
    })
}
