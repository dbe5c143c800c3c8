//! The throughput of devices that several trials share, measured while they run.

use std::collections::BTreeMap;
use std::time::Instant;

use super::follow::RunningTrial;
use crate::decide::Occupancy;
use crate::trial::{Device, TrialId};

/// The work of the trials on each device since the last look.
pub(super) struct DeviceLoad {
    occupancy: Occupancy,
    looked: Instant,
    /// How many trials trained on each device at the last look. None: one of them had not taken a step yet.
    trials: BTreeMap<Device, Option<usize>>,
}

impl DeviceLoad {
    pub(super) fn new() -> Self {
        Self { occupancy: Occupancy::default(), looked: Instant::now(), trials: BTreeMap::new() }
    }

    pub(super) fn occupancy(&self) -> &Occupancy {
        &self.occupancy
    }

    /// Adds what running trials have done since the last look. A device counts if the same number of trials has trained there all the
    /// time. `parameters`: those of the model of a trial, in proportion to which a token costs operations.
    pub(super) fn look(&mut self, running: &mut [RunningTrial], parameters: impl Fn(&TrialId) -> f64) {
        let seconds = self.looked.elapsed().as_secs_f64();
        self.looked = Instant::now();
        let (mut trials, mut operations) = (BTreeMap::new(), BTreeMap::new());
        for running in running {
            let device = running.position.progress.slot.device;
            let count = trials.entry(device).or_insert(Some(0));
            *count = count.filter(|_| running.position.progress.step > 0).map(|count| count + 1);
            let done = running.position.take_tokens() as f64 * parameters(&running.worker.trial);
            *operations.entry(device).or_insert(0.0) += done;
        }
        for (device, count) in &trials {
            if let (Some(count), true) = (count, self.trials.get(device) == Some(count)) {
                self.occupancy.observe(*device, *count, operations.get(device).copied().unwrap_or(0.0), seconds);
            }
        }
        self.trials = trials;
    }
}
