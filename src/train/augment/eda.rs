//! The program of the EDA paper (Wei and Zou 2019, `github.com/jasonwei20/eda_nlp`), reproduced for comparison. It protects
//! no words.
//!
//! The text is lower-cased, apostrophes are removed, and every other character than a-z becomes a space. With
//! n = max(1, int(alpha * words)), the four techniques are:
//!
//! * Synonym replacement shuffles the distinct words that are not stop words. It replaces every occurrence of a word by a
//!   random lemma over all senses, until n words are replaced.
//! * Insertion draws a random word with a synonym (at most nine tries), n times. It inserts the first synonym at a random
//!   place, but never at the end.
//! * Swap exchanges two words, n times. It draws the second word again while it equals the first. The program makes four
//!   draws and never uses the last one.
//! * Deletion keeps a word if U > alpha.
//!
//! Each technique makes `copies / 4 + 1` variants. `copies` of them are drawn, and the cleaned text itself is added.
//!
//! This module differs from the EDA program in two points. Its lexicon has only synonyms of one word. Where the program takes the
//! first element of an unordered set, this module takes the first synonym of the lexicon.

use super::inflection;
use super::word_lists::is_one_of;
use super::wordnet::{Pos, WordNet};
use plateau_random::Random;

/// Version `number` of the versions that the program makes of `text`. Numbers run from 0 to `copies`; the last one is the
/// cleaned text itself. A text without letters stays unchanged.
pub(super) fn version(
    wordnet: &WordNet,
    text: &str,
    alpha: f64,
    copies: usize,
    number: usize,
    random: Random,
) -> String {
    let clean = only_letters(text);
    let words: Vec<&str> = clean.split(' ').filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return text.to_owned();
    }
    let each = copies / 4 + 1;
    let mut slots: Vec<usize> = (0..4 * each).collect();
    random.at(0).shuffle(&mut slots);
    let Some(&slot) = slots.get(number).filter(|_| number < copies) else { return words.join(" ") };
    let random = random.at(1).at(slot as u64);
    let n = ((alpha * words.len() as f64) as usize).max(1);
    match slot / each {
        0 => replace(wordnet, words, n, random),
        1 => insert(wordnet, words, n, random),
        2 => swap(words, n, random),
        _ => delete(words, alpha, random),
    }
    .join(" ")
}

/// The function `get_only_chars` of the program.
fn only_letters(text: &str) -> String {
    let lower = text.replace(['’', '\''], "").to_lowercase();
    lower.chars().map(|letter| if letter.is_ascii_lowercase() { letter } else { ' ' }).collect()
}

/// Lemmas over all senses and parts of speech except the word itself, each once.
fn synonyms<'l>(wordnet: &'l WordNet, word: &str) -> Vec<&'l str> {
    let mut found: Vec<&str> = Vec::new();
    let analyses = inflection::analyses(wordnet, word);
    for pos in Pos::ALL {
        for analysis in analyses.iter().filter(|analysis| analysis.pos == pos) {
            let headword = wordnet.headword(&analysis.base);
            let lemmas = wordnet.senses(&analysis.base, pos).into_iter().flatten().flatten();
            for lemma in headword.into_iter().chain(lemmas) {
                if lemma != word && !found.contains(&lemma) {
                    found.push(lemma);
                }
            }
        }
    }
    found
}

fn replace<'a>(wordnet: &'a WordNet, mut words: Vec<&'a str>, n: usize, random: Random) -> Vec<&'a str> {
    let mut distinct: Vec<&str> = words.iter().copied().filter(|word| !is_one_of(STOP_WORDS, word)).collect();
    distinct.sort_unstable();
    distinct.dedup();
    random.at(0).shuffle(&mut distinct);
    let found = (0..).zip(distinct).map(|(place, word)| (place, word, synonyms(wordnet, word)));
    let chosen: Vec<(&str, &str)> = found
        .filter(|(.., synonyms)| !synonyms.is_empty())
        .map(|(place, word, synonyms)| (word, synonyms[random.at(1).below(place, synonyms.len())]))
        .take(n)
        .collect();
    for (word, synonym) in chosen {
        words.iter_mut().filter(|other| **other == word).for_each(|other| *other = synonym);
    }
    words
}

fn insert<'a>(wordnet: &'a WordNet, mut words: Vec<&'a str>, n: usize, random: Random) -> Vec<&'a str> {
    const TRIES: u64 = 10;
    for time in 0..n as u64 {
        let random = random.at(time);
        let draw = |i| synonyms(wordnet, words[random.at(0).below(i, words.len())]).first().copied();
        // The program makes a tenth draw and does not use it.
        if let Some(synonym) = (0..TRIES - 1).find_map(draw) {
            words.insert(random.at(1).below(0, words.len()), synonym);
        }
    }
    words
}

fn swap(mut words: Vec<&str>, n: usize, random: Random) -> Vec<&str> {
    const TRIES: u64 = 4;
    for time in 0..n as u64 {
        let random = random.at(time);
        let first = random.at(0).below(0, words.len());
        let others = (0..TRIES - 1).map(|i| random.at(1).below(i, words.len()));
        if let Some(other) = others.into_iter().find(|other| *other != first) {
            words.swap(first, other);
        }
    }
    words
}

fn delete(words: Vec<&str>, rate: f64, random: Random) -> Vec<&str> {
    if words.len() == 1 {
        return words;
    }
    let one = words[random.at(1).below(0, words.len())];
    let left: Vec<&str> =
        (0..).zip(words).filter(|(i, _)| random.at(0).unit(*i) > rate).map(|(_, word)| word).collect();
    if left.is_empty() { vec![one] } else { left }
}

/// The stop words of the program.
const STOP_WORDS: &str = "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her \
    hers herself it its itself they them their theirs themselves what which who whom this that these those am is are \
    was were be been being have has had having do does did doing a an the and but if or because as until while of at \
    by for with about against between into through during before after above below to from up down in out on off \
    over under again further then once here there when where why how all any both each few more most other some such \
    no nor not only own same so than too very s t can will just don should now";

#[cfg(test)]
mod tests {
    use super::*;
    use plateau_random::Purpose;

    const DRAWS: u64 = 10_000;

    /// Checks a share of 10,000 draws within four standard deviations.
    fn check(hits: usize, expected: f64, what: &str) {
        let (share, deviation) = (hits as f64 / DRAWS as f64, (expected * (1.0 - expected) / DRAWS as f64).sqrt());
        assert!((share - expected).abs() <= 4.0 * deviation + 1e-9, "{what}: {share}, expected {expected}");
    }

    fn draws() -> impl Iterator<Item = Random> {
        (0..DRAWS).map(|seed| Random::new(seed, Purpose::Augmentation))
    }

    #[test]
    fn the_text_is_cleaned_like_in_the_program() {
        let clean = |text| version(WordNet::embedded(), text, 0.1, 3, 3, Random::new(0, Purpose::Augmentation));
        assert_eq!(
            clean("It's  THE well-known 'doctor’s' trick, n°2!\n\tYes"),
            "its the well known doctors trick n yes"
        );
        assert_eq!(clean("42 !"), "42 !");
    }

    #[test]
    fn deletions_are_binomial_and_never_take_all() {
        let words = || vec!["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let mut counts = [0usize; 11];
        draws().for_each(|random| counts[10 - delete(words(), 0.3, random).len()] += 1);
        let mut choose = 1.0;
        for (gone, &count) in counts.iter().enumerate().take(8) {
            check(count, choose * 0.3f64.powi(gone as i32) * 0.7f64.powi(10 - gone as i32), &format!("{gone} gone"));
            choose *= (10 - gone) as f64 / (gone + 1) as f64;
        }
        assert_eq!(counts[10], 0);
        let left = draws().filter(|random| delete(vec!["a", "b"], 1.0, *random) == ["a"]).count();
        check(left, 0.5, "which of two is left");
        assert_eq!(delete(vec!["a"], 1.0, Random::new(0, Purpose::Augmentation)), ["a"]);
    }

    #[test]
    fn a_swap_of_two_words_fails_as_often_as_three_draws_do() {
        for (count, fails) in [(2, 0.125), (4, 1.0 / 64.0)] {
            let words = ["a", "b", "c", "d"][..count].to_vec();
            let same = draws().filter(|random| swap(words.clone(), 1, *random) == words).count();
            check(same, fails, &format!("no swap among {count}"));
        }
        let moved = draws().filter(|random| swap(vec!["a", "b", "c"], 1, *random) == ["b", "a", "c"]).count();
        check(moved, (1.0 - 1.0 / 27.0) / 3.0, "one of three pairs");
    }

    #[test]
    fn insertions_are_n_and_never_at_the_end() {
        let wordnet = WordNet::embedded();
        let first = synonyms(wordnet, "doctor")[0];
        let mut places = [0usize; 3];
        for random in draws() {
            let words = insert(wordnet, vec!["doctor", "the", "of"], 1, random);
            match words.iter().position(|word| *word == first) {
                Some(place) => places[place] += 1,
                None => assert_eq!(words, ["doctor", "the", "of"]),
            }
        }
        // There are nine tries to draw the only word with a synonym.
        let found = 1.0 - (2.0f64 / 3.0).powi(9);
        for (place, &count) in places.iter().enumerate() {
            check(count, found / 3.0, &format!("before word {place}"));
        }
        let none = insert(wordnet, vec!["the", "of"], 3, Random::new(0, Purpose::Augmentation));
        assert_eq!(none, ["the", "of"]);
        assert_eq!(insert(wordnet, vec!["doctor"], 4, Random::new(0, Purpose::Augmentation)).len(), 5);
    }

    #[test]
    fn every_occurrence_of_n_distinct_words_is_replaced_by_any_lemma() {
        let wordnet = WordNet::embedded();
        let words = || vec!["the", "doctor", "saw", "a", "doctor", "profit"];
        let (doctor, profit) = (synonyms(wordnet, "doctor"), synonyms(wordnet, "profit"));
        let mut replaced = [0usize; 3];
        let mut lemmas = vec![0usize; doctor.len()];
        for random in draws() {
            let new = replace(wordnet, words(), 1, random);
            assert_eq!((new[0], new[3], new[1]), ("the", "a", new[4]), "stop words stay, both occurrences change");
            let changed = [new[1] != "doctor", new[2] != "saw", new[5] != "profit"];
            assert_eq!(changed.iter().filter(|changed| **changed).count(), 1);
            changed.iter().zip(&mut replaced).for_each(|(changed, count)| *count += usize::from(*changed));
            if changed[0] {
                lemmas[doctor.iter().position(|lemma| *lemma == new[1]).unwrap()] += 1;
            }
        }
        for count in replaced {
            check(count, 1.0 / 3.0, "each of the three words");
        }
        for (lemma, &count) in doctor.iter().zip(&lemmas) {
            check(count, 1.0 / 3.0 / doctor.len() as f64, lemma);
        }
        assert!(profit.contains(&"gain") && profit.contains(&"lucre"));
        assert_ne!(replace(wordnet, words(), 9, Random::new(0, Purpose::Augmentation))[5], "profit");
    }

    #[test]
    fn copies_are_drawn_from_equal_shares_of_the_four() {
        // The number of words tells which technique was used. With 3 copies each technique makes one variant.
        let text = "doctor doctors profit profits";
        let count = |words: usize| {
            let version = |random| version(WordNet::embedded(), text, 0.1, 3, 0, random);
            draws().map(version).filter(|text| text.split(' ').count() == words).count()
        };
        check(count(5), 0.25, "insertions");
        check(count(3), 0.25 * 4.0 * 0.1 * 0.9f64.powi(3), "deletions of one word");
    }
}
