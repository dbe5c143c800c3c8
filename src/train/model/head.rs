//! The head: from the output of the last layer to the outputs of the network.

use candle_core::{Result, Tensor};

use super::declarations::{Declarations, Group, Initial};
use super::encoder::{MaskedHead, Pool, Shape};
use super::extra::Extra;
use super::operations::{DropoutKind, Linear, Norm, Operations, Place, Rows};
use crate::trial::{self, Pooling, TaskName};
use plateau_kernels::activation::Activation;

/// What a head gives out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// This many numbers for each sequence.
    Sequences(usize),
    /// One number for each sequence, a choice.
    Choices,
    /// This many numbers for each word, at its first token.
    Words(usize),
    /// A number for each token of the vocabulary, at each masked token.
    Vocabulary,
}

impl Outputs {
    /// Those of a task with `count` numbers for each target.
    #[must_use]
    pub fn of(task: TaskName, count: usize) -> Self {
        match task {
            TaskName::Tokens => Self::Words(count),
            TaskName::MaskedLm => Self::Vocabulary,
            TaskName::MultipleChoice => Self::Choices,
            _ => Self::Sequences(count),
        }
    }
}

impl From<usize> for Outputs {
    fn from(count: usize) -> Self {
        Self::Sequences(count)
    }
}

/// The head that a network is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedHead {
    pub outputs: Outputs,
    /// Whether its classifier starts from new values, also where the checkpoint has one of this shape.
    pub is_new: bool,
}

impl<T: Into<Outputs>> From<T> for WantedHead {
    fn from(outputs: T) -> Self {
        Self { outputs: outputs.into(), is_new: false }
    }
}

/// A head with the indices of its parameters.
#[derive(Debug, Clone)]
pub struct Head {
    pub pooling: Pooling,
    pool: Pool,
    /// In place of `pool` and `dense`.
    extra: Option<Extra>,
    dense: Option<Dense>,
    final_norm: Option<Norm>,
    /// Dropout of the classifier's input.
    dropout: Option<Place>,
    classifier: Linear,
    /// Whether the classifier's weight is the table of token embeddings.
    pub is_tied: bool,
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
    /// Declares the parameters of a head. [`Pooling::Pooler`] gives the architecture's own head, the others a linear layer. `extra`
    /// takes the place of all of them.
    pub fn declare(
        declarations: &mut Declarations,
        shape: &Shape,
        pooling: Pooling,
        extra: &trial::Extra,
        outputs: Outputs,
    ) -> Self {
        let layout = if outputs == Outputs::Choices { shape.head.for_choices() } else { shape.head };
        let (width, group) = (shape.hidden, Group::Head);
        let count = match outputs {
            Outputs::Sequences(count) | Outputs::Words(count) => count,
            Outputs::Choices => 1,
            Outputs::Vocabulary => return Self::masked(declarations, shape),
        };
        let extra = Extra::declare(declarations, extra, width);
        let of_words = if let Outputs::Words(_) = outputs { layout.words } else { None };
        let has_dense = of_words.map_or(pooling == Pooling::Pooler && extra.is_none(), |words| words.has_dense);
        let dense = layout.dense.filter(|_| has_dense).map(|name| {
            let outputs = layout.dense_width.unwrap_or(width);
            Dense {
                layer: declarations.linear_with(layout.dense_bias, name, outputs, width, group),
                activation: layout.activation,
                input_dropout: layout.input_dropout,
                norm: layout.norm.map(|norm| declarations.norm_with(norm.bias, norm.name, width, norm.epsilon, group)),
            }
        });
        let name = if dense.is_some() && of_words.is_none() { layout.classifier } else { "classifier" };
        let width = match &extra {
            Some(extra) => extra.outputs(width),
            None => dense.map_or(width, |dense| dense.layer.outputs),
        };
        let classifier = declarations.linear(name, count, width, group);
        let pool = match (outputs, pooling) {
            (Outputs::Words(_), _) => Pool::Each,
            (_, Pooling::Cls) => Pool::First,
            (_, Pooling::Mean) => Pool::Mean,
            (_, Pooling::Pooler) => layout.pool,
        };
        let probability = of_words.map_or(DropoutKind::Classifier, |words| words.dropout);
        let dropout = Some(Place { probability, ..Place::CLASSIFIER });
        let final_norm = layout.final_norm;
        Self { pooling, pool, extra, dense, final_norm, dropout, classifier, is_tied: false }
    }

    /// Declares the parameters of a head for masked tokens.
    fn masked(declarations: &mut Declarations, shape: &Shape) -> Self {
        let (width, hidden, group) = (shape.embeddings.width, shape.hidden, Group::Head);
        let dense = shape.head.masked.map(|MaskedHead { dense, dense_bias, activation, norm, .. }| Dense {
            layer: declarations.linear_with(dense_bias, dense, width, hidden, group),
            activation,
            input_dropout: false,
            norm: Some(declarations.norm_with(norm.bias, norm.name, width, norm.epsilon, group)),
        });
        let bias = shape.head.masked.and_then(|masked| masked.bias);
        let bias =
            bias.map(|name| declarations.add(name.to_owned(), &[shape.vocabulary], Initial::Constant(0.0), group));
        let weight = shape.embeddings.tokens;
        let classifier = Linear { weight, bias, first: 0, outputs: shape.vocabulary, low_rank: None };
        Self {
            pooling: Pooling::Pooler,
            pool: Pool::Each,
            extra: None,
            dense,
            final_norm: shape.head.final_norm,
            dropout: None,
            classifier,
            is_tied: true,
        }
    }

    /// Numbers for each target.
    pub fn outputs(&self) -> usize {
        self.classifier.outputs
    }

    /// The indices of the classifier's weight and bias.
    pub fn classifier_parameters(&self) -> (usize, Option<usize>) {
        (self.classifier.weight, self.classifier.bias)
    }

    /// The rows of each sequence that the head reads.
    pub fn rows(&self) -> Rows {
        let reads_outputs = matches!(self.pool, Pool::First | Pool::Each) && self.extra.is_none();
        if reads_outputs { Rows::Outputs } else { Rows::All }
    }

    /// Whether the first token of each sequence is global in architectures that have global tokens: with the architecture's own
    /// head for sequences, as in transformers.
    pub fn has_global_token(&self) -> bool {
        self.pooling == Pooling::Pooler && self.pool != Pool::Each
    }

    /// The encoder's output from that of the last layer.
    pub fn normalise(&self, ops: &mut dyn Operations, hidden: &Tensor) -> Result<Tensor> {
        match self.final_norm {
            Some(norm) => ops.layer_norm(hidden, norm),
            None => Ok(hidden.clone()),
        }
    }

    /// The outputs, a row for each target. `hidden` is the last layer's output for [`Self::rows`].
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
        let x = match self.dropout {
            Some(place) => ops.dropout(&x, place)?,
            None => x,
        };
        ops.linear(&x, self.classifier)
    }
}
