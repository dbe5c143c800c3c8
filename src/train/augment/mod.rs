//! Text augmentation of the training split.
//!
//! Guarantees: a variant is a function of (seed, epoch, example) alone; the label stays. Safe by default: negations,
//! numbers, links, @names, hashtags and emoticons are never deleted or replaced, stop words never replaced, punctuation
//! and case stay. The two sides of a sentence pair are augmented each on its own. The methods are English; other texts
//! pass through `synonym` unchanged.
//!
//! | method | does |
//! |---|---|
//! | `synonym` | `max(1, round(rate * words))` words replaced by a WordNet synonym in the same inflection |
//! | `random_deletion` | each word goes with probability `rate`; one at least stays |
//! | `random_swap` | `max(1, round(rate * words))` times, two random words change places |
//!
//! What a word is stands with `words`. Making variants ahead of time is left to [`super::data::Epochs`].

mod edits;
mod grammar;
mod inflection;
mod lexicon;
mod synonym;
mod wordnet;
mod words;

use super::TrainError;
use super::data::Example;
use super::random::{Purpose, Random};
use crate::trial::Augmentation;
use wordnet::WordNet;

/// Methods applied in turn.
#[derive(Debug, Clone)]
pub struct Augmenter {
    methods: Vec<Augmentation>,
    random: Random,
}

impl Augmenter {
    /// A rate outside 0..1 is an error.
    pub fn new(methods: &[Augmentation], seed: u64) -> Result<Self, TrainError> {
        for method in methods {
            let (name, rate) = match method {
                Augmentation::Synonym { rate } => ("synonym", rate),
                Augmentation::RandomDeletion { rate } => ("random_deletion", rate),
                Augmentation::RandomSwap { rate } => ("random_swap", rate),
            };
            if !(0.0..=1.0).contains(rate) {
                return Err(TrainError::Input(format!("augmentation {name}: the rate is {rate}; it lies in 0..1")));
            }
        }
        Ok(Self { methods: methods.to_vec(), random: Random::new(seed, Purpose::Augmentation) })
    }

    /// Whether every variant is the example itself.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.methods.is_empty()
    }

    /// The variant of example `index` in `epoch`.
    #[must_use]
    pub fn apply(&self, epoch: u64, index: usize, example: &Example) -> Example {
        let random = self.random.at(epoch).at(index as u64);
        Example {
            text: self.vary(&example.text, random.at(0)),
            pair: example.pair.as_ref().map(|pair| self.vary(pair, random.at(1))),
            label: example.label,
        }
    }

    fn vary(&self, text: &str, random: Random) -> String {
        (0..).zip(&self.methods).fold(text.to_owned(), |text, (place, method)| {
            let random = random.at(place);
            match *method {
                Augmentation::Synonym { rate } => synonym::replace(WordNet::embedded(), &text, rate, random),
                Augmentation::RandomDeletion { rate } => edits::delete(&text, rate, random),
                Augmentation::RandomSwap { rate } => edits::swap(&text, rate, random),
            }
        })
    }
}

#[cfg(test)]
mod laws;
