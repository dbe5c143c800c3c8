//! What a short log says: the course of a few evaluations, and what to log to learn more.
//!
//! The detector needs a dozen losses in the last third of a run. Many logs have fewer, because the Trainer of transformers logs
//! every 500 steps by default. Their evaluations often show enough.

use crate::analysis::case::{Case, Guess, finite};
use crate::analysis::curve::Point;
use crate::analysis::detector::Trend;
use crate::analysis::shape::Shape;
use crate::analysis::statistics::median;
use crate::analysis::thresholds as limit;
use crate::trial::{Cause, Reason, Verdict};

/// OVERFIT, from a few evaluations: at the end the evaluation loss is clearly above its earlier minimum, while the training
/// loss fell.
///
/// Two evaluations after the best one show a rise; a single one must stand far above it. The accuracy decides, as in
/// [`overfit`](super::fit::overfit), whether only the confidence is too high.
pub fn overfit(case: &Case<'_>) -> Option<Verdict> {
    let evals = evaluations(case);
    if case.detection.tail.trend != Trend::TooShort && evals.len() > limit::SHORT_EVALS {
        return None;
    }
    let (&last, earlier) = evals.split_last()?;
    let best = earlier.iter().min_by(|a, b| a.y.total_cmp(&b.y))?;
    let after = evals.iter().filter(|point| point.x > best.x).count();
    let rise = last.y / best.y;
    // A single evaluation may be an accident, which only the end of the run makes the last word.
    let is_over = case.measured.end() as f64 >= limit::COMPLETE * case.measured.steps as f64;
    let is_rise = if after > 1 { rise >= limit::OVERFIT } else { is_over && rise >= limit::OVERFIT_SEVERE };
    if best.y <= 0.0 || !is_rise || after >= limit::OVERFIT_EVALS || !training_falls(case) {
        return None;
    }
    let (at, end) = (best.x as u64, last.x as u64);
    let text = format!(
        "the eval loss rises from {:.3} at step {at} to {:.3} at step {end}, while the training loss falls: the model overfits after \
         step {at} ({})",
        best.y,
        last.y,
        if after > 1 { "likely: few evaluations show it" } else { "probably: a single evaluation shows it" }
    );
    let verdict = if accuracy_holds(case, best.x) {
        Verdict::note(Cause::CalibrationOnly, format!("{text}; the accuracy holds, so only the confidence is too high"))
    } else {
        Verdict::cause(Cause::Overfit, text)
    };
    let evidence = [("best", best.y), ("last", last.y), ("evaluations", evals.len() as f64)];
    Some(verdict.over((at, end)).with_evidence(&evidence))
}

/// OVERSHOOT, from a few losses: after the first one or few, all lie far above the start.
pub fn overshoot(case: &Case<'_>) -> Option<Verdict> {
    let losses = finite(&case.measured.train);
    let (&first, after) = losses.split_first()?;
    let later = &after[losses.len() / 3..];
    let lowest = later.iter().copied().fold(f64::INFINITY, f64::min);
    let is_short = case.detection.tail.trend == Trend::TooShort && losses.len() >= limit::FEWEST_BLOCKS;
    let stays_above = first > 0.0 && lowest > limit::DIVERGES * first && lowest - first > limit::MUCH_LOSS;
    (is_short && stays_above && case.chance.is_none_or(|chance| lowest > limit::OVER_PRIOR * chance)).then(|| {
        let last = losses[losses.len() - 1];
        let text = format!(
            "the training loss leaves {first:.3} at once and ends at {last:.3}, far above its start: steps are too large"
        );
        let verdict = Verdict::cause(Cause::Overshoot, text).over(case.all_steps()).with_reason(Reason::RateTooHigh);
        verdict.with_evidence(&[("first", first), ("lowest", lowest), ("last", last)])
    })
}

/// `NEVER_FELL`, from a few losses: neither the training loss nor the evaluation loss moves over several evaluations.
pub fn never_fell(case: &Case<'_>) -> Option<Verdict> {
    let evals = evaluations(case);
    let (first, train) = (evals.first()?, finite(&case.measured.train));
    let guess = Case::guess_at(first.y);
    let is_plain = guess.as_ref().is_some_and(Guess::is_plain);
    let enough = if is_plain { limit::SHORT_EVALS_AT_UNIFORM } else { limit::SHORT_EVALS };
    let is_still = case.detection.tail.trend == Trend::TooShort
        && evals.len() >= enough
        && first.y > limit::SHORT_CHANGE
        && evals.iter().all(|point| (point.y - first.y).abs() < limit::SHORT_CHANGE * first.y)
        && train.last().zip(train.first()).is_none_or(|(last, start)| *last > (1.0 - limit::OVERFIT_FALL) * start);
    let accuracy = finite(&case.measured.accuracy);
    let answers_change = accuracy.iter().any(|y| (y - accuracy[0]).abs() > limit::MAJORITY_MARGIN);
    if !is_still || answers_change {
        return None;
    }
    let guess = guess.filter(Guess::is_plain).map_or_else(String::new, |guess| format!(", the loss of {guess},"));
    let text = format!(
        "the eval loss stays at {:.3}{guess} over {} evaluations, and the training loss does not fall: nothing is learned",
        first.y,
        evals.len()
    );
    let evidence = [("level", first.y), ("evaluations", evals.len() as f64)];
    Some(Verdict::cause(Cause::NeverFell, text).over((first.x as u64, case.measured.end())).with_evidence(&evidence))
}

/// Describes a log of few training losses, but evaluations enough for a verdict, where no rule finds a cause.
pub fn by_evaluations(case: &Case<'_>) -> Option<String> {
    let enough = evaluations(case).len() >= limit::NOISY_EVALS;
    enough.then(|| format!("no fault found by the evaluations: {}; {}", evaluation(case), training(case)))
}

/// Describes a log that is too short for a trend, where no rule finds a cause.
pub fn describe(case: &Case<'_>) -> String {
    let mut parts = vec![training(case), evaluation(case)];
    let (end, planned) = (case.measured.end(), case.measured.steps);
    if planned > end {
        parts.push(format!("the log covers {end} of {planned} steps"));
    }
    let peak = case.measured.rate_peak();
    if case.measured.train.len() >= 3 * limit::FEWEST_TAIL_POINTS && peak > 0 {
        parts.push(format!(
            "a trend is judged after the learning rate has peaked (step {peak}): the log ends too soon after it"
        ));
    }
    if case.config().is_none() && case.measured.train.len() < limit::FEWEST_TAIL_POINTS {
        parts.push("log more often (logging_steps: 10) to see the course of the training loss".into());
    }
    // Three evaluations, or a few training losses, show a course, if no trend.
    let shows_a_course = evaluations(case).len() >= 3 || finite(&case.measured.train).len() >= limit::FEWEST_BLOCKS;
    format!("{}: {}", if shows_a_course { "a short log" } else { "too short to judge" }, parts.join("; "))
}

fn training(case: &Case<'_>) -> String {
    let losses = finite(&case.measured.train);
    match losses[..] {
        [] => "no training loss".into(),
        [only] => format!("one training loss, {only:.3}"),
        [first, .., last] => {
            let course = match losses.len() {
                2..limit::FEWEST_BLOCKS => format!("{} training losses, from {first:.3} to {last:.3}", losses.len()),
                count => {
                    let third = count / 3;
                    let (start, end) = (median(&losses[..third]), median(&losses[count - third..]));
                    // A loss that leaps at once has risen, although it falls from there.
                    let start =
                        if losses[1..].iter().all(|loss| *loss > limit::DIVERGES * first) { first } else { start };
                    // Of a loss that hardly moves, single ones are noise.
                    let (verb, from, to) = match end / start {
                        ratio if ratio < limit::POOR_FALL => ("falls", first, last),
                        ratio if ratio > 1.0 / limit::POOR_FALL => ("rises", first, last),
                        _ => ("hardly moves", start, end),
                    };
                    format!("the training loss {verb}, from {from:.3} to {to:.3} over {count} losses")
                }
            };
            if leaps(&losses) {
                return format!(
                    "{course}; the last one leaps far above all others: a spike, or a divergence that begins"
                );
            }
            course
        }
    }
}

/// Whether the last loss alone is far above all before.
fn leaps(losses: &[f64]) -> bool {
    let Some((last, before)) = losses.split_last().filter(|_| losses.len() >= limit::FEWEST_BLOCKS) else {
        return false;
    };
    let greatest = before.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    greatest > 0.0 && *last > limit::ABOVE_ALL * greatest && *last > limit::DIVERGES * median(before)
}

fn evaluation(case: &Case<'_>) -> String {
    let evals = evaluations(case);
    let (Some(first), Some(last)) = (evals.first(), evals.last()) else {
        let how = if case.config().is_some() { "eval_every" } else { "eval_strategy: epoch" };
        return format!("no evaluation, so overfitting cannot be seen ({how} adds them)");
    };
    if evals.len() == 1 {
        return format!("one evaluation, {:.3} at step {}, which shows no course", last.y, last.x);
    }
    let best = evals.iter().fold(first, |best, point| if point.y < best.y { point } else { best });
    let sure = if evals.len() > 2 { "likely" } else { "perhaps" };
    let before = evals[evals.len() - 2];
    let improves = match case.shape {
        Shape::StillImproving { .. } => true,
        Shape::TooShort => before.y - last.y > case.measured.least_change(),
        _ => false,
    };
    let course = if improves && best.x >= last.x && first.y - last.y > limit::SHORT_CHANGE * first.y {
        format!("{sure} still improving: train longer")
    } else if last.y <= limit::OVERFIT * best.y {
        let from = case.shape.plateau().unwrap_or(best.x as u64);
        format!("{sure} at its best from step {from}: more steps of this kind bring little")
    } else if accuracy_holds(case, best.x) {
        format!(
            "the last is above the best, {:.3} at step {}, but the accuracy holds: only the confidence is too high",
            best.y, best.x
        )
    } else {
        let after = evals.iter().filter(|point| point.x > best.x).count();
        let advice = if after >= limit::OVERFIT_EVALS {
            "keep the checkpoint of that step"
        } else {
            "evaluate more often to see whether it overfits"
        };
        format!("the last is above the best, {:.3} at step {}: {advice}", best.y, best.x)
    };
    format!("the eval loss goes from {:.3} to {:.3} over {} evaluations: {course}", first.y, last.y, evals.len())
}

/// The finite evaluation losses of a model that was trained.
fn evaluations(case: &Case<'_>) -> Vec<Point> {
    case.measured.eval.iter().copied().filter(|point| point.y.is_finite() && point.x > 0.0).collect()
}

fn training_falls(case: &Case<'_>) -> bool {
    let losses = finite(&case.measured.train);
    matches!(losses[..], [first, .., last] if last < (1.0 - limit::OVERFIT_FALL) * first)
}

/// Whether the last accuracy is as good as that at the step `best`. False where none was measured.
fn accuracy_holds(case: &Case<'_>, best: f64) -> bool {
    let then = case.measured.accuracy.iter().find(|point| point.x >= best);
    let now = case.measured.accuracy.last();
    then.zip(now).is_some_and(|(then, now)| now.y >= then.y - limit::MAJORITY_MARGIN / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Measured;
    use crate::trial::Status;

    fn points(values: &[f64], every: f64) -> Vec<Point> {
        values.iter().enumerate().map(|(index, &y)| Point { x: (index as f64 + 1.0) * every, y }).collect()
    }

    fn measured(train: &[f64], eval: &[f64], accuracy: &[f64]) -> Measured<'static> {
        let [train, eval, accuracy] = [train, eval, accuracy].map(|values| points(values, 100.0));
        Measured { train, eval, accuracy, ..Measured::default() }
    }

    fn with_case<T>(measured: &Measured<'_>, ask: impl Fn(&Case<'_>) -> T) -> T {
        ask(&Case::of(measured, Status::Finished, 0.01))
    }

    #[test]
    fn three_evaluations_that_rise_show_overfitting() {
        let rises = measured(&[0.6, 0.3, 0.1], &[0.41, 0.48, 0.55], &[0.86, 0.85, 0.8]);
        let verdict = with_case(&rises, overfit).unwrap();
        insta::assert_snapshot!(verdict.text, @"the eval loss rises from 0.410 at step 100 to 0.550 at step 300, while the training loss falls: the model overfits after step 100 (likely: few evaluations show it)");
        assert!(verdict.is_cause());
        let calibration = measured(&[0.6, 0.3, 0.1], &[0.41, 0.48, 0.55], &[0.86, 0.86, 0.87]);
        assert!(!with_case(&calibration, overfit).unwrap().is_cause());
        for fine in [
            measured(&[0.6, 0.3, 0.1], &[0.41, 0.4, 0.42], &[]),
            measured(&[0.6, 0.6, 0.6], &[0.41, 0.48, 0.55], &[]),
            measured(&[0.6, 0.3, 0.1], &[0.41, 0.45], &[]),
        ] {
            assert_eq!(with_case(&fine, overfit), None, "{fine:?}");
        }
    }

    #[test]
    fn evaluations_that_do_not_move_show_that_nothing_is_learned() {
        let stuck = measured(&[1.40, 1.38, 1.40, 1.39], &[1.391, 1.387, 1.39, 1.391], &[0.241; 4]);
        let verdict = with_case(&stuck, never_fell).unwrap();
        insta::assert_snapshot!(verdict.text, @"the eval loss stays at 1.391, the loss of a guess over 4 classes (ln 4 = 1.386), over 4 evaluations, and the training loss does not fall: nothing is learned");
        let learns = measured(&[1.4, 1.0, 0.8, 0.6], &[1.391, 1.387, 1.39, 1.391], &[]);
        assert_eq!(with_case(&learns, never_fell), None);
    }

    #[test]
    fn a_short_log_gets_an_answer() {
        let text = |train: &[f64], eval: &[f64]| with_case(&measured(train, eval, &[]), describe);
        insta::assert_snapshot!(text(&[0.6, 0.3], &[]), @"too short to judge: 2 training losses, from 0.600 to 0.300; no evaluation, so overfitting cannot be seen (eval_strategy: epoch adds them); log more often (logging_steps: 10) to see the course of the training loss");
        insta::assert_snapshot!(text(&[0.6], &[0.5]), @"too short to judge: one training loss, 0.600; one evaluation, 0.500 at step 100, which shows no course; log more often (logging_steps: 10) to see the course of the training loss");
        insta::assert_snapshot!(text(&[0.6, 0.3, 0.2], &[0.5, 0.4, 0.35]), @"a short log: 3 training losses, from 0.600 to 0.200; the eval loss goes from 0.500 to 0.350 over 3 evaluations: likely still improving: train longer; log more often (logging_steps: 10) to see the course of the training loss");
        assert!(text(&[0.6, 0.3, 0.2], &[0.5, 0.5, 0.5]).contains("more steps of this kind bring little"));
    }

    #[test]
    fn a_few_losses_far_above_the_start_are_too_high() {
        let leaps = measured(&[1.64, 11.8, 11.6, 10.4, 10.37, 10.37, 10.37, 10.37], &[], &[]);
        let verdict = with_case(&leaps, overshoot).unwrap();
        insta::assert_snapshot!(verdict.text, @"the training loss leaves 1.640 at once and ends at 10.370, far above its start: steps are too large");
        assert!(with_case(&leaps, describe).contains("the training loss rises, from 1.640 to 10.370"));
        for fine in [&[1.64, 11.8, 3.0, 1.2, 1.1, 1.0, 0.9, 0.9][..], &[1.6, 1.5, 1.4, 1.3, 1.2, 1.1]] {
            assert_eq!(with_case(&measured(fine, &[], &[]), overshoot), None, "{fine:?}");
        }
    }

    #[test]
    fn a_loss_that_hardly_moves_is_described_by_its_medians() {
        let noisy: Vec<f64> = (0..30).map(|i| 0.7 + if i % 2 == 0 { 0.2 } else { -0.2 }).collect();
        let text = with_case(&measured(&noisy, &[], &[]), describe);
        assert!(text.contains("the training loss hardly moves, from 0.700 to 0.700 over 30 losses"), "{text}");
    }

    #[test]
    fn a_log_that_ends_in_the_warm_up_says_so() {
        let mut log = measured(&(0..60).map(|i| 1.0 - 0.005 * f64::from(i)).collect::<Vec<_>>(), &[], &[]);
        log.lr = log.train.iter().map(|point| Point { y: 1e-6 * point.x, ..*point }).collect();
        assert!(with_case(&log, describe).ends_with(
            "a trend is judged after the learning rate has peaked (step 6000): the log ends too soon after it"
        ));
    }

    #[test]
    fn eight_evaluations_are_enough_for_a_verdict() {
        let falling: Vec<f64> = (0..12).map(|i| 0.3 + 0.4 * (-f64::from(i) / 3.0).exp()).collect();
        let text = |evals: usize| with_case(&measured(&falling, &falling[..evals], &[]), by_evaluations);
        insta::assert_snapshot!(text(12).unwrap(), @"no fault found by the evaluations: the eval loss goes from 0.700 to 0.310 over 12 evaluations: likely still improving: train longer; the training loss falls, from 0.700 to 0.310 over 12 losses");
        assert!(text(8).is_some());
        assert_eq!(text(7), None);
    }
}
