//! `plateau lr-find`: the learning-rate range test of a sweep's configuration, its figure and what it suggests.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::failure::printed;
use super::prepare::{self, Prepared, SweepArguments};
use super::run::{MachineArguments, slots};
use super::words::warn;
use super::{Failure, plan};
use crate::analysis::RangeTest;
use crate::analysis::range_test::{FROM, STEPS, Suggestions, TO, Tried};
use crate::report;
use crate::store;
use crate::train::{self, Job, Sink, TrainError};
use crate::trial::{
    AxisValue, CheckpointEvery, DiagnosticRow, EvalRow, FractionOrSteps, Length, MetricRow, Scheduler, StopRules,
    Trial, TrialConfig,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    sweep: SweepArguments,
    #[command(flatten)]
    machine: MachineArguments,
    /// Where several values vary, test with this one (repeatable); else with the first of each
    #[arg(long, value_name = "KEY=VALUE", value_parser = prepare::pair)]
    only: Vec<(String, String)>,
    /// What to print: the suggestions in words, or every step as csv
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Csv,
}

/// Keys that the test sets itself, so that it does not matter which of their values a trial has.
const OWN: &[&str] = &["lr", "warmup", "scheduler", "epochs", "steps", "eval_every", "stop"];

pub(crate) fn lr_find(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let prepared = prepare::prepare(&arguments.sweep, Some(&arguments.machine))?;
    warn(&prepared.plan.warnings);
    let trial = chosen(&prepared, &arguments.only)?;
    let values = relevant(trial);
    let config = range_config(trial, arguments.only.iter().any(|(key, _)| is_of(key, "augmentation")));
    let test = train(&prepared, &arguments.machine, &config)?;
    prepared.cache.store();
    let csv = csv(&test);
    let folder = prepared.dir.lr_find();
    let source = format!("plateau lr-find {}, plateau {}", prepared.plan.name, env!("CARGO_PKG_VERSION"));
    let title = format!("Learning-rate range test of {}", prepared.plan.name);
    let figure = report::draw_range_test(&test, &title, &values, &source);
    let mut files = figure.map_err(|error| Failure::results(error.to_string()))?;
    files.push(("lr-find.csv".to_owned(), csv.clone().into_bytes()));
    for (name, bytes) in &files {
        store::write_file(&folder.join(name), bytes)?;
    }
    let text = match arguments.format {
        Format::Csv => csv,
        Format::Text => words(&test, &folder.join("lr-find.png").display().to_string()),
    };
    printed(io::stdout().write_all(text.as_bytes()))?;
    Ok(ExitCode::SUCCESS)
}

/// The first trial that `--only` leaves.
fn chosen<'a>(prepared: &'a Prepared, wanted: &[(String, String)]) -> Result<&'a Trial, Failure> {
    let ids = prepare::only(&prepared.plan, wanted)?;
    let trial = prepared.plan.trials.iter().find(|trial| Some(&trial.id) == ids.first());
    let trial = trial.ok_or_else(|| Failure::input("no trial has all the values given with --only"))?;
    let open = prepared.plan.axes.iter().filter(|axis| axis.values.len() > 1 && matters(&axis.key));
    let open: Vec<String> = open
        .filter(|axis| axis.key != "seed" && !wanted.iter().any(|(key, _)| *key == axis.key))
        .map(|axis| match axis.key.as_str() {
            "augmentation" => "augmentation varies in this sweep and is left out of the test".to_owned(),
            key => format!("{key} varies in this sweep: tested with {}", plan::value(trial, key)),
        })
        .collect();
    warn(&open.iter().map(|what| format!("{what}; choose a value with --only")).collect::<Vec<_>>());
    Ok(trial)
}

/// Whether `key` is the key `group` or inside of it.
fn is_of(key: &str, group: &str) -> bool {
    key.split('.').next() == Some(group)
}

fn matters(key: &str) -> bool {
    !OWN.iter().any(|own| is_of(key, own))
}

/// What the trial is told apart by, as far as it matters here.
fn relevant(trial: &Trial) -> Vec<(String, AxisValue)> {
    trial.values.iter().filter(|(key, _)| matters(key) && !is_of(key, "augmentation")).cloned().collect()
}

/// The configuration of `trial` with a rate that rises over a few steps. An augmentation that varies is left out, unless
/// the user chose its value.
fn range_config(trial: &Trial, augments: bool) -> TrialConfig {
    let mut config = trial.config.clone();
    if !augments && trial.values.iter().any(|(key, _)| is_of(key, "augmentation")) {
        config.augmentation.clear();
    }
    // The head's rate keeps its proportion to the others'.
    config.optimizer.head_lr = config.optimizer.head_lr.map(|head| head / config.lr * TO);
    TrialConfig {
        lr: TO,
        warmup: FractionOrSteps(0.0),
        scheduler: Scheduler::RangeTest { from: FROM },
        length: Length::Steps(STEPS),
        stop: StopRules { diverged: false, patience: None, plateau: None },
        ..config
    }
}

fn train(prepared: &Prepared, machine: &MachineArguments, config: &TrialConfig) -> Result<RangeTest, Failure> {
    let slots = slots(prepared, machine, 1, &[])?;
    let slot = slots.first().ok_or_else(|| Failure::input("there is nothing to train on"))?;
    let mut watched = Watched { steps: Vec::new(), ended: false, bar: bar() };
    let job = Job {
        config,
        device: slot.device,
        threads: slot.threads,
        checkpoint_every: CheckpointEvery::Steps(u64::MAX),
        micro_batch_splits: 0,
        ignores_stop_rules: false,
        resume: None,
        start: None,
        cache: &prepared.cache,
    };
    let trained = train::train(job, &mut watched);
    watched.bar.finish_and_clear();
    match trained {
        Ok(_) | Err(TrainError::Interrupted) => Ok(RangeTest::of(&watched.steps)),
        Err(error @ (TrainError::Input(_) | TrainError::State(_))) => Err(Failure::input(error.to_string())),
        Err(error) => Err(Failure::with_code(error.to_string(), 1)),
    }
}

/// Takes in the losses, shows how far the test is, and ends it where the loss blows up.
struct Watched {
    steps: Vec<(f64, f64)>,
    ended: bool,
    bar: ProgressBar,
}

impl Sink for Watched {
    fn metric(&mut self, row: &MetricRow) -> io::Result<()> {
        self.steps.push((row.lr, f64::from(row.train_loss)));
        self.ended = RangeTest::of(&self.steps).is_blown_up();
        self.bar.set_message(format!("lr {:.1e}, loss {:.3}", row.lr, row.train_loss));
        self.bar.inc(1);
        Ok(())
    }

    fn eval(&mut self, _: &EvalRow) -> io::Result<()> {
        Ok(())
    }

    fn diagnostic(&mut self, _: &DiagnosticRow) -> io::Result<()> {
        Ok(())
    }

    fn checkpoint(&mut self, _: u64, _: bool, _: Vec<u8>) -> io::Result<()> {
        Ok(())
    }

    fn interrupted(&self) -> bool {
        self.ended
    }

    fn evaluates(&self) -> bool {
        false
    }
}

/// Shown on a terminal alone.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr_with_hz(10));
    if let Ok(style) = ProgressStyle::with_template("{bar:40} step {pos} of {len}, {msg}") {
        bar.set_style(style);
    }
    bar
}

/// `step,lr,loss,smoothed`, steps from 1 as in `metrics.csv`.
fn csv(test: &RangeTest) -> String {
    let mut text = "step,lr,loss,smoothed\n".to_owned();
    for (index, Tried { lr, loss, smoothed }) in test.tried.iter().enumerate() {
        let _ = writeln!(text, "{},{lr:?},{},{smoothed}", index + 1, *loss as f32);
    }
    text
}

fn words(test: &RangeTest, picture: &str) -> String {
    let mut text = String::new();
    if let Some(last) = test.tried.last().filter(|_| test.is_blown_up()) {
        let _ = writeln!(text, "The loss blew up at a rate of {:.1e}, after {} steps.", last.lr, test.tried.len());
    }
    match test.suggestions {
        Some(found) => {
            let Suggestions { valley, steep, minimum } = found;
            let _ =
                writeln!(text, "  valley        {valley:.1e}   in the longest fall of the loss; a good first choice");
            let _ = writeln!(text, "  steep         {steep:.1e}   where the loss falls fastest");
            let _ = writeln!(text, "  minimum / 10  {minimum:.1e}   a tenth of the rate with the lowest loss");
            let _ = writeln!(text, "\nfor the sweep file:\n\n{}\n", found.line());
        }
        None => text
            .push_str("The loss fell at no rate, so there is none to suggest. Look at the data and at the picture.\n"),
    }
    let _ = writeln!(text, "picture: {picture}");
    text
}
