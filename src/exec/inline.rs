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

use super::{Executor, Exit, Exited, Start, Worker};

/// What a worker does: gets its attempt's folder and a flag that says "stop", and returns its exit code.
type Body = dyn Fn(&Path, &Arc<AtomicBool>) -> u8 + Send + Sync;

/// The engine. A panic of a worker is exit code 101, as of a process.
pub struct Inline {
    body: Arc<Body>,
    running: HashMap<Worker, Arc<AtomicBool>>,
    ended: UnboundedSender<Exited>,
    exits: UnboundedReceiver<Exited>,
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

impl Executor for Inline {
    fn launch(&mut self, start: Start) -> io::Result<u32> {
        let stop = Arc::new(AtomicBool::new(false));
        let Start { worker, folder, .. } = start;
        let (body, flag, ended, who) = (Arc::clone(&self.body), Arc::clone(&stop), self.ended.clone(), worker.clone());
        thread::Builder::new().name(format!("{}/{}", worker.trial, worker.attempt)).spawn(move || {
            let code = catch_unwind(AssertUnwindSafe(|| body(&folder, &flag))).unwrap_or(101);
            // Nobody listens any more when the engine is gone.
            let _ = ended.send(Exited { worker: who, how: Exit::Code(i32::from(code)) });
        })?;
        self.running.insert(worker, stop);
        Ok(process::id())
    }

    async fn next_exit(&mut self) -> Exited {
        loop {
            // This engine holds a sender itself, so the channel is never closed.
            let Some(exited) = self.exits.recv().await else { return std::future::pending().await };
            // A killed worker was reported when it was killed; what its thread says later is of no interest.
            if self.running.remove(&exited.worker).is_some() {
                return exited;
            }
        }
    }

    fn stop(&mut self, worker: &Worker) {
        if let Some(stop) = self.running.get(worker) {
            stop.store(true, Ordering::Relaxed);
        }
    }

    /// A thread cannot be killed: it is told to stop, and counts as ended at once.
    fn kill(&mut self, worker: &Worker) {
        self.stop(worker);
        if self.running.contains_key(worker) {
            let _ = self.ended.send(Exited { worker: worker.clone(), how: Exit::Signal(9) });
        }
    }
}
