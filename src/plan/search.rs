//! The trials of a search: those of `include`, then one drawn configuration after the other. Pure.
//!
//! Which configuration is next is a function of the sweep file and of the results that it may see ([`Lag`]). It does not depend
//! on the number of slots, on the order in which trials end, or on interruptions.

use super::expand::{Column, Expansion};
use super::{Facts, Plan};
use crate::search::{Lag, Observation, Point, Sampler, SearchResult, SearchSettings, propose};
use crate::spec::{Choice, Entry, Factor, Place, Problems, SamplerName, SearchSpec, Setting, SweepSpec};
use crate::trial::{AxisValue, DrawnBy, Key, Metric, Trial, TrialId};

/// A configuration of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Suggestion {
    /// Counts all configurations of the sweep from 0.
    pub number: u64,
    pub by: DrawnBy,
    pub point: Point,
    /// One for each seed.
    pub trials: Vec<Trial>,
}

/// What a search does next.
#[derive(Debug, Clone, PartialEq)]
pub enum SearchStep {
    Suggest(Suggestion),
    /// The next configuration may see results that are not there yet.
    Wait,
    /// All trials of the search are drawn.
    Complete,
    /// The search ends before that, for this reason.
    Ended(&'static str),
}

#[derive(Debug)]
struct Configuration {
    /// Index among the points of the grid.
    arm: usize,
    by: DrawnBy,
    /// None where values of `include` cannot be drawn.
    point: Option<Point>,
    trials: Vec<TrialId>,
}

/// A search with the configurations so far.
#[derive(Debug)]
pub struct SearchPlan<'s> {
    spec: &'s SweepSpec,
    search: &'s SearchSpec,
    expansion: Expansion<'s>,
    configurations: Vec<Configuration>,
    /// Number of configurations that were there before any result.
    first: usize,
    facts: &'s Facts,
}

impl<'s> SearchPlan<'s> {
    /// The configurations of `include`, and those that are drawn without results. None if the sweep draws nothing.
    ///
    /// # Errors
    /// Values of `include` that do not fit their data or checkpoint.
    pub fn new(spec: &'s SweepSpec, facts: &'s Facts) -> Option<Self> {
        let search = spec.search.as_ref()?;
        let (expansion, configurations) = (Expansion::new(spec, facts), Vec::new());
        let mut plan = Self { spec, search, expansion, configurations, first: 0, facts };
        plan.include();
        while !plan.needs_results() && plan.is_within_budget() {
            let (number, seen) = (plan.configurations.len(), plan.seen(&[]));
            if plan.draw(number as u64, &seen).is_none() {
                break;
            }
        }
        plan.first = plan.configurations.len();
        Some(plan)
    }

    /// The plan as far as it is known.
    ///
    /// # Errors
    /// Values of `include` that do not fit their data or checkpoint, or a search without a single valid configuration.
    pub fn plan(&self) -> Result<Plan, Problems> {
        let mut expansion = Expansion::new(self.spec, self.facts);
        expansion.include();
        let included = expansion.trials.len();
        expansion.trials.extend_from_slice(&self.expansion.trials[included.min(self.expansion.trials.len())..]);
        let mut plan = expansion.finish()?;
        let trials = std::mem::take(&mut plan.trials);
        plan.extend(&trials);
        Ok(plan)
    }

    /// Continues after configurations that an earlier run has suggested. One that the sweep file would not give any more is
    /// left out.
    pub fn recall<'d>(&mut self, drawn: impl IntoIterator<Item = (&'d Point, &'d [Trial])>) {
        for (point, trials) in drawn {
            let ids: Vec<TrialId> = trials.iter().map(|trial| trial.id.clone()).collect();
            let known = |configuration: &Configuration| configuration.trials == ids;
            if self.configurations.iter().any(known) || !self.is_within_budget() {
                continue;
            }
            let arm = self.next_arm();
            let by = self.next_by();
            let before = self.expansion.trials.len();
            match self.add(arm, point) {
                Some(added) if added == ids => {
                    self.configurations.push(Configuration { arm, by, point: Some(point.clone()), trials: added });
                }
                Some(_) => self.expansion.remove_from(before),
                None => {}
            }
        }
    }

    /// Forgets all configurations that rest on results.
    pub fn forget_results(&mut self) {
        let kept: usize = self.configurations[..self.first].iter().map(|known| known.trials.len()).sum();
        self.configurations.truncate(self.first);
        self.expansion.remove_from(kept);
    }

    /// What comes next. `result`: of each trial, where lower values are better.
    pub fn next(&mut self, result: impl Fn(&TrialId) -> SearchResult) -> SearchStep {
        if !self.is_within_budget() {
            return SearchStep::Complete;
        }
        let number = self.configurations.len() as u64;
        let of = |known: &Configuration| SearchResult::of_seeds(&known.trials.iter().map(&result).collect::<Vec<_>>());
        let visible = self.lag().ended_before(number) as usize;
        let results: Vec<SearchResult> = self.configurations[..visible].iter().map(of).collect();
        if results.contains(&SearchResult::Running) {
            return SearchStep::Wait;
        }
        if let Some(why) = self.has_ended(&results) {
            return SearchStep::Ended(why);
        }
        let seen = self.seen(&results);
        match self.draw(number, &seen) {
            Some(suggestion) => SearchStep::Suggest(suggestion),
            None => SearchStep::Ended("every configuration of the space is there"),
        }
    }

    /// What the next configuration knows of those of its own point of the grid. `results`: of the first configurations; the
    /// others are taken to be running.
    fn seen(&self, results: &[SearchResult]) -> Vec<Observation> {
        let arm = self.next_arm();
        let seen = |(index, known): (usize, &Configuration)| {
            let result = results.get(index).copied().unwrap_or(SearchResult::Running);
            let point = known.point.clone().filter(|_| known.arm == arm)?;
            Some(Observation { point, result })
        };
        self.configurations.iter().enumerate().filter_map(seen).collect()
    }

    /// Number of trials that the search may have in all.
    #[must_use]
    pub fn budget(&self) -> u64 {
        self.search.config.trials
    }

    fn lag(&self) -> Lag {
        Lag { ahead: self.search.config.ahead, rungs: 0 }
    }

    /// Whether `until` or `patience` ends the search after these results.
    fn has_ended(&self, results: &[SearchResult]) -> Option<&'static str> {
        let config = &self.search.config;
        let values = results.iter().map(|result| match result {
            SearchResult::Ended(value) => *value,
            _ => f64::INFINITY,
        });
        let values: Vec<f64> = values.collect();
        let best = values.iter().copied().fold(f64::INFINITY, f64::min);
        let goal = config.until.map(|until| self.metric().cost(until));
        if goal.is_some_and(|goal| best <= goal) {
            return Some("`search.until` is reached");
        }
        let at = values.iter().position(|value| *value <= best)?;
        let without = (values.len() - 1 - at) as u64;
        config.patience.is_some_and(|patience| without >= patience).then_some("`search.patience` has run out")
    }

    /// The metric that the search follows.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.spec.base.metric
    }

    fn include(&mut self) {
        let repetitions = self.repetitions().len();
        self.expansion.include();
        let mut trials = self.expansion.trials.as_slice();
        while let Some(first) = trials.first() {
            let same = |trial: &&Trial| differ_in_repetition_alone(first, trial);
            let of_one = trials.iter().take_while(same).take(repetitions.max(1)).count().max(1);
            let (these, rest) = trials.split_at(of_one);
            trials = rest;
            let point = self.search.drawn.point(|path| first.value(path).map(|value| value.value.clone()));
            let ids = these.iter().map(|trial| trial.id.clone()).collect();
            let arm = (0..self.arms()).find(|arm| self.is_in_arm(first, *arm)).unwrap_or(usize::MAX);
            self.configurations.push(Configuration { arm, by: DrawnBy::Include, point, trials: ids });
        }
    }

    fn is_in_arm(&self, trial: &Trial, arm: usize) -> bool {
        self.arm(arm).iter().all(|(path, choice)| trial.value(path).is_some_and(|value| *value == choice.shown))
    }

    fn draw(&mut self, number: u64, seen: &[Observation]) -> Option<Suggestion> {
        let (arm, by) = (self.next_arm(), self.next_by());
        let settings = SearchSettings { sampler: self.sampler(), seed: self.search.config.seed };
        let space = &self.search.drawn.space;
        let place = self.drawn_in(arm);
        let mut added = None;
        let point = propose(space, settings, place, seen, |point| {
            added = self.add(arm, point);
            added.is_none()
        })?;
        let ids = added?;
        let trials = self.expansion.trials[self.expansion.trials.len() - ids.len()..].to_vec();
        self.configurations.push(Configuration { arm, by, point: Some(point.clone()), trials: ids });
        Some(Suggestion { number, by, point, trials })
    }

    /// Adds the trials of a point, one for each seed. None if one of them is there already, is excluded, or does not fit its
    /// data.
    fn add(&mut self, arm: usize, point: &Point) -> Option<Vec<TrialId>> {
        let drawn = self.search.drawn.choices(point)?;
        let grid = self.arm(arm);
        let repetitions = self.repetitions();
        self.expansion.all_or_none(repetitions.len(), |expansion| {
            for repeated in &repetitions {
                let chosen = grid.iter().map(|(path, choice)| (*path, *choice));
                let chosen = chosen.chain(drawn.iter().map(|(path, choice)| (path.as_str(), choice)));
                let mut chosen: Vec<(&str, &Choice)> = chosen.collect();
                // As in the product: a key inside a group is applied after the group.
                chosen.sort_by_key(|(path, _)| path.split('.').count());
                chosen.extend(
                    repeated
                        .iter()
                        .flat_map(|choice| choice.settings.iter().map(|setting| (setting.path.as_str(), *choice))),
                );
                let settings: Vec<&Setting> = chosen.iter().flat_map(|(_, choice)| &choice.settings).collect();
                expansion.trial(&settings, |column: &Column| -> Option<AxisValue> {
                    chosen.iter().find(|(path, _)| *path == column.path).map(|(_, choice)| choice.shown.clone())
                });
            }
        })
    }

    /// Number of points of the grid, repetitions left out.
    fn arms(&self) -> usize {
        self.factors().map(Factor::len).product()
    }

    fn factors(&self) -> impl Iterator<Item = &'s Factor> + use<'s> {
        let repeated = [self.spec.seeds, self.spec.folds];
        let factors = self.spec.factors.iter().enumerate();
        factors.filter(move |(index, _)| !repeated.contains(&Some(*index))).map(|(_, factor)| factor)
    }

    /// The values at a point of the grid.
    fn arm(&self, arm: usize) -> Vec<(&'s str, &'s Choice)> {
        let factors: Vec<_> = self.factors().collect();
        let mut rest = arm;
        let mut values = Vec::new();
        for factor in factors.iter().rev() {
            let at = rest % factor.len().max(1);
            rest /= factor.len().max(1);
            values.extend(factor.keys.iter().filter_map(|key| Some((key.path.as_str(), key.choices.get(at)?))));
        }
        values.reverse();
        values
    }

    /// The repetitions of each configuration: seeds and folds.
    fn repetitions(&self) -> Vec<Vec<&'s Choice>> {
        self.spec.repetitions(&Entry { place: Place::NOWHERE, values: Vec::new() })
    }

    /// The searches of the points of the grid take turns.
    fn next_arm(&self) -> usize {
        let drawn = self.configurations.iter().filter(|known| known.by != DrawnBy::Include).count();
        drawn % self.arms().max(1)
    }

    /// How many configurations were drawn for a point of the grid.
    fn drawn_in(&self, arm: usize) -> u64 {
        let drawn = |known: &&Configuration| known.arm == arm && known.by != DrawnBy::Include;
        self.configurations.iter().filter(drawn).count() as u64
    }

    fn sampler(&self) -> Sampler {
        match self.search.config.sampler {
            SamplerName::Random => Sampler::Random,
            SamplerName::Sobol => Sampler::Sobol,
            SamplerName::Tpe => Sampler::Tpe { startup: self.search.config.startup },
        }
    }

    fn next_by(&self) -> DrawnBy {
        match self.search.config.sampler {
            SamplerName::Random => DrawnBy::Random,
            SamplerName::Sobol => DrawnBy::Sobol,
            SamplerName::Tpe if self.drawn_in(self.next_arm()) < self.search.config.startup => DrawnBy::Sobol,
            SamplerName::Tpe => DrawnBy::Tpe,
        }
    }

    /// Whether the next configuration depends on results.
    fn needs_results(&self) -> bool {
        let config = &self.search.config;
        let depends = self.next_by() == DrawnBy::Tpe || config.patience.is_some() || config.until.is_some();
        depends && self.lag().ended_before(self.configurations.len() as u64) > 0
    }

    fn is_within_budget(&self) -> bool {
        (self.expansion.trials.len() + self.repetitions().len().max(1)) as u64 <= self.search.config.trials
    }
}

fn differ_in_repetition_alone(a: &Trial, b: &Trial) -> bool {
    let others =
        |trial: &Trial| trial.values.iter().filter(|(key, _)| !Key::is_repetition(key)).cloned().collect::<Vec<_>>();
    others(a) == others(b)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::super::tests::facts;
    use super::*;
    use crate::plan::expand_after;
    use crate::spec::parse;

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

    /// Lower near a learning rate of 1e-4.
    fn value(trial: &Trial) -> f64 {
        (trial.config.lr.ln() - 1e-4_f64.ln()).powi(2) + trial.config.batch_size as f64 / 100.0
    }

    /// Runs a search to its end. Of the running trials, `choose` says which ends next, by its place. Returns the ids, in order.
    fn play(
        text: &str,
        mut choose: impl FnMut(usize) -> usize,
        slots: usize,
        cut: usize,
    ) -> (Vec<TrialId>, &'static str) {
        let spec = spec(text);
        let facts = facts(&spec);
        let mut search = SearchPlan::new(&spec, &facts).unwrap();
        let mut plan = search.plan().unwrap();
        let mut ended: HashSet<TrialId> = HashSet::new();
        let mut drawn: Vec<(Point, Vec<Trial>)> = Vec::new();
        for turn in 0.. {
            if turn == cut {
                // The program dies, and another one begins with what the journal holds.
                search = SearchPlan::new(&spec, &facts).unwrap();
                search.recall(drawn.iter().map(|(point, trials)| (point, trials.as_slice())));
                assert_eq!(search.plan().unwrap().trials, plan.trials);
            }
            let trials = plan.trials.clone();
            let open = || trials.iter().filter(|trial| !ended.contains(&trial.id));
            if open().count() < slots {
                let result = |id: &TrialId| match trials.iter().find(|trial| trial.id == *id) {
                    Some(trial) if ended.contains(id) => SearchResult::Ended(value(trial)),
                    _ => SearchResult::Running,
                };
                match search.next(result) {
                    SearchStep::Suggest(suggestion) => {
                        plan.extend(&suggestion.trials);
                        drawn.push((suggestion.point, suggestion.trials));
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
            let mut search = SearchPlan::new(&spec, &facts).unwrap();
            let mut plan = search.plan().unwrap();
            while let SearchStep::Suggest(suggestion) = search.next(|id| {
                plan.trials
                    .iter()
                    .find(|trial| trial.id == *id)
                    .map_or(SearchResult::Running, |trial| SearchResult::Ended(value(trial)))
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
    fn a_search_ends_early_for_a_reason() {
        let with = |keys: &str| alone(&SWEEP.replace("ahead: 3", keys).replace("trials: 20", "trials: 90"));
        let (ids, why) = with("ahead: 1, until: 4.0");
        assert!(ids.len() < 90 && why == "`search.until` is reached", "{} {why}", ids.len());
        let (ids, why) = with("ahead: 1, patience: 4");
        assert!(ids.len() < 90 && why == "`search.patience` has run out", "{} {why}", ids.len());
        let (ids, why) =
            alone("steps: 100\nspace: {batch_size: [8, 16], lr: [1e-5, 1e-4]}\nexclude: [{batch_size: 16, lr: 1e-5}]");
        assert_eq!((ids.len(), why), (3, "every configuration of the space is there"));
    }

    #[test]
    fn a_search_continues_after_a_change_of_the_file() {
        let (twenty, _) = alone(SWEEP);
        let (more, _) = alone(&SWEEP.replace("trials: 20", "trials: 30"));
        assert_eq!(more[..20], twenty, "a larger budget continues");
        let drawn = |text: &str| {
            let spec = spec(text);
            let facts = facts(&spec);
            let mut search = SearchPlan::new(&spec, &facts).unwrap();
            let mut drawn: Vec<(Point, Vec<Trial>)> = Vec::new();
            while let SearchStep::Suggest(found) = search.next(|_| SearchResult::Failed) {
                drawn.push((found.point, found.trials));
            }
            drawn
        };
        let before = drawn(SWEEP);
        let after = |text: &str| {
            let spec = spec(text);
            let known = before.iter().map(|(point, trials)| (point, trials.as_slice()));
            expand_after(&spec, &facts(&spec), known).unwrap().trials.len()
        };
        assert_eq!(after(SWEEP), 20);
        assert_eq!(after(&SWEEP.replace("1e-2]", "2e-2]")), 5 + 15, "a wider space holds what was drawn");
        assert_eq!(after(&SWEEP.replace("steps: 100", "steps: 200")), 5, "other steps are other trials");
    }

    #[test]
    fn points_of_a_grid_take_turns_and_seeds_repeat() {
        let text = "steps: 50\ngrid: {augmentation: [none, eda]}\nseeds: [1, 2]\nspace: {lr: {log: [1e-6, 1e-3]}}\n\
                    include: [{lr: 1e-4}]\nsearch: {sampler: random, trials: 10}";
        let plan = super::super::tests::plan(text);
        let row =
            |trial: &Trial| trial.values.iter().map(|(_, value)| value.text.clone()).collect::<Vec<_>>().join(" ");
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
}
