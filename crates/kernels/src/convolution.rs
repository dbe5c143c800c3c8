//! A convolution over the tokens of packed sequences, followed by ReLU and the maximum over all windows of a sequence (Kim,
//! "Convolutional neural networks for sentence classification", 2014).
//!
//! The windows of a row-major matrix overlap in memory, so all of them are one matrix product without a copy. Only the window of
//! the maximum has a gradient, so the backward pass visits one window for each sequence and filter.

use super::product::{Matrix, fresh_product};
use super::vector::simd;

/// The shape of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    /// Tokens of a window.
    pub size: usize,
    /// Elements of a token.
    pub width: usize,
    pub filters: usize,
}

impl Kernel {
    /// The weight with the elements of a token together, `[filters, size, width]`, from torch's `[filters, width, size]`.
    pub fn by_token(self, weight: &[f32]) -> Vec<f32> {
        transposed(weight, self.width, self.size)
    }

    /// The inverse of [`Self::by_token`].
    pub fn by_element(self, weight: &[f32]) -> Vec<f32> {
        transposed(weight, self.size, self.width)
    }
}

/// Transposes each block of `rows` by `columns` elements.
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut result = Vec::with_capacity(values.len());
    for block in values.chunks_exact(rows * columns) {
        for column in 0..columns {
            result.extend(block[column..].iter().step_by(columns));
        }
    }
    result
}

/// The maxima of the sequences, `[sequences, filters]`.
pub struct Maxima {
    pub values: Vec<f32>,
    /// The first row of the window of each maximum.
    windows: Vec<u32>,
}

/// The maxima over the windows of the packed rows `x`. `weight` is [`Kernel::by_token`]. A sequence shorter than a window is
/// filled up with zeros.
pub fn forward(x: &[f32], offsets: &[u32], kernel: Kernel, weight: &[f32], bias: &[f32]) -> Maxima {
    let Kernel { size, width, filters } = kernel;
    let span = size * width;
    let weight = Matrix::new(weight, filters, span).t();
    let starts = (x.len() / width + 1).saturating_sub(size);
    // Windows across two sequences are computed too, and then ignored.
    let all = fresh_product(Matrix::strided(x, starts, span, width), weight);
    let mut values = vec![f32::NEG_INFINITY; (offsets.len() - 1) * filters];
    let mut windows = vec![0; values.len()];
    let sequences = values.chunks_exact_mut(filters).zip(windows.chunks_exact_mut(filters));
    for (bounds, (values, windows)) in offsets.windows(2).zip(sequences) {
        let (start, end) = (bounds[0] as usize, bounds[1] as usize);
        if end - start < size {
            let mut filled = vec![0.0; span];
            filled[..(end - start) * width].copy_from_slice(&x[start * width..end * width]);
            values.copy_from_slice(&fresh_product(Matrix::new(&filled, 1, span), weight));
            windows.fill(bounds[0]);
        }
        simd(
            #[inline(always)]
            || {
                for row in start..(end + 1).saturating_sub(size).max(start) {
                    let sums = &all[row * filters..(row + 1) * filters];
                    for ((value, window), sum) in values.iter_mut().zip(&mut *windows).zip(sums) {
                        let is_larger = *sum > *value;
                        *value = if is_larger { *sum } else { *value };
                        *window = if is_larger { row as u32 } else { *window };
                    }
                }
                for (value, bias) in values.iter_mut().zip(bias) {
                    let sum = *value + bias;
                    *value = if sum < 0.0 { 0.0 } else { sum };
                }
            },
        );
    }
    Maxima { values, windows }
}

/// Adds the gradients of the input, the weight by tokens and the bias, from `dy`, the gradient of the maxima.
pub fn backward(
    dy: &[f32],
    maxima: &Maxima,
    input: (&[f32], &[u32]),
    kernel: Kernel,
    weight: &[f32],
    (dx, dweight, dbias): (&mut [f32], &mut [f32], &mut [f32]),
) {
    let (x, offsets) = input;
    let Kernel { size, width, filters } = kernel;
    let span = size * width;
    let sequences = dy.chunks_exact(filters).zip(maxima.values.chunks_exact(filters));
    for ((bounds, (dy, values)), windows) in offsets.windows(2).zip(sequences).zip(maxima.windows.chunks_exact(filters))
    {
        let length = (bounds[1] - bounds[0]) as usize;
        let inside = span.min(length * width);
        for (filter, ((dy, value), window)) in dy.iter().zip(values).zip(windows).enumerate() {
            if *value > 0.0 {
                let first = *window as usize * width;
                let row = filter * span..filter * span + inside;
                dbias[filter] += dy;
                add_scaled(&mut dweight[row.clone()], *dy, &x[first..first + inside]);
                add_scaled(&mut dx[first..first + inside], *dy, &weight[row]);
            }
        }
    }
}

/// `sums += scale * values`.
fn add_scaled(sums: &mut [f32], scale: f32, values: &[f32]) {
    simd(
        #[inline(always)]
        || {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum = scale.mul_add(*value, *sum);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: Kernel = Kernel { size: 2, width: 2, filters: 2 };

    #[test]
    fn a_window_lies_within_one_sequence() {
        // The filters add up the first and the second element of both tokens.
        let weight = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0];
        let weight = KERNEL.by_token(&weight);
        assert_eq!(weight, [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
        let x = [1.0, -1.0, 2.0, -2.0, 9.0, 1.0, 3.0, 4.0, 5.0, -6.0];
        let maxima = forward(&x, &[0, 2, 3, 5], KERNEL, &weight, &[0.5, 0.0]);
        assert_eq!(maxima.values, [3.5, 0.0, 9.5, 1.0, 8.5, 0.0]);
        assert_eq!(maxima.windows, [0, 0, 2, 2, 3, 3]);
    }

    #[test]
    fn transposing_twice_changes_nothing() {
        let kernel = Kernel { size: 3, width: 2, filters: 2 };
        let weight: Vec<f32> = (0..12u8).map(f32::from).collect();
        assert_eq!(kernel.by_element(&kernel.by_token(&weight)), weight);
        assert_eq!(kernel.by_token(&weight)[..4], [0.0, 3.0, 1.0, 4.0]);
    }
}
