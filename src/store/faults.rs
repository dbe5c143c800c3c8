//! Fault injection for tests: `PLATEAU_FAULTS="seed=7,enospc=0.01,eio=0.01"` in the environment of a run. Only builds with
//! the cargo feature `faults` hold this module.
//!
//! | key | what happens at each occasion, with this probability |
//! |---|---|
//! | `enospc` | a write, a rename or a new folder fails: the disk is full |
//! | `short` | half of the bytes are written, then the disk is full |
//! | `eio` | a read or a wait for the disk fails with an I/O error |
//! | `stale` | an operation that is tried again fails with a stale handle |
//! | `einval` | the file system cannot wait for the disk |
//! | `exdev` | the file system has no hard links |
//! | `emfile` | the process has too many open files |
//! | `oom` | a training step gets no memory |
//! | `device` | the device of an attempt fails; `slot=N`: only on this slot |
//!
//! `room=N`: micro-batches of more than N tokens get no memory. `seed=N` selects other faults; every process draws its own.
//! `flock=0`: the file system has no locks. `broken=NAME`: a file whose path contains NAME can be neither opened nor replaced.
//! `log=PATH`: the name of every fault is appended to this file as a line. Unknown keys are ignored.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use super::exit;

/// The faults of this process.
static FAULTS: LazyLock<Option<Faults>> =
    LazyLock::new(|| std::env::var("PLATEAU_FAULTS").ok().map(|text| Faults::parse(&text, process::id())));

/// An operation that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    Write,
    /// Fails in the middle of a write.
    HalfWrite,
    /// An operation that is tried again when it fails in passing.
    Retried,
    Open,
    Link,
    /// A wait for the disk.
    Sync,
    Lock,
}

#[derive(Debug, Default)]
struct Faults {
    enospc: f64,
    short: f64,
    eio: f64,
    stale: f64,
    einval: f64,
    exdev: f64,
    emfile: f64,
    has_no_locks: bool,
    broken: Option<String>,
    oom: f64,
    device: f64,
    slot: Option<usize>,
    room: Option<usize>,
    log: Option<PathBuf>,
    seed: u64,
    drawn: AtomicU64,
}

/// An error in place of `operation`, if it is drawn.
pub(super) fn fail(operation: Operation) -> io::Result<()> {
    FAULTS.as_ref().map_or(Ok(()), |faults| faults.fail(operation))
}

/// An error in place of opening or replacing the file at `path`, if it is broken.
pub(super) fn fail_path(path: &Path) -> io::Result<()> {
    FAULTS.as_ref().map_or(Ok(()), |faults| faults.fail_path(path))
}

/// Ends the process as if a training step got no memory, if that is drawn.
pub fn fail_step() {
    if FAULTS.as_ref().is_some_and(|faults| faults.draws(faults.oom, "oom")) {
        exit::out_of_memory();
    }
}

/// Ends the process in the same way if micro-batches of so many tokens have no room.
pub fn fail_training(tokens: usize) {
    if let Some(faults) = FAULTS.as_ref().filter(|faults| faults.room.is_some_and(|room| tokens > room)) {
        faults.note("room");
        exit::out_of_memory();
    }
}

/// The error of the device of a slot, if one is drawn.
#[must_use]
pub fn fail_device(slot: usize) -> Option<&'static str> {
    let faults = FAULTS.as_ref().filter(|faults| faults.slot.is_none_or(|only| only == slot))?;
    faults.draws(faults.device, "device").then_some("injected fault")
}

impl Faults {
    fn parse(text: &str, process: u32) -> Self {
        let mut faults = Self::default();
        for (key, value) in text.split(',').filter_map(|part| part.split_once('=')) {
            let probability = || value.parse().unwrap_or_default();
            match key.trim() {
                "enospc" => faults.enospc = probability(),
                "short" => faults.short = probability(),
                "eio" => faults.eio = probability(),
                "stale" => faults.stale = probability(),
                "einval" => faults.einval = probability(),
                "exdev" => faults.exdev = probability(),
                "emfile" => faults.emfile = probability(),
                "broken" => faults.broken = Some(value.to_owned()),
                "flock" => faults.has_no_locks = value == "0",
                "oom" => faults.oom = probability(),
                "device" => faults.device = probability(),
                "slot" => faults.slot = value.parse().ok(),
                "room" => faults.room = value.parse().ok(),
                "log" => faults.log = Some(value.into()),
                "seed" => faults.seed = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        faults.seed = mixed(faults.seed ^ u64::from(process) << 32);
        faults
    }

    fn fail(&self, operation: Operation) -> io::Result<()> {
        let (share, name, code) = match operation {
            Operation::Read => (self.eio, "eio", Errno::IO),
            Operation::Write => (self.enospc, "enospc", Errno::NOSPC),
            Operation::HalfWrite => (self.short, "short", Errno::NOSPC),
            Operation::Retried => (self.stale, "stale", Errno::STALE),
            Operation::Sync => (self.einval, "einval", Errno::INVAL),
            Operation::Link => (self.exdev, "exdev", Errno::XDEV),
            Operation::Open => (self.emfile, "emfile", Errno::MFILE),
            Operation::Lock if self.has_no_locks => return Err(Errno::NOSYS.into()),
            Operation::Lock => return Ok(()),
        };
        if self.draws(share, name) { Err(code.into()) } else { Ok(()) }
    }

    fn fail_path(&self, path: &Path) -> io::Result<()> {
        let is_broken = self.broken.as_ref().is_some_and(|name| path.to_string_lossy().contains(name));
        if is_broken { Err(Errno::IO.into()) } else { Ok(()) }
    }

    fn draws(&self, share: f64, name: &str) -> bool {
        let number = mixed(self.seed.wrapping_add(self.drawn.fetch_add(1, Ordering::Relaxed)));
        let drawn = ((number >> 11) as f64) < share * (1_u64 << 53) as f64;
        if drawn {
            self.note(name);
        }
        drawn
    }

    fn note(&self, name: &str) {
        let line = || -> io::Result<()> {
            let Some(log) = &self.log else { return Ok(()) };
            OpenOptions::new().create(true).append(true).open(log)?.write_all(format!("{name}\n").as_bytes())
        };
        // A test that counts faults will notice.
        let _ = line();
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): neighbouring inputs give unrelated numbers.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_have_the_given_probability_and_are_logged() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("faults");
        let text = format!("seed=7,enospc=0.25,eio=0,short=1,nonsense,slot=x,log={}", log.display());
        let faults = Faults::parse(&text, 1);
        let struck = (0..1000).filter(|_| faults.fail(Operation::Write).is_err()).count();
        assert!((200..300).contains(&struck), "{struck}");
        assert!((0..1000).all(|_| faults.fail(Operation::Read).is_ok() && faults.fail(Operation::Lock).is_ok()));
        assert!(Faults::parse("flock=0", 1).fail(Operation::Lock).is_err());
        let broken = Faults::parse("broken=newest", 1);
        assert_eq!(["/a/newest.json", "/a/b"].map(|path| broken.fail_path(Path::new(path)).is_ok()), [false, true]);
        assert_eq!(faults.fail(Operation::HalfWrite).unwrap_err().kind(), io::ErrorKind::StorageFull);
        let lines = std::fs::read_to_string(&log).unwrap();
        assert_eq!(lines.lines().filter(|line| *line == "enospc").count(), struck);
        assert_eq!(lines.lines().last(), Some("short"));
        let of = |seed: u64, process: u32| Faults::parse(&format!("seed={seed}"), process).seed;
        assert_ne!(of(7, 1), of(7, 2));
        assert_ne!(of(7, 1), of(8, 1));
        assert_eq!((faults.slot, faults.room), (None, None));
    }

    #[test]
    fn without_the_variable_nothing_fails() {
        assert!(FAULTS.is_none(), "tests in this process rely on the disk");
        assert!(fail(Operation::HalfWrite).is_ok() && fail_device(0).is_none());
        fail_step();
        fail_training(usize::MAX);
    }
}
