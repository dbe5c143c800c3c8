//! What `plan`, `run` and the report say about the data of a sweep.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::analysis::Sweep;
use crate::analysis::arms::{Inputs, TrialInputs};
use crate::plan::Facts;
use crate::trial::{DataConfig, DataReport, Trial};

/// All that is known of the data, for `plan` and the report.
pub(crate) fn full(facts: &Facts) -> Vec<String> {
    lines(facts, DataReport::lines)
}

/// The size of the data, its labels and lengths, and the warnings, for the start of `run`.
pub(crate) fn brief(facts: &Facts) -> Vec<String> {
    lines(facts, DataReport::brief)
}

/// Whether trials start from the classifiers of their checkpoints; a line for each answer. None without such checkpoints.
pub(crate) fn heads<'a>(facts: &Facts, trials: impl ExactSizeIterator<Item = &'a Trial>) -> Vec<String> {
    if facts.models.iter().all(|model| model.facts.head.is_none()) {
        return Vec::new();
    }
    let all = trials.len();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for trial in trials {
        let config = &trial.config;
        let line = facts
            .of(config)
            .and_then(|(data, model)| model.head.as_ref()?.line(config.data.task, &config.model, &data.labels));
        if let Some(line) = line {
            *counts.entry(line).or_default() += 1;
        }
    }
    let line = |(line, count)| if count == all { line } else { format!("{line} ({count} of {all} trials)") };
    counts.into_iter().map(line).collect()
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
    let mut all: Vec<(&DataConfig, Vec<String>)> = Vec::new();
    for found in &facts.data {
        let mut lines = of(&found.facts.report, &found.facts.labels);
        let DataConfig { fold, folds, .. } = found.located;
        match (fold, folds) {
            (Some(1), Some(folds)) => lines.insert(0, format!("{folds} folds, of which the first is described:")),
            (Some(_), Some(_)) => {
                lines
                    .retain(|line| line.starts_with("warning: ") && all.iter().all(|(_, known)| !known.contains(line)));
            }
            _ => {}
        }
        if all.iter().all(|(_, known)| *known != lines) {
            all.push((&found.written, lines));
        }
    }
    let configs: Vec<&DataConfig> = all.iter().map(|(config, _)| *config).collect();
    let titles = titles(&configs);
    let titled = all.into_iter().zip(titles).filter(|((_, lines), _)| !lines.is_empty());
    titled.flat_map(|((_, lines), title)| title.into_iter().chain(lines)).collect()
}

/// For each of several data sections, the keys in which they differ, as a title. None where they do not differ.
fn titles(configs: &[&DataConfig]) -> Vec<Option<String>> {
    // Folds are named in the lines.
    let plain = configs.iter().map(|config| DataConfig { fold: None, ..(*config).clone() });
    let sections: Vec<Value> = plain.map(|config| serde_json::to_value(config).unwrap_or_default()).collect();
    let keys: BTreeSet<&String> = sections.iter().filter_map(Value::as_object).flat_map(Map::keys).collect();
    let varying: Vec<&String> = keys
        .into_iter()
        .filter(|key| sections.iter().any(|section| section.get(*key) != sections[0].get(*key)))
        .collect();
    let title = |section: &Value| {
        let value = |key: &String| match section.get(key) {
            None | Some(Value::Null) => "none".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        let named: Vec<String> = varying.iter().map(|key| format!("data.{key}: {}", value(key))).collect();
        (!named.is_empty()).then(|| format!("with {}:", named.join(", ")))
    };
    sections.iter().map(title).collect()
}
