//! Figure `plateaus`: at which step each configuration stops improving, and at which loss.

use super::columns::{self, Column, GAP, SIZE};
use super::frame::Frame;
use super::parameter::{Parameter, Spacing};
use crate::analysis::{Config, Run, Shape, Study, Sweep};
use crate::report::canvas::axis::{self, Scale};
use crate::report::canvas::font;
use crate::report::canvas::scene::{Align, Colour, MARGIN, Mark, Scene, Text, WIDTH, palette};
use crate::report::{captions, format};

const MOST_ROWS: usize = 24;
const ROW: f64 = 20.0;
const BAR: f64 = 11.0;
const RIGHT: f64 = WIDTH - MARGIN;
/// The scatter plot needs at least this many points.
const LEAST_DOTS: usize = 4;

/// What a row shows. All numbers are optimizer steps.
struct Row<'a> {
    config: &'a Config,
    warmup: u64,
    /// Last step that was measured.
    end: u64,
    onset: Option<u64>,
    rises: Option<u64>,
    /// The first step at which the loss was non-finite or diverged.
    cross: Option<u64>,
    /// Text in place of the dot, for a configuration without one.
    status: String,
}

/// The figure, or why there is none.
pub fn timeline(sweep: &Sweep, study: &Study) -> Result<Scene, String> {
    let parameters = Parameter::of(sweep);
    let (fronts, by) = fronts(study, &parameters);
    let rows: Vec<Row<'_>> = fronts.iter().take(MOST_ROWS).map(|config| row(sweep, study, config)).collect();
    if rows.iter().all(|row| row.end == 0) {
        return Err("Plateaus: no trial has taken a step yet.".into());
    }
    let mut scene = Scene::new("plateaus", "Plateaus: when each configuration stops improving, and at which loss");
    let top = scene.heading(&subtitle(sweep, study, &by, fronts.len())) + 24.0;
    let dots: Vec<&Config> =
        study.configs.iter().filter(|config| config.best.is_some() && config.shape.plateau().is_some()).collect();
    let right = if dots.len() >= LEAST_DOTS { 690.0 } else { RIGHT };
    let (bottom, of_columns) = table(&mut scene, sweep, study, &rows, top, right);
    let incomplete = rows.iter().any(|row| row.config.best.is_some() && !row.config.complete());
    let noun = study.repetition.noun();
    let incomplete =
        if incomplete { format!("*: without the {noun}s that failed or have not finished") } else { String::new() };
    let mut notes = vec![captions::plateau_definition(), captions::delta(study), incomplete];
    notes.extend(of_columns);
    if dots.len() >= LEAST_DOTS {
        let least = top + 280.0;
        notes.extend(scatter(
            &mut scene,
            study,
            &dots,
            parameters.first(),
            [right + 66.0, top, RIGHT, bottom.max(least)],
        ));
        scene.height = bottom.max(least) + 40.0;
    } else {
        scene.height = bottom + 40.0;
    }
    let y = scene.height + 12.0;
    scene.legend(MARGIN, y, &entries(&rows));
    scene.height = scene.caption(y + 22.0, &notes);
    Ok(scene)
}

/// Every configuration, or the best one at each pair of values if there are too many; and the names of that pair's axes.
fn fronts<'a>(study: &'a Study, parameters: &[Parameter]) -> (Vec<&'a Config>, Vec<String>) {
    let keys = match Parameter::pair(parameters) {
        Some(pair) if study.configs.len() > MOST_ROWS && parameters.len() > 2 => pair,
        _ => return (study.configs.iter().collect(), Vec::new()),
    };
    let mut seen: Vec<[usize; 2]> = Vec::new();
    let mut fronts: Vec<&Config> = Vec::new();
    for config in &study.configs {
        let at = keys.map(|parameter| parameter.place(config));
        if !seen.contains(&at) {
            seen.push(at);
            fronts.push(config);
        }
    }
    (fronts, keys.map(|parameter| format::axis_name(&parameter.key)).to_vec())
}

fn row<'a>(sweep: &Sweep, study: &Study, config: &'a Config) -> Row<'a> {
    let runs = || config.runs.iter().map(|&run| &sweep.runs[run]);
    let first = runs().next();
    let crosses = config.runs.iter().filter_map(|&run| match study.shapes[run] {
        Shape::NotFinite { step } | Shape::Diverged { step } => Some(step),
        _ => None,
    });
    let end = runs().map(Run::end).max().unwrap_or(0);
    let status = match config.shape {
        Shape::Unfinished if end == 0 => "not run yet".into(),
        Shape::Unfinished => format!("at step {end}"),
        _ => config.label(&study.shapes),
    };
    Row {
        config,
        warmup: first.map_or(0, |run| run.trial.config.warmup.steps(run.trial.steps)),
        end,
        onset: config.shape.plateau(),
        rises: config.shape.rises(),
        cross: crosses.min(),
        status,
    }
}

fn subtitle(sweep: &Sweep, study: &Study, by: &[String], rows: usize) -> Vec<String> {
    vec![
        captions::sweep_size(sweep, study),
        if by.is_empty() {
            String::new()
        } else {
            format!("one row for each {}: the best configuration with these values", by.join(" × "))
        },
        format!("sorted by best {}", study.metric.title()),
        if rows > MOST_ROWS { format!("the first {MOST_ROWS} of {rows} rows") } else { String::new() },
        study.eval_interval.map_or_else(String::new, |steps| {
            format!("an onset is known to within one evaluation interval ({steps} steps)")
        }),
    ]
}

/// The legend of the marks in the figure.
fn entries(rows: &[Row<'_>]) -> Vec<(Mark, &'static str)> {
    let any = |fits: fn(&Row<'_>) -> bool| rows.iter().any(fits);
    let all = [
        (true, Mark::Swatch(palette::FALLING), "loss falls"),
        (any(|row| row.warmup > 0), Mark::Hatched(palette::FALLING), "warm-up"),
        (any(|row| row.onset.is_some()), Mark::Swatch(palette::PLATEAU.alpha(0.7)), "plateau"),
        (any(|row| row.rises.is_some()), Mark::Swatch(palette::RISING.alpha(0.75)), "loss rises: overfits"),
        (any(|row| row.config.best_step.is_some()), Mark::Diamond(palette::TEXT), "best checkpoint"),
        (any(|row| row.cross.is_some()), Mark::Cross, "NaN or diverged"),
    ];
    all.into_iter().filter_map(|(drawn, mark, name)| drawn.then_some((mark, name))).collect()
}

/// The rows: parameters, bar and best loss; returns the y below, and notes on the columns.
fn table(
    scene: &mut Scene,
    sweep: &Sweep,
    study: &Study,
    rows: &[Row<'_>],
    top: f64,
    right: f64,
) -> (f64, Vec<String>) {
    let shown: Vec<&Config> = rows.iter().map(|row| row.config).collect();
    let (columns, notes) = columns::fit(columns::columns(sweep, &shown), (right - MARGIN) * 0.42);
    let mut x = MARGIN;
    for column in &columns {
        cells(scene, column, x, top);
        x += column.width + GAP;
    }
    let level = (right - 104.0, right);
    let bars = (x, level.0 - 22.0);
    let end = rows.iter().map(|row| row.end).max().unwrap_or(0).max(study.steps).max(1);
    let scale = Scale::new((0.0, end as f64), bars);
    scene.text(Text::new(bars.0, top, font::elide("progress, by optimizer step", SIZE, false, bars.1 - bars.0)));
    scene.text(Text::new(level.0, top, if study.seeds > 1 { "eval loss ± SD" } else { "eval loss" }));
    let first = top + 10.0;
    let bottom = first + ROW * rows.len() as f64 + 2.0;
    for step in axis::step_ticks(end, 4) {
        let x = scale.at(step as f64);
        scene.line(&[(x, first), (x, bottom)], 1.0, palette::GRID);
        let label = Text::new(x, bottom + 16.0, step.to_string()).align(Align::Middle);
        scene.text(label);
    }
    let dots = dot_scale(rows, level);
    for (index, row) in rows.iter().enumerate() {
        let y = first + ROW * (index as f64 + 0.5);
        bar(scene, row, scale, y);
        row_level(scene, row, dots, level, y);
    }
    (bottom, notes)
}

fn cells(scene: &mut Scene, column: &Column, x: f64, top: f64) {
    let (at, align) = if column.numeric { (x + column.width, Align::Right) } else { (x, Align::Left) };
    let title = font::elide(&column.title, SIZE, false, column.width);
    scene.text(Text::new(at, top, title).align(align));
    for (index, cell) in column.cells.iter().enumerate() {
        let y = top + 10.0 + ROW * (index as f64 + 0.5) + 4.0;
        let text = font::elide(cell, SIZE, false, column.width);
        scene.text(Text::new(at, y, text).align(align).colour(palette::TEXT));
    }
}

/// The scale of the best losses. Rows far behind the best do not widen it.
fn dot_scale(rows: &[Row<'_>], (left, right): (f64, f64)) -> Option<Scale> {
    let levels: Vec<_> = rows.iter().filter_map(|row| row.config.best).collect();
    let low = levels.iter().map(|level| level.mean - level.sd.unwrap_or(0.0)).fold(f64::INFINITY, f64::min);
    let best = levels.iter().map(|level| level.mean).fold(f64::INFINITY, f64::min);
    let mut means: Vec<f64> = levels.iter().map(|level| level.mean).collect();
    means.sort_by(f64::total_cmp);
    let most = means.get(means.len() * 3 / 4).copied()?;
    let high = best + 2.0 * (most - best).max(0.005);
    (low.is_finite() && high.is_finite()).then(|| Scale::new((low, high), (left + 4.0, right - 44.0)))
}

fn bar(scene: &mut Scene, row: &Row<'_>, scale: Scale, y: f64) {
    let (top, bottom) = (y - BAR / 2.0, y + BAR / 2.0);
    let x = |step: u64| scale.at(step as f64);
    let piece =
        |scene: &mut Scene, from: u64, to: u64, colour: Colour| scene.rect([x(from), top, x(to), bottom], colour);
    if row.config.shape.failed() {
        let place = [x(0), top, x(row.end), bottom];
        scene.rect(place, palette::PANEL);
        scene.hatch(place, palette::HATCH);
    } else {
        let onset = row.onset.unwrap_or(row.end).min(row.end);
        let rises = row.rises.unwrap_or(row.end).clamp(onset, row.end.max(onset));
        piece(scene, 0, onset, palette::FALLING);
        piece(scene, onset, rises, palette::PLATEAU.alpha(0.7).on_background());
        piece(scene, rises, row.end, palette::RISING.alpha(0.75).on_background());
        scene.hatch([x(0), top, x(row.warmup.min(row.end)), bottom], palette::BACKGROUND);
    }
    if let Some(step) = row.cross {
        scene.cross((x(step), y), 4.4, palette::FAILED);
    }
    if let Some(step) = row.config.best_step.filter(|_| row.config.best.is_some()) {
        scene.diamond((x(step), y), 5.6, palette::BACKGROUND);
        scene.diamond((x(step), y), 4.4, palette::TEXT);
    }
}

/// Dot, standard deviation and number, or the status of a configuration without a best loss.
fn row_level(scene: &mut Scene, row: &Row<'_>, scale: Option<Scale>, (left, right): (f64, f64), y: f64) {
    let (Some(best), Some(scale)) = (row.config.best, scale) else {
        let text = font::elide(&row.status, SIZE, false, right - left);
        scene.text(Text::new(left, y + 4.0, text));
        return;
    };
    let limit = right - 42.0;
    let x = scale.at(best.mean);
    if x <= limit {
        if let Some(sd) = best.sd {
            scene.line(&[(scale.at(best.mean - sd), y), (scale.at(best.mean + sd).min(limit), y)], 1.8, palette::TEXT);
        }
        scene.disc((x, y), 3.6, if row.config.within_noise == Some(true) { palette::TRAIN } else { palette::TEXT });
    } else {
        scene.area(vec![(limit - 5.0, y - 3.6), (limit - 5.0, y + 3.6), (limit + 1.0, y)], palette::TEXT);
    }
    let star = if row.config.complete() { "" } else { "*" };
    scene.text(Text::new(right, y + 4.0, format::loss(best.mean) + star).align(Align::Right).colour(palette::TEXT));
}

/// A scatter plot: plateau onset against best loss of every configuration; returns notes for the caption.
fn scatter(
    scene: &mut Scene,
    study: &Study,
    dots: &[&Config],
    lead: Option<&Parameter>,
    place: [f64; 4],
) -> Vec<String> {
    let [left, top, right, bottom] = place;
    let mut levels: Vec<f64> = dots.iter().filter_map(|config| config.best).map(|best| best.mean).collect();
    levels.sort_by(f64::total_cmp);
    let low = levels.first().copied().unwrap_or(0.0);
    let most = levels.get(levels.len() * 3 / 4).copied().unwrap_or(low);
    let high = levels.last().copied().unwrap_or(low).min(low + 3.0 * (most - low).max(study.delta));
    let margin = 0.07 * (high - low).max(study.delta);
    let range = (low - margin, high + margin);
    let legend = lead.map_or(top, |lead| colour_legend(scene, lead, left, top, right));
    let plot = (legend + 15.0).max(top + 32.0);
    let frame = Frame::new([left, plot, right, bottom], study.steps.max(1), range);
    frame.grid_lines(scene, range, 5, true);
    frame.steps(scene, study.steps.max(1), bottom);
    let title = Text::new(f64::midpoint(left, right), bottom + 34.0, "plateau onset (step) · lower left is better");
    scene.text(title.align(Align::Middle));
    let title = Text::new(left - 46.0, f64::midpoint(plot, bottom), "plateau level (best eval loss)");
    scene.text(title.align(Align::Middle).rotated());
    let at = |config: &Config| Some((config.shape.plateau()? as f64, config.best?.mean));
    let points: Vec<(f64, f64)> = dots.iter().filter_map(|config| at(config)).collect();
    let mut front: Vec<(f64, f64)> = Vec::new();
    for (x, y) in pareto(&points) {
        if let Some(last) = front.last() {
            front.push((frame.x.at(x), last.1));
        }
        front.push((frame.x.at(x), frame.y.at(y)));
    }
    if let Some(last) = front.last().copied() {
        front.push((right, last.1));
    }
    frame.curve(scene, &front, 1.1, palette::AXIS);
    let mut above = 0;
    for (config, (x, y)) in dots.iter().rev().zip(points.iter().rev()) {
        let (x, y) = frame.at(*x, *y);
        if y < plot {
            above += 1;
            continue;
        }
        scene.disc((x, y), 4.0, palette::BACKGROUND);
        scene.disc((x, y), 3.2, lead.map_or(palette::TRAIN, |lead| colour(lead, lead.place(config))));
    }
    let missing = study.configs.len() - dots.len();
    let left_out = [
        if missing > 0 {
            format!("{} without a plateau not in the scatter plot", format::count(missing, "configuration"))
        } else {
            String::new()
        },
        if above > 0 { format!("{above} above its scale") } else { String::new() },
    ];
    vec![
        left_out.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", "),
        "grey steps: Pareto front, no other configuration is both earlier and lower".into(),
    ]
}

/// The Pareto front from left to right: the points to which no other point is both earlier and lower.
fn pareto(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut front: Vec<(f64, f64)> = Vec::new();
    for point in sorted {
        if front.last().is_none_or(|last| point.1 < last.1) {
            front.push(point);
        }
    }
    front
}

/// The colour of a value: from dark to light if the values have an order, else one of the categories.
fn colour(parameter: &Parameter, index: usize) -> Colour {
    if has_shades(parameter) {
        palette::ordered(0.85 * index as f64 / (parameter.values.len() - 1).max(1) as f64)
    } else {
        palette::CATEGORIES[index].0
    }
}

fn has_shades(parameter: &Parameter) -> bool {
    parameter.spacing != Spacing::Even || parameter.values.len() > palette::CATEGORIES.len()
}

/// The legend of the colours; returns the y of its last line. Of too many shades it shows the first and the last.
fn colour_legend(scene: &mut Scene, lead: &Parameter, left: f64, top: f64, right: f64) -> f64 {
    let (labels, _) = lead.labels(if has_shades(lead) { 80.0 } else { 110.0 });
    let title = font::elide(&font::printable(format::short_axis_name(&lead.key), false), SIZE, false, 90.0);
    let name = Text::new(left, top, title);
    let start = left + name.width() + 10.0;
    scene.text(name);
    let width = |label: &String| font::width(label, SIZE, false) + 22.0;
    let all: f64 = labels.iter().map(width).sum();
    let roomy = !has_shades(lead) || all <= 1.6 * (right - start);
    let (mut x, mut y) = (start, top);
    for (index, label) in labels.iter().enumerate() {
        if !roomy && index > 0 && index + 1 < labels.len() {
            continue;
        }
        if x + width(label) > right + 10.0 {
            (x, y) = (start, y + 17.0);
        }
        scene.disc((x + 4.0, y - 4.0), 4.0, colour(lead, index));
        scene.text(Text::new(x + 11.0, y, label).colour(palette::TEXT));
        x += width(label);
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pareto_front_holds_the_undominated_points() {
        let points = [(300.0, 0.4), (100.0, 0.5), (200.0, 0.6), (300.0, 0.3), (400.0, 0.3)];
        assert_eq!(pareto(&points), [(100.0, 0.5), (300.0, 0.3)]);
    }
}
