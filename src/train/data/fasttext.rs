//! Parses fastText files: each line is `__label__NAME` and a text.

use super::columns::{BadRow, Columns, ParsedFile};

const PREFIX: &str = "__label__";

/// Whether the first lines have a fastText label.
pub(super) fn is_fasttext(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).take(10).peekable();
    lines.peek().is_some() && lines.all(|line| line.trim_start().starts_with(PREFIX))
}

pub(super) fn parse(text: &str, columns: &Columns<'_>) -> ParsedFile {
    let mut parsed = ParsedFile { description: "fastText".into(), ..ParsedFile::default() };
    for (line, content) in (1..).zip(text.lines()).filter(|(_, content)| !content.trim().is_empty()) {
        match split(content) {
            Ok((label, text)) => {
                // The names of the columns do not matter: the only columns are the label and the text.
                let cell = |index: usize| Ok(if columns.is_label(index) { label } else { text }.to_owned());
                match columns.row(line, cell) {
                    Ok(row) => parsed.rows.push(row),
                    Err(bad) => parsed.bad_rows.push(bad),
                }
            }
            Err(reason) => parsed.bad_rows.push(BadRow { line, reason: reason.to_owned() }),
        }
    }
    parsed
}

/// Label and text of a line. Labels may stand before or after the text.
fn split(line: &str) -> Result<(&str, &str), &'static str> {
    let line = line.trim();
    let mut labels = line.split_whitespace().filter_map(|word| word.strip_prefix(PREFIX));
    let label = labels.next().ok_or("the line has no __label__")?;
    if labels.next().is_some() {
        return Err("the line has several labels; expected one label for each text");
    }
    let start = line.find(PREFIX).unwrap_or(0);
    let (before, after) = (line[..start].trim(), line[start + PREFIX.len() + label.len()..].trim());
    match (before, after) {
        ("", text) | (text, "") => Ok((label, text)),
        _ => Err("the label stands inside the text; expected it before or after the text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_before_or_after_the_text() {
        assert_eq!(split("__label__pos a good day"), Ok(("pos", "a good day")));
        assert_eq!(split("a good day __label__pos"), Ok(("pos", "a good day")));
        assert_eq!(split("__label__pos"), Ok(("pos", "")));
        assert!(split("no label").is_err() && split("__label__a __label__b text").is_err());
        assert!(is_fasttext("__label__a x\n\n__label__b y\n") && !is_fasttext("x __label__a\n") && !is_fasttext(""));
    }
}
