//! What a search has drawn so far, with the names of its keys: what a report needs to know of a search.

use std::collections::HashMap;

use super::space::{Point, Space};
use crate::trial::{DrawnBy, TrialId};

/// A space with its names, and the configurations that were drawn from it.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchHistory {
    pub space: Space,
    /// One for each dimension of the space.
    pub names: Vec<DimensionName>,
    /// In the order of their numbers.
    pub draws: Vec<Draw>,
    /// The most trials that can be drawn, with all seeds and points of the grid; None for infinitely many.
    pub size: Option<u64>,
    /// The keys of a grid beside the space: each of its points has a search of its own.
    pub grid: Vec<String>,
    /// Trials that the search may have in all; None if only its time is bounded.
    pub budget: Option<u64>,
    /// Trials of one configuration: its seeds and folds.
    pub repetitions: u64,
    /// Why the search ended before all of them were drawn, if it did.
    pub ended: Option<String>,
}

/// How the sweep file calls a dimension.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DimensionName {
    /// Dotted. That of a key inside a value, such as `cycles` of a scheduler, is `scheduler.cycles`.
    pub path: String,
    /// The values of a list, whose indices are the coordinates. Empty for a range.
    pub values: Vec<String>,
    /// The greatest number that the key can have, or the greatest fraction; None if there is none.
    pub greatest: Option<f64>,
}

/// A configuration of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Draw {
    /// Counts the configurations of the sweep from 0.
    pub number: u64,
    pub by: DrawnBy,
    /// None where values of `include` cannot be drawn.
    pub point: Option<Point>,
    /// One for each seed.
    pub trials: Vec<TrialId>,
}

impl SearchHistory {
    /// The most trials that can still be drawn, in whole configurations; None if only the time of the search bounds them.
    #[must_use]
    pub fn undrawn(&self) -> Option<u64> {
        if self.ended.is_some() {
            return Some(0);
        }
        let drawn = |counts: fn(&Draw) -> bool| -> u64 {
            self.draws.iter().filter(|draw| counts(draw)).map(|draw| draw.trials.len() as u64).sum()
        };
        let whole = |trials: u64| trials - trials % self.repetitions.max(1);
        let of_budget = self.budget.map(|budget| whole(budget.saturating_sub(drawn(|_| true))));
        let of_space = self.size.map(|size| size.saturating_sub(drawn(|draw| draw.by != DrawnBy::Include)));
        of_budget.into_iter().chain(of_space).min()
    }

    /// The draw of each trial.
    #[must_use]
    pub fn by_trial(&self) -> HashMap<&TrialId, &Draw> {
        self.draws.iter().flat_map(|draw| draw.trials.iter().map(move |trial| (trial, draw))).collect()
    }
}
