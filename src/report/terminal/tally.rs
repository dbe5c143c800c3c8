//! What the live view knows: a fold of events over the plan. Pure.

use std::collections::HashMap;

use crate::analysis::plateau::is_lost;
use crate::analysis::rank::{Level, SEED};
use crate::event::Event;
use crate::report::words;
use crate::trial::{Outcome, Status, Trial, TrialId};

/// A trial as the view names it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// `3e-5 · 6 % · linear · s1`.
    pub name: String,
    /// The same without the seed.
    pub config: String,
    pub steps: u64,
    pub fate: Option<Fate>,
}

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    /// With its best evaluation loss if that may enter a mean.
    Ended {
        best: Option<f64>,
    },
    Failed,
}

/// The trials of a sweep and what became of them so far.
#[derive(Debug, Clone)]
pub struct Tally {
    pub sweep: String,
    entries: Vec<Entry>,
    index: HashMap<TrialId, usize>,
    /// Columns of the longest name.
    width: usize,
    done: usize,
    failed: usize,
    /// Of trials that have not ended.
    steps_open: u64,
}

/// A configuration with at least one seed that ended well.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub config: String,
    pub level: Level,
    /// Trials of this configuration in the plan.
    pub seeds: usize,
}

impl Tally {
    pub fn new(sweep: &str, trials: &[Trial]) -> Self {
        let entry = |trial: &Trial| {
            let of = |seed: bool| {
                let values = trial.values.iter().filter(|(key, _)| seed || key != SEED);
                let text = values.map(|(key, value)| match key.as_str() {
                    SEED => format!("s{}", value.text),
                    _ => words::cell(key, value),
                });
                text.collect::<Vec<_>>().join(" · ")
            };
            let name = of(true);
            let name = if name.is_empty() { trial.id.to_string() } else { name };
            Entry { name, config: of(false), steps: trial.steps, fate: None }
        };
        let entries: Vec<Entry> = trials.iter().map(entry).collect();
        Self {
            sweep: sweep.into(),
            index: trials.iter().enumerate().map(|(index, trial)| (trial.id.clone(), index)).collect(),
            width: entries.iter().map(|entry| console::measure_text_width(&entry.name)).max().unwrap_or(0),
            done: 0,
            failed: 0,
            steps_open: entries.iter().map(|entry| entry.steps).sum(),
            entries,
        }
    }

    /// Takes a fact in.
    pub fn fold(&mut self, event: &Event) {
        let (trial, fate) = match event {
            Event::TrialFinished { trial, outcome, .. } => (trial, Some(Fate::Ended { best: countable(outcome) })),
            Event::TrialFailed { trial, .. } => (trial, Some(Fate::Failed)),
            Event::TrialRequeued { trial } => (trial, None),
            _ => return,
        };
        let Some(entry) = self.index.get(trial).and_then(|&index| self.entries.get_mut(index)) else { return };
        let was = std::mem::replace(&mut entry.fate, fate);
        self.failed = self.failed + usize::from(fate == Some(Fate::Failed)) - usize::from(was == Some(Fate::Failed));
        match (was, fate) {
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

    /// All trials of the plan.
    pub fn total(&self) -> usize {
        self.entries.len()
    }

    /// Trials that ended, failed ones included.
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

    /// Configurations by mean best evaluation loss; those with all seeds first.
    pub fn standings(&self) -> Vec<Standing> {
        let mut groups: Vec<(&str, Vec<f64>, usize)> = Vec::new();
        let mut position: HashMap<&str, usize> = HashMap::new();
        for entry in &self.entries {
            let at = *position.entry(&entry.config).or_insert(groups.len());
            if at == groups.len() {
                groups.push((&entry.config, Vec::new(), 0));
            }
            if let (Some(group), Some(Fate::Ended { best: Some(best) })) = (groups.get_mut(at), entry.fate) {
                group.1.push(best);
            }
            if let Some(group) = groups.get_mut(at) {
                group.2 += 1;
            }
        }
        let standing = |(config, bests, seeds): (&str, Vec<f64>, usize)| {
            Level::of(&bests).map(|level| Standing { config: config.into(), level, seeds })
        };
        let mut standings: Vec<Standing> = groups.into_iter().filter_map(standing).collect();
        let order = |standing: &Standing| standing.level.n < standing.seeds;
        standings.sort_by(|a, b| order(a).cmp(&order(b)).then(a.level.mean.total_cmp(&b.level.mean)));
        standings
    }
}

fn countable(outcome: &Outcome) -> Option<f64> {
    let lost = outcome.status == Status::Diverged || outcome.verdicts.iter().any(|verdict| is_lost(&verdict.id));
    outcome.best_eval_loss.filter(|_| !lost).map(f64::from)
}
