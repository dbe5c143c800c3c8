//! The augmentation methods that change texts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::context::AugmentContext;
use super::suggestions::{self, SuggestionTable};
use super::wordnet::WordNet;
use super::{command, contextual_synonym, eda, edits, insertion, marian, masked_lm, synonym};
use crate::train::TrainError;
use crate::train::data::{DataError, DataErrorKind};
use crate::trial::{Augmentation, Choose, Translator};
use plateau_random::Random;

/// A method with its parameters and resources.
#[derive(Debug, Clone)]
pub(super) enum Method {
    Synonym {
        rate: f64,
        first: bool,
        pos: bool,
        wordnet: Arc<WordNet>,
    },
    /// `synonym` with `choose: context`, and `contextual`.
    SuggestedWords {
        rate: f64,
        suggestions: SuggestionTable,
    },
    BackTranslation {
        suggestions: SuggestionTable,
    },
    Insertion {
        rate: f64,
        wordnet: Arc<WordNet>,
    },
    Swap {
        rate: f64,
    },
    Deletion {
        rate: f64,
    },
    Eda {
        alpha: f64,
        wordnet: Arc<WordNet>,
    },
    EdaExact {
        alpha: f64,
        copies: usize,
        wordnet: Arc<WordNet>,
    },
    Aeda {
        share: f64,
    },
}

/// The random numbers for one text of an example.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw {
    /// Other numbers in each epoch.
    pub this_epoch: Random,
    /// The same numbers in all epochs.
    pub all_epochs: Random,
    pub epoch: u64,
}

impl Draw {
    /// The numbers for the method at `place` in the list of methods.
    pub fn at(self, place: u64) -> Self {
        Self { this_epoch: self.this_epoch.at(place), all_epochs: self.all_epochs.at(place), ..self }
    }
}

impl Method {
    /// Reads the resources of the method and computes its suggestions.
    pub fn new(method: &Augmentation, context: &AugmentContext<'_>) -> Result<Self, TrainError> {
        let named_lexicon = |wordnet: &Option<String>| match wordnet {
            None => Ok((Arc::clone(WordNet::embedded()), "embedded".to_owned())),
            Some(folder) => WordNet::read(Path::new(folder)).map(|(wordnet, hash)| (Arc::new(wordnet), hash)),
        };
        let lexicon = |wordnet: &Option<String>| named_lexicon(wordnet).map(|(wordnet, _)| wordnet);
        Ok(match method {
            Augmentation::Synonym { rate, choose: Choose::Context, pos, wordnet } => {
                let (wordnet, name) = named_lexicon(wordnet)?;
                Self::SuggestedWords {
                    rate: *rate,
                    suggestions: contextual_synonym::nearest_synonyms(context, &wordnet, &name, *pos)?,
                }
            }
            Augmentation::Synonym { rate, choose, pos, wordnet } => {
                Self::Synonym { rate: *rate, first: *choose == Choose::First, pos: *pos, wordnet: lexicon(wordnet)? }
            }
            Augmentation::Contextual { rate, top_k, model } => {
                let model = model.as_deref().unwrap_or(context.model);
                Self::SuggestedWords { rate: *rate, suggestions: masked_lm::predicted_words(context, model, *top_k)? }
            }
            Augmentation::BackTranslation { engine, out, home, timeout, beams, samples } => {
                let (Some(out), Some(home)) = (out, home) else {
                    return Err(invalid("back_translation needs `out` and `home`".to_owned()));
                };
                let suggestions = match engine {
                    Translator::Command => {
                        command::back_translate(context, out, home, Duration::from_secs_f64(timeout.clamp(0.0, 1e9)))?
                    }
                    Translator::Marian => marian::back_translate(context, [out, home], (*beams).max(1), *samples)?,
                };
                Self::BackTranslation { suggestions }
            }
            Augmentation::RandomInsertion { rate, wordnet } => {
                Self::Insertion { rate: *rate, wordnet: lexicon(wordnet)? }
            }
            Augmentation::RandomSwap { rate } => Self::Swap { rate: *rate },
            Augmentation::RandomDeletion { rate } => Self::Deletion { rate: *rate },
            Augmentation::Eda { alpha, wordnet } => Self::Eda { alpha: *alpha, wordnet: lexicon(wordnet)? },
            Augmentation::EdaExact { alpha, copies, wordnet } => {
                Self::EdaExact { alpha: *alpha, copies: *copies, wordnet: lexicon(wordnet)? }
            }
            Augmentation::Aeda { share } => Self::Aeda { share: *share },
            Augmentation::TokenCutoff { .. } | Augmentation::Mixup { .. } => {
                return Err(invalid(format!("{} does not change texts", method.name())));
            }
        })
    }

    /// A variant of `text`.
    pub fn vary(&self, text: &str, draw: Draw) -> String {
        let random = draw.this_epoch;
        match self {
            Self::Synonym { rate, first, pos, wordnet } => {
                let any = random.at(1);
                synonym::replace(wordnet, text, *rate, *pos, random, |index, candidates| {
                    if *first { 0 } else { any.below(index as u64, candidates.len()) }
                })
            }
            Self::SuggestedWords { rate, suggestions } => match suggestions.get(text) {
                Some(found) => synonym::replace_by_suggestions(text, *rate, found, random),
                None => text.to_owned(),
            },
            Self::BackTranslation { suggestions } => {
                let translated = suggestions.get(text).and_then(|found| suggestions::draw(found.first()?, random, 0));
                translated.unwrap_or(text).to_owned()
            }
            Self::Insertion { rate, wordnet } => insertion::insert(wordnet, text, *rate, random),
            Self::Swap { rate } => edits::swap(text, *rate, random),
            Self::Deletion { rate } => edits::delete(text, *rate, random),
            Self::Eda { alpha: rate, wordnet } => {
                let (rate, wordnet) = (*rate, Arc::clone(wordnet));
                let one = match random.at(0).below(0, 4) {
                    0 => Self::Synonym { rate, first: false, pos: true, wordnet },
                    1 => Self::Insertion { rate, wordnet },
                    2 => Self::Swap { rate },
                    _ => Self::Deletion { rate },
                };
                one.vary(text, Draw { this_epoch: random.at(1), ..draw })
            }
            Self::EdaExact { alpha, copies, wordnet } => {
                let first = draw.all_epochs.at(0).below(0, copies + 1) as u64;
                let number = (first.wrapping_add(draw.epoch) % (*copies as u64 + 1)) as usize;
                eda::version(wordnet, text, *alpha, *copies, number, draw.all_epochs.at(1))
            }
            Self::Aeda { share } => edits::punctuate(text, *share, random),
        }
    }
}

/// Refuses a number outside the range of the method.
pub(super) fn check_numbers(method: &Augmentation) -> Result<(), TrainError> {
    let (what, x, fits, range) = match *method {
        Augmentation::Synonym { rate, .. }
        | Augmentation::RandomInsertion { rate, .. }
        | Augmentation::RandomSwap { rate }
        | Augmentation::RandomDeletion { rate }
        | Augmentation::Contextual { rate, .. }
        | Augmentation::TokenCutoff { rate } => ("rate", rate, (0.0..=1.0).contains(&rate), "must lie in 0..1"),
        Augmentation::Eda { alpha, .. } | Augmentation::EdaExact { alpha, .. } => {
            ("alpha", alpha, (0.0..=1.0).contains(&alpha), "must lie in 0..1")
        }
        Augmentation::Aeda { share } => ("share", share, (0.0..=1.0).contains(&share), "must lie in 0..1"),
        Augmentation::Mixup { alpha } => ("alpha", alpha, alpha > 0.0 && alpha.is_finite(), "must be above 0"),
        Augmentation::BackTranslation { timeout, .. } => ("timeout", timeout, timeout > 0.0, "must be above 0"),
    };
    if fits {
        return Ok(());
    }
    Err(invalid(format!("augmentation {}: the {what} is {x}; it {range}", method.name())))
}

fn invalid(message: String) -> TrainError {
    DataError::new(DataErrorKind::Unsupported, message).into()
}
