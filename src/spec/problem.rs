//! Mistakes in a sweep file, with their places, and the form in which they are shown.
//!
//! ```text
//! sweeps/a.yaml:3:5: `lr` cannot be `-1`
//!   3 | lr: -1
//!     |     ^^ expected a number above 0, such as 3e-5
//! ```

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strsim::damerau_levenshtein;

/// A part of one line of the sweep file, or one `--set` of the command line. Places are ordered as in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// 0: the file; n: the n-th `--set`.
    override_number: u32,
    /// Counts from 1.
    line: u32,
    /// In characters, counts from 1.
    column: u32,
    /// In characters.
    length: u32,
}

impl Place {
    /// The place of what no line says, such as a default.
    pub const NOWHERE: Self = Self { override_number: 0, line: 0, column: 0, length: 0 };

    pub(super) fn new(override_number: usize, line: usize, column: usize, length: usize) -> Self {
        let [override_number, line, column, length] = [override_number, line, column, length].map(|n| n as u32);
        Self { override_number, line, column, length }
    }

    /// Line in the file, from 1; 0 for [`Place::NOWHERE`].
    pub fn line(self) -> usize {
        self.line as usize
    }

    /// Column in characters, from 1.
    pub fn column(self) -> usize {
        self.column as usize
    }

    /// From the bracket that opens here to the one that closes at `end`, if both are in one line.
    pub(super) fn up_to(self, end: Self) -> Self {
        let is_flow = self.length == 1 && end.length == 1 && self.line == end.line && self.column < end.column;
        if is_flow { Self { length: end.column + 1 - self.column, ..self } } else { self }
    }

    pub(super) fn is_override(self) -> bool {
        self.override_number > 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.length == 0
    }
}

/// The texts that places point into.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    /// As the user named it.
    pub file: String,
    pub content: String,
    /// `key=value` of each `--set`.
    pub overrides: Vec<String>,
}

/// One mistake, or one thing worth a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    place: Place,
    what: String,
    hint: Option<String>,
}

impl Problem {
    /// `what` says what is wrong at `place`, in a short sentence without a full stop.
    pub fn new(place: Place, what: impl Into<String>) -> Self {
        Self { place, what: what.into(), hint: None }
    }

    /// Adds what was expected, or what to do. It is shown beside the carets.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub fn place(&self) -> Place {
        self.place
    }

    pub fn what(&self) -> &str {
        &self.what
    }
}

/// All mistakes of a sweep file, in the order of the file. Its `Display` is what the user sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    text: Arc<Text>,
    list: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(text: Arc<Text>, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(Problem::place);
        list.dedup();
        Self { text, list }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Mistakes that are printed in full. A generated file may hold hundreds of thousands.
const MOST_SHOWN: usize = 100;

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.list.iter().take(MOST_SHOWN).enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{}", Shown { text: &self.text, problem, label: "" })?;
        }
        match self.list.len().checked_sub(MOST_SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "\n\n{}: and {more} more mistakes", self.text.file),
        }
    }
}

/// A problem with the line that it is about.
pub(super) struct Shown<'a> {
    pub text: &'a Text,
    pub problem: &'a Problem,
    /// `warning: ` or nothing.
    pub label: &'static str,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { place, what, hint } = self.problem;
        if let Some(index) = place.override_number.checked_sub(1) {
            let written = self.text.overrides.get(index as usize).map_or("", String::as_str);
            write!(f, "--set {written}: {}{what}", self.label)?;
            return hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n    {hint}"));
        }
        if *place == Place::NOWHERE {
            write!(f, "{}: {}{what}", self.text.file, self.label)?;
            return hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n    {hint}"));
        }
        write!(f, "{}:{}:{}: {}{what}", self.text.file, place.line, place.column, self.label)?;
        let line = self.text.content.lines().nth(place.line().saturating_sub(1)).unwrap_or_default();
        if line.trim().is_empty() {
            return hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n    {hint}"));
        }
        let (excerpt, before, carets) = excerpt(line, place.column().saturating_sub(1), place.length as usize);
        let number = place.line.to_string();
        let (pad, carets) = (" ".repeat(before), "^".repeat(carets));
        write!(f, "\n  {number} | {excerpt}\n  {:>width$} | {pad}{carets}", "", width = number.len())?;
        hint.as_ref().map_or(Ok(()), |hint| write!(f, " {hint}"))
    }
}

/// The part of `line` around `length` characters from `start`: its text, the number of blanks before the carets, and the
/// number of carets.
fn excerpt(line: &str, start: usize, length: usize) -> (String, usize, usize) {
    const WIDTH: usize = 100;
    let characters: Vec<char> = line.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let start = start.min(characters.len());
    let from = if characters.len() <= WIDTH { 0 } else { start.saturating_sub(WIDTH / 3) };
    let to = characters.len().min(from + WIDTH);
    let mut shown: String = characters[from..to].iter().collect();
    let mut before = start - from;
    if from > 0 {
        shown.insert_str(0, "... ");
        before += 4;
    }
    if to < characters.len() {
        shown.push_str(" ...");
    }
    (shown, before, length.min(to - start).max(1))
}

/// A hint for a name that is not in `known`: the nearest name, or all of them when they are few.
pub(super) fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    const FEW: usize = 16;
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(name, known.iter().copied()) {
        Some(candidate) => Some(format!("did you mean `{candidate}`?")),
        None if !known.is_empty() && known.len() <= FEW => Some(format!("known: {}", known.join(", "))),
        None => None,
    }
}

/// The name in `known` that differs from `name` by a typing error.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let wanted = plain(name);
    let allowed = (wanted.chars().count() / 3).max(1);
    let near = known
        .into_iter()
        .map(|candidate| (damerau_levenshtein(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance);
    near.map(|(_, candidate)| candidate)
}
