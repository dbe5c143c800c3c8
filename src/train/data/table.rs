//! Files of labelled texts: `.tsv`, `.csv` and `.jsonl` into rows, every fault with its file and line.
//!
//! Rules. The first line of `.tsv` and `.csv` names the columns; further columns are ignored, blank lines skipped, a
//! byte-order mark and CRLF are fine. In `.tsv` a quote is a letter like any other (as in GLUE's files), so a text
//! holds no tab and no newline; in `.csv` fields may be quoted as in RFC 4180. In `.jsonl` each line is an object, and
//! numbers and booleans are taken by their text. White space around labels goes. A label must not be empty; a text may be.
//! Of a text only the first `longest` characters are kept.

use serde_json::Value;

use super::listed;
use crate::train::{KeyFault, TrainError};
use crate::trial::DataConfig;

/// One labelled text, and the line it came from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub line: u64,
    pub text: String,
    pub pair: Option<String>,
    pub label: String,
}

/// The columns to read, and how much of a text to keep.
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

    /// Key of the sweep file and column, for each column wanted.
    fn wanted(&self) -> impl Iterator<Item = (&'static str, &'a str)> {
        let pair = self.pair.map(|pair| ("data.text_pair", pair));
        [("data.text", self.text), ("data.label", self.label)].into_iter().chain(pair)
    }

    /// Looks for every column; all that are not there are reported together, each under its key.
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

/// The rows of a file in its order; at least one. `name` ends in the format's extension, `source` stands in messages.
pub(super) fn rows(source: &str, name: &str, bytes: &[u8], columns: &Columns<'_>) -> Result<Vec<Row>, TrainError> {
    let text = utf8(source, bytes)?;
    if text.trim().is_empty() {
        return Err(TrainError::Input(format!("{source}: the file is empty; it holds a row for each text")));
    }
    let rows = match name.rsplit('.').next() {
        Some("tsv") => delimited(source, text, b'\t', columns)?,
        Some("csv") => delimited(source, text, b',', columns)?,
        Some("jsonl") => json_lines(source, text, columns)?,
        _ => {
            return Err(TrainError::Input(format!(
                "{source}: unknown kind of file; known are .tsv, .csv and .jsonl, plain or with .gz or .zst after it"
            )));
        }
    };
    if rows.is_empty() {
        return Err(TrainError::Input(format!("{source}: a header and no rows; a row for each text goes below it")));
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
            let guess = if utf16 { "it looks like UTF-16; " } else { "" };
            Err(at(source, line, &format!("byte 0x{:02x} is not UTF-8; {guess}save the file as UTF-8", bytes[good])))
        }
    }
}

/// Ends a quoted file, so that a quote that never closes is noticed: it swallows this line.
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
    let unreadable = |error: csv::Error| TrainError::Input(format!("{source}: {error}"));
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
            let unclosed = || at(source, line, "the row that starts here opens a quote that never closes");
            return if alone { Ok(rows) } else { Err(unclosed()) };
        }
        if record.len() != found.len() {
            let why = if quoted { "quote a text that holds a comma" } else { "a text in a .tsv holds no tab" };
            let (columns, fields) = (found.len(), record.len());
            let message = format!("the header names {columns} columns, this row has {fields}; {why}");
            return Err(at(source, line, &message));
        }
        rows.push(columns.row(source, line, |column| {
            let field = index.iter().find(|(name, _)| *name == column).and_then(|&(_, at)| record.get(at));
            Ok(field.unwrap_or_default().to_owned())
        })?);
    }
    Ok(rows)
}

/// The line that a record starts on. The reader's own position is before blank lines that it skips.
fn line_of(record: &csv::StringRecord, text: &str) -> u64 {
    let Some(position) = record.position() else { return 1 };
    let rest = text.get(position.byte() as usize..).unwrap_or_default();
    let blank = rest.bytes().take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| *byte == b'\n');
    position.line() + blank.count() as u64
}

/// Where `column` stands in the header.
fn place(found: &[&str], key: &str, column: &str) -> Result<usize, String> {
    let mut places = found.iter().enumerate().filter(|(_, name)| **name == column).map(|(at, _)| at);
    match (places.next(), places.next()) {
        (Some(at), None) => Ok(at),
        (Some(_), Some(_)) => Err(format!("two columns are called `{column}` ({key}); rename one of them")),
        (None, _) => Err(missing(found, key, column)),
    }
}

/// The message of a column that is not there: those that are, and the nearest.
fn missing(found: &[&str], key: &str, column: &str) -> String {
    let near = |name: &&&str| strsim::jaro_winkler(&name.to_lowercase(), &column.to_lowercase());
    let nearest = found.iter().max_by(|a, b| near(a).total_cmp(&near(b))).filter(|name| near(name) > 0.7);
    let advice = match nearest {
        Some(nearest) => format!("did you mean {key}: {nearest}?"),
        None => format!("set {key} to one of them"),
    };
    format!("no column `{column}` ({key}); the columns are {}; {advice}", listed(found.iter().copied()))
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
                &format!("`{column}` is a list or an object; a text, number or true/false is wanted"),
            )),
        })?);
    }
    Ok(rows)
}

fn at(source: &str, line: u64, message: &str) -> TrainError {
    TrainError::Input(format!("{source}:{line}: {message}"))
}

/// The first `longest` characters.
pub(super) fn cut(mut text: String, longest: usize) -> String {
    // A character has at least one byte, so most texts need no count.
    if text.len() > longest
        && let Some((end, _)) = text.char_indices().nth(longest)
    {
        text.truncate(end);
        text.shrink_to_fit();
    }
    text
}
