//! Figure `heatmap`: best and final eval loss over two parameters, with all other parameters at their best values.

use super::parameter::Parameter;
use crate::analysis::findings::edge_text;
use crate::analysis::{Config, Study, Sweep};
use crate::report::canvas::axis;
use crate::report::canvas::font;
use crate::report::canvas::scene::{Align, Colour, MARGIN, Scene, Text, WIDTH, palette};
use crate::report::{captions, format};
use crate::trial::Metric;

/// With more values of a parameter, the cells are too small.
const MOST: usize = 32;
const GAP: f64 = 44.0;
/// The most lines of a label, and the distance between them in px.
const MOST_LINES: usize = 3;
const LINE: f64 = 14.4;
/// The smallest range of the colour scale, in deltas. On a smaller one, noise would look like a difference.
const LEAST_SPAN: f64 = 4.0;

/// The configurations at one pair of values.
struct Cell<'a> {
    x: usize,
    y: usize,
    /// The best of them.
    front: &'a Config,
    successful: usize,
    configs: usize,
}

impl Cell<'_> {
    /// The loss that a panel shows: the final one if `last`, else the best.
    fn loss(&self, last: bool) -> Option<f64> {
        if last { self.front.last } else { self.front.best }.map(|level| level.mean)
    }
}

/// What is drawn.
struct Map<'a> {
    x: &'a Parameter,
    y: &'a Parameter,
    cells: Vec<Cell<'a>>,
    /// The range of the colour scale. Higher losses have the colour of its upper end.
    range: (f64, f64),
    /// The cell with a frame: that of the lowest loss, or of the configuration that is best by another metric.
    framed: Option<(usize, usize)>,
    seeds: usize,
    /// Of the loss.
    unit: &'static str,
}

/// The figure, or why there is none.
pub fn heatmap(sweep: &Sweep, study: &Study) -> Result<Scene, String> {
    let parameters = Parameter::of(sweep);
    let [x, y] = Parameter::pair(&parameters).ok_or("Heat maps: they need two varying parameters.")?;
    if x.values.len() > MOST || y.values.len() > MOST {
        return Err(format!("Heat maps: a parameter has more than {MOST} values."));
    }
    let Some(best) = study.best() else {
        return Err("Heat maps: no configuration has a successful evaluation yet.".into());
    };
    let cells = cells(study, x, y);
    let framed = if study.metric == Metric::EvalLoss { lowest(&cells) } else { Some((x.place(best), y.place(best))) };
    let map = Map { x, y, cells, range: range(study), framed, seeds: study.seeds, unit: study.task.loss_unit() };
    Ok(draw(sweep, study, &map, parameters.len()))
}

fn cells<'a>(study: &'a Study, x: &Parameter, y: &Parameter) -> Vec<Cell<'a>> {
    let mut cells: Vec<Cell<'a>> = Vec::new();
    for config in &study.configs {
        let at = (x.place(config), y.place(config));
        let successful = usize::from(config.best.is_some());
        if let Some(cell) = cells.iter_mut().find(|cell| (cell.x, cell.y) == at) {
            cell.configs += 1;
            cell.successful += successful;
        } else {
            cells.push(Cell { x: at.0, y: at.1, front: config, successful, configs: 1 });
        }
    }
    cells
}

/// The cell with the lowest best loss. The configurations were not chosen by their final loss, so the lowest of those means nothing.
fn lowest(cells: &[Cell<'_>]) -> Option<(usize, usize)> {
    let losses = cells.iter().filter_map(|cell| Some((cell.loss(false)?, (cell.x, cell.y))));
    losses.filter(|(loss, _)| loss.is_finite()).min_by(|a, b| a.0.total_cmp(&b.0)).map(|low| low.1)
}

/// The colour scale: from the best loss to the third quartile, so that a few bad cells do not hide the differences of the rest.
fn range(study: &Study) -> (f64, f64) {
    let levels = study.configs.iter().flat_map(|config| [config.best, config.last]).flatten();
    let mut bests: Vec<f64> = levels.map(|level| level.mean).filter(|mean| mean.is_finite()).collect();
    bests.sort_by(f64::total_cmp);
    let low = bests.first().copied().unwrap_or(0.0);
    let most = bests.get(bests.len() * 3 / 4).copied().unwrap_or(low);
    (low, low + (1.1 * (most - low)).max(LEAST_SPAN * study.delta))
}

fn draw(sweep: &Sweep, study: &Study, map: &Map<'_>, parameters: usize) -> Scene {
    let name = |parameter: &Parameter| format::axis_name(&parameter.key);
    let mut scene = Scene::new("heatmap", format!("Heat maps of the eval loss: {} × {}", name(map.x), name(map.y)));
    let (columns, rows) = (map.x.values.len() as f64, map.y.values.len() as f64);
    let row = (360.0 / rows).clamp(14.0, 52.0);
    let height = row * rows;
    let (y_labels, y_notes) = map.y.folded(100.0, ((row / LINE) as usize).clamp(1, MOST_LINES));
    let gutter = y_labels.iter().flatten().map(|label| font::width(label, 12.0, false)).fold(0.0, f64::max) + 8.0;
    let width = (WIDTH - 2.0 * (MARGIN + gutter) - 14.0 - GAP) / 2.0;
    let (x_labels, x_notes) = map.x.folded(width / columns - 6.0, MOST_LINES);
    let deep = LINE * x_labels.iter().map(Vec::len).max().unwrap_or(1).saturating_sub(1) as f64;
    let top = scene.heading(&subtitle(sweep, study, map, parameters)) + 34.0;
    let lefts = [MARGIN + 14.0 + gutter, WIDTH - MARGIN - width];
    for (last, left) in [false, true].into_iter().zip(lefts) {
        let title = if last { "final eval loss of the same configurations" } else { "best eval loss" };
        scene.text(Text::new(left, top - 12.0, title).size(13.0).bold().colour(palette::TEXT));
        let panel = Panel { left, top, cell: (width / columns, height / rows), rows: map.y.values.len(), last };
        panel.draw(&mut scene, map);
        for (index, lines) in x_labels.iter().enumerate() {
            let x = left + (index as f64 + 0.5) * width / columns;
            let y = top + height + 18.0 + LINE * (lines.len() - 1) as f64 / 2.0;
            scene.multiline(&Text::new(x, y, "").align(Align::Middle).colour(palette::TEXT), lines);
        }
        for (index, lines) in y_labels.iter().enumerate() {
            let y = top + (rows - index as f64 - 0.5) * row + 4.0;
            scene.multiline(&Text::new(left - 8.0, y, "").align(Align::Right).colour(palette::TEXT), lines);
        }
        let x_title = font::elide(&font::printable(&name(map.x), false), 12.0, false, width);
        scene.text(Text::new(left + width / 2.0, top + height + deep + 36.0, x_title).align(Align::Middle));
    }
    let y_title = font::elide(&font::printable(&name(map.y), false), 12.0, false, height);
    scene.text(Text::new(18.0, top + height / 2.0, y_title).align(Align::Middle).rotated());
    let bottom = legend(&mut scene, map, lefts[0], top + height + deep + 52.0);
    let edge = edge_text(sweep, study);
    scene.height = scene.caption(bottom + 22.0, &[vec![edge.unwrap_or_default()], x_notes, y_notes].concat());
    scene
}

fn subtitle(sweep: &Sweep, study: &Study, map: &Map<'_>, parameters: usize) -> Vec<String> {
    let some_failed = map.cells.iter().any(|cell| cell.successful > 0 && cell.successful < cell.configs);
    vec![
        captions::sweep_size(sweep, study),
        match (parameters > 2, study.metric) {
            (false, _) => String::new(),
            (true, Metric::EvalLoss) => "each cell: the best configuration over all other parameters".into(),
            (true, metric) => format!("each cell: the configuration with the best {} there", metric.title()),
        },
        if map.seeds > 1 { format!("mean ± SD over successful {}s", study.repetition.noun()) } else { String::new() },
        if some_failed { "k/n: k of the n configurations of a cell are successful".into() } else { String::new() },
        "right, small numbers: rise after the best checkpoint".into(),
        if study.metric == Metric::EvalLoss {
            "frame: lowest loss".into()
        } else {
            format!("frame: the best {}", study.metric.title())
        },
    ]
}

/// One of the two maps.
struct Panel {
    left: f64,
    top: f64,
    /// Width and height of a cell.
    cell: (f64, f64),
    rows: usize,
    /// Whether it shows the final losses instead of the best ones.
    last: bool,
}

impl Panel {
    fn draw(&self, scene: &mut Scene, map: &Map<'_>) {
        let losses = map.cells.iter().filter_map(|cell| self.written(map, cell));
        let widest = losses.map(|text| font::width(&text, 14.0, true)).fold(0.0, f64::max);
        let fits = |size: &f64| size / 14.0 * widest <= self.cell.0 - 5.0 && 1.3 * size <= self.cell.1 - 2.0;
        // One font size for all cells: a larger number must not look more important.
        let size = [14.0, 13.0, 12.0, 11.0, 10.0, 9.0].into_iter().find(fits);
        for cell in &map.cells {
            self.draw_cell(scene, map, cell, size);
        }
        if let Some((x, y)) = map.framed.filter(|_| !self.last) {
            let [left, top, right, bottom] = self.place(x, y);
            for (inset, width, colour) in [(1.0, 2.6, palette::TEXT), (3.0, 1.4, palette::BACKGROUND)] {
                let (l, t, r, b) = (left + inset, top + inset, right - inset, bottom - inset);
                scene.line(&[(l, t), (r, t), (r, b), (l, b), (l, t)], width, colour);
            }
        }
    }

    fn place(&self, x: usize, y: usize) -> [f64; 4] {
        let (width, height) = self.cell;
        let (left, top) = (self.left + x as f64 * width, self.top + (self.rows - 1 - y) as f64 * height);
        [left + 1.0, top + 1.0, left + width - 1.0, top + height - 1.0]
    }

    fn draw_cell(&self, scene: &mut Scene, map: &Map<'_>, cell: &Cell<'_>, size: Option<f64>) {
        let place = self.place(cell.x, cell.y);
        let [left, top, right, bottom] = place;
        let (x, y) = (f64::midpoint(left, right), f64::midpoint(top, bottom));
        let Some(loss) = cell.loss(self.last).filter(|loss| loss.is_finite()) else {
            scene.rect(place, palette::PANEL);
            let failed = cell.front.shape.failed();
            if failed {
                scene.hatch(place, palette::HATCH);
            }
            let text = Text::new(x, y + 4.0, if failed { "failed" } else { "no result" }).align(Align::Middle);
            if text.width() + 8.0 < right - left {
                scene.boxed_text(if failed { text.colour(palette::TEXT) } else { text });
            }
            return;
        };
        let (low, high) = map.range;
        let ground = palette::ordered((loss - low) / (high - low));
        scene.rect(place, ground);
        let (Some(size), Some(text)) = (size, self.written(map, cell)) else { return };
        let head = Text::new(x, y, text).size(size).bold().align(Align::Middle).colour(palette::on(ground));
        let tail =
            Text::new(x, y + 17.0, self.detail(cell)).size(11.0).align(Align::Middle).colour(palette::on(ground));
        let space = right - left - 3.0;
        if tail.width() <= space && bottom - top >= 36.0 && !tail.content.is_empty() {
            scene.text(head);
            scene.text(tail);
        } else {
            scene.text(Text { y: y + 0.36 * head.size, ..head });
        }
    }

    /// The loss of a cell, with a plus sign if it is above the colour scale.
    fn written(&self, map: &Map<'_>, cell: &Cell<'_>) -> Option<String> {
        let loss = cell.loss(self.last).filter(|loss| loss.is_finite())?;
        Some(format::loss(loss) + if loss > map.range.1 { "+" } else { "" })
    }

    /// Standard deviation or rise, and the successful configurations if not all.
    fn detail(&self, cell: &Cell<'_>) -> String {
        let spread = match (self.last, cell.front.best, cell.front.last) {
            (true, Some(best), Some(last)) => format!("+{}", format::loss((last.mean - best.mean).max(0.0))),
            (false, Some(best), _) => best.sd.map_or_else(String::new, |sd| format!("±{}", format::loss(sd))),
            _ => String::new(),
        };
        let successful = if cell.successful < cell.configs && !self.last {
            format!("{}/{}", cell.successful, cell.configs)
        } else {
            String::new()
        };
        [spread, successful].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
    }
}

/// The colour scale; returns the y below.
fn legend(scene: &mut Scene, map: &Map<'_>, left: f64, top: f64) -> f64 {
    const WIDE: f64 = 240.0;
    const PIECES: u32 = 60;
    let piece = WIDE / f64::from(PIECES);
    for i in 0..PIECES {
        let x = left + f64::from(i) * piece;
        let colour: Colour = palette::ordered((f64::from(i) + 0.5) / f64::from(PIECES));
        scene.rect([x, top, x + piece + 0.3, top + 9.0], colour);
    }
    let (low, high) = map.range;
    let (ticks, digits) = axis::ticks(low, high, 4);
    for value in ticks {
        let x = left + (value - low) / (high - low) * WIDE;
        scene.line(&[(x, top + 9.0), (x, top + 13.0)], 1.0, palette::AXIS);
        scene.text(Text::new(x, top + 26.0, axis::tick_text(value, digits)).align(Align::Middle));
    }
    let clipped =
        map.cells.iter().any(|cell| [false, true].iter().any(|&last| cell.loss(last).is_some_and(|l| l > high)));
    let more = if clipped { format!("; +: above {}", format::loss(high)) } else { String::new() };
    scene.text(Text::new(
        left + WIDE + 26.0,
        top + 9.0,
        format!("eval loss ({}) in both panels, darker is better{more}", map.unit),
    ));
    top + 26.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic::{self, axis};
    use crate::report::canvas::scene::Item;

    /// The x positions of the frames.
    fn framed(scene: &Scene) -> Vec<f64> {
        let frame = |item: &Item| match item {
            Item::Line { points, colour, .. } if points.len() == 5 && *colour == palette::TEXT => Some(points[0].0),
            _ => None,
        };
        scene.items.iter().filter_map(frame).collect()
    }

    #[test]
    fn only_the_lowest_best_loss_is_framed() {
        let mut sweep = synthetic::sweep("s", &[axis("lr", &["1e-5", "3e-5"]), axis("warmup", &["0", "0.1"])], 100);
        let study = Study::of(&sweep);
        let scene = heatmap(&sweep, &study).unwrap();
        let frames = framed(&scene);
        assert!(frames.len() == 1 && frames[0] < WIDTH / 2.0, "{frames:?}");
        // A lower final loss does not move the frame.
        for row in sweep.runs[0].evals.iter_mut().skip(1) {
            row.eval_loss = 0.5;
        }
        let worst = heatmap(&sweep, &Study::of(&sweep)).unwrap();
        assert_eq!(framed(&worst), frames);
    }

    #[test]
    fn the_best_by_another_metric_is_framed() {
        let mut sweep = synthetic::sweep("s", &[axis("lr", &["1e-5", "3e-5"]), axis("warmup", &["0", "0.1"])], 100);
        let frame_of_best = |sweep: &mut Sweep, best: usize| {
            for (index, run) in sweep.runs.iter_mut().enumerate() {
                run.trial.config.metric = Metric::Accuracy;
                let accuracy = if index == best { 0.9 } else { 0.8 };
                run.evals.iter_mut().for_each(|row| row.accuracy = accuracy);
            }
            framed(&heatmap(sweep, &Study::of(sweep)).unwrap())
        };
        let frames = [0, 2].map(|best| frame_of_best(&mut sweep, best));
        assert!(frames[0].len() == 1 && frames[0] != frames[1], "{frames:?}");
    }
}
