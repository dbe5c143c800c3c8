//! `plateau export`: writes the measurements of a sweep, or its best model, for other programs.

mod model;
mod parquet;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Failure;
use super::arguments::{SweepArguments, trial_id};
use super::format::axis_value;
use super::output::{notify, print};
use super::prepare::{RecordedSweep, recorded_sweep};
use super::tracking::{start_times, with_curves};
use crate::analysis::{Run, Sweep};
use crate::report::count;
use crate::run;
use crate::store;
use crate::track::{EventFiles, Mlflow, Row, Tracker as _, default_url, rows};
use crate::train::weights::WeightType;
use crate::trial::{Status, TrialId, spreadsheet_cell};

/// For one request to a server.
const TIMEOUT: Duration = Duration::from_mins(1);

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    #[command(flatten)]
    sweep: SweepArguments,
    #[arg(long, value_enum)]
    format: ExportFormat,
    /// Where to write. csv and json: a file, default standard output. parquet: a file, default table.parquet in the
    /// sweep's results. tensorboard: a folder, default tensorboard/ in the sweep's results. hf: an empty folder
    #[arg(short, long, value_name = "PATH", conflicts_with = "url")]
    output: Option<PathBuf>,
    /// The tracking server for mlflow. Default: the variable `MLFLOW_TRACKING_URI`, else port 5000 of this machine
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// hf: the model of this trial. Default: the trial that is best by `metric` and kept its weights
    #[arg(long, value_name = "ID", value_parser = trial_id, conflicts_with = "top")]
    trial: Option<TrialId>,
    /// hf: the models of the N best trials, each in a folder of its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    top: Option<u16>,
    /// hf: the precision of the weights
    #[arg(long, value_enum, default_value_t = ExportType::F32)]
    dtype: ExportType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExportType {
    F32,
    F16,
    Bf16,
}

impl From<ExportType> for WeightType {
    fn from(dtype: ExportType) -> Self {
        match dtype {
            ExportType::F32 => Self::F32,
            ExportType::F16 => Self::F16,
            ExportType::Bf16 => Self::Bf16,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// A row for each trial and step
    Csv,
    /// One document: every trial with its configuration, outcome and curves
    Json,
    /// The table of csv with types, for pandas or polars
    Parquet,
    /// An event file for each trial. Files from an earlier export are continued
    Tensorboard,
    /// A run for each trial that has ended, on a tracking server. Nothing is sent twice
    Mlflow,
    /// The best model as a folder for Hugging Face's transformers, with tokenizer and model card
    Hf,
    /// What `model.lora` trained, as a folder for Hugging Face's peft
    Peft,
}

pub(crate) fn export(arguments: &ExportArguments) -> Result<ExitCode, Failure> {
    let RecordedSweep { plan, dir, .. } = recorded_sweep(&arguments.sweep)?;
    if !dir.path().is_dir() {
        let folder = dir.path().display();
        return Err(Failure::input(format!("{folder}: nothing was run yet, so there is nothing to export")));
    }
    let sweep = run::survey(&plan, &dir)?;
    match arguments.format {
        ExportFormat::Csv => write(arguments.output.as_deref(), &csv(&sweep)?)?,
        ExportFormat::Json => write(arguments.output.as_deref(), &json_document(&sweep)?)?,
        ExportFormat::Tensorboard => {
            let folder = arguments.output.clone().unwrap_or_else(|| dir.tensorboard());
            let mut files = EventFiles::new(folder.clone());
            sweep.runs.iter().try_for_each(|run| with_curves(run, 0, |curves| files.update(curves)).map(drop))?;
            notify(&format!("see it with: tensorboard --logdir {}", folder.display()));
        }
        ExportFormat::Parquet => {
            let table = parquet_table(&sweep)?;
            let among_results = dir.path().join("table.parquet");
            match &arguments.output {
                Some(path) => store::write_output(path, &table)?,
                None => dir.write(&among_results, &table)?,
            }
            notify(&format!("table: {}", arguments.output.as_ref().unwrap_or(&among_results).display()));
        }
        ExportFormat::Mlflow => {
            let url = arguments.url.clone().unwrap_or_else(default_url);
            send(&sweep, &start_times(&store::read_journal(&dir.journal())?.records), &url)?;
        }
        ExportFormat::Hf | ExportFormat::Peft => model::export(&sweep, &dir, arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends every trial that has ended to an MLflow server.
fn send(sweep: &Sweep, started: &HashMap<TrialId, u64>, url: &str) -> Result<(), Failure> {
    let mut server = Mlflow::new(url, &sweep.name, TIMEOUT);
    let (mut new, mut known) = (0, 0);
    for run in sweep.runs.iter().filter(|run| run.status.is_over() || run.status == Status::Failed) {
        let started = started.get(&run.trial.id).copied().unwrap_or(0);
        let is_new = with_curves(run, started, |curves| server.update(curves))?;
        *if is_new { &mut new } else { &mut known } += 1;
    }
    notify(&format!("{url}: {} sent to the experiment {}, {known} sent before", count(new, "trial"), sweep.name));
    Ok(())
}

fn parquet_table(sweep: &Sweep) -> Result<Vec<u8>, Failure> {
    parquet::table(sweep).map_err(|error| Failure::results(format!("cannot write the table: {error}")))
}

fn write(path: Option<&Path>, bytes: &[u8]) -> Result<(), Failure> {
    match path {
        Some(path) => Ok(store::write_output(path, bytes)?),
        None => print(bytes),
    }
}

/// A row for every step at which something was measured. Other fields are empty.
fn csv(sweep: &Sweep) -> Result<Vec<u8>, Failure> {
    let failed = |error: String| Failure::results(format!("cannot write the table: {error}"));
    let keys: Vec<&str> = sweep.axes.iter().map(|axis| axis.key.as_str()).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let columns = ["status", "step", "train_loss", "learning_rate", "grad_norm", "eval_loss", "accuracy", "macro_f1"];
    writer.write_record(["id"].iter().chain(&keys).chain(&columns)).map_err(|error| failed(error.to_string()))?;
    for run in &sweep.runs {
        let mut head = vec![run.trial.id.to_string()];
        head.extend(keys.iter().map(|key| spreadsheet_cell(&axis_value(&run.trial, key)).into_owned()));
        head.push(run.status.name().to_owned());
        for row in rows(&run.metrics, &run.evals) {
            writer.write_record(head.iter().chain(&fields(&row))).map_err(|error| failed(error.to_string()))?;
        }
    }
    writer.into_inner().map_err(|error| failed(error.to_string()))
}

/// The step and the numbers of a row.
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

/// JSON has no NaN and no infinity: both are null.
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
    fn csv_and_json_hold_every_row_and_value() {
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
