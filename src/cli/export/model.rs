//! `plateau export --format hf`: a folder that transformers or sentence-transformers loads, with a model card.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::{ExportArguments, ExportFormat};
use crate::analysis::Sweep;
use crate::cli::Failure;
use crate::cli::kept_models::KeptModel;
use crate::cli::output::notify;
use crate::report::{self, Provenance, ProvenanceReader};
use crate::store::{self, RunDir};
use crate::train::classifier::HubFolder;
use crate::trial::{Combine, DataConfig, EvalRow, EvalSource, EvalTable, Truncate};

/// Writes the models that the arguments name.
pub(super) fn export(sweep: &Sweep, dir: &RunDir, arguments: &ExportArguments) -> Result<(), Failure> {
    let output = arguments
        .output
        .as_deref()
        .ok_or_else(|| Failure::input("--format hf and --format peft write a folder: add -o DIR"))?;
    let models = match (&arguments.trial, arguments.top) {
        (Some(id), _) => vec![KeptModel::of_trial(sweep, dir, id)?],
        (None, top) => KeptModel::best(sweep, dir, top.map_or(1, usize::from))?,
    };
    let several = models.len() > 1;
    let mut written = Written::default();
    for (rank, model) in models.iter().enumerate() {
        let id = &model.run.trial.id;
        let folder = if several { output.join(format!("{}-{id}", rank + 1)) } else { output.to_owned() };
        if let Err(failure) = write(&mut written, &folder, sweep, dir, model, arguments) {
            written.remove();
            return Err(failure);
        }
    }
    Ok(())
}

/// What makes a folder a model for those who load it. It is written last, so that an export that is killed leaves none.
const MARKS: [&str; 3] = ["config.json", "modules.json", "adapter_config.json"];

/// The files that were written. A part of a model must not stay: it would look like a whole one.
#[derive(Default)]
struct Written {
    files: Vec<PathBuf>,
    /// Folders that did not exist before.
    folders: Vec<PathBuf>,
}

impl Written {
    fn put(&mut self, path: PathBuf, bytes: &[u8]) -> Result<(), Failure> {
        self.folders.extend(path.parent().filter(|folder| !folder.exists()).map(Path::to_owned));
        store::write_file(&path, bytes)?;
        self.files.push(path);
        Ok(())
    }

    fn put_all(&mut self, folder: &Path, files: &[(String, Vec<u8>)]) -> Result<(), Failure> {
        let (marks, others): (Vec<_>, Vec<_>) = files.iter().partition(|(name, _)| MARKS.contains(&name.as_str()));
        others.into_iter().chain(marks).try_for_each(|(name, bytes)| self.put(folder.join(name), bytes))
    }

    /// Removes the files, and the new folders if nothing else is in them. The failure that is reported is the one before.
    fn remove(self) {
        self.files.iter().for_each(|path| drop(fs::remove_file(path)));
        self.folders.iter().rev().for_each(|folder| drop(fs::remove_dir(folder)));
    }
}

fn write(
    written: &mut Written,
    folder: &Path,
    sweep: &Sweep,
    dir: &RunDir,
    model: &KeptModel<'_>,
    arguments: &ExportArguments,
) -> Result<(), Failure> {
    let shown = folder.display();
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::input(format!("{shown} is not empty: choose another folder with -o")));
    }
    let files = model.read()?;
    if arguments.format == ExportFormat::Peft {
        let adapter = files.peft_files().map_err(|error| Failure::results(error.to_string()))?;
        written.put_all(folder, &adapter)?;
        let id = &model.run.trial.id;
        notify(&format!("{shown}: trial {id}. PeftModel.from_pretrained(base, \"{shown}\") loads it"));
        return Ok(());
    }
    let hub = files.hub_folder(arguments.dtype.into()).map_err(|error| Failure::results(error.to_string()))?;
    let figure = store::read_file(&dir.report().join("curves.png")).ok().flatten();
    if let Some(figure) = &figure {
        written.put(folder.join("curves.png"), figure)?;
    }
    let provenance = ProvenanceReader::default().read(dir, sweep)?;
    let card = card(sweep, model, &hub, &files.labels, &provenance, figure.is_some());
    written.put(folder.join("README.md"), card.as_bytes())?;
    written.put_all(folder, &hub.files)?;
    let id = &model.run.trial.id;
    if let Some(difference) = reads_otherwise(&files.data) {
        notify(&format!("warning: {difference}"));
    }
    notify(&if hub.is_sentence_transformers {
        let pooling = format!("{:?}", files.pooling).to_lowercase();
        format!(
            "{shown}: trial {id} as a sentence-transformers folder (Transformer, Pooling, Dense). \
             AutoModelForSequenceClassification has no {pooling} pooling; SentenceTransformer(\"{shown}\").encode(texts) gives the \
             logits"
        )
    } else {
        let class = files.data.task.model_class();
        format!("{shown}: trial {id}. AutoModel{class}.from_pretrained(\"{shown}\") loads it")
    });
    Ok(())
}

/// The model card: `README.md` as the Hugging Face hub expects it.
fn card(
    sweep: &Sweep,
    model: &KeptModel<'_>,
    hub: &HubFolder,
    labels: &[String],
    provenance: &Provenance,
    has_figure: bool,
) -> String {
    let config = &model.run.trial.config;
    let pipeline = config.data.task.pipeline();
    let tag = pipeline.map_or_else(String::new, |name| format!("pipeline_tag: {name}\n"));
    let library = if hub.is_sentence_transformers { "sentence-transformers" } else { "transformers" };
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "---\nlibrary_name: {library}\n{tag}---\n\n# {}: {}\n\nA {} model for texts, \
         fine-tuned with plateau.\n\n",
        sweep.name,
        report::trial_name(model.run),
        config.data.task.name().replace('_', "-")
    );
    let eval = match &config.data.eval {
        EvalSource::Fraction(fraction) => format!("{fraction} of the training file, held out"),
        EvalSource::File(file) | EvalSource::Table(EvalTable { file, .. }) => file_name(file),
    };
    let evaluated = |value: fn(&EvalRow) -> f32| {
        let value = model.evaluation().map(value).filter(|value| value.is_finite());
        value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"))
    };
    let tested =
        provenance.test.evaluations.iter().rev().find(|one| one.trial == model.run.trial.id && one.step == model.step);
    let tested = tested.map(|one| ("Test set", one.text()));
    let rows = [
        ("Labels", labels.join(", ")),
        ("Checkpoint", file_name(&config.model.from)),
        ("Training data", file_name(&config.data.train)),
        ("Evaluation data", eval),
        ("Evaluation of these weights", model.score_text().unwrap_or_else(|| "–".to_owned())),
        ("Their evaluation loss", evaluated(|row| row.eval_loss)),
        ("Their accuracy", evaluated(|row| row.accuracy)),
        ("Their macro-F1", evaluated(|row| row.macro_f1)),
        ("Trial", model.run.trial.id.to_string()),
        ("Made by", provenance.parts().join(", ")),
    ];
    text.push_str("| | |\n|---|---|\n");
    // Not every task has every score.
    for (name, value) in rows.into_iter().filter(|(_, value)| value != "–").chain(tested) {
        let _ = writeln!(text, "| {name} | {} |", value.replace('|', "\\|"));
    }
    text.push_str("\n## Usage\n\n```python\n");
    let usage = if hub.is_sentence_transformers {
        "from sentence_transformers import SentenceTransformer\n\nmodel = SentenceTransformer(\".\")\nlogits = model.encode([\"a \
         text\"])  # one column for each label, in the order above\n"
            .to_owned()
    } else if let Some(pipeline) = pipeline {
        // The other pipelines have no such argument.
        let cut = if pipeline == "text-classification" { ", truncation=True" } else { "" };
        format!(
            "from transformers import pipeline\n\nclassify = pipeline(\"{pipeline}\", model=\".\")\nclassify(\"a text\"{cut})\n"
        )
    } else {
        "from transformers import AutoModelForMultipleChoice, AutoTokenizer\n\ntokenizer = AutoTokenizer.from_pretrained(\".\")\nmodel = \
         AutoModelForMultipleChoice.from_pretrained(\".\")\nchoices = [\"one choice\", \"another\"]\ninputs = tokenizer([\"a \
         question\"] * len(choices), choices, truncation=True, padding=True, return_tensors=\"pt\")\nscores = model(**{name: x.unsqueeze(0) for name, x in \
         inputs.items()}).logits\n"
            .to_owned()
    };
    text.push_str(&usage);
    text.push_str("```\n");
    text.push_str(&long_texts(&config.data, hub));
    text.push_str("\n## Configuration\n\n| key | value |\n|---|---|\n");
    for (key, value) in report::flat_configuration(model.run) {
        let is_path = ["data.train", "data.eval", "data.test", "model.from"].contains(&key.as_str());
        let value = if is_path { file_name(&value) } else { value };
        let _ = writeln!(text, "| `{key}` | {} |", value.replace('|', "\\|"));
    }
    if has_figure {
        text.push_str("\n![Loss curves of the sweep](curves.png)\n");
    }
    text
}

/// Why other libraries give other outputs for long texts, if they do.
fn reads_otherwise(data: &DataConfig) -> Option<String> {
    let max_length = data.max_length;
    let trained = match (data.windows, data.truncate) {
        (Some(_), _) => "windows over the whole text (data.windows)",
        (None, Truncate::HeadTail) => "the beginning and the end (data.truncate: head_tail)",
        (None, Truncate::Head | Truncate::Tail) => return None,
    };
    Some(format!(
        "of a text with more than {max_length} tokens other libraries read the beginning alone. The model was trained and measured \
         with {trained}, so its outputs for such texts differ there; `plateau predict` reads them as in training"
    ))
}

/// How long texts are read, where other libraries do not read them as in training.
fn long_texts(data: &DataConfig, hub: &HubFolder) -> String {
    let Some(difference) = reads_otherwise(data) else { return String::new() };
    let difference = difference.replacen("of a text", "Of a text", 1);
    let Some((windows, stride)) = data.windows.zip(hub.shared_tokens) else {
        return format!("\n## Long texts\n\n{difference}.\n");
    };
    let max_length = data.max_length;
    let (how, of) = match windows.combine {
        Combine::Mean => ("the mean of each output", ".mean(dim=0)"),
        Combine::Max => ("the largest value of each output", ".max(dim=0).values"),
    };
    let (load, tokenizer, outputs) = if hub.is_sentence_transformers {
        (
            "from sentence_transformers import SentenceTransformer\n\nmodel = SentenceTransformer(\".\")\n".to_owned(),
            "model.tokenizer",
            "model(dict(windows))[\"sentence_embedding\"]",
        )
    } else {
        let class = format!("AutoModel{}", data.task.model_class());
        (
            format!(
                "from transformers import {class}, AutoTokenizer\n\ntokenizer = AutoTokenizer.from_pretrained(\".\")\nmodel = \
                 {class}.from_pretrained(\".\")\n"
            ),
            "tokenizer",
            "model(**windows).logits",
        )
    };
    format!(
        "\n## Long texts\n\nThe usage above reads the first {max_length} tokens of a text. The model was trained and measured with \
         windows: a longer text is read in windows of {max_length} tokens that share {stride}, and its outputs are {how} over the \
         windows.\n\n```python\n{load}windows = {tokenizer}(\"a long text\", truncation=True, max_length={max_length}, \
         stride={stride},\n    return_overflowing_tokens=True, padding=True, return_tensors=\"pt\")\n\
         windows.pop(\"overflow_to_sample_mapping\")\nlogits = {outputs}{of}\n```\n"
    )
}

/// The last part of a path: folders of the training machine do not belong into a model card.
fn file_name(source: &str) -> String {
    let path = PathBuf::from(source);
    path.file_name().map_or_else(|| source.to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder in place of a file stands for the moment at which the export ends.
    #[test]
    fn a_folder_becomes_a_model_with_its_last_file() {
        let folder = tempfile::tempdir().unwrap();
        let files =
            ["config.json", "model.safetensors", "modules.json", "vocab.txt"].map(|name| (name.to_owned(), vec![1]));
        for blocked in ["model.safetensors", "vocab.txt"] {
            fs::create_dir_all(folder.path().join(blocked).join("x")).unwrap();
            assert!(Written::default().put_all(folder.path(), &files).is_err());
            fs::remove_dir_all(folder.path().join(blocked)).unwrap();
            assert!(MARKS.iter().all(|mark| !folder.path().join(mark).exists()), "{blocked}");
        }
        Written::default().put_all(folder.path(), &files).unwrap();
        assert!(folder.path().join("config.json").exists() && folder.path().join("modules.json").exists());
    }
}
