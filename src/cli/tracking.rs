//! `run.log_to`: sends the curves of a sweep to trackers while it runs.
//!
//! A thread beside the run reads the journal and the trials' files, as another process could. A tracker that fails
//! never fails the sweep, and a slow one delays its end by at most [`FLUSH`].

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::arguments::SweepArguments;
use super::prepare::Prepared;
use crate::analysis::Run;
use crate::event::{Event, Record};
use crate::plan::Plan;
use crate::report;
use crate::run;
use crate::spec::LogTo;
use crate::state::{SweepState, TrialPhase, TrialState};
use crate::store::{self, RunDir};
use crate::track::{Destination, EventFiles, Mlflow, Tracker, TrialCurves, TrialVersion, default_url};
use crate::trial::TrialId;

/// Pause between two rounds: at least this long, and this many times the duration of the last round.
const MIN_PAUSE: Duration = Duration::from_secs(2);
const PAUSE_FACTOR: u32 = 10;
/// For one request to a server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// For the last round, after the end of the run.
const FLUSH: Duration = Duration::from_secs(10);
/// The same after an interrupt.
const INTERRUPTED: Duration = Duration::from_millis(200);

/// Sends the curves of a running sweep to the trackers that its `run.log_to` names.
pub(crate) struct LiveTracking {
    plan: Plan,
    dir: RunDir,
    destinations: Vec<Destination>,
    warnings: Sender<String>,
}

impl LiveTracking {
    /// `sweep`: as the user typed it, for the commands in warnings.
    pub(crate) fn new(prepared: &Prepared, sweep: &SweepArguments, warnings: Sender<String>) -> Self {
        let Prepared { plan, dir, .. } = prepared;
        let destination = |log_to: &LogTo| {
            let tracker: Box<dyn Tracker> = match log_to {
                LogTo::Tensorboard => Box::new(EventFiles::new(dir.tensorboard())),
                LogTo::Mlflow => Box::new(Mlflow::new(&default_url(), &plan.name, TIMEOUT)),
            };
            let name = log_to.name();
            Destination::new(name, tracker, format!("plateau export {sweep} --format {name}"))
        };
        let destinations = prepared.spec.run.log_to.iter().map(destination).collect();
        Self { plan: plan.clone(), dir: dir.clone(), destinations, warnings }
    }

    /// Updates the trackers in a thread until the senders of `changes` are gone.
    pub(crate) fn start(self, changes: Receiver<()>) -> io::Result<TrackingThread> {
        let (sender, ended) = channel();
        let name = self.destinations.iter().map(Destination::name).collect::<Vec<_>>().join(", ");
        let follow = move || {
            store::leave_stop_signals();
            self.follow(&changes);
            let _ = sender.send(());
        };
        thread::Builder::new().name("tracking".into()).spawn(follow)?;
        Ok(TrackingThread { name, ended })
    }

    /// Updates the trackers until the senders of `changes` are gone. Starts with the first change, because the folder
    /// may hold another run's files before.
    fn follow(mut self, changes: &Receiver<()>) {
        if changes.recv().is_err() {
            return;
        }
        loop {
            let start = Instant::now();
            self.round(false);
            let next = Instant::now() + MIN_PAUSE.max(start.elapsed() * PAUSE_FACTOR);
            loop {
                match changes.recv_timeout(next.saturating_duration_since(Instant::now())) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return self.finish(),
                }
            }
        }
    }

    /// Sends everything new to every tracker that can be reached.
    fn round(&mut self, is_last: bool) {
        // The run itself reports an unreadable journal.
        let Ok(journal) = store::read_journal(&self.dir.journal()) else { return };
        let started = start_times(&journal.records);
        let plan = run::with_drawn(&self.plan, &journal.records);
        let state = SweepState::fold(&plan, &journal.records);
        for destination in &mut self.destinations {
            destination.start_round(is_last);
        }
        for trial in &plan.trials {
            let (Some(known), Some(started)) = (state.get(&trial.id), started.get(&trial.id)) else { continue };
            let version = version(known);
            if !self.destinations.iter().any(|destination| destination.needs(&trial.id, version)) {
                continue;
            }
            let Ok(run) = run::survey_trial(trial, known, &self.dir) else { continue };
            with_curves(&run, *started, |curves| {
                for destination in self.destinations.iter_mut().filter(|to| to.needs(&trial.id, version)) {
                    if let Some(warning) = destination.update(curves, version) {
                        let _ = self.warnings.send(warning);
                    }
                }
            });
        }
    }

    fn finish(mut self) {
        let deadline = Instant::now() + FLUSH;
        self.destinations.iter_mut().for_each(|destination| destination.set_deadline(deadline));
        self.round(true);
        for note in self.destinations.iter().filter_map(Destination::incomplete) {
            let _ = self.warnings.send(note);
        }
    }
}

/// The thread of a [`LiveTracking`].
pub(crate) struct TrackingThread {
    name: String,
    ended: Receiver<()>,
}

impl TrackingThread {
    /// Waits for the last round, but not for a server that does not answer: the thread then ends with the process. Returns
    /// a note if something is left to send.
    pub(crate) fn wait(self, is_interrupted: bool) -> Option<String> {
        let limit = if is_interrupted { INTERRUPTED } else { FLUSH };
        let is_left = self.ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        let Self { name, .. } = self;
        is_left.then(|| format!("run.log_to: {name}: not everything is sent; the next run of the sweep sends the rest"))
    }
}

fn version(known: &TrialState) -> TrialVersion {
    let has_ended = matches!(known.phase, TrialPhase::Ended(_) | TrialPhase::Failed(_));
    TrialVersion { attempts: known.attempts, has_ended }
}

/// When each trial was first started, in milliseconds since 1970.
pub(crate) fn start_times(records: &[Record]) -> HashMap<TrialId, u64> {
    let mut times = HashMap::new();
    for record in records {
        if let Event::AttemptStarted { trial, .. } = &record.event {
            times.entry(trial.clone()).or_insert(record.at);
        }
    }
    times
}

/// Calls `send` with the curves of a run as trackers need them.
pub(crate) fn with_curves<T>(run: &Run, started: u64, send: impl FnOnce(&TrialCurves<'_>) -> T) -> T {
    let name = report::trial_name(run);
    let parameters: Vec<(String, String)> = report::flat_configuration(run).into_iter().collect();
    send(&TrialCurves {
        trial: &run.trial,
        name: &name,
        parameters: &parameters,
        status: run.status,
        metrics: &run.metrics,
        evals: &run.evals,
        outcome: run.outcome.as_ref(),
        started,
    })
}
