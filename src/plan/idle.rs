//! Warns about early-stopping rules that can stop no trial, because they wait for more than any trial has. Pure.

use super::Facts;
use super::estimate::eval_interval;
use crate::spec::StopAcross;
use crate::trial::Trial;

/// A warning for each rule that is on and can stop no trial. `all`: the number of trials in the end; a search has more than are
/// known.
pub(super) fn warnings(across: &StopAcross, trials: &[Trial], all: u64, facts: &Facts) -> Vec<String> {
    let is_on = |trial: &Trial| trial.config.stop.patience.is_some() || trial.config.stop.plateau.is_some();
    if across.median.is_none() && across.asha.is_none() && !trials.iter().any(is_on) {
        return Vec::new();
    }
    let runs: Vec<Run<'_>> = trials.iter().filter_map(|trial| Run::of(trial, facts)).collect();
    let mut warnings = Vec::new();
    let mut warn = |rule: &str, why: String| warnings.push(format!("warning: `stop.{rule}` can stop no trial: {why}"));

    let patience =
        runs.iter().filter_map(|run| Some((run.trial.config.stop.patience.as_ref()?.evals, run.before_end(1))));
    if let Some((evals, there)) = out_of_reach(patience) {
        warn(
            "patience",
            format!(
                "its `evals` is {evals}, but only {there} evaluations lie between the first and the last one; lower it, or \
                 evaluate more often (`eval_every`)"
            ),
        );
    }
    let plateau = runs.iter().filter_map(|run| {
        let rule = run.trial.config.stop.plateau.as_ref()?;
        Some((rule.evals, run.before_end(rule.min_steps)))
    });
    if let Some((evals, there)) = out_of_reach(plateau) {
        warn(
            "plateau",
            format!(
                "its `evals` is {evals}, but only {there} evaluations lie between its `min_steps` and the last one; lower \
                 them, or evaluate more often (`eval_every`)"
            ),
        );
    }
    for (rule, start, from) in [
        ("median", "`min_steps` is", across.median.as_ref().map(|rule| rule.min_steps)),
        ("asha", "first rung is at step", across.asha.as_ref().map(|rule| rule.rung_step(0).unwrap_or(u64::MAX))),
    ] {
        // With `min_steps: 0`, the evaluation before the first step counts.
        if let Some(from) = from.filter(|from| *from > 0 && runs.iter().all(|run| run.before_end(*from) == 0)) {
            warn(
                rule,
                format!(
                    "its {start} {from}, but no trial has an evaluation between that step and its last one; lower it, \
                     or evaluate more often (`eval_every`)"
                ),
            );
        }
    }
    let others = all.saturating_sub(1);
    if let Some(rule) = across.median.as_ref().filter(|rule| rule.min_trials > others) {
        warn(
            "median",
            format!("its `min_trials` is {}, but each trial has only {others} others; lower it", rule.min_trials),
        );
    }
    warnings
}

/// The evaluations that a rule waits for, and those of the trial that comes closest, if no trial has enough.
fn out_of_reach(rules: impl Iterator<Item = (u32, u64)>) -> Option<(u32, u64)> {
    let missing = |(evals, there): &(u32, u64)| u64::from(*evals).saturating_sub(*there);
    rules.min_by_key(missing).filter(|nearest| missing(nearest) > 0)
}

/// A trial and the steps between its evaluations.
struct Run<'a> {
    trial: &'a Trial,
    every: u64,
}

impl<'a> Run<'a> {
    fn of(trial: &'a Trial, facts: &Facts) -> Option<Self> {
        let (data, _) = facts.of(&trial.config)?;
        Some(Self { trial, every: eval_interval(&trial.config, data.train_rows) })
    }

    /// Number of evaluations from step `from` on, without the last one, at which the trial ends anyway.
    fn before_end(&self, from: u64) -> u64 {
        let until = self.trial.steps.saturating_sub(1);
        (until / self.every).saturating_sub(from.saturating_sub(1) / self.every)
    }
}
