//! Cross-entropy over classes. It is computed in f64, because the rows are few and the loss is the main result.

/// `-log softmax(logits)[label]` and, for label smoothing e as in torch's `CrossEntropyLoss`,
/// (1 - e) times that plus e times the mean of -log softmax over all classes. The unit is nats.
pub fn cross_entropy(logits: &[f32], label: usize, smoothing: f64) -> f64 {
    let log_sum = log_sum_exp(logits);
    let nll = log_sum - f64::from(logits[label]);
    if smoothing == 0.0 {
        return nll;
    }
    let mean = log_sum - logits.iter().map(|&x| f64::from(x)).sum::<f64>() / logits.len() as f64;
    (1.0 - smoothing) * nll + smoothing * mean
}

/// The gradient of `weight * cross_entropy(...)` with respect to the logits.
pub fn backward(logits: &[f32], label: usize, smoothing: f64, weight: f64) -> impl Iterator<Item = f32> {
    let log_sum = log_sum_exp(logits);
    let classes = logits.len() as f64;
    logits.iter().enumerate().map(move |(class, &x)| {
        let target = smoothing / classes + if class == label { 1.0 - smoothing } else { 0.0 };
        (weight * ((f64::from(x) - log_sum).exp() - target)) as f32
    })
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let top = logits.iter().fold(f64::NEG_INFINITY, |top, &x| top.max(f64::from(x)));
    top + logits.iter().map(|&x| (f64::from(x) - top).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uniform_guess_costs_the_logarithm_of_the_classes() {
        for smoothing in [0.0, 0.1] {
            assert!((cross_entropy(&[2.0; 4], 1, smoothing) - 4f64.ln()).abs() < 1e-12);
        }
        assert!(cross_entropy(&[f32::NAN, 0.0], 1, 0.0).is_nan());
    }

    #[test]
    fn the_gradient_is_the_slope() {
        let logits = [0.3f32, -1.2, 2.0];
        for smoothing in [0.0, 0.2] {
            let gradient: Vec<f32> = backward(&logits, 2, smoothing, 0.5).collect();
            for i in 0..3 {
                let at = |h: f32| {
                    let mut moved = logits;
                    moved[i] += h;
                    0.5 * cross_entropy(&moved, 2, smoothing)
                };
                let slope = (at(1.0 / 512.0) - at(-1.0 / 512.0)) * 256.0;
                assert!((slope - f64::from(gradient[i])).abs() < 1e-5, "{slope} against {}", gradient[i]);
            }
        }
    }
}
