//! A sweep from its plan to its last trial: observe, journal, fold, decide, act.
//!
//! Guarantees: a trial with an outcome is never trained again; every start is claimed and journaled before it happens; when
//! this process dies at any moment, the next run is an ordinary one. Ctrl-C and SIGTERM stop all workers within two
//! seconds; the end of the terminal stops nothing. Leaves to others: what to do next ([`crate::decide`]), the training ([`crate::worker`]), and what people see
//! ([`Reporter`]).

mod cause;
mod follow;
mod judged;
mod machine;
mod open;
mod parent;
mod probed;
mod survey;
mod table;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

pub use machine::machine;
pub use probed::{probe_results, prune_states};
pub use survey::{Surveyor, statuses, survey, survey_folder, survey_trial, trials_out_of_plan};
pub use watch::{WatchEnd, watch};

use crate::decide::MemoryBudget;
use crate::event::{Failure, Reporter, Slot};
use crate::exec::Executor;
use crate::plan::Plan;
use crate::spec::RunConfig;
use crate::store::{Results, StoreError};
use crate::trial::TrialId;
use parent::Parent;

/// What to run, and how.
#[derive(Debug, Clone, Copy)]
pub struct RunOrder<'a> {
    pub plan: &'a Plan,
    /// The sweep with its defaults filled in, for `sweep.yaml`.
    pub sweep_yaml: &'a str,
    /// What the sweep was made from, kept beside it.
    pub origin: &'a [u8],
    pub results: &'a Results,
    /// Retries, checkpoints and what is kept of them; the slots are already made of the rest.
    pub config: &'a RunConfig,
    /// From [`crate::decide::slots`].
    pub slots: &'a [Slot],
    /// Trials wait until there is room; None: for a slot alone.
    pub memory: Option<MemoryBudget<'a>>,
    /// The trials that this run is about; None: all of the plan.
    pub only: Option<&'a HashSet<TrialId>>,
    /// Take up the trials again that failed for good.
    pub retry_failed: bool,
    /// Take up these stopped trials again, to train them to their end.
    pub continued: &'a [TrialId],
    /// Archive what is there and start over.
    pub fresh: bool,
    /// Of each model (by `model.from` as planned), where known; for estimates by later runs.
    pub parameters: &'a HashMap<String, u64>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    pub sweep: String,
    pub folder: PathBuf,
    /// Trials of the plan with an outcome, from this run or earlier ones.
    pub finished: usize,
    /// Trials of the plan that failed for good, in its order.
    pub failed: Vec<FailedTrial>,
    /// Trials of the plan that are neither.
    pub left: usize,
    pub interrupted: bool,
    /// The slots that are out of use, each with its last fault, if the run ended because none was left.
    pub out_of_use: Vec<(Slot, Failure)>,
    /// What the user should know: damaged lines, vanished folders.
    pub warnings: Vec<String>,
}

/// A trial without an outcome, and where to look.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedTrial {
    pub trial: TrialId,
    pub failure: Failure,
    pub attempts: u32,
    pub log: PathBuf,
}

impl RunSummary {
    /// 0 all trials finished, 1 some failed or no device is left, 130 interrupted.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.interrupted, self.failed.is_empty() && self.out_of_use.is_empty()) {
            (true, _) => 130,
            (false, false) => 1,
            (false, true) => 0,
        }
    }

    /// What to do next, if anything is left to do.
    #[must_use]
    pub fn next_step(&self) -> Option<String> {
        let all = self.finished + self.failed.len() + self.left;
        if self.interrupted {
            let left = self.left;
            return Some(format!(
                "Interrupted with {left} of {all} trials left. Run the same command again to go on: finished trials stay, \
                 the others continue from their last checkpoint."
            ));
        }
        if let Some(faults) = self.faults() {
            let left = self.left;
            return Some(format!(
                "{left} of {all} trials are left, but nothing to train them on: {faults}. See to the device, then run the \
                 same command again: finished trials stay, the others continue from their last checkpoint."
            ));
        }
        (!self.failed.is_empty()).then(|| {
            format!(
                "{} of {all} trials failed. Run again with --retry-failed to take them up again.",
                self.failed.len()
            )
        })
    }
}

impl RunSummary {
    /// Why no slot is left, if that ended the run.
    fn faults(&self) -> Option<String> {
        let of = |(slot, failure): &(Slot, Failure)| format!("{} (slot {}): {failure}", slot.device, slot.index);
        (!self.out_of_use.is_empty()).then(|| self.out_of_use.iter().map(of).collect::<Vec<_>>().join("; "))
    }
}

/// Why a run could not go on. What was computed is kept.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A worker's word about the disk.
    #[error("{message}")]
    Disk { message: String },
    #[error("the sweep cannot start: {0}")]
    Runtime(#[source] io::Error),
}

impl RunError {
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Store(_) | Self::Disk { .. } => 3,
            Self::Runtime(_) => 1,
        }
    }
}

/// Runs a sweep until nothing is left to do, or until it is interrupted.
pub fn sweep<E: Executor>(
    order: &RunOrder<'_>,
    engine: E,
    reporter: &mut dyn Reporter,
) -> Result<RunSummary, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
    runtime.block_on(async {
        let interrupts = calls().map_err(RunError::Runtime)?;
        sweep_until(order, engine, reporter, interrupts).await
    })
}

/// As [`sweep`]; `interrupts` stands for the signals.
async fn sweep_until<E: Executor>(
    order: &RunOrder<'_>,
    engine: E,
    reporter: &mut dyn Reporter,
    interrupts: UnboundedReceiver<Call>,
) -> Result<RunSummary, RunError> {
    let mut parent = Parent::open(order, engine, reporter)?;
    parent.run(interrupts).await
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Call {
    /// Ctrl-C, or the SIGTERM that a cluster sends: save and stop; a second one, at once.
    #[default]
    Stop,
    /// The terminal is gone: go on without it.
    Hangup,
    Nothing,
}

/// SIGXFSZ, on Linux as on macOS.
const FILE_SIZE: i32 = 25;

/// Signals from now on, instead of what they do by default.
fn calls() -> io::Result<UnboundedReceiver<Call>> {
    let (sender, receiver) = unbounded_channel();
    let kinds = [
        (SignalKind::interrupt(), Call::Stop),
        (SignalKind::terminate(), Call::Stop),
        (SignalKind::hangup(), Call::Hangup),
        // A file may not grow any more: the write says so, too.
        (SignalKind::from_raw(FILE_SIZE), Call::Nothing),
    ];
    for (kind, call) in kinds {
        let mut signals = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move { while signals.recv().await.is_some() && sender.send(call).is_ok() {} });
    }
    Ok(receiver)
}
