//! `test.json`: the evaluations of the test set.

use std::path::PathBuf;

use super::{RunDir, StoreError, atomic, disk};
use crate::trial::{TestEvaluation, TestRecord};

impl RunDir {
    /// What is known of the test set.
    pub fn test_record(&self) -> Result<TestRecord, StoreError> {
        match atomic::read_json(&self.test_file()) {
            Err(StoreError::Damaged { .. }) => Ok(TestRecord { is_damaged: true, ..TestRecord::default() }),
            record => Ok(record?.unwrap_or_default()),
        }
    }

    /// Adds an evaluation to the record. A damaged record is kept beside the new one: it may still tell how often the test set was
    /// used.
    pub fn add_test_evaluation(&self, evaluation: TestEvaluation) -> Result<(), StoreError> {
        let mut record = self.test_record()?;
        record.evaluations.push(evaluation);
        let path = self.test_file();
        if record.is_damaged {
            disk::rename(&path, &self.damaged_test_file()).map_err(StoreError::at(&path))?;
        }
        self.write(&path, &atomic::to_json(&path, &record)?)
    }

    /// Where a damaged record is kept: the first free name of `test.json.damaged`, `test.json.damaged-2`, ...
    #[must_use]
    pub fn damaged_test_file(&self) -> PathBuf {
        let first = self.path().join("test.json.damaged");
        let further = (2..).map(|number| self.path().join(format!("test.json.damaged-{number}")));
        let is_free = |path: &PathBuf| path.symlink_metadata().is_err();
        std::iter::once(first.clone()).chain(further).find(is_free).unwrap_or(first)
    }

    fn test_file(&self) -> PathBuf {
        self.path().join("test.json")
    }
}
