//! Exit codes of a worker. `failure.json` says more; the code remains when that file could not be written.

use std::fmt;
use std::io::Write as _;

use rustix::process::{Resource, Rlimit, getrlimit};

/// The outcome of the trial is published, by this attempt or another.
pub const PUBLISHED: u8 = 0;
pub const CRASHED: u8 = 1;
/// Data, checkpoint or configuration that cannot be used for training.
pub const BAD_INPUT: u8 = 2;
pub const DISK: u8 = 3;
pub const DEVICE: u8 = 4;
/// The system gave the worker no memory.
pub const OUT_OF_MEMORY: u8 = 5;
/// The disk is full or has no inodes left.
pub const DISK_FULL: u8 = 6;
/// Another job trains the attempt, or a later attempt was claimed.
pub const NEEDLESS: u8 = 7;
/// Stopped by the parent or superseded by a later attempt; the training state is saved.
pub const INTERRUPTED: u8 = 130;

/// Says that a file needs too much memory, and ends this process with [`BAD_INPUT`], without an allocation and without
/// destructors. If the limit is not this program's but the user's, it names the limit instead.
pub fn out_of_memory_for_files() -> ! {
    let Rlimit { current, maximum } = getrlimit(Resource::As);
    if current.is_some() && current == maximum {
        out_of_memory_for_command();
    }
    end(
        BAD_INPUT,
        format_args!(
            "error: the files need far more memory than their sizes explain. A file is damaged or hostile: copy it again from a \
             place that you trust\n"
        ),
    )
}

/// Ends this worker with [`OUT_OF_MEMORY`], without an allocation and without destructors. Its log names the limit of the
/// process, if it has one.
pub fn out_of_memory() -> ! {
    match MemoryLimit::of_this_process() {
        Some(limit) => end(OUT_OF_MEMORY, format_args!("no memory: {limit}\n")),
        None => end(OUT_OF_MEMORY, format_args!("no memory: the system has none left\n")),
    }
}

/// Ends a command that got no memory with [`DISK`], the code for what the system refuses, without an allocation and without
/// destructors.
pub fn out_of_memory_for_command() -> ! {
    const THEN: &str = "then run the same command again: finished trials stay finished";
    match MemoryLimit::of_this_process() {
        Some(limit) => end(DISK, format_args!("error: this process got no memory: {limit}. Raise the limit, {THEN}\n")),
        None => end(
            DISK,
            format_args!("error: this process got no memory: the system has none left. End other programs, {THEN}\n"),
        ),
    }
}

/// Ends a command that has used its processor time with [`DISK`]. May be called by a signal handler.
pub fn out_of_time() -> ! {
    end(
        DISK,
        format_args!(
            "error: this process has used the processor time that its limit allows (`ulimit -t`). Raise the limit, then run the same \
             command again: finished trials stay finished\n"
        ),
    )
}

/// A limit on the memory of a process, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLimit {
    AddressSpace(u64),
    Data(u64),
}

impl MemoryLimit {
    /// The lower one of the limits that this process has. None if it has none.
    #[must_use]
    pub fn of_this_process() -> Option<Self> {
        let of = |resource| getrlimit(resource).current.map(|bytes| bytes >> 10);
        match (of(Resource::As), of(Resource::Data)) {
            (Some(space), Some(data)) if data < space => Some(Self::Data(data)),
            (None, Some(data)) => Some(Self::Data(data)),
            (space, _) => space.map(Self::AddressSpace),
        }
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressSpace(limit) => write!(f, "its address space is limited to {limit} KiB (`ulimit -v`)"),
            Self::Data(limit) => write!(f, "its data are limited to {limit} KiB (`ulimit -d`)"),
        }
    }
}

/// Writes `message` to standard error and ends this process, without an allocation and without destructors.
fn end(code: u8, message: fmt::Arguments<'_>) -> ! {
    let mut buffer = [0; 512];
    let mut rest = &mut buffer[..];
    // What does not fit is cut.
    let _ = rest.write_fmt(message);
    let length = 512 - rest.len();
    // SAFETY: the pointer and the length are those of the written part of the buffer. `_exit` has no preconditions and does
    // not return.
    unsafe {
        libc::write(libc::STDERR_FILENO, buffer.as_ptr().cast(), length);
        libc::_exit(i32::from(code))
    }
}
