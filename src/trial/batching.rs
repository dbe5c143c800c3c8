//! Sizes that the trainer works with and that the cost estimate of a plan counts on.

/// Tokens that a micro-batch aims at: enough for the matrix products to run at full speed, and few enough that its
/// activations stay small.
pub const MICRO_BATCH_TOKENS: usize = 512;

/// The same on an accelerator that does not tell its memory. Others have as many as their memory allows, between these two.
pub const DEVICE_MICRO_BATCH_TOKENS: usize = 2048;
pub const MAX_DEVICE_MICRO_BATCH_TOKENS: usize = 16_384;

/// Most gradient buffers of a step. Also the most threads that a trial can use.
pub const MAX_GRADIENT_BUFFERS: usize = 4;

/// Most training examples that each evaluation looks at, beside the held-out ones.
pub const TRAIN_PROBE_EXAMPLES: usize = 128;
