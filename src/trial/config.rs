//! The configuration of a trial, with the keys of a sweep file, and its defaults.
//!
//! A trial's id depends on what differs from [`TrialConfig::default`]. A new field therefore needs a default that leaves
//! the trainer's numbers as they were, and a changed default needs a new numerics version in [`crate::plan`].

use serde::{Deserialize, Serialize};

use super::{
    AdaptersConfig, Architecture, Augmentation, EmbeddingsConfig, Extra, FractionOrSteps, Length, LoraConfig,
    LossConfig, Metric, PrecisionName, Probe, ProbeKind, Scheduler, TaskName, Windows,
};

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
    /// Applied one after the other; empty for none.
    pub augmentation: Vec<Augmentation>,
    /// Not applied to biases and LayerNorm parameters.
    pub weight_decay: f64,
    /// The global gradient norm is clipped to this; 0: no clipping.
    pub max_grad_norm: f64,
    /// Share of the target that is spread evenly over all classes.
    pub label_smoothing: f64,
    #[serde(default)]
    pub loss: LossConfig,
    /// Examples per optimizer step.
    pub batch_size: usize,
    /// Micro-batches that a batch is split into.
    pub grad_accumulation: usize,
    #[serde(flatten)]
    pub length: Length,
    /// Fraction of an epoch, or optimizer steps, between evaluations.
    pub eval_every: FractionOrSteps,
    #[serde(default)]
    pub precision: PrecisionName,
    /// Of the head initialisation, shuffling, dropout and augmentation.
    pub seed: u64,
    /// Ranks configurations, chooses the best checkpoint, and drives early stopping.
    #[serde(default)]
    pub metric: Metric,
    pub stop: StopRules,
    /// None for trials of a sweep file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

impl Default for TrialConfig {
    /// The trial that an empty sweep file describes.
    fn default() -> Self {
        Self {
            data: DataConfig::default(),
            model: ModelConfig::default(),
            optimizer: OptimizerConfig::default(),
            lr: 3e-5,
            warmup: FractionOrSteps(0.1),
            scheduler: Scheduler::Linear,
            augmentation: Vec::new(),
            weight_decay: 0.01,
            max_grad_norm: 1.0,
            label_smoothing: 0.0,
            loss: LossConfig::default(),
            batch_size: 32,
            grad_accumulation: 1,
            length: Length::Epochs(3.0),
            eval_every: FractionOrSteps(0.25),
            precision: PrecisionName::default(),
            seed: 42,
            metric: Metric::default(),
            stop: StopRules::default(),
            probe: None,
        }
    }
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

    /// The `alpha` of mixup, if mixup is among the augmentations.
    #[must_use]
    pub fn mixup(&self) -> Option<f64> {
        self.augmentation.iter().find_map(|method| match method {
            Augmentation::Mixup { alpha } => Some(*alpha),
            _ => None,
        })
    }
}

/// The data of a trial, and how it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataConfig {
    /// What the label column holds.
    #[serde(default)]
    pub task: TaskName,
    /// `embedded:NAME`, or an absolute path of a file or a folder; several paths as `{PATH,PATH}`.
    pub train: String,
    pub eval: EvalSource,
    /// The test set, which no training and no choice of a trial reads; a fraction is taken from train before eval is. None: there
    /// is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<EvalSource>,
    /// Number of parts of the training rows, each of which is the evaluation set of some trials; None: `eval` says what is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folds: Option<usize>,
    /// The part that is the evaluation set of this trial, from 1 to `folds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<usize>,
    /// Column of the text, or several columns that are joined with spaces.
    pub text: ColumnNames,
    /// Column of the second sentence, for sentence pairs.
    pub text_pair: Option<String>,
    /// Columns of the choices of a question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// Column of the label; or a column for each label of [`TaskName::MultiLabel`], which holds 1 where the text has it.
    pub label: ColumnNames,
    /// Tokens, `[CLS]` and `[SEP]` included.
    pub max_length: usize,
    /// What is kept of a text with more tokens.
    #[serde(default)]
    pub truncate: Truncate,
    /// In how many windows longer texts are read; None: in one, and the rest is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<Windows>,
    /// Number of training rows that are used, drawn after the split with all labels in their shares; None: all.
    pub limit: Option<usize>,
    /// The same for evaluation rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_limit: Option<usize>,
    /// Whether the order of the training rows is drawn anew each epoch.
    pub shuffle: bool,
    /// Of the split into train and eval, and of the rows that limits draw.
    pub seed: u64,
    /// Format of the files; None: by their extension or content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DataFormat>,
    /// The character between fields, or its name; None: the one that fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<String>,
    /// Whether the first line names the columns. Without a header, columns are numbers from 1. None: as it fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// Encoding of text files, such as `latin-1`; None: detected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    #[serde(default, skip_serializing_if = "BadRows::is_error")]
    pub bad_rows: BadRows,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            task: TaskName::default(),
            train: "embedded:tweets".into(),
            eval: EvalSource::Fraction(0.2),
            test: None,
            folds: None,
            fold: None,
            text: "text".into(),
            text_pair: None,
            choices: Vec::new(),
            label: "label".into(),
            max_length: 128,
            truncate: Truncate::default(),
            windows: None,
            limit: None,
            eval_limit: None,
            shuffle: true,
            seed: 42,
            format: None,
            delimiter: None,
            header: None,
            encoding: None,
            bad_rows: BadRows::Error,
        }
    }
}

impl DataConfig {
    /// The evaluation and the test file, where they are files.
    pub fn held_out_files(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.eval).chain(&self.test).filter_map(EvalSource::file)
    }

    /// The evaluation and the test file, to be changed.
    pub fn held_out_files_mut(&mut self) -> impl Iterator<Item = &mut String> {
        std::iter::once(&mut self.eval).chain(&mut self.test).filter_map(EvalSource::file_mut)
    }
}

/// Where the evaluation set or the test set comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EvalSource {
    /// Held out of train, stratified by label. In (0, 1).
    Fraction(f64),
    /// Like [`DataConfig::train`].
    File(String),
    /// A file with columns of its own.
    Table(EvalTable),
}

/// An evaluation or test file whose columns may have other names than those of the training file. None: the same names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalTable {
    /// Like [`DataConfig::train`].
    pub file: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<ColumnNames>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_pair: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<ColumnNames>,
}

impl EvalSource {
    /// The file, if it is not a fraction.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::Fraction(_) => None,
            Self::File(file) | Self::Table(EvalTable { file, .. }) => Some(file),
        }
    }

    /// The file, to be changed.
    pub fn file_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Fraction(_) => None,
            Self::File(file) | Self::Table(EvalTable { file, .. }) => Some(file),
        }
    }
}

/// Names of columns; at least one. A single name is written as text, several as a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OneOrMany", into = "OneOrMany")]
pub struct ColumnNames(pub Vec<String>);

impl std::fmt::Display for ColumnNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

impl From<&str> for ColumnNames {
    fn from(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for ColumnNames {
    fn from(names: OneOrMany) -> Self {
        match names {
            OneOrMany::One(name) => Self(vec![name]),
            OneOrMany::Many(names) => Self(names),
        }
    }
}

impl From<ColumnNames> for OneOrMany {
    fn from(ColumnNames(mut names): ColumnNames) -> Self {
        if names.len() == 1 { Self::One(names.remove(0)) } else { Self::Many(names) }
    }
}

/// The format of data files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataFormat {
    /// Fields between delimiters, which may be quoted.
    Csv,
    /// Fields between tabs, where a quote is an ordinary character.
    Tsv,
    Json,
    /// An object per line.
    Jsonl,
    Parquet,
    /// `__label__NAME` and a text per line.
    Fasttext,
    /// A word and its tag per line.
    Conll,
}

impl DataFormat {
    /// The format that an extension in lower case stands for.
    #[must_use]
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "json" => Some(Self::Json),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "parquet" => Some(Self::Parquet),
            "conll" | "bio" | "iob" | "iob2" => Some(Self::Conll),
            _ => None,
        }
    }
}

/// What is kept of a text that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncate {
    /// The beginning.
    #[default]
    Head,
    /// The end.
    Tail,
    /// A quarter from the beginning and the rest from the end (Sun et al. 2019).
    HeadTail,
}

/// What happens to rows that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadRows {
    /// They are an error.
    #[default]
    Error,
    /// They are left out and counted.
    Skip,
}

impl BadRows {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_error(&self) -> bool {
        *self == Self::Error
    }
}

/// The checkpoint that a trial starts from, and what is changed in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// `embedded:NAME`, an absolute path, or `hf:org/name[@revision]`.
    pub from: String,
    /// The network in place of the checkpoint's encoder.
    #[serde(default)]
    pub architecture: Architecture,
    #[serde(default)]
    pub embeddings: EmbeddingsConfig,
    /// None: all parameters are trained.
    #[serde(default)]
    pub lora: Option<LoraConfig>,
    /// None: there are none.
    #[serde(default)]
    pub adapters: Option<AdaptersConfig>,
    /// A module on top of the encoder.
    #[serde(default)]
    pub extra: Extra,
    /// None until the checkpoint is known: [`Pooling::Pooler`] if it holds one, else [`Pooling::Mean`].
    pub pooling: Option<Pooling>,
    /// Hidden, attention and classifier dropout probability; None: the checkpoint's own three.
    pub dropout: Option<f64>,
    /// 0: nothing is frozen; n: the embeddings and the first n layers are.
    pub freeze: usize,
    /// Number of top layers that start from random values, together with the pooler.
    pub reinit: usize,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            from: Self::EMBEDDED.into(),
            architecture: Architecture::None,
            embeddings: EmbeddingsConfig::default(),
            lora: None,
            adapters: None,
            extra: Extra::None,
            pooling: None,
            dropout: None,
            freeze: 0,
            reinit: 0,
        }
    }
}

impl ModelConfig {
    /// The checkpoint that is compiled into the program.
    pub const EMBEDDED: &str = "embedded:minilm-l3";

    /// The checkpoint that a trial reads: the one with its encoder, or the one with its tokenizer and token embeddings.
    #[must_use]
    pub fn source(&self) -> &str {
        match (&self.architecture, &self.embeddings.from) {
            (Architecture::None, _) => &self.from,
            (_, Some(from)) => from,
            (_, None) if self.from == "none" => Self::EMBEDDED,
            (_, None) => &self.from,
        }
    }

    /// A text that is equal for trials with the same network, once their sources are located.
    #[must_use]
    pub fn network(&self) -> String {
        let architecture = serde_json::to_string(&self.architecture).unwrap_or_default();
        let modules = match (&self.extra, &self.adapters) {
            (Extra::None, None) => String::new(),
            modules => format!(" {}", serde_json::to_string(&modules).unwrap_or_default()),
        };
        format!("{architecture} {}{modules}", self.source())
    }

    /// Drops what has no effect, and names the checkpoint of the token embeddings as `from`.
    pub fn settle(&mut self) {
        if self.architecture == Architecture::None {
            self.embeddings = EmbeddingsConfig::default();
        } else {
            self.from = self.source().to_owned();
            self.embeddings.from = None;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The vector of `[CLS]`.
    Cls,
    /// Mean over all tokens of the sentence.
    Mean,
    /// The architecture's own head over the first token. For BERT: a dense layer and tanh over `[CLS]`.
    Pooler,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptimizerConfig {
    pub name: OptimizerName,
    pub betas: [f64; 2],
    pub eps: f64,
    /// Whether the moments are corrected for their start at zero (Kingma and Ba 2015).
    pub bias_correction: bool,
    /// The learning rate of a layer is that of the next higher layer times this; 1: one learning rate for all.
    pub layer_decay: f64,
    /// Peak learning rate of the head (classifier and pooler), which follows the same schedule; None: `lr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_lr: Option<f64>,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            name: OptimizerName::Adamw,
            betas: [0.9, 0.999],
            eps: 1e-8,
            bias_correction: true,
            layer_decay: 1.0,
            head_lr: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerName {
    Adamw,
}

/// Rules that end a trial early by its own curve. They decide where the curve ends, so they are part of the trial's
/// identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StopRules {
    /// End the trial when its loss is NaN or infinite, or when the smoothed loss exceeds three times its start.
    pub diverged: bool,
    pub patience: Option<Patience>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plateau: Option<Plateau>,
}

impl StopRules {
    /// No rule ends the trial.
    pub const OFF: Self = Self { diverged: false, patience: None, plateau: None };
}

impl Default for StopRules {
    fn default() -> Self {
        Self { diverged: true, ..Self::OFF }
    }
}

/// Early stopping: end a trial whose evaluations no longer improve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Patience {
    /// None: that of [`TrialConfig::metric`].
    #[serde(default)]
    pub metric: Option<Metric>,
    /// Number of evaluations in a row without an improvement by more than `min_delta`.
    pub evals: u32,
    pub min_delta: f64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { metric: None, evals: 5, min_delta: 0.0 }
    }
}

/// End a trial whose training loss reached a plateau, by the detector of [`crate::analysis`]. A loss that is flat because
/// the learning rate is near zero does not count, nor does one that the remaining steps would still lower.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plateau {
    /// Number of evaluations in a row at which the curve so far is flat.
    pub evals: u32,
    /// Evaluations before this step are not judged.
    pub min_steps: u64,
}

impl Default for Plateau {
    fn default() -> Self {
        Self { evals: 3, min_steps: 50 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::{LstmPooling, Vectors};

    #[test]
    fn a_network_reads_the_checkpoint_that_has_its_vectors() {
        let bilstm = Architecture::Bilstm { hidden: 8, layers: 1, pooling: LstmPooling::Max };
        let check = |architecture: &Architecture, from: &str, embeddings: Option<&str>, expected: &str| {
            let embeddings = EmbeddingsConfig { from: embeddings.map(str::to_owned), vectors: Vectors::Random };
            let mut model = ModelConfig {
                from: from.into(),
                architecture: architecture.clone(),
                embeddings,
                ..ModelConfig::default()
            };
            assert_eq!(model.source(), expected);
            model.settle();
            assert_eq!((model.source(), model.from.as_str()), (expected, expected));
            assert_eq!(model.embeddings.from, None);
        };
        check(&Architecture::None, "a", Some("b"), "a");
        check(&bilstm, "a", Some("b"), "b");
        check(&bilstm, "a", None, "a");
        check(&bilstm, "none", None, ModelConfig::EMBEDDED);
    }
}
