//! What an architecture must provide: its sizes, its parameters, and its forward pass layer by layer.

use std::fmt::Debug;

use candle_core::{Result, Tensor};

use super::config::DropoutRates;
use super::operations::{DropoutKind, Embeddings, Norm, Operations, Rows};
use crate::trial::LstmPooling;
use plateau_kernels::activation::Activation;

/// An architecture with the indices of its parameters.
///
/// To add one, write a file with a struct that implements this trait and a function that reads `config.json` and declares
/// the parameters, and add a line to `architectures.rs`.
pub trait Encoder: Debug + Send + Sync {
    fn shape(&self) -> &Shape;

    /// The input of the first layer, `[tokens, hidden]`.
    fn embed(&self, ops: &mut dyn Operations) -> Result<Tensor>;

    /// The output of layer `number` (from 0) for `rows` of each sequence. `x` is the layer's input for all tokens.
    fn layer(&self, number: usize, x: &Tensor, rows: Rows, ops: &mut dyn Operations) -> Result<Tensor>;

    /// Tokens that a token of layer `number` (from 0) sees at most. None: all.
    fn attention_span(&self, _number: usize) -> Option<usize> {
        None
    }

    /// Whether layer `number` (from 0) and the layer above it have parameters in common. `freeze` and `reinit` cannot
    /// separate such layers.
    fn shares_with_next(&self, _number: usize) -> bool {
        false
    }
}

/// The sizes and settings that do not depend on the task.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The first part of parameter names in checkpoint files, for example `bert`.
    pub prefix: &'static str,
    pub vocabulary: usize,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub intermediate: usize,
    /// Most tokens of a text.
    pub positions: usize,
    /// Number of token types. None: token types have no effect.
    pub types: Option<usize>,
    pub embeddings: Embeddings,
    /// Standard deviation of initial weights.
    pub initializer_range: f64,
    pub dropout: DropoutRates,
    pub head: HeadLayout,
}

/// The heads of the architecture in transformers: one vector for each sequence, dense layer and activation, then the
/// classifier; and a simpler one for words.
#[expect(clippy::struct_excessive_bools, reason = "independent properties of a head")]
#[derive(Debug, Clone, Copy)]
pub struct HeadLayout {
    /// How the rows of a sequence become one vector.
    pub pool: Pool,
    /// Name of the dense layer. None: the head has none.
    pub dense: Option<&'static str>,
    /// Elements of the dense layer's output. None: as many as of its input.
    pub dense_width: Option<usize>,
    pub activation: Activation,
    /// Whether there is dropout before the dense layer.
    pub input_dropout: bool,
    /// Name of the classifier.
    pub classifier: &'static str,
    /// Whether a checkpoint without the dense layer gets a classifier on the mean of all tokens instead.
    pub needs_checkpoint: bool,
    /// Whether the dense layer has a bias.
    pub dense_bias: bool,
    /// Whether the head belongs to the network, so that `model.pooling` cannot choose another.
    pub is_fixed: bool,
    /// LayerNorm after the activation.
    pub norm: Option<HeadNorm>,
    /// LayerNorm of the last layer's output, before any pooling.
    pub final_norm: Option<Norm>,
    /// The head for words. None: the network has no vector for each token.
    pub words: Option<WordHead>,
    /// The head for masked tokens. None: the network has none.
    pub masked: Option<MaskedHead>,
    /// The head for multiple choice.
    pub choices: ChoiceHead,
}

/// The head of transformers' model for multiple choice, which gives each sequence one score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChoiceHead {
    /// That for sequences.
    Same,
    /// A dense layer of this name with this activation on the first token, then `classifier`.
    Pooler(&'static str, Activation),
    /// It needs what is not built.
    None,
}

/// The head of transformers' model for masked language modelling: dense layer, activation and LayerNorm, then the product with the
/// token embeddings.
#[derive(Debug, Clone, Copy)]
pub struct MaskedHead {
    /// Name of the dense layer, from the hidden size to the width of the embeddings.
    pub dense: &'static str,
    pub dense_bias: bool,
    pub activation: Activation,
    pub norm: HeadNorm,
    /// Name of the bias of the scores. None: it is zero.
    pub bias: Option<&'static str>,
}

impl MaskedHead {
    /// With BERT's biases.
    pub fn new(names: [&'static str; 3], activation: Activation, epsilon: f64) -> Self {
        let [dense, norm, bias] = names;
        Self {
            dense,
            dense_bias: true,
            activation,
            norm: HeadNorm { name: norm, epsilon, bias: true },
            bias: Some(bias),
        }
    }

    /// That of `RoBERTa` and of others after it.
    pub fn of_roberta(epsilon: f64) -> Self {
        Self::new(["lm_head.dense", "lm_head.layer_norm", "lm_head.bias"], Activation::Gelu, epsilon)
    }
}

/// What the head of transformers' model for token classification has beside the classifier.
#[derive(Debug, Clone, Copy)]
pub struct WordHead {
    /// Whether it has the dense layer and the LayerNorm of the head for sequences.
    pub has_dense: bool,
    /// Which probability its dropout has.
    pub dropout: DropoutKind,
}

impl WordHead {
    /// A classifier alone.
    pub const PLAIN: Self = Self { has_dense: false, dropout: DropoutKind::Classifier };
}

/// How the rows of a sequence become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    First,
    Mean,
    Max,
    /// The last states of a bidirectional LSTM.
    LastStates,
    /// Not at all: each row is a vector.
    Each,
}

impl Pool {
    /// One vector for each output. The rows of `x` are those of the tokens with an output for [`Pool::First`] and [`Pool::Each`], else
    /// all tokens.
    pub fn forward(self, ops: &mut dyn Operations, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::First | Self::Each => Ok(x.clone()),
            Self::Mean => ops.mean_rows(x),
            Self::Max => ops.max_rows(x),
            Self::LastStates => ops.last_states(x),
        }
    }
}

impl From<LstmPooling> for Pool {
    fn from(pooling: LstmPooling) -> Self {
        match pooling {
            LstmPooling::Max => Self::Max,
            LstmPooling::Last => Self::LastStates,
        }
    }
}

/// A LayerNorm within a head.
#[derive(Debug, Clone, Copy)]
pub struct HeadNorm {
    pub name: &'static str,
    pub epsilon: f64,
    pub bias: bool,
}

impl HeadLayout {
    /// A dense layer on the first token, then the classifier.
    pub fn plain(dense: &'static str, activation: Activation) -> Self {
        Self {
            pool: Pool::First,
            dense: Some(dense),
            dense_width: None,
            activation,
            input_dropout: false,
            classifier: "classifier",
            needs_checkpoint: false,
            dense_bias: true,
            is_fixed: false,
            norm: None,
            final_norm: None,
            words: Some(WordHead::PLAIN),
            masked: None,
            choices: ChoiceHead::Same,
        }
    }

    /// That of a model for multiple choice.
    #[must_use]
    pub fn for_choices(self) -> Self {
        match self.choices {
            ChoiceHead::Pooler(dense, activation) => {
                Self { final_norm: self.final_norm, ..Self::plain(dense, activation) }
            }
            ChoiceHead::Same | ChoiceHead::None => self,
        }
    }

    /// The classifier on `pool`, with a dense layer of this name and width and ReLU between if it is given.
    pub fn of_network(pool: Pool, dense: Option<(&'static str, usize)>) -> Self {
        Self {
            pool,
            dense: dense.map(|(name, _)| name),
            dense_width: dense.map(|(_, width)| width),
            is_fixed: true,
            words: None,
            ..Self::plain("", Activation::Relu)
        }
    }

    /// The head of `RoBERTa` and of others after it.
    pub fn classification_head(activation: Activation) -> Self {
        Self {
            input_dropout: true,
            classifier: "classifier.out_proj",
            choices: ChoiceHead::Pooler("pooler.dense", Activation::Tanh),
            ..Self::plain("classifier.dense", activation)
        }
    }
}
