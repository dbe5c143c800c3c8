//! The classification head: from the output of the last layer to the logits.

use candle_core::{Result, Tensor};

use super::declarations::{Declarations, Group};
use super::encoder::Shape;
use super::operations::{Linear, Norm, Operations, Place, Rows};
use crate::trial::Pooling;
use plateau_kernels::activation::Activation;

/// A head with the indices of its parameters.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    pub pooling: Pooling,
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
    mean: bool,
    norm: Option<Norm>,
}

impl Head {
    /// Declares the parameters of a head for `classes` classes. [`Pooling::Pooler`] gives the architecture's own head, the
    /// others a linear classifier.
    pub fn declare(declarations: &mut Declarations, shape: &Shape, pooling: Pooling, classes: usize) -> Self {
        let (layout, width, group) = (shape.head, shape.hidden, Group::Head);
        let dense = (pooling == Pooling::Pooler).then(|| Dense {
            layer: declarations.linear_with(layout.dense_bias, layout.dense, width, width, group),
            activation: layout.activation,
            input_dropout: layout.input_dropout,
            mean: layout.mean,
            norm: layout.norm.map(|norm| declarations.norm_with(norm.bias, norm.name, width, norm.epsilon, group)),
        });
        let name = if dense.is_some() { layout.classifier } else { "classifier" };
        let classifier = declarations.linear(name, classes, width, group);
        Self { pooling, dense, final_norm: layout.final_norm, classifier }
    }

    /// The rows of each sequence that the head reads.
    pub fn rows(&self) -> Rows {
        let is_mean = self.pooling == Pooling::Mean || self.dense.is_some_and(|dense| dense.mean);
        if is_mean { Rows::All } else { Rows::First }
    }

    /// The encoder's output from that of the last layer.
    pub fn normalise(&self, ops: &mut dyn Operations, hidden: &Tensor) -> Result<Tensor> {
        match self.final_norm {
            Some(norm) => ops.layer_norm(hidden, norm),
            None => Ok(hidden.clone()),
        }
    }

    /// The logits `[sequences, classes]`. `hidden` is the last layer's output for [`Self::rows`].
    pub fn forward(&self, ops: &mut dyn Operations, hidden: &Tensor) -> Result<Tensor> {
        let hidden = self.normalise(ops, hidden)?;
        let mut x = match self.rows() {
            Rows::All => ops.mean_rows(&hidden)?,
            Rows::First => hidden,
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
