//! The sentences of a report: findings, the next step, and the results of probes. Page and summary share them.

use super::figures::probes::{self, ProbedText};
use super::suspects;
use crate::analysis::arms::Inputs;
use crate::analysis::finding::Next;
use crate::analysis::findings;
use crate::analysis::probes::Probed;
use crate::analysis::{Finding, FindingKind, Study, Sweep, architectures};

/// Findings that are shown at once. The page folds the others away, the summary lists them further down.
const FIRST_FINDINGS: usize = 7;
/// The findings that come before those about architectures.
const FIRST: [FindingKind; 3] = [FindingKind::Progress, FindingKind::Data, FindingKind::Best];

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
    pub fn of(sweep: &Sweep, study: &Study, probed: &[Probed], inputs: &Inputs) -> Self {
        let of_arms = architectures::findings(sweep, study, probed, inputs);
        let next = architectures::next(sweep, study, &of_arms, inputs);
        let mut findings = findings::findings(sweep, study);
        // After what says how far the sweep is, and which configuration is best.
        let place = findings.iter().take_while(|finding| FIRST.contains(&finding.kind)).count();
        findings.splice(place..place, of_arms);
        let suspect_labels = suspects::are_likely(study, &findings);
        let more = findings.split_off(findings.len().min(FIRST_FINDINGS));
        let next = next.or_else(|| findings::next(sweep, study));
        let probed = probes::texts(sweep, study, probed);
        Self { findings, more, next, probed, suspect_labels }
    }
}
