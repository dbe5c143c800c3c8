//! The data for the script of the page: the reduced curves of every trial, and its configuration.
//!
//! A reduced curve keeps the lowest and the highest value in every column of a chart, so that every peak stays visible.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::analysis::search::Search;
use crate::analysis::{Run, Shape, Study, Sweep};
use crate::report::Provenance;
use crate::report::canvas::axis;
use crate::report::canvas::font;
use crate::report::figures::key_axis::KeyAxis;
use crate::report::figures::parameter::Parameter;
use crate::report::format;
use crate::trial::TrialId;

/// Columns of a chart, over all trials together. This bounds the size of the page.
const COLUMNS: usize = 24_000;
const MOST_COLUMNS: usize = 160;
const FEWEST_COLUMNS: usize = 24;
/// Columns of a learning-rate curve.
const RATE_COLUMNS: usize = 40;

/// Steps and values; None (null) for a non-finite value.
type Curve = (Vec<u64>, Vec<Option<f64>>);

#[derive(Debug, Serialize)]
pub struct Data {
    steps: u64,
    chance: Option<f64>,
    /// The unit of the loss.
    unit: &'static str,
    /// The settings that all trials share.
    base: BTreeMap<String, String>,
    configs: Vec<ConfigData>,
    columns: Vec<Column>,
    /// The different learning-rate curves of the trials.
    rates: Vec<Curve>,
    trials: Vec<TrialData>,
}

#[derive(Debug, Serialize)]
struct ConfigData {
    name: String,
    failed: bool,
    /// Its position on each column, 0 to 1.
    at: Vec<Option<f64>>,
}

/// An axis of the parallel coordinates.
#[derive(Debug, Serialize)]
struct Column {
    name: String,
    ticks: Vec<(f64, String)>,
}

#[derive(Debug, Serialize)]
struct TrialData {
    id: TrialId,
    /// Index of its configuration.
    config: usize,
    failed: bool,
    /// The settings that it does not share with all other trials.
    own: BTreeMap<String, String>,
    clip: f64,
    verdicts: Vec<String>,
    error: Option<String>,
    log: Vec<String>,
    /// Train loss, eval loss, gradient norm, and the index of its learning-rate curve.
    t: Curve,
    e: Curve,
    g: Curve,
    l: usize,
}

impl Data {
    pub fn of(sweep: &Sweep, study: &Study, provenance: &Provenance) -> Self {
        let mut settings = sweep.runs.iter().map(format::flat_configuration);
        let mut base = settings.next().unwrap_or_default();
        settings.for_each(|other| base.retain(|key, value| other.get(key) == Some(value)));
        let columns = (COLUMNS / sweep.runs.len().max(1)).clamp(FEWEST_COLUMNS, MOST_COLUMNS);
        let mut config_of = vec![0; sweep.runs.len()];
        for (index, config) in study.configs.iter().enumerate() {
            config.runs.iter().for_each(|&run| config_of[run] = index);
        }
        let mut rates = Rates::default();
        let trial = |(index, run): (usize, &Run)| {
            let reduced = |points: Vec<(f64, f64)>, columns| reduce(&points, study.steps, columns);
            let metric = |of: fn(&crate::trial::MetricRow) -> f64| {
                run.metrics.iter().map(|row| (row.step as f64, of(row))).collect::<Vec<_>>()
            };
            TrialData {
                id: run.trial.id.clone(),
                config: config_of[index],
                failed: study.shapes[index].failed(),
                own: own_settings(run, &base),
                clip: run.trial.config.max_grad_norm,
                verdicts: verdicts(run, study.shapes[index]),
                error: run.error.clone(),
                log: provenance.logs.get(&run.trial.id).cloned().unwrap_or_default(),
                t: reduced(metric(|row| f64::from(row.train_loss)), columns),
                e: reduced(run.evals.iter().map(|row| (row.step as f64, f64::from(row.eval_loss))).collect(), columns),
                g: reduced(metric(|row| f64::from(row.grad_norm)), columns / 2),
                l: rates.index_of(reduced(metric(|row| row.lr), RATE_COLUMNS.min(columns))),
            }
        };
        let trials = sweep.runs.iter().enumerate().map(trial).collect();
        let (columns, places) = parallel(sweep, study);
        let config = |(config, at): (&crate::analysis::Config, Vec<Option<f64>>)| ConfigData {
            name: format::configuration(config, None),
            failed: config.shape.failed(),
            at,
        };
        let configs = study.configs.iter().zip(places).map(config).collect();
        let (chance, unit) = (study.chance.and_then(short), study.task.loss_unit());
        Self { steps: study.steps, chance, unit, base, configs, columns, rates: rates.curves, trials }
    }

    /// As JSON that is safe inside a script element: it contains no tag.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string(self)?.replace('<', "\\u003c").replace('\u{2028}', "\\u2028"))
    }
}

/// The settings of a trial that are not in `base`.
fn own_settings(run: &Run, base: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut own = format::flat_configuration(run);
    own.retain(|key, _| !base.contains_key(key));
    own
}

/// Different learning-rate curves.
#[derive(Debug, Default)]
struct Rates {
    curves: Vec<Curve>,
    /// The index of each curve, by its steps and the bits of its values: every trial may have its own.
    index: HashMap<(Vec<u64>, Vec<Option<u64>>), usize>,
}

impl Rates {
    /// The index of `curve`. A new curve is added.
    fn index_of(&mut self, curve: Curve) -> usize {
        let bits = curve.1.iter().map(|value| value.map(f64::to_bits)).collect();
        *self.index.entry((curve.0.clone(), bits)).or_insert_with(|| {
            self.curves.push(curve);
            self.curves.len() - 1
        })
    }
}

/// The texts of the verdicts, or the label of the shape.
fn verdicts(run: &Run, shape: Shape) -> Vec<String> {
    let texts = run.outcome.iter().flat_map(|outcome| &outcome.verdicts);
    let texts: Vec<String> = texts.map(|verdict| verdict.text.clone()).collect();
    if texts.is_empty() { vec![shape.label()] } else { texts }
}

/// Four significant digits; None for a non-finite value.
fn short(value: f64) -> Option<f64> {
    value.is_finite().then(|| format!("{value:.3e}").parse().unwrap_or(value))
}

/// Reduces a curve to the lowest and the highest value of each of `columns` columns over `steps`.
fn reduce(points: &[(f64, f64)], steps: u64, columns: usize) -> Curve {
    let unit = columns as f64 / steps.max(1) as f64;
    let placed: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x * unit, *y)).collect();
    axis::reduce(&placed).into_iter().map(|(x, y)| ((x / unit).round() as u64, short(y))).unzip()
}

/// The columns of the parallel coordinates (parameters, plateau onset, best score), and the position of every configuration
/// on each.
fn parallel(sweep: &Sweep, study: &Study) -> (Vec<Column>, Vec<Vec<Option<f64>>>) {
    const MOST: usize = 8;
    let mut columns = Vec::new();
    let mut places: Vec<Vec<Option<f64>>> = vec![Vec::new(); study.configs.len()];
    let search = Search::of(sweep, study);
    for axis in search.iter().flat_map(|search| KeyAxis::all(search.history)).take(MOST) {
        let mut at: Vec<Option<f64>> = vec![None; study.configs.len()];
        for tried in search.iter().flat_map(|search| &search.tried) {
            at[tried.rank] = tried.draw.point.as_ref().and_then(|point| axis.share(point));
        }
        places.iter_mut().zip(at).for_each(|(place, share)| place.push(share));
        columns.push(Column { name: font::elide(&axis.short, 12.0, false, 110.0), ticks: axis.ticks });
    }
    let drawn = |parameter: &&Parameter| sweep.axes.iter().any(|axis| axis.drawn && axis.key == parameter.key);
    let parameters = Parameter::of(sweep);
    let parameters = parameters.iter().filter(|parameter| search.is_none() || !drawn(parameter));
    for parameter in parameters.take(MOST.saturating_sub(columns.len())) {
        let shares = parameter.shares();
        let (labels, _) = parameter.labels(110.0);
        let name = font::elide(format::short_axis_name(&parameter.key), 12.0, false, 110.0);
        columns.push(Column { name, ticks: shares.iter().copied().zip(labels).collect() });
        for (config, place) in study.configs.iter().zip(&mut places) {
            place.push(shares.get(parameter.place(config)).copied());
        }
    }
    let onset = study.configs.iter().map(|config| config.shape.plateau().map(|step| step as f64)).collect();
    let level = study.configs.iter().map(|config| config.score.map(|score| score.mean)).collect();
    let score = if study.metric.is_loss() { "best loss".to_owned() } else { format!("best {}", study.metric.title()) };
    for (name, values) in [("plateau at".to_owned(), onset), (score, level)] {
        let values: Vec<Option<f64>> = values;
        let finite = || values.iter().flatten().copied().filter(|value| value.is_finite());
        let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let span = if high > low { high - low } else { 1.0 };
        let ticks = axis::ticks(low, high, 4).0.into_iter();
        let ticks = ticks.map(|v| ((v - low) / span, short(v).map_or_else(String::new, |v| v.to_string()))).collect();
        columns.push(Column { name, ticks });
        for (place, value) in places.iter_mut().zip(&values) {
            place.push(value.filter(|value| value.is_finite()).map(|value| (value - low) / span));
        }
    }
    (columns, places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic;

    #[test]
    fn nothing_in_the_data_ends_its_script() {
        let axes = [synthetic::axis("lr", &["1e-5"]), synthetic::axis("x", &["</script><script>alert(1)</script>"])];
        let sweep = synthetic::sweep("s", &axes, 40);
        let json = Data::of(&sweep, &Study::of(&sweep), &Provenance::default()).json().unwrap();
        assert!(!json.contains('<'));
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
    }

    #[test]
    fn curves_keep_their_peaks_and_their_gaps() {
        let mut points: Vec<(f64, f64)> = (1..=1000).map(|x| (f64::from(x), 1.0)).collect();
        points[500].1 = 9.0;
        points[700].1 = f64::NAN;
        let (x, y) = reduce(&points, 1000, 50);
        assert!(y.contains(&Some(9.0)) && y.contains(&None) && x.len() < 150, "{}", x.len());
        assert_eq!(x[y.iter().position(|y| *y == Some(9.0)).unwrap()], 501);
    }

    #[test]
    fn shared_settings_are_stored_once() {
        let seeds = [synthetic::axis("lr", &["1e-5", "3e-5"]), synthetic::axis("seed", &["1", "2", "3"])];
        let seeds = synthetic::sweep("s", &seeds, 40);
        let data = Data::of(&seeds, &Study::of(&seeds), &Provenance::default());
        assert_eq!(data.trials.iter().map(|trial| trial.l).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1]);
        assert_eq!(data.rates.len(), 2);
        let sweep = synthetic::default_sweep();
        let data = Data::of(&sweep, &Study::of(&sweep), &Provenance::default());
        assert_eq!(data.base.get("batch_size").map(String::as_str), Some("32"));
        assert_eq!(data.trials[0].own.keys().collect::<Vec<_>>(), ["lr", "warmup"]);
    }
}
