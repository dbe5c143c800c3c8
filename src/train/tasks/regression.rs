//! Regression: every example has a number. The network has one output, the predicted number.
//!
//! The loss is the squared error. Metrics equal those of scikit-learn and scipy; what is undefined is None.

use std::cmp::Ordering;

use super::target::Target;
use super::task::{Evaluated, Task};
use crate::train::metrics::single;
use crate::trial::Scores;

/// A regressor's loss and metrics.
#[derive(Debug)]
pub struct Regression;

/// The number that a field of the label column holds.
pub(super) fn read(text: &str) -> Result<Target, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Target::Number(number)),
        Err(_) if text.replacen(',', ".", 1).parse::<f64>().is_ok() => {
            Err(format!("the label `{text}` has a comma; write numbers with a decimal point, such as 3.5"))
        }
        _ => Err(format!("the label `{text}` is not a number; `task: regression` expects numbers such as 3.5")),
    }
}

/// Whether a text is a number, with a decimal point or a decimal comma.
#[must_use]
pub fn looks_like_number(text: &str) -> bool {
    text.replacen(',', ".", 1).parse::<f64>().is_ok_and(f64::is_finite)
}

fn number(target: &Target) -> f64 {
    match target {
        Target::Number(number) => *number,
        _ => f64::NAN,
    }
}

impl Task for Regression {
    fn outputs(&self) -> usize {
        1
    }

    fn loss(&self, outputs: &[f64], target: &Target) -> f64 {
        (outputs[0] - number(target)).powi(2)
    }

    fn gradient(&self, outputs: &[f64], target: &Target) -> (f64, Vec<f64>) {
        (self.loss(outputs, target), vec![2.0 * (outputs[0] - number(target))])
    }

    fn evaluate(&self, outputs: &[&[f32]], targets: &[&Target]) -> Evaluated {
        let predicted: Vec<f64> = outputs.iter().map(|row| f64::from(row[0])).collect();
        let truth: Vec<f64> = targets.iter().map(|target| number(target)).collect();
        let errors = || predicted.iter().zip(&truth).map(|(a, b)| a - b);
        let squares: f64 = errors().map(|error| error * error).sum();
        let spread = spread(&truth);
        let n = truth.len() as f64;
        let scores = Scores {
            mse: single((n > 0.0).then(|| squares / n)),
            mae: single((n > 0.0).then(|| errors().map(f64::abs).sum::<f64>() / n)),
            r2: single((spread > 0.0).then(|| 1.0 - squares / spread)),
            pearson: single(correlation(&predicted, &truth)),
            spearman: single(correlation(&ranks(&predicted), &ranks(&truth))),
            ..Scores::default()
        };
        Evaluated { scores, ..Evaluated::default() }
    }

    /// The variance of the numbers.
    fn chance(&self, targets: &[Target]) -> Option<f64> {
        let truth: Vec<f64> = targets.iter().map(number).collect();
        Some(spread(&truth) / truth.len() as f64).filter(|variance| *variance > 0.0)
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Sum of squared distances to the mean.
fn spread(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

/// Pearson's correlation. None if one of both is constant or not finite.
fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let (mean_a, mean_b) = (mean(a), mean(b));
    let common: f64 = a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum();
    let both = (spread(a) * spread(b)).sqrt();
    (both > 0.0 && both.is_finite()).then(|| common / both)
}

/// The rank of each value from 1; equal values have the mean of their ranks. NaN has the rank NaN.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![f64::NAN; values.len()];
    let mut first = 0;
    // -0 and 0 are equal.
    for tied in order.chunk_by(|&a, &b| values[a].partial_cmp(&values[b]).is_some_and(Ordering::is_eq)) {
        let rank = first as f64 + (tied.len() + 1) as f64 / 2.0;
        tied.iter().filter(|&&i| !values[i].is_nan()).for_each(|&i| ranks[i] = rank);
        first += tied.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing::{check_scores, metric_references, slopes_agree};
    use crate::trial::Metric;

    #[test]
    fn the_gradient_is_the_slope() {
        slopes_agree(&Regression, &[0.7], &Target::Number(-2.0));
    }

    #[test]
    fn metrics_equal_those_of_scikit_learn_and_scipy() {
        for case in metric_references("regression") {
            let outputs: Vec<f32> = serde_json::from_value(case["predicted"].clone()).unwrap();
            let rows: Vec<&[f32]> = outputs.iter().map(std::slice::from_ref).collect();
            let labels: Vec<f64> = serde_json::from_value(case["labels"].clone()).unwrap();
            let targets: Vec<Target> = labels.into_iter().map(Target::Number).collect();
            let targets: Vec<&Target> = targets.iter().collect();
            let metrics = [Metric::Mse, Metric::Mae, Metric::R2, Metric::Pearson, Metric::Spearman];
            check_scores(&Regression.evaluate(&rows, &targets), &metrics, &case);
        }
    }

    #[test]
    fn chance_is_the_variance() {
        let targets = [1.0, 2.0, 3.0, 6.0].map(Target::Number);
        assert_eq!(Regression.chance(&targets), Some(3.5));
        assert_eq!(Regression.chance(&[targets[0].clone(), targets[0].clone()]), None);
    }

    #[test]
    fn labels_are_finite_numbers() {
        assert_eq!((read("3.5"), read("-1e3")), (Ok(Target::Number(3.5)), Ok(Target::Number(-1000.0))));
        for text in ["", "three", "inf", "nan", "1,5"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
