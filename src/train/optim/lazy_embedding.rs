//! The word table under AdamW, row by row: a row is brought up to date when it is next read.
//!
//! Equal to dense AdamW bit for bit: the steps that a row missed are replayed with a zero gradient, by the same function.

use std::sync::Arc;

use rayon::prelude::*;

use super::{Factors, in_place};
use crate::train::kernels::{add, simd};
use crate::train::model::Parameter;
use crate::train::model::lane::WordGradient;

/// Moments of the word table, and how far each row has come.
#[derive(Debug, Clone)]
pub struct Words {
    width: usize,
    first: Vec<f32>,
    second: Vec<f32>,
    /// Steps applied to each row.
    seen: Vec<u32>,
    /// Factors of every step taken.
    history: Vec<Factors>,
}

/// Gradients of the rows that a batch read.
#[derive(Debug, Clone, Default)]
pub struct RowGradients {
    /// Sorted, each once.
    pub ids: Vec<u32>,
    /// `[ids, width]`.
    pub values: Vec<f32>,
}

impl RowGradients {
    /// Sums the gradients of each row over its occurrences, in the order of micro-batches and tokens.
    pub fn sum(parts: &[WordGradient], width: usize) -> Self {
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

/// One row on its way.
struct Row<'a> {
    value: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    seen: &'a mut u32,
}

impl Row<'_> {
    /// Replays the steps that the row missed.
    fn replay(&mut self, history: &[Factors]) {
        let missed = &history[*self.seen as usize..];
        *self.seen = history.len() as u32;
        let still = self.first.iter().chain(self.second.iter()).all(|&x| x == 0.0);
        simd(
            #[inline(always)]
            || {
                for factors in missed {
                    if still && factors.eps > 0.0 {
                        // Without moments the step is the decay alone.
                        self.value.iter_mut().for_each(|x| *x *= factors.decay);
                    } else {
                        factors.apply(
                            self.value,
                            self.first,
                            self.second,
                            #[inline(always)]
                            |_| 0.0,
                        );
                    }
                }
            },
        );
    }
}

impl Words {
    pub fn new(table: &Parameter) -> Self {
        let n = table.value.elem_count();
        let rows = table.value.dims().first().copied().unwrap_or(1);
        Self::with(n / rows, vec![0.0; n], vec![0.0; n], vec![0; rows])
    }

    /// The state that a checkpoint saved, still without the steps that a row may have missed.
    pub fn with(width: usize, first: Vec<f32>, second: Vec<f32>, seen: Vec<u32>) -> Self {
        Self { width, first, second, seen, history: Vec::new() }
    }

    pub fn first(&self) -> &[f32] {
        &self.first
    }

    pub fn second(&self) -> &[f32] {
        &self.second
    }

    pub fn seen(&self) -> &[u32] {
        &self.seen
    }

    pub(super) fn replay_from(&mut self, history: impl Iterator<Item = Factors>) {
        self.history = history.collect();
    }

    pub(super) fn catch_up(&mut self, table: &Parameter, ids: &[u32]) -> candle_core::Result<()> {
        let steps = self.history.len() as u32;
        let behind: Vec<u32> = ids.iter().copied().filter(|&id| self.seen[id as usize] < steps).collect();
        if behind.is_empty() {
            return Ok(());
        }
        let history = Arc::new(std::mem::take(&mut self.history));
        in_place(&table.value, |values| {
            self.rows(values, &behind).into_par_iter().with_min_len(16).for_each(|mut row| row.replay(&history));
        })?;
        self.history = Arc::unwrap_or_clone(history);
        Ok(())
    }

    /// One step over the rows that the batch read.
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
            rows.zip(gradients.values.par_chunks_exact(width)).with_min_len(64).for_each(|(row, gradient)| {
                *row.seen = steps;
                simd(
                    #[inline(always)]
                    || {
                        factors.apply(
                            row.value,
                            row.first,
                            row.second,
                            #[inline(always)]
                            |i| gradient[i] * clip,
                        );
                    },
                );
            });
        })
    }

    /// The rows of `ids` (sorted, each once).
    fn rows<'a>(&'a mut self, values: &'a mut [f32], ids: &[u32]) -> Vec<Row<'a>> {
        let width = self.width;
        let moments = self.first.chunks_exact_mut(width).zip(self.second.chunks_exact_mut(width));
        let all = values.chunks_exact_mut(width).zip(moments).zip(&mut self.seen);
        let mut wanted = ids.iter().copied().peekable();
        let mut rows = Vec::with_capacity(ids.len());
        for (id, ((value, (first, second)), seen)) in (0u32..).zip(all) {
            if wanted.next_if_eq(&id).is_some() {
                rows.push(Row { value, first, second, seen });
            }
        }
        rows
    }
}
