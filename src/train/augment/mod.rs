//! Text augmentation of the training split.
//!
//! Guarantees: a variant is a function of (seed, epoch, example) alone; labels and the number of examples stay. Safe by
//! default: negations, numbers, links, @names, hashtags and emoticons are never deleted or replaced, stop words never
//! replaced, punctuation and case stay; the rules stand with `safe`. The two sides of a sentence pair are augmented each
//! on its own. The methods are English; other texts pass through those that need the lexicon unchanged.
//!
//! | method | does |
//! |---|---|
//! | `synonym` | `max(1, round(rate * words))` words replaced by a WordNet synonym in the same inflection |
//! | `random_insertion` | as many times, a synonym of a random word is put before a random word |
//! | `random_swap` | as many times, two random words change places |
//! | `random_deletion` | each word goes with probability `rate`; one at least stays |
//! | `eda` | one of these four at rate `alpha`, drawn for each example and epoch |
//! | `eda_exact` | the EDA paper's program, nothing kept safe: (copies + 1) epochs show each of its versions of an example once |
//! | `aeda` | 1 to `share` of the words get a punctuation mark before them |
//! | `token_cutoff` | a share `rate` of word pieces is left out of attention and input |
//! | `mixup` | pooled outputs and labels are mixed in pairs; see [`super::batch::Mix`] |
//! | `contextual` | as many words as `synonym` replaces, each by one of the `top_k` that a masked-language model puts there |
//! | `back_translation` | the text translated out and home, by programs or by Marian models; itself where nothing changed |
//!
//! What has to be asked of a model or a program (`synonym` by context, `contextual`, `back_translation`) is asked once for
//! each text, before training, and kept in the trainer's cache; see `answers`.
//!
//! What a word is stands with `words`. Making variants ahead of time is left to [`super::data::Epochs`].

mod answers;
mod command;
mod context;
mod cutoff;
mod eda;
mod edits;
mod grammar;
mod inflection;
mod insertion;
mod lexicon;
mod marian;
mod mlm;
mod outside;
mod reader;
mod safe;
mod stats;
mod synonym;
mod wordnet;
mod words;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use cutoff::Cutoff;
pub use outside::{Located, locate};
pub use stats::Touched;

use super::data::Example;
use super::random::{Purpose, Random};
use super::{Cache, TrainError};
use crate::trial::{Augmentation, Choose, Translator};
use answers::Answers;
use wordnet::WordNet;

/// Methods applied in turn.
#[derive(Debug, Clone)]
pub struct Augmenter {
    methods: Vec<Method>,
    cutoff: Option<Cutoff>,
    random: Random,
}

/// What an augmentation may ask about.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// The training split.
    pub examples: &'a [Example],
    /// The trial's checkpoint, located.
    pub model: &'a str,
    /// Tokens of a text that are read.
    pub max_length: usize,
    pub cache: &'a dyn Cache,
    /// Told how many texts are about to be asked about, which may take a while.
    pub tell: &'a dyn Fn(usize),
}

/// A method that changes texts, with what it needs.
#[derive(Debug, Clone)]
enum Method {
    Synonym {
        rate: f64,
        first: bool,
        pos: bool,
        wordnet: Arc<WordNet>,
    },
    /// Synonyms by context, contextual.
    Proposed {
        rate: f64,
        answers: Answers,
    },
    Translated {
        answers: Answers,
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

/// The numbers that a variant is drawn from.
#[derive(Debug, Clone, Copy)]
struct Draw {
    /// Of this epoch.
    now: Random,
    /// The same in every epoch.
    always: Random,
    epoch: u64,
}

/// Stands in the place of an epoch's number where draws are the same in all.
const EVERY_EPOCH: u64 = u64::MAX;

impl Augmenter {
    /// Asks what there is to ask. A rate outside 0..1 is an error.
    pub fn new(methods: &[Augmentation], seed: u64, around: &Around<'_>) -> Result<Self, TrainError> {
        let mut augmenter =
            Self { methods: Vec::new(), cutoff: None, random: Random::new(seed, Purpose::Augmentation) };
        for (place, method) in (0..).zip(methods) {
            check(method)?;
            match method {
                Augmentation::TokenCutoff { rate } => {
                    augmenter.cutoff = Some(Cutoff::new(*rate, Random::new(seed, Purpose::Cutoff).at(place)));
                }
                // Mixes what comes out of the model; texts and tokens stay.
                Augmentation::Mixup { .. } => {}
                _ => augmenter.methods.push(Method::new(method, around)?),
            }
        }
        Ok(augmenter)
    }

    /// Whether the tokens of every variant are those of the example itself.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.methods.is_empty() && self.cutoff.is_none()
    }

    /// Which word pieces of the variants are left out.
    #[must_use]
    pub fn cutoff(&self) -> Option<&Cutoff> {
        self.cutoff.as_ref()
    }

    /// The variant of example `index` in `epoch`.
    #[must_use]
    pub fn apply(&self, epoch: u64, index: usize, example: &Example) -> Example {
        let random = |epoch, side| self.random.at(epoch).at(index as u64).at(side);
        let draw = |side| Draw { now: random(epoch, side), always: random(EVERY_EPOCH, side), epoch };
        Example {
            text: self.vary(&example.text, draw(0)),
            pair: example.pair.as_ref().map(|pair| self.vary(pair, draw(1))),
            label: example.label,
        }
    }

    fn vary(&self, text: &str, draw: Draw) -> String {
        (0..).zip(&self.methods).fold(text.to_owned(), |text, (place, method)| {
            method.vary(&text, Draw { now: draw.now.at(place), always: draw.always.at(place), ..draw })
        })
    }
}

impl Method {
    fn new(method: &Augmentation, around: &Around<'_>) -> Result<Self, TrainError> {
        let named = |wordnet: &Option<String>| match wordnet {
            None => Ok((Arc::clone(WordNet::embedded()), "embedded".to_owned())),
            Some(folder) => WordNet::read(Path::new(folder)).map(|(wordnet, hash)| (Arc::new(wordnet), hash)),
        };
        let lexicon = |wordnet: &Option<String>| named(wordnet).map(|(wordnet, _)| wordnet);
        Ok(match method {
            Augmentation::Synonym { rate, choose: Choose::Context, pos, wordnet } => {
                let (wordnet, name) = named(wordnet)?;
                Self::Proposed { rate: *rate, answers: context::choose(around, &wordnet, &name, *pos)? }
            }
            Augmentation::Synonym { rate, choose, pos, wordnet } => {
                Self::Synonym { rate: *rate, first: *choose == Choose::First, pos: *pos, wordnet: lexicon(wordnet)? }
            }
            Augmentation::Contextual { rate, top_k, model } => {
                let model = model.as_deref().unwrap_or(around.model);
                Self::Proposed { rate: *rate, answers: mlm::fill(around, model, *top_k)? }
            }
            Augmentation::BackTranslation { engine, out, home, timeout, beams, samples } => {
                let (Some(out), Some(home)) = (out, home) else {
                    return Err(TrainError::Input("back_translation needs a way `out` and a way `home`".into()));
                };
                let answers = match engine {
                    Translator::Command => {
                        command::translate(around, out, home, Duration::from_secs_f64(timeout.clamp(0.0, 1e9)))?
                    }
                    Translator::Marian => marian::translate(around, [out, home], (*beams).max(1), *samples)?,
                };
                Self::Translated { answers }
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
                return Err(TrainError::Input(format!("{} changes no text", method.name())));
            }
        })
    }

    fn vary(&self, text: &str, draw: Draw) -> String {
        let random = draw.now;
        match self {
            Self::Synonym { rate, first, pos, wordnet } => {
                let any = random.at(1);
                synonym::replace(wordnet, text, *rate, *pos, random, |index, candidates| {
                    if *first { 0 } else { any.below(index as u64, candidates.len()) }
                })
            }
            Self::Proposed { rate, answers } => match answers.get(text) {
                Some(answer) => synonym::propose(text, *rate, answer, random),
                None => text.to_owned(),
            },
            Self::Translated { answers } => {
                let other = answers.get(text).and_then(|answer| answers::draw(answer.first()?, random, 0));
                other.unwrap_or(text).to_owned()
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
                one.vary(text, Draw { now: random.at(1), ..draw })
            }
            Self::EdaExact { alpha, copies, wordnet } => {
                let first = draw.always.at(0).below(0, copies + 1) as u64;
                let number = (first.wrapping_add(draw.epoch) % (*copies as u64 + 1)) as usize;
                eda::version(wordnet, text, *alpha, *copies, number, draw.always.at(1))
            }
            Self::Aeda { share } => edits::punctuate(text, *share, random),
        }
    }
}

/// Refuses a number that the method has no meaning for.
fn check(method: &Augmentation) -> Result<(), TrainError> {
    let (what, x, fits, range) = match *method {
        Augmentation::Synonym { rate, .. }
        | Augmentation::RandomInsertion { rate, .. }
        | Augmentation::RandomSwap { rate }
        | Augmentation::RandomDeletion { rate }
        | Augmentation::Contextual { rate, .. }
        | Augmentation::TokenCutoff { rate } => ("rate", rate, (0.0..=1.0).contains(&rate), "lies in 0..1"),
        Augmentation::Eda { alpha, .. } | Augmentation::EdaExact { alpha, .. } => {
            ("alpha", alpha, (0.0..=1.0).contains(&alpha), "lies in 0..1")
        }
        Augmentation::Aeda { share } => ("share", share, (0.0..=1.0).contains(&share), "lies in 0..1"),
        Augmentation::Mixup { alpha } => ("alpha", alpha, alpha > 0.0 && alpha.is_finite(), "is above 0"),
        Augmentation::BackTranslation { timeout, .. } => ("timeout", timeout, timeout > 0.0, "is above 0"),
    };
    if fits {
        return Ok(());
    }
    Err(TrainError::Input(format!("augmentation {}: the {what} is {x}; it {range}", method.name())))
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
