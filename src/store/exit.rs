//! Exit codes of a worker. `failure.json` says more; the code remains when that file could not be written.

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
/// Stopped by the parent or superseded by a later attempt; the training state is saved.
pub const INTERRUPTED: u8 = 130;

/// Says that a file needs too much memory, and ends this process with [`BAD_INPUT`], without an allocation and without
/// destructors.
pub fn out_of_memory_for_files() -> ! {
    const MESSAGE: &[u8] =
        b"error: the files need far more memory than their sizes explain. A file is damaged or hostile: copy it \
        again from a place that you trust\n";
    // SAFETY: the pointer and the length are those of a constant. `_exit` has no preconditions and does not return.
    unsafe {
        libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len());
        libc::_exit(i32::from(BAD_INPUT))
    }
}

/// Ends this process with [`OUT_OF_MEMORY`], without an allocation and without destructors.
pub fn out_of_memory() -> ! {
    // SAFETY: `_exit` has no preconditions and does not return.
    unsafe { libc::_exit(i32::from(OUT_OF_MEMORY)) }
}
