//! Ends a worker with an exit code of its own when the system gives it no memory.
//!
//! Without this, Rust aborts, and only the text in the log says why. The parent must not decide by a text.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::{exit, prefer_as_oom_victim};

/// Whether this process is a worker. The parent handles a failed allocation as usual.
static IS_WORKER: AtomicBool = AtomicBool::new(false);

/// From now on this process ends with [`exit::OUT_OF_MEMORY`] if an allocation fails, and the kernel kills it before others
/// when the machine has no memory left.
pub fn become_worker() {
    prefer_as_oom_victim();
    IS_WORKER.store(true, Ordering::Relaxed);
}

/// An allocator that ends a worker when the inner allocator has no memory.
#[derive(Debug)]
pub struct ExitWithoutMemory<A>(pub A);

impl<A> ExitWithoutMemory<A> {
    fn check(block: *mut u8) -> *mut u8 {
        if block.is_null() && IS_WORKER.load(Ordering::Relaxed) {
            exit::out_of_memory();
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
