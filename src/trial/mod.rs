//! The vocabulary: plain data that every room shares. What a trial is, what it was told, what it measured and how it ended.
//!
//! Nothing here computes, reads a clock or touches a disk. The JSON form of [`TrialConfig`] uses the keys of a sweep
//! file, so `config.json` can be pasted back into YAML.

use std::fmt;

use serde::{Deserialize, Serialize};

mod augmentation;
mod config;
mod measured;
mod probe;
mod scheduler;

pub use augmentation::{Augmentation, Choose, Translator};
pub use config::{
    DataConfig, EvalSource, FractionOrSteps, Length, ModelConfig, OptimizerConfig, OptimizerName, Patience,
    PatienceMetric, Plateau, Pooling, StopRules, TrialConfig, steps_per_epoch,
};
pub use measured::{DiagnosticRow, EvalRow, Evidence, MetricRow, Outcome, Status, Verdict, VerdictKind};
pub use probe::{Probe, ProbeKind};
pub use scheduler::{Anneal, CycleShape, DecayShape, Scheduler};

/// Name of a trial: the first 12 hex digits of a hash over everything that determines its numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrialId(String);

impl TrialId {
    /// Digits of an id.
    pub const LENGTH: usize = 12;

    /// Wraps `text` if it has the form of an id: [`TrialId::LENGTH`] lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == Self::LENGTH && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        fits.then(|| Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One point of the sweep: a complete configuration and the values that tell it from its neighbours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    pub id: TrialId,
    /// The varying keys (dotted) of the sweep with this trial's values, in the order of the sweep file; `seed` last if it varies.
    pub values: Vec<(String, AxisValue)>,
    /// Optimizer steps of the whole run.
    pub steps: u64,
    pub config: TrialConfig,
}

impl Trial {
    /// Its value of a varying key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&AxisValue> {
        self.values.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

/// A value on an axis: what it is, and how the user wrote it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AxisValue {
    pub value: serde_json::Value,
    /// As written in the sweep file (`3e-5`, `synonym`), for tables and figures.
    pub text: String,
}

impl AxisValue {
    /// The text of a value of `key` for readers: `null` is called by what it stands for.
    #[must_use]
    pub fn said(&self, key: &str) -> &str {
        match (key, self.value.is_null()) {
            ("data.limit", true) => "all rows",
            ("model.dropout" | "model.pooling", true) => "the checkpoint's",
            _ => &self.text,
        }
    }
}

/// A number as one writes it, short and exact: `3e-5`, `0.1`, `2`.
#[must_use]
pub fn number_text(x: f64) -> String {
    if x != 0.0 && !(1e-3..1e6).contains(&x.abs()) { format!("{x:e}") } else { format!("{x}") }
}

/// A number as one writes it, rounded to `digits` significant ones.
#[must_use]
pub fn rounded_text(x: f64, digits: usize) -> String {
    number_text(format!("{x:.*e}", digits.saturating_sub(1)).parse().unwrap_or(x))
}

/// What must be known of the data before a trial can be planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataFacts {
    /// blake3 over the content of the train and the eval file.
    pub hash: String,
    pub train_rows: usize,
    pub eval_rows: usize,
    /// Label names in class order.
    pub labels: Vec<String>,
    /// Share of each class in the training split.
    pub class_prior: Vec<f64>,
    /// Mean tokens of a training example, after truncation.
    pub mean_tokens: f64,
}

/// What must be known of a checkpoint before a trial can be planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// blake3 over the content of config, weights and tokenizer.
    pub hash: String,
    pub parameters: u64,
    pub vocabulary: usize,
    pub layers: usize,
    pub hidden: usize,
    pub heads: usize,
    pub intermediate: usize,
    pub max_positions: usize,
    pub has_pooler: bool,
    /// The checkpoint's dropout where its hidden, attention and classifier dropout are one number.
    pub dropout: Option<f64>,
}

impl ModelFacts {
    /// The pooling where the sweep names none: the checkpoint's pooler if it holds one, else the mean.
    #[must_use]
    pub fn default_pooling(&self) -> Pooling {
        if self.has_pooler { Pooling::Pooler } else { Pooling::Mean }
    }
}

/// What a worker computes on. Text form: `cpu`, `cuda:0`, `metal:0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    Cpu,
    Cuda(usize),
    Metal(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Metal(index) => write!(f, "metal:{index}"),
        }
    }
}

/// A key of the sweep that varies, with its values in the order written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// Dotted, such as `lr` or `model.dropout`.
    pub key: String,
    pub values: Vec<AxisValue>,
}

/// How often a running trial saves its complete state.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointEvery {
    Seconds(f64),
    /// Optimizer steps.
    Steps(u64),
}

/// What is left in `checkpoint/` when a trial has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    None,
    /// The state at the best evaluation loss.
    Best,
    /// The final state.
    Last,
    /// Both.
    All,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_one_writes_them() {
        let exact = [3e-5, 0.1, 2.0, 0.0, 1e6].map(number_text);
        assert_eq!(exact, ["3e-5", "0.1", "2", "0", "1e6"]);
        let rounded = [1e-5 / 3.0, 3e-4 * 10.0, 0.15, 12.0, 3e4, f64::NAN].map(|x| rounded_text(x, 2));
        assert_eq!(rounded, ["3.3e-6", "0.003", "0.15", "12", "30000", "NaN"]);
    }
}
