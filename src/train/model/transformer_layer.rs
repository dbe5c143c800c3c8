//! The layer of BERT and its relatives: self-attention and a feed-forward part, each followed by residual sum and LayerNorm.

use candle_core::{Result, Tensor};

use super::adapter::PartEnd;
use super::declarations::{Declarations, Group};
use super::operations::{Attention, DistanceTables, Linear, Operations, Place, Rows};
use crate::trial::AdapterPlace;
use plateau_kernels::activation::Activation;

/// The parameters and settings of a layer.
#[derive(Debug, Clone, Copy)]
pub struct TransformerLayer {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub attention: Attention,
    pub attention_end: PartEnd,
    pub up: Linear,
    pub activation: Activation,
    pub end: PartEnd,
}

/// The names of a layer's parameters in the checkpoint, below the stem of the layer and without `.weight` and `.bias`.
pub struct LayerNames {
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub output: &'static str,
    pub attention_norm: &'static str,
    pub up: &'static str,
    pub down: &'static str,
    pub norm: &'static str,
}

/// The sizes and settings that all layers of an encoder share.
#[derive(Debug, Clone, Copy)]
pub struct LayerSizes {
    pub hidden: usize,
    pub intermediate: usize,
    pub heads: usize,
    pub epsilon: f64,
    pub activation: Activation,
}

impl TransformerLayer {
    /// Declares the parameters of layer `number` (from 0), whose names begin with `stem`. It has BERT's dropout places.
    pub fn declare(
        declarations: &mut Declarations,
        stem: &str,
        names: &LayerNames,
        sizes: LayerSizes,
        number: usize,
    ) -> Self {
        let LayerSizes { hidden, intermediate, heads, epsilon, activation } = sizes;
        let group = Group::Layer(number);
        let name = |part: &str| format!("{stem}.{part}");
        let mut projection = |part: &str| declarations.linear(&name(part), hidden, hidden, group);
        let query = projection(names.query);
        let key = projection(names.key);
        let value = projection(names.value);
        let output = projection(names.output);
        let attention_end = PartEnd {
            dense: output,
            adapter: declarations.adapter(AdapterPlace::Attention, &name(names.output), hidden, group),
            dropout: Some(Place::attention_output(number, number)),
            norm: declarations.norm(&name(names.attention_norm), hidden, epsilon, group),
        };
        let up = declarations.linear(&name(names.up), intermediate, hidden, group);
        let end = PartEnd {
            dense: declarations.linear(&name(names.down), hidden, intermediate, group),
            adapter: declarations.adapter(AdapterPlace::Mlp, &name(names.down), hidden, group),
            dropout: Some(Place::feed_forward_output(number, number)),
            norm: declarations.norm(&name(names.norm), hidden, epsilon, group),
        };
        let attention =
            Attention { heads, dropout: Place::attention(number, number), bias: None, window: None, sees_first: false };
        Self { query, key, value, attention, attention_end, up, activation, end }
    }

    /// The layer's output for `rows` of each sequence.
    pub fn forward(&self, ops: &mut dyn Operations, x: &Tensor, rows: Rows) -> Result<Tensor> {
        let (asking, context) = self.attend(ops, x, rows)?;
        self.finish(ops, &context, &asking)
    }

    /// The rows whose output is computed, and their context.
    pub fn attend(&self, ops: &mut dyn Operations, x: &Tensor, rows: Rows) -> Result<(Tensor, Tensor)> {
        self.attend_at_distances(ops, x, rows, None)
    }

    /// The same with scores that depend on the distance of two tokens, if there are `tables`.
    pub fn attend_at_distances(
        &self,
        ops: &mut dyn Operations,
        x: &Tensor,
        rows: Rows,
        tables: Option<&DistanceTables>,
    ) -> Result<(Tensor, Tensor)> {
        if rows == Rows::Outputs
            && tables.is_none()
            && let Some([first, context]) = ops.first_context(x, [self.query, self.key, self.value], &self.attention)?
        {
            return Ok((first, context));
        }
        // The order determines in which order gradients are added, and so the bits of the result.
        let v = ops.linear(x, self.value)?;
        let k = ops.linear(x, self.key)?;
        let asking = match rows {
            Rows::All => x.clone(),
            Rows::Outputs => ops.output_rows(x)?,
        };
        let q = ops.linear(&asking, self.query)?;
        let context = match tables {
            Some(tables) => ops.distance_attention(&q, &k, &v, &self.attention, tables)?,
            None => ops.attention(&q, &k, &v, &self.attention)?,
        };
        Ok((asking, context))
    }

    /// The rest of the layer for the rows `asking` with this context.
    pub fn finish(&self, ops: &mut dyn Operations, context: &Tensor, asking: &Tensor) -> Result<Tensor> {
        let x = self.attention_end.forward(ops, context, asking)?;
        let inner = ops.dense(&x, self.up, self.activation)?;
        self.end.forward(ops, &inner, &x)
    }
}
