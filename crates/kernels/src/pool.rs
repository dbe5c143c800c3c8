//! The maximum of each column over the rows of each packed sequence.

use super::vector::simd;

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
