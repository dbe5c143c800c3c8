//! Text and marks inside a panel: the plateau, the best checkpoint, the names of the curves; or why there are none.

use std::f64::consts::LN_2;

use super::facet::{Facet, Panels, shown, smooth_train};
use crate::analysis::{Config, Shape, curve};
use crate::report::canvas::font;
use crate::report::canvas::placement::Placement;
use crate::report::canvas::scene::{Align, Colour, Scene, Text, palette};
use crate::report::figures::frame::Frame;
use crate::report::{captions, format};
use crate::trial::Status;

/// The plateau line, the best checkpoint and the labels.
pub fn marks(scene: &mut Scene, panels: &Panels<'_>, config: &Config, frame: &Frame) {
    let mut placement = Placement::new([frame.left, frame.top, frame.right, frame.bottom]);
    let train = frame.place(&smooth_train(&shown(panels.sweep, config)));
    let eval: Vec<(f64, f64)> = config.curve.iter().map(|point| frame.at(point.x, point.mean)).collect();
    placement.avoid(&train);
    placement.avoid(&eval);
    if let Some(onset) = config.shape.onset() {
        let x = frame.x.at(onset as f64);
        if config.shape.plateau().is_some() {
            let line = [(x, frame.top), (x, frame.bottom)];
            scene.line(&line, 1.4, palette::PLATEAU);
            placement.avoid(&line);
        }
        plateau_label(scene, &mut placement, config, frame, x);
    }
    if let Some(best) = config.curve.iter().find(|point| Some(point.x as u64) == config.best_step) {
        let at = frame.at(best.x, best.mean);
        if (frame.top..=frame.bottom).contains(&at.1) {
            scene.diamond(at, 5.2, palette::BACKGROUND);
            scene.diamond(at, 4.2, palette::EVAL);
            placement.avoid(&[(at.0 - 5.0, at.1), (at.0 + 5.0, at.1)]);
        }
    }
    let over = eval.last().zip(train.last()).is_none_or(|(eval, train)| eval.1 <= train.1);
    let name = |text: &str, colour: Colour| Text::new(0.0, 0.0, text).bold().colour(colour).align(Align::Right);
    placement.put(scene, &name("eval", palette::EVAL_TEXT), &beside(&eval, over), false);
    placement.put(scene, &name("train", palette::TRAIN), &beside(&train, !over), false);
    chance_label(scene, &mut placement, panels, frame);
}

/// Candidate places for a label along the later half of a curve: from its end backwards, the preferred side first.
fn beside(curve: &[(f64, f64)], over: bool) -> Vec<(f64, f64)> {
    let Some(last) = curve.last() else { return Vec::new() };
    let back = (0..6).map(|i| last.0 - 22.0 * f64::from(i));
    let at = |x: f64| curve.iter().rev().find(|point| point.0 <= x).map(|point| (x, point.1));
    let (near, far) = if over { (-10.0, 20.0) } else { (20.0, -10.0) };
    let sides = |(x, y): (f64, f64)| [near, near * 1.6, far].map(|dy| (x - 4.0, y + dy));
    back.filter_map(at).flat_map(sides).collect()
}

/// Writes `plateau 450 · rises 600` beside the line, on the side that has space.
fn plateau_label(scene: &mut Scene, placement: &mut Placement, config: &Config, frame: &Frame, x: f64) {
    let y = frame.top + 14.0;
    let (first, second) = match config.shape {
        Shape::StillImproving { onset } => (format!("no plateau before {onset}"), None),
        Shape::Overfits { onset, from } => (format!("plateau {onset}"), Some(format!("· rises {from}"))),
        shape => (shape.onset().map_or_else(String::new, |onset| format!("plateau {onset}")), None),
    };
    let first = Text::new(0.0, y, first).colour(palette::PLATEAU_TEXT);
    let second = Text::new(0.0, y, second.unwrap_or_default()).colour(palette::RISING_TEXT);
    let room = |width: f64| x + 7.0 + width <= frame.right || x - 7.0 - width >= frame.left;
    if !room(first.width() + second.width() + 4.0) && !second.content.is_empty() {
        // Two lines, if neither side has space for both on one.
        for (line, text) in [first, second].into_iter().enumerate() {
            let width = text.width();
            let left = if x + 7.0 + width <= frame.right { x + 5.0 } else { (x - 5.0 - width).max(frame.left + 2.0) };
            let (y, content) = (y + 15.0 * line as f64, text.content.trim_start_matches("· ").to_owned());
            placement.reserve([left, y - 12.0, left + width, y + 4.0]);
            scene.boxed_text(Text { x: left, y, content, ..text });
        }
        return;
    }
    // SVG does not draw a leading space, so the second piece is moved by its width.
    let gap = font::width(" ", first.size, false);
    let width = first.width() + if second.content.is_empty() { 0.0 } else { gap + second.width() };
    let left = if x + 7.0 + width <= frame.right { x + 5.0 } else { (x - 5.0 - width).max(frame.left + 2.0) };
    placement.reserve([left, y - 12.0, left + width, y + 4.0]);
    scene.boxed_text(Text { x: left + first.width() + gap, ..second });
    scene.boxed_text(Text { x: left, ..first });
}

/// Labels the dashed line, if there is space.
fn chance_label(scene: &mut Scene, placement: &mut Placement, panels: &Panels<'_>, frame: &Frame) {
    let Some(chance) = panels.study.chance else { return };
    let text = if (chance - LN_2).abs() < 5e-4 { "chance, ln 2".to_owned() } else { format!("chance {chance:.2}") };
    let text = Text::new(0.0, 0.0, text).align(Align::Right).size(11.0);
    let line = frame.y.at(chance);
    let across = [1.0, 0.75, 0.5].map(|share| frame.left + (frame.right - frame.left) * share - 4.0);
    let places = across.map(|x| [(x, line - 5.0), (x, line + 13.0)]);
    placement.put(scene, &text, places.as_flattened(), true);
}

/// Says in a panel without a successful configuration what happened, at the place that covers the fewest curves.
pub fn explanation(scene: &mut Scene, panels: &Panels<'_>, facet: &Facet<'_>, front: Option<&Config>, frame: &Frame) {
    let failures = captions::failures(facet.configs.iter().copied());
    let open = facet.configs.iter().filter(|config| config.shape == Shape::Unfinished).count();
    // Its run may have died.
    let is_running = |config: &Config| {
        config.runs.iter().any(|&run| panels.sweep.runs.get(run).is_some_and(|run| run.status == Status::Running))
    };
    let head = match (failures.is_empty(), open) {
        (true, _) if front.is_some_and(is_running) => "still running".to_owned(),
        (true, _) if front.is_some() => "not finished".to_owned(),
        (true, _) => "not run yet".to_owned(),
        (false, 0) => failures,
        (false, open) => format!("{failures}, {open} not finished"),
    };
    let name = front.map(|config| format::configuration(config, panels.key)).filter(|name| !name.is_empty());
    let error =
        || facet.configs.iter().flat_map(|config| &config.runs).find_map(|&run| panels.sweep.runs[run].error.clone());
    let detail = name.map(|name| format!("shown: {name}")).or_else(error).unwrap_or_default();
    let space = frame.right - frame.left - 16.0;
    let fitted = |text: &str, bold: bool| font::elide(&font::printable(text, bold), 12.0, bold, space);
    let head = Text::new(0.0, 0.0, fitted(&head, true)).bold().colour(palette::TEXT).align(Align::Middle);
    let detail = Text::new(0.0, 0.0, fitted(&detail, false)).align(Align::Middle);
    let mut placement = Placement::new([frame.left, frame.top, frame.right, frame.bottom]);
    for run in front.iter().flat_map(|config| &config.runs).map(|&run| &panels.sweep.runs[run]) {
        placement.avoid(&frame.place(&curve::train_loss(&run.metrics)));
        placement.avoid(&frame.place(&curve::eval_loss(&run.evals)));
    }
    let half = head.width().max(detail.width()) / 2.0;
    let at = |across: f64, down: f64| {
        let (x, y) = (frame.left + across * (frame.right - frame.left), frame.top + down * (frame.bottom - frame.top));
        (x.clamp(frame.left + half + 4.0, (frame.right - half - 4.0).max(frame.left + half + 4.0)), y)
    };
    let places = [(0.5, 0.58), (0.5, 0.8), (0.75, 0.5), (0.75, 0.25), (0.25, 0.8), (0.5, 0.35)].map(|(x, y)| at(x, y));
    let (x, y) = placement.freest(&places, [-half, -12.0, half, 24.0]);
    scene.boxed_text(Text { x, y, ..head });
    scene.boxed_text(Text { x, y: y + 19.0, ..detail });
}
