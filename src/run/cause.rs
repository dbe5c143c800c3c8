//! Why an attempt ended without an outcome: what the worker left to say, else what its end looks like, and what the system
//! tells about its memory.

use std::fs;
use std::time::{Duration, Instant};

use super::FILE_SIZE;
use super::machine::{available, total};
use crate::decide::{Evidence, killed};
use crate::event::Failure;
use crate::exec::Exit;
use crate::store::{AttemptDir, exit};

/// Lines of a log that a failure shows.
const TAIL: usize = 20;
/// What the system said of memory so long ago (and up to twice that) is held against what it says now.
const WINDOW: Duration = Duration::from_secs(5);
/// Part of the memory below which services such as earlyoom begin to kill.
const SCARCE: f64 = 0.1;
/// Signals by their numbers on Linux and on macOS.
const ABORT: i32 = 6;
const KILL: i32 = 9;

/// Keeps an eye on what the system says of memory.
#[derive(Debug)]
pub(super) struct MemoryMonitor {
    /// Processes killed for lack of memory since the machine started, at two moments.
    before: Option<u64>,
    lately: Option<u64>,
    turned: Instant,
    was_scarce: bool,
}

impl MemoryMonitor {
    pub(super) fn new() -> Self {
        let kills = kills();
        Self { before: kills, lately: kills, turned: Instant::now(), was_scarce: false }
    }

    /// Looks at the system, a few times a second.
    pub(super) fn look(&mut self) {
        if self.turned.elapsed() >= WINDOW {
            (self.before, self.lately, self.turned) = (self.lately, kills(), Instant::now());
        }
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        self.was_scarce = is_scarce(&meminfo);
    }

    fn evidence(&self) -> Evidence {
        let kernel_killed = self.before.zip(kills()).map(|(before, now)| now > before);
        Evidence { kernel_killed, was_scarce: self.was_scarce }
    }
}

fn is_scarce(meminfo: &str) -> bool {
    available(meminfo).zip(total(meminfo)).is_some_and(|(free, all)| (free as f64) < SCARCE * all as f64)
}

/// Processes that the kernel has killed for lack of memory, those of bounded groups included; None where it does not tell.
fn kills() -> Option<u64> {
    counted(&fs::read_to_string("/proc/vmstat").ok()?)
}

fn counted(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// Why `attempt` has no outcome; it was not killed by this program.
pub(super) fn failure(attempt: &AttemptDir, how: Exit, memory: &MemoryMonitor) -> Failure {
    let tail = || attempt.log_tail(TAIL);
    match (attempt.failure(), how) {
        (Some(Failure::Crashed { message, .. }), _) => Failure::Crashed { message, log_tail: tail() },
        (Some(failure), _) => failure,
        (None, Exit::Signal(KILL)) => killed(memory.evidence(), tail()),
        (None, Exit::Signal(ABORT)) if attempt.was_refused_memory() => Failure::OutOfMemory { log_tail: tail() },
        (None, Exit::Signal(FILE_SIZE)) => {
            let message = format!(
                "{}: a file has grown to the size that this system allows. Raise the limit (ulimit -f), then run the same \
                 command again: what is finished stays finished",
                attempt.path().display()
            );
            Failure::Disk { message }
        }
        (None, Exit::Code(code)) if code == i32::from(exit::DISK) => {
            let message = format!(
                "{}: the disk is full or cannot be written. Free some space or choose another folder with --results, then \
                 run the same command again: what is finished stays finished",
                attempt.path().display()
            );
            Failure::Disk { message }
        }
        (None, Exit::Code(code)) if code == i32::from(exit::DEVICE) => {
            Failure::DeviceFault { message: tail().pop().unwrap_or_default() }
        }
        (None, how) => {
            let message = attempt.panic_message().unwrap_or_else(|| how.to_string());
            Failure::Crashed { message, log_tail: tail() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Results;
    use crate::trial::TrialId;

    #[test]
    fn the_kernels_count_is_read() {
        assert_eq!(counted("pgfault 7\noom_kill 12\noom_kill_other 3\n"), Some(12));
        assert_eq!(counted("pgfault 7\n"), None);
        let meminfo = |free: u64| format!("MemTotal:  1000 kB\nMemAvailable: {free} kB\n");
        assert_eq!([99, 100].map(|free| is_scarce(&meminfo(free))), [true, false]);
        assert!(!is_scarce(""), "nothing is known");
    }

    #[test]
    fn ends_without_a_word_are_told_apart() {
        let calm = MemoryMonitor { before: kills(), lately: None, turned: Instant::now(), was_scarce: false };
        let check = |log: &str, how: Exit, memory: &MemoryMonitor, expected: &str| {
            let folder = tempfile::tempdir().unwrap();
            let dir = Results::new(folder.path()).unwrap().sweep("s").unwrap();
            let attempt = dir.trial(&TrialId::parse("0123456789ab").unwrap()).claim(1).unwrap();
            fs::write(attempt.log(), log).unwrap();
            let said = failure(&attempt, how, memory).to_string().replace(folder.path().to_str().unwrap(), "");
            assert!(said.starts_with(expected), "{said}");
        };
        let out_of_memory = "out of memory: the worker was killed for it, or was given none";
        let backtrace = "   7: main\n".repeat(99);
        let refused = &format!("loading\nmemory allocation of 17 bytes failed\n{backtrace}");
        check(refused, Exit::Signal(6), &calm, out_of_memory);
        check("an assertion failed\n", Exit::Signal(6), &calm, "worker died: signal 6");
        check(refused, Exit::Signal(11), &calm, "worker died: signal 11");
        check("", Exit::Signal(25), &calm, "disk: /s/trials/0123456789ab/attempts/1: a file has grown");
        check("", Exit::Code(3), &calm, "disk: /s/trials/0123456789ab/attempts/1: the disk is full");
        check("gone\n", Exit::Code(4), &calm, "device fault: gone");
        check("", Exit::Code(101), &calm, "worker died: exit code 101");
        if kills().is_some() {
            check("", Exit::Signal(9), &calm, "worker died: killed by somebody else");
        }
        let scarce = MemoryMonitor { was_scarce: true, ..MemoryMonitor::new() };
        check("", Exit::Signal(9), &scarce, out_of_memory);
    }
}
