//! What every engine can do.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process;

use crate::event::{Handle, JobName, JobState, Slot};
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
    /// For the output of the worker. None: the worker opens it itself.
    pub log: Option<File>,
    pub slot: Slot,
}

/// Workers to start together.
#[derive(Debug)]
pub struct Batch {
    pub launches: Vec<Launch>,
    /// None: the engine has no queue.
    pub request: Option<JobRequest>,
}

/// What the jobs of a batch need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRequest {
    /// The name of each job.
    pub name: String,
    /// The index of the job of each launch, in order. Several launches may share a job.
    pub indices: Vec<u32>,
    /// At most so many jobs run at the same time. None: no bound.
    pub throttle: Option<usize>,
    /// Tells each job which attempts it trains.
    pub document: PathBuf,
    /// The folder for the output and the exit codes of the job scripts.
    pub folder: PathBuf,
    /// Bytes of each job. None: as the cluster gives.
    pub memory: Option<u64>,
    /// Nodes on which no job may run, in order.
    pub avoid: Vec<String>,
}

/// What became of a launch.
#[derive(Debug)]
pub enum Submission {
    Taken(Handle),
    /// Nothing was started.
    Refused(io::Error),
    /// The engine has not answered yet. A [`Sighting`] will tell.
    Unknown,
}

/// What an engine has seen.
#[derive(Debug)]
pub enum Sighting {
    /// A worker ended. Of engines without a queue.
    Exit(WorkerExit),
    /// The state of a job has changed. Of engines with a queue.
    Job { worker: WorkerId, state: JobState },
    /// The cluster has taken these launches.
    Submitted { workers: Vec<WorkerId> },
    /// The cluster takes no more jobs for now. The engine tries again.
    PutOff { message: String },
    /// The cluster will never take launches like these.
    Refused { workers: Vec<WorkerId>, message: String },
    /// The cluster does not answer.
    Away { message: String },
    /// The cluster answers again.
    Back,
    /// The jobs that were to be cancelled are cancelled.
    Cancelled,
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

/// Runs workers somewhere. It may be slow, lie, or not answer for a while. It never blocks, and never forgets what it was given. Used
/// inside a tokio runtime, by one task.
pub trait Engine {
    /// Starts workers. One answer for each launch.
    fn submit(&mut self, batch: Batch) -> Vec<Submission>;

    /// Waits for the next sighting; for ever if nothing happens. The call may be cancelled and repeated.
    fn poll(&mut self) -> impl Future<Output = Sighting>;

    /// Asks a worker to save its state and end. Unknown workers are ignored: they have just ended. A worker that shares its job with
    /// others hears only the request in its folder.
    fn stop(&mut self, worker: &WorkerId);

    /// Ends a worker at once. A job that others share ends when all of its workers are to be killed or are over.
    fn kill(&mut self, worker: &WorkerId);

    /// Looks after the job of a worker that an earlier parent has queued. Engines without a queue have no such workers.
    fn adopt(&mut self, worker: WorkerId, job: JobName) {
        let _ = (worker, job);
    }

    /// The attempt of this worker is over, or its trial is. The engine ends what may be left of it, and tells nothing more about it.
    fn forget(&mut self, worker: &WorkerId) {
        let _ = worker;
    }

    /// Ends all workers, after they have saved their states. [`Sighting::Cancelled`] tells when every job has its signal. Engines
    /// without a queue stop each worker by itself.
    fn cancel_all(&mut self) {}
}
