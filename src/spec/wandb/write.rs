//! Writes a translated file as text, with a comment for each note.

use std::fmt::Write as _;

use super::super::problem::Problem;
use super::translate::{Line, Translation};

impl Translation {
    /// Our sweep file. `from`: the name of the W&B file.
    pub(in super::super) fn text(&self, from: &str) -> String {
        let mut text = format!("# From {}, a sweep file of W&B.\n", from.replace('\n', " "));
        comments(&mut text, "", &self.head);
        lines(&mut text, "", &self.fixed);
        lines(&mut text, "", self.seeds.as_slice());
        for (name, section) in self.sections() {
            if !section.is_empty() {
                let _ = writeln!(text, "{name}:");
                lines(&mut text, "  ", section);
            }
        }
        text
    }
}

fn lines(text: &mut String, indent: &str, lines: &[Line]) {
    for line in lines {
        comments(text, indent, &line.notes);
        let _ = writeln!(text, "{indent}{}: {}", line.key.flow(), line.value.flow());
    }
}

fn comments(text: &mut String, indent: &str, notes: &[Problem]) {
    for note in notes {
        let _ = writeln!(text, "{indent}# {}", note.what().replace('\n', " "));
    }
}
