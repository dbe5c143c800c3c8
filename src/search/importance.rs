//! How much each key of a space matters: PED-ANOVA (Watanabe, Bansal and Hutter 2023), as Optuna 5 has it.
//!
//! For each key, the density of its values in the best configurations is compared with a baseline: the density over all
//! configurations, or an even one. A key matters if the two differ.

use super::normal::ln_mass;
use super::space::{Domain, Point, Space};
use plateau_random::{Purpose, Random};

/// Points that a continuous range is cut into.
const POINTS: usize = 50;
/// Added to every probability, against a division by zero.
const TINY: f64 = 1e-12;

/// What the best configurations are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// All configurations. Depends on the sampler.
    Tried,
    /// The whole space, evenly.
    Space,
}

/// The importance of each dimension: not negative, with sum 1. `tried` holds points with their values, which are
/// minimised; the best `share` of them counts as good. None if there are no values, or nothing differs.
#[must_use]
pub fn importance(space: &Space, tried: &[(Point, f64)], share: f64, baseline: Baseline) -> Option<Vec<f64>> {
    let mut values: Vec<f64> = tried.iter().map(|(_, value)| *value).collect();
    values.sort_by(f64::total_cmp);
    let last_good = ((share * values.len() as f64).ceil() as usize).checked_sub(1)?;
    let limit = *values.get(last_good)?;
    let of = |index: usize| -> f64 {
        let grid = Grid::of(&space.dimensions[index].domain);
        let places = |fits: &dyn Fn(f64) -> bool| -> Vec<usize> {
            let with = tried.iter().filter(|(_, value)| fits(*value));
            with.filter_map(|(point, _)| point.get(index).copied().flatten()).map(|x| grid.nearest(x)).collect()
        };
        let good = places(&|value| value <= limit);
        let all = places(&|_| true);
        if good.is_empty() {
            return 0.0;
        }
        let base = match baseline {
            Baseline::Tried => grid.density(&all),
            Baseline::Space => vec![1.0 / grid.size as f64; grid.size],
        };
        let pairs = grid.density(&good).into_iter().zip(base).map(|(p, q)| (p + TINY, q + TINY));
        pairs.map(|(p, q)| q * (p / q - 1.0).powi(2)).sum()
    };
    let raw: Vec<f64> = (0..space.dimensions.len()).map(of).collect();
    let sum: f64 = raw.iter().sum();
    (sum > 0.0).then(|| raw.iter().map(|importance| importance / sum).collect())
}

/// The importance of a dimension, and where 90 % of its bootstrap samples lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImportanceInterval {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// As [`importance`], each with the interval of `samples` draws of as many configurations with replacement. The same
/// configurations give the same intervals.
#[must_use]
pub fn importance_intervals(
    space: &Space,
    tried: &[(Point, f64)],
    share: f64,
    baseline: Baseline,
    samples: u64,
) -> Option<Vec<ImportanceInterval>> {
    let values = importance(space, tried, share, baseline)?;
    let random = Random::new(0, Purpose::Search);
    let sample = |index: u64| {
        let random = random.at(index);
        let drawn = (0..tried.len()).map(|i| tried[random.below(i as u64, tried.len())].clone());
        importance(space, &drawn.collect::<Vec<_>>(), share, baseline)
    };
    let drawn: Vec<Vec<f64>> = (0..samples).filter_map(sample).collect();
    let interval = |(dimension, value): (usize, f64)| {
        let mut of: Vec<f64> = drawn.iter().map(|sample| sample[dimension]).collect();
        of.sort_by(f64::total_cmp);
        let at = |share: f64| of.get((share * of.len() as f64) as usize).copied().unwrap_or(value);
        ImportanceInterval { value, low: at(0.05), high: at(0.95) }
    };
    Some(values.into_iter().enumerate().map(interval).collect())
}

/// A domain cut into points at equal distances.
struct Grid<'s> {
    domain: &'s Domain,
    low: f64,
    high: f64,
    size: usize,
}

impl<'s> Grid<'s> {
    fn of(domain: &'s Domain) -> Self {
        let (low, high, size) = match *domain {
            Domain::Uniform { low, high } => (low, high, POINTS),
            Domain::Log { low, high } => (low.ln(), high.ln(), POINTS),
            Domain::Steps { low, step, count } => (low, low + step * (count as f64 - 1.0), POINTS.min(count as usize)),
            Domain::LogInt { low, high } => {
                let size = ((high - low + 1) as f64).log2().ceil() as usize + 1;
                ((low as f64).ln(), (high as f64).ln(), size)
            }
            Domain::Choice { ref weights } => (0.0, weights.len() as f64 - 1.0, weights.len()),
        };
        Self { domain, low, high, size }
    }

    /// The nearest point. If two are equally near, it is the lower one.
    fn nearest(&self, x: f64) -> usize {
        let last = self.size as f64 - 1.0;
        let place = (self.domain.scaled(x) - self.low) / (self.high - self.low) * last;
        // One point alone has no distance to another.
        if place.is_finite() { (place - 0.5).ceil().clamp(0.0, last) as usize } else { 0 }
    }

    /// The density of points at these places, with the prior.
    fn density(&self, places: &[usize]) -> Vec<f64> {
        let mut counts = vec![0usize; self.size];
        for &place in places {
            counts[place] += 1;
        }
        let occupied: Vec<usize> = (0..self.size).filter(|&place| counts[place] > 0).collect();
        let mut kernels: Vec<(f64, Vec<f64>)> = Vec::new();
        if matches!(self.domain, Domain::Choice { .. }) {
            let part = 1.0 / (occupied.len() + 1) as f64;
            let whole = 1.0 + part * self.size as f64;
            for &place in &occupied {
                let share = |other: usize| (part + f64::from(u8::from(other == place))) / whole;
                kernels.push((counts[place] as f64, (0..self.size).map(share).collect()));
            }
            kernels.push((1.0, vec![1.0 / self.size as f64; self.size]));
        } else {
            let sigma = self.bandwidth(&counts, places.len());
            kernels.extend(occupied.iter().map(|&place| (counts[place] as f64, self.normal(place as f64, sigma))));
            kernels.push((1.0, self.normal(0.5 * (self.size as f64 - 1.0), self.size as f64)));
        }
        let sum = places.len() as f64 + 1.0;
        let at = |place: usize| kernels.iter().map(|(weight, kernel)| weight / sum * kernel[place]).sum();
        (0..self.size).map(at).collect()
    }

    /// Probabilities of the points under a normal around `mean`.
    fn normal(&self, mean: f64, sigma: f64) -> Vec<f64> {
        let z = |edge: f64| (edge - mean) / sigma;
        let inside = ln_mass(z(-0.5), z(self.size as f64 - 0.5));
        let at = |place: usize| (ln_mass(z(place as f64 - 0.5), z(place as f64 + 0.5)) - inside).exp();
        (0..self.size).map(at).collect()
    }

    /// Scott's rule, from the smaller of standard deviation and interquartile range.
    fn bandwidth(&self, counts: &[usize], n: usize) -> f64 {
        let count = n as f64;
        let mean = counts.iter().enumerate().map(|(place, &c)| place as f64 * c as f64).sum::<f64>() / count;
        let squares =
            counts.iter().enumerate().map(|(place, &c)| c as f64 * (place as f64 - mean).powi(2)).sum::<f64>();
        let deviation = (squares / (count - 1.0).max(1.0)).sqrt();
        let mut below = 0;
        let sums: Vec<usize> = counts
            .iter()
            .map(|c| {
                below += c;
                below
            })
            .collect();
        let first = sums.iter().position(|&sum| sum >= n / 4).unwrap_or(0);
        let third = sums.iter().position(|&sum| sum > 3 * n / 4).unwrap_or(self.size - 1);
        let range = third.saturating_sub(first) as f64;
        (1.059 * (range / 1.34).min(deviation) * count.powf(-0.2)).max(0.5 / 1.64)
    }
}
