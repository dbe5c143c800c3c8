//! One AdamW step on one parameter on the CPU, and what steps on all devices share.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, InplaceOp1, Layout, Tensor};

use plateau_kernels::adamw::{Elements, Factors};

use crate::train::model::Parameter;
use crate::train::model::host::host;
use crate::trial::TrialConfig;

/// The settings of AdamW.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    pub betas: [f64; 2],
    pub eps: f64,
    pub bias_correction: bool,
    pub weight_decay: f64,
    pub layer_decay: f64,
    /// Learning rate of the head relative to the other parameters.
    pub head_factor: f64,
}

impl Settings {
    pub fn new(config: &TrialConfig) -> Self {
        Self {
            betas: config.optimizer.betas,
            eps: config.optimizer.eps,
            bias_correction: config.optimizer.bias_correction,
            weight_decay: config.weight_decay,
            layer_decay: config.optimizer.layer_decay,
            head_factor: config.optimizer.head_lr.map_or(1.0, |head| head / config.lr),
        }
    }

    /// The factors of step `step` (from 1) with learning rate `lr` for one parameter. `1 - beta` is computed in f64, because
    /// `1 - 0.999` in f32 has an error of 1e-5.
    pub(super) fn factors(&self, step: u64, lr: f64, parameter: &Parameter) -> Factors {
        let lr = match parameter.depth {
            0 => lr * self.head_factor,
            depth => lr * self.layer_decay.powi(depth as i32),
        };
        let decay = if parameter.decays { 1.0 - lr * self.weight_decay } else { 1.0 };
        let [first, second] =
            if self.bias_correction { self.betas.map(|beta| 1.0 - beta.powf(step as f64)) } else { [1.0, 1.0] };
        Factors {
            decay: decay as f32,
            size: (lr / first) as f32,
            root: second.sqrt() as f32,
            eps: self.eps as f32,
            first: (1.0 - self.betas[0]) as f32,
            second: self.betas[1] as f32,
            square: (1.0 - self.betas[1]) as f32,
        }
    }
}

/// The running means of a parameter's gradient and of its square.
#[derive(Debug, Clone)]
pub enum Moments {
    Host(Vec<f32>, Vec<f32>),
    Device(Tensor, Tensor),
}

/// The gradient of a parameter, before clipping.
pub enum Gradient<'a> {
    Host(&'a [f32]),
    Device(&'a Tensor),
}

/// One step on one parameter on the CPU. The gradient is multiplied by `clip` first.
pub(super) fn update(
    parameter: &Parameter,
    moments: &mut Moments,
    gradient: &Gradient<'_>,
    clip: f32,
    factors: Factors,
) -> candle_core::Result<()> {
    match (moments, gradient) {
        (Moments::Host(m, v), Gradient::Host(g)) => in_place(&parameter.value, |p| {
            Elements { value: p, first: m, second: v }.step(&factors, g, clip);
        }),
        _ => Err(candle_core::Error::Msg(format!(
            "moments and gradient of '{}' are not both on the CPU",
            parameter.name
        ))),
    }
}

/// Runs `change` on the values of a CPU tensor in place.
pub fn in_place(tensor: &Tensor, change: impl FnOnce(&mut [f32]) + Send) -> candle_core::Result<()> {
    struct Change<F>(Mutex<Option<F>>);

    impl<F: FnOnce(&mut [f32])> InplaceOp1 for Change<F> {
        fn name(&self) -> &'static str {
            "in-place update"
        }

        fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
            let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
                candle_core::bail!("a parameter is not a contiguous f32 tensor");
            };
            if let Some(change) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
                change(&mut values[start..end]);
            }
            Ok(())
        }
    }

    tensor.inplace_op1(&Change(Mutex::new(Some(change))))
}

/// A copy of a tensor's values, from any device.
pub fn values(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    if tensor.device().is_cpu() {
        return host(tensor).map(|values| values.to_vec());
    }
    tensor.flatten_all()?.to_vec1()
}
