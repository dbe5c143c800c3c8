//! The texts of a data file in the order of the file, not split: for augmentations that are shown, and for predictions.

use std::path::Path;

use super::columns::Columns;
use super::encoding::decode;
use super::example::Example;
use super::files::read_unpacked;
use super::labels::whole_numbers;
use super::load::longest;
use super::rows::Row;
use super::settings::FileSettings;
use super::split_name::SplitName;
use super::table::Table;
use crate::train::TrainError;
use crate::trial::{ColumnNames, DataConfig, TaskName};

/// The texts of a file, with the labels that it has.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledTexts {
    /// Without targets.
    pub examples: Vec<Example>,
    /// The label of each example, empty where it is missing. None: the file has no labels.
    pub labels: Option<Vec<String>>,
    /// One line for each file: its name and how it was read.
    pub files: Vec<String>,
    /// Bad rows that were left out.
    pub skipped_rows: usize,
}

/// The texts of a located source of any format. If `labels_are_optional`, the source may lack the column of the labels.
///
/// A `.txt` file without the column of the texts and without tabs has one text on each line.
pub fn labelled_texts(
    source: &str,
    config: &DataConfig,
    labels_are_optional: bool,
) -> Result<LabelledTexts, TrainError> {
    let (pair, longest) = (config.text_pair.as_deref(), longest(config));
    let read = |label: Option<&ColumnNames>| {
        let columns = match label {
            Some(label) => Columns::of_task(config.task, &config.text.0, pair, &label.0, longest),
            None => Columns::new(&config.text.0, pair, &[], longest).with_words(config.task == TaskName::Tokens),
        };
        let columns = columns.with_truncation(config.truncate).with_choices(&config.choices).with_optional_label();
        Table::read(source, SplitName::Eval, config, &columns)
    };
    let (mut table, has_labels) = match read(Some(&config.label)) {
        Err(TrainError::Keys(_)) if labels_are_optional => match (read(None), lines(source, config)?) {
            (Ok(table), _) => (table, false),
            (Err(_), Some(lines)) => return Ok(lines),
            (Err(error), None) => return Err(error),
        },
        table => (table?, true),
    };
    if config.task == TaskName::Classification {
        whole_numbers(table.rows.iter_mut().filter(|row| !row.label.is_empty()));
    }
    let labels = has_labels.then(|| table.rows.iter().map(|row| row.label.clone()).collect());
    Ok(LabelledTexts { examples: examples(&table), labels, skipped_rows: table.skipped_rows, files: table.files })
}

fn examples(table: &Table) -> Vec<Example> {
    let example = |row: &Row| Example {
        pair: row.pair.clone(),
        choices: row.choices.clone(),
        ..Example::unlabelled(row.text.as_str())
    };
    table.rows.iter().map(example).collect()
}

/// The lines of a plain text file; None if the file is something else.
fn lines(source: &str, config: &DataConfig) -> Result<Option<LabelledTexts>, TrainError> {
    if !Path::new(source).is_file() || config.text_pair.is_some() || !config.choices.is_empty() {
        return Ok(None);
    }
    let (name, bytes) = read_unpacked(source, SplitName::Eval)?;
    let decoded = decode(source, &bytes, FileSettings::new(config)?.encoding)?;
    if Path::new(&name).extension().is_none_or(|ending| ending != "txt") || decoded.text.contains('\t') {
        return Ok(None);
    }
    let examples: Vec<Example> = decoded.text.lines().map(Example::unlabelled).collect();
    let files = vec![format!("{source}: one text on each line, {} lines", examples.len())];
    Ok(Some(LabelledTexts { examples, labels: None, files, skipped_rows: 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &[u8]) -> Result<LabelledTexts, TrainError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        labelled_texts(path.to_str().unwrap(), &DataConfig::default(), true)
    }

    fn check(name: &str, content: &str, texts: &[&str], labels: Option<&[&str]>) {
        let found = read(name, content.as_bytes()).unwrap();
        let found_texts: Vec<&str> = found.examples.iter().map(|example| example.text.as_str()).collect();
        assert_eq!(found_texts, texts, "{content}");
        let labels: Option<Vec<String>> = labels.map(|labels| labels.iter().map(ToString::to_string).collect());
        assert_eq!(found.labels, labels, "{content}");
    }

    #[test]
    fn labels_are_read_where_there_are_any() {
        check("a.csv", "text,label\nb,x\na,y\n", &["b", "a"], Some(&["x", "y"]));
        check("a.csv", "text,label\nb,\na,y\n", &["b", "a"], Some(&["", "y"]));
        check("a.csv", "text,label\nb,1.0\na,\n", &["b", "a"], Some(&["1", ""]));
        check("a.csv", "text,stars\nb,x\n", &["b"], None);
        check("a.jsonl", "{\"text\": \"b\"}\n{\"text\": \"a\", \"label\": 1}\n", &["b", "a"], Some(&["", "1"]));
    }

    #[test]
    fn a_file_with_one_column_may_have_commas_in_its_texts() {
        check("a.csv", "text\ngood, really\nbad\n", &["good, really", "bad"], None);
        check("a.csv", "text\ngood, really\nbad, really\n", &["good, really", "bad, really"], None);
        check("a.csv", "text\n\"good, really\"\n\"bad\", he thinks\n", &["good, really", "bad, he thinks"], None);
        check("a.csv", "text\ngood; fine, too\nbad|worse\n", &["good; fine, too", "bad|worse"], None);
        let error = read("a.csv", b"text\ngood,1\nbad,0\n").unwrap_err().to_string();
        assert!(error.contains("the header has 1 column, but this row has 2 fields"), "{error}");
    }

    #[test]
    fn a_plain_text_file_has_one_text_on_each_line() {
        check("a.txt", "good, really\n\nbad\n", &["good, really", "", "bad"], None);
        check("a.txt", "text\nbad\n", &["bad"], None);
        for (name, content) in [("a.csv", "good\nbad\n"), ("a.txt", "good\t1\nbad\t0\n")] {
            assert!(read(name, content.as_bytes()).is_err(), "{name}");
        }
    }
}
