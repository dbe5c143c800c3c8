//! The files of a data source: a file, several files, a folder with one subfolder for each class, or the folder of a
//! Hugging Face data set.

use std::path::{Path, PathBuf};

use super::embedded;
use super::error::{DataError, DataErrorKind};
use super::files::path_text;
use super::split_name::{SplitName, begins_with};

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
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries(folder)?.into_iter().partition(|path| path.is_dir());
    let shards: Vec<PathBuf> = files.into_iter().filter(|path| is_data_file(path)).collect();
    for prefix in split.prefixes() {
        let chosen: Vec<&PathBuf> = shards.iter().filter(|path| begins_with(path, prefix)).collect();
        if !chosen.is_empty() {
            return chosen.into_iter().map(|path| whole(path)).collect();
        }
    }
    // `train/` and `test/` with files, or with a folder for each class.
    for prefix in split.prefixes() {
        if let Some(inner) = folders.iter().find(|path| begins_with(path, prefix)) {
            return split_folder(inner, split);
        }
    }
    // A Hugging Face data set keeps its splits in `data/`, or in a folder named after the configuration.
    if !shards.iter().chain(&folders).any(|path| SplitName::is_in(path))
        && let Some(configuration) = configuration(folder, &folders)?
    {
        return self::folder(configuration, split);
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
        return tables(&shards).into_iter().map(|path| whole(path)).collect();
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

/// The only inner folder that holds splits; None if there is none.
fn configuration<'a>(folder: &Path, folders: &'a [PathBuf]) -> Result<Option<&'a PathBuf>, DataError> {
    let has_splits =
        |path: &&PathBuf| entries(path).is_ok_and(|inside| inside.iter().any(|path| SplitName::is_in(path)));
    let found: Vec<&PathBuf> = folders.iter().filter(has_splits).collect();
    if let [first, _, ..] = found.as_slice() {
        let names: Vec<String> = found.iter().map(|path| file_name(path)).collect();
        let message = format!(
            "{}: the folder has several data sets: {}; name one of them, such as {}",
            folder.display(),
            names.join(", "),
            first.display()
        );
        return Err(DataError::new(DataErrorKind::NotFound, message));
    }
    Ok(found.first().copied())
}

/// The files of the folder of a split: data files with any names, or a folder for each class.
fn split_folder(folder: &Path, split: SplitName) -> Result<Vec<SourceFile>, DataError> {
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries(folder)?.into_iter().partition(|path| path.is_dir());
    let shards: Vec<PathBuf> = files.into_iter().filter(|path| is_data_file(path)).collect();
    if folders.is_empty() && !shards.is_empty() {
        return tables(&shards).into_iter().map(|path| whole(path)).collect();
    }
    self::folder(folder, split)
}

/// The data files without notes beside them: a `.txt` file is data only if there is no table.
fn tables(files: &[PathBuf]) -> Vec<&PathBuf> {
    let is_text = |path: &&PathBuf| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("txt"));
    let tables: Vec<&PathBuf> = files.iter().filter(|path| !is_text(path)).collect();
    if tables.is_empty() { files.iter().collect() } else { tables }
}

/// A file that is no text of a class.
fn whole(path: &Path) -> Result<SourceFile, DataError> {
    Ok(SourceFile { path: path_text(path)?, class: None })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
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
