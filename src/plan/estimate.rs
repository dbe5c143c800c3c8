//! Estimates the time, memory and disk space of a trial before it runs. The estimate is rough. Speeds that earlier trials
//! reached on the same machine replace the assumed speed. Pure.

use crate::trial::{
    DEVICE_MICRO_BATCH_TOKENS, DataFacts, Keep, MAX_DEVICE_MICRO_BATCH_TOKENS, MAX_GRADIENT_BUFFERS,
    MICRO_BATCH_TOKENS, ModelFacts, TRAIN_PROBE_EXAMPLES, TaskName, Trial, TrialConfig, steps_per_epoch,
};

/// A trial that ran on this machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PastTrial {
    /// Of its model.
    pub parameters: u64,
    /// Real training tokens a second of training.
    pub tokens_per_second: f64,
    pub threads: usize,
    /// Bytes, of the machine and of an accelerator.
    pub peak_memory: Option<u64>,
    pub device_memory: Option<u64>,
}

/// The accelerator on which a trial runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accelerator {
    /// Bytes for each of the trials that share it. None: it does not tell its memory.
    pub share: Option<u64>,
}

/// The expected cost of a trial.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Estimate {
    pub seconds: f64,
    /// Peak resident memory of its worker, bytes.
    pub memory: u64,
    /// Peak memory on an accelerator, bytes. 0 on the CPU.
    pub device_memory: u64,
    /// Target size of a micro-batch on an accelerator, in tokens. None on the CPU.
    pub micro_batch_tokens: Option<usize>,
    /// Bytes of the files that stay.
    pub files: u64,
    /// Bytes of its checkpoint, which is removed when the trial ends unless `run.keep` says otherwise.
    pub checkpoint: u64,
}

impl Estimate {
    /// Bytes on disk while it runs.
    pub fn disk(&self) -> u64 {
        self.files.saturating_add(self.checkpoint)
    }
}

/// The expected cost of a sweep, with some trials running at the same time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PlanEstimate {
    /// Wall-clock time.
    pub seconds: f64,
    /// Bytes of memory of the trials that run at the same time.
    pub memory: u64,
    /// Most bytes on disk: all files, and the checkpoints of the trials that run at the same time or are kept.
    pub disk: u64,
}

impl PlanEstimate {
    /// The cost of trials that start in this order, each as soon as one of `jobs` slots is free.
    pub fn of(estimates: &[Estimate], jobs: usize, keep: Keep) -> Self {
        let jobs = jobs.clamp(1, estimates.len().max(1));
        let mut busy_until = vec![0.0f64; jobs];
        for estimate in estimates {
            if let Some(first) = busy_until.iter_mut().min_by(|a, b| a.total_cmp(b)) {
                *first += estimate.seconds;
            }
        }
        let files = estimates.iter().fold(0, |sum: u64, estimate| sum.saturating_add(estimate.files));
        let checkpoints = match keep {
            Keep::None => jobs,
            // Weights are smaller than a checkpoint.
            Keep::Top(count) => jobs.saturating_add(count).min(estimates.len()),
            Keep::Best | Keep::Last | Keep::All => estimates.len(),
        };
        Self {
            seconds: busy_until.into_iter().fold(0.0, f64::max),
            memory: largest(jobs, estimates.iter().map(|estimate| estimate.memory)),
            disk: files.saturating_add(largest(checkpoints, estimates.iter().map(|estimate| estimate.checkpoint))),
        }
    }
}

/// The sum of the `count` largest.
fn largest(count: usize, values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable_by(|a, b| b.cmp(a));
    values.into_iter().take(count).fold(0, u64::saturating_add)
}

/// Assumed speed of one thread while training, in floating-point operations per second, where no trial was measured. It is
/// half of what matrix products of these sizes reach on a processor with AVX2 (118 GFLOP/s, measured on one core of an
/// EPYC). The other half is for everything else.
const ASSUMED_SPEED: f64 = 60e9;
/// Processor seconds of a trial beside its training: its process, its data, its files; and those of each parameter, which is read,
/// initialised and written. Measured on trials of one step.
const START: f64 = 0.1;
const START_OF_PARAMETER: f64 = 30e-9;
/// n threads are n to this power times as fast as one; measured: 1.88 times for two.
const THREAD_SCALING: f64 = 0.9;
/// A weight and its two moments in f32, in memory and in a checkpoint.
const BYTES_PER_PARAMETER: u64 = 12;
/// A weight in f32.
const WEIGHT_BYTES: u64 = 4;
/// The copy of a weight in f32 that a trial holds of its best evaluation (`run.keep: winner`).
const COPY_BYTES: u64 = 4;
/// A gradient in f32, in each gradient buffer.
const GRADIENT_BYTES: u64 = 4;
/// The program, the tokenizer and the data.
const BASE_MEMORY: u64 = 120 << 20;
/// A row of `metrics.csv`, of `evals.csv`.
const ROW_BYTES: [u64; 2] = [72, 56];
/// `config.json`, `outcome.json` and the folder of an attempt.
const SMALL_FILES: u64 = 16 << 10;

/// Estimates one trial on `threads` threads.
///
/// Arithmetic follows Chowdhery and others, "`PaLM`" (2022), appendix B: per token 2 operations a parameter for the forward
/// pass and 4 for the backward pass of what is trained, and 12 layers hidden length for attention.
pub fn estimate(
    trial: &Trial,
    data: &DataFacts,
    model: &ModelFacts,
    past: &[PastTrial],
    threads: usize,
    accelerator: Option<Accelerator>,
) -> Estimate {
    let config = &trial.config;
    let batch = config.batch_size.min(data.train_rows.max(1)) as f64;
    let tokens = trial.steps as f64 * batch * data.mean_tokens;
    let evals = evaluations(config, trial.steps, data.train_rows);
    let eval_tokens =
        evals as f64 * (data.eval_rows + data.train_rows.min(TRAIN_PROBE_EXAMPLES)) as f64 * data.mean_tokens;
    let cost = Cost::of(config, data, model);
    let training = match nearest(past, model.parameters) {
        Some(past) => {
            let size = past.parameters.max(1) as f64 / model.parameters.max(1) as f64;
            let speed = past.tokens_per_second * size * scaling(threads) / scaling(past.threads);
            let full = Cost::unfrozen(data, model);
            (tokens * cost.train / full.train + eval_tokens * cost.eval / full.train) / speed
        }
        None => (tokens * cost.train + eval_tokens * cost.eval) / (ASSUMED_SPEED * scaling(threads)),
    };
    let rows = trial.steps.saturating_mul(ROW_BYTES[0]).saturating_add(evals.saturating_mul(ROW_BYTES[1]));
    let micro_batch_tokens = accelerator.map(|accelerator| micro_batch_tokens(config, model, accelerator));
    Estimate {
        seconds: START + START_OF_PARAMETER * model.parameters as f64 + training,
        memory: memory(config, data, model, past),
        device_memory: micro_batch_tokens.map_or(0, |tokens| device_memory(config, data, model, tokens, past)),
        micro_batch_tokens,
        files: rows.saturating_add(SMALL_FILES),
        checkpoint: checkpoint(config, model),
    }
}

/// Bytes of a checkpoint: all weights, and the moments of those that are trained.
fn checkpoint(config: &TrialConfig, model: &ModelFacts) -> u64 {
    match trained_modules(config, model) {
        Some((new, trained)) => {
            let trained = trained.saturating_mul(BYTES_PER_PARAMETER);
            model.parameters.saturating_add(new).saturating_mul(WEIGHT_BYTES).saturating_add(trained)
        }
        None => model.parameters.saturating_mul(BYTES_PER_PARAMETER),
    }
}

/// Number of parameters that LoRA adds to `model`, and of all that are trained beside the frozen weights of the checkpoint. None
/// if the checkpoint is trained itself.
fn trained_modules(config: &TrialConfig, model: &ModelFacts) -> Option<(u64, u64)> {
    let extra = config.model.extra.parameters(model.hidden);
    match (&config.model.lora, &config.model.adapters) {
        (None, None) => None,
        (Some(lora), _) => {
            let changes = lora.parameters(&model.modules);
            Some((changes, changes + extra))
        }
        (None, Some(adapters)) => {
            // Every LayerNorm is trained, two in a layer, and the pooler.
            let others = model.hidden * (4 * model.layers + model.hidden);
            Some((0, adapters.parameters(model.layers, model.hidden) + extra + others as u64))
        }
    }
}

fn scaling(threads: usize) -> f64 {
    (threads.max(1) as f64).powf(THREAD_SCALING)
}

/// The measured trial whose model is nearest in size.
fn nearest(past: &[PastTrial], parameters: u64) -> Option<&PastTrial> {
    let distance = |other: u64| (other.max(1) as f64 / parameters.max(1) as f64).ln().abs();
    past.iter()
        .filter(|past| past.tokens_per_second.is_finite() && past.tokens_per_second > 0.0)
        .min_by(|a, b| distance(a.parameters).total_cmp(&distance(b.parameters)))
}

/// Evaluations of a run: before the first step, every `eval_every`, and after the last.
fn evaluations(config: &TrialConfig, steps: u64, rows: usize) -> u64 {
    steps.div_ceil(eval_interval(config, rows)).saturating_add(1)
}

/// Steps between two evaluations.
pub(super) fn eval_interval(config: &TrialConfig, rows: usize) -> u64 {
    config.eval_every.steps(steps_per_epoch(rows, config.batch_size)).max(1)
}

/// Floating-point operations a token.
struct Cost {
    train: f64,
    eval: f64,
}

impl Cost {
    fn of(config: &TrialConfig, data: &DataFacts, model: &ModelFacts) -> Self {
        let frozen = config.model.freeze.min(model.layers) as f64 / model.layers.max(1) as f64;
        let full = Self::unfrozen(data, model);
        // With LoRA or adapters, gradients pass through the weights, but the weights have none.
        let is_light = config.model.lora.is_some() || config.model.adapters.is_some();
        let backward = (full.train - full.eval) * if is_light { 0.5 } else { 1.0 };
        Self { train: full.eval + backward * (1.0 - frozen), eval: full.eval }
    }

    /// Nothing frozen.
    fn unfrozen(data: &DataFacts, model: &ModelFacts) -> Self {
        let embeddings = match model.heads {
            // A network without attention has a table of token embeddings alone.
            0 => model.vocabulary * model.embedding_width,
            // DeBERTa has no table of positions, so there is no limit.
            _ if model.max_positions == ModelFacts::NO_POSITIONS => model.vocabulary * model.hidden,
            _ => (model.vocabulary + model.max_positions) * model.hidden,
        };
        let dense = model.parameters.saturating_sub(embeddings as u64) as f64;
        if model.heads == 0 {
            return Self { train: 6.0 * dense, eval: 2.0 * dense };
        }
        let attention = model.hidden as f64 * model.attended_tokens(data.mean_tokens);
        Self { train: 6.0 * dense + 12.0 * attention, eval: 2.0 * dense + 4.0 * attention }
    }
}

/// Tokens of the longest example: of all windows of a text, or of all choices of a question.
fn longest_example(config: &TrialConfig, data: &DataFacts) -> f64 {
    let length = config.data.max_length as f64;
    match &config.data.windows {
        Some(windows) => {
            // Each window repeats `stride` tokens of the one before it.
            let stride = windows.shared(config.data.max_length);
            let repeats = length / (length - stride as f64).max(1.0);
            (f64::from(data.report.train.longest_tokens) * repeats).max(length)
        }
        None => length * config.data.choices.len().max(1) as f64,
    }
}

/// Share of the tokens that a masked language model predicts.
const MASKED: f64 = 0.15;

/// Peak memory in bytes: weights, moments, the best weights, gradient buffers, and the activations of one micro-batch per buffer. A measured
/// trial of the same model takes precedence.
fn memory(config: &TrialConfig, data: &DataFacts, model: &ModelFacts, past: &[PastTrial]) -> u64 {
    let examples = config.batch_size.div_ceil(config.grad_accumulation.max(1));
    let length = config.data.max_length as f64;
    let longest = longest_example(config, data);
    // Batches are packed without padding. A micro-batch exceeds its size by less than one example.
    let batch = examples as f64 * longest.min(data.mean_tokens);
    let micro_batch = MICRO_BATCH_TOKENS as f64;
    let buffers = (batch / micro_batch).ceil().clamp(1.0, MAX_GRADIENT_BUFFERS as f64);
    let tokens = batch.min(buffers * (micro_batch + longest));
    // Kept for each layer and token: about ten vectors of the hidden size, two of the intermediate size, and attention rows.
    let vectors = ((10 * model.hidden + 2 * model.intermediate) * model.layers) as f64;
    let attention = 2.0 * model.heads as f64 * model.attended_tokens(length);
    let embeddings = if model.heads == 0 { 2 * model.embedding_width } else { 0 };
    let others = (embeddings + config.model.extra.activations()) as f64;
    // Scores of all tokens of the vocabulary at each masked token, their softmax and their gradient.
    let masked = if config.data.task == TaskName::MaskedLm { 3.0 * MASKED * model.vocabulary as f64 } else { 0.0 };
    let activations = (4.0 * tokens * (vectors + attention + others + masked)) as u64;
    let modules = trained_modules(config, model);
    let state = match modules {
        Some((new, trained)) => {
            let all = model.parameters.saturating_add(new);
            let per_trained = BYTES_PER_PARAMETER - WEIGHT_BYTES + GRADIENT_BYTES * buffers as u64;
            all.saturating_mul(WEIGHT_BYTES + COPY_BYTES).saturating_add(trained.saturating_mul(per_trained))
        }
        None => model.parameters.saturating_mul(BYTES_PER_PARAMETER + COPY_BYTES + GRADIENT_BYTES * buffers as u64),
    };
    let computed = state.saturating_add(activations).saturating_add(BASE_MEMORY);
    // Past trials of this size were perhaps trained whole.
    let is_alike = |past: &&PastTrial| past.parameters == model.parameters && modules.is_none();
    let seen = past.iter().filter(is_alike).filter_map(|past| past.peak_memory);
    seen.max().map_or(computed, |seen| seen.max(state))
}

/// Bytes on an accelerator for each parameter: its value, gradient and two moments in f32, and the joined copies of a step of AdamW.
const DEVICE_BYTES_PER_PARAMETER: u64 = 40;
/// The program and its kernels on an accelerator.
const DEVICE_BASE_MEMORY: u64 = 512 << 20;
/// Part of the share of a trial that the activations of a micro-batch may fill.
const ACTIVATION_PART: u64 = 8;

/// Bytes of activations that the graph of candle keeps for each token: in a layer about 40 vectors of the hidden size, six of the
/// intermediate size, and nine rows of attention scores for each head.
fn activations_per_token(config: &TrialConfig, model: &ModelFacts) -> u64 {
    let scores = 9 * model.heads * config.data.max_length;
    (4 * (40 * model.hidden + 6 * model.intermediate + scores) * model.layers.max(1)) as u64
}

/// Target size of a micro-batch on an accelerator: the largest power of two whose activations take at most an eighth of the memory
/// that the trial has. It depends on the kind of accelerator and on the sweep file, never on what else runs there.
fn micro_batch_tokens(config: &TrialConfig, model: &ModelFacts, accelerator: Accelerator) -> usize {
    let Some(share) = accelerator.share else { return DEVICE_MICRO_BATCH_TOKENS };
    let tokens = (share / ACTIVATION_PART / activations_per_token(config, model).max(1)).max(1);
    (1 << tokens.ilog2().min(31)).clamp(MICRO_BATCH_TOKENS, MAX_DEVICE_MICRO_BATCH_TOKENS)
}

/// Peak memory on an accelerator in bytes. A measured trial of the same model takes precedence.
fn device_memory(
    config: &TrialConfig,
    data: &DataFacts,
    model: &ModelFacts,
    micro_batch_tokens: usize,
    past: &[PastTrial],
) -> u64 {
    let longest = longest_example(config, data);
    let batch = config.batch_size as f64 * longest.min(data.mean_tokens);
    let tokens = batch.min(micro_batch_tokens as f64 + longest);
    let activations = (tokens * activations_per_token(config, model) as f64) as u64;
    let state = model.parameters.saturating_mul(DEVICE_BYTES_PER_PARAMETER);
    let computed = state.saturating_add(activations).saturating_add(DEVICE_BASE_MEMORY);
    let seen = past.iter().filter(|past| past.parameters == model.parameters).filter_map(|past| past.device_memory);
    seen.max().unwrap_or(computed)
}
