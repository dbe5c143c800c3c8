//! `plateau export`: everything that a sweep measured, for other programs.

mod mlflow;
#[cfg(feature = "parquet")]
mod parquet;
mod rows;

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Failure;
use super::failure::printed;
use super::plan::value;
use super::prepare::{self, Standing, SweepArguments};
use super::words::say;
use crate::analysis::{Run, Sweep};
use crate::event::Event;
use crate::report::{count, tensorboard};
use crate::run;
use crate::store::{self, RunDir};
use crate::trial::TrialId;
use rows::{Row, rows};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    sweep: SweepArguments,
    #[arg(long, value_enum)]
    format: Format,
    /// Where to write: a file (csv and json; standard output without it; parquet: table.parquet in the sweep's results), or
    /// a folder (tensorboard; default: tensorboard/ in the sweep's results)
    #[arg(short, long, value_name = "PATH", conflicts_with = "url")]
    output: Option<PathBuf>,
    /// The tracking server (mlflow); without it that of the variable `MLFLOW_TRACKING_URI`, else port 5000 of this machine
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One row a trial and step
    Csv,
    /// One document: every trial with configuration, outcome and curves
    Json,
    /// The table of csv with types, for pandas or polars (needs a build with --features parquet)
    Parquet,
    /// An event file for each trial
    Tensorboard,
    /// A run for each trial that has ended, on a tracking server; those that it has are left alone
    Mlflow,
}

pub(crate) fn export(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Standing { plan, dir } = prepare::standing(&arguments.sweep)?;
    if !dir.path().is_dir() {
        let folder = dir.path().display();
        return Err(Failure::input(format!("{folder}: nothing was run yet, so there is nothing to export")));
    }
    let sweep = run::survey(&plan, &dir)?;
    match arguments.format {
        Format::Csv => put(arguments.output.as_deref(), &csv(&sweep)?)?,
        Format::Json => put(arguments.output.as_deref(), &json_document(&sweep)?)?,
        Format::Tensorboard => {
            let folder = arguments.output.clone().unwrap_or_else(|| dir.path().join("tensorboard"));
            event_files(&sweep, &folder)?;
        }
        Format::Parquet => {
            let path = arguments.output.clone().unwrap_or_else(|| dir.path().join("table.parquet"));
            store::write_file(&path, &parquet_table(&sweep)?)?;
            say(&format!("table: {}", path.display()));
        }
        Format::Mlflow => {
            let usual = || std::env::var("MLFLOW_TRACKING_URI").unwrap_or_else(|_| "http://127.0.0.1:5000".into());
            let url = arguments.url.clone().unwrap_or_else(usual);
            let mlflow::Sent { new, known } = mlflow::send(&sweep, &began(&dir)?, &url)?;
            say(&format!("{url}: {} sent to the experiment {}, {known} were there", count(new, "trial"), sweep.name));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// When each trial was first started, milliseconds since 1970.
fn began(dir: &RunDir) -> Result<HashMap<TrialId, u64>, Failure> {
    let mut began = HashMap::new();
    for record in store::read_journal(&dir.journal())?.records {
        if let Event::AttemptStarted { trial, .. } = record.event {
            began.entry(trial).or_insert(record.at);
        }
    }
    Ok(began)
}

#[cfg(feature = "parquet")]
fn parquet_table(sweep: &Sweep) -> Result<Vec<u8>, Failure> {
    parquet::table(sweep).map_err(|error| Failure::results(format!("cannot write the table: {error}")))
}

#[cfg(not(feature = "parquet"))]
fn parquet_table(_: &Sweep) -> Result<Vec<u8>, Failure> {
    Err(Failure::input(
        "this program was built without Parquet: `cargo build --release --features parquet`, or --format csv",
    ))
}

fn put(path: Option<&Path>, bytes: &[u8]) -> Result<(), Failure> {
    match path {
        Some(path) => Ok(store::write_file(path, bytes)?),
        None => printed(io::stdout().lock().write_all(bytes)),
    }
}

/// A row for every step at which something was measured; what was not is empty.
fn csv(sweep: &Sweep) -> Result<Vec<u8>, Failure> {
    let failed = |error: String| Failure::results(format!("cannot write the table: {error}"));
    let keys: Vec<&str> = sweep.axes.iter().map(|axis| axis.key.as_str()).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let figures = ["status", "step", "train_loss", "learning_rate", "grad_norm", "eval_loss", "accuracy", "macro_f1"];
    writer.write_record(["id"].iter().chain(&keys).chain(&figures)).map_err(|error| failed(error.to_string()))?;
    for run in &sweep.runs {
        let mut head = vec![run.trial.id.to_string()];
        head.extend(keys.iter().map(|key| value(&run.trial, key)));
        head.push(run.status.name().to_owned());
        for row in rows(run) {
            writer.write_record(head.iter().chain(&fields(&row))).map_err(|error| failed(error.to_string()))?;
        }
    }
    writer.into_inner().map_err(|error| failed(error.to_string()))
}

/// Step and numbers of a row.
fn fields(row: &Row<'_>) -> [String; 7] {
    fn text<T: std::fmt::Debug>(value: Option<T>) -> String {
        value.map_or_else(String::new, |value| format!("{value:?}"))
    }
    let Row { step, metric, eval } = row;
    [
        step.to_string(),
        text(metric.map(|metric| metric.train_loss)),
        text(metric.map(|metric| metric.lr)),
        text(metric.map(|metric| metric.grad_norm)),
        text(eval.map(|eval| eval.eval_loss)),
        text(eval.map(|eval| eval.accuracy)),
        text(eval.map(|eval| eval.macro_f1)),
    ]
}

/// NaN and infinity, which JSON lacks, are null.
fn json_document(sweep: &Sweep) -> Result<Vec<u8>, Failure> {
    let trial = |run: &Run| {
        let values: serde_json::Map<String, Value> =
            run.trial.values.iter().map(|(key, value)| (key.clone(), value.value.clone())).collect();
        json!({
            "id": run.trial.id, "values": values, "status": run.status.name(), "error": run.error, "steps": run.trial.steps,
            "config": run.trial.config, "outcome": run.outcome, "metrics": run.metrics, "evals": run.evals,
        })
    };
    let document = json!({ "sweep": sweep.name, "trials": sweep.runs.iter().map(trial).collect::<Vec<_>>() });
    let bytes = serde_json::to_vec(&document);
    bytes.map_err(|error| Failure::results(format!("cannot write the sweep as JSON: {error}")))
}

fn event_files(sweep: &Sweep, folder: &Path) -> Result<(), Failure> {
    for run in sweep.runs.iter().filter(|run| !run.metrics.is_empty() || !run.evals.is_empty()) {
        let path = folder.join(folder_name(run)).join(tensorboard::FILE);
        store::write_file(&path, &tensorboard::events(run))?;
    }
    say(&format!("see it with: tensorboard --logdir {}", folder.display()));
    Ok(())
}

/// The values of a run, in characters that every file system takes, and its id.
fn folder_name(run: &Run) -> String {
    const MOST: usize = 120;
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-+".contains(c) { c } else { '_' };
    let value = |text: &str| text.chars().map(plain).collect::<String>();
    let values: Vec<String> = run.trial.values.iter().map(|(key, of)| format!("{key}={}", value(&of.text))).collect();
    let name: String = values.join(",").chars().take(MOST).collect();
    if name.is_empty() { run.trial.id.to_string() } else { format!("{name},{}", run.trial.id) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic::{self, axis};

    #[test]
    fn exports_hold_every_row_and_every_value() {
        let axes = [axis("lr", &["1e-5", "3e-5"]), axis("augmentation", &["none", "{name: eda, alpha: 0.1}"])];
        let mut sweep = synthetic::sweep("s", &axes, 48);
        sweep.runs[0].metrics[3].train_loss = f32::NAN;
        let text = String::from_utf8(csv(&sweep).unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "id,lr,augmentation,status,step,train_loss,learning_rate,grad_norm,eval_loss,accuracy,macro_f1"
        );
        // Step 0 is only evaluated.
        assert_eq!(lines.len(), 1 + 4 * 49);
        assert!(lines[5].contains(",4,NaN,"), "{}", lines[5]);
        let json: Value = serde_json::from_slice(&json_document(&sweep).unwrap()).unwrap();
        assert_eq!(json["trials"][0]["metrics"][3]["train_loss"], Value::Null);
        assert_eq!(json["trials"][3]["values"]["augmentation"]["name"], "eda");
        assert_eq!(folder_name(&sweep.runs[1]), "lr=1e-5,augmentation=_name__eda__alpha__0.1_,123456789abc");
    }
}
