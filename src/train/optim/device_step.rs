//! AdamW on a device: one step on all parameters with equal factors at once.
//!
//! A step on each parameter by itself would start some 16 small kernels for each of 200 parameters. Here the gradients and the
//! values of a group are joined, and the moments stay joined between steps.

use candle_core::{Error, Result, Tensor};

use super::update::{Gradient, Moments, Settings};
use crate::train::model::{Network, Parameter};
use plateau_kernels::adamw::Factors;

/// Parameters that always have equal factors, with their joined moments.
#[derive(Debug)]
pub(super) struct DeviceGroup {
    /// Indices of the parameters.
    members: Vec<usize>,
    first: Tensor,
    second: Tensor,
}

impl DeviceGroup {
    /// The groups of all parameters with moments on the device.
    pub(super) fn all(settings: Settings, model: &Network, moments: &[Option<Moments>]) -> Result<Vec<Self>> {
        let mut groups: Vec<(Factors, Vec<usize>)> = Vec::new();
        for (i, _) in moments.iter().enumerate().filter(|(_, moments)| matches!(moments, Some(Moments::Device(..)))) {
            // Which factors are equal does not depend on the step or the learning rate.
            let factors = settings.factors(1, 1.0, &model.parameters[i]);
            match groups.iter_mut().find(|(known, _)| *known == factors) {
                Some((_, members)) => members.push(i),
                None => groups.push((factors, vec![i])),
            }
        }
        let on_device = |&i: &usize| match &moments[i] {
            Some(Moments::Device(first, second)) => Some((first, second)),
            _ => None,
        };
        let group = |(_, members): (Factors, Vec<usize>)| {
            let (first, second): (Vec<&Tensor>, Vec<&Tensor>) = members.iter().filter_map(on_device).unzip();
            Ok(Self { first: joined(first.into_iter())?, second: joined(second.into_iter())?, members })
        };
        groups.into_iter().map(group).collect()
    }

    /// One step. Replaces the values of the parameters, and their moments by parts of the joined ones.
    pub(super) fn step<'g>(
        &mut self,
        parameters: &[Parameter],
        moments: &mut [Option<Moments>],
        gradient: &impl Fn(usize) -> Option<Gradient<'g>>,
        clip: f32,
        factors: impl Fn(&Parameter) -> Factors,
    ) -> Result<()> {
        let Some(factors) = self.members.first().map(|&i| factors(&parameters[i])) else { return Ok(()) };
        let of_device = |&i: &usize| match gradient(i) {
            Some(Gradient::Device(gradient)) => gradient.flatten_all(),
            _ => Err(Error::Msg(format!("'{}' has no gradient on the device", parameters[i].name))),
        };
        let gradients: Vec<Tensor> = self.members.iter().map(of_device).collect::<Result<_>>()?;
        let g = (Tensor::cat(&gradients, 0)? * f64::from(clip))?;
        drop(gradients);
        let p = joined(self.members.iter().map(|&i| parameters[i].value.as_tensor()))?.detach();
        self.first = (&self.first + ((&g - &self.first)? * f64::from(factors.first))?)?;
        self.second = ((&self.second * f64::from(factors.second))? + (g.sqr()? * f64::from(factors.square))?)?;
        let root = ((self.second.sqrt()? / f64::from(factors.root))? + f64::from(factors.eps))?;
        let moved = ((&self.first / root)? * f64::from(factors.size))?;
        let p = ((p * f64::from(factors.decay))? - moved)?;
        let mut start = 0;
        for &i in &self.members {
            let value = &parameters[i].value;
            let n = value.elem_count();
            let part = |all: &Tensor| all.narrow(0, start, n)?.reshape(value.shape());
            value.set(&part(&p)?)?;
            moments[i] = Some(Moments::Device(part(&self.first)?, part(&self.second)?));
            start += n;
        }
        Ok(())
    }
}

/// The elements of all tensors in a row.
fn joined<'t>(tensors: impl Iterator<Item = &'t Tensor>) -> Result<Tensor> {
    Tensor::cat(&tensors.map(Tensor::flatten_all).collect::<Result<Vec<_>>>()?, 0)
}
