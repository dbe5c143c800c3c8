//! Searches as plans.

use std::collections::HashSet;

use proptest::prelude::*;

use super::super::tests::facts;
use super::*;
use crate::event::Record;
use crate::plan::expand_after;
use crate::spec::{ResolvedSources, conditional_ranges, parse};
use crate::trial::LinearModule;

const SWEEP: &str = "
steps: 100
space:
  lr: {log: [1e-6, 1e-2]}
  warmup: {uniform: [0, 0.3], step: 0.05}
  batch_size: [8, 16, 32]
  scheduler: [linear, {name: cosine_with_restarts, cycles: {int: [1, 4]}}]
search: {trials: 20, startup: 5, ahead: 3}
";

fn spec(text: &str) -> SweepSpec {
    parse("a.yaml", "a", text, &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Suggestions as the journal gives them.
fn suggested(suggestions: &[Suggestion]) -> impl Iterator<Item = (u64, DrawnBy, &[Trial])> {
    suggestions.iter().map(|found| (found.number, found.by, found.trials.as_slice()))
}

fn over(result: SearchResult) -> TrialResult {
    TrialResult { result, rungs: 0, outdone: None }
}

/// Lower near a learning rate of 1e-4.
fn value(trial: &Trial) -> f64 {
    (trial.config.lr.ln() - 1e-4_f64.ln()).powi(2) + trial.config.batch_size as f64 / 100.0
}

/// Runs a search to its end. Of the running trials, `choose` says which ends next, by its place. Returns the ids, in order.
fn play(text: &str, mut choose: impl FnMut(usize) -> usize, slots: usize, cut: usize) -> (Vec<TrialId>, &'static str) {
    let spec = spec(text);
    let facts = facts(&spec);
    let mut search = SearchPlan::new(&spec, &facts, &[], []).unwrap();
    let mut plan = search.plan().unwrap();
    let mut ended: HashSet<TrialId> = HashSet::new();
    for turn in 0.. {
        if turn == cut {
            // The program dies, and another one begins with what the journal holds.
            let journal = search.suggestions();
            search = SearchPlan::new(&spec, &facts, &[], suggested(&journal)).unwrap();
            assert_eq!(search.plan().unwrap().trials, plan.trials);
        }
        let trials = plan.trials.clone();
        let open = || trials.iter().filter(|trial| !ended.contains(&trial.id));
        if open().count() < slots {
            let result = |id: &TrialId| match trials.iter().find(|trial| trial.id == *id) {
                Some(trial) if ended.contains(id) => over(SearchResult::Ended(value(trial))),
                _ => over(SearchResult::Running),
            };
            match search.next(result) {
                SearchStep::Suggest(suggestion) => {
                    plan.extend(&suggestion.trials);
                    continue;
                }
                SearchStep::Ended(why) if open().next().is_none() => {
                    return (plan.trials.into_iter().map(|trial| trial.id).collect(), why);
                }
                SearchStep::Complete if open().next().is_none() => {
                    return (plan.trials.into_iter().map(|trial| trial.id).collect(), "complete");
                }
                SearchStep::Complete | SearchStep::Ended(_) | SearchStep::Wait => {}
            }
        }
        let running: Vec<TrialId> = open().take(slots).map(|trial| trial.id.clone()).collect();
        assert!(!running.is_empty(), "the search waits for nothing");
        ended.insert(running[choose(running.len())].clone());
    }
    unreachable!()
}

fn alone(text: &str) -> (Vec<TrialId>, &'static str) {
    play(text, |_| 0, 1, usize::MAX)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the number of slots, the order in which trials end, and the moment at which the program dies.
    #[test]
    fn the_sequence_is_a_function_of_the_file(slots in 1_usize..9, order in any::<u64>(), cut in 0_usize..60) {
        let mut state = order;
        let choose = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % n
        };
        prop_assert_eq!(play(SWEEP, choose, slots, cut).0, alone(SWEEP).0);
    }
}

#[test]
fn results_lead_the_search() {
    let text = SWEEP.replace("trials: 20", "trials: 40");
    let spec = spec(&text);
    let (ids, why) = alone(&text);
    assert_eq!((ids.len(), why), (40, "complete"));
    let random = alone(&text.replace("search: {", "search: {sampler: random, ")).0;
    let plan = |text: &str, ids: &[TrialId]| {
        let spec = self::spec(text);
        let facts = facts(&spec);
        let mut search = SearchPlan::new(&spec, &facts, &[], []).unwrap();
        let mut plan = search.plan().unwrap();
        while let SearchStep::Suggest(suggestion) = search.next(|id| {
            plan.trials
                .iter()
                .find(|trial| trial.id == *id)
                .map_or(over(SearchResult::Running), |trial| over(SearchResult::Ended(value(trial))))
        }) {
            plan.extend(&suggestion.trials);
        }
        assert_eq!(plan.trials.iter().map(|trial| trial.id.clone()).collect::<Vec<_>>(), ids);
        let late = &plan.trials[20..];
        late.iter().map(value).sum::<f64>() / late.len() as f64
    };
    let by_random = plan(&text.replace("search: {", "search: {sampler: random, "), &random);
    assert!(plan(&text, &ids) < 0.5 * by_random, "the later half of the configurations lies near the best");
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 40, "no configuration comes twice");
    assert!(spec.search.is_some());
}

#[test]
fn configurations_that_see_rungs_wait_for_them() {
    let drawn = |text: &str| {
        let spec = spec(text);
        SearchPlan::new(&spec, &facts(&spec), &[], []).unwrap().suggestions().len()
    };
    let asha = format!("{SWEEP}eval_every: 10\nstop: {{asha: {{min_steps: 20, eta: 2}}}}\n");
    // The first five by Sobol see nothing, the sixth sees the first rung of those three before it.
    assert_eq!((drawn(SWEEP), drawn(&asha)), (5, 5));
    let random = asha.replace("startup: 5", "sampler: random");
    assert_eq!(drawn(&random), 20, "random draws see nothing");
}

#[test]
fn a_search_ends_early_for_a_reason() {
    let with = |keys: &str| alone(&SWEEP.replace("ahead: 3", keys).replace("trials: 20", "trials: 90"));
    let (ids, why) = with("ahead: 1, until: 4.0");
    assert!(ids.len() < 90 && why == "`search.until` is reached", "{} {why}", ids.len());
    let (ids, why) = with("ahead: 1, patience: 4");
    assert!(ids.len() < 90 && why == "`search.patience` has run out", "{} {why}", ids.len());
    let (ids, why) =
        alone("steps: 100\nspace: {batch_size: [8, 16], lr: [1e-5, 1e-4]}\nexclude: [{batch_size: 16, lr: 1e-5}]");
    assert_eq!((ids.len(), why), (3, "every configuration of the space is there"));
    let (ids, why) = alone("steps: 10\nspace: {lr: [1e-5, 1e-4], warmup: [0, 5, 20]}");
    assert_eq!((ids.len(), why), (4, "every configuration of the space that can be trained is there"));
}

/// A point of the grid whose configurations are used up leaves the turns to the others.
#[test]
fn each_point_of_a_grid_is_searched_to_its_end() {
    for sampler in ["random", "tpe, startup: 2, ahead: 1"] {
        for grid in ["[linear, cosine]", "[cosine, linear]"] {
            let text = format!(
                "steps: 100\nspace: {{lr: [1e-3, 2e-3], warmup: [0, 0.1, 0.2]}}\ngrid: {{scheduler: {grid}}}\n\
                 exclude: [{{scheduler: cosine, warmup: 0}}, {{scheduler: cosine, warmup: 0.1}}]\n\
                 search: {{trials: 40, sampler: {sampler}}}"
            );
            let (ids, why) = alone(&text);
            assert_eq!((ids.len(), why), (8, "every configuration of the space is there"), "{text}");
        }
    }
}

#[test]
fn a_search_continues_after_a_change_of_the_file() {
    let (twenty, _) = alone(SWEEP);
    let (more, _) = alone(&SWEEP.replace("trials: 20", "trials: 30"));
    assert_eq!(more[..20], twenty, "a larger budget continues");
    let drawn = |text: &str| {
        let spec = spec(text);
        let facts = facts(&spec);
        let mut search = SearchPlan::new(&spec, &facts, &[], []).unwrap();
        while let SearchStep::Suggest(_) = search.next(|_| over(SearchResult::Failed)) {}
        search.suggestions()
    };
    let before = drawn(SWEEP);
    let after = |text: &str| {
        let spec = spec(text);
        let ids: HashSet<&TrialId> = before.iter().map(|found| &found.trials[0].id).collect();
        let plan = expand_after(&spec, &facts(&spec), &[], suggested(&before)).unwrap();
        plan.trials.iter().filter(|trial| ids.contains(&trial.id)).count()
    };
    assert_eq!((before.len(), after(SWEEP)), (20, 20));
    assert_eq!(after(&SWEEP.replace("1e-2]", "2e-2]")), 20, "a wider space holds what was drawn");
    let count = |fits: fn(&Trial) -> bool| {
        let count = before.iter().filter(|found| fits(&found.trials[0])).count();
        assert!((1..20).contains(&count));
        count
    };
    let inside = count(|trial| trial.config.lr <= 1e-4);
    assert_eq!(after(&SWEEP.replace("1e-2]", "1e-4]")), inside, "those outside a narrower one are not used");
    let mut fixed = SWEEP.replace("  batch_size: [8, 16, 32]\n", "");
    fixed.insert_str(0, "batch_size: 16\n");
    let at_fixed = count(|trial| trial.config.batch_size == 16);
    assert_eq!(after(&fixed), at_fixed, "of a key that is not drawn any more, those at its fixed value are known");
    for change in ["trials: 20, sampler: sobol", "trials: 20, seed: 7", "trials: 20, sampler: random"] {
        assert_eq!(after(&SWEEP.replace("trials: 20", change)), 20, "{change}: from the next one on");
    }
    assert_eq!(after(&SWEEP.replace("steps: 100", "steps: 200")), 0, "other steps are other trials");
}

/// What is drawn and journaled is the same configuration when the plan is made again, also where a range stands inside a value
/// of a list, and where the range holds another value of the list. So it is if the trials do not say what varied, as those of a
/// file without the key.
#[test]
fn what_was_drawn_is_known_again() {
    let ranges = conditional_ranges();
    let mixed = [
        "augmentation: [none, {name: eda, alpha: {uniform: [0.05, 0.3]}}, eda, {name: mixup, alpha: {log: [0.1, 1]}}]",
        "optimizer: [adamw, {name: adamw, eps: {log: [1e-9, 1e-5]}, layer_decay: 0.9}, {layer_decay: 0.8}]",
        "optimizer: [{eps: 1e-6}, {eps: {log: [1e-7, 1e-5]}, layer_decay: {uniform: [0.8, 0.9]}}]",
        "loss: {choice: [cross_entropy, {name: focal, gamma: {uniform: [0.5, 3], step: 0.5}}], weights: [1, 3]}",
        "model.lora: [none, {r: {int: [2, 9]}, alpha: 16}]",
        "optimizer: [{name: adamw, layer_decay: {uniform: [0.7, 1]}}, {name: adamw, layer_decay: 0.8}]",
        "augmentation: [{name: eda, alpha: {uniform: [0.1, 0.5], step: 0.1}}, {name: eda, alpha: 0.2}, eda]",
        "scheduler: [{name: polynomial, power: {int: [1, 5]}}, {name: polynomial, power: 2}, polynomial]",
        "loss: [{name: focal, gamma: {uniform: [1, 5], step: 1}}, {name: focal, gamma: 2}]",
        "scheduler: [{name: cosine, cycles: {uniform: [0.5, 2]}}, {name: cosine, cycles: {uniform: [1, 3], step: 0.5}}]",
    ];
    let points = |found: &[Suggestion]| -> Vec<(TrialId, Point)> {
        found.iter().map(|found| (found.trials[0].id.clone(), found.point.clone())).collect()
    };
    let mut drawn_keys: HashSet<&str> = HashSet::new();
    for entry in ranges.iter().map(String::as_str).chain(mixed) {
        let draws = "search: {sampler: random, trials: 8}";
        let spec =
            spec(&format!("metric: accuracy\nsteps: 100\nspace: {{lr: {{log: [1e-3, 1e-2]}}, {entry}}}\n{draws}"));
        let mut facts = facts(&spec);
        for model in &mut facts.models {
            let linear = |name: &str| LinearModule { name: name.into(), inputs: 8, outputs: 8 };
            model.facts.modules = ["query", "value"].map(linear).into();
        }
        let drawn = SearchPlan::new(&spec, &facts, &[], []).unwrap().suggestions();
        // Some parameters fit no configuration of this sweep, such as a least learning rate above `lr`.
        if drawn.len() < 8 {
            continue;
        }
        drawn_keys.extend(entry.split(':').next());
        let mut journal = drawn.clone();
        for suggestion in &mut journal {
            suggestion.trials = serde_json::from_str(&serde_json::to_string(&suggestion.trials).unwrap()).unwrap();
        }
        let known = |journal: &[Suggestion]| {
            let again = SearchPlan::new(&spec, &facts, &[], suggested(journal)).unwrap();
            points(again.suggestions().get(..again.recalled).unwrap_or_default())
        };
        assert_eq!(known(&journal), points(&drawn), "{entry}");
        journal.iter_mut().flat_map(|found| &mut found.trials).for_each(|trial| trial.values.clear());
        assert_eq!(known(&journal), points(&drawn), "{entry}, of trials that do not say what varied");
    }
    for key in ["augmentation", "loss", "model.adapters", "model.lora", "optimizer", "scheduler", "stop.patience"] {
        assert!(drawn_keys.contains(key), "{key}");
    }
}

/// The file as it was run, with all defaults, draws the same configurations.
/// Of two values whose ranges overlap, the one with steps has what lies on its steps.
#[test]
fn both_of_two_overlapping_ranges_are_drawn_from() {
    let spec = spec(
        "steps: 100\nsearch: {sampler: random, trials: 20}\nspace: {scheduler: [{name: cosine, cycles: {uniform: [0.5, 2]}}, \
         {name: cosine, cycles: {uniform: [1, 3], step: 0.5}}]}",
    );
    let drawn = SearchPlan::new(&spec, &facts(&spec), &[], []).unwrap().suggestions();
    let on_steps = |cycles: f64| cycles >= 1.0 && (2.0 * cycles).fract() == 0.0;
    for found in &drawn {
        let [Some(entry), first, second] = found.point[..] else { panic!("{:?}", found.point) };
        let cycles = if entry == 0.0 { first } else { second }.unwrap();
        assert_eq!(on_steps(cycles), entry > 0.5, "{:?}", found.point);
    }
    let entries = |entry: f64| drawn.iter().filter(|found| found.point[0] == Some(entry)).count();
    assert!(entries(0.0) > 2 && entries(1.0) > 2, "{drawn:?}");
}

#[test]
fn a_written_search_reads_back() {
    let ids = |text: &str| {
        let spec = spec(text);
        let facts = facts(&spec);
        let drawn = SearchPlan::new(&spec, &facts, &[], []).unwrap().suggestions();
        (drawn.into_iter().flat_map(|found| found.trials).map(|trial| trial.id).collect::<Vec<_>>(), spec)
    };
    for text in [
        "space: {steps: {int: [10, 90]}}",
        "optimizer: {betas: [0.8, 0.9], eps: 1e-7}\nspace: {optimizer: [adamw, {name: adamw, eps: {log: [1e-9, 1e-5]}}]}",
        "metric: accuracy\nloss: {class_weights: balanced}\nspace: {loss: [{gamma: 1}, {name: focal, gamma: {uniform: [0.5, 3]}}]}",
        "space: {stop.patience: [none, {evals: {int: [2, 9]}}], scheduler: [linear, {name: cosine, cycles: {int: [1, 3]}}]}",
    ] {
        let (drawn, spec) = ids(&format!("{text}\nsearch: {{sampler: random, trials: 4}}"));
        let written = spec.to_yaml(&ResolvedSources::default()).unwrap();
        assert_eq!((ids(&written).0, drawn.len()), (drawn, 4), "{written}");
    }
}

#[test]
fn what_is_recorded_is_compared_with_what_the_file_gives() {
    let spec = spec(SWEEP);
    let facts = facts(&spec);
    let mut search = SearchPlan::new(&spec, &facts, &[], []).unwrap();
    let mut plan = search.plan().unwrap();
    let result = |trials: &[Trial], id: &TrialId| {
        let trial = trials.iter().find(|trial| trial.id == *id).unwrap();
        over(SearchResult::Ended(value(trial)))
    };
    while let SearchStep::Suggest(found) = search.next(|id| result(&plan.trials, id)) {
        plan.extend(&found.trials);
    }
    let drawn = search.suggestions();
    let compare = |drawn: &[Suggestion], result: &dyn Fn(&TrialId) -> TrialResult| {
        let mut again = SearchPlan::new(&spec, &facts, &[], []).unwrap();
        again.differences([], suggested(drawn), result).1.iter().map(|difference| difference.number).collect::<Vec<_>>()
    };
    assert!(compare(&drawn, &|id| result(&plan.trials, id)).is_empty(), "nothing differs");
    let mut edited = drawn.clone();
    let (eight, nine) = (edited[8].trials.clone(), edited[9].trials.clone());
    (edited[8].trials, edited[9].trials) = (nine, eight);
    assert_eq!(compare(&edited, &|id| result(&plan.trials, id))[..2], [8, 9]);
    let best = (0..10).min_by(|a, b| value(&plan.trials[*a]).total_cmp(&value(&plan.trials[*b]))).unwrap();
    let failed = |id: &TrialId| {
        if *id == plan.trials[best].id { over(SearchResult::Failed) } else { result(&plan.trials, id) }
    };
    let changed = compare(&drawn, &failed);
    assert!(changed.first().is_some_and(|number| *number >= best as u64 + 3), "{changed:?}: {best} is seen after two");
}

/// Draws that depend on no result are those of the file before any trial has ended.
#[test]
fn what_needs_no_results_can_be_compared_at_once() {
    let running = |_: &TrialId| over(SearchResult::Running);
    for sampler in ["random", "sobol", "tpe"] {
        let text = format!(
            "steps: 50\nspace: {{lr: {{log: [1e-6, 1e-3]}}}}\nsearch: {{trials: 9, startup: 9, ahead: 2, sampler: {sampler}}}"
        );
        let spec = spec(&text);
        let facts = facts(&spec);
        let drawn = SearchPlan::new(&spec, &facts, &[], []).unwrap().suggestions();
        let mut again = SearchPlan::new(&spec, &facts, &[], []).unwrap();
        assert_eq!(again.differences([], suggested(&drawn), running), (9, Vec::new()), "{sampler}");
    }
}

/// Configurations of an earlier version of the file stay. With other seeds they get the trials that they lack, and what was
/// drawn since is compared.
#[test]
fn other_seeds_keep_the_configurations() {
    let text = |rest: &str| format!("steps: 50\nspace: {{lr: {{log: [1e-6, 1e-3]}}}}\n{rest}");
    let before = spec(&text("search: {trials: 4, sampler: random}"));
    let earlier = SearchPlan::new(&before, &facts(&before), &[], []).unwrap().suggestions();
    let seeds = spec(&text("seeds: [42, 43]\nsearch: {trials: 12, sampler: random}"));
    let known = facts(&seeds);
    let drawn = SearchPlan::new(&seeds, &known, &[], suggested(&earlier)).unwrap().suggestions();
    assert_eq!(drawn.len(), 6);
    for (old, new) in earlier.iter().zip(&drawn) {
        assert_eq!((&old.trials[0].id, new.trials.len()), (&new.trials[0].id, 2));
    }
    let running = |_: &TrialId| over(SearchResult::Running);
    let mut again = SearchPlan::new(&seeds, &known, &[], []).unwrap();
    assert_eq!(again.differences(suggested(&earlier), suggested(&drawn), running), (2, Vec::new()));
    let record = |Suggestion { number, by, point, trials }: &Suggestion| Record {
        at: 0,
        event: Event::ConfigurationSuggested { number: *number, by: *by, point: point.clone(), trials: trials.clone() },
    };
    let records: Vec<Record> = earlier.iter().chain(&drawn).map(record).collect();
    assert_eq!(Event::suggested_count(&records), 6, "those with more seeds are recorded twice");
}

#[test]
fn results_of_other_sweeps_are_known() {
    let text = SWEEP.replace("startup: 5", "startup: 5, from: [other]");
    let spec = spec(&text);
    let facts = facts(&spec);
    let other = super::super::tests::plan(
        "steps: 100\ngrid: {lr: [1e-4, 1e-1], batch_size: [8, 64]}\nwarmup: 0.1\nseeds: [7, 8]",
    );
    let measured: Vec<(&Trial, f64)> = other.trials.iter().map(|trial| (trial, trial.config.seed as f64)).collect();
    let known = known_results(&spec, &facts, measured);
    assert_eq!(known.len(), 1, "one point of the grid lies in the space: {known:?}");
    assert_eq!((known[0].value, known[0].point[0]), (7.5, Some(1e-4)), "the mean over the seeds");
    let search = SearchPlan::new(&spec, &facts, &known, []).unwrap();
    assert_eq!(search.configurations.len(), 4, "it counts towards the startup");
    assert!(matches!(search.opened(), Event::SearchOpened { known: seen, .. } if seen == known));
    let longer = super::super::tests::plan("steps: 200\ngrid: {lr: [1e-4]}\nwarmup: 0.1");
    assert_eq!(known_results(&spec, &facts, longer.trials.iter().map(|trial| (trial, 0.5))), []);
}

/// Planning takes a time that grows with the number of trials, not with its square.
#[test]
fn thousands_of_random_trials_are_planned_as_fast_as_those_of_a_grid() {
    let time = |text: &str| {
        let start = std::time::Instant::now();
        assert_eq!(super::super::tests::plan(text).trials.len(), 2000);
        start.elapsed()
    };
    let lrs: Vec<String> = (1..=100).map(|x| format!("{x}e-6")).collect();
    let warmups: Vec<String> = (0..20).map(|x| format!("0.{x:02}")).collect();
    let grid = time(&format!("steps: 9\ngrid: {{lr: [{}], warmup: [{}]}}", lrs.join(", "), warmups.join(", ")));
    let random = time(
        "steps: 9\nspace: {lr: {log: [1e-6, 1e-3]}, warmup: {uniform: [0, 0.3]}}\nsearch: {sampler: random, trials: 2000}",
    );
    println!("2,000 trials: grid {grid:?}, random {random:?}");
    assert!(random < 8 * grid, "grid {grid:?}, random {random:?}");
}

#[test]
fn points_of_a_grid_take_turns_and_seeds_repeat() {
    let text = "steps: 50\ngrid: {augmentation: [none, eda]}\nseeds: [1, 2]\nspace: {lr: {log: [1e-6, 1e-3]}}\n\
                include: [{lr: 1e-4}]\nsearch: {sampler: random, trials: 10}";
    let plan = super::super::tests::plan(text);
    let row = |trial: &Trial| trial.values.iter().map(|(_, value)| value.text.clone()).collect::<Vec<_>>().join(" ");
    insta::assert_snapshot!(plan.trials.iter().map(row).collect::<Vec<_>>().join("\n"), @"
    none 1e-4 1
    none 1e-4 2
    none 1.9e-5 1
    none 1.9e-5 2
    eda 1.9e-5 1
    eda 1.9e-5 2
    none 2.11e-5 1
    none 2.11e-5 2
    eda 2.11e-5 1
    eda 2.11e-5 2
    ");
    assert!(plan.axes[1].values.iter().filter_map(|value| value.value.as_f64()).is_sorted());
}

/// Values of the grid stay in the order of the file, those of drawn keys are in rising order, and each is there once.
#[test]
fn every_axis_has_each_value_once() {
    let values = |text: &str| {
        let plan = super::super::tests::plan(text);
        let texts = |axis: &crate::trial::Axis| axis.values.iter().map(|value| value.text.clone()).collect::<Vec<_>>();
        plan.axes.iter().map(|axis| texts(axis).join(" ")).collect::<Vec<_>>()
    };
    let grid = "grid: {batch_size: [32, 16, 8], data.limit: [64, null, 128]}";
    let of = values(&format!("steps: 4\n{grid}\nspace: {{warmup: [0, 0.1]}}\nsearch: {{trials: 18}}"));
    assert_eq!(of, ["32 16 8", "64 none 128", "0 0.1"]);
    let include = "include: [{lr: 1e-3}, {lr: 1e-5}, {lr: 1e-4}]";
    let of = values(&format!("steps: 4\nspace: {{lr: [1e-4, 1e-3, 1e-2]}}\n{include}\nsearch: {{trials: 4}}"));
    assert_eq!(of, ["1e-5 1e-4 1e-3 1e-2"]);
}

/// Without this, the search would draw the loss of its first configuration alone, and say nothing.
#[test]
fn a_search_does_not_compare_different_losses() {
    let mistakes = |text: &str| {
        let spec = spec(text);
        expand_after(&spec, &facts(&spec), &[], []).map_or_else(|problems| problems.to_string(), |_| String::new())
    };
    let lr = "lr: {log: [1e-5, 1e-3]}";
    insta::assert_snapshot!(mistakes(&format!("space: {{{lr}, loss: [cross_entropy, focal]}}")), @"
    a.yaml:1:56: `loss.name` varies, and trials with different losses cannot be compared by `eval_loss`
      1 | space: {lr: {log: [1e-5, 1e-3]}, loss: [cross_entropy, focal]}
        |                                                        ^^^^^ choose another metric, such as metric: macro_f1
    ");
    for text in [
        format!("grid: {{loss.name: [cross_entropy, focal]}}\nspace: {{{lr}}}"),
        format!("loss: focal\nspace: {{{lr}, loss.gamma: {{uniform: [1, 3]}}}}"),
        format!("space: {{{lr}}}\ninclude: [{{loss.name: focal}}]"),
    ] {
        assert!(mistakes(&text).contains("varies, and trials with different losses cannot be compared"), "{text}");
        assert_eq!(mistakes(&format!("metric: macro_f1\n{text}")), "");
    }
}

/// What is drawn and fits nothing is left out without a word, so a search without any trial says why.
#[test]
fn a_search_in_which_nothing_fits_says_why() {
    let mistakes = |text: &str| {
        let spec = spec(text);
        expand_after(&spec, &facts(&spec), &[], []).map_or_else(|problems| problems.to_string(), |_| String::new())
    };
    insta::assert_snapshot!(mistakes("steps: 50\nspace: {lr: {log: [1e-6, 1e-3]}, model.lora: [{targets: nothing}]}"), @"
    a.yaml:2:57: model.lora changes the linear layers of an encoder, and this network has none
      2 | space: {lr: {log: [1e-6, 1e-3]}, model.lora: [{targets: nothing}]}
        |                                                         ^^^^^^^ write the ends of names, such as model.lora.targets: [query, value], or all-linear
    ");
    insta::assert_snapshot!(mistakes("steps: 50\nspace: {lr: [1e-4]}\nexclude: [{lr: 1e-4}]"), @"
    a.yaml:3:11: no trial is left
      3 | exclude: [{lr: 1e-4}]
        |           ^^^^^^^^^^ `exclude` removes every trial
    ");
}

/// What is left of a search counts whole configurations, of its budget and of its space.
#[test]
fn how_many_trials_are_left() {
    let undrawn = |rest: &str| {
        let plan = super::super::tests::plan(&format!("steps: 50\n{rest}"));
        (plan.trials.len(), plan.search.unwrap().undrawn())
    };
    let log = "space: {lr: {log: [1e-6, 1e-3]}}";
    assert_eq!(undrawn(&format!("{log}\nsearch: {{trials: 60, startup: 4, ahead: 2}}")), (4, Some(56)));
    let seeds = format!("{log}\nseeds: [1, 2]\nsearch: {{trials: 35, startup: 4, ahead: 2}}");
    assert_eq!(undrawn(&seeds), (8, Some(26)), "17 configurations");
    let list = "space: {lr: [1e-4, 1e-3, 1e-2]}\nsearch: {trials: 60, startup: 1, ahead: 1}";
    assert_eq!(undrawn(list), (1, Some(2)), "three values");
    let timed = format!("{log}\nsearch: {{time: 2h, startup: 4, ahead: 2}}");
    assert_eq!(undrawn(&timed), (4, None), "bounded by its time alone");
}

/// What an edited file changes, and from which configuration on.
#[test]
fn a_changed_search_says_from_which_configuration_on() {
    let text = "steps: 50\nspace: {lr: {log: [1e-6, 1e-3]}}\nsearch: {trials: 12, startup: 4, ahead: 2}";
    let first = spec(text);
    let known = facts(&first);
    let drawn = SearchPlan::new(&first, &known, &[], []).unwrap().suggestions();
    let changed = |text: &str| {
        let spec = spec(text);
        let facts = facts(&spec);
        let search = SearchPlan::new(&spec, &facts, &[], suggested(&drawn)).unwrap();
        search.changed(&first)
    };
    assert_eq!(drawn.len(), 4);
    assert_eq!(changed(text), None);
    assert_eq!(changed(&text.replace("trials: 12", "trials: 20")), None, "it continues");
    assert_eq!(changed(&text.replace("startup: 4", "startup: 4, sampler: random")), Some((vec!["sampler"], 4)));
    let wider = text.replace("1e-3", "1e-2").replace("ahead: 2", "ahead: 3, seed: 7");
    assert_eq!(changed(&wider), Some((vec!["space", "seed", "ahead"], 4)));
    let narrower = text.replace("1e-6", "1e-4");
    let (keys, number) = changed(&narrower).unwrap();
    assert!(keys == ["space"] && number < 4, "those outside are not counted: {number}");
}
