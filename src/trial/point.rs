//! A trial as one point of a sweep.

use serde::{Deserialize, Serialize};

use super::{AxisValue, TrialConfig, TrialId};

/// One point of the sweep: a complete configuration, and the values of the keys that vary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    pub id: TrialId,
    /// The varying keys (dotted) of the sweep with this trial's values, in the order of the sweep file. `seed` comes
    /// last if it varies.
    pub values: Vec<(String, AxisValue)>,
    /// Optimizer steps of the whole run.
    pub steps: u64,
    pub config: TrialConfig,
}

impl Trial {
    /// What tells this trial from the others of its configuration: its seed, and its fold.
    #[must_use]
    pub fn repetition(&self) -> (u64, Option<usize>) {
        (self.config.seed, self.config.data.fold)
    }

    /// Its value of a varying key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&AxisValue> {
        self.values.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}
