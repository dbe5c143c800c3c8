//! Scaled dot-product attention over packed sequences, one sequence and head at a time. There is no padding and no mask.
//!
//! With a window, the queries of a sequence are taken in blocks, and a block computes only the keys that one of its queries
//! sees. So the cost grows with the length times the window. If every query also sees the first token of its sequence, a block
//! that does not reach it has one more column of weights, before the others.

use std::ops::Range;

use super::disentangled::{Relative, Room, Sums, add_gradients, add_terms};

use super::dropout::{Dropout, Mask};
use super::math::exp;
use super::product::{Matrix, Precision, Write};
use super::vector::{max_of, simd, sum_of};

/// The inputs: `q` is `[queries, width]`, `k` and `v` are `[tokens, width]`. The heads lie side by side in `width`.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub v: &'a [f32],
    pub heads: usize,
    /// Number of heads times the size of a head.
    pub width: usize,
    /// Sequence s has the rows `queries[s]..queries[s + 1]` of `q`: some of its tokens, or all.
    pub queries: &'a [u32],
    /// Position of each row of `q` in its sequence, in ascending order; used with `bias`, `relative` and `window` only.
    pub query_positions: &'a [u32],
    /// Sequence s has the rows `keys[s]..keys[s + 1]` of `k` and `v`.
    pub keys: &'a [u32],
    /// Position of each token in its sequence, in ascending order; used with `bias`, `relative` and `window` only.
    pub positions: &'a [u32],
    /// The largest distance between a query and a key that it sees. None: each query sees all keys.
    pub window: Option<u32>,
    /// Whether each query also sees the first token of its sequence, beyond its window.
    pub sees_first: bool,
    /// Added to the scaled scores.
    pub bias: Option<&'a DistanceBias>,
    /// Terms of the scores that depend on the distance. Not with a window.
    pub relative: Option<Relative<'a>>,
    /// Dropout of the attention weights.
    pub dropout: Option<&'a Dropout>,
    /// Of the products.
    pub precision: Precision,
}

/// A bias of the score of query i and key j for each head and each distance i - j.
#[derive(Debug, Clone)]
pub struct DistanceBias {
    /// Larger distances have the bias of this one, in both directions.
    pub limit: i32,
    /// `[2 limit + 1, heads]`, from distance -limit to limit.
    pub values: Vec<f32>,
}

impl DistanceBias {
    /// Index of the value of a head for a query and a key at these positions.
    fn index(&self, query: u32, key: u32, heads: usize, head: usize) -> usize {
        let distance = (query as i32 - key as i32).clamp(-self.limit, self.limit);
        (distance + self.limit) as usize * heads + head
    }
}

impl Block {
    /// Columns of a row of weights.
    fn columns(&self) -> usize {
        self.keys.len() + usize::from(self.has_first)
    }
}

/// Queries of a block with a window.
const BLOCK: usize = 64;

/// Consecutive queries of a sequence, and the consecutive keys that they see.
struct Block {
    sequence: usize,
    /// Rows of q, and rows of k and v.
    queries: Range<usize>,
    keys: Range<usize>,
    /// Index of the first query and of the first key in their sequence, and the sequence's number of keys.
    row: usize,
    column: usize,
    length: usize,
    /// Row of the sequence's first key.
    first_key: usize,
    /// Whether that key is a column of its own, before those of `keys`.
    has_first: bool,
}

/// One head of one block.
struct Tile {
    /// Index of the first element in the queries, in the keys and in the weights.
    query: usize,
    key: usize,
    weight: usize,
    /// Number of queries and of keys.
    n: usize,
    s: usize,
    head: usize,
    /// Index of the first element of the key that has a column of its own, before the `s` others.
    first_key: Option<usize>,
    /// Number of columns that no window hides.
    shown: usize,
    /// The first query's row of q, and the first key's row of k.
    query_row: usize,
    key_row: usize,
    mask: Mask,
    /// Index in the mask of the weight of the first query and the sequence's first key, and that of the next row less that of a row.
    first: u32,
    stride: u32,
    /// Index of the tile's first key in its sequence.
    column: u32,
}

impl Tile {
    /// Columns before those of the window.
    fn lead(&self) -> usize {
        usize::from(self.first_key.is_some())
    }

    /// Columns of a row of weights.
    fn columns(&self) -> usize {
        self.s + self.lead()
    }

    /// Positions of the queries and of the keys.
    fn positions<'p>(&self, inputs: Inputs<'p>) -> (&'p [u32], &'p [u32]) {
        (&inputs.query_positions[self.query_row..][..self.n], &inputs.positions[self.key_row..][..self.s])
    }
}

impl Inputs<'_> {
    fn size(&self) -> usize {
        self.width / self.heads
    }

    fn scale(&self) -> f32 {
        let terms = 1 + self.relative.map_or(0, |relative| relative.terms());
        1.0 / ((self.size() * terms) as f32).sqrt()
    }

    /// Number of attention weights of all sequences and heads.
    fn weights(&self) -> usize {
        self.blocks().map(|block| block.queries.len() * block.columns()).sum::<usize>() * self.heads
    }

    fn blocks(&self) -> impl Iterator<Item = Block> {
        let (positions, window, query_positions) = (self.positions, self.window, self.query_positions);
        let sees_first = self.sees_first;
        self.queries.windows(2).zip(self.keys.windows(2)).enumerate().flat_map(move |(sequence, (q, k))| {
            let (first_query, first_key) = (q[0] as usize, k[0] as usize);
            let (queries, length) = ((q[1] - q[0]) as usize, (k[1] - k[0]) as usize);
            let size = if window.is_some() { BLOCK } else { queries.max(1) };
            (0..queries).step_by(size).map(move |row| {
                let end = queries.min(row + size);
                let columns = match window {
                    None => 0..length,
                    Some(window) => {
                        let all = &positions[first_key..first_key + length];
                        let rows = first_query + row..first_query + end;
                        let (lowest, highest) = (query_positions[rows.start], query_positions[rows.end - 1]);
                        let start = all.partition_point(|position| position + window < lowest);
                        start..all.partition_point(|position| *position <= highest + window)
                    }
                };
                Block {
                    sequence,
                    queries: first_query + row..first_query + end,
                    keys: first_key + columns.start..first_key + columns.end,
                    row,
                    column: columns.start,
                    length,
                    first_key,
                    has_first: sees_first && columns.start > 0,
                }
            })
        })
    }

    /// Whether the keys of a tile replace or add to a gradient. Blocks of a window have keys in common.
    fn write(&self) -> Write {
        if self.window.is_some() { Write::Add } else { Write::Replace }
    }

    fn tiles(&self) -> impl Iterator<Item = Tile> {
        let (width, size, heads) = (self.width, self.size(), self.heads);
        let mut weight = 0;
        self.blocks().flat_map(move |block| {
            let (n, s, columns) = (block.queries.len(), block.keys.len(), block.columns());
            let mask = self.dropout.map_or(Mask::NONE, |dropout| dropout.mask(block.sequence));
            let start = weight;
            weight += heads * n * columns;
            (0..heads).map(move |head| Tile {
                query: block.queries.start * width + head * size,
                key: block.keys.start * width + head * size,
                weight: start + head * n * columns,
                n,
                s,
                head,
                first_key: block.has_first.then_some(block.first_key * width + head * size),
                shown: usize::from(self.sees_first),
                query_row: block.queries.start,
                key_row: block.keys.start,
                mask,
                first: ((head * block.length + block.row) * block.length) as u32,
                stride: block.length as u32,
                column: block.column as u32,
            })
        })
    }
}

/// The context `[queries, width]`, and the attention weights for the backward pass: `[heads, queries, keys]` of every
/// sequence after softmax and before dropout. The sign bit is set where dropout removed a weight.
pub fn forward(inputs: Inputs<'_>) -> (Vec<f32>, Vec<f32>) {
    let (width, size) = (inputs.width, inputs.size());
    let mut context = vec![0.0; inputs.q.len()];
    let mut weights = vec![0.0; inputs.weights()];
    let mut dropped = Vec::new();
    let mut room = Room::default();
    for tile in inputs.tiles() {
        let (n, s, lead, columns) = (tile.n, tile.s, tile.lead(), tile.columns());
        let weights = &mut weights[tile.weight..tile.weight + n * columns];
        let q = Matrix::strided(&inputs.q[tile.query..], n, size, width);
        let k = Matrix::strided(&inputs.k[tile.key..], s, size, width);
        let v = Matrix::strided(&inputs.v[tile.key..], s, size, width);
        inputs.precision.product(inputs.scale(), q, k.t(), &mut weights[lead..], columns, Write::Replace);
        if let Some(first) = tile.first_key {
            let k = Matrix::strided(&inputs.k[first..], 1, size, width);
            inputs.precision.product(inputs.scale(), q, k.t(), weights, columns, Write::Replace);
        }
        if let Some(relative) = inputs.relative {
            let relative = relative.of_head(tile.head * size, tile.positions(inputs), inputs.scale());
            add_terms(weights, [q, k], relative, &mut room);
        }
        if let Some(bias) = inputs.bias {
            add_bias(weights, &tile, inputs, bias);
        }
        if let Some(window) = inputs.window {
            hide_distant(weights, &tile, inputs, window);
        }
        softmax(weights, columns);
        let factors = if tile.mask.drops() {
            drop_out(weights, &tile, &mut dropped);
            &dropped[..]
        } else {
            &weights[..]
        };
        let seen = Matrix::strided(&factors[lead..], n, s, columns);
        inputs.precision.product(1.0, seen, v, &mut context[tile.query..], width, Write::Replace);
        if let Some(first) = tile.first_key {
            let v = Matrix::strided(&inputs.v[first..], 1, size, width);
            inputs.precision.product(
                1.0,
                Matrix::strided(factors, n, 1, columns),
                v,
                &mut context[tile.query..],
                width,
                Write::Add,
            );
        }
    }
    (context, weights)
}

/// Gradients of q, k, v and the bias, each with the layout of its input.
pub struct Gradients {
    pub q: Vec<f32>,
    pub k: Vec<f32>,
    pub v: Vec<f32>,
    /// Empty without a bias.
    pub bias: Vec<f32>,
    /// Of the keys and the queries of distances; empty where there are none.
    pub relative: [Vec<f32>; 2],
}

/// The gradients from the gradient of the context and the weights that [`forward`] returned.
pub fn backward(inputs: Inputs<'_>, weights: &[f32], dcontext: &[f32]) -> Gradients {
    let (width, size, scale) = (inputs.width, inputs.size(), inputs.scale());
    let mut out = Gradients {
        q: vec![0.0; inputs.q.len()],
        k: vec![0.0; inputs.k.len()],
        v: vec![0.0; inputs.v.len()],
        bias: vec![0.0; inputs.bias.map_or(0, |bias| bias.values.len())],
        relative: inputs.relative.map_or_else(Default::default, |relative| relative.zeros()),
    };
    let mut room = Room::default();
    let (mut dropped, mut dscores) = (Vec::new(), Vec::new());
    for tile in inputs.tiles() {
        let (n, s, lead, columns) = (tile.n, tile.s, tile.lead(), tile.columns());
        let weights = &weights[tile.weight..tile.weight + n * columns];
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
        let seen = Matrix::strided(&factors[lead..], n, s, columns);
        inputs.precision.product(1.0, seen.t(), dcontext, &mut out.v[tile.key..], width, inputs.write());
        dscores.resize(n * columns, 0.0);
        inputs.precision.product(1.0, dcontext, v.t(), &mut dscores[lead..], columns, Write::Replace);
        if let Some(first) = tile.first_key {
            let seen = Matrix::strided(factors, n, 1, columns);
            inputs.precision.product(1.0, seen.t(), dcontext, &mut out.v[first..], width, Write::Add);
            let v = Matrix::strided(&inputs.v[first..], 1, size, width);
            inputs.precision.product(1.0, dcontext, v.t(), &mut dscores, columns, Write::Replace);
        }
        backward_softmax(weights, columns, tile.mask, &mut dscores);
        if let Some(bias) = inputs.bias {
            add_bias_gradient(&dscores, &tile, inputs, bias, &mut out.bias);
        }
        let seen = Matrix::strided(&dscores[lead..], n, s, columns);
        inputs.precision.product(scale, seen, k, &mut out.q[tile.query..], width, Write::Replace);
        inputs.precision.product(scale, seen.t(), q, &mut out.k[tile.key..], width, inputs.write());
        if let Some(first) = tile.first_key {
            let seen = Matrix::strided(&dscores, n, 1, columns);
            let k = Matrix::strided(&inputs.k[first..], 1, size, width);
            inputs.precision.product(scale, seen, k, &mut out.q[tile.query..], width, Write::Add);
            inputs.precision.product(scale, seen.t(), q, &mut out.k[first..], width, Write::Add);
        }
        if let Some(relative) = inputs.relative {
            let relative = relative.of_head(tile.head * size, tile.positions(inputs), scale);
            let [dq, dk] = [&mut out.q[tile.query..], &mut out.k[tile.key..]];
            let sums = Sums { q: dq, k: dk, relative: &mut out.relative };
            add_gradients(&dscores, [q, k], relative, sums, &mut room);
        }
    }
    out
}

/// Gives the keys beyond the window a score whose weight is zero.
fn hide_distant(scores: &mut [f32], tile: &Tile, inputs: Inputs<'_>, window: u32) {
    /// Far below every score, and finite, so that differences are too.
    const HIDDEN: f32 = -1e30;
    let (queries, keys) = tile.positions(inputs);
    let (lead, hideable) = (tile.lead(), tile.shown - tile.lead());
    for (row, &query) in scores.chunks_exact_mut(tile.columns()).zip(queries) {
        let columns = row[lead..].iter_mut().zip(keys).skip(hideable);
        for (score, _) in columns.filter(|(_, key)| query.abs_diff(**key) > window) {
            *score = HIDDEN;
        }
    }
}

/// Adds the bias to the scores of a tile.
fn add_bias(scores: &mut [f32], tile: &Tile, inputs: Inputs<'_>, bias: &DistanceBias) {
    let (queries, keys) = tile.positions(inputs);
    for (row, &query) in scores.chunks_exact_mut(tile.columns()).zip(queries) {
        for (score, &key) in row[tile.lead()..].iter_mut().zip(keys) {
            *score += bias.values[bias.index(query, key, inputs.heads, tile.head)];
        }
    }
}

/// Adds a tile's gradients of the scores to the gradient of the bias.
fn add_bias_gradient(dscores: &[f32], tile: &Tile, inputs: Inputs<'_>, bias: &DistanceBias, dbias: &mut [f32]) {
    let (queries, keys) = tile.positions(inputs);
    for (row, &query) in dscores.chunks_exact(tile.columns()).zip(queries) {
        for (dscore, &key) in row[tile.lead()..].iter().zip(keys) {
            dbias[bias.index(query, key, inputs.heads, tile.head)] += dscore;
        }
    }
}

/// Softmax of each row of `s` elements, in place.
pub(super) fn softmax(scores: &mut [f32], s: usize) {
    simd(
        #[inline(always)]
        || {
            for row in scores.chunks_exact_mut(s) {
                let row = &mut row[..s];
                let max = max_of(row);
                for x in row.iter_mut() {
                    *x = exp(*x - max);
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

/// Writes the weights after dropout to `out` and marks the removed ones by their sign bit.
fn drop_out(weights: &mut [f32], tile: &Tile, out: &mut Vec<f32>) {
    out.resize(weights.len(), 0.0);
    let (lead, columns) = (tile.lead(), tile.columns());
    simd(
        #[inline(always)]
        || {
            let rows = weights.chunks_exact_mut(columns).zip(out.chunks_exact_mut(columns));
            for (row, (weights, out)) in rows.enumerate() {
                let start = tile.first + row as u32 * tile.stride;
                if lead > 0 {
                    let factor = tile.mask.factor(start);
                    out[0] = weights[0] * factor;
                    weights[0] = if factor == 0.0 { -weights[0] } else { weights[0] };
                }
                let first = start + tile.column;
                let (weights, out) = (&mut weights[lead..], &mut out[lead..]);
                for (i, (weight, out)) in weights.iter_mut().zip(out.iter_mut()).enumerate() {
                    let factor = tile.mask.factor(first + i as u32);
                    *out = *weight * factor;
                    *weight = if factor == 0.0 { -*weight } else { *weight };
                }
            }
        },
    );
}

/// Writes the weights after dropout to `out`, given the marked weights.
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

/// Replaces the gradient of the weights after dropout by the gradient of the scores.
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
