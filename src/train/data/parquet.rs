//! Parses Parquet files, such as the shards of Hugging Face data sets.
//!
//! The class names of a Hugging Face `ClassLabel` column replace its numbers. Nested columns are reached with dots.

use std::collections::BTreeMap;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Map, Value};

use super::columns::Columns;
use super::error::{DataError, DataErrorKind};
use super::files::unpacked_limit;
use super::json;
use super::rows::{BadRow, ParsedFile};
use crate::train::TrainError;

/// The first bytes of a Parquet file.
pub(super) const MAGIC: &[u8] = b"PAR1";

/// Parses a file. `source` names it in errors.
pub(super) fn parse(source: &str, content: Vec<u8>, columns: &Columns<'_>) -> Result<ParsedFile, TrainError> {
    json::rows(source, records(source, content)?, columns, "parquet")
}

/// The names of the columns, in alphabetical order.
pub(super) fn column_names(source: &str, content: Vec<u8>) -> Result<Vec<String>, TrainError> {
    Ok(json::all_names(&records(source, content)?))
}

fn records(source: &str, content: Vec<u8>) -> Result<Vec<Result<json::Record, BadRow>>, DataError> {
    let unreadable = |error: parquet::errors::ParquetError| {
        let text = error.to_string();
        let why = match text.split_once("Disabled feature at compile time: ") {
            Some((_, packing)) => format!(
                "it is compressed with {packing}, which is not read; write it with snappy, zstd or gzip, as in \
                 df.to_parquet(\"FILE\", compression=\"zstd\")"
            ),
            None => text,
        };
        DataError::malformed(format!("{source}: the Parquet file cannot be read: {why}")).caused_by(error)
    };
    let (packed, limit) = (content.len(), unpacked_limit(content.len()));
    let reader = SerializedFileReader::new(bytes::Bytes::from(content)).map_err(unreadable)?;
    // Pages are unpacked as a whole, so their sizes are added up before any is.
    let pages = reader.metadata().row_groups().iter().map(|group| group.total_byte_size().max(0) as u64);
    if pages.fold(0, u64::saturating_add) > limit {
        return Err(too_large(source, packed, limit));
    }
    let class_names = class_names(&reader);
    let mut records = Vec::new();
    // A value of a dictionary stands for any number of rows.
    let mut size = 0;
    for (number, row) in (1..).zip(reader.get_row_iter(None).map_err(unreadable)?) {
        let row = row.map_err(unreadable)?;
        let object = row.get_column_iter().map(|(name, field)| {
            let value = value(field);
            let class = class_names.get(name).zip(value.as_u64()).and_then(|(names, class)| names.get(class as usize));
            (name.clone(), class.map_or(value, |class| class.as_str().into()))
        });
        let object: Map<String, Value> = object.collect();
        size += object.values().map(size_of).sum::<u64>();
        if size > limit {
            return Err(too_large(source, packed, limit));
        }
        records.push(Ok((number, object)));
    }
    Ok(records)
}

fn too_large(source: &str, packed: usize, limit: u64) -> DataError {
    let message = format!(
        "{source}: the {packed} bytes of this Parquet file stand for more than {limit} bytes, which is not typical of text; if this \
         is right, write the table as CSV or JSON lines and give that file"
    );
    DataError::new(DataErrorKind::Unsupported, message)
}

/// Bytes that a value takes, roughly.
fn size_of(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(size_of).sum(),
        Value::Object(entries) => entries.values().map(size_of).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

/// The class names of the `ClassLabel` columns, from the metadata that the `datasets` library writes.
fn class_names(reader: &SerializedFileReader<bytes::Bytes>) -> BTreeMap<String, Vec<String>> {
    let metadata = reader.metadata().file_metadata().key_value_metadata();
    let text =
        metadata.into_iter().flatten().find(|entry| entry.key == "huggingface").and_then(|entry| entry.value.clone());
    let json: Value = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let features = json.pointer("/info/features").and_then(Value::as_object);
    let names = features.into_iter().flatten().filter_map(|(column, feature)| {
        let names = feature.get("names")?.as_array()?;
        Some((column.clone(), names.iter().filter_map(Value::as_str).map(str::to_owned).collect()))
    });
    names.collect()
}

fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => (*value).into(),
        Field::Byte(value) => (*value).into(),
        Field::Short(value) => (*value).into(),
        Field::Int(value) => (*value).into(),
        Field::Long(value) => (*value).into(),
        Field::UByte(value) => (*value).into(),
        Field::UShort(value) => (*value).into(),
        Field::UInt(value) => (*value).into(),
        Field::ULong(value) => (*value).into(),
        Field::Float(value) => f64::from(*value).into(),
        Field::Double(value) => (*value).into(),
        Field::Str(text) => text.as_str().into(),
        Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()).into(),
        Field::Group(row) => row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect(),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        other => other.to_string().into(),
    }
}
