//! The learning-rate range test (Smith, "Cyclical learning rates for training neural networks", 2017), as fastai's `lr_find`
//! does it. The learning rate rises exponentially over one short run; the loss tells which learning rates train.
//!
//! The numbers are fastai's. The losses are smoothed by a bias-corrected exponential mean ([`MEMORY`]), the test stops on that
//! curve, and the suggestions are read from it. The mean lags behind the losses. The rules allow for this: they look for the
//! fall and not for its end.

use crate::trial::rounded_text;

/// Learning rate of the first step, and of the last.
pub const FROM: f64 = 1e-7;
pub const TO: f64 = 1.0;
/// Optimizer steps of the whole test.
pub const STEPS: u64 = 100;
/// The test ends where the smoothed loss exceeds this multiple of its lowest value.
pub const BLOWN_UP: f64 = 4.0;
/// Share of the smoothed loss that is kept from one step to the next.
pub const MEMORY: f64 = 0.98;
/// Ratio of neighbouring learning rates in the suggested grid.
const APART: f64 = 3.0;

/// One step of the test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tried {
    pub lr: f64,
    /// Loss of the batch before the step.
    pub loss: f64,
    pub smoothed: f64,
}

/// A range test, complete or stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeTest {
    /// In the order of the steps, so with rising learning rates.
    pub tried: Vec<Tried>,
    /// None where the loss fell nowhere.
    pub suggestions: Option<Suggestions>,
}

/// Where to put the peak learning rate, by three rules.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Suggestions {
    /// Halfway down the longest fall of the loss.
    pub valley: f64,
    /// Where the loss falls fastest.
    pub steep: f64,
    /// A tenth of the learning rate with the lowest loss.
    pub minimum: f64,
}

impl RangeTest {
    /// `steps`: the learning rate and the batch loss of every step, in order.
    #[must_use]
    pub fn of(steps: &[(f64, f64)]) -> Self {
        let mut mean = 0.0;
        let tried: Vec<Tried> = (1..)
            .zip(steps)
            .map(|(taken, &(lr, loss))| {
                // In this form the mean of a constant loss is exactly that loss.
                mean += (loss - mean) * (1.0 - MEMORY) / (1.0 - MEMORY.powi(taken));
                Tried { lr, loss, smoothed: mean }
            })
            .collect();
        let suggestions = suggestions(&tried);
        Self { tried, suggestions }
    }

    /// Whether the test can stop: the loss is not finite, or far above its lowest value.
    #[must_use]
    pub fn is_blown_up(&self) -> bool {
        let Some(last) = self.tried.last() else { return false };
        let best = self.tried.iter().map(|tried| tried.smoothed).fold(f64::INFINITY, f64::min);
        !last.loss.is_finite() || last.smoothed > BLOWN_UP * best
    }
}

impl Suggestions {
    /// Learning rates around the valley, as a line of a sweep file.
    #[must_use]
    pub fn line(&self) -> String {
        let rates: Vec<String> = (-2..=2).map(|i| one_digit(self.valley * APART.powi(i))).collect();
        format!("grid: {{lr: [{}]}}", rates.join(", "))
    }
}

/// `4e-5`.
fn one_digit(rate: f64) -> String {
    rounded_text(rate, 1)
}

/// The three rules, applied up to the first loss that is not finite. The first tenth (where the learning rate is too small to
/// matter) and the last five steps are left out.
fn suggestions(tried: &[Tried]) -> Option<Suggestions> {
    let finite = tried.iter().position(|tried| !tried.loss.is_finite()).unwrap_or(tried.len());
    let tried = tried[..finite].get(finite / 10..finite.saturating_sub(5))?;
    let losses: Vec<f64> = tried.iter().map(|tried| tried.smoothed).collect();
    let logs: Vec<f64> = tried.iter().map(|tried| tried.lr.ln()).collect();
    Some(Suggestions {
        valley: tried[valley(&losses)?].lr,
        steep: tried[steep(&losses, &logs)?].lr,
        minimum: tried[lowest(losses.iter().copied())?].lr / 10.0,
    })
}

/// Index of the valley. Let the longest strictly decreasing subsequence (of several, the first to end) have `length` losses and
/// end at index e, and s = e - length as fastai counts its start. The index is s + int((e - s) / 3) + int((e - s) / 6), at least
/// 0. None if no loss is below an earlier one.
fn valley(losses: &[f64]) -> Option<usize> {
    let mut lengths: Vec<usize> = Vec::with_capacity(losses.len());
    for (i, loss) in losses.iter().enumerate() {
        let before = (0..i).filter(|&j| *loss < losses[j]).map(|j| lengths[j]);
        lengths.push(before.max().unwrap_or(0) + 1);
    }
    let (end, &length) = lengths.iter().enumerate().rev().max_by_key(|(_, length)| **length)?;
    (length > 1).then(|| (end + length / 3 + length / 6).saturating_sub(length))
}

/// Index where the loss falls fastest over the logarithm of the learning rate: the first point of the steepest segment.
fn steep(losses: &[f64], logs: &[f64]) -> Option<usize> {
    let slopes = losses.windows(2).zip(logs.windows(2)).map(|(loss, log)| (loss[1] - loss[0]) / (log[1] - log[0]));
    lowest(slopes)
}

/// Index of the first least value.
fn lowest(values: impl Iterator<Item = f64>) -> Option<usize> {
    values.enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loss at chance that falls in the middle, bends up and runs away, with noise in the batches.
    fn landscape(steps: u64) -> Vec<(f64, f64)> {
        let rate = |k: u64| FROM * (TO / FROM).powf(k as f64 / (STEPS - 1) as f64);
        let loss = |k: u64| {
            let t = k as f64;
            let fall = 0.5 / (1.0 + (-(t - 50.0) / 4.0).exp());
            1.1 - fall + (0.35 * (t - 75.0)).exp().min(1e6) + 0.02 * (1.7 * t).sin()
        };
        (0..steps).map(|k| (rate(k), loss(k))).collect()
    }

    /// Against fastai 2's `valley`, `steep` and `minimum` over its smoothed losses, computed with numpy from the same
    /// formula of the losses.
    #[test]
    fn the_suggestions_are_fastais() {
        let expected = [
            (60, [4.862_601_580_065_353_5e-5, 5.590_810_182_512_224e-4, 6.579_332_246_575_675e-5]),
            (85, [2.104_904_144_512_020_4e-4, 1.072_267_222_010_323_8e-3, 1.047_615_752_789_664_2e-3]),
            (100, [1.788_649_529_057_434_5e-4, 1.072_267_222_010_323_8e-3, 1.047_615_752_789_664_2e-3]),
        ];
        for (steps, expected) in expected {
            let found = RangeTest::of(&landscape(steps)).suggestions.unwrap();
            for (ours, theirs) in [found.valley, found.steep, found.minimum].into_iter().zip(expected) {
                assert!((ours / theirs - 1.0).abs() < 1e-9, "{steps} steps: {ours:e} against {theirs:e}");
            }
        }
    }

    #[test]
    fn the_rules_by_hand() {
        // 5 3 2 1 is the longest fall: e = 6, s = 2, and a third and a sixth of 4 are 1 and 0.
        assert_eq!(valley(&[4.0, 5.0, 6.0, 3.0, 3.0, 2.0, 1.0, 8.0]), Some(3));
        assert_eq!(valley(&[3.0, 2.0]), Some(0));
        assert_eq!(valley(&[1.0, 1.0, 2.0]), None);
        assert_eq!(valley(&[]), None);
        // Slopes over the logarithm: -1, -0.5, -2.
        assert_eq!(steep(&[9.0, 8.0, 7.0, 5.0], &[0.0, 1.0, 3.0, 4.0]), Some(2));
        assert_eq!(steep(&[9.0], &[0.0]), None);
        assert_eq!(lowest([2.0, 1.0, 1.0].into_iter()), Some(1));
    }

    #[test]
    fn the_first_losses_are_their_own_mean() {
        let smoothed: Vec<f64> =
            RangeTest::of(&[(1e-7, 2.0), (1e-6, 2.0), (1e-5, 5.0)]).tried.iter().map(|tried| tried.smoothed).collect();
        let third = (0.98 * 0.98 * 2.0 + 0.98 * 2.0 + 5.0) / (0.98 * 0.98 + 0.98 + 1.0);
        for (got, expected) in smoothed.iter().zip([2.0, 2.0, third]) {
            assert!((got - expected).abs() < 1e-12, "{got} {expected}");
        }
    }

    #[test]
    fn a_test_ends_where_the_loss_blows_up() {
        let flat = |last: f64| {
            let mut steps = vec![(1e-4, 1.0); 20];
            steps.push((1e-3, last));
            RangeTest::of(&steps)
        };
        assert!(!flat(1.0).is_blown_up() && !flat(52.0).is_blown_up());
        assert!(flat(54.0).is_blown_up(), "the last of 21 counts 0.0578: above 52.9 it lifts the mean above 4");
        assert!(flat(f64::NAN).is_blown_up() && flat(f64::INFINITY).is_blown_up());
        assert!(!RangeTest::of(&[]).is_blown_up());
    }

    #[test]
    fn nothing_is_suggested_from_nothing() {
        for steps in [vec![], vec![(1e-7, 1.0); 4], vec![(1e-7, 1.0); 50], vec![(1e-7, f64::NAN); 50]] {
            assert_eq!(RangeTest::of(&steps).suggestions, None, "{steps:?}");
        }
        let mut cut = landscape(80);
        let whole = RangeTest::of(&cut[..70]).suggestions;
        cut[70].1 = f64::INFINITY;
        assert_eq!(RangeTest::of(&cut).suggestions, whole, "what follows a loss that is not finite does not count");
    }

    #[test]
    fn the_line_to_paste() {
        let line = |valley| Suggestions { valley, steep: valley, minimum: valley }.line();
        assert_eq!(line(1.32e-4), "grid: {lr: [1e-5, 4e-5, 1e-4, 4e-4, 0.001]}");
        assert_eq!(line(2e-2), "grid: {lr: [0.002, 0.007, 0.02, 0.06, 0.2]}");
    }
}
