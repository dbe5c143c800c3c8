//! Networks: encoders of several architectures with a classification head.
//!
//! An architecture ([`encoder::Encoder`]) reads its part of `config.json`, declares its parameters and writes its forward pass
//! once, in terms of a few [`operations`]. The backward pass follows from the operations: on the CPU from hand-written kernels
//! ([`tape`]), on other devices from candle ([`device_backend`]). Freezing, `reinit`, `layer_decay` and diagnostics work on
//! groups of parameters, so they work for every architecture.
//!
//! To add an architecture, start from [`bert`] and add a line to [`architectures`].

mod adapter;
mod albert;
pub mod architectures;
mod bag_of_words;
mod bert;
mod bilstm;
pub mod config;
mod deberta;
pub mod declarations;
mod device_backend;
mod distilbert;
mod electra;
pub mod encoder;
mod extra;
mod forward;
pub mod gradient_buffer;
pub mod head;
pub mod host;
mod longformer;
mod modernbert;
mod mpnet;
pub mod network;
pub mod new_network;
pub mod operations;
mod packed_weights;
pub mod parameters;
pub mod pass;
mod roberta;
mod stack;
mod tape;
mod textcnn;
pub mod token_table;
mod transformer_layer;

#[cfg(test)]
mod tests;

pub use network::{Backend, Network};
pub use packed_weights::PackedWeights;
pub use parameters::Parameter;
pub use pass::{Pass, Training};
