//! Figure `parallel`: every configuration of a search as a line through the axes of all keys, the best tenth in front.

use super::frame::Frame;
use super::key_axis::KeyAxis;
use super::value_axis::{ValueAxis, outside_note};
use crate::analysis::search::{End, Search, Tried};
use crate::analysis::{Study, Sweep};
use crate::report::canvas::axis;
use crate::report::canvas::font;
use crate::report::canvas::scene::{Align, Colour, MARGIN, Mark, Scene, Text, WIDTH, palette};
use crate::report::{captions, format};

/// Further keys are left out.
const MOST: usize = 9;
const HEIGHT: f64 = 300.0;
/// Space below the axes for configurations that do not have a key.
const ABSENT: f64 = 26.0;
/// Configurations in front, if so many are usable.
const FEWEST_LEADERS: usize = 3;
/// The number beside the last axis needs this space, px.
const RIGHT: f64 = 120.0;

/// The figure, or why there is none.
pub fn parallel(sweep: &Sweep, study: &Study) -> Result<Scene, String> {
    let search = Search::of(sweep, study).ok_or("Parallel coordinates: the sweep has no search.")?;
    let shown = || search.over().filter(|tried| tried.draw.point.is_some());
    if shown().all(|tried| search.value(tried).is_none()) {
        return Err("Parallel coordinates: no configuration has a successful evaluation yet.".into());
    }
    let axes = KeyAxis::all(search.history);
    let leaders = search.leaders(FEWEST_LEADERS);
    let leaders = leaders.iter().filter(|tried| tried.draw.point.is_some());
    let leaders: Vec<u64> = leaders.map(|tried| tried.draw.number).collect();
    let values = ValueAxis::of(&search, study);
    let mut scene = Scene::new("parallel", "Parallel coordinates: every configuration through all keys");
    let left_out = axes.len().saturating_sub(MOST);
    let top = scene.heading(&[
        captions::sweep_size(sweep, study),
        format!("in front: the best {}", leaders.len()),
        "grey: all others".into(),
        values.direction().into(),
        if left_out > 0 { format!("{} in trials.csv", format::count(left_out, "more key")) } else { String::new() },
    ]) + 40.0;
    let axes = &axes[..axes.len().min(MOST)];
    let last = WIDTH - RIGHT;
    let has_conditions = axes.iter().any(|axis| axis.condition.is_some());
    let frame = Frame::new([MARGIN + 40.0, top, last, top + HEIGHT], 1, values.range);
    let places: Vec<f64> = (0..=axes.len())
        .map(|index| frame.left + (frame.right - frame.left) * index as f64 / axes.len() as f64)
        .collect();
    let sheet = Sheet { search: &search, axes, values: &values, frame: &frame, places: &places };
    let is_leader = |tried: &&Tried<'_>| leaders.contains(&tried.draw.number);
    for tried in shown().filter(|tried| !is_leader(tried)) {
        let colour = if tried.end == End::Failed { palette::FAILED.alpha(0.3) } else { palette::CONTEXT.alpha(0.28) };
        scene.line(&sheet.path(tried), 1.0, colour);
    }
    for (rank, number) in leaders.iter().enumerate().rev() {
        if let Some(tried) = search.over().find(|tried| tried.draw.number == *number) {
            scene.line(&sheet.path(tried), if rank == 0 { 2.8 } else { 1.8 }, colour_of(rank));
        }
    }
    sheet.draw_axes(&mut scene);
    sheet.label_values(&mut scene, &leaders);
    let bottom = frame.bottom + if has_conditions { ABSENT } else { 0.0 };
    let is_best_shown = search.best().is_some_and(|best| best.draw.point.is_some());
    let first = if is_best_shown { "the best" } else { "the best within the ranges" };
    let mut entries = vec![(Mark::Line(palette::EVAL), first), (Mark::Line(palette::TRAIN), "the others in front")];
    entries.truncate(leaders.len());
    entries.push((Mark::Line(palette::CONTEXT.alpha(0.5)), "all others"));
    if shown().any(|tried| tried.end == End::Failed) {
        entries.push((Mark::Line(palette::FAILED.alpha(0.6)), "failed"));
    }
    scene.legend(MARGIN, bottom + 40.0, &entries);
    let conditions = axes.iter().filter_map(|axis| Some(format!("{}: {} only", axis.short, axis.condition.as_ref()?)));
    let mut notes: Vec<String> = conditions.collect();
    notes.push(values.note().replace("triangle", "at the end of the last axis"));
    notes.push(outside_note(&search));
    if axes.iter().any(|axis| axis.part.is_some()) {
        notes.push("equal values of lists and whole numbers lie beside each other".into());
    }
    scene.height = scene.caption(bottom + 62.0, &notes);
    Ok(scene)
}

/// What the lines lie on.
struct Sheet<'a> {
    search: &'a Search<'a>,
    axes: &'a [KeyAxis],
    values: &'a ValueAxis,
    /// The scale of the last axis, and the height of all.
    frame: &'a Frame,
    /// The x of each axis, that of the values last.
    places: &'a [f64],
}

/// The colour of the configuration of a rank.
fn colour_of(rank: usize) -> Colour {
    if rank == 0 { palette::EVAL } else { palette::TRAIN.alpha(0.8) }
}

impl Sheet<'_> {
    fn y(&self, share: f64) -> f64 {
        self.frame.bottom - share * (self.frame.bottom - self.frame.top)
    }

    /// The line of a configuration.
    fn path(&self, tried: &Tried<'_>) -> Vec<(f64, f64)> {
        let absent = self.frame.bottom + 0.6 * ABSENT;
        let index = tried.draw.number as usize;
        let at = |axis: &KeyAxis| {
            let point = tried.draw.point.as_ref();
            let share = point.map_or(Some(f64::NAN), |point| axis.spread(point, index));
            share.map_or(absent, |share| self.y(share))
        };
        let value = match self.search.value(tried) {
            Some(value) => self.values.at(self.frame, value),
            None => self.frame.top - 14.0,
        };
        let ys = self.axes.iter().map(at).chain([value]);
        self.places.iter().copied().zip(ys).collect()
    }

    fn draw_axes(&self, scene: &mut Scene) {
        let space = (self.frame.right - self.frame.left) / self.axes.len() as f64;
        for (axis, &x) in self.axes.iter().zip(self.places) {
            scene.line(&[(x, self.frame.top), (x, self.frame.bottom)], 1.2, palette::AXIS);
            let title = font::elide(&axis.short, 12.0, true, space - 8.0);
            scene.text(Text::new(x, self.frame.top - 24.0, title).bold().align(Align::Middle).colour(palette::TEXT));
            for (share, label) in &axis.ticks {
                let y = self.y(*share);
                scene.line(&[(x - 3.0, y), (x + 3.0, y)], 1.0, palette::AXIS);
                let label = font::elide(label, 11.0, false, space - 12.0);
                scene.boxed_text(Text::new(x + 6.0, y + 4.0, label).size(11.0).colour(palette::TEXT));
            }
            if axis.condition.is_some() {
                let y = self.frame.bottom + 0.6 * ABSENT;
                scene.boxed_text(Text::new(x + 6.0, y + 4.0, "none").size(11.0));
            }
        }
        let x = self.frame.right;
        scene.line(&[(x, self.frame.top), (x, self.frame.bottom)], 1.2, palette::AXIS);
        let title = font::elide(&self.values.title(), 12.0, true, space.min(1.8 * (WIDTH - MARGIN - x)));
        scene.text(Text::new(x, self.frame.top - 24.0, title).bold().colour(palette::TEXT).align(Align::Middle));
        if self.search.over().any(|tried| tried.end == End::Failed) {
            scene.boxed_text(Text::new(x + 7.0, self.frame.top - 10.0, "failed").size(11.0).colour(palette::FAILED));
        }
    }

    /// Round numbers beside the axis of the values, without those that touch the number of the best one.
    fn label_values(&self, scene: &mut Scene, leaders: &[u64]) {
        let x = self.frame.right;
        let best = self.search.over().find(|tried| Some(&tried.draw.number) == leaders.first());
        let best = best.and_then(|best| Some((best.draw.number, self.search.value(best)?)));
        let taken = best.map(|(_, value)| self.frame.y.at(value));
        let (low, high) = self.values.range;
        let (ticks, digits) = axis::ticks(low, high, 6);
        for tick in ticks {
            let y = self.frame.y.at(tick);
            scene.line(&[(x - 3.0, y), (x + 3.0, y)], 1.0, palette::AXIS);
            if taken.is_none_or(|taken| (taken - y).abs() > 15.0) {
                scene.text(Text::new(x + 7.0, y + 4.0, axis::tick_text(tick, digits)).size(11.0).colour(palette::TEXT));
            }
        }
        if let Some((number, value)) = best {
            let text = Text::new(x + 7.0, self.frame.y.at(value) + 4.0, format!("{} (#{number})", format::loss(value)));
            scene.text(text.bold().colour(palette::EVAL_TEXT));
        }
    }
}
