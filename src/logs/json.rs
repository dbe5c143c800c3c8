//! JSON logs: one object per line, a list of objects, the `log_history` of a Trainer, lists by name (Keras), or the columns of
//! pandas.

use serde_json::{Map, Value};

use super::names::{PLANNED, reading, says_where};
use super::sheet::{Field, Row, Sheet, field, spelled};

/// How deep a list of rows may lie in an object.
const DEPTH: usize = 5;

/// Reads JSON or JSON lines. The error says what is wrong, without the name of the file.
pub(super) fn read(text: &str) -> Result<Sheet, String> {
    let text = quoted(text);
    if let Ok(whole) = serde_json::from_str::<Value>(&text) {
        let mut sheet = Sheet::of(rows_within(&whole, "", DEPTH));
        sheet.planned = PLANNED.iter().find_map(|name| whole.get(name)?.as_u64()).filter(|steps| *steps > 0);
        let has_history = whole.get("log_history").is_some();
        return if has_history && losses(&sheet.rows) == 0 { Err(empty_history(&whole)) } else { Ok(sheet) };
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = lines.map(|(index, line)| {
        let line = line.trim().trim_end_matches(',');
        let value: Value =
            serde_json::from_str(line).map_err(|error| format!("line {}: no JSON: {error}", index + 1))?;
        object(&value)
            .ok_or_else(|| format!("line {}: a row is an object such as {{\"step\": 1, \"loss\": 0.7}}", index + 1))
    });
    let mut rows: Vec<Result<Row, String>> = parsed.collect();
    // The last line of a log that is still being written may be cut.
    if rows.len() > 1 && rows.last().is_some_and(Result::is_err) {
        rows.pop();
    }
    let rows: Vec<Row> = rows.into_iter().collect::<Result<_, _>>()?;
    Ok(Sheet::of(rows))
}

/// The rows of the list with the most losses, among all lists in a value. `path`: the names that lead to the value.
fn rows_within(value: &Value, path: &str, depth: usize) -> Vec<Row> {
    let mut candidates: Vec<Vec<Row>> = Vec::new();
    match value {
        Value::Array(items) => {
            candidates.push(items.iter().filter_map(object).collect());
            if depth > 0 {
                candidates
                    .extend(items.iter().filter(|item| !item.is_number()).map(|item| rows_within(item, "", depth - 1)));
            }
        }
        Value::Object(fields) => {
            candidates.push(columns(fields, path));
            candidates.push(object(value).into_iter().collect());
            if depth > 0 {
                candidates.extend(fields.iter().map(|(name, inner)| rows_within(inner, name, depth - 1)));
            }
        }
        _ => {}
    }
    // The first of equals: max_by_key takes the last.
    candidates.into_iter().rev().max_by_key(|rows| losses(rows)).unwrap_or_default()
}

fn losses(rows: &[Row]) -> usize {
    rows.iter().flat_map(Row::iter).filter(|(name, field)| is_loss(name, field)).count()
}

/// Why the state of a Trainer holds no loss.
fn empty_history(state: &Value) -> String {
    let number = |name: &str| state.get(name).and_then(Value::as_u64);
    match (number("global_step"), number("logging_steps")) {
        (Some(done), Some(every)) if done < every => format!(
            "its log_history holds no loss: the run has made {done} steps and logs every {every}; set logging_steps to 10"
        ),
        _ => {
            "its log_history holds no loss: set logging_steps to 10 and eval_strategy to \"epoch\" in TrainingArguments"
                .into()
        }
    }
}

fn is_loss(name: &str, field: &Field) -> bool {
    use super::names::Quantity::{Eval, Train};
    matches!(field, Field::Number(_)) && reading(name).is_some_and(|of| matches!(of.quantity, Train | Eval))
}

/// Rows of an object of lists: the history of Keras, or the columns of pandas (`{"loss": {"0": 0.7, "1": 0.6}}`), also one level
/// deeper (`{"train": {"loss": [..]}, "val": {"loss": [..]}}`).
fn columns(fields: &Map<String, Value>, path: &str) -> Vec<Row> {
    let mut lists: Vec<(String, Vec<Field>)> = Vec::new();
    for (name, value) in fields {
        if let Some(values) = list(value) {
            lists.push((spelled(name), values));
            continue;
        }
        // Only a name such as `val` adds to the names in it.
        let named = |part: &str| {
            if says_where(&spelled(name)) { spelled(&format!("{name}_{part}")) } else { spelled(part) }
        };
        let inner = value.as_object().into_iter().flatten();
        lists.extend(inner.filter_map(|(part, value)| Some((named(part), list(value)?))));
    }
    // `{"train": [..], "val": [..]}` within "loss".
    let has_loss = lists.iter().any(|(name, _)| reading(name).is_some());
    if !has_loss && !path.is_empty() {
        lists = lists.into_iter().map(|(name, values)| (spelled(&format!("{name}_{path}")), values)).collect();
    }
    let length = lists.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
    if length < 2 {
        return Vec::new();
    }
    let row = |index: usize| {
        lists.iter().filter_map(|(name, values)| Some((name.clone(), values.get(index)?.clone()))).collect()
    };
    (0..length).map(row).collect()
}

/// The numbers of a list, or of an object whose names are its indices.
fn list(value: &Value) -> Option<Vec<Field>> {
    match value {
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            Some(items.iter().filter_map(scalar).collect())
        }
        Value::Object(items) if !items.is_empty() && items.keys().all(|key| key.parse::<u64>().is_ok()) => {
            let mut numbered: Vec<(u64, &Value)> =
                items.iter().filter_map(|(key, value)| Some((key.parse().ok()?, value))).collect();
            numbered.sort_by_key(|(index, _)| *index);
            numbered.iter().map(|(_, value)| scalar(value)).collect()
        }
        _ => None,
    }
}

fn scalar(value: &Value) -> Option<Field> {
    match value {
        Value::Number(number) => Some(Field::Number(number.as_f64()?)),
        Value::String(text) => Some(field(text)),
        Value::Null => Some(Field::Missing),
        _ => None,
    }
}

/// A row: the numbers of an object, and those of objects in it under both names (`{"train": {"loss": 0.7}}`).
fn object(value: &Value) -> Option<Row> {
    let mut row = Row::new();
    for (name, value) in value.as_object()? {
        match value {
            Value::Object(inner) => row.extend(
                inner.iter().filter_map(|(part, value)| Some((spelled(&format!("{name}_{part}")), scalar(value)?))),
            ),
            value => row.extend(scalar(value).map(|field| (spelled(name), field))),
        }
    }
    // Beside wins, losses are counted: those of games or trades.
    let last_word = |name: &str, word: &str| name.rsplit('_').next() == Some(word);
    if row.keys().any(|name| last_word(name, "wins")) {
        row.retain(|name, _| !last_word(name, "losses"));
    }
    Some(row)
}

/// The text with Python's NaN and Infinity, which JSON does not know, in quotes.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut inside, mut escaped, mut rest) = (false, false, text);
    while let Some(c) = rest.chars().next() {
        let word = ["NaN", "-Infinity", "Infinity"].into_iter().find(|word| !inside && rest.starts_with(word));
        if let Some(word) = word {
            out.extend(["\"", word, "\""]);
            rest = &rest[word.len()..];
            continue;
        }
        inside ^= c == '"' && !escaped;
        escaped = inside && c == '\\' && !escaped;
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str, name: &str) -> Vec<f64> {
        read(text).unwrap().numbers(name).collect()
    }

    #[test]
    fn histories_are_read_wherever_they_lie() {
        for text in [
            r#"{"loss": [0.7, 0.6], "val_loss": [0.65, 0.6], "lr": [1e-3, 1e-3]}"#,
            r#"{"history": {"loss": [0.7, 0.6], "val_loss": [0.65, 0.6]}, "epoch": [0, 1], "params": {"verbose": 1}}"#,
            r#"{"loss": {"1": 0.6, "0": 0.7}, "val_loss": {"0": 0.65, "1": 0.6}}"#,
            r#"[{"loss": 0.7, "val_loss": 0.65}, {"loss": 0.6, "val_loss": 0.6}]"#,
            r#"{"model": "bert", "epochs": [{"loss": 0.7, "val_loss": 0.65}, {"loss": 0.6, "val_loss": 0.6}]}"#,
            "{\"loss\": 0.7, \"val_loss\": 0.65}\n{\"loss\": 0.6, \"val_loss\": 0.6}\n{\"lo",
        ] {
            assert_eq!((numbers(text, "loss"), numbers(text, "val_loss")), (vec![0.7, 0.6], vec![0.65, 0.6]), "{text}");
        }
        let nested = r#"{"train": {"loss": [0.7, 0.6]}, "val": {"loss": [0.65, 0.6]}}"#;
        assert_eq!((numbers(nested, "train_loss"), numbers(nested, "val_loss")), (vec![0.7, 0.6], vec![0.65, 0.6]));
        let inverted = r#"{"loss": {"train": [0.7, 0.6], "val": [0.65, 0.6]}}"#;
        assert_eq!(read(inverted).unwrap().rows.len(), 2);
    }

    #[test]
    fn a_trainers_state_says_how_long_the_run_was_to_be() {
        let text = r#"{"max_steps": 2500, "global_step": 500, "log_history": [{"loss": NaN, "step": 500}]}"#;
        let sheet = read(text).unwrap();
        assert_eq!(sheet.planned, Some(2500));
        assert!(sheet.numbers("loss").next().unwrap().is_nan());
    }

    #[test]
    fn a_broken_line_is_named() {
        insta::assert_snapshot!(read("{\"step\": 1}\n7\n{\"step\": 2}").unwrap_err(), @r#"line 2: a row is an object such as {"step": 1, "loss": 0.7}"#);
    }
}
