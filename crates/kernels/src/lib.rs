//! The arithmetic of text classifiers on the CPU: pure functions over `f32` slices, each with its backward pass.
//!
//! The kernels know nothing of models or graphs; the training room combines them into forward pass, backward pass and
//! optimizer. They are a crate of their own because they must be optimised in every build, also while the rest is developed.
//! Matrices are row-major. The tokens of a micro-batch are packed as `[tokens, width]` without padding, and sequence
//! offsets say which rows belong together.
//!
//! Loops are plain Rust inside [`vector::simd`], which picks the instruction set at run time. Matrix products
//! ([`product`]) run on the calling thread only. Every sum has a fixed order, so equal inputs give equal bits, whatever
//! other threads do.

pub mod activation;
pub mod adamw;
pub mod attention;
pub mod convolution;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod disentangled;
pub mod dropout;
pub mod first_attention;
pub mod linear;
pub mod lstm;
pub mod math;
pub mod norm;
pub mod pool;
pub mod product;
pub mod rotary;
pub mod vector;

#[cfg(test)]
mod tests;
