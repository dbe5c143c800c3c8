//! The results that a search knows of earlier configurations, and which of them count as good.

use super::space::Point;

/// A configuration that was drawn or included, as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    pub point: Point,
    pub result: SearchResult,
}

/// How far a configuration came. Values are minimised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SearchResult {
    /// It reached its end with this value.
    Ended(f64),
    /// A rule stopped it after this step. The value is the best until then.
    Stopped {
        step: u64,
        value: f64,
    },
    Diverged,
    Failed,
    /// Its end is not known yet.
    Running,
}

impl SearchResult {
    /// Orders results from good to bad. Trials that were stopped follow those that ended, later ones first: values of
    /// different steps are not compared.
    fn rank(&self) -> (u8, u64, f64) {
        match *self {
            // Adding zero turns -0 into 0: they are equal values.
            Self::Ended(value) => (0, 0, value + 0.0),
            Self::Stopped { step, value } => (1, u64::MAX - step, value + 0.0),
            Self::Diverged => (2, 0, 0.0),
            Self::Failed => (3, 0, 0.0),
            Self::Running => (4, 0, 0.0),
        }
    }
}

impl SearchResult {
    /// The result of a configuration from those of its trials, which differ in the seed alone: the mean of those that ended.
    /// Until all are known it runs.
    #[must_use]
    pub fn of_seeds(results: &[Self]) -> Self {
        if results.is_empty() || results.contains(&Self::Running) {
            return Self::Running;
        }
        let ended: Vec<f64> = results
            .iter()
            .filter_map(|result| match result {
                Self::Ended(value) => Some(*value),
                _ => None,
            })
            .collect();
        if !ended.is_empty() {
            return Self::Ended(ended.iter().sum::<f64>() / ended.len() as f64);
        }
        let order = |a: &&Self, b: &&Self| {
            let (a, b) = (a.rank(), b.rank());
            (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2))
        };
        results.iter().min_by(order).copied().unwrap_or(Self::Running)
    }
}

/// What is known of a trial, or of a configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrialResult {
    pub result: SearchResult,
    /// Rungs of early stopping at which it was judged.
    pub rungs: u64,
    /// The judgement that stops it, if there is one. It may run on for a while, or end before it sees the judgement.
    pub outdone: Option<Outdone>,
}

/// A judgement that stops a trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outdone {
    pub step: u64,
    /// The value at that step.
    pub value: f64,
    /// Whether it was made at a rung.
    pub at_rung: bool,
}

impl TrialResult {
    /// Of a trial of `steps` steps: a judgement before its last step counts in place of how it ended.
    #[must_use]
    pub fn judged(self, steps: u64) -> Self {
        match self.outdone {
            Some(Outdone { step, value, .. }) if step < steps => {
                Self { result: SearchResult::Stopped { step, value }, ..self }
            }
            _ => Self { outdone: None, ..self },
        }
    }

    /// Of a configuration, from its trials.
    #[must_use]
    pub fn of_seeds(trials: &[Self]) -> Self {
        let results: Vec<SearchResult> = trials.iter().map(|trial| trial.result).collect();
        let result = SearchResult::of_seeds(&results);
        let running = trials.iter().filter(|trial| trial.result == SearchResult::Running);
        let rungs = running.map(|trial| trial.rungs).min();
        let is_outdone = trials.iter().all(|trial| trial.outdone.is_some_and(|outdone| outdone.at_rung));
        Self {
            result,
            rungs: rungs.or_else(|| trials.iter().map(|trial| trial.rungs).max()).unwrap_or(0),
            outdone: trials.first().and_then(|trial| trial.outdone).filter(|_| is_outdone),
        }
    }
}

/// Largest number of good configurations.
const MOST_GOOD: usize = 25;

/// Indices of the good configurations and of the others, each in order. A tenth of those whose end is known is good.
pub(super) fn split(seen: &[Observation]) -> (Vec<usize>, Vec<usize>) {
    let mut known: Vec<usize> = (0..seen.len()).filter(|&index| seen[index].result != SearchResult::Running).collect();
    let good = known.len().div_ceil(10).min(MOST_GOOD);
    known.sort_by(|&a, &b| {
        let (a, b) = (seen[a].result.rank(), seen[b].result.rank());
        (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2))
    });
    let mut below = known[..good].to_vec();
    below.sort_unstable();
    let above = (0..seen.len()).filter(|index| below.binary_search(index).is_err()).collect();
    (below, above)
}
