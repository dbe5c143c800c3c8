//! The curves of a run as one table: what was measured in training and at evaluations, joined at their steps.

use std::collections::BTreeMap;

use crate::analysis::Run;
use crate::trial::{EvalRow, MetricRow};

/// A step at which something was measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub step: u64,
    pub metric: Option<&'a MetricRow>,
    pub eval: Option<&'a EvalRow>,
}

/// In order of their steps.
pub(super) fn rows(run: &Run) -> Vec<Row<'_>> {
    let mut rows: BTreeMap<u64, Row<'_>> = BTreeMap::new();
    let blank = |step| Row { step, metric: None, eval: None };
    for metric in &run.metrics {
        rows.entry(metric.step).or_insert_with(|| blank(metric.step)).metric = Some(metric);
    }
    for eval in &run.evals {
        rows.entry(eval.step).or_insert_with(|| blank(eval.step)).eval = Some(eval);
    }
    rows.into_values().collect()
}
