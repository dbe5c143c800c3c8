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
}

/// How the sweep file calls a dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DimensionName {
    /// Dotted. That of a key inside a value, such as `cycles` of a scheduler, is `scheduler.cycles`.
    pub path: String,
    /// The values of a list, whose indices are the coordinates. Empty for a range.
    pub values: Vec<String>,
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
    /// The most trials that can still be drawn; None for infinitely many.
    #[must_use]
    pub fn undrawn(&self) -> Option<u64> {
        let drawn = self.draws.iter().filter(|draw| draw.by != DrawnBy::Include).map(|draw| draw.trials.len() as u64);
        self.size.map(|size| size.saturating_sub(drawn.sum()))
    }

    /// The draw of each trial.
    #[must_use]
    pub fn by_trial(&self) -> HashMap<&TrialId, &Draw> {
        self.draws.iter().flat_map(|draw| draw.trials.iter().map(move |trial| (trial, draw))).collect()
    }
}
