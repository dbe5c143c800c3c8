//! Classification metrics, as pure functions of logits and labels. They equal those of scikit-learn 1.5 to 1e-9.
//!
//! A metric that is undefined is None, never 0: the recall of a class without examples, or the AUROC if there is only one class. Sums run in the order of examples, so equal inputs give equal bits.

use crate::trial::{CalibrationBin, ClassScores};

/// Number of bins of equal width that the calibration error is computed over.
pub const CALIBRATION_BINS: usize = 10;

/// Predictions of a model on labelled examples.
pub struct Classified<'a> {
    /// For each example: the probability of each class (softmax of the logits).
    probabilities: Vec<Vec<f64>>,
    /// For each example: the class with the highest logit. Among equal logits, the first.
    predicted: Vec<usize>,
    labels: &'a [u32],
    classes: usize,
}

impl<'a> Classified<'a> {
    /// From one row of logits for each label.
    #[must_use]
    pub fn new(logits: &[&[f32]], labels: &'a [u32], classes: usize) -> Self {
        Self {
            probabilities: logits.iter().map(|row| softmax(row)).collect(),
            predicted: logits.iter().map(|row| best_class(row)).collect(),
            labels,
            classes,
        }
    }

    /// For each example: the predicted class.
    #[must_use]
    pub fn predicted(&self) -> &[usize] {
        &self.predicted
    }

    /// For each example: the probability of the predicted class.
    fn confidences(&self) -> impl Iterator<Item = f64> + '_ {
        self.probabilities.iter().zip(&self.predicted).map(|(row, &class)| row[class])
    }

    fn is_right(&self, example: usize) -> bool {
        self.predicted[example] == self.labels[example] as usize
    }

    /// The number of examples of each class (row) that were predicted to be of each class (column).
    #[must_use]
    pub fn confusion(&self) -> Vec<Vec<u32>> {
        let mut matrix = vec![vec![0; self.classes]; self.classes];
        for (&predicted, &label) in self.predicted.iter().zip(self.labels) {
            matrix[label as usize][predicted] += 1;
        }
        matrix
    }

    /// Area under the ROC curve: of two classes that of the second, else the mean of each class against the rest
    /// (`roc_auc_score(multi_class="ovr", average="macro")`). Classes without examples do not count.
    #[must_use]
    pub fn auroc(&self) -> Option<f64> {
        self.one_against_rest(area_under_curve)
    }

    /// Average precision (`average_precision_score`), over classes as [`Classified::auroc`].
    #[must_use]
    pub fn average_precision(&self) -> Option<f64> {
        self.one_against_rest(mean_precision)
    }

    fn one_against_rest(&self, score: fn(&[(f64, bool)]) -> Option<f64>) -> Option<f64> {
        let wanted = if self.classes == 2 { 1..2 } else { 0..self.classes };
        let of_class = |class: usize| {
            let examples = self.probabilities.iter().zip(self.labels);
            let mut scored: Vec<(f64, bool)> =
                examples.map(|(row, &label)| (row[class], label as usize == class)).collect();
            if scored.iter().any(|(score, _)| !score.is_finite()) {
                return None;
            }
            scored.sort_by(|a, b| b.0.total_cmp(&a.0));
            score(&scored)
        };
        mean(wanted.filter_map(of_class))
    }

    /// The reliability of the confidences, in [`CALIBRATION_BINS`] bins from 0 to 1. A bin includes its upper edge.
    #[must_use]
    pub fn calibration(&self) -> Vec<CalibrationBin> {
        let width = 1.0 / CALIBRATION_BINS as f64;
        let mut bins = vec![CalibrationBin::default(); CALIBRATION_BINS];
        for (example, confidence) in self.confidences().enumerate().filter(|(_, confidence)| confidence.is_finite()) {
            let bin = (1..CALIBRATION_BINS).take_while(|&edge| edge as f64 * width < confidence).count();
            let bin = &mut bins[bin];
            bin.examples += 1;
            bin.correct += u32::from(self.is_right(example));
            bin.confidence += confidence;
        }
        for bin in bins.iter_mut().filter(|bin| bin.examples > 0) {
            bin.confidence /= f64::from(bin.examples);
        }
        bins
    }

    /// The wrong predictions with the highest confidence: example, predicted class and confidence, the highest first.
    #[must_use]
    pub fn confident_mistakes(&self, most: usize) -> Vec<(usize, usize, f64)> {
        let wrong = self.confidences().enumerate().filter(|&(example, _)| !self.is_right(example));
        let mut wrong: Vec<(usize, f64)> = wrong.filter(|(_, confidence)| confidence.is_finite()).collect();
        wrong.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        wrong
            .into_iter()
            .take(most)
            .map(|(example, confidence)| (example, self.predicted[example], confidence))
            .collect()
    }
}

/// The class with the highest score; among equal scores the first. A NaN after the first place never wins.
#[must_use]
pub fn best_class(scores: &[f32]) -> usize {
    (1..scores.len()).fold(0, |best, class| if scores[class] > scores[best] { class } else { best })
}

/// The probability of each class.
#[must_use]
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let highest = logits.iter().copied().map(f64::from).fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|&logit| (f64::from(logit) - highest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// The mean of the values. None of none.
pub fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

/// Area under the ROC curve of examples in order of falling score, by the trapezoidal rule over distinct scores.
pub fn area_under_curve(scored: &[(f64, bool)]) -> Option<f64> {
    let positives = scored.iter().filter(|(_, positive)| *positive).count() as f64;
    let negatives = scored.len() as f64 - positives;
    let (mut hits, mut area) = (0.0, 0.0);
    for tied in scored.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let gained = tied.iter().filter(|(_, positive)| *positive).count() as f64;
        area += (tied.len() as f64 - gained) * (hits + gained / 2.0);
        hits += gained;
    }
    (positives > 0.0 && negatives > 0.0).then(|| area / (positives * negatives))
}

/// Average precision of examples in order of falling score: precision at each distinct score, weighted by the rise of recall.
pub fn mean_precision(scored: &[(f64, bool)]) -> Option<f64> {
    let positives = scored.iter().filter(|(_, positive)| *positive).count();
    if positives == 0 || positives == scored.len() {
        return None;
    }
    let positives = positives as f64;
    let (mut hits, mut seen, mut area) = (0.0, 0.0, 0.0);
    for tied in scored.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let gained = tied.iter().filter(|(_, positive)| *positive).count() as f64;
        hits += gained;
        seen += tied.len() as f64;
        area += gained / positives * (hits / seen);
    }
    Some(area)
}

/// Share of the examples on the diagonal of a confusion matrix.
#[must_use]
pub fn accuracy(confusion: &[Vec<u32>]) -> Option<f64> {
    let all: f64 = confusion.iter().flatten().copied().map(f64::from).sum();
    let right: f64 = confusion.iter().enumerate().map(|(class, row)| f64::from(row[class])).sum();
    (all > 0.0).then(|| right / all)
}

/// A metric as it is stored.
#[must_use]
pub fn single(score: Option<f64>) -> Option<f32> {
    score.map(|score| score as f32)
}

/// Precision, recall and F1 of each class of a confusion matrix.
#[must_use]
pub fn class_scores(confusion: &[Vec<u32>]) -> ClassScores {
    let mut scores = ClassScores::default();
    for (class, row) in confusion.iter().enumerate() {
        let right = f64::from(row[class]);
        let support: u32 = row.iter().sum();
        let predicted: u32 = confusion.iter().map(|row| row[class]).sum();
        let share = |of: u32| (of > 0).then(|| right / f64::from(of));
        let named = f64::from(support) + f64::from(predicted);
        scores.precision.push(share(predicted));
        scores.recall.push(share(support));
        scores.f1.push((named > 0.0).then(|| 2.0 * right / named));
        scores.support.push(support);
    }
    scores
}

/// Mean F1 of the classes that occur in labels or predictions (`f1_score(average="macro")`).
#[must_use]
pub fn macro_f1(scores: &ClassScores) -> Option<f64> {
    mean(scores.f1.iter().copied().flatten())
}

/// Mean F1 weighted by the number of examples of each class (`f1_score(average="weighted")`).
#[must_use]
pub fn weighted_f1(scores: &ClassScores) -> Option<f64> {
    let all: f64 = scores.support.iter().copied().map(f64::from).sum();
    let weighted = scores.f1.iter().zip(&scores.support).map(|(f1, &n)| f1.unwrap_or(0.0) * f64::from(n));
    (all > 0.0).then(|| weighted.sum::<f64>() / all)
}

/// Matthews correlation coefficient for any number of classes (Gorodkin 2004, as `matthews_corrcoef`): 0 if all labels or all
/// predictions are of one class. None without examples.
#[must_use]
pub fn matthews_correlation(confusion: &[Vec<u32>]) -> Option<f64> {
    let truth: Vec<f64> = confusion.iter().map(|row| row.iter().copied().map(f64::from).sum()).collect();
    let predicted: Vec<f64> =
        (0..confusion.len()).map(|class| confusion.iter().map(|row| f64::from(row[class])).sum()).collect();
    let all: f64 = truth.iter().sum();
    let right: f64 = confusion.iter().enumerate().map(|(class, row)| f64::from(row[class])).sum();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (of_predicted, of_truth) = (all * all - dot(&predicted, &predicted), all * all - dot(&truth, &truth));
    let spread = (of_predicted * of_truth).sqrt();
    let value = if spread > 0.0 { (right * all - dot(&truth, &predicted)) / spread } else { 0.0 };
    (all > 0.0).then_some(value)
}

/// Expected calibration error: the mean distance between confidence and accuracy of the bins, weighted by their examples
/// (Guo et al. 2017, equation 3).
#[must_use]
pub fn expected_calibration_error(bins: &[CalibrationBin]) -> Option<f64> {
    let all: f64 = bins.iter().map(|bin| f64::from(bin.examples)).sum();
    let distance = |bin: &CalibrationBin| (f64::from(bin.correct) - f64::from(bin.examples) * bin.confidence).abs();
    (all > 0.0).then(|| bins.iter().map(distance).sum::<f64>() / all)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Whether a number or a list of numbers is the reference to 1e-9; None is null.
    fn check(name: &str, found: &[Option<f64>], expected: &Value) {
        let expected: Vec<Option<f64>> = match expected {
            Value::Array(values) => values.iter().map(Value::as_f64).collect(),
            value => vec![value.as_f64()],
        };
        let near = |pair: (&Option<f64>, &Option<f64>)| match pair {
            (Some(a), Some(b)) => (a - b).abs() < 1e-9,
            (a, b) => a == b,
        };
        assert!(
            found.len() == expected.len() && found.iter().zip(&expected).all(near),
            "{name}: {found:?} {expected:?}"
        );
    }

    #[test]
    fn metrics_equal_those_of_scikit_learn() {
        let text = include_str!("../../tests/fixtures/metrics/references.json");
        let references: Value = serde_json::from_str(text).unwrap();
        let cases = references["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 7);
        for case in cases {
            let logits: Vec<Vec<f32>> = serde_json::from_value(case["logits"].clone()).unwrap();
            let labels: Vec<u32> = serde_json::from_value(case["labels"].clone()).unwrap();
            let rows: Vec<&[f32]> = logits.iter().map(Vec::as_slice).collect();
            let classified = Classified::new(&rows, &labels, rows[0].len());
            let confusion = classified.confusion();
            assert_eq!(serde_json::to_value(&confusion).unwrap(), case["confusion"], "{}", case["name"]);
            let scores = class_scores(&confusion);
            assert_eq!(serde_json::to_value(&scores.support).unwrap(), case["support"]);
            let bins = classified.calibration();
            let filled = || bins.iter().filter(|bin| bin.examples > 0);
            let name = |metric: &str| format!("{metric} of {}", case["name"]);
            let one = |metric: &str, found: Option<f64>| check(&name(metric), &[found], &case[metric]);
            one("accuracy", accuracy(&confusion));
            one("macro_f1", macro_f1(&scores));
            one("weighted_f1", weighted_f1(&scores));
            one("mcc", matthews_correlation(&confusion));
            one("auroc", classified.auroc());
            one("average_precision", classified.average_precision());
            one("ece", expected_calibration_error(&bins));
            check(&name("precision"), &scores.precision, &case["precision"]);
            check(&name("recall"), &scores.recall, &case["recall"]);
            check(&name("f1"), &scores.f1, &case["f1"]);
            let counts: Vec<u32> = bins.iter().map(|bin| bin.examples).collect();
            assert_eq!(serde_json::to_value(&counts).unwrap(), case["bin_counts"]);
            let of = |value: fn(&CalibrationBin) -> f64| filled().map(|bin| Some(value(bin))).collect::<Vec<_>>();
            check(&name("bin accuracy"), &of(CalibrationBin::accuracy), &case["bin_accuracy"]);
            check(&name("bin confidence"), &of(|bin| bin.confidence), &case["bin_confidence"]);
        }
    }

    #[test]
    fn non_finite_logits_leave_ranking_metrics_undefined() {
        let logits: [&[f32]; 3] = [&[0.0, 1.0], &[f32::NAN, 0.0], &[2.0, 0.0]];
        let classified = Classified::new(&logits, &[1, 0, 0], 2);
        assert_eq!((classified.auroc(), classified.average_precision()), (None, None));
        assert_eq!(classified.predicted(), [1, 0, 0]);
        assert_eq!(classified.calibration().iter().map(|bin| bin.examples).sum::<u32>(), 2);
    }

    #[test]
    fn the_most_confident_mistakes_come_first() {
        let logits: [&[f32]; 5] = [&[0.0, 1.0], &[0.0, 3.0], &[3.0, 0.0], &[2.0, 0.0], &[0.0, 3.0]];
        let mistakes = Classified::new(&logits, &[0, 0, 0, 1, 0], 2).confident_mistakes(3);
        assert_eq!(mistakes.iter().map(|mistake| (mistake.0, mistake.1)).collect::<Vec<_>>(), [(1, 1), (4, 1), (3, 0)]);
        assert!((mistakes[0].2 - 1.0 / (1.0 + (-3.0_f64).exp())).abs() < 1e-12);
    }

    #[test]
    fn the_first_of_equal_scores_wins_and_nan_never_does() {
        assert_eq!(best_class(&[0.5, 0.5]), 0);
        assert_eq!(best_class(&[0.5, f32::NAN, 0.7]), 2);
    }
}
