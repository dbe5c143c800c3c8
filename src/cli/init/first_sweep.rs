//! The text of a first sweep file, from what is known about the data. Pure.

use std::fmt::Write as _;

use serde_json::Value;

use super::folder::SweepFolder;
use crate::trial::{BadRows, ColumnNames, DataConfig, DataFacts, EvalSource, TaskName, printable};

/// The longest text that the checkpoint takes, in tokens.
pub(super) const MAX_LENGTH: usize = 512;
/// The lengths to which a first sweep cuts texts.
const LENGTHS: [usize; 5] = [32, 64, 128, 256, MAX_LENGTH];
/// Training rows of a first sweep have about this many tokens in all: then a trial takes less than a minute on one core.
const TOKENS: f64 = 20_000.0;
/// The fewest and the most training rows of a first sweep.
const ROWS: (f64, f64) = (200.0, 2000.0);
/// A first sweep evaluates on at most this many rows for each row that it trains on.
const EVAL_SHARE: f64 = 0.3;

/// What a first sweep is written from.
pub(super) struct FirstSweep {
    /// The data as the user wrote it.
    pub source: String,
    /// False: the texts and labels of the format have no names.
    pub has_columns: bool,
    pub data: DataConfig,
    /// Keys of `data` that the user gave, as written.
    pub given: Vec<(String, String)>,
    /// Columns without a meaning for the sweep.
    pub other_columns: Vec<String>,
    /// Of texts cut at [`MAX_LENGTH`].
    pub facts: DataFacts,
}

impl FirstSweep {
    /// Writes the sources as they are read from a sweep file in this folder.
    pub(super) fn set_folder(&mut self, folder: &SweepFolder) {
        self.source = folder.source(&self.source);
        for (key, value) in &mut self.given {
            if matches!(key.as_str(), "data.eval" | "data.test" | "data.eval.file" | "data.test.file") {
                *value = folder.setting(value);
            }
        }
    }

    /// What the data is like, in lines.
    pub(super) fn description(&self) -> Vec<String> {
        self.facts.report.lines(&self.facts.labels)
    }

    /// The sweep file. `path` is where it will be.
    pub(super) fn text(&self, path: &str) -> String {
        let mut text = format!(
            "# A first sweep for {}, written by `plateau init`.\n\
             #\n\
             #     plateau run {path}     train all trials, and draw the report\n\
             #     plateau plan {path}    list them first, with an estimate of the time\n\
             #\n\
             # The data:\n",
            comment(&self.source)
        );
        for line in self.description() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "#   {}", comment(&line));
        }
        text.push('\n');
        let why = match self.data.task {
            TaskName::MultipleChoice => Some("the label is the number of the right choice, from 0, or its column"),
            TaskName::Regression => Some("the label is a number"),
            TaskName::MultiLabel => Some("a text has any number of labels, also none"),
            _ => None,
        };
        if let Some(why) = why.filter(|_| !self.given.iter().any(|(key, _)| key == "data.task")) {
            push(&mut text, &format!("task: {}", self.data.task.name()), why);
        }
        text.push_str("data:\n");
        for (line, why) in self.data_lines() {
            push(&mut text, &format!("  {line}"), &why);
        }
        text.push_str("\nmodel:\n");
        push(
            &mut text,
            "  from: embedded:minilm-l3",
            "small and fast; stronger: hf:google-bert/bert-base-uncased, or a folder",
        );
        text.push('\n');
        push(&mut text, &format!("batch_size: {}", self.batch_size()), "");
        push(&mut text, &format!("epochs: {}", self.epochs()), "");
        push(&mut text, &format!("eval_every: {}", self.eval_every()), "optimizer steps");
        text.push_str("\ngrid:");
        text.push_str("\n  # Every combination is a configuration. The loss curves show which learning rates are too low or too high.\n");
        text.push_str("  lr: [3e-5, 1e-4, 3e-4, 1e-3]\n");
        push(&mut text, "  warmup: [0, 0.1]", "share of all steps in which the learning rate rises");
        text.push('\n');
        push(
            &mut text,
            "seeds: [1, 2]",
            "each configuration twice: what the seed does is not what the learning rate does",
        );
        text
    }

    /// The lines of the section `data`, each with a comment.
    fn data_lines(&self) -> Vec<(String, String)> {
        let DataConfig { task, text, text_pair, choices, label, eval, test, bad_rows, .. } = &self.data;
        let report = &self.facts.report;
        let is_given = |key: &str| self.given.iter().any(|(given, _)| given == key);
        let mut lines = vec![(format!("train: {}", scalar(&self.source)), String::new())];
        let mut add = |key: &str, value: String, why: String| {
            if !is_given(&format!("data.{key}")) {
                lines.push((format!("{key}: {value}"), why));
            }
        };
        if self.data.header == Some(false) {
            add("header", "false".into(), "columns are numbers from 1".into());
        }
        if self.has_columns {
            let others: Vec<String> = self.other_columns.iter().take(8).map(|name| comment(name)).collect();
            let others =
                if others.is_empty() { String::new() } else { format!("other columns: {}", others.join(", ")) };
            let list = |names: &[String]| {
                format!("[{}]", names.iter().map(|name| scalar(name)).collect::<Vec<_>>().join(", "))
            };
            let one_or_list = |ColumnNames(names): &ColumnNames| {
                if let [only] = names.as_slice() { scalar(only) } else { list(names) }
            };
            add("text", one_or_list(text), others);
            if let Some(pair) = text_pair {
                let why = if choices.is_empty() { "the second text of a pair" } else { "the start of each choice" };
                add("text_pair", scalar(pair), why.into());
            }
            if !choices.is_empty() {
                add("choices", list(choices), String::new());
            }
            let count = self.facts.labels.len();
            let why = match task {
                TaskName::MultipleChoice => format!("{count} choices"),
                TaskName::Regression => String::new(),
                TaskName::MultiLabel => format!("{count} labels"),
                _ => format!("{count} classes"),
            };
            add("label", one_or_list(label), why);
        }
        match eval {
            EvalSource::Fraction(fraction) => {
                add("eval", fraction.to_string(), "this share of the rows is held out".into());
            }
            EvalSource::File(_) | EvalSource::Table(_) => {
                add("eval", scalar(&self.source), "the folder has evaluation data of its own".into());
            }
        }
        if test.is_some() {
            add("test", scalar(&self.source), "of the folder; used once, for the best trial".into());
        }
        let covered = report.train.tokens_95_percent;
        add("max_length", self.max_length().to_string(), format!("tokens; 95 % of the texts have at most {covered}"));
        if let Some(rows) = self.limit() {
            let all =
                format!("a sample is enough to compare settings; without this line: all {} rows", report.train.rows);
            add("limit", rows.to_string(), all);
        }
        let eval_limit = (self.limit().unwrap_or(report.train.rows) as f64 * EVAL_SHARE).round() as usize;
        if eval_limit < report.eval.rows && report.eval.rows > 100 {
            add("eval_limit", eval_limit.max(100).to_string(), format!("of {} evaluation rows", report.eval.rows));
        }
        if *bad_rows == BadRows::Skip {
            add("bad_rows", "skip".into(), format!("{} rows cannot be used; `error` lists them", report.skipped_rows));
        }
        let given = self.given.iter().filter_map(|(key, value)| Some((key.strip_prefix("data.")?, value)));
        lines.extend(given.map(|(key, value)| (format!("{key}: {value}"), String::new())));
        lines
    }

    /// The shortest usual length that holds 95 % of the texts.
    fn max_length(&self) -> usize {
        let covered = self.facts.report.train.tokens_95_percent as usize;
        LENGTHS.into_iter().find(|length| *length >= covered).unwrap_or(MAX_LENGTH)
    }

    /// Training rows of a first sweep. None: all of them.
    fn limit(&self) -> Option<usize> {
        let tokens = self.facts.mean_tokens.min(self.max_length() as f64).max(1.0);
        let rows = (TOKENS / tokens).clamp(ROWS.0, ROWS.1);
        let rows = (rows / 100.0).round() as usize * 100;
        (rows < self.facts.report.train.rows).then_some(rows)
    }

    fn rows(&self) -> usize {
        self.limit().unwrap_or(self.facts.report.train.rows)
    }

    fn batch_size(&self) -> usize {
        if self.rows() < 1000 { 16 } else { 32 }
    }

    fn steps_per_epoch(&self) -> usize {
        self.rows().div_ceil(self.batch_size()).max(1)
    }

    /// Enough for about a hundred steps: with fewer, no learning rate gets far.
    fn epochs(&self) -> usize {
        100_usize.div_ceil(self.steps_per_epoch()).clamp(2, 20)
    }

    /// Eight evaluations show the shape of a curve.
    fn eval_every(&self) -> usize {
        (self.epochs() * self.steps_per_epoch() / 8).max(1)
    }
}

/// A line with its comment in a column of its own.
fn push(text: &mut String, line: &str, why: &str) {
    let _ = if why.is_empty() { writeln!(text, "{line}") } else { writeln!(text, "{line:<27} # {}", comment(why)) };
}

/// A text on one line.
fn comment(text: &str) -> String {
    printable(&text.replace(char::is_control, " ")).into_owned()
}

/// A text as YAML, quoted where it would be something else.
fn scalar(text: &str) -> String {
    let is_plain = text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ' '))
        && text.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '/' | '_'))
        && !text.ends_with(' ')
        && serde_yaml::from_str::<serde_yaml::Value>(text).is_ok_and(|value| value.as_str() == Some(text));
    // A JSON string is a YAML string.
    // What JSON leaves as it is, a terminal may obey. YAML knows the same escapes.
    if is_plain || text.starts_with("embedded:") {
        text.to_owned()
    } else {
        printable(&Value::from(text).to_string()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;
    use crate::trial::{DataReport, FileHashes, InputFloors, SplitReport};

    fn split(rows: usize) -> SplitReport {
        SplitReport {
            rows,
            class_rows: vec![rows * 3 / 4, rows / 4],
            words: None,
            numbers: None,
            median_tokens: 21,
            tokens_95_percent: 58,
            longest_tokens: 140,
            truncated_share: 0.0,
            lost_tokens_share: 0.0,
            floors: InputFloors::default(),
        }
    }

    fn sweep() -> FirstSweep {
        let report = DataReport {
            files: vec!["reviews.csv: a semicolon between fields, windows-1252, 6000 rows".into()],
            train: split(4800),
            eval: split(1200),
            ..DataReport::default()
        };
        let facts = DataFacts {
            hash: String::new(),
            files: FileHashes::new(),
            train_rows: 4800,
            eval_rows: 1200,
            mean_tokens: 24.0,
            largest_token: 30_000,
            test_hash: None,
            labels: vec!["bad".into(), "good".into()],
            class_prior: vec![0.75, 0.25],
            report,
        };
        FirstSweep {
            source: "reviews.csv".into(),
            has_columns: true,
            data: DataConfig { text: "review".into(), label: "stars".into(), ..DataConfig::default() },
            given: Vec::new(),
            other_columns: vec!["id".into(), "date".into()],
            facts,
        }
    }

    /// The data section that the text means.
    fn data(sweep: &FirstSweep) -> DataConfig {
        let text = sweep.text("reviews.yaml");
        let spec =
            spec::parse("reviews.yaml", "reviews", &text, &[]).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        spec.base().data.clone()
    }

    #[test]
    fn a_table_of_reviews() {
        insta::assert_snapshot!(sweep().text("reviews.yaml"), @"
        # A first sweep for reviews.csv, written by `plateau init`.
        #
        #     plateau run reviews.yaml     train all trials, and draw the report
        #     plateau plan reviews.yaml    list them first, with an estimate of the time
        #
        # The data:
        #   reviews.csv: a semicolon between fields, windows-1252, 6000 rows
        #   4800 training rows, 1200 evaluation rows, 2 classes
        #   classes: bad 75.0 % (75.0 % in eval), good 25.0 % (25.0 % in eval)
        #   tokens of a training text: median 21, 95 % up to 58, longest 140; 0.0 % of the texts are truncated and lose 0.0 % of all tokens

        data:
          train: reviews.csv
          text: review              # other columns: id, date
          label: stars              # 2 classes
          eval: 0.2                 # this share of the rows is held out
          max_length: 64            # tokens; 95 % of the texts have at most 58
          limit: 800                # a sample is enough to compare settings; without this line: all 4800 rows
          eval_limit: 240           # of 1200 evaluation rows

        model:
          from: embedded:minilm-l3  # small and fast; stronger: hf:google-bert/bert-base-uncased, or a folder

        batch_size: 16
        epochs: 2
        eval_every: 12              # optimizer steps

        grid:
          # Every combination is a configuration. The loss curves show which learning rates are too low or too high.
          lr: [3e-5, 1e-4, 3e-4, 1e-3]
          warmup: [0, 0.1]          # share of all steps in which the learning rate rises

        seeds: [1, 2]               # each configuration twice: what the seed does is not what the learning rate does
        ");
        let data = data(&sweep());
        assert_eq!((data.train.as_str(), data.label.clone(), data.max_length), ("reviews.csv", "stars".into(), 64));
    }

    #[test]
    fn a_small_folder_of_classes() {
        let mut sweep = sweep();
        sweep.source = "my texts".into();
        sweep.has_columns = false;
        (sweep.facts.report.train, sweep.facts.report.eval) = (split(80), split(20));
        insta::assert_snapshot!(sweep.text("my_texts.yaml"), @"
        # A first sweep for my texts, written by `plateau init`.
        #
        #     plateau run my_texts.yaml     train all trials, and draw the report
        #     plateau plan my_texts.yaml    list them first, with an estimate of the time
        #
        # The data:
        #   reviews.csv: a semicolon between fields, windows-1252, 6000 rows
        #   80 training rows, 20 evaluation rows, 2 classes
        #   classes: bad 75.0 % (75.0 % in eval), good 25.0 % (25.0 % in eval)
        #   tokens of a training text: median 21, 95 % up to 58, longest 140; 0.0 % of the texts are truncated and lose 0.0 % of all tokens

        data:
          train: my texts
          eval: 0.2                 # this share of the rows is held out
          max_length: 64            # tokens; 95 % of the texts have at most 58

        model:
          from: embedded:minilm-l3  # small and fast; stronger: hf:google-bert/bert-base-uncased, or a folder

        batch_size: 16
        epochs: 20
        eval_every: 12              # optimizer steps

        grid:
          # Every combination is a configuration. The loss curves show which learning rates are too low or too high.
          lr: [3e-5, 1e-4, 3e-4, 1e-3]
          warmup: [0, 0.1]          # share of all steps in which the learning rate rises

        seeds: [1, 2]               # each configuration twice: what the seed does is not what the learning rate does
        ");
        assert_eq!(data(&sweep).limit, None);
    }

    #[test]
    fn names_of_all_kinds_are_read_back() {
        let names =
            ["1", "true", "null", "a: b", "#x", "- a", "*a", "é", "a\"b'c", " a ", "{a}", "yes", "1e5", "a # b", "~"];
        for name in names {
            let mut sweep = sweep();
            sweep.data.text = ColumnNames(vec![name.to_owned(), "other".to_owned()]);
            sweep.data.label = name.into();
            sweep.data.text_pair = Some(name.to_owned());
            sweep.other_columns = vec!["two\nlines".to_owned()];
            let read = data(&sweep);
            assert_eq!((&read.text, &read.label), (&sweep.data.text, &sweep.data.label), "{name}");
            assert_eq!(read.text_pair, sweep.data.text_pair, "{name}");
        }
    }

    #[test]
    fn given_settings_are_copied() {
        let mut sweep = sweep();
        sweep.given = vec![("data.eval".into(), "0.5".into()), ("data.encoding".into(), "latin-1".into())];
        let data = data(&sweep);
        assert_eq!((data.eval, data.encoding.as_deref()), (EvalSource::Fraction(0.5), Some("latin-1")));
    }
}
