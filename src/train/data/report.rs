//! Describes a data set: sizes, classes, token lengths, duplicates, and what looks like a mistake. Pure functions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::columns::cut;
use super::dataset::{Dataset, Split};
use super::floors::input_floors;
use crate::train::tasks::{Target, looks_like_number};
use crate::trial::{DataReport, InputFloors, NumberReport, SplitReport, TaskName};

/// What the report needs beside the data set.
#[derive(Debug, Default)]
pub(super) struct ReportInput {
    /// One line for each file: its name and how it was read.
    pub files: Vec<String>,
    /// Rows that were left out by `data.bad_rows: skip`.
    pub skipped_rows: usize,
    /// Training and evaluation rows before limits.
    pub rows: usize,
    pub test: Option<Split>,
    /// Id of the token for unknown word pieces.
    pub unknown_token: Option<u32>,
    /// Special tokens of an example.
    pub special_tokens: usize,
    pub max_length: usize,
    /// Whether long texts are read in windows.
    pub has_windows: bool,
    /// The name of the label column.
    pub label_column: String,
    pub task: TaskName,
}

/// Describes a data set whose splits have their full lengths.
pub(super) fn report(dataset: &Dataset, input: &ReportInput) -> DataReport {
    let classes = dataset.labels.len();
    let mut labels_of_text: HashMap<_, Vec<&Target>> = HashMap::new();
    let mut duplicate_rows = 0;
    for example in dataset.train.examples.iter().filter(|example| !example.is_empty()) {
        let labels = labels_of_text.entry(example.content()).or_default();
        duplicate_rows += usize::from(!labels.is_empty());
        if !labels.contains(&&example.target) {
            labels.push(&example.target);
        }
    }
    let unknown =
        input.unknown_token.map_or(0, |id| dataset.train.tokens.ids.iter().filter(|other| **other == id).count());
    let test = input.test.as_ref();
    let mut report = DataReport {
        task: input.task,
        windows: input.has_windows.then(|| windows_of_a_text(&dataset.train)),
        files: input.files.clone(),
        skipped_rows: input.skipped_rows,
        train: split_report(&dataset.train, input.max_length, classes),
        eval: split_report(&dataset.eval, input.max_length, classes),
        test: test.map(|split| split_report(split, input.max_length, classes)),
        duplicate_rows,
        conflicting_texts: labels_of_text.values().filter(|labels| labels.len() > 1).count(),
        leaked_rows: dataset.leaked_rows(),
        leaked_test_rows: test.map_or(0, |split| split.rows_shared_with(&dataset.train)),
        unknown_tokens: unknown as f64 / dataset.train.tokens.ids.len().max(1) as f64,
        pieces_per_word: pieces_per_word(dataset, input),
        warnings: Vec::new(),
    };
    report.warnings = warnings(dataset, &report, input);
    report
}

fn split_report(split: &Split, max_length: usize, classes: usize) -> SplitReport {
    let full_lengths = &split.full_lengths;
    let mut counts = vec![0; classes];
    let (mut numbers, mut words) = (Vec::new(), None);
    for example in &split.examples {
        match &example.target {
            Target::Class(class) | Target::Choice(class) => counts[*class as usize] += 1,
            Target::Labels(labels) => labels.iter().for_each(|label| counts[*label as usize] += 1),
            Target::Tags(tags) => {
                *words.get_or_insert(0) += tags.len();
                for tag in tags {
                    counts[*tag as usize] += 1;
                }
            }
            Target::Number(number) => numbers.push(*number),
            Target::Unknown | Target::Masked | Target::Word(..) => {}
        }
    }
    let mut sorted = full_lengths.clone();
    sorted.sort_unstable();
    let quantile =
        |share: f64| sorted.get(((sorted.len() as f64 - 1.0) * share).round() as usize).copied().unwrap_or(0);
    let lost = full_lengths.iter().map(|length| u64::from(*length).saturating_sub(max_length as u64));
    let total: u64 = full_lengths.iter().map(|length| u64::from(*length)).sum();
    SplitReport {
        rows: split.examples.len(),
        class_rows: counts,
        words,
        numbers: number_report(&numbers),
        median_tokens: quantile(0.5),
        tokens_95_percent: quantile(0.95),
        longest_tokens: sorted.last().copied().unwrap_or(0),
        truncated_share: share(
            full_lengths.iter().filter(|length| **length as usize > max_length).count(),
            full_lengths.len(),
        ),
        lost_tokens_share: lost.sum::<u64>() as f64 / total.max(1) as f64,
        floors: input_floors(split),
    }
}

/// Sequences of a text, on average.
fn windows_of_a_text(split: &Split) -> f64 {
    let texts = split.tokens.len();
    (texts + split.tokens.breaks.len()) as f64 / texts.max(1) as f64
}

/// Word pieces of a word of the training texts, on average.
fn pieces_per_word(dataset: &Dataset, input: &ReportInput) -> f64 {
    let rows = dataset.train.examples.len();
    let tokens: u64 = dataset.train.full_lengths.iter().map(|length| u64::from(*length)).sum();
    let texts = dataset
        .train
        .examples
        .iter()
        .flat_map(|example| std::iter::once(&example.text).chain(&example.pair).chain(&example.choices));
    let words: usize = texts.map(|text| count_words(text)).sum();
    tokens.saturating_sub((rows * input.special_tokens) as u64) as f64 / words.max(1) as f64
}

/// Words as BERT splits them before it looks into its vocabulary: runs of letters and digits, single punctuation marks, and
/// single characters of scripts without blanks between words.
fn count_words(text: &str) -> usize {
    let stands_alone = |c: char| {
        c.is_ascii_punctuation()
            || matches!(c, '\u{2010}'..='\u{2027}' | '\u{3000}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff01}'..='\u{ff60}')
    };
    let mut words = 0;
    let mut inside = false;
    for c in text.chars() {
        let starts = !c.is_whitespace() && (stands_alone(c) || !inside);
        words += usize::from(starts);
        inside = !c.is_whitespace() && !stands_alone(c);
    }
    words
}

/// None without numbers.
fn number_report(numbers: &[f64]) -> Option<NumberReport> {
    let n = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / n;
    let variance = numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / n;
    (!numbers.is_empty()).then(|| NumberReport {
        mean,
        deviation: variance.sqrt(),
        lowest: numbers.iter().copied().fold(f64::INFINITY, f64::min),
        highest: numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    })
}

fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn warnings(dataset: &Dataset, report: &DataReport, input: &ReportInput) -> Vec<String> {
    let mut found = Vec::new();
    let named = |labels: &[&String]| -> String {
        let names: Vec<String> = labels.iter().take(10).map(|name| format!("`{}`", cut((*name).clone(), 40))).collect();
        names.join(", ")
    };
    let rows = report.train.rows + report.eval.rows;
    let untrained: Vec<&String> = dataset
        .labels
        .iter()
        .zip(&report.train.class_rows)
        .filter(|(_, rows)| **rows == 0)
        .map(|(name, _)| name)
        .collect();
    if !untrained.is_empty() {
        found.push(format!("no training row has the label {}; raise data.limit or add rows", named(&untrained)));
    }
    found.extend(label_warnings(dataset, rows, input));
    if report.train.truncated_share >= 0.05 {
        found.push(format!(
            "CUT: {:.0} % of the training texts are longer than data.max_length ({} tokens) and lose {:.0} % of all tokens; the \
             longest has {} tokens",
            100.0 * report.train.truncated_share,
            input.max_length,
            100.0 * report.train.lost_tokens_share,
            report.train.longest_tokens
        ));
    }
    if report.leaked_rows > 0 {
        found.push(format!(
            "{} of {} evaluation rows {} also in the training data ({:.0} %); the evaluation loss is too low for new texts",
            report.leaked_rows,
            report.eval.rows,
            if report.leaked_rows == 1 { "is" } else { "are" },
            100.0 * share(report.leaked_rows, report.eval.rows)
        ));
    }
    if let Some(test) = report.test.as_ref().filter(|_| report.leaked_test_rows > 0) {
        found.push(format!(
            "{} of {} test rows are also in the training data ({:.0} %); the test scores are too good for new texts",
            report.leaked_test_rows,
            test.rows,
            100.0 * share(report.leaked_test_rows, test.rows)
        ));
    }
    if let Some(test) = &input.test
        && let shared @ 1.. = test.rows_shared_with(&dataset.eval)
    {
        found.push(format!(
            "{shared} of {} test rows are also evaluation rows, which choose the best trial; the test scores are too good for \
             new texts",
            test.examples.len()
        ));
    }
    if report.conflicting_texts > 0 {
        found.push(format!("training texts that occur with two or more labels: {}", report.conflicting_texts));
    }
    found.extend(blind_warnings(&report.train));
    if report.unknown_tokens > MOST_UNKNOWN {
        found.push(format!(
            "UNKNOWN: {:.0} % of the tokens are unknown to the tokenizer; does the checkpoint know this language?",
            100.0 * report.unknown_tokens
        ));
    } else if report.pieces_per_word > MOST_PIECES {
        found.push(format!(
            "UNKNOWN: the tokenizer splits a word into {:.1} pieces on average; does the checkpoint know this language?",
            report.pieces_per_word
        ));
    }
    let texts = dataset.train.examples.iter().filter(|example| !example.text.is_empty());
    let is_quoted = |text: &str| text.len() > 1 && text.starts_with('"') && text.ends_with('"');
    let (quoted, all) =
        texts.fold((0, 0), |(quoted, all), example| (quoted + usize::from(is_quoted(&example.text)), all + 1));
    if all >= 5 && quoted * 10 >= all * 9 {
        found.push(
            "nearly every text begins and ends with a quote, so the quotes are part of the text; for a file with quoted \
             fields and tabs write data.format: csv"
                .to_owned(),
        );
    }
    let empty = dataset.train.examples.iter().filter(|example| example.is_empty()).count();
    if empty > 0 {
        found.push(format!("empty training texts: {empty}"));
    }
    found
}

/// Share of unknown tokens above which the vocabulary is that of another language.
const MOST_UNKNOWN: f64 = 0.05;
/// Word pieces of a word above which the vocabulary is that of another language.
const MOST_PIECES: f64 = 3.0;

/// What the inputs do not tell, whatever the architecture.
fn blind_warnings(train: &SplitReport) -> Vec<String> {
    let InputFloors { prior, texts, ids, bags, .. } = train.floors;
    let mut found = Vec::new();
    if texts > InputFloors::COUNTS * prior {
        found.push(format!(
            "BLIND: equal texts have different labels, so no model can have a training loss below {texts:.3} nats (without any \
             input {prior:.3}); check the labels of texts that occur several times"
        ));
    }
    if train.floors.ids_are_blind() {
        found.push(format!(
            "BLIND: different texts become the same token ids and have different labels, so no model can have a training loss \
             below {ids:.3} nats with this tokenizer and data.max_length (texts allow {texts:.3}, without any input {prior:.3}); {}",
            train.floors.remedy(train.truncated_share)
        ));
    }
    if train.floors.order_counts() {
        found.push(format!(
            "BLIND: labels depend on the order of words, so a bag of words cannot have a training loss below {bags:.3} nats \
             (token ids in order allow {ids:.3})"
        ));
    }
    found
}

/// Labels that often stand for a missing one.
const MARKS: [&str; 8] = ["-", "--", "?", "none", "null", "n/a", "na", "unknown"];

/// The first label that is several labels with this separator between them, if all labels with it are.
fn joined<'n>(names: &BTreeSet<&'n str>, separator: char) -> Option<&'n str> {
    let several: Vec<&&str> = names.iter().filter(|name| name.contains(separator)).collect();
    let are_lists = several.iter().all(|name| {
        name.split(separator).all(|part| names.contains(part.trim()))
            || name.split(separator).count() > 1 && several.len() * 2 >= names.len()
    });
    names.iter().find(|name| name.contains(separator)).copied().filter(|_| are_lists)
}

/// What looks wrong about the labels themselves.
fn label_warnings(dataset: &Dataset, rows: usize, input: &ReportInput) -> Vec<String> {
    let mut found = Vec::new();
    let labels = &dataset.labels;
    let mut by_shape: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for label in labels {
        let shape = label.split_whitespace().collect::<String>().to_lowercase();
        by_shape.entry(shape).or_default().push(label);
    }
    for same in by_shape.values().filter(|same| same.len() > 1) {
        let names: Vec<String> = same.iter().map(|name| format!("`{name}`")).collect();
        found.push(format!(
            "the labels {} differ only in capitals or spaces; each is a class of its own",
            names.join(", ")
        ));
    }
    for mark in labels.iter().filter(|label| MARKS.contains(&label.to_lowercase().as_str())) {
        found.push(format!(
            "the label `{mark}` often means that a label is missing; here it is a class. Remove these rows if they have no label"
        ));
    }
    let are_flags = !labels.is_empty() && labels.iter().all(|label| matches!(label.as_str(), "0" | "1"));
    if input.task == TaskName::MultiLabel && are_flags {
        found.push(format!(
            "the labels are the flags `0` and `1` of the column {0}; a list of columns, data.label: [{0}, ...], makes each a label",
            input.label_column
        ));
    }
    if input.task == TaskName::MultiLabel {
        let names: BTreeSet<&str> = labels.iter().map(String::as_str).collect();
        let separator = [',', ';'].into_iter().find(|separator| joined(&names, *separator).is_some());
        if let Some((separator, example)) = separator.and_then(|one| Some((one, joined(&names, one)?))) {
            found.push(format!(
                "labels such as `{example}` look like several labels, and here each is one label; write `|` in place of `{separator}` \
                 between labels"
            ));
        }
    }
    if input.task != TaskName::Classification {
        return found;
    }
    // Classes are those of all rows, also where a limit draws few of them.
    let rows = rows.max(input.rows);
    if labels.len() > 20 && labels.len() * 2 > rows {
        let numbers = labels.iter().filter(|label| looks_like_number(label)).count();
        let guess = if numbers * 10 >= labels.len() * 9 {
            "is this a number? `task: regression` predicts it".to_owned()
        } else {
            format!("is it an id? data.label: {} must name a column of classes", input.label_column)
        };
        found.push(format!("nearly as many classes as rows ({} in {rows} rows): {guess}", labels.len()));
    } else {
        let names: BTreeSet<&str> = labels.iter().map(String::as_str).collect();
        if let Some(separator) = ['|', ';', ','].into_iter().find(|separator| joined(&names, *separator).is_some()) {
            let example = joined(&names, separator).unwrap_or_default();
            let first = if separator == '|' { "" } else { "after each separator is replaced by `|`, " };
            found.push(format!(
                "labels such as `{example}` look like several labels of one text, and here each combination is a class; {first}`task: \
                 multi_label` predicts each label by itself"
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::{Example, Tokens};

    fn dataset(labels: &[&str], train: &[(&str, u32)], eval: &[(&str, u32)]) -> Dataset {
        let split = |rows: &[(&str, u32)]| Split {
            examples: rows
                .iter()
                .map(|&(text, label)| Example { target: Target::Class(label), ..Example::unlabelled(text) })
                .collect(),
            tokens: Tokens::whole(
                rows.iter().map(|(text, _)| text.trim().bytes().map(u32::from).sum()).collect(),
                vec![0; rows.len()],
                (0..=rows.len() as u32).collect(),
            ),
            full_lengths: vec![5; rows.len()],
            ..Split::default()
        };
        let labels = labels.iter().map(ToString::to_string).collect();
        Dataset { labels, class_prior: vec![], train: split(train), eval: split(eval), vocabulary: 0 }
    }

    fn warned(dataset: &Dataset) -> Vec<String> {
        // Four special tokens and a word of one piece.
        let input =
            ReportInput { max_length: 8, special_tokens: 4, label_column: "label".into(), ..ReportInput::default() };
        report(dataset, &input).warnings
    }

    #[test]
    fn good_data_has_no_warnings() {
        assert_eq!(warned(&dataset(&["neg", "pos"], &[("a", 0), ("b", 1)], &[("c", 0)])), Vec::<String>::new());
    }

    #[test]
    fn flags_are_no_labels() {
        let data = dataset(&["0", "1"], &[("a", 0), ("b", 1)], &[("c", 0)]);
        let warned = |task: TaskName| {
            let input = ReportInput { max_length: 8, task, label_column: "toxic".into(), ..ReportInput::default() };
            report(&data, &input).warnings.iter().any(|warning| warning.contains("data.label: [toxic, ...]"))
        };
        assert_eq!([TaskName::MultiLabel, TaskName::Classification].map(warned), [true, false]);
    }

    #[test]
    fn leaks_duplicates_and_conflicts_are_counted() {
        let data = dataset(&["0", "1"], &[("a", 0), (" a ", 1), ("b", 1), ("b", 1)], &[("a", 0), ("c", 0), ("b", 1)]);
        let report = report(&data, &ReportInput::default());
        assert_eq!((report.duplicate_rows, report.conflicting_texts, report.leaked_rows), (2, 1, 2));
        assert_eq!((report.train.class_rows, report.eval.class_rows), (vec![1, 3], vec![2, 1]));
    }

    #[test]
    fn lengths_and_truncation() {
        let mut data = dataset(&["0", "1"], &[("a", 0), ("b", 1), ("c", 1), ("d", 1)], &[("e", 0)]);
        data.train.full_lengths = vec![4, 8, 12, 16];
        let input = ReportInput { max_length: 8, ..ReportInput::default() };
        let train = report(&data, &input).train;
        assert_eq!((train.median_tokens, train.tokens_95_percent, train.longest_tokens), (12, 16, 16));
        assert!((train.truncated_share - 0.5).abs() < 1e-12 && (train.lost_tokens_share - 0.3).abs() < 1e-12);
    }

    #[test]
    fn words_are_counted_as_bert_splits_them() {
        let check = |text: &str, words: usize| assert_eq!(count_words(text), words, "{text}");
        check("", 0);
        check("  two  words ", 2);
        check("don't stop!!", 6);
        check("\u{6c34}\u{6c34} x", 3);
    }

    #[test]
    fn what_the_inputs_do_not_tell_is_warned_of() {
        let warned = |train: &[(&str, u32)], ids: Vec<u32>, lengths: Vec<u32>, unknown_token: Option<u32>| {
            let mut data = dataset(&["0", "1"], train, &[]);
            data.train.tokens =
                Tokens::whole(ids, vec![0; 2 * train.len()], (0..=train.len() as u32).map(|i| 2 * i).collect());
            data.train.full_lengths = lengths;
            let input = ReportInput { max_length: 4, special_tokens: 1, unknown_token, ..ReportInput::default() };
            report(&data, &input).warnings.join("\n")
        };
        let quiet = warned(&[("a", 0), ("b", 1)], vec![9, 1, 9, 2], vec![2, 2], Some(3));
        assert_eq!(quiet, "");
        let case = warned(&[("A", 0), ("a", 1)], vec![9, 1, 9, 1], vec![2, 2], None);
        assert!(
            case.contains("BLIND: different texts") && case.contains("below 0.693") && case.contains("cased"),
            "{case}"
        );
        let cut = warned(&[("a x", 0), ("a y", 1)], vec![9, 1, 9, 1], vec![5, 5], None);
        assert!(cut.contains("CUT: 100 %") && cut.contains("a longer data.max_length reads"), "{cut}");
        let order = warned(&[("a b", 0), ("b a", 1)], vec![1, 2, 2, 1], vec![2, 2], None);
        assert!(
            order.starts_with("BLIND: labels depend on the order of words") && order.lines().count() == 1,
            "{order}"
        );
        let twice = warned(&[("a", 0), ("a", 1)], vec![9, 1, 9, 1], vec![2, 2], None);
        assert!(twice.contains("BLIND: equal texts") && !twice.contains("different texts"), "{twice}");
        let unknown = warned(&[("a", 0), ("b", 1)], vec![9, 3, 9, 4], vec![2, 2], Some(3));
        assert!(unknown.contains("UNKNOWN: 25 % of the tokens"), "{unknown}");
        let pieces = warned(&[("a", 0), ("b", 1)], vec![9, 1, 9, 2], vec![5, 5], Some(3));
        assert!(pieces.contains("UNKNOWN: the tokenizer splits a word into 4.0 pieces"), "{pieces}");
    }

    #[test]
    fn suspicious_labels_are_named() {
        let warnings = |labels: &[&str]| {
            warned(&dataset(labels, &(0..labels.len() as u32).map(|label| ("x", label)).collect::<Vec<_>>(), &[]))
                .join("\n")
        };
        assert!(warnings(&["Pos", "pos"]).contains("`Pos`, `pos` differ only in capitals or spaces"));
        assert!(warnings(&["a", "a|b"]).contains("`a|b` look like several labels"));
        assert!(warnings(&["entailment", "-"]).contains("the label `-` often means"));
        let numbers: Vec<String> = (0..30).map(|i| format!("0.{i:03}")).collect();
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        assert!(warnings(&numbers).contains("(30 in 30 rows): is this a number? `task: regression`"));
        let commas: Vec<String> = numbers.iter().map(|number| number.replace('.', ",")).collect();
        let commas: Vec<&str> = commas.iter().map(String::as_str).collect();
        assert!(warnings(&commas).contains("(30 in 30 rows): is this a number? `task: regression`"));
        // A limit leaves few rows and all classes.
        let drawn = dataset(&numbers, &(0..30).map(|label| ("x", label)).collect::<Vec<_>>(), &[]);
        let input = ReportInput { rows: 1000, ..ReportInput::default() };
        assert!(report(&drawn, &input).warnings.iter().all(|warning| !warning.contains("nearly as many classes")));
        let untrained = dataset(&["a", "b", "c"], &[("x", 0), ("y", 1)], &[("z", 2)]);
        assert!(warned(&untrained)[0].contains("no training row has the label `c`"));
    }
}
