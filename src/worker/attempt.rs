//! One attempt at one trial, from its assignment to its outcome.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::allocator::become_worker;
use super::cache::DiskCache;
use super::error::AttemptError;
use super::outcome::{complete, smaller_micro_batches};
use super::sink::TrialSink;
use super::stop::{Orders, Pulse, beat_until_ended, stop_at_end_of_input};
use crate::event::Failure;
use crate::store::{
    Assignment, AttemptDir, Blobs, CurvePosition, Lock, MadeBy, SavedState, StoreError, TrialRecord, exit, host,
    note_stop_signals, read_curve, read_state,
};
use crate::train::{self, Job, Sink, TrainError};
use crate::trial::{DiagnosticRow, EvalRow, MICRO_BATCH_TOKENS, Metric, MetricRow, Outcome, PrecisionName};

/// How long a worker waits until an earlier attempt releases the files of the trial.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the attempt in `folder` as this process, whose standard input is a pipe from the parent: its end means "stop".
pub(crate) fn run_with(folder: &Path, train: impl Fn(Job<'_>, &mut dyn Sink) -> Result<Outcome, TrainError>) -> u8 {
    become_worker();
    note_stop_signals();
    let stop = Arc::new(AtomicBool::new(false));
    match stop_at_end_of_input(Arc::clone(&stop)) {
        Ok(()) => attempt(folder, &stop, train),
        Err(error) => {
            let failure = AttemptError::from(StoreError::at(folder)(error));
            AttemptDir::open(folder).map_or(exit::BAD_INPUT, |attempt| failure.report(&attempt))
        }
    }
}

/// Runs the attempt in `folder` with `train` in place of the trainer. `stop` ends it after a checkpoint.
pub fn attempt(
    folder: &Path,
    stop: &AtomicBool,
    train: impl Fn(Job<'_>, &mut dyn Sink) -> Result<Outcome, TrainError>,
) -> u8 {
    attempt_as(folder, stop, Life::WithParent, train)
}

/// What else lives while a worker trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// The parent on the same machine: one lock holds earlier attempts off.
    WithParent,
    /// Nothing, or a parent on another machine that has started the job long ago.
    Alone,
}

pub(super) fn attempt_as(
    folder: &Path,
    stop: &AtomicBool,
    life: Life,
    train: impl Fn(Job<'_>, &mut dyn Sink) -> Result<Outcome, TrainError>,
) -> u8 {
    let Some(attempt) = AttemptDir::open(folder) else { return exit::BAD_INPUT };
    let (running, ended) = channel::<()>();
    let (lock, orders) = (Mutex::new(None), Orders::new(stop, life == Life::Alone));
    let result = thread::scope(|scope| {
        let (attempt, lock, orders) = (&attempt, &lock, &orders);
        // The trainer may ask before the first look of the thread.
        orders.look(attempt);
        let pulse = match life {
            Life::WithParent => Pulse::Lock(lock),
            Life::Alone => Pulse::Heart(attempt.heart()?),
        };
        let beat = move || beat_until_ended(attempt, pulse, orders, &ended);
        thread::Builder::new().spawn_scoped(scope, beat).map_err(StoreError::at(folder))?;
        // Dropped when the attempt has ended, also by a panic.
        let _running = running;
        perform(attempt, if life == Life::WithParent { Some(lock) } else { None }, orders, train)
    });
    result.map_or_else(|error| error.report(&attempt), |()| exit::PUBLISHED)
}

fn perform(
    attempt: &AttemptDir,
    lock: Option<&Mutex<Option<Lock>>>,
    orders: &Orders<'_>,
    train: impl Fn(Job<'_>, &mut dyn Sink) -> Result<Outcome, TrainError>,
) -> Result<(), AttemptError> {
    let assignment = attempt.assignment()?;
    let trial = attempt.trial();
    if let Some(lock) = lock {
        let Some(taken) = trial.lock(PATIENCE)? else {
            let message = "an earlier attempt at this trial does not end and still holds its files".to_owned();
            return Err(AttemptError::Failed(Failure::Crashed { message, log_tail: Vec::new() }));
        };
        *lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
    }
    if trial.has_outcome() {
        return Ok(());
    }
    inject_faults(&assignment)?;
    train::start_threads().map_err(|error| AttemptError::of_training(error, assignment.device))?;
    let saved = resumable(attempt, assignment.trial.config.metric)?;
    // The record says how large the micro-batches behind the state were. Without it the trial starts over.
    let before = saved.as_ref().and_then(|_| trial.record().ok().flatten());
    let saved = saved.filter(|_| before.is_some());
    let made_by = made_by(&assignment, before.as_ref());
    trial.write_record(&TrialRecord { trial: assignment.trial.clone(), made_by: made_by.clone() })?;
    let cache = DiskCache(Blobs::new(assignment.cache.clone()));
    // If the state is missing, the trainer says what to do.
    let start = assignment.start.as_ref().and_then(|path| read_state(path).ok());
    let train_from = |resume: Option<&SavedState>| {
        let mut sink = TrialSink::open(attempt, resume.map(|saved| &saved.position), &assignment, orders)?;
        let job = Job {
            config: &assignment.trial.config,
            device: assignment.device,
            threads: assignment.slot.threads,
            checkpoint_every: assignment.checkpoint_every,
            micro_batch_tokens: made_by.micro_batch_tokens.unwrap_or(MICRO_BATCH_TOKENS),
            micro_batch_splits: assignment.micro_batch_splits,
            ignores_stop_rules: assignment.ignores_stop_rules,
            sources: assignment.sources.as_ref(),
            resume: resume.map(|saved| saved.state.as_slice()),
            start: start.as_deref(),
            cache: &cache,
        };
        let trained = train(job, &mut sink);
        sink.wait_for_state()?;
        Ok::<_, AttemptError>((trained, sink.take_stop_verdict(), sink.rows()))
    };
    let (mut trained, mut stopped, mut written) = train_from(saved.as_ref())?;
    // A state that the trainer cannot read, for example of another version, counts as none.
    if matches!(trained, Err(TrainError::TrainingState(_))) {
        (trained, stopped, written) = train_from(None)?;
    }
    let trained = trained.map_err(|error| AttemptError::of_training(error, assignment.device))?;
    if orders.is_fenced {
        attempt.check_newest()?;
    }
    let mut outcome = complete(trained, &assignment.trial, attempt, written)?;
    outcome.verdicts.extend(smaller_micro_batches(&made_by, &assignment.trial));
    outcome.verdicts.extend(stopped);
    trial.publish(attempt, &outcome)?;
    trial.remove_curves_of_attempts();
    Ok(())
}

/// Fails the attempt if a test asks for a fault of its device or its memory.
#[cfg(feature = "faults")]
fn inject_faults(assignment: &Assignment) -> Result<(), AttemptError> {
    crate::store::fail_training(train::micro_batch_tokens(MICRO_BATCH_TOKENS, assignment.micro_batch_splits));
    match crate::store::fail_device(assignment.slot.index) {
        Some(message) => Err(AttemptError::Failed(Failure::DeviceFault { message: message.to_owned() })),
        None => Ok(()),
    }
}

#[cfg(not(feature = "faults"))]
#[expect(clippy::unnecessary_wraps, reason = "the version with faults can fail")]
fn inject_faults(_: &Assignment) -> Result<(), AttemptError> {
    Ok(())
}

/// The training state to continue from, if there is one, the curves are complete up to its step, and the details of the best
/// evaluation are there. Else the trial starts over: nothing would ever fill a hole in a curve, nor describe an evaluation again.
fn resumable(attempt: &AttemptDir, metric: Metric) -> Result<Option<SavedState>, StoreError> {
    let trial = attempt.trial();
    let Some(saved) = trial.checkpoints().newest()? else { return Ok(None) };
    let CurvePosition { step, evals, diagnostics } = saved.position;
    let metrics = read_curve::<MetricRow>(&trial.metrics())?.rows;
    let mut evaluated = read_curve::<EvalRow>(&trial.evals())?.rows;
    evaluated.retain(|row| row.step <= step);
    let mut diagnosed = read_curve::<DiagnosticRow>(&trial.diagnostics())?.rows;
    diagnosed.retain(|row| row.step <= step);
    // Where classes were counted, the best evaluation has left its details.
    let has_details = metric.best(&evaluated).is_some() && diagnosed.iter().any(|row| !row.predicted.is_empty());
    let lacks_details = has_details && !matches!(trial.best_evaluation(), Ok(Some(_)));
    // Steps rise from row to row, so as many rows as steps means that no row is missing.
    let is_complete = metrics.iter().filter(|row| row.step <= step).count() as u64 == step
        && evaluated.len() as u64 >= evals
        && diagnosed.len() as u64 >= diagnostics;
    Ok((is_complete && !lacks_details).then_some(saved))
}

/// `before`: the record of the attempts that this one continues.
fn made_by(assignment: &Assignment, before: Option<&TrialRecord>) -> MadeBy {
    let splits_before = before.map_or(0, |before| before.made_by.micro_batch_splits);
    let tokens_before = before.map(|before| before.made_by.micro_batch_tokens);
    MadeBy {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: host(),
        platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
        device: assignment.slot.device,
        threads: assignment.slot.threads,
        git_commit: assignment.git_commit.clone(),
        parameters: assignment.parameters,
        micro_batch_tokens: tokens_before.unwrap_or(assignment.micro_batch_tokens),
        micro_batch_splits: assignment.micro_batch_splits.max(splits_before),
        bf16_unit: (assignment.trial.config.precision == PrecisionName::Bf16)
            .then(|| train::bf16_unit(assignment.device)),
    }
}
