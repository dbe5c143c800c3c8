//! A labelled example before tokenisation.

use crate::train::tasks::Target;

/// A labelled text, or a labelled pair of texts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Example {
    pub text: String,
    /// The second text of a sentence pair.
    pub pair: Option<String>,
    pub target: Target,
}

impl Example {
    /// A text without a label.
    #[must_use]
    pub fn unlabelled(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Whether there is no text at all.
    pub(super) fn is_empty(&self) -> bool {
        let (text, pair) = self.content();
        text.is_empty() && pair.is_none_or(str::is_empty)
    }

    /// What makes two examples the same text.
    pub(super) fn content(&self) -> (&str, Option<&str>) {
        (self.text.trim(), self.pair.as_deref().map(str::trim))
    }
}
