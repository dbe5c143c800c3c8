//! Figure `search`: the value of each configuration in the order of the draws, the best so far, and what random draws reach.

use super::frame::{Frame, LEFT};
use super::value_axis::{ValueAxis, marks_legend};
use crate::analysis::search::{End, Search};
use crate::analysis::{Study, Sweep};
use crate::report::canvas::axis;
use crate::report::canvas::placement::Placement;
use crate::report::canvas::scene::{Align, MARGIN, Mark, Scene, Text, WIDTH, palette};
use crate::report::{captions, format};

const HEIGHT: f64 = 300.0;
/// Height of the strip of failed configurations.
const STRIP: f64 = 22.0;
/// From this many minutes of compute time on, its axis counts hours.
const MOST_MINUTES: f64 = 180.0;

/// The figure, or why there is none.
pub fn search(sweep: &Sweep, study: &Study) -> Result<Scene, String> {
    let Some(search) = Search::of(sweep, study).filter(|search| search.over().next().is_some()) else {
        return Err("Search: no configuration has ended yet.".into());
    };
    let axis = ValueAxis::of(&search, study);
    let mut scene = Scene::new("search", "Search: the value of each configuration, and the best so far");
    let strip = scene.heading(&subtitle(sweep, study, &search, &axis)) + 14.0;
    let top = strip + STRIP + 8.0;
    let last = search.tried.iter().map(|tried| tried.draw.number).max().unwrap_or(0);
    let mut frame = Frame::new([LEFT, top, WIDTH - MARGIN, top + HEIGHT], last, axis.range);
    frame.x = axis::Scale::new((-0.7, last as f64 + 0.7), (LEFT, WIDTH - MARGIN));
    frame.grid_lines(&mut scene, axis.range, 5, true);
    let middle = f64::midpoint(frame.top, frame.bottom);
    scene.text(Text::new(16.0, middle, axis.title()).align(Align::Middle).rotated());
    scene.rect([frame.left, strip, frame.right, strip + STRIP], palette::PANEL);
    scene.text(Text::new(frame.left - 8.0, strip + 15.0, "failed").align(Align::Right));
    let mut entries = marks_legend(&search, |_| true);
    let random = search.random_costs();
    let mut notes = vec![axis.note()];
    if let Some(random) = random.as_ref().filter(|_| search.best().is_some()) {
        band(&mut scene, &search, &axis, &frame, random);
        entries.push((Mark::Swatch(palette::CONTEXT.alpha(0.2)), "best of so many random draws"));
        notes.push(format!(
            "band: the middle half of what the best of so many random draws reaches, from the {} random draws of this search",
            random.len()
        ));
        if (random.len() as u64) < last + 1 {
            notes.push(
                "paler: more draws than it is estimated from, so that it cannot reach beyond the best of them".into(),
            );
        }
    }
    let best_line = best_line(&mut scene, &search, &axis, &frame);
    if !best_line.is_empty() {
        entries.push((Mark::Line(palette::EVAL), "best so far"));
    }
    dots(&mut scene, &search, &axis, &frame, strip);
    label_best(&mut scene, &search, &frame, &best_line);
    scene.line(&[(frame.left, frame.bottom), (frame.right, frame.bottom)], 1.0, palette::AXIS);
    numbers(&mut scene, &frame, last);
    let bottom = time_axis(&mut scene, &search, &frame);
    scene.legend(MARGIN, bottom + 24.0, &entries);
    scene.height = scene.caption(bottom + 46.0, &notes);
    Ok(scene)
}

fn subtitle(sweep: &Sweep, study: &Study, search: &Search<'_>, axis: &ValueAxis) -> Vec<String> {
    let several = search.tried.iter().any(|tried| tried.config.runs.len() > 1);
    vec![
        captions::sweep_size(sweep, study),
        if several {
            format!("dot: mean over the successful {}s of a configuration", study.repetition.noun())
        } else {
            "dot: a configuration".into()
        },
        axis.direction().into(),
        "strip on top: failed configurations".into(),
    ]
}

/// What the best of so many random draws reaches.
fn band(scene: &mut Scene, search: &Search<'_>, axis: &ValueAxis, frame: &Frame, random: &[f64]) {
    let Some(last) = search.tried.iter().map(|tried| tried.draw.number).max() else { return };
    let known = (random.len() as u64 - 1).min(last);
    let mut draw = |from: u64, to: u64, alpha: f64| {
        let edge = |number: u64| {
            let (better, worse) = search.best_of_random(random, number as usize + 1);
            (frame.x.at(number as f64), axis.at(frame, better), axis.at(frame, worse))
        };
        let edges: Vec<(f64, f64, f64)> = (from..=to).map(edge).collect();
        let over = edges.iter().map(|(x, better, _)| (*x, *better));
        let under = edges.iter().rev().map(|(x, _, worse)| (*x, *worse));
        // Where both ends meet, the band is a line.
        let met: Vec<(f64, f64)> =
            edges.iter().filter(|(_, better, worse)| (worse - better).abs() < 0.5).map(|(x, y, _)| (*x, *y)).collect();
        scene.line(&met, 1.2, palette::CONTEXT.alpha(2.0 * alpha));
        scene.area(over.chain(under).collect(), palette::CONTEXT.alpha(alpha));
    };
    draw(0, known, 0.2);
    if known < last {
        draw(known, last, 0.1);
    }
}

/// Draws the best value after each configuration as steps; returns them.
fn best_line(scene: &mut Scene, search: &Search<'_>, axis: &ValueAxis, frame: &Frame) -> Vec<(f64, f64)> {
    let mut steps: Vec<(f64, f64)> = Vec::new();
    for (tried, best) in search.tried.iter().zip(search.best_so_far()) {
        let Some(best) = best else { continue };
        let (x, y) = (frame.x.at(tried.draw.number as f64), axis.at(frame, best));
        if let Some(&(_, before)) = steps.last() {
            steps.push((x, before));
        }
        steps.push((x, y));
    }
    if let Some(&(_, y)) = steps.last() {
        steps.push((frame.right, y));
    }
    scene.line(&steps, 2.2, palette::EVAL);
    steps
}

/// Every configuration that has ended, the best one in front.
fn dots(scene: &mut Scene, search: &Search<'_>, axis: &ValueAxis, frame: &Frame, strip: f64) {
    for tried in search.over() {
        let x = frame.x.at(tried.draw.number as f64);
        match search.value(tried).filter(|_| tried.end != End::Failed) {
            Some(value) => axis.mark(scene, frame, tried, x, value),
            None => scene.cross((x, strip + STRIP / 2.0), 3.4, palette::FAILED),
        }
    }
}

fn label_best(scene: &mut Scene, search: &Search<'_>, frame: &Frame, line: &[(f64, f64)]) {
    let Some(best) = search.best() else { return };
    let Some(value) = search.value(best) else { return };
    let at = frame.at(best.draw.number as f64, value);
    let mut placement = Placement::new([frame.left, frame.top, frame.right, frame.bottom + 2.0]);
    placement.avoid(line);
    for tried in search.over() {
        if let Some(value) = search.value(tried) {
            let (x, y) = frame.at(tried.draw.number as f64, value);
            placement.avoid(&[(x - 4.0, y), (x + 4.0, y)]);
        }
    }
    ValueAxis::mark_best(scene, at);
    let text = Text::new(0.0, 0.0, format!("best {} (#{})", format::loss(value), best.draw.number));
    let text = text.bold().colour(palette::EVAL_TEXT);
    let half = text.width() / 2.0;
    let text = text.align(Align::Middle);
    let sides = [
        (0.0, 22.0),
        (half + 14.0, 16.0),
        (-half - 14.0, 16.0),
        (0.0, -14.0),
        (half + 14.0, -10.0),
        (-half - 14.0, -10.0),
    ];
    let places = sides.map(|(dx, dy)| (at.0 + dx, at.1 + dy));
    placement.put(scene, &text, &places, false);
}

/// The axis of the numbers of the configurations.
fn numbers(scene: &mut Scene, frame: &Frame, last: u64) {
    let ticks = axis::step_ticks(last.max(1), 10);
    for number in ticks.into_iter().filter(|number| *number <= last) {
        let x = frame.x.at(number as f64);
        scene.line(&[(x, frame.bottom), (x, frame.bottom + 4.0)], 1.0, palette::AXIS);
        scene.text(Text::new(x, frame.bottom + 18.0, number.to_string()).align(Align::Middle).colour(palette::TEXT));
    }
    let middle = f64::midpoint(frame.left, frame.right);
    scene.text(Text::new(middle, frame.bottom + 35.0, "number of the configuration").align(Align::Middle));
}

/// A second axis below: the compute time until then. Returns the y below it.
fn time_axis(scene: &mut Scene, search: &Search<'_>, frame: &Frame) -> f64 {
    let mut sum = 0.0;
    let mut until = vec![(-0.5, 0.0)];
    for tried in &search.tried {
        sum += tried.seconds / 60.0;
        until.push((tried.draw.number as f64 + 0.5, sum));
    }
    if sum <= 0.0 {
        return frame.bottom + 40.0;
    }
    let (unit, name) = if sum > MOST_MINUTES { (60.0, "hours") } else { (1.0, "minutes") };
    let y = frame.bottom + 50.0;
    scene.line(&[(frame.left, y), (frame.right, y)], 1.0, palette::AXIS);
    let (ticks, digits) = axis::ticks(0.0, sum / unit, 8);
    let mut free = f64::NEG_INFINITY;
    for tick in ticks {
        let Some(pair) = until.windows(2).find(|pair| pair[1].1 >= tick * unit) else { continue };
        let ((x0, t0), (x1, t1)) = (pair[0], pair[1]);
        let part = if t1 > t0 { (tick * unit - t0) / (t1 - t0) } else { 0.0 };
        let x = frame.x.at(x0 + part * (x1 - x0));
        scene.line(&[(x, y), (x, y + 4.0)], 1.0, palette::AXIS);
        let text = Text::new(x, y + 18.0, axis::tick_text(tick, digits)).align(Align::Middle);
        let [left, _, right, _] = text.bounds();
        if left > free && right < frame.right + 8.0 {
            scene.text(text);
            free = right + 6.0;
        }
    }
    let middle = f64::midpoint(frame.left, frame.right);
    scene.text(Text::new(middle, y + 35.0, format!("compute {name} until then")).align(Align::Middle));
    y + 40.0
}
