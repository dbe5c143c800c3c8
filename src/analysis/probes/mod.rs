//! Probes: short forked runs of a trial that each change one setting, and what their results say about the cause.
//!
//! [`choose()`] selects the trials to probe, [`place`] the step. [`probed()`] reads the curves of the probes, compares every fork
//! with the control of its seed ([`paired()`]), and reads the results together ([`Settled::by`]). Training the probes is left
//! to others. `docs/diagnosis.md` describes all of it.

mod choose;
mod contradiction;
mod describe;
mod forks;
mod paired;
mod probed;
mod settle;
#[cfg(test)]
mod tests;

pub use choose::{choose, place, plateau};
pub use forks::probed;
pub use paired::{Change, Effect, paired};
pub use probed::{Answer, Measure, ProbeResult, Probed};
pub use settle::{Answers, Conclusion, Settled};
