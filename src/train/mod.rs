//! One trial, from text to curves: data, tokens, augmentation, model, kernels, schedule, optimizer, checkpoint, and the
//! loop on one page. candle appears nowhere else.
//!
//! Guarantees: the numbers of a trial are a function of its [`TrialConfig`] and its data alone, whatever the number of
//! threads, the neighbours, or how often it was interrupted. Writes no files: what it produces goes to a [`Sink`].

pub mod augment;
pub mod batch;
pub mod checkpoint;
pub mod classifier;
pub mod data;
pub mod device;
pub mod engine;
pub mod evaluate;
pub mod fit;
pub mod frozen;
pub mod kernels;
pub mod metrics;
pub mod model;
pub mod optim;
pub mod schedule;
pub mod signals;
mod source_check;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod weights;

pub use data::{check_data, data_facts, locate_data, locate_model};
pub use device::available_devices;
pub use engine::micro_batch_tokens;

use crate::trial::{
    BestEvaluation, CheckpointEvery, Device, DiagnosticRow, EvalRow, Keep, MetricRow, ModelConfig, ModelFacts, Outcome,
    Probe, SourceHashes, TrialConfig, steps_per_epoch,
};
use source_check::SourceCheck;

/// Everything one attempt at a trial needs.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// Paths resolved, options filled in by the plan.
    pub config: &'a TrialConfig,
    pub device: Device,
    /// CPU threads.
    pub threads: usize,
    pub checkpoint_every: CheckpointEvery,
    /// Times that micro-batches are halved to save memory.
    pub micro_batch_splits: u32,
    /// To be trained to its end: of the trial's own rules only the one on divergence counts.
    pub ignores_stop_rules: bool,
    /// The content hashes behind the id of the trial. None: they are not compared.
    pub sources: Option<&'a SourceHashes>,
    /// A state that an earlier attempt saved through [`Sink::checkpoint`].
    pub resume: Option<&'a [u8]>,
    /// For a fork: the state of the probed trial after [`crate::trial::Probe::step`] steps.
    pub start: Option<&'a [u8]>,
    pub cache: &'a dyn Cache,
}

/// Where a trial's results go. An error ends the trial.
pub trait Sink {
    fn metric(&mut self, row: &MetricRow) -> std::io::Result<()>;
    fn eval(&mut self, row: &EvalRow) -> std::io::Result<()>;
    /// After each evaluation that is the best so far.
    fn best_evaluation(&mut self, best: &BestEvaluation) -> std::io::Result<()> {
        let _ = best;
        Ok(())
    }
    /// After each evaluation.
    fn diagnostic(&mut self, row: &DiagnosticRow) -> std::io::Result<()>;
    /// The complete state after `step` steps: weights, both moments, step (a safetensors file).
    /// `best`: the evaluation loss just measured is the lowest so far.
    fn checkpoint(&mut self, step: u64, best: bool, state: Vec<u8>) -> std::io::Result<()>;
    /// Asked between micro-batches; true ends the trial with [`TrainError::Interrupted`] after a checkpoint.
    fn interrupted(&self) -> bool;
    /// Which states are worth making although nobody resumes from them: with [`Keep::Best`] one after every evaluation that
    /// is the best so far, with [`Keep::Last`] one at the end.
    fn keep(&self) -> Keep {
        Keep::None
    }
    /// Before the first row: the share of each class in the training split.
    fn classes(&mut self, prior: &[f64]) {
        let _ = prior;
    }
    /// Why the trial is to end before its last step, if somebody else decided so; asked before every step. Its state is
    /// saved then, to be gone on from.
    fn stop_reason(&self) -> Option<String> {
        None
    }
    /// Whether the evaluation set is of interest; false for who reads training losses alone.
    fn evaluates(&self) -> bool {
        true
    }
}

/// Keeps what is expensive to make (tokens) between trials. A miss is never an error.
pub trait Cache: Sync {
    fn get(&self, key: &str) -> Option<Vec<u8>>;
    fn put(&self, key: &str, bytes: &[u8]);
}

/// Why a trial has no outcome. Divergence is an outcome.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Data, checkpoint or configuration that cannot be trained on; says what, where and what to do.
    #[error("{0}")]
    Input(String),
    /// A data file or a checkpoint that cannot be used. Keeps the error that caused it.
    #[error(transparent)]
    Data(#[from] data::DataError),
    /// The same where single keys of the configuration are to blame.
    #[error("{}", .0.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join("; "))]
    Keys(Vec<KeyFault>),
    /// A state to resume from that cannot be read: damaged, or of another version. Nothing was trained yet.
    #[error("{0}")]
    State(String),
    #[error("device: {0}")]
    Device(String),
    /// The system gives no more threads.
    #[error("{0}")]
    Threads(String),
    #[error("cannot write results: {0}")]
    Sink(#[from] std::io::Error),
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// What is wrong with the value of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFault {
    /// Dotted, as in a sweep file.
    pub key: &'static str,
    pub message: String,
}

impl TrainError {
    /// An input that `key` is to blame for.
    fn key(key: &'static str, message: impl Into<String>) -> Self {
        Self::Keys(vec![KeyFault { key, message: message.into() }])
    }

    /// Whether the device has no memory left. Its driver says so in words alone.
    #[must_use]
    pub fn is_out_of_device_memory(&self) -> bool {
        let words = match self {
            Self::Candle(error) => error.to_string().to_lowercase(),
            Self::Device(message) => message.to_lowercase(),
            _ => return false,
        };
        ["out of memory", "out_of_memory", "insufficient memory"].iter().any(|said| words.contains(said))
    }

    /// Every fault by itself; `key` is to blame for what names none.
    #[must_use]
    pub fn faults(self, key: &'static str) -> Vec<KeyFault> {
        match self {
            Self::Keys(faults) => faults,
            other => vec![KeyFault { key, message: other.to_string() }],
        }
    }
}

/// Trains one trial. The verdicts of the outcome are left empty.
pub fn train(job: Job<'_>, sink: &mut dyn Sink) -> Result<Outcome, TrainError> {
    let config = job.config;
    let device = device::open(job.device)?;
    let check = SourceCheck { config, expected: job.sources };
    let (dataset, hashes) = data::load_hashed(&config.data, &config.model.from, job.cache)?;
    check.data(&hashes)?;
    check.augmentations()?;
    let dataset = dataset.of_probe(config.probe.as_ref(), config.seed);
    let files = data::CheckpointFiles::read(&config.model.from)?;
    check.checkpoint(&files, &hashes)?;
    let model = load_model(files, config, dataset.labels.len(), &device)?;
    model.check(&dataset.train.tokens)?;
    model.check(&dataset.eval.tokens)?;
    let rows = dataset.train.examples.len();
    let per_epoch = steps_per_epoch(rows, config.batch_size);
    let before = config.probe.as_ref().map_or(0, Probe::offset);
    let first = (before + job.resume.map_or(Ok(0), checkpoint::step)?) / per_epoch;
    let augmenter = augmenter(config, &dataset.train.examples, job.cache, &|_| ())?;
    let encoder = || {
        let (encoder, hash) = data::encoder(&config.data, &config.model.from)?;
        check.tokenizer(hash, &hashes).map(|()| encoder)
    };
    let texts_stay = augmenter.is_empty();
    let mut epochs = data::Epochs::new(&dataset.train, augmenter, encoder, first)?;
    let steps = config.length.steps(rows, config.batch_size);
    let schedule = schedule::Schedule::new(&config.scheduler, config.lr, config.warmup.steps(steps), steps);
    let mut engine =
        engine::Engine::new(model, optim::Settings::new(config), job.threads)?.halved(job.micro_batch_splits);
    let mut frozen =
        |split: &data::Split| frozen::Frozen::new(&mut engine, &split.tokens, job.cache, &|| sink.interrupted());
    let train = if texts_stay { frozen(&dataset.train)? } else { None };
    let frozen = frozen::FrozenSplits { train, eval: frozen(&dataset.eval)? };
    let fit = fit::Fit {
        config,
        dataset: &dataset,
        tokens: &mut |epoch| epochs.epoch(epoch),
        rate: &|k, losses| schedule.rate_after(k, losses),
        checkpoint_every: job.checkpoint_every,
        frozen,
        before,
        start: job.start,
        ignores_stop_rules: job.ignores_stop_rules,
    };
    sink.classes(&dataset.class_prior);
    fit::fit(fit, &mut engine, job.resume, sink)
}

/// Steps that a trial had taken when this state of it was saved.
pub fn steps_of_state(state: &[u8]) -> Result<u64, TrainError> {
    checkpoint::step(state)
}

/// Computes the suggestions of the trial's augmentations that are not in `cache` yet. `notify` is called with the number of
/// texts before a model or a program processes them.
pub fn prepare_augmentation(config: &TrialConfig, cache: &dyn Cache, notify: &dyn Fn(usize)) -> Result<(), TrainError> {
    let dataset = data::load(&config.data, &config.model.from, cache)?;
    augmenter(config, &dataset.train.examples, cache, notify).map(drop)
}

fn augmenter(
    config: &TrialConfig,
    examples: &[data::Example],
    cache: &dyn Cache,
    notify: &dyn Fn(usize),
) -> Result<augment::Augmenter, TrainError> {
    let (model, max_length) = (&config.model.from, config.data.max_length);
    let context = augment::AugmentContext { examples, model, max_length, cache, notify };
    augment::Augmenter::new(&config.augmentation, config.seed, &context)
}

/// Loads the model and lets go of its files.
fn load_model(
    files: data::CheckpointFiles,
    config: &TrialConfig,
    classes: usize,
    device: &candle_core::Device,
) -> Result<model::Bert, TrainError> {
    let weights: Vec<&[u8]> = files.weights.iter().map(AsRef::as_ref).collect();
    model::Bert::load(&files.config, &weights, &config.model, classes, config.seed, device)
}

/// Refuses weights that lack a tensor or have one of another shape than `config.json` says. The head may have any shape.
fn fits(config: &[u8], weights: &[&[u8]]) -> Result<(), TrainError> {
    const CLASSES: usize = 2;
    let plain = ModelConfig { from: String::new(), pooling: None, dropout: None, freeze: 0, reinit: 0 };
    model::Bert::load(config, weights, &plain, CLASSES, 0, &candle_core::Device::Cpu).map(drop)
}

/// Reads a located checkpoint and says what a plan must know.
pub fn model_facts(model: &str) -> Result<ModelFacts, TrainError> {
    let files = data::CheckpointFiles::read(model)?;
    let config = model::config::Config::parse(&files.config)?;
    let weights: Vec<&[u8]> = files.weights.iter().map(AsRef::as_ref).collect();
    let tensors = model::parameters::Tensors::read(&weights)?;
    fits(&files.config, &weights)?;
    if let Some(name) = tensors.first_non_finite() {
        return Err(TrainError::Input(format!(
            "the weights hold NaN or infinite values, first in `{name}`; copy model.safetensors again, or take an earlier \
             checkpoint of that training"
        )));
    }
    let model::config::DropoutRates { hidden, attention, classifier } = config.dropout;
    let all: [u64; 3] = [hidden, attention, classifier].map(f64::to_bits);
    Ok(ModelFacts {
        hash: files.hash(),
        parameters: tensors.elements(),
        vocabulary: config.vocabulary,
        layers: config.layers,
        hidden: config.hidden,
        heads: config.heads,
        intermediate: config.intermediate,
        max_positions: config.positions,
        token_types: config.types,
        has_pooler: tensors.has_pooler(),
        dropout: all.iter().all(|bits| *bits == all[0]).then_some(hidden),
    })
}
