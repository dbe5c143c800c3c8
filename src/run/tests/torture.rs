//! Many toys whose parent is killed and paused, whose disk fails, and whose results are deleted, damaged and replaced meanwhile: in
//! the end they equal those of an undisturbed run.
//!
//! Takes some seconds; `just torture` takes longer (`PLATEAU_TORTURE_SECONDS`) and ten times as many toys
//! (`PLATEAU_TORTURE_TOYS`). A failure prints its seed; set it as `PLATEAU_TORTURE_SEED` to repeat the run.

use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::dice::{Dice, setting};
use crate::tally::Tally;

const FOLDER: &str = "PLATEAU_TEST_TOYS_IN";
/// Errors that pass when the operation is tried again are frequent; a full disk stops the sweep for a second.
const FAULTS: &str = "enospc=0.0001,short=0.0001,eio=0.002,stale=0.02,einval=0.05,exdev=0.05,emfile=0.00002";
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

/// Does to a trial, running or ended, what people and other programs do. Nothing is added to its curves: what is added to those of
/// an ended trial stays there. Returns what was done, and whether the trial must be trained again.
fn damage(bench: &Bench, id: &TrialId, dice: &mut Dice) -> Option<(&'static str, bool)> {
    let trial = bench.dir().trial(id);
    // A file may go away between the look and the call.
    match dice.below(6) {
        0 => {
            // If a file appears meanwhile, the folder stays, and its other files are gone.
            let _ = fs::remove_dir_all(trial.path());
            Some(("folders of trials deleted", true))
        }
        1 => fs::remove_file(trial.metrics()).ok().map(|()| ("curves deleted", true)),
        2 => fs::remove_file(trial.outcome_file()).ok().map(|()| ("outcomes deleted", true)),
        3 => fs::remove_file(bench.dir().path().join(".lock")).ok().map(|()| ("locks deleted", false)),
        4 => fs::remove_file(trial.evals()).ok().map(|()| ("curves deleted", true)),
        _ => {
            let path = trial.metrics();
            fs::remove_file(&path).ok()?;
            let planted = std::os::unix::fs::symlink("/dev/zero", &path);
            std::thread::sleep(Duration::from_millis(10));
            if path.is_symlink() {
                let _ = fs::remove_file(&path);
            }
            // If the file appeared meanwhile, it is only deleted.
            Some((if planted.is_ok() { "links planted" } else { "curves deleted" }, true))
        }
    }
}

/// Runs the sweep in a process of its own and disturbs it. One run in four has a disk that does not fail.
fn disturb(bench: &Bench, number: u64, dice: &mut Dice, tally: &mut Tally, damaged: &mut HashSet<TrialId>) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let faults = format!("{FAULTS},seed={},log={}", dice.below(1 << 30), log.path().display());
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["run::tests::torture::helper_parent_of_many", "--exact"])
        .env(FOLDER, bench.results.path())
        .env("PLATEAU_FAULTS", if number.is_multiple_of(4) { String::new() } else { faults })
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
        if dice.below(50) == 0 {
            let pid = rustix::process::Pid::from_child(&parent);
            rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
            std::thread::sleep(Duration::from_millis(dice.below(100)));
            rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
            tally.add("parents paused");
        }
        let id = &bench.plan.trials[dice.below(toys() as u64) as usize].id;
        if let Some((kind, is_trained_again)) = damage(bench, id, dice) {
            tally.add(kind);
            damaged.extend(is_trained_again.then(|| id.clone()));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(ended.code().is_none_or(|code| [0, 1, 3].contains(&code)), "{ended}");
    tally.add_log(log.path());
}

/// Disturbs one sweep, lets it end, and compares it with `expected`.
fn check(expected: &Bench, dice: &mut Dice) -> Tally {
    let tortured = bench();
    let (mut tally, mut damaged) = (Tally::default(), HashSet::new());
    for number in 0..DISTURBED {
        disturb(&tortured, number, dice, &mut tally, &mut damaged);
    }
    let summary = tortured.run();
    tally.compared += toys();
    tally.lost += toys() - summary.finished;
    let records = read_journal(&tortured.dir().journal()).unwrap().records;
    let mut ended = HashMap::new();
    for record in &records {
        if let Event::TrialFinished { trial, .. } = &record.event {
            *ended.entry(trial).or_insert(0) += 1;
        }
    }
    if let Some((trial, _)) = ended.into_iter().find(|(trial, times)| *times > 1 && !damaged.contains(*trial)) {
        let of_trial = records.iter().filter(|record| format!("{record:?}").contains(trial.as_str()));
        panic!("{trial} ended twice, and its files were not damaged: {:#?}", of_trial.collect::<Vec<_>>());
    }
    for (index, (found, wanted)) in tortured.curves().iter().zip(&expected.curves()).enumerate() {
        if found != wanted {
            println!("{}: {found:?} in place of {wanted:?}", tortured.plan.trials[index].id);
            tally.wrong += 1;
        }
    }
    let tables = [&tortured, expected].map(|bench| fs::read_to_string(bench.dir().trials_csv()).unwrap());
    assert_eq!(tables[0].lines().count(), toys() + 1);
    let rows = tables[0].lines().zip(tables[1].lines()).filter(|(found, wanted)| found != wanted).count();
    tally.wrong += rows;
    tally
}

#[test]
fn many_toys_survive_torture() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = setting("PLATEAU_TORTURE_SEED").unwrap_or(now);
    println!("PLATEAU_TORTURE_SEED={seed}");
    let (mut dice, mut tally, start) = (Dice(seed), Tally::default(), Instant::now());
    let limit = Duration::from_secs(setting("PLATEAU_TORTURE_SECONDS").unwrap_or(0));
    let mut undisturbed = bench();
    // In memory if possible: the disk is slow and not part of this run.
    let memory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    undisturbed.results = Results::new(memory.path()).unwrap();
    undisturbed.run();
    let mut sweeps = 0;
    while sweeps == 0 || start.elapsed() < limit {
        tally.merge(check(&undisturbed, &mut dice));
        sweeps += 1;
    }
    println!("{sweeps} sweeps of {} toys", toys());
    tally.print(start.elapsed());
    assert!(tally.faults.contains_key("parents killed"), "nothing was disturbed");
    assert_eq!((tally.lost, tally.wrong), (0, 0));
}
