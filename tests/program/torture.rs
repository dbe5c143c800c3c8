//! Random kills and pauses of parents and workers during a small real sweep, with faults of disk, devices and memory, deleted
//! and damaged results, data and checkpoints that change, and a server that does not answer as it should: the results equal
//! those of an undisturbed run.
//!
//! Takes some seconds; `just torture` takes longer (`PLATEAU_TORTURE_SECONDS`). A failure prints its seed; set it as
//! `PLATEAU_TORTURE_SEED` to repeat the run.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use crate::dice::{Dice, setting};
use crate::place::{Curves, Ended, Place, signal, wait};
use crate::reproducible;

const RUN: &str = "run sweep.yaml --jobs 2 --retry-failed --quiet";
/// The probability of each fault: about one of each kind in a sweep.
const FAULTS: &str = "enospc=0.002,short=0.001,eio=0.002,oom=0.003,device=0.06";
/// Too little memory for a micro-batch of the usual size, during the whole run.
const NARROW: &str = "room=256";

/// Batches that are split when micro-batches are halved.
static SWEEP: LazyLock<String> = LazyLock::new(|| reproducible::SWEEP.replace("batch_size: 8", "batch_size: 24"));

/// The number of faults of each kind, and of runs by exit code.
#[derive(Debug, Default)]
struct Tally {
    faults: BTreeMap<String, usize>,
    ends: BTreeMap<i32, usize>,
}

impl Tally {
    fn add(&mut self, kind: &str) {
        *self.faults.entry(kind.to_owned()).or_default() += 1;
    }
}

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
        Self {
            kept,
            curves: place.curves(),
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

/// A server that takes requests and answers each of them in a wrong way, or not at all.
struct BadServer {
    url: String,
    requests: Arc<AtomicUsize>,
}

impl BadServer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let number = counter.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || Self::answer(client, number));
            }
        });
        Self { url, requests }
    }

    fn answer(mut client: TcpStream, number: usize) {
        // The client may have gone away.
        let _ = client.read(&mut [0; 4096]);
        let answer: &[u8] = match number % 6 {
            0 => b"",
            1 => b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
            2 => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
            3 => b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{",
            4 => b"\x00\xff\x1b[2J\r\n\r\n",
            _ => {
                sleep(Duration::from_secs(20));
                b""
            }
        };
        let _ = client.write_all(answer);
    }

    /// Number of requests since the last call.
    fn take(&self) -> usize {
        self.requests.swap(0, Ordering::Relaxed)
    }
}

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
            sleep(Duration::from_millis(dice.below(1000)));
            place.replace(WEIGHTS, weights);
            Some("checkpoints changed")
        }
        _ => {
            let data = place.read("train.tsv");
            place.replace("train.tsv", &data.replace("the ", "a "));
            sleep(Duration::from_millis(dice.below(1000)));
            place.replace("train.tsv", &data);
            Some("data files changed")
        }
    }
}

/// Runs the sweep once, and disturbs it until it ends or its parent is dead. True if it ended with exit code 0.
fn disturbed(place: &Place, server: &BadServer, dice: &mut Dice, tally: &mut Tally) -> bool {
    // One run in four has no injected faults, and one only too little memory.
    let faults = match dice.below(4) {
        0 => "",
        1 => NARROW,
        _ => FAULTS,
    };
    let log = place.path("faults");
    let opened = |place: &Place| {
        fs::read_to_string(place.path("results/sweep/journal.jsonl"))
            .unwrap_or_default()
            .matches("sweep_opened")
            .count()
    };
    let before = opened(place);
    let server = Some(server).filter(|_| dice.below(4) == 0);
    let mut parent = start(place, &format!("{faults},seed={},log={}", dice.below(1 << 30), log.display()), server);
    let pid = parent.id() as i32;
    let stopped = loop {
        sleep(Duration::from_millis(dice.below(900)));
        if parent.try_wait().unwrap().is_some() {
            break false;
        }
        // A process may end between a look and a signal.
        let send = |pid: i32, what| {
            rustix::process::Pid::from_raw(pid).is_some_and(|pid| rustix::process::kill_process(pid, what).is_ok())
        };
        let workers = place.workers();
        let victim = workers.get(dice.below(workers.len().max(1) as u64) as usize).copied();
        match (dice.below(5), victim) {
            // Before the sweep is opened, other data would be another sweep.
            (4, _) if opened(place) > before => damage_results(place, dice).iter().for_each(|damage| tally.add(damage)),
            (0, _) => {
                signal(pid, Signal::KILL);
                tally.add("parents killed");
                break true;
            }
            (1, _) => {
                signal(pid, Signal::TERM);
                tally.add("parents asked to stop");
                break true;
            }
            (2, Some(worker)) => {
                if send(worker, Signal::KILL) {
                    tally.add("workers killed");
                }
            }
            (_, Some(worker)) => {
                if send(worker, Signal::STOP) {
                    sleep(Duration::from_millis(dice.below(500)));
                    send(worker, Signal::CONT);
                    tally.add("workers paused");
                }
            }
            (_, None) => {}
        }
    };
    let ended = Ended::new(parent.wait_with_output().unwrap());
    *tally.ends.entry(ended.code).or_default() += 1;
    let allowed: &[i32] = if stopped { &[-1, 0, 1, 3, 130] } else { &[0, 1, 3] };
    assert!(allowed.contains(&ended.code), "exit code {}: {}", ended.code, ended.err);
    assert!(ended.code != 3 || ended.err.contains("error: "), "{}", ended.err);
    // In half of the cases the next parent meets the workers of this one.
    if dice.below(2) == 0 {
        wait(|| place.workers().is_empty());
    }
    for line in fs::read_to_string(&log).unwrap_or_default().lines() {
        tally.add(line);
    }
    let _ = fs::remove_file(log);
    (0..server.map_or(0, BadServer::take)).for_each(|_| tally.add("requests answered badly"));
    ended.code == 0
}

/// Trials that ran out of memory twice: their numbers are equal only up to rounding.
fn rounded(place: &Place) -> Vec<String> {
    let is_rounded = |folder: &std::path::Path| {
        let record: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
        record["made_by"]["micro_batch_splits"].as_u64().unwrap() > 0
    };
    place.trials().into_iter().filter(|(_, folder)| is_rounded(folder)).map(|(id, _)| id).collect()
}

fn check(place: &Place) {
    let (found, expected, rounded) = (Results::of(place), &*UNDISTURBED, rounded(place));
    assert!(found.curves.keys().eq(expected.curves.keys()));
    for (id, (metrics, evals)) in &found.curves {
        let pairs = [(metrics, &expected.curves[id].0), (evals, &expected.curves[id].1)];
        for (found, expected) in pairs {
            if rounded.contains(id) {
                assert_close(found, expected);
            } else {
                assert!(found.lines().eq(expected.lines()), "{id}:\n{found}\n{expected}");
            }
        }
    }
    if rounded.is_empty() {
        assert!(found == *expected, "{:?}\n{:?}", (&found.table, &found.summary), (&expected.table, &expected.summary));
    } else {
        let names: Vec<&str> = found.kept.iter().map(|(_, name, _)| name.as_str()).collect();
        assert_eq!(names, ["weights.safetensors"]);
        assert!(found.summary.contains("continued with micro-batches of"), "{}", found.summary);
    }
}

fn assert_close(found: &str, expected: &str) {
    assert_eq!(found.lines().count(), expected.lines().count());
    for (one, other) in found.lines().skip(1).zip(expected.lines().skip(1)) {
        for (one, other) in one.split(',').zip(other.split(',')) {
            // An undefined metric is empty, and the scores of classes are lists.
            if one == other || other.contains(';') {
                continue;
            }
            let [one, other]: [f64; 2] = [one, other].map(|field| field.parse().unwrap());
            assert!((one - other).abs() <= 0.05 * other.abs().max(0.1), "{one} in place of {other}");
        }
    }
}

#[test]
fn a_sweep_survives_torture() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = setting("PLATEAU_TORTURE_SEED").unwrap_or(now);
    let limit = Duration::from_secs(setting("PLATEAU_TORTURE_SECONDS").unwrap_or(10));
    println!("PLATEAU_TORTURE_SEED={seed}");
    let (mut dice, mut tally, start) = (Dice(seed), Tally::default(), Instant::now());
    let (mut sweeps, mut rounded_trials, server) = (0, 0, BadServer::start());
    while start.elapsed() < limit {
        let place = Place::new(&SWEEP);
        while start.elapsed() < limit && !disturbed(&place, &server, &mut dice, &mut tally) {}
        place.expect(0, RUN);
        check(&place);
        place.expect(0, "export sweep.yaml --format hf -o model");
        let deleted = tally.faults.keys().any(|kind| kind.ends_with("deleted"));
        assert!(place.count("trial_finished") == 4 || deleted, "each trial ends once");
        assert!(place.workers().is_empty());
        rounded_trials += rounded(&place).len();
        sweeps += 1;
    }
    let all: usize = tally.faults.values().sum();
    let kinds: Vec<String> = tally.faults.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let took = start.elapsed().as_secs();
    println!("{all} faults survived over {sweeps} sweeps in {took} s: {}", kinds.join(", "));
    println!("runs by exit code: {:?}; trials equal up to rounding: {rounded_trials}", tally.ends);
    assert!(all > 0, "nothing was disturbed");
}
