//! Expands a checked sweep into its trials: product, zip, include, exclude, seeds and ids. Pure.
//!
//! Trials come in the order of the file: the last key varies fastest, and `include` follows the product. Each id occurs
//! once. An id depends on the trial's configuration and data, not on how the sweep is written or where its files lie.

mod check;
mod defaults;
mod estimate;
mod expand;
mod facts;
mod identity;
mod idle;
mod probes;
mod schedules;
mod search;
mod task;
#[cfg(test)]
pub(crate) mod tests;
mod trials;

pub use check::augmentation_mistakes;
pub use estimate::{Accelerator, Estimate, PastTrial, PlanEstimate, estimate};
pub use expand::Plan;
pub use facts::{AugmentationFound, Bf16Found, DataFound, Facts, ModelFound};
pub use probes::{ProbeRequest, approach, probe_plan, probes};
pub use schedules::{PlannedSchedule, schedules};
pub use search::{Difference, SearchPlan, SearchStep, Suggestion, known_results};
pub use trials::{expand, expand_after};
