//! The learning rate as a function of the optimizer step, in f64. Equal to the schedules of transformers and torch,
//! value by value (`tests/fixtures/schedules.json`).
//!
//! `k` counts optimizer steps from 0, `T` is the length of the run and `w` that of the warm-up. While `k < w` the learning rate
//! is `lr * k / max(1, w)`. It rises linearly from 0, so the first step of a warm-up has learning rate 0, as in the references.
//! Only `warmup_stable_decay` begins at `r = min_lr_ratio`: `lr ((1 - r) k / w + r)`. After the warm-up:
//!
//! | name | factor on `lr`, with `p = (k - w) / max(1, T - w)` |
//! |---|---|
//! | `constant` | 1 |
//! | `linear` | `max(0, (T - k) / max(1, T - w))` |
//! | `cosine` | `f = max(0, (1 + cos(2 pi cycles p)) / 2)` |
//! | `cosine_with_restarts` | 0 from `p = 1` on, else `max(0, (1 + cos(pi ((cycles p) mod 1))) / 2)` |
//! | `cosine_with_min_lr` | `f (1 - r) + r` with `r = min_lr / lr` |
//! | `polynomial` | `((lr - end)(1 - p)^power + end) / lr`, `end / lr` from `T` on |
//! | `inverse_sqrt` | `1 / sqrt((k + timescale - w) / timescale)` |
//! | `warmup_stable_decay` | 1 up to `T - decay`; then, with `z` the share of the decay that has passed, `1 - z`, `(1 + cos(pi z)) / 2` or `1 - sqrt(z)`, times `1 - r` plus `r` |
//! | `cyclical` | torch's `CyclicLR` between `min_lr` and `lr` |
//! | `one_cycle` | torch's `OneCycleLR` over `T + 1` steps with maximum `lr` |
//! | `range_test` | `(from / lr)^(1 - k / (T - 1))`; not in sweep files |
//! | `reduce_on_plateau` | torch's `ReduceLROnPlateau` over the eval losses so far, that of the untrained model first; a warm-up is a factor on it |
//!
//! Planning checks that lengths fit into the run and that required parameters are given.

use std::f64::consts::{PI, TAU};

use crate::trial::{Anneal, CycleShape, DecayShape, Scheduler};

/// The `timescale` of `inverse_sqrt` without a warm-up.
const DEFAULT_TIMESCALE: u64 = 10_000;
/// torch's `eps`: a smaller reduction is ignored.
const LEAST_REDUCTION: f64 = 1e-8;

/// The learning rate of every step of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    scheduler: Scheduler,
    lr: f64,
    warmup: u64,
    steps: u64,
}

impl Schedule {
    /// `lr` is the peak, `warmup` and `steps` (the whole run, warm-up included) are optimizer steps.
    #[must_use]
    pub fn new(scheduler: &Scheduler, lr: f64, warmup: u64, steps: u64) -> Self {
        Self { scheduler: scheduler.clone(), lr, warmup, steps }
    }

    /// The learning rate of optimizer step `k` (from 0), before any evaluation. `k` may lie past the end.
    #[must_use]
    pub fn lr(&self, k: u64) -> f64 {
        self.lr_after(k, &[])
    }

    /// The learning rate of step `k` after evaluations with these losses, oldest first. None is a non-finite loss. Only
    /// `reduce_on_plateau` reads them.
    #[must_use]
    pub fn lr_after(&self, k: u64, losses: &[Option<f32>]) -> f64 {
        let peak = match &self.scheduler {
            Scheduler::ReduceOnPlateau { factor, patience, threshold, cooldown, min_lr } => {
                let rule = PlateauRule {
                    factor: *factor,
                    patience: *patience,
                    threshold: *threshold,
                    cooldown: *cooldown,
                    min_lr: *min_lr,
                };
                rule.lr(self.lr, losses)
            }
            _ => self.lr,
        };
        if k < self.warmup {
            return peak * between(self.start(), k as f64 / self.warmup as f64);
        }
        peak * self.factor(k)
    }

    /// Where the warm-up begins, as a share of the peak.
    fn start(&self) -> f64 {
        match self.scheduler {
            // As in transformers' `get_wsd_schedule`. Its other schedules begin at 0, even with a minimum.
            Scheduler::WarmupStableDecay { min_lr_ratio, .. } => min_lr_ratio,
            _ => 0.0,
        }
    }

    /// The learning rate of step `k`, which is past the warm-up, as a share of the peak.
    fn factor(&self, k: u64) -> f64 {
        let after = self.steps.saturating_sub(self.warmup).max(1) as f64;
        let passed = k - self.warmup;
        let progress = passed as f64 / after;
        match self.scheduler {
            Scheduler::Constant | Scheduler::ReduceOnPlateau { .. } => 1.0,
            Scheduler::Linear => self.steps.saturating_sub(k) as f64 / after,
            Scheduler::Cosine { cycles } => cosine(cycles * progress),
            Scheduler::CosineWithRestarts { .. } if progress >= 1.0 => 0.0,
            Scheduler::CosineWithRestarts { cycles } => cosine((cycles * progress) % 1.0 / 2.0),
            Scheduler::CosineWithMinLr { cycles, min_lr, min_lr_ratio } => {
                let least = min_lr.map(|least| least / self.lr).or(min_lr_ratio).unwrap_or(0.0);
                between(least, cosine(cycles * progress))
            }
            Scheduler::Polynomial { end_lr, .. } if k >= self.steps => end_lr / self.lr,
            Scheduler::Polynomial { power, end_lr } => {
                ((self.lr - end_lr) * (1.0 - progress).powf(power) + end_lr) / self.lr
            }
            Scheduler::InverseSqrt { timescale } => {
                let by_warmup = if self.warmup > 0 { self.warmup } else { DEFAULT_TIMESCALE };
                let timescale = timescale.unwrap_or(by_warmup) as f64;
                1.0 / ((passed as f64 + timescale) / timescale).sqrt()
            }
            Scheduler::WarmupStableDecay { decay, decay_shape, min_lr_ratio } => {
                let decay = decay.map_or(0, |decay| decay.steps(self.steps));
                let into = (k + decay).saturating_sub(self.steps);
                between(min_lr_ratio, fall(decay_shape, (into as f64 / decay.max(1) as f64).min(1.0)))
            }
            Scheduler::Cyclical { shape, min_lr, step_up, step_down, gamma } => {
                let up = step_up.unwrap_or(1);
                let cycles = Cycles { shape, up, down: step_down.unwrap_or(up), gamma };
                between(min_lr.unwrap_or(0.0) / self.lr, cycles.height(k))
            }
            Scheduler::OneCycle { pct_start, anneal, div_factor, final_div_factor } => {
                let first = 1.0 / div_factor;
                let top = pct_start * (self.steps + 1) as f64 - 1.0;
                let (k, end) = (k.min(self.steps) as f64, self.steps as f64);
                if k <= top {
                    annealed(anneal, first, 1.0, if top > 0.0 { k / top } else { 1.0 })
                } else {
                    annealed(anneal, 1.0, first / final_div_factor, (k - top) / (end - top))
                }
            }
            Scheduler::RangeTest { from } => {
                let last = self.steps.saturating_sub(1).max(1) as f64;
                (from / self.lr).powf(1.0 - (k as f64 / last).min(1.0))
            }
        }
    }
}

/// `(1 + cos(2 pi turns)) / 2`, never below 0.
fn cosine(turns: f64) -> f64 {
    (0.5 * (1.0 + (TAU * turns).cos())).max(0.0)
}

/// `least` at a share of 0, 1 at a share of 1.
fn between(least: f64, share: f64) -> f64 {
    share * (1.0 - least) + least
}

/// Falls from 1 at `z = 0` to 0 at `z = 1`.
fn fall(shape: DecayShape, z: f64) -> f64 {
    match shape {
        DecayShape::Linear => 1.0 - z,
        DecayShape::Cosine => 0.5 * (1.0 + (PI * z).cos()),
        DecayShape::OneMinusSqrt => 1.0 - z.sqrt(),
    }
}

/// The triangles of torch's `CyclicLR`, after Smith, "Cyclical learning rates for training neural networks", 2017.
struct Cycles {
    shape: CycleShape,
    up: u64,
    down: u64,
    gamma: f64,
}

impl Cycles {
    /// The learning rate at step `k`: 0 stands for the minimum, 1 for the peak.
    fn height(&self, k: u64) -> f64 {
        let length = (self.up + self.down) as f64;
        let (along, ratio) = (1.0 + k as f64 / length, self.up as f64 / length);
        let cycle = along.floor();
        let x = along - cycle;
        let triangle = if x <= ratio { x / ratio } else { (x - 1.0) / (ratio - 1.0) };
        triangle
            * match self.shape {
                CycleShape::Triangular => 1.0,
                CycleShape::Triangular2 => 0.5_f64.powf(cycle - 1.0),
                CycleShape::ExpRange => self.gamma.powf(k as f64),
            }
    }
}

/// torch's `OneCycleLR` between two learning rates, after Smith and Topin, "Super-convergence", 2018.
fn annealed(form: Anneal, from: f64, to: f64, share: f64) -> f64 {
    match form {
        Anneal::Cosine => to + (from - to) / 2.0 * (1.0 + (PI * share).cos()),
        Anneal::Linear => from + (to - from) * share,
    }
}

/// torch's `ReduceLROnPlateau` in its default mode: it compares each loss with the lowest one, by a relative threshold.
struct PlateauRule {
    factor: f64,
    patience: u64,
    threshold: f64,
    cooldown: u64,
    min_lr: f64,
}

impl PlateauRule {
    /// The learning rate after `losses`, where `lr` is the peak.
    fn lr(&self, lr: f64, losses: &[Option<f32>]) -> f64 {
        let (mut rate, mut best, mut bad, mut cooling) = (lr, f64::INFINITY, 0, 0);
        for loss in losses {
            match loss.map(f64::from).filter(|loss| *loss < best * (1.0 - self.threshold)) {
                Some(better) => (best, bad) = (better, 0),
                None => bad += 1,
            }
            if cooling > 0 {
                (cooling, bad) = (cooling - 1, 0);
            }
            if bad > self.patience {
                let reduced = (rate * self.factor).max(self.min_lr);
                if rate - reduced > LEAST_REDUCTION {
                    rate = reduced;
                }
                (cooling, bad) = (self.cooldown, 0);
            }
        }
        rate
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::trial::FractionOrSteps;

    /// A scheduler with its parameters, as JSON with all defaults of sweep files.
    fn scheduler(written: &serde_json::Value) -> Scheduler {
        let mut full = match written["name"].as_str().or(written.as_str()).unwrap() {
            "inverse_sqrt" => json!({ "timescale": null }),
            "cosine_with_min_lr" => json!({ "cycles": 0.5, "min_lr": null, "min_lr_ratio": null }),
            "warmup_stable_decay" => json!({ "decay_shape": "linear", "min_lr_ratio": 0.0 }),
            "cyclical" => json!({ "step_down": null, "gamma": 1.0 }),
            _ => json!({}),
        };
        match written {
            serde_json::Value::Object(entries) => full.as_object_mut().unwrap().extend(entries.clone()),
            name => full["name"] = name.clone(),
        }
        serde_json::from_value(full).unwrap()
    }

    #[test]
    fn equal_to_transformers_and_torch() {
        let fixture: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/schedules.json")).unwrap();
        let mut names = BTreeSet::new();
        for case in fixture["cases"].as_array().unwrap() {
            let (config, steps) = (&case["config"], case["steps"].as_u64().unwrap());
            let scheduler = scheduler(&config["scheduler"]);
            let lr = config["lr"].as_f64().unwrap();
            let schedule = Schedule::new(&scheduler, lr, config["warmup"].as_u64().unwrap(), steps);
            let tolerance = if scheduler.rises() { 1e-9 } else { 1e-12 };
            let values = case["values"].as_array().unwrap();
            assert_eq!(values.len() as u64, steps);
            for (k, value) in values.iter().enumerate() {
                let (ours, theirs) = (schedule.lr(k as u64), value.as_f64().unwrap());
                assert!(
                    (ours - theirs).abs() <= tolerance * theirs.abs(),
                    "{scheduler:?} step {k}: {ours} against {theirs}"
                );
            }
            names.insert(scheduler.name());
        }
        assert_eq!(names.len(), 10, "all but reduce_on_plateau: {names:?}");
    }

    #[test]
    fn ends_and_edges() {
        let rate = |scheduler, warmup, steps, k| Schedule::new(&scheduler, 2.0, warmup, steps).lr(k);
        let check = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-12, "{got} against {expected}");
        check(rate(Scheduler::Linear, 0, 10, 0), 2.0);
        check(rate(Scheduler::Linear, 0, 10, 10), 0.0);
        check(rate(Scheduler::Linear, 0, 10, 99), 0.0);
        check(rate(Scheduler::Linear, 4, 10, 0), 0.0);
        check(rate(Scheduler::Linear, 4, 10, 4), 2.0);
        check(rate(Scheduler::Constant, 10, 10, 5), 1.0);
        check(rate(Scheduler::Constant, 10, 10, 10), 2.0);
        check(rate(Scheduler::Cosine { cycles: 0.5 }, 2, 12, 7), 1.0);
        check(rate(Scheduler::Cosine { cycles: 0.5 }, 2, 12, 12), 0.0);
        check(rate(Scheduler::Cosine { cycles: 1.0 }, 0, 10, 10), 2.0);
        check(rate(Scheduler::Linear, 0, 0, 0), 0.0);
    }

    /// Values of the formulas for cases that the fixture does not hold.
    #[test]
    fn shapes_that_the_fixture_leaves_out() {
        let rates = |scheduler: Scheduler, warmup, steps, at: &[u64]| {
            let schedule = Schedule::new(&scheduler, 2.0, warmup, steps);
            at.iter().map(|&k| (schedule.lr(k) * 1e6).round() / 1e6).collect::<Vec<_>>()
        };
        let stable = |decay, decay_shape| Scheduler::WarmupStableDecay {
            decay: Some(FractionOrSteps(decay)),
            decay_shape,
            min_lr_ratio: 0.1,
        };
        // Values of transformers 5.23.
        let at = [0, 1, 2, 59, 60, 70, 80, 99, 100, 500];
        assert_eq!(
            rates(stable(40.0, DecayShape::Linear), 4, 100, &at),
            [0.2, 0.65, 1.1, 2.0, 2.0, 1.55, 1.1, 0.245, 0.2, 0.2]
        );
        assert_eq!(rates(stable(0.4, DecayShape::Cosine), 4, 100, &at)[5..], [1.736_396, 1.1, 0.202_774, 0.2, 0.2]);
        assert_eq!(
            rates(stable(0.4, DecayShape::OneMinusSqrt), 4, 100, &at)[5..],
            [1.1, 0.727_208, 0.222_642, 0.2, 0.2]
        );
        let power = Scheduler::Polynomial { power: 2.0, end_lr: 0.5 };
        assert_eq!(rates(power, 2, 10, &[1, 2, 6, 10, 11]), [1.0, 2.0, 0.875, 0.5, 0.5]);
        let root = |timescale| Scheduler::InverseSqrt { timescale };
        assert_eq!(rates(root(None), 4, 99, &[2, 4, 16]), [1.0, 2.0, 1.0]);
        assert_eq!(rates(root(None), 0, 99, &[0, 30_000]), [2.0, 1.0]);
        assert_eq!(rates(root(Some(10)), 4, 99, &[4, 34]), [2.0, 1.0]);
        let ratio = Scheduler::CosineWithMinLr { cycles: 0.5, min_lr: None, min_lr_ratio: Some(0.25) };
        assert_eq!(rates(ratio, 2, 10, &[0, 1, 2, 6, 10]), [0.0, 1.0, 2.0, 1.25, 0.5]);
        let restarts = Scheduler::CosineWithRestarts { cycles: 2.0 };
        assert_eq!(rates(restarts, 0, 8, &[0, 2, 4, 6, 8, 9]), [2.0, 1.0, 2.0, 1.0, 0.0, 0.0]);
    }

    /// Smith's range test as fastai's `SchedExp` runs it: start (end / start)^(k / (T - 1)).
    #[test]
    fn a_range_test_rises_by_the_same_factor_each_step() {
        let schedule = Schedule::new(&Scheduler::RangeTest { from: 1e-7 }, 1.0, 0, 100);
        let rates: Vec<f64> = (0..100).map(|k| schedule.lr(k)).collect();
        let close = |got: f64, expected: f64| assert!((got / expected - 1.0).abs() < 1e-12, "{got} {expected}");
        close(rates[0], 1e-7);
        close(rates[33], 1e-7_f64.powf(2.0 / 3.0));
        close(rates[99], 1.0);
        rates.windows(2).for_each(|pair| close(pair[1] / pair[0], 1e7_f64.powf(1.0 / 99.0)));
        close(schedule.lr(500), 1.0);
    }

    #[test]
    fn cycles_and_one_cycle_follow_torch_in_their_other_forms() {
        let rates = |scheduler: Scheduler, steps, at: &[u64]| {
            let schedule = Schedule::new(&scheduler, 2.0, 0, steps);
            at.iter().map(|&k| (schedule.lr(k) * 1e6).round() / 1e6).collect::<Vec<_>>()
        };
        let cycle = Scheduler::Cyclical {
            shape: CycleShape::ExpRange,
            min_lr: Some(0.0),
            step_up: Some(2),
            step_down: None,
            gamma: 0.5,
        };
        assert_eq!(rates(cycle, 10, &[0, 1, 2, 3, 4, 6]), [0.0, 0.5, 0.5, 0.125, 0.0, 0.03125]);
        let one = |pct_start, anneal| Scheduler::OneCycle { pct_start, anneal, div_factor: 4.0, final_div_factor: 5.0 };
        assert_eq!(rates(one(0.5, Anneal::Linear), 9, &[0, 2, 4, 9, 10]), [0.5, 1.25, 2.0, 0.1, 0.1]);
        for pct_start in [0.0, 0.1, 1.0] {
            for anneal in [Anneal::Linear, Anneal::Cosine] {
                let rates = rates(one(pct_start, anneal), 9, &(0..12).collect::<Vec<_>>());
                assert!(rates.iter().all(|rate| (0.1..=2.0).contains(rate)), "{pct_start}: {rates:?}");
            }
        }
    }

    /// The learning rates of torch's `ReduceLROnPlateau` from 1.0, computed by hand from its source.
    #[test]
    fn a_plateau_reduces_the_learning_rate() {
        let plateau = |patience, cooldown, min_lr| Scheduler::ReduceOnPlateau {
            factor: 0.5,
            patience,
            threshold: 0.1,
            cooldown,
            min_lr,
        };
        let check = |scheduler: &Scheduler, losses: &[f32], expected: &[f64]| {
            let schedule = Schedule::new(scheduler, 1.0, 0, 1000);
            let losses: Vec<Option<f32>> = losses.iter().map(|&x| Some(x).filter(|x| x.is_finite())).collect();
            let rates: Vec<f64> = (1..=losses.len()).map(|n| schedule.lr_after(7, &losses[..n])).collect();
            assert_eq!(rates, expected, "{scheduler:?}");
        };
        // 0.95 and 0.91 are not a tenth better than 1; 0.89 is.
        check(&plateau(1, 0, 0.0), &[1.0, 0.95, 0.91, 0.89, 0.89, 0.89], &[1.0, 1.0, 0.5, 0.5, 0.5, 0.25]);
        check(&plateau(0, 0, 0.0), &[1.0, f32::NAN, f32::INFINITY, 0.5], &[1.0, 0.5, 0.25, 0.25]);
        // Two evaluations after a reduction do not count.
        check(&plateau(0, 2, 0.0), &[1.0; 6], &[1.0, 0.5, 0.5, 0.5, 0.25, 0.25]);
        check(&plateau(0, 0, 0.4), &[1.0; 4], &[1.0, 0.5, 0.4, 0.4]);
        let warm = Schedule::new(&plateau(0, 0, 0.0), 1.0, 10, 100);
        let reduced = [Some(1.0), Some(1.0)];
        let same = |got: f64, expected: f64| assert_eq!(got.to_bits(), expected.to_bits());
        same(warm.lr(5), 0.5);
        same(warm.lr(50), 1.0);
        same(warm.lr_after(5, &reduced), 0.25);
        // torch leaves out reductions by less than 1e-8.
        same(Schedule::new(&plateau(0, 0, 0.0), 1e-8, 0, 100).lr_after(5, &reduced), 1e-8);
    }
}
