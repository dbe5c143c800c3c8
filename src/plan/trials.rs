//! The trials of a sweep: those of its grid, or those that its search has drawn so far.

use super::Facts;
use super::expand::{Plan, grid};
use super::search::SearchPlan;
use crate::search::Point;
use crate::spec::{Problems, SweepSpec};
use crate::trial::Trial;

/// Expands a sweep into its trials. `facts` holds every source that [`SweepSpec::sources`] names.
///
/// # Errors
/// Every value that does not fit its data or checkpoint, with its place.
pub fn expand(spec: &SweepSpec, facts: &Facts) -> Result<Plan, Problems> {
    expand_after(spec, facts, [])
}

/// As [`expand`], with the configurations that a search has drawn before.
///
/// # Errors
/// As [`expand`].
pub fn expand_after<'d>(
    spec: &SweepSpec,
    facts: &Facts,
    drawn: impl IntoIterator<Item = (&'d Point, &'d [Trial])>,
) -> Result<Plan, Problems> {
    if let Some(mut search) = SearchPlan::new(spec, facts) {
        search.recall(drawn);
        return search.plan();
    }
    grid(spec, facts)
}
