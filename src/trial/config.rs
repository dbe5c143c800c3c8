//! What a trial is told: its configuration, with the keys of a sweep file.

use serde::{Deserialize, Serialize};

use super::{Augmentation, Probe, ProbeKind, Scheduler};

/// Everything that determines the numbers of a trial. Two equal configurations over equal data give equal bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialConfig {
    pub data: DataConfig,
    pub model: ModelConfig,
    pub optimizer: OptimizerConfig,
    /// Peak learning rate.
    pub lr: f64,
    /// Length of the linear warm-up.
    pub warmup: FractionOrSteps,
    pub scheduler: Scheduler,
    /// Applied in turn; empty for none.
    pub augmentation: Vec<Augmentation>,
    /// Not applied to biases and LayerNorm.
    pub weight_decay: f64,
    /// Global gradient norm is clipped to this; 0 for no clipping.
    pub max_grad_norm: f64,
    pub label_smoothing: f64,
    /// Examples an optimizer step.
    pub batch_size: usize,
    /// Equal parts that a batch is split into.
    pub grad_accumulation: usize,
    #[serde(flatten)]
    pub length: Length,
    /// Fraction of an epoch, or optimizer steps, between evaluations.
    pub eval_every: FractionOrSteps,
    /// Head initialisation, shuffling, dropout, augmentation.
    pub seed: u64,
    pub stop: StopRules,
    /// None for the trials of a sweep file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

impl TrialConfig {
    /// Optimizer steps over `rows` training examples.
    #[must_use]
    pub fn steps(&self, rows: usize) -> u64 {
        let whole = self.length.steps(rows, self.batch_size);
        match &self.probe {
            Some(Probe { kind: ProbeKind::Approach, step, .. }) => whole.min(*step),
            _ => whole,
        }
    }

    /// The alpha of mixup, if it is among the augmentations.
    #[must_use]
    pub fn mixup(&self) -> Option<f64> {
        self.augmentation.iter().find_map(|method| match method {
            Augmentation::Mixup { alpha } => Some(*alpha),
            _ => None,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataConfig {
    /// `embedded:NAME` or an absolute path.
    pub train: String,
    pub eval: EvalSource,
    /// Column of the text.
    pub text: String,
    /// Column of the second sentence, for sentence pairs.
    pub text_pair: Option<String>,
    /// Column of the label.
    pub label: String,
    /// Tokens, `[CLS]` and `[SEP]` included.
    pub max_length: usize,
    /// First rows of train after the split.
    pub limit: Option<usize>,
    pub shuffle: bool,
    /// Of the split into train and eval.
    pub seed: u64,
}

/// Where the evaluation set comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EvalSource {
    /// Held out of train, stratified by label. In (0, 1).
    Fraction(f64),
    /// `embedded:NAME` or an absolute path.
    File(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// `embedded:NAME`, an absolute path, or `hf:org/name[@revision]`.
    pub from: String,
    /// None until the checkpoint is known: [`Pooling::Pooler`] if it holds one, else [`Pooling::Mean`].
    pub pooling: Option<Pooling>,
    /// Hidden, attention and classifier dropout; None: the checkpoint's own three.
    pub dropout: Option<f64>,
    /// 0 none; n: embeddings and the first n layers.
    pub freeze: usize,
    /// Top layers (and the pooler) that start from random values.
    pub reinit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The vector of `[CLS]`.
    Cls,
    /// Mean over all tokens of the sentence.
    Mean,
    /// BERT's dense layer and tanh over `[CLS]`.
    Pooler,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptimizerConfig {
    pub name: OptimizerName,
    pub betas: [f64; 2],
    pub eps: f64,
    pub bias_correction: bool,
    /// Each layer's rate is the next higher layer's times this; 1 for one rate.
    pub layer_decay: f64,
    /// Peak rate of the head (classifier and pooler), which follows the same schedule; None: the others' rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_lr: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerName {
    Adamw,
}

/// A length that users write as a fraction of a whole (below 1) or as optimizer steps (1 or more).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FractionOrSteps(pub f64);

impl FractionOrSteps {
    /// Steps out of `whole`, fractions rounded up.
    #[must_use]
    pub fn steps(self, whole: u64) -> u64 {
        if self.0 < 1.0 { (whole as f64 * self.0).ceil() as u64 } else { self.0 as u64 }
    }
}

/// How long a trial trains.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    Epochs(f64),
    Steps(u64),
}

impl Length {
    /// Optimizer steps over `rows` training examples in batches of `batch_size` (the last batch of an epoch may be short).
    #[must_use]
    pub fn steps(self, rows: usize, batch_size: usize) -> u64 {
        match self {
            Self::Steps(steps) => steps,
            Self::Epochs(epochs) => (steps_per_epoch(rows, batch_size) as f64 * epochs).ceil() as u64,
        }
    }
}

/// Batches that one pass over `rows` examples takes; at least one.
#[must_use]
pub fn steps_per_epoch(rows: usize, batch_size: usize) -> u64 {
    rows.div_ceil(batch_size.max(1)).max(1) as u64
}

/// Rules that end a single trial early by its own curve. Part of its identity: they decide where its curve ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StopRules {
    /// End when the loss is NaN or infinite, or its smoothed value is above three times its start.
    pub diverged: bool,
    pub patience: Option<Patience>,
    /// Left out where it is off: ids are older than this rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plateau: Option<Plateau>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Patience {
    pub metric: PatienceMetric,
    /// Evaluations without an improvement by more than `min_delta`.
    pub evals: u32,
    pub min_delta: f64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { metric: PatienceMetric::EvalLoss, evals: 5, min_delta: 0.0 }
    }
}

/// End when the training loss has gone flat, by the detector of `analysis`: not just for want of learning rate, and not
/// where it falls so slowly that the steps left would still lower it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plateau {
    /// Evaluations one after the other at each of which the curve up to there is flat.
    pub evals: u32,
    /// Evaluations before this step are not judged.
    pub min_steps: u64,
}

impl Default for Plateau {
    fn default() -> Self {
        Self { evals: 3, min_steps: 50 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatienceMetric {
    EvalLoss,
    Accuracy,
    MacroF1,
}

impl PatienceMetric {
    /// As a sweep file names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EvalLoss => "eval_loss",
            Self::Accuracy => "accuracy",
            Self::MacroF1 => "macro_f1",
        }
    }
}
