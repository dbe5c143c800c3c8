//! Curves for the tests of the trackers.

use super::TrialCurves;
use crate::analysis::Run;

/// The curves of a run made up for tests.
pub(super) fn curves<'a>(run: &'a Run, name: &'a str, parameters: &'a [(String, String)]) -> TrialCurves<'a> {
    let Run { trial, status, metrics, evals, outcome, .. } = run;
    TrialCurves { trial, name, parameters, status: *status, metrics, evals, outcome: outcome.as_ref(), started: 0 }
}
