//! The state of the live view: a fold of events over the plan. Pure.

use std::borrow::Borrow;
use std::collections::HashMap;

use crate::analysis::groups::Repetition;
use crate::analysis::study::Level;
use crate::event::Event;
use crate::report::format;
use crate::trial::{BestScore, Key, Metric, Trial, TrialId};

/// A trial of the plan.
#[derive(Debug, Clone)]
pub struct Entry {
    /// `3e-5 · 6 % · linear · s1`.
    pub name: String,
    /// The name without the seed.
    pub config: String,
    pub steps: u64,
    pub end: Option<End>,
}

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    /// With its best evaluation, unless the trial failed to learn.
    Finished {
        best: Option<BestScore>,
    },
    Failed,
}

/// The trials of a sweep and how they have ended so far.
#[derive(Debug, Clone)]
pub struct Tally {
    pub sweep: String,
    entries: Vec<Entry>,
    index: HashMap<TrialId, usize>,
    /// Columns of the longest name.
    width: usize,
    done: usize,
    failed: usize,
    /// Steps of trials that have not ended.
    steps_open: u64,
    repetition: Repetition,
    /// Trials that there will be, if more than are known.
    expected: usize,
}

/// A configuration with at least one successful seed.
#[derive(Debug, Clone, PartialEq)]
pub struct RankedConfiguration {
    pub config: String,
    pub metric: Metric,
    pub best: Level,
    /// What its trials differ in.
    pub repetition: Repetition,
    /// Trials of this configuration in the plan.
    pub seeds: usize,
}

impl Tally {
    pub fn new(sweep: &str, trials: &[impl Borrow<Trial>]) -> Self {
        let trials: Vec<&Trial> = trials.iter().map(Borrow::borrow).collect();
        let entries: Vec<Entry> = trials.iter().map(|trial| entry(trial)).collect();
        Self {
            sweep: sweep.into(),
            index: trials.iter().enumerate().map(|(index, trial)| (trial.id.clone(), index)).collect(),
            width: entries.iter().map(|entry| console::measure_text_width(&entry.name)).max().unwrap_or(0),
            done: 0,
            failed: 0,
            repetition: Repetition::by(|key| trials.iter().any(|trial| trial.value(key.path()).is_some())),
            steps_open: entries.iter().map(|entry| entry.steps).sum(),
            expected: 0,
            entries,
        }
    }

    /// Sets the number of trials that there will be in all.
    pub fn expect(&mut self, trials: usize) {
        self.expected = trials;
    }

    fn add(&mut self, trial: &Trial) {
        if self.index.contains_key(&trial.id) {
            return;
        }
        let entry = entry(trial);
        self.width = self.width.max(console::measure_text_width(&entry.name));
        self.steps_open += entry.steps;
        self.index.insert(trial.id.clone(), self.entries.len());
        self.entries.push(entry);
    }

    /// Updates the state by an event.
    pub fn fold(&mut self, event: &Event) {
        if let Event::ConfigurationSuggested { trials, .. } = event {
            return trials.iter().for_each(|trial| self.add(trial));
        }
        let (trial, end) = match event {
            Event::TrialFinished { trial, outcome, .. } => (trial, Some(End::Finished { best: outcome.usable() })),
            Event::TrialFailed { trial, .. } => (trial, Some(End::Failed)),
            Event::TrialRequeued { trial } => (trial, None),
            _ => return,
        };
        let Some(entry) = self.index.get(trial).and_then(|&index| self.entries.get_mut(index)) else { return };
        let was = std::mem::replace(&mut entry.end, end);
        self.failed = self.failed + usize::from(end == Some(End::Failed)) - usize::from(was == Some(End::Failed));
        match (was, end) {
            (None, Some(_)) => {
                self.done += 1;
                self.steps_open -= entry.steps;
            }
            (Some(_), None) => {
                self.done -= 1;
                self.steps_open += entry.steps;
            }
            _ => {}
        }
    }

    pub fn entry(&self, trial: &TrialId) -> Option<&Entry> {
        self.index.get(trial).and_then(|&index| self.entries.get(index))
    }

    /// The number of trials in the plan, of a search also those that are not drawn yet.
    pub fn total(&self) -> usize {
        self.entries.len().max(self.expected)
    }

    /// Trials that have ended, including failed ones.
    pub fn done(&self) -> usize {
        self.done
    }

    pub fn failed(&self) -> usize {
        self.failed
    }

    /// Steps of trials that have not ended.
    pub fn steps_open(&self) -> u64 {
        self.steps_open
    }

    /// Columns of the longest name, at most `most`.
    pub fn name_width(&self, most: usize) -> usize {
        self.width.min(most)
    }

    /// Configurations by the mean of their best scores. Those whose seeds were all successful come first.
    pub fn ranking(&self) -> Vec<RankedConfiguration> {
        let mut metric = Metric::default();
        let mut groups: Vec<(&str, Vec<f64>, usize)> = Vec::new();
        let mut position: HashMap<&str, usize> = HashMap::new();
        for entry in &self.entries {
            let at = *position.entry(&entry.config).or_insert(groups.len());
            if at == groups.len() {
                groups.push((&entry.config, Vec::new(), 0));
            }
            if let (Some(group), Some(End::Finished { best: Some(best) })) = (groups.get_mut(at), entry.end) {
                metric = best.metric;
                group.1.push(f64::from(best.value));
            }
            if let Some(group) = groups.get_mut(at) {
                group.2 += 1;
            }
        }
        let ranked = |(config, bests, seeds): (&str, Vec<f64>, usize)| {
            Level::of(&bests).map(|best| {
                let repetition = self.repetition;
                RankedConfiguration { config: config.into(), metric, best, repetition, seeds }
            })
        };
        let mut ranking: Vec<RankedConfiguration> = groups.into_iter().filter_map(ranked).collect();
        let order = |ranked: &RankedConfiguration| ranked.best.n < ranked.seeds;
        ranking.sort_by(|a, b| {
            order(a).cmp(&order(b)).then(metric.cost(a.best.mean).total_cmp(&metric.cost(b.best.mean)))
        });
        ranking
    }
}

fn entry(trial: &Trial) -> Entry {
    let of = |repeated: bool| {
        let values = trial.values.iter().filter(|(key, _)| repeated || !Key::is_repetition(key));
        let text = values.map(|(key, value)| match Key::of(key) {
            Some(Key::Seed) => format!("s{}", value.text),
            Some(Key::Fold) => format!("f{}", value.text),
            _ => format::value_cell(key, value),
        });
        text.collect::<Vec<_>>().join(" · ")
    };
    let name = of(true);
    let name = if name.is_empty() { trial.id.to_string() } else { name };
    Entry { name, config: of(false), steps: trial.steps, end: None }
}
