//! The section `space`: keys with ranges and lists of values, from which a search draws.
//!
//! A draw is a [`Point`]: a coordinate for each dimension. It becomes a value by the way that the reader takes for values of
//! the file, so that a drawn configuration and a written one are the same trial.

use serde_json::Value;
use serde_yaml::{Mapping, Value as Yaml};

use super::check;
use super::keys;
use super::kind::number;
use super::lookup::lookup;
use super::problem::nearest;
use super::read::Reader;
use super::sweep::{AxisKey, Choice, DrawnEntry, DrawnKey, DrawnSpace, Factor, Item, Setting, readable};
use super::yaml::{Content, Node};
use crate::search::{Condition, DimensionName, Domain, Point, Space, SpaceKey};
use crate::trial::rounded_text;

/// The words of a range.
const WORDS: [&str; 6] = ["log", "uniform", "int", "log_int", "normal", "choice"];
/// Names of other programs.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("log_uniform", "log"),
    ("loguniform", "log"),
    ("log_uniform_values", "log"),
    ("logspace", "log"),
    ("quniform", "uniform"),
    ("q_uniform", "uniform"),
    ("float", "uniform"),
    ("randint", "int"),
    ("int_uniform", "int"),
    ("lograndint", "log_int"),
    ("randn", "normal"),
    ("gaussian", "normal"),
    ("choices", "choice"),
    ("values", "choice"),
    ("categorical", "choice"),
];
/// A quantile whose value is rarely a whole number.
const BETWEEN: f64 = 0.618;
/// Significant digits of the values of a range with steps: enough for all, and without the dust of binary fractions.
const DIGITS: usize = 12;

impl DrawnKey {
    /// The value at a point, as the file would write it.
    fn node(&self, space: &Space, point: &Point) -> Option<Node> {
        let coordinate = point.get(self.dimension).copied().flatten()?;
        if self.items.is_empty() {
            return Some(Node::plain(&text(&space.dimensions[self.dimension].domain, coordinate), self.written.place));
        }
        let item = self.items.get(coordinate as usize)?;
        let mut node = item.node.clone();
        for inner in &item.drawn {
            let coordinate = point.get(inner.dimension).copied().flatten()?;
            let value = match inner.values.as_slice() {
                [] => Node::plain(&text(&space.dimensions[inner.dimension].domain, coordinate), node.place),
                values => values.get(coordinate as usize)?.clone(),
            };
            set_entry(&mut node, inner.entry, value);
        }
        Some(node)
    }

    /// The path of an entry of an item, and its name there.
    fn inner_path<'i>(&self, item: &'i Item, entry: usize) -> Option<(String, &'i str)> {
        let (name, _) = item.node.map()?.get(entry)?;
        let is_group = keys::group(&self.path).is_some();
        let path = is_group.then(|| Reader::default().resolve(&self.path, name)).flatten().map(|found| found.path);
        Some((path.unwrap_or_else(|| format!("{}.{}", self.path, name.text().unwrap_or_default())), name.text()?))
    }

    /// What each value of a list is called.
    fn labels(&self) -> Vec<String> {
        let mut reader = Reader::default();
        let label = |item: &Item| match item.drawn.as_slice() {
            [] => reader.choice(&self.path, &self.key, &item.node).map_or_else(String::new, |choice| choice.shown.text),
            _ => readable(&json(&item.fixed())),
        };
        let labels: Vec<String> = self.items.iter().map(label).collect();
        let is_alone = |label: &String| labels.iter().filter(|other| *other == label).count() == 1;
        let with_drawn = |(item, label): (&Item, &String)| {
            if item.drawn.is_empty() || !label.is_empty() && is_alone(label) {
                return label.clone();
            }
            let drawn = item.drawn.iter().filter_map(|inner| Some(self.inner_path(item, inner.entry)?.1));
            std::iter::once(label.as_str()).filter(|label| !label.is_empty()).chain(drawn).collect::<Vec<_>>().join(" ")
        };
        self.items.iter().zip(&labels).map(with_drawn).collect()
    }
}

/// A number of a range, as the file would write it.
fn text(domain: &Domain, x: f64) -> String {
    match domain {
        Domain::LogInt { .. } => format!("{x:.0}"),
        Domain::Steps { .. } => rounded_text(x, DIGITS),
        _ => crate::trial::number_text(x),
    }
}

impl Item {
    /// The entries of the map that have one value.
    fn fixed(&self) -> Node {
        let entries = self.node.map().unwrap_or_default().iter().enumerate();
        let fixed = entries.filter(|(entry, _)| self.drawn.iter().all(|inner| inner.entry != *entry));
        Node { place: self.node.place, content: Content::Map(fixed.map(|(_, entry)| entry.clone()).collect()) }
    }
}

impl DrawnSpace {
    /// The values at a point, each with the path of its key. None where the point has no value for a key, or one that is no
    /// value of the file.
    pub(crate) fn choices(&self, point: &Point) -> Option<Vec<(String, Choice)>> {
        let mut reader = Reader::default();
        let mut choices = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            let node = key.node(&self.space, point)?;
            choices.push((key.path.clone(), reader.choice(&key.path, &key.key, &node)?));
        }
        Some(choices)
    }

    /// The point of a configuration; None if one of its values cannot be drawn. `shown` gives the value of a key as the trial
    /// shows it, if the key varied when the trial was made. `config` is its complete configuration, and `base` that of the fixed
    /// values. [`Self::choices`] tells whether the point is the same configuration.
    pub(crate) fn point<'v>(
        &self,
        shown: impl Fn(&str) -> Option<&'v Value>,
        config: &Value,
        base: &Value,
    ) -> Option<Point> {
        let mut point: Point = vec![None; self.space.dimensions.len()];
        for key in &self.keys {
            let shown = shown(&key.path);
            if key.items.is_empty() {
                let value = shown.or_else(|| lookup(config, &key.path))?;
                point[key.dimension] = Some(self.space.dimensions[key.dimension].domain.held(value.as_f64()?)?);
            } else {
                self.find_item(key, shown, [config, base], &mut point)?;
            }
        }
        Some(point)
    }

    /// Sets the coordinates of the item that gives a configuration its value of a key: the one that is shown. Otherwise, of
    /// the items whose settings the configuration has, the one that explains most of what differs from the fixed values. Where
    /// the range of an item holds the value of another one, it is the item that draws less, or from steps.
    fn find_item(
        &self,
        key: &DrawnKey,
        shown: Option<&Value>,
        [config, base]: [&Value; 2],
        point: &mut Point,
    ) -> Option<()> {
        let mut reader = Reader::default();
        let mut found: Option<(usize, Point)> = None;
        let mut items: Vec<(usize, &Item)> = key.items.iter().enumerate().collect();
        let is_continuum = |dimension: usize| self.space.dimensions[dimension].domain.size().is_none();
        let continua = |item: &Item| item.drawn.iter().filter(|inner| is_continuum(inner.dimension)).count();
        items.sort_by_key(|(_, item)| (item.drawn.len(), continua(item)));
        for (index, item) in items {
            let mut filled = point.clone();
            filled[key.dimension] = Some(index as f64);
            let choice = self.fill(key, item, shown, config, &mut filled);
            let choice = choice.and_then(|()| reader.choice(&key.path, &key.key, &key.node(&self.space, &filled)?));
            let Some(Choice { settings, shown: of_item }) = choice else { continue };
            if shown == Some(&of_item.value) {
                *point = filled;
                return Some(());
            }
            let has = |values: &Value, setting: &Setting| {
                lookup(values, &setting.path).unwrap_or(&Value::Null) == &setting.value
            };
            let explained = settings.iter().filter(|setting| !has(base, setting)).count();
            let is_better = found.as_ref().is_none_or(|(most, _)| explained > *most);
            if is_better && settings.iter().all(|setting| has(config, setting)) {
                found = Some((explained, filled));
            }
        }
        *point = found?.1;
        Some(())
    }

    /// Sets the coordinates of the entries that are drawn inside an item. None if a configuration has no such values.
    fn fill(
        &self,
        key: &DrawnKey,
        item: &Item,
        shown: Option<&Value>,
        config: &Value,
        point: &mut Point,
    ) -> Option<()> {
        for inner in &item.drawn {
            let (path, name) = key.inner_path(item, inner.entry)?;
            // What is shown leaves out parameters at their defaults.
            let value = shown.and_then(|shown| shown.get(name)).or_else(|| lookup(config, &path))?;
            point[inner.dimension] = Some(match inner.values.as_slice() {
                [] => self.space.dimensions[inner.dimension].domain.held(value.as_f64()?)?,
                values => values.iter().position(|node| is_same(&json(node), value))? as f64,
            });
        }
        Some(())
    }

    /// What each dimension is called.
    pub(crate) fn names(&self) -> Vec<DimensionName> {
        let named = |path: String, values| DimensionName { greatest: keys::greatest(&path), path, values };
        let mut names = vec![DimensionName::default(); self.space.dimensions.len()];
        for key in &self.keys {
            names[key.dimension] = named(key.path.clone(), key.labels());
            for item in &key.items {
                for inner in &item.drawn {
                    let path = key.inner_path(item, inner.entry).map(|(path, _)| path).unwrap_or_default();
                    let values = inner.values.iter().map(|node| readable(&json(node))).collect();
                    names[inner.dimension] = named(path, values);
                }
            }
        }
        names
    }

    /// The section as YAML.
    pub(super) fn to_yaml(&self) -> Mapping {
        self.keys.iter().map(|key| (key.path.as_str().into(), yaml(&key.written))).collect()
    }
}

fn yaml(node: &Node) -> Yaml {
    match &node.content {
        Content::Scalar { text, plain: false } => text.as_str().into(),
        Content::Scalar { text, plain: true } => serde_yaml::from_str(text).unwrap_or_else(|_| text.as_str().into()),
        Content::List(items) => items.iter().map(yaml).collect::<Vec<_>>().into(),
        Content::Map(entries) => {
            entries.iter().map(|(key, value)| (yaml(key), yaml(value))).collect::<Mapping>().into()
        }
    }
}

fn json(node: &Node) -> Value {
    serde_json::to_value(yaml(node)).unwrap_or_default()
}

/// Whether a value as written is one of a configuration, where all numbers may be floats.
fn is_same(written: &Value, value: &Value) -> bool {
    match (written, value) {
        (Value::Number(written), Value::Number(value)) => written.as_f64() == value.as_f64(),
        (Value::Array(written), Value::Array(values)) => {
            written.len() == values.len() && written.iter().zip(values).all(|(written, value)| is_same(written, value))
        }
        _ => written == value,
    }
}

/// Gives the entry at a place of a map another value.
fn set_entry(node: &mut Node, entry: usize, value: Node) {
    if let Content::Map(entries) = &mut node.content
        && let Some((_, old)) = entries.get_mut(entry)
    {
        *old = value;
    }
}

/// What a list of values is drawn from: rising numbers without weights have an order.
fn domain_of(items: &[Node], weights: Option<Vec<f64>>) -> Domain {
    let numbers: Vec<f64> = items.iter().filter_map(number).collect();
    let is_ordered =
        items.len() > 1 && numbers.len() == items.len() && numbers.windows(2).all(|pair| pair[0] < pair[1]);
    match weights {
        None if is_ordered => Domain::Steps { low: 0.0, step: 1.0, count: items.len() as u64 },
        weights => Domain::Choice { weights: weights.unwrap_or_else(|| vec![1.0; items.len()]) },
    }
}

impl Reader {
    /// The section `space`.
    pub(super) fn space(&mut self, key: &Node, value: &Node) {
        self.space_place = Some(key.place);
        let entries = self.axes_map(key, value);
        if entries.is_empty() && (value.is_null() || value.map().is_some()) {
            self.error(value, "`space` has no keys", "expected keys, such as {lr: {log: [1e-6, 1e-3]}}");
        }
        for (key, value) in entries {
            self.space_key(&key, &value);
        }
    }

    fn space_key(&mut self, key: &Node, value: &Node) {
        if self.can_vary(key).is_none() {
            return;
        }
        let Some(resolved) = self.resolve("", key) else { return };
        // A map under a group holds the keys of the group.
        if let Some(entries) = value.map().filter(|entries| keys::group(&resolved.path).is_some() && !has_word(entries))
        {
            for (inner, value) in entries {
                let path = format!("{}.{}", key.text().unwrap_or_default(), inner.text().unwrap_or_default());
                self.space_key(&Node::plain(&path, inner.place), value);
            }
            return;
        }
        let before = self.errors.len();
        // As on the grid: a list with maps draws the values of a group, and not of a key inside it.
        let items =
            value.list().or_else(|| value.map()?.iter().find(|(key, _)| key.text() == Some("choice"))?.1.list());
        let has_maps = items.is_some_and(|items| items.iter().any(|item| item.text().is_none()));
        let path = resolved.scalar_path().filter(|_| !has_maps).unwrap_or(&resolved.path).to_owned();
        self.drawn_key(&path, key, value);
        if self.drawn.keys.iter().all(|drawn| drawn.path != path) {
            self.undrawable.push((path, key.place));
        }
        self.mark_uncertain_since(before, key);
    }

    fn drawn_key(&mut self, path: &str, key: &Node, value: &Node) {
        if let Some(earlier) = self.drawn.keys.iter().find(|earlier| earlier.path == path) {
            let hint = format!("first in line {}", earlier.place.line());
            return self.error(key, format!("`{path}` is drawn twice"), hint);
        }
        let dimension = self.drawn.space.dimensions.len();
        let mut drawn = DrawnKey {
            path: path.to_owned(),
            place: key.place,
            key: key.clone(),
            written: value.clone(),
            dimension,
            items: Vec::new(),
        };
        let mut choices = Vec::new();
        if let Some(range) = value.map().filter(|entries| !names_a_choice(entries)) {
            let Some((drawn_from, ends)) = self.range(path, Some(key), value, range) else { return };
            let before = self.errors.len();
            for end in ends {
                choices.extend(self.choice(path, key, &end));
            }
            if self.errors.len() == before {
                self.check_between(path, key, value, &drawn_from);
            }
            self.drawn.space.dimensions.push(drawn_from);
        } else {
            let Some((items, weights)) = self.listed(path, value) else { return };
            self.drawn.space.dimensions.push(domain_of(&items, weights).into());
            let mut written = Vec::new();
            for (index, node) in items.iter().enumerate() {
                let (item, ends) = self.item(path, node, Condition { dimension, choice: index });
                let before = self.errors.len();
                let values: Vec<Choice> = ends.iter().filter_map(|end| self.choice(path, key, end)).collect();
                self.say_how_to_draw(node, before);
                written.extend(values.iter().filter(|_| item.drawn.is_empty()).cloned());
                choices.extend(values);
                drawn.items.push(item);
            }
            self.errors.extend(check::twice(key.place, &written));
        }
        let axis = AxisKey { path: path.to_owned(), place: key.place, choices };
        let has_range = drawn.items.is_empty() || drawn.items.iter().any(|item| !item.drawn.is_empty());
        if path.split('.').next() == Some("data") && has_range {
            let hint = "a key of `data` can only have a list of values, because each needs its own look at the data";
            return self.error(key, format!("`{path}` cannot be drawn from a range"), hint);
        }
        self.drawn.factors.push(Factor { keys: vec![axis] });
        self.drawn.keys.push(drawn);
    }

    /// Reports a range whose ends are valid, and what lies between them is not, as with whole numbers.
    fn check_between(&mut self, path: &str, key: &Node, value: &Node, SpaceKey { domain, prior, .. }: &SpaceKey) {
        let (between, range) = match *domain {
            Domain::Uniform { .. } if prior.is_some() => (domain.draw(BETWEEN), "{normal: [..], step: 1}"),
            Domain::Uniform { .. } => (domain.draw(BETWEEN), "{int: [..]}"),
            Domain::Log { .. } => (domain.draw(BETWEEN), "{log_int: [..]}"),
            Domain::Steps { low, step, .. } => (low + step, "{.., step: 1}"),
            _ => return,
        };
        let before = self.errors.len();
        let between = rounded_text(between, 3);
        self.choice(path, key, &Node::plain(&between, value.place));
        if self.errors.len() > before {
            self.errors.truncate(before);
            let hint = format!("for whole numbers write {range}; otherwise choose ends with valid values between them");
            self.error(value, format!("`{path}` cannot be `{between}`, which lies in this range"), hint);
        }
    }

    /// The values of a list, or of `{choice: [..], weights: [..]}`, with their weights.
    fn listed(&mut self, path: &str, value: &Node) -> Option<(Vec<Node>, Option<Vec<f64>>)> {
        let (list, weights) = match value.map() {
            Some(entries) => {
                let find = |name: &str| entries.iter().find(|(key, _)| key.text() == Some(name)).map(|(_, node)| node);
                let others = self.other_entries(path, entries, &["choice", "weights"]);
                others?;
                (find("choice")?, find("weights"))
            }
            None => (value, None),
        };
        let Some(items) = list.list().filter(|items| !items.is_empty()) else {
            let what = format!("`{path}` needs values to draw from");
            self.error(
                list,
                what,
                "expected a list, or a range such as {log: [1e-6, 1e-3]}, {uniform: [0, 0.3]} or {int: [1, 6]}",
            );
            return None;
        };
        let Some(weights) = weights else { return Some((items.to_vec(), None)) };
        let numbers: Vec<f64> = weights.list().unwrap_or_default().iter().filter_map(number).collect();
        let fits = numbers.len() == items.len()
            && weights.list().is_some_and(|list| list.len() == items.len())
            && numbers.iter().all(|weight| *weight >= 0.0)
            && numbers.iter().any(|weight| *weight > 0.0);
        if !fits {
            let what = format!("the weights of `{path}` do not fit its values");
            self.error(weights, what, format!("expected {} numbers from 0, not all 0", items.len()));
        }
        Some((items.to_vec(), fits.then_some(numbers)))
    }

    /// A value of a list, and the values that must be valid: itself, or with the ends of what is drawn inside it.
    fn item(&mut self, path: &str, node: &Node, condition: Condition) -> (Item, Vec<Node>) {
        let before = self.errors.len();
        let of_several = node.list().unwrap_or_default().iter().filter_map(Node::map).flatten();
        for (key, value) in of_several.filter(|(_, value)| value.map().is_some_and(has_word)) {
            let what = format!("`{path}.{}` cannot be drawn inside a list", key.text().unwrap_or_default());
            let hint =
                format!("draw it where it stands alone as a value of `{path}`, or write each list with its numbers");
            self.error(value, what, hint);
        }
        let mut item = Item { node: node.clone(), drawn: Vec::new() };
        let mut all_ends = Vec::new();
        let mut is_readable = self.errors.len() == before;
        for (entry, (key, value)) in node.map().unwrap_or_default().iter().enumerate() {
            let Some(range) = value.map().filter(|entries| has_word(entries)) else { continue };
            let path = format!("{path}.{}", key.text().unwrap_or_default());
            let drawn = if names_a_choice(range) {
                let listed = self.listed(&path, value).filter(|(values, _)| self.are_distinct(&path, values));
                listed.map(|(values, weights)| (domain_of(&values, weights).into(), values.clone(), values))
            } else {
                let range = self.range(&path, None, value, range);
                range.map(|(drawn_from, ends)| (drawn_from, ends.to_vec(), Vec::new()))
            };
            let Some((drawn_from, ends, values)) = drawn else {
                is_readable = false;
                continue;
            };
            item.drawn.push(DrawnEntry { entry, dimension: self.drawn.space.dimensions.len(), values });
            self.drawn.space.dimensions.push(SpaceKey { condition: Some(condition), ..drawn_from });
            all_ends.push((entry, ends));
        }
        // A range with a mistake has no ends, and as a map it would be a second mistake.
        let count = if is_readable { all_ends.iter().map(|(_, ends)| ends.len()).max().unwrap_or(1) } else { 0 };
        let with_ends = |place: usize| {
            let mut node = node.clone();
            for (entry, ends) in &all_ends {
                set_entry(&mut node, *entry, ends[place.min(ends.len() - 1)].clone());
            }
            node
        };
        (item, (0..count).map(with_ends).collect())
    }

    /// Reports values of a list that are there twice.
    fn are_distinct(&mut self, path: &str, values: &[Node]) -> bool {
        let written: Vec<Value> = values.iter().map(json).collect();
        let twice = (0..written.len()).find(|&at| written[..at].iter().any(|earlier| is_same(earlier, &written[at])));
        if let Some(at) = twice {
            let what = format!("{} is a value of `{path}` twice", values[at].described());
            self.error(&values[at], what, "remove one");
        }
        twice.is_none()
    }

    /// Says how an entry of a value is drawn, where a list stands for it and was an error since `before`.
    fn say_how_to_draw(&mut self, item: &Node, before: usize) {
        let lists =
            || item.map().unwrap_or_default().iter().map(|(_, value)| value).filter(|value| value.list().is_some());
        for problem in &mut self.errors[before..] {
            if let Some(list) = lists().find(|list| list.place == problem.place()) {
                *problem = problem.clone().hint(format!("to draw one of them write {{choice: {}}}", list.flow()));
            }
        }
    }

    /// A range such as `{log: [1e-6, 1e-3]}`, with its ends. `key`: None inside a value of a list.
    fn range(
        &mut self,
        path: &str,
        key: Option<&Node>,
        value: &Node,
        entries: &[(Node, Node)],
    ) -> Option<(SpaceKey, [Node; 2])> {
        let word = entries.iter().find(|(key, _)| key.text().is_some_and(|text| WORDS.contains(&text)));
        let Some((word, ends)) = word else {
            let hint = self.meant_range(path, key, value, entries);
            self.error(value, format!("`{path}` has no range that can be drawn from"), hint);
            return None;
        };
        let word = word.text().unwrap_or_default();
        let allowed = [word, "step"];
        let allowed = if matches!(word, "uniform" | "int" | "normal") { &allowed[..] } else { &allowed[..1] };
        let others = self.other_entries(path, entries, allowed);
        let range = match word {
            "normal" => self.normal(path, entries, ends),
            _ => self.ends(path, word, entries, ends).map(|(domain, ends)| (domain.into(), ends)),
        };
        range.filter(|_| others.is_some())
    }

    /// What a range in the words of another program, or without a word, may mean: only what can be read.
    fn meant_range(&mut self, path: &str, key: Option<&Node>, value: &Node, entries: &[(Node, Node)]) -> String {
        let find = |entries: &[(Node, Node)], name: &str| {
            entries.iter().find(|(key, _)| key.text() == Some(name)).map(|(_, node)| node.clone())
        };
        let Some((first, of_first)) = entries.first() else { return format!("expected one of {}", WORDS.join(", ")) };
        let first = first.text().unwrap_or_default();
        let plain = first.rsplit('.').next().unwrap_or(first);
        let known = OTHER_WORDS.iter().find(|(other, _)| *other == plain).map(|(_, word)| *word);
        let meant = known.or_else(|| nearest(plain, WORDS)).filter(|_| !matches!(plain, "min" | "max"));
        if let (Some("choice"), true) = (meant, of_first.list().is_some()) {
            return format!("did you mean `choice`? Write `{path}: {{choice: {}}}`", of_first.flow());
        }
        let inside = of_first.map().unwrap_or(entries);
        let of_list = of_first.list().unwrap_or_default();
        let end = |at: usize, name: &str| of_list.get(at).cloned().or_else(|| find(inside, name));
        let step = of_list.get(2).cloned().or_else(|| find(inside, "step")).or_else(|| find(inside, "q"));
        let candidates: &[&str] = match meant {
            Some("log") => &["log", "log_int"],
            Some("uniform") => &["uniform", "int"],
            Some("int") => &["int", "uniform"],
            Some("log_int") => &["log_int", "log"],
            Some("normal") => &["normal"],
            Some(_) => &[],
            None => &["uniform", "log", "int", "log_int"],
        };
        let written: Vec<(&str, String)> = match (end(0, "min"), end(1, "max")) {
            (Some(low), Some(high)) if meant.is_some() || matches!(plain, "min" | "max") => {
                let mut range = |word: &&str| self.readable(path, key, value, word, [&low, &high], step.as_ref());
                candidates.iter().copied().filter_map(|word| Some((word, range(&word)?))).collect()
            }
            _ => Vec::new(),
        };
        match (meant, written.as_slice()) {
            (Some(_), [(word, range), ..]) => format!("did you mean `{word}`? Write `{path}: {range}`"),
            (Some(word), []) => {
                format!("did you mean `{word}`? Such as {{{word}: [..]}}, with ends that `{path}` can have")
            }
            (None, []) => format!("expected one of {}", WORDS.join(", ")),
            (None, [(_, only)]) => format!("write {only}"),
            (None, [some @ .., (_, last)]) => {
                let some: Vec<&str> = some.iter().map(|(_, range)| range.as_str()).collect();
                format!("write {} or {last}", some.join(", "))
            }
        }
    }

    /// A range as the file would write it; None if it would be a mistake.
    fn readable(
        &mut self,
        path: &str,
        key: Option<&Node>,
        value: &Node,
        word: &str,
        ends: [&Node; 2],
        step: Option<&Node>,
    ) -> Option<String> {
        let before = (self.errors.len(), self.warnings.len());
        let ends = Node { place: value.place, content: Content::List(ends.map(Node::clone).to_vec()) };
        let step = step.filter(|_| matches!(word, "uniform" | "int" | "normal")).map(|step| ("step", step.clone()));
        let entries =
            std::iter::once((word, ends)).chain(step).map(|(key, node)| (Node::plain(key, value.place), node));
        let node = Node { place: value.place, content: Content::Map(entries.collect()) };
        let range = self.range(path, key, &node, node.map()?);
        if let (Some((drawn_from, ends)), Some(key)) = (&range, key) {
            for end in ends {
                self.choice(path, key, end);
            }
            if self.errors.len() == before.0 {
                self.check_between(path, key, &node, drawn_from);
            }
        }
        let is_right = range.is_some() && self.errors.len() == before.0;
        self.errors.truncate(before.0);
        self.warnings.truncate(before.1);
        is_right.then(|| node.flow())
    }

    /// The domain of a range with a known word, and its ends.
    fn ends(&mut self, path: &str, word: &str, entries: &[(Node, Node)], ends: &Node) -> Option<(Domain, [Node; 2])> {
        let takes_step = matches!(word, "uniform" | "int");
        let step = entries.iter().find(|(key, _)| takes_step && key.text() == Some("step")).map(|(_, node)| node);
        let Some([low_node, high_node]) = ends.list().and_then(|ends| <&[Node; 2]>::try_from(ends).ok()) else {
            self.error(ends, format!("the range of `{path}` needs two ends"), format!("such as {{{word}: [1, 6]}}"));
            return None;
        };
        let (Some(low), Some(high)) = (number(low_node), number(high_node)) else {
            let wrong = if number(low_node).is_none() { low_node } else { high_node };
            self.error(
                wrong,
                format!("an end of the range of `{path}` cannot be {}", wrong.described()),
                "expected a number",
            );
            return None;
        };
        if low >= high {
            let is_log = matches!(word, "log" | "log_int");
            let hint = if low > high && is_log && high <= 0.0 {
                format!("the lower end comes first, and is above 0: such as [1e-6, {}]", low_node.text()?)
            } else if low > high {
                format!("the lower end comes first: [{}, {}]", high_node.text()?, low_node.text()?)
            } else {
                format!("for one value write `{path}: {}` at the top level", low_node.text()?)
            };
            self.error(ends, format!("the range of `{path}` is empty"), hint);
            return None;
        }
        let is_whole = low.fract() == 0.0 && high.fract() == 0.0;
        if matches!(word, "int" | "log_int") && !is_whole {
            self.error(
                ends,
                format!("`{word}` of `{path}` needs whole numbers"),
                "for others write {uniform: [..]} or {log: [..]}",
            );
            return None;
        }
        if word == "log" && low <= 0.0 || word == "log_int" && low < 1.0 {
            let least = if word == "log" { "a lower end above 0, such as 1e-6" } else { "a lower end from 1" };
            let what = format!("`{path}` cannot be drawn evenly in logarithm from {}", low_node.described());
            self.error(low_node, what, format!("expected {least}"));
            return None;
        }
        let step = match step.map(|node| (node, number(node))) {
            None => (word == "int").then_some(1.0),
            Some((node, step)) => {
                let fits = step.filter(|step| *step > 0.0 && *step <= high - low);
                let fits = fits.filter(|step| word == "uniform" || step.fract() == 0.0);
                if fits.is_none() {
                    let least = if word == "int" { "a whole number" } else { "a number" };
                    let hint = format!("expected {least} above 0, at most {}", crate::trial::number_text(high - low));
                    self.error(node, format!("the step of `{path}` cannot be {}", node.described()), hint);
                    return None;
                }
                fits
            }
        };
        let domain = match (word, step) {
            ("log", _) => Domain::Log { low, high },
            ("log_int", _) => Domain::LogInt { low: low as u64, high: high as u64 },
            (_, Some(step)) => Domain::Steps { low, step, count: ((high - low) / step + 1e-9).floor() as u64 + 1 },
            _ => Domain::Uniform { low, high },
        };
        Some((domain, [low_node.clone(), high_node.clone()]))
    }

    /// Reports entries that a range does not have. None if there are any.
    fn other_entries(&mut self, path: &str, entries: &[(Node, Node)], known: &[&str]) -> Option<()> {
        let before = self.errors.len();
        for (other, _) in entries.iter().filter(|(key, _)| key.text().is_none_or(|text| !known.contains(&text))) {
            let what = format!("unknown `{}` in the range of `{path}`", other.text().unwrap_or_default());
            self.error(other, what, format!("expected {}", known.join(", ")));
        }
        (self.errors.len() == before).then_some(())
    }
}

fn has_word(entries: &[(Node, Node)]) -> bool {
    let is_word = |text: &str| {
        WORDS.contains(&text) || OTHER_WORDS.iter().any(|(other, _)| *other == text) || matches!(text, "min" | "max")
    };
    entries.iter().any(|(key, _)| key.text().is_some_and(is_word))
}

fn names_a_choice(entries: &[(Node, Node)]) -> bool {
    entries.iter().any(|(key, _)| key.text() == Some("choice"))
}
