//! Parses files with one row per line and a delimiter between fields, such as `.csv` and `.tsv`.
//!
//! * The delimiter is `data.delimiter`, or the one of comma, tab, semicolon and pipe that fits the columns. Rarer ones are tried if the
//!   header holds all columns with them.
//! * The first line names the columns, unless `data.header` is false. Leading comment lines (`#`) are skipped.
//! * Fields may be quoted as in RFC 4180. In a file with tabs a quote is an ordinary character (as in the files of GLUE),
//!   unless all fields of the first line have quotes, or the rows only fit together with quoted fields.
//! * A header that is one field short, as R writes it, leaves out the column with the names of the rows.
//! * Empty fields beyond the header, such as after a trailing comma, are ignored. Blank lines are ignored.

use std::borrow::Cow;

use csv::StringRecord;

use super::columns::{Columns, UNREADABLE, count, is_usual_name, position};
use super::error::DataError;
use super::rows::{BadRow, ParsedFile};
use super::settings::FileSettings;
use crate::train::{KeyFault, TrainError};

/// How fields are separated and quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dialect {
    delimiter: u8,
    quoted: bool,
    /// Whether a backslash escapes a quote.
    escaped: bool,
    /// Whether spaces stand between a delimiter and the quote of a field.
    spaced: bool,
}

/// What the name of the file says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Csv,
    Tsv,
    /// Any other text file.
    Text,
}

/// Parses a file. `source` names it in errors. Labels that are numbers may have a decimal comma, if no comma separates the fields.
pub(super) fn parse(
    source: &str,
    text: &str,
    layout: Layout,
    settings: &FileSettings,
    columns: &Columns<'_>,
) -> Result<ParsedFile, TrainError> {
    let (parsed, delimiter) = parse_as(source, text, layout, settings, columns)?;
    let faults =
        |parsed: &ParsedFile| parsed.bad_rows.len() + parsed.rows.iter().filter(|row| row.label == UNREADABLE).count();
    if !columns.label_is_number() || delimiter == b',' || faults(&parsed) == 0 {
        return Ok(parsed);
    }
    let (mut other, _) = parse_as(source, text, layout, settings, &columns.clone().with_decimal_commas())?;
    if faults(&other) >= faults(&parsed) {
        return Ok(parsed);
    }
    other.description.push_str(", labels with a decimal comma");
    Ok(other)
}

/// Parses a file with the labels as they are. Also returns the delimiter.
fn parse_as(
    source: &str,
    text: &str,
    layout: Layout,
    settings: &FileSettings,
    columns: &Columns<'_>,
) -> Result<(ParsedFile, u8), TrainError> {
    let may_have_header = settings.header != Some(false) && !columns.are_numbers();
    let has_columns = |names: &[&str]| columns.find(|key, column| position(names, key, column)).is_ok();
    let (comment_lines, body) = if may_have_header { skip_comments(text, has_columns) } else { (0, text) };
    let file = File { source, body, comment_lines };
    let header = file.header(layout, settings, columns)?;
    let mut best: Option<Attempt> = None;
    for dialect in dialects(layout, header.delimiter, body) {
        let attempt = file.rows(dialect, &header, columns)?;
        let structural_faults = attempt.structural_faults;
        if best.as_ref().is_none_or(|best| structural_faults < best.structural_faults) {
            best = Some(attempt);
        }
        if structural_faults == 0 {
            break;
        }
    }
    let mut attempt = best.ok_or_else(|| DataError::malformed(format!("{source}: the file cannot be parsed")))?;
    if header.width == Some(1) && attempt.structural_faults > 0 && is_punctuation(body, header.delimiter) {
        attempt = file.rows(ONE_COLUMN, &header, columns)?;
    }
    if let Some(line) = attempt.unclosed_quote {
        let message = format!("{source}:{line}: this row opens a quote that never closes");
        return Err(DataError::malformed(message).into());
    }
    let description = describe(attempt.dialect, layout, &header);
    Ok((ParsedFile { description, ..attempt.parsed }, attempt.dialect.delimiter))
}

/// The names in the header; numbers from 1 if the first line looks like data.
pub(super) fn column_names(
    source: &str,
    text: &str,
    layout: Layout,
    settings: &FileSettings,
) -> Result<Vec<String>, TrainError> {
    let (comment_lines, body) = if settings.header == Some(false) { (0, text) } else { skip_comments(text, |_| false) };
    let file = File { source, body, comment_lines };
    let (mut delimiter, regularity) = file.most_regular(&candidates(layout, settings), layout)?;
    if regularity < 0.5 && settings.delimiter.is_none() {
        let (rare, rare_regularity) = file.most_regular(&RARE_DELIMITERS, layout)?;
        if rare_regularity > regularity.max(0.9) {
            delimiter = rare;
        }
    }
    let records = file.sample(delimiter, layout, SAMPLE)?;
    let first: Vec<&str> = records.first().into_iter().flatten().map(str::trim).collect();
    let has_names = settings.header.unwrap_or_else(|| !looks_like_data(&first, &records));
    if has_names {
        return Ok(first.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect());
    }
    let width = records.iter().map(StringRecord::len).max().unwrap_or(0);
    Ok((1..=width).map(|number| number.to_string()).collect())
}

/// Whether a row is the line below the header of a Markdown table.
fn is_rule(record: &StringRecord) -> bool {
    let is_line = |field: &str| field.contains('-') && field.trim().chars().all(|c| matches!(c, '-' | ':'));
    record.iter().filter(|field| !field.trim().is_empty()).all(is_line) && record.iter().any(is_line)
}

/// The delimiters that a file may have, the most probable first.
fn candidates(layout: Layout, settings: &FileSettings) -> Vec<u8> {
    match (settings.delimiter, layout) {
        (Some(delimiter), _) => vec![delimiter],
        (None, Layout::Csv) => DELIMITERS.to_vec(),
        (None, Layout::Tsv | Layout::Text) => vec![b'\t', b',', b';', b'|'],
    }
}

/// For a file with one column, whose texts may contain any delimiter: the separator of units, which no text contains.
const ONE_COLUMN: Dialect = Dialect { delimiter: 0x1f, quoted: true, escaped: false, spaced: false };

/// Whether the delimiters in the rows of a file with one column belong to its texts: rows have different numbers of them, or
/// most are followed by a space.
fn is_punctuation(body: &str, delimiter: u8) -> bool {
    let rows = || body.lines().skip(1).filter(|line| !line.trim().is_empty());
    let count = |line: &str| line.bytes().filter(|byte| *byte == delimiter).count();
    let counts: std::collections::BTreeSet<usize> = rows().map(count).collect();
    let spaced = |line: &str| line.as_bytes().windows(2).filter(|pair| *pair == [delimiter, b' ']).count();
    counts.len() > 1 || 2 * rows().map(spaced).sum::<usize>() > rows().map(count).sum::<usize>()
}

struct File<'a> {
    source: &'a str,
    /// The text after comment lines.
    body: &'a str,
    comment_lines: u64,
}

/// Which field of a record holds each wanted column.
struct Header {
    delimiter: u8,
    has_names: bool,
    /// Number of columns; None without names, because then every record counts for itself.
    width: Option<usize>,
    indices: Vec<usize>,
}

/// The result of one dialect.
struct Attempt {
    dialect: Dialect,
    parsed: ParsedFile,
    /// Rows with a wrong number of fields or with an open quote.
    structural_faults: usize,
    unclosed_quote: Option<u64>,
}

const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];
/// Those that a file may have whose header fits: `^`, `~`, `:`, and the separators of Hive and of ASCII.
const RARE_DELIMITERS: [u8; 5] = [b'^', b'~', b':', 0x01, 0x1f];
/// Records that are looked at to find the delimiter.
const SAMPLE: usize = 100;

impl File<'_> {
    fn header(&self, layout: Layout, settings: &FileSettings, columns: &Columns<'_>) -> Result<Header, TrainError> {
        let candidates = candidates(layout, settings);
        if settings.header != Some(false) {
            let rare = if settings.delimiter.is_none() { &RARE_DELIMITERS[..] } else { &[] };
            for &delimiter in candidates.iter().chain(rare) {
                let names = self.sample(delimiter, layout, 1)?.into_iter().next().unwrap_or_default();
                let names: Vec<&str> = names.iter().collect();
                if let Ok(mut indices) = columns.find(|key, column| position(&names, key, column)) {
                    let mut width = names.len();
                    if self.has_row_names(delimiter, &self.sample(delimiter, layout, SAMPLE)?) {
                        width += 1;
                        indices = indices.into_iter().map(|index| index + 1).collect();
                    }
                    return Ok(Header { delimiter, has_names: true, width: Some(width), indices });
                }
            }
        }
        let (delimiter, regularity) = self.most_regular(&candidates, layout)?;
        let records = self.sample(delimiter, layout, SAMPLE)?;
        let is_delimited = regularity >= 0.5;
        let width = records.iter().map(StringRecord::len).max().unwrap_or(0);
        if settings.header == Some(false) || (settings.header.is_none() && columns.are_numbers()) {
            let find = |key: &str, column: &str| column_number(key, column, width, &records);
            let indices = columns.find(find).map_err(|faults| TrainError::Keys(self.at_first_line(faults)))?;
            let has_names = settings.header.is_none() && has_usual_name(&records);
            return Ok(Header { delimiter, has_names, width: None, indices });
        }
        if !is_delimited && layout == Layout::Text {
            let message = format!(
                "{}: the lines have no comma, tab, semicolon or pipe between fields; set data.delimiter to the character \
                 that separates text and label",
                self.source
            );
            return Err(TrainError::key("data.train", message));
        }
        if let Some(given) = settings.delimiter
            && records.first().is_some_and(|first| first.len() == 1)
            && let (other, 0.5..) = self.most_regular(&DELIMITERS, layout)?
        {
            let message = format!(
                "{}:{}: with {} between fields (data.delimiter) this row has one field, and the rows look like fields with {} between them; \
                 leave data.delimiter out",
                self.source,
                self.comment_lines + first_line(self.body),
                delimiter_name(given),
                delimiter_name(other)
            );
            return Err(TrainError::key("data.delimiter", message));
        }
        Err(self.missing_columns(settings, &records, width, columns))
    }

    /// The delimiter that gives most rows the same number of fields, and the share of those rows.
    fn most_regular(&self, candidates: &[u8], layout: Layout) -> Result<(u8, f64), TrainError> {
        let mut best = (candidates.first().copied().unwrap_or(b','), 0.0);
        for &delimiter in candidates {
            let score = regularity(&self.sample(delimiter, layout, SAMPLE)?);
            if score > best.1 {
                best = (delimiter, score);
            }
        }
        Ok(best)
    }

    /// Says which columns are missing, or that there is no header.
    fn missing_columns(
        &self,
        settings: &FileSettings,
        records: &[StringRecord],
        width: usize,
        columns: &Columns<'_>,
    ) -> TrainError {
        let first = records.first().cloned().unwrap_or_default();
        let names: Vec<&str> = first.iter().map(str::trim).collect();
        if settings.header.is_none() && looks_like_data(&names, records) {
            let message = format!(
                "{}:{}: the first row looks like data, not like column names: {}; set data.header: false and name the \
                 columns by number, such as {}",
                self.source,
                self.comment_lines + 1,
                super::columns::list_names(names.iter().copied()),
                suggested_numbers(records, width)
            );
            return TrainError::key("data.train", message);
        }
        match columns.find(|key, column| position(&names, key, column)) {
            Err(faults) => TrainError::Keys(self.at_first_line(faults)),
            Ok(_) => DataError::malformed(format!("{}: the header cannot be parsed", self.source)).into(),
        }
    }

    /// Whether all rows have a field more than the header, as R writes them: a name, or a number that rises. In a file without quotes
    /// a name may as well be a part of a text.
    fn has_row_names(&self, delimiter: u8, records: &[StringRecord]) -> bool {
        let Some((header, rows)) = records.split_first() else { return false };
        let numbers: Option<Vec<u64>> = rows.iter().map(|row| row.get(0)?.trim().parse().ok()).collect();
        let rise = || numbers.is_some_and(|numbers| numbers.windows(2).all(|pair| pair[0] < pair[1]));
        rows.len() > 1
            && rows.iter().all(|row| row.len() == header.len() + 1)
            && (has_quoted_fields(self.body, delimiter) || rise())
    }

    fn at_first_line(&self, faults: Vec<KeyFault>) -> Vec<KeyFault> {
        let line = self.comment_lines + first_line(self.body);
        let at = |fault: KeyFault| KeyFault { message: format!("{}:{line}: {}", self.source, fault.message), ..fault };
        faults.into_iter().map(at).collect()
    }

    /// The first `count` records.
    fn sample(&self, delimiter: u8, layout: Layout, count: usize) -> Result<Vec<StringRecord>, DataError> {
        let quoted = Dialect { delimiter, quoted: true, escaped: false, spaced: false };
        // Cut a sample, so that an open quote does not make this read a large file to its end.
        let mut end = self.body.len().min(1 << 20);
        while !self.body.is_char_boundary(end) {
            end -= 1;
        }
        let dialect = if has_quoted_fields(self.body, delimiter) {
            quoted
        } else {
            dialects(layout, delimiter, "").next().unwrap_or(quoted)
        };
        let mut reader = reader(dialect, &self.body.as_bytes()[..end]);
        let records = reader.records().take(count).collect::<Result<_, _>>();
        records.map_err(|error: csv::Error| self.unreadable(error))
    }

    fn rows(&self, dialect: Dialect, header: &Header, columns: &Columns<'_>) -> Result<Attempt, DataError> {
        let body =
            if dialect.spaced { without_spaces(self.body, dialect.delimiter).into() } else { Cow::Borrowed(self.body) };
        let input = std::io::Read::chain(body.as_bytes(), if dialect.quoted { END.as_bytes() } else { b"" });
        let mut reader = reader(dialect, input);
        let mut records = reader.records();
        let names = if header.has_names { records.next() } else { None };
        let names = names.transpose().map_err(|error| self.unreadable(error))?;
        let mut parsed = ParsedFile::default();
        let mut attempt =
            Attempt { dialect, parsed: ParsedFile::default(), structural_faults: 0, unclosed_quote: None };
        let widest = header.indices.iter().max().map_or(0, |index| index + 1);
        for record in records {
            let record = record.map_err(|error| self.unreadable(error))?;
            let line = self.comment_lines + line_of(&record, &body);
            if dialect.quoted && record.iter().any(|field| field.contains(END.trim())) {
                if record.len() != 1 || record[0] != *END.trim() {
                    attempt.structural_faults += 1;
                    attempt.unclosed_quote = Some(line);
                }
                break;
            }
            if header.delimiter == b'|' && is_rule(&record) {
                continue;
            }
            if names.as_ref().is_some_and(|names| names.len() > 1 && names == &record) {
                parsed.bad_rows.push(BadRow::new(line, "this row repeats the header"));
                continue;
            }
            let fault = match header.width {
                Some(width) => width_fault(&record, width, dialect),
                None => (record.len() < widest)
                    .then(|| format!("this row has {} fields, but column {widest} is needed", record.len())),
            };
            if let Some(reason) = fault {
                attempt.structural_faults += 1;
                parsed.bad_rows.push(BadRow::new(line, reason));
                continue;
            }
            let cell = |index: usize| Ok(record.get(header.indices[index]).unwrap_or_default().to_owned());
            match columns.row(line, cell) {
                Ok(row) => parsed.rows.push(row),
                Err(bad) => parsed.bad_rows.push(bad),
            }
        }
        Ok(Attempt { parsed, ..attempt })
    }

    fn unreadable(&self, error: csv::Error) -> DataError {
        DataError::malformed(format!("{}: {error}", self.source)).caused_by(error)
    }
}

/// Appended to a quoted file. If a quote never closes, this line ends up inside its field, which is reported.
const END: &str = "\n\u{3}end of file\u{3}\n";

fn reader<R: std::io::Read>(dialect: Dialect, input: R) -> csv::Reader<R> {
    csv::ReaderBuilder::new()
        .delimiter(dialect.delimiter)
        .quoting(dialect.quoted)
        .escape(dialect.escaped.then_some(b'\\'))
        .flexible(true)
        .has_headers(false)
        .from_reader(input)
}

/// A text without the spaces between a delimiter and a quote.
fn without_spaces(body: &str, delimiter: u8) -> String {
    let delimiter = char::from(delimiter);
    let (spaced, tight) = (format!("{delimiter} \""), format!("{delimiter}\""));
    body.replace(&spaced, &tight)
}

/// The dialects to try, the most probable first.
fn dialects(layout: Layout, delimiter: u8, body: &str) -> impl Iterator<Item = Dialect> {
    let quoted = Dialect { delimiter, quoted: true, escaped: false, spaced: false };
    let spaced = body.contains(&format!("{} \"", char::from(delimiter))).then_some(Dialect { spaced: true, ..quoted });
    let plain = Dialect { quoted: false, ..quoted };
    let escaped = body.contains("\\\"").then_some(Dialect { escaped: true, ..quoted });
    let with_tabs = delimiter == b'\t' && !has_quoted_fields(body, delimiter);
    let order = match layout {
        Layout::Tsv | Layout::Text if with_tabs => vec![Some(plain), body.contains('"').then_some(quoted), escaped],
        _ if with_tabs => vec![Some(quoted), escaped, Some(plain)],
        _ => vec![Some(quoted), escaped, spaced],
    };
    order.into_iter().flatten()
}

/// Whether the first line has several fields, all of them with quotes.
fn has_quoted_fields(body: &str, delimiter: u8) -> bool {
    let line = body.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let is_quoted = |field: &str| {
        field
            .trim()
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .is_some_and(|inner| !inner.replace("\"\"", "").contains('"'))
    };
    let mut fields = line.split(char::from(delimiter));
    line.contains(char::from(delimiter)) && fields.all(is_quoted)
}

/// Skips lines that begin with `#` (or `sep=`) before the header, unless such a line is the header. Returns their number and the
/// rest of the text.
fn skip_comments(text: &str, is_header: impl Fn(&[&str]) -> bool) -> (u64, &str) {
    let (mut lines, mut rest) = (0, text);
    // Excel may write `sep=;` as the first line.
    while rest.starts_with('#') || (lines == 0 && rest.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("sep=")))
    {
        let Some(end) = rest.find(['\n', '\r']) else { break };
        let names: Vec<&str> = rest[..end].split(|c: char| DELIMITERS.iter().any(|d| char::from(*d) == c)).collect();
        if is_header(&names) {
            break;
        }
        let length = end + if rest[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[length..];
        lines += 1;
    }
    (lines, rest)
}

/// The line of the first record in a text that may start with blank lines.
fn first_line(body: &str) -> u64 {
    1 + body.bytes().take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| *byte == b'\n').count() as u64
}

/// The line where a record starts. The reader reports the position before the blank lines that it skips.
fn line_of(record: &StringRecord, text: &str) -> u64 {
    let Some(position) = record.position() else { return 1 };
    let rest = text.get(position.byte() as usize..).unwrap_or_default();
    position.line() + first_line(rest) - 1
}

/// The share of records that have the most frequent number of fields, if that is at least two.
fn regularity(records: &[StringRecord]) -> f64 {
    let mut counts = std::collections::BTreeMap::new();
    for record in records {
        *counts.entry(record.len()).or_insert(0_usize) += 1;
    }
    let most = counts.iter().filter(|(width, _)| **width >= 2).map(|(_, count)| *count).max().unwrap_or(0);
    most as f64 / records.len().max(1) as f64
}

/// Why a record does not have the width of the header. Empty fields at the end do not count.
fn width_fault(record: &StringRecord, width: usize, dialect: Dialect) -> Option<String> {
    let fields = record.len();
    if fields == width || (fields > width && record.iter().skip(width).all(|field| field.trim().is_empty())) {
        return None;
    }
    let why = match (fields < width, dialect.quoted) {
        (true, _) => "fields are missing".to_owned(),
        (false, true) => format!("quote a text that contains {}", delimiter_name(dialect.delimiter)),
        (false, false) => format!("a text cannot contain {} without quotes", delimiter_name(dialect.delimiter)),
    };
    Some(format!("the header has {}, but this row has {}; {why}", count(width, "column"), count(fields, "field")))
}

fn column_number(key: &str, column: &str, width: usize, records: &[StringRecord]) -> Result<usize, String> {
    match column.trim().parse::<usize>() {
        Ok(number) if (1..=width).contains(&number) => Ok(number - 1),
        Ok(_) => Err(format!("there is no column {column} ({key}); the rows have {width} columns")),
        Err(_) => Err(format!(
            "without a header, columns are numbers from 1, but {key} is `{column}`; write {}",
            suggested_numbers(records, width)
        )),
    }
}

/// Whether the first row has a usual name of a column that is no value of this column.
fn has_usual_name(records: &[StringRecord]) -> bool {
    let Some((header, rows)) = records.split_first() else { return false };
    let is_value =
        |(place, name): (usize, &str)| rows.iter().any(|row| row.get(place).is_some_and(|field| field.trim() == name));
    header.iter().map(str::trim).enumerate().any(|(place, name)| is_usual_name(name) && !is_value((place, name)))
}

/// Whether the first row has a number or a sentence as a field, as column names do not.
fn looks_like_data(names: &[&str], records: &[StringRecord]) -> bool {
    if has_usual_name(records) {
        return false;
    }
    let is_number = |name: &&&str| name.parse::<f64>().is_ok();
    let is_sentence = |name: &&&str| name.split_whitespace().count() > 3;
    let repeats = |name: &str| {
        !name.is_empty()
            && records.iter().skip(1).filter(|record| record.iter().any(|field| field.trim() == name)).count() > 1
    };
    names.iter().any(|name| is_number(&name) || is_sentence(&name) || repeats(name))
}

/// `data.text: 2, data.label: 1`: the column with the longest fields, and of the others the one with the fewest values.
fn suggested_numbers(records: &[StringRecord], width: usize) -> String {
    let length = |column: usize| records.iter().filter_map(|record| record.get(column)).map(str::len).sum::<usize>();
    let values = |column: usize| {
        let all: std::collections::BTreeSet<&str> = records.iter().filter_map(|record| record.get(column)).collect();
        if all.len() < 2 { usize::MAX } else { all.len() }
    };
    let text = (0..width).max_by_key(|&column| (length(column), std::cmp::Reverse(column))).unwrap_or(0);
    let label = (0..width).filter(|&column| column != text).min_by_key(|&column| values(column)).unwrap_or(0);
    format!("data.text: {}, data.label: {}", text + 1, label + 1)
}

fn delimiter_name(delimiter: u8) -> String {
    match delimiter {
        b',' => "a comma".into(),
        b'\t' => "a tab".into(),
        b';' => "a semicolon".into(),
        b'|' => "a pipe".into(),
        other => format!("`{}`", char::from(other)),
    }
}

/// `csv, semicolons, no header, backslash escapes`; the usual properties are left out.
fn describe(dialect: Dialect, layout: Layout, header: &Header) -> String {
    if dialect == ONE_COLUMN {
        return "one column".to_owned();
    }
    let delimiter = delimiter_name(dialect.delimiter);
    let mut parts = vec![match (layout, dialect.delimiter) {
        (Layout::Csv, b',') => "csv".to_owned(),
        (Layout::Tsv, b'\t') => "tsv".to_owned(),
        _ => format!("{delimiter} between fields"),
    }];
    if !header.has_names {
        parts.push("no header".into());
    }
    if dialect.escaped {
        parts.push("backslash before quotes".into());
    }
    if dialect.quoted && dialect.delimiter == b'\t' && layout != Layout::Csv {
        parts.push("quoted fields".into());
    }
    parts.join(", ")
}
