//! What happened: a closed set of past-tense facts. The journal is a list of them, [`crate::state`] is their fold,
//! reporters are shown each as it happens.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::trial::{Device, Outcome, PatienceMetric, TrialId};

/// A fact and the moment it was recorded: a line of `journal.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    #[serde(flatten)]
    pub event: Event,
}

/// Facts about a sweep and its trials. Attempts of a trial count from 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A parent took up the sweep; `trials` are the ids of its plan in order.
    SweepOpened {
        sweep: String,
        version: String,
        host: String,
        pid: u32,
        trials: Vec<TrialId>,
    },
    /// Written before the worker starts: whoever finds it knows that the trial may be running.
    AttemptClaimed {
        trial: TrialId,
        attempt: u32,
        slot: Slot,
    },
    AttemptStarted {
        trial: TrialId,
        attempt: u32,
        pid: u32,
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
    /// The attempt was stopped by the parent before it had an outcome; not a failure, it does not count against retries.
    AttemptInterrupted {
        trial: TrialId,
        attempt: u32,
    },
    /// The trial has an outcome: finished, diverged, or stopped by rule.
    TrialFinished {
        trial: TrialId,
        attempt: u32,
        outcome: Outcome,
    },
    /// Retries are used up, or the failure is of a kind that a retry cannot mend.
    TrialFailed {
        trial: TrialId,
        failure: Failure,
    },
    /// A rule that holds trials against one another has looked at one of them.
    TrialJudged {
        trial: TrialId,
        judgement: StopJudgement,
    },
    /// The user wants a stopped trial to go on to its end: no rule but that on divergence stops it again.
    TrialContinued {
        trial: TrialId,
    },
    /// Faults of its device one after the other: this run starts nothing there any more. `failure` is the last of them.
    SlotRetired {
        slot: Slot,
        failure: Failure,
    },
    /// To be taken up again: the user asked for it after a failure, or the outcome is gone from the disk.
    TrialRequeued {
        trial: TrialId,
    },
    SweepInterrupted,
    /// Nothing was left to do.
    SweepClosed {
        finished: usize,
        failed: usize,
    },
}

/// A place where one worker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    pub index: usize,
    pub device: Device,
    pub threads: usize,
}

/// How an attempt is treated so that it gets by with less memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OomPolicy {
    /// No other trial runs beside it.
    pub alone: bool,
    /// Times that micro-batches are halved, and with them the pieces of a batch doubled: numbers stay the same up to
    /// rounding.
    #[serde(alias = "halvings")]
    pub micro_batch_splits: u32,
}

impl fmt::Display for OomPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = 1_u64 << self.micro_batch_splits.min(32);
        match (self.alone, self.micro_batch_splits) {
            (alone, 0) => f.write_str(if alone { "alone" } else { "as usual" }),
            (true, _) => write!(f, "alone, with micro-batches 1/{parts} as large"),
            (false, _) => write!(f, "with micro-batches 1/{parts} as large"),
        }
    }
}

/// A rule of `stop` that holds trials against one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopRule {
    Median,
    Asha,
}

/// What such a rule found of a trial, with the evidence. Figures that are not finite are None.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StopJudgement {
    pub rule: StopRule,
    pub metric: PatienceMetric,
    /// Of the evaluation that was looked at.
    pub step: u64,
    /// Counts from 0; None for a rule without rungs.
    pub rung: Option<u32>,
    pub value: Option<f32>,
    /// The worst value that would have done.
    pub bound: Option<f32>,
    /// Trials that the bound rests on.
    pub among: usize,
    /// Whether the trial ends here.
    pub stops: bool,
}

impl fmt::Display for StopJudgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = |value: Option<f32>| value.map_or_else(|| "not finite".to_owned(), |value| format!("{value:.4}"));
        let (metric, step, among) = (self.metric.name(), self.step, self.among);
        let (value, bound) = (figure(self.value), figure(self.bound));
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
                let where_it_stands = if self.stops { "not among" } else { "among" };
                write!(
                    f,
                    "stop.asha: {metric} at step {step} is {value}, {where_it_stands} the best of {among} trials at rung {rung} \
                     ({bound} and better go on)"
                )
            }
        }
    }
}

/// Why an attempt ended without an outcome. A diverged trial is an outcome, not a failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Failure {
    /// The worker refused what it was given; another try gives the same. `message` says what and what to do.
    BadInput { message: String },
    /// The worker died: panic, signal, or an exit code that has no meaning of its own.
    Crashed { message: String, log_tail: Vec<String> },
    /// Killed for lack of memory, or given none when it asked for more.
    OutOfMemory { log_tail: Vec<String> },
    /// The device has no memory left; the machine may have.
    DeviceMemory { message: String },
    /// The disk is full or unwritable: nothing can go on.
    Disk { message: String },
    /// The disk could not do one thing; the next time it may.
    DiskError { message: String },
    /// The device reported an error.
    DeviceFault { message: String },
    /// The worker is gone and left no trace, as after a reboot.
    Lost,
    /// Killed by us: no step and no evaluation for this many seconds.
    Stalled { seconds: f64 },
    /// Killed by us: the trial has trained for more than this many seconds, all attempts together.
    TimeLimit { seconds: f64 },
}

impl Failure {
    /// The end of the worker's log, where that tells what happened.
    #[must_use]
    pub fn log_tail(&self) -> &[String] {
        match self {
            Self::Crashed { log_tail, .. } | Self::OutOfMemory { log_tail } => log_tail,
            _ => &[],
        }
    }

    /// Whether another attempt may end differently.
    #[must_use]
    pub fn is_worth_a_retry(&self) -> bool {
        !matches!(self, Self::BadInput { .. } | Self::Disk { .. } | Self::TimeLimit { .. })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadInput { message } => write!(f, "bad input: {message}"),
            Self::Crashed { message, .. } => write!(f, "worker died: {message}"),
            Self::OutOfMemory { .. } => f.write_str("out of memory: the worker was killed for it, or was given none"),
            Self::DeviceMemory { message } => write!(f, "out of memory on the device: {message}"),
            Self::Disk { message } | Self::DiskError { message } => write!(f, "disk: {message}"),
            Self::DeviceFault { message } => write!(f, "device fault: {message}"),
            Self::Lost => f.write_str("worker is gone without a trace"),
            Self::Stalled { seconds } => {
                write!(f, "no step and no evaluation for {seconds} s (run.stall_timeout): worker was killed")
            }
            Self::TimeLimit { seconds } => write!(
                f,
                "not done after {seconds} s (run.time_limit): raise the limit, and --retry-failed goes on from the checkpoint"
            ),
        }
    }
}

/// A running trial's position, read from its files. Shown live, never journaled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialProgress {
    pub trial: TrialId,
    pub slot: Slot,
    pub step: u64,
    pub steps: u64,
    /// Newest train losses, oldest first; for a sparkline.
    pub recent_loss: Vec<f32>,
    pub eval_loss: Option<f32>,
    pub best_eval_loss: Option<f32>,
}

/// Watches a sweep as it runs. Cannot fail it: what a reporter cannot show, it drops.
pub trait Reporter {
    /// A fact, right after it was journaled.
    fn event(&mut self, record: &Record);
    /// All running trials, a few times a second.
    fn progress(&mut self, running: &[TrialProgress]);
    /// What the user should know and no event says, such as a damaged line of the journal.
    fn warning(&mut self, text: &str) {
        let _ = text;
    }
    /// The terminal is gone; the sweep goes on.
    fn hangup(&mut self) {}
}
