//! The vocabulary: plain data that every room shares. What a trial is, what it was told, what it measured and how it ended.
//!
//! Nothing here computes, reads a clock or touches a disk. The JSON form of [`TrialConfig`] uses the keys of a sweep
//! file, so `config.json` can be pasted back into YAML.

use std::fmt;

use serde::{Deserialize, Serialize};

mod probe;

pub use probe::{Probe, ProbeKind};

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

/// Learning-rate schedules; the formulas stand with [`crate::train::schedule`]. A parameter without a default is None until
/// it is given; planning refuses a schedule that lacks one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Scheduler {
    Constant,
    Linear,
    Cosine {
        /// Half a period (0.5) ends at zero.
        cycles: f64,
    },
    CosineWithRestarts {
        /// Falls from the peak to zero.
        cycles: f64,
    },
    /// One of the two minima is given.
    CosineWithMinLr {
        cycles: f64,
        min_lr: Option<f64>,
        /// The minimum as a share of the peak.
        min_lr_ratio: Option<f64>,
    },
    Polynomial {
        power: f64,
        end_lr: f64,
    },
    InverseSqrt {
        /// Steps; None: those of the warm-up, or 10000 without one.
        timescale: Option<u64>,
    },
    WarmupStableDecay {
        /// Length of the fall at the end of the run. Needed.
        decay: Option<FractionOrSteps>,
        decay_shape: DecayShape,
        /// Where the fall ends, as a share of the peak.
        min_lr_ratio: f64,
    },
    Cyclical {
        shape: CycleShape,
        /// Where cycles begin. Needed.
        min_lr: Option<f64>,
        /// Steps from the minimum to the peak. Needed.
        step_up: Option<u64>,
        /// Steps back; None: as many.
        step_down: Option<u64>,
        /// Of `exp_range`: the amplitude's factor each step.
        gamma: f64,
    },
    OneCycle {
        /// Share of the steps that rise.
        pct_start: f64,
        anneal: Anneal,
        /// Peak over initial rate.
        div_factor: f64,
        /// Initial over final rate.
        final_div_factor: f64,
    },
    ReduceOnPlateau {
        factor: f64,
        /// Evaluations without a better loss that are borne; one more reduces the rate.
        patience: u64,
        /// A loss is better below the best times (1 - threshold).
        threshold: f64,
        /// Evaluations after a reduction that are not counted.
        cooldown: u64,
        min_lr: f64,
    },
    /// From `from` at the first step up to the peak at the last, by the same factor each step. No choice of sweep files:
    /// the learning-rate range test runs on it.
    RangeTest {
        from: f64,
    },
}

impl Scheduler {
    /// The name used in sweep files.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Linear => "linear",
            Self::Cosine { .. } => "cosine",
            Self::CosineWithRestarts { .. } => "cosine_with_restarts",
            Self::CosineWithMinLr { .. } => "cosine_with_min_lr",
            Self::Polynomial { .. } => "polynomial",
            Self::InverseSqrt { .. } => "inverse_sqrt",
            Self::WarmupStableDecay { .. } => "warmup_stable_decay",
            Self::Cyclical { .. } => "cyclical",
            Self::OneCycle { .. } => "one_cycle",
            Self::ReduceOnPlateau { .. } => "reduce_on_plateau",
            Self::RangeTest { .. } => "range_test",
        }
    }

    /// Whether it begins with a rise of its own, so that no warm-up goes with it.
    #[must_use]
    pub fn rises(&self) -> bool {
        matches!(self, Self::Cyclical { .. } | Self::OneCycle { .. })
    }
}

/// How `warmup_stable_decay` falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecayShape {
    Linear,
    Cosine,
    #[serde(rename = "1-sqrt")]
    OneMinusSqrt,
}

/// How the cycles of `cyclical` grow smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CycleShape {
    /// Not at all.
    Triangular,
    /// By half each cycle.
    Triangular2,
    /// By `gamma` each step.
    ExpRange,
}

/// The form of both halves of `one_cycle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anneal {
    Cosine,
    Linear,
}

/// Text augmentations of the training split; the definitions stand with [`crate::train::augment`]. `wordnet` is a
/// dictionary folder in place of the embedded lexicon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Augmentation {
    /// A share `rate` of words, each replaced by a WordNet synonym.
    Synonym {
        rate: f64,
        #[serde(default)]
        choose: Choose,
        /// Whether the synonym is of the part of speech that the word has in its sentence.
        #[serde(default = "yes")]
        pos: bool,
        #[serde(default)]
        wordnet: Option<String>,
    },
    /// A share `rate` of times, a synonym of a random word is put at a random place.
    RandomInsertion {
        rate: f64,
        #[serde(default)]
        wordnet: Option<String>,
    },
    /// A share `rate` of times, two random words change places.
    RandomSwap { rate: f64 },
    /// Each word goes with probability `rate`; one stays.
    RandomDeletion { rate: f64 },
    /// One of the four above at rate `alpha`, drawn for each example and epoch.
    Eda {
        alpha: f64,
        #[serde(default)]
        wordnet: Option<String>,
    },
    /// The program of the EDA paper: `copies` versions of each example and the example itself, one of them each epoch.
    EdaExact {
        alpha: f64,
        copies: usize,
        #[serde(default)]
        wordnet: Option<String>,
    },
    /// 1 to `share` of the words get a punctuation mark before them.
    Aeda { share: f64 },
    /// A share `rate` of word pieces left out of attention and input.
    TokenCutoff { rate: f64 },
    /// Pooled outputs and labels mixed in pairs by a share from Beta(alpha, alpha).
    Mixup { alpha: f64 },
    /// A share `rate` of words, each replaced by one of the `top_k` that a masked-language model puts in its place.
    Contextual {
        rate: f64,
        top_k: usize,
        /// A checkpoint with an MLM head; None: the trial's own.
        model: Option<String>,
    },
    /// The text translated there and back.
    BackTranslation {
        engine: Translator,
        /// Command lines, both needed; or Marian checkpoints, None: OPUS-MT's of English and French.
        out: Option<String>,
        home: Option<String>,
        /// Seconds that each program may take.
        timeout: f64,
        /// Hypotheses that Marian follows; 1: greedy.
        #[serde(default = "four")]
        beams: usize,
        /// Ways out that Marian draws, one of them each epoch; 0: the best alone.
        #[serde(default)]
        samples: usize,
    },
}

impl Augmentation {
    /// Whether a model or a program is asked about every text, once, before training.
    #[must_use]
    pub fn asks(&self) -> bool {
        matches!(
            self,
            Self::Synonym { choose: Choose::Context, .. } | Self::Contextual { .. } | Self::BackTranslation { .. }
        )
    }

    /// Whether it changes texts; the others change what the model makes of them.
    #[must_use]
    pub fn changes_texts(&self) -> bool {
        !matches!(self, Self::TokenCutoff { .. } | Self::Mixup { .. })
    }

    /// The name used in sweep files.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Synonym { .. } => "synonym",
            Self::RandomInsertion { .. } => "random_insertion",
            Self::RandomSwap { .. } => "random_swap",
            Self::RandomDeletion { .. } => "random_deletion",
            Self::Eda { .. } => "eda",
            Self::EdaExact { .. } => "eda_exact",
            Self::Aeda { .. } => "aeda",
            Self::TokenCutoff { .. } => "token_cutoff",
            Self::Mixup { .. } => "mixup",
            Self::Contextual { .. } => "contextual",
            Self::BackTranslation { .. } => "back_translation",
        }
    }
}

/// What translates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Translator {
    /// Programs that read lines and write lines.
    Command,
    /// Marian checkpoints.
    Marian,
}

/// How a synonym is chosen from the candidates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choose {
    /// Any, drawn.
    #[default]
    Random,
    /// The first lemma of the most frequent sense.
    First,
    /// The one that moves the sentence's embedding least.
    Context,
}

fn four() -> usize {
    4
}

fn yes() -> bool {
    true
}

/// Rules that end a single trial early by its own curve. Part of its identity: they decide where its curve ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StopRules {
    /// End when the loss is NaN or infinite, or its smoothed value is above three times its start.
    pub diverged: bool,
    pub patience: Option<Patience>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Patience {
    pub metric: PatienceMetric,
    /// Evaluations without an improvement by more than `min_delta`.
    pub evals: u32,
    pub min_delta: f64,
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

/// A row of `metrics.csv`: one optimizer step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MetricRow {
    /// Counts from 1: the number of steps taken, this one included.
    pub step: u64,
    /// Epochs of data seen after this step.
    pub epoch: f64,
    /// Mean loss of the batch, in nats.
    pub train_loss: f32,
    /// Rate that this step used.
    pub lr: f64,
    /// Global norm before clipping.
    pub grad_norm: f32,
    /// Real (unpadded) tokens of the batch.
    pub tokens: u64,
    /// Since the trial's start, earlier attempts included.
    pub seconds: f64,
}

/// A row of `evals.csv`: one evaluation, after `step` steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EvalRow {
    /// 0 is the untrained model.
    pub step: u64,
    pub eval_loss: f32,
    pub accuracy: f32,
    pub macro_f1: f32,
    /// Loss of a fixed set of clean training examples, dropout off.
    pub train_probe_loss: f32,
}

/// A row of `diagnostics.csv`: beside an evaluation, what the curves do not hold. None where it was not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiagnosticRow {
    /// As in the row of `evals.csv`.
    pub step: u64,
    /// Of the step that led here: norm of the gradient of the lowest trained encoder layer, before clipping.
    pub first_grad_norm: Option<f32>,
    /// Likewise of the highest one.
    pub last_grad_norm: Option<f32>,
    /// Likewise: mean |change| over mean |weight| of the query matrix of the highest trained layer.
    pub update_ratio: Option<f32>,
    /// Evaluation examples that were given each class.
    pub predicted: Vec<u32>,
}

/// How a trial stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Finished,
    /// The loss became NaN or infinite or ran away: a result, not an error.
    Diverged,
    /// Ended early by a rule.
    Stopped,
    Failed,
    Running,
    Pending,
}

impl Status {
    /// Whether the trial has an outcome: nothing is left to train.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Diverged | Self::Stopped)
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Diverged => "diverged",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Running => "running",
            Self::Pending => "pending",
        }
    }
}

/// `outcome.json`: how a trial ended. Non-finite figures are None.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Finished, Diverged or Stopped.
    pub status: Status,
    /// Why a diverged or stopped trial ended where it did, in words.
    pub reason: Option<String>,
    /// Optimizer steps taken.
    pub steps: u64,
    pub final_train_loss: Option<f32>,
    pub final_eval_loss: Option<f32>,
    pub best_eval_loss: Option<f32>,
    pub best_eval_step: Option<u64>,
    pub final_accuracy: Option<f32>,
    pub best_accuracy: Option<f32>,
    pub best_macro_f1: Option<f32>,
    /// Training and evaluating, all attempts together.
    pub seconds: f64,
    /// Real training tokens a second of training.
    pub tokens_per_second: f64,
    /// Peak resident memory of the worker, bytes; None where the system does not tell.
    pub peak_memory: Option<u64>,
    /// Labels in class order, and the share of each in the training split and in the evaluation set.
    pub labels: Vec<String>,
    pub class_prior: Vec<f64>,
    pub eval_prior: Vec<f64>,
    /// What the trial's own curve says; see `analysis`.
    pub verdicts: Vec<Verdict>,
}

/// A statement about a trial's curve, with the numbers it rests on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// Stable name: `plateaued`, `still_improving`, `overfits`, `collapsed`, `stuck_at_chance`, `nan`, ... for what became
    /// of the evaluation loss; the names of `analysis::rules` for why.
    pub id: String,
    #[serde(default)]
    pub kind: VerdictKind,
    /// Step that the statement is about.
    pub step: Option<u64>,
    /// In plain words, numbers included.
    pub text: String,
    /// The numbers it rests on, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// First and last step of what it rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<(u64, u64)>,
    /// What to change, as a line of a sweep file or in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Verdict {
    /// The note on a trial that ran out of memory and was trained with smaller micro-batches.
    pub const SMALLER_MICRO_BATCHES: &str = "SMALLER_MICRO_BATCHES";
}

/// What a verdict speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// What became of the evaluation loss.
    #[default]
    Shape,
    /// Why the loss does not fall.
    Cause,
    /// Worth knowing, and no fault.
    Note,
}

/// A number that a verdict rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub name: String,
    /// None if it is not finite.
    pub value: Option<f64>,
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
