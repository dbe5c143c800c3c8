//! The training loop: steps, evaluations, checkpoints and the rules that end a trial.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::batch::{MicroBatch, Mix, length, paired, split};
use super::data::{self, Dataset, Example, Tokens};
use super::engine::{Engine, Objective};
use super::evaluate::Evaluation;
use super::frozen::FrozenSplits;
use super::metrics::expected_calibration_error;
use super::progress::{EvalSummary, TrialEnd, TrialProgress};
use super::signals::Signals;
use super::tasks::{ClassDetails, Task};
use super::weights::{Array, serialize};
use super::{Sink, TrainError, checkpoint, device};
use crate::trial::{
    BestEvaluation, CheckpointEvery, DiagnosticRow, EvalRow, Keep, Metric, MetricRow, Mistake, Outcome, Patience,
    Probe, Scores, Status, TrialConfig, steps_per_epoch,
};
use plateau_random::{Purpose, Random};

/// What the training loop needs.
pub struct TrainingSetup<'a> {
    pub config: &'a TrialConfig,
    pub dataset: &'a Dataset,
    /// Returns the tokens of the training split for epoch e (from 0), after augmentation.
    pub tokens: &'a mut dyn FnMut(u64) -> Result<Arc<Tokens>, TrainError>,
    /// Returns the learning rate of step k (from 0), given the losses of the evaluations so far.
    pub learning_rate: &'a dyn Fn(u64, &[Option<f32>]) -> f64,
    pub checkpoint_every: CheckpointEvery,
    pub frozen: FrozenSplits,
    /// For a probe: the step of the probed trial at which it starts. Batches and random numbers continue from there. 0 for
    /// all other trials.
    pub forked_at: u64,
    /// For a probe: the training state of the probed trial after that step.
    pub start: Option<&'a [u8]>,
    /// Only divergence and the last step end the trial.
    pub ignores_stop_rules: bool,
}

/// A trial that is being trained.
struct TrainingLoop<'a> {
    setup: TrainingSetup<'a>,
    engine: &'a mut Engine,
    /// The current epoch: number, tokens and batches of examples.
    epoch: Option<(u64, Arc<Tokens>, Vec<Vec<u32>>)>,
    task: Arc<dyn Task>,
    evaluation: Evaluation,
    progress: TrialProgress,
    steps: u64,
    eval_every: u64,
    /// Seconds of earlier attempts.
    earlier_seconds: f64,
    started: Instant,
    /// The weights of the best evaluation, until the sink has them. Writing them after each evaluation would take longer
    /// than a short evaluation.
    best_weights: Option<Vec<(String, Array)>>,
    /// When a checkpoint was last saved.
    saved: Instant,
    /// The step of the last checkpoint. None if an evaluation was made since.
    saved_at: Option<u64>,
}

/// Trains to the end, from the training state `resume` or from the start.
pub fn fit<'a>(
    setup: TrainingSetup<'a>,
    engine: &'a mut Engine,
    resume: Option<&[u8]>,
    sink: &mut dyn Sink,
) -> Result<Outcome, TrainError> {
    let mut progress = match (resume, setup.start) {
        (Some(state), _) => checkpoint::read(state, engine, setup.forked_at)?,
        (None, Some(start)) if setup.forked_at > 0 => checkpoint::fork(start, engine, setup.forked_at)?,
        (None, _) if setup.forked_at > 0 => return Err(checkpoint::missing_start()),
        (None, _) => TrialProgress::default(),
    };
    progress.ended.take_if(|end| setup.ignores_stop_rules && matches!(end, TrialEnd::Stopped(_)));
    let rows = setup.dataset.train.examples.len();
    let task = setup.dataset.task(setup.config)?;
    let training = TrainingLoop {
        evaluation: Evaluation::new(
            setup.dataset,
            task.clone(),
            setup.config.data.seed,
            setup.config.data.windows,
            &setup.frozen,
            engine.evaluation_tokens(),
        ),
        task,
        steps: setup.config.steps(rows),
        eval_every: setup.config.eval_every.steps(steps_per_epoch(rows, setup.config.batch_size)).max(1),
        earlier_seconds: progress.seconds,
        started: Instant::now(),
        best_weights: None,
        saved: Instant::now(),
        saved_at: resume.map(|_| progress.step),
        progress,
        engine,
        epoch: None,
        setup,
    };
    training.run(sink)
}

impl TrainingLoop<'_> {
    /// The training loop.
    fn run(mut self, sink: &mut dyn Sink) -> Result<Outcome, TrainError> {
        let end = loop {
            if let Some(end) = self.progress.ended.clone() {
                break end;
            }
            if sink.evaluates() && self.evaluation_is_due() {
                let (row, diagnostic) = self.evaluate(sink)?;
                sink.eval(&row)?;
                sink.diagnostic(&diagnostic)?;
                // Before the checkpoint is saved, so that the saved progress contains the decision of this evaluation.
                self.progress.ended =
                    self.out_of_patience(&row).or_else(|| self.memorised_one_batch(&row)).map(TrialEnd::Stopped);
                self.keep_best(sink)?;
            } else if self.progress.step == self.steps {
                self.progress.ended = Some(TrialEnd::Finished);
            } else {
                if let Some(reason) = sink.stop_reason(self.progress.step) {
                    // Saved without the end, so that an attempt that resumes from this checkpoint continues to train.
                    self.save(sink)?;
                    break TrialEnd::Stopped(reason);
                }
                if self.checkpoint_is_due() {
                    self.save(sink)?;
                }
                let row = self.step(sink)?;
                sink.metric(&row)?;
                if self.setup.config.stop.diverged {
                    let reason = self.progress.divergence.observe(row.train_loss, row.grad_norm);
                    self.progress.ended = reason.map(TrialEnd::Diverged);
                }
            }
        };
        let may_continue = matches!(end, TrialEnd::Stopped(_)) && self.setup.config.probe.is_none();
        // Weights after divergence are useless. After a non-finite loss or gradient the last step was skipped.
        let is_kept = !matches!(end, TrialEnd::Diverged(_)) && matches!(sink.keep(), Keep::Last | Keep::All);
        if may_continue || is_kept {
            self.engine.catch_up_all()?;
            self.save(sink)?;
        }
        self.hand_over_weights(sink)?;
        Ok(self.outcome(end))
    }

    /// One optimizer step.
    fn step(&mut self, sink: &mut dyn Sink) -> Result<MetricRow, TrainError> {
        let config = self.setup.config;
        let began = Instant::now();
        let k = self.progress.step;
        let batch = self.batch(k)?;
        let tokens = batch.iter().map(|micro| micro.tokens() as u64).sum();
        let random = Random::new(config.seed, Purpose::Dropout).at(self.setup.forked_at + k);
        let objective = Objective { random, task: &self.task };
        let Some(gradients) = self.engine.gradients(&batch, objective, &|| sink.interrupted())? else {
            return Err(self.interrupt(sink));
        };
        let lr = (self.setup.learning_rate)(k, &self.progress.eval_losses);
        let (train_loss, grad_norm) = (gradients.loss as f32, gradients.norm as f32);
        let finite = train_loss.is_finite() && grad_norm.is_finite();
        if finite || !config.stop.diverged {
            if self.evaluates_after(k + 1) {
                self.progress.signals = self.engine.update_measured(&gradients, lr, config.max_grad_norm)?;
            } else {
                self.engine.update(&gradients, lr, config.max_grad_norm)?;
            }
        }
        let progress = &mut self.progress;
        progress.step += 1;
        progress.tokens += tokens;
        progress.training_seconds += began.elapsed().as_secs_f64();
        progress.last_loss = Some(train_loss).filter(|loss| loss.is_finite());
        let per_epoch = steps_per_epoch(self.setup.dataset.train.examples.len(), config.batch_size);
        let epoch = (self.setup.forked_at + progress.step) as f64 / per_epoch as f64;
        Ok(MetricRow { step: k + 1, epoch, train_loss, lr, grad_norm, tokens, seconds: self.seconds() })
    }

    /// The micro-batches of step `k` (from 0).
    fn batch(&mut self, k: u64) -> Result<Vec<Arc<MicroBatch>>, TrainError> {
        let k = self.setup.forked_at + k;
        let (config, examples) = (self.setup.config, &self.setup.dataset.train.examples);
        let per_epoch = steps_per_epoch(examples.len(), config.batch_size);
        let (tokens, batches) = match self.epoch.take() {
            Some((number, tokens, batches)) if number == k / per_epoch => (tokens, batches),
            _ => {
                let (rows, shuffle) = (examples.len(), config.data.shuffle);
                let tokens = (self.setup.tokens)(k / per_epoch)?;
                self.engine.model.check(&tokens)?;
                (tokens, data::batches(config.seed, k / per_epoch, rows, config.batch_size, shuffle))
            }
        };
        let chosen = &batches[(k % per_epoch) as usize];
        let lengths: Vec<usize> = chosen.iter().map(|&example| length(&tokens, example)).collect();
        let target = |example: u32| examples[example as usize].target.clone();
        let mixup = config.mixup();
        let mut pieces = split(&lengths, config.grad_accumulation, self.engine.micro_batch_tokens());
        if mixup.is_some() {
            pieces = paired(pieces);
        }
        let mixing = Random::new(config.seed, Purpose::Mixup).at(k);
        let pack = |piece: std::ops::Range<usize>| {
            let place = chosen[..piece.start].iter().map(|&example| tokens.sequences(example as usize).count()).sum();
            let mut micro = MicroBatch::pack(&tokens, &chosen[piece.clone()], target, place);
            micro.frozen = self.setup.frozen.train.as_ref().map(|frozen| frozen.rows(&chosen[piece]));
            micro.mix = mixup.map(|alpha| Mix::draw(mixing, &micro.places, alpha));
            Arc::new(micro)
        };
        let packed = pieces.into_iter().map(pack).collect();
        self.epoch = Some((k / per_epoch, tokens, batches));
        Ok(packed)
    }

    fn evaluation_is_due(&self) -> bool {
        let step = self.progress.step;
        let done = self.progress.last_eval.is_some_and(|eval| eval.step == step);
        !done && self.evaluates_after(step)
    }

    fn evaluates_after(&self, step: u64) -> bool {
        step.is_multiple_of(self.eval_every) || step == self.steps
    }

    fn evaluate(&mut self, sink: &mut dyn Sink) -> Result<(EvalRow, DiagnosticRow), TrainError> {
        let step = self.progress.step;
        let Some((row, classes)) = self.evaluation.run(self.engine, step, &|| sink.interrupted())? else {
            return Err(self.interrupt(sink));
        };
        let progress = &mut self.progress;
        let metric = self.setup.config.metric;
        let best = is_better(metric, metric.value(&row), progress.best(metric).map(|best| best.value));
        if best {
            progress.best_score = Some((metric.value(&row), step));
        }
        if is_better(Metric::EvalLoss, row.eval_loss, progress.best_loss.map(|(loss, _)| loss)) {
            progress.best_loss = Some((row.eval_loss, step));
        }
        let accuracy = Some(row.accuracy).filter(|accuracy| !accuracy.is_nan());
        let macro_f1 = Some(row.macro_f1).filter(|macro_f1| !macro_f1.is_nan());
        progress.best_accuracy = higher(progress.best_accuracy, accuracy);
        progress.best_macro_f1 = higher(progress.best_macro_f1, macro_f1);
        let loss = Some(row.eval_loss).filter(|loss| loss.is_finite());
        progress.eval_losses.push(loss);
        progress.last_eval = Some(EvalSummary { step, loss, accuracy, best });
        self.saved_at = None;
        let Signals { first_grad_norm, last_grad_norm, update_ratio } = progress.signals;
        if let (true, Some(classes)) = (best, &classes) {
            sink.best_evaluation(&best_evaluation(self.setup.dataset, &row, classes))?;
        }
        let (predicted, surest) = classes.map_or((Vec::new(), None), |classes| (classes.counts, classes.surest));
        let diagnostics = DiagnosticRow {
            step,
            first_grad_norm,
            last_grad_norm,
            update_ratio,
            predicted,
            surest_wrong: surest.map(|surest| surest.wrong),
            surest_expected: surest.map(|surest| surest.expected as f32),
        };
        Ok((row, diagnostics))
    }

    /// The reason to stop, if the patience rule applies.
    fn out_of_patience(&mut self, row: &EvalRow) -> Option<String> {
        let patience = self.setup.config.stop.patience.as_ref().filter(|_| !self.setup.ignores_stop_rules);
        let Patience { metric, evals, min_delta } = patience?;
        let metric = metric.unwrap_or(self.setup.config.metric);
        // Higher is better.
        let worth = |value: f32| if metric.is_cost() { -value } else { value };
        let (name, value) = (metric.name(), worth(metric.value(row)));
        let (best, since) = match self.progress.patience {
            Some((best, _)) if f64::from(value) > f64::from(best) + min_delta => (value, 0),
            Some((best, since)) => (best, since + 1),
            None => (if value.is_nan() { f32::MIN } else { value }, 0),
        };
        self.progress.patience = Some((best, since));
        (since >= *evals).then(|| {
            let best = worth(best);
            format!("{name} has not improved on {best:.4} by more than {min_delta} for {since} evaluations")
        })
    }

    /// The reason to stop, if this is a probe on one batch and the model has memorised the batch.
    fn memorised_one_batch(&self, row: &EvalRow) -> Option<String> {
        let is_one_batch = self.setup.config.probe.as_ref().is_some_and(|probe| probe.kind.is_one_batch());
        let chance = || self.task.chance(&self.setup.dataset.eval.targets());
        (is_one_batch && Probe::is_fitted(Some(row.accuracy).filter(|x| !x.is_nan()), Some(row.eval_loss), chance))
            .then(|| format!("memorised its {} examples", self.setup.dataset.train.examples.len()))
    }

    fn checkpoint_is_due(&self) -> bool {
        match self.setup.checkpoint_every {
            CheckpointEvery::Seconds(seconds) => self.saved.elapsed().as_secs_f64() >= seconds,
            CheckpointEvery::Steps(steps) => {
                let step = self.progress.step;
                step > 0 && step.is_multiple_of(steps.max(1))
            }
        }
    }

    fn keep_best(&mut self, sink: &mut dyn Sink) -> Result<(), TrainError> {
        let keeps_state = matches!(sink.keep(), Keep::Best | Keep::All);
        let is_best = self.progress.last_eval.is_some_and(|eval| eval.best);
        if !is_best || !(keeps_state || sink.keeps_weights()) {
            return Ok(());
        }
        self.engine.catch_up_all()?;
        if sink.keeps_weights() {
            // The old copy goes first, so that there are never two.
            self.best_weights = None;
            self.best_weights = Some(checkpoint::copy_weights(self.engine)?);
        }
        if keeps_state { self.save(sink) } else { Ok(()) }
    }

    fn hand_over_weights(&mut self, sink: &mut dyn Sink) -> Result<(), TrainError> {
        match self.best_weights.take() {
            Some(weights) => Ok(sink.weights(&serialize(weights, HashMap::new())?)?),
            None => Ok(()),
        }
    }

    /// Saves a checkpoint, unless this state is already saved.
    fn save(&mut self, sink: &mut dyn Sink) -> Result<(), TrainError> {
        let step = self.progress.step;
        if self.saved_at == Some(step) {
            return Ok(());
        }
        // Before the checkpoint: an attempt that resumes from it does not repeat the best evaluation.
        self.hand_over_weights(sink)?;
        self.progress.seconds = self.seconds();
        let best = self.progress.last_eval.is_some_and(|eval| eval.best && eval.step == step);
        sink.checkpoint(step, best, checkpoint::write(self.engine, &self.progress)?)?;
        self.saved = Instant::now();
        self.saved_at = Some(step);
        Ok(())
    }

    /// Saves a checkpoint and returns the error that ends the trial.
    fn interrupt(&mut self, sink: &mut dyn Sink) -> TrainError {
        self.save(sink).err().unwrap_or(TrainError::Interrupted)
    }

    fn seconds(&self) -> f64 {
        self.earlier_seconds + self.started.elapsed().as_secs_f64()
    }

    fn outcome(self, end: TrialEnd) -> Outcome {
        let seconds = self.seconds();
        let progress = self.progress;
        let (status, reason) = match end {
            TrialEnd::Finished => (Status::Finished, None),
            TrialEnd::Diverged(reason) => (Status::Diverged, Some(reason)),
            TrialEnd::Stopped(reason) => (Status::Stopped, Some(reason)),
        };
        Outcome {
            status,
            reason,
            steps: progress.step,
            final_train_loss: progress.last_loss,
            final_eval_loss: progress.last_eval.and_then(|eval| eval.loss),
            best_eval_loss: progress.best_loss.map(|(loss, _)| loss),
            best_eval_step: progress.best_loss.map(|(_, step)| step),
            final_accuracy: progress.last_eval.and_then(|eval| eval.accuracy),
            best_accuracy: progress.best_accuracy,
            best_macro_f1: progress.best_macro_f1,
            best: progress.best(self.setup.config.metric),
            last: None,
            best_scores: Scores::default(),
            final_scores: Scores::default(),
            seconds,
            tokens_per_second: progress.tokens as f64 / progress.training_seconds.max(1e-9),
            peak_memory: None,
            device_memory: device::peak_memory(&self.engine.model.device),
            labels: self.setup.dataset.labels.clone(),
            class_prior: self.setup.dataset.class_prior.clone(),
            eval_prior: self.setup.dataset.eval_prior(),
            train_chance: self.task.chance(&self.setup.dataset.train.targets()),
            eval_chance: self.task.chance(&self.setup.dataset.eval.targets()),
            // A probe may evaluate on its training batch.
            leaked_rows: if self.setup.config.probe.is_some() { 0 } else { self.setup.dataset.leaked_rows() },
            verdicts: Vec::new(),
        }
    }
}

/// Whether `value` is finite and better than the best one so far.
fn is_better(metric: Metric, value: f32, best: Option<f32>) -> bool {
    let cost = |value: f32| metric.cost(f64::from(value));
    value.is_finite() && best.is_none_or(|best| cost(value) < cost(best))
}

/// The higher of two values, where they are known.
fn higher(a: Option<f32>, b: Option<f32>) -> Option<f32> {
    a.into_iter().chain(b).reduce(f32::max)
}

/// The details of an evaluation, with the texts of its most confident mistakes.
fn best_evaluation(dataset: &Dataset, row: &EvalRow, classes: &ClassDetails) -> BestEvaluation {
    let start = |text: &String| text.chars().take(BestEvaluation::CHARACTERS).collect();
    let mistake = |&(example, predicted, confidence): &(usize, usize, f64)| {
        let Example { text, pair, target, .. } = &dataset.eval.examples[example];
        let (text, pair) = (start(text), pair.as_ref().map(start));
        let (file, line) = dataset.eval.origins.get(example).map(|(file, line)| (file.to_owned(), line)).unzip();
        Mistake { example, text, pair, label: target.stratum() as usize, predicted, confidence, file, line }
    };
    BestEvaluation {
        step: row.step,
        labels: dataset.labels.clone(),
        confusion: classes.confusion.clone(),
        scores: row.scores.classes.clone(),
        calibration: classes.calibration.clone(),
        calibration_error: expected_calibration_error(&classes.calibration),
        mistakes: classes.mistakes.iter().map(mistake).collect(),
    }
}
