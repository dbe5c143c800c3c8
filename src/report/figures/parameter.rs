//! A parameter of the sweep as an axis of a figure: its values in order, their distances, and their labels.
//!
//! The values come from the trials, not from the axis in the sweep file, because an included trial may have a value that the
//! grid has not. A key that a search draws from a range has a different value in nearly every trial: its values are the quarters
//! of the range.

use std::collections::BTreeSet;

use crate::analysis::groups::lead_axis;
use crate::analysis::{Config, Sweep, groups};
use crate::report::canvas::font;
use crate::report::format;
use crate::search::Domain;
use crate::trial::{AxisValue, Key, rounded_text};

/// A range with more values than this is cut into quarters.
const MOST_DRAWN: u64 = 8;
const QUARTERS: usize = 4;

/// How the values of a parameter are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    Log,
    Linear,
    /// Equal distances, whatever the values are.
    Even,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub key: String,
    /// Numbers ascending, other values in the order of the sweep file. None stands for trials without a value, and comes first.
    pub values: Vec<Option<AxisValue>>,
    pub spacing: Spacing,
    grouping: Grouping,
}

/// Which configurations share a value.
#[derive(Debug, Clone, PartialEq)]
enum Grouping {
    /// Those with the same value.
    Equal,
    /// Those in the same part of a range. Holds the upper ends of the parts.
    Ranges(Vec<f64>),
    /// Those whose value has the same name, whatever is drawn inside it.
    Names,
}

impl Parameter {
    /// The parameters that vary over the trials of `sweep`. The first is the learning rate, or the first axis of the file.
    pub fn of(sweep: &Sweep) -> Vec<Self> {
        let lead = lead_axis(sweep).map(|axis| axis.key.as_str());
        let mut keys: Vec<&str> = groups::axes(sweep).map(|axis| axis.key.as_str()).collect();
        keys.sort_by_key(|key| Some(*key) != lead);
        let found = keys.into_iter().map(|key| Self::named(sweep, key));
        found.filter(|parameter| parameter.values.len() > 1).collect()
    }

    /// The two parameters for figures of two axes: the first one and the next numeric one, else the first two.
    pub fn pair(all: &[Self]) -> Option<[&Self; 2]> {
        let (first, others) = all.split_first()?;
        let is_number = |parameter: &&Self| {
            let is_range = matches!(parameter.grouping, Grouping::Ranges(_));
            is_range || parameter.values.iter().flatten().all(|value| value.value.is_number())
        };
        let numeric = others.iter().find(is_number);
        Some([first, numeric.or(others.first())?])
    }

    fn named(sweep: &Sweep, key: &str) -> Self {
        Self::drawn(sweep, key).unwrap_or_else(|| Self::with_values(sweep, key))
    }

    /// A key that a search draws: the quarters of a range, or the names of values that hold drawn ones. None for any other.
    fn drawn(sweep: &Sweep, key: &str) -> Option<Self> {
        let search = sweep.search.as_ref()?;
        let dimension = search.names.iter().position(|name| name.path == key)?;
        let (domain, names) = (&search.space.dimensions[dimension].domain, &search.names[dimension].values);
        let inside = search.space.dimensions.iter().filter_map(|inner| inner.condition);
        let text = |text: String| AxisValue { value: text.clone().into(), text };
        let (all, grouping): (Vec<AxisValue>, Grouping) =
            if inside.into_iter().any(|inner| inner.dimension == dimension) {
                (names.iter().cloned().map(text).collect(), Grouping::Names)
            } else if names.is_empty() && domain.size().is_none_or(|size| size > MOST_DRAWN) {
                let (ends, ranges) = quarters(domain);
                (ranges.into_iter().map(text).collect(), Grouping::Ranges(ends))
            } else {
                return None;
            };
        let values = all.into_iter().map(Some).collect();
        let whole = Self { key: key.into(), values, spacing: Spacing::Even, grouping };
        // Parts without a trial are left out.
        let used: BTreeSet<usize> = sweep.runs.iter().map(|run| whole.place_of(run.trial.value(key))).collect();
        let values = used.iter().filter_map(|&place| whole.values.get(place).cloned()).collect();
        let grouping = match &whole.grouping {
            Grouping::Ranges(ends) => {
                Grouping::Ranges(used.iter().filter_map(|&place| ends.get(place).copied()).collect())
            }
            other => other.clone(),
        };
        Some(Self { values, grouping, ..whole })
    }

    fn with_values(sweep: &Sweep, key: &str) -> Self {
        let mut values: Vec<Option<AxisValue>> = Vec::new();
        let axis = sweep.axes.iter().find(|axis| axis.key == key);
        let held = sweep.runs.iter().map(|run| run.trial.value(key));
        let written = axis.iter().flat_map(|axis| &axis.values).map(Some);
        let all: Vec<Option<&AxisValue>> = held.collect();
        for value in written.filter(|value| all.iter().any(|held| same(*held, *value))).chain(all.iter().copied()) {
            if !values.iter().any(|known| same(known.as_ref(), value)) {
                values.push(value.cloned());
            }
        }
        let number = |value: &Option<AxisValue>| value.as_ref().and_then(|value| value.value.as_f64());
        let numbers: Option<Vec<f64>> = values.iter().flatten().map(|value| value.value.as_f64()).collect();
        if numbers.is_some() {
            values.sort_by(|a, b| number(a).partial_cmp(&number(b)).unwrap_or(std::cmp::Ordering::Equal));
        } else {
            values.sort_by_key(Option::is_some);
        }
        let spacing = match numbers {
            Some(numbers) if values.iter().all(Option::is_some) => spacing(key, &numbers),
            _ => Spacing::Even,
        };
        Self { key: key.into(), values, spacing, grouping: Grouping::Equal }
    }

    /// Index of the value of `config`.
    pub fn place(&self, config: &Config) -> usize {
        self.place_of(config.value(&self.key))
    }

    /// Whether its values are ranges, so that configurations with the same value may differ in the key.
    pub fn is_range(&self) -> bool {
        matches!(self.grouping, Grouping::Ranges(_))
    }

    fn place_of(&self, value: Option<&AxisValue>) -> usize {
        let found = match &self.grouping {
            Grouping::Equal => self.values.iter().position(|known| same(known.as_ref(), value)),
            Grouping::Ranges(ends) => {
                let number = value.and_then(|value| value.value.as_f64());
                let part = number.and_then(|number| ends.iter().position(|end| number <= *end));
                part.or_else(|| self.values.len().checked_sub(1))
            }
            Grouping::Names => {
                let name = value.map(|value| value.value.get("name").unwrap_or(&value.value));
                self.values.iter().position(|known| known.as_ref().map(|known| &known.value) == name)
            }
        };
        found.unwrap_or(0)
    }

    /// The position of each value between 0 and 1.
    pub fn shares(&self) -> Vec<f64> {
        let even = |i: usize| i as f64 / (self.values.len() - 1).max(1) as f64;
        let number = |value: &Option<AxisValue>| value.as_ref().and_then(|value| value.value.as_f64());
        let at: Vec<f64> = match self.spacing {
            Spacing::Even => return (0..self.values.len()).map(even).collect(),
            Spacing::Linear => self.values.iter().filter_map(number).collect(),
            Spacing::Log => self.values.iter().filter_map(number).map(f64::ln).collect(),
        };
        let (Some(low), Some(high)) = (at.first(), at.last()) else { return Vec::new() };
        at.iter().map(|x| (x - low) / (high - low)).collect()
    }

    /// The values as texts of at most `space` px, and notes with the full text of those that were cut.
    pub fn labels(&self, space: f64) -> (Vec<String>, Vec<String>) {
        let (labels, notes) = self.folded(space, 1);
        (labels.into_iter().map(|lines| lines.concat()).collect(), notes)
    }

    /// As [`Parameter::labels`], with up to `most` lines for each value.
    pub fn folded(&self, space: f64, most: usize) -> (Vec<Vec<String>>, Vec<String>) {
        let text = |value: &Option<AxisValue>| {
            value.as_ref().map_or_else(|| "–".to_owned(), |value| format::value_cell(&self.key, value))
        };
        self.fit(&self.values.iter().map(text).collect::<Vec<_>>(), (12.0, false), space, most)
    }

    /// As [`Parameter::folded`], but bold and with the name of the parameter.
    pub fn heads(&self, size: f64, space: f64, most: usize) -> (Vec<Vec<String>>, Vec<String>) {
        let names: Vec<String> = (0..self.values.len()).map(|index| self.named_value(index)).collect();
        self.fit(&names, (size, true), space, most)
    }

    /// Cuts `texts` to fit. If too little of a text is left, or if two would look the same, letters replace all of them.
    fn fit(
        &self,
        texts: &[String],
        (size, bold): (f64, bool),
        space: f64,
        most: usize,
    ) -> (Vec<Vec<String>>, Vec<String>) {
        let full: Vec<String> = texts.iter().map(|text| font::printable(text, bold)).collect();
        let cut: Vec<Vec<String>> = full.iter().map(|text| font::fold(text, size, bold, space, most)).collect();
        let shown: Vec<String> = cut.iter().map(|lines| lines.join(" ")).collect();
        let short = shown.iter().zip(&full).any(|(shown, full)| shown.chars().count() < full.chars().count().min(7));
        let twins = shown.iter().enumerate().any(|(i, text)| shown[..i].contains(text));
        let axis = format::short_axis_name(&self.key);
        if !short && !twins {
            let differ = shown.iter().zip(&full).filter(|(shown, full)| shown != full);
            return (cut, differ.map(|(shown, full)| format!("{axis} {shown}: {full}")).collect());
        }
        let letter = |i: usize| match u32::try_from(i) {
            Ok(i) if self.values.len() <= 26 => char::from_u32(u32::from('A') + i).unwrap_or('?').to_string(),
            _ => (i + 1).to_string(),
        };
        let notes = full.iter().enumerate().map(|(i, full)| format!("{axis} {}: {full}", letter(i)));
        ((0..full.len()).map(|i| vec![letter(i)]).collect(), notes.collect())
    }

    /// The title of the axis.
    pub fn title(&self) -> String {
        let unit = if self.spacing == Spacing::Log { " (log)" } else { "" };
        let name =
            if Key::LearningRate.is(&self.key) { "peak learning rate".into() } else { format::axis_name(&self.key) };
        font::printable(&format!("{name}{unit}"), false)
    }

    /// A value together with the name of the parameter.
    pub fn named_value(&self, index: usize) -> String {
        let value = self.values.get(index).and_then(Option::as_ref);
        value.map_or_else(
            || format!("no {}", format::short_axis_name(&self.key)),
            |value| format::labelled_value(&self.key, value),
        )
    }
}

/// The upper ends of the quarters of a range, and their names.
fn quarters(domain: &Domain) -> (Vec<f64>, Vec<String>) {
    let (low, high) = domain.ends();
    let inner = (1..QUARTERS).map(|quarter| domain.at_share(quarter as f64 / QUARTERS as f64));
    let inner = inner.map(|end| rounded_text(end, 2).parse().unwrap_or(end));
    let ends: Vec<f64> = inner.chain([high]).collect();
    let name = |(from, to): (&f64, &f64)| format!("{} to {}", rounded_text(*from, 2), rounded_text(*to, 2));
    let names = std::iter::once(&low).chain(&ends).zip(&ends).map(name).collect();
    (ends, names)
}

fn same(a: Option<&AxisValue>, b: Option<&AxisValue>) -> bool {
    a.map(|a| &a.value) == b.map(|b| &b.value)
}

/// Logarithmic if the values span a wide range, even if fractions and steps are mixed.
fn spacing(key: &str, numbers: &[f64]) -> Spacing {
    let (low, high) =
        numbers.iter().fold((f64::INFINITY, 0.0), |(low, high), &x| (f64::min(low, x), f64::max(high, x)));
    let mixed = Key::Warmup.is(key) && numbers.iter().any(|x| *x > 0.0 && *x < 1.0) && high >= 1.0;
    let rate = Key::is_learning_rate(key);
    match () {
        () if mixed || !low.is_finite() || !high.is_finite() || low < 0.0 => Spacing::Even,
        () if low > 0.0 && (high / low >= 50.0 || rate && high / low > 2.0) => Spacing::Log,
        () => Spacing::Linear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic::{axis, sweep};

    #[test]
    fn values_are_ordered_spaced_and_named() {
        let check = |key: &str, values: &[&str], spacing: Spacing, labels: &[&str]| {
            let all = Parameter::of(&sweep("s", &[axis(key, values)], 10));
            assert_eq!(
                (all[0].spacing, all[0].labels(60.0).0),
                (spacing, labels.iter().map(|l| (*l).into()).collect())
            );
        };
        check("lr", &["1e-4", "1e-5", "3e-5"], Spacing::Log, &["1e-5", "3e-5", "1e-4"]);
        check("model.dropout", &["0.1", "0"], Spacing::Linear, &["0", "0.1"]);
        check("warmup", &["0.1", "100", "0"], Spacing::Even, &["0 %", "10 %", "100"]);
        check("scheduler", &["linear", "cosine"], Spacing::Even, &["linear", "cosine"]);
        check("augmentation", &["[a, a_rather_long_name]", "[a, a_rather_long_other]"], Spacing::Even, &["A", "B"]);
    }

    #[test]
    fn what_is_cut_is_given_in_full() {
        let values = ["none", "{name: synonym, choose: context}", "[{name: eda, alpha: 0.1}, mixup]"];
        let parameter = &Parameter::of(&sweep("s", &[axis("augmentation", &values)], 10))[0];
        let check = |space, most, lines: &[&[&str]], notes: &[&str]| {
            let (shown, noted) = parameter.folded(space, most);
            assert_eq!(
                (shown, noted),
                (
                    lines.iter().map(|l| l.iter().map(|t| (*t).into()).collect()).collect(),
                    notes.iter().map(|n| (*n).into()).collect()
                )
            );
        };
        check(90.0, 2, &[&["none"], &["synonym", "choose context"], &["eda alpha 0.1 +", "mixup"]], &[]);
        check(
            60.0,
            2,
            &[&["none"], &["synonym", "choose…"], &["eda alpha", "0.1 + mi…"]],
            &["augm. synonym choose…: synonym choose context", "augm. eda alpha 0.1 + mi…: eda alpha 0.1 + mixup"],
        );
        check(
            30.0,
            1,
            &[&["A"], &["B"], &["C"]],
            &["augm. A: none", "augm. B: synonym choose context", "augm. C: eda alpha 0.1 + mixup"],
        );
    }

    #[test]
    fn the_rate_stands_first_and_what_does_not_vary_is_no_parameter() {
        let axes = [axis("scheduler", &["linear", "cosine"]), axis("epochs", &["3"]), axis("lr", &["1e-5", "1e-4"])];
        let all = Parameter::of(&sweep("s", &axes, 10));
        let keys: Vec<&str> = all.iter().map(|parameter| parameter.key.as_str()).collect();
        assert_eq!(keys, ["lr", "scheduler"]);
        let shares = Parameter::of(&sweep("s", &[axis("lr", &["1e-5", "1e-4", "1e-3"])], 10))[0].shares();
        assert!((shares[1] - 0.5).abs() < 1e-9);
    }
}
