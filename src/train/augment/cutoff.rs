//! Token cutoff (Shen et al. 2020): a share of an example's word pieces is left out of the packed sequence while the others
//! keep their positions. Nobody attends to what is not there, and it adds nothing to a mean: the same as masking it out
//! of attention and input. Special tokens stay, and so do the pieces of words that must not be deleted.

use std::ops::Range;

use super::safe::Rules;
use super::words::Words;
use crate::train::data::{Example, Piece};
use crate::train::random::Random;

/// Which pieces go.
#[derive(Debug, Clone, Copy)]
pub struct Cutoff {
    rate: f64,
    random: Random,
}

impl Cutoff {
    pub(super) fn new(rate: f64, random: Random) -> Self {
        Self { rate, random }
    }

    /// Whether each token of the variant of example `index` stays in `epoch`. `round(rate * pieces)` of its pieces go, one
    /// at least if the rate is above 0, and never all.
    #[must_use]
    pub fn kept(&self, epoch: u64, index: usize, variant: &Example, pieces: &[Option<Piece>]) -> Vec<bool> {
        let texts = std::iter::once(&variant.text).chain(&variant.pair);
        let protected: Vec<Vec<Range<usize>>> = texts.map(|text| protected(text)).collect();
        let count = pieces.iter().flatten().count();
        let free = |(side, piece): &Piece| {
            protected.get(*side).is_none_or(|words| words.iter().all(|w| w.end <= piece.start || piece.end <= w.start))
        };
        let mut order: Vec<usize> =
            (0..pieces.len()).filter(|&place| pieces[place].as_ref().is_some_and(free)).collect();
        self.random.at(epoch).at(index as u64).shuffle(&mut order);
        let wanted = if self.rate > 0.0 { super::edits::count(self.rate, count) } else { 0 };
        let mut kept = vec![true; pieces.len()];
        for &place in order.iter().take(wanted.min(count.saturating_sub(1))) {
            kept[place] = false;
        }
        kept
    }
}

/// Where the words stand that must not be deleted.
fn protected(text: &str) -> Vec<Range<usize>> {
    let words = Words::parse(text);
    let rules = Rules::new(&words);
    (0..words.len()).filter(|&index| !rules.may_be_deleted(index)).map(|index| words.place(index)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::random::Purpose;

    #[test]
    fn a_share_goes_and_what_must_stay_stays() {
        let text = "it is not good at all";
        let mut pieces = vec![None];
        let mut at = 0;
        for word in text.split(' ') {
            pieces.push(Some((0, at..at + word.len())));
            at += word.len() + 1;
        }
        pieces.push(None);
        let cutoff = |rate| Cutoff::new(rate, Random::new(3, Purpose::Cutoff));
        let example = |text: &str| Example { text: text.to_owned(), pair: None, label: 0 };
        let gone =
            |rate, epoch| cutoff(rate).kept(epoch, 0, &example(text), &pieces).iter().filter(|kept| !**kept).count();
        assert_eq!((gone(0.0, 0), gone(0.1, 0), gone(0.5, 0), gone(1.0, 0)), (0, 1, 3, 5));
        let mut seen = std::collections::BTreeSet::new();
        for epoch in 0..200 {
            let kept = cutoff(0.3).kept(epoch, 0, &example(text), &pieces);
            assert!(kept[0] && kept[3] && kept[7], "[CLS], not and [SEP] stay: {kept:?}");
            seen.insert(kept);
        }
        assert_eq!(seen.len(), 10, "every two of the five");
        assert_eq!(cutoff(1.0).kept(0, 0, &example("a"), &[None, Some((0, 0..1)), None]), [true; 3], "one piece stays");
    }
}
