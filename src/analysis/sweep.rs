//! A sweep as it stands on disk: the trials with their curves. Everything in this room is a function of it.

use super::measured::{LEAST_DELTA, Measured};
use crate::search::SearchHistory;
use crate::trial::{Axis, Cause, DiagnosticRow, EvalRow, MetricRow, Outcome, Status, TaskName, Trial};

/// Every planned trial of a sweep, with what it has measured so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sweep {
    pub name: String,
    /// What varies, in the order of the sweep file; `seed` last if it varies.
    pub axes: Vec<Axis>,
    /// What its search has drawn; None for a grid.
    pub search: Option<SearchHistory>,
    /// In the order of the plan.
    pub runs: Vec<Run>,
}

/// A trial and its curves.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub trial: Trial,
    pub status: Status,
    /// Why it failed, for people.
    pub error: Option<String>,
    pub metrics: Vec<MetricRow>,
    pub evals: Vec<EvalRow>,
    pub diagnostics: Vec<DiagnosticRow>,
    pub outcome: Option<Outcome>,
}

impl Sweep {
    /// What the trials predict.
    #[must_use]
    pub fn task(&self) -> TaskName {
        self.runs.first().map(|run| run.trial.config.data.task).unwrap_or_default()
    }

    /// Trials that the search may still draw; 0 for a grid, and where only the time of the search bounds them.
    #[must_use]
    pub fn undrawn(&self) -> usize {
        self.search.as_ref().and_then(SearchHistory::undrawn).unwrap_or(0) as usize
    }

    /// The ended trials, the best one first: by their best evaluation, of two alike the one with the lower id. Diverged trials are last.
    /// This order decides everywhere whose weights are kept, exported, tested and described.
    #[must_use]
    pub fn ranked_trials(&self) -> Vec<&Run> {
        let ended = self.runs.iter().filter_map(|run| Some((run, run.outcome.as_ref()?.cost())));
        let mut ranked: Vec<(&Run, f64)> = ended.collect();
        ranked.sort_by(|(a, cost_a), (b, cost_b)| {
            let is_last = |run: &Run| run.status == Status::Diverged;
            is_last(a).cmp(&is_last(b)).then(cost_a.total_cmp(cost_b)).then_with(|| a.trial.id.cmp(&b.trial.id))
        });
        ranked.into_iter().map(|(run, _)| run).collect()
    }

    /// The first of [`Self::ranked_trials`], if it has a usable model.
    #[must_use]
    pub fn winner(&self) -> Option<&Run> {
        let best = self.ranked_trials().into_iter().next()?;
        let is_usable = best.status != Status::Diverged && best.outcome.as_ref()?.cost().is_finite();
        is_usable.then_some(best)
    }

    /// The smallest change of the evaluation loss that counts.
    pub fn least_change(&self) -> f64 {
        let ended = self.runs.iter().filter(|run| run.outcome.is_some());
        ended.map(|run| run.measured().least_change()).next().unwrap_or(LEAST_DELTA)
    }
}

impl Run {
    /// The note on smaller micro-batches, if the trial ran out of memory.
    #[must_use]
    pub fn memory_note(&self) -> Option<&str> {
        let verdicts = &self.outcome.as_ref()?.verdicts;
        verdicts.iter().find(|verdict| verdict.id == Cause::SmallerMicroBatches).map(|verdict| verdict.text.as_str())
    }

    /// The curves in the form that the detector and the rules read.
    pub fn measured(&self) -> Measured<'_> {
        Measured::of_trial(&self.trial, (&self.metrics, &self.evals), &self.diagnostics, self.outcome.as_ref())
    }

    /// The last step that was measured.
    #[must_use]
    pub fn end(&self) -> u64 {
        let steps = [self.metrics.last().map(|row| row.step), self.evals.last().map(|row| row.step)];
        steps.into_iter().flatten().max().unwrap_or(0)
    }

    /// Step and value of the lowest finite evaluation loss.
    #[must_use]
    pub fn best_eval(&self) -> Option<(u64, f64)> {
        let finite = self.evals.iter().filter(|row| row.eval_loss.is_finite());
        finite.min_by(|a, b| a.eval_loss.total_cmp(&b.eval_loss)).map(|row| (row.step, f64::from(row.eval_loss)))
    }
}
