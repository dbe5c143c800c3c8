//! `test.json`: the evaluations of the test set.

use std::path::PathBuf;

use super::{RunDir, StoreError, atomic};
use crate::trial::{TestEvaluation, TestRecord};

impl RunDir {
    /// What is known of the test set. A damaged file is an error: it says how often the test set was used.
    pub fn test_record(&self) -> Result<TestRecord, StoreError> {
        Ok(atomic::read_json(&self.test_file())?.unwrap_or_default())
    }

    /// Adds an evaluation to the record.
    pub fn add_test_evaluation(&self, evaluation: TestEvaluation) -> Result<(), StoreError> {
        let mut record = self.test_record()?;
        record.evaluations.push(evaluation);
        let path = self.test_file();
        atomic::write(&path, &atomic::to_json(&path, &record)?)
    }

    fn test_file(&self) -> PathBuf {
        self.path().join("test.json")
    }
}
