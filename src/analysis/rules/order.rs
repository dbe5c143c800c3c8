//! The order of the rules.

use super::{agreement, data, fit, rate, setting, short, signal, stability};
use crate::analysis::case::Case;
use crate::trial::Verdict;

type Rule = fn(&Case<'_>) -> Option<Verdict>;

/// The order of causes. First what makes all later numbers meaningless, then what stops learning, then a learning rate that
/// is too high, what was never learned, a learning rate that is too low, and what is learned but does not generalise. Notes
/// are sorted behind all causes.
const RULES: &[Rule] = &[
    stability::zero_loss,
    stability::non_finite,
    data::missing_class,
    data::prior_shift,
    data::leaked_rows,
    signal::frozen,
    signal::bad_init,
    signal::explode,
    fit::noise_too_strong,
    setting::decay_too_strong,
    stability::after_warmup,
    stability::overshoot,
    short::overshoot,
    setting::imbalanced,
    stability::diverged,
    stability::collapsed,
    signal::vanish,
    setting::truncated,
    setting::warmup_too_long,
    rate::exhausted,
    setting::noisy_batches,
    signal::prior_stuck,
    signal::never_fell,
    short::never_fell,
    fit::memorised,
    stability::clip_bound,
    fit::label_floor,
    rate::too_slow,
    rate::noise_floor,
    fit::overfit,
    short::overfit,
    signal::update_ratio,
    rate::stalled,
    stability::spikes,
    signal::escaped_late,
    fit::wasted,
    fit::eval_noisy,
    rate::unresolved,
];

/// The verdicts of all rules that hold: causes, the primary one first, then notes.
pub fn found(case: &Case<'_>) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = RULES.iter().filter_map(|rule| rule(case)).collect();
    verdicts.retain(|verdict| agreement::agrees(case.shape.kind(), verdict));
    verdicts.sort_by_key(|verdict| !verdict.is_cause());
    // A long log and a short one have rules of their own for the same cause.
    verdicts.dedup_by(|next, kept| next.id == kept.id);
    if let Some(primary) = verdicts.first().cloned() {
        verdicts.retain(|verdict| *verdict == primary || agreement::adds_to(&primary, verdict));
    }
    verdicts
}
