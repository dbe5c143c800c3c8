//! Figure `plateaus`: when each configuration stops improving, and at what level.

use super::axis::{self, Scale};
use super::columns::{self, Column, GAP, SIZE};
use super::font;
use super::parameter::{Parameter, Spacing};
use super::scene::{Align, Ink, MARGIN, Mark, Scene, Text, WIDTH, ink};
use super::words;
use crate::analysis::{Config, Judgement, Study, Sweep, plateau};

const MOST_ROWS: usize = 24;
const ROW: f64 = 20.0;
const BAR: f64 = 11.0;
const RIGHT: f64 = WIDTH - MARGIN;
/// Fewer points make no cloud.
const LEAST_DOTS: usize = 4;

/// What becomes of a row's bar; steps.
struct Row<'a> {
    config: &'a Config,
    warmup: u64,
    /// Last step that was measured.
    end: u64,
    onset: Option<u64>,
    rises: Option<u64>,
    /// The first step at which the loss was not finite or ran away.
    cross: Option<u64>,
    /// Where the dot would stand, if there is none.
    words: String,
}

/// The figure, or why there is none.
pub fn timeline(sweep: &Sweep, study: &Study) -> Result<Scene, String> {
    let parameters = Parameter::of(sweep);
    let (fronts, by) = fronts(study, &parameters);
    let rows: Vec<Row<'_>> = fronts.iter().take(MOST_ROWS).map(|config| row(sweep, study, config)).collect();
    if rows.iter().all(|row| row.end == 0) {
        return Err("Plateau timeline: nothing was measured yet.".into());
    }
    let mut scene = Scene::new("plateaus", "Plateaus: when each configuration stops improving, and at what level");
    let top = scene.heading(&subtitle(sweep, study, &by, fronts.len())) + 24.0;
    let dots: Vec<&Config> =
        study.configs.iter().filter(|config| config.best.is_some() && config.judgement.plateau().is_some()).collect();
    let right = if dots.len() >= LEAST_DOTS { 690.0 } else { RIGHT };
    let bottom = table(&mut scene, sweep, study, &rows, top, right);
    let lost = rows.iter().any(|row| row.config.best.is_some() && !row.config.complete());
    let lost = if lost { "*: without the seeds that were lost or have not ended" } else { "" };
    let mut notes = vec![note(), words::delta(study), lost.to_owned()];
    if dots.len() >= LEAST_DOTS {
        let least = top + 280.0;
        notes.extend(cloud(
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
    scene.height = scene.lines(y + 22.0, &notes);
    Ok(scene)
}

/// The best configuration at each pair of values, or every configuration where they are few; and what was chosen over.
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
    (fronts, keys.map(|parameter| words::axis_name(&parameter.key)).to_vec())
}

fn row<'a>(sweep: &Sweep, study: &Study, config: &'a Config) -> Row<'a> {
    let runs = || config.runs.iter().map(|&run| &sweep.runs[run]);
    let first = runs().next();
    let crosses = config.runs.iter().filter_map(|&run| match study.judgements[run] {
        Judgement::NotFinite { step } | Judgement::Diverged { step } => Some(step),
        _ => None,
    });
    let end = runs().map(|run| run.measured().end()).max().unwrap_or(0);
    let words = match config.judgement {
        Judgement::Unfinished if end == 0 => "not run yet".into(),
        Judgement::Unfinished => format!("at step {end}"),
        _ => config.label(&study.judgements),
    };
    Row {
        config,
        warmup: first.map_or(0, |run| run.trial.config.warmup.steps(run.trial.steps)),
        end,
        onset: config.judgement.plateau(),
        rises: config.judgement.rises(),
        cross: crosses.min(),
        words,
    }
}

fn subtitle(sweep: &Sweep, study: &Study, by: &[String], rows: usize) -> Vec<String> {
    vec![
        words::size(sweep, study),
        if by.is_empty() {
            String::new()
        } else {
            format!("one row per {}, its best everything else", by.join(" × "))
        },
        "sorted by best eval loss".into(),
        if rows > MOST_ROWS { format!("the first {MOST_ROWS} of {rows} rows") } else { String::new() },
        study
            .eval_interval
            .map_or_else(String::new, |steps| format!("evaluated every {steps} steps: no onset is known better")),
    ]
}

fn note() -> String {
    let width = plateau::EVAL_HALF_WIDTH;
    format!(
        "Plateau: first step after which the smoothed eval loss (centred local-linear, ±{width} evaluations, mean of surviving seeds) never improves by more than delta again"
    )
}

/// The marks that were drawn.
fn entries(rows: &[Row<'_>]) -> Vec<(Mark, &'static str)> {
    let any = |fits: fn(&Row<'_>) -> bool| rows.iter().any(fits);
    let all = [
        (true, Mark::Swatch(ink::FALLING), "falling"),
        (any(|row| row.warmup > 0), Mark::Hatched(ink::FALLING), "warm-up"),
        (any(|row| row.onset.is_some()), Mark::Swatch(ink::PLATEAU.alpha(0.7)), "plateau"),
        (any(|row| row.rises.is_some()), Mark::Swatch(ink::RISING.alpha(0.75)), "rising: overfit"),
        (any(|row| row.config.best_step.is_some()), Mark::Diamond(ink::TEXT), "best checkpoint"),
        (any(|row| row.cross.is_some()), Mark::Cross, "NaN or diverged"),
    ];
    all.into_iter().filter_map(|(drawn, mark, name)| drawn.then_some((mark, name))).collect()
}

/// Rows of parameters, bar and level; returns the y below.
fn table(scene: &mut Scene, sweep: &Sweep, study: &Study, rows: &[Row<'_>], top: f64, right: f64) -> f64 {
    let shown: Vec<&Config> = rows.iter().map(|row| row.config).collect();
    let (columns, _) = columns::fit(columns::columns(sweep, &shown), (right - MARGIN) * 0.42);
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
    scene.text(Text::new(level.0, top, if study.seeds > 1 { "best loss ± sd" } else { "best loss" }));
    let first = top + 10.0;
    let bottom = first + ROW * rows.len() as f64 + 2.0;
    for step in axis::step_ticks(end, 4) {
        let x = scale.at(step as f64);
        scene.line(&[(x, first), (x, bottom)], 1.0, ink::GRID);
        let label = Text::new(x, bottom + 16.0, step.to_string()).align(Align::Middle);
        scene.text(label);
    }
    let dots = dot_scale(rows, level);
    for (index, row) in rows.iter().enumerate() {
        let y = first + ROW * (index as f64 + 0.5);
        bar(scene, row, scale, y);
        row_level(scene, row, dots, level, y);
    }
    bottom
}

fn cells(scene: &mut Scene, column: &Column, x: f64, top: f64) {
    let (at, align) = if column.numeric { (x + column.width, Align::Right) } else { (x, Align::Left) };
    let title = font::elide(&column.title, SIZE, false, column.width);
    scene.text(Text::new(at, top, title).align(align));
    for (index, cell) in column.cells.iter().enumerate() {
        let y = top + 10.0 + ROW * (index as f64 + 0.5) + 4.0;
        let text = font::elide(cell, SIZE, false, column.width);
        scene.text(Text::new(at, y, text).align(align).ink(ink::TEXT));
    }
}

/// Over the best losses of the rows, without those far behind.
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
    let piece = |scene: &mut Scene, from: u64, to: u64, ink: Ink| scene.rect([x(from), top, x(to), bottom], ink);
    if row.config.judgement.failed() {
        let place = [x(0), top, x(row.end), bottom];
        scene.rect(place, ink::PANEL);
        scene.hatch(place, ink::HATCH);
    } else {
        let onset = row.onset.unwrap_or(row.end).min(row.end);
        let rises = row.rises.unwrap_or(row.end).clamp(onset, row.end.max(onset));
        piece(scene, 0, onset, ink::FALLING);
        piece(scene, onset, rises, ink::PLATEAU.alpha(0.7).on_paper());
        piece(scene, rises, row.end, ink::RISING.alpha(0.75).on_paper());
        scene.hatch([x(0), top, x(row.warmup.min(row.end)), bottom], ink::PAPER);
    }
    if let Some(step) = row.cross {
        scene.cross((x(step), y), 4.4, ink::FAILED);
    }
    if let Some(step) = row.config.best_step.filter(|_| row.config.best.is_some()) {
        scene.diamond((x(step), y), 5.6, ink::PAPER);
        scene.diamond((x(step), y), 4.4, ink::TEXT);
    }
}

/// Dot, deviation and number, or what happened instead.
fn row_level(scene: &mut Scene, row: &Row<'_>, scale: Option<Scale>, (left, right): (f64, f64), y: f64) {
    let (Some(best), Some(scale)) = (row.config.best, scale) else {
        let text = font::elide(&row.words, SIZE, false, right - left);
        scene.text(Text::new(left, y + 4.0, text));
        return;
    };
    let limit = right - 42.0;
    let x = scale.at(best.mean);
    if x <= limit {
        if let Some(sd) = best.sd {
            scene.line(&[(scale.at(best.mean - sd), y), (scale.at(best.mean + sd).min(limit), y)], 1.8, ink::TEXT);
        }
        scene.disc((x, y), 3.6, if row.config.within_noise == Some(true) { ink::TRAIN } else { ink::TEXT });
    } else {
        scene.area(vec![(limit - 5.0, y - 3.6), (limit - 5.0, y + 3.6), (limit + 1.0, y)], ink::TEXT);
    }
    let lost = if row.config.complete() { "" } else { "*" };
    scene.text(Text::new(right, y + 4.0, words::loss(best.mean) + lost).align(Align::Right).ink(ink::TEXT));
}

/// Onset against level of every configuration; returns notes.
fn cloud(scene: &mut Scene, study: &Study, dots: &[&Config], lead: Option<&Parameter>, place: [f64; 4]) -> Vec<String> {
    let [left, top, right, bottom] = place;
    let mut levels: Vec<f64> = dots.iter().filter_map(|config| config.best).map(|best| best.mean).collect();
    levels.sort_by(f64::total_cmp);
    let low = levels.first().copied().unwrap_or(0.0);
    let most = levels.get(levels.len() * 3 / 4).copied().unwrap_or(low);
    let high = levels.last().copied().unwrap_or(low).min(low + 3.0 * (most - low).max(study.delta));
    let margin = 0.07 * (high - low).max(study.delta);
    let range = (low - margin, high + margin);
    let plot = top + 32.0;
    let frame = super::frame::Frame::new([left, plot, right, bottom], study.steps.max(1), range);
    if let Some(lead) = lead {
        key(scene, lead, left, top, right);
    }
    frame.levels(scene, range, 5, true);
    frame.steps(scene, study.steps.max(1), bottom);
    scene.text(Text::new(f64::midpoint(left, right), bottom + 34.0, "plateau onset (step)").align(Align::Middle));
    let title = Text::new(left - 46.0, f64::midpoint(plot, bottom), "plateau level (best eval loss)");
    scene.text(title.align(Align::Middle).upright());
    scene.plate(Text::new(right - 2.0, bottom - 6.0, "lower left is better").align(Align::Right).size(11.0));
    let at = |config: &Config| Some((config.judgement.plateau()? as f64, config.best?.mean));
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
    frame.curve(scene, &front, 1.1, ink::AXIS);
    let mut above = 0;
    for (config, (x, y)) in dots.iter().rev().zip(points.iter().rev()) {
        let (x, y) = frame.at(*x, *y);
        if y < plot {
            above += 1;
            continue;
        }
        scene.disc((x, y), 4.0, ink::PAPER);
        scene.disc((x, y), 3.2, lead.map_or(ink::TRAIN, |lead| colour(lead, lead.place(config))));
    }
    let missing = study.configs.len() - dots.len();
    let left_out = [
        if missing > 0 { format!("{missing} without a plateau not in the cloud") } else { String::new() },
        if above > 0 { format!("{above} above its scale") } else { String::new() },
    ];
    vec![
        left_out.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", "),
        "grey steps: none is both earlier and lower".into(),
    ]
}

/// The points that no other beats in both, from left to right.
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

/// The colour of a value: dark to light where values have an order, a category's else.
fn colour(parameter: &Parameter, index: usize) -> Ink {
    let ordered = parameter.spacing != Spacing::Even || parameter.values.len() > ink::CATEGORIES.len();
    if ordered {
        ink::ordered(0.85 * index as f64 / (parameter.values.len() - 1).max(1) as f64)
    } else {
        ink::CATEGORIES[index].0
    }
}

/// The values of the first parameter beside their colours, on two lines; of too many, the ends of the scale.
fn key(scene: &mut Scene, lead: &Parameter, left: f64, top: f64, right: f64) {
    let (labels, _) = lead.labels(80.0);
    let title = font::elide(&font::printable(words::axis(&lead.key), false), SIZE, false, 90.0);
    let name = Text::new(left, top, title);
    let start = left + name.width() + 10.0;
    scene.text(name);
    let width = |label: &String| font::width(label, SIZE, false) + 22.0;
    let all: f64 = labels.iter().map(width).sum();
    let roomy = all <= 1.6 * (right - start);
    let (mut x, mut y) = (start, top);
    for (index, label) in labels.iter().enumerate() {
        if !roomy && index > 0 && index + 1 < labels.len() {
            continue;
        }
        if x + width(label) > right + 10.0 {
            (x, y) = (start, y + 17.0);
        }
        scene.disc((x + 4.0, y - 4.0), 4.0, colour(lead, index));
        scene.text(Text::new(x + 11.0, y, label).ink(ink::TEXT));
        x += width(label);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_holds_what_nothing_beats() {
        let points = [(300.0, 0.4), (100.0, 0.5), (200.0, 0.6), (300.0, 0.3), (400.0, 0.3)];
        assert_eq!(pareto(&points), [(100.0, 0.5), (300.0, 0.3)]);
    }
}
