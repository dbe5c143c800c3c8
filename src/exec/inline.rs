//! Workers as threads of this process: the same protocol without processes, for tests and debuggers.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Batch, Engine, ExitStatus, Launch, Sighting, Submission, WorkerExit, WorkerId};
use crate::event::Handle;

/// The function of a worker. It gets the folder of the attempt and a flag that asks it to stop, and returns its exit code.
type Body = dyn Fn(&Path, &Arc<AtomicBool>) -> u8 + Send + Sync;

/// The engine. A worker that panics has exit code 101, like a process.
pub struct Inline {
    body: Arc<Body>,
    running: HashMap<WorkerId, Arc<AtomicBool>>,
    ended: UnboundedSender<WorkerExit>,
    exits: UnboundedReceiver<WorkerExit>,
}

impl Inline {
    pub fn new(body: impl Fn(&Path, &Arc<AtomicBool>) -> u8 + Send + Sync + 'static) -> Self {
        let (ended, exits) = unbounded_channel();
        Self { body: Arc::new(body), running: HashMap::new(), ended, exits }
    }
}

impl Drop for Inline {
    fn drop(&mut self) {
        self.running.values().for_each(|stop| stop.store(true, Ordering::Relaxed));
    }
}

impl Inline {
    /// Starts a thread and returns the id of this process. After an error nothing was started.
    fn launch(&mut self, launch: Launch) -> io::Result<u32> {
        let stop = Arc::new(AtomicBool::new(false));
        let Launch { worker, folder, .. } = launch;
        let (body, flag, ended, who) = (Arc::clone(&self.body), Arc::clone(&stop), self.ended.clone(), worker.clone());
        thread::Builder::new().name(format!("{}/{}", worker.trial, worker.attempt)).spawn(move || {
            let code = catch_unwind(AssertUnwindSafe(|| body(&folder, &flag))).unwrap_or(101);
            // Fails only if the engine was dropped.
            let _ = ended.send(WorkerExit { worker: who, status: ExitStatus::Code(i32::from(code)) });
        })?;
        self.running.insert(worker, stop);
        Ok(process::id())
    }
}

impl Engine for Inline {
    fn submit(&mut self, batch: Batch) -> Vec<Submission> {
        let launch =
            |launch| self.launch(launch).map_or_else(Submission::Refused, |pid| Submission::Taken(Handle::local(pid)));
        batch.launches.into_iter().map(launch).collect()
    }

    async fn poll(&mut self) -> Sighting {
        loop {
            // This engine holds a sender itself, so the channel is never closed.
            let Some(exited) = self.exits.recv().await else { return std::future::pending().await };
            // A killed worker was already reported; the later end of its thread is ignored.
            if self.running.remove(&exited.worker).is_some() {
                return Sighting::Exit(exited);
            }
        }
    }

    fn stop(&mut self, worker: &WorkerId) {
        if let Some(stop) = self.running.get(worker) {
            stop.store(true, Ordering::Relaxed);
        }
    }

    /// A thread cannot be killed: it is asked to stop, and counts as ended at once.
    fn kill(&mut self, worker: &WorkerId) {
        self.stop(worker);
        if self.running.contains_key(worker) {
            let _ = self.ended.send(WorkerExit { worker: worker.clone(), status: ExitStatus::Signal(9) });
        }
    }
}
