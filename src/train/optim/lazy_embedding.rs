//! AdamW for the token embeddings, row by row. Steps on a row that a batch does not read are applied when it is next read.
//!
//! The result equals dense AdamW bit for bit: the outstanding steps are applied with a zero gradient by the same function.

use std::sync::Arc;

use rayon::prelude::*;

use plateau_kernels::adamw::{Elements, Factors};
use plateau_kernels::vector::add;

use super::update::in_place;
use crate::train::model::Parameter;
use crate::train::model::gradient_buffer::TokenGradients;

/// Moments of the token embeddings, and the number of steps applied to each row.
#[derive(Debug, Clone)]
pub struct LazyEmbedding {
    width: usize,
    first: Vec<f32>,
    second: Vec<f32>,
    /// Number of steps applied to each row.
    row_steps: Vec<u32>,
    /// Factors of every step so far.
    history: Vec<Factors>,
}

/// The gradients of the rows that a batch read.
#[derive(Debug, Clone, Default)]
pub struct RowGradients {
    /// Token ids, sorted and without duplicates.
    pub ids: Vec<u32>,
    /// `[ids, width]`.
    pub values: Vec<f32>,
}

impl RowGradients {
    /// Sums the gradients of each row over its occurrences, in the order of micro-batches and tokens.
    pub fn sum(parts: &[TokenGradients], width: usize) -> Self {
        let mut places: Vec<(u32, u32, u32)> = Vec::new();
        for (part, gradient) in parts.iter().enumerate() {
            places.extend(gradient.batch.ids.iter().zip(0..).map(|(&id, token)| (id, part as u32, token)));
        }
        places.sort_unstable();
        let groups: Vec<_> = places.chunk_by(|a, b| a.0 == b.0).collect();
        let mut values = vec![0.0; groups.len() * width];
        values.par_chunks_exact_mut(width).zip(&groups).with_min_len(64).for_each(|(sum, group)| {
            for &(_, part, token) in *group {
                add(sum, &parts[part as usize].values[token as usize * width..][..width]);
            }
        });
        Self { ids: groups.iter().map(|group| group[0].0).collect(), values }
    }
}

/// One row with its moments.
struct Row<'a> {
    elements: Elements<'a>,
    steps: &'a mut u32,
}

impl Row<'_> {
    /// Applies the outstanding steps with a zero gradient.
    fn catch_up(&mut self, history: &[Factors]) {
        let outstanding = &history[*self.steps as usize..];
        *self.steps = history.len() as u32;
        self.elements.catch_up(outstanding);
    }
}

impl LazyEmbedding {
    pub fn new(table: &Parameter) -> Self {
        let n = table.value.elem_count();
        let rows = table.value.dims().first().copied().unwrap_or(1);
        Self::from_saved(n / rows, vec![0.0; n], vec![0.0; n], vec![0; rows])
    }

    /// From a training state. [`Self::set_history`] must follow before any other use.
    pub fn from_saved(width: usize, first: Vec<f32>, second: Vec<f32>, row_steps: Vec<u32>) -> Self {
        Self { width, first, second, row_steps, history: Vec::new() }
    }

    pub fn first_moment(&self) -> &[f32] {
        &self.first
    }

    pub fn second_moment(&self) -> &[f32] {
        &self.second
    }

    pub fn row_steps(&self) -> &[u32] {
        &self.row_steps
    }

    /// Sets the factors of all steps so far.
    pub(super) fn set_history(&mut self, history: impl Iterator<Item = Factors>) {
        self.history = history.collect();
    }

    /// Applies the outstanding steps to the rows `ids`, which are sorted and without duplicates.
    pub(super) fn catch_up(&mut self, table: &Parameter, ids: &[u32]) -> candle_core::Result<()> {
        let steps = self.history.len() as u32;
        let behind: Vec<u32> = ids.iter().copied().filter(|&id| self.row_steps[id as usize] < steps).collect();
        if behind.is_empty() {
            return Ok(());
        }
        let history = Arc::new(std::mem::take(&mut self.history));
        in_place(&table.value, |values| {
            self.rows(values, &behind).into_par_iter().with_min_len(16).for_each(|mut row| row.catch_up(&history));
        })?;
        self.history = Arc::unwrap_or_clone(history);
        Ok(())
    }

    /// One step on the rows that the batch read. All other rows are left for later.
    pub(super) fn step(
        &mut self,
        table: &Parameter,
        factors: Factors,
        clip: f32,
        gradients: &RowGradients,
    ) -> candle_core::Result<()> {
        self.catch_up(table, &gradients.ids)?;
        self.history.push(factors);
        let (steps, width) = (self.history.len() as u32, self.width);
        in_place(&table.value, |values| {
            let rows = self.rows(values, &gradients.ids).into_par_iter();
            rows.zip(gradients.values.par_chunks_exact(width)).with_min_len(64).for_each(|(mut row, gradient)| {
                *row.steps = steps;
                row.elements.step(&factors, gradient, clip);
            });
        })
    }

    /// The rows `ids`, which are sorted and without duplicates.
    fn rows<'a>(&'a mut self, values: &'a mut [f32], ids: &[u32]) -> Vec<Row<'a>> {
        let width = self.width;
        let moments = self.first.chunks_exact_mut(width).zip(self.second.chunks_exact_mut(width));
        let all = values.chunks_exact_mut(width).zip(moments).zip(&mut self.row_steps);
        let mut wanted = ids.iter().copied().peekable();
        let mut rows = Vec::with_capacity(ids.len());
        for (id, ((value, (first, second)), steps)) in (0u32..).zip(all) {
            if wanted.next_if_eq(&id).is_some() {
                rows.push(Row { elements: Elements { value, first, second }, steps });
            }
        }
        rows
    }
}
