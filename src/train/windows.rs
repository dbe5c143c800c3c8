//! The outputs of a long text, from those of its windows.

use crate::trial::Combine;

/// A row of `width` outputs for each text. `outputs` has the rows of all windows: text i has the next `counts[i]` of them.
pub fn combine(how: Combine, outputs: &[f32], counts: &[usize], width: usize) -> Vec<f32> {
    let mut texts = Vec::with_capacity(counts.len() * width);
    let mut rest = outputs;
    for &count in counts {
        let (windows, others) = rest.split_at(count * width);
        rest = others;
        texts.extend((0..width).map(|output| {
            let values = windows.iter().skip(output).step_by(width);
            match how {
                Combine::Mean => values.sum::<f32>() / count as f32,
                Combine::Max => values.copied().fold(f32::NEG_INFINITY, greater),
            }
        }));
    }
    texts
}

/// Unlike `f32::max`, keeps NaN, so that a broken window is seen.
fn greater(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_windows_of_a_text_become_one_row() {
        let outputs = [1.0, 8.0, 3.0, 2.0, 5.0, 6.0];
        assert_eq!(combine(Combine::Mean, &outputs, &[2, 1], 2), [2.0, 5.0, 5.0, 6.0]);
        assert_eq!(combine(Combine::Max, &outputs, &[2, 1], 2), [3.0, 8.0, 5.0, 6.0]);
        let broken = [1.0, f32::NAN, 0.5];
        for how in [Combine::Mean, Combine::Max] {
            assert!(combine(how, &broken, &[3], 1)[0].is_nan(), "{how:?}");
        }
    }
}
