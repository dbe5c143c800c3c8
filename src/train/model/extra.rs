//! Modules between an encoder and the classifier. Each makes one vector of the encoder's outputs for all tokens of a sequence.

use candle_core::{Result, Tensor};

use super::declarations::{Declarations, Group};
use super::encoder::Pool;
use super::operations::{Convolution, Linear, Lstm, Operations};
use super::{bilstm, textcnn};
use crate::trial;
use plateau_kernels::activation::Activation;

/// A module with the indices of its parameters. Their names begin with `extra`.
#[derive(Debug, Clone)]
pub enum Extra {
    Bilstm { layers: Vec<Lstm>, pool: Pool },
    Textcnn { convolutions: Vec<Convolution> },
    Attention { dense: Linear, score: Linear },
}

impl Extra {
    /// Declares the parameters of a module on vectors of `width` elements. None if there is none.
    pub fn declare(declarations: &mut Declarations, extra: &trial::Extra, width: usize) -> Option<Self> {
        let group = Group::Head;
        match extra {
            trial::Extra::None => None,
            trial::Extra::Bilstm { hidden, layers, pooling } => Some(Self::Bilstm {
                layers: bilstm::declare(declarations, "extra.lstm", width, *hidden, *layers, |_| group),
                pool: (*pooling).into(),
            }),
            trial::Extra::Textcnn { kernels, filters } => Some(Self::Textcnn {
                convolutions: textcnn::declare(declarations, "extra.convolutions", width, *filters, kernels, group),
            }),
            trial::Extra::Attention { hidden } => Some(Self::Attention {
                dense: declarations.linear("extra.dense", *hidden, width, group),
                score: declarations.linear_with(false, "extra.score", 1, *hidden, group),
            }),
        }
    }

    /// Elements of the output for inputs of `width` elements.
    pub fn outputs(&self, width: usize) -> usize {
        match self {
            Self::Bilstm { layers, .. } => layers.last().map_or(width, |layer| 2 * layer.size),
            Self::Textcnn { convolutions } => convolutions.iter().map(|part| part.kernel.filters).sum(),
            Self::Attention { .. } => width,
        }
    }

    /// One vector for each sequence.
    pub fn forward(&self, ops: &mut dyn Operations, hidden: &Tensor) -> Result<Tensor> {
        match self {
            Self::Bilstm { layers, pool } => {
                let mut x = hidden.clone();
                for layer in layers {
                    x = ops.lstm(&x, layer)?;
                }
                pool.forward(ops, &x)
            }
            Self::Textcnn { convolutions } => ops.convolve(hidden, convolutions),
            Self::Attention { dense, score } => {
                let inner = ops.dense(hidden, *dense, Activation::Tanh)?;
                let scores = ops.linear(&inner, *score)?;
                ops.weighted_rows(hidden, &scores)
            }
        }
    }
}
