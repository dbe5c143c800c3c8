//! Which configuration is best, and whether the difference is more than noise.
//!
//! A configuration is everything but the seed. Its figures are means over the seeds that survived; a configuration
//! with a failed seed ranks after all complete ones, however good the rest.

use super::curve::{self, Point, Spread};
use super::measured::chance;
use super::neighbours::judge_together;
use super::plateau::{self, Judgement, LEAST_DELTA};
use super::rules::{self, Diagnosis};
use super::{Run, Sweep};
use crate::trial::{Axis, AxisValue, Key};

/// Key of the axis that repeats a configuration.
pub const SEED: &str = Key::Seed.path();

/// A sweep, judged and ranked.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// Tolerance of all plateaus, nats: the greater of 0.01 and the pooled seed deviation.
    pub delta: f64,
    /// Standard deviation of the best evaluation loss over seeds, pooled; None where no configuration has two survivors.
    pub seed_sd: Option<f64>,
    /// Greatest number of trials of one configuration.
    pub seeds: usize,
    /// Entropy of the class prior, nats; None before any trial has ended.
    pub chance: Option<f64>,
    /// Steps between evaluations: the resolution of every onset.
    pub eval_interval: Option<u64>,
    /// Greatest planned length, steps.
    pub steps: u64,
    /// A judgement for each run of the sweep.
    pub judgements: Vec<Judgement>,
    /// Likewise, why: with the same tolerance.
    pub diagnoses: Vec<Diagnosis>,
    /// Best first: complete ones, then those that lost seeds, then failed ones, then unfinished ones.
    pub configs: Vec<Config>,
}

/// The trials that differ in nothing but their seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Varying keys and values, without the seed.
    pub values: Vec<(String, AxisValue)>,
    /// Indices into the sweep's runs, in plan order.
    pub runs: Vec<usize>,
    /// Those of `runs` whose losses count.
    pub survivors: Vec<usize>,
    /// Best evaluation loss of each survivor, averaged.
    pub best: Option<Level>,
    /// Final evaluation loss likewise.
    pub last: Option<Level>,
    /// Best accuracy likewise.
    pub accuracy: Option<Level>,
    /// Best and final evaluation loss of the trial with the lowest best, where none survived: shown, never ranked.
    pub reached: Option<(f64, f64)>,
    /// Evaluation loss over survivors, at the steps they share.
    pub curve: Vec<Spread>,
    /// Step at which `curve` is lowest.
    pub best_step: Option<u64>,
    /// Of the mean curve, or the most frequent failure.
    pub judgement: Judgement,
    /// Whether the difference to the best may be noise of the seeds; None where noise is unknown.
    pub within_noise: Option<bool>,
}

/// A mean over seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    pub mean: f64,
    /// None for one seed.
    pub sd: Option<f64>,
    pub n: usize,
}

impl Level {
    /// None for no values at all.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (n > 0).then(|| Self { mean, sd: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()), n })
    }
}

impl Config {
    /// Every trial has ended well.
    pub fn complete(&self) -> bool {
        self.survivors.len() == self.runs.len()
    }

    /// Value on the axis `key`.
    pub fn value(&self, key: &str) -> Option<&AxisValue> {
        self.values.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// "2 of 3 stuck at chance" or the judgement of the mean curve.
    pub fn label(&self, judgements: &[Judgement]) -> String {
        if !self.judgement.failed() || self.runs.len() == 1 {
            return self.judgement.label();
        }
        let same = self.runs.iter().filter(|&&run| judgements[run].id() == self.judgement.id()).count();
        format!("{same} of {} {}", self.runs.len(), self.judgement.kind())
    }
}

impl Study {
    pub fn of(sweep: &Sweep) -> Self {
        let groups = groups(sweep);
        let first = judge_all(sweep, LEAST_DELTA);
        let seed_sd = pooled_sd(sweep, &groups, &first);
        let delta = seed_sd.unwrap_or(0.0).max(LEAST_DELTA);
        let diagnose = |run: &Run| rules::diagnose(&run.measured(), run.status, delta);
        let mut diagnoses: Vec<Diagnosis> = sweep.runs.iter().map(diagnose).collect();
        judge_together(sweep, &mut diagnoses, delta);
        let judgements: Vec<Judgement> = diagnoses.iter().map(|diagnosis| diagnosis.judgement).collect();
        let mut configs: Vec<Config> = groups.into_iter().map(|runs| config(sweep, runs, &judgements, delta)).collect();
        configs.sort_by(|a, b| {
            let level = |config: &Config| config.best.map_or(f64::INFINITY, |best| best.mean);
            tier(a).cmp(&tier(b)).then(level(a).total_cmp(&level(b)))
        });
        mark_noise(&mut configs, seed_sd);
        Self {
            delta,
            seed_sd,
            seeds: configs.iter().map(|config| config.runs.len()).max().unwrap_or(0),
            chance: sweep.runs.iter().find_map(|run| chance(run.measured().eval_prior)),
            eval_interval: eval_interval(sweep),
            steps: sweep.runs.iter().map(|run| run.trial.steps).max().unwrap_or(0),
            judgements,
            diagnoses,
            configs,
        }
    }

    /// The best configuration that survived.
    pub fn best(&self) -> Option<&Config> {
        self.configs.first().filter(|config| config.best.is_some())
    }

    /// How many configurations are within noise of the best, itself included; None where noise is unknown.
    pub fn within_noise(&self) -> Option<usize> {
        self.seed_sd?;
        Some(self.configs.iter().filter(|config| config.within_noise == Some(true)).count())
    }
}

/// The axes that tell configurations apart.
pub fn axes(sweep: &Sweep) -> impl Iterator<Item = &Axis> {
    sweep.axes.iter().filter(|axis| axis.key != SEED)
}

fn eval_interval(sweep: &Sweep) -> Option<u64> {
    let longest = sweep.runs.iter().max_by_key(|run| run.evals.len())?;
    curve::interval(&curve::eval_loss(&longest.evals)).map(|interval| interval as u64)
}

/// Indices of the runs of each configuration, in plan order.
fn groups(sweep: &Sweep) -> Vec<Vec<usize>> {
    let mut position = std::collections::HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, run) in sweep.runs.iter().enumerate() {
        let values = run.trial.values.iter().filter(|(key, _)| key != SEED);
        let name: Vec<String> = values.map(|(key, value)| format!("{key}={}", value.value)).collect();
        let group = *position.entry(name).or_insert(groups.len());
        match groups.get_mut(group) {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    groups
}

fn judge_all(sweep: &Sweep, delta: f64) -> Vec<Judgement> {
    sweep.runs.iter().map(|run| plateau::judge(&run.measured(), run.status, delta)).collect()
}

/// Lowest evaluation loss of a run and its step, if any is finite.
pub fn best_eval(run: &Run) -> Option<(u64, f64)> {
    let finite = run.evals.iter().filter(|row| row.eval_loss.is_finite());
    finite.min_by(|a, b| a.eval_loss.total_cmp(&b.eval_loss)).map(|row| (row.step, f64::from(row.eval_loss)))
}

fn survivors(sweep: &Sweep, runs: &[usize], judgements: &[Judgement]) -> Vec<usize> {
    let survives = |&run: &usize| judgements[run].survived() && best_eval(&sweep.runs[run]).is_some();
    runs.iter().copied().filter(survives).collect()
}

fn pooled_sd(sweep: &Sweep, groups: &[Vec<usize>], judgements: &[Judgement]) -> Option<f64> {
    let (mut squares, mut freedom) = (0.0, 0.0);
    for group in groups {
        let survivors = survivors(sweep, group, judgements);
        let bests: Vec<f64> =
            survivors.iter().filter_map(|&run| best_eval(&sweep.runs[run])).map(|best| best.1).collect();
        if let Some(Level { sd: Some(sd), n, .. }) = Level::of(&bests) {
            squares += sd * sd * (n - 1) as f64;
            freedom += (n - 1) as f64;
        }
    }
    (freedom > 0.0).then(|| (squares / freedom).sqrt())
}

fn config(sweep: &Sweep, runs: Vec<usize>, judgements: &[Judgement], delta: f64) -> Config {
    let survivors = survivors(sweep, &runs, judgements);
    let alive = || survivors.iter().map(|&run| &sweep.runs[run]);
    let level = |of: fn(&Run) -> Option<f64>| Level::of(&alive().filter_map(of).collect::<Vec<_>>());
    let curves: Vec<Vec<Point>> = alive().map(|run| curve::eval_loss(&run.evals)).collect();
    let curve = curve::spread(&curves);
    let lowest = curve.iter().min_by(|a, b| a.mean.total_cmp(&b.mean));
    let values = runs.first().map(|&run| sweep.runs[run].trial.values.clone()).unwrap_or_default();
    Config {
        values: values.into_iter().filter(|(key, _)| key != SEED).collect(),
        best: level(|run| best_eval(run).map(|best| best.1)),
        last: level(|run| run.evals.last().map(|row| f64::from(row.eval_loss))),
        reached: if survivors.is_empty() { reached(sweep, &runs) } else { None },
        accuracy: level(|run| run.evals.iter().map(|row| f64::from(row.accuracy)).reduce(f64::max)),
        best_step: lowest.map(|point| point.x as u64),
        judgement: overall(&runs, &survivors, &curve, judgements, delta),
        within_noise: None,
        runs,
        survivors,
        curve,
    }
}

/// Best and final evaluation loss of the run that came lowest.
fn reached(sweep: &Sweep, runs: &[usize]) -> Option<(f64, f64)> {
    let of = |&run: &usize| {
        let run = &sweep.runs[run];
        Some((best_eval(run)?.1, f64::from(run.evals.last()?.eval_loss)))
    };
    runs.iter().filter_map(of).min_by(|a, b| a.0.total_cmp(&b.0))
}

/// The judgement of the mean curve; of a single trial its own; without survivors the most frequent failure.
fn overall(runs: &[usize], survivors: &[usize], curve: &[Spread], judgements: &[Judgement], delta: f64) -> Judgement {
    if let [only] = survivors {
        return judgements[*only];
    }
    if !survivors.is_empty() {
        let mean: Vec<Point> = curve.iter().map(|point| Point { x: point.x, y: point.mean }).collect();
        return plateau::shape(&plateau::smoothed_eval(&mean), delta);
    }
    let of = |run: &usize| judgements[*run];
    let count = |judgement: Judgement| runs.iter().filter(|run| of(run).id() == judgement.id()).count();
    let failed = runs.iter().map(of).filter(|judgement| judgement.failed());
    // The first of equally frequent ones: max_by_key takes the last.
    let kind = failed.rev().max_by_key(|&judgement| count(judgement));
    let open = if runs.iter().map(of).any(|j| j == Judgement::Unfinished) {
        Judgement::Unfinished
    } else {
        Judgement::TooShort
    };
    kind.unwrap_or(open)
}

/// Complete, seeds still missing, seeds lost, all lost, nothing yet.
fn tier(config: &Config) -> u8 {
    match (config.best.is_some(), config.complete(), config.judgement.failed()) {
        (true, true, _) => 0,
        (true, false, _) => 1,
        (false, _, true) => 2,
        (false, _, false) => 3,
    }
}

/// Within two pooled standard errors of the difference to the best.
fn mark_noise(configs: &mut [Config], seed_sd: Option<f64>) {
    let Some(best) = configs.first().and_then(|config| config.best) else { return };
    for config in configs {
        config.within_noise = config.best.zip(seed_sd).map(|(level, sd)| {
            let error = sd * (1.0 / level.n as f64 + 1.0 / best.n as f64).sqrt();
            level.mean - best.mean <= 2.0 * error
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{self, axis};
    use super::*;
    use crate::trial::EvalRow;

    /// Two configurations with three seeds each, of these best losses; NaN for a seed that met one.
    fn sweep(losses: [[f32; 3]; 2]) -> Sweep {
        let mut sweep =
            synthetic::sweep("s", &[axis("scheduler", &["linear", "cosine"]), axis("seed", &["1", "2", "3"])], 90);
        for (run, loss) in sweep.runs.iter_mut().zip(losses.into_iter().flatten()) {
            run.metrics.clear();
            let row = |(i, falling): (u64, f32)| {
                let eval_loss = loss + falling;
                EvalRow { step: 10 * i, eval_loss, accuracy: 0.8, macro_f1: 0.8, train_probe_loss: eval_loss }
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
        // The better mean ranks second: one of its seeds is lost.
        assert_eq!(names(&study), ["cosine", "linear"]);
        let lost = &study.configs[1];
        let best = lost.best.unwrap();
        assert!((best.mean - 0.31).abs() < 1e-6 && best.n == 2 && lost.runs.len() == 3, "{best:?}");
        assert_eq!(study.judgements[2], Judgement::NotFinite { step: 0 });
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
    fn a_trial_without_evaluations_has_finished_all_the_same() {
        let mut sweep = synthetic::default_sweep();
        sweep.runs.iter_mut().for_each(|run| run.evals.clear());
        sweep.runs[0].metrics.truncate(3);
        let study = Study::of(&sweep);
        assert!(study.configs.iter().any(|config| config.judgement == Judgement::TooShort));
        assert!(study.configs.iter().all(|config| config.judgement != Judgement::Unfinished && config.best.is_none()));
    }

    #[test]
    fn one_seed_knows_no_noise() {
        let study = Study::of(&synthetic::default_sweep());
        assert_eq!((study.seed_sd, study.within_noise(), study.seeds), (None, None, 1));
        assert!((study.delta - LEAST_DELTA).abs() < 1e-12);
    }
}
