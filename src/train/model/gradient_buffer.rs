//! Where the backward pass of a chain of micro-batches puts the gradients of the parameters.
//!
//! candle's own gradient store makes a tensor of zeros and a sum for every parameter of every backward; for weights that
//! is a tenth of a step. Here the products write into one buffer a parameter, kept from step to step.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{Result, Tensor};

use super::Parameter;
use crate::train::batch::MicroBatch;
use crate::train::kernels::product::Write;

/// Gradient buffers of a chain of micro-batches that run one after the other.
#[derive(Debug)]
pub struct Lane {
    slots: Vec<Mutex<Slot>>,
    words: Mutex<Vec<WordGradient>>,
    /// Gradients on another device than the CPU.
    tensors: Mutex<BTreeMap<usize, Tensor>>,
}

/// The gradient of one parameter.
#[derive(Debug, Default)]
pub struct Slot {
    filled: bool,
    length: usize,
    values: Vec<f32>,
}

/// Gradients of the word vectors that a micro-batch read, `[tokens, hidden]`.
#[derive(Debug, Clone)]
pub struct WordGradient {
    pub batch: Arc<MicroBatch>,
    pub values: Vec<f32>,
}

impl Lane {
    pub fn new(parameters: &[Parameter]) -> Self {
        let slot = |p: &Parameter| Slot { length: p.value.elem_count(), ..Slot::default() };
        Self {
            slots: parameters.iter().map(|p| Mutex::new(slot(p))).collect(),
            words: Mutex::default(),
            tensors: Mutex::default(),
        }
    }

    pub fn slot(&self, parameter: usize) -> MutexGuard<'_, Slot> {
        self.slots[parameter].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn push_words(&self, gradient: WordGradient) {
        self.words.lock().unwrap_or_else(PoisonError::into_inner).push(gradient);
    }

    pub fn take_words(&self) -> Vec<WordGradient> {
        std::mem::take(&mut self.words.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a gradient that candle's own backward made.
    pub fn add_tensor(&self, parameter: usize, gradient: Tensor) -> Result<()> {
        let mut tensors = self.tensors.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = match tensors.remove(&parameter) {
            Some(sum) => (sum + gradient)?,
            None => gradient,
        };
        tensors.insert(parameter, sum);
        Ok(())
    }

    /// The gradients that candle's own backward made, by parameter.
    pub fn take_tensors(&self) -> BTreeMap<usize, Tensor> {
        std::mem::take(&mut self.tensors.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets all gradients and keeps the buffers.
    pub fn clear(&self) {
        for parameter in 0..self.slots.len() {
            self.slot(parameter).filled = false;
        }
        self.take_words();
        self.take_tensors();
    }
}

impl Slot {
    /// The buffer for a product, and whether the product replaces its content or adds to it.
    pub fn target(&mut self) -> (&mut [f32], Write) {
        let write = if self.filled { Write::Add } else { Write::Replace };
        self.filled = true;
        self.values.resize(self.length, 0.0);
        (&mut self.values, write)
    }

    /// The buffer for sums, zero at first.
    pub fn sums(&mut self) -> &mut [f32] {
        let (values, write) = self.target();
        if write == Write::Replace {
            values.fill(0.0);
        }
        values
    }

    /// What a backward pass wrote; None if none did.
    pub fn gradient(&mut self) -> Option<&mut [f32]> {
        self.filled.then_some(&mut self.values[..])
    }
}
