//! `plateau lr-find`: a learning-rate range test of a sweep's configuration, with a figure and suggested rates.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Failure;
use super::arguments::{MachineArguments, SweepArguments, key_value};
use super::forecast::slots;
use super::format::axis_value;
use super::output::{notify, notify_all, print};
use super::pipeline::check_consent;
use super::prepare::{Prepared, prepare};
use super::selection::select;
use crate::analysis::RangeTest;
use crate::analysis::range_test::{FROM, STEPS, Suggestions, TO, Tried};
use crate::report;
use crate::train::{self, Job, Sink, TrainError};
use crate::trial::{
    AxisValue, CheckpointEvery, DiagnosticRow, EvalRow, FractionOrSteps, Key, Length, MICRO_BATCH_TOKENS, MetricRow,
    Scheduler, StopRules, Trial, TrialConfig,
};

#[derive(Debug, Args)]
pub(crate) struct LrFindArguments {
    #[command(flatten)]
    sweep: SweepArguments,
    #[command(flatten)]
    machine: MachineArguments,
    /// Test with this value of a key that varies (repeatable). Default: the first value of each
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    only: Vec<(String, String)>,
    /// What to print: the suggested rates, or every step as csv
    #[arg(long, value_enum, default_value_t = RangeTestFormat::Text)]
    format: RangeTestFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RangeTestFormat {
    Text,
    Csv,
}

/// Keys that the test sets itself. Their values in the sweep do not matter.
const OVERRIDDEN: [Key; 6] = [Key::LearningRate, Key::Warmup, Key::Scheduler, Key::Epochs, Key::Steps, Key::EvalEvery];

pub(crate) fn lr_find(arguments: &LrFindArguments) -> Result<ExitCode, Failure> {
    let prepared = prepare(&arguments.sweep, Some(&arguments.machine))?;
    notify_all(&prepared.plan.warnings);
    let trial = choose(&prepared, &arguments.only)?;
    let values = relevant_values(trial);
    check_consent(&prepared, &arguments.sweep, &arguments.machine)?;
    let config = range_config(trial, arguments.only.iter().any(|(key, _)| Key::Augmentation.covers(key)));
    let test = train(&prepared, &arguments.machine, &config)?;
    prepared.cache.flush();
    let csv = csv(&test);
    let folder = prepared.dir.lr_find();
    let source = format!("plateau lr-find {}, plateau {}", prepared.plan.name, env!("CARGO_PKG_VERSION"));
    let title = format!("Learning-rate range test of {}", prepared.plan.name);
    let figure = report::draw_range_test(&test, &title, &values, config.data.task, &source);
    let mut files = figure.map_err(|error| Failure::results(error.to_string()))?;
    files.push(("lr-find.csv".to_owned(), csv.clone().into_bytes()));
    for (name, bytes) in &files {
        prepared.dir.write(&folder.join(name), bytes)?;
    }
    let text = match arguments.format {
        RangeTestFormat::Csv => csv,
        RangeTestFormat::Text => text(&test, &folder.join("lr-find.png").display().to_string()),
    };
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

/// The first trial that matches `--only`. Says which values of other keys were taken.
fn choose<'a>(prepared: &'a Prepared, only: &[(String, String)]) -> Result<&'a Trial, Failure> {
    let ids = select(&prepared.plan, only)?;
    let trial = prepared.plan.trials.iter().find(|trial| Some(&trial.id) == ids.first());
    let trial = trial.ok_or_else(|| Failure::input("no trial has all the values given with --only"))?;
    let open = prepared.plan.axes.iter().filter(|axis| axis.values.len() > 1 && is_relevant(&axis.key));
    for axis in open.filter(|axis| !Key::Seed.is(&axis.key) && !only.iter().any(|(key, _)| *key == axis.key)) {
        let what = match (Key::of(&axis.key), axis.key.as_str()) {
            (Some(Key::Augmentation), _) => "augmentation varies in this sweep and is left out of the test".to_owned(),
            (_, key) => format!("{key} varies in this sweep, tested with {}", axis_value(trial, key)),
        };
        notify(&format!("{what}. Choose a value with --only"));
    }
    Ok(trial)
}

/// Whether the value of `key` matters to the test.
fn is_relevant(key: &str) -> bool {
    !OVERRIDDEN.iter().any(|overridden| overridden.covers(key)) && key.split('.').next() != Some("stop")
}

/// The values of varying keys that the test depends on.
fn relevant_values(trial: &Trial) -> Vec<(String, AxisValue)> {
    trial.values.iter().filter(|(key, _)| is_relevant(key) && !Key::Augmentation.covers(key)).cloned().collect()
}

/// The configuration of `trial` with a rising learning rate over a few steps. An augmentation that varies is left out,
/// unless `--only` chose it.
fn range_config(trial: &Trial, augments: bool) -> TrialConfig {
    let mut config = trial.config.clone();
    if !augments && trial.values.iter().any(|(key, _)| Key::Augmentation.covers(key)) {
        config.augmentation.clear();
    }
    // The ratio of the head's learning rate to the peak learning rate stays.
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
    let slots = slots(prepared, machine, 1)?;
    let slot = slots.first().ok_or_else(|| Failure::input("there is no device to train on"))?;
    let mut sink = RangeTestSink { steps: Vec::new(), ended: false, bar: bar() };
    let job = Job {
        config,
        device: slot.device,
        threads: slot.threads,
        checkpoint_every: CheckpointEvery::Steps(u64::MAX),
        micro_batch_tokens: MICRO_BATCH_TOKENS,
        micro_batch_splits: 0,
        ignores_stop_rules: false,
        sources: None,
        resume: None,
        start: None,
        cache: &prepared.cache,
    };
    let trained = train::train(job, &mut sink);
    sink.bar.finish_and_clear();
    match trained {
        Ok(_) | Err(TrainError::Interrupted) => Ok(RangeTest::of(&sink.steps)),
        Err(error @ (TrainError::Input(_) | TrainError::Data(_) | TrainError::TrainingState(_))) => {
            Err(Failure::input(error.to_string()))
        }
        Err(error) => Err(Failure::with_code(error.to_string(), 1)),
    }
}

/// Collects the losses, shows the progress, and ends the test when the loss blows up.
struct RangeTestSink {
    steps: Vec<(f64, f64)>,
    ended: bool,
    bar: ProgressBar,
}

impl Sink for RangeTestSink {
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

/// A progress bar, visible only on a terminal.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr_with_hz(10));
    if let Ok(style) = ProgressStyle::with_template("{bar:40} step {pos} of {len}, {msg}") {
        bar.set_style(style);
    }
    bar
}

/// `step,lr,loss,smoothed`. Steps count from 1, as in `metrics.csv`.
fn csv(test: &RangeTest) -> String {
    let mut text = "step,lr,loss,smoothed\n".to_owned();
    for (index, Tried { lr, loss, smoothed }) in test.tried.iter().enumerate() {
        let _ = writeln!(text, "{},{lr:?},{},{smoothed}", index + 1, *loss as f32);
    }
    text
}

fn text(test: &RangeTest, figure: &str) -> String {
    let mut text = String::new();
    if let Some(last) = test.tried.last().filter(|_| test.is_blown_up()) {
        let _ =
            writeln!(text, "The loss blew up at a learning rate of {:.1e}, after {} steps.", last.lr, test.tried.len());
    }
    match test.suggestions {
        Some(found) => {
            let Suggestions { valley, steep, minimum } = found;
            let _ =
                writeln!(text, "  valley        {valley:.1e}   in the longest fall of the loss, a good first choice");
            let _ = writeln!(text, "  steep         {steep:.1e}   where the loss falls fastest");
            let _ = writeln!(text, "  minimum / 10  {minimum:.1e}   a tenth of the learning rate with the lowest loss");
            let _ = writeln!(text, "\nfor the sweep file:\n\n{}\n", found.line());
        }
        None => text.push_str(
            "The loss fell at no learning rate, so there is none to suggest. Check the data, and look at the figure.\n",
        ),
    }
    let _ = writeln!(text, "figure: {figure}");
    text
}
