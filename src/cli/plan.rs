//! `plateau plan`: the trials of a sweep and what they will cost, without training.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::mem::discriminant;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::failure::printed;
use super::prepare::{self, Prepared, SweepArguments};
use super::words::{bytes, table, warn};
use super::{Failure, run};
use crate::event::Slot;
use crate::plan::{Estimate, PastTrial, PlanEstimate, estimate};
use crate::report::{clock, count};
use crate::spec::StopAcross;
use crate::store::{self, Results};
use crate::trial::{Device, Keep, Status, Trial, TrialConfig, TrialId};

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
    let prepared = prepare::prepare(&arguments.sweep, Some(&arguments.machine))?;
    let outlook = Outlook::new(&prepared, &arguments.only, &arguments.machine, Again::default())?;
    show(&prepared, &outlook, arguments.format)
}

/// Which trials that are over are trained again.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Again<'a> {
    pub failed: bool,
    /// Stopped ones.
    pub go_on: &'a [TrialId],
    pub all: bool,
}

/// The trials that a run is about, how they stand, and what is left to do on this machine.
pub(crate) struct Outlook<'a> {
    pub trials: Vec<&'a Trial>,
    /// Where the trials that are left will run.
    pub slots: Vec<Slot>,
    /// Of the trials that are left.
    pub total: PlanEstimate,
    statuses: Vec<Status>,
    /// Of every trial by itself.
    costs: Vec<Estimate>,
    left: usize,
    /// Whether the estimate rests on trials that were measured here.
    is_measured: bool,
}

impl<'a> Outlook<'a> {
    /// Of the trials that `only` leaves.
    pub(crate) fn new(
        prepared: &'a Prepared,
        only: &[(String, String)],
        machine: &run::MachineArguments,
        again: Again<'_>,
    ) -> Result<Self, Failure> {
        let ids = prepare::only(&prepared.plan, only)?;
        let wanted: HashSet<&TrialId> = ids.iter().collect();
        let trials: Vec<&Trial> = prepared.plan.trials.iter().filter(|trial| wanted.contains(&trial.id)).collect();
        let statuses = standing(prepared, &ids, again)?;
        let is_left: Vec<bool> =
            statuses.iter().map(|status| matches!(status, Status::Pending | Status::Running)).collect();
        let left = is_left.iter().filter(|left| **left).count();
        let mut past = past_trials(&prepared.results);
        let slots = run::slots(prepared, machine, left, &past)?;
        let (threads, device) = on(&slots);
        if device != Device::Cpu {
            past = past_trials_on(device, &prepared.results);
        }
        let costs: Vec<Estimate> = trials.iter().map(|trial| cost(prepared, trial, &past, threads)).collect();
        let rest: Vec<Estimate> =
            costs.iter().zip(&is_left).filter(|(_, left)| **left).map(|(cost, _)| *cost).collect();
        let config = &prepared.spec.run;
        let rules = |trial: &Trial| trial.config.stop.patience.is_some() || trial.config.stop.plateau.is_some();
        // A trial that is stopped keeps its state, to be gone on from.
        let may_stop = config.stop != StopAcross::default() || prepared.plan.trials.iter().any(rules);
        let keep = if may_stop && config.keep == Keep::None { Keep::Last } else { config.keep };
        let total = PlanEstimate::of(&rest, slots.len(), keep);
        Ok(Self { trials, slots, total, statuses, costs, left, is_measured: !past.is_empty() })
    }

    /// Bytes that each trial is expected to take at its peak.
    pub(crate) fn memory(&self) -> HashMap<TrialId, u64> {
        self.trials.iter().zip(&self.costs).map(|(trial, cost)| (trial.id.clone(), cost.memory)).collect()
    }

    /// `12 trials, 4 finished; 2 at a time on cpu, 1 thread each: about 1:20, ...`.
    pub(crate) fn line(&self) -> String {
        let number = |fits: fn(Status) -> bool| self.statuses.iter().filter(|status| fits(**status)).count();
        let mut text = count(self.trials.len(), "trial");
        let over = [("finished", number(Status::is_over)), ("failed", number(|status| status == Status::Failed))];
        for (word, count) in over.iter().filter(|(_, count)| *count > 0) {
            let _ = write!(text, ", {count} {word}");
        }
        if self.left == 0 {
            return text + ", nothing left to train";
        }
        if self.left < self.trials.len() {
            let _ = write!(text, ", {} left", self.left);
        }
        let (threads, device) = on(&self.slots);
        let _ = write!(
            text,
            "; {} at a time on {device}, {} each: about {}, {} of memory, {} of disk ({})",
            self.slots.len(),
            count(threads, "thread"),
            clock(self.total.seconds),
            bytes(self.total.memory),
            bytes(self.total.disk),
            if self.is_measured { "from earlier trials here" } else { "before any trial was measured here" },
        );
        text
    }

    /// What is said when the disk may not hold what is to come; nothing if it will.
    pub(crate) fn space_warning(&self, folder: &Path) -> Option<String> {
        let free = store::free_space(folder)?;
        (free < self.total.disk).then(|| {
            format!(
                "warning: {} has {} free, and the trials that are left need about {}: free some space, or choose another \
                 folder with --results",
                folder.display(),
                bytes(free),
                bytes(self.total.disk)
            )
        })
    }
}

/// Threads and device of the first slot; all have the same but for a thread.
fn on(slots: &[Slot]) -> (usize, Device) {
    slots.first().map_or((1, Device::Cpu), |slot| (slot.threads, slot.device))
}

fn standing(prepared: &Prepared, ids: &[TrialId], again: Again<'_>) -> Result<Vec<Status>, Failure> {
    if again.all || !prepared.dir.trials().exists() {
        return Ok(vec![Status::Pending; ids.len()]);
    }
    let mut statuses = crate::run::statuses(ids, &prepared.dir)?;
    let stopped = |(id, status): &(&TrialId, &mut Status)| **status == Status::Stopped && again.go_on.contains(id);
    ids.iter().zip(&mut statuses).filter(stopped).for_each(|(_, status)| *status = Status::Pending);
    if again.failed {
        statuses.iter_mut().filter(|status| **status == Status::Failed).for_each(|status| *status = Status::Pending);
    }
    Ok(statuses)
}

/// Prints what a run would be about.
pub(crate) fn show(prepared: &Prepared, outlook: &Outlook<'_>, format: Format) -> Result<ExitCode, Failure> {
    warn(&prepared.plan.warnings);
    let keys: Vec<&str> = prepared.plan.axes.iter().map(|axis| axis.key.as_str()).collect();
    let text = match format {
        Format::Json => json(outlook)?,
        Format::Csv => csv(&keys, outlook)?,
        Format::Table => format!("{}\n{}\n", rows(&keys, outlook), outlook.line()),
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

fn rows(keys: &[&str], outlook: &Outlook<'_>) -> String {
    let Outlook { trials, statuses, costs, .. } = outlook;
    let has_begun = statuses.iter().any(|status| *status != Status::Pending);
    let mut lines = vec![["id"].iter().chain(keys).map(ToString::to_string).collect::<Vec<_>>()];
    lines[0].extend(["steps".to_owned(), "time".to_owned()]);
    lines[0].extend(has_begun.then(|| "status".to_owned()));
    for ((trial, cost), status) in trials.iter().zip(costs).zip(statuses) {
        let mut line = vec![trial.id.to_string()];
        line.extend(keys.iter().map(|key| value(trial, key)));
        line.extend([trial.steps.to_string(), clock(cost.seconds)]);
        line.extend(has_begun.then(|| status.name().to_owned()));
        lines.push(line);
    }
    table(&lines)
}

/// The value of a varying key as written.
pub(crate) fn value(trial: &Trial, key: &str) -> String {
    trial.value(key).map_or_else(String::new, |value| value.text.clone())
}

fn csv(keys: &[&str], outlook: &Outlook<'_>) -> Result<String, Failure> {
    let Outlook { trials, statuses, costs, .. } = outlook;
    let failed = |error: String| Failure::results(format!("cannot write the table: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = ["id"].iter().chain(keys).chain(&["steps", "seconds", "memory_bytes", "disk_bytes", "status"]);
    writer.write_record(header).map_err(|error| failed(error.to_string()))?;
    for ((trial, cost), status) in trials.iter().zip(costs).zip(statuses) {
        let mut record = vec![trial.id.to_string()];
        record.extend(keys.iter().map(|key| value(trial, key)));
        record.extend([trial.steps.to_string(), format!("{:.1}", cost.seconds)]);
        record.extend([cost.memory.to_string(), cost.disk().to_string(), status.name().to_owned()]);
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
    status: Status,
    config: &'a TrialConfig,
}

fn json(outlook: &Outlook<'_>) -> Result<String, Failure> {
    let shown: Vec<Shown<'_>> = outlook
        .trials
        .iter()
        .zip(&outlook.statuses)
        .map(|(trial, &status)| Shown {
            id: &trial.id,
            values: trial.values.iter().map(|(key, value)| (key.clone(), value.value.clone())).collect(),
            steps: trial.steps,
            status,
            config: &trial.config,
        })
        .collect();
    let text = serde_json::to_string_pretty(&shown);
    text.map(|text| text + "\n").map_err(|error| Failure::results(format!("cannot write the plan: {error}")))
}
