//! The class frequencies of a file of labels.

use std::collections::BTreeMap;

use super::sheet::{Field, Row};
use super::{json, table};

/// Names that a column of labels has.
const LABEL: &[&str] = &["label", "labels", "class", "target", "gold"];

/// Share of each class, in order of the classes' names. `text`: a table with a column of labels, or a label a line.
pub fn label_shares(text: &str) -> Result<Vec<f64>, String> {
    let sheet = if text.trim_start().starts_with(['{', '[']) { json::read(text) } else { table::read(text) };
    let is_labelled = |row: &Row| LABEL.iter().any(|name| row.contains_key(*name));
    let labels: Vec<String> = match sheet.ok().filter(|sheet| sheet.rows.iter().any(is_labelled)) {
        Some(sheet) => sheet.rows.iter().filter_map(label).collect(),
        None => text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect(),
    };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for label in &labels {
        *counts.entry(label).or_default() += 1;
    }
    match counts.len() {
        0 | 1 => Err("holds fewer than two classes; it needs a label a line, or a column `label`".into()),
        n if n * 2 > labels.len() => Err(format!(
            "holds {n} different lines of {}, too many to be classes; it needs a label a line, or a column `label`",
            labels.len()
        )),
        _ => Ok(counts.values().map(|count| *count as f64 / labels.len() as f64).collect()),
    }
}

fn label(row: &Row) -> Option<String> {
    match LABEL.iter().find_map(|name| row.get(*name))? {
        Field::Number(number) => Some(number.to_string()),
        Field::Text(text) => Some(text.clone()),
        Field::Missing => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_counted() {
        assert_eq!(label_shares("a\nb\na\na\n").unwrap(), [0.75, 0.25]);
        assert_eq!(label_shares("text\tlabel\nx\t0\ny\t1\nz\t1\nw\t0\n").unwrap(), [0.5, 0.5]);
        assert!(label_shares("a\n").is_err() && label_shares("x\ny\nz\n").is_err());
    }
}
