//! The candle backend: the operations composed of candle's own differentiable operations. It runs on accelerators, and in
//! f64 on the CPU it is the reference for the tests of the kernels.
//!
//! It uses only operations that have a backward pass in candle 0.11. `LayerNorm::forward`, `ops::layer_norm` and
//! `softmax_last_dim` have none: they cut the graph without an error. Attention pads each micro-batch to its longest
//! sequence and masks the padding; everything else works on packed tokens.

mod mask;
mod select;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

use candle_core::{D, DType, Device, Error, Result, Tensor};

use self::mask::{Elements, Masks};
use self::select::{Lookup, Selection, ZEROS};

use super::operations::{
    Attention, Convolution, DistanceTables, Embeddings, Linear, LowRank, Lstm, LstmDirection, Norm, Operations, Place,
    RelativeBias, Rows,
};
use super::pass::Pass;
use crate::train::batch::Mix;
use plateau_kernels::activation::Activation;
use plateau_kernels::dropout::Dropout;
use plateau_kernels::product::Precision;
use plateau_kernels::rotary::Rotation;

/// The operations of one pass.
pub struct DeviceBackend<'a> {
    pass: &'a Pass,
    /// What layers share is uploaded once.
    uploaded: RefCell<HashMap<Upload, Tensor>>,
    padding: RefCell<HashMap<usize, Padding>>,
    /// The buckets of the distances of queries and keys, by the number of queries and the table of the buckets.
    buckets: RefCell<HashMap<(usize, usize), Lookup>>,
}

/// What several layers read of a micro-batch. A number of rows stands for the queries: all tokens, or those with an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Upload {
    /// -1e9 for padded keys.
    Keys,
    /// -1e9 for keys beyond the window.
    Window {
        rows: usize,
        window: usize,
        sees_first: bool,
    },
    /// The row of the distance of each query and key.
    Distances {
        rows: usize,
        heads: usize,
    },
    Cosines {
        rows: usize,
        size: usize,
        theta: u64,
    },
    Sines {
        rows: usize,
        size: usize,
        theta: u64,
    },
}

/// How packed rows are padded to the longest sequence, and packed again.
#[derive(Debug, Clone)]
struct Padding {
    padded: Selection,
    packed: Selection,
}

impl<'a> DeviceBackend<'a> {
    pub fn new(pass: &'a Pass) -> Self {
        Self { pass, uploaded: RefCell::default(), padding: RefCell::default(), buckets: RefCell::default() }
    }

    /// A tensor that layers share. `make` is called once.
    fn upload(&self, key: Upload, make: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
        if let Some(tensor) = self.uploaded.borrow().get(&key) {
            return Ok(tensor.clone());
        }
        let tensor = make()?;
        self.uploaded.borrow_mut().insert(key, tensor.clone());
        Ok(tensor)
    }

    /// The padding of a matrix with `rows` rows: of all tokens, or of those with an output.
    fn padding(&self, rows: usize) -> Result<Padding> {
        if let Some(padding) = self.padding.borrow().get(&rows) {
            return Ok(padding.clone());
        }
        let (offsets, device) = (self.pass.offsets(rows), &self.pass.model.device);
        let longest = self.longest_sequence() as u32;
        let padded =
            offsets.windows(2).flat_map(|w| (0..longest).map(move |i| if w[0] + i < w[1] { w[0] + i } else { ZEROS }));
        let padded: Vec<u32> = padded.collect();
        let places = offsets.windows(2).zip(0..).flat_map(|(w, s)| (0..w[1] - w[0]).map(move |i| s * longest + i));
        let packed: Vec<u32> = places.collect();
        let padding = Padding {
            packed: Selection::new(&packed, padded.len(), device)?,
            padded: Selection::new(&padded, rows, device)?,
        };
        self.padding.borrow_mut().insert(rows, padding.clone());
        Ok(padding)
    }

    /// Tokens of the longest sequence.
    fn longest_sequence(&self) -> usize {
        self.pass.batch.offsets.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0) as usize
    }

    /// Adds the gradients of all trainable parameters to the pass's buffer, given the gradient of the outputs.
    pub fn backward(&self, outputs: &Tensor, gradient: Vec<f32>) -> Result<()> {
        let training = self.pass.training.as_ref();
        let training = training.ok_or_else(|| Error::Msg("a backward pass needs a training pass".into()))?;
        let gradient = Tensor::from_vec(gradient, outputs.shape(), outputs.device())?.to_dtype(outputs.dtype())?;
        // The gradient of this sum with respect to the outputs is `gradient`.
        let mut gradients = (outputs * gradient)?.sum_all()?.backward()?;
        for (i, parameter) in self.pass.model.parameters.iter().enumerate().filter(|(_, p)| p.trainable) {
            if let Some(gradient) = gradients.remove(&parameter.value) {
                training.gradients.add_tensor(i, gradient)?;
            }
        }
        Ok(())
    }

    fn value(&self, parameter: usize) -> &'a Tensor {
        self.pass.model.parameters[parameter].value.as_tensor()
    }

    /// `a b`. In bf16 both factors and the result are rounded; the device sums in f32.
    fn product(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        match self.pass.model.precision {
            Precision::F32 => a.matmul(b),
            Precision::Bf16 => a.to_dtype(DType::BF16)?.matmul(&b.to_dtype(DType::BF16)?)?.to_dtype(a.dtype()),
        }
    }

    fn rows(&self, table: usize, ids: impl Iterator<Item = u32>) -> Result<Tensor> {
        let table = self.value(table);
        Lookup::new(ids.collect(), table.dim(0)?, table.device())?.of(table)
    }

    /// The positions of the queries and of the keys of each sequence.
    fn positions<'p>(&'p self, queries: &'p Queries) -> impl Iterator<Item = (&'p [u32], &'p [u32])> {
        let batch = &self.pass.batch;
        let part = |all: &'p [u32], bounds: &[u32]| &all[bounds[0] as usize..bounds[1] as usize];
        let bounds = queries.offsets.windows(2).zip(batch.offsets.windows(2));
        bounds.map(move |(q, k)| (part(&queries.positions, q), part(&batch.positions, k)))
    }

    /// The bias of every query and key of the padded micro-batch, `[sequences, heads, longest, longest]`.
    fn relative_bias(&self, bias: RelativeBias, heads: usize, longest: usize, queries: &Queries) -> Result<Tensor> {
        let (batch, table) = (&self.pass.batch, self.value(bias.table));
        let key = (queries.positions.len(), bias.table);
        let known = self.buckets.borrow().get(&key).cloned();
        let lookup = if let Some(lookup) = known {
            lookup
        } else {
            let lookup = Lookup::new(self.buckets(bias, longest, queries), table.dim(0)?, table.device())?;
            self.buckets.borrow_mut().insert(key, lookup.clone());
            lookup
        };
        let rows = lookup.of(table)?;
        rows.reshape((batch.sequences(), longest, longest, heads))?.permute((0, 3, 1, 2))?.contiguous()
    }

    /// The bucket of the distance of every query and key.
    fn buckets(&self, bias: RelativeBias, longest: usize, queries: &Queries) -> Vec<u32> {
        let mut buckets = Vec::with_capacity(self.pass.batch.sequences() * longest * longest);
        for (queries, keys) in self.positions(queries) {
            let position = |all: &[u32], i: usize| all.get(i).map_or(0, |&position| position as i32);
            for i in 0..longest {
                let query = position(queries, i);
                buckets.extend((0..longest).map(|j| (bias.bucket)(query - position(keys, j)) as u32));
            }
        }
        buckets
    }

    /// -1e9 for the keys beyond the window of a query, `[sequences, 1, longest, longest]`. Padding has no window.
    fn window_mask(&self, window: usize, sees_first: bool, longest: usize, queries: &Queries) -> Result<Tensor> {
        let sequences = self.pass.batch.sequences();
        let mut mask = Vec::with_capacity(sequences * longest * longest);
        for (queries, keys) in self.positions(queries) {
            let is_far = |i: usize, j: usize| match (queries.get(i), keys.get(j)) {
                (Some(query), Some(key)) => query.abs_diff(*key) as usize > window && !(sees_first && j == 0),
                _ => false,
            };
            for i in 0..longest {
                mask.extend((0..longest).map(|j| if is_far(i, j) { -1e9f32 } else { 0.0 }));
            }
        }
        Tensor::from_vec(mask, (sequences, 1, longest, longest), &self.pass.model.device)
    }

    /// The context of the queries.
    fn attend(
        &self,
        [q, k, v]: [&Tensor; 3],
        attention: &Attention,
        tables: Option<&DistanceTables>,
    ) -> Result<Tensor> {
        let batch = &self.pass.batch;
        let (sequences, heads) = (batch.sequences(), attention.heads);
        let width = q.dim(1)?;
        let size = width / heads;
        let longest = self.longest_sequence();
        let rows = q.dim(0)?;
        let queries = Queries { offsets: self.pass.offsets(rows), positions: self.pass.row_positions(rows) };
        let (tokens, padding) = (self.padding(batch.tokens())?, self.padding(rows)?);
        let split = |x: &Tensor, padding: &Padding| {
            padding.padded.of(x)?.reshape((sequences, longest, heads, size))?.transpose(1, 2)?.contiguous()
        };
        let (q, k, v) = (split(q, &padding)?, split(k, &tokens)?, split(v, &tokens)?);
        let mask = self.upload(Upload::Keys, || {
            let key = |w: &[u32]| (0..longest as u32).map(|i| if i < w[1] - w[0] { 0.0 } else { -1e9 }).collect();
            let mask: Vec<f32> = batch.offsets.windows(2).flat_map(|w| -> Vec<f32> { key(w) }).collect();
            Tensor::from_vec(mask, (sequences, 1, 1, longest), q.device())?.to_dtype(q.dtype())
        })?;
        let mut scores = self.product(&q, &k.transpose(2, 3)?.contiguous()?)?;
        let mut parts = size;
        if let Some(tables) = tables {
            parts *= 1 + tables.terms();
            scores = (scores + self.distance_terms([&q, &k], tables, &queries)?)?;
        }
        scores = (scores / (parts as f64).sqrt())?.broadcast_add(&mask)?;
        if let Some(window) = attention.window {
            let (window, sees_first) = (window as usize, attention.sees_first);
            let mask = self.upload(Upload::Window { rows, window, sees_first }, || {
                self.window_mask(window, sees_first, longest, &queries)?.to_dtype(scores.dtype())
            })?;
            scores = scores.broadcast_add(&mask)?;
        }
        if let Some(bias) = attention.bias {
            scores = (scores + self.relative_bias(bias, heads, longest, &queries)?)?;
        }
        let weights = candle_nn::ops::softmax(&scores, D::Minus1)?;
        let weights = match self.pass.dropout(attention.dropout) {
            Some(dropout) => {
                Masks::new(Elements::Weights { heads, longest }, batch.offsets.clone(), &dropout).over(&weights)?
            }
            None => weights,
        };
        let context =
            self.product(&weights, &v)?.transpose(1, 2)?.contiguous()?.reshape((sequences * longest, width))?;
        padding.packed.of(&context)
    }

    /// The terms of the scores that depend on the distance, before scaling, `[sequences, heads, longest, longest]`. `q` and `k` are
    /// `[sequences, heads, longest, size]`.
    fn distance_terms(&self, [q, k]: [&Tensor; 2], tables: &DistanceTables, queries: &Queries) -> Result<Tensor> {
        let (sequences, heads, longest, size) = q.dims4()?;
        let key = Upload::Distances { rows: queries.positions.len(), heads };
        let rows = self.upload(key, || {
            let mut rows = Vec::with_capacity(sequences * heads * longest * longest);
            for (queries, keys) in self.positions(queries) {
                let position = |all: &[u32], i: usize| all.get(i).map_or(0, |&position| position as usize);
                for _ in 0..heads {
                    for i in 0..longest {
                        let query = position(queries, i) + tables.limit;
                        rows.extend((0..longest).map(|j| tables.rows[query - position(keys, j)]));
                    }
                }
            }
            Tensor::from_vec(rows, (sequences, heads, longest, longest), q.device())
        })?;
        let products = |tokens: &Tensor, table: &Tensor| -> Result<Tensor> {
            let table = table.reshape(((), heads, size))?.permute((1, 2, 0))?.contiguous()?;
            tokens.broadcast_matmul(&table)
        };
        let mut terms = Tensor::zeros((sequences, heads, longest, longest), q.dtype(), q.device())?;
        if let Some(table) = &tables.keys {
            terms = (terms + products(q, table)?.contiguous()?.gather(&rows, 3)?)?;
        }
        if let Some(table) = &tables.queries {
            let by_key = products(k, table)?.contiguous()?.gather(&rows.transpose(2, 3)?.contiguous()?, 3)?;
            terms = (terms + by_key.transpose(2, 3)?)?;
        }
        Ok(terms)
    }

    /// One direction of an LSTM over sequences that are padded to the longest one. The state of a sequence stays as it is
    /// beyond its end.
    fn lstm_direction(&self, x: &Tensor, direction: LstmDirection, size: usize, is_backward: bool) -> Result<Tensor> {
        let offsets = &self.pass.batch.offsets;
        let sequences = offsets.len() - 1;
        let longest = offsets.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0);
        let [input, hidden, input_bias, hidden_bias] = direction.parameters().map(|parameter| self.value(parameter));
        let gates = x.matmul(&input.t()?)?.broadcast_add(input_bias)?.broadcast_add(hidden_bias)?;
        let mut state = Tensor::zeros((sequences, size), x.dtype(), x.device())?;
        let (mut cell, mut states) = (state.clone(), Vec::new());
        for step in 0..longest {
            let row = |w: &[u32]| match (step < w[1] - w[0], is_backward) {
                (false, _) => w[0],
                (true, false) => w[0] + step,
                (true, true) => w[1] - 1 - step,
            };
            let rows: Vec<u32> = offsets.windows(2).map(row).collect();
            let active: Vec<f32> = offsets.windows(2).map(|w| f32::from(u8::from(step < w[1] - w[0]))).collect();
            let active = Tensor::from_vec(active, (sequences, 1), x.device())?.to_dtype(x.dtype())?;
            let gates = (gates.index_select(&Tensor::new(rows, x.device())?, 0)? + state.matmul(&hidden.t()?)?)?;
            let gate = |number: usize| gates.narrow(1, number * size, size);
            let sigmoid = |x: Tensor| (x.neg()?.exp()? + 1.0)?.recip();
            let kept = (sigmoid(gate(1)?)? * &cell)?;
            let new = (kept + (sigmoid(gate(0)?)? * gate(2)?.tanh()?)?)?;
            let output = (sigmoid(gate(3)?)? * new.tanh()?)?;
            cell = (new.broadcast_mul(&active)? + cell.broadcast_mul(&(1.0 - &active)?)?)?;
            state = (output.broadcast_mul(&active)? + state.broadcast_mul(&(1.0 - &active)?)?)?;
            states.push(state.clone());
        }
        let place = |sequence: usize, step: u32| step * sequences as u32 + sequence as u32;
        let rows = offsets.windows(2).enumerate().flat_map(|(sequence, w)| {
            let length = w[1] - w[0];
            (0..length).map(move |i| place(sequence, if is_backward { length - 1 - i } else { i }))
        });
        Tensor::cat(&states, 0)?.index_select(&Tensor::new(rows.collect::<Vec<u32>>(), x.device())?, 0)
    }

    /// The maximum over the rows of each part, whose lengths are given.
    fn maxima(x: &Tensor, lengths: impl Iterator<Item = usize>) -> Result<Tensor> {
        let (mut first, mut maxima) = (0, Vec::new());
        for length in lengths {
            let part = x.narrow(0, first, length)?.contiguous()?;
            // A maximum that occurs several times passes its gradient to one row, as in torch.
            let places = part.argmax_keepdim(0)?;
            maxima.push(part.gather(&places, 0)?);
            first += length;
        }
        Tensor::cat(&maxima, 0)
    }

    /// `x` with the masks that the CPU kernels use.
    fn masked(&self, x: &Tensor, dropout: &Dropout) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        Masks::new(Elements::Rows { width }, self.pass.offsets(rows), dropout).over(x)
    }
}

/// The queries of an attention: the offsets of the sequences in their rows, and the position of each row.
struct Queries {
    offsets: Vec<u32>,
    positions: Vec<u32>,
}

fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::Relu => x.relu(),
        Activation::Tanh => x.tanh(),
    }
}

/// `[sequences, 1]`.
fn shares(mix: &Mix, like: &Tensor) -> Result<Tensor> {
    // Converted on the CPU, because Metal has no f64.
    Tensor::new(&*mix.shares, &Device::Cpu)?.to_dtype(like.dtype())?.to_device(like.device())?.unsqueeze(1)
}

impl Operations for DeviceBackend<'_> {
    fn embed(&mut self, embeddings: &Embeddings) -> Result<Tensor> {
        let batch = &self.pass.batch;
        let mut sum = self.rows(embeddings.tokens, batch.ids.iter().copied())?;
        if let Some(types) = embeddings.types {
            sum = (sum + self.rows(types.table, batch.types.iter().map(|&kind| types.row(kind) as u32))?)?;
        }
        match embeddings.positions {
            Some(positions) => sum + self.rows(positions.table, positions.rows(batch).into_iter())?,
            None => Ok(sum),
        }
    }

    fn layer_norm(&mut self, x: &Tensor, norm: Norm) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + norm.epsilon)?.sqrt()?;
        let normal = centred.broadcast_div(&deviation)?;
        let scaled = normal.broadcast_mul(self.value(norm.weight))?;
        match norm.bias {
            Some(bias) => scaled.broadcast_add(self.value(bias)),
            None => Ok(scaled),
        }
    }

    fn dropout(&mut self, x: &Tensor, place: Place) -> Result<Tensor> {
        match self.pass.dropout(place) {
            Some(dropout) => self.masked(x, &dropout),
            None => Ok(x.clone()),
        }
    }

    fn linear(&mut self, x: &Tensor, layer: Linear) -> Result<Tensor> {
        // The weight of a convolution has three dimensions.
        let weight = self.value(layer.weight).flatten_from(1)?.narrow(0, layer.first, layer.outputs)?;
        let mut y = self.product(x, &weight.t()?)?;
        if let Some(LowRank { a, b, scale }) = layer.low_rank {
            let b = self.value(b).narrow(0, layer.first, layer.outputs)?;
            let inner = self.product(x, &self.value(a).t()?)?;
            y = (y + (self.product(&inner, &b.t()?)? * scale)?)?;
        }
        match layer.bias {
            Some(bias) => y.broadcast_add(&self.value(bias).narrow(0, layer.first, layer.outputs)?),
            None => Ok(y),
        }
    }

    fn dense(&mut self, x: &Tensor, layer: Linear, activation: Activation) -> Result<Tensor> {
        activate(&self.linear(x, layer)?, activation)
    }

    fn gate(&mut self, x: &Tensor, values: Linear, gates: Linear, activation: Activation) -> Result<Tensor> {
        activate(&self.linear(x, values)?, activation)? * self.linear(x, gates)?
    }

    fn rotate(&mut self, x: &Tensor, heads: usize, theta: f64) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        let size = width / heads;
        let positions = self.pass.row_positions(rows);
        let turns = |part: fn((f32, f32)) -> f32| {
            let rotation = Rotation::new(size, self.pass.longest(), theta);
            let values: Vec<f32> =
                positions.iter().flat_map(|&position| rotation.at(position)).copied().map(part).collect();
            Tensor::from_vec(values, (rows, 1, size / 2), x.device())?.to_dtype(x.dtype())
        };
        let bits = theta.to_bits();
        let cos = self.upload(Upload::Cosines { rows, size, theta: bits }, || turns(|turn| turn.0))?;
        let sin = self.upload(Upload::Sines { rows, size, theta: bits }, || turns(|turn| turn.1))?;
        let x = x.reshape((rows, heads, size))?;
        let (lower, upper) = (x.narrow(2, 0, size / 2)?, x.narrow(2, size / 2, size / 2)?);
        let turned_lower = (lower.broadcast_mul(&cos)? - upper.broadcast_mul(&sin)?)?;
        let turned_upper = (upper.broadcast_mul(&cos)? + lower.broadcast_mul(&sin)?)?;
        Tensor::cat(&[turned_lower, turned_upper], 2)?.reshape((rows, width))
    }

    fn add(&mut self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        x + y
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

    fn add_norm(
        &mut self,
        x: &Tensor,
        layer: Linear,
        dropout: Option<Place>,
        residual: &Tensor,
        norm: Norm,
    ) -> Result<Tensor> {
        let mut y = self.linear(x, layer)?;
        if let Some(place) = dropout {
            y = self.dropout(&y, place)?;
        }
        self.layer_norm(&(y + residual)?, norm)
    }

    fn output_rows(&mut self, x: &Tensor) -> Result<Tensor> {
        Selection::new(self.pass.batch.rows(), x.dim(0)?, x.device())?.of(x)
    }

    fn with_output_rows(&mut self, x: &Tensor, outputs: &Tensor) -> Result<Tensor> {
        let tokens = x.dim(0)?;
        let mut places: Vec<u32> = (0..tokens as u32).collect();
        for (output, &row) in self.pass.batch.rows().iter().enumerate() {
            places[row as usize] = (tokens + output) as u32;
        }
        let all = Tensor::cat(&[x, outputs], 0)?;
        Selection::new(&places, all.dim(0)?, x.device())?.of(&all)
    }

    fn unread(&mut self, layer: Linear) -> Result<()> {
        let Some(training) = &self.pass.training else { return Ok(()) };
        for parameter in layer.parameters().filter(|&parameter| self.pass.model.parameters[parameter].trainable) {
            training.gradients.add_tensor(parameter, self.value(parameter).zeros_like()?)?;
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
        self.value(parameter).narrow(0, rows.start, rows.len())
    }

    fn table_dropout(&mut self, x: &Tensor, first: usize, place: Place) -> Result<Tensor> {
        let Some(dropout) = self.pass.shared_dropout(place) else { return Ok(x.clone()) };
        let mask = dropout.mask(0);
        let first = (first * x.dim(1)?) as u32;
        let factors: Vec<f32> = (0..x.elem_count() as u32).map(|element| mask.factor(first + element)).collect();
        x * Tensor::from_vec(factors, x.shape(), x.device())?.to_dtype(x.dtype())?
    }

    fn windows(&mut self, x: &Tensor, size: usize, rows: Rows) -> Result<Tensor> {
        let (tokens, width) = x.dims2()?;
        // The row after the last token stands for what is beyond an end.
        let padded = Tensor::cat(&[x, &Tensor::zeros((1, width), x.dtype(), x.device())?], 0)?;
        let places: Vec<u32> =
            self.pass.windows(size, rows).into_iter().map(|row| row.unwrap_or(tokens as u32)).collect();
        let windows = padded.index_select(&Tensor::new(places, x.device())?, 0)?;
        windows.reshape(((), size, width))?.transpose(1, 2)?.contiguous()?.reshape(((), width * size))
    }

    fn activate(&mut self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        activate(x, activation)
    }

    /// A product with a matrix of weights.
    fn mean_rows(&mut self, x: &Tensor) -> Result<Tensor> {
        let batch = &self.pass.batch;
        let (sequences, tokens) = (batch.sequences(), batch.tokens());
        let mut weights = vec![0f32; sequences * tokens];
        for (s, w) in batch.offsets.windows(2).enumerate() {
            weights[s * tokens + w[0] as usize..s * tokens + w[1] as usize].fill(1.0);
        }
        let counts: Vec<f32> = batch.offsets.windows(2).map(|w| (w[1] - w[0]) as f32).collect();
        let weights = Tensor::from_vec(weights, (sequences, tokens), x.device())?.to_dtype(x.dtype())?;
        let counts = Tensor::from_vec(counts, (sequences, 1), x.device())?.to_dtype(x.dtype())?;
        weights.matmul(x)?.broadcast_div(&counts)
    }

    fn lstm(&mut self, x: &Tensor, lstm: &Lstm) -> Result<Tensor> {
        let forward = self.lstm_direction(x, lstm.forward, lstm.size, false)?;
        let backward = self.lstm_direction(x, lstm.backward, lstm.size, true)?;
        Tensor::cat(&[forward, backward], 1)
    }

    fn convolve(&mut self, x: &Tensor, convolutions: &[Convolution]) -> Result<Tensor> {
        let (tokens, width) = x.dims2()?;
        // The row after the last token fills up short sequences.
        let rows = Tensor::cat(&[x, &Tensor::zeros((1, width), x.dtype(), x.device())?], 0)?;
        let mut parts = Vec::new();
        for Convolution { weight, bias, kernel } in convolutions {
            let (size, offsets) = (kernel.size as u32, &self.pass.batch.offsets);
            let windows = |w: &[u32]| (w[1] - w[0]).saturating_sub(size - 1).max(1);
            let mut places = Vec::new();
            for w in offsets.windows(2) {
                for first in w[0]..w[0] + windows(w) {
                    places.extend((first..first + size).map(|row| if row < w[1] { row } else { tokens as u32 }));
                }
            }
            let count = places.len() / kernel.size;
            let inputs = rows.index_select(&Tensor::new(places, x.device())?, 0)?;
            let inputs = inputs.reshape((count, kernel.size * width))?;
            let weight =
                self.value(*weight).transpose(1, 2)?.contiguous()?.reshape((kernel.filters, kernel.size * width))?;
            let sums = inputs.matmul(&weight.t()?)?.broadcast_add(self.value(*bias))?.relu()?;
            parts.push(Self::maxima(&sums, offsets.windows(2).map(|w| windows(w) as usize))?);
        }
        Tensor::cat(&parts, 1)
    }

    fn max_rows(&mut self, x: &Tensor) -> Result<Tensor> {
        Self::maxima(x, self.pass.batch.offsets.windows(2).map(|w| (w[1] - w[0]) as usize))
    }

    fn weighted_rows(&mut self, x: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let mean = |span: &[u32]| -> Result<Tensor> {
            let (first, length) = (span[0] as usize, (span[1] - span[0]) as usize);
            let weights = candle_nn::ops::softmax(&scores.narrow(0, first, length)?, 0)?;
            weights.t()?.matmul(&x.narrow(0, first, length)?)
        };
        let means: Vec<Tensor> = self.pass.batch.offsets.windows(2).map(mean).collect::<Result<_>>()?;
        Tensor::cat(&means, 0)
    }

    fn last_states(&mut self, x: &Tensor) -> Result<Tensor> {
        let (offsets, half) = (&self.pass.batch.offsets, x.dim(1)? / 2);
        let rows =
            |place: fn(&[u32]) -> u32| Tensor::new(offsets.windows(2).map(place).collect::<Vec<u32>>(), x.device());
        let forward = x.index_select(&rows(|w| w[1] - 1)?, 0)?.narrow(1, 0, half)?;
        let backward = x.index_select(&rows(|w| w[0])?, 0)?.narrow(1, half, half)?;
        Tensor::cat(&[forward, backward], 1)
    }

    fn mix(&mut self, x: &Tensor) -> Result<Tensor> {
        let Some(mix) = self.pass.mix() else { return Ok(x.clone()) };
        let partners = x.index_select(&Tensor::new(&*mix.partners, x.device())?, 0)?;
        let shares = shares(mix, x)?;
        x.broadcast_mul(&shares)? + partners.broadcast_mul(&(1.0 - &shares)?)?
    }
}
