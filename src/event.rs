//! The events of a sweep: a closed set of facts about the past. The journal is a list of them, [`crate::state`] is their
//! fold, and a [`Reporter`] sees each as it happens.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::trial::{Device, DrawnBy, Metric, Outcome, Trial, TrialId};

/// An event and the time at which it was recorded: a line of `journal.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    #[serde(flatten)]
    pub event: Event,
}

/// An event of a sweep or of one of its trials. Attempts of a trial count from 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A parent process started to run the sweep. `trials`: the ids of its plan, in order.
    SweepOpened {
        sweep: String,
        version: String,
        host: String,
        pid: u32,
        trials: Vec<TrialId>,
    },
    /// A search begins, or its file gives other configurations than before: those that are drawn from now on follow `rules`, a hash
    /// of what decides them. The results of other sweeps that `search.from` names stay as they are, so that later results of those
    /// sweeps do not change the sequence. `space`: what is drawn, as text.
    SearchOpened {
        from: Vec<String>,
        space: String,
        known: Vec<KnownResult>,
        #[serde(default)]
        rules: String,
    },
    /// A search has drawn its next configuration: a trial for each seed. `number` counts the configurations from 0.
    ConfigurationSuggested {
        number: u64,
        by: DrawnBy,
        point: Vec<Option<f64>>,
        trials: Vec<Trial>,
    },
    /// Recorded before the worker starts: from now on the trial may be running.
    AttemptClaimed {
        trial: TrialId,
        attempt: u32,
        slot: Slot,
    },
    /// The claimed attempt waits in the queue of a cluster. Recorded before its job is submitted.
    AttemptQueued {
        trial: TrialId,
        attempt: u32,
        job: JobName,
    },
    AttemptStarted {
        trial: TrialId,
        attempt: u32,
        #[serde(flatten)]
        handle: Handle,
    },
    /// The claimed attempt uses less memory, because earlier attempts ran out of it.
    #[serde(alias = "attempt_eased")]
    OomPolicyApplied {
        trial: TrialId,
        attempt: u32,
        #[serde(alias = "care")]
        oom_policy: OomPolicy,
    },
    /// The attempt ended without an outcome.
    AttemptFailed {
        trial: TrialId,
        attempt: u32,
        failure: Failure,
    },
    /// The parent stopped the attempt before it had an outcome. Not a failure: it does not count against the retries.
    AttemptInterrupted {
        trial: TrialId,
        attempt: u32,
    },
    /// The trial has an outcome: finished, diverged, or stopped by a rule.
    TrialFinished {
        trial: TrialId,
        attempt: u32,
        /// Far larger than all other events, of which a journal has many.
        outcome: Box<Outcome>,
    },
    /// The retries are used up, or no retry can help.
    TrialFailed {
        trial: TrialId,
        failure: Failure,
    },
    /// A rule that compares trials has judged one of them.
    TrialJudged {
        trial: TrialId,
        judgement: StopJudgement,
    },
    /// The user wants a stopped trial to be trained to its last step. Only divergence stops it again.
    TrialContinued {
        trial: TrialId,
    },
    /// The device failed several times in a row: this run starts nothing on the slot any more. `failure`: the last fault.
    SlotRetired {
        slot: Slot,
        failure: Failure,
    },
    /// The trial starts again: the user asked for it after a failure, or its files are gone.
    TrialRequeued {
        trial: TrialId,
    },
    SweepInterrupted,
    /// The parent ended, and so many attempts continue in the queue of a cluster.
    SweepDetached {
        attempts: usize,
    },
    /// A search ended before all of its trials were drawn, and the time of the run is not the reason.
    SearchEnded {
        why: String,
    },
    /// The run ended with nothing left to do.
    SweepClosed {
        finished: usize,
        failed: usize,
    },
}

impl Event {
    /// The configurations that searches have drawn, in order.
    pub fn drawn(records: &[Record]) -> impl Iterator<Item = (&Vec<Option<f64>>, &[Trial])> {
        records.iter().filter_map(|record| match &record.event {
            Self::ConfigurationSuggested { point, trials, .. } => Some((point, trials.as_slice())),
            _ => None,
        })
    }

    /// The configurations that searches have drawn, in order, each with its number.
    pub fn suggested(records: &[Record]) -> impl Iterator<Item = (u64, DrawnBy, &[Trial])> {
        records.iter().filter_map(|record| match &record.event {
            Self::ConfigurationSuggested { number, by, trials, .. } => Some((*number, *by, trials.as_slice())),
            _ => None,
        })
    }

    /// How many configurations searches have drawn. One that has got other seeds is recorded twice.
    #[must_use]
    pub fn suggested_count(records: &[Record]) -> usize {
        let mut seen: HashSet<&TrialId> = HashSet::new();
        let mut count = 0;
        for (_, _, trials) in Self::suggested(records) {
            count += usize::from(trials.iter().all(|trial| !seen.contains(&trial.id)));
            seen.extend(trials.iter().map(|trial| &trial.id));
        }
        count
    }

    /// The records before the sweep file last changed what a search draws, and those since.
    #[must_use]
    pub fn since_search_opened(records: &[Record]) -> (&[Record], &[Record]) {
        let opened = records.iter().rposition(|record| matches!(record.event, Self::SearchOpened { .. }));
        records.split_at(opened.unwrap_or(0))
    }

    /// The results of other sweeps that a search of this space knows, if an earlier run has recorded them.
    #[must_use]
    pub fn known<'r>(records: &'r [Record], from: &[String], space: &str) -> Option<&'r [KnownResult]> {
        let last = records.iter().rev().find_map(|record| match &record.event {
            Self::SearchOpened { from, space, known, .. } => Some((from, space, known)),
            _ => None,
        });
        last.filter(|(named, drawn, _)| *named == from && *drawn == space).map(|(_, _, known)| known.as_slice())
    }

    /// Why the search ended before all of its trials were drawn, if it has drawn nothing since.
    #[must_use]
    pub fn search_end(records: &[Record]) -> Option<&str> {
        let last = records.iter().rev().find_map(|record| match &record.event {
            Self::SearchEnded { why } => Some(Some(why.as_str())),
            Self::ConfigurationSuggested { .. } => Some(None),
            _ => None,
        });
        last.flatten()
    }

    /// The trials of the last run's plan, and those that its search has drawn since, in order.
    #[must_use]
    pub fn planned(records: &[Record]) -> Vec<TrialId> {
        let opened = records.iter().rposition(|record| matches!(record.event, Self::SweepOpened { .. }));
        let (mut planned, mut seen): (Vec<TrialId>, HashSet<TrialId>) = (Vec::new(), HashSet::new());
        for record in records.iter().skip(opened.unwrap_or(records.len())) {
            match &record.event {
                Self::SweepOpened { trials, .. } => {
                    planned.clone_from(trials);
                    seen = trials.iter().cloned().collect();
                }
                Self::ConfigurationSuggested { trials, .. } => {
                    // Those that need no result are in the plan already.
                    let new = trials.iter().filter(|trial| seen.insert(trial.id.clone()));
                    planned.extend(new.map(|trial| trial.id.clone()));
                }
                _ => {}
            }
        }
        planned
    }
}

/// A configuration that another sweep has measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownResult {
    /// Index among the points of the grid.
    pub arm: usize,
    pub point: Vec<Option<f64>>,
    /// Mean over the trials of the configuration; lower is better.
    pub value: f64,
}

/// The process of an attempt, and the job that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Handle {
    /// On a cluster this is known only to the worker itself.
    pub pid: u32,
    /// The machine that it runs on. None: that of the parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The number that the cluster gave the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// How often the cluster had started the job before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<u32>,
}

impl Handle {
    /// A process on the machine of the parent.
    #[must_use]
    pub fn local(pid: u32) -> Self {
        Self { pid, ..Self::default() }
    }
}

/// `process 7`, `process 7 on n2 in job 31`.
impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        self.host.iter().try_for_each(|host| write!(f, " on {host}"))?;
        self.job.iter().try_for_each(|job| write!(f, " in job {job}"))
    }
}

/// The name of a job on a cluster. It is chosen before the job is submitted, so that a job can be found whose submission seemed to
/// fail.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobName {
    /// The name of a group of jobs that are submitted together.
    pub batch: String,
    /// The place of the job in its batch.
    pub index: u32,
}

/// What a cluster says about a job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum JobState {
    /// Nothing, because it was not asked yet or does not answer.
    #[default]
    Unknown,
    /// It waits for `reason`. `start`: when it is expected to start.
    Queued {
        reason: String,
        start: Option<String>,
    },
    Running {
        node: String,
    },
    /// The cluster knows no such job, also when it was asked again.
    Absent,
    Ended {
        how: JobEnd,
        node: Option<String>,
    },
}

/// How a job ended, according to its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    Completed,
    Failed,
    Cancelled,
    TimedOut,
    Preempted,
    OutOfMemory,
    NodeFailed,
}

/// A place for one worker at a time: a device, or a share of one, and a number of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    pub index: usize,
    pub device: Device,
    pub threads: usize,
    /// The first slot on the same device. None: the slot has its device, or its share of the processors, for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_with: Option<usize>,
}

impl Slot {
    /// A slot that shares its device with no other.
    #[must_use]
    pub fn alone(index: usize, device: Device, threads: usize) -> Self {
        Self { index, device, threads, shared_with: None }
    }

    /// `cuda:0` for a shared device, `cpu (slot 2)` for a slot by itself.
    #[must_use]
    pub fn place_name(self) -> String {
        match self.shared_with {
            Some(_) => self.device.to_string(),
            None => format!("{} (slot {})", self.device, self.index),
        }
    }

    /// What may be at fault when an attempt fails by its device: equal for the slots that share one.
    #[must_use]
    pub fn place(self) -> usize {
        self.shared_with.unwrap_or(self.index)
    }
}

/// How an attempt uses less memory after earlier ones ran out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OomPolicy {
    /// No other trial runs beside it.
    pub alone: bool,
    /// No other trial runs beside it on its device.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone_on_device: bool,
    /// Times that micro-batches are halved, and with them the pieces of a batch doubled: numbers stay the same up to
    /// rounding.
    #[serde(alias = "halvings")]
    pub micro_batch_splits: u32,
}

impl fmt::Display for OomPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = 1_u64 << self.micro_batch_splits.min(32);
        let place = match (self.alone, self.alone_on_device) {
            (true, _) => Some("alone"),
            (false, true) => Some("alone on its device"),
            (false, false) => None,
        };
        match (place, self.micro_batch_splits) {
            (None, 0) => f.write_str("as usual"),
            (Some(place), 0) => f.write_str(place),
            (Some(place), _) => write!(f, "{place}, with micro-batches 1/{parts} as large"),
            (None, _) => write!(f, "with micro-batches 1/{parts} as large"),
        }
    }
}

/// A rule of `stop` that compares trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopRule {
    Median,
    Asha,
}

/// The judgement of such a rule about a trial, with its evidence. Non-finite values are None.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StopJudgement {
    pub rule: StopRule,
    pub metric: Metric,
    /// The step of the judged evaluation.
    pub step: u64,
    /// Counts from 0; None for a rule without rungs.
    pub rung: Option<u32>,
    pub value: Option<f32>,
    /// The worst value with which the trial may continue.
    pub bound: Option<f32>,
    /// Number of trials behind the bound.
    pub among: usize,
    /// Whether the trial ends here.
    pub stops: bool,
}

impl fmt::Display for StopJudgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: Option<f32>| value.map_or_else(|| "not finite".to_owned(), |value| format!("{value:.4}"));
        let (metric, step, among) = (self.metric.name(), self.step, self.among);
        let (value, bound) = (text(self.value), text(self.bound));
        match self.rule {
            StopRule::Median => {
                let than = if self.stops { "worse than" } else { "no worse than" };
                write!(
                    f,
                    "stop.median: best {metric} up to step {step} is {value}, {than} the median {bound} of {among} trials"
                )
            }
            StopRule::Asha => {
                let rung = self.rung.unwrap_or_default();
                let place = if self.stops { "not among" } else { "among" };
                write!(
                    f,
                    "stop.asha: {metric} at step {step} is {value}, {place} the best of {among} trials at rung {rung} \
                     ({bound} or better continues)"
                )
            }
        }
    }
}

/// Why an attempt ended without an outcome. A diverged trial is an outcome, not a failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Failure {
    /// The worker cannot use its data, checkpoint or configuration; another attempt would end the same way. `message` says what
    /// is wrong and what to do.
    BadInput { message: String },
    /// The worker died: a panic, a signal, or an unknown exit code.
    Crashed { message: String, log_tail: Vec<String> },
    /// The system killed the worker for lack of memory or gave it none.
    OutOfMemory { log_tail: Vec<String> },
    /// The device has no memory left, although the machine may have some.
    DeviceMemory { message: String },
    /// The disk cannot be written: no trial can continue.
    Disk { message: String },
    /// The disk is full or has no inodes left: no trial can continue before there is room.
    DiskFull { message: String },
    /// One operation of the disk failed; it may succeed the next time.
    DiskError { message: String },
    /// A limit of the process or the system was reached, such as open files. The trial is not to blame.
    Limit { message: String },
    /// Files of the trial were removed while it ran.
    FilesVanished { message: String },
    /// The device reported an error.
    DeviceFault { message: String },
    /// A node of a cluster is at fault: it died, its device failed, or it could not even start the worker.
    Node { node: String, message: String },
    /// The time of the job was over before the attempt saved a checkpoint.
    NoCheckpoint { message: String },
    /// A person has cancelled the job.
    Cancelled { message: String },
    /// The worker disappeared without a trace, as after a reboot.
    Lost,
    /// The parent killed the worker: no step and no evaluation for this many seconds.
    Stalled { seconds: f64 },
    /// The parent killed the worker: the trial has trained for more than this many seconds, all attempts together.
    TimeLimit { seconds: f64 },
}

impl Failure {
    /// The end of the worker's log, if that helps to explain the failure.
    #[must_use]
    pub fn log_tail(&self) -> &[String] {
        match self {
            Self::Crashed { log_tail, .. } | Self::OutOfMemory { log_tail } => log_tail,
            _ => &[],
        }
    }

    /// Whether another attempt may succeed.
    #[must_use]
    pub fn is_worth_a_retry(&self) -> bool {
        !matches!(
            self,
            Self::BadInput { .. }
                | Self::Disk { .. }
                | Self::DiskFull { .. }
                | Self::Limit { .. }
                | Self::Cancelled { .. }
                | Self::TimeLimit { .. }
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadInput { message } => write!(f, "bad input: {message}"),
            Self::Crashed { message, .. } => write!(f, "worker died: {message}"),
            Self::OutOfMemory { .. } => f.write_str("out of memory: the system killed the worker or gave it no memory"),
            Self::DeviceMemory { message } => write!(f, "out of memory on the device: {message}"),
            Self::Disk { message } | Self::DiskFull { message } | Self::DiskError { message } => {
                write!(f, "disk: {message}")
            }
            Self::Limit { message } => write!(f, "limit: {message}"),
            Self::FilesVanished { message } => write!(f, "files vanished: {message}"),
            Self::DeviceFault { message } => write!(f, "device fault: {message}"),
            Self::Node { node, message } => write!(f, "node {node}: {message}"),
            Self::NoCheckpoint { message } | Self::Cancelled { message } => f.write_str(message),
            Self::Lost => f.write_str("the worker disappeared without a trace"),
            Self::Stalled { seconds } => {
                write!(f, "no step and no evaluation for {seconds} s (run.stall_timeout): the worker was killed")
            }
            Self::TimeLimit { seconds } => write!(
                f,
                "not finished after {seconds} s (run.time_limit): raise the limit and run with --retry-failed to continue"
            ),
        }
    }
}

/// The position of a running trial, read from its files. Shown live, never journaled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialProgress {
    pub trial: TrialId,
    pub slot: Slot,
    pub step: u64,
    pub steps: u64,
    /// The newest training losses, oldest first; for a sparkline.
    pub recent_loss: Vec<f32>,
    pub eval_loss: Option<f32>,
    pub best_eval_loss: Option<f32>,
}

/// Shows a running sweep. A reporter cannot fail the run: it drops what it cannot show.
pub trait Reporter {
    /// An event, right after it was journaled.
    fn event(&mut self, record: &Record);
    /// All running trials, a few times a second.
    fn progress(&mut self, running: &[TrialProgress]);
    /// A warning for the user that is no event, such as a damaged line of the journal.
    fn warning(&mut self, text: &str) {
        let _ = text;
    }
    /// The terminal is gone; the sweep continues.
    fn hangup(&mut self) {}
}
