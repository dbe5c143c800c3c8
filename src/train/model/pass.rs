//! One micro-batch on its way through the model: what a pass is given, its dropout masks, and the rows that it computes.

use std::sync::Arc;

use super::bert::{Bert, Rows};
use super::gradient_buffer::GradientBuffer;
use crate::train::batch::{MicroBatch, Mix};
use plateau_kernels::dropout::Dropout;
use plateau_random::Random;

/// What a training pass needs beside the micro-batch.
#[derive(Debug, Clone)]
pub struct Training {
    /// Of this seed and step, for dropout masks.
    pub random: Random,
    /// Where gradients go.
    pub gradients: Arc<GradientBuffer>,
    /// What each sequence's loss counts in the loss of the step: 1 / sequences of the batch.
    pub weight: f64,
    pub smoothing: f64,
}

/// A place in the model that has dropout.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Embeddings,
    Attention(usize),
    AttentionOutput(usize),
    Output(usize),
    Classifier,
}

impl Place {
    fn number(self) -> u64 {
        match self {
            Self::Embeddings => 0,
            Self::Classifier => 1,
            Self::Attention(layer) => 4 * layer as u64 + 4,
            Self::AttentionOutput(layer) => 4 * layer as u64 + 5,
            Self::Output(layer) => 4 * layer as u64 + 6,
        }
    }
}

/// One micro-batch on its way through the model.
#[derive(Debug, Clone)]
pub struct Pass {
    pub model: Arc<Bert>,
    pub batch: Arc<MicroBatch>,
    /// None: evaluation, without dropout, and nothing is kept for a backward.
    pub training: Option<Training>,
}

impl Pass {
    /// How pooled outputs are mixed; in training alone.
    pub(super) fn mix(&self) -> Option<&Mix> {
        self.batch.mix.as_ref().filter(|_| self.training.is_some())
    }

    pub(super) fn dropout(&self, place: Place) -> Option<Dropout> {
        let rates = self.model.rates;
        let (rate, layer) = match place {
            Place::Embeddings => (rates.hidden, 0),
            Place::Attention(layer) => (rates.attention, layer + 1),
            Place::AttentionOutput(layer) | Place::Output(layer) => (rates.hidden, layer + 1),
            Place::Classifier => (rates.classifier, usize::MAX),
        };
        let frozen = self.model.freeze > 0 && layer <= self.model.freeze;
        let random = self.training.as_ref().filter(|_| !frozen)?.random.at(place.number());
        Dropout::new(
            rate,
            self.batch.places.iter().map(|&place| {
                let [a, b, ..] = random.at(u64::from(place)).words(0);
                [a, b]
            }),
        )
    }

    /// Offsets of the rows that layer `layer` gives out.
    pub(super) fn offsets(&self, rows: Rows) -> Vec<u32> {
        match rows {
            Rows::All => self.batch.offsets.clone(),
            Rows::First => (0..=self.batch.sequences() as u32).collect(),
        }
    }
}
