//! The `run` section: how a sweep is run. Never part of a trial's identity.

use std::fmt;
use std::str::FromStr;

use super::across::StopAcross;
use super::kind::whole;
use super::problem::{Problem, suggestion};
use super::yaml::Node;
use crate::trial::{CheckpointEvery, Keep};

/// The `run` section: how, not what. Never part of a trial's identity.
#[derive(Debug, Clone, PartialEq)]
pub struct RunConfig {
    pub devices: Devices,
    /// Trials at a time; None: from the machine.
    pub jobs: Option<usize>,
    /// CPU threads a trial; None: from the machine.
    pub threads: Option<usize>,
    /// Bytes that all trials together may take; None: from the machine.
    pub max_memory: Option<u64>,
    pub retries: u32,
    pub checkpoint_every: CheckpointEvery,
    /// Seconds without a step or an evaluation after which a worker is killed and tried again; None: never.
    pub stall_timeout: Option<f64>,
    /// Seconds of training after which a trial is given up; None: never.
    pub time_limit: Option<f64>,
    pub keep: Keep,
    /// What is probed once every trial has ended.
    pub probe: Probing,
    /// Where curves go as well, while they are measured; each once.
    pub log_to: Vec<LogTo>,
    /// From the section `stop`.
    pub stop: StopAcross,
    /// A plan above this is refused.
    pub max_trials: usize,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            devices: Devices::Auto,
            jobs: None,
            threads: None,
            max_memory: None,
            retries: 2,
            checkpoint_every: CheckpointEvery::Seconds(60.0),
            stall_timeout: None,
            time_limit: None,
            keep: Keep::None,
            probe: Probing::Off,
            log_to: Vec::new(),
            stop: StopAcross::default(),
            max_trials: 100_000,
        }
    }
}

/// What is probed at the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probing {
    Off,
    /// Of the trials that went flat or stuck, the best of each cause.
    Plateaus,
}

/// A program that shows curves while they grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogTo {
    /// Event files in the sweep's results.
    Tensorboard,
    /// A tracking server.
    Mlflow,
}

impl LogTo {
    const ALL: [Self; 2] = [Self::Tensorboard, Self::Mlflow];

    /// As it is written in a sweep file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tensorboard => "tensorboard",
            Self::Mlflow => "mlflow",
        }
    }
}

/// Which devices a sweep may use. Text form: `auto`, `cpu`, `cuda`, `cuda:0,1`, `metal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Devices {
    /// Every accelerator that the build and the machine have, else the CPU.
    Auto,
    Cpu,
    /// The CUDA devices of these indices; empty: all.
    Cuda(Vec<usize>),
    Metal,
}

/// A text that names no devices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected auto, cpu, cuda, cuda:0,1 or metal")]
pub struct NotDevices;

impl FromStr for Devices {
    type Err = NotDevices;

    fn from_str(text: &str) -> Result<Self, NotDevices> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(Vec::new())),
            "metal" => Ok(Self::Metal),
            _ => {
                let indices = text.strip_prefix("cuda:").ok_or(NotDevices)?.split(',');
                let mut indices: Vec<usize> =
                    indices.map(|index| index.trim().parse()).collect::<Result<_, _>>().map_err(|_| NotDevices)?;
                indices.sort_unstable();
                indices.dedup();
                Ok(Self::Cuda(indices))
            }
        }
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Metal => f.write_str("metal"),
            Self::Cuda(indices) if indices.is_empty() => f.write_str("cuda"),
            Self::Cuda(indices) => {
                let indices: Vec<String> = indices.iter().map(ToString::to_string).collect();
                write!(f, "cuda:{}", indices.join(","))
            }
        }
    }
}

/// The keys of the section.
pub(super) const RUN_KEYS: &[&str] = &[
    "devices",
    "jobs",
    "threads",
    "retries",
    "checkpoint_every",
    "stall_timeout",
    "time_limit",
    "keep",
    "probe",
    "log_to",
    "max_trials",
    "max_memory",
];

impl RunConfig {
    /// What a trial keeps until it is known whether it is probed: the best state of one that went flat, or its last,
    /// lies in its plateau.
    #[must_use]
    pub fn keep_while_running(&self) -> Keep {
        match (self.probe, self.keep) {
            (Probing::Off, keep) => keep,
            (Probing::Plateaus, _) => Keep::All,
        }
    }

    /// Sets `run.NAME`, whose key stands at `key`.
    pub(super) fn set(&mut self, name: &str, key: &Node, value: &Node) -> Result<(), Problem> {
        let misfit = |expected: &str| {
            let what =
                if value.is_null() { "has no value".to_owned() } else { format!("cannot be {}", value.described()) };
            Problem::new(value.place, format!("`run.{name}` {what}")).hint(format!("expected {expected}"))
        };
        let automatic = || match value.plain_text() {
            Some("auto") => Ok(None),
            _ => match whole(value) {
                Some(n @ 1..=65_536) => Ok(Some(n as usize)),
                _ => Err(misfit("auto, or a whole number from 1")),
            },
        };
        let limit = || match value.text() {
            Some("off") => Ok(None),
            text => text.and_then(seconds).map(Some).ok_or_else(|| misfit("off, or a time such as 90s, 10m or 2h")),
        };
        match name {
            "max_memory" => {
                self.max_memory = match value.text() {
                    Some("auto") => None,
                    text => Some(text.and_then(bytes).ok_or_else(|| misfit("auto, or a size such as 8GB or 500MB"))?),
                };
            }
            "stall_timeout" => self.stall_timeout = limit()?,
            "time_limit" => self.time_limit = limit()?,
            "devices" => {
                let text = value.text().unwrap_or_default();
                self.devices = text.parse().map_err(|_| misfit("auto, cpu, cuda, cuda:0,1 or metal"))?;
            }
            "jobs" => self.jobs = automatic()?,
            "threads" => self.threads = automatic()?,
            "retries" => {
                let retries = whole(value).and_then(|n| u32::try_from(n).ok());
                self.retries = retries.ok_or_else(|| misfit("a whole number from 0"))?;
            }
            "checkpoint_every" => {
                self.checkpoint_every = checkpoint_every(value)
                    .ok_or_else(|| misfit("a time such as 60s, 2m or 1h, or a number of optimizer steps"))?;
            }
            "keep" => {
                self.keep = match value.text() {
                    Some("none") => Keep::None,
                    Some("best") => Keep::Best,
                    Some("last") => Keep::Last,
                    Some("all") => Keep::All,
                    _ => return Err(misfit("none, best, last or all")),
                };
            }
            "probe" => {
                self.probe = match value.text() {
                    Some("off") => Probing::Off,
                    Some("plateaus") => Probing::Plateaus,
                    _ => return Err(misfit("off or plateaus")),
                };
            }
            "log_to" => {
                self.log_to = log_to(value).ok_or_else(|| misfit("off, or a list of tensorboard and mlflow"))?;
            }
            "max_trials" => {
                let limit = whole(value).filter(|n| *n >= 1).map(|n| n as usize);
                self.max_trials = limit.ok_or_else(|| misfit("a whole number from 1"))?;
            }
            _ => {
                let hint = suggestion(name, RUN_KEYS.iter().copied()).unwrap_or_default();
                return Err(Problem::new(key.place, format!("unknown key `run.{name}`")).hint(hint));
            }
        }
        Ok(())
    }
}

fn checkpoint_every(value: &Node) -> Option<CheckpointEvery> {
    if let Some(steps) = whole(value) {
        return (steps > 0).then_some(CheckpointEvery::Steps(steps));
    }
    value.text().and_then(seconds).map(CheckpointEvery::Seconds)
}

/// A name, a list of names, or `off`.
fn log_to(value: &Node) -> Option<Vec<LogTo>> {
    let named = |node: &Node| LogTo::ALL.into_iter().find(|to| node.text() == Some(to.name()));
    let mut all: Vec<LogTo> = match (value.list(), value.text()) {
        (Some(items), _) => items.iter().map(named).collect::<Option<_>>()?,
        (None, Some("off")) => Vec::new(),
        (None, _) => vec![named(value)?],
    };
    all.sort_unstable();
    all.dedup();
    Some(all)
}

/// A time above 0, such as `90s`, `10m` or `2h`.
fn seconds(text: &str) -> Option<f64> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let seconds = match unit {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let number: f64 = number.trim().parse().ok()?;
    Some(number * seconds).filter(|s| s.is_finite() && *s > 0.0)
}

/// A size above 0, such as `500MB` or `1.5GB`, in units of a thousand.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let unit = match unit {
        "B" => 1.0,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        _ => return None,
    };
    let bytes = number.trim().parse::<f64>().ok()? * unit;
    (1.0..1e18).contains(&bytes).then_some(bytes as u64)
}

/// The inverse of reading, for [`super::SweepSpec::to_yaml`].
pub(super) fn checkpoint_text(every: CheckpointEvery) -> String {
    match every {
        CheckpointEvery::Seconds(seconds) => format!("{seconds}s"),
        CheckpointEvery::Steps(steps) => steps.to_string(),
    }
}

/// As [`checkpoint_text`], of a limit in seconds.
pub(super) fn limit_text(limit: Option<f64>) -> String {
    limit.map_or_else(|| "off".to_owned(), |seconds| format!("{seconds}s"))
}
