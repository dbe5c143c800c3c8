//! The next sweep, made from the results of this one: each axis is widened, narrowed or fixed, with the reason.
//!
//! An axis that changes nothing, or whose effect six matched pairs cannot show, is fixed at the best value. A numeric axis
//! whose best value is at an edge is widened; any other numeric axis is narrowed to the middles of the gaps beside the best
//! value. Of an axis of names, the best value and those within noise of it stay. Seeds are added where noise decides. The
//! length is doubled where the best configuration was still improving. Writing the file is left to `cli`.
//!
//! A key that a search draws keeps the range of the best tenth, one kernel of the sampler wider, and is widened where the best
//! value is at an edge. Of a list, the values of the best quarter stay.

use serde_json::Value;

use super::edges::{Beyond, beyond};
use super::effects::{dead_axis, shows_no_effect};
use super::findings::{OtherRates, is_lost, other_rates};
use super::groups::{LEARNING_RATE, axes};
use super::search::{Edge, Search, Tried, beyond as beyond_end};
use super::shape::Shape;
use super::study::{Config, Study};
use super::sweep::Sweep;
use crate::search::{Condition, Domain, SearchHistory};
use crate::trial::{Axis, Key, Length, rounded_text};

/// The range of so many of the best configurations at least is kept.
pub const LEAST_LEADERS: usize = 3;

/// What the next sweep does with one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Dotted key, or `seeds`.
    pub key: String,
    pub choice: Choice,
    /// Why, for a comment in the file.
    pub why: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Choice {
    Fix(Value),
    Vary(Vec<Value>),
    /// Draw from a range between these ends.
    Draw(f64, f64),
    /// Draw from the values of the list with these indices.
    DrawFrom(Vec<usize>),
    /// Draw as before.
    DrawAgain,
}

/// The decisions for every axis, then for the length and the seeds. Axes in `tied` belong to a `zip` and are fixed at their
/// best values. Where no configuration learned anything, other learning rates are tried with all values of the other keys. None
/// where that does not help: [`super::findings::next`] says what to do then.
pub fn refine(sweep: &Sweep, study: &Study, tied: &[String]) -> Option<Vec<Decision>> {
    if let Some(rates) = other_rates(sweep, study).filter(|_| tied.is_empty()) {
        return Some(with_rates(sweep, &rates));
    }
    let best = study.best().filter(|_| !is_lost(sweep, study))?;
    let search = Search::of(sweep, study);
    let mut decisions = Vec::new();
    for axis in axes(sweep) {
        let Some(value) = best.value(&axis.key) else { continue };
        let fix = |why: String| Decision { key: axis.key.clone(), choice: Choice::Fix(value.value.clone()), why };
        if let Some((search, decision)) = search.as_ref().and_then(|search| Some((search, drawn(search, &axis.key)?))) {
            let is_only = only_value(search, &axis.key, &decision.choice) == Some(value.text.as_str());
            decisions.push(if is_only {
                fix(format!("all of the best quarter have {}", value.text))
            } else {
                decision
            });
            continue;
        }
        let history = search.as_ref().map(|search| search.history);
        decisions.push(if history.is_some_and(|history| history.grid.contains(&axis.key)) {
            of_grid(study, axis, best)
        } else if tied.contains(&axis.key) || history.is_some() {
            fix(format!("{} is best", value.text))
        } else if dead_axis(sweep, axis).is_some() {
            fix("changed nothing: the curves are equal to the last bit".into())
        } else if axis.key != LEARNING_RATE && shows_no_effect(sweep, study, axis) {
            fix("no detectable effect".into())
        } else {
            numeric(axis, value.value.as_f64()).unwrap_or_else(|| names(study, axis, best))
        });
    }
    decisions.extend(length(sweep, best));
    // A search is confirmed with other seeds, not repeated.
    if search.is_none() || study.seeds > 1 {
        decisions.push(seeds(sweep, study));
    }
    Some(decisions)
}

/// Other learning rates. The other keys keep their values, because nothing was learned about them.
fn with_rates(sweep: &Sweep, OtherRates { reason, rates }: &OtherRates) -> Vec<Decision> {
    let [low, middle, high] = rates.map(|rate| rounded_text(rate, 2).parse().unwrap_or(rate));
    let rates = |is_drawn: bool| Decision {
        key: LEARNING_RATE.to_owned(),
        choice: if is_drawn {
            Choice::Draw(low, high)
        } else {
            Choice::Vary([low, middle, high].map(Value::from).into())
        },
        why: (*reason).to_owned(),
    };
    let kept = |axis: &Axis| {
        let values = || axis.values.iter().map(|value| value.value.clone()).collect();
        let choice = if axis.drawn { Choice::DrawAgain } else { Choice::Vary(values()) };
        Decision { key: axis.key.clone(), choice, why: "as before".to_owned() }
    };
    let decide = |axis: &Axis| if axis.key == LEARNING_RATE { rates(axis.drawn) } else { kept(axis) };
    let mut decisions: Vec<Decision> = axes(sweep).map(decide).collect();
    if decisions.iter().all(|decision| decision.key != LEARNING_RATE) {
        decisions.insert(0, rates(false));
    }
    let seeds = known_seeds(sweep);
    if seeds.len() > 1 {
        let choice = Choice::Vary(seeds.into_iter().map(Value::from).collect());
        decisions.push(Decision { key: "seeds".to_owned(), choice, why: "as before".to_owned() });
    }
    decisions
}

/// The value of a list that alone is left, unless other keys exist with some of its values.
fn only_value<'s>(search: &'s Search<'_>, key: &str, choice: &Choice) -> Option<&'s str> {
    let (Choice::DrawFrom(kept), SearchHistory { space, names, .. }) = (choice, search.history) else { return None };
    let of_key = |condition: Condition| names[condition.dimension].path == key;
    let decides_others = space.dimensions.iter().filter_map(|dimension| dimension.condition).any(of_key);
    let name = names.iter().find(|name| name.path == key).filter(|_| kept.len() == 1 && !decides_others)?;
    name.values.get(*kept.first()?).map(String::as_str)
}

/// The next range of a key that a search draws. None for any other key.
fn drawn(search: &Search<'_>, key: &str) -> Option<Decision> {
    let index = search.history.names.iter().position(|name| name.path == key)?;
    let domain = &search.history.space.dimensions[index].domain;
    let coordinates = |leaders: &[&Tried<'_>]| -> Vec<f64> {
        leaders.iter().filter_map(|tried| tried.draw.point.as_ref()?.get(index).copied().flatten()).collect()
    };
    let best = coordinates(&search.leaders(LEAST_LEADERS));
    if best.is_empty() {
        return None;
    }
    let is_list = !search.history.names[index].values.is_empty();
    let (choice, why) = if is_list {
        let quarter = search.over().count().div_ceil(4);
        let mut kept: Vec<usize> = coordinates(&search.leaders(quarter)).iter().map(|x| *x as usize).collect();
        kept.sort_unstable();
        kept.dedup();
        if let (true, Some(&first), Some(&last)) = (domain.is_ordered(), kept.first(), kept.last()) {
            kept = (first..=last).collect();
        }
        (Choice::DrawFrom(kept), "the values of the best quarter".to_owned())
    } else {
        let (low, high) = domain.refined(&best);
        if let Some(found) = beyond_range(search, key, index, (low, high)) {
            return Some(found);
        }
        match search.edges().into_iter().find(|edge| edge.path == key) {
            Some(Edge { upper: true, widened, .. }) => {
                (Choice::Draw(low, widened.1), "the best was at the upper edge: widened".to_owned())
            }
            Some(Edge { widened, .. }) => {
                (Choice::Draw(widened.0, high), "the best was at the lower edge: widened".to_owned())
            }
            None => (Choice::Draw(low, high), format!("the range of the best {}, one kernel wider", best.len())),
        }
    };
    let choice = match choice {
        // A range of whole numbers may have one value left.
        Choice::Draw(low, high) if low.total_cmp(&high).is_eq() => Choice::Fix(fixed(domain, low)),
        choice => choice,
    };
    Some(Decision { key: key.to_owned(), choice, why })
}

/// A value of a domain in a sweep file.
fn fixed(domain: &Domain, x: f64) -> Value {
    let is_whole = matches!(domain, Domain::Steps { .. } | Domain::LogInt { .. }) && x.fract() == 0.0 && x >= 0.0;
    if is_whole { Value::from(x as u64) } else { Value::from(x) }
}

/// The next range of a key whose best value was included from outside its range.
fn beyond_range(search: &Search<'_>, key: &str, index: usize, (low, high): (f64, f64)) -> Option<Decision> {
    let best = search.best().filter(|best| best.draw.point.is_none())?;
    let value = best.config.value(key)?.value.as_f64()?;
    let name = &search.history.names[index];
    let domain = &search.history.space.dimensions[index].domain;
    let (least, greatest) = domain.ends();
    let (low, high) = match value {
        value if value > greatest => (low, beyond_end(name, domain, (least, value), true).1),
        value if value < least => (beyond_end(name, domain, (value, greatest), false).0, high),
        _ => return None,
    };
    let why = format!("the best, {}, was included from outside the range: widened", rounded_text(value, 3));
    Some(Decision { key: key.to_owned(), choice: Choice::Draw(low, high), why })
}

/// Widens an axis beyond the edge that is best, or narrows it around the best value. None for an axis of anything but numbers.
fn numeric(axis: &Axis, best: Option<f64>) -> Option<Decision> {
    let best = best?;
    let mut numbers: Vec<f64> = axis.values.iter().map(|value| value.value.as_f64()).collect::<Option<_>>()?;
    numbers.sort_by(f64::total_cmp);
    let whole = numbers.iter().all(|number| *number >= 1.0 && number.fract() == 0.0);
    let place = numbers.iter().position(|number| number.total_cmp(&best).is_eq())?;
    let (below, above) = (place.checked_sub(1).map(|i| numbers[i]), numbers.get(place + 1).copied());
    let between = |a: f64, b: f64| if a > 0.0 { (a * b).sqrt() } else { f64::midpoint(a, b) };
    let (values, why) = match beyond(axis, &numbers, best) {
        Some(Beyond { upper: true, values }) => {
            ([vec![best], values].concat(), "the best was the greatest value: widened".to_owned())
        }
        Some(Beyond { values, .. }) => {
            ([values, vec![best]].concat(), "the best was the least value: widened".to_owned())
        }
        None if numbers.len() < 2 => (vec![best], "only one value was tried".to_owned()),
        None => {
            let mut values: Vec<f64> = below.map(|below| between(below, best)).into_iter().collect();
            values.push(best);
            values.extend(above.map(|above| between(best, above)));
            (values, format!("narrowed around the best, {}", rounded_text(best, 3)))
        }
    };
    let mut kept: Vec<Value> = Vec::new();
    for value in values {
        let value = if value.total_cmp(&best).is_eq() { best } else { rounded_text(value, 2).parse().unwrap_or(value) };
        let value = if whole { Value::from(value.round().max(1.0) as u64) } else { Value::from(value) };
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    let choice = match kept.as_slice() {
        [only] => Choice::Fix(only.clone()),
        _ => Choice::Vary(kept),
    };
    Some(Decision { key: axis.key.clone(), choice, why })
}

/// Keeps the best value of an axis of names, and the values of configurations within noise of it.
fn names(study: &Study, axis: &Axis, best: &Config) -> Decision {
    let near = |config: &&Config| config.complete() && config.within_noise == Some(true);
    kept_values(axis, best, study.configs.iter().filter(near), "within noise of the best")
}

/// Keeps the best value of a key of the grid beside a space, and those with a configuration that is as good: within noise, or
/// within delta where the noise is unknown.
fn of_grid(study: &Study, axis: &Axis, best: &Config) -> Decision {
    let cost = |config: &Config| config.score.map_or(f64::INFINITY, |score| study.metric.cost(score.mean));
    let near = |config: &&Config| {
        let is_near = || cost(config) - cost(best) <= study.delta;
        config.complete() && config.within_noise.unwrap_or_else(is_near)
    };
    kept_values(axis, best, study.configs.iter().filter(near), "as good as the best")
}

/// The values of these configurations, that of the best one first.
fn kept_values<'c>(axis: &Axis, best: &'c Config, near: impl Iterator<Item = &'c Config>, how: &str) -> Decision {
    let mut kept: Vec<(Value, &str)> = Vec::new();
    for value in std::iter::once(best).chain(near).filter_map(|config| config.value(&axis.key)) {
        if !kept.iter().any(|(known, _)| *known == value.value) {
            kept.push((value.value.clone(), &value.text));
        }
    }
    let key = axis.key.clone();
    let (values, names): (Vec<Value>, Vec<&str>) = kept.into_iter().unzip();
    match values.as_slice() {
        [only] => Decision { key, choice: Choice::Fix(only.clone()), why: format!("{} is best", names.concat()) },
        _ => Decision { key, choice: Choice::Vary(values), why: format!("{} are {how}", names.join(", ")) },
    }
}

/// Doubles the length where the best configuration was still improving.
fn length(sweep: &Sweep, best: &Config) -> Option<Decision> {
    if !matches!(best.shape, Shape::StillImproving { .. }) {
        return None;
    }
    let run = best.runs.first().and_then(|&run| sweep.runs.get(run))?;
    let (key, value) = match run.trial.config.length {
        Length::Epochs(epochs) => (Key::Epochs.path(), Value::from(epochs * 2.0)),
        Length::Steps(steps) => (Key::Steps.path(), Value::from(steps * 2)),
    };
    let varies = sweep.axes.iter().any(|axis| Key::is_length(&axis.key));
    (!varies).then(|| Decision {
        key: key.into(),
        choice: Choice::Fix(value),
        why: "the best configuration was still improving: twice as long".into(),
    })
}

/// Adds seeds where the noise is unknown or decides.
fn seeds(sweep: &Sweep, study: &Study) -> Decision {
    let mut seeds = known_seeds(sweep);
    let (wanted, why) = match study.within_noise() {
        None => (3, "the noise between seeds was unknown: three seeds".to_owned()),
        Some(1) => (seeds.len(), "the best configuration was clear of noise".to_owned()),
        Some(n) => (seeds.len() + 2, format!("{n} configurations were within noise of each other: more seeds")),
    };
    let fresh = (1..).filter(|seed| !seeds.contains(seed)).take(wanted.saturating_sub(seeds.len())).collect::<Vec<_>>();
    seeds.extend(fresh);
    Decision { key: "seeds".into(), choice: Choice::Vary(seeds.into_iter().map(Value::from).collect()), why }
}

/// The seeds of a sweep, in the order of its trials.
fn known_seeds(sweep: &Sweep) -> Vec<u64> {
    let mut seeds: Vec<u64> = Vec::new();
    for seed in sweep.runs.iter().map(|run| run.trial.config.seed) {
        if !seeds.contains(&seed) {
            seeds.push(seed);
        }
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{self, axis};
    use super::*;

    fn described(sweep: &Sweep) -> String {
        described_with(sweep, &Study::of(sweep))
    }

    fn described_with(sweep: &Sweep, study: &Study) -> String {
        let line = |decision: Decision| {
            let choice = match decision.choice {
                Choice::Fix(value) => value.to_string(),
                Choice::Vary(values) => Value::from(values).to_string(),
                Choice::Draw(low, high) => format!("{low} to {high}"),
                Choice::DrawFrom(kept) => format!("values {kept:?}"),
                Choice::DrawAgain => "drawn".to_owned(),
            };
            format!("{}: {choice} # {}", decision.key, decision.why)
        };
        refine(sweep, study, &[]).unwrap().into_iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn where_nothing_was_learned_other_rates_are_tried_with_all_other_values() {
        let lost = synthetic::stuck(&[axis("lr", &["1e-2", "2e-2"]), axis("warmup", &["0", "0.1"])]);
        insta::assert_snapshot!(described(&lost), @"
        lr: [0.001,0.0033,0.01] # no configuration learned anything: try lower learning rates with a warm-up
        warmup: [0.0,0.1] # as before
        ");
        let fixed = synthetic::stuck(&[axis("scheduler", &["linear", "cosine"]), axis("seed", &["1", "2"])]);
        insta::assert_snapshot!(described(&fixed), @r#"
        lr: [5e-6,0.00005,0.0005] # no configuration learned anything, and the curves do not say whether the learning rate is to blame: try lower and higher ones
        scheduler: ["linear","cosine"] # as before
        seeds: [1,2] # as before
        "#);
        let mut drawn = synthetic::stuck(&[axis("lr", &["1e-2", "2e-2"]), axis("warmup", &["0", "0.1"])]);
        drawn.axes.iter_mut().for_each(|axis| axis.drawn = true);
        insta::assert_snapshot!(described(&drawn), @"
        lr: 0.001 to 0.01 # no configuration learned anything: try lower learning rates with a warm-up
        warmup: drawn # as before
        ");
    }

    #[test]
    fn decisions() {
        insta::assert_snapshot!(described(&synthetic::default_sweep()), @r#"
        lr: [0.000017,0.00003,0.000055] # narrowed around the best, 3e-5
        warmup: [0.0,0.05] # narrowed around the best, 0
        scheduler: "cosine" # cosine is best
        seeds: [42,1,2] # the noise between seeds was unknown: three seeds
        "#);
        let (sweep, study) = &*synthetic::LARGE;
        insta::assert_snapshot!(described_with(sweep, study), @r#"
        lr: [0.000024,0.00003,0.000039] # narrowed around the best, 3e-5
        warmup: 0.2 # no detectable effect
        scheduler: ["linear","constant","cosine"] # linear, constant, cosine are within noise of the best
        augmentation: "eda" # eda is best
        seeds: [1,2,3,4,5] # 24 configurations were within noise of each other: more seeds
        "#);
        let edge = synthetic::sweep(
            "s",
            &[axis("lr", &["3e-6", "1e-5", "3e-5"]), axis("batch_size", &["8", "16", "32"])],
            150,
        );
        insta::assert_snapshot!(described(&edge), @"
        lr: [0.00003,0.00009,0.0003] # the best was the greatest value: widened
        batch_size: [1,3,8] # the best was the least value: widened
        seeds: [42,1,2] # the noise between seeds was unknown: three seeds
        ");
    }

    #[test]
    fn a_search_keeps_the_range_of_its_best() {
        insta::assert_snapshot!(described(&synthetic::search("s", 40, 60)), @"
        lr: 0.00001577976552424021 to 0.00018910420407806933 # the range of the best 4, one kernel wider
        warmup: 0 to 0.3 # the range of the best 4, one kernel wider
        scheduler: values [0, 1] # the values of the best quarter
        batch_size: values [0, 1, 2] # the values of the best quarter
        augmentation: values [0, 1] # the values of the best quarter
        ");
    }

    #[test]
    fn a_best_value_outside_the_range_widens_it() {
        let refined = described(&synthetic::search_with_the_best_outside());
        let rate = refined.lines().find(|line| line.starts_with("lr: ")).unwrap();
        insta::assert_snapshot!(rate, @"lr: 0.000012534313293232815 to 0.3 # the best, 0.1, was included from outside the range: widened");
    }

    /// Each value of the grid had a search of its own: it stays unless it is clearly worse.
    #[test]
    fn a_grid_beside_a_space_keeps_the_values_that_are_as_good() {
        let refined = |margin: f32| {
            let mut sweep = synthetic::search("s", 40, 60);
            let history = sweep.search.as_mut().unwrap();
            history.grid = vec!["optimizer".into()];
            let values = synthetic::axis("optimizer", &["adamw", "sgd"]).values;
            for run in 0..sweep.runs.len() {
                sweep.runs[run].trial.values.push(("optimizer".into(), values[0].clone()));
            }
            let best = Study::of(&sweep).best().unwrap().runs[0];
            let mut twin = sweep.runs[best].clone();
            twin.trial.id = synthetic::search("t", 1, 60).runs[0].trial.id.clone();
            twin.trial.values.last_mut().unwrap().1 = values[1].clone();
            twin.evals.iter_mut().for_each(|row| row.eval_loss += margin);
            if let Some(best) = twin.outcome.as_mut().and_then(|outcome| outcome.best_eval_loss.as_mut()) {
                *best += margin;
            }
            sweep.runs.push(twin);
            sweep.axes.push(Axis { key: "optimizer".into(), values, drawn: false, greatest: None });
            described(&sweep).lines().find(|line| line.starts_with("optimizer")).unwrap().to_owned()
        };
        assert_eq!(refined(0.004), r#"optimizer: ["adamw","sgd"] # adamw, sgd are as good as the best"#);
        assert_eq!(refined(0.4), r#"optimizer: "adamw" # adamw is best"#);
    }

    #[test]
    fn a_list_with_one_value_left_is_fixed() {
        // The best quarter of four configurations is one.
        let refined = described(&synthetic::search("s", 4, 60));
        let fixed = |key: &str| refined.lines().any(|line| line.starts_with(key) && line.contains("# all of the best"));
        assert!(["batch_size: ", "augmentation: \""].into_iter().all(fixed), "{refined}");
        assert!(refined.contains("scheduler: values [0]"), "another key exists with one of its values: {refined}");
    }

    #[test]
    fn numbers_are_widened_at_edges_and_narrowed_between() {
        let check = |values: &[&str], best: f64, expected: &str| {
            let decision = numeric(&axis("weight_decay", values), Some(best)).unwrap();
            let Choice::Vary(values) = decision.choice else { panic!("{decision:?}") };
            assert_eq!(Value::from(values).to_string(), expected);
        };
        check(&["0.01", "0.03", "0.1"], 0.1, "[0.1,0.3,1.0]");
        check(&["0.01", "0.03", "0.1"], 0.01, "[0.001,0.0033,0.01]");
        check(&["0.01", "0.1"], 0.1, "[0.032,0.1]");
        check(&["0", "0.1"], 0.0, "[0.0,0.05]");
        check(&["8", "16", "64"], 16.0, "[11,16,32]");
        assert_eq!(numeric(&axis("scheduler", &["linear"]), None), None);
    }

    #[test]
    fn nothing_comes_of_a_sweep_that_failed() {
        let failed = synthetic::all_failed(synthetic::default_sweep());
        assert_eq!(refine(&failed, &Study::of(&failed), &[]), None);
    }
}
