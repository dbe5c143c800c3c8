//! What varies in a sweep: the axes and their values.

use serde::{Deserialize, Serialize};

use super::Key;

/// A key of the sweep that varies, with its values in the order written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// Dotted, such as `lr` or `model.dropout`.
    pub key: String,
    pub values: Vec<AxisValue>,
    /// Whether a search draws its values, so that they are no points of a grid.
    #[serde(default)]
    pub drawn: bool,
    /// The greatest number that the key can have, or the greatest fraction; None if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greatest: Option<f64>,
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
