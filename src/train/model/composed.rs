//! The model out of candle's own differentiable operations: what runs on accelerators, and the oracle of the CPU kernels.
//!
//! Only operations that have a backward in candle 0.11 appear here (`LayerNorm::forward`, `ops::layer_norm` and
//! `softmax_last_dim` have none and would cut the graph without a word). Attention pads each micro-batch to its longest
//! sequence and masks; everything else runs on packed tokens.

use std::sync::Arc;

use candle_core::{D, Result, Tensor};

use super::Rows;
use super::parameters::{Layer, Pair};
use super::pass::{Pass, Place};
use crate::train::batch::Mix;
use crate::trial::Pooling;
use plateau_kernels::activation::Activation;
use plateau_kernels::dropout::{Dropout, Mask};

/// Scores of every sequence, `[sequences, classes]`.
pub fn logits(pass: &Pass) -> Result<Vec<f32>> {
    scores(pass)?.detach().to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1()
}

/// Forward and backward of a training pass; the loss.
pub fn train(pass: &Arc<Pass>) -> Result<f64> {
    let training = pass.training.as_ref().ok_or_else(|| candle_core::Error::Msg("a loss in evaluation".into()))?;
    let loss = (loss(pass, &scores(pass)?, training.smoothing)? * training.weight)?;
    let mut gradients = loss.backward()?;
    for (i, parameter) in pass.model.parameters.iter().enumerate().filter(|(_, p)| p.trainable) {
        if let Some(gradient) = gradients.remove(&parameter.value) {
            training.gradients.add_tensor(i, gradient)?;
        }
    }
    loss.to_dtype(candle_core::DType::F64)?.to_scalar()
}

/// Sum of the sequences' cross-entropies.
fn loss(pass: &Pass, scores: &Tensor, smoothing: f64) -> Result<Tensor> {
    let log = candle_nn::ops::log_softmax(scores, D::Minus1)?;
    let own = Tensor::new(&*pass.batch.labels, scores.device())?.unsqueeze(1)?;
    let mut hits = log.gather(&own, 1)?;
    if let Some(mix) = pass.mix() {
        let partners = own.index_select(&Tensor::new(&*mix.partners, scores.device())?, 0)?;
        let shares = shares(mix, scores)?;
        hits = (hits.mul(&shares)? + log.gather(&partners, 1)?.mul(&(1.0 - &shares)?)?)?;
    }
    let nll = hits.sum_all()?.neg()?;
    let mean = (log.sum_all()?.neg()? / scores.dim(1)? as f64)?;
    (nll * (1.0 - smoothing))? + (mean * smoothing)?
}

fn scores(pass: &Pass) -> Result<Tensor> {
    let model = &*pass.model;
    let mut hidden = embed(pass)?;
    if model.freeze > 0 {
        hidden = hidden.detach();
    }
    for number in 0..model.config.layers {
        hidden = layer(pass, number, &hidden)?;
        if number < model.freeze {
            hidden = hidden.detach();
        }
    }
    let features = match model.pooling {
        Pooling::Mean => mean(pass, &hidden)?,
        Pooling::Cls => hidden,
        Pooling::Pooler => match model.index.pooler {
            Some(pooler) => linear(pass, pooler, &hidden)?.tanh()?,
            None => hidden,
        },
    };
    let features = match pass.mix() {
        Some(mix) => {
            let partners = features.index_select(&Tensor::new(&*mix.partners, features.device())?, 0)?;
            let shares = shares(mix, &features)?;
            (features.broadcast_mul(&shares)? + partners.broadcast_mul(&(1.0 - &shares)?)?)?
        }
        None => features,
    };
    let features = match pass.dropout(Place::Classifier) {
        Some(dropout) => masked(&features, &dropout, &pass.offsets(Rows::First))?,
        None => features,
    };
    linear(pass, model.index.classifier, &features)
}

/// `[sequences, 1]`.
fn shares(mix: &Mix, like: &Tensor) -> Result<Tensor> {
    Tensor::new(&*mix.shares, like.device())?.to_dtype(like.dtype())?.unsqueeze(1)
}

fn value(pass: &Pass, parameter: usize) -> &Tensor {
    pass.model.parameters[parameter].value.as_tensor()
}

fn linear(pass: &Pass, pair: Pair, x: &Tensor) -> Result<Tensor> {
    x.matmul(&value(pass, pair.weight).t()?)?.broadcast_add(value(pass, pair.bias))
}

fn norm(pass: &Pass, pair: Pair, x: &Tensor) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + pass.model.config.epsilon)?.sqrt()?;
    centred.broadcast_div(&deviation)?.broadcast_mul(value(pass, pair.weight))?.broadcast_add(value(pass, pair.bias))
}

fn embed(pass: &Pass) -> Result<Tensor> {
    let (index, batch) = (&pass.model.index, &pass.batch);
    let rows = |table: usize, ids: &[u32]| {
        let table = value(pass, table);
        table.index_select(&Tensor::new(ids, table.device())?, 0)
    };
    let sum = ((rows(index.words, &batch.ids)? + rows(index.types, &batch.types)?)?
        + rows(index.positions, &batch.positions)?)?;
    let normed = norm(pass, index.embedding_norm, &sum)?;
    match pass.dropout(Place::Embeddings) {
        Some(dropout) => masked(&normed, &dropout, &batch.offsets),
        None => Ok(normed),
    }
}

fn layer(pass: &Pass, number: usize, x: &Tensor) -> Result<Tensor> {
    let layer = &pass.model.index.layers[number];
    let rows = pass.model.rows(number);
    let offsets = pass.offsets(rows);
    let attended = linear(pass, layer.output, &attention(pass, number, layer, x)?)?;
    let attended = dropped(pass, Place::AttentionOutput(number), attended, &offsets)?;
    let asking = match rows {
        Rows::All => x.clone(),
        Rows::First => x.index_select(&first_rows(pass)?, 0)?,
    };
    let x = norm(pass, layer.attention_norm, &(attended + asking)?)?;
    let up = linear(pass, layer.up, &x)?;
    let up = match pass.model.config.activation {
        Activation::Gelu => up.gelu_erf()?,
        Activation::GeluTanh => up.gelu()?,
        Activation::Relu => up.relu()?,
    };
    let down = dropped(pass, Place::Output(number), linear(pass, layer.down, &up)?, &offsets)?;
    norm(pass, layer.norm, &(down + x)?)
}

fn dropped(pass: &Pass, place: Place, x: Tensor, offsets: &[u32]) -> Result<Tensor> {
    match pass.dropout(place) {
        Some(dropout) => masked(&x, &dropout, offsets),
        None => Ok(x),
    }
}

/// Attention over the padded micro-batch, given back packed.
fn attention(pass: &Pass, number: usize, layer: &Layer, x: &Tensor) -> Result<Tensor> {
    let (batch, config) = (&pass.batch, &pass.model.config);
    let sequences = batch.sequences();
    let longest = batch.offsets.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0) as usize;
    let (heads, size) = (config.heads, config.hidden / config.heads);
    let rows: Vec<u32> = batch
        .offsets
        .windows(2)
        .flat_map(|w| (0..longest as u32).map(move |i| if w[0] + i < w[1] { w[0] + i } else { w[0] }))
        .collect();
    let rows = Tensor::new(rows, x.device())?;
    let split = |pair: Pair| {
        let padded = linear(pass, pair, x)?.index_select(&rows, 0)?;
        padded.reshape((sequences, longest, heads, size))?.transpose(1, 2)?.contiguous()
    };
    let (q, k, v) = (split(layer.query)?, split(layer.key)?, split(layer.value)?);
    let mask: Vec<f32> = batch
        .offsets
        .windows(2)
        .flat_map(|w| (0..longest as u32).map(move |i| if i < w[1] - w[0] { 0.0 } else { -1e9 }))
        .collect();
    let mask = Tensor::from_vec(mask, (sequences, 1, 1, longest), x.device())?.to_dtype(x.dtype())?;
    let scores = (q.matmul(&k.transpose(2, 3)?.contiguous()?)? / (size as f64).sqrt())?.broadcast_add(&mask)?;
    let weights = candle_nn::ops::softmax(&scores, D::Minus1)?;
    let weights = match pass.dropout(Place::Attention(number)) {
        Some(dropout) => (&weights * weight_factors(pass, &dropout, longest, &weights)?)?,
        None => weights,
    };
    let context = weights.matmul(&v)?.transpose(1, 2)?.contiguous()?.reshape((sequences * longest, config.hidden))?;
    let kept: Vec<u32> = batch
        .offsets
        .windows(2)
        .enumerate()
        .flat_map(|(s, w)| {
            let n = match pass.model.rows(number) {
                Rows::All => w[1] - w[0],
                Rows::First => 1,
            };
            (0..n).map(move |i| (s * longest) as u32 + i)
        })
        .collect();
    context.index_select(&Tensor::new(kept, x.device())?, 0)
}

fn first_rows(pass: &Pass) -> Result<Tensor> {
    Tensor::new(&pass.batch.offsets[..pass.batch.sequences()], &pass.model.device)
}

/// Means over the rows of each sequence, as a product with a matrix of weights.
fn mean(pass: &Pass, hidden: &Tensor) -> Result<Tensor> {
    let (sequences, tokens) = (pass.batch.sequences(), pass.batch.tokens());
    let mut weights = vec![0f32; sequences * tokens];
    for (s, w) in pass.batch.offsets.windows(2).enumerate() {
        weights[s * tokens + w[0] as usize..s * tokens + w[1] as usize].fill(1.0);
    }
    let counts: Vec<f32> = pass.batch.offsets.windows(2).map(|w| (w[1] - w[0]) as f32).collect();
    let weights = Tensor::from_vec(weights, (sequences, tokens), hidden.device())?.to_dtype(hidden.dtype())?;
    let counts = Tensor::from_vec(counts, (sequences, 1), hidden.device())?.to_dtype(hidden.dtype())?;
    weights.matmul(hidden)?.broadcast_div(&counts)
}

/// `x` under the same masks that the CPU kernels draw.
fn masked(x: &Tensor, dropout: &Dropout, offsets: &[u32]) -> Result<Tensor> {
    let width = x.dim(1)? as u32;
    let factors: Vec<f32> = offsets
        .windows(2)
        .enumerate()
        .flat_map(|(s, w)| {
            let mask: Mask = dropout.mask(s);
            (0..(w[1] - w[0]) * width).map(move |i| mask.factor(i))
        })
        .collect();
    x * Tensor::from_vec(factors, x.shape(), x.device())?.to_dtype(x.dtype())?
}

/// The same for attention weights `[sequences, heads, longest, longest]`; padding keeps what it has.
fn weight_factors(pass: &Pass, dropout: &Dropout, longest: usize, weights: &Tensor) -> Result<Tensor> {
    let mut factors = Vec::with_capacity(weights.elem_count());
    for (sequence, w) in pass.batch.offsets.windows(2).enumerate() {
        let (mask, s) = (dropout.mask(sequence), (w[1] - w[0]) as usize);
        for head in 0..pass.model.config.heads {
            for row in 0..longest {
                let first = (head * s + row) * s;
                factors
                    .extend((0..longest).map(|i| if row < s && i < s { mask.factor((first + i) as u32) } else { 1.0 }));
            }
        }
    }
    Tensor::from_vec(factors, weights.shape(), weights.device())?.to_dtype(weights.dtype())
}
