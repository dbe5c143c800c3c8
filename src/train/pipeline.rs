//! From a [`Job`] to an outcome: loads data and model, builds the schedule and the engine, and runs the training loop.

use std::sync::Arc;

use super::classifier::classifier_weights;
use super::job::{Cache, Job, Sink};
use super::model::Network;
use super::model::head::{Outputs, WantedHead};
use super::source_check::SourceCheck;
use super::stored_head::stored_head;
use super::{TrainError, augment, checkpoint, data, device, engine, fit, frozen, optim, peft, schedule};
use crate::trial::{Outcome, PrecisionName, Probe, TaskName, TrialConfig, steps_per_epoch};
use plateau_kernels::product::Precision;

/// Trains one trial. The verdicts of the outcome are left empty; the analysis fills them in.
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
    let task = config.data.task;
    let model = load_model(files, config, &dataset.labels, &device)?;
    model.check(&dataset.train.tokens)?;
    model.check(&dataset.eval.tokens)?;
    let rows = dataset.train.examples.len();
    let per_epoch = steps_per_epoch(rows, config.batch_size);
    let forked_at = config.probe.as_ref().map_or(0, Probe::offset);
    let first_epoch = (forked_at + job.resume.map_or(Ok(0), checkpoint::step)?) / per_epoch;
    let augmenter = augmenter(config, &dataset.train.examples, job.cache, &|_| ())?;
    let encoder = || {
        let (encoder, hash) = data::encoder(&config.data, &config.model.from)?;
        check.tokenizer(hash, &hashes).map(|()| encoder)
    };
    let texts_are_fixed = augmenter.is_empty() && task != TaskName::MaskedLm;
    let masking = match task {
        TaskName::MaskedLm => Some(data::Masking::new(&encoder()?, config.seed)?),
        _ => None,
    };
    // A probe that memorises one batch has the same masks in every step.
    let is_one_batch = config.probe.as_ref().is_some_and(|probe| probe.kind.is_one_batch());
    let masks = masking.filter(|_| !is_one_batch);
    let clean = masks.map(|_| dataset.train.clone());
    let dataset = match masking {
        Some(masking) => masking.dataset(dataset),
        None => dataset,
    };
    let mut epochs = data::Epochs::new(clean.as_ref().unwrap_or(&dataset.train), augmenter, encoder, first_epoch)?;
    let steps = config.length.steps(rows, config.batch_size);
    let schedule = schedule::Schedule::new(&config.scheduler, config.lr, config.warmup.steps(steps), steps);
    let settings = optim::Settings::new(config);
    let mut engine = engine::Engine::new(model, settings, job.threads)?
        .with_micro_batch_tokens(job.micro_batch_tokens)
        .with_micro_batch_splits(job.micro_batch_splits);
    let mut frozen =
        |split: &data::Split| frozen::Frozen::new(&mut engine, &split.tokens, job.cache, &|| sink.interrupted());
    let train = if texts_are_fixed { frozen(&dataset.train)? } else { None };
    let frozen = frozen::FrozenSplits { train, eval: frozen(&dataset.eval)? };
    let setup = fit::TrainingSetup {
        config,
        dataset: &dataset,
        tokens: &mut |epoch| {
            let tokens = epochs.epoch(epoch)?;
            Ok(masks.map_or_else(|| tokens.clone(), |masks| Arc::new(masks.epoch(&tokens, epoch))))
        },
        learning_rate: &|k, losses| schedule.lr_after(k, losses),
        checkpoint_every: job.checkpoint_every,
        frozen,
        forked_at,
        start: job.start,
        ignores_stop_rules: job.ignores_stop_rules,
    };
    sink.chance(dataset.task(config)?.chance(&dataset.train.targets()));
    fit::fit(setup, &mut engine, job.resume, sink)
}

/// Number of steps that a trial had taken when it saved this training state.
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

/// Loads the model and frees the content of its files. `labels`: the names of the classes.
#[expect(clippy::needless_pass_by_value, reason = "the content of the files is freed here")]
fn load_model(
    files: data::CheckpointFiles,
    config: &TrialConfig,
    labels: &[String],
    device: &candle_core::Device,
) -> Result<Network, TrainError> {
    let module = files.head.as_ref().map(|head| classifier_weights(&head.weights)).transpose()?;
    let mut weights: Vec<&[u8]> = files.weights.iter().map(AsRef::as_ref).chain(module.as_deref()).collect();
    let mut stored = stored_head(&files)?;
    if let (Some(lora), Some(adapter)) = (&config.model.lora, &files.adapter) {
        if let Some(what) = lora.mismatch(&peft::read(&adapter.config)?) {
            return Err(TrainError::Input(what));
        }
        weights.push(&adapter.weights);
        // The adapter holds a classifier of its own.
        stored = None;
    }
    let task = config.data.task;
    let head = WantedHead {
        outputs: Outputs::of(task, task.outputs(labels.len())),
        is_new: stored.is_some_and(|stored| stored.mismatch(task, &config.model, labels).is_some()),
    };
    let network = Network::load(&files.config, &weights, &config.model, head, config.seed, device)?;
    Ok(network.with_precision(precision(config.precision)?))
}

/// The precision of the products of a trial.
pub(super) fn precision(name: PrecisionName) -> Result<Precision, TrainError> {
    match name {
        PrecisionName::F32 => Ok(Precision::F32),
        PrecisionName::Bf16 => Ok(Precision::Bf16),
        PrecisionName::Auto => Err(TrainError::Input(
            "precision: auto is no precision of a trial; the plan decides between f32 and bf16".into(),
        )),
    }
}
