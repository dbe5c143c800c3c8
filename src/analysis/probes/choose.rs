//! Which trials to probe, and at which step.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::trial::{Cause, Outcome, ShapeKind, TrialId};

/// How far into its plateau a trial is probed. At the onset the learning rate may not have done all it can.
const INTO_PLATEAU: f64 = 0.25;

/// The trials to probe: among those that went flat or are stuck, the one with the lowest loss for each primary cause.
/// The lowest loss comes first.
///
/// A trial that is not chosen among some trials is not chosen among more of them either.
pub fn choose<'a>(ended: impl Iterator<Item = (&'a TrialId, &'a Outcome)>) -> Vec<&'a TrialId> {
    let mut best: BTreeMap<Option<Cause>, (f32, &TrialId)> = BTreeMap::new();
    let before = |a: &(f32, &TrialId), b: &(f32, &TrialId)| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)).is_lt();
    for (id, outcome) in ended.filter(|(_, outcome)| is_flat(outcome)) {
        let cause = outcome.verdicts.iter().find(|verdict| verdict.is_cause()).and_then(|verdict| verdict.id.cause());
        let candidate = (outcome.best_eval_loss.unwrap_or(f32::INFINITY), id);
        let entry = best.entry(cause).or_insert(candidate);
        if before(&candidate, entry) {
            *entry = candidate;
        }
    }
    let mut chosen: Vec<_> = best.into_values().collect();
    chosen.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
    chosen.into_iter().map(|(_, id)| id).collect()
}

fn is_flat(outcome: &Outcome) -> bool {
    let shape = outcome.verdicts.first().and_then(|verdict| verdict.id.shape());
    let flat = [ShapeKind::Plateaued, ShapeKind::Overfits, ShapeKind::Stuck, ShapeKind::Collapsed];
    outcome.steps > 0 && shape.is_some_and(|shape| flat.contains(&shape))
}

/// First and last step of a trial's plateau, at least 1. It ends where the trial starts to overfit. Without a plateau, the last
/// two thirds.
#[must_use]
pub fn plateau(outcome: &Outcome) -> RangeInclusive<u64> {
    let of =
        |shape: ShapeKind| outcome.verdicts.iter().find(|verdict| verdict.id == shape).and_then(|verdict| verdict.step);
    let end = of(ShapeKind::Overfits).unwrap_or(outcome.steps).max(1);
    let onset = of(ShapeKind::Plateaued).or(of(ShapeKind::Collapsed)).filter(|onset| *onset < end);
    onset.unwrap_or(end / 3).max(1)..=end
}

/// The step at which a trial is probed by default: some way into its plateau.
#[must_use]
pub fn place(outcome: &Outcome) -> u64 {
    let (from, to) = plateau(outcome).into_inner();
    from + ((to - from) as f64 * INTO_PLATEAU) as u64
}
