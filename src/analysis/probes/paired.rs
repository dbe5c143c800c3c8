//! The paired comparison of two sets of runs that read the same batches with the same seeds.

use crate::analysis::statistics::{mean, t_quantile};

/// Most blocks that a series of batches is cut into. Neighbouring batches are correlated and must not count as independent.
const MOST_BLOCKS: usize = 6;
/// Least number of batches in a block.
const FEWEST_IN_BLOCK: usize = 3;
/// Two-sided confidence level of an interval.
const CONFIDENCE: f64 = 0.95;

/// A mean paired difference with its standard error and confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effect {
    /// Probe minus control.
    pub mean: f64,
    pub error: f64,
    /// The 95 % confidence interval.
    pub low: f64,
    pub high: f64,
    pub seeds: usize,
}

/// What a probe did to a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    Lowered,
    Raised,
    /// The confidence interval contains zero, or the effect is too small to matter.
    Undetected,
}

impl Effect {
    /// `least` is the smallest effect that matters.
    #[must_use]
    pub fn change(&self, least: f64) -> Change {
        if self.high < 0.0 && self.mean < -least {
            Change::Lowered
        } else if self.low > 0.0 && self.mean > least {
            Change::Raised
        } else {
            Change::Undetected
        }
    }
}

/// Compares two sets of series. `probe[i]` and `control[i]` belong to one seed, and each value to one batch or evaluation.
/// All series are cut to the shortest. None for fewer than two numbers.
///
/// The differences are averaged over blocks of neighbouring batches. A two-way layout (seeds by blocks) splits their variance
/// into three parts: between seeds, along the course that all seeds share, and the rest. The standard error of the mean is that
/// of a one-way random effect. It uses the variance between seeds. Where the rest is greater, it uses both, pooled. This is the
/// restricted maximum likelihood estimate for a balanced layout (Searle, Casella and `McCulloch`, Variance Components, 1992,
/// 3.8). The confidence interval is Student's with the degrees of freedom of that variance.
#[must_use]
pub fn paired(probe: &[Vec<f64>], control: &[Vec<f64>]) -> Option<Effect> {
    let pairs = || probe.iter().zip(control);
    let length = pairs().map(|(p, c)| p.len().min(c.len())).min()?;
    let blocks = (length / FEWEST_IN_BLOCK).clamp(1, MOST_BLOCKS);
    let difference = |p: &[f64], c: &[f64]| -> Vec<f64> {
        let each: Vec<f64> = p.iter().zip(c).take(length).map(|(p, c)| p - c).collect();
        (0..blocks).map(|b| mean(&each[b * length / blocks..(b + 1) * length / blocks])).collect()
    };
    let table: Vec<Vec<f64>> = pairs().map(|(p, c)| difference(p, c)).collect();
    if length == 0 || table.iter().flatten().any(|cell| !cell.is_finite()) {
        return None;
    }
    let (variance, freedom) = variance(&table)?;
    let seeds = table.len();
    let mean = mean(&table.iter().flatten().copied().collect::<Vec<_>>());
    let error = (variance / (seeds * blocks) as f64).sqrt();
    let half = t_quantile(f64::midpoint(1.0, CONFIDENCE), freedom) * error;
    Some(Effect { mean, error, low: mean - half, high: mean + half, seeds })
}

/// The mean square behind the standard error of the mean, and its degrees of freedom.
fn variance(table: &[Vec<f64>]) -> Option<(f64, f64)> {
    let (seeds, blocks) = (table.len(), table.first()?.len());
    let rows: Vec<f64> = table.iter().map(|row| mean(row)).collect();
    let columns: Vec<f64> = (0..blocks).map(|b| table.iter().map(|row| row[b]).sum::<f64>() / seeds as f64).collect();
    let whole = mean(&rows);
    let squares = |values: &[f64]| values.iter().map(|value| (value - whole).powi(2)).sum::<f64>();
    if seeds < 2 {
        // With one seed, the variance between blocks stands in for that between seeds.
        return (blocks > 1).then(|| (squares(&columns) / (blocks - 1) as f64, (blocks - 1) as f64));
    }
    let between = blocks as f64 * squares(&rows);
    let rest: f64 = table
        .iter()
        .zip(&rows)
        .flat_map(|(row, of_seed)| row.iter().zip(&columns).map(move |(cell, of_block)| (cell, of_seed, of_block)))
        .map(|(cell, of_seed, of_block)| (cell - of_seed - of_block + whole).powi(2))
        .sum();
    let (n, m) = ((seeds - 1) as f64, ((seeds - 1) * (blocks - 1)) as f64);
    let alone = (between / n, n);
    let pooled = ((between + rest) / (n + m), n + m);
    Some(if pooled.0 > alone.0 { pooled } else { alone })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A deterministic stream of standard normal numbers.
    fn normals(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        move || {
            let mut sum = -6.0;
            for _ in 0..12 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                sum += (state >> 11) as f64 / (1u64 << 53) as f64;
            }
            sum
        }
    }

    /// Probe and control whose batches are alike, and that differ by `effect` and noise: of each seed, of each batch.
    fn runs(stream: u64, (seeds, n): (usize, usize), effect: f64, of_seed: f64, of_batch: f64) -> [Vec<Vec<f64>>; 2] {
        let mut normal = normals(stream + 1);
        let mut both = [Vec::new(), Vec::new()];
        for _ in 0..seeds {
            let shift = of_seed * normal();
            let control: Vec<f64> = (0..n).map(|_| 1.0 + 0.3 * normal()).collect();
            both[0].push(control.iter().map(|loss| loss + effect + shift + of_batch * normal()).collect());
            both[1].push(control);
        }
        both
    }

    fn compare([probe, control]: &[Vec<Vec<f64>>; 2]) -> Effect {
        paired(probe, control).unwrap()
    }

    #[test]
    fn by_hand() {
        // Differences of blocks: (1, 3) and (3, 5). Between seeds: 2 * ((2 - 3)^2 + (4 - 3)^2) / 1 = 4; the rest: none.
        let series = |first: f64| vec![first, first, first, first + 2.0, first + 2.0, first + 2.0];
        let effect = paired(&[series(1.0), series(3.0)], &[vec![0.0; 6], vec![0.0; 6]]).unwrap();
        assert!((effect.mean - 3.0).abs() < 1e-12 && (effect.error - 1.0).abs() < 1e-12, "{effect:?}");
        // t(0.975, 1) = 12.706.
        assert!((effect.high - 15.706_205).abs() < 1e-4 && effect.seeds == 2, "{effect:?}");
        assert_eq!(paired(&[], &[]), None);
        assert_eq!(paired(&[vec![1.0]], &[vec![0.5]]), None, "one number has no error");
        assert_eq!(paired(&[vec![f64::NAN; 9]], &[vec![0.5; 9]]), None);
        let one = paired(&[vec![0.5; 12]], &[vec![1.0; 12]]).unwrap();
        assert_eq!((one.mean, one.error, one.change(0.1)), (-0.5, 0.0, Change::Lowered));
        assert_eq!(one.change(0.6), Change::Undetected, "certain, and too small");
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        for (of_seed, of_batch) in [(0.0, 0.1), (0.05, 0.1), (0.1, 0.01)] {
            let found = (0..2000).filter(|i| {
                let effect = compare(&runs(*i, (3, 24), 0.0, of_seed, of_batch));
                effect.change(0.0) != Change::Undetected
            });
            let share = found.count() as f64 / 2000.0;
            assert!(share < 0.065, "{share} false alarms with {of_seed} between seeds, {of_batch} between batches");
        }
    }

    #[test]
    fn what_is_there_is_found_below_the_noise_of_batches() {
        // Batches scatter by 0.3: unpaired, an effect of 0.05 would drown.
        let found =
            (0..500).filter(|i| compare(&runs(*i, (3, 24), -0.05, 0.002, 0.03)).change(0.01) == Change::Lowered);
        let share = found.count() as f64 / 500.0;
        assert!(share > 0.9, "{share} found");
    }

    proptest! {
        #[test]
        fn swapping_turns_the_sign_and_shifting_nothing(
            stream in 0u64..1000, seeds in 1usize..6, n in 6usize..60, effect in -1.0..1.0, shift in -5.0..5.0,
        ) {
            let [probe, control] = runs(stream, (seeds, n), effect, 0.1, 0.1);
            let there = paired(&probe, &control).unwrap();
            let back = paired(&control, &probe).unwrap();
            prop_assert!((there.mean + back.mean).abs() < 1e-9 && (there.error - back.error).abs() < 1e-9);
            prop_assert!((there.low + back.high).abs() < 1e-6);
            // What both have in common, batch by batch, is of no account.
            let moved = |series: &[Vec<f64>]| -> Vec<Vec<f64>> {
                series.iter().map(|one| (0..).zip(one).map(|(k, x)| x + shift * f64::from(k)).collect()).collect()
            };
            let shifted = paired(&moved(&probe), &moved(&control)).unwrap();
            prop_assert!((there.mean - shifted.mean).abs() < 1e-6 && (there.error - shifted.error).abs() < 1e-6);
            prop_assert!(there.low <= there.mean && there.mean <= there.high && there.seeds == seeds);
        }

        #[test]
        fn units_do_not_matter(stream in 0u64..1000, scale in 0.001_f64..1000.0) {
            let both = runs(stream, (3, 20), 0.1, 0.05, 0.1);
            let scaled: [Vec<Vec<f64>>; 2] = both.clone().map(|series: Vec<Vec<f64>>| {
                series.iter().map(|one| one.iter().map(|x| x * scale).collect()).collect()
            });
            let (plain, scaled): (Effect, Effect) = (compare(&both), compare(&scaled));
            prop_assert_eq!(plain.change(0.02), scaled.change(0.02 * scale));
            prop_assert!((plain.error * scale - scaled.error).abs() < 1e-9 * scale.max(1.0));
        }

        #[test]
        fn any_numbers_give_an_answer_or_none(series in prop::collection::vec(prop::collection::vec(prop::num::f64::ANY, 0..12), 0..5)) {
            if let Some(effect) = paired(&series, &series) {
                prop_assert_eq!(effect.change(0.0), Change::Undetected);
            }
        }
    }
}
