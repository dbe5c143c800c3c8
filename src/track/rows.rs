//! The curves of a trial as one table: training and evaluation rows, joined by step.

use std::collections::BTreeMap;

use crate::trial::{EvalRow, Metric, MetricRow};

/// A step at which something was measured.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    pub step: u64,
    pub metric: Option<&'a MetricRow>,
    pub eval: Option<&'a EvalRow>,
}

/// The joined rows in the order of their steps.
pub fn rows<'a>(metrics: &'a [MetricRow], evals: &'a [EvalRow]) -> Vec<Row<'a>> {
    let mut rows: BTreeMap<u64, Row<'_>> = BTreeMap::new();
    let empty = |step| Row { step, metric: None, eval: None };
    for metric in metrics {
        rows.entry(metric.step).or_insert_with(|| empty(metric.step)).metric = Some(metric);
    }
    for eval in evals {
        rows.entry(eval.step).or_insert_with(|| empty(eval.step)).eval = Some(eval);
    }
    rows.into_values().collect()
}

/// Metrics that trackers show beside the loss. Each task has some of them.
const SCORES: [Metric; 11] = [
    Metric::Accuracy,
    Metric::MacroF1,
    Metric::Mse,
    Metric::Mae,
    Metric::R2,
    Metric::Pearson,
    Metric::Spearman,
    Metric::MicroF1,
    Metric::SubsetAccuracy,
    Metric::MacroAuroc,
    Metric::MacroAveragePrecision,
];

/// The scores of an evaluation by name, without those that are undefined.
pub fn scores(row: &EvalRow) -> impl Iterator<Item = (&'static str, f32)> {
    SCORES.iter().map(|metric| (metric.name(), metric.value(row))).filter(|(_, value)| !value.is_nan())
}
