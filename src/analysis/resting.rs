//! The rule `stop.plateau`: whether the loss of a running trial is on a plateau.
//!
//! The detector judges the curve as if the trial had ended at an evaluation, at several of them in a row: a single look is
//! flat by chance now and then. A loss that is flat for want of learning rate does not count. Neither does one that falls
//! slowly and has many steps left: a small change over a short tail may be a large one by the end. The answer is a function of
//! the rows up to an evaluation, so interruptions and speed change nothing.

use super::detector::{Detection, detect};
use super::measured::Measured;
use super::thresholds as limit;
use crate::trial::{Cause, EvalRow, MetricRow, Plateau, Verdict};

/// The note on a trial that should stop at its newest evaluation, or None if it should continue.
///
/// `metrics` and `evals`: all rows so far of a trial of `steps` steps. `train_level`: the loss of the best model
/// that ignores its input.
#[must_use]
pub fn rests(
    rule: &Plateau,
    steps: u64,
    metrics: &[MetricRow],
    evals: &[EvalRow],
    train_level: Option<f64>,
) -> Option<Verdict> {
    let wanted = rule.evals.max(1) as usize;
    let first = evals.len().checked_sub(wanted)?;
    if evals[first].step < rule.min_steps {
        return None;
    }
    let at = |last: usize| {
        let metrics = &metrics[..metrics.partition_point(|row| row.step <= evals[last].step)];
        detect(&Measured { train_level, ..Measured::of(metrics, &evals[..=last]) })
    };
    let rests = |found: &Detection| found.is_flat() && ahead(found, steps) > -limit::FLAT;
    // The newest evaluation first: it alone usually decides.
    let newest = Some(at(evals.len() - 1)).filter(rests)?;
    let all = (first..evals.len() - 1).rev().all(|last| rests(&at(last)));
    all.then(|| verdict(&newest, steps, wanted, evals.last().map(|row| row.step)))
}

/// What the remaining steps would change at the pace of the tail, as a share of the scale.
fn ahead(Detection { tail, .. }: &Detection, steps: u64) -> f64 {
    let span = tail.to.saturating_sub(tail.from).max(1);
    tail.change * steps.saturating_sub(tail.to) as f64 / span as f64
}

fn verdict(found: &Detection, steps: u64, evals: usize, step: Option<u64>) -> Verdict {
    let Detection { tail, scale, onset, .. } = found;
    let since = onset.map_or_else(String::new, |onset| format!(", on a plateau from step {onset} on"));
    let ahead = ahead(found, steps);
    let text = format!(
        "stop.plateau: the training loss is flat at {:.4}{since}: from step {} to {} it changed by {:+.3} ± {:.3} of {scale:.3} \
         (flat: within {}), at this pace by {ahead:+.3} in the steps left, and likewise at {evals} evaluations in a row",
        tail.level,
        tail.from,
        tail.to,
        tail.change,
        tail.half,
        limit::FLAT
    );
    let numbers = [
        ("level", tail.level),
        ("change", tail.change),
        ("half_width", tail.half),
        ("ahead", ahead),
        ("scale", *scale),
        ("limit", limit::FLAT),
        ("evals", evals as f64),
    ];
    let verdict = Verdict::note(Cause::StoppedFlat, text).over((tail.from, tail.to)).with_evidence(&numbers);
    Verdict { step, ..verdict }
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::gauss;
    use super::*;
    use crate::trial::Scores;

    /// A step a row, an evaluation every ten, without a probe.
    fn rows(steps: u64, loss: impl Fn(u64) -> f64, rate: impl Fn(u64) -> f64) -> (Vec<MetricRow>, Vec<EvalRow>) {
        let metric = |step: u64| MetricRow {
            step,
            epoch: 0.0,
            train_loss: (loss(step) + 0.02 * gauss(3, step)) as f32,
            lr: rate(step),
            grad_norm: 1.0,
            tokens: 9,
            seconds: 0.0,
        };
        let eval = |step| EvalRow {
            step,
            eval_loss: 0.5,
            accuracy: 0.5,
            macro_f1: 0.5,
            train_probe_loss: f32::NAN,
            scores: Scores::default(),
        };
        ((1..=steps).map(metric).collect(), (0..=steps).step_by(10).map(eval).collect())
    }

    const STEPS: u64 = 400;
    const CHANCE: Option<f64> = Some(std::f64::consts::LN_2);

    /// The first evaluation at which the rule ends the trial.
    fn ends(rule: &Plateau, (metrics, evals): &(Vec<MetricRow>, Vec<EvalRow>)) -> Option<u64> {
        (1..=evals.len()).find_map(|seen| {
            let end = evals[seen - 1].step;
            let metrics = &metrics[..end as usize];
            rests(rule, STEPS, metrics, &evals[..seen], CHANCE).map(|verdict| {
                assert_eq!(verdict.step, Some(end));
                end
            })
        })
    }

    fn falls_until(step: u64) -> impl Fn(u64) -> f64 {
        move |at| 0.3 + 0.4 * (1.0 - at.min(step) as f64 / step as f64)
    }

    #[test]
    fn a_falling_loss_continues_and_a_flat_one_ends_soon_after() {
        let rule = Plateau::default();
        assert_eq!(ends(&rule, &rows(STEPS, falls_until(STEPS), |_| 1e-4)), None, "slowly, but all the way");
        let rests_from_100 = || rows(STEPS, falls_until(100), |_| 1e-4);
        let end = ends(&rule, &rests_from_100()).unwrap();
        assert!((140..=260).contains(&end), "the last third must be flat first: {end}");
        let later = Plateau { evals: 6, ..rule.clone() };
        assert!(ends(&later, &rests_from_100()) >= Some(end + 30), "three more evaluations at least");
        let not_yet = Plateau { min_steps: 300, ..rule };
        assert_eq!(ends(&not_yet, &rests_from_100()), Some(320), "at steps 300, 310 and 320");
    }

    #[test]
    fn a_loss_that_is_flat_without_learning_rate_does_not_end_the_trial() {
        // The learning rate drops to almost zero after a fifth of the steps. The loss falls until then.
        let rate = |step: u64| if step <= 80 { 1e-4 } else { 1e-9 };
        assert_eq!(ends(&Plateau::default(), &rows(STEPS, falls_until(80), rate)), None);
    }

    #[test]
    fn a_warm_up_is_not_judged() {
        let rate = |step: u64| 1e-6 * step as f64;
        assert_eq!(ends(&Plateau::default(), &rows(STEPS, |_| 0.7, rate)), None);
    }

    #[test]
    fn the_words() {
        let (metrics, evals) = rows(200, falls_until(50), |_| 1e-4);
        let verdict = rests(&Plateau::default(), STEPS, &metrics, &evals, CHANCE).unwrap();
        insta::assert_snapshot!(verdict.text, @"stop.plateau: the training loss is flat at 0.3013, on a plateau from step 41 on: from step 135 to 200 it changed by -0.001 ± 0.026 of 0.693 (flat: within 0.1), at this pace by -0.003 in the steps left, and likewise at 3 evaluations in a row");
        assert_eq!((verdict.evidence.len(), verdict.steps), (7, Some((135, 200))));
    }
}
