//! Figure `curves`: the loss of the best configuration at each value of the first axis, all others behind it in grey.

mod notes;

use super::axis::{self, Scale};
use super::font;
use super::frame::{self, Across, Frame, GUTTER, HALF_WIDTH, LEFT, MOST_FACETS};
use super::scene::{Align, MARGIN, Mark, Scene, Text, ink};
use super::words;
use crate::analysis::curve::{self, Point};
use crate::analysis::findings::lead_axis;
use crate::analysis::{Config, Judgement, Run, Study, Sweep, plateau};
use crate::trial::{number_text, rounded_text};

const STRIP: f64 = 26.0;

/// A panel: the configurations at one value of the axis.
struct Facet<'a> {
    title: String,
    configs: Vec<&'a Config>,
}

impl<'a> Facet<'a> {
    /// The best that survived, else one that stands for the rest: a failed one with a curve, else any with one.
    fn front(&self, sweep: &Sweep) -> Option<&'a Config> {
        let drawn = |config: &&&Config| config.runs.iter().any(|&run| !sweep.runs[run].metrics.is_empty());
        let survivor = self.configs.iter().find(|config| config.best.is_some());
        let failed = || self.configs.iter().filter(drawn).find(|config| config.judgement.failed());
        survivor.or_else(failed).or_else(|| self.configs.iter().find(drawn)).copied()
    }
}

impl Facet<'_> {
    /// Whether there is more to say above the frame than the value and the loss.
    fn second_line(&self, key: Option<&str>) -> bool {
        let names = |config: &Config| config.best.is_none() || !words::config(config, key).is_empty();
        self.configs.first().is_some_and(|config| names(config)) || self.configs.iter().any(|c| c.judgement.failed())
    }
}

/// What all panels share.
struct Common<'a> {
    sweep: &'a Sweep,
    study: &'a Study,
    key: Option<&'a str>,
    y: (f64, f64),
    end: u64,
    /// Whether any panel needs a second line above its frame.
    two_lines: bool,
}

/// Draws the figure, whatever there is to draw.
pub fn curves(sweep: &Sweep, study: &Study) -> Scene {
    let key = lead_axis(sweep).map(|axis| axis.key.as_str());
    let (facets, left_out) = facets(sweep, study, key);
    let title = match key {
        Some(key) => format!("Loss curves: the best configuration at each {}", words::axis_name(key)),
        None => "Loss curves".to_owned(),
    };
    let mut scene = Scene::new("curves", title);
    let two_lines = facets.iter().any(|facet| facet.second_line(key));
    let common =
        Common { sweep, study, key, y: range(sweep, study, &facets), end: frame::end(sweep, study), two_lines };
    if sweep.runs.is_empty() {
        let top = scene.heading(&[words::size(sweep, study)]);
        scene.text(Text::new(MARGIN, top + 14.0, "The sweep has no trials.").ink(ink::TEXT));
        scene.height = top + 32.0;
        return scene;
    }
    let mut top = scene.heading(&subtitle(&common, &facets, left_out)) + 14.0;
    let columns = columns(facets.len());
    let across = Across::new(LEFT, GUTTER, columns);
    let height = match columns {
        _ if sweep.runs.iter().all(|run| run.metrics.is_empty() && run.evals.is_empty()) => 90.0,
        1 => 300.0,
        2 => 230.0,
        3 => 190.0,
        _ => 140.0,
    };
    let head = if two_lines { 34.0 } else { 18.0 };
    let mut off_scale = 0;
    for row in facets.chunks(columns) {
        for (column, facet) in row.iter().enumerate() {
            let ((left, right), plot) = (across.place(column), top + head);
            let frame = Frame::new([left, plot, right, plot + height], common.end, common.y);
            off_scale += draw_facet(&mut scene, &common, facet, &frame, column == 0);
        }
        top += head + height + 10.0 + STRIP + 46.0;
    }
    let last_row = facets.chunks(columns).last().map_or(1, <[_]>::len);
    let (_, right) = across.place(last_row.saturating_sub(1));
    scene.text(Text::new(f64::midpoint(LEFT, right), top - 14.0, "optimizer step").align(Align::Middle));
    scene.height = key_line(&mut scene, &common, top + 14.0, off_scale) + 4.0;
    scene
}

/// The panels in the axis' order, and how many values found no room.
fn facets<'a>(sweep: &'a Sweep, study: &'a Study, key: Option<&str>) -> (Vec<Facet<'a>>, usize) {
    let Some(key) = key else {
        return (vec![Facet { title: sweep.name.clone(), configs: study.configs.iter().collect() }], 0);
    };
    // In order of rank; configurations that do not say stand together.
    let mut found: Vec<(String, Facet<'a>)> = Vec::new();
    for config in &study.configs {
        let value = config.value(key);
        let name = value.map_or_else(String::new, |value| value.value.to_string());
        if let Some((_, facet)) = found.iter_mut().find(|(known, _)| *known == name) {
            facet.configs.push(config);
        } else {
            let title = value.map_or_else(|| format!("no {}", words::axis(key)), |value| words::value(key, value));
            found.push((name, Facet { title, configs: vec![config] }));
        }
    }
    let left_out = found.len().saturating_sub(MOST_FACETS);
    found.truncate(MOST_FACETS);
    let axis = sweep.axes.iter().find(|axis| axis.key == key);
    let order: Vec<String> = axis.iter().flat_map(|axis| &axis.values).map(|value| value.value.to_string()).collect();
    let place = |name: &str| order.iter().position(|known| known == name);
    let numbers = found.iter().all(|(name, _)| name.parse::<f64>().is_ok());
    found.sort_by(|(a, _), (b, _)| {
        let number = |name: &str| name.parse::<f64>().unwrap_or(f64::NAN);
        if numbers { number(a).total_cmp(&number(b)) } else { place(a).cmp(&place(b)) }
    });
    (found.into_iter().map(|(_, facet)| facet).collect(), left_out)
}

fn columns(facets: usize) -> usize {
    match facets {
        0 | 1 => 1,
        2 | 4 => 2,
        3 | 5 | 6 | 9 => 3,
        _ => 4,
    }
}

/// From the lowest smoothed loss in front to a little above chance and the untrained model. A diverged curve does not
/// set the scale.
fn range(sweep: &Sweep, study: &Study, facets: &[Facet<'_>]) -> (f64, f64) {
    let starts = sweep.runs.iter().filter_map(|run| run.evals.first()).map(|row| f64::from(row.eval_loss));
    let mut starts: Vec<f64> = starts.filter(|loss| loss.is_finite()).collect();
    starts.sort_by(f64::total_cmp);
    let start = starts.get(starts.len() / 2).copied();
    let (mut low, mut high) = (f64::INFINITY, start.unwrap_or(0.0).max(study.chance.unwrap_or(0.0)));
    let cap = if high > 0.0 { 1.3 * high } else { f64::INFINITY };
    for config in facets.iter().filter_map(|facet| facet.front(sweep)) {
        for run in config.runs.iter().map(|&run| &sweep.runs[run]) {
            let train = smooth_train(&[run]);
            let eval = curve::eval_loss(&run.evals);
            for y in train.iter().chain(&eval).map(|point| point.y).filter(|y| y.is_finite()) {
                low = low.min(y);
                high = high.max(y.min(cap));
            }
        }
    }
    if low > high {
        return (0.0, 1.0);
    }
    let high = high + 0.12 * (high - low).max(0.05);
    (if low < 0.6 * high { 0.0 } else { low - 0.1 * (high - low) }, high)
}

fn subtitle(common: &Common<'_>, facets: &[Facet<'_>], left_out: usize) -> Vec<String> {
    let study = common.study;
    let window = HALF_WIDTH * study.steps as f64;
    let raw = if study.seeds == 1 {
        "raw training loss faint".into()
    } else {
        format!("raw training loss of {} seeds faint", study.seeds)
    };
    let left_out = match left_out {
        0 => String::new(),
        n => format!(
            "the {MOST_FACETS} values with the lowest best loss of {}; the others are in trials.csv",
            n + MOST_FACETS
        ),
    };
    vec![
        words::size(common.sweep, study),
        raw,
        format!("smoothed bold (centred local-linear, ±{} steps)", words::round(window.max(2.0).round())),
        format!(
            "eval loss{}{}",
            words::interval(study),
            if study.seeds == 1 { "" } else { ": mean with min–max band over seeds" }
        ),
        if facets.iter().any(|facet| facet.configs.len() > 1) {
            "grey: eval loss of every other configuration there".into()
        } else {
            String::new()
        },
        if facets.len() > 1 { "same y scale in every panel".into() } else { String::new() },
        left_out,
    ]
}

/// Draws one panel; returns how many curves leave the frame.
fn draw_facet(scene: &mut Scene, common: &Common<'_>, facet: &Facet<'_>, frame: &Frame, first: bool) -> usize {
    let front = facet.front(common.sweep);
    let survived = front.filter(|config| config.best.is_some());
    header(scene, common, facet, frame, common.two_lines);
    if let Some(config) = survived {
        tints(scene, common, config, frame);
    }
    grid(scene, common, frame, first);
    let mut off_scale = grey(scene, common, facet, frame, front);
    if let Some(config) = front {
        off_scale += front_curves(scene, common, config, frame);
        strip(scene, common, config, frame);
    }
    crosses(scene, common, facet, frame);
    match survived {
        Some(config) => notes::marks(scene, common, config, frame),
        None => notes::explanation(scene, common, facet, front, frame),
    }
    off_scale
}

/// Two lines above the frame: what it is and how good, what it holds and how much failed.
fn header(scene: &mut Scene, common: &Common<'_>, facet: &Facet<'_>, frame: &Frame, two_lines: bool) {
    let best = facet.configs.first().and_then(|config| config.best.map(|best| (config, best)));
    let space = frame.right - frame.left;
    let above = frame.top - if two_lines { 27.0 } else { 10.0 };
    let mut used = 0.0;
    if let Some((config, best)) = best {
        let lost = if config.complete() { String::new() } else { format!(" ({}/{})", best.n, config.runs.len()) };
        let level = Text::new(frame.right, above, words::level(best) + &lost);
        let level = level.size(13.0).bold().ink(ink::EVAL_TEXT).align(Align::Right);
        used = level.width() + 12.0;
        scene.text(level);
    }
    let title = font::elide(&font::printable(&facet.title, true), 13.0, true, space - used);
    scene.text(Text::new(frame.left, above, title).size(13.0).bold().ink(ink::TEXT));
    let failed = facet.configs.iter().filter(|config| config.judgement.failed()).count();
    let name = match best {
        Some((config, _)) => words::config(config, common.key),
        None if failed == facet.configs.len() => "no configuration survived".into(),
        None => "nothing finished yet".into(),
    };
    let name = font::printable(&name, false);
    let mut used = 0.0;
    // Without a survivor the panel itself says what failed.
    if failed > 0 && best.is_some() {
        let of = facet.configs.len();
        let kinds = words::failures(facet.configs.iter().copied());
        let forms = [format!("{kinds} of {of}"), format!("{failed} of {of} lost"), format!("{failed} lost")];
        let fits = |text: &&String| font::width(text, 12.0, false) + 12.0 + font::width(&name, 12.0, false) <= space;
        let text = forms.iter().find(fits).unwrap_or(&forms[2]);
        let text = Text::new(frame.right, frame.top - 10.0, text).align(Align::Right);
        used = text.width() + 12.0;
        scene.text(text);
    }
    let name = font::elide(&name, 12.0, false, space - used);
    scene.text(Text::new(frame.left, frame.top - 10.0, name));
}

/// The plateau's tint and that of the rise.
fn tints(scene: &mut Scene, common: &Common<'_>, config: &Config, frame: &Frame) {
    let Some(onset) = config.judgement.plateau() else { return };
    let last = shown(common.sweep, config).iter().map(|run| run.measured().end()).max().unwrap_or(common.end);
    let (from, to) = (frame.x.at(onset as f64), frame.x.at(last as f64));
    let rise = config.judgement.rises().map_or(to, |step| frame.x.at(step as f64));
    scene.rect([from, frame.top, rise, frame.bottom], ink::PLATEAU.alpha(0.10));
    scene.rect([rise, frame.top, to, frame.bottom], ink::RISING.alpha(0.13));
}

/// Grid lines, both axes and their numbers, and the dashed line of chance.
fn grid(scene: &mut Scene, common: &Common<'_>, frame: &Frame, first: bool) {
    frame.levels(scene, common.y, 5, first);
    if first {
        let middle = f64::midpoint(frame.top, frame.bottom);
        let label = Text::new(14.0, middle, "loss (nats)").align(Align::Middle).upright();
        scene.text(label);
    }
    if let Some(chance) = common.study.chance.filter(|chance| *chance <= common.y.1 && *chance >= common.y.0) {
        scene.dashes((frame.left, frame.right), frame.y.at(chance), ink::AXIS);
    }
    scene.line(&[(frame.left, frame.bottom), (frame.right, frame.bottom)], 1.0, ink::AXIS);
    frame.steps(scene, common.end, frame.bottom + 10.0 + STRIP);
}

/// Every run of every other configuration.
fn grey(scene: &mut Scene, common: &Common<'_>, facet: &Facet<'_>, frame: &Frame, front: Option<&Config>) -> usize {
    let others = facet.configs.iter().filter(|config| front.is_none_or(|front| config.runs != front.runs));
    let runs: Vec<usize> = others.flat_map(|config| config.runs.iter().copied()).collect();
    let alpha = (6.0 / runs.len().max(1) as f64).clamp(0.13, 0.42);
    let draw = |run: usize| {
        let points = axis::reduce(&frame.place(&curve::eval_loss(&common.sweep.runs[run].evals)));
        frame.curve(scene, &points, 1.0, ink::CONTEXT.alpha(alpha))
    };
    runs.into_iter().map(draw).filter(|left| *left).count()
}

/// The runs of a configuration whose curves stand for it.
fn shown<'a>(sweep: &'a Sweep, config: &Config) -> Vec<&'a Run> {
    let runs = if config.survivors.is_empty() { &config.runs } else { &config.survivors };
    runs.iter().map(|&run| &sweep.runs[run]).collect()
}

/// Mean train loss of some runs, smoothed.
fn smooth_train(runs: &[&Run]) -> Vec<Point> {
    let raw: Vec<Vec<Point>> = runs.iter().map(|run| curve::train_loss(&run.metrics)).collect();
    let steps = runs.iter().map(|run| run.trial.steps).max().unwrap_or(0);
    let mean: Vec<Point> = curve::spread(&raw).iter().map(|point| Point { x: point.x, y: point.mean }).collect();
    curve::smooth(&mean, (HALF_WIDTH * steps as f64).round().max(2.0))
}

/// Raw and smoothed train loss, band and mean of the eval loss.
fn front_curves(scene: &mut Scene, common: &Common<'_>, config: &Config, frame: &Frame) -> usize {
    let runs = shown(common.sweep, config);
    let mut off_scale = 0;
    // The more points a pixel, the fainter.
    let points: usize = runs.iter().map(|run| run.metrics.len()).sum();
    let alpha = (0.3 * (frame.right - frame.left) / points.max(1) as f64).clamp(0.07, 0.36);
    for run in &runs {
        let raw = axis::reduce(&frame.place(&curve::train_loss(&run.metrics)));
        frame.curve(scene, &raw, 0.8, ink::TRAIN.alpha(alpha));
    }
    if config.survivors.is_empty() {
        for run in &runs {
            let eval = frame.place(&curve::eval_loss(&run.evals));
            off_scale += usize::from(frame.curve(scene, &eval, 1.6, ink::EVAL));
        }
    } else if runs.len() > 1 {
        frame.band(scene, &config.curve, ink::EVAL.alpha(0.20));
    }
    // Failed runs are never averaged, not even with each other.
    let together: Vec<&[&Run]> = if config.survivors.is_empty() { runs.chunks(1).collect() } else { vec![&runs] };
    for runs in together {
        let train = axis::reduce(&frame.place(&smooth_train(runs)));
        off_scale += usize::from(frame.curve(scene, &train, 2.0, ink::TRAIN));
    }
    let mean: Vec<Point> = config.curve.iter().map(|point| Point { x: point.x, y: point.mean }).collect();
    off_scale + usize::from(frame.curve(scene, &frame.place(&mean), 2.2, ink::EVAL))
}

/// A cross on the top edge for each run that met a NaN, or ran away, at its step.
fn crosses(scene: &mut Scene, common: &Common<'_>, facet: &Facet<'_>, frame: &Frame) {
    for run in facet.configs.iter().flat_map(|config| &config.runs) {
        if let Judgement::NotFinite { step } | Judgement::Diverged { step } = common.study.judgements[*run] {
            scene.cross((frame.x.at(step as f64), frame.top), 3.4, ink::FAILED);
        }
    }
}

/// A learning rate as sweep files mostly write it: `3e-3`, `0.05`.
fn rate_text(rate: f64) -> String {
    let text = rounded_text(rate, 3);
    text.parse().map_or(text, |rounded: f64| if rounded < 0.01 { format!("{rounded:e}") } else { number_text(rounded) })
}

/// The learning rate over the same steps, as a filled area that names its peak.
fn strip(scene: &mut Scene, common: &Common<'_>, config: &Config, frame: &Frame) {
    let Some(run) = shown(common.sweep, config).into_iter().max_by_key(|run| run.metrics.len()) else { return };
    let highest = run.metrics.iter().map(|row| row.lr).filter(|lr| lr.is_finite()).fold(0.0, f64::max);
    // A schedule that falls from its first step on never reaches the peak it is named by.
    let configured = run.trial.config.lr;
    let peak = if highest <= configured && highest > 0.9 * configured { configured } else { highest };
    let base = frame.bottom + 10.0 + STRIP;
    let scale = Scale::new((0.0, peak), (base, base - STRIP));
    let points: Vec<(f64, f64)> =
        run.metrics.iter().map(|row| (frame.x.at(row.step as f64), scale.at(row.lr))).collect();
    let points = axis::reduce(&points);
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    let mut outline = vec![(first.0, base)];
    outline.extend_from_slice(&points);
    outline.push((last.0, base));
    scene.area(outline, ink::CONTEXT.alpha(0.20));
    scene.line(&points, 1.3, ink::CONTEXT);
    if (frame.left - LEFT).abs() < 1.0 {
        scene.text(Text::new(frame.left - 6.0, base - 9.0, "LR").align(Align::Right));
    }
    let complete = run.metrics.last().is_some_and(|row| row.step >= run.trial.steps);
    let constant = complete && last.1 - (base - STRIP) < 1.0;
    if peak <= 0.0 {
        return;
    }
    let text = format!("{} {}", if constant { "constant" } else { "peak" }, rate_text(peak));
    let y = if constant { base - 9.0 } else { base - STRIP + 8.0 };
    scene.text(Text::new(frame.right - 4.0, y, text).align(Align::Right).size(11.0));
}

/// What the marks that were drawn mean, and what was cut; returns the y below.
fn key_line(scene: &mut Scene, common: &Common<'_>, y: f64, off_scale: usize) -> f64 {
    let configs = || common.study.configs.iter();
    let ends = |judgement: &Judgement| matches!(judgement, Judgement::NotFinite { .. } | Judgement::Diverged { .. });
    let entries = [
        (configs().any(|config| config.best.is_some()), Mark::Diamond(ink::EVAL), "best checkpoint"),
        (
            configs().any(|config| config.judgement.plateau().is_some()),
            Mark::Swatch(ink::PLATEAU.alpha(0.25)),
            "plateau",
        ),
        (
            configs().any(|config| config.judgement.rises().is_some()),
            Mark::Swatch(ink::RISING.alpha(0.35)),
            "eval loss rising: overfit",
        ),
        (common.study.judgements.iter().any(ends), Mark::Cross, "NaN or diverged at this step"),
    ];
    let entries: Vec<(Mark, &str)> =
        entries.into_iter().filter_map(|(drawn, mark, name)| drawn.then_some((mark, name))).collect();
    scene.legend(MARGIN, y, &entries);
    let left = match off_scale {
        0 => String::new(),
        n => format!("{} cut at the top edge", words::count(n, "curve")),
    };
    let width = plateau::EVAL_HALF_WIDTH;
    let y = if entries.is_empty() { y } else { y + 20.0 };
    scene.lines(
        y,
        &[
            format!("Plateau: first step after which the smoothed eval loss (centred local-linear, ±{width} evaluations) never improves by more than delta again"),
            words::delta(common.study),
            left,
        ],
    )
}
