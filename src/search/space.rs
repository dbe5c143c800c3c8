//! A space: the keys that a search draws, and the values that each can have.

use super::normal::truncated_quantile;

/// The keys of a search, in the order of the sweep file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Space {
    pub dimensions: Vec<SpaceKey>,
}

/// One key.
#[derive(Debug, Clone, PartialEq)]
pub struct SpaceKey {
    pub domain: Domain,
    /// The key exists where an earlier dimension, a [`Domain::Choice`], has this index; None: always.
    pub condition: Option<Condition>,
    /// What is drawn where nothing is known; None: as [`Domain::draw`] says. For domains that are even, not for lists.
    pub prior: Option<Prior>,
}

/// A normal distribution, cut at the ends of the domain. Its mean lies between them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    pub mean: f64,
    pub sigma: f64,
}

/// Where a conditional key exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Index of the dimension that decides.
    pub dimension: usize,
    /// Its value, as an index of the choice.
    pub choice: usize,
}

/// The values of a key. A coordinate is the value itself, or the index of a choice.
#[derive(Debug, Clone, PartialEq)]
pub enum Domain {
    /// Evenly between the ends.
    Uniform { low: f64, high: f64 },
    /// Evenly in ln between the ends, which are above 0.
    Log { low: f64, high: f64 },
    /// Evenly among `low`, `low + step`, ..., of which there are `count`.
    Steps { low: f64, step: f64, count: u64 },
    /// Whole numbers from `low`, at least 1, to `high`, evenly in ln.
    LogInt { low: u64, high: u64 },
    /// One of several values without an order, each with its weight.
    Choice { weights: Vec<f64> },
}

/// The coordinates of a configuration; None where a key does not exist.
pub type Point = Vec<Option<f64>>;

/// The value `place` steps above `low`, as people write it: `0.6`, and not the nearest sum of numbers of base two.
pub(super) fn step_value(low: f64, step: f64, place: f64) -> f64 {
    let value = low + step * place;
    format!("{value:.11e}").parse().unwrap_or(value)
}

impl From<Domain> for SpaceKey {
    /// A key that always exists.
    fn from(domain: Domain) -> Self {
        Self { domain, condition: None, prior: None }
    }
}

impl SpaceKey {
    /// The coordinate at quantile `u`, in [0, 1), of the prior distribution.
    pub(super) fn draw(&self, u: f64) -> f64 {
        let Some(Prior { mean, sigma }) = self.prior else { return self.domain.draw(u) };
        let (low, high) = self.domain.edges();
        self.domain.unscaled(truncated_quantile(mean, sigma, low, high, u))
    }
}

impl Domain {
    /// The coordinate at quantile `u`, in [0, 1), if all parts of the scale are equally likely.
    #[must_use]
    pub fn draw(&self, u: f64) -> f64 {
        match *self {
            Self::Uniform { low, high } => low + (high - low) * u,
            Self::Log { low, high } => (low.ln() + (high.ln() - low.ln()) * u).exp().clamp(low, high),
            Self::Steps { low, step, count } => {
                step_value(low, step, (count as f64 * u).floor().min(count as f64 - 1.0))
            }
            Self::LogInt { .. } => {
                let (low, high) = self.edges();
                self.nearest((low + (high - low) * u).exp())
            }
            Self::Choice { ref weights } => {
                let mut rest = u * weights.iter().sum::<f64>();
                let mut last = 0;
                for (index, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
                    last = index;
                    rest -= weight;
                    if rest < 0.0 {
                        break;
                    }
                }
                last as f64
            }
        }
    }

    /// The coordinate of a value; None if it is not one of the domain. Not for choices, whose coordinates are indices.
    #[must_use]
    pub fn held(&self, x: f64) -> Option<f64> {
        let nearest = self.nearest(x);
        if !self.is_ordered() {
            return None;
        }
        let (low, high) = self.ends();
        let dust = 1e-9 * (high - low);
        ((low - dust..=high + dust).contains(&x) && (nearest - x).abs() <= dust).then_some(nearest)
    }

    /// How many values there are; None for a continuum.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::Uniform { .. } | Self::Log { .. } => None,
            Self::Steps { count, .. } => Some(*count),
            Self::LogInt { low, high } => Some(high - low + 1),
            Self::Choice { weights } => Some(weights.iter().filter(|weight| **weight > 0.0).count() as u64),
        }
    }

    /// A coordinate on the scale on which values are near or far: ln of it, or itself.
    pub(super) fn scaled(&self, x: f64) -> f64 {
        if self.is_log() { x.ln() } else { x }
    }

    /// The coordinate of a value on the scale of [`Domain::scaled`], moved to the nearest value that exists.
    pub(super) fn unscaled(&self, x: f64) -> f64 {
        match *self {
            Self::Log { low, high } => x.exp().clamp(low, high),
            Self::Uniform { low, high } => x.clamp(low, high),
            _ => self.nearest(if self.is_log() { x.exp() } else { x }),
        }
    }

    /// The ends of the scale. They lie half a step outside where values are discrete.
    pub(super) fn edges(&self) -> (f64, f64) {
        match *self {
            Self::Uniform { low, high } => (low, high),
            Self::Log { low, high } => (low.ln(), high.ln()),
            Self::Steps { low, step, count } => (low - 0.5 * step, low + (count as f64 - 0.5) * step),
            Self::LogInt { low, high } => ((low as f64 - 0.5).ln(), (high as f64 + 0.5).ln()),
            Self::Choice { ref weights } => (-0.5, weights.len() as f64 - 0.5),
        }
    }

    /// The part of the scale that belongs to a discrete value; None for a continuum.
    pub(super) fn cell(&self, x: f64) -> Option<(f64, f64)> {
        match *self {
            Self::Uniform { .. } | Self::Log { .. } => None,
            Self::Steps { step, .. } => Some((x - 0.5 * step, x + 0.5 * step)),
            Self::LogInt { .. } => Some(((x - 0.5).ln(), (x + 0.5).ln())),
            Self::Choice { .. } => Some((x - 0.5, x + 0.5)),
        }
    }

    /// Where a coordinate lies between the ends of the scale, from 0 to 1. The values of a discrete domain are the middles of
    /// equal parts, but for whole numbers that are drawn evenly in ln.
    #[must_use]
    pub fn share(&self, x: f64) -> f64 {
        let (low, high) = self.edges();
        if high > low { ((self.scaled(x) - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 }
    }

    /// The coordinate at a share of the scale, moved to the nearest value that exists.
    #[must_use]
    pub fn at_share(&self, share: f64) -> f64 {
        let (low, high) = self.edges();
        self.unscaled(low + share * (high - low))
    }

    /// The range of some coordinates, one kernel of the estimator wider on each side, inside the range of the domain.
    #[must_use]
    pub fn refined(&self, coordinates: &[f64]) -> (f64, f64) {
        let (low, high) = self.edges();
        let mut scaled: Vec<f64> = coordinates.iter().map(|x| self.scaled(*x)).collect();
        scaled.sort_by(f64::total_cmp);
        let (Some(&first), Some(&last)) = (scaled.first(), scaled.last()) else { return self.ends() };
        // As in the estimator, but that a single one does not reach over the whole range.
        let least = (high - low) / (scaled.len() as f64 + 2.0).min(100.0);
        let gap = |a: Option<&f64>, b: Option<&f64>| a.zip(b).map_or(0.0, |(a, b)| b - a).max(least);
        let below = gap(scaled.first(), scaled.get(1));
        let above = gap(scaled.len().checked_sub(2).and_then(|index| scaled.get(index)), scaled.last());
        (self.unscaled((first - below).max(low)), self.unscaled((last + above).min(high)))
    }

    /// The least and the greatest value.
    #[must_use]
    pub fn ends(&self) -> (f64, f64) {
        match *self {
            Self::Uniform { low, high } | Self::Log { low, high } => (low, high),
            Self::Steps { low, step, count } => (low, step_value(low, step, count as f64 - 1.0)),
            Self::LogInt { low, high } => (low as f64, high as f64),
            Self::Choice { ref weights } => (0.0, weights.len() as f64 - 1.0),
        }
    }

    /// Whether values can be nearer to one another or further away.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        !matches!(self, Self::Choice { .. })
    }

    fn is_log(&self) -> bool {
        matches!(self, Self::Log { .. } | Self::LogInt { .. })
    }

    fn nearest(&self, x: f64) -> f64 {
        match *self {
            Self::Steps { low, step, count } => {
                step_value(low, step, ((x - low) / step).round().clamp(0.0, count as f64 - 1.0))
            }
            Self::LogInt { low, high } => x.round().clamp(low as f64, high as f64),
            _ => x,
        }
    }
}

impl Space {
    /// Whether a dimension exists, where the coordinates of earlier ones are `point`.
    pub(super) fn exists(&self, dimension: usize, point: &[Option<f64>]) -> bool {
        self.dimensions[dimension]
            .condition
            .is_none_or(|condition| point.get(condition.dimension).copied().flatten() == Some(condition.choice as f64))
    }

    /// How many configurations there are; None for infinitely many.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        let top = self.dimensions.iter().enumerate().filter(|(_, dimension)| dimension.condition.is_none());
        top.map(|(index, _)| self.size_of(index)).try_fold(1u64, |product, size| Some(product.saturating_mul(size?)))
    }

    /// Sets of dimensions that always occur together. The set without a condition comes first.
    pub(super) fn groups(&self) -> Vec<Vec<usize>> {
        let mut groups: Vec<(Option<Condition>, Vec<usize>)> = vec![(None, Vec::new())];
        for (index, SpaceKey { condition, .. }) in self.dimensions.iter().enumerate() {
            match groups.iter_mut().find(|(known, _)| known == condition) {
                Some((_, group)) => group.push(index),
                None => groups.push((*condition, vec![index])),
            }
        }
        groups.into_iter().map(|(_, group)| group).filter(|group| !group.is_empty()).collect()
    }

    /// The values of a dimension, each as often as there are configurations of the keys that exist with it alone.
    fn size_of(&self, index: usize) -> Option<u64> {
        let Domain::Choice { weights } = &self.dimensions[index].domain else {
            return self.dimensions[index].domain.size();
        };
        let inner = |choice: usize| {
            let condition = Some(Condition { dimension: index, choice });
            let inner = self.dimensions.iter().enumerate().filter(move |(_, inner)| inner.condition == condition);
            inner
                .map(|(inner, _)| self.size_of(inner))
                .try_fold(1u64, |product, size| Some(product.saturating_mul(size?)))
        };
        let possible = (0..weights.len()).filter(|&choice| weights[choice] > 0.0);
        possible.map(inner).try_fold(0u64, |sum, size| Some(sum.saturating_add(size?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dimension(domain: Domain, condition: Option<(usize, usize)>) -> SpaceKey {
        SpaceKey { condition: condition.map(|(dimension, choice)| Condition { dimension, choice }), ..domain.into() }
    }

    #[test]
    fn values_of_steps_are_those_that_people_write() {
        let steps = Domain::Steps { low: 0.0, step: 0.05, count: 13 };
        assert_eq!((steps.ends(), steps.draw(0.99), steps.nearest(0.31)), ((0.0, 0.6), 0.6, 0.3));
    }

    #[test]
    fn a_space_counts_its_configurations() {
        let choice = |n: usize| Domain::Choice { weights: vec![1.0; n] };
        let steps = |count| Domain::Steps { low: 0.0, step: 0.5, count };
        let plain = Space { dimensions: vec![dimension(choice(3), None), dimension(steps(4), None)] };
        assert_eq!(plain.size(), Some(12));
        let inner = dimension(steps(4), Some((0, 1)));
        let conditional = Space { dimensions: vec![dimension(choice(3), None), inner] };
        assert_eq!((conditional.size(), conditional.groups()), (Some(6), vec![vec![0], vec![1]]));
        assert!(conditional.exists(1, &[Some(1.0)]) && !conditional.exists(1, &[Some(2.0)]));
        let endless = Space { dimensions: vec![dimension(Domain::Log { low: 1.0, high: 2.0 }, None)] };
        assert_eq!(endless.size(), None);
    }

    #[test]
    fn a_share_of_the_scale_leads_to_a_value_and_back() {
        let log = Domain::Log { low: 1e-6, high: 1e-2 };
        assert!((log.share(1e-4) - 0.5).abs() < 1e-12 && (log.at_share(0.25) - 1e-5).abs() < 1e-15);
        let steps = Domain::Steps { low: 8.0, step: 8.0, count: 4 };
        assert_eq!(([8.0, 32.0].map(|x| steps.share(x)), steps.at_share(0.6)), ([0.125, 0.875], 24.0));
        let choice = Domain::Choice { weights: vec![1.0; 2] };
        assert_eq!(([0.0, 1.0].map(|x| choice.share(x)), choice.is_ordered()), ([0.25, 0.75], false));
        assert_eq!(Domain::LogInt { low: 1, high: 64 }.ends(), (1.0, 64.0));
    }

    #[test]
    fn a_refined_range_is_one_kernel_wider() {
        let uniform = Domain::Uniform { low: 0.0, high: 1.0 };
        assert_eq!(uniform.refined(&[0.75, 0.5, 0.625]), (0.3, 0.95), "a fifth of the range for three");
        assert_eq!(uniform.refined(&[0.125, 0.5]), (0.0, 0.875), "not beyond the range");
        let whole = Domain::Steps { low: 1.0, step: 1.0, count: 10 };
        assert_eq!(whole.refined(&[4.0, 4.0, 5.0]), (2.0, 7.0));
        assert_eq!(whole.refined(&[]), (1.0, 10.0));
    }

    #[test]
    fn a_prior_is_drawn_from_within_its_domain() {
        let key = |domain, mean, sigma| SpaceKey { prior: Some(Prior { mean, sigma }), ..SpaceKey::from(domain) };
        let dropout = key(Domain::Uniform { low: 0.0, high: 0.4 }, 0.1, 0.1);
        // Of the normal distribution 0.8399 lies between -1 and 3 sigma, 0.1587 below. The quantile of 0.1587 + 0.42 is 0.1987.
        assert!((dropout.draw(0.5) - 0.119_87).abs() < 1e-4, "{}", dropout.draw(0.5));
        assert_eq!((dropout.draw(0.0), dropout.draw(1.0)), (0.0, 0.4));
        let batch = key(Domain::Steps { low: 8.0, step: 8.0, count: 7 }, 32.0, 8.0);
        let drawn = (0..1000).map(|i| batch.draw((f64::from(i) + 0.5) / 1000.0));
        let at_mean = drawn.filter(|x| (*x - 32.0).abs() < 1e-9).count();
        assert!((382..=384).contains(&at_mean), "0.383 lie within half a sigma of the mean: {at_mean}");
    }

    #[test]
    fn every_draw_is_a_value_of_its_domain() {
        let domains = [
            Domain::Uniform { low: -1.0, high: 0.3 },
            Domain::Log { low: 1e-6, high: 1e-3 },
            Domain::Steps { low: 8.0, step: 8.0, count: 8 },
            Domain::LogInt { low: 1, high: 64 },
            Domain::Choice { weights: vec![0.0, 3.0, 1.0] },
        ];
        for domain in domains {
            for u in [0.0, 1e-9, 0.3, 0.5, 0.999_999, 1.0 - f64::EPSILON] {
                let x = domain.draw(u);
                let (low, high) = domain.edges();
                assert!((low..=high).contains(&domain.scaled(x)), "{domain:?} {u} {x}");
                assert!((domain.unscaled(domain.scaled(x)) - x).abs() <= 1e-12 * x.abs(), "{domain:?} {x}");
            }
        }
        let choice = Domain::Choice { weights: vec![0.0, 3.0, 1.0] };
        assert_eq!([0.0, 0.74, 0.76, 0.999].map(|u| choice.draw(u) as u8), [1, 1, 2, 2]);
    }
}
