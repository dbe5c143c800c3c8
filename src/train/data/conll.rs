//! Parses `CoNLL` files: a word and its tag on each line, and an empty line between texts.
//!
//! Fields stand between tabs, or between white space in a line without tabs. The word is the first field and the tag the last
//! one, unless the names of the columns are numbers from 1. Lines of `-DOCSTART-`, and comments (`# ...`) whose number of fields
//! is not that of the first word, are left out.

use super::columns::{Columns, NO_BREAK_SPACE};
use super::rows::{BadRow, ParsedFile, Row};
use crate::train::TrainError;

pub(super) fn parse(source: &str, text: &str, columns: &Columns<'_>) -> Result<ParsedFile, TrainError> {
    let lines = || (1..).zip(text.lines().map(fields));
    let is_sure = |fields: &Vec<&str>| is_word(fields) && fields.first() != Some(&"#");
    let first = lines().map(|(_, fields)| fields).find(is_sure).map_or(0, |fields| fields.len());
    if first == 1 && columns.label().is_some() {
        let message = format!("{source}: the lines have one field; expected a word and its tag on each line");
        return Err(TrainError::key("data.label", message));
    }
    let mut parsed = ParsedFile { description: "CoNLL".into(), ..ParsedFile::default() };
    let mut sentence: Vec<(u64, Vec<&str>)> = Vec::new();
    for (line, fields) in lines().chain([(0, Vec::new())]) {
        let is_comment = fields.first() == Some(&"#") && fields.len() != first;
        if is_word(&fields) && !is_comment {
            sentence.push((line, fields));
        } else if fields.is_empty() && !sentence.is_empty() {
            match row(&std::mem::take(&mut sentence), columns) {
                Ok(row) => parsed.rows.push(row),
                Err(bad) => parsed.bad_rows.push(bad),
            }
        }
    }
    Ok(parsed)
}

/// Whether a text looks like a `CoNLL` file and not like a table whose header names `label`. Where labels are optional, lines may be
/// texts.
pub(super) fn is_conll(text: &str, columns: &Columns<'_>) -> bool {
    let mut lines = text.lines().map(fields).filter(|fields| is_word(fields));
    let is_named = |fields: Vec<&str>| columns.label().is_some_and(|label| fields.contains(&label));
    columns.are_words()
        && columns.needs_label()
        && lines.next().is_some_and(|fields| fields.len() > 1 && !is_named(fields))
}

fn fields(line: &str) -> Vec<&str> {
    if line.trim().is_empty() {
        Vec::new()
    } else if line.contains('\t') {
        line.split('\t').map(str::trim).collect()
    } else {
        line.split_ascii_whitespace().collect()
    }
}

fn is_word(fields: &[&str]) -> bool {
    fields.first().is_some_and(|first| *first != "-DOCSTART-")
}

/// The row of a text, whose words have these lines and fields.
fn row(sentence: &[(u64, Vec<&str>)], columns: &Columns<'_>) -> Result<Row, BadRow> {
    let part = |line: u64, fields: &[&str], index: usize| {
        let number = columns.wanted()[index].1.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let place = number.unwrap_or(if columns.is_label(index) { fields.len().max(2) - 1 } else { 0 });
        let field = fields.get(place).filter(|field| !field.is_empty());
        field.map(|field| field.replace(' ', NO_BREAK_SPACE)).ok_or_else(|| {
            let found = if fields.len() == 1 { "one field".to_owned() } else { format!("{} fields", fields.len()) };
            BadRow::new(line, format!("the line has {found}, and field {} is missing", place + 1))
        })
    };
    let first = sentence.first().map_or(0, |(line, _)| *line);
    let mut cells = Vec::new();
    for index in 0..columns.wanted().len() {
        let parts: Result<Vec<String>, BadRow> =
            sentence.iter().map(|(line, fields)| part(*line, fields, index)).collect();
        cells.push(parts?.join(" "));
    }
    columns.row(first, |index| Ok(std::mem::take(&mut cells[index])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::TaskName;

    fn read(names: (&str, &str), text: &str) -> Result<ParsedFile, TrainError> {
        let word = [names.0.to_owned()];
        parse("FILE", text, &Columns::of_task(TaskName::Tokens, &word, None, &[names.1.to_owned()], 100))
    }

    #[test]
    fn texts_stand_between_empty_lines() {
        let check = |names: (&str, &str), text: &str, expected: &[(u64, &str, &str)]| {
            let found = read(names, text).unwrap();
            let rows: Vec<(u64, &str, &str)> =
                found.rows.iter().map(|row| (row.line, row.text.as_str(), row.label.as_str())).collect();
            assert_eq!((rows.as_slice(), found.bad_rows.as_slice()), (expected, [].as_slice()), "{text}");
        };
        let usual = ("text", "label");
        check(usual, "In O\nOslo B-LOC\n\n\nNo O\n", &[(1, "In Oslo", "O B-LOC"), (5, "No", "O")]);
        check(usual, "-DOCSTART- -X- O\n\nEU NNP B-ORG\r\nsays VBZ O\r\n", &[(3, "EU says", "B-ORG O")]);
        check(usual, "# id = 7\nOslo\tB-LOC\n#\tO\nNew York\tO\n", &[(2, "Oslo # New\u{a0}York", "B-LOC O O")]);
        check(("2", "4"), "# text = a\n1\ta\tx\tDET\t_\n2\tb\tx\tNOUN\t_\n", &[(2, "a b", "DET NOUN")]);
    }

    #[test]
    fn a_line_without_a_tag_is_named() {
        let found = read(("text", "label"), "a O\nb\nc O\n\nd O\n").unwrap();
        assert_eq!(found.rows.len(), 1);
        assert_eq!(found.bad_rows[0].line, 2);
        assert_eq!(found.bad_rows[0].reason, "the line has one field, and field 2 is missing");
        let error = read(("text", "label"), "a\nb\n").unwrap_err().to_string();
        assert_eq!(error, "FILE: the lines have one field; expected a word and its tag on each line");
    }
}
