//! What the model is worth at one moment: loss and metrics on held-out examples, and the loss of a fixed clean
//! sample of the training split.
//!
//! The forward pass of training without dropout and without a graph, over micro-batches sorted by length. Sums run in the
//! order of examples, so the numbers do not depend on how the work was cut.

use std::sync::Arc;

use super::TrainError;
use super::batch::{MicroBatch, length, pieces};
use super::data::{Dataset, Split};
use super::engine::Engine;
use super::frozen::{Frozen, FrozenSplits};
use super::tasks::{ClassDetails, Target, Task};
use super::windows::combine;
use crate::trial::{Combine, EvalRow, TRAIN_PROBE_EXAMPLES, Windows};
use plateau_random::{Purpose, Random};

/// The examples to evaluate, packed once.
pub struct Evaluation {
    batches: Vec<Arc<MicroBatch>>,
    /// For each micro-batch, the place of each of its targets in the order of examples: held-out ones, then the probe.
    order: Vec<Vec<usize>>,
    /// How the windows of a text are combined, and how many each text of each micro-batch has. None: texts have no windows.
    windows: Option<(Combine, Vec<Vec<usize>>)>,
    targets: Vec<Target>,
    /// Number of targets of the held-out examples.
    held_out: usize,
    task: Arc<dyn Task>,
}

impl Evaluation {
    /// All of `dataset.eval`, and a sample of `dataset.train` that depends on `seed` alone; with what the frozen part of
    /// the model gives for them, where that is known. Micro-batches have at most `limit` tokens.
    pub fn new(
        dataset: &Dataset,
        task: Arc<dyn Task>,
        seed: u64,
        windows: Option<Windows>,
        frozen: &FrozenSplits,
        limit: usize,
    ) -> Self {
        let held_out: Vec<u32> = (0..dataset.eval.examples.len() as u32).collect();
        let mut probe: Vec<u32> = (0..dataset.train.examples.len() as u32).collect();
        Random::new(seed, Purpose::Probe).shuffle(&mut probe);
        probe.truncate(TRAIN_PROBE_EXAMPLES);
        probe.sort_unstable();
        let mut evaluation = Self {
            batches: Vec::new(),
            order: Vec::new(),
            windows: windows.map(|windows| (windows.combine, Vec::new())),
            targets: Vec::new(),
            held_out: 0,
            task,
        };
        evaluation.add(&dataset.eval, &held_out, frozen.eval.as_deref(), limit);
        evaluation.held_out = evaluation.targets.len();
        evaluation.add(&dataset.train, &probe, frozen.train.as_deref(), limit);
        evaluation
    }

    fn add(&mut self, split: &Split, examples: &[u32], frozen: Option<&Frozen>, limit: usize) {
        let target = |example: u32| split.examples[example as usize].target.clone();
        // The place of each example's first target.
        let mut firsts = Vec::with_capacity(examples.len());
        for &example in examples {
            firsts.push(self.targets.len());
            self.targets.extend(split.tokens.targets_of(example as usize, &target(example)));
        }
        let mut places: Vec<usize> = (0..examples.len()).collect();
        places.sort_by_key(|&place| length(&split.tokens, examples[place]));
        let sorted: Vec<u32> = places.iter().map(|&place| examples[place]).collect();
        for piece in pieces(&sorted, &split.tokens, limit) {
            let chosen = &sorted[piece.clone()];
            let mut micro = MicroBatch::pack(&split.tokens, chosen, target, 0);
            micro.frozen = frozen.map(|frozen| frozen.rows(chosen));
            self.batches.push(Arc::new(micro));
            if let Some((_, counts)) = &mut self.windows {
                counts.push(chosen.iter().map(|&example| split.tokens.row_count(example as usize)).collect());
            }
            let outputs =
                |&place: &usize| firsts[place]..firsts[place] + split.tokens.target_count(examples[place] as usize);
            self.order.push(places[piece].iter().flat_map(outputs).collect());
        }
    }

    /// Measures the model after `step` steps. None if `interrupted` returns true.
    pub fn run(
        &self,
        engine: &mut Engine,
        step: u64,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<(EvalRow, Option<ClassDetails>)>, TrainError> {
        let Some(mut outputs) = engine.kept(&self.batches, &*self.task, interrupted)? else { return Ok(None) };
        if let Some((how, counts)) = &self.windows {
            for (outputs, counts) in outputs.iter_mut().zip(counts) {
                *outputs = combine(*how, outputs, counts, self.task.kept());
            }
        }
        let mut rows: Vec<&[f32]> = vec![&[]; self.targets.len()];
        for (places, outputs) in self.order.iter().zip(&outputs) {
            for (&place, row) in places.iter().zip(outputs.chunks_exact(self.task.kept())) {
                rows[place] = row;
            }
        }
        let (rows, probe_rows) = rows.split_at(self.held_out);
        let targets: Vec<&Target> = self.targets.iter().collect();
        let (targets, probe_targets) = targets.split_at(self.held_out);
        let found = self.task.evaluate(rows, targets);
        let eval_loss = mean_loss(&*self.task, rows, targets);
        let row = found.row(step, eval_loss, mean_loss(&*self.task, probe_rows, probe_targets));
        Ok(Some((row, found.classes)))
    }
}

/// The mean loss in evaluation, one row of what was kept of the outputs for each target.
pub fn mean_loss(task: &dyn Task, rows: &[&[f32]], targets: &[&Target]) -> f32 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (row, target) in rows.iter().zip(targets) {
        let row: Vec<f64> = row.iter().copied().map(f64::from).collect();
        sum += task.loss(&row, target);
        weights += task.weight(target);
    }
    (sum / weights) as f32
}
