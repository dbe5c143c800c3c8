//! `stop.median` and `stop.asha`: rules that compare the trials of a sweep with one another. They decide which trials
//! continue, not what any of them computes, so they are never part of a trial's identity.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::keys::{self, METRIC};
use super::kind::{Doc, Kind, MOST_STEPS};
use super::problem::{Problem, suggestion};
use super::yaml::Node;
use crate::trial::Metric;

/// The rules that are on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StopAcross {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median: Option<Median>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asha: Option<Asha>,
}

/// Stop a trial whose best value is worse than the median of the other trials at the same step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Median {
    pub metric: Metric,
    /// Other trials that must have come as far before a trial is judged.
    pub min_trials: u64,
    /// Evaluations before this step are not judged.
    pub min_steps: u64,
}

impl Default for Median {
    fn default() -> Self {
        Self { metric: Metric::EvalLoss, min_trials: 5, min_steps: 50 }
    }
}

/// Asynchronous successive halving (Li et al. 2020): of the trials that reached a rung, the best `1/eta` continue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asha {
    pub metric: Metric,
    /// From 2. The step of each rung is that of the rung before times this.
    pub eta: u64,
    /// Step of the first rung, if `s` is 0.
    pub min_steps: u64,
    /// Number of rungs that are skipped.
    pub s: u64,
    /// Whether the best value of a trial so far is compared, in place of its value at the rung.
    pub best: bool,
    /// None: by the plan in a search, by arrival otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<AshaOrder>,
}

/// The trials that a trial is compared with at a rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AshaOrder {
    /// Those that have reached the rung so far. It waits for none.
    Arrival,
    /// Those before it in the plan, for which it waits. Which trials stop then depends on no machine.
    Plan,
}

impl Asha {
    /// The step of a rung, counted from 0. None if it is too large for a number.
    #[must_use]
    pub fn rung_step(&self, rung: usize) -> Option<u64> {
        let power = u32::try_from(self.s.checked_add(rung as u64)?).ok()?;
        self.eta.checked_pow(power)?.checked_mul(self.min_steps)
    }
}

impl Default for Asha {
    fn default() -> Self {
        Self { metric: Metric::EvalLoss, eta: 4, min_steps: 50, s: 0, best: false, order: None }
    }
}

/// The rules by name.
pub(super) const RULES: &[&str] = &["median", "asha"];

/// The rule that a key inside `stop` is about, if it is one of these.
pub(super) fn rule_of(path: &str) -> Option<&'static str> {
    let first = path.split('.').next().unwrap_or_default();
    RULES.iter().copied().find(|rule| *rule == first)
}

/// A rule, or a parameter of one.
#[derive(Debug)]
pub(super) struct RuleKey {
    /// Dotted, such as `stop.asha.eta`.
    pub path: &'static str,
    pub kind: Kind,
    put: fn(&mut StopAcross, &Value) -> Result<(), String>,
    pub doc: Doc,
}

const STEPS_FROM_0: Kind = Kind::Whole { from: 0, to: MOST_STEPS as u64, expected: "a whole number from 0" };
const STEPS_FROM_1: Kind = Kind::Whole { from: 1, to: MOST_STEPS as u64, expected: "a whole number from 1" };
const EVALUATED: Doc = Doc { about: "The metric that is compared.", unit: "", example: "accuracy" };

pub(super) static RULE_KEYS: &[RuleKey] = &[
    RuleKey {
        path: "stop.median",
        kind: Kind::Switch { expected: "none, true, or a map such as {metric: eval_loss, min_steps: 50}" },
        put: |stop, value| keys::switch(&mut stop.median, value),
        doc: Doc {
            about: "Stops a trial whose best value is worse than the median of the trials before it in the plan, at the same \
                    step.",
            unit: "",
            example: "{min_trials: 5, min_steps: 50}",
        },
    },
    RuleKey {
        path: "stop.median.metric",
        kind: METRIC,
        put: |stop, value| keys::put(&mut stop.median.get_or_insert_default().metric, value),
        doc: EVALUATED,
    },
    RuleKey {
        path: "stop.median.min_trials",
        kind: STEPS_FROM_1,
        put: |stop, value| keys::put(&mut stop.median.get_or_insert_default().min_trials, value),
        doc: Doc {
            about: "Other trials that must have reached the step before a trial is judged.",
            unit: "trials",
            example: "3",
        },
    },
    RuleKey {
        path: "stop.median.min_steps",
        kind: STEPS_FROM_0,
        put: |stop, value| keys::put(&mut stop.median.get_or_insert_default().min_steps, value),
        doc: Doc { about: "Evaluations before this step are not judged.", unit: "optimizer steps", example: "100" },
    },
    RuleKey {
        path: "stop.asha",
        kind: Kind::Switch { expected: "none, true, or a map such as {metric: eval_loss, min_steps: 50}" },
        put: |stop, value| keys::switch(&mut stop.asha, value),
        doc: Doc {
            about: "Asynchronous successive halving: at steps `min_steps`, `min_steps * eta`, ..., the best `1/eta` of the \
                    trials continue.",
            unit: "",
            example: "{eta: 4, min_steps: 50}",
        },
    },
    RuleKey {
        path: "stop.asha.metric",
        kind: METRIC,
        put: |stop, value| keys::put(&mut stop.asha.get_or_insert_default().metric, value),
        doc: EVALUATED,
    },
    RuleKey {
        path: "stop.asha.eta",
        kind: Kind::Whole { from: 2, to: MOST_STEPS as u64, expected: "a whole number from 2" },
        put: |stop, value| keys::put(&mut stop.asha.get_or_insert_default().eta, value),
        doc: Doc { about: "One of this many trials continues at each rung.", unit: "", example: "3" },
    },
    RuleKey {
        path: "stop.asha.min_steps",
        kind: STEPS_FROM_1,
        put: |stop, value| keys::put(&mut stop.asha.get_or_insert_default().min_steps, value),
        doc: Doc { about: "Step of the first rung, if `s` is 0.", unit: "optimizer steps", example: "100" },
    },
    RuleKey {
        path: "stop.asha.s",
        kind: Kind::Whole { from: 0, to: 60, expected: "a whole number of 0 to 60" },
        put: |stop, value| keys::put(&mut stop.asha.get_or_insert_default().s, value),
        doc: Doc {
            about: "Number of rungs that are skipped: the first rung is at step `min_steps * eta^s`.",
            unit: "rungs",
            example: "1",
        },
    },
    RuleKey {
        path: "stop.asha.best",
        kind: Kind::Flag,
        put: |stop, value| keys::put(&mut stop.asha.get_or_insert_default().best, value),
        doc: Doc {
            about: "Whether the best value of a trial so far is compared, in place of its value at the rung.",
            unit: "",
            example: "true",
        },
    },
    RuleKey {
        path: "stop.asha.order",
        kind: Kind::Optional(&Kind::Choice(&["arrival", "plan"])),
        put: |stop, value| keys::put(&mut stop.asha.get_or_insert_default().order, value),
        doc: Doc {
            about: "`arrival`: a trial is compared with those that have reached the rung so far. `plan`: with those before it in \
                    the plan, for which it waits, so that which trials stop depends on no machine; in a search, the newest \
                    `search.ahead - 1` are left out. Default: `plan` in a search, `arrival` otherwise.",
            unit: "",
            example: "plan",
        },
    },
];

/// The names of the parameters of a rule.
pub(super) fn parameters(rule: &str) -> impl Iterator<Item = &'static str> {
    RULE_KEYS.iter().filter_map(move |key| key.path.strip_prefix("stop.")?.strip_prefix(rule)?.strip_prefix('.'))
}

impl StopAcross {
    /// Sets `stop.PATH`: a rule, or a parameter of one.
    pub(super) fn set(&mut self, path: &str, key: &Node, value: &Node, problems: &mut Vec<Problem>) {
        let whole_path = format!("stop.{path}");
        let Some(rule_key) = RULE_KEYS.iter().find(|known| known.path == whole_path) else {
            let (rule, name) = path.split_once('.').unwrap_or((path, ""));
            let hint = suggestion(name, parameters(rule)).unwrap_or_default();
            problems.push(Problem::new(key.place, format!("unknown key `{whole_path}`")).hint(hint));
            return;
        };
        let read = match (&rule_key.kind, value.map()) {
            (Kind::Switch { .. }, Some(_)) => Ok(Value::Bool(true)),
            (kind, _) => kind.read(rule_key.path, value).map(|read| read.full),
        };
        match read {
            Ok(read) => problems.extend((rule_key.put)(self, &read).err().map(|what| Problem::new(value.place, what))),
            Err(found) => problems.extend(found),
        }
        if let (Kind::Switch { .. }, Some(entries)) = (&rule_key.kind, value.map()) {
            for (key, value) in entries {
                self.set(&format!("{path}.{}", key.text().unwrap_or_default()), key, value, problems);
            }
        }
    }
}
