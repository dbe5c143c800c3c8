//! Statements about several trials: what each axis changes by matched pairs, which causes are frequent, which configurations depend on the seed.
//!
//! A comparison pairs trials that agree in everything else, seed and fold included, and uses the pairs where both trials gave a
//! usable model. Its p-value comes from flipping the signs of the differences. Where an axis has more than two values, it is
//! multiplied by the number of comparisons (Bonferroni). A difference that is not significant is called "no detectable effect",
//! not "no effect".

use std::collections::BTreeMap;

use super::finding::{Finding, FindingKind};
use super::floors::{floors_of_logs, floors_of_sweep};
use super::format::probability;
use super::groups::{LEARNING_RATE, lead_axis, matched};
use super::measured::Measured;
use super::shape::Shape;
use super::statistics::{mean, seeds_needed, sign_flip, spearman, wilson};
use super::study::{Config, Study};
use super::sweep::{Run, Sweep};
use super::verdicts::{Diagnosis, blames_a_high_rate};
use crate::trial::{Axis, AxisValue, Cause, Key, Status};

/// The statements about trials of a sweep together, the most telling first.
pub fn effects(sweep: &Sweep, study: &Study) -> Vec<Finding> {
    let judged: Vec<&Diagnosis> = study.diagnoses.iter().collect();
    let mut found =
        vec![(FindingKind::Causes, causes(&judged)), (FindingKind::StabilityLimit, stability_limit(sweep, study))];
    found.extend(floors_of_sweep(sweep, study));
    for axis in &sweep.axes {
        match dead_axis(sweep, axis) {
            Some(text) => found.push((FindingKind::DeadAxis, Some(text))),
            // Arms are compared at learning rates of their own, by `architectures`.
            // Pairs of drawn keys are rare, and were not drawn at random.
            None if !Key::is_repetition(&axis.key) && !Key::Arm.is(&axis.key) && !axis.drawn => {
                found.push((FindingKind::AxisEffect, axis_effect(sweep, study, axis)));
                found.push((FindingKind::Diversity, diversity(sweep, study, axis)));
            }
            None => {}
        }
    }
    found.push((FindingKind::SeedUnstable, unstable(study)));
    found.push((FindingKind::EarlyRank, early_rank(sweep, study)));
    findings(found)
}

/// The statements about several logs of unknown settings.
pub fn of_logs(logs: &[(&Measured<'_>, &Diagnosis)]) -> Vec<Finding> {
    let judged: Vec<&Diagnosis> = logs.iter().map(|(_, diagnosis)| *diagnosis).collect();
    let mut found = vec![(FindingKind::Causes, causes(&judged))];
    found.extend(floors_of_logs(logs));
    found.push((FindingKind::Failures, failing(&judged)));
    findings(found)
}

fn findings(found: Vec<(FindingKind, Option<String>)>) -> Vec<Finding> {
    found.into_iter().filter_map(|(kind, text)| Some(Finding { kind, text: text? })).collect()
}

/// How many trials have which primary cause.
fn causes(judged: &[&Diagnosis]) -> Option<String> {
    let mut counts: BTreeMap<Cause, usize> = BTreeMap::new();
    for cause in judged.iter().filter_map(|diagnosis| diagnosis.cause()?.id.cause()) {
        *counts.entry(cause).or_default() += 1;
    }
    let mut counts: Vec<(Cause, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let parts: Vec<String> =
        counts.iter().map(|(cause, count)| format!("{} ({cause}) in {count}", cause.title())).collect();
    let ended = judged.iter().filter(|diagnosis| diagnosis.shape != Shape::Unfinished).count();
    let trials = if ended == 1 { "trial" } else { "trials" };
    (!parts.is_empty()).then(|| format!("Primary causes by the curves of {ended} {trials}: {}.", parts.join(", ")))
}

/// The share of logs without a usable model, with Wilson's interval.
fn failing(judged: &[&Diagnosis]) -> Option<String> {
    let ruins = |cause: Cause| {
        matches!(cause, Cause::PriorStuck | Cause::NeverFell | Cause::Collapsed | Cause::Overshoot | Cause::NonFinite)
    };
    let broken = |diagnosis: &&&Diagnosis| {
        diagnosis.shape.failed() || diagnosis.cause().and_then(|verdict| verdict.id.cause()).is_some_and(ruins)
    };
    let (k, n) = (judged.iter().filter(broken).count(), judged.len());
    let (low, high) = wilson(k, n);
    (k > 0).then(|| {
        format!(
            "{k} of {n} gave no usable model (95 % confidence interval of the share: {:.0} to {:.0} %).",
            low * 100.0,
            high * 100.0
        )
    })
}

/// Every trial above the best learning rate fails, and none of them for a cause that is not the rate.
fn stability_limit(sweep: &Sweep, study: &Study) -> Option<String> {
    let axis = lead_axis(sweep).filter(|axis| axis.key == LEARNING_RATE)?;
    let best = study.best()?.value(LEARNING_RATE)?;
    let rate = best.value.as_f64()?;
    let arm = study.best()?.value(Key::Arm.path());
    let is_above = |run: &usize| {
        let trial = &sweep.runs[*run].trial;
        trial.config.lr > rate && trial.value(Key::Arm.path()) == arm
    };
    let above: Vec<usize> = (0..sweep.runs.len()).filter(is_above).collect();
    let all_fail = above.iter().all(|&run| study.shapes[run].failed() && !is_stuck_otherwise(&study.diagnoses[run]));
    (!above.is_empty() && all_fail && axis.values.len() > 1).then(|| {
        format!(
            "All {} trials above the best learning rate, {}, fail: it is at the limit of stability. Before lowering it, try a longer warm-up or gradient clipping, which may raise the limit.",
            above.len(),
            best.text
        )
    })
}

/// Whether a trial is stuck at chance for a cause that is not a high learning rate.
fn is_stuck_otherwise(diagnosis: &Diagnosis) -> bool {
    diagnosis.shape == Shape::Stuck && diagnosis.cause().is_some_and(|cause| !blames_a_high_rate(cause))
}

/// Differences of `of` between the runs with value `b` and their matches with value `a`, where both have a number.
fn differences(
    sweep: &Sweep,
    key: &str,
    (a, b): (&AxisValue, &AxisValue),
    of: &dyn Fn(usize) -> Option<f64>,
) -> Vec<f64> {
    let find = |group: &[(&AxisValue, usize)], wanted: &AxisValue| {
        group.iter().find(|(value, _)| value.value == wanted.value).and_then(|(_, run)| of(*run))
    };
    let groups = matched(sweep, key);
    groups.iter().filter_map(|group| Some(find(group, b)? - find(group, a)?)).collect()
}

/// A comparison of two values of an axis.
struct Effect<'a> {
    from: &'a AxisValue,
    to: &'a AxisValue,
    mean: f64,
    error: f64,
    n: usize,
    /// Two-sided p-value times the number of comparisons.
    p: f64,
}

/// The comparison of every two values of `axis` that at least [`FEWEST_PAIRS`] pairs share.
fn comparisons<'a>(sweep: &Sweep, axis: &'a Axis, of: &dyn Fn(usize) -> Option<f64>) -> Vec<Effect<'a>> {
    let values = &axis.values[..axis.values.len().min(MOST_VALUES)];
    let mut found = Vec::new();
    for (i, from) in values.iter().enumerate() {
        for to in &values[i + 1..] {
            let differences = differences(sweep, &axis.key, (from, to), of);
            let n = differences.len();
            if n < FEWEST_PAIRS {
                continue;
            }
            let mean = mean(&differences);
            let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
            let error = (squares / (n - 1) as f64 / n as f64).sqrt();
            found.push(Effect { from, to, mean, error, n, p: sign_flip(&differences) });
        }
    }
    let comparisons = found.len() as f64;
    for effect in &mut found {
        effect.p = (effect.p * comparisons).min(1.0);
    }
    found
}

/// Fewer matched pairs can never be significant: of five pairs, one in sixteen sign patterns is as extreme.
const FEWEST_PAIRS: usize = 6;
/// Most values of an axis that are compared with one another.
const MOST_VALUES: usize = 8;
const SIGNIFICANT: f64 = 0.05;

fn final_eval(sweep: &Sweep, study: &Study, run: usize) -> Option<f64> {
    let last = sweep.runs[run].evals.last().map(|row| f64::from(row.eval_loss)).filter(|loss| loss.is_finite());
    last.filter(|_| study.shapes[run].survived())
}

/// How the final evaluation loss changes from one value of an axis to another.
fn axis_effect(sweep: &Sweep, study: &Study, axis: &Axis) -> Option<String> {
    let effects = comparisons(sweep, axis, &|run| final_eval(sweep, study, run));
    let sure = effects.iter().filter(|effect| effect.p < SIGNIFICANT);
    if let Some(effect) = sure.max_by(|a, b| a.mean.abs().total_cmp(&b.mean.abs())) {
        // The sentence names the value that lowers the loss.
        let (better, worse) = if effect.mean < 0.0 { (effect.to, effect.from) } else { (effect.from, effect.to) };
        return Some(format!(
            "{} {} instead of {} lowers final eval loss by {:.3} ± {:.3} ({} matched pairs, p = {}).",
            axis.key,
            better.label(&axis.key),
            worse.label(&axis.key),
            effect.mean.abs(),
            effect.error,
            effect.n,
            probability(effect.p)
        ));
    }
    let largest = effects.iter().max_by(|a, b| a.mean.abs().total_cmp(&b.mean.abs()))?;
    let noun = study.repetition.noun();
    let seeds = study.seed_sd.filter(|_| largest.mean != 0.0).map(|sd| seeds_needed(sd, largest.mean));
    let seeds = seeds.filter(|seeds| *seeds < 1000.0).map_or_else(String::new, |seeds| {
        format!("; a difference of that size needs about {seeds:.0} {noun}s of each")
    });
    Some(format!(
        "No detectable effect of {}: {} instead of {} changes final eval loss by {:+.3} ± {:.3} ({} matched pairs, p = {}){seeds}.",
        axis.key,
        largest.to.label(&axis.key),
        largest.from.label(&axis.key),
        largest.mean,
        largest.error,
        largest.n,
        probability(largest.p)
    ))
}

/// Whether enough pairs were compared, and no difference is significant.
pub(super) fn shows_no_effect(sweep: &Sweep, study: &Study, axis: &Axis) -> bool {
    let effects = comparisons(sweep, axis, &|run| final_eval(sweep, study, run));
    !effects.is_empty() && effects.iter().all(|effect| effect.p >= SIGNIFICANT)
}

/// Whether the winner of a sweep wins again among leaders that were trained again with other seeds.
pub fn confirmed(winner: &[(String, AxisValue)], sweep: &Sweep, study: &Study) -> String {
    let is_winner = |config: &&Config| {
        winner.iter().all(|(key, value)| config.value(key).is_none_or(|other| other.value == value.value))
    };
    let (Some(first), Some(old)) = (study.best(), study.configs.iter().find(is_winner)) else {
        return "No conclusion: no configuration gave a usable model with the new seeds.".into();
    };
    let metric = study.metric;
    let level = |config: &Config| config.score.map_or_else(|| "none".to_owned(), |level| format!("{:.3}", level.mean));
    let costs = |config: &Config| -> BTreeMap<_, f64> {
        let runs = config.survivors.iter().map(|&run| &sweep.runs[run]);
        runs.filter_map(|run| Some((run.trial.repetition(), metric.cost(metric.best(&run.evals)?.1)))).collect()
    };
    let rival = if std::ptr::eq(first, old) {
        study.configs.get(1).filter(|config| config.best.is_some())
    } else {
        Some(first)
    };
    let lost = if old.complete() {
        String::new()
    } else {
        format!(" {} of its {} seeds failed.", old.runs.len() - old.survivors.len(), old.runs.len())
    };
    let Some(rival) = rival else {
        return format!("The winner, {}, has {} {} over new seeds.{lost}", old.name(), metric.title(), level(old));
    };
    let (ours, theirs) = (costs(old), costs(rival));
    let differences: Vec<f64> = ours.iter().filter_map(|(seed, cost)| Some(theirs.get(seed)? - cost)).collect();
    let p = sign_flip(&differences);
    let verdict = match (std::ptr::eq(first, old), p < SIGNIFICANT) {
        (true, true) => "The winner is confirmed",
        (true, false) => "The winner is first again, but the margin may be noise",
        (false, true) => "The winner is not confirmed",
        (false, false) => "The winner is not first with new seeds, but the margin may be noise",
    };
    format!(
        "{verdict}: {} has {} {}, {} has {} (pairs of seeds: {}, p = {}).{lost}",
        old.name(),
        metric.title(),
        level(old),
        rival.name(),
        level(rival),
        differences.len(),
        probability(p)
    )
}

/// Augmentation raises the training loss and lowers the evaluation loss: too little variety was a limit.
fn diversity(sweep: &Sweep, study: &Study, axis: &Axis) -> Option<String> {
    if axis.key.split('.').next() != Some("augmentation") {
        return None;
    }
    let level = |run: usize| {
        let level = study.diagnoses[run].detection.tail.level;
        (study.shapes[run].survived() && level.is_finite()).then_some(level)
    };
    let helps = comparisons(sweep, axis, &|run| final_eval(sweep, study, run)).into_iter();
    let helps = helps.filter(|effect| effect.p < SIGNIFICANT && effect.mean < 0.0 && effect.from.text == "none");
    let best = helps.min_by(|a, b| a.mean.total_cmp(&b.mean))?;
    let raised = differences(sweep, &axis.key, (best.from, best.to), &level);
    (sign_flip(&raised) < SIGNIFICANT && mean(&raised) > 0.0).then(|| {
        format!(
            "Too little variety in the data was a limit: {} raises the final training loss by {:.3} and lowers the eval loss by {:.3}. More data, or more augmentation, may lower it further.",
            best.to.text,
            mean(&raised),
            -best.mean
        )
    })
}

/// An axis whose values leave the curves equal to the last bit.
pub(super) fn dead_axis(sweep: &Sweep, axis: &Axis) -> Option<String> {
    // Drawn values make a pair by accident alone.
    if axis.drawn {
        return None;
    }
    let losses = |run: &Run| run.metrics.iter().map(|row| row.train_loss.to_bits()).collect::<Vec<_>>();
    let mut pairs = 0;
    for group in matched(sweep, &axis.key) {
        let mut measured = group.iter().map(|(_, run)| &sweep.runs[*run]).filter(|run| run.status == Status::Finished);
        let Some(first) = measured.next().filter(|run| !run.metrics.is_empty()) else { continue };
        for other in measured {
            if losses(first) != losses(other) {
                return None;
            }
            pairs += 1;
        }
    }
    (pairs > 0).then(|| {
        format!("`{}` changes nothing: the curves of trials that differ in it alone are equal to the last bit ({pairs} pairs). It has no effect in this setting.", axis.key)
    })
}

/// Configurations of which some seeds fail and others do not.
fn unstable(study: &Study) -> Option<String> {
    let failed = |config: &Config| config.runs.iter().filter(|&&run| study.shapes[run].failed()).count();
    let split = |config: &&Config| config.runs.len() > 1 && (1..config.runs.len()).contains(&failed(config));
    let unstable: Vec<&Config> = study.configs.iter().filter(split).collect();
    let worst = unstable.iter().max_by_key(|config| failed(config))?;
    let (k, n) = (failed(worst), worst.runs.len());
    let (low, high) = wilson(k, n);
    let of = study.configs.iter().filter(|config| config.runs.len() > 1).count();
    let (name, noun) = (worst.name(), study.repetition.noun());
    Some(format!(
        "In {} of {of} configurations some {noun}s fail and others do not; most in {name}: {k} of {n} (95 % confidence interval {:.0} to {:.0} %). Longer training, a warm-up and optimizer.bias_correction: true make BERT more stable.",
        unstable.len(),
        low * 100.0,
        high * 100.0
    ))
}

/// How well the ranking after a quarter of the steps predicts the final ranking.
fn early_rank(sweep: &Sweep, study: &Study) -> Option<String> {
    const FEWEST: usize = 8;
    const GOOD: f64 = 0.8;
    let early = |run: &Run| {
        let quarter = run.trial.steps.div_ceil(4);
        let row = run.evals.iter().rfind(|row| row.step > 0 && row.step <= quarter)?;
        Some(f64::from(row.eval_loss)).filter(|loss| loss.is_finite())
    };
    let both = (0..sweep.runs.len()).filter_map(|run| Some((early(&sweep.runs[run])?, final_eval(sweep, study, run)?)));
    let (then, last): (Vec<f64>, Vec<f64>) = both.unzip();
    let rho = spearman(&then, &last).filter(|_| then.len() >= FEWEST)?;
    let reading = if rho > GOOD {
        "the worst trials may be stopped that early"
    } else {
        "stopping that early would stop good trials"
    };
    Some(format!(
        "The ranking of {} trials after a quarter of their steps predicts the final ranking with a rank correlation of {rho:.2}: {reading}.",
        then.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{self, axis};
    use super::*;

    fn found(sweep: &Sweep, kind: FindingKind) -> String {
        found_in(sweep, &Study::of(sweep), kind)
    }

    fn found_in(sweep: &Sweep, study: &Study, kind: FindingKind) -> String {
        let texts = effects(sweep, study).into_iter().filter(|finding| finding.kind == kind).map(|f| f.text);
        texts.collect::<Vec<_>>().join("\n")
    }

    /// Two warm-ups by eight seeds, whose evaluations end at these losses.
    fn pairs(loss: impl Fn(usize, usize) -> f32) -> Sweep {
        let seeds = ["1", "2", "3", "4", "5", "6", "7", "8"];
        let mut sweep = synthetic::sweep("s", &[axis("warmup", &["0", "0.1"]), axis("seed", &seeds)], 90);
        for (i, run) in sweep.runs.iter_mut().enumerate() {
            let last = loss(i / 8, i % 8);
            run.evals.iter_mut().enumerate().for_each(|(k, row)| row.eval_loss = last + 0.4 * 0.5_f32.powi(k as i32));
        }
        sweep
    }

    #[test]
    fn effects_come_with_their_numbers() {
        let lower = pairs(|warm, seed| 0.30 - 0.02 * warm as f32 + 0.01 * seed as f32 + 0.001 * (warm * seed) as f32);
        insta::assert_snapshot!(found(&lower, FindingKind::AxisEffect), @"warmup 0.1 instead of 0 lowers final eval loss by 0.017 ± 0.001 (8 matched pairs, p = 0.008).");
        let none = pairs(|warm, seed| 0.30 + 0.01 * ((seed * 5 + warm * 3) % 8) as f32);
        insta::assert_snapshot!(found(&none, FindingKind::AxisEffect), @"No detectable effect of warmup: 0.1 instead of 0 changes final eval loss by +0.000 ± 0.015 (8 matched pairs, p = 1.00).");
    }

    #[test]
    fn an_axis_without_effect_is_found() {
        let mut sweep = pairs(|_, _| 0.3);
        assert_eq!(found(&sweep, FindingKind::DeadAxis), "");
        for i in 0..8 {
            sweep.runs[i + 8].metrics = sweep.runs[i].metrics.clone();
        }
        insta::assert_snapshot!(found(&sweep, FindingKind::DeadAxis), @"`warmup` changes nothing: the curves of trials that differ in it alone are equal to the last bit (8 pairs). It has no effect in this setting.");
        assert_eq!(found(&sweep, FindingKind::AxisEffect), "");
    }

    #[test]
    fn unstable_seeds_and_early_ranks() {
        let (sweep, study) = &*synthetic::LARGE;
        insta::assert_snapshot!(found_in(sweep, study, FindingKind::SeedUnstable), @"In 12 of 144 configurations some seeds fail and others do not; most in lr 1e-4, warmup 0, scheduler cosine, augmentation none: 2 of 3 (95 % confidence interval 21 to 94 %). Longer training, a warm-up and optimizer.bias_correction: true make BERT more stable.");
        insta::assert_snapshot!(found_in(sweep, study, FindingKind::EarlyRank), @"The ranking of 352 trials after a quarter of their steps predicts the final ranking with a rank correlation of 0.01: stopping that early would stop good trials.");
        insta::assert_snapshot!(found(&synthetic::default_sweep(), FindingKind::StabilityLimit), @"");
    }

    #[test]
    fn variety_is_the_limit_where_noise_helps() {
        let seeds = ["1", "2", "3", "4", "5", "6", "7", "8"];
        let mut sweep = synthetic::sweep("s", &[axis("augmentation", &["none", "eda"]), axis("seed", &seeds)], 90);
        for (i, run) in sweep.runs.iter_mut().enumerate() {
            let (eval, train) = if i < 8 { (0.4, 0.05) } else { (0.35, 0.2) };
            run.evals.iter_mut().enumerate().for_each(|(k, row)| row.eval_loss = eval + 0.3 * 0.5_f32.powi(k as i32));
            run.metrics.iter_mut().for_each(|row| row.train_loss = train + 0.001 * i as f32);
        }
        insta::assert_snapshot!(found(&sweep, FindingKind::Diversity), @"Too little variety in the data was a limit: eda raises the final training loss by 0.158 and lowers the eval loss by 0.050. More data, or more augmentation, may lower it further.");
    }
}
