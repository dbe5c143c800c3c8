//! What is learned and does not carry over: overfitting, learning by heart, noise that is too strong, evaluations too few
//! or too noisy.

use super::super::curve::Point;
use super::super::statistics::{mean, median};
use super::{Case, advised, cause, limit, note, percent};
use crate::trial::Verdict;

fn ys(points: &[Point]) -> Vec<f64> {
    points.iter().map(|point| point.y).filter(|y| y.is_finite()).collect()
}

/// OVERFIT: the evaluation loss rises after its best while the training loss falls on.
pub(super) fn overfit(case: &Case<'_>) -> Option<Verdict> {
    let (place, best) = case.best_eval()?;
    let after = ys(&case.measured.eval[place + 1..]);
    if after.len() < limit::OVERFIT_EVALS || best.y <= 0.0 {
        return None;
    }
    let last = mean(&after[after.len() - limit::OVERFIT_EVALS..]);
    let (then, now) = (loss_around(case, best.x)?, loss_around(case, case.measured.end() as f64)?);
    if last < limit::OVERFIT * best.y || now > (1.0 - limit::OVERFIT_FALL) * then {
        return None;
    }
    let (at, end) = (best.x as u64, case.measured.end());
    let evidence = [("best", best.y), ("last", last), ("train_then", then), ("train_now", now)];
    let text = format!(
        "the eval loss rises {} from {:.3} at step {at} to {last:.3}, while the training loss falls from {then:.3} to {now:.3}",
        if last >= limit::OVERFIT_SEVERE * best.y { "steeply" } else { "slightly" },
        best.y
    );
    if accuracy_holds(case) {
        let text = format!("{text}; accuracy holds: only its confidence is too high");
        return advised(
            note("CALIBRATION_ONLY", (at, end), text, &evidence),
            "label_smoothing: 0.1, or keep the checkpoint at the best loss",
        );
    }
    advised(
        cause("OVERFIT", (at, end), text, &evidence),
        "stop: {patience: {metric: eval_loss, evals: 3}}, more data or augmentation, fewer epochs",
    )
}

/// Training loss over the twentieth of the run up to `x`.
fn loss_around(case: &Case<'_>, x: f64) -> Option<f64> {
    let reach = (case.measured.end() as f64 / 20.0).max(5.0);
    let near: Vec<f64> =
        case.measured.train.iter().filter(|p| p.x > x - reach && p.x <= x + reach).map(|p| p.y).collect();
    (!near.is_empty()).then(|| mean(&near))
}

/// Whether the last accuracies are as good as the best, within two standard errors.
fn accuracy_holds(case: &Case<'_>) -> bool {
    let accuracy = ys(&case.measured.accuracy);
    let (Some(best), true) = (case.best_accuracy(), accuracy.len() >= limit::OVERFIT_EVALS) else { return false };
    let last = mean(&accuracy[accuracy.len() - limit::OVERFIT_EVALS..]);
    let margin = case.accuracy_error(best).map_or(limit::MAJORITY_MARGIN / 2.0, |error| 2.0 * error);
    best - last <= margin
}

/// MEMORISED: the training data are fitted and the answers are no better than the majority's.
pub(super) fn memorised(case: &Case<'_>) -> Option<Verdict> {
    let (chance, best, (majority, luck)) = (case.chance?, case.best_accuracy()?, case.majority()?);
    let tail = case.tail();
    if !(tail < limit::FITTED * chance && best <= luck) {
        return None;
    }
    let text = format!(
        "learned by heart: train loss {tail:.3}, but the best accuracy {} is no better than the majority's {}",
        percent(best),
        percent(majority)
    );
    let evidence = [("level", tail), ("best_accuracy", best), ("majority", majority)];
    advised(
        cause("MEMORISED", case.tail_steps(), text, &evidence),
        "check that labels and texts of both splits belong together; more data; the learning rate is not the cause",
    )
}

/// `AUG_TOO_STRONG`, `DROPOUT_TOO_STRONG`: in training the loss is far above that of the same examples left clean.
pub(super) fn noise_too_strong(case: &Case<'_>) -> Option<Verdict> {
    let config = case.measured.config?;
    let tail = case.measured.train.iter().filter(|point| point.x as u64 >= case.detection.tail.from);
    let noisy = mean(&ys(&tail.copied().collect::<Vec<_>>()));
    let probe = ys(&case.measured.probe);
    // The last quarter, three at least.
    let clean = mean(&probe[probe.len().checked_sub((probe.len() / 4).max(3))?..]);
    let gap = (noisy - clean) / case.detection.scale;
    let augmented = !config.augmentation.is_empty();
    let most = if augmented { limit::AUGMENTATION_GAP } else { limit::DROPOUT_GAP };
    // Smoothed labels lift the loss in training alone.
    if gap.is_nan() || gap <= most || config.label_smoothing > 0.0 || config.mixup().is_some() {
        return None;
    }
    let (id, what, advice) = if augmented {
        ("AUG_TOO_STRONG", "augmentation", "half the rate of augmentation, or augmentation: none".to_owned())
    } else {
        ("DROPOUT_TOO_STRONG", "dropout", "model.dropout: 0.1".to_owned())
    };
    let text =
        format!("{what} costs {:.3}: train loss {noisy:.3}, {clean:.3} on the same data left clean", noisy - clean);
    advised(cause(id, case.tail_steps(), text, &[("noisy", noisy), ("clean", clean), ("gap", gap)]), advice)
}

/// WASTED: the best evaluation comes in the first tenth.
pub(super) fn wasted(case: &Case<'_>) -> Option<Verdict> {
    let (_, best) = case.best_eval()?;
    let (at, end) = (best.x as u64, case.measured.end());
    // The untrained model may be the best of a run that learned nothing.
    if at == 0 || best.x > limit::WASTED * end as f64 || case.measured.eval.len() < 5 {
        return None;
    }
    let text = format!("the best evaluation comes at step {at} of {end}: nine tenths of the run gained nothing");
    advised(
        note("WASTED", (at, end), text, &[("best_step", best.x), ("share", best.x / end as f64)]),
        format!("steps: {}", at * 3),
    )
}

/// `EVAL_NOISY`: evaluations differ from one another nearly as much as over the whole run.
pub(super) fn eval_noisy(case: &Case<'_>) -> Option<Verdict> {
    let evals = ys(&case.measured.eval);
    if evals.len() < 8 {
        return None;
    }
    let jumps: Vec<f64> = evals.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    let (low, high) =
        evals.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(*y), high.max(*y)));
    // Jumps back and forth; a steady fall has large ones too.
    let turns = evals.windows(3).filter(|three| (three[1] - three[0]) * (three[2] - three[1]) < 0.0).count();
    let jump = median(&jumps);
    if !(jump >= limit::EVAL_NOISE * (high - low) && high > low && turns * 2 >= evals.len() - 2) {
        return None;
    }
    let text = format!(
        "evaluations jump by {jump:.3}, {} of their whole range: they cannot rank anything",
        percent(jump / (high - low))
    );
    advised(note("EVAL_NOISY", case.whole(), text, &[("jump", jump), ("range", high - low)]), "a larger data.eval")
}
