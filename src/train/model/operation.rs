//! What the operations share: activations kept for the backward pass, products with a pair of parameters, and where their gradients go.

use std::sync::{Mutex, PoisonError};

use candle_core::Result;

use super::bert::Bert;
use super::gradient_buffer::GradientBuffer;
use super::host::{Host, host};
use super::parameters::Pair;
use super::pass::Pass;
use plateau_kernels::linear;
use plateau_kernels::norm::{self, LayerNorm, Normed};
use plateau_kernels::product::Write;

/// What a forward leaves for its backward, taken once.
pub struct Saved<T>(Mutex<Option<T>>);

impl<T> Default for Saved<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Saved<T> {
    pub fn put(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    pub fn take(&self) -> Result<T> {
        let saved = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        saved.ok_or_else(|| candle_core::Error::Msg("a backward without its forward".into()))
    }
}

impl Bert {
    /// The values of a parameter.
    pub fn values(&self, parameter: usize) -> Result<Host<'_>> {
        host(&self.parameters[parameter].value)
    }

    pub(super) fn pair(&self, pair: Pair) -> Result<(Host<'_>, Host<'_>)> {
        Ok((self.values(pair.weight)?, self.values(pair.bias)?))
    }

    /// x W^T + b.
    pub(super) fn linear(&self, pair: Pair, x: &[f32]) -> Result<Vec<f32>> {
        let (weight, bias) = self.pair(pair)?;
        Ok(linear::forward(x, &weight, &bias))
    }

    /// x W^T; the caller adds the bias.
    pub(super) fn linear_without_bias(&self, pair: Pair, x: &[f32]) -> Result<Vec<f32>> {
        let (weight, bias) = self.pair(pair)?;
        Ok(linear::forward_without_bias(x, &weight, bias.len()))
    }

    pub(super) fn affine<'a>(&self, gain: &'a [f32], shift: &'a [f32]) -> LayerNorm<'a> {
        LayerNorm { weight: gain, bias: shift, epsilon: self.config.epsilon as f32 }
    }

    pub(super) fn linear_input(&self, pair: Pair, dy: &[f32], dx: &mut [f32], write: Write) -> Result<()> {
        let (weight, bias) = self.pair(pair)?;
        linear::backward_input(dy, &weight, bias.len(), dx, write);
        Ok(())
    }
}

impl GradientBuffer {
    /// Gradients of a linear layer's weight and bias.
    pub(super) fn linear(&self, pair: Pair, dy: &[f32], x: &[f32]) {
        let mut bias = self.parameter(pair.bias);
        let (sums, write) = bias.target();
        linear::backward_bias(dy, sums, write);
        let outputs = sums.len();
        let mut weight = self.parameter(pair.weight);
        let (sums, write) = weight.target();
        linear::backward_weight(dy, x, outputs, sums, write);
    }

    /// Gradients of a LayerNorm's weight and bias; turns `dy` into the gradient of its input.
    pub(super) fn norm(&self, model: &Bert, pair: Pair, saved: &Normed, dy: &mut [f32]) -> Result<()> {
        let (mut gain, mut shift) = (self.parameter(pair.weight), self.parameter(pair.bias));
        norm::backward_plain(dy, saved, &model.values(pair.weight)?, gain.sums(), shift.sums());
        Ok(())
    }
}

impl Pass {
    /// Where gradients go; a backward happens in training only.
    pub(super) fn gradients(&self) -> Result<&GradientBuffer> {
        let training = self.training.as_ref();
        training.map(|t| &*t.gradients).ok_or_else(|| candle_core::Error::Msg("a backward in evaluation".into()))
    }

    /// Whether the gradient of layer `layer`'s input is wanted by anything below.
    pub(super) fn goes_below(&self, layer: usize) -> bool {
        self.model.trains_embeddings() || layer > self.model.freeze
    }
}
