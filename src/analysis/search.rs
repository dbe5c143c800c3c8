//! What a search found: the result of each configuration in the order of the draws, what random draws alone reach, which keys
//! matter, and which keys are best at an end of their range.

use std::collections::HashMap;

use super::study::{Config, Study};
use super::sweep::Sweep;
use crate::search::{
    Baseline, DimensionName, Domain, Draw, ImportanceInterval, Point, SearchHistory, importance, importance_intervals,
};
use crate::trial::{DrawnBy, Metric, Status, TrialId, number_text, rounded_text};

/// The share of the configurations that counts as the best.
pub const BEST_SHARE: f64 = 0.1;
/// With fewer configurations in the best tenth, noise looks like importance: it reached 0.37 with 20 trials.
pub const FEWEST_BEST: usize = 5;
/// With fewer random draws, there is no estimate of what random draws reach.
pub const FEWEST_RANDOM: usize = 10;
/// Bootstrap samples of the importance.
const SAMPLES: u64 = 100;
/// Share of a range that counts as its edge, where the best configuration is, and where most of the best ones are.
const EDGE: f64 = 0.05;
const NEAR_EDGE: f64 = 0.2;
/// With fewer values, an edge needs more evidence.
const MANY_VALUES: u64 = 5;

/// The configurations of a search with their results.
pub struct Search<'a> {
    pub history: &'a SearchHistory,
    /// In the order of their numbers.
    pub tried: Vec<Tried<'a>>,
    pub metric: Metric,
}

/// A configuration of a search.
pub struct Tried<'a> {
    pub draw: &'a Draw,
    pub config: &'a Config,
    /// Its rank among all configurations of the study, from 0.
    pub rank: usize,
    pub end: End,
    /// Time of training and evaluation of all its trials.
    pub seconds: f64,
}

/// How a configuration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Ended,
    /// A rule stopped one of its trials.
    Stopped,
    /// No trial gave a usable model.
    Failed,
    /// Some trial has not ended yet.
    Open,
}

/// A key whose best value lies at an end of its range.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    pub path: String,
    pub best: f64,
    pub low: f64,
    pub high: f64,
    pub upper: bool,
    /// The range, widened beyond this end.
    pub widened: (f64, f64),
    /// That range, or values beyond the end of a list, as a sweep file writes it.
    pub line: String,
}

impl<'a> Search<'a> {
    /// None for a sweep without a search.
    pub fn of(sweep: &'a Sweep, study: &'a Study) -> Option<Self> {
        let history = sweep.search.as_ref()?;
        let mut ranks: HashMap<&TrialId, usize> = HashMap::new();
        for (rank, config) in study.configs.iter().enumerate() {
            ranks.extend(config.runs.iter().map(|&run| (&sweep.runs[run].trial.id, rank)));
        }
        let tried = history.draws.iter().filter_map(|draw| {
            let rank = *draw.trials.iter().find_map(|trial| ranks.get(trial))?;
            let config = &study.configs[rank];
            let runs = || config.runs.iter().map(|&run| &sweep.runs[run]);
            let end = match () {
                () if runs().any(|run| matches!(run.status, Status::Pending | Status::Running)) => End::Open,
                () if config.score.is_none() => End::Failed,
                () if runs().any(|run| run.status == Status::Stopped) => End::Stopped,
                () => End::Ended,
            };
            let seconds = runs().filter_map(|run| run.outcome.as_ref()).map(|outcome| outcome.seconds).sum();
            Some(Tried { draw, config, rank, end, seconds })
        });
        Some(Self { history, tried: tried.collect(), metric: study.metric })
    }

    /// The value of a configuration; None where it failed or has not ended.
    pub fn value(&self, tried: &Tried<'_>) -> Option<f64> {
        tried.config.score.map(|score| score.mean).filter(|_| tried.end != End::Open)
    }

    /// Value of a configuration, where lower is better; infinite where it failed.
    fn cost(&self, tried: &Tried<'_>) -> f64 {
        self.value(tried).map_or(f64::INFINITY, |value| self.metric.cost(value))
    }

    /// Configurations that have ended.
    pub fn over(&self) -> impl Iterator<Item = &Tried<'a>> {
        self.tried.iter().filter(|tried| tried.end != End::Open)
    }

    /// The best configuration that was drawn.
    pub fn best(&self) -> Option<&Tried<'a>> {
        self.over().filter(|tried| tried.config.score.is_some()).min_by_key(|tried| tried.rank)
    }

    /// Configurations that have ended and that `include` names outside the ranges: they have no place on the axes of the keys.
    pub fn outside(&self) -> impl Iterator<Item = &Tried<'a>> {
        self.over().filter(|tried| tried.draw.point.is_none())
    }

    /// The configurations of the best tenth, the best first; at least `least` of them if so many gave a usable model.
    pub fn leaders(&self, least: usize) -> Vec<&Tried<'a>> {
        let mut usable: Vec<&Tried<'_>> = self.over().filter(|tried| tried.config.score.is_some()).collect();
        usable.sort_by_key(|tried| tried.rank);
        let count = (BEST_SHARE * self.over().count() as f64).ceil() as usize;
        usable.truncate(count.max(least));
        usable
    }

    /// The best value after each configuration, in the order of the numbers; None before the first one.
    pub fn best_so_far(&self) -> Vec<Option<f64>> {
        let mut best = f64::INFINITY;
        let after = self.tried.iter().map(|tried| {
            best = best.min(self.cost(tried));
            best.is_finite().then(|| self.metric.cost(best))
        });
        after.collect()
    }

    /// The costs of the random draws that have ended, the best first; failed ones are infinite. None if there are too few.
    pub fn random_costs(&self) -> Option<Vec<f64>> {
        let random = self.over().filter(|tried| matches!(tried.draw.by, DrawnBy::Random | DrawnBy::Sobol));
        let mut costs: Vec<f64> = random.map(|tried| self.cost(tried)).collect();
        costs.sort_by(f64::total_cmp);
        (costs.len() >= FEWEST_RANDOM).then_some(costs)
    }

    /// Where the best of `count` draws out of `random` ends in the middle half of all cases: the better and the worse end.
    /// Infinite where that draw fails.
    pub fn best_of_random(&self, random: &[f64], count: usize) -> (f64, f64) {
        let n = random.len() as f64;
        let at = |probability: f64| {
            let reached = |index: usize| 1.0 - (1.0 - (index + 1) as f64 / n).powf(count as f64) >= probability;
            let index = (0..random.len()).find(|&index| reached(index)).unwrap_or(random.len() - 1);
            random[index]
        };
        (self.metric.cost(at(0.25)), self.metric.cost(at(0.75)))
    }

    /// How many random draws are needed on average for a result as good as the best one. None if no random draw was as good.
    pub fn random_draws_needed(&self, random: &[f64]) -> Option<usize> {
        let best = self.cost(self.best()?);
        let as_good = random.iter().filter(|cost| **cost <= best).count();
        (as_good > 0).then(|| random.len().div_ceil(as_good))
    }

    /// Points and ranks of the configurations that have ended, for the importance of the keys: failed ones rank last.
    fn ranked(&self) -> Vec<(Point, f64)> {
        let with_point = self.over().filter_map(|tried| Some((tried.draw.point.clone()?, self.cost(tried))));
        with_point.map(|(point, cost)| (point, if cost.is_finite() { cost } else { f64::MAX })).collect()
    }

    /// The importance of each dimension for being among the best tenth.
    ///
    /// # Errors
    /// Why there is none.
    pub fn importances(&self) -> Result<Vec<ImportanceInterval>, String> {
        let ranked = self.ranked();
        let best = (BEST_SHARE * ranked.len() as f64).ceil() as usize;
        if best < FEWEST_BEST {
            return Err(format!(
                "the best tenth of {} configurations holds {best}, and below {FEWEST_BEST} noise looks like importance",
                ranked.len()
            ));
        }
        importance_intervals(&self.history.space, &ranked, BEST_SHARE, Baseline::Space, SAMPLES)
            .ok_or_else(|| "the best configurations are spread as evenly as the space".to_owned())
    }

    /// The dimensions, those that matter most first: for the best tenth, as [`Self::importances`], or for the best quarter where
    /// that holds too few. The order is less certain than an importance that is shown needs to be.
    pub fn by_importance(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.history.space.dimensions.len()).collect();
        let ranked = self.ranked();
        let is_enough = (BEST_SHARE * ranked.len() as f64).ceil() as usize >= FEWEST_BEST;
        let share = if is_enough { BEST_SHARE } else { 0.25 };
        if let Some(found) = importance(&self.history.space, &ranked, share, Baseline::Space) {
            order.sort_by(|&a, &b| found[b].total_cmp(&found[a]));
        }
        order
    }

    /// The keys whose best value lies at an end of their range, together with most of the best tenth. Nothing lies beyond an
    /// end at zero.
    pub fn edges(&self) -> Vec<Edge> {
        let leaders = self.leaders(3);
        let Some(best) = leaders.first().and_then(|best| best.draw.point.as_ref()) else { return Vec::new() };
        let edge = |index: usize| {
            let dimension = &self.history.space.dimensions[index];
            let name = &self.history.names[index];
            let domain = &dimension.domain;
            let x = best[index].filter(|_| domain.is_ordered() && dimension.condition.is_none())?;
            let (low, high) = domain.ends();
            let place = |x: f64| match domain.size() {
                // The first and the last of few values lie at the ends.
                Some(_) => (x - low) / (high - low),
                None => domain.share(x),
            };
            let upper = place(x) > 0.5;
            let from_end = |x: f64| if upper { 1.0 - place(x) } else { place(x) };
            let points = leaders.iter().filter_map(|tried| tried.draw.point.as_ref()?[index]);
            let near = points.filter(|x| from_end(*x) <= NEAR_EDGE).count();
            let value = |x: f64| name.values.get(x as usize).map_or(Some(x), |text| text.parse().ok());
            let (low, high, best) = (value(low)?, value(high)?, value(x)?);
            // Of few values, the best is often the first or the last one.
            let is_fine = domain.size().is_none_or(|size| size >= MANY_VALUES);
            let is_sure = if is_fine { 2 * near > leaders.len() } else { near == leaders.len() && near >= FEWEST_BEST };
            let is_edge = from_end(x) <= EDGE && is_sure;
            let widened = beyond(name, domain, (low, high), upper);
            let line = if name.values.is_empty() {
                written(domain, widened)
            } else {
                let (from, to) = if upper { (best, widened.1) } else { (widened.0, best) };
                format!("[{}, {}]", rounded_text(from, 4), rounded_text(to, 4))
            };
            let is_edge = is_edge && widened != (low, high);
            is_edge.then(|| Edge { path: name.path.clone(), best, low, high, upper, widened, line })
        };
        (0..self.history.space.dimensions.len()).filter_map(edge).collect()
    }

    /// Share of the compute time that `tried` took.
    pub fn time_share<'t>(&self, tried: impl Iterator<Item = &'t Tried<'a>>) -> Option<f64>
    where
        'a: 't,
    {
        let all: f64 = self.tried.iter().map(|tried| tried.seconds).sum();
        (all > 0.0).then(|| tried.map(|tried| tried.seconds).sum::<f64>() / all)
    }
}

/// Why the trials of a search are not compared in pairs.
pub fn no_pairs(history: &SearchHistory) -> &'static str {
    if history.grid.is_empty() {
        "Trials of a search differ in several keys at once, so that matched pairs do not exist"
    } else {
        "Drawn keys differ several at once, so that matched pairs exist for the keys of `grid` alone"
    }
}

/// A range, widened beyond one of its ends. Nothing lies beyond zero, nor below one for whole numbers, nor beyond what the key can
/// have: a dropout probability stays below one.
pub fn beyond(name: &DimensionName, domain: &Domain, (low, high): (f64, f64), upper: bool) -> (f64, f64) {
    let is_whole = low >= 1.0 && low.fract() == 0.0 && high.fract() == 0.0 && domain.size().is_some();
    // Numbers above the greatest fraction are steps.
    let most = name.greatest.filter(|most| high <= *most).unwrap_or(f64::INFINITY);
    let rounded = |x: f64| rounded_text(x, 2).parse().unwrap_or(x);
    if upper {
        // A share grows towards one.
        let tripled = Some(rounded(3.0 * high)).filter(|_| most > 1.0);
        let half = rounded(f64::midpoint(high, most.ceil()));
        let half = if is_whole { half.floor() } else { half };
        (low, tripled.into_iter().chain([half]).find(|x| (high..=most).contains(x)).unwrap_or(high))
    } else {
        (if is_whole { (low / 2.0).floor().max(1.0) } else { rounded(low / 10.0) }, high)
    }
}

/// A range as a sweep file writes it.
fn written(domain: &Domain, (low, high): (f64, f64)) -> String {
    let ends = format!("[{}, {}]", number_text(low), number_text(high));
    match domain {
        Domain::Log { .. } => format!("{{log: {ends}}}"),
        Domain::LogInt { .. } => format!("{{log_int: {ends}}}"),
        Domain::Steps { step, .. } if (step - 1.0).abs() < 1e-9 && low.fract() == 0.0 => format!("{{int: {ends}}}"),
        Domain::Steps { step, .. } => format!("{{uniform: {ends}, step: {}}}", rounded_text(*step, 6)),
        _ => format!("{{uniform: {ends}}}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::synthetic;
    use super::*;

    fn with<T>(sweep: &Sweep, of: impl Fn(&Search<'_>) -> T) -> T {
        let study = Study::of(sweep);
        of(&Search::of(sweep, &study).unwrap())
    }

    #[test]
    fn a_grid_has_no_search() {
        let sweep = synthetic::default_sweep();
        assert!(Search::of(&sweep, &Study::of(&sweep)).is_none());
    }

    #[test]
    fn the_best_so_far_never_gets_worse_and_ends_at_the_best() {
        let sweep = synthetic::search("s", 40, 60);
        with(&sweep, |search| {
            let after: Vec<f64> = search.best_so_far().into_iter().flatten().collect();
            assert!(after.windows(2).all(|pair| pair[1] <= pair[0]));
            assert_eq!(after.last().copied(), search.value(search.best().unwrap()));
            assert_eq!(search.tried.len(), 40);
            assert!(search.tried.iter().any(|tried| tried.end == End::Stopped));
        });
    }

    #[test]
    fn what_random_draws_reach() {
        let sweep = synthetic::search("s", 40, 60);
        with(&sweep, |search| {
            let random: Vec<f64> = (1..=10).map(f64::from).collect();
            assert_eq!(search.best_of_random(&random, 1), (3.0, 8.0), "the quartiles of one draw");
            assert_eq!(search.best_of_random(&random, 1000), (1.0, 1.0), "never better than the best");
            assert_eq!(search.random_costs().map(|costs| costs.len()), Some(10), "include and tpe do not count");
            let best = search.cost(search.best().unwrap());
            assert_eq!(search.random_draws_needed(&[best, best, best + 1.0, best + 1.0, best + 1.0]), Some(3));
            assert_eq!(search.random_draws_needed(&[best + 1.0]), None);
        });
        let few = synthetic::search("s", 10, 60);
        with(&few, |search| assert_eq!(search.random_costs(), None, "nine random draws say too little"));
    }

    #[test]
    fn importance_needs_enough_of_the_best() {
        let few = synthetic::search("s", 40, 60);
        let why = with(&few, |search| search.importances().unwrap_err());
        insta::assert_snapshot!(why, @"the best tenth of 40 configurations holds 4, and below 5 noise looks like importance");
        let enough = synthetic::search("s", 41, 60);
        with(&enough, |search| {
            let found = search.importances().unwrap();
            assert!((found.iter().map(|one| one.value).sum::<f64>() - 1.0).abs() < 1e-9);
            assert!(found.iter().all(|one| one.low <= one.high && one.low >= 0.0));
            assert_eq!(search.by_importance()[0], 0, "the learning rate matters most");
            let mut order: Vec<usize> = (0..found.len()).collect();
            order.sort_by(|&a, &b| found[b].value.total_cmp(&found[a].value));
            assert_eq!(search.by_importance(), order, "the figures agree on the keys");
        });
    }

    #[test]
    fn a_best_value_at_the_end_of_its_range_is_found() {
        let mut sweep = synthetic::search("s", 30, 60);
        assert!(with(&sweep, |search| search.edges().is_empty()));
        let best = with(&sweep, |search| search.leaders(5).iter().map(|tried| tried.draw.number).collect::<Vec<_>>());
        let mut move_to = |dimension: usize, x: f64| {
            for draw in &mut sweep.search.as_mut().unwrap().draws {
                if best.contains(&draw.number) {
                    draw.point.as_mut().unwrap()[dimension] = Some(x);
                }
            }
            with(&sweep, |search| {
                search.edges().into_iter().map(|edge| format!("{} {}", edge.path, edge.line)).collect::<Vec<_>>()
            })
        };
        assert_eq!(move_to(0, 9.5e-4), ["lr {log: [1e-6, 0.003]}"]);
        assert_eq!(move_to(0, 1.1e-6), ["lr {log: [1e-7, 0.001]}"]);
        assert_eq!(move_to(0, 3e-5), [""; 0]);
        assert_eq!(move_to(1, 0.0), [""; 0], "nothing lies beyond zero");
        assert_eq!(move_to(1, 0.3), ["warmup {uniform: [0, 0.65]}"]);
        assert_eq!(move_to(1, 0.2), [""; 0]);
        assert_eq!(move_to(4, 2.0), [""; 0], "three of three values are too few");
    }

    #[test]
    fn a_range_is_widened_within_what_its_key_can_be() {
        let whole = Domain::Steps { low: 2.0, step: 1.0, count: 7 };
        let name =
            |path: &str| DimensionName { path: path.into(), values: Vec::new(), greatest: synthetic::greatest(path) };
        let widened =
            |path: &str, domain: &Domain, upper| written(domain, beyond(&name(path), domain, domain.ends(), upper));
        assert_eq!(widened("epochs", &whole, false), "{int: [1, 8]}");
        assert_eq!(widened("epochs", &whole, true), "{int: [2, 24]}");
        assert_eq!(widened("weight_decay", &Domain::Uniform { low: 0.0, high: 0.3 }, true), "{uniform: [0, 0.9]}");
        let decay = Domain::Uniform { low: 0.7, high: 1.0 };
        assert_eq!(widened("optimizer.layer_decay", &decay, true), "{uniform: [0.7, 1]}", "nothing lies beyond one");
        let dropout = Domain::Steps { low: 0.0, step: 0.05, count: 13 };
        assert_eq!(widened("model.dropout", &dropout, true), "{uniform: [0, 0.8], step: 0.05}");
        assert_eq!(beyond(&name("warmup"), &dropout, (0.0, 0.3), false), (0.0, 0.3), "nothing lies below zero");
    }
}
