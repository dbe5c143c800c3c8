//! Reads what varies: `grid`, `zip`, `seeds`, and the entries of `include` and `exclude`.

use serde_json::{Map, Value};

use super::kind::brief;
use super::read::{Reader, Resolved};
use super::sections::is_section;
use super::sweep::{AxisKey, Choice, Entry, Factor, Setting, readable};
use super::yaml::Node;
use super::{check, keys};
use crate::trial::AxisValue;

impl Reader {
    pub(super) fn grid(&mut self, key: &Node, value: &Node) {
        self.grid = Some(key.place);
        for (key, value) in self.axes_map(key, value) {
            let before = self.errors.len();
            if let Some(axis) = self.axis(&key, &value) {
                self.factors.push(Factor { keys: vec![axis] });
            }
            self.mark_uncertain_since(before, &key);
        }
    }

    pub(super) fn zip(&mut self, key: &Node, value: &Node) {
        self.grid = self.grid.or(Some(key.place));
        let mut keys: Vec<AxisKey> = Vec::new();
        let mut wanted: Option<(String, usize)> = None;
        for (key, value) in self.axes_map(key, value) {
            let before = self.errors.len();
            let written = key.text().unwrap_or_default().to_owned();
            let length = value.list().map_or(0, <[Node]>::len);
            match &wanted {
                Some((first, expected)) if length > 0 && length != *expected => {
                    let plural = if length == 1 { "" } else { "s" };
                    let what = format!("`{written}` has {length} value{plural}, `{first}` has {expected}");
                    self.error(&key, what, "the lists of `zip` must have equal lengths");
                }
                None if length > 0 => wanted = Some((written, length)),
                _ => {}
            }
            if let Some(axis) = self.axis(&key, &value) {
                if keys.iter().any(|earlier| earlier.path == axis.path) {
                    self.error(&key, format!("`{}` is in `zip` twice", axis.path), "keep one of them");
                } else {
                    keys.push(axis);
                }
            }
            self.mark_uncertain_since(before, &key);
        }
        if !keys.is_empty() {
            self.factors.push(Factor { keys });
        }
    }

    /// The entries of `grid` or `zip`.
    pub(super) fn axes_map(&mut self, key: &Node, value: &Node) -> Vec<(Node, Node)> {
        match value.map() {
            Some(entries) => entries.to_vec(),
            None if value.is_null() => Vec::new(),
            None => {
                let what = format!("`{}` cannot be {}", key.text().unwrap_or_default(), value.described());
                self.error(value, what, "expected keys with lists of values, such as {lr: [1e-5, 1e-4]}");
                Vec::new()
            }
        }
    }

    /// A key of `grid` or `zip` with its list of values.
    pub(super) fn axis(&mut self, key: &Node, value: &Node) -> Option<AxisKey> {
        self.can_vary(key)?;
        let resolved = self.resolve("", key)?;
        let (path, written) = (&resolved.path, &resolved.written);
        if let Some(earlier) = self.factors.iter().flat_map(|d| &d.keys).find(|earlier| earlier.path == *path) {
            let hint = format!("first in line {}", earlier.place.line());
            self.error(key, format!("`{written}` varies twice"), hint);
            return None;
        }
        let Some(items) = value.list() else {
            let what = format!("`{written}` needs a list of values");
            let hint = value.text().filter(|_| !value.is_null()).map_or_else(
                || "expected a list, such as [1, 2]".into(),
                |text| format!("write [{text}], or move it out of the grid"),
            );
            self.error(value, what, hint);
            return None;
        };
        self.axis_of(&resolved, key, value, items)
    }

    /// The axis of a known key with the values `items`, which stand at `value`.
    pub(super) fn axis_of(&mut self, resolved: &Resolved, key: &Node, value: &Node, items: &[Node]) -> Option<AxisKey> {
        let (path, written) = (&resolved.path, &resolved.written);
        if items.is_empty() {
            self.error(value, format!("`{written}` has no values"), "list at least one, or leave the key out");
            return None;
        }
        let mut choices = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| &items[before]);
            if let Some(number) = before.and_then(|before| parted(before, item)) {
                let what = format!("`{written}` has two values here, separated by a comma");
                self.error(item, what, format!("write {number} if it is one number"));
            } else if let Some(choice) = self.choice(path, key, item) {
                choices.push(choice);
            }
        }
        // A list of folders under `model` is an axis of `model.from`.
        let scalars = items.iter().all(|item| item.text().is_some());
        let path = resolved.scalar_path().filter(|_| scalars).unwrap_or(path).to_owned();
        Some(AxisKey { path, place: key.place, choices })
    }

    /// Reports a key that does not describe a trial.
    pub(super) fn can_vary(&mut self, key: &Node) -> Option<()> {
        let name = key.text().unwrap_or_default();
        let section = name.split('.').next().unwrap_or_default();
        if !is_section(section) {
            return Some(());
        }
        let hint = match section {
            "seeds" => "`seeds: [1, 2]` belongs at the top level",
            "run" | "name" => "it does not describe a trial: set it at the top level",
            _ => "it belongs at the top level",
        };
        self.error(key, format!("`{name}` cannot vary"), hint);
        None
    }

    /// One value of an axis or entry; None if it is wrong, after reporting it.
    pub(super) fn choice(&mut self, path: &str, key: &Node, value: &Node) -> Option<Choice> {
        let before = self.errors.len();
        let mut settings = Vec::new();
        self.settings("", key, value, &mut settings);
        if value.map().is_some_and(<[_]>::is_empty) {
            self.error(value, format!("this value of `{path}` is an empty map"), "expected at least one key");
        }
        (self.errors.len() == before).then(|| Choice { shown: shown_as_written(path, value, &settings), settings })
    }

    pub(super) fn entries(&mut self, key: &Node, value: &Node) -> Vec<Entry> {
        let section = key.text().unwrap_or_default();
        let items = match value.list() {
            Some(items) => items,
            None if value.is_null() => &[],
            None => {
                let what = format!("`{section}` cannot be {}", value.described());
                self.error(value, what, "expected a list of maps, such as [{lr: 3e-4, warmup: 0}]");
                &[]
            }
        };
        let mut entries = Vec::new();
        for item in items {
            let Some(values) = item.map().filter(|map| !map.is_empty()) else {
                let is_empty = item.map().is_some();
                let what = if is_empty { "an empty map".to_owned() } else { item.described() };
                let hint =
                    if is_empty { "expected a key, such as {lr: 3e-4}" } else { "expected a map, such as {lr: 3e-4}" };
                self.error(item, format!("an entry of `{section}` cannot be {what}"), hint);
                continue;
            };
            let mut entry = Entry { place: item.place, values: Vec::new() };
            for (key, value) in values {
                if self.can_vary(key).is_none() {
                    continue;
                }
                let Some(resolved) = self.resolve("", key) else { continue };
                let before = self.errors.len();
                let choice = self.choice(&resolved.path, key, value);
                self.mark_uncertain_since(before, key);
                if let Some(choice) = choice {
                    let path = resolved.scalar_path().filter(|_| value.text().is_some()).unwrap_or(&resolved.path);
                    entry.values.push((path.to_owned(), choice));
                }
            }
            self.errors.extend(check::entry(&entry));
            entries.push(entry);
        }
        entries
    }

    pub(super) fn seeds(&mut self, key: &Node, value: &Node) {
        self.grid = self.grid.or(Some(key.place));
        let Some(items) = value.list() else {
            let what = format!("`seeds` cannot be {}", value.described());
            self.error(value, what, "expected a list of whole numbers, such as [1, 2, 3]");
            return;
        };
        if items.is_empty() {
            self.error(value, "`seeds` has no values", "list at least one, or leave the key out");
            return;
        }
        let seed = Node::plain("seed", key.place);
        let choices = items.iter().filter_map(|item| self.choice("seed", &seed, item)).collect();
        self.seeds = Some(AxisKey { path: "seed".into(), place: key.place, choices });
    }
}

/// The number that was meant by `1,000` in a list, which YAML reads as 1 and 000.
fn parted(before: &Node, item: &Node) -> Option<String> {
    let (head, tail) = (before.plain_text()?, item.plain_text()?);
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let touch =
        before.place.line() == item.place.line() && before.place.column() + head.len() + 1 == item.place.column();
    let fits = touch && !head.starts_with('0') && tail.len() == 3 && tail.starts_with('0');
    (fits && is_number(head) && is_number(tail)).then(|| format!("{head}{tail}"))
}

/// The value of an axis for tables: scalars as written, everything else in short form.
fn shown_as_written(path: &str, node: &Node, settings: &[Setting]) -> AxisValue {
    let value = match (settings, node.map(), keys::variants(path)) {
        ([only], _, Some(variants)) => brief(variants, &only.value),
        ([only], None, None) => only.value.clone(),
        _ => {
            let inner = |setting: &Setting| {
                setting.path.strip_prefix(path).unwrap_or_default().trim_start_matches('.').to_owned()
            };
            Value::from(settings.iter().map(|setting| (inner(setting), setting.value.clone())).collect::<Map<_, _>>())
        }
    };
    let text = match (node.text(), settings, keys::variants(path)) {
        (Some(_), ..) if node.is_null() => "none".into(),
        (Some(text), ..) => text.to_owned(),
        (None, [only], Some(_)) => readable(&given_in_short(&only.given)),
        _ => readable(&value),
    };
    AxisValue { value, text }
}

/// `[{name: synonym}]` as `synonym`.
fn given_in_short(given: &Value) -> Value {
    match given {
        Value::Array(items) if items.is_empty() => "none".into(),
        Value::Array(items) => items.iter().map(given_in_short).collect(),
        other => other.clone(),
    }
}
