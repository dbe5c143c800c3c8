//! What varies in a sweep: the axes, their values, and a trial as one point of them.

use serde::{Deserialize, Serialize};

use super::{Key, TrialConfig, TrialId};

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
    /// Its value of a varying key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&AxisValue> {
        self.values.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

/// A key of the sweep that varies, with its values in the order written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// Dotted, such as `lr` or `model.dropout`.
    pub key: String,
    pub values: Vec<AxisValue>,
}

/// A value on an axis, and how the user wrote it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AxisValue {
    pub value: serde_json::Value,
    /// As written in the sweep file (`3e-5`, `synonym`), for tables and figures.
    pub text: String,
}

impl AxisValue {
    /// The text of a value of `key` for readers. `null` is replaced by its meaning.
    #[must_use]
    pub fn label(&self, key: &str) -> &str {
        match (Key::of(key), self.value.is_null()) {
            (Some(Key::RowLimit), true) => "all rows",
            (Some(Key::Dropout | Key::Pooling), true) => "the checkpoint's",
            _ => &self.text,
        }
    }
}
