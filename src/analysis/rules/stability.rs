//! Training that breaks: numbers that are none, losses that rise or fall back, spikes, and a clip that does the work.

use super::super::curve::Point;
use super::super::detector::Trend;
use super::super::measured::chance;
use super::super::statistics::{mean, median, robust_deviation};
use super::{Case, advised, cause, limit, note, percent, rate};
use crate::trial::Verdict;

/// NONFINITE: a loss or a gradient norm that is NaN or infinite.
pub(super) fn non_finite(case: &Case<'_>) -> Option<Verdict> {
    let step = case.broken()?;
    let before: Vec<&Point> = case.measured.train.iter().filter(|point| (point.x as u64) < step).collect();
    let norm = case.measured.grad_norm.iter().rfind(|point| (point.x as u64) < step);
    let norm = norm.map_or(f64::NAN, |point| point.y);
    let rate = case.measured.lr.iter().rfind(|point| point.x as u64 <= step).map_or(f64::NAN, |point| point.y);
    let loss = before.last().map_or(f64::NAN, |point| point.y);
    let shown = |name: &str, value: f64| if value.is_finite() { format!(", {name} {value:.3}") } else { String::new() };
    let text = format!(
        "the numbers break at step {step}{}{}{}",
        shown("train loss before it", loss),
        shown("gradient norm", norm),
        if rate.is_finite() { format!(", learning rate {rate:.2e}") } else { String::new() }
    );
    let steps = (before.iter().rev().nth(9).map_or(0, |point| point.x as u64), step);
    let verdict =
        cause("NONFINITE", steps, text, &[("step", step as f64), ("loss", loss), ("grad_norm", norm), ("lr", rate)]);
    advised(verdict, format!("{}, warmup: 0.1, max_grad_norm: 1.0", case.rate_times(1.0 / 3.0)))
}

/// First step of the trouble that a rate too high makes: of the NaN, of the loss above the prior, of the fall back to it.
fn trouble(case: &Case<'_>) -> Option<u64> {
    let start = overshot(case).or_else(|| fallen_back(case)).or_else(|| thrown(case).filter(|_| case.is_poor()));
    case.broken().or(start)
}

/// `AFTER_WARMUP`: trouble that begins right after the learning rate peaks.
pub(super) fn after_warmup(case: &Case<'_>) -> Option<Verdict> {
    let (at, peak) = (trouble(case)?, case.measured.rate_peak());
    let planned = case.measured.steps.max(case.measured.end());
    let window = peak + (limit::AFTER_PEAK * planned as f64).ceil() as u64;
    if case.measured.lr.is_empty() || at < peak.min(2) || at > window || at + planned / 100 < peak {
        return None;
    }
    let text = format!(
        "trouble begins at step {at}, within {} of the steps after the learning rate peaks at step {peak}: the peak is too high",
        percent(limit::AFTER_PEAK)
    );
    let verdict = cause("AFTER_WARMUP", (peak, at), text, &[("onset", at as f64), ("peak_step", peak as f64)]);
    let warm = if peak <= 1 { ", warmup: 0.1" } else { "" };
    advised(verdict, format!("{}{warm}", case.rate_times(1.0 / 3.0)))
}

/// First step of the blocks that stay above the prior to the end.
fn overshot(case: &Case<'_>) -> Option<u64> {
    let over = limit::OVER_PRIOR * case.chance?;
    let stays = case.blocks.iter().rev().take_while(|block| block.mean > over).last()?;
    (is_over(case)).then_some(stays.from)
}

fn is_over(case: &Case<'_>) -> bool {
    let tail = &case.detection.tail;
    // Where guessing is unknown, the start of the run stands in for it.
    let start = || case.blocks.first().filter(|_| case.has_course()).map(|block| block.mean);
    let Some(chance) = case.chance.or_else(start) else { return false };
    // Half the interval of the change bounds the error of the mean from above.
    tail.level > limit::OVER_PRIOR * chance && tail.level - chance > tail.half * case.detection.scale / 2.0
}

/// First step at which the loss stands clearly above what guessing and the untrained model lose: the evaluations, which
/// have little noise, or the mean of the first batches.
pub(super) fn thrown(case: &Case<'_>) -> Option<u64> {
    if case.greatest_ratio().is_some_and(|ratio| ratio < limit::RATIO_THROWS) {
        return None;
    }
    let chance = chance(case.measured.train_prior)?;
    let evals = [&case.measured.eval, &case.measured.probe];
    let over = |curve: &&Vec<Point>| {
        let start = curve.first().filter(|point| point.x == 0.0).map_or(chance, |point| point.y.max(chance));
        curve.iter().find(|point| point.x > 0.0 && point.y > limit::THROWN * start).map(|point| point.x as u64)
    };
    let early = case.measured.train.get(1..limit::FEWEST_TAIL_POINTS.max(case.measured.train.len() / 10))?;
    let early_level = mean(&early.iter().map(|point| point.y).collect::<Vec<_>>());
    let untrained = case.measured.eval.first().filter(|point| point.x == 0.0).map_or(chance, |point| point.y);
    let jumped = early_level > limit::THROWN * chance.max(untrained) + rate::smoothing_floor(case);
    let at_once = early.first().filter(|_| jumped).map(|point| point.x as u64);
    at_once.or_else(|| evals.iter().filter_map(over).min())
}

/// Whether steps are far too large, or threw the loss.
pub(super) fn is_hot(case: &Case<'_>) -> bool {
    case.greatest_ratio().is_some_and(|ratio| ratio > limit::RATIO_HIGH) || thrown(case).is_some()
}

/// Whether the rate explains why little was learned.
pub(super) fn is_thrown_about(case: &Case<'_>) -> bool {
    case.is_poor() && is_hot(case)
}

/// OVERSHOOT of a run that came back below guessing, or never got far: steps were far too large, or threw the loss.
fn bounced(case: &Case<'_>) -> Option<Verdict> {
    let chance = case.chance.filter(|_| is_thrown_about(case))?;
    let large = case.greatest_ratio().filter(|ratio| *ratio > limit::RATIO_HIGH);
    let at = thrown(case);
    let level = case.clean_end();
    let mut why = Vec::new();
    why.extend(at.map(|step| format!("the loss is thrown above guessing by step {step}")));
    why.extend(large.map(|ratio| format!("a step changes the weights by up to {:.1} % of their size", ratio * 100.0)));
    let text = format!(
        "{}, and the run ends at {level:.3}, guessing having {chance:.3}: the learning rate is too high",
        why.join(", ")
    );
    let evidence = [("level", level), ("chance", chance), ("greatest_ratio", large.unwrap_or(f64::NAN))];
    let steps = (at.unwrap_or(0), case.measured.end());
    advised(cause("OVERSHOOT", steps, text, &evidence), format!("{}, warmup: 0.1", case.rate_times(0.1)))
}

/// OVERSHOOT: above what guessing loses, rising to half again its best, or thrown about by steps that are too large.
pub(super) fn overshoot(case: &Case<'_>) -> Option<Verdict> {
    let (tail, steps) = (&case.detection.tail, case.tail_steps());
    let best = case.blocks.iter().map(|block| block.mean).fold(f64::INFINITY, f64::min);
    let last = case.blocks.last()?.mean;
    let rising = tail.trend == Trend::Rising && last >= limit::RISE * best;
    let over = is_over(case);
    if !(rising || over) {
        return bounced(case);
    }
    let text = match case.chance.filter(|_| over) {
        Some(chance) => format!(
            "the training loss ends at {:.3}, {:.1} times the {chance:.3} of guessing: steps are too large",
            tail.level,
            tail.level / chance
        ),
        None => format!("the training loss rises, to {last:.3} from {best:.3} at its best: steps are too large"),
    };
    let evidence = [("level", tail.level), ("chance", case.chance.unwrap_or(f64::NAN)), ("best", best), ("last", last)];
    advised(
        cause("OVERSHOOT", steps, text, &evidence),
        format!("{}, or {}", case.rate_times(1.0 / 3.0), case.rate_times(0.1)),
    )
}

/// First step of the stay at the prior, of a run that had learned something.
fn fallen_back(case: &Case<'_>) -> Option<u64> {
    let chance = case.chance.filter(|_| case.has_course())?;
    let learned = case.blocks.iter().filter(|block| block.mean < limit::BELOW_PRIOR * chance).count();
    let stay: Vec<_> = case.blocks.iter().rev().take_while(|block| block.mean >= limit::AT_PRIOR * chance).collect();
    let enough = learned as f64 >= limit::LEARNED_BLOCKS * case.blocks.len() as f64 && stay.len() >= 2;
    stay.last().filter(|_| enough).map(|block| block.from)
}

/// COLLAPSED: learned something, then back at the prior to the end.
pub(super) fn collapsed(case: &Case<'_>) -> Option<Verdict> {
    let (at, chance) = (fallen_back(case)?, case.chance?);
    let best = case.blocks.iter().map(|block| block.mean).fold(f64::INFINITY, f64::min);
    let text = format!(
        "what was learned is lost at step {at}: train loss {best:.3} at its best, then {chance:.3} as in guessing to the end"
    );
    let verdict = cause(
        "COLLAPSED",
        (at, case.measured.end()),
        text,
        &[("best", best), ("chance", chance), ("onset", at as f64)],
    );
    advised(verdict, format!("{}, max_grad_norm: 1.0", case.rate_times(1.0 / 3.0)))
}

/// SPIKES: single losses far above their neighbours.
pub(super) fn spikes(case: &Case<'_>) -> Option<Verdict> {
    let at = spike_steps(&case.measured.train);
    if at.len() < limit::SPIKES {
        return None;
    }
    let (first, last) = (*at.first()?, *at.last()?);
    let text = format!("{} single losses stand far above their neighbours, the first at step {first}", at.len());
    let norms: Vec<f64> = case.measured.grad_norm.iter().map(|point| point.y).filter(|y| y.is_finite()).collect();
    let advice = match upper_tenth(&norms) {
        Some(norm) => format!(
            "max_grad_norm: {norm:.2} (what nine of ten steps stay below), and look at the batches of these steps"
        ),
        None => "clip the gradient, and look at the batches of these steps".into(),
    };
    advised(note("SPIKES", (first, last), text, &[("count", at.len() as f64)]), advice)
}

/// Steps of the spikes.
pub(super) fn spike_steps(points: &[Point]) -> Vec<u64> {
    const HALF: usize = limit::SPIKE_WINDOW / 2;
    let (mut steps, mut sum) = (Vec::new(), 0.0);
    // A running mean spares most points the two medians.
    let sums: Vec<f64> = std::iter::once(0.0)
        .chain(points.iter().map(|point| {
            sum += point.y;
            sum
        }))
        .collect();
    for (i, point) in points.iter().enumerate() {
        let (from, to) = (i.saturating_sub(HALF), (i + HALF + 1).min(points.len()));
        let around = (sums[to] - sums[from]) / (to - from) as f64;
        if to - from < HALF || point.y <= 1.2 * around || !point.y.is_finite() {
            continue;
        }
        let window: Vec<f64> = points[from..to].iter().map(|point| point.y).collect();
        let middle = median(&window);
        let z = (point.y - middle) / robust_deviation(&window, middle);
        if z > limit::SPIKE_Z && point.y > limit::SPIKE_HEIGHT * middle {
            steps.push(point.x as u64);
        }
    }
    steps
}

fn upper_tenth(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() * 9 / 10).copied()
}

/// `CLIP_BOUND`: most steps are clipped. A cause where the limit leaves next to nothing of the gradient.
pub(super) fn clip_bound(case: &Case<'_>) -> Option<Verdict> {
    let most = case.measured.config?.max_grad_norm;
    let norms: Vec<f64> = case.measured.grad_norm.iter().map(|point| point.y).filter(|y| y.is_finite()).collect();
    if most <= 0.0 || norms.len() < limit::FEWEST_TAIL_POINTS {
        return None;
    }
    let share = norms.iter().filter(|norm| **norm > most).count() as f64 / norms.len() as f64;
    if share <= limit::CLIPPED {
        return None;
    }
    let (norm, evidence) = (median(&norms), [("share", share), ("median_norm", median(&norms)), ("limit", most)]);
    let text =
        format!("{} of the steps are clipped to {most}, the median gradient norm being {norm:.2}", percent(share));
    if norm > limit::CLIP_STARVES * most && !case.detection.schedule_ended() {
        let text = format!("{text}: next to nothing is left of the gradient");
        return advised(cause("CLIP_BOUND", case.whole(), text, &evidence), format!("max_grad_norm: {norm:.1}"));
    }
    advised(
        note("CLIP_BOUND", case.whole(), text, &evidence),
        "where training is unstable, lower lr rather than the clip",
    )
}
