//! Figure `architectures`: each arm of a sweep at its best learning rate, with its loss, its metric, and what it costs.

use crate::analysis::arms::{Arm, Inputs, Setting, arms};
use crate::analysis::{Run, Study, Sweep};
use crate::report::canvas::axis::{self, Scale};
use crate::report::canvas::font;
use crate::report::canvas::scene::{Align, Colour, MARGIN, Mark, Scene, Text, WIDTH, palette};
use crate::report::{captions, format};
use crate::trial::{Architecture, Metric};

/// Rows of the figure. `trials.csv` has all.
const MOST: usize = 16;
const ROW: f64 = 46.0;
const GAP: f64 = 26.0;
const NAMES: f64 = 168.0;
/// Space for a number right of its dot or bar, px.
const NUMBER: f64 = 74.0;

/// The figure; None for a sweep of one network and one length of input.
pub fn architectures(sweep: &Sweep, study: &Study, inputs: &Inputs) -> Option<Scene> {
    let mut arms = arms(sweep, study);
    arms.retain(|arm| arm.best.is_some());
    if arms.is_empty() {
        return None;
    }
    arms.sort_by(|a, b| a.level().total_cmp(&b.level()));
    let left_out = arms.len().saturating_sub(MOST);
    arms.truncate(MOST);
    let rows: Vec<Row> = arms.iter().filter_map(|arm| Row::of(arm, sweep, inputs, score(study))).collect();
    let mut scene = Scene::new("architectures", "Architectures, each at its best learning rate");
    let several = study.seeds > 1;
    let top = scene.heading(&[
        format::count(rows.len() + left_out, "arm"),
        captions::sweep_size(sweep, study),
        if several {
            format!("pale dot: a {}, dark dot: mean, line: ± SD", study.repetition.noun())
        } else {
            String::new()
        },
        "loss and score: at the step with the lowest mean eval loss".into(),
        "lowest loss first".into(),
        if left_out > 0 { format!("{left_out} more in trials.csv") } else { String::new() },
    ]) + 34.0;
    let bottom = top + ROW * rows.len() as f64;
    for (index, row) in rows.iter().enumerate() {
        let y = top + ROW * (index as f64 + 0.5);
        if index % 2 == 0 {
            scene.rect([MARGIN - 8.0, y - ROW / 2.0, WIDTH - MARGIN + 8.0, y + ROW / 2.0], palette::PANEL);
        }
        let name = font::elide(&font::printable(&row.name, true), 13.0, true, NAMES);
        scene.text(Text::new(MARGIN, y - 2.0, name).size(13.0).bold().colour(palette::TEXT));
        let rate = font::elide(&font::printable(&row.rate, false), 12.0, false, NAMES);
        let colour = if row.has_best_rate { palette::MUTED } else { palette::RISING_TEXT };
        scene.text(Text::new(MARGIN, y + 14.0, rate).colour(colour));
    }
    let panels = panels(study);
    let shares: f64 = panels.iter().map(|panel| panel.share).sum();
    let space = WIDTH - 2.0 * MARGIN - NAMES - GAP * panels.len() as f64;
    let mut left = MARGIN + NAMES + GAP;
    let shows_chance = panels.iter().any(|panel| panel.chance(&rows).is_some());
    for panel in panels {
        let right = left + space * panel.share / shares;
        panel.draw(&mut scene, &rows, (left, right), (top, bottom));
        left = right + GAP;
    }
    let mut notes = Vec::new();
    if rows.iter().any(|row| !row.has_best_rate) {
        notes.push(
            "orange: the best learning rate lies at an edge of the arm's grid, or the grid has fewer than three or is less than a \
             factor of ten wide"
                .to_owned(),
        );
    }
    if let Some(chance) = study.chance {
        let mark = if shows_chance { "dashed: the loss" } else { "loss" };
        notes.push(format!("{mark} of a model that ignores its input: {chance:.3}"));
    }
    notes.push(
        "seconds: training and evaluation of one trial; parameters: without the classifier; memory: peak of the worker"
            .into(),
    );
    let mut y = bottom + 44.0;
    if several {
        scene.legend(
            MARGIN,
            y,
            &[(Mark::Disc(palette::EVAL), "eval loss"), (Mark::Disc(palette::TRAIN), score(study).title())],
        );
        y += 20.0;
    }
    scene.height = scene.caption(y, &notes);
    Some(scene)
}

/// The score beside the loss: the metric that ranks, or the one that tables show.
fn score(study: &Study) -> Metric {
    if study.metric.is_loss() { study.task.headline() } else { study.metric }
}

/// An arm in numbers.
struct Row {
    name: String,
    rate: String,
    has_best_rate: bool,
    chance: Option<f64>,
    losses: Vec<f64>,
    scores: Vec<f64>,
    seconds: Vec<f64>,
    parameters: Vec<f64>,
    memory: Vec<f64>,
}

impl Row {
    fn of(arm: &Arm, sweep: &Sweep, inputs: &Inputs, score: Metric) -> Option<Self> {
        let best = arm.best.as_ref()?;
        let runs: Vec<&Run> = best.runs.iter().map(|&run| &sweep.runs[run]).collect();
        let outcome = |of: fn(&crate::trial::Outcome) -> Option<f64>| {
            runs.iter().filter_map(|run| of(run.outcome.as_ref()?)).collect::<Vec<f64>>()
        };
        let known = runs.iter().find_map(|run| inputs.get(&run.trial.id));
        let parameters = known.map(|known| known.parameters as f64 / 1e6).filter(|millions| *millions > 0.0);
        Some(Self {
            name: arm.name.clone(),
            rate: format!("{}lr {}", kind(arm), best.lr_text),
            has_best_rate: arm.has_best_rate,
            chance: arm.chance,
            losses: best.losses.values().copied().collect(),
            scores: scores(&runs, best, score),
            seconds: outcome(|outcome| Some(outcome.seconds)),
            parameters: parameters.into_iter().collect(),
            memory: outcome(|outcome| outcome.peak_memory.map(|bytes| bytes as f64 / 1e6)),
        })
    }
}

/// The network, where the name of the arm does not tell it.
fn kind(arm: &Arm) -> String {
    let kind = match arm.architecture {
        Architecture::None => "encoder",
        Architecture::BagOfWords { .. } => "bag_of_words",
        Architecture::Textcnn { .. } => "textcnn",
        Architecture::Bilstm { .. } => "bilstm",
    };
    if arm.name.contains(kind) { String::new() } else { format!("{kind}, ") }
}

fn scores(runs: &[&Run], best: &Setting, metric: Metric) -> Vec<f64> {
    let at_best = runs.iter().filter_map(|run| run.evals.iter().find(|row| row.step == best.step));
    at_best.map(|row| f64::from(metric.value(row))).filter(|value| value.is_finite()).collect()
}

/// A column of the figure.
struct Panel {
    title: String,
    share: f64,
    of: fn(&Row) -> &[f64],
    /// Dots with a scale of their own; else bars from zero.
    dots: Option<Colour>,
    has_chance: bool,
    number: fn(f64) -> String,
}

fn panels(study: &Study) -> Vec<Panel> {
    let bar = |title: &str, of: fn(&Row) -> &[f64], number: fn(f64) -> String| Panel {
        title: title.into(),
        share: 1.0,
        of,
        dots: None,
        has_chance: false,
        number,
    };
    vec![
        Panel {
            title: format!("eval loss ({})", study.task.loss_unit()),
            share: 2.1,
            of: |row| &row.losses,
            dots: Some(palette::EVAL),
            has_chance: true,
            number: format::loss,
        },
        Panel {
            title: score(study).title().into(),
            share: 1.7,
            of: |row| &row.scores,
            dots: Some(palette::TRAIN),
            has_chance: false,
            number: |value| format!("{value:.3}"),
        },
        bar(
            "seconds",
            |row| &row.seconds,
            |seconds| if seconds < 9.95 { format!("{seconds:.1}") } else { format!("{seconds:.0}") },
        ),
        bar("million parameters", |row| &row.parameters, |millions| format!("{millions:.1}")),
        bar("memory (MB)", |row| &row.memory, |bytes| format!("{bytes:.0}")),
    ]
}

impl Panel {
    /// The ends of the scale. None without values.
    fn range(&self, rows: &[Row]) -> Option<(f64, f64)> {
        let all = rows.iter().flat_map(|row| (self.of)(row).iter().copied());
        let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let margin = (0.06 * (high - low)).max(1e-3);
        let range = if self.dots.is_some() { (low - margin, high + margin) } else { (0.0, high) };
        (low <= high).then_some(range)
    }

    /// The loss of a model that ignores its input, if it lies on the scale.
    fn chance(&self, rows: &[Row]) -> Option<f64> {
        let (low, high) = self.range(rows).filter(|_| self.has_chance)?;
        rows.iter().find_map(|row| row.chance).filter(|chance| (low..=high).contains(chance))
    }

    fn draw(&self, scene: &mut Scene, rows: &[Row], (left, right): (f64, f64), (top, bottom): (f64, f64)) {
        scene.text(Text::new(left, top - 14.0, self.title.clone()).bold().colour(palette::TEXT));
        let Some((low, high)) = self.range(rows) else {
            scene.text(Text::new(left, f64::midpoint(top, bottom) + 4.0, "unknown"));
            return;
        };
        // Room for the number right of the last dot or bar.
        let end = right - NUMBER * if self.dots.is_some() { 0.72 } else { 0.55 };
        let scale = Scale::new((low, high), (left, end));
        let (ticks, digits) = axis::ticks(low, high, if self.dots.is_some() { 4 } else { 2 });
        // Numbers must not touch.
        let width =
            ticks.iter().map(|value| axis::tick_text(*value, digits).len()).max().unwrap_or(0) as f64 * 7.0 + 8.0;
        let distance = if let [first, second, ..] = ticks[..] { scale.at(second) - scale.at(first) } else { width };
        for &value in ticks.iter().step_by((width / distance).ceil().max(1.0) as usize) {
            let x = scale.at(value);
            scene.line(&[(x, top), (x, bottom)], 1.0, palette::GRID);
            let text = Text::new(x, bottom + 16.0, axis::tick_text(value, digits)).align(Align::Middle);
            scene.text(text);
        }
        if let Some(chance) = self.chance(rows) {
            scene.dashed(&[(scale.at(chance), top), (scale.at(chance), bottom)], 1.2, palette::CONTEXT);
        }
        for (index, row) in rows.iter().enumerate() {
            let y = top + ROW * (index as f64 + 0.5);
            self.row(scene, (self.of)(row), scale, (left, y));
        }
    }

    fn row(&self, scene: &mut Scene, values: &[f64], scale: Scale, (left, y): (f64, f64)) {
        let Some(level) = crate::analysis::study::Level::of(values) else {
            scene.text(Text::new(left, y + 4.0, "–"));
            return;
        };
        let mut right = scale.at(level.mean);
        match self.dots {
            Some(colour) => {
                if let Some(sd) = level.sd {
                    let ends = (scale.at(level.mean - sd).max(left), scale.at(level.mean + sd));
                    scene.line(&[(ends.0, y), (ends.1, y)], 2.0, colour.alpha(0.6));
                    right = right.max(ends.1);
                }
                for value in values.iter().filter(|_| values.len() > 1) {
                    scene.disc((scale.at(*value), y), 3.2, colour.alpha(0.35));
                    right = right.max(scale.at(*value));
                }
                scene.disc((scale.at(level.mean), y), 4.6, colour);
            }
            None => scene.rect([left, y - 8.0, right.max(left + 1.0), y + 8.0], palette::FALLING),
        }
        scene.text(Text::new(right + 8.0, y + 4.0, (self.number)(level.mean)).colour(palette::TEXT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::arms::TrialInputs;
    use crate::analysis::synthetic;

    #[test]
    fn arms_stand_in_the_order_of_their_losses() {
        let sweep = synthetic::arms();
        let inputs = sweep.runs.iter().map(|run| {
            let is_encoder = run.trial.config.model.architecture == Architecture::None;
            let parameters = if is_encoder { 17_400_000 } else { 3_200_000 };
            (run.trial.id.clone(), TrialInputs { parameters, ..TrialInputs::default() })
        });
        let scene = architectures(&sweep, &Study::of(&sweep), &inputs.collect()).unwrap();
        let texts: Vec<&str> = scene.texts().map(|text| text.content.as_str()).collect();
        let mut arms = arms(&sweep, &Study::of(&sweep));
        arms.sort_by(|a, b| a.level().total_cmp(&b.level()));
        let names = ["bert", "bilstm", "textcnn", "bag_of_words"];
        let drawn: Vec<&str> = texts.iter().copied().filter(|text| names.contains(text)).collect();
        assert_eq!(drawn, arms.iter().map(|arm| arm.name.as_str()).collect::<Vec<_>>());
        for arm in &arms {
            assert!(texts.contains(&format!("{:.3}", arm.level()).as_str()), "{texts:?}");
        }
        // The parameters of two kinds of networks, and no memory, which the outcomes do not hold.
        let count = |wanted: &str| texts.iter().filter(|text| **text == wanted).count();
        assert_eq!((count("17.4"), count("3.2"), count("unknown")), (1, 3, 1), "{texts:?}");
        assert!(
            architectures(&synthetic::default_sweep(), &Study::of(&synthetic::default_sweep()), &Inputs::new())
                .is_none()
        );
    }
}
