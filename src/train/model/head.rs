//! The head on the CPU: pooling, mixing, dropout, classifier, cross-entropy; a last operation whose result is the loss.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::host::{host, slice};
use super::operation::Saved;
use super::pass::{Pass, Place, Training};
use crate::trial::Pooling;
use plateau_kernels::dropout::Mask;
use plateau_kernels::product::Write;
use plateau_kernels::vector::add;
use plateau_kernels::{linear, loss};

/// From the last layer's rows to the weighted sum of the sequences' losses.
pub struct Head {
    pass: Arc<Pass>,
    saved: Saved<Kept>,
}

struct Kept {
    /// Input of the classifier, after dropout.
    features: Vec<f32>,
    /// Output of the pooler before dropout; empty without one.
    pooled: Vec<f32>,
    logits: Vec<f32>,
}

impl Head {
    pub fn new(pass: &Arc<Pass>) -> Self {
        Self { pass: pass.clone(), saved: Saved::default() }
    }
}

/// Scores in evaluation.
pub fn logits(pass: &Pass, hidden: &[f32]) -> Result<Vec<f32>> {
    forward(pass, hidden).map(|kept| kept.logits)
}

fn forward(pass: &Pass, hidden: &[f32]) -> Result<Kept> {
    let model = &*pass.model;
    let (mut features, pooled) = match (model.pooling, model.index.pooler) {
        (Pooling::Mean, _) => (mean(pass, hidden), Vec::new()),
        (Pooling::Pooler, Some(pooler)) => {
            let mut pooled = model.linear(pooler, hidden)?;
            for x in &mut pooled {
                *x = x.tanh();
            }
            (pooled.clone(), pooled)
        }
        (Pooling::Cls | Pooling::Pooler, _) => (hidden.to_vec(), Vec::new()),
    };
    if let Some(mix) = pass.mix() {
        features = mix.forward(&features, pass.model.config.hidden);
    }
    drop_out(pass, &mut features);
    let logits = model.linear(model.index.classifier, &features)?;
    Ok(Kept { features, pooled, logits })
}

/// Dropout of the classifier's input, forward and backward alike.
fn drop_out(pass: &Pass, features: &mut [f32]) {
    if let Some(dropout) = pass.dropout(Place::Classifier) {
        for (sequence, row) in features.chunks_exact_mut(pass.model.config.hidden).enumerate() {
            let mask: Mask = dropout.mask(sequence);
            row.iter_mut().enumerate().for_each(|(i, x)| *x *= mask.factor(i as u32));
        }
    }
}

/// The mean vector of each sequence.
fn mean(pass: &Pass, hidden: &[f32]) -> Vec<f32> {
    let width = pass.model.config.hidden;
    let mut features = vec![0.0; pass.batch.sequences() * width];
    for (bounds, feature) in pass.batch.offsets.windows(2).zip(features.chunks_exact_mut(width)) {
        for row in bounds[0]..bounds[1] {
            add(&mut *feature, &hidden[row as usize * width..][..width]);
        }
        let n = (bounds[1] - bounds[0]) as f32;
        for x in feature {
            *x /= n;
        }
    }
    features
}

/// The gradient of every row, from the gradient of the means.
fn spread(pass: &Pass, dfeatures: &[f32]) -> Vec<f32> {
    let width = pass.model.config.hidden;
    let mut rows = Vec::with_capacity(pass.batch.tokens() * width);
    for (bounds, feature) in pass.batch.offsets.windows(2).zip(dfeatures.chunks_exact(width)) {
        let n = (bounds[1] - bounds[0]) as f32;
        for _ in bounds[0]..bounds[1] {
            rows.extend(feature.iter().map(|x| x / n));
        }
    }
    rows
}

impl Head {
    fn training(&self) -> Result<&Training> {
        let training = self.pass.training.as_ref();
        training.ok_or_else(|| candle_core::Error::Msg("a loss in evaluation".into()))
    }
}

impl CustomOp1 for Head {
    fn name(&self) -> &'static str {
        "head"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Training { weight, smoothing, .. } = *self.training()?;
        let kept = forward(&self.pass, slice(storage, layout)?)?;
        let mut total = 0.0;
        for (sequence, row) in kept.logits.chunks_exact(self.pass.model.classes).enumerate() {
            for (label, share) in self.pass.batch.targets(sequence) {
                total += share * loss::cross_entropy(row, label, smoothing);
            }
        }
        self.saved.put(kept);
        Ok((CpuStorage::F32(vec![(weight * total) as f32]), Shape::from(())))
    }

    fn bwd(&self, arg: &Tensor, _res: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let kept = self.saved.take()?;
        let (pass, model, lane) = (&*self.pass, &*self.pass.model, self.pass.gradients()?);
        let Training { weight, smoothing, .. } = *self.training()?;
        let weight = weight * f64::from(gradient.to_scalar::<f32>()?);
        let mut dlogits = vec![0.0; kept.logits.len()];
        let rows = kept.logits.chunks_exact(model.classes).zip(dlogits.chunks_exact_mut(model.classes));
        for (sequence, (row, sums)) in rows.enumerate() {
            for (label, share) in pass.batch.targets(sequence) {
                let gradient = loss::backward(row, label, smoothing, weight * share);
                sums.iter_mut().zip(gradient).for_each(|(sum, d)| *sum += d);
            }
        }
        lane.linear(model.index.classifier, &dlogits, &kept.features);
        let mut dfeatures = kept.features;
        model.linear_input(model.index.classifier, &dlogits, &mut dfeatures, Write::Replace)?;
        drop_out(pass, &mut dfeatures);
        if let Some(mix) = pass.mix() {
            dfeatures = mix.backward(&dfeatures, model.config.hidden);
        }
        if let Some(pooler) = model.index.pooler {
            dfeatures.iter_mut().zip(&kept.pooled).for_each(|(d, y)| *d *= 1.0 - y * y);
            lane.linear(pooler, &dfeatures, &host(arg)?);
            let (weight, bias) = model.pair(pooler)?;
            let mut dx = vec![0.0; dfeatures.len()];
            linear::backward_input(&dfeatures, &weight, bias.len(), &mut dx, Write::Replace);
            dfeatures = dx;
        }
        let dx = if model.pooling == Pooling::Mean { spread(pass, &dfeatures) } else { dfeatures };
        Tensor::from_vec(dx, arg.shape(), arg.device()).map(Some)
    }
}
