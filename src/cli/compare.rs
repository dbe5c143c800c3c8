//! `plateau compare`: compares sweeps by the configurations that they share.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::arguments::{RESULTS, SweepArguments};
use super::format::table;
use super::output::{notify, print};
use super::prepare::{RecordedSweep, recorded_sweep};
use crate::analysis::Sweep;
use crate::report::compare::{self, Cell, Comparison};
use crate::report::draw_comparison;
use crate::run;
use crate::store;
use crate::trial::{LossConfig, TaskName};

#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// Two or more sweeps, as paths or names in sweeps/. The others are compared with the first
    #[arg(required = true, num_args = 2..=compare::MOST_SWEEPS, value_name = "SWEEP")]
    sweeps: Vec<String>,
    /// Folder of all results
    #[arg(long, value_name = "DIR", default_value = RESULTS)]
    results: PathBuf,
}

/// Prints the table and draws the figure into `compare/` in the results folder.
pub(crate) fn compare(arguments: &CompareArguments) -> Result<ExitCode, Failure> {
    let mut sweeps = Vec::new();
    for name in &arguments.sweeps {
        let sweep = SweepArguments::new(name, &arguments.results);
        let RecordedSweep { plan, dir, .. } = recorded_sweep(&sweep)?;
        if !dir.path().is_dir() {
            return Err(Failure::input(format!("{name}: nothing was run yet. Run it with `plateau run {sweep}`")));
        }
        sweeps.push(run::survey(&plan, &dir)?);
    }
    refuse_unlike_losses(&sweeps)?;
    let comparison = Comparison::of(&sweeps);
    print(text(&comparison))?;
    let (name, png, svg) = draw_comparison(&comparison).map_err(|error| Failure::results(error.to_string()))?;
    let folder = arguments.results.join("compare");
    let figure = folder.join(format!("{name}.png"));
    store::write_in_folder(&figure, &png)?;
    store::write_in_folder(&folder.join(format!("{name}.svg")), svg.as_bytes())?;
    notify(&format!("figure: {}", figure.display()));
    Ok(ExitCode::SUCCESS)
}

/// Losses of different tasks, or with other class weights, are not measured in the same way.
fn refuse_unlike_losses(sweeps: &[Sweep]) -> Result<(), Failure> {
    let measured =
        |sweep: &Sweep| sweep.runs.first().map(|run| (run.trial.config.data.task, run.trial.config.loss.clone()));
    let all: Vec<(&Sweep, (TaskName, LossConfig))> =
        sweeps.iter().filter_map(|sweep| Some((sweep, measured(sweep)?))).collect();
    match all.iter().find(|(_, loss)| *loss != all[0].1) {
        None => Ok(()),
        Some((other, _)) => Err(Failure::input(format!(
            "{} and {} have different tasks or losses, and this command compares losses. Compare their metrics in evals.csv",
            all[0].0.name, other.name
        ))),
    }
}

fn text(comparison: &Comparison) -> String {
    let mut lines = vec![vec!["configuration".to_owned()]];
    for (index, name) in comparison.names.iter().enumerate() {
        lines[0].push(name.clone());
        if index > 0 {
            lines[0].push("difference".into());
        }
    }
    for row in &comparison.rows {
        let mut line = vec![row.name.clone()];
        for (index, cell) in row.cells.iter().enumerate() {
            line.push(cell.as_ref().map_or_else(|| "–".into(), level));
            if index > 0 {
                let difference = cell.as_ref().and_then(|cell| cell.difference);
                line.push(difference.map_or_else(|| "–".into(), compare::signed));
            }
        }
        lines.push(line);
    }
    let mut text = String::new();
    for (key, values) in &comparison.differ {
        let _ = writeln!(text, "{key}: {}", values.join(" | "));
    }
    if !comparison.differ.is_empty() {
        text.push('\n');
    }
    if comparison.rows.is_empty() {
        text.push_str("no configuration is in more than one of the sweeps\n");
    } else {
        text.push_str(&table(&lines));
    }
    text.push('\n');
    for line in comparison.summary() {
        let _ = writeln!(text, "{line}");
    }
    for (name, alone) in comparison.names.iter().zip(&comparison.alone).filter(|(_, alone)| **alone > 0) {
        let _ = writeln!(text, "{name}: {alone} not compared, no other sweep has them");
    }
    text
}

fn level(cell: &Cell) -> String {
    match cell.best {
        Some(best) => best.sd.map_or_else(|| format!("{:.3}", best.mean), |sd| format!("{:.3} ±{sd:.3}", best.mean)),
        None => cell.verdict.clone(),
    }
}
