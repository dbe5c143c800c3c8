//! The activations of BERT's feed-forward layer, forward and backward.

use super::math::{erf, exp, tanh};
use super::simd;

/// `hidden_act` of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x Phi(x), with the normal distribution's Phi (Hendrycks and Gimpel, 2016).
    Gelu,
    /// The same with tanh in place of erf: `gelu_new`, `gelu_pytorch_tanh`.
    GeluTanh,
    Relu,
}

impl Activation {
    /// Adds `bias` to every row of `x` and returns the activation of the sums; `x` keeps the sums for the backward.
    pub fn forward(self, x: &mut [f32], bias: &[f32]) -> Vec<f32> {
        match self {
            Self::Gelu => forward(
                x,
                bias,
                #[inline(always)]
                |x| 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)),
            ),
            Self::GeluTanh => forward(
                x,
                bias,
                #[inline(always)]
                |x| 0.5 * x * (1.0 + tanh(inner(x))),
            ),
            Self::Relu => forward(
                x,
                bias,
                #[inline(always)]
                |x| if x < 0.0 { 0.0 } else { x },
            ),
        }
    }

    /// Turns `dy`, the gradient of the activation, into the gradient of its input `x`.
    pub fn backward(self, x: &[f32], dy: &mut [f32]) {
        match self {
            Self::Gelu => backward(
                x,
                dy,
                #[inline(always)]
                |x| {
                    let density = exp(-0.5 * x * x) * 0.398_942_3;
                    x.mul_add(density, 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)))
                },
            ),
            Self::GeluTanh => backward(
                x,
                dy,
                #[inline(always)]
                |x| {
                    let t = tanh(inner(x));
                    let slope = SCALE * (3.0 * CUBIC * x).mul_add(x, 1.0);
                    0.5f32.mul_add(1.0 + t, 0.5 * x * (1.0 - t * t) * slope)
                },
            ),
            Self::Relu => backward(
                x,
                dy,
                #[inline(always)]
                |x| if x > 0.0 { 1.0 } else { 0.0 },
            ),
        }
    }
}

/// sqrt(2 / pi) and the cubic coefficient of the tanh form.
const SCALE: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

#[expect(clippy::inline_always, reason = "has to be inlined into the function that has the vector instructions")]
#[inline(always)]
fn inner(x: f32) -> f32 {
    SCALE * (CUBIC * x * x).mul_add(x, x)
}

fn forward(x: &mut [f32], bias: &[f32], f: impl Fn(f32) -> f32) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    simd(
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact_mut(bias.len()).zip(y.chunks_exact_mut(bias.len())) {
                for ((x, y), bias) in x.iter_mut().zip(y).zip(bias) {
                    *x += bias;
                    *y = f(*x);
                }
            }
        },
    );
    y
}

fn backward(x: &[f32], dy: &mut [f32], slope: impl Fn(f32) -> f32) {
    simd(
        #[inline(always)]
        || {
            for (x, dy) in x.iter().zip(dy) {
                *dy *= slope(*x);
            }
        },
    );
}
