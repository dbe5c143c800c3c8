//! Starts workers and reports when they end. Two engines exist: [`Local`] starts a process on this machine or, with
//! [`SlurmSteps`], on a node of a Slurm job; [`Inline`] starts a thread of this process (for tests and debuggers).
//!
//! Guarantees: every launched worker is reported once by [`Executor::next_exit`]; dropping an engine stops its workers. What
//! an engine says about a worker is a hint: the folder of the trial decides whether the trial has ended. What a worker does
//! and which files it gets is left to others.

mod environment;
mod executor;
mod inline;
mod local;
mod steps;
#[cfg(test)]
mod tests;

pub use environment::{cpu_environment, device_seen_by_worker};
pub use executor::{Executor, ExitStatus, Launch, WorkerExit, WorkerId};
pub use inline::Inline;
pub use local::{Local, this_program};
pub use steps::SlurmSteps;
