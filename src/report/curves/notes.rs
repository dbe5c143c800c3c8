//! What is written and marked inside a panel: plateau, best checkpoint, names of the curves, or why there are none.

use std::f64::consts::LN_2;

use super::super::font;
use super::super::labels::Labels;
use super::super::scene::{Align, Ink, Scene, Text, ink};
use super::super::words;
use super::{Common, Facet, Frame, shown, smooth_train};
use crate::analysis::{Config, Judgement, curve};

/// Plateau line, best checkpoint and direct labels.
pub(super) fn marks(scene: &mut Scene, common: &Common<'_>, config: &Config, frame: &Frame) {
    let mut labels = Labels::new([frame.left, frame.top, frame.right, frame.bottom]);
    let train = frame.place(&smooth_train(&shown(common.sweep, config)));
    let eval: Vec<(f64, f64)> = config.curve.iter().map(|point| frame.at(point.x, point.mean)).collect();
    labels.avoid(&train);
    labels.avoid(&eval);
    if let Some(onset) = config.judgement.onset() {
        let x = frame.x.at(onset as f64);
        if config.judgement.plateau().is_some() {
            let line = [(x, frame.top), (x, frame.bottom)];
            scene.line(&line, 1.4, ink::PLATEAU);
            labels.avoid(&line);
        }
        plateau_label(scene, &mut labels, config, frame, x);
    }
    if let Some(best) = config.curve.iter().find(|point| Some(point.x as u64) == config.best_step) {
        let at = frame.at(best.x, best.mean);
        if (frame.top..=frame.bottom).contains(&at.1) {
            scene.diamond(at, 5.2, ink::PAPER);
            scene.diamond(at, 4.2, ink::EVAL);
            labels.avoid(&[(at.0 - 5.0, at.1), (at.0 + 5.0, at.1)]);
        }
    }
    let over = eval.last().zip(train.last()).is_none_or(|(eval, train)| eval.1 <= train.1);
    let name = |text: &str, ink: Ink| Text::new(0.0, 0.0, text).bold().ink(ink).align(Align::Right);
    labels.put(scene, &name("eval", ink::EVAL_TEXT), &beside(&eval, over), false);
    labels.put(scene, &name("train", ink::TRAIN), &beside(&train, !over), false);
    chance_label(scene, &mut labels, common, frame);
}

/// Places along the later half of a curve, from its end backwards, on the wanted side first.
fn beside(curve: &[(f64, f64)], over: bool) -> Vec<(f64, f64)> {
    let Some(last) = curve.last() else { return Vec::new() };
    let back = (0..6).map(|i| last.0 - 22.0 * f64::from(i));
    let at = |x: f64| curve.iter().rev().find(|point| point.0 <= x).map(|point| (x, point.1));
    let (near, far) = if over { (-10.0, 20.0) } else { (20.0, -10.0) };
    let sides = |(x, y): (f64, f64)| [near, near * 1.6, far].map(|dy| (x - 4.0, y + dy));
    back.filter_map(at).flat_map(sides).collect()
}

/// "plateau 450 · rises 600" beside the line, on the side that has room.
fn plateau_label(scene: &mut Scene, labels: &mut Labels, config: &Config, frame: &Frame, x: f64) {
    let y = frame.top + 14.0;
    let (first, second) = match config.judgement {
        Judgement::StillImproving { onset } => (format!("no plateau before {onset}"), None),
        Judgement::Overfits { onset, from } => (format!("plateau {onset}"), Some(format!("· rises {from}"))),
        judgement => (judgement.onset().map_or_else(String::new, |onset| format!("plateau {onset}")), None),
    };
    let first = Text::new(0.0, y, first).ink(ink::PLATEAU_TEXT);
    let second = Text::new(0.0, y, second.unwrap_or_default()).ink(ink::RISING_TEXT);
    let room = |width: f64| x + 7.0 + width <= frame.right || x - 7.0 - width >= frame.left;
    if !room(first.width() + second.width() + 4.0) && !second.content.is_empty() {
        // One below the other, where neither side has room for both.
        for (line, text) in [first, second].into_iter().enumerate() {
            let width = text.width();
            let left = if x + 7.0 + width <= frame.right { x + 5.0 } else { (x - 5.0 - width).max(frame.left + 2.0) };
            let (y, content) = (y + 15.0 * line as f64, text.content.trim_start_matches("· ").to_owned());
            labels.take([left, y - 12.0, left + width, y + 4.0]);
            scene.plate(Text { x: left, y, content, ..text });
        }
        return;
    }
    // A leading space is not drawn: the second piece is moved by its width.
    let gap = font::width(" ", first.size, false);
    let width = first.width() + if second.content.is_empty() { 0.0 } else { gap + second.width() };
    let left = if x + 7.0 + width <= frame.right { x + 5.0 } else { (x - 5.0 - width).max(frame.left + 2.0) };
    labels.take([left, y - 12.0, left + width, y + 4.0]);
    scene.plate(Text { x: left + first.width() + gap, ..second });
    scene.plate(Text { x: left, ..first });
}

/// Names the dashed line where there is room.
fn chance_label(scene: &mut Scene, labels: &mut Labels, common: &Common<'_>, frame: &Frame) {
    let Some(chance) = common.study.chance else { return };
    let text = if (chance - LN_2).abs() < 5e-4 { "chance, ln 2".to_owned() } else { format!("chance {chance:.2}") };
    let text = Text::new(0.0, 0.0, text).align(Align::Right).size(11.0);
    let line = frame.y.at(chance);
    let across = [1.0, 0.75, 0.5].map(|share| frame.left + (frame.right - frame.left) * share - 4.0);
    let places = across.map(|x| [(x, line - 5.0), (x, line + 13.0)]);
    labels.put(scene, &text, places.as_flattened(), true);
}

/// In a panel without a survivor: why, where it hides least of what is drawn.
pub(super) fn explanation(
    scene: &mut Scene,
    common: &Common<'_>,
    facet: &Facet<'_>,
    front: Option<&Config>,
    frame: &Frame,
) {
    let failures = words::failures(facet.configs.iter().copied());
    let open = facet.configs.iter().filter(|config| config.judgement == Judgement::Unfinished).count();
    let head = match (failures.is_empty(), open) {
        (true, _) if front.is_some() => "still running".to_owned(),
        (true, _) => "not run yet".to_owned(),
        (false, 0) => failures,
        (false, open) => format!("{failures}, {open} to come"),
    };
    let name = front.map(|config| words::config(config, common.key)).filter(|name| !name.is_empty());
    let error =
        || facet.configs.iter().flat_map(|config| &config.runs).find_map(|&run| common.sweep.runs[run].error.clone());
    let detail = name.map(|name| format!("shown: {name}")).or_else(error).unwrap_or_default();
    let space = frame.right - frame.left - 16.0;
    let fitted = |text: &str, bold: bool| font::elide(&font::printable(text, bold), 12.0, bold, space);
    let head = Text::new(0.0, 0.0, fitted(&head, true)).bold().ink(ink::TEXT).align(Align::Middle);
    let detail = Text::new(0.0, 0.0, fitted(&detail, false)).align(Align::Middle);
    let mut labels = Labels::new([frame.left, frame.top, frame.right, frame.bottom]);
    for run in front.iter().flat_map(|config| &config.runs).map(|&run| &common.sweep.runs[run]) {
        labels.avoid(&frame.place(&curve::train_loss(&run.metrics)));
        labels.avoid(&frame.place(&curve::eval_loss(&run.evals)));
    }
    let half = head.width().max(detail.width()) / 2.0;
    let at = |across: f64, down: f64| {
        let (x, y) = (frame.left + across * (frame.right - frame.left), frame.top + down * (frame.bottom - frame.top));
        (x.clamp(frame.left + half + 4.0, (frame.right - half - 4.0).max(frame.left + half + 4.0)), y)
    };
    let places = [(0.5, 0.58), (0.5, 0.8), (0.75, 0.5), (0.75, 0.25), (0.25, 0.8), (0.5, 0.35)].map(|(x, y)| at(x, y));
    let (x, y) = labels.freest(&places, [-half, -12.0, half, 24.0]);
    scene.plate(Text { x, y, ..head });
    scene.plate(Text { x, y: y + 19.0, ..detail });
}
