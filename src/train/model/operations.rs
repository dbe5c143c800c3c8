//! The operations of which every forward pass consists.
//!
//! An architecture writes its forward pass once, in terms of [`Operations`]. Two backends implement the trait: `tape` runs
//! hand-written kernels on the CPU and records the backward pass, and `device_backend` uses candle's differentiable
//! operations on any device. Activations are row-major tensors with one row for each token of the packed micro-batch, or one
//! row for each sequence. Parameters are named by their index in the network's list.
//!
//! Two operations are coarse, because that saves passes over memory: [`Operations::dense`] applies bias and activation
//! together, and [`Operations::add_norm`] applies bias, dropout, residual sum and LayerNorm together.

use std::ops::Range;

use candle_core::{Result, Tensor};

use crate::train::batch::MicroBatch;
use plateau_kernels::activation::Activation;
use plateau_kernels::convolution::Kernel;

/// A linear layer `y = x W^T + b`. Several layers may share one weight, each with rows of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Linear {
    /// Index of the weight.
    pub weight: usize,
    /// Index of the bias. None: b is zero.
    pub bias: Option<usize>,
    /// The layer's first row of the weight, and its first element of the bias.
    pub first: usize,
    /// Elements of y.
    pub outputs: usize,
    /// A trained change of a frozen weight.
    pub low_rank: Option<LowRank>,
}

/// A change `scale * B A` of a weight. Layers that share the weight share A, and have rows of B of their own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LowRank {
    /// Index of A, `[rank, inputs]`.
    pub a: usize,
    /// Index of B, `[rows of the weight, rank]`.
    pub b: usize,
    pub scale: f64,
}

impl Linear {
    /// The indices of its parameters.
    pub fn parameters(self) -> impl Iterator<Item = usize> {
        let change = self.low_rank;
        let all = [Some(self.weight), self.bias, change.map(|change| change.a), change.map(|change| change.b)];
        all.into_iter().flatten()
    }

    /// A layer of `outputs` rows from row `first` of this one.
    #[must_use]
    pub fn part(self, first: usize, outputs: usize) -> Self {
        Self { first: self.first + first, outputs, ..self }
    }
}

/// A LayerNorm: the indices of its weight and its bias, and the number added to the variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    pub weight: usize,
    /// None: the bias is zero.
    pub bias: Option<usize>,
    pub epsilon: f64,
}

/// The tables whose rows are summed to the embedding of a token.
#[derive(Debug, Clone, Copy)]
pub struct Embeddings {
    /// Index of the token embeddings.
    pub tokens: usize,
    /// Elements of an embedding.
    pub width: usize,
    /// None: the architecture has no table of positions.
    pub positions: Option<PositionTable>,
    /// None: the architecture has no token types.
    pub types: Option<TypeTable>,
}

/// Learned position embeddings.
#[derive(Debug, Clone, Copy)]
pub struct PositionTable {
    pub table: usize,
    /// Row of the first token of a sequence.
    pub first: u32,
}

impl PositionTable {
    /// The row of each token. A table whose first rows belong to the padding token knows its id: where a text itself holds that token, it
    /// takes no position and has the row before the first one (`create_position_ids_from_input_ids` of transformers).
    pub fn rows(self, batch: &MicroBatch) -> Vec<u32> {
        let padding = self.first.checked_sub(1);
        let mut rows = Vec::with_capacity(batch.positions.len());
        for bounds in batch.offsets.windows(2) {
            let span = bounds[0] as usize..bounds[1] as usize;
            let mut first = self.first;
            for (&id, position) in batch.ids[span.clone()].iter().zip(&batch.positions[span]) {
                if Some(id) == padding {
                    rows.push(id);
                    first = first.wrapping_sub(1);
                } else {
                    rows.push(first.wrapping_add(*position));
                }
            }
        }
        rows
    }
}

/// Learned embeddings of token types.
#[derive(Debug, Clone, Copy)]
pub struct TypeTable {
    pub table: usize,
    /// Whether every token has type 0, whatever the tokenizer says.
    pub always_zero: bool,
}

impl TypeTable {
    /// The row of a token with this type.
    pub fn row(self, kind: u32) -> usize {
        if self.always_zero { 0 } else { kind as usize }
    }
}

/// Scaled dot-product attention within each sequence.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    pub heads: usize,
    /// Dropout of the attention weights.
    pub dropout: Place,
    /// Learned bias of the scaled scores.
    pub bias: Option<RelativeBias>,
    /// The largest distance between a token and another that it sees. None: each sees all.
    pub window: Option<u32>,
    /// Whether each token also sees the first one of its sequence, beyond the window.
    pub sees_first: bool,
}

/// The keys and queries of distances in a micro-batch, for attention whose scores depend on them.
#[derive(Debug, Clone)]
pub struct DistanceTables {
    /// The row of each distance from `-limit` to `limit`.
    pub rows: Vec<u32>,
    /// The largest distance in the micro-batch.
    pub limit: usize,
    /// `[rows, width]`. None: the scores have no such term.
    pub keys: Option<Tensor>,
    pub queries: Option<Tensor>,
}

impl DistanceTables {
    /// Number of terms of a score beside that of the two tokens.
    pub fn terms(&self) -> usize {
        self.keys.iter().chain(&self.queries).count()
    }
}

/// A learned bias `table[bucket(i - j)][head]` on the score of query i and key j.
#[derive(Debug, Clone, Copy)]
pub struct RelativeBias {
    /// Index of the table `[buckets, heads]`.
    pub table: usize,
    /// Maps a distance to its bucket. It is constant beyond `limit` in both directions.
    pub bucket: fn(i32) -> usize,
    pub limit: i32,
}

/// A bidirectional LSTM layer, as torch defines it.
#[derive(Debug, Clone, Copy)]
pub struct Lstm {
    /// Elements of the state of a direction.
    pub size: usize,
    /// Reads each sequence from its first token.
    pub forward: LstmDirection,
    /// Reads each sequence from its last token.
    pub backward: LstmDirection,
}

/// The indices of the parameters of a direction.
#[derive(Debug, Clone, Copy)]
pub struct LstmDirection {
    /// `[4 size, width]`
    pub input: usize,
    /// `[4 size, size]`
    pub hidden: usize,
    /// `[4 size]`
    pub input_bias: usize,
    /// `[4 size]`
    pub hidden_bias: usize,
}

impl LstmDirection {
    pub fn parameters(self) -> [usize; 4] {
        [self.input, self.hidden, self.input_bias, self.hidden_bias]
    }
}

/// A convolution over tokens with the indices of its weight `[filters, width, size]` and its bias.
#[derive(Debug, Clone, Copy)]
pub struct Convolution {
    pub weight: usize,
    pub bias: usize,
    pub kernel: Kernel,
}

/// A place in the network with dropout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number of the place, so that different places have different masks.
    pub number: u64,
    pub probability: DropoutKind,
    pub depth: PlaceDepth,
}

/// Which dropout probability of the configuration applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropoutKind {
    Hidden,
    Attention,
    Classifier,
}

/// Where a place is. Dropout is off in the frozen part of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceDepth {
    Embeddings,
    /// Layer from 0.
    Layer(usize),
    Head,
}

impl Place {
    pub const EMBEDDINGS: Self = Self { number: 0, probability: DropoutKind::Hidden, depth: PlaceDepth::Embeddings };
    /// Input of the last layer of the head.
    pub const CLASSIFIER: Self = Self { number: 1, probability: DropoutKind::Classifier, depth: PlaceDepth::Head };
    /// Input of the head's dense layer.
    pub const HEAD_INPUT: Self = Self { number: 2, probability: DropoutKind::Classifier, depth: PlaceDepth::Head };

    /// The attention weights of block `block` in layer `layer`. A layer is usually one block.
    pub fn attention(block: usize, layer: usize) -> Self {
        Self::in_layer(4 * block as u64 + 4, DropoutKind::Attention, layer)
    }

    /// The output of the attention.
    pub fn attention_output(block: usize, layer: usize) -> Self {
        Self::in_layer(4 * block as u64 + 5, DropoutKind::Hidden, layer)
    }

    /// The output of the feed-forward part.
    pub fn feed_forward_output(block: usize, layer: usize) -> Self {
        Self::in_layer(4 * block as u64 + 6, DropoutKind::Hidden, layer)
    }

    /// The embeddings of distances.
    pub fn distances(block: usize, layer: usize) -> Self {
        Self::in_layer(4 * block as u64 + 7, DropoutKind::Hidden, layer)
    }

    /// The output of a convolution beside the lowest layer.
    pub fn convolution() -> Self {
        Self { number: 3, probability: DropoutKind::Hidden, depth: PlaceDepth::Layer(0) }
    }

    fn in_layer(number: u64, probability: DropoutKind, layer: usize) -> Self {
        Self { number, probability, depth: PlaceDepth::Layer(layer) }
    }
}

/// The rows of a sequence that a layer computes. The last layer computes only the rows that the head reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    All,
    /// The tokens with an output: those of [`MicroBatch::rows`](crate::train::batch::MicroBatch::rows).
    Outputs,
}

/// The forward operations. Each backend derives the backward pass from them.
pub trait Operations {
    /// The sums of embeddings of the micro-batch's tokens, `[tokens, width]`.
    fn embed(&mut self, embeddings: &Embeddings) -> Result<Tensor>;

    /// LayerNorm of each row.
    fn layer_norm(&mut self, x: &Tensor, norm: Norm) -> Result<Tensor>;

    /// Dropout in training; the identity in evaluation and in the frozen part.
    fn dropout(&mut self, x: &Tensor, place: Place) -> Result<Tensor>;

    /// `x W^T + b`.
    fn linear(&mut self, x: &Tensor, layer: Linear) -> Result<Tensor>;

    /// `activation(x A^T + a) * (x G^T + g)` with the layers `values` (A, a) and `gates` (G, g): a gated feed-forward part.
    fn gate(&mut self, x: &Tensor, values: Linear, gates: Linear, activation: Activation) -> Result<Tensor>;

    /// Rotary position embeddings of queries or keys. The rows of `x` are all tokens or those with an output.
    fn rotate(&mut self, x: &Tensor, heads: usize, theta: f64) -> Result<Tensor>;

    /// `x + y`.
    fn add(&mut self, x: &Tensor, y: &Tensor) -> Result<Tensor>;

    /// `activation(x W^T + b)`.
    fn dense(&mut self, x: &Tensor, layer: Linear, activation: Activation) -> Result<Tensor>;

    /// The context of the queries `q`, `[queries, width]`. The rows of `q` are all tokens or those with an
    /// output; those of `k` and `v` are all tokens.
    fn attention(&mut self, q: &Tensor, k: &Tensor, v: &Tensor, attention: &Attention) -> Result<Tensor>;

    /// The same with terms of the scores that depend on the distance of two tokens (He et al., 2021): the score of query i and key j
    /// is `(q_i . k_j + q_i . keys[r] + k_j . queries[r]) / sqrt(size * (1 + number of terms))`, where r is the row of i - j.
    fn distance_attention(
        &mut self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        attention: &Attention,
        tables: &DistanceTables,
    ) -> Result<Tensor>;

    /// The first row of each sequence and its context, from the layer's input `x` and the layers of queries, keys and values.
    /// None if the pass needs the keys and values of all tokens.
    fn first_context(
        &mut self,
        _x: &Tensor,
        _layers: [Linear; 3],
        _attention: &Attention,
    ) -> Result<Option<[Tensor; 2]>> {
        Ok(None)
    }

    /// `LayerNorm(residual + dropout(x W^T + b))`, the end of an attention or feed-forward part. Without dropout if
    /// `dropout` is None.
    fn add_norm(
        &mut self,
        x: &Tensor,
        layer: Linear,
        dropout: Option<Place>,
        residual: &Tensor,
        norm: Norm,
    ) -> Result<Tensor>;

    /// The rows of the tokens with an output, `[outputs, width]`.
    fn output_rows(&mut self, x: &Tensor) -> Result<Tensor>;

    /// `x` with other rows for the tokens with an output: those of `outputs`.
    fn with_output_rows(&mut self, x: &Tensor, outputs: &Tensor) -> Result<Tensor>;

    /// Gives a layer whose output nothing reads a gradient of zero, as torch does, so that weight decay applies to it.
    fn unread(&mut self, layer: Linear) -> Result<()>;

    /// Whether the first token of each sequence is global, in architectures that have global tokens.
    fn has_global_token(&self) -> bool;

    /// The largest position of a token in the micro-batch plus one.
    fn longest(&self) -> usize;

    /// Some rows of a table, `[rows, width]`.
    fn table_rows(&mut self, parameter: usize, rows: Range<usize>) -> Result<Tensor>;

    /// Dropout of rows of a table, of which `first` is the first. All sequences of a batch have the same mask.
    fn table_dropout(&mut self, x: &Tensor, first: usize, place: Place) -> Result<Tensor>;

    /// The tokens around each of `rows`, `[rows, width * size]`: the values of an element lie beside each other, as in the weight of
    /// torch's `Conv1d`. Zeros stand for tokens beyond both ends of a sequence. `size` is odd.
    fn windows(&mut self, x: &Tensor, size: usize, rows: Rows) -> Result<Tensor>;

    fn activate(&mut self, x: &Tensor, activation: Activation) -> Result<Tensor>;

    /// The mean row of each sequence, `[sequences, width]`.
    fn mean_rows(&mut self, x: &Tensor) -> Result<Tensor>;

    /// The outputs of both directions beside each other, `[tokens, 2 size]`.
    fn lstm(&mut self, x: &Tensor, lstm: &Lstm) -> Result<Tensor>;

    /// The maximum of each filter over all windows of a sequence after ReLU, `[sequences, filters]`; those of several
    /// convolutions beside each other. A sequence shorter than a window is filled up with zeros.
    fn convolve(&mut self, x: &Tensor, convolutions: &[Convolution]) -> Result<Tensor>;

    /// The maximum of each column over the tokens of a sequence, `[sequences, width]`.
    fn max_rows(&mut self, x: &Tensor) -> Result<Tensor>;

    /// The mean row of each sequence, weighted by the softmax of its `scores` `[tokens, 1]`, `[sequences, width]`.
    fn weighted_rows(&mut self, x: &Tensor, scores: &Tensor) -> Result<Tensor>;

    /// The last states of a bidirectional LSTM: the first half of the last row of each sequence, and the second half of its
    /// first row, `[sequences, width]`.
    fn last_states(&mut self, x: &Tensor) -> Result<Tensor>;

    /// Mixup of one row for each sequence in training; otherwise the identity.
    fn mix(&mut self, x: &Tensor) -> Result<Tensor>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padding_token_within_a_text_takes_no_position() {
        let batch = MicroBatch {
            ids: vec![0, 5, 1, 6, 1, 7, 2, 0, 1, 2],
            types: vec![0; 10],
            positions: vec![0, 1, 2, 3, 4, 5, 6, 0, 1, 2],
            offsets: vec![0, 7, 10],
            outputs: None,
            targets: Vec::new(),
            places: vec![0, 1],
            mix: None,
            frozen: None,
        };
        assert_eq!(PositionTable { table: 0, first: 2 }.rows(&batch), [2, 3, 1, 4, 1, 5, 6, 2, 1, 3]);
        assert_eq!(PositionTable { table: 0, first: 0 }.rows(&batch), batch.positions);
    }
}
