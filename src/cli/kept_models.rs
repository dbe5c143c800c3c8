//! The models that the trials of a sweep kept.

use std::path::PathBuf;

use super::Failure;
use super::output::notify;
use crate::analysis::{Run, Sweep};
use crate::report;
use crate::store::{self, RunDir};
use crate::train::classifier::ClassifierFiles;
use crate::trial::{BestScore, EvalRow, Metric, Outcome, TrialId};

/// A trial that kept its weights.
pub(crate) struct KeptModel<'a> {
    pub run: &'a Run,
    pub outcome: &'a Outcome,
    /// The step of the weights.
    pub step: u64,
    /// The evaluation of these weights by the metric of the trial. None if it was not finite.
    pub score: Option<BestScore>,
    /// The file of the weights.
    pub weights: PathBuf,
}

impl<'a> KeptModel<'a> {
    /// The trials that kept weights, the best one first.
    fn all(sweep: &'a Sweep, dir: &RunDir) -> Vec<Self> {
        sweep.ranked_trials().into_iter().filter_map(|run| Self::of(run, dir)).collect()
    }

    /// The best trial, if it kept its weights.
    pub(crate) fn leader(sweep: &'a Sweep, dir: &RunDir) -> Option<Self> {
        Self::of(sweep.winner()?, dir)
    }

    /// The model of one trial.
    pub(crate) fn of_trial(sweep: &'a Sweep, dir: &RunDir, id: &TrialId) -> Result<Self, Failure> {
        let name = &sweep.name;
        let run = sweep.runs.iter().find(|run| run.trial.id == *id).ok_or_else(|| {
            Failure::input(format!("{id}: {name} has no such trial. `plateau status {name}` lists them"))
        })?;
        Self::of(run, dir).ok_or_else(|| {
            Failure::input(format!(
                "{id}: the trial kept no weights. `run: {{keep: best}}` keeps those of every trial, and `{{keep: {{top: N}}}}` those of the N \
                 leading ones: set one in the sweep file, and train again with `plateau run {name} --fresh`"
            ))
        })
    }

    /// The models of the `count` best trials that kept weights; at least one.
    pub(crate) fn best(sweep: &'a Sweep, dir: &RunDir, count: usize) -> Result<Vec<Self>, Failure> {
        let name = &sweep.name;
        let mut models = Self::all(sweep, dir);
        if models.is_empty() {
            return Err(Failure::input(format!("{name}: no trial kept its weights. {}", how_to_keep(name))));
        }
        if sweep.winner().is_some_and(|winner| winner.trial.id != models[0].run.trial.id) {
            notify(&format!(
                "warning: the best trial of {name} kept no weights, so this is the best trial that did. {}",
                how_to_keep(name)
            ));
        }
        if models.len() < count {
            let kept = models.len();
            return Err(Failure::input(format!(
                "{name}: {count} models wanted, but only {kept} kept their weights. `run: {{keep: {{top: {count}}}}}` keeps those \
                 of the {count} leading trials"
            )));
        }
        models.truncate(count);
        Ok(models)
    }

    /// `trial ID of SWEEP (lr=1e-4, seed=1), eval loss 0.5123 at step 12`.
    pub(crate) fn description(&self, sweep: &str) -> String {
        let score = self.score_text().map_or_else(String::new, |score| format!(", {score}"));
        format!("trial {} of {sweep} ({}){score}", self.run.trial.id, report::trial_name(self.run))
    }

    /// `eval loss 0.5123 at step 12`.
    pub(crate) fn score_text(&self) -> Option<String> {
        let score = self.score?;
        Some(format!("{} {:.4} at step {}", score.metric.title(), score.value, score.step))
    }

    /// The evaluation of these weights. None if the trial was not evaluated at their step.
    pub(crate) fn evaluation(&self) -> Option<&EvalRow> {
        self.run.evals.iter().find(|row| row.step == self.step)
    }

    fn of(run: &'a Run, dir: &RunDir) -> Option<Self> {
        let checkpoints = dir.trial(&run.trial.id).checkpoints();
        let outcome = run.outcome.as_ref()?;
        let best = outcome.best();
        // Whatever lies there: reading it says what is wrong with it.
        let weights = checkpoints.models().into_iter().find(|path| path.symlink_metadata().is_ok())?;
        let is_last = weights == checkpoints.last();
        let step = best.filter(|_| !is_last).map_or(outcome.steps, |best| best.step);
        let model = Self { run, outcome, step, score: best, weights };
        let score = if is_last { best.and_then(|best| model.last_score(best.metric)) } else { best };
        Some(Self { score, ..model })
    }

    /// The evaluation after the last step.
    fn last_score(&self, metric: Metric) -> Option<BestScore> {
        let value = metric.value(self.evaluation()?);
        value.is_finite().then_some(BestScore { metric, step: self.step, value })
    }

    /// Reads the weights and the files that they belong to.
    pub(crate) fn read(&self) -> Result<ClassifierFiles, Failure> {
        let path = self.weights.display();
        let weights = store::read_kept(&self.weights)?;
        ClassifierFiles::of_trial(&self.run.trial.config, &self.outcome.labels, &weights)
            .map_err(|error| Failure::input(format!("{path}: {error}")))
    }
}

pub(crate) fn how_to_keep(name: &str) -> String {
    format!("Set `run: {{keep: winner}}` in the sweep file, and train again with `plateau run {name} --fresh`")
}
