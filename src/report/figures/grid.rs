//! Figure `grid`: the eval loss curves of the whole sweep, a panel for each pair of values.

use super::frame::{self, Frame, PanelRow};
use super::parameter::Parameter;
use crate::analysis::curve::{self, Point};
use crate::analysis::{Config, Shape, Study, Sweep};
use crate::report::canvas::axis;
use crate::report::canvas::font;
use crate::report::canvas::scene::{Align, Colour, MARGIN, Mark, Scene, Text, WIDTH, palette};
use crate::report::{captions, format};

/// Panels beyond this many in a row or a column would be too small to read.
const MOST: usize = 8;
const LEFT: f64 = 104.0;
const GAP: f64 = 14.0;

/// What is laid out.
struct Layout<'a> {
    x: &'a Parameter,
    y: &'a Parameter,
    /// The parameter shown by colour: a third one, if it has few values.
    coloured: Option<&'a Parameter>,
    range: (f64, f64),
    end: u64,
}

impl Layout<'_> {
    /// The colours of the lines of a configuration, and of text about it.
    fn colours(&self, config: &Config) -> (Colour, Colour) {
        let index = self.coloured.map_or(0, |parameter| parameter.place(config));
        palette::CATEGORIES[index % palette::CATEGORIES.len()]
    }

    /// The best configuration of each colour in a panel, and all others.
    fn fronts<'a>(&self, study: &'a Study, at: (usize, usize)) -> (Vec<&'a Config>, Vec<&'a Config>) {
        let here = study.configs.iter().filter(|config| (self.x.place(config), self.y.place(config)) == at);
        let mut colours = Vec::new();
        let (mut fronts, mut others) = (Vec::new(), Vec::new());
        for config in here {
            let colour = self.coloured.map_or(0, |parameter| parameter.place(config));
            if colours.contains(&colour) {
                others.push(config);
            } else {
                colours.push(colour);
                fronts.push(config);
            }
        }
        (fronts, others)
    }
}

/// The figure, or why there is none.
pub fn grid(sweep: &Sweep, study: &Study) -> Result<Scene, String> {
    let parameters = Parameter::of(sweep);
    let [x, y] = Parameter::pair(&parameters).ok_or("Whole grid: it needs two varying parameters.")?;
    if x.values.len() > MOST || y.values.len() > MOST {
        return Err(format!("Whole grid: a parameter has more than {MOST} values. The heat maps show them."));
    }
    if sweep.runs.iter().all(|run| run.evals.is_empty()) {
        return Err("Whole grid: no trial has been evaluated yet.".into());
    }
    let others = parameters.iter().filter(|parameter| ![&x.key, &y.key].contains(&&parameter.key));
    let coloured = others.clone().find(|parameter| parameter.values.len() <= palette::CATEGORIES.len());
    let layout = Layout { x, y, coloured, range: range(sweep, study), end: frame::end(sweep, study) };
    let hidden = others.filter(|parameter| coloured.is_none_or(|coloured| coloured.key != parameter.key)).count();
    Ok(draw(sweep, study, &layout, hidden > 0))
}

/// The loss scale: from the lowest eval loss to somewhat above the class prior and the untrained models.
fn range(sweep: &Sweep, study: &Study) -> (f64, f64) {
    let losses = sweep.runs.iter().flat_map(|run| &run.evals).map(|row| f64::from(row.eval_loss));
    let low = losses.filter(|loss| loss.is_finite()).fold(f64::INFINITY, f64::min);
    let mut starts: Vec<f64> =
        sweep.runs.iter().filter_map(|run| run.evals.first()).map(|row| f64::from(row.eval_loss)).collect();
    starts.retain(|loss| loss.is_finite());
    starts.sort_by(f64::total_cmp);
    let start = starts.get(starts.len() / 2).copied().unwrap_or(low);
    let high = start.max(study.chance.unwrap_or(start));
    if !low.is_finite() || !high.is_finite() {
        return (0.0, 1.0);
    }
    let span = (high - low).max(0.02);
    (low - 0.12 * span, high + 0.22 * span)
}

fn draw(sweep: &Sweep, study: &Study, layout: &Layout<'_>, hidden: bool) -> Scene {
    let name = |parameter: &Parameter| format::axis_name(&parameter.key);
    let title = format!("Whole grid: eval loss for each {} × {}", name(layout.x), name(layout.y));
    let mut scene = Scene::new("grid", title);
    let mut top = scene.heading(&subtitle(sweep, study, hidden)) + 4.0;
    top = legend(&mut scene, study, layout, top) + 8.0;
    let (columns, rows) = (layout.x.values.len(), layout.y.values.len());
    let panel_row = PanelRow::new(LEFT, GAP, columns);
    let width = panel_row.width;
    let height = (width * 0.78).clamp(64.0, 150.0);
    let head = Text::new(0.0, 0.0, "").size(13.0).bold().colour(palette::TEXT).align(Align::Middle);
    let (heads, mut notes) = layout.x.heads(13.0, width, 2);
    let deepest = heads.iter().map(Vec::len).max().unwrap_or(1) as f64;
    top += 7.8 * (deepest - 1.0);
    for (index, lines) in heads.iter().enumerate() {
        let (left, right) = panel_row.place(index);
        scene.multiline(&Text { x: f64::midpoint(left, right), y: top + 14.0, ..head.clone() }, lines);
    }
    top += 22.0 + 7.8 * (deepest - 1.0);
    let (names, more) = layout.y.heads(12.0, height, 2);
    notes.extend(more);
    for (row, lines) in names.iter().enumerate() {
        let y = top + (height + GAP) * row as f64;
        let name = Text { x: MARGIN + 4.0, y: y + height / 2.0, ..head.clone() };
        scene.multiline(&name.size(12.0).rotated(), lines);
        for column in 0..columns {
            let (left, right) = panel_row.place(column);
            let frame = Frame::new([left, y, right, y + height], layout.end, layout.range);
            panel(&mut scene, sweep, study, layout, (column, row), &frame);
            if row + 1 == rows {
                frame.steps(&mut scene, layout.end, frame.bottom);
            }
        }
    }
    let bottom = top + (height + GAP) * rows as f64 - GAP;
    let middle = f64::midpoint(top, bottom);
    scene.text(
        Text::new(MARGIN + 24.0, middle, format!("eval loss ({})", study.task.loss_unit()))
            .align(Align::Middle)
            .rotated(),
    );
    scene.text(Text::new(f64::midpoint(LEFT, WIDTH - MARGIN), bottom + 36.0, "optimizer step").align(Align::Middle));
    scene.height = bottom + 48.0;
    if !notes.is_empty() {
        scene.height = scene.caption(bottom + 58.0, &notes);
    }
    scene
}

fn subtitle(sweep: &Sweep, study: &Study, hidden: bool) -> Vec<String> {
    let several = study.seeds > 1;
    vec![
        captions::sweep_size(sweep, study),
        if several {
            format!("mean and min–max band over successful {}s", study.repetition.noun())
        } else {
            String::new()
        },
        if hidden {
            "coloured: the best configuration over all other parameters, grey: the others".into()
        } else {
            String::new()
        },
        if study.metric.is_loss() {
            "number: lowest eval loss of the panel".into()
        } else {
            format!("number: eval loss of the best configuration of the panel by {}", study.metric.title())
        },
        "short line on the x axis: end of warm-up".into(),
        "all panels have the same scale".into(),
    ]
}

/// The legend of the colours; returns the y below.
fn legend(scene: &mut Scene, study: &Study, layout: &Layout<'_>, top: f64) -> f64 {
    let mut entries: Vec<(Mark, String)> = Vec::new();
    if let Some(coloured) = layout.coloured {
        let mark = |index: usize| Mark::Line(palette::CATEGORIES[index % palette::CATEGORIES.len()].0);
        let name = |index: usize| {
            let name = font::printable(&coloured.named_value(index), false);
            font::elide(&name, 12.0, false, 830.0 / coloured.values.len() as f64 - 36.0)
        };
        entries.extend((0..coloured.values.len()).map(|index| (mark(index), name(index))));
    }
    let mut marks: Vec<(Mark, String)> = Vec::new();
    if study.shapes.iter().any(|shape| shape.failed()) {
        marks.push((Mark::Dashes, "a failed trial".into()));
    }
    if study.shapes.iter().any(|j| matches!(j, Shape::NotFinite { .. } | Shape::Diverged { .. })) {
        marks.push((Mark::Cross, "NaN or diverged at this step".into()));
    }
    let mut y = top;
    for line in [entries, marks].iter().filter(|line| !line.is_empty()) {
        let line: Vec<(Mark, &str)> = line.iter().map(|(mark, name)| (*mark, name.as_str())).collect();
        scene.legend(MARGIN, y, &line);
        y += 19.0;
    }
    y - 10.0
}

fn panel(scene: &mut Scene, sweep: &Sweep, study: &Study, layout: &Layout<'_>, at: (usize, usize), frame: &Frame) {
    let (fronts, others) = layout.fronts(study, at);
    let place = [frame.left, frame.top, frame.right, frame.bottom];
    levels(scene, study, layout, frame, at.0 == 0);
    if fronts.is_empty() {
        scene.boxed_text(
            Text::new(f64::midpoint(frame.left, frame.right), f64::midpoint(frame.top, frame.bottom), "no trial")
                .align(Align::Middle)
                .size(11.0),
        );
        return;
    }
    let measured = |config: &&Config| config.runs.iter().any(|&run| sweep.runs[run].evals.len() > 1);
    if !fronts.iter().chain(&others).any(measured) && fronts.iter().all(|config| config.shape.failed()) {
        scene.rect(place, palette::PANEL);
        scene.hatch(place, palette::HATCH);
    } else {
        scene.line(&[(frame.left, frame.bottom), (frame.right, frame.bottom)], 1.0, palette::AXIS);
        warmup(scene, sweep, &fronts, frame);
    }
    let alpha = (5.0 / others.len().max(1) as f64).clamp(0.12, 0.4);
    for config in &others {
        frame.curve(scene, &axis::reduce(&frame.place(&mean(config))), 0.9, palette::CONTEXT.alpha(alpha));
    }
    // The best is drawn last, on top.
    for config in fronts.iter().rev() {
        lines(scene, sweep, study, config, layout.colours(config).0, frame);
    }
    head(scene, layout, &fronts, &others, frame);
}

/// Grid lines and the loss of the class prior, with numbers in the first column.
fn levels(scene: &mut Scene, study: &Study, layout: &Layout<'_>, frame: &Frame, named: bool) {
    let chance = study.chance.filter(|chance| (layout.range.0..layout.range.1).contains(chance));
    frame.grid_lines_except(scene, layout.range, 3, named, chance);
    let Some(y) = chance.map(|chance| frame.y.at(chance)) else { return };
    scene.dashes((frame.left, frame.right), y, palette::AXIS);
    if named {
        scene.text(Text::new(frame.left - 6.0, y + 4.0, "chance").align(Align::Right));
    }
}

fn mean(config: &Config) -> Vec<Point> {
    config.curve.iter().map(|point| Point { x: point.x, y: point.mean }).collect()
}

/// Band and mean of the successful runs; each failed run dashed, with a cross at the step where it failed.
fn lines(scene: &mut Scene, sweep: &Sweep, study: &Study, config: &Config, colour: Colour, frame: &Frame) {
    if config.survivors.len() > 1 {
        frame.band(scene, &config.curve, colour.alpha(0.18));
    }
    for &run in config.runs.iter().filter(|run| !config.survivors.contains(run)) {
        let points = frame.place(&curve::eval_loss(&sweep.runs[run].evals));
        if study.shapes[run].failed() {
            frame.dashed(scene, &points, 1.0, colour);
        } else {
            frame.curve(scene, &points, 1.0, colour.alpha(0.7));
        }
        if let Shape::NotFinite { step } | Shape::Diverged { step } = study.shapes[run] {
            scene.cross((frame.x.at(step as f64), frame.top + 26.0), 3.2, colour);
        }
    }
    frame.curve(scene, &axis::reduce(&frame.place(&mean(config))), 1.9, colour);
}

fn warmup(scene: &mut Scene, sweep: &Sweep, fronts: &[&Config], frame: &Frame) {
    let runs = fronts.iter().flat_map(|config| &config.runs).map(|&run| &sweep.runs[run].trial);
    let mut steps: Vec<u64> = runs.map(|trial| trial.config.warmup.steps(trial.steps)).collect();
    steps.sort_unstable();
    steps.dedup();
    for step in steps.into_iter().filter(|step| *step > 0) {
        let x = frame.x.at(step as f64);
        if x <= frame.right {
            scene.line(&[(x, frame.bottom - 6.0), (x, frame.bottom)], 1.4, palette::TEXT);
        }
    }
}

/// The best loss in the colour of its configuration, or the outcome of all.
fn head(scene: &mut Scene, layout: &Layout<'_>, fronts: &[&Config], others: &[&Config], frame: &Frame) {
    let all = || fronts.iter().chain(others).copied();
    let best = fronts.first().and_then(|config| config.best.map(|best| (*config, best)));
    let failed = all().filter(|config| config.shape.failed()).count();
    let (text, colour) = match best {
        Some((config, best)) => {
            let seeds = if config.complete() { String::new() } else { format!(" ({}/{})", best.n, config.runs.len()) };
            (format::loss(best.mean) + &seeds, layout.colours(config).1)
        }
        None if failed == all().count() => (captions::failures(all()), palette::FAILED),
        None => ("not finished".to_owned(), palette::MUTED),
    };
    let text = font::elide(&text, 12.0, true, frame.right - frame.left - 8.0);
    scene.boxed_text(Text::new(frame.right - 2.0, frame.top + 12.0, text).bold().align(Align::Right).colour(colour));
}
