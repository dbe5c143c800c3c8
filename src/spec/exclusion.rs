//! Finds the entries of `exclude` that a configuration matches. Entries of plain values are found by their values, so that
//! thousands of them cost no more than one.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::sweep::{Entry, lookup};

/// Entries of `exclude`, arranged for [`Exclusion::matches`].
#[derive(Debug)]
pub(crate) struct Exclusion<'s> {
    /// By the paths of the entries: the entries by the JSON of their values.
    by_values: BTreeMap<Vec<&'s str>, HashMap<String, Vec<usize>>>,
    /// Entries with a map or a list, of which a configuration may hold more.
    others: Vec<(usize, &'s Entry)>,
}

impl<'s> Exclusion<'s> {
    pub(crate) fn new(entries: impl IntoIterator<Item = &'s Entry>) -> Self {
        let (mut by_values, mut others) = (BTreeMap::<_, HashMap<_, Vec<usize>>>::new(), Vec::new());
        for (index, entry) in entries.into_iter().enumerate() {
            let settings = entry.settings();
            if settings.iter().any(|setting| setting.given.is_object() || setting.given.is_array()) {
                others.push((index, entry));
                continue;
            }
            let paths: Vec<&str> = settings.iter().map(|setting| setting.path.as_str()).collect();
            let values = joined(settings.iter().map(|setting| &setting.given));
            by_values.entry(paths).or_default().entry(values).or_default().push(index);
        }
        Self { by_values, others }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_values.is_empty() && self.others.is_empty()
    }

    /// The indices of the entries that `config`, as JSON, matches.
    pub(crate) fn matches(&self, config: &Value) -> impl Iterator<Item = usize> {
        let by_values = self.by_values.iter().filter_map(|(paths, entries)| {
            entries.get(&joined(paths.iter().map(|path| lookup(config, path).unwrap_or(&Value::Null))))
        });
        let others = self.others.iter().filter(|(_, entry)| entry.matches(config));
        by_values.flatten().copied().chain(others.map(|(index, _)| *index))
    }
}

fn joined<'v>(values: impl Iterator<Item = &'v Value>) -> String {
    values.map(Value::to_string).collect::<Vec<_>>().join(" ")
}
