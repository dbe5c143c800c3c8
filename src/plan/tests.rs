use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::spec::{ResolvedSources, SweepSpec, parse};
use crate::trial::{AxisValue, DataFacts, DataReport, Keep, ModelFacts, Pooling};

/// Facts under which every source is found as written.
pub(crate) fn facts(spec: &SweepSpec) -> Facts {
    let sources = spec.sources();
    let data = sources.data.into_iter().map(|source| DataFound {
        located: source.data.clone(),
        facts: DataFacts {
            hash: format!("data {} {:?} {:?}", source.data.train, source.data.limit, source.data.eval),
            train_rows: source.data.limit.unwrap_or(3312),
            ..data_facts()
        },
        written: source.data,
        model: source.model,
    });
    let models = sources.models.into_iter().map(|source| ModelFound {
        located: source.from.clone(),
        facts: ModelFacts { hash: format!("model {}", source.from), ..model_facts() },
        written: source.from,
    });
    Facts { data: data.collect(), models: models.collect(), augmentations: Vec::new() }
}

pub(super) fn data_facts() -> DataFacts {
    DataFacts {
        hash: "data".into(),
        train_rows: 3312,
        eval_rows: 828,
        labels: vec!["negative".into(), "positive".into()],
        class_prior: vec![0.45, 0.55],
        mean_tokens: 25.0,
        largest_token: 0,
        test_hash: None,
        report: DataReport::default(),
    }
}

pub(super) fn model_facts() -> ModelFacts {
    ModelFacts {
        hash: "model".into(),
        parameters: 8_700_000,
        vocabulary: 8192,
        layers: 3,
        hidden: 384,
        embedding_width: 384,
        modules: Vec::new(),
        adapter: None,
        heads: 12,
        intermediate: 1536,
        max_positions: 512,
        token_types: 2,
        has_pooler: false,
        dropout: Some(0.1),
    }
}

pub(super) fn plan(text: &str) -> Plan {
    let spec = parse("a.yaml", "a", text, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    expand(&spec, &facts(&spec)).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The values of all trials, a line each.
fn table(plan: &Plan) -> String {
    let row = |values: &[(String, AxisValue)]| {
        values.iter().map(|(key, value)| format!("{key}={}", value.text)).collect::<Vec<_>>().join(" ")
    };
    plan.trials.iter().map(|trial| row(&trial.values)).collect::<Vec<_>>().join("\n")
}

/// The ids of a sweep's trials, sorted.
fn ids(text: &str) -> Vec<String> {
    let mut ids: Vec<String> = plan(text).trials.iter().map(|trial| trial.id.to_string()).collect();
    ids.sort_unstable();
    ids
}

/// What planning says of a sweep that parses.
fn mistakes(text: &str) -> String {
    let spec = parse("a.yaml", "a", text, &[]).unwrap();
    expand(&spec, &facts(&spec)).map_or_else(|problems| problems.to_string(), |plan| plan.warnings.join("\n"))
}

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

#[test]
fn ids_know_what_a_trial_is_not_how_it_was_written() {
    let same = [
        "grid: {lr: [3e-5]}",
        "lr: 0.00003",
        "learning_rate: 3.0e-05\nname: other\nrun: {jobs: 7}",
        "seeds: [42]",
        "grid: {seed: [42]}",
        "seed: 42",
        "scheduler: linear\nepochs: 3.0",
    ];
    for text in same {
        assert_eq!(ids(text), ids(""), "{text}");
    }
    assert_eq!(ids("scheduler: cosine"), ids("scheduler: {cycles: 0.5, name: cosine}"));
    assert_eq!(ids("augmentation: synonym"), ids("augmentation: [{name: synonym, rate: 0.10}]"));
    assert_eq!(ids("lr: 1\nseeds: [1, 2]"), ids("lr: 1\ngrid: {seed: [2, 1]}"));
    assert_ne!(ids("lr: 1"), ids("lr: 2"));
    assert_ne!(ids("data: {limit: 10}"), ids("data: {limit: 11}"));
}

/// An id that changes without a new number of [`NUMERICS`] would make people train again what they have.
#[test]
fn the_id_of_the_default_trial_stays() {
    assert_snapshot!(plan("").trials[0].id, @"a7f09691a0c6");
}

#[test]
fn moving_a_folder_keeps_ids() {
    let spec = |folder: &str| {
        let text = format!("data: {{train: {folder}/a.tsv, eval: {folder}/b.tsv}}\nmodel: {{from: {folder}/bert}}");
        parse("a.yaml", "a", &text, &[]).unwrap()
    };
    let planned = |folder: &str, content: &str| {
        let spec = spec(folder);
        let mut facts = facts(&spec);
        facts.data[0].facts.hash = content.into();
        facts.data[0].located.train = format!("/abs/{folder}/a.tsv");
        facts.models[0].facts.hash = "weights".into();
        facts.models[0].located = format!("/abs/{folder}/bert");
        let plan = expand(&spec, &facts).unwrap();
        let trial = &plan.trials[0];
        assert_eq!(
            (&*trial.config.data.train, &*trial.config.model.from),
            (&*format!("/abs/{folder}/a.tsv"), &*format!("/abs/{folder}/bert"))
        );
        assert!(facts.of(&trial.config).is_some());
        trial.id.clone()
    };
    assert_eq!(planned("x", "content"), planned("y", "content"));
    assert_ne!(planned("x", "content"), planned("x", "other"));
}

fn estimated(text: &str, past: &[PastTrial], threads: usize) -> Estimate {
    let spec = parse("a.yaml", "a", text, &[]).unwrap();
    let facts = facts(&spec);
    let plan = expand(&spec, &facts).unwrap();
    let (data, model) = facts.of(&plan.trials[0].config).unwrap();
    estimate(&plan.trials[0], data, &model, past, threads)
}

#[test]
fn an_estimate_grows_with_the_work() {
    let of = |text| estimated(text, &[], 1);
    let default = of("");
    assert!((10.0..600.0).contains(&default.seconds), "{default:?}");
    assert!((140 << 20..2 << 30).contains(&default.memory) && default.checkpoint == 12 * 8_700_000, "{default:?}");
    assert!(of("epochs: 6").seconds > 1.8 * default.seconds && of("eval_every: 0.1").seconds > default.seconds);
    assert!(of("model: {freeze: 3}").seconds < default.seconds && of("steps: 1").files < default.files);
    assert!(of("batch_size: 64").memory > default.memory);
    assert!(of("grad_accumulation: 4").memory < default.memory);
    let beyond_all_buffers = of("batch_size: 3312").memory - of("batch_size: 200").memory;
    assert!(
        beyond_all_buffers < 20 << 20,
        "memory grows with the gradient buffers, not with the batch: {beyond_all_buffers}"
    );
    assert!(estimated("", &[], 2).seconds < default.seconds);
}

/// Without evaluation to speak of, a trial like the past one takes its tokens over its speed.
#[test]
fn a_past_trial_replaces_the_assumed_speed() {
    let past = |parameters, tokens_per_second| PastTrial {
        parameters,
        tokens_per_second,
        threads: 1,
        peak_memory: Some(1 << 30),
    };
    let list = [past(110_000_000, 300.0), past(8_700_000, 5000.0), past(8_700_001, f64::NAN)];
    let estimate = estimated("steps: 10000\neval_every: 1000000", &list, 1);
    let tokens = 10_000.0 * 32.0 * 25.0;
    let ratio = estimate.seconds / (tokens / 5000.0);
    assert!((1.0..1.02).contains(&ratio), "{ratio}");
    assert_eq!(estimate.memory, 1 << 30);
    let smaller = estimated("steps: 10000\neval_every: 1000000", &list[..1], 1).seconds;
    assert!((smaller / (tokens / (300.0 * 110.0 / 8.7)) - 1.0).abs() < 0.02, "speed scales with size");
}

#[test]
fn a_plan_takes_as_long_as_its_fullest_place() {
    let one = |seconds, memory| Estimate { seconds, memory, files: 10, checkpoint: 100 * memory };
    let list = [one(5.0, 1), one(1.0, 7), one(1.0, 3), one(2.0, 2)];
    let of = |jobs| PlanEstimate::of(&list, jobs, Keep::None);
    assert_eq!(of(2), PlanEstimate { seconds: 5.0, memory: 10, disk: 1040 });
    assert_eq!(of(1), PlanEstimate { seconds: 9.0, memory: 7, disk: 740 });
    assert_eq!(PlanEstimate::of(&list, 2, Keep::Best).disk, 1340, "every trial's checkpoint stays");
    assert_eq!(PlanEstimate::of(&list, 2, Keep::WINNER).disk, 1240, "those that run, and the winner");
    assert_eq!(PlanEstimate::of(&[], 3, Keep::None), PlanEstimate::default());
}

/// Keys in several spellings, with values in several spellings.
type Spellings = &'static [&'static str];
const AXES: &[(Spellings, &[Spellings])] = &[
    (&["lr", "learning_rate"], &[&["1e-5", "0.00001", "1.0e-05"], &["3e-5", ".3e-4"], &["1e-3", "0.001"]]),
    (&["warmup"], &[&["0", "0.0", "-0.0"], &["0.1", ".1", "1e-1"], &["5", "5.0"]]),
    (
        &["scheduler", "lr_scheduler_type"],
        &[&["linear", "{name: linear}"], &["cosine", "{cycles: 0.5, name: cosine}"], &["{name: cosine, cycles: 2}"]],
    ),
    (
        &["augmentation"],
        &[&["none", "[]"], &["synonym", "[synonym]", "{rate: 0.1, name: synonym}"], &["[random_swap, synonym]"]],
    ),
    (&["batch_size", "per_device_train_batch_size"], &[&["16", "0x10"], &["32", "3.2e1"]]),
    (&["model.dropout"], &[&["0"], &["0.2", "2e-1"], &["null"]]),
    (&["model"], &[&["{freeze: 1}"], &["{reinit: 1}", "{reinit: 0x1}"]]),
    (&["data.max_length"], &[&["32"], &["64", "64.0"]]),
    (&["stop.patience.evals"], &[&["2"], &["3"]]),
    (&["seed"], &[&["1"], &["2"], &["18446744073709551615"]]),
];

/// Some of [`AXES`], some values of each, by index, in any order.
fn axes() -> impl Strategy<Value = Vec<(usize, Vec<usize>)>> {
    let some = proptest::sample::subsequence((0..AXES.len()).collect::<Vec<_>>(), 0..=5).prop_shuffle();
    some.prop_flat_map(|chosen| {
        chosen
            .into_iter()
            .map(|axis| {
                let values: Vec<usize> = (0..AXES[axis].1.len()).collect();
                let count = values.len();
                (Just(axis), proptest::sample::subsequence(values, 1..=count).prop_shuffle())
            })
            .collect::<Vec<_>>()
    })
}

/// A grid. `spelling` chooses among the forms of each key and value; 0 chooses the first form everywhere.
fn grid(axes: &[(usize, Vec<usize>)], mut spelling: usize) -> String {
    let mut pick = |forms: Spellings| {
        spelling = spelling.wrapping_mul(6_364_136_223_846_793_005);
        forms[(spelling >> 33) % forms.len()]
    };
    let mut text = String::from("grid:\n");
    for (axis, values) in axes {
        let (keys, forms) = AXES[*axis];
        let values: Vec<&str> = values.iter().map(|value| pick(forms[*value])).collect();
        text.extend(["  ", pick(keys), ": [", &values.join(", "), "]\n"]);
    }
    text
}

/// The value that trial `index` of a product has on each axis, by the definition: the last varies fastest.
fn point(axes: &[(usize, Vec<usize>)], mut index: usize) -> Vec<usize> {
    let mut point: Vec<usize> = Vec::new();
    for (_, values) in axes.iter().rev() {
        point.push(values[index % values.len()]);
        index /= values.len();
    }
    point.reverse();
    point
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_product_has_all_combinations_in_order(axes in axes()) {
        let plan = plan(&grid(&axes, 0));
        let size: usize = axes.iter().map(|(_, values)| values.len()).product();
        prop_assert_eq!(plan.trials.len(), size);
        for (index, trial) in plan.trials.iter().enumerate() {
            for ((axis, _), value) in axes.iter().zip(point(&axes, index)) {
                let mut one = parse("a.yaml", "a", &grid(&[(*axis, vec![value])], 0), &[]).unwrap();
                let expected = one.factors.remove(0).keys.remove(0);
                let found = trial.values.iter().find(|(key, _)| *key == expected.path).map(|(_, value)| value);
                // A seed that does not vary is not shown.
                prop_assert!(found == Some(&expected.choices[0].shown) || found.is_none() && expected.path == "seed");
                for setting in &expected.choices[0].settings {
                    let json = serde_json::to_value(&trial.config).unwrap();
                    let resolved = setting.value.is_null();
                    prop_assert!(resolved || crate::spec::lookup(&json, &setting.path) == Some(&setting.value));
                }
            }
        }
    }

    #[test]
    fn ids_depend_on_no_spelling_and_no_order(axes in axes(), spelling: usize, rotation in 0usize..5) {
        let mut turned = axes.clone();
        let by = rotation % axes.len().max(1);
        turned.rotate_left(by);
        prop_assert_eq!(ids(&grid(&axes, 0)), ids(&grid(&turned, spelling)));
    }

    #[test]
    fn exclude_drops_what_matches_and_nothing_else(axes in axes(), wanted: usize, keys in 1usize..4, spelling: usize) {
        let all = plan(&grid(&axes, 0));
        let aim = point(&axes, wanted % all.trials.len());
        let entry: Vec<(usize, usize)> = axes.iter().map(|(axis, _)| *axis).zip(aim).take(keys).collect();
        prop_assume!(!entry.is_empty());
        let left: Vec<_> = (0..all.trials.len()).filter(|&index| {
            let point = point(&axes, index);
            let has = |(axis, value): &(usize, usize)| axes.iter().zip(&point).any(|((a, _), v)| a == axis && v == value);
            !entry.iter().all(has)
        }).map(|index| all.trials[index].id.clone()).collect();
        let pairs: Vec<String> = entry.iter().map(|(axis, value)| {
            let forms = AXES[*axis].1[*value];
            format!("{}: {}", AXES[*axis].0[0], forms[spelling % forms.len()])
        }).collect();
        // An entry that says only `cosine` would match every cosine, null would match what the checkpoint decided.
        prop_assume!(pairs.iter().all(|pair| !pair.ends_with(": cosine") && !pair.ends_with("null")));
        let text = format!("{}exclude: [{{{}}}]", grid(&axes, 0), pairs.join(", "));
        let spec = parse("a.yaml", "a", &text, &[]).unwrap();
        let found = expand(&spec, &facts(&spec)).map_or_else(|_| Vec::new(), |plan| {
            plan.trials.into_iter().map(|trial| trial.id).collect()
        });
        prop_assert_eq!(found, left);
    }

    #[test]
    fn a_written_sweep_reads_back_to_the_same_plan(axes in axes(), spelling: usize, extra in 0usize..8) {
        let mut text = grid(&axes, spelling);
        let more = ["zip: {weight_decay: [0, 0.1], grad_accumulation: [1, 2]}\n", "include: [{label_smoothing: 0.1}, {steps: 50}]\n",
            "exclude: [{weight_decay: 0.1, warmup: 0}]\nrun: {keep: best, checkpoint_every: 9}\n"];
        (0..3).filter(|bit| extra >> bit & 1 == 1).for_each(|bit| text.push_str(more[bit]));
        if axes.iter().all(|(axis, _)| AXES[*axis].0[0] != "seed") {
            text.push_str("seeds: [5, 6]\n");
        }
        let spec = parse("a.yaml", "a", &text, &[]).unwrap();
        let yaml = spec.to_yaml(&ResolvedSources::default()).unwrap();
        let again = parse("b.yaml", "b", &yaml, &[]).unwrap_or_else(|problems| panic!("{problems}\n{yaml}"));
        prop_assert_eq!(&again.run, &spec.run);
        prop_assert_eq!(again.to_yaml(&ResolvedSources::default()).unwrap(), yaml);
        let [plan, again] = [&spec, &again].map(|spec| expand(spec, &facts(spec)).unwrap_or_else(|problems| panic!("{problems}")));
        // Texts are as written, and written differently; all else is equal.
        let stripped = |plan: Plan| {
            let trials = plan.trials.into_iter().map(|t| (t.id, t.steps, t.config, t.values.into_iter().map(|(k, v)| (k, v.value)).collect::<Vec<_>>()));
            (plan.name, trials.collect::<Vec<_>>())
        };
        prop_assert_eq!(stripped(again), stripped(plan));
    }
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
    let facts = facts(&spec);
    let start = std::time::Instant::now();
    let plan = expand(&spec, &facts).unwrap();
    let taken = start.elapsed();
    println!("{} trials in {taken:?}", plan.trials.len());
    assert!(plan.trials.len() == 100_000 && taken.as_secs_f64() < 3.0, "{taken:?}");
}

#[test]
fn a_schedule_with_a_rise_takes_the_place_of_the_default_warmup_alone() {
    let text = "grid: {scheduler: [linear, one_cycle]}";
    let warmups = |plan: &Plan| plan.trials.iter().map(|trial| trial.config.warmup.0).collect::<Vec<_>>();
    assert_eq!(warmups(&plan(text)), [0.1, 0.0]);
    let spec = parse("a.yaml", "a", text, &[]).unwrap();
    assert_eq!(ids(&spec.to_yaml(&ResolvedSources::default()).unwrap()), ids(text), "as run, it reads back");
    assert_eq!(ids("scheduler: one_cycle\nwarmup: 0"), ids("scheduler: one_cycle"));
    assert_eq!(
        warmups(&plan("warmup: 5\ngrid: {scheduler: [linear, one_cycle]}\nexclude: [{scheduler: one_cycle}]")),
        [5.0]
    );
    assert_snapshot!(mistakes("warmup: 5\ngrid:\n  scheduler: [linear, one_cycle]\n"), @r"
    a.yaml:1:9: `one_cycle` rises on its own and takes no warm-up
      1 | warmup: 5
        |         ^ write 0, or leave `warmup` out: its default is 0 with this schedule
    ");
}

#[test]
fn schedules_that_do_not_fit_are_refused_before_training() {
    let check = |text: &str, expected: &str| assert!(mistakes(text).contains(expected), "{}", mistakes(text));
    let decay = "steps: 100\nscheduler: {name: warmup_stable_decay, decay:";
    check(&format!("{decay} 101}}"), "a.yaml:2:12: a decay of 101 steps is longer than the run of 100");
    check(&format!("{decay} 95}}"), "a warm-up of 10 and a decay of 95 steps do not fit into 100 steps");
    check("scheduler: warmup_stable_decay", "`warmup_stable_decay` needs `decay`");
    check("scheduler: cyclical", "`cyclical` needs `min_lr`");
    check("scheduler: {name: cyclical, min_lr: 1e-6}", "`cyclical` needs `step_up`");
    check("scheduler: {name: cyclical, min_lr: 1e-3, step_up: 5}", "is 1e-3, above the peak `lr` of 3e-5");
    check("scheduler: cosine_with_min_lr", "needs `min_lr`");
    check("scheduler: {name: cosine_with_min_lr, min_lr: 0, min_lr_ratio: 0}", "keep one of them");
    check("scheduler: {name: polynomial, end_lr: 1}", "`end_lr` of `polynomial` is 1e0, above");
    check("scheduler: {name: reduce_on_plateau, min_lr: 1}", "`min_lr` of `reduce_on_plateau`");
    let several = "scheduler: warmup_stable_decay\ngrid: {scheduler.decay: [0.2, 30]}";
    assert_snapshot!(table(&plan(several)), @r"
    scheduler.decay=0.2
    scheduler.decay=30
    ");
}

#[test]
fn the_schedules_of_a_sweep_are_its_distinct_ones() {
    let text =
        "grid: {lr: [1e-4, 3e-5], batch_size: [8, 16], scheduler: [linear, {name: cosine, cycles: 1}]}\nseeds: [1, 2]";
    let spec = parse("a.yaml", "a", text, &[]).unwrap();
    let names = |schedules: &[PlannedSchedule]| {
        let name =
            |values: &[(String, AxisValue)]| values.iter().map(|(_, v)| v.text.clone()).collect::<Vec<_>>().join(" ");
        schedules.iter().map(|schedule| name(&schedule.values)).collect::<Vec<_>>()
    };
    let found = schedules(&spec, 50).unwrap();
    assert_eq!(names(&found), ["1e-4 linear", "1e-4 cosine 1", "3e-5 linear", "3e-5 cosine 1"]);
    assert!(found.iter().all(|schedule| schedule.steps == 50));
    let own = plan(text).schedules();
    assert_eq!(own.len(), 8);
    assert_eq!(names(&own)[0], "1e-4 linear 1242");
    let bad = parse("a.yaml", "a", "warmup: 60", &[]).unwrap();
    assert!(schedules(&bad, 50).unwrap_err().to_string().contains("longer than the run of 50"));
}

#[test]
fn a_rate_for_the_head_makes_another_trial_and_its_absence_none() {
    assert_eq!(ids("optimizer: {head_lr: null}"), ids(""));
    assert_eq!(ids("head_lr: 1e-3"), ids("optimizer: {head_lr: 0.001}"));
    assert_ne!(ids("head_lr: 1e-3"), ids(""));
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
    let again = super::tests::plan(&spec.to_yaml(&ResolvedSources::default()).unwrap());
    assert_eq!(
        again.trials.iter().map(|t| &t.id).collect::<Vec<_>>(),
        plan.trials.iter().map(|t| &t.id).collect::<Vec<_>>()
    );
    // One fold alone is the same trial.
    let one = super::tests::plan("data: {folds: 3, fold: 2}\nlr: 1e-2\nseeds: [1, 2]");
    assert_eq!(
        one.trials.iter().map(|t| &t.id).collect::<Vec<_>>(),
        plan.trials[18..].iter().map(|t| &t.id).collect::<Vec<_>>()
    );
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
