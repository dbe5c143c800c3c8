//! Activation functions with their backward pass.

use super::math::{erf, exp, tanh};
use super::vector::simd;

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x Phi(x), where Phi is the cumulative normal distribution (Hendrycks and Gimpel, 2016).
    Gelu,
    /// The same with tanh in place of erf; transformers calls it `gelu_new` and `gelu_pytorch_tanh`.
    GeluTanh,
    Relu,
    Tanh,
}

impl Activation {
    /// The activation of `x + bias`, row by row. Replaces `x` by the activation's slope, which is all that [`backward`]
    /// needs. Value and slope share the expensive part, so they are computed together.
    pub fn forward(self, x: &mut [f32], bias: &[f32]) -> Vec<f32> {
        match self {
            Self::Gelu => forward(x, bias, gelu),
            Self::GeluTanh => forward(x, bias, gelu_tanh),
            Self::Relu => forward(x, bias, relu),
            Self::Tanh => forward(x, bias, tanh_of),
        }
    }

    /// Replaces `x` by the activation of `x + bias`, row by row: the values of [`Activation::forward`] without slopes.
    pub fn apply(self, x: &mut [f32], bias: &[f32]) {
        match self {
            Self::Gelu => apply(x, bias, gelu),
            Self::GeluTanh => apply(x, bias, gelu_tanh),
            Self::Relu => apply(x, bias, relu),
            Self::Tanh => apply(x, bias, tanh_of),
        }
    }
}

// Each returns value and slope.

#[expect(clippy::inline_always, reason = "must be inlined into the function that is compiled with vector instructions")]
#[inline(always)]
fn gelu(x: f32) -> (f32, f32) {
    let phi = 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
    let density = exp(-0.5 * x * x) * 0.398_942_3;
    (x * phi, x.mul_add(density, phi))
}

#[expect(clippy::inline_always, reason = "must be inlined into the function that is compiled with vector instructions")]
#[inline(always)]
fn gelu_tanh(x: f32) -> (f32, f32) {
    let t = tanh(SCALE * (CUBIC * x * x).mul_add(x, x));
    let slope = SCALE * (3.0 * CUBIC * x).mul_add(x, 1.0);
    (0.5 * x * (1.0 + t), 0.5f32.mul_add(1.0 + t, 0.5 * x * (1.0 - t * t) * slope))
}

#[expect(clippy::inline_always, reason = "must be inlined into the function that is compiled with vector instructions")]
#[inline(always)]
fn relu(x: f32) -> (f32, f32) {
    (if x < 0.0 { 0.0 } else { x }, if x > 0.0 { 1.0 } else { 0.0 })
}

#[expect(clippy::inline_always, reason = "must be inlined into the function that is compiled with vector instructions")]
#[inline(always)]
fn tanh_of(x: f32) -> (f32, f32) {
    let y = x.tanh();
    (y, 1.0 - y * y)
}

/// Replaces `dy`, the gradient of an activation's output, by the gradient of its input.
pub fn backward(slopes: &[f32], dy: &mut [f32]) {
    simd(
        #[inline(always)]
        || {
            for (slope, dy) in slopes.iter().zip(dy) {
                *dy *= slope;
            }
        },
    );
}

/// The product of values and gates, element by element.
pub fn gate(values: &[f32], gates: &[f32]) -> Vec<f32> {
    values.iter().zip(gates).map(|(value, gate)| value * gate).collect()
}

/// sqrt(2 / pi), and the cubic coefficient of the tanh form.
const SCALE: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// `f` returns value and slope.
fn forward(x: &mut [f32], bias: &[f32], f: impl Fn(f32) -> (f32, f32)) -> Vec<f32> {
    let mut y = Vec::with_capacity(x.len());
    simd(
        #[inline(always)]
        || {
            for x in x.chunks_exact_mut(bias.len()) {
                // Row by row, because the row that is overwritten next is then still in the first-level cache.
                let start = y.len();
                y.extend_from_slice(x);
                for ((x, y), bias) in x.iter_mut().zip(&mut y[start..]).zip(bias) {
                    (*y, *x) = f(*x + bias);
                }
            }
        },
    );
    y
}

/// `f` returns value and slope; the slope is not used.
fn apply(x: &mut [f32], bias: &[f32], f: impl Fn(f32) -> (f32, f32)) {
    simd(
        #[inline(always)]
        || {
            for x in x.chunks_exact_mut(bias.len()) {
                for (x, bias) in x.iter_mut().zip(bias) {
                    *x = f(*x + bias).0;
                }
            }
        },
    );
}
