//! Faults on purpose, for tests alone: `PLATEAU_FAULTS="seed=7,enospc=0.01,eio=0.01"` in the environment of a run.
//!
//! | key | what happens, with this probability at each occasion |
//! |---|---|
//! | `enospc` | a write, a rename, a new folder: the disk is full |
//! | `short` | half of a write is done, then the disk is full |
//! | `eio` | a read, or waiting for the disk: an input/output error |
//! | `oom` | a training step is given no memory |
//! | `device` | an attempt meets a fault of its device; `slot=N`: on this slot alone |
//!
//! `room=N`: a trainer is given no memory for micro-batches of more than N tokens. `seed=N` makes other faults; each
//! process has its own. `log=PATH`: the name of every fault is appended there as a line. What cannot be read is passed over,
//! as is everything where the variable is not set.

use std::alloc::{Layout, handle_alloc_error};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The faults that this process is to meet.
static FAULTS: LazyLock<Option<Faults>> =
    LazyLock::new(|| std::env::var("PLATEAU_FAULTS").ok().map(|text| Faults::parse(&text, process::id())));

/// Codes of the system for a full disk and for an error of the disk itself.
const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// What may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strike {
    Read,
    Write,
    /// In the middle of a write.
    Half,
}

#[derive(Debug, Default)]
struct Faults {
    enospc: f64,
    short: f64,
    eio: f64,
    oom: f64,
    device: f64,
    slot: Option<usize>,
    room: Option<usize>,
    log: Option<PathBuf>,
    seed: u64,
    drawn: AtomicU64,
}

/// An error in place of an operation, if it is its turn.
pub(super) fn strike(what: Strike) -> io::Result<()> {
    FAULTS.as_ref().map_or(Ok(()), |faults| faults.strike(what))
}

/// Ends the process as a refusal of memory does, if it is a step's turn.
pub fn strike_step() {
    if FAULTS.as_ref().is_some_and(|faults| faults.draws(faults.oom, "oom")) {
        handle_alloc_error(Layout::new::<u64>());
    }
}

/// Likewise at the start of a training whose micro-batches hold so many tokens.
pub fn strike_training(tokens: usize) {
    if let Some(faults) = FAULTS.as_ref().filter(|faults| faults.room.is_some_and(|room| tokens > room)) {
        faults.note("room");
        handle_alloc_error(Layout::new::<u64>());
    }
}

/// What the device of a slot says, if it is its turn to fail.
#[must_use]
pub fn strike_device(slot: usize) -> Option<&'static str> {
    let faults = FAULTS.as_ref().filter(|faults| faults.slot.is_none_or(|only| only == slot))?;
    faults.draws(faults.device, "device").then_some("a fault on purpose")
}

impl Faults {
    fn parse(text: &str, process: u32) -> Self {
        let mut faults = Self::default();
        for (key, value) in text.split(',').filter_map(|part| part.split_once('=')) {
            let share = || value.parse().unwrap_or_default();
            match key.trim() {
                "enospc" => faults.enospc = share(),
                "short" => faults.short = share(),
                "eio" => faults.eio = share(),
                "oom" => faults.oom = share(),
                "device" => faults.device = share(),
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

    fn strike(&self, what: Strike) -> io::Result<()> {
        let (share, name, code) = match what {
            Strike::Read => (self.eio, "eio", EIO),
            Strike::Write => (self.enospc, "enospc", ENOSPC),
            Strike::Half => (self.short, "short", ENOSPC),
        };
        if self.draws(share, name) { Err(io::Error::from_raw_os_error(code)) } else { Ok(()) }
    }

    fn draws(&self, share: f64, name: &str) -> bool {
        let number = mixed(self.seed.wrapping_add(self.drawn.fetch_add(1, Ordering::Relaxed)));
        let struck = ((number >> 11) as f64) < share * (1_u64 << 53) as f64;
        if struck {
            self.note(name);
        }
        struck
    }

    fn note(&self, name: &str) {
        let line = || -> io::Result<()> {
            let Some(log) = &self.log else { return Ok(()) };
            OpenOptions::new().create(true).append(true).open(log)?.write_all(format!("{name}\n").as_bytes())
        };
        // A test that counts will miss it.
        let _ = line();
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): neighbours give numbers that have nothing to do with each other.
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
    fn faults_come_as_often_as_was_asked_for_and_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("faults");
        let text = format!("seed=7,enospc=0.25,eio=0,short=1,nonsense,slot=x,log={}", log.display());
        let faults = Faults::parse(&text, 1);
        let struck = (0..1000).filter(|_| faults.strike(Strike::Write).is_err()).count();
        assert!((200..300).contains(&struck), "{struck}");
        assert!((0..1000).all(|_| faults.strike(Strike::Read).is_ok()));
        assert_eq!(faults.strike(Strike::Half).unwrap_err().kind(), io::ErrorKind::StorageFull);
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
        assert!(strike(Strike::Half).is_ok() && strike_device(0).is_none());
        strike_step();
        strike_training(usize::MAX);
    }
}
