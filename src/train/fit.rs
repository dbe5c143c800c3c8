//! The training loop, and what a trial carries from step to step.

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::batch::{MicroBatch, Mix, length, paired, split};
use super::data::{self, Dataset, Example, Tokens};
use super::engine::{Engine, Objective};
use super::evaluate::{Evaluation, Predictions};
use super::frozen::FrozenSplits;
use super::metrics::expected_calibration_error;
use super::signals::Signals;
use super::{Sink, TrainError, checkpoint};
use crate::random::{Purpose, Random};
use crate::trial::{
    BestEvaluation, CheckpointEvery, DiagnosticRow, EvalRow, Keep, MetricRow, Mistake, Outcome, Patience,
    PatienceMetric, Probe, Scores, Status, TrialConfig, steps_per_epoch,
};

/// Where a trial stands; with weights and moments, all that a resumed one needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Optimizer steps taken.
    pub step: u64,
    /// Training and evaluating, and training alone.
    seconds: f64,
    training_seconds: f64,
    tokens: u64,
    last_loss: Option<f32>,
    last_eval: Option<Measured>,
    best_loss: Option<(f32, u64)>,
    best_accuracy: Option<f32>,
    best_macro_f1: Option<f32>,
    /// Of every evaluation, the first one first; None where it was not finite. The rate may depend on them.
    #[serde(default)]
    eval_losses: Vec<Option<f32>>,
    /// Best value of the patience metric (higher is better), and evaluations since.
    patience: Option<(f32, u32)>,
    watch: Watch,
    /// Of the newest step that an evaluation follows.
    #[serde(default)]
    signals: Signals,
    /// Set once the trial has ended: an attempt that resumes from this state trains no further.
    #[serde(default)]
    ended: Option<End>,
}

/// The newest evaluation; figures that are not finite are None.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Measured {
    step: u64,
    loss: Option<f32>,
    accuracy: f32,
    /// Whether its loss is the lowest so far.
    best: bool,
}

/// Watches for a loss that runs away: the mean of the last 20 losses (from the tenth on) above three times the mean of
/// the first five.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Watch {
    first: Vec<f32>,
    recent: Vec<f32>,
}

impl Watch {
    const START: usize = 5;
    const EARLIEST: usize = 10;
    const WINDOW: usize = 20;
    const LIMIT: f64 = 3.0;

    /// Why the trial has diverged, if it has.
    fn see(&mut self, loss: f32, norm: f32) -> Option<String> {
        if !loss.is_finite() {
            return Some(format!("the training loss became {loss}"));
        }
        if !norm.is_finite() {
            return Some(format!("the gradient norm became {norm}"));
        }
        if self.first.len() < Self::START {
            self.first.push(loss);
        }
        if self.recent.len() == Self::WINDOW {
            self.recent.remove(0);
        }
        self.recent.push(loss);
        let mean = |losses: &[f32]| losses.iter().map(|&x| f64::from(x)).sum::<f64>() / losses.len() as f64;
        let (now, start) = (mean(&self.recent), mean(&self.first));
        (self.recent.len() >= Self::EARLIEST && now > Self::LIMIT * start).then(|| {
            format!(
                "the training loss ran away: {now:.3} over the last {} steps, {start:.3} at the start",
                self.recent.len()
            )
        })
    }
}

/// What the loop is given.
pub struct Fit<'a> {
    pub config: &'a TrialConfig,
    pub dataset: &'a Dataset,
    /// Tokens of the training split as epoch e (from 0) reads them.
    pub tokens: &'a mut dyn FnMut(u64) -> Result<Arc<Tokens>, TrainError>,
    /// Learning rate of step k (from 0) after evaluations of these losses.
    pub rate: &'a dyn Fn(u64, &[Option<f32>]) -> f64,
    pub checkpoint_every: CheckpointEvery,
    pub frozen: FrozenSplits,
    /// Steps that the trial forked from had taken: batches and randomness go on from there. 0 for an ordinary trial.
    pub before: u64,
    /// The state of that trial.
    pub start: Option<&'a [u8]>,
    /// No rule but that on divergence ends the trial.
    pub ignores_stop_rules: bool,
}

/// How the loop ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum End {
    Finished,
    Diverged(String),
    Stopped(String),
}

/// A trial on its way.
struct Run<'a> {
    fit: Fit<'a>,
    engine: &'a mut Engine,
    /// The epoch being read: its number, tokens and batches.
    epoch: Option<(u64, Arc<Tokens>, Vec<Vec<u32>>)>,
    evaluation: Evaluation,
    progress: Progress,
    steps: u64,
    eval_every: u64,
    /// Seconds of earlier attempts, and this one's start.
    before: f64,
    started: Instant,
    /// When the state was last saved, and after which step. None if that one lacks an evaluation made since.
    saved: Instant,
    saved_at: Option<u64>,
}

/// Trains from where `resume` stands (or from the start) to the end.
pub fn fit<'a>(
    fit: Fit<'a>,
    engine: &'a mut Engine,
    resume: Option<&[u8]>,
    sink: &mut dyn Sink,
) -> Result<Outcome, TrainError> {
    let mut progress = match (resume, fit.start) {
        (Some(state), _) => checkpoint::read(state, engine, fit.before)?,
        (None, Some(start)) if fit.before > 0 => checkpoint::fork(start, engine, fit.before)?,
        (None, _) if fit.before > 0 => return Err(checkpoint::no_start()),
        (None, _) => Progress::default(),
    };
    progress.ended.take_if(|end| fit.ignores_stop_rules && matches!(end, End::Stopped(_)));
    let rows = fit.dataset.train.examples.len();
    let run = Run {
        evaluation: Evaluation::new(fit.dataset, fit.config.data.seed, &fit.frozen),
        steps: fit.config.steps(rows),
        eval_every: fit.config.eval_every.steps(steps_per_epoch(rows, fit.config.batch_size)).max(1),
        before: progress.seconds,
        started: Instant::now(),
        saved: Instant::now(),
        saved_at: resume.map(|_| progress.step),
        progress,
        engine,
        epoch: None,
        fit,
    };
    run.finish(sink)
}

impl Run<'_> {
    /// The training loop.
    fn finish(mut self, sink: &mut dyn Sink) -> Result<Outcome, TrainError> {
        let end = loop {
            if let Some(end) = self.progress.ended.clone() {
                break end;
            }
            if sink.evaluates() && self.evaluation_is_due() {
                let (row, diagnostic) = self.evaluate(sink)?;
                sink.eval(&row)?;
                sink.diagnostic(&diagnostic)?;
                // Before the state is saved: it is to know of this evaluation's verdict.
                self.progress.ended =
                    self.out_of_patience(&row).or_else(|| self.knows_by_heart(&row)).map(End::Stopped);
                self.keep_best(sink)?;
            } else if self.progress.step == self.steps {
                self.progress.ended = Some(End::Finished);
            } else {
                if let Some(reason) = sink.stop_reason() {
                    // Saved before the end is noted: an attempt that goes on from this state trains on.
                    self.save(sink)?;
                    break End::Stopped(reason);
                }
                if self.checkpoint_is_due() {
                    self.save(sink)?;
                }
                let row = self.step(sink)?;
                sink.metric(&row)?;
                if self.fit.config.stop.diverged {
                    let reason = self.progress.watch.see(row.train_loss, row.grad_norm);
                    self.progress.ended = reason.map(End::Diverged);
                }
            }
        };
        let may_go_on = matches!(end, End::Stopped(_)) && self.fit.config.probe.is_none();
        // A diverged state is worth nothing, and after a number that is none the last step was not even taken.
        let is_asked_for = !matches!(end, End::Diverged(_)) && matches!(sink.keep(), Keep::Last | Keep::All);
        if may_go_on || is_asked_for {
            self.engine.catch_up_all()?;
            self.save(sink)?;
        }
        Ok(self.outcome(end))
    }

    /// One optimizer step.
    fn step(&mut self, sink: &mut dyn Sink) -> Result<MetricRow, TrainError> {
        let config = self.fit.config;
        let began = Instant::now();
        let k = self.progress.step;
        let batch = self.batch(k)?;
        let tokens = batch.iter().map(|micro| micro.tokens() as u64).sum();
        let random = Random::new(config.seed, Purpose::Dropout).at(self.fit.before + k);
        let objective = Objective { random, smoothing: config.label_smoothing };
        let Some(gradients) = self.engine.gradients(&batch, objective, &|| sink.interrupted())? else {
            return Err(self.interrupt(sink));
        };
        let lr = (self.fit.rate)(k, &self.progress.eval_losses);
        let (train_loss, grad_norm) = (gradients.loss as f32, gradients.norm as f32);
        let finite = train_loss.is_finite() && grad_norm.is_finite();
        if finite || !config.stop.diverged {
            if self.evaluates_after(k + 1) {
                self.progress.signals = self.engine.update_watched(&gradients, lr, config.max_grad_norm)?;
            } else {
                self.engine.update(&gradients, lr, config.max_grad_norm)?;
            }
        }
        let progress = &mut self.progress;
        progress.step += 1;
        progress.tokens += tokens;
        progress.training_seconds += began.elapsed().as_secs_f64();
        progress.last_loss = Some(train_loss).filter(|loss| loss.is_finite());
        let per_epoch = steps_per_epoch(self.fit.dataset.train.examples.len(), config.batch_size);
        let epoch = (self.fit.before + progress.step) as f64 / per_epoch as f64;
        Ok(MetricRow { step: k + 1, epoch, train_loss, lr, grad_norm, tokens, seconds: self.seconds() })
    }

    /// The micro-batches of step `k` (from 0).
    fn batch(&mut self, k: u64) -> Result<Vec<Arc<MicroBatch>>, TrainError> {
        let k = self.fit.before + k;
        let (config, examples) = (self.fit.config, &self.fit.dataset.train.examples);
        let per_epoch = steps_per_epoch(examples.len(), config.batch_size);
        let (tokens, batches) = match self.epoch.take() {
            Some((number, tokens, batches)) if number == k / per_epoch => (tokens, batches),
            _ => {
                let (rows, shuffle) = (examples.len(), config.data.shuffle);
                let tokens = (self.fit.tokens)(k / per_epoch)?;
                self.engine.model.check(&tokens)?;
                (tokens, data::batches(config.seed, k / per_epoch, rows, config.batch_size, shuffle))
            }
        };
        let chosen = &batches[(k % per_epoch) as usize];
        let lengths: Vec<usize> = chosen.iter().map(|&example| length(&tokens, example)).collect();
        let label = |example: u32| examples[example as usize].label;
        let mixup = config.mixup();
        let mut pieces = split(&lengths, config.grad_accumulation, self.engine.micro_batch_tokens());
        if mixup.is_some() {
            pieces = paired(pieces);
        }
        let mixing = Random::new(config.seed, Purpose::Mixup).at(k);
        let pack = |piece: std::ops::Range<usize>| {
            let mut micro = MicroBatch::pack(&tokens, &chosen[piece.clone()], label, piece.start);
            micro.frozen = self.fit.frozen.train.as_ref().map(|frozen| frozen.rows(&chosen[piece]));
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
        let Some((row, predictions)) = self.evaluation.run(self.engine, step, &|| sink.interrupted())? else {
            return Err(self.interrupt(sink));
        };
        let progress = &mut self.progress;
        let best = row.eval_loss.is_finite() && progress.best_loss.is_none_or(|(best, _)| row.eval_loss < best);
        if best {
            progress.best_loss = Some((row.eval_loss, step));
        }
        progress.best_accuracy = Some(progress.best_accuracy.map_or(row.accuracy, |best| best.max(row.accuracy)));
        progress.best_macro_f1 = Some(progress.best_macro_f1.map_or(row.macro_f1, |best| best.max(row.macro_f1)));
        let loss = Some(row.eval_loss).filter(|loss| loss.is_finite());
        progress.eval_losses.push(loss);
        progress.last_eval = Some(Measured { step, loss, accuracy: row.accuracy, best });
        self.saved_at = None;
        let Signals { first_grad_norm, last_grad_norm, update_ratio } = progress.signals;
        if best {
            sink.best_evaluation(&best_evaluation(self.fit.dataset, &row, &predictions))?;
        }
        let Predictions { counts: predicted, surest_wrong, .. } = predictions;
        Ok((row, DiagnosticRow { step, first_grad_norm, last_grad_norm, update_ratio, predicted, surest_wrong }))
    }

    /// The patience rule's reason to stop, if it has one.
    fn out_of_patience(&mut self, row: &EvalRow) -> Option<String> {
        let patience = self.fit.config.stop.patience.as_ref().filter(|_| !self.fit.ignores_stop_rules);
        let Patience { metric, evals, min_delta } = patience?;
        let (name, value) = match metric {
            PatienceMetric::EvalLoss => ("eval_loss", -row.eval_loss),
            PatienceMetric::Accuracy => ("accuracy", row.accuracy),
            PatienceMetric::MacroF1 => ("macro_f1", row.macro_f1),
        };
        let (best, since) = match self.progress.patience {
            Some((best, _)) if f64::from(value) > f64::from(best) + min_delta => (value, 0),
            Some((best, since)) => (best, since + 1),
            None => (if value.is_nan() { f32::MIN } else { value }, 0),
        };
        self.progress.patience = Some((best, since));
        (since >= *evals).then(|| {
            let best = if matches!(metric, PatienceMetric::EvalLoss) { -best } else { best };
            format!("{name} has not improved by more than {min_delta} on {best:.4} for {since} evaluations")
        })
    }

    /// Why a probe that memorises one batch has ended.
    fn knows_by_heart(&self, row: &EvalRow) -> Option<String> {
        let is_one_batch = self.fit.config.probe.as_ref().is_some_and(|probe| probe.kind.is_one_batch());
        (is_one_batch && row.accuracy >= Probe::FITTED)
            .then(|| format!("knows its {} examples by heart", self.fit.dataset.train.examples.len()))
    }

    fn checkpoint_is_due(&self) -> bool {
        match self.fit.checkpoint_every {
            CheckpointEvery::Seconds(seconds) => self.saved.elapsed().as_secs_f64() >= seconds,
            CheckpointEvery::Steps(steps) => {
                let step = self.progress.step;
                step > 0 && step.is_multiple_of(steps.max(1))
            }
        }
    }

    fn keep_best(&mut self, sink: &mut dyn Sink) -> Result<(), TrainError> {
        let best = self.progress.last_eval.is_some_and(|eval| eval.best);
        if best && matches!(sink.keep(), Keep::Best | Keep::All) {
            self.engine.catch_up_all()?;
            self.save(sink)?;
        }
        Ok(())
    }

    /// Saves the state, unless this very one is saved already.
    fn save(&mut self, sink: &mut dyn Sink) -> Result<(), TrainError> {
        let step = self.progress.step;
        if self.saved_at == Some(step) {
            return Ok(());
        }
        self.progress.seconds = self.seconds();
        let best = self.progress.last_eval.is_some_and(|eval| eval.best && eval.step == step);
        sink.checkpoint(step, best, checkpoint::write(self.engine, &self.progress)?)?;
        self.saved = Instant::now();
        self.saved_at = Some(step);
        Ok(())
    }

    /// Saves the state; the error that ends the trial.
    fn interrupt(&mut self, sink: &mut dyn Sink) -> TrainError {
        self.save(sink).err().unwrap_or(TrainError::Interrupted)
    }

    fn seconds(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }

    fn outcome(self, end: End) -> Outcome {
        let seconds = self.seconds();
        let progress = self.progress;
        let (status, reason) = match end {
            End::Finished => (Status::Finished, None),
            End::Diverged(reason) => (Status::Diverged, Some(reason)),
            End::Stopped(reason) => (Status::Stopped, Some(reason)),
        };
        Outcome {
            status,
            reason,
            steps: progress.step,
            final_train_loss: progress.last_loss,
            final_eval_loss: progress.last_eval.and_then(|eval| eval.loss),
            best_eval_loss: progress.best_loss.map(|(loss, _)| loss),
            best_eval_step: progress.best_loss.map(|(_, step)| step),
            final_accuracy: progress.last_eval.map(|eval| eval.accuracy),
            best_accuracy: progress.best_accuracy,
            best_macro_f1: progress.best_macro_f1,
            best_scores: Scores::default(),
            final_scores: Scores::default(),
            seconds,
            tokens_per_second: progress.tokens as f64 / progress.training_seconds.max(1e-9),
            peak_memory: None,
            labels: self.fit.dataset.labels.clone(),
            class_prior: self.fit.dataset.class_prior.clone(),
            eval_prior: self.fit.dataset.eval.prior(self.fit.dataset.labels.len()),
            // A probe may evaluate on its training batch.
            leaked_rows: if self.fit.config.probe.is_some() { 0 } else { self.fit.dataset.leaked_rows() },
            verdicts: Vec::new(),
        }
    }
}

/// The details of an evaluation, with the texts of its most confident mistakes.
fn best_evaluation(dataset: &Dataset, row: &EvalRow, predictions: &Predictions) -> BestEvaluation {
    let start = |text: &String| text.chars().take(BestEvaluation::CHARACTERS).collect();
    let mistake = |&(example, predicted, confidence): &(usize, usize, f64)| {
        let Example { text, pair, label } = &dataset.eval.examples[example];
        let (text, pair) = (start(text), pair.as_ref().map(start));
        Mistake { example, text, pair, label: *label as usize, predicted, confidence }
    };
    BestEvaluation {
        step: row.step,
        labels: dataset.labels.clone(),
        confusion: predictions.confusion.clone(),
        scores: row.scores.classes.clone(),
        calibration: predictions.calibration.clone(),
        calibration_error: expected_calibration_error(&predictions.calibration),
        mistakes: predictions.mistakes.iter().map(mistake).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(losses: impl IntoIterator<Item = f32>) -> Option<(usize, String)> {
        let mut watch = Watch::default();
        losses.into_iter().enumerate().find_map(|(i, loss)| watch.see(loss, 1.0).map(|reason| (i, reason)))
    }

    #[test]
    fn divergence_is_a_lasting_rise_or_a_number_that_is_none() {
        assert_eq!(watch([1.0; 100]), None);
        assert_eq!(
            watch((0..100).map(|i| if i % 10 == 7 { 15.0 } else { 1.0 })),
            None,
            "single spikes are no divergence"
        );
        let (at, reason) = watch((0..100).map(|i| 1.0 + 0.2 * i as f32)).unwrap();
        insta::assert_snapshot!(format!("{at}: {reason}"), @"26: the training loss ran away: 4.300 over the last 20 steps, 1.400 at the start");
        assert_eq!(watch([1.0, f32::INFINITY]).unwrap().1, "the training loss became inf");
        assert_eq!(Watch::default().see(1.0, f32::NAN).unwrap(), "the gradient norm became NaN");
    }
}
