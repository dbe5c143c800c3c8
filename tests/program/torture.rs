//! Random kills and pauses of parents and workers during small real sweeps, with faults of disk, devices and memory, deleted,
//! damaged and hostile results, second parents, data and checkpoints that change, and a server that does not answer as it
//! should: the results equal those of an undisturbed run.
//!
//! Takes some seconds; `just torture` takes longer (`PLATEAU_TORTURE_SECONDS`) and disturbs several sweeps side by side
//! (`PLATEAU_TORTURE_SWEEPS`). A failure prints its seed; set it as `PLATEAU_TORTURE_SEED` to repeat the run.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::{Pid, Signal, kill_process};

use crate::bad_server::BadServer;
use crate::dice::{Dice, setting};
use crate::place::{Curves, Ended, Place, signal, wait};
use crate::reproducible;
use crate::tally::Tally;

const RUN: &str = "run sweep.yaml --jobs 2 --retry-failed --quiet";
/// The probability of each fault. Those that a process survives are frequent.
const FAULTS: &str =
    "enospc=0.001,short=0.0005,eio=0.002,stale=0.02,einval=0.1,exdev=0.2,emfile=0.0002,oom=0.003,device=0.06";
/// Too little memory for a micro-batch of the usual size, during the whole run.
const NARROW: &str = "room=256";
/// Disturbed runs of a sweep, before it may end and is compared.
const RUNS: usize = 12;

/// Batches that are split when micro-batches are halved.
static SWEEP: LazyLock<String> = LazyLock::new(|| reproducible::SWEEP.replace("batch_size: 8", "batch_size: 24"));

/// The results of a sweep without times.
#[derive(Debug, PartialEq)]
struct Results {
    curves: BTreeMap<String, Curves>,
    table: Vec<Vec<String>>,
    /// The files of all trials in `checkpoint/`: the weights of the leading trial.
    kept: Vec<(String, String, Vec<u8>)>,
    summary: String,
}

impl Results {
    fn of(place: &Place) -> Self {
        let table = place.read("results/sweep/trials.csv");
        let mut reader = csv::Reader::from_reader(table.as_bytes());
        let header = reader.headers().unwrap().clone();
        let is_timeless = |at: usize| !["seconds", "tokens_per_second"].contains(&&header[at]);
        let row = |record: csv::StringRecord| {
            let fields = record.iter().enumerate().filter(|(at, _)| is_timeless(*at));
            fields.map(|(_, field)| field.to_owned()).collect()
        };
        let summary = place.read("results/sweep/report/summary.md");
        // The last line holds the time and the duration.
        let summary = summary.trim_end().rsplit_once('\n').unwrap().0.to_owned();
        let kept = place.kept_states();
        // A line that was added after the last look of the worker stays. No reader takes it for a row.
        let without_junk = |(metrics, evals): Curves| (metrics.trim_end_matches("junk\n").to_owned(), evals);
        let curves = place.curves().into_iter().map(|(id, curves)| (id, without_junk(curves)));
        Self {
            kept,
            curves: curves.collect(),
            table: reader.records().map(|record| row(record.unwrap())).collect(),
            summary,
        }
    }
}

static UNDISTURBED: LazyLock<Results> = LazyLock::new(|| {
    let place = Place::new(&SWEEP);
    place.expect(0, RUN);
    let results = Results::of(&place);
    let names: Vec<&str> = results.kept.iter().map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(names, ["weights.safetensors"], "the leading trial keeps its weights, and no trial a training state");
    results
});

/// Starts a run. With a server, its curves are sent there.
fn start(place: &Place, faults: &str, server: Option<&BadServer>) -> Child {
    let mut command = place.command(RUN);
    if let Some(server) = server {
        command.args(["--set", "run.log_to=mlflow"]).env("MLFLOW_TRACKING_URI", &server.url);
    }
    command.env("PLATEAU_FAULTS", faults).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Does to the folder of a running sweep what people and other programs do. Returns what was done.
#[expect(clippy::disallowed_methods, reason = "another process deletes results")]
fn damage_results(place: &Place, dice: &mut Dice) -> Option<&'static str> {
    let has_not_ended = |folder: &PathBuf| !folder.join("outcome.json").exists();
    let running: Vec<PathBuf> = place.trials().into_values().filter(has_not_ended).collect();
    let trial = running.get(dice.below(running.len().max(1) as u64) as usize)?;
    // A file may go away between the look and the call.
    match dice.below(7) {
        0 => fs::remove_dir_all(trial).ok().map(|()| "trials deleted"),
        1 => fs::remove_file(trial.join("metrics.csv")).ok().map(|()| "curves deleted"),
        2 => fs::remove_dir_all(trial.join("checkpoint")).ok().map(|()| "training states deleted"),
        3 => fs::remove_file(place.path("results/sweep/.lock")).ok().map(|()| "locks deleted"),
        4 => {
            let mut curve = fs::OpenOptions::new().append(true).open(trial.join("metrics.csv")).ok()?;
            writeln!(curve, "junk,line").ok().map(|()| "lines added to curves")
        }
        5 => {
            const WEIGHTS: &str = "checkpoint/model.safetensors";
            let weights = fs::read(place.path(WEIGHTS)).unwrap();
            let mut changed = weights.clone();
            *changed.last_mut().unwrap() ^= 1;
            place.replace(WEIGHTS, changed);
            sleep(Duration::from_millis(dice.below(300)));
            place.replace(WEIGHTS, weights);
            Some("checkpoints changed")
        }
        _ => {
            let data = place.read("train.tsv");
            place.replace("train.tsv", data.replace("the ", "a "));
            sleep(Duration::from_millis(dice.below(300)));
            place.replace("train.tsv", &data);
            Some("data files changed")
        }
    }
}

/// Puts something else in the place of a result for a moment, as a hostile user of a shared folder does. Returns what it was.
#[expect(clippy::disallowed_methods, reason = "another user plants files")]
fn plant(place: &Place, dice: &mut Dice) -> Option<&'static str> {
    let trials: Vec<PathBuf> = place.trials().into_values().collect();
    let trial = trials.get(dice.below(trials.len().max(1) as u64) as usize)?;
    let sweep = place.path("results/sweep");
    let path = match dice.below(6) {
        0 => sweep.join("journal.jsonl"),
        1 => sweep.join(".lock"),
        2 => trial.join("evals.csv"),
        3 => trial.join("config.json"),
        4 => trial.join("checkpoint/newest.json"),
        _ => trial.join("metrics.csv"),
    };
    let aside = place.path("aside");
    fs::rename(&path, &aside).ok()?;
    place.write("victim", "mine");
    // The program may create the file anew before something else is there.
    let kind = match dice.below(5) {
        0 => Command::new("mkfifo").arg(&path).status().is_ok_and(|status| status.success()).then_some("FIFOs planted"),
        1 => symlink(place.path("victim"), &path).ok().map(|()| "links planted"),
        2 => fs::create_dir(&path).ok().map(|()| "folders planted"),
        3 => UnixListener::bind(&path).ok().map(|_| "sockets planted"),
        _ => {
            let file = fs::OpenOptions::new().write(true).create_new(true).open(&path);
            file.and_then(|file| file.set_len(20 << 30)).ok().map(|()| "huge files planted")
        }
    };
    if kind.is_some() {
        sleep(Duration::from_millis(dice.below(300)));
        remove_planted(&path);
    }
    // A file that the program has created anew stays.
    let _ = renameat_with(CWD, &aside, CWD, &path, RenameFlags::NOREPLACE);
    let _ = fs::remove_file(&aside);
    assert_eq!(place.read("victim"), "mine", "the program wrote through a link");
    kind
}

/// Removes what is no ordinary result.
fn remove_planted(path: &Path) {
    let Ok(found) = path.symlink_metadata() else { return };
    if found.is_dir() {
        let _ = fs::remove_dir(path);
    } else if !found.is_file() || found.len() > 1 << 30 {
        let _ = fs::remove_file(path);
    }
}

/// A sweep that is disturbed, and what was done.
struct Torture<'a> {
    place: Place,
    server: &'a BadServer,
    dice: Dice,
    tally: Tally,
    /// Runs by exit code.
    ends: BTreeMap<i32, usize>,
}

impl<'a> Torture<'a> {
    fn journaled(&self, event: &str) -> usize {
        fs::read_to_string(self.place.path("results/sweep/journal.jsonl")).unwrap_or_default().matches(event).count()
    }

    /// Stops a process for a moment.
    fn pause(&mut self, pid: i32, kind: &str) {
        if send(pid, Signal::STOP) {
            sleep(Duration::from_millis(self.dice.below(300)));
            send(pid, Signal::CONT);
            self.tally.add(kind);
        }
    }

    /// Starts a second run beside the first, which began when the journal had this many closed runs.
    fn second_parent(&mut self, first: &mut Child, closed: usize) {
        let second = self.place.plateau(RUN);
        let is_alive = first.try_wait().unwrap().is_none();
        // A planted file may be in its way, too.
        let is_refused = second.code == 3 && second.err.contains("error: ");
        // A run that has closed the sweep only draws the report.
        let has_followed = second.code == 0 && self.journaled("sweep_closed") >= closed + 2;
        assert!(
            !is_alive || is_refused || has_followed,
            "the second run ended with {}: {}\n{}",
            second.code,
            second.err,
            self.place.read("results/sweep/journal.jsonl")
        );
        self.tally.add("second runs started");
    }

    /// Runs the sweep once, and disturbs it until it ends or its parent is dead. True if it ended with exit code 0.
    fn run(&mut self) -> bool {
        // One run in four has no injected faults, and one only too little memory.
        let faults = match self.dice.below(4) {
            0 => "",
            1 => NARROW,
            _ => FAULTS,
        };
        let log = self.place.path("faults");
        let [before, closed] = ["sweep_opened", "sweep_closed"].map(|event| self.journaled(event));
        let server = Some(self.server).filter(|_| self.dice.below(8) == 0);
        let faults = format!("{faults},seed={},log={}", self.dice.below(1 << 30), log.display());
        let mut parent = start(&self.place, &faults, server);
        let pid = parent.id() as i32;
        let stopped = loop {
            sleep(Duration::from_millis(self.dice.below(100)));
            if parent.try_wait().unwrap().is_some() {
                break false;
            }
            // Most runs are disturbed only once they have begun to work.
            if self.journaled("sweep_opened") == before && self.dice.below(8) > 0 {
                continue;
            }
            let workers = self.place.workers();
            let victim = workers.get(self.dice.below(workers.len().max(1) as u64) as usize).copied();
            // Before the sweep is opened, other data would be another sweep.
            let is_open = self.journaled("sweep_opened") > before;
            match (self.dice.below(24), victim) {
                (0..2, _) => {
                    signal(pid, Signal::KILL);
                    self.tally.add("parents killed");
                    break true;
                }
                (2, _) => {
                    signal(pid, Signal::TERM);
                    self.tally.add("parents asked to stop");
                    break true;
                }
                (3..6, Some(worker)) if send(worker, Signal::KILL) => self.tally.add("workers killed"),
                (6..8, Some(worker)) => self.pause(worker, "workers paused"),
                (8..10, _) => self.pause(pid, "parents paused"),
                (10, _) if is_open => self.second_parent(&mut parent, closed),
                (11..17, _) if is_open => {
                    if let Some(kind) = damage_results(&self.place, &mut self.dice) {
                        self.tally.add(kind);
                    }
                }
                (17.., _) if is_open => {
                    if let Some(kind) = plant(&self.place, &mut self.dice) {
                        self.tally.add(kind);
                    }
                }
                _ => {}
            }
        };
        let ended = Ended::new(parent.wait_with_output().unwrap());
        *self.ends.entry(ended.code).or_default() += 1;
        let allowed: &[i32] = if stopped { &[-1, 0, 1, 3, 130] } else { &[0, 1, 3] };
        assert!(allowed.contains(&ended.code), "exit code {}: {}", ended.code, ended.err);
        assert!(ended.code != 3 || ended.err.contains("error: "), "{}", ended.err);
        // In half of the cases the next parent meets the workers of this one.
        if self.dice.below(2) == 0 {
            wait(|| self.place.workers().is_empty());
        }
        self.tally.add_log(&log);
        let _ = fs::remove_file(log);
        (0..server.map_or(0, BadServer::take)).for_each(|_| self.tally.add("requests answered badly"));
        ended.code == 0
    }

    /// Disturbs a new sweep, lets it end, and compares it with the undisturbed one.
    fn sweep(server: &'a BadServer, seed: u64, end: Instant) -> Self {
        let (place, tally, ends) = (Place::new(&SWEEP), Tally::default(), BTreeMap::new());
        let mut torture = Torture { place, server, dice: Dice(seed), tally, ends };
        let mut runs = 0;
        while Instant::now() < end && runs < RUNS && !torture.run() {
            runs += 1;
        }
        let Torture { place, tally, .. } = &mut torture;
        let ended = place.plateau(RUN);
        let found = if ended.code == 0 { differences(place) } else { vec![Difference::Lost(ended.err)] };
        tally.compared += UNDISTURBED.curves.len();
        for difference in found {
            let (kind, text) = match difference {
                Difference::Lost(text) => (&mut tally.lost, text),
                Difference::Wrong(text) => (&mut tally.wrong, text),
            };
            *kind += 1;
            let _ = writeln!(io::stdout(), "seed {seed}: {text}");
        }
        place.expect(0, "export sweep.yaml --format hf -o model");
        assert!(place.workers().is_empty());
        torture
    }
}

/// A process may end between a look and a signal.
fn send(pid: i32, signal: Signal) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// Trials that ran out of memory twice: their numbers are equal only up to rounding.
fn rounded(place: &Place) -> Vec<String> {
    let is_rounded = |folder: &std::path::Path| {
        let record: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
        record["made_by"]["micro_batch_splits"].as_u64().unwrap() > 0
    };
    place.trials().into_iter().filter(|(_, folder)| is_rounded(folder)).map(|(id, _)| id).collect()
}

/// What a disturbed sweep lacks, or has in another form.
enum Difference {
    Lost(String),
    Wrong(String),
}

fn differences(place: &Place) -> Vec<Difference> {
    let (found, expected, rounded) = (Results::of(place), &*UNDISTURBED, rounded(place));
    let mut differences = Vec::new();
    for (id, (metrics, evals)) in &expected.curves {
        let Some(curves) = found.curves.get(id) else {
            differences.push(Difference::Lost(id.clone()));
            continue;
        };
        for (found, expected) in [(&curves.0, metrics), (&curves.1, evals)] {
            let is_same = if rounded.contains(id) { is_close(found, expected) } else { found == expected };
            if !is_same {
                differences.push(Difference::Wrong(format!("{id}:\n{found}\n{expected}")));
                break;
            }
        }
    }
    let is_same = if rounded.is_empty() {
        found == *expected
    } else {
        let names: Vec<&str> = found.kept.iter().map(|(_, name, _)| name.as_str()).collect();
        names == ["weights.safetensors"] && found.summary.contains("continued with micro-batches of")
    };
    if !is_same && differences.is_empty() {
        let texts = (&found.table, &found.summary, &expected.table, &expected.summary);
        differences.push(Difference::Wrong(format!("{texts:?}")));
    }
    differences
}

fn is_close(found: &str, expected: &str) -> bool {
    let is_close_field = |(one, other): (&str, &str)| {
        // An undefined metric is empty, and the scores of classes are lists.
        if one == other || other.contains(';') {
            return true;
        }
        let numbers = one.parse::<f64>().ok().zip(other.parse::<f64>().ok());
        numbers.is_some_and(|(one, other)| (one - other).abs() <= 0.05 * other.abs().max(0.1))
    };
    let mut lines = found.lines().zip(expected.lines()).skip(1);
    found.lines().count() == expected.lines().count()
        && lines.all(|(one, other)| one.split(',').zip(other.split(',')).all(is_close_field))
}

#[test]
fn a_sweep_survives_torture() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = setting("PLATEAU_TORTURE_SEED").unwrap_or(now);
    let limit = Duration::from_secs(setting("PLATEAU_TORTURE_SECONDS").unwrap_or(10));
    println!("PLATEAU_TORTURE_SEED={seed}");
    LazyLock::force(&UNDISTURBED);
    let (start, server) = (Instant::now(), BadServer::start());
    // Sweeps wait for their processes and for the disk most of the time.
    let threads = setting("PLATEAU_TORTURE_SWEEPS").unwrap_or(1);
    let disturb = |number: u64| {
        let (mut dice, mut tally, mut ends, mut sweeps) =
            (Dice(seed.wrapping_add(number)), Tally::default(), BTreeMap::new(), 0);
        while start.elapsed() < limit {
            let torture = Torture::sweep(&server, dice.below(1 << 31), start + limit);
            tally.merge(torture.tally);
            torture.ends.into_iter().for_each(|(code, runs)| *ends.entry(code).or_insert(0) += runs);
            sweeps += 1;
        }
        println!("{sweeps} sweeps; runs by exit code: {ends:?}");
        tally
    };
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|number| scope.spawn(move || disturb(number))).collect();
        for thread in running {
            tally.merge(thread.join().unwrap());
        }
    });
    tally.print(start.elapsed());
    assert!(!tally.faults.is_empty(), "nothing was disturbed");
    assert_eq!((tally.lost, tally.wrong), (0, 0));
}
