//! A labelled example before tokenisation.

use std::borrow::Cow;

use crate::train::tasks::Target;

/// A labelled text, or a labelled pair of texts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Example {
    pub text: String,
    /// The second text of a sentence pair.
    pub pair: Option<String>,
    /// The choices of a question. `text` and `pair` stand before each of them.
    pub choices: Vec<String>,
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
        let (text, pair, choices) = self.content();
        text.is_empty() && pair.is_none_or(str::is_empty) && choices.is_empty()
    }

    /// What makes two examples the same text.
    pub(super) fn content(&self) -> (&str, Option<&str>, &[String]) {
        (self.text.trim(), self.pair.as_deref().map(str::trim), &self.choices)
    }

    /// What is tokenised: the example itself, or a pair of the text and a choice for each choice. A second text stands before
    /// the choice, as in transformers' examples of SWAG.
    pub(super) fn sequences(&self) -> Cow<'_, [Self]> {
        if self.choices.is_empty() {
            return Cow::Borrowed(std::slice::from_ref(self));
        }
        let pair = |choice: &String| match &self.pair {
            Some(start) => format!("{start} {choice}"),
            None => choice.clone(),
        };
        let of = |choice| Self { pair: Some(pair(choice)), choices: Vec::new(), ..self.clone() };
        self.choices.iter().map(of).collect::<Vec<_>>().into()
    }
}
