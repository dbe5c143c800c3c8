//! Where the examples of a split stand in the user's files.

use std::sync::Arc;

/// The file and the line of each example, in the order of the examples.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Origins {
    files: Arc<[String]>,
    /// Index of the file, and the line where the row starts, from 1. For Parquet: the number of the row.
    rows: Vec<(u32, u64)>,
}

impl Origins {
    pub(super) fn new(files: Vec<String>, rows: Vec<(u32, u64)>) -> Self {
        Self { files: files.into(), rows }
    }

    /// The file of an example, and its line from 1, or the number of its row in a Parquet file. None if it is not known.
    #[must_use]
    pub fn get(&self, example: usize) -> Option<(&str, u64)> {
        let &(file, line) = self.rows.get(example)?;
        Some((self.files.get(file as usize)?, line))
    }

    /// The origins of the examples with these indices, in the order of the indices.
    pub(super) fn select(&self, indices: &[u32]) -> Self {
        let rows = indices.iter().filter_map(|&index| self.rows.get(index as usize).copied()).collect();
        Self { files: self.files.clone(), rows }
    }
}
