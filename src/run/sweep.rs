//! The function that runs a sweep: it sets up the runtime and the signals, lets the parent work, and waits while the disk is
//! full.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use super::order::{RunError, RunOrder};
use super::parent::Parent;
use super::signals::{Call, listen};
use super::summary::RunSummary;
use crate::event::Reporter;
use crate::exec::Engine;
use crate::spec::OnFullDisk;
use crate::store::{HEARTBEAT, Lock, RunDir, StoreError, has_room};

/// Runs a sweep until nothing is left to do, or until it is interrupted. `make`: makes the engine, inside a tokio runtime.
pub fn sweep<E: Engine>(
    order: &RunOrder<'_>,
    make: impl FnOnce() -> E,
    reporter: &mut dyn Reporter,
) -> Result<RunSummary, RunError> {
    let cannot_start = |error| RunError::Store(StoreError::at(order.results.path())(error));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot_start)?;
    let mut listener = listen().map_err(cannot_start)?;
    runtime.block_on(async {
        let mut engine = make();
        sweep_until(order, &mut engine, reporter, listener.calls()).await
    })
}

/// Like [`sweep`], with `calls` in place of the signals.
pub(super) async fn sweep_until<E: Engine>(
    order: &RunOrder<'_>,
    engine: &mut E,
    reporter: &mut dyn Reporter,
    calls: &mut UnboundedReceiver<Call>,
) -> Result<RunSummary, RunError> {
    let mut order = *order;
    let mut pause = FIRST_PAUSE;
    loop {
        let start = tokio::time::Instant::now();
        let mut is_archived = false;
        let error = match run_once(&order, engine, reporter, calls, &mut is_archived).await {
            Err(error) if error.is_full_disk() && order.config.on_full_disk == OnFullDisk::Wait => error,
            result => return result,
        };
        reporter.warning(&format!("{error}\nThe sweep waits for room and then continues by itself (run.on_full_disk)"));
        if start.elapsed() > pause {
            pause = FIRST_PAUSE;
        }
        // The sweep stays this one's: `status`, `stop` and other runs see its lock.
        let dir = order.results.sweep(&order.plan.name)?;
        let mut lock = dir.lock_without_room().ok();
        // Each try would leave another attempt on the disk.
        let mut is_waiting = true;
        while is_waiting {
            if !wait(pause, (&dir, &mut lock), reporter, calls).await {
                return Err(RunError::Interrupted(Box::new(error)));
            }
            is_waiting = !has_room(order.results.path());
        }
        // Once the old results are archived, the next run is an ordinary one: it continues what this one has left.
        order.fresh &= !is_archived;
        pause = LAST_PAUSE.min(pause * 2);
    }
}

/// The first and the longest pause before a sweep on a full disk is tried again. The pause doubles until the sweep runs for
/// longer than it has waited.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// `is_archived`: set once the results before a run with `fresh` are out of the way.
async fn run_once<E: Engine>(
    order: &RunOrder<'_>,
    engine: &mut E,
    reporter: &mut dyn Reporter,
    calls: &mut UnboundedReceiver<Call>,
    is_archived: &mut bool,
) -> Result<RunSummary, RunError> {
    let mut parent = Parent::open(order, engine, reporter, is_archived)?;
    parent.run(calls).await
}

/// Waits for `pause`. False if the user stops the run meanwhile.
async fn wait(
    pause: Duration,
    (dir, lock): (&RunDir, &mut Option<Lock>),
    reporter: &mut dyn Reporter,
    calls: &mut UnboundedReceiver<Call>,
) -> bool {
    let end = tokio::time::Instant::now() + pause;
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    loop {
        tokio::select! {
            Some(call) = calls.recv() => match call {
                Call::Stop | Call::Terminate => return false,
                Call::Hangup => reporter.hangup(),
            },
            _ = heartbeat.tick() => {
                // There may be no room for it.
                let _ = lock.as_mut().map(Lock::beat);
                if lock.is_some() && dir.take_end_request() {
                    return false;
                }
            }
            () = tokio::time::sleep_until(end) => return true,
        }
    }
}
