//! What `plan`, `run` and the report say about the data of a sweep.

use crate::analysis::Sweep;
use crate::analysis::arms::{Inputs, TrialInputs};
use crate::plan::Facts;
use crate::trial::{DataConfig, DataReport};

/// All that is known of the data, for `plan` and the report.
pub(crate) fn full(facts: &Facts) -> Vec<String> {
    lines(facts, DataReport::lines)
}

/// The size of the data and the warnings, for the start of `run`.
pub(crate) fn brief(facts: &Facts) -> Vec<String> {
    lines(facts, |report, labels| {
        let mut lines = vec![format!("data: {}", report.size(labels.len()))];
        lines.extend(report.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines
    })
}

/// What is known of each trial before it trains.
pub(crate) fn inputs(facts: &Facts, sweep: &Sweep) -> Inputs {
    let known = sweep.runs.iter().filter_map(|run| {
        let (data, model) = facts.of(&run.trial.config)?;
        let inputs = TrialInputs { train: data.report.train.clone(), parameters: model.parameters };
        Some((run.trial.id.clone(), inputs))
    });
    known.collect()
}

/// The lines of each different report. Data that several checkpoints read alike is reported once. Of the folds of a
/// cross-validation, the first is reported, and the warnings of the others that are new.
fn lines(facts: &Facts, of: impl Fn(&DataReport, &[String]) -> Vec<String>) -> Vec<String> {
    let mut all: Vec<Vec<String>> = Vec::new();
    for found in &facts.data {
        let mut lines = of(&found.facts.report, &found.facts.labels);
        let DataConfig { fold, folds, .. } = found.located;
        match (fold, folds) {
            (Some(1), Some(folds)) => lines.insert(0, format!("{folds} folds, of which the first is described:")),
            (Some(_), Some(_)) => {
                lines.retain(|line| line.starts_with("warning: ") && all.iter().all(|known| !known.contains(line)));
            }
            _ => {}
        }
        if !all.contains(&lines) {
            all.push(lines);
        }
    }
    all.concat()
}
