//! How values, levels and configurations are written, everywhere the same.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Provenance;
use crate::analysis::rank::Level;
use crate::analysis::{Config, Judgement, Study, Sweep, plateau};
use crate::trial::{AxisValue, Key, number_text};

/// Short name of an axis: `LR`, `warmup`, `dropout` for `model.dropout`.
pub fn axis(key: &str) -> &str {
    match Key::of(key) {
        Some(Key::LearningRate) => "LR",
        Some(Key::WeightDecay) => "decay",
        Some(Key::Augmentation) => "augm.",
        Some(Key::BatchSize) => "batch",
        _ => key.rsplit('.').next().unwrap_or(key),
    }
}

/// A value where its axis is named beside it.
pub fn cell(key: &str, value: &AxisValue) -> String {
    match (Key::of(key), value.value.as_f64()) {
        (Some(Key::Warmup), Some(warmup)) if warmup < 1.0 => format!("{} %", round(warmup * 100.0)),
        _ => brief(key, value),
    }
}

/// A value in few characters: `synonym rate 0.1` for `{name: synonym, rate: 0.1}`; what is plain stays as written.
fn brief(key: &str, value: &AxisValue) -> String {
    fn plain(value: &Value) -> String {
        match value {
            Value::String(text) => text.clone(),
            Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(" + "),
            Value::Object(fields) => {
                let name = fields.get("name").map(plain);
                let others = fields.iter().filter(|(key, _)| *key != "name");
                let others = others.map(|(key, value)| format!("{key} {}", plain(value)));
                name.into_iter().chain(others).collect::<Vec<_>>().join(" ")
            }
            other => other.as_f64().map_or_else(|| other.to_string(), number_text),
        }
    }
    if value.value.is_object() || value.value.is_array() { plain(&value.value) } else { value.label(key).to_owned() }
}

/// Name of an axis in a sentence.
pub fn axis_name(key: &str) -> String {
    if Key::LearningRate.is(key) {
        "learning rate".into()
    } else {
        key.rsplit('.').next().unwrap_or(key).replace('_', " ")
    }
}

/// A value that stands alone.
pub fn value(key: &str, value: &AxisValue) -> String {
    match (Key::of(key), value.value.as_f64()) {
        (Some(Key::LearningRate), _) => format!("LR {}", value.text),
        (Some(Key::Warmup), Some(warmup)) if warmup < 1.0 => format!("{} % warmup", round(warmup * 100.0)),
        (Some(Key::Warmup), Some(_)) => format!("{} steps warmup", value.text),
        (Some(Key::Scheduler | Key::Augmentation | Key::Optimizer), _) => brief(key, value),
        (Some(Key::RowLimit), None) => value.label(key).to_owned(),
        _ => format!("{} {}", axis(key), brief(key, value)),
    }
}

/// All values of a configuration but that of the axis `except`.
pub fn config(config: &Config, except: Option<&str>) -> String {
    let others = config.values.iter().filter(|(key, _)| Some(key.as_str()) != except);
    let parts: Vec<String> = others.map(|(key, of)| value(key, of)).collect();
    parts.join(" · ")
}

/// A number without needless digits.
pub fn round(number: f64) -> String {
    let rounded = (number * 100.0).round() / 100.0;
    format!("{rounded}")
}

/// `0.307 ±0.008`, or the mean alone.
pub fn level(level: Level) -> String {
    match level.sd {
        Some(sd) => format!("{} ±{}", loss(level.mean), loss(sd)),
        None => loss(level.mean),
    }
}

/// A loss with three decimals; one that ran away in powers of ten.
pub fn loss(loss: f64) -> String {
    if loss.abs() < 100.0 { format!("{loss:.3}") } else { format!("{loss:.1e}") }
}

/// `1 seed`, `3 seeds`: a count and its noun.
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// Steps as `1 200`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(" ")
}

/// `144 configurations × 3 seeds`; trials that are not done yet are named.
pub fn size(sweep: &Sweep, study: &Study) -> String {
    let configs = count(study.configs.len(), "configuration");
    let seeds = if study.seeds == 1 { "one seed".to_owned() } else { format!("{} seeds", study.seeds) };
    let open = study.judgements.iter().filter(|j| **j == Judgement::Unfinished).count();
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

/// Everything that the numbers of a report rest on, for its end.
pub fn footer(sweep: &Sweep, study: &Study, provenance: &Provenance) -> Vec<String> {
    let smoothing = format!(
        "eval loss{} smoothed by a centred local-linear kernel, ±{} evaluations",
        interval(study),
        plateau::EVAL_HALF_WIDTH
    );
    [vec![size(sweep, study), seeds(sweep), delta(study), smoothing], provenance.parts()].concat()
}

/// Seconds as `12s`, `4m12s`, `1h04m`, `2 d 5 h`.
pub fn duration(seconds: f64) -> String {
    match parts(seconds) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, _) if h < DAY => format!("{h}h{m:02}m"),
        (h, ..) => days(h),
    }
}

/// Seconds as `6:12`, `1:04:10` or `2 d 5 h`.
pub fn clock(seconds: f64) -> String {
    match parts(seconds) {
        (0, m, s) => format!("{m}:{s:02}"),
        (h, m, s) if h < DAY => format!("{h}:{m:02}:{s:02}"),
        (h, ..) => days(h),
    }
}

/// Hours from which on nobody counts minutes.
const DAY: u64 = 24;

/// `2 d 5 h`.
fn days(hours: u64) -> String {
    format!("{} d {} h", hours / DAY, hours % DAY)
}

/// Hours, minutes and seconds; a part of a second counts as one.
fn parts(seconds: f64) -> (u64, u64, u64) {
    let seconds = seconds.max(0.0).ceil() as u64;
    (seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The tolerance and where it comes from.
pub fn delta(study: &Study) -> String {
    match study.seed_sd {
        Some(_) => format!("delta {:.3} = max(0.01, pooled seed sd)", study.delta),
        None if study.seeds > 1 => format!("delta {:.3} (no two seeds survived: noise unknown)", study.delta),
        None => format!("delta {:.3} (one seed: noise unknown)", study.delta),
    }
}

/// ` every 50 steps`: the evaluations.
pub fn interval(study: &Study) -> String {
    study.eval_interval.map_or_else(String::new, |steps| {
        format!(" every {}", if steps == 1 { "step".into() } else { format!("{steps} steps") })
    })
}

/// How many failed in which way: `10 stuck, 6 collapsed, 8 NaN`.
pub fn failures<'a>(configs: impl Iterator<Item = &'a Config>) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for name in configs.filter(|config| config.judgement.failed()).map(|config| config.judgement.kind()) {
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    parts.join(", ")
}
