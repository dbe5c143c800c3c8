//! The arithmetic of a transformer on the CPU: pure functions over `f32` slices, each with its backward pass.
//!
//! The kernels know nothing of models, graphs or optimizers; `train::model` combines them into a forward and a backward
//! pass. Matrices are row-major. The tokens of a micro-batch are packed as `[tokens, width]` without padding, and sequence
//! offsets say which rows belong together.
//!
//! Loops are plain Rust inside [`vector::simd`], which picks the instruction set at run time. Matrix products
//! ([`product`]) run on the calling thread only. Every sum has a fixed order, so equal inputs give equal bits, whatever
//! other threads do.

pub mod activation;
pub mod attention;
pub mod dropout;
pub mod linear;
pub mod loss;
pub mod math;
pub mod norm;
pub mod product;
pub mod vector;

#[cfg(test)]
mod tests;
