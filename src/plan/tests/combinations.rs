//! Which trials a sweep has, and in what order.

use insta::assert_snapshot;

use super::{ids, mistakes, plan, table};
use crate::spec::{ResolvedSources, parse};
use crate::trial::Pooling;

#[test]
fn the_last_key_varies_fastest_and_seeds_fastest_of_all() {
    let text = "grid: {lr: [1e-4, 3e-5], scheduler: [linear, {name: cosine, cycles: 1}]}\n\
                zip: {batch_size: [16, 32], epochs: [2, 4]}\nseeds: [7, 8]";
    assert_snapshot!(table(&plan(text)), @r"
    lr=1e-4 scheduler=linear batch_size=16 epochs=2 seed=7
    lr=1e-4 scheduler=linear batch_size=16 epochs=2 seed=8
    lr=1e-4 scheduler=linear batch_size=32 epochs=4 seed=7
    lr=1e-4 scheduler=linear batch_size=32 epochs=4 seed=8
    lr=1e-4 scheduler=cosine 1 batch_size=16 epochs=2 seed=7
    lr=1e-4 scheduler=cosine 1 batch_size=16 epochs=2 seed=8
    lr=1e-4 scheduler=cosine 1 batch_size=32 epochs=4 seed=7
    lr=1e-4 scheduler=cosine 1 batch_size=32 epochs=4 seed=8
    lr=3e-5 scheduler=linear batch_size=16 epochs=2 seed=7
    lr=3e-5 scheduler=linear batch_size=16 epochs=2 seed=8
    lr=3e-5 scheduler=linear batch_size=32 epochs=4 seed=7
    lr=3e-5 scheduler=linear batch_size=32 epochs=4 seed=8
    lr=3e-5 scheduler=cosine 1 batch_size=16 epochs=2 seed=7
    lr=3e-5 scheduler=cosine 1 batch_size=16 epochs=2 seed=8
    lr=3e-5 scheduler=cosine 1 batch_size=32 epochs=4 seed=7
    lr=3e-5 scheduler=cosine 1 batch_size=32 epochs=4 seed=8
    ");
}

#[test]
fn include_stands_over_the_fixed_values_and_is_repeated_by_seeds_only() {
    let text = "lr: 0.0001\nepochs: 5\ngrid: {lr: [1e-4, 3e-5], augmentation: [none, [synonym, random_swap], {name: synonym, rate: 0.2}]}\n\
                include:\n- {lr: 2.0e-5, scheduler: constant}\n- {seed: 9, epochs: 1}\nseeds: [7, 8]";
    let plan = plan(text);
    assert_snapshot!(table(&plan), @r"
    lr=1e-4 augmentation=none scheduler=linear epochs=5 seed=7
    lr=1e-4 augmentation=none scheduler=linear epochs=5 seed=8
    lr=1e-4 augmentation=synonym+random_swap scheduler=linear epochs=5 seed=7
    lr=1e-4 augmentation=synonym+random_swap scheduler=linear epochs=5 seed=8
    lr=1e-4 augmentation=synonym 0.2 scheduler=linear epochs=5 seed=7
    lr=1e-4 augmentation=synonym 0.2 scheduler=linear epochs=5 seed=8
    lr=3e-5 augmentation=none scheduler=linear epochs=5 seed=7
    lr=3e-5 augmentation=none scheduler=linear epochs=5 seed=8
    lr=3e-5 augmentation=synonym+random_swap scheduler=linear epochs=5 seed=7
    lr=3e-5 augmentation=synonym+random_swap scheduler=linear epochs=5 seed=8
    lr=3e-5 augmentation=synonym 0.2 scheduler=linear epochs=5 seed=7
    lr=3e-5 augmentation=synonym 0.2 scheduler=linear epochs=5 seed=8
    lr=2.0e-5 augmentation=none scheduler=constant epochs=5 seed=7
    lr=2.0e-5 augmentation=none scheduler=constant epochs=5 seed=8
    lr=1e-4 augmentation=none scheduler=linear epochs=1 seed=9
    ");
    let axes = plan.axes.iter().map(|axis| {
        let values: Vec<&str> = axis.values.iter().map(|value| value.text.as_str()).collect();
        format!("{}: {}", axis.key, values.join(" | "))
    });
    assert_snapshot!(axes.collect::<Vec<_>>().join("\n"), @r"
    lr: 1e-4 | 3e-5 | 2.0e-5
    augmentation: none | synonym+random_swap | synonym 0.2
    scheduler: linear | constant
    epochs: 5 | 1
    seed: 7 | 8 | 9
    ");
}

/// Every section and nearly every key at once; also with the line ends of Windows.
#[test]
fn a_file_that_uses_everything() {
    let text = r"
name: lr-grid
data:
  train: embedded:tweets
  eval: 0.2
  text: text
  label: label
  max_length: 128
  limit: 2000
  shuffle: true
model:
  from: embedded:minilm-l3
  pooling: mean
  dropout: 0.1
  freeze: 0
  reinit: 0
optimizer: adamw
lr: 3e-5
warmup: 0.1
scheduler: linear
augmentation: none
weight_decay: 0.01
max_grad_norm: 1.0
label_smoothing: 0.0
batch_size: 32
epochs: 3
eval_every: 0.25
seed: 42

grid:
  lr: [1e-5, 3e-5, 1e-4, 3e-4]
  warmup: [0, 0.1]
  scheduler: [linear, cosine]
  augmentation: [none, {name: synonym, rate: 0.1}]
zip:
  batch_size: [16, 32]
  epochs: [2, 4]
include:
  - {lr: 2e-5, scheduler: constant}
exclude:
  - {lr: 3e-4, warmup: 0}
seeds: [1, 2, 3]
stop:
  diverged: true
  patience: {metric: eval_loss, evals: 5, min_delta: 0.001}
run:
  devices: auto
  jobs: auto
  threads: auto
  retries: 2
  checkpoint_every: 60s
";
    let plan = plan(text);
    // 4 x 2 x 2 x 2 of the grid, 2 of the zip, 3 seeds; 3 included; 2 x 2 x 2 x 3 excluded.
    assert_eq!(plan.trials.len(), 32 * 2 * 3 + 3 - 24);
    assert_eq!((plan.name.as_str(), plan.warnings.len()), ("lr-grid", 0));
    let keys: Vec<&str> = plan.axes.iter().map(|axis| axis.key.as_str()).collect();
    assert_eq!(keys, ["lr", "warmup", "scheduler", "augmentation", "batch_size", "epochs", "seed"]);
    assert_eq!(ids(&text.replace('\n', "\r\n")), ids(text));
}

#[test]
fn a_group_and_a_key_inside_it_vary_together() {
    let text = "grid:\n  optimizer.eps: [1e-6, 1e-8]\n  optimizer: [{betas: [0.9, 0.98]}, {eps: 1e-3}]";
    let plan = plan(text);
    assert_snapshot!(table(&plan), @r"
    optimizer.eps=1e-6 optimizer=betas=0.9,0.98
    optimizer.eps=1e-6 optimizer=eps=0.001
    optimizer.eps=1e-8 optimizer=betas=0.9,0.98
    optimizer.eps=1e-8 optimizer=eps=0.001
    ");
    let eps: Vec<f64> = plan.trials.iter().map(|trial| trial.config.optimizer.eps).collect();
    assert_eq!(eps, [1e-6, 1e-6, 1e-8, 1e-8], "the deeper key is applied last");
}

#[test]
fn a_key_inside_a_group_stands_over_the_group_wherever_it_is_written() {
    for grid in ["data: [GROUP], data.limit: [5, 7]", "data.limit: [5, 7], data: [GROUP]"] {
        let grid = grid.replace("GROUP", "{train: a.tsv, limit: 10}, {train: b.tsv}");
        let mut found: Vec<_> = plan(&format!("grid: {{{grid}}}"))
            .trials
            .into_iter()
            .map(|trial| (trial.config.data.train, trial.config.data.limit))
            .collect();
        found.sort();
        let at = |train: &str, limit| (train.to_owned(), Some(limit));
        assert_eq!(found, [at("a.tsv", 5), at("a.tsv", 7), at("b.tsv", 5), at("b.tsv", 7)]);
    }
}

#[test]
fn exclude_matches_as_far_as_it_says() {
    let text = |entry: &str| {
        format!(
            "grid: {{lr: [1e-4, 1e-5], scheduler: [linear, cosine, {{name: cosine, cycles: 2}}]}}\nexclude: [{entry}]"
        )
    };
    for (entry, left) in [
        ("{lr: 0.0001}", 3),
        ("{scheduler: cosine}", 2),
        ("{scheduler: {name: cosine, cycles: 2}, lr: 1e-4}", 5),
        ("{scheduler.cycles: 2}", 4),
        ("{lr: 1e-4, warmup: 0.1}", 3),
        ("{lr: 1e-4, warmup: 0}", 6),
        ("{augmentation: none, scheduler: linear}", 4),
        ("{model.pooling: mean, scheduler: linear}", 4),
    ] {
        assert_eq!(plan(&text(entry)).trials.len(), left, "{entry}");
    }
    assert_snapshot!(mistakes(&text("{lr: 1e-3}")), @r"
    a.yaml:2:11: warning: this entry of `exclude` matches no trial
      2 | exclude: [{lr: 1e-3}]
        |           ^^^^^^^^^^
    ");
    assert_snapshot!(mistakes("grid: {lr: [1e-4]}\nexclude: [{lr: 1e-4}]"), @r"
    a.yaml:2:11: no trial is left
      2 | exclude: [{lr: 1e-4}]
        |           ^^^^^^^^^^ `exclude` removes every trial
    ");
}

#[test]
fn equal_trials_are_kept_once() {
    assert_snapshot!(mistakes("zip: {lr: [1e-4, 1e-4, 1e-5], warmup: [0, 0, 0]}"), @"warning: one trial is equal to an earlier one and was left out");
    assert_snapshot!(mistakes("grid: {lr: [1e-4, 1e-5]}\ninclude: [{lr: 1e-4}, {lr: 1e-5}]"), @"warning: 2 trials are equal to earlier ones and were left out");
}

#[test]
fn the_checkpoint_decides_what_the_sweep_leaves_open() {
    let trial = &plan("").trials[0];
    assert_eq!((trial.config.model.pooling, trial.config.model.dropout), (Some(Pooling::Mean), Some(0.1)));
    assert_eq!(trial.steps, 3 * 104);
    assert_eq!(ids(""), ids("model: {pooling: mean, dropout: 0.1}"));
}

/// Folds multiply every configuration, as seeds do, and so do they the entries of `include`.
#[test]
fn folds_repeat_configurations() {
    let text =
        "data: {folds: 3}\ngrid: {lr: [1e-5, 1e-4]}\ninclude: [{lr: 1e-3}, {lr: 1e-2, data.fold: 2}]\nseeds: [1, 2]";
    let plan = plan(text);
    assert_eq!(plan.axes.iter().map(|axis| axis.key.as_str()).collect::<Vec<_>>(), ["lr", "data.fold", "seed"]);
    let shown: Vec<String> = plan
        .trials
        .iter()
        .map(|trial| trial.values.iter().map(|(_, value)| value.text.as_str()).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(shown.len(), 2 * 3 * 2 + 3 * 2 + 2);
    assert_eq!(shown[..4], ["1e-5 1 1", "1e-5 1 2", "1e-5 2 1", "1e-5 2 2"]);
    assert_eq!(
        shown[12..],
        ["1e-3 1 1", "1e-3 1 2", "1e-3 2 1", "1e-3 2 2", "1e-3 3 1", "1e-3 3 2", "1e-2 2 1", "1e-2 2 2"]
    );
    assert!(plan.trials.iter().all(|trial| trial.config.data.folds == Some(3)));
    let ids: std::collections::HashSet<_> = plan.trials.iter().map(|trial| &trial.id).collect();
    assert_eq!(ids.len(), plan.trials.len());
    // The sweep as run reads back to the same trials.
    let spec = parse("a.yaml", "a", text, &[]).unwrap();
    assert_eq!(spec.size(), 20);
    let again = super::plan(&spec.to_yaml(&ResolvedSources::default()).unwrap());
    assert_eq!(
        again.trials.iter().map(|t| &t.id).collect::<Vec<_>>(),
        plan.trials.iter().map(|t| &t.id).collect::<Vec<_>>()
    );
    // One fold alone is the same trial.
    let one = super::plan("data: {folds: 3, fold: 2}\nlr: 1e-2\nseeds: [1, 2]");
    assert_eq!(
        one.trials.iter().map(|t| &t.id).collect::<Vec<_>>(),
        plan.trials[18..].iter().map(|t| &t.id).collect::<Vec<_>>()
    );
}

/// Needs well under a second on one core; the bound leaves room for a busy machine.
#[cfg(not(debug_assertions))]
#[test]
fn a_hundred_thousand_trials_expand_fast() {
    let rates: Vec<String> = (1..=100).map(|i| format!("{i}e-5")).collect();
    let text = format!(
        "grid:\n  lr: [{}]\n  warmup: [0, 0.1, 0.2, 0.3, 0.4, 10, 20, 30, 40, 50]\n  scheduler: [linear, cosine]\n  \
         augmentation: [none, synonym, random_swap, random_deletion, [synonym, random_swap]]\n  \
         batch_size: [8, 16, 32, 64, 128]\nexclude: [{{lr: 1e-9}}]\nseeds: [1, 2]\n",
        rates.join(", ")
    );
    let spec = parse("a.yaml", "a", &text, &[]).unwrap();
    let facts = super::facts(&spec);
    let start = std::time::Instant::now();
    let plan = super::expand(&spec, &facts).unwrap();
    let taken = start.elapsed();
    println!("{} trials in {taken:?}", plan.trials.len());
    assert!(plan.trials.len() == 100_000 && taken.as_secs_f64() < 3.0, "{taken:?}");
}

/// Each trial is looked up among the entries: comparing it with each of them would take 20 times the bound.
#[cfg(not(debug_assertions))]
#[test]
fn thousands_of_entries_of_exclude_are_applied_fast() {
    let entries: Vec<String> = (1..=10_000).map(|seed| format!("{{seed: {seed}}}")).collect();
    let text = format!("seeds: 20000\nexclude: [{}]\n", entries.join(", "));
    let spec = parse("a.yaml", "a", &text, &[]).unwrap();
    let facts = super::facts(&spec);
    let start = std::time::Instant::now();
    let plan = super::expand(&spec, &facts).unwrap();
    let taken = start.elapsed();
    assert!(plan.trials.len() == 10_000 && taken.as_secs_f64() < 2.0, "{} in {taken:?}", plan.trials.len());
}

/// Names of arms are looked up: comparing each with all before it would take many times the bound.
#[test]
fn thousands_of_arms_are_read_fast() {
    let arms: Vec<String> = (0..120_000).map(|arm| format!("  - {{name: arm-{arm}, lr: {arm}e-9}}\n")).collect();
    let start = std::time::Instant::now();
    let error =
        parse("a.yaml", "a", &format!("arms:\n{}  - {{name: arm-7, lr: 1}}\n", arms.concat()), &[]).unwrap_err();
    assert!(error.to_string().contains("two arms have the name `arm-7`"), "{error}");
    assert!(start.elapsed().as_secs_f64() < 20.0, "{:?}", start.elapsed());
}
