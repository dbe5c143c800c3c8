//! Curves: points over optimizer steps, smoothed without lag and averaged over seeds.
//!
//! A value that is not finite was not usable. It is never interpolated and never enters a mean.

use crate::trial::{EvalRow, MetricRow};

/// A value after `x` optimizer steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: f64,
}

/// Batch loss of every step.
pub fn train_loss(metrics: &[MetricRow]) -> Vec<Point> {
    metrics.iter().map(|row| Point { x: row.step as f64, y: f64::from(row.train_loss) }).collect()
}

/// Evaluation loss, step 0 included where it was measured.
pub fn eval_loss(evals: &[EvalRow]) -> Vec<Point> {
    evals.iter().map(|row| Point { x: row.step as f64, y: f64::from(row.eval_loss) }).collect()
}

/// Centred local-linear regression with the tricube kernel (Cleveland 1979, without the robustness pass).
///
/// It reproduces straight lines exactly and does not lag, so onsets are not shifted. `points` are in order of x. The kernel
/// reaches `half_width` to each side. Near the ends, where one side is cut off, it reaches further on the other side: its span
/// stays the same, so that a line through a few noisy points does not swing. Points that are not finite stay so and have no
/// weight for others. A smoothed value stays within the range of the values behind it.
pub fn smooth(points: &[Point], half_width: f64) -> Vec<Point> {
    let (mut from, mut to) = (0, 0);
    let mut smoothed = Vec::with_capacity(points.len());
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return smoothed };
    for &at in points {
        let reach = half_width.max(2.0 * half_width - (at.x - first.x).min(last.x - at.x));
        // Both edges only move right: the reach never shrinks faster than x grows.
        while from < points.len() && points[from].x <= at.x - reach {
            from += 1;
        }
        while to < points.len() && points[to].x < at.x + reach {
            to += 1;
        }
        let window = points.get(from..to.max(from)).unwrap_or_default();
        let y = if at.y.is_finite() { local_line(window, at, reach) } else { at.y };
        smoothed.push(Point { x: at.x, y });
    }
    smoothed
}

/// Value at `at.x` of the line fitted by weighted least squares. Where no line is determined: the weighted mean.
fn local_line(window: &[Point], at: Point, half_width: f64) -> f64 {
    let (mut s0, mut s1, mut s2, mut t0, mut t1) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for point in window.iter().filter(|point| point.y.is_finite()) {
        let dx = (point.x - at.x) / half_width;
        let weight = (1.0 - dx.abs().powi(3)).max(0.0).powi(3);
        // Values relative to the centre avoid cancellation for large losses.
        let dy = point.y - at.y;
        s0 += weight;
        s1 += weight * dx;
        s2 += weight * dx * dx;
        t0 += weight * dy;
        t1 += weight * dx * dy;
    }
    let determinant = s0 * s2 - s1 * s1;
    let y = if determinant > 1e-9 * s0 * s0 {
        at.y + (s2 * t0 - s1 * t1) / determinant
    } else if s0 > 0.0 {
        at.y + t0 / s0
    } else {
        at.y
    };
    let values = window.iter().map(|point| point.y).filter(|y| y.is_finite());
    let (low, high) = values.fold((at.y, at.y), |(low, high), y| (f64::min(low, y), f64::max(high, y)));
    y.clamp(low, high)
}

/// Median distance between neighbouring points. None for fewer than two points.
pub fn interval(points: &[Point]) -> Option<f64> {
    let mut gaps: Vec<f64> = points.windows(2).map(|pair| pair[1].x - pair[0].x).collect();
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 2).copied().filter(|&gap| gap > 0.0)
}

/// Mean, least and greatest of several seeds at one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub x: f64,
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

/// The spread over `curves` at the steps where each of them has a finite value.
pub fn spread(curves: &[Vec<Point>]) -> Vec<Spread> {
    let Some((first, others)) = curves.split_first() else { return Vec::new() };
    let mut next = vec![0; others.len()];
    let mut spreads = Vec::with_capacity(first.len());
    for point in first.iter().filter(|point| point.y.is_finite()) {
        let mut values = vec![point.y];
        for (curve, next) in others.iter().zip(&mut next) {
            while curve.get(*next).is_some_and(|other| other.x < point.x) {
                *next += 1;
            }
            let same = curve.get(*next).filter(|other| (other.x - point.x).abs() < 0.5 && other.y.is_finite());
            values.extend(same.map(|other| other.y));
        }
        if values.len() == curves.len() {
            spreads.push(Spread {
                x: point.x,
                mean: values.iter().sum::<f64>() / values.len() as f64,
                low: values.iter().copied().fold(f64::INFINITY, f64::min),
                high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            });
        }
    }
    spreads
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points(values: &[f64]) -> Vec<Point> {
        values.iter().enumerate().map(|(x, &y)| Point { x: x as f64, y }).collect()
    }

    #[test]
    fn a_line_stays_itself_up_to_both_ends() {
        let line: Vec<f64> = (0..30).map(|x| 3.0 - 0.07 * f64::from(x)).collect();
        for (point, expected) in smooth(&points(&line), 6.5).iter().zip(&line) {
            assert!((point.y - expected).abs() < 1e-9, "{point:?} {expected}");
        }
    }

    #[test]
    fn a_step_is_smoothed_around_itself_not_after_itself() {
        let step: Vec<f64> = (0..41).map(|x| if x < 20 { 1.0 } else { 0.0 }).collect();
        let smoothed = smooth(&points(&step), 6.0);
        let crossing = smoothed.iter().find(|point| point.y < 0.5).map(|point| point.x);
        assert_eq!(crossing, Some(20.0));
    }

    #[test]
    fn a_non_finite_value_stays_and_changes_no_neighbour() {
        let smoothed = smooth(&points(&[1.0, 1.0, f64::NAN, 1.0, f64::INFINITY]), 3.0);
        let finite: Vec<bool> = smoothed.iter().map(|point| point.y.is_finite()).collect();
        assert_eq!(finite, [true, true, false, true, false]);
        assert!(smoothed.iter().filter(|point| point.y.is_finite()).all(|point| (point.y - 1.0).abs() < 1e-12));
    }

    #[test]
    fn the_spread_covers_common_steps_only() {
        let long = points(&[4.0, 2.0, 1.0]);
        let short = vec![Point { x: 0.0, y: 6.0 }, Point { x: 2.0, y: f64::NAN }];
        assert_eq!(spread(&[long, short]), [Spread { x: 0.0, mean: 5.0, low: 4.0, high: 6.0 }]);
        assert_eq!(spread(&[]), []);
    }

    proptest! {
        #[test]
        fn smoothing_commutes_with_scaling_and_shifting(
            values in proptest::collection::vec(-5.0..5.0_f64, 0..60), scale in 0.1..10.0_f64, shift in -3.0..3.0_f64,
            half_width in 0.5..9.0_f64,
        ) {
            let plain = smooth(&points(&values), half_width);
            let moved: Vec<f64> = values.iter().map(|y| y * scale + shift).collect();
            for (plain, moved) in plain.iter().zip(smooth(&points(&moved), half_width)) {
                prop_assert!((plain.y * scale + shift - moved.y).abs() < 1e-6 * (1.0 + scale));
            }
        }
    }
}
