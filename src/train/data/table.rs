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
    /// The bad rows of each file. With `data.bad_rows: error` they stop the sweep.
    bad_rows: Vec<Vec<BadRow>>,
    /// blake3 over the format and the unpacked content.
    pub hash: blake3::Hash,
    /// The same for each file. Empty if there are too many.
    pub file_hashes: FileHashes,
}

impl Table {
    /// Reads a source. Bad rows are an error, unless they are to be left out.
    pub fn read(
        source: &str,
        split: SplitName,
        config: &DataConfig,
        columns: &Columns<'_>,
    ) -> Result<Self, TrainError> {
        let table = Self::read_all(source, split, config, columns)?;
        match table.fault(config.bad_rows) {
            Some(error) => Err(error.into()),
            None => Ok(table),
        }
    }

    /// Reads a source, whatever its rows are. [`Table::fault`] says what is wrong with them.
    pub fn read_all(
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
                    let faults = bad_rows_text(&[(path.as_str(), &parsed.bad_rows)]);
                    return Err(DataError::malformed(format!("{path}: all rows are bad: {faults}")).into());
                }
            }
            bad_rows.push(parsed.bad_rows);
            let is_archive = Path::new(path).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip"));
            let shown = if is_archive { format!("{} ({name})", file_name(path)) } else { file_name(path) };
            descriptions.push((shown, parsed.description, parsed.rows.len()));
            rows.extend(parsed.rows.into_iter().map(|row| Row { file: number, ..row }));
        }
        let skipped_rows = bad_rows.iter().map(Vec::len).sum();
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
        Ok(Self { rows, paths, files, skipped_rows, bad_rows, hash, file_hashes })
    }

    /// Whether all of its rows can be used.
    pub fn is_whole(&self) -> bool {
        self.skipped_rows == 0
    }

    /// What is wrong with its bad rows, if they are not to be left out.
    pub fn fault(&self, bad_rows: BadRows) -> Option<DataError> {
        (!self.is_whole() && bad_rows == BadRows::Error).then(|| bad_rows_error(&self.faults()))
    }

    /// The bad rows of each file.
    fn faults(&self) -> Vec<(&str, &[BadRow])> {
        self.paths.iter().map(String::as_str).zip(self.bad_rows.iter().map(Vec::as_slice)).collect()
    }

    /// Moves the rows whose labels `fault` objects to to the bad rows. Fails if those are to be left out and no others remain.
    pub fn check_labels(&mut self, bad_rows: BadRows, fault: impl Fn(&str) -> Option<String>) -> Result<(), DataError> {
        let before = self.rows.len();
        let found = &mut self.bad_rows;
        self.rows.retain(|row| {
            let Some(reason) = fault(&row.label) else { return true };
            if let Some(faults) = found.get_mut(row.file as usize) {
                faults.push(BadRow::of_value(row.line, reason, row.label.as_str()));
            }
            false
        });
        let left_out = before - self.rows.len();
        self.skipped_rows += left_out;
        if left_out > 0 && self.rows.is_empty() && bad_rows == BadRows::Skip {
            return Err(DataError::malformed(format!("all rows are bad: {}", bad_rows_text(&self.faults()))));
        }
        Ok(())
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
