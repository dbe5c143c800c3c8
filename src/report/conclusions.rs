//! The sentences of a report: findings, the next step, and the results of probes. Page and summary share them.

use super::figures::probes::{self, ProbedText};
use super::suspects;
use crate::analysis::findings::{self, Next};
use crate::analysis::probes::Probed;
use crate::analysis::{Finding, Study, Sweep};

/// Findings that are shown at once. The page folds the others away, the summary lists them further down.
const FIRST_FINDINGS: usize = 7;

/// What a sweep showed, in sentences.
pub struct Conclusions {
    pub findings: Vec<Finding>,
    /// Findings of less weight.
    pub more: Vec<Finding>,
    pub next: Option<Next>,
    pub probed: Vec<ProbedText>,
    /// Whether wrong labels limit the loss, so that the report lists suspects.
    pub suspect_labels: bool,
}

impl Conclusions {
    pub fn of(sweep: &Sweep, study: &Study, probed: &[Probed]) -> Self {
        let mut findings = findings::findings(sweep, study);
        let suspect_labels = suspects::are_likely(study, &findings);
        let more = findings.split_off(findings.len().min(FIRST_FINDINGS));
        let (next, probed) = (findings::next(sweep, study), probes::texts(sweep, study, probed));
        Self { findings, more, next, probed, suspect_labels }
    }
}
