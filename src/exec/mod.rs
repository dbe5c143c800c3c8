//! Starts workers and reports what becomes of them. Three engines exist: [`Local`] starts a process on this machine or, with
//! [`SlurmSteps`], on a node of a Slurm job; [`Slurm`] submits a job for each worker; [`Inline`] starts a thread of this process
//! (for tests and debuggers).
//!
//! Guarantees: [`Local`] and [`Inline`] report the exit of every worker once, and stop their workers when they are dropped. The
//! jobs of [`Slurm`] continue. What an engine says about a worker is a hint: the folder of the trial decides whether the trial has
//! ended. What a worker does and which files it gets is left to others.

mod engine;
mod environment;
mod inline;
mod job_script;
mod local;
mod queue_listing;
mod slurm;
mod slurm_commands;
mod steps;
#[cfg(test)]
mod tests;

pub use engine::{Batch, Engine, ExitStatus, JobRequest, Launch, Sighting, Submission, WorkerExit, WorkerId};
pub use environment::{cpu_environment, device_seen_by_worker, thread_environment};
pub use inline::Inline;
pub use job_script::{Container, JobTemplate};
pub use local::{Local, program_file, this_program};
pub use slurm::Slurm;
pub use slurm_commands::{cancel_batches, cancel_job, check_job, job_states, submit_job};
pub use steps::SlurmSteps;
