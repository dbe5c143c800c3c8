//! Text augmentation of the training split.
//!
//! A variant depends only on (seed, epoch, example). Labels and the number of examples do not change. The two texts of a
//! sentence pair are augmented independently.
//!
//! The methods are safe by default: negations, numbers, links, @names, hashtags and emoticons are never deleted or
//! replaced; stop words are never replaced; punctuation and case are kept. `protection` holds these rules. The methods are
//! for English. Methods that need WordNet leave other languages unchanged.
//!
//! | method | effect |
//! |---|---|
//! | `synonym` | replaces `max(1, round(rate * words))` words by a WordNet synonym with the same inflection |
//! | `random_insertion` | inserts a synonym of a random word before a random word, the same number of times |
//! | `random_swap` | swaps two random words, the same number of times |
//! | `random_deletion` | deletes each word with probability `rate`; at least one word stays |
//! | `eda` | applies one of these four at rate `alpha`, drawn for each example and epoch |
//! | `eda_exact` | the program of the EDA paper without protection; in (copies + 1) epochs each of its versions occurs once |
//! | `aeda` | inserts a punctuation mark before 1 to `share * words` words |
//! | `token_cutoff` | removes a share `rate` of the word pieces from the input |
//! | `mixup` | mixes pooled outputs and labels of pairs of examples; see [`super::batch::Mix`] |
//! | `contextual` | like `synonym`, but takes one of the `top_k` words that a masked language model predicts |
//! | `back_translation` | translates a text and translates it back, with programs or with Marian models |
//!
//! Methods that need a model or a program (`synonym` with `choose: context`, `contextual`, `back_translation`) compute their
//! suggestions once for each text before training and keep them in the cache of the trainer; see `suggestions`.
//!
//! [`super::data::Epochs`] makes variants ahead of time.

mod augmenter;
mod change_stats;
mod command;
mod context;
mod contextual_synonym;
mod cutoff;
mod eda;
mod edits;
mod grammar;
mod guard;
mod inflection;
mod insertion;
mod marian;
mod masked_lm;
mod method;
#[cfg(test)]
mod property_tests;
mod protection;
mod resources;
mod sentence_encoder;
mod suggestions;
mod synonym;
#[cfg(test)]
mod tests;
mod tokenize;
mod word_lists;
mod wordnet;

pub use augmenter::Augmenter;
pub use change_stats::ChangeStats;
pub use command::named_scripts;
pub use context::AugmentContext;
pub use cutoff::Cutoff;
pub use guard::guard;
pub use resources::{hashes, identify, locate, resources};
