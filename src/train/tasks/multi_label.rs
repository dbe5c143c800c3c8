//! Multi-label classification: every example has any number of labels, also none. The outputs are logits.
//!
//! The loss is the binary cross-entropy, the mean over examples and labels, in nats. Metrics equal those of scikit-learn; a label
//! for which a metric is undefined does not count in a mean.

use std::collections::BTreeMap;

use super::target::{Target, unknown_label};
use super::task::{Evaluated, Task};
use crate::train::metrics::{area_under_curve, macro_f1, mean, mean_precision, single};
use crate::trial::{ClassScores, Scores};

/// Separates the labels of a field.
const SEPARATOR: char = '|';

/// A multi-label classifier's loss and metrics.
#[derive(Debug)]
pub struct MultiLabel {
    pub labels: usize,
}

/// The label names of a field.
pub(super) fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(SEPARATOR).map(str::trim).filter(|name| !name.is_empty())
}

/// The labels that a field of the label column names.
pub(super) fn read(text: &str, numbers: &BTreeMap<&str, u32>) -> Result<Target, String> {
    let number = |name| numbers.get(name).copied().ok_or_else(|| unknown_label(name, numbers));
    let mut labels = names(text).map(number).collect::<Result<Vec<u32>, _>>()?;
    labels.sort_unstable();
    labels.dedup();
    Ok(Target::Labels(labels))
}

/// The labels whose probability is above a half, and the probability of each.
pub(super) fn predict(logits: &[f32]) -> (Target, Vec<f64>) {
    let labels = (0..).zip(logits).filter(|(_, x)| **x > 0.0).map(|(label, _)| label);
    (Target::Labels(labels.collect()), logits.iter().map(|&x| sigmoid(x.into())).collect())
}

impl Task for MultiLabel {
    fn outputs(&self) -> usize {
        self.labels
    }

    fn loss(&self, outputs: &[f64], target: &Target) -> f64 {
        let losses = outputs.iter().enumerate().map(|(label, &x)| binary_cross_entropy(x, target.has(label)));
        losses.sum::<f64>() / self.labels as f64
    }

    fn gradient(&self, outputs: &[f64], target: &Target) -> (f64, Vec<f64>) {
        let part = |(label, &x): (usize, &f64)| {
            let wanted = if target.has(label) { 1.0 } else { 0.0 };
            (sigmoid(x) - wanted) / self.labels as f64
        };
        (self.loss(outputs, target), outputs.iter().enumerate().map(part).collect())
    }

    fn evaluate(&self, outputs: &[&[f32]], targets: &[&Target]) -> Evaluated {
        let each: Vec<LabelCounts> = (0..self.labels).map(|label| LabelCounts::of(label, outputs, targets)).collect();
        let sum = |of: fn(&LabelCounts) -> u32| each.iter().map(of).sum::<u32>();
        let all =
            LabelCounts { hits: sum(|c| c.hits), predicted: sum(|c| c.predicted), true_ones: sum(|c| c.true_ones) };
        let is_right = |(row, target): &(&&[f32], &&Target)| {
            row.iter().enumerate().all(|(label, &x)| (x > 0.0) == target.has(label))
        };
        let right = outputs.iter().zip(targets).filter(is_right).count();
        let ranked = |score: fn(&[(f64, bool)]) -> Option<f64>| {
            mean((0..self.labels).filter_map(|label| score(&by_score(label, outputs, targets)?)))
        };
        let classes = ClassScores {
            precision: each.iter().map(|c| share(c.hits, c.predicted)).collect(),
            recall: each.iter().map(|c| share(c.hits, c.true_ones)).collect(),
            f1: each.iter().map(LabelCounts::f1).collect(),
            support: each.iter().map(|c| c.true_ones).collect(),
        };
        Evaluated {
            macro_f1: single(macro_f1(&classes)),
            scores: Scores {
                micro_f1: single(all.f1()),
                subset_accuracy: single(share(right as u32, targets.len() as u32)),
                macro_auroc: single(ranked(area_under_curve)),
                macro_average_precision: single(ranked(mean_precision)),
                classes,
                ..Scores::default()
            },
            ..Evaluated::default()
        }
    }

    /// The mean over labels of the entropy of having the label.
    fn chance(&self, targets: &[Target]) -> Option<f64> {
        let entropy = |label: usize| {
            let p = targets.iter().filter(|target| target.has(label)).count() as f64 / targets.len() as f64;
            [p, 1.0 - p].into_iter().filter(|p| *p > 0.0).map(|p| -p * p.ln()).sum::<f64>()
        };
        let level = (0..self.labels).map(entropy).sum::<f64>() / self.labels as f64;
        (level > 1e-9).then_some(level)
    }
}

/// What was predicted of one label. A label is predicted if its probability is above a half.
struct LabelCounts {
    hits: u32,
    predicted: u32,
    true_ones: u32,
}

impl LabelCounts {
    fn of(label: usize, outputs: &[&[f32]], targets: &[&Target]) -> Self {
        let mut counts = Self { hits: 0, predicted: 0, true_ones: 0 };
        for (row, target) in outputs.iter().zip(targets) {
            let (predicted, is_true) = (row[label] > 0.0, target.has(label));
            counts.hits += u32::from(predicted && is_true);
            counts.predicted += u32::from(predicted);
            counts.true_ones += u32::from(is_true);
        }
        counts
    }

    fn f1(&self) -> Option<f64> {
        share(2 * self.hits, self.predicted + self.true_ones)
    }
}

fn share(part: u32, whole: u32) -> Option<f64> {
    (whole > 0).then(|| f64::from(part) / f64::from(whole))
}

/// The scores of a label with their truth, in order of falling score. None if a score is not finite.
fn by_score(label: usize, outputs: &[&[f32]], targets: &[&Target]) -> Option<Vec<(f64, bool)>> {
    // The sum makes -0 and 0 one score.
    let scored = outputs.iter().zip(targets).map(|(row, target)| (f64::from(row[label]) + 0.0, target.has(label)));
    let mut scored: Vec<(f64, bool)> = scored.collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.iter().all(|(score, _)| score.is_finite()).then_some(scored)
}

/// `-ln sigmoid(x)` or `-ln (1 - sigmoid(x))`, without overflow.
fn binary_cross_entropy(x: f64, is_true: bool) -> f64 {
    let wanted = if is_true { x } else { 0.0 };
    // `max` would drop a NaN.
    let top = if x < 0.0 { 0.0 } else { x };
    top - wanted + (-x.abs()).exp().ln_1p()
}

/// The probability of a logit.
fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing::{check_scores, metric_references, slopes_agree};
    use crate::trial::Metric;

    #[test]
    fn the_gradient_is_the_slope() {
        let task = MultiLabel { labels: 3 };
        slopes_agree(&task, &[0.7, -1.5, 2.0], &Target::Labels(vec![0, 1]));
        slopes_agree(&task, &[0.7, -1.5, 2.0], &Target::Labels(vec![]));
        assert!(task.loss(&[f64::NAN, 0.0, 0.0], &Target::Labels(vec![])).is_nan());
        assert!((task.loss(&[-800.0, 800.0, 800.0], &Target::Labels(vec![1, 2]))).abs() < 1e-12);
    }

    #[test]
    fn metrics_equal_those_of_scikit_learn() {
        for case in metric_references("multi_label") {
            let outputs: Vec<Vec<f32>> = serde_json::from_value(case["logits"].clone()).unwrap();
            let rows: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
            let labels: Vec<Vec<u32>> = serde_json::from_value(case["labels"].clone()).unwrap();
            let targets: Vec<Target> = labels.into_iter().map(Target::Labels).collect();
            let targets: Vec<&Target> = targets.iter().collect();
            let metrics = [
                Metric::MicroF1,
                Metric::MacroF1,
                Metric::SubsetAccuracy,
                Metric::MacroAuroc,
                Metric::MacroAveragePrecision,
            ];
            check_scores(&MultiLabel { labels: rows[0].len() }.evaluate(&rows, &targets), &metrics, &case);
        }
    }

    #[test]
    fn chance_is_the_mean_entropy_of_the_labels() {
        let targets = [vec![0], vec![0, 1], vec![], vec![]].map(Target::Labels);
        let chance = MultiLabel { labels: 2 }.chance(&targets).unwrap();
        let entropy = |p: f64| -p * p.ln() - (1.0 - p) * (1.0 - p).ln();
        assert!((chance - f64::midpoint(entropy(0.5), entropy(0.25))).abs() < 1e-12);
    }

    #[test]
    fn fields_hold_any_number_of_labels() {
        let numbers = BTreeMap::from([("a", 0), ("b", 1)]);
        let labels = |text| read(text, &numbers);
        assert_eq!(labels(" b | a|b"), Ok(Target::Labels(vec![0, 1])));
        assert_eq!((labels(""), labels("|")), (Ok(Target::Labels(vec![])), Ok(Target::Labels(vec![]))));
        assert!(
            labels("a|c")
                .unwrap_err()
                .starts_with("the label `c` does not occur in the training data, which has `a`, `b`")
        );
    }
}
