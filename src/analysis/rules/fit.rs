//! What is learned and does not carry over: overfitting, learning by heart, noise that is too strong, evaluations too few
//! or too noisy.

use super::super::curve::Point;
use super::super::measured::chance;
use super::super::plateau::Judgement;
use super::super::statistics::{mean, median, wilson};
use super::{Case, advised, cause, limit, note, percent, stability};
use crate::trial::{Augmentation, DiagnosticRow, Verdict};

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
    let hopeless = chance(case.measured.eval_prior).is_some_and(|chance| last > limit::NO_BETTER * chance);
    if accuracy_holds(case) && !hopeless {
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

/// `LABEL_FLOOR`: even of what the model is surest of, more is labelled otherwise than clean labels leave, at every
/// evaluation. What is hard makes a model unsure; what is wrong among the easy is wrong at every doubt, and sets the floor
/// of the loss.
pub(super) fn label_floor(case: &Case<'_>) -> Option<Verdict> {
    let learned = limit::BELOW_PRIOR * chance(case.measured.eval_prior)?;
    let after = |step: u64| case.measured.eval.iter().any(|point| point.x as u64 == step && point.y < learned);
    let counted = |row: &DiagnosticRow| {
        let examples: u32 = row.predicted.iter().sum();
        Some((row.surest_wrong? as usize, DiagnosticRow::surest_of(examples as usize), row.step))
    };
    let rows: Vec<_> = case.measured.diagnostics.iter().filter(|row| after(row.step)).filter_map(counted).collect();
    let &(wrong, surest, step) = rows.iter().min()?;
    let (least, _) = wilson(wrong, surest);
    if rows.len() < limit::SURE_EVALS || least <= limit::SURELY_WRONG {
        return None;
    }
    let share = wrong as f64 / surest as f64;
    let text = format!(
        "of the {surest} evaluation examples that it is surest of, never fewer than {wrong} ({}) are labelled otherwise, over {} \
         evaluations since it has learned: about so many labels are wrong or arbitrary, and hold the loss up",
        percent(share),
        rows.len()
    );
    let evidence = [("surest", surest as f64), ("wrong", wrong as f64), ("share", share), ("at_least", least)];
    advised(
        cause("LABEL_FLOOR", (step, case.measured.end()), text, &evidence),
        "look at the examples with the highest loss, and relabel; meanwhile label_smoothing: 0.1",
    )
}

/// Training loss over the twentieth of the run up to `x`.
fn loss_around(case: &Case<'_>, x: f64) -> Option<f64> {
    let reach = (case.measured.end() as f64 / 20.0).max(5.0);
    let near: Vec<f64> =
        case.measured.train.iter().filter(|p| p.x > x - reach && p.x <= x + reach).map(|p| p.y).collect();
    (!near.is_empty()).then(|| mean(&near))
}

/// Whether the last accuracies are as good as the best, within two standard errors of the difference of two.
fn accuracy_holds(case: &Case<'_>) -> bool {
    let accuracy = ys(&case.measured.accuracy);
    let (Some(best), true) = (case.best_accuracy(), accuracy.len() >= limit::OVERFIT_EVALS) else { return false };
    let last = mean(&accuracy[accuracy.len() - limit::OVERFIT_EVALS..]);
    let margin = case.accuracy_error(best).map_or(limit::MAJORITY_MARGIN / 2.0, |error| 8.0_f64.sqrt() * error);
    best - last <= margin
}

/// MEMORISED: the training data are learned, and the answers are no better than the majority's.
pub(super) fn memorised(case: &Case<'_>) -> Option<Verdict> {
    let (chance, best, (majority, luck)) = (case.chance?, case.best_accuracy()?, case.majority()?);
    let level = case.clean_end();
    let fitted = case.tail() < limit::FITTED * chance;
    let at_chance = case.judgement == Judgement::Stuck && level < limit::AT_PRIOR * chance;
    if !(fitted || at_chance) || best > luck {
        return None;
    }
    let text = format!(
        "learned by heart: train loss {level:.3}, but the best accuracy {} is no better than the majority's {}",
        percent(best),
        percent(majority)
    );
    let evidence = [("level", level), ("best_accuracy", best), ("majority", majority)];
    advised(
        cause("MEMORISED", case.tail_steps(), text, &evidence),
        "check that labels and texts of both splits belong together; more data; the learning rate is not the cause",
    )
}

/// `AUG_TOO_STRONG`, `DROPOUT_TOO_STRONG`: in training the loss is far above that of the same examples left clean, or
/// little is learned under noise that leaves little of the input.
pub(super) fn noise_too_strong(case: &Case<'_>) -> Option<Verdict> {
    let config = case.measured.config?;
    let augmented = !config.augmentation.is_empty();
    let strength = if augmented { rate_of(&config.augmentation) } else { config.model.dropout.unwrap_or(0.0) };
    let from = 0.75 * case.measured.end() as f64;
    let noisy = ys(&case.measured.train[case.measured.train.partition_point(|point| point.x <= from)..]);
    let probe = ys(&case.measured.probe);
    // The last quarter, three at least.
    let clean = mean(&probe[probe.len().checked_sub((probe.len() / 4).max(3))?..]);
    let level = mean(&noisy);
    // Of few batches the mean is uncertain.
    let error = (noisy.iter().map(|y| (y - level).powi(2)).sum::<f64>()).sqrt() / noisy.len() as f64;
    let gap = (level - clean - error) / case.detection.scale;
    let most = if augmented { limit::AUGMENTATION_GAP } else { limit::DROPOUT_GAP };
    // Smoothed labels lift the loss in training alone.
    let lifted = config.label_smoothing > 0.0 || config.mixup().is_some();
    let costs = case.is_poor() || gap > most / 2.0;
    let drowned = strength >= limit::STRONG_NOISE && costs && !stability::is_hot(case);
    if !(drowned || gap > most && !lifted) {
        return None;
    }
    let (id, what, advice) = if augmented {
        ("AUG_TOO_STRONG", "augmentation", "half the rate of augmentation, or augmentation: none".to_owned())
    } else {
        ("DROPOUT_TOO_STRONG", "dropout", "model.dropout: 0.1".to_owned())
    };
    let text = if drowned {
        format!(
            "{what} at {strength} leaves little of the input: train loss {level:.3}, {clean:.3} on the same data left clean"
        )
    } else {
        format!("{what} costs {:.3}: train loss {level:.3}, {clean:.3} on the same data left clean", level - clean)
    };
    advised(cause(id, case.tail_steps(), text, &[("noisy", level), ("clean", clean), ("gap", gap)]), advice)
}

/// The greatest share of a text that one of the augmentations changes; 0 where none is a share.
fn rate_of(augmentation: &[Augmentation]) -> f64 {
    let rate = |one: &Augmentation| match one {
        Augmentation::Synonym { rate, .. }
        | Augmentation::RandomInsertion { rate, .. }
        | Augmentation::RandomSwap { rate }
        | Augmentation::RandomDeletion { rate }
        | Augmentation::TokenCutoff { rate }
        | Augmentation::Contextual { rate, .. } => *rate,
        Augmentation::Eda { alpha, .. } | Augmentation::EdaExact { alpha, .. } => *alpha,
        _ => 0.0,
    };
    augmentation.iter().map(rate).fold(0.0, f64::max)
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
