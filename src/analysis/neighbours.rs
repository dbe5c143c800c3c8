//! What the trials beside a trial say of its cause: those that differ in the learning rate alone.
//!
//! A curve that falls slowly looks the same under a rate far too low and one so high that little is left to learn with.
//! In a sweep the neighbours tell: a rate above the best one is not too low, and one below it that ends higher is. Every
//! trial is first judged by itself ([`super::rules`]); nothing is said here of trials without a neighbour.

use super::detector::Detection;
use super::effects::matched;
use super::measured::chance;
use super::rank::best_eval;
use super::rules::{Diagnosis, advised, cause};
use super::thresholds as limit;
use super::{Run, Sweep};
use crate::trial::{Key, Verdict, VerdictKind, number_text};

/// Mends the causes of trials whose neighbours know better. `delta`: the change of the evaluation loss that counts.
pub fn judge_together(sweep: &Sweep, diagnoses: &mut [Diagnosis], delta: f64) {
    for group in matched(sweep, Key::LearningRate.path()).values() {
        let runs: Vec<usize> = group.iter().map(|(_, run)| *run).collect();
        let survivors = runs.iter().copied().filter(|&run| diagnoses[run].judgement.survived());
        let reached = survivors.filter_map(|run| Some((run, best_eval(&sweep.runs[run])?.1)));
        let Some((best, level)) = reached.min_by(|a, b| a.1.total_cmp(&b.1)) else { continue };
        let anchor = Anchor { rate: rate(&sweep.runs[best]), level };
        for &run in runs.iter().filter(|&&run| run != best) {
            let bounce = bounces(sweep, &runs, run, diagnoses);
            if let Some(verdict) = bounce.or_else(|| anchor.mend(&sweep.runs[run], &diagnoses[run], delta)) {
                put_first(&mut diagnoses[run], verdict);
            }
        }
    }
}

fn rate(run: &Run) -> f64 {
    run.trial.config.lr
}

/// The best trial among neighbours.
struct Anchor {
    rate: f64,
    level: f64,
}

impl Anchor {
    /// The cause of `run` by its neighbour, where the run's own curves say something else, or nothing.
    fn mend(&self, run: &Run, own: &Diagnosis, delta: f64) -> Option<Verdict> {
        let (step, level) = best_eval(run).filter(|_| !unended(own))?;
        let chance = chance(run.measured().eval_prior)?;
        let behind = level - self.level;
        if behind < (2.0 * delta).max(limit::NEIGHBOUR * chance) {
            return None;
        }
        let evidence = [("level", level), ("best_level", self.level), ("best_rate", self.rate)];
        let steps = (0, run.trial.steps);
        let best = format!("{} comes to eval loss {:.3}, this one to {level:.3}", number_text(self.rate), self.level);
        let advice = format!("lr: {}", number_text(self.rate));
        if rate(run) > self.rate && asks_for_more(own) {
            let text = format!("a learning rate of {best}: it is too high");
            return advised(cause("OVERSHOOT", steps, text, &evidence), advice);
        }
        let late = step as f64 >= limit::SLOW_LATE * run.trial.steps as f64;
        if rate(run) < self.rate && late && is_open(own) {
            let text = format!("in as many steps a learning rate of {best}: it is too low");
            return advised(cause("TOO_SLOW", steps, text, &evidence), advice);
        }
        None
    }
}

fn unended(own: &Diagnosis) -> bool {
    use super::Judgement::{Failed, Unfinished};
    matches!(own.judgement, Failed | Unfinished)
}

/// Whether the trial's own cause would have the rate raised, the run longer, or is none although the trial is lost.
fn asks_for_more(own: &Diagnosis) -> bool {
    match own.cause() {
        Some(cause) => match cause.id.as_str() {
            "TOO_SLOW" | "LR_EXHAUSTED" | "STALLED" | "PRIOR_STUCK" | "NOISE_FLOOR" | "VANISH" => true,
            "UPDATE_RATIO" => cause.text.ends_with("small"),
            _ => false,
        },
        None => true,
    }
}

/// Whether the trial's own curves leave room for a rate that is too low.
fn is_open(own: &Diagnosis) -> bool {
    own.cause().is_none_or(|cause| {
        matches!(&*cause.id, "LR_EXHAUSTED" | "STALLED" | "PRIOR_STUCK" | "UPDATE_RATIO" | "LABEL_FLOOR")
    })
}

/// `NOISE_FLOOR` by neighbour: flat at a rate worth something, while a rate half as high or less trains lower.
fn bounces(sweep: &Sweep, runs: &[usize], run: usize, diagnoses: &[Diagnosis]) -> Option<Verdict> {
    let own = &diagnoses[run];
    let found = &own.detection;
    let still_high = found.is_flat() && found.rate_share.is_some_and(|share| share >= limit::SPENT_SHARE);
    if !still_high || own.cause().is_some_and(|cause| !matches!(&*cause.id, "STALLED" | "LABEL_FLOOR")) || unended(own)
    {
        return None;
    }
    let level = |detection: &Detection| detection.tail.level;
    let below = |&&other: &&usize| {
        let lower = level(&diagnoses[other].detection) < level(found) - limit::NEIGHBOUR * found.scale;
        rate(&sweep.runs[other]) <= rate(&sweep.runs[run]) / 2.0 && diagnoses[other].judgement.survived() && lower
    };
    let other = *runs
        .iter()
        .filter(below)
        .min_by(|a, b| level(&diagnoses[**a].detection).total_cmp(&level(&diagnoses[**b].detection)))?;
    let (lower, there) = (rate(&sweep.runs[other]), level(&diagnoses[other].detection));
    let text = format!(
        "flat at {:.3}, where a learning rate of {} trains to {there:.3}: the rate is too high to settle",
        level(found),
        number_text(lower)
    );
    let verdict =
        cause("NOISE_FLOOR", (found.tail.from, found.tail.to), text, &[("level", level(found)), ("there", there)]);
    advised(verdict, format!("lr: {}, or scheduler: linear", number_text(lower)))
}

/// The neighbour's word comes first; what it contradicts goes.
fn put_first(own: &mut Diagnosis, verdict: Verdict) {
    let stale = |other: &Verdict| {
        matches!(&*other.id, "TOO_SLOW" | "LR_EXHAUSTED" | "STALLED" | "UPDATE_RATIO" | "HEALTHY")
            || other.kind == VerdictKind::Cause && other.id == verdict.id
    };
    own.verdicts.retain(|other| !stale(other));
    own.verdicts.insert(0, verdict);
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{self, axis};
    use super::super::{Study, Sweep};

    /// Trials at three rates, each with its evaluation losses and training loss as functions of the share of the run.
    fn at_rates(curves: [fn(f32) -> f32; 3]) -> Sweep {
        let mut sweep = synthetic::sweep("s", &[axis("lr", &["1e-6", "1e-5", "3e-5"])], 120);
        for (run, curve) in sweep.runs.iter_mut().zip(curves) {
            run.evals.iter_mut().for_each(|row| {
                row.eval_loss = curve(row.step as f32 / 120.0) + 0.1;
                row.accuracy = 0.8;
            });
            run.metrics.iter_mut().for_each(|row| row.train_loss = curve(row.step as f32 / 120.0));
            run.metrics.iter_mut().for_each(|row| row.lr = run.trial.config.lr);
            run.evals.iter_mut().for_each(|row| row.train_probe_loss = row.eval_loss - 0.1);
        }
        sweep
    }

    fn causes(curves: [fn(f32) -> f32; 3]) -> String {
        let study = Study::of(&at_rates(curves));
        let first =
            |diagnosis: &super::Diagnosis| format!("{}: {}", diagnosis.verdicts[0].id, diagnosis.verdicts[0].text);
        study.diagnoses.iter().map(first).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_rate_above_the_best_is_not_too_low() {
        let slow = |t: f32| 0.69 - 0.4 * t;
        let good = |t: f32| 0.05 + 0.64 * (-t / 0.1).exp();
        insta::assert_snapshot!(causes([slow, good, slow]), @"
        TOO_SLOW: in as many steps a learning rate of 1e-5 comes to eval loss 0.150, this one to 0.390: it is too low
        HEALTHY: no fault found; the training loss is flat at 0.050
        OVERSHOOT: a learning rate of 1e-5 comes to eval loss 0.150, this one to 0.390: it is too high
        ");
    }

    #[test]
    fn a_lower_rate_that_trains_lower_shows_a_noise_floor() {
        let good = |t: f32| 0.05 + 0.64 * (-t / 0.1).exp();
        let higher = |t: f32| 0.3 + 0.39 * (-t / 0.03).exp();
        insta::assert_snapshot!(causes([good, good, higher]), @"
        HEALTHY: no fault found; the training loss is flat at 0.050
        HEALTHY: no fault found; the training loss is flat at 0.050
        NOISE_FLOOR: flat at 0.300, where a learning rate of 1e-6 trains to 0.050: the rate is too high to settle
        ");
    }
}
