//! One direction of an LSTM layer over packed sequences (Hochreiter and Schmidhuber, 1997), with the gates of torch's `LSTM`:
//! input, forget, cell and output gate.
//!
//! The recurrent part works on time steps: step t holds the t-th token of every sequence that has one. Sequences are sorted by
//! length, so the sequences of a step are the first ones of the step before, and each step is one matrix product. All other
//! products cover all tokens at once.

use super::linear::{self, Weight};
use super::math::{exp, tanh};
use super::product::{Matrix, Write, fresh_product, product};
use super::vector::simd;

/// The parameters of a direction. h: size of the state, e: width of the input.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    /// `[4h, e]`
    pub input: &'a [f32],
    /// `[4h, h]`
    pub hidden: &'a [f32],
    /// `[4h]`
    pub input_bias: &'a [f32],
    /// `[4h]`
    pub hidden_bias: &'a [f32],
}

impl Weights<'_> {
    /// Size of the state.
    fn size(&self) -> usize {
        self.input_bias.len() / 4
    }
}

/// The order of the recurrent computation.
pub struct Order {
    /// The packed row of each row in the order of time steps.
    rows: Vec<u32>,
    /// Step t has the rows `steps[t]..steps[t + 1]`.
    steps: Vec<usize>,
}

impl Order {
    /// The order of the sequences with these `offsets`. `backwards`: each sequence is read from its own end.
    pub fn new(offsets: &[u32], backwards: bool) -> Self {
        let mut bounds: Vec<(u32, u32)> = offsets.windows(2).map(|bounds| (bounds[0], bounds[1])).collect();
        bounds.sort_by_key(|(start, end)| std::cmp::Reverse(end - start));
        let (mut rows, mut steps) = (Vec::new(), vec![0]);
        for step in 0.. {
            let active = bounds.iter().take_while(|(start, end)| end - start > step);
            rows.extend(active.map(|(start, end)| if backwards { end - 1 - step } else { start + step }));
            if steps.last() == Some(&rows.len()) {
                break;
            }
            steps.push(rows.len());
        }
        Self { rows, steps }
    }

    /// Rows of packed `values` in the order of time steps. A row has `width` elements and starts `stride` after the one before.
    fn gather(&self, values: &[f32], width: usize, stride: usize) -> Vec<f32> {
        let mut ordered = Vec::with_capacity(self.rows.len() * width);
        for &row in &self.rows {
            ordered.extend_from_slice(&values[row as usize * stride..][..width]);
        }
        ordered
    }

    /// The inverse of [`Self::gather`].
    fn scatter(&self, ordered: &[f32], width: usize, values: &mut [f32], stride: usize) {
        for (&row, ordered) in self.rows.iter().zip(ordered.chunks_exact(width)) {
            values[row as usize * stride..][..width].copy_from_slice(ordered);
        }
    }

    /// The time steps from the first to the last: rows of the step, and rows of the step before that continue.
    fn steps(&self) -> impl DoubleEndedIterator<Item = (std::ops::Range<usize>, std::ops::Range<usize>)> {
        (0..self.steps.len() - 1).map(|t| {
            let now = self.steps[t]..self.steps[t + 1];
            let before = if t == 0 { 0..0 } else { self.steps[t - 1]..self.steps[t - 1] + now.len() };
            (now, before)
        })
    }
}

/// What the backward pass needs, in the order of time steps.
pub struct Saved {
    /// The gates after their activation, `[tokens, 4h]`.
    gates: Vec<f32>,
    /// The cell states `[tokens, h]`.
    cells: Vec<f32>,
    /// The outputs `[tokens, h]`.
    outputs: Vec<f32>,
}

/// Writes the outputs for the packed rows `x` into `y`, whose rows start `stride` apart.
pub fn forward(x: &[f32], weights: Weights<'_>, order: &Order, y: &mut [f32], stride: usize) -> Saved {
    let size = weights.size();
    let bias: Vec<f32> = weights.input_bias.iter().zip(weights.hidden_bias).map(|(a, b)| a + b).collect();
    let mut gates = order.gather(&linear::forward(x, Weight::new(weights.input, 4 * size), &bias), 4 * size, 4 * size);
    let mut cells = vec![0.0; order.rows.len() * size];
    let mut outputs = vec![0.0; order.rows.len() * size];
    let recurrent = Matrix::new(weights.hidden, 4 * size, size).t();
    for (now, before) in order.steps() {
        let gates = &mut gates[now.start * 4 * size..now.end * 4 * size];
        let (earlier_cells, cells) = cells.split_at_mut(now.start * size);
        let (earlier_outputs, outputs) = outputs.split_at_mut(now.start * size);
        let state = &earlier_outputs[before.start * size..before.end * size];
        if !state.is_empty() {
            product(1.0, Matrix::new(state, now.len(), size), recurrent, gates, 4 * size, Write::Add);
        }
        let (cells, outputs) = (&mut cells[..now.len() * size], &mut outputs[..now.len() * size]);
        let earlier_cells = &earlier_cells[before.start * size..before.end * size];
        step(gates, earlier_cells, cells, outputs, size);
    }
    order.scatter(&outputs, size, y, stride);
    Saved { gates, cells, outputs }
}

/// Activates the gates of one time step, and computes its cell states and outputs. Without `earlier` states they are zero.
fn step(gates: &mut [f32], earlier: &[f32], cells: &mut [f32], outputs: &mut [f32], size: usize) {
    simd(
        #[inline(always)]
        || {
            let rows = gates.chunks_exact_mut(4 * size).zip(cells.chunks_exact_mut(size));
            for (row, ((gates, cells), outputs)) in rows.zip(outputs.chunks_exact_mut(size)).enumerate() {
                let (input, rest) = gates.split_at_mut(size);
                let (forget, rest) = rest.split_at_mut(size);
                let (candidate, output) = rest.split_at_mut(size);
                let (input, forget) = (&mut input[..size], &mut forget[..size]);
                let (candidate, output) = (&mut candidate[..size], &mut output[..size]);
                if let Some(earlier) = earlier.get(row * size..(row + 1) * size) {
                    for i in 0..size {
                        forget[i] = sigmoid(forget[i]);
                        cells[i] = forget[i] * earlier[i];
                    }
                } else {
                    // The gate has no effect, and its gradient is zero.
                    forget.fill(0.0);
                }
                for i in 0..size {
                    input[i] = sigmoid(input[i]);
                    candidate[i] = tanh(candidate[i]);
                    output[i] = sigmoid(output[i]);
                    cells[i] = input[i].mul_add(candidate[i], cells[i]);
                    outputs[i] = output[i] * tanh(cells[i]);
                }
            }
        },
    );
}

#[expect(clippy::inline_always, reason = "must be inlined into the function that is compiled with vector instructions")]
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The gradients of a direction.
pub struct Gradients {
    /// Of the gates before their activation, for the packed rows, `[tokens, 4h]`. Their column sums are the gradient of both
    /// biases; [`linear::backward_weight`] and [`linear::backward_input`] give those of the input and its weight.
    pub gates: Vec<f32>,
    /// Of the recurrent weight, `[4h, h]`.
    pub hidden: Vec<f32>,
}

/// The gradients from `dy`, the gradient of the outputs, whose rows start `stride` apart.
pub fn backward(dy: &[f32], stride: usize, weights: Weights<'_>, order: &Order, saved: Saved) -> Gradients {
    let size = weights.size();
    let Saved { mut gates, cells, outputs } = saved;
    let mut dstates = order.gather(dy, size, stride);
    // The gradient of the cell states that the next time step passes back.
    let mut dcells = vec![0.0; order.rows.len() * size];
    let recurrent = Matrix::new(weights.hidden, 4 * size, size);
    for (now, before) in order.steps().rev() {
        let span = now.start * size..now.end * size;
        let gates = &mut gates[now.start * 4 * size..now.end * 4 * size];
        let (earlier_dcells, dcells) = dcells.split_at_mut(now.start * size);
        let earlier = before.start * size..before.end * size;
        let dstate = &dstates[span.clone()];
        step_back(
            gates,
            &cells[earlier.clone()],
            &cells[span],
            dstate,
            dcells,
            &mut earlier_dcells[earlier.clone()],
            size,
        );
        if !before.is_empty() {
            let dgates = Matrix::new(gates, now.len(), 4 * size);
            product(1.0, dgates, recurrent, &mut dstates[earlier], size, Write::Add);
        }
    }
    // All steps but the first have states before them.
    let first = order.steps.get(1).copied().unwrap_or(0);
    let mut before = Vec::with_capacity(outputs.len());
    for (_, earlier) in order.steps() {
        before.extend_from_slice(&outputs[earlier.start * size..earlier.end * size]);
    }
    let later = order.rows.len() - first;
    let dgates = Matrix::new(&gates[first * 4 * size..], later, 4 * size);
    let hidden = fresh_product(dgates.t(), Matrix::new(&before, later, size));
    let mut packed = vec![0.0; gates.len()];
    order.scatter(&gates, 4 * size, &mut packed, 4 * size);
    Gradients { gates: packed, hidden }
}

/// Replaces the gates of one time step by the gradients of their inputs. `dcells` is the gradient that the next time step
/// passes back; it is added to that of the outputs. Writes the gradient of the earlier cell states.
fn step_back(
    gates: &mut [f32],
    earlier: &[f32],
    cells: &[f32],
    dstate: &[f32],
    dcells: &[f32],
    dearlier: &mut [f32],
    size: usize,
) {
    simd(
        #[inline(always)]
        || {
            for (row, gates) in gates.chunks_exact_mut(4 * size).enumerate() {
                let span = row * size..(row + 1) * size;
                let (cells, dstate, dcells) = (&cells[span.clone()], &dstate[span.clone()], &dcells[span.clone()]);
                let (input, rest) = gates.split_at_mut(size);
                let (forget, rest) = rest.split_at_mut(size);
                let (candidate, output) = rest.split_at_mut(size);
                let (input, forget) = (&mut input[..size], &mut forget[..size]);
                let (candidate, output) = (&mut candidate[..size], &mut output[..size]);
                let has_earlier = !earlier.is_empty();
                for i in 0..size {
                    let t = tanh(cells[i]);
                    let dcell = (dstate[i] * output[i]).mul_add(1.0 - t * t, dcells[i]);
                    output[i] = dstate[i] * t * output[i] * (1.0 - output[i]);
                    let (gate, value) = (input[i], candidate[i]);
                    input[i] = dcell * value * gate * (1.0 - gate);
                    candidate[i] = dcell * gate * (1.0 - value * value);
                    if has_earlier {
                        let (gate, earlier) = (forget[i], earlier[row * size + i]);
                        dearlier[row * size + i] = dcell * gate;
                        forget[i] = dcell * earlier * gate * (1.0 - gate);
                    }
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_read_in_time_steps_from_either_end() {
        let rows = |backwards| {
            let order = Order::new(&[0, 2, 5, 6], backwards);
            (order.rows, order.steps)
        };
        assert_eq!(rows(false), (vec![2, 0, 5, 3, 1, 4], vec![0, 3, 5, 6]));
        assert_eq!(rows(true), (vec![4, 1, 5, 3, 0, 2], vec![0, 3, 5, 6]));
    }
}
