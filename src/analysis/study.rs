//! A sweep, judged and ranked: a diagnosis for each trial, an entry for each configuration.
//!
//! [`Study::of`](super::rank) makes it.

use super::curve::Spread;
use super::groups::Repetition;
use super::shape::Shape;
use super::verdicts::Diagnosis;
use crate::trial::{AxisValue, Metric, TaskName};

/// A sweep, judged and ranked.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// Tolerance of all plateaus in nats: the greater of 0.01 and the pooled standard deviation over seeds.
    pub delta: f64,
    /// Standard deviation of the best evaluation loss over seeds, pooled; None where no configuration has two survivors.
    pub seed_sd: Option<f64>,
    /// The metric that ranks the configurations.
    pub metric: Metric,
    /// Standard deviation of the best value of the metric over seeds, pooled. None where no configuration has two survivors.
    pub metric_sd: Option<f64>,
    /// What the trials of one configuration differ in.
    pub repetition: Repetition,
    /// Greatest number of trials of one configuration.
    pub seeds: usize,
    /// What the trials predict.
    pub task: TaskName,
    /// The evaluation loss of the best model that ignores its input; None before any trial has ended.
    pub chance: Option<f64>,
    /// Steps between evaluations. No onset is known more exactly than this.
    pub eval_interval: Option<u64>,
    /// Greatest planned length, steps.
    pub steps: u64,
    /// The shape of each run of the sweep.
    pub shapes: Vec<Shape>,
    /// The diagnosis of each run, with the same tolerance.
    pub diagnoses: Vec<Diagnosis>,
    /// Best first: complete ones, then those where some seeds failed, then failed ones, then unfinished ones.
    pub configs: Vec<Config>,
}

/// The trials that differ in seed and fold alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Varying keys and values, without seed and fold.
    pub values: Vec<(String, AxisValue)>,
    /// Indices into the sweep's runs, in plan order.
    pub runs: Vec<usize>,
    /// Those of `runs` whose losses count.
    pub survivors: Vec<usize>,
    /// Mean over survivors of their best value of [`Study::metric`].
    pub score: Option<Level>,
    /// Mean over survivors of their best evaluation loss.
    pub best: Option<Level>,
    /// Mean over survivors of their final evaluation loss.
    pub last: Option<Level>,
    /// Mean over survivors of the headline metric of [`Study::task`] at the evaluation that is best by the metric of the sweep.
    pub headline: Option<Level>,
    /// Best and final evaluation loss of the lowest trial where none survived. It is shown and never ranked.
    pub reached: Option<(f64, f64)>,
    /// Evaluation loss over survivors at the steps that they share.
    pub curve: Vec<Spread>,
    /// Step at which the mean of the metric is best.
    pub best_step: Option<u64>,
    /// Shape of the mean curve, or the most frequent failure.
    pub shape: Shape,
    /// Whether the difference to the best configuration may be noise between seeds. None where the noise is unknown.
    pub within_noise: Option<bool>,
}

/// A mean over seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    pub mean: f64,
    /// None for one seed.
    pub sd: Option<f64>,
    pub n: usize,
}

impl Level {
    /// None for no values at all.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (n > 0).then(|| Self { mean, sd: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()), n })
    }
}

impl Config {
    /// Whether every trial ended with a usable model.
    pub fn complete(&self) -> bool {
        self.survivors.len() == self.runs.len()
    }

    /// Value on the axis `key`.
    pub fn value(&self, key: &str) -> Option<&AxisValue> {
        self.values.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// `lr 3e-5, warmup 0.1`.
    pub fn name(&self) -> String {
        if self.values.is_empty() {
            return "the only configuration".into();
        }
        self.values.iter().map(|(key, value)| format!("{key} {}", value.label(key))).collect::<Vec<_>>().join(", ")
    }

    /// "2 of 3 stuck", or the shape of the mean curve. `shapes`: those of all runs of the sweep.
    pub fn label(&self, shapes: &[Shape]) -> String {
        if !self.shape.failed() || self.runs.len() == 1 {
            return self.shape.label();
        }
        let same = self.runs.iter().filter(|&&run| shapes[run].kind() == self.shape.kind()).count();
        format!("{same} of {} {}", self.runs.len(), self.shape.kind().short_title())
    }
}

impl Study {
    /// The best configuration that survived.
    pub fn best(&self) -> Option<&Config> {
        self.configs.first().filter(|config| config.best.is_some())
    }

    /// Number of configurations within noise of the best, itself included. None where the noise is unknown.
    pub fn within_noise(&self) -> Option<usize> {
        self.metric_sd?;
        Some(self.configs.iter().filter(|config| config.within_noise == Some(true)).count())
    }
}
