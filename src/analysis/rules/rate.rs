//! Learning that goes too slowly, stops too early or does not settle at the end.

use crate::analysis::case::{Block, Case, finite};
use crate::analysis::curve::Point;
use crate::analysis::detector::{Series, Trend};
use crate::analysis::format::percent;
use crate::analysis::shape::Shape;
use crate::analysis::statistics::{line, mean, median};
use crate::analysis::thresholds as limit;
use crate::trial::{Cause, Reason, Verdict};

/// `LR_EXHAUSTED`: the loss is flat because the schedule ended, and more steps would lower it.
pub fn exhausted(case: &Case<'_>) -> Option<Verdict> {
    if case.high_rate_prevents_learning() {
        return None;
    }
    spent_early(case).or_else(|| ended_early(case))
}

/// The fitted law says that twice the steps would still lower the loss.
fn ended_early(case: &Case<'_>) -> Option<Verdict> {
    let found = &case.detection;
    let (gain, share) = (found.gain?, found.rate_share?);
    // A training loss that could fall further is not a fault where the evaluation loss had its best long before.
    let worth_it = gain > limit::WORTH_STEPS && case.is_best_late() && !case.is_fitted();
    if !found.schedule_ended() || !worth_it || case.rate_is_low() {
        return None;
    }
    // The evaluation must gain too: a plateau of the evaluation loss does not end with more steps.
    if matches!(case.shape, Shape::Plateaued { .. }) {
        return None;
    }
    let gain = gain * found.scale;
    let text = format!(
        "the loss {} because the schedule ended: the last third of the steps had {} of the learning rate; twice the steps would lower the loss by about {gain:.3}",
        if found.tail.trend.is_flat() { "is flat" } else { "hardly falls" },
        percent(share),
    );
    let evidence = [("rate_share", share), ("gain", gain), ("level", found.tail.level)];
    // A normal decay ends like this, and the evaluations tell whether more steps would help.
    let is_early = late_share(case) < limit::SPENT_EARLY;
    let verdict = if is_early && !case.measured.eval.is_empty() {
        Verdict::cause(Cause::LrExhausted, text)
    } else {
        Verdict::note(Cause::LrExhausted, text)
    };
    Some(verdict.over(case.tail_steps()).with_evidence(&evidence))
}

/// Almost none of the summed learning rate is left to the second half of a run that learned little, at a learning rate that
/// taught it something while it lasted.
fn spent_early(case: &Case<'_>) -> Option<Verdict> {
    let (half, share) = (case.measured.end() as f64 / 2.0, late_share(case));
    if share.is_nan() || share >= limit::SPENT_EARLY || !case.learned_little() || case.reach()? < limit::SLOW_REACH {
        return None;
    }
    let level = case.clean_end();
    let text = format!(
        "the schedule ended early: the second half of the steps had {} of the learning rate, and the loss stays at {level:.3}",
        percent(share)
    );
    let verdict = Verdict::cause(Cause::LrExhausted, text).over((half as u64, case.measured.end()));
    Some(verdict.with_evidence(&[("rate_share", share), ("level", level)]).with_reason(Reason::SpentEarly))
}

/// Share of the summed learning rate in the second half of the steps. NaN where no learning rate is known.
fn late_share(case: &Case<'_>) -> f64 {
    let half = case.measured.end() as f64 / 2.0;
    case.summed_rate(|step| step > half) / case.summed_rate(|_| true)
}

/// `TOO_SLOW`: the loss still falls at the end, about as fast as before per learning rate, and is best there; or little was
/// learned by steps that are small.
pub fn too_slow(case: &Case<'_>) -> Option<Verdict> {
    let tail = &case.detection.tail;
    if case.is_fitted() || !case.has_course() || !case.is_best_late() || case.high_rate_prevents_learning() {
        return None;
    }
    let steadiness = steadiness(case)?;
    let falls = tail.trend.is_falling() && tail.change <= limit::SLOW_FALL;
    // A loss that falls to the end of a normal decay is as it should be, unless the evaluations still improve too, far from what is
    // known to be a good end. Where they have come to rest, more steps of this kind bring nothing.
    let improves = matches!(case.shape, Shape::StillImproving { .. });
    let rests = matches!(case.shape, Shape::Plateaued { .. });
    let decayed = case.detection.rate_share.is_some_and(|share| share < limit::FULL_SHARE);
    let fits_the_decay = decayed && !(improves && case.chance.is_some());
    let still_falls = falls && case.seems_to_learn_little() && !fits_the_decay && !rests;
    let steady = steadiness >= limit::SLOW_STEADY && case.spike_steps().len() < limit::SPIKES;
    let small = case.rate_is_low() && case.learned_little();
    let behind = improves_above_guessing(case);
    // Without an encoder, no size of a step is known to be small. The clean loss tells instead.
    let on_its_way = case.clean_loss_falls_steadily() || case.shape == Shape::Stuck && case.clean_loss_only_falls();
    let steady_clean = case.is_without_encoder() && case.learned_little() && on_its_way;
    if !(small || still_falls && steady || behind || steady_clean) {
        return None;
    }
    let text = if behind && !small {
        format!(
            "{}, and the training loss only comes to {:.3}, where guessing has {:.3}: the learning rate is too low or the run too short",
            if improves { "the evaluations still improve" } else { "the loss still falls" },
            tail.level,
            case.chance?
        )
    } else if small {
        format!(
            "a step changes the weights by at most {:.3} % of their size, and the loss only comes to {:.3}: the learning rate is too low",
            100.0 * case.largest_update()?,
            case.clean_end()
        )
    } else if steady_clean {
        format!(
            "the clean training loss falls to the end, and only comes to {:.3}: the learning rate is too low or the run too short",
            case.clean_end()
        )
    } else {
        format!(
            "the training loss still falls, by {:.3} over its last third, for its learning rate about as fast as before: the learning rate is too low or the run too short",
            -tail.change * case.detection.scale
        )
    };
    let evidence = [("change", tail.change * case.detection.scale), ("steadiness", steadiness), ("level", tail.level)];
    let reason = if case.shrinking_eps().is_some() { Reason::EpsTooLarge } else { Reason::RateTooLow };
    // A preference loss starts at ln 2 and is small when it has learned: its level does not say how much.
    let verdict = if case.may_be_of_preferences() {
        Verdict::note(Cause::TooSlow, text)
    } else {
        Verdict::cause(Cause::TooSlow, text)
    };
    Some(verdict.over(case.tail_steps()).with_evidence(&evidence).with_reason(reason))
}

/// Whether the losses fall to the end and are not yet below those of guessing. Far above it, each evaluation may gain little.
fn improves_above_guessing(case: &Case<'_>) -> bool {
    let least = match case.shape {
        Shape::StillImproving { .. } => limit::AT_PRIOR,
        _ if case.detection.tail.trend.is_falling() => limit::OVER_PRIOR,
        _ => return false,
    };
    let above = |level: f64, chance: Option<f64>| chance.is_some_and(|chance| level >= least * chance);
    above(case.tail(), case.chance) && case.eval_end().is_some_and(|end| above(end, case.measured.eval_chance()))
}

/// Fall over the last third divided by the fall over the middle third, each per learning rate. Infinite where the middle did
/// not fall.
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

/// `NOISE_FLOOR`: flat while the learning rate is still high, with blocks that differ by more than their batches explain.
pub fn noise_floor(case: &Case<'_>) -> Option<Verdict> {
    let found = &case.detection;
    let share = found.rate_share.filter(|share| *share >= limit::SPENT_SHARE)?;
    let is_unresolved = matches!(found.tail.trend, Trend::Unresolved { .. });
    let follows_the_rate = is_unresolved && case.rate_rises_after(found.tail.from as f64);
    if !(found.tail.trend.is_flat() || is_unresolved) || follows_the_rate || case.is_fitted() {
        return None;
    }
    let tail = &case.measured.train[case.measured.train.partition_point(|point| (point.x as u64) < found.tail.from)..];
    let bounce = bounce(&detrended(tail)).filter(|bounce| *bounce > limit::BOUNCE)?;
    let text = format!(
        "the loss {} {:.3}, {} its blocks vary {bounce:.1} times as much as batch noise explains: the learning rate is too high to settle",
        if is_unresolved { "goes up and down around" } else { "is flat at" },
        found.tail.level,
        if is_unresolved { "and" } else { "but" },
    );
    let evidence = [("bounce", bounce), ("rate_share", share), ("level", found.tail.level)];
    // Other programs log running means, whose neighbours are alike whatever the learning rate. Evaluations are none.
    let verdict = if evaluations_swing(case) {
        Verdict::cause(Cause::NoiseFloor, text).with_reason(Reason::RateTooHigh)
    } else if case.config().is_some() {
        Verdict::cause(Cause::NoiseFloor, text)
    } else {
        Verdict::note(Cause::NoiseFloor, text)
    };
    Some(verdict.over(case.tail_steps()).with_evidence(&evidence))
}

/// Whether the evaluation loss goes up and down by more than its level in the latter half of the run.
fn evaluations_swing(case: &Case<'_>) -> bool {
    let evals = finite(&case.measured.eval);
    let latter = &evals[evals.len() / 2..];
    let range =
        latter.iter().copied().fold(f64::NEG_INFINITY, f64::max) - latter.iter().copied().fold(f64::INFINITY, f64::min);
    let turns = latter.windows(3).filter(|three| (three[1] - three[0]) * (three[2] - three[1]) < 0.0).count();
    latter.len() >= limit::FEWEST_BLOCKS && turns >= 2 && range > limit::SWINGS * median(latter)
}

/// The values without their straight line.
fn detrended(points: &[Point]) -> Vec<f64> {
    let (x, y): (Vec<f64>, Vec<f64>) = points.iter().map(|point| (point.x, point.y)).unzip();
    let (centre, slope) = (mean(&x), line(&x, &y).map_or(0.0, |line| line.slope));
    x.iter().zip(&y).map(|(x, y)| y - slope * (x - centre)).collect()
}

/// Variance of block means divided by what the variance within blocks explains. None for too few points.
fn bounce(points: &[f64]) -> Option<f64> {
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
    Some(between / within).filter(|bounce| !bounce.is_nan())
}

/// STALLED: surely flat, far above zero, while the learning rate is effective; and no other rule explains it.
pub fn stalled(case: &Case<'_>) -> Option<Verdict> {
    let (found, chance) = (&case.detection, case.chance?);
    let level = found.tail.level - case.smoothing_floor();
    let at_prior = found.tail.level >= limit::AT_PRIOR * chance;
    if !found.is_flat() || level < limit::HIGH_FLOOR * chance || at_prior || case.overfits() {
        return None;
    }
    // A model that knows its training examples without noise, or has clearly learned to generalise, is at no floor that is worth a
    // fault. The clean loss may also fall where the noise of the batches hides it.
    if case.clean_loss_falls_steadily()
        || !case.learned_little()
        || case.eval_end().is_some_and(|end| end < limit::POOR * chance)
    {
        return None;
    }
    let text = format!(
        "the training loss is flat at {:.3}, {} of the loss of guessing, although the learning rate was still effective: labels, data or capacity set this floor",
        found.tail.level,
        percent(found.tail.level / chance)
    );
    let onset = found.onset.unwrap_or(found.tail.from);
    // After a decay, a log of another program does not tell a floor from a good end: it has no clean loss.
    let is_spent = found.rate_share.is_some_and(|share| share < limit::SPENT_SHARE);
    let verdict = if is_spent && case.config().is_none() {
        Verdict::note(Cause::Stalled, text)
    } else {
        Verdict::cause(Cause::Stalled, text)
    };
    let verdict = verdict.over((onset, found.tail.to));
    Some(verdict.with_evidence(&[("level", found.tail.level), ("chance", chance)]))
}

/// UNRESOLVED: neither flat nor falling for sure.
pub fn unresolved(case: &Case<'_>) -> Option<Verdict> {
    let tail = &case.detection.tail;
    let Trend::Unresolved { needed } = tail.trend else { return None };
    let steps = needed.saturating_mul(3);
    let text = format!(
        "{} {} do not tell whether the training loss is flat: its change is {:+.3} ± {:.3}; about {steps} steps would settle it",
        tail.points,
        if case.detection.series == Series::Probe { "evaluations" } else { "steps" },
        tail.change * case.detection.scale,
        tail.half * case.detection.scale
    );
    let evidence = [("change", tail.change), ("half", tail.half), ("needed", needed as f64)];
    Some(Verdict::note(Cause::Unresolved, text).over(case.tail_steps()).with_evidence(&evidence))
}
