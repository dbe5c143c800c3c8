//! BERT with a classifier on top: parameters, forward and backward of one micro-batch.
//!
//! On the CPU the model is a chain of custom operations in candle's graph ([`blocks`]), one for each half of a layer,
//! made of the functions of [`plateau_kernels`]. Halves of layers and not single products, because candle's backward
//! makes a tensor of zeros and a sum for each input of each operation: with one operation per product that is a tenth of
//! a step. On other devices, and as the oracle of the tests, [`composed`] builds the same numbers from candle's own
//! differentiable operations.
//!
//! A frozen part (embeddings and the first layers) is a fixed function: it runs without dropout and without a backward.

mod bert;
pub mod blocks;
pub mod composed;
pub mod config;
mod forward;
pub mod gradient_buffer;
mod head;
pub mod host;
mod operation;
pub mod parameters;
mod pass;

#[cfg(test)]
mod tests;

pub use bert::{Bert, Rows};
pub use parameters::Parameter;
pub use pass::{Pass, Training};
