//! Runs a sweep from its plan to its last trial: observe, journal, fold, decide, act.
//!
//! Guarantees:
//! * A trial with an outcome is never trained again.
//! * Every start of a worker is claimed and journaled before it happens. When this process dies at any moment, the next run
//!   is an ordinary one.
//! * SIGINT and SIGTERM end the command within two seconds, also while a disk or a server does not answer. The end of the
//!   terminal (SIGHUP) stops nothing.
//! * A trial counts as finished only while its files are complete.
//!
//! What to do next is left to [`crate::decide`], the training to [`crate::worker`], and the display to
//! [`crate::event::Reporter`].

mod cancel;
mod device_load;
mod early_stopping;
mod failure_cause;
mod follow;
mod leaders;
mod machine;
mod new_jobs;
mod order;
mod parent;
mod parent_attempts;
mod parent_end;
mod parent_jobs;
mod parent_looks;
mod parent_queue;
mod probes;
mod queue;
mod queue_looks;
mod reconcile;
mod signals;
mod summary;
mod survey;
mod sweep;
#[cfg(test)]
mod tests;
mod trials_table;
mod watch;

pub use cancel::{QueuedTrial, cancel_jobs, queued_trials};
pub use machine::machine;
pub use order::{QueueOrder, RunError, RunOrder, TrialSource};
pub use probes::{probe_results, prune_states};
pub use summary::{FailedTrial, RunSummary};
pub use survey::{RemovedTrials, Surveyor, statuses, survey, survey_folder, survey_outcomes, survey_trial, with_drawn};
pub use sweep::sweep;
pub use watch::{WatchEnd, watch};
