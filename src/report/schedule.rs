//! Figure `schedule`: learning rates over the steps of a run, several laid over one another, each with its name beside it.

use super::axis::{self, Scale};
use super::labels::Labels;
use super::scene::{Align, Ink, MARGIN, Scene, Text, WIDTH, ink};
use super::{ReportError, render, words};
use crate::trial::{AxisValue, Key, rounded_text};

/// The rates of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct RateCurve {
    /// What tells it from the others; empty if there is only one.
    pub values: Vec<(String, AxisValue)>,
    /// Of every step, the first one first.
    pub rates: Vec<f64>,
}

/// Curves above this are drawn in grey, without a name.
const MOST_NAMED: usize = 12;
const LEFT: f64 = 72.0;
const HEIGHT: f64 = 340.0;
/// Places along a curve where its name may stand.
const PLACES: usize = 40;

/// Lines and their names, which are darker where the line is light.
const COLOURS: [(Ink, Ink); MOST_NAMED] = [
    (ink::TRAIN, ink::TRAIN),
    (ink::EVAL, ink::EVAL_TEXT),
    (ink::PLATEAU, ink::PLATEAU_TEXT),
    (ink::RISING, ink::RISING_TEXT),
    (Ink::new(0xCC_79A7), Ink::new(0x9A_4476)),
    (Ink::new(0x56_B4E9), Ink::new(0x1F_74A6)),
    (ink::TEXT, ink::TEXT),
    (Ink::new(0x8B_5A2B), Ink::new(0x8B_5A2B)),
    (Ink::new(0x5B_4FB5), Ink::new(0x5B_4FB5)),
    (Ink::new(0xB0_123B), Ink::new(0xB0_123B)),
    (Ink::new(0x8A_9A00), Ink::new(0x66_7200)),
    (Ink::new(0x7B_8490), Ink::new(0x5F_6873)),
];

/// Draws `curves` as PNG. `common` is what all of them share, `source` says in the metadata what is shown.
pub fn draw_schedules(
    curves: &[RateCurve],
    common: &[(String, AxisValue)],
    source: &str,
) -> Result<Vec<u8>, ReportError> {
    let scene = schedules(curves, common);
    render::png(&scene, &render::svg(&scene)?, source)
}

/// The figure.
pub(super) fn schedules(curves: &[RateCurve], common: &[(String, AxisValue)]) -> Scene {
    let mut scene = Scene::new("schedule", "Learning rate of every step");
    let mut subtitle = vec![if curves.len() == 1 { String::new() } else { words::count(curves.len(), "schedule") }];
    subtitle.extend(common.iter().map(|(key, value)| match Key::of(key) {
        Some(Key::Steps) => format!("{} steps", value.text),
        _ => words::value(key, value),
    }));
    let top = scene.heading(&subtitle) + 6.0;
    let bottom = top + HEIGHT;
    let rates = || curves.iter().flat_map(|curve| &curve.rates).copied().filter(|rate| rate.is_finite());
    let high = rates().fold(0.0, f64::max) * 1.1;
    let end = curves.iter().map(|curve| curve.rates.len()).max().unwrap_or(0).saturating_sub(1).max(1);
    let x = Scale::new((0.0, end as f64), (LEFT, WIDTH - MARGIN));
    let y = Scale::new((0.0, if high > 0.0 { high } else { 1.0 }), (bottom, top));
    grid(&mut scene, (x, y), high, end as u64);
    let drawn = |curve: &RateCurve| -> Vec<(f64, f64)> {
        let points = curve.rates.iter().enumerate().map(|(k, rate)| (x.at(k as f64), y.at(*rate)));
        axis::reduce(&points.collect::<Vec<_>>())
    };
    let lines: Vec<Vec<(f64, f64)>> = curves.iter().map(drawn).collect();
    for line in lines.iter().skip(MOST_NAMED) {
        scene.line(line, 1.2, ink::CONTEXT.alpha(0.4));
    }
    for (index, line) in lines.iter().take(MOST_NAMED).enumerate() {
        scene.line(line, 2.0, COLOURS[index].0);
    }
    let unnamed =
        if curves.len() > 1 { names(&mut scene, curves, &lines, [LEFT, top, WIDTH - 6.0, bottom]) } else { 0 };
    scene.text(Text::new(f64::midpoint(LEFT, WIDTH - MARGIN), bottom + 38.0, "optimizer step").align(Align::Middle));
    scene.height = bottom + 52.0;
    if unnamed > 0 {
        let note = format!("{} without a name", words::count(unnamed, "curve"));
        scene.height = scene.lines(bottom + 58.0, &[note]) + 4.0;
    }
    scene
}

/// Grid lines, axes and their numbers.
fn grid(scene: &mut Scene, (x, y): (Scale, Scale), high: f64, end: u64) {
    let (left, right, bottom) = (LEFT, WIDTH - MARGIN, y.at(0.0));
    for value in axis::ticks(0.0, high, 5).0 {
        let y = y.at(value);
        scene.line(&[(left, y), (right, y)], 1.0, ink::GRID);
        scene.text(Text::new(left - 6.0, y + 4.0, rounded_text(value, 4)).align(Align::Right));
    }
    scene.line(&[(left, bottom), (right, bottom)], 1.0, ink::AXIS);
    for step in axis::step_ticks(end, 8) {
        let x = x.at(step as f64);
        scene.line(&[(x, bottom), (x, bottom + 4.0)], 1.0, ink::AXIS);
        scene.text(Text::new(x, bottom + 18.0, words::thousands(step)).align(Align::Middle));
    }
    let middle = bottom - HEIGHT / 2.0;
    scene.text(Text::new(14.0, middle, "learning rate").align(Align::Middle).upright());
}

/// Puts each curve's name where the curve is farthest from the others; returns how many found no place.
fn names(scene: &mut Scene, curves: &[RateCurve], lines: &[Vec<(f64, f64)>], within: [f64; 4]) -> usize {
    let mut labels = Labels::new(within);
    for line in lines {
        labels.avoid(line);
    }
    let mut unnamed = curves.len().saturating_sub(MOST_NAMED);
    for (index, curve) in curves.iter().take(MOST_NAMED).enumerate() {
        let parts: Vec<String> = curve.values.iter().map(|(key, value)| words::value(key, value)).collect();
        let text = Text::new(0.0, 0.0, parts.join(" · ")).bold().ink(COLOURS[index].1);
        let before = scene.items.len();
        labels.put(scene, &text, &places(index, lines, text.width()), false);
        unnamed += usize::from(scene.items.len() == before);
    }
    unnamed
}

/// Where the name of curve `index`, `width` px wide, may stand: the best places first.
fn places(index: usize, lines: &[Vec<(f64, f64)>], width: f64) -> Vec<(f64, f64)> {
    /// From here on a curve stands alone.
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
    // Where curves run together a name says nothing.
    let alone = along.first().map_or(0.0, |(_, most)| most / 3.0);
    along.retain(|(_, distance)| *distance >= alone);
    let around = |((x, y), _): ((f64, f64), f64)| {
        [(x - width / 2.0, y - 8.0), (x + 9.0, y + 4.0), (x - width - 9.0, y + 4.0), (x - width / 2.0, y + 17.0)]
    };
    along.into_iter().flat_map(around).collect()
}

/// The y of a polyline at x.
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
    fn curve(name: &str, peak: f64, steps: usize) -> RateCurve {
        let rates = (0..steps).map(|k| peak * (steps - k) as f64 / steps as f64).collect();
        RateCurve { values: vec![("scheduler".into(), value(name))], rates }
    }

    #[test]
    fn every_curve_has_its_name_and_no_two_names_meet() {
        let curves: Vec<RateCurve> =
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
            let note = scene.texts().any(|text| text.content.ends_with("without a name"));
            assert_eq!(note, curves.len() > MOST_NAMED);
            assert!(draw_schedules(&curves, &[], "test").unwrap().starts_with(b"\x89PNG"));
        }
    }
}
