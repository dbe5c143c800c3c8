//! Figure `schedule`: learning rates over the steps of a trial. Several curves share one panel, each with its label.

use crate::report::canvas::axis::{self, Scale};
use crate::report::canvas::placement::Placement;
use crate::report::canvas::render;
use crate::report::canvas::scene::{Align, Colour, MARGIN, Scene, Text, WIDTH, palette};
use crate::report::{ReportError, format};
use crate::trial::{AxisValue, Key, rounded_text};

/// The learning rates of one trial.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleCurve {
    /// The values in which it differs from the other curves; empty if there is only one curve.
    pub values: Vec<(String, AxisValue)>,
    /// The learning rate of every step.
    pub rates: Vec<f64>,
}

/// Further curves are grey and without a label.
const MOST_LABELLED: usize = 12;
const LEFT: f64 = 72.0;
const HEIGHT: f64 = 340.0;
/// Candidate places for a label along a curve.
const PLACES: usize = 40;

/// Colours of lines and of their labels. A label is darker if the line is light.
const COLOURS: [(Colour, Colour); MOST_LABELLED] = [
    (palette::TRAIN, palette::TRAIN),
    (palette::EVAL, palette::EVAL_TEXT),
    (palette::PLATEAU, palette::PLATEAU_TEXT),
    (palette::RISING, palette::RISING_TEXT),
    (Colour::new(0xCC_79A7), Colour::new(0x9A_4476)),
    (Colour::new(0x56_B4E9), Colour::new(0x1F_74A6)),
    (palette::TEXT, palette::TEXT),
    (Colour::new(0x8B_5A2B), Colour::new(0x8B_5A2B)),
    (Colour::new(0x5B_4FB5), Colour::new(0x5B_4FB5)),
    (Colour::new(0xB0_123B), Colour::new(0xB0_123B)),
    (Colour::new(0x8A_9A00), Colour::new(0x66_7200)),
    (Colour::new(0x7B_8490), Colour::new(0x5F_6873)),
];

/// Draws `curves` as PNG. `common` holds the values that all of them share, `source` goes into the metadata.
pub fn draw_schedules(
    curves: &[ScheduleCurve],
    common: &[(String, AxisValue)],
    source: &str,
) -> Result<Vec<u8>, ReportError> {
    let scene = schedules(curves, common);
    render::png(&scene, &render::svg(&scene)?, source)
}

/// The figure.
pub fn schedules(curves: &[ScheduleCurve], common: &[(String, AxisValue)]) -> Scene {
    let mut scene = Scene::new("schedule", "Learning rate at each step");
    let mut subtitle = vec![if curves.len() == 1 { String::new() } else { format::count(curves.len(), "schedule") }];
    subtitle.extend(common.iter().map(|(key, value)| match Key::of(key) {
        Some(Key::Steps) => format!("{} steps", value.text),
        _ => format::labelled_value(key, value),
    }));
    let top = scene.heading(&subtitle) + 6.0;
    let bottom = top + HEIGHT;
    let rates = || curves.iter().flat_map(|curve| &curve.rates).copied().filter(|rate| rate.is_finite());
    let high = rates().fold(0.0, f64::max) * 1.1;
    let end = curves.iter().map(|curve| curve.rates.len()).max().unwrap_or(0).saturating_sub(1).max(1);
    let x = Scale::new((0.0, end as f64), (LEFT, WIDTH - MARGIN));
    let y = Scale::new((0.0, if high > 0.0 { high } else { 1.0 }), (bottom, top));
    grid(&mut scene, (x, y), high, end as u64);
    let drawn = |curve: &ScheduleCurve| -> Vec<(f64, f64)> {
        let points = curve.rates.iter().enumerate().map(|(k, rate)| (x.at(k as f64), y.at(*rate)));
        axis::reduce(&points.collect::<Vec<_>>())
    };
    let lines: Vec<Vec<(f64, f64)>> = curves.iter().map(drawn).collect();
    for line in lines.iter().skip(MOST_LABELLED) {
        scene.line(line, 1.2, palette::CONTEXT.alpha(0.4));
    }
    for (index, line) in lines.iter().take(MOST_LABELLED).enumerate() {
        scene.line(line, 2.0, COLOURS[index].0);
    }
    let unlabelled =
        if curves.len() > 1 { labels(&mut scene, curves, &lines, [LEFT, top, WIDTH - 6.0, bottom]) } else { 0 };
    scene.text(Text::new(f64::midpoint(LEFT, WIDTH - MARGIN), bottom + 38.0, "optimizer step").align(Align::Middle));
    scene.height = bottom + 52.0;
    if unlabelled > 0 {
        let note = format!("{} without a label", format::count(unlabelled, "curve"));
        scene.height = scene.caption(bottom + 58.0, &[note]) + 4.0;
    }
    scene
}

/// Grid lines, axes and their numbers.
fn grid(scene: &mut Scene, (x, y): (Scale, Scale), high: f64, end: u64) {
    let (left, right, bottom) = (LEFT, WIDTH - MARGIN, y.at(0.0));
    for value in axis::ticks(0.0, high, 5).0 {
        let y = y.at(value);
        scene.line(&[(left, y), (right, y)], 1.0, palette::GRID);
        scene.text(Text::new(left - 6.0, y + 4.0, rounded_text(value, 4)).align(Align::Right));
    }
    scene.line(&[(left, bottom), (right, bottom)], 1.0, palette::AXIS);
    for step in axis::step_ticks(end, 8) {
        let x = x.at(step as f64);
        scene.line(&[(x, bottom), (x, bottom + 4.0)], 1.0, palette::AXIS);
        scene.text(Text::new(x, bottom + 18.0, format::thousands(step)).align(Align::Middle));
    }
    let middle = bottom - HEIGHT / 2.0;
    scene.text(Text::new(14.0, middle, "learning rate").align(Align::Middle).rotated());
}

/// Puts the label of each curve where the curve is farthest from the others; returns how many found no place.
fn labels(scene: &mut Scene, curves: &[ScheduleCurve], lines: &[Vec<(f64, f64)>], within: [f64; 4]) -> usize {
    let mut placement = Placement::new(within);
    for line in lines {
        placement.avoid(line);
    }
    let mut unlabelled = curves.len().saturating_sub(MOST_LABELLED);
    for (index, curve) in curves.iter().take(MOST_LABELLED).enumerate() {
        let parts: Vec<String> = curve.values.iter().map(|(key, value)| format::labelled_value(key, value)).collect();
        let text = Text::new(0.0, 0.0, parts.join(" · ")).bold().colour(COLOURS[index].1);
        let before = scene.items.len();
        placement.put(scene, &text, &places(index, lines, text.width()), false);
        unlabelled += usize::from(scene.items.len() == before);
    }
    unlabelled
}

/// Candidate places for the label of curve `index`, `width` px wide: the best ones first.
fn places(index: usize, lines: &[Vec<(f64, f64)>], width: f64) -> Vec<(f64, f64)> {
    /// From this distance on, px, other curves do not matter.
    const FAR: f64 = 40.0;
    let own = &lines[index];
    let distance = |(x, y): (f64, f64)| {
        let others = lines.iter().enumerate().filter(|(other, _)| *other != index);
        others.filter_map(|(_, line)| height(line, x)).map(|other| (other - y).abs()).fold(FAR, f64::min)
    };
    let mut along: Vec<((f64, f64), f64)> = (0..PLACES)
        .filter_map(|i| own.get(own.len() * (2 * i + 1) / (2 * PLACES)))
        .map(|&point| (point, distance(point)))
        .collect();
    along.sort_by(|a, b| b.1.total_cmp(&a.1));
    // Where curves run together, a label would be ambiguous.
    let alone = along.first().map_or(0.0, |(_, most)| most / 3.0);
    along.retain(|(_, distance)| *distance >= alone);
    let around = |((x, y), _): ((f64, f64), f64)| {
        [(x - width / 2.0, y - 8.0), (x + 9.0, y + 4.0), (x - width - 9.0, y + 4.0), (x - width / 2.0, y + 17.0)]
    };
    along.into_iter().flat_map(around).collect()
}

/// The y of a polyline at `x`.
fn height(line: &[(f64, f64)], x: f64) -> Option<f64> {
    let after = line.partition_point(|point| point.0 < x);
    let (a, b) = (line.get(after.saturating_sub(1))?, line.get(after)?);
    Some(if b.0 > a.0 { a.1 + (b.1 - a.1) * (x - a.0) / (b.0 - a.0) } else { b.1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> AxisValue {
        AxisValue { value: text.into(), text: text.into() }
    }

    /// A straight line from `peak` down to 0, called `name`.
    fn curve(name: &str, peak: f64, steps: usize) -> ScheduleCurve {
        let rates = (0..steps).map(|k| peak * (steps - k) as f64 / steps as f64).collect();
        ScheduleCurve { values: vec![("scheduler".into(), value(name))], rates }
    }

    #[test]
    fn every_curve_has_a_label_and_no_two_labels_overlap() {
        let curves: Vec<ScheduleCurve> =
            (1..=12).map(|i| curve(&format!("schedule {i}"), f64::from(i) * 1e-5, 500)).collect();
        let scene = schedules(&curves, &[("lr".into(), value("3e-5"))]);
        let names: Vec<&Text> = scene.texts().filter(|text| text.content.starts_with("schedule ")).collect();
        assert_eq!(names.len(), 12);
        for (i, a) in names.iter().enumerate() {
            for b in &names[..i] {
                let (a, b) = (a.bounds(), b.bounds());
                assert!(a[2] < b[0] || b[2] < a[0] || a[3] < b[1] || b[3] < a[1], "{a:?} {b:?}");
            }
        }
        assert!(scene.texts().any(|text| text.content == "12 schedules · LR 3e-5"));
        assert!(scene.texts().any(|text| text.content == "5e-5") && scene.texts().any(|text| text.content == "1e-4"));
    }

    #[test]
    fn odd_inputs_are_drawn() {
        for curves in [vec![], vec![curve("x", 0.0, 3)], vec![curve("x", 1.0, 1)], vec![curve("x", f64::NAN, 9); 14]] {
            let scene = schedules(&curves, &[]);
            let note = scene.texts().any(|text| text.content.ends_with("without a label"));
            assert_eq!(note, curves.len() > MOST_LABELLED);
            assert!(draw_schedules(&curves, &[], "test").unwrap().starts_with(b"\x89PNG"));
        }
    }
}
