//! Figure `compare`: several sweeps side by side over the configurations that they share.

use super::columns::SIZE;
use crate::report::canvas::axis::{self, Scale};
use crate::report::canvas::font;
use crate::report::canvas::render;
use crate::report::canvas::scene::{Align, MARGIN, Mark, Scene, Text, WIDTH, palette};
use crate::report::compare::{Comparison, MOST_SWEEPS, Row, signed};
use crate::report::{ReportError, format};

/// Rows of the figure. The table on the terminal has all.
const MOST_ROWS: usize = 40;

/// Draws a comparison; returns the file name without extension, the PNG and the SVG.
pub fn draw_comparison(comparison: &Comparison) -> Result<(String, Vec<u8>, String), ReportError> {
    let scene = comparison_figure(comparison);
    let svg = render::svg(&scene)?;
    let png = render::png(&scene, &svg, &format!("plateau compare {}", comparison.names.join(" ")))?;
    Ok((comparison.names.join("-vs-"), png, svg))
}

/// The figure.
pub fn comparison_figure(comparison: &Comparison) -> Scene {
    const ROW: f64 = 22.0;
    let mut scene = Scene::new("compare", format!("Comparison of {}", comparison.names.join(" and ")));
    let shown: Vec<&Row> = comparison.rows.iter().take(MOST_ROWS).collect();
    let top = scene.heading(&subtitle(comparison, shown.len())) + 22.0;
    let names = shown.iter().map(|row| font::width(&row.name, SIZE, false)).fold(60.0, f64::max).min(330.0);
    let plot = (MARGIN + names + 20.0, WIDTH - MARGIN - 130.0);
    let levels = || shown.iter().flat_map(|row| &row.cells).flatten().filter_map(|cell| cell.best);
    let ends = levels().flat_map(|level| [level.mean - level.sd.unwrap_or(0.0), level.mean + level.sd.unwrap_or(0.0)]);
    let (low, high) =
        ends.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let bottom = top + ROW * shown.len() as f64;
    let range = if low <= high { (low, high) } else { (0.0, 1.0) };
    let scale = Scale::new(range, (plot.0 + 6.0, plot.1 - 6.0));
    let (ticks, digits) = axis::ticks(range.0, range.1, 5);
    for value in ticks {
        let x = scale.at(value);
        scene.line(&[(x, top - 4.0), (x, bottom)], 1.0, palette::GRID);
        scene.text(Text::new(x, bottom + 16.0, axis::tick_text(value, digits)).align(Align::Middle));
    }
    let title = format!("best eval loss ({})", comparison.unit);
    scene.text(Text::new(f64::midpoint(plot.0, plot.1), bottom + 34.0, title).align(Align::Middle));
    if comparison.names.len() == 2 {
        scene.text(Text::new(WIDTH - MARGIN, top - 10.0, "difference").align(Align::Right));
    }
    for (index, row) in shown.iter().enumerate() {
        draw_row(&mut scene, row, scale, top + ROW * (index as f64 + 0.5), (names, plot.1));
    }
    let mut entries = Vec::new();
    for (index, name) in comparison.names.iter().enumerate() {
        let space = 900.0 / comparison.names.len() as f64 - 40.0;
        entries.push((
            Mark::Disc(palette::CATEGORIES[index % MOST_SWEEPS].0),
            font::elide(&font::printable(name, false), SIZE, false, space),
        ));
    }
    let entries: Vec<(Mark, &str)> = entries.iter().map(|(mark, name)| (*mark, name.as_str())).collect();
    scene.legend(MARGIN, bottom + 60.0, &entries);
    scene.height = scene.caption(bottom + 82.0, &comparison.summary());
    scene
}

fn subtitle(comparison: &Comparison, shown: usize) -> Vec<String> {
    let values = |(key, values): &(String, Vec<String>)| format!("{key}: {}", values.join(" | "));
    let mut parts = vec![
        format!("{} in more than one sweep", format::count(comparison.rows.len(), "configuration")),
        if shown < comparison.rows.len() { format!("the first {shown} are drawn") } else { String::new() },
        "mean ± SD over successful seeds, lower is better".into(),
    ];
    parts.extend(comparison.differ.iter().take(8).map(values));
    let alone = comparison.names.iter().zip(&comparison.alone).filter(|(_, alone)| **alone > 0);
    parts.extend(alone.map(|(name, alone)| format!("{alone} only in {name}")));
    parts
}

/// A row: the name, a dot for each sweep, and the difference of two sweeps.
fn draw_row(scene: &mut Scene, row: &Row, scale: Scale, y: f64, (names, right): (f64, f64)) {
    let name = font::elide(&font::printable(&row.name, false), SIZE, false, names);
    scene.text(Text::new(MARGIN, y + 4.0, name).colour(palette::TEXT));
    let means: Vec<f64> =
        row.cells.iter().flatten().filter_map(|cell| cell.best).map(|best| scale.at(best.mean)).collect();
    let (low, high) = means.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(*x), h.max(*x)));
    scene.line(&[(low, y), (high, y)], 1.4, palette::HATCH);
    for (index, cell) in row.cells.iter().enumerate() {
        let Some(best) = cell.as_ref().and_then(|cell| cell.best) else { continue };
        let colour = palette::CATEGORIES[index % MOST_SWEEPS].0;
        if let Some(sd) = best.sd {
            scene.line(&[(scale.at(best.mean - sd), y), (scale.at(best.mean + sd), y)], 1.6, colour.alpha(0.5));
        }
        scene.disc((scale.at(best.mean), y), 4.0, colour);
    }
    let [first, second] = &row.cells[..] else { return };
    let text = match second.as_ref().and_then(|cell| cell.difference) {
        Some(level) => signed(level),
        None => [first, second]
            .iter()
            .filter_map(|cell| cell.as_ref())
            .find(|cell| cell.best.is_none())
            .map_or_else(String::new, |cell| cell.verdict.clone()),
    };
    let text = font::elide(&font::printable(&text, false), SIZE, false, WIDTH - MARGIN - right - 4.0);
    scene.text(Text::new(WIDTH - MARGIN, y + 4.0, text).align(Align::Right).colour(palette::TEXT));
}
