//! What lies beyond the best value of a numeric axis, if that is its least or its greatest.
//!
//! The summary's advice and `plateau refine` both widen an axis by what is found here, so that they agree.

use super::groups::LEARNING_RATE;
use crate::trial::{Axis, rounded_text};

/// Factors by which an axis is widened.
const FACTORS: [f64; 2] = [3.0, 10.0];

/// The values of an axis beyond an edge.
#[derive(Debug, Clone, PartialEq)]
pub struct Beyond {
    /// Beyond the greatest value, else below the least.
    pub upper: bool,
    /// In order. Empty where the axis can hold nothing there.
    pub values: Vec<f64>,
}

/// What lies beyond `best`, among the numbers that were tried. None if `best` is no edge, or nothing lies beyond it: below zero, or
/// above 1 for a share. Of two values one is always the best, which says something of a learning rate alone.
pub fn beyond(axis: &Axis, tried: &[f64], best: f64) -> Option<Beyond> {
    let mut distinct = tried.to_vec();
    distinct.sort_by(f64::total_cmp);
    distinct.dedup();
    let (least, greatest) = (*distinct.first()?, *distinct.last()?);
    let upper = best >= greatest;
    let enough = if axis.key == LEARNING_RATE { 2 } else { 3 };
    if distinct.len() < enough || best <= 0.0 || !(upper || best <= least) {
        return None;
    }
    let is_whole = tried.iter().all(|number| *number >= 1.0 && number.fract() == 0.0);
    // Numbers above the greatest fraction are steps.
    let most = axis.greatest.filter(|most| greatest <= *most).unwrap_or(f64::INFINITY);
    let value = |factor: f64| {
        let value = if upper { best * factor } else { best / factor };
        let value = rounded_text(value, 2).parse().unwrap_or(value);
        if is_whole { value.round().max(1.0) } else { value }
    };
    let is_beyond = |value: &f64| if upper { *value > best && *value <= most } else { *value < best };
    let mut values: Vec<f64> = FACTORS.into_iter().map(value).filter(is_beyond).collect();
    if upper && values.is_empty() && most > best && most.fract() == 0.0 {
        values.push(most);
    }
    values.sort_by(f64::total_cmp);
    values.dedup();
    (!values.is_empty()).then_some(Beyond { upper, values })
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::axis;
    use super::*;

    fn found(key: &str, tried: &[f64], best: f64) -> Option<(bool, Vec<f64>)> {
        beyond(&axis(key, &["1"]), tried, best).map(|beyond| (beyond.upper, beyond.values))
    }

    #[test]
    fn an_axis_is_widened_within_its_bounds() {
        assert_eq!(found("lr", &[1e-5, 3e-5], 3e-5), Some((true, vec![9e-5, 3e-4])), "two values have edges");
        assert_eq!(found("lr", &[1e-5, 3e-5], 1e-5), Some((false, vec![1e-6, 3.3e-6])));
        assert_eq!(found("lr", &[0.1, 0.3], 0.3), Some((true, vec![0.9, 3.0])));
        assert_eq!(found("lr", &[1e-5, 3e-5, 1e-4], 3e-5), None, "no edge");
        assert_eq!(found("lr", &[3e-5], 3e-5), None, "one value");
        assert_eq!(found("weight_decay", &[0.0, 0.01, 0.1], 0.0), None, "nothing lies below zero");
        assert_eq!(found("weight_decay", &[0.0, 0.001, 0.01], 0.01), Some((true, vec![0.03, 0.1])));
        assert_eq!(found("weight_decay", &[0.001, 0.01], 0.01), None, "one of two is always the best");
        assert_eq!(found("weight_decay", &[0.1, 0.3, 0.5], 0.5), Some((true, vec![1.5, 5.0])), "it has no limit");
        let below = |greatest: f64, tried: &[f64], best: f64| {
            let axis = Axis { greatest: Some(greatest), ..axis("key", &["1"]) };
            beyond(&axis, tried, best).map(|beyond| beyond.values)
        };
        assert_eq!(below(1.0, &[0.8, 0.9, 1.0], 1.0), None, "nothing lies beyond one");
        assert_eq!(below(1.0, &[0.7, 0.8, 0.9], 0.9), Some(vec![1.0]));
        let share = 1f64.next_down();
        assert_eq!(below(share, &[0.0, 0.1, 0.2], 0.2), Some(vec![0.6]), "a share");
        assert_eq!(below(share, &[0.1, 0.3, 0.5], 0.5), None);
        assert_eq!(below(share, &[10.0, 20.0, 30.0], 30.0), Some(vec![90.0, 300.0]), "steps");
        assert_eq!(found("batch_size", &[4.0, 8.0, 16.0], 4.0), Some((false, vec![1.0])), "whole numbers");
    }
}
