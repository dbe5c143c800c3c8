//! The messages about mistakes in a sweep file, as snapshots.

use insta::assert_snapshot;

use super::parse;

/// The messages about a file.
pub(super) fn mistakes(text: &str) -> String {
    match parse("a.yaml", "a", text, &[]) {
        Ok(_) => "no mistakes".into(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn arguments_of_other_programs_that_have_no_counterpart() {
    assert_snapshot!(mistakes("fp16: true\nreport_to: tensorboard\nmodel: {BF16: true}"), @"
        a.yaml:1:1: unknown key `fp16`
          1 | fp16: true
            | ^^^^ leave it out; `precision` says how exactly matrices are multiplied

        a.yaml:2:1: unknown key `report_to`
          2 | report_to: tensorboard
            | ^^^^^^^^^ did you mean `run.log_to`?

        a.yaml:3:9: unknown key `model.BF16`
          3 | model: {BF16: true}
            |         ^^^^ leave it out; `precision` says how exactly matrices are multiplied
        ");
}

#[test]
fn names_of_other_programs_and_separators_of_thousands() {
    assert_snapshot!(mistakes("num_epochs: 3\nlr_schedule: cosine\ndata: {validation_file: x.csv}\nmodel_name_or_path: x"), @r"
    a.yaml:1:1: unknown key `num_epochs`
      1 | num_epochs: 3
        | ^^^^^^^^^^ did you mean `epochs`?

    a.yaml:2:1: unknown key `lr_schedule`
      2 | lr_schedule: cosine
        | ^^^^^^^^^^^ did you mean `scheduler`?

    a.yaml:3:8: unknown key `data.validation_file`
      3 | data: {validation_file: x.csv}
        |        ^^^^^^^^^^^^^^^ did you mean `eval`?

    a.yaml:4:1: unknown key `model_name_or_path`
      4 | model_name_or_path: x
        | ^^^^^^^^^^^^^^^^^^ did you mean `model.from`?
    ");
    assert_snapshot!(mistakes("grid: {warmup: [1,000, 0.5]}\nsteps: 10,000\nlr: 0,5"), @r"
    a.yaml:1:19: `warmup` has two values here, separated by a comma
      1 | grid: {warmup: [1,000, 0.5]}
        |                   ^^^ write 1000 if it is one number

    a.yaml:2:8: `steps` cannot be `10,000`
      2 | steps: 10,000
        |        ^^^^^^ write 10000

    a.yaml:3:5: `lr` cannot be `0,5`
      3 | lr: 0,5
        |     ^^^ write 0.5
    ");
}

#[test]
fn an_unknown_key_names_the_nearest() {
    let file = r"lerning_rate: 3e-5
model:
  drop_out: 0.1
max_length: 64
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:1:1: unknown key `lerning_rate`
      1 | lerning_rate: 3e-5
        | ^^^^^^^^^^^^ did you mean `learning_rate`?

    a.yaml:3:3: unknown key `model.drop_out`
      3 |   drop_out: 0.1
        |   ^^^^^^^^ did you mean `dropout`?

    a.yaml:4:1: unknown key `max_length`
      4 | max_length: 64
        | ^^^^^^^^^^ did you mean `data.max_length`?
    ");
}

#[test]
fn a_quoted_number_says_so() {
    let file = r#"lr: "3e-5"
data: {eval: '0.2'}
"#;
    assert_snapshot!(mistakes(file), @r#"
    a.yaml:1:5: `lr` is text, because it is quoted
      1 | lr: "3e-5"
        |     ^^^^^^ write 3e-5 without quotes

    a.yaml:2:14: `data.eval` is text, because it is quoted
      2 | data: {eval: '0.2'}
        |              ^^^^^ write 0.2 without quotes
    "#);
}

#[test]
fn values_out_of_range() {
    let file = r"lr: -1
warmup: 1.5
model: {dropout: 2}
epochs: 0
batch_size: 0
data: {max_length: 2, eval: 1.5}
optimizer: {betas: [0.9, 1.0]}
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:1:5: `lr` cannot be `-1`
      1 | lr: -1
        |     ^^ expected a number above 0, such as 3e-5

    a.yaml:2:9: `warmup` cannot be `1.5`
      2 | warmup: 1.5
        |         ^^^ expected a fraction of all steps (from 0 to below 1) or whole steps (from 1)

    a.yaml:3:18: `model.dropout` cannot be `2`
      3 | model: {dropout: 2}
        |                  ^ expected a probability from 0 to below 1

    a.yaml:4:9: `epochs` cannot be `0`
      4 | epochs: 0
        |         ^ expected a number above 0

    a.yaml:5:13: `batch_size` cannot be `0`
      5 | batch_size: 0
        |             ^ expected a whole number from 1

    a.yaml:6:20: `data.max_length` cannot be `2`
      6 | data: {max_length: 2, eval: 1.5}
        |                    ^ expected tokens, at least 3 ([CLS], one of the text, [SEP])

    a.yaml:6:29: `data.eval` cannot be `1.5`
      6 | data: {max_length: 2, eval: 1.5}
        |                             ^^^ expected a fraction between 0 and 1, a file, or a map such as {file: eval.csv, text: sentence, label: target}

    a.yaml:7:20: `optimizer.betas` cannot be `[0.9, 1.0]`
      7 | optimizer: {betas: [0.9, 1.0]}
        |                    ^^^^^^^^^^ expected two numbers from 0 to below 1, such as [0.9, 0.999]
    ");
}

#[test]
fn values_of_a_wrong_type() {
    let file = r"lr: [1e-5, 1e-4]
warmup: 1_000
data.shuffle: yes
seed:
stop: 5
model: {pooling: {a: 1}}
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:1:5: `lr` cannot be `[1e-5, 1e-4]`
      1 | lr: [1e-5, 1e-4]
        |     ^^^^^^^^^^^^ expected a number above 0, such as 3e-5; several values go into `grid: {lr: [...]}`

    a.yaml:2:9: `warmup` cannot be `1_000`
      2 | warmup: 1_000
        |         ^^^^^ write 1000

    a.yaml:3:15: `data.shuffle` cannot be `yes`
      3 | data.shuffle: yes
        |               ^^^ write true

    a.yaml:4:1: `seed` has no value
      4 | seed:
        | ^^^^ expected a whole number from 0

    a.yaml:5:7: `stop` cannot be `5`
      5 | stop: 5
        |       ^ expected a map of diverged, patience, plateau, median, asha

    a.yaml:6:18: `model.pooling` cannot be a map
      6 | model: {pooling: {a: 1}}
        |                  ^^^^^^ expected one of cls, mean, pooler
    ");
}

#[test]
fn a_key_given_twice() {
    let file = r"lr: 3e-5
warmup: 0
lr: 4e-5
warmup_steps: 10
model: {dropout: 0}
model.dropout: 0.1
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:3:1: `lr` is given twice
      3 | lr: 4e-5
        | ^^ first in line 1

    a.yaml:4:1: `warmup` is set twice
      4 | warmup_steps: 10
        | ^^^^^^^^^^^^ first in line 2

    a.yaml:6:1: `model.dropout` is set twice
      6 | model.dropout: 0.1
        | ^^^^^^^^^^^^^ first in line 5
    ");
}

#[test]
fn epochs_and_steps() {
    let file = r"epochs: 3
max_steps: 100
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:2:1: `epochs` and `steps` both say how long to train
      2 | max_steps: 100
        | ^^^^^^^^^ keep one of them
    ");
}

#[test]
fn a_fixed_length_beside_an_axis_of_the_other() {
    let file = r"epochs: 3
grid: {steps: [10, 20]}
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:1:1: `epochs` and `steps` both say how long to train
      1 | epochs: 3
        | ^^^^^^ keep one of them
    ");
}

#[test]
fn a_tab() {
    let file = "grid:\n\tlr: [1e-5]\n";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:2:1: this line is indented with a tab
      2 |  lr: [1e-5]
        | ^ YAML is indented with spaces
    ");
}

#[test]
fn an_unclosed_bracket() {
    let file = r"grid:
  lr: [1e-5, 1e-4
  warmup: [0]
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:2:7: this `[` is not closed
      2 |   lr: [1e-5, 1e-4
        |       ^ close it in this line
    ");
}

#[test]
fn bad_indentation() {
    let file = r"lr: 1e-5
 warmup: 3
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:2:8: this is not YAML: mapping values are not allowed in this context
      2 |  warmup: 3
        |        ^ write one `key: value` per line, and indent keys of one level alike
    ");
}

#[test]
fn an_unclosed_quote_and_an_alias_of_nothing() {
    let file = r"name: 'a
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:1:7: this is not YAML: while scanning a quoted scalar, found unexpected end of stream
      1 | name: 'a
        |       ^ close the quotes
    ");
}

#[test]
fn the_same_value_twice_on_an_axis() {
    let file = r"grid: {lr: [1e-5, 0.00001], warmup: [0, 0], scheduler: [cosine, {name: cosine, cycles: 0.5}]}
seeds: [1, 1]
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:1:19: `0.00001` and `1e-5` are the same value
      1 | grid: {lr: [1e-5, 0.00001], warmup: [0, 0], scheduler: [cosine, {name: cosine, cycles: 0.5}]}
        |                   ^^^^^^^ remove one

    a.yaml:1:41: `0` is on this axis twice
      1 | grid: {lr: [1e-5, 0.00001], warmup: [0, 0], scheduler: [cosine, {name: cosine, cycles: 0.5}]}
        |                                         ^ remove one

    a.yaml:1:65: `cosine 0.5` and `cosine` are the same value
      1 | grid: {lr: [1e-5, 0.00001], warmup: [0, 0], scheduler: [cosine, {name: cosine, cycles: 0.5}]}
        |                                                                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^ remove one

    a.yaml:2:12: `1` is on this axis twice
      2 | seeds: [1, 1]
        |            ^ remove one
    ");
}

#[test]
fn axes_that_are_none() {
    let file = r"grid:
  lr: []
  warmup: 0.1
  run.jobs: [1, 2]
  name: [a]
  schedulr: [linear]
  batch_size: [16, many]
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:2:7: `lr` has no values
      2 |   lr: []
        |       ^^ list at least one, or leave the key out

    a.yaml:3:11: `warmup` needs a list of values
      3 |   warmup: 0.1
        |           ^^^ write [0.1], or move it out of the grid

    a.yaml:4:3: `run.jobs` cannot vary
      4 |   run.jobs: [1, 2]
        |   ^^^^^^^^ it does not describe a trial: set it at the top level

    a.yaml:5:3: `name` cannot vary
      5 |   name: [a]
        |   ^^^^ it does not describe a trial: set it at the top level

    a.yaml:6:3: unknown key `schedulr`
      6 |   schedulr: [linear]
        |   ^^^^^^^^ did you mean `scheduler`?

    a.yaml:7:20: `batch_size` cannot be `many`
      7 |   batch_size: [16, many]
        |                    ^^^^ expected a whole number from 1
    ");
}

#[test]
fn a_zip_of_unequal_lengths() {
    let file = r"zip:
  batch_size: [16, 32]
  epochs: [2, 4, 6]
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:3:3: `epochs` has 3 values, `batch_size` has 2
      3 |   epochs: [2, 4, 6]
        |   ^^^^^^ the lists of `zip` must have equal lengths
    ");
}

#[test]
fn a_key_in_grid_and_zip() {
    let file = r"grid: {lr: [1e-5]}
zip: {learning_rate: [1e-5]}
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:2:7: `learning_rate` varies twice
      2 | zip: {learning_rate: [1e-5]}
        |       ^^^^^^^^^^^^^ first in line 1
    ");
}

#[test]
fn names_that_are_near_or_far() {
    let file = r"scheduler: cosin
augmentation: [synonym, translate]
stop: {patience: {metric: eval_los}}
model: {pooling: max}
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:1:12: unknown scheduler `cosin`
      1 | scheduler: cosin
        |            ^^^^^ did you mean `cosine`?

    a.yaml:2:25: unknown augmentation `translate`
      2 | augmentation: [synonym, translate]
        |                         ^^^^^^^^^ known: synonym, random_insertion, random_swap, random_deletion, eda, eda_exact, aeda, token_cutoff, mixup, contextual, back_translation

    a.yaml:3:27: `stop.patience.metric` cannot be `eval_los`
      3 | stop: {patience: {metric: eval_los}}
        |                           ^^^^^^^^ did you mean `eval_loss`?

    a.yaml:4:18: `model.pooling` cannot be `max`
      4 | model: {pooling: max}
        |                  ^^^ known: cls, mean, pooler
    ");
}

#[test]
fn rules_over_all_trials() {
    let file = r"stop: {asha: {eta: 1, min_step: 5}, median: yes}
grid: {stop.asha.eta: [2, 3]}
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:1:20: `stop.asha.eta` cannot be `1`
      1 | stop: {asha: {eta: 1, min_step: 5}, median: yes}
        |                    ^ expected a whole number from 2

    a.yaml:1:23: unknown key `stop.asha.min_step`
      1 | stop: {asha: {eta: 1, min_step: 5}, median: yes}
        |                       ^^^^^^^^ did you mean `min_steps`?

    a.yaml:1:45: `stop.median` cannot be `yes`
      1 | stop: {asha: {eta: 1, min_step: 5}, median: yes}
        |                                             ^^^ expected none, true, or a map such as {metric: eval_loss, min_steps: 50}

    a.yaml:2:8: `stop.asha.eta` compares trials, so it cannot differ between them
      2 | grid: {stop.asha.eta: [2, 3]}
        |        ^^^^^^^^^^^^^ write it into the section `stop` at the top level
    ");
}

#[test]
fn parameters_that_do_not_fit() {
    let file = r"scheduler: {name: cosine, cycle: 2}
augmentation: {name: synonym, rate: 2}
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:1:27: `cosine` has no parameter `cycle`
      1 | scheduler: {name: cosine, cycle: 2}
        |                           ^^^^^ did you mean `cycles`?

    a.yaml:2:37: `augmentation.rate` cannot be `2`
      2 | augmentation: {name: synonym, rate: 2}
        |                                     ^ expected a share from 0 to 1
    ");
}

#[test]
fn a_parameter_of_nothing() {
    let file = r"scheduler.cycles: 2
augmentation.rate: 0.2
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:1:19: `linear` has no parameter `cycles`
      1 | scheduler.cycles: 2
        |                   ^ it is a parameter of cosine, cosine_with_restarts, cosine_with_min_lr

    a.yaml:2:20: `none` has no parameter `rate`
      2 | augmentation.rate: 0.2
        |                    ^^^ it is a parameter of synonym, random_insertion, random_swap, random_deletion, token_cutoff, contextual
    ");
}

#[test]
fn a_key_of_run_outside_of_it() {
    assert_snapshot!(mistakes("jobs: 2\n"), @r"
    a.yaml:1:1: unknown key `jobs`
      1 | jobs: 2
        | ^^^^ did you mean `run.jobs`?
    ");
}

#[test]
fn a_parameter_axis_that_does_not_fit_each_schedule() {
    let file = r"grid:
  scheduler: [linear, cosine]
  scheduler.cycles: [1, 2]
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:3:3: `linear` has no parameter `cycles`
      3 |   scheduler.cycles: [1, 2]
        |   ^^^^^^^^^^^^^^^^ it is a parameter of cosine, cosine_with_restarts, cosine_with_min_lr
    ");
}

#[test]
fn a_parameter_that_an_axis_would_replace() {
    let file = r"scheduler: cosine
scheduler.cycles: 2
grid: {scheduler: [linear, constant]}
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:2:1: `scheduler` varies, which would replace `scheduler.cycles`
      2 | scheduler.cycles: 2
        | ^^^^^^^^^^^^^^^^ write it into the values of the axis
    ");
}

#[test]
fn seeds_and_an_axis_seed() {
    let file = r"seeds: [1]
grid: {seed: [1, 2]}
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:1:1: `seeds` and the axis `seed` both set the seed
      1 | seeds: [1]
        | ^^^^^ `seed` varies in line 2; keep one of the two
    ");
}

#[test]
fn the_run_section() {
    let file = r"run:
  jobs: 0
  checkpoint_every: 5x
  kep: best
  devices: gpu
  retries: -1
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:2:9: `run.jobs` cannot be `0`
      2 |   jobs: 0
        |         ^ expected auto, or a whole number from 1

    a.yaml:3:21: `run.checkpoint_every` cannot be `5x`
      3 |   checkpoint_every: 5x
        |                     ^^ expected a time such as 60s, 2m or 1h, or a number of optimizer steps

    a.yaml:4:3: unknown key `run.kep`
      4 |   kep: best
        |   ^^^ did you mean `keep`?

    a.yaml:5:12: `run.devices` cannot be `gpu`
      5 |   devices: gpu
        |            ^^^ expected auto, cpu, cuda, cuda:0,1 or metal

    a.yaml:6:12: `run.retries` cannot be `-1`
      6 |   retries: -1
        |            ^^ expected a whole number from 0
    ");
}

#[test]
fn a_batch_too_small_to_split() {
    let file = r"batch_size: 2
grid:
  grad_accumulation: [1, 2, 4]
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:3:29: a batch of 2 cannot be split into 4 micro-batches
      3 |   grad_accumulation: [1, 2, 4]
        |                             ^ expected at most `batch_size`
    ");
}

#[test]
fn a_grid_too_large() {
    let file = r"grid:
  lr: [1e-5, 2e-5, 3e-5]
  warmup: [0, 1]
seeds: [1, 2]
run: {max_trials: 11}
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:1:1: this sweep has 12 trials, more than 11
      1 | grid:
        | ^^^^ shorten an axis, or raise `run.max_trials`
    ");
}

#[test]
fn entries_that_are_none() {
    let file = r"include: {lr: 1}
exclude: [{}, 5, {lr: x}, {seeds: 1}]
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:1:10: `include` cannot be a map
      1 | include: {lr: 1}
        |          ^^^^^^^ expected a list of maps, such as [{lr: 3e-4, warmup: 0}]

    a.yaml:2:11: an entry of `exclude` cannot be an empty map
      2 | exclude: [{}, 5, {lr: x}, {seeds: 1}]
        |           ^^ expected a key, such as {lr: 3e-4}

    a.yaml:2:15: an entry of `exclude` cannot be `5`
      2 | exclude: [{}, 5, {lr: x}, {seeds: 1}]
        |               ^ expected a map, such as {lr: 3e-4}

    a.yaml:2:23: `lr` cannot be `x`
      2 | exclude: [{}, 5, {lr: x}, {seeds: 1}]
        |                       ^ expected a number above 0, such as 3e-5

    a.yaml:2:28: `seeds` cannot vary
      2 | exclude: [{}, 5, {lr: x}, {seeds: 1}]
        |                            ^^^^^ `seeds: [1, 2]` belongs at the top level
    ");
}

#[test]
fn a_file_that_is_no_map() {
    let file = r"- lr
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:1:1: a sweep file is a map of keys, not `[lr]`
      1 | - lr
        | ^ expected keys with values, such as `lr: 3e-5`
    ");
}

#[test]
fn a_second_document() {
    let file = r"lr: 3e-5
---
lr: 4e-5
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:2:1: a second document starts here
      2 | ---
        | ^^^ one sweep per file
    ");
}

#[test]
fn a_name_that_is_no_folder() {
    let file = r"name: ../x
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:1:7: `../x` cannot name a sweep
      1 | name: ../x
        |       ^^^^ expected letters, digits, `-`, `_`, `.` and blanks, not starting with a dot: it names the results folder
    ");
}

/// Overrides are shown as they were given.
#[test]
fn overrides() {
    let set = [("lr", "abc"), ("warmup", "0"), ("modle.dropout", "1"), ("grid", "{lr: [1]}"), ("epochs", "")];
    let set = set.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let problems = parse("a.yaml", "a", "grid: {warmup: [0, 1]}\n", &set).unwrap_err();
    assert_snapshot!(problems, @r"
    --set lr=abc: `lr` cannot be `abc`
        expected a number above 0, such as 3e-5

    --set warmup=0: `warmup` varies in this sweep
        --set changes fixed values; --only trains some values of an axis

    --set modle.dropout=1: unknown key `modle.dropout`
        did you mean `model.dropout`?

    --set grid={lr: [1]}: `grid` cannot be set on the command line
        --set changes fixed values; edit the sweep file

    --set epochs=: `epochs` has no value
        expected a number above 0
    ");
}

#[test]
fn keys_that_all_trials_share() {
    assert_snapshot!(mistakes("grid: {metric: [accuracy, mcc]}\ninclude: [{metric: mcc}]\nstop: {patience: {metric: f1}}"), @"
    a.yaml:1:8: `metric` cannot vary: it ranks all trials of a sweep
      1 | grid: {metric: [accuracy, mcc]}
        |        ^^^^^^ write it at the top level, with one value

    a.yaml:2:12: `metric` cannot vary: it ranks all trials of a sweep
      2 | include: [{metric: mcc}]
        |            ^^^^^^ write it at the top level, with one value

    a.yaml:3:27: `stop.patience.metric` cannot be `f1`
      3 | stop: {patience: {metric: f1}}
        |                           ^^ expected one of eval_loss, accuracy, macro_f1, weighted_f1, mcc, auroc, average_precision, mse, mae, r2, pearson, spearman, micro_f1, subset_accuracy, macro_auroc, macro_average_precision, entity_precision, entity_recall, entity_f1, token_accuracy, perplexity
    ");
}

#[test]
fn folds_beside_other_settings() {
    let file = r"data: {eval: 0.2, folds: 5}
lr: 1e-4
";
    assert_snapshot!(mistakes(file), @r"
    a.yaml:1:8: `data.eval` and `data.folds` both say what is evaluated
      1 | data: {eval: 0.2, folds: 5}
        |        ^^^^ each fold is the evaluation set of some trials: remove `data.eval`
    ");
    assert_snapshot!(mistakes("data: {folds: 5, fold: 6}"), @r"
    a.yaml:1:24: `data.fold` cannot be 6
      1 | data: {folds: 5, fold: 6}
        |                        ^ `data.folds` makes 5 folds
    ");
    assert_snapshot!(mistakes("grid: {data.folds: [2, 3]}"), @r"
    a.yaml:1:8: `data.folds` cannot vary: its folds repeat every configuration
      1 | grid: {data.folds: [2, 3]}
        |        ^^^^^^^^^^ write it at the top level, with one value
    ");
    assert_snapshot!(mistakes("data: {folds: 1}"), @r"
    a.yaml:1:15: `data.folds` cannot be `1`
      1 | data: {folds: 1}
        |               ^ expected a whole number from 2 to 100
    ");
}
