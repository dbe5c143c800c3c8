//! Results of probes that other trials of the sweep contradict.
//!
//! A probe lasts for a few steps of one trial. A sibling that trained to the end knows more: labels that it learned are not
//! unrelated to the inputs, and a learning rate below the best one is not too high.

use super::probed::Probed;
use super::settle::Settled;
use crate::analysis::groups::{LEARNING_RATE, matched};
use crate::analysis::measured::eval_chance;
use crate::analysis::sweep::{Run, Sweep};
use crate::analysis::thresholds as limit;

impl Probed {
    /// The same results, settled only if no sibling in the sweep contradicts them.
    #[must_use]
    pub fn within(mut self, sweep: &Sweep) -> Self {
        let run = sweep.runs.iter().find(|run| run.trial.id == self.trial);
        if run.is_some_and(|run| contradicts(sweep, run, self.settled)) {
            self.settled = Settled::Open;
        }
        self
    }
}

/// Whether a sibling of `run` shows that the probes cannot be right.
fn contradicts(sweep: &Sweep, run: &Run, settled: Settled) -> bool {
    match settled {
        Settled::Labels => sweep.runs.iter().any(|other| learned_the_labels_of(other, run)),
        // What a sibling of another learning rate learned, this architecture can learn.
        Settled::Architecture => neighbours(sweep, run).any(|other| learned_the_labels_of(other, run)),
        // A floor of the data is no lower for another trial.
        Settled::Floor => sweep.runs.iter().any(|other| is_lower(other, run)),
        Settled::RateTooHigh => best_rate(sweep, run).is_some_and(|best| best > run.trial.config.lr),
        Settled::RateTooLow => best_rate(sweep, run).is_some_and(|best| best < run.trial.config.lr),
        _ => false,
    }
}

/// Whether `other` was trained on the same data as `run` and learned them.
fn learned_the_labels_of(other: &Run, run: &Run) -> bool {
    let level = other.best_eval().map(|(_, level)| level);
    let learned = level
        .zip(other.outcome.as_ref().and_then(eval_chance))
        .is_some_and(|(level, chance)| level < limit::POOR * chance);
    learned && other.trial.config.data == run.trial.config.data
}

/// Whether `other` was trained on the same data as `run` and reached a clearly lower evaluation loss.
fn is_lower(other: &Run, run: &Run) -> bool {
    let margin = other.outcome.as_ref().and_then(eval_chance);
    let levels = other.best_eval().zip(run.best_eval()).map(|(other, run)| (other.1, run.1));
    let lower = levels.zip(margin).is_some_and(|((there, here), chance)| here - there > limit::NEIGHBOUR * chance);
    lower && other.trial.config.data == run.trial.config.data
}

/// The trials that differ from `run` in the learning rate alone, `run` included.
fn neighbours<'a>(sweep: &'a Sweep, run: &Run) -> impl Iterator<Item = &'a Run> {
    let is_in = |group: &Vec<(_, usize)>| group.iter().any(|(_, index)| sweep.runs[*index].trial.id == run.trial.id);
    let group = matched(sweep, LEARNING_RATE).into_iter().find(is_in).unwrap_or_default();
    group.into_iter().map(|(_, index)| &sweep.runs[index])
}

/// The learning rate of the best trial among those that differ from `run` in it alone.
fn best_rate(sweep: &Sweep, run: &Run) -> Option<f64> {
    let reached = neighbours(sweep, run).filter_map(|run| Some((run.trial.config.lr, run.best_eval()?.1)));
    reached.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(rate, _)| rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic::{self, axis};

    #[test]
    fn siblings_overrule_probes() {
        let mut sweep = synthetic::sweep("s", &[axis("lr", &["1e-5", "3e-5", "1e-4"])], 100);
        let losses = [0.68_f32, 0.1, 0.6];
        for (run, loss) in sweep.runs.iter_mut().zip(losses) {
            run.evals.iter_mut().for_each(|row| row.eval_loss = loss);
        }
        let check = |index: usize, settled, expected| {
            assert_eq!(contradicts(&sweep, &sweep.runs[index], settled), expected, "{index} {settled:?}");
        };
        check(0, Settled::Labels, true);
        check(0, Settled::RateTooHigh, true);
        check(0, Settled::RateTooLow, false);
        check(0, Settled::Architecture, true);
        check(0, Settled::Floor, true);
        check(1, Settled::Floor, false);
        check(2, Settled::RateTooHigh, false);
        check(2, Settled::RateTooLow, true);
        let mut other_data = sweep.clone();
        other_data.runs[1].trial.config.data.train = "other.csv".into();
        assert!(!contradicts(&other_data, &other_data.runs[0], Settled::Labels));
    }
}
