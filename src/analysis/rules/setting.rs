//! Settings far outside the usual whose harm shows in the curves: labels of one class, texts cut short, batches that are
//! too small, weight decay that shrinks the weights, a warm-up that never ends.

use crate::analysis::case::Case;
use crate::analysis::detector::Trend;
use crate::analysis::format::percent;
use crate::analysis::statistics::{mean, median};
use crate::analysis::thresholds as limit;
use crate::trial::{Cause, TrialConfig, Verdict};

/// IMBALANCED: one class has nearly all labels, the model answers little else, and never did better than that answer.
pub fn imbalanced(case: &Case<'_>) -> Option<Verdict> {
    let most = case.measured.train_prior.iter().copied().reduce(f64::max)?;
    let single = case.one_class_share()?;
    if most < limit::ONE_CLASS_LABELS || 1.0 - single > limit::UNANSWERED * (1.0 - most) {
        return None;
    }
    // Rare classes take longer. Once the model distinguishes them, few answers only mean a cautious threshold.
    let beats_it = case.best_accuracy().zip(case.majority()).is_some_and(|(best, (_, by_chance))| best > by_chance);
    // A loss that is still on its way from ln K to H, or that small steps keep from it, has another cause.
    let above = case.measured.eval_chance().zip(case.eval_end());
    let on_its_way = above.is_some_and(|(chance, end)| end > limit::OVER_PRIOR * chance);
    if beats_it || on_its_way || case.rate_is_low() {
        return None;
    }
    let text = format!(
        "{} of the labels and {} of the answers are one class: the accuracy is meaningless here",
        percent(most),
        percent(single)
    );
    let verdict = Verdict::cause(Cause::Imbalanced, text).over(case.all_steps());
    Some(verdict.with_evidence(&[("labels", most), ("answers", single)]))
}

/// TRUNCATED: nearly every text fills the few tokens that are read, and little is learned.
pub fn truncated(case: &Case<'_>) -> Option<Verdict> {
    let config = case.config()?;
    let (most, batch) = (config.data.max_length, config.batch_size as f64);
    let lengths: Vec<f64> = case.measured.tokens.iter().map(|point| point.y / batch).collect();
    let length = median(&lengths);
    let full = length >= limit::CUT_TOKENS * most as f64;
    if !full || most > limit::FEW_TOKENS || !(case.learned_little() || case.generalises_little()) {
        return None;
    }
    let text = format!(
        "nearly every text is cut at {most} tokens, and the eval loss only comes to {:.3}: the answer is in the part that was cut",
        case.eval_end().unwrap_or(case.clean_end())
    );
    let verdict = Verdict::cause(Cause::Truncated, text).over(case.all_steps());
    Some(verdict.with_evidence(&[("tokens", length), ("max_length", most as f64)]))
}

/// `DECAY_TOO_STRONG`: weight decay alone shrinks the weights a lot over the run. The usual decay does so only under a learning rate that
/// is far too high.
pub fn decay_too_strong(case: &Case<'_>) -> Option<Verdict> {
    let decay = case.config()?.weight_decay;
    let lost = 1.0 - (-decay * case.summed_rate(|_| true)).exp();
    if lost.is_nan() || lost <= limit::DECAYED || decay <= TrialConfig::default().weight_decay {
        return None;
    }
    let text = format!("weight decay alone shrinks the weights by {} over this run", percent(lost));
    let verdict = Verdict::cause(Cause::DecayTooStrong, text).over(case.all_steps());
    Some(verdict.with_evidence(&[("lost", lost), ("decay", decay)]))
}

/// `WARMUP_TOO_LONG`: the learning rate peaks in the second half of a run that was still improving.
pub fn warmup_too_long(case: &Case<'_>) -> Option<Verdict> {
    let (peak, steps) = (case.measured.rate_peak(), case.measured.steps.max(case.measured.end()));
    let rises = case.config().is_some_and(|config| config.scheduler.rises());
    if rises || (peak as f64) < limit::LATE_PEAK * steps as f64 || !case.is_best_late() || case.is_fitted() {
        return None;
    }
    // Of an unknown schedule, the warm-up, its end and the end of the run must be seen.
    let complete = case.measured.end() as f64 >= limit::COMPLETE * steps as f64;
    if case.config().is_none() && !(case.shows_warmup() && complete) {
        return None;
    }
    let share = peak as f64 / steps as f64;
    let text = format!(
        "the learning rate rises for {} of the steps, and the loss was still improving at the end: the warm-up is too long",
        percent(share)
    );
    let verdict = Verdict::cause(Cause::WarmupTooLong, text).over((0, peak));
    Some(verdict.with_evidence(&[("peak_step", peak as f64), ("share", share)]))
}

/// `NOISY_BATCHES`: the losses of neighbouring batches differ by a great part of the scale, at steps that are neither too small nor
/// too large; and little is learned, or the trend of the training loss is unresolved.
pub fn noisy_batches(case: &Case<'_>) -> Option<Verdict> {
    let batch = case.config()?.batch_size;
    // The plain standard deviation. On unequal classes most batches are alike, and the few with a rare class make the noise.
    let jumps: Vec<f64> = case.measured.train.windows(2).map(|pair| (pair[1].y - pair[0].y).powi(2)).collect();
    let noise = (mean(&jumps) / 2.0).sqrt() / case.detection.scale;
    let hidden = matches!(case.detection.tail.trend, Trend::Unresolved { .. });
    let hinders = (hidden || case.learned_little()) && !case.rate_is_low() && !case.takes_large_steps();
    if batch > limit::SMALL_BATCH || noise.is_nan() || noise <= limit::BATCH_NOISE || !hinders {
        return None;
    }
    let text = format!(
        "the losses of batches of {batch} differ by {} of the loss of guessing: steps follow the noise more than the loss",
        percent(noise)
    );
    let verdict = Verdict::cause(Cause::NoisyBatches, text).over(case.all_steps());
    Some(verdict.with_evidence(&[("noise", noise), ("batch_size", batch as f64)]))
}
