//! What makes a worker stop: the end of its parent, a signal, a request in the folder of its attempt, or a later attempt.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::store::{AttemptDir, Heart, Lock, StopRequest, is_asked_to_stop};

/// Time between two looks at the requests of a worker that its parent watches.
const LOOK: Duration = Duration::from_secs(1);
/// The same on a cluster, where a thousand workers may share one file server.
const LOOK_ON_CLUSTER: Duration = Duration::from_secs(10);
/// Time to save the state after the end of file on the pipe. Then the process ends as it is.
const GRACE: Duration = Duration::from_millis(1500);

/// What a worker was asked to do. The trainer asks at every step, so this reads no file.
#[derive(Debug)]
pub(super) struct Orders<'a> {
    stop: &'a AtomicBool,
    end: OnceLock<StopRequest>,
    /// Whether no lock keeps a later attempt waiting, so that this one must not write once there is one.
    pub(super) is_fenced: bool,
}

impl<'a> Orders<'a> {
    /// `stop`: set when the worker must save its state and end.
    pub(super) fn new(stop: &'a AtomicBool, is_fenced: bool) -> Self {
        Self { stop, end: OnceLock::new(), is_fenced }
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || is_asked_to_stop()
    }

    /// Why the trial should publish its outcome, if it should do so after `step` steps.
    pub(super) fn stop_reason(&self, step: u64) -> Option<String> {
        self.end.get().filter(|request| step >= request.step).map(|request| request.reason.clone())
    }

    /// Reads the requests in the folder of the attempt.
    pub(super) fn look(&self, attempt: &AttemptDir) {
        let requests = attempt.requests();
        if requests.is_interrupted {
            self.stop.store(true, Ordering::Relaxed);
        }
        if let Some(request) = requests.stop {
            // The first request stays.
            let _ = self.end.set(request);
        }
    }
}

/// How a worker shows that it lives.
#[derive(Debug)]
pub(super) enum Pulse<'a> {
    /// By its lock on the trial, once it has it.
    Lock(&'a Mutex<Option<Lock>>),
    /// By a file that the parent reads, on a cluster. A lock of another host may not be seen there.
    Heart(Heart),
}

/// Shows that the worker lives and reads its requests until the attempt has ended.
pub(super) fn beat_until_ended(attempt: &AttemptDir, mut pulse: Pulse<'_>, orders: &Orders<'_>, ended: &Receiver<()>) {
    loop {
        let pause = match &mut pulse {
            Pulse::Lock(lock) => {
                if let Some(lock) = lock.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                    // A heartbeat that cannot be written is no reason to stop.
                    let _ = lock.beat();
                }
                LOOK
            }
            Pulse::Heart(heart) => {
                heart.beat();
                LOOK_ON_CLUSTER
            }
        };
        orders.look(attempt);
        if ended.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// Watches standard input in a thread of its own. At its end the trainer is asked to stop. If it does not, a signal ends the
/// process that runs none of its code.
pub(super) fn stop_at_end_of_input(stop: Arc<AtomicBool>) -> io::Result<()> {
    let watch = move || {
        let mut buffer = [0; 64];
        let mut input = io::stdin().lock();
        while !matches!(input.read(&mut buffer), Ok(0) | Err(_)) {}
        stop.store(true, Ordering::Relaxed);
        thread::sleep(GRACE);
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    };
    thread::Builder::new().name("parent".into()).spawn(watch).map(drop)
}
