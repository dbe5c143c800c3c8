//! One trial, from text to curves: data, tokens, augmentation, model, kernels, schedule, optimizer, checkpoint, and the
//! loop on one page. candle appears nowhere else.
//!
//! Guarantees: the numbers of a trial are a function of its [`TrialConfig`] and its data alone, whatever the number of
//! threads, the neighbours, or how often it was interrupted. Writes no files: what it produces goes to a [`Sink`].

pub mod augment;
pub mod data;
pub mod kernels;
pub mod model;
pub mod random;
pub mod schedule;

use crate::trial::{
    CheckpointEvery, DataConfig, DataFacts, Device, EvalRow, Keep, MetricRow, ModelFacts, Outcome, TrialConfig,
};

/// Everything one attempt at a trial needs.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// Paths resolved, options filled in by the plan.
    pub config: &'a TrialConfig,
    pub device: Device,
    /// CPU threads.
    pub threads: usize,
    pub checkpoint_every: CheckpointEvery,
    /// A state that an earlier attempt saved through [`Sink::checkpoint`].
    pub resume: Option<&'a [u8]>,
    pub cache: &'a dyn Cache,
}

/// Where a trial's results go. An error ends the trial.
pub trait Sink {
    fn metric(&mut self, row: &MetricRow) -> std::io::Result<()>;
    fn eval(&mut self, row: &EvalRow) -> std::io::Result<()>;
    /// The complete state after `step` steps: weights, both moments, step (a safetensors file).
    /// `best`: the evaluation loss just measured is the lowest so far.
    fn checkpoint(&mut self, step: u64, best: bool, state: &[u8]) -> std::io::Result<()>;
    /// Asked between micro-batches; true ends the trial with [`TrainError::Interrupted`] after a checkpoint.
    fn interrupted(&self) -> bool;
    /// Which states are worth making although nobody resumes from them: with [`Keep::Best`] one after every evaluation that
    /// is the best so far, with [`Keep::Last`] one at the end.
    fn keep(&self) -> Keep {
        Keep::None
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
    #[error("device: {0}")]
    Device(String),
    #[error("cannot write results: {0}")]
    Sink(#[from] std::io::Error),
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Trains one trial. The verdicts of the outcome are left empty.
pub fn train(job: Job<'_>, sink: &mut dyn Sink) -> Result<Outcome, TrainError> {
    let _ = (job, sink);
    Err(TrainError::Input("not built yet".into()))
}

/// Finds a data source as written in a sweep file: `embedded:NAME` stays, a path is looked up in `roots` in turn and made absolute.
pub fn locate_data(source: &str, roots: &[std::path::PathBuf]) -> Result<String, TrainError> {
    let _ = (source, roots);
    Err(TrainError::Input("not built yet".into()))
}

/// Finds a checkpoint as written in a sweep file: `embedded:NAME` stays, `hf:` is downloaded into the Hugging Face cache
/// and becomes its folder, a path is looked up in `roots` in turn and made absolute.
pub fn locate_model(source: &str, roots: &[std::path::PathBuf]) -> Result<String, TrainError> {
    let _ = (source, roots);
    Err(TrainError::Input("not built yet".into()))
}

/// Reads, splits and tokenises (or finds in `cache`) and says what a plan must know. Sources are located ones.
pub fn data_facts(data: &DataConfig, model: &str, cache: &dyn Cache) -> Result<DataFacts, TrainError> {
    let _ = (data, model, cache);
    Err(TrainError::Input("not built yet".into()))
}

/// Reads a located checkpoint's headers and says what a plan must know.
pub fn model_facts(model: &str) -> Result<ModelFacts, TrainError> {
    let _ = model;
    Err(TrainError::Input("not built yet".into()))
}

/// The accelerators that this build and this machine have, best first; the CPU is always there and last.
#[must_use]
pub fn available_devices() -> Vec<Device> {
    vec![Device::Cpu]
}
