//! The trials of a sweep: those of its grid, or those that its search has drawn so far.

use super::Facts;
use super::expand::{Plan, grid};
use super::search::SearchPlan;
use crate::event::KnownResult;
use crate::spec::{Problems, SweepSpec};
use crate::trial::{DrawnBy, Trial};

/// Expands a sweep into its trials. `facts` holds every source that [`SweepSpec::sources`] names.
///
/// # Errors
/// Every value that does not fit its data or checkpoint, with its place.
pub fn expand(spec: &SweepSpec, facts: &Facts) -> Result<Plan, Problems> {
    expand_after(spec, facts, &[], [])
}

/// As [`expand`], with the configurations that a search has drawn before. `known`: what it knows of other sweeps.
///
/// # Errors
/// As [`expand`].
pub fn expand_after<'d>(
    spec: &SweepSpec,
    facts: &Facts,
    known: &[KnownResult],
    suggested: impl IntoIterator<Item = (u64, DrawnBy, &'d [Trial])>,
) -> Result<Plan, Problems> {
    match SearchPlan::new(spec, facts, known, suggested) {
        Some(search) => search.plan(),
        None => grid(spec, facts),
    }
}
