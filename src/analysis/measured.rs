//! What a trial or a training log of any program has measured: the curves that everything here judges.

use super::curve::{self, Point};
use super::thresholds as limit;
use crate::trial::{DiagnosticRow, EvalRow, Metric, MetricRow, Outcome, TaskName, Trial, TrialConfig};

/// Least tolerance in nats. A smaller change of the evaluation loss does not matter.
pub const LEAST_DELTA: f64 = 0.01;

/// Curves over optimizer steps. A quantity that was not measured at a step has no point there. A point that is NaN or infinite
/// was measured so.
#[derive(Debug, Clone, Default)]
pub struct Measured<'a> {
    /// Batch loss.
    pub train: Vec<Point>,
    /// Learning rate of each step.
    pub lr: Vec<Point>,
    /// Global gradient norm before clipping.
    pub grad_norm: Vec<Point>,
    /// Tokens of the batch of each step.
    pub tokens: Vec<Point>,
    /// Loss and accuracy on the evaluation set; step 0 is the untrained model.
    pub eval: Vec<Point>,
    pub accuracy: Vec<Point>,
    /// Area under the ROC curve, where it was measured.
    pub auroc: Vec<Point>,
    /// Matthews correlation coefficient, where it was measured: 0 for every guess.
    pub mcc: Vec<Point>,
    /// Loss of a fixed set of training examples without augmentation and dropout.
    pub probe: Vec<Point>,
    pub diagnostics: &'a [DiagnosticRow],
    /// Share of each class in the training split and in the evaluation set. Empty if unknown; nothing is compared with guessing
    /// then.
    pub train_prior: &'a [f64],
    pub eval_prior: &'a [f64],
    /// The loss of the best model that ignores its input, on the training split and on the evaluation set, where the task says
    /// so. Otherwise it is the entropy of the prior.
    pub train_level: Option<f64>,
    pub eval_level: Option<f64>,
    /// Number of examples of the training split and of the evaluation set, where known.
    pub train_examples: Option<u64>,
    pub eval_examples: Option<u64>,
    /// Number of evaluation texts that are also in the training split, where it was counted.
    pub leaked_rows: Option<u64>,
    /// Whether the loss is known to be one of preferences, as of DPO: it starts at ln 2 whatever the classes are.
    pub of_preferences: bool,
    /// Planned length.
    pub steps: u64,
    /// A rule of `stop` ended the trial early, because others were better at that step.
    pub is_outdone: bool,
    /// The configuration. None for a log of unknown origin.
    pub config: Option<&'a TrialConfig>,
}

impl<'a> Measured<'a> {
    /// Everything that a trial of the program has measured. `outcome`: of a trial that has ended. It knows the class frequencies.
    pub fn of_trial(
        trial: &'a Trial,
        (metrics, evals): (&[MetricRow], &[EvalRow]),
        diagnostics: &'a [DiagnosticRow],
        outcome: Option<&'a Outcome>,
    ) -> Self {
        let config = &trial.config;
        let batch = (config.batch_size * config.grad_accumulation) as f64;
        let examples = metrics.last().filter(|row| row.epoch > 0.0).map(|row| row.step as f64 * batch / row.epoch);
        Self {
            diagnostics,
            train_prior: outcome.map_or(&[][..], |outcome| &outcome.class_prior),
            eval_prior: outcome.map_or(&[][..], |outcome| &outcome.eval_prior),
            train_level: outcome.and_then(|outcome| outcome.train_chance),
            eval_level: outcome.and_then(|outcome| outcome.eval_chance),
            train_examples: examples.map(|examples| examples.round() as u64),
            leaked_rows: outcome.map(|outcome| outcome.leaked_rows as u64),
            steps: trial.steps,
            is_outdone: outcome.is_some_and(Outcome::is_outdone),
            config: Some(config),
            ..Self::of(metrics, evals)
        }
    }

    /// The curves of `metrics.csv` and `evals.csv`. Everything else is left empty.
    pub fn of(metrics: &[MetricRow], evals: &[EvalRow]) -> Self {
        let metric = |of: fn(&MetricRow) -> f64| metrics.iter().map(|row| point(row.step, of(row))).collect();
        let eval =
            |of: fn(&EvalRow) -> f64| -> Vec<Point> { evals.iter().map(|row| point(row.step, of(row))).collect() };
        Self {
            train: curve::train_loss(metrics),
            lr: metric(|row| row.lr),
            grad_norm: metric(|row| f64::from(row.grad_norm)),
            tokens: metric(|row| row.tokens as f64),
            eval: curve::eval_loss(evals),
            accuracy: eval(|row| f64::from(row.accuracy)).into_iter().filter(|point| !point.y.is_nan()).collect(),
            mcc: evals.iter().filter_map(|row| Some(point(row.step, f64::from(row.scores.mcc?)))).collect(),
            auroc: evals.iter().filter_map(|row| Some(point(row.step, f64::from(row.scores.auroc?)))).collect(),
            probe: eval(|row| f64::from(row.train_probe_loss)),
            ..Self::default()
        }
    }

    /// The loss of the best model that ignores its input, on the training split. None where it is unknown.
    pub fn train_chance(&self) -> Option<f64> {
        self.train_level.or_else(|| chance(self.train_prior))
    }

    /// The same on the evaluation set.
    pub fn eval_chance(&self) -> Option<f64> {
        self.eval_level.or_else(|| chance(self.eval_prior))
    }

    /// Whether the loss is the plain cross-entropy over classes, as in every log of unknown origin.
    pub fn is_plain_classification(&self) -> bool {
        self.config.is_none_or(|config| config.data.task == TaskName::Classification && config.loss.is_plain())
    }

    /// The smallest change of the evaluation loss that counts: [`LEAST_DELTA`], which is a share of ln 2 where the loss is not in
    /// nats but in the unit of its labels.
    pub fn least_change(&self) -> f64 {
        let in_units = self.config.is_some_and(|config| config.data.task == TaskName::Regression);
        let level = self.eval_chance().filter(|_| in_units).unwrap_or(std::f64::consts::LN_2);
        LEAST_DELTA * level / std::f64::consts::LN_2
    }

    /// The accuracies as shares. A log may hold them in per cent.
    pub fn accuracies(&self) -> Vec<f64> {
        let values: Vec<f64> = self.accuracy.iter().map(|point| point.y).filter(|y| y.is_finite()).collect();
        let in_per_cent = values.iter().any(|y| *y > 1.5);
        values.into_iter().map(|y| if in_per_cent { y / 100.0 } else { y }).collect()
    }

    /// Whether the last scores put the classes in order far better than guessing, and the evaluation loss is lowest at the end. Such
    /// a run learns, although its loss has not come below guessing yet.
    pub fn learns_to_rank(&self) -> bool {
        let ranks =
            |last: &[Point; 3]| last.iter().map(|point| point.y).sum::<f64>() / last.len() as f64 >= limit::RANKS;
        let lowest_last = |last: &Point| self.eval.iter().all(|point| last.y <= point.y);
        self.auroc.last_chunk::<3>().is_some_and(ranks) && self.eval.last().is_some_and(lowest_last)
    }

    /// Whether the last scores put the classes in order better than guesses do, by more than two standard errors of a guess, and
    /// better than the untrained model. On unequal classes a model may know that much and answer worse than one that always
    /// names the largest class.
    pub fn ranks_above_guessing(&self) -> bool {
        let n = self.eval_size().unwrap_or(limit::FEW_EXAMPLES) as f64;
        let shares = self.eval_prior.iter().copied().filter(|share| *share > 0.0 && *share < 1.0);
        // Hanley and McNeil 1982, for scores that know nothing of the classes.
        let error = |share: f64| ((n + 1.0) / (12.0 * n * share * n * (1.0 - share))).sqrt();
        let errors: Vec<f64> = shares.map(error).collect();
        let error = errors.iter().sum::<f64>() / errors.len() as f64;
        let (Some(first), Some(last)) = (self.auroc.first(), self.auroc.last_chunk::<3>()) else { return false };
        let mean = last.iter().map(|point| point.y).sum::<f64>() / last.len() as f64;
        // The random head of an untrained model may already lean one way.
        mean > 0.5 + 2.0 * error && mean > first.y + error
    }

    /// Whether the trial is compared by a score, and its answers are better than guesses: in the last evaluations by two standard
    /// errors, or in the best one, whose weights are kept, by four. Then its loss alone does not say that it has learned nothing.
    pub fn scores_above_guessing(&self) -> bool {
        if self.config.is_none_or(|config| config.metric == Metric::EvalLoss) {
            return false;
        }
        let error = (self.eval_size().unwrap_or(limit::FEW_EXAMPLES) as f64).sqrt().recip();
        let last = self.mcc.last_chunk::<3>().map(|last| last.iter().map(|point| point.y).sum::<f64>() / 3.0);
        let best = self.mcc.iter().map(|point| point.y).reduce(f64::max);
        let answers = last.is_some_and(|mean| mean > 2.0 * error) || best.is_some_and(|best| best > 4.0 * error);
        answers || self.ranks_above_guessing()
    }

    /// Number of evaluation examples, where known.
    pub fn eval_size(&self) -> Option<u64> {
        let counted = || self.diagnostics.last().map(DiagnosticRow::examples).filter(|counted| *counted > 0);
        self.eval_examples.or_else(counted)
    }

    /// Last step that was measured.
    pub fn end(&self) -> u64 {
        [&self.train, &self.eval]
            .into_iter()
            .filter_map(|curve| curve.last())
            .map(|last| last.x as u64)
            .max()
            .unwrap_or(0)
    }

    /// First step at which the learning rate is at its peak. 0 where no learning rate is known.
    ///
    /// A schedule with restarts comes back to its peak. Of a log with a row every so many steps, a later cycle may show a slightly
    /// higher peak than the first.
    pub fn rate_peak(&self) -> u64 {
        let peak = self.lr.iter().map(|point| point.y).fold(0.0, f64::max);
        let first = |least: f64| self.lr.iter().position(|point| point.y >= least).unwrap_or(0);
        let (near, at) = (first(limit::AT_PEAK * peak), first(peak * (1.0 - 1e-9)));
        let falls_between = self.lr[near..at.max(near)].iter().any(|point| point.y < limit::OFF_PEAK * peak);
        self.lr.get(if falls_between { near } else { at }).map_or(0, |point| point.x as u64)
    }
}

fn point(step: u64, y: f64) -> Point {
    Point { x: step as f64, y }
}

/// The loss of the best model that ignores its input, on the evaluation set of a trial that has ended.
pub fn eval_chance(outcome: &Outcome) -> Option<f64> {
    outcome.eval_chance.or_else(|| chance(&outcome.eval_prior))
}

/// Entropy of the class prior in nats: the loss of the best guess that ignores the input. None for fewer than two classes.
pub fn chance(prior: &[f64]) -> Option<f64> {
    let entropy: f64 = prior.iter().filter(|&&p| p > 0.0).map(|p| -p * p.ln()).sum();
    (entropy > 1e-9).then_some(entropy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_the_entropy_of_the_prior() {
        assert!((chance(&[0.5, 0.5]).unwrap() - std::f64::consts::LN_2).abs() < 1e-12);
        assert!((chance(&[0.9, 0.1, 0.0]).unwrap() - 0.325_083).abs() < 1e-6);
        assert_eq!(chance(&[1.0]), None);
        assert_eq!(chance(&[]), None);
    }
}
