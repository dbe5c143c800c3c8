//! The command line: one file a subcommand, and the one place where errors become messages and exit codes.

use std::process::ExitCode;

/// Parses the arguments, runs the command, prints what went wrong.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
