//! A key of a search as an axis: its name, its ticks, and the position of each configuration on it.

use crate::report::canvas::axis;
use crate::report::canvas::font;
use crate::report::format;
use crate::search::{Domain, Point, SearchHistory};
use crate::trial::{Key, number_text};

/// A key of a search.
pub struct KeyAxis {
    /// Index in the space.
    pub dimension: usize,
    pub title: String,
    /// A short title for a narrow place.
    pub short: String,
    /// Positions from 0 to 1, and their labels.
    pub ticks: Vec<(f64, String)>,
    /// Whether values can be nearer to one another or further away.
    pub ordered: bool,
    /// The width of the part that a discrete value has; None for a continuum.
    pub part: Option<f64>,
    /// Where it exists if not everywhere: `with scheduler cosine`.
    pub condition: Option<String>,
    domain: Domain,
}

impl KeyAxis {
    /// The axes of all keys, in the order of the sweep file.
    pub fn all(history: &SearchHistory) -> Vec<Self> {
        (0..history.space.dimensions.len()).map(|dimension| Self::of(history, dimension)).collect()
    }

    fn of(history: &SearchHistory, dimension: usize) -> Self {
        let (key, name) = (&history.space.dimensions[dimension], &history.names[dimension]);
        let domain = key.domain.clone();
        let unit = if matches!(domain, Domain::Log { .. } | Domain::LogInt { .. }) { " (log)" } else { "" };
        let long =
            if Key::LearningRate.is(&name.path) { "learning rate".into() } else { format::axis_name(&name.path) };
        let condition = key.condition.map(|condition| {
            let outer = &history.names[condition.dimension];
            let value = outer.values.get(condition.choice).map_or("?", String::as_str);
            format!("with {} {value}", format::axis_name(&outer.path))
        });
        let part = domain.size().map(|size| 1.0 / size.max(1) as f64);
        Self {
            dimension,
            title: font::printable(&format!("{long}{unit}"), false),
            short: font::printable(format::short_axis_name(&name.path), false),
            ticks: ticks(&domain, &name.values),
            ordered: domain.is_ordered(),
            part,
            condition,
            domain,
        }
    }

    /// The position of a configuration; None where it does not have the key.
    pub fn share(&self, point: &Point) -> Option<f64> {
        Some(self.domain.share(point.get(self.dimension).copied().flatten()?))
    }

    /// As [`KeyAxis::share`], but configurations with the same discrete value lie beside each other. `index` tells them apart.
    pub fn spread(&self, point: &Point, index: usize) -> Option<f64> {
        // Multiples of the golden ratio spread any number of points evenly.
        let aside = (index as f64 * 0.618_034).fract() - 0.5;
        Some(self.share(point)? + self.part.map_or(0.0, |part| 0.6 * part.min(0.25) * aside))
    }
}

/// The positions that are named.
fn ticks(domain: &Domain, values: &[String]) -> Vec<(f64, String)> {
    if !values.is_empty() {
        let label = |(index, text): (usize, &String)| (domain.share(index as f64), font::printable(text, false));
        return values.iter().enumerate().map(label).collect();
    }
    let (low, high) = domain.ends();
    let at = |x: f64| (domain.share(x), number_text(x));
    match *domain {
        Domain::Log { .. } | Domain::LogInt { .. } => round_in_ln(low, high).into_iter().map(at).collect(),
        Domain::Steps { step, count, .. } if count <= 6 => {
            (0..count).map(|index| low + step * index as f64).map(|x| (domain.share(x), short(x))).collect()
        }
        _ => {
            let whole = matches!(*domain, Domain::Steps { step, .. } if step.fract() == 0.0 && low.fract() == 0.0);
            let (found, digits) = axis::ticks(low, high, 4);
            let fits = |x: &f64| !whole || x.fract().abs() < 1e-9;
            let text = |x: f64| (domain.share(x), axis::tick_text(x, if whole { 0 } else { digits }));
            found.into_iter().filter(fits).map(text).collect()
        }
    }
}

/// A number without the dust of binary fractions.
fn short(x: f64) -> String {
    crate::trial::rounded_text(x, 6)
}

/// Round numbers at even distances in ln: powers of ten, or 1, 2, 5 and their multiples if the range is narrow.
fn round_in_ln(low: f64, high: f64) -> Vec<f64> {
    let powers = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
    let of = |digits: &[u8]| -> Vec<f64> {
        let all = powers.clone().flat_map(|power| digits.iter().map(move |digit| format!("{digit}e{power}")));
        let all = all.filter_map(|text| text.parse().ok());
        all.filter(|x: &f64| *x >= low * (1.0 - 1e-9) && *x <= high * (1.0 + 1e-9)).collect()
    };
    let tens = of(&[1]);
    if tens.len() >= 3 { tens } else { of(&[1, 2, 5]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{DimensionName, Space};

    fn axes_of(space: Space, names: Vec<DimensionName>) -> Vec<KeyAxis> {
        KeyAxis::all(&SearchHistory {
            space,
            names,
            draws: Vec::new(),
            size: None,
            grid: Vec::new(),
            budget: None,
            repetitions: 1,
            ended: None,
        })
    }

    fn labels(domain: Domain, values: &[&str]) -> String {
        let space = Space { dimensions: vec![domain.into()] };
        let values = values.iter().map(|text| (*text).to_owned()).collect();
        let names = vec![DimensionName { path: "lr".into(), values, greatest: None }];
        let axes = axes_of(space, names);
        let tick = |(at, text): &(f64, String)| format!("{text} {at:.2}");
        axes[0].ticks.iter().map(tick).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn ticks_are_round_numbers_or_all_values() {
        assert_eq!(labels(Domain::Log { low: 1e-6, high: 1e-3 }, &[]), "1e-6 0.00, 1e-5 0.33, 1e-4 0.67, 0.001 1.00");
        assert_eq!(labels(Domain::Log { low: 1e-4, high: 1e-3 }, &[]), "1e-4 0.00, 2e-4 0.30, 5e-4 0.70, 0.001 1.00");
        assert_eq!(labels(Domain::Uniform { low: 0.0, high: 0.3 }, &[]), "0.0 0.00, 0.1 0.33, 0.2 0.67, 0.3 1.00");
        let steps = Domain::Steps { low: 1.0, step: 1.0, count: 4 };
        assert_eq!(labels(steps, &[]), "1 0.12, 2 0.38, 3 0.62, 4 0.88");
        let fine = Domain::Steps { low: 0.0, step: 0.05, count: 13 };
        assert_eq!(labels(fine, &[]), "0.0 0.04, 0.2 0.35, 0.4 0.65, 0.6 0.96");
        let list = Domain::Steps { low: 0.0, step: 1.0, count: 2 };
        assert_eq!(labels(list, &["8", "16"]), "8 0.25, 16 0.75");
        assert_eq!(labels(Domain::Choice { weights: vec![1.0, 3.0] }, &["none", "eda"]), "none 0.25, eda 0.75");
    }

    #[test]
    fn equal_values_lie_beside_each_other() {
        let space = Space { dimensions: vec![Domain::Choice { weights: vec![1.0; 2] }.into()] };
        let names = vec![DimensionName {
            path: "augmentation".into(),
            values: vec!["none".into(), "eda".into()],
            greatest: None,
        }];
        let axis = axes_of(space, names).remove(0);
        let places: Vec<f64> = (0..20).filter_map(|index| axis.spread(&vec![Some(1.0)], index)).collect();
        assert!(
            places.windows(2).all(|pair| (pair[0] - pair[1]).abs() > 1e-6)
                && places.iter().all(|x| *x > 0.6 && *x < 0.9)
        );
        assert_eq!(axis.spread(&vec![None], 0), None);
    }
}
