//! Rules that stop trials early, where they can stop none: they wait for more than any trial of the sweep has. Pure.

use super::Facts;
use super::estimate::eval_interval;
use crate::spec::StopAcross;
use crate::trial::Trial;

/// A warning for each rule that is on and can stop no trial.
pub(super) fn warnings(across: &StopAcross, trials: &[Trial], facts: &Facts) -> Vec<String> {
    let is_on = |trial: &Trial| trial.config.stop.patience.is_some() || trial.config.stop.plateau.is_some();
    if across.median.is_none() && across.asha.is_none() && !trials.iter().any(is_on) {
        return Vec::new();
    }
    let runs: Vec<Run<'_>> = trials.iter().filter_map(|trial| Run::of(trial, facts)).collect();
    let mut warnings = Vec::new();
    let mut warn = |rule: &str, why: String| warnings.push(format!("warning: `stop.{rule}` can stop no trial: {why}"));

    let patience =
        runs.iter().filter_map(|run| Some((run.trial.config.stop.patience.as_ref()?.evals, run.before_end(1))));
    if let Some((evals, most)) = out_of_reach(patience) {
        warn(
            "patience",
            format!(
                "it waits for {evals} evaluations, and there are at most {most} between first and last; lower it, or evaluate more often (`eval_every`)"
            ),
        );
    }
    let plateau = runs.iter().filter_map(|run| {
        let rule = run.trial.config.stop.plateau.as_ref()?;
        Some((rule.evals, run.before_end(rule.min_steps)))
    });
    if let Some((evals, most)) = out_of_reach(plateau) {
        let from = "from `min_steps` to before the last";
        warn(
            "plateau",
            format!(
                "it waits for {evals} evaluations, and there are at most {most} {from}; lower one of them, or evaluate more often (`eval_every`)"
            ),
        );
    }
    let longest = trials.iter().map(|trial| trial.steps).max().unwrap_or(0);
    for (rule, from) in [
        ("median", across.median.as_ref().map(|rule| rule.min_steps)),
        ("asha", across.asha.as_ref().map(|rule| rule.min_steps)),
    ] {
        if let Some(from) = from.filter(|from| runs.iter().all(|run| run.before_end(*from) == 0)) {
            warn(
                rule,
                format!(
                    "no trial has an evaluation from step {from}, its `min_steps`, to before its last; the longest has {longest} steps"
                ),
            );
        }
    }
    if let Some(rule) = across.median.as_ref().filter(|rule| rule.min_trials >= trials.len() as u64) {
        warn(
            "median",
            format!(
                "it waits for {} others, its `min_trials`, and there are {} trials; lower it",
                rule.min_trials,
                trials.len()
            ),
        );
    }
    warnings
}

/// What is waited for and the most there is, where no trial has enough.
fn out_of_reach(rules: impl Iterator<Item = (u32, u64)>) -> Option<(u32, u64)> {
    let (mut least, mut most) = (None, 0);
    for (evals, there) in rules {
        if u64::from(evals) <= there {
            return None;
        }
        least = Some(least.map_or(evals, |least: u32| least.min(evals)));
        most = most.max(there);
    }
    Some((least?, most))
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

    /// Evaluations from step `from` on, without the last, after which there is nothing to stop.
    fn before_end(&self, from: u64) -> u64 {
        let until = self.trial.steps.saturating_sub(1);
        (until / self.every).saturating_sub(from.saturating_sub(1) / self.every)
    }
}
