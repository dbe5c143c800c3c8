//! Finds the entries of `exclude` that a configuration matches. Entries of plain values are found by their values, so that
//! thousands of them cost no more than one.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::lookup::{lookup, says};

/// What a configuration must hold to match an entry: paths and values.
pub(crate) type Wanted<'s> = Vec<(&'s str, &'s Value)>;

/// Entries of `exclude`, arranged for [`Exclusion::matches`].
#[derive(Debug)]
pub(crate) struct Exclusion<'s> {
    /// By the paths of the entries: the entries by the JSON of their values.
    by_values: BTreeMap<Vec<&'s str>, HashMap<String, Vec<usize>>>,
    /// Entries with a map or a list, of which a configuration may hold more.
    others: Vec<(usize, Wanted<'s>)>,
}

impl<'s> Exclusion<'s> {
    pub(crate) fn new(entries: impl IntoIterator<Item = Wanted<'s>>) -> Self {
        let (mut by_values, mut others) = (BTreeMap::<_, HashMap<_, Vec<usize>>>::new(), Vec::new());
        for (index, wanted) in entries.into_iter().enumerate() {
            if wanted.iter().any(|(_, value)| value.is_object() || value.is_array()) {
                others.push((index, wanted));
                continue;
            }
            let (paths, values): (Vec<&str>, Vec<&Value>) = wanted.into_iter().unzip();
            by_values.entry(paths).or_default().entry(joined(values)).or_default().push(index);
        }
        Self { by_values, others }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_values.is_empty() && self.others.is_empty()
    }

    /// The indices of the entries that `config`, as JSON, matches.
    pub(crate) fn matches(&self, config: &Value) -> impl Iterator<Item = usize> {
        let at = |path: &str| lookup(config, path).unwrap_or(&Value::Null);
        let by_values = self
            .by_values
            .iter()
            .filter_map(move |(paths, entries)| entries.get(&joined(paths.iter().map(|path| at(path)))));
        let is_held = move |wanted: &Wanted<'_>| wanted.iter().all(|(path, value)| says(at(path), value));
        let others = self.others.iter().filter(move |(_, wanted)| is_held(wanted));
        by_values.flatten().copied().chain(others.map(|(index, _)| *index))
    }
}

fn joined<'v>(values: impl IntoIterator<Item = &'v Value>) -> String {
    values.into_iter().map(Value::to_string).collect::<Vec<_>>().join(" ")
}
