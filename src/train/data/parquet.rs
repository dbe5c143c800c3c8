//! Parses Parquet files, such as the shards of Hugging Face data sets.
//!
//! The class names of a Hugging Face `ClassLabel` column replace its numbers. Nested columns are reached with dots.

use std::collections::BTreeMap;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::Value;

use super::columns::{BadRow, Columns, ParsedFile};
use super::error::DataError;
use super::json;
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
        DataError::malformed(format!("{source}: the Parquet file cannot be read: {error}")).caused_by(error)
    };
    let reader = SerializedFileReader::new(bytes::Bytes::from(content)).map_err(unreadable)?;
    let class_names = class_names(&reader);
    let mut records = Vec::new();
    for (number, row) in (1..).zip(reader.get_row_iter(None).map_err(unreadable)?) {
        let row = row.map_err(unreadable)?;
        let object = row.get_column_iter().map(|(name, field)| {
            let value = value(field);
            let class = class_names.get(name).zip(value.as_u64()).and_then(|(names, class)| names.get(class as usize));
            (name.clone(), class.map_or(value, |class| class.as_str().into()))
        });
        records.push(Ok((number, object.collect())));
    }
    Ok(records)
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
