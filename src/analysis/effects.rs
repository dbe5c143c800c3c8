//! What several trials say together: the effect of each axis by matched pairs, what no rate can mend, what luck decides.
//!
//! A comparison pairs trials that agree in everything else, the seed included, and takes the pairs where both gave a
//! usable model. Its p comes from flipping the signs of the differences; where an axis has more than two values, it is
//! multiplied by the number of comparisons. What is not significant is called "no detectable effect", never none.

use std::collections::BTreeMap;

use super::findings::{Finding, lead_axis};
use super::measured::chance;
use super::plateau::Judgement;
use super::rank::{self, Config, SEED};
use super::rules::{Diagnosis, phrase};
use super::statistics::{mean, seeds_needed, sign_flip, spearman, wilson};
use super::thresholds as limit;
use super::{Measured, Run, Study, Sweep};
use crate::trial::{Axis, AxisValue, Key};

/// Everything that trials of a sweep say together, most telling first.
pub fn effects(sweep: &Sweep, study: &Study) -> Vec<Finding> {
    let judged: Vec<&Diagnosis> = study.diagnoses.iter().collect();
    let mut found = vec![("causes", causes(&judged)), ("stability_limit", stability_limit(sweep, study))];
    found.extend(floors_of_sweep(sweep, study));
    for axis in &sweep.axes {
        match dead_axis(sweep, axis) {
            Some(text) => found.push(("dead_axis", Some(text))),
            None if axis.key != SEED => {
                found.push(("axis_effect", axis_effect(sweep, study, axis)));
                found.push(("diversity", diversity(sweep, study, axis)));
            }
            None => {}
        }
    }
    found.push(("seed_unstable", unstable(study)));
    found.push(("early_rank", early_rank(sweep, study)));
    found.into_iter().filter_map(|(id, text)| text.map(|text| Finding { id, text })).collect()
}

/// What several logs of unknown settings say together.
pub fn of_logs(logs: &[(&Measured<'_>, &Diagnosis)]) -> Vec<Finding> {
    let judged: Vec<&Diagnosis> = logs.iter().map(|(_, diagnosis)| *diagnosis).collect();
    let peaks: Vec<f64> = logs
        .iter()
        .filter_map(|(log, _)| log.lr.iter().map(|rate| rate.y).filter(|y| *y > 0.0).reduce(f64::max))
        .collect();
    let prior = logs.first().map_or(&[][..], |(log, _)| log.train_prior);
    let level = common(&judged, &peaks, prior, 0.0);
    let [labels, saturated] = floors(level, prior.len(), best_accuracy(logs.iter().map(|(log, _)| *log)));
    let found = [("causes", causes(&judged)), labels, saturated, ("failures", failing(&judged))];
    found.into_iter().filter_map(|(id, text)| text.map(|text| Finding { id, text })).collect()
}

/// How many trials have which primary cause.
fn causes(judged: &[&Diagnosis]) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for cause in judged.iter().filter_map(|diagnosis| diagnosis.cause()) {
        *counts.entry(&cause.id).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let parts: Vec<String> = counts.iter().map(|(id, count)| format!("{} ({id}) in {count}", phrase(id))).collect();
    // Of what has not ended nothing is said.
    let all = judged.iter().filter(|diagnosis| diagnosis.judgement != Judgement::Unfinished).count();
    let trials = if all == 1 { "trial" } else { "trials" };
    (!parts.is_empty()).then(|| format!("Why, by the curves of {all} {trials}: {}.", parts.join(", ")))
}

/// Wilson's interval for the share of logs that learned nothing or broke.
fn failing(judged: &[&Diagnosis]) -> Option<String> {
    let broken = |diagnosis: &&&Diagnosis| {
        diagnosis.judgement.failed()
            || diagnosis
                .cause()
                .is_some_and(|cause| matches!(&*cause.id, "PRIOR_STUCK" | "COLLAPSED" | "OVERSHOOT" | "NONFINITE"))
    };
    let (k, n) = (judged.iter().filter(broken).count(), judged.len());
    let (low, high) = wilson(k, n);
    (k > 0).then(|| {
        format!(
            "{k} of {n} gave no usable model (95 % interval of the share: {:.0} to {:.0} %).",
            low * 100.0,
            high * 100.0
        )
    })
}

/// Trials that all go flat at about one level, over several rates.
struct Common<'a> {
    usable: Vec<&'a Diagnosis>,
    low: f64,
    high: f64,
    /// Greatest rate over least.
    span: f64,
    /// Entropy of the class prior.
    chance: f64,
}

fn common<'a>(judged: &[&'a Diagnosis], rates: &[f64], prior: &[f64], seed_sd: f64) -> Option<Common<'a>> {
    let chance = chance(prior)?;
    let usable: Vec<&Diagnosis> = judged.iter().copied().filter(|diagnosis| diagnosis.judgement.survived()).collect();
    let levels: Vec<f64> = usable.iter().map(|diagnosis| diagnosis.detection.tail.level).collect();
    let ((low, high), (slow, fast)) = (range(&levels)?, range(rates)?);
    let flat = usable.iter().all(|diagnosis| diagnosis.detection.is_flat());
    let close = high - low <= (2.0 * seed_sd).max(limit::NEIGHBOUR * chance);
    (usable.len() > 1 && flat && close && fast > slow).then_some(Common {
        usable,
        low,
        high,
        span: fast / slow,
        chance,
    })
}

/// SATURATED: every usable trial is flat at about one level, well above nothing, over rates that span a decade.
fn saturated(common: &Common<'_>) -> Option<String> {
    let Common { usable, low, high, span, chance } = common;
    if usable.len() < 3 || *low <= limit::HIGH_FLOOR * chance || *span < 10.0 {
        return None;
    }
    Some(format!(
        "The training losses of all {} usable trials go flat between {low:.3} and {high:.3}, over learning rates that differ {span:.0} times: the rate is not the limit. Fit sixteen examples alone (data.limit: 16, steps: 1000): if that works, look at labels and data; if not, at freezing, dropout and max_length.",
        usable.len(),
    ))
}

/// `LABEL_FLOOR`: flat where wrong labels would hold the loss, with the accuracy that they would leave. `accuracy`: the
/// best, with its standard error.
fn label_floor(common: &Common<'_>, classes: usize, accuracy: (f64, f64)) -> Option<String> {
    let Common { usable, low, high, chance, .. } = common;
    let level = f64::midpoint(*low, *high);
    let wrong = wrong_labels(level, classes)?;
    let fits = (accuracy.0 - (1.0 - wrong)).abs() <= 2.0 * accuracy.1;
    (level > limit::FITTED * chance && level < limit::AT_PRIOR * chance && fits).then(|| {
        format!(
            "The training losses of all {} usable trials go flat at {level:.3}, with an accuracy of {:.0} %: what {:.0} % of wrong labels leave. Look at the examples of the highest loss before anything else.",
            usable.len(),
            accuracy.0 * 100.0,
            wrong * 100.0
        )
    })
}

/// Share of wrong labels, spread over the other classes, whose least loss is `level`: h(eta) + eta ln(C - 1) = level, h
/// being the binary entropy. None above what random labels have.
fn wrong_labels(level: f64, classes: usize) -> Option<f64> {
    let others = classes.checked_sub(1).filter(|others| *others > 0)? as f64;
    let floor = |eta: f64| -eta * eta.ln() - (1.0 - eta) * (1.0 - eta).ln() + eta * others.ln();
    // The floor rises up to the share at which labels say nothing.
    let (mut low, mut high) = (1e-9, others / (others + 1.0));
    if !(floor(low)..floor(high)).contains(&level) {
        return None;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if floor(middle) < level { low = middle } else { high = middle }
    }
    Some(low)
}

/// The best accuracy of all `logs` and its standard error: of evaluations of unknown size, 1.5 %.
fn best_accuracy<'a>(logs: impl Iterator<Item = &'a Measured<'a>>) -> Option<(f64, f64)> {
    let best = |log: &'a Measured<'a>| {
        let best = log.accuracy.iter().map(|point| point.y).filter(|y| y.is_finite()).reduce(f64::max)?;
        let n: u32 = log.diagnostics.last().map_or(0, |row| row.predicted.iter().sum());
        Some((best, if n > 0 { (best * (1.0 - best) / f64::from(n)).sqrt() } else { 0.015 }))
    };
    logs.filter_map(best).max_by(|a, b| a.0.total_cmp(&b.0))
}

/// What a common level says: that of wrong labels, or that the rate is not the limit.
fn floors(
    common: Option<Common<'_>>,
    classes: usize,
    accuracy: Option<(f64, f64)>,
) -> [(&'static str, Option<String>); 2] {
    let Some(common) = common else { return [("label_floor", None), ("saturated", None)] };
    let labels = accuracy.and_then(|accuracy| label_floor(&common, classes, accuracy));
    let rest = saturated(&common).filter(|_| labels.is_none());
    [("label_floor", labels), ("saturated", rest)]
}

fn floors_of_sweep(sweep: &Sweep, study: &Study) -> [(&'static str, Option<String>); 2] {
    let judged: Vec<&Diagnosis> = study.diagnoses.iter().collect();
    let usable: Vec<&Run> = sweep
        .runs
        .iter()
        .zip(&study.judgements)
        .filter(|(_, judgement)| judgement.survived())
        .map(|(run, _)| run)
        .collect();
    let rates: Vec<f64> = usable.iter().map(|run| run.trial.config.lr).collect();
    let logs: Vec<Measured<'_>> = usable.iter().map(|run| run.measured()).collect();
    let prior = logs.iter().map(|log| log.train_prior).find(|prior| !prior.is_empty()).unwrap_or_default();
    let common = common(&judged, &rates, prior, study.seed_sd.unwrap_or(0.0));
    floors(common, prior.len(), best_accuracy(logs.iter()))
}

fn range(values: &[f64]) -> Option<(f64, f64)> {
    Some((values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?))
}

/// `STABILITY_LIMIT`: every trial above the best rate fails.
fn stability_limit(sweep: &Sweep, study: &Study) -> Option<String> {
    let axis = lead_axis(sweep).filter(|axis| Key::LearningRate.is(&axis.key))?;
    let best = study.best()?.value(&axis.key)?;
    let rate = best.value.as_f64()?;
    let above: Vec<usize> = (0..sweep.runs.len()).filter(|&run| sweep.runs[run].trial.config.lr > rate).collect();
    let all_fail = above.iter().all(|&run| study.judgements[run].failed());
    (!above.is_empty() && all_fail && axis.values.len() > 1).then(|| {
        format!(
            "All {} trials above the best learning rate, {}, fail: it is at the limit of stability. A warm-up or a clip may move the limit before a lower rate is needed.",
            above.len(),
            best.text
        )
    })
}

/// Runs by everything but the axis `key`, then by its value.
pub(super) fn matched<'a>(sweep: &'a Sweep, key: &str) -> BTreeMap<String, Vec<(&'a AxisValue, usize)>> {
    let mut groups: BTreeMap<String, Vec<(&AxisValue, usize)>> = BTreeMap::new();
    for (index, run) in sweep.runs.iter().enumerate() {
        let Some(value) = run.trial.value(key) else { continue };
        let others = run.trial.values.iter().filter(|(name, _)| name != key);
        let name: Vec<String> = others.map(|(name, value)| format!("{name}={}", value.value)).collect();
        groups.entry(name.join(" ")).or_default().push((value, index));
    }
    groups
}

/// Differences of `of` between the runs with value `b` and their matches with `a`, where both have it.
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
    groups.values().filter_map(|group| Some(find(group, b)? - find(group, a)?)).collect()
}

/// A comparison of two values of an axis.
struct Effect<'a> {
    from: &'a AxisValue,
    to: &'a AxisValue,
    mean: f64,
    error: f64,
    n: usize,
    /// Two-sided, times the number of comparisons.
    p: f64,
}

/// Every two values of `axis`, of which at least [`FEWEST_PAIRS`] pairs match.
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

/// Fewer matched pairs can never be significant: of five, one in sixteen sign patterns is as far out.
const FEWEST_PAIRS: usize = 6;
/// Values of an axis that are compared with one another.
const MOST_VALUES: usize = 8;
const SIGNIFICANT: f64 = 0.05;

fn final_eval(sweep: &Sweep, study: &Study, run: usize) -> Option<f64> {
    let last = sweep.runs[run].evals.last().map(|row| f64::from(row.eval_loss)).filter(|loss| loss.is_finite());
    last.filter(|_| study.judgements[run].survived())
}

/// `AXIS_EFFECT`: what one value instead of another does to the final evaluation loss.
fn axis_effect(sweep: &Sweep, study: &Study, axis: &Axis) -> Option<String> {
    let effects = comparisons(sweep, axis, &|run| final_eval(sweep, study, run));
    let sure = effects.iter().filter(|effect| effect.p < SIGNIFICANT);
    if let Some(effect) = sure.max_by(|a, b| a.mean.abs().total_cmp(&b.mean.abs())) {
        // Told as what lowers the loss.
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
    let seeds = study.seed_sd.filter(|_| largest.mean != 0.0).map(|sd| seeds_needed(sd, largest.mean));
    let seeds = seeds.filter(|seeds| *seeds < 1000.0).map_or_else(String::new, |seeds| {
        format!("; to see a difference of that size takes about {seeds:.0} seeds of each")
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

/// Whether pairs enough were compared, and none of the differences is more than chance.
pub(super) fn shows_no_effect(sweep: &Sweep, study: &Study, axis: &Axis) -> bool {
    let effects = comparisons(sweep, axis, &|run| final_eval(sweep, study, run));
    !effects.is_empty() && effects.iter().all(|effect| effect.p >= SIGNIFICANT)
}

/// Whether the configuration that won a sweep wins again, among leaders trained anew with other seeds.
pub fn confirmed(winner: &[(String, AxisValue)], sweep: &Sweep, study: &Study) -> String {
    let is_winner = |config: &&Config| {
        winner.iter().all(|(key, value)| config.value(key).is_none_or(|other| other.value == value.value))
    };
    let (Some(first), Some(old)) = (study.best(), study.configs.iter().find(is_winner)) else {
        return "Nothing can be said: no configuration gave a usable model with the new seeds.".into();
    };
    let level = |config: &Config| config.best.map_or_else(|| "none".to_owned(), |level| format!("{:.3}", level.mean));
    let losses = |config: &Config| -> BTreeMap<u64, f64> {
        let runs = config.survivors.iter().map(|&run| &sweep.runs[run]);
        runs.filter_map(|run| Some((run.trial.config.seed, rank::best_eval(run)?.1))).collect()
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
        return format!("The winner, {}, has eval loss {} over new seeds.{lost}", named(old), level(old));
    };
    let (ours, theirs) = (losses(old), losses(rival));
    let differences: Vec<f64> = ours.iter().filter_map(|(seed, loss)| Some(theirs.get(seed)? - loss)).collect();
    let p = sign_flip(&differences);
    let verdict = match (std::ptr::eq(first, old), p < SIGNIFICANT) {
        (true, true) => "The winner stands",
        (true, false) => "The winner is first again, by a margin that may be luck",
        (false, true) => "The winner does not stand",
        (false, false) => "The winner is not first with new seeds, by a margin that may be luck",
    };
    format!(
        "{verdict}: {} has eval loss {}, {} has {} (pairs of seeds: {}, p = {}).{lost}",
        named(old),
        level(old),
        named(rival),
        level(rival),
        differences.len(),
        probability(p)
    )
}

/// `lr 3e-5, warmup 0.1`.
fn named(config: &Config) -> String {
    let values: Vec<String> = config.values.iter().map(|(key, value)| format!("{key} {}", value.label(key))).collect();
    if values.is_empty() { "the only configuration".into() } else { values.join(", ") }
}

/// `0.004`, or `< 0.001`.
fn probability(p: f64) -> String {
    match p {
        p if p < 0.001 => "0.001 or less".into(),
        p if p < 0.01 => format!("{p:.3}"),
        p => format!("{p:.2}"),
    }
}

/// DIVERSITY: augmentation raises the training loss and lowers the evaluation loss.
fn diversity(sweep: &Sweep, study: &Study, axis: &Axis) -> Option<String> {
    if !Key::Augmentation.covers(&axis.key) {
        return None;
    }
    let level = |run: usize| {
        let level = study.diagnoses[run].detection.tail.level;
        (study.judgements[run].survived() && level.is_finite()).then_some(level)
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

/// `DEAD_AXIS`: curves that agree to the last bit whatever the value.
pub(super) fn dead_axis(sweep: &Sweep, axis: &Axis) -> Option<String> {
    let losses = |run: &Run| run.metrics.iter().map(|row| row.train_loss.to_bits()).collect::<Vec<_>>();
    let mut pairs = 0;
    for group in matched(sweep, &axis.key).values() {
        let mut measured =
            group.iter().map(|(_, run)| &sweep.runs[*run]).filter(|run| run.status == crate::trial::Status::Finished);
        let Some(first) = measured.next().filter(|run| !run.metrics.is_empty()) else { continue };
        for other in measured {
            if losses(first) != losses(other) {
                return None;
            }
            pairs += 1;
        }
    }
    (pairs > 0).then(|| {
        format!("`{}` changes nothing: trials that differ in it alone agree to the last bit ({pairs} pairs). It has no effect in this setting.", axis.key)
    })
}

/// `SEED_UNSTABLE`: configurations of which some seeds fail and some do not.
fn unstable(study: &Study) -> Option<String> {
    let failed = |config: &Config| config.runs.iter().filter(|&&run| study.judgements[run].failed()).count();
    let split = |config: &&Config| config.runs.len() > 1 && (1..config.runs.len()).contains(&failed(config));
    let shaky: Vec<&Config> = study.configs.iter().filter(split).collect();
    let worst = shaky.iter().max_by_key(|config| failed(config))?;
    let (k, n) = (failed(worst), worst.runs.len());
    let (low, high) = wilson(k, n);
    let of = study.configs.iter().filter(|config| config.runs.len() > 1).count();
    let name = named(worst);
    Some(format!(
        "Luck decides in {} of {of} configurations, where some seeds fail and others do not; most in {name}: {k} of {n} (95 % interval {:.0} to {:.0} %). Longer training, a warm-up and optimizer.bias_correction: true make BERT steadier.",
        shaky.len(),
        low * 100.0,
        high * 100.0
    ))
}

/// `EARLY_RANK`: how well the order after a quarter of the steps is the final one.
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
    let reading =
        if rho > GOOD { "the worst may be stopped that early" } else { "stopping that early would drop good ones" };
    Some(format!(
        "The order of {} trials after a quarter of their steps predicts the final one with a rank correlation of {rho:.2}: {reading}.",
        then.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{self, axis};
    use super::*;

    fn found(sweep: &Sweep, id: &str) -> String {
        let texts = effects(sweep, &Study::of(sweep)).into_iter().filter(|finding| finding.id == id).map(|f| f.text);
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
        insta::assert_snapshot!(found(&lower, "axis_effect"), @"warmup 0.1 instead of 0 lowers final eval loss by 0.017 ± 0.001 (8 matched pairs, p = 0.008).");
        let none = pairs(|warm, seed| 0.30 + 0.01 * ((seed * 5 + warm * 3) % 8) as f32);
        insta::assert_snapshot!(found(&none, "axis_effect"), @"No detectable effect of warmup: 0.1 instead of 0 changes final eval loss by +0.000 ± 0.015 (8 matched pairs, p = 1.00).");
    }

    #[test]
    fn knobs_that_are_not_wired_are_found() {
        let mut sweep = pairs(|_, _| 0.3);
        assert_eq!(found(&sweep, "dead_axis"), "");
        for i in 0..8 {
            sweep.runs[i + 8].metrics = sweep.runs[i].metrics.clone();
        }
        insta::assert_snapshot!(found(&sweep, "dead_axis"), @"`warmup` changes nothing: trials that differ in it alone agree to the last bit (8 pairs). It has no effect in this setting.");
        assert_eq!(found(&sweep, "axis_effect"), "");
    }

    #[test]
    fn luck_and_limits_are_named() {
        let sweep = synthetic::large_sweep();
        insta::assert_snapshot!(found(&sweep, "seed_unstable"), @"Luck decides in 12 of 144 configurations, where some seeds fail and others do not; most in lr 1e-4, warmup 0, scheduler cosine, augmentation none: 2 of 3 (95 % interval 21 to 94 %). Longer training, a warm-up and optimizer.bias_correction: true make BERT steadier.");
        insta::assert_snapshot!(found(&sweep, "early_rank"), @"The order of 352 trials after a quarter of their steps predicts the final one with a rank correlation of 0.01: stopping that early would drop good ones.");
        insta::assert_snapshot!(found(&synthetic::default_sweep(), "stability_limit"), @"");
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
        insta::assert_snapshot!(found(&sweep, "diversity"), @"Too little variety in the data was a limit: eda raises the final training loss by 0.158 and lowers the eval loss by 0.050. More data, or more augmentation, may lower it further.");
    }

    /// Trials at three rates whose training and evaluation losses fall to `level`.
    fn at_one_level(level: f32, accuracy: f32) -> Sweep {
        let mut sweep = synthetic::sweep("s", &[axis("lr", &["3e-6", "1e-5", "3e-5"])], 120);
        for run in &mut sweep.runs {
            for (k, row) in run.evals.iter_mut().enumerate() {
                (row.eval_loss, row.accuracy) = (level + 0.2 * 0.5_f32.powi(k as i32), accuracy);
                row.train_probe_loss = row.eval_loss;
            }
            run.metrics.iter_mut().for_each(|row| row.train_loss = level + 0.29 * 0.9_f32.powi(row.step as i32));
        }
        sweep
    }

    /// h(0.1) = 0.325: the floor that a tenth of wrong labels sets for two classes.
    #[test]
    fn a_level_and_an_accuracy_that_wrong_labels_explain() {
        insta::assert_snapshot!(found(&at_one_level(0.325, 0.9), "label_floor"), @"The training losses of all 3 usable trials go flat at 0.325, with an accuracy of 90 %: what 10 % of wrong labels leave. Look at the examples of the highest loss before anything else.");
        assert_eq!(found(&at_one_level(0.325, 0.9), "saturated"), "");
        assert_eq!(found(&at_one_level(0.325, 0.8), "label_floor"), "", "the accuracy tells otherwise");
        assert_eq!(found(&at_one_level(0.02, 0.99), "label_floor"), "", "fitted");
        assert!((wrong_labels(0.325, 2).unwrap() - 0.1).abs() < 1e-3);
        assert!((wrong_labels(3_f64.ln() - 1e-9, 3).unwrap() - 2.0 / 3.0).abs() < 1e-3);
        assert_eq!(wrong_labels(2.0, 2), None);
    }

    #[test]
    fn one_level_over_all_rates_is_not_the_rates() {
        let sweep = at_one_level(0.4, 0.6);
        assert!(
            found(&sweep, "saturated")
                .starts_with("The training losses of all 3 usable trials go flat between 0.400 and 0.400")
        );
    }
}
