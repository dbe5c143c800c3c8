//! The worker process: it reads an assignment, trains the trial, and writes its results. All communication is through files.
//!
//! Guarantees:
//! * Rows that are written stay. Rows after the checkpoint are cut off and computed again.
//! * The outcome is published once, and only if all rows of the curves are on the disk.
//! * Every failure is left as `failure.json` and as an exit code ([`crate::store::exit`]).
//! * A worker ends within two seconds of its parent, and soon after a later attempt at its trial was claimed.
//!
//! The training itself is left to [`crate::train`], and the consequences of a failure to [`crate::decide`].

mod allocator;
mod attempt;
mod cache;
mod error;
mod job;
mod outcome;
mod sink;
mod stop;
#[cfg(test)]
pub(crate) mod tests;

pub use allocator::{ExitWithoutMemory, become_worker, blame_files_for_lack_of_memory};
pub use attempt::attempt;
#[cfg(test)]
pub(crate) use attempt::run_with;
pub use cache::DiskCache;
pub use job::{run, run_job};
