//! Parses files of labelled texts (`.tsv`, `.csv`, `.jsonl`) into rows. Every fault has its file and line.
//!
//! * The first line of `.tsv` and `.csv` names the columns. Other columns, blank lines and a byte-order mark are ignored.
//! * In `.tsv` a quote is an ordinary character, as in the files of GLUE. A text cannot contain a tab or a newline.
//! * In `.csv` fields may be quoted as in RFC 4180.
//! * In `.jsonl` each line is an object. Numbers and booleans become text.
//! * White space around labels is removed. A label must not be empty; a text may be.
//! * Only the first `longest` characters of a text are kept.

use serde_json::Value;

use super::error::{DataError, DataErrorKind};
use crate::train::{KeyFault, TrainError};
use crate::trial::DataConfig;

/// A labelled text and the line where it starts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub line: u64,
    pub text: String,
    pub pair: Option<String>,
    pub label: String,
}

/// The columns to read, and the number of characters of a text to keep.
pub(super) struct Columns<'a> {
    text: &'a str,
    pair: Option<&'a str>,
    label: &'a str,
    longest: usize,
}

impl<'a> Columns<'a> {
    pub fn new(config: &'a DataConfig, longest: usize) -> Self {
        Self { text: &config.text, pair: config.text_pair.as_deref(), label: &config.label, longest }
    }

    /// Each needed column with its key in the sweep file.
    fn wanted(&self) -> impl Iterator<Item = (&'static str, &'a str)> {
        let pair = self.pair.map(|pair| ("data.text_pair", pair));
        [("data.text", self.text), ("data.label", self.label)].into_iter().chain(pair)
    }

    /// Looks for every column. All missing columns are reported together, each under its key.
    fn find<T>(&self, find: impl Fn(&str, &str) -> Result<T, String>) -> Result<Vec<(&'a str, T)>, TrainError> {
        let (mut found, mut faults) = (Vec::new(), Vec::new());
        for (key, column) in self.wanted() {
            match find(key, column) {
                Ok(place) => found.push((column, place)),
                Err(message) => faults.push(KeyFault { key, message }),
            }
        }
        if faults.is_empty() { Ok(found) } else { Err(TrainError::Keys(faults)) }
    }

    fn row(
        &self,
        source: &str,
        line: u64,
        mut field: impl FnMut(&str) -> Result<String, TrainError>,
    ) -> Result<Row, TrainError> {
        let label = field(self.label)?.trim().to_owned();
        if label.is_empty() {
            return Err(at(source, line, &format!("the label (column `{}`) is empty", self.label)));
        }
        let text = cut(field(self.text)?, self.longest);
        let pair = self.pair.map(|pair| field(pair).map(|text| cut(text, self.longest))).transpose()?;
        Ok(Row { line, text, pair, label })
    }
}

/// The rows of a file in its order; at least one. `name` ends with the extension of the format. `source` names the file in
/// messages.
pub(super) fn rows(source: &str, name: &str, bytes: &[u8], columns: &Columns<'_>) -> Result<Vec<Row>, TrainError> {
    let text = utf8(source, bytes)?;
    if text.trim().is_empty() {
        return Err(DataError::malformed(format!("{source}: the file is empty; expected one row for each text")).into());
    }
    let rows = match name.rsplit('.').next() {
        Some("tsv") => delimited(source, text, b'\t', columns)?,
        Some("csv") => delimited(source, text, b',', columns)?,
        Some("jsonl") => json_lines(source, text, columns)?,
        _ => {
            let message = format!(
                "{source}: unknown file format; known formats are .tsv, .csv and .jsonl, each also with .gz or .zst"
            );
            return Err(DataError::new(DataErrorKind::Unsupported, message).into());
        }
    };
    if rows.is_empty() {
        return Err(DataError::malformed(format!("{source}: the file has a header but no rows")).into());
    }
    Ok(rows)
}

/// The text without its byte-order mark.
fn utf8<'a>(source: &str, bytes: &'a [u8]) -> Result<&'a str, TrainError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let good = error.valid_up_to();
            let line = bytes[..good].split(|byte| *byte == b'\n').count() as u64;
            let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
            let guess = if utf16 { "the file looks like UTF-16; " } else { "" };
            Err(at(source, line, &format!("byte 0x{:02x} is not UTF-8; {guess}save the file as UTF-8", bytes[good])))
        }
    }
}

/// Appended to a quoted file. A quote that never closes swallows this line and is noticed.
const END: &str = "\n\u{1}end of file\u{1}\n";

fn delimited(source: &str, text: &str, delimiter: u8, columns: &Columns<'_>) -> Result<Vec<Row>, TrainError> {
    let quoted = delimiter == b',';
    let bytes = std::io::Read::chain(text.as_bytes(), if quoted { END.as_bytes() } else { b"" });
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(quoted)
        .flexible(true)
        .has_headers(false)
        .from_reader(bytes);
    let mut records = reader.records();
    let unreadable = |error: csv::Error| DataError::malformed(format!("{source}: {error}")).caused_by(error);
    let header = records.next().transpose().map_err(unreadable)?.unwrap_or_default();
    let found: Vec<&str> = header.iter().map(str::trim).collect();
    let first = line_of(&header, text);
    let index = columns
        .find(|key, column| place(&found, key, column).map_err(|message| format!("{source}:{first}: {message}")))?;
    let mut rows = Vec::new();
    for record in records {
        let record = record.map_err(unreadable)?;
        let line = line_of(&record, text);
        if quoted && record.iter().any(|field| field.contains(END.trim())) {
            let alone = record.len() == 1 && record[0] == *END.trim();
            let unclosed = || at(source, line, "this row opens a quote that never closes");
            return if alone { Ok(rows) } else { Err(unclosed()) };
        }
        if record.len() != found.len() {
            let why =
                if quoted { "quote a text that contains a comma" } else { "a text in a .tsv cannot contain a tab" };
            let (columns, fields) = (found.len(), record.len());
            let message = format!("the header has {columns} columns, but this row has {fields} fields; {why}");
            return Err(at(source, line, &message));
        }
        rows.push(columns.row(source, line, |column| {
            let field = index.iter().find(|(name, _)| *name == column).and_then(|&(_, at)| record.get(at));
            Ok(field.unwrap_or_default().to_owned())
        })?);
    }
    Ok(rows)
}

/// The line where a record starts. The reader reports the position before the blank lines that it skips.
fn line_of(record: &csv::StringRecord, text: &str) -> u64 {
    let Some(position) = record.position() else { return 1 };
    let rest = text.get(position.byte() as usize..).unwrap_or_default();
    let blank = rest.bytes().take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| *byte == b'\n');
    position.line() + blank.count() as u64
}

/// The index of `column` in the header.
fn place(found: &[&str], key: &str, column: &str) -> Result<usize, String> {
    let mut places = found.iter().enumerate().filter(|(_, name)| **name == column).map(|(at, _)| at);
    match (places.next(), places.next()) {
        (Some(at), None) => Ok(at),
        (Some(_), Some(_)) => Err(format!("two columns have the name `{column}` ({key}); rename one of them")),
        (None, _) => Err(missing(found, key, column)),
    }
}

/// The message about a missing column: the columns of the file and the most similar name.
fn missing(found: &[&str], key: &str, column: &str) -> String {
    let near = |name: &&&str| strsim::jaro_winkler(&name.to_lowercase(), &column.to_lowercase());
    let nearest = found.iter().max_by(|a, b| near(a).total_cmp(&near(b))).filter(|name| near(name) > 0.7);
    let advice = match nearest {
        Some(nearest) => format!("did you mean {key}: {nearest}?"),
        None => format!("set {key} to one of them"),
    };
    format!("no column `{column}` ({key}); the columns are {}; {advice}", list_names(found.iter().copied()))
}

fn json_lines(source: &str, text: &str, columns: &Columns<'_>) -> Result<Vec<Row>, TrainError> {
    let mut rows = Vec::new();
    for (line, content) in (1..).zip(text.lines()).filter(|(_, content)| !content.trim().is_empty()) {
        let object: serde_json::Map<String, Value> =
            serde_json::from_str(content).map_err(|error| at(source, line, &format!("not a JSON object: {error}")))?;
        let found: Vec<&str> = object.keys().map(String::as_str).collect();
        columns.find(|key, column| {
            let there = object.contains_key(column).then_some(());
            there.ok_or_else(|| format!("{source}:{line}: {}", missing(&found, key, column)))
        })?;
        rows.push(columns.row(source, line, |column| match &object[column] {
            Value::Null => Ok(String::new()),
            Value::String(text) => Ok(text.clone()),
            value @ (Value::Number(_) | Value::Bool(_)) => Ok(value.to_string()),
            Value::Array(_) | Value::Object(_) => Err(at(
                source,
                line,
                &format!("`{column}` is a list or an object; expected a text, a number or true/false"),
            )),
        })?);
    }
    Ok(rows)
}

fn at(source: &str, line: u64, message: &str) -> TrainError {
    DataError::malformed(format!("{source}:{line}: {message}")).into()
}

/// Names for a message; only the first ones if there are many.
pub(super) fn list_names<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const MOST: usize = 20;
    let more = names.len().saturating_sub(MOST);
    let shown: Vec<String> = names.take(MOST).map(|name| format!("`{}`", cut(name.to_owned(), 40))).collect();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &rest
}

/// The first `longest` characters.
fn cut(mut text: String, longest: usize) -> String {
    // A character has at least one byte, so most texts need no count.
    if text.len() > longest
        && let Some((end, _)) = text.char_indices().nth(longest)
    {
        text.truncate(end);
        text.shrink_to_fit();
    }
    text
}
