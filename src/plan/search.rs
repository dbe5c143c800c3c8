//! The trials of a search: those of `include`, then one drawn configuration after the other. Pure.
//!
//! Which configuration is next is a function of the sweep file and of the results that it may see ([`Lag`]). It does not depend
//! on the number of slots, on the order in which trials end, or on interruptions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::expand::{Column, Expansion};
use super::{Facts, Plan, idle, task};
use crate::event::{Event, KnownResult};
use crate::search::{
    Draw, Lag, Observation, Point, Sampler, SearchHistory, SearchResult, SearchSettings, TrialResult, propose,
};
use crate::spec::{
    AshaOrder, Choice, Entry, Evaluation, Factor, Place, Problem, Problems, SamplerName, SearchSpec, Setting,
    SweepSpec, place_of,
};
use crate::trial::{AxisValue, DrawnBy, Key, Metric, Trial, TrialConfig, TrialId};

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
    /// Of each trial.
    steps: Vec<u64>,
}

/// A configuration that the sweep file would not give after those before it, with the results as they are now.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    pub number: u64,
    pub recorded: Vec<TrialId>,
    /// None: the search would wait or end.
    pub expected: Option<Vec<TrialId>>,
}

/// A search with the configurations so far.
#[derive(Debug)]
pub struct SearchPlan<'s> {
    spec: &'s SweepSpec,
    search: &'s SearchSpec,
    expansion: Expansion<'s>,
    /// The fixed values of the file, as JSON.
    base: Value,
    configurations: Vec<Configuration>,
    /// Number of configurations of `include`.
    included: usize,
    /// Number of configurations that stand: those, and what earlier runs have drawn.
    recalled: usize,
    facts: &'s Facts,
    /// What other sweeps have measured.
    known: Vec<KnownResult>,
    /// How many configurations were drawn for each point of the grid.
    drawn: Vec<u64>,
    /// The points of the grid that have no configuration left.
    used_up: BTreeSet<usize>,
}

impl<'s> SearchPlan<'s> {
    /// The configurations of `include`, those that earlier runs have suggested, and those that are drawn without results.
    /// `known`: what other sweeps have measured. None if the sweep draws nothing.
    ///
    /// A configuration that lies outside the space of the sweep file, or has other values for what is not drawn, is left out.
    pub fn new<'d>(
        spec: &'s SweepSpec,
        facts: &'s Facts,
        known: &[KnownResult],
        suggested: impl IntoIterator<Item = (u64, DrawnBy, &'d [Trial])>,
    ) -> Option<Self> {
        let mut plan = Self { known: known.to_vec(), ..Self::bare(spec, facts)? };
        plan.include();
        plan.included = plan.configurations.len();
        for (_, by, trials) in suggested {
            if plan.is_within_budget() {
                plan.recall(by, trials);
            }
        }
        plan.recalled = plan.configurations.len();
        plan.draw_first();
        Some(plan)
    }

    /// Draws what needs no results.
    fn draw_first(&mut self) {
        while !self.needs_results() && self.is_within_budget() {
            if self.draw(self.configurations.len() as u64, &[]).is_none() && self.next_arm().is_none() {
                break;
            }
        }
    }

    /// A search without any configuration.
    fn bare(spec: &'s SweepSpec, facts: &'s Facts) -> Option<Self> {
        let search = spec.search.as_ref()?;
        let (expansion, configurations) = (Expansion::new(spec, facts), Vec::new());
        Some(Self {
            spec,
            search,
            expansion,
            base: serde_json::to_value(&spec.base).ok()?,
            configurations,
            included: 0,
            recalled: 0,
            facts,
            known: Vec::new(),
            drawn: Vec::new(),
            used_up: BTreeSet::new(),
        })
    }

    /// The plan as far as it is known.
    ///
    /// # Errors
    /// Values of `include` that do not fit their data or checkpoint, or a search without a single valid configuration.
    pub fn plan(&self) -> Result<Plan, Problems> {
        let mut expansion = Expansion::new(self.spec, self.facts);
        expansion.include();
        self.unlike_losses().into_iter().for_each(|problem| expansion.problem(problem));
        if self.expansion.trials.is_empty() {
            self.add_unfit(&mut expansion);
        }
        let included = expansion.trials.len();
        expansion.trials.extend_from_slice(&self.expansion.trials[included.min(self.expansion.trials.len())..]);
        let mut plan = expansion.finish()?;
        if let Some(unfit) = &self.expansion.unfit {
            let what = format!("some configurations cannot be trained, and are not drawn: {}", unfit.what());
            plan.warnings.push(self.spec.warning(&Problem::new(unfit.place(), what)));
        }
        let trials = std::mem::take(&mut plan.trials);
        // `include` may give values in any order. [`Plan::extend`] puts them in order.
        plan.axes.iter_mut().filter(|axis| axis.drawn).for_each(|axis| axis.values.clear());
        plan.extend(&trials);
        plan.search = Some(self.history());
        let all = self.budget().unwrap_or(u64::MAX);
        plan.warnings.extend(idle::warnings(&self.spec.run.stop, &plan.trials, all, self.facts));
        Ok(plan)
    }

    /// Values that give configurations different losses, where something compares losses. Draws leave such configurations
    /// out without a word, so they are found here.
    fn unlike_losses(&self) -> Vec<Problem> {
        let apply = |start: &TrialConfig, settings: &[&Setting]| {
            let mut config = start.clone();
            // Settings that cannot be applied are reported when the file is read.
            for setting in settings {
                drop(setting.apply(&mut config));
            }
            config
        };
        let keys = self.spec.factors.iter().chain(&self.search.drawn.factors).flat_map(|factor| &factor.keys);
        let of_loss: Vec<_> = keys.filter(|key| key.path.split('.').next() == Some("loss")).collect();
        let firsts = of_loss.iter().filter_map(|key| key.choices.first()).flat_map(|choice| &choice.settings);
        let first = apply(&self.spec.base, &firsts.collect::<Vec<_>>());
        let of_keys = of_loss.iter().flat_map(|key| &key.choices).map(|choice| {
            let settings: Vec<&Setting> = choice.settings.iter().collect();
            (apply(&first, &settings), settings)
        });
        let of_include =
            self.spec.include.iter().map(|entry| (apply(&self.spec.base, &entry.settings()), entry.settings()));
        let problem = |(config, settings): (TrialConfig, Vec<&Setting>)| {
            let mistake = task::unlike_losses(&first, &config, &self.spec.run.stop)?;
            let place = place_of(settings.into_iter(), mistake.key).unwrap_or(Place::NOWHERE);
            Some(mistake.at(place))
        };
        of_keys.chain(of_include).filter_map(problem).collect()
    }

    /// Number of trials that the search may have in all. None if the file gives a time alone.
    fn budget(&self) -> Option<u64> {
        let config = &self.search.config;
        let is_limit = config.time.is_some() && config.trials == self.spec.run.max_trials as u64;
        (!is_limit).then_some(config.trials)
    }

    fn history(&self) -> SearchHistory {
        let draw = |(number, known): (usize, &Configuration)| Draw {
            number: number as u64,
            by: known.by,
            point: known.point.clone(),
            trials: known.trials.clone(),
        };
        let repetitions = self.repetitions().len().max(1) as u64;
        let each = self.arms() as u64 * repetitions;
        SearchHistory {
            size: self.search.drawn.space.size().map(|size| size.saturating_mul(each)),
            grid: self.factors().flat_map(|factor| &factor.keys).map(|key| key.path.clone()).collect(),
            budget: self.budget(),
            repetitions,
            ended: None,
            space: self.search.drawn.space.clone(),
            names: self.search.drawn.names(),
            draws: self.configurations.iter().enumerate().map(draw).collect(),
        }
    }

    /// Adds a configuration of an earlier run. The space may have changed since: its values decide, not its point.
    fn recall(&mut self, by: DrawnBy, trials: &[Trial]) {
        let ids: Vec<TrialId> = trials.iter().map(|trial| trial.id.clone()).collect();
        let is_there = ids.iter().any(|id| self.expansion.holds(id));
        let Some(first) = trials.first().filter(|_| !is_there) else { return };
        let Some(point) = self.point_of(first) else { return };
        let (first, arms) = (self.next_arm().unwrap_or(0), self.arms());
        for arm in (0..arms).map(|arm| (first + arm) % arms) {
            let before = self.expansion.trials.len();
            match self.add(arm, &point) {
                // The seeds may have changed since.
                Some(added) if added.iter().any(|id| ids.contains(id)) => {
                    return self.push(arm, by, Some(point), before);
                }
                Some(_) => self.expansion.remove_from(before),
                None => {}
            }
        }
    }

    /// All configurations that were drawn.
    #[must_use]
    pub fn suggestions(&self) -> Vec<Suggestion> {
        let mut trials = self.expansion.trials.as_slice();
        let mut suggestions = Vec::new();
        for (known, number) in self.configurations.iter().zip(0..) {
            let (own, rest) = trials.split_at(known.trials.len());
            trials = rest;
            if let (Some(point), true) = (&known.point, known.by != DrawnBy::Include) {
                suggestions.push(Suggestion { number, by: known.by, point: point.clone(), trials: own.to_vec() });
            }
        }
        suggestions
    }

    /// The values of a trial as a point of the space; None if it lies outside.
    fn point_of(&self, trial: &Trial) -> Option<Point> {
        let config = serde_json::to_value(&trial.config).ok()?;
        self.search.drawn.point(|path| trial.value(path).map(|shown| &shown.value), &config, &self.base)
    }

    /// Adds the configuration of the trials from `first` on.
    fn push(&mut self, arm: usize, by: DrawnBy, point: Option<Point>, first: usize) {
        let trials = &self.expansion.trials[first..];
        let (trials, steps) = trials.iter().map(|trial| (trial.id.clone(), trial.steps)).unzip();
        self.configurations.push(Configuration { arm, by, point, trials, steps });
        self.count();
    }

    /// Counts the configuration that was added last.
    fn count(&mut self) {
        let Some(last) = self.configurations.last().filter(|last| last.by != DrawnBy::Include) else { return };
        if self.drawn.len() <= last.arm {
            self.drawn.resize(last.arm + 1, 0);
        }
        self.drawn[last.arm] += 1;
    }

    /// Removes all configurations from this index on.
    fn truncate(&mut self, configurations: usize) {
        for removed in self.configurations.drain(configurations..).filter(|known| known.by != DrawnBy::Include) {
            self.drawn[removed.arm] -= 1;
        }
        self.used_up.clear();
        let kept: usize = self.configurations.iter().map(|known| known.trials.len()).sum();
        self.expansion.remove_from(kept);
    }

    /// Compares what was drawn with what the sweep file gives, each after those recorded before it, and counts what was compared.
    /// What was drawn `earlier`, by another file, is not.
    pub fn differences<'d>(
        &mut self,
        earlier: impl IntoIterator<Item = (u64, DrawnBy, &'d [Trial])>,
        suggested: impl IntoIterator<Item = (u64, DrawnBy, &'d [Trial])>,
        result: impl Fn(&TrialId) -> TrialResult,
    ) -> (usize, Vec<Difference>) {
        self.truncate(self.included);
        for (_, by, trials) in earlier {
            self.recall(by, trials);
        }
        let (mut compared, mut differences) = (0, Vec::new());
        for (_, by, trials) in suggested {
            let recorded: Vec<TrialId> = trials.iter().map(|trial| trial.id.clone()).collect();
            // An earlier configuration is recorded again when it gets more seeds.
            if recorded.iter().all(|id| self.expansion.holds(id)) {
                continue;
            }
            compared += 1;
            let before = self.configurations.len();
            let number = before as u64;
            let expected = match self.next(&result) {
                SearchStep::Suggest(suggestion) => {
                    Some(suggestion.trials.iter().map(|trial| trial.id.clone()).collect())
                }
                SearchStep::Wait | SearchStep::Complete | SearchStep::Ended(_) => None,
            };
            if expected.as_ref() != Some(&recorded) {
                self.truncate(before);
                self.recall(by, trials);
                differences.push(Difference { number, recorded, expected });
            }
        }
        (compared, differences)
    }

    /// Number of configurations so far, which is the number of the next one.
    #[must_use]
    pub fn drawn_so_far(&self) -> usize {
        self.configurations.len()
    }

    /// What differs in how the configurations are drawn from the sweep of the last run, and the number from which on they follow
    /// this one. None if nothing does.
    #[must_use]
    pub fn changed(&self, last: &SweepSpec) -> Option<(Vec<&'static str>, usize)> {
        let (old, new) = (&last.search.as_ref()?.config, &self.search.config);
        let changes = [
            ("space", last.space_text() != self.spec.space_text()),
            ("sampler", old.sampler != new.sampler),
            ("seed", old.seed != new.seed),
            ("startup", old.startup != new.startup),
            ("ahead", old.ahead != new.ahead),
            ("at", old.at != new.at),
            ("from", old.from != new.from),
            ("seeds", seeds(last) != seeds(self.spec)),
            ("exclude", excluded(last) != excluded(self.spec)),
        ];
        let changed: Vec<&str> =
            changes.into_iter().filter(|(_, is_changed)| *is_changed).map(|(key, _)| key).collect();
        let draws_more = self.recalled < self.configurations.len() || self.is_within_budget();
        (!changed.is_empty() && draws_more).then_some((changed, self.recalled))
    }

    /// Number of earlier draws that the search still has.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.recalled - self.included
    }

    /// Forgets what earlier runs have drawn.
    pub fn forget(&mut self) {
        self.truncate(self.included);
        self.draw_first();
    }

    /// What comes next. `result`: of each trial, where lower values are better.
    pub fn next(&mut self, result: impl Fn(&TrialId) -> TrialResult) -> SearchStep {
        if !self.is_within_budget() {
            return SearchStep::Complete;
        }
        let number = self.configurations.len() as u64;
        let Some(results) = self.shown(number, result) else { return SearchStep::Wait };
        let ended = results.get(..self.lag().ended_before(number) as usize).unwrap_or_default();
        if let Some(why) = self.has_ended(ended) {
            return SearchStep::Ended(why);
        }
        while self.next_arm().is_some() {
            if let Some(suggestion) = self.draw(number, &results) {
                return SearchStep::Suggest(suggestion);
            }
        }
        SearchStep::Ended(match self.expansion.unfit {
            Some(_) => "every configuration of the space that can be trained is there",
            None => "every configuration of the space is there",
        })
    }

    /// What the next configuration sees of those before it: nothing where it depends on no result. None if it waits.
    fn shown(&self, number: u64, result: impl Fn(&TrialId) -> TrialResult) -> Option<Vec<SearchResult>> {
        if !self.needs_results() {
            return Some(Vec::new());
        }
        let lag = self.lag();
        let of = |known: &Configuration| {
            let trials = known.trials.iter().zip(&known.steps).map(|(trial, steps)| result(trial).judged(*steps));
            TrialResult::of_seeds(&trials.collect::<Vec<_>>())
        };
        let shown = self.configurations.iter().zip(0..).map(|(known, earlier)| {
            // What is too near to be seen is not looked up.
            let is_seen = number - earlier >= lag.ahead;
            if is_seen { lag.shown(earlier, number, of(known)) } else { Some(SearchResult::Running) }
        });
        shown.collect()
    }

    /// What the next configuration of a point of the grid knows of those before it. `results`: of the first configurations; the
    /// others are taken to be running.
    fn seen(&self, arm: usize, results: &[SearchResult]) -> Vec<Observation> {
        let seen = |(index, known): (usize, &Configuration)| {
            let result = results.get(index).copied().unwrap_or(SearchResult::Running);
            let point = known.point.clone().filter(|_| known.arm == arm)?;
            Some(Observation { point, result })
        };
        let known = self.known.iter().filter(|known| known.arm == arm);
        let known =
            known.map(|known| Observation { point: known.point.clone(), result: SearchResult::Ended(known.value) });
        known.chain(self.configurations.iter().enumerate().filter_map(seen)).collect()
    }

    /// The evaluation of a trial that counts.
    #[must_use]
    pub fn at(&self) -> Evaluation {
        self.search.config.at
    }

    /// Whether all trials are drawn.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.is_within_budget()
    }

    /// A run starts no trial after this time.
    #[must_use]
    pub fn time(&self) -> Option<Duration> {
        self.search.config.time.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// How many places before a trial the trials lie that may have ended when it is judged.
    #[must_use]
    pub fn distance(&self) -> usize {
        usize::try_from(self.search.config.ahead).unwrap_or(usize::MAX).saturating_mul(self.repetitions().len().max(1))
    }

    /// What decides the configurations from now on, for the journal.
    #[must_use]
    pub fn opened(&self) -> Event {
        let (from, space) = (self.search.config.from.clone(), self.spec.space_text());
        let hash = blake3::hash(self.spec.drawing_rules().as_bytes());
        Event::SearchOpened { from, space, known: self.known.clone(), rules: hash.to_hex()[..12].to_owned() }
    }

    /// Rungs count if early stopping compares trials in the order of the plan.
    fn lag(&self) -> Lag {
        let rule = self.spec.run.stop.asha.as_ref().filter(|rule| rule.order != Some(AshaOrder::Arrival));
        let most = self.expansion.trials.iter().map(|trial| trial.steps).max().unwrap_or(0);
        let is_before_end =
            |rung: &usize| rule.is_some_and(|rule| rule.rung_step(*rung).is_some_and(|step| step < most));
        Lag { ahead: self.search.config.ahead, rungs: (0..64).take_while(is_before_end).count() as u64 }
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
            let point = self.point_of(first);
            let (ids, steps) = these.iter().map(|trial| (trial.id.clone(), trial.steps)).unzip();
            let arm = (0..self.arms()).find(|arm| self.is_in_arm(first, *arm)).unwrap_or(usize::MAX);
            self.configurations.push(Configuration { arm, by: DrawnBy::Include, point, trials: ids, steps });
        }
    }

    fn is_in_arm(&self, trial: &Trial, arm: usize) -> bool {
        self.arm(arm).iter().all(|(path, choice)| trial.value(path).is_some_and(|value| *value == choice.shown))
    }

    /// The next configuration of the point of the grid whose turn it is. `results`: of the first ones. None if that point has none
    /// left: the next call is the turn of another one.
    fn draw(&mut self, number: u64, results: &[SearchResult]) -> Option<Suggestion> {
        let arm = self.next_arm()?;
        let by = self.next_by(arm);
        let seen = if by == DrawnBy::Tpe { self.seen(arm, results) } else { Vec::new() };
        let settings = SearchSettings { sampler: self.sampler(arm), seed: self.search.config.seed };
        let space = &self.search.drawn.space;
        let place = self.drawn_in(arm);
        let mut drawn = None;
        let before = self.expansion.trials.len();
        let _ = propose(space, settings, place, &seen, |point| {
            drawn = self.add_new(arm, point);
            drawn.is_none()
        });
        let Some(point) = drawn else {
            self.used_up.insert(arm);
            return None;
        };
        self.push(arm, by, Some(point.clone()), before);
        let trials = self.expansion.trials[before..].to_vec();
        Some(Suggestion { number, by, point, trials })
    }

    /// Adds the trials of a point. Returns the point that [`Self::recall`] finds for them, which is another one where the range
    /// of a value holds another value, so that a continued search sees what it saw before. None if nothing was added: also if
    /// another sweep has measured the configuration.
    fn add_new(&mut self, arm: usize, point: &Point) -> Option<Point> {
        let before = self.expansion.trials.len();
        self.add(arm, point)?;
        let found = self.expansion.trials.get(before).and_then(|first| self.point_of(first));
        let point = found.unwrap_or_else(|| point.clone());
        if self.known.iter().any(|known| known.arm == arm && known.point == point) {
            self.expansion.remove_from(before);
            return None;
        }
        Some(point)
    }

    /// Adds the trials of a point, one for each seed. None if one of them is there already, is excluded, or does not fit its
    /// data.
    fn add(&mut self, arm: usize, point: &Point) -> Option<Vec<TrialId>> {
        let drawn = self.search.drawn.choices(point)?;
        let (grid, repetitions) = (self.arm(arm), self.repetitions());
        self.expansion.all_or_none(repetitions.len(), |expansion| add_trials(expansion, &grid, &drawn, &repetitions))
    }

    /// The mistakes of the first configuration, where none that could be drawn fits its data and checkpoint.
    fn add_unfit(&self, expansion: &mut Expansion<'s>) {
        let settings = SearchSettings { sampler: Sampler::Random, seed: self.search.config.seed };
        let Some(point) = propose(&self.search.drawn.space, settings, 0, &[], |_| false) else { return };
        let Some(drawn) = self.search.drawn.choices(&point) else { return };
        let before = expansion.trials.len();
        add_trials(expansion, &self.arm(0), &drawn, &self.repetitions());
        expansion.remove_from(before);
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

    /// The searches of the points of the grid take turns. None if all are used up.
    fn next_arm(&self) -> Option<usize> {
        (0..self.arms()).filter(|arm| !self.used_up.contains(arm)).min_by_key(|arm| self.drawn_in(*arm))
    }

    /// How many configurations were drawn for a point of the grid.
    fn drawn_in(&self, arm: usize) -> u64 {
        self.drawn.get(arm).copied().unwrap_or(0)
    }

    fn sampler(&self, arm: usize) -> Sampler {
        match self.search.config.sampler {
            SamplerName::Random => Sampler::Random,
            SamplerName::Sobol => Sampler::Sobol,
            SamplerName::Tpe => Sampler::Tpe { startup: self.startup(arm) },
        }
    }

    /// Configurations of a point of the grid before the first that learns. Those of other sweeps count.
    fn startup(&self, arm: usize) -> u64 {
        let known = self.known.iter().filter(|known| known.arm == arm).count() as u64;
        self.search.config.startup.saturating_sub(known)
    }

    fn next_by(&self, arm: usize) -> DrawnBy {
        match self.search.config.sampler {
            SamplerName::Random => DrawnBy::Random,
            SamplerName::Sobol => DrawnBy::Sobol,
            SamplerName::Tpe if self.drawn_in(arm) < self.startup(arm) => DrawnBy::Sobol,
            SamplerName::Tpe => DrawnBy::Tpe,
        }
    }

    /// Whether the next configuration depends on results.
    fn needs_results(&self) -> bool {
        let config = &self.search.config;
        let is_learned = self.next_arm().is_some_and(|arm| self.next_by(arm) == DrawnBy::Tpe);
        let depends = is_learned || config.patience.is_some() || config.until.is_some();
        let (lag, number) = (self.lag(), self.configurations.len() as u64);
        depends && (lag.shows_rung(0, number, 0) || lag.shows_end(0, number))
    }

    fn is_within_budget(&self) -> bool {
        (self.expansion.trials.len() + self.repetitions().len().max(1)) as u64 <= self.search.config.trials
    }
}

/// What other sweeps have measured of configurations of a search: `measured` holds their trials, each with its value, where
/// lower is better. Trials count that differ from those of the search in the seed alone; a configuration has the mean of its.
#[must_use]
pub fn known_results<'t>(
    spec: &SweepSpec,
    facts: &Facts,
    measured: impl IntoIterator<Item = (&'t Trial, f64)>,
) -> Vec<KnownResult> {
    let mut values: BTreeMap<String, (usize, Point, Vec<f64>)> = BTreeMap::new();
    for (trial, value) in measured {
        let mut alike = spec.clone();
        // Neither seeds nor the sweep's own trials.
        alike.base.seed = trial.config.seed;
        alike.without_repetitions();
        let Some(mut search) = SearchPlan::bare(&alike, facts) else { continue };
        let Some(point) = search.point_of(trial) else { continue };
        let arm = (0..search.arms()).find(|arm| {
            let added = search.add(*arm, &point);
            search.expansion.remove_from(0);
            added.is_some_and(|ids| ids == [trial.id.clone()])
        });
        if let Some(arm) = arm {
            let entry = values.entry(format!("{arm} {point:?}"));
            entry.or_insert_with(|| (arm, point, Vec::new())).2.push(value);
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    values.into_values().map(|(arm, point, values)| KnownResult { arm, point, value: mean(&values) }).collect()
}

/// Adds a trial for each repetition of a configuration: its values on the `grid`, and those that were `drawn`.
fn add_trials(
    expansion: &mut Expansion<'_>,
    grid: &[(&str, &Choice)],
    drawn: &[(String, Choice)],
    repetitions: &[Vec<&Choice>],
) {
    for repeated in repetitions {
        let drawn = drawn.iter().map(|(path, choice)| (path.as_str(), choice));
        let mut chosen: Vec<(&str, &Choice)> = grid.iter().copied().chain(drawn).collect();
        // As in the product: a key inside a group is applied after the group.
        chosen.sort_by_key(|(path, _)| path.split('.').count());
        chosen.extend(
            repeated.iter().flat_map(|choice| choice.settings.iter().map(|setting| (setting.path.as_str(), *choice))),
        );
        let settings: Vec<&Setting> = chosen.iter().flat_map(|(_, choice)| &choice.settings).collect();
        expansion.trial(&settings, |column: &Column| -> Option<AxisValue> {
            chosen.iter().find(|(path, _)| *path == column.path).map(|(_, choice)| choice.shown.clone())
        });
    }
}

/// The seeds of each configuration.
fn seeds(spec: &SweepSpec) -> Vec<&Value> {
    let keys = spec.seeds.into_iter().flat_map(|index| &spec.factors[index].keys);
    keys.flat_map(|key| &key.choices).map(|choice| &choice.shown.value).collect()
}

fn excluded(spec: &SweepSpec) -> Vec<Vec<(String, Value)>> {
    let value = |(path, choice): &'_ (String, Choice)| (path.clone(), choice.shown.value.clone());
    spec.exclude.iter().map(|entry| entry.values.iter().map(value).collect()).collect()
}

fn differ_in_repetition_alone(a: &Trial, b: &Trial) -> bool {
    let others =
        |trial: &Trial| trial.values.iter().filter(|(key, _)| !Key::is_repetition(key)).cloned().collect::<Vec<_>>();
    others(a) == others(b)
}

#[cfg(test)]
mod tests;
