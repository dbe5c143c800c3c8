//! The layer of BERT and its relatives: self-attention and a feed-forward part, each followed by residual sum and LayerNorm.

use candle_core::{Result, Tensor};

use super::operations::{Attention, Linear, Norm, Operations, Place, Rows};
use plateau_kernels::activation::Activation;

/// The parameters and settings of a layer.
#[derive(Debug, Clone, Copy)]
pub struct TransformerLayer {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub output: Linear,
    pub attention_norm: Norm,
    pub up: Linear,
    pub down: Linear,
    pub norm: Norm,
    pub attention: Attention,
    pub activation: Activation,
    /// Dropout after the output projection.
    pub output_dropout: Option<Place>,
    /// Dropout after the feed-forward part.
    pub feed_forward_dropout: Option<Place>,
}

impl TransformerLayer {
    /// The layer's output for `rows` of each sequence.
    pub fn forward(&self, ops: &mut dyn Operations, x: &Tensor, rows: Rows) -> Result<Tensor> {
        let x = self.self_attention(ops, x, rows)?;
        let inner = ops.dense(&x, self.up, self.activation)?;
        ops.add_norm(&inner, self.down, self.feed_forward_dropout, &x, self.norm)
    }

    fn self_attention(&self, ops: &mut dyn Operations, x: &Tensor, rows: Rows) -> Result<Tensor> {
        // The order determines in which order gradients are added, and so the bits of the result.
        let v = ops.linear(x, self.value)?;
        let k = ops.linear(x, self.key)?;
        let asking = match rows {
            Rows::All => x.clone(),
            Rows::First => ops.first_rows(x)?,
        };
        let q = ops.linear(&asking, self.query)?;
        let context = ops.attention(&q, &k, &v, &self.attention)?;
        ops.add_norm(&context, self.output, self.output_dropout, &asking, self.attention_norm)
    }
}
