//! The winner of a sweep: the best trial of the best configuration, with the details of its best evaluation.

use super::format;
use crate::analysis::{Study, Sweep};
use crate::trial::{BestEvaluation, ClassScores, TrialId};

/// Reads the details of the best evaluation of a trial; None if there are none.
pub type ReadDetails<'a> = &'a dyn Fn(&TrialId) -> Option<BestEvaluation>;

/// The winner, and the evaluation that made it win.
pub struct Winner {
    /// Its values, the seed last.
    pub name: String,
    pub details: BestEvaluation,
}

impl Winner {
    /// None without a successful trial, or if the details of its best evaluation were not recorded.
    pub fn of(sweep: &Sweep, study: &Study, read: ReadDetails<'_>) -> Option<Self> {
        let trials = study.best()?.survivors.iter().map(|&run| &sweep.runs[run]);
        let metric = study.metric;
        let best = trials.filter_map(|run| Some((run, metric.best(&run.evals)?)));
        let (run, (step, _)) = best.min_by(|a, b| metric.cost(a.1.1).total_cmp(&metric.cost(b.1.1)))?;
        let details = read(&run.trial.id).filter(|details| details.step == step)?;
        Some(Self { name: format::trial_name(run), details })
    }

    /// Number of examples in the evaluation set.
    pub fn examples(&self) -> u32 {
        self.details.scores.support.iter().sum()
    }

    /// The classes with their scores, as rows under [`Winner::HEADER`].
    pub fn class_rows(&self) -> Vec<[String; 5]> {
        class_rows(&self.details.labels, &self.details.scores)
    }

    pub const HEADER: [&'static str; 5] = ["class", "precision", "recall", "F1", "examples"];

    /// The name of a class.
    pub fn label(&self, class: usize) -> &str {
        self.details.labels.get(class).map_or("?", String::as_str)
    }
}

/// A row for each class, under [`Winner::HEADER`].
pub fn class_rows(labels: &[String], scores: &ClassScores) -> Vec<[String; 5]> {
    let score = |values: &[Option<f64>], class: usize| {
        values.get(class).copied().flatten().map_or_else(|| "–".to_owned(), |score| format!("{score:.3}"))
    };
    let row = |(class, label): (usize, &String)| {
        let support = scores.support.get(class).map_or_else(|| "–".to_owned(), u32::to_string);
        let [precision, recall, f1] =
            [&scores.precision, &scores.recall, &scores.f1].map(|values| score(values, class));
        [label.clone(), precision, recall, f1, support]
    };
    labels.iter().enumerate().map(row).collect()
}
