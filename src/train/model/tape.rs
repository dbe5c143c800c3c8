//! The CPU backend: hand-written kernels, and a tape that records the backward pass of each operation.
//!
//! Every operation runs its kernel and records a closure that computes the gradients of its inputs. Gradients of parameters
//! go directly to the pass's [`GradientBuffer`]. An operation without trainable parameters whose inputs have no gradient is
//! not recorded, so the frozen part costs no backward pass. The tape is used in place of candle's graph because candle's
//! backward pass creates a zero tensor and a sum for each input of each operation, which would take a tenth of a step.

use std::collections::HashMap;

use candle_core::{Error, Result, Tensor, TensorId};

use super::gradient_buffer::{GradientBuffer, TokenGradients};
use super::host::{Host, host};
use super::network::Network;
use super::operations::{Attention, Embeddings, Linear, Norm, Operations, Place, RelativeBias};
use super::pass::Pass;
use plateau_kernels::activation::{self, Activation};
use plateau_kernels::attention::{self, DistanceBias, Inputs};
use plateau_kernels::linear;
use plateau_kernels::norm::{self, LayerNorm, Normed, Site};
use plateau_kernels::product::Write;
use plateau_kernels::vector::add;

/// The backward pass of an operation: takes the gradient of its output and adds the gradients of its inputs.
type Backward<'a> = Box<dyn FnOnce(&mut Gradients<'a>, Vec<f32>) -> Result<()> + 'a>;

/// The operations of one pass.
pub struct Tape<'a> {
    pass: &'a Pass,
    /// The number of each recorded operation, by its output.
    numbers: HashMap<TensorId, usize>,
    recorded: Vec<Backward<'a>>,
}

impl<'a> Tape<'a> {
    pub fn new(pass: &'a Pass) -> Self {
        Self { pass, numbers: HashMap::new(), recorded: Vec::new() }
    }

    /// Computes all gradients from the gradient of `output`.
    pub fn backward(self, output: &Tensor, gradient: Vec<f32>) -> Result<()> {
        let training = self.pass.training.as_ref();
        let buffer = training.map(|training| &*training.gradients);
        let buffer = buffer.ok_or_else(|| Error::Msg("a backward pass needs a training pass".into()))?;
        let values = self.recorded.iter().map(|_| None).collect();
        let mut gradients = Gradients { pass: self.pass, buffer, numbers: self.numbers, values };
        gradients.add(output, gradient);
        for (number, backward) in self.recorded.into_iter().enumerate().rev() {
            if let Some(gradient) = gradients.values[number].take() {
                backward(&mut gradients, gradient)?;
            }
        }
        Ok(())
    }

    fn model(&self) -> &'a Network {
        &self.pass.model
    }

    /// The result of an operation with `width` columns. Records `backward` if an input has a gradient or one of the
    /// `parameters` is trainable.
    fn result(
        &mut self,
        values: Vec<f32>,
        width: usize,
        inputs: &[&Tensor],
        parameters: &[usize],
        backward: impl FnOnce(&mut Gradients<'a>, Vec<f32>) -> Result<()> + 'a,
    ) -> Result<Tensor> {
        let rows = values.len() / width;
        let result = Tensor::from_vec(values, (rows, width), &self.model().device)?;
        let is_trained = |&parameter: &usize| self.model().parameters[parameter].trainable;
        let has_gradient = |input: &&Tensor| self.numbers.contains_key(&input.id());
        if self.pass.training.is_some() && (inputs.iter().any(has_gradient) || parameters.iter().any(is_trained)) {
            self.numbers.insert(result.id(), self.recorded.len());
            self.recorded.push(Box::new(backward));
        }
        Ok(result)
    }
}

/// The gradients of activations during a backward pass.
struct Gradients<'a> {
    pass: &'a Pass,
    buffer: &'a GradientBuffer,
    numbers: HashMap<TensorId, usize>,
    /// By number of the operation.
    values: Vec<Option<Vec<f32>>>,
}

impl<'a> Gradients<'a> {
    fn model(&self) -> &'a Network {
        &self.pass.model
    }

    /// Adds to the gradient of `x`, if it needs one.
    fn add(&mut self, x: &Tensor, gradient: Vec<f32>) {
        let Some(&number) = self.numbers.get(&x.id()) else { return };
        match &mut self.values[number] {
            Some(sum) => add(sum, &gradient),
            empty => *empty = Some(gradient),
        }
    }

    /// Adds the gradient of a linear layer's input `x`, given the gradient of its output.
    fn add_linear_input(&mut self, x: &Tensor, layer: Linear, dy: &[f32]) -> Result<()> {
        let Some(&number) = self.numbers.get(&x.id()) else { return Ok(()) };
        let model = self.model();
        let (weight, outputs) = (model.values(layer.weight)?, model.parameters[layer.bias].value.elem_count());
        match &mut self.values[number] {
            Some(sum) => linear::backward_input(dy, &weight, outputs, sum, Write::Add),
            empty => *empty = Some(linear::fresh_input_gradient(dy, &weight, outputs)),
        }
        Ok(())
    }

    /// Adds the gradients of a linear layer's weight and bias.
    fn add_linear(&self, layer: Linear, dy: &[f32], x: &[f32]) {
        let parameters = &self.model().parameters;
        let outputs = parameters[layer.bias].value.elem_count();
        if parameters[layer.bias].trainable {
            let mut bias = self.buffer.parameter(layer.bias);
            let (sums, write) = bias.target();
            linear::backward_bias(dy, sums, write);
        }
        if parameters[layer.weight].trainable {
            let mut weight = self.buffer.parameter(layer.weight);
            let (sums, write) = weight.target();
            linear::backward_weight(dy, x, outputs, sums, write);
        }
    }

    /// Adds the gradients of a LayerNorm's weight and bias. Replaces `dy` by the gradient of its input.
    fn norm(&self, norm: Norm, normed: &Normed, dy: &mut [f32]) -> Result<()> {
        let weight = self.model().values(norm.weight)?;
        let (mut dweight, mut dbias) = (self.buffer.parameter(norm.weight), self.buffer.parameter(norm.bias));
        norm::backward_plain(dy, normed, &weight, dweight.sums(), dbias.sums());
        Ok(())
    }
}

impl Network {
    /// The values of a parameter on the CPU.
    fn values(&self, parameter: usize) -> Result<Host<'_>> {
        host(&self.parameters[parameter].value)
    }
}

/// The bias of each distance and head, from the table of buckets.
fn distance_bias(bias: RelativeBias, table: &[f32], heads: usize, longest: usize) -> DistanceBias {
    let limit = bias.limit.min(longest as i32);
    let rows = (-limit..=limit).map(|distance| (bias.bucket)(distance) * heads);
    DistanceBias { limit, values: rows.flat_map(|row| &table[row..row + heads]).copied().collect() }
}

impl Operations for Tape<'_> {
    fn embed(&mut self, embeddings: &Embeddings) -> Result<Tensor> {
        let (pass, model, batch) = (self.pass, self.model(), &self.pass.batch);
        let Embeddings { tokens, width, positions, .. } = *embeddings;
        let table = model.values(tokens)?;
        let mut y = Vec::with_capacity(batch.tokens() * width);
        for &id in &batch.ids {
            y.extend_from_slice(&table[id as usize * width..][..width]);
        }
        if let Some(types) = embeddings.types {
            let table = model.values(types.table)?;
            for (y, &kind) in y.chunks_exact_mut(width).zip(&batch.types) {
                add(y, &table[types.row(kind) * width..][..width]);
            }
        }
        let table = model.values(positions.table)?;
        for (y, &position) in y.chunks_exact_mut(width).zip(&batch.positions) {
            add(y, &table[(positions.first + position) as usize * width..][..width]);
        }
        let embeddings = *embeddings;
        let parameters: Vec<usize> = [Some(tokens), Some(positions.table), embeddings.types.map(|types| types.table)]
            .into_iter()
            .flatten()
            .collect();
        self.result(y, width, &[], &parameters, move |gradients, dy| {
            let is_trained = |parameter: usize| gradients.model().parameters[parameter].trainable;
            if is_trained(positions.table) {
                let mut sums = gradients.buffer.parameter(positions.table);
                let sums = sums.sums();
                for (dy, &position) in dy.chunks_exact(width).zip(&pass.batch.positions) {
                    add(&mut sums[(positions.first + position) as usize * width..][..width], dy);
                }
            }
            if let Some(types) = embeddings.types.filter(|types| is_trained(types.table)) {
                let mut sums = gradients.buffer.parameter(types.table);
                let sums = sums.sums();
                for (dy, &kind) in dy.chunks_exact(width).zip(&pass.batch.types) {
                    add(&mut sums[types.row(kind) * width..][..width], dy);
                }
            }
            if is_trained(tokens) {
                gradients.buffer.push_token_gradients(TokenGradients { batch: pass.batch.clone(), values: dy });
            }
            Ok(())
        })
    }

    fn layer_norm(&mut self, x: &Tensor, norm: Norm) -> Result<Tensor> {
        let (weight, bias) = (self.model().values(norm.weight)?, self.model().values(norm.bias)?);
        let mut y = host(x)?.to_vec();
        let epsilon = norm.epsilon as f32;
        let normed = norm::forward_plain(&mut y, LayerNorm { weight: &weight, bias: &bias, epsilon });
        let input = x.clone();
        self.result(y, weight.len(), &[x], &[norm.weight, norm.bias], move |gradients, mut dy| {
            gradients.norm(norm, &normed, &mut dy)?;
            gradients.add(&input, dy);
            Ok(())
        })
    }

    fn dropout(&mut self, x: &Tensor, place: Place) -> Result<Tensor> {
        let Some(dropout) = self.pass.dropout(place) else { return Ok(x.clone()) };
        let (rows, width) = x.dims2()?;
        let offsets = self.pass.offsets(rows);
        let mut y = host(x)?.to_vec();
        norm::apply(&mut y, width, Site { dropout: Some(&dropout), offsets: &offsets });
        let input = x.clone();
        self.result(y, width, &[x], &[], move |gradients, mut dy| {
            norm::apply(&mut dy, width, Site { dropout: Some(&dropout), offsets: &offsets });
            gradients.add(&input, dy);
            Ok(())
        })
    }

    fn linear(&mut self, x: &Tensor, layer: Linear) -> Result<Tensor> {
        let (weight, bias) = (self.model().values(layer.weight)?, self.model().values(layer.bias)?);
        let y = linear::forward(&host(x)?, &weight, &bias);
        let input = x.clone();
        self.result(y, bias.len(), &[x], &[layer.weight, layer.bias], move |gradients, dy| {
            gradients.add_linear(layer, &dy, &host(&input)?);
            gradients.add_linear_input(&input, layer, &dy)
        })
    }

    fn dense(&mut self, x: &Tensor, layer: Linear, activation: Activation) -> Result<Tensor> {
        let (weight, bias) = (self.model().values(layer.weight)?, self.model().values(layer.bias)?);
        let mut slopes = linear::forward_without_bias(&host(x)?, &weight, bias.len());
        let y = activation.forward(&mut slopes, &bias);
        let input = x.clone();
        self.result(y, bias.len(), &[x], &[layer.weight, layer.bias], move |gradients, mut dy| {
            activation::backward(&slopes, &mut dy);
            drop(slopes);
            gradients.add_linear(layer, &dy, &host(&input)?);
            gradients.add_linear_input(&input, layer, &dy)
        })
    }

    fn attention(&mut self, q: &Tensor, k: &Tensor, v: &Tensor, attention: &Attention) -> Result<Tensor> {
        let (pass, heads) = (self.pass, attention.heads);
        let (queries, width) = q.dims2()?;
        let queries = pass.offsets(queries);
        let dropout = pass.dropout(attention.dropout);
        let bias = match attention.bias {
            Some(bias) => {
                let longest = pass.batch.positions.iter().max().map_or(0, |last| *last as usize + 1);
                Some((bias, distance_bias(bias, &self.model().values(bias.table)?, heads, longest)))
            }
            None => None,
        };
        let (context, weights) = {
            let (q, k, v) = (host(q)?, host(k)?, host(v)?);
            attention::forward(Inputs {
                q: &q,
                k: &k,
                v: &v,
                heads,
                width,
                queries: &queries,
                keys: &pass.batch.offsets,
                positions: &pass.batch.positions,
                bias: bias.as_ref().map(|(_, bias)| bias),
                dropout: dropout.as_ref(),
            })
        };
        let inputs = [q.clone(), k.clone(), v.clone()];
        let table: Vec<usize> = bias.iter().map(|(bias, _)| bias.table).collect();
        self.result(context, width, &[q, k, v], &table, move |gradients, dy| {
            let d = {
                let (q, k, v) = (host(&inputs[0])?, host(&inputs[1])?, host(&inputs[2])?);
                let inputs = Inputs {
                    q: &q,
                    k: &k,
                    v: &v,
                    heads,
                    width,
                    queries: &queries,
                    keys: &pass.batch.offsets,
                    positions: &pass.batch.positions,
                    bias: bias.as_ref().map(|(_, bias)| bias),
                    dropout: dropout.as_ref(),
                };
                attention::backward(inputs, &weights, &dy)
            };
            let trained = bias.as_ref().filter(|(bias, _)| gradients.model().parameters[bias.table].trainable);
            if let Some((bias, by_distance)) = trained {
                let mut sums = gradients.buffer.parameter(bias.table);
                let sums = sums.sums();
                let distances = -by_distance.limit..=by_distance.limit;
                for (distance, gradient) in distances.zip(d.bias.chunks_exact(heads)) {
                    add(&mut sums[(bias.bucket)(distance) * heads..][..heads], gradient);
                }
            }
            let [q, k, v] = &inputs;
            gradients.add(v, d.v);
            gradients.add(k, d.k);
            gradients.add(q, d.q);
            Ok(())
        })
    }

    fn add_norm(
        &mut self,
        x: &Tensor,
        layer: Linear,
        dropout: Option<Place>,
        residual: &Tensor,
        norm: Norm,
    ) -> Result<Tensor> {
        let model = self.model();
        let (weight, linear_bias) = (model.values(layer.weight)?, model.values(layer.bias)?);
        let (norm_weight, norm_bias) = (model.values(norm.weight)?, model.values(norm.bias)?);
        let width = norm_weight.len();
        let mut y = linear::forward_without_bias(&host(x)?, &weight, width);
        let dropout = dropout.and_then(|place| self.pass.dropout(place));
        let offsets = self.pass.offsets(y.len() / width);
        let normed = {
            let site = Site { dropout: dropout.as_ref(), offsets: &offsets };
            let parameters = LayerNorm { weight: &norm_weight, bias: &norm_bias, epsilon: norm.epsilon as f32 };
            norm::forward(&mut y, &linear_bias, &host(residual)?, parameters, site)
        };
        let (input, skip) = (x.clone(), residual.clone());
        let parameters = [layer.weight, layer.bias, norm.weight, norm.bias];
        self.result(y, width, &[x, residual], &parameters, move |gradients, mut dsum| {
            gradients.norm(norm, &normed, &mut dsum)?;
            drop(normed);
            let site = Site { dropout: dropout.as_ref(), offsets: &offsets };
            let dy = norm::backward_dropout(&dsum, width, site);
            gradients.add(&skip, dsum);
            gradients.add_linear(layer, &dy, &host(&input)?);
            gradients.add_linear_input(&input, layer, &dy)
        })
    }

    fn first_rows(&mut self, x: &Tensor) -> Result<Tensor> {
        let (pass, width) = (self.pass, x.dim(1)?);
        let starts = &pass.batch.offsets[..pass.batch.sequences()];
        let y = {
            let x = host(x)?;
            starts.iter().flat_map(|&start| &x[start as usize * width..][..width]).copied().collect()
        };
        let input = x.clone();
        self.result(y, width, &[x], &[], move |gradients, dy| {
            let mut dx = vec![0.0; input.elem_count()];
            for (&start, dy) in pass.batch.offsets.iter().zip(dy.chunks_exact(width)) {
                dx[start as usize * width..][..width].copy_from_slice(dy);
            }
            gradients.add(&input, dx);
            Ok(())
        })
    }

    fn mean_rows(&mut self, x: &Tensor) -> Result<Tensor> {
        let (pass, width) = (self.pass, x.dim(1)?);
        let mut y = vec![0.0; pass.batch.sequences() * width];
        {
            let x = host(x)?;
            for (bounds, mean) in pass.batch.offsets.windows(2).zip(y.chunks_exact_mut(width)) {
                for row in bounds[0]..bounds[1] {
                    add(&mut *mean, &x[row as usize * width..][..width]);
                }
                let n = (bounds[1] - bounds[0]) as f32;
                for x in mean {
                    *x /= n;
                }
            }
        }
        let input = x.clone();
        self.result(y, width, &[x], &[], move |gradients, dy| {
            let mut dx = Vec::with_capacity(input.elem_count());
            for (bounds, mean) in pass.batch.offsets.windows(2).zip(dy.chunks_exact(width)) {
                let n = (bounds[1] - bounds[0]) as f32;
                for _ in bounds[0]..bounds[1] {
                    dx.extend(mean.iter().map(|x| x / n));
                }
            }
            gradients.add(&input, dx);
            Ok(())
        })
    }

    fn mix(&mut self, x: &Tensor) -> Result<Tensor> {
        let Some(mix) = self.pass.mix() else { return Ok(x.clone()) };
        let width = x.dim(1)?;
        let y = mix.forward(&host(x)?, width);
        let input = x.clone();
        self.result(y, width, &[x], &[], move |gradients, dy| {
            gradients.add(&input, mix.backward(&dy, width));
            Ok(())
        })
    }
}
