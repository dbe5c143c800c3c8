//! Figure `ranking`: counters of outcomes, then the best configurations and how certain their order is.

use super::columns::{Column, GAP, SIZE, columns, fit};
use crate::analysis::{Config, Run, Shape, Study, Sweep, curve};
use crate::report::canvas::axis::{self, Scale};
use crate::report::canvas::font;
use crate::report::canvas::scene::{Align, MARGIN, Scene, Text, WIDTH, palette};
use crate::report::{captions, format};
use crate::trial::{Metric, ShapeKind};

/// Rows of the table; `trials.csv` has all.
const MOST_ROWS: usize = 14;
const ROW: f64 = 27.0;
const RIGHT: f64 = WIDTH - MARGIN;

/// Draws the figure. It exists for every sweep.
pub fn ranking(sweep: &Sweep, study: &Study) -> Scene {
    let question = match study.configs.len() {
        1 => "result of the only configuration",
        _ => "ranking of the configurations",
    };
    let mut scene = Scene::new("ranking", format!("{}: {question}", sweep.name));
    let top = scene.heading(&subtitle(sweep, study));
    let top = counters(&mut scene, study, top) + 34.0;
    let shown: Vec<&Config> = study.configs.iter().take(MOST_ROWS).collect();
    let table = Table::new(sweep, study, &shown);
    table.header(&mut scene, top);
    let mut y = top + 13.0;
    for (index, config) in shown.iter().enumerate() {
        table.row(&mut scene, index, config, y);
        y += ROW;
    }
    if shown.is_empty() {
        scene.text(Text::new(MARGIN, y + 20.0, "The sweep has no trials.").colour(palette::TEXT));
        y += 32.0;
    }
    scene.line(&[(MARGIN, y), (RIGHT, y)], 1.0, palette::GRID);
    scene.height = scene.caption(y + 20.0, &table.caption(shown.len())) - 2.0;
    scene
}

fn subtitle(sweep: &Sweep, study: &Study) -> Vec<String> {
    let noun = study.repetition.noun();
    let better = if study.metric.is_cost() { "lower is better" } else { "higher is better" };
    let spread =
        if study.seeds == 1 { better.to_owned() } else { format!("mean ± SD over successful {noun}s, {better}") };
    let unit = if study.metric.is_loss() { format!(" ({})", study.task.loss_unit()) } else { String::new() };
    vec![
        captions::sweep_size(sweep, study),
        format!("{} steps", format::thousands(study.steps)),
        format!("ranked by best {}{unit}: {spread}", study.metric.title()),
        study.eval_interval.map_or_else(String::new, |_| format!("evaluated{}", captions::eval_interval(study))),
        format!("plateaus: {}", captions::delta(study)),
    ]
}

/// The number of configurations for each outcome; returns the y below.
fn counters(scene: &mut Scene, study: &Study, top: f64) -> f64 {
    let all = study.configs.len();
    let count = |kind: ShapeKind| study.configs.iter().filter(|config| config.shape.kind() == kind).count();
    let of = |kind: ShapeKind| format!("{} of {all}", count(kind));
    let best = study.best().and_then(|config| config.score);
    let noise = match study.within_noise() {
        Some(n) if n > 1 => format::count(n - 1, "other"),
        None if best.is_some() => "unknown".into(),
        _ => "none".into(),
    };
    let not_finite = format!("{} of {all}", count(ShapeKind::NotFinite) + count(ShapeKind::Diverged));
    let title = format!("best {}", study.metric.title());
    let mut boxes = vec![
        (title.as_str(), best.map_or_else(|| "none".into(), format::mean_and_sd)),
        ("within noise of best", noise),
        ("overfits", of(ShapeKind::Overfits)),
        ("stuck at chance", of(ShapeKind::Stuck)),
        ("collapsed", of(ShapeKind::Collapsed)),
        ("NaN or diverged", not_finite),
    ];
    if all == 1 {
        boxes.retain(|(name, _)| *name != "within noise of best");
    }
    for kind in [ShapeKind::Failed, ShapeKind::Unfinished] {
        if count(kind) > 0 {
            boxes.push((kind.title(), of(kind)));
        }
    }
    scene.rect([MARGIN, top, RIGHT, top + 52.0], palette::PANEL);
    let widths = boxes.iter().map(|(name, value)| font::width(name, SIZE, false).max(font::width(value, 15.0, true)));
    let widths: Vec<f64> = widths.collect();
    let space = (RIGHT - MARGIN - 32.0 - widths.iter().sum::<f64>()) / (boxes.len() - 1).max(1) as f64;
    let mut x = MARGIN + 16.0;
    for ((name, value), width) in boxes.into_iter().zip(widths) {
        scene.text(Text::new(x, top + 20.0, name));
        scene.text(Text::new(x, top + 41.0, value).size(15.0).bold().colour(palette::TEXT));
        x += width + space.min(90.0);
    }
    top + 52.0
}

/// The columns and scales of the table. All positions are px.
struct Table<'a> {
    sweep: &'a Sweep,
    study: &'a Study,
    columns: Vec<Column>,
    /// What the columns do not show.
    notes: Vec<String>,
    dots: Option<Scale>,
    dots_left: f64,
    dots_right: f64,
    value: f64,
    accuracy: f64,
    best_at: f64,
    plateau_at: f64,
    spark: (f64, f64),
    verdict: f64,
    losses: (f64, f64),
}

impl<'a> Table<'a> {
    fn new(sweep: &'a Sweep, study: &'a Study, shown: &[&Config]) -> Self {
        let columns = columns(sweep, shown);
        let needed: f64 = columns.iter().map(|column| column.width + GAP).sum();
        let first = MARGIN + 26.0 + GAP;
        let verdict = RIGHT - 128.0;
        // Dots and sparkline share the space that parameters and numbers leave, within bounds.
        let numbers = 24.0 + 74.0 + 62.0 + 104.0 + 10.0 + 16.0;
        let free = verdict - numbers - first - needed;
        let dots = (0.4 * free).clamp(64.0, 120.0);
        let spark = (free - dots).clamp(100.0, 160.0);
        let spark = (verdict - 16.0 - spark, verdict - 16.0);
        let plateau_at = spark.0 - 24.0;
        let best_at = plateau_at - 74.0;
        let accuracy = best_at - 62.0;
        let value = accuracy - 104.0;
        let dots_right = value - 10.0;
        let dots_left = dots_right - dots;
        let (columns, notes) = fit(columns, dots_left - first + 1.0);
        let ends = |config: &&Config| config.score.map(|best| (best.mean, best.sd.unwrap_or(0.0)));
        let low = shown.iter().filter_map(ends).map(|(mean, sd)| mean - sd).fold(f64::INFINITY, f64::min);
        let high = shown.iter().filter_map(ends).map(|(mean, sd)| mean + sd).fold(f64::NEG_INFINITY, f64::max);
        let dots = (low <= high).then(|| Scale::new((low, high), (dots_left + 4.0, dots_right - 4.0)));
        let losses = losses(sweep, study, shown);
        Self {
            sweep,
            study,
            columns,
            notes,
            dots,
            dots_left,
            dots_right,
            value,
            accuracy,
            best_at,
            plateau_at,
            spark,
            verdict,
            losses,
        }
    }

    fn header(&self, scene: &mut Scene, y: f64) {
        let mut at = |x: f64, align: Align, text: &str| scene.text(Text::new(x, y, text).align(align));
        at(MARGIN + 20.0, Align::Right, "#");
        let mut x = MARGIN + 20.0 + GAP;
        for column in &self.columns {
            let title = font::elide(&column.title, SIZE, false, column.width);
            if column.numeric {
                at(x + column.width, Align::Right, &title);
            } else {
                at(x, Align::Left, &title);
            }
            x += column.width + GAP;
        }
        at(self.dots_left, Align::Left, &format!("best {}", self.study.metric.title()));
        let headline = self.study.task.headline();
        let title = if headline == Metric::Accuracy { "acc., %" } else { headline.title() };
        at(self.accuracy, Align::Right, title);
        at(self.best_at, Align::Right, "best at");
        at(self.plateau_at, Align::Right, "plateau at");
        let narrow = self.study.seeds == 1 || self.spark.1 - self.spark.0 < 124.0;
        at(self.spark.0, Align::Left, if narrow { "eval loss" } else { "eval loss of each seed" });
        at(self.verdict, Align::Left, "verdict");
        scene.line(&[(MARGIN, y + 12.0), (RIGHT, y + 12.0)], 1.0, palette::AXIS);
    }

    fn row(&self, scene: &mut Scene, index: usize, config: &Config, top: f64) {
        if index % 2 == 1 {
            scene.rect([MARGIN, top, RIGHT, top + ROW], palette::PANEL.alpha(0.5));
        }
        let base = top + 18.0;
        scene.text(Text::new(MARGIN + 20.0, base, (index + 1).to_string()).align(Align::Right));
        let mut x = MARGIN + 20.0 + GAP;
        if self.columns.is_empty() {
            scene.text(Text::new(x, base, "no varying parameter"));
        }
        for column in &self.columns {
            let winner = index == 0 && config.best.is_some();
            let cell = font::elide(&column.cells[index], SIZE, winner, column.width);
            let (x_text, align) = if column.numeric { (x + column.width, Align::Right) } else { (x, Align::Left) };
            let text = Text { bold: winner, ..Text::new(x_text, base, cell).colour(palette::TEXT).align(align) };
            scene.text(text);
            x += column.width + GAP;
        }
        self.level(scene, config, top, base);
        let mut number = |x: f64, text: Option<String>| {
            let quiet = text.is_none();
            let text = Text::new(x, base, text.unwrap_or_else(|| "–".into())).align(Align::Right);
            scene.text(if quiet { text } else { text.colour(palette::TEXT) });
        };
        number(self.accuracy, config.headline.map(|level| self.study.task.headline().cell(level.mean)));
        number(self.best_at, config.best_step.map(|step| step.to_string()));
        number(self.plateau_at, config.shape.plateau().map(|step| step.to_string()));
        self.sparkline(scene, config, top);
        self.verdict(scene, config, top, base);
    }

    /// Dot, standard deviation and number; a cross for a configuration that failed.
    fn level(&self, scene: &mut Scene, config: &Config, top: f64, base: f64) {
        let y = top + ROW / 2.0;
        scene.line(&[(self.dots_left, y), (self.dots_right, y)], 1.0, palette::GRID);
        let (Some(best), Some(scale)) = (config.score, self.dots) else {
            if config.shape.failed() {
                scene.cross((self.dots_right - 4.0, y), 3.4, palette::FAILED);
            }
            // The lowest loss of failed trials is shown but not ranked. Among values of another metric it would mislead.
            let reached = config.reached.filter(|_| self.study.metric.is_loss());
            let reached = reached.map_or_else(|| "–".to_owned(), |reached| format::loss(reached.0));
            scene.text(Text::new(self.value, base, reached));
            return;
        };
        let colour = if config.within_noise == Some(true) { palette::TRAIN } else { palette::CONTEXT };
        if let Some(sd) = best.sd {
            scene.line(&[(scale.at(best.mean - sd), y), (scale.at(best.mean + sd), y)], 1.8, colour);
        }
        scene.disc((scale.at(best.mean), y), 3.6, colour);
        let text = Text::new(self.value, base, format::loss(best.mean)).bold();
        let after = self.value + text.width() + 5.0;
        scene.text(text.colour(if config.within_noise == Some(true) { palette::TRAIN } else { palette::TEXT }));
        if !config.complete() {
            let text = format!("{}/{}", best.n, config.runs.len());
            let failed = config.runs.iter().any(|&run| self.study.shapes[run].failed());
            let colour = if failed { palette::FAILED } else { palette::MUTED };
            scene.text(Text::new(after, base, text).size(11.0).colour(colour));
        }
    }

    fn sparkline(&self, scene: &mut Scene, config: &Config, top: f64) {
        let (left, right) = self.spark;
        let (above, below) = (top + 3.0, top + ROW - 3.0);
        let x = Scale::new((0.0, self.study.steps.max(1) as f64), (left, right));
        let y = Scale::new(self.losses, (below - 2.0, above + 1.0));
        let runs = || config.runs.iter().map(|&run| &self.sweep.runs[run]);
        let end = runs().map(Run::end).max().unwrap_or(0) as f64;
        if let Some(onset) = config.shape.plateau() {
            let rise = config.shape.rises().map_or(end, |step| step as f64);
            scene.rect([x.at(onset as f64), above, x.at(rise), below], palette::PLATEAU.alpha(0.13));
            scene.rect([x.at(rise), above, x.at(end), below], palette::RISING.alpha(0.2));
        }
        for (index, run) in config.runs.iter().map(|&run| (run, &self.sweep.runs[run])) {
            let points = curve::eval_loss(&run.evals);
            let points: Vec<(f64, f64)> = points.iter().map(|point| (x.at(point.x), y.at(point.y))).collect();
            let failed = !config.survivors.contains(&index);
            let colour = if failed { palette::CONTEXT.alpha(0.7) } else { palette::EVAL.alpha(0.75) };
            for piece in axis::clip(&axis::reduce(&points), (above, below)) {
                scene.line(&piece, 1.2, colour);
            }
            if let Shape::NotFinite { step } | Shape::Diverged { step } = self.study.shapes[index] {
                scene.cross((x.at(step as f64), above + 4.0), 3.0, palette::FAILED);
            }
        }
        let best = config.curve.iter().find(|point| Some(point.x as u64) == config.best_step);
        let best = best.map(|best| (x.at(best.x), y.at(best.mean)));
        if let Some(best) = best.filter(|best| best.1 >= above) {
            scene.diamond(best, 3.4, palette::EVAL);
        }
    }

    fn verdict(&self, scene: &mut Scene, config: &Config, top: f64, base: f64) {
        let at = (self.verdict + 4.0, top + ROW / 2.0);
        match config.shape {
            Shape::Plateaued { .. } => scene.disc(at, 3.6, palette::PLATEAU),
            Shape::Overfits { .. } | Shape::Overconfident => scene.disc(at, 3.6, palette::RISING),
            Shape::StillImproving { .. } => scene.disc(at, 3.6, palette::TRAIN),
            Shape::Unfinished | Shape::TooShort => scene.disc(at, 3.6, palette::AXIS.alpha(0.6)),
            _ => scene.cross(at, 3.4, palette::FAILED),
        }
        let label = font::elide(&self.label(config), SIZE, false, RIGHT - self.verdict - 16.0);
        scene.text(Text::new(self.verdict + 14.0, base, label).colour(palette::TEXT));
    }

    /// The verdict; for a trial that has not finished, its step.
    fn label(&self, config: &Config) -> String {
        if config.shape != Shape::Unfinished {
            return config.label(&self.study.shapes);
        }
        let runs = config.runs.iter().map(|&run| &self.sweep.runs[run]);
        match runs.map(|run| (run.end(), run.trial.steps)).max() {
            Some((end, steps)) if end > 0 => format!("at step {end} of {steps}"),
            _ => "not run yet".into(),
        }
    }

    fn caption(&self, shown: usize) -> Vec<String> {
        let study = self.study;
        let noise = match study.metric_sd {
            _ if study.configs.len() < 2 => String::new(),
            Some(_) => format!(
                "Blue: within noise of the best: with {} {}s, less than 2 pooled standard errors worse",
                study.seeds,
                study.repetition.noun()
            ),
            None if study.best().is_some() => {
                "One seed: the noise is unknown, add seeds: [1, 2, 3] to measure it".into()
            }
            None => String::new(),
        };
        let failed = study.configs.iter().take(shown).any(|config| config.best.is_some() && !config.complete());
        let reached = study.metric.is_loss() && study.configs.iter().take(shown).any(|config| config.reached.is_some());
        let more = study.configs.len() - shown;
        let mut parts = vec![
            noise,
            "curves: green = plateau, orange = loss rises, diamond = best checkpoint".into(),
            if failed { format!("2/3: successful {}s out of all", study.repetition.noun()) } else { String::new() },
            if reached {
                "grey numbers: lowest loss of configurations that are not ranked".into()
            } else {
                String::new()
            },
            if more > 0 { format!("{more} more in trials.csv") } else { String::new() },
        ];
        parts.extend(self.notes.iter().cloned());
        parts
    }
}

/// The loss scale of the sparklines: all curves of the rows, but at most somewhat above the class prior, and wide enough
/// that noise looks small.
fn losses(sweep: &Sweep, study: &Study, shown: &[&Config]) -> (f64, f64) {
    let runs = shown.iter().flat_map(|config| &config.runs).map(|&run| &sweep.runs[run]);
    let losses = runs.flat_map(|run| &run.evals).map(|row| f64::from(row.eval_loss)).filter(|loss| loss.is_finite());
    let (low, high) =
        losses.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), loss| (low.min(loss), high.max(loss)));
    let high = study.chance.map_or(high, |chance| high.min(1.3 * chance));
    if low.is_finite() { (low, high.max(low + 10.0 * study.delta)) } else { (0.0, 1.0) }
}
