//! `run.log_to`: sends the curves of a sweep to trackers while it runs.
//!
//! A thread beside the run reads the journal and the trials' files, as another process could. A tracker that fails
//! never fails the sweep.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
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

/// Sends the curves of a running sweep to the trackers that its `run.log_to` names.
pub(crate) struct LiveTracking<'a> {
    plan: &'a Plan,
    dir: &'a RunDir,
    destinations: Vec<Destination>,
    warnings: Sender<String>,
}

impl<'a> LiveTracking<'a> {
    /// `sweep`: as the user typed it, for the commands in warnings.
    pub(crate) fn new(prepared: &'a Prepared, sweep: &SweepArguments, warnings: Sender<String>) -> Self {
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
        Self { plan, dir, destinations, warnings }
    }

    /// Updates the trackers until the senders of `changes` are gone. Starts with the first change, because the folder
    /// may hold another run's files before.
    pub(crate) fn follow(mut self, changes: &Receiver<()>) {
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
        let state = SweepState::fold(self.plan, &journal.records);
        for destination in &mut self.destinations {
            destination.start_round(is_last);
        }
        for trial in &self.plan.trials {
            let (Some(known), Some(started)) = (state.get(&trial.id), started.get(&trial.id)) else { continue };
            let version = version(known);
            if !self.destinations.iter().any(|destination| destination.needs(&trial.id, version)) {
                continue;
            }
            let Ok(run) = run::survey_trial(trial, known, self.dir) else { continue };
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
        self.round(true);
        for note in self.destinations.iter().filter_map(Destination::incomplete) {
            let _ = self.warnings.send(note);
        }
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
