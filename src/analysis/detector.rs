//! Whether a loss is flat, by an equivalence test. Flat means that the change is surely small, not that it is not significant.
//!
//! [`detect`] compares the last third of a training loss with the scale of the whole curve, finds where the plateau begins,
//! and tells whether the loss is flat only because the schedule ended. Losses may be in any unit and steps in any numbering.
//! Causes are left to [`super::rules`].

use super::blocks::{block_count, blocks, means};
use super::curve::Point;
use super::extrapolation::gain;
use super::measured::{LEAST_DELTA, Measured};
use super::statistics::{line, mann_kendall, mean, median, robust_deviation, t95, theil_sen};
use super::thresholds as limit;

/// What a stretch of a curve does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trend {
    /// Surely within a tenth of the scale (`tight`: a twentieth).
    Flat {
        tight: bool,
    },
    Falling,
    /// Within a tenth of the scale, but surely falling, and as many steps again would gain something.
    FallingSlowly,
    Rising,
    /// Neither surely flat nor surely moving. About `needed` points in the tail would settle it.
    Unresolved {
        needed: u64,
    },
    TooShort,
    NotFinite,
}

impl Trend {
    pub fn is_flat(self) -> bool {
        matches!(self, Self::Flat { .. })
    }

    pub fn is_falling(self) -> bool {
        matches!(self, Self::Falling | Self::FallingSlowly)
    }

    /// Stable name.
    pub fn id(self) -> &'static str {
        match self {
            Self::Flat { .. } => "flat",
            Self::Falling => "falling",
            Self::FallingSlowly => "falling_slowly",
            Self::Rising => "rising",
            Self::Unresolved { .. } => "unresolved",
            Self::TooShort => "too_short",
            Self::NotFinite => "not_finite",
        }
    }
}

/// A stretch of a curve with its trend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    pub trend: Trend,
    /// Fitted change from its first to its last point, as a share of the scale. Negative if it falls.
    pub change: f64,
    /// Half the width of the 90 % confidence interval of the change.
    pub half: f64,
    /// Standard error of the change, as a share of the scale.
    pub error: f64,
    /// p-value of the Mann-Kendall test over its blocks.
    pub monotone_p: f64,
    /// Mean loss.
    pub level: f64,
    /// First and last step.
    pub from: u64,
    pub to: u64,
    pub points: usize,
}

/// Which curve was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    Train,
    /// The fixed clean training examples.
    Probe,
}

/// What the training loss does at the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    pub series: Series,
    /// The unit in which changes are measured, in nats: the fall of the loss or the entropy of the class prior, whichever is greater.
    pub scale: f64,
    pub start: f64,
    pub tail: Stretch,
    /// First step of the plateau, where the tail is flat.
    pub onset: Option<u64>,
    /// Share of the summed learning rate that the tail had. None where no learning rate is known.
    pub rate_share: Option<f64>,
    /// Where the tail had less than 15 % of it: the stretch before, at 0.3 to 1 of the peak learning rate.
    pub active: Option<Stretch>,
    /// What as many steps again would gain, as a share of the scale, where the tail is flat for want of learning rate or falls
    /// slowly.
    pub gain: Option<f64>,
    /// What as many steps again may gain, as a share of the scale, where a tail is flat within its noise but the law of the whole curve
    /// says that it still falls.
    pub hidden_gain: Option<f64>,
}

impl Detection {
    /// Whether the loss is flat, and not only because the schedule ended.
    pub fn is_flat(&self) -> bool {
        self.tail.trend.is_flat() && !self.schedule_ended()
    }

    /// Whether the loss is flat, or falls slowly, because the schedule ended: the tail had almost no learning rate, and with more
    /// of it the loss would keep falling, as it did before or as the fitted law says.
    pub fn schedule_ended(&self) -> bool {
        let level = self.tail.trend.is_flat() || self.tail.trend == Trend::FallingSlowly;
        let spent = self.rate_share.is_some_and(|share| share < limit::SPENT_SHARE);
        let falling = self.active.is_some_and(|active| active.trend == Trend::Falling);
        level && spent && (falling || self.gain.is_some_and(|gain| gain > limit::WORTH_STEPS))
    }
}

/// Judges the training loss of a trial, or the loss of its clean training examples where that has enough points.
pub fn detect(measured: &Measured<'_>) -> Detection {
    let probe = measured.probe.len() / 3 >= limit::FEWEST_TAIL_POINTS && measured.probe.iter().all(|p| p.y.is_finite());
    let (series, all) = if probe { (Series::Probe, &measured.probe) } else { (Series::Train, &measured.train) };
    let chance = measured.train_chance();
    let (scale, start) = scale(all, chance);
    let warm = measured.rate_peak() as f64;
    let points: Vec<Point> = all.iter().copied().filter(|point| point.x >= warm).collect();
    let tail = &points[points.len() - points.len() / 3..];
    let tail = stretch(tail, scale);
    let mut detection = Detection {
        series,
        scale,
        start,
        tail,
        onset: None,
        rate_share: None,
        active: None,
        gain: None,
        hidden_gain: None,
    };
    schedule(measured, &points, &mut detection);
    match slow_gain(measured, &points, &detection) {
        Some(SlowGain::Sure(gain)) => {
            detection.tail.trend = Trend::FallingSlowly;
            // After a decay, twice the summed learning rate gains more than the last steps show.
            detection.gain = detection.gain.or(Some(gain));
        }
        Some(SlowGain::Hidden(gain)) => detection.hidden_gain = Some(gain),
        None => {}
    }
    if detection.tail.trend.is_flat() {
        detection.onset = onset(&points, scale);
    }
    detection
}

/// The scale and the level at the start. Where the class prior is unknown, the level at the start stands in for its entropy: an
/// untrained classifier has about that loss.
fn scale(points: &[Point], chance: Option<f64>) -> (f64, f64) {
    let finite: Vec<f64> = points.iter().map(|point| point.y).filter(|y| y.is_finite()).collect();
    let Some(first) =
        finite.get(..(finite.len() / 20).clamp(1, 20).min(finite.len())).filter(|first| !first.is_empty())
    else {
        return (chance.unwrap_or(0.0), f64::NAN);
    };
    let start = mean(first);
    let best =
        blocks(&finite, block_count(finite.len(), limit::MOST_BLOCKS)).fold(start, |best, block| best.min(mean(block)));
    ((start - best).max(chance.unwrap_or(start.abs())), start)
}

/// The equivalence test on one stretch.
pub fn stretch(points: &[Point], scale: f64) -> Stretch {
    let y: Vec<f64> = points.iter().map(|point| point.y).collect();
    let (from, to) = (points.first().map_or(0, |p| p.x as u64), points.last().map_or(0, |p| p.x as u64));
    let open = Stretch {
        trend: Trend::TooShort,
        change: 0.0,
        half: 0.0,
        error: 0.0,
        monotone_p: 1.0,
        level: mean(&y),
        from,
        to,
        points: y.len(),
    };
    if y.iter().any(|y| !y.is_finite()) {
        return Stretch { trend: Trend::NotFinite, ..open };
    }
    if points.len() < limit::FEWEST_TAIL_POINTS {
        return open;
    }
    let centre = median(&y);
    let reach = limit::WINSOR * robust_deviation(&y, centre);
    // If most values are equal, all others would count as outliers.
    let tame = |y: f64| if reach > 0.0 { y.clamp(centre - reach, centre + reach) } else { y };
    let tamed: Vec<Point> = points.iter().map(|point| Point { y: tame(point.y), ..*point }).collect();
    let (x, y) = means(&tamed, block_count(points.len(), limit::MOST_BLOCKS));
    let fitted = judge(&x, &y, scale);
    let trend = match fitted.moves(&x, &y) {
        Trend::Unresolved { .. } => Trend::Unresolved { needed: needed(points, scale, &fitted) },
        trend => trend,
    };
    Stretch {
        trend,
        change: fitted.change,
        half: fitted.half,
        error: fitted.error,
        monotone_p: mann_kendall(&y).1,
        ..open
    }
}

/// Change over a stretch of block means and half the width of its confidence interval, as shares of the scale.
struct Fitted {
    change: f64,
    half: f64,
    error: f64,
}

fn judge(x: &[f64], y: &[f64], scale: f64) -> Fitted {
    let (Some(fit), Some(first), Some(last)) = (line(x, y), x.first(), x.last()) else {
        return Fitted { change: 0.0, half: f64::INFINITY, error: f64::INFINITY };
    };
    // The block means span the stretch without half a block at each end.
    let span = (last - first) * x.len() as f64 / (x.len() - 1) as f64;
    let share = |nats: f64| if nats == 0.0 { 0.0 } else { nats / scale };
    let error = share(fit.error * span);
    Fitted { change: share(fit.slope * span), half: t95(x.len() - 2) * error, error }
}

impl Fitted {
    fn is_flat(&self) -> bool {
        self.change.abs() + self.half < limit::FLAT
    }

    fn moves(&self, x: &[f64], y: &[f64]) -> Trend {
        let median_slope = theil_sen(x, y).unwrap_or(0.0);
        match self {
            _ if self.is_flat() => Trend::Flat { tight: self.change.abs() + self.half < limit::TIGHT },
            _ if self.change + self.half < 0.0 && median_slope < 0.0 => Trend::Falling,
            _ if self.change - limit::RISE_INTERVALS * self.half > 0.0 && median_slope > 0.0 => Trend::Rising,
            _ => Trend::Unresolved { needed: 0 },
        }
    }
}

/// Number of points in the tail that would resolve the trend. It is the greater of two numbers:
///
/// * With so many points, a loss without a trend is called flat in nine of ten cases, given the noise between neighbours.
/// * With so many points, the confidence interval found here excludes zero or lies within the limit.
fn needed(points: &[Point], scale: f64, fitted: &Fitted) -> u64 {
    let steps: Vec<f64> = points.windows(2).map(|pair| pair[1].y - pair[0].y).collect();
    let sigma = robust_deviation(&steps, median(&steps)) / std::f64::consts::SQRT_2;
    let by_noise = 12.0 * (2.0 * 1.645 * sigma / (limit::FLAT * scale)).powi(2);
    let change = fitted.change.abs();
    let by_interval = points.len() as f64 * (fitted.half / change.max(limit::FLAT - change)).powi(2);
    by_noise.max(by_interval).max(points.len() as f64 + 1.0).ceil().min(1e12) as u64
}

/// First step after which every suffix of the curve is flat, searched backwards from the tail.
fn onset(points: &[Point], scale: f64) -> Option<u64> {
    let count = block_count(points.len(), 3 * limit::MOST_BLOCKS);
    let (x, y): (Vec<f64>, Vec<f64>) = blocks(points, count)
        .map(|block| {
            let values: Vec<f64> = block.iter().map(|point| point.y).collect();
            (block.iter().map(|point| point.x).sum::<f64>() / block.len() as f64, robust_mean(&values))
        })
        .unzip();
    let tail = (y.len() * 2 / 3).min(y.len().saturating_sub(limit::FEWEST_BLOCKS));
    let level = mean(&y[tail..]);
    let noise = robust_deviation(&y[tail..], level);
    let belongs = |i: &usize| {
        (y[*i] - level).abs() < limit::FLAT * scale + 2.0 * noise && judge(&x[*i..], &y[*i..], scale).is_flat()
    };
    let first = (0..tail).rev().take_while(belongs).last().unwrap_or(tail);
    blocks(points, count).nth(first).and_then(<[Point]>::first).map(|point| point.x as u64)
}

/// Mean of the values, each clamped to five robust deviations around the median.
fn robust_mean(values: &[f64]) -> f64 {
    let centre = median(values);
    let reach = limit::WINSOR * robust_deviation(values, centre);
    if reach > 0.0 {
        mean(&values.iter().map(|y| y.clamp(centre - reach, centre + reach)).collect::<Vec<_>>())
    } else {
        mean(values)
    }
}

/// The share of the learning rate that the tail had and, where it is small, what more would gain.
fn schedule(measured: &Measured<'_>, points: &[Point], detection: &mut Detection) {
    let Stretch { from, .. } = detection.tail;
    let warm = measured.rate_peak() as f64;
    let rates = || measured.lr.iter().filter(|rate| rate.y.is_finite());
    let sum = |from: f64| rates().filter(|rate| rate.x >= from).map(|rate| rate.y).sum::<f64>();
    let all = sum(warm);
    if all <= 0.0 || points.is_empty() {
        return;
    }
    let share = sum(from as f64) / all;
    detection.rate_share = Some(share);
    if share >= limit::SPENT_SHARE || !detection.tail.trend.is_flat() {
        return;
    }
    let peak = rates().map(|rate| rate.y).fold(0.0, f64::max);
    let until = rates().filter(|rate| rate.y >= limit::ACTIVE_RATE * peak).map(|rate| rate.x).fold(0.0, f64::max);
    let active: Vec<Point> = points.iter().copied().filter(|point| point.x <= until).collect();
    detection.active = Some(stretch(&active[active.len() - active.len() / 3..], detection.scale));
    detection.gain = gain(measured, points).map(|gain| gain / detection.scale);
}

/// The gain of as many steps again, as a share of the scale.
enum SlowGain {
    /// It exceeds the noise of the tail: two standard errors, or one where the tail surely falls.
    Sure(f64),
    /// It matters, but the noise of the tail hides it.
    Hidden(f64),
}

/// What a tail that is flat by its share of the scale still gains. None where that is too little to matter.
///
/// The law of the whole curve knows more than the tail does: the tail need not surely fall by itself. It limits what is believed,
/// though, to the straight line through it, at the steep end of its confidence interval.
fn slow_gain(measured: &Measured<'_>, points: &[Point], detection: &Detection) -> Option<SlowGain> {
    let Detection { tail, scale, .. } = detection;
    if !tail.trend.is_flat() {
        return None;
    }
    let (first, last) = (points.first()?.x, points.last()?.x);
    let noise = 2.0 * tail.error;
    let linear = noise.max(-tail.change) * (last - first) / tail.to.saturating_sub(tail.from).max(1) as f64;
    let gain = (gain(measured, points)? / scale).min(linear);
    let least = limit::LEAST_GAIN / LEAST_DELTA * measured.least_change() / scale;
    let spent = detection.rate_share.is_some_and(|share| share < limit::SPENT_SHARE);
    // At the end of a decay, the tail cannot contradict a law.
    if spent && -tail.change <= noise {
        return None;
    }
    // A tail that surely falls needs less proof that it will continue to.
    let sure = if -tail.change > noise { tail.error } else { noise };
    match gain {
        gain if gain <= least => None,
        gain if gain <= sure => Some(SlowGain::Hidden(gain)),
        gain => Some(SlowGain::Sure(gain)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::synthetic::{self, gauss};
    use super::*;

    const PRIOR: [f64; 2] = [0.5, 0.5];

    fn curve(n: usize, loss: impl Fn(f64) -> f64) -> Vec<Point> {
        (1..=n).map(|i| Point { x: i as f64, y: loss(i as f64 / n as f64) }).collect()
    }

    fn noisy(n: usize, sigma: f64, seed: u64, loss: impl Fn(f64) -> f64) -> Vec<Point> {
        curve(n, |t| loss(t) + sigma * gauss(seed, (t * n as f64) as u64))
    }

    fn of(train: Vec<Point>) -> Detection {
        detect(&Measured { train, train_prior: &PRIOR, ..Measured::default() })
    }

    fn scheduled(train: Vec<Point>, rate: impl Fn(f64) -> f64) -> Detection {
        let n = train.len() as f64;
        let lr = train.iter().map(|point| Point { y: rate(point.x / n), ..*point }).collect();
        detect(&Measured { train, lr, train_prior: &PRIOR, ..Measured::default() })
    }

    #[test]
    fn trends() {
        let trend = |loss: fn(f64) -> f64| of(curve(120, loss)).tail.trend.id();
        assert_eq!(trend(|_| 0.4), "flat");
        assert_eq!(trend(|t| 0.7 - 0.6 * t), "falling");
        assert_eq!(trend(|t| 0.3 + 0.6 * t), "rising");
        assert_eq!(trend(|t| if t > 0.9 { f64::NAN } else { 0.5 }), "not_finite");
        assert_eq!(of(curve(35, |_| 0.4)).tail.trend, Trend::TooShort);
        assert_eq!(of(curve(36, |_| 0.4)).tail.trend, Trend::Flat { tight: true });
        assert_eq!(of(vec![]).tail.trend, Trend::TooShort);
    }

    #[test]
    fn not_significant_is_not_flat() {
        let open = of(noisy(60, 0.5, 1, |_| 0.69));
        let Trend::Unresolved { needed } = open.tail.trend else { panic!("{open:?}") };
        assert!(needed > 500, "{needed}");
        // That many points in the tail settle it.
        let settled = (0..20).filter(|&seed| of(noisy(3 * needed as usize, 0.5, seed, |_| 0.69)).tail.trend.is_flat());
        assert!(settled.count() >= 17);
    }

    #[test]
    fn wrong_trends_are_rare_and_flat_tails_are_found() {
        let count = |n: usize, sigma: f64, id: &str| {
            (0..300).filter(|&seed| of(noisy(n, sigma, seed, |_| 0.5)).tail.trend.id() == id).count()
        };
        for (n, sigma) in [(200, 0.3), (600, 0.5)] {
            assert!(count(n, sigma, "falling") <= 21 && count(n, sigma, "rising") <= 21);
        }
        assert!(count(600, 0.05, "flat") >= 270, "{}", count(600, 0.05, "flat"));
        assert!(count(6000, 0.15, "flat") >= 270, "{}", count(6000, 0.15, "flat"));
    }

    #[test]
    fn the_onset_is_where_the_fall_ends() {
        let found = of(noisy(900, 0.03, 3, |t| 0.2 + 0.5 * (1.0 - t / 0.3).max(0.0)));
        let onset = found.onset.unwrap();
        assert!((200..=300).contains(&onset), "{onset}");
        // A few outliers do not move it.
        let mut spiked = noisy(900, 0.03, 3, |t| 0.2 + 0.5 * (1.0 - t / 0.3).max(0.0));
        for i in [400, 555, 800] {
            spiked[i].y = 9.0;
        }
        let onset = of(spiked).onset.unwrap();
        assert!((200..=300).contains(&onset), "{onset}");
    }

    #[test]
    fn a_saw_tooth_of_epochs_is_flat() {
        // Ten epochs, each with the hard batches first.
        let found = of(curve(300, |t| 0.3 + 0.1 * (1.0 - (t * 10.0).fract())));
        assert!(found.tail.trend.is_flat(), "{found:?}");
    }

    /// Loss as a power of the summed rate.
    fn powered(n: usize, seed: u64, summed: impl Fn(f64) -> f64) -> Vec<Point> {
        noisy(n, 0.01, seed, |t| 0.1 + 0.15 * (summed(t) + 0.05).powf(-0.5))
    }

    #[test]
    fn flat_because_the_schedule_ended_is_not_flat() {
        let ended = scheduled(powered(600, 1, |t| 1.0 - (1.0 - t).powi(4)), |t| (1.0 - t).powi(3));
        assert!(ended.rate_share.unwrap() < 0.15 && ended.tail.trend.is_flat(), "{ended:?}");
        assert!(ended.schedule_ended() && ended.gain.unwrap() > 0.03, "{ended:?}");
        let early = scheduled(noisy(600, 0.01, 1, |t| 0.2 + 0.5 * (-t / 0.04).exp()), |t| 1.0 - t);
        assert!(early.is_flat() && !early.schedule_ended() && early.gain.unwrap() < 0.05, "{early:?}");
        let constant = scheduled(noisy(600, 0.01, 1, |t| 0.2 + 0.5 * (-t / 0.04).exp()), |_| 1.0);
        assert!(constant.active.is_none() && (constant.rate_share.unwrap() - 1.0 / 3.0).abs() < 0.01);
    }

    /// Power laws of the summed learning rate, as of pre-training: a slow fall is not a floor.
    #[test]
    fn power_laws_are_never_flat() {
        let wsd = |t: f64| if t < 0.8 { 1.0 } else { (1.0 - t) / 0.2 };
        let schedules: [(&str, &dyn Fn(f64) -> f64); 4] = [
            ("constant", &|_| 1.0),
            ("WSD", &wsd),
            ("linear", &|t| 1.0 - t),
            ("cosine", &|t| f64::midpoint(1.0, (std::f64::consts::PI * t).cos())),
        ];
        for (seed, alpha) in (0..6).flat_map(|seed| [0.1, 0.2, 0.35, 0.5].map(|alpha| (seed, alpha))) {
            for (name, rate) in schedules {
                let train = synthetic::power_law(900, (2.0, 3.0, alpha), 0.02, seed, &rate);
                let found = scheduled(train.clone(), rate);
                // At the end of a cosine there is so little learning rate left that the noise may hide the fall.
                assert!(!found.is_flat(), "{name} {alpha}: {found:?}");
                let surely = -found.tail.change > 2.0 * found.tail.half;
                assert!(found.tail.trend.is_falling() || name == "cosine" && !surely, "{name} {alpha}: {found:?}");
                // The stretch before the decay.
                let before = scheduled(train[..700].to_vec(), |_| 1.0);
                assert!(!before.is_flat(), "{name} {alpha}: {before:?}");
            }
        }
        // Of a shorter and noisier one the tail does not surely fall by itself. The law of the whole curve does.
        for (seed, noise) in (0..20).flat_map(|seed| [0.08, 0.15].map(|noise| (seed, noise))) {
            let found = scheduled(synthetic::power_law(300, (1.5, 1.5, 0.2), noise, seed, &|_| 1.0), |_| 1.0);
            let is_known = !found.is_flat() || found.hidden_gain.is_some();
            assert!(is_known, "{seed} {noise}: {found:?}");
            let rests = scheduled(noisy(300, noise / 4.0, seed, |t| 1.5 + 1.5 * (-t / 0.05).exp()), |_| 1.0);
            assert!(rests.is_flat(), "{seed} {noise}: {rests:?}");
        }
        let slow = scheduled(synthetic::power_law(900, (2.0, 3.0, 0.2), 0.02, 1, &|_| 1.0), |_| 1.0);
        assert_eq!(slow.tail.trend, Trend::FallingSlowly);
        // From step 900 to 1800: 3 (900/900)^-0.2 - 3 (1800/900)^-0.2 = 0.39, in units where the last summed rate is 1.
        let gain = slow.gain.unwrap() * slow.scale;
        assert!((0.2..0.45).contains(&gain), "{gain}");
    }

    #[test]
    fn the_probe_is_preferred_where_it_has_points_enough() {
        let (train, probe) = (noisy(300, 0.4, 1, |_| 0.5), curve(36, |_| 0.5));
        let few = probe[..12].to_vec();
        let of = |probe| detect(&Measured { train: train.clone(), probe, ..Measured::default() });
        assert_eq!((of(probe).series, of(few).series), (Series::Probe, Series::Train));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn units_do_not_matter(
            seed in 0_u64..1000, sigma in 0.0..0.4_f64, slope in -0.5..0.5_f64, unit in 0.01..100.0_f64, stride in 1_u64..500,
        ) {
            let plain = noisy(150, sigma, seed, |t| 1.0 + slope * t);
            let of = |train: Vec<Point>| detect(&Measured { train, ..Measured::default() }).tail;
            let moved = plain.iter().map(|p| Point { x: p.x * stride as f64, y: p.y * unit }).collect();
            let (plain, moved) = (of(plain), of(moved));
            prop_assert!((plain.change - moved.change).abs() < 1e-6 && (plain.half - moved.half).abs() < 1e-6);
            // Whether a slow fall matters is judged in nats.
            let same = |trend: Trend| if trend == Trend::FallingSlowly { "flat" } else { trend.id() };
            prop_assert_eq!(same(plain.trend), same(moved.trend));
        }

        #[test]
        fn noise_never_turns_falling_into_rising(seed in 0_u64..100_000, sigma in 0.0..0.3_f64, fall in 0.3..1.0_f64) {
            let found = of(noisy(300, sigma, seed, |t| 1.5 - fall * t));
            prop_assert_ne!(found.tail.trend, Trend::Rising);
        }

        #[test]
        fn anything_goes(values in proptest::collection::vec(prop_oneof![
            9 => -1e6..1e6_f64, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY), 1 => Just(0.0)], 0..80)) {
            let train: Vec<Point> = (0..).zip(&values).map(|(x, &y)| Point { x: f64::from(x), y }).collect();
            let lr = train.clone();
            for prior in [&PRIOR[..], &[]] {
                let found = detect(&Measured { train: train.clone(), lr: lr.clone(), train_prior: prior, ..Measured::default() });
                prop_assert!(found.onset.is_none() || found.tail.trend.is_flat());
            }
        }
    }
}
