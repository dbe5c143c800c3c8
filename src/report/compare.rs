//! Compares sweeps: matches their configurations, and computes paired differences of the best eval loss.
//!
//! Two configurations match if they have the same value for every key that varies in any of the sweeps, except the seed.
//! Differences are taken seed by seed if both have the seed. Failed trials never enter a difference.

use std::collections::BTreeMap;

use serde_json::Value;

use super::canvas::scene::palette;
use super::format;
use crate::analysis::groups;
use crate::analysis::study::Level;
use crate::analysis::{Config, Study, Sweep};
use crate::trial::{AxisValue, Key};

/// The most sweeps of one comparison: one for each colour.
pub const MOST_SWEEPS: usize = palette::CATEGORIES.len();

/// The configurations that several sweeps share.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    pub names: Vec<String>,
    /// The unit of the loss.
    pub unit: &'static str,
    /// Keys that are fixed within every sweep but differ between them, with the value of each sweep.
    pub differ: Vec<(String, Vec<String>)>,
    /// Configurations that at least two sweeps have, in the order of the first sweep.
    pub rows: Vec<Row>,
    /// For each sweep: the number of configurations that no other sweep has.
    pub alone: Vec<usize>,
}

/// A configuration that several sweeps have.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub name: String,
    /// One for each sweep; None if the sweep does not have the configuration.
    pub cells: Vec<Option<Cell>>,
}

#[derive(Debug, Clone, PartialEq)]
/// The result of one configuration in one sweep.
pub struct Cell {
    /// Best eval loss; None if no seed was successful.
    pub best: Option<Level>,
    pub verdict: String,
    /// The difference to the first sweep, paired by seed; None if no seed was successful in both.
    pub difference: Option<Level>,
}

impl Comparison {
    /// Compares two or more sweeps. The first is the reference.
    pub fn of(sweeps: &[Sweep]) -> Self {
        let studies: Vec<Study> = sweeps.iter().map(Study::of).collect();
        let mut keys: Vec<&str> = Vec::new();
        for axis in sweeps.iter().flat_map(groups::axes).filter(|axis| axis.values.len() > 1) {
            if !keys.contains(&axis.key.as_str()) {
                keys.push(&axis.key);
            }
        }
        let mut found: Vec<(Vec<Value>, Vec<Option<&Config>>)> = Vec::new();
        for (index, (sweep, study)) in sweeps.iter().zip(&studies).enumerate() {
            for config in &study.configs {
                let point = point(sweep, config, &keys);
                let at = found.iter().position(|(known, _)| *known == point).unwrap_or(found.len());
                if at == found.len() {
                    found.push((point, vec![None; sweeps.len()]));
                }
                found[at].1[index].get_or_insert(config);
            }
        }
        let mut alone = vec![0; sweeps.len()];
        let mut rows = Vec::new();
        for (point, configs) in &found {
            if configs.iter().flatten().count() < 2 {
                let only = configs.iter().position(Option::is_some).unwrap_or(0);
                alone[only] += 1;
                continue;
            }
            rows.push(row(sweeps, &studies, &keys, point, configs));
        }
        let names = sweeps.iter().map(|sweep| sweep.name.clone()).collect();
        let unit = studies.first().map_or("", |study| study.task.loss_unit());
        Self { names, unit, differ: differ(sweeps, &keys), rows, alone }
    }

    /// The differences of sweep `index` to the first one, one for each configuration.
    pub fn differences(&self, index: usize) -> Vec<f64> {
        let cell = |row: &Row| row.cells.get(index)?.as_ref()?.difference.map(|difference| difference.mean);
        self.rows.iter().filter_map(cell).collect()
    }

    /// For every sweep but the first: `b: best eval loss 0.012 ± 0.004 lower than a on average over 12 matched
    /// configurations, lower in 9`. The number after `±` is the standard error.
    pub fn summary(&self) -> Vec<String> {
        let first = self.names.first().map_or("", String::as_str);
        let line = |(index, name): (usize, &String)| {
            let differences = self.differences(index);
            let Some(level) = Level::of(&differences) else {
                return format!("{name}: no configuration was successful in both {name} and {first}");
            };
            let error = level.sd.map_or_else(String::new, |sd| format!(" ± {:.3}", sd / (level.n as f64).sqrt()));
            let side = if level.mean < 0.0 { "lower" } else { "higher" };
            let lower = differences.iter().filter(|difference| **difference < 0.0).count();
            format!(
                "{name}: best eval loss {:.3}{error} {side} than {first} on average over {}, lower in {lower}",
                level.mean.abs(),
                format::count(level.n, "matched configuration"),
            )
        };
        self.names.iter().enumerate().skip(1).map(line).collect()
    }
}

/// `-0.012 ±0.003`.
pub fn signed(level: Level) -> String {
    let sd = level.sd.map_or_else(String::new, |sd| format!(" ±{}", format::loss(sd)));
    format!("{}{}{sd}", if level.mean < 0.0 { "-" } else { "+" }, format::loss(level.mean.abs()))
}

/// The values of `keys` in a configuration, even of those that its own sweep does not vary.
fn point(sweep: &Sweep, config: &Config, keys: &[&str]) -> Vec<Value> {
    let resolved = config.runs.first().and_then(|&run| serde_json::to_value(&sweep.runs[run].trial.config).ok());
    let value = |key: &&str| {
        let found = resolved.as_ref().and_then(|value| value.pointer(&format!("/{}", key.replace('.', "/"))));
        found.cloned().or_else(|| config.value(key).map(|value| value.value.clone())).unwrap_or(Value::Null)
    };
    keys.iter().map(value).collect()
}

fn row(sweeps: &[Sweep], studies: &[Study], keys: &[&str], point: &[Value], configs: &[Option<&Config>]) -> Row {
    // As the user wrote the value, if some sweep file holds it.
    let written = |key: &str| configs.iter().flatten().find_map(|config| config.value(key));
    let value = |(key, value): (&&str, &Value)| match written(key) {
        Some(value) => format::labelled_value(key, value),
        None => format::labelled_value(key, &AxisValue { value: value.clone(), text: plain(value) }),
    };
    let name: Vec<String> = keys.iter().zip(point).map(value).collect();
    let name = if name.is_empty() { "the configuration".to_owned() } else { name.join(" · ") };
    let cell = |index: usize| {
        let config = configs[index]?;
        let difference = configs[0]
            .filter(|_| index > 0)
            .and_then(|first| difference((&sweeps[0], first), (&sweeps[index], config)));
        Some(Cell { best: config.best, verdict: config.label(&studies[index].shapes), difference })
    };
    Row { name, cells: (0..configs.len()).map(cell).collect() }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The second minus the first, over the seeds that were successful in both. Without a common seed: of the means.
fn difference(first: (&Sweep, &Config), second: (&Sweep, &Config)) -> Option<Level> {
    let bests = |(sweep, config): (&Sweep, &Config)| -> BTreeMap<_, f64> {
        let runs = config.survivors.iter().map(|&run| &sweep.runs[run]);
        runs.filter_map(|run| Some((run.trial.repetition(), run.best_eval()?.1))).collect()
    };
    let (a, b) = (bests(first), bests(second));
    let paired: Vec<f64> = b.iter().filter_map(|(seed, loss)| Some(loss - a.get(seed)?)).collect();
    let unpaired = || Some(Level { mean: second.1.best?.mean - first.1.best?.mean, sd: None, n: 1 });
    Level::of(&paired).or_else(unpaired)
}

/// Keys that no sweep varies, and whose values differ between sweeps.
fn differ(sweeps: &[Sweep], keys: &[&str]) -> Vec<(String, Vec<String>)> {
    let flat: Vec<BTreeMap<String, String>> =
        sweeps.iter().filter_map(|sweep| sweep.runs.first()).map(format::flat_configuration).collect();
    let varies = |key: &str| {
        Key::is_repetition(key) || keys.iter().any(|known| key == *known || key.starts_with(&format!("{known}.")))
    };
    let all: std::collections::BTreeSet<&String> =
        flat.iter().flat_map(BTreeMap::keys).filter(|key| !varies(key)).collect();
    let values =
        |key: &String| flat.iter().map(|flat| flat.get(key).cloned().unwrap_or_else(|| "–".into())).collect::<Vec<_>>();
    let different = |(_, values): &(String, Vec<String>)| values.windows(2).any(|pair| pair[0] != pair[1]);
    all.into_iter().map(|key| (key.clone(), values(key))).filter(different).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic::{self, axis};
    use crate::trial::Status;

    fn pair() -> [Sweep; 2] {
        let seeds = axis("seed", &["1", "2", "3"]);
        let one = synthetic::sweep("one", &[axis("lr", &["1e-5", "3e-5"]), seeds.clone()], 120);
        let mut two = synthetic::sweep("two", &[axis("lr", &["1e-5", "3e-5", "5e-5"]), seeds], 120);
        for run in &mut two.runs {
            run.trial.config.batch_size = 16;
        }
        // The second sweep has the same curves, shifted down by 0.02.
        for (index, run) in one.runs.iter().enumerate() {
            two.runs[index].evals = run.evals.clone();
            two.runs[index].evals.iter_mut().for_each(|row| row.eval_loss -= 0.02);
        }
        [one, two]
    }

    #[test]
    fn matching_configurations_are_paired_by_seed() {
        let comparison = Comparison::of(&pair());
        assert_eq!(comparison.differ, [("batch_size".to_owned(), vec!["32".to_owned(), "16".to_owned()])]);
        assert_eq!((comparison.rows.len(), comparison.alone.as_slice()), (2, &[0, 1][..]));
        let level = comparison.rows[0].cells[1].as_ref().unwrap().difference.unwrap();
        assert!((level.mean + 0.02).abs() < 1e-5 && level.sd.unwrap() < 1e-5 && level.n == 3, "{level:?}");
        insta::assert_snapshot!(comparison.summary()[0], @"two: best eval loss 0.020 ± 0.000 lower than one on average over 2 matched configurations, lower in 2");
    }

    #[test]
    fn failed_seeds_enter_no_pair() {
        let mut sweeps = pair();
        sweeps[1].runs[0].status = Status::Failed;
        let comparison = Comparison::of(&sweeps);
        let row = comparison.rows.iter().find(|row| row.name == "LR 1e-5").unwrap();
        assert_eq!(row.cells[1].as_ref().unwrap().difference.unwrap().n, 2);
    }
}
