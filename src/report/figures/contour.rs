//! Figure `contour`: the value over the two most important keys of a search, smoothed, with every configuration.

use super::key_axis::KeyAxis;
use crate::analysis::search::{Search, Tried};
use crate::analysis::{Study, Sweep};
use crate::report::canvas::axis;
use crate::report::canvas::scene::{Align, MARGIN, Mark, Scene, Text, WIDTH, palette};
use crate::report::figures::value_axis::{ValueAxis, outside_note};
use crate::report::{captions, format};
use crate::trial::Metric;

/// With fewer configurations, a surface says nothing.
const FEWEST: usize = 10;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 84.0;
/// Right end of the map; the scale stands beside it.
const RIGHT: f64 = WIDTH - MARGIN - 130.0;
/// Space between the map and the outermost configurations, as a share of the map.
const INSET: f64 = 0.03;
/// Cells of the surface in each direction.
const COLUMNS: usize = 120;
const ROWS: usize = 60;
/// Colours of the surface.
const LEVELS: usize = 10;
/// Where the nearest configuration is further away than so many widths of the kernel, the surface is left white.
const NEAR: f64 = 1.2;

/// The figure, or why there is none.
pub fn contour(sweep: &Sweep, study: &Study) -> Result<Scene, String> {
    let search = Search::of(sweep, study).ok_or("Contour: the sweep has no search.")?;
    let axes = KeyAxis::all(search.history);
    let ordered = |index: &&usize| axes[**index].ordered && axes[**index].condition.is_none();
    let order = search.by_importance();
    let [x, y] = order.iter().filter(ordered).take(2).collect::<Vec<_>>()[..] else {
        return Err("Contour: it needs two keys whose values are numbers.".into());
    };
    let (x, y) = (&axes[*x], &axes[*y]);
    let values = ValueAxis::of(&search, study);
    let seen: Vec<Seen<'_>> = search.over().filter_map(|tried| Seen::of(&search, tried, x, y)).collect();
    if seen.iter().filter(|seen| seen.value.is_some()).count() < FEWEST {
        return Err(format!("Contour: it needs {FEWEST} configurations with a usable model."));
    }
    let name = |axis: &KeyAxis| axis.title.replace(" (log)", "");
    let mut scene = Scene::new("contour", format!("The {}: {} and {}", values.title(), name(x), name(y)));
    let top = scene.heading(&[
        captions::sweep_size(sweep, study),
        "the two keys with numbers that matter most for the best quarter (PED-ANOVA)".into(),
        "dot: a configuration, coloured by its value".into(),
        values.direction().into(),
    ]) + 12.0;
    let map = Map { top, range: values.range, metric: values.metric };
    let bandwidth = bandwidth(seen.len());
    surface(&mut scene, &map, &seen, bandwidth);
    for one in &seen {
        one.draw(&mut scene, &map);
    }
    let best = search.best().and_then(|best| Seen::of(&search, best, x, y));
    if let Some(best) = &best {
        ValueAxis::mark_best(&mut scene, map.at(best.x, best.y));
    }
    frame(&mut scene, &map, x, y);
    scale(&mut scene, &map, &values);
    let mut entries = Vec::new();
    if best.is_some() {
        entries.push((Mark::Diamond(palette::EVAL), "the best"));
    }
    if seen.iter().any(|seen| seen.value.is_none()) {
        entries.push((Mark::Cross, "failed"));
    }
    let bottom = top + HEIGHT + 62.0;
    scene.legend(MARGIN, bottom, &entries);
    let notes = [
        format!("surface: mean of the configurations nearby (normal kernel, {:.0} % of each range)", 100.0 * bandwidth),
        "white: no configuration is near".into(),
        "all other keys differ from dot to dot".into(),
        outside_note(&search),
    ];
    scene.height = scene.caption(bottom + 22.0, &notes);
    Ok(scene)
}

/// The width of the kernel, as a share of the range: Silverman's rule for even values in two dimensions.
fn bandwidth(n: usize) -> f64 {
    const SPREAD: f64 = 0.289;
    SPREAD * (n as f64).powf(-1.0 / 6.0)
}

/// A configuration on the map.
struct Seen<'a> {
    tried: &'a Tried<'a>,
    x: f64,
    y: f64,
    /// Whether both values are those of lists or whole numbers, so that dots may hide each other.
    is_discrete: bool,
    /// None where it failed.
    value: Option<f64>,
}

impl<'a> Seen<'a> {
    fn of(search: &Search<'_>, tried: &'a Tried<'a>, x: &KeyAxis, y: &KeyAxis) -> Option<Self> {
        let point = tried.draw.point.as_ref()?;
        Some(Self {
            tried,
            x: x.share(point)?,
            y: y.share(point)?,
            is_discrete: x.part.is_some() && y.part.is_some(),
            value: search.value(tried),
        })
    }

    fn draw(&self, scene: &mut Scene, map: &Map) {
        let index = self.tried.draw.number as f64;
        let aside = if self.is_discrete { ((index * 0.618_034).fract() - 0.5) * 12.0 } else { 0.0 };
        let (x, y) = map.at(self.x, self.y);
        let (x, y) = (x + aside, y - aside / 2.0);
        match self.value {
            Some(value) => {
                scene.disc((x, y), 5.0, palette::BACKGROUND);
                scene.disc((x, y), 3.9, palette::ordered(map.share(value)));
            }
            None => scene.cross((x, y), 3.6, palette::FAILED),
        }
    }
}

/// The place of the map, and the scale of its colours.
struct Map {
    top: f64,
    range: (f64, f64),
    metric: Metric,
}

impl Map {
    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let inner = |share: f64| INSET + (1.0 - 2.0 * INSET) * share;
        (LEFT + inner(x) * (RIGHT - LEFT), self.top + (1.0 - inner(y)) * HEIGHT)
    }

    /// Where a value lies between the best (0) and the worst (1) of the scale.
    fn share(&self, value: f64) -> f64 {
        let (low, high) = self.range;
        let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
        if self.metric.is_cost() { share } else { 1.0 - share }
    }
}

/// The smoothed values, as cells of equal colour.
fn surface(scene: &mut Scene, map: &Map, seen: &[Seen<'_>], bandwidth: f64) {
    let level = |column: usize, row: usize| {
        let place = |index: usize, count: usize| ((index as f64 + 0.5) / count as f64 - INSET) / (1.0 - 2.0 * INSET);
        let (x, y) = (place(column, COLUMNS), place(ROWS - 1 - row, ROWS));
        let (mut sum, mut weights, mut nearest) = (0.0, 0.0, f64::INFINITY);
        for one in seen {
            let Some(value) = one.value else { continue };
            let squared = ((one.x - x).powi(2) + (one.y - y).powi(2)) / bandwidth.powi(2);
            let weight = (-0.5 * squared).exp();
            nearest = nearest.min(squared);
            sum += weight * map.share(value);
            weights += weight;
        }
        (nearest <= NEAR * NEAR).then(|| ((sum / weights * LEVELS as f64) as usize).min(LEVELS - 1))
    };
    let (width, height) = ((RIGHT - LEFT) / COLUMNS as f64, HEIGHT / ROWS as f64);
    for row in 0..ROWS {
        let levels: Vec<Option<usize>> = (0..COLUMNS).map(|column| level(column, row)).collect();
        let mut from = 0;
        for run in levels.chunk_by(|a, b| a == b) {
            if let Some(level) = run[0] {
                let colour = palette::ordered((level as f64 + 0.5) / LEVELS as f64).alpha(0.55).on_background();
                let (left, top) = (LEFT + from as f64 * width, map.top + row as f64 * height);
                scene.rect([left, top, left + run.len() as f64 * width + 0.3, top + height + 0.3], colour);
            }
            from += run.len();
        }
    }
}

/// The axes with their ticks and names.
fn frame(scene: &mut Scene, map: &Map, x: &KeyAxis, y: &KeyAxis) {
    let bottom = map.top + HEIGHT;
    let corners = [(LEFT, map.top), (RIGHT, map.top), (RIGHT, bottom), (LEFT, bottom), (LEFT, map.top)];
    scene.line(&corners, 1.0, palette::AXIS);
    let mut free = f64::NEG_INFINITY;
    for (share, label) in &x.ticks {
        let (at, _) = map.at(*share, 0.0);
        scene.line(&[(at, bottom), (at, bottom + 4.0)], 1.0, palette::AXIS);
        let text = Text::new(at, bottom + 18.0, label).align(Align::Middle).colour(palette::TEXT);
        let [left, _, right, _] = text.bounds();
        if left > free {
            scene.text(text);
            free = right + 4.0;
        }
    }
    for (share, label) in &y.ticks {
        let (_, at) = map.at(0.0, *share);
        scene.line(&[(LEFT - 4.0, at), (LEFT, at)], 1.0, palette::AXIS);
        scene.text(Text::new(LEFT - 8.0, at + 4.0, label).align(Align::Right).colour(palette::TEXT));
    }
    scene.text(Text::new(f64::midpoint(LEFT, RIGHT), bottom + 37.0, &x.title).align(Align::Middle));
    scene.text(Text::new(20.0, map.top + HEIGHT / 2.0, &y.title).align(Align::Middle).rotated());
}

/// The scale of the colours.
fn scale(scene: &mut Scene, map: &Map, values: &ValueAxis) {
    const WIDE: f64 = 14.0;
    let (left, bottom) = (RIGHT + 26.0, map.top + HEIGHT);
    let (low, high) = map.range;
    let y = |value: f64| bottom - (value - low) / (high - low) * HEIGHT;
    for level in 0..LEVELS {
        let at = |level: usize| low + (high - low) * level as f64 / LEVELS as f64;
        let colour = palette::ordered(map.share(f64::midpoint(at(level), at(level + 1))));
        scene.rect([left, y(at(level + 1)), left + WIDE, y(at(level)) + 0.3], colour);
    }
    let (ticks, digits) = axis::ticks(low, high, 6);
    for tick in ticks {
        scene.line(&[(left + WIDE, y(tick)), (left + WIDE + 4.0, y(tick))], 1.0, palette::AXIS);
        scene.text(Text::new(left + WIDE + 8.0, y(tick) + 4.0, axis::tick_text(tick, digits)).colour(palette::TEXT));
    }
    let name = format::count(values.beyond, "configuration") + " beyond";
    if values.beyond > 0 {
        scene.text(Text::new(WIDTH - MARGIN, bottom + 18.0, name).size(11.0).align(Align::Right));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_value_has_the_first_colour() {
        let share = |metric, value| Map { top: 0.0, range: (1.0, 3.0), metric }.share(value);
        assert!(share(Metric::Mae, 1.0) < 0.01 && share(Metric::Mae, 3.0) > 0.99);
        assert!(share(Metric::R2, 3.0) < 0.01 && share(Metric::R2, 1.0) > 0.99);
    }
}
