//! One micro-batch with everything that its forward and backward pass need.

use std::sync::Arc;

use super::gradient_buffer::GradientBuffer;
use super::network::Network;
use super::operations::{DropoutKind, Place, PlaceDepth};
use crate::train::batch::{MicroBatch, Mix};
use plateau_kernels::dropout::Dropout;
use plateau_random::Random;

/// A pass of one micro-batch through the network.
#[derive(Debug, Clone)]
pub struct Pass {
    pub model: Arc<Network>,
    pub batch: Arc<MicroBatch>,
    /// None in evaluation: there is no dropout and no backward pass.
    pub training: Option<Training>,
}

/// What a training pass needs beside the micro-batch.
#[derive(Debug, Clone)]
pub struct Training {
    /// Random numbers of this seed and step, for dropout masks.
    pub random: Random,
    pub gradients: Arc<GradientBuffer>,
    /// Weight of each sequence's loss in the loss of the step: 1 / sequences of the batch.
    pub weight: f64,
    pub smoothing: f64,
}

impl Pass {
    /// How pooled outputs are mixed. None in evaluation.
    pub(super) fn mix(&self) -> Option<&Mix> {
        self.batch.mix.as_ref().filter(|_| self.training.is_some())
    }

    /// The dropout at a place. None in evaluation, in the frozen part and for a probability of zero.
    pub(super) fn dropout(&self, place: Place) -> Option<Dropout> {
        let rates = self.model.dropout;
        let probability = match place.probability {
            DropoutKind::Hidden => rates.hidden,
            DropoutKind::Attention => rates.attention,
            DropoutKind::Classifier => rates.classifier,
        };
        let is_frozen = match place.depth {
            PlaceDepth::Embeddings => self.model.freeze > 0,
            PlaceDepth::Layer(number) => number < self.model.freeze,
            PlaceDepth::Head => false,
        };
        let random = self.training.as_ref().filter(|_| !is_frozen)?.random.at(place.number);
        Dropout::new(
            probability,
            self.batch.places.iter().map(|&place| {
                let [a, b, ..] = random.at(u64::from(place)).words(0);
                [a, b]
            }),
        )
    }

    /// The positions of the rows of a matrix with `rows` rows: of all tokens, or of the first token of each sequence.
    pub(super) fn row_positions(&self, rows: usize) -> Vec<u32> {
        let batch = &self.batch;
        if rows == batch.tokens() {
            batch.positions.clone()
        } else {
            batch.offsets[..batch.sequences()].iter().map(|&first| batch.positions[first as usize]).collect()
        }
    }

    /// The largest position plus one.
    pub(super) fn longest(&self) -> usize {
        self.batch.positions.iter().max().map_or(0, |last| *last as usize + 1)
    }

    /// The offsets of the sequences in a matrix with `rows` rows: all tokens, or one row for each sequence.
    pub(super) fn offsets(&self, rows: usize) -> Vec<u32> {
        if rows == self.batch.tokens() {
            self.batch.offsets.clone()
        } else {
            (0..=self.batch.sequences() as u32).collect()
        }
    }
}
