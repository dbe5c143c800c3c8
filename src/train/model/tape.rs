//! The CPU backend: hand-written kernels, and a tape that records the backward pass of each operation.
//!
//! Every operation runs its kernel and records a closure that computes the gradients of its inputs. Gradients of parameters
//! go directly to the pass's [`GradientBuffer`]. An operation without trainable parameters whose inputs have no gradient is
//! not recorded, so the frozen part costs no backward pass. The tape is used in place of candle's graph because candle's
//! backward pass creates a zero tensor and a sum for each input of each operation, which would take a tenth of a step.

use std::collections::HashMap;
use std::ops::{Deref, Range};

use candle_core::{Error, Result, Tensor, TensorId};

use super::gradient_buffer::{GradientBuffer, ParameterGradient, TokenGradients};
use super::host::{Host, host};
use super::network::Network;
use super::operations::{
    Attention, Convolution, Embeddings, Linear, LowRank, Lstm, LstmDirection, Norm, Operations, Place, RelativeBias,
};
use super::parameters::Parameter;
use super::pass::Pass;
use plateau_kernels::activation::{self, Activation};
use plateau_kernels::attention::{self, DistanceBias, Inputs};
use plateau_kernels::convolution;
use plateau_kernels::linear;
use plateau_kernels::lstm::{self, Order, Weights};
use plateau_kernels::norm::{self, LayerNorm, Normed, Site};
use plateau_kernels::pool;
use plateau_kernels::product::Write;
use plateau_kernels::rotary::Rotation;
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
        gradients.add(output.id(), gradient);
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

/// Drops an activation that the backward pass no longer reads, so that its memory can hold the gradient. Its id stays.
fn release(x: Tensor) -> TensorId {
    let id = x.id();
    drop(x);
    id
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

    /// Adds to the gradient of an activation, if it needs one.
    fn add(&mut self, x: TensorId, gradient: Vec<f32>) {
        let Some(&number) = self.numbers.get(&x) else { return };
        match &mut self.values[number] {
            Some(sum) => add(sum, &gradient),
            empty => *empty = Some(gradient),
        }
    }

    /// Adds the gradients of a linear layer's parameters and of its input, given the gradient of its output.
    fn add_layer(&mut self, input: Input, layer: Linear, dy: &[f32]) -> Result<()> {
        self.add_linear(layer, dy, &input)?;
        let id = input.release();
        self.add_linear_input(id, layer, dy)
    }

    /// Adds the gradient of a linear layer's input `x`, given the gradient of its output.
    fn add_linear_input(&mut self, x: TensorId, layer: Linear, dy: &[f32]) -> Result<()> {
        let Some(&number) = self.numbers.get(&x) else { return Ok(()) };
        let model = self.model();
        let weight = model.weight(layer)?;
        match &mut self.values[number] {
            Some(sum) => linear::backward_input(dy, &weight, layer.outputs, sum, Write::Add),
            empty => *empty = Some(linear::fresh_input_gradient(dy, &weight, layer.outputs)),
        }
        if let (Some(low_rank), Some(sum)) = (model.low_rank(layer)?, &mut self.values[number]) {
            let change = low_rank.change();
            let inner = change.inner_gradient(dy);
            linear::backward_input(&inner, change.a, change.rank, sum, Write::Add);
        }
        Ok(())
    }

    /// Adds the gradients of a linear layer's parameters.
    fn add_linear(&self, layer: Linear, dy: &[f32], input: &Input) -> Result<()> {
        let outputs = layer.outputs;
        if let Some(bias) = layer.bias {
            self.add_rows(bias, layer, |sums, write| linear::backward_bias(dy, sums, write));
        }
        let Some(x) = &input.values else { return Ok(()) };
        let x = host(x)?;
        self.add_rows(layer.weight, layer, |sums, write| linear::backward_weight(dy, &x, outputs, sums, write));
        if let (Some(low_rank), Some(LowRank { a, b, .. })) = (self.model().low_rank(layer)?, layer.low_rank) {
            let change = low_rank.change();
            self.add_rows(b, layer, |sums, write| change.backward_b(dy, &x, sums, write));
            if self.model().trains(a) {
                let inner = change.inner_gradient(dy);
                let mut gradient = self.buffer.parameter(a);
                let (sums, write) = gradient.target();
                linear::backward_weight(&inner, &x, change.rank, sums, write);
            }
        }
        Ok(())
    }

    /// Calls `write` with the gradient of a layer's rows of a trainable parameter.
    fn add_rows(&self, parameter: usize, layer: Linear, write: impl FnOnce(&mut [f32], Write)) {
        let Parameter { value, trainable, .. } = &self.model().parameters[parameter];
        if !trainable {
            return;
        }
        let rows = value.dims()[0];
        let mut gradient = self.buffer.parameter(parameter);
        if layer.outputs == rows {
            let (sums, mode) = gradient.target();
            return write(sums, mode);
        }
        // Layers that share a parameter write to different rows, so the rest of it must be zero.
        let width = value.elem_count() / rows;
        write(&mut gradient.sums()[layer.first * width..][..layer.outputs * width], Write::Add);
    }

    /// Adds the gradients of a direction of an LSTM, and that of its input `x` to `dx`. `dgates` are the gradients of its gates.
    fn add_lstm(
        &self,
        direction: LstmDirection,
        gradients: &lstm::Gradients,
        x: &[f32],
        dx: Option<&mut [f32]>,
    ) -> Result<()> {
        let dgates = &gradients.gates;
        let model = self.model();
        let outputs = model.values(direction.input_bias)?.len();
        let trained =
            |parameter: usize| model.parameters[parameter].trainable.then(|| self.buffer.parameter(parameter));
        for bias in [direction.input_bias, direction.hidden_bias] {
            if let Some(mut gradient) = trained(bias) {
                let (sums, write) = gradient.target();
                linear::backward_bias(dgates, sums, write);
            }
        }
        if let Some(mut gradient) = trained(direction.hidden) {
            add(gradient.sums(), &gradients.hidden);
        }
        if let Some(mut gradient) = trained(direction.input) {
            let (sums, write) = gradient.target();
            linear::backward_weight(dgates, x, outputs, sums, write);
        }
        if let Some(dx) = dx {
            linear::backward_input(dgates, &model.values(direction.input)?, outputs, dx, Write::Add);
        }
        Ok(())
    }

    /// Adds the gradients of a LayerNorm's weight and bias. Replaces `dy` by the gradient of its input.
    fn norm(&self, norm: Norm, normed: &Normed, dy: &mut [f32]) -> Result<()> {
        let model = self.model();
        let weight = model.values(norm.weight)?;
        let trained = |parameter: usize| model.trains(parameter).then(|| self.buffer.parameter(parameter));
        let (mut dweight, mut dbias) = (trained(norm.weight), norm.bias.and_then(trained));
        // Sums for parameters that are absent or not trained.
        let (mut no_weight, mut no_bias) = (Vec::new(), Vec::new());
        let dweight = sums_or(dweight.as_deref_mut(), &mut no_weight, weight.len());
        let dbias = sums_or(dbias.as_deref_mut(), &mut no_bias, weight.len());
        norm::backward_plain(dy, normed, &weight, dweight, dbias);
        Ok(())
    }
}

impl Network {
    /// The values of a parameter on the CPU.
    fn values(&self, parameter: usize) -> Result<Host<'_>> {
        host(&self.parameters[parameter].value)
    }

    /// Whether a parameter is trained.
    fn trains(&self, parameter: usize) -> bool {
        self.parameters[parameter].trainable
    }

    /// The rows of a linear layer's weight.
    fn weight(&self, layer: Linear) -> Result<Values<'_>> {
        self.rows_of(layer.weight, layer)
    }

    /// A layer's rows of a matrix.
    fn rows_of(&self, parameter: usize, layer: Linear) -> Result<Values<'_>> {
        let width = self.parameters[parameter].value.dim(1)?;
        Ok(Values::Part(self.values(parameter)?, layer.first * width..(layer.first + layer.outputs) * width))
    }

    /// The change of a linear layer's weight.
    fn low_rank(&self, layer: Linear) -> Result<Option<LowRankValues<'_>>> {
        let Some(LowRank { a, b, scale }) = layer.low_rank else { return Ok(None) };
        let rank = self.parameters[a].value.dim(0)?;
        Ok(Some(LowRankValues { a: self.values(a)?, b: self.rows_of(b, layer)?, rank, scale: scale as f32 }))
    }

    /// `x W^T` of a linear layer, for callers that add the bias in their next pass over the result.
    fn multiply(&self, x: &[f32], layer: Linear) -> Result<Vec<f32>> {
        let mut y = linear::forward_without_bias(x, &self.weight(layer)?, layer.outputs);
        if let Some(low_rank) = self.low_rank(layer)? {
            low_rank.change().forward(x, &mut y);
        }
        Ok(y)
    }

    /// `x W^T + b` of a linear layer.
    fn apply(&self, x: &[f32], layer: Linear) -> Result<Vec<f32>> {
        let mut y = linear::forward(x, &self.weight(layer)?, &self.bias(layer)?);
        if let Some(low_rank) = self.low_rank(layer)? {
            low_rank.change().forward(x, &mut y);
        }
        Ok(y)
    }

    /// The bias of a linear layer.
    fn bias(&self, layer: Linear) -> Result<Values<'_>> {
        Ok(match layer.bias {
            Some(bias) => Values::Part(self.values(bias)?, layer.first..layer.first + layer.outputs),
            None => Values::Zeros(vec![0.0; layer.outputs]),
        })
    }

    /// The parameters of a direction of an LSTM.
    fn lstm(&self, direction: LstmDirection) -> Result<[Host<'_>; 4]> {
        let [input, hidden, input_bias, hidden_bias] = direction.parameters().map(|parameter| self.values(parameter));
        Ok([input?, hidden?, input_bias?, hidden_bias?])
    }

    /// Weight and bias of a LayerNorm.
    fn affine(&self, norm: Norm) -> Result<(Host<'_>, Values<'_>)> {
        let weight = self.values(norm.weight)?;
        let bias = match norm.bias {
            Some(bias) => Values::Part(self.values(bias)?, 0..weight.len()),
            None => Values::Zeros(vec![0.0; weight.len()]),
        };
        Ok((weight, bias))
    }
}

/// The change of a linear layer's weight.
struct LowRankValues<'a> {
    a: Host<'a>,
    b: Values<'a>,
    rank: usize,
    scale: f32,
}

impl LowRankValues<'_> {
    fn change(&self) -> linear::LowRank<'_> {
        linear::LowRank { a: &self.a, b: &self.b, rank: self.rank, scale: self.scale }
    }
}

/// The input of linear layers, for their backward pass.
struct Input {
    id: TensorId,
    /// Kept only if the gradient of a parameter needs them.
    values: Option<Tensor>,
}

impl Input {
    fn new(x: &Tensor, layers: &[Linear], model: &Network) -> Self {
        let needs_values =
            |layer: &Linear| model.trains(layer.weight) || layer.low_rank.is_some_and(|change| model.trains(change.a));
        Self { id: x.id(), values: layers.iter().any(needs_values).then(|| x.clone()) }
    }

    /// Drops the values, so that their memory can hold the gradient.
    fn release(self) -> TensorId {
        self.id
    }
}

/// The sums of a gradient, or `spare` of the same length if the parameter has none.
fn sums_or<'a>(gradient: Option<&'a mut ParameterGradient>, spare: &'a mut Vec<f32>, length: usize) -> &'a mut [f32] {
    if let Some(gradient) = gradient {
        return gradient.sums();
    }
    spare.resize(length, 0.0);
    spare
}

/// A part of a parameter, or zeros for one that does not exist.
enum Values<'a> {
    Part(Host<'a>, Range<usize>),
    Zeros(Vec<f32>),
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Part(all, range) => &all[range.clone()],
            Self::Zeros(zeros) => zeros,
        }
    }
}

/// The parameters of a direction of an LSTM for the kernel.
fn weights<'a>([input, hidden, input_bias, hidden_bias]: &'a [Host<'_>; 4]) -> Weights<'a> {
    Weights { input, hidden, input_bias, hidden_bias }
}

/// The parameters of these layers.
fn parameters<const N: usize>(layers: [Linear; N]) -> Vec<usize> {
    let all = |layer: &Linear| {
        let change = layer.low_rank;
        [Some(layer.weight), layer.bias, change.map(|change| change.a), change.map(|change| change.b)]
    };
    layers.iter().flat_map(all).flatten().collect()
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
        if let Some(positions) = positions {
            let table = model.values(positions.table)?;
            for (y, &position) in y.chunks_exact_mut(width).zip(&batch.positions) {
                add(y, &table[(positions.first + position) as usize * width..][..width]);
            }
        }
        let embeddings = *embeddings;
        let tables =
            [Some(tokens), positions.map(|positions| positions.table), embeddings.types.map(|types| types.table)];
        let parameters: Vec<usize> = tables.into_iter().flatten().collect();
        self.result(y, width, &[], &parameters, move |gradients, dy| {
            let is_trained = |parameter: usize| gradients.model().parameters[parameter].trainable;
            if let Some(positions) = positions.filter(|positions| is_trained(positions.table)) {
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
        let y = self.model().apply(&host(x)?, layer)?;
        let input = Input::new(x, &[layer], self.model());
        self.result(y, layer.outputs, &[x], &parameters([layer]), move |gradients, dy| {
            gradients.add_layer(input, layer, &dy)
        })
    }

    fn dense(&mut self, x: &Tensor, layer: Linear, activation: Activation) -> Result<Tensor> {
        let mut slopes = self.model().multiply(&host(x)?, layer)?;
        let y = activation.forward(&mut slopes, &self.model().bias(layer)?);
        let input = Input::new(x, &[layer], self.model());
        self.result(y, layer.outputs, &[x], &parameters([layer]), move |gradients, mut dy| {
            activation::backward(&slopes, &mut dy);
            drop(slopes);
            gradients.add_layer(input, layer, &dy)
        })
    }

    fn gate(&mut self, x: &Tensor, values: Linear, gates: Linear, activation: Activation) -> Result<Tensor> {
        let model = self.model();
        let (mut slopes, activated, opened) = {
            let x = host(x)?;
            let mut slopes = model.multiply(&x, values)?;
            let activated = activation.forward(&mut slopes, &model.bias(values)?);
            (slopes, activated, model.apply(&x, gates)?)
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
        let (pass, heads, window) = (self.pass, attention.heads, attention.window);
        let (queries, width) = q.dims2()?;
        let queries = pass.offsets(queries);
        let dropout = pass.dropout(attention.dropout);
        let bias = match attention.bias {
            Some(bias) => Some((bias, distance_bias(bias, &self.model().values(bias.table)?, heads, pass.longest()))),
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
                window,
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
                    window,
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
            let [q, k, v] = inputs.map(release);
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
        let linear_bias = model.bias(layer)?;
        let (norm_weight, norm_bias) = model.affine(norm)?;
        let width = norm_weight.len();
        let mut y = model.multiply(&host(x)?, layer)?;
        let dropout = dropout.and_then(|place| self.pass.dropout(place));
        let offsets = self.pass.offsets(y.len() / width);
        let normed = {
            let site = Site { dropout: dropout.as_ref(), offsets: &offsets };
            let parameters = LayerNorm { weight: &norm_weight, bias: &norm_bias, epsilon: norm.epsilon as f32 };
            norm::forward(&mut y, &linear_bias, &host(residual)?, parameters, site)
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

    fn first_rows(&mut self, x: &Tensor) -> Result<Tensor> {
        let (pass, width) = (self.pass, x.dim(1)?);
        let starts = &pass.batch.offsets[..pass.batch.sequences()];
        let y = {
            let x = host(x)?;
            starts.iter().flat_map(|&start| &x[start as usize * width..][..width]).copied().collect()
        };
        let (input, elements) = (x.id(), x.elem_count());
        self.result(y, width, &[x], &[], move |gradients, dy| {
            let mut dx = vec![0.0; elements];
            for (&start, dy) in pass.batch.offsets.iter().zip(dy.chunks_exact(width)) {
                dx[start as usize * width..][..width].copy_from_slice(dy);
            }
            gradients.add(input, dx);
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
