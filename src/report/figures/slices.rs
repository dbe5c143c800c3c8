//! Figure `slices`: one parameter at a time, with all other parameters at their best values (the isolation plots of Google's
//! Deep Learning Tuning Playbook).

use super::frame::{Frame, LEFT};
use super::parameter::{Parameter, Spacing};
use crate::analysis::{Config, Study, Sweep};
use crate::report::canvas::axis::Scale;
use crate::report::canvas::font;
use crate::report::canvas::scene::{Align, Colour, MARGIN, Mark, Scene, Text, WIDTH, palette};
use crate::report::{captions, format};

/// Further parameters are left out.
const MOST: usize = 12;
const GAP: f64 = 40.0;
const STRIP: f64 = 24.0;
const HEIGHT: f64 = 190.0;

/// The configurations along one parameter.
struct Slice<'a> {
    parameter: &'a Parameter,
    /// One for each value.
    columns: Vec<Column<'a>>,
}

#[derive(Default)]
struct Column<'a> {
    successful: Vec<&'a Config>,
    failed: usize,
}

/// The figure, or why there is none.
pub fn slices(sweep: &Sweep, study: &Study) -> Result<Scene, String> {
    let parameters = Parameter::of(sweep);
    if parameters.is_empty() {
        return Err("One parameter at a time: it needs a varying parameter.".into());
    }
    let slices: Vec<Slice<'_>> = parameters.iter().take(MOST).map(|parameter| slice(study, parameter)).collect();
    if study.configs.iter().all(|config| config.best.is_none() && !config.shape.failed()) {
        return Err("One parameter at a time: no configuration has finished yet.".into());
    }
    let mut scene = Scene::new("slices", "One parameter at a time");
    let (range, above) = range(study);
    let left_out = parameters.len().saturating_sub(MOST);
    let mut top = scene.heading(&subtitle(sweep, study, left_out)) + 16.0;
    let mut notes = Vec::new();
    for row in rows(&slices) {
        let wanted: f64 = row.iter().map(|slice| panel_width(slice)).sum();
        let space = WIDTH - LEFT - MARGIN - GAP * (row.len() - 1) as f64;
        let stretch = (space / wanted).min(2.4);
        let mut left = LEFT;
        for (index, slice) in row.iter().enumerate() {
            let right = left + panel_width(slice) * stretch;
            let plot = top + STRIP + 12.0;
            let frame = Frame::new([left, plot, right, plot + HEIGHT], 1, range);
            notes.extend(draw(&mut scene, study, slice, &frame, index == 0, top));
            left = right + GAP;
        }
        top += STRIP + 12.0 + HEIGHT + 62.0;
    }
    let mut entries = vec![
        (Mark::Disc(palette::TRAIN), "the best configuration with that value"),
        (Mark::Disc(palette::EVAL), "the best of all"),
    ];
    if slices.iter().flat_map(|slice| &slice.columns).any(|column| column.successful.len() > 1) {
        entries.insert(0, (Mark::Disc(palette::CONTEXT.alpha(0.4)), "a configuration"));
    }
    scene.legend(MARGIN, top, &entries);
    let above = if above == 0 { String::new() } else { format!("triangle: above the scale ({above})") };
    notes.push(above);
    scene.height = scene.caption(top + 20.0, &notes);
    Ok(scene)
}

fn slice<'a>(study: &'a Study, parameter: &'a Parameter) -> Slice<'a> {
    let mut columns: Vec<Column<'a>> = parameter.values.iter().map(|_| Column::default()).collect();
    for config in &study.configs {
        let Some(column) = columns.get_mut(parameter.place(config)) else { continue };
        if config.best.is_some() {
            column.successful.push(config);
        }
        column.failed += usize::from(config.shape.failed());
    }
    Slice { parameter, columns }
}

fn subtitle(sweep: &Sweep, study: &Study, left_out: usize) -> Vec<String> {
    let several = study.seeds > 1;
    vec![
        captions::sweep_size(sweep, study),
        if several {
            format!("dot: mean over the successful {}s of a configuration", study.repetition.noun())
        } else {
            String::new()
        },
        format!("line: the best configuration with each value{}", if several { ", ± SD" } else { "" }),
        "lower is better".into(),
        "strip on top: failed configurations".into(),
        if left_out > 0 {
            format!("{} in trials.csv", format::count(left_out, "more parameter"))
        } else {
            String::new()
        },
    ]
}

/// The loss scale, from the best loss to where most losses lie; and the number of configurations above it.
fn range(study: &Study) -> ((f64, f64), usize) {
    let mut bests: Vec<f64> = study.configs.iter().filter_map(|config| config.best).map(|best| best.mean).collect();
    bests.sort_by(f64::total_cmp);
    let (Some(&low), Some(&high)) = (bests.first(), bests.last()) else { return ((0.0, 1.0), 0) };
    let most = bests.get(bests.len() * 3 / 4).copied().unwrap_or(high);
    let sd = study.best().and_then(|best| best.best?.sd).unwrap_or(0.0);
    let cap = low + 4.0 * (most - low).max(study.delta);
    let top = high.min(cap);
    let span = (top - low).max(2.0 * study.delta);
    let above = bests.iter().filter(|best| **best > top + 0.06 * span).count();
    ((low - sd.min(span) - 0.24 * span, top + 0.06 * span), above)
}

/// The width that a panel needs, px.
fn panel_width(slice: &Slice<'_>) -> f64 {
    let (labels, _) = slice.parameter.labels(110.0);
    let even = slice.parameter.spacing == Spacing::Even;
    // Unequal distances need more space.
    let each = if even { widest(&labels) + 14.0 } else { 62.0 };
    (each.max(46.0) * slice.columns.len() as f64).clamp(110.0, WIDTH - LEFT - MARGIN)
}

fn widest(labels: &[String]) -> f64 {
    labels.iter().map(|label| font::width(label, 12.0, false)).fold(0.0, f64::max)
}

/// The panels in rows, as many as fit beside each other.
fn rows<'a, 'b>(slices: &'b [Slice<'a>]) -> Vec<Vec<&'b Slice<'a>>> {
    let mut rows: Vec<Vec<&Slice<'_>>> = Vec::new();
    let mut used = f64::INFINITY;
    for slice in slices {
        used += GAP + panel_width(slice);
        match rows.last_mut() {
            Some(row) if used <= WIDTH - LEFT - MARGIN => row.push(slice),
            _ => {
                rows.push(vec![slice]);
                used = panel_width(slice);
            }
        }
    }
    rows
}

/// Draws one panel; returns notes for the caption: the full text of labels that were cut.
fn draw(scene: &mut Scene, study: &Study, slice: &Slice<'_>, frame: &Frame, first: bool, strip: f64) -> Vec<String> {
    let n = slice.columns.len();
    let width = frame.right - frame.left;
    let inset = (width / n as f64 / 2.0).min(34.0);
    let mut shares = slice.parameter.shares();
    let closest = shares.windows(2).map(|pair| pair[1] - pair[0]).fold(1.0, f64::min);
    // Of ordered numbers some labels suffice. Names need all.
    let is_scale = slice.parameter.spacing != Spacing::Even;
    let (labels, notes) = slice.parameter.labels(if is_scale { 110.0 } else { width / n as f64 - 4.0 });
    // Values too close for their labels are drawn at even distances.
    let close = closest * (width - 2.0 * inset) < widest(&labels) + 4.0;
    let even = slice.parameter.spacing != Spacing::Even && close;
    if even || slice.parameter.spacing == Spacing::Even {
        shares = (0..n).map(|i| (i as f64 + 0.5) / n as f64).collect();
    }
    let ends = if even || slice.parameter.spacing == Spacing::Even { 0.0 } else { inset };
    let x = Scale::new((0.0, 1.0), (frame.left + ends, frame.right - ends));
    let places: Vec<f64> = shares.iter().map(|share| x.at(*share)).collect();
    let range = (frame.bottom - frame.top).abs();
    let low_high = invert(frame, range);
    frame.grid_lines(scene, low_high, 4, first);
    if first {
        scene.text(Text::new(frame.left - 8.0, strip + 16.0, "failed").align(Align::Right));
        let middle = f64::midpoint(frame.top, frame.bottom);
        scene.text(Text::new(16.0, middle, "best eval loss").align(Align::Middle).rotated());
    }
    scene.rect([frame.left, strip, frame.right, strip + STRIP], palette::PANEL);
    counts(scene, slice, &places, strip);
    for (column, x) in slice.columns.iter().zip(&places) {
        dots(scene, column, *x, (width / n as f64 * 0.28).min(15.0), frame);
    }
    best_line(scene, study, slice, &places, frame);
    scene.line(&[(frame.left, frame.bottom), (frame.right, frame.bottom)], 1.0, palette::AXIS);
    row_of(scene, &labels, &places, frame.bottom + 18.0, palette::TEXT);
    let title = slice.parameter.title().replace(" (log)", if even { "" } else { " (log)" });
    let title = font::elide(&title, 12.0, false, width + GAP - 8.0);
    scene.text(Text::new(f64::midpoint(frame.left, frame.right), frame.bottom + 37.0, title).align(Align::Middle));
    notes
}

/// The losses at the lower and the upper edge of a frame.
fn invert(frame: &Frame, height: f64) -> (f64, f64) {
    let (zero, one) = (frame.y.at(0.0), frame.y.at(1.0));
    let unit = zero - one;
    let low = (zero - frame.bottom) / unit;
    (low, low + height / unit)
}

/// The number of failed configurations at each value.
fn counts(scene: &mut Scene, slice: &Slice<'_>, places: &[f64], strip: f64) {
    let texts: Vec<String> = slice.columns.iter().map(|column| column.failed.to_string()).collect();
    let widest = texts.iter().map(|text| font::width(text, 12.0, false)).fold(0.0, f64::max);
    let gap = places.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
    let crossed = widest + 16.0 < gap;
    for (text, &x) in texts.iter().zip(places) {
        if text == "0" {
            scene.text(Text::new(x, strip + 16.0, "0").align(Align::Middle));
        } else if crossed {
            scene.cross((x - 6.0, strip + 12.0), 3.2, palette::FAILED);
            scene.text(Text::new(x + 1.0, strip + 16.0, text).colour(palette::TEXT));
        } else if widest < gap - 3.0 {
            scene.text(Text::new(x, strip + 16.0, text).colour(palette::TEXT).align(Align::Middle));
        } else {
            scene.cross((x, strip + 12.0), 2.4, palette::FAILED);
        }
    }
}

/// Texts below their places. A text that would touch the one before is left out.
fn row_of(scene: &mut Scene, texts: &[String], places: &[f64], y: f64, colour: Colour) {
    let mut free = f64::NEG_INFINITY;
    for (text, &x) in texts.iter().zip(places) {
        let text = Text::new(x, y, text).align(Align::Middle).colour(colour);
        let [left, _, right, _] = text.bounds();
        if left > free {
            scene.text(text);
            free = right + 4.0;
        }
    }
}

/// Every configuration at one value, moved sideways a little so that equal ones stay visible.
fn dots(scene: &mut Scene, column: &Column<'_>, x: f64, reach: f64, frame: &Frame) {
    let alpha = (8.0 / column.successful.len().max(1) as f64).clamp(0.14, 0.4);
    for (index, best) in column.successful.iter().filter_map(|config| config.best).enumerate().skip(1) {
        // Multiples of the golden ratio spread any number of points evenly.
        let aside = ((index as f64 * 0.618_034).fract() - 0.5) * 2.0 * reach;
        let y = frame.y.at(best.mean);
        if y >= frame.top {
            scene.disc((x + aside, y), 3.0, palette::CONTEXT.alpha(alpha));
        } else {
            let (x, y) = (x + aside, frame.top + 4.0);
            scene.area(vec![(x - 3.6, y + 3.0), (x + 3.6, y + 3.0), (x, y - 3.6)], palette::CONTEXT.alpha(0.5));
        }
    }
}

/// The best configuration at each value with its standard deviation, joined by a line if the values are numbers.
fn best_line(scene: &mut Scene, study: &Study, slice: &Slice<'_>, places: &[f64], frame: &Frame) {
    let levels: Vec<_> = slice.columns.iter().map(|column| column.successful.first().and_then(|c| c.best)).collect();
    let overall = study.best().map(|best| slice.parameter.place(best));
    let inside = |mean: f64| frame.y.at(mean) >= frame.top;
    let numbers = slice.parameter.values.iter().flatten().all(|value| value.value.is_number());
    if numbers {
        let at = |(x, level): (&f64, &Option<crate::analysis::study::Level>)| {
            (*x, level.filter(|level| inside(level.mean)).map_or(f64::NAN, |level| frame.y.at(level.mean)))
        };
        let points: Vec<(f64, f64)> = places.iter().zip(&levels).map(at).collect();
        scene.line(&points, 1.8, palette::TRAIN);
    }
    let gap = places.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
    for (index, (&x, level)) in places.iter().zip(&levels).enumerate() {
        let Some(level) = level.filter(|level| inside(level.mean)) else { continue };
        let (colour, text_ink) =
            if Some(index) == overall { (palette::EVAL, palette::EVAL_TEXT) } else { (palette::TRAIN, palette::TRAIN) };
        let y = frame.y.at(level.mean);
        let end = |sd: f64| frame.y.at(level.mean + sd).clamp(frame.top, frame.bottom);
        let mut lowest = y;
        if let Some(sd) = level.sd {
            lowest = end(-sd);
            scene.line(&[(x, end(sd)), (x, lowest)], 1.8, colour);
        }
        scene.disc((x, y), 5.6, palette::BACKGROUND);
        scene.disc((x, y), 4.6, colour);
        let text = Text::new(x, (lowest.max(y + 6.0) + 14.0).min(frame.bottom - 3.0), format::loss(level.mean));
        let text = text.bold().align(Align::Middle).colour(text_ink);
        // If numbers would touch, only that of the best is written.
        if text.width() + 7.0 < gap || Some(index) == overall {
            scene.boxed_text(text);
        }
    }
}
