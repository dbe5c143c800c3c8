//! Learning that goes too slowly, stops too early or bounces in the end; and the words for trials without a fault.

use super::super::detector::{Series, Trend};
use super::super::measured::chance;
use super::super::plateau::Judgement;
use super::super::statistics::{line, mean};
use super::stability::{self, spike_steps};
use super::{Block, Case, advised, cause, limit, note, percent};
use crate::trial::{Scheduler, Verdict};

/// `LR_EXHAUSTED`: flat because the schedule ended, with something left to gain.
pub(super) fn exhausted(case: &Case<'_>) -> Option<Verdict> {
    if stability::is_thrown_about(case) {
        return None;
    }
    if let Some(verdict) = spent_early(case) {
        return advised(verdict, "scheduler: linear, or a schedule that ends with the run");
    }
    let found = &case.detection;
    let (gain, share) = (found.gain?, found.rate_share?);
    // A training loss that could fall further is no fault where the evaluation loss has long had its best.
    if !found.schedule_ended() || is_fitted(case) || gain <= limit::WORTH_STEPS || !is_best_late(case) || is_low(case) {
        return None;
    }
    let text = format!(
        "the loss is flat because the schedule ended: the last third of the steps had {} of the learning rate; twice the steps would lower it by about {:.3}",
        percent(share),
        gain * found.scale
    );
    let evidence = [("rate_share", share), ("gain", gain * found.scale), ("level", found.tail.level)];
    advised(cause("LR_EXHAUSTED", case.tail_steps(), text, &evidence), case.twice_as_long())
}

/// Hardly any of the summed rate is left to the second half of a run that has learned little, at a rate that taught it
/// something while it lasted.
fn spent_early(case: &Case<'_>) -> Option<Verdict> {
    let half = case.measured.end() as f64 / 2.0;
    let (all, late) = (case.summed_rate(|_| true), case.summed_rate(|step| step > half));
    let share = late / all;
    if share.is_nan() || share >= limit::SPENT_EARLY || !case.is_poor() || reach(case)? < limit::SLOW_REACH {
        return None;
    }
    let level = case.clean_end();
    let text = format!(
        "the schedule ended early: the second half of the steps had {} of the learning rate, and the loss stays at {level:.3}",
        percent(share)
    );
    Some(cause("LR_EXHAUSTED", (half as u64, case.measured.end()), text, &[("rate_share", share), ("level", level)]))
}

/// What the clean loss would have fallen by, as a share of H, had the whole run gone at its peak rate as it did by summed
/// rate.
fn reach(case: &Case<'_>) -> Option<f64> {
    let chance = chance(case.measured.train_prior)?;
    let start = case.measured.probe.first().map_or(case.detection.start, |point| point.y);
    let peak = case.measured.lr.iter().map(|rate| rate.y).filter(|rate| rate.is_finite()).reduce(f64::max)?;
    let share = case.summed_rate(|_| true) / (peak * case.measured.lr.len() as f64);
    Some((start - case.clean_end()) / share / chance).filter(|reach| reach.is_finite())
}

/// Whether steps are known to be small, and the whole run at its peak rate would not have brought much.
pub(super) fn is_low(case: &Case<'_>) -> bool {
    case.greatest_ratio().is_some_and(|ratio| ratio < limit::RATIO_LOW)
        && reach(case).is_some_and(|reach| reach < limit::SLOW_REACH)
}

/// `TOO_SLOW`: still falling in the end, about as fast as before by the rate it had, and best there; or little learned by
/// steps that are small.
pub(super) fn too_slow(case: &Case<'_>) -> Option<Verdict> {
    let tail = &case.detection.tail;
    if is_fitted(case) || !case.has_course() || !is_best_late(case) || stability::is_thrown_about(case) {
        return None;
    }
    let steadiness = steadiness(case)?;
    let falls = tail.trend == Trend::Falling && tail.change <= limit::SLOW_FALL;
    let goes_on = falls && (case.is_poor() || chance(case.measured.train_prior).is_none());
    let steady = steadiness >= limit::SLOW_STEADY && spike_steps(&case.measured.train).len() < limit::SPIKES;
    let small = is_low(case) && case.is_poor();
    if !(small || goes_on && steady) {
        return None;
    }
    let text = if small {
        format!(
            "a step changes the weights by {:.3} % of their size at most, and the loss comes to {:.3} only: the rate is too low",
            100.0 * case.greatest_ratio()?,
            case.clean_end()
        )
    } else {
        format!(
            "the training loss still falls, by {:.3} over its last third, about as fast as before: the rate is too low or the run too short",
            -tail.change * case.detection.scale
        )
    };
    let evidence = [("change", tail.change * case.detection.scale), ("steadiness", steadiness), ("level", tail.level)];
    let advice = match small_for_its_rate(case) {
        Some(eps) => format!("optimizer.eps: 1e-8 (at {eps:e} it swallows most of each step)"),
        None => format!("{}, or {}", case.rate_times(3.0), case.twice_as_long()),
    };
    advised(cause("TOO_SLOW", case.tail_steps(), text, &evidence), advice)
}

/// The eps of an Adam whose steps are far smaller than its learning rate.
pub(super) fn small_for_its_rate(case: &Case<'_>) -> Option<f64> {
    let (config, ratio) = (case.measured.config?, case.greatest_ratio()?);
    let peak = case.measured.lr.iter().map(|rate| rate.y).filter(|rate| rate.is_finite()).reduce(f64::max)?;
    let eps = config.optimizer.eps;
    (ratio < limit::RATIO_OF_RATE * peak && eps > limit::USUAL_EPS).then_some(eps)
}

/// Fall over the last third by that over the middle third, each by the learning rate it had. Where the middle did not
/// fall, a fall in the end is all the steadier.
fn steadiness(case: &Case<'_>) -> Option<f64> {
    let third = case.blocks.len() / 3;
    let speed = |blocks: &[Block]| {
        let (x, y): (Vec<f64>, Vec<f64>) =
            blocks.iter().map(|block| ((block.from + block.to) as f64 / 2.0, block.mean)).unzip();
        let (from, to) = (blocks.first()?.from as f64, blocks.last()?.to as f64);
        let rate = case.summed_rate(|step| step >= from && step <= to);
        let slope = line(&x, &y)?.slope * (to - from);
        Some(if rate > 0.0 { slope / rate } else { slope })
    };
    let (middle, last) = (speed(&case.blocks[third..2 * third])?, speed(&case.blocks[2 * third..])?);
    Some(if middle >= 0.0 { f64::INFINITY } else { last / middle })
}

/// Whether the best evaluation comes in the last quarter; true where there is none.
pub(super) fn is_best_late(case: &Case<'_>) -> bool {
    case.best_eval().is_none_or(|(_, best)| best.x >= limit::SLOW_LATE * case.measured.end() as f64)
}

/// `NOISE_FLOOR`: flat at a rate that is still high, with blocks that differ by more than their batches explain.
pub(super) fn noise_floor(case: &Case<'_>) -> Option<Verdict> {
    let found = &case.detection;
    let share = found.rate_share.filter(|share| *share >= limit::SPENT_SHARE)?;
    if !found.tail.trend.is_flat() || is_fitted(case) {
        return None;
    }
    let points: Vec<f64> =
        case.measured.train.iter().filter(|point| point.x as u64 >= found.tail.from).map(|point| point.y).collect();
    let count = (points.len() / 8).min(limit::MOST_BLOCKS);
    if count < limit::FEWEST_BLOCKS {
        return None;
    }
    let variance = |values: &[f64]| {
        let centre = mean(values);
        values.iter().map(|y| (y - centre).powi(2)).sum::<f64>() / (values.len() - 1) as f64
    };
    let pieces: Vec<&[f64]> =
        (0..count).map(|i| &points[i * points.len() / count..(i + 1) * points.len() / count]).collect();
    let between = variance(&pieces.iter().map(|piece| mean(piece)).collect::<Vec<_>>());
    let within = mean(&pieces.iter().map(|piece| variance(piece) / piece.len() as f64).collect::<Vec<_>>());
    let bounce = between / within;
    if bounce.is_nan() || bounce <= limit::BOUNCE {
        return None;
    }
    let text = format!(
        "flat at {:.3}, but its blocks differ {bounce:.1} times as much as batches alone explain: the rate is too high to settle",
        found.tail.level
    );
    let evidence = [("bounce", bounce), ("rate_share", share), ("level", found.tail.level)];
    let decays = case.measured.config.is_some_and(|config| config.scheduler != Scheduler::Constant);
    let decay = if decays { "" } else { ", or scheduler: linear" };
    advised(cause("NOISE_FLOOR", case.tail_steps(), text, &evidence), format!("{}{decay}", case.rate_times(0.5)))
}

/// Whether the training data are fitted: what is left is not worth a fault.
fn is_fitted(case: &Case<'_>) -> bool {
    let floor = case.chance.unwrap_or(case.detection.start);
    case.tail() < limit::FITTED * floor + smoothing_floor(case)
}

/// Least loss under label smoothing: -a ln a - (C - 1)(e/C) ln(e/C) with a = 1 - e + e/C.
pub(super) fn smoothing_floor(case: &Case<'_>) -> f64 {
    let e = case.measured.config.map_or(0.0, |config| config.label_smoothing);
    let classes = case.measured.train_prior.len() as f64;
    if e <= 0.0 || classes < 2.0 {
        return 0.0;
    }
    let (a, b) = (1.0 - e + e / classes, e / classes);
    -a * a.ln() - (classes - 1.0) * b * b.ln()
}

/// STALLED: surely flat, far above nothing, at a rate that was worth something, and no other rule says why.
pub(super) fn stalled(case: &Case<'_>) -> Option<Verdict> {
    let (found, chance) = (&case.detection, case.chance?);
    let level = found.tail.level - smoothing_floor(case);
    let at_prior = found.tail.level >= limit::AT_PRIOR * chance;
    if !found.is_flat() || level < limit::HIGH_FLOOR * chance || at_prior || overfits(case) {
        return None;
    }
    let text = format!(
        "flat at {:.3}, {} of what guessing loses, while there was a learning rate: labels, data or capacity set this floor",
        found.tail.level,
        percent(found.tail.level / chance)
    );
    let onset = found.onset.unwrap_or(found.tail.from);
    let verdict = cause("STALLED", (onset, found.tail.to), text, &[("level", found.tail.level), ("chance", chance)]);
    let advice = "fit sixteen examples alone (data.limit: 16, steps: 1000): if that works, look at labels and data, else at freeze, dropout and max_length";
    advised(verdict, advice)
}

fn overfits(case: &Case<'_>) -> bool {
    matches!(case.judgement, Judgement::Overfits { .. })
}

/// UNRESOLVED: neither flat nor falling for sure.
pub(super) fn unresolved(case: &Case<'_>) -> Option<Verdict> {
    let tail = &case.detection.tail;
    let Trend::Unresolved { needed } = tail.trend else { return None };
    let steps = needed.saturating_mul(3);
    let text = format!(
        "whether the training loss is flat cannot be told from {} {}: change {:+.3} ± {:.3}; about {steps} steps would settle it",
        tail.points,
        if case.detection.series == Series::Probe { "evaluations" } else { "steps" },
        tail.change * case.detection.scale,
        tail.half * case.detection.scale
    );
    let evidence = [("change", tail.change), ("half", tail.half), ("needed", needed as f64)];
    advised(
        note("UNRESOLVED", case.tail_steps(), text, &evidence),
        "more steps or a larger batch_size; eval_every: 0.05 for a loss without batch noise",
    )
}

/// Where no rule found a cause: HEALTHY, or why that cannot be said; and what the training loss does in the end.
pub(super) fn without_cause(case: &Case<'_>) -> Verdict {
    let tail = &case.detection.tail;
    let change = tail.change * case.detection.scale;
    let id = match case.judgement {
        Judgement::Unfinished => "UNFINISHED",
        Judgement::Failed => "FAILED",
        judgement if judgement.failed() => "UNEXPLAINED",
        _ if tail.trend == Trend::TooShort => "TOO_SHORT",
        _ => "HEALTHY",
    };
    let text = match tail.trend {
        _ if id == "UNFINISHED" => "not finished yet".to_owned(),
        _ if id == "UNEXPLAINED" => format!("{}, and no rule says why", case.judgement.label()),
        _ if id == "FAILED" => "failed to run: there is nothing to judge".to_owned(),
        Trend::TooShort => format!("too short to judge: {} points in the last third", tail.points),
        Trend::Falling => {
            format!("no fault found; the training loss still falls, by {:.3} over its last third", -change)
        }
        Trend::Rising => format!("no fault found; the training loss rises by {change:.3} over its last third"),
        Trend::Flat { .. } if is_fitted(case) => {
            format!("no fault found; the training data are fitted, at {:.3}", tail.level)
        }
        Trend::Flat { .. } => format!("no fault found; the training loss is flat at {:.3}", tail.level),
        Trend::Unresolved { .. } | Trend::NotFinite => "no fault found".to_owned(),
    };
    note(id, case.tail_steps(), text, &[("level", tail.level), ("change", change)])
}
