//! Ids of trials: equal for equal trials, however they are written.

use insta::assert_snapshot;

use super::{facts, ids, plan};
use crate::plan::{Bf16Found, Facts, expand};
use crate::spec::parse;
use crate::trial::PrecisionName;

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

/// An id that changes without a new number of `NUMERICS` would make people train again what they have.
#[test]
fn the_id_of_the_default_trial_stays() {
    assert_snapshot!(plan("").trials[0].id, @"dae58750358f");
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

#[test]
fn a_precision_is_part_of_the_id_and_auto_is_what_the_devices_have() {
    let of = |text: &str, bf16: Bf16Found| {
        let spec = parse("a.yaml", "a", text, &[]).unwrap();
        expand(&spec, &Facts { bf16, ..facts(&spec) }).map(|plan| {
            let trials = plan.trials.iter();
            trials.map(|trial| (trial.id.clone(), trial.config.precision)).collect::<Vec<_>>()
        })
    };
    let lacking = || Bf16Found::Lacking("this processor lacks it".into());
    let [(exact, _)] = &of("", lacking()).unwrap()[..] else { panic!("one trial") };
    let [(rounded, _)] = &of("precision: bf16", Bf16Found::Available).unwrap()[..] else { panic!("one trial") };
    assert_ne!(rounded, exact);
    assert_eq!(of("precision: f32", Bf16Found::Available).unwrap(), [(exact.clone(), PrecisionName::F32)]);
    assert_eq!(of("precision: auto", Bf16Found::Available).unwrap(), [(rounded.clone(), PrecisionName::Bf16)]);
    assert_eq!(of("precision: auto", lacking()).unwrap(), [(exact.clone(), PrecisionName::F32)]);
    let both = of("grid: {precision: [f32, bf16, auto]}", Bf16Found::Available).unwrap();
    assert_eq!(both.iter().map(|(id, _)| id).collect::<Vec<_>>(), [exact, rounded]);
    assert_snapshot!(of("grid: {precision: [f32, bf16]}", lacking()).unwrap_err(), @"
    a.yaml:1:25: `precision: bf16` cannot be trained here: this processor lacks it
      1 | grid: {precision: [f32, bf16]}
        |                         ^^^^ write `precision: auto`, which means f32 here, or f32
    ");
}

#[test]
fn a_rate_for_the_head_makes_another_trial_and_its_absence_none() {
    assert_eq!(ids("optimizer: {head_lr: null}"), ids(""));
    assert_eq!(ids("head_lr: 1e-3"), ids("optimizer: {head_lr: 0.001}"));
    assert_ne!(ids("head_lr: 1e-3"), ids(""));
}
