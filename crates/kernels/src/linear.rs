//! The linear layer `y = x W^T + b` as in torch: x is `[n, in]`, W `[out, in]`, b `[out]` and y `[n, out]`.

use super::product::{Matrix, Packed, Precision, Right, Write};
use super::vector::simd;

/// W as the products of a layer read it.
#[derive(Clone, Copy)]
pub struct Weight<'a> {
    /// `[out, in]`
    pub values: &'a [f32],
    pub outputs: usize,
    pub precision: Precision,
    /// What [`Weight::pack`] made for the direction in which the weight is used.
    pub packed: Option<&'a Packed>,
}

/// Which product reads a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// `x W^T`
    Forward,
    /// `dy W`
    Backward,
}

impl<'a> Weight<'a> {
    /// A weight with f32 products.
    #[must_use]
    pub fn new(values: &'a [f32], outputs: usize) -> Self {
        Self { values, outputs, precision: Precision::F32, packed: None }
    }

    fn matrix(self) -> Matrix<'a> {
        Matrix::new(self.values, self.outputs, self.inputs())
    }

    fn inputs(self) -> usize {
        self.values.len() / self.outputs
    }

    /// The right factor of `x W^T`.
    fn of_forward(self) -> Right<'a> {
        self.packed.map_or_else(|| self.matrix().t().into(), Right::from)
    }

    /// The right factor of `dy W`.
    fn of_backward(self) -> Right<'a> {
        self.packed.map_or_else(|| self.matrix().into(), Right::from)
    }

    /// Packs the weight for many products in one direction. None if that does not pay.
    #[must_use]
    pub fn pack(self, direction: Direction) -> Option<Packed> {
        let matrix = match direction {
            Direction::Forward => self.matrix().t(),
            Direction::Backward => self.matrix(),
        };
        self.precision.packs(matrix).then(|| Packed::new(matrix))
    }
}

/// y for all rows of `x`.
pub fn forward(x: &[f32], weight: Weight<'_>, bias: &[f32]) -> Vec<f32> {
    let (inputs, outputs) = (weight.inputs(), weight.outputs);
    let rows = x.len() / inputs;
    let mut y = Vec::with_capacity(rows * outputs);
    for _ in 0..rows {
        y.extend_from_slice(bias);
    }
    weight.precision.product(1.0, Matrix::new(x, rows, inputs), weight.of_forward(), &mut y, outputs, Write::Add);
    y
}

/// `x W^T`, for callers that add the bias in their next pass over the result.
pub fn forward_without_bias(x: &[f32], weight: Weight<'_>) -> Vec<f32> {
    let inputs = weight.inputs();
    weight.precision.fresh_product(Matrix::new(x, x.len() / inputs, inputs), weight.of_forward())
}

/// `dx = dy W` in new memory.
pub fn fresh_input_gradient(dy: &[f32], weight: Weight<'_>) -> Vec<f32> {
    let outputs = weight.outputs;
    weight.precision.fresh_product(Matrix::new(dy, dy.len() / outputs, outputs), weight.of_backward())
}

/// `dx = dy W`, or `dx += dy W`.
pub fn backward_input(dy: &[f32], weight: Weight<'_>, dx: &mut [f32], write: Write) {
    let outputs = weight.outputs;
    let dy = Matrix::new(dy, dy.len() / outputs, outputs);
    weight.precision.product(1.0, dy, weight.of_backward(), dx, weight.inputs(), write);
}

/// A change `scale * B A` of a weight by two narrow matrices: A is `[rank, in]` and B `[out, rank]` (Hu et al., "LoRA: Low-rank
/// adaptation of large language models", 2022).
#[derive(Clone, Copy)]
pub struct LowRank<'a> {
    pub a: &'a [f32],
    pub b: &'a [f32],
    pub rank: usize,
    pub scale: f32,
    pub precision: Precision,
}

impl LowRank<'_> {
    /// Adds `scale * x A^T B^T` to `y`.
    pub fn forward(self, x: &[f32], y: &mut [f32]) {
        let (rank, outputs) = (self.rank, self.b.len() / self.rank);
        let inner = self.inner(x);
        let rows = inner.len() / rank;
        let b = Matrix::new(self.b, outputs, rank);
        self.precision.product(self.scale, Matrix::new(&inner, rows, rank), b.t(), y, outputs, Write::Add);
    }

    /// `x A^T`.
    fn inner(self, x: &[f32]) -> Vec<f32> {
        forward_without_bias(x, Weight { precision: self.precision, ..Weight::new(self.a, self.rank) })
    }

    /// The gradient of `x A^T`: `scale * dy B`.
    pub fn inner_gradient(self, dy: &[f32]) -> Vec<f32> {
        let (rank, outputs) = (self.rank, self.b.len() / self.rank);
        let rows = dy.len() / outputs;
        let mut inner = vec![0.0; rows * rank];
        let b = Matrix::new(self.b, outputs, rank);
        self.precision.product(self.scale, Matrix::new(dy, rows, outputs), b, &mut inner, rank, Write::Replace);
        inner
    }

    /// `dx += dinner A`, where `dinner` is the gradient of `x A^T`.
    pub fn backward_input(self, dinner: &[f32], dx: &mut [f32]) {
        let a = Weight { precision: self.precision, ..Weight::new(self.a, self.rank) };
        backward_input(dinner, a, dx, Write::Add);
    }

    /// `dB = scale * dy^T x A^T`, or `dB += ...`.
    pub fn backward_b(self, dy: &[f32], x: &[f32], db: &mut [f32], write: Write) {
        let (rank, outputs) = (self.rank, self.b.len() / self.rank);
        let inner = self.inner(x);
        let rows = inner.len() / rank;
        let (dy, inner) = (Matrix::new(dy, rows, outputs), Matrix::new(&inner, rows, rank));
        self.precision.product(self.scale, dy.t(), inner, db, rank, write);
    }
}

/// `dW = dy^T x`, or `dW += dy^T x`.
pub fn backward_weight(precision: Precision, dy: &[f32], x: &[f32], outputs: usize, dw: &mut [f32], write: Write) {
    let rows = dy.len() / outputs;
    let inputs = dw.len() / outputs;
    let (dy, x) = (Matrix::new(dy, rows, outputs), Matrix::new(x, rows, inputs));
    precision.product(1.0, dy.t(), x, dw, inputs, write);
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
