//! The table of the csv export as Parquet: the same columns with types; null where nothing was measured.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as Kind};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use crate::analysis::{Run, Sweep};
use crate::cli::format::axis_value;
use crate::track::{Row, rows};

/// Reads a number of a row.
type Number = fn(&Row<'_>) -> Option<f32>;

/// Columns after `step` and `learning_rate`.
const NUMBERS: [(&str, Number); 5] = [
    ("train_loss", |row| row.metric.map(|metric| metric.train_loss)),
    ("grad_norm", |row| row.metric.map(|metric| metric.grad_norm)),
    ("eval_loss", |row| row.eval.map(|eval| eval.eval_loss)),
    ("accuracy", |row| row.eval.map(|eval| eval.accuracy)),
    ("macro_f1", |row| row.eval.map(|eval| eval.macro_f1)),
];

/// The bytes of the file, with a row group for each trial that measured something.
pub(super) fn table(sweep: &Sweep) -> Result<Vec<u8>> {
    let keys: Vec<&str> = sweep.axes.iter().map(|axis| axis.key.as_str()).collect();
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema(&keys)?), Arc::default())?;
    for run in &sweep.runs {
        let rows = rows(&run.metrics, &run.evals);
        if !rows.is_empty() {
            let mut group = writer.next_row_group()?;
            write(&mut group, &keys, run, &rows)?;
            group.close()?;
        }
    }
    writer.into_inner()
}

fn schema(keys: &[&str]) -> Result<Type> {
    let column = |name: &str, kind: Kind, repetition: Repetition| {
        let text = (kind == Kind::BYTE_ARRAY).then_some(LogicalType::String);
        let column = Type::primitive_type_builder(name, kind).with_repetition(repetition).with_logical_type(text);
        column.build().map(Arc::new)
    };
    let texts = ["id"].iter().chain(keys).chain(&["status"]);
    let mut columns: Vec<_> =
        texts.map(|name| column(name, Kind::BYTE_ARRAY, Repetition::REQUIRED)).collect::<Result<_>>()?;
    columns.push(column("step", Kind::INT64, Repetition::REQUIRED)?);
    columns.push(column("learning_rate", Kind::DOUBLE, Repetition::OPTIONAL)?);
    for (name, _) in NUMBERS {
        columns.push(column(name, Kind::FLOAT, Repetition::OPTIONAL)?);
    }
    Type::group_type_builder("sweep").with_fields(columns).build()
}

fn write(group: &mut SerializedRowGroupWriter<'_, Vec<u8>>, keys: &[&str], run: &Run, rows: &[Row<'_>]) -> Result<()> {
    let mut texts = vec![run.trial.id.to_string()];
    texts.extend(keys.iter().map(|key| axis_value(&run.trial, key)));
    texts.push(run.status.name().to_owned());
    for text in texts {
        column::<ByteArrayType>(group, &vec![ByteArray::from(text.as_str()); rows.len()], None)?;
    }
    column::<Int64Type>(group, &rows.iter().map(|row| row.step as i64).collect::<Vec<_>>(), None)?;
    optional::<DoubleType>(group, &rows.iter().map(|row| row.metric.map(|metric| metric.lr)).collect::<Vec<_>>())?;
    for (_, of) in NUMBERS {
        optional::<FloatType>(group, &rows.iter().map(of).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn optional<T: DataType>(group: &mut SerializedRowGroupWriter<'_, Vec<u8>>, values: &[Option<T::T>]) -> Result<()> {
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    column::<T>(group, &values.iter().flatten().cloned().collect::<Vec<_>>(), Some(&levels))
}

fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<()> {
    let none = || ParquetError::General("more columns than the schema has".into());
    let mut column = group.next_column()?.ok_or_else(none)?;
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::*;
    use crate::analysis::synthetic::{self, axis};

    #[test]
    fn what_is_written_is_read_back() {
        let axes = [axis("lr", &["1e-5", "3e-5"]), axis("model.dropout", &["0", "0.1"])];
        let mut sweep = synthetic::sweep("s", &axes, 48);
        sweep.runs[0].metrics[3].train_loss = f32::NAN;
        sweep.runs[3].metrics.clear();
        sweep.runs[3].evals.clear();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.parquet");
        std::fs::write(&path, table(&sweep).unwrap()).unwrap();
        let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
        let columns = reader.metadata().file_metadata().schema_descr().columns().to_vec();
        let names: Vec<&str> = columns.iter().map(|column| column.name()).collect();
        let expected = "id lr model.dropout status step learning_rate train_loss grad_norm eval_loss accuracy macro_f1";
        assert_eq!(names.join(" "), expected);
        let read: Vec<_> = reader.get_row_iter(None).unwrap().map(std::result::Result::unwrap).collect();
        // Step 0 is only evaluated.
        assert_eq!(read.len(), 3 * 49);
        assert!(read[0].get_float(6).is_err() && read[0].get_long(4).unwrap() == 0);
        assert!(read[4].get_float(6).unwrap().is_nan());
        let run = &sweep.runs[2];
        let last = &read[3 * 49 - 1];
        let texts = [0, 1, 2, 3].map(|column| last.get_string(column).unwrap().as_str());
        assert_eq!(texts, [run.trial.id.as_str(), "3e-5", "0", "finished"]);
        assert_eq!(last.get_double(5).unwrap().to_bits(), run.metrics[47].lr.to_bits());
        assert_eq!(last.get_float(6).unwrap().to_bits(), run.metrics[47].train_loss.to_bits());
        assert_eq!(last.get_float(8).unwrap().to_bits(), run.evals.last().unwrap().eval_loss.to_bits());
    }
}
