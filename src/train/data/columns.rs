//! The columns that are read from a file, and how a row is made of them.

use super::rows::{BadRow, Row};
use crate::train::KeyFault;
use crate::train::tasks::{canonical_label, words};
use crate::trial::{TaskName, Truncate};

/// Stands between the labels of a text.
const LABEL_SEPARATOR: &str = "|";
/// Stands between the words of a text, and between their tags.
pub(super) const WORD_SEPARATOR: &str = " ";
/// What to do with several labels of one text.
pub(super) const SEVERAL_LABELS: &str = "if a text may have several labels, write `task: multi_label`";
/// A label that is none of the task's, in a file that needs no labels.
pub(super) const UNREADABLE: &str = "?";
/// Stands within a word of a list in place of a space.
pub(super) const NO_BREAK_SPACE: &str = "\u{a0}";

/// The columns to read, and the number of characters of a text to keep.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own, and all combinations occur")]
pub(super) struct Columns<'a> {
    /// The columns of the text, of the label, of the second text and of the choices, each with its key in the sweep file.
    wanted: Vec<(&'static str, &'a str)>,
    texts: usize,
    /// Columns of labels. If there are several, each is a label that the row has or has not.
    labels: usize,
    /// Whether a row may have no label. Its label is then empty.
    label_is_optional: bool,
    /// Whether a label may be a list of names. They are joined with [`LABEL_SEPARATOR`].
    label_is_list: bool,
    has_pair: bool,
    /// Whose labels the rows have. None: any labels.
    task: Option<TaskName>,
    /// The columns of the choices of a question.
    choices: &'a [String],
    /// Whether a text is words with a tag each. Lists of words and of tags are joined with spaces.
    are_words: bool,
    /// Whether labels are numbers with a decimal comma.
    has_decimal_commas: bool,
    longest: usize,
    truncate: Truncate,
}

impl<'a> Columns<'a> {
    /// `longest`: characters of a text that are kept. Without a `label` all labels are empty.
    pub fn new(text: &'a [String], pair: Option<&'a str>, label: &'a [String], longest: usize) -> Self {
        let texts = text.iter().map(|name| ("data.text", name.as_str()));
        let labels = label.iter().map(|name| ("data.label", name.as_str()));
        let wanted = texts.chain(labels).chain(pair.map(|name| ("data.text_pair", name))).collect();
        Self {
            wanted,
            texts: text.len(),
            labels: label.len(),
            label_is_optional: false,
            label_is_list: false,
            has_pair: pair.is_some(),
            task: None,
            choices: &[],
            are_words: false,
            has_decimal_commas: false,
            longest,
            truncate: Truncate::Head,
        }
    }

    /// The columns of a file of its own for evaluation or test: their keys are below `section`, such as `data.eval`.
    pub fn within(self, section: &str) -> Self {
        let key = |key: &'static str| match (section, key) {
            ("data.eval", "data.text") => "data.eval.text",
            ("data.eval", "data.label") => "data.eval.label",
            ("data.eval", "data.text_pair") => "data.eval.text_pair",
            ("data.test", "data.text") => "data.test.text",
            ("data.test", "data.label") => "data.test.label",
            ("data.test", "data.text_pair") => "data.test.text_pair",
            _ => key,
        };
        Self { wanted: self.wanted.iter().map(|&(name, column)| (key(name), column)).collect(), ..self }
    }

    /// Those of a task.
    pub fn of_task(
        task: TaskName,
        text: &'a [String],
        pair: Option<&'a str>,
        label: &'a [String],
        longest: usize,
    ) -> Self {
        let is_list = task == TaskName::MultiLabel;
        let label = if task == TaskName::MaskedLm { &[] } else { label };
        let columns = Self::new(text, pair, label, longest);
        let columns = Self { label_is_optional: is_list, label_is_list: is_list, task: Some(task), ..columns };
        columns.with_words(task == TaskName::Tokens)
    }

    /// Each row is a question with these choices.
    pub fn with_choices(self, choices: &'a [String]) -> Self {
        let columns = choices.iter().map(|name| ("data.choices", name.as_str()));
        Self { wanted: self.wanted.into_iter().chain(columns).collect(), choices, ..self }
    }

    /// Whether texts are words with a tag each. Such texts are not shortened, so that each tag has its word.
    pub fn with_words(self, are_words: bool) -> Self {
        Self { are_words, longest: if are_words { usize::MAX } else { self.longest }, ..self }
    }

    /// Whether every row must have a label.
    pub fn needs_label(&self) -> bool {
        self.labels > 0 && !self.label_is_optional
    }

    /// Whether texts are words with a tag each.
    pub fn are_words(&self) -> bool {
        self.are_words
    }

    /// What joins the values of a list in the column with this index of [`Columns::wanted`]. None: a list is an error.
    pub fn separator(&self, index: usize) -> Option<&'static str> {
        let is_labels = self.label_is_list && self.labels == 1 && index == self.texts;
        is_labels.then_some(LABEL_SEPARATOR).or(self.are_words.then_some(WORD_SEPARATOR))
    }

    /// Whether the column with this index is the label of a task with one label for each text.
    pub fn expects_one_label(&self, index: usize) -> bool {
        self.is_label(index) && self.task == Some(TaskName::Classification)
    }

    /// Texts are cut to this part.
    pub fn with_truncation(self, truncate: Truncate) -> Self {
        Self { truncate, ..self }
    }

    /// Labels are numbers with a decimal comma.
    pub fn with_decimal_commas(self) -> Self {
        Self { has_decimal_commas: true, ..self }
    }

    /// Whether labels are numbers.
    pub fn label_is_number(&self) -> bool {
        self.labels > 0 && self.task == Some(TaskName::Regression)
    }

    /// Rows may have no label.
    pub fn with_optional_label(self) -> Self {
        Self { label_is_optional: true, ..self }
    }

    /// The key and the name of each needed column.
    pub fn wanted(&self) -> &[(&'static str, &'a str)] {
        &self.wanted
    }

    /// The name of the label column, the first of several.
    pub fn label(&self) -> Option<&'a str> {
        (self.labels > 0).then(|| self.wanted[self.texts].1)
    }

    /// Whether the column with this index in [`Columns::wanted`] is one of labels.
    pub fn is_label(&self, index: usize) -> bool {
        (self.texts..self.texts + self.labels).contains(&index)
    }

    /// Whether all columns are numbers from 1.
    pub fn are_numbers(&self) -> bool {
        self.wanted.iter().all(|(_, name)| name.parse::<usize>().is_ok_and(|number| number > 0))
    }

    /// Looks for every column. All missing columns are reported together, each under its key.
    pub fn find<T>(&self, find: impl Fn(&str, &str) -> Result<T, String>) -> Result<Vec<T>, Vec<KeyFault>> {
        let (mut found, mut faults) = (Vec::new(), Vec::new());
        for &(key, column) in &self.wanted {
            match find(key, column) {
                Ok(place) => found.push(place),
                Err(message) => faults.push(KeyFault { key, message }),
            }
        }
        if faults.is_empty() { Ok(found) } else { Err(faults) }
    }

    /// Makes a row. `cell` returns the content of the column with an index in [`Columns::wanted`], or why there is none.
    pub fn row(&self, line: u64, mut cell: impl FnMut(usize) -> Result<String, String>) -> Result<Row, BadRow> {
        let mut get = |index| cell(index).map_err(|reason| BadRow::new(line, reason));
        let mut text = get(0)?;
        for index in 1..self.texts {
            text.push(' ');
            text.push_str(&get(index)?);
        }
        let label = match self.label() {
            Some(_) if self.labels > 1 => self.labels_that_are_set(line, &mut get)?,
            Some(column) => {
                let label = get(self.texts).and_then(|label| match missing_label(column, label.trim()) {
                    Some(reason) => Err(BadRow::new(line, reason)),
                    None => Ok(label.trim().to_owned()),
                });
                match label {
                    Err(_) if self.label_is_optional => String::new(),
                    label => self.canonical(line, label?)?,
                }
            }
            None => String::new(),
        };
        if self.are_words
            && let Some(reason) = unlike_counts(&text, &label, self.label().is_some())
        {
            return Err(BadRow::new(line, reason));
        }
        let shorten = |text| shorten(text, self.longest, self.truncate);
        let place_of_pair = self.texts + self.labels;
        let pair = if self.has_pair { Some(shorten(get(place_of_pair)?)) } else { None };
        let first_choice = place_of_pair + usize::from(self.has_pair);
        let choice = |(place, column): (usize, &str)| match get(place)? {
            text if text.trim().is_empty() => {
                Err(BadRow::new(line, format!("the choice (column `{column}`) is empty")))
            }
            text => Ok(shorten(text)),
        };
        let columns = self.wanted.iter().enumerate().skip(first_choice).map(|(place, (_, column))| (place, *column));
        let choices = columns.map(choice).collect::<Result<_, _>>()?;
        Ok(Row { file: 0, line, text: shorten(text), pair, choices, label })
    }

    /// The names of the label columns that hold a 1.
    fn labels_that_are_set(
        &self,
        line: u64,
        get: &mut impl FnMut(usize) -> Result<String, BadRow>,
    ) -> Result<String, BadRow> {
        let mut set = Vec::new();
        for (index, (_, column)) in self.wanted.iter().enumerate().skip(self.texts).take(self.labels) {
            let cell = get(index)?;
            match cell.trim().to_lowercase().as_str() {
                "1" | "1.0" | "true" | "yes" => set.push(*column),
                "0" | "0.0" | "false" | "no" | "" => {}
                _ => {
                    let value = cell.trim().to_owned();
                    let reason = format!("the column `{column}` of a label holds `{value}`, which is neither 1 nor 0");
                    return Err(BadRow::of_value(line, reason, value));
                }
            }
        }
        Ok(set.join(LABEL_SEPARATOR))
    }

    /// A label as the task writes it. A label that is wrong by itself makes the row bad; where labels are optional, it
    /// becomes [`UNREADABLE`].
    fn canonical(&self, line: u64, label: String) -> Result<String, BadRow> {
        let Some(task) = self.task else { return Ok(label) };
        let label = match label.matches(['.', ',']).count() {
            0 | 1 if self.has_decimal_commas && !label.contains('.') => label.replacen(',', ".", 1),
            // A point that separates thousands.
            _ if self.has_decimal_commas => {
                let reason = format!("the label `{label}` is no number with a decimal comma, as other labels are");
                return Err(BadRow::of_value(line, reason, label));
            }
            _ => label,
        };
        match canonical_label(task, &label, self.choices) {
            Err(_) if self.label_is_optional => Ok(UNREADABLE.to_owned()),
            Err(reason) => Err(BadRow::of_value(line, reason, label)),
            Ok(canonical) => Ok(canonical),
        }
    }
}

/// Why words and their tags do not belong together. An empty label has no tags.
fn unlike_counts(text: &str, label: &str, has_label: bool) -> Option<String> {
    let (all, tags) = (words(text).count(), words(label).count());
    if all == 0 {
        return Some("the text has no words".to_owned());
    }
    let differ = has_label && !label.is_empty() && all != tags;
    differ.then(|| format!("the text has {}, but the label has {}", count(all, "word"), count(tags, "tag")))
}

pub(super) fn count(n: usize, name: &str) -> String {
    format!("{n} {name}{}", if n == 1 { "" } else { "s" })
}

/// Why a label counts as missing.
fn missing_label(column: &str, label: &str) -> Option<String> {
    if label.is_empty() {
        return Some(format!("the label (column `{column}`) is empty"));
    }
    label
        .eq_ignore_ascii_case("nan")
        .then(|| format!("the label (column `{column}`) is `{label}`, which means that it is missing"))
}

/// The index of `column` in the header. White space and capitals may differ if the match is unique.
pub(super) fn position(header: &[&str], key: &str, column: &str) -> Result<usize, String> {
    let matches = |fits: &dyn Fn(&str) -> bool| -> Vec<usize> {
        header.iter().enumerate().filter(|(_, name)| fits(name.trim())).map(|(index, _)| index).collect()
    };
    let exact = matches(&|name| name == column.trim());
    let similar = matches(&|name| name.to_lowercase() == column.trim().to_lowercase());
    match (exact.as_slice(), similar.as_slice()) {
        ([index], _) | ([], [index]) => Ok(*index),
        ([], []) => Err(missing_column(header, key, column)),
        _ => Err(format!("several columns have the name `{column}` ({key}); rename all but one of them")),
    }
}

/// Words that usually name a column of texts or of labels, by the last part of the key.
const SYNONYMS: [(&str, &[&str]); 2] = [
    ("text", &["text", "review", "sentence", "comment", "tweet", "content", "body", "message", "document", "question"]),
    ("label", &["label", "labels", "sentiment", "class", "target", "category", "stars", "rating", "intent", "topic"]),
];

/// Whether many files name a column of texts or labels so.
pub(super) fn is_usual_name(name: &str) -> bool {
    SYNONYMS.iter().any(|(_, names)| names.contains(&name.to_lowercase().as_str()))
}

/// The message about a missing column: the columns of the file and the most similar name.
pub(super) fn missing_column(found: &[&str], key: &str, column: &str) -> String {
    let similarity = |name: &&&str| strsim::jaro_winkler(&name.to_lowercase(), &column.to_lowercase());
    let role = key.rsplit('.').next().unwrap_or(key);
    let synonyms = SYNONYMS.iter().find(|(known, _)| *known == role).map_or(&[][..], |(_, names)| names);
    let is_synonym = |name: &&&str| {
        let name = name.to_lowercase();
        name.split(|c: char| !c.is_alphanumeric()).any(|word| word == column.to_lowercase() || synonyms.contains(&word))
    };
    let nearest = found
        .iter()
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
        .filter(|name| similarity(name) > 0.7 && !name.trim().is_empty())
        .or_else(|| found.iter().find(is_synonym));
    let advice = match nearest {
        Some(nearest) => format!("did you mean {key}: {}?", nearest.trim()),
        None => format!("set {key} to one of them"),
    };
    format!("no column `{column}` ({key}); the columns are {}; {advice}", list_names(found.iter().copied()))
}

/// Names for a message; only the first ones if there are many.
pub(super) fn list_names<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 20;
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<String> = names.take(SHOWN).map(|name| format!("`{}`", cut(name.to_owned(), 40))).collect();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &rest
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

/// At least the characters of which a truncated text is made: the first or the last `longest`, or both.
fn shorten(text: String, longest: usize, truncate: Truncate) -> String {
    if truncate == Truncate::Head || text.len() <= longest {
        return cut(text, longest);
    }
    let tail = text.char_indices().rev().nth(longest.saturating_sub(1)).map_or(0, |(start, _)| start);
    let head = match truncate {
        Truncate::HeadTail => text.char_indices().nth(longest).map_or(text.len(), |(end, _)| end),
        Truncate::Head | Truncate::Tail => 0,
    };
    if head >= tail && truncate == Truncate::HeadTail {
        return text;
    }
    [&text[..head], &text[tail..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_the_characters_that_truncation_reads() {
        let check = |truncate, longest, expected: &str| {
            assert_eq!(shorten("äbcdefgh".to_owned(), longest, truncate), expected, "{truncate:?} {longest}");
        };
        check(Truncate::Head, 3, "äbc");
        check(Truncate::Tail, 3, "fgh");
        check(Truncate::HeadTail, 3, "äbcfgh");
        for truncate in [Truncate::Head, Truncate::Tail, Truncate::HeadTail] {
            check(truncate, 8, "äbcdefgh");
            check(truncate, 20, "äbcdefgh");
        }
        check(Truncate::HeadTail, 5, "äbcdefgh");
    }
}
