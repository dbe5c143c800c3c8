//! What as many steps again would gain: the fitted law of a loss, continued to twice its length.
//!
//! Two laws are compared. A power law L0 + A u^-alpha is the multi-power law (Luo et al. 2025) without its decay term: pre-training
//! follows it, and it never comes to rest. An exponential L0 + A exp(-u / tau) is what a run that converges follows. Of the same
//! curve, the power law promises ten times as much as the exponential. u is the summed learning rate, and, where the learning
//! rate changes, also the step: whichever the loss follows.
//!
//! A law counts only if it describes the end of the curve. Where several do so equally well, the smallest gain counts.

use super::blocks::{block_count, means};
use super::curve::Point;
use super::measured::Measured;
use super::statistics::{line, mean};
use super::thresholds as limit;

/// Shares of the curve that the fit leaves out, the first that gives a law which describes the end. Many losses fall fast at first,
/// and follow their law later.
const LEFT_OUT: [f64; 3] = [0.0, 0.1, 0.25];
/// Difference of n ln(squared error), the logarithm of the likelihood twice, from which one law fits better than another.
const CLEARLY_BETTER: f64 = 4.0;
/// Standard errors by which the residuals of the last third may have a level or a slope of their own.
const DESCRIBES: f64 = 2.5;

/// By how much as many steps again, with as much learning rate, would lower the loss. None where no law can be fitted.
pub fn gain(measured: &Measured<'_>, points: &[Point]) -> Option<f64> {
    let (mut found, mut usual) = (Vec::new(), None);
    for left_out in LEFT_OUT {
        found = fits(measured, &points[(points.len() as f64 * left_out) as usize..])?;
        // Of the whole curve, which comes first, the power law of the summed learning rate is the usual one.
        let usual = *usual.get_or_insert(found.first()?.gain);
        let describing: Vec<&Fit> = found.iter().filter(|fit| fit.describes_the_end()).collect();
        if let Some(gain) = least_gain(&describing) {
            return Some(gain.min(usual));
        }
    }
    let gain = least_gain(&found.iter().collect::<Vec<_>>())?;
    Some(gain.min(usual?))
}

/// The smallest gain of those that fit about as well as the best.
fn least_gain(fits: &[&Fit]) -> Option<f64> {
    let best = fits.iter().map(|fit| fit.error).reduce(f64::min)?;
    let close = |fit: &&&Fit| fit.error <= best * (CLEARLY_BETTER / fit.residuals.len() as f64).exp();
    fits.iter().filter(close).map(|fit| fit.gain).reduce(f64::min)
}

/// A law fitted to block means.
struct Fit {
    /// Sum of the squared residuals.
    error: f64,
    gain: f64,
    /// Fitted minus measured, by the middle step of the block.
    residuals: Vec<f64>,
    steps: Vec<f64>,
}

impl Fit {
    /// Whether the residuals of the last third are noise: around zero, and without a slope.
    fn describes_the_end(&self) -> bool {
        let n = self.residuals.len();
        let from = n - (n / 3).max(limit::FEWEST_BLOCKS).min(n);
        let (x, y) = (&self.steps[from..], &self.residuals[from..]);
        let Some(fit) = line(x, y) else { return false };
        let (level, centre) = (mean(y), mean(x));
        let squares: f64 = x.iter().zip(y).map(|(x, y)| (y - level - fit.slope * (x - centre)).powi(2)).sum();
        let deviation = (squares / (y.len() - 2) as f64).sqrt();
        let spread: f64 = x.iter().map(|x| (x - centre).powi(2)).sum::<f64>().sqrt();
        let (of_level, of_slope) = (deviation / (y.len() as f64).sqrt(), deviation / spread);
        level.abs() <= DESCRIBES * of_level && fit.slope.abs() <= DESCRIBES * of_slope
    }
}

/// Each law, first the power law of the summed learning rate, fitted to the block means of `points`.
fn fits(measured: &Measured<'_>, points: &[Point]) -> Option<Vec<Fit>> {
    let (steps, y) = means(points, block_count(points.len(), limit::MOST_BLOCKS));
    let share = |at: &dyn Fn(f64) -> f64, end: f64| steps.iter().map(|x| at(*x) / end).collect::<Vec<f64>>();
    let end = points.last()?.x;
    let by_step = share(&|x| x, end);
    let (sums, total) = summed_rate(measured);
    let mut scales = Vec::new();
    if total > 0.0 {
        let at = |x: f64| sums.get(sums.partition_point(|sum| sum.x < x)).or(sums.last()).map_or(x, |sum| sum.y);
        scales.push(share(&at, total));
    }
    if total <= 0.0 || !is_constant(measured) {
        scales.push(by_step);
    }
    let usable = |u: &Vec<f64>| u.iter().all(|u| *u > 0.0 && u.is_finite());
    if y.iter().any(|y| !y.is_finite()) || !scales.iter().all(usable) {
        return None;
    }
    let laws = scales.iter().flat_map(|u| [power_law(u, &steps, &y), exponential(u, &steps, &y)]);
    Some(laws.flatten().collect())
}

/// The summed learning rate after each logged step, and at the end.
fn summed_rate(measured: &Measured<'_>) -> (Vec<Point>, f64) {
    let mut summed = 0.0;
    let sums = measured.lr.iter().map(|rate| {
        summed += rate.y.max(0.0);
        Point { x: rate.x, y: summed }
    });
    (sums.collect(), summed)
}

fn is_constant(measured: &Measured<'_>) -> bool {
    let rates = || measured.lr.iter().map(|rate| rate.y);
    let (low, high) = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
    low >= high * (1.0 - 1e-6)
}

/// L0 + A u^-alpha, with alpha from 0.05 to 1.9.
fn power_law(u: &[f64], steps: &[f64], y: &[f64]) -> Option<Fit> {
    let of =
        |alpha: f64| fit(&u.iter().map(|u| u.powf(-alpha)).collect::<Vec<_>>(), 1.0 - 2_f64.powf(-alpha), steps, y);
    best((0..=20).map(|i| 0.05 * 1.2_f64.powi(i)), 1.2, &of)
}

/// L0 + A exp(-(u - 1) / tau), with tau from a fiftieth of the run to five times its length.
fn exponential(u: &[f64], steps: &[f64], y: &[f64]) -> Option<Fit> {
    let of = |tau: f64| {
        fit(&u.iter().map(|u| ((1.0 - u) / tau).exp()).collect::<Vec<_>>(), 1.0 - (-1.0 / tau).exp(), steps, y)
    };
    best((0..=25).map(|i| 0.02 * 1.25_f64.powi(i)), 1.25, &of)
}

/// The best fit over a grid of a parameter whose values grow by `factor`, and over a finer one around the best of them.
fn best(grid: impl Iterator<Item = f64>, factor: f64, of: &dyn Fn(f64) -> Fit) -> Option<Fit> {
    let least = |fits: &mut dyn Iterator<Item = (f64, Fit)>| {
        fits.filter(|(_, fit)| fit.error.is_finite()).min_by(|a, b| a.1.error.total_cmp(&b.1.error))
    };
    let (middle, _) = least(&mut grid.map(|value| (value, of(value))))?;
    let finer = (-4..=4).map(|i| middle * factor.powf(f64::from(i) / 5.0));
    least(&mut finer.map(|value| (value, of(value)))).map(|(_, fit)| fit)
}

/// Least squares of y = floor + rise * p with neither below zero. `gained`: the share of the rise that twice the length takes away.
fn fit(p: &[f64], gained: f64, steps: &[f64], y: &[f64]) -> Fit {
    let (floor, rise) = floor_and_rise(p, y);
    let residuals: Vec<f64> = p.iter().zip(y).map(|(p, y)| floor + rise * p - y).collect();
    let error = residuals.iter().map(|residual| residual * residual).sum();
    Fit { error, gain: rise * gained, residuals, steps: steps.to_vec() }
}

fn floor_and_rise(p: &[f64], y: &[f64]) -> (f64, f64) {
    match line(p, y) {
        Some(fit) if fit.slope > 0.0 => {
            let floor = mean(y) - fit.slope * mean(p);
            if floor >= 0.0 {
                return (floor, fit.slope);
            }
            let (py, pp) = p.iter().zip(y).fold((0.0, 0.0), |(py, pp), (p, y)| (py + p * y, pp + p * p));
            (0.0, py / pp)
        }
        _ => (mean(y), 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::statistics::median;
    use super::super::synthetic::gauss;
    use super::*;

    type Rate = fn(f64) -> f64;

    const SCHEDULES: [(&str, Rate); 3] = [
        ("constant", |_| 1.0),
        ("linear", |t| 1.0 - t),
        ("cosine", |t| f64::midpoint(1.0, (std::f64::consts::PI * t).cos())),
    ];

    /// The predicted gain of a loss that is a function of the summed learning rate, or of the step, each as a share of its end.
    fn predicted(rate: Rate, by_step: bool, seed: u64, loss: &dyn Fn(f64) -> f64) -> f64 {
        const N: usize = 400;
        let t = |i: usize| i as f64 / N as f64;
        let lr: Vec<Point> = (1..=N).map(|i| Point { x: i as f64, y: rate(t(i)).max(1e-9) }).collect();
        let total: f64 = lr.iter().map(|rate| rate.y).sum();
        let mut summed = 0.0;
        let point = |(i, rate): (usize, &Point)| {
            summed += rate.y / total;
            let u = if by_step { t(i + 1) } else { summed };
            Point { x: rate.x, y: loss(u) + 0.02 * gauss(seed, i as u64) }
        };
        let train: Vec<Point> = lr.iter().enumerate().map(point).collect();
        let measured = Measured { train: train.clone(), lr, ..Measured::default() };
        gain(&measured, &train).unwrap()
    }

    #[test]
    fn a_loss_that_converges_gains_little() {
        for (name, rate) in SCHEDULES {
            for (by_step, tau) in [false, true].into_iter().flat_map(|step| [0.1, 0.15, 0.2].map(|tau| (step, tau))) {
                let loss = |u: f64| 1.1 + 1.5 * (-u / tau).exp();
                let truth = loss(1.0) - loss(2.0);
                let found: Vec<f64> = (0..8).map(|seed| predicted(rate, by_step, seed, &loss)).collect();
                // By chance, another law may describe a curve better. The power law alone promises 0.04 to 0.2.
                assert!(median(&found) < 1.5 * truth + 0.001, "{name} {by_step} {tau}: {found:?} {truth}");
            }
        }
    }

    #[test]
    fn a_power_law_continues() {
        for (name, rate) in SCHEDULES {
            for (alpha, rise) in [(0.2, 1.0), (0.33, 0.6), (0.5, 0.4)] {
                let loss = |u: f64| 1.7 + rise * u.powf(-alpha);
                let (truth, found) = (loss(1.0) - loss(2.0), predicted(rate, false, 5, &loss));
                assert!((truth / 4.0..truth * 1.5).contains(&found), "{name} {alpha}: {found} {truth}");
            }
        }
        // A fast fall at the start hides neither law.
        let slow = |u: f64| 1.7 + 0.5 * u.powf(-0.3) + 3.0 * (-u / 0.02).exp();
        let (truth, found) = (slow(1.0) - slow(2.0), predicted(|_| 1.0, false, 5, &slow));
        assert!((truth / 4.0..truth * 1.5).contains(&found), "{found} {truth}");
    }
}
