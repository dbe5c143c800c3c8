//! Verdicts: statements about one trial, with the numbers they rest on.

use serde::{Deserialize, Serialize};

use super::cause::{Cause, Reason, ShapeKind, VerdictId};

/// A statement about a trial's curve, with the numbers it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub id: VerdictId,
    #[serde(default)]
    pub kind: VerdictKind,
    /// Step that the statement is about.
    pub step: Option<u64>,
    /// In plain words, numbers included.
    pub text: String,
    /// The reason that holds, if the rule knows several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The numbers it rests on, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// First and last step of what it rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<(u64, u64)>,
    /// What to change: a line of a sweep file, or a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Verdict {
    /// What became of the evaluation loss.
    #[must_use]
    pub fn shape(shape: ShapeKind, step: Option<u64>, text: impl Into<String>) -> Self {
        Self { step, ..Self::new(shape.into(), VerdictKind::Shape, text.into()) }
    }

    /// Why the loss does not fall.
    #[must_use]
    pub fn cause(cause: Cause, text: impl Into<String>) -> Self {
        Self::new(cause.into(), VerdictKind::Cause, text.into())
    }

    /// Something worth knowing.
    #[must_use]
    pub fn note(cause: Cause, text: impl Into<String>) -> Self {
        Self::new(cause.into(), VerdictKind::Note, text.into())
    }

    fn new(id: VerdictId, kind: VerdictKind, text: String) -> Self {
        Self { id, kind, step: None, text, reason: None, evidence: Vec::new(), steps: None, advice: None }
    }

    /// Adds the numbers that it rests on.
    #[must_use]
    pub fn with_evidence(mut self, numbers: &[(&str, f64)]) -> Self {
        self.evidence.extend(numbers.iter().map(|(name, value)| Evidence::new(name, *value)));
        self
    }

    /// Sets the steps that it rests on; it is about the first of them.
    #[must_use]
    pub fn over(mut self, steps: (u64, u64)) -> Self {
        (self.step, self.steps) = (Some(steps.0), Some(steps));
        self
    }

    #[must_use]
    pub fn with_reason(self, reason: Reason) -> Self {
        Self { reason: Some(reason), ..self }
    }

    #[must_use]
    pub fn is_cause(&self) -> bool {
        self.kind == VerdictKind::Cause
    }
}

/// What a verdict speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// What became of the evaluation loss.
    #[default]
    Shape,
    /// Why the loss does not fall.
    Cause,
    /// Worth knowing, and not a fault.
    Note,
}

/// A number that a verdict rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub name: String,
    /// None if it is not finite.
    pub value: Option<f64>,
}

impl Evidence {
    #[must_use]
    pub fn new(name: &str, value: f64) -> Self {
        Self { name: name.to_owned(), value: Some(value).filter(|value| value.is_finite()) }
    }
}
