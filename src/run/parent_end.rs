//! How the parent ends the workers of a run that a user or an error ends.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use super::order::RunError;
use super::parent::{LEAVE, Parent, RunEnd};
use super::signals::{self, Call};
use crate::exec::{Engine, Sighting};

/// From the request to stop until workers that still run are killed.
const STOP: Duration = Duration::from_millis(1500);
/// From killing workers until the run continues without a report of their end.
const KILL: Duration = Duration::from_millis(300);
/// Time to cancel all jobs.
const CANCEL: Duration = Duration::from_secs(15);

impl<E: Engine> Parent<'_, E> {
    /// Ends the run because a user asked for it. The jobs of a queue are cancelled, after they have saved their states.
    pub(super) async fn end(&mut self) -> Result<RunEnd, RunError> {
        if self.order.queue.is_none() {
            return Ok(RunEnd::Interrupted);
        }
        signals::allow(CANCEL + LEAVE, 130);
        for running in &self.running {
            self.dir.trial(&running.worker.trial).attempt(running.worker.attempt).request_interrupt()?;
        }
        self.engine.cancel_all();
        let deadline = Instant::now() + CANCEL;
        loop {
            tokio::select! {
                sighting = self.engine.poll() => if matches!(sighting, Sighting::Cancelled) {
                    break;
                },
                () = sleep_until(deadline) => {
                    self.warn("Slurm does not answer. The jobs end by themselves when they read the request in their folders".to_owned());
                    break;
                }
            }
        }
        for running in std::mem::take(&mut self.running) {
            self.release(&running.worker)?;
        }
        Ok(RunEnd::Interrupted)
    }

    /// Asks all workers to stop and waits for them. Kills those that take too long, or all at a second Ctrl-C.
    pub(super) async fn stop_all(&mut self, calls: &mut UnboundedReceiver<Call>) -> Result<(), RunError> {
        self.running.iter().for_each(|running| self.engine.stop(&running.worker));
        let (deadline, mut killed) = (Instant::now() + STOP, false);
        let mut result = Ok(());
        while !self.running.is_empty() {
            tokio::select! {
                Sighting::Exit(exited) = self.engine.poll() => {
                    self.running.retain(|running| running.worker != exited.worker);
                    result = result.and(self.release(&exited.worker));
                    continue;
                }
                Some(Call::Stop | Call::Terminate) = calls.recv(), if !killed => {}
                () = sleep_until(deadline), if !killed => {}
                () = sleep_until(deadline + KILL), if killed => break,
            }
            killed = true;
            self.running.iter().for_each(|running| self.engine.kill(&running.worker));
        }
        for running in std::mem::take(&mut self.running) {
            result = result.and(self.release(&running.worker));
        }
        result
    }
}
