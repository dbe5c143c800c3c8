//! `plateau schedule`: the learning rate of every step, as numbers or as a picture.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::Failure;
use super::failure::printed;
use super::origin;
use super::prepare::{self, SweepArguments};
use super::words::warn;
use crate::plan::{self, PlannedSchedule};
use crate::report::{self, RateCurve};
use crate::spec::{self, lookup, shown};
use crate::store;
use crate::train::schedule::Schedule;
use crate::trial::{AxisValue, Scheduler};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A sweep file, the name of one in sweeps/, or a piece of one with lr, warmup and scheduler
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// Set or override a value: --set scheduler=cosine --set lr=1e-4 --set warmup=0.1
    #[arg(long, value_name = "KEY=VALUE", value_parser = prepare::pair)]
    set: Vec<(String, String)>,
    /// Optimizer steps of the run; without it, those of the sweep
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_STEPS))]
    steps: Option<u64>,
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Where to write; csv goes to standard output without it
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Png,
}

const MOST_STEPS: u64 = 100_000_000;
/// Rates of all curves together that a picture is made of.
const MOST_POINTS: u64 = 20_000_000;

pub(crate) fn schedule(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if arguments.format == Format::Png && arguments.output.is_none() {
        return Err(Failure::input("a picture needs a place: add -o schedule.png"));
    }
    let schedules = planned(arguments)?;
    if schedules.iter().any(|schedule| matches!(schedule.config.scheduler, Scheduler::ReduceOnPlateau { .. })) {
        warn(&[
            "warning: reduce_on_plateau depends on the eval loss: shown is its rate before any reduction".to_owned()
        ]);
    }
    match (arguments.format, &arguments.output) {
        (Format::Png, Some(path)) => store::write_file(path, &picture(&schedules)?)?,
        (_, None) => printed(csv(&mut io::BufWriter::new(io::stdout().lock()), &schedules))?,
        (_, Some(path)) => {
            let mut text = Vec::new();
            printed(csv(&mut text, &schedules))?;
            store::write_file(path, &text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The schedules that were asked for. Data and checkpoints are looked at only where the steps depend on them.
fn planned(arguments: &Arguments) -> Result<Vec<PlannedSchedule>, Failure> {
    let Some(config) = &arguments.config else {
        let steps = arguments.steps.ok_or_else(|| Failure::input("how long is the run? Add --steps N"))?;
        let spec = spec::parse("--set", "schedule", "", &arguments.set)?;
        return Ok(plan::schedules(&spec, steps)?);
    };
    let Some(steps) = arguments.steps else {
        let (sweep, set) = (config.clone(), arguments.set.clone());
        let prepared = prepare::prepare(&SweepArguments { sweep, results: PathBuf::from("results"), set }, None)?;
        warn(&prepared.plan.warnings);
        return Ok(prepared.plan.schedules());
    };
    let path = prepare::find(config)?;
    let spec = spec::parse(&path.display().to_string(), origin::stem(&path), &prepare::read(&path)?, &arguments.set)?;
    warn(&spec.warnings());
    Ok(plan::schedules(&spec, steps)?)
}

fn rates(planned: &PlannedSchedule) -> impl Iterator<Item = f64> {
    let (config, steps) = (&planned.config, planned.steps);
    let schedule = Schedule::new(&config.scheduler, config.lr, config.warmup.steps(steps), steps);
    (0..steps).map(move |k| schedule.rate(k))
}

/// `step,lr`, steps from 0; with a third column that names the schedule if there are several.
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

/// The schedules as PNG, laid over one another.
fn picture(schedules: &[PlannedSchedule]) -> Result<Vec<u8>, Failure> {
    let points = schedules.iter().map(|planned| planned.steps).fold(0, u64::saturating_add);
    if points > MOST_POINTS {
        let what = format!("{points} rates are too many for a picture, which holds {MOST_POINTS}");
        return Err(Failure::input(format!("{what}: draw fewer schedules, or over fewer --steps")));
    }
    let curves: Vec<RateCurve> = schedules
        .iter()
        .map(|planned| RateCurve { values: planned.values.clone(), rates: rates(planned).collect() })
        .collect();
    let source = format!("plateau schedule, plateau {}", env!("CARGO_PKG_VERSION"));
    report::draw_schedules(&curves, &common(schedules), &source).map_err(|error| Failure::results(error.to_string()))
}

/// What all schedules share of rate, warm-up, scheduler and steps.
fn common(schedules: &[PlannedSchedule]) -> Vec<(String, AxisValue)> {
    let Some(first) = schedules.first() else { return Vec::new() };
    let json = serde_json::to_value(&first.config).unwrap_or_default();
    let varies = |key: &str| first.values.iter().any(|(varying, _)| varying.split('.').next() == Some(key));
    let keys = ["lr", "warmup", "scheduler"].into_iter().filter(|key| schedules.len() == 1 || !varies(key));
    let keys = keys.filter(|key| *key != "warmup" || schedules.iter().all(|s| s.config.warmup == first.config.warmup));
    let value = |key: &str| (key.to_owned(), shown(key, lookup(&json, key).unwrap_or(&Value::Null)));
    let mut common: Vec<(String, AxisValue)> = keys.map(value).collect();
    if schedules.len() == 1 || !varies("steps") {
        let text = first.steps.to_string();
        common.push(("steps".to_owned(), AxisValue { value: first.steps.into(), text }));
    }
    common
}
