//! Training that breaks: values that are not finite, losses that rise or collapse, spikes, and clipping that does the work.

use crate::analysis::case::Case;
use crate::analysis::curve::Point;
use crate::analysis::detector::Trend;
use crate::analysis::format::percent;
use crate::analysis::late_rise::late_rise;
use crate::analysis::shape::Shape;
use crate::analysis::statistics::{mean, median};
use crate::analysis::thresholds as limit;
use crate::trial::{Cause, Reason, Verdict};

/// NONFINITE: a loss or a gradient norm is NaN or infinite.
pub fn non_finite(case: &Case<'_>) -> Option<Verdict> {
    let step = case.non_finite_step()?;
    let before: Vec<&Point> = case.measured.train.iter().filter(|point| (point.x as u64) < step).collect();
    let norm = case.measured.grad_norm.iter().rfind(|point| (point.x as u64) < step);
    let norm = norm.map_or(f64::NAN, |point| point.y);
    let rate = case.measured.lr.iter().rfind(|point| point.x as u64 <= step).map_or(f64::NAN, |point| point.y);
    let loss = before.last().map_or(f64::NAN, |point| point.y);
    let shown = |name: &str, value: f64| if value.is_finite() { format!(", {name} {value:.3}") } else { String::new() };
    let text = format!(
        "a loss or the gradient norm is not finite at step {step}{}{}{}",
        shown("train loss before it", loss),
        shown("gradient norm", norm),
        if rate.is_finite() { format!(", learning rate {rate:.2e}") } else { String::new() }
    );
    let steps = (before.iter().rev().nth(9).map_or(0, |point| point.x as u64), step);
    let evidence = [("step", step as f64), ("loss", loss), ("grad_norm", norm), ("lr", rate)];
    // Before any step has worked, a learning rate cannot be the reason.
    let worked = before.iter().any(|point| point.y.is_finite() && point.y > 0.0);
    if !worked {
        let text = format!(
            "{text}, before any step has worked: labels, masks or number precision are wrong, not the learning rate"
        );
        let verdict = Verdict::cause(Cause::NonFinite, text).over(steps).with_reason(Reason::Start);
        return Some(verdict.with_evidence(&evidence));
    }
    // Training that continues with finite losses has sound weights.
    let (train, evals) = (&case.measured.train, &case.measured.eval);
    let by_evals = evals.iter().any(|point| point.x as u64 == step && !point.y.is_finite());
    if by_evals
        && train.last().is_some_and(|last| last.x as u64 > step)
        && train.iter().all(|point| point.y.is_finite())
    {
        let text = format!(
            "the eval loss is not finite at step {step}, but the training loss is finite to the end: labels, masks or number precision \
             of the evaluation are wrong, not the learning rate"
        );
        let verdict = Verdict::cause(Cause::NonFinite, text).over(steps).with_reason(Reason::Start);
        return Some(verdict.with_evidence(&evidence));
    }
    Some(Verdict::cause(Cause::NonFinite, text).over(steps).with_evidence(&evidence))
}

/// `ZERO_LOSS`: the training loss drops to exactly zero within one step and stays there, or is zero from the start.
pub fn zero_loss(case: &Case<'_>) -> Option<Verdict> {
    let points = &case.measured.train;
    let zeros = points.iter().rev().take_while(|point| point.y == 0.0).count();
    let (before, zero) = points.split_at(points.len() - zeros);
    let at = zero.first()?.x;
    let norms = || case.measured.grad_norm.iter().filter(|norm| norm.x >= at);
    let are_broken = norms().next().is_some() && norms().all(|norm| !norm.y.is_finite());
    let is_nan_before = [before, &case.measured.eval].concat().iter().any(|point| point.x < at && !point.y.is_finite());
    if zeros < limit::FEWEST_ZEROS && !are_broken || is_nan_before {
        return None;
    }
    let course = if let Some(last) = before.last() {
        let first: Vec<f64> = before[..(before.len() / 20).clamp(1, 20)].iter().map(|point| point.y).collect();
        let start = mean(&first);
        let came_close = before.iter().any(|point| point.y < limit::CLOSE_TO_ZERO * start);
        if last.y <= limit::DROPS_TO_ZERO * start || came_close {
            return None;
        }
        format!("drops from {:.3} to exactly 0 at step {at} and stays there", last.y)
    } else {
        // The objective of reinforcement learning may be 0 beside gradients that work.
        if norms().any(|norm| norm.y.is_finite() && norm.y > 0.0) {
            return None;
        }
        "is exactly 0 from the first row on".to_owned()
    };
    let text = format!("the training loss {course}: the labels are masked, or numbers underflow (fp16)");
    let verdict = Verdict::cause(Cause::ZeroLoss, text).over((at as u64, case.measured.end()));
    let last = before.last().map_or(f64::NAN, |point| point.y);
    Some(verdict.with_evidence(&[("before", last), ("zeros", zeros as f64)]))
}

/// DIVERGED: the last losses, or the last evaluation, leave the level that the run had reached, and stay far above it.
pub fn diverged(case: &Case<'_>) -> Option<Verdict> {
    let rise = late_rise(case.measured).filter(|_| matches!(case.shape, Shape::Diverged { .. }))?;
    let (step, from, to) = (rise.step, rise.from, rise.to);
    let which = if rise.is_eval { "eval" } else { "training" };
    let course = match (rise.is_leap, rise.is_above_all) {
        (true, true) => format!("leaps from {from:.3} to {to:.3} at step {step}, above everything before"),
        (true, false) if rise.is_eval => format!("leaps from {from:.3} to {to:.3} at step {step}"),
        (true, false) => {
            format!("leaps from {from:.3} to {to:.3} at step {step}, and stays far above the level before")
        }
        (false, _) => format!("climbs from {from:.3} at step {step} to {to:.3} at the end"),
    };
    let verdict = Verdict::cause(Cause::Diverged, format!("the {which} loss {course}"));
    Some(verdict.over((step, case.measured.end())).with_evidence(&[("before", from), ("after", to)]))
}

/// First step of the trouble that a learning rate too high makes: a NaN, a loss above guessing, or a collapse.
fn trouble(case: &Case<'_>) -> Option<u64> {
    let start = case.overshoot_step().or_else(|| case.collapse_step());
    let start = start.or_else(|| case.blow_up_step().filter(|_| case.learned_little()));
    case.non_finite_step().or(start)
}

/// `AFTER_WARMUP`: trouble that begins right after the learning rate peaks.
pub fn after_warmup(case: &Case<'_>) -> Option<Verdict> {
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
    let evidence = [("onset", at as f64), ("peak_step", peak as f64)];
    Some(Verdict::cause(Cause::AfterWarmup, text).over((peak.min(at), at)).with_evidence(&evidence))
}

/// OVERSHOOT of a run that came back below guessing, or never got far: steps were far too large, or the loss blew up.
fn blew_up(case: &Case<'_>) -> Option<Verdict> {
    let chance = case.chance.filter(|_| case.high_rate_prevents_learning())?;
    let large = case.largest_update().filter(|_| case.has_large_steps());
    let at = case.blow_up_step();
    // Large steps alone are those of a small model as well, and a few losses of single batches rise by accident.
    let few = case.detection.tail.trend == Trend::TooShort;
    let rose = if few { case.evaluations_rose_above_start() } else { case.rose_above_start() };
    if at.is_none() && !rose {
        return None;
    }
    let level = case.clean_end();
    let mut why = Vec::new();
    why.extend(at.map(|step| format!("the loss rises above that of guessing by step {step}")));
    why.extend(large.map(|ratio| format!("a step changes the weights by up to {:.1} % of their size", ratio * 100.0)));
    let text = format!(
        "{}, and the run ends at {level:.3} (guessing: {chance:.3}): the learning rate is too high",
        why.join(", ")
    );
    let evidence = [("level", level), ("chance", chance), ("largest_update", large.unwrap_or(f64::NAN))];
    let verdict = Verdict::cause(Cause::Overshoot, text).over((at.unwrap_or(0), case.measured.end()));
    Some(verdict.with_evidence(&evidence).with_reason(Reason::RateTooHigh))
}

/// OVERSHOOT: the loss ends above that of the untrained model, or blew up under steps that are too large.
pub fn overshoot(case: &Case<'_>) -> Option<Verdict> {
    let tail = &case.detection.tail;
    let (best, last) = (case.lowest_block(), case.blocks.last()?.mean);
    let untrained = case.untrained()?;
    let rising = tail.trend == Trend::Rising && last >= limit::RISE * best && last > untrained;
    let over = case.ends_above_untrained();
    // A loss that never rises above its start may have diverged from a lower level, which is another cause.
    if !(rising || over) || !case.rose_above_start() {
        return blew_up(case);
    }
    let text = if over {
        format!(
            "the training loss ends at {:.3}, {:.1} times the {untrained:.3} of an untrained model: steps are too large",
            tail.level,
            tail.level / untrained
        )
    } else {
        format!("the training loss rises to {last:.3} from {best:.3} at its lowest: steps are too large")
    };
    let evidence = [("level", tail.level), ("untrained", untrained), ("best", best), ("last", last)];
    Some(Verdict::cause(Cause::Overshoot, text).over(case.tail_steps()).with_evidence(&evidence))
}

/// COLLAPSED: the model learned something, then stays at guessing to the end.
pub fn collapsed(case: &Case<'_>) -> Option<Verdict> {
    let (at, chance) = (case.collapse_step()?, case.chance?);
    let best = case.lowest_block();
    let text = format!(
        "the model collapses at step {at}: train loss {best:.3} at its lowest, then that of guessing ({chance:.3}) to the end"
    );
    let evidence = [("best", best), ("chance", chance), ("onset", at as f64)];
    Some(Verdict::cause(Cause::Collapsed, text).over((at, case.measured.end())).with_evidence(&evidence))
}

/// SPIKES: single losses far above their neighbours.
pub fn spikes(case: &Case<'_>) -> Option<Verdict> {
    let at = case.spike_steps();
    if at.len() < limit::SPIKES {
        return None;
    }
    let (first, last) = (*at.first()?, *at.last()?);
    let text = format!("{} single losses stand far above their neighbours, the first at step {first}", at.len());
    let norm = nine_in_ten(case.gradient_norms()).unwrap_or(f64::NAN);
    let evidence = [("count", at.len() as f64), ("norm_of_nine_in_ten", norm)];
    Some(Verdict::note(Cause::Spikes, text).over((first, last)).with_evidence(&evidence))
}

/// The value that nine in ten stay below.
fn nine_in_ten(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() * 9 / 10).copied()
}

/// `CLIP_BOUND`: most steps are clipped. It is a cause where the limit leaves almost nothing of the gradient.
pub fn clip_bound(case: &Case<'_>) -> Option<Verdict> {
    let most = case.config()?.max_grad_norm;
    let norms = case.gradient_norms();
    if most <= 0.0 || norms.len() < limit::FEWEST_TAIL_POINTS {
        return None;
    }
    let share = norms.iter().filter(|norm| **norm > most).count() as f64 / norms.len() as f64;
    if share <= limit::CLIPPED {
        return None;
    }
    let norm = median(&norms);
    let text = format!("{} of the steps are clipped to {most}; the median gradient norm is {norm:.2}", percent(share));
    let verdict = if norm > limit::CLIP_STARVES * most && !case.detection.schedule_ended() {
        Verdict::cause(Cause::ClipBound, format!("{text}, so almost nothing is left of the gradient"))
    } else {
        Verdict::note(Cause::ClipBound, text)
    };
    let evidence = [("share", share), ("median_norm", norm), ("limit", most)];
    Some(verdict.over(case.all_steps()).with_evidence(&evidence))
}
