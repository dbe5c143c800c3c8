//! The findings about a search, in sentences with numbers, and what to do next.

use super::finding::{FindingKind, Next};
use super::search::{End, Search, Tried, no_pairs};
use super::study::Study;
use super::sweep::Sweep;
use crate::trial::{DrawnBy, number_text};

/// Points of a grid beside the space that a sentence names.
const MOST_POINTS: usize = 8;
/// With a best configuration among this share of the last ones, more configurations are likely to be better.
const STILL_FINDING: f64 = 0.2;

/// The sentences about the draws of a search. None for a grid.
pub(super) fn findings(sweep: &Sweep, study: &Study) -> Vec<(FindingKind, Option<String>)> {
    let Some(search) = Search::of(sweep, study) else { return Vec::new() };
    let edges = search.edges().into_iter().map(|edge| {
        let side = if edge.upper { "upper" } else { "lower" };
        let [best, low, high] = [edge.best, edge.low, edge.high].map(number_text);
        let text =
            format!("The best {} ({best}) is at the {side} edge of its range, {low} to {high}: widen it.", edge.path);
        (FindingKind::Edge, Some(text))
    });
    let found = [
        (FindingKind::Search, found(&search)),
        (FindingKind::Noise, rank(&search, sweep, study)),
        (FindingKind::Search, of_grid(&search)),
        (FindingKind::Search, random(&search)),
        (FindingKind::Search, without_model(&search).filter(|_| study.seeds > 1)),
    ];
    found.into_iter().chain(edges).chain([(FindingKind::Importance, Some(importance(&search)))]).collect()
}

/// When the best configuration was found, and what was spent since.
fn found(search: &Search<'_>) -> Option<String> {
    let best = search.best()?;
    let over = search.over().count();
    let number = best.draw.number;
    let since = || search.over().filter(|tried| tried.draw.number > number);
    let how = match best.draw.by {
        DrawnBy::Include => "given by `include`",
        DrawnBy::Random => "drawn at random",
        DrawnBy::Sobol => "drawn by sobol",
        DrawnBy::Tpe => "drawn by tpe",
    };
    let after = match (since().count(), search.time_share(since())) {
        (0, _) => "it is the last one so far".to_owned(),
        (1, Some(share)) => format!("the one since took {} % of the compute time and is not better", per_cent(share)),
        (n, Some(share)) => {
            format!("the {n} since took {} % of the compute time, and none is better", per_cent(share))
        }
        (n, None) => format!("none of the {n} since is better"),
    };
    Some(format!("The best is configuration #{number} of {over}, {how}; {after}."))
}

/// The interval of the rank of the best configuration.
fn rank(search: &Search<'_>, sweep: &Sweep, study: &Study) -> Option<String> {
    search.best()?;
    let noun = study.repetition.noun();
    let all = study.configs.iter().filter(|config| config.score.is_some()).count();
    let ranks = |n: usize| match n {
        1 => format!("it stays first of {all}"),
        n => format!("its rank lies between 1 and {n} of {all}"),
    };
    if let (Some(sd), Some(n)) = (study.metric_sd, study.within_noise()) {
        let confirm = format!(" `plateau confirm {}` trains the best ones again with new {noun}s.", sweep.name);
        return Some(format!(
            "By the noise over {noun}s (standard deviation {sd:.3}), {}.{}",
            ranks(n),
            if n > 1 { &confirm } else { "" }
        ));
    }
    let interval = if study.metric.is_loss() {
        let best = study.best()?.score?.mean;
        let near =
            study.configs.iter().filter_map(|config| config.score).filter(|score| score.mean <= best + study.delta);
        format!("if a {noun} moves the eval loss by {:.3}, {}", study.delta, ranks(near.count()))
    } else {
        "so is the rank of the best".to_owned()
    };
    Some(format!("With one {noun} the noise is unknown; {interval}. Run `plateau confirm {}`.", sweep.name))
}

/// How many random draws would have done as well.
fn random(search: &Search<'_>) -> Option<String> {
    search.best()?;
    let drawn = search.over().any(|tried| tried.draw.by == DrawnBy::Tpe);
    let random = search.random_costs().filter(|_| drawn)?;
    let n = random.len();
    Some(match search.random_draws_needed(&random) {
        Some(needed) => {
            format!("About {needed} random draws would have done as well, judged by the {n} of this search.")
        }
        None => format!("None of the {n} random draws was as good: more than {n} would have been needed on average."),
    })
}

/// The share of the compute time of a search that went into configurations without a usable model. None for a grid, and where a
/// configuration has several trials, some of which may be usable.
pub(super) fn failed_share(sweep: &Sweep, study: &Study) -> Option<String> {
    let search = Search::of(sweep, study).filter(|_| study.seeds == 1)?;
    search.time_share(search.over().filter(|tried| tried.end == End::Failed)).map(per_cent)
}

/// The budget that went into configurations without a usable model. With one trial each, the sentence on failed trials says it.
fn without_model(search: &Search<'_>) -> Option<String> {
    let failed = || search.over().filter(|tried| tried.end == End::Failed);
    let share = search.time_share(failed())?;
    let (n, of) = (failed().count(), search.over().count());
    let configurations = if of == 1 { "configuration" } else { "configurations" };
    (n > 0).then(|| {
        format!("{n} of {of} {configurations} gave no usable model and took {} % of the compute time.", per_cent(share))
    })
}

/// The best of each point of a grid beside the space, which had a search of its own.
fn of_grid(search: &Search<'_>) -> Option<String> {
    let grid = &search.history.grid;
    let mut bests: Vec<(String, &Tried<'_>, usize)> = Vec::new();
    let mut ranked: Vec<&Tried<'_>> = search.over().filter(|tried| tried.config.score.is_some()).collect();
    ranked.sort_by_key(|tried| tried.rank);
    for tried in ranked {
        let values = grid.iter().filter_map(|key| Some(format!("{key} {}", tried.config.value(key)?.label(key))));
        let point = values.collect::<Vec<_>>().join(", ");
        match bests.iter_mut().find(|(known, ..)| *known == point) {
            Some((.., count)) => *count += 1,
            None => bests.push((point, tried, 1)),
        }
    }
    let part = |(point, tried, count): &(String, &Tried<'_>, usize)| {
        let value = search.value(tried)?;
        Some(format!("{point} {value:.3} (#{}, of {count})", tried.draw.number))
    };
    let parts: Vec<String> = bests.iter().take(MOST_POINTS).filter_map(part).collect();
    let more = if bests.len() > MOST_POINTS { ", and so on" } else { "" };
    (parts.len() > 1)
        .then(|| format!("The best {} at each point of the grid: {}{more}.", search.metric.title(), parts.join("; ")))
}

/// Which keys matter, or why that is unknown; and that there are no matched pairs.
fn importance(search: &Search<'_>) -> String {
    let pairs = no_pairs(search.history);
    match search.importances() {
        Err(why) => format!("{pairs}. The importance of the keys is unknown: {why}."),
        Ok(found) => {
            let mut order: Vec<usize> = (0..found.len()).collect();
            order.sort_by(|&a, &b| found[b].value.total_cmp(&found[a].value));
            let part = |&index: &usize| {
                let (name, of) = (&search.history.names[index].path, found[index]);
                format!("{name} ({:.2}, 90 % interval {:.2} to {:.2})", of.value, of.low, of.high)
            };
            let parts: Vec<String> = order.iter().take(3).map(part).collect();
            format!("{pairs}. The importance of a key tells where the best tenth lies: {}.", parts.join(", "))
        }
    }
}

/// A wider range for a key whose best value is at an edge.
pub(super) fn widen(sweep: &Sweep, study: &Study) -> Option<Next> {
    let search = Search::of(sweep, study).filter(has_ended)?;
    let edge = search.edges().into_iter().next()?;
    let reason = format!("the best {} is at an edge of its range: widen it", edge.path);
    Some(Next { reason, line: format!("space: {{{}: {}}}", edge.path, edge.line) })
}

fn has_ended(search: &Search<'_>) -> bool {
    let is_drawn = search.history.undrawn().is_none_or(|undrawn| undrawn == 0);
    is_drawn && search.tried.iter().all(|tried| tried.end != End::Open)
}

/// Whether to search on or to confirm the best.
pub(super) fn next(sweep: &Sweep, study: &Study) -> Option<Next> {
    let search = Search::of(sweep, study).filter(has_ended)?;
    let best = search.best()?;
    let all = search.tried.len() as f64;
    if all >= 10.0 && best.draw.number as f64 >= (1.0 - STILL_FINDING) * all {
        let reason = "the search was still finding better configurations: draw more".to_owned();
        return Some(Next { reason, line: format!("search: {{trials: {}}}", 2 * sweep.runs.len()) });
    }
    let unknown = study.within_noise().is_none_or(|n| n > 1);
    let reason = "the best of many configurations is an optimistic estimate: train the best ones again with new seeds";
    unknown.then(|| Next { reason: reason.into(), line: format!("plateau confirm {}", sweep.name) })
}

fn per_cent(share: f64) -> String {
    format!("{:.0}", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::super::{findings, synthetic};
    use super::*;

    fn words(sweep: &Sweep) -> String {
        let study = Study::of(sweep);
        let mut lines: Vec<String> =
            findings::findings(sweep, &study).into_iter().map(|finding| finding.text).collect();
        lines.extend(findings::next(sweep, &study).map(|next| format!("=> {}: {}", next.reason, next.line)));
        lines.join("\n")
    }

    #[test]
    fn a_search_in_words() {
        insta::assert_snapshot!(words(&synthetic::search("s", 50, 60)), @"
        Best is lr 5.98e-5, warmup 0.201, scheduler {name: cosine_with_restarts, cycles: 4}, batch_size 32, augmentation eda with eval loss 0.315 at step 26, accuracy 85.8 %; 0.011 below the next, lr 4.99e-5, warmup 0.202, scheduler linear, batch_size 32, augmentation eda.
        It ranks first by its best checkpoint and overfits after it: 0.337 at the end.
        The best is configuration #39 of 50, drawn by tpe; the 10 since took 20 % of the compute time, and none is better.
        With one seed the noise is unknown; if a seed moves the eval loss by 0.010, it stays first of 47. Run `plateau confirm s`.
        None of the 10 random draws was as good: more than 10 would have been needed on average.
        Trials of a search differ in several keys at once, so that matched pairs do not exist. The importance of a key tells where the best tenth lies: lr (0.95, 90 % interval 0.33 to 0.95), batch_size (0.02, 90 % interval 0.00 to 0.12), augmentation (0.02, 90 % interval 0.00 to 0.10).
        Of the configurations that survived, 22 of 47 overfit: their eval loss rises again by more than 0.010.
        5 of 50 trials were stopped early by a rule of `stop`, the shortest (lr 5.43e-4, warmup 0.0444, scheduler linear, batch_size 16, augmentation eda) after 60 of 60 steps.
        3 of 50 trials gave no usable model and took 5 % of the compute time: 1 NaN, 2 collapsed (lr from 3.23e-4: 3 of 3).
        Primary causes by the curves of 50 trials: overfitting (OVERFIT) in 13, the learning rate is too low or the run too short (TOO_SLOW) in 7, NaN or infinite values (NONFINITE) in 1.
        The ranking of 47 trials after a quarter of their steps predicts the final ranking with a rank correlation of 0.04: stopping that early would stop good trials.
        => the best of many configurations is an optimistic estimate: train the best ones again with new seeds: plateau confirm s
        ");
    }
}
