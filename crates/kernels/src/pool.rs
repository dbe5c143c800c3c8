//! The rows of each packed sequence as one row: the maximum of each column, or a weighted mean.

use super::math::exp;
use super::vector::{max_of, simd, sum_of};

/// The maxima `[sequences, width]`, and the row of each. A NaN is kept, so that it shows in the loss.
pub fn max(x: &[f32], width: usize, offsets: &[u32]) -> (Vec<f32>, Vec<u32>) {
    let mut maxima = vec![f32::NEG_INFINITY; (offsets.len() - 1) * width];
    let mut places = vec![0; maxima.len()];
    let sequences = maxima.chunks_exact_mut(width).zip(places.chunks_exact_mut(width));
    simd(
        #[inline(always)]
        || {
            for (bounds, (maxima, places)) in offsets.windows(2).zip(sequences) {
                for row in bounds[0]..bounds[1] {
                    let values = &x[row as usize * width..][..width];
                    for ((maximum, place), value) in maxima.iter_mut().zip(&mut *places).zip(values) {
                        let is_new = *value > *maximum || value.is_nan();
                        *maximum = if is_new { *value } else { *maximum };
                        *place = if is_new { row } else { *place };
                    }
                }
            }
        },
    );
    (maxima, places)
}

/// The gradient of a matrix of `elements` elements from the gradient of its maxima.
pub fn max_backward(dy: &[f32], width: usize, places: &[u32], elements: usize) -> Vec<f32> {
    let mut dx = vec![0.0; elements];
    for (dy, places) in dy.chunks_exact(width).zip(places.chunks_exact(width)) {
        for (column, (dy, row)) in dy.iter().zip(places).enumerate() {
            dx[*row as usize * width + column] += dy;
        }
    }
    dx
}

/// The mean row of each sequence, weighted by the softmax of the scores of its rows, and these weights.
pub fn weighted(x: &[f32], scores: &[f32], width: usize, offsets: &[u32]) -> (Vec<f32>, Vec<f32>) {
    let mut means = vec![0.0; (offsets.len() - 1) * width];
    let mut weights = vec![0.0; scores.len()];
    for (bounds, mean) in offsets.windows(2).zip(means.chunks_exact_mut(width)) {
        let rows = bounds[0] as usize..bounds[1] as usize;
        let (scores, weights) = (&scores[rows.clone()], &mut weights[rows.clone()]);
        let largest = max_of(scores);
        let mut total = 0.0;
        for (weight, score) in weights.iter_mut().zip(scores) {
            *weight = exp(score - largest);
            total += *weight;
        }
        for (weight, x) in weights.iter_mut().zip(x[rows.start * width..rows.end * width].chunks_exact(width)) {
            *weight /= total;
            add_scaled(mean, *weight, x);
        }
    }
    (means, weights)
}

/// The gradients of the rows and of the scores, from the gradient of the means and the weights.
pub fn weighted_backward(
    dy: &[f32],
    x: &[f32],
    weights: &[f32],
    width: usize,
    offsets: &[u32],
) -> (Vec<f32>, Vec<f32>) {
    let (mut dx, mut dscores) = (vec![0.0; x.len()], vec![0.0; weights.len()]);
    for (bounds, dy) in offsets.windows(2).zip(dy.chunks_exact(width)) {
        let rows = bounds[0] as usize..bounds[1] as usize;
        let mut mean = 0.0;
        for row in rows.clone() {
            let span = row * width..(row + 1) * width;
            add_scaled(&mut dx[span.clone()], weights[row], dy);
            dscores[row] = dot(&x[span], dy);
            mean += weights[row] * dscores[row];
        }
        for row in rows {
            dscores[row] = weights[row] * (dscores[row] - mean);
        }
    }
    (dx, dscores)
}

/// Adds `factor * values` to `sums`.
fn add_scaled(sums: &mut [f32], factor: f32, values: &[f32]) {
    simd(
        #[inline(always)]
        || {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum = factor.mul_add(*value, *sum);
            }
        },
    );
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    simd(
        #[inline(always)]
        || {
            sum_of(
                [a, b],
                #[inline(always)]
                |[a, b]| a * b,
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_goes_to_the_row_of_the_maximum() {
        let x = [1.0, 5.0, 3.0, 4.0, -1.0, -2.0];
        let (maxima, places) = max(&x, 2, &[0, 2, 3]);
        assert_eq!((&maxima[..], &places[..]), (&[3.0, 5.0, -1.0, -2.0][..], &[1, 0, 2, 2][..]));
        assert_eq!(max_backward(&[1.0, 2.0, 3.0, 4.0], 2, &places, 6), [0.0, 2.0, 1.0, 0.0, 3.0, 4.0]);
        assert!(max(&[1.0, f32::NAN, 2.0], 1, &[0, 3]).0[0].is_nan());
    }
}
