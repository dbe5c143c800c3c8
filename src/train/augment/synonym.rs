//! Synonym replacement: `max(1, round(rate * words))` words that have a synonym in WordNet under a fitting part of speech
//! and are no stop words, each replaced by one drawn from all its senses, with its inflection and capitals.
//!
//! What must not be replaced stands with [`super::safe`]. A noun in the singular does not become a plural one (`profit`, `earnings`) nor the reverse. `a` and `an` before a
//! replaced word follow it.

use std::borrow::Cow;

use super::answers::{self, Answer};
use super::edits::count;
use super::grammar;
use super::inflection::{self, Analysis, Form};
use super::lexicon::{COARSE, is_one_of};
use super::safe::{Rules, with_capitals_of};
use super::wordnet::{Pos, WordNet};
use super::words::Words;
use crate::train::random::Random;

/// The text with some words replaced; itself if no word can be. `choose` picks one of the candidates (never none of
/// them) for the word of this index.
pub(super) fn replace(
    wordnet: &WordNet,
    text: &str,
    rate: f64,
    pos: bool,
    random: Random,
    choose: impl Fn(usize, &[String]) -> usize,
) -> String {
    let words = Words::parse(text);
    let substitutes = Substitutes::new(wordnet, &words, pos);
    let mut replaced = Replaced::new(&words);
    let mut order: Vec<usize> = (0..words.len()).collect();
    random.at(0).shuffle(&mut order);
    let mut left = count(rate, words.len());
    for index in order {
        if left == 0 {
            break;
        }
        let candidates = substitutes.of(index);
        if let Some(chosen) = candidates.get(if candidates.is_empty() { 0 } else { choose(index, &candidates) }) {
            replaced.put(index, chosen);
            left -= 1;
        }
    }
    replaced.text()
}

/// The text with [`count`] of the words that have proposals replaced, each by one of them.
pub(super) fn propose(text: &str, rate: f64, answer: &Answer, random: Random) -> String {
    let words = Words::parse(text);
    let mut replaced = Replaced::new(&words);
    let mut order: Vec<usize> =
        (0..words.len()).filter(|&index| answer.get(index).is_some_and(|proposals| !proposals.is_empty())).collect();
    random.at(0).shuffle(&mut order);
    for index in order.into_iter().take(count(rate, words.len())) {
        if let Some(chosen) = answers::draw(&answer[index], random.at(1), index as u64) {
            replaced.put(index, chosen);
        }
    }
    replaced.text()
}

/// A text in which words are being replaced.
pub(super) struct Replaced<'w, 'a> {
    words: &'w Words<'a>,
    new: Vec<Cow<'a, str>>,
}

impl<'w, 'a> Replaced<'w, 'a> {
    pub fn new(words: &'w Words<'a>) -> Self {
        Self { words, new: (0..words.len()).map(|index| Cow::Borrowed(words.word(index))).collect() }
    }

    /// Puts `word` (lower case) in the place of word `index`, with its capitals; an article before it follows.
    pub fn put(&mut self, index: usize, word: &str) {
        self.new[index] = Cow::Owned(with_capitals_of(self.words.word(index), word));
        if let Some(before) = index.checked_sub(1).filter(|_| self.words.gap(index).trim().is_empty())
            && let Some(article) = article(self.words.word(before), word)
        {
            self.new[before] = Cow::Owned(article);
        }
    }

    pub fn text(&self) -> String {
        self.words.rebuild(|index| &self.new[index])
    }
}

/// What may stand in the place of the words of a text.
pub(super) struct Substitutes<'w, 'a> {
    wordnet: &'w WordNet,
    words: &'w Words<'a>,
    rules: Rules<'w, 'a>,
    pos: bool,
}

impl<'w, 'a> Substitutes<'w, 'a> {
    /// `pos`: of the part of speech that a word has in its sentence, else of any that it can have.
    pub fn new(wordnet: &'w WordNet, words: &'w Words<'a>, pos: bool) -> Self {
        Self { wordnet, words, rules: Rules::new(words), pos }
    }

    /// Every synonym of word `index` over all senses, inflected like it, in lower case, in the lexicon's order (the most
    /// frequent sense first), each once. None where it must not be replaced.
    pub fn of(&self, index: usize) -> Vec<String> {
        if !self.rules.may_be_replaced(index) {
            return Vec::new();
        }
        let lower = self.words.word(index).to_ascii_lowercase();
        let mut analyses = inflection::analyses(self.wordnet, &lower);
        if self.pos {
            analyses = grammar::fitting(self.wordnet, self.words, index, &analyses).into_iter().collect();
        }
        let mut found: Vec<String> = Vec::new();
        for analysis in &analyses {
            for synonym in self.wordnet.senses(&analysis.base, analysis.pos).into_iter().flatten().flatten() {
                if !is_one_of(COARSE, synonym)
                    && let Some(form) = in_the_form(self.wordnet, synonym, analysis)
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

/// `synonym` in the form of the word it replaces; None if it has no such form.
fn in_the_form(wordnet: &WordNet, synonym: &str, word: &Analysis) -> Option<String> {
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

/// The indefinite article that fits before `next`, if `word` is one of the other kind.
fn article(word: &str, next: &str) -> Option<String> {
    let wanted = match word.to_ascii_lowercase().as_str() {
        "a" if sounds_like_a_vowel(next) => "an",
        "an" if !sounds_like_a_vowel(next) => "a",
        _ => return None,
    };
    // A capital A alone begins a sentence.
    Some(if word == "AN" { "A".to_owned() } else { with_capitals_of(word, wanted) })
}

fn sounds_like_a_vowel(word: &str) -> bool {
    const SILENT_H: [&str; 4] = ["hour", "honest", "honor", "heir"];
    const LIKE_YOU: [&str; 8] = ["uni", "use", "usu", "uti", "eu", "ewe", "one", "once"];
    let starts = |list: &[&str]| list.iter().any(|start| word.starts_with(start));
    starts(&SILENT_H)
        || (word.starts_with(['a', 'e', 'i', 'o', 'u']) && (!starts(&LIKE_YOU) || word.starts_with("unin")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::random::Purpose;

    /// Every text that some seed makes of `text` when one word is replaced.
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
