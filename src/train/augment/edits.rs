//! Edits without a lexicon: deletion of words, swaps of words, and inserted punctuation marks.

use super::protection::EditRules;
use super::tokenize::Words;
use plateau_random::Random;

/// The number of words to change: a share `rate` of `words`, at least one.
pub(super) fn edit_count(rate: f64, words: usize) -> usize {
    ((rate * words as f64).round() as usize).max(1)
}

/// Deletes each word that may be deleted with probability `rate`. At least one word stays.
pub(super) fn delete(text: &str, rate: f64, random: Random) -> String {
    let words = Words::parse(text);
    let rules = EditRules::new(&words);
    let mut deleted: Vec<bool> =
        (0..words.len()).map(|i| rules.may_be_deleted(i) && random.at(0).unit(i as u64) < rate).collect();
    if !deleted.is_empty() && deleted.iter().all(|&deleted| deleted) {
        deleted[random.at(1).below(0, words.len())] = false;
    }
    words.without(&deleted)
}

/// Swaps two random words, [`edit_count`] times. Punctuation stays in its place.
pub(super) fn swap(text: &str, rate: f64, random: Random) -> String {
    let words = Words::parse(text);
    if words.len() < 2 {
        return text.to_owned();
    }
    let mut order: Vec<usize> = (0..words.len()).collect();
    for time in 0..edit_count(rate, words.len()) as u64 {
        let first = random.at(0).below(time, words.len());
        let other = random.at(1).below(time, words.len() - 1);
        order.swap(first, if other < first { other } else { other + 1 });
    }
    words.rebuild(|index| words.word(order[index]))
}

const MARKS: [&str; 6] = [". ", ", ", "! ", "? ", "; ", ": "];

/// Inserts a punctuation mark before 1 to `share * words` random words (AEDA, Karimi et al. 2021).
pub(super) fn punctuate(text: &str, share: f64, random: Random) -> String {
    let words = Words::parse(text);
    let rules = EditRules::new(&words);
    let mut places: Vec<usize> = (0..words.len()).filter(|&index| rules.may_be_preceded(index)).collect();
    let most = ((share * words.len() as f64) as usize).max(1);
    random.at(0).shuffle(&mut places);
    places.truncate(1 + random.at(1).below(0, most));
    places.sort_unstable();
    words.with_insertions(places.into_iter().map(|index| (index, MARKS[random.at(2).below(index as u64, MARKS.len())])))
}
