//! Rules on logs of other programs: no configuration, and often no class frequencies.

use super::{PRIOR, foreign, noisy, primary};
use crate::analysis::curve::Point;
use crate::analysis::measured::LEAST_DELTA;
use crate::analysis::measured::Measured;
use crate::analysis::shape::Shape;
use crate::analysis::synthetic::gauss;
use crate::analysis::verdicts::{blames_a_high_rate, diagnose};
use crate::trial::{Cause, Reason, ShapeKind, Status};

#[test]
fn a_loss_that_only_falls_is_never_too_high() {
    // A fresh head starts near ln 2 whatever the class frequencies are.
    for prior in [[0.95, 0.05], [0.86, 0.14], [0.75, 0.25]] {
        let train = noisy(200, 0.02, |t| 0.69 - 0.12 * t);
        let log = Measured { train_prior: &prior, eval_prior: &prior, ..foreign(train, vec![], vec![]) };
        let found = diagnose(&log, Status::Finished, LEAST_DELTA);
        let blamed = [Cause::Overshoot, Cause::AfterWarmup, Cause::Collapsed, Cause::PriorStuck];
        assert!(found.verdicts.iter().all(|verdict| blamed.iter().all(|cause| verdict.id != *cause)), "{found:?}");
        assert_eq!(found.verdicts[0].id, Cause::TooSlow, "{found:?}");
    }
    // Single batches of a rare class are no collapse while the evaluation loss is low.
    let rare = noisy(200, 0.0, |t| if ((t * 200.0) as u64).is_multiple_of(7) { 0.6 } else { 0.1 * (1.0 - t) + 0.02 });
    let eval = (0..10).map(|i| 0.15 - 0.012 * f64::from(i)).collect();
    let prior = [0.95, 0.05];
    let log = Measured { train_prior: &prior, eval_prior: &prior, ..foreign(rare, eval, vec![]) };
    let found = diagnose(&log, Status::Finished, LEAST_DELTA);
    assert!(found.verdicts.iter().all(|verdict| verdict.id != Cause::Collapsed), "{found:?}");
}

#[test]
fn stuck_is_seen_without_class_frequencies() {
    assert_eq!(primary(&foreign(noisy(200, 0.045, |_| 0.70), vec![], vec![])), Cause::NeverFell, "flat from the start");
    assert_eq!(primary(&foreign(noisy(200, 0.03, |_| 1.0), vec![], vec![])), Cause::NeverFell, "ln 2 in bits");
    let still = foreign(vec![], noisy(10, 0.0005, |_| 0.6933), vec![0.5; 10]);
    assert_eq!(primary(&still), Cause::NeverFell, "at ln 2 and a half");
    let majority = foreign(noisy(100, 0.02, |_| 0.626), vec![0.625, 0.624, 0.626, 0.625, 0.624, 0.625], vec![0.684; 6]);
    assert_eq!(primary(&majority), Cause::NeverFell, "a constant accuracy");
    let epoch: Vec<f64> = noisy(10, 0.1, |_| 0.7);
    let repeated = epoch.iter().cycle().take(60).copied().collect();
    assert_eq!(primary(&foreign(repeated, vec![], vec![])), Cause::Frozen, "the same losses in each epoch");
    // What learned is not stuck.
    let learned = foreign(noisy(200, 0.03, |t| 0.1 + 0.6 * (-t / 0.05).exp()), vec![0.3; 6], vec![0.88; 6]);
    assert_ne!(primary(&learned), Cause::NeverFell);
    let resumed = noisy(100, 0.02, |_| 3.7);
    let mut resumed = foreign(resumed, vec![], vec![]);
    resumed.train.iter_mut().chain(&mut resumed.lr).for_each(|point| point.x += 5000.0);
    assert_ne!(primary(&resumed), Cause::NeverFell, "its start is not seen");
    resumed.train.iter_mut().for_each(|point| point.y -= 3.7 - 10_f64.ln());
    assert_ne!(primary(&resumed), Cause::NeverFell, "of a resumed run, ln 10 is a level as any other");
    let mut coarse = foreign(noisy(40, 0.02, |_| 0.9), vec![], vec![]);
    coarse.train.iter_mut().for_each(|point| point.x *= 500.0);
    assert_eq!(primary(&coarse), Cause::NeverFell, "the first row comes at step 500 of 20,000");
}

#[test]
fn a_training_loss_that_never_leaves_its_noise_is_not_called_healthy() {
    // It is so noisy that it is not known to be flat either.
    let flat = noisy(80, 0.15, |_| 2.45);
    assert_eq!(primary(&foreign(flat.clone(), vec![], vec![])), Cause::TooShort);
    let evaluated = foreign(flat, vec![2.5, 2.4, 2.3, 2.2, 2.1, 2.0, 1.9, 1.8], vec![]);
    assert_ne!(primary(&evaluated), Cause::TooShort, "its evaluations show something");
    let settles = noisy(200, 0.05, |t| 1.45 + 0.15 * (-t / 0.05).exp());
    assert_eq!(primary(&foreign(settles, vec![], vec![])), Cause::Healthy);
    let power_law = noisy(400, 0.03, |t| 1.8 + 6.0 * (2000.0 * t + 1.0).powf(-0.1));
    assert_eq!(primary(&foreign(power_law, vec![], vec![])), Cause::Healthy);
}

#[test]
fn stuck_and_healthy_fine_tunings_of_mosbach_are_distinguished() {
    // RTE and MRPC as in Mosbach et al. 2021: three epochs at a batch of 16, evaluated eight times.
    for (seed, prior) in (0..20).flat_map(|seed| [(seed, [0.5, 0.5]), (seed, [0.68, 0.32])]) {
        let entropy = -prior.iter().map(|p: &f64| p * p.ln()).sum::<f64>();
        let noise = |i: usize, sigma: f64| sigma * gauss(seed, i as u64);
        let stuck = Measured {
            train: (1..=120).map(|i| Point { x: f64::from(i), y: entropy + 0.01 + noise(i as usize, 0.04) }).collect(),
            ..foreign(vec![], (0..8).map(|i| entropy + 0.002 + noise(900 + i, 0.002)).collect(), vec![prior[0]; 8])
        };
        let healthy = Measured {
            train: (1..=120)
                .map(|i| Point {
                    x: f64::from(i),
                    y: 0.08 + 0.6 * (-f64::from(i) / 30.0).exp() + noise(i as usize, 0.04),
                })
                .collect(),
            ..foreign(
                vec![],
                (0..8)
                    .map(|i| {
                        0.62 - 0.04 * (i as f64).min(3.0) + 0.05 * (i as f64 - 3.0).max(0.0) + noise(900 + i, 0.01)
                    })
                    .collect(),
                (0..8).map(|i| prior[0] + 0.12 * (1.0 - (-(i as f64)).exp()) + noise(700 + i, 0.005)).collect(),
            )
        };
        let is_stuck = |measured: &Measured<'_>| {
            let found = diagnose(measured, Status::Finished, LEAST_DELTA);
            found.shape == Shape::Stuck
                || [Cause::PriorStuck, Cause::NeverFell].iter().any(|cause| found.verdicts[0].id == *cause)
        };
        let known = |measured: &Measured<'static>| {
            is_stuck(&Measured { train_prior: &prior, eval_prior: &prior, ..measured.clone() })
        };
        assert!(known(&stuck) && is_stuck(&stuck), "{prior:?} {seed}");
        assert!(!known(&healthy) && !is_stuck(&healthy), "{prior:?} {seed}");
    }
}

#[test]
fn late_divergence_and_broken_numbers() {
    let falling = || (0..14).map(|i| 4.1 * (-f64::from(i) / 8.0).exp() + 1.0).collect::<Vec<_>>();
    let mut leaps = falling();
    leaps.push(14.0);
    assert_eq!(primary(&foreign(vec![], leaps, vec![])), Cause::Diverged);
    assert_ne!(primary(&foreign(vec![], falling(), vec![])), Cause::Diverged);
    let rises = noisy(100, 0.05, |t| 6.0 - 3.0 * t + if t > 0.9 { 200.0 * (t - 0.9) } else { 0.0 });
    assert_eq!(
        diagnose(&foreign(rises, vec![], vec![]), Status::Finished, LEAST_DELTA).shape.kind(),
        ShapeKind::Diverged
    );
    let zero = noisy(60, 0.0, |t| if t < 0.2 { 2.7 } else { 0.0 });
    assert_eq!(primary(&foreign(zero, vec![], vec![])), Cause::ZeroLoss);
    let fitted = noisy(60, 0.0, |t| if t < 0.6 { 2.7 * (-t / 0.04).exp() } else { 0.0 });
    assert_ne!(primary(&foreign(fitted, vec![], vec![])), Cause::ZeroLoss, "fitted step by step");
    // Loss scaling skips a step at an infinite gradient norm.
    let mut scaled = foreign(noisy(60, 0.02, |t| 0.1 + 0.6 * (-t / 0.1).exp()), vec![], vec![]);
    scaled.grad_norm =
        (1..=60).map(|i| Point { x: f64::from(i), y: if i % 20 == 1 { f64::INFINITY } else { 1.0 } }).collect();
    assert_ne!(primary(&scaled), Cause::NonFinite);
    let from_the_start = diagnose(&foreign(vec![f64::NAN; 30], vec![], vec![]), Status::Finished, LEAST_DELTA);
    assert_eq!(from_the_start.verdicts[0].reason, Some(Reason::Start));
    assert!(!from_the_start.verdicts[0].advice.as_ref().unwrap().contains("learning rate"));
}

#[test]
fn over_confident_from_the_first_evaluation() {
    let train = noisy(200, 0.02, |t| 0.02 + 0.6 * (-t / 0.03).exp());
    let eval = (0..8).map(|i| 0.72 + 0.05 * f64::from(i)).collect();
    let log = Measured { train_prior: &PRIOR, eval_prior: &PRIOR, ..foreign(train, eval, vec![84.0; 8]) };
    let found = diagnose(&log, Status::Finished, LEAST_DELTA);
    assert_eq!(found.shape, Shape::Overconfident, "accuracy in per cent: {found:?}");
    assert_eq!(found.verdicts[0].id, Cause::Overconfident, "not OVERFIT: the accuracy holds");
}

#[test]
fn stuck_after_the_head_has_settled() {
    for (classes, start) in [(2.0_f64, 1.0), (3.0, 1.5), (10.0, 3.0)] {
        let level = classes.ln();
        let train = || noisy(200, 0.02, |t| level + (start - level) * (-t / 0.05).exp());
        let still: Vec<f64> = noisy(10, 0.0005, |_| level);
        assert_eq!(primary(&foreign(train(), still.clone(), vec![])), Cause::NeverFell, "{classes} classes");
        assert_eq!(primary(&foreign(train(), still, vec![1.0 / classes; 10])), Cause::NeverFell, "{classes} classes");
        let learns = noisy(200, 0.02, |t| level * 0.5 + (start - level * 0.5) * (-t / 0.05).exp());
        assert_ne!(primary(&foreign(learns, vec![level * 0.5; 10], vec![])), Cause::NeverFell, "{classes} classes");
    }
}

#[test]
fn a_leap_of_the_last_losses_is_a_divergence() {
    let run = |leaping: usize, to: f64| {
        let mut train = noisy(200, 0.03, |t| 1.2 + 2.0 * (-t / 0.1).exp());
        train.iter_mut().rev().take(leaping).for_each(|loss| *loss = to);
        foreign(train, vec![], vec![])
    };
    for (leaping, to) in [(2, 9.0), (4, 6.1), (9, 5.0), (12, 9.0)] {
        assert_eq!(primary(&run(leaping, to)), Cause::Diverged, "the last {leaping} at {to}");
    }
    assert_ne!(primary(&run(1, 9.0)), Cause::Diverged, "a single spike");
    assert_ne!(primary(&run(2, 2.4)), Cause::Diverged, "two below the start");
    assert_ne!(primary(&run(3, 1.6)), Cause::Diverged, "a fifth of the fall");
    assert_eq!(primary(&run(3, 2.4)), Cause::Diverged, "far above its level, and it stays");
    for (evals, last) in [(vec![1.3, 1.1, 1.0, 0.96, 0.95], 2.3), (vec![2.5, 1.2, 1.0, 0.95], 4.5)] {
        let train = || noisy(200, 0.03, |t| 1.0 + (-t / 0.1).exp());
        assert_ne!(primary(&foreign(train(), evals.clone(), vec![])), Cause::Diverged);
        assert_eq!(primary(&foreign(train(), [evals, vec![last]].concat(), vec![])), Cause::Diverged, "to {last}");
    }
}

#[test]
fn gradient_norms_beside_sound_or_zero_losses() {
    let norms = |broken: usize, value: f64| {
        (1..=60)
            .map(move |i| Point { x: f64::from(i), y: if i as usize + broken > 60 { value } else { 1.0 } })
            .collect()
    };
    let falls = |t: f64| 0.1 + 0.6 * (-t / 0.1).exp();
    let with = |broken, value| {
        let log = foreign(noisy(60, 0.02, falls), vec![], vec![]);
        primary(&Measured { grad_norm: norms(broken, value), ..log })
    };
    assert_ne!(with(1, f64::INFINITY), Cause::NonFinite, "loss scaling skipped the last step");
    assert_eq!(with(5, f64::NAN), Cause::NonFinite, "to the end");
    let zero = noisy(60, 0.0, |t| if t < 0.5 { 1.2 } else { 0.0 });
    let log = Measured { grad_norm: norms(30, f64::NAN), ..foreign(zero, vec![], vec![]) };
    let found = diagnose(&log, Status::Finished, LEAST_DELTA);
    assert_eq!(found.verdicts[0].id, Cause::ZeroLoss);
    let blamed = [Cause::NonFinite, Cause::AfterWarmup];
    assert!(found.verdicts.iter().all(|verdict| blamed.iter().all(|cause| verdict.id != *cause)), "{found:?}");
}

#[test]
fn a_resumed_log_is_judged_by_its_own_length() {
    let mut log = foreign(noisy(200, 0.02, |_| 0.33), noisy(20, 0.003, |_| 0.33), vec![]);
    let (train, eval) = (&mut log.train, &mut log.eval);
    eval[0].y = 0.37;
    train.iter_mut().chain(eval).for_each(|point| point.x += 20_000.0);
    let shape = diagnose(&log, Status::Finished, LEAST_DELTA).shape;
    assert!(matches!(shape, Shape::Plateaued { .. }), "{shape:?}");
}

#[test]
fn a_warm_up_must_be_seen() {
    let falling = || noisy(40, 0.0, |t| 0.69 - 0.2 * t);
    let with_rates = |rate: &dyn Fn(f64) -> f64| {
        let mut log = foreign(falling(), vec![], vec![]);
        log.lr = (1..=40).map(|i| Point { x: f64::from(i), y: rate(f64::from(i)) }).collect();
        diagnose(&log, Status::Finished, LEAST_DELTA).verdicts.iter().any(|verdict| verdict.id == Cause::WarmupTooLong)
    };
    assert!(with_rates(&|x| if x <= 32.0 { x } else { 64.0 - x }));
    assert!(!with_rates(&|_| 1.0), "constant");
    assert!(!with_rates(&|x| x), "the log ends within the warm-up");
    let mut young = foreign(noisy(40, 0.02, |_| 0.9), vec![], vec![]);
    assert_eq!(primary(&young), Cause::NeverFell);
    young.lr = (1..=40).map(|i| Point { x: f64::from(i), y: 1e-6 * f64::from(i) }).collect();
    young.steps = 2000;
    assert_ne!(primary(&young), Cause::NeverFell, "the run has hardly begun");
    let mut early = foreign(falling(), vec![], vec![]);
    early.lr = (1..=40)
        .map(|i| Point { x: f64::from(i), y: if i <= 32 { f64::from(i) } else { 32.0 - 0.1 * f64::from(i) } })
        .collect();
    early.steps = 50;
    assert_ne!(primary(&early), Cause::WarmupTooLong, "the run continues");
}

#[test]
fn a_climb_at_the_end_is_a_divergence() {
    let climb = |t: f64| 0.9 + 1.4 * (-t / 0.07).exp() + 1.6 * ((t - 5.0 / 6.0) * 6.0).max(0.0);
    let log = foreign(noisy(200, 0.03, climb), vec![], vec![]);
    let found = diagnose(&log, Status::Finished, LEAST_DELTA);
    assert!(found.verdicts[0].id == Cause::Diverged && found.verdicts.len() == 1, "{found:?}");
    insta::assert_snapshot!(found.verdicts[0].text, @"the training loss climbs from 0.878 at step 169 to 2.393 at the end");
}

#[test]
fn a_loss_of_zero_is_never_the_learning_rate() {
    let of = |first: &[f64], norm: f64, rows: usize| {
        let train: Vec<f64> = first.iter().copied().chain(std::iter::repeat_n(0.0, rows - first.len())).collect();
        let norms = train.iter().map(|y| if *y > 0.0 { 4.0 } else { norm });
        let grad_norm = norms.zip(1..).map(|(y, i)| Point { x: f64::from(i), y }).collect();
        let log = Measured { grad_norm, ..foreign(train, vec![], vec![]) };
        diagnose(&log, Status::Finished, LEAST_DELTA).verdicts
    };
    for first in [&[][..], &[2.3], &[2.3, 2.2, 2.1]] {
        for rows in [6, 12, 120] {
            let found = of(first, f64::NAN, rows);
            assert_eq!(found[0].id, Cause::ZeroLoss, "{first:?} {rows}: {found:?}");
            assert!(found.len() == 1 && !found[0].advice.as_ref().unwrap().contains("lr"), "{found:?}");
        }
    }
    assert_ne!(of(&[], 0.7, 40)[0].id, Cause::ZeroLoss, "gradients work beside an objective of 0");
    let mut nan_first = of(&[2.3, f64::NAN], f64::NAN, 40);
    assert_eq!(nan_first.swap_remove(0).id, Cause::NonFinite);
}

#[test]
fn the_text_of_a_stuck_run_names_the_guess() {
    let text = |level: f64, fall: f64| {
        let eval = noisy(10, 0.0005, |_| level);
        let log = foreign(noisy(200, 0.01, |t| level + fall * (-t / 0.03).exp()), eval, vec![]);
        let mut found = diagnose(&log, Status::Finished, LEAST_DELTA).verdicts;
        assert_eq!(found[0].id, Cause::NeverFell, "{found:?}");
        found.swap_remove(0).text
    };
    insta::assert_snapshot!(text(3_f64.ln(), 0.0), @"the training loss starts at 1.099 and ends at 1.099, the loss of a guess over 3 classes (ln 3 = 1.099): nothing is learned");
    insta::assert_snapshot!(text(3_f64.ln(), 0.25), @"the training loss only falls from 1.231 to 1.099, the loss of a guess over 3 classes (ln 3 = 1.099): nothing is learned");
    insta::assert_snapshot!(text(3_f64.log2(), 0.0), @"the training loss starts at 1.585 and ends at 1.585, which a guess over 3 classes (log2 3 = 1.585) has too: nothing is learned, or nothing is left to learn");
    insta::assert_snapshot!(text(4.83, 0.0), @"the training loss starts at 4.830 and ends at 4.830: nothing is learned, or nothing is left to learn");
}

#[test]
fn a_smooth_fall_is_no_late_escape() {
    let notes = |prior: &[f64], loss: &dyn Fn(f64) -> f64| {
        let log = foreign(noisy(200, 0.01, loss), vec![], vec![]);
        let log = Measured { train_prior: prior, eval_prior: prior, ..log };
        diagnose(&log, Status::Finished, LEAST_DELTA).verdicts.iter().map(|v| v.id.to_string()).collect::<Vec<_>>()
    };
    let skewed = [0.93, 0.07];
    for smooth in [
        notes(&skewed, &|t| 0.15 + 0.55 * (-t / 0.2).exp()),
        notes(&PRIOR, &|t| 0.7 - 0.2 * t),
        notes(&PRIOR, &|t| 0.1 + 0.6 * (-t).exp()),
    ] {
        assert!(!smooth.contains(&"ESCAPED_LATE".to_owned()), "{smooth:?}");
    }
    let hockey_stick = |t: f64| if t < 0.4 { 0.69 } else { 0.1 + 0.6 * (-(t - 0.4) / 0.05).exp() };
    assert!(notes(&PRIOR, &hockey_stick).contains(&"ESCAPED_LATE".to_owned()));
    let head_first = |t: f64| hockey_stick(t) + 0.5 * (-t / 0.02).exp();
    assert!(notes(&PRIOR, &head_first).contains(&"ESCAPED_LATE".to_owned()));
}

#[test]
fn a_low_mean_of_the_first_steps_is_no_bad_start() {
    let ids = |first: f64| {
        let log = foreign(noisy(60, 0.01, |t| 0.05 + (first - 0.05) * (-t / 0.2).exp()), vec![], vec![]);
        let log = Measured { train_prior: &PRIOR, eval_prior: &PRIOR, ..log };
        diagnose(&log, Status::Finished, LEAST_DELTA).verdicts.iter().map(|v| v.id.to_string()).collect::<Vec<_>>()
    };
    assert!(!ids(0.33).contains(&"BAD_INIT".to_owned()));
    assert!(ids(4.0).contains(&"BAD_INIT".to_owned()), "a note: it recovers");
}

#[test]
fn three_evaluations_at_ln_2_are_a_guess() {
    let few = |level: f64| {
        let train = (1..=3).map(|i| Point { x: 500.0 * f64::from(i), y: level }).collect();
        let eval = (1..=3).map(|i| Point { x: 625.0 * f64::from(i), y: level + 0.0001 * f64::from(i % 2) }).collect();
        Measured { train, eval, steps: 1875, ..Measured::default() }
    };
    assert_eq!(primary(&few(2_f64.ln())), Cause::NeverFell);
    assert_eq!(primary(&few(0.61)), Cause::TooShort);
}

#[test]
fn a_run_that_broke_in_the_middle_has_diverged() {
    for at in [0.3, 0.5, 0.7] {
        let breaks = |t: f64| if t < at { 0.4 + 1.9 * (-t / 0.1).exp() } else { 1.4 };
        let log = foreign(noisy(200, 0.03, breaks), noisy(10, 0.004, breaks), vec![]);
        assert_eq!(primary(&log), Cause::Diverged, "at {at}");
    }
    // A second data set: the loss leaps and falls again.
    let second = |t: f64| if t < 0.6 { 0.4 + 1.9 * (-t / 0.1).exp() } else { 0.5 + 1.2 * (-(t - 0.6) / 0.1).exp() };
    assert_eq!(primary(&foreign(noisy(200, 0.03, second), vec![], vec![])), Cause::Healthy);
}

#[test]
fn a_restart_of_the_schedule_is_no_warm_up() {
    let cycle = |t: f64| f64::midpoint(1.0, (std::f64::consts::PI * (3.0 * t).fract()).cos());
    let mut log = foreign(noisy(200, 0.02, |t| 0.3 + 0.9 * (-t / 0.15).exp()), vec![], vec![]);
    log.lr = (1..=200).map(|i| Point { x: f64::from(i), y: cycle(f64::from(i) / 200.0) }).collect();
    log.lr[199].y = 1.0;
    assert_eq!(log.rate_peak(), 1);
    assert_eq!(primary(&log), Cause::Healthy);
}

#[test]
fn evaluations_alone_show_overfitting() {
    let at = |rise: f64, i: i32| 0.5 + 0.9 * (-f64::from(i) / 3.0).exp() + rise * f64::from((i - 10).max(0));
    let log = |rise: f64| foreign(vec![], (1..=25).map(|i| at(rise, i)).collect(), vec![]);
    assert_eq!(primary(&log(0.03)), Cause::Overfit);
    assert_eq!(primary(&log(0.0)), Cause::Healthy);
}

#[test]
fn accuracies_of_a_guess_outweigh_a_loss_that_comes_down_to_it() {
    let falls = |t: f64| 4_f64.ln() + 0.6 * (-t / 0.12).exp();
    let log = |accuracy: f64| foreign(noisy(100, 0.02, falls), noisy(20, 0.001, falls), noisy(20, 0.004, |_| accuracy));
    assert_eq!(primary(&log(0.25)), Cause::NeverFell);
    assert_eq!(primary(&log(0.41)), Cause::Healthy);
}

#[test]
fn a_run_that_comes_to_rest_at_a_guess_learns_nothing() {
    let log = |level: f64| foreign(noisy(200, 0.02, |t| level + 0.8 * (-t / 0.03).exp()), vec![], vec![]);
    for classes in 2..=4 {
        assert_eq!(primary(&log(f64::from(classes).ln())), Cause::NeverFell, "ln {classes}");
    }
    // Other levels, and a loss that passes the level late.
    for level in [0.3, 0.62, 0.9, 1.25, 5_f64.ln()] {
        assert_eq!(primary(&log(level)), Cause::Healthy, "{level}");
    }
    let with = |evals: f64| {
        let falls = |level: f64| move |t: f64| level + 0.8 * (-t / 0.03).exp();
        foreign(noisy(200, 0.02, falls(2_f64.ln())), noisy(12, 0.001, falls(evals)), vec![])
    };
    assert_eq!(primary(&with(2_f64.ln())), Cause::NeverFell);
    assert_ne!(primary(&with(0.6)), Cause::NeverFell, "the evaluations are lower");
    let late = foreign(noisy(200, 0.02, |t| 2_f64.ln() + 0.8 * (-t / 0.3).exp()), vec![], vec![]);
    assert_ne!(primary(&late), Cause::NeverFell);
}

#[test]
fn evaluations_far_above_their_best_are_never_healthy() {
    let log = |end: f64| {
        let eval = |t: f64| 0.28 + 0.3 * (-t / 0.1).exp() + end * (t - 0.5).max(0.0);
        foreign(noisy(200, 0.004, |t| 0.2 + 0.5 * (-t / 0.07).exp()), noisy(20, 0.002, eval), vec![])
    };
    let found = diagnose(&log(0.5), Status::Finished, LEAST_DELTA);
    assert_eq!(found.verdicts[0].id, Cause::Overfit, "{found:?}");
    assert!(found.verdicts[0].text.contains("while the training loss stays at 0."), "{found:?}");
    assert_eq!(primary(&log(0.1)), Cause::Healthy, "the training loss is at rest, and the rise is small");
}

#[test]
fn a_loss_that_swings_with_its_evaluations_does_not_settle() {
    let swing = |t: f64| 0.7 + 0.5 * (30.0 * t).sin();
    let log = |eval: Vec<f64>| foreign(noisy(200, 0.05, swing), eval, vec![]);
    let found = diagnose(&log(noisy(24, 0.02, |t| swing(t + 0.04))), Status::Finished, LEAST_DELTA);
    assert_eq!(found.verdicts[0].id, Cause::NoiseFloor, "{found:?}");
    assert!(found.verdicts[0].text.contains("goes up and down around 0."), "{found:?}");
    // A cyclical schedule: the loss follows the learning rate.
    let mut cycles = log(vec![]);
    cycles.lr.iter_mut().for_each(|rate| rate.y = 1e-3 * (0.6 + 0.5 * (30.0 * rate.x / 200.0).sin()));
    let found = diagnose(&cycles, Status::Finished, LEAST_DELTA);
    assert!(found.verdicts.iter().all(|verdict| verdict.id != Cause::NoiseFloor), "{found:?}");
    // Running means vary like this too.
    let found = diagnose(&log(vec![]), Status::Finished, LEAST_DELTA);
    assert_eq!(found.verdicts[0].id, Cause::Healthy);
    assert!(found.verdicts.iter().any(|verdict| verdict.id == Cause::NoiseFloor), "{found:?}");
}

#[test]
fn an_accuracy_that_never_moves_is_that_of_one_class() {
    // The loss falls from ln 2 to the entropy of 86 and 14 %, and rests there.
    let falls = |t: f64| 0.405 + 0.29 * (-t / 0.04).exp();
    let log = |accuracy: f64, last: f64| {
        let accuracy = (1..=10).map(|i| Point { x: f64::from(i) * 200.0, y: if i == 10 { last } else { accuracy } });
        Measured { accuracy: accuracy.collect(), ..foreign(noisy(200, 0.02, falls), noisy(10, 0.004, falls), vec![]) }
    };
    let found = diagnose(&log(0.86, 0.86), Status::Finished, LEAST_DELTA);
    assert_eq!(found.verdicts[0].id, Cause::NeverFell, "{found:?}");
    assert!(found.verdicts[0].text.contains("the accuracy is 86 % at every evaluation"), "{found:?}");
    assert_eq!(primary(&log(0.86, 0.9)), Cause::Healthy, "the answers change");
    assert_eq!(primary(&log(0.6, 0.6)), Cause::Healthy, "the loss is far below that of a guess with this accuracy");
}

#[test]
fn a_late_climb_below_the_start_diverges() {
    let climbs = |t: f64| 0.4 + 1.4 * (-t / 0.08).exp() + 1.2 * ((t - 0.75) / 0.25).max(0.0);
    let steep = |t: f64| 0.5 + 1.6 * (-t * 12.0).exp() + 1.2 * ((t - 0.75) * 4.0).max(0.0);
    for (steps, loss) in [(100, &climbs as &dyn Fn(f64) -> f64), (120, &steep)] {
        for prior in [&[][..], &[0.25; 4]] {
            let log =
                Measured { train_prior: prior, eval_prior: prior, ..foreign(noisy(steps, 0.03, loss), vec![], vec![]) };
            let found = diagnose(&log, Status::Finished, LEAST_DELTA);
            assert_eq!(found.verdicts[0].id, Cause::Diverged, "{prior:?} {found:?}");
            assert!(found.verdicts.iter().all(|verdict| verdict.id != Cause::Overshoot), "{prior:?} {found:?}");
        }
    }
}

/// Instruction tuning lowers the loss by some per cent. Many such losses come near the logarithm of some number.
#[test]
fn a_small_fall_of_losses_and_evaluations_is_healthy() {
    for start in [1.54, 1.77, 2.2] {
        let falls = |t: f64| start * (1.0 - 0.12 * (1.0 - (-40.0 * t).exp()) - 0.06 * t);
        for steps in [40, 100, 300] {
            let evals = (1..=5).map(|i| falls(f64::from(i) / 5.0)).collect();
            let found = primary(&foreign(noisy(steps, 0.08 * start, falls), evals, vec![]));
            assert!(found == Cause::Healthy || found.to_string() == "TOO_SHORT", "{start} {steps} {found}");
        }
    }
}

#[test]
fn a_steep_fall_has_no_spikes() {
    let falls = |t: f64| 0.35 + 1.0 / (1.0 + (60.0 * (t - 0.1)).exp());
    let ids = |train| {
        let found = diagnose(&foreign(train, vec![], vec![]), Status::Finished, LEAST_DELTA);
        found.verdicts.iter().map(|verdict| verdict.id.to_string()).collect::<Vec<_>>()
    };
    assert!(!ids(noisy(40, 0.01, falls)).contains(&"SPIKES".to_owned()));
    let mut spiky = noisy(40, 0.01, falls);
    for at in [12, 20, 31] {
        spiky[at] = 2.0;
    }
    assert!(ids(spiky).contains(&"SPIKES".to_owned()));
}

/// Answers that are all one class repeat the accuracy. A small evaluation set repeats it by chance, while the losses move.
#[test]
fn three_equal_accuracies_beside_losses_at_rest_are_those_of_one_class() {
    for prior in [&[0.5, 0.5][..], &[0.68, 0.32], &[0.9, 0.1], &[0.6, 0.25, 0.15], &[0.25; 4]] {
        let level = -prior.iter().map(|p: &f64| p * p.ln()).sum::<f64>();
        let start = (prior.len() as f64).ln() + 0.05;
        let falls = |t: f64| level + (start - level) * (-t / 0.05).exp();
        for (evals, rows) in [(3, 150), (4, 150), (5, 30), (3, 12), (4, 9)] {
            let log = |accuracy: Vec<f64>, eval: Vec<f64>| foreign(noisy(rows, 0.02 * level, falls), eval, accuracy);
            let rests = || noisy(evals, 0.002 * level, |_| level + 0.002);
            assert_eq!(primary(&log(vec![prior[0]; evals], rests())), Cause::NeverFell, "{prior:?} {evals} {rows}");
            let lower = (0..evals).map(|i| level * (0.8 - 0.05 * i as f64)).collect();
            assert_ne!(
                primary(&log(vec![prior[0]; evals], lower)),
                Cause::NeverFell,
                "{prior:?} {evals} {rows}: learned"
            );
        }
    }
    let moves = foreign(
        noisy(150, 0.02, |t| 0.41 + 0.28 * (-t / 0.05).exp()),
        noisy(3, 0.001, |_| 0.41),
        vec![0.86, 0.89, 0.91],
    );
    assert_eq!(primary(&moves), Cause::Healthy, "the answers change");
    // About 1/K each time.
    let log = |level: f64| foreign(noisy(12, 0.01, |_| level), vec![level; 3], vec![0.334, 0.33, 0.337]);
    assert_eq!(primary(&log(3_f64.ln())), Cause::NeverFell);
    assert_ne!(primary(&log(0.9)), Cause::NeverFell);
}

#[test]
fn a_single_good_accuracy_hides_no_stuck_run() {
    let log = |accuracy: Vec<f64>| {
        let evals = noisy(accuracy.len(), 0.0005, |_| 0.6932);
        let log = foreign(noisy(200, 0.02, |_| 0.693), evals, accuracy);
        primary(&Measured { train_prior: &PRIOR, eval_prior: &PRIOR, ..log })
    };
    assert_eq!(log(vec![0.55]), Cause::PriorStuck);
    for place in 0..10 {
        let mut accuracy = vec![0.5; 10];
        accuracy[place] = 0.55;
        assert_eq!(log(accuracy), Cause::PriorStuck, "{place}");
    }
    assert_ne!(log(vec![0.55, 0.58, 0.6, 0.61, 0.62, 0.62]), Cause::PriorStuck, "the answers are better than guesses");
}

#[test]
fn a_log_in_bits_is_stuck_and_not_too_high() {
    for classes in 2..=5 {
        let (prior, bits) = (vec![1.0 / f64::from(classes); classes as usize], f64::from(classes).log2());
        let log = |train: Vec<f64>, eval| Measured {
            train_prior: &prior,
            eval_prior: &prior,
            ..foreign(train, eval, vec![])
        };
        let stuck = log(noisy(200, 0.03, |_| bits), noisy(8, 0.0005, |_| bits));
        let found = diagnose(&stuck, Status::Finished, LEAST_DELTA);
        assert_eq!(found.verdicts[0].id, Cause::PriorStuck, "{classes}: {found:?}");
        assert!(found.verdicts[0].text.contains(&format!("guessing has {bits:.3} in bits")), "{found:?}");
        let rises = log(noisy(200, 0.03, |t| if t < 0.1 { bits * 0.69 } else { bits }), noisy(8, 0.0005, |_| bits));
        let found = diagnose(&rises, Status::Finished, LEAST_DELTA);
        assert!(blames_a_high_rate(&found.verdicts[0]), "{classes}: it rises above its start: {found:?}");
    }
}

/// The policy equals its reference at the start, which gives ln 2 whatever is learned later.
#[test]
fn a_preference_loss_that_falls_slowly_is_not_too_slow() {
    let falls = |t: f64| 2_f64.ln() - 0.12 * t;
    let named = |loss: &dyn Fn(f64) -> f64| Measured {
        of_preferences: true,
        ..foreign(noisy(200, 0.02, loss), vec![], vec![])
    };
    assert_eq!(primary(&named(&falls)), Cause::Healthy);
    assert_eq!(
        primary(&named(&|t| 0.67 - 0.01 * t)),
        Cause::Healthy,
        "its start is known, whatever the first losses are"
    );
    assert_eq!(primary(&named(&|_| 2_f64.ln())), Cause::NeverFell, "nothing is learned");
    let bare = |start: f64, every: f64| {
        let mut log = foreign(noisy(200, 0.02, |t| start - 0.12 * t), vec![], vec![]);
        log.train[0].y = start;
        log.train.iter_mut().chain(&mut log.lr).for_each(|point| point.x *= every);
        log.steps *= every as u64;
        primary(&log)
    };
    assert_eq!(bare(2_f64.ln(), 1.0), Cause::Healthy);
    assert_eq!(bare(0.6914, 1.0), Cause::Healthy, "ln 2 in bf16");
    assert_eq!(bare(0.72, 1.0), Cause::TooSlow);
    assert_eq!(bare(0.6943, 1.0), Cause::TooSlow, "the noise of a classifier that starts near ln 2");
    assert_eq!(bare(0.6943, 10.0), Cause::Healthy, "the mean of ten steps");
    assert_eq!(bare(0.72, 10.0), Cause::TooSlow);
}

#[test]
fn a_normal_decay_that_learned_is_not_too_slow() {
    let log = |end: f64, eval_end: f64| {
        let falls = |to: f64| move |t: f64| 0.69 - (0.69 - to) * t;
        let mut log = foreign(
            noisy(200, 0.02, falls(end)),
            (1..=10).map(|i| falls(eval_end)(f64::from(i) / 10.0)).collect(),
            vec![],
        );
        log.lr.iter_mut().for_each(|rate| rate.y = 3e-5 * (1.0 - rate.x / 201.0));
        Measured { train_prior: &PRIOR, eval_prior: &PRIOR, ..log }
    };
    assert_eq!(primary(&log(0.4, 0.45)), Cause::TooSlow, "the evaluations still improve");
    let mut rests = log(0.4, 0.45);
    rests.eval = (1..=10).map(|i| Point { x: 20.0 * f64::from(i), y: 0.5 - 0.0001 * f64::from(i) }).collect();
    assert_eq!(primary(&rests), Cause::Healthy, "the evaluations have come to rest");
    rests.eval.clear();
    assert_eq!(primary(&rests), Cause::Healthy, "none to tell");
    let mut constant = log(0.4, 0.45);
    constant.lr.iter_mut().for_each(|rate| rate.y = 3e-5);
    assert_eq!(primary(&constant), Cause::TooSlow);
    constant.eval = (1..=10).map(|i| Point { x: 20.0 * f64::from(i), y: 0.5 - 0.0001 * f64::from(i) }).collect();
    assert_eq!(primary(&constant), Cause::Healthy, "the evaluations are at rest");
}

/// Language models, which have no accuracy: what is learned in the first steps alone may be the frequencies of tokens.
#[test]
fn a_high_level_after_a_short_fall_is_not_healthy() {
    let log = |level: f64, fall: f64, evals: Vec<f64>| {
        foreign(noisy(200, 0.01 * level, |t| level + fall * (-t / 0.02).exp()), evals, vec![])
    };
    assert_eq!(primary(&log(6.8, 1.2, vec![])), Cause::NeverFell);
    assert_eq!(primary(&log(6.8, 1.2, noisy(10, 0.01, |_| 6.8))), Cause::NeverFell);
    assert_eq!(primary(&log(1.6, 0.2, vec![])), Cause::Healthy, "fine-tuning is soon at its floor");
    assert_eq!(primary(&log(5.0, 5.0, vec![])), Cause::Healthy, "it fell by half");
    assert_eq!(
        primary(&log(1.6, 0.2, noisy(10, 0.0005, |_| 1.62))),
        Cause::NeverFell,
        "the evaluations are one number"
    );
    assert_eq!(primary(&log(1.6, 0.2, noisy(10, 0.0005, |t| 1.65 - 0.04 * t))), Cause::Healthy, "they move");
    let falls = foreign(noisy(200, 0.05, |t| 4.5 + 2.0 * (t + 0.02).powf(-0.3)), vec![], vec![]);
    assert_eq!(primary(&falls), Cause::Healthy, "pre-training");
}

#[test]
fn few_rows_at_guessing_are_stuck_with_class_frequencies_too() {
    for (prior, rows) in [(&[0.5, 0.5][..], 3), (&[0.68, 0.32], 12), (&[0.9, 0.1], 12)] {
        let level = -prior.iter().map(|p: &f64| p * p.ln()).sum::<f64>();
        let evals = noisy(3, 0.001, |_| level);
        let log = foreign(noisy(rows, 0.01, |_| level), evals, vec![prior[0]; 3]);
        assert_eq!(
            primary(&Measured { train_prior: prior, eval_prior: prior, ..log }),
            Cause::PriorStuck,
            "{prior:?} {rows}"
        );
    }
}
