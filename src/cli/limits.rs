//! What opening foreign files may take.

use std::thread;

use serde::{Deserialize, Serialize};

/// Processor time for any source. Opening a checkpoint of 100 MB takes less than a second.
const SECONDS: u64 = 10;
/// Further processor time: a second for so many bytes of a checkpoint, and for so many bytes of texts. A tokenizer is at
/// least twenty times as fast.
const CHECKPOINT_BYTES_PER_SECOND: u64 = 10_000_000;
const TEXT_BYTES_PER_SECOND: u64 = 50_000;
/// Address space of the program itself, and more for each processor (the stack and the heap of a thread).
const MEMORY: u64 = 2 << 30;
const MEMORY_PER_PROCESSOR: u64 = 256 << 20;
/// Further address space for each byte of a checkpoint, and for each byte of data files, which may be compressed.
const MEMORY_PER_CHECKPOINT_BYTE: u64 = 8;
const MEMORY_PER_TEXT_BYTE: u64 = 200;

/// Processor time and memory of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Limits {
    /// Seconds of processor time. None: any number.
    pub seconds: Option<u64>,
    /// Bytes of address space.
    pub memory: u64,
}

impl Limits {
    /// What a process needs before it opens anything.
    pub(super) fn start() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from) as u64;
        Self { seconds: Some(0), memory: MEMORY + processors * MEMORY_PER_PROCESSOR }
    }

    /// What opening files of these sizes may take in addition, in bytes.
    pub(super) fn of_files(checkpoints: u64, texts: u64) -> Self {
        let seconds = SECONDS + checkpoints / CHECKPOINT_BYTES_PER_SECOND + texts / TEXT_BYTES_PER_SECOND;
        let checkpoints = checkpoints.saturating_mul(MEMORY_PER_CHECKPOINT_BYTE);
        let memory = checkpoints.saturating_add(texts.saturating_mul(MEMORY_PER_TEXT_BYTE));
        Self { seconds: Some(seconds), memory }
    }

    /// Both together.
    pub(super) fn with(self, more: Self) -> Self {
        let seconds = self.seconds.zip(more.seconds).map(|(before, more)| before.saturating_add(more));
        Self { seconds, memory: self.memory.saturating_add(more.memory) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_files_may_take_more() {
        assert_eq!(Limits::of_files(0, 0), Limits { seconds: Some(SECONDS), memory: 0 });
        assert_eq!(Limits::of_files(20_000_000, 0), Limits { seconds: Some(SECONDS + 2), memory: 160_000_000 });
        assert_eq!(Limits::of_files(u64::MAX, u64::MAX).memory, u64::MAX);
        let any_time = Limits { seconds: None, ..Limits::start() };
        assert_eq!(any_time.with(Limits::of_files(0, 0)).seconds, None);
    }
}
