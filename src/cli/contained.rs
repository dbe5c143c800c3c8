//! Opens foreign files in this process, for commands that do nothing else: `predict`, `augment` and `init`.
//!
//! Files that crash a library, or that need far more memory than their sizes explain, are bad input.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Failure;
use super::limits::Limits;
use crate::train;
use crate::worker;

/// Does `work` with the memory that files of these sizes may need, in bytes.
pub(super) fn contained<T>(
    checkpoints: u64,
    texts: u64,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    train::start_threads().map_err(|error| Failure::results(error.to_string()))?;
    worker::blame_files_for_lack_of_memory();
    limit(Resource::As, Limits::start().with(Limits::of_files(checkpoints, texts)).memory);
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(Failure::input(format!(
            "the files crash the library that reads them ({}). A file is damaged or hostile: copy it again from a place that \
             you trust",
            message(panic.as_ref())
        )))
    })
}

/// Bytes of the files of a data source, as written on the command line. 0 if it cannot be found.
pub(super) fn size_of(written: &str) -> u64 {
    train::locate_data(written, &[PathBuf::new()]).map_or(0, |located| train::data::source_size(&located))
}

/// Lowers a limit of this process to `value`. A limit that is lower stays.
pub(super) fn limit(resource: Resource, value: u64) {
    let Rlimit { maximum, .. } = getrlimit(resource);
    let current = Some(maximum.map_or(value, |maximum| maximum.min(value)));
    // Without the limit a hostile file takes longer to fail; nothing else changes.
    let _ = setrlimit(resource, Rlimit { current, maximum });
}

/// The beginning of the message of a panic.
pub(super) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").chars().take(200).collect()
}
