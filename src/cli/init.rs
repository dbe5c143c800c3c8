//! `plateau init`: looks at a data file and writes a first sweep file for it.

mod choose;
mod first_sweep;
mod folder;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::arguments::{SweepArguments, key_value};
use super::contained::{contained, size_of};
use super::output::{notify, notify_all};
use crate::spec;
use crate::store;
use crate::train::data::{Column, SourceColumns, columns, has_eval_split, has_several_labels, has_test_split};
use crate::train::{self, Cache, TrainError};
use crate::trial::{BadRows, ColumnNames, DataConfig, DataFacts, EvalSource, TaskName};
use choose::{Roles, choose};
use first_sweep::{FirstSweep, MAX_LENGTH};
use folder::SweepFolder;

/// The checkpoint of a first sweep. It is compiled in, so the sweep runs without a download.
const MODEL: &str = "embedded:minilm-l3";

#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// A data file or folder of any format that sweeps read
    #[arg(default_value = "embedded:tweets")]
    data: String,
    /// A setting of the data that is not to be guessed: --set data.label=stars --set data.encoding=latin-1
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Where to write. Default: the name of the data, in the working directory
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
}

/// Writes the sweep file and prints the next command.
pub(crate) fn init(arguments: &InitArguments) -> Result<ExitCode, Failure> {
    let path = arguments.output.clone().unwrap_or_else(|| default_path(&arguments.data));
    if path.exists() && !arguments.force {
        let path = path.display();
        return Err(Failure::input(format!(
            "{path} exists already: choose another name with -o, or replace it with --force"
        )));
    }
    if let Some((key, _)) = arguments.set.iter().find(|(key, _)| !key.starts_with("data.")) {
        return Err(Failure::input(format!("--set {key}: expected a key of `data`, such as data.text=review")));
    }
    let mut sweep = contained(0, size_of(&arguments.data), || look_at(arguments))?;
    sweep.set_folder(&SweepFolder::of(&path));
    let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let shown = path.display().to_string();
    let text = sweep.text(&shown);
    // Settings of the command line are copied as they are, so they may be wrong.
    spec::parse(&shown, &stem, &text, &[])?;
    store::write_output(&path, text.as_bytes())?;
    notify_all(&sweep.description());
    let next = SweepArguments::new(shown.as_str(), super::arguments::RESULTS);
    notify(&format!("wrote {shown}\n\nNext: plateau run {next}"));
    Ok(ExitCode::SUCCESS)
}

/// `reviews.yaml` for `data/reviews.csv.gz` and `embedded:reviews`.
fn default_path(data: &str) -> PathBuf {
    let name = Path::new(data).file_name().map_or_else(|| data.to_owned(), |name| name.to_string_lossy().into_owned());
    let name = name.strip_prefix("embedded:").unwrap_or(&name);
    let stem = name.split('.').find(|part| !part.is_empty()).unwrap_or("sweep");
    let plain: String = stem.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' }).collect();
    PathBuf::from(format!("{plain}.yaml"))
}

/// Reads the data and decides how a first sweep uses it.
fn look_at(arguments: &InitArguments) -> Result<FirstSweep, Failure> {
    let given = |key: &str| arguments.set.iter().any(|(given, _)| given == key);
    let spec = spec::parse("--set", "init", "", &arguments.set)?;
    let located = train::locate_data(&arguments.data, &[PathBuf::new()]).map_err(|error| bad_input(&error.into()))?;
    let mut data = DataConfig { train: located.clone(), ..spec.base().data.clone() };
    let found = columns(&located, &data, &named(&data, &given)).map_err(|error| bad_input(&error))?;
    let mut other_columns = Vec::new();
    if matches!(found, SourceColumns::Numbered(_)) {
        data.header = Some(false);
    }
    let has_columns = !matches!(found, SourceColumns::None);
    if let SourceColumns::Named(found) | SourceColumns::Numbered(found) = &found {
        let roles = roles(&arguments.data, found, &data, &given)?;
        other_columns = found.iter().map(|column| column.name.clone()).filter(|name| !roles.has(name)).collect();
        data.text = roles.text;
        data.label = roles.label;
        if !given("data.task") && (data.label.0.len() > 1 || roles.has_several) {
            data.task = TaskName::MultiLabel;
        }
        data.text_pair = roles.text_pair;
        if !given("data.task") && roles.is_number {
            data.task = TaskName::Regression;
        }
        if !given("data.choices") && !roles.choices.is_empty() {
            (data.task, data.choices) = (TaskName::MultipleChoice, roles.choices);
        }
    }
    if !has_columns && !given("data.task") && has_several_labels(&located, &data) {
        data.task = TaskName::MultiLabel;
    }
    let mut with_eval = DataConfig { eval: EvalSource::File(located.clone()), ..data.clone() };
    let with_eval_facts =
        if !given("data.eval") && has_eval_split(&located) { Some(facts_of(&mut with_eval)) } else { None };
    let mut facts = match with_eval_facts {
        None => facts_of(&mut data)?,
        Some(Ok(facts)) => {
            data = with_eval;
            facts
        }
        // The labels of a test set may be hidden. Then rows of the training data are held out.
        Some(Err(error)) => {
            let facts = facts_of(&mut data).map_err(|_| error)?;
            notify(
                "warning: the other files of the folder cannot be used for evaluation, because they have no labels of the training data: rows \
                 of the training data are held out",
            );
            facts
        }
    };
    if !given("data.test") && has_test_split(&located) {
        let mut with_test = DataConfig { test: Some(EvalSource::File(located)), ..data.clone() };
        // The labels of a test set may be hidden; then it is of no use.
        if let Ok(found) = facts_of(&mut with_test) {
            (data, facts) = (with_test, found);
        }
    }
    Ok(FirstSweep {
        source: arguments.data.clone(),
        has_columns,
        data,
        given: arguments.set.clone(),
        other_columns,
        facts,
    })
}

/// The columns that need no guess, if those of the text and of the label are given.
fn named(data: &DataConfig, given: &dyn Fn(&str) -> bool) -> Vec<String> {
    if !given("data.text") || !given("data.label") {
        return Vec::new();
    }
    let (ColumnNames(text), ColumnNames(label)) = (&data.text, &data.label);
    text.iter().chain(label).chain(&data.text_pair).chain(&data.choices).cloned().collect()
}

/// The columns of the texts and labels: as given, else as they look.
fn roles(source: &str, columns: &[Column], data: &DataConfig, given: &dyn Fn(&str) -> bool) -> Result<Roles, Failure> {
    let text = given("data.text").then(|| data.text.clone());
    let label = given("data.label").then(|| data.label.clone());
    let task = given("data.task").then_some(data.task);
    let roles = choose(columns, text, label, task).map_err(|problem| Failure::input(format!("{source}: {problem}")))?;
    Ok(if given("data.text_pair") { Roles { text_pair: data.text_pair.clone(), ..roles } } else { roles })
}

/// What the data is like. Bad rows are left out if there are any.
fn facts_of(data: &mut DataConfig) -> Result<DataFacts, Failure> {
    let read = |data: &DataConfig| {
        // Lengths are counted up to the longest text that the checkpoint takes.
        let whole = DataConfig { max_length: MAX_LENGTH, ..data.clone() };
        train::data_facts(&whole, MODEL, &NoCache)
    };
    let first = match read(data) {
        Ok(facts) => return Ok(facts),
        Err(error) => error,
    };
    let lenient = DataConfig { bad_rows: BadRows::Skip, ..data.clone() };
    let facts = read(&lenient).map_err(|_| bad_input(&first))?;
    *data = lenient;
    Ok(facts)
}

fn bad_input(error: &TrainError) -> Failure {
    Failure::input(format!("{error}\n`--set KEY=VALUE` gives a setting, as in --set data.label=stars"))
}

impl Roles {
    /// Whether a column is one of the names, or a list whose items are the choices.
    fn has(&self, column: &str) -> bool {
        let ColumnNames(text) = &self.text;
        let is_item = |name: &String| name.strip_prefix(column).is_some_and(|rest| rest.starts_with('.'));
        text.iter().chain(&self.label.0).chain(&self.text_pair).chain(&self.choices).any(|name| name == column)
            || self.choices.iter().any(is_item)
    }
}

/// A cache that keeps nothing, because the command writes one file only.
struct NoCache;

impl Cache for NoCache {
    fn get(&self, _key: &str) -> Option<Vec<u8>> {
        None
    }

    fn put(&self, _key: &str, _bytes: &[u8]) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_named_after_its_data() {
        for (data, expected) in [
            ("reviews.csv", "reviews.yaml"),
            ("data/my reviews.csv.gz", "my_reviews.yaml"),
            ("imdb/", "imdb.yaml"),
            ("embedded:tweets", "tweets.yaml"),
            ("..", "sweep.yaml"),
        ] {
            assert_eq!(default_path(data), Path::new(expected), "{data}");
        }
    }
}
