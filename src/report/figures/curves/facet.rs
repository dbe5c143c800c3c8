//! What the panels of the figure share: which configurations a panel shows, and the curves that stand for one.

use crate::analysis::curve::{self, Point};
use crate::analysis::{Config, Run, Study, Sweep};
use crate::report::figures::frame::{HALF_WIDTH, MOST_FACETS};
use crate::report::figures::parameter::Parameter;
use crate::report::format;

/// Height of the learning-rate strip below a panel, px.
pub const STRIP: f64 = 26.0;

/// The configurations at one value of the axis: the content of one panel.
pub struct Facet<'a> {
    pub title: String,
    pub configs: Vec<&'a Config>,
}

impl<'a> Facet<'a> {
    /// The configuration in front: the best one. Without a successful configuration: a failed one with a curve, else
    /// any one with a curve.
    pub fn front(&self, sweep: &Sweep) -> Option<&'a Config> {
        let drawn = |config: &&&Config| config.runs.iter().any(|&run| !sweep.runs[run].metrics.is_empty());
        let best = self.configs.iter().find(|config| config.best.is_some());
        let failed = || self.configs.iter().filter(drawn).find(|config| config.shape.failed());
        best.or_else(failed).or_else(|| self.configs.iter().find(drawn)).copied()
    }
}

impl Facet<'_> {
    /// Whether the panel needs a second line above its frame, beside its value and its loss.
    pub fn needs_second_line(&self, key: Option<&str>) -> bool {
        let names = |config: &Config| config.best.is_none() || !format::configuration(config, key).is_empty();
        self.configs.first().is_some_and(|config| names(config)) || self.configs.iter().any(|c| c.shape.failed())
    }
}

/// What all panels share.
pub struct Panels<'a> {
    pub sweep: &'a Sweep,
    pub study: &'a Study,
    /// The axis with a panel for each value. None if a panel holds several values, so that its configuration names its own.
    pub key: Option<&'a str>,
    /// Lower and upper end of the loss scale, nats.
    pub y: (f64, f64),
    /// Last step of the x axis.
    pub end: u64,
    /// Whether any panel needs a second line above its frame.
    pub two_lines: bool,
}

/// The facets in the order of the axis, and the number of values that are left out for lack of space.
pub fn facets<'a>(sweep: &'a Sweep, study: &'a Study, key: Option<&str>) -> (Vec<Facet<'a>>, usize) {
    let Some(key) = key else {
        return (vec![Facet { title: sweep.name.clone(), configs: study.configs.iter().collect() }], 0);
    };
    let parameters = Parameter::of(sweep);
    if let Some(lead) = parameters.iter().find(|parameter| parameter.key == key && parameter.is_range()) {
        let at = |index: usize| study.configs.iter().filter(move |config| lead.place(config) == index).collect();
        let facet = |index: usize| Facet { title: lead.named_value(index), configs: at(index) };
        return ((0..lead.values.len()).map(facet).collect(), 0);
    }
    // Configurations come in order of rank. Those without a value for the axis share a facet.
    let mut found: Vec<(String, Facet<'a>)> = Vec::new();
    for config in &study.configs {
        let value = config.value(key);
        let name = value.map_or_else(String::new, |value| value.value.to_string());
        if let Some((_, facet)) = found.iter_mut().find(|(known, _)| *known == name) {
            facet.configs.push(config);
        } else {
            let title = value.map_or_else(
                || format!("no {}", format::short_axis_name(key)),
                |value| format::labelled_value(key, value),
            );
            found.push((name, Facet { title, configs: vec![config] }));
        }
    }
    let left_out = found.len().saturating_sub(MOST_FACETS);
    found.truncate(MOST_FACETS);
    let axis = sweep.axes.iter().find(|axis| axis.key == key);
    let order: Vec<String> = axis.iter().flat_map(|axis| &axis.values).map(|value| value.value.to_string()).collect();
    let place = |name: &str| order.iter().position(|known| known == name);
    let numbers = found.iter().all(|(name, _)| name.parse::<f64>().is_ok());
    found.sort_by(|(a, _), (b, _)| {
        let number = |name: &str| name.parse::<f64>().unwrap_or(f64::NAN);
        if numbers { number(a).total_cmp(&number(b)) } else { place(a).cmp(&place(b)) }
    });
    (found.into_iter().map(|(_, facet)| facet).collect(), left_out)
}

/// The runs whose curves stand for a configuration: the successful ones, or all if none was successful.
pub fn shown<'a>(sweep: &'a Sweep, config: &Config) -> Vec<&'a Run> {
    let runs = if config.survivors.is_empty() { &config.runs } else { &config.survivors };
    runs.iter().map(|&run| &sweep.runs[run]).collect()
}

/// The mean train loss of some runs, smoothed.
pub fn smooth_train(runs: &[&Run]) -> Vec<Point> {
    let raw: Vec<Vec<Point>> = runs.iter().map(|run| curve::train_loss(&run.metrics)).collect();
    let steps = runs.iter().map(|run| run.trial.steps).max().unwrap_or(0);
    let mean: Vec<Point> = curve::spread(&raw).iter().map(|point| Point { x: point.x, y: point.mean }).collect();
    curve::smooth(&mean, (HALF_WIDTH * steps as f64).round().max(2.0))
}
