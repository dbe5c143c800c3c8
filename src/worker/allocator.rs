//! Ends a process in order when the system gives it no memory.
//!
//! A worker ends with an exit code of its own. Without it, Rust aborts, and only the text in the log says why. The parent must
//! not decide by a text. A command that opens foreign files says what that most likely means, and every other one names the
//! limit of the process.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::store::{die_of_time_limit, exit, hear_stop_signals, ignore_hangups, prefer_as_oom_victim};

/// What this process does when an allocation fails.
static ON_FAILURE: AtomicU8 = AtomicU8::new(NAME_LIMIT);
const NAME_LIMIT: u8 = 0;
const EXIT_AS_WORKER: u8 = 1;
const BLAME_FILES: u8 = 2;

/// From now on this process hears signals except that of a closed terminal, it ends with [`exit::OUT_OF_MEMORY`] if an allocation fails, it dies at its limit on
/// processor time, and the kernel kills it before others when the machine has no memory left.
pub fn become_worker() {
    prefer_as_oom_victim();
    ignore_hangups();
    hear_stop_signals();
    die_of_time_limit();
    ON_FAILURE.store(EXIT_AS_WORKER, Ordering::Relaxed);
}

/// From now on this process ends as with bad input if an allocation fails. For commands that read foreign files within a limit
/// on memory.
pub fn blame_files_for_lack_of_memory() {
    ON_FAILURE.store(BLAME_FILES, Ordering::Relaxed);
}

/// An allocator that ends the process in order when the inner allocator has no memory.
#[derive(Debug)]
pub struct ExitWithoutMemory<A>(pub A);

impl<A> ExitWithoutMemory<A> {
    fn check(block: *mut u8) -> *mut u8 {
        if block.is_null() {
            match ON_FAILURE.load(Ordering::Relaxed) {
                EXIT_AS_WORKER => exit::out_of_memory(),
                BLAME_FILES => exit::out_of_memory_for_files(),
                _ => exit::out_of_memory_for_command(),
            }
        }
        block
    }
}

// SAFETY: every call is passed to the inner allocator unchanged, and its result is returned unchanged.
unsafe impl<A: GlobalAlloc> GlobalAlloc for ExitWithoutMemory<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        Self::check(unsafe { self.0.alloc(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { self.0.dealloc(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        Self::check(unsafe { self.0.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `realloc`.
        Self::check(unsafe { self.0.realloc(block, layout, size) })
    }
}
