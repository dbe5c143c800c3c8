//! The program: parse, run, print the error and its hint, exit code. All of it is [`plateau::cli`].

use std::process::ExitCode;

/// Keeps the pages that a training step frees: a third of a plain step is page faults otherwise.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    plateau::cli::main()
}
