//! The CPU backend: hand-written kernels, and a tape that records the backward pass of each operation.
//!
//! Every operation runs its kernel and records a closure that computes the gradients of its inputs. Gradients of parameters
//! go directly to the pass's [`GradientBuffer`]. An operation without trainable parameters whose inputs have no gradient is
//! not recorded, so the frozen part costs no backward pass. The tape is used in place of candle's graph because candle's
//! backward pass creates a zero tensor and a sum for each input of each operation, which would take a tenth of a step.

mod attention;
mod forward;

use std::collections::HashMap;
use std::ops::{Deref, Range};

use candle_core::{Error, Result, Tensor, TensorId};

use super::gradient_buffer::{GradientBuffer, ParameterGradient};
use super::host::{Host, host};
use super::network::Network;
use super::operations::{Linear, LowRank, LstmDirection, Norm};
use super::parameters::Parameter;
use super::pass::Pass;
use plateau_kernels::linear::{self, Direction, Weight};
use plateau_kernels::lstm::{self, Weights};
use plateau_kernels::norm::{self, Normed};
use plateau_kernels::product::{Precision, Write};
use plateau_kernels::vector::add;

/// The backward pass of an operation: takes the gradient of its output and adds the gradients of its inputs.
type Backward<'a> = Box<dyn FnOnce(&mut Gradients<'a>, Vec<f32>) -> Result<()> + 'a>;

/// The operations of one pass.
pub struct Tape<'a> {
    pass: &'a Pass,
    /// Whether the numbers may differ from those of training by rounding.
    takes_shortcuts: bool,
    /// The number of each recorded operation, by its output.
    numbers: HashMap<TensorId, usize>,
    recorded: Vec<Backward<'a>>,
}

impl<'a> Tape<'a> {
    pub fn new(pass: &'a Pass) -> Self {
        Self { pass, takes_shortcuts: false, numbers: HashMap::new(), recorded: Vec::new() }
    }

    /// A tape for predictions, which may differ from those of training by rounding.
    pub fn with_shortcuts(pass: &'a Pass) -> Self {
        Self { takes_shortcuts: true, ..Self::new(pass) }
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

    /// The result of an operation of a pass without training.
    fn value(&self, values: Vec<f32>, width: usize) -> Result<Tensor> {
        let rows = values.len() / width;
        Tensor::from_vec(values, (rows, width), &self.model().device)
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
        let result = self.value(values, width)?;
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
        let value = &mut self.values[number];
        self.pass.with_weight(layer, Direction::Backward, |weight| match &mut *value {
            Some(sum) => linear::backward_input(dy, weight, sum, Write::Add),
            empty => *empty = Some(linear::fresh_input_gradient(dy, weight)),
        })?;
        if let (Some(low_rank), Some(sum)) = (self.pass.model.low_rank(layer)?, value) {
            let change = low_rank.change();
            change.backward_input(&change.inner_gradient(dy), sum);
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
        let (x, precision) = (host(x)?, self.model().precision);
        self.add_rows(layer.weight, layer, |sums, write| {
            linear::backward_weight(precision, dy, &x, outputs, sums, write);
        });
        if let (Some(low_rank), Some(LowRank { a, b, .. })) = (self.model().low_rank(layer)?, layer.low_rank) {
            let change = low_rank.change();
            self.add_rows(b, layer, |sums, write| change.backward_b(dy, &x, sums, write));
            if self.model().trains(a) {
                let inner = change.inner_gradient(dy);
                let mut gradient = self.buffer.parameter(a);
                let (sums, write) = gradient.target();
                linear::backward_weight(precision, &inner, &x, change.rank, sums, write);
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
            linear::backward_weight(Precision::F32, dgates, x, outputs, sums, write);
        }
        if let Some(dx) = dx {
            linear::backward_input(dgates, Weight::new(&model.values(direction.input)?, outputs), dx, Write::Add);
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
        let value = &self.parameters[parameter].value;
        // The weight of a convolution has three dimensions.
        let width = value.elem_count() / value.dim(0)?;
        Ok(Values::Part(self.values(parameter)?, layer.first * width..(layer.first + layer.outputs) * width))
    }

    /// The change of a linear layer's weight.
    fn low_rank(&self, layer: Linear) -> Result<Option<LowRankValues<'_>>> {
        let Some(LowRank { a, b, scale }) = layer.low_rank else { return Ok(None) };
        let rank = self.parameters[a].value.dim(0)?;
        let (a, b, precision) = (self.values(a)?, self.rows_of(b, layer)?, self.precision);
        Ok(Some(LowRankValues { a, b, rank, scale: scale as f32, precision }))
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

impl Pass {
    /// `x W^T` of a linear layer, for callers that add the bias in their next pass over the result.
    fn multiply(&self, x: &[f32], layer: Linear) -> Result<Vec<f32>> {
        let y = self.with_weight(layer, Direction::Forward, |weight| linear::forward_without_bias(x, weight))?;
        self.add_low_rank(x, layer, y)
    }

    /// `x W^T + b` of a linear layer.
    fn apply(&self, x: &[f32], layer: Linear) -> Result<Vec<f32>> {
        let bias = self.model.bias(layer)?;
        let y = self.with_weight(layer, Direction::Forward, |weight| linear::forward(x, weight, &bias))?;
        self.add_low_rank(x, layer, y)
    }

    fn add_low_rank(&self, x: &[f32], layer: Linear, mut y: Vec<f32>) -> Result<Vec<f32>> {
        if let Some(low_rank) = self.model.low_rank(layer)? {
            low_rank.change().forward(x, &mut y);
        }
        Ok(y)
    }

    /// Calls `f` with the weight of a layer for products in one direction.
    fn with_weight<R>(&self, layer: Linear, direction: Direction, f: impl FnOnce(Weight<'_>) -> R) -> Result<R> {
        let values = self.model.weight(layer)?;
        let weight = Weight { precision: self.model.precision, ..Weight::new(&values, layer.outputs) };
        let packed = self.packed.of(layer, direction, || weight.pack(direction));
        Ok(f(Weight { packed: packed.get().and_then(Option::as_ref), ..weight }))
    }
}

/// The change of a linear layer's weight.
struct LowRankValues<'a> {
    a: Host<'a>,
    b: Values<'a>,
    rank: usize,
    scale: f32,
    precision: Precision,
}

impl LowRankValues<'_> {
    fn change(&self) -> linear::LowRank<'_> {
        linear::LowRank { a: &self.a, b: &self.b, rank: self.rank, scale: self.scale, precision: self.precision }
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
    layers.into_iter().flat_map(Linear::parameters).collect()
}
