//! Back-translation with a pair of Marian checkpoints, such as those of OPUS-MT (Tiedemann and Thottingal 2020), on the CPU.
//!
//! A translation depends only on the text and the checkpoints. A text with more tokens than the checkpoint has positions is
//! not translated.

mod checkpoint;
mod decode;
mod model;
mod sentencepiece;
#[cfg(test)]
mod tests;
mod tokenizer;
mod translator;

pub(super) use translator::{DEFAULT_PAIR, back_translate, check};
