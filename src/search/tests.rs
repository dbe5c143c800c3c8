//! The samplers against the numbers of Optuna 5, and their laws.
//!
//! The references lie in `tests/fixtures/samplers`. The tests also read every file below the folder that the environment
//! variable `PLATEAU_REFERENCES` names.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;

use super::space::SpaceKey;
use super::tpe::reference::ln_densities;
use super::*;

/// The cases of all reference files that have `key`.
fn cases(key: &str) -> Vec<Value> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/samplers");
    let mut folders: Vec<PathBuf> = vec![fixtures];
    folders.extend(std::env::var_os("PLATEAU_REFERENCES").map(PathBuf::from));
    let mut cases = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                let file: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
                let all = file["cases"].as_array().cloned().unwrap_or_else(|| vec![file.clone()]);
                let new = all.into_iter().filter(|case| case.get(key).is_some_and(|value| !value.is_null()));
                // A folder of references may hold the same files.
                new.for_each(|case| {
                    if !cases.contains(&case) {
                        cases.push(case);
                    }
                });
            }
        }
    }
    cases
}

/// [`cases`], of which there must be some.
fn some_cases(key: &str) -> Vec<Value> {
    let cases = cases(key);
    assert!(!cases.is_empty(), "no reference has {key}");
    cases
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// The domain of a space as the reference writes it.
fn domain(space: &Value) -> Domain {
    let (kind, ends) = space.as_object().unwrap().iter().find(|(key, _)| *key != "step").unwrap();
    let ends = ends.as_array().unwrap();
    if kind == "choice" {
        return Domain::Choice { weights: vec![1.0; ends.len()] };
    }
    let (low, high) = (number(&ends[0]), number(&ends[1]));
    let step = space.get("step").map(number);
    match (kind.as_str(), step) {
        ("log", _) => Domain::Log { low, high },
        ("log_int", _) => Domain::LogInt { low: low as u64, high: high as u64 },
        ("uniform", None) => Domain::Uniform { low, high },
        (_, step) => {
            let step = step.unwrap_or(1.0);
            Domain::Steps { low, step, count: ((high - low) / step).round() as u64 + 1 }
        }
    }
}

/// A value as a coordinate: numbers are themselves, names are indices.
fn coordinate(space: &Value, value: &Value) -> f64 {
    match space.get("choice") {
        Some(names) => names.as_array().unwrap().iter().position(|name| name == value).unwrap() as f64,
        None => number(value),
    }
}

fn close(got: f64, expected: f64) -> bool {
    (got - expected).abs() <= 1e-9 * expected.abs().max(1.0)
}

#[test]
fn draws_are_the_quantiles_of_the_distributions() {
    for case in some_cases("quantiles") {
        let domain = domain(&case["space"]);
        for pair in case["quantiles"].as_array().unwrap() {
            let (u, expected) = (number(&pair[0]), number(&pair[1]));
            let got = domain.draw(u);
            assert!(close(got, expected), "{}: {got} {expected}", case["name"]);
        }
    }
}

/// The probability of each discrete value is the part of [0, 1) that leads to it.
#[test]
fn discrete_draws_have_the_probabilities_of_the_distributions() {
    for case in some_cases("probabilities") {
        let domain = domain(&case["space"]);
        let values: Vec<f64> =
            case["values"].as_array().unwrap().iter().map(|value| coordinate(&case["space"], value)).collect();
        let mut expected_below = 0.0;
        for (value, probability) in values.iter().zip(case["probabilities"].as_array().unwrap()) {
            let middle = expected_below + 0.5 * number(probability);
            assert!(close(domain.draw(middle), *value), "{}: {value}", case["name"]);
            for (u, inside) in [(expected_below + 1e-9, true), (expected_below - 1e-9, false)] {
                if (0.0..1.0).contains(&u) {
                    assert_eq!(close(domain.draw(u), *value), inside, "{}: {value} at {u}", case["name"]);
                }
            }
            expected_below += number(probability);
        }
    }
}

fn result(trial: &Value) -> SearchResult {
    match trial["state"].as_str().unwrap() {
        "complete" => SearchResult::Ended(number(&trial["loss"])),
        "pruned" => SearchResult::Stopped { step: trial["step"].as_u64().unwrap(), value: number(&trial["loss"]) },
        "running" => SearchResult::Running,
        other => panic!("{other}"),
    }
}

#[test]
fn densities_and_choices_are_those_of_optuna() {
    for case in some_cases("log_l") {
        let name = &case["name"];
        assert_eq!(case["direction"], "minimize", "{name}");
        let keys: Vec<&String> = case["space"].as_object().unwrap().keys().collect();
        let dimensions = keys.iter().map(|key| SpaceKey::from(domain(&case["space"][*key])));
        let space = Space { dimensions: dimensions.collect() };
        let point = |params: &Value| -> Vec<f64> {
            keys.iter().map(|key| coordinate(&case["space"][*key], &params[*key])).collect()
        };
        let seen: Vec<Observation> = case["history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|trial| {
                let point = point(&trial["params"]).into_iter().map(Some).collect();
                Observation { point, result: result(trial) }
            })
            .collect();
        let (below, above) = super::history::split(&seen);
        let indices =
            |key: &str| case[key].as_array().unwrap().iter().map(|i| i.as_u64().unwrap() as usize).collect::<Vec<_>>();
        assert_eq!((below, above), (indices("below"), indices("above")), "{name}");
        for (index, at) in case["points"].as_array().unwrap().iter().enumerate() {
            let (l, g) = ln_densities(&space, &seen, &point(at));
            let (expected_l, expected_g) = (number(&case["log_l"][index]), number(&case["log_g"][index]));
            assert!(close(l, expected_l) && close(g, expected_g), "{name}: {at}: {l} {expected_l}, {g} {expected_g}");
        }
        let mut best = (0, f64::NEG_INFINITY);
        for (index, at) in case["candidates"].as_array().unwrap().iter().enumerate() {
            let (l, g) = ln_densities(&space, &seen, &point(at));
            let expected = number(&case["log_l_minus_log_g"][index]);
            assert!(close(l - g, expected), "{name}: {at}: {} {expected}", l - g);
            if l - g > best.1 + 1e-12 {
                best = (index, l - g);
            }
        }
        assert_eq!(Some(best.0 as u64), case["best"].as_u64(), "{name}");
    }
}

#[test]
fn importance_is_that_of_optuna() {
    for case in some_cases("importance") {
        let name = &case["name"];
        let keys: Vec<&String> = case["space"].as_object().unwrap().keys().collect();
        let dimensions = keys.iter().map(|key| SpaceKey::from(domain(&case["space"][*key])));
        let space = Space { dimensions: dimensions.collect() };
        let tried: Vec<(Point, f64)> = case["history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|trial| {
                let at = |key: &&String| Some(coordinate(&case["space"][*key], &trial["params"][*key]));
                (keys.iter().map(at).collect(), number(&trial["loss"]))
            })
            .collect();
        for (kind, expected) in case["importance"].as_object().unwrap() {
            let baseline = if kind.ends_with("global") { Baseline::Space } else { Baseline::Tried };
            let share = kind.split(' ').next().unwrap().parse().unwrap();
            let got = importance(&space, &tried, share, baseline).unwrap();
            for (key, got) in keys.iter().zip(got) {
                assert!(close(got, number(&expected[*key])), "{name}, {kind}: {key} {got}");
            }
        }
    }
    assert_eq!(importance(&Space::default(), &[], 0.1, Baseline::Space), None);
}

const TPE: SearchSettings = SearchSettings { sampler: Sampler::Tpe { startup: 10 }, seed: 0 };

/// A function to minimise, and its space.
struct Problem {
    space: Space,
    value: Box<dyn Fn(&Point) -> f64>,
}

fn dimensions(domains: Vec<Domain>) -> Space {
    Space { dimensions: domains.into_iter().map(SpaceKey::from).collect() }
}

fn branin() -> Problem {
    use std::f64::consts::PI;
    let value = |point: &Point| {
        let (x, y) = (point[0].unwrap(), point[1].unwrap());
        let bowl = y - 5.1 / (4.0 * PI * PI) * x * x + 5.0 / PI * x - 6.0;
        bowl * bowl + 10.0 * (1.0 - 1.0 / (8.0 * PI)) * x.cos() + 10.0
    };
    let space = dimensions(vec![Domain::Uniform { low: -5.0, high: 10.0 }, Domain::Uniform { low: 0.0, high: 15.0 }]);
    Problem { space, value: Box::new(value) }
}

/// Shaped like a fine-tuning sweep.
fn finetune() -> Problem {
    let value = |point: &Point| {
        let x: Vec<f64> = point.iter().map(|x| x.unwrap()).collect();
        let [lr, batch_size, warmup, scheduler, weight_decay, dropout, freeze] = x[..] else { unreachable!() };
        let d = lr.log10() + 4.3 - 0.15 * (batch_size.log2() - 5.0);
        let slope = if d < 0.0 { 0.12 } else { 0.10 };
        let overshoot = (d - 0.6 - 1.5 * warmup).max(0.0);
        let loss = 0.55
            + slope * d * d
            + overshoot * overshoot
            + [0.0, 0.004, 0.03, 0.012, 0.006][scheduler as usize]
            + 0.005 * (weight_decay.log10() + 2.0).powi(2)
            + 0.3 * (dropout - 0.12).powi(2)
            + 0.015 * (freeze - 1.0).abs();
        loss.min(1.1)
    };
    let space = dimensions(vec![
        Domain::Log { low: 1e-6, high: 1e-2 },
        Domain::LogInt { low: 8, high: 128 },
        Domain::Uniform { low: 0.0, high: 0.3 },
        Domain::Choice { weights: vec![1.0; 5] },
        Domain::Log { low: 1e-4, high: 0.3 },
        Domain::Steps { low: 0.0, step: 0.05, count: 11 },
        Domain::Steps { low: 0.0, step: 1.0, count: 4 },
    ]);
    Problem { space, value: Box::new(value) }
}

/// A table of measured networks. Its keys are drawn as whole numbers.
fn table(file: &Value) -> Problem {
    let sizes: Vec<u64> =
        file["space"].as_object().unwrap().values().map(|values| values.as_array().unwrap().len() as u64).collect();
    let errors: Vec<f64> = file["error_1e5"].as_array().unwrap().iter().map(|error| number(error) / 1e5).collect();
    let space = sizes.iter().map(|&count| Domain::Steps { low: 0.0, step: 1.0, count }).collect();
    let value = move |point: &Point| {
        let index = point.iter().zip(&sizes).fold(0, |index, (x, size)| index * size + x.unwrap() as u64);
        errors[index as usize]
    };
    Problem { space: dimensions(space), value: Box::new(value) }
}

/// The lowest value of `trials` configurations.
fn lowest(problem: &Problem, settings: SearchSettings, ahead: u64, trials: u64) -> f64 {
    let lag = Lag { ahead, rungs: 0 };
    let mut ended: Vec<(Point, f64)> = Vec::new();
    for number in 0..trials {
        let observation = |(earlier, (point, value)): (usize, &(Point, f64))| {
            let is_seen = lag.shows_end(earlier as u64, number);
            let result = if is_seen { SearchResult::Ended(*value) } else { SearchResult::Running };
            Observation { point: point.clone(), result }
        };
        let seen: Vec<Observation> = ended.iter().enumerate().map(observation).collect();
        let taken = |point: &Point| ended.iter().any(|(earlier, _)| earlier == point);
        let point = propose(&problem.space, settings, number, &seen, taken).unwrap();
        let value = (problem.value)(&point);
        ended.push((point, value));
    }
    ended.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min)
}

/// The median over 50 seeds, as in the reference.
fn median(problem: &Problem, sampler: Sampler, ahead: u64, trials: u64) -> f64 {
    let mut values: Vec<f64> =
        (0..50).map(|seed| lowest(problem, SearchSettings { sampler, seed }, ahead, trials)).collect();
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[24], values[25])
}

/// `just search-quality` prints the time with optimisation.
#[test]
fn a_suggestion_after_a_thousand_takes_milliseconds() {
    let space = dimensions(vec![
        Domain::Log { low: 1e-6, high: 1e-2 },
        Domain::LogInt { low: 8, high: 128 },
        Domain::Uniform { low: 0.0, high: 0.3 },
        Domain::Choice { weights: vec![1.0; 5] },
        Domain::Log { low: 1e-4, high: 0.3 },
        Domain::Steps { low: 0.0, step: 0.05, count: 11 },
        Domain::Steps { low: 0.0, step: 1.0, count: 4 },
        Domain::Uniform { low: 0.0, high: 1.0 },
    ]);
    let random = SearchSettings { sampler: Sampler::Random, seed: 0 };
    let seen: Vec<Observation> = (0..1000)
        .map(|number| {
            let point = propose(&space, random, number, &[], |_| false).unwrap();
            let result = SearchResult::Ended(point[0].unwrap().ln().abs());
            Observation { point, result }
        })
        .collect();
    let start = std::time::Instant::now();
    let repeats = 5;
    for number in 0..repeats {
        assert!(propose(&space, TPE, 1000 + number, &seen, |_| false).is_some());
    }
    let each = start.elapsed() / repeats as u32;
    println!("a suggestion after 1,000 configurations of 8 keys: {each:?}");
    // Without optimisation, on a busy machine.
    assert!(each.as_millis() < 1000, "{each:?}");
}

/// At most the upper quartile of Optuna's TPE, and below the lower quartile of random draws. With eight trials at a time at
/// most half the way from Optuna's TPE, one after the other, to random draws.
#[test]
fn the_estimator_searches_as_well_as_that_of_optuna() {
    let tables = cases("error_1e5");
    let mut compared = 0;
    for case in cases("random_needs_for_tpe_60") {
        let name = case["name"].as_str().unwrap();
        let problem = match name {
            "branin" => branin(),
            "finetune" => finetune(),
            _ => match tables.iter().find(|table| table["name"] == name) {
                Some(found) => table(found),
                None => continue,
            },
        };
        let quartiles =
            |sampler: &str| -> Vec<f64> { case[sampler]["after_60"].as_array().unwrap().iter().map(number).collect() };
        let (tpe, random) = (quartiles("tpe"), quartiles("random"));
        let alone = median(&problem, Sampler::Tpe { startup: 10 }, 1, 60);
        let ahead = median(&problem, Sampler::Tpe { startup: 10 }, 8, 60);
        println!(
            "{name}: tpe {alone:.5}, with ahead: 8 {ahead:.5}; Optuna's tpe {:.5}, random {:.5}",
            tpe[1], random[1]
        );
        assert!(alone <= tpe[2] && alone < random[0], "{name}: {alone}");
        assert!(ahead <= f64::midpoint(tpe[1], random[1]), "{name}: {ahead}");
        compared += 1;
    }
    assert!(compared >= 2);
}

#[test]
fn a_finite_space_is_used_up_without_repeats() {
    let choice = Domain::Choice { weights: vec![1.0, 0.0, 2.0] };
    let inner = Some(Condition { dimension: 0, choice: 2 });
    let space = Space {
        dimensions: vec![
            choice.into(),
            SpaceKey { condition: inner, ..Domain::Steps { low: 0.0, step: 0.5, count: 3 }.into() },
            Domain::LogInt { low: 1, high: 4 }.into(),
        ],
    };
    assert_eq!(space.size(), Some(16));
    for sampler in [Sampler::Random, Sampler::Sobol, Sampler::Tpe { startup: 3 }] {
        let mut seen: Vec<Observation> = Vec::new();
        let settings = SearchSettings { sampler, seed: 1 };
        for number in 0..16 {
            let known = seen.clone();
            let taken = |point: &Point| known.iter().any(|earlier| earlier.point == *point);
            let point = propose(&space, settings, number, &seen, taken).unwrap();
            assert!(point[1].is_some() == (point[0] == Some(2.0)) && point[0] != Some(1.0), "{point:?}");
            seen.push(Observation { point, result: SearchResult::Ended(number as f64) });
        }
        let taken = |point: &Point| seen.iter().any(|earlier| earlier.point == *point);
        assert_eq!(propose(&space, settings, 16, &seen, taken), None, "{sampler:?}");
    }
}

#[test]
fn numbers_have_three_digits_and_stay_inside() {
    let dimension = SpaceKey::from;
    let space = Space {
        dimensions: vec![
            dimension(Domain::Log { low: 1.2345e-6, high: 1.2349e-6 }),
            dimension(Domain::Uniform { low: 0.0, high: 0.3 }),
        ],
    };
    let mut values = HashSet::new();
    for number in 0..200 {
        let point = propose(&space, TPE, number % 5, &[], |_| false).unwrap();
        let (x, y) = (point[0].unwrap(), point[1].unwrap());
        assert!((1.2345e-6..=1.2349e-6).contains(&x), "{x:e}");
        assert!(format!("{y:e}").len() <= "1.23e-2".len(), "{y:e}");
        values.insert(x.to_bits());
    }
    assert!(values.len() > 3, "a narrow range has more digits: {}", values.len());
}

/// Sobol points fill the space evenly: each of 16 equal parts of each dimension has one of 16 points.
#[test]
fn quasi_random_points_are_even() {
    let part = Domain::Steps { low: 0.0, step: 1.0, count: 16 }.into();
    let space = Space { dimensions: vec![part; 3] };
    for seed in 0..20 {
        let settings = SearchSettings { sampler: Sampler::Sobol, seed };
        let points: Vec<Point> =
            (0..16).map(|number| propose(&space, settings, number, &[], |_| false).unwrap()).collect();
        for dimension in 0..3 {
            let parts: HashSet<u64> = points.iter().map(|point| point[dimension].unwrap() as u64).collect();
            assert_eq!(parts.len(), 16, "seed {seed}, dimension {dimension}");
        }
    }
}

proptest! {
    /// Whatever came before, a proposal lies in the space, and the same call gives the same answer.
    #[test]
    fn a_proposal_is_a_function_of_what_it_sees(
        results in prop::collection::vec((0u8..5, -1e3f64..1e3, 0u64..4), 0..60),
        number in 0u64..1000,
        seed in any::<u64>(),
    ) {
        let choice = Domain::Choice { weights: vec![1.0, 2.0] };
        let inner = Some(Condition { dimension: 1, choice: 1 });
        let space = Space {
            dimensions: vec![
                Domain::Log { low: 1e-6, high: 1e-3 }.into(),
                choice.into(),
                SpaceKey { condition: inner, ..Domain::Steps { low: 1.0, step: 1.0, count: 4 }.into() },
            ],
        };
        let settings = SearchSettings { sampler: Sampler::Tpe { startup: 0 }, seed };
        let mut seen: Vec<Observation> = Vec::new();
        for (index, &(state, value, step)) in results.iter().enumerate() {
            let sampler = SearchSettings { sampler: Sampler::Random, seed };
            let point = propose(&space, sampler, index as u64, &[], |_| false).unwrap();
            let result = match state {
                0 => SearchResult::Ended(value),
                1 => SearchResult::Stopped { step, value },
                2 => SearchResult::Diverged,
                3 => SearchResult::Failed,
                _ => SearchResult::Running,
            };
            seen.push(Observation { point, result });
        }
        let propose = || propose(&space, settings, number, &seen, |_| false).unwrap();
        let point = propose();
        prop_assert_eq!(&point, &propose());
        let lr = point[0].unwrap();
        prop_assert!((1e-6..=1e-3).contains(&lr));
        prop_assert_eq!(point[2].is_some(), point[1] == Some(1.0));
    }
}
