//! LayerNorm, alone or as the last step of a sublayer: `y = LayerNorm(dropout(a + linear_bias) + residual)` in one pass.
//!
//! `a` is the output of a linear layer without its bias. Rows are the tokens of a packed micro-batch.

use super::dropout::{Dropout, Mask};
use super::vector::{simd, sum_of};

/// The parameters of a LayerNorm.
#[derive(Clone, Copy)]
pub struct LayerNorm<'a> {
    pub weight: &'a [f32],
    pub bias: &'a [f32],
    pub epsilon: f32,
}

/// What the backward pass needs from the forward pass.
pub struct Normed {
    /// The normalised rows before weight and bias are applied.
    normal: Vec<f32>,
    /// 1 / standard deviation of each row.
    inverse: Vec<f32>,
}

impl Normed {
    /// Reserves memory for `elements` in rows of `width`. [`normalise`] appends one row at a time.
    fn with_room(elements: usize, width: usize) -> Self {
        Self { normal: Vec::with_capacity(elements), inverse: Vec::with_capacity(elements / width) }
    }
}

/// The dropout of a packed matrix. The mask of an element depends on its sequence, its token in the sequence and its
/// column.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    pub dropout: Option<&'a Dropout>,
    /// Sequence s has the rows `offsets[s]..offsets[s + 1]`.
    pub offsets: &'a [u32],
}

impl Site<'_> {
    /// Calls `f` with each row, its mask, and the index of the row's first element in that mask.
    #[expect(
        clippy::inline_always,
        reason = "must be inlined into the function that is compiled with vector instructions"
    )]
    #[inline(always)]
    fn rows(self, width: usize, mut f: impl FnMut(usize, Mask, u32)) {
        for (sequence, bounds) in self.offsets.windows(2).enumerate() {
            let mask = self.dropout.map_or(Mask::NONE, |dropout| dropout.mask(sequence));
            for row in bounds[0]..bounds[1] {
                f(row as usize, mask, (row - bounds[0]) * width as u32);
            }
        }
    }
}

/// Replaces `a` by y. `linear_bias` is added to every row of `a` before dropout, `residual` after it.
pub fn forward(a: &mut [f32], linear_bias: &[f32], residual: &[f32], norm: LayerNorm<'_>, site: Site<'_>) -> Normed {
    let width = norm.weight.len();
    let mut saved = Normed::with_room(a.len(), width);
    simd(
        #[inline(always)]
        || {
            site.rows(
                width,
                #[inline(always)]
                |row, mask, first| {
                    let span = row * width..(row + 1) * width;
                    let (y, residual) = (&mut a[span.clone()], &residual[span.clone()]);
                    if mask.drops() {
                        for (i, ((y, linear_bias), residual)) in y.iter_mut().zip(linear_bias).zip(residual).enumerate()
                        {
                            *y = (*y + linear_bias).mul_add(mask.factor(first + i as u32), *residual);
                        }
                    } else {
                        for ((y, linear_bias), residual) in y.iter_mut().zip(linear_bias).zip(residual) {
                            *y = *y + linear_bias + residual;
                        }
                    }
                    normalise(y, &mut saved, norm);
                },
            );
        },
    );
    saved
}

/// LayerNorm of each row of `y`, in place.
pub fn forward_plain(y: &mut [f32], norm: LayerNorm<'_>) -> Normed {
    let width = norm.weight.len();
    let mut saved = Normed::with_room(y.len(), width);
    simd(
        #[inline(always)]
        || {
            for y in y.chunks_exact_mut(width) {
                normalise(y, &mut saved, norm);
            }
        },
    );
    saved
}

/// As [`forward`] without dropout, for passes that have no backward pass.
pub fn apply_to_sum(a: &mut [f32], linear_bias: &[f32], residual: &[f32], norm: LayerNorm<'_>) {
    let width = norm.weight.len();
    simd(
        #[inline(always)]
        || {
            for (y, residual) in a.chunks_exact_mut(width).zip(residual.chunks_exact(width)) {
                for ((y, linear_bias), residual) in y.iter_mut().zip(linear_bias).zip(residual) {
                    *y = *y + linear_bias + residual;
                }
                let (mean, inverse) = moments(y, norm.epsilon);
                for ((y, weight), bias) in y.iter_mut().zip(norm.weight).zip(norm.bias) {
                    *y = ((*y - mean) * inverse).mul_add(*weight, *bias);
                }
            }
        },
    );
}

#[expect(clippy::inline_always, reason = "must be inlined into the function that is compiled with vector instructions")]
#[inline(always)]
fn normalise(y: &mut [f32], saved: &mut Normed, norm: LayerNorm<'_>) {
    let (mean, inverse) = moments(y, norm.epsilon);
    saved.normal.extend(y.iter_mut().zip(norm.weight).zip(norm.bias).map(
        #[inline(always)]
        |((y, weight), bias)| {
            let x = (*y - mean) * inverse;
            *y = x.mul_add(*weight, *bias);
            x
        },
    ));
    saved.inverse.push(inverse);
}

/// The mean of a row and 1 / its standard deviation.
#[expect(clippy::inline_always, reason = "must be inlined into the function that is compiled with vector instructions")]
#[inline(always)]
fn moments(y: &[f32], epsilon: f32) -> (f32, f32) {
    let n = y.len() as f32;
    let mean = sum_of(
        [y],
        #[inline(always)]
        |[y]| y,
    ) / n;
    let variance = sum_of(
        [y],
        #[inline(always)]
        |[y]| (y - mean) * (y - mean),
    ) / n;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

/// Replaces `dy` by the gradient of the LayerNorm's input, which is also the residual's gradient. Adds to the gradients of
/// weight and bias.
pub fn backward_plain(dy: &mut [f32], saved: &Normed, weight: &[f32], dweight: &mut [f32], dbias: &mut [f32]) {
    let n = weight.len();
    let (dweight, dbias) = (&mut dweight[..n], &mut dbias[..n]);
    simd(
        #[inline(always)]
        || {
            for ((dy, x), inverse) in dy.chunks_exact_mut(n).zip(saved.normal.chunks_exact(n)).zip(&saved.inverse) {
                let (dy, x) = (&mut dy[..n], &x[..n]);
                let mean = sum_of(
                    [dy, weight],
                    #[inline(always)]
                    |[dy, weight]| dy * weight,
                ) / n as f32;
                let slope = sum_of(
                    [dy, weight, x],
                    #[inline(always)]
                    |[dy, weight, x]| dy * weight * x,
                ) / n as f32;
                for i in 0..n {
                    dweight[i] += dy[i] * x[i];
                    dbias[i] += dy[i];
                    dy[i] = inverse * (dy[i] * weight[i] - mean - x[i] * slope);
                }
            }
        },
    );
}

/// The gradient of the input of dropout from the gradient of its output.
pub fn backward_dropout(dy: &[f32], width: usize, site: Site<'_>) -> Vec<f32> {
    let mut da = dy.to_vec();
    apply(&mut da, width, site);
    da
}

/// Dropout in place.
pub fn apply(x: &mut [f32], width: usize, site: Site<'_>) {
    if site.dropout.is_none() {
        return;
    }
    simd(
        #[inline(always)]
        || {
            site.rows(
                width,
                #[inline(always)]
                |row, mask, first| {
                    for (i, x) in x[row * width..(row + 1) * width].iter_mut().enumerate() {
                        *x *= mask.factor(first + i as u32);
                    }
                },
            );
        },
    );
}
