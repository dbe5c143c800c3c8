//! What to try next: spaces of configurations, and the samplers that draw from them.
//!
//! [`propose()`] gives the next configuration as a pure function of the space, the settings, the number of the configuration
//! and what is known of earlier ones. It has no state, so that a search continues after an interruption with the same
//! sequence, whatever the number of slots. Reading a space from a sweep file, and deciding what a configuration may see of
//! the ones before it, are left to others.

mod drawn;
mod history;
mod importance;
mod lag;
mod normal;
mod propose;
mod space;
#[cfg(test)]
mod tests;
mod tpe;

pub use drawn::{DimensionName, Draw, SearchHistory};
pub use history::{Observation, Outdone, SearchResult, TrialResult};
pub use importance::{Baseline, ImportanceInterval, importance, importance_intervals};
pub use lag::Lag;
pub use propose::{Sampler, SearchSettings, digits, propose};
pub use space::{Condition, Domain, Point, Prior, Space, SpaceKey};
