//! Laws of the expansion, tested with random sweeps in random spellings.

use proptest::prelude::*;

use super::{facts, ids, plan};
use crate::plan::{Plan, expand};
use crate::spec::{ResolvedSources, parse};

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
