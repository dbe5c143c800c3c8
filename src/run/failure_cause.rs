//! Why an attempt ended without an outcome: the reason that the worker left, else its exit status, and what the system says
//! about its memory. No decision here reads the text of a message.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use super::machine::{available, total};
use crate::decide::{MemoryEvidence, killed};
use crate::event::Failure;
use crate::exec::ExitStatus;
use crate::store::exit::MemoryLimit;
use crate::store::{AttemptDir, StoreError, exit, time_limit_kills};

/// Lines of the log that a failure shows.
const TAIL: usize = 20;
/// The kernel's count of killed processes is compared with its value so long ago (and up to twice that).
const WINDOW: Duration = Duration::from_secs(5);
/// Part of the memory below which services such as earlyoom begin to kill processes.
const SCARCE: f64 = 0.1;
/// Signal numbers that Linux and macOS share.
const KILL: i32 = 9;
const PROCESSOR_TIME: i32 = 24;
const FILE_SIZE: i32 = 25;

/// Watches what the system says about memory.
#[derive(Debug)]
pub(super) struct MemoryMonitor {
    /// How many processes the kernel had killed for lack of memory, at two moments in the past.
    before: Option<u64>,
    lately: Option<u64>,
    turned: Instant,
    was_scarce: bool,
}

impl MemoryMonitor {
    pub(super) fn new() -> Self {
        let kills = kernel_kills();
        Self { before: kills, lately: kills, turned: Instant::now(), was_scarce: false }
    }

    /// Looks at the system. Called a few times a second.
    pub(super) fn look(&mut self) {
        if self.turned.elapsed() >= WINDOW {
            (self.before, self.lately, self.turned) = (self.lately, kernel_kills(), Instant::now());
        }
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        self.was_scarce = is_scarce(&meminfo);
    }

    fn evidence(&self) -> MemoryEvidence {
        let kernel_killed = self.before.zip(kernel_kills()).map(|(before, now)| now > before);
        MemoryEvidence { kernel_killed, was_scarce: self.was_scarce }
    }
}

fn is_scarce(meminfo: &str) -> bool {
    available(meminfo).zip(total(meminfo)).is_some_and(|(free, all)| (free as f64) < SCARCE * all as f64)
}

/// How many processes the kernel has killed for lack of memory, including those in limited groups. None where it does not
/// count them.
fn kernel_kills() -> Option<u64> {
    oom_kills(&fs::read_to_string("/proc/vmstat").ok()?)
}

fn oom_kills(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// Why `attempt` has no outcome. This program has not killed it.
pub(super) fn failure(attempt: &AttemptDir, status: ExitStatus, memory: &MemoryMonitor) -> Failure {
    const OUT_OF_MEMORY: i32 = exit::OUT_OF_MEMORY as i32;
    const DISK: i32 = exit::DISK as i32;
    const DISK_FULL: i32 = exit::DISK_FULL as i32;
    const DEVICE: i32 = exit::DEVICE as i32;
    const PUBLISHED: i32 = exit::PUBLISHED as i32;
    let tail = || attempt.log_tail(TAIL);
    let folder = attempt.path().display();
    let status = if status == ExitStatus::Signal(KILL) && time_limit_kills() {
        ExitStatus::Signal(PROCESSOR_TIME)
    } else {
        status
    };
    match (attempt.failure(), status) {
        (Some(Failure::Crashed { message, .. }), _) => Failure::Crashed { message, log_tail: tail() },
        (Some(failure), _) => failure,
        (None, ExitStatus::Signal(KILL)) => killed(memory.evidence(), tail()),
        (None, ExitStatus::Code(OUT_OF_MEMORY) | ExitStatus::OutOfMemory) => Failure::OutOfMemory { log_tail: tail() },
        (None, ExitStatus::Signal(PROCESSOR_TIME)) => Failure::Limit {
            message: format!(
                "{folder}: the worker has used the processor time that the limit of this process allows (`ulimit -t`). Raise the \
                 limit, then run the same command again: finished trials stay finished"
            ),
        },
        (None, ExitStatus::Signal(FILE_SIZE)) => Failure::Limit {
            message: format!(
                "{folder}: a file has reached the largest size that the limit of this process allows (`ulimit -f`). Raise the \
                 limit, then run the same command again: finished trials stay finished"
            ),
        },
        (None, ExitStatus::Code(DISK)) => Failure::Disk {
            message: format!(
                "{folder}: the disk cannot be written. Make the folder writable or choose another one with --results, then run \
                 the same command again: finished trials stay finished"
            ),
        },
        (None, ExitStatus::Code(DISK_FULL)) => {
            // There may be no space left, or no inodes.
            Failure::DiskFull { message: StoreError::at(attempt.path())(io::ErrorKind::StorageFull.into()).to_string() }
        }
        (None, ExitStatus::Code(DEVICE)) => Failure::DeviceFault { message: tail().pop().unwrap_or_default() },
        (None, ExitStatus::Code(PUBLISHED)) => Failure::FilesVanished {
            message: format!("the worker has published its outcome, but {folder} and the trial around it lack files"),
        },
        (None, status) => {
            let message = attempt.panic_message().unwrap_or_else(|| status.to_string());
            Failure::Crashed { message, log_tail: tail() }
        }
    }
}

/// The last failure of a trial. If a process without memory has a limit on it, the limit is to blame, and not the trial: an attempt
/// with more may succeed.
pub(super) fn blame_limit(failure: Failure, limit: Option<MemoryLimit>) -> Failure {
    match (failure, limit) {
        (Failure::OutOfMemory { .. }, Some(limit)) => Failure::Limit {
            message: format!(
                "a worker got too little memory, also with no other trial beside it: {limit}. Raise the limit, then run the same \
                 command again: finished trials stay finished"
            ),
        },
        (failure, _) => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Results;
    use crate::trial::TrialId;

    #[test]
    fn the_counts_of_the_kernel_are_read() {
        assert_eq!(oom_kills("pgfault 7\noom_kill 12\noom_kill_other 3\n"), Some(12));
        assert_eq!(oom_kills("pgfault 7\n"), None);
        let meminfo = |free: u64| format!("MemTotal:  1000 kB\nMemAvailable: {free} kB\n");
        assert_eq!([99, 100].map(|free| is_scarce(&meminfo(free))), [true, false]);
        assert!(!is_scarce(""), "nothing is known");
    }

    #[test]
    fn a_limit_on_memory_is_blamed_instead_of_the_trial() {
        let out_of_memory = || Failure::OutOfMemory { log_tail: Vec::new() };
        assert_eq!(blame_limit(out_of_memory(), None), out_of_memory());
        assert!(
            matches!(blame_limit(out_of_memory(), Some(MemoryLimit::Data(7))), Failure::Limit { message } if message.contains("7 KiB (`ulimit -d`)"))
        );
        let fault = Failure::DeviceFault { message: "gone".into() };
        assert_eq!(blame_limit(fault.clone(), Some(MemoryLimit::AddressSpace(7))), fault);
    }

    #[test]
    fn the_exit_status_decides_and_not_the_text_of_the_log() {
        let calm = MemoryMonitor { before: kernel_kills(), lately: None, turned: Instant::now(), was_scarce: false };
        let check = |log: &str, status: ExitStatus, memory: &MemoryMonitor, expected: &str| {
            let folder = tempfile::tempdir().unwrap();
            let dir = Results::new(folder.path()).unwrap().sweep("s").unwrap();
            let attempt = dir.trial(&TrialId::parse("0123456789ab").unwrap()).claim(1).unwrap();
            fs::write(attempt.log(), log).unwrap();
            let text = failure(&attempt, status, memory).to_string().replace(folder.path().to_str().unwrap(), "");
            assert!(text.starts_with(expected), "{text}");
        };
        let out_of_memory = "out of memory: the system killed the worker or gave it no memory";
        check("", ExitStatus::Code(5), &calm, out_of_memory);
        check("", ExitStatus::OutOfMemory, &calm, out_of_memory);
        check("memory allocation of 17 bytes failed\n", ExitStatus::Signal(6), &calm, "worker died: signal 6");
        check(
            "",
            ExitStatus::Signal(24),
            &calm,
            "limit: /s/trials/0123456789ab/attempts/1: the worker has used the processor",
        );
        check("", ExitStatus::Signal(25), &calm, "limit: /s/trials/0123456789ab/attempts/1: a file has reached");
        check("", ExitStatus::Code(3), &calm, "disk: /s/trials/0123456789ab/attempts/1: the disk cannot be written");
        check("", ExitStatus::Code(6), &calm, "disk: /s/trials/0123456789ab/attempts/1: the disk is full");
        check("gone\n", ExitStatus::Code(4), &calm, "device fault: gone");
        check("", ExitStatus::Code(0), &calm, "files vanished: the worker has published");
        check("", ExitStatus::Code(101), &calm, "worker died: exit code 101");
        if kernel_kills().is_some() {
            check("", ExitStatus::Signal(9), &calm, "worker died: killed by another process");
        }
        let scarce = MemoryMonitor { was_scarce: true, ..MemoryMonitor::new() };
        check("", ExitStatus::Signal(9), &scarce, out_of_memory);
    }
}
