//! `plateau plan`: shows the trials of a sweep and their cost, without training.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Failure;
use super::arguments::{DisplayArguments, MachineArguments, RunOptions, SweepArguments, key_value};
use super::data_report;
use super::forecast::CostEstimate;
use super::format::{axis_value, table};
use super::origin::Origin;
use super::output::{notify, notify_all, print};
use super::prepare::{Prepared, prepare};
use crate::report::clock;
use crate::trial::{Status, TrialConfig, TrialId, spreadsheet_cell};

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    sweep: SweepArguments,
    /// Show only trials with this value (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    only: Vec<(String, String)>,
    #[arg(long, value_enum, default_value_t = PlanFormat::Table)]
    format: PlanFormat,
    #[command(flatten)]
    machine: MachineArguments,
    /// With `engine: slurm`: run a job of a second that shows whether nodes see the results, the data and this program
    #[arg(long)]
    probe: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    Table,
    Json,
    Csv,
}

pub(crate) fn plan(arguments: PlanArguments) -> Result<ExitCode, Failure> {
    let PlanArguments { sweep, only, format, machine, probe } = arguments;
    let options = RunOptions { only, ..RunOptions::new(sweep, machine, DisplayArguments::default()) };
    let prepared = prepare(&options.sweep, Some(&options.machine))?;
    let estimate = CostEstimate::new(&prepared, &options)?;
    let code = print_plan(&prepared, &estimate, format)?;
    if let (true, Some(jobs)) = (probe, &estimate.jobs) {
        notify(&jobs.probe(&prepared)?);
    }
    Ok(code)
}

/// Prints the plan on standard output, and warnings on standard error.
pub(crate) fn print_plan(
    prepared: &Prepared,
    estimate: &CostEstimate<'_>,
    format: PlanFormat,
) -> Result<ExitCode, Failure> {
    notify_all(&prepared.plan.warnings);
    let last = Origin::read(&prepared.dir);
    notify_all(
        &last.and_then(|last| last.changed_length(&prepared.plan, &prepared.dir)).into_iter().collect::<Vec<_>>(),
    );
    if format == PlanFormat::Table {
        notify_all(&data_report::full(&prepared.facts));
        notify_all(&estimate.advice(prepared).into_iter().collect::<Vec<_>>());
    }
    let keys: Vec<&str> = prepared.plan.axes.iter().map(|axis| axis.key.as_str()).collect();
    let text = match format {
        PlanFormat::Json => json(estimate)?,
        PlanFormat::Csv => csv(&keys, estimate)?,
        PlanFormat::Table => {
            let jobs = estimate.describe_jobs(prepared).unwrap_or_default();
            format!("{}\n{}\n{jobs}", rows(&keys, estimate), estimate.line())
        }
    };
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

fn rows(keys: &[&str], estimate: &CostEstimate<'_>) -> String {
    let CostEstimate { trials, statuses, costs, .. } = estimate;
    let is_started = statuses.iter().any(|status| *status != Status::Pending);
    let mut lines = vec![["id"].iter().chain(keys).map(ToString::to_string).collect::<Vec<_>>()];
    lines[0].extend(["steps".to_owned(), "time".to_owned()]);
    lines[0].extend(is_started.then(|| "status".to_owned()));
    for ((trial, cost), status) in trials.iter().zip(costs).zip(statuses) {
        let mut line = vec![trial.id.to_string()];
        line.extend(keys.iter().map(|key| axis_value(trial, key)));
        line.extend([trial.steps.to_string(), clock(cost.seconds)]);
        line.extend(is_started.then(|| status.name().to_owned()));
        lines.push(line);
    }
    table(&lines)
}

fn csv(keys: &[&str], estimate: &CostEstimate<'_>) -> Result<String, Failure> {
    let CostEstimate { trials, statuses, costs, .. } = estimate;
    let failed = |error: String| Failure::results(format!("cannot write the table: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = ["id"].iter().chain(keys).chain(&["steps", "seconds", "memory_bytes", "disk_bytes", "status"]);
    writer.write_record(header).map_err(|error| failed(error.to_string()))?;
    for ((trial, cost), status) in trials.iter().zip(costs).zip(statuses) {
        let mut record = vec![trial.id.to_string()];
        record.extend(keys.iter().map(|key| spreadsheet_cell(&axis_value(trial, key)).into_owned()));
        record.extend([trial.steps.to_string(), format!("{:.1}", cost.seconds)]);
        record.extend([cost.memory.to_string(), cost.disk().to_string(), status.name().to_owned()]);
        writer.write_record(&record).map_err(|error| failed(error.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| failed(error.to_string()))
}

/// A trial in the output of `plan --format json`.
#[derive(Debug, Serialize)]
struct PlannedTrial<'a> {
    id: &'a TrialId,
    values: serde_json::Map<String, serde_json::Value>,
    steps: u64,
    status: Status,
    config: &'a TrialConfig,
}

fn json(estimate: &CostEstimate<'_>) -> Result<String, Failure> {
    let trials: Vec<PlannedTrial<'_>> = estimate
        .trials
        .iter()
        .zip(&estimate.statuses)
        .map(|(trial, &status)| PlannedTrial {
            id: &trial.id,
            values: trial.values.iter().map(|(key, value)| (key.clone(), value.value.clone())).collect(),
            steps: trial.steps,
            status,
            config: &trial.config,
        })
        .collect();
    let text = serde_json::to_string_pretty(&trials);
    text.map(|text| text + "\n").map_err(|error| Failure::results(format!("cannot write the plan: {error}")))
}
