//! `plateau plan`: shows the trials of a sweep and their cost, without training.

use std::collections::HashMap;
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
use super::pipeline::check_consent;
use super::prepare::{Prepared, prepare};
use crate::plan::Plan;
use crate::report::clock;
use crate::trial::{DrawnBy, Status, TrialConfig, TrialId, spreadsheet_cell};

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
        check_consent(&prepared, &options.sweep, &options.machine)?;
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
        notify_all(&data_report::heads(&prepared.facts, prepared.plan.trials.iter()));
        notify_all(&estimate.notes(prepared));
    }
    let keys: Vec<&str> = prepared.plan.axes.iter().map(|axis| axis.key.as_str()).collect();
    let draws = draws(&prepared.plan);
    let text = match format {
        PlanFormat::Json => json(estimate, &draws)?,
        PlanFormat::Csv => csv(&keys, estimate, &draws)?,
        PlanFormat::Table => {
            let jobs = estimate.describe_jobs(prepared).unwrap_or_default();
            format!("{}\n{}\n{jobs}", rows(&keys, estimate, &draws), estimate.line())
        }
    };
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

/// The number of the configuration of each trial of a search, and what drew it. Empty without a search.
type Draws<'p> = HashMap<&'p TrialId, (u64, DrawnBy)>;

fn draws(plan: &Plan) -> Draws<'_> {
    let draws = plan.search.iter().flat_map(|search| &search.draws);
    draws.flat_map(|draw| draw.trials.iter().map(|trial| (trial, (draw.number, draw.by)))).collect()
}

fn rows(keys: &[&str], estimate: &CostEstimate<'_>, draws: &Draws<'_>) -> String {
    let CostEstimate { trials, statuses, costs, .. } = estimate;
    let is_started = statuses.iter().any(|status| *status != Status::Pending);
    let is_search = !draws.is_empty();
    let first = if is_search { &["#", "id"][..] } else { &["id"] };
    let mut lines = vec![first.iter().chain(keys).map(ToString::to_string).collect::<Vec<_>>()];
    lines[0].extend(is_search.then(|| "by".to_owned()));
    lines[0].extend(["steps".to_owned(), "time".to_owned()]);
    lines[0].extend(is_started.then(|| "status".to_owned()));
    for ((trial, cost), status) in trials.iter().zip(costs).zip(statuses) {
        let drawn = draws.get(&trial.id);
        let number = is_search.then(|| drawn.map_or_else(String::new, |(number, _)| number.to_string()));
        let mut line: Vec<String> = number.into_iter().chain([trial.id.to_string()]).collect();
        line.extend(keys.iter().map(|key| axis_value(trial, key)));
        line.extend(is_search.then(|| drawn.map_or_else(String::new, |(_, by)| by.name().to_owned())));
        line.extend([trial.steps.to_string(), clock(cost.seconds)]);
        line.extend(is_started.then(|| status.name().to_owned()));
        lines.push(line);
    }
    table(&lines)
}

fn csv(keys: &[&str], estimate: &CostEstimate<'_>, draws: &Draws<'_>) -> Result<String, Failure> {
    let CostEstimate { trials, statuses, costs, .. } = estimate;
    let failed = |error: String| Failure::results(format!("cannot write the table: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let of_search = if draws.is_empty() { &[][..] } else { &["number", "by"] };
    let header = ["id"].iter().chain(keys).chain(&["steps", "seconds", "memory_bytes", "disk_bytes", "status"]);
    let header = header.chain(of_search);
    writer.write_record(header).map_err(|error| failed(error.to_string()))?;
    for ((trial, cost), status) in trials.iter().zip(costs).zip(statuses) {
        let mut record = vec![trial.id.to_string()];
        record.extend(keys.iter().map(|key| spreadsheet_cell(&axis_value(trial, key)).into_owned()));
        record.extend([trial.steps.to_string(), format!("{:.1}", cost.seconds)]);
        record.extend([cost.memory.to_string(), cost.disk().to_string(), status.name().to_owned()]);
        if !draws.is_empty() {
            let drawn = draws.get(&trial.id).map(|(number, by)| [number.to_string(), by.name().to_owned()]);
            record.extend(drawn.unwrap_or_default());
        }
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
    /// Of the configuration in a search.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    config: &'a TrialConfig,
}

fn json(estimate: &CostEstimate<'_>, draws: &Draws<'_>) -> Result<String, Failure> {
    let trials: Vec<PlannedTrial<'_>> = estimate
        .trials
        .iter()
        .zip(&estimate.statuses)
        .map(|(trial, &status)| PlannedTrial {
            id: &trial.id,
            values: trial.values.iter().map(|(key, value)| (key.clone(), value.value.clone())).collect(),
            steps: trial.steps,
            status,
            number: draws.get(&trial.id).map(|(number, _)| *number),
            by: draws.get(&trial.id).map(|(_, by)| by.name()),
            config: &trial.config,
        })
        .collect();
    let text = serde_json::to_string_pretty(&trials);
    text.map(|text| text + "\n").map_err(|error| Failure::results(format!("cannot write the plan: {error}")))
}
