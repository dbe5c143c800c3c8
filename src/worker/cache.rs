//! The cache of the results folder, for the trainer.

use crate::store::Blobs;
use crate::train::Cache;

/// [`Blobs`] as the cache of the trainer.
#[derive(Debug, Clone)]
pub struct DiskCache(pub Blobs);

impl Cache for DiskCache {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.0.get(key)
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        self.0.put(key, bytes);
    }
}
