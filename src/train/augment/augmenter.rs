//! A sequence of augmentation methods, applied to one example at a time.

use super::context::AugmentContext;
use super::cutoff::Cutoff;
use super::method::{Draw, Method, check_numbers};
use crate::train::TrainError;
use crate::train::data::Example;
use crate::trial::Augmentation;
use plateau_random::{Purpose, Random};

/// Makes the variants of examples. The methods are applied in their order.
#[derive(Debug, Clone)]
pub struct Augmenter {
    methods: Vec<Method>,
    cutoff: Option<Cutoff>,
    random: Random,
}

/// Takes the place of the epoch in draws that are the same in all epochs.
const EVERY_EPOCH: u64 = u64::MAX;

impl Augmenter {
    /// Computes the suggestions that are not in the cache yet. A rate outside 0..1 is an error.
    pub fn new(methods: &[Augmentation], seed: u64, context: &AugmentContext<'_>) -> Result<Self, TrainError> {
        let mut augmenter =
            Self { methods: Vec::new(), cutoff: None, random: Random::new(seed, Purpose::Augmentation) };
        for (place, method) in (0..).zip(methods) {
            check_numbers(method)?;
            match method {
                Augmentation::TokenCutoff { rate } => {
                    augmenter.cutoff = Some(Cutoff::new(*rate, Random::new(seed, Purpose::Cutoff).at(place)));
                }
                // Mixup changes the outputs of the model, not the texts.
                Augmentation::Mixup { .. } => {}
                _ => augmenter.methods.push(Method::new(method, context)?),
            }
        }
        Ok(augmenter)
    }

    /// Whether no method changes the tokens of an example.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.methods.is_empty() && self.cutoff.is_none()
    }

    /// Decides which word pieces of a variant are left out.
    #[must_use]
    pub fn cutoff(&self) -> Option<&Cutoff> {
        self.cutoff.as_ref()
    }

    /// The variant of example `index` in `epoch`.
    #[must_use]
    pub fn apply(&self, epoch: u64, index: usize, example: &Example) -> Example {
        let random = |epoch, side| self.random.at(epoch).at(index as u64).at(side);
        let draw = |side| Draw { this_epoch: random(epoch, side), all_epochs: random(EVERY_EPOCH, side), epoch };
        Example {
            text: self.vary(&example.text, draw(0)),
            pair: example.pair.as_ref().map(|pair| self.vary(pair, draw(1))),
            // A change could turn a wrong choice into the right one.
            choices: example.choices.clone(),
            target: example.target.clone(),
        }
    }

    fn vary(&self, text: &str, draw: Draw) -> String {
        (0..).zip(&self.methods).fold(text.to_owned(), |text, (place, method)| method.vary(&text, draw.at(place)))
    }
}
