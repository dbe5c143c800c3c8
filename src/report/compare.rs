//! Sweeps side by side: configurations that are the same but for what the sweeps differ in, and their losses in pairs.
//!
//! Two configurations match when they have the same value of every key that varies in any of the sweeps (the seed
//! apart). Differences are of best evaluation losses, seed by seed where both have a seed, and never of failed trials.

use std::collections::BTreeMap;

use serde_json::Value;

use super::axis::{self, Scale};
use super::columns::SIZE;
use super::font;
use super::scene::{Align, MARGIN, Mark, Scene, Text, WIDTH, ink};
use super::{ReportError, explore, render, words};
use crate::analysis::rank::{self, Level, SEED};
use crate::analysis::{Config, Study, Sweep};
use crate::trial::AxisValue;

/// Rows of the figure; the table on the terminal has all.
const MOST_ROWS: usize = 40;
/// Sweeps at a time: as many as there are colours.
pub const MOST_SWEEPS: usize = ink::CATEGORIES.len();

/// Sweeps and what they have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    pub names: Vec<String>,
    /// Keys that are fixed in every sweep but not to the same value, with the values of each.
    pub differ: Vec<(String, Vec<String>)>,
    /// Configurations that at least two sweeps have, in the first one's order.
    pub rows: Vec<Row>,
    /// Configurations of each sweep that no other has.
    pub alone: Vec<usize>,
}

/// A configuration that several sweeps have.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub name: String,
    /// Of each sweep: None if it lacks the configuration, and a level only where seeds survived.
    pub cells: Vec<Option<Cell>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    pub best: Option<Level>,
    pub verdict: String,
    /// Minus the first sweep's, seed by seed; None where no seed survived in both.
    pub difference: Option<Level>,
}

impl Comparison {
    /// Compares two sweeps or more; the first is what the others are held against.
    pub fn of(sweeps: &[Sweep]) -> Self {
        let studies: Vec<Study> = sweeps.iter().map(Study::of).collect();
        let mut keys: Vec<&str> = Vec::new();
        for axis in sweeps.iter().flat_map(rank::axes).filter(|axis| axis.values.len() > 1) {
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
        Self { names, differ: differ(sweeps, &keys), rows, alone }
    }

    /// The differences of sweep `index` to the first, one a configuration.
    pub fn differences(&self, index: usize) -> Vec<f64> {
        let cell = |row: &Row| row.cells.get(index)?.as_ref()?.difference.map(|difference| difference.mean);
        self.rows.iter().filter_map(cell).collect()
    }

    /// `b: 0.012 ± 0.004 lower than a on average over 12 configurations, lower in 9`, for every sweep but the first.
    pub fn summary(&self) -> Vec<String> {
        let first = self.names.first().map_or("", String::as_str);
        let line = |(index, name): (usize, &String)| {
            let differences = self.differences(index);
            let Some(level) = Level::of(&differences) else {
                return format!("{name}: no configuration in common with {first} that survived in both");
            };
            let error = level.sd.map_or_else(String::new, |sd| format!(" ± {:.3}", sd / (level.n as f64).sqrt()));
            let side = if level.mean < 0.0 { "lower" } else { "higher" };
            let lower = differences.iter().filter(|difference| **difference < 0.0).count();
            format!(
                "{name}: best eval loss {:.3}{error} {side} than {first} on average over {}, lower in {lower}",
                level.mean.abs(),
                words::count(level.n, "matched configuration"),
            )
        };
        self.names.iter().enumerate().skip(1).map(line).collect()
    }

    /// The comparison as a picture: name of the file without extension, PNG and SVG.
    pub fn draw(&self) -> Result<(String, Vec<u8>, String), ReportError> {
        let scene = self.scene();
        let svg = render::svg(&scene)?;
        let png = render::png(&scene, &svg, &format!("plateau compare {}", self.names.join(" ")))?;
        Ok((self.names.join("-vs-"), png, svg))
    }

    /// The figure.
    pub(super) fn scene(&self) -> Scene {
        const ROW: f64 = 22.0;
        let mut scene = Scene::new("compare", format!("Side by side: {}", self.names.join(", ")));
        let shown: Vec<&Row> = self.rows.iter().take(MOST_ROWS).collect();
        let top = scene.heading(&self.subtitle(shown.len())) + 22.0;
        let names = shown.iter().map(|row| font::width(&row.name, SIZE, false)).fold(60.0, f64::max).min(330.0);
        let plot = (MARGIN + names + 20.0, WIDTH - MARGIN - 130.0);
        let levels = || shown.iter().flat_map(|row| &row.cells).flatten().filter_map(|cell| cell.best);
        let ends =
            levels().flat_map(|level| [level.mean - level.sd.unwrap_or(0.0), level.mean + level.sd.unwrap_or(0.0)]);
        let (low, high) =
            ends.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let bottom = top + ROW * shown.len() as f64;
        let range = if low <= high { (low, high) } else { (0.0, 1.0) };
        let scale = Scale::new(range, (plot.0 + 6.0, plot.1 - 6.0));
        let (ticks, digits) = super::axis::ticks(range.0, range.1, 5);
        for value in ticks {
            let x = scale.at(value);
            scene.line(&[(x, top - 4.0), (x, bottom)], 1.0, ink::GRID);
            scene.text(Text::new(x, bottom + 16.0, axis::tick_text(value, digits)).align(Align::Middle));
        }
        scene.text(
            Text::new(f64::midpoint(plot.0, plot.1), bottom + 34.0, "best eval loss (nats)").align(Align::Middle),
        );
        if self.names.len() == 2 {
            scene.text(Text::new(WIDTH - MARGIN, top - 10.0, "difference").align(Align::Right));
        }
        for (index, row) in shown.iter().enumerate() {
            Self::draw_row(&mut scene, row, scale, top + ROW * (index as f64 + 0.5), (names, plot.1));
        }
        let mut entries = Vec::new();
        for (index, name) in self.names.iter().enumerate() {
            let space = 900.0 / self.names.len() as f64 - 40.0;
            entries.push((
                Mark::Disc(ink::CATEGORIES[index % MOST_SWEEPS].0),
                font::elide(&font::printable(name, false), SIZE, false, space),
            ));
        }
        let entries: Vec<(Mark, &str)> = entries.iter().map(|(mark, name)| (*mark, name.as_str())).collect();
        scene.legend(MARGIN, bottom + 60.0, &entries);
        scene.height = scene.lines(bottom + 82.0, &self.summary());
        scene
    }

    fn subtitle(&self, shown: usize) -> Vec<String> {
        let values = |(key, values): &(String, Vec<String>)| format!("{key}: {}", values.join(" | "));
        let mut parts = vec![
            format!("{} in more than one sweep", words::count(self.rows.len(), "configuration")),
            if shown < self.rows.len() { format!("the first {shown} drawn") } else { String::new() },
            "mean ± sd over the seeds that survived, lower is better".into(),
        ];
        parts.extend(self.differ.iter().take(8).map(values));
        let alone = self.names.iter().zip(&self.alone).filter(|(_, alone)| **alone > 0);
        parts.extend(alone.map(|(name, alone)| format!("{alone} only in {name}")));
        parts
    }

    fn draw_row(scene: &mut Scene, row: &Row, scale: Scale, y: f64, (names, right): (f64, f64)) {
        let name = font::elide(&font::printable(&row.name, false), SIZE, false, names);
        scene.text(Text::new(MARGIN, y + 4.0, name).ink(ink::TEXT));
        let means: Vec<f64> =
            row.cells.iter().flatten().filter_map(|cell| cell.best).map(|best| scale.at(best.mean)).collect();
        let (low, high) = means.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(*x), h.max(*x)));
        scene.line(&[(low, y), (high, y)], 1.4, ink::HATCH);
        for (index, cell) in row.cells.iter().enumerate() {
            let Some(best) = cell.as_ref().and_then(|cell| cell.best) else { continue };
            let ink = ink::CATEGORIES[index % MOST_SWEEPS].0;
            if let Some(sd) = best.sd {
                scene.line(&[(scale.at(best.mean - sd), y), (scale.at(best.mean + sd), y)], 1.6, ink.alpha(0.5));
            }
            scene.disc((scale.at(best.mean), y), 4.0, ink);
        }
        let [first, second] = &row.cells[..] else { return };
        let text = match second.as_ref().and_then(|cell| cell.difference) {
            Some(level) => signed(level),
            None => [first, second]
                .iter()
                .filter_map(|cell| cell.as_ref())
                .find(|cell| cell.best.is_none())
                .map_or_else(String::new, |cell| cell.verdict.clone()),
        };
        let text = font::elide(&font::printable(&text, false), SIZE, false, WIDTH - MARGIN - right - 4.0);
        scene.text(Text::new(WIDTH - MARGIN, y + 4.0, text).align(Align::Right).ink(ink::TEXT));
    }
}

/// `-0.012 ±0.003`.
pub fn signed(level: Level) -> String {
    let sd = level.sd.map_or_else(String::new, |sd| format!(" ±{}", words::loss(sd)));
    format!("{}{}{sd}", if level.mean < 0.0 { "-" } else { "+" }, words::loss(level.mean.abs()))
}

/// The values of `keys` in a configuration, whether they vary in its sweep or not.
fn point(sweep: &Sweep, config: &Config, keys: &[&str]) -> Vec<Value> {
    let resolved = config.runs.first().and_then(|&run| serde_json::to_value(&sweep.runs[run].trial.config).ok());
    let value = |key: &&str| {
        let found = resolved.as_ref().and_then(|value| value.pointer(&format!("/{}", key.replace('.', "/"))));
        found.cloned().or_else(|| config.value(key).map(|value| value.value.clone())).unwrap_or(Value::Null)
    };
    keys.iter().map(value).collect()
}

fn row(sweeps: &[Sweep], studies: &[Study], keys: &[&str], point: &[Value], configs: &[Option<&Config>]) -> Row {
    // As somebody wrote it, where somebody did.
    let written = |key: &str| configs.iter().flatten().find_map(|config| config.value(key));
    let value = |(key, value): (&&str, &Value)| match written(key) {
        Some(value) => words::value(key, value),
        None => words::value(key, &AxisValue { value: value.clone(), text: plain(value) }),
    };
    let name: Vec<String> = keys.iter().zip(point).map(value).collect();
    let name = if name.is_empty() { "the configuration".to_owned() } else { name.join(" · ") };
    let cell = |index: usize| {
        let config = configs[index]?;
        let difference = configs[0]
            .filter(|_| index > 0)
            .and_then(|first| difference((&sweeps[0], first), (&sweeps[index], config)));
        Some(Cell { best: config.best, verdict: config.label(&studies[index].judgements), difference })
    };
    Row { name, cells: (0..configs.len()).map(cell).collect() }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The second minus the first, over the seeds that survived in both; of the means where they share none.
fn difference(first: (&Sweep, &Config), second: (&Sweep, &Config)) -> Option<Level> {
    let bests = |(sweep, config): (&Sweep, &Config)| -> BTreeMap<u64, f64> {
        let runs = config.survivors.iter().map(|&run| &sweep.runs[run]);
        runs.filter_map(|run| Some((run.trial.config.seed, rank::best_eval(run)?.1))).collect()
    };
    let (a, b) = (bests(first), bests(second));
    let paired: Vec<f64> = b.iter().filter_map(|(seed, loss)| Some(loss - a.get(seed)?)).collect();
    let unpaired = || Some(Level { mean: second.1.best?.mean - first.1.best?.mean, sd: None, n: 1 });
    Level::of(&paired).or_else(unpaired)
}

/// Keys that no sweep varies, and that are not the same in all.
fn differ(sweeps: &[Sweep], keys: &[&str]) -> Vec<(String, Vec<String>)> {
    let flat: Vec<BTreeMap<String, String>> =
        sweeps.iter().filter_map(|sweep| sweep.runs.first()).map(explore::flatten).collect();
    let varies =
        |key: &str| key == SEED || keys.iter().any(|known| key == *known || key.starts_with(&format!("{known}.")));
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
        // The same curves, a little lower, in the second.
        for (index, run) in one.runs.iter().enumerate() {
            two.runs[index].evals = run.evals.clone();
            two.runs[index].evals.iter_mut().for_each(|row| row.eval_loss -= 0.02);
        }
        [one, two]
    }

    #[test]
    fn what_matches_is_paired_by_seed() {
        let comparison = Comparison::of(&pair());
        assert_eq!(comparison.differ, [("batch_size".to_owned(), vec!["32".to_owned(), "16".to_owned()])]);
        assert_eq!((comparison.rows.len(), comparison.alone.as_slice()), (2, &[0, 1][..]));
        let level = comparison.rows[0].cells[1].as_ref().unwrap().difference.unwrap();
        assert!((level.mean + 0.02).abs() < 1e-5 && level.sd.unwrap() < 1e-5 && level.n == 3, "{level:?}");
        insta::assert_snapshot!(comparison.summary()[0], @"two: best eval loss 0.020 ± 0.000 lower than one on average over 2 matched configurations, lower in 2");
    }

    #[test]
    fn failed_seeds_are_in_no_pair_and_everything_is_drawn() {
        let mut sweeps = pair();
        sweeps[1].runs[0].status = Status::Failed;
        let comparison = Comparison::of(&sweeps);
        let row = comparison.rows.iter().find(|row| row.name == "LR 1e-5").unwrap();
        assert_eq!(row.cells[1].as_ref().unwrap().difference.unwrap().n, 2);
        let empty = [synthetic::all_failed(sweeps[0].clone()), synthetic::all_failed(sweeps[1].clone())];
        for sweeps in [&sweeps[..], &empty[..]] {
            let scene = Comparison::of(sweeps).scene();
            for text in scene.texts() {
                let [left, top, right, bottom] = text.bounds();
                assert!(left >= 0.0 && top >= 0.0 && right <= scene.width && bottom <= scene.height, "{text:?}");
            }
            assert!(Comparison::of(sweeps).draw().unwrap().1.starts_with(b"\x89PNG"));
        }
    }
}
