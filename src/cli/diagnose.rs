//! `plateau diagnose`: verdicts on the training logs of any program.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Failure;
use super::log_files;
use super::output::{notify, print};
use crate::analysis::detector::{Series, Stretch, Trend};
use crate::analysis::effects;
use crate::analysis::late_rise::late_rise;
use crate::analysis::measured::LEAST_DELTA;
use crate::analysis::shape::verdict;
use crate::analysis::{Diagnosis, Finding, Measured, Run, Shape, diagnose as judge};
use crate::logs::{Log, label_shares};
use crate::run::survey_folder;
use crate::store::{StoreError, TrialDir};
use crate::trial::{Status, Verdict};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Training logs. Several count as a sweep
    ///
    /// A file: CSV or TSV, JSON or JSON lines, `trainer_state.json`, a history of Keras, an export of Weights & Biases, a TensorBoard
    /// event file, or what the Trainer of transformers printed, each also compressed (.gz, .zst, .zip). Or a folder: an output folder, a
    /// checkpoint, or a trial of a sweep.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Share (or number) of training examples of each class: --classes 0.7,0.2,0.1
    #[arg(long, value_name = "P1,P2,...", value_delimiter = ',', conflicts_with = "labels")]
    classes: Vec<f64>,
    /// A file with the training labels: one a line, or a table with a column `label`; also compressed
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What a path leads to.
enum Source {
    /// The log of another program, or curves without a trial.
    Log(Log),
    /// A trial of a sweep, with its configuration, its diagnostics and the class frequencies of its data.
    Trial(Box<Run>),
}

impl Source {
    /// `prior`: share of each class as the user gave it, else empty. It outweighs what the trial says.
    fn measured<'a>(&'a self, prior: &'a [f64]) -> Measured<'a> {
        match self {
            Self::Log(log) => log.measured(prior),
            Self::Trial(run) if prior.is_empty() => run.measured(),
            Self::Trial(run) => Measured { train_prior: prior, eval_prior: prior, ..run.measured() },
        }
    }

    /// What was assumed, joined and ignored when it was read.
    fn notes(&self) -> &[String] {
        match self {
            Self::Log(log) => log.notes(),
            Self::Trial(_) => &[],
        }
    }

    fn status(&self) -> Status {
        match self {
            Self::Log(_) => Status::Finished,
            Self::Trial(run) => run.status,
        }
    }
}

/// A log with its diagnosis.
struct Judged<'a> {
    name: String,
    notes: &'a [String],
    measured: Measured<'a>,
    diagnosis: Diagnosis,
}

pub(crate) fn diagnose(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let prior = prior(arguments)?;
    let (mut sources, mut failures) = (Vec::new(), Vec::new());
    for path in &arguments.files {
        match load(path) {
            Ok(source) => sources.push((path, source)),
            Err(failure) => failures.push(failure),
        }
    }
    let judged: Vec<Judged<'_>> = sources
        .iter()
        .map(|(path, source)| {
            let measured = source.measured(&prior);
            let diagnosis = judge(&measured, source.status(), LEAST_DELTA);
            Judged { name: path.display().to_string(), notes: source.notes(), measured, diagnosis }
        })
        .collect();
    let members: Vec<(&Measured<'_>, &Diagnosis)> = judged.iter().map(|log| (&log.measured, &log.diagnosis)).collect();
    let findings = if judged.len() > 1 { effects::of_logs(&members) } else { Vec::new() };
    let text = match arguments.format {
        Format::Text => text(&judged, &findings),
        Format::Json => {
            let logs: Vec<Value> = judged.iter().map(as_json).collect();
            let findings: Vec<Value> = findings.iter().map(|f| json!({"id": f.kind.name(), "text": f.text})).collect();
            format!("{:#}\n", json!({"logs": logs, "findings": findings}))
        }
    };
    if !judged.is_empty() {
        print(text)?;
    }
    // Those that can be read are judged in any case.
    let Some(last) = failures.pop() else { return Ok(ExitCode::SUCCESS) };
    for failure in &failures {
        notify(&format!("error: {failure}"));
    }
    Err(last)
}

/// Share of each class as the user gave it, else empty.
fn prior(arguments: &Arguments) -> Result<Vec<f64>, Failure> {
    if let Some(path) = &arguments.labels {
        let (_, text) = log_files::unpacked(path)?;
        return label_shares(&String::from_utf8_lossy(&text))
            .map_err(|error| Failure::input(format!("{}: {error}", path.display())));
    }
    let shares = &arguments.classes;
    let sum: f64 = shares.iter().sum();
    if shares.iter().any(|share| *share <= 0.0 || !share.is_finite()) || shares.len() == 1 || !sum.is_finite() {
        return Err(Failure::input(
            "--classes takes a positive share or number for each of two or more classes: --classes 0.7,0.3",
        ));
    }
    Ok(shares.iter().map(|share| share / sum).collect())
}

/// The trial in the folder `path`, or the log at `path`.
fn load(path: &Path) -> Result<Source, Failure> {
    if path.join("metrics.csv").is_file() {
        // Within a folder of results links are not followed, but the user may name the folder by one.
        let folder = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        match survey_folder(&TrialDir::new(folder)) {
            Ok(Some(run)) => return Ok(Source::Trial(Box::new(run))),
            // The config.json of another program: the curves can still be judged.
            Ok(None) | Err(StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    log_files::read(path).map(Source::Log)
}

fn text(judged: &[Judged<'_>], findings: &[Finding]) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for log in judged {
        let Some((first, others)) = log.diagnosis.verdicts.split_first() else { continue };
        let _ = writeln!(text, "{}: {}\n  {}", log.name, first.id, first.text);
        if let Some(advice) = &first.advice {
            let _ = writeln!(text, "  try: {advice}");
        }
        for other in others {
            let _ = writeln!(text, "  also {}: {}", other.id, other.text);
        }
        let _ = writeln!(text, "  {}", trend(&log.measured, &log.diagnosis));
        if !log.measured.eval.is_empty() {
            let shape = verdict(&log.measured, log.diagnosis.shape, LEAST_DELTA);
            let whose = if is_of_the_run(&log.measured, log.diagnosis.shape) { "run" } else { "eval loss" };
            let _ = writeln!(text, "  {whose}: {}", shape.text);
        }
        for note in log.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        text.push('\n');
    }
    for finding in findings {
        let _ = writeln!(text, "{}", finding.text);
    }
    if judged.iter().all(|log| log.measured.train_prior.is_empty()) {
        text.push_str("The class frequencies are unknown, so nothing was held against guessing: add --classes 0.7,0.3 or --labels FILE.\n");
    }
    text
}

/// Whether a shape is that of the training loss or the gradient norm.
fn is_of_the_run(measured: &Measured<'_>, shape: Shape) -> bool {
    match shape {
        Shape::NotFinite { .. } => measured.eval.iter().all(|point| point.y.is_finite()),
        Shape::Diverged { .. } => late_rise(measured).is_none_or(|rise| !rise.is_eval),
        _ => false,
    }
}

/// `train loss: flat from step 120 at 0.693; change -0.001 ± 0.003 over steps 201 to 300; 33 % of the learning rate`.
fn trend(measured: &Measured<'_>, diagnosis: &Diagnosis) -> String {
    let found = &diagnosis.detection;
    let Stretch { trend, change, half, level, from, to, .. } = found.tail;
    let series = if found.series == Series::Probe { "clean train loss" } else { "train loss" };
    let rise = late_rise(measured).filter(|rise| !rise.is_eval && matches!(diagnosis.shape, Shape::Diverged { .. }));
    if let Some(rise) = rise {
        return format!("{series}: {:.3} up to step {}, {:.3} at the end", rise.from, rise.step, rise.to);
    }
    let head = match (trend, found.onset) {
        (Trend::TooShort | Trend::NotFinite, _) => return format!("{series}: {}", trend.id().replace('_', " ")),
        (_, Some(onset)) if found.hidden_gain.is_some() => {
            format!("flat within its noise from step {onset} at {level:.3}")
        }
        (_, Some(onset)) => format!("flat from step {onset} at {level:.3}"),
        _ => format!("{} at {level:.3}", trend.id().replace('_', " ")),
    };
    let rate = found
        .rate_share
        .map_or_else(String::new, |share| format!(", with {:.0} % of the learning rate", share * 100.0));
    let (change, half) = (change * found.scale, half * found.scale);
    format!("{series}: {head}; change {change:+.3} ± {half:.3} over steps {from} to {to}{rate}")
}

fn as_json(log: &Judged<'_>) -> Value {
    let found = &log.diagnosis.detection;
    let stretch = |stretch: &Stretch| {
        json!({
            "trend": stretch.trend.id(), "change": number(stretch.change), "half_width": number(stretch.half),
            "mann_kendall_p": number(stretch.monotone_p), "level": number(stretch.level), "from": stretch.from,
            "to": stretch.to, "points": stretch.points,
            "needed": match stretch.trend { Trend::Unresolved { needed } => Some(needed), _ => None },
        })
    };
    let primary = log.diagnosis.verdicts.first().map(|verdict: &Verdict| verdict.id.as_str());
    json!({
        "file": log.name,
        "primary": primary,
        "eval_loss": verdict(&log.measured, log.diagnosis.shape, LEAST_DELTA),
        "train_loss": {
            "series": if found.series == Series::Probe { "train_probe_loss" } else { "train_loss" },
            "scale": number(found.scale), "onset": found.onset, "rate_share": found.rate_share.and_then(number),
            "tail": stretch(&found.tail), "at_high_rate": found.active.as_ref().map(stretch),
            "gain_of_twice_the_steps": found.gain.map(|gain| gain * found.scale).and_then(number),
        },
        "verdicts": log.diagnosis.verdicts,
        "notes": log.notes,
    })
}

/// None for NaN and infinities, which JSON does not know.
fn number(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}
