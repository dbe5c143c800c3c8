//! AdamW as torch computes it (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019).
//!
//! Dense AdamW updates every token embedding in every step, because weight decay and moments act without a gradient too.
//! [`LazyEmbedding`] applies the same steps to a row only when a batch reads it next, so a step costs nothing for the rows
//! that its batch does not read.

mod adamw;
mod device_step;
mod lazy_embedding;
mod update;

#[cfg(test)]
mod tests;

pub use adamw::AdamW;
pub use lazy_embedding::{LazyEmbedding, RowGradients};
pub use update::{Gradient, Moments, Settings, in_place, values};
