//! Figure `gradients`: the gradient norm before clipping, and the limit above which gradients were clipped.

use super::frame::{self, Frame, GUTTER, HALF_WIDTH, LEFT, MOST_FACETS, PanelRow};
use super::parameter::Parameter;
use crate::analysis::curve::{self, Point};
use crate::analysis::{Config, Run, Study, Sweep};
use crate::report::canvas::axis;
use crate::report::canvas::font;
use crate::report::canvas::scene::{Align, MARGIN, Mark, Scene, Text, WIDTH, palette};
use crate::report::{captions, format};
use crate::trial::{number_text, rounded_text};

/// Columns of the grey band over all steps.
const BINS: usize = 60;

/// The configurations at one value of the first parameter.
struct Facet<'a> {
    title: String,
    /// The best configuration with a measurement.
    front: Option<&'a Config>,
    configs: Vec<&'a Config>,
}

/// The figure, or why there is none.
pub fn gradients(sweep: &Sweep, study: &Study) -> Result<Scene, String> {
    let range = range(sweep).ok_or("Gradient norm: none has been measured yet.")?;
    let parameters = Parameter::of(sweep);
    let facets = facets(sweep, study, parameters.first());
    let title = match parameters.first() {
        Some(lead) if lead.is_range() => {
            format!("Gradient norm before clipping, in each quarter of {}", format::axis_name(&lead.key))
        }
        Some(lead) => format!("Gradient norm before clipping, at each {}", format::axis_name(&lead.key)),
        None => "Gradient norm before clipping".into(),
    };
    let mut scene = Scene::new("gradients", title);
    let left_out = facets.len().saturating_sub(MOST_FACETS);
    let mut captions = subtitle(sweep, study, left_out);
    captions.extend(above(sweep, range.1));
    let mut top = scene.heading(&captions) + 8.0;
    let end = frame::end(sweep, study);
    let shown = facets.len().min(MOST_FACETS);
    let columns = if shown < 4 { shown.max(1) } else { shown.div_ceil(shown.div_ceil(4)) };
    let panel_row = PanelRow::new(LEFT, GUTTER, columns);
    let height = if columns == 1 { 220.0 } else { 150.0 };
    for row in facets[..shown].chunks(columns) {
        for (column, facet) in row.iter().enumerate() {
            let (left, right) = panel_row.place(column);
            let frame = Frame::new([left, top + 36.0, right, top + 36.0 + height], end, range);
            panel(&mut scene, sweep, facet, &frame, column == 0, parameters.first());
        }
        top += 36.0 + height + 38.0;
    }
    scene.text(Text::new(f64::midpoint(LEFT, WIDTH - MARGIN), top - 2.0, "optimizer step").align(Align::Middle));
    let others = facets.iter().any(|facet| facet.configs.len() > 1);
    let mut entries = vec![(Mark::Line(palette::TRAIN), "the best configuration of the panel")];
    if others {
        entries.push((Mark::Swatch(palette::CONTEXT.alpha(0.25)), "5 % to 95 % quantile of all others"));
    }
    if sweep.runs.iter().any(|run| run.trial.config.max_grad_norm > 0.0) {
        entries.push((Mark::Dashes, "clipping limit (max_grad_norm)"));
    }
    scene.legend(MARGIN, top + 22.0, &entries);
    scene.height = top + 36.0;
    Ok(scene)
}

fn subtitle(sweep: &Sweep, study: &Study, left_out: usize) -> Vec<String> {
    let window = (HALF_WIDTH * study.steps as f64).max(2.0).round();
    vec![
        captions::sweep_size(sweep, study),
        "faint: each step".into(),
        format!("bold: logarithm smoothed by local linear regression over ±{window} steps"),
        "all panels have the same log scale".into(),
        "if the norm grows before a loss diverges, try a longer warm-up or a lower learning rate".into(),
        if left_out > 0 {
            format!("the first {MOST_FACETS} of {} values", left_out + MOST_FACETS)
        } else {
            String::new()
        },
    ]
}

/// A note about the norms above the scale.
fn above(sweep: &Sweep, high: f64) -> Option<String> {
    let logs = sweep.runs.iter().flat_map(logs).map(|point| point.y);
    let (count, greatest) = logs
        .filter(|y| y.is_finite() && *y > high)
        .fold((0, high), |(count, greatest): (usize, f64), y| (count + 1, greatest.max(y)));
    let greatest = rounded_text(10_f64.powf(greatest), 2);
    (count > 0).then(|| format!("{} above the scale, at most {greatest}", format::count(count, "norm")))
}

/// The scale, as base-10 logarithms: it holds nearly all norms and every clipping limit.
fn range(sweep: &Sweep) -> Option<(f64, f64)> {
    let clips = sweep.runs.iter().map(|run| run.trial.config.max_grad_norm.log10());
    let mut norms: Vec<f64> = sweep.runs.iter().flat_map(logs).map(|point| point.y).filter(|y| y.is_finite()).collect();
    if norms.is_empty() {
        return None;
    }
    norms.sort_by(f64::total_cmp);
    let at = |share: f64| norms[((norms.len() - 1) as f64 * share) as usize];
    let (low, high) = clips
        .filter(|clip| clip.is_finite())
        .fold((at(0.002), at(0.998)), |(low, high), clip| (low.min(clip), high.max(clip)));
    let margin = 0.06 * (high - low).max(0.5);
    Some((low - margin, high + margin))
}

/// The base-10 logarithms of the norms of a run; not finite for a norm of zero.
fn logs(run: &Run) -> Vec<Point> {
    run.metrics.iter().map(|row| Point { x: row.step as f64, y: f64::from(row.grad_norm).log10() }).collect()
}

fn facets<'a>(sweep: &Sweep, study: &'a Study, lead: Option<&Parameter>) -> Vec<Facet<'a>> {
    let measured = |config: &&&Config| config.runs.iter().any(|&run| !sweep.runs[run].metrics.is_empty());
    let facet = |title: String, configs: Vec<&'a Config>| {
        let front = configs.iter().find(measured).copied();
        Facet { title, front, configs }
    };
    let Some(lead) = lead else { return vec![facet(sweep.name.clone(), study.configs.iter().collect())] };
    let at = |index: usize| study.configs.iter().filter(|config| lead.place(config) == index).collect();
    (0..lead.values.len()).map(|index| facet(lead.named_value(index), at(index))).collect()
}

fn panel(scene: &mut Scene, sweep: &Sweep, facet: &Facet<'_>, frame: &Frame, first: bool, lead: Option<&Parameter>) {
    let width = frame.right - frame.left;
    let runs: Vec<&Run> = facet.front.iter().flat_map(|front| &front.runs).map(|&run| &sweep.runs[run]).collect();
    let title = font::printable(&facet.title, true);
    let share = clipped(&runs).map(|share| format::rounded((share * 1000.0).round() / 10.0));
    let written = |what: &str| share.as_ref().map_or_else(String::new, |share| format!("{share} % {what}"));
    let right = |text: String| Text::new(frame.right, frame.top - 22.0, text).align(Align::Right);
    let space = |share: &Text| width - share.width() - 8.0;
    let long = right(written("of steps clipped"));
    let fits = font::width(&title, 13.0, true) <= space(&long);
    let share = if fits { long } else { right(written("clipped")) };
    let title = font::elide(&title, 13.0, true, space(&share));
    scene.text(share);
    scene.text(Text::new(frame.left, frame.top - 22.0, title).size(13.0).bold().colour(palette::TEXT));
    decades(scene, frame, first);
    frame.steps(scene, end_of(frame), frame.bottom);
    if first {
        let middle = f64::midpoint(frame.top, frame.bottom);
        scene.text(Text::new(16.0, middle, "gradient norm").align(Align::Middle).rotated());
    }
    let Some(front) = facet.front else {
        scene.text(Text::new(frame.left, frame.top - 7.0, "not run yet"));
        return;
    };
    let others: Vec<&Run> = facet
        .configs
        .iter()
        .filter(|config| config.runs != front.runs)
        .flat_map(|c| &c.runs)
        .map(|&run| &sweep.runs[run])
        .collect();
    band(scene, &others, frame);
    let name = format::configuration(front, lead.filter(|lead| !lead.is_range()).map(|lead| lead.key.as_str()));
    scene.text(Text::new(frame.left, frame.top - 7.0, font::elide(&font::printable(&name, false), 12.0, false, width)));
    let alpha = (0.35 / runs.len() as f64).max(0.12);
    for run in &runs {
        let points = frame.place(&logs(run));
        frame.curve(scene, &axis::reduce(&points), 0.8, palette::TRAIN.alpha(alpha));
    }
    let mean: Vec<Point> = curve::spread(&runs.iter().map(|run| logs(run)).collect::<Vec<_>>())
        .iter()
        .map(|point| Point { x: point.x, y: point.mean })
        .collect();
    let steps = runs.iter().map(|run| run.trial.steps).max().unwrap_or(1);
    let smooth = curve::smooth(&mean, (HALF_WIDTH * steps as f64).max(2.0));
    frame.curve(scene, &axis::reduce(&frame.place(&smooth)), 2.0, palette::TRAIN);
    let clip = runs.first().map(|run| run.trial.config.max_grad_norm).filter(|clip| *clip > 0.0);
    if let Some(clip) = clip {
        let y = frame.y.at(clip.log10());
        scene.dashes((frame.left, frame.right), y, palette::CONTEXT);
    }
}

/// The last step of the axis.
fn end_of(frame: &Frame) -> u64 {
    let unit = frame.x.at(1.0) - frame.x.at(0.0);
    ((frame.right - frame.left) / unit).round() as u64
}

/// Grid lines at powers of ten, or at 1, 2 and 5 times these if they are few.
fn decades(scene: &mut Scene, frame: &Frame, named: bool) {
    let lines = |steps: &[f64]| {
        let all =
            (-12..=12).flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)).collect::<Vec<_>>());
        all.filter(|value| (frame.top - 0.5..=frame.bottom + 0.5).contains(&frame.y.at(value.log10())))
            .collect::<Vec<f64>>()
    };
    let mut values = lines(&[1.0]);
    if values.len() < 3 {
        values = lines(&[1.0, 2.0, 5.0]);
    }
    let every = values.len().div_ceil(7).max(1);
    for value in values.into_iter().step_by(every) {
        let y = frame.y.at(value.log10());
        scene.line(&[(frame.left, y), (frame.right, y)], 1.0, palette::GRID);
        if named {
            let text = number_text(format!("{value:.1e}").parse().unwrap_or(value));
            scene.text(Text::new(frame.left - 6.0, y + 4.0, text).align(Align::Right));
        }
    }
}

/// The share of steps whose norm was above the limit; None without a limit or a norm.
fn clipped(runs: &[&Run]) -> Option<f64> {
    let limit = runs.first()?.trial.config.max_grad_norm;
    let norms =
        || runs.iter().flat_map(|run| &run.metrics).map(|row| f64::from(row.grad_norm)).filter(|n| n.is_finite());
    (limit > 0.0 && norms().next().is_some())
        .then(|| norms().filter(|norm| *norm > limit).count() as f64 / norms().count() as f64)
}

/// A band from the 5 % to the 95 % quantile of the norms of some runs, column by column.
fn band(scene: &mut Scene, runs: &[&Run], frame: &Frame) {
    let mut bins: Vec<Vec<f64>> = vec![Vec::new(); BINS];
    let end = end_of(frame).max(1) as f64;
    for point in runs.iter().flat_map(|run| logs(run)).filter(|point| point.y.is_finite()) {
        let bin = (point.x / end * BINS as f64) as usize;
        bins[bin.min(BINS - 1)].push(point.y);
    }
    let edge = |share: f64, bins: &mut [Vec<f64>]| {
        let mut points = Vec::new();
        for (index, bin) in bins.iter_mut().enumerate().filter(|(_, bin)| !bin.is_empty()) {
            bin.sort_by(f64::total_cmp);
            let y = bin[((bin.len() - 1) as f64 * share).round() as usize];
            let x = (index as f64 + 0.5) / BINS as f64 * end;
            points.push((frame.x.at(x), frame.y.at(y).clamp(frame.top, frame.bottom)));
        }
        points
    };
    let (over, under) = (edge(0.95, &mut bins), edge(0.05, &mut bins));
    scene.area(over.into_iter().chain(under.into_iter().rev()).collect(), palette::CONTEXT.alpha(0.22));
}
