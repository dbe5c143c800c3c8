//! The child: an assignment in, a trained trial out, through files alone.
//!
//! Guarantees: rows already written stay, those after the checkpoint are cut and made again; the outcome is published once;
//! whatever goes wrong is left as `failure.json` and as an exit code ([`exit`]). A worker ends within two seconds of its
//! parent, and soon after another attempt at its trial was claimed. Leaves to others: the training itself
//! ([`crate::train`]) and what a failure leads to ([`crate::decide`]).

mod sink;
#[cfg(test)]
pub(crate) mod tests;

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::analysis::{Measured, verdicts};
use crate::event::Failure;
use crate::store::{
    Assignment, AttemptDir, Blobs, MadeBy, Mark, Saved, StoreError, TrialRecord, exit, go_first_out_of_memory, host,
    read_curve, strike_device, strike_training,
};
use crate::train::{self, Cache, Job, Sink, TrainError};
use crate::trial::{Device, DiagnosticRow, EvalRow, Evidence, MetricRow, Outcome, Trial, Verdict, VerdictKind};
use sink::TrialSink;

/// Between signs of life, and looks for a later attempt.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// For saving the state after the end of file; then the process ends as it is.
const GRACE: Duration = Duration::from_millis(1500);
/// For an earlier attempt to let go of the trial's files.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the attempt in `folder` as this process. Standard input is the pipe to the parent: its end means "stop".
#[must_use]
pub fn run(folder: &Path) -> u8 {
    run_with(folder, train::train)
}

/// As [`run`], with `train` in place of the trainer.
pub(crate) fn run_with(folder: &Path, train: impl Fn(Job<'_>, &mut dyn Sink) -> Result<Outcome, TrainError>) -> u8 {
    go_first_out_of_memory();
    let stop = Arc::new(AtomicBool::new(false));
    stop_at_end_of_input(Arc::clone(&stop));
    attempt(folder, &stop, train)
}

/// Runs the attempt in `folder` with `train` in place of the trainer. `stop` ends it after a checkpoint.
pub fn attempt(
    folder: &Path,
    stop: &AtomicBool,
    train: impl Fn(Job<'_>, &mut dyn Sink) -> Result<Outcome, TrainError>,
) -> u8 {
    let Some(attempt) = AttemptDir::open(folder) else { return exit::BAD_INPUT };
    let (alive, ended) = channel::<()>();
    let result = thread::scope(|scope| {
        let attempt = &attempt;
        scope.spawn(move || live(attempt, stop, &ended));
        // Dropped when the attempt has ended, by a panic too.
        let _alive = alive;
        perform(attempt, stop, train)
    });
    match result {
        Ok(()) => exit::PUBLISHED,
        Err(End::Interrupted) => exit::INTERRUPTED,
        Err(End::Failed(failure)) => {
            // On a full disk the exit code is all that is left to say it with.
            let _ = attempt.fail(&failure);
            code(&failure)
        }
    }
}

/// Why an attempt has no outcome.
enum End {
    Interrupted,
    Failed(Failure),
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        Self::Failed(match error {
            StoreError::Damaged { .. } | StoreError::Name { .. } => Failure::BadInput { message },
            StoreError::Io { .. } => Failure::DiskError { message },
            _ => Failure::Disk { message },
        })
    }
}

impl End {
    fn of_training(error: TrainError, device: Device) -> Self {
        let message = error.to_string();
        Self::Failed(match error {
            TrainError::Interrupted => return Self::Interrupted,
            TrainError::Input(_) | TrainError::Data(_) | TrainError::Keys(_) | TrainError::State(_) => {
                Failure::BadInput { message }
            }
            // What the disk refused came from the store, and is the store's to judge.
            TrainError::Sink(error) => match error.downcast::<StoreError>() {
                Ok(refused) => return Self::from(refused),
                Err(_) => Failure::Disk { message },
            },
            TrainError::Threads(_) => Failure::Crashed { message, log_tail: Vec::new() },
            _ if device != Device::Cpu && error.is_out_of_device_memory() => Failure::DeviceMemory { message },
            TrainError::Device(_) => Failure::DeviceFault { message },
            TrainError::Candle(_) if device != Device::Cpu => Failure::DeviceFault { message },
            TrainError::Candle(_) => Failure::Crashed { message, log_tail: Vec::new() },
        })
    }
}

fn code(failure: &Failure) -> u8 {
    match failure {
        Failure::BadInput { .. } => exit::BAD_INPUT,
        Failure::Disk { .. } => exit::DISK,
        Failure::DeviceFault { .. } => exit::DEVICE,
        Failure::DiskError { .. } | Failure::DeviceMemory { .. } |
        Failure::Crashed { .. } | Failure::OutOfMemory { .. } | Failure::Lost
        // The parent's words, which no worker says of itself.
        | Failure::Stalled { .. } | Failure::TimeLimit { .. } => exit::CRASHED,
    }
}

fn perform(
    attempt: &AttemptDir,
    stop: &AtomicBool,
    train: impl Fn(Job<'_>, &mut dyn Sink) -> Result<Outcome, TrainError>,
) -> Result<(), End> {
    let assignment = attempt.assignment()?;
    let trial = attempt.trial();
    let Some(_lock) = trial.lock(PATIENCE)? else {
        let message = "an earlier attempt at this trial does not end and still holds its files".to_owned();
        return Err(End::Failed(Failure::Crashed { message, log_tail: Vec::new() }));
    };
    if trial.has_outcome() {
        return Ok(());
    }
    if let Some(message) = strike_device(assignment.slot.index) {
        return Err(End::Failed(Failure::DeviceFault { message: message.to_owned() }));
    }
    strike_training(train::micro_batch_tokens(assignment.micro_batch_splits));
    let saved = resumable(attempt)?;
    // A record that cannot be read has lost a note, not a number.
    let before = saved.as_ref().and_then(|_| trial.record().ok().flatten());
    let made_by = made_by(&assignment, before.as_ref());
    trial.write_record(&TrialRecord { trial: assignment.trial.clone(), made_by: made_by.clone() })?;
    let cache = DiskCache(Blobs::new(assignment.cache.clone()));
    // Without the state the trainer says what to do.
    let start = assignment.start.as_ref().and_then(|path| std::fs::read(path).ok());
    let train_from = |resume: Option<&Saved>| {
        let mut sink = TrialSink::open(attempt, resume.map(|saved| saved.mark.step), &assignment, stop)?;
        let job = Job {
            config: &assignment.trial.config,
            device: assignment.device,
            threads: assignment.slot.threads,
            checkpoint_every: assignment.checkpoint_every,
            micro_batch_splits: assignment.micro_batch_splits,
            ignores_stop_rules: assignment.ignores_stop_rules,
            resume: resume.map(|saved| saved.state.as_slice()),
            start: start.as_deref(),
            cache: &cache,
        };
        let trained = train(job, &mut sink);
        sink.settle()?;
        Ok::<_, End>((trained, sink.rested()))
    };
    let (mut trained, mut rested) = train_from(saved.as_ref())?;
    // A state that the trainer cannot read, of another version say, counts as none.
    if matches!(trained, Err(TrainError::State(_))) {
        (trained, rested) = train_from(None)?;
    }
    let trained = trained.map_err(|error| End::of_training(error, assignment.device))?;
    let mut outcome = complete(trained, &assignment.trial, attempt)?;
    outcome.verdicts.extend(smaller_micro_batches(made_by.micro_batch_splits, &assignment.trial));
    outcome.verdicts.extend(rested);
    Ok(trial.publish(attempt, &outcome)?)
}

/// The checkpoint to go on from, if there is one whose curves are whole up to its step. Else the trial starts over: a
/// curve with a hole would never be mended.
fn resumable(attempt: &AttemptDir) -> Result<Option<Saved>, StoreError> {
    let trial = attempt.trial();
    let Some(saved) = trial.checkpoints().newest()? else { return Ok(None) };
    let Mark { step, evals } = saved.mark;
    let metrics = read_curve::<MetricRow>(&trial.metrics())?.rows;
    let evaluated = read_curve::<EvalRow>(&trial.evals())?.rows.iter().filter(|row| row.step <= step).count();
    // Steps rise from row to row, so as many rows as steps, up to the last of them, are all of them.
    let whole = metrics.iter().filter(|row| row.step <= step).count() as u64 == step && evaluated as u64 >= evals;
    Ok(whole.then_some(saved))
}

/// Adds what the trainer leaves to others, and makes sure that the outcome can be read back.
fn complete(mut outcome: Outcome, trial: &Trial, attempt: &AttemptDir) -> Result<Outcome, StoreError> {
    let folder = attempt.trial();
    let metrics = read_curve::<MetricRow>(&folder.metrics())?.rows;
    let evals = read_curve::<EvalRow>(&folder.evals())?.rows;
    let diagnostics = read_curve::<DiagnosticRow>(&folder.diagnostics())?.rows;
    let measured = Measured {
        diagnostics: &diagnostics,
        train_prior: &outcome.class_prior,
        eval_prior: &outcome.eval_prior,
        steps: trial.steps,
        config: Some(&trial.config),
        ..Measured::of(&metrics, &evals)
    };
    outcome.verdicts = verdicts(&measured, outcome.status);
    outcome.peak_memory = peak_memory();
    // JSON knows no NaN.
    for figure in [&mut outcome.seconds, &mut outcome.tokens_per_second] {
        if !figure.is_finite() {
            *figure = 0.0;
        }
    }
    Ok(outcome)
}

/// What the user should know of a trial that ran out of memory.
fn smaller_micro_batches(micro_batch_splits: u32, trial: &Trial) -> Option<Verdict> {
    let [tokens, usual] = [micro_batch_splits, 0].map(train::micro_batch_tokens);
    let numbers = match trial.config.mixup() {
        None => "the numbers are those of a machine with more, up to rounding",
        Some(_) => "mixup pairs the texts of a micro-batch, so it has paired other ones",
    };
    let text = format!("out of memory: went on with micro-batches of {tokens} tokens in place of {usual}; {numbers}");
    (micro_batch_splits > 0).then(|| Verdict {
        id: Verdict::SMALLER_MICRO_BATCHES.into(),
        kind: VerdictKind::Note,
        text,
        evidence: vec![Evidence { name: "micro_batch_tokens".into(), value: Some(tokens as f64) }],
        ..Verdict::default()
    })
}

/// `before`: the record of the attempts whose state this one goes on from.
fn made_by(assignment: &Assignment, before: Option<&TrialRecord>) -> MadeBy {
    MadeBy {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: host(),
        platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
        device: assignment.slot.device,
        threads: assignment.slot.threads,
        git_commit: assignment.git_commit.clone(),
        parameters: assignment.parameters,
        micro_batch_splits: assignment
            .micro_batch_splits
            .max(before.map_or(0, |before| before.made_by.micro_batch_splits)),
    }
}

/// Peak resident memory of this process in bytes, where Linux tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Signs of life until the attempt has ended, and a look for a later attempt that supersedes this one.
fn live(attempt: &AttemptDir, stop: &AtomicBool, ended: &Receiver<()>) {
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // A sign of life that cannot be given is no reason to die.
        let _ = attempt.beat(now.as_millis() as u64);
        if attempt.is_superseded() {
            stop.store(true, Ordering::Relaxed);
        }
        if ended.recv_timeout(HEARTBEAT) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// Watches standard input from a thread of its own. At its end the trainer is asked to stop; a trainer that does not hear
/// is ended with the process, by a signal that runs no more of its code.
fn stop_at_end_of_input(stop: Arc<AtomicBool>) {
    thread::spawn(move || {
        let mut buffer = [0; 64];
        let mut input = io::stdin().lock();
        while !matches!(input.read(&mut buffer), Ok(0) | Err(_)) {}
        stop.store(true, Ordering::Relaxed);
        thread::sleep(GRACE);
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    });
}

/// [`Blobs`] as the trainer's cache.
#[derive(Debug, Clone)]
pub struct DiskCache(pub Blobs);

impl Cache for DiskCache {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.0.get(key)
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        self.0.put(key, bytes);
    }
}
