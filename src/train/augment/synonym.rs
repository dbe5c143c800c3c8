//! Synonym replacement: `max(1, round(rate * words))` words that have a synonym in WordNet under a fitting part of speech
//! and are no stop words, each replaced by one drawn from all its senses, with its inflection and capitals.
//!
//! Not replaced besides what is safe by default: words with an apostrophe, hyphen or letters outside a-z, of fewer than
//! three letters, and names (words with a first capital inside a sentence, unless most words of the text have one).
//! A noun in the singular does not become a plural one (`profit`, `earnings`) nor the reverse. `a` and `an` before a
//! replaced word follow it.

use std::borrow::Cow;

use super::grammar;
use super::inflection::{self, Analysis, Form};
use super::lexicon::{COARSE, is_one_of, is_stop_word};
use super::wordnet::{Pos, WordNet};
use super::words::{Kind, Words};
use crate::train::random::Random;

/// The text with some words replaced; itself if no word can be.
pub(super) fn replace(wordnet: &WordNet, text: &str, rate: f64, random: Random) -> String {
    let words = Words::parse(text);
    let wanted = ((rate * words.len() as f64).round() as usize).max(1);
    let titled = has_most_words_capital(&words);
    let mut order: Vec<usize> = (0..words.len()).collect();
    random.at(0).shuffle(&mut order);
    let mut new: Vec<Cow<'_, str>> = (0..words.len()).map(|index| Cow::Borrowed(words.word(index))).collect();
    let mut done = 0;
    for index in order {
        if done == wanted {
            break;
        }
        if words.kind(index) == Kind::Kept || (!titled && is_name(&words, index)) {
            continue;
        }
        let candidates = candidates(wordnet, &words, index);
        if candidates.is_empty() {
            continue;
        }
        let chosen = &candidates[random.at(1).below(index as u64, candidates.len())];
        new[index] = Cow::Owned(with_capitals_of(words.word(index), chosen));
        if let Some(before) = index.checked_sub(1).filter(|_| words.gap(index).trim().is_empty())
            && let Some(article) = article(words.word(before), chosen)
        {
            new[before] = Cow::Owned(article);
        }
        done += 1;
    }
    words.rebuild(|index| &new[index])
}

/// Every synonym over all senses, inflected like the word, in the lexicon's order, each once.
fn candidates(wordnet: &WordNet, words: &Words<'_>, index: usize) -> Vec<String> {
    let word = words.word(index);
    let lower = word.to_ascii_lowercase();
    let inner_capitals = word.bytes().skip(1).any(|b| b.is_ascii_uppercase()) && !is_upper(word);
    if word.len() < 3 || inner_capitals || !word.bytes().all(|b| b.is_ascii_alphabetic()) || is_stop_word(&lower) {
        return Vec::new();
    }
    let analyses = inflection::analyses(wordnet, &lower);
    let Some(fitting) = grammar::fitting(wordnet, words, index, &analyses) else { return Vec::new() };
    let mut found: Vec<String> = Vec::new();
    for synonym in wordnet.senses(&fitting.base, fitting.pos).into_iter().flatten().flatten() {
        if !is_one_of(COARSE, synonym)
            && let Some(form) = in_the_form(wordnet, synonym, &fitting)
            && form != lower
            && form.len() > 2
            && !found.contains(&form)
        {
            found.push(form);
        }
    }
    found
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

/// A word with a capital that does not begin a sentence.
fn is_name(words: &Words<'_>, index: usize) -> bool {
    let begins = index == 0 || words.gap(index).contains(['.', '!', '?', ':', ';', '"', '“', '(', '\n', '-', '*', '~']);
    has_capital(words.word(index)) && !is_upper(words.word(index)) && !begins
}

fn has_most_words_capital(words: &Words<'_>) -> bool {
    let capital = (0..words.len()).filter(|&index| has_capital(words.word(index))).count();
    words.len() > 1 && 2 * capital > words.len()
}

fn has_capital(word: &str) -> bool {
    word.starts_with(char::is_uppercase)
}

fn is_upper(word: &str) -> bool {
    word.len() > 1 && word.bytes().all(|b| b.is_ascii_uppercase())
}

/// `replacement` (lower case) in capitals, with a capital, or as it is, like `word`.
fn with_capitals_of(word: &str, replacement: &str) -> String {
    if is_upper(word) {
        return replacement.to_uppercase();
    }
    let mut letters = replacement.chars();
    match letters.next() {
        Some(first) if has_capital(word) => first.to_uppercase().chain(letters).collect(),
        _ => replacement.to_owned(),
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
            .map(|seed| replace(WordNet::embedded(), text, 0.0, Random::new(seed, Purpose::Augmentation)))
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
