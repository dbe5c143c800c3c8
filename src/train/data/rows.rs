//! The rows of data files, good and bad.

use std::collections::HashMap;

use super::error::DataError;

/// A labelled text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Index of its file among the files of the source.
    pub file: u32,
    /// Line of the file where the row starts, from 1. For Parquet: the number of the row.
    pub line: u64,
    pub text: String,
    pub pair: Option<String>,
    pub choices: Vec<String>,
    pub label: String,
}

/// A row that cannot be used.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BadRow {
    pub line: u64,
    pub reason: String,
    /// The part of the reason, between backticks, in which rows with the same fault differ. Empty: they do not differ.
    pub value: String,
    /// Stands after the reason of the first row with a fault; the other rows with the same fault have their own. May be empty.
    pub detail: String,
}

impl BadRow {
    pub fn new(line: u64, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into(), value: String::new(), detail: String::new() }
    }

    /// A row in which this value, a part of the reason, is wrong.
    pub fn of_value(line: u64, reason: String, value: impl Into<String>) -> Self {
        Self { value: value.into(), ..Self::new(line, reason) }
    }

    /// What rows with the same fault have in common.
    fn fault(&self) -> String {
        if self.value.is_empty() { self.reason.clone() } else { self.reason.replacen(&quoted(&self.value), "", 1) }
    }
}

fn quoted(value: &str) -> String {
    format!("`{value}`")
}

/// The content of one file.
#[derive(Debug, Default)]
pub(super) struct ParsedFile {
    pub rows: Vec<Row>,
    pub bad_rows: Vec<BadRow>,
    /// How the file was read, in a few words: format, delimiter, encoding.
    pub description: String,
}

/// The error about the bad rows of files.
pub(super) fn bad_rows_error(files: &[(&str, &[BadRow])]) -> DataError {
    DataError::malformed(format!("{}; `data.bad_rows: skip` leaves such rows out", bad_rows_text(files)))
}

/// Every fault of a file with its lines, the first 20 of each.
pub(super) fn bad_rows_text(files: &[(&str, &[BadRow])]) -> String {
    const SHOWN: usize = 20;
    let mut places: HashMap<(&str, String), usize> = HashMap::new();
    let mut faults: Vec<(&str, Vec<&BadRow>)> = Vec::new();
    for (source, row) in files.iter().flat_map(|(source, rows)| rows.iter().map(|row| (*source, row))) {
        let place = *places.entry((source, row.fault())).or_insert(faults.len());
        if place == faults.len() {
            faults.push((source, Vec::new()));
        }
        faults[place].1.push(row);
    }
    let shown = faults.iter().take(SHOWN);
    let mut parts: Vec<String> = shown.map(|(source, rows)| fault_text(source, rows, SHOWN)).collect();
    if faults.len() > SHOWN {
        parts.push(format!("and {} more kinds of faults", faults.len() - SHOWN));
    }
    parts.join("; ")
}

/// A fault with the lines of the first `shown` rows that have it. A value that differs from that of the first row stands beside
/// its line.
fn fault_text(source: &str, rows: &[&BadRow], shown: usize) -> String {
    let first = rows[0];
    let start = format!("{source}:{}: {}{}", first.line, first.reason, first.detail);
    if rows.len() == 1 {
        return start;
    }
    let place = |row: &&BadRow| {
        if row.value == first.value { row.line.to_string() } else { format!("{} {}", row.line, quoted(&row.value)) }
    };
    let places: Vec<String> = rows.iter().take(shown).map(place).collect();
    let more = match rows.len().saturating_sub(shown) {
        0 => String::new(),
        more => format!(", ... ({more} more)"),
    };
    format!("{start} ({} rows: lines {}{more})", rows.len(), places.join(", "))
}
