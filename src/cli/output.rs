//! Where commands write: results to standard output, notes and warnings to standard error.

use std::io::{self, Write as _};

use super::Failure;
use crate::trial::printable;

/// Writes a line for people to standard error. An error is ignored: a closed terminal shows nothing.
pub(crate) fn notify(line: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(line));
}

/// [`notify`] for each line.
pub(crate) fn notify_all(lines: &[String]) {
    for line in lines {
        notify(line);
    }
}

/// Writes the result of a command to standard output.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    // Bytes that are not text, such as a figure, go to a program.
    match std::str::from_utf8(text.as_ref()) {
        Ok(text) => printed(io::stdout().lock().write_all(printable(text).as_bytes())),
        Err(_) => printed(io::stdout().lock().write_all(text.as_ref())),
    }
}

/// The result of writing to standard output. A reader that closed the pipe, such as `head`, is no failure.
pub(crate) fn printed(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::results(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
