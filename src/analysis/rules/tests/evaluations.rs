//! OVERFIT and NONFINITE on evaluations that are noisy, few, close to zero or broken.

use crate::analysis::curve::Point;
use crate::analysis::measured::LEAST_DELTA;
use crate::analysis::measured::Measured;
use crate::analysis::synthetic::gauss;
use crate::analysis::verdicts::diagnose;
use crate::trial::{Cause, Reason, Status, Verdict};

/// A log of `rows` training losses that fall from 0.7 to 0.2, with evaluations at equal distances up to step 1200.
fn log(rows: u32, evals: &[f64], accuracy: &[f64]) -> Measured<'static> {
    let curve = |values: &[f64]| -> Vec<Point> {
        let every = 1200.0 / values.len() as f64;
        (1..).zip(values).map(|(i, &y)| Point { x: f64::from(i) * every, y }).collect()
    };
    let train: Vec<f64> = (0..rows).map(|i| 0.7 - 0.5 * f64::from(i) / f64::from(rows)).collect();
    Measured { train: curve(&train), eval: curve(evals), accuracy: curve(accuracy), steps: 1200, ..Measured::default() }
}

fn found(measured: &Measured<'_>, cause: Cause) -> Option<Verdict> {
    diagnose(measured, Status::Finished, LEAST_DELTA).verdicts.into_iter().find(|verdict| verdict.id == cause)
}

fn overfits(measured: &Measured<'_>) -> bool {
    found(measured, Cause::Overfit).is_some()
}

/// The lowest of many noisy evaluations lies below the last ones by chance.
#[test]
fn the_lowest_of_noisy_evaluations_is_no_best() {
    let noisy = |sigma: f64, rise: f64| -> Vec<f64> {
        (0..120_u64).map(|i| 0.28 + sigma * gauss(3, i) + rise * (i as f64 / 120.0 - 0.3).max(0.0)).collect()
    };
    assert!(!overfits(&log(120, &noisy(0.012, 0.0), &[])));
    assert!(overfits(&log(120, &noisy(0.012, 0.3), &[])));
}

#[test]
fn a_loss_close_to_zero_may_double() {
    let falls =
        |end: [f64; 4]| -> Vec<f64> { (0..40).map(|i| 0.08 * (-f64::from(i) / 5.0).exp()).chain(end).collect() };
    assert!(!overfits(&log(60, &falls([1e-4, 2e-4, 2e-4, 2e-4]), &[])));
    assert!(overfits(&log(60, &falls([1e-4, 0.02, 0.03, 0.04]), &[])));
}

#[test]
fn an_accuracy_that_rises_with_the_loss_is_over_confidence() {
    let (loss, rises) = ([4.2, 4.4, 4.8, 4.9, 5.0, 5.2, 5.4, 5.4], [0.40, 0.52, 0.57, 0.60, 0.64, 0.61, 0.61, 0.61]);
    let falls = [0.64, 0.62, 0.62, 0.61, 0.61, 0.6, 0.6, 0.6];
    assert!(!overfits(&log(60, &loss, &rises)) && found(&log(60, &loss, &rises), Cause::CalibrationOnly).is_some());
    assert!(overfits(&log(60, &loss, &falls)));
}

#[test]
fn a_log_of_few_training_losses_overfits_too() {
    let eval = [1.40, 1.39, 1.66, 2.48, 3.44, 5.0, 5.07, 4.88, 4.8, 5.1];
    // A row every 120 steps, and the evaluations in between.
    let mut few = log(10, &eval, &[]);
    few.train.iter_mut().for_each(|point| point.x -= 70.0);
    assert!(overfits(&few));
}

#[test]
fn a_single_last_evaluation_counts_at_the_end_of_the_run_alone() {
    let mut two = log(60, &[0.37, 0.45], &[]);
    assert!(overfits(&two), "the run is over");
    two.steps = 9000;
    assert!(!overfits(&two), "the run continues");
    let single = [0.67, 0.56, 0.42, 0.35, 0.33, 0.32, 0.45];
    assert!(!overfits(&log(60, &single, &[])), "the training losses tell enough");
}

#[test]
fn an_evaluation_that_is_nan_while_training_continues_is_broken_itself() {
    let mut broken = log(60, &[f64::NAN; 7], &[]);
    let verdict = found(&broken, Cause::NonFinite).unwrap();
    insta::assert_snapshot!(verdict.text, @"the eval loss is not finite at step 171, but the training loss is finite to the end: labels, masks or number precision of the evaluation are wrong, not the learning rate");
    assert_eq!(verdict.reason, Some(Reason::Start));
    broken.train.last_mut().unwrap().y = f64::NAN;
    assert_eq!(found(&broken, Cause::NonFinite).unwrap().reason, None);
}

/// Every cause stands on the page that explains the rules.
#[test]
fn the_documentation_names_every_cause() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/diagnosis.md");
    let text = std::fs::read_to_string(path).unwrap();
    let missing: Vec<&str> = Cause::ALL.iter().map(|cause| cause.name()).filter(|name| !text.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
