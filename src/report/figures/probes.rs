//! Figure `probes`: the effect of each probe on the loss, as dots with confidence intervals; and the same as text.

use crate::analysis::probes::{Answer, Change, Measure, ProbeResult, Probed};
use crate::analysis::{Study, Sweep};
use crate::report::canvas::axis::{self, Scale};
use crate::report::canvas::font;
use crate::report::canvas::scene::{Align, Colour, MARGIN, Mark, Scene, Text, WIDTH, palette};
use crate::report::format;
use crate::trial::ProbeKind;

/// The figure shows at most this many trials. The texts have all.
const MOST_TRIALS: usize = 6;
const ROW: f64 = 26.0;
/// The x of the panel, px. The names of the probes stand left of it, the results right of it.
const LEFT: f64 = 214.0;
const RIGHT: f64 = 616.0;
/// The smallest half width of the scale, in the unit of the loss.
const LEAST_SPAN: f64 = 0.02;

/// The results of a probed trial as text.
pub struct ProbedText {
    pub title: String,
    /// One line for each probe.
    pub lines: Vec<String>,
    pub conclusion: String,
}

/// The results of every probed trial as text. `study`: of the same sweep.
pub fn texts(sweep: &Sweep, study: &Study, probed: &[Probed]) -> Vec<ProbedText> {
    let line = |answer: &Answer| format!("{}: {}", answer.question(), answer.answer());
    let conclusion = |probed: &Probed| {
        let run = sweep.runs.iter().position(|run| probed.open == 0 && run.trial.id == probed.trial);
        run.map_or_else(String::new, |run| format!("; {}", probed.conclusion(&study.diagnoses[run])))
    };
    let of = |probed: &Probed| ProbedText {
        title: format!("{}, at {}", name(sweep, probed), probed.place()),
        lines: probed.answers.iter().map(line).collect(),
        conclusion: probed.reading() + &conclusion(probed),
    };
    probed.iter().map(|probed| of(&probed.clone().within(sweep))).collect()
}

fn name(sweep: &Sweep, probed: &Probed) -> String {
    let run = sweep.runs.iter().find(|run| run.trial.id == probed.trial);
    run.map_or_else(|| probed.trial.to_string(), format::trial_name)
}

/// The figure; None if no trial was probed.
pub fn probes(sweep: &Sweep, probed: &[Probed]) -> Option<Scene> {
    if probed.is_empty() {
        return None;
    }
    let mut scene = Scene::new("probes", format!("Probes of {}", sweep.name));
    let mut subtitle = vec![
        "each probe against the unchanged continuation of the trial, with the same batches and random numbers"
            .to_owned(),
        format!(
            "dot and numbers: mean difference ± standard error ({}), line: 95 % confidence interval",
            sweep.task().loss_unit()
        ),
    ];
    if probed.len() > MOST_TRIALS {
        subtitle.push(format!("{MOST_TRIALS} of {} trials, summary.md has all", probed.len()));
    }
    let mut y = scene.heading(&subtitle) + 8.0;
    let legend: Vec<(Mark, &str)> = [Change::Lowered, Change::Raised, Change::Undetected]
        .map(|change| (Mark::Disc(colour(change).0), legend(change)))
        .to_vec();
    scene.legend(MARGIN, y, &legend);
    y += 14.0;
    for probed in probed.iter().take(MOST_TRIALS) {
        y = group(&mut scene, sweep, probed, y) + 16.0;
    }
    scene.height = y;
    Some(scene)
}

fn legend(change: Change) -> &'static str {
    match change {
        Change::Lowered => "lowers the loss",
        Change::Raised => "raises the loss",
        Change::Undetected => "no detectable effect",
    }
}

/// The colours of the mark, and of text about it.
fn colour(change: Change) -> (Colour, Colour) {
    match change {
        Change::Lowered => (palette::PLATEAU, palette::PLATEAU_TEXT),
        Change::Raised => (palette::EVAL, palette::EVAL_TEXT),
        Change::Undetected => (palette::CONTEXT, palette::MUTED),
    }
}

/// Draws one probed trial from `top` on; returns the y below it.
fn group(scene: &mut Scene, sweep: &Sweep, probed: &Probed, top: f64) -> f64 {
    let across = WIDTH - 2.0 * MARGIN;
    let title = format!("{}, at {}", name(sweep, probed), probed.place());
    let title = font::elide(&font::printable(&title, true), 13.0, true, across);
    scene.text(Text::new(MARGIN, top + 16.0, title).size(13.0).bold().colour(palette::TEXT));
    let reading = match probed.open {
        0 => format!("{}: {}", probed.settled.id(), probed.settled.phrase()),
        _ => probed.reading(),
    };
    let reading = font::elide(&font::printable(&reading, false), 12.0, false, across);
    scene.text(Text::new(MARGIN, top + 33.0, reading).colour(palette::TEXT));
    let (first, bottom) = (top + 42.0, top + 42.0 + probed.answers.len() as f64 * ROW);
    let span = span(probed);
    let x = Scale::new((-span, span), (LEFT, RIGHT));
    scene.rect([LEFT, first, RIGHT, bottom], palette::PANEL);
    let (values, digits) = axis::ticks(-span, span, 5);
    for value in values {
        let at = x.at(value);
        scene.line(&[(at, first), (at, bottom)], 1.0, palette::GRID.alpha(0.9));
        // Rounding may leave -0 in the middle.
        let value = if value.abs() < span * 1e-6 { 0.0 } else { value };
        let number = axis::tick_text(value, digits).replace('-', "−");
        scene.text(Text::new(at, bottom + 16.0, number).align(Align::Middle));
    }
    scene.line(&[(x.at(0.0), first), (x.at(0.0), bottom)], 1.4, palette::AXIS);
    for (index, answer) in probed.answers.iter().enumerate() {
        row(scene, answer, x, first + (index as f64 + 0.5) * ROW);
    }
    bottom + 22.0
}

/// Half the width of the scale: it holds all intervals but that of blanked inputs, whose effect is much larger.
fn span(probed: &Probed) -> f64 {
    let ends =
        probed.answers.iter().filter(|answer| answer.kind != ProbeKind::Blank).map(|answer| match answer.result {
            // A confidence interval over three seeds may be very wide.
            ProbeResult::Difference { effect, .. } => {
                effect.mean.abs() + (2.0 * effect.error).min(effect.high - effect.mean)
            }
            _ => 0.0,
        });
    1.15 * ends.filter(|end| end.is_finite()).fold(LEAST_SPAN, f64::max)
}

fn row(scene: &mut Scene, answer: &Answer, x: Scale, y: f64) {
    let question = font::elide(&font::printable(&answer.question(), false), 12.0, false, LEFT - MARGIN - 12.0);
    scene.text(Text::new(LEFT - 10.0, y + 4.0, question).align(Align::Right).colour(palette::TEXT));
    let mut dark = palette::MUTED;
    match &answer.result {
        ProbeResult::Difference { effect, change, .. } => {
            let (mark, text) = colour(*change);
            dark = text;
            let at = |value: f64| x.at(value).clamp(LEFT, RIGHT);
            scene.line(&[(at(effect.low), y), (at(effect.high), y)], 2.2, mark.alpha(0.75));
            let place = x.at(effect.mean);
            if (LEFT..=RIGHT).contains(&place) {
                scene.disc((place, y), 5.0, mark);
            } else {
                beyond(scene, place > RIGHT, y, mark);
            }
        }
        ProbeResult::Diverged(change) => {
            let (mark, text) = colour(*change);
            dark = text;
            beyond(scene, *change == Change::Raised, y, mark);
        }
        ProbeResult::Memorised { .. } => {
            let fits = answer.result.fits() == Some(true);
            dark = if fits { palette::PLATEAU_TEXT } else { palette::FAILED };
        }
        ProbeResult::Missing => {}
    }
    let room = WIDTH - MARGIN - RIGHT - 12.0;
    let text = font::elide(&font::printable(&short(answer), false), 12.0, false, room);
    scene.text(Text::new(RIGHT + 12.0, y + 4.0, text).colour(dark));
}

/// An arrow at the edge of the panel, for a dot beyond it.
fn beyond(scene: &mut Scene, right: bool, y: f64, colour: Colour) {
    let (tip, back) = if right { (RIGHT - 1.0, RIGHT - 11.0) } else { (LEFT + 1.0, LEFT + 11.0) };
    scene.area(vec![(tip, y), (back, y - 6.0), (back, y + 6.0)], colour);
}

/// The result without what its position in the figure already says.
fn short(answer: &Answer) -> String {
    let ProbeResult::Difference { measure, effect, .. } = &answer.result else { return answer.answer() };
    let of = if *measure == Measure::Train { String::new() } else { format!(" ({})", measure.name()) };
    let sign = if effect.mean < 0.0 { "−" } else { "+" };
    // The overall change is not "lowered" although the train loss fell: the eval loss rose.
    let memorises = matches!(answer.result, ProbeResult::Difference { change: Change::Lowered, .. })
        && answer.result.change() != Some(Change::Lowered);
    let rest = if memorises { ", eval loss rises" } else { "" };
    format!("{sign}{:.3} ± {:.3}{of}{rest}", effect.mean.abs(), effect.error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::probes::{Effect, Settled};
    use crate::analysis::synthetic;
    use crate::report::canvas::render;

    fn answer(kind: ProbeKind, lr: f64, result: ProbeResult) -> Answer {
        Answer { kind, lr, result }
    }

    fn difference(mean: f64, error: f64, change: Change) -> ProbeResult {
        let effect = Effect { mean, error, low: mean - 2.2 * error, high: mean + 2.2 * error, seeds: 3 };
        ProbeResult::Difference { measure: Measure::Train, effect, change, eval: None }
    }

    fn example(sweep: &Sweep) -> Probed {
        Probed {
            trial: sweep.runs[0].trial.id.clone(),
            step: 120,
            rate: 4e-3,
            peak: 5e-3,
            level: Some(1.0),
            answers: vec![
                answer(ProbeKind::LrDown, 4e-4, difference(-0.21, 0.02, Change::Lowered)),
                answer(ProbeKind::LrUp, 1.2e-2, ProbeResult::Diverged(Change::Raised)),
                answer(ProbeKind::AugmentationOn, 4e-3, difference(0.002, 0.03, Change::Undetected)),
                answer(ProbeKind::Blank, 4e-3, difference(1.4, 0.05, Change::Raised)),
                answer(ProbeKind::OneBatch, 5e-3, ProbeResult::Memorised { fitted: 0, seeds: 3, steps: 1000 }),
                answer(ProbeKind::OneBatchUsualLr, 5e-5, ProbeResult::Memorised { fitted: 3, seeds: 3, steps: 40 }),
            ],
            open: 0,
            settled: Settled::RateTooHigh,
        }
    }

    #[test]
    fn every_mark_is_inside_and_says_its_sign() {
        let sweep = synthetic::default_sweep();
        assert_eq!(probes(&sweep, &[]), None);
        let many = vec![example(&sweep); MOST_TRIALS + 2];
        let scene = probes(&sweep, &many).unwrap();
        for text in scene.texts() {
            let [left, top, right, bottom] = text.bounds();
            assert!(left >= 0.0 && top >= 0.0 && right <= scene.width && bottom <= scene.height, "{text:?}");
        }
        let texts: Vec<&str> = scene.texts().map(|text| text.content.as_str()).collect();
        for text in ["−0.210 ± 0.020", "+0.002 ± 0.030", "the loss diverges", "memorised in 40 steps (3 of 3 seeds)"]
        {
            assert!(texts.contains(&text), "{text} in {texts:?}");
        }
        assert!(texts.iter().any(|text| text.contains("6 of 8 trials")));
        let svg = render::svg(&scene).unwrap();
        assert!(render::png(&scene, &svg, "test").unwrap().starts_with(b"\x89PNG"));
    }

    #[test]
    fn texts_say_the_same() {
        // Alone, so that no other learning rate of the sweep contradicts the probes.
        let mut sweep = synthetic::default_sweep();
        sweep.runs.truncate(1);
        let [text] = &texts(&sweep, &Study::of(&sweep), &[example(&sweep)])[..] else { panic!("one trial, one text") };
        let text = format!("{}\n{}\n{}", text.title, text.lines.join("\n"), text.conclusion);
        insta::assert_snapshot!(text, @r"
        LR 1e-5 · 0 % warmup · linear, at step 120, where its lr was 0.004 (peak 0.005)
        lr × 0.1 (4e-4): lowers the train loss by 0.210 ± 0.020
        lr × 3 (0.012): the loss diverges
        augmentation on: no detectable effect on the train loss (+0.002 ± 0.030)
        inputs blanked: raises the train loss by 1.400 ± 0.050
        memorise one batch (0.005): not memorised in 1000 steps (3 of 3 seeds)
        one batch, usual lr (5e-5): memorised in 40 steps (3 of 3 seeds)
        RATE_TOO_HIGH: the learning rate is too high; a lower learning rate gets below the plateau: lower lr, or let the schedule decay further; primary cause: RATE_TOO_HIGH
        ");
    }
}
