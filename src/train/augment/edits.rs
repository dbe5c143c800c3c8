//! Edits that need no lexicon: deletion and swap of words.

use super::words::{Kind, Words};
use crate::train::random::Random;

/// Each word goes with probability `rate`; negations, numbers, links, @names, hashtags and emoticons stay, and one word
/// at least.
pub(super) fn delete(text: &str, rate: f64, random: Random) -> String {
    let words = Words::parse(text);
    let mut gone: Vec<bool> =
        (0..words.len()).map(|i| words.kind(i) == Kind::Free && random.at(0).unit(i as u64) < rate).collect();
    if !gone.is_empty() && gone.iter().all(|&gone| gone) {
        gone[random.at(1).below(0, words.len())] = false;
    }
    words.without(&gone)
}

/// `max(1, round(rate * words))` times, two words drawn at random change places; punctuation stays where it is.
pub(super) fn swap(text: &str, rate: f64, random: Random) -> String {
    let words = Words::parse(text);
    let count = words.len();
    if count < 2 {
        return text.to_owned();
    }
    let mut order: Vec<usize> = (0..count).collect();
    for time in 0..((rate * count as f64).round() as u64).max(1) {
        let first = random.at(0).below(time, count);
        let other = random.at(1).below(time, count - 1);
        order.swap(first, if other < first { other } else { other + 1 });
    }
    words.rebuild(|index| words.word(order[index]))
}
