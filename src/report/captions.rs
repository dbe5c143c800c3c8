//! Phrases about a whole sweep that several captions share: its size, its seeds, how plateaus were found.

use std::collections::BTreeSet;

use super::Provenance;
use super::format::count;
use crate::analysis::{Config, Shape, Study, Sweep, shape};

/// `144 configurations × 3 seeds`, and how many trials have not finished.
pub fn sweep_size(sweep: &Sweep, study: &Study) -> String {
    let configs = count(study.configs.len(), "configuration");
    let seeds = count(study.seeds, study.repetition.noun());
    let open = study.shapes.iter().filter(|j| **j == Shape::Unfinished).count();
    match open {
        0 => format!("{configs} × {seeds}"),
        _ => format!("{configs} × {seeds}, {open} of {} not finished", count(sweep.runs.len(), "trial")),
    }
}

/// `seeds 1, 2, 3`, of all trials.
pub fn seeds(sweep: &Sweep) -> String {
    const MOST: usize = 8;
    let seeds: BTreeSet<u64> = sweep.runs.iter().map(|run| run.trial.config.seed).collect();
    let shown: Vec<String> = seeds.iter().take(MOST).map(u64::to_string).collect();
    match (shown.len(), seeds.len()) {
        (0, _) => String::new(),
        (1, _) => format!("seed {}", shown.concat()),
        (all, known) if all == known => format!("seeds {}", shown.join(", ")),
        (_, known) => format!("{known} seeds: {}, …", shown.join(", ")),
    }
}

/// The last line of page and summary: what the numbers rest on.
pub fn footer(sweep: &Sweep, study: &Study, provenance: &Provenance) -> Vec<String> {
    let smoothing = format!("eval loss{} smoothed by {}", eval_interval(study), eval_smoother());
    [vec![sweep_size(sweep, study), seeds(sweep), delta(study), smoothing], provenance.parts()].concat()
}

/// The smoother that plateaus are found with.
pub fn eval_smoother() -> String {
    format!("local linear regression over ±{} evaluations", shape::EVAL_HALF_WIDTH)
}

/// The definition of a plateau.
pub fn plateau_definition() -> String {
    format!(
        "Plateau: it begins at the first step after which the eval loss, smoothed by {}, never improves by more than delta again",
        eval_smoother()
    )
}

/// The tolerance of plateaus, and where its value comes from.
pub fn delta(study: &Study) -> String {
    let noun = study.repetition.noun();
    let reason = match study.seed_sd {
        Some(_) => format!("the larger of 0.01 and the pooled SD over {noun}s"),
        None if study.seeds > 1 => {
            format!("the default: no configuration has two successful {noun}s, so the noise is unknown")
        }
        None => "the default: with one seed the noise is unknown".to_owned(),
    };
    format!("delta = {:.3} {} ({reason})", study.delta, study.task.loss_unit())
}

/// ` every 50 steps`: the interval of the evaluations.
pub fn eval_interval(study: &Study) -> String {
    study.eval_interval.map_or_else(String::new, |steps| {
        format!(" every {}", if steps == 1 { "step".into() } else { format!("{steps} steps") })
    })
}

/// How many configurations failed in which way: `10 stuck, 6 collapsed, 8 NaN`.
pub fn failures<'a>(configs: impl Iterator<Item = &'a Config>) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for name in configs.filter(|config| config.shape.failed()).map(|config| config.shape.kind().title()) {
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    parts.join(", ")
}
