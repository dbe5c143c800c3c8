//! Lays out the panels, and writes title, legend and captions.

use super::facet::{Facet, Panels, STRIP, facets, smooth_train};
use super::panel::draw_panel;
use crate::analysis::curve;
use crate::analysis::groups::lead_axis;
use crate::analysis::{Shape, Study, Sweep};
use crate::report::canvas::scene::{Align, MARGIN, Mark, Scene, Text, palette};
use crate::report::figures::frame::{self, Frame, GUTTER, HALF_WIDTH, LEFT, MOST_FACETS, PanelRow};
use crate::report::figures::parameter::Parameter;
use crate::report::{captions, format};

/// Draws the figure. It exists for every sweep.
pub fn curves(sweep: &Sweep, study: &Study) -> Scene {
    let key = lead_axis(sweep).map(|axis| axis.key.as_str());
    let (facets, left_out) = facets(sweep, study, key);
    let is_range = Parameter::of(sweep).first().is_some_and(Parameter::is_range);
    let title = match key {
        Some(key) if is_range => {
            format!("Loss curves: the best configuration in each quarter of {}", format::axis_name(key))
        }
        Some(key) => format!("Loss curves: the best configuration at each {}", format::axis_name(key)),
        None => "Loss curves".to_owned(),
    };
    let mut scene = Scene::new("curves", title);
    let key = key.filter(|_| !is_range);
    let two_lines = facets.iter().any(|facet| facet.needs_second_line(key));
    let panels =
        Panels { sweep, study, key, y: range(sweep, study, &facets), end: frame::end(sweep, study), two_lines };
    if sweep.runs.is_empty() {
        let top = scene.heading(&[captions::sweep_size(sweep, study)]);
        scene.text(Text::new(MARGIN, top + 14.0, "The sweep has no trials.").colour(palette::TEXT));
        scene.height = top + 32.0;
        return scene;
    }
    let mut top = scene.heading(&subtitle(&panels, &facets, left_out, is_range)) + 14.0;
    let columns = columns(facets.len());
    let panel_row = PanelRow::new(LEFT, GUTTER, columns);
    let height = match columns {
        _ if sweep.runs.iter().all(|run| run.metrics.is_empty() && run.evals.is_empty()) => 90.0,
        1 => 300.0,
        2 => 230.0,
        3 => 190.0,
        _ => 140.0,
    };
    let head = if two_lines { 34.0 } else { 18.0 };
    let mut off_scale = 0;
    for row in facets.chunks(columns) {
        for (column, facet) in row.iter().enumerate() {
            let ((left, right), plot) = (panel_row.place(column), top + head);
            let frame = Frame::new([left, plot, right, plot + height], panels.end, panels.y);
            off_scale += draw_panel(&mut scene, &panels, facet, &frame, column == 0);
        }
        top += head + height + 10.0 + STRIP + 46.0;
    }
    let last_row = facets.chunks(columns).last().map_or(1, <[_]>::len);
    let (_, right) = panel_row.place(last_row.saturating_sub(1));
    scene.text(Text::new(f64::midpoint(LEFT, right), top - 14.0, "optimizer step").align(Align::Middle));
    scene.height = key_line(&mut scene, &panels, top + 14.0, off_scale) + 4.0;
    scene
}

/// Panels side by side.
fn columns(facets: usize) -> usize {
    match facets {
        0 | 1 => 1,
        2 | 4 => 2,
        3 | 5 | 6 | 9 => 3,
        _ => 4,
    }
}

/// The loss scale: from the lowest smoothed loss of the configurations in front to somewhat above the class prior and the
/// untrained model. A diverged curve does not widen it.
fn range(sweep: &Sweep, study: &Study, facets: &[Facet<'_>]) -> (f64, f64) {
    let starts = sweep.runs.iter().filter_map(|run| run.evals.first()).map(|row| f64::from(row.eval_loss));
    let mut starts: Vec<f64> = starts.filter(|loss| loss.is_finite()).collect();
    starts.sort_by(f64::total_cmp);
    let start = starts.get(starts.len() / 2).copied();
    let (mut low, mut high) = (f64::INFINITY, start.unwrap_or(0.0).max(study.chance.unwrap_or(0.0)));
    let cap = if high > 0.0 { 1.3 * high } else { f64::INFINITY };
    for config in facets.iter().filter_map(|facet| facet.front(sweep)) {
        for run in config.runs.iter().map(|&run| &sweep.runs[run]) {
            let train = smooth_train(&[run]);
            let eval = curve::eval_loss(&run.evals);
            for y in train.iter().chain(&eval).map(|point| point.y).filter(|y| y.is_finite()) {
                low = low.min(y);
                high = high.max(y.min(cap));
            }
        }
    }
    if low > high {
        return (0.0, 1.0);
    }
    let high = high + 0.12 * (high - low).max(0.05);
    (if low < 0.6 * high { 0.0 } else { low - 0.1 * (high - low) }, high)
}

fn subtitle(panels: &Panels<'_>, facets: &[Facet<'_>], left_out: usize, is_range: bool) -> Vec<String> {
    let study = panels.study;
    let noun = study.repetition.noun();
    let window = HALF_WIDTH * study.steps as f64;
    let raw = if study.seeds == 1 {
        "faint: train loss".into()
    } else {
        format!("faint: train loss of {} {noun}s", study.seeds)
    };
    let left_out = match left_out {
        0 => String::new(),
        n => format!(
            "shown: the {MOST_FACETS} values with the best {} out of {}, trials.csv has all",
            study.metric.title(),
            n + MOST_FACETS
        ),
    };
    vec![
        captions::sweep_size(panels.sweep, study),
        raw,
        format!("bold: smoothed by local linear regression over ±{} steps", format::rounded(window.max(2.0).round())),
        format!(
            "eval loss{}{}",
            captions::eval_interval(study),
            if study.seeds == 1 { String::new() } else { format!(": mean and min–max band over successful {noun}s") }
        ),
        if facets.iter().any(|facet| facet.configs.len() > 1) {
            format!(
                "grey: eval loss of all other configurations {}",
                if is_range { "in this quarter" } else { "with this value" }
            )
        } else {
            String::new()
        },
        if facets.len() > 1 { "all panels have the same scale".into() } else { String::new() },
        left_out,
    ]
}

/// Draws the legend of the marks and the number of curves that leave the scale. Returns the y below it.
fn key_line(scene: &mut Scene, panels: &Panels<'_>, y: f64, off_scale: usize) -> f64 {
    let configs = || panels.study.configs.iter();
    let ends = |shape: &Shape| matches!(shape, Shape::NotFinite { .. } | Shape::Diverged { .. });
    let entries = [
        (configs().any(|config| config.best.is_some()), Mark::Diamond(palette::EVAL), "best checkpoint"),
        (
            configs().any(|config| config.shape.plateau().is_some()),
            Mark::Swatch(palette::PLATEAU.alpha(0.25)),
            "plateau",
        ),
        (
            configs().any(|config| config.shape.rises().is_some()),
            Mark::Swatch(palette::RISING.alpha(0.35)),
            "eval loss rises: overfits",
        ),
        (panels.study.shapes.iter().any(ends), Mark::Cross, "NaN or diverged at this step"),
    ];
    let entries: Vec<(Mark, &str)> =
        entries.into_iter().filter_map(|(drawn, mark, name)| drawn.then_some((mark, name))).collect();
    scene.legend(MARGIN, y, &entries);
    let left = match off_scale {
        0 => String::new(),
        n => format!(
            "{} above the scale",
            if n == 1 { "1 curve continues".into() } else { format!("{n} curves continue") }
        ),
    };
    let y = if entries.is_empty() { y } else { y + 20.0 };
    scene.caption(y, &[captions::plateau_definition(), captions::delta(panels.study), left])
}
