//! A loss that leaves the level it had reached, and stays far above it to the end: a late divergence.
//!
//! Two kinds are found. Losses above everything before have diverged, be they two. Losses below the start of the run have too if
//! they stay: they give back a good part of what the run had gained, and exceed its noise by far. A loss may leap or climb.

use super::curve::Point;
use super::measured::Measured;
use super::statistics::{median, robust_deviation};
use super::thresholds as limit;

/// A late divergence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rise {
    /// Where the loss leaves its level, or is first far above it.
    pub step: u64,
    /// The loss before, and at the end.
    pub from: f64,
    pub to: f64,
    /// Of the evaluation loss, else of the training loss.
    pub is_eval: bool,
    /// From one row to the next, rather than over several.
    pub is_leap: bool,
    /// Above everything before.
    pub is_above_all: bool,
}

/// The late divergence of a finite evaluation or training loss.
pub fn late_rise(measured: &Measured<'_>) -> Option<Rise> {
    let is_finite = |points: &[Point]| points.iter().all(|point| point.y.is_finite());
    if !is_finite(&measured.train) || !is_finite(&measured.eval) {
        return None;
    }
    let train = || above_all(&measured.train).or_else(|| off_its_level(measured));
    // Objectives of reinforcement learning lie near 0, where any multiple is small.
    last_evaluations(measured).or_else(train).filter(|rise| rise.to - rise.from > limit::LEAST_RISE)
}

/// The leap of the last evaluation, or of the last two or three if they stay there.
fn last_evaluations(measured: &Measured<'_>) -> Option<Rise> {
    let points = &measured.eval;
    let most = points.len().div_ceil(3).min(limit::LEAPT_EVALS).max(points.len() / 5);
    let leap = |count| {
        let (before, stay) = points.split_at_checked(points.len().checked_sub(count)?)?;
        leap_of_evaluations(before, stay).filter(|_| count == 1 || !fits_on(&measured.train, before, stay))
    };
    (1..=most).find_map(leap)
}

/// Evaluations of more than twice the loss before them. They lie above everything before, or give back half of a great fall.
fn leap_of_evaluations(before: &[Point], stay: &[Point]) -> Option<Rise> {
    let (leapt, last) = (stay.first()?, stay.last()?);
    let (first, previous) = (before.first()?.y, before.last()?.y);
    // Seldom, so that thousands of evaluations are not scanned for each of them.
    if leapt.y <= limit::DIVERGES * previous {
        return None;
    }
    let values = || before.iter().map(|point| point.y);
    let (greatest, lowest) = (values().fold(0.0, f64::max), values().fold(f64::INFINITY, f64::min));
    let least = stay.iter().map(|point| point.y).fold(f64::INFINITY, f64::min);
    let is_above_all = least > limit::ABOVE_ALL * greatest;
    // An evaluation loss that goes up and down has been as high before.
    let is_new = before.iter().skip_while(|point| point.y >= least).all(|point| point.y < least);
    let gives_back = is_new && first > limit::DIVERGES * lowest && least - lowest > 0.5 * (first - lowest);
    let leaps = least > limit::DIVERGES * previous && previous > 0.0 && before.len() >= 2;
    let rise = Rise { step: leapt.x as u64, from: previous, to: last.y, is_eval: true, is_leap: true, is_above_all };
    (leaps && (is_above_all || gives_back)).then_some(rise)
}

/// Whether the training loss falls on while the evaluations stay high. Then the model overfits.
fn fits_on(train: &[Point], before: &[Point], stay: &[Point]) -> bool {
    let (Some(from), Some(to)) = (before.last(), stay.first()) else { return false };
    let width = to.x - from.x;
    let around = |x: f64| {
        let near: Vec<Point> = train.iter().copied().filter(|point| (point.x - x).abs() <= width / 2.0).collect();
        (!near.is_empty()).then(|| level(&near))
    };
    let end = stay.last().and_then(|last| around(last.x));
    around(from.x).zip(end).is_some_and(|(then, now)| now < limit::POOR_FALL * then)
}

/// Last training losses above everything before.
fn above_all(points: &[Point]) -> Option<Rise> {
    let tail = (points.len() / 20).clamp(2, 20);
    let before = &points[..points.len().checked_sub(tail).filter(|before| *before >= 2 * tail)?];
    // Most earlier losses must lie far below the last ones. One spike among them does not count.
    let over = limit::DIVERGES * level(before).max(level(&before[..tail]));
    // A likelihood of densities may be negative, and no multiple of it is a bound.
    if over <= 0.0 || points.iter().any(|point| point.y < 0.0) {
        return None;
    }
    if level(&points[before.len()..]) <= over {
        return short_leap(points);
    }
    let first = points.len() - points.iter().rev().take_while(|point| point.y > over).count();
    let from = points.get(first.checked_sub(1)?)?;
    Some(train_rise(points.get(first)?, from.y, points.last()?.y, true, true))
}

/// The last few training losses, at least two, clearly above everything before. A single one is a spike.
fn short_leap(points: &[Point]) -> Option<Rise> {
    let usual = level(points);
    let last = points.iter().rev().take_while(|point| point.y > limit::DIVERGES * usual).count();
    let (before, leap) = points.split_at(points.len() - last);
    let from = before.last()?;
    let greatest = before.iter().map(|point| point.y).fold(0.0, f64::max);
    let is_above = leap.iter().all(|point| point.y > limit::ABOVE_ALL * greatest);
    let found = leap.len() >= 2 && is_above && from.y > 0.0;
    found.then(|| train_rise(&leap[0], from.y, leap[leap.len() - 1].y, true, true))
}

/// Training losses that stay far above the level that the run had reached, though below its start.
fn off_its_level(measured: &Measured<'_>) -> Option<Rise> {
    let points = &measured.train;
    let width = (points.len() / 20).clamp(3, 20);
    // Most runs end near their lowest level, which few windows show.
    let lowest = points.chunks_exact(width).map(level).reduce(f64::min)?;
    let near = lowest + (limit::NEAR_LEVEL - 1.0) * lowest.abs();
    if points.iter().rev().take(2).any(|point| point.y < near) {
        return None;
    }
    let windows: Vec<f64> = points.windows(width).map(level).collect();
    let reached = windows.iter().copied().reduce(f64::min)?;
    let noise = noise(points, width, median(&windows));
    let fall = windows[0] - reached;
    let high = reached
        + (limit::GIVEN_BACK * fall).max((limit::ABOVE_ALL - 1.0) * reached.abs()).max(limit::BEYOND_NOISE * noise);
    let is_high = |point: &Point| point.y > high;
    // The stay begins behind the last window that is mostly low.
    let low = windows.iter().rposition(|level| *level <= high)?;
    let begin = low + points[low..low + width].iter().rposition(|point| !is_high(point))? + 1;
    let (before, stay) = points.split_at(begin);
    let arrived = windows.iter().position(|level| *level <= high)?;
    let settled = arrived + points[arrived..].iter().position(|point| !is_high(point))?;
    let earlier = before[settled.min(begin)..].chunk_by(|a, b| is_high(a) == is_high(b));
    let longest = earlier.filter(|run| is_high(&run[0])).map(<[Point]>::len).max().unwrap_or(0);
    let stays = stay.len() >= limit::FEWEST_HIGH
        && (stay.len() as f64) < limit::LATE_STAY * points.len() as f64
        && stay.len() >= 2 * longest
        && stay[stay.len() - 2..].iter().all(is_high);
    if !stays || is_restart(&measured.lr, before, stay) || is_sound(&measured.eval, stay) {
        return None;
    }
    let to = stay[stay.len() - 1].y;
    // The last loss near the level comes before the climb.
    let left = before.iter().rposition(|point| point.y < reached + 0.1 * (to - reached)).unwrap_or(begin - 1);
    // A leap comes to its height within few rows.
    let is_leap = begin - left <= limit::LEAP_ROWS && level(&stay[..2]) > reached + limit::LEAPS * (to - reached);
    let at = if is_leap { &stay[0] } else { &before[left] };
    Some(train_rise(at, if is_leap { before[begin - 1].y } else { reached }, to, is_leap, false))
}

/// Standard deviation of a single loss where the curve is low, from the differences of neighbours.
fn noise(points: &[Point], width: usize, middle: f64) -> f64 {
    let low = points.windows(width).filter(|window| level(window) <= middle);
    let jumps: Vec<f64> = low.map(|window| window[1].y - window[0].y).collect();
    robust_deviation(&jumps, median(&jumps)) / std::f64::consts::SQRT_2
}

/// Whether the learning rate comes back to more than twice its value. A loss then rises for a while, as it should.
fn is_restart(rates: &[Point], before: &[Point], stay: &[Point]) -> bool {
    let Some((at, first)) = before.last().zip(stay.first()) else { return false };
    let then = rates.iter().rfind(|rate| rate.x <= at.x).map_or(0.0, |rate| rate.y);
    let now = rates.iter().filter(|rate| rate.x >= first.x).map(|rate| rate.y).fold(0.0, f64::max);
    now > 2.0 * then
}

/// Whether an evaluation after the rise is as good as those before: then the model is sound.
fn is_sound(evals: &[Point], stay: &[Point]) -> bool {
    let lowest = evals.iter().map(|point| point.y).fold(f64::INFINITY, f64::min);
    let after = |last: &&Point| stay.first().is_some_and(|first| last.x > first.x);
    evals.last().filter(after).is_some_and(|last| last.y < limit::OVERFIT_SEVERE * lowest)
}

fn level(points: &[Point]) -> f64 {
    median(&points.iter().map(|point| point.y).collect::<Vec<_>>())
}

fn train_rise(at: &Point, from: f64, to: f64, is_leap: bool, is_above_all: bool) -> Rise {
    Rise { step: at.x as u64, from, to, is_eval: false, is_leap, is_above_all }
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::gauss;
    use super::*;

    /// A loss that falls from 2.3 to 0.4 and has `end` on top of it, with an evaluation every tenth of the run.
    fn log(n: usize, sigma: f64, seed: u64, end: &dyn Fn(f64) -> f64) -> Measured<'static> {
        let loss = |i: usize| {
            let t = i as f64 / n as f64;
            0.4 + 1.9 * (-t / 0.08).exp() + end(t)
        };
        let train = (1..=n).map(|i| Point { x: i as f64, y: loss(i) + sigma * gauss(seed, i as u64) }).collect();
        Measured { train, ..Measured::default() }
    }

    #[test]
    fn a_leap_below_the_start_stays() {
        for (n, sigma) in [(40, 0.01), (200, 0.03), (200, 0.08), (1000, 0.05)] {
            let leap = |t: f64| if t > 0.91 { 1.1 } else { 0.0 };
            let rise = late_rise(&log(n, sigma, 3, &leap)).unwrap();
            let share = rise.step as f64 / n as f64;
            assert!(rise.is_leap && !rise.is_above_all && (0.9..0.95).contains(&share), "{n} {sigma} {rise:?}");
            assert!((rise.to - 1.5).abs() < 0.3, "{rise:?}");
        }
    }

    /// Comparing each of them with all before it would take many times the bound.
    #[test]
    fn very_many_evaluations_are_judged_fast() {
        let log = log(100_000, 0.03, 4, &|_| 0.0);
        let log = Measured { eval: log.train, ..Measured::default() };
        let start = std::time::Instant::now();
        assert!(late_rise(&log).is_none());
        assert!(start.elapsed().as_secs_f64() < 1.0, "{:?}", start.elapsed());
    }

    #[test]
    fn a_climb_at_the_end_is_a_rise_too() {
        for height in [0.9, 1.6, 3.0] {
            let climb = |t: f64| height * ((t - 0.83) / 0.17).max(0.0);
            let rise = late_rise(&log(200, 0.03, 5, &climb)).unwrap();
            assert!(rise.is_above_all || !rise.is_leap && (160..185).contains(&rise.step), "{rise:?}");
        }
    }

    #[test]
    fn what_is_no_divergence() {
        let none = |name: &str, measured: &Measured<'_>| assert_eq!(late_rise(measured), None, "{name}");
        for seed in 0..60 {
            none("noise", &log(150, 0.2, seed, &|_| 0.0));
        }
        none("comes back", &log(200, 0.03, 1, &|t| if (0.7..0.9).contains(&t) { 1.1 } else { 0.0 }));
        none("small", &log(200, 0.03, 1, &|t| if t > 0.9 { 0.3 } else { 0.0 }));
        none("two losses below the start", &log(200, 0.03, 1, &|t| if t > 0.991 { 1.1 } else { 0.0 }));
        let flat = (1..=150_u32).map(|i| Point { x: f64::from(i), y: -1.0 + 0.02 * gauss(2, u64::from(i)) }).collect();
        none("a flat loss below zero", &Measured { train: flat, ..Measured::default() });
        // Every tenth of the run has a bump of its own, and the last is not longer.
        none("bumps", &log(200, 0.03, 1, &|t| if (t * 10.0).fract() > 0.8 { 1.1 } else { 0.0 }));
        let leap = |t: f64| if t > 0.9 { 1.1 } else { 0.0 };
        let with = |last: f64| {
            let evals = [0.9, 0.6, 0.5, 0.5, last].into_iter().zip(1..);
            let eval = evals.map(|(y, i)| Point { x: f64::from(i) * 40.0, y }).collect();
            Measured { eval, ..log(200, 0.03, 1, &leap) }
        };
        none("the evaluation is as good as before", &with(0.52));
        assert!(late_rise(&with(0.9)).is_some());
        let restart = |t: f64| if t > 0.9 { 1.0 } else { 1.0 - t };
        let lr = (1..=200).map(|i| Point { x: f64::from(i), y: restart(f64::from(i) / 200.0) }).collect();
        none("a restart of the schedule", &Measured { lr, ..log(200, 0.03, 1, &leap) });
    }

    #[test]
    fn a_last_evaluation_may_give_back_half() {
        let of = |values: &[f64]| {
            let eval = values.iter().zip(1..).map(|(&y, i)| Point { x: f64::from(i), y }).collect();
            late_rise(&Measured { eval, ..Measured::default() })
        };
        assert!(of(&[2.3, 1.1, 0.6, 0.4, 1.5]).is_some_and(|rise| rise.is_eval));
        assert_eq!(of(&[2.3, 1.1, 0.6, 0.4, 0.9]), None, "it overfits");
        assert_eq!(of(&[0.5, 0.45, 0.4, 0.44]), None);
        for evals in [&[0.34, 0.17, 0.16, 3.04, 3.15][..], &[0.34, 0.20, 0.168, 0.162, 3.04, 3.15]] {
            assert!(of(evals).is_some_and(|rise| rise.is_leap && rise.is_above_all), "{evals:?}");
        }
        assert_eq!(of(&[3e-4, 2e-4, 1e-4, 1e-3]), None, "objectives near 0");
    }

    #[test]
    fn a_leap_of_evaluations_may_last() {
        let of = |values: &[f64], fall: f64| {
            let eval: Vec<Point> = values.iter().zip(1..).map(|(&y, i)| Point { x: f64::from(i) * 10.0, y }).collect();
            let loss = |i: u32| if i > 70 { fall } else { 0.2 } + 0.01 * gauss(3, u64::from(i));
            let train = (1..=90).map(|i| Point { x: f64::from(i), y: loss(i) }).collect();
            late_rise(&Measured { train, eval, ..Measured::default() })
        };
        let leapt = [0.48, 0.4, 0.35, 0.3, 0.29, 0.28, 0.28, 0.64, 0.8];
        let rise = of(&leapt, 0.2).unwrap();
        assert!(rise.is_eval && rise.is_leap && rise.step == 80, "{rise:?}");
        assert_eq!(of(&leapt, 0.1), None, "the training loss falls on: it overfits");
        assert_eq!(of(&[0.48, 0.4, 0.35, 0.3, 0.28, 0.28, 0.4, 0.64, 0.8], 0.2), None, "it climbs");
    }
}
