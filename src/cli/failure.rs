//! Why a command failed: a message that says what, where and what to do, and an exit code.

use std::fmt;
use std::process::ExitCode;

use crate::spec::Problems;
use crate::store::StoreError;
use crate::track::TrackError;

/// Bad usage or bad input.
const BAD_INPUT: u8 = 2;
/// The results folder is locked, unwritable or full.
const RESULTS_UNUSABLE: u8 = 3;

#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
    /// The disk is full: the same may succeed later.
    is_full_disk: bool,
}

impl Failure {
    /// Bad usage or bad input.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::with_code(message, BAD_INPUT)
    }

    /// The results folder cannot be used.
    pub(crate) fn results(message: impl Into<String>) -> Self {
        Self::with_code(message, RESULTS_UNUSABLE)
    }

    pub(crate) fn with_code(message: impl Into<String>, code: u8) -> Self {
        Self { message: message.into(), code, is_full_disk: false }
    }

    pub(crate) fn is_full_disk(&self) -> bool {
        self.is_full_disk
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self { is_full_disk: error.is_full(), ..Self::results(error.to_string()) }
    }
}

impl From<TrackError> for Failure {
    fn from(error: TrackError) -> Self {
        match error {
            TrackError::Server(message) => Self::input(message),
            TrackError::Store(error) => error.into(),
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        let count = match problems.len() {
            1 => "the sweep has a mistake".to_owned(),
            n => format!("the sweep has {n} mistakes"),
        };
        Self::input(format!("{count}\n\n{problems}\n"))
    }
}
