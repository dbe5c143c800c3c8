//! Learning that does not begin: a wrong loss at the start, parameters that do not change, gradients that do not arrive,
//! losses that stay at guessing.

use std::collections::BTreeSet;

use crate::analysis::case::{Case, Guess, finite};
use crate::analysis::curve::Point;
use crate::analysis::format::percent;
use crate::analysis::guessing::{constant_accuracy, last_losses};
use crate::analysis::shape::Shape;
use crate::analysis::statistics::{come_down, mean, median};
use crate::analysis::thresholds as limit;
use crate::trial::{Architecture, Cause, DiagnosticRow, Reason, Verdict};

/// `BAD_INIT`: the first loss is far from ln C, the loss of an untrained head of C classes.
pub fn bad_init(case: &Case<'_>) -> Option<Verdict> {
    let classes = case.measured.train_prior.len();
    let uniform = (classes as f64).ln();
    let untrained = case.measured.eval.first().filter(|point| point.x == 0.0);
    let first = untrained.or(case.measured.train.first())?;
    // The first loss that another program logs is the mean of many steps, or of an epoch. It may be low because the run has learned.
    let has_learned = untrained.is_none() && case.config().is_none() && first.y < uniform;
    if classes < 2 || !first.y.is_finite() || has_learned {
        return None;
    }
    let off = (first.y - uniform).abs() / uniform;
    let text = format!("the loss starts at {:.3}; an untrained head of {classes} classes has {uniform:.3}", first.y);
    let verdict = match off {
        // A wrong start that the run recovers from is worth knowing, and not what limits it.
        off if off > limit::BAD_INIT && !case.recovers() => {
            let text = format!("{text}: the head, the loss function or the labels are wrong from the start");
            Verdict::cause(Cause::BadInit, text)
        }
        off if off > limit::BAD_INIT_NOTE => Verdict::note(Cause::BadInit, text),
        _ => return None,
    };
    let evidence = [("first_loss", first.y), ("ln_classes", uniform), ("relative", off)];
    Some(verdict.over((0, first.x as u64)).with_evidence(&evidence))
}

/// FROZEN: evaluations are equal to the last bit, or steps change no weight, although the learning rate is above zero.
pub fn frozen(case: &Case<'_>) -> Option<Verdict> {
    let evals: Vec<_> = case.measured.eval.iter().filter(|point| point.y.is_finite()).collect();
    let same = evals.len() > limit::FROZEN_EVALS
        && evals.windows(2).all(|pair| pair[0].y.to_bits() == pair[1].y.to_bits())
        && evals.last().is_some_and(|last| has_a_rate_by(case, last.x as u64));
    if let Some(verdict) = frozen_encoder(case).filter(|_| !same) {
        return Some(verdict);
    }
    if let Some(period) = repeated(case) {
        let text = format!(
            "nothing is trained: the same {period} losses return again and again, although the learning rate is above zero"
        );
        let verdict = Verdict::cause(Cause::Frozen, text).over(case.all_steps()).with_reason(Reason::Repeats);
        return Some(verdict.with_evidence(&[("period", period as f64)]));
    }
    // A log of few digits has equal evaluations although the model learns.
    let same = same && !case.has_fallen();
    let ratios = case.update_ratios();
    let unchanged = ratios.len() >= limit::FROZEN_EVALS && ratios.iter().all(|ratio| *ratio == 0.0);
    let what = match (same, unchanged) {
        (true, _) => format!("{} evaluations are equal to the last bit", evals.len()),
        (false, true) => "steps change no weight".into(),
        (false, false) => return None,
    };
    let text = format!("nothing is trained: {what}, although the learning rate is above zero");
    let verdict = Verdict::cause(Cause::Frozen, text).over(case.all_steps());
    Some(verdict.with_evidence(&[("evals", evals.len() as f64)]))
}

/// The period of training losses that repeat exactly, epoch after epoch.
fn repeated(case: &Case<'_>) -> Option<usize> {
    let losses: Vec<u64> = case.measured.train.iter().map(|point| point.y.to_bits()).collect();
    let varies = |period: usize| losses[..period].iter().collect::<BTreeSet<_>>().len() * 2 > period;
    let repeats = |period: &usize| losses.iter().zip(&losses[*period..]).all(|(a, b)| a == b) && varies(*period);
    let longest = losses.len() / 3;
    (3..=longest).find(repeats).filter(|_| has_a_rate_by(case, case.measured.end()))
}

/// Whether the learning rate was above zero at some step up to `step`. True where it is unknown.
fn has_a_rate_by(case: &Case<'_>, step: u64) -> bool {
    let mut rates = case.measured.lr.iter().filter(|rate| rate.x as u64 <= step);
    case.measured.lr.is_empty() || rates.any(|rate| rate.y > 0.0)
}

/// FROZEN: no encoder layer has a gradient at any step, and the head alone does not learn enough. A network without an encoder
/// has no layers that could be frozen.
fn frozen_encoder(case: &Case<'_>) -> Option<Verdict> {
    if case.measured.config.is_some_and(|config| config.model.architecture != Architecture::None) {
        return None;
    }
    let rows: Vec<&DiagnosticRow> = case.measured.diagnostics.iter().filter(|row| row.step > 0).collect();
    let untrained = |row: &&DiagnosticRow| row.first_grad_norm.is_none() && row.last_grad_norm.is_none();
    let finite = case.non_finite_step().is_none();
    let frozen = rows.len() >= limit::FROZEN_EVALS && rows.iter().all(untrained);
    (frozen && finite && case.learned_little()).then(|| {
        let level = case.clean_end();
        let text = format!("no encoder layer is trained, and the head alone lowers the loss only to {level:.3}");
        let verdict = Verdict::cause(Cause::Frozen, text).over(case.all_steps()).with_reason(Reason::Encoder);
        verdict.with_evidence(&[("level", level), ("evals", rows.len() as f64)])
    })
}

/// `UPDATE_RATIO`: steps that are too large or too small for the weights that they change.
pub fn update_ratio(case: &Case<'_>) -> Option<Verdict> {
    let ratios = case.update_ratios();
    let middle = median(&ratios).log10();
    if ratios.len() < limit::FROZEN_EVALS || !middle.is_finite() {
        return None;
    }
    let (what, reason) = match middle {
        middle if middle > limit::UPDATE_FAST => ("large", Reason::RateTooHigh),
        middle if middle < limit::UPDATE_SLOW => ("small", Reason::RateTooLow),
        _ => return None,
    };
    let text = format!(
        "a step changes the weights by 10^{middle:.1} of their size, and by about 10^-3.3 in fine-tuning at a good learning rate: steps are too {what}"
    );
    let verdict = Verdict::cause(Cause::UpdateRatio, text).over(case.all_steps()).with_reason(reason);
    Some(verdict.with_evidence(&[("log10_ratio", middle)]))
}

/// VANISH: almost no gradient reaches the lowest trained layer.
pub fn vanish(case: &Case<'_>) -> Option<Verdict> {
    let (first, last) = case.layer_gradients()?;
    // Steps that are too large spoil the weights, and the gradients vanish after that.
    if case.takes_large_steps() {
        return None;
    }
    let ratio = first / last;
    let starved = ratio < limit::STARVED && case.learned_little() && !case.rate_is_high();
    if !(starved || ratio < limit::VANISHING && first < limit::VANISHED) {
        return None;
    }
    let text = format!(
        "the gradient norm is {last:.1e} in the highest trained layer and {first:.1e} in the lowest: almost none of it arrives"
    );
    let verdict = Verdict::cause(Cause::Vanish, text).over(case.all_steps());
    Some(verdict.with_evidence(&[("first", first), ("last", last), ("ratio", ratio)]))
}

/// EXPLODE: gradients grow on their way down, or are huge before the first step.
pub fn explode(case: &Case<'_>) -> Option<Verdict> {
    let start = case.measured.grad_norm.first().filter(|norm| norm.x <= 1.0 && norm.y > limit::FIRST_NORM);
    if let Some(norm) = start.filter(|_| case.learned_little()) {
        let text = format!(
            "the gradient norm of the first step is {:.0}, and 1 to 5 in a sound BERT: the weights are broken from the start",
            norm.y
        );
        let verdict = Verdict::cause(Cause::Explode, text).over((0, 1)).with_reason(Reason::Start);
        return Some(verdict.with_evidence(&[("first_norm", norm.y)]));
    }
    let (first, last) = case.layer_gradients()?;
    let ratio = first / last;
    if ratio.is_nan() || ratio <= limit::EXPLODING {
        return None;
    }
    let text =
        format!("the gradient norm of the lowest trained layer is {ratio:.0} times that of the highest trained layer");
    let verdict = Verdict::cause(Cause::Explode, text).over(case.all_steps());
    Some(verdict.with_evidence(&[("first", first), ("last", last), ("ratio", ratio)]))
}

/// `PRIOR_STUCK`: the training loss never leaves the level of guessing.
pub fn prior_stuck(case: &Case<'_>) -> Option<Verdict> {
    let ranks = case.measured.learns_to_rank() || case.measured.scores_above_guessing();
    if case.shape == Shape::Overconfident || ranks {
        return None;
    }
    let nats = case.chance?;
    let chance = if case.is_in_bits() { nats / std::f64::consts::LN_2 } else { nats };
    if !case.has_course() {
        return stuck_in_few_rows(case, chance);
    }
    let below = case.blocks.iter().filter(|block| block.mean < limit::BELOW_PRIOR * chance).count();
    let (share, tail) = (below as f64 / case.blocks.len() as f64, case.tail());
    // With small batches, single losses lie far from H. Evaluations and the clean loss do not.
    let stays = case.shape == Shape::Stuck && case.clean_end() >= limit::AT_PRIOR * chance;
    if !stays && (share > limit::STUCK_BLOCKS || tail < limit::AT_PRIOR * chance) {
        return None;
    }
    // A loss that has begun to fall is slow, not stuck.
    if !stays && case.detection.tail.trend.is_falling() && (tail < chance || case.has_fallen()) {
        return None;
    }
    let one_class = case.one_class_share();
    // Single losses of small batches may hide a slow fall that the clean loss shows.
    if !is_guessing(case, one_class) || case.clean_loss_shows_learning() {
        return None;
    }
    let (reason, why) = why_stuck(case);
    let unit = if case.is_in_bits() { " in bits" } else { "" };
    let single = one_class.filter(|share| *share >= limit::ONE_CLASS);
    let single = single.map_or_else(String::new, |share| format!("; {} of the answers are one class", percent(share)));
    let course = if reason == Reason::RateTooLow && case.clean_loss_only_falls() {
        "little is learned: the training loss only comes down to"
    } else {
        "nothing is learned: the training loss stays at"
    };
    let text = format!("{course} {tail:.3}, and guessing has {chance:.3}{unit}{single}. {why}");
    let evidence = [
        ("level", tail),
        ("chance", chance),
        ("blocks_below", share),
        ("best_accuracy", case.best_accuracy().unwrap_or(f64::NAN)),
        ("one_class", one_class.unwrap_or(f64::NAN)),
    ];
    let verdict = Verdict::cause(Cause::PriorStuck, text).over(case.all_steps()).with_reason(reason);
    Some(verdict.with_evidence(&evidence))
}

/// `PRIOR_STUCK` of a log with a row for each epoch: its last losses and evaluations lie at guessing.
fn stuck_in_few_rows(case: &Case<'_>, chance: f64) -> Option<Verdict> {
    let at_prior = |y: &f64| (limit::AT_PRIOR * chance..limit::OVER_PRIOR * chance).contains(y);
    let (losses, evals) = (finite(&case.measured.train), finite(&case.measured.eval));
    let all = losses.len().max(evals.len()) >= limit::FEWEST_BLOCKS && losses.iter().chain(&evals).all(at_prior);
    // A row of another program is the mean of many steps, so that fewer tell as much. A fresh head may start above guessing.
    let (last_evals, last) = last_losses(case.measured);
    let rest =
        case.config().is_none() && last_evals.iter().all(at_prior) && (last.is_empty() || at_prior(&mean(&last)));
    if case.shape != Shape::Stuck || !(all || rest) {
        return None;
    }
    let (reason, why) = why_stuck(case);
    let level = mean(if losses.is_empty() { &evals } else { &losses });
    let text = format!("nothing is learned: the loss stays at {level:.3}, and guessing has {chance:.3}. {why}");
    let verdict = Verdict::cause(Cause::PriorStuck, text).over(case.all_steps()).with_reason(reason);
    Some(verdict.with_evidence(&[("level", level), ("chance", chance)]))
}

/// Whether the answers are no better than the majority class.
fn is_guessing(case: &Case<'_>, one_class: Option<f64>) -> bool {
    matches!(case.shape, Shape::Stuck | Shape::Collapsed { .. })
        || one_class.is_some_and(|share| share >= limit::ONE_CLASS)
        || match (case.majority(), case.best_accuracy()) {
            (Some((majority, _)), Some(best)) if case.measured.eval_size().is_none() => {
                let last = case.measured.accuracies().last_chunk::<3>().map(|last| mean(last));
                best <= majority + limit::SURE_MARGIN
                    && last.is_none_or(|last| last <= majority + limit::MAJORITY_MARGIN)
            }
            (Some((_, by_chance)), Some(best)) => best <= by_chance,
            _ => true,
        }
}

/// What keeps the loss at guessing, as far as it is known.
fn why_stuck(case: &Case<'_>) -> (Reason, String) {
    let (high, low) = match (case.largest_update(), case.peak_rate()) {
        _ if case.is_without_encoder() => (case.clean_loss_swings(), case.clean_loss_only_falls()),
        (Some(ratio), _) => (case.takes_large_steps() && case.swings(), ratio < limit::RATIO_LOW),
        (None, Some(rate)) => (rate >= limit::RATE_HIGH, rate <= limit::RATE_LOW),
        _ => (false, false),
    };
    if high || case.rate_is_high() {
        return (Reason::RateTooHigh, "The learning rate is too high".into());
    }
    if let Some(eps) = case.shrinking_eps() {
        return (Reason::EpsTooLarge, format!("An eps of {eps:e} makes every step of Adam too small"));
    }
    if low {
        return (Reason::RateTooLow, "The learning rate is too low".into());
    }
    let why = "Neither learning rate nor gradients explain it: the inputs may be unrelated to the labels, or not reach the model";
    (Reason::Inputs, why.into())
}

/// `NEVER_FELL`: the training loss never falls below its start. Judged only where the class prior is unknown.
pub fn never_fell(case: &Case<'_>) -> Option<Verdict> {
    let known = case.chance.is_some() || case.ends_in_warmup();
    let constant = constant_accuracy(case.measured);
    let stuck = || {
        case.shape == Shape::Stuck
            || is_flat_from_the_start(case)
            || comes_to_rest_at_a_guess(case)
            || rests_far_above(case)
    };
    if known || !(constant.is_some() || stuck()) {
        return None;
    }
    let by_train = case.has_course();
    let level = if by_train { case.tail() } else { case.eval_end().unwrap_or(case.tail()) };
    let course = match case.train_start().filter(|_| by_train) {
        None => format!("the eval loss stays at {level:.3}"),
        Some(start) if case.falls_from_start() => {
            format!("the training loss only falls from {start:.3} to {level:.3}")
        }
        Some(start) => format!("the training loss starts at {start:.3} and ends at {level:.3}"),
    };
    // A level that is not known well may be near that of any guess. The standard error of a mean is that of the change over the same
    // stretch, divided by the square root of 12.
    let error = case.detection.tail.error * case.detection.scale / 12_f64.sqrt();
    let is_known = !by_train || 2.0 * error < 2.0 * limit::AT_UNIFORM * level;
    let accuracies = case.measured.accuracies();
    let agrees = |guess: &Guess| {
        let near = |accuracy: &f64| (accuracy - 1.0 / guess.classes as f64).abs() < limit::MAJORITY_MARGIN / 2.0;
        !accuracies.is_empty() && accuracies.iter().all(near)
    };
    let text = match Case::guess_at(level).filter(|_| is_known) {
        _ if constant.is_some() => format!(
            "{course}, and the accuracy is {} at every evaluation, as if all answers were one class: nothing but the class frequencies is \
             learned",
            percent(constant.unwrap_or_default())
        ),
        Some(guess) if guess.is_plain() || agrees(&guess) => {
            format!("{course}, the loss of {guess}: nothing is learned")
        }
        Some(guess) => {
            format!("{course}, which {guess} has too: nothing is learned, or nothing is left to learn")
        }
        None => format!("{course}: nothing is learned, or nothing is left to learn"),
    };
    Some(Verdict::cause(Cause::NeverFell, text).over(case.all_steps()).with_evidence(&[("level", level)]))
}

/// Whether the training loss is seen from its start and does not fall; or stays at the loss of guessing among a few classes.
fn is_flat_from_the_start(case: &Case<'_>) -> bool {
    let Some(start) = case.train_start().filter(|_| case.has_course() && !case.has_fallen()) else { return false };
    // Of preferences, the start is known better than a few noisy losses tell it.
    if case.measured.of_preferences && case.tail() < limit::UNMOVED * std::f64::consts::LN_2 {
        return false;
    }
    let (tail, seen) = (&case.detection.tail, case.sees_the_start());
    let unmoved = !tail.trend.is_falling() && tail.level > limit::UNMOVED * start && start > limit::MUCH_LOSS;
    let accuracies = case.measured.accuracies();
    // Without an accuracy, a level near that of a guess may be one by chance: many losses come near some ln K.
    let learned = if accuracies.is_empty() {
        come_down(&finite(&case.measured.eval))
    } else {
        accuracies.iter().any(|accuracy| *accuracy > limit::KNOWS)
    };
    let rests = || start < limit::ROSE * tail.level || Case::guess_at(tail.level).is_some_and(|guess| guess.is_plain());
    let near = case.is_near_uniform(tail.level) && (!accuracies.is_empty() || rests());
    (seen && unmoved || near) && !learned
}

/// Whether a run without accuracies falls to ln 2, ln 3 or ln 4, and no lower: a fresh head that learns the class frequencies alone.
/// It must rest there for half of the run, since a loss that is fitted passes these levels as well. So must its evaluations.
fn comes_to_rest_at_a_guess(case: &Case<'_>) -> bool {
    let is_guess = |level: f64| Case::guess_at(level).is_some_and(|guess| guess.is_plain());
    let level = |points: &[Point]| mean(&points.iter().map(|point| point.y).collect::<Vec<_>>());
    let train = &case.measured.train;
    let (latter, eighth) = (&train[train.len() / 2..], (train.len() / 8).max(1));
    let evals = finite(&case.measured.eval);
    case.has_course()
        && case.measured.accuracies().is_empty()
        && evals[evals.len() / 2..].iter().all(|level| is_guess(*level))
        && !come_down(&evals[evals.len() / 3..])
        && case.detection.is_flat()
        && is_guess(case.tail())
        && is_guess(level(latter))
        && train.chunks_exact(eighth).all(|piece| level(piece) > limit::UNMOVED * case.tail())
}

/// Whether a run without accuracies has not moved since its first steps, although its learning rate was effective, and after a small fall
/// alone. Fine-tuning may soon be at its floor as well. Two things tell that nothing is learned: a level that only the frequencies of
/// classes or tokens explain, or many evaluations that are one number.
fn rests_far_above(case: &Case<'_>) -> bool {
    let (found, evals) = (&case.detection, finite(&case.measured.eval));
    let Some(start) = case.train_start().filter(|_| case.has_course() && case.sees_the_start()) else { return false };
    let is_effective = found.rate_share.is_some_and(|share| share >= limit::TAIL_SHARE);
    let soon = found.onset.is_some_and(|onset| onset as f64 <= limit::SOON * case.measured.end() as f64);
    let third = case.blocks.len() / 3;
    let middle = mean(&case.blocks[third..2 * third].iter().map(|block| block.mean).collect::<Vec<_>>());
    let moves = middle - case.tail() > limit::STILL / 2.0 * case.tail();
    let is_still = soon && found.is_flat() && found.hidden_gain.is_none() && !moves;
    let falls_little = case.tail() > limit::LITTLE_OF_START * start && !case.measured.of_preferences;
    let level = median(&evals);
    let one_number = evals.len() >= limit::NOISY_EVALS
        && level > limit::MUCH_LOSS
        && evals.iter().all(|eval| (eval / level - 1.0).abs() < limit::ONE_NUMBER);
    let is_high = case.tail() > limit::FREQUENCIES_ALONE && !come_down(&evals);
    case.measured.accuracies().is_empty() && is_effective && is_still && falls_little && (one_number || is_high)
}

/// `ESCAPED_LATE`: the loss stays at guessing for long, and falls then.
pub fn escaped_late(case: &Case<'_>) -> Option<Verdict> {
    let chance = case.chance.filter(|_| case.has_course())?;
    // A fresh head may start far above guessing.
    let settled = case.blocks.iter().position(|block| block.mean <= limit::OVER_PRIOR * chance)?;
    let stay = case.blocks[settled..].iter().take_while(|block| block.mean >= limit::AT_PRIOR * chance).count();
    let share = stay as f64 / case.blocks.len() as f64;
    let escaped = case.blocks.last()?.mean < limit::BELOW_PRIOR * chance;
    if share < limit::LEARNED_BLOCKS || !escaped {
        return None;
    }
    let block = |index: usize| case.blocks[index.min(case.blocks.len() - 1)].mean;
    let (first, last, after) = (block(settled), block(settled + stay - 1), block(settled + 2 * stay));
    if first - last > limit::STAYS_STILL * (last - after) {
        return None;
    }
    let at = case.blocks.get(settled + stay)?.from;
    let text = format!(
        "the loss stays at that of guessing ({chance:.3}) up to step {at} and falls then; this is not a failure"
    );
    let verdict = Verdict::note(Cause::EscapedLate, text).over((0, at));
    Some(verdict.with_evidence(&[("share", share), ("step", at as f64)]))
}
