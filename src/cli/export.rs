//! `plateau export`: everything that a sweep measured, for other programs.

mod events;
mod mlflow;
#[cfg(feature = "parquet")]
mod parquet;
mod rows;

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Failure;
use super::failure::printed;
use super::plan::value;
use super::prepare::{self, Standing, SweepArguments};
use super::track::Tracker as _;
use super::words::say;
use crate::analysis::{Run, Sweep};
use crate::event::{Event, Record};
use crate::report::count;
use crate::run;
use crate::store;
use crate::trial::{Status, TrialId};
pub(super) use events::EventFiles;
pub(super) use mlflow::{Mlflow, usual_url};
use rows::{Row, rows};

/// For one request to a server.
const PATIENCE: Duration = Duration::from_mins(1);

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
    /// An event file for each trial; those that are there are gone on with
    Tensorboard,
    /// A run for each trial that has ended, on a tracking server; what it has is not sent twice
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
            let folder = arguments.output.clone().unwrap_or_else(|| dir.tensorboard());
            let mut files = EventFiles::new(folder.clone());
            sweep.runs.iter().try_for_each(|run| files.take(run, 0).map(drop))?;
            say(&format!("see it with: tensorboard --logdir {}", folder.display()));
        }
        Format::Parquet => {
            let path = arguments.output.clone().unwrap_or_else(|| dir.path().join("table.parquet"));
            store::write_file(&path, &parquet_table(&sweep)?)?;
            say(&format!("table: {}", path.display()));
        }
        Format::Mlflow => {
            let url = arguments.url.clone().unwrap_or_else(usual_url);
            send(&sweep, &began(&store::read_journal(&dir.journal())?.records), &url)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// When each trial was first started, milliseconds since 1970.
pub(super) fn began(records: &[Record]) -> HashMap<TrialId, u64> {
    let mut began = HashMap::new();
    for record in records {
        if let Event::AttemptStarted { trial, .. } = &record.event {
            began.entry(trial.clone()).or_insert(record.at);
        }
    }
    began
}

/// Sends every trial that has ended.
fn send(sweep: &Sweep, began: &HashMap<TrialId, u64>, url: &str) -> Result<(), Failure> {
    let mut server = Mlflow::new(url, &sweep.name, PATIENCE);
    let (mut new, mut known) = (0, 0);
    for run in sweep.runs.iter().filter(|run| run.status.is_over() || run.status == Status::Failed) {
        let sent = server.take(run, began.get(&run.trial.id).copied().unwrap_or(0))?;
        *if sent { &mut new } else { &mut known } += 1;
    }
    say(&format!("{url}: {} sent to the experiment {}, {known} were there", count(new, "trial"), sweep.name));
    Ok(())
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
    }
}
