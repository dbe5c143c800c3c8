//! Reads sweep files of W&B: translates them into ours, as a tree in which every value keeps its place.
//!
//! A file with `method` and `parameters` is one. Whatever has another meaning here, or none, becomes a note. What cannot be
//! translated is an error that names the key.

mod names;
mod parameters;
mod rules;
#[cfg(test)]
mod tests;
mod translate;
mod write;

pub use translate::ImportOptions;
pub(super) use translate::{Translation, is_sweep, translate};
