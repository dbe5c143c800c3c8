//! The next configuration of a search, as a function of the space, the settings, its number, and what it may see.
//!
//! Nothing else enters: no state, no clock, no order of arrival. The same call gives the same answer on every machine.

use super::history::Observation;
use super::space::{Domain, Point, Space, step_value};
use super::tpe::{Estimator, place};
use plateau_random::{Purpose, Random};

/// How configurations are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampler {
    /// Independent draws.
    Random,
    /// An Owen-scrambled Sobol sequence (Burley 2020).
    Sobol,
    /// [`super::tpe`], after `startup` configurations of the Sobol sequence.
    Tpe { startup: u64 },
}

/// The settings that a proposal depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchSettings {
    pub sampler: Sampler,
    pub seed: u64,
}

/// Most draws of the prior before a finite space is searched value by value.
const MOST_DRAWS: u64 = 1000;
/// Dimensions that the Sobol sequence has.
const SOBOL_DIMENSIONS: u32 = sobol_burley::NUM_DIMENSIONS;
/// Significant digits of drawn numbers. They keep labels short, and cost nothing (medians of three functions after 60
/// configurations are the same or lower).
const DIGITS: usize = 3;
/// Least number of different values of a continuum. A narrower one has more digits.
const LEAST_VALUES: f64 = 20.0;

/// Significant digits that tell enough numbers of a range apart.
#[must_use]
pub fn digits(low: f64, high: f64) -> usize {
    let magnitude = low.abs().max(high.abs()).log10().floor() as i32;
    let unit = |digits: usize| 10_f64.powi(magnitude + 1 - digits as i32);
    (DIGITS..f64::DIGITS as usize)
        .find(|digits| unit(*digits) * LEAST_VALUES <= high - low)
        .unwrap_or(f64::DIGITS as usize)
}

/// Configuration `number` of a search, where `seen` is what it may know of the ones before. `is_taken` is asked for one point
/// after the other whether the sweep holds it already; the first that it does not hold is the result. None if there is no point
/// left.
#[must_use]
pub fn propose(
    space: &Space,
    settings: SearchSettings,
    number: u64,
    seen: &[Observation],
    mut is_taken: impl FnMut(&Point) -> bool,
) -> Option<Point> {
    let random = Random::new(settings.seed, Purpose::Search).at(number);
    let first = match settings.sampler {
        Sampler::Random => vec![independent(space, random.at(0))],
        Sampler::Sobol => vec![quasi_random(space, settings.seed, number)],
        Sampler::Tpe { startup } if number < startup => vec![quasi_random(space, settings.seed, number)],
        Sampler::Tpe { .. } => estimated(space, seen, random.at(1)),
    };
    let prior = (1..=MOST_DRAWS).map(|index| independent(space, random.at(2).at(index)));
    let chosen = first.into_iter().chain(prior).map(|point| rounded(space, point)).find(|point| !is_taken(point));
    chosen.or_else(|| Points::of(space)?.find(|point| !is_taken(point)))
}

/// A draw from the prior.
fn independent(space: &Space, random: Random) -> Point {
    drawn(space, |dimension| random.unit(dimension as u64))
}

/// The point of the Sobol sequence at `index`. Dimensions that it does not have are drawn at random.
fn quasi_random(space: &Space, seed: u64, index: u64) -> Point {
    let random = Random::new(seed, Purpose::Search).at(index).at(0);
    let scramble = (seed ^ (seed >> 32)) as u32;
    drawn(space, |dimension| match (u32::try_from(dimension), u32::try_from(index)) {
        (Ok(dimension), Ok(index)) if dimension < SOBOL_DIMENSIONS && index < 1 << 16 => {
            f64::from(sobol_burley::sample(index, dimension, scramble))
        }
        _ => random.unit(dimension as u64),
    })
}

fn drawn(space: &Space, unit: impl Fn(usize) -> f64) -> Point {
    let mut point: Point = Vec::with_capacity(space.dimensions.len());
    for (index, dimension) in space.dimensions.iter().enumerate() {
        let value = space.exists(index, &point).then(|| dimension.draw(unit(index)));
        point.push(value);
    }
    point
}

/// The candidates of the estimator, the best first. Keys that exist only with some choice have estimators of their own.
fn estimated(space: &Space, seen: &[Observation], random: Random) -> Vec<Point> {
    let groups = space.groups();
    let estimators: Vec<Estimator<'_>> = groups.iter().map(|group| Estimator::new(space, group, seen)).collect();
    let Some((outer, estimator)) = groups.first().zip(estimators.first()) else { return Vec::new() };
    let candidates = estimator.candidates(random.at(0)).into_iter().map(|x| {
        let mut point: Point = vec![None; space.dimensions.len()];
        place(outer, &x, &mut point);
        for (index, (group, estimator)) in groups.iter().zip(&estimators).enumerate().skip(1) {
            if group.iter().all(|&dimension| space.exists(dimension, &point))
                && let Some(best) = estimator.candidates(random.at(index as u64)).into_iter().next()
            {
                place(group, &best, &mut point);
            }
        }
        point
    });
    candidates.collect()
}

/// Numbers of a continuum with few digits, inside their range.
fn rounded(space: &Space, mut point: Point) -> Point {
    for (dimension, coordinate) in space.dimensions.iter().zip(&mut point) {
        if let (Domain::Uniform { low, high } | Domain::Log { low, high }, Some(x)) = (&dimension.domain, coordinate) {
            let short = format!("{x:.*e}", digits(*low, *high) - 1).parse().unwrap_or(*x);
            *x = f64::clamp(short, *low, *high);
        }
    }
    point
}

/// All points of a finite space, in order.
struct Points<'s> {
    space: &'s Space,
    /// Place of each coordinate among the values of its dimension; None at the end.
    next: Option<Vec<u64>>,
}

impl<'s> Points<'s> {
    /// None of an infinite space.
    fn of(space: &'s Space) -> Option<Self> {
        space.size().filter(|size| *size > 0)?;
        Some(Self { space, next: Some(vec![0; space.dimensions.len()]) })
    }

    fn values_of(&self, dimension: usize) -> u64 {
        match &self.space.dimensions[dimension].domain {
            Domain::Choice { weights } => weights.len() as u64,
            domain => domain.size().unwrap_or(1),
        }
    }

    /// The point at these places. None if they name no point: a choice with weight 0, or a value of a key that does not exist.
    fn point(&self, places: &[u64]) -> Option<Point> {
        let mut point: Point = Vec::with_capacity(places.len());
        for (index, (dimension, &place)) in self.space.dimensions.iter().zip(places).enumerate() {
            let exists = self.space.exists(index, &point);
            match &dimension.domain {
                Domain::Choice { weights } if exists && weights[place as usize] <= 0.0 => return None,
                _ if !exists && place > 0 => return None,
                _ => {}
            }
            let value = match &dimension.domain {
                Domain::Steps { low, step, .. } => step_value(*low, *step, place as f64),
                Domain::LogInt { low, .. } => (low + place) as f64,
                _ => place as f64,
            };
            point.push(exists.then_some(value));
        }
        Some(point)
    }
}

impl Iterator for Points<'_> {
    type Item = Point;

    fn next(&mut self) -> Option<Point> {
        loop {
            let places = self.next.take()?;
            let point = self.point(&places);
            let mut following = places;
            let last = (0..following.len()).rev().find(|&d| following[d] + 1 < self.values_of(d));
            if let Some(last) = last {
                following[last] += 1;
                following[last + 1..].fill(0);
                self.next = Some(following);
            }
            if point.is_some() {
                return point;
            }
        }
    }
}
