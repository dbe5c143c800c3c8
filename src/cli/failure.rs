//! What a command ends with when it cannot do its work: a message that says what, where and what to do, and an exit code.

use std::fmt;
use std::io;
use std::process::ExitCode;

use super::words::say;
use crate::spec::Problems;
use crate::store::StoreError;

/// Exit codes of the program, beside 0.
mod code {
    pub(crate) const BAD_INPUT: u8 = 2;
    pub(crate) const RESULTS_UNUSABLE: u8 = 3;
}

#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// Bad usage or bad input.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: code::BAD_INPUT }
    }

    /// The results folder cannot be used.
    pub(crate) fn results(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: code::RESULTS_UNUSABLE }
    }

    pub(crate) fn with_code(message: impl Into<String>, code: u8) -> Self {
        Self { message: message.into(), code }
    }

    /// The one place that prints errors.
    pub(crate) fn print(&self) -> ExitCode {
        say(&format!("error: {}", self.message));
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
        Self::results(error.to_string())
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

/// Whether printing failed because the reader went away, as `head` does: then there is nothing to say.
pub(crate) fn printed(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::results(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
