//! The columns of a data source of which nothing is known yet.

use std::path::Path;

use super::columns::{Columns, list_names};
use super::embedded;
use super::error::DataError;
use super::files::read_unpacked;
use super::load::longest;
use super::parse::column_names;
use super::settings::FileSettings;
use super::source::files;
use super::split_name::SplitName;
use super::table::Table;
use crate::train::TrainError;
use crate::trial::{BadRows, DataConfig, TaskName};

/// A column of a data file.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name; its number from 1 if the file has no header.
    pub name: String,
    /// Its value in each row that can be read.
    pub values: Vec<String>,
    /// Whether it is an item of a list, such as `endings.0`.
    pub is_item: bool,
    /// Whether rows hold lists. The values of a list are joined with `|`, as labels of `task: multi_label` are.
    pub is_list: bool,
}

/// The columns of a source.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceColumns {
    Named(Vec<Column>),
    /// The file has no header, so their names are numbers from 1.
    Numbered(Vec<Column>),
    /// The source has texts and labels without columns, as fastText files and folders of classes do.
    None,
}

/// The file is read once for each column.
const MOST_COLUMNS: usize = 500;

/// The columns of a located source with the settings of `config`. Of a source with very many columns, only those in `named` are
/// read.
pub fn columns(source: &str, config: &DataConfig, named: &[String]) -> Result<SourceColumns, TrainError> {
    let settings = FileSettings::new(config)?;
    let Some(first) = files(source, SplitName::Train)?.into_iter().next().filter(|file| file.class.is_none()) else {
        return Ok(SourceColumns::None);
    };
    let names = if let Some(bytes) = embedded::data(&first.path)? {
        column_names(&first.path, &format!("{}.tsv", first.path), bytes, &settings)?
    } else {
        let (name, bytes) = read_unpacked(&first.path, SplitName::Train)?;
        column_names(&first.path, &name, &bytes, &settings)?
    };
    let Some(mut names) = names else { return Ok(SourceColumns::None) };
    let are_numbers = names.iter().zip(1..).all(|(name, number)| *name == number.to_string());
    if names.len() > MOST_COLUMNS {
        if named.is_empty() {
            let message = format!(
                "{source}: {} columns, more than the {MOST_COLUMNS} that are looked at: {}; name those of the text and of the label: \
                 --set data.text=COLUMN --set data.label=COLUMN",
                names.len(),
                list_names(names.iter().map(String::as_str))
            );
            return Err(DataError::malformed(message).into());
        }
        names.retain(|name| named.contains(name));
    }
    // A row that is bad for one column may be good for another.
    let header = if are_numbers { Some(false) } else { config.header };
    let config = DataConfig { bad_rows: BadRows::Skip, header, ..config.clone() };
    let (mut columns, mut first_error) = (Vec::new(), None);
    for name in names {
        let wanted = Columns::new(std::slice::from_ref(&name), None, &[], longest(&config));
        let read = Table::read(source, SplitName::Train, &config, &wanted);
        let values = if read.as_ref().is_ok_and(|table| table.skipped_rows == 0) {
            None
        } else {
            lists(source, &config, &name, read.as_ref().map_or(0, |table| table.rows.len()))
        };
        match (values, read) {
            (Some(values), read) => {
                // Also the choices of a question are lists, in every row.
                if read.is_err() {
                    columns.extend(items(source, &config, &name));
                }
                columns.push(Column { name, values, is_item: false, is_list: true });
            }
            (None, Ok(table)) => columns.push(Column { name, values: texts(table), is_item: false, is_list: false }),
            // An object in every row is neither a text nor a label.
            (None, Err(error)) => {
                columns.extend(items(source, &config, &name));
                first_error.get_or_insert(error);
            }
        }
    }
    if let Some(error) = first_error.filter(|_| columns.is_empty()) {
        return Err(error);
    }
    Ok(if are_numbers { SourceColumns::Numbered(columns) } else { SourceColumns::Named(columns) })
}

/// The values of a column with lists, each list joined to one value. None if that makes no more rows readable than the `readable` ones.
fn lists(source: &str, config: &DataConfig, column: &String, readable: usize) -> Option<Vec<String>> {
    let wanted = label_lists(std::slice::from_ref(column), config);
    let table = Table::read(source, SplitName::Train, config, &wanted).ok()?;
    (table.rows.len() > readable).then(|| texts(table))
}

/// A column of labels that may be lists. The joined labels are read as the text of a row.
fn label_lists<'a>(column: &'a [String], config: &DataConfig) -> Columns<'a> {
    Columns::of_task(TaskName::MultiLabel, &[], None, column, longest(config))
}

/// Whether a row of a located source without columns, such as a fastText file, has several labels.
#[must_use]
pub fn has_several_labels(source: &str, config: &DataConfig) -> bool {
    let label = ["label".to_owned()];
    let config = DataConfig { bad_rows: BadRows::Skip, ..config.clone() };
    let table = Table::read(source, SplitName::Train, &config, &label_lists(&label, &config));
    table.is_ok_and(|table| table.rows.iter().any(|row| row.label.contains('|')))
}

/// The items of the lists in a column, as columns. None if rows have lists of different lengths.
fn items(source: &str, config: &DataConfig, column: &str) -> Vec<Column> {
    /// More items than a question has choices.
    const MOST: usize = 20;
    let item = |place: usize| {
        let name = format!("{column}.{place}");
        let wanted = Columns::new(std::slice::from_ref(&name), None, &[], longest(config));
        let values = Table::read(source, SplitName::Train, config, &wanted).map(texts).ok()?;
        Some(Column { name, values, is_item: true, is_list: false })
    };
    let items: Vec<Column> = (0..MOST).map_while(item).collect();
    let rows = items.first().map_or(0, |item| item.values.len());
    let are_alike = items.iter().all(|item| item.values.len() == rows);
    if are_alike && items.len() < MOST { items } else { Vec::new() }
}

fn texts(table: Table) -> Vec<String> {
    table.rows.into_iter().map(|row| row.text).collect()
}

/// Whether a located folder has evaluation data of its own.
#[must_use]
pub fn has_eval_split(source: &str) -> bool {
    differs(source, SplitName::Eval, SplitName::Train)
}

/// Whether a located folder has test data beside its evaluation data.
#[must_use]
pub fn has_test_split(source: &str) -> bool {
    differs(source, SplitName::Test, SplitName::Train) && differs(source, SplitName::Test, SplitName::Eval)
}

/// Whether two splits of a folder have files of their own.
fn differs(source: &str, split: SplitName, other: SplitName) -> bool {
    let files = |split| files(source, split).ok();
    Path::new(source).is_dir() && files(split).zip(files(other)).is_some_and(|(files, others)| files != others)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, content: &str, expected: &[(&str, &[&str])]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let found = match columns(path.to_str().unwrap(), &DataConfig::default(), &[]).unwrap() {
            SourceColumns::Named(columns) | SourceColumns::Numbered(columns) => columns,
            SourceColumns::None => panic!("{name} has columns"),
        };
        let found: Vec<(&str, Vec<&str>)> = found
            .iter()
            .map(|column| (column.name.as_str(), column.values.iter().map(String::as_str).collect()))
            .collect();
        let expected: Vec<(&str, Vec<&str>)> = expected.iter().map(|(name, values)| (*name, values.to_vec())).collect();
        assert_eq!(found, expected, "{content}");
    }

    #[test]
    fn of_very_many_columns_only_those_with_a_given_name_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wide.csv");
        let row = |text: &str| (0..=MOST_COLUMNS).map(|index| format!("{text}{index}")).collect::<Vec<_>>().join(",");
        std::fs::write(&path, format!("{}\n{}\n", row("c"), row("x"))).unwrap();
        let read = |named: &[&str]| {
            let named: Vec<String> = named.iter().map(ToString::to_string).collect();
            columns(path.to_str().unwrap(), &DataConfig::default(), &named)
        };
        let error = read(&[]).unwrap_err().to_string();
        assert!(error.contains("501 columns, more than the 500 that are looked at: `c0`, `c1`, "), "{error}");
        let Ok(SourceColumns::Named(found)) = read(&["c400", "c7"]) else { panic!("the file has a header") };
        let values: Vec<&str> = found.iter().flat_map(|column| &column.values).map(String::as_str).collect();
        assert_eq!(values, ["x7", "x400"]);
    }

    #[test]
    fn columns_are_found_in_every_format() {
        check("a.csv", "review,stars\nfine,1\nbad,0\n", &[("review", &["fine", "bad"]), ("stars", &["1", "0"])]);
        check(
            "a.csv",
            "review;stars\nfine, really;1\nbad;0\n",
            &[("review", &["fine, really", "bad"]), ("stars", &["1", "0"])],
        );
        check(
            "a.tsv",
            "x\t2\ta text\nx\t0\tanother\n",
            &[("1", &["x", "x"]), ("2", &["2", "0"]), ("3", &["a text", "another"])],
        );
        check("a.tsv", "1\ta text\n0\tanother\n", &[("1", &["1", "0"]), ("2", &["a text", "another"])]);
        check("a.jsonl", "{\"b\": {\"c\": \"x\"}, \"a\": 1}\n", &[("a", &["1"]), ("b.c", &["x"])]);
        check(
            "a.jsonl",
            "{\"endings\": [\"x\", \"y\"], \"many\": [1, 2, 3]}\n{\"endings\": [\"z\", \"w\"], \"many\": [1, 2]}\n",
            &[
                ("endings.0", &["x", "z"]),
                ("endings.1", &["y", "w"]),
                ("endings", &["x|y", "z|w"]),
                ("many", &["1|2|3", "1|2"]),
            ],
        );
        check("a.csv", "text^label\nfine^1\nbad^0\n", &[("text", &["fine", "bad"]), ("label", &["1", "0"])]);
        // Classes may have the name of their column.
        check(
            "a.csv",
            "text,spam\na,spam\nb,ham\nc,spam\n",
            &[("text", &["a", "b", "c"]), ("spam", &["spam", "ham", "spam"])],
        );
        check(
            "a.csv",
            "text,label\ntext 4,a\nlabel, text 5,label\ntext 6,label\ntext 7,a\n",
            &[("text", &["text 4", "text 6", "text 7"]), ("label", &["a", "label", "a"])],
        );
        check(
            "a.tsv",
            "\"text\"\t\"label\"\n\"1\"\t\"fine\"\t\"good\"\n\"2\"\t\"dull\"\t\"bad\"\n",
            &[("text", &["fine", "dull"]), ("label", &["good", "bad"])],
        );
        check("a.csv", "# made today\ntext,label\nfine,1\n", &[("text", &["fine"]), ("label", &["1"])]);
    }

    #[test]
    fn lists_in_some_rows_are_lists_in_all() {
        check(
            "a.jsonl",
            "{\"t\": \"x\", \"tags\": [\"a\", \"b\"]}\n{\"t\": \"y\", \"tags\": [\"a\"]}\n{\"t\": \"z\", \"tags\": []}\n",
            &[("t", &["x", "y", "z"]), ("tags", &["a|b", "a", ""])],
        );
        let folder = tempfile::tempdir().unwrap();
        let several = |content: &str| {
            let path = folder.path().join("a.txt");
            std::fs::write(&path, content).unwrap();
            has_several_labels(path.to_str().unwrap(), &DataConfig::default())
        };
        assert!(several("__label__a x\n__label__a __label__b y\n"));
        assert!(!several("__label__a x|y\n__label__b y\n"));
    }

    #[test]
    fn a_file_without_rows_says_so() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [("a.csv", "text,label\n"), ("a.json", "[]")] {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            let message = columns(path.to_str().unwrap(), &DataConfig::default(), &[]).unwrap_err().to_string();
            assert!(message.contains("rows"), "{message}");
        }
    }

    #[test]
    fn a_file_without_good_rows_says_why() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content, why) in [
            (
                "a.jsonl",
                "{\"turns\": [{\"says\": \"x\"}, {}]}\n{\"turns\": [{\"says\": \"y\"}, {}]}\n",
                "FILE:1: `turns` is a list; expected a single value, such as `turns.0.says` (2 rows: lines 1, 2)",
            ),
            ("a.csv", "text,label\nx,y,z\nx,y,z,w\n", "FILE:2: the header has 2 columns, but this row has 3 fields"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            let path = path.to_str().unwrap();
            let message = columns(path, &DataConfig::default(), &[]).unwrap_err().to_string().replace(path, "FILE");
            assert!(message.starts_with("FILE: all rows are bad: ") && message.contains(why), "{message}");
        }
    }

    #[test]
    fn fasttext_has_no_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "__label__a good\n__label__b bad\n").unwrap();
        assert_eq!(columns(path.to_str().unwrap(), &DataConfig::default(), &[]).unwrap(), SourceColumns::None);
    }
}
