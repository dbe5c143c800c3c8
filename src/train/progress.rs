//! The progress of a trial between two steps. Together with weights and moments it is the complete training state.

use serde::{Deserialize, Serialize};

use super::signals::Signals;
use crate::trial::{BestScore, Metric};

/// What a trial has done and measured so far. Figures that are not finite are None.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrialProgress {
    /// Optimizer steps taken.
    pub step: u64,
    /// Seconds of training and evaluation.
    pub seconds: f64,
    /// Seconds of training alone.
    pub training_seconds: f64,
    pub tokens: u64,
    pub last_loss: Option<f32>,
    pub last_eval: Option<EvalSummary>,
    /// The lowest evaluation loss and its step.
    pub best_loss: Option<(f32, u64)>,
    /// The best value of the metric of the trial and its step.
    #[serde(default)]
    pub best_score: Option<(f32, u64)>,
    pub best_accuracy: Option<f32>,
    pub best_macro_f1: Option<f32>,
    /// The losses of all evaluations in order. Schedulers may depend on them.
    #[serde(default)]
    pub eval_losses: Vec<Option<f32>>,
    /// The best value of the patience metric, where higher is better, and the number of evaluations since then.
    pub patience: Option<(f32, u32)>,
    #[serde(alias = "watch")]
    pub divergence: DivergenceDetector,
    /// Signals of the newest step before an evaluation.
    #[serde(default)]
    pub signals: Signals,
    /// Set when the trial has ended. An attempt that resumes from this state trains no further.
    #[serde(default)]
    pub ended: Option<TrialEnd>,
}

impl TrialProgress {
    /// The best evaluation by the metric of the trial. States of versions without other metrics than the loss have no score.
    pub fn best(&self, metric: Metric) -> Option<BestScore> {
        let (value, step) = self.best_score.or(self.best_loss.filter(|_| metric.is_loss()))?;
        Some(BestScore { metric, step, value })
    }
}

/// How the training loop ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TrialEnd {
    Finished,
    /// With the reason.
    Diverged(String),
    /// Ended early by a rule, with the reason.
    Stopped(String),
}

/// The newest evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EvalSummary {
    pub step: u64,
    pub loss: Option<f32>,
    /// None if it is undefined.
    #[serde(default)]
    pub accuracy: Option<f32>,
    /// Whether it is the best so far, by the metric of the trial.
    pub best: bool,
}

/// Detects a training loss that diverges: the mean of the last 20 losses exceeds three times the mean of the first five.
/// The rule applies from the tenth loss on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DivergenceDetector {
    first: Vec<f32>,
    recent: Vec<f32>,
}

impl DivergenceDetector {
    /// Losses whose mean is the start.
    const FIRST: usize = 5;
    /// Fewest losses for a decision.
    const EARLIEST: usize = 10;
    /// Most losses in the recent mean.
    const WINDOW: usize = 20;
    /// Largest allowed ratio of the recent mean to the start.
    const LIMIT: f64 = 3.0;

    /// Takes the loss and the gradient norm of a step. Returns the reason if the trial has diverged.
    pub fn observe(&mut self, loss: f32, norm: f32) -> Option<String> {
        if !loss.is_finite() {
            return Some(format!("the training loss became {loss}"));
        }
        if !norm.is_finite() {
            return Some(format!("the gradient norm became {norm}"));
        }
        if self.first.len() < Self::FIRST {
            self.first.push(loss);
        }
        if self.recent.len() == Self::WINDOW {
            self.recent.remove(0);
        }
        self.recent.push(loss);
        let mean = |losses: &[f32]| losses.iter().map(|&x| f64::from(x)).sum::<f64>() / losses.len() as f64;
        let (now, start) = (mean(&self.recent), mean(&self.first));
        (self.recent.len() >= Self::EARLIEST && now > Self::LIMIT * start).then(|| {
            format!(
                "the training loss diverged: its mean is {now:.3} over the last {} steps and was {start:.3} at the start",
                self.recent.len()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_divergence(losses: impl IntoIterator<Item = f32>) -> Option<(usize, String)> {
        let mut detector = DivergenceDetector::default();
        losses.into_iter().enumerate().find_map(|(i, loss)| detector.observe(loss, 1.0).map(|reason| (i, reason)))
    }

    #[test]
    fn divergence_is_a_lasting_rise_or_a_non_finite_number() {
        assert_eq!(first_divergence([1.0; 100]), None);
        assert_eq!(
            first_divergence((0..100).map(|i| if i % 10 == 7 { 15.0 } else { 1.0 })),
            None,
            "single spikes are not divergence"
        );
        let (at, reason) = first_divergence((0..100).map(|i| 1.0 + 0.2 * i as f32)).unwrap();
        insta::assert_snapshot!(format!("{at}: {reason}"), @"26: the training loss diverged: its mean is 4.300 over the last 20 steps and was 1.400 at the start");
        assert_eq!(first_divergence([1.0, f32::INFINITY]).unwrap().1, "the training loss became inf");
        assert_eq!(DivergenceDetector::default().observe(1.0, f32::NAN).unwrap(), "the gradient norm became NaN");
    }
}
