//! What every engine can do.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process;

use crate::event::Slot;
use crate::trial::TrialId;

/// Names a worker: every attempt has one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkerId {
    pub trial: TrialId,
    pub attempt: u32,
}

/// A worker for an engine to start.
#[derive(Debug)]
pub struct Launch {
    pub worker: WorkerId,
    /// The folder of the attempt, with its assignment.
    pub folder: PathBuf,
    /// For the output of the worker.
    pub log: File,
    pub slot: Slot,
}

/// A worker that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerExit {
    pub worker: WorkerId,
    pub status: ExitStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    Code(i32),
    Signal(i32),
    /// The cluster ended the worker at its bound on memory.
    OutOfMemory,
    /// The Slurm job in which the worker was a step has ended, so no other worker can start.
    JobEnded,
}

impl From<process::ExitStatus> for ExitStatus {
    fn from(status: process::ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::JobEnded => f.write_str("the Slurm job has ended"),
        }
    }
}

/// An engine. Used inside a tokio runtime, by one task.
pub trait Executor {
    /// Starts a worker and returns its process id. After an error nothing was started.
    fn launch(&mut self, launch: Launch) -> io::Result<u32>;

    /// Waits for the next worker to end; for ever if none runs. The call may be cancelled and repeated.
    fn next_exit(&mut self) -> impl Future<Output = WorkerExit>;

    /// Asks a worker to save its state and end. Unknown workers are ignored: they have just ended.
    fn stop(&mut self, worker: &WorkerId);

    /// Ends a worker at once.
    fn kill(&mut self, worker: &WorkerId);
}
