//! The CPU model: operations of candle's graph with a forward and a backward of our own.
//!
//! Activations travel through the graph; parameters are read where they lie, and their gradients go to the pass's
//! [`super::gradient_buffer::GradientBuffer`]. The graph's leaf is the first activation that has a gradient: the gathered word vectors, or the output of the
//! frozen part.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, Var};

use super::Rows;
use super::gradient_buffer::TokenGradients;
use super::host::{host, slice};
use super::operation::Saved;
use super::pass::{Pass, Place};
use plateau_kernels::activation;
use plateau_kernels::attention::{self, Inputs};
use plateau_kernels::dropout::Dropout;
use plateau_kernels::norm::{self, Normed, Site};
use plateau_kernels::product::Write;
use plateau_kernels::vector::add;

/// Scores of every sequence, `[sequences, classes]`.
pub fn logits(pass: &Arc<Pass>) -> Result<Vec<f32>> {
    super::head::logits(pass, &vectors(pass)?)
}

/// What the last layer gives out.
pub fn vectors(pass: &Arc<Pass>) -> Result<Vec<f32>> {
    let hidden = trunk(pass, pass.model.freeze..pass.model.config.layers, frozen(pass)?)?;
    Ok(host(&hidden)?.to_vec())
}

/// What the frozen part gives, `[rows, hidden]`.
pub fn frozen_rows(pass: &Arc<Pass>) -> Result<Vec<f32>> {
    Ok(host(&frozen(pass)?)?.to_vec())
}

/// Forward and backward of a training pass; the loss.
pub fn train(pass: &Arc<Pass>) -> Result<f64> {
    let model = &pass.model;
    let layers = model.config.layers;
    let words = model.trains_embeddings().then(|| Var::from_tensor(&words(pass)?)).transpose()?;
    let hidden = if let Some(words) = &words {
        trunk(pass, 0..layers, embed(pass, words)?)?
    } else {
        trunk(pass, model.freeze..layers, Var::from_tensor(&frozen(pass)?)?.as_tensor().clone())?
    };
    let loss = hidden.apply_op1(super::head::Head::new(pass))?;
    let mut gradients = loss.backward()?;
    if let (Some(gradient), Some(training)) = (words.and_then(|words| gradients.remove(&words)), &pass.training) {
        training
            .gradients
            .push_token_gradients(TokenGradients { batch: pass.batch.clone(), values: host(&gradient)?.to_vec() });
    }
    loss.to_scalar::<f32>().map(f64::from)
}

/// The rows of the word table that the micro-batch reads, `[tokens, hidden]`.
fn words(pass: &Pass) -> Result<Tensor> {
    let width = pass.model.config.hidden;
    let table = pass.model.values(pass.model.index.words)?;
    let mut rows = Vec::with_capacity(pass.batch.tokens() * width);
    for &id in &pass.batch.ids {
        rows.extend_from_slice(&table[id as usize * width..(id as usize + 1) * width]);
    }
    Tensor::from_vec(rows, (pass.batch.tokens(), width), &pass.model.device)
}

/// The output of the frozen part, kept or computed; the embeddings where no layer is frozen.
fn frozen(pass: &Arc<Pass>) -> Result<Tensor> {
    let Pass { model, batch, .. } = &**pass;
    if let Some(values) = &batch.frozen {
        return Tensor::from_slice(values, (values.len() / model.config.hidden, model.config.hidden), &model.device);
    }
    trunk(pass, 0..model.freeze, embed(pass, &words(pass)?)?)
}

fn embed(pass: &Arc<Pass>, words: &Tensor) -> Result<Tensor> {
    words.apply_op1(Embed { pass: pass.clone(), saved: Saved::default() })
}

/// Layers `range` over `hidden`.
fn trunk(pass: &Arc<Pass>, range: std::ops::Range<usize>, mut hidden: Tensor) -> Result<Tensor> {
    for layer in range {
        hidden = hidden.apply_op1(Attend { pass: pass.clone(), layer, saved: Saved::default() })?;
        hidden = hidden.apply_op1(Transform { pass: pass.clone(), layer, saved: Saved::default() })?;
    }
    Ok(hidden)
}

/// Sum of word, position and type vectors, LayerNorm, dropout.
struct Embed {
    pass: Arc<Pass>,
    saved: Saved<(Normed, Option<Dropout>)>,
}

impl CustomOp1 for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Pass { model, batch, .. } = &*self.pass;
        let width = model.config.hidden;
        let mut y = slice(storage, layout)?.to_vec();
        let (positions, types) = (model.values(model.index.positions)?, model.values(model.index.types)?);
        for (row, (&position, &kind)) in y.chunks_exact_mut(width).zip(batch.positions.iter().zip(&batch.types)) {
            add(row, &types[kind as usize * width..][..width]);
            add(row, &positions[position as usize * width..][..width]);
        }
        let (gain, shift) = model.pair(model.index.embedding_norm)?;
        let normed = norm::forward_plain(&mut y, model.affine(&gain, &shift));
        let dropout = self.pass.dropout(Place::Embeddings);
        norm::apply(&mut y, width, Site { dropout: dropout.as_ref(), offsets: &batch.offsets });
        if self.pass.training.is_some() {
            self.saved.put((normed, dropout));
        }
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, _arg: &Tensor, _res: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (normed, dropout) = self.saved.take()?;
        let Pass { model, batch, .. } = &*self.pass;
        let (lane, width) = (self.pass.gradients()?, model.config.hidden);
        let mut dy = host(gradient)?.to_vec();
        norm::apply(&mut dy, width, Site { dropout: dropout.as_ref(), offsets: &batch.offsets });
        lane.norm(model, model.index.embedding_norm, &normed, &mut dy)?;
        let (mut positions, mut types) = (lane.parameter(model.index.positions), lane.parameter(model.index.types));
        let (positions, types) = (positions.sums(), types.sums());
        for (row, (&position, &kind)) in dy.chunks_exact(width).zip(batch.positions.iter().zip(&batch.types)) {
            add(&mut positions[position as usize * width..][..width], row);
            add(&mut types[kind as usize * width..][..width], row);
        }
        Tensor::from_vec(dy, gradient.shape(), gradient.device()).map(Some)
    }
}

/// The first half of a layer: attention, output projection, dropout, residual, LayerNorm.
struct Attend {
    pass: Arc<Pass>,
    layer: usize,
    saved: Saved<Attended>,
}

struct Attended {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    weights: Vec<f32>,
    context: Vec<f32>,
    normed: Normed,
    weight_dropout: Option<Dropout>,
    output_dropout: Option<Dropout>,
}

impl Attend {
    fn rows(&self) -> Rows {
        self.pass.model.rows(self.layer)
    }

    /// The rows of `x` that ask: all, or the first of each sequence.
    fn asking(&self, x: &[f32]) -> Option<Vec<f32>> {
        let width = self.pass.model.config.hidden;
        (self.rows() == Rows::First).then(|| {
            let starts = &self.pass.batch.offsets[..self.pass.batch.sequences()];
            starts.iter().flat_map(|&start| &x[start as usize * width..][..width]).copied().collect()
        })
    }
}

impl CustomOp1 for Attend {
    fn name(&self) -> &'static str {
        "attend"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(storage, layout)?;
        let (pass, model) = (&*self.pass, &*self.pass.model);
        let layer = &model.index.layers[self.layer];
        let width = model.config.hidden;
        let asking = self.asking(x);
        let asking = asking.as_deref().unwrap_or(x);
        let queries = pass.offsets(self.rows());
        let (q, k, v) =
            (model.linear(layer.query, asking)?, model.linear(layer.key, x)?, model.linear(layer.value, x)?);
        let weight_dropout = pass.dropout(Place::Attention(self.layer));
        let (context, weights) = attention::forward(Inputs {
            q: &q,
            k: &k,
            v: &v,
            heads: model.config.heads,
            width,
            queries: &queries,
            keys: &pass.batch.offsets,
            dropout: weight_dropout.as_ref(),
        });
        let mut y = model.linear_without_bias(layer.output, &context)?;
        let output_dropout = pass.dropout(Place::AttentionOutput(self.layer));
        let (gain, shift) = model.pair(layer.attention_norm)?;
        let site = Site { dropout: output_dropout.as_ref(), offsets: &queries };
        let bias = model.values(layer.output.bias)?;
        let normed = norm::forward(&mut y, &bias, asking, model.affine(&gain, &shift), site);
        if pass.training.is_some() {
            self.saved.put(Attended { q, k, v, weights, context, normed, weight_dropout, output_dropout });
        }
        let shape = Shape::from((y.len() / width, width));
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(&self, arg: &Tensor, _res: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let saved = self.saved.take()?;
        let (pass, model, lane) = (&*self.pass, &*self.pass.model, self.pass.gradients()?);
        let layer = &model.index.layers[self.layer];
        let width = model.config.hidden;
        let x = host(arg)?;
        let asking = self.asking(&x);
        let queries = pass.offsets(self.rows());
        let mut dsum = host(gradient)?.to_vec();
        lane.norm(model, layer.attention_norm, &saved.normed, &mut dsum)?;
        let site = Site { dropout: saved.output_dropout.as_ref(), offsets: &queries };
        let da = norm::backward_dropout(&dsum, width, site);
        lane.linear(layer.output, &da, &saved.context);
        let mut dcontext = saved.context;
        model.linear_input(layer.output, &da, &mut dcontext, Write::Replace)?;
        drop(da);
        let inputs = Inputs {
            q: &saved.q,
            k: &saved.k,
            v: &saved.v,
            heads: model.config.heads,
            width,
            queries: &queries,
            keys: &pass.batch.offsets,
            dropout: saved.weight_dropout.as_ref(),
        };
        let d = attention::backward(inputs, &saved.weights, &dcontext);
        lane.linear(layer.query, &d.q, asking.as_deref().unwrap_or(&x));
        lane.linear(layer.key, &d.k, &x);
        lane.linear(layer.value, &d.v, &x);
        if !pass.goes_below(self.layer) {
            return Ok(None);
        }
        model.linear_input(layer.query, &d.q, &mut dsum, Write::Add)?;
        let mut dx = match self.rows() {
            Rows::All => dsum,
            Rows::First => {
                let mut dx = vec![0.0; x.len()];
                for (&start, row) in pass.batch.offsets.iter().zip(dsum.chunks_exact(width)) {
                    dx[start as usize * width..][..width].copy_from_slice(row);
                }
                dx
            }
        };
        model.linear_input(layer.key, &d.k, &mut dx, Write::Add)?;
        model.linear_input(layer.value, &d.v, &mut dx, Write::Add)?;
        Tensor::from_vec(dx, arg.shape(), arg.device()).map(Some)
    }
}

/// The second half of a layer: two linear layers with the activation between, dropout, residual, LayerNorm.
struct Transform {
    pass: Arc<Pass>,
    layer: usize,
    saved: Saved<Transformed>,
}

struct Transformed {
    slopes: Vec<f32>,
    after: Vec<f32>,
    normed: Normed,
    dropout: Option<Dropout>,
}

impl CustomOp1 for Transform {
    fn name(&self) -> &'static str {
        "transform"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(storage, layout)?;
        let (pass, model) = (&*self.pass, &*self.pass.model);
        let layer = &model.index.layers[self.layer];
        let mut slopes = model.linear_without_bias(layer.up, x)?;
        let after = model.config.activation.forward(&mut slopes, &model.values(layer.up.bias)?);
        let mut y = model.linear_without_bias(layer.down, &after)?;
        let dropout = pass.dropout(Place::Output(self.layer));
        let (gain, shift) = model.pair(layer.norm)?;
        let offsets = pass.offsets(model.rows(self.layer));
        let site = Site { dropout: dropout.as_ref(), offsets: &offsets };
        let bias = model.values(layer.down.bias)?;
        let normed = norm::forward(&mut y, &bias, x, model.affine(&gain, &shift), site);
        if pass.training.is_some() {
            self.saved.put(Transformed { slopes, after, normed, dropout });
        }
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, arg: &Tensor, _res: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let saved = self.saved.take()?;
        let (pass, model, lane) = (&*self.pass, &*self.pass.model, self.pass.gradients()?);
        let layer = &model.index.layers[self.layer];
        let x = host(arg)?;
        let mut dx = host(gradient)?.to_vec();
        lane.norm(model, layer.norm, &saved.normed, &mut dx)?;
        let offsets = pass.offsets(model.rows(self.layer));
        let site = Site { dropout: saved.dropout.as_ref(), offsets: &offsets };
        let dy = norm::backward_dropout(&dx, model.config.hidden, site);
        lane.linear(layer.down, &dy, &saved.after);
        let mut dafter = saved.after;
        model.linear_input(layer.down, &dy, &mut dafter, Write::Replace)?;
        activation::backward(&saved.slopes, &mut dafter);
        lane.linear(layer.up, &dafter, &x);
        model.linear_input(layer.up, &dafter, &mut dx, Write::Add)?;
        Tensor::from_vec(dx, arg.shape(), arg.device()).map(Some)
    }
}
