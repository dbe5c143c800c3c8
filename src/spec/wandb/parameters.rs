//! The values of a parameter: fixed, listed, or a distribution.

use super::super::keys;
use super::super::kind::{Kind, number, whole};
use super::super::problem::{Place, Problem};
use super::super::range::Range;
use super::super::yaml::{Content, Node};
use super::names::{self, Meaning};
use super::translate::{Form, Translator, entry};
use crate::trial::rounded_text;

/// Significant digits of the ends of `log_uniform`, which are exponents.
const DIGITS: usize = 4;

impl Translator<'_> {
    /// What a parameter may be, with notes. None if it has no form here.
    pub(super) fn form(&mut self, written: &str, value: &Node) -> Option<(Form, Vec<Problem>)> {
        let form = |form| Some((form, Vec::new()));
        let Some(entries) = value.map() else {
            let what = format!("the parameter `{written}` cannot be {}", value.described());
            self.error(value, what, "expected a map with `value`, `values`, or `min` and `max`");
            return None;
        };
        if let Some((key, _)) =
            entries.iter().find(|(key, _)| key.text().is_some_and(|text| text.starts_with("condition")))
        {
            self.condition(key);
            return None;
        }
        let forms = [("value", &["value"][..]), ("values", &["values"]), ("min` and `max", &["min", "max"])];
        let given: Vec<&str> = forms
            .iter()
            .filter(|(_, keys)| keys.iter().any(|key| entry(value, key).is_some()))
            .map(|(name, _)| *name)
            .collect();
        if let [first, second, ..] = given[..] {
            self.error(
                value,
                format!("the parameter `{written}` has `{first}` and `{second}`"),
                "keep one of them: a fixed value, a list or a range",
            );
            return None;
        }
        if let Some(value) = entry(value, "value") {
            return form(Form::Fixed(plain(value)));
        }
        if let Some(values) = entry(value, "values") {
            return match values.list() {
                Some([one]) => form(Form::Fixed(plain(one))),
                Some([_, ..]) => form(Form::Listed(listed(value, values))),
                _ => {
                    self.error(
                        values,
                        format!("`values` of `{written}` needs a list"),
                        "expected such as [1e-5, 1e-4]",
                    );
                    None
                }
            };
        }
        let distribution = entry(value, "distribution");
        match distribution.and_then(Node::text).unwrap_or_default() {
            name @ ("normal" | "q_normal") => self.normal(written, value, name == "q_normal"),
            name if matches!(name, "log_normal" | "q_log_normal" | "beta" | "q_beta") || name.contains("inv_log") => {
                let what = format!("`{written}` cannot be drawn from `{name}`");
                let hint = "write `log_uniform_values` (our `log`) or `uniform`, with `min` and `max`";
                self.error(distribution.unwrap_or(value), what, hint);
                None
            }
            _ => self.range(written, value),
        }
    }

    fn range(&mut self, written: &str, value: &Node) -> Option<(Form, Vec<Problem>)> {
        let distribution = entry(value, "distribution");
        let name = distribution.and_then(Node::text).unwrap_or_default();
        let ends = [entry(value, "min"), entry(value, "max")].map(|end| end.map(plain));
        let [Some(low), Some(high)] = ends else {
            let what = format!("the parameter `{written}` has no values");
            self.error(value, what, "expected `value`, `values`, or `min` and `max`");
            return None;
        };
        let (Some(from), Some(to)) = (number(&low), number(&high)) else {
            let wrong = if number(&low).is_none() { low } else { high };
            self.error(&wrong, format!("an end of `{written}` cannot be {}", wrong.described()), "expected a number");
            return None;
        };
        // 1.0 is not a whole number to W&B, and draws from a continuum.
        let is_whole =
            |end: &Node| end.text().is_some_and(|text| !text.contains(['.', 'e', 'E'])) && whole(end).is_some();
        let are_whole = is_whole(&low) && is_whole(&high);
        let mut step = entry(value, "q").map(plain);
        let takes_whole = self.is_whole(written);
        let mut notes = Vec::new();
        let mut say = |what: String| notes.push(Problem::new(value.place, what));
        let word = match name {
            "" | "int_uniform" if are_whole => "int",
            "" | "uniform" | "q_uniform" if takes_whole && from.fract() == 0.0 && to.fract() == 0.0 => {
                say(format!("`{written}` is a whole number here: drawn as `int`"));
                "int"
            }
            "int_uniform" if from.fract() == 0.0 && to.fract() == 0.0 => "int",
            "int_uniform" => {
                say(format!("`{written}`: an end of `int_uniform` is no whole number, so it is drawn as `uniform`"));
                "uniform"
            }
            "q_uniform" if are_whole && step.as_ref().is_none_or(|step| whole(step).is_some()) => "int",
            "" | "uniform" | "q_uniform" => "uniform",
            "log_uniform_values" if takes_whole => {
                say(format!("`{written}` is a whole number here: drawn as `log_int`"));
                "log_int"
            }
            "q_log_uniform_values" if step.as_ref().is_none_or(|step| number(step) == Some(1.0)) => "log_int",
            "log_uniform_values" => "log",
            "log_uniform" => {
                if from > 0.0 && to < 1.0 {
                    say(format!(
                        "`{written}`: W&B takes the ends of `log_uniform` for exponents, so this draws from e^{from} to e^{to}. Did you mean `log_uniform_values`?"
                    ));
                } else {
                    say(format!("`{written}`: the ends of `log_uniform` are exponents of e"));
                }
                "log"
            }
            other => {
                let what = format!("`{written}` cannot be drawn from `{other}`");
                self.error(
                    distribution.unwrap_or(value),
                    what,
                    "known: `log_uniform_values` (our `log`), `uniform`, `int_uniform`, `q_uniform`, `log_uniform`",
                );
                return None;
            }
        };
        let [low, high] = if name == "q_uniform" {
            let q = step.as_ref().and_then(number).filter(|q| *q > 0.0).unwrap_or(1.0);
            let ends = [low, high].map(|end| multiple(end, q));
            if number(&ends[0]) != Some(from) {
                say(format!("`{written}`: W&B rounds draws to multiples of `q`"));
            }
            ends
        } else if name == "log_uniform" {
            [(low, from), (high, to)].map(|(node, x)| Node::plain(&rounded_text(x.exp(), DIGITS), node.place))
        } else {
            [low, high]
        };
        let drawn = [number(&low), number(&high)];
        let is_possible = self.range_of(written).is_none_or(|range| drawn.iter().flatten().all(|x| range.contains(*x)));
        if name == "log_uniform" && from < to && (drawn[0] == drawn[1] || !is_possible) {
            let [low, high] = [low, high].map(|end| end.text().unwrap_or_default().to_owned());
            let drawn = if low == high { format!("always be {low}") } else { format!("be from {low} to {high}") };
            let what = format!(
                "`{written}` would {drawn}: W&B takes the ends of `log_uniform` for exponents, here e^{from} and e^{to}"
            );
            self.error(distribution.unwrap_or(value), what, "did you mean `distribution: log_uniform_values`?");
            return None;
        }
        if number(&low) == number(&high) {
            return Some((Form::Fixed(low), notes));
        }
        let place = low.place;
        let ends = Node { place, content: Content::List(vec![low, high]) };
        if name == "q_uniform" && word == "uniform" && step.is_none() {
            notes.push(Problem::new(value.place, format!("`{written}`: without `q`, the step of `q_uniform` is 1")));
            step = Some(Node::plain("1", value.place));
        }
        let step = step.filter(|_| name == "q_uniform").map(|step| ("step", step));
        Some((Form::Range(map(value.place, [(word, ends)].into_iter().chain(step))), notes))
    }

    /// A normal distribution, in steps of `q` if `stepwise`. W&B has a mean of 0 and a standard deviation of 1 where they are not
    /// written.
    fn normal(&mut self, written: &str, value: &Node, stepwise: bool) -> Option<(Form, Vec<Problem>)> {
        let parameter =
            |name: &str, default: &str| entry(value, name).map_or_else(|| Node::plain(default, value.place), plain);
        let parameters = [parameter("mu", "0"), parameter("sigma", "1")];
        if let Some(wrong) = parameters.iter().find(|node| number(node).is_none()) {
            let what = format!("a parameter of the distribution of `{written}` cannot be {}", wrong.described());
            self.error(wrong, what, "expected a number");
            return None;
        }
        let what = format!("`{written}`: values further from the mean than three standard deviations are not drawn");
        let step = (stepwise || self.is_whole(written)).then(|| ("step", parameter("q", "1")));
        let parameters = Node { place: value.place, content: Content::List(parameters.to_vec()) };
        let range = map(value.place, [("normal", parameters)].into_iter().chain(step));
        Some((Form::Range(range), vec![Problem::new(value.place, what)]))
    }

    /// Whether a parameter names a key of whole numbers.
    fn is_whole(&self, written: &str) -> bool {
        matches!(self.kind(written), Some(Kind::Whole { .. }))
    }

    /// The numbers that the key of a parameter takes.
    fn range_of(&self, written: &str) -> Option<Range> {
        self.kind(written).and_then(Kind::range)
    }

    fn kind(&self, written: &str) -> Option<&'static Kind> {
        match names::meaning(written, &self.options.keys) {
            Meaning::Key(path) => keys::kind(&path),
            _ => None,
        }
    }
}

/// A number, moved to the nearest multiple of `q` as W&B rounds. Multiples stay as they are written.
fn multiple(node: Node, q: f64) -> Node {
    let Some(x) = number(&node) else { return node };
    let nearest = (x / q).round_ties_even() * q;
    if (nearest - x).abs() <= 1e-9 * q { node } else { Node::plain(&rounded_text(nearest, 12), node.place) }
}

/// A list of values, or with `probabilities` a choice with weights.
fn listed(value: &Node, values: &Node) -> Node {
    let list = plain(values);
    let Some(weights) = entry(value, "probabilities") else { return list };
    map(value.place, [("choice", list), ("weights", plain(weights))])
}

pub(super) fn map(place: Place, entries: impl IntoIterator<Item = (&'static str, Node)>) -> Node {
    let entries = entries.into_iter().map(|(key, value)| (Node::plain(key, value.place), value));
    Node { place, content: Content::Map(entries.collect()) }
}

/// A value whose numbers are numbers, however they are written: YAML 1.1, and so W&B, takes `1e-5` for text.
pub(super) fn plain(node: &Node) -> Node {
    let content = match &node.content {
        Content::Scalar { text, .. } => {
            let digits = text.replace('_', "");
            let as_number = Node::plain(&digits, node.place);
            return if number(&as_number).is_some() { as_number } else { node.clone() };
        }
        Content::List(items) => Content::List(items.iter().map(plain).collect()),
        Content::Map(entries) => Content::Map(entries.iter().map(|(key, value)| (key.clone(), plain(value))).collect()),
    };
    Node { place: node.place, content }
}
