//! Scaled dot-product attention of packed sequences, one sequence and head at a time: no work on padding, no mask.

use super::dropout::{Dropout, Mask};
use super::math::exp;
use super::product::{Matrix, Write, product};
use super::{simd, sum_of, top_of};

/// The inputs: `q` `[queries, width]`, `k` and `v` `[tokens, width]`, heads side by side in `width`.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub v: &'a [f32],
    pub heads: usize,
    /// `heads` times the size of a head.
    pub width: usize,
    /// Sequence s asks with rows `queries[s]..queries[s + 1]` of `q`: its first tokens, one or all of them.
    pub queries: &'a [u32],
    /// Sequence s owns rows `keys[s]..keys[s + 1]` of `k` and `v`.
    pub keys: &'a [u32],
    /// Of the attention weights.
    pub dropout: Option<&'a Dropout>,
}

/// One head of one sequence.
struct Tile {
    /// First element of the queries, of the keys, and of the weights.
    query: usize,
    key: usize,
    weight: usize,
    /// Queries and keys.
    n: usize,
    s: usize,
    mask: Mask,
    /// Index of the tile's first weight under the mask.
    first: u32,
}

impl Inputs<'_> {
    fn size(&self) -> usize {
        self.width / self.heads
    }

    fn scale(&self) -> f32 {
        1.0 / (self.size() as f32).sqrt()
    }

    /// Elements of the attention weights, all sequences and heads.
    fn weights(&self) -> usize {
        let pairs = self.queries.windows(2).zip(self.keys.windows(2));
        pairs.map(|(q, k)| ((q[1] - q[0]) * (k[1] - k[0])) as usize).sum::<usize>() * self.heads
    }

    fn tiles(&self) -> impl Iterator<Item = Tile> {
        let (width, size, heads) = (self.width, self.size(), self.heads);
        let mut weight = 0;
        self.queries.windows(2).zip(self.keys.windows(2)).enumerate().flat_map(move |(sequence, (q, k))| {
            let (n, s) = ((q[1] - q[0]) as usize, (k[1] - k[0]) as usize);
            let mask = self.dropout.map_or(Mask::NONE, |dropout| dropout.mask(sequence));
            let start = weight;
            weight += heads * n * s;
            let (query, key) = (q[0] as usize * width, k[0] as usize * width);
            (0..heads).map(move |head| Tile {
                query: query + head * size,
                key: key + head * size,
                weight: start + head * n * s,
                n,
                s,
                mask,
                first: (head * s * s) as u32,
            })
        })
    }
}

/// The context `[queries, width]`, and the attention weights for the backward: every sequence's `[heads, queries, keys]`
/// after softmax, before dropout; the sign bit is set where dropout took one out.
pub fn forward(inputs: Inputs<'_>) -> (Vec<f32>, Vec<f32>) {
    let (width, size) = (inputs.width, inputs.size());
    let mut context = vec![0.0; inputs.q.len()];
    let mut weights = vec![0.0; inputs.weights()];
    let mut dropped = Vec::new();
    for tile in inputs.tiles() {
        let (n, s) = (tile.n, tile.s);
        let weights = &mut weights[tile.weight..tile.weight + n * s];
        let q = Matrix::strided(&inputs.q[tile.query..], n, size, width);
        let k = Matrix::strided(&inputs.k[tile.key..], s, size, width);
        let v = Matrix::strided(&inputs.v[tile.key..], s, size, width);
        product(inputs.scale(), q, k.t(), weights, s, Write::Replace);
        softmax(weights, s);
        let factors = if tile.mask.drops() {
            drop_out(weights, &tile, &mut dropped);
            &dropped[..]
        } else {
            &weights[..]
        };
        product(1.0, Matrix::new(factors, n, s), v, &mut context[tile.query..], width, Write::Replace);
    }
    (context, weights)
}

/// Gradients of q, k and v, each laid out like its input.
pub struct Gradients {
    pub q: Vec<f32>,
    pub k: Vec<f32>,
    pub v: Vec<f32>,
}

/// Gradients from the gradient of the context and the weights that [`forward`] returned.
pub fn backward(inputs: Inputs<'_>, weights: &[f32], dcontext: &[f32]) -> Gradients {
    let (width, size, scale) = (inputs.width, inputs.size(), inputs.scale());
    let mut out =
        Gradients { q: vec![0.0; inputs.q.len()], k: vec![0.0; inputs.k.len()], v: vec![0.0; inputs.v.len()] };
    let (mut dropped, mut dscores) = (Vec::new(), Vec::new());
    for tile in inputs.tiles() {
        let (n, s) = (tile.n, tile.s);
        let weights = &weights[tile.weight..tile.weight + n * s];
        let q = Matrix::strided(&inputs.q[tile.query..], n, size, width);
        let k = Matrix::strided(&inputs.k[tile.key..], s, size, width);
        let v = Matrix::strided(&inputs.v[tile.key..], s, size, width);
        let dcontext = Matrix::strided(&dcontext[tile.query..], n, size, width);
        let factors = if tile.mask.drops() {
            survivors(weights, tile.mask, &mut dropped);
            &dropped[..]
        } else {
            weights
        };
        product(1.0, Matrix::new(factors, n, s).t(), dcontext, &mut out.v[tile.key..], width, Write::Replace);
        dscores.resize(n * s, 0.0);
        product(1.0, dcontext, v.t(), &mut dscores, s, Write::Replace);
        backward_softmax(weights, s, tile.mask, &mut dscores);
        let dscores = Matrix::new(&dscores, n, s);
        product(scale, dscores, k, &mut out.q[tile.query..], width, Write::Replace);
        product(scale, dscores.t(), q, &mut out.k[tile.key..], width, Write::Replace);
    }
    out
}

/// Softmax of each row of `s` elements, in place.
fn softmax(scores: &mut [f32], s: usize) {
    simd(
        #[inline(always)]
        || {
            for row in scores.chunks_exact_mut(s) {
                let row = &mut row[..s];
                let top = top_of(row);
                for x in row.iter_mut() {
                    *x = exp(*x - top);
                }
                let inverse = 1.0
                    / sum_of(
                        [row],
                        #[inline(always)]
                        |[x]| x,
                    );
                for x in row.iter_mut() {
                    *x *= inverse;
                }
            }
        },
    );
}

/// Writes the weights after dropout to `out` and marks the dropped ones by their sign bit.
fn drop_out(weights: &mut [f32], tile: &Tile, out: &mut Vec<f32>) {
    out.resize(weights.len(), 0.0);
    simd(
        #[inline(always)]
        || {
            for (i, (weight, out)) in weights.iter_mut().zip(out.iter_mut()).enumerate() {
                let factor = tile.mask.factor(tile.first + i as u32);
                *out = *weight * factor;
                *weight = if factor == 0.0 { -*weight } else { *weight };
            }
        },
    );
}

/// The weights after dropout, from the marked ones.
fn survivors(weights: &[f32], mask: Mask, out: &mut Vec<f32>) {
    out.resize(weights.len(), 0.0);
    let scale = mask.scale();
    simd(
        #[inline(always)]
        || {
            for (weight, out) in weights.iter().zip(out.iter_mut()) {
                *out = if weight.is_sign_negative() { 0.0 } else { weight * scale };
            }
        },
    );
}

/// Turns the gradient of the weights after dropout into the gradient of the scores.
fn backward_softmax(weights: &[f32], s: usize, mask: Mask, gradient: &mut [f32]) {
    let scale = mask.scale();
    simd(
        #[inline(always)]
        || {
            for (weights, gradient) in weights.chunks_exact(s).zip(gradient.chunks_exact_mut(s)) {
                let (weights, gradient) = (&weights[..s], &mut gradient[..s]);
                for (weight, gradient) in weights.iter().zip(gradient.iter_mut()) {
                    *gradient = if weight.is_sign_negative() { 0.0 } else { *gradient * scale };
                }
                let mean = sum_of(
                    [weights, gradient],
                    #[inline(always)]
                    |[weight, gradient]| weight.abs() * gradient,
                );
                for (weight, gradient) in weights.iter().zip(gradient.iter_mut()) {
                    *gradient = weight.abs() * (*gradient - mean);
                }
            }
        },
    );
}
