//! The optimizer: moments of all parameters, and one step on each of them.

use rayon::prelude::*;

use super::device_step::DeviceGroup;
use super::lazy_embedding::{LazyEmbedding, RowGradients};
use super::update::{Gradient, Moments, Settings, update};
use crate::train::TrainError;
use crate::train::model::{Backend, Network, Parameter};

/// The optimizer and its state.
#[derive(Debug)]
pub struct AdamW {
    settings: Settings,
    /// The learning rate of every step so far. Outstanding steps on token embeddings need them.
    rates: Vec<f64>,
    /// None for a frozen parameter and for the token embeddings if they are lazy.
    moments: Vec<Option<Moments>>,
    /// The parameters on a device, once a step was taken. Their moments are parts of the groups' joined ones.
    groups: Option<Vec<DeviceGroup>>,
    /// The token embeddings if batches give gradients to some of their rows ([`Network::sparse_embeddings`]).
    embedding: Option<LazyEmbedding>,
}

impl AdamW {
    pub fn new(settings: Settings, model: &Network) -> Result<Self, TrainError> {
        let lazy = |i: usize| model.sparse_embeddings() == Some(i);
        let moments = model.parameters.iter().enumerate().map(|(i, parameter)| {
            let n = parameter.value.elem_count();
            Ok(if !parameter.trainable || lazy(i) {
                None
            } else if model.backend == Backend::Candle {
                let zeros = parameter.value.zeros_like()?;
                Some(Moments::Device(zeros.clone(), zeros))
            } else {
                Some(Moments::Host(vec![0.0; n], vec![0.0; n]))
            })
        });
        let embedding = model.sparse_embeddings().map(|_| LazyEmbedding::new(model.token_embeddings()));
        Ok(Self {
            settings,
            rates: Vec::new(),
            moments: moments.collect::<Result<_, TrainError>>()?,
            groups: None,
            embedding,
        })
    }

    /// Number of steps taken.
    pub fn steps(&self) -> u64 {
        self.rates.len() as u64
    }

    pub fn rates(&self) -> &[f64] {
        &self.rates
    }

    pub fn moments(&self) -> &[Option<Moments>] {
        &self.moments
    }

    pub fn lazy_embedding(&self) -> Option<&LazyEmbedding> {
        self.embedding.as_ref()
    }

    /// Restores the optimizer from a training state.
    pub fn restore(
        &mut self,
        model: &Network,
        rates: Vec<f64>,
        moments: Vec<Option<Moments>>,
        embedding: Option<LazyEmbedding>,
    ) {
        let table = model.token_embeddings();
        self.embedding = embedding.map(|mut embedding| {
            embedding.set_history(rates.iter().zip(1..).map(|(&lr, step)| self.settings.factors(step, lr, table)));
            embedding
        });
        self.moments = moments;
        self.groups = None;
        self.rates = rates;
    }

    /// Applies the outstanding steps to the token embeddings `ids` (sorted, without duplicates). After that they may be read.
    pub fn catch_up(&mut self, model: &Network, ids: &[u32]) -> Result<(), TrainError> {
        match &mut self.embedding {
            Some(embedding) => Ok(embedding.catch_up(model.token_embeddings(), ids)?),
            None => Ok(()),
        }
    }

    /// Applies the outstanding steps to all token embeddings.
    pub fn catch_up_all(&mut self, model: &Network) -> Result<(), TrainError> {
        let all: Vec<u32> = (0..model.shape().vocabulary as u32).collect();
        self.catch_up(model, &all)
    }

    /// One step with learning rate `lr`. `gradient(i)` is the gradient of parameter i, and `rows` are the gradients of the
    /// token embeddings that the batch read. All gradients are multiplied by `clip` first.
    pub fn step<'g>(
        &mut self,
        model: &Network,
        lr: f64,
        clip: f32,
        gradient: impl Fn(usize) -> Option<Gradient<'g>> + Sync,
        rows: &RowGradients,
    ) -> Result<(), TrainError> {
        self.rates.push(lr);
        let (step, settings) = (self.steps(), self.settings);
        if model.backend == Backend::Candle {
            let groups = match &mut self.groups {
                Some(groups) => groups,
                empty => empty.insert(DeviceGroup::all(settings, model, &self.moments)?),
            };
            for group in groups {
                let factors = |parameter: &Parameter| settings.factors(step, lr, parameter);
                group.step(&model.parameters, &mut self.moments, &gradient, clip, factors)?;
            }
            return Ok(());
        }
        let updates = self.moments.par_iter_mut().zip(&model.parameters).enumerate();
        updates.try_for_each(|(i, (moments, parameter))| {
            let (Some(moments), Some(gradient)) = (moments.as_mut(), gradient(i)) else { return Ok(()) };
            update(parameter, moments, &gradient, clip, settings.factors(step, lr, parameter))
        })?;
        if let Some(embedding) = &mut self.embedding {
            let table = model.token_embeddings();
            embedding.step(table, settings.factors(step, lr, table), clip, rows)?;
        }
        Ok(())
    }
}
