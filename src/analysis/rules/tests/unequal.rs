//! Rules on data of unequal classes, where most batches hold the frequent class alone, and guessing is a loss far below ln K.

use super::{Made, foreign, healthy, noisy, of_prior, poor, primary, rows};
use crate::analysis::curve::Point;
use crate::analysis::measured::LEAST_DELTA;
use crate::analysis::measured::{Measured, chance};
use crate::analysis::shape::Shape;
use crate::analysis::verdicts::{Diagnosis, diagnose};
use crate::trial::{Cause, DiagnosticRow, Reason, Status, TrialConfig, Verdict};

/// Nine in ten labels are one class. H is 0.325.
const PRIOR: [f64; 2] = [0.9, 0.1];

#[expect(clippy::needless_pass_by_value, reason = "made for it")]
fn first(made: Made) -> Verdict {
    of_prior(&made, &PRIOR).verdicts.swap_remove(0)
}

/// The losses of small batches, 0.45 in the mean: one in five holds the rare class. At the steps of the evaluations it is the mean.
fn jumps(t: f64) -> f64 {
    match (t * 300.0).round() as u64 % 5 {
        0 => 0.45,
        1 => 1.25,
        _ => 0.183,
    }
}

/// A run whose evaluations stay at guessing.
fn stuck() -> Made {
    Made { train: |_| 0.33, eval: |_| 0.33, accuracy: |_| 0.9, rows: rows(0.3, 0.5, 7e-4, [200, 0]), ..healthy() }
}

#[test]
fn batches_of_two_are_noisy_although_most_are_alike() {
    let of = |batch: fn(&mut TrialConfig)| first(Made { train: jumps, change: batch, ..stuck() });
    let small = of(|config| config.batch_size = 2);
    assert_eq!(small.id, Cause::NoisyBatches, "{small:?}");
    assert_ne!(of(|config| config.batch_size = 8).id, Cause::NoisyBatches);
}

#[test]
fn blocks_that_lie_below_guessing_by_chance_are_no_collapse() {
    // Blocks of the first two thirds lie at 0.2, by their noise. Neither evaluations nor clean losses do.
    let train = |t: f64| if t < 0.66 { 0.2 } else { 0.36 };
    let of = |clean: f64| {
        let curve = |steps: u64, of: &dyn Fn(f64) -> f64| -> Vec<Point> {
            (1..=steps).map(|i| Point { x: (i * 300 / steps) as f64, y: of(i as f64 / steps as f64) }).collect()
        };
        let measured = Measured {
            train: curve(300, &train),
            eval: curve(12, &|_| clean.max(0.32)),
            probe: curve(12, &|t| if t < 0.66 { clean } else { 0.33 }),
            train_prior: &PRIOR,
            eval_prior: &PRIOR,
            steps: 300,
            ..Measured::default()
        };
        diagnose(&measured, Status::Finished, LEAST_DELTA).verdicts.iter().any(|verdict| verdict.id == Cause::Collapsed)
    };
    assert!(of(0.1), "the clean loss shows that the model had learned");
    assert!(!of(0.32));
}

#[test]
fn gradients_that_vanish_after_large_steps_are_the_learning_rates() {
    let falls = |t: f64| 0.33 + 0.36 * (-t / 0.02).exp();
    let with = |ratio| first(Made { train: falls, eval: swinging, rows: rows(1e-6, 0.2, ratio, [200, 0]), ..stuck() });
    assert_eq!(with(7e-4).id, Cause::Vanish);
    let large = with(1e-2);
    assert!(large.id == Cause::PriorStuck && large.reason == Some(Reason::RateTooHigh), "{large:?}");
}

/// An evaluation loss that falls from ln 2 to guessing, and comes back above its lowest by 0.05.
fn swinging(t: f64) -> f64 {
    match t {
        0.0 => 0.69,
        t if t > 0.5 => 0.38,
        _ => 0.33,
    }
}

#[test]
fn a_head_above_a_frozen_encoder_that_still_improves_is_named() {
    let untrained = |row: DiagnosticRow| DiagnosticRow { first_grad_norm: None, last_grad_norm: None, ..row };
    let rows = rows(0.0, 0.0, 0.0, [190, 10])
        .into_iter()
        .map(untrained)
        .map(|row| DiagnosticRow { update_ratio: None, ..row });
    let falls = |t: f64| 0.68 - 0.2 * t;
    let found = first(Made { train: falls, eval: falls, accuracy: |_| 0.9, rows: rows.collect(), ..healthy() });
    assert!(found.id == Cause::Frozen && found.reason == Some(Reason::Encoder), "{found:?}");
}

/// A short run whose loss falls from ln 3 and has not passed guessing yet, with the area under the ROC curve `auroc`.
fn on_the_way(auroc: f64, evals: [f64; 4]) -> Diagnosis {
    let prior = [0.43, 0.43, 0.14];
    let curve =
        |values: &[f64]| (0..).zip(values).map(|(i, &y)| Point { x: f64::from(i) * 10.0, y }).collect::<Vec<_>>();
    let measured = Measured {
        train: (1..=30).map(|step| Point { x: f64::from(step), y: 1.1 - 0.002 * f64::from(step) }).collect(),
        eval: curve(&evals),
        accuracy: curve(&[0.43; 4]),
        auroc: curve(&[0.5, auroc, auroc, auroc]),
        train_prior: &prior,
        eval_prior: &prior,
        steps: 30,
        ..Measured::default()
    };
    assert!(chance(&prior).is_some_and(|chance| evals[3] > chance));
    diagnose(&measured, Status::Finished, LEAST_DELTA)
}

#[test]
fn a_model_that_ranks_the_classes_is_not_stuck() {
    let falls = [1.094, 1.06, 1.038, 1.034];
    let (guesses, ranks) = (on_the_way(0.55, falls), on_the_way(0.97, falls));
    assert_eq!((guesses.shape, ranks.shape), (Shape::Stuck, Shape::Plateaued { onset: 20 }));
    assert_eq!(guesses.verdicts[0].id, Cause::PriorStuck);
    assert!(ranks.cause().is_none(), "{:?}", ranks.verdicts);
    assert_eq!(on_the_way(0.97, [1.094, 1.03, 1.06, 1.04]).shape, Shape::Stuck, "it goes up and down");
}

#[test]
fn wrong_labels_are_seen_where_they_keep_the_loss_near_guessing() {
    let of = |wrong: u32, level: fn(f64) -> f64| {
        let rows =
            rows(0.5, 0.7, 5e-4, [630, 60]).into_iter().map(|row| DiagnosticRow { surest_wrong: Some(wrong), ..row });
        of_prior(&Made { eval: level, accuracy: |_| 0.93, rows: rows.collect(), ..poor_of_unequal() }, &PRIOR)
    };
    let names_labels = |found: Diagnosis| found.verdicts.iter().any(|verdict| verdict.id == Cause::LabelFloor);
    assert!(names_labels(of(18, |_| 0.29)), "0.9 H");
    assert!(!names_labels(of(18, |_| 0.32)), "at guessing, confidence means nothing");
    assert!(!names_labels(of(5, |_| 0.29)));
}

/// As [`poor`], at losses that fit H.
fn poor_of_unequal() -> Made {
    Made { train: |t| 0.25 + 0.4 * (-t / 0.05).exp(), ..poor() }
}

/// A fresh head starts at ln 2, where guessing has 0.2. Each evaluation gains less than delta.
#[test]
fn a_loss_that_slowly_comes_down_to_guessing_is_too_slow() {
    let prior = [0.05, 0.95];
    let loss = |t: f64| 0.68 - 0.1 * t;
    let of = |loss: &dyn Fn(f64) -> f64| {
        let evals =
            (0..=40).map(|i| Point { x: f64::from(i) * 20.0, y: loss(f64::from(i) / 40.0) }).collect::<Vec<_>>();
        let measured = Measured {
            probe: evals.clone(),
            eval: evals,
            train_prior: &prior,
            eval_prior: &prior,
            ..foreign(noisy(800, 0.02, loss), vec![], vec![])
        };
        primary(&measured)
    };
    assert_eq!(of(&loss), Cause::TooSlow);
    assert_ne!(of(&|t| loss(t) - 0.5 + 0.1 * t), Cause::TooSlow, "below guessing");
}
