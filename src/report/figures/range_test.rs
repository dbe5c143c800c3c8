//! Figure `lr-find`: the loss of a learning-rate range test over the learning rate, with the suggested ones marked.

use crate::analysis::RangeTest;
use crate::analysis::range_test::{FROM, STEPS, Suggestions, TO, Tried};
use crate::report::canvas::axis::{self, Scale};
use crate::report::canvas::placement::Placement;
use crate::report::canvas::render;
use crate::report::canvas::scene::{Align, MARGIN, Scene, Text, WIDTH, palette};
use crate::report::{ReportError, format};
use crate::trial::{AxisValue, TaskName};

const LEFT: f64 = 72.0;
const HEIGHT: f64 = 380.0;
/// Space above the curve for the labels of the marks, px.
const NAMES: f64 = 46.0;

/// Draws `test` as `lr-find.png` and `lr-find.svg`; returns names and contents. `values` describes the configuration,
/// `task` gives the unit of the loss, and `source` goes into the metadata.
pub fn draw_range_test(
    test: &RangeTest,
    title: &str,
    values: &[(String, AxisValue)],
    task: TaskName,
    source: &str,
) -> Result<Vec<(String, Vec<u8>)>, ReportError> {
    let scene = range_test(test, title, values, task);
    let svg = render::svg(&scene)?;
    let png = render::png(&scene, &svg, source)?;
    Ok(vec![(format!("{}.png", scene.name), png), (format!("{}.svg", scene.name), svg.into_bytes())])
}

/// The figure.
pub fn range_test(test: &RangeTest, title: &str, values: &[(String, AxisValue)], task: TaskName) -> Scene {
    let mut scene = Scene::new("lr-find", title);
    let top = scene.heading(&subtitle(test, values)) + NAMES;
    let bottom = top + HEIGHT;
    let (low, high) = range(test);
    let x = Scale::new((FROM.ln(), TO.ln()), (LEFT, WIDTH - MARGIN));
    let y = Scale::new((low, high), (bottom, top));
    grid(&mut scene, (x, y), (low, high));
    let curve = |of: fn(&Tried) -> f64| -> Vec<Vec<(f64, f64)>> {
        let points: Vec<(f64, f64)> = test.tried.iter().map(|tried| (x.at(tried.lr.ln()), y.at(of(tried)))).collect();
        axis::clip(&points, (top, bottom))
    };
    let mut placement = Placement::new([LEFT, top - NAMES, WIDTH - MARGIN, bottom]);
    for piece in curve(|tried| tried.loss) {
        scene.line(&piece, 1.2, palette::TRAIN.alpha(0.35));
    }
    for piece in curve(|tried| tried.smoothed) {
        scene.line(&piece, 2.6, palette::TRAIN);
        placement.avoid(&piece);
    }
    if let Some(found) = test.suggestions {
        marks(&mut scene, &mut placement, test, found, (x, y), top);
    }
    scene.text(Text::new(f64::midpoint(LEFT, WIDTH - MARGIN), bottom + 38.0, "learning rate").align(Align::Middle));
    let loss = format!("train loss ({})", task.loss_unit());
    scene.text(Text::new(14.0, f64::midpoint(top, bottom), loss).align(Align::Middle).rotated());
    scene.height = bottom + 52.0;
    scene
}

fn subtitle(test: &RangeTest, values: &[(String, AxisValue)]) -> Vec<String> {
    let mut parts: Vec<String> = values.iter().map(|(key, value)| format::labelled_value(key, value)).collect();
    let tried = test.tried.len() as u64;
    parts.push(if test.is_blown_up() && tried < STEPS {
        format!("diverged after {tried} of {STEPS} steps")
    } else {
        format::count(test.tried.len(), "step")
    });
    parts.push("faint: loss of each batch, bold: smoothed".to_owned());
    parts
}

/// The loss scale: from the lowest losses to somewhat above the first half of the smoothed curve. A loss that diverges
/// leaves the panel at the top.
fn range(test: &RangeTest) -> (f64, f64) {
    let finite = |loss: &f64| loss.is_finite();
    let smoothed = |count: usize| test.tried.iter().take(count).map(|tried| tried.smoothed).filter(finite);
    let mut batches: Vec<f64> = test.tried.iter().map(|tried| tried.loss).filter(finite).collect();
    batches.sort_by(f64::total_cmp);
    let low = smoothed(test.tried.len()).chain(batches.get(batches.len() / 30).copied()).fold(f64::INFINITY, f64::min);
    let high = smoothed(test.tried.len().div_ceil(2)).fold(low, f64::max);
    if !low.is_finite() {
        return (0.0, 1.0);
    }
    let room = (high - low).max(0.05 * high.abs()).max(1e-3);
    ((low - 0.1 * room).max(0.0), high + 0.3 * room)
}

fn grid(scene: &mut Scene, (x, y): (Scale, Scale), (low, high): (f64, f64)) {
    let (left, right, bottom, top) = (LEFT, WIDTH - MARGIN, y.at(low), y.at(high));
    let (values, digits) = axis::ticks(low, high, 6);
    for value in values {
        let y = y.at(value);
        scene.line(&[(left, y), (right, y)], 1.0, palette::GRID);
        scene.text(Text::new(left - 8.0, y + 4.0, axis::tick_text(value, digits)).align(Align::Right));
    }
    scene.line(&[(left, bottom), (right, bottom)], 1.0, palette::AXIS);
    let decades = (FROM.log10().round() as i32)..=(TO.log10().round() as i32);
    for power in decades {
        let at = x.at(10_f64.powi(power).ln());
        scene.line(&[(at, top), (at, bottom)], 1.0, palette::GRID);
        scene.line(&[(at, bottom), (at, bottom + 6.0)], 1.0, palette::AXIS);
        scene.text(Text::new(at, bottom + 20.0, tick(power)).align(Align::Middle));
        for digit in 2..10 {
            let at = x.at((10_f64.powi(power) * f64::from(digit)).ln());
            if at < right {
                scene.line(&[(at, bottom), (at, bottom + 3.0)], 1.0, palette::AXIS);
            }
        }
    }
}

/// A power of ten as learning rates are written.
fn tick(power: i32) -> String {
    if power == 0 { "1".to_owned() } else { format!("1e{power}") }
}

/// A vertical line at each suggested learning rate, with a dot on the curve and a label at the top.
fn marks(
    scene: &mut Scene,
    placement: &mut Placement,
    test: &RangeTest,
    Suggestions { valley, steep, minimum }: Suggestions,
    (x, y): (Scale, Scale),
    top: f64,
) {
    let marks = [
        ("valley", valley, palette::PLATEAU, palette::PLATEAU_TEXT),
        ("steep", steep, palette::RISING, palette::RISING_TEXT),
        ("minimum / 10", minimum, palette::EVAL, palette::EVAL_TEXT),
    ];
    let bottom = top + HEIGHT;
    for (name, rate, mark, dark) in marks {
        let at = x.at(rate.ln());
        let is_valley = name == "valley";
        scene.line(&[(at, top - 8.0), (at, bottom)], if is_valley { 2.0 } else { 1.4 }, mark);
        if let Some(loss) = loss_at(test, rate) {
            scene.disc((at, y.at(loss)), if is_valley { 6.5 } else { 5.0 }, palette::BACKGROUND);
            scene.disc((at, y.at(loss)), if is_valley { 5.0 } else { 3.6 }, mark);
        }
        let text = Text::new(0.0, 0.0, format!("{name}: {rate:.1e}")).colour(dark);
        let text = if is_valley { text.bold().size(13.0) } else { text };
        let width = text.width();
        let rows = [top - 14.0, top - 32.0, top + 18.0];
        let places: Vec<(f64, f64)> =
            rows.iter().flat_map(|&row| [(at - width / 2.0, row), (at + 4.0, row), (at - width - 4.0, row)]).collect();
        placement.put(scene, &text, &places, false);
    }
}

/// The smoothed loss at the tested learning rate closest to `rate`.
fn loss_at(test: &RangeTest, rate: f64) -> Option<f64> {
    let distance = |tried: &Tried| (tried.lr / rate).ln().abs();
    let nearest = test.tried.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
    Some(nearest.smoothed).filter(|loss| loss.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(losses: impl IntoIterator<Item = f64>) -> RangeTest {
        let rate = |k: usize| FROM * (TO / FROM).powf(k as f64 / (STEPS - 1) as f64);
        let steps: Vec<(f64, f64)> = losses.into_iter().enumerate().map(|(k, loss)| (rate(k), loss)).collect();
        RangeTest::of(&steps)
    }

    fn valley_shaped() -> RangeTest {
        test(
            (0..95).map(|k| 1.1 - 0.5 / (1.0 + (-(f64::from(k) - 50.0) / 4.0).exp()) + (0.4 * f64::from(k - 80)).exp()),
        )
    }

    #[test]
    fn the_three_marks_are_named_apart_from_one_another() {
        let scene = range_test(&valley_shaped(), "t", &[], TaskName::Classification);
        let names: Vec<&Text> = ["valley: ", "steep: ", "minimum / 10: "]
            .map(|name| scene.texts().find(|text| text.content.starts_with(name)).unwrap())
            .to_vec();
        for (i, a) in names.iter().enumerate() {
            for b in &names[..i] {
                let (a, b) = (a.bounds(), b.bounds());
                assert!(a[2] < b[0] || b[2] < a[0] || a[3] < b[1] || b[3] < a[1], "{a:?} {b:?}");
            }
        }
        let ticks: Vec<&str> =
            scene.texts().map(|text| text.content.as_str()).filter(|text| text.starts_with("1e-")).collect();
        assert_eq!(ticks, ["1e-7", "1e-6", "1e-5", "1e-4", "1e-3", "1e-2", "1e-1"]);
    }

    #[test]
    fn odd_tests_are_drawn() {
        for odd in [test([]), test([f64::NAN; 3]), test([0.0; 9]), test([1.0; 100]), test([1.0, 1e30])] {
            let files = draw_range_test(&odd, "t", &[], TaskName::Classification, "s").unwrap();
            assert!(files[0].1.starts_with(b"\x89PNG"), "{odd:?}");
            assert!(
                !range_test(&odd, "t", &[], TaskName::Regression)
                    .texts()
                    .any(|text| text.content.starts_with("valley"))
            );
        }
    }
}
