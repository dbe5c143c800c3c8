//! Many toys whose parent is killed, whose disk sometimes fails, and whose results are deleted and damaged meanwhile: in the end
//! they equal those of an undisturbed run.
//!
//! Takes some seconds; `just torture` takes longer (`PLATEAU_TORTURE_SECONDS`) and ten times as many toys
//! (`PLATEAU_TORTURE_TOYS`). A failure prints its seed; set it as `PLATEAU_TORTURE_SEED` to repeat the run.

use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::dice::{Dice, setting};

const FOLDER: &str = "PLATEAU_TEST_TOYS_IN";
/// Errors that pass when the operation is tried again are frequent; a full disk stops the sweep for a second.
const FAULTS: &str = "enospc=0.0001,short=0.0001,eio=0.001";
/// Number of disturbed runs of each sweep. Each runs longer than the one before, for slow machines.
const DISTURBED: u64 = 10;

fn toys() -> usize {
    setting("PLATEAU_TORTURE_TOYS").unwrap_or(300) as usize
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

/// The number of faults of each kind, and the trials that had to be trained again.
#[derive(Default)]
struct Tally {
    faults: BTreeMap<String, usize>,
    damaged: HashSet<TrialId>,
}

impl Tally {
    fn add(&mut self, kind: &str) {
        *self.faults.entry(kind.to_owned()).or_default() += 1;
    }
}

/// Does to a trial, running or ended, what people and other programs do. Nothing is added to its curves: what is added to those of
/// an ended trial stays there.
fn damage(bench: &Bench, dice: &mut Dice, tally: &mut Tally) {
    const LOCKS: &str = "locks deleted";
    let id = &bench.plan.trials[dice.below(toys() as u64) as usize].id;
    let trial = bench.dir().trial(id);
    // A file may go away between the look and the call.
    let (kind, done) = match dice.below(4) {
        0 => ("folders of trials deleted", fs::remove_dir_all(trial.path())),
        1 => ("curves deleted", fs::remove_file(trial.metrics())),
        2 => ("outcomes deleted", fs::remove_file(trial.path().join("outcome.json"))),
        _ => (LOCKS, fs::remove_file(bench.dir().path().join(".lock"))),
    };
    if done.is_ok() {
        tally.add(kind);
        if kind != LOCKS {
            tally.damaged.insert(id.clone());
        }
    }
}

/// Runs the sweep in a process of its own and disturbs it. Every second run has a disk that fails.
fn disturb(bench: &Bench, number: u64, dice: &mut Dice, tally: &mut Tally) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let faults = format!("{FAULTS},seed={},log={}", dice.below(1 << 30), log.path().display());
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["run::tests::torture::helper_parent_of_many", "--exact"])
        .env(FOLDER, bench.results.path())
        .env("PLATEAU_FAULTS", if number.is_multiple_of(2) { faults } else { String::new() })
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_millis(300 + 200 * number + dice.below(400));
    let ended = loop {
        if let Some(ended) = parent.try_wait().unwrap() {
            break ended;
        }
        if Instant::now() > end {
            parent.kill().unwrap();
            tally.add("parents killed");
            break parent.wait().unwrap();
        }
        damage(bench, dice, tally);
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(ended.code().is_none_or(|code| [0, 1, 3].contains(&code)), "{ended}");
    fs::read_to_string(log.path()).unwrap().lines().for_each(|kind| tally.add(kind));
}

/// Disturbs one sweep, lets it end, and compares it with `expected`.
fn check(expected: &Bench, dice: &mut Dice, faults: &mut BTreeMap<String, usize>) {
    let tortured = bench();
    let mut tally = Tally { faults: std::mem::take(faults), damaged: HashSet::new() };
    for number in 0..DISTURBED {
        disturb(&tortured, number, dice, &mut tally);
    }
    let summary = tortured.run();
    assert_eq!((summary.finished, summary.left), (toys(), 0), "{:?}", summary.failed);
    let mut ended = HashMap::new();
    for record in read_journal(&tortured.dir().journal()).unwrap().records {
        if let Event::TrialFinished { trial, .. } = record.event {
            *ended.entry(trial).or_insert(0) += 1;
        }
    }
    let ended_once = ended.iter().all(|(trial, times)| *times == 1 || tally.damaged.contains(trial));
    assert!(ended.len() == toys() && ended_once, "each trial ends once, unless its files were damaged");
    for (index, (found, wanted)) in tortured.curves().iter().zip(&expected.curves()).enumerate() {
        assert_eq!(found, wanted, "{}", tortured.plan.trials[index].id);
    }
    let tables = [&tortured, expected].map(|bench| fs::read_to_string(bench.dir().trials_csv()).unwrap());
    assert_eq!(tables[0].lines().count(), toys() + 1);
    assert!(tables[0] == tables[1]);
    *faults = tally.faults;
}

#[test]
fn many_toys_survive_torture() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = setting("PLATEAU_TORTURE_SEED").unwrap_or(now);
    println!("PLATEAU_TORTURE_SEED={seed}");
    let (mut dice, mut faults, start) = (Dice(seed), BTreeMap::new(), Instant::now());
    let limit = Duration::from_secs(setting("PLATEAU_TORTURE_SECONDS").unwrap_or(0));
    let mut undisturbed = bench();
    // In memory if possible: the disk is slow and not part of this run.
    let memory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    undisturbed.results = Results::new(memory.path()).unwrap();
    undisturbed.run();
    let mut sweeps = 0;
    while sweeps == 0 || start.elapsed() < limit {
        check(&undisturbed, &mut dice, &mut faults);
        sweeps += 1;
    }
    let all: usize = faults.values().sum();
    println!("{all} faults survived over {sweeps} sweeps of {} toys in {:?}: {faults:?}", toys(), start.elapsed());
    assert!(faults.contains_key("parents killed"), "nothing was disturbed");
}
