//! Why a trial has no outcome. Divergence is an outcome and not an error.

use super::data;

/// The kinds of failure. The caller decides by kind whether a retry is useful.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Data, checkpoint or configuration cannot be used. The message says what, where and what to do.
    #[error("{0}")]
    Input(String),
    /// A data file or a checkpoint cannot be used. Keeps the error that caused it.
    #[error(transparent)]
    Data(#[from] data::DataError),
    /// The values of known keys are wrong.
    #[error("{}", .0.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join("; "))]
    Keys(Vec<KeyFault>),
    /// The training state to resume from cannot be read: it is damaged or comes from another version. Nothing was trained.
    #[error("{0}")]
    TrainingState(String),
    /// The device is not available.
    #[error("device: {0}")]
    Device(String),
    /// The device has no memory left. Smaller micro-batches may help.
    #[error("the device is out of memory: {0}")]
    OutOfDeviceMemory(#[source] candle_core::Error),
    /// The system cannot start more threads.
    #[error(
        "cannot start {count} threads: {source}. The system has no process or thread left for them (`ulimit -u`, or the \
         limit of the container), or no memory for their stacks (`ulimit -v`). Raise the limit, then run the same command \
         again"
    )]
    Threads { count: usize, source: rayon::ThreadPoolBuildError },
    #[error("cannot write results: {0}")]
    Sink(#[from] std::io::Error),
    #[error("interrupted")]
    Interrupted,
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(candle_core::Error),
}

/// What is wrong with the value of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFault {
    /// Dotted, as in a sweep file.
    pub key: &'static str,
    pub message: String,
}

impl TrainError {
    /// A wrong value of `key`.
    pub(super) fn key(key: &'static str, message: impl Into<String>) -> Self {
        Self::Keys(vec![KeyFault { key, message: message.into() }])
    }

    /// Every fault by itself. A fault without a key of its own is attributed to `key`.
    #[must_use]
    pub fn faults(self, key: &'static str) -> Vec<KeyFault> {
        match self {
            Self::Keys(faults) => faults,
            other => vec![KeyFault { key, message: other.to_string() }],
        }
    }
}

impl From<candle_core::Error> for TrainError {
    fn from(error: candle_core::Error) -> Self {
        if is_out_of_memory(&error) { Self::OutOfDeviceMemory(error) } else { Self::Tensor(error) }
    }
}

/// candle passes a driver's error on as text only, so this is the one place that reads it.
fn is_out_of_memory(error: &candle_core::Error) -> bool {
    let message = error.to_string().to_lowercase();
    ["out of memory", "out_of_memory", "insufficient memory"].iter().any(|phrase| message.contains(phrase))
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn out_of_device_memory_is_a_kind_of_its_own() {
        let check = |message: &str, expected: bool| {
            let error = TrainError::from(candle_core::Error::Msg(message.into()));
            assert_eq!(matches!(error, TrainError::OutOfDeviceMemory(_)), expected, "{message}");
        };
        check("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")", true);
        check("Metal error Insufficient Memory (00000008)", true);
        check("DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, \"an illegal memory access was encountered\")", false);
    }

    #[test]
    fn an_error_keeps_its_source() {
        let error = TrainError::from(candle_core::Error::Msg("out of memory".into()));
        assert_eq!(error.source().unwrap().to_string(), "out of memory");
        let error = TrainError::from(std::io::Error::other("disk"));
        assert_eq!(error.source().unwrap().to_string(), "disk");
    }
}
