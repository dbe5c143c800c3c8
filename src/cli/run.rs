//! `plateau run`: plans a sweep, trains what is missing, draws the report.

use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::arguments::{RunOptions, SweepArguments};
use super::forecast::CostEstimate;
use super::kept_models::KeptModel;
use super::output::notify;
use super::pipeline::{TestSetUse, run_estimated};
use super::plan::{PlanFormat, print_plan};
use super::prepare::{Prepared, prepare};
use super::probe::probe_plateaus;
use crate::run::survey_outcomes;
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
    let mut prepared = prepare(&options.sweep, Some(&options.machine))?;
    if options.fresh {
        prepared.forget_draws()?;
    }
    check_planned(&options.continued, &prepared)?;
    let estimate = CostEstimate::new(&prepared, options)?;
    if arguments.dry_run {
        return print_plan(&prepared, &estimate, PlanFormat::Table);
    }
    let summary = run_estimated(&prepared, &estimate, options, TestSetUse::AtTheEnd)?;
    let is_complete = !summary.interrupted && summary.left == 0;
    if is_complete && prepared.spec.run.probe == Probing::Plateaus {
        let code = probe_plateaus(&prepared, options)?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    if !summary.interrupted && options.display.shows_notes() {
        show_predict(&prepared, &options.sweep)?;
    }
    Ok(ExitCode::from(summary.exit_code()))
}

/// Says how the best model is used, if its weights were kept.
fn show_predict(prepared: &Prepared, arguments: &SweepArguments) -> Result<(), Failure> {
    let (sweep, _) = survey_outcomes(&prepared.plan, &prepared.dir)?;
    if KeptModel::leader(&sweep, &prepared.dir).is_some() {
        // `predict` takes no --set, so an overridden name would not be found by the file.
        let named = if arguments.set.is_empty() { &arguments.sweep } else { &prepared.plan.name };
        let model = SweepArguments::new(named, &arguments.results);
        let (name, options) = (model.quoted_sweep(), model.results_option());
        notify(&format!("Label new texts with the best model: plateau predict {name} FILE{options}"));
    }
    Ok(())
}

/// Refuses `--continue` for an id that the sweep does not have.
fn check_planned(ids: &[TrialId], prepared: &Prepared) -> Result<(), Failure> {
    let unknown = ids.iter().find(|id| !prepared.plan.trials.iter().any(|trial| trial.id == **id));
    unknown.map_or(Ok(()), |id| {
        let name = &prepared.plan.name;
        Err(Failure::input(format!("--continue {id}: {name} has no such trial. `plateau plan {name}` lists them")))
    })
}
