//! Faults of known cause: trains the embedded model on real tweets with one thing wrong, and counts how often the primary
//! verdict names it.
//!
//! `just faults` trains all variants and prints, for each part, the injected faults against the primary verdicts. A second call
//! continues where the first was stopped. `just faults test` does one part (`dev`, `test`, `twice`, `imbalanced-dev`,
//! `imbalanced-test`); `just faults probes` does `test` and probes what plateaued in it; `just faults judge` trains nothing and
//! counts the runs that have ended. The thresholds were set on the parts `dev`, never on the parts `test`. Each call judges the
//! curves again, by the rules as they are. A plain `cargo test` checks that every sweep can be planned, and trains a sample of
//! two runs.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]
#![expect(clippy::disallowed_methods, reason = "makes files of its own")]
#![expect(clippy::print_stdout, reason = "says how far it is, and what came out")]

mod material;
mod matrix;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use plateau::spec::parse;
use table::{FREQUENCIES, Part};

/// Where everything is written: under `target`, so that a second call continues.
fn home() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults")
}

fn results(part: Part) -> PathBuf {
    home().join(part.name()).join("results")
}

fn plateau() -> Command {
    Command::new(env!("CARGO_BIN_EXE_plateau"))
}

/// Writes the sweep files of a part, in the order of the table, and returns their paths.
fn sweeps(part: Part) -> Vec<PathBuf> {
    let (folder, data) = (home().join(part.name()), home().join("data"));
    fs::create_dir_all(&folder).unwrap();
    let write = |fault: &table::Fault| {
        let path = folder.join(fault.folder()).with_extension("yaml");
        fs::write(&path, fault.sweep(part, &data.display().to_string())).unwrap();
        path
    };
    part.faults().map(write).collect()
}

/// Trains what is missing of these parts, or probes what plateaued in them. There are as many sweeps at a time as cores, and each
/// trains one trial at a time.
fn train(parts: &[Part], what: What) {
    let sweeps: Vec<(Part, PathBuf)> =
        parts.iter().flat_map(|&part| sweeps(part).into_iter().map(move |path| (part, path))).collect();
    let (next, cores) = (AtomicUsize::new(0), thread::available_parallelism().map_or(1, Into::into));
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some((part, sweep)) = sweeps.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run(what, sweep, &results(*part));
                    println!("{}: {} {}", what.done(), part.name(), sweep.file_stem().unwrap().display());
                }
            });
        }
    });
}

/// Trains or probes one sweep on one thread, with its results below `results`.
fn run(what: What, sweep: &Path, results: &Path) {
    let mut run = plateau();
    match what {
        What::Trials => run.args(["run", "--progress", "none", "-q"]),
        What::Probes => run.arg("probe"),
    };
    run.args(["--jobs", "1", "--threads", "1", "--results"]);
    let ended = run.arg(results).arg(sweep).output().unwrap();
    let message = String::from_utf8_lossy(&ended.stderr);
    let nothing_to_probe = what == What::Probes && message.contains("nothing to probe");
    assert!(ended.status.success() || nothing_to_probe, "{}: {message}", sweep.display());
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Trials,
    Probes,
}

impl What {
    fn done(self) -> &'static str {
        match self {
            Self::Trials => "trained",
            Self::Probes => "probed",
        }
    }
}

/// The trials of all faults of a part are planned together, so that each data file is read once.
#[test]
fn every_fault_can_be_planned() {
    let data = home().join("data");
    material::make(&data);
    // The parts `dev` hold the same faults with other seeds.
    for part in [Part::Test, Part::Twice, Part::ImbalancedTest] {
        let mut wanted = 0;
        for path in sweeps(part) {
            let text = fs::read_to_string(&path).unwrap();
            let sweep =
                parse(&path.display().to_string(), "sweep", &text, &[]).unwrap_or_else(|error| panic!("{error}"));
            assert!(sweep.size() >= 2, "{}: {} trials", path.display(), sweep.size());
            wanted += sweep.size();
        }
        let together = home().join(part.name()).join("together.yaml");
        fs::write(&together, part.sweep_of_all(&data.display().to_string())).unwrap();
        let ended = plateau().args(["plan", "--format", "csv"]).arg(&together).output().unwrap();
        let message = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{message}");
        // A line for the header, and one for the trial without any change.
        let planned = String::from_utf8(ended.stdout).unwrap().lines().count() - 2;
        assert_eq!(planned as u128, wanted, "{message}");
    }
}

/// `just faults` sets `PLATEAU_FAULT_RUNS` to the parts that are trained. Without it a sample is.
#[test]
fn the_cause_is_named() {
    match std::env::var("PLATEAU_FAULT_RUNS") {
        Ok(wanted) => print_matrices(&wanted),
        Err(_) => check_sample(),
    }
}

/// Trains two runs of a fault that leaves a clear trace. Both verdicts are right.
fn check_sample() {
    let results = tempfile::tempdir().unwrap();
    for sweep in sweeps(Part::Sample) {
        run(What::Trials, &sweep, results.path());
    }
    let (right, wrong) = matrix::right_and_wrong(results.path(), Part::Sample);
    assert!(right == 2 && wrong.is_empty(), "{right} right, wrong are:\n{}", wrong.join("\n"));
}

fn print_matrices(wanted: &str) {
    let (all, probes, judge) = (wanted == "all", wanted == "probes", wanted == "judge");
    let is_wanted = |part: &Part| all || judge || wanted == part.name() || (probes && *part == Part::Test);
    let parts: Vec<Part> = Part::ALL.into_iter().filter(is_wanted).collect();
    assert!(!parts.is_empty(), "PLATEAU_FAULT_RUNS is all, probes, judge or the name of a part, not {wanted}");
    if !judge {
        material::make(&home().join("data"));
        train(&parts, What::Trials);
    }
    if all || probes {
        train(&[Part::Test], What::Probes);
    }
    for part in parts {
        let count = |classes| matrix::matrix(&results(part), part, classes);
        match part {
            Part::Sample => {}
            Part::Dev => println!("\nVariants on which thresholds were set:\n\n{}", count(None)),
            Part::Test => {
                println!("\nVariants that no threshold was set on:\n\n{}", count(None));
                println!("\nThe probed variants among them:\n\n{}", matrix::probed(&results(part)));
            }
            Part::Twice => println!("\n{}", matrix::continued(&results(part))),
            Part::ImbalancedDev | Part::ImbalancedTest => {
                for (name, counts) in FREQUENCIES {
                    println!("\n{}, class frequencies {name}:\n\n{}", part.name(), count(Some(counts.len())));
                }
            }
        }
    }
}
