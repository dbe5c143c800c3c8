//! What curves say: when a loss stops falling, at what level and why, and which configuration is best. Pure functions of
//! numbers.
//!
//! [`diagnose`] judges one trial: the shape of its evaluation loss ([`shape`]), the trend of its training loss
//! ([`detector`]), and the causes ([`rules`]). [`Study::of`] judges all trials of a sweep, lets the trials that differ in
//! the learning rate alone correct each other ([`neighbours`]), and ranks the configurations ([`rank`]). [`findings`] and
//! [`effects`] are statements about the sweep as a whole. Failed seeds are counted and never averaged. [`range_test`] reads a
//! learning-rate range test, [`probes`] the forked runs of single trials. `docs/diagnosis.md` is the user's view.
//!
//! Drawing is left to `report`, files to `store`, and texts of logs to their reader.

mod advice;
pub mod architectures;
pub mod arms;
mod blocks;
mod case;
pub mod curve;
pub mod detector;
mod edges;
pub mod effects;
mod extrapolation;
pub mod finding;
pub mod findings;
mod floors;
mod format;
pub mod groups;
mod guessing;
pub mod late_rise;
pub mod measured;
mod neighbours;
pub mod probes;
pub mod range_test;
pub mod rank;
pub mod refine;
mod resting;
mod rules;
pub mod search;
mod search_findings;
pub mod shape;
pub mod statistics;
pub mod study;
pub mod sweep;
#[cfg(test)]
pub(crate) mod synthetic;
mod thresholds;
pub mod verdicts;

pub use finding::{Finding, FindingKind};
pub use measured::Measured;
pub use range_test::RangeTest;
pub use resting::rests;
pub use shape::Shape;
pub use study::{Config, Study};
pub use sweep::{Run, Sweep};
pub use verdicts::{Diagnosis, diagnose, verdicts};
