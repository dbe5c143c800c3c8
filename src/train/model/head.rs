//! The classification head: from the output of the last layer to the logits.

use candle_core::{Result, Tensor};

use super::declarations::{Declarations, Group};
use super::encoder::Shape;
use super::operations::{Linear, Operations, Place, Rows};
use crate::trial::Pooling;
use plateau_kernels::activation::Activation;

/// A head with the indices of its parameters.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    pub pooling: Pooling,
    dense: Option<Dense>,
    classifier: Linear,
}

/// The dense layer of the architecture's own head.
#[derive(Debug, Clone, Copy)]
struct Dense {
    layer: Linear,
    activation: Activation,
    input_dropout: bool,
}

impl Head {
    /// Declares the parameters of a head for `classes` classes. [`Pooling::Pooler`] gives the architecture's own head, the
    /// others a linear classifier.
    pub fn declare(declarations: &mut Declarations, shape: &Shape, pooling: Pooling, classes: usize) -> Self {
        let (layout, width, group) = (shape.head, shape.hidden, Group::Head);
        let dense = (pooling == Pooling::Pooler).then(|| Dense {
            layer: declarations.linear(layout.dense, width, width, group),
            activation: layout.activation,
            input_dropout: layout.input_dropout,
        });
        let name = if dense.is_some() { layout.classifier } else { "classifier" };
        Self { pooling, dense, classifier: declarations.linear(name, classes, width, group) }
    }

    /// The rows of each sequence that the head reads.
    pub fn rows(&self) -> Rows {
        if self.pooling == Pooling::Mean { Rows::All } else { Rows::First }
    }

    /// The logits `[sequences, classes]`. `hidden` is the last layer's output for [`Self::rows`].
    pub fn forward(&self, ops: &mut dyn Operations, hidden: &Tensor) -> Result<Tensor> {
        let mut x = match self.rows() {
            Rows::All => ops.mean_rows(hidden)?,
            Rows::First => hidden.clone(),
        };
        if let Some(Dense { layer, activation, input_dropout }) = self.dense {
            if input_dropout {
                x = ops.dropout(&x, Place::HEAD_INPUT)?;
            }
            x = ops.dense(&x, layer, activation)?;
        }
        let x = ops.mix(&x)?;
        let x = ops.dropout(&x, Place::CLASSIFIER)?;
        ops.linear(&x, self.classifier)
    }
}
