//! Reads the files of a data source into one table of rows.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use super::columns::Columns;
use super::embedded;
use super::encoding::decode;
use super::error::DataError;
use super::files::{NAMED_FILES, read_unpacked};
use super::parse::parse;
use super::rows::{BadRow, ParsedFile, Row, bad_rows_error, bad_rows_text};
use super::settings::FileSettings;
use super::source::{SourceFile, files};
use super::split_name::SplitName;
use crate::train::TrainError;
use crate::trial::{BadRows, DataConfig, FileHashes};

/// The rows of a source before the split.
pub(super) struct Table {
    pub rows: Vec<Row>,
    /// The files of the source.
    pub paths: Vec<String>,
    /// One line for each file: its name and how it was read.
    pub files: Vec<String>,
    /// Bad rows that were left out.
    pub skipped_rows: usize,
    /// blake3 over the format and the unpacked content.
    pub hash: blake3::Hash,
    /// The same for each file. Empty if there are too many.
    pub file_hashes: FileHashes,
}

impl Table {
    pub fn read(
        source: &str,
        split: SplitName,
        config: &DataConfig,
        columns: &Columns<'_>,
    ) -> Result<Self, TrainError> {
        let settings = FileSettings::new(config)?;
        let sources = files(source, split)?;
        let (mut rows, mut hashes, mut descriptions) = (Vec::new(), Vec::new(), Vec::new());
        let mut bad_rows = Vec::new();
        for (number, SourceFile { path, class }) in (0..).zip(&sources) {
            let (name, bytes): (String, Cow<'_, [u8]>) = match embedded::data(path)? {
                Some(bytes) => (format!("{path}.tsv"), bytes.into()),
                None => read_unpacked(path, split).map(|(name, bytes)| (name, bytes.into()))?,
            };
            let format = name.rsplit('.').next().unwrap_or_default();
            let mut hash = blake3::Hasher::new();
            hash.update(format.as_bytes()).update(b"\n").update(&bytes);
            let parsed = match class {
                Some(class) => {
                    hash.update(class.as_bytes());
                    text_file(path, class, &bytes, &settings, columns)?
                }
                None => parse(path, &name, &bytes, &settings, columns)?,
            };
            hashes.push(hash.finalize());
            if parsed.rows.is_empty() && class.is_none() {
                if parsed.bad_rows.is_empty() {
                    let message = format!("{path}: the file has a header but no rows");
                    return Err(DataError::malformed(message).into());
                }
                if config.bad_rows == BadRows::Skip {
                    let faults = bad_rows_text(&[(path.as_str(), parsed.bad_rows)]);
                    return Err(DataError::malformed(format!("{path}: all rows are bad: {faults}")).into());
                }
            }
            bad_rows.push((path.as_str(), parsed.bad_rows));
            let is_archive = Path::new(path).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip"));
            let shown = if is_archive { format!("{} ({name})", file_name(path)) } else { file_name(path) };
            descriptions.push((shown, parsed.description, parsed.rows.len()));
            rows.extend(parsed.rows.into_iter().map(|row| Row { file: number, ..row }));
        }
        let skipped_rows = bad_rows.iter().map(|(_, rows)| rows.len()).sum();
        if skipped_rows > 0 && config.bad_rows == BadRows::Error {
            return Err(bad_rows_error(&bad_rows).into());
        }
        let hash = match hashes.as_slice() {
            [only] => *only,
            all => {
                let mut hasher = blake3::Hasher::new();
                for hash in all {
                    hasher.update(hash.as_bytes());
                }
                hasher.finalize()
            }
        };
        let files = describe(source, &sources, &descriptions);
        let paths: Vec<String> = sources.into_iter().map(|file| file.path).collect();
        let named = if paths.len() > NAMED_FILES { &[][..] } else { &paths };
        let file_hashes =
            named.iter().zip(&hashes).map(|(path, hash)| (path.clone(), hash.to_hex().to_string())).collect();
        Ok(Self { rows, paths, files, skipped_rows, hash, file_hashes })
    }

    /// Takes out the rows whose labels `fault` objects to. Fails if they are not to be left out, or if no others are left.
    pub fn check_labels(&mut self, bad_rows: BadRows, fault: impl Fn(&str) -> Option<String>) -> Result<(), DataError> {
        let mut faults: Vec<(&str, Vec<BadRow>)> = self.paths.iter().map(|path| (path.as_str(), Vec::new())).collect();
        let before = self.rows.len();
        self.rows.retain(|row| {
            let Some(reason) = fault(&row.label) else { return true };
            if let Some((_, faults)) = faults.get_mut(row.file as usize) {
                faults.push(BadRow { line: row.line, reason, value: row.label.clone() });
            }
            false
        });
        let left_out = before - self.rows.len();
        match (left_out, bad_rows) {
            (0, _) => Ok(()),
            (_, BadRows::Error) => Err(bad_rows_error(&faults)),
            (_, BadRows::Skip) if self.rows.is_empty() => {
                Err(DataError::malformed(format!("all rows are bad: {}", bad_rows_text(&faults))))
            }
            (_, BadRows::Skip) => {
                self.skipped_rows += left_out;
                Ok(())
            }
        }
    }
}

/// A file that is one text.
fn text_file(
    path: &str,
    class: &str,
    bytes: &[u8],
    settings: &FileSettings,
    columns: &Columns<'_>,
) -> Result<ParsedFile, TrainError> {
    let decoded = decode(path, bytes, settings.encoding)?;
    let cell =
        |index: usize| Ok(if columns.is_label(index) { class.to_owned() } else { decoded.text.trim().to_owned() });
    let mut parsed = ParsedFile { description: "one text per file".into(), ..ParsedFile::default() };
    // Pictures and the like may stand beside the texts.
    if decoded.text.chars().take(1000).any(|c| c == '\0') {
        parsed.bad_rows.push(BadRow::new(1, "the file is not a text"));
        return Ok(parsed);
    }
    match columns.row(1, cell) {
        Ok(row) => parsed.rows.push(row),
        Err(bad) => parsed.bad_rows.push(bad),
    }
    Ok(parsed)
}

pub(super) fn file_name(path: &str) -> String {
    Path::new(path).file_name().map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// One line for each file, or one for a folder of texts.
fn describe(source: &str, sources: &[SourceFile], files: &[(String, String, usize)]) -> Vec<String> {
    const SHOWN: usize = 5;
    if sources.iter().all(|file| file.class.is_some()) {
        let classes: BTreeSet<&Option<String>> = sources.iter().map(|file| &file.class).collect();
        return vec![format!("{}: {} texts in {} folders", file_name(source), files.len(), classes.len())];
    }
    let line = |(name, description, rows): &(String, String, usize)| format!("{name}: {description}, {rows} rows");
    let mut lines: Vec<String> = files.iter().take(SHOWN).map(line).collect();
    if files.len() > SHOWN {
        let rows: usize = files.iter().skip(SHOWN).map(|(.., rows)| rows).sum();
        lines.push(format!("and {} more files with {rows} rows", files.len() - SHOWN));
    }
    lines
}
