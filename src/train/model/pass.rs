//! One micro-batch with everything that its forward and backward pass need.

use std::sync::Arc;

use super::gradient_buffer::GradientBuffer;
use super::network::Network;
use super::operations::{DropoutKind, Place, PlaceDepth, Rows};
use super::packed_weights::PackedWeights;
use crate::train::batch::{MicroBatch, Mix};
use crate::train::tasks::Task;
use plateau_kernels::dropout::Dropout;
use plateau_random::Random;

/// A pass of one micro-batch through the network.
#[derive(Debug, Clone)]
pub struct Pass {
    pub model: Arc<Network>,
    pub batch: Arc<MicroBatch>,
    /// None in evaluation: there is no dropout and no backward pass.
    pub training: Option<Training>,
    pub packed: Arc<PackedWeights>,
}

/// What a training pass needs beside the micro-batch.
#[derive(Debug, Clone)]
pub struct Training {
    /// Random numbers of this seed and step, for dropout masks.
    pub random: Random,
    pub gradients: Arc<GradientBuffer>,
    /// What divides the sum of the weighted losses: 1 / sum of the weights of the batch.
    pub scale: f64,
    pub task: Arc<dyn Task>,
}

impl Pass {
    /// The micro-batch's part of the loss of a training step, and its gradient with respect to the outputs of the network.
    pub(super) fn loss(&self, training: &Training, outputs: &[f64]) -> (f64, Vec<f32>) {
        let Training { scale, task, .. } = training;
        let width = task.outputs();
        let (mut total, mut gradient) = (0.0, vec![0.0; outputs.len()]);
        for (index, (row, sums)) in outputs.chunks_exact(width).zip(gradient.chunks_exact_mut(width)).enumerate() {
            for (target, share) in self.batch.shared_targets(index) {
                let (loss, parts) = task.gradient(row, target);
                total += share * loss;
                sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += (scale * share * part) as f32);
            }
        }
        (scale * total, gradient)
    }

    /// How pooled outputs are mixed. None in evaluation.
    pub(super) fn mix(&self) -> Option<&Mix> {
        self.batch.mix.as_ref().filter(|_| self.training.is_some())
    }

    /// The dropout at a place. None in evaluation, in the frozen part and for a probability of zero.
    pub(super) fn dropout(&self, place: Place) -> Option<Dropout> {
        let (probability, random) = self.dropout_at(place)?;
        Dropout::new(
            probability,
            self.batch.places.iter().map(|&place| {
                let [a, b, ..] = random.at(u64::from(place)).words(0);
                [a, b]
            }),
        )
    }

    /// The probability and the random numbers of a place with dropout.
    fn dropout_at(&self, place: Place) -> Option<(f64, Random)> {
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
        Some((probability, self.training.as_ref().filter(|_| !is_frozen)?.random.at(place.number)))
    }

    /// The same for rows that all sequences of the batch share; the only mask is that of all of them.
    pub(super) fn shared_dropout(&self, place: Place) -> Option<Dropout> {
        let (probability, random) = self.dropout_at(place)?;
        let [a, b, ..] = random.words(0);
        Dropout::new(probability, std::iter::once([a, b]))
    }

    /// The `size` tokens around each of these rows. None: it is beyond an end of the sequence.
    pub(super) fn windows(&self, size: usize, rows: Rows) -> Vec<Option<u32>> {
        let batch = &self.batch;
        let all: Vec<u32>;
        let rows = match rows {
            Rows::All => {
                all = (0..batch.tokens() as u32).collect();
                &all
            }
            Rows::Outputs => batch.rows(),
        };
        let mut places = Vec::with_capacity(rows.len() * size);
        for &row in rows {
            let sequence = batch.offsets.partition_point(|&offset| offset <= row);
            let (start, end) = (i64::from(batch.offsets[sequence - 1]), i64::from(batch.offsets[sequence]));
            let first = i64::from(row) - (size / 2) as i64;
            places.extend((first..first + size as i64).map(|at| (start..end).contains(&at).then_some(at as u32)));
        }
        places
    }

    /// The positions of the rows of a matrix with `rows` rows: of all tokens, or of those with an output.
    pub(super) fn row_positions(&self, rows: usize) -> Vec<u32> {
        let batch = &self.batch;
        if rows == batch.tokens() {
            batch.positions.clone()
        } else {
            batch.rows().iter().map(|&row| batch.positions[row as usize]).collect()
        }
    }

    /// The largest position plus one.
    pub(super) fn longest(&self) -> usize {
        self.batch.positions.iter().max().map_or(0, |last| *last as usize + 1)
    }

    /// The offsets of the sequences in a matrix with `rows` rows: all tokens, or those with an output.
    pub(super) fn offsets(&self, rows: usize) -> Vec<u32> {
        if rows == self.batch.tokens() { self.batch.offsets.clone() } else { self.batch.row_offsets() }
    }
}
