//! The layer of BERT and its relatives: self-attention and a feed-forward part, each followed by residual sum and LayerNorm.

use candle_core::{Result, Tensor};

use super::declarations::{Declarations, Group};
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
        let attention_norm = declarations.norm(&name(names.attention_norm), hidden, epsilon, group);
        let up = declarations.linear(&name(names.up), intermediate, hidden, group);
        let down = declarations.linear(&name(names.down), hidden, intermediate, group);
        let norm = declarations.norm(&name(names.norm), hidden, epsilon, group);
        let attention = Attention { heads, dropout: Place::attention(number, number), bias: None, window: None };
        Self {
            query,
            key,
            value,
            output,
            attention_norm,
            up,
            down,
            norm,
            attention,
            activation,
            output_dropout: Some(Place::attention_output(number, number)),
            feed_forward_dropout: Some(Place::feed_forward_output(number, number)),
        }
    }

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
            Rows::Outputs => ops.output_rows(x)?,
        };
        let q = ops.linear(&asking, self.query)?;
        let context = ops.attention(&q, &k, &v, &self.attention)?;
        ops.add_norm(&context, self.output, self.output_dropout, &asking, self.attention_norm)
    }
}
