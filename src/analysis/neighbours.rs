//! What trials at other learning rates say about a trial's cause.
//!
//! A curve that falls slowly looks the same under a learning rate far too low and under one so high that little is learned.
//! In a sweep the neighbours tell: a learning rate above the best one is not too low, and one below it that ends higher is.
//! Every trial is first judged by itself ([`super::rules`]). Neighbours differ in the learning rate alone. Where there are none, as in a
//! random search, trials of the same network on the same data stand in for them. They are weaker evidence, and say less. A trial
//! without either keeps its own verdict.

use std::collections::BTreeSet;

use super::advice::advise;
use super::case::Case;
use super::groups::{LEARNING_RATE, grouped, matched};
use super::rules::without_cause;
use super::shape::Shape;
use super::sweep::{Run, Sweep};
use super::thresholds as limit;
use super::verdicts::{Diagnosis, blames_a_high_rate};
use crate::trial::{Cause, Key, Reason, Trial, Verdict, number_text};

/// Replaces the causes that neighbours contradict. `delta`: the smallest change of the evaluation loss that counts, in nats.
pub fn correct(sweep: &Sweep, diagnoses: &mut [Diagnosis], delta: f64) {
    let mut alone = BTreeSet::new();
    for group in matched(sweep, LEARNING_RATE) {
        let runs: Vec<usize> = group.iter().map(|(_, run)| *run).collect();
        if let [run] = runs[..] {
            alone.insert(run);
            continue;
        }
        let survivors = runs.iter().copied().filter(|&run| diagnoses[run].shape.survived());
        let reached = survivors.filter_map(|run| Some((run, sweep.runs[run].best_eval()?.1)));
        let Some((best, level)) = reached.min_by(|a, b| a.1.total_cmp(&b.1)) else { continue };
        let anchor = Anchor { rate: rate(&sweep.runs[best]), level, differs_elsewhere: false };
        for &run in runs.iter().filter(|&&run| run != best) {
            if rate(&sweep.runs[run]) < anchor.rate {
                acquit(&mut diagnoses[run], &sweep.runs[run], delta);
            }
            let floor = noise_floor(sweep, &runs, run, diagnoses);
            if let Some(verdict) = floor.or_else(|| anchor.correct(&sweep.runs[run], &diagnoses[run], delta)) {
                put_first(&mut diagnoses[run], &sweep.runs[run], verdict, delta);
            }
        }
    }
    for group in alike(sweep) {
        correct_by_like_trials(sweep, &group, &alone, diagnoses, delta);
    }
}

/// Corrects those of `alone`, the trials without a neighbour, that belong to `group`, a group of trials that are [`alike`].
///
/// A learning rate below that of the best trial is never called too high: if it does not work there, the better advice is to take over
/// what else differs. It is called too low only where nothing but the learning rate explains why the trial is behind:
///
/// * The other trial has at least twice the learning rate. The settings that may differ move the best learning rate by less. Under
///   Adam it grows with the square root of the batch (Malladi et al. 2022), so the other batch must be no larger.
/// * The other trial had no more steps.
/// * The clean training loss is behind as well. Weight decay, dropout and the batch mostly change what generalises.
/// * The trial's own curves leave it open, and still improved at the end, as among neighbours.
fn correct_by_like_trials(
    sweep: &Sweep,
    group: &[usize],
    alone: &BTreeSet<usize>,
    diagnoses: &mut [Diagnosis],
    delta: f64,
) {
    let survivors = group.iter().copied().filter(|&run| diagnoses[run].shape.survived());
    let mut reached: Vec<Like> = survivors.filter_map(|run| Like::of(&sweep.runs[run])).collect();
    reached.sort_by(|a, b| a.level.total_cmp(&b.level));
    let Some(best) = reached.first() else { return };
    for &run in group.iter().filter(|run| alone.contains(run)) {
        let (trial, own) = (&sweep.runs[run], &mut diagnoses[run]);
        if rate(trial) < best.rate {
            acquit(own, trial, delta);
        }
        let Some(itself) = Like::of(trial) else { continue };
        let Some(other) = reached.iter().find(|other| other.shows_too_low(&itself)) else { continue };
        let anchor = Anchor { rate: other.rate, level: other.level, differs_elsewhere: true };
        let verdict = anchor.correct(trial, own, delta).filter(|_| {
            let chance = trial.measured().eval_chance().unwrap_or(f64::INFINITY);
            itself.clean - other.clean >= limit::NEIGHBOUR * chance
        });
        if let Some(verdict) = verdict {
            put_first(own, trial, verdict, delta);
        }
    }
}

/// Groups of trials that train the same network on the same data, and differ at most in settings that move the best learning rate
/// little.
fn alike(sweep: &Sweep) -> Vec<Vec<usize>> {
    let moves_little = |path: &str| {
        let single = [Key::LearningRate, Key::WeightDecay, Key::BatchSize, Key::EvalEvery, Key::Warmup, Key::Dropout];
        let is_single = single.iter().any(|key| key.is(path));
        is_single || Key::Scheduler.covers(path) || Key::is_repetition(path) || Key::is_length(path)
    };
    grouped(sweep, moves_little)
}

/// What a trial says about like ones.
struct Like {
    rate: f64,
    /// Examples of a step.
    batch: usize,
    steps: u64,
    /// Lowest evaluation loss.
    level: f64,
    /// Clean training loss at the end.
    clean: f64,
}

impl Like {
    fn of(run: &Run) -> Option<Self> {
        let Trial { steps, config, .. } = &run.trial;
        let clean = run.evals.iter().rev().map(|row| f64::from(row.train_probe_loss)).find(|loss| loss.is_finite())?;
        let batch = config.batch_size * config.grad_accumulation.max(1);
        Some(Self { rate: config.lr, batch, steps: *steps, level: run.best_eval()?.1, clean })
    }

    /// Whether the learning rate of `other`, a trial that ends higher, may be too low by this one.
    fn shows_too_low(&self, other: &Self) -> bool {
        self.rate >= 2.0 * other.rate && self.batch <= other.batch && self.steps <= other.steps
    }
}

fn rate(run: &Run) -> f64 {
    run.trial.config.lr
}

/// The best trial among neighbours.
struct Anchor {
    rate: f64,
    level: f64,
    /// Whether it differs in other settings as well.
    differs_elsewhere: bool,
}

impl Anchor {
    /// The cause of `run` by its best neighbour, where the run's own curves say something else or nothing.
    fn correct(&self, run: &Run, own: &Diagnosis, delta: f64) -> Option<Verdict> {
        let (step, level) = run.best_eval().filter(|_| has_ended(own))?;
        let chance = run.measured().eval_chance()?;
        let behind = level - self.level;
        if behind < (2.0 * delta).max(limit::NEIGHBOUR * chance) {
            return None;
        }
        let evidence = [("level", level), ("best_level", self.level), ("best_rate", self.rate)];
        let steps = (0, run.trial.steps);
        let compared = format!(
            "a learning rate of {} reaches eval loss {:.3} and this one {level:.3}",
            number_text(self.rate),
            self.level
        );
        let late = step as f64 >= limit::SLOW_LATE * run.trial.steps as f64;
        if rate(run) > self.rate && may_be_too_high(own) {
            let text = format!("{compared}: it is too high");
            return Some(Verdict::cause(Cause::Overshoot, text).over(steps).with_evidence(&evidence));
        }
        if rate(run) < self.rate && late && may_be_too_low(own) {
            let how =
                if self.differs_elsewhere { "in no more steps, and with other settings," } else { "in as many steps" };
            let text = format!("{how} {compared}: it is too low");
            return Some(Verdict::cause(Cause::TooSlow, text).over(steps).with_evidence(&evidence));
        }
        None
    }
}

/// Removes the verdicts that blame a high learning rate: a higher one trains better.
fn acquit(own: &mut Diagnosis, run: &Run, delta: f64) {
    own.verdicts.retain(|verdict| !blames_a_high_rate(verdict));
    if own.verdicts.is_empty() || own.cause().is_none() && !own.verdicts.iter().any(is_summary) {
        let measured = run.measured();
        own.verdicts.insert(0, without_cause(&Case::of(&measured, run.status, delta)));
    }
}

/// Whether a verdict states that there is no cause.
fn is_summary(verdict: &Verdict) -> bool {
    matches!(
        verdict.id.cause(),
        Some(
            Cause::Healthy
                | Cause::TooShort
                | Cause::Unexplained
                | Cause::Unfinished
                | Cause::Failed
                | Cause::Overconfident
        )
    )
}

fn has_ended(own: &Diagnosis) -> bool {
    !matches!(own.shape, Shape::Failed | Shape::Unfinished)
}

/// The trial's own primary cause and its reason.
fn own_cause(own: &Diagnosis) -> Option<(Cause, Option<Reason>)> {
    own.cause().and_then(|verdict| Some((verdict.id.cause()?, verdict.reason)))
}

/// Whether the trial's own cause would raise the learning rate or lengthen the run, or is unknown.
fn may_be_too_high(own: &Diagnosis) -> bool {
    own_cause(own).is_none_or(|(cause, reason)| match cause {
        Cause::TooSlow
        | Cause::LrExhausted
        | Cause::Stalled
        | Cause::PriorStuck
        | Cause::NoiseFloor
        | Cause::Vanish => true,
        Cause::UpdateRatio => reason == Some(Reason::RateTooLow),
        _ => false,
    })
}

/// Whether the trial's own cause leaves room for a learning rate that is too low.
fn may_be_too_low(own: &Diagnosis) -> bool {
    own_cause(own).is_none_or(|(cause, _)| {
        matches!(
            cause,
            Cause::LrExhausted | Cause::Stalled | Cause::PriorStuck | Cause::UpdateRatio | Cause::LabelFloor
        )
    })
}

/// `NOISE_FLOOR` by neighbour: flat at an effective learning rate, while half of it or less trains lower.
fn noise_floor(sweep: &Sweep, runs: &[usize], run: usize, diagnoses: &[Diagnosis]) -> Option<Verdict> {
    let own = &diagnoses[run];
    let found = &own.detection;
    let still_high = found.is_flat() && found.rate_share.is_some_and(|share| share >= limit::SPENT_SHARE);
    let is_open = own_cause(own).is_none_or(|(cause, _)| matches!(cause, Cause::Stalled | Cause::LabelFloor));
    if !(still_high && is_open && has_ended(own)) {
        return None;
    }
    let level = |run: usize| diagnoses[run].detection.tail.level;
    let is_lower = |&other: &usize| {
        rate(&sweep.runs[other]) <= rate(&sweep.runs[run]) / 2.0
            && diagnoses[other].shape.survived()
            && level(other) < level(run) - limit::NEIGHBOUR * found.scale
    };
    let other = runs.iter().copied().filter(is_lower).min_by(|a, b| level(*a).total_cmp(&level(*b)))?;
    let (lower, there) = (rate(&sweep.runs[other]), level(other));
    let text = format!(
        "the loss is flat at {:.3}, and a learning rate of {} trains to {there:.3}: the learning rate is too high to settle",
        level(run),
        number_text(lower)
    );
    let evidence = [("level", level(run)), ("there", there), ("lower_rate", lower)];
    Some(Verdict::cause(Cause::NoiseFloor, text).over((found.tail.from, found.tail.to)).with_evidence(&evidence))
}

/// Puts the neighbour's verdict first and removes what it contradicts.
fn put_first(own: &mut Diagnosis, run: &Run, mut verdict: Verdict, delta: f64) {
    let contradicted = |other: &Verdict| match other.id.cause() {
        Some(
            Cause::TooSlow
            | Cause::LrExhausted
            | Cause::Stalled
            | Cause::UpdateRatio
            | Cause::Healthy
            | Cause::Unexplained,
        ) => true,
        _ => other.is_cause() && other.id == verdict.id,
    };
    own.verdicts.retain(|other| !contradicted(other));
    let measured = run.measured();
    verdict.advice = advise(&verdict, &Case::of(&measured, run.status, delta));
    own.verdicts.insert(0, verdict);
}

#[cfg(test)]
mod tests {
    use super::super::study::Study;
    use super::super::sweep::Sweep;
    use super::super::synthetic::{self, axis};
    use super::super::verdicts::blames_a_high_rate;

    /// Trials at three rates, each with its evaluation losses and training loss as functions of the share of the run.
    fn at_rates(curves: [fn(f32) -> f32; 3]) -> Sweep {
        with_curves(synthetic::sweep("s", &[axis("lr", &["1e-6", "1e-5", "3e-5"])], 120), curves)
    }

    /// The same of a search: no two trials have the same value of `key`.
    fn drawn(key: &str, curves: [fn(f32) -> f32; 3]) -> Sweep {
        let axes = [axis("lr", &["1e-6", "1e-5", "3e-5"]), axis(key, &["4", "8", "16"])];
        let mut sweep = synthetic::sweep("s", &axes, 120);
        let mut number = 0..;
        sweep.runs.retain(|_| number.next().is_some_and(|number: usize| number.is_multiple_of(4)));
        with_curves(sweep, curves)
    }

    fn with_curves(mut sweep: Sweep, curves: [fn(f32) -> f32; 3]) -> Sweep {
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
        causes_of(&at_rates(curves))
    }

    fn causes_of(sweep: &Sweep) -> String {
        let study = Study::of(sweep);
        let first =
            |diagnosis: &super::Diagnosis| format!("{}: {}", diagnosis.verdicts[0].id, diagnosis.verdicts[0].text);
        study.diagnoses.iter().map(first).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_rate_above_the_best_is_not_too_low() {
        let slow = |t: f32| 0.69 - 0.4 * t;
        let good = |t: f32| 0.05 + 0.64 * (-t / 0.1).exp();
        insta::assert_snapshot!(causes([slow, good, slow]), @"
        TOO_SLOW: in as many steps a learning rate of 1e-5 reaches eval loss 0.150 and this one 0.390: it is too low
        HEALTHY: no fault found; the training loss is flat at 0.050
        OVERSHOOT: a learning rate of 1e-5 reaches eval loss 0.150 and this one 0.390: it is too high
        ");
    }

    #[test]
    fn like_trials_of_a_search_correct_each_other() {
        let slow = |t: f32| 0.69 - 0.4 * t;
        let good = |t: f32| 0.05 + 0.64 * (-t / 0.1).exp();
        insta::assert_snapshot!(causes_of(&drawn("weight_decay", [slow, good, good])), @"
        TOO_SLOW: in no more steps, and with other settings, a learning rate of 1e-5 reaches eval loss 0.150 and this one 0.390: it is too low
        HEALTHY: no fault found; the training loss is flat at 0.050
        HEALTHY: no fault found; the training loss is flat at 0.050
        ");
        let first = |sweep: &Sweep| Study::of(sweep).diagnoses[0].verdicts[0].text.clone();
        let by_others = |sweep: &Sweep| first(sweep).contains("in no more steps");
        assert!(!by_others(&drawn("label_smoothing", [slow, good, good])), "it changes the level of the loss");
        let mut larger = drawn("weight_decay", [slow, good, good]);
        larger.runs[0].trial.config.batch_size = 4;
        assert!(!by_others(&larger), "the others had larger batches");
        let mut longer = drawn("weight_decay", [slow, good, good]);
        longer.runs[0].trial.steps = 60;
        assert!(!by_others(&longer), "the others had more steps");
    }

    #[test]
    fn a_rate_below_the_best_of_a_search_is_not_too_high() {
        let good = |t: f32| 0.05 + 0.64 * (-t / 0.1).exp();
        let rises = |t: f32| 0.69 + 0.6 * t;
        let sweep = |best| drawn("batch_size", if best == 1 { [rises, good, rises] } else { [good, rises, rises] });
        let blamed = |sweep: &Sweep| {
            let study = Study::of(sweep);
            study.diagnoses.iter().map(|own| own.verdicts.iter().any(blames_a_high_rate)).collect::<Vec<_>>()
        };
        assert_eq!(blamed(&sweep(1)), [false, false, true]);
        assert_eq!(blamed(&sweep(0)), [false, true, true]);
    }

    #[test]
    fn a_lower_rate_that_trains_lower_shows_a_noise_floor() {
        let good = |t: f32| 0.05 + 0.64 * (-t / 0.1).exp();
        let higher = |t: f32| 0.3 + 0.39 * (-t / 0.03).exp();
        insta::assert_snapshot!(causes([good, good, higher]), @"
        HEALTHY: no fault found; the training loss is flat at 0.050
        HEALTHY: no fault found; the training loss is flat at 0.050
        NOISE_FLOOR: the loss is flat at 0.300, and a learning rate of 1e-6 trains to 0.050: the learning rate is too high to settle
        ");
    }
}
