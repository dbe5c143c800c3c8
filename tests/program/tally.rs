//! Counts the faults of a torture run, and what they have cost.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

/// The faults by kind, and the trials that were compared with those of an undisturbed run.
#[derive(Debug, Default)]
pub struct Tally {
    pub faults: BTreeMap<String, usize>,
    pub compared: usize,
    /// Trials without results.
    pub lost: usize,
    /// Trials with other results.
    pub wrong: usize,
}

impl Tally {
    pub fn add(&mut self, kind: &str) {
        *self.faults.entry(kind.to_owned()).or_default() += 1;
    }

    /// Adds the faults that processes have logged for `PLATEAU_FAULTS`.
    pub fn add_log(&mut self, log: &Path) {
        for key in fs::read_to_string(log).unwrap_or_default().lines() {
            self.add(match key {
                "enospc" => "writes refused: disk full",
                "short" => "writes cut in the middle: disk full",
                "eio" => "I/O errors (EIO)",
                "stale" => "stale handles (ESTALE)",
                "einval" => "waits for the disk refused (EINVAL)",
                "exdev" => "hard links refused (EXDEV)",
                "emfile" => "opened files refused (EMFILE)",
                "oom" | "room" => "memory refused",
                "device" => "device errors",
                other => other,
            });
        }
    }

    pub fn merge(&mut self, other: Self) {
        other.faults.into_iter().for_each(|(kind, count)| *self.faults.entry(kind).or_default() += count);
        self.compared += other.compared;
        self.lost += other.lost;
        self.wrong += other.wrong;
    }

    /// Prints a table. `just torture` adds the tables of its parts: each appends its rows to the file `PLATEAU_TORTURE_TABLE`.
    pub fn print(&self, took: Duration) {
        let all: usize = self.faults.values().sum();
        let mut rows: Vec<(&str, usize)> = self.faults.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        rows.extend([
            ("= trials compared", self.compared),
            ("= trials lost", self.lost),
            ("= trials wrong", self.wrong),
        ]);
        let mut table = String::new();
        for (name, count) in rows {
            let _ = writeln!(table, "{name}\t{count}");
        }
        let _ = write!(io::stdout(), "{all} faults in {} s\n{table}", took.as_secs());
        if let Some(file) = std::env::var_os("PLATEAU_TORTURE_TABLE") {
            let added = OpenOptions::new().create(true).append(true).open(file);
            let written = added.and_then(|mut file| file.write_all(table.as_bytes()));
            assert!(written.is_ok(), "{written:?}");
        }
    }
}
