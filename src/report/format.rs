//! Formats numbers, durations, values and the names of trials. Every part of the report uses these functions, so that
//! the same value reads the same in a figure, a table and a sentence.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::analysis::study::Level;
use crate::analysis::{Config, Run};
use crate::trial::{AxisValue, Key, number_text};

/// The short name of an axis for a column title: `LR`, `warmup`, `dropout` for `model.dropout`.
pub fn short_axis_name(key: &str) -> &str {
    match Key::of(key) {
        Some(Key::LearningRate) => "LR",
        Some(Key::WeightDecay) => "decay",
        Some(Key::Augmentation) => "augm.",
        Some(Key::BatchSize) => "batch",
        _ => key.rsplit('.').next().unwrap_or(key),
    }
}

/// A value for a place that already names its axis, such as a table column.
pub fn value_cell(key: &str, value: &AxisValue) -> String {
    match (Key::of(key), value.value.as_f64()) {
        (Some(Key::Warmup), Some(warmup)) if warmup < 1.0 => format!("{} %", rounded(warmup * 100.0)),
        _ => plain_value(key, value),
    }
}

/// A value without punctuation: `synonym rate 0.1` for `{name: synonym, rate: 0.1}`. A plain value stays as written.
fn plain_value(key: &str, value: &AxisValue) -> String {
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

/// The name of an axis for a sentence.
pub fn axis_name(key: &str) -> String {
    if Key::LearningRate.is(key) {
        "learning rate".into()
    } else {
        key.rsplit('.').next().unwrap_or(key).replace('_', " ")
    }
}

/// A value together with the name of its axis, for a place that names the axis nowhere else.
pub fn labelled_value(key: &str, value: &AxisValue) -> String {
    match (Key::of(key), value.value.as_f64()) {
        (Some(Key::LearningRate), _) => format!("LR {}", value.text),
        (Some(Key::Warmup), Some(warmup)) if warmup < 1.0 => format!("{} % warmup", rounded(warmup * 100.0)),
        (Some(Key::Warmup), Some(_)) => format!("{} steps warmup", value.text),
        (Some(Key::Scheduler | Key::Augmentation | Key::Optimizer), _) => plain_value(key, value),
        (Some(Key::RowLimit), None) => value.label(key).to_owned(),
        _ => format!("{} {}", short_axis_name(key), plain_value(key, value)),
    }
}

/// All values of a configuration, without the value of the axis `except`.
pub fn configuration(config: &Config, except: Option<&str>) -> String {
    let others = config.values.iter().filter(|(key, _)| Some(key.as_str()) != except);
    let parts: Vec<String> = others.map(|(key, of)| labelled_value(key, of)).collect();
    parts.join(" · ")
}

/// A number with at most two decimals.
pub fn rounded(number: f64) -> String {
    let rounded = (number * 100.0).round() / 100.0;
    format!("{rounded}")
}

/// Mean and standard deviation as `0.307 ±0.008`, or the mean alone.
pub fn mean_and_sd(level: Level) -> String {
    match level.sd {
        Some(sd) => format!("{} ±{}", loss(level.mean), loss(sd)),
        None => loss(level.mean),
    }
}

/// A loss with three decimals, or in scientific notation from 100 on.
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

/// Hours in a day. Longer durations are shown without minutes.
const DAY: u64 = 24;

/// `2 d 5 h`.
fn days(hours: u64) -> String {
    format!("{} d {} h", hours / DAY, hours % DAY)
}

/// Hours, minutes and seconds. A fraction of a second counts as a whole one.
fn parts(seconds: f64) -> (u64, u64, u64) {
    let seconds = seconds.max(0.0).ceil() as u64;
    (seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The name of a trial: its values, fold and seed last.
pub fn trial_name(run: &Run) -> String {
    let value = |(key, value): &(String, AxisValue)| match Key::of(key) {
        Some(Key::Seed) => format!("seed {}", value.text),
        Some(Key::Fold) => format!("fold {}", value.text),
        _ => labelled_value(key, value),
    };
    let parts: Vec<String> = run.trial.values.iter().map(value).collect();
    if parts.is_empty() { "the only trial".into() } else { parts.join(" · ") }
}

/// The name of a configuration: its values.
pub fn config_name(config: &Config) -> String {
    let values = config.values.iter().map(|(key, value)| labelled_value(key, value));
    values.collect::<Vec<_>>().join(" · ")
}

/// The complete configuration of a trial as dotted keys and values.
pub fn flat_configuration(run: &Run) -> BTreeMap<String, String> {
    fn add(into: &mut BTreeMap<String, String>, key: &str, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    add(into, &if key.is_empty() { name.clone() } else { format!("{key}.{name}") }, value);
                }
            }
            Value::String(text) => drop(into.insert(key.into(), text.clone())),
            other => drop(into.insert(key.into(), other.to_string())),
        }
    }
    let mut flat = BTreeMap::new();
    add(&mut flat, "", &serde_json::to_value(&run.trial.config).unwrap_or_default());
    flat
}
