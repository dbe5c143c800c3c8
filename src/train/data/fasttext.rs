//! Parses fastText files: each line is `__label__NAME` and a text.

use super::columns::Columns;
use super::rows::{BadRow, ParsedFile};

const PREFIX: &str = "__label__";

/// Whether the first lines begin or end with a fastText label.
pub(super) fn is_fasttext(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).take(10).peekable();
    let has_label = |line: &str| {
        let mut words = line.split_whitespace();
        [words.next(), words.next_back()].into_iter().flatten().any(|word| word.starts_with(PREFIX))
    };
    lines.peek().is_some() && lines.all(has_label)
}

pub(super) fn parse(text: &str, columns: &Columns<'_>) -> ParsedFile {
    let mut parsed = ParsedFile { description: "fastText".into(), ..ParsedFile::default() };
    for (line, content) in (1..).zip(text.lines()).filter(|(_, content)| !content.trim().is_empty()) {
        match split(content, columns) {
            Ok((label, text)) => {
                // The names of the columns do not matter: the only columns are the label and the text.
                let cell = |index: usize| Ok(if columns.is_label(index) { &label } else { text }.to_owned());
                match columns.row(line, cell) {
                    Ok(row) => parsed.rows.push(row),
                    Err(bad) => parsed.bad_rows.push(bad),
                }
            }
            Err(reason) => parsed.bad_rows.push(BadRow::new(line, reason)),
        }
    }
    parsed
}

/// Label and text of a line. Labels stand before or after the text.
fn split<'l>(line: &'l str, columns: &Columns<'_>) -> Result<(String, &'l str), &'static str> {
    let line = line.trim();
    let first = line.find(PREFIX).ok_or("the line has no __label__")?;
    let (before, mut rest) = (line[..first].trim(), &line[first..]);
    let mut names = Vec::new();
    while let Some(name) = rest.split_whitespace().next().and_then(|word| word.strip_prefix(PREFIX)) {
        names.push(name);
        rest = rest[PREFIX.len() + name.len()..].trim_start();
    }
    let text = match (before, rest) {
        ("", text) | (text, "") if !text.contains(PREFIX) => text,
        _ => return Err("a label stands inside the text; expected it before or after the text"),
    };
    let separator = columns.wanted().iter().enumerate().find_map(|(index, _)| columns.separator(index));
    match (names.as_slice(), separator) {
        ([name], _) => Ok(((*name).to_owned(), text)),
        (names, Some(separator)) => Ok((names.join(separator), text)),
        _ => Err(
            "the line has several labels; expected one label for each text; if a text may have several, write `task: multi_label`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::TaskName;

    #[test]
    fn labels_stand_before_or_after_the_text() {
        let [text, label] = ["text", "label"].map(|name| [name.to_owned()]);
        let of = |task, line| split(line, &Columns::of_task(task, &text, None, &label, 9));
        let one = |line| of(TaskName::Classification, line);
        assert_eq!(one("__label__pos a good day"), Ok(("pos".into(), "a good day")));
        assert_eq!(one("a good day __label__pos"), Ok(("pos".into(), "a good day")));
        assert_eq!(one("__label__pos"), Ok(("pos".into(), "")));
        assert!(one("no label").is_err() && one("__label__a __label__b text").is_err());
        assert!(one("a __label__a text").is_err());
        assert_eq!(of(TaskName::MultiLabel, "__label__a __label__b text"), Ok(("a|b".into(), "text")));
        assert!(is_fasttext("__label__a x\n\n__label__b y\n") && is_fasttext("x __label__a\n"));
        assert!(!is_fasttext("x __label__a y\n") && !is_fasttext(""));
    }
}
