//! Attention on the CPU, with the terms that depend on the distance of two tokens.

use candle_core::{Result, Tensor, TensorId};

use super::super::host::{Host, host};
use super::super::operations::{Attention, DistanceTables, RelativeBias};
use super::super::pass::Pass;
use super::{Tape, release};
use plateau_kernels::attention::{self, DistanceBias, Inputs};
use plateau_kernels::disentangled::Relative;
use plateau_kernels::dropout::Dropout;
use plateau_kernels::vector::add;

/// What both passes of an attention need, beside its tensors.
struct Settings<'a> {
    pass: &'a Pass,
    attention: Attention,
    width: usize,
    /// Offsets and positions of the queries.
    queries: Vec<u32>,
    query_positions: Vec<u32>,
    bias: Option<(RelativeBias, DistanceBias)>,
    dropout: Option<Dropout>,
    tables: Option<DistanceTables>,
}

/// The values of the tables of distances.
struct TableValues<'a> {
    keys: Option<Host<'a>>,
    queries: Option<Host<'a>>,
}

impl Settings<'_> {
    fn table_values(&self) -> Result<TableValues<'_>> {
        fn values(table: Option<&Tensor>) -> Result<Option<Host<'_>>> {
            table.map(host).transpose()
        }
        let tables = self.tables.as_ref();
        Ok(TableValues {
            keys: values(tables.and_then(|tables| tables.keys.as_ref()))?,
            queries: values(tables.and_then(|tables| tables.queries.as_ref()))?,
        })
    }

    /// Calls `f` with the inputs of the kernel.
    fn with_inputs<R>(&self, [q, k, v]: [&Tensor; 3], f: impl FnOnce(Inputs<'_>) -> R) -> Result<R> {
        let (q, k, v, values) = (host(q)?, host(k)?, host(v)?, self.table_values()?);
        let relative = self.tables.as_ref().map(|tables| Relative {
            rows: &tables.rows,
            limit: tables.limit as u32,
            keys: values.keys.as_deref(),
            queries: values.queries.as_deref(),
            precision: self.pass.model.precision,
        });
        Ok(f(Inputs {
            q: &q,
            k: &k,
            v: &v,
            heads: self.attention.heads,
            width: self.width,
            queries: &self.queries,
            query_positions: &self.query_positions,
            keys: &self.pass.batch.offsets,
            positions: &self.pass.batch.positions,
            window: self.attention.window,
            sees_first: self.attention.sees_first,
            bias: self.bias.as_ref().map(|(_, bias)| bias),
            relative,
            dropout: self.dropout.as_ref(),
            precision: self.pass.model.precision,
        }))
    }

    /// The tensors of the tables of keys and queries.
    fn table_tensors(&self) -> [Option<&Tensor>; 2] {
        self.tables.as_ref().map_or([None, None], |tables| [tables.keys.as_ref(), tables.queries.as_ref()])
    }
}

impl Tape<'_> {
    /// The context of the queries.
    pub(super) fn attend(
        &mut self,
        tensors: [&Tensor; 3],
        attention: &Attention,
        tables: Option<&DistanceTables>,
    ) -> Result<Tensor> {
        let (pass, heads) = (self.pass, attention.heads);
        let (rows, width) = tensors[0].dims2()?;
        let bias = match attention.bias {
            Some(bias) => Some((bias, distance_bias(bias, &self.model().values(bias.table)?, heads, pass.longest()))),
            None => None,
        };
        let settings = Settings {
            pass,
            attention: *attention,
            width,
            queries: pass.offsets(rows),
            query_positions: pass.row_positions(rows),
            bias,
            dropout: pass.dropout(attention.dropout),
            tables: tables.cloned(),
        };
        let (context, weights) = settings.with_inputs(tensors, attention::forward)?;
        let all: Vec<&Tensor> = tensors.into_iter().chain(tables.into_iter().flat_map(tensors_of)).collect();
        let parameters: Vec<usize> = attention.bias.iter().map(|bias| bias.table).collect();
        let inputs = tensors.map(Tensor::clone);
        self.result(context, width, &all, &parameters, move |gradients, dy| {
            let d = settings.with_inputs(inputs.each_ref(), |inputs| attention::backward(inputs, &weights, &dy))?;
            let trained = settings.bias.as_ref().filter(|(bias, _)| gradients.model().trains(bias.table));
            if let Some((bias, by_distance)) = trained {
                let mut sums = gradients.buffer.parameter(bias.table);
                let sums = sums.sums();
                let distances = -by_distance.limit..=by_distance.limit;
                for (distance, gradient) in distances.zip(d.bias.chunks_exact(heads)) {
                    add(&mut sums[(bias.bucket)(distance) * heads..][..heads], gradient);
                }
            }
            let tables: [Option<TensorId>; 2] = settings.table_tensors().map(|table| table.map(Tensor::id));
            drop(settings);
            for (table, gradient) in tables.into_iter().zip(d.relative) {
                if let Some(table) = table {
                    gradients.add(table, gradient);
                }
            }
            let [q, k, v] = inputs.map(release);
            gradients.add(v, d.v);
            gradients.add(k, d.k);
            gradients.add(q, d.q);
            Ok(())
        })
    }
}

fn tensors_of(tables: &DistanceTables) -> impl Iterator<Item = &Tensor> {
    tables.keys.iter().chain(&tables.queries)
}

/// The bias of each distance and head, from the table of buckets.
fn distance_bias(bias: RelativeBias, table: &[f32], heads: usize, longest: usize) -> DistanceBias {
    let limit = bias.limit.min(longest as i32);
    let rows = (-limit..=limit).map(|distance| (bias.bucket)(distance) * heads);
    DistanceBias { limit, values: rows.flat_map(|row| &table[row..row + heads]).copied().collect() }
}
