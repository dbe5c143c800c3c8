//! The metrics by which evaluations, trials and configurations are compared.

use serde::{Deserialize, Serialize};

use super::EvalRow;

/// A metric on the evaluation set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    #[default]
    EvalLoss,
    Accuracy,
    MacroF1,
    WeightedF1,
    Mcc,
    Auroc,
    AveragePrecision,
}

impl Metric {
    /// The name in sweep files and the column of `evals.csv`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EvalLoss => "eval_loss",
            Self::Accuracy => "accuracy",
            Self::MacroF1 => "macro_f1",
            Self::WeightedF1 => "weighted_f1",
            Self::Mcc => "mcc",
            Self::Auroc => "auroc",
            Self::AveragePrecision => "average_precision",
        }
    }

    /// The name in figures and sentences.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::EvalLoss => "eval loss",
            Self::Accuracy => "accuracy",
            Self::MacroF1 => "macro-F1",
            Self::WeightedF1 => "weighted F1",
            Self::Mcc => "MCC",
            Self::Auroc => "AUROC",
            Self::AveragePrecision => "average precision",
        }
    }

    /// Its value in an evaluation; NaN if it is undefined.
    #[must_use]
    pub fn value(self, row: &EvalRow) -> f32 {
        match self {
            Self::EvalLoss => row.eval_loss,
            Self::Accuracy => row.accuracy,
            Self::MacroF1 => row.macro_f1,
            Self::WeightedF1 => row.scores.weighted_f1.unwrap_or(f32::NAN),
            Self::Mcc => row.scores.mcc.unwrap_or(f32::NAN),
            Self::Auroc => row.scores.auroc.unwrap_or(f32::NAN),
            Self::AveragePrecision => row.scores.average_precision.unwrap_or(f32::NAN),
        }
    }

    /// Whether this is the loss, the only metric of which lower values are better.
    #[must_use]
    pub fn is_loss(self) -> bool {
        self == Self::EvalLoss
    }

    /// A value with the sign that makes lower values better. The inverse is this function itself.
    #[must_use]
    pub fn cost(self, value: f64) -> f64 {
        if self.is_loss() { value } else { -value }
    }

    /// Of these evaluations, the best one: its step and its value. The first of equal ones; None if none has a finite value.
    #[must_use]
    pub fn best(self, rows: &[EvalRow]) -> Option<(u64, f64)> {
        let values = rows.iter().map(|row| (row.step, f64::from(self.value(row))));
        let finite = values.filter(|(_, value)| value.is_finite());
        finite.min_by(|a, b| self.cost(a.1).total_cmp(&self.cost(b.1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Scores;

    #[test]
    fn the_best_evaluation_is_the_highest_score_or_the_lowest_loss() {
        let row = |step, eval_loss, mcc| {
            let scores = Scores { mcc, ..Scores::default() };
            EvalRow { step, eval_loss, accuracy: 0.5, macro_f1: 0.5, train_probe_loss: 0.0, scores }
        };
        let rows = [row(0, 0.7, None), row(1, 0.3, Some(0.25)), row(2, 0.5, Some(0.75)), row(3, f32::NAN, Some(0.75))];
        assert_eq!(Metric::EvalLoss.best(&rows), Some((1, f64::from(0.3_f32))));
        assert_eq!(Metric::Mcc.best(&rows), Some((2, 0.75)));
        assert_eq!(Metric::Accuracy.best(&rows), Some((0, 0.5)));
        assert_eq!(Metric::Auroc.best(&rows), None);
    }
}
