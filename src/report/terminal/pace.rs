//! The speed of a sweep: the optimizer steps taken since this run began. Steps of earlier runs do not count, nor do the
//! steps before the checkpoint that a trial resumes from. Pure.

use std::collections::HashMap;

use crate::event::{Event, TrialProgress};
use crate::trial::TrialId;

/// Seconds below which no estimate is made.
const LEAST: f64 = 1.0;

/// Steps and trials seen so far.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// First and newest step of each running trial; None until its progress is seen.
    seen: HashMap<TrialId, Option<(u64, u64)>>,
    /// Steps of trials that ended.
    trained: u64,
}

impl Pace {
    /// Updates the state by the start or the end of an attempt.
    pub fn fold(&mut self, event: &Event) {
        match event {
            Event::AttemptStarted { trial, .. } => drop(self.seen.insert(trial.clone(), None)),
            Event::AttemptFailed { trial, .. } | Event::AttemptInterrupted { trial, .. } => self.end(trial, None),
            Event::TrialFinished { trial, outcome, .. } => self.end(trial, Some(outcome.steps)),
            _ => {}
        }
    }

    /// Updates the steps of the running trials. A resumed trial may first show steps that it then truncates.
    pub fn update(&mut self, running: &[TrialProgress]) {
        for TrialProgress { trial, step, .. } in running {
            if let Some(seen) = self.seen.get_mut(trial) {
                let first = seen.map_or(*step, |(first, _)| first.min(*step));
                *seen = Some((first, *step));
            }
        }
    }

    fn end(&mut self, trial: &TrialId, steps: Option<u64>) {
        match (self.seen.remove(trial), steps) {
            (Some(Some((first, newest))), steps) => self.trained += steps.unwrap_or(newest).saturating_sub(first),
            // It ended before its progress was seen.
            (Some(None), Some(steps)) => self.trained += steps,
            _ => {}
        }
    }

    /// The estimated seconds for `open` more steps, given `elapsed` seconds so far.
    pub fn left(&self, elapsed: f64, open: u64) -> Option<f64> {
        let running: u64 = self.seen.values().flatten().map(|(first, newest)| newest - first).sum();
        let done = self.trained + running;
        (done > 0 && elapsed > LEAST).then(|| elapsed / done as f64 * open as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Handle, Slot};
    use crate::trial::{Device, Outcome};

    fn id(number: u64) -> TrialId {
        TrialId::parse(&format!("{number:012x}")).unwrap()
    }

    fn at(trial: u64, step: u64) -> TrialProgress {
        TrialProgress {
            trial: id(trial),
            slot: Slot::alone(0, Device::Cpu, 1),
            step,
            steps: 100,
            recent_loss: Vec::new(),
            eval_loss: None,
            best_eval_loss: None,
        }
    }

    fn outcome() -> Outcome {
        crate::analysis::synthetic::sweep("s", &[], 100).runs.remove(0).outcome.unwrap()
    }

    #[test]
    fn only_steps_of_this_run_set_the_pace() {
        let started = |trial| Event::AttemptStarted { trial: id(trial), attempt: 2, handle: Handle::local(1) };
        let finished = |trial| Event::TrialFinished { trial: id(trial), attempt: 2, outcome: Box::new(outcome()) };
        let mut pace = Pace::default();
        // A trial that this run did not train.
        pace.fold(&finished(0));
        assert_eq!(pace.left(10.0, 200), None);
        // Resumed from step 80 of 100, while its file still showed step 90.
        pace.fold(&started(1));
        for step in [90, 80, 85] {
            pace.update(&[at(1, step)]);
        }
        assert_eq!(pace.left(10.0, 200), Some(400.0));
        pace.fold(&finished(1));
        assert_eq!(pace.left(20.0, 200), Some(200.0));
        // A trial that ended before its progress was seen.
        pace.fold(&started(2));
        pace.fold(&finished(2));
        assert_eq!(pace.left(30.0, 200), Some(50.0));
        // The steps of an interrupted attempt count, too.
        pace.fold(&started(3));
        pace.update(&[at(3, 0)]);
        pace.update(&[at(3, 30)]);
        pace.fold(&Event::AttemptInterrupted { trial: id(3), attempt: 2 });
        assert_eq!(pace.left(30.0, 200), Some(40.0));
    }
}
