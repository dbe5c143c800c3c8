//! Whether a log of unknown class frequencies shows a model that guesses: accuracies that never move, or those of equal probabilities.
//!
//! The answers of such a model are all one class, and its losses rest at the entropy of the class frequencies.

use super::curve::Point;
use super::detector::detect;
use super::measured::Measured;
use super::statistics::{mean, median};
use super::thresholds as limit;

/// The accuracy, if it is the same at every evaluation, and the losses rest at what a guess with that accuracy has.
///
/// Six evaluations are enough by themselves. Of three to five, the losses must also stay still, since a small evaluation set repeats
/// an accuracy by chance.
pub fn constant_accuracy(measured: &Measured<'_>) -> Option<f64> {
    let accuracies = measured.accuracies();
    let accuracy = *accuracies.first()?;
    let alike = |tolerance: f64| accuracies.iter().all(|other| (other - accuracy).abs() < tolerance);
    let outside = accuracy <= 0.0 || accuracy >= 1.0;
    if !alike(limit::ALIKE) || accuracies.len() < limit::FEW_ALIKE_EVALS || outside {
        return None;
    }
    let (evals, train) = last_losses(measured);
    let is_sure = accuracies.len() >= limit::ALIKE_EVALS && alike(1e-6) && train.len() >= limit::FEWEST_NOISY;
    let least = limit::AT_PRIOR * if is_sure { entropy(accuracy, 1.0) } else { least_entropy(accuracy) };
    let rests = evals.iter().all(|level| *level >= least) && (train.is_empty() || mean(&train) >= least);
    let most = least_entropy(accuracy) + (1.0 - accuracy) * (limit::FEW_CLASSES as f64 - 1.0).ln();
    let is_still =
        || span(&evals) < limit::STILL * median(&evals) && median(&evals) < most && stays_at(measured, &evals);
    // A loss that falls is learned, before the answers change.
    let falls = || detect(measured).tail.trend.is_falling();
    (rests && (is_sure || is_still()) && !falls()).then_some(accuracy)
}

/// Whether each accuracy is 1/K, and the losses rest at ln K, for one K.
pub fn guesses_uniformly(measured: &Measured<'_>) -> bool {
    let accuracies = measured.accuracies();
    let (evals, _) = last_losses(measured);
    let guesses = |classes: usize| {
        let (share, loss) = (1.0 / classes as f64, (classes as f64).ln());
        accuracies.iter().all(|accuracy| (accuracy - share).abs() < limit::MAJORITY_MARGIN / 2.0)
            && evals.iter().all(|eval| (eval / loss - 1.0).abs() < limit::NEAR_UNIFORM)
    };
    accuracies.len() >= limit::FEW_ALIKE_EVALS
        && !evals.is_empty()
        && (2..=limit::FEW_CLASSES).any(guesses)
        && stays_at(measured, &evals)
}

/// The latter half of the evaluation losses and the last third of the training losses.
pub fn last_losses(measured: &Measured<'_>) -> (Vec<f64>, Vec<f64>) {
    let last = |losses: Vec<f64>, parts: usize| losses[losses.len() - losses.len().div_ceil(parts)..].to_vec();
    (last(finite(&measured.eval), 2), last(finite(&measured.train), 3))
}

/// Whether the training loss rests, and not clearly below the evaluation loss. Where it is not logged, nothing speaks against it.
fn stays_at(measured: &Measured<'_>, evals: &[f64]) -> bool {
    let losses = finite(&measured.train);
    let third = losses.len().div_ceil(3);
    let (middle, last) = losses.split_at(losses.len() - third);
    let falls = middle.last_chunk::<1>().is_some() && mean(last) < limit::POOR_FALL * mean(&middle[middle.len() / 2..]);
    losses.is_empty() || mean(last) >= limit::AT_PRIOR * median(evals) && !falls
}

fn finite(points: &[Point]) -> Vec<f64> {
    points.iter().map(|point| point.y).filter(|y| y.is_finite()).collect()
}

fn span(values: &[f64]) -> f64 {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max) - low
}

/// The least entropy of class frequencies of which `share` is the greatest: as many classes of this share as there can be, and the rest.
fn least_entropy(share: f64) -> f64 {
    let classes = (1.0 / share + 1e-9).floor();
    entropy(share, classes)
}

/// The entropy of `classes` classes of `share` each, and one of the rest.
fn entropy(share: f64, classes: f64) -> f64 {
    let part = |p: f64| if p > 1e-9 { -p * p.ln() } else { 0.0 };
    classes * part(share) + part(1.0 - classes * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropies() {
        let check = |share: f64, expected: f64| assert!((least_entropy(share) - expected).abs() < 1e-3, "{share}");
        check(0.5, std::f64::consts::LN_2);
        check(0.25, 4_f64.ln());
        check(0.9, 0.325);
        check(0.4, 1.055);
        assert!((entropy(0.25, 1.0) - 0.562).abs() < 1e-3);
    }
}
