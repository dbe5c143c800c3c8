//! The findings of made sweeps.

use super::super::refine::refine;
use super::super::synthetic;
use super::*;
use crate::trial::{Patience, Status};

fn words(sweep: &Sweep) -> String {
    words_of(sweep, &Study::of(sweep))
}

fn words_of(sweep: &Sweep, study: &Study) -> String {
    let mut lines: Vec<String> = findings(sweep, study).into_iter().map(|finding| finding.text).collect();
    lines.extend(next(sweep, study).map(|next| format!("=> {}: {}", next.reason, next.line)));
    lines.join("\n")
}

/// A configuration a loss, its evaluations falling there and staying.
fn flat(losses: &[f32]) -> Sweep {
    let values: Vec<String> = (1..=losses.len()).map(|i| format!("0.{i}")).collect();
    let axis = synthetic::axis("model.dropout", &values.iter().map(String::as_str).collect::<Vec<_>>());
    let mut sweep = synthetic::sweep("flat", &[axis], 100);
    for (run, &loss) in sweep.runs.iter_mut().zip(losses) {
        for (index, row) in run.evals.iter_mut().enumerate() {
            row.eval_loss = loss + (0.3 - 0.1 * index as f32).max(0.0);
        }
    }
    sweep
}

#[test]
fn trials_that_a_rule_stopped_are_named() {
    let mut sweep = synthetic::default_sweep();
    assert_eq!(stopped(&sweep), None);
    for (run, steps) in sweep.runs.iter_mut().zip([60, 30]) {
        run.status = Status::Stopped;
        let outcome = run.outcome.as_mut().unwrap();
        outcome.reason = Some(format!("no gain at step {steps}"));
        outcome.steps = steps;
    }
    let text = stopped(&sweep).unwrap();
    assert!(
        text.starts_with("2 of ") && text.contains(" after 30 of ") && text.ends_with(": no gain at step 30."),
        "{text}"
    );
}

#[test]
fn counts_and_margins_are_worded_right() {
    let first = |losses: &[f32]| words(&flat(losses)).lines().next().unwrap_or_default().to_owned();
    insta::assert_snapshot!(first(&[0.3, 0.3]), @"Best is model.dropout 0.1 with eval loss 0.300 at step 12, accuracy 72.4 %; equal to three decimals to the next, model.dropout 0.2.");
    insta::assert_snapshot!(first(&[0.3]), @"Best is model.dropout 0.1 with eval loss 0.300 at step 12, accuracy 72.4 %.");
    let mut late = flat(&[0.9, f32::NAN]);
    late.runs[0].evals.iter_mut().for_each(|row| row.eval_loss -= row.step as f32 / 200.0);
    assert!(
        words(&late)
            .contains("\nThe only configuration that survived was still improving in the last 15 % of its steps.")
    );
    insta::assert_snapshot!(words(&synthetic::unfinished(flat(&[0.3]), 0)), @"The only trial has not finished yet.");
    let one_left = words(&synthetic::unfinished(flat(&[0.3, 0.4, 0.5]), 2));
    assert!(one_left.starts_with("1 of 3 trials has not finished; what follows may change."), "{one_left}");
}

/// Overfitting is no reason to stop early before it is known which configuration is best.
#[test]
fn advice_on_overfitting_waits_for_the_ranking() {
    let rising = |losses: &[f32]| {
        let mut sweep = flat(losses);
        let evals = &mut sweep.runs[0].evals;
        evals.iter_mut().skip(12).for_each(|row| row.eval_loss += 0.1);
        let study = Study::of(&sweep);
        next(&sweep, &study).map(|next| next.line).unwrap_or_default()
    };
    assert_eq!(rising(&[0.3, 0.305]), "seeds: [42, 1, 2]");
    assert_eq!(rising(&[0.3, 0.4]), "stop: {patience: {metric: eval_loss, evals: 3}}");
    assert_eq!(rising(&[0.3]), "stop: {patience: {metric: eval_loss, evals: 3}}");
}

/// The next rates follow what the stuck trials say of theirs.
#[test]
fn stuck_trials_are_followed_by_rates_that_their_cause_asks_for() {
    let stuck = |axis: Axis| {
        let sweep = synthetic::stuck(&[axis]);
        let study = Study::of(&sweep);
        next(&sweep, &study).map(|next| format!("{} {}", next.reason, next.line)).unwrap_or_default()
    };
    let stuck_at = |rates: &[&str]| stuck(synthetic::axis("lr", rates));
    let drawn = Axis { drawn: true, ..synthetic::axis("lr", &["1e-2", "2e-2"]) };
    assert!(stuck(drawn).ends_with("space: {lr: {log: [0.001, 0.01]}}"));
    insta::assert_snapshot!(stuck_at(&["1e-2", "2e-2"]), @"no configuration learned anything: try lower learning rates with a warm-up grid: {lr: [0.001, 0.0033, 0.01]}");
    insta::assert_snapshot!(stuck_at(&["3e-5", "1e-4"]), @"no configuration learned anything, and the curves do not say whether the learning rate is to blame: try lower and higher ones grid: {lr: [3e-6, 5.5e-5, 0.001]}");
}

/// Trials that patience ended early say nothing of other learning rates.
#[test]
fn impatience_is_followed_by_longer_trials() {
    let mut sweep = synthetic::sweep("s", &[synthetic::axis("lr", &["1e-3", "5e-3"])], 100);
    for run in &mut sweep.runs {
        run.diagnostics.clear();
        run.status = Status::Stopped;
        run.trial.steps = 1000;
        run.trial.config.stop.patience = Some(Patience { evals: 4, ..Patience::default() });
        run.metrics.iter_mut().for_each(|row| row.train_loss = 0.693);
        run.evals.iter_mut().for_each(|row| (row.eval_loss, row.accuracy) = (0.693, 0.5));
        run.outcome.iter_mut().for_each(|outcome| {
            outcome.status = Status::Stopped;
            (outcome.class_prior, outcome.eval_prior) = (vec![0.5, 0.5], vec![0.5, 0.5]);
        });
    }
    let line = |sweep: &Sweep| next(sweep, &Study::of(sweep)).map(|next| next.line).unwrap_or_default();
    assert_eq!(line(&sweep), "stop: {patience: {evals: 12}}");
    sweep.runs[0].status = Status::Finished;
    assert!(line(&sweep).starts_with("grid: {lr: "), "one of them was not stopped");
}

/// All three rates leave the loss within 5 % of a guess. The greatest has the lowest one, by chance.
#[test]
fn where_nothing_is_learned_no_edge_is_followed() {
    let mut sweep = synthetic::sweep("s", &[synthetic::axis("lr", &["1", "3", "10"])], 100);
    for (run, level) in sweep.runs.iter_mut().zip([0.672, 0.671, 0.67]) {
        run.diagnostics.clear();
        run.status = Status::Finished;
        run.metrics.iter_mut().for_each(|row| row.train_loss = level);
        run.evals.iter_mut().for_each(|row| (row.eval_loss, row.accuracy) = (level, 0.5));
        run.outcome.iter_mut().for_each(|outcome| {
            (outcome.class_prior, outcome.eval_prior) = (vec![0.5, 0.5], vec![0.5, 0.5]);
        });
    }
    let study = Study::of(&sweep);
    assert!(study.best().is_some_and(|best| best.value("lr").unwrap().text == "10"), "{study:?}");
    assert_eq!(edge_text(&sweep, &study), None);
    assert!(next(&sweep, &study).is_none_or(|next| next.reason.contains("learned anything")));
    let decisions = refine(&sweep, &study, &[]).unwrap();
    assert!(
        decisions.iter().all(|decision| decision.why.starts_with("no configuration learned anything")),
        "{decisions:?}"
    );
    insta::assert_snapshot!(words(&sweep).lines().next().unwrap(), @"No configuration is clearly better than guessing on the evaluation set: the lowest eval loss of a usable model is 0.670 (lr 10), and guessing has 0.693.");
    let contradicts = ["overfit", "is not the limit", "Best is", "goes flat"];
    assert!(contradicts.iter().all(|text| !words(&sweep).contains(text)), "{}", words(&sweep));
    // The best by another metric need not have the lowest loss.
    for run in &mut sweep.runs {
        run.trial.config.metric = Metric::MacroF1;
    }
    sweep.runs[0].evals.iter_mut().for_each(|row| row.macro_f1 = 0.9);
    let first = words(&sweep).lines().next().unwrap().to_owned();
    assert!(first.contains("the lowest eval loss of a usable model is 0.670 (lr 10)"), "{first}");
    sweep.runs[1].evals.iter_mut().for_each(|row| row.eval_loss = 0.5);
    assert!(words(&sweep).starts_with("Best is lr 1 with macro-F1"), "{}", words(&sweep));
}

/// Trials that differ in another axis than the learning rate, which is far too high for all. Few evaluations have no shape.
#[test]
fn a_rate_that_is_too_high_for_all_is_followed_by_lower_ones() {
    let mut sweep = synthetic::sweep("s", &[synthetic::axis("weight_decay", &["0.01", "0.1"])], 100);
    for run in &mut sweep.runs {
        run.diagnostics.clear();
        run.evals.truncate(2);
        (run.status, run.trial.config.lr) = (Status::Finished, 1.0);
        run.metrics.iter_mut().for_each(|row| row.train_loss = if row.step < 8 { 0.7 } else { 2.0 });
        for row in &mut run.evals {
            row.eval_loss = if row.step == 0 { 0.7 } else { 2.0 };
            (row.accuracy, row.train_probe_loss) = (0.5, row.eval_loss);
        }
    }
    let study = Study::of(&sweep);
    let causes: Vec<_> = study.diagnoses.iter().filter_map(Diagnosis::cause).collect();
    assert!(causes.len() == 2 && causes.into_iter().all(blames_a_high_rate), "{study:?}");
    insta::assert_snapshot!(next(&sweep, &study).unwrap().line, @"grid: {lr: [0.1, 0.33, 1]}");
}

/// The summary and `refine` widen the same axis by the same values.
#[test]
fn two_learning_rates_have_an_edge() {
    let mut sweep = synthetic::sweep("s", &[synthetic::axis("lr", &["1e-5", "3e-5"])], 100);
    for (run, level) in sweep.runs.iter_mut().zip([0.5, 0.3]) {
        run.status = Status::Finished;
        run.evals.iter_mut().for_each(|row| (row.eval_loss, row.accuracy) = (level, 0.8));
    }
    let study = Study::of(&sweep);
    insta::assert_snapshot!(next(&sweep, &study).unwrap().line, @"grid: {lr: [3e-5, 9e-5, 3e-4]}");
    let decisions = refine(&sweep, &study, &[]).unwrap();
    insta::assert_snapshot!(format!("{:?}", decisions[0].choice), @"Vary([Number(0.00003), Number(0.00009), Number(0.0003)])");
}

#[test]
fn in_words() {
    insta::assert_snapshot!(words(&synthetic::default_sweep()), @"
    Best is lr 3e-5, warmup 0, scheduler cosine with eval loss 0.357 at step 78, accuracy 82.8 %; 0.001 below the next, lr 3e-5, warmup 0.1, scheduler linear.
    It ranks first by its best checkpoint and overfits after it: 0.368 at the end. lr 3e-5, warmup 0.1, scheduler linear (0.001 behind) does not rise and is the safer choice.
    Each configuration has one seed, so the noise of a difference is unknown.
    Where the eval loss of the best configuration at each lr goes flat (with its level): 1e-5 at step 120 (0.448), 3e-5 at step 54 (0.367), 1e-4 at step 24 (0.360).
    Of the configurations that survived, 4 of 11 overfit: their eval loss rises again by more than 0.010.
    5 of 16 trials gave no usable model: 1 NaN, 4 collapsed (lr 1e-4: 1 of 4, 3e-4: 4 of 4).
    Primary causes by the curves of 16 trials: the learning rate is too high (OVERSHOOT) in 4, the learning rate is too low or the run too short (TOO_SLOW) in 4, overfitting (OVERFIT) in 3, NaN or infinite values (NONFINITE) in 1.
    The ranking of 11 trials after a quarter of their steps predicts the final ranking with a rank correlation of -0.07: stopping that early would stop good trials.
    => with one seed the noise is unknown: repeat with three: seeds: [42, 1, 2]
    ");
    let (sweep, study) = &*synthetic::LARGE;
    insta::assert_snapshot!(words_of(sweep, study), @"
    Best is lr 3e-5, warmup 0.2, scheduler linear, augmentation eda with eval loss 0.314 ± 0.002 over 3 seeds at step 1100, accuracy 86.0 %; 0.002 below the next, lr 2e-5, warmup 0.06, scheduler constant, augmentation eda.
    24 configurations, including it, cannot be separated with 3 seeds (standard deviation over seeds 0.006); the best of so many is an optimistic estimate.
    Where the eval loss of the best configuration at each lr goes flat (with its level): 1e-5 not before step 1100 (0.336), 2e-5 at step 700 (0.327), 3e-5 at step 650 (0.324), 5e-5 at step 300 (0.329), 1e-4 at step 300 (0.317), 3e-4 at step 150 (0.328).
    Of the configurations that survived, 65 of 124 overfit: their eval loss rises again by more than 0.010; 8 of 124 were still improving in the last 15 % of their steps.
    80 of 432 trials gave no usable model: 23 NaN, 50 collapsed, 7 stuck at chance (lr 1e-4: 15 of 72, 3e-4: 65 of 72).
    Primary causes by the curves of 432 trials: overfitting (OVERFIT) in 126, the learning rate is too high (OVERSHOOT) in 64, the learning rate is too low or the run too short (TOO_SLOW) in 48, NaN or infinite values (NONFINITE) in 23.
    lr 2e-5 instead of 1e-4 lowers final eval loss by 0.179 ± 0.018 (57 matched pairs, p = 0.001 or less).
    No detectable effect of warmup: 0.2 instead of 0.06 changes final eval loss by -0.003 ± 0.001 (84 matched pairs, p = 0.16); a difference of that size needs about 46 seeds of each.
    scheduler cosine instead of constant lowers final eval loss by 0.049 ± 0.010 (116 matched pairs, p = 0.001 or less).
    augmentation eda instead of none lowers final eval loss by 0.097 ± 0.007 (170 matched pairs, p = 0.001 or less).
    Too little variety in the data was a limit: eda raises the final training loss by 0.082 and lowers the eval loss by 0.097. More data, or more augmentation, may lower it further.
    In 12 of 144 configurations some seeds fail and others do not; most in lr 1e-4, warmup 0, scheduler cosine, augmentation none: 2 of 3 (95 % confidence interval 21 to 94 %). Longer training, a warm-up and optimizer.bias_correction: true make BERT more stable.
    The ranking of 352 trials after a quarter of their steps predicts the final ranking with a rank correlation of 0.01: stopping that early would stop good trials.
    => 24 configurations are within noise of each other: more seeds separate them: seeds: [1, 2, 3, 4, 5, 6]
    ");
    insta::assert_snapshot!(words(&synthetic::all_failed(synthetic::default_sweep())), @"16 of 16 trials gave no usable model: 16 failed to run (lr 1e-5: 4 of 4, 3e-5: 4 of 4, 1e-4: 4 of 4, 3e-4: 4 of 4). Most frequent error: worker died: exit code 101.");
    insta::assert_snapshot!(words(&synthetic::unfinished(synthetic::default_sweep(), 0)), @"None of the 16 trials has finished yet.");
    insta::assert_snapshot!(words(&synthetic::sweep("one", &[], 100)), @"
    Best is the only configuration with eval loss 0.358 at step 32, accuracy 82.6 %.
    It overfits: its eval loss rises from 0.358 to 0.430 at the end.
    Primary causes by the curves of 1 trial: overfitting (OVERFIT) in 1.
    => the best configuration overfits after its best step: stop there: stop: {patience: {metric: eval_loss, evals: 3}}
    ");
}
