//! Masked language modelling: the network predicts the tokens that masks hide. The outputs are logits over the vocabulary.
//!
//! The loss is the cross-entropy, the mean over masked tokens, in nats. Of the logits of a masked token, evaluations keep the loss and
//! whether the token is the most probable one.

use std::collections::BTreeMap;

use super::classification::{cross_entropy, entropy};
use super::target::Target;
use super::task::{Evaluated, Task};
use crate::train::metrics::{best_class, mean, single};
use crate::trial::Scores;

/// A masked language model's loss and metrics.
#[derive(Debug)]
pub struct MaskedLm {
    pub vocabulary: usize,
}

impl Task for MaskedLm {
    fn outputs(&self) -> usize {
        self.vocabulary
    }

    fn kept(&self) -> usize {
        2
    }

    fn keep(&self, outputs: Vec<f32>, targets: &[Target]) -> Vec<f32> {
        let of = |(row, target): (&[f32], &Target)| {
            let Some(token) = target.class() else { return [f32::NAN; 2] };
            let wide: Vec<f64> = row.iter().copied().map(f64::from).collect();
            let is_right = best_class(row) == token as usize;
            [cross_entropy(&wide, token as usize).0 as f32, f32::from(u8::from(is_right))]
        };
        outputs.chunks_exact(self.vocabulary).zip(targets).flat_map(of).collect()
    }

    fn loss(&self, kept: &[f64], _target: &Target) -> f64 {
        kept[0]
    }

    fn gradient(&self, outputs: &[f64], target: &Target) -> (f64, Vec<f64>) {
        match target.class() {
            Some(token) => cross_entropy(outputs, token as usize),
            None => (f64::NAN, vec![f64::NAN; outputs.len()]),
        }
    }

    fn evaluate(&self, kept: &[&[f32]], _targets: &[&Target]) -> Evaluated {
        let mean_of = |place: usize| mean(kept.iter().map(|row| f64::from(row[place])));
        Evaluated {
            accuracy: single(mean_of(1)),
            scores: Scores { perplexity: single(mean_of(0).map(f64::exp)), ..Scores::default() },
            ..Evaluated::default()
        }
    }

    /// The entropy of the hidden tokens.
    fn chance(&self, targets: &[Target]) -> Option<f64> {
        let mut counts: BTreeMap<u32, f64> = BTreeMap::new();
        for token in targets.iter().filter_map(Target::class) {
            *counts.entry(token).or_default() += 1.0;
        }
        let counts: Vec<f64> = counts.into_values().collect();
        Some(entropy(&counts)).filter(|level| *level > 1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing::slopes_agree;

    #[test]
    fn the_gradient_is_the_slope() {
        slopes_agree_on_kept_losses(&[0.3, -1.2, 2.0], 1);
    }

    /// The slope of the loss that an evaluation keeps is the gradient of training.
    fn slopes_agree_on_kept_losses(outputs: &[f64], token: u32) {
        let task = MaskedLm { vocabulary: outputs.len() };
        slopes_agree(&task, outputs, &Target::Class(token));
        let narrow: Vec<f32> = outputs.iter().map(|x| *x as f32).collect();
        let kept = task.keep(narrow, &[Target::Class(token)]);
        let (loss, _) = task.gradient(outputs, &Target::Class(token));
        assert!((f64::from(kept[0]) - loss).abs() < 1e-6);
    }

    #[test]
    fn accuracy_and_perplexity_are_of_all_masked_tokens() {
        let task = MaskedLm { vocabulary: 3 };
        let targets = [0, 1].map(Target::Class);
        let kept = task.keep(vec![0.0, 0.0, 0.0, 5.0, 0.0, 0.0], &targets);
        let rows: Vec<&[f32]> = kept.chunks_exact(2).collect();
        let found = task.evaluate(&rows, &targets.iter().collect::<Vec<_>>());
        assert_eq!(found.accuracy, Some(0.5));
        let loss = f64::midpoint(3f64.ln(), (5f64.exp() + 2.0).ln());
        assert!((f64::from(found.scores.perplexity.unwrap()) - loss.exp()).abs() < 1e-5);
        let level = task.chance(&[0, 0, 2, 2].map(Target::Class)).unwrap();
        assert!((level - 2f64.ln()).abs() < 1e-12);
    }
}
