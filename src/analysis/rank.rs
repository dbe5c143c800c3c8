//! Ranks the configurations of a sweep, and tells which differences may be noise.
//!
//! A configuration is everything but the seed and the fold. Its figures are means over the seeds that survived. A configuration
//! with a failed seed ranks after all complete ones, whatever its other seeds reached.

use super::curve::{self, Point, Spread};
use super::groups::{self, Repetition};
use super::neighbours::correct;
use super::shape::{self, Shape};
use super::study::{Config, Level, Study};
use super::sweep::{Run, Sweep};
use super::verdicts::{Diagnosis, diagnose};
use crate::trial::{EvalRow, Key, Metric};

impl Study {
    /// Judges every trial, then ranks the configurations.
    pub fn of(sweep: &Sweep) -> Self {
        let groups = groups::by_configuration(sweep);
        let least = sweep.least_change();
        let first = all_shapes(sweep, least);
        let metric = sweep.runs.first().map_or(Metric::EvalLoss, |run| run.trial.config.metric);
        let seed_sd = pooled_sd(sweep, &groups, &first, Metric::EvalLoss);
        let metric_sd = pooled_sd(sweep, &groups, &first, metric);
        let delta = seed_sd.unwrap_or(0.0).max(least);
        let judge = |run: &Run| diagnose(&run.measured(), run.status, delta);
        let mut diagnoses: Vec<Diagnosis> = sweep.runs.iter().map(judge).collect();
        correct(sweep, &mut diagnoses, delta);
        let shapes: Vec<Shape> = diagnoses.iter().map(|diagnosis| diagnosis.shape).collect();
        let mut configs: Vec<Config> =
            groups.into_iter().map(|runs| config(sweep, runs, &shapes, metric, delta)).collect();
        configs.sort_by(|a, b| {
            let level = |config: &Config| config.score.map_or(f64::INFINITY, |score| metric.cost(score.mean));
            tier(a).cmp(&tier(b)).then(level(a).total_cmp(&level(b)))
        });
        mark_noise(&mut configs, metric, metric_sd);
        Self {
            delta,
            seed_sd,
            metric,
            metric_sd,
            repetition: Repetition::of(sweep),
            seeds: configs.iter().map(|config| config.runs.len()).max().unwrap_or(0),
            task: sweep.task(),
            chance: sweep.runs.iter().find_map(|run| run.measured().eval_chance()),
            eval_interval: eval_interval(sweep),
            steps: sweep.runs.iter().map(|run| run.trial.steps).max().unwrap_or(0),
            shapes,
            diagnoses,
            configs,
        }
    }
}

fn eval_interval(sweep: &Sweep) -> Option<u64> {
    let longest = sweep.runs.iter().max_by_key(|run| run.evals.len())?;
    curve::interval(&curve::eval_loss(&longest.evals)).map(|interval| interval as u64)
}

fn all_shapes(sweep: &Sweep, delta: f64) -> Vec<Shape> {
    sweep.runs.iter().map(|run| shape::judge(&run.measured(), run.status, delta)).collect()
}

fn survivors(sweep: &Sweep, runs: &[usize], shapes: &[Shape]) -> Vec<usize> {
    let survives = |&run: &usize| shapes[run].survived() && sweep.runs[run].best_eval().is_some();
    runs.iter().copied().filter(survives).collect()
}

fn pooled_sd(sweep: &Sweep, groups: &[Vec<usize>], shapes: &[Shape], metric: Metric) -> Option<f64> {
    let (mut squares, mut freedom) = (0.0, 0.0);
    for group in groups {
        let survivors = survivors(sweep, group, shapes);
        let bests: Vec<f64> =
            survivors.iter().filter_map(|&run| metric.best(&sweep.runs[run].evals)).map(|best| best.1).collect();
        if let Some(Level { sd: Some(sd), n, .. }) = Level::of(&bests) {
            squares += sd * sd * (n - 1) as f64;
            freedom += (n - 1) as f64;
        }
    }
    (freedom > 0.0).then(|| (squares / freedom).sqrt())
}

fn config(sweep: &Sweep, runs: Vec<usize>, shapes: &[Shape], metric: Metric, delta: f64) -> Config {
    let survivors = survivors(sweep, &runs, shapes);
    let alive = || survivors.iter().map(|&run| &sweep.runs[run]);
    let level = |of: fn(&Run) -> Option<f64>| Level::of(&alive().filter_map(of).collect::<Vec<_>>());
    let curves: Vec<Vec<Point>> = alive().map(|run| curve::eval_loss(&run.evals)).collect();
    let curve = curve::spread(&curves);
    let cost = |run: &Run| -> Vec<Point> {
        let point = |row: &EvalRow| Point { x: row.step as f64, y: metric.cost(f64::from(metric.value(row))) };
        run.evals.iter().map(point).filter(|point| point.y.is_finite()).collect()
    };
    let costs = curve::spread(&alive().map(cost).collect::<Vec<_>>());
    let lowest = costs.iter().min_by(|a, b| a.mean.total_cmp(&b.mean));
    let scores: Vec<f64> = alive().filter_map(|run| metric.best(&run.evals)).map(|best| best.1).collect();
    // Of the checkpoint that ranks it, not of another step.
    let headline = |run: &&Run| {
        let at = metric.best(&run.evals)?.0;
        let row = run.evals.iter().find(|row| row.step == at)?;
        Some(f64::from(run.trial.config.data.task.headline().value(row))).filter(|value| value.is_finite())
    };
    let headlines: Vec<f64> = alive().filter_map(|run| headline(&run)).collect();
    let values = runs.first().map(|&run| sweep.runs[run].trial.values.clone()).unwrap_or_default();
    Config {
        values: values.into_iter().filter(|(key, _)| !Key::is_repetition(key)).collect(),
        score: Level::of(&scores),
        best: level(|run| run.best_eval().map(|best| best.1)),
        last: level(|run| run.evals.last().map(|row| f64::from(row.eval_loss))),
        reached: if survivors.is_empty() { reached(sweep, &runs) } else { None },
        headline: Level::of(&headlines),
        best_step: lowest.map(|point| point.x as u64),
        shape: overall(&runs, &survivors, &curve, shapes, delta),
        within_noise: None,
        runs,
        survivors,
        curve,
    }
}

/// Best and final evaluation loss of the run with the lowest loss.
fn reached(sweep: &Sweep, runs: &[usize]) -> Option<(f64, f64)> {
    let of = |&run: &usize| {
        let run = &sweep.runs[run];
        Some((run.best_eval()?.1, f64::from(run.evals.last()?.eval_loss)))
    };
    runs.iter().filter_map(of).min_by(|a, b| a.0.total_cmp(&b.0))
}

/// The shape of the mean curve. A single survivor has its own; without survivors it is the most frequent failure.
fn overall(runs: &[usize], survivors: &[usize], curve: &[Spread], shapes: &[Shape], delta: f64) -> Shape {
    if let [only] = survivors {
        return shapes[*only];
    }
    if !survivors.is_empty() {
        let mean: Vec<Point> = curve.iter().map(|point| Point { x: point.x, y: point.mean }).collect();
        return shape::settle(&shape::smoothed_eval(&mean), delta);
    }
    let of = |run: &usize| shapes[*run];
    let count = |shape: Shape| runs.iter().filter(|run| of(run).kind() == shape.kind()).count();
    let failed = runs.iter().map(of).filter(|shape| shape.failed());
    // The first of equally frequent ones: max_by_key takes the last.
    let kind = failed.rev().max_by_key(|&shape| count(shape));
    let open =
        if runs.iter().map(of).any(|shape| shape == Shape::Unfinished) { Shape::Unfinished } else { Shape::TooShort };
    kind.unwrap_or(open)
}

/// Rank before losses count: complete, some seeds failed, all failed, nothing yet.
fn tier(config: &Config) -> u8 {
    match (config.best.is_some(), config.complete(), config.shape.failed()) {
        (true, true, _) => 0,
        (true, false, _) => 1,
        (false, _, true) => 2,
        (false, _, false) => 3,
    }
}

/// Within two pooled standard errors of the difference to the best.
fn mark_noise(configs: &mut [Config], metric: Metric, metric_sd: Option<f64>) {
    let Some(best) = configs.first().and_then(|config| config.score) else { return };
    for config in configs {
        config.within_noise = config.score.zip(metric_sd).map(|(level, sd)| {
            let error = sd * (1.0 / level.n as f64 + 1.0 / best.n as f64).sqrt();
            metric.cost(level.mean) - metric.cost(best.mean) <= 2.0 * error
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{self, axis};
    use super::*;
    use crate::analysis::measured::LEAST_DELTA;
    use crate::trial::Scores;

    /// Two configurations with three seeds each, of these best losses; NaN for a seed that met one.
    fn sweep(losses: [[f32; 3]; 2]) -> Sweep {
        let mut sweep =
            synthetic::sweep("s", &[axis("scheduler", &["linear", "cosine"]), axis("seed", &["1", "2", "3"])], 90);
        for (run, loss) in sweep.runs.iter_mut().zip(losses.into_iter().flatten()) {
            run.metrics.clear();
            let row = |(i, falling): (u64, f32)| {
                let eval_loss = loss + falling;
                EvalRow {
                    step: 10 * i,
                    eval_loss,
                    accuracy: 0.8,
                    macro_f1: 0.8,
                    train_probe_loss: eval_loss,
                    scores: Scores::default(),
                }
            };
            run.evals = (0..).zip([0.3, 0.2, 0.1, 0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).map(row).collect();
        }
        sweep
    }

    fn names(study: &Study) -> Vec<&str> {
        study.configs.iter().map(|config| config.values[0].1.text.as_str()).collect()
    }

    #[test]
    fn failed_seeds_are_counted_and_never_averaged() {
        let sweep = sweep([[0.30, 0.32, f32::NAN], [0.40, 0.42, 0.44]]);
        let study = Study::of(&sweep);
        // The better mean ranks second, because one of its seeds failed.
        assert_eq!(names(&study), ["cosine", "linear"]);
        let failed = &study.configs[1];
        let best = failed.best.unwrap();
        assert!((best.mean - 0.31).abs() < 1e-6 && best.n == 2 && failed.runs.len() == 3, "{best:?}");
        assert_eq!(study.shapes[2], Shape::NotFinite { step: 0 });
    }

    #[test]
    fn noise_is_two_pooled_standard_errors() {
        // Deviations of 0.02 in both: the standard error of the difference is 0.0163.
        let study = Study::of(&sweep([[0.30, 0.32, 0.34], [0.33, 0.35, 0.37]]));
        assert!((study.seed_sd.unwrap() - 0.02).abs() < 1e-6 && (study.delta - 0.02).abs() < 1e-6);
        assert_eq!(study.within_noise(), Some(2));
        let study = Study::of(&sweep([[0.30, 0.32, 0.34], [0.34, 0.36, 0.38]]));
        assert_eq!((names(&study), study.within_noise()), (vec!["linear", "cosine"], Some(1)));
    }

    #[test]
    fn a_score_ranks_by_its_highest_value_and_leaves_the_curves_to_the_loss() {
        let mut sweep = sweep([[0.30, 0.31, 0.32], [0.40, 0.41, 0.42]]);
        for run in &mut sweep.runs {
            run.trial.config.metric = Metric::MacroF1;
            // The configuration with the higher loss has the higher score, at step 20.
            let level = 1.0 - run.evals[9].eval_loss;
            for row in &mut run.evals {
                (row.macro_f1, row.accuracy) = if row.step == 20 { (0.9 - level, 0.7) } else { (0.1, 0.9) };
            }
        }
        let study = Study::of(&sweep);
        assert_eq!(names(&study), ["cosine", "linear"]);
        let best = study.best().unwrap();
        let score = best.score.unwrap();
        assert!((score.mean - 0.31).abs() < 1e-6 && best.best_step == Some(20), "{best:?}");
        assert!((best.best.unwrap().mean - 0.41).abs() < 1e-6);
        assert!((best.headline.unwrap().mean - 0.7).abs() < 1e-6, "the accuracy of the step that ranks it");
        assert_eq!((study.metric, study.within_noise()), (Metric::MacroF1, Some(1)));
        assert!((study.metric_sd.unwrap() - 0.01).abs() < 1e-6 && (study.seed_sd.unwrap() - 0.01).abs() < 1e-6);
    }

    #[test]
    fn a_trial_without_evaluations_has_finished_all_the_same() {
        let mut sweep = synthetic::default_sweep();
        sweep.runs.iter_mut().for_each(|run| run.evals.clear());
        sweep.runs[0].metrics.truncate(3);
        let study = Study::of(&sweep);
        assert!(study.configs.iter().any(|config| config.shape == Shape::TooShort));
        assert!(study.configs.iter().all(|config| config.shape != Shape::Unfinished && config.best.is_none()));
    }

    #[test]
    fn one_seed_knows_no_noise() {
        let study = Study::of(&synthetic::default_sweep());
        assert_eq!((study.seed_sd, study.within_noise(), study.seeds), (None, None, 1));
        assert!((study.delta - LEAST_DELTA).abs() < 1e-12);
    }
}
