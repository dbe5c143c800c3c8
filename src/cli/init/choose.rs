//! Guesses which columns of a data file hold texts, labels and choices. Pure.
//!
//! Names count first, because people name columns after what they hold. Then the content decides: a label has few
//! distinct, short values, and a text is long.

use std::collections::HashSet;

use crate::train::data::Column;
use crate::train::tasks::{canonical_label, looks_like_number};
use crate::trial::{ColumnNames, TaskName};

/// The columns with a meaning.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Roles {
    pub text: ColumnNames,
    pub text_pair: Option<String>,
    /// The columns of the choices of a question; none if rows are no questions.
    pub choices: Vec<String>,
    /// The column of the label, or a column of 1 and 0 for each label.
    pub label: ColumnNames,
    /// Whether the labels are numbers to predict.
    pub is_number: bool,
    /// Whether a text may have several labels, in one column.
    pub has_several: bool,
}

/// Words in the names of label columns, the most certain first. The first [`OF_ALL`] name a column of all labels, the others may
/// name a label.
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
/// How many of [`LABELS`] name a column of all labels.
const OF_ALL: usize = 14;
/// Columns of 1 and 0 that are taken for one label each. Two may be anything.
const FLAGS: usize = 3;
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
/// The same before the choices of a question: the second text is the start of each choice.
const QUESTIONS: [(&str, &str); 7] = [
    ("sent1", "sent2"),
    ("ctx_a", "ctx_b"),
    ("context", "question"),
    ("passage", "question"),
    ("article", "question"),
    ("story", "question"),
    ("premise", "question"),
];
/// Words at the end of the names of choices, before their number or letter.
const CHOICES: [&str; 13] = [
    "ending",
    "endings",
    "choice",
    "choices",
    "choices.text",
    "option",
    "options",
    "answer",
    "answers",
    "candidate",
    "solution",
    "sol",
    "op",
];
/// Words in the names of columns that hold the right choice.
const RIGHT_CHOICES: [&str; 10] =
    ["label", "labels", "answer", "answerkey", "correct", "target", "gold", "solution", "correct_option", "cop"];
/// A label is not longer than this on average, in characters.
const LONGEST_LABEL: f64 = 60.0;

/// What counts when a column is chosen.
struct Looks<'a> {
    name: &'a str,
    /// Whether rows hold lists.
    is_list: bool,
    /// Whether a value may be several labels. Then each of them counts as a value.
    has_several: bool,
    /// Rows with a value.
    rows: usize,
    distinct: usize,
    mean_characters: f64,
    /// Share of the values that are numbers.
    numbers: f64,
    /// Share of the characters that are digits.
    digits: f64,
    /// Whether a value is a number that is not whole.
    has_fractions: bool,
}

impl<'a> Looks<'a> {
    fn of(column: &'a Column) -> Self {
        let whole = || column.values.iter().map(|value| value.trim()).filter(|value| !value.is_empty());
        let parts: Vec<&str> = whole().flat_map(label_parts).collect();
        let has_several = column.is_list || are_several(whole().count(), &parts);
        let values: Vec<&str> = if has_several { parts } else { whole().collect() };
        let rows = values.len();
        let share = |count: usize| count as f64 / rows.max(1) as f64;
        let count = |fits: &dyn Fn(char) -> bool| -> usize {
            values.iter().map(|value| value.chars().filter(|c| fits(*c)).count()).sum()
        };
        let characters = count(&|_| true);
        Self {
            name: &column.name,
            is_list: column.is_list,
            has_several,
            rows,
            distinct: values.iter().collect::<HashSet<_>>().len(),
            mean_characters: share(characters),
            digits: count(&|c| c.is_ascii_digit()) as f64 / characters.max(1) as f64,
            has_fractions: values.iter().any(|value| {
                let number = value.replacen(',', ".", 1).parse::<f64>();
                number.is_ok_and(|number| number.fract() != 0.0)
            }),
            numbers: share(values.iter().filter(|value| looks_like_number(value)).count()),
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
        self.distinct >= 2 && self.mean_characters <= LONGEST_LABEL && !(self.is_list && self.has_fractions)
    }

    /// Whether the values look like classes: each of them occurs several times. Lists of numbers are rarely classes.
    fn looks_like_label(&self) -> bool {
        let are_ids = self.is_list && self.numbers > 0.5;
        self.can_be_label() && !are_ids && self.distinct * 3 <= self.rows.max(6)
    }

    /// Dates and ids are no texts, unless the name of the column says so.
    fn can_be_text(&self) -> bool {
        let is_named = TEXTS.contains(&self.name.to_lowercase().as_str());
        self.rows > 0 && !self.is_list && self.numbers < 0.5 && (is_named || self.digits < 0.25)
    }

    /// Whether the values are to be predicted as numbers: they have fractions.
    fn looks_like_number(&self) -> bool {
        self.numbers >= 0.95 && self.has_fractions && !self.is_list
    }
}

/// The labels of a value.
fn label_parts(value: &str) -> impl Iterator<Item = &str> {
    value.split('|').map(str::trim).filter(|part| !part.is_empty())
}

/// Whether values with these parts are several labels: some have several, and the parts occur again and again.
fn are_several(values: usize, parts: &[&str]) -> bool {
    parts.len() > values && parts.iter().collect::<HashSet<_>>().len() * 2 <= parts.len()
}

/// Chooses the columns that are not given. `task`: the one that is given. The error says what is missing.
pub(super) fn choose(
    columns: &[Column],
    text: Option<ColumnNames>,
    label: Option<ColumnNames>,
    task: Option<TaskName>,
) -> Result<Roles, String> {
    let may_be_question = task.is_none_or(|task| task == TaskName::MultipleChoice);
    let one = label.as_ref().and_then(|ColumnNames(names)| names.first());
    let question = if may_be_question { question(columns, one.map(String::as_str))? } else { None };
    let (choices, label) =
        question.map_or_else(|| (Vec::new(), label), |(choices, label)| (choices, Some(label.as_str().into())));
    let may_have_flags = choices.is_empty() && task.is_none_or(|task| task == TaskName::MultiLabel);
    let label = label.or_else(|| may_have_flags.then(|| flags(columns))?);
    let others = columns.iter().filter(|column| !column.is_item && !choices.contains(&column.name));
    let looks: Vec<Looks<'_>> = others.map(Looks::of).collect();
    let is_given_text =
        |name: &str| text.as_ref().is_some_and(|ColumnNames(names)| names.iter().any(|text| text == name));
    let label = if let Some(label) = label {
        label
    } else {
        let found = choose_label(looks.iter().filter(|column| !is_given_text(column.name)));
        found.ok_or_else(|| no_label(&looks))?.as_str().into()
    };
    let is_label = |column: &Looks<'_>| label.0.iter().any(|name| name == column.name);
    let is_number = choices.is_empty() && looks.iter().any(|column| is_label(column) && column.looks_like_number());
    let has_several = choices.is_empty() && looks.iter().any(|column| is_label(column) && column.has_several);
    if let Some(text) = text {
        return Ok(Roles { text, text_pair: None, choices, label, is_number, has_several });
    }
    let pairs: &[(&str, &str)] = if choices.is_empty() { &PAIRS } else { &QUESTIONS };
    if let Some((first, second)) = pair(&looks, pairs) {
        return Ok(Roles {
            text: first.into(),
            text_pair: Some(second.to_owned()),
            choices,
            label,
            is_number,
            has_several,
        });
    }
    let texts = looks.iter().filter(|column| !is_label(column) && column.can_be_text());
    let text = texts
        .max_by(|a, b| {
            let named = |column: &Looks<'_>| column.named(&TEXTS).map_or(usize::MAX, |place| place);
            named(b).cmp(&named(a)).then(a.mean_characters.total_cmp(&b.mean_characters))
        })
        .ok_or_else(|| {
            format!("no column looks like texts; the columns are {}. Name it: --set data.text=COLUMN", names(&looks))
        })?;
    Ok(Roles { text: text.name.into(), text_pair: None, choices, label, is_number, has_several })
}

/// Columns of 1 and 0 that are a label each: several, in a file without a column of all labels.
fn flags(columns: &[Column]) -> Option<ColumnNames> {
    let is_flag = |column: &&Column| {
        let mut values = column.values.iter().map(|value| value.trim().to_lowercase());
        !column.is_list
            && !column.values.is_empty()
            && values.all(|value| ["0", "1", "0.0", "1.0", "true", "false"].contains(&value.as_str()))
    };
    let found: Vec<String> = columns.iter().filter(is_flag).map(|column| column.name.clone()).collect();
    let has_all = columns.iter().any(|column| Looks::of(column).named(&LABELS[..OF_ALL]).is_some());
    (found.len() >= FLAGS && !has_all).then_some(ColumnNames(found))
}

/// The columns of the choices and that of the right one, if rows look like questions. The error says that labels count from 1.
fn question(columns: &[Column], label: Option<&str>) -> Result<Option<(Vec<String>, String)>, String> {
    for choices in choice_columns(columns) {
        let is_label = |column: &&Column| match label {
            Some(label) => column.name == label,
            None => !choices.contains(&column.name) && Looks::of(column).named(&RIGHT_CHOICES).is_some(),
        };
        for label in columns.iter().filter(is_label) {
            let values = || label.values.iter().map(|value| value.trim()).filter(|value| !value.is_empty());
            let unread = values().find(|value| canonical_label(TaskName::MultipleChoice, value, &choices).is_err());
            let Some(unread) = unread else { return Ok(Some((choices, label.name.clone()))) };
            let numbers: Option<Vec<usize>> = values().map(|value| value.parse().ok()).collect();
            if numbers.is_some_and(|all| all.iter().all(|number| (1..=choices.len()).contains(number))) {
                return Err(format!(
                    "the columns {} look like the choices of a question, and column `{}` counts them from 1 (`{unread}`): subtract 1 \
                     from every label, because the first choice is 0",
                    choices.join(", "),
                    label.name
                ));
            }
        }
    }
    Ok(None)
}

/// Columns that may be the choices of a question: names that differ in their last character, which counts from 0, 1 or `a`.
fn choice_columns(columns: &[Column]) -> Vec<Vec<String>> {
    let mut groups: Vec<(&str, Vec<&Column>)> = Vec::new();
    for column in columns.iter().filter(|column| !column.is_list && Looks::of(column).rows > 0) {
        let Some(last) = column.name.chars().next_back().filter(char::is_ascii_alphanumeric) else { continue };
        let start = &column.name[..column.name.len() - last.len_utf8()];
        match groups.iter_mut().find(|(known, _)| *known == start) {
            Some((_, group)) => group.push(column),
            None => groups.push((start, vec![column])),
        }
    }
    let count = |group: &[&Column]| {
        let ends: Vec<u32> = group
            .iter()
            .filter_map(|column| column.name.chars().next_back())
            .map(|c| c.to_ascii_lowercase().into())
            .collect();
        let starts = ends.first().is_some_and(|first| [b'0', b'1', b'a'].map(u32::from).contains(first));
        starts && ends.len() >= 2 && ends.windows(2).all(|pair| pair[1] == pair[0] + 1)
    };
    let is_choice = |start: &str, group: &[&Column]| {
        let word = start.to_lowercase();
        let word = word.trim_end_matches(|c: char| !c.is_alphanumeric());
        let is_named = word.is_empty() && group.len() > 2 || CHOICES.iter().any(|name| word.ends_with(name));
        is_named && count(group)
    };
    let found = groups.into_iter().filter(|(start, group)| is_choice(start, group));
    found.map(|(_, group)| group.into_iter().map(|column| column.name.clone()).collect()).collect()
}

fn choose_label<'a>(columns: impl Iterator<Item = &'a Looks<'a>> + Clone) -> Option<String> {
    let by_name = columns.clone().filter(|column| column.can_be_label());
    let by_name = by_name.filter_map(|column| Some((column.named(&LABELS)?, column)));
    let named = by_name.min_by_key(|(place, column)| (!column.looks_like_label(), *place)).map(|(_, column)| column);
    // A column with one value is reported as such later.
    let constant = columns.clone().find(|column| column.named(&LABELS[..1]).is_some());
    let by_content = || columns.clone().filter(|column| column.looks_like_label()).min_by_key(|column| column.distinct);
    let found = named.or_else(by_content).or(constant);
    let number = || columns.clone().filter(|column| column.looks_like_number()).max_by_key(|column| column.distinct);
    let found = found.or_else(number);
    let mut lists = columns.filter(|column| column.is_list && column.can_be_label() && column.numbers < 0.5);
    found.or_else(|| lists.next()).map(|column| column.name.to_owned())
}

fn pair<'a>(columns: &'a [Looks<'a>], pairs: &[(&str, &str)]) -> Option<(&'a str, &'a str)> {
    let find = |wanted: &str| {
        columns
            .iter()
            .find(|column| column.name.to_lowercase() == wanted && column.can_be_text())
            .map(|column| column.name)
    };
    pairs.iter().find_map(|(first, second)| Some((find(first)?, find(second)?)))
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
        Column {
            name: name.into(),
            values: values.iter().map(ToString::to_string).collect(),
            is_item: false,
            is_list: false,
        }
    }

    fn check(columns: &[Column], text: &str, pair: Option<&str>, label: &str) {
        let text_pair = pair.map(str::to_owned);
        let expected = Roles {
            text: text.into(),
            text_pair,
            choices: Vec::new(),
            label: label.into(),
            is_number: false,
            has_several: false,
        };
        assert_eq!(choose(columns, None, None, None), Ok(expected));
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
    fn a_column_named_text_may_have_many_digits() {
        let texts = || column("text", &["call 0800 0 0 or 0900 1 1"; 6]);
        check(&[texts(), stars("label")], "text", None, "label");
        check(&[stars("spam"), texts()], "text", None, "spam");
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
        let roles = choose(&columns, Some(text.clone()), Some("stars".into()), None);
        assert_eq!(
            roles,
            Ok(Roles {
                text,
                text_pair: None,
                choices: Vec::new(),
                label: "stars".into(),
                is_number: false,
                has_several: false
            })
        );
    }

    #[test]
    fn choices_have_numbers_or_letters_and_a_label_that_names_one() {
        let found = |names: [&str; 3], label: &str, values: &[&str]| {
            let columns = [texts("question"), texts(names[0]), texts(names[1]), texts(names[2]), column(label, values)];
            choose(&columns, None, None, None)
                .map(|roles| (roles.choices.join(" "), roles.text, roles.label.to_string()))
        };
        let right = |choices: &str, label: &str| Ok((choices.to_owned(), "question".into(), label.to_owned()));
        assert_eq!(
            found(["ending0", "ending1", "ending2"], "label", &["0", "2", "1"]),
            right("ending0 ending1 ending2", "label")
        );
        assert_eq!(
            found(["choice_1", "choice_2", "choice_3"], "label", &["0", "2", "1"]),
            right("choice_1 choice_2 choice_3", "label")
        );
        assert_eq!(found(["A", "B", "C"], "answer", &["A", "C", "B"]), right("A B C", "answer"));
        assert_eq!(
            found(["option_a", "option_b", "option_c"], "correct", &["option_a", "option_c", "option_b"]),
            right("option_a option_b option_c", "correct")
        );
        let counted = found(["choice1", "choice2", "choice3"], "label", &["1", "3", "2"]).unwrap_err();
        insta::assert_snapshot!(counted, @"the columns choice1, choice2, choice3 look like the choices of a question, and column `label` counts them from 1 (`3`): subtract 1 from every label, because the first choice is 0");
        // Sentences and titles are no choices.
        let plain = found(["text1", "text2", "text3"], "label", &["0", "2", "1", "0", "2", "1"]);
        assert!(plain.unwrap().0.is_empty());
    }

    #[test]
    fn numbers_with_fractions_are_predicted_and_dates_are_no_texts() {
        let scores = column("2", &["0.5", "1.25", "3.0", "2.75", "0.1", "4.5"]);
        let days = column("3", &["Mon Apr 06 22:19:45 PDT 2009"; 6]);
        let short = column("1", &["fine", "bad", "so so", "good", "no", "great"]);
        let roles = choose(&[days, short, scores], None, None, None).unwrap();
        assert_eq!((roles.text, roles.label, roles.is_number), ("1".into(), "2".into(), true));
    }

    #[test]
    fn numbers_with_fractions_may_be_few() {
        let halves = column("rating", &["0.5", "1.5", "0.5", "1.5", "2.5", "2.5"]);
        assert!(choose(&[texts("review"), halves], None, None, None).unwrap().is_number);
        let whole = column("rating", &["1.0", "2.0", "1.0", "2.0", "1.0", "2.0"]);
        assert!(!choose(&[texts("review"), whole], None, None, None).unwrap().is_number);
    }

    #[test]
    fn a_text_may_have_several_labels() {
        let found = |name: &str, values: &[&str], is_list| {
            let labels = Column { is_list, ..column(name, values) };
            choose(&[texts("text"), labels], None, None, None).map(|roles| (roles.label.to_string(), roles.has_several))
        };
        let joined = ["a|b", "a", "b|c", "", "c", "a | c"];
        assert_eq!(found("labels", &joined, true), Ok(("labels".into(), true)));
        assert_eq!(found("labels", &joined, false), Ok(("labels".into(), true)));
        // The only column of lists, also where few labels occur twice.
        assert_eq!(found("tags", &["a|b", "a|c", "a|d", "a|e", "a|f", "a|g"], true), Ok(("tags".into(), true)));
        assert_eq!(found("labels", &["a", "b", "a", "b", "a", "b"], false), Ok(("labels".into(), false)));
        assert!(found("ids", &["101|7", "101|8", "101|9", "101|4", "101|5", "101|6"], true).is_err());
    }

    #[test]
    fn several_columns_of_1_and_0_are_a_label_each() {
        let rare = |name: &str| column(name, &["0", "0", "0", "0", "0", "0"]);
        let found = |columns: &[Column]| choose(columns, None, None, None).unwrap().label.to_string();
        assert_eq!(
            found(&[ids(), texts("comment_text"), stars("toxic"), rare("threat"), stars("insult")]),
            "toxic, threat, insult"
        );
        assert_eq!(
            found(&[texts("text"), stars("label"), stars("has_link"), stars("is_reply"), stars("is_old")]),
            "label"
        );
        assert_eq!(found(&[texts("text"), stars("spam"), stars("has_link")]), "spam", "two columns may be anything");
    }

    #[test]
    fn a_missing_column_is_named() {
        let without_label = choose(&[ids(), texts("review")], None, None, None).unwrap_err();
        insta::assert_snapshot!(without_label, @"no column looks like labels; the columns are `id`, `review`. Name it: --set data.label=COLUMN");
        let numbered = choose(&[texts("1"), texts("2")], None, None, None).unwrap_err();
        insta::assert_snapshot!(numbered, @"no column looks like labels; the columns are `1`, `2`. If another character separates the fields, name it: --set data.delimiter=CHARACTER. Else name the column: --set data.label=COLUMN");
        let without_text = choose(&[ids(), stars("stars")], None, None, None).unwrap_err();
        insta::assert_snapshot!(without_text, @"no column looks like texts; the columns are `id`, `stars`. Name it: --set data.text=COLUMN");
    }
}
