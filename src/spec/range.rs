//! Ranges of numbers: what a key takes, how the reference writes it, and how the JSON Schema does.

use serde_json::{Map, Value};

/// An interval of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    low: End,
    high: End,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    None,
    Included(f64),
    Excluded(f64),
}

impl Range {
    pub const fn from(low: f64) -> Self {
        Self { low: End::Included(low), high: End::None }
    }

    pub const fn above(low: f64) -> Self {
        Self { low: End::Excluded(low), high: End::None }
    }

    pub const fn to(self, high: f64) -> Self {
        Self { high: End::Included(high), ..self }
    }

    pub const fn below(self, high: f64) -> Self {
        Self { high: End::Excluded(high), ..self }
    }

    pub fn contains(self, x: f64) -> bool {
        let fits_low = match self.low {
            End::None => true,
            End::Included(low) => x >= low,
            End::Excluded(low) => x > low,
        };
        let fits_high = match self.high {
            End::None => true,
            End::Included(high) => x <= high,
            End::Excluded(high) => x < high,
        };
        fits_low && fits_high
    }

    /// The part of an interval that lies inside. An end that is left out is `margin` away.
    pub fn part(self, (low, high): (f64, f64), margin: f64) -> (f64, f64) {
        let low = match self.low {
            End::None => low,
            End::Included(end) => low.max(end),
            End::Excluded(end) => low.max(end + margin),
        };
        let high = match self.high {
            End::None => high,
            End::Included(end) => high.min(end),
            End::Excluded(end) => high.min(end - margin),
        };
        (low, high)
    }

    /// The largest number inside, if there is one.
    pub fn largest(self) -> Option<f64> {
        if let End::Included(high) = self.high { Some(high) } else { None }
    }

    /// The greatest number inside, if there is one: the last one before an end that is left out.
    pub fn greatest(self) -> Option<f64> {
        match self.high {
            End::None => None,
            End::Included(high) => Some(high),
            End::Excluded(high) => Some(high.next_down()),
        }
    }

    /// `from 0 to below 1`; `above 0, at most 1`.
    pub fn text(self) -> String {
        let low = match self.low {
            End::None => None,
            End::Included(low) => Some(format!("from {low}")),
            End::Excluded(low) => Some(format!("above {low}")),
        };
        // `above 0 to 1` would leave open whether 1 is inside.
        let (at_most, below) =
            if matches!(self.low, End::Included(_)) { (" to", " to below") } else { (", at most", ", below") };
        let high = match self.high {
            End::None => None,
            End::Included(high) => Some(format!("{at_most} {high}")),
            End::Excluded(high) => Some(format!("{below} {high}")),
        };
        low.into_iter().chain(high).collect()
    }

    /// The keywords of a JSON Schema.
    pub fn schema(self) -> Map<String, Value> {
        let mut keywords = Map::new();
        match self.low {
            End::None => {}
            End::Included(low) => drop(keywords.insert("minimum".into(), number(low))),
            End::Excluded(low) => drop(keywords.insert("exclusiveMinimum".into(), number(low))),
        }
        match self.high {
            End::None => {}
            End::Included(high) => drop(keywords.insert("maximum".into(), number(high))),
            End::Excluded(high) => drop(keywords.insert("exclusiveMaximum".into(), number(high))),
        }
        keywords
    }
}

/// Whole numbers without a point, as people write them.
fn number(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e15 { Value::from(x as i64) } else { Value::from(x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_tested_written_and_exported_alike() {
        let check = |range: Range, inside: &[f64], outside: &[f64], text: &str, schema: &str| {
            assert!(inside.iter().all(|x| range.contains(*x)), "{text}");
            assert!(!outside.iter().any(|x| range.contains(*x)), "{text}");
            assert!([inside, outside].concat().iter().all(|x| {
                let (low, high) = range.part((x - 0.01, x + 0.01), 1e-3);
                !(low..=high).contains(x) || range.contains(*x) && range.contains(low) && range.contains(high)
            }));
            assert_eq!((range.text().as_str(), Value::from(range.schema()).to_string().as_str()), (text, schema));
        };
        check(Range::from(0.0), &[0.0, 1e300], &[-1e-9], "from 0", r#"{"minimum":0}"#);
        check(
            Range::above(0.0).to(1.0),
            &[1e-9, 1.0],
            &[0.0, 1.1],
            "above 0, at most 1",
            r#"{"exclusiveMinimum":0,"maximum":1}"#,
        );
        check(
            Range::from(0.5).below(1.0),
            &[0.5],
            &[1.0],
            "from 0.5 to below 1",
            r#"{"exclusiveMaximum":1,"minimum":0.5}"#,
        );
    }
}
