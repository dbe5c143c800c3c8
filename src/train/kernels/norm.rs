//! `y = LayerNorm(dropout(a + bias) + residual)`, the closing step of both halves of a transformer layer, in one pass.

use super::dropout::{Dropout, Mask};
use super::{simd, sum_of};

/// The parameters of a LayerNorm.
#[derive(Clone, Copy)]
pub struct Affine<'a> {
    pub gain: &'a [f32],
    pub shift: &'a [f32],
    pub epsilon: f32,
}

/// What the backward needs of the forward.
pub struct Normed {
    /// The normalised rows before gain and shift.
    normal: Vec<f32>,
    /// 1 / standard deviation of each row.
    inverse: Vec<f32>,
}

impl Normed {
    /// For `elements` in rows of `width`, which [`normalise`] adds one after the other.
    fn with_room(elements: usize, width: usize) -> Self {
        Self { normal: Vec::with_capacity(elements), inverse: Vec::with_capacity(elements / width) }
    }
}

/// Which elements the rows of a packed matrix are, for dropout: row r of sequence s is its token r.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    pub dropout: Option<&'a Dropout>,
    /// Sequence s owns rows `offsets[s]..offsets[s + 1]`.
    pub offsets: &'a [u32],
}

impl Site<'_> {
    /// Calls `f` with each row, its mask, and the index of its first element under that mask.
    #[expect(clippy::inline_always, reason = "has to be inlined into the function that has the vector instructions")]
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

/// Turns `a` into y. `bias` is added to every row of `a` before dropout, `residual` after.
pub fn forward(a: &mut [f32], bias: &[f32], residual: &[f32], affine: Affine<'_>, site: Site<'_>) -> Normed {
    let width = affine.gain.len();
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
                        for (i, ((y, bias), residual)) in y.iter_mut().zip(bias).zip(residual).enumerate() {
                            *y = (*y + bias).mul_add(mask.factor(first + i as u32), *residual);
                        }
                    } else {
                        for ((y, bias), residual) in y.iter_mut().zip(bias).zip(residual) {
                            *y = *y + bias + residual;
                        }
                    }
                    normalise(y, &mut saved, affine);
                },
            );
        },
    );
    saved
}

/// LayerNorm alone, of each row of `y` in place.
pub fn forward_plain(y: &mut [f32], affine: Affine<'_>) -> Normed {
    let width = affine.gain.len();
    let mut saved = Normed::with_room(y.len(), width);
    simd(
        #[inline(always)]
        || {
            for y in y.chunks_exact_mut(width) {
                normalise(y, &mut saved, affine);
            }
        },
    );
    saved
}

#[expect(clippy::inline_always, reason = "has to be inlined into the function that has the vector instructions")]
#[inline(always)]
fn normalise(y: &mut [f32], saved: &mut Normed, affine: Affine<'_>) {
    let n = affine.gain.len();
    let mean = sum_of(
        [y],
        #[inline(always)]
        |[y]| y,
    ) / n as f32;
    let variance = sum_of(
        [y],
        #[inline(always)]
        |[y]| (y - mean) * (y - mean),
    ) / n as f32;
    let inverse = 1.0 / (variance + affine.epsilon).sqrt();
    saved.normal.extend(y.iter_mut().zip(affine.gain).zip(affine.shift).map(
        #[inline(always)]
        |((y, gain), shift)| {
            let x = (*y - mean) * inverse;
            *y = x.mul_add(*gain, *shift);
            x
        },
    ));
    saved.inverse.push(inverse);
}

/// Turns `dy` into the gradient of the LayerNorm's input, which is the residual's gradient; adds to the gradients of gain
/// and shift.
pub fn backward_plain(dy: &mut [f32], saved: &Normed, gain: &[f32], dgain: &mut [f32], dshift: &mut [f32]) {
    let n = gain.len();
    let (dgain, dshift) = (&mut dgain[..n], &mut dshift[..n]);
    simd(
        #[inline(always)]
        || {
            for ((dy, x), inverse) in dy.chunks_exact_mut(n).zip(saved.normal.chunks_exact(n)).zip(&saved.inverse) {
                let (dy, x) = (&mut dy[..n], &x[..n]);
                let mean = sum_of(
                    [dy, gain],
                    #[inline(always)]
                    |[dy, gain]| dy * gain,
                ) / n as f32;
                let slope = sum_of(
                    [dy, gain, x],
                    #[inline(always)]
                    |[dy, gain, x]| dy * gain * x,
                ) / n as f32;
                for i in 0..n {
                    dgain[i] += dy[i] * x[i];
                    dshift[i] += dy[i];
                    dy[i] = inverse * (dy[i] * gain[i] - mean - x[i] * slope);
                }
            }
        },
    );
}

/// The gradient of what went into dropout, from the gradient of what came out.
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
