//! What to run and how, and why a run ends early.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use crate::decide::{MemoryBudget, Packing, QueueRules, trial_result};
use crate::event::{Event, Slot};
use crate::plan::{Facts, Plan, SearchPlan, SearchStep, Suggestion};
use crate::spec::RunConfig;
use crate::state::SweepState;
use crate::store::{Results, StoreError};
use crate::trial::{Device, TrialId};

/// What to run, and how.
#[derive(Debug, Clone, Copy)]
pub struct RunOrder<'a> {
    pub plan: &'a Plan,
    /// Where further trials come from. None: the plan holds all.
    pub search: Option<&'a (dyn TrialSource + 'a)>,
    /// The facts that the plan was made from: a worker compares its files with their hashes.
    pub facts: &'a Facts,
    /// The sweep with its defaults filled in, for `sweep.yaml`.
    pub sweep_yaml: &'a str,
    /// What the sweep was made from, for `.origin.json`.
    pub origin: &'a [u8],
    pub results: &'a Results,
    /// The run uses the keys about retries and checkpoints. The other keys are already in `slots`.
    pub config: &'a RunConfig,
    /// From [`crate::decide::slots`].
    pub slots: &'a [Slot],
    /// Trials wait until there is memory for them. None: they wait for a slot only.
    pub memory: Option<MemoryBudget<'a>>,
    /// The memory of accelerators. Trials do not wait for that of others.
    pub device_memory: &'a [(Device, MemoryBudget<'a>)],
    /// Target size of the micro-batches of each trial on an accelerator, in tokens. Empty on the CPU.
    pub micro_batch_tokens: &'a HashMap<TrialId, usize>,
    /// The trials of this run. None: all trials of the plan.
    pub only: Option<&'a HashSet<TrialId>>,
    /// Retry trials that failed for good.
    pub retry_failed: bool,
    /// Stopped trials to train to their last step.
    pub continued: &'a [TrialId],
    /// Archive the old results and start over.
    pub fresh: bool,
    /// Trials wait in the queue of a cluster, and the slots bound how many. None: they run in the slots.
    pub queue: Option<&'a QueueOrder<'a>>,
    /// Number of parameters of each model (by [`crate::trial::ModelConfig::network`]), where known; for estimates by later runs.
    pub parameters: &'a HashMap<String, u64>,
}

/// How trials are queued on a cluster.
#[derive(Debug)]
pub struct QueueOrder<'a> {
    /// The start of the name of every job.
    pub prefix: String,
    /// Bytes of the job of each trial. None: as the cluster gives.
    pub memory: Option<&'a HashMap<TrialId, u64>>,
    /// Estimated seconds of each trial.
    pub seconds: &'a HashMap<TrialId, f64>,
    pub rules: QueueRules,
    /// How trials share jobs, and how many jobs wait and run together.
    pub packing: Packing,
    /// At most so many jobs are submitted together.
    pub batch: usize,
    /// Submit all trials at once, and let the cluster bound how many jobs run.
    pub submits_all: bool,
    /// End the run when the first jobs are submitted.
    pub leaves: bool,
}

/// Where the trials of a search come from.
pub trait TrialSource: fmt::Debug {
    /// The plan with all that was drawn so far.
    fn plan(&self) -> Option<Plan>;
    /// What comes next, where the trials are in this state. `unjudged`: ended trials that early stopping has still to judge.
    fn next(&self, state: &SweepState, unjudged: &HashSet<TrialId>) -> SearchStep;
    /// What was drawn so far.
    fn suggestions(&self) -> Vec<Suggestion>;
    /// Forgets what earlier runs have drawn.
    fn forget(&self);
    /// What decides its configurations, for the journal.
    fn opened(&self) -> Event;
    /// Whether all trials are drawn.
    fn is_complete(&self) -> bool;
    /// No trial starts after this time.
    fn time(&self) -> Option<Duration>;
    /// How many places before a trial in the plan the trials lie with which it is compared.
    fn distance(&self) -> usize;
}

impl TrialSource for RefCell<SearchPlan<'_>> {
    fn plan(&self) -> Option<Plan> {
        self.borrow().plan().ok()
    }

    fn next(&self, state: &SweepState, unjudged: &HashSet<TrialId>) -> SearchStep {
        let at = self.borrow().at();
        self.borrow_mut().next(|id| trial_result(state, id, at, unjudged.contains(id)))
    }

    fn suggestions(&self) -> Vec<Suggestion> {
        self.borrow().suggestions()
    }

    fn forget(&self) {
        self.borrow_mut().forget();
    }

    fn opened(&self) -> Event {
        self.borrow().opened()
    }

    fn is_complete(&self) -> bool {
        self.borrow().is_complete()
    }

    fn time(&self) -> Option<Duration> {
        self.borrow().time()
    }

    fn distance(&self) -> usize {
        self.borrow().distance()
    }
}

/// Why a run could not continue. Everything that was computed is kept.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A worker cannot write its files.
    #[error("{message}")]
    Disk { message: String },
    /// A worker has no room for its files.
    #[error("{message}")]
    DiskFull { message: String },
    /// A limit of this process or of the system was reached.
    #[error("{message}")]
    Limit { message: String },
    /// The cluster does not take jobs like these.
    #[error("{message}")]
    Refused { message: String },
    /// The user did not wait for room on the disk.
    #[error("interrupted while the sweep waited: {0}")]
    Interrupted(#[source] Box<RunError>),
}

impl RunError {
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Store(_) | Self::Disk { .. } | Self::DiskFull { .. } | Self::Limit { .. } => 3,
            Self::Refused { .. } => 2,
            Self::Interrupted(_) => 130,
        }
    }

    /// Whether more room on the disk is what the user should provide.
    #[must_use]
    pub fn is_full_disk(&self) -> bool {
        match self {
            Self::DiskFull { .. } => true,
            Self::Store(error) => error.is_full(),
            Self::Interrupted(error) => error.is_full_disk(),
            Self::Disk { .. } | Self::Limit { .. } | Self::Refused { .. } => false,
        }
    }
}
