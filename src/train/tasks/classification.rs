//! Classification: every example has one class. The outputs are logits.
//!
//! The loss is the cross-entropy or the focal loss, both in nats. With class weights w it is the sum of w times the loss over the
//! sum of w, as torch's `CrossEntropyLoss(weight=...)`. Label smoothing e spreads the share e of the target over all classes, in
//! training only. Losses are computed in f64, because the rows are few and the loss is the main result.

use std::collections::BTreeMap;

use super::target::{Target, unknown_label};
use super::task::{ClassDetails, Evaluated, Surest, Task};
use crate::train::TrainError;
use crate::train::metrics::{
    Classified, accuracy, best_class, class_scores, macro_f1, matthews_correlation, single, softmax, weighted_f1,
};
use crate::trial::{BestEvaluation, ClassWeights, DiagnosticRow, LossConfig, LossName, Scores};

/// The class that a field of the label column names. Some files write `True`, and others `true` or `TRUE`.
pub(super) fn read(text: &str, numbers: &BTreeMap<&str, u32>) -> Result<Target, String> {
    let boolean = || {
        let is_boolean = ["true", "false"].iter().any(|name| name.eq_ignore_ascii_case(text));
        numbers.iter().find(|(name, _)| is_boolean && name.eq_ignore_ascii_case(text)).map(|(_, class)| class)
    };
    let class = numbers.get(text).or_else(boolean);
    class.map(|class| Target::Class(*class)).ok_or_else(|| unknown_label(text, numbers))
}

/// The most probable class, and the probability of each.
pub(super) fn predict(logits: &[f32]) -> (Target, Vec<f64>) {
    (Target::Class(best_class(logits) as u32), softmax(logits))
}

/// A classifier's loss and metrics.
#[derive(Debug)]
pub struct Classification {
    /// By class.
    weights: Vec<f64>,
    /// The power of the focal loss; None: cross-entropy.
    gamma: Option<f64>,
    smoothing: f64,
}

impl Classification {
    /// `prior`: the share of each class in the training split, for balanced weights. A class without training rows has the
    /// balanced weight 1.
    ///
    /// # Errors
    /// If the weights name other labels.
    pub fn new(loss: &LossConfig, smoothing: f64, labels: &[String], prior: &[f64]) -> Result<Self, TrainError> {
        let classes = labels.len();
        let weights = match &loss.class_weights {
            None => vec![1.0; classes],
            Some(ClassWeights::Named(_)) => {
                let share = |class: usize| prior.get(class).copied().filter(|share| *share > 0.0);
                (0..classes).map(|class| share(class).map_or(1.0, |share| 1.0 / (classes as f64 * share))).collect()
            }
            Some(weights @ ClassWeights::Each(each)) => match weights.mismatch(labels) {
                Some(what) => return Err(TrainError::key("loss.class_weights", what)),
                None => labels.iter().filter_map(|label| each.get(label)).copied().collect(),
            },
        };
        let gamma = (loss.name == LossName::Focal).then_some(loss.gamma);
        Ok(Self { weights, gamma, smoothing })
    }

    /// The focal loss without its weight, and its gradient. `1 - p` is computed so that it keeps its digits for p near 1.
    fn focal(gamma: f64, outputs: &[f64], class: usize) -> (f64, Vec<f64>) {
        let log_sum = log_sum_exp(outputs);
        let nll = log_sum - outputs[class];
        let (p, q) = ((-nll).exp(), -(-nll).exp_m1());
        let power = q.powf(gamma);
        // The derivative with respect to ln p, with the opposite sign.
        let factor = if gamma == 0.0 || q == 0.0 { power } else { power + gamma * q.powf(gamma - 1.0) * p * nll };
        let hit = |other| if other == class { 1.0 } else { 0.0 };
        let gradient = outputs.iter().enumerate().map(|(other, x)| factor * ((x - log_sum).exp() - hit(other)));
        (power * nll, gradient.collect())
    }

    /// The least mean loss of a constant output, by gradient descent.
    fn best_constant(&self, prior: &[f64]) -> f64 {
        let mut outputs = vec![0.0; prior.len()];
        let mut lowest = f64::INFINITY;
        for _ in 0..2000 {
            let (mut loss, mut slope) = (0.0, vec![0.0; prior.len()]);
            for (class, share) in prior.iter().enumerate().filter(|(_, share)| **share > 0.0) {
                let (value, parts) = Self::focal(self.gamma.unwrap_or(0.0), &outputs, class);
                loss += share * value;
                slope.iter_mut().zip(parts).for_each(|(sum, part)| *sum += share * part);
            }
            lowest = f64::min(lowest, loss);
            outputs.iter_mut().zip(slope).for_each(|(output, slope)| *output -= slope);
        }
        lowest
    }
}

impl Task for Classification {
    fn outputs(&self) -> usize {
        self.weights.len()
    }

    fn weight(&self, target: &Target) -> f64 {
        target.class().map_or(f64::NAN, |class| self.weights[class as usize])
    }

    fn loss(&self, outputs: &[f64], target: &Target) -> f64 {
        let Some(class) = target.class() else { return f64::NAN };
        let class = class as usize;
        let loss = match self.gamma {
            Some(gamma) => Self::focal(gamma, outputs, class).0,
            None => log_sum_exp(outputs) - outputs[class],
        };
        self.weights[class] * loss
    }

    fn gradient(&self, outputs: &[f64], target: &Target) -> (f64, Vec<f64>) {
        let Some(class) = target.class() else { return (f64::NAN, vec![f64::NAN; outputs.len()]) };
        let (class, weight) = (class as usize, self.weights[class as usize]);
        if let Some(gamma) = self.gamma {
            let (loss, gradient) = Self::focal(gamma, outputs, class);
            return (weight * loss, gradient.into_iter().map(|part| weight * part).collect());
        }
        let (classes, smoothing) = (outputs.len() as f64, self.smoothing);
        let log_sum = log_sum_exp(outputs);
        // The coefficient of each class's -ln p.
        let share = |other: usize| {
            let own = if other == class { (1.0 - smoothing) * weight } else { 0.0 };
            smoothing / classes * self.weights[other] + own
        };
        let nll = log_sum - outputs[class];
        if smoothing == 0.0 {
            let part = |(other, x): (usize, &f64)| weight * (x - log_sum).exp() - share(other);
            return (weight * nll, outputs.iter().enumerate().map(part).collect());
        }
        let rest: f64 = outputs.iter().zip(&self.weights).map(|(x, weight)| weight * (log_sum - x)).sum();
        let loss = (1.0 - smoothing) * weight * nll + smoothing * rest / classes;
        let all = (1.0 - smoothing) * weight + smoothing * self.weights.iter().sum::<f64>() / classes;
        let part = |(other, x): (usize, &f64)| all * (x - log_sum).exp() - share(other);
        (loss, outputs.iter().enumerate().map(part).collect())
    }

    fn evaluate(&self, outputs: &[&[f32]], targets: &[&Target]) -> Evaluated {
        let classes = self.outputs();
        let labels: Vec<u32> = targets.iter().map(|target| target.stratum()).collect();
        let classified = Classified::new(outputs, &labels, classes);
        let confusion = classified.confusion();
        let each = class_scores(&confusion);
        Evaluated {
            accuracy: single(accuracy(&confusion)),
            macro_f1: single(macro_f1(&each)),
            scores: Scores {
                weighted_f1: single(weighted_f1(&each)),
                mcc: single(matthews_correlation(&confusion)),
                auroc: single(classified.auroc()),
                average_precision: single(classified.average_precision()),
                classes: each,
                ..Scores::default()
            },
            classes: Some(ClassDetails {
                counts: (0..classes).map(|class| confusion.iter().map(|row| row[class]).sum()).collect(),
                surest: surest(outputs, classified.predicted(), &labels),
                calibration: classified.calibration(),
                mistakes: classified.confident_mistakes(BestEvaluation::MISTAKES),
                confusion,
            }),
        }
    }

    /// The entropy of the prior, whose shares are multiplied by the class weights.
    fn chance(&self, targets: &[Target]) -> Option<f64> {
        let mut prior = counts(targets, self.outputs());
        prior.iter_mut().zip(&self.weights).for_each(|(count, weight)| *count *= weight);
        let all: f64 = prior.iter().sum();
        for share in &mut prior {
            *share /= all;
        }
        let entropy = entropy(&prior);
        let level = if self.gamma.is_some() { self.best_constant(&prior) } else { entropy };
        (entropy > 1e-9).then_some(level)
    }
}

/// Number of examples of each class.
fn counts(targets: &[Target], classes: usize) -> Vec<f64> {
    let mut counts = vec![0.0; classes];
    for class in targets.iter().filter_map(Target::class) {
        counts[class as usize] += 1.0;
    }
    counts
}

/// The entropy in nats of the distribution with these counts or shares.
pub(super) fn entropy(counts: &[f64]) -> f64 {
    let all: f64 = counts.iter().sum();
    counts.iter().filter(|count| **count > 0.0).map(|count| -count / all * (count / all).ln()).sum()
}

/// The cross-entropy of logits for a class, and its gradient.
pub(super) fn cross_entropy(logits: &[f64], class: usize) -> (f64, Vec<f64>) {
    let log_sum = log_sum_exp(logits);
    let mut gradient: Vec<f64> = logits.iter().map(|x| (x - log_sum).exp()).collect();
    gradient[class] -= 1.0;
    (log_sum - logits[class], gradient)
}

fn log_sum_exp(logits: &[f64]) -> f64 {
    let top = logits.iter().fold(f64::NEG_INFINITY, |top, &x| top.max(x));
    top + logits.iter().map(|&x| (x - top).exp()).sum::<f64>().ln()
}

/// The most confident quarter of the predictions. A prediction is more confident if its cross-entropy would be lower, were it true.
/// Of equal ones the first counts.
fn surest(scores: &[&[f32]], predictions: &[usize], truth: &[u32]) -> Option<Surest> {
    let own_loss = |i: usize| {
        let row: Vec<f64> = scores[i].iter().copied().map(f64::from).collect();
        let own_loss = log_sum_exp(&row) - row[predictions[i]];
        if own_loss.is_nan() { f64::INFINITY } else { own_loss }
    };
    let mut order: Vec<(f64, usize)> = (0..scores.len()).map(|i| (own_loss(i), i)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let surest = order.get(..DiagnosticRow::surest_of(order.len())).filter(|surest| !surest.is_empty())?;
    Some(Surest {
        wrong: surest.iter().filter(|(_, i)| predictions[*i] != truth[*i] as usize).count() as u32,
        expected: surest.iter().map(|(own_loss, _)| -(-own_loss).exp_m1()).sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing::slopes_agree;

    const LOGITS: [f64; 3] = [0.3, -1.2, 2.0];

    fn task(weights: [f64; 3], gamma: Option<f64>, smoothing: f64) -> Classification {
        Classification { weights: weights.into(), gamma, smoothing }
    }

    #[test]
    fn a_uniform_guess_costs_the_logarithm_of_the_classes() {
        for smoothing in [0.0, 0.1] {
            let (loss, _) = task([1.0; 3], None, smoothing).gradient(&[2.0; 3], &Target::Class(1));
            assert!((loss - 3f64.ln()).abs() < 1e-12);
        }
        assert!(task([1.0; 3], None, 0.0).loss(&[f64::NAN, 0.0, 0.0], &Target::Class(1)).is_nan());
    }

    #[test]
    fn the_gradient_is_the_slope() {
        for weights in [[1.0; 3], [1.0, 0.25, 4.0]] {
            for (gamma, smoothing) in [(None, 0.0), (None, 0.2), (Some(2.0), 0.0), (Some(0.5), 0.0), (Some(0.0), 0.0)] {
                slopes_agree(&task(weights, gamma, smoothing), &LOGITS, &Target::Class(2));
            }
        }
    }

    #[test]
    fn a_focal_loss_without_power_is_the_cross_entropy() {
        let [focal, plain] =
            [Some(0.0), None].map(|gamma| task([1.0; 3], gamma, 0.0).gradient(&LOGITS, &Target::Class(0)));
        assert!((focal.0 - plain.0).abs() < 1e-12);
        // A certain answer has no gradient, and no NaN.
        let certain = task([1.0; 3], Some(0.5), 0.0).gradient(&[800.0, 0.0, 0.0], &Target::Class(0));
        assert_eq!(certain, (0.0, vec![0.0; 3]));
    }

    #[test]
    fn chance_is_the_loss_of_the_best_constant() {
        let targets = [0, 0, 0, 1].map(Target::Class);
        let chance = |weights, gamma| task(weights, gamma, 0.0).chance(&targets).unwrap();
        let entropy = -(0.75f64 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
        assert!((chance([1.0; 3], None) - entropy).abs() < 1e-12);
        assert!((chance([1.0, 3.0, 1.0], None) - 2f64.ln()).abs() < 1e-12, "weights that balance the classes");
        assert!((chance([1.0; 3], Some(0.0)) - entropy).abs() < 1e-3, "by descent");
        let focal = chance([1.0; 3], Some(2.0));
        let at = |p: f64| 0.75 * (1.0 - p).powi(2) * -p.ln() + 0.25 * p.powi(2) * -(1.0 - p).ln();
        let lowest = (1..1000).map(|i| at(f64::from(i) / 1000.0)).fold(f64::INFINITY, f64::min);
        assert!((focal - lowest).abs() < 1e-3, "{focal} {lowest}");
        assert_eq!(task([1.0; 3], None, 0.0).chance(&[Target::Class(1)]), None);
    }

    #[test]
    fn balanced_weights_are_those_of_scikit_learn() {
        let loss = LossConfig { class_weights: serde_json::from_str("\"balanced\"").unwrap(), ..LossConfig::default() };
        let labels = ["a".to_owned(), "b".to_owned()];
        let balanced = |prior: &[f64]| Classification::new(&loss, 0.0, &labels, prior).unwrap().weights;
        assert_eq!(balanced(&[0.75, 0.25]), [4.0 / 6.0, 2.0], "of 3 and 1 rows: rows / (classes * rows of the class)");
        assert_eq!(balanced(&[1.0, 0.0]), [0.5, 1.0], "a class without training rows");
        let loss = LossConfig { class_weights: serde_json::from_str("{\"b\": 2}").unwrap(), ..LossConfig::default() };
        let error = Classification::new(&loss, 0.0, &labels, &[0.75, 0.25]).unwrap_err().to_string();
        assert!(error.contains("has no weight for `a`"), "{error}");
    }

    #[test]
    fn the_surest_quarter_is_held_against_its_labels() {
        let scores: [&[f32]; 9] = [
            &[0.0, 5.0],
            &[0.0, 1.0],
            &[4.0, 0.0],
            &[1.0, 0.0],
            &[0.1, 0.0],
            &[0.0, 0.2],
            &[f32::NAN, 0.0],
            &[0.0, 3.0],
            &[2.0, 0.0],
        ];
        let predictions: Vec<usize> = scores.iter().map(|row| best_class(row)).collect();
        let wrong = |truth: [u32; 9]| surest(&scores, &predictions, &truth).map(|surest| surest.wrong);
        let truth = [1, 1, 0, 0, 0, 1, 1, 1, 0];
        assert_eq!(wrong(truth), Some(0), "the two most confident of nine, the first and the third, are right");
        assert_eq!(wrong([0, 1, 0, 0, 0, 1, 1, 1, 0]), Some(1));
        assert_eq!(wrong([1, 0, 0, 1, 1, 0, 0, 0, 1]), Some(0), "answers that are less confident do not count");
        assert_eq!(surest(&scores[..3], &predictions[..3], &truth[..3]), None);
        // Their odds are e^5 and e^4 to 1.
        let expected = surest(&scores, &predictions, &truth).unwrap().expected;
        assert!((expected - 1.0 / (1.0 + 5f64.exp()) - 1.0 / (1.0 + 4f64.exp())).abs() < 1e-12, "{expected}");
    }
}
