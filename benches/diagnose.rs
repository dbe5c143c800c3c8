//! How long the diagnosis of many training logs takes: 10,000 logs of 1,000 steps on two threads. `cargo bench --bench diagnose`.

#![expect(clippy::print_stdout, reason = "prints its result")]

use std::hint::black_box;
use std::time::Instant;

use plateau::analysis::curve::Point;
use plateau::analysis::measured::LEAST_DELTA;
use plateau::analysis::{Measured, diagnose};
use plateau::trial::Status;

const LOGS: u64 = 10_000;
const STEPS: usize = 1_000;
const PRIOR: [f64; 2] = [0.5, 0.5];

fn main() {
    let start = Instant::now();
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| causes(LOGS / 2..LOGS));
        (causes(0..LOGS / 2), other.join())
    });
    let causes = one + other.unwrap_or_default();
    println!(
        "{LOGS} logs of {STEPS} steps: {:.2} s on two threads; {causes} have a cause",
        start.elapsed().as_secs_f64()
    );
}

/// Number of logs among these for which a rule finds a cause.
fn causes(logs: std::ops::Range<u64>) -> usize {
    let has_cause = |seed: &u64| black_box(diagnose(&log(*seed), Status::Finished, LEAST_DELTA)).cause().is_some();
    logs.filter(has_cause).count()
}

/// A training log that falls, is flat, diverges or is stuck, with noise. It is evaluated every 50 steps.
fn log(seed: u64) -> Measured<'static> {
    let point = |i: usize| {
        let t = i as f64 / STEPS as f64;
        let level = match seed % 5 {
            0 => 0.7,
            1 => 0.1 + 0.6 * (-t / 0.1).exp(),
            2 => 0.7 - 0.5 * t,
            3 => 0.7 + 0.5 * (t - 0.5).max(0.0),
            _ => 0.3 + 0.4 * (1.0 - t).powi(4),
        };
        Point { x: i as f64 + 1.0, y: level + 0.1 * (uniform(seed, i as u64) - 0.5) }
    };
    let train: Vec<Point> = (0..STEPS).map(point).collect();
    let eval = train.iter().step_by(50).copied().collect();
    let lr = train.iter().map(|point| Point { y: 1e-5 * (1.0 - (point.x - 1.0) / STEPS as f64), ..*point }).collect();
    let steps = STEPS as u64;
    Measured { train, lr, eval, train_prior: &PRIOR, eval_prior: &PRIOR, steps, ..Measured::default() }
}

/// A number in [0, 1) that is the same in every run: `SplitMix64` of seed and index.
fn uniform(seed: u64, index: u64) -> f64 {
    let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(index).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 29)) >> 11) as f64 / (1_u64 << 53) as f64
}
