//! The `run` section: how a sweep is run. It is never part of a trial's identity. A new key is a row of the table and a field.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};
use serde_yaml::{Mapping, Value as Yaml};

use super::across::StopAcross;
use super::kind::{Doc, whole};
use super::slurm_config::SlurmConfig;
use super::yaml::Node;
use crate::trial::{CheckpointEvery, Keep};

/// How a sweep is run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunConfig {
    pub engine: EngineKind,
    pub devices: Devices,
    /// Trials that run at the same time; None: from the machine.
    pub jobs: Option<usize>,
    /// Trials that run at the same time on each accelerator; None: from its memory and from their speed.
    pub jobs_per_device: Option<usize>,
    /// CPU threads of each trial; None: from the machine.
    pub threads: Option<usize>,
    /// Bytes that all trials together may use; None: from the machine.
    pub max_memory: Option<u64>,
    pub retries: u32,
    pub checkpoint_every: CheckpointEvery,
    /// Seconds without a step or an evaluation after which a worker is killed and its trial started again; None: never.
    pub stall_timeout: Option<f64>,
    /// Seconds of training after which a trial fails; None: never.
    pub time_limit: Option<f64>,
    pub keep: Keep,
    pub on_full_disk: OnFullDisk,
    /// What is probed when every trial has ended.
    pub probe: Probing,
    /// Where curves are also sent while a sweep runs. Each once.
    pub log_to: Vec<LogTo>,
    /// From the section `stop`.
    pub stop: StopAcross,
    /// A sweep with more trials is refused.
    pub max_trials: usize,
    /// The jobs of `engine: slurm`.
    pub slurm: SlurmConfig,
}

/// More trials than tables and figures can show, or a machine can train: a number above is a slip, or hostile.
const MOST_TRIALS: u64 = 300_000;

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            engine: EngineKind::Local,
            devices: Devices::Auto,
            jobs: None,
            jobs_per_device: None,
            threads: None,
            max_memory: None,
            retries: 2,
            checkpoint_every: CheckpointEvery::Seconds(60.0),
            stall_timeout: None,
            time_limit: None,
            keep: Keep::WINNER,
            on_full_disk: OnFullDisk::Wait,
            probe: Probing::Off,
            log_to: Vec::new(),
            stop: StopAcross::default(),
            max_trials: 100_000,
            slurm: SlurmConfig::default(),
        }
    }
}

/// Where workers are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// As processes on this machine.
    Local,
    /// As threads of the process of the run.
    Inline,
    /// On a cluster with Slurm, as [`SlurmConfig::within`] says.
    Slurm,
}

/// The text does not name an engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected local, inline or slurm")]
pub struct NotAnEngine;

impl FromStr for EngineKind {
    type Err = NotAnEngine;

    fn from_str(text: &str) -> Result<Self, NotAnEngine> {
        ENGINES.iter().find(|(name, _)| *name == text).map(|(_, engine)| *engine).ok_or(NotAnEngine)
    }
}

/// What a run does while the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFullDisk {
    /// Waits for room, then continues.
    Wait,
    /// Ends with exit code 3.
    Stop,
}

/// What is probed at the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probing {
    Off,
    /// The best trial of each cause, of those that plateaued or are stuck at chance.
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

    /// The name in sweep files.
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

/// The text does not name devices.
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

/// One key of the section.
#[derive(Debug)]
pub(super) struct RunKey {
    pub name: &'static str,
    /// What a message says was expected.
    pub expected: &'static str,
    /// Sets the key; None if the value does not fit.
    pub read: fn(&mut RunConfig, &Node) -> Option<()>,
    /// The inverse of reading.
    pub write: fn(&RunConfig) -> Yaml,
    pub schema: fn() -> Value,
    pub doc: Doc,
}

pub(super) static RUN_KEYS: &[RunKey] = &[
    RunKey {
        name: "engine",
        expected: "local, inline or slurm",
        read: |run, value| set(&mut run.engine, named(&ENGINES, value)),
        write: |run| name_of(&ENGINES, run.engine),
        schema: || json!({"enum": names(&ENGINES)}),
        doc: Doc {
            about: "Where trials run. `local`: on this machine. `inline`: the same, as threads of one process, for a debugger: a crash \
                    ends the run. `slurm`: on a cluster, each trial as a job, or as a step of the job \
                    in which the command runs.",
            unit: "",
            example: "slurm",
        },
    },
    RunKey {
        name: "devices",
        expected: "auto, cpu, cuda, cuda:0,1 or metal",
        read: |run, value| set(&mut run.devices, value.text()?.parse().ok()),
        write: |run| run.devices.to_string().into(),
        schema: || json!({"type": "string", "pattern": "^(auto|cpu|cuda|metal|cuda:[0-9]+(,[0-9]+)*)$"}),
        doc: Doc {
            about: "The devices to train on. `auto` takes every accelerator that the build and the machine have, else the \
                    CPU.",
            unit: "",
            example: "cuda:0,1",
        },
    },
    RunKey {
        name: "jobs",
        expected: "auto, or a whole number from 1",
        read: |run, value| automatic(&mut run.jobs, value),
        write: |run| automatic_text(run.jobs),
        schema: automatic_schema,
        doc: Doc {
            about: "Number of trials that run at the same time. `auto`: as many as the devices, the cores and the memory \
                    allow.",
            unit: "trials",
            example: "2",
        },
    },
    RunKey {
        name: "jobs_per_device",
        expected: "auto, or a whole number from 1",
        read: |run, value| automatic(&mut run.jobs_per_device, value),
        write: |run| automatic_text(run.jobs_per_device),
        schema: automatic_schema,
        doc: Doc {
            about: "Number of trials that run at the same time on each GPU. `auto`: one at first, and another one whenever the \
                    memory of the GPU has room and the last one has raised its throughput, up to eight. It does not apply to \
                    the CPU.",
            unit: "trials",
            example: "4",
        },
    },
    RunKey {
        name: "threads",
        expected: "auto, or a whole number from 1",
        read: |run, value| automatic(&mut run.threads, value),
        write: |run| automatic_text(run.threads),
        schema: automatic_schema,
        doc: Doc {
            about: "CPU threads of each trial. `auto` shares the cores among the trials that run at the same time.",
            unit: "threads",
            example: "4",
        },
    },
    RunKey {
        name: "max_memory",
        expected: "auto, or a size such as 8GB or 500MB",
        read: |run, value| {
            let limit = if value.text()? == "auto" { None } else { Some(bytes(value.text()?)?) };
            set(&mut run.max_memory, Some(limit))
        },
        write: |run| run.max_memory.map_or_else(|| "auto".into(), |bytes| format!("{bytes}B").into()),
        schema: || json!({"type": "string", "pattern": "^(auto|[0-9.]+ ?(B|MB|GB|TB))$"}),
        doc: Doc {
            about: "Memory that all trials together may use. A trial waits until there is room for it. `auto`: what the \
                    machine has free.",
            unit: "B, MB, GB or TB",
            example: "8GB",
        },
    },
    RunKey {
        name: "retries",
        expected: "a whole number from 0",
        read: |run, value| set(&mut run.retries, u32::try_from(whole(value)?).ok()),
        write: |run| u64::from(run.retries).into(),
        schema: || json!({"type": "integer", "minimum": 0}),
        doc: Doc {
            about: "How often a trial is started again after its worker crashed or hung.",
            unit: "attempts",
            example: "0",
        },
    },
    RunKey {
        name: "checkpoint_every",
        expected: "a time such as 60s, 2m or 1h, or a number of optimizer steps",
        read: |run, value| set(&mut run.checkpoint_every, checkpoint_every(value)),
        write: |run| match run.checkpoint_every {
            CheckpointEvery::Seconds(seconds) => format!("{seconds}s").into(),
            CheckpointEvery::Steps(steps) => steps.into(),
        },
        schema: || json!({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": TIME}]}),
        doc: Doc {
            about: "How often a running trial saves a checkpoint, from which it resumes after an interruption.",
            unit: "s, m or h; a number without a unit: optimizer steps",
            example: "5m",
        },
    },
    RunKey {
        name: "stall_timeout",
        expected: "off, or a time such as 90s, 10m or 2h",
        read: |run, value| limit(&mut run.stall_timeout, value),
        write: |run| limit_text(run.stall_timeout),
        schema: limit_schema,
        doc: Doc {
            about: "A worker that takes no step and makes no evaluation for this long is killed, and its trial is started \
                    again.",
            unit: "s, m or h",
            example: "30m",
        },
    },
    RunKey {
        name: "time_limit",
        expected: "off, or a time such as 90s, 10m or 2h",
        read: |run, value| limit(&mut run.time_limit, value),
        write: |run| limit_text(run.time_limit),
        schema: limit_schema,
        doc: Doc {
            about: "A trial that has trained for this long fails. Its checkpoint stays.",
            unit: "s, m or h",
            example: "2h",
        },
    },
    RunKey {
        name: "keep",
        expected: "winner, {top: 3}, best, last, all or none",
        read: |run, value| set(&mut run.keep, named(&KEEP, value).or_else(|| top(value))),
        write: |run| match run.keep {
            Keep::Top(count) if run.keep != Keep::WINNER => {
                Mapping::from_iter([("top".into(), Yaml::from(count as u64))]).into()
            }
            keep => name_of(&KEEP, keep),
        },
        schema: || {
            let top = json!({"type": "integer", "minimum": 1});
            let top = json!({"type": "object", "properties": {"top": top}, "required": ["top"], "additionalProperties": false});
            json!({"anyOf": [{"enum": names(&KEEP)}, top]})
        },
        doc: Doc {
            about: "What stays in a trial's `checkpoint/` when it has ended. `winner`: the weights of the best evaluation \
                    by `metric`, of the leading trial only. `{top: 3}`: those of the three leading trials. `best`: the training \
                    state of the best evaluation, with the optimizer, of every trial. `last`: the final state. `all`: both. \
                    `none`: nothing.",
            unit: "",
            example: "{top: 3}",
        },
    },
    RunKey {
        name: "on_full_disk",
        expected: "wait or stop",
        read: |run, value| set(&mut run.on_full_disk, named(&ON_FULL_DISK, value)),
        write: |run| name_of(&ON_FULL_DISK, run.on_full_disk),
        schema: || json!({"enum": names(&ON_FULL_DISK)}),
        doc: Doc {
            about: "`wait`: on a full disk the sweep stops all workers, waits for room, and continues by itself. `stop`: it ends \
                    with exit code 3; the same command continues it.",
            unit: "",
            example: "stop",
        },
    },
    RunKey {
        name: "probe",
        expected: "off or plateaus",
        read: |run, value| set(&mut run.probe, named(&PROBE, value)),
        write: |run| name_of(&PROBE, run.probe),
        schema: || json!({"enum": names(&PROBE)}),
        doc: Doc {
            about: "`plateaus`: at the end of the run, short experiments find out why the best trial of each cause reached a \
                    plateau, as `plateau probe` does.",
            unit: "",
            example: "plateaus",
        },
    },
    RunKey {
        name: "log_to",
        expected: "off, or a list of tensorboard and mlflow",
        read: |run, value| set(&mut run.log_to, log_to(value)),
        write: |run| {
            let names: Vec<Yaml> = run.log_to.iter().map(|to| to.name().into()).collect();
            if names.is_empty() { "off".into() } else { names.into() }
        },
        schema: || {
            let names = LogTo::ALL.map(LogTo::name);
            json!({"anyOf": [{"const": "off"}, {"enum": names}, {"type": "array", "items": {"enum": names}}]})
        },
        doc: Doc {
            about: "Where curves are also sent while a sweep runs: TensorBoard event files in the results folder, or an \
                    MLflow server.",
            unit: "",
            example: "[tensorboard, mlflow]",
        },
    },
    RunKey {
        name: "max_trials",
        expected: "a whole number from 1 to 300000",
        read: |run, value| {
            set(&mut run.max_trials, whole(value).filter(|n| (1..=MOST_TRIALS).contains(n)).map(|n| n as usize))
        },
        write: |run| (run.max_trials as u64).into(),
        schema: || json!({"type": "integer", "minimum": 1, "maximum": MOST_TRIALS}),
        doc: Doc {
            about: "A sweep with more trials than this is refused, in case an axis is longer than intended.",
            unit: "trials",
            example: "200000",
        },
    },
];

const KEEP: [(&str, Keep); 5] =
    [("winner", Keep::WINNER), ("best", Keep::Best), ("last", Keep::Last), ("all", Keep::All), ("none", Keep::None)];
const ENGINES: [(&str, EngineKind); 3] =
    [("local", EngineKind::Local), ("inline", EngineKind::Inline), ("slurm", EngineKind::Slurm)];
const ON_FULL_DISK: [(&str, OnFullDisk); 2] = [("wait", OnFullDisk::Wait), ("stop", OnFullDisk::Stop)];
const PROBE: [(&str, Probing); 2] = [("off", Probing::Off), ("plateaus", Probing::Plateaus)];

/// `{top: N}`.
fn top(value: &Node) -> Option<Keep> {
    let [(key, count)] = value.map()? else { return None };
    let count = whole(count).filter(|count| *count > 0)?;
    (key.text() == Some("top")).then_some(Keep::Top(usize::try_from(count).ok()?))
}

impl RunConfig {
    /// What a trial keeps until it is known whether it is probed. A probe starts from the best or the last state, which
    /// both lie in the plateau.
    #[must_use]
    pub fn keep_while_running(&self) -> Keep {
        match (self.probe, self.keep) {
            (Probing::Off, keep) => keep,
            (Probing::Plateaus, _) => Keep::All,
        }
    }
}

pub(super) fn set<T>(slot: &mut T, value: Option<T>) -> Option<()> {
    *slot = value?;
    Some(())
}

/// `auto` as None, or a count.
fn automatic(slot: &mut Option<usize>, value: &Node) -> Option<()> {
    if value.plain_text() == Some("auto") {
        return set(slot, Some(None));
    }
    set(slot, whole(value).filter(|n| (1..=MOST_SLOTS).contains(n)).map(|n| Some(n as usize)))
}

fn automatic_text(count: Option<usize>) -> Yaml {
    count.map_or_else(|| "auto".into(), |n| Yaml::from(n as u64))
}

fn automatic_schema() -> Value {
    json!({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": MOST_SLOTS}]})
}

/// More jobs or threads than any machine has.
const MOST_SLOTS: u64 = 65_536;

/// `off` as None, or a time in seconds.
pub(super) fn limit(slot: &mut Option<f64>, value: &Node) -> Option<()> {
    if value.text() == Some("off") {
        return set(slot, Some(None));
    }
    set(slot, seconds(value.text()?).map(Some))
}

pub(super) fn limit_text(limit: Option<f64>) -> Yaml {
    limit.map_or_else(|| "off".into(), |seconds| format!("{seconds}s").into())
}

pub(super) fn limit_schema() -> Value {
    json!({"anyOf": [{"const": "off"}, {"type": "string", "pattern": TIME}]})
}

/// A time, as a regular expression.
pub(super) const TIME: &str = "^[0-9.]+ ?(s|m|min|h)$";

/// The value that a node names.
pub(super) fn named<T: Copy>(names: &[(&str, T)], value: &Node) -> Option<T> {
    names.iter().find(|(name, _)| value.text() == Some(name)).map(|(_, value)| *value)
}

pub(super) fn name_of<T: Copy + PartialEq>(names: &[(&str, T)], value: T) -> Yaml {
    names.iter().find(|(_, known)| *known == value).map_or(Yaml::Null, |(name, _)| (*name).into())
}

pub(super) fn names<T>(names: &[(&'static str, T)]) -> Vec<&'static str> {
    names.iter().map(|(name, _)| *name).collect()
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
pub(super) fn seconds(text: &str) -> Option<f64> {
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
pub(super) fn bytes(text: &str) -> Option<u64> {
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
