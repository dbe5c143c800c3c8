//! Guesses which columns of a data file hold texts and labels. Pure.
//!
//! Names count first, because people name columns after what they hold. Then the content decides: a label has few
//! distinct, short values, and a text is long.

use std::collections::HashSet;

use crate::train::data::Column;
use crate::trial::ColumnNames;

/// The columns with a meaning.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Roles {
    pub text: ColumnNames,
    pub text_pair: Option<String>,
    pub label: String,
}

/// Words in the names of label columns, the most certain first.
const LABELS: [&str; 18] = [
    "label",
    "labels",
    "target",
    "class",
    "sentiment",
    "category",
    "stars",
    "rating",
    "polarity",
    "intent",
    "topic",
    "emotion",
    "airline_sentiment",
    "gold_label",
    "spam",
    "toxic",
    "score",
    "y",
];
/// Words in the names of text columns, the most certain first.
const TEXTS: [&str; 16] = [
    "text",
    "review",
    "sentence",
    "comment",
    "tweet",
    "content",
    "body",
    "message",
    "document",
    "utterance",
    "question",
    "description",
    "headline",
    "title",
    "news",
    "phrase",
];
/// Names of columns that together are a pair of sentences.
const PAIRS: [(&str, &str); 9] = [
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text", "text_pair"),
    ("text_a", "text_b"),
    ("question", "sentence"),
    ("query", "passage"),
    ("question", "answer"),
    ("text1", "text2"),
];
/// A label is not longer than this on average, in characters.
const LONGEST_LABEL: f64 = 60.0;

/// What counts when a column is chosen.
struct Looks<'a> {
    name: &'a str,
    /// Rows with a value.
    rows: usize,
    distinct: usize,
    mean_characters: f64,
    /// Share of the values that are numbers.
    numbers: f64,
}

impl<'a> Looks<'a> {
    fn of(column: &'a Column) -> Self {
        let values: Vec<&str> =
            column.values.iter().map(|value| value.trim()).filter(|value| !value.is_empty()).collect();
        let rows = values.len();
        let share = |count: usize| count as f64 / rows.max(1) as f64;
        Self {
            name: &column.name,
            rows,
            distinct: values.iter().collect::<HashSet<_>>().len(),
            mean_characters: share(values.iter().map(|value| value.chars().count()).sum()),
            numbers: share(values.iter().filter(|value| value.parse::<f64>().is_ok()).count()),
        }
    }

    /// The place in `words` of the name or of a word in it.
    fn named(&self, words: &[&str]) -> Option<usize> {
        let name = self.name.to_lowercase();
        let whole = words.iter().position(|word| *word == name);
        let part =
            || words.iter().position(|word| name.split(|c: char| !c.is_alphanumeric()).any(|part| part == *word));
        whole.or_else(|| part().map(|place| words.len() + place))
    }

    fn can_be_label(&self) -> bool {
        self.distinct >= 2 && self.mean_characters <= LONGEST_LABEL
    }

    /// Whether the values look like classes: each of them occurs several times.
    fn looks_like_label(&self) -> bool {
        self.can_be_label() && self.distinct * 3 <= self.rows.max(6)
    }

    fn can_be_text(&self) -> bool {
        self.rows > 0 && self.numbers < 0.5
    }
}

/// Chooses the columns that are not given. The error says what is missing.
pub(super) fn choose(columns: &[Column], text: Option<ColumnNames>, label: Option<String>) -> Result<Roles, String> {
    let looks: Vec<Looks<'_>> = columns.iter().map(Looks::of).collect();
    let is_given_text =
        |name: &str| text.as_ref().is_some_and(|ColumnNames(names)| names.iter().any(|text| text == name));
    let label = match label {
        Some(label) => label,
        None => {
            choose_label(looks.iter().filter(|column| !is_given_text(column.name))).ok_or_else(|| no_label(&looks))?
        }
    };
    if let Some(text) = text {
        return Ok(Roles { text, text_pair: None, label });
    }
    if let Some((first, second)) = pair(&looks) {
        return Ok(Roles { text: first.into(), text_pair: Some(second.to_owned()), label });
    }
    let texts = looks.iter().filter(|column| column.name != label && column.can_be_text());
    let text = texts
        .max_by(|a, b| {
            let named = |column: &Looks<'_>| column.named(&TEXTS).map_or(usize::MAX, |place| place);
            named(b).cmp(&named(a)).then(a.mean_characters.total_cmp(&b.mean_characters))
        })
        .ok_or_else(|| {
            format!("no column looks like texts; the columns are {}. Name it: --set data.text=COLUMN", names(&looks))
        })?;
    Ok(Roles { text: text.name.into(), text_pair: None, label })
}

fn choose_label<'a>(columns: impl Iterator<Item = &'a Looks<'a>> + Clone) -> Option<String> {
    let by_name = columns.clone().filter(|column| column.can_be_label());
    let by_name = by_name.filter_map(|column| Some((column.named(&LABELS)?, column)));
    let named = by_name.min_by_key(|(place, column)| (!column.looks_like_label(), *place)).map(|(_, column)| column);
    // A column with one value is reported as such later.
    let constant = columns.clone().find(|column| column.named(&LABELS[..1]).is_some());
    let by_content = || columns.filter(|column| column.looks_like_label()).min_by_key(|column| column.distinct);
    named.or_else(by_content).or(constant).map(|column| column.name.to_owned())
}

fn pair<'a>(columns: &'a [Looks<'a>]) -> Option<(&'a str, &'a str)> {
    let find = |wanted: &str| {
        columns
            .iter()
            .find(|column| column.name.to_lowercase() == wanted && column.can_be_text())
            .map(|column| column.name)
    };
    PAIRS.iter().find_map(|(first, second)| Some((find(first)?, find(second)?)))
}

fn no_label(columns: &[Looks<'_>]) -> String {
    let are_numbers = columns.iter().all(|column| column.name.parse::<usize>().is_ok());
    let advice = if columns.len() == 1 || are_numbers {
        "If another character separates the fields, name it: --set data.delimiter=CHARACTER. Else name the column: --set \
         data.label=COLUMN"
    } else {
        "Name it: --set data.label=COLUMN"
    };
    format!("no column looks like labels; the columns are {}. {advice}", names(columns))
}

fn names(columns: &[Looks<'_>]) -> String {
    columns.iter().map(|column| format!("`{}`", column.name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, values: &[&str]) -> Column {
        Column { name: name.into(), values: values.iter().map(ToString::to_string).collect() }
    }

    fn check(columns: &[Column], text: &str, pair: Option<&str>, label: &str) {
        let expected = Roles { text: text.into(), text_pair: pair.map(str::to_owned), label: label.into() };
        assert_eq!(choose(columns, None, None), Ok(expected));
    }

    fn ids() -> Column {
        column("id", &["1", "2", "3", "4", "5", "6"])
    }

    fn texts(name: &str) -> Column {
        column(name, &["a good film", "a bad film", "not for me", "again, please", "we left", "great fun"])
    }

    fn stars(name: &str) -> Column {
        column(name, &["1", "0", "0", "1", "0", "1"])
    }

    #[test]
    fn names_decide() {
        check(&[ids(), texts("title"), texts("review"), stars("stars")], "review", None, "stars");
        check(&[stars("helpful"), stars("Sentiment"), texts("Text")], "Text", None, "Sentiment");
        check(
            &[ids(), texts("premise"), texts("hypothesis"), stars("gold_label")],
            "premise",
            Some("hypothesis"),
            "gold_label",
        );
    }

    #[test]
    fn content_decides_without_names() {
        check(&[ids(), texts("a"), stars("b")], "a", None, "b");
        check(&[stars("1"), texts("2")], "2", None, "1");
        let dates =
            column("day", &["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04", "2020-01-05", "2020-01-06"]);
        check(&[dates, texts("Rezension"), stars("Wertung")], "Rezension", None, "Wertung");
    }

    #[test]
    fn given_columns_are_kept() {
        let columns = [texts("title"), texts("review"), stars("stars"), stars("label")];
        let text = ColumnNames(vec!["title".into(), "review".into()]);
        let roles = choose(&columns, Some(text.clone()), Some("stars".into()));
        assert_eq!(roles, Ok(Roles { text, text_pair: None, label: "stars".into() }));
    }

    #[test]
    fn a_missing_column_is_named() {
        let without_label = choose(&[ids(), texts("review")], None, None).unwrap_err();
        insta::assert_snapshot!(without_label, @"no column looks like labels; the columns are `id`, `review`. Name it: --set data.label=COLUMN");
        let numbered = choose(&[texts("1"), texts("2")], None, None).unwrap_err();
        insta::assert_snapshot!(numbered, @"no column looks like labels; the columns are `1`, `2`. If another character separates the fields, name it: --set data.delimiter=CHARACTER. Else name the column: --set data.label=COLUMN");
        let without_text = choose(&[ids(), stars("stars")], None, None).unwrap_err();
        insta::assert_snapshot!(without_text, @"no column looks like texts; the columns are `id`, `stars`. Name it: --set data.text=COLUMN");
    }
}
