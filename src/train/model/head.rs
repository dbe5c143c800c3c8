//! The classification head: from the output of the last layer to the logits.

use candle_core::{Result, Tensor};

use super::declarations::{Declarations, Group};
use super::encoder::{Pool, Shape};
use super::extra::Extra;
use super::operations::{Linear, Norm, Operations, Place, Rows};
use crate::trial::{self, Pooling};
use plateau_kernels::activation::Activation;

/// A head with the indices of its parameters.
#[derive(Debug, Clone)]
pub struct Head {
    pub pooling: Pooling,
    pool: Pool,
    /// In place of `pool` and `dense`.
    extra: Option<Extra>,
    dense: Option<Dense>,
    final_norm: Option<Norm>,
    classifier: Linear,
}

/// The dense layer of the architecture's own head.
#[derive(Debug, Clone, Copy)]
struct Dense {
    layer: Linear,
    activation: Activation,
    input_dropout: bool,
    norm: Option<Norm>,
}

impl Head {
    /// Declares the parameters of a head with `outputs` outputs. [`Pooling::Pooler`] gives the architecture's own head, the
    /// others a linear layer. `extra` takes the place of all of them.
    pub fn declare(
        declarations: &mut Declarations,
        shape: &Shape,
        pooling: Pooling,
        extra: &trial::Extra,
        outputs: usize,
    ) -> Self {
        let (layout, width, group) = (shape.head, shape.hidden, Group::Head);
        let extra = Extra::declare(declarations, extra, width);
        let has_dense = pooling == Pooling::Pooler && extra.is_none();
        let dense = layout.dense.filter(|_| has_dense).map(|name| {
            let outputs = layout.dense_width.unwrap_or(width);
            Dense {
                layer: declarations.linear_with(layout.dense_bias, name, outputs, width, group),
                activation: layout.activation,
                input_dropout: layout.input_dropout,
                norm: layout.norm.map(|norm| declarations.norm_with(norm.bias, norm.name, width, norm.epsilon, group)),
            }
        });
        let name = if dense.is_some() { layout.classifier } else { "classifier" };
        let width = match &extra {
            Some(extra) => extra.outputs(width),
            None => dense.map_or(width, |dense| dense.layer.outputs),
        };
        let classifier = declarations.linear(name, outputs, width, group);
        let pool = match pooling {
            Pooling::Cls => Pool::First,
            Pooling::Mean => Pool::Mean,
            Pooling::Pooler => layout.pool,
        };
        Self { pooling, pool, extra, dense, final_norm: layout.final_norm, classifier }
    }

    /// The rows of each sequence that the head reads.
    pub fn rows(&self) -> Rows {
        if self.pool == Pool::First && self.extra.is_none() { Rows::Outputs } else { Rows::All }
    }

    /// The encoder's output from that of the last layer.
    pub fn normalise(&self, ops: &mut dyn Operations, hidden: &Tensor) -> Result<Tensor> {
        match self.final_norm {
            Some(norm) => ops.layer_norm(hidden, norm),
            None => Ok(hidden.clone()),
        }
    }

    /// The outputs `[sequences, outputs]`. `hidden` is the last layer's output for [`Self::rows`].
    pub fn forward(&self, ops: &mut dyn Operations, hidden: &Tensor) -> Result<Tensor> {
        let hidden = self.normalise(ops, hidden)?;
        let mut x = match &self.extra {
            Some(extra) => extra.forward(ops, &hidden)?,
            None => self.pool.forward(ops, &hidden)?,
        };
        if let Some(Dense { layer, activation, input_dropout, norm, .. }) = self.dense {
            if input_dropout {
                x = ops.dropout(&x, Place::HEAD_INPUT)?;
            }
            x = ops.dense(&x, layer, activation)?;
            if let Some(norm) = norm {
                x = ops.layer_norm(&x, norm)?;
            }
        }
        let x = ops.mix(&x)?;
        let x = ops.dropout(&x, Place::CLASSIFIER)?;
        ops.linear(&x, self.classifier)
    }
}
