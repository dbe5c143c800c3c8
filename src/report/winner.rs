//! The winner of a sweep: its best trial, with the details of its best evaluation.

use super::format;
use crate::analysis::{Study, Sweep};
use crate::trial::{BestEvaluation, ClassScores, TrialId};

/// Reads the details of the best evaluation of a trial; None if there are none.
pub type ReadDetails<'a> = &'a dyn Fn(&TrialId) -> Option<BestEvaluation>;

/// The winner, and the evaluation that made it win.
pub struct Winner {
    /// Its values, the seed last.
    pub name: String,
    /// Why it is not of the first configuration, if it is not.
    pub note: Option<String>,
    pub details: BestEvaluation,
}

impl Winner {
    /// None without a successful trial, or if the details of its best evaluation were not recorded.
    pub fn of(sweep: &Sweep, study: &Study, read: ReadDetails<'_>) -> Option<Self> {
        let first = study.best()?;
        let run = sweep.winner()?;
        let step = run.outcome.as_ref()?.best()?.step;
        let details = read(&run.trial.id).filter(|details| details.step == step)?;
        let is_of_first = first.runs.iter().any(|&index| sweep.runs[index].trial.id == run.trial.id);
        let note = (!is_of_first).then(|| {
            format!(
                "This trial has the best {} of all, and it is the one that is kept, exported and tested. In the mean over its {}s, \
                 another configuration is better: {}.",
                study.metric.title(),
                study.repetition.noun(),
                format::config_name(first)
            )
        });
        Some(Self { name: format::trial_name(run), note, details })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic::{self, axis};
    use crate::trial::{BestScore, Metric};

    #[test]
    fn the_best_trial_wins_also_if_its_configuration_is_not_the_first() {
        let mut sweep = synthetic::sweep("s", &[axis("lr", &["1e-5", "2e-5"]), axis("seed", &["1", "2"])], 60);
        let details = |sweep: &Sweep| {
            let steps: Vec<(TrialId, u64)> = sweep
                .runs
                .iter()
                .filter_map(|run| Some((run.trial.id.clone(), run.outcome.as_ref()?.best()?.step)))
                .collect();
            move |id: &TrialId| {
                let (_, step) = steps.iter().find(|(known, _)| known == id)?;
                Some(BestEvaluation { step: *step, ..BestEvaluation::default() })
            }
        };
        let winner = |sweep: &Sweep| Winner::of(sweep, &Study::of(sweep), &details(sweep)).unwrap();
        let first = winner(&sweep);
        assert_eq!((first.note, sweep.winner().map(format::trial_name)), (None, Some(first.name.clone())));
        // One trial of the other configuration has a single low evaluation.
        let study = Study::of(&sweep);
        let other = study.configs[1].runs[0];
        let run = &mut sweep.runs[other];
        let row = run.evals.last_mut().unwrap();
        row.eval_loss = 0.01;
        let (step, value) = (row.step, row.eval_loss);
        let outcome = run.outcome.as_mut().unwrap();
        (outcome.best_eval_loss, outcome.best_eval_step) = (Some(value), Some(step));
        outcome.best = Some(BestScore { metric: Metric::EvalLoss, step, value });
        let expected = format::trial_name(&sweep.runs[other]);
        let others = &study.configs[0].runs;
        for &run in others {
            sweep.runs[run].evals.iter_mut().for_each(|row| row.eval_loss *= 0.1);
        }
        let winner = winner(&sweep);
        assert_eq!((winner.name, winner.details.step), (expected, step));
        assert!(winner.note.is_some_and(|note| note.contains("another configuration is better: LR ")));
    }
}
