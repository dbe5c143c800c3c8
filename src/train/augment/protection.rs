//! Which words the methods may delete, replace or move.
//!
//! | words | deleted | replaced | moved |
//! |---|---|---|---|
//! | negations, numbers, links, @names, #hashtags ([`WordKind::Protected`]) | no | no | yes |
//! | emoticons, emoji, punctuation (part of the gaps, see [`super::tokenize`]) | no | no | no |
//! | stop words | yes | no | yes |
//! | words of fewer than three letters, or with characters other than a-z (apostrophes, hyphens, other scripts) | yes | no | yes |
//! | names: a capital first letter inside a sentence (unless most words of the text have one), or inner capitals | yes | no | yes |

use super::tokenize::{WordKind, Words};
use super::word_lists::is_stop_word;

/// The rules for the words of one text.
pub(super) struct EditRules<'w, 'a> {
    words: &'w Words<'a>,
    /// Whether most words have a capital first letter. Then a capital does not indicate a name.
    is_title_case: bool,
}

impl<'w, 'a> EditRules<'w, 'a> {
    pub fn new(words: &'w Words<'a>) -> Self {
        let capital = (0..words.len()).filter(|&index| has_capital(words.word(index))).count();
        Self { words, is_title_case: words.len() > 1 && 2 * capital > words.len() }
    }

    pub fn may_be_deleted(&self, index: usize) -> bool {
        self.words.kind(index) == WordKind::Editable
    }

    pub fn may_be_replaced(&self, index: usize) -> bool {
        let word = self.words.word(index);
        let inner_capitals = word.bytes().skip(1).any(|b| b.is_ascii_uppercase()) && !is_upper(word);
        self.may_be_deleted(index)
            && word.len() >= 3
            && word.bytes().all(|b| b.is_ascii_alphabetic())
            && !inner_capitals
            && (self.is_title_case || !is_name(self.words, index))
            && !is_stop_word(&word.to_ascii_lowercase())
    }

    /// Whether text may be inserted before word `index`. It may not inside a run such as `good/bad` or `$3`.
    pub fn may_be_preceded(&self, index: usize) -> bool {
        let gap = self.words.gap(index);
        gap.ends_with(char::is_whitespace) || (index == 0 && gap.is_empty())
    }
}

/// Whether a word has a capital first letter and does not begin a sentence.
fn is_name(words: &Words<'_>, index: usize) -> bool {
    let begins = index == 0 || words.gap(index).contains(['.', '!', '?', ':', ';', '"', '“', '(', '\n', '-', '*', '~']);
    has_capital(words.word(index)) && !is_upper(words.word(index)) && !begins
}

fn has_capital(word: &str) -> bool {
    word.starts_with(char::is_uppercase)
}

fn is_upper(word: &str) -> bool {
    word.len() > 1 && word.bytes().all(|b| b.is_ascii_uppercase())
}

/// Gives `replacement` (lower case) the capitals of `word`: all, the first letter, or none.
pub(super) fn with_capitals_of(word: &str, replacement: &str) -> String {
    if is_upper(word) {
        return replacement.to_uppercase();
    }
    let mut letters = replacement.chars();
    match letters.next() {
        Some(first) if has_capital(word) => first.to_uppercase().chain(letters).collect(),
        _ => replacement.to_owned(),
    }
}
