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
    Mse,
    Mae,
    R2,
    Pearson,
    Spearman,
    MicroF1,
    SubsetAccuracy,
    MacroAuroc,
    MacroAveragePrecision,
    EntityPrecision,
    EntityRecall,
    EntityF1,
    TokenAccuracy,
    Perplexity,
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
            Self::Mse => "mse",
            Self::Mae => "mae",
            Self::R2 => "r2",
            Self::Pearson => "pearson",
            Self::Spearman => "spearman",
            Self::MicroF1 => "micro_f1",
            Self::SubsetAccuracy => "subset_accuracy",
            Self::MacroAuroc => "macro_auroc",
            Self::MacroAveragePrecision => "macro_average_precision",
            Self::EntityPrecision => "entity_precision",
            Self::EntityRecall => "entity_recall",
            Self::EntityF1 => "entity_f1",
            Self::TokenAccuracy => "token_accuracy",
            Self::Perplexity => "perplexity",
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
            Self::Mse => "MSE",
            Self::Mae => "MAE",
            Self::R2 => "R²",
            Self::Pearson => "Pearson correlation",
            Self::Spearman => "Spearman correlation",
            Self::MicroF1 => "micro-F1",
            Self::SubsetAccuracy => "subset accuracy",
            Self::MacroAuroc => "macro-AUROC",
            Self::MacroAveragePrecision => "macro average precision",
            Self::EntityPrecision => "entity precision",
            Self::EntityRecall => "entity recall",
            Self::EntityF1 => "entity F1",
            Self::TokenAccuracy => "token accuracy",
            Self::Perplexity => "perplexity",
        }
    }

    /// The title of its column in a table.
    #[must_use]
    pub fn column(self) -> &'static str {
        if self == Self::Accuracy { "accuracy, %" } else { self.title() }
    }

    /// A value as it stands under [`Metric::column`].
    #[must_use]
    pub fn cell(self, value: f64) -> String {
        if self == Self::Accuracy { format!("{:.1}", value * 100.0) } else { format!("{value:.3}") }
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
            Self::Mse => row.scores.mse.unwrap_or(f32::NAN),
            Self::Mae => row.scores.mae.unwrap_or(f32::NAN),
            Self::R2 => row.scores.r2.unwrap_or(f32::NAN),
            Self::Pearson => row.scores.pearson.unwrap_or(f32::NAN),
            Self::Spearman => row.scores.spearman.unwrap_or(f32::NAN),
            Self::MicroF1 => row.scores.micro_f1.unwrap_or(f32::NAN),
            Self::SubsetAccuracy => row.scores.subset_accuracy.unwrap_or(f32::NAN),
            Self::MacroAuroc => row.scores.macro_auroc.unwrap_or(f32::NAN),
            Self::MacroAveragePrecision => row.scores.macro_average_precision.unwrap_or(f32::NAN),
            Self::EntityPrecision => row.scores.entity_precision.unwrap_or(f32::NAN),
            Self::EntityRecall => row.scores.entity_recall.unwrap_or(f32::NAN),
            Self::EntityF1 => row.scores.entity_f1.unwrap_or(f32::NAN),
            Self::TokenAccuracy => row.scores.token_accuracy.unwrap_or(f32::NAN),
            Self::Perplexity => row.scores.perplexity.unwrap_or(f32::NAN),
        }
    }

    /// Whether this is the loss.
    #[must_use]
    pub fn is_loss(self) -> bool {
        self == Self::EvalLoss
    }

    /// Whether lower values are better.
    #[must_use]
    pub fn is_cost(self) -> bool {
        matches!(self, Self::EvalLoss | Self::Mse | Self::Mae | Self::Perplexity)
    }

    /// A value with the sign that makes lower values better. The inverse is this function itself.
    #[must_use]
    pub fn cost(self, value: f64) -> f64 {
        if self.is_cost() { value } else { -value }
    }

    /// The value that none is better than.
    #[must_use]
    pub fn ideal(self) -> f64 {
        if self.is_cost() && self != Self::Perplexity { 0.0 } else { 1.0 }
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
