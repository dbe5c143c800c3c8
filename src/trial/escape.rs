//! Makes untrusted text safe to show: on a terminal, and in a table that a spreadsheet opens.
//!
//! Labels, column names, keys, file names, logs and the answers of servers are untrusted. Every place that prints uses
//! [`printable`]; a test looks for places that do not.

use std::borrow::Cow;

/// The text with control characters in the escaped form of JSON (`\u001b`), so that it cannot move the cursor, hide text, or
/// talk to the terminal. Line feeds and tabs stay. JSON stays JSON.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unsafe) {
        let escape = |c: char| if is_unsafe(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
        Cow::Owned(text.chars().map(escape).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Control characters, and the invisible ones that change the direction of text.
fn is_unsafe(c: char) -> bool {
    let is_direction = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_separator = matches!(c, '\u{2028}' | '\u{2029}');
    (c.is_control() && c != '\n' && c != '\t') || is_direction || is_separator
}

/// A cell of a CSV table that a spreadsheet does not take for a formula: text that begins with `=`, `+`, `-` or `@` (also in
/// the wide forms of East Asian keyboards), with or without white space before it, gets a leading apostrophe. Numbers stay as
/// they are.
#[must_use]
pub fn spreadsheet_cell(text: &str) -> Cow<'_, str> {
    const STARTS: [char; 8] = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
    let is_formula = text.trim_start().starts_with(STARTS) && text.parse::<f64>().is_err();
    if is_formula { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("good \t text\nänd 漢字"), "good \t text\nänd 漢字");
        assert_eq!(printable("\u{1b}[2J\u{7}x\r"), "\\u001b[2J\\u0007x\\u000d");
        assert_eq!(printable("\u{9b}2J \u{202e}gnp"), "\\u009b2J \\u202egnp");
        assert!(matches!(printable("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn formulas_get_an_apostrophe_and_numbers_do_not() {
        for formula in ["=1+1", "@x", "+cmd|m", "-a", "\t=1", "\r\n=1", " =1", "\u{ff1d}1+1", "-0.5 "] {
            assert_eq!(spreadsheet_cell(formula), format!("'{formula}"));
        }
        for text in ["-0.5", "+3e-5", "-inf", "synonym", "a=1", "", " "] {
            assert_eq!(spreadsheet_cell(text), text);
        }
    }

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    /// Every statement that prints escapes what it prints, or says why it need not.
    #[test]
    fn every_printer_escapes_foreign_text() {
        // The file, a part of the statement, and the reason.
        let exempt = [
            ("terminal/view.rs", "stdout().lock()", "a JSON line: serde escapes"),
            ("terminal/view.rs", "stderr().size()", "asks for the size of the terminal"),
            ("terminal/view.rs", "stderr().is_terminal()", "asks for the kind of output"),
            ("cli/augment.rs", "BufWriter::new(io::stdout().lock())", "its lines are escaped where they are written"),
            ("cli/inspect.rs", "stdout().lock()", "answers to the parent process, in JSON"),
            ("cli/consent.rs", "stderr().is_terminal()", "asks for the kind of output"),
            ("cli/consent.rs", "let mut err = io::stderr()", "a question without foreign text"),
            ("cli/predict.rs", "stdout().flush()", "prints nothing of its own"),
            ("cli/schedule.rs", "BufWriter::new(io::stdout().lock())", "numbers only"),
            ("cli/lr_find.rs", "set_message(format!(\"lr {:.1e}", "numbers only"),
            ("cli/output.rs", "write_all(text.as_ref())", "bytes that are not text"),
        ];
        let printers = ["stdout()", "stderr()", "println!(", "print!(", ".set_message(", "bar.println("];
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        sources(&root, &mut files);
        let mut unescaped = Vec::new();
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            let is_test = file.components().any(|part| part.as_os_str().to_string_lossy().starts_with("test"));
            for line in code.lines().filter(|line| !is_test && !line.trim_start().starts_with("//")) {
                let is_exempt = exempt.iter().any(|(name, part, _)| file.ends_with(name) && line.contains(part));
                if printers.iter().any(|printer| line.contains(printer)) && !line.contains("printable(") && !is_exempt {
                    unescaped.push(format!("{}: {}", file.display(), line.trim()));
                }
            }
        }
        assert!(
            unescaped.is_empty(),
            "these statements print untrusted text without `printable`:\n{}",
            unescaped.join("\n")
        );
    }
}
