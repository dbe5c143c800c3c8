//! What is learned and does not generalise: overfitting, memorised training sets, noise that is too strong, wrong labels,
//! evaluations that are too few or too noisy.

use crate::analysis::case::{Case, finite};
use crate::analysis::curve::Point;
use crate::analysis::format::percent;
use crate::analysis::shape::Shape;
use crate::analysis::statistics::{mean, median, robust_deviation, wilson};
use crate::analysis::thresholds as limit;
use crate::trial::{Augmentation, Cause, DiagnosticRow, Verdict};

/// OVERFIT: the evaluation loss rises after its best value while the training loss keeps falling. `CALIBRATION_ONLY`: it
/// does, but the accuracy holds.
pub fn overfit(case: &Case<'_>) -> Option<Verdict> {
    let (place, best) = case.best_eval()?;
    let after = finite(&case.measured.eval[place + 1..]);
    if after.len() < limit::OVERFIT_EVALS || best.y <= 0.0 {
        return None;
    }
    let last = mean(&after[after.len() - limit::OVERFIT_EVALS..]);
    let train = loss_around(case, best.x).zip(loss_around(case, case.measured.end() as f64));
    // The smoothed curve rises, or the rise is greater than its noise.
    let rises = case.overfits() || last - best.y >= least_rise(&finite(&case.measured.eval), best.y);
    let train_falls = train.is_none_or(|(then, now)| now <= (1.0 - limit::OVERFIT_FALL) * then);
    // A training loss that rests excuses no evaluation loss that is far above its best.
    let rests = train.is_some_and(|(then, now)| now <= limit::AT_REST * then);
    let is_far = case.overfits() && last >= limit::OVERFIT_AT_REST * best.y && !case.rate_rises_after(best.x);
    if last < limit::OVERFIT * best.y || !rises || !(train_falls || rests && is_far) {
        return None;
    }
    let (at, end) = (best.x as u64, case.measured.end());
    let beside = match train {
        Some((then, now)) if train_falls => format!("while the training loss falls from {then:.3} to {now:.3}"),
        Some((_, now)) => format!("while the training loss stays at {now:.3}"),
        None => "and no training loss is logged".to_owned(),
    };
    let text = format!(
        "the eval loss rises {} from {:.3} at step {at} to {last:.3}, {beside}",
        if last >= limit::OVERFIT_SEVERE * best.y { "steeply" } else { "slightly" },
        best.y
    );
    // A loss that was never below chance does not get worse than guessing by overfitting.
    let hopeless = case.shape != Shape::Overconfident
        && case.measured.eval_chance().is_some_and(|chance| last > limit::NO_BETTER * chance);
    let verdict = if accuracy_holds(case, best.x) && !hopeless {
        let text = format!("{text}; the accuracy holds, so only the confidence is too high");
        Verdict::note(Cause::CalibrationOnly, text)
    } else {
        Verdict::cause(Cause::Overfit, text)
    };
    let (then, now) = train.unwrap_or((f64::NAN, f64::NAN));
    let evidence = [("best", best.y), ("last", last), ("train_then", then), ("train_now", now)];
    Some(verdict.over((at, end)).with_evidence(&evidence))
}

/// `LABEL_FLOOR`: even among the examples that the model is most confident of, more labels disagree than clean labels leave,
/// at every evaluation. A hard example makes a model unsure. A wrong label among the easy examples stays wrong whatever the
/// model learns, and sets the floor of the loss.
pub fn label_floor(case: &Case<'_>) -> Option<Verdict> {
    if case.rate_is_low() {
        return None;
    }
    // On unequal classes, wrong labels themselves keep the evaluation loss close to guessing. The clean loss then shows that the
    // model has learned.
    let knows = case.chance.is_some_and(|chance| case.clean_end() < limit::KNOWS_TRAINING * chance);
    let learned = if knows { limit::NO_BETTER } else { limit::BELOW_PRIOR } * case.measured.eval_chance()?;
    let after = |step: u64| case.measured.eval.iter().any(|point| point.x as u64 == step && point.y < learned);
    let counted = |row: &DiagnosticRow| {
        Some((row.surest_wrong? as usize, DiagnosticRow::surest_of(row.examples() as usize), row.step))
    };
    let rows: Vec<_> = case.measured.diagnostics.iter().filter(|row| after(row.step)).filter_map(counted).collect();
    let &(wrong, surest, step) = rows.iter().min()?;
    let (least, _) = wilson(wrong, surest);
    if rows.len() < limit::SURE_EVALS || surest < limit::FEWEST_SURE || least <= limit::SURELY_WRONG {
        return None;
    }
    // Wrong labels can be memorised, and not foreseen: a model that has not fitted its training data errs for want of learning.
    // Near guessing, the two losses cannot lie far apart.
    let (best, chance) = (finite(&case.measured.eval).into_iter().reduce(f64::min)?, case.measured.eval_chance()?);
    if best < limit::BELOW_PRIOR * chance && best - case.clean_end() < limit::MEMORISED_GAP * chance {
        return None;
    }
    if !errs_against_expectation(case) {
        return None;
    }
    let share = wrong as f64 / surest as f64;
    let text = format!(
        "of the {surest} evaluation examples that the model is most confident of, at least {wrong} ({}) have another label at each \
         of {} evaluations: about that many labels are wrong or arbitrary, and they limit the loss",
        percent(share),
        rows.len()
    );
    let evidence = [("surest", surest as f64), ("wrong", wrong as f64), ("share", share), ("at_least", least)];
    Some(Verdict::cause(Cause::LabelFloor, text).over((step, case.measured.end())).with_evidence(&evidence))
}

/// Whether errors among the most confident answers point at the labels, and not at a task that is hard for the model.
///
/// At its lowest evaluation losses a model is about as sure as it is right. Wrong labels fall on easy examples as often as on hard
/// ones, so its most confident answers are then wrong more often than it expects, by the sum of 1 - p. A pretrained encoder may come
/// to expect wrong labels where it was trained on some. It knows the language, so that its most confident answers are right all the
/// same, and only errors that are surely fewer than expected speak for a hard task. A network without an encoder knows what a few
/// examples teach it, and errs among easy ones, too. Its errors must surely be more than it expects, and not at one evaluation alone.
fn errs_against_expectation(case: &Case<'_>) -> bool {
    let excess = |point: &Point| {
        let row = case.measured.diagnostics.iter().find(|row| row.step == point.x as u64)?;
        let surest = DiagnosticRow::surest_of(row.examples() as usize) as f64;
        let (wrong, expected) = (f64::from(row.surest_wrong?), f64::from(row.surest_expected?));
        // Greatest variance of as many answers that are wrong with given probabilities: all are equal. Of at least one error, since
        // a model that expects none is wrong about that.
        let expected = expected.clamp(1.0, (surest - 1.0).max(1.0));
        Some((wrong - expected) / (expected * (1.0 - expected / surest)).sqrt())
    };
    let mut evals: Vec<&Point> =
        case.measured.eval.iter().filter(|point| point.x > 0.0 && point.y.is_finite()).collect();
    evals.sort_by(|a, b| a.y.total_cmp(&b.y));
    let mut lowest = evals.into_iter().filter_map(excess).take(limit::LOWEST_EVALS);
    if case.is_without_encoder() {
        let lowest: Vec<f64> = lowest.collect();
        return lowest.len() == limit::LOWEST_EVALS && lowest.iter().all(|excess| *excess > limit::SURELY_MORE);
    }
    // Files of earlier versions do not hold what the model expects.
    lowest.next().is_none_or(|excess| excess > -limit::FAR_FEWER)
}

/// Least rise above the lowest evaluation loss that is no noise: the lowest of n values lies below their mean by about
/// sqrt(2 ln n) standard deviations. Also a share of the fall before, because a loss close to 0 may double without harm.
fn least_rise(evals: &[f64], best: f64) -> f64 {
    let fall = evals.first().map_or(0.0, |first| first - best);
    let jumps: Vec<f64> = evals.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let noise = robust_deviation(&jumps, median(&jumps)) / std::f64::consts::SQRT_2;
    let by_chance = noise * ((2.0 * (evals.len() as f64).ln()).sqrt() + 1.0);
    let enough = evals.len() >= limit::NOISY_EVALS;
    (limit::OVERFIT_OF_FALL * fall).max(if enough { by_chance } else { 0.0 })
}

/// Mean training loss within a twentieth of the run around step `x`; in a log of few rows, the loss that is nearest.
fn loss_around(case: &Case<'_>, x: f64) -> Option<f64> {
    let reach = (case.measured.end() as f64 / 20.0).max(5.0);
    let near: Vec<f64> =
        case.measured.train.iter().filter(|p| p.x > x - reach && p.x <= x + reach).map(|p| p.y).collect();
    if near.is_empty() {
        let nearest = case.measured.train.iter().min_by(|a, b| (a.x - x).abs().total_cmp(&(b.x - x).abs()));
        return nearest.map(|point| point.y);
    }
    Some(mean(&near))
}

/// Whether the last accuracies are as good as the best, within two standard errors of the difference, or clearly better than
/// that at the lowest loss, of step `lowest`.
fn accuracy_holds(case: &Case<'_>, lowest: f64) -> bool {
    let accuracy = case.measured.accuracies();
    let (Some(best), true) = (case.best_accuracy(), accuracy.len() >= limit::OVERFIT_EVALS) else { return false };
    let last = mean(&accuracy[accuracy.len() - limit::OVERFIT_EVALS..]);
    if last < limit::WORTH_ACCURACY {
        return false;
    }
    let margin = case.accuracy_error(best).map_or(limit::MAJORITY_MARGIN / 2.0, |error| 8.0_f64.sqrt() * error);
    let then = case.measured.accuracy.iter().zip(&accuracy).find(|(point, _)| point.x >= lowest).map(|(_, then)| *then);
    best - last <= margin || then.is_some_and(|then| last > then + margin)
}

/// MEMORISED: the training data are learned, and the accuracy is no better than the majority class.
pub fn memorised(case: &Case<'_>) -> Option<Verdict> {
    let (chance, best, (majority, by_chance)) = (case.chance?, case.best_accuracy()?, case.majority()?);
    let level = case.clean_end();
    let fitted = case.tail() < limit::FITTED * chance;
    let eval_chance = case.measured.eval_chance().unwrap_or(chance);
    let never_below = case.lowest_eval() > limit::NO_BETTER * eval_chance;
    // A network without an encoder may be on its way: both losses fall to the end.
    let is_slow = case.is_without_encoder() && case.clean_loss_only_falls() && case.is_best_late();
    let at_chance = case.shape == Shape::Stuck && level < limit::AT_PRIOR * chance && !is_slow;
    // Where the number of evaluation examples is unknown, chance may explain more, if the loss agrees.
    let unknown = case.accuracy_error(best).is_none();
    let by_chance = if unknown && never_below { majority + limit::SURE_MARGIN } else { by_chance };
    // Of many evaluations on a small set, the best is above the majority by chance.
    let accuracies = case.measured.accuracies();
    let usual = mean(&accuracies[accuracies.len() / 2..]);
    let is_chance = unknown && never_below && usual <= majority + limit::MAJORITY_MARGIN;
    if !(fitted || at_chance || never_below && level < limit::POOR * chance) || best > by_chance && !is_chance {
        return None;
    }
    let text = format!(
        "the training set is memorised (train loss {level:.3}), but the best accuracy of {} is no better than the majority class ({})",
        percent(best),
        percent(majority)
    );
    let evidence = [("level", level), ("best_accuracy", best), ("majority", majority)];
    Some(Verdict::cause(Cause::Memorised, text).over(case.tail_steps()).with_evidence(&evidence))
}

/// `AUG_TOO_STRONG`, `DROPOUT_TOO_STRONG`: the training loss is far above that of the same examples without augmentation and
/// dropout. Or little is learned, and the augmentation or dropout removes most of the input.
pub fn noise_too_strong(case: &Case<'_>) -> Option<Verdict> {
    let config = case.config()?;
    let augmented = !config.augmentation.is_empty();
    let strength = if augmented { rate_of(&config.augmentation) } else { config.model.dropout.unwrap_or(0.0) };
    let from = 0.75 * case.measured.end() as f64;
    let noisy = finite(&case.measured.train[case.measured.train.partition_point(|point| point.x <= from)..]);
    if noisy.len() < limit::FEWEST_NOISY {
        return None;
    }
    let probe = finite(&case.measured.probe);
    // The last quarter, at least three.
    let clean = mean(&probe[probe.len().checked_sub((probe.len() / 4).max(3))?..]);
    let level = mean(&noisy);
    // The mean of few batches is uncertain.
    let error = (noisy.iter().map(|y| (y - level).powi(2)).sum::<f64>()).sqrt() / noisy.len() as f64;
    let gap = (level - clean - error) / case.detection.scale;
    let most = if augmented { limit::AUGMENTATION_GAP } else { limit::DROPOUT_GAP };
    // Label smoothing and mixup raise the training loss alone.
    let raised = config.label_smoothing > 0.0 || config.mixup().is_some();
    let costs = case.learned_little() || gap > most / 2.0;
    let drowned = strength >= limit::STRONG_NOISE && costs && !case.rate_is_high();
    if !(drowned || gap > most && !raised) {
        return None;
    }
    let (cause, what) =
        if augmented { (Cause::AugTooStrong, "augmentation") } else { (Cause::DropoutTooStrong, "dropout") };
    let losses = format!("train loss {level:.3}, and {clean:.3} on the same examples without it");
    let text = if drowned {
        format!("{what} at {strength} leaves little of the input: {losses}")
    } else {
        format!("{what} costs {:.3}: {losses}", level - clean)
    };
    let evidence = [("noisy", level), ("clean", clean), ("gap", gap)];
    Some(Verdict::cause(cause, text).over(case.tail_steps()).with_evidence(&evidence))
}

/// The greatest share of a text that one of the augmentations changes; 0 where none has a share.
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
pub fn wasted(case: &Case<'_>) -> Option<Verdict> {
    let (_, best) = case.best_eval()?;
    let (at, end) = (best.x as u64, case.measured.end());
    // The untrained model may be the best of a run that learned nothing.
    if at == 0 || best.x > limit::WASTED * end as f64 || case.measured.eval.len() < 5 {
        return None;
    }
    let text = format!("the best evaluation comes at step {at} of {end}: nine tenths of the run gained nothing");
    let verdict = Verdict::note(Cause::Wasted, text).over((at, end));
    Some(verdict.with_evidence(&[("best_step", best.x), ("share", best.x / end as f64)]))
}

/// `EVAL_NOISY`: neighbouring evaluations differ by a great part of the range of all evaluations.
pub fn eval_noisy(case: &Case<'_>) -> Option<Verdict> {
    let evals = finite(&case.measured.eval);
    if evals.len() < 8 {
        return None;
    }
    let jumps: Vec<f64> = evals.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    let (low, high) =
        evals.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(*y), high.max(*y)));
    // The jumps must go back and forth: a steady fall has large ones too.
    let turns = evals.windows(3).filter(|three| (three[1] - three[0]) * (three[2] - three[1]) < 0.0).count();
    let jump = median(&jumps);
    if !(jump >= limit::EVAL_NOISE * (high - low)
        && high - low > case.measured.least_change()
        && turns * 2 >= evals.len() - 2)
    {
        return None;
    }
    let text = format!(
        "evaluations jump by {jump:.3}, {} of their whole range: they cannot rank trials",
        percent(jump / (high - low))
    );
    let verdict = Verdict::note(Cause::EvalNoisy, text).over(case.all_steps());
    Some(verdict.with_evidence(&[("jump", jump), ("range", high - low)]))
}
