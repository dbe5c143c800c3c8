//! The linear layer `y = x W^T + b` as in torch: x is `[n, in]`, W `[out, in]`, b `[out]` and y `[n, out]`.

use super::product::{Matrix, Write, fresh_product, product};
use super::vector::simd;

/// y for all rows of `x`. The widths follow from the lengths of `bias` and `weight`.
pub fn forward(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let outputs = bias.len();
    let inputs = weight.len() / outputs;
    let rows = x.len() / inputs;
    let mut y = Vec::with_capacity(rows * outputs);
    for _ in 0..rows {
        y.extend_from_slice(bias);
    }
    product(1.0, Matrix::new(x, rows, inputs), Matrix::new(weight, outputs, inputs).t(), &mut y, outputs, Write::Add);
    y
}

/// `x W^T`, for callers that add the bias in their next pass over the result.
pub fn forward_without_bias(x: &[f32], weight: &[f32], outputs: usize) -> Vec<f32> {
    let inputs = weight.len() / outputs;
    let rows = x.len() / inputs;
    fresh_product(Matrix::new(x, rows, inputs), Matrix::new(weight, outputs, inputs).t())
}

/// `dx = dy W` in new memory.
pub fn fresh_input_gradient(dy: &[f32], weight: &[f32], outputs: usize) -> Vec<f32> {
    let inputs = weight.len() / outputs;
    let rows = dy.len() / outputs;
    fresh_product(Matrix::new(dy, rows, outputs), Matrix::new(weight, outputs, inputs))
}

/// `dx = dy W`, or `dx += dy W`.
pub fn backward_input(dy: &[f32], weight: &[f32], outputs: usize, dx: &mut [f32], write: Write) {
    let inputs = weight.len() / outputs;
    let rows = dy.len() / outputs;
    product(1.0, Matrix::new(dy, rows, outputs), Matrix::new(weight, outputs, inputs), dx, inputs, write);
}

/// A change `scale * B A` of a weight by two narrow matrices: A is `[rank, in]` and B `[out, rank]` (Hu et al., "LoRA: Low-rank
/// adaptation of large language models", 2022).
#[derive(Clone, Copy)]
pub struct LowRank<'a> {
    pub a: &'a [f32],
    pub b: &'a [f32],
    pub rank: usize,
    pub scale: f32,
}

impl LowRank<'_> {
    /// Adds `scale * x A^T B^T` to `y`.
    pub fn forward(self, x: &[f32], y: &mut [f32]) {
        let (rank, outputs) = (self.rank, self.b.len() / self.rank);
        let inner = forward_without_bias(x, self.a, rank);
        let rows = inner.len() / rank;
        let b = Matrix::new(self.b, outputs, rank);
        product(self.scale, Matrix::new(&inner, rows, rank), b.t(), y, outputs, Write::Add);
    }

    /// The gradient of `x A^T`: `scale * dy B`.
    pub fn inner_gradient(self, dy: &[f32]) -> Vec<f32> {
        let (rank, outputs) = (self.rank, self.b.len() / self.rank);
        let rows = dy.len() / outputs;
        let mut inner = vec![0.0; rows * rank];
        let b = Matrix::new(self.b, outputs, rank);
        product(self.scale, Matrix::new(dy, rows, outputs), b, &mut inner, rank, Write::Replace);
        inner
    }

    /// `dB = scale * dy^T x A^T`, or `dB += ...`.
    pub fn backward_b(self, dy: &[f32], x: &[f32], db: &mut [f32], write: Write) {
        let (rank, outputs) = (self.rank, self.b.len() / self.rank);
        let inner = forward_without_bias(x, self.a, rank);
        let rows = inner.len() / rank;
        let (dy, inner) = (Matrix::new(dy, rows, outputs), Matrix::new(&inner, rows, rank));
        product(self.scale, dy.t(), inner, db, rank, write);
    }
}

/// `dW = dy^T x`, or `dW += dy^T x`.
pub fn backward_weight(dy: &[f32], x: &[f32], outputs: usize, dw: &mut [f32], write: Write) {
    let rows = dy.len() / outputs;
    let inputs = dw.len() / outputs;
    product(1.0, Matrix::new(dy, rows, outputs).t(), Matrix::new(x, rows, inputs), dw, inputs, write);
}

/// `db = sum of the rows of dy`, or `db += ...`.
pub fn backward_bias(dy: &[f32], db: &mut [f32], write: Write) {
    if write == Write::Replace {
        db.fill(0.0);
    }
    simd(
        #[inline(always)]
        || {
            for row in dy.chunks_exact(db.len()) {
                for (sum, value) in db.iter_mut().zip(row) {
                    *sum += value;
                }
            }
        },
    );
}
