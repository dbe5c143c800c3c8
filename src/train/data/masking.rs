//! Masks for masked language modelling (Devlin et al. 2019): of the tokens of a text 15 % are to be predicted. Of these, 80 % are
//! replaced by the mask token, 10 % by a random one, and 10 % stay.
//!
//! The masks depend on the seed, the epoch and the example alone. At least one token of each text is masked.

use super::dataset::{Dataset, Split};
use super::encoder::Encoder;
use super::tokens::{NO_OUTPUT, Tokens};
use crate::train::TrainError;
use plateau_random::{Purpose, Random};

/// Share of the tokens that are predicted.
const MASKED: f64 = 0.15;
/// Of these, the share that is replaced by the mask token, and that which is replaced by it or by a random token.
const HIDDEN: f64 = 0.8;
const CHANGED: f64 = 0.9;

/// How tokens are masked.
#[derive(Debug, Clone, Copy)]
pub struct Masking {
    mask: u32,
    /// Random tokens are below this id.
    vocabulary: usize,
    random: Random,
}

impl Masking {
    /// # Errors
    /// If the tokenizer has no mask token.
    pub fn new(encoder: &Encoder, seed: u64) -> Result<Self, TrainError> {
        let mask = encoder.mask_token().ok_or_else(|| {
            let message =
                "task: masked_lm needs a tokenizer with a mask token ([MASK] or <mask>); use another checkpoint";
            TrainError::key("model.from", message.to_owned())
        })?;
        Ok(Self { mask, vocabulary: encoder.vocabulary_size(), random: Random::new(seed, Purpose::Masking) })
    }

    /// Both splits with masks that stay the same.
    #[must_use]
    pub fn dataset(&self, dataset: Dataset) -> Dataset {
        let masked = |split: Split, number: u64| {
            let tokens = self.masked(&split.tokens, self.random.at(0).at(number));
            Split { tokens, ..split }
        };
        Dataset { train: masked(dataset.train, 0), eval: masked(dataset.eval, 1), ..dataset }
    }

    /// The tokens with the masks of `epoch` (from 0). The output of each token is the token itself.
    #[must_use]
    pub fn epoch(&self, tokens: &Tokens, epoch: u64) -> Tokens {
        self.masked(tokens, self.random.at(epoch + 1))
    }

    fn masked(&self, tokens: &Tokens, random: Random) -> Tokens {
        let mut masked = tokens.clone();
        masked.outputs.fill(NO_OUTPUT);
        for example in 0..tokens.len() {
            let random = random.at(example as u64);
            let first = tokens.offsets[example];
            let draw = |token: u32| random.at(0).unit(u64::from(token - first));
            let all = || tokens.outputs_of(example);
            let lowest = all().map(|(token, _)| draw(token)).fold(f64::INFINITY, f64::min);
            for (token, id) in all().filter(|(token, _)| draw(*token) < MASKED || draw(*token) <= lowest) {
                masked.outputs[token as usize] = id;
                let place = u64::from(token - first);
                masked.ids[token as usize] = match random.at(1).unit(place) {
                    kind if kind < HIDDEN => self.mask,
                    kind if kind < CHANGED => random.at(2).below(place, self.vocabulary) as u32,
                    _ => id,
                };
            }
        }
        masked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 400 texts of 20 tokens between two special ones.
    fn tokens() -> Tokens {
        let text = |_| std::iter::once(1).chain(10..30).chain([2]);
        let ids: Vec<u32> = (0..400).flat_map(text).collect();
        let outputs = ids.iter().map(|&id| if id < 10 { NO_OUTPUT } else { id }).collect();
        let types = vec![0; ids.len()];
        Tokens { outputs, ..Tokens::whole(ids, types, (0..=400).map(|i| 22 * i).collect()) }
    }

    fn masking() -> Masking {
        Masking { mask: 5, vocabulary: 50, random: Random::new(3, Purpose::Masking) }
    }

    #[test]
    fn a_seventh_of_the_tokens_is_masked_and_most_of_these_are_hidden() {
        let (whole, masked) = (tokens(), masking().epoch(&tokens(), 2));
        let changed: Vec<usize> = (0..whole.ids.len()).filter(|&i| masked.outputs[i] != NO_OUTPUT).collect();
        assert!(changed.iter().all(|&i| masked.outputs[i] == whole.ids[i] && whole.ids[i] >= 10));
        assert!((0..whole.ids.len()).all(|i| changed.contains(&i) || masked.ids[i] == whole.ids[i]));
        let share = |n: usize, of: usize| n as f64 / of as f64;
        assert!((share(changed.len(), 8000) - 0.15).abs() < 0.02, "{}", changed.len());
        let hidden = changed.iter().filter(|&&i| masked.ids[i] == 5).count();
        let kept = changed.iter().filter(|&&i| masked.ids[i] == whole.ids[i]).count();
        assert!((share(hidden, changed.len()) - 0.8).abs() < 0.05, "{hidden}");
        assert!((share(kept, changed.len()) - 0.1).abs() < 0.04, "{kept}");
        assert!((0..400).all(|example| masked.target_count(example) > 0));
    }

    #[test]
    fn masks_are_drawn_anew_for_each_epoch_and_depend_on_the_seed() {
        let masking = masking();
        assert_eq!(masking.epoch(&tokens(), 0), masking.epoch(&tokens(), 0));
        assert_ne!(masking.epoch(&tokens(), 0), masking.epoch(&tokens(), 1));
        let other = Masking { random: Random::new(4, Purpose::Masking), ..masking };
        assert_ne!(masking.epoch(&tokens(), 0), other.epoch(&tokens(), 0));
    }
}
