//! One optimizer step: micro-batches in parallel, the sum of their gradients, the norm and the update.
//!
//! Micro-batch i adds its gradients to buffer `i % buffers`. The number of buffers depends only on the batch. Micro-batches
//! of one buffer run one after the other, and the buffers are added in order. So the numbers are the same for any number of
//! threads, and memory grows with the number of buffers and not with the batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rayon::prelude::*;

use super::TrainError;
use super::batch::MicroBatch;
use super::model::gradient_buffer::GradientBuffer;
use super::model::{Backend, Network, PackedWeights, Pass, Training};
use super::optim::{AdamW, Gradient, RowGradients, Settings};
use super::tasks::Task;
use crate::trial::{MAX_GRADIENT_BUFFERS, MICRO_BATCH_TOKENS};
use plateau_kernels::vector::{add, simd};
use plateau_random::Random;

/// The model, its optimizer and the threads that they use.
pub struct Engine {
    pub model: Arc<Network>,
    pub optimizer: AdamW,
    buffers: Vec<Arc<GradientBuffer>>,
    pool: rayon::ThreadPool,
    /// Target size of a training micro-batch in tokens, before it is split.
    micro_batch_tokens: usize,
    /// How often micro-batches are split in two to save memory.
    micro_batch_splits: u32,
}

/// Target size of a training micro-batch of `tokens` tokens after this number of splits.
#[must_use]
pub fn micro_batch_tokens(tokens: usize, micro_batch_splits: u32) -> usize {
    tokens.checked_shr(micro_batch_splits).unwrap_or(0).max(1)
}

/// What the loss of a step depends on beside model and data.
#[derive(Debug, Clone, Copy)]
pub struct Objective<'a> {
    /// Random numbers of this seed and step, for dropout.
    pub random: Random,
    pub task: &'a Arc<dyn Task>,
}

/// The summed gradients of a batch. On the CPU the values stay in the first gradient buffer.
pub struct Gradients {
    /// Mean loss of the batch.
    pub loss: f64,
    /// Global norm before clipping.
    pub norm: f64,
    rows: RowGradients,
    tensors: std::collections::BTreeMap<usize, candle_core::Tensor>,
}

impl Engine {
    pub fn new(model: Network, settings: Settings, threads: usize) -> Result<Self, TrainError> {
        let optimizer = AdamW::new(settings, &model)?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|i| format!("train-{i}"))
            .build()
            .map_err(|source| TrainError::Threads { count: threads, source })?;
        let (buffers, micro_batch_tokens) = (Vec::new(), MICRO_BATCH_TOKENS);
        Ok(Self { model: Arc::new(model), optimizer, buffers, pool, micro_batch_tokens, micro_batch_splits: 0 })
    }

    /// Aims at micro-batches of so many tokens. The numbers stay the same up to rounding.
    #[must_use]
    pub fn with_micro_batch_tokens(mut self, tokens: usize) -> Self {
        self.micro_batch_tokens = tokens;
        self
    }

    /// Splits micro-batches in two this many times to save memory, and halves the number of gradient buffers as often. The
    /// numbers stay the same up to rounding, because the same sums are computed in other pieces.
    #[must_use]
    pub fn with_micro_batch_splits(mut self, splits: u32) -> Self {
        self.micro_batch_splits = splits;
        self
    }

    /// Target size of a training micro-batch in tokens.
    pub fn micro_batch_tokens(&self) -> usize {
        micro_batch_tokens(self.micro_batch_tokens, self.micro_batch_splits)
    }

    /// Most tokens of a micro-batch of an evaluation. On the CPU 512 fill the matrix products; an accelerator takes as many as in
    /// training.
    pub fn evaluation_tokens(&self) -> usize {
        match self.model.backend {
            Backend::Kernels => MICRO_BATCH_TOKENS,
            Backend::Candle => self.micro_batch_tokens(),
        }
    }

    /// Forward and backward pass of a batch. None if `interrupted` returned true; then nothing has changed.
    pub fn gradients(
        &mut self,
        batch: &[Arc<MicroBatch>],
        objective: Objective<'_>,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<Gradients>, TrainError> {
        self.catch_up(batch.iter().map(|micro| &**micro))?;
        let width =
            if self.model.backend == Backend::Candle { 1 } else { buffer_count(batch.len(), self.micro_batch_splits) };
        while self.buffers.len() < width {
            self.buffers.push(Arc::new(GradientBuffer::new(&self.model.parameters)));
        }
        let buffers = &self.buffers[..width];
        for buffer in buffers {
            buffer.clear();
        }
        let scale = 1.0 / batch.iter().map(|micro| micro.weight(&**objective.task)).sum::<f64>();
        let (model, packed) = (&self.model, Arc::new(PackedWeights::default()));
        let losses = run(&self.pool, width, interrupted, &|index, stop| {
            let mut losses = Vec::new();
            for micro in batch.iter().skip(index).step_by(width) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let Objective { random, task } = objective;
                let training = Training { random, gradients: buffers[index].clone(), scale, task: task.clone() };
                let pass = Pass {
                    model: model.clone(),
                    batch: micro.clone(),
                    training: Some(training),
                    packed: packed.clone(),
                };
                losses.push(pass.train()?);
            }
            Ok(losses)
        })?;
        let Some(losses) = losses else { return Ok(None) };
        let loss = (0..batch.len()).map(|i| losses[i % width][i / width]).sum();
        self.reduce(width, loss).map(Some)
    }

    /// Adds all buffers into the first one and computes the norm, parameter by parameter.
    fn reduce(&self, width: usize, loss: f64) -> Result<Gradients, TrainError> {
        let buffers = &self.buffers[..width];
        if self.model.backend == Backend::Candle {
            return self.reduce_tensors(&buffers[0], loss);
        }
        let parts: Vec<_> = buffers.iter().map(|buffer| buffer.take_token_gradients()).collect();
        let longest = parts.iter().map(Vec::len).max().unwrap_or(0);
        let parts: Vec<_> =
            (0..longest).flat_map(|i| parts.iter().filter_map(move |part| part.get(i).cloned())).collect();
        let (width, sparse) = (self.model.shape().embeddings.width, self.model.sparse_embeddings());
        self.pool.install(|| {
            let rows = RowGradients::sum(&parts, width);
            let squares: Vec<f64> = (0..self.model.parameters.len())
                .into_par_iter()
                .map(|i| {
                    if sparse == Some(i) {
                        return Ok(sum_of_squares(&rows.values));
                    }
                    if self.model.parameters[i].trainable { reduce_one(buffers, i, &self.model) } else { Ok(0.0) }
                })
                .collect::<Result<_, TrainError>>()?;
            if sparse.is_some() && rows.ids.is_empty() {
                return Err(no_gradient(&self.model.token_embeddings().name));
            }
            let norm = squares.iter().sum::<f64>().sqrt();
            Ok(Gradients { loss, norm, rows, tensors: std::collections::BTreeMap::new() })
        })
    }

    fn reduce_tensors(&self, buffer: &GradientBuffer, loss: f64) -> Result<Gradients, TrainError> {
        let tensors = buffer.take_tensors();
        let mut squares = Vec::new();
        for (i, parameter) in self.model.parameters.iter().enumerate().filter(|(_, p)| p.trainable) {
            let gradient = tensors.get(&i).ok_or_else(|| no_gradient(&parameter.name))?;
            squares.push(gradient.sqr()?.sum_all()?);
        }
        // The host waits for the device once, not once for each parameter.
        let squares = candle_core::Tensor::stack(&squares, 0)?.to_vec1::<f32>()?;
        let norm = squares.into_iter().map(f64::from).sum::<f64>().sqrt();
        Ok(Gradients { loss, norm, rows: RowGradients::default(), tensors })
    }

    /// Sum of squares of the gradient of parameter `i`; 0 if it has none.
    pub(super) fn gradient_squares(&self, gradients: &Gradients, i: usize) -> Result<f64, TrainError> {
        if self.model.backend == Backend::Candle {
            let squares = |gradient: &candle_core::Tensor| gradient.sqr()?.sum_all()?.to_scalar::<f32>();
            return Ok(f64::from(gradients.tensors.get(&i).map_or(Ok(0.0), squares)?));
        }
        Ok(self
            .buffers
            .first()
            .and_then(|buffer| buffer.parameter(i).gradient().map(|values| sum_of_squares(values)))
            .unwrap_or(0.0))
    }

    /// Clips the gradients to `max_norm` as `torch.nn.utils.clip_grad_norm_` does (0: no clipping), and takes a step with
    /// learning rate `lr`.
    pub fn update(&mut self, gradients: &Gradients, lr: f64, max_norm: f64) -> Result<(), TrainError> {
        let clip = if max_norm > 0.0 { (max_norm / (gradients.norm + 1e-6)).min(1.0) } else { 1.0 } as f32;
        let (buffers, model, optimizer) = (&self.buffers, &self.model, &mut self.optimizer);
        if model.backend == Backend::Candle {
            let gradient = |i: usize| gradients.tensors.get(&i).map(Gradient::Device);
            return optimizer.step(model, lr, clip, gradient, &gradients.rows);
        }
        let mut guards: Vec<_> = (0..model.parameters.len()).map(|i| buffers[0].parameter(i)).collect();
        let slices: Vec<Option<&[f32]>> = guards.iter_mut().map(|guard| guard.gradient().map(|g| &*g)).collect();
        let gradient = |i: usize| slices[i].map(Gradient::Host);
        self.pool.install(|| optimizer.step(model, lr, clip, gradient, &gradients.rows))
    }

    /// The logits of every micro-batch in evaluation mode. None if `interrupted` returned true.
    pub fn logits(
        &mut self,
        batches: &[Arc<MicroBatch>],
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Vec<f32>>>, TrainError> {
        self.evaluate(batches, interrupted, &Pass::logits)
    }

    /// What the evaluation keeps of the outputs of every micro-batch. None if `interrupted` returned true.
    pub fn kept(
        &mut self,
        batches: &[Arc<MicroBatch>],
        task: &dyn Task,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Vec<f32>>>, TrainError> {
        self.evaluate(batches, interrupted, &|pass| {
            let batch = pass.batch.clone();
            Ok(task.keep(pass.logits()?, &batch.targets))
        })
    }

    /// The output of the frozen part of the model for every micro-batch. None if `interrupted` returned true.
    pub fn frozen(
        &mut self,
        batches: &[Arc<MicroBatch>],
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Vec<f32>>>, TrainError> {
        self.evaluate(batches, interrupted, &Pass::frozen)
    }

    fn evaluate(
        &mut self,
        batches: &[Arc<MicroBatch>],
        interrupted: &dyn Fn() -> bool,
        run_pass: &(dyn Fn(Pass) -> Result<Vec<f32>, TrainError> + Sync),
    ) -> Result<Option<Vec<Vec<f32>>>, TrainError> {
        self.catch_up(batches.iter().map(|micro| &**micro))?;
        let width = if self.model.backend == Backend::Candle {
            1
        } else {
            self.pool.current_num_threads().min(batches.len().max(1))
        };
        let (model, packed) = (&self.model, Arc::new(PackedWeights::default()));
        let results = run(&self.pool, width, interrupted, &|index, stop| {
            let mut results = Vec::new();
            for micro in batches.iter().skip(index).step_by(width) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let pass = Pass { model: model.clone(), batch: micro.clone(), training: None, packed: packed.clone() };
                results.push(run_pass(pass)?);
            }
            Ok(results)
        })?;
        Ok(results.map(|results| (0..batches.len()).map(|i| results[i % width][i / width].clone()).collect()))
    }

    /// Applies all outstanding steps to the token embeddings, before the weights are read from outside.
    pub fn catch_up_all(&mut self) -> Result<(), TrainError> {
        let (model, optimizer) = (&self.model, &mut self.optimizer);
        self.pool.install(|| optimizer.catch_up_all(model))
    }

    /// Applies all outstanding steps to the token embeddings that these micro-batches read.
    fn catch_up<'b>(&mut self, batches: impl Iterator<Item = &'b MicroBatch>) -> Result<(), TrainError> {
        let mut ids: Vec<u32> = batches.flat_map(|micro| micro.ids.iter().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        let (model, optimizer) = (&self.model, &mut self.optimizer);
        self.pool.install(|| optimizer.catch_up(model, &ids))
    }
}

/// Number of gradient buffers for a batch. Gradients are most of the memory that can be saved, so each split of the
/// micro-batches halves the number of buffers that the batch would have without splits.
fn buffer_count(micro_batches: usize, micro_batch_splits: u32) -> usize {
    let usual = micro_batches.checked_shr(micro_batch_splits).unwrap_or(0).clamp(1, MAX_GRADIENT_BUFFERS);
    usual.checked_shr(micro_batch_splits).unwrap_or(0).max(1)
}

/// Runs `work` for every index below `width` on the pool. Meanwhile the calling thread polls `interrupted`. None if it
/// returned true.
fn run<T: Send>(
    pool: &rayon::ThreadPool,
    width: usize,
    interrupted: &dyn Fn() -> bool,
    work: &(dyn Fn(usize, &AtomicBool) -> Result<T, TrainError> + Sync),
) -> Result<Option<Vec<T>>, TrainError> {
    /// Time between two polls.
    const POLL_INTERVAL: Duration = Duration::from_millis(100);
    let stop = AtomicBool::new(interrupted());
    let mut results: Vec<Option<Result<T, TrainError>>> = (0..width).map(|_| None).collect();
    pool.in_place_scope(|scope| {
        let (sender, receiver) = channel();
        for index in 0..width {
            let (sender, stop) = (sender.clone(), &stop);
            scope.spawn(move |_| {
                // The receiver exists until the last sender is dropped, so sending cannot fail.
                let _ = sender.send((index, work(index, stop)));
            });
        }
        drop(sender);
        loop {
            match receiver.recv_timeout(POLL_INTERVAL) {
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

/// Adds the gradients of parameter `i` of all buffers into the first buffer, in order. Returns the sum of squares.
fn reduce_one(buffers: &[Arc<GradientBuffer>], i: usize, model: &Network) -> Result<f64, TrainError> {
    let mut first = buffers[0].parameter(i);
    let sum = first.gradient().ok_or_else(|| no_gradient(&model.parameters[i].name))?;
    for buffer in &buffers[1..] {
        if let Some(values) = buffer.parameter(i).gradient() {
            add(sum, values);
        }
    }
    Ok(sum_of_squares(sum))
}

fn sum_of_squares(values: &[f32]) -> f64 {
    let mut partial = [0.0f64; 16];
    simd(
        #[inline(always)]
        || {
            let chunks = values.chunks_exact(16);
            let rest = chunks.remainder();
            for chunk in chunks {
                for (sum, &x) in partial.iter_mut().zip(chunk) {
                    *sum += f64::from(x) * f64::from(x);
                }
            }
            for (sum, &x) in partial.iter_mut().zip(rest) {
                *sum += f64::from(x) * f64::from(x);
            }
        },
    );
    partial.iter().sum()
}

fn no_gradient(name: &str) -> TrainError {
    TrainError::Input(format!(
        "the parameter '{name}' is trainable but received no gradient. This is a bug of this program; please report it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_halve_the_number_of_buffers() {
        let check = |micro_batches: usize, micro_batch_splits: u32, expected: usize| {
            assert_eq!(
                buffer_count(micro_batches, micro_batch_splits),
                expected,
                "{micro_batches} {micro_batch_splits}"
            );
        };
        check(1, 0, 1);
        check(3, 0, 3);
        check(9, 0, 4);
        // The same batches in smaller pieces: two of 512 tokens are four of 256.
        check(2, 1, 1);
        check(4, 1, 1);
        check(18, 1, 2);
        check(36, 2, 1);
        check(5, 99, 1);
    }
}
