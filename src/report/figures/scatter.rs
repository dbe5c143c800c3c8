//! Figure `slices` of a search: the values of all configurations over each key, on the axis of its range.

use super::frame::{Frame, GUTTER, LEFT, PanelRow};
use super::key_axis::KeyAxis;
use super::value_axis::{ValueAxis, marks_legend, outside_note};
use crate::analysis::search::{End, Search};
use crate::analysis::{Study, Sweep};
use crate::report::canvas::axis::Scale;
use crate::report::canvas::font;
use crate::report::canvas::scene::{Align, MARGIN, Scene, Text, palette};
use crate::report::{captions, format};

/// Further keys are left out.
const MOST: usize = 12;
const HEIGHT: f64 = 170.0;
const STRIP: f64 = 20.0;

/// The figure, or why there is none.
pub fn scatter(sweep: &Sweep, study: &Study) -> Result<Scene, String> {
    let Some(search) = Search::of(sweep, study).filter(|search| search.over().next().is_some()) else {
        return Err("One parameter at a time: no configuration has ended yet.".into());
    };
    let axes = KeyAxis::all(search.history);
    let values = ValueAxis::of(&search, study);
    let mut scene = Scene::new("slices", "One parameter at a time: all configurations over each key");
    let left_out = axes.len().saturating_sub(MOST);
    let mut top = scene.heading(&[
        captions::sweep_size(sweep, study),
        "all other keys differ from dot to dot".into(),
        values.direction().into(),
        "strip on top: failed configurations".into(),
        if left_out > 0 { format!("{} in trials.csv", format::count(left_out, "more key")) } else { String::new() },
    ]) + 14.0;
    let shown = &axes[..axes.len().min(MOST)];
    let columns = match shown.len() {
        1 => 1,
        2 | 4 => 2,
        _ => 3,
    };
    let row = PanelRow::new(LEFT, GUTTER, columns);
    for chunk in shown.chunks(columns) {
        for (column, axis) in chunk.iter().enumerate() {
            let (left, right) = row.place(column);
            let plot = top + STRIP + 8.0;
            let frame = Frame::new([left, plot, right, plot + HEIGHT], 1, values.range);
            panel(&mut scene, &search, &values, axis, frame, column == 0);
        }
        top += STRIP + 8.0 + HEIGHT + 58.0;
    }
    scene.legend(MARGIN, top + 2.0, &marks_legend(&search, |tried| tried.draw.point.is_some()));
    scene.height = scene.caption(top + 24.0, &[values.note(), outside_note(&search)]);
    Ok(scene)
}

fn panel(scene: &mut Scene, search: &Search<'_>, values: &ValueAxis, axis: &KeyAxis, mut frame: Frame, first: bool) {
    let strip = frame.top - STRIP - 8.0;
    let inset = if axis.part.is_some() { 0.0 } else { 10.0 };
    frame.x = Scale::new((0.0, 1.0), (frame.left + inset, frame.right - inset));
    frame.grid_lines(scene, values.range, 4, first);
    if first {
        scene.text(Text::new(frame.left - 8.0, strip + 14.0, "failed").align(Align::Right));
        let middle = f64::midpoint(frame.top, frame.bottom);
        scene.text(Text::new(16.0, middle, values.title()).align(Align::Middle).rotated());
    }
    scene.rect([frame.left, strip, frame.right, strip + STRIP], palette::PANEL);
    let place = |tried: &crate::analysis::search::Tried<'_>| {
        let share = axis.spread(tried.draw.point.as_ref()?, tried.draw.number as usize)?;
        Some(frame.x.at(share))
    };
    for tried in search.over() {
        let Some(x) = place(tried) else { continue };
        match search.value(tried).filter(|_| tried.end != End::Failed) {
            Some(value) => values.mark(scene, &frame, tried, x, value),
            None => scene.cross((x, strip + STRIP / 2.0), 3.0, palette::FAILED),
        }
    }
    if let Some((best, value)) = search.best().and_then(|best| Some((best, search.value(best)?)))
        && let Some(x) = place(best)
    {
        ValueAxis::mark_best(scene, (x, frame.y.at(value)));
    }
    scene.line(&[(frame.left, frame.bottom), (frame.right, frame.bottom)], 1.0, palette::AXIS);
    ticks(scene, axis, &frame);
    let title = match &axis.condition {
        Some(condition) => format!("{}, {condition}", axis.title),
        None => axis.title.clone(),
    };
    let title = font::elide(&title, 12.0, false, frame.right - frame.left);
    scene.text(Text::new(f64::midpoint(frame.left, frame.right), frame.bottom + 36.0, title).align(Align::Middle));
}

/// The labels below the axis. All values of a list are named, cut to their part; of a range, as many as fit.
fn ticks(scene: &mut Scene, axis: &KeyAxis, frame: &Frame) {
    let names = axis.part.is_some_and(|part| (1.0 / part - axis.ticks.len() as f64).abs() < 0.5);
    let space = (frame.right - frame.left) * axis.part.unwrap_or(1.0) - 6.0;
    let mut free = f64::NEG_INFINITY;
    for (share, label) in &axis.ticks {
        let x = frame.x.at(*share);
        scene.line(&[(x, frame.bottom), (x, frame.bottom + 4.0)], 1.0, palette::AXIS);
        let label = if names { font::elide(label, 12.0, false, space.max(24.0)) } else { label.clone() };
        let text = Text::new(x, frame.bottom + 18.0, label).colour(palette::TEXT);
        let half = text.width() / 2.0;
        let text = Text {
            x: x.clamp(frame.left + half - 8.0, (frame.right - half + 8.0).max(frame.left + half - 8.0)),
            ..text
        };
        let text = text.align(Align::Middle);
        let [left, _, right, _] = text.bounds();
        if left > free {
            scene.text(text);
            free = right + 4.0;
        }
    }
}
