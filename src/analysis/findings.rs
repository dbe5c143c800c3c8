//! The findings of a sweep, in sentences with numbers, and the next experiment.
//!
//! Findings claim no more than the curves hold. Where the noise between seeds is unknown, they say so.

use std::collections::{BTreeMap, BTreeSet};

use super::edges::{Beyond, beyond};
use super::effects;
use super::finding::{Finding, FindingKind, Next};
use super::groups::{LEARNING_RATE, Repetition, axes, lead_axis};
use super::search_findings;
use super::shape::Shape;
use super::study::{Config, Level, Study};
use super::sweep::{Run, Sweep};
use super::thresholds as limit;
use super::verdicts::{Diagnosis, blames_a_high_rate};
use crate::trial::{
    Axis, AxisValue, Cause, Key, Length, Metric, Outcome, Reason, Status, Verdict, number_text, rounded_text,
};

/// The findings, most important first. At least one for every sweep.
pub fn findings(sweep: &Sweep, study: &Study) -> Vec<Finding> {
    // Of runs that learned nothing, one is the best by chance, and its course means nothing.
    let no_better = no_better_than_guessing(sweep, study);
    let learned = no_better.is_none();
    let found = [
        (FindingKind::Progress, progress(sweep, study)),
        (FindingKind::Data, data(study)),
        (FindingKind::Best, no_better.or_else(|| best(study))),
        (FindingKind::Rise, rise(study).filter(|_| learned)),
        (FindingKind::Noise, noise(study).filter(|_| learned && sweep.search.is_none())),
        (FindingKind::Onsets, onsets(sweep, study).filter(|_| learned)),
        (FindingKind::Shapes, shapes(study).filter(|_| learned)),
        (FindingKind::Stopped, stopped(sweep)),
        (FindingKind::Failures, failures(sweep, study)),
        (FindingKind::Memory, memory(sweep)),
        (FindingKind::Edge, edge_text(sweep, study)),
    ];
    let (first, others) = found.split_at(4);
    let all = first.iter().cloned().chain(search_findings::findings(sweep, study)).chain(others.iter().cloned());
    let found = all.filter_map(|(kind, text)| Some(Finding { kind, text: text? }));
    found.chain(effects::effects(sweep, study)).collect()
}

/// Whether more trials say that their learning rate is too low than any other cause.
fn is_mostly_too_low(study: &Study) -> bool {
    let causes = study.diagnoses.iter().filter_map(|diagnosis| diagnosis.cause());
    let low = causes.clone().filter(|cause| blames_a_low_rate(cause)).count();
    low > 0 && 2 * low > causes.count()
}

fn blames_a_low_rate(cause: &Verdict) -> bool {
    cause.id == Cause::TooSlow || cause.reason == Some(Reason::RateTooLow)
}

/// The sentence on a best value at the edge of its axis, if there is one.
pub fn edge_text(sweep: &Sweep, study: &Study) -> Option<String> {
    edge(sweep, study).map(|edge| edge.text())
}

/// The next experiment, if the findings suggest one.
pub fn next(sweep: &Sweep, study: &Study) -> Option<Next> {
    if study.best().is_none() {
        return rescue(sweep, study);
    }
    // Among runs that learned nothing, the best is so by chance.
    if learned_nothing(sweep, study) {
        return if memorises(study) { None } else { rescue(sweep, study) };
    }
    if let Some(edge) = edge(sweep, study) {
        let reason = format!("the best {} is at the edge of the grid: widen it", edge.axis.key);
        return Some(Next { reason, line: edge.line() });
    }
    if let Some(next) = search_findings::widen(sweep, study) {
        return Some(next);
    }
    let late = study.best().is_some_and(|best| matches!(best.shape, Shape::StillImproving { .. }));
    if late {
        let reason = "the best configuration was still improving: train longer".into();
        let line = match sweep.runs.first().map(|run| run.trial.config.length) {
            Some(Length::Epochs(epochs)) => format!("epochs: {}", epochs * 2.0),
            _ => format!("steps: {}", study.steps * 2),
        };
        return Some(Next { reason, line });
    }
    if sweep.search.is_some() {
        return search_findings::next(sweep, study);
    }
    // Find the best configuration before tuning its length.
    let undecided = undecided(sweep, study);
    if let Some(next) = undecided.clone().filter(|_| is_close(study)) {
        return Some(next);
    }
    if study.best().is_some_and(|best| best.shape.rises().is_some()) {
        let reason = "the best configuration overfits after its best step: stop there".into();
        return Some(Next {
            reason,
            line: format!("stop: {{patience: {{metric: {}, evals: 3}}}}", study.metric.name()),
        });
    }
    undecided
}

/// Whether no configuration is clearly better on the evaluation set than a guess, in a sweep that has ended.
fn learned_nothing(sweep: &Sweep, study: &Study) -> bool {
    // A model may know the classes and be over-confident.
    let ended = !study.shapes.contains(&Shape::Unfinished) && !study.shapes.contains(&Shape::Overconfident);
    let lowest = lowest(study).filter(|(config, _)| !matches!(config.shape, Shape::StillImproving { .. }));
    let at_chance = lowest.zip(study.chance).is_some_and(|((_, level), chance)| level > limit::NO_BETTER * chance);
    // In a sweep that ranks by a score, the score decides.
    let mut survivors = sweep.runs.iter().zip(&study.shapes).filter(|(_, shape)| shape.survived());
    ended && at_chance && !survivors.any(|(run, _)| run.measured().scores_above_guessing())
}

/// The configuration with the lowest evaluation loss, which need not be the best by another metric, and that loss.
fn lowest(study: &Study) -> Option<(&Config, f64)> {
    study.best()?;
    let levels = study.configs.iter().filter_map(|config| Some((config, config.best?.mean)));
    levels.min_by(|(_, a), (_, b)| a.total_cmp(b))
}

/// Whether a trial memorises its training data. Where labels mean nothing, no learning rate helps.
fn memorises(study: &Study) -> bool {
    study.diagnoses.iter().filter_map(Diagnosis::cause).any(|verdict| verdict.id == Cause::Memorised)
}

/// Whether there is nothing to narrow or to widen, because no configuration learned anything.
pub fn is_lost(sweep: &Sweep, study: &Study) -> bool {
    study.best().is_none() || learned_nothing(sweep, study) && !memorises(study) && rescue(sweep, study).is_some()
}

/// More seeds, where they would separate configurations.
fn undecided(sweep: &Sweep, study: &Study) -> Option<Next> {
    let known: BTreeSet<u64> = sweep.runs.iter().map(|run| run.trial.config.seed).collect();
    let (reason, seeds) = match study.within_noise() {
        _ if study.configs.len() < 2 => return None,
        None => ("with one seed the noise is unknown: repeat with three".to_owned(), 3),
        Some(n) if n > 1 => (
            format!("{n} configurations are within noise of each other: more seeds separate them"),
            if study.repetition == Repetition::Seed { 2 * study.seeds.max(2) } else { 2 * known.len() },
        ),
        Some(_) => return None,
    };
    // Seeds that were run stay, so that nothing is trained twice.
    let mut all: Vec<u64> = Vec::new();
    for seed in sweep.runs.iter().map(|run| run.trial.config.seed).chain(1..=seeds as u64) {
        if !all.contains(&seed) && all.len() < seeds {
            all.push(seed);
        }
    }
    let all: Vec<String> = all.iter().map(u64::to_string).collect();
    Some(Next { reason, line: format!("seeds: [{}]", all.join(", ")) })
}

/// Whether another configuration is as good as the best: within noise of it, or within delta where the noise is unknown.
fn is_close(study: &Study) -> bool {
    rivals(study).next().is_some()
}

/// The other configurations that are as good as the best, the better first.
fn rivals(study: &Study) -> impl Iterator<Item = (&Config, f64)> {
    let best = study.best().and_then(|best| best.score);
    study.configs.iter().skip(1).filter(|config| config.complete()).filter_map(move |config| {
        let behind = study.metric.cost(config.score?.mean) - study.metric.cost(best?.mean);
        config.within_noise.unwrap_or(behind <= study.delta).then_some((config, behind))
    })
}

fn progress(sweep: &Sweep, study: &Study) -> Option<String> {
    let undrawn = sweep.undrawn();
    let open = study.shapes.iter().filter(|shape| **shape == Shape::Unfinished).count() + undrawn;
    match (sweep.runs.len() + undrawn, open) {
        (0, _) => Some("The sweep has no trials.".into()),
        (_, 0) => None,
        (1, _) => Some("The only trial has not finished yet.".into()),
        (all, open) if open == all => Some(format!("None of the {all} trials has finished yet.")),
        (all, 1) => Some(format!("1 of {all} trials has not finished; what follows may change.")),
        (all, open) => Some(format!("{open} of {all} trials have not finished; what follows may change.")),
    }
}

/// Faults of the data, each once: they make the losses of all trials on these data hard to compare with any other.
fn data(study: &Study) -> Option<String> {
    const OF_DATA: [Cause; 3] = [Cause::MissingClass, Cause::PriorShift, Cause::LeakedRows];
    let verdicts = study.diagnoses.iter().flat_map(|diagnosis| &diagnosis.verdicts);
    let faults = verdicts.filter(|verdict| verdict.id.cause().is_some_and(|cause| OF_DATA.contains(&cause)));
    let texts: BTreeSet<String> = faults.map(|verdict| format!("{}: {}", verdict.id, verdict.text)).collect();
    let some: Vec<String> = texts.into_iter().take(OF_DATA.len()).collect();
    (!some.is_empty()).then(|| format!("The data are at fault: {}.", some.join("; ")))
}

/// What takes the place of the best configuration where none learned anything.
fn no_better_than_guessing(sweep: &Sweep, study: &Study) -> Option<String> {
    let (config, level) = lowest(study).filter(|_| learned_nothing(sweep, study))?;
    Some(format!(
        "No configuration is clearly better than guessing on the evaluation set: the lowest eval loss of a usable model is {level:.3} ({}), and guessing \
         has {:.3}.",
        config.name(),
        study.chance?
    ))
}

fn best(study: &Study) -> Option<String> {
    let best = study.best()?;
    let (score, metric) = (best.score?, study.metric);
    let headline = best.headline.filter(|_| study.task.headline() != metric).map_or_else(String::new, |level| {
        let unit = if study.task.headline() == Metric::Accuracy { " %" } else { "" };
        format!(", {} {}{unit}", study.task.headline().title(), study.task.headline().cell(level.mean))
    });
    let at = best.best_step.map_or_else(String::new, |step| format!(" at step {step}"));
    // A configuration with failed seeds ranks behind whatever its loss, so its loss is not a margin.
    let next = study.configs.get(1).filter(|second| second.complete() || !best.complete());
    let next = next.and_then(|second| second.score.map(|score| (second, score)));
    let side = if metric.is_cost() { "below" } else { "above" };
    let margin =
        next.map_or_else(String::new, |(second, other)| match metric.cost(other.mean) - metric.cost(score.mean) {
            margin if margin < 5e-4 => format!("; equal to three decimals to the next, {}", second.name()),
            margin => format!("; {margin:.3} {side} the next, {}", second.name()),
        });
    Some(format!(
        "Best is {} with {} {}{at}{headline}{margin}.",
        best.name(),
        metric.title(),
        written(score, study.repetition.noun())
    ))
}

/// A warning on a best configuration that overfits.
fn rise(study: &Study) -> Option<String> {
    let best = study.best()?;
    best.shape.rises()?;
    let (last, level) = (best.last?.mean, best.best?.mean);
    if study.configs.iter().filter(|config| config.best.is_some()).count() == 1 {
        return Some(format!("It overfits: its eval loss rises from {level:.3} to {last:.3} at the end."));
    }
    if !study.metric.is_loss() {
        let metric = study.metric.title();
        return Some(format!(
            "It ranks first by {metric}, but its eval loss rises from {level:.3} to {last:.3} at the end."
        ));
    }
    let steady = rivals(study).find(|(config, _)| config.shape.rises().is_none());
    let instead = steady.map_or_else(String::new, |(config, behind)| {
        let behind = if behind < 5e-4 { "as good".to_owned() } else { format!("{behind:.3} behind") };
        format!(" {} ({behind}) does not rise and is the safer choice.", config.name())
    });
    Some(format!("It ranks first by its best checkpoint and overfits after it: {last:.3} at the end.{instead}"))
}

fn noise(study: &Study) -> Option<String> {
    study.best()?;
    if study.configs.len() < 2 {
        return None;
    }
    let noun = study.repetition.noun();
    match (study.metric_sd, study.within_noise()) {
        (Some(sd), Some(1)) => {
            Some(format!("No other configuration is within noise of it (standard deviation over {noun}s {sd:.3})."))
        }
        (Some(sd), Some(n)) => Some(format!(
            "{n} configurations, including it, cannot be separated with {} {noun}s (standard deviation over {noun}s {sd:.3}); the best of so many is an optimistic estimate.",
            study.seeds
        )),
        _ => Some("Each configuration has one seed, so the noise of a difference is unknown.".into()),
    }
}

/// When the best configuration at each value of the first axis stopped improving.
fn onsets(sweep: &Sweep, study: &Study) -> Option<String> {
    // The values of a range differ from trial to trial.
    let axis = lead_axis(sweep).filter(|axis| !axis.drawn)?;
    let at = |value: &AxisValue| {
        let same = |config: &&Config| config.value(&axis.key).is_some_and(|other| other.value == value.value);
        let config = study.configs.iter().filter(same).find(|config| config.best.is_some())?;
        let onset = config.shape.onset()?;
        let level = config.curve.iter().find(|spread| spread.x as u64 == onset)?.mean;
        let late = matches!(config.shape, Shape::StillImproving { .. });
        let when = if late { format!("not before step {onset}") } else { format!("at step {onset}") };
        Some(format!("{} {when} ({level:.3})", value.label(&axis.key)))
    };
    let parts: Vec<String> = axis.values.iter().take(8).filter_map(at).collect();
    let more = if axis.values.len() > 8 { ", and so on" } else { "" };
    (!parts.is_empty()).then(|| {
        format!(
            "Where the eval loss of the best configuration at each {} goes flat (with its level): {}{more}.",
            axis.key,
            parts.join(", ")
        )
    })
}

fn shapes(study: &Study) -> Option<String> {
    let survivors = || study.configs.iter().filter(|config| config.best.is_some());
    let all = survivors().count();
    // `rise` describes a single survivor.
    if all == 1 {
        let late = survivors().any(|config| matches!(config.shape, Shape::StillImproving { .. }));
        let who = if study.configs.len() == 1 { "It" } else { "The only configuration that survived" };
        return late.then(|| format!("{who} was still improving in the last 15 % of its steps."));
    }
    let rising = survivors().filter(|config| config.shape.rises().is_some()).count();
    let late = survivors().filter(|config| matches!(config.shape, Shape::StillImproving { .. })).count();
    let mut parts = Vec::new();
    if rising > 0 {
        parts.push(format!("{rising} of {all} overfit: their eval loss rises again by more than {:.3}", study.delta));
    }
    if late > 0 {
        parts.push(format!("{late} of {all} were still improving in the last 15 % of their steps"));
    }
    (!parts.is_empty()).then(|| format!("Of the configurations that survived, {}.", parts.join("; ")))
}

/// How many trials a rule stopped, and the reason for the one that went least far.
fn stopped(sweep: &Sweep) -> Option<String> {
    let all: Vec<(&Run, &Outcome)> = sweep
        .runs
        .iter()
        .filter(|run| run.status == Status::Stopped)
        .filter_map(|run| Some((run, run.outcome.as_ref()?)))
        .collect();
    let (run, outcome) = all.iter().min_by_key(|(_, outcome)| outcome.steps)?;
    let values: Vec<String> =
        run.trial.values.iter().map(|(key, value)| format!("{key} {}", value.label(key))).collect();
    let reason = outcome.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    Some(format!(
        "{} of {} were stopped early by a rule of `stop`, the shortest ({}) after {} of {} steps{reason}.",
        all.len(),
        if sweep.runs.len() == 1 { "1 trial".to_owned() } else { format!("{} trials", sweep.runs.len()) },
        values.join(", "),
        outcome.steps,
        run.trial.steps
    ))
}

/// How many trials failed, how, and at which values of the lead axis.
fn failures(sweep: &Sweep, study: &Study) -> Option<String> {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for shape in study.shapes.iter().filter(|shape| shape.failed()) {
        *kinds.entry(shape.kind().title()).or_default() += 1;
    }
    if kinds.is_empty() {
        return None;
    }
    let parts: Vec<String> = kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    let failed: usize = kinds.values().sum();
    let place = lead_axis(sweep).map(|axis| failures_by_value(sweep, study, axis)).unwrap_or_default();
    let error = common_error(sweep).map_or_else(String::new, |error| format!(" Most frequent error: {error}."));
    let trials = if sweep.runs.len() == 1 { "trial" } else { "trials" };
    let cost = search_findings::failed_share(sweep, study)
        .map_or_else(String::new, |share| format!(" and took {share} % of the compute time"));
    let (all, parts) = (sweep.runs.len(), parts.join(", "));
    Some(format!("{failed} of {all} {trials} gave no usable model{cost}: {parts}{place}.{error}"))
}

/// Trials that ran out of memory and used smaller micro-batches.
fn memory(sweep: &Sweep) -> Option<String> {
    let noted: Vec<(&str, &str)> =
        sweep.runs.iter().filter_map(|run| Some((run.trial.id.as_str(), run.memory_note()?))).collect();
    let (_, first) = noted.first()?;
    let ids: Vec<&str> = noted.iter().map(|(id, _)| *id).collect();
    Some(format!(
        "{} of {} ({}): {first}.",
        noted.len(),
        if sweep.runs.len() == 1 { "1 trial".to_owned() } else { format!("{} trials", sweep.runs.len()) },
        ids.join(", ")
    ))
}

/// First line of the error that most trials give.
fn common_error(sweep: &Sweep) -> Option<&str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in sweep.runs.iter().filter_map(|run| run.error.as_ref()?.lines().next()) {
        *counts.entry(line.trim_end_matches('.')).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(line, _)| line)
}

/// ` (lr 1e-4: 2 of 8, 3e-4: 8 of 8)`; for numbers that a search draws ` (lr from 0.023: 6 of 9)` or ` (lr up to 5e-4: 3 of 4)`.
fn failures_by_value(sweep: &Sweep, study: &Study, axis: &Axis) -> String {
    if axis.drawn && axis.values.iter().all(|value| value.value.is_number()) {
        let number = |run: &Run| run.trial.value(&axis.key).and_then(|value| value.value.as_f64());
        let all: Vec<(f64, bool)> = (sweep.runs.iter().zip(&study.shapes))
            .filter_map(|(run, shape)| Some((number(run)?, shape.failed())))
            .collect();
        let failed = || all.iter().filter(|(_, failed)| *failed).map(|(x, _)| *x);
        let (Some(least), Some(greatest)) = (failed().reduce(f64::min), failed().reduce(f64::max)) else {
            return String::new();
        };
        let from = all.iter().filter(|(x, _)| *x >= least).count();
        let up_to = all.iter().filter(|(x, _)| *x <= greatest).count();
        // The side that holds fewer of the others.
        let (side, bound, among) = if up_to < from { ("up to", greatest, up_to) } else { ("from", least, from) };
        return format!(" ({} {side} {}: {} of {among})", axis.key, number_text(bound), failed().count());
    }
    let at = |value: &AxisValue| {
        let same = |run: &Run| run.trial.value(&axis.key).is_some_and(|other| other.value == value.value);
        let runs = || sweep.runs.iter().zip(&study.shapes).filter(|(run, _)| same(run));
        let failed = runs().filter(|(_, shape)| shape.failed()).count();
        (failed > 0).then(|| format!("{}: {failed} of {}", value.label(&axis.key), runs().count()))
    };
    let parts: Vec<String> = axis.values.iter().filter_map(at).take(8).collect();
    if parts.is_empty() { String::new() } else { format!(" ({} {})", axis.key, parts.join(", ")) }
}

/// A numeric axis whose best value is its least or greatest.
struct Edge<'a> {
    axis: &'a Axis,
    best: &'a AxisValue,
    beyond: Beyond,
    /// Evaluation loss of the best configuration.
    level: f64,
}

impl Edge<'_> {
    fn text(&self) -> String {
        let side = if self.beyond.upper { "greatest" } else { "least" };
        format!(
            "The best {} ({}, eval loss {:.3}) is the {side} value of the grid: the true best may lie outside the grid.",
            self.axis.key, self.best.text, self.level
        )
    }

    /// The axis with the values beyond the edge.
    fn line(&self) -> String {
        let values: Vec<String> = self.beyond.values.iter().map(|value| short(*value)).collect();
        format!("grid: {{{}: [{}, {}]}}", self.axis.key, self.best.text, values.join(", "))
    }
}

/// The values of `axis` in the arm of a configuration. Each arm has a grid of its own.
fn of_its_arm<'a>(sweep: &'a Sweep, config: &Config, axis: &'a Axis) -> Box<dyn Iterator<Item = &'a AxisValue> + 'a> {
    let Some(arm) = config.value(Key::Arm.path()).cloned() else { return Box::new(axis.values.iter()) };
    let runs = sweep.runs.iter().filter(move |run| run.trial.value(Key::Arm.path()) == Some(&arm));
    Box::new(runs.filter_map(|run| run.trial.value(&axis.key)))
}

/// The learning rate, or another numeric axis, whose best is at an end with something beyond it.
fn edge<'a>(sweep: &'a Sweep, study: &Study) -> Option<Edge<'a>> {
    // While values are untried, or nothing is learned with any of them, an edge of the tried values means nothing.
    if sweep.runs.iter().any(|run| !run.status.is_over()) || learned_nothing(sweep, study) {
        return None;
    }
    let best = study.best()?;
    let level = best.best?.mean;
    let candidate = |axis: &'a Axis| {
        let tried: Vec<f64> = of_its_arm(sweep, best, axis).map(|value| value.value.as_f64()).collect::<Option<_>>()?;
        let value = best.value(&axis.key)?.value.as_f64()?;
        let beyond = beyond(axis, &tried, value)?;
        // `refine` fixes these axes, and does not widen them.
        let is_idle = effects::dead_axis(sweep, axis).is_some()
            || axis.key != LEARNING_RATE && effects::shows_no_effect(sweep, study, axis);
        if is_idle {
            return None;
        }
        let written =
            axis.values.iter().find(|other| other.value.as_f64().is_some_and(|n| n.total_cmp(&value).is_eq()))?;
        Some(Edge { axis, best: written, beyond, level })
    };
    // The greatest value that was drawn is not the end of the range.
    let mut edges = axes(sweep).filter(|axis| !axis.drawn).filter_map(candidate);
    let first = edges.next()?;
    Some(if first.axis.key == LEARNING_RATE {
        first
    } else {
        edges.find(|edge| edge.axis.key == LEARNING_RATE).unwrap_or(first)
    })
}

/// The next experiment where nothing survived: lower learning rates for what diverged or is too high, higher ones for what is too
/// low, both where no curve tells, none for what never ran.
fn rescue(sweep: &Sweep, study: &Study) -> Option<Next> {
    let OtherRates { reason, rates } = rates_to_try(sweep, study)?;
    if let Some(longer) = without_patience(sweep) {
        return Some(longer);
    }
    let is_drawn = axes(sweep).any(|axis| axis.key == LEARNING_RATE && axis.drawn);
    let [low, middle, high] = rates.map(short);
    let line = if is_drawn {
        format!("space: {{lr: {{log: [{low}, {high}]}}}}")
    } else {
        format!("grid: {{lr: [{low}, {middle}, {high}]}}")
    };
    Some(Next { reason: reason.into(), line })
}

/// Learning rates to try where no configuration learned anything.
pub struct OtherRates {
    pub reason: &'static str,
    /// In rising order.
    pub rates: [f64; 3],
}

/// Other learning rates, if no configuration learned anything and they are what to try next.
pub fn other_rates(sweep: &Sweep, study: &Study) -> Option<OtherRates> {
    rates_to_try(sweep, study).filter(|_| is_lost(sweep, study) && without_patience(sweep).is_none())
}

/// None where all trials are too short or broken to say anything.
fn rates_to_try(sweep: &Sweep, study: &Study) -> Option<OtherRates> {
    let blown =
        |shape: &Shape| matches!(shape, Shape::NotFinite { .. } | Shape::Diverged { .. } | Shape::Collapsed { .. });
    // Runs of a few steps have neither a shape nor such a cause, and ask for nothing.
    let speaks = |shape: &Shape| !matches!(shape, Shape::TooShort | Shape::Failed | Shape::Unfinished);
    let mut blamed = study.diagnoses.iter().filter_map(Diagnosis::cause);
    let is_blamed = blamed.any(|cause| blames_a_high_rate(cause) || blames_a_low_rate(cause));
    (study.shapes.iter().any(speaks) || is_blamed).then_some(())?;
    let mut causes = study.diagnoses.iter().filter_map(Diagnosis::cause);
    let tried = || sweep.runs.iter().map(|run| run.trial.config.lr).filter(|lr| *lr > 0.0);
    let (least, greatest) = (tried().reduce(f64::min)?, tried().reduce(f64::max)?);
    let (reason, rates) = if is_mostly_too_low(study) {
        let reason = "no configuration learned anything at learning rates that are too low: try higher ones";
        (reason, [greatest, 3.0 * greatest, 10.0 * greatest])
    } else if study.shapes.iter().any(blown) || causes.any(blames_a_high_rate) {
        let reason = "no configuration learned anything: try lower learning rates with a warm-up";
        (reason, [least / 10.0, least / 3.0, least])
    } else {
        let reason = "no configuration learned anything, and the curves do not say whether the learning rate is to blame: \
                      try lower and higher ones";
        (reason, [least / 10.0, (least * greatest).sqrt(), 10.0 * greatest])
    };
    Some(OtherRates { reason, rates })
}

/// Longer trials, where patience ended each of them in the first half of its steps.
fn without_patience(sweep: &Sweep) -> Option<Next> {
    let is_early = |run: &Run| {
        let by_patience = run.outcome.as_ref().is_some_and(|outcome| !outcome.is_outdone());
        run.status == Status::Stopped && by_patience && 2 * run.end() < run.trial.steps
    };
    let patience = sweep.runs.first()?.trial.config.stop.patience.as_ref()?;
    sweep.runs.iter().all(is_early).then(|| Next {
        reason: "`stop.patience` ended every trial in the first half of its steps, before any had learned: wait longer"
            .into(),
        line: format!("stop: {{patience: {{evals: {}}}}}", 3 * patience.evals),
    })
}

fn written(level: Level, noun: &str) -> String {
    match level.sd {
        Some(sd) => format!("{:.3} ± {sd:.3} over {} {noun}s", level.mean, level.n),
        None => format!("{:.3}", level.mean),
    }
}

/// A number for a line of a sweep file.
fn short(number: f64) -> String {
    rounded_text(number, 2)
}

#[cfg(test)]
mod tests;
