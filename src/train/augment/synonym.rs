//! Synonym replacement: replaces `max(1, round(rate * words))` words by a WordNet synonym.
//!
//! A word must have a synonym for its part of speech, and [`super::protection`] must allow its replacement. The synonym is
//! drawn from all senses and gets the inflection and the capitals of the word. A singular noun does not become a plural noun
//! (`profit`, `earnings`), nor the reverse. `a` or `an` before a replaced word is adapted.

use std::borrow::Cow;

use super::edits::edit_count;
use super::grammar;
use super::inflection::{self, Analysis, Form};
use super::protection::{EditRules, with_capitals_of};
use super::suggestions::{self, TextSuggestions};
use super::tokenize::Words;
use super::word_lists::{VULGAR, is_one_of};
use super::wordnet::{Pos, WordNet};
use plateau_random::Random;

/// The text with some words replaced; unchanged if no word can be replaced. `choose` returns the index of one of the
/// candidates (at least one) for the word with the given index.
pub(super) fn replace(
    wordnet: &WordNet,
    text: &str,
    rate: f64,
    pos: bool,
    random: Random,
    choose: impl Fn(usize, &[String]) -> usize,
) -> String {
    let words = Words::parse(text);
    let synonyms = SynonymFinder::new(wordnet, &words, pos);
    let mut edited = EditedText::new(&words);
    let mut order: Vec<usize> = (0..words.len()).collect();
    random.at(0).shuffle(&mut order);
    let mut left = edit_count(rate, words.len());
    for index in order {
        if left == 0 {
            break;
        }
        let candidates = synonyms.of(index);
        if let Some(chosen) = candidates.get(if candidates.is_empty() { 0 } else { choose(index, &candidates) }) {
            edited.replace(index, chosen);
            left -= 1;
        }
    }
    edited.text()
}

/// The text with [`edit_count`] of the words that have suggestions replaced by one of them.
pub(super) fn replace_by_suggestions(text: &str, rate: f64, suggestions: &TextSuggestions, random: Random) -> String {
    let words = Words::parse(text);
    let mut edited = EditedText::new(&words);
    let mut order: Vec<usize> =
        (0..words.len()).filter(|&index| suggestions.get(index).is_some_and(|found| !found.is_empty())).collect();
    random.at(0).shuffle(&mut order);
    for index in order.into_iter().take(edit_count(rate, words.len())) {
        if let Some(chosen) = suggestions::draw(&suggestions[index], random.at(1), index as u64) {
            edited.replace(index, chosen);
        }
    }
    edited.text()
}

/// A text with some words replaced.
pub(super) struct EditedText<'w, 'a> {
    words: &'w Words<'a>,
    edited: Vec<Cow<'a, str>>,
}

impl<'w, 'a> EditedText<'w, 'a> {
    pub fn new(words: &'w Words<'a>) -> Self {
        Self { words, edited: (0..words.len()).map(|index| Cow::Borrowed(words.word(index))).collect() }
    }

    /// Replaces word `index` by `word` (lower case) with the same capitals, and adapts an article before it.
    pub fn replace(&mut self, index: usize, word: &str) {
        self.edited[index] = Cow::Owned(with_capitals_of(self.words.word(index), word));
        if let Some(before) = index.checked_sub(1).filter(|_| self.words.gap(index).trim().is_empty())
            && let Some(article) = adapted_article(self.words.word(before), word)
        {
            self.edited[before] = Cow::Owned(article);
        }
    }

    pub fn text(&self) -> String {
        self.words.rebuild(|index| &self.edited[index])
    }
}

/// Finds the synonyms of the words of a text.
pub(super) struct SynonymFinder<'w, 'a> {
    wordnet: &'w WordNet,
    words: &'w Words<'a>,
    rules: EditRules<'w, 'a>,
    same_pos: bool,
}

impl<'w, 'a> SynonymFinder<'w, 'a> {
    /// With `same_pos`, synonyms have the part of speech that the word has in its sentence. Otherwise they have any part of
    /// speech that the word can have.
    pub fn new(wordnet: &'w WordNet, words: &'w Words<'a>, same_pos: bool) -> Self {
        Self { wordnet, words, rules: EditRules::new(words), same_pos }
    }

    /// Every synonym of word `index` over all senses, each once, inflected like the word, in lower case. The most frequent
    /// sense comes first. Empty if the word must not be replaced.
    pub fn of(&self, index: usize) -> Vec<String> {
        if !self.rules.may_be_replaced(index) {
            return Vec::new();
        }
        let lower = self.words.word(index).to_ascii_lowercase();
        let mut analyses = inflection::analyses(self.wordnet, &lower);
        if self.same_pos {
            analyses = grammar::fitting(self.wordnet, self.words, index, &analyses).into_iter().collect();
        }
        let mut found: Vec<String> = Vec::new();
        for analysis in &analyses {
            for synonym in self.wordnet.senses(&analysis.base, analysis.pos).into_iter().flatten().flatten() {
                if !is_one_of(VULGAR, synonym)
                    && let Some(form) = inflect_like(self.wordnet, synonym, analysis)
                    && form != lower
                    && form.len() > 2
                    && !found.contains(&form)
                {
                    found.push(form);
                }
            }
        }
        found
    }
}

/// `synonym` in the form of the word that it replaces; None if it has no such form.
fn inflect_like(wordnet: &WordNet, synonym: &str, word: &Analysis) -> Option<String> {
    let plural = word.pos == Pos::Noun && inflection::is_plural(wordnet, synonym);
    let wants_plural =
        word.form == Form::Plural || (word.pos == Pos::Noun && inflection::is_plural(wordnet, &word.base));
    match (plural, wants_plural) {
        (true, true) => Some(synonym.to_owned()),
        (true, false) => None,
        (false, true) => inflection::inflect(wordnet, synonym, Pos::Noun, Form::Plural),
        (false, false) => inflection::inflect(wordnet, synonym, word.pos, word.form),
    }
}

/// If `word` is an indefinite article that does not fit before `next`, the article that does.
fn adapted_article(word: &str, next: &str) -> Option<String> {
    let wanted = match word.to_ascii_lowercase().as_str() {
        "a" if begins_with_vowel_sound(next) => "an",
        "an" if !begins_with_vowel_sound(next) => "a",
        _ => return None,
    };
    // A single capital A begins a sentence; it is not an abbreviation in capitals.
    Some(if word == "AN" { "A".to_owned() } else { with_capitals_of(word, wanted) })
}

fn begins_with_vowel_sound(word: &str) -> bool {
    const SILENT_H: [&str; 4] = ["hour", "honest", "honor", "heir"];
    const LIKE_YOU: [&str; 8] = ["uni", "use", "usu", "uti", "eu", "ewe", "one", "once"];
    let starts = |list: &[&str]| list.iter().any(|start| word.starts_with(start));
    starts(&SILENT_H)
        || (word.starts_with(['a', 'e', 'i', 'o', 'u']) && (!starts(&LIKE_YOU) || word.starts_with("unin")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use plateau_random::Purpose;

    /// All texts that 300 seeds make of `text` when one word is replaced.
    fn variants(text: &str) -> Vec<String> {
        let mut all: Vec<String> = (0..300)
            .map(|seed| Random::new(seed, Purpose::Augmentation))
            .map(|random| {
                let any = |index: usize, candidates: &[String]| random.at(1).below(index as u64, candidates.len());
                replace(WordNet::embedded(), text, 0.0, true, random, any)
            })
            .collect();
        all.sort();
        all.dedup();
        all
    }

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(variants(text), expected, "{text}");
    }

    #[test]
    fn inflection_and_case_are_kept() {
        let profits = variants("Profits rose");
        assert!(profits.contains(&"Earnings rose".to_owned()), "{profits:?}");
        assert!(profits.contains(&"Profits climbed".to_owned()) && profits.contains(&"Profits grew".to_owned()));
        assert!(profits.iter().all(|text| !text.starts_with("Earning ") && !text.contains("rise")), "{profits:?}");
        check("the DOCTOR", &["the DOC", "the MEDICO", "the PHYSICIAN"]);
        check("a doctor", &["a doc", "a medico", "a physician"]);
        let brave = variants("Two brave doctors came");
        assert!(brave.contains(&"Two brave docs came".to_owned()), "{brave:?}");
        assert!(brave.contains(&"Two dauntless doctors came".to_owned()), "{brave:?}");
        assert!(brave.iter().all(|text| !text.contains("mends") && text.starts_with("Two ")), "{brave:?}");
    }

    #[test]
    fn what_is_not_replaced() {
        for text in [
            "I'm not never without no 42 two-thirds",
            "@doctor #doctor http://doctor.com/doctor doctor@doctor.org",
            "you and the Doctor",
            "the iDoctor",
            "it is so very, only then",
            "doctor's well-bred",
            "врач и доктор",
        ] {
            check(text, &[text]);
        }
    }
}
