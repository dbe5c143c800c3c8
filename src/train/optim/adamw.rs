//! AdamW as torch computes it (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019), fused: one pass over
//! each parameter, in place.
//!
//! Word vectors that a batch does not read cost nothing: dense AdamW would still decay them and move them along their
//! moments, and [`words`] does exactly that, with the same operations in the same order, when a row is next read.

pub mod words;

use candle_core::{CpuStorage, InplaceOp1, Layout, Tensor};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

use self::words::Words;
use super::TrainError;
use super::kernels::simd;
use super::model::host::host;
use super::model::{Bert, Parameter};
use crate::trial::TrialConfig;

/// The numbers of a configuration that AdamW reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    pub betas: [f64; 2],
    pub eps: f64,
    pub bias_correction: bool,
    pub weight_decay: f64,
    pub layer_decay: f64,
    /// The head's rate over that of the others.
    pub head: f64,
}

impl Settings {
    pub fn new(config: &TrialConfig) -> Self {
        Self {
            betas: config.optimizer.betas,
            eps: config.optimizer.eps,
            bias_correction: config.optimizer.bias_correction,
            weight_decay: config.weight_decay,
            layer_decay: config.optimizer.layer_decay,
            head: config.optimizer.head_lr.map_or(1.0, |head| head / config.lr),
        }
    }

    /// The factors of step `step` (from 1) at rate `rate` for one parameter. Differences of the moment factors from one
    /// are taken in f64: `1 - 0.999` in f32 is off by 1e-5.
    fn factors(&self, step: u64, rate: f64, parameter: &Parameter) -> Factors {
        let rate = match parameter.depth {
            0 => rate * self.head,
            depth => rate * self.layer_decay.powi(depth as i32),
        };
        let decay = if parameter.decays { 1.0 - rate * self.weight_decay } else { 1.0 };
        let [first, second] =
            if self.bias_correction { self.betas.map(|beta| 1.0 - beta.powf(step as f64)) } else { [1.0, 1.0] };
        Factors {
            decay: decay as f32,
            size: (rate / first) as f32,
            root: second.sqrt() as f32,
            eps: self.eps as f32,
            first: (1.0 - self.betas[0]) as f32,
            second: self.betas[1] as f32,
            square: (1.0 - self.betas[1]) as f32,
        }
    }
}

/// What one step does to every element of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factors {
    /// 1 - rate * weight decay.
    decay: f32,
    /// rate / (1 - beta1^step).
    size: f32,
    /// sqrt(1 - beta2^step).
    root: f32,
    eps: f32,
    /// 1 - beta1.
    first: f32,
    /// beta2, and 1 - beta2.
    second: f32,
    square: f32,
}

impl Factors {
    /// The update of slices; `g(i)` is the clipped gradient of element i.
    #[expect(clippy::inline_always, reason = "has to be inlined into the function that has the vector instructions")]
    #[inline(always)]
    fn apply(&self, p: &mut [f32], m: &mut [f32], v: &mut [f32], g: impl Fn(usize) -> f32) {
        let n = p.len();
        let (m, v) = (&mut m[..n], &mut v[..n]);
        for i in 0..n {
            let g = g(i);
            m[i] += self.first * (g - m[i]);
            v[i] = self.second * v[i] + self.square * g * g;
            p[i] = p[i] * self.decay - self.size * (m[i] / (v[i].sqrt() / self.root + self.eps));
        }
    }
}

/// Running means of gradients and of their squares.
#[derive(Debug, Clone)]
pub enum Moments {
    Host(Vec<f32>, Vec<f32>),
    Device(Tensor, Tensor),
}

/// A gradient of one step, before clipping.
pub enum Gradient<'a> {
    Host(&'a [f32]),
    Device(&'a Tensor),
}

/// The optimizer and its state.
#[derive(Debug)]
pub struct AdamW {
    settings: Settings,
    /// The rate of every step taken; what lazy rows replay.
    rates: Vec<f64>,
    /// None for a parameter that is frozen.
    moments: Vec<Option<Moments>>,
    /// The word table, when it is updated lazily.
    words: Option<Words>,
}

impl AdamW {
    pub fn new(settings: Settings, model: &Bert) -> Result<Self, TrainError> {
        let lazy = |i: usize| !model.composed && i == model.index.words;
        let moments = model.parameters.iter().enumerate().map(|(i, parameter)| {
            let n = parameter.value.elem_count();
            Ok(if !parameter.trainable || lazy(i) {
                None
            } else if model.composed {
                let zeros = parameter.value.zeros_like()?;
                Some(Moments::Device(zeros.clone(), zeros))
            } else {
                Some(Moments::Host(vec![0.0; n], vec![0.0; n]))
            })
        });
        let table = &model.parameters[model.index.words];
        let words = (table.trainable && !model.composed).then(|| Words::new(table));
        Ok(Self { settings, rates: Vec::new(), moments: moments.collect::<Result<_, TrainError>>()?, words })
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.rates.len() as u64
    }

    pub fn rates(&self) -> &[f64] {
        &self.rates
    }

    pub fn moments(&self) -> &[Option<Moments>] {
        &self.moments
    }

    pub fn words(&self) -> Option<&Words> {
        self.words.as_ref()
    }

    /// Puts back what a checkpoint saved.
    pub fn restore(&mut self, model: &Bert, rates: Vec<f64>, moments: Vec<Option<Moments>>, words: Option<Words>) {
        let table = &model.parameters[model.index.words];
        self.words = words.map(|mut words| {
            words.replay_from(rates.iter().zip(1..).map(|(&rate, step)| self.settings.factors(step, rate, table)));
            words
        });
        self.moments = moments;
        self.rates = rates;
    }

    /// Brings the word vectors of `ids` (sorted, each once) up to date; they may be read then.
    pub fn catch_up(&mut self, model: &Bert, ids: &[u32]) -> Result<(), TrainError> {
        match &mut self.words {
            Some(words) => Ok(words.catch_up(&model.parameters[model.index.words], ids)?),
            None => Ok(()),
        }
    }

    /// Brings the whole word table up to date.
    pub fn catch_up_all(&mut self, model: &Bert) -> Result<(), TrainError> {
        let all: Vec<u32> = (0..model.config.vocabulary as u32).collect();
        self.catch_up(model, &all)
    }

    /// One step at `rate`: `gradient(i)` is the gradient of parameter i, `rows` those of the word vectors that the batch
    /// read; all are multiplied by `clip` first.
    pub fn step<'g>(
        &mut self,
        model: &Bert,
        rate: f64,
        clip: f32,
        gradient: impl Fn(usize) -> Option<Gradient<'g>> + Sync,
        rows: &words::RowGradients,
    ) -> Result<(), TrainError> {
        self.rates.push(rate);
        let (step, settings) = (self.steps(), self.settings);
        let updates = self.moments.par_iter_mut().zip(&model.parameters).enumerate();
        updates.try_for_each(|(i, (moments, parameter))| {
            let (Some(moments), Some(gradient)) = (moments.as_mut(), gradient(i)) else { return Ok(()) };
            update(parameter, moments, &gradient, clip, settings.factors(step, rate, parameter))
        })?;
        if let Some(words) = &mut self.words {
            let table = &model.parameters[model.index.words];
            words.step(table, settings.factors(step, rate, table), clip, rows)?;
        }
        Ok(())
    }
}

fn update(
    parameter: &Parameter,
    moments: &mut Moments,
    gradient: &Gradient<'_>,
    clip: f32,
    factors: Factors,
) -> candle_core::Result<()> {
    match (moments, gradient) {
        (Moments::Host(m, v), Gradient::Host(g)) => in_place(&parameter.value, |p| {
            simd(
                #[inline(always)]
                || {
                    factors.apply(
                        p,
                        m,
                        v,
                        #[inline(always)]
                        |i| g[i] * clip,
                    );
                },
            );
        }),
        (Moments::Device(m, v), Gradient::Device(g)) => {
            let g = (*g * f64::from(clip))?;
            *m = (&*m + ((&g - &*m)? * f64::from(factors.first))?)?;
            *v = ((&*v * f64::from(factors.second))? + (g.sqr()? * f64::from(factors.square))?)?;
            let root = ((v.sqrt()? / f64::from(factors.root))? + f64::from(factors.eps))?;
            let moved = ((&*m / root)? * f64::from(factors.size))?;
            parameter.value.set(&((parameter.value.as_tensor() * f64::from(factors.decay))?.detach() - moved)?)
        }
        _ => Err(candle_core::Error::Msg(format!("moments and gradient of '{}' lie on two devices", parameter.name))),
    }
}

/// Runs `change` over the values of a CPU tensor, where they lie.
pub fn in_place(tensor: &Tensor, change: impl FnOnce(&mut [f32]) + Send) -> candle_core::Result<()> {
    struct Change<F>(Mutex<Option<F>>);

    impl<F: FnOnce(&mut [f32])> InplaceOp1 for Change<F> {
        fn name(&self) -> &'static str {
            "in-place update"
        }

        fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
            let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
                candle_core::bail!("parameters are contiguous f32");
            };
            if let Some(change) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
                change(&mut values[start..end]);
            }
            Ok(())
        }
    }

    tensor.inplace_op1(&Change(Mutex::new(Some(change))))
}

/// A copy of a tensor's values, wherever it lies.
pub fn values(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    if tensor.device().is_cpu() {
        return host(tensor).map(|values| values.to_vec());
    }
    tensor.flatten_all()?.to_vec1()
}

#[cfg(test)]
mod tests;
