//! `plateau schedule`: the learning rate of every step, as csv or as a figure.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::Failure;
use super::arguments::{RESULTS, SweepArguments, key_value};
use super::output::{notify, notify_all, printed};
use super::prepare::prepare;
use super::sweep_file::SweepFile;
use crate::plan::{self, PlannedSchedule};
use crate::report::{self, ScheduleCurve};
use crate::spec::{self, lookup, shown};
use crate::store;
use crate::train::schedule::Schedule;
use crate::trial::{AxisValue, Key, Scheduler};

#[derive(Debug, Args)]
pub(crate) struct ScheduleArguments {
    /// A sweep file, a name in sweeps/, or part of a sweep file with lr, warmup and scheduler
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// Set or override a value: --set scheduler=cosine --set lr=1e-4 --set warmup=0.1
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Optimizer steps of the run. Default: the steps of the sweep
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_STEPS))]
    steps: Option<u64>,
    #[arg(long, value_enum, default_value_t = ScheduleFormat::Csv)]
    format: ScheduleFormat,
    /// Where to write. Default for csv: standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ScheduleFormat {
    Csv,
    Png,
}

const MAX_STEPS: u64 = 100_000_000;
/// Points of all curves in one figure.
const MAX_POINTS: u64 = 20_000_000;

pub(crate) fn schedule(arguments: &ScheduleArguments) -> Result<ExitCode, Failure> {
    if arguments.format == ScheduleFormat::Png && arguments.output.is_none() {
        return Err(Failure::input("--format png needs a file: add -o schedule.png"));
    }
    let schedules = planned(arguments)?;
    if schedules.iter().any(|schedule| matches!(schedule.config.scheduler, Scheduler::ReduceOnPlateau { .. })) {
        notify(
            "warning: reduce_on_plateau depends on the evaluation loss. Shown is its learning rate before any reduction",
        );
    }
    match (arguments.format, &arguments.output) {
        (ScheduleFormat::Png, Some(path)) => store::write_output(path, &figure(&schedules)?)?,
        (_, None) => printed(csv(&mut io::BufWriter::new(io::stdout().lock()), &schedules))?,
        (_, Some(path)) => {
            let mut text = Vec::new();
            printed(csv(&mut text, &schedules))?;
            store::write_output(path, &text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The requested schedules. Data and checkpoint are read only if the number of steps depends on them.
fn planned(arguments: &ScheduleArguments) -> Result<Vec<PlannedSchedule>, Failure> {
    let Some(config) = &arguments.config else {
        let steps = arguments.steps.ok_or_else(|| Failure::input("the number of steps is missing: add --steps N"))?;
        let spec = spec::parse("--set", "schedule", "", &arguments.set)?;
        return Ok(plan::schedules(&spec, steps)?);
    };
    let Some(steps) = arguments.steps else {
        let set = arguments.set.clone();
        let prepared = prepare(&SweepArguments { set, ..SweepArguments::new(config, RESULTS) }, None)?;
        notify_all(&prepared.plan.warnings);
        return Ok(prepared.plan.schedules());
    };
    let file = SweepFile::read(config)?;
    let spec = spec::parse(&file.shown(), file.stem(), &file.text, &arguments.set)?;
    notify_all(&spec.warnings());
    Ok(plan::schedules(&spec, steps)?)
}

fn rates(planned: &PlannedSchedule) -> impl Iterator<Item = f64> {
    let (config, steps) = (&planned.config, planned.steps);
    let schedule = Schedule::new(&config.scheduler, config.lr, config.warmup.steps(steps), steps);
    (0..steps).map(move |k| schedule.lr(k))
}

/// `step,lr`, with a third column for the name if there are several schedules. Steps count from 0.
fn csv(out: &mut impl io::Write, schedules: &[PlannedSchedule]) -> io::Result<()> {
    let several = schedules.len() > 1;
    writeln!(out, "step,lr{}", if several { ",schedule" } else { "" })?;
    for planned in schedules {
        let mut name = String::new();
        if several {
            let parts: Vec<String> =
                planned.values.iter().map(|(key, value)| format!("{key}={}", value.text)).collect();
            let _ = write!(name, ",\"{}\"", parts.join(" ").replace('"', "\"\""));
        }
        for (step, rate) in rates(planned).enumerate() {
            writeln!(out, "{step},{rate:?}{name}")?;
        }
    }
    out.flush()
}

/// The schedules in one figure, as PNG.
fn figure(schedules: &[PlannedSchedule]) -> Result<Vec<u8>, Failure> {
    let points = schedules.iter().map(|planned| planned.steps).fold(0, u64::saturating_add);
    if points > MAX_POINTS {
        return Err(Failure::input(format!(
            "{points} points are too many for a figure (at most {MAX_POINTS}): draw fewer schedules or fewer --steps"
        )));
    }
    let curves: Vec<ScheduleCurve> = schedules
        .iter()
        .map(|planned| ScheduleCurve { values: planned.values.clone(), rates: rates(planned).collect() })
        .collect();
    let source = format!("plateau schedule, plateau {}", env!("CARGO_PKG_VERSION"));
    report::draw_schedules(&curves, &common(schedules), &source).map_err(|error| Failure::results(error.to_string()))
}

/// The settings that all schedules share.
fn common(schedules: &[PlannedSchedule]) -> Vec<(String, AxisValue)> {
    let Some(first) = schedules.first() else { return Vec::new() };
    let json = serde_json::to_value(&first.config).unwrap_or_default();
    let varies = |key: &str| first.values.iter().any(|(varying, _)| varying.split('.').next() == Some(key));
    let keys = [Key::LearningRate, Key::Warmup, Key::Scheduler]
        .map(Key::path)
        .into_iter()
        .filter(|key| schedules.len() == 1 || !varies(key));
    let keys =
        keys.filter(|key| !Key::Warmup.is(key) || schedules.iter().all(|s| s.config.warmup == first.config.warmup));
    let value = |key: &str| (key.to_owned(), shown(key, lookup(&json, key).unwrap_or(&Value::Null)));
    let mut common: Vec<(String, AxisValue)> = keys.map(value).collect();
    if schedules.len() == 1 || !varies(Key::Steps.path()) {
        let text = first.steps.to_string();
        common.push((Key::Steps.path().to_owned(), AxisValue { value: first.steps.into(), text }));
    }
    common
}
