//! `plateau predict`: labels and probabilities for new texts, from the model of a sweep or from an exported folder.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value, json};

use super::Failure;
use super::arguments::{RESULTS, SweepArguments, available_threads, key_value};
use super::contained::{contained, size_of};
use super::kept_models::KeptModel;
use super::output::{notify, notify_all};
use super::prepare::{RecordedSweep, recorded_sweep};
use crate::exec::{cpu_environment, this_program};
use crate::report::count;
use crate::run;
use crate::spec;
use crate::store::StoreError;
use crate::train::classifier::{Classifier, ClassifierFiles};
use crate::train::data::{Example, LabelledTexts, labelled_texts};
use crate::train::tasks::{self, Evaluated, Target, Task};
use crate::train::{self, TrainError};
use crate::trial::{DataConfig, TaskName, TrialConfig, TrialId, printable, spreadsheet_cell};

/// Texts that are scored together. Many, because texts of one length share a batch.
const CHUNK: usize = 1024;
/// The argument that means standard input.
const STANDARD_INPUT: &str = "-";

#[derive(Debug, Args)]
pub(crate) struct PredictArguments {
    /// A sweep (its best model), SWEEP:TRIAL, or a folder that `plateau export --format hf` wrote
    model: String,
    /// A data file of any format that sweeps read, or - for standard input with one UTF-8 text on each line
    file: String,
    /// A setting of the file, where it differs from the training data: --set data.text=review --set data.encoding=latin-1
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    #[arg(long, value_enum, default_value_t = PredictionFormat::Csv)]
    format: PredictionFormat,
    /// Folder of all results
    #[arg(long, value_name = "DIR", default_value = RESULTS)]
    results: PathBuf,
    /// CPU threads; default all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Show only errors
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PredictionFormat {
    /// A row for each text: the text, its predicted label, and the probability of each label
    Csv,
    /// The same as an object on each line
    Jsonl,
}

/// Starts this program again in its place, with the environment of a worker: its allocator and its thread pools read their
/// settings when the program starts. Without them, page faults take a tenth of the time.
fn restart_like_a_worker(threads: usize) {
    let environment = cpu_environment(threads);
    let is_set = environment.iter().all(|(name, _)| env::var_os(name).is_some());
    if let (false, Ok(program)) = (is_set, this_program()) {
        // Returns only if it fails. Then the texts are scored all the same.
        let _ = Command::new(program).arg0("plateau").args(env::args_os().skip(1)).envs(environment).exec();
    }
}

/// Writes a prediction for each text to standard output, in the order of the input.
pub(crate) fn predict(arguments: &PredictArguments) -> Result<ExitCode, Failure> {
    let threads = arguments.threads.map_or_else(available_threads, usize::from);
    restart_like_a_worker(threads);
    let files = find_model(arguments)?;
    contained(files.size(), size_of(&arguments.file), || predict_with(&files, arguments, threads))
}

fn predict_with(files: &ClassifierFiles, arguments: &PredictArguments, threads: usize) -> Result<ExitCode, Failure> {
    check_settings(arguments)?;
    let input = if arguments.file == STANDARD_INPUT {
        check_stream(&files.data, arguments)?;
        None
    } else {
        Some(read(arguments, &files.data)?)
    };
    let classifier = Classifier::new(files, threads).map_err(bad_input)?;
    let mut predictor = Predictor::new(&classifier, files, arguments)?;
    if predictor.write_header()? {
        match &input {
            Some(texts) => predictor.add_all(texts)?,
            None => predictor.add_lines()?,
        }
    }
    predictor.finish();
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::needless_pass_by_value, reason = "the form that `map_err` needs")]
fn bad_input(error: TrainError) -> Failure {
    Failure::input(error.to_string())
}

/// Whether a model that is no file ends with a part of a trial's id.
fn is_short_id(model: &str) -> bool {
    let id = model.rsplit_once(':').map_or("", |(_, id)| id);
    let is_hex = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex && !Path::new(model).exists()
}

/// The model that the first argument names.
fn find_model(arguments: &PredictArguments) -> Result<ClassifierFiles, Failure> {
    let model = &arguments.model;
    let folder = Path::new(model);
    if folder.join("config.json").is_file() {
        return ClassifierFiles::read(folder).map_err(bad_input);
    }
    let (sweep, id) = match model.rsplit_once(':').map(|(sweep, id)| (sweep, TrialId::parse(id))) {
        Some((sweep, Some(id))) => (sweep, Some(id)),
        Some((_, None)) if is_short_id(model) => {
            let (sweep, id) = model.rsplit_once(':').unwrap_or_default();
            return Err(Failure::input(format!(
                "{id}: a trial's id has {} hex digits. `plateau status {sweep}` lists them",
                TrialId::LENGTH
            )));
        }
        _ => (model.as_str(), None),
    };
    let RecordedSweep { plan, dir, .. } = recorded_sweep(&SweepArguments::new(sweep, &arguments.results))?;
    let survey = run::survey(&plan, &dir)?;
    let kept = match &id {
        Some(id) => KeptModel::of_trial(&survey, &dir, id)?,
        None => KeptModel::best(&survey, &dir, 1)?.remove(0),
    };
    if !arguments.quiet {
        notify(&format!("model: {}", kept.description(&survey.name)));
    }
    kept.read()
}

/// The settings of `data` in which a file may differ from the training data.
const FILE_SETTINGS: [&str; 9] =
    ["text", "text_pair", "choices", "label", "format", "delimiter", "header", "encoding", "bad_rows"];

/// Refuses settings of the model, which was trained with its own.
fn check_settings(arguments: &PredictArguments) -> Result<(), Failure> {
    let is_known = |key: &str| key.strip_prefix("data.").is_some_and(|name| FILE_SETTINGS.contains(&name));
    let Some((key, _)) = arguments.set.iter().find(|(key, _)| !is_known(key)) else { return Ok(()) };
    let names = FILE_SETTINGS.map(|name| format!("data.{name}")).join(", ");
    Err(Failure::input(format!(
        "--set {key}: only the columns and the layout of the file may differ from the training data ({names}); the model keeps all \
         other settings with which it was trained"
    )))
}

/// Refuses standard input for a model whose inputs are more than a text, and settings that do not apply to it.
fn check_stream(trained: &DataConfig, arguments: &PredictArguments) -> Result<(), Failure> {
    if let Some((key, _)) = arguments.set.first() {
        let message = format!(
            "--set {key}: standard input has one text on each line, in UTF-8, and no columns. Give a file, or convert the input: iconv -f \
             ENCODING -t UTF-8 FILE | plateau predict MODEL -"
        );
        return Err(Failure::input(message));
    }
    let takes = match (trained.choices.as_slice(), &trained.text_pair) {
        ([], None) => return Ok(()),
        ([], Some(_)) => "pairs of texts",
        _ => "questions with choices",
    };
    let message = format!("the model takes {takes}, and standard input has one text on each line: give a file");
    Err(Failure::input(message))
}

/// Reads the input file with the columns of the training data. Its layout may be another.
fn read(arguments: &PredictArguments, trained: &DataConfig) -> Result<LabelledTexts, Failure> {
    let DataConfig { task, text, text_pair, choices, label, max_length, truncate, windows, .. } = trained;
    let mut data = json!({"task": task, "text": text, "text_pair": text_pair, "label": label, "max_length": max_length, "truncate": truncate});
    if !choices.is_empty() {
        data["choices"] = json!(choices);
    }
    if windows.is_some() {
        data["windows"] = json!(windows);
    }
    // JSON is YAML.
    let settings = json!({ "data": data }).to_string();
    let data = spec::parse("--set", "predict", &settings, &arguments.set)?.base().data.clone();
    if data.choices.len() != choices.len() {
        let message = format!(
            "the model was trained to choose among {} choices, and data.choices names {}; expected {} columns",
            choices.len(),
            data.choices.len(),
            choices.len()
        );
        return Err(Failure::input(message));
    }
    let located = train::locate_data(&arguments.file, &[PathBuf::new()]).map_err(|error| bad_input(error.into()))?;
    let names_label = arguments.set.iter().any(|(key, _)| key == "data.label");
    let texts = labelled_texts(&located, &data, !names_label).map_err(|error| {
        Failure::input(format!("{error}\n`--set KEY=VALUE` gives such a setting, as in --set data.text=review"))
    })?;
    if !arguments.quiet {
        notify_all(&texts.files);
        if texts.skipped_rows > 0 {
            notify(&format!("bad rows that are left out: {}", texts.skipped_rows));
        }
    }
    Ok(texts)
}

/// Scores texts and writes their predictions.
struct Predictor<'a> {
    classifier: &'a Classifier,
    labels: &'a [String],
    /// The number of each label.
    numbers: BTreeMap<&'a str, u32>,
    name: TaskName,
    task: Arc<dyn Task>,
    has_pairs: bool,
    has_choices: bool,
    format: PredictionFormat,
    is_quiet: bool,
    bar: ProgressBar,
    started: Instant,
    texts: usize,
    /// The targets of the texts whose label the model knows, and the outputs for each.
    judged: (Vec<Vec<f32>>, Vec<Target>),
    unlabelled: usize,
    /// Texts with a label that the model does not know.
    unknown: usize,
}

impl<'a> Predictor<'a> {
    fn new(
        classifier: &'a Classifier,
        files: &'a ClassifierFiles,
        arguments: &PredictArguments,
    ) -> Result<Self, Failure> {
        let target =
            if arguments.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(10) };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len} texts, {per_sec}") {
            bar.set_style(style);
        }
        let config = TrialConfig { data: files.data.clone(), ..TrialConfig::default() };
        Ok(Self {
            classifier,
            labels: &files.labels,
            numbers: files.labels.iter().map(String::as_str).zip(0..).collect(),
            name: files.data.task,
            task: tasks::of(&config, &files.labels, &[], 0).map_err(bad_input)?,
            has_pairs: files.data.text_pair.is_some(),
            has_choices: !files.data.choices.is_empty(),
            format: arguments.format,
            is_quiet: arguments.quiet,
            bar,
            started: Instant::now(),
            texts: 0,
            judged: Default::default(),
            unlabelled: 0,
            unknown: 0,
        })
    }

    /// Like all writers here, returns false after the reader of the output has closed it.
    fn write_header(&self) -> Result<bool, Failure> {
        if self.format == PredictionFormat::Jsonl {
            return Ok(true);
        }
        let mut names: Vec<Cow<'_, str>> = vec!["text".into()];
        if self.has_pairs {
            names.push("text_pair".into());
        }
        names.push("label".into());
        if self.has_choices {
            names.push("choice".into());
        }
        if self.name != TaskName::Tokens {
            let own = names.len();
            for label in self.labels {
                // A class may have the name of another column.
                let is_taken = names[..own].iter().any(|name| name == label);
                names.push(if is_taken { format!("probability of {label}").into() } else { label.into() });
            }
        }
        write_out(&csv_row(names.iter().map(|name| spreadsheet_cell(name)))?)
    }

    /// All texts of a file.
    fn add_all(&mut self, texts: &LabelledTexts) -> Result<(), Failure> {
        self.bar.set_length(texts.examples.len() as u64);
        for (index, examples) in texts.examples.chunks(CHUNK).enumerate() {
            let start = index * CHUNK;
            let labels = texts.labels.as_ref().map(|labels| &labels[start..start + examples.len()]);
            if !self.add(examples, labels)? {
                break;
            }
        }
        Ok(())
    }

    /// The lines of standard input, scored as they arrive.
    fn add_lines(&mut self) -> Result<(), Failure> {
        let (sender, lines) = sync_channel(CHUNK);
        // Waits for input as long as the program runs, so it is not joined.
        let read = move || io::stdin().lock().lines().try_for_each(|line| sender.send(line).map_err(drop));
        let started = thread::Builder::new().name("input".into()).spawn(read);
        started.map_err(StoreError::at(Path::new("standard input")))?;
        while let Ok(first) = lines.recv() {
            let arrived = std::iter::once(first).chain(lines.try_iter().take(CHUNK - 1));
            let examples = arrived
                .map(|line| line.map(Example::unlabelled))
                .collect::<io::Result<Vec<_>>>()
                .map_err(|error| Failure::input(format!("standard input: {error}; expected UTF-8 text")))?;
            if !self.add(&examples, None)? {
                break;
            }
        }
        Ok(())
    }

    fn add(&mut self, examples: &[Example], labels: Option<&[String]>) -> Result<bool, Failure> {
        let tokens = self.classifier.tokens(examples).map_err(bad_input)?;
        let outputs = self.classifier.outputs_of(&tokens).map_err(bad_input)?;
        let mut out = Vec::new();
        for (index, (example, outputs)) in examples.iter().zip(&outputs).enumerate() {
            out.extend(if self.name == TaskName::Tokens {
                self.tagged_line(example, outputs, tokens.outputs_of(index).map(|(_, word)| word as usize))?
            } else {
                self.line(example, outputs)?
            });
        }
        for (index, (label, outputs)) in labels.into_iter().flatten().zip(outputs).enumerate() {
            match tasks::read_target(self.name, label, &self.numbers) {
                _ if label.is_empty() && self.name == TaskName::Tokens => self.unlabelled += 1,
                Ok(target) => {
                    self.judged.0.extend(outputs.chunks_exact(self.task.outputs()).map(<[f32]>::to_vec));
                    self.judged.1.extend(tokens.targets_of(index, &target));
                }
                Err(_) if label.is_empty() => self.unlabelled += 1,
                Err(_) => self.unknown += 1,
            }
        }
        self.texts += examples.len();
        self.bar.set_position(self.texts as u64);
        write_out(&out)
    }

    fn line(&self, example: &Example, outputs: &[f32]) -> Result<Vec<u8>, Failure> {
        let (predicted, probabilities) = tasks::predict(self.name, outputs);
        let choice = if let Target::Choice(place) = predicted { Some(place as usize) } else { None };
        let names: Vec<&str> = match &predicted {
            Target::Class(class) => vec![&self.labels[*class as usize]],
            Target::Labels(labels) => labels.iter().map(|label| self.labels[*label as usize].as_str()).collect(),
            Target::Number(_)
            | Target::Choice(_)
            | Target::Unknown
            | Target::Tags(_)
            | Target::Masked
            | Target::Word(..) => Vec::new(),
        };
        let number = if let Target::Number(number) = predicted { Some(number) } else { None };
        match self.format {
            PredictionFormat::Csv => {
                let label = match (number, choice) {
                    (Some(number), _) => format!("{number:.6}"),
                    (None, Some(place)) => place.to_string(),
                    (None, None) => names.join("|"),
                };
                let chosen = choice.map(|place| spreadsheet_cell(&example.choices[place]));
                let texts = std::iter::once(&example.text).chain(&example.pair);
                let numbers = probabilities.iter().map(|probability| format!("{probability:.6}").into());
                let label = if number.is_some() { label.into() } else { spreadsheet_cell(&label) };
                csv_row(texts.map(|text| spreadsheet_cell(text)).chain([label]).chain(chosen).chain(numbers))
            }
            PredictionFormat::Jsonl => {
                let rounded = |x: f64| json!((x * 1e6).round() / 1e6);
                let mut object = Map::from_iter([("text".to_owned(), Value::from(example.text.as_str()))]);
                if let Some(pair) = &example.pair {
                    object.insert("text_pair".into(), pair.as_str().into());
                }
                let label = match (&predicted, number) {
                    (_, Some(number)) => rounded(number),
                    (Target::Choice(place), _) => json!(place),
                    (Target::Labels(_), _) => json!(names),
                    _ => json!(names[0]),
                };
                object.insert("label".into(), label);
                if let Some(place) = choice {
                    object.insert("choice".into(), example.choices[place].as_str().into());
                }
                if !probabilities.is_empty() {
                    let probabilities: Map<String, Value> =
                        self.labels.iter().cloned().zip(probabilities.into_iter().map(rounded)).collect();
                    object.insert("probabilities".into(), probabilities.into());
                }
                Ok(format!("{}\n", Value::from(object)).into_bytes())
            }
        }
    }

    /// The tag of each word. Words that were cut have none: `-` in CSV, null in jsonl.
    fn tagged_line(
        &self,
        example: &Example,
        outputs: &[f32],
        kept: impl Iterator<Item = usize>,
    ) -> Result<Vec<u8>, Failure> {
        let words: Vec<&str> = tasks::words(&example.text).collect();
        let mut tags: Vec<Option<(&str, f64)>> = vec![None; words.len()];
        for (word, outputs) in kept.zip(outputs.chunks_exact(self.task.outputs())) {
            if let (Target::Class(tag), probabilities) = tasks::predict(self.name, outputs) {
                tags[word] = Some((&self.labels[tag as usize], probabilities[tag as usize]));
            }
        }
        match self.format {
            PredictionFormat::Csv => {
                let tags: Vec<&str> = tags.iter().map(|tag| tag.map_or("-", |(tag, _)| tag)).collect();
                csv_row([example.text.as_str(), &tags.join(" ")].map(spreadsheet_cell).into_iter())
            }
            PredictionFormat::Jsonl => {
                let names: Vec<Option<&str>> = tags.iter().map(|tag| tag.map(|(name, _)| name)).collect();
                let probabilities: Vec<Option<f64>> =
                    tags.iter().map(|tag| tag.map(|(_, probability)| (probability * 1e6).round() / 1e6)).collect();
                Ok(format!("{}\n", json!({"text": words, "label": names, "probabilities": probabilities})).into_bytes())
            }
        }
    }

    /// Says how many texts were scored, how fast, and how many labels are right.
    fn finish(self) {
        self.bar.finish_and_clear();
        if self.is_quiet {
            return;
        }
        let seconds = self.started.elapsed().as_secs_f64();
        let speed = self.texts as f64 / seconds.max(1e-9);
        notify(&format!("{} in {seconds:.1} s, {speed:.0} a second", count(self.texts, "text")));
        let (outputs, truth) = &self.judged;
        if !truth.is_empty() {
            let rows: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
            let truth: Vec<&Target> = truth.iter().collect();
            notify(&scores(self.name, &self.task.evaluate(&rows, &truth), truth.len(), self.labels));
        }
        if self.unlabelled > 0 {
            notify(&format!("{} without a label", count(self.unlabelled, "text")));
        }
        if self.unknown > 0 {
            notify(&format!("{} with a label that the model does not know", count(self.unknown, "text")));
        }
    }
}

/// The scores over all labelled texts, and a line for each class.
fn scores(task: TaskName, found: &Evaluated, targets: usize, labels: &[String]) -> String {
    let number = |score: Option<f64>| score.map_or_else(|| "–".to_owned(), |score| format!("{score:.4}"));
    let row = found.row(0, f32::NAN, f32::NAN);
    let shown = task.metrics().iter().filter(|metric| !metric.is_loss());
    let shown = shown.map(|metric| {
        let value = Some(f64::from(metric.value(&row))).filter(|value| !value.is_nan());
        format!("{} {}", metric.title(), number(value))
    });
    let judged = if task == TaskName::Tokens { "labelled word" } else { "labelled text" };
    let mut text = format!("{} of {}", shown.collect::<Vec<_>>().join(", "), count(targets, judged));
    let classes = &found.scores.classes;
    let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0).max("label".len());
    // Writing to a String cannot fail.
    // A metric of classes is measured for tasks with classes alone.
    let labels = if classes.support.is_empty() { &[] } else { labels };
    if !labels.is_empty() {
        let judged = if task == TaskName::Tokens { "words" } else { "texts" };
        let _ = write!(text, "\n{:width$}  precision  recall      F1  {judged}", "label");
    }
    for (class, label) in labels.iter().enumerate() {
        let [precision, recall, f1] =
            [&classes.precision, &classes.recall, &classes.f1].map(|scores| number(scores[class]));
        let support = classes.support[class];
        let _ = write!(text, "\n{label:width$}  {precision:>9}  {recall:>6}  {f1:>6}  {support:>5}");
    }
    text
}

/// A line of a CSV table.
fn csv_row<'a>(fields: impl Iterator<Item = Cow<'a, str>>) -> Result<Vec<u8>, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::results(format!("cannot write a prediction: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields.map(Cow::into_owned)).map_err(|error| failed(&error))?;
    writer.into_inner().map_err(|error| failed(&error))
}

/// Writes to standard output. False if the reader, such as `head`, has closed it.
fn write_out(bytes: &[u8]) -> Result<bool, Failure> {
    let text = String::from_utf8_lossy(bytes);
    let written = io::stdout().lock().write_all(printable(&text).as_bytes());
    match written.and_then(|()| io::stdout().flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::results(format!("cannot write to standard output: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_labelled_texts() {
        let logits: [&[f32]; 4] = [&[2.0, 0.0], &[0.0, 1.0], &[1.0, 0.0], &[0.0, 3.0]];
        let labels = ["negative".to_owned(), "positive".to_owned()];
        let targets = [0, 1, 1, 1].map(Target::Class);
        let task = tasks::of(&TrialConfig::default(), &labels, &[], 0).unwrap();
        let found = task.evaluate(&logits, &targets.iter().collect::<Vec<_>>());
        let text = scores(TaskName::Classification, &found, 4, &labels);
        insta::assert_snapshot!(text, @"
        accuracy 0.7500, macro-F1 0.7333, weighted F1 0.7667, MCC 0.5774, AUROC 1.0000, average precision 1.0000 of 4 labelled texts
        label     precision  recall      F1  texts
        negative     0.5000  1.0000  0.6667      1
        positive     1.0000  0.6667  0.8000      3
        ");
    }

    #[test]
    fn a_row_is_quoted_where_needed() {
        let row = csv_row(["a, b", "=1+1"].map(spreadsheet_cell).into_iter()).unwrap();
        assert_eq!(String::from_utf8(row).unwrap(), "\"a, b\",'=1+1\n");
    }
}
