//! The learning rate as a function of the optimizer step, in f64. Equal to the schedules of transformers and torch,
//! value by value (`tests/fixtures/schedules.json`).
//!
//! `k` counts optimizer steps from 0, `T` is the length of the run and `w` that of the warm-up. While `k < w` the rate is
//! `lr * k / max(1, w)`: linear from 0, so the first step of a warm-up has rate 0, as in the references. What follows the
//! warm-up:
//!
//! | name | factor on `lr`, with `p = (k - w) / max(1, T - w)` |
//! |---|---|
//! | `constant` | 1 |
//! | `linear` | `max(0, (T - k) / max(1, T - w))` |
//! | `cosine` | `max(0, (1 + cos(2 pi cycles p)) / 2)` |
//!
//! That a warm-up fits into the run is checked when a sweep is planned.

use std::f64::consts::TAU;

use crate::trial::Scheduler;

/// The rate of every step of one run.
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

    /// The rate that optimizer step `k` (from 0) uses. Steps past the end are legal.
    #[must_use]
    pub fn rate(&self, k: u64) -> f64 {
        if k < self.warmup {
            return self.lr * (k as f64 / self.warmup as f64);
        }
        let after = self.steps.saturating_sub(self.warmup).max(1) as f64;
        let factor = match self.scheduler {
            Scheduler::Constant => 1.0,
            Scheduler::Linear => self.steps.saturating_sub(k) as f64 / after,
            Scheduler::Cosine { cycles } => {
                let progress = (k - self.warmup) as f64 / after;
                (0.5 * (1.0 + (TAU * cycles * progress).cos())).max(0.0)
            }
        };
        self.lr * factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every case of the fixture whose scheduler this build knows.
    #[test]
    fn equal_to_transformers() {
        let fixture: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/schedules.json")).unwrap();
        let mut cases = 0;
        for case in fixture["cases"].as_array().unwrap() {
            let config = &case["config"];
            let written = match &config["scheduler"] {
                name @ serde_json::Value::String(_) => serde_json::json!({ "name": name }),
                map => map.clone(),
            };
            let Ok(scheduler) = serde_json::from_value::<Scheduler>(written) else { continue };
            let steps = case["steps"].as_u64().unwrap();
            let lr = config["lr"].as_f64().unwrap();
            let schedule = Schedule::new(&scheduler, lr, config["warmup"].as_u64().unwrap(), steps);
            for (k, value) in case["values"].as_array().unwrap().iter().enumerate() {
                let (ours, theirs) = (schedule.rate(k as u64), value.as_f64().unwrap());
                assert!((ours - theirs).abs() <= 1e-12 * lr, "{scheduler:?} step {k}: {ours} against {theirs}");
            }
            cases += 1;
        }
        assert!(cases >= 6, "the fixture holds two cases each of constant, linear and cosine");
    }

    #[test]
    fn ends_and_edges() {
        let rate = |scheduler, warmup, steps, k| Schedule::new(&scheduler, 2.0, warmup, steps).rate(k);
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
}
