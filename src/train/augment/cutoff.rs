//! Token cutoff (Shen et al. 2020): removes a share of the word pieces of an example. The other pieces keep their positions.
//!
//! A removed piece is neither attended to nor part of a mean. This equals masking it out of attention and input. Special
//! tokens and the pieces of protected words stay.

use std::ops::Range;

use super::protection::EditRules;
use super::tokenize::Words;
use crate::train::data::{Example, TokenSpan};
use plateau_random::Random;

/// Decides which word pieces are removed.
#[derive(Debug, Clone, Copy)]
pub struct Cutoff {
    rate: f64,
    random: Random,
}

impl Cutoff {
    pub(super) fn new(rate: f64, random: Random) -> Self {
        Self { rate, random }
    }

    /// For each token of a sequence, whether it stays in `epoch`. `round(rate * pieces)` pieces are removed: at least one if
    /// the rate is above 0, but never all. `place`: the index of the example, and the number of the sequence in it.
    #[must_use]
    pub fn kept(&self, epoch: u64, place: (usize, usize), variant: &Example, spans: &[Option<TokenSpan>]) -> Vec<bool> {
        let texts = std::iter::once(&variant.text).chain(&variant.pair);
        let protected: Vec<Vec<Range<usize>>> = texts.map(|text| protected(text)).collect();
        let count = spans.iter().flatten().count();
        let editable = |(side, piece): &TokenSpan| {
            protected.get(*side).is_none_or(|words| words.iter().all(|w| w.end <= piece.start || piece.end <= w.start))
        };
        let mut order: Vec<usize> =
            (0..spans.len()).filter(|&place| spans[place].as_ref().is_some_and(editable)).collect();
        let random = self.random.at(epoch).at(place.0 as u64);
        let random = if place.1 == 0 { random } else { random.at(place.1 as u64) };
        random.shuffle(&mut order);
        let wanted = if self.rate > 0.0 { super::edits::edit_count(self.rate, count) } else { 0 };
        let mut kept = vec![true; spans.len()];
        for &place in order.iter().take(wanted.min(count.saturating_sub(1))) {
            kept[place] = false;
        }
        kept
    }
}

/// The byte ranges of the words that must not be deleted.
fn protected(text: &str) -> Vec<Range<usize>> {
    let words = Words::parse(text);
    let rules = EditRules::new(&words);
    (0..words.len()).filter(|&index| !rules.may_be_deleted(index)).map(|index| words.span(index)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use plateau_random::Purpose;

    #[test]
    fn a_share_of_the_pieces_is_removed_and_protected_words_stay() {
        let text = "it is not good at all";
        let mut pieces = vec![None];
        let mut at = 0;
        for word in text.split(' ') {
            pieces.push(Some((0, at..at + word.len())));
            at += word.len() + 1;
        }
        pieces.push(None);
        let cutoff = |rate| Cutoff::new(rate, Random::new(3, Purpose::Cutoff));
        let example = |text: &str| Example::unlabelled(text);
        let gone = |rate, epoch| {
            cutoff(rate).kept(epoch, (0, 0), &example(text), &pieces).iter().filter(|kept| !**kept).count()
        };
        assert_eq!((gone(0.0, 0), gone(0.1, 0), gone(0.5, 0), gone(1.0, 0)), (0, 1, 3, 5));
        let mut seen = std::collections::BTreeSet::new();
        for epoch in 0..200 {
            let kept = cutoff(0.3).kept(epoch, (0, 0), &example(text), &pieces);
            assert!(kept[0] && kept[3] && kept[7], "[CLS], not and [SEP] stay: {kept:?}");
            seen.insert(kept);
        }
        assert_eq!(seen.len(), 10, "every two of the five");
        assert_eq!(
            cutoff(1.0).kept(0, (0, 0), &example("a"), &[None, Some((0, 0..1)), None]),
            [true; 3],
            "one piece stays"
        );
    }
}
