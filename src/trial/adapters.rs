//! Adapters: small trained layers within the frozen layers of an encoder (Houlsby et al., 2019).

use serde::{Deserialize, Serialize};

/// The settings of adapters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdaptersConfig {
    /// Elements of an adapter's inner layer.
    pub size: usize,
    /// The parts of a layer that an adapter follows. At least one.
    pub after: Vec<AdapterPlace>,
    #[serde(default)]
    pub activation: AdapterActivation,
}

/// A part of a layer that an adapter follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterPlace {
    Attention,
    Mlp,
}

/// The activation within an adapter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterActivation {
    #[default]
    Gelu,
    GeluNew,
    Relu,
    Tanh,
}

impl Default for AdaptersConfig {
    fn default() -> Self {
        let after = vec![AdapterPlace::Attention, AdapterPlace::Mlp];
        Self { size: 48, after, activation: AdapterActivation::default() }
    }
}

impl AdaptersConfig {
    /// Whether an adapter follows this part.
    #[must_use]
    pub fn follows(&self, place: AdapterPlace) -> bool {
        self.after.contains(&place)
    }

    /// Number of parameters in an encoder whose layers share nothing.
    #[must_use]
    pub fn parameters(&self, layers: usize, hidden: usize) -> u64 {
        let places =
            [AdapterPlace::Attention, AdapterPlace::Mlp].into_iter().filter(|place| self.follows(*place)).count();
        (layers * places * (2 * self.size * hidden + self.size + hidden)) as u64
    }
}
