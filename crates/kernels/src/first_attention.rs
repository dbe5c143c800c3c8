//! Attention of the first token of each sequence to all its tokens, without a key and a value for each token.
//!
//! With the input x of the layer, the key of token j is `K x_j + k` and its value `V x_j + v`. The score of the query q is
//! `q (K x_j + k) = (K^T q) x_j + q k`. The last term is the same for all tokens, so softmax removes it. The weights `a_j` sum to
//! one, so the context is `V (sum of a_j x_j) + v`. For each token this takes `4 heads inputs` operations in place of
//! `4 width inputs`. It is used for predictions, because the rounding differs from that of [`super::attention`].

use super::attention::softmax;
use super::product::{Matrix, Write, product};

/// The inputs: `x` is `[tokens, inputs]` and `q` is `[sequences, width]` with the heads side by side.
#[derive(Clone, Copy)]
pub struct FirstInputs<'a> {
    pub x: &'a [f32],
    pub q: &'a [f32],
    /// `[width, inputs]`
    pub key: &'a [f32],
    /// `[width, inputs]`
    pub value: &'a [f32],
    /// `[width]`
    pub value_bias: &'a [f32],
    pub heads: usize,
    /// Sequence s has the rows `offsets[s]..offsets[s + 1]` of `x`.
    pub offsets: &'a [u32],
}

/// The context `[sequences, width]`.
pub fn forward(inputs: FirstInputs<'_>) -> Vec<f32> {
    let FirstInputs { x, q, key, value, value_bias, heads, offsets } = inputs;
    let width = value_bias.len();
    let (size, columns) = (width / heads, key.len() / width);
    let sequences = q.len() / width;
    // Both have a row for each sequence and head.
    let mut directions = vec![0.0; sequences * heads * columns];
    let mut means = vec![0.0; sequences * heads * columns];
    let stride = heads * columns;
    let scale = 1.0 / (size as f32).sqrt();
    for head in 0..heads {
        let q = Matrix::strided(&q[head * size..], sequences, size, width);
        let key = Matrix::new(&key[head * size * columns..][..size * columns], size, columns);
        product(scale, q, key, &mut directions[head * columns..], stride, Write::Replace);
    }
    let mut weights = Vec::new();
    for (sequence, bounds) in offsets.windows(2).enumerate() {
        let tokens = (bounds[1] - bounds[0]) as usize;
        let x = Matrix::new(&x[bounds[0] as usize * columns..][..tokens * columns], tokens, columns);
        let rows = sequence * stride..(sequence + 1) * stride;
        weights.resize(heads * tokens, 0.0);
        let directions = Matrix::new(&directions[rows.clone()], heads, columns);
        product(1.0, directions, x.t(), &mut weights, tokens, Write::Replace);
        softmax(&mut weights, tokens);
        product(1.0, Matrix::new(&weights, heads, tokens), x, &mut means[rows], columns, Write::Replace);
    }
    let mut context = value_bias.repeat(sequences);
    for head in 0..heads {
        let means = Matrix::strided(&means[head * columns..], sequences, columns, stride);
        let value = Matrix::new(&value[head * size * columns..][..size * columns], size, columns);
        product(1.0, means, value.t(), &mut context[head * size..], width, Write::Add);
    }
    context
}
