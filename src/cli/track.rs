//! `run.log_to`: the curves of a sweep go to TensorBoard's event files and to an MLflow server while they are measured.
//!
//! It happens beside the run and never in its way: what cannot be written or sent is said once and made up for, by the next turn,
//! by the next run, or by `plateau export`. Where a trial's curve is, and what is missing of it elsewhere, is asked of the files and
//! of the server, so a kill at any moment loses nothing and doubles nothing.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::Failure;
use super::export::{EventFiles, Mlflow, began, usual_url};
use super::prepare::{Prepared, SweepArguments};
use crate::analysis::Run;
use crate::plan::Plan;
use crate::report::count;
use crate::run;
use crate::spec::LogTo;
use crate::state::{SweepState, TrialPhase, TrialState};
use crate::store::{self, RunDir};
use crate::trial::{Trial, TrialId};

/// Between two turns: at least so long, and this many times as long as the last one took.
const PAUSE: Duration = Duration::from_secs(2);
const SHARE: u32 = 10;
/// Until something that could not be reached is tried again.
const AWAY: Duration = Duration::from_secs(30);
/// For one request to a server.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something that shows curves.
pub(crate) trait Tracker: Send {
    /// Adds what `run` has measured and is missing there, and how the trial ended if it has. Whether anything was missing.
    /// `began`: when the trial was first started, milliseconds since 1970.
    fn take(&mut self, run: &Run, began: u64) -> Result<bool, Failure>;
}

/// A sweep under way, and where its curves go.
pub(crate) struct Tracking<'a> {
    plan: &'a Plan,
    dir: &'a RunDir,
    logs: Vec<Log>,
    /// For what the user should know.
    warnings: Sender<String>,
}

/// One of the places where curves go.
struct Log {
    to: LogTo,
    tracker: Box<dyn Tracker>,
    /// The command that does by hand what is done here.
    by_hand: String,
    /// Trials that have ended and are there, with the number of their attempts.
    settled: HashMap<TrialId, u32>,
    /// Not to be tried before.
    away: Option<Instant>,
    was_away: bool,
    /// Trials that this turn could not bring up to date.
    missing: usize,
}

impl<'a> Tracking<'a> {
    /// `sweep`: how the user calls it, and its results.
    pub(crate) fn new(prepared: &'a Prepared, sweep: &SweepArguments, warnings: Sender<String>) -> Self {
        let Prepared { plan, dir, .. } = prepared;
        let log = |to: LogTo| {
            let tracker: Box<dyn Tracker> = match to {
                LogTo::Tensorboard => Box::new(EventFiles::new(dir.tensorboard())),
                LogTo::Mlflow => Box::new(Mlflow::new(&usual_url(), &plan.name, PATIENCE)),
            };
            Log::new(to, tracker, format!("plateau export {sweep} --format {}", to.name()))
        };
        let logs = prepared.spec.run.log_to.iter().map(|to| log(*to)).collect();
        Self { plan, dir, logs, warnings }
    }

    /// Follows the sweep from the first of `changes`, before which its folder is not this run's, until nobody is left to tell of
    /// any.
    pub(crate) fn keep_up(mut self, changes: &Receiver<()>) {
        if changes.recv().is_err() {
            return;
        }
        loop {
            let start = Instant::now();
            self.turn(false);
            let next = Instant::now() + PAUSE.max(start.elapsed() * SHARE);
            loop {
                match changes.recv_timeout(next.saturating_duration_since(Instant::now())) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return self.end(),
                }
            }
        }
    }

    /// Brings everything up to date that can be reached; the last time, also what could not be reached a moment ago.
    fn turn(&mut self, is_last: bool) {
        // A journal that cannot be read is the run's to report.
        let Ok(journal) = store::read_journal(&self.dir.journal()) else { return };
        let began = began(&journal.records);
        let state = SweepState::fold(self.plan, &journal.records);
        for log in &mut self.logs {
            log.missing = 0;
            if is_last {
                log.away = None;
            }
        }
        for trial in &self.plan.trials {
            let (Some(known), Some(began)) = (state.get(&trial.id), began.get(&trial.id)) else { continue };
            if !self.logs.iter_mut().any(|log| log.wants(trial, known)) {
                continue;
            }
            let Ok(run) = run::survey_trial(trial, known, self.dir) else { continue };
            for log in self.logs.iter_mut().filter(|log| log.wants(trial, known)) {
                if let Some(warning) = log.take(&run, known, *began) {
                    let _ = self.warnings.send(warning);
                }
            }
        }
    }

    fn end(mut self) {
        self.turn(true);
        for log in self.logs.iter().filter(|log| log.missing > 0) {
            let (what, are) = (count(log.missing, "trial"), if log.missing == 1 { "is" } else { "are" });
            let _ = self.warnings.send(format!("{}: {what} {are} not all there: `{}`", log.to.name(), log.by_hand));
        }
    }
}

impl Log {
    fn new(to: LogTo, tracker: Box<dyn Tracker>, by_hand: String) -> Self {
        Self { to, tracker, by_hand, settled: HashMap::new(), away: None, was_away: false, missing: 0 }
    }

    /// Whether there may be something new of a trial.
    fn wants(&self, trial: &Trial, known: &TrialState) -> bool {
        !is_over(known) || self.settled.get(&trial.id) != Some(&known.attempts)
    }

    /// What to say if that was not possible.
    fn take(&mut self, run: &Run, known: &TrialState, began: u64) -> Option<String> {
        if self.away.is_some_and(|until| Instant::now() < until) {
            self.missing += 1;
            return None;
        }
        let taken = self.tracker.take(run, began);
        self.away = taken.is_err().then(|| Instant::now() + AWAY);
        match taken {
            Ok(_) => {
                if is_over(known) {
                    self.settled.insert(run.trial.id.clone(), known.attempts);
                }
                None
            }
            Err(failure) => {
                self.missing += 1;
                let is_news = !std::mem::replace(&mut self.was_away, true);
                let Self { to, by_hand, .. } = self;
                let name = to.name();
                is_news.then(|| {
                    format!(
                        "warning: run.log_to: {name}: {failure}\nThe sweep goes on. What is missing there is added as soon as \
                         that can be done, or later by `{by_hand}`"
                    )
                })
            }
        }
    }
}

fn is_over(known: &TrialState) -> bool {
    matches!(known.phase, TrialPhase::Ended(_) | TrialPhase::Failed(_))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::analysis::synthetic;
    use crate::event::Failure as Fault;

    /// Notes how many rows it was given, and is away when told.
    struct Fake(Arc<Mutex<(bool, Vec<usize>)>>);

    impl Tracker for Fake {
        fn take(&mut self, run: &Run, _: u64) -> Result<bool, Failure> {
            let mut state = self.0.lock().unwrap();
            if state.0 {
                return Err(Failure::input("nobody there"));
            }
            state.1.push(run.metrics.len());
            Ok(true)
        }
    }

    #[test]
    fn what_is_away_is_told_once_and_tried_again() {
        let run = synthetic::sweep("s", &[], 20).runs.remove(0);
        let noted = Arc::new(Mutex::new((true, Vec::new())));
        let mut log = Log::new(LogTo::Mlflow, Box::new(Fake(noted.clone())), "plateau export s --format mlflow".into());
        let running = TrialState { attempts: 1, ..TrialState::default() };
        let said = log.take(&run, &running, 0).unwrap();
        insta::assert_snapshot!(said, @r"
        warning: run.log_to: mlflow: nobody there
        The sweep goes on. What is missing there is added as soon as that can be done, or later by `plateau export s --format mlflow`
        ");
        noted.lock().unwrap().0 = false;
        assert_eq!((log.take(&run, &running, 0), log.missing), (None, 2));
        assert!(noted.lock().unwrap().1.is_empty(), "not before its time");
        log.away = None;
        assert_eq!(log.take(&run, &running, 0), None);
        noted.lock().unwrap().0 = true;
        assert_eq!(log.take(&run, &running, 0), None, "said already");
        assert_eq!(noted.lock().unwrap().1, [20]);
    }

    #[test]
    fn a_trial_that_has_ended_is_taken_once_for_each_time_it_ends() {
        let run = synthetic::sweep("s", &[], 20).runs.remove(0);
        let mut log = Log::new(LogTo::Tensorboard, Box::new(Fake(Arc::default())), String::new());
        let failed =
            |attempts| TrialState { attempts, phase: TrialPhase::Failed(Fault::Lost), ..TrialState::default() };
        assert!(log.wants(&run.trial, &TrialState::default()) && log.wants(&run.trial, &failed(1)));
        log.take(&run, &failed(1), 0);
        assert!(!log.wants(&run.trial, &failed(1)));
        assert!(log.wants(&run.trial, &TrialState { attempts: 2, ..TrialState::default() }));
        assert!(log.wants(&run.trial, &failed(2)));
    }
}
