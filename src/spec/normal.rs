//! Normal distributions of a space: `{normal: [0.1, 0.03]}`, a mean and a standard deviation.

use super::keys;
use super::kind::{Kind, number};
use super::range::Range;
use super::read::Reader;
use super::yaml::Node;
use crate::search::{Domain, Prior, SpaceKey};
use crate::trial::{number_text, rounded_text};

/// Values further from the mean than so many standard deviations are not drawn: 3 of 1,000.
const REACH: f64 = 3.0;
/// How far inside an end that a key cannot have the values begin, in standard deviations.
const MARGIN: f64 = 0.01;
/// Significant digits of the ends.
const DIGITS: usize = 12;

impl Reader {
    /// The part of a normal distribution that is drawn: within three standard deviations of the mean, and what the key at `path` can
    /// have. With its ends.
    pub(super) fn normal(
        &mut self,
        path: &str,
        entries: &[(Node, Node)],
        parameters: &Node,
    ) -> Option<(SpaceKey, [Node; 2])> {
        let given = parameters.list().unwrap_or_default();
        let numbers: Vec<f64> = given.iter().filter_map(number).collect();
        let [mean, sigma] = numbers[..] else {
            let what = format!("the normal distribution of `{path}` cannot be {}", parameters.described());
            self.error(parameters, what, "expected a mean and a standard deviation, such as {normal: [0.1, 0.03]}");
            return None;
        };
        if given.len() > 2 || sigma <= 0.0 {
            let what = format!("the normal distribution of `{path}` cannot have these parameters");
            self.error(parameters, what, "expected a mean, and a standard deviation above 0");
            return None;
        }
        let end = |x: f64| if x.abs() < 1e-9 * sigma { 0.0 } else { rounded_text(x, DIGITS).parse().unwrap_or(x) };
        let wide = (end(mean - REACH * sigma), end(mean + REACH * sigma));
        let possible = keys::kind(path).and_then(Kind::range);
        let (low, high) = possible.map_or(wide, |range| range.part(wide, MARGIN * sigma));
        if !(low..=high).contains(&mean) {
            let possible = possible.map(Range::text).unwrap_or_default();
            let what = format!("the mean of `{path}` cannot be {}", number_text(mean));
            self.error(parameters, what, format!("expected a number {possible}"));
            return None;
        }
        let step = entries.iter().find(|(key, _)| key.text() == Some("step")).map(|(_, node)| node);
        let domain = match step {
            None => Domain::Uniform { low, high },
            Some(node) => {
                let Some((first, step, count)) = number(node).and_then(|step| multiples(low, high, step)) else {
                    let what = format!("the step of `{path}` cannot be {}", node.described());
                    let range = format!("from {} to {}", number_text(low), number_text(high));
                    self.error(node, what, format!("expected a number above 0 with two or more multiples {range}"));
                    return None;
                };
                Domain::Steps { low: first, step, count }
            }
        };
        let (low, high) = domain.ends();
        let ends = [low, high].map(|x| Node::plain(&rounded_text(x, DIGITS), parameters.place));
        Some((SpaceKey { prior: Some(Prior { mean, sigma }), ..domain.into() }, ends))
    }
}

/// The multiples of `step` in a range: the first one, and how many there are. None for fewer than two.
fn multiples(low: f64, high: f64, step: f64) -> Option<(f64, f64, u64)> {
    let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
    (step > 0.0 && last > first).then(|| (first * step, step, (last - first) as u64 + 1))
}
