//! Learning that does not begin: a bad start, parameters that do not move, gradients that do not arrive, losses that stay
//! at what guessing gives.

use super::super::detector::Trend;
use super::super::plateau::Judgement;
use super::super::statistics::median;
use super::{Case, advised, cause, limit, note, percent, rate, stability};
use crate::trial::{DiagnosticRow, Verdict};

/// `BAD_INIT`: the first loss is far from ln C, the loss of an untrained head.
pub(super) fn bad_init(case: &Case<'_>) -> Option<Verdict> {
    let classes = case.measured.train_prior.len();
    let uniform = (classes as f64).ln();
    let first = case.measured.eval.first().filter(|point| point.x == 0.0).or(case.measured.train.first())?;
    if classes < 2 || !first.y.is_finite() {
        return None;
    }
    let off = (first.y - uniform).abs() / uniform;
    let (steps, evidence) =
        ((0, first.x as u64), [("first_loss", first.y), ("ln_classes", uniform), ("relative", off)]);
    let text = format!("the loss starts at {:.3}; an untrained head of {classes} classes has {uniform:.3}", first.y);
    if off > limit::BAD_INIT {
        let text = format!("{text}: the head, the loss or the labels are wrong from the start");
        return advised(
            cause("BAD_INIT", steps, text, &evidence),
            "a head of small weights (model.reinit: 1), and a look at the labels",
        );
    }
    (off > limit::BAD_INIT_NOTE).then(|| note("BAD_INIT", steps, text, &evidence))
}

/// FROZEN: evaluations agree to the last bit, or steps change nothing, while there is a learning rate.
pub(super) fn frozen(case: &Case<'_>) -> Option<Verdict> {
    let moving = |step: u64| {
        let mut rates = case.measured.lr.iter().filter(|rate| rate.x as u64 <= step);
        case.measured.lr.is_empty() || rates.any(|rate| rate.y > 0.0)
    };
    let evals: Vec<_> = case.measured.eval.iter().filter(|point| point.y.is_finite()).collect();
    let same = evals.len() > limit::FROZEN_EVALS
        && evals.windows(2).all(|pair| pair[0].y.to_bits() == pair[1].y.to_bits())
        && evals.last().is_some_and(|last| moving(last.x as u64));
    if let Some(verdict) = frozen_encoder(case).filter(|_| !same) {
        return advised(verdict, "model.freeze: 0, or fewer layers");
    }
    // A log of few digits has equal evaluations of what does learn.
    let same = same && !has_fallen(case);
    let still = ratios(case);
    let unmoved = still.len() >= limit::FROZEN_EVALS && still.iter().all(|ratio| *ratio == 0.0);
    if !(same || unmoved) {
        return None;
    }
    let what = if same {
        format!("{} evaluations agree to the last bit", evals.len())
    } else {
        "steps change no weight".into()
    };
    let text = format!("nothing is trained: {what}, although there is a learning rate");
    let verdict = cause("FROZEN", case.whole(), text, &[("evals", evals.len() as f64)]);
    advised(verdict, "model.freeze: 0, and check which parameters the optimizer holds")
}

/// No encoder layer gets a gradient at any step, and the head alone does not learn enough.
fn frozen_encoder(case: &Case<'_>) -> Option<Verdict> {
    let rows: Vec<&DiagnosticRow> = case.measured.diagnostics.iter().filter(|row| row.step > 0).collect();
    let untrained = |row: &&DiagnosticRow| row.first_grad_norm.is_none() && row.last_grad_norm.is_none();
    let finite = case.broken().is_none();
    let frozen = rows.len() >= limit::FROZEN_EVALS && rows.iter().all(untrained);
    (frozen && finite && case.is_poor()).then(|| {
        let level = case.clean_end();
        let text = format!("no layer of the encoder is trained, and the head alone brings the loss to {level:.3} only");
        cause("FROZEN", case.whole(), text, &[("level", level), ("evals", rows.len() as f64)])
    })
}

/// Of the steps at a rate above zero, mean |change| over mean |weight|.
pub(super) fn ratios(case: &Case<'_>) -> Vec<f64> {
    let rate = |step: u64| case.measured.lr.iter().find(|rate| rate.x as u64 == step).is_none_or(|rate| rate.y > 0.0);
    let rows = case.measured.diagnostics.iter().filter(|row| rate(row.step));
    rows.filter_map(|row| row.update_ratio).map(f64::from).filter(|ratio| ratio.is_finite()).collect()
}

/// `UPDATE_RATIO`: steps that are too large or too small for the weights they change.
pub(super) fn update_ratio(case: &Case<'_>) -> Option<Verdict> {
    let ratios = ratios(case);
    let middle = median(&ratios).log10();
    if ratios.len() < limit::FROZEN_EVALS || !middle.is_finite() {
        return None;
    }
    let (fast, slow) = (middle > limit::UPDATE_FAST, middle < limit::UPDATE_SLOW);
    if !(fast || slow) {
        return None;
    }
    let text = format!(
        "a step changes the weights by 10^{middle:.1} of their size; fine-tuning at a good rate by about 10^-3.3: steps are too {}",
        if fast { "large" } else { "small" }
    );
    let verdict = cause("UPDATE_RATIO", case.whole(), text, &[("log10_ratio", middle)]);
    advised(verdict, case.rate_times(if fast { 0.1 } else { 10.0 }))
}

/// Medians of the gradient norms of the lowest and the highest trained layer.
fn gradients(case: &Case<'_>) -> Option<(f64, f64)> {
    let of = |pick: fn(&DiagnosticRow) -> Option<f32>| {
        let norms = case.measured.diagnostics.iter().filter_map(pick).map(f64::from);
        let norms: Vec<f64> = norms.filter(|norm| norm.is_finite()).collect();
        (!norms.is_empty()).then(|| median(&norms))
    };
    Some((of(|row| row.first_grad_norm)?, of(|row| row.last_grad_norm)?))
}

/// VANISH: what reaches the lowest layer is next to nothing.
pub(super) fn vanish(case: &Case<'_>) -> Option<Verdict> {
    let (first, last) = gradients(case)?;
    let ratio = first / last;
    let starved = ratio < limit::STARVED && case.is_poor() && !stability::is_hot(case);
    if !(starved || ratio < limit::VANISHING && first < limit::VANISHED) {
        return None;
    }
    let text = format!(
        "the gradient of the lowest trained layer is {first:.1e}, of the highest {last:.1e}: little arrives below"
    );
    let verdict = cause("VANISH", case.whole(), text, &[("first", first), ("last", last), ("ratio", ratio)]);
    advised(verdict, "lr: 2e-5, warmup: 0.1, optimizer.bias_correction: true, model.reinit: 1")
}

/// EXPLODE: gradients grow on their way down, or are huge before the first step.
pub(super) fn explode(case: &Case<'_>) -> Option<Verdict> {
    let start = case.measured.grad_norm.first().filter(|norm| norm.x <= 1.0 && norm.y > limit::FIRST_NORM);
    if let Some(norm) = start.filter(|_| case.is_poor()) {
        let text = format!(
            "the gradient norm of the first step is {:.0}, of a sound BERT 1 to 5: the weights it starts from are broken",
            norm.y
        );
        let verdict = cause("EXPLODE", (0, 1), text, &[("first_norm", norm.y)]);
        return advised(verdict, "another model.from, or model.reinit for the layers that are broken");
    }
    let (first, last) = gradients(case)?;
    let ratio = first / last;
    if ratio.is_nan() || ratio <= limit::EXPLODING {
        return None;
    }
    let text = format!("the gradient of the lowest trained layer is {ratio:.0} times that of the highest");
    let verdict = cause("EXPLODE", case.whole(), text, &[("first", first), ("last", last), ("ratio", ratio)]);
    advised(verdict, format!("{}, warmup: 0.1, max_grad_norm: 1.0", case.rate_times(1.0 / 3.0)))
}

/// `PRIOR_STUCK`: the training loss never leaves what guessing the class frequencies gives.
pub(super) fn prior_stuck(case: &Case<'_>) -> Option<Verdict> {
    let chance = case.chance.filter(|_| case.has_course())?;
    let below = case.blocks.iter().filter(|block| block.mean < limit::BELOW_PRIOR * chance).count();
    let (share, tail) = (below as f64 / case.blocks.len() as f64, case.tail());
    // Batches of few examples stray far from the prior; evaluations and the clean loss do not.
    let stays = case.judgement == Judgement::Stuck && case.clean_end() >= limit::AT_PRIOR * chance;
    if !stays && (share > limit::STUCK_BLOCKS || tail < limit::AT_PRIOR * chance) {
        return None;
    }
    // A loss that has begun to fall is slow, not stuck.
    if !stays && case.detection.tail.trend == Trend::Falling && tail < chance {
        return None;
    }
    let one_class = one_class(case);
    let guesses = matches!(case.judgement, Judgement::Stuck | Judgement::Collapsed { .. })
        || one_class.is_some_and(|share| share >= limit::ONE_CLASS)
        || match (case.majority(), case.best_accuracy()) {
            (Some((_, luck)), Some(best)) => best <= luck,
            _ => true,
        };
    if !guesses {
        return None;
    }
    let (why, advice) = why_stuck(case);
    let single = one_class.filter(|share| *share >= limit::ONE_CLASS);
    let single = single.map_or_else(String::new, |share| format!(", {} of the answers are one class", percent(share)));
    let text =
        format!("nothing is learned: the training loss stays at {tail:.3}, guessing has {chance:.3}{single}; {why}");
    let evidence = [
        ("level", tail),
        ("chance", chance),
        ("blocks_below", share),
        ("best_accuracy", case.best_accuracy().unwrap_or(f64::NAN)),
        ("one_class", one_class.unwrap_or(f64::NAN)),
    ];
    advised(cause("PRIOR_STUCK", case.whole(), text, &evidence), advice)
}

/// Whether the training loss ever came clearly below its start.
fn has_fallen(case: &Case<'_>) -> bool {
    let least = case.blocks.iter().map(|block| block.mean).fold(f64::INFINITY, f64::min);
    case.has_course() && case.blocks.first().is_some_and(|first| least < limit::BELOW_START * first.mean)
}

/// `NEVER_FELL`: what is left of `PRIOR_STUCK` where the class frequencies are unknown.
pub(super) fn never_fell(case: &Case<'_>) -> Option<Verdict> {
    let is_known = case.chance.is_some();
    if is_known || !case.has_course() || has_fallen(case) {
        return None;
    }
    let level = case.tail();
    let text = format!(
        "the training loss never falls below its start, and ends at {level:.3}: nothing is learned, or nothing is left to be"
    );
    let verdict = cause("NEVER_FELL", case.whole(), text, &[("level", level)]);
    advised(
        verdict,
        "tell the class frequencies, which settle what guessing loses; a learning rate 10 times higher and lower",
    )
}

/// Share of the most frequent prediction at the end.
pub(super) fn one_class(case: &Case<'_>) -> Option<f64> {
    let predicted = &case.measured.diagnostics.last()?.predicted;
    let all: u32 = predicted.iter().sum();
    let most = predicted.iter().max()?;
    (all > 0).then(|| f64::from(*most) / f64::from(all))
}

/// What keeps the loss at the prior, as far as can be told, and what to do.
fn why_stuck(case: &Case<'_>) -> (String, String) {
    let (high, low) = match (case.greatest_ratio(), case.peak_rate()) {
        (Some(ratio), _) => (false, ratio < limit::RATIO_LOW),
        (None, Some(rate)) => (rate >= limit::RATE_HIGH, rate <= limit::RATE_LOW),
        _ => (false, false),
    };
    if high || stability::is_hot(case) {
        return ("the learning rate threw it there".into(), format!("{}, warmup: 0.1", case.rate_times(0.1)));
    }
    if let Some(eps) = rate::small_for_its_rate(case) {
        let why = format!("the learning rate is too low to leave it, by an eps of {eps:e} that swallows the steps");
        return (why, "optimizer.eps: 1e-8".into());
    }
    if low {
        return ("the learning rate is too low to leave it".into(), case.rate_times(10.0));
    }
    let why =
        "neither rate nor gradients explain it: the inputs may say nothing about the labels, or not reach the model";
    (why.into(), "check data.text, data.label and data.max_length on a few rows; try lr: 2e-5, warmup: 0.1".into())
}

/// `ESCAPED_LATE`: long at the prior, then learned all the same.
pub(super) fn escaped_late(case: &Case<'_>) -> Option<Verdict> {
    let chance = case.chance.filter(|_| case.has_course())?;
    let stay = case.blocks.iter().take_while(|block| block.mean >= limit::AT_PRIOR * chance).count();
    let share = stay as f64 / case.blocks.len() as f64;
    let escaped = case.blocks.last()?.mean < limit::BELOW_PRIOR * chance;
    if share < limit::LEARNED_BLOCKS || !escaped {
        return None;
    }
    let at = case.blocks.get(stay)?.from;
    let text = format!("the loss stays at {chance:.3}, as in guessing, up to step {at}, and falls then: no failure");
    Some(note("ESCAPED_LATE", (0, at), text, &[("share", share), ("step", at as f64)]))
}
