//! The section `search`: how many configurations are drawn from `space`, and how.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::keys;
use super::kind::{COUNT, Doc, Kind};
use super::problem::{Problem, suggestion};
use super::range::Range;
use super::run_config::seconds;
use super::yaml::Node;

/// How configurations are drawn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchConfig {
    pub sampler: SamplerName,
    /// Trials in all, repetitions by `seeds` included.
    pub trials: u64,
    /// Of the draws.
    pub seed: u64,
    /// Configurations of the Sobol sequence before the first of `tpe`.
    pub startup: u64,
    /// A configuration is drawn without the newest `ahead - 1` results, so that as many trials can run side by side.
    pub ahead: u64,
    /// The evaluation of a trial that counts.
    pub at: Evaluation,
    /// The run starts no trial after so many seconds.
    #[serde(serialize_with = "time_text")]
    pub time: Option<f64>,
    /// Names of sweeps whose results are known, too.
    pub from: Vec<String>,
    /// The search ends after so many configurations without a better one.
    pub patience: Option<u64>,
    /// The search ends once a configuration has reached this value of the metric.
    pub until: Option<f64>,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self {
            sampler: SamplerName::Tpe,
            trials: 30,
            seed: 0,
            startup: 10,
            ahead: 8,
            at: Evaluation::Best,
            time: None,
            from: Vec::new(),
            patience: None,
            until: None,
        }
    }
}

#[expect(clippy::ref_option, reason = "the form that serde needs")]
fn time_text<S: Serializer>(time: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|seconds| format!("{seconds}s")).serialize(serializer)
}

/// The evaluation of a trial that counts for a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evaluation {
    Best,
    Final,
}

/// A sampler by its name in sweep files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplerName {
    Random,
    Sobol,
    Tpe,
}

impl SamplerName {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Sobol => "sobol",
            Self::Tpe => "tpe",
        }
    }
}

/// A key of the section.
#[derive(Debug)]
pub(super) struct SearchKey {
    pub name: &'static str,
    pub kind: Kind,
    put: fn(&mut SearchConfig, &Value) -> Result<(), String>,
    pub doc: Doc,
}

const MAYBE_COUNT: Kind = Kind::Optional(&COUNT);
const MAYBE_NUMBER: Kind =
    Kind::Optional(&Kind::Number { range: Range::from(f64::MIN), expected: "a number, such as 0.55" });

pub(super) static SEARCH_KEYS: &[SearchKey] = &[
    SearchKey {
        name: "sampler",
        kind: Kind::Choice(&["tpe", "random", "sobol"]),
        put: |search, value| keys::put(&mut search.sampler, value),
        doc: Doc {
            about: "How configurations are drawn. `tpe` (tree-structured Parzen estimator) learns from the results, `random` \
                    draws independently, `sobol` covers the space evenly.",
            unit: "",
            example: "random",
        },
    },
    SearchKey {
        name: "trials",
        kind: COUNT,
        put: |search, value| keys::put(&mut search.trials, value),
        doc: Doc {
            about: "Number of trials of the search. With `seeds`, a configuration is several trials.",
            unit: "trials",
            example: "60",
        },
    },
    SearchKey {
        name: "seed",
        kind: Kind::Whole { from: 0, to: u64::MAX, expected: "a whole number" },
        put: |search, value| keys::put(&mut search.seed, value),
        doc: Doc { about: "Of the draws. The seed of training is `seed`.", unit: "", example: "1" },
    },
    SearchKey {
        name: "startup",
        kind: Kind::Whole { from: 0, to: u64::MAX, expected: "a whole number" },
        put: |search, value| keys::put(&mut search.startup, value),
        doc: Doc {
            about: "Configurations that `tpe` takes from the Sobol sequence before it learns.",
            unit: "configurations",
            example: "20",
        },
    },
    SearchKey {
        name: "ahead",
        kind: COUNT,
        put: |search, value| keys::put(&mut search.ahead, value),
        doc: Doc {
            about: "A configuration is drawn without the newest `ahead - 1` results, so that as many can be trained side by \
                    side. Another value is another sequence.",
            unit: "configurations",
            example: "2",
        },
    },
    SearchKey {
        name: "at",
        kind: Kind::Choice(&["best", "final"]),
        put: |search, value| keys::put(&mut search.at, value),
        doc: Doc {
            about: "The evaluation of a trial from which the search learns: its best, or its last. The report and `run.keep` go by the best.",
            unit: "",
            example: "final",
        },
    },
    SearchKey {
        name: "time",
        kind: Kind::Optional(&Kind::Text { expected: "a time, such as 90m or 2h" }),
        put: |search, value| {
            search.time = value.as_str().map(time).transpose()?;
            Ok(())
        },
        doc: Doc {
            about: "A run starts no trial after so much time, and ends when those that run have ended; `null`: never. Without \
                    `trials`, this alone bounds the search. Each run has the time anew.",
            unit: "s, m or h",
            example: "2h",
        },
    },
    SearchKey {
        name: "from",
        kind: Kind::Names { expected: "names of sweeps, such as [lr-grid]" },
        put: |search, value| keys::put(&mut search.from, value),
        doc: Doc {
            about: "Names of other sweeps in the results folder. The sampler knows their results where data, checkpoint and all \
                    keys that are not drawn are the same; seeds may differ.",
            unit: "",
            example: "[lr-grid]",
        },
    },
    SearchKey {
        name: "patience",
        kind: MAYBE_COUNT,
        put: |search, value| keys::put(&mut search.patience, value),
        doc: Doc {
            about: "The search ends after so many configurations without a better one; `null`: never.",
            unit: "configurations",
            example: "20",
        },
    },
    SearchKey {
        name: "until",
        kind: MAYBE_NUMBER,
        put: |search, value| keys::put(&mut search.until, value),
        doc: Doc {
            about: "The search ends once a configuration has reached this value of `metric`; `null`: never.",
            unit: "that of the metric",
            example: "0.55",
        },
    },
];

impl SearchConfig {
    /// Sets `search.NAME`.
    pub(super) fn set(&mut self, name: &str, key: &Node, value: &Node) -> Result<(), Vec<Problem>> {
        let Some(known) = SEARCH_KEYS.iter().find(|known| known.name == name) else {
            let names = SEARCH_KEYS.iter().map(|known| known.name);
            let list = names.clone().collect::<Vec<_>>().join(", ");
            let hint = match name {
                "goal" | "direction" | "mode" => {
                    "leave it out: losses are minimised, accuracy and all other scores are maximised".to_owned()
                }
                "method" | "algorithm" => "did you mean `sampler`?".to_owned(),
                "n_trials" | "num_samples" | "run_cap" | "max_trials" => "did you mean `trials`?".to_owned(),
                _ => suggestion(name, names).unwrap_or_else(|| format!("known: {list}")),
            };
            return Err(vec![Problem::new(key.place, format!("unknown key `search.{name}`")).hint(hint)]);
        };
        if let ("sampler", Some("bayes" | "bayesian" | "bayesian_optimization")) = (name, value.text()) {
            let what = format!("`search.sampler` cannot be {}", value.described());
            return Err(vec![Problem::new(value.place, what).hint("did you mean `tpe`? It learns from the results")]);
        }
        let off = Node::plain("null", value.place);
        let value = match (&known.kind, value.plain_text()) {
            (Kind::Optional(_), Some("off")) => &off,
            (Kind::Names { .. }, _) if value.list().is_some_and(<[Node]>::is_empty) => {
                self.from.clear();
                return Ok(());
            }
            _ => value,
        };
        let read = known.kind.read(&format!("search.{name}"), value)?.full;
        (known.put)(self, &read).map_err(|what| vec![Problem::new(value.place, what)])
    }
}

/// Seconds of a text such as `2h`.
fn time(text: &str) -> Result<f64, String> {
    seconds(text).ok_or_else(|| format!("`search.time` cannot be `{text}`: expected a time, such as 90m or 2h"))
}
