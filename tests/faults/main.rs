//! Faults of known cause: trains the embedded model on real tweets with one thing wrong, and counts how often the primary
//! verdict names it.
//!
//! `just faults` runs it all (it continues where it was stopped) and prints the confusion matrix over the variants that no
//! threshold was set with; `just faults dev` does so with the others. The curves are judged anew each time, by the rules as
//! they are now. A plain `cargo test` only checks that every sweep of the generator can be planned.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::disallowed_methods, reason = "makes files of its own")]

mod material;
mod matrix;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use table::{FAULTS, Half};

/// Where everything lies: under `target`, so that a second call continues.
fn home() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults")
}

fn plateau() -> Command {
    Command::new(env!("CARGO_BIN_EXE_plateau"))
}

/// The sweep files of a half, written, in the order of the table.
fn sweeps(half: Half) -> Vec<PathBuf> {
    let (folder, data) = (home().join(half.name()), home().join("data"));
    fs::create_dir_all(&folder).unwrap();
    let write = |fault: &table::Fault| {
        let path = folder.join(fault.folder()).with_extension("yaml");
        fs::write(&path, fault.sweep(half, &data.display().to_string())).unwrap();
        path
    };
    FAULTS.iter().map(write).collect()
}

fn results(half: Half) -> PathBuf {
    home().join(half.name()).join("results")
}

/// Trains what is missing of a half, as many sweeps at a time as there are cores, each with one trial at a time.
fn train(half: Half) {
    let (sweeps, next) = (sweeps(half), AtomicUsize::new(0));
    let lanes = std::env::var("PLATEAU_FAULTS_LANES").ok().and_then(|lanes| lanes.parse().ok());
    let lanes = lanes.unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into));
    thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                while let Some(sweep) = sweeps.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let ended = plateau()
                        .args(["run", "--jobs", "1", "--threads", "1", "--progress", "none", "-q", "--results"])
                        .arg(results(half))
                        .arg(sweep)
                        .output()
                        .unwrap();
                    assert!(ended.status.success(), "{}: {}", sweep.display(), String::from_utf8_lossy(&ended.stderr));
                    eprintln!("{}", sweep.file_stem().unwrap().display());
                }
            });
        }
    });
}

#[test]
fn every_fault_can_be_planned() {
    material::make(&home().join("data"));
    for sweep in sweeps(Half::Dev).iter().chain(&sweeps(Half::Test)) {
        let ended = plateau().args(["plan", "--format", "csv"]).arg(sweep).output().unwrap();
        assert!(ended.status.success(), "{}: {}", sweep.display(), String::from_utf8_lossy(&ended.stderr));
        let trials = String::from_utf8(ended.stdout).unwrap().lines().count() - 1;
        assert!(trials == 5 || trials == 6, "{}: {trials} trials", sweep.display());
    }
}

#[test]
#[ignore = "trains hundreds of models: `just faults`"]
fn the_cause_is_named() {
    let half = if std::env::var("PLATEAU_FAULTS").is_ok_and(|half| half == "dev") { Half::Dev } else { Half::Test };
    material::make(&home().join("data"));
    if std::env::var_os("PLATEAU_FAULTS_JUDGE").is_none() {
        train(half);
    }
    println!("{}", matrix::matrix(&results(half)));
}
