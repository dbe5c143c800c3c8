//! A thousand toys whose parent is killed many times, on a disk that sometimes fails: the results equal those of an
//! undisturbed run. `just torture` runs ten thousand (`PLATEAU_TORTURE_TOYS`).

use std::process::{Command, Stdio};

use super::*;

const FOLDER: &str = "PLATEAU_TEST_TOYS_IN";
const TOYS: &str = "PLATEAU_TORTURE_TOYS";
/// A few faults in each run.
const FAULTS: &str = "enospc=0.0001,short=0.0001,eio=0.0003";
/// Number of disturbed runs. Each runs longer than the one before, for slow machines.
const DISTURBED: u64 = 10;

fn toys() -> usize {
    std::env::var(TOYS).ok().and_then(|toys| toys.parse().ok()).unwrap_or(1000)
}

fn bench() -> Bench {
    let mut bench = Bench::new(&vec!["fine"; toys()]);
    (bench.config.checkpoint_every, bench.config.retries) = (CheckpointEvery::Steps(1000), 5);
    bench.retry_failed = true;
    bench
}

/// The parent that is killed, with its results in the folder of this variable.
#[test]
fn helper_parent_of_many() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let mut bench = bench();
        bench.results = Results::new(Path::new(&folder)).unwrap();
        let code = match bench.run_with(&mut Watch::default()) {
            Ok(summary) => summary.exit_code(),
            Err(error) => error.exit_code(),
        };
        std::process::exit(code.into());
    }
}

/// Disturbs a run. Returns its exit code, or None if it was killed.
fn disturb(folder: &Path, number: u64, log: &Path) -> Option<i32> {
    let faults = format!("{FAULTS},seed={number},log={}", log.display());
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["run::tests::torture::helper_parent_of_many", "--exact"])
        .env(FOLDER, folder)
        .env("PLATEAU_FAULTS", if number.is_multiple_of(2) { faults } else { String::new() })
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_millis(300 + 200 * number + 97 * (number % 5));
    while Instant::now() < end {
        if let Some(ended) = parent.try_wait().unwrap() {
            return ended.code();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    parent.kill().unwrap();
    parent.wait().unwrap().code()
}

#[test]
fn a_thousand_toys_survive_torture() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let (mut killed, start) = (0, Instant::now());
    let tortured = bench();
    for number in 0..DISTURBED {
        match disturb(tortured.results.path(), number, log.path()) {
            None => killed += 1,
            Some(code) => assert!([0, 1, 3].contains(&code), "exit code {code}"),
        }
    }
    let summary = tortured.run();
    assert_eq!((summary.finished, summary.left), (toys(), 0), "{:?}", summary.failed);
    let faults = fs::read_to_string(log.path()).unwrap().lines().count();
    println!("{} toys, {killed} parents killed, {faults} faults of the disk, {:?}", toys(), start.elapsed());
    let mut ended = HashMap::new();
    for record in read_journal(&tortured.dir().journal()).unwrap().records {
        if let Event::TrialFinished { trial, .. } = record.event {
            *ended.entry(trial).or_insert(0) += 1;
        }
    }
    assert!(ended.len() == toys() && ended.values().all(|times| *times == 1), "each trial ends once");
    let mut undisturbed = bench();
    // In memory if possible: the disk is slow and not part of this test any more.
    let memory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    undisturbed.results = Results::new(memory.path()).unwrap();
    undisturbed.run();
    assert!(tortured.curves() == undisturbed.curves());
    let tables = [&tortured, &undisturbed].map(|bench| fs::read_to_string(bench.dir().trials_csv()).unwrap());
    assert_eq!(tables[0].lines().count(), toys() + 1);
    assert!(tables[0] == tables[1]);
}
