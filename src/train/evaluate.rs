//! What the model is worth at one moment: loss and classification metrics on held-out examples, and the loss of a fixed clean
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
use super::metrics::{AllScores, Classified};
use crate::trial::{BestEvaluation, CalibrationBin, DiagnosticRow, EvalRow, TRAIN_PROBE_EXAMPLES};
use plateau_kernels::loss::cross_entropy;
use plateau_random::{Purpose, Random};

/// What an evaluation says beside its row.
pub struct Predictions {
    /// Held-out examples that were given each class.
    pub counts: Vec<u32>,
    /// Of the quarter of them that the model is surest of, how many are labelled otherwise; None of fewer than four.
    pub surest_wrong: Option<u32>,
    /// Number of examples of each class (row) that were predicted to be of each class (column).
    pub confusion: Vec<Vec<u32>>,
    pub calibration: Vec<CalibrationBin>,
    /// The wrong predictions with the highest confidence: example, predicted class, confidence.
    pub mistakes: Vec<(usize, usize, f64)>,
}

/// The examples to evaluate, packed once.
pub struct Evaluation {
    batches: Vec<Arc<MicroBatch>>,
    /// For each micro-batch, the place of each of its sequences in the order of examples: held-out ones, then the probe.
    order: Vec<Vec<usize>>,
    labels: Vec<u32>,
    held_out: usize,
    classes: usize,
}

impl Evaluation {
    /// All of `dataset.eval`, and a sample of `dataset.train` that depends on `seed` alone; with what the frozen part of
    /// the model gives for them, where that is known.
    pub fn new(dataset: &Dataset, seed: u64, frozen: &FrozenSplits) -> Self {
        let held_out: Vec<u32> = (0..dataset.eval.examples.len() as u32).collect();
        let mut probe: Vec<u32> = (0..dataset.train.examples.len() as u32).collect();
        Random::new(seed, Purpose::Probe).shuffle(&mut probe);
        probe.truncate(TRAIN_PROBE_EXAMPLES);
        probe.sort_unstable();
        let mut evaluation = Self {
            batches: Vec::new(),
            order: Vec::new(),
            labels: Vec::new(),
            held_out: held_out.len(),
            classes: dataset.labels.len(),
        };
        evaluation.add(&dataset.eval, &held_out, frozen.eval.as_deref());
        evaluation.add(&dataset.train, &probe, frozen.train.as_deref());
        evaluation
    }

    fn add(&mut self, split: &Split, examples: &[u32], frozen: Option<&Frozen>) {
        let base = self.labels.len();
        let label = |example: u32| split.examples[example as usize].label;
        self.labels.extend(examples.iter().map(|&example| label(example)));
        let mut places: Vec<usize> = (0..examples.len()).collect();
        places.sort_by_key(|&place| length(&split.tokens, examples[place]));
        let sorted: Vec<u32> = places.iter().map(|&place| examples[place]).collect();
        for piece in pieces(&sorted, &split.tokens) {
            let chosen = &sorted[piece.clone()];
            let mut micro = MicroBatch::pack(&split.tokens, chosen, label, 0);
            micro.frozen = frozen.map(|frozen| frozen.rows(chosen));
            self.batches.push(Arc::new(micro));
            self.order.push(places[piece].iter().map(|place| base + place).collect());
        }
    }

    /// Measures the model after `step` steps. None if `interrupted` returns true.
    pub fn run(
        &self,
        engine: &mut Engine,
        step: u64,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<(EvalRow, Predictions)>, TrainError> {
        let Some(logits) = engine.logits(&self.batches, interrupted)? else { return Ok(None) };
        let mut scores: Vec<&[f32]> = vec![&[]; self.labels.len()];
        for (places, logits) in self.order.iter().zip(&logits) {
            for (&place, row) in places.iter().zip(logits.chunks_exact(self.classes)) {
                scores[place] = row;
            }
        }
        let mean_loss = |range: std::ops::Range<usize>| {
            let n = range.len() as f64;
            let sum: f64 = range.map(|i| cross_entropy(scores[i], self.labels[i] as usize, 0.0)).sum();
            (sum / n) as f32
        };
        let truth = &self.labels[..self.held_out];
        let classified = Classified::new(&scores[..self.held_out], truth, self.classes);
        let AllScores { accuracy, macro_f1, others, confusion } = AllScores::of(&classified);
        let row = EvalRow {
            step,
            eval_loss: mean_loss(0..self.held_out),
            accuracy: accuracy.unwrap_or(f32::NAN),
            macro_f1: macro_f1.unwrap_or(f32::NAN),
            train_probe_loss: mean_loss(self.held_out..self.labels.len()),
            scores: others,
        };
        let predictions = Predictions {
            counts: (0..self.classes).map(|class| confusion.iter().map(|row| row[class]).sum()).collect(),
            surest_wrong: surest_wrong(&scores[..self.held_out], classified.predicted(), truth),
            calibration: classified.calibration(),
            mistakes: classified.confident_mistakes(BestEvaluation::MISTAKES),
            confusion,
        };
        Ok(Some((row, predictions)))
    }
}

/// Number of wrong answers among the most confident quarter of the predictions. A prediction is more confident if its
/// cross-entropy would be lower, were it true. Of equal ones the first counts.
fn surest_wrong(scores: &[&[f32]], predictions: &[usize], truth: &[u32]) -> Option<u32> {
    let own_loss = |i: &usize| {
        let own_loss = cross_entropy(scores[*i], predictions[*i], 0.0);
        if own_loss.is_nan() { f64::INFINITY } else { own_loss }
    };
    let mut order: Vec<(f64, usize)> = (0..scores.len()).map(|i| (own_loss(&i), i)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let surest = order.get(..DiagnosticRow::surest_of(order.len())).filter(|surest| !surest.is_empty())?;
    Some(surest.iter().filter(|(_, i)| predictions[*i] != truth[*i] as usize).count() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::metrics::best_class;

    #[test]
    fn the_surest_quarter_is_held_against_its_labels() {
        let scores: [&[f32]; 9] = [
            &[0.0, 5.0],
            &[0.0, 1.0],
            &[4.0, 0.0],
            &[1.0, 0.0],
            &[0.1, 0.0],
            &[0.0, 0.2],
            &[f32::NAN, 0.0],
            &[0.0, 3.0],
            &[2.0, 0.0],
        ];
        let predictions: Vec<usize> = scores.iter().map(|row| best_class(row)).collect();
        let wrong = |truth: [u32; 9]| surest_wrong(&scores, &predictions, &truth);
        let truth = [1, 1, 0, 0, 0, 1, 1, 1, 0];
        assert_eq!(wrong(truth), Some(0), "the two most confident of nine, the first and the third, are right");
        assert_eq!(wrong([0, 1, 0, 0, 0, 1, 1, 1, 0]), Some(1));
        assert_eq!(wrong([1, 0, 0, 1, 1, 0, 0, 0, 1]), Some(0), "answers that are less confident do not count");
        assert_eq!(surest_wrong(&scores[..3], &predictions[..3], &truth[..3]), None);
    }
}
