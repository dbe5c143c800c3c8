//! `probes/probed.json`: the probes of a sweep, so that they can be shown and continued.

use super::{RunDir, StoreError, atomic};
use crate::trial::Trial;

impl RunDir {
    /// In the folder of probes: the probes, in order. Empty if there are none or the file is damaged.
    pub fn probe_trials(&self) -> Result<Vec<Trial>, StoreError> {
        match atomic::read_json::<Vec<Trial>>(&self.probe_list()) {
            Ok(trials) => Ok(trials.unwrap_or_default()),
            Err(StoreError::Damaged { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    pub fn write_probe_trials(&self, trials: &[Trial]) -> Result<(), StoreError> {
        let path = self.probe_list();
        self.write(&path, &atomic::to_json(&path, &trials)?)
    }
}
