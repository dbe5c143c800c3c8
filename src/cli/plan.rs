//! `plateau plan`: the trials of a sweep and what they will cost, without training.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::mem::discriminant;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::failure::printed;
use super::prepare::{self, Prepared, SweepArguments};
use super::words::{bytes, table, warn};
use super::{Failure, run};
use crate::plan::{Estimate, PastTrial, PlanEstimate, estimate};
use crate::report::{clock, count};
use crate::store::Results;
use crate::trial::{Device, Trial, TrialConfig, TrialId};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    sweep: SweepArguments,
    /// Leave only trials with this value (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = prepare::pair)]
    only: Vec<(String, String)>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    machine: run::MachineArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Csv,
}

/// Prints the plan on standard output, warnings on standard error.
pub(crate) fn plan(arguments: &Arguments) -> Result<ExitCode, Failure> {
    show(&prepare::prepare(&arguments.sweep)?, &arguments.only, &arguments.machine, arguments.format)
}

/// The trials that `only` leaves, with what they cost on this machine.
pub(crate) fn show(
    prepared: &Prepared,
    only: &[(String, String)],
    machine: &run::MachineArguments,
    format: Format,
) -> Result<ExitCode, Failure> {
    warn(&prepared.plan.warnings);
    let ids: HashSet<TrialId> = prepare::only(&prepared.plan, only)?.into_iter().collect();
    let trials: Vec<&Trial> = prepared.plan.trials.iter().filter(|trial| ids.contains(&trial.id)).collect();
    let mut past = past_trials(&prepared.results);
    let slots = run::slots(prepared, machine, trials.len(), &past)?;
    let (threads, device) = slots.first().map_or((1, Device::Cpu), |slot| (slot.threads, slot.device));
    if device != Device::Cpu {
        past = past_trials_on(device, &prepared.results);
    }
    let costs: Vec<Estimate> = trials.iter().map(|trial| cost(prepared, trial, &past, threads)).collect();
    let keys: Vec<&str> = prepared.plan.axes.iter().map(|axis| axis.key.as_str()).collect();
    let text = match format {
        Format::Json => json(&trials)?,
        Format::Csv => csv(&keys, &trials, &costs)?,
        Format::Table => {
            let mut text = rows(&keys, &trials, &costs);
            let total = PlanEstimate::of(&costs, slots.len(), prepared.spec.run.keep);
            let measured =
                if past.is_empty() { "before any trial was measured here" } else { "from earlier trials here" };
            let _ = writeln!(
                text,
                "\n{}, {} at a time on {device}, {} each: about {}, {} of memory, {} of disk ({measured})",
                count(trials.len(), "trial"),
                slots.len(),
                count(threads, "thread"),
                clock(total.seconds),
                bytes(total.memory),
                bytes(total.disk),
            );
            text
        }
    };
    printed(io::stdout().write_all(text.as_bytes()))?;
    Ok(ExitCode::SUCCESS)
}

/// What a trial will cost; nothing is known of one whose sources are not in the facts, which the plan rules out.
pub(crate) fn cost(prepared: &Prepared, trial: &Trial, past: &[PastTrial], threads: usize) -> Estimate {
    let facts = prepared.facts.of(&trial.config);
    facts.map_or_else(Estimate::default, |(data, model)| estimate(trial, data, model, past, threads))
}

/// What earlier trials cost on this machine's processor. Its memory is what decides how many run at a time.
pub(crate) fn past_trials(results: &Results) -> Vec<PastTrial> {
    past_trials_on(Device::Cpu, results)
}

/// What earlier trials on this machine cost on devices of the same kind: speeds of other kinds say nothing of it.
fn past_trials_on(device: Device, results: &Results) -> Vec<PastTrial> {
    const NEWEST: usize = 50;
    let history = results.history(NEWEST).into_iter();
    let alike = history.filter(|past| discriminant(&past.record.made_by.device) == discriminant(&device));
    let measured = alike.filter_map(|past| {
        Some(PastTrial {
            parameters: past.record.made_by.parameters?,
            tokens_per_second: past.outcome.tokens_per_second,
            threads: past.record.made_by.threads,
            peak_memory: past.outcome.peak_memory,
        })
    });
    measured.collect()
}

fn rows(keys: &[&str], trials: &[&Trial], costs: &[Estimate]) -> String {
    let mut lines = vec![["id"].iter().chain(keys).map(ToString::to_string).collect::<Vec<_>>()];
    lines[0].extend(["steps".to_owned(), "time".to_owned()]);
    for (trial, cost) in trials.iter().zip(costs) {
        let mut line = vec![trial.id.to_string()];
        line.extend(keys.iter().map(|key| value(trial, key)));
        line.extend([trial.steps.to_string(), clock(cost.seconds)]);
        lines.push(line);
    }
    table(&lines)
}

/// The value of a varying key as written.
pub(crate) fn value(trial: &Trial, key: &str) -> String {
    trial.value(key).map_or_else(String::new, |value| value.text.clone())
}

fn csv(keys: &[&str], trials: &[&Trial], costs: &[Estimate]) -> Result<String, Failure> {
    let failed = |error: String| Failure::results(format!("cannot write the table: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = ["id"].iter().chain(keys).chain(&["steps", "seconds", "memory_bytes", "disk_bytes"]);
    writer.write_record(header).map_err(|error| failed(error.to_string()))?;
    for (trial, cost) in trials.iter().zip(costs) {
        let mut record = vec![trial.id.to_string()];
        record.extend(keys.iter().map(|key| value(trial, key)));
        record.extend([trial.steps.to_string(), format!("{:.1}", cost.seconds)]);
        record.extend([cost.memory.to_string(), cost.disk().to_string()]);
        writer.write_record(&record).map_err(|error| failed(error.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| failed(error.to_string()))
}

/// A trial as `plan --format json` shows it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: &'a TrialId,
    values: serde_json::Map<String, serde_json::Value>,
    steps: u64,
    config: &'a TrialConfig,
}

fn json(trials: &[&Trial]) -> Result<String, Failure> {
    let shown: Vec<Shown<'_>> = trials
        .iter()
        .map(|trial| Shown {
            id: &trial.id,
            values: trial.values.iter().map(|(key, value)| (key.clone(), value.value.clone())).collect(),
            steps: trial.steps,
            config: &trial.config,
        })
        .collect();
    let text = serde_json::to_string_pretty(&shown);
    text.map(|text| text + "\n").map_err(|error| Failure::results(format!("cannot write the plan: {error}")))
}
