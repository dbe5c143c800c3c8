//! Trains one trial: data, tokens, augmentation, model, kernels, schedule, optimizer, checkpoint and the training loop.
//!
//! The numbers of a trial depend only on its [`crate::trial::TrialConfig`] and its data. The number of threads, other
//! trials on the machine and interruptions have no effect. candle is used only in this room. The room writes no files:
//! results go to a [`Sink`].
//!
//! Start reading at [`pipeline`], then [`fit`] (the training loop), [`engine`] (one step) and [`model`].

pub mod augment;
pub mod batch;
pub mod checkpoint;
pub mod classifier;
pub mod data;
pub mod device;
pub mod engine;
mod error;
pub mod evaluate;
mod facts;
pub mod fit;
pub mod frozen;
mod job;
pub mod metrics;
pub mod model;
pub mod optim;
pub mod peft;
mod pipeline;
pub mod progress;
pub mod schedule;
pub mod signals;
mod source_check;
mod stored_head;
pub mod tasks;
mod test_scores;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod threads;
pub mod weights;
mod windows;

pub use data::{check_data, data_facts, data_size, locate_data, locate_model};
pub use device::{available_devices, bf16_unit, lacks_for_bf16};
pub use engine::micro_batch_tokens;
pub use error::{KeyFault, TrainError};
pub use facts::model_facts;
pub use job::{Cache, Job, Sink};
pub use pipeline::{prepare_augmentation, steps_of_state, train};
pub use test_scores::TestScores;
pub use threads::start_threads;
