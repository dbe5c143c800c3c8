//! A step as the machine does it: micro-batches side by side, gradients summed in one order, the norm, the update.
//!
//! Micro-batch i belongs to lane `i % lanes`, and the number of lanes depends on the batch alone; a lane runs its
//! micro-batches one after the other into its own gradient buffers, and the lanes are added in order. So the numbers are
//! the same for any number of threads, and memory grows with lanes, not with the batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rayon::prelude::*;

use super::TrainError;
use super::batch::MicroBatch;
use super::kernels::{add, simd};
use super::model::lane::Lane;
use super::model::{Bert, Pass, Training};
use super::optim::words::RowGradients;
use super::optim::{AdamW, Gradient, Settings};
use crate::random::Random;
use crate::trial::{MAX_GRADIENT_BUFFERS, MICRO_BATCH_TOKENS};

/// The model, its optimizer, and the threads that they run on.
pub struct Engine {
    pub model: Arc<Bert>,
    pub optimizer: AdamW,
    lanes: Vec<Arc<Lane>>,
    pool: rayon::ThreadPool,
    /// Times that memory is to be halved.
    micro_batch_splits: u32,
}

/// Tokens that a micro-batch of training aims at after so many micro_batch_splits.
#[must_use]
pub fn micro_batch_tokens(micro_batch_splits: u32) -> usize {
    MICRO_BATCH_TOKENS.checked_shr(micro_batch_splits).unwrap_or(0).max(1)
}

/// What a step's losses are made of.
#[derive(Debug, Clone, Copy)]
pub struct Objective {
    /// Of this seed and step.
    pub random: Random,
    pub smoothing: f64,
}

/// The gradients of a batch, waiting in the lanes.
pub struct Gradients {
    /// Mean loss of the batch.
    pub loss: f64,
    /// Global norm before clipping.
    pub norm: f64,
    rows: RowGradients,
    tensors: std::collections::BTreeMap<usize, candle_core::Tensor>,
}

impl Engine {
    pub fn new(model: Bert, settings: Settings, threads: usize) -> Result<Self, TrainError> {
        let optimizer = AdamW::new(settings, &model)?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|i| format!("train-{i}"))
            .build()
            .map_err(|e| TrainError::Threads(format!("cannot start {threads} threads: {e}")))?;
        Ok(Self { model: Arc::new(model), optimizer, lanes: Vec::new(), pool, micro_batch_splits: 0 })
    }

    /// Gets by with less: micro-batches are halved so many times, and so are the lanes. The numbers stay the same up to
    /// rounding: the same sums are taken in other pieces.
    #[must_use]
    pub fn halved(mut self, times: u32) -> Self {
        self.micro_batch_splits = times;
        self
    }

    /// Tokens that a micro-batch of training aims at.
    pub fn micro_batch_tokens(&self) -> usize {
        micro_batch_tokens(self.micro_batch_splits)
    }

    /// Forward and backward of a batch. None if `interrupted` said so; nothing has changed then.
    pub fn gradients(
        &mut self,
        batch: &[Arc<MicroBatch>],
        objective: Objective,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<Gradients>, TrainError> {
        self.catch_up(batch.iter().map(|micro| &**micro))?;
        let width = if self.model.composed { 1 } else { lanes(batch.len(), self.micro_batch_splits) };
        while self.lanes.len() < width {
            self.lanes.push(Arc::new(Lane::new(&self.model.parameters)));
        }
        let lanes = &self.lanes[..width];
        for lane in lanes {
            lane.clear();
        }
        let weight = 1.0 / batch.iter().map(|micro| micro.sequences()).sum::<usize>() as f64;
        let model = &self.model;
        let losses = run(&self.pool, width, interrupted, &|index, stop| {
            let mut losses = Vec::new();
            for micro in batch.iter().skip(index).step_by(width) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let Objective { random, smoothing } = objective;
                let training = Training { random, lane: lanes[index].clone(), weight, smoothing };
                let pass = Pass { model: model.clone(), batch: micro.clone(), training: Some(training) };
                losses.push(pass.train()?);
            }
            Ok(losses)
        })?;
        let Some(losses) = losses else { return Ok(None) };
        let loss = (0..batch.len()).map(|i| losses[i % width][i / width]).sum();
        self.reduce(width, loss).map(Some)
    }

    /// Adds the lanes into the first and takes the norm, parameter by parameter.
    fn reduce(&self, width: usize, loss: f64) -> Result<Gradients, TrainError> {
        let lanes = &self.lanes[..width];
        if self.model.composed {
            return self.reduce_tensors(&lanes[0], loss);
        }
        let parts: Vec<_> = lanes.iter().map(|lane| lane.take_words()).collect();
        let longest = parts.iter().map(Vec::len).max().unwrap_or(0);
        let parts: Vec<_> =
            (0..longest).flat_map(|i| parts.iter().filter_map(move |part| part.get(i).cloned())).collect();
        let trains_words = self.model.parameters[self.model.index.words].trainable;
        let words = self.model.index.words;
        self.pool.install(|| {
            let rows = RowGradients::sum(&parts, self.model.config.hidden);
            let squares: Vec<f64> = (0..self.model.parameters.len())
                .into_par_iter()
                .map(|i| {
                    if i == words {
                        return Ok(sum_of_squares(&rows.values));
                    }
                    if self.model.parameters[i].trainable { reduce_one(lanes, i, &self.model) } else { Ok(0.0) }
                })
                .collect::<Result<_, TrainError>>()?;
            if trains_words && rows.ids.is_empty() {
                return Err(no_gradient(&self.model.parameters[words].name));
            }
            let norm = squares.iter().sum::<f64>().sqrt();
            Ok(Gradients { loss, norm, rows, tensors: std::collections::BTreeMap::new() })
        })
    }

    fn reduce_tensors(&self, lane: &Lane, loss: f64) -> Result<Gradients, TrainError> {
        let tensors = lane.take_tensors();
        let mut squares = 0.0;
        for (i, parameter) in self.model.parameters.iter().enumerate().filter(|(_, p)| p.trainable) {
            let gradient = tensors.get(&i).ok_or_else(|| no_gradient(&parameter.name))?;
            squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        Ok(Gradients { loss, norm: squares.sqrt(), rows: RowGradients::default(), tensors })
    }

    /// Sum of squares of the gradient of parameter `i`; 0 where it has none.
    pub(super) fn gradient_squares(&self, gradients: &Gradients, i: usize) -> Result<f64, TrainError> {
        if self.model.composed {
            let squares = |gradient: &candle_core::Tensor| gradient.sqr()?.sum_all()?.to_scalar::<f32>();
            return Ok(f64::from(gradients.tensors.get(&i).map_or(Ok(0.0), squares)?));
        }
        Ok(self
            .lanes
            .first()
            .and_then(|lane| lane.slot(i).gradient().map(|values| sum_of_squares(values)))
            .unwrap_or(0.0))
    }

    /// Clips to `max_norm` (0: not) as `torch.nn.utils.clip_grad_norm_` does, and takes a step at `rate`.
    pub fn update(&mut self, gradients: &Gradients, rate: f64, max_norm: f64) -> Result<(), TrainError> {
        let clip = if max_norm > 0.0 { (max_norm / (gradients.norm + 1e-6)).min(1.0) } else { 1.0 } as f32;
        let (lanes, model, optimizer) = (&self.lanes, &self.model, &mut self.optimizer);
        if model.composed {
            let gradient = |i: usize| gradients.tensors.get(&i).map(Gradient::Device);
            return optimizer.step(model, rate, clip, gradient, &gradients.rows);
        }
        let mut slots: Vec<_> = (0..model.parameters.len()).map(|i| lanes[0].slot(i)).collect();
        let slices: Vec<Option<&[f32]>> = slots.iter_mut().map(|slot| slot.gradient().map(|g| &*g)).collect();
        let gradient = |i: usize| slices[i].map(Gradient::Host);
        self.pool.install(|| optimizer.step(model, rate, clip, gradient, &gradients.rows))
    }

    /// Scores of every micro-batch in evaluation mode. None if `interrupted` said so.
    pub fn logits(
        &mut self,
        batches: &[Arc<MicroBatch>],
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Vec<f32>>>, TrainError> {
        self.evaluate(batches, interrupted, Pass::logits)
    }

    /// What the frozen part of the model gives for every micro-batch. None if `interrupted` said so.
    pub fn frozen(
        &mut self,
        batches: &[Arc<MicroBatch>],
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Vec<f32>>>, TrainError> {
        self.evaluate(batches, interrupted, Pass::frozen)
    }

    fn evaluate(
        &mut self,
        batches: &[Arc<MicroBatch>],
        interrupted: &dyn Fn() -> bool,
        run_pass: fn(Pass) -> Result<Vec<f32>, TrainError>,
    ) -> Result<Option<Vec<Vec<f32>>>, TrainError> {
        self.catch_up(batches.iter().map(|micro| &**micro))?;
        let width = if self.model.composed { 1 } else { self.pool.current_num_threads().min(batches.len().max(1)) };
        let model = &self.model;
        let results = run(&self.pool, width, interrupted, &|index, stop| {
            let mut results = Vec::new();
            for micro in batches.iter().skip(index).step_by(width) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                results.push(run_pass(Pass { model: model.clone(), batch: micro.clone(), training: None })?);
            }
            Ok(results)
        })?;
        Ok(results.map(|results| (0..batches.len()).map(|i| results[i % width][i / width].clone()).collect()))
    }

    /// Brings the whole word table up to date, for whoever reads the weights from outside.
    pub fn catch_up_all(&mut self) -> Result<(), TrainError> {
        let (model, optimizer) = (&self.model, &mut self.optimizer);
        self.pool.install(|| optimizer.catch_up_all(model))
    }

    /// Brings the word vectors that these micro-batches read up to date.
    fn catch_up<'b>(&mut self, batches: impl Iterator<Item = &'b MicroBatch>) -> Result<(), TrainError> {
        let mut ids: Vec<u32> = batches.flat_map(|micro| micro.ids.iter().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        let (model, optimizer) = (&self.model, &mut self.optimizer);
        self.pool.install(|| optimizer.catch_up(model, &ids))
    }
}

/// Lanes for a batch of so many micro-batches. Each holds gradients of its own, which are most of what can be saved: with
/// every halving there are half as many as the batch would have without.
fn lanes(micro_batches: usize, micro_batch_splits: u32) -> usize {
    let usual = micro_batches.checked_shr(micro_batch_splits).unwrap_or(0).clamp(1, MAX_GRADIENT_BUFFERS);
    usual.checked_shr(micro_batch_splits).unwrap_or(0).max(1)
}

/// Runs `work` for every index below `width` on the pool and asks `interrupted` meanwhile, on the calling thread. None
/// if it said yes.
fn run<T: Send>(
    pool: &rayon::ThreadPool,
    width: usize,
    interrupted: &dyn Fn() -> bool,
    work: &(dyn Fn(usize, &AtomicBool) -> Result<T, TrainError> + Sync),
) -> Result<Option<Vec<T>>, TrainError> {
    /// How long an interruption may go unseen.
    const PATIENCE: Duration = Duration::from_millis(100);
    let stop = AtomicBool::new(interrupted());
    let mut results: Vec<Option<Result<T, TrainError>>> = (0..width).map(|_| None).collect();
    pool.in_place_scope(|scope| {
        let (sender, receiver) = channel();
        for index in 0..width {
            let (sender, stop) = (sender.clone(), &stop);
            scope.spawn(move |_| {
                // The receiver outlives all senders: it waits for the last of them.
                let _ = sender.send((index, work(index, stop)));
            });
        }
        drop(sender);
        loop {
            match receiver.recv_timeout(PATIENCE) {
                Ok((index, result)) => results[index] = Some(result),
                Err(RecvTimeoutError::Timeout) => {
                    stop.store(stop.load(Ordering::Relaxed) || interrupted(), Ordering::Relaxed);
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
    if stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    results.into_iter().flatten().collect::<Result<_, _>>().map(Some)
}

/// Adds the lanes' gradients of parameter `i` into the first lane's, in order, and sums their squares.
fn reduce_one(lanes: &[Arc<Lane>], i: usize, model: &Bert) -> Result<f64, TrainError> {
    let mut first = lanes[0].slot(i);
    let sum = first.gradient().ok_or_else(|| no_gradient(&model.parameters[i].name))?;
    for lane in &lanes[1..] {
        if let Some(values) = lane.slot(i).gradient() {
            add(sum, values);
        }
    }
    Ok(sum_of_squares(sum))
}

fn sum_of_squares(values: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 16];
    simd(
        #[inline(always)]
        || {
            let chunks = values.chunks_exact(16);
            let rest = chunks.remainder();
            for chunk in chunks {
                for (lane, &x) in lanes.iter_mut().zip(chunk) {
                    *lane += f64::from(x) * f64::from(x);
                }
            }
            for (lane, &x) in lanes.iter_mut().zip(rest) {
                *lane += f64::from(x) * f64::from(x);
            }
        },
    );
    lanes.iter().sum()
}

fn no_gradient(name: &str) -> TrainError {
    TrainError::Input(format!(
        "parameter '{name}' is to be trained but has no gradient: the model is cut off from it; this is a fault of the program"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_halved_with_the_micro_batches() {
        let check = |micro_batches: usize, micro_batch_splits: u32, expected: usize| {
            assert_eq!(lanes(micro_batches, micro_batch_splits), expected, "{micro_batches} {micro_batch_splits}");
        };
        check(1, 0, 1);
        check(3, 0, 3);
        check(9, 0, 4);
        // The same batches cut smaller: two of 512 tokens are four of 256.
        check(2, 1, 1);
        check(4, 1, 1);
        check(18, 1, 2);
        check(36, 2, 1);
        check(5, 99, 1);
    }
}
