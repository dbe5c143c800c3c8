//! The threads of the libraries that the trainer uses.

use std::error::Error as _;

use super::TrainError;

/// Starts the threads that tokenizers and figures share. Otherwise they start at their first use, and a limit of the
/// process makes that use panic.
pub fn start_threads() -> Result<(), TrainError> {
    match rayon::ThreadPoolBuilder::new().build_global() {
        // Without a cause the threads run already.
        Err(error) if error.source().is_some() => {
            let count = std::thread::available_parallelism().map_or(1, usize::from);
            Err(TrainError::Threads { count, source: error })
        }
        _ => Ok(()),
    }
}
