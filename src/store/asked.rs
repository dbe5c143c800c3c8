//! `probes/asked.json`: the probes of a sweep, so that they can be looked at and gone on with.

use super::{RunDir, StoreError, atomic};
use crate::trial::Trial;

impl RunDir {
    /// Of the probes: what was asked, in order. Nothing where nothing was, or where the file is damaged.
    pub fn probe_trials(&self) -> Result<Vec<Trial>, StoreError> {
        match atomic::read_json::<Vec<Trial>>(&self.asked()) {
            Ok(trials) => Ok(trials.unwrap_or_default()),
            Err(StoreError::Damaged { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    pub fn write_probe_trials(&self, trials: &[Trial]) -> Result<(), StoreError> {
        let path = self.asked();
        atomic::write(&path, &atomic::to_json(&path, &trials)?)
    }
}
