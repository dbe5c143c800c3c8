//! Chooses the parser of a data file by `data.format`, by the extension of the file, or by its content.

use encoding_rs::UTF_8;

use super::columns::Columns;
use super::delimited::{self, Layout};
use super::encoding::decode;
use super::error::{DataError, DataErrorKind};
use super::rows::ParsedFile;
use super::settings::FileSettings;
use super::{conll, fasttext, json, parquet};
use crate::train::TrainError;
use crate::trial::DataFormat;

/// Parses an unpacked file. `source` names it in errors; `name` is its name in lower case without the extension of a
/// compression.
pub(super) fn parse(
    source: &str,
    name: &str,
    bytes: &[u8],
    settings: &FileSettings,
    columns: &Columns<'_>,
) -> Result<ParsedFile, TrainError> {
    if bytes.starts_with(parquet::MAGIC) || settings.format == Some(DataFormat::Parquet) {
        return parquet::parse(source, bytes.to_vec(), columns);
    }
    let decoded = decode(source, bytes, settings.encoding)?;
    let text = &*decoded.text;
    let mut parsed = match text_format(source, name, text, settings, Some(columns))? {
        TextFormat::Delimited(layout) => delimited::parse(source, text, layout, settings, columns)?,
        TextFormat::Json => json::parse(source, text, columns)?,
        TextFormat::Fasttext => fasttext::parse(text, columns),
        TextFormat::Conll => conll::parse(source, text, columns)?,
    };
    if decoded.replaced > 0 {
        let replaced = decoded.replaced.to_string();
        parsed.description.extend([", UTF-8 with ", &replaced, " faulty characters (read as \u{fffd})"]);
    }
    if decoded.encoding != UTF_8 {
        parsed.description.push_str(", ");
        parsed.description.push_str(decoded.encoding.name());
    }
    if decoded.is_guess {
        parsed.description.push_str(" (a guess; data.encoding settles it)");
    }
    Ok(parsed)
}

/// The names of the columns of an unpacked file; numbers from 1 without a header. None: the format has one column of texts
/// and one of labels, which have no names.
pub(super) fn column_names(
    source: &str,
    name: &str,
    bytes: &[u8],
    settings: &FileSettings,
) -> Result<Option<Vec<String>>, TrainError> {
    if bytes.starts_with(parquet::MAGIC) || settings.format == Some(DataFormat::Parquet) {
        return parquet::column_names(source, bytes.to_vec()).map(Some);
    }
    let decoded = decode(source, bytes, settings.encoding)?;
    let text = &*decoded.text;
    match text_format(source, name, text, settings, None)? {
        TextFormat::Delimited(layout) => delimited::column_names(source, text, layout, settings).map(Some),
        TextFormat::Json => json::column_names(source, text).map(Some),
        TextFormat::Fasttext | TextFormat::Conll => Ok(None),
    }
}

/// The formats of text files.
enum TextFormat {
    Delimited(Layout),
    Json,
    Fasttext,
    Conll,
}

/// The format of a text by `data.format`, the extension of the file, or its content.
fn text_format(
    source: &str,
    name: &str,
    text: &str,
    settings: &FileSettings,
    columns: Option<&Columns<'_>>,
) -> Result<TextFormat, DataError> {
    if text.trim().is_empty() {
        return Err(DataError::malformed(format!("{source}: the file is empty; expected one row for each text")));
    }
    let extension =
        name.rsplit(['/', '\\']).next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, ending)| ending);
    let format = settings.format.or_else(|| DataFormat::of_extension(extension));
    Ok(match format {
        None | Some(DataFormat::Csv | DataFormat::Tsv) if is_markup(text) => {
            let message =
                format!("{source}: this is a web page or an XML document, not a table; download the data file itself");
            return Err(DataError::new(DataErrorKind::Unsupported, message));
        }
        Some(DataFormat::Csv) => TextFormat::Delimited(Layout::Csv),
        Some(DataFormat::Tsv) => TextFormat::Delimited(Layout::Tsv),
        Some(DataFormat::Json | DataFormat::Jsonl) => TextFormat::Json,
        Some(DataFormat::Fasttext) => TextFormat::Fasttext,
        Some(DataFormat::Conll) => TextFormat::Conll,
        Some(DataFormat::Parquet) => {
            let message = format!("{source}: not a Parquet file: it does not begin with `PAR1`; copy it again");
            return Err(DataError::malformed(message));
        }
        None if extension == "arrow" => {
            let message =
                format!("{source}: Arrow files are not read; write the data set with to_parquet(\"FILE.parquet\")");
            return Err(DataError::new(DataErrorKind::Unsupported, message));
        }
        None if is_binary(text) => return Err(unknown_format(source)),
        None if fasttext::is_fasttext(text) => TextFormat::Fasttext,
        None if text.trim_start().starts_with(['{', '[']) => TextFormat::Json,
        None if columns.is_some_and(|columns| conll::is_conll(text, columns)) => TextFormat::Conll,
        None => TextFormat::Delimited(Layout::Text),
    })
}

/// Whether a text is HTML or XML, such as the error page of a failed download.
fn is_markup(text: &str) -> bool {
    let start: String = text.trim_start().chars().take(14).collect::<String>().to_ascii_lowercase();
    ["<!doctype html", "<html", "<?xml"].iter().any(|tag| start.starts_with(tag))
}

/// Whether the beginning of a text has control characters that no text has.
fn is_binary(text: &str) -> bool {
    if text.starts_with("SQLite format 3") || text.starts_with("%PDF-") {
        return true;
    }
    let control = |c: &char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{1}' | '\u{c}' | '\u{1f}' | '\0');
    let sample = || text.chars().take(4096);
    sample().filter(control).count() * 100 > sample().count()
}

fn unknown_format(source: &str) -> DataError {
    let message = format!(
        "{source}: unknown file format; known formats are .csv, .tsv, .json, .jsonl, .ndjson, .parquet, .txt, fastText and .conll, \
         each also with .gz, .zst or .zip"
    );
    DataError::new(DataErrorKind::Unsupported, message)
}
