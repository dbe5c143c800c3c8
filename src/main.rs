//! The program: parse, run, print the error and its hint, exit code. All of it is [`plateau::cli`].

use std::process::ExitCode;

use plateau::worker::ExitWithoutMemory;

/// Keeps the pages that a training step frees: a third of a plain step is page faults otherwise.
#[global_allocator]
static ALLOCATOR: ExitWithoutMemory<mimalloc::MiMalloc> = ExitWithoutMemory(mimalloc::MiMalloc);

fn main() -> ExitCode {
    plateau::cli::main()
}
