//! The sentences of a report: findings, the next step, and the results of probes. Page and summary share them.

use super::figures::probes::{self, ProbedText};
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
}

impl Conclusions {
    pub fn of(sweep: &Sweep, study: &Study, probed: &[Probed]) -> Self {
        let mut findings = findings::findings(sweep, study);
        let more = findings.split_off(findings.len().min(FIRST_FINDINGS));
        Self { findings, more, next: findings::next(sweep, study), probed: probes::texts(sweep, study, probed) }
    }
}
