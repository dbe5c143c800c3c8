//! A space: the keys that a search draws, and the values that each can have.

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

impl Domain {
    /// The coordinate at quantile `u`, in [0, 1), of the prior distribution.
    #[must_use]
    pub fn draw(&self, u: f64) -> f64 {
        match *self {
            Self::Uniform { low, high } => low + (high - low) * u,
            Self::Log { low, high } => (low.ln() + (high.ln() - low.ln()) * u).exp().clamp(low, high),
            Self::Steps { low, step, count } => low + step * (count as f64 * u).floor().min(count as f64 - 1.0),
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
        let (low, high) = match *self {
            Self::Uniform { low, high } | Self::Log { low, high } => (low, high),
            Self::Steps { low, step, count } => (low, low + step * (count as f64 - 1.0)),
            Self::LogInt { low, high } => (low as f64, high as f64),
            Self::Choice { .. } => return None,
        };
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

    fn is_log(&self) -> bool {
        matches!(self, Self::Log { .. } | Self::LogInt { .. })
    }

    fn nearest(&self, x: f64) -> f64 {
        match *self {
            Self::Steps { low, step, count } => low + step * ((x - low) / step).round().clamp(0.0, count as f64 - 1.0),
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
        SpaceKey { domain, condition: condition.map(|(dimension, choice)| Condition { dimension, choice }) }
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
