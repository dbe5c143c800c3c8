//! Files as people write them, translated and refused.

use insta::assert_snapshot;

use super::super::{ImportOptions, import, parse};

/// The translation of a file, or the mistakes in it.
fn translated(text: &str, drop: &[&str], keys: &[(&str, &str)]) -> String {
    let options = ImportOptions {
        drop: drop.iter().map(ToString::to_string).collect(),
        keys: keys.iter().map(|(name, key)| (name.to_string(), key.to_string())).collect(),
    };
    match import("w.yaml", "w", text, &options) {
        Ok(import) => {
            // Our own spelling, which means the same.
            let ours = parse("ours.yaml", "w", &import.text, &[])
                .unwrap_or_else(|problems| panic!("{}\n{problems}", import.text));
            if drop.is_empty() && keys.is_empty() {
                let theirs = parse("w.yaml", "w", text, &[]).unwrap();
                assert_eq!(ours.base, theirs.base);
                assert_eq!(ours.size(), theirs.size());
                let search = |spec: &super::super::SweepSpec| {
                    spec.search.as_ref().map(|search| (search.config.clone(), search.drawn.space.clone()))
                };
                assert_eq!(search(&ours), search(&theirs));
            }
            import.text
        }
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn a_search_by_bayes() {
    let text = "
program: train.py
project: demo
method: bayes
metric: {name: eval/accuracy, goal: maximize}
parameters:
  learning_rate: {distribution: log_uniform_values, min: 1e-5, max: '1e-3'}
  per_device_train_batch_size: {values: [8, 16]}
  num_train_epochs: {min: 1, max: 4}
  train: {parameters: {weight-decay: {min: 0.0, max: 0.1}}}
  dropout: {distribution: q_uniform, min: 0, max: 0.5, q: 0.1}
  lr_scheduler_type: {values: [linear, cosine], probabilities: [0.75, 0.25]}
  warmup_steps: {value: 0}
  warmup_ratio: {values: [0.1]}
  model_name_or_path: {value: roberta-base}
  output_dir: {value: out}
  my_flag: {value: 1}
  seed: {values: [1, 2]}
early_terminate: {type: hyperband, min_iter: 2, strict: false}
run_cap: 40
command: [\"${env}\", python, \"${program}\", --fp16, --max_seq_length=64, --label_smoothing_factor, 0.1, \"${args}\"]
";
    assert_snapshot!(translated(text, &[], &[]));
}

#[test]
fn a_grid() {
    let text = "
method: grid
parameters:
  lr: {values: [1e-5, 3e-5]}
  epochs: {min: 1, max: 3}
  optimizer: {value: AdamW}
";
    assert_snapshot!(translated(text, &[], &[]));
}

/// W&B makes lists of ranges whose values can be counted: of `int_uniform` with both ends, of `q_uniform` without the upper one.
#[test]
fn a_grid_lists_the_values_of_ranges() {
    let text = "
method: grid
parameters:
  epochs: {min: 1, max: 3}
  lr: {distribution: q_uniform, q: 0.00001, min: 0.00001, max: 0.00005}
  batch_size: {distribution: q_uniform, q: 8, min: 8, max: 30}
";
    assert_snapshot!(translated(text, &[], &[]));
    let endless = text.replace("q: 0.00001", "q: 1e-12");
    assert!(translated(&endless, &[], &[]).contains("`lr` needs a list of values"));
}

#[test]
fn a_grid_repeats_seeds_and_has_each_key_once() {
    let text = "method: grid
parameters:
  lr: {values: [1e-5, 3e-5]}
  seed: {distribution: int_uniform, min: 0, max: 2}";
    assert!(translated(text, &[], &[]).contains("seeds: [0, 1, 2]"), "{}", translated(text, &[], &[]));
    let twice = translated(&format!("{text}\n  learning_rate: {{value: 1e-3}}"), &[], &[]);
    assert!(twice.contains("`lr` is searched, and stands again in line 5"), "{twice}");
    let dropped = translated(&format!("{text}\n  learning_rate: {{value: 1e-3}}"), &["learning_rate"], &[]);
    assert!(dropped.contains("lr: [1e-5, 3e-5]"), "{dropped}");
}

#[test]
fn ends_of_whole_ranges_that_are_not_whole_are_noted() {
    let lines = |end: &str| {
        let text = format!("method: random\nparameters: {{epochs: {{distribution: int_uniform, min: {end}, max: 4}}}}");
        translated(&text, &[], &[])
    };
    let fraction = lines("1.5");
    assert!(fraction.contains("an end of `int_uniform` is no whole number"), "{fraction}");
    assert!(fraction.contains("epochs: {uniform: [1.5, 4]}"), "{fraction}");
    assert!(lines("1.0").contains("epochs: {int: [1.0, 4]}"), "{}", lines("1.0"));
}

#[test]
fn schedules_have_our_names() {
    let text =
        "method: random\nparameters: {lr_scheduler_type: {values: [constant_with_warmup, reduce_lr_on_plateau]}}";
    let translated = translated(text, &[], &[]);
    assert!(translated.contains("scheduler: [constant, reduce_on_plateau]"), "{translated}");
    assert!(translated.contains("`constant_with_warmup` is `constant`"), "{translated}");
}

#[test]
fn steps_of_one_without_q() {
    let text = "method: random\nparameters: {max_grad_norm: {distribution: q_uniform, min: 0.5, max: 3.5}}";
    let translated = translated(text, &[], &[]);
    assert!(translated.contains("max_grad_norm: {uniform: [0, 4], step: 1}"), "{translated}");
    assert!(translated.contains("without `q`, the step of `q_uniform` is 1"), "{translated}");
}

#[test]
fn exponents_and_names_of_ones_own() {
    let text = "
method: random
parameters:
  hf_lr: {distribution: log_uniform, min: -12, max: -7}
  weight_decay: {distribution: log_uniform, min: 2e-5, max: 0.4}
  batch_size: {distribution: uniform, min: 8, max: 32}
  stride: {values: [16, 32]}
early_terminate: {type: hyperband, max_iter: 27, s: 2}
";
    assert_snapshot!(translated(text, &["stride"], &[("hf_lr", "lr")]));
    assert_snapshot!(translated(text, &[], &[]));
}

#[test]
fn what_cannot_be_translated() {
    let text = "
method: evolve
metric: {name: bleu}
parameters:
  lr: {distribution: inv_log_uniform, min: 1e-5, max: 1e-3}
  warmup: {distribution: beta, a: 1, b: 2}
  epochs: 3
  scheduler: {values: [linear, step]}
  label_smoothing: {min: 0.0}
  dropout: {values: [0, 0.1], condition: {scheduler: linear}}
  fp16: {values: [true, false]}
";
    assert_snapshot!(translated(text, &[], &[]));
    let goals = "method: bayes\nmetric: {name: val_f1, goal: minimize}\nparameters: {lr: {min: 1e-5, max: 1e-3}}";
    assert_snapshot!(translated(goals, &[], &[]));
    assert_snapshot!(translated("method: bayes\nparameters: {lr: {min: 1e-5, max: 1e-3}}", &[], &[]));
    assert_snapshot!(translated("lr: 1e-5", &[], &[]));
}

/// Without a line for the warm-up, the default of a tenth would count.
#[test]
fn two_warmups_of_zero_are_one() {
    let text = "method: random\nparameters: {warmup_steps: {value: 0}, warmup_ratio: {value: WARMUP}, lr: {min: 1e-5, max: 1e-3}}";
    let lines = |ratio: &str| {
        let translated = translated(&text.replace("WARMUP", ratio), &[], &[]);
        translated.lines().filter(|line| line.starts_with("warmup")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines("0"), ["warmup: 0"]);
    assert_eq!(lines("0.0"), ["warmup: 0"]);
    assert_eq!(lines("0.1"), ["warmup: 0.1"]);
}

#[test]
fn metrics_of_a_regression_are_known() {
    for (name, goal, expected) in
        [("eval/mse", "minimize", "mse"), ("val_rmse", "minimize", "mse"), ("pearsonr", "maximize", "pearson")]
    {
        let text = format!(
            "method: random\nmetric: {{name: {name}, goal: {goal}}}\n\
             parameters: {{task: {{value: regression}}, lr: {{min: 1e-5, max: 1e-3}}}}"
        );
        let translated = translated(&text, &[], &[]);
        assert!(translated.contains(&format!("\nmetric: {expected}\n")), "{translated}");
    }
}

#[test]
fn names_in_options_that_no_parameter_has_are_mistakes() {
    let text = "method: random\nparameters: {lr: {min: 1e-5, max: 1e-3}, stride: {values: [1, 2]}}\n";
    let problems = translated(text, &["strid", "stride"], &[("rate", "lr")]);
    assert!(
        problems.contains("--drop strid: no parameter has this name") && problems.contains("did you mean `stride`?"),
        "{problems}"
    );
    assert!(
        problems.contains("--key rate: no parameter has this name") && problems.contains("lr, stride"),
        "{problems}"
    );
    assert!(!translated(text, &["stride"], &[]).contains("no parameter"));
}

#[test]
fn a_file_without_its_method_is_still_known() {
    let problems = translated("program: t.py\nparameters: {lr: {min: 1e-5, max: 1e-3}}\n", &[], &[]);
    assert!(problems.contains("no `method`") && problems.contains("expected grid, random or bayes"), "{problems}");
}

#[test]
fn a_number_that_cannot_be_taken_as_it_is_is_reported() {
    let text = "method: random\nparameters: {lr: {min: 1e-5, max: 1e-3}}\nearly_terminate: {type: hyperband, min_iter: 2, eta: 1}\n";
    assert!(translated(text, &[], &[]).contains("`eta` is 2 in place of 1"));
}

#[test]
fn a_target_and_a_command_in_one_text() {
    let text = "
method: bayes
metric: {name: eval/loss, goal: minimize, target: 0.3, window: 5}
command: python train.py --fp16 --num_train_epochs=3 --weight_decay 0.1
parameters:
  dropout: {min: 0.0, max: 0.5}
  Weight-Decay-2: {value: 1}
  train.lr: {min: 1e-5, max: 1e-3, distribution: log_uniform_values}
";
    assert_snapshot!(translated(text, &[], &[]));
    let grid =
        translated(&text.replace("bayes", "grid").replace("{min: 0.0, max: 0.5}", "{values: [0, 0.1]}"), &[], &[]);
    assert!(grid.contains("`train.lr` needs a list of values"), "{grid}");
}

#[test]
fn parameters_with_two_forms_and_bad_bands() {
    let text = "
method: random
metric: {name: eval/loss, goal: minimize, target: soon}
early_terminate: {type: hyperband, min_iter: -3, eta: 0.5, s: x, strict: perhaps, foo: 1}
command: {python: train.py}
parameters:
  lr: {value: 1e-5, values: [1e-4, 1e-5]}
  weight_decay: {values: [0.1, 0.2], min: 0.0, max: 0.5}
  warmup: {value: 0.1, max: 0.3}
  label_smoothing: {distribution: log_uniform, min: 2e-5, max: 4e-5}
";
    assert_snapshot!(translated(text, &[], &[]));
}

#[test]
fn normal_distributions() {
    let text = "
method: random
parameters:
  lr: {distribution: normal, mu: 3e-5, sigma: 1e-5}
  dropout: {distribution: q_normal, mu: 0.1, sigma: 0.05, q: 0.02}
  batch_size: {distribution: normal, mu: 32, sigma: 8}
";
    assert_snapshot!(translated(text, &[], &[]));
    let others = translated(&text.replace("normal", "inv_log_uniform"), &[], &[]);
    assert!(others.contains("`dropout` cannot be drawn from `q_inv_log_uniform`"), "{others}");
    let nameless = translated(&text.replace("mu: 32", "mu: many"), &[], &[]);
    assert!(nameless.contains("a parameter of the distribution of `batch_size` cannot be `many`"), "{nameless}");
}

#[test]
fn exponents_that_a_key_cannot_have() {
    let drawn = |name: &str| {
        translated(
            &format!("method: random\nparameters: {{{name}: {{distribution: log_uniform, min: 0.01, max: 0.5}}}}"),
            &[],
            &[],
        )
    };
    let problem = drawn("dropout");
    assert!(
        problem.contains("`dropout` would be from 1.01 to 1.649: W&B takes the ends of `log_uniform` for exponents"),
        "{problem}"
    );
    assert!(problem.contains("did you mean `distribution: log_uniform_values`?"), "{problem}");
    assert!(drawn("max_grad_norm").contains("max_grad_norm: {log: [1.01, 1.649]}"));
}

#[test]
fn steps_of_accumulated_batches() {
    let text = "
method: random
parameters:
  per_device_train_batch_size: {value: 8}
  gradient_accumulation_steps: {value: 4}
  lr: {min: 1e-5, max: 1e-3}
";
    let both = translated(text, &[], &[]);
    assert!(both.contains("an optimizer step has 8 x 4 = 32 examples\nbatch_size: 32\n"), "{both}");
    let varied = translated(&text.replace("{value: 4}", "{values: [1, 4]}"), &[], &[]);
    assert!(varied.contains("which W&B's program multiplies by `grad_accumulation`"), "{varied}");
    let once = translated(&text.replace("{value: 4}", "{value: 1}"), &[], &[]);
    assert!(once.contains("\nbatch_size: 8\n") && !once.contains("multiplies"), "{once}");
}

#[test]
fn steps_that_do_not_begin_at_a_multiple() {
    let drawn = |range: &str| {
        translated(
            &format!("method: random\nparameters: {{weight_decay: {{distribution: q_uniform, {range}}}}}"),
            &[],
            &[],
        )
    };
    let moved = drawn("min: 0.01, max: 0.5, q: 0.04");
    assert!(moved.contains("weight_decay: {uniform: [0, 0.48], step: 0.04}"), "{moved}");
    assert!(moved.contains("W&B rounds draws to multiples of `q`"), "{moved}");
    let there = drawn("min: 0.1, max: 0.5, q: 0.1");
    assert!(there.contains("weight_decay: {uniform: [0.1, 0.5], step: 0.1}") && !there.contains("rounds"), "{there}");
}

#[test]
fn an_option_names_a_key_as_a_parameter_would() {
    let text = "method: random\nparameters: {my_drop: {values: [0.1, 0.2]}}\n";
    for key in ["dropout", "model.dropout"] {
        assert!(translated(text, &[], &[("my_drop", key)]).contains("\n  model.dropout: [0.1, 0.2]\n"), "{key}");
    }
}
