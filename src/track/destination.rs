//! A tracker during a live run: what it has already, and when to retry it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Tracker, TrialCurves};
use crate::trial::TrialId;

/// After a failure, the next update of the tracker waits this long.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The progress of a trial, apart from its curves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialVersion {
    pub attempts: u32,
    /// Whether it ended or failed for good.
    pub has_ended: bool,
}

/// A tracker with the state of its updates.
pub struct Destination {
    name: &'static str,
    tracker: Box<dyn Tracker>,
    /// Sends by hand what is missing.
    export_command: String,
    /// Trials that ended and are complete there, with the number of their attempts then.
    complete: HashMap<TrialId, u32>,
    retry_at: Option<Instant>,
    has_warned: bool,
    /// Trials that could not be updated in this round.
    missing: usize,
}

impl Destination {
    /// `name`: the value of `run.log_to`. `export_command`: the command to show when something is missing.
    #[must_use]
    pub fn new(name: &'static str, tracker: Box<dyn Tracker>, export_command: String) -> Self {
        Self { name, tracker, export_command, complete: HashMap::new(), retry_at: None, has_warned: false, missing: 0 }
    }

    /// The value of `run.log_to`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Starts a round of updates. The last round also retries a tracker that failed a moment ago.
    pub fn start_round(&mut self, is_last: bool) {
        self.missing = 0;
        if is_last {
            self.retry_at = None;
        }
    }

    /// After `deadline` every update fails at once.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.tracker.set_deadline(deadline);
    }

    /// Whether the trial may have rows that were not sent.
    #[must_use]
    pub fn needs(&self, trial: &TrialId, version: TrialVersion) -> bool {
        !version.has_ended || self.complete.get(trial) != Some(&version.attempts)
    }

    /// Sends what is missing of a trial. Returns the warning of the first failure; later failures are silent.
    pub fn update(&mut self, curves: &TrialCurves<'_>, version: TrialVersion) -> Option<String> {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            self.missing += 1;
            return None;
        }
        let updated = self.tracker.update(curves);
        self.retry_at = updated.is_err().then(|| Instant::now() + RETRY_AFTER);
        match updated {
            Ok(_) => {
                if version.has_ended {
                    self.complete.insert(curves.trial.id.clone(), version.attempts);
                }
                None
            }
            Err(error) => {
                self.missing += 1;
                let is_first = !std::mem::replace(&mut self.has_warned, true);
                let Self { name, export_command, .. } = self;
                is_first.then(|| {
                    format!(
                        "warning: run.log_to: {name}: {error}\nThe sweep continues. Missing points are sent later: by this run, \
                         by the next one, or by `{export_command}`"
                    )
                })
            }
        }
    }

    /// After a round: which trials are incomplete, and the command that completes them.
    #[must_use]
    pub fn incomplete(&self) -> Option<String> {
        let Self { name, export_command, missing, .. } = self;
        let trials = if *missing == 1 { "1 trial is".to_owned() } else { format!("{missing} trials are") };
        (*missing > 0).then(|| format!("{name}: {trials} incomplete. Run `{export_command}` to send the rest"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::testing::curves;
    use super::super::{TrackError, Tracker};
    use super::*;
    use crate::analysis::synthetic;

    const RUNNING: TrialVersion = TrialVersion { attempts: 1, has_ended: false };

    /// Counts the rows that it received; fails while the flag is set.
    struct FakeTracker(Arc<Mutex<(bool, Vec<usize>)>>);

    impl Tracker for FakeTracker {
        fn update(&mut self, curves: &TrialCurves<'_>) -> Result<bool, TrackError> {
            let mut state = self.0.lock().unwrap();
            if state.0 {
                return Err(TrackError::Server("no MLflow server".into()));
            }
            state.1.push(curves.metrics.len());
            Ok(true)
        }
    }

    #[test]
    fn an_unreachable_tracker_warns_once_and_is_retried() {
        let run = synthetic::sweep("s", &[], 20).runs.remove(0);
        let curves = curves(&run, "", &[]);
        let state = Arc::new(Mutex::new((true, Vec::new())));
        let tracker = Box::new(FakeTracker(state.clone()));
        let mut mlflow = Destination::new("mlflow", tracker, "plateau export s --format mlflow".into());
        let warning = mlflow.update(&curves, RUNNING).unwrap();
        insta::assert_snapshot!(warning, @r"
        warning: run.log_to: mlflow: no MLflow server
        The sweep continues. Missing points are sent later: by this run, by the next one, or by `plateau export s --format mlflow`
        ");
        state.lock().unwrap().0 = false;
        assert_eq!((mlflow.update(&curves, RUNNING), mlflow.missing), (None, 2));
        assert!(state.lock().unwrap().1.is_empty(), "it is too early to retry");
        insta::assert_snapshot!(mlflow.incomplete().unwrap(), @"mlflow: 2 trials are incomplete. Run `plateau export s --format mlflow` to send the rest");
        mlflow.start_round(true);
        assert_eq!(mlflow.update(&curves, RUNNING), None);
        assert_eq!(mlflow.incomplete(), None);
        state.lock().unwrap().0 = true;
        assert_eq!(mlflow.update(&curves, RUNNING), None, "only the first failure warns");
        assert_eq!(state.lock().unwrap().1, [20]);
    }

    #[test]
    fn a_trial_is_sent_once_for_each_time_it_ends() {
        let run = synthetic::sweep("s", &[], 20).runs.remove(0);
        let id = &run.trial.id;
        let mut files = Destination::new("tensorboard", Box::new(FakeTracker(Arc::default())), String::new());
        let ended = |attempts| TrialVersion { attempts, has_ended: true };
        assert!(files.needs(id, RUNNING) && files.needs(id, ended(1)));
        files.update(&curves(&run, "", &[]), ended(1));
        assert!(!files.needs(id, ended(1)));
        assert!(files.needs(id, TrialVersion { attempts: 2, has_ended: false }));
        assert!(files.needs(id, ended(2)));
    }
}
