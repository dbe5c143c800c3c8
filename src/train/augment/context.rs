//! What an augmentation may use of its trial.

use crate::train::Cache;
use crate::train::data::Example;

/// The texts, the checkpoint and the cache of a trial.
#[derive(Clone, Copy)]
pub struct AugmentContext<'a> {
    /// The training split.
    pub examples: &'a [Example],
    /// The located checkpoint of the trial.
    pub model: &'a str,
    /// Tokens of a text that are read.
    pub max_length: usize,
    pub cache: &'a dyn Cache,
    /// Is called with the number of texts before a model or a program processes them, which may take minutes.
    pub notify: &'a dyn Fn(usize),
}
