//! What makes a worker stop: the end of its parent, or a later attempt at its trial.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::store::{AttemptDir, Lock};

/// Time between two heartbeats, and between two looks for a later attempt.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Time to save the state after the end of file on the pipe. Then the process ends as it is.
const GRACE: Duration = Duration::from_millis(1500);

/// Beats the lock of the trial until the attempt has ended, and sets `stop` if a later attempt supersedes this one.
pub(super) fn beat_until_ended(
    attempt: &AttemptDir,
    lock: &Mutex<Option<Lock>>,
    stop: &AtomicBool,
    ended: &Receiver<()>,
) {
    loop {
        if let Some(lock) = lock.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            // A heartbeat that cannot be written is no reason to stop.
            let _ = lock.beat();
        }
        if attempt.is_superseded() {
            stop.store(true, Ordering::Relaxed);
        }
        if ended.recv_timeout(HEARTBEAT) != Err(RecvTimeoutError::Timeout) {
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
