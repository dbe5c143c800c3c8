//! One panel of the figure: curves, grid, tints, and the learning-rate strip below.

use super::annotations;
use super::facet::{Facet, Panels, STRIP, shown, smooth_train};
use crate::analysis::curve::{self, Point};
use crate::analysis::{Config, Run, Shape};
use crate::report::canvas::axis::{self, Scale};
use crate::report::canvas::font;
use crate::report::canvas::scene::{Align, Scene, Text, palette};
use crate::report::figures::frame::{Frame, LEFT};
use crate::report::{captions, format};
use crate::trial::{number_text, rounded_text};

/// Draws one panel; returns how many curves leave the frame at the top.
pub fn draw_panel(scene: &mut Scene, panels: &Panels<'_>, facet: &Facet<'_>, frame: &Frame, first: bool) -> usize {
    let front = facet.front(panels.sweep);
    let successful = front.filter(|config| config.best.is_some());
    header(scene, panels, facet, frame, panels.two_lines);
    if let Some(config) = successful {
        tints(scene, panels, config, frame);
    }
    grid(scene, panels, frame, first);
    let mut off_scale = grey(scene, panels, facet, frame, front);
    if let Some(config) = front {
        off_scale += front_curves(scene, panels, config, frame);
        strip(scene, panels, config, frame);
    }
    crosses(scene, panels, facet, frame);
    match successful {
        Some(config) => annotations::marks(scene, panels, config, frame),
        None => annotations::explanation(scene, panels, facet, front, frame),
    }
    off_scale
}

/// Up to two lines above the frame: value and best loss, then the configuration and how many failed.
fn header(scene: &mut Scene, panels: &Panels<'_>, facet: &Facet<'_>, frame: &Frame, two_lines: bool) {
    let best = facet.configs.first().and_then(|config| config.best.map(|best| (config, best)));
    let space = frame.right - frame.left;
    let above = frame.top - if two_lines { 27.0 } else { 10.0 };
    let mut used = 0.0;
    if let Some((config, best)) = best {
        let lost = if config.complete() { String::new() } else { format!(" ({}/{})", best.n, config.runs.len()) };
        let level = Text::new(frame.right, above, format::mean_and_sd(best) + &lost);
        let level = level.size(13.0).bold().colour(palette::EVAL_TEXT).align(Align::Right);
        used = level.width() + 12.0;
        scene.text(level);
    }
    let title = font::elide(&font::printable(&facet.title, true), 13.0, true, space - used);
    scene.text(Text::new(frame.left, above, title).size(13.0).bold().colour(palette::TEXT));
    let failed = facet.configs.iter().filter(|config| config.shape.failed()).count();
    let name = match best {
        Some((config, _)) => format::configuration(config, panels.key),
        None if failed == facet.configs.len() => "all configurations failed".into(),
        None => "no trial has finished".into(),
    };
    let name = font::printable(&name, false);
    let mut used = 0.0;
    // Without a successful configuration, the panel itself says what failed.
    if failed > 0 && best.is_some() {
        let of = facet.configs.len();
        let kinds = captions::failures(facet.configs.iter().copied());
        let forms = [format!("{kinds} of {of}"), format!("{failed} of {of} failed"), format!("{failed} failed")];
        let fits = |text: &&String| font::width(text, 12.0, false) + 12.0 + font::width(&name, 12.0, false) <= space;
        let text = forms.iter().find(fits).unwrap_or(&forms[2]);
        let text = Text::new(frame.right, frame.top - 10.0, text).align(Align::Right);
        used = text.width() + 12.0;
        scene.text(text);
    }
    let name = font::elide(&name, 12.0, false, space - used);
    scene.text(Text::new(frame.left, frame.top - 10.0, name));
}

/// The background of the plateau, and of the steps where the loss rises again.
fn tints(scene: &mut Scene, panels: &Panels<'_>, config: &Config, frame: &Frame) {
    let Some(onset) = config.shape.plateau() else { return };
    let last = shown(panels.sweep, config).iter().map(|run| run.end()).max().unwrap_or(panels.end);
    let (from, to) = (frame.x.at(onset as f64), frame.x.at(last as f64));
    let rise = config.shape.rises().map_or(to, |step| frame.x.at(step as f64));
    scene.rect([from, frame.top, rise, frame.bottom], palette::PLATEAU.alpha(0.10));
    scene.rect([rise, frame.top, to, frame.bottom], palette::RISING.alpha(0.13));
}

/// Grid lines, both axes with their numbers, and the dashed line of the class prior.
fn grid(scene: &mut Scene, panels: &Panels<'_>, frame: &Frame, first: bool) {
    frame.grid_lines(scene, panels.y, 5, first);
    if first {
        let middle = f64::midpoint(frame.top, frame.bottom);
        let label =
            Text::new(14.0, middle, format!("loss ({})", panels.study.task.loss_unit())).align(Align::Middle).rotated();
        scene.text(label);
    }
    if let Some(chance) = panels.study.chance.filter(|chance| *chance <= panels.y.1 && *chance >= panels.y.0) {
        scene.dashes((frame.left, frame.right), frame.y.at(chance), palette::AXIS);
    }
    scene.line(&[(frame.left, frame.bottom), (frame.right, frame.bottom)], 1.0, palette::AXIS);
    frame.steps(scene, panels.end, frame.bottom + 10.0 + STRIP);
}

/// Every run of the configurations behind the one in front; returns how many curves leave the frame.
fn grey(scene: &mut Scene, panels: &Panels<'_>, facet: &Facet<'_>, frame: &Frame, front: Option<&Config>) -> usize {
    let others = facet.configs.iter().filter(|config| front.is_none_or(|front| config.runs != front.runs));
    let runs: Vec<usize> = others.flat_map(|config| config.runs.iter().copied()).collect();
    let alpha = (6.0 / runs.len().max(1) as f64).clamp(0.13, 0.42);
    let draw = |run: usize| {
        let points = axis::reduce(&frame.place(&curve::eval_loss(&panels.sweep.runs[run].evals)));
        frame.curve(scene, &points, 1.0, palette::CONTEXT.alpha(alpha))
    };
    runs.into_iter().map(draw).filter(|left| *left).count()
}

/// Raw and smoothed train loss, and band and mean of the eval loss; returns how many curves leave the frame.
fn front_curves(scene: &mut Scene, panels: &Panels<'_>, config: &Config, frame: &Frame) -> usize {
    let runs = shown(panels.sweep, config);
    let mut off_scale = 0;
    // The more points share a pixel, the fainter each is.
    let points: usize = runs.iter().map(|run| run.metrics.len()).sum();
    let alpha = (0.3 * (frame.right - frame.left) / points.max(1) as f64).clamp(0.07, 0.36);
    for run in &runs {
        let raw = axis::reduce(&frame.place(&curve::train_loss(&run.metrics)));
        frame.curve(scene, &raw, 0.8, palette::TRAIN.alpha(alpha));
    }
    if config.survivors.is_empty() {
        for run in &runs {
            let eval = frame.place(&curve::eval_loss(&run.evals));
            off_scale += usize::from(frame.curve(scene, &eval, 1.6, palette::EVAL));
        }
    } else if runs.len() > 1 {
        frame.band(scene, &config.curve, palette::EVAL.alpha(0.20));
    }
    // Failed runs are never averaged, not even with each other.
    let together: Vec<&[&Run]> = if config.survivors.is_empty() { runs.chunks(1).collect() } else { vec![&runs] };
    for runs in together {
        let train = axis::reduce(&frame.place(&smooth_train(runs)));
        off_scale += usize::from(frame.curve(scene, &train, 2.0, palette::TRAIN));
    }
    let mean: Vec<Point> = config.curve.iter().map(|point| Point { x: point.x, y: point.mean }).collect();
    off_scale + usize::from(frame.curve(scene, &frame.place(&mean), 2.2, palette::EVAL))
}

/// A cross on the top edge for each run that became non-finite or diverged, at its step.
fn crosses(scene: &mut Scene, panels: &Panels<'_>, facet: &Facet<'_>, frame: &Frame) {
    for run in facet.configs.iter().flat_map(|config| &config.runs) {
        if let Shape::NotFinite { step } | Shape::Diverged { step } = panels.study.shapes[*run] {
            scene.cross((frame.x.at(step as f64), frame.top), 3.4, palette::FAILED);
        }
    }
}

/// A learning rate as sweep files usually write it: `3e-3`, `0.05`.
fn rate_text(rate: f64) -> String {
    let text = rounded_text(rate, 3);
    text.parse().map_or(text, |rounded: f64| if rounded < 0.01 { format!("{rounded:e}") } else { number_text(rounded) })
}

/// The learning rate over the same steps, as a filled area with its peak value.
fn strip(scene: &mut Scene, panels: &Panels<'_>, config: &Config, frame: &Frame) {
    let Some(run) = shown(panels.sweep, config).into_iter().max_by_key(|run| run.metrics.len()) else { return };
    let highest = run.metrics.iter().map(|row| row.lr).filter(|lr| lr.is_finite()).fold(0.0, f64::max);
    // A schedule that falls from the first step on never reaches its configured peak.
    let configured = run.trial.config.lr;
    let peak = if highest <= configured && highest > 0.9 * configured { configured } else { highest };
    let base = frame.bottom + 10.0 + STRIP;
    let scale = Scale::new((0.0, peak), (base, base - STRIP));
    let points: Vec<(f64, f64)> =
        run.metrics.iter().map(|row| (frame.x.at(row.step as f64), scale.at(row.lr))).collect();
    let points = axis::reduce(&points);
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    let mut outline = vec![(first.0, base)];
    outline.extend_from_slice(&points);
    outline.push((last.0, base));
    scene.area(outline, palette::CONTEXT.alpha(0.20));
    scene.line(&points, 1.3, palette::CONTEXT);
    if (frame.left - LEFT).abs() < 1.0 {
        scene.text(Text::new(frame.left - 6.0, base - 9.0, "LR").align(Align::Right));
    }
    let complete = run.metrics.last().is_some_and(|row| row.step >= run.trial.steps);
    let constant = complete && last.1 - (base - STRIP) < 1.0;
    if peak <= 0.0 {
        return;
    }
    let text = format!("{} {}", if constant { "constant" } else { "peak" }, rate_text(peak));
    let y = if constant { base - 9.0 } else { base - STRIP + 8.0 };
    scene.text(Text::new(frame.right - 4.0, y, text).align(Align::Right).size(11.0));
}
