//! Errors of data files and checkpoints.

use std::error::Error;

/// What kind of problem a data file or a checkpoint has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataErrorKind {
    /// A file, folder, program or embedded name does not exist.
    NotFound,
    /// The operating system refuses to read it, or it is damaged.
    Unreadable,
    /// It can be read, but its content breaks the rules of its format.
    Malformed,
    /// It is valid, but of a kind that cannot be used here.
    Unsupported,
    /// The Hugging Face hub does not deliver it.
    Unavailable,
    /// An external program fails.
    Program,
}

/// Why a data file or a checkpoint cannot be used. The message says what is wrong, where, and what to do; it includes the
/// text of the cause.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DataError {
    kind: DataErrorKind,
    message: String,
    #[source]
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl DataError {
    /// An error without a deeper cause.
    pub fn new(kind: DataErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), cause: None }
    }

    /// Content that breaks the rules of its format.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(DataErrorKind::Malformed, message)
    }

    /// Keeps the error that led to this one.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub fn kind(&self) -> DataErrorKind {
        self.kind
    }
}
