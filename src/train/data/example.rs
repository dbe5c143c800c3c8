//! A labelled example before tokenisation.

/// A labelled text, or a labelled pair of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub text: String,
    /// The second text of a sentence pair.
    pub pair: Option<String>,
    /// Class number.
    pub label: u32,
}
