//! How a configuration came into a search.

use serde::{Deserialize, Serialize};

/// How a configuration came into a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrawnBy {
    /// It is an entry of `include`.
    Include,
    Random,
    Sobol,
    Tpe,
}

impl DrawnBy {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Include => "include",
            Self::Random => "random",
            Self::Sobol => "sobol",
            Self::Tpe => "tpe",
        }
    }
}
