//! The cache of a results folder, written only on request: a command that fails leaves nothing behind.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::train::Cache;
use crate::worker::DiskCache;

pub(crate) struct DeferredCache {
    disk: DiskCache,
    /// Keys and contents that are not on disk yet.
    pending: Mutex<Vec<(String, Vec<u8>)>>,
}

impl DeferredCache {
    pub(crate) fn new(disk: DiskCache) -> Self {
        Self { disk, pending: Mutex::default() }
    }

    fn pending(&self) -> MutexGuard<'_, Vec<(String, Vec<u8>)>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes the entries from the one with number `first` on, in the order in which they were put. Returns how many there
    /// are in all.
    pub(crate) fn entries_from<E>(
        &self,
        first: usize,
        receive: impl FnOnce(&[(String, Vec<u8>)]) -> Result<(), E>,
    ) -> Result<usize, E> {
        let pending = self.pending();
        receive(pending.get(first..).unwrap_or_default())?;
        Ok(pending.len())
    }

    /// Writes to disk what was put so far.
    pub(crate) fn flush(&self) {
        for (key, bytes) in self.pending().drain(..) {
            self.disk.put(&key, &bytes);
        }
    }
}

impl Cache for DeferredCache {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        let pending = self.pending().iter().find(|(pending, _)| pending == key).map(|(_, bytes)| bytes.clone());
        pending.or_else(|| self.disk.get(key))
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        self.pending().push((key.to_owned(), bytes.to_owned()));
    }
}
