//! The tree-structured Parzen estimator (Bergstra et al. 2011), as Optuna 5 has it with `multivariate`, `group` and
//! `constant_liar`.
//!
//! Two densities describe the configurations so far: l the good ones, g all others. The next configuration is the one of
//! 24 draws from l at which l / g is largest. Each density is a mixture over its configurations. The kernel of a number is
//! a truncated normal on the scale of [`Domain::scaled`]; that of a choice spreads a little over all values. A last kernel
//! is the prior.

use super::history::{Observation, split};
use super::normal::{ln_density, ln_mass, truncated_quantile};
use super::space::{Domain, Point, Prior, Space, SpaceKey};
use plateau_random::Random;

/// Draws from l of which the best is taken.
const CANDIDATES: u64 = 24;
/// Newest configurations that have full weight.
const FULL_WEIGHT: usize = 25;
/// A kernel is never narrower than this part of the range.
const NARROWEST: f64 = 100.0;

/// The densities over one group of dimensions that occur together.
pub(super) struct Estimator<'s> {
    good: Mixture<'s>,
    others: Mixture<'s>,
}

impl<'s> Estimator<'s> {
    /// Of the dimensions `group` of a space. Configurations without these keys are left out.
    pub fn new(space: &'s Space, group: &[usize], seen: &[Observation]) -> Self {
        let (below, above) = split(seen);
        let coordinates = |indices: &[usize]| -> Vec<Vec<f64>> {
            let of = |index: &usize| -> Option<Vec<f64>> {
                group.iter().map(|&dimension| seen[*index].point.get(dimension).copied().flatten()).collect()
            };
            indices.iter().filter_map(of).collect()
        };
        let keys: Vec<&SpaceKey> = group.iter().map(|&dimension| &space.dimensions[dimension]).collect();
        let mixture = |indices: &[usize]| Mixture::new(&keys, &coordinates(indices));
        Self { good: mixture(&below), others: mixture(&above) }
    }

    /// Draws from the density of good configurations, the best first.
    pub fn candidates(&self, random: Random) -> Vec<Vec<f64>> {
        let draws = (0..CANDIDATES).map(|index| self.good.draw(random.at(index)));
        let mut scored: Vec<(f64, Vec<f64>)> = draws.map(|x| (self.score(&x), x)).collect();
        scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        scored.into_iter().map(|(_, x)| x).collect()
    }

    /// ln l - ln g.
    fn score(&self, x: &[f64]) -> f64 {
        self.good.ln_density(x) - self.others.ln_density(x)
    }
}

/// A mixture of products: the same weights for all dimensions.
struct Mixture<'s> {
    ln_weights: Vec<f64>,
    kernels: Vec<Kernels<'s>>,
}

impl<'s> Mixture<'s> {
    fn new(keys: &[&'s SpaceKey], coordinates: &[Vec<f64>]) -> Self {
        let weights = weights(coordinates.len());
        let sum: f64 = weights.iter().sum();
        let column = |dimension: usize| coordinates.iter().map(|x| x[dimension]).collect::<Vec<f64>>();
        Self {
            ln_weights: weights.iter().map(|weight| (weight / sum).ln()).collect(),
            kernels: keys.iter().enumerate().map(|(d, key)| Kernels::new(key, &column(d))).collect(),
        }
    }

    fn ln_density(&self, x: &[f64]) -> f64 {
        let mut terms = self.ln_weights.clone();
        for (kernels, &x) in self.kernels.iter().zip(x) {
            kernels.add_ln_density(x, &mut terms);
        }
        let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if largest.is_finite() {
            largest + terms.iter().map(|term| (term - largest).exp()).sum::<f64>().ln()
        } else {
            largest
        }
    }

    fn draw(&self, random: Random) -> Vec<f64> {
        let mut rest = random.unit(0);
        let chosen = self.ln_weights.iter().position(|weight| {
            rest -= weight.exp();
            rest < 0.0
        });
        let kernel = chosen.unwrap_or(self.ln_weights.len() - 1);
        self.kernels.iter().zip(1..).map(|(kernels, index)| kernels.draw(kernel, random.unit(index))).collect()
    }
}

/// Weights of `n` configurations in order, and of the prior: 1 for the newest, a ramp up to 1 for older ones.
fn weights(n: usize) -> Vec<f64> {
    let old = n.saturating_sub(FULL_WEIGHT);
    let first = 1.0 / n.max(1) as f64;
    let ramp = (0..old).map(|i| if old == 1 { first } else { first + (1.0 - first) * i as f64 / (old - 1) as f64 });
    ramp.chain(std::iter::repeat_n(1.0, n - old + 1)).collect()
}

/// The kernels of one dimension, the prior last. Equal ones are held once.
enum Kernels<'s> {
    Normal { domain: &'s Domain, kernels: Vec<Normal>, of: Vec<usize> },
    Choice { probabilities: Vec<Vec<f64>>, of: Vec<usize> },
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Normal {
    mean: f64,
    sigma: f64,
    /// ln of the probability inside the range.
    ln_inside: f64,
    /// ln of the density at the mean.
    ln_peak: f64,
}

impl Normal {
    /// At `x`; of a discrete value, the probability of its `cell`.
    fn ln_density(&self, x: f64, cell: Option<(f64, f64)>) -> f64 {
        let z = |x: f64| (x - self.mean) / self.sigma;
        match cell {
            Some((low, high)) => ln_mass(z(low), z(high)) - self.ln_inside,
            None => self.ln_peak - 0.5 * z(x) * z(x),
        }
    }
}

impl<'s> Kernels<'s> {
    fn new(key: &'s SpaceKey, coordinates: &[f64]) -> Self {
        match &key.domain {
            Domain::Choice { weights } => Self::of_choice(weights, coordinates),
            domain => Self::of_number(domain, key.prior, coordinates),
        }
    }

    fn of_number(domain: &'s Domain, prior: Option<Prior>, coordinates: &[f64]) -> Self {
        let (low, high) = domain.edges();
        let Prior { mean, sigma } = prior.unwrap_or(Prior { mean: f64::midpoint(low, high), sigma: high - low });
        let means: Vec<f64> = coordinates.iter().map(|x| domain.scaled(*x)).collect();
        let mut all: Vec<(f64, f64)> = means.iter().copied().zip(sigmas(&means, low, high)).collect();
        all.push((mean, sigma));
        let mut kernels: Vec<Normal> = Vec::new();
        let mut by_bits = std::collections::HashMap::new();
        let of = all.iter().map(|&(mean, sigma)| {
            *by_bits.entry((mean.to_bits(), sigma.to_bits())).or_insert_with(|| {
                let ln_inside = ln_mass((low - mean) / sigma, (high - mean) / sigma);
                kernels.push(Normal { mean, sigma, ln_inside, ln_peak: ln_density(0.0) - sigma.ln() - ln_inside });
                kernels.len() - 1
            })
        });
        let of = of.collect();
        Self::Normal { domain, kernels, of }
    }

    fn of_choice(weights: &[f64], coordinates: &[f64]) -> Self {
        let sum: f64 = weights.iter().sum();
        let prior: Vec<f64> = weights.iter().map(|weight| weight / sum).collect();
        // The prior's part of each kernel: 1 / (n + 1) for each value where all weigh the same.
        let part = weights.len() as f64 / (coordinates.len() + 1) as f64;
        let kernel = |index: usize| -> Vec<f64> {
            let share =
                |(value, prior): (usize, &f64)| (f64::from(u8::from(value == index)) + part * prior) / (1.0 + part);
            prior.iter().enumerate().map(share).collect()
        };
        let mut probabilities: Vec<Vec<f64>> = (0..weights.len()).map(kernel).collect();
        probabilities.push(prior);
        let of = coordinates.iter().map(|x| *x as usize).chain([weights.len()]).collect();
        Self::Choice { probabilities, of }
    }

    /// Adds ln of each kernel's density at `x`, on its scale; of discrete values, of the probability.
    fn add_ln_density(&self, x: f64, terms: &mut [f64]) {
        match self {
            Self::Normal { domain, kernels, of } => {
                let (at, cell) = (domain.scaled(x), domain.cell(x));
                let values: Vec<f64> = kernels.iter().map(|kernel| kernel.ln_density(at, cell)).collect();
                terms.iter_mut().zip(of).for_each(|(term, &kernel)| *term += values[kernel]);
            }
            Self::Choice { probabilities, of } => {
                let values: Vec<f64> = probabilities.iter().map(|kernel| kernel[x as usize].ln()).collect();
                terms.iter_mut().zip(of).for_each(|(term, &kernel)| *term += values[kernel]);
            }
        }
    }

    fn draw(&self, kernel: usize, u: f64) -> f64 {
        match self {
            Self::Normal { domain, kernels, of } => {
                let Normal { mean, sigma, .. } = kernels[of[kernel]];
                let (low, high) = domain.edges();
                domain.unscaled(truncated_quantile(mean, sigma, low, high, u))
            }
            Self::Choice { probabilities, of } => Domain::Choice { weights: probabilities[of[kernel]].clone() }.draw(u),
        }
    }
}

/// The width of each kernel: the distance to its farther neighbour, within limits.
fn sigmas(means: &[f64], low: f64, high: f64) -> Vec<f64> {
    let n = means.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| means[a].total_cmp(&means[b]));
    let range = high - low;
    let least = range / NARROWEST.min(n as f64 + 2.0);
    let mut sigmas = vec![0.0; n];
    for (place, &index) in order.iter().enumerate() {
        let left = place.checked_sub(1).map(|before| means[index] - means[order[before]]);
        let right = order.get(place + 1).map(|&after| means[after] - means[index]);
        // The outermost of several know one neighbour; a single one has the ends of the range.
        let widest = match (left, right) {
            (None, None) => (means[index] - low).max(high - means[index]),
            (Some(left), Some(right)) => left.max(right),
            (Some(only), None) | (None, Some(only)) => only,
        };
        sigmas[index] = widest.clamp(least, range);
    }
    sigmas
}

/// The coordinates of a group as part of a point.
pub(super) fn place(group: &[usize], x: &[f64], point: &mut Point) {
    for (&dimension, &x) in group.iter().zip(x) {
        point[dimension] = Some(x);
    }
}

#[cfg(test)]
pub(super) mod reference {
    use super::*;

    /// ln l and ln g at a point, for tests against Optuna.
    pub fn ln_densities(space: &Space, seen: &[Observation], x: &[f64]) -> (f64, f64) {
        let group: Vec<usize> = (0..space.dimensions.len()).collect();
        let estimator = Estimator::new(space, &group, seen);
        (estimator.good.ln_density(x), estimator.others.ln_density(x))
    }
}
