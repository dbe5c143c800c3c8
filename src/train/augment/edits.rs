//! Edits that need no lexicon: deletion and swap of words, and marks between them.

use super::safe::Rules;
use super::words::Words;
use crate::train::random::Random;

/// How many words a share of them is: one at least.
pub(super) fn count(rate: f64, words: usize) -> usize {
    ((rate * words as f64).round() as usize).max(1)
}

/// Each word that may be deleted goes with probability `rate`; one word at least stays.
pub(super) fn delete(text: &str, rate: f64, random: Random) -> String {
    let words = Words::parse(text);
    let rules = Rules::new(&words);
    let mut gone: Vec<bool> =
        (0..words.len()).map(|i| rules.may_be_deleted(i) && random.at(0).unit(i as u64) < rate).collect();
    if !gone.is_empty() && gone.iter().all(|&gone| gone) {
        gone[random.at(1).below(0, words.len())] = false;
    }
    words.without(&gone)
}

/// [`count`] times, two words drawn at random change places; punctuation stays where it is.
pub(super) fn swap(text: &str, rate: f64, random: Random) -> String {
    let words = Words::parse(text);
    if words.len() < 2 {
        return text.to_owned();
    }
    let mut order: Vec<usize> = (0..words.len()).collect();
    for time in 0..count(rate, words.len()) as u64 {
        let first = random.at(0).below(time, words.len());
        let other = random.at(1).below(time, words.len() - 1);
        order.swap(first, if other < first { other } else { other + 1 });
    }
    words.rebuild(|index| words.word(order[index]))
}

const MARKS: [&str; 6] = [". ", ", ", "! ", "? ", "; ", ": "];

/// 1 to `share` of the words, drawn, get a mark before them (AEDA, Karimi et al. 2021); no word changes.
pub(super) fn punctuate(text: &str, share: f64, random: Random) -> String {
    let words = Words::parse(text);
    let rules = Rules::new(&words);
    let mut places: Vec<usize> = (0..words.len()).filter(|&index| rules.may_be_preceded(index)).collect();
    let most = ((share * words.len() as f64) as usize).max(1);
    random.at(0).shuffle(&mut places);
    places.truncate(1 + random.at(1).below(0, most));
    places.sort_unstable();
    words.with_before(places.into_iter().map(|index| (index, MARKS[random.at(2).below(index as u64, MARKS.len())])))
}
