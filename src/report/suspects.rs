//! `suspect_labels.csv`: evaluation examples whose labels may be wrong, because the winner is sure of another class.
//!
//! The file is part of a report only where wrong labels limit the loss (`LABEL_FLOOR`).

use super::winner::Winner;
use crate::analysis::{Finding, FindingKind, Study};
use crate::trial::{Cause, Mistake, spreadsheet_cell};

/// Its name in the folder of the report.
pub const FILE_NAME: &str = "suspect_labels.csv";

/// The columns. `row` counts the evaluation examples from 1. `line` is that of the row in `file`, from 1; for Parquet, the number
/// of the row.
const HEADER: [&str; 8] = ["row", "text", "text_pair", "given_label", "model_label", "probability", "file", "line"];

/// Columns that each version of the table begins with.
const OLDEST: usize = 6;

/// Whether wrong labels limit the loss of a trial, or of the whole sweep.
pub fn are_likely(study: &Study, findings: &[Finding]) -> bool {
    let mut verdicts = study.diagnoses.iter().flat_map(|diagnosis| &diagnosis.verdicts);
    verdicts.any(|verdict| verdict.is_cause() && verdict.id == Cause::LabelFloor)
        || findings.iter().any(|finding| finding.kind == FindingKind::LabelFloor)
}

/// The bytes of the file: the mistakes that the winner is most confident of, the most confident first.
pub fn table(winner: &Winner) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADER)?;
    for Mistake { example, text, pair, label, predicted, confidence, file, line } in &winner.details.mistakes {
        writer.write_record([
            &(example + 1).to_string(),
            &*spreadsheet_cell(text),
            &*spreadsheet_cell(pair.as_deref().unwrap_or_default()),
            &*spreadsheet_cell(winner.label(*label)),
            &*spreadsheet_cell(winner.label(*predicted)),
            &format!("{confidence:.4}"),
            &*spreadsheet_cell(file.as_deref().unwrap_or_default()),
            &line.map(|line| line.to_string()).unwrap_or_default(),
        ])?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// Whether the bytes begin as those of [`table`] do. Another file of this name is not ours to remove.
pub fn is_own_table(bytes: &[u8]) -> bool {
    bytes.starts_with(HEADER[..OLDEST].join(",").as_bytes())
}
