//! Mistakes and warnings that need the data or the checkpoint.

use insta::assert_snapshot;

use super::{facts, mistakes};
use crate::plan::expand;
use crate::spec::parse;

#[test]
fn settings_that_a_task_does_not_have() {
    assert_snapshot!(mistakes("task: regression\nlabel_smoothing: 0.1\nmetric: accuracy\nloss: {class_weights: balanced}\n"), @r"
    a.yaml:2:18: `label_smoothing` needs classes: `task: regression` has no label smoothing
      2 | label_smoothing: 0.1
        |                  ^^^ leave it out

    a.yaml:3:9: `metric` is accuracy, which `task: regression` does not measure
      3 | metric: accuracy
        |         ^^^^^^^^ expected one of eval_loss, mse, mae, r2, pearson, spearman

    a.yaml:4:23: `loss.class_weights` needs classes: `task: regression` has no class weights
      4 | loss: {class_weights: balanced}
        |                       ^^^^^^^^ leave it out
    ");
    assert_snapshot!(mistakes("loss: {class_weights: {neg: 1, good: 2}}\n"), @r"
    a.yaml:1:23: `loss.class_weights` names `good`, `neg`, which the data do not have, and has no weight for `negative`, `positive`
      1 | loss: {class_weights: {neg: 1, good: 2}}
        |                       ^^^^^^^^^^^^^^^^^ the labels are `negative`, `positive`
    ");
    assert_snapshot!(mistakes("grid: {loss: [cross_entropy, focal]}\n"), @r"
    a.yaml:1:30: `loss.name` varies, and trials with different losses cannot be compared by `eval_loss`
      1 | grid: {loss: [cross_entropy, focal]}
        |                              ^^^^^ choose another metric, such as metric: macro_f1
    ");
    assert_eq!(mistakes("metric: macro_f1\ngrid: {loss: [cross_entropy, focal]}\n"), "");
}

#[test]
fn what_only_data_and_checkpoint_can_tell() {
    assert_snapshot!(mistakes("steps: 10\nwarmup: 11\nmodel: {freeze: 4}\ndata: {max_length: 513}\n"), @r"
    a.yaml:2:9: a warm-up of 11 steps is longer than the run of 10
      2 | warmup: 11
        |         ^^ shorten it, or write a fraction such as 0.1

    a.yaml:3:17: `model.freeze` is 4, but the checkpoint has 3 layers
      3 | model: {freeze: 4}
        |                 ^ expected at most 3

    a.yaml:4:20: `data.max_length` is 513, but the checkpoint has 512 positions
      4 | data: {max_length: 513}
        |                    ^^^ expected at most 512
    ");
    assert_snapshot!(mistakes("grid:\n  warmup: [0, 20]\n  steps: [10, 30]\n  model.reinit: [3, 4]\n"), @r"
    a.yaml:2:15: a warm-up of 20 steps is longer than the run of 10
      2 |   warmup: [0, 20]
        |               ^^ shorten it, or write a fraction such as 0.1

    a.yaml:4:21: `model.reinit` is 4, but the checkpoint has 3 layers
      4 |   model.reinit: [3, 4]
        |                     ^ expected at most 3
    ");
    assert_snapshot!(mistakes("data.limit: 32\nepochs: 2\nwarmup: 3\n"), @r"
    a.yaml:3:9: a warm-up of 3 steps is longer than the run of 2
      3 | warmup: 3
        |         ^ shorten it, or write a fraction such as 0.1
    ");
}

#[test]
fn rules_that_can_stop_no_trial_are_named() {
    // 8 steps an epoch; evaluations at 0, 8, 16, 24.
    let of = |stop: &str| {
        mistakes(&format!("data: {{limit: 256}}\neval_every: 8\ngrid: {{lr: [1e-5, 1e-4, 1e-3]}}\nstop: {{{stop}}}"))
    };
    for idle in [
        "patience: {evals: 3}",
        "plateau: {evals: 1, min_steps: 17}",
        "median: {min_trials: 2, min_steps: 17}",
        "median: {min_trials: 3, min_steps: 8}",
        "asha: {min_steps: 17}",
    ] {
        assert_eq!(of(idle).lines().count(), 1, "{idle}: {}", of(idle));
    }
    for able in [
        "patience: {evals: 2}",
        "median: {min_trials: 2, min_steps: 0}",
        "plateau: {evals: 1, min_steps: 16}",
        "median: {min_trials: 2, min_steps: 16}",
        "asha: {min_steps: 16}",
        "diverged: true",
    ] {
        assert_eq!(of(able), "");
    }
    assert_snapshot!(of("patience: {evals: 3}, plateau: {evals: 3, min_steps: 8}, median: {min_trials: 9, min_steps: 8}, asha: {min_steps: 50}"), @"
        warning: `stop.patience` can stop no trial: its `evals` is 3, but only 2 evaluations lie between the first and the last one; lower it, or evaluate more often (`eval_every`)
        warning: `stop.plateau` can stop no trial: its `evals` is 3, but only 2 evaluations lie between its `min_steps` and the last one; lower them, or evaluate more often (`eval_every`)
        warning: `stop.asha` can stop no trial: its first rung is at step 50, but no trial has an evaluation between that step and its last one; lower it, or evaluate more often (`eval_every`)
        warning: `stop.median` can stop no trial: its `min_trials` is 9, but each trial has only 2 others; lower it
        ");
    let unequal = "eval_every: 4\nstop: {diverged: true}\nzip: {steps: [12, 40], stop.patience.evals: [3, 12]}";
    assert_snapshot!(mistakes(unequal), @"warning: `stop.patience` can stop no trial: its `evals` is 3, but only 2 evaluations lie between the first and the last one; lower it, or evaluate more often (`eval_every`)");
}

#[test]
fn a_fold_needs_folds() {
    let spec = parse("a.yaml", "a", "data: {fold: 1}", &[]).unwrap();
    assert_snapshot!(expand(&spec, &facts(&spec)).unwrap_err().to_string(), @r"
    a.yaml:1:14: `data.fold` needs `data.folds`
      1 | data: {fold: 1}
        |              ^ say how many folds there are, such as `data.folds: 5`
    ");
}
