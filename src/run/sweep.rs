//! The function that runs a sweep: it sets up the runtime and the signals, and lets the parent work.

use tokio::sync::mpsc::UnboundedReceiver;

use super::order::{RunError, RunOrder};
use super::parent::Parent;
use super::signals::{Call, listen};
use super::summary::RunSummary;
use crate::event::Reporter;
use crate::exec::Executor;

/// Runs a sweep until nothing is left to do, or until it is interrupted.
pub fn sweep<E: Executor>(
    order: &RunOrder<'_>,
    engine: E,
    reporter: &mut dyn Reporter,
) -> Result<RunSummary, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
    let mut listener = listen().map_err(RunError::Runtime)?;
    runtime.block_on(sweep_until(order, engine, reporter, listener.calls()))
}

/// Like [`sweep`], with `calls` in place of the signals.
pub(super) async fn sweep_until<E: Executor>(
    order: &RunOrder<'_>,
    engine: E,
    reporter: &mut dyn Reporter,
    calls: &mut UnboundedReceiver<Call>,
) -> Result<RunSummary, RunError> {
    let mut parent = Parent::open(order, engine, reporter)?;
    parent.run(calls).await
}
