//! The entry points of a pass: kernels on the CPU, candle's operations on other devices.

use std::sync::Arc;

use super::pass::Pass;
use super::{blocks, composed};
use crate::train::TrainError;

impl Pass {
    /// Scores `[sequences, classes]` in evaluation mode.
    pub fn logits(self) -> Result<Vec<f32>, TrainError> {
        let pass = Arc::new(Self { training: None, ..self });
        Ok(if pass.model.composed { composed::logits(&pass)? } else { blocks::logits(&pass)? })
    }

    /// What the frozen part gives in evaluation mode, `[rows, hidden]`: the sequences' tokens, or the first of each where
    /// the last layer is frozen and the pooling reads no more. On the CPU alone.
    pub fn frozen(self) -> Result<Vec<f32>, TrainError> {
        Ok(blocks::frozen_rows(&Arc::new(Self { training: None, ..self }))?)
    }

    /// The last layer's vectors of every token, `[tokens, hidden]`, on the CPU. The model pools by mean, so that none is
    /// left out.
    pub fn vectors(self) -> Result<Vec<f32>, TrainError> {
        Ok(blocks::vectors(&Arc::new(Self { training: None, ..self }))?)
    }

    /// Forward and backward: adds the gradients of this micro-batch to its buffer and returns its share of the loss.
    pub fn train(self) -> Result<f64, TrainError> {
        let pass = Arc::new(self);
        Ok(if pass.model.composed { composed::train(&pass)? } else { blocks::train(&pass)? })
    }
}
