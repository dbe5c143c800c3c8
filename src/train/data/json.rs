//! Parses JSON files: one object per line (`.jsonl`, `.ndjson`), an array of objects, an object that holds such an array, an object of
//! columns, or an object of rows by their ids. Of an object with an array for each split, the array `train` is read. A row may also be
//! an array: its columns are numbers from 1, or the names in the first row.
//!
//! Numbers and booleans become text, `null` becomes an empty text, and a list of one value is that value. `NaN` and `Infinity`,
//! which Python writes, are read as `null`. A column name with dots such as `data.text` reaches into nested objects.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Deserializer, Map, Value};

use super::columns::{Columns, NO_BREAK_SPACE, SEVERAL_LABELS, WORD_SEPARATOR, missing_column, position};
use super::error::DataError;
use super::rows::{BadRow, ParsedFile};
use crate::train::{KeyFault, TrainError};

/// An object and the line where it starts.
pub(super) type Record = (u64, Map<String, Value>);

/// Parses a file. `source` names it in errors.
pub(super) fn parse(source: &str, text: &str, columns: &Columns<'_>) -> Result<ParsedFile, TrainError> {
    let (kind, mut records) = records(source, &with_nulls(text))?;
    name_columns(&mut records, columns);
    if records.is_empty() {
        return Err(no_rows(source).into());
    }
    rows(source, records, columns, kind)
}

fn no_rows(source: &str) -> DataError {
    DataError::malformed(format!("{source}: the file has no rows"))
}

/// A text with `null` in place of the numbers that JSON does not have: `NaN`, `Infinity` and `-Infinity`, outside of strings.
fn with_nulls(text: &str) -> Cow<'_, str> {
    const NUMBERS: [&str; 3] = ["NaN", "-Infinity", "Infinity"];
    if !NUMBERS.iter().any(|number| text.contains(number)) {
        return Cow::Borrowed(text);
    }
    let mut replaced = String::with_capacity(text.len());
    let (mut copied, mut at, mut in_string) = (0, 0, false);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            // A string ends with its line at the latest, so that a broken line does not change those after it.
            b'\n' => in_string = false,
            b'N' | b'-' | b'I' if !in_string => {
                if let Some(number) = NUMBERS.iter().find(|number| bytes[at..].starts_with(number.as_bytes())) {
                    replaced.push_str(&text[copied..at]);
                    replaced.push_str("null");
                    at += number.len() - 1;
                    copied = at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    replaced.push_str(&text[copied..]);
    Cow::Owned(replaced)
}

/// Gives the fields of rows that are arrays the names in the first row, if it holds all wanted names.
fn name_columns(records: &mut Records, columns: &Columns<'_>) {
    let Some(Ok((_, first))) = records.first() else { return };
    let names: Option<Vec<(String, String)>> =
        first.iter().map(|(number, name)| Some((number.clone(), name.as_str()?.trim().to_owned()))).collect();
    let Some(names) = names.filter(|_| first.keys().all(|number| number.parse::<usize>().is_ok())) else { return };
    let is_there = |wanted: &str| names.iter().any(|(_, name)| name.eq_ignore_ascii_case(wanted));
    if columns.are_numbers() || !columns.wanted().iter().all(|(_, wanted)| is_there(wanted)) {
        return;
    }
    drop(records.remove(0));
    for (_, object) in records.iter_mut().flatten() {
        *object = names.iter().filter_map(|(number, name)| Some((name.clone(), object.get(number)?.clone()))).collect();
    }
}

/// The names of the fields of all records, in alphabetical order.
pub(super) fn column_names(source: &str, text: &str) -> Result<Vec<String>, TrainError> {
    let (_, records) = records(source, &with_nulls(text))?;
    if records.is_empty() {
        return Err(no_rows(source).into());
    }
    Ok(all_names(&records))
}

/// The names of the fields of all records, in alphabetical order.
pub(super) fn all_names(records: &[Result<Record, BadRow>]) -> Vec<String> {
    let all: BTreeSet<String> = records.iter().flatten().flat_map(|(_, object)| names(object)).collect();
    all.into_iter().collect()
}

/// The records of a file, good and bad.
type Records = Vec<Result<Record, BadRow>>;

/// The records of a file, and what kind of JSON it is.
fn records(source: &str, text: &str) -> Result<(&'static str, Records), DataError> {
    let trimmed = text.trim_start();
    if trimmed.starts_with('[') && !is_one_line_per_value(trimmed) {
        return Ok(("json array", array(source, text, text.len() - trimmed.len())?));
    }
    Ok(match whole_object(source, text) {
        Some(records) => ("json", records?),
        None if is_spread(trimmed) => ("json", stream(source, text)?),
        None => ("json lines", lines(source, text)?),
    })
}

/// Makes rows of records. A column that no record has is an error of the file; otherwise the record is a bad row.
pub(super) fn rows(
    source: &str,
    records: Vec<Result<Record, BadRow>>,
    columns: &Columns<'_>,
    kind: &str,
) -> Result<ParsedFile, TrainError> {
    let mut parsed = ParsedFile { description: kind.to_owned(), ..ParsedFile::default() };
    for &(key, column) in columns.wanted() {
        let good = || records.iter().flatten();
        if good().next().is_some() && !good().any(|(_, object)| look_up(object, column).is_some()) {
            let all: Vec<KeyFault> = columns
                .wanted()
                .iter()
                .filter(|(_, column)| !good().any(|(_, object)| look_up(object, column).is_some()))
                .filter_map(|&(key, column)| {
                    let (line, object) = good().next()?;
                    let names = names(object);
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    Some(KeyFault { key, message: format!("{source}:{line}: {}", missing_column(&names, key, column)) })
                })
                .collect();
            return Err(if all.is_empty() {
                TrainError::key(key, format!("{source}: no column `{column}`"))
            } else {
                TrainError::Keys(all)
            });
        }
    }
    for record in records {
        let row = record.and_then(|(line, object)| {
            columns.row(line, |index| {
                let column = columns.wanted()[index].1;
                let value = look_up(&object, column).ok_or_else(|| format!("there is no field `{column}`"))?;
                let text = text_of(column, value, columns.separator(index));
                let advises = value.is_array() && columns.expects_one_label(index);
                text.map_err(|reason| if advises { format!("{reason}; {SEVERAL_LABELS}") } else { reason })
            })
        });
        match row {
            Ok(row) => parsed.rows.push(row),
            Err(bad) => parsed.bad_rows.push(bad),
        }
    }
    Ok(parsed)
}

/// The value of a column: by its name, by its name with other capitals, or by a path with dots.
fn look_up<'a>(object: &'a Map<String, Value>, column: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(column) {
        return Some(value);
    }
    let names: Vec<&str> = object.keys().map(String::as_str).collect();
    if let Ok(index) = position(&names, "", column) {
        return object.get(names[index]);
    }
    column.match_indices('.').find_map(|(dot, _)| reach(object.get(&column[..dot])?, &column[dot + 1..]))
}

/// The value at a path with dots. The items of a list have numbers from 0; a list of one object stands for the object.
fn reach<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    match value {
        Value::Object(object) => look_up(object, path),
        Value::Array(items) => {
            let (number, rest) = path.split_once('.').map_or((path, None), |(number, rest)| (number, Some(rest)));
            match number.parse::<usize>() {
                Ok(number) => items.get(number).and_then(|item| rest.map_or(Some(item), |rest| reach(item, rest))),
                Err(_) => items.first().filter(|_| items.len() == 1).and_then(|item| reach(item, path)),
            }
        }
        _ => None,
    }
}

/// The names of the fields; those of nested objects with dots.
fn names(object: &Map<String, Value>) -> Vec<String> {
    let mut all = Vec::new();
    for (name, value) in object {
        match value {
            Value::Object(inner) => all.extend(names(inner).into_iter().map(|inner| format!("{name}.{inner}"))),
            _ => all.push(name.clone()),
        }
    }
    all
}

/// `separator` joins the values of a list, where lists are allowed.
fn text_of(column: &str, value: &Value, separator: Option<&str>) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Array(items) if separator == Some(WORD_SEPARATOR) => {
            let word = |item| text_of(column, item, None).map(|word| word.replace(' ', NO_BREAK_SPACE));
            Ok(items.iter().map(word).collect::<Result<Vec<_>, _>>()?.join(WORD_SEPARATOR))
        }
        Value::Array(items) if items.len() == 1 => text_of(column, &items[0], None),
        Value::Array(items) if separator.is_some() => {
            let items = items.iter().map(|item| text_of(column, item, None)).collect::<Result<Vec<_>, _>>()?;
            Ok(items.join(separator.unwrap_or_default()))
        }
        Value::Array(items) => {
            let advice = items.first().map_or_else(String::new, |item| field_advice(&format!("{column}.0"), item));
            Err(format!("`{column}` is a list; expected a single value{advice}"))
        }
        Value::Object(_) => {
            let advice = field_advice(column, value);
            Err(format!("`{column}` is an object; expected a text, a number or true/false{advice}"))
        }
    }
}

/// Names a text in an object, as a column.
fn field_advice(path: &str, value: &Value) -> String {
    let field = value.as_object().and_then(|object| object.iter().find(|(_, value)| value.is_string()));
    field.map_or_else(String::new, |(name, _)| format!(", such as `{path}.{name}`"))
}

fn lines(source: &str, text: &str) -> Result<Vec<Result<Record, BadRow>>, DataError> {
    let mut records = Vec::new();
    for (line, content) in (1..).zip(text.lines()).filter(|(_, content)| !content.trim().is_empty()) {
        let fields = || serde_json::from_str::<Vec<Value>>(content).ok().filter(|fields| is_row(fields));
        // Lines that were cut out of an array end with commas.
        let content = content.trim_end().trim_end_matches(',');
        records.push(match serde_json::from_str(content).or_else(|error| fields().map(numbered).ok_or(error)) {
            Ok(object) => Ok((line, object)),
            Err(_) if content.starts_with("{'") => {
                Err(BadRow::new(line, "not JSON but a Python dictionary; write the rows with json.dumps"))
            }
            Err(error) => {
                let place = format!(" at line {} column {}", error.line(), error.column());
                let reason = error.to_string().replace(&place, "");
                let detail =
                    if error.column() == 0 { String::new() } else { format!(" at character {}", error.column()) };
                Err(BadRow { detail, ..BadRow::new(line, format!("not a JSON object: {reason}")) })
            }
        });
    }
    match records.first() {
        Some(Err(BadRow { line, reason, detail, .. })) if records.iter().all(Result::is_err) => {
            Err(DataError::malformed(format!("{source}:{line}: {reason}{detail}")))
        }
        _ => Ok(records),
    }
}

/// Whether the first object spreads over several lines.
fn is_spread(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default().trim_end_matches(',');
    serde_json::from_str::<Map<String, Value>>(first).is_err()
        && matches!(Deserializer::from_str(text).into_iter::<Map<String, Value>>().next(), Some(Ok(_)))
}

/// The records of a file with one object after the other.
fn stream(source: &str, text: &str) -> Result<Vec<Result<Record, BadRow>>, DataError> {
    let mut records = Vec::new();
    let mut objects = Deserializer::from_str(text).into_iter::<Map<String, Value>>();
    let (mut line, mut counted) = (1, 0);
    loop {
        let start = objects.byte_offset();
        let start = start + text[start..].len() - text[start..].trim_start().len();
        line += text[counted..start].matches('\n').count() as u64;
        counted = start;
        match objects.next() {
            Some(Ok(object)) => records.push(Ok((line, object))),
            Some(Err(error)) => {
                let message = format!("{source}:{line}: not a JSON object: {error}");
                return Err(DataError::malformed(message).caused_by(error));
            }
            None => return Ok(records),
        }
    }
}

/// Whether the first line is a complete array, as in a file with an array on each line.
fn is_one_line_per_value(text: &str) -> bool {
    if text.trim_end() == "[]" {
        return false;
    }
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let Ok(items) = serde_json::from_str::<Vec<Value>>(first) else { return false };
    lines.any(|line| !line.trim().is_empty()) || !items.first().is_some_and(is_record)
}

/// The records of the array that begins at byte `start` of `text`.
fn array(source: &str, text: &str, start: usize) -> Result<Vec<Result<Record, BadRow>>, DataError> {
    let mut records = Vec::new();
    let (mut line, mut counted) = (1, 0);
    let mut at = start + 1;
    loop {
        at += text[at..].len() - text[at..].trim_start_matches(|c: char| c.is_whitespace() || c == ',').len();
        if text[at..].starts_with(']') {
            return Ok(records);
        }
        line += text[counted..at].matches('\n').count() as u64;
        counted = at;
        let mut values = Deserializer::from_str(&text[at..]).into_iter::<Value>();
        let value = values.next();
        at += values.byte_offset();
        match value {
            Some(Ok(Value::Object(object))) => records.push(Ok((line, object))),
            Some(Ok(Value::Array(fields))) if is_row(&fields) => records.push(Ok((line, numbered(fields)))),
            Some(Ok(_)) => records.push(Err(BadRow::new(line, "not a JSON object"))),
            Some(Err(error)) => {
                let message = format!("{source}:{line}: not an array of JSON objects: {error}");
                return Err(DataError::malformed(message).caused_by(error));
            }
            None => return Err(DataError::malformed(format!("{source}:{line}: the JSON array has no end"))),
        }
    }
}

/// The records of a file that is one object: the only array of objects in it, or its columns. None if the file is something
/// else.
fn whole_object(source: &str, text: &str) -> Option<Result<Vec<Result<Record, BadRow>>, DataError>> {
    let object: Map<String, Value> = serde_json::from_str(text).ok()?;
    if let Some(records) = split_orient(&object) {
        return Some(Ok(records));
    }
    let arrays = arrays_of_records(&object);
    if let Some(name) = arrays.iter().find(|name| **name == "train").or(arrays.first().filter(|_| arrays.len() == 1)) {
        let quoted = Value::from(*name).to_string();
        let start = text.match_indices(&quoted).find_map(|(at, _)| {
            let value = text[at + quoted.len()..].trim_start().strip_prefix(':')?.trim_start();
            value.starts_with('[').then_some(text.len() - value.len())
        })?;
        return Some(array(source, text, start));
    }
    if let Some(records) = rows_by_id(&object) {
        return Some(Ok(records));
    }
    let columns: Option<Vec<(String, Vec<Value>)>> =
        object.into_iter().map(|(name, value)| Some((name, column_values(value)?))).collect();
    let columns = columns.filter(|columns| !columns.is_empty())?;
    let rows = columns[0].1.len();
    if rows < 2 || columns.iter().any(|(_, values)| values.len() != rows) {
        return None;
    }
    let record = |row: usize| columns.iter().map(|(name, values)| (name.clone(), values[row].clone())).collect();
    Some(Ok((0..rows).map(|row| Ok((row as u64 + 1, record(row)))).collect()))
}

/// The names of the arrays of rows in an object; in the objects within it if it has none itself.
fn arrays_of_records(object: &Map<String, Value>) -> Vec<&str> {
    let has_records = |value: &Value| value.as_array().is_some_and(|items| items.first().is_some_and(is_record));
    let own: Vec<&str> = object.iter().filter(|(_, value)| has_records(value)).map(|(name, _)| name.as_str()).collect();
    if own.is_empty() {
        object.values().filter_map(Value::as_object).flat_map(arrays_of_records).collect()
    } else {
        own
    }
}

/// The records of a table as pandas writes it with `orient="split"`: the names of the columns, and rows as arrays.
fn split_orient(object: &Map<String, Value>) -> Option<Records> {
    let names: Vec<&str> = object.get("columns")?.as_array()?.iter().map(Value::as_str).collect::<Option<_>>()?;
    let rows = object.get("data")?.as_array()?;
    let record = |row: &Value| {
        let fields = row.as_array().filter(|fields| fields.len() == names.len())?;
        Some(names.iter().map(|name| (*name).to_owned()).zip(fields.iter().cloned()).collect())
    };
    (1..).zip(rows).map(|(line, row)| Some(Ok((line, record(row)?)))).collect()
}

/// The records of an object that holds each row under its id, as pandas writes it with `orient="index"`. All rows have the same
/// fields. Rows whose ids are numbers come in their order.
fn rows_by_id(object: &Map<String, Value>) -> Option<Records> {
    let mut rows: Vec<(&String, &Map<String, Value>)> =
        object.iter().map(|(id, row)| Some((id, row.as_object()?))).collect::<Option<_>>()?;
    let (_, first) = rows.first()?;
    let are_columns = first.keys().all(|name| name.parse::<u64>().is_ok());
    if rows.len() < 2 || first.len() < 2 || are_columns || !rows.iter().all(|(_, row)| row.keys().eq(first.keys())) {
        return None;
    }
    rows.sort_by_key(|(id, _)| id.parse::<u64>().ok());
    Some((1..).zip(rows).map(|(line, (_, row))| Ok((line, row.clone()))).collect())
}

/// Whether a value can be a row: an object, or an array of fields.
fn is_record(value: &Value) -> bool {
    value.is_object() || value.as_array().is_some_and(|fields| is_row(fields))
}

/// Whether an array is a row: several fields, and no field is an array or an object.
fn is_row(fields: &[Value]) -> bool {
    fields.len() > 1 && fields.iter().all(|field| !field.is_array() && !field.is_object())
}

/// The fields of a row under their numbers from 1.
fn numbered(fields: Vec<Value>) -> Map<String, Value> {
    (1..).map(|number: usize| number.to_string()).zip(fields).collect()
}

/// The values of a column: a list, or an object with the row numbers as keys (as pandas writes it).
fn column_values(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) => Some(values),
        Value::Object(values) => {
            let mut rows: Vec<(u64, Value)> =
                values.into_iter().map(|(row, value)| Some((row.parse().ok()?, value))).collect::<Option<_>>()?;
            rows.sort_by_key(|(row, _)| *row);
            Some(rows.into_iter().map(|(_, value)| value).collect())
        }
        _ => None,
    }
}
