//! The interface between the trainer and its caller: a [`Job`] goes in, rows and checkpoints go to a [`Sink`].

use crate::trial::{
    BestEvaluation, CheckpointEvery, Device, DiagnosticRow, EvalRow, Keep, MetricRow, SourceHashes, TrialConfig,
};

/// Everything that one attempt at a trial needs.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The complete configuration: paths are located and optional values are set.
    pub config: &'a TrialConfig,
    pub device: Device,
    /// CPU threads.
    pub threads: usize,
    pub checkpoint_every: CheckpointEvery,
    /// Target size of a training micro-batch in tokens, before it is split.
    pub micro_batch_tokens: usize,
    /// How often micro-batches are split in two to save memory.
    pub micro_batch_splits: u32,
    /// Train to the last step, whatever the trial's own stop rules say. Only divergence still ends the trial.
    pub ignores_stop_rules: bool,
    /// The content hashes behind the id of the trial. None: they are not compared.
    pub sources: Option<&'a SourceHashes>,
    /// A training state that an earlier attempt saved through [`Sink::checkpoint`].
    pub resume: Option<&'a [u8]>,
    /// For a probe: the training state of the probed trial after [`crate::trial::Probe::step`] steps.
    pub start: Option<&'a [u8]>,
    pub cache: &'a dyn Cache,
}

/// Where the results of a trial go. An error ends the trial.
pub trait Sink {
    fn metric(&mut self, row: &MetricRow) -> std::io::Result<()>;

    fn eval(&mut self, row: &EvalRow) -> std::io::Result<()>;

    /// Called after each evaluation that is the best so far, by the metric of the trial.
    fn best_evaluation(&mut self, best: &BestEvaluation) -> std::io::Result<()> {
        let _ = best;
        Ok(())
    }

    /// Called after each evaluation.
    fn diagnostic(&mut self, row: &DiagnosticRow) -> std::io::Result<()>;

    /// Receives the complete training state after `step` steps: weights, both moments and progress, as a safetensors file.
    /// `best` says that the evaluation just made is the best so far, by the metric of the trial.
    fn checkpoint(&mut self, step: u64, best: bool, state: Vec<u8>) -> std::io::Result<()>;

    /// Whether the caller wants the weights of the best evaluation.
    fn keeps_weights(&self) -> bool {
        false
    }

    /// Receives the weights of the evaluation with the lowest loss so far, without the optimizer, as a safetensors file.
    /// Called before a checkpoint and at the end, if [`Sink::keeps_weights`].
    fn weights(&mut self, weights: &[u8]) -> std::io::Result<()> {
        let _ = weights;
        Ok(())
    }

    /// Asked between micro-batches. If true, the trial saves a checkpoint and ends with
    /// [`super::TrainError::Interrupted`].
    fn interrupted(&self) -> bool;

    /// Which checkpoints to save although no attempt resumes from them. [`Keep::Best`] saves one after every evaluation
    /// that is the best so far, [`Keep::Last`] one at the end.
    fn keep(&self) -> Keep {
        Keep::None
    }

    /// Called before the first row with the loss of the best model that ignores its input, on the training split.
    fn chance(&mut self, chance: Option<f64>) {
        let _ = chance;
    }

    /// Asked before every step: the reason for which the caller ends the trial after `step` steps, before its last. The trial then
    /// saves a checkpoint from which it can continue.
    fn stop_reason(&self, step: u64) -> Option<String> {
        let _ = step;
        None
    }

    /// Whether the evaluation set is needed. False for callers that read only training losses.
    fn evaluates(&self) -> bool {
        true
    }
}

/// Keeps values that are expensive to compute, such as tokens, between trials. A missing value is never an error.
pub trait Cache: Sync {
    fn get(&self, key: &str) -> Option<Vec<u8>>;
    fn put(&self, key: &str, bytes: &[u8]);
}
