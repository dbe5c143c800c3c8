//! Starts workers and tells when they end. Engines: [`Local`] (a process on this machine) and [`Inline`] (a thread of this
//! process, for tests and debuggers).
//!
//! An engine's word about a worker is a hint; whether a trial has ended is for its folder to say. Guarantees: every
//! worker that was launched is reported once by [`Executor::next_exit`]; dropping an engine stops its workers.
//! Leaves to others: what a worker does, and the files it is given.

mod inline;
mod local;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;

pub use inline::Inline;
pub use local::Local;

use crate::event::Slot;
use crate::trial::{Device, TrialId};

/// Names a worker: there is one for each attempt.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Worker {
    pub trial: TrialId,
    pub attempt: u32,
}

/// What an engine is told to start.
#[derive(Debug)]
pub struct Start {
    pub worker: Worker,
    /// The attempt's folder, with its assignment.
    pub folder: PathBuf,
    /// Takes the worker's output.
    pub log: File,
    pub slot: Slot,
}

/// A worker that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exited {
    pub worker: Worker,
    pub how: Exit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// An engine. Used inside a tokio runtime, by one task.
pub trait Executor {
    /// Starts a worker and returns its process id. An error means that nothing was started.
    fn launch(&mut self, start: Start) -> io::Result<u32>;

    /// Waits for the next worker to end; with none running, forever. Safe to give up and call again.
    fn next_exit(&mut self) -> impl Future<Output = Exited>;

    /// Asks a worker to save its state and end. Unknown ones are ignored: they have just ended.
    fn stop(&mut self, worker: &Worker);

    /// Ends a worker at once.
    fn kill(&mut self, worker: &Worker);
}

/// The number under which a worker sees its device: engines hide all others from it.
#[must_use]
pub fn device_seen_by_worker(device: Device) -> Device {
    match device {
        Device::Cuda(_) => Device::Cuda(0),
        other => other,
    }
}

/// Environment of a worker on `slot`: its threads, how it keeps memory, and its device as the only one. `visible` is this
/// process's own `CUDA_VISIBLE_DEVICES`, from which the slot's index counts.
fn environment(slot: Slot, visible: Option<&str>) -> Vec<(&'static str, String)> {
    let threads =
        ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"];
    // On a CPU the trainer has a pool of `slot.threads` of its own and runs one-thread products in it; candle's pools and
    // a library's would only start more threads beside it.
    let inner = if slot.device == Device::Cpu { 1 } else { slot.threads };
    let mut variables: Vec<_> = threads.into_iter().map(|name| (name, inner.to_string())).collect();
    // Pages that a step gives back are wanted again by the next: returning them costs an eighth of a step in page faults.
    variables.push(("MIMALLOC_PURGE_DELAY", "-1".to_owned()));
    if let Device::Cuda(index) = slot.device {
        let pinned = visible.and_then(|list| list.split(',').nth(index)).map(|name| name.trim().to_owned());
        variables.push(("CUDA_VISIBLE_DEVICES", pinned.unwrap_or_else(|| index.to_string())));
    }
    variables
}
