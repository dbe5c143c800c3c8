//! Adapters within the layers of an encoder (Houlsby et al., "Parameter-efficient transfer learning for NLP", 2019).

use candle_core::{Result, Tensor};

use super::operations::{Linear, Norm, Operations, Place};
use crate::trial::AdapterActivation;
use plateau_kernels::activation::Activation;

/// A narrow layer with a residual sum: `h + up(activation(down(h)))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adapter {
    pub down: Linear,
    pub up: Linear,
    pub activation: Activation,
}

impl Adapter {
    /// The output for `h`, which comes from the last linear layer of a part.
    pub fn forward(&self, ops: &mut dyn Operations, h: &Tensor) -> Result<Tensor> {
        let inner = ops.dense(h, self.down, self.activation)?;
        let change = ops.linear(&inner, self.up)?;
        ops.add(h, &change)
    }
}

impl From<AdapterActivation> for Activation {
    fn from(activation: AdapterActivation) -> Self {
        match activation {
            AdapterActivation::Gelu => Self::Gelu,
            AdapterActivation::GeluNew => Self::GeluTanh,
            AdapterActivation::Relu => Self::Relu,
            AdapterActivation::Tanh => Self::Tanh,
        }
    }
}

/// The end of an attention or feed-forward part, with an adapter or without.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartEnd {
    pub dense: Linear,
    pub adapter: Option<Adapter>,
    pub dropout: Option<Place>,
    pub norm: Norm,
}

impl PartEnd {
    /// `LayerNorm(residual + adapter(dropout(dense(x))))`.
    pub fn forward(&self, ops: &mut dyn Operations, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let Some(Adapter { down, up, activation }) = self.adapter else {
            return ops.add_norm(x, self.dense, self.dropout, residual, self.norm);
        };
        let mut h = ops.linear(x, self.dense)?;
        if let Some(place) = self.dropout {
            h = ops.dropout(&h, place)?;
        }
        let inner = ops.dense(&h, down, activation)?;
        let sum = ops.add(residual, &h)?;
        ops.add_norm(&inner, up, None, &sum, self.norm)
    }
}
