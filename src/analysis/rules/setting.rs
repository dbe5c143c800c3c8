//! Settings far outside the usual whose harm shows in the curves: labels of one class, texts cut short, batches that are
//! noise, weight decay that eats the weights, a warm-up that never ends.

use super::super::detector::Trend;
use super::super::statistics::{median, robust_deviation};
use super::{Case, advised, cause, limit, percent, rate, signal};
use crate::trial::Verdict;

/// IMBALANCED: one class holds nearly all labels, and the model answers little else.
pub(super) fn imbalanced(case: &Case<'_>) -> Option<Verdict> {
    let most = case.measured.train_prior.iter().copied().reduce(f64::max)?;
    let single = signal::one_class(case)?;
    if most < limit::ONE_CLASS_LABELS || 1.0 - single > limit::UNANSWERED * (1.0 - most) {
        return None;
    }
    let text = format!(
        "{} of the labels are one class, and {} of the answers: accuracy says nothing here",
        percent(most),
        percent(single)
    );
    let verdict = cause("IMBALANCED", case.whole(), text, &[("labels", most), ("answers", single)]);
    advised(verdict, "more examples of the other classes, or fewer of this one; judge by macro_f1")
}

/// TRUNCATED: nearly every text fills the few tokens that are read, and little is learned.
pub(super) fn truncated(case: &Case<'_>) -> Option<Verdict> {
    let config = case.measured.config?;
    let (most, batch) = (config.data.max_length, config.batch_size as f64);
    let lengths: Vec<f64> = case.measured.tokens.iter().map(|point| point.y / batch).collect();
    let length = median(&lengths);
    let full = length >= limit::CUT_TOKENS * most as f64;
    if !full || most > limit::FEW_TOKENS || !(case.is_poor() || case.carries_little()) {
        return None;
    }
    let text = format!(
        "nearly every text is cut at {most} tokens, and the eval loss comes to {:.3} only: the answer is in what was cut",
        case.eval_end().unwrap_or(case.clean_end())
    );
    let verdict = cause("TRUNCATED", case.whole(), text, &[("tokens", length), ("max_length", most as f64)]);
    advised(verdict, "data.max_length: 128")
}

/// `DECAY_TOO_STRONG`: what weight decay takes of the weights over the run.
pub(super) fn decay_too_strong(case: &Case<'_>) -> Option<Verdict> {
    let decay = case.measured.config?.weight_decay;
    let lost = 1.0 - (-decay * case.summed_rate(|_| true)).exp();
    if lost.is_nan() || lost <= limit::DECAYED {
        return None;
    }
    let text = format!("weight decay alone takes {} of the size of the weights over this run", percent(lost));
    advised(cause("DECAY_TOO_STRONG", case.whole(), text, &[("lost", lost), ("decay", decay)]), "weight_decay: 0.01")
}

/// `WARMUP_TOO_LONG`: the learning rate peaks in the second half of a run that was still improving.
pub(super) fn warmup_too_long(case: &Case<'_>) -> Option<Verdict> {
    let (peak, steps) = (case.measured.rate_peak(), case.measured.steps.max(case.measured.end()));
    let rises = case.measured.config.is_some_and(|config| config.scheduler.rises());
    if rises || (peak as f64) < limit::LATE_PEAK * steps as f64 || !rate::is_best_late(case) {
        return None;
    }
    let share = peak as f64 / steps as f64;
    let text = format!(
        "the learning rate rises for {} of the steps, and the loss was still improving in the end: the warm-up takes the run",
        percent(share)
    );
    let verdict = cause("WARMUP_TOO_LONG", (0, peak), text, &[("peak_step", peak as f64), ("share", share)]);
    advised(verdict, "warmup: 0.1")
}

/// `NOISY_BATCHES`: losses of neighbouring batches differ by a great part of all there is to learn; and little is learned, at
/// a rate that is not too low for it, or where the training loss goes cannot be told.
pub(super) fn noisy_batches(case: &Case<'_>) -> Option<Verdict> {
    let batch = case.measured.config?.batch_size;
    let losses: Vec<f64> = case.measured.train.iter().map(|point| point.y).collect();
    let jumps: Vec<f64> = losses.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let noise = robust_deviation(&jumps, median(&jumps)) / std::f64::consts::SQRT_2 / case.detection.scale;
    let hidden = matches!(case.detection.tail.trend, Trend::Unresolved { .. });
    let hinders = hidden || case.is_poor() && !rate::is_low(case);
    if batch > limit::SMALL_BATCH || noise.is_nan() || noise <= limit::BATCH_NOISE || !hinders {
        return None;
    }
    let text = format!(
        "batches of {batch} differ by {} of all there is to learn: steps follow chance more than the loss",
        percent(noise)
    );
    let verdict = cause("NOISY_BATCHES", case.whole(), text, &[("noise", noise), ("batch_size", batch as f64)]);
    advised(verdict, format!("batch_size: {} (grad_accumulation where memory is short), or a lower lr", batch * 8))
}
