//! Tests of the section `arms`: its messages, its trials, and what is written back.

use insta::assert_snapshot;

use super::{mistakes, plan, table};
use crate::plan::Plan;
use crate::spec::{ResolvedSources, parse};
use crate::trial::Architecture;

const ARMS: &str = "\
arms:
  - {name: bert, lr: [3e-5, 1e-4]}
  - {name: cnn, model.architecture: {name: textcnn, kernels: [2, 3]}, lr: [1e-3, 3e-3]}
grid: {data.max_length: [64, 128]}
seeds: [1, 2]
";

/// What parsing and planning say of a file: its mistakes, else its warnings.
fn messages(text: &str) -> String {
    parse("a.yaml", "a", text, &[]).map_or_else(|problems| problems.to_string(), |_| mistakes(text))
}

/// The product of each arm with the common grid, one arm after the other.
#[test]
fn each_arm_spans_a_grid_of_its_own() {
    let planned = plan(ARMS);
    assert_snapshot!(table(&planned), @"
    arm=bert lr=3e-5 data.max_length=64 seed=1
    arm=bert lr=3e-5 data.max_length=64 seed=2
    arm=bert lr=3e-5 data.max_length=128 seed=1
    arm=bert lr=3e-5 data.max_length=128 seed=2
    arm=bert lr=1e-4 data.max_length=64 seed=1
    arm=bert lr=1e-4 data.max_length=64 seed=2
    arm=bert lr=1e-4 data.max_length=128 seed=1
    arm=bert lr=1e-4 data.max_length=128 seed=2
    arm=cnn lr=1e-3 data.max_length=64 seed=1
    arm=cnn lr=1e-3 data.max_length=64 seed=2
    arm=cnn lr=1e-3 data.max_length=128 seed=1
    arm=cnn lr=1e-3 data.max_length=128 seed=2
    arm=cnn lr=3e-3 data.max_length=64 seed=1
    arm=cnn lr=3e-3 data.max_length=64 seed=2
    arm=cnn lr=3e-3 data.max_length=128 seed=1
    arm=cnn lr=3e-3 data.max_length=128 seed=2
    ");
    assert_eq!(parse("a.yaml", "a", ARMS, &[]).unwrap().size(), 16);
    let axes: Vec<(&str, usize)> = planned.axes.iter().map(|axis| (axis.key.as_str(), axis.values.len())).collect();
    assert_eq!(axes, [("arm", 2), ("lr", 4), ("data.max_length", 2), ("seed", 2)]);
    let text_cnn = planned
        .trials
        .iter()
        .filter(|trial| matches!(trial.config.model.architecture, Architecture::Textcnn { .. }))
        .count();
    assert_eq!(text_cnn, 8);
}

/// The same trials without names: an id is a hash of the configuration.
#[test]
fn the_name_of_an_arm_is_no_part_of_an_id() {
    let ids = |text: &str| {
        let mut ids: Vec<String> = plan(text).trials.iter().map(|trial| trial.id.to_string()).collect();
        ids.sort_unstable();
        ids
    };
    let grid = "grid: {model.architecture: [none, bilstm], lr: [1e-4, 1e-3]}";
    let arms = "arms: [{name: a, lr: [1e-3, 1e-4]}, {name: b, model.architecture: bilstm, lr: [1e-4, 1e-3]}]";
    assert_eq!(ids(arms), ids(grid));
    assert_eq!(ids(&arms.replace("name: b", "name: other")), ids(grid));
}

#[test]
fn the_sweep_as_run_has_the_same_trials() {
    let spec = parse("a.yaml", "a", ARMS, &[]).unwrap();
    let written = spec.to_yaml(&ResolvedSources::default()).unwrap();
    let (before, after) = (plan(ARMS), plan(&written));
    assert_eq!(before.trials.len(), after.trials.len(), "{written}");
    assert!(before.trials.iter().zip(&after.trials).all(|(a, b)| a.id == b.id), "{written}");
    // A list that is one value stays one.
    let list = "arms: [{name: a, augmentation: [[synonym, mixup]], lr: [1e-4, 1e-3]}, {name: b, lr: [1e-5, 1e-4]}]";
    let spec = parse("a.yaml", "a", list, &[]).unwrap();
    assert_eq!(plan(list).trials[0].config.augmentation.len(), 2);
    let ids = |plan: Plan| plan.trials.into_iter().map(|trial| trial.id).collect::<Vec<_>>();
    assert_eq!(ids(plan(&spec.to_yaml(&ResolvedSources::default()).unwrap())), ids(plan(list)));
}

/// Trials of `include` belong to no arm; `exclude` matches settings.
#[test]
fn include_and_exclude_stand_beside_arms() {
    let planned = plan(&format!("{ARMS}include: [{{lr: 2e-5}}]\nexclude: [{{model.architecture: textcnn, lr: 1e-3}}]"));
    let names: Vec<&str> = planned.trials.iter().map(|trial| trial.value("arm").unwrap().text.as_str()).collect();
    let count = |name: &str| names.iter().filter(|other| **other == name).count();
    assert_eq!((count("bert"), count("cnn"), count("none")), (8, 4, 2));
}

#[test]
fn mistakes_in_arms_have_their_line() {
    assert_snapshot!(messages("arms:\n  - {name: a, learningrate: [1e-5]}\n  - {lr: 1e-4, warmup: [0, x]}\n  - {name: a, seeds: [1]}\n  - 3"), @"
    a.yaml:2:15: unknown key `learningrate`
      2 |   - {name: a, learningrate: [1e-5]}
        |               ^^^^^^^^^^^^ did you mean `learning_rate`?

    a.yaml:3:5: this arm has no name
      3 |   - {lr: 1e-4, warmup: [0, x]}
        |     ^^^^^^^^^^^^^^^^^^^^^^^^^^ add one, such as `name: bilstm`: it labels the arm in tables

    a.yaml:3:28: `warmup` cannot be `x`
      3 |   - {lr: 1e-4, warmup: [0, x]}
        |                            ^ expected a fraction of all steps (from 0 to below 1) or whole steps (from 1)

    a.yaml:4:12: two arms have the name `a`
      4 |   - {name: a, seeds: [1]}
        |            ^ the first is in line 2; give each arm a name of its own

    a.yaml:4:15: `seeds` cannot vary
      4 |   - {name: a, seeds: [1]}
        |               ^^^^^ `seeds: [1, 2]` belongs at the top level

    a.yaml:5:5: an arm cannot be `3`
      5 |   - 3
        |     ^ expected a map, such as {name: bert, lr: [3e-5, 1e-4, 3e-4]}
    ");
    assert_snapshot!(messages("arms: {lr: [1e-5]}"), @"
    a.yaml:1:7: `arms` cannot be a map
      1 | arms: {lr: [1e-5]}
        |       ^^^^^^^^^^^^ expected a list of maps, such as [{name: bert, lr: [3e-5, 1e-4, 3e-4]}]
    ");
    assert_snapshot!(messages("arms: [{name: a, lr: [1e-5, 1e-4], learning_rate: 1e-3}, {name: b, steps: 3}]\ngrid: {epochs: [1, 2]}"), @"
    a.yaml:1:36: `learning_rate` is in this arm twice
      1 | arms: [{name: a, lr: [1e-5, 1e-4], learning_rate: 1e-3}, {name: b, steps: 3}]
        |                                    ^^^^^^^^^^^^^ first in line 1

    a.yaml:1:68: `epochs` and `steps` both say how long to train
      1 | arms: [{name: a, lr: [1e-5, 1e-4], learning_rate: 1e-3}, {name: b, steps: 3}]
        |                                                                    ^^^^^ the other one is in line 2; keep one of the two
    ");
    assert_snapshot!(messages("arms: [{name: a, lr: [1e-5, 1e-4]}, {name: b, warmup: 0}]\ngrid: {lr: [1e-3, 1e-2]}"), @"
    a.yaml:1:18: `lr` is in this arm and in the common grid
      1 | arms: [{name: a, lr: [1e-5, 1e-4]}, {name: b, warmup: 0}]
        |                  ^^ the other one is in line 2; keep one of the two
    ");
    assert_snapshot!(messages("arms: [{name: a, lr: [1e-5, 1e-4]}]\nspace: {warmup: {uniform: [0, 0.2]}}"), @"
    a.yaml:1:1: `arms` does not work with `space` (line 2)
      1 | arms: [{name: a, lr: [1e-5, 1e-4]}]
        | ^^^^ write the architectures into `grid`, such as `grid: {model.architecture: [bilstm, textcnn]}`: each of them is searched on its own
    ");
}

#[test]
fn arms_with_the_same_configuration_are_refused_with_both_places() {
    assert_snapshot!(messages("arms:\n  - {name: a, lr: [1e-5, 1e-4]}\n  - {name: b, model.architecture: none, lr: [1e-4, 1e-3]}"), @"
    a.yaml:3:12: the arms `a` and `b` have the same configuration
      3 |   - {name: b, model.architecture: none, lr: [1e-4, 1e-3]}
        |            ^ `a` is in line 2; a configuration belongs to one arm
    ");
}

#[test]
fn one_learning_rate_compares_nothing() {
    assert_snapshot!(messages("lr: 1e-4\narms: [{name: a}, {name: b, model.architecture: bilstm}]"), @"
    a.yaml:2:1: warning: `arms` with one learning rate each compares nothing
      2 | arms: [{name: a}, {name: b, model.architecture: bilstm}]
        | ^^^^ each architecture has a best learning rate of its own: give each arm several, such as lr: [3e-5, 1e-4, 3e-4]
    ");
    assert_snapshot!(messages("arms:\n  - {name: a, lr: [1e-5, 1e-4]}\n  - {name: b, model.architecture: bilstm, lr: 1e-3}"), @"
    a.yaml:3:12: warning: the arm `b` has one learning rate, so it compares nothing
      3 |   - {name: b, model.architecture: bilstm, lr: 1e-3}
        |            ^ each architecture has a best learning rate of its own: give each arm several, such as lr: [3e-5, 1e-4, 3e-4]
    ");
    assert_eq!(messages("arms: [{name: a}, {name: b, model.architecture: bilstm}]\ngrid: {lr: [1e-4, 1e-3]}"), "");
}
