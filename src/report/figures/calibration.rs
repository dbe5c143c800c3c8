//! Figure `calibration`: the reliability diagram of the winner, and how many predictions each bin holds.

use super::frame::Frame;
use crate::report::canvas::scene::{Align, MARGIN, Mark, Scene, Text, WIDTH, palette};
use crate::report::format;
use crate::report::winner::Winner;
use crate::trial::CalibrationBin;

const LEFT: f64 = 66.0;
const HEIGHT: f64 = 300.0;
/// Right end of the diagram, and left end of the histogram, px.
const RIGHT: f64 = 470.0;
const HISTOGRAM: f64 = 570.0;

/// The figure, or the reason why there is none.
pub fn calibration(winner: Option<&Winner>) -> Result<Scene, String> {
    let winner = winner.ok_or("Calibration: no evaluation of the winner was recorded.")?;
    let bins = &winner.details.calibration;
    let error = winner.details.calibration_error.ok_or("Calibration: no prediction has a finite confidence.")?;
    let mut scene = Scene::new("calibration", "Calibration of the best trial");
    let top = scene.heading(&[
        winner.name.clone(),
        format!("best checkpoint, step {}", winner.details.step),
        format!("expected calibration error (ECE) {error:.3} over {} bins", bins.len()),
        "confidence: probability of the predicted class".into(),
        "below the diagonal: the model is overconfident".into(),
    ]) + 14.0;
    let bottom = top + HEIGHT;
    let diagram = Frame::new([LEFT, top, RIGHT, bottom], 1, (0.0, 1.0));
    diagram.grid_lines(&mut scene, (0.0, 1.0), 5, true);
    confidence_axis(&mut scene, &diagram);
    reliability(&mut scene, bins, &diagram);
    side_title(&mut scene, LEFT - 52.0, &diagram, "accuracy");
    let most = bins.iter().map(|bin| bin.examples).max().unwrap_or(0).max(1);
    let histogram = Frame::new([HISTOGRAM, top, WIDTH - MARGIN, bottom], 1, (0.0, 1.08 * f64::from(most)));
    histogram.grid_lines(&mut scene, (0.0, 1.08 * f64::from(most)), 4, true);
    confidence_axis(&mut scene, &histogram);
    for (index, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.examples > 0) {
        let (from, to) = edges(index, bins.len());
        let place = [histogram.x.at(from) + 1.0, histogram.y.at(bin.examples.into()), histogram.x.at(to) - 1.0, bottom];
        scene.rect(place, palette::FALLING);
    }
    side_title(&mut scene, HISTOGRAM - 52.0, &histogram, "predictions");
    let entries = [
        (Mark::Disc(palette::TRAIN), "accuracy of a bin at its mean confidence"),
        (Mark::Swatch(palette::RISING.alpha(0.5)), "difference to perfect calibration"),
        (Mark::Dashes, "perfect calibration"),
    ];
    scene.legend(MARGIN, bottom + 62.0, &entries);
    scene.height = bottom + 76.0;
    Ok(scene)
}

fn edges(index: usize, bins: usize) -> (f64, f64) {
    (index as f64 / bins as f64, (index + 1) as f64 / bins as f64)
}

fn reliability(scene: &mut Scene, bins: &[CalibrationBin], frame: &Frame) {
    scene.dashed(&[frame.at(0.0, 0.0), frame.at(1.0, 1.0)], 1.2, palette::CONTEXT);
    let filled = || bins.iter().filter(|bin| bin.examples > 0);
    for bin in filled() {
        let (x, perfect) = frame.at(bin.confidence, bin.confidence);
        let y = frame.y.at(bin.accuracy());
        scene.rect([x - 5.0, y.min(perfect), x + 5.0, y.max(perfect)], palette::RISING.alpha(0.5));
    }
    let points: Vec<(f64, f64)> = filled().map(|bin| frame.at(bin.confidence, bin.accuracy())).collect();
    scene.line(&points, 1.6, palette::TRAIN);
    for point in points {
        scene.disc(point, 4.4, palette::BACKGROUND);
        scene.disc(point, 3.6, palette::TRAIN);
    }
}

/// The x axis from 0 to 1.
fn confidence_axis(scene: &mut Scene, frame: &Frame) {
    scene.line(&[(frame.left, frame.bottom), (frame.right, frame.bottom)], 1.0, palette::AXIS);
    for fifth in 0..=5 {
        let value = f64::from(fifth) / 5.0;
        let x = frame.x.at(value);
        scene.line(&[(x, frame.bottom), (x, frame.bottom + 4.0)], 1.0, palette::AXIS);
        scene.text(Text::new(x, frame.bottom + 18.0, format::rounded(value)).align(Align::Middle));
    }
    let middle = f64::midpoint(frame.left, frame.right);
    scene.text(Text::new(middle, frame.bottom + 38.0, "confidence").align(Align::Middle));
}

fn side_title(scene: &mut Scene, x: f64, frame: &Frame, title: &str) {
    scene.text(Text::new(x, f64::midpoint(frame.top, frame.bottom), title).align(Align::Middle).rotated());
}
