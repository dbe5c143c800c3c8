//! Modules on top of an encoder, in place of its own head.

use serde::{Deserialize, Serialize};

use super::LstmPooling;

/// What makes one vector of the encoder's outputs, before the classifier. It starts from random values if the checkpoint does not
/// hold it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Extra {
    /// The architecture's own head, or what `model.pooling` says.
    #[default]
    None,
    /// A bidirectional LSTM.
    Bilstm {
        /// Elements of the state of a direction.
        hidden: usize,
        layers: usize,
        pooling: LstmPooling,
    },
    /// Convolutions, each with its maximum over the text.
    Textcnn {
        /// Tokens of a window, of each convolution.
        kernels: Vec<usize>,
        /// Filters of each convolution.
        filters: usize,
    },
    /// The mean of all tokens, weighted by a learned score of each.
    Attention {
        /// Elements of the layer from which the score is computed.
        hidden: usize,
    },
}

/// Number of parameters of LSTM layers whose input has `width` elements.
pub(super) fn bilstm_parameters(width: usize, hidden: usize, layers: usize) -> usize {
    let direction = |width: usize| 4 * hidden * (width + hidden + 2);
    2 * (direction(width) + layers.saturating_sub(1) * direction(2 * hidden))
}

/// Number of parameters of convolutions over vectors of `width` elements.
pub(super) fn textcnn_parameters(width: usize, kernels: &[usize], filters: usize) -> usize {
    kernels.iter().map(|size| (size * width + 1) * filters).sum()
}

impl Extra {
    /// Number of parameters on an encoder of this hidden size.
    #[must_use]
    pub fn parameters(&self, width: usize) -> u64 {
        let count = match self {
            Self::None => 0,
            Self::Bilstm { hidden, layers, .. } => bilstm_parameters(width, *hidden, *layers),
            Self::Textcnn { kernels, filters } => textcnn_parameters(width, kernels, *filters),
            Self::Attention { hidden } => (width + 2) * hidden,
        };
        count as u64
    }

    /// Elements that a training step keeps of each token, roughly.
    #[must_use]
    pub fn activations(&self) -> usize {
        match self {
            Self::None => 0,
            // Gates, cell states and outputs of both directions.
            Self::Bilstm { hidden, layers, .. } => 14 * hidden * layers,
            Self::Textcnn { filters, .. } => 2 * filters,
            Self::Attention { hidden } => 2 * hidden,
        }
    }
}
