//! The buffer to which the backward passes of micro-batches add the gradients of the parameters.
//!
//! candle's own gradient store creates a zero tensor and a sum for every parameter in every backward pass, which takes a
//! tenth of a step. Here matrix products write directly into one array for each parameter, which is reused in every step.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{Result, Tensor};

use super::parameters::Parameter;
use crate::train::batch::MicroBatch;
use plateau_kernels::product::Write;

/// The gradients of micro-batches that run one after the other.
#[derive(Debug)]
pub struct GradientBuffer {
    parameters: Vec<Mutex<ParameterGradient>>,
    tokens: Mutex<Vec<TokenGradients>>,
    /// Gradients from candle's backward pass, by parameter.
    tensors: Mutex<BTreeMap<usize, Tensor>>,
}

/// The gradient of one parameter.
#[derive(Debug, Default)]
pub struct ParameterGradient {
    /// Whether a backward pass has written since the last [`GradientBuffer::clear`].
    filled: bool,
    length: usize,
    values: Vec<f32>,
}

/// Gradients of the token embeddings that a micro-batch read, `[tokens, width]`.
#[derive(Debug, Clone)]
pub struct TokenGradients {
    pub batch: Arc<MicroBatch>,
    pub values: Vec<f32>,
}

impl GradientBuffer {
    pub fn new(parameters: &[Parameter]) -> Self {
        let empty = |p: &Parameter| ParameterGradient { length: p.value.elem_count(), ..ParameterGradient::default() };
        Self {
            parameters: parameters.iter().map(|p| Mutex::new(empty(p))).collect(),
            tokens: Mutex::default(),
            tensors: Mutex::default(),
        }
    }

    /// The gradient of a parameter, by its index.
    pub fn parameter(&self, index: usize) -> MutexGuard<'_, ParameterGradient> {
        self.parameters[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn push_token_gradients(&self, gradients: TokenGradients) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).push(gradients);
    }

    pub fn take_token_gradients(&self) -> Vec<TokenGradients> {
        std::mem::take(&mut self.tokens.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a gradient of candle's backward pass.
    pub fn add_tensor(&self, parameter: usize, gradient: Tensor) -> Result<()> {
        let mut tensors = self.tensors.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = match tensors.remove(&parameter) {
            Some(sum) => (sum + gradient)?,
            None => gradient,
        };
        tensors.insert(parameter, sum);
        Ok(())
    }

    /// The gradients of candle's backward passes, by parameter.
    pub fn take_tensors(&self) -> BTreeMap<usize, Tensor> {
        std::mem::take(&mut self.tensors.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Removes all gradients and keeps the memory.
    pub fn clear(&self) {
        for index in 0..self.parameters.len() {
            self.parameter(index).filled = false;
        }
        self.take_token_gradients();
        self.take_tensors();
    }
}

impl ParameterGradient {
    /// The values for a matrix product, and whether the product must replace them or add to them.
    pub fn target(&mut self) -> (&mut [f32], Write) {
        let write = if self.filled { Write::Add } else { Write::Replace };
        self.filled = true;
        self.values.resize(self.length, 0.0);
        (&mut self.values, write)
    }

    /// The values for additions; zero before the first addition.
    pub fn sums(&mut self) -> &mut [f32] {
        let (values, write) = self.target();
        if write == Write::Replace {
            values.fill(0.0);
        }
        values
    }

    /// The gradient; None if no backward pass wrote one.
    pub fn gradient(&mut self) -> Option<&mut [f32]> {
        self.filled.then_some(&mut self.values[..])
    }
}
