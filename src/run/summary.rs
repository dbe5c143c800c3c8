//! How a run ended, and what the user can do next.

use std::path::PathBuf;

use crate::event::{Failure, Slot};
use crate::trial::TrialId;

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    pub sweep: String,
    pub folder: PathBuf,
    /// Trials of the plan with an outcome, from this run or earlier ones.
    pub finished: usize,
    /// Trials of the plan that failed for good, in plan order.
    pub failed: Vec<FailedTrial>,
    /// Trials of the plan that neither finished nor failed.
    pub left: usize,
    /// Trials that the search may still draw; 0 where only its time is bounded.
    pub undrawn: usize,
    pub interrupted: bool,
    /// How many attempts continue in the queue of a cluster, if the run has left them there.
    pub left_in_queue: Option<usize>,
    /// Why a search ended before all of its trials were drawn.
    pub search_end: Option<&'static str>,
    /// If the run ended because no slot was left: the retired slots, each with its last fault.
    pub retired_slots: Vec<(Slot, Failure)>,
    /// What the user should know: damaged lines, vanished folders.
    pub warnings: Vec<String>,
}

/// A trial without an outcome, and the log of its last attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedTrial {
    pub trial: TrialId,
    pub failure: Failure,
    pub attempts: u32,
    pub log: PathBuf,
}

impl RunSummary {
    /// 0: all trials finished. 1: some failed, or no device is left. 130: interrupted.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.interrupted, self.failed.is_empty() && self.retired_slots.is_empty()) {
            (true, _) => 130,
            (false, false) => 1,
            (false, true) => 0,
        }
    }

    /// What to do next, if anything is left to do.
    #[must_use]
    pub fn next_step(&self) -> Option<String> {
        let left = self.left + self.undrawn;
        let all = self.finished + self.failed.len() + left;
        if let Some(attempts) = self.left_in_queue {
            let (attempts, verb, them) = match attempts {
                1 => ("1 trial".to_owned(), "continues", "it"),
                _ => (format!("{attempts} trials"), "continue", "them"),
            };
            let more = match left.saturating_sub(self.left_in_queue.unwrap_or(0)) {
                0 => String::new(),
                1 => " 1 more is not queued yet: the same command queues it.".to_owned(),
                more => format!(" {more} more are not queued yet: the same command queues them."),
            };
            return Some(format!(
                "{attempts} {verb} in Slurm.{more} The same command follows again, `plateau stop {}` ends {them}.",
                self.sweep
            ));
        }
        if self.interrupted {
            return Some(format!(
                "Interrupted with {left} of {all} trials left. Run the same command again to continue: finished trials stay \
                 finished, the others continue from their last checkpoint."
            ));
        }
        if let Some(faults) = self.faults() {
            return Some(format!(
                "{left} of {all} trials are left, but no device works any more: {faults}. Check the device, then run the \
                 same command again: finished trials stay finished, the others continue from their last checkpoint."
            ));
        }
        if !self.failed.is_empty() {
            let failed = self.failed.len();
            return Some(format!("{failed} of {all} trials failed. Run again with --retry-failed to retry them."));
        }
        let ended = self.finished;
        let rest = match left {
            0 => String::new(),
            left => format!(" {left} of {all} are left: the same command continues."),
        };
        self.search_end.map(|why| format!("The search ended after {ended} trials: {why}.{rest}"))
    }

    /// The faults that ended the run, if it ended because no slot was left.
    fn faults(&self) -> Option<String> {
        let text = |(slot, failure): &(Slot, Failure)| format!("{}: {failure}", slot.place_name());
        let faults = self.retired_slots.iter().map(text).collect::<Vec<_>>();
        (!faults.is_empty()).then(|| faults.join("; "))
    }
}
