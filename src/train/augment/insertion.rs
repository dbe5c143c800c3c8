//! Random insertion: as many times as the rate says, a synonym of a random word is put before a random word.

use super::edits::count;
use super::safe::Rules;
use super::synonym::Substitutes;
use super::wordnet::WordNet;
use super::words::Words;
use crate::train::random::Random;

/// The text with synonyms of its words put into it; itself if no word has one.
pub(super) fn insert(wordnet: &WordNet, text: &str, rate: f64, random: Random) -> String {
    let words = Words::parse(text);
    let rules = Rules::new(&words);
    let places: Vec<usize> = (0..words.len()).filter(|&index| rules.may_be_preceded(index)).collect();
    let substitutes = Substitutes::new(wordnet, &words, true);
    let sources: Vec<Vec<String>> =
        (0..words.len()).map(|index| substitutes.of(index)).filter(|found| !found.is_empty()).collect();
    if sources.is_empty() || places.is_empty() {
        return text.to_owned();
    }
    let mut put: Vec<(usize, String)> = (0..count(rate, words.len()) as u64)
        .map(|time| {
            let candidates = &sources[random.at(0).below(time, sources.len())];
            let chosen = &candidates[random.at(1).below(time, candidates.len())];
            (places[random.at(2).below(time, places.len())], format!("{chosen} "))
        })
        .collect();
    put.sort_by_key(|(place, _)| *place);
    words.with_before(put.iter().map(|(place, word)| (*place, word.as_str())))
}
