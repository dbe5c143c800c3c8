//! Tests that need another program say loudly when it is missing. CI installs the program and does not allow the skip.

use std::io::Write as _;

/// Prints that the running test is skipped because `program` is missing. It writes past the test harness, which would hide the line.
///
/// # Panics
///
/// If `PLATEAU_NO_SKIP` (names with commas between) lists the program: where it is installed, a missing one is a failure.
pub fn skip(program: &str, reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let required = std::env::var("PLATEAU_NO_SKIP").unwrap_or_default();
    assert!(required.split(',').all(|name| name != program), "{test} must not be skipped here: {reason}");
    // A closed stderr leaves nowhere to write to.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}
