//! The files of a data source: a file, several files, a folder with one subfolder for each class, or the folder of a
//! Hugging Face data set.

use std::path::{Path, PathBuf};

use super::embedded;
use super::error::{DataError, DataErrorKind};
use super::files::path_text;

/// Which rows of a source are wanted, where its files belong to splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SplitName {
    Train,
    Eval,
    Test,
}

impl SplitName {
    /// The names that files and folders of this split begin with, the best first.
    fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train"],
            Self::Eval => &["validation", "valid", "dev", "val", "test"],
            Self::Test => &["test"],
        }
    }

    /// As it stands in messages.
    fn title(self) -> &'static str {
        match self {
            Self::Train => "training",
            Self::Eval => "evaluation",
            Self::Test => "test",
        }
    }
}

/// One file of a source.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SourceFile {
    /// An absolute path, or an embedded name.
    pub path: String,
    /// In a folder of classes, the name of the class. The whole file is one text then.
    pub class: Option<String>,
}

/// Endings of data files; each may be followed by one of [`PACKED`].
const ENDINGS: [&str; 12] =
    [".conll", ".bio", ".iob", ".iob2", ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".txt", ".arrow"];
const PACKED: [&str; 3] = [".gz", ".zst", ".zip"];

/// The files of a located source, in a fixed order; at least one.
pub(super) fn files(source: &str, split: SplitName) -> Result<Vec<SourceFile>, DataError> {
    let whole = |path: String| SourceFile { path, class: None };
    if embedded::data(source)?.is_some() {
        return Ok(vec![whole(source.to_owned())]);
    }
    let mut all = Vec::new();
    for part in super::pattern::parts(source) {
        let path = Path::new(&part);
        if path.is_dir() { all.extend(folder(path, split)?) } else { all.push(whole(part)) }
    }
    Ok(all)
}

fn folder(folder: &Path, split: SplitName) -> Result<Vec<SourceFile>, DataError> {
    let entries = entries(folder)?;
    let data_files =
        |files: &[PathBuf]| -> Vec<PathBuf> { files.iter().filter(|path| is_data_file(path)).cloned().collect() };
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.into_iter().partition(|path| path.is_dir());
    // A Hugging Face data set keeps its shards in `data/`, or in a folder named after the configuration.
    let mut shards = data_files(&files);
    for inner in &folders {
        let (_, inside): (Vec<PathBuf>, Vec<PathBuf>) =
            self::entries(inner)?.into_iter().partition(|path| path.is_dir());
        let of_split =
            |path: &PathBuf| SplitName::ALL.iter().any(|split| split.prefixes().iter().any(|p| begins_with(path, p)));
        shards.extend(data_files(&inside).into_iter().filter(of_split));
    }
    for prefix in split.prefixes() {
        let chosen: Vec<&PathBuf> = shards.iter().filter(|path| begins_with(path, prefix)).collect();
        if !chosen.is_empty() {
            return chosen.into_iter().map(|path| Ok(SourceFile { path: path_text(path)?, class: None })).collect();
        }
    }
    // `train/` and `test/` with a folder for each class, or the classes themselves.
    for prefix in split.prefixes() {
        if let Some(inner) = folders.iter().find(|path| begins_with(path, prefix)) {
            return self::folder(inner, split);
        }
    }
    let mut texts = Vec::new();
    for class in &folders {
        let name = class.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for file in self::entries(class)?.iter().filter(|path| path.is_file()) {
            texts.push(SourceFile { path: path_text(file)?, class: Some(name.clone()) });
        }
    }
    if !texts.is_empty() && folders.len() >= 2 {
        return Ok(texts);
    }
    if split == SplitName::Train && !shards.is_empty() {
        return shards.iter().map(|path| Ok(SourceFile { path: path_text(path)?, class: None })).collect();
    }
    let message = format!(
        "{}: the folder has no {} data; expected a file such as {}.csv or {}-00000-of-00001.parquet, or a folder of text \
         files for each class",
        folder.display(),
        split.title(),
        split.prefixes()[0],
        split.prefixes()[0]
    );
    Err(DataError::new(DataErrorKind::NotFound, message))
}

impl SplitName {
    const ALL: [Self; 3] = [Self::Train, Self::Eval, Self::Test];
}

/// Files and folders in a folder, sorted by name, without hidden ones.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let unreadable = |error: std::io::Error| {
        let message = format!("{}: the folder cannot be read: {error}", folder.display());
        DataError::new(DataErrorKind::Unreadable, message).caused_by(error)
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if !path.file_name().unwrap_or_default().to_string_lossy().starts_with(['.', '_']) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_data_file(path: &Path) -> bool {
    let name = path.to_string_lossy().to_lowercase();
    let name = PACKED.iter().find_map(|packed| name.strip_suffix(packed)).unwrap_or(&name);
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Whether the name of a file or folder begins with the name of a split: `train.csv`, `train-00000-of-00001.parquet`.
fn begins_with(path: &Path, prefix: &str) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.strip_prefix(prefix).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
}
