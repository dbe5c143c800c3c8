//! What a key takes: numbers, names, or named things with parameters. Reads a node as one of them.
//!
//! The result is canonical JSON in the form of [`crate::trial::TrialConfig`]. A number gives one value, however it is
//! written.

use serde_json::{Map, Value};

use super::problem::{Place, Problem, suggestion};
use super::range::Range;
use super::yaml::{self, Content, Node};

/// What may stand at a key.
#[derive(Debug)]
pub(super) enum Kind {
    /// A finite number in a range.
    Number { range: Range, expected: &'static str },
    /// A whole number from `from` to `to`, both included.
    Whole { from: u64, to: u64, expected: &'static str },
    /// Below 1 a fraction of a whole, from 1 whole optimizer steps.
    FractionOrSteps { range: Range, expected: &'static str },
    /// Whole optimizer steps, of a key that also takes fractions.
    Steps { expected: &'static str },
    /// Two numbers, each in a range.
    Pair { each: Range, expected: &'static str },
    /// A list of whole numbers, each from `from` to `to`.
    Wholes { from: u64, to: u64, expected: &'static str },
    /// `true` or `false`.
    Flag,
    /// Any text but an empty one.
    Text { expected: &'static str },
    /// A name, or a list of names.
    Names { expected: &'static str },
    /// One of these names.
    Choice(&'static [&'static str]),
    /// Some of these names: a name, or a list of them.
    Choices(&'static [&'static str]),
    /// `null`, or what is inside.
    Optional(&'static Kind),
    /// `none` switches something off. `true` or an empty map switches it on with its defaults.
    Switch { expected: &'static str },
    /// One or several files, a folder, or a pattern of files.
    Files,
    /// The name of a column, or a list of names.
    Columns,
    /// A fraction in (0, 1), files as in [`Kind::Files`], or a map of a file and its columns.
    FractionOrFile,
    /// `balanced`, or a map of labels and positive numbers.
    ClassWeights,
    /// A name, or a map of a name and its parameters.
    Named(&'static [Variant]),
    /// `none`, one thing with parameters, or a list of those.
    NamedList(&'static [Variant]),
}

/// A name that takes parameters, such as a schedule.
#[derive(Debug)]
pub(super) struct Variant {
    pub name: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    pub parameters: &'static [Parameter],
}

/// A setting of a named thing.
#[derive(Debug)]
pub(super) struct Parameter {
    pub name: &'static str,
    pub kind: Kind,
    /// As people write it.
    pub default: &'static str,
    pub doc: Doc,
}

/// What the reference says of a key, beside what follows from its kind and its default.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doc {
    /// What it sets, in a sentence or two.
    pub about: &'static str,
    /// Empty for none.
    pub unit: &'static str,
    /// A value as a sweep file writes it.
    pub example: &'static str,
}

/// The value of a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReadValue {
    /// Complete, defaults filled in.
    pub full: Value,
    /// Only what was written. A configuration matches the node if it holds all of this.
    pub given: Value,
}

impl ReadValue {
    fn plain(value: impl Into<Value>) -> Self {
        let full = value.into();
        Self { given: full.clone(), full }
    }
}

/// More optimizer steps than any run takes. Arithmetic on so many is exact and does not overflow.
pub(super) const MOST_STEPS: u32 = 1_000_000_000;
/// The same for epochs.
pub(super) const MOST_EPOCHS: u32 = 1_000_000;
/// A number of things, at least one.
pub(super) const COUNT: Kind = Kind::Whole { from: 1, to: u64::MAX, expected: "a whole number from 1" };
/// Steps that a key may name.
pub(super) const STEPS: Range = Range::from(0.0).to(MOST_STEPS as f64);

/// All whole numbers up to this one are exact in `f64`.
const WHOLE_LIMIT: f64 = 9_007_199_254_740_992.0;

impl Kind {
    /// The numbers that it takes; None if it takes others than numbers.
    pub fn range(&self) -> Option<Range> {
        match self {
            Self::Number { range, .. } | Self::FractionOrSteps { range, .. } => Some(*range),
            Self::Whole { from, to, .. } => Some(Range::from(*from as f64).to(*to as f64)),
            Self::Optional(inner) => inner.range(),
            _ => None,
        }
    }

    /// What a message says was expected.
    pub fn expected(&self) -> String {
        match self {
            Self::Number { expected, .. }
            | Self::Whole { expected, .. }
            | Self::Wholes { expected, .. }
            | Self::Names { expected }
            | Self::FractionOrSteps { expected, .. }
            | Self::Steps { expected }
            | Self::Pair { expected, .. }
            | Self::Text { expected }
            | Self::Switch { expected } => (*expected).to_owned(),
            Self::Flag => "true or false".into(),
            Self::Choice(names) => format!("one of {}", names.join(", ")),
            Self::Choices(names) => format!("a list of {}", names.join(", ")),
            Self::Optional(inner) => format!("{}, or null", inner.expected()),
            Self::Files => "a file, a folder, a pattern such as data/*.csv, or a list of files".into(),
            Self::Columns => "the name of a column, or a list of names".into(),
            Self::ClassWeights => {
                "balanced, or a map of each label and its weight, such as {negative: 1, positive: 4}".into()
            }
            Self::FractionOrFile => {
                "a fraction between 0 and 1, a file, or a map such as {file: eval.csv, text: sentence, label: target}"
                    .into()
            }
            Self::Named(variants) => format!("one of {}", names(variants)),
            Self::NamedList(variants) => format!("none, or one or a list of {}", names(variants)),
        }
    }

    /// Reads `node` as the value of `key`. The problems say what is wrong with it.
    pub fn read(&self, key: &str, node: &Node) -> Result<ReadValue, Vec<Problem>> {
        match self {
            Self::Optional(_) if node.is_null() => Ok(ReadValue::plain(Value::Null)),
            Self::Optional(inner) => inner.read(key, node),
            Self::Named(variants) => named(key, variants, node),
            Self::NamedList(variants) => named_list(key, variants, node),
            _ => self.read_simple(node).map(ReadValue::plain).ok_or_else(|| vec![self.misfit(key, node)]),
        }
    }

    fn read_simple(&self, node: &Node) -> Option<Value> {
        match self {
            Self::Number { range, .. } => number(node).filter(|x| range.contains(*x)).map(Value::from),
            Self::Whole { from, to, .. } => whole(node).filter(|n| (*from..=*to).contains(n)).map(Value::from),
            Self::FractionOrSteps { range, .. } => {
                number(node).filter(|x| range.contains(*x) && (*x < 1.0 || x.fract() == 0.0)).map(Value::from)
            }
            Self::Steps { .. } => number(node).filter(|x| STEPS.contains(*x) && x.fract() == 0.0).map(Value::from),
            Self::Pair { each, .. } => match node.list()? {
                [a, b] => {
                    let read = |node| number(node).filter(|x| each.contains(*x));
                    Some(Value::from(vec![read(a)?, read(b)?]))
                }
                _ => None,
            },
            Self::Wholes { from, to, .. } => {
                let read = |node| whole(node).filter(|n| (*from..=*to).contains(n)).map(Value::from);
                node.list()?
                    .iter()
                    .map(read)
                    .collect::<Option<Vec<_>>>()
                    .filter(|list| !list.is_empty())
                    .map(Value::from)
            }
            Self::Names { .. } => names_list(node),
            Self::Choices(known) => {
                let is_known = |name: &&Value| name.as_str().is_some_and(|name| known.contains(&name));
                let all = match columns(node)? {
                    Value::Array(several) => several,
                    one => vec![one],
                };
                (all.iter().filter(is_known).count() == all.len()).then(|| all.into())
            }
            Self::Flag => flag(node).map(Value::from),
            Self::Text { .. } => node.text().filter(|text| !text.is_empty() && !node.is_null()).map(Value::from),
            Self::Choice(names) => node.text().filter(|text| names.contains(text)).map(Value::from),
            Self::Switch { .. } => match node.plain_text() {
                _ if node.is_null() => Some(Value::Null),
                Some("none" | "false") => Some(Value::Null),
                Some("true") => Some(Value::Bool(true)),
                _ => node.map().filter(|entries| entries.is_empty()).map(|_| Value::Bool(true)),
            },
            Self::FractionOrFile => match (number(node), node.text()) {
                (Some(fraction), _) => (fraction > 0.0 && fraction < 1.0).then(|| Value::from(fraction)),
                (None, Some(text)) if !node.is_null() && parse_number(text).is_none() => Some(Value::from(text)),
                (None, None) => files(node).or_else(|| eval_table(node)),
                _ => None,
            },
            Self::Files => files(node),
            Self::ClassWeights => class_weights(node),
            Self::Columns => columns(node),
            Self::Optional(_) | Self::Named(_) | Self::NamedList(_) => None,
        }
    }

    fn is_numeric(&self) -> bool {
        matches!(
            self,
            Self::Number { .. }
                | Self::Whole { .. }
                | Self::FractionOrSteps { .. }
                | Self::Steps { .. }
                | Self::FractionOrFile
        )
    }

    /// The greatest number that the key can have, of a key that takes fractions or steps the greatest fraction. None if there is
    /// none.
    pub(super) fn greatest(&self) -> Option<f64> {
        match self {
            Self::Number { range, .. } => range.greatest(),
            Self::FractionOrSteps { .. } => Some(1f64.next_down()),
            Self::Steps { .. } => STEPS.largest(),
            Self::Whole { to, .. } => Some(*to as f64),
            _ => None,
        }
    }

    /// The largest value that the key allows, if the number at `node` exceeds it.
    fn exceeded(&self, node: &Node) -> Option<f64> {
        let x = number(node)?;
        let limit = match self {
            Self::Number { range, .. } | Self::FractionOrSteps { range, .. } => range.largest()?,
            Self::Steps { .. } => STEPS.largest()?,
            Self::Whole { to, .. } if x.fract() == 0.0 => *to as f64,
            _ => return None,
        };
        ((f64::from(MOST_EPOCHS)..WHOLE_LIMIT).contains(&limit) && x > limit).then_some(limit)
    }

    /// Says why `node` is no value of `key`.
    fn misfit(&self, key: &str, node: &Node) -> Problem {
        let expected = format!("expected {}", self.expected());
        let quoted = matches!(&node.content, Content::Scalar { text, plain: false } if parse_number(text).is_some());
        if quoted && self.is_numeric() {
            let text = node.text().unwrap_or_default();
            return Problem::new(node.place, format!("`{key}` is text, because it is quoted"))
                .hint(format!("write {text} without quotes"));
        }
        if node.is_null() {
            return Problem::new(node.place, format!("`{key}` has no value")).hint(expected);
        }
        if let Some(limit) = self.exceeded(node) {
            return Problem::new(node.place, format!("`{key}` cannot be {}", node.described()))
                .hint(format!("expected at most {limit}"));
        }
        let hint = match (self, &node.content) {
            (
                Self::Pair { .. }
                | Self::Wholes { .. }
                | Self::Names { .. }
                | Self::Choices(_)
                | Self::Files
                | Self::Columns,
                _,
            ) => expected,
            (_, Content::List(_)) => format!("{expected}; several values go into `grid: {{{key}: [...]}}`"),
            (Self::Choice(names), Content::Scalar { text, .. }) => {
                suggestion(text, names.iter().copied()).unwrap_or(expected)
            }
            (_, Content::Scalar { text, plain: true }) if self.is_numeric() && text.contains(['_', ',']) => {
                let digits = without_separators(text);
                if parse_number(&digits).is_some() { format!("write {digits}") } else { expected }
            }
            (Self::Flag, Content::Scalar { text, .. }) => match text.to_lowercase().as_str() {
                "yes" | "on" | "y" | "1" => "write true".into(),
                "no" | "off" | "n" | "0" => "write false".into(),
                _ => expected,
            },
            _ => expected,
        };
        Problem::new(node.place, format!("`{key}` cannot be {}", node.described())).hint(hint)
    }
}

fn names(variants: &[Variant]) -> String {
    variants.iter().map(|variant| variant.name).collect::<Vec<_>>().join(", ")
}

/// `1_000` and `1,000` as 1000, `0,5` as 0.5.
fn without_separators(text: &str) -> String {
    let text = text.replace('_', "");
    let parts: Vec<&str> = text.split(',').collect();
    match parts.as_slice() {
        [whole, fraction] if fraction.len() != 3 || *whole == "0" => format!("{whole}.{fraction}"),
        _ => parts.concat(),
    }
}

/// A number as YAML 1.2 writes them: `1e-5`, `.5`, `+3`, `1.`, `0x1f`, `0o17`. Finite ones only.
fn parse_number(text: &str) -> Option<f64> {
    let radix = |prefix, radix| text.strip_prefix(prefix).map(|digits| u64::from_str_radix(digits, radix));
    if let Some(whole) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return whole.ok().map(|n| n as f64);
    }
    if !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
        return None;
    }
    // Adding zero turns -0 into 0: they are one value.
    text.parse::<f64>().ok().filter(|x| x.is_finite()).map(|x| x + 0.0)
}

pub(super) fn number(node: &Node) -> Option<f64> {
    parse_number(node.plain_text()?)
}

/// A whole number, also one written as `1e3` or `32.0`.
pub(super) fn whole(node: &Node) -> Option<u64> {
    let text = node.plain_text()?;
    if let Ok(exact) = text.parse() {
        return Some(exact);
    }
    parse_number(text).filter(|x| x.fract() == 0.0 && (0.0..WHOLE_LIMIT).contains(x)).map(|x| x as u64)
}

pub(super) fn flag(node: &Node) -> Option<bool> {
    match node.plain_text()? {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

fn name(node: &Node) -> Option<&str> {
    node.text().filter(|text| !text.is_empty() && !node.is_null())
}

/// A source of files. Several become one pattern with braces.
fn files(node: &Node) -> Option<Value> {
    if let Some(one) = name(node) {
        return Some(one.into());
    }
    let all: Vec<&str> = node.list()?.iter().map(name).collect::<Option<_>>()?;
    match all.as_slice() {
        [] => None,
        [one] => Some((*one).into()),
        // A comma or a brace in a name would be taken for a part of the pattern.
        several if several.iter().any(|file| file.contains(['{', '}', ','])) => None,
        several => Some(format!("{{{}}}", several.join(",")).into()),
    }
}

fn columns(node: &Node) -> Option<Value> {
    if let Some(one) = name(node) {
        return Some(one.into());
    }
    let all: Vec<&str> = node.list()?.iter().map(name).collect::<Option<_>>()?;
    match all.as_slice() {
        [] => None,
        [one] => Some((*one).into()),
        several => Some(several.to_vec().into()),
    }
}

/// Like [`columns`], as a list also of a single name.
fn names_list(node: &Node) -> Option<Value> {
    match columns(node)? {
        one @ Value::String(_) => Some(vec![one].into()),
        several => Some(several),
    }
}

/// `{file: eval.csv, text: sentence, label: target}`; only the file is needed.
fn eval_table(node: &Node) -> Option<Value> {
    let mut table = Map::new();
    for (key, value) in node.map()? {
        let value = match key.text()? {
            "file" => files(value),
            "text" | "label" => columns(value),
            "text_pair" => name(value).map(Value::from),
            "choices" => names_list(value),
            _ => None,
        };
        table.insert(key.text()?.to_owned(), value?);
    }
    table.contains_key("file").then(|| table.into())
}

/// `balanced`, or a weight above 0 for each label.
fn class_weights(node: &Node) -> Option<Value> {
    if node.text() == Some("balanced") {
        return Some("balanced".into());
    }
    let weights = node.map()?.iter().map(|(label, weight)| {
        let weight = number(weight).filter(|weight| *weight > 0.0 && weight.is_finite())?;
        Some((label.text()?.to_owned(), Value::from(weight)))
    });
    weights.collect::<Option<Map<String, Value>>>().filter(|weights| !weights.is_empty()).map(Value::from)
}

/// `cosine`, or `{name: cosine, cycles: 1}`.
fn named(key: &str, variants: &[Variant], node: &Node) -> Result<ReadValue, Vec<Problem>> {
    let expected = || format!("expected one of {}", names(variants));
    let (name, entries): (&Node, &[(Node, Node)]) = match &node.content {
        Content::Map(entries) => match entries.iter().find(|(k, _)| k.text() == Some("name")) {
            Some((_, name)) => (name, entries),
            None => return Err(vec![Problem::new(node.place, format!("`{key}` has no `name`")).hint(expected())]),
        },
        Content::Scalar { .. } if node.is_null() => {
            return Err(vec![Problem::new(node.place, format!("`{key}` has no value")).hint(expected())]);
        }
        Content::Scalar { .. } => (node, &[]),
        Content::List(_) => {
            let hint = format!("{}; several go into `grid: {{{key}: [...]}}`", expected());
            return Err(vec![Problem::new(node.place, format!("`{key}` cannot be a list")).hint(hint)]);
        }
    };
    let text = name.text().unwrap_or_default();
    let Some(variant) = variants.iter().find(|variant| variant.name == text) else {
        let problem = Problem::new(name.place, format!("unknown {key} {}", name.described()));
        return Err(vec![problem.hint(suggestion(text, variants.iter().map(|v| v.name)).unwrap_or_else(expected))]);
    };
    variant.read(key, entries)
}

impl Variant {
    fn read(&self, key: &str, entries: &[(Node, Node)]) -> Result<ReadValue, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut given = Map::from_iter([("name".to_owned(), Value::from(self.name))]);
        for (name, value) in entries.iter().filter(|(name, _)| name.text() != Some("name")) {
            let text = name.text().unwrap_or_default();
            match self.parameters.iter().find(|parameter| parameter.name == text) {
                Some(parameter) => match parameter.kind.read(&format!("{key}.{text}"), value) {
                    Ok(read) => drop(given.insert(text.to_owned(), read.full)),
                    Err(found) => problems.extend(found),
                },
                None => problems.push(self.stranger(text, name.place)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut full = given.clone();
        for parameter in self.parameters {
            full.entry(parameter.name).or_insert_with(|| parameter.default_value());
        }
        Ok(ReadValue { full: full.into(), given: given.into() })
    }

    fn stranger(&self, parameter: &str, place: Place) -> Problem {
        let known = self.parameters.iter().map(|parameter| parameter.name);
        Problem::new(place, format!("`{}` has no parameter `{parameter}`", self.name))
            .hint(suggestion(parameter, known).unwrap_or_else(|| "it has no parameters".into()))
    }
}

impl Parameter {
    /// The default as JSON. A test reads them all, so that none is refused by its kind.
    pub fn default_value(&self) -> Value {
        let node = yaml::read(self.default, 0, &mut Vec::new()).ok().flatten();
        let node = node.unwrap_or_else(|| Node::plain(self.default, Place::NOWHERE));
        self.kind.read(self.name, &node).map_or(Value::Null, |read| read.full)
    }
}

/// `none`, or `{name: none}`.
fn is_none(node: &Node) -> bool {
    let name = match &node.content {
        Content::Map(entries) => match &entries[..] {
            [(key, value)] if key.text() == Some("name") => value,
            _ => return false,
        },
        _ => node,
    };
    name.plain_text() == Some("none")
}

fn named_list(key: &str, variants: &[Variant], node: &Node) -> Result<ReadValue, Vec<Problem>> {
    if is_none(node) {
        return Ok(ReadValue::plain(Value::Array(Vec::new())));
    }
    let Some(items) = node.list() else {
        return match named(key, variants, node) {
            Ok(ReadValue { full, given }) => Ok(ReadValue { full: vec![full].into(), given: vec![given].into() }),
            Err(problems) => Err(problems),
        };
    };
    let (mut full, mut given, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for item in items {
        if is_none(item) && items.len() > 1 {
            problems.push(Problem::new(item.place, "`none` cannot be combined with others").hint("leave it out"));
        } else if !is_none(item) {
            match named(key, variants, item) {
                Ok(read) => {
                    full.push(read.full);
                    given.push(read.given);
                }
                Err(found) => problems.extend(found),
            }
        }
    }
    if problems.is_empty() { Ok(ReadValue { full: full.into(), given: given.into() }) } else { Err(problems) }
}

/// The shortest form of a complete value of `variants`: parameters at their defaults left out, a name alone as text.
pub(super) fn brief(variants: &[Variant], full: &Value) -> Value {
    match full {
        Value::Array(items) => match items.as_slice() {
            [] => "none".into(),
            [one] => brief(variants, one),
            several => several.iter().map(|item| brief(variants, item)).collect::<Vec<_>>().into(),
        },
        Value::Object(entries) => {
            let name = entries.get("name").and_then(Value::as_str).unwrap_or_default();
            let parameters = variants.iter().find(|variant| variant.name == name).map_or(&[][..], |v| v.parameters);
            let is_default = |key: &str, value: &Value| {
                parameters.iter().any(|parameter| parameter.name == key && parameter.default_value() == *value)
            };
            let kept: Map<_, _> =
                entries.iter().filter(|(k, v)| !is_default(k, v)).map(|(k, v)| (k.clone(), v.clone())).collect();
            if kept.len() == 1 { name.into() } else { kept.into() }
        }
        other => other.clone(),
    }
}
