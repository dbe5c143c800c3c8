//! `plateau status`: what is done, running, failed and left.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::failure::printed;
use super::plan::value;
use super::prepare::{self, SweepArguments};
use super::words::{table, warn};
use crate::analysis::{Run, Sweep};
use crate::report::count as counted;
use crate::run;
use crate::trial::Status;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A path, or the name of a file in sweeps/; without one, a line for each sweep in sweeps/
    sweep: Option<String>,
    /// Folder of all results
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
}

pub(crate) fn status(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let text = match &arguments.sweep {
        Some(sweep) => trials(&survey(sweep, &arguments.results)?),
        None => all_sweeps(&arguments.results)?,
    };
    printed(io::stdout().write_all(text.as_bytes()))?;
    Ok(ExitCode::SUCCESS)
}

fn all_sweeps(results: &Path) -> Result<String, Failure> {
    let names = prepare::known_sweeps();
    if names.is_empty() {
        return Err(Failure::input("there is no folder sweeps/ here: name a sweep file"));
    }
    let mut lines = vec![["sweep", "trials", "finished", "running", "failed", "left"].map(str::to_owned).to_vec()];
    for name in names {
        match survey(&name, results) {
            Ok(sweep) => lines.push(counts(&sweep)),
            Err(failure) => warn(&[format!("{name}: {failure}")]),
        }
    }
    Ok(table(&lines))
}

fn survey(sweep: &str, results: &Path) -> Result<Sweep, Failure> {
    let arguments = SweepArguments { sweep: sweep.to_owned(), results: results.to_owned(), set: Vec::new() };
    let prepared = prepare::prepare(&arguments)?;
    Ok(run::survey(&prepared.plan, &prepared.dir)?)
}

fn counts(sweep: &Sweep) -> Vec<String> {
    let count = |fits: fn(Status) -> bool| sweep.runs.iter().filter(|run| fits(run.status)).count().to_string();
    vec![
        sweep.name.clone(),
        sweep.runs.len().to_string(),
        count(|status| matches!(status, Status::Finished | Status::Diverged | Status::Stopped)),
        count(|status| status == Status::Running),
        count(|status| status == Status::Failed),
        count(|status| status == Status::Pending),
    ]
}

fn trials(sweep: &Sweep) -> String {
    let keys: Vec<&str> = sweep.axes.iter().map(|axis| axis.key.as_str()).collect();
    let mut header: Vec<String> = ["id"].iter().chain(&keys).map(ToString::to_string).collect();
    header.extend(["status", "step", "train loss", "eval loss", "best eval"].map(str::to_owned));
    let mut lines = vec![header];
    for run in &sweep.runs {
        let mut line = vec![run.trial.id.to_string()];
        line.extend(keys.iter().map(|key| value(&run.trial, key)));
        line.extend(standing(run));
        lines.push(line);
    }
    let summary = counts(sweep);
    let [name, _, finished, running, failed, left] = &summary[..] else { return table(&lines) };
    let trials = counted(sweep.runs.len(), "trial");
    format!(
        "{}\n{name}: {trials}, {finished} finished, {running} running, {failed} failed, {left} left\n",
        table(&lines)
    )
}

fn standing(run: &Run) -> [String; 5] {
    let loss = |value: Option<f32>| value.map_or_else(String::new, |value| format!("{value:.4}"));
    let evals = run.evals.iter().map(|row| row.eval_loss);
    [
        run.status.name().to_owned(),
        format!("{}/{}", run.metrics.last().map_or(0, |row| row.step), run.trial.steps),
        loss(run.metrics.last().map(|row| row.train_loss)),
        loss(run.evals.last().map(|row| row.eval_loss)),
        loss(evals.filter(|loss| loss.is_finite()).min_by(f32::total_cmp)),
    ]
}
