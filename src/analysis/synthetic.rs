//! Sweeps of plausible curves for tests. They are functions of indices alone, so that two calls agree.

use std::sync::LazyLock;

use super::curve::Point;
use super::study::Study;
use super::sweep::{Run, Sweep};
use crate::search::{Condition, DimensionName, Domain, Draw, SearchHistory, Space, SpaceKey};
use crate::trial::{
    Architecture, Axis, AxisValue, DrawnBy, EvalRow, FractionOrSteps, Key, LstmPooling, MetricRow, Outcome, Scores,
    Status, Trial, TrialConfig, TrialId, number_text,
};

/// The greatest number of a key, as the table of keys has it.
pub(crate) fn greatest(key: &str) -> Option<f64> {
    match key {
        "warmup" | "model.dropout" | "label_smoothing" => Some(1f64.next_down()),
        "optimizer.layer_decay" => Some(1.0),
        _ => None,
    }
}

/// An axis of `values` as written in YAML.
pub(crate) fn axis(key: &str, values: &[&str]) -> Axis {
    let value = |text: &&str| AxisValue {
        value: text.parse::<f64>().map_or_else(|_| serde_yaml::from_str(text).unwrap(), Into::into),
        text: (*text).to_owned(),
    };
    Axis { key: key.into(), values: values.iter().map(value).collect(), drawn: false, greatest: greatest(key) }
}

/// The product of `axes` with `steps` optimizer steps each, all finished.
pub(crate) fn sweep(name: &str, axes: &[Axis], steps: u64) -> Sweep {
    let mut points: Vec<Vec<(String, AxisValue)>> = vec![Vec::new()];
    for axis in axes {
        let extend = |point: &Vec<(String, AxisValue)>| {
            let with = |value: &AxisValue| [point.clone(), vec![(axis.key.clone(), value.clone())]].concat();
            axis.values.iter().map(with).collect::<Vec<_>>()
        };
        points = points.iter().flat_map(extend).collect();
    }
    let runs = points.into_iter().enumerate().map(|(index, values)| run(index as u64, values, steps)).collect();
    Sweep { name: name.into(), axes: axes.to_vec(), search: None, runs }
}

/// The default sweep: 4 rates x 2 warm-ups x 2 schedules, one seed.
pub(crate) fn default_sweep() -> Sweep {
    let axes = [
        axis("lr", &["1e-5", "3e-5", "1e-4", "3e-4"]),
        axis("warmup", &["0", "0.1"]),
        axis("scheduler", &["linear", "cosine"]),
    ];
    sweep("lr-grid", &axes, 150)
}

/// Four networks with learning rates and seeds in common.
pub(crate) fn arms() -> Sweep {
    let names = ["bert", "bilstm", "textcnn", "bag_of_words"];
    let axes = [axis("arm", &names), axis("lr", &["1e-5", "3e-5", "1e-4"]), axis("seed", &["1", "2", "3"])];
    let mut sweep = sweep("arms", &axes, 120);
    for run in &mut sweep.runs {
        let name = run.trial.value("arm").map(|value| value.text.clone()).unwrap_or_default();
        run.trial.config.model.architecture = match name.as_str() {
            "bilstm" => Architecture::Bilstm { hidden: 128, layers: 1, pooling: LstmPooling::Max },
            "textcnn" => Architecture::Textcnn { kernels: vec![3, 4, 5], filters: 100 },
            "bag_of_words" => Architecture::BagOfWords { hidden: 0 },
            _ => Architecture::None,
        };
    }
    sweep
}

/// A search over six dimensions, one of which exists with one scheduler alone: one configuration of `include`, ten at random,
/// and the others near the best learning rate, as an estimator would draw them. Some are stopped early.
pub(crate) fn search(name: &str, configurations: u64, steps: u64) -> Sweep {
    let key = |path: &str, values: &[&str], domain: Domain| {
        let values = values.iter().map(|text| (*text).to_owned()).collect();
        (DimensionName { path: path.into(), values, greatest: greatest(path) }, domain.into())
    };
    let list = |count: u64| Domain::Steps { low: 0.0, step: 1.0, count };
    let (names, mut dimensions): (Vec<DimensionName>, Vec<SpaceKey>) = [
        key("lr", &[], Domain::Log { low: 1e-6, high: 1e-3 }),
        key("warmup", &[], Domain::Uniform { low: 0.0, high: 0.3 }),
        key("scheduler", &["linear", "cosine_with_restarts"], Domain::Choice { weights: vec![1.0; 2] }),
        key("scheduler.cycles", &[], Domain::Steps { low: 1.0, step: 1.0, count: 4 }),
        key("batch_size", &["8", "16", "32"], list(3)),
        key("augmentation", &["none", "eda"], Domain::Choice { weights: vec![3.0, 1.0] }),
    ]
    .into_iter()
    .unzip();
    dimensions[3].condition = Some(Condition { dimension: 2, choice: 1 });
    let space = Space { dimensions };
    let point = |number: u64| -> Vec<Option<f64>> {
        let mut point: Vec<Option<f64>> = Vec::new();
        for (index, dimension) in space.dimensions.iter().enumerate() {
            let unit = noise(number, 90 + index as u64);
            let unit = if index == 0 && number > 10 { 0.35 + 0.3 * unit } else { unit };
            let exists = dimension.condition.is_none_or(|wanted| point[wanted.dimension] == Some(wanted.choice as f64));
            let short = |x: f64| format!("{x:.2e}").parse().unwrap_or(x);
            point.push(exists.then(|| short(dimension.domain.draw(unit))));
        }
        point
    };
    let values = |point: &[Option<f64>]| -> Vec<(String, AxisValue)> {
        let value = |index: usize| {
            let x = point[index]?;
            let name = &names[index];
            let text = match (name.values.get(x as usize), point.get(index + 1).copied().flatten()) {
                (Some(text), Some(cycles)) if index == 2 => format!("{{name: {text}, cycles: {cycles}}}"),
                (Some(text), _) => text.clone(),
                (None, _) => number_text(x),
            };
            (index != 3).then(|| (name.path.clone(), axis(&name.path, &[&text]).values.remove(0)))
        };
        (0..point.len()).filter_map(value).collect()
    };
    let mut sweep = Sweep { name: name.into(), axes: Vec::new(), search: None, runs: Vec::new() };
    let mut draws = Vec::new();
    for number in 0..configurations {
        let point = point(number);
        let mut run = run(number, values(&point), steps);
        if number % 9 == 8 && run.status == Status::Finished {
            run.status = Status::Stopped;
        }
        let by = match number {
            0 => DrawnBy::Include,
            1..=10 => DrawnBy::Sobol,
            _ => DrawnBy::Tpe,
        };
        draws.push(Draw { number, by, point: Some(point), trials: vec![run.trial.id.clone()] });
        sweep.runs.push(run);
    }
    let axis_of = |name: &DimensionName| {
        let mut found: Vec<AxisValue> = Vec::new();
        for value in sweep.runs.iter().filter_map(|run| run.trial.value(&name.path)) {
            if found.iter().all(|known| known.value != value.value) {
                found.push(value.clone());
            }
        }
        found.sort_by(|a, b| a.value.as_f64().partial_cmp(&b.value.as_f64()).unwrap_or(std::cmp::Ordering::Equal));
        Axis { key: name.path.clone(), values: found, drawn: true, greatest: name.greatest }
    };
    sweep.axes = names.iter().filter(|name| name.path != "scheduler.cycles").map(axis_of).collect();
    sweep.search = Some(SearchHistory {
        space,
        names,
        draws,
        size: None,
        grid: Vec::new(),
        budget: Some(configurations),
        repetitions: 1,
        ended: None,
    });
    sweep
}

/// [`search`], whose best configuration was included with a learning rate above the range, where it is 0.1.
pub(crate) fn search_with_the_best_outside() -> Sweep {
    let mut sweep = search("s", 40, 60);
    let draw = &mut sweep.search.as_mut().unwrap().draws[0];
    draw.point = None;
    let run = sweep.runs.iter_mut().find(|run| run.trial.id == draw.trials[0]).unwrap();
    run.status = Status::Finished;
    run.trial.values[0].1 = axis("lr", &["0.1"]).values.remove(0);
    run.evals.iter_mut().for_each(|row| row.eval_loss = 0.2);
    run.metrics.iter_mut().for_each(|row| row.train_loss = 0.2);
    sweep
}

/// 144 configurations with 3 seeds.
fn large_sweep() -> Sweep {
    let axes = [
        axis("lr", &["1e-5", "2e-5", "3e-5", "5e-5", "1e-4", "3e-4"]),
        axis("warmup", &["0", "0.06", "0.1", "0.2"]),
        axis("scheduler", &["linear", "cosine", "constant"]),
        axis("augmentation", &["none", "eda"]),
        axis("seed", &["1", "2", "3"]),
    ];
    sweep("lr-grid", &axes, 1200)
}

/// The large sweep and its study, made once for all tests of a process: a development build takes seconds for it.
pub(crate) static LARGE: LazyLock<(Sweep, Study)> = LazyLock::new(|| {
    let sweep = large_sweep();
    let study = Study::of(&sweep);
    (sweep, study)
});

/// Turns every run into one that failed before its first step.
pub(crate) fn all_failed(mut sweep: Sweep) -> Sweep {
    for run in &mut sweep.runs {
        *run = Run {
            status: Status::Failed,
            error: Some("worker died: exit code 101".into()),
            metrics: Vec::new(),
            evals: Vec::new(),
            diagnostics: Vec::new(),
            outcome: None,
            trial: run.trial.clone(),
        };
    }
    sweep
}

/// Trials that have finished and learned nothing.
pub(crate) fn stuck(axes: &[Axis]) -> Sweep {
    let mut sweep = sweep("stuck", axes, 100);
    for run in &mut sweep.runs {
        run.diagnostics.clear();
        run.status = Status::Finished;
        run.metrics.iter_mut().for_each(|row| row.train_loss = 0.693);
        run.evals.iter_mut().for_each(|row| (row.eval_loss, row.accuracy) = (0.693, 0.5));
        run.outcome.iter_mut().for_each(|outcome| {
            (outcome.class_prior, outcome.eval_prior) = (vec![0.5, 0.5], vec![0.5, 0.5]);
        });
    }
    sweep
}

/// Keeps the first `done` runs, two half-way behind them, and nothing of the rest.
pub(crate) fn unfinished(mut sweep: Sweep, done: usize) -> Sweep {
    for (index, run) in sweep.runs.iter_mut().enumerate().skip(done) {
        let reached = if index < done + 2 { run.trial.steps / 2 } else { 0 };
        run.status = if reached > 0 { Status::Running } else { Status::Pending };
        run.metrics.retain(|row| row.step <= reached);
        run.evals.retain(|row| reached > 0 && row.step <= reached);
        run.outcome = None;
    }
    sweep
}

/// In [0, 1), from the splitmix64 finaliser over its arguments.
pub(crate) fn noise(seed: u64, index: u64) -> f64 {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ index.wrapping_mul(0xD1B5_4A32_D192_ED03);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Standard normal, from two of those (Box and Muller 1958).
pub(crate) fn gauss(seed: u64, index: u64) -> f64 {
    let (u, v) = (1.0 - noise(seed, 2 * index), noise(seed ^ 0x5555, 2 * index + 1));
    (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
}

/// A training loss L0 + A S^-alpha with noise, where S is the summed learning rate as a share of what a constant rate of 1 would
/// sum to. `rate`: the learning rate by the share of the run.
pub(crate) fn power_law(
    n: usize,
    (floor, rise, alpha): (f64, f64, f64),
    sigma: f64,
    seed: u64,
    rate: &dyn Fn(f64) -> f64,
) -> Vec<Point> {
    let mut summed = 0.0;
    let at = |i: usize| {
        summed += rate(i as f64 / n as f64) / n as f64;
        Point { x: i as f64, y: floor + rise * summed.powf(-alpha) + sigma * gauss(seed, i as u64) }
    };
    (1..=n).map(at).collect()
}

fn run(index: u64, values: Vec<(String, AxisValue)>, steps: u64) -> Run {
    let number = |key: Key, default: f64| {
        let value = values.iter().find(|(name, _)| key.is(name));
        value.and_then(|(_, value)| value.value.as_f64()).unwrap_or(default)
    };
    let has = |text: &str| values.iter().any(|(_, value)| value.text.contains(text));
    let (lr, warmup, seed) = (number(Key::LearningRate, 5e-5), number(Key::Warmup, 0.1), number(Key::Seed, 42.0));
    let course = Course {
        lr,
        warmup: (warmup * steps as f64).ceil(),
        decay: if has("constant") {
            0.0
        } else if has("cosine") {
            2.0
        } else {
            1.0
        },
        calm: has("eda") || has("synonym"),
        draw: noise(index + 17, 5),
        noise: noise(index, seed as u64) as f32,
        steps: steps as f64,
        index,
    };
    let metrics = course.metrics();
    let evals = course.evals(metrics.last().map_or(0, |row| row.step));
    let status =
        if metrics.last().is_some_and(|row| row.train_loss.is_finite()) { Status::Finished } else { Status::Diverged };
    let id = TrialId::parse(&format!("{:012x}", index.wrapping_mul(0x1234_5678_9ABC) & 0xFFFF_FFFF_FFFF)).unwrap();
    let outcome = outcome(status, &metrics, &evals);
    let config = TrialConfig { lr, warmup: FractionOrSteps(warmup), seed: seed as u64, ..TrialConfig::default() };
    Run {
        trial: Trial { id, values, steps, config },
        status,
        error: None,
        metrics,
        evals,
        diagnostics: Vec::new(),
        outcome: Some(outcome),
    }
}

/// How a synthetic loss goes.
struct Course {
    lr: f64,
    warmup: f64,
    decay: f64,
    calm: bool,
    draw: f64,
    noise: f32,
    steps: f64,
    index: u64,
}

impl Course {
    fn rate(&self, step: f64) -> f64 {
        let left = ((self.steps - step) / (self.steps - self.warmup).max(1.0)).clamp(0.0, 1.0);
        let decayed =
            if self.decay > 1.5 { 0.5 - 0.5 * (std::f64::consts::PI * left).cos() } else { left.powf(self.decay) };
        self.lr * if step < self.warmup { step / self.warmup } else { decayed }
    }

    /// Learned so far, in 0..: grows with the sum of rates.
    fn progress(&self, step: f64) -> f64 {
        let grid = 40.0;
        (0..40).map(|i| self.rate(step * (f64::from(i) + 0.5) / grid)).sum::<f64>() / grid * step / self.steps * 2.4e5
    }

    fn fate(&self) -> (bool, bool) {
        let heat = self.lr / 1e-4 * (1.3 - (self.warmup / self.steps).min(0.2) * 3.0);
        (heat > 2.6 && self.draw < 0.45, heat > 1.0 && self.draw < heat * 0.28)
    }

    fn train(&self, step: f64) -> f64 {
        let (nan, stuck) = self.fate();
        let jitter = (noise(self.index + 900, step as u64) + noise(self.index + 901, step as u64) - 1.0) * 0.12;
        if nan && step > self.steps * (0.06 + self.draw * 0.5) {
            return f64::NAN;
        }
        if stuck || nan {
            let bump = if self.draw > 0.12 { (-((step / self.steps - 0.09) / 0.035).powi(2)).exp() * 0.4 } else { 0.0 };
            return 0.69 - bump + jitter * 0.3;
        }
        let level = if self.calm { 0.17 } else { 0.08 };
        (level + (0.71 - level) * (-self.progress(step)).exp() + jitter).max(0.004)
    }

    fn eval(&self, step: f64) -> f64 {
        let (nan, stuck) = self.fate();
        let jitter = (noise(self.index + 77, step as u64) - 0.5) * 0.014;
        if nan || stuck {
            return self.train(step).min(0.8) * 0.2 + 0.555 + jitter * 0.4;
        }
        let learned = self.progress(step);
        let level = if self.calm { 0.30 } else { 0.335 } + f64::from(self.noise) * 0.02;
        let rise = (learned - 2.6).max(0.0) * if self.calm { 0.008 } else { 0.025 };
        level + (0.72 - level) * (-learned * 1.1).exp() + rise + jitter
    }

    fn metrics(&self) -> Vec<MetricRow> {
        let mut rows = Vec::new();
        for step in 1..=self.steps as u64 {
            let train_loss = self.train(step as f64) as f32;
            rows.push(MetricRow {
                step,
                epoch: step as f64 / self.steps * 3.0,
                train_loss,
                lr: self.rate(step as f64),
                grad_norm: if train_loss.is_finite() { 1.0 + self.noise } else { f32::NAN },
                tokens: 1000,
                seconds: step as f64 * 0.2,
            });
            if !train_loss.is_finite() {
                break;
            }
        }
        rows
    }

    fn evals(&self, end: u64) -> Vec<EvalRow> {
        let every = (self.steps as u64 / 24).max(1);
        let row = |step: u64| {
            let loss = self.eval(step as f64);
            let (nan, stuck) = self.fate();
            let accuracy = if (nan || stuck) && loss > 0.66 {
                0.51
            } else if nan || stuck {
                0.6
            } else {
                0.87 - (loss.min(0.7) - 0.3) * 0.75
            };
            EvalRow {
                step,
                eval_loss: loss as f32,
                accuracy: accuracy as f32,
                macro_f1: accuracy as f32 - 0.01,
                train_probe_loss: loss as f32 - 0.05,
                scores: Scores::default(),
            }
        };
        (0..=end).step_by(every as usize).map(row).collect()
    }
}

fn outcome(status: Status, metrics: &[MetricRow], evals: &[EvalRow]) -> Outcome {
    let best = evals.iter().min_by(|a, b| a.eval_loss.total_cmp(&b.eval_loss));
    Outcome {
        status,
        reason: None,
        steps: metrics.len() as u64,
        final_train_loss: metrics.last().map(|row| row.train_loss).filter(|loss| loss.is_finite()),
        final_eval_loss: evals.last().map(|row| row.eval_loss),
        best_eval_loss: best.map(|row| row.eval_loss),
        best_eval_step: best.map(|row| row.step),
        final_accuracy: evals.last().map(|row| row.accuracy),
        best_accuracy: evals.iter().map(|row| row.accuracy).reduce(f32::max),
        best_macro_f1: evals.iter().map(|row| row.macro_f1).reduce(f32::max),
        best: None,
        last: None,
        best_scores: Scores::default(),
        final_scores: Scores::default(),
        seconds: metrics.len() as f64 * 0.2,
        tokens_per_second: 5000.0,
        peak_memory: None,
        device_memory: None,
        labels: vec!["negative".into(), "positive".into()],
        class_prior: vec![0.5, 0.5],
        eval_prior: vec![0.5, 0.5],
        train_chance: None,
        eval_chance: None,
        leaked_rows: 0,
        verdicts: Vec::new(),
    }
}
