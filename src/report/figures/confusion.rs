//! Figure `confusion`: the confusion matrix of the winner, and the scores of each class beside its row.

use crate::report::canvas::font;
use crate::report::canvas::scene::{Align, MARGIN, Scene, Text, palette};
use crate::report::format;
use crate::report::winner::Winner;

/// With more classes, the cells are too small to read.
const MOST: usize = 24;
/// The largest cell, and the space for all cells of a row, px.
const CELL: f64 = 64.0;
const SPACE: f64 = 470.0;
/// The most space for the name of a class, px.
const LABEL: f64 = 150.0;
/// Width of a column of scores, px.
const SCORE: f64 = 72.0;

/// The figure, or the reason why there is none.
pub fn confusion(winner: Option<&Winner>) -> Result<Scene, String> {
    let winner = winner.ok_or("Confusion matrix: no evaluation of the winner was recorded.")?;
    let classes = winner.details.labels.len();
    if classes > MOST {
        return Err(format!("Confusion matrix: there are more than {MOST} classes."));
    }
    let mut scene = Scene::new("confusion", "Confusion matrix of the best trial");
    let top = scene.heading(&[
        winner.name.clone(),
        format!("best checkpoint, step {}", winner.details.step),
        format::count(winner.examples() as usize, "evaluation example"),
        "row: true class, column: predicted class, colour: share of the row".into(),
    ]);
    let cell = (SPACE / classes.max(1) as f64).min(CELL);
    let labels: Vec<String> = winner.details.labels.iter().map(|label| shorten(label, LABEL)).collect();
    let widest = labels.iter().map(|label| font::width(label, 12.0, false)).fold(0.0, f64::max);
    let rotated = labels.iter().any(|label| font::width(label, 12.0, false) > cell - 4.0);
    let left = MARGIN + 22.0 + widest + 8.0;
    let first = top + 34.0 + if rotated { widest } else { 12.0 };
    scene.text(Text::new(left, top + 16.0, "predicted class"));
    for (class, label) in labels.iter().enumerate() {
        let x = left + (class as f64 + 0.5) * cell;
        let text = Text::new(x, first - 8.0, label).colour(palette::TEXT);
        scene.text(if rotated { Text { x: x + 4.0, ..text.rotated() } } else { text.align(Align::Middle) });
    }
    let bottom = first + cell * classes as f64;
    scene.text(Text::new(MARGIN + 8.0, f64::midpoint(first, bottom), "true class").align(Align::Middle).rotated());
    let scores = left + cell * classes as f64 + 20.0;
    for (column, title) in Winner::HEADER.iter().skip(1).enumerate() {
        scene.text(Text::new(scores + SCORE * (column + 1) as f64, first - 8.0, *title).align(Align::Right));
    }
    for (class, (label, scored)) in labels.iter().zip(winner.class_rows()).enumerate() {
        let y = first + (class as f64 + 0.5) * cell + 4.0;
        scene.text(Text::new(left - 8.0, y, label).align(Align::Right).colour(palette::TEXT));
        row(&mut scene, &winner.details.confusion[class], class, (left, y - 4.0), cell);
        for (column, score) in scored.iter().skip(1).enumerate() {
            let x = scores + SCORE * (column + 1) as f64;
            scene.text(Text::new(x, y, score).align(Align::Right).colour(palette::TEXT));
        }
    }
    scene.height = bottom + 14.0;
    Ok(scene)
}

fn shorten(label: &str, space: f64) -> String {
    font::elide(&font::printable(label, false), 12.0, false, space)
}

/// The cells of one true class. `middle` is the y of their centres.
fn row(scene: &mut Scene, counts: &[u32], class: usize, (left, middle): (f64, f64), cell: f64) {
    let all: u64 = counts.iter().map(|count| u64::from(*count)).sum();
    for (predicted, &count) in counts.iter().enumerate() {
        let x = left + predicted as f64 * cell;
        let place = [x + 1.0, middle - cell / 2.0 + 1.0, x + cell - 1.0, middle + cell / 2.0 - 1.0];
        let share = f64::from(count) / all.max(1) as f64;
        let hue = if predicted == class { palette::TRAIN } else { palette::EVAL };
        let ground = if count == 0 { palette::PANEL } else { hue.alpha(0.12 + 0.78 * share).on_background() };
        scene.rect(place, ground);
        let size = if cell < 30.0 { 10.0 } else { 13.0 };
        let text = Text::new(x + cell / 2.0, middle + 0.36 * size, count.to_string()).size(size).align(Align::Middle);
        if count > 0 && text.width() < cell - 3.0 {
            scene.text(text.colour(palette::on(ground)));
        }
    }
}
