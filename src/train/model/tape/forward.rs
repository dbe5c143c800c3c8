//! The operations of the CPU backend: each runs its kernel and records its backward pass.

use std::ops::Range;

use candle_core::{Result, Tensor};

use super::super::gradient_buffer::TokenGradients;
use super::super::host::host;
use super::super::operations::{
    Attention, Convolution, DistanceTables, Embeddings, Linear, Lstm, LstmDirection, Norm, Operations, Place, Rows,
};
use super::{Input, Tape, parameters, release, weights};
use plateau_kernels::activation::{self, Activation};
use plateau_kernels::convolution;
use plateau_kernels::first_attention::{self, FirstInputs};
use plateau_kernels::lstm::{self, Order};
use plateau_kernels::norm::{self, LayerNorm, Site};
use plateau_kernels::pool;
use plateau_kernels::rotary::Rotation;
use plateau_kernels::vector::add;

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
        let positions = positions.map(|positions| (positions.table, positions.rows(batch)));
        if let Some((table, rows)) = &positions {
            let table = model.values(*table)?;
            for (y, &row) in y.chunks_exact_mut(width).zip(rows) {
                add(y, &table[row as usize * width..][..width]);
            }
        }
        let embeddings = *embeddings;
        let tables =
            [Some(tokens), positions.as_ref().map(|(table, _)| *table), embeddings.types.map(|types| types.table)];
        let parameters: Vec<usize> = tables.into_iter().flatten().collect();
        self.result(y, width, &[], &parameters, move |gradients, dy| {
            let is_trained = |parameter: usize| gradients.model().parameters[parameter].trainable;
            if let Some((table, rows)) = positions.filter(|(table, _)| is_trained(*table)) {
                let mut sums = gradients.buffer.parameter(table);
                let sums = sums.sums();
                for (dy, row) in dy.chunks_exact(width).zip(rows) {
                    add(&mut sums[row as usize * width..][..width], dy);
                }
            }
            if let Some(types) = embeddings.types.filter(|types| is_trained(types.table)) {
                let mut sums = gradients.buffer.parameter(types.table);
                let sums = sums.sums();
                for (dy, &kind) in dy.chunks_exact(width).zip(&pass.batch.types) {
                    add(&mut sums[types.row(kind) * width..][..width], dy);
                }
            }
            if is_trained(tokens) && gradients.model().sparse_embeddings().is_none() {
                let mut sums = gradients.buffer.parameter(tokens);
                let sums = sums.sums();
                for (dy, &id) in dy.chunks_exact(width).zip(&pass.batch.ids) {
                    add(&mut sums[id as usize * width..][..width], dy);
                }
            } else if is_trained(tokens) {
                gradients.buffer.push_token_gradients(TokenGradients { batch: pass.batch.clone(), values: dy });
            }
            Ok(())
        })
    }

    fn layer_norm(&mut self, x: &Tensor, norm: Norm) -> Result<Tensor> {
        let (weight, bias) = self.model().affine(norm)?;
        let mut y = host(x)?.to_vec();
        let epsilon = norm.epsilon as f32;
        let normed = norm::forward_plain(&mut y, LayerNorm { weight: &weight, bias: &bias, epsilon });
        let input = x.id();
        let parameters: Vec<usize> = [Some(norm.weight), norm.bias].into_iter().flatten().collect();
        self.result(y, weight.len(), &[x], &parameters, move |gradients, mut dy| {
            gradients.norm(norm, &normed, &mut dy)?;
            gradients.add(input, dy);
            Ok(())
        })
    }

    fn dropout(&mut self, x: &Tensor, place: Place) -> Result<Tensor> {
        let Some(dropout) = self.pass.dropout(place) else { return Ok(x.clone()) };
        let (rows, width) = x.dims2()?;
        let offsets = self.pass.offsets(rows);
        let mut y = host(x)?.to_vec();
        norm::apply(&mut y, width, Site { dropout: Some(&dropout), offsets: &offsets });
        let input = x.id();
        self.result(y, width, &[x], &[], move |gradients, mut dy| {
            norm::apply(&mut dy, width, Site { dropout: Some(&dropout), offsets: &offsets });
            gradients.add(input, dy);
            Ok(())
        })
    }

    fn linear(&mut self, x: &Tensor, layer: Linear) -> Result<Tensor> {
        let y = self.pass.apply(&host(x)?, layer)?;
        let input = Input::new(x, &[layer], self.model());
        self.result(y, layer.outputs, &[x], &parameters([layer]), move |gradients, dy| {
            gradients.add_layer(input, layer, &dy)
        })
    }

    fn dense(&mut self, x: &Tensor, layer: Linear, activation: Activation) -> Result<Tensor> {
        let mut product = self.pass.multiply(&host(x)?, layer)?;
        if self.pass.training.is_none() {
            activation.apply(&mut product, &self.model().bias(layer)?);
            return self.value(product, layer.outputs);
        }
        let mut slopes = product;
        let y = activation.forward(&mut slopes, &self.model().bias(layer)?);
        let input = Input::new(x, &[layer], self.model());
        self.result(y, layer.outputs, &[x], &parameters([layer]), move |gradients, mut dy| {
            activation::backward(&slopes, &mut dy);
            drop(slopes);
            gradients.add_layer(input, layer, &dy)
        })
    }

    fn gate(&mut self, x: &Tensor, values: Linear, gates: Linear, activation: Activation) -> Result<Tensor> {
        let (pass, model) = (self.pass, self.model());
        let (mut slopes, activated, opened) = {
            let x = host(x)?;
            let mut slopes = pass.multiply(&x, values)?;
            let activated = activation.forward(&mut slopes, &model.bias(values)?);
            (slopes, activated, pass.apply(&x, gates)?)
        };
        let y = activation::gate(&activated, &opened);
        let input = Input::new(x, &[values, gates], model);
        self.result(y, values.outputs, &[x], &parameters([values, gates]), move |gradients, dy| {
            let dgates = activation::gate(&activated, &dy);
            drop(activated);
            activation::backward(&opened, &mut slopes);
            let dvalues = activation::gate(&slopes, &dy);
            drop((slopes, opened, dy));
            gradients.add_linear(gates, &dgates, &input)?;
            gradients.add_linear(values, &dvalues, &input)?;
            let input = input.release();
            gradients.add_linear_input(input, gates, &dgates)?;
            gradients.add_linear_input(input, values, &dvalues)
        })
    }

    fn rotate(&mut self, x: &Tensor, heads: usize, theta: f64) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        let rotation = Rotation::new(width / heads, self.pass.longest(), theta);
        let positions = self.pass.row_positions(rows);
        let mut y = host(x)?.to_vec();
        rotation.forward(&mut y, width, &positions);
        let input = x.id();
        self.result(y, width, &[x], &[], move |gradients, mut dy| {
            rotation.backward(&mut dy, width, &positions);
            gradients.add(input, dy);
            Ok(())
        })
    }

    fn add(&mut self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let width = x.dim(1)?;
        let mut sum = host(x)?.to_vec();
        add(&mut sum, &host(y)?);
        let inputs = [x.id(), y.id()];
        self.result(sum, width, &[x, y], &[], move |gradients, dy| {
            gradients.add(inputs[0], dy.clone());
            gradients.add(inputs[1], dy);
            Ok(())
        })
    }

    fn attention(&mut self, q: &Tensor, k: &Tensor, v: &Tensor, attention: &Attention) -> Result<Tensor> {
        self.attend([q, k, v], attention, None)
    }

    fn distance_attention(
        &mut self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        attention: &Attention,
        tables: &DistanceTables,
    ) -> Result<Tensor> {
        self.attend([q, k, v], attention, Some(tables))
    }

    fn first_context(
        &mut self,
        x: &Tensor,
        [query, key, value]: [Linear; 3],
        attention: &Attention,
    ) -> Result<Option<[Tensor; 2]>> {
        let is_plain = attention.bias.is_none() && attention.window.is_none();
        let is_of_first_tokens = self.pass.batch.outputs.is_none();
        if !self.takes_shortcuts
            || !is_plain
            || !is_of_first_tokens
            || [key, value].iter().any(|layer| layer.low_rank.is_some())
        {
            return Ok(None);
        }
        let first = self.output_rows(x)?;
        let q = self.linear(&first, query)?;
        let model = self.model();
        let context = first_attention::forward(FirstInputs {
            x: &host(x)?,
            q: &host(&q)?,
            key: &model.weight(key)?,
            value: &model.weight(value)?,
            value_bias: &model.bias(value)?,
            heads: attention.heads,
            offsets: &self.pass.batch.offsets,
        });
        Ok(Some([first, self.value(context, value.outputs)?]))
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
        let linear_bias = model.bias(layer)?;
        let (norm_weight, norm_bias) = model.affine(norm)?;
        let width = norm_weight.len();
        let mut y = self.pass.multiply(&host(x)?, layer)?;
        let affine = LayerNorm { weight: &norm_weight, bias: &norm_bias, epsilon: norm.epsilon as f32 };
        if self.pass.training.is_none() {
            norm::apply_to_sum(&mut y, &linear_bias, &host(residual)?, affine);
            return self.value(y, width);
        }
        let dropout = dropout.and_then(|place| self.pass.dropout(place));
        let offsets = self.pass.offsets(y.len() / width);
        let normed = {
            let site = Site { dropout: dropout.as_ref(), offsets: &offsets };
            norm::forward(&mut y, &linear_bias, &host(residual)?, affine, site)
        };
        let (input, skip) = (Input::new(x, &[layer], model), residual.id());
        let mut trained = parameters([layer]);
        trained.extend([Some(norm.weight), norm.bias].into_iter().flatten());
        self.result(y, width, &[x, residual], &trained, move |gradients, mut dsum| {
            gradients.norm(norm, &normed, &mut dsum)?;
            drop(normed);
            let site = Site { dropout: dropout.as_ref(), offsets: &offsets };
            let dy = norm::backward_dropout(&dsum, width, site);
            gradients.add(skip, dsum);
            gradients.add_layer(input, layer, &dy)
        })
    }

    fn output_rows(&mut self, x: &Tensor) -> Result<Tensor> {
        let (pass, width) = (self.pass, x.dim(1)?);
        let rows = pass.batch.rows();
        let y = {
            let x = host(x)?;
            rows.iter().flat_map(|&row| &x[row as usize * width..][..width]).copied().collect()
        };
        let (input, elements) = (x.id(), x.elem_count());
        self.result(y, width, &[x], &[], move |gradients, dy| {
            let mut dx = vec![0.0; elements];
            for (&row, dy) in rows.iter().zip(dy.chunks_exact(width)) {
                dx[row as usize * width..][..width].copy_from_slice(dy);
            }
            gradients.add(input, dx);
            Ok(())
        })
    }

    fn with_output_rows(&mut self, x: &Tensor, outputs: &Tensor) -> Result<Tensor> {
        let (pass, width) = (self.pass, x.dim(1)?);
        let mut y = host(x)?.to_vec();
        for (&row, output) in pass.batch.rows().iter().zip(host(outputs)?.chunks_exact(width)) {
            y[row as usize * width..][..width].copy_from_slice(output);
        }
        let inputs = [x.id(), outputs.id()];
        self.result(y, width, &[x, outputs], &[], move |gradients, mut dy| {
            let mut doutputs = Vec::with_capacity(pass.batch.rows().len() * width);
            for &row in pass.batch.rows() {
                let own = &mut dy[row as usize * width..][..width];
                doutputs.extend_from_slice(own);
                own.fill(0.0);
            }
            gradients.add(inputs[1], doutputs);
            gradients.add(inputs[0], dy);
            Ok(())
        })
    }

    fn unread(&mut self, layer: Linear) -> Result<()> {
        let Some(training) = &self.pass.training else { return Ok(()) };
        for parameter in layer.parameters().filter(|&parameter| self.model().trains(parameter)) {
            training.gradients.parameter(parameter).sums();
        }
        Ok(())
    }

    fn has_global_token(&self) -> bool {
        self.pass.model.head.has_global_token()
    }

    fn longest(&self) -> usize {
        self.pass.longest()
    }

    fn table_rows(&mut self, parameter: usize, rows: Range<usize>) -> Result<Tensor> {
        let width = self.model().parameters[parameter].value.dim(1)?;
        let span = rows.start * width..rows.end * width;
        let values = self.model().values(parameter)?[span.clone()].to_vec();
        self.result(values, width, &[], &[parameter], move |gradients, dy| {
            add(&mut gradients.buffer.parameter(parameter).sums()[span], &dy);
            Ok(())
        })
    }

    fn table_dropout(&mut self, x: &Tensor, first: usize, place: Place) -> Result<Tensor> {
        let Some(dropout) = self.pass.shared_dropout(place) else { return Ok(x.clone()) };
        let width = x.dim(1)?;
        let mask = dropout.mask(0);
        let apply = move |values: &mut [f32]| {
            for (value, element) in values.iter_mut().zip((first * width) as u32..) {
                *value *= mask.factor(element);
            }
        };
        let mut y = host(x)?.to_vec();
        apply(&mut y);
        let input = x.id();
        self.result(y, width, &[x], &[], move |gradients, mut dy| {
            apply(&mut dy);
            gradients.add(input, dy);
            Ok(())
        })
    }

    fn windows(&mut self, x: &Tensor, size: usize, rows: Rows) -> Result<Tensor> {
        let (width, elements) = (x.dim(1)?, x.elem_count());
        let places = self.pass.windows(size, rows);
        let row_width = width * size;
        let mut y = vec![0.0; places.len() * width];
        {
            let x = host(x)?;
            for (y, window) in y.chunks_exact_mut(row_width).zip(places.chunks_exact(size)) {
                for (token, row) in window.iter().enumerate().filter_map(|(token, row)| Some((token, (*row)?))) {
                    let x = &x[row as usize * width..][..width];
                    for (y, x) in y[token..].iter_mut().step_by(size).zip(x) {
                        *y = *x;
                    }
                }
            }
        }
        let input = x.id();
        self.result(y, row_width, &[x], &[], move |gradients, dy| {
            let mut dx = vec![0.0; elements];
            for (dy, window) in dy.chunks_exact(row_width).zip(places.chunks_exact(size)) {
                for (token, row) in window.iter().enumerate().filter_map(|(token, row)| Some((token, (*row)?))) {
                    let dx = &mut dx[row as usize * width..][..width];
                    for (dx, dy) in dx.iter_mut().zip(dy[token..].iter().step_by(size)) {
                        *dx += dy;
                    }
                }
            }
            gradients.add(input, dx);
            Ok(())
        })
    }

    fn activate(&mut self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let width = x.dim(1)?;
        let mut slopes = host(x)?.to_vec();
        let y = activation.forward(&mut slopes, &vec![0.0; width]);
        let input = x.id();
        self.result(y, width, &[x], &[], move |gradients, mut dy| {
            activation::backward(&slopes, &mut dy);
            gradients.add(input, dy);
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
        let (input, elements) = (x.id(), x.elem_count());
        self.result(y, width, &[x], &[], move |gradients, dy| {
            let mut dx = Vec::with_capacity(elements);
            for (bounds, mean) in pass.batch.offsets.windows(2).zip(dy.chunks_exact(width)) {
                let n = (bounds[1] - bounds[0]) as f32;
                for _ in bounds[0]..bounds[1] {
                    dx.extend(mean.iter().map(|x| x / n));
                }
            }
            gradients.add(input, dx);
            Ok(())
        })
    }

    fn lstm(&mut self, x: &Tensor, layer: &Lstm) -> Result<Tensor> {
        let (pass, Lstm { size, forward, backward }) = (self.pass, *layer);
        let width = 2 * size;
        let offsets = &pass.batch.offsets;
        let mut y = vec![0.0; x.dim(0)? * width];
        let mut run = |direction: LstmDirection, is_backward: bool| -> Result<_> {
            let order = Order::new(offsets, is_backward);
            let parameters = self.model().lstm(direction)?;
            let first = if is_backward { size } else { 0 };
            let saved = lstm::forward(&host(x)?, weights(&parameters), &order, &mut y[first..], width);
            Ok((direction, first, order, saved))
        };
        let directions = [run(forward, false)?, run(backward, true)?];
        let trained = [forward.parameters(), backward.parameters()].concat();
        let input = x.clone();
        self.result(y, width, &[x], &trained, move |gradients, dy| {
            let model = gradients.model();
            let mut dx = gradients.numbers.contains_key(&input.id()).then(|| vec![0.0; input.elem_count()]);
            for (direction, first, order, saved) in directions {
                let parameters = model.lstm(direction)?;
                let d = lstm::backward(&dy[first..], width, weights(&parameters), &order, saved);
                gradients.add_lstm(direction, &d, &host(&input)?, dx.as_deref_mut())?;
            }
            if let Some(dx) = dx {
                gradients.add(input.id(), dx);
            }
            Ok(())
        })
    }

    fn convolve(&mut self, x: &Tensor, convolutions: &[Convolution]) -> Result<Tensor> {
        let (pass, model) = (self.pass, self.model());
        let width: usize = convolutions.iter().map(|convolution| convolution.kernel.filters).sum();
        let mut y = vec![0.0; pass.batch.sequences() * width];
        let mut done = Vec::with_capacity(convolutions.len());
        let mut first = 0;
        for &convolution in convolutions {
            let Convolution { weight, bias, kernel } = convolution;
            let weight = kernel.by_token(&model.values(weight)?);
            let maxima = convolution::forward(&host(x)?, &pass.batch.offsets, kernel, &weight, &model.values(bias)?);
            for (y, maxima) in y.chunks_exact_mut(width).zip(maxima.values.chunks_exact(kernel.filters)) {
                y[first..first + kernel.filters].copy_from_slice(maxima);
            }
            first += kernel.filters;
            done.push((convolution, maxima));
        }
        let trained: Vec<usize> = convolutions.iter().flat_map(|part| [part.weight, part.bias]).collect();
        let input = x.clone();
        self.result(y, width, &[x], &trained, move |gradients, dy| {
            let model = gradients.model();
            let mut dx = vec![0.0; input.elem_count()];
            let mut first = 0;
            for (Convolution { weight, bias, kernel }, maxima) in done {
                let own = first..first + kernel.filters;
                first = own.end;
                let dy: Vec<f32> = dy.chunks_exact(width).flat_map(|dy| &dy[own.clone()]).copied().collect();
                let values = kernel.by_token(&model.values(weight)?);
                let (mut dweight, mut dbias) = (vec![0.0; values.len()], vec![0.0; kernel.filters]);
                let x = host(&input)?;
                let sums = (&mut dx[..], &mut dweight[..], &mut dbias[..]);
                convolution::backward(&dy, &maxima, (&x, &pass.batch.offsets), kernel, &values, sums);
                for (parameter, gradient) in [(weight, kernel.by_element(&dweight)), (bias, dbias)] {
                    if model.parameters[parameter].trainable {
                        add(gradients.buffer.parameter(parameter).sums(), &gradient);
                    }
                }
            }
            gradients.add(input.id(), dx);
            Ok(())
        })
    }

    fn max_rows(&mut self, x: &Tensor) -> Result<Tensor> {
        let (pass, width) = (self.pass, x.dim(1)?);
        let (y, places) = pool::max(&host(x)?, width, &pass.batch.offsets);
        let (input, elements) = (x.id(), x.elem_count());
        self.result(y, width, &[x], &[], move |gradients, dy| {
            gradients.add(input, pool::max_backward(&dy, width, &places, elements));
            Ok(())
        })
    }

    fn weighted_rows(&mut self, x: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let (pass, width) = (self.pass, x.dim(1)?);
        let (y, weights) = pool::weighted(&host(x)?, &host(scores)?, width, &pass.batch.offsets);
        let (input, scores_id) = (x.clone(), scores.id());
        self.result(y, width, &[x, scores], &[], move |gradients, dy| {
            let (dx, dscores) = pool::weighted_backward(&dy, &host(&input)?, &weights, width, &pass.batch.offsets);
            gradients.add(scores_id, dscores);
            gradients.add(release(input), dx);
            Ok(())
        })
    }

    fn last_states(&mut self, x: &Tensor) -> Result<Tensor> {
        let (pass, width) = (self.pass, x.dim(1)?);
        let half = width / 2;
        let ends = move || {
            let spans = pass.batch.offsets.windows(2);
            spans.map(move |span| [(span[1] as usize - 1) * width, span[0] as usize * width + half])
        };
        let y: Vec<f32> = {
            let x = host(x)?;
            ends().flatten().flat_map(|first| &x[first..first + half]).copied().collect()
        };
        let (input, elements) = (x.id(), x.elem_count());
        self.result(y, width, &[x], &[], move |gradients, dy| {
            let mut dx = vec![0.0; elements];
            for (first, dy) in ends().flatten().zip(dy.chunks_exact(half)) {
                dx[first..first + half].copy_from_slice(dy);
            }
            gradients.add(input, dx);
            Ok(())
        })
    }

    fn mix(&mut self, x: &Tensor) -> Result<Tensor> {
        let Some(mix) = self.pass.mix() else { return Ok(x.clone()) };
        let width = x.dim(1)?;
        let y = mix.forward(&host(x)?, width);
        let input = x.id();
        self.result(y, width, &[x], &[], move |gradients, dy| {
            gradients.add(input, mix.backward(&dy, width));
            Ok(())
        })
    }
}
