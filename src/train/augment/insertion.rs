//! Random insertion: inserts a synonym of a random word before a random word, several times.

use super::edits::edit_count;
use super::protection::EditRules;
use super::synonym::SynonymFinder;
use super::tokenize::Words;
use super::wordnet::WordNet;
use plateau_random::Random;

/// The text with inserted synonyms; unchanged if no word has a synonym.
pub(super) fn insert(wordnet: &WordNet, text: &str, rate: f64, random: Random) -> String {
    let words = Words::parse(text);
    let rules = EditRules::new(&words);
    let places: Vec<usize> = (0..words.len()).filter(|&index| rules.may_be_preceded(index)).collect();
    let synonyms = SynonymFinder::new(wordnet, &words, true);
    let sources: Vec<Vec<String>> =
        (0..words.len()).map(|index| synonyms.of(index)).filter(|found| !found.is_empty()).collect();
    if sources.is_empty() || places.is_empty() {
        return text.to_owned();
    }
    let mut inserted: Vec<(usize, String)> = (0..edit_count(rate, words.len()) as u64)
        .map(|time| {
            let candidates = &sources[random.at(0).below(time, sources.len())];
            let chosen = &candidates[random.at(1).below(time, candidates.len())];
            (places[random.at(2).below(time, places.len())], format!("{chosen} "))
        })
        .collect();
    inserted.sort_by_key(|(place, _)| *place);
    words.with_insertions(inserted.iter().map(|(place, word)| (*place, word.as_str())))
}
