//! The messages about mistakes in `space` and `search`, as snapshots.

use insta::assert_snapshot;

use super::messages::mistakes;
use super::parse;

#[test]
fn ranges() {
    assert_snapshot!(mistakes(
        "space:
  lr: {log: [0, 1e-3]}
  warmup: {uniform: [0, 1.5]}
  epochs: {int: [1, 2.5]}
  batch_size: {int: [8, 64], step: 0}
  grad_accumulation: {int: [1, 4], step: 9}
  model.dropout: {uniform: [0.5, 0.1]}
  weight_decay: {loguniform: [1e-4, 1e-1]}
  label_smoothing: {min: 0, max: 0.2}
  eval_every: 3
  max_grad_norm: {log: [1, 1]}
  optimizer.eps: {log_uniform: {min: 1, max: 2}}
  scheduler: {choices: [linear, cosine]}
  model.freeze: {log: [-1, 3]}
  optimizer.layer_decay: {logspace: [0.5, 1]}"
    ));
}

#[test]
fn normal_distributions() {
    assert_snapshot!(mistakes(
        "space:
  lr: {normal: [0, 1e-5]}
  warmup: {normal: [0.1]}
  weight_decay: {normal: [0.1, 0]}
  batch_size: {normal: [32, 8]}
  epochs: {normal: [3, 1], step: 9}
  model.dropout: {normal: [1.5, 0.1]}
  label_smoothing: {randn: [0.1, 0.02]}
  max_grad_norm: {normal: [one, 2, 3], q: 1}"
    ));
}

#[test]
fn choices_inside_a_value() {
    let text = "space:
  scheduler: [linear, {name: cosine, cycles: {choice: [0.5, zero], weights: [1, 2, 3]}}]
  augmentation: [none, {name: eda, alpha: [0.05, 0.1]}, [{name: eda, alpha: {uniform: [0.05, 0.3]}}, synonym]]
  optimizer: [{name: adamw, eps: {choice: []}}, {name: adamw, betas: {choice: [[0.9, 0.99], 0.9]}}, {name: adamw, eps: {choice: [1e-6, 0.000001]}}]";
    assert_snapshot!(mistakes(text));
}

#[test]
fn goals_that_no_model_reaches() {
    let with = |metric: &str, until: &str| {
        let text = format!("metric: {metric}\nspace: {{lr: {{log: [1e-5, 1e-3]}}}}\nsearch: {{until: {until}}}");
        parse("a.yaml", "a", &text, &[])
            .err()
            .map(|problems| problems.iter().map(|one| one.what().to_owned()).collect::<String>())
    };
    let what = with("accuracy", "55").unwrap();
    assert_eq!(what, "`search.until` is 55, and accuracy is never above 1");
    assert_eq!(with("eval_loss", "-1").unwrap(), "`search.until` is -1, and eval loss is never below 0");
    for (metric, until) in [("accuracy", "0.55"), ("mcc", "-0.2"), ("eval_loss", "0.4"), ("eval_loss", "0")] {
        assert_eq!(with(metric, until), None, "{metric} {until}");
    }
}

/// The ends are valid, and what lies between them is not.
#[test]
fn values_between_the_ends() {
    assert_snapshot!(mistakes(
        "space:
  warmup: {uniform: [0, 2]}
  batch_size: {log: [8, 64]}
  lr: {log: [1e-6, 1e-3]}
  epochs: {normal: [3, 1], step: 1}
  grad_accumulation: {normal: [2, 1], step: 0.5}
  eval_every: {uniform: [8, 16], step: 0.5}"
    ));
}

#[test]
fn keys_that_stand_elsewhere_and_names_of_others() {
    assert_snapshot!(mistakes(
        "lr: 1e-4
metric: macro_f1
grid: {warmup: [0, 0.1]}
space:
  lr: {log: [1e-6, 1e-3]}
  warmup: {uniform: [0, 0.3]}
  seed: [1, 2]
  augmentation: {choice: [none, eda], weights: [1]}
  scheduler: {choice: [linear, cosine], weights: [0, 0]}
  model.pooling: {choice: [cls, mean], weights: [-1, 2]}
search: {sampler: bayes, metric: loss, n_trials: 9, trials: unlimited, goal: minimize, time: soon, at: last, from: 3}"
    ));
    assert_snapshot!(mistakes("metric: macro_f1\nspace: {lr: [1e-5, 1e-4]}\nsearch: {metric: accuracy}"));
}

#[test]
fn searches_that_cannot_be() {
    assert_snapshot!(mistakes("search: {trials: 9}"));
    let arms = mistakes("arms: [{name: a, lr: [1e-5, 1e-4]}]\nsearch: {trials: 9}");
    assert!(arms.contains("leave it out: each arm has a grid of its own"), "{arms}");
    // A key with a mistake in its range is also held against the rest of the file.
    let both = mistakes("lr: 1e-3\ngrid: {warmup: [0, 0.1]}\nspace: {lr: {log: [0, 1e-3]}, warmup: {uniform: [1, 0]}}");
    for what in ["`lr` is drawn and fixed", "`warmup` is drawn and on the grid"] {
        assert!(both.contains(what), "{both}");
    }
    assert_snapshot!(mistakes("space: {data.max_length: {int: [16, 64]}, lr: {log: [1e-5, 1e-4], step: 2}}"));
    assert_snapshot!(mistakes("space: {data: [{train: embedded:tweets, limit: {int: [10, 50]}}]}"));
    assert_snapshot!(mistakes("space: {lr: {log: [1e-5, 1e-4]}}\nzip: {warmup: [0, 0.1], epochs: [1, 2]}"));
}

#[test]
fn a_search_that_never_learns() {
    let spec = parse("a.yaml", "a", "space: {lr: {log: [1e-6, 1e-3]}}\nsearch: {trials: 5, startup: 10}", &[]).unwrap();
    assert_snapshot!(spec.warnings().join("\n"));
    let fits =
        parse("a.yaml", "a", "space: {lr: {log: [1e-6, 1e-3]}}\nsearch: {trials: 11, startup: 10}", &[]).unwrap();
    assert!(fits.warnings().is_empty());
}

/// `off` and the forms of the reference.
#[test]
fn what_is_switched_off() {
    let text = "space: {lr: {log: [1e-6, 1e-3]}}\nsearch: {patience: off, until: off, time: off, from: [], at: best, metric: accuracy}";
    let spec = parse("a.yaml", "a", text, &[]).unwrap();
    let plain = parse("a.yaml", "a", "metric: accuracy\nspace: {lr: {log: [1e-6, 1e-3]}}", &[]).unwrap();
    assert_eq!(spec.search.unwrap().config, plain.search.unwrap().config);
    assert_eq!(spec.base, plain.base);
    let timed = parse("a.yaml", "a", "space: {lr: {log: [1e-6, 1e-3]}}\nsearch: {time: 90m}", &[]).unwrap();
    assert_eq!(
        timed.search.as_ref().map(|search| (search.config.time, search.config.trials)),
        Some((Some(5400.0), 100_000))
    );
}

/// Seeds and points of the grid that do not fit the number of trials.
#[test]
fn trials_that_do_not_divide() {
    let text = |rest: &str| format!("space: {{lr: {{log: [1e-6, 1e-3]}}}}\n{rest}\n");
    assert_snapshot!(mistakes(&text("seeds: [1, 2, 3]\nsearch: {trials: 2}")));
    let warnings = |rest: &str| parse("a.yaml", "a", &text(rest), &[]).unwrap().warnings().join("\n");
    assert_snapshot!(warnings("seeds: [1, 2, 3]\nsearch: {trials: 35, startup: 2}"));
    assert_snapshot!(warnings("grid: {warmup: [0, 0.1, 0.2]}\nseeds: [1, 2]\nsearch: {trials: 4, sampler: random}"));
    assert_eq!(warnings("grid: {warmup: [0, 0.1, 0.2]}\nseeds: [1, 2]\nsearch: {trials: 36, startup: 2}"), "");
}

/// A line that a message proposes can be read.
#[test]
fn proposed_ranges_can_be_read() {
    let proposed = |key: &str, range: &str| {
        let message = mistakes(&format!("space: {{{key}: {range}}}"));
        let at = message.find("rite ").unwrap_or_else(|| panic!("{message}"));
        let line = message[at + 5..].lines().next().unwrap().trim_end_matches(' ').trim_matches('`');
        let first = line.strip_prefix(&format!("{key}: ")).unwrap_or(line);
        let first = &first[..=first.find('}').unwrap()];
        parse("a.yaml", "a", &format!("space: {{{key}: {first}}}"), &[])
            .unwrap_or_else(|problems| panic!("{problems}"));
        line.to_owned()
    };
    assert_eq!(proposed("batch_size", "{loguniform: [8, 64]}"), "batch_size: {log_int: [8, 64]}");
    assert_eq!(proposed("batch_size", "{tune.quniform: [8, 64, 8]}"), "batch_size: {uniform: [8, 64], step: 8}");
    assert_eq!(proposed("warmup", "{min: 0, max: 0.3}"), "{uniform: [0, 0.3]}");
    assert_eq!(proposed("lr", "{log_uniform: {min: 1e-6, max: 1e-3}}"), "lr: {log: [1e-6, 1e-3]}");
    assert_eq!(proposed("lr", "{min: 1e-6, max: 1e-3}"), "{uniform: [1e-6, 1e-3]} or {log: [1e-6, 1e-3]}");
    assert_eq!(proposed("model.dropout", "{quniform: [0, 0.5, 0.1]}"), "model.dropout: {uniform: [0, 0.5], step: 0.1}");
    assert_snapshot!(mistakes(
        "space:
  warmup: {min: 0.1, max: 10}
  lr: {log: [1e-5, 1e-3], weights: [1, 2], foo: 3}
  weight_decay: {uniform: [0.2, 0.1], int: [1, 2]}
  scheduler: [linear, {name: cosine_with_restarts, cycles: {int: [4, 1]}}]"
    ));
}
