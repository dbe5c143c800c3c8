//! `stop.median` and `stop.asha`: rules that hold the trials of a sweep against one another. About the sweep, never part
//! of a trial's identity: they decide which trials go on, not what any of them computes.

use serde::Serialize;

use super::kind::whole;
use super::problem::{Problem, suggestion};
use super::yaml::Node;
use crate::trial::PatienceMetric;

/// The rules that are on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StopAcross {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median: Option<Median>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asha: Option<Asha>,
}

/// Stop a trial whose best value is worse than the median of what others had at the same step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Median {
    pub metric: PatienceMetric,
    /// Others that must have come as far before a trial is judged.
    pub min_trials: u64,
    /// Evaluations before this step are not judged.
    pub min_steps: u64,
}

impl Default for Median {
    fn default() -> Self {
        Self { metric: PatienceMetric::EvalLoss, min_trials: 5, min_steps: 50 }
    }
}

/// Asynchronous successive halving: of those that came to a rung, the best `1/eta` go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asha {
    pub metric: PatienceMetric,
    /// From 2: each rung is at so many times the step of the one before.
    pub eta: u64,
    /// Step of the first rung.
    pub min_steps: u64,
}

impl Default for Asha {
    fn default() -> Self {
        Self { metric: PatienceMetric::EvalLoss, eta: 4, min_steps: 50 }
    }
}

/// The rules by name.
pub(super) const RULES: &[&str] = &["median", "asha"];

/// The rule that a key inside `stop` is about, if it is one of these.
pub(super) fn rule_of(path: &str) -> Option<&'static str> {
    let first = path.split('.').next().unwrap_or_default();
    RULES.iter().copied().find(|rule| *rule == first)
}

impl StopAcross {
    /// Sets `stop.PATH`: a rule, or a parameter of one.
    pub(super) fn set(&mut self, path: &str, key: &Node, value: &Node, problems: &mut Vec<Problem>) {
        let result = match (path.split_once('.'), value.map()) {
            (None, Some(entries)) => {
                self.switch(path, true);
                for (key, value) in entries {
                    self.set(&format!("{path}.{}", key.text().unwrap_or_default()), key, value, problems);
                }
                Ok(())
            }
            (None, None) if matches!(value.plain_text(), Some("none" | "false")) => {
                self.switch(path, false);
                Ok(())
            }
            (None, None) => Err(misfit(path, value, "none, or a map such as {metric: eval_loss, min_steps: 50}")),
            (Some(("median", name)), _) => set_median(self.median.get_or_insert_default(), name, key, value),
            (Some((_, name)), _) => set_asha(self.asha.get_or_insert_default(), name, key, value),
        };
        problems.extend(result.err());
    }

    fn switch(&mut self, rule: &str, on: bool) {
        match rule {
            "median" => self.median = on.then(Median::default),
            _ => self.asha = on.then(Asha::default),
        }
    }
}

fn set_median(median: &mut Median, name: &str, key: &Node, value: &Node) -> Result<(), Problem> {
    match name {
        "metric" => median.metric = metric("median.metric", value)?,
        "min_trials" => median.min_trials = count("median.min_trials", value, 1)?,
        "min_steps" => median.min_steps = count("median.min_steps", value, 0)?,
        _ => return Err(unknown("median", name, key, &["metric", "min_trials", "min_steps"])),
    }
    Ok(())
}

fn set_asha(asha: &mut Asha, name: &str, key: &Node, value: &Node) -> Result<(), Problem> {
    match name {
        "metric" => asha.metric = metric("asha.metric", value)?,
        "eta" => asha.eta = count("asha.eta", value, 2)?,
        "min_steps" => asha.min_steps = count("asha.min_steps", value, 1)?,
        _ => return Err(unknown("asha", name, key, &["metric", "eta", "min_steps"])),
    }
    Ok(())
}

fn metric(path: &str, value: &Node) -> Result<PatienceMetric, Problem> {
    let all = [PatienceMetric::EvalLoss, PatienceMetric::Accuracy, PatienceMetric::MacroF1];
    let named = all.into_iter().find(|metric| value.text() == Some(metric.name()));
    named.ok_or_else(|| misfit(path, value, "one of eval_loss, accuracy, macro_f1"))
}

fn count(path: &str, value: &Node, least: u64) -> Result<u64, Problem> {
    let fits = whole(value).filter(|count| (least..=super::kind::MOST_STEPS.into()).contains(count));
    fits.ok_or_else(|| misfit(path, value, &format!("a whole number from {least}")))
}

fn misfit(path: &str, value: &Node, expected: &str) -> Problem {
    let what = format!("`stop.{path}` cannot be {}", value.described());
    Problem::new(value.place, what).hint(format!("expected {expected}"))
}

fn unknown(rule: &str, name: &str, key: &Node, known: &[&'static str]) -> Problem {
    let hint = suggestion(name, known.iter().copied()).unwrap_or_default();
    Problem::new(key.place, format!("unknown key `stop.{rule}.{name}`")).hint(hint)
}
