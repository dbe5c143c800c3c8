//! What the label of an example says.

use std::collections::BTreeMap;

/// The target of an example.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Target {
    /// It has no label.
    #[default]
    Unknown,
    /// Class number.
    Class(u32),
    /// A number to predict.
    Number(f64),
    /// Numbers of the labels, in rising order.
    Labels(Vec<u32>),
    /// The number of the tag of each word of a text. The targets of its outputs are [`Target::Word`].
    Tags(Vec<u32>),
    /// The tokens that masks hide. The targets of its outputs are [`Target::Class`].
    Masked,
    /// The number of the right choice.
    Choice(u32),
    /// A word's tag, and whether the word is the first of its text.
    Word(u32, bool),
}

impl Target {
    /// The class of a classified example.
    #[must_use]
    pub fn class(&self) -> Option<u32> {
        match self {
            Self::Class(class) => Some(*class),
            _ => None,
        }
    }

    /// Splits keep the shares of this number: the class, or 0 where there are no classes.
    #[must_use]
    pub fn stratum(&self) -> u32 {
        self.class().unwrap_or(0)
    }

    /// Whether label number `label` is among the labels.
    #[must_use]
    pub fn has(&self, label: usize) -> bool {
        matches!(self, Self::Labels(labels) if labels.binary_search(&(label as u32)).is_ok())
    }
}

/// Why a label name that the training data do not have is wrong.
pub(super) fn unknown_label(name: &str, numbers: &BTreeMap<&str, u32>) -> String {
    const SHOWN: usize = 20;
    let shown: Vec<String> =
        numbers.keys().take(SHOWN).map(|name| format!("`{}`", name.chars().take(40).collect::<String>())).collect();
    let more = match numbers.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "the label `{name}` does not occur in the training data, which has {}{more}; remove such rows from this file, or add \
         some to the training data",
        shown.join(", ")
    )
}
