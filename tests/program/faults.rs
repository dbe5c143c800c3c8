//! Every kind of failure on its own, injected by `PLATEAU_FAULTS` or caused by the system: what the program does, reports and
//! keeps, and that a run without faults completes the sweep.

use std::process::Command;

use rustix::process::Signal;

use crate::place::{Ended, Place, signal, wait};

const SWEEP: &str = "
data: {train: train.tsv, max_length: 32}
model: {from: checkpoint, dropout: 0}
batch_size: 40
steps: 30
eval_every: 15
grid: {lr: [1e-3, 1e-4, 1e-5]}
run: {jobs: 2, checkpoint_every: 5, on_full_disk: stop}
";

fn run(place: &Place, faults: &str) -> Ended {
    Ended::new(place.command("run sweep.yaml --progress lines").env("PLATEAU_FAULTS", faults).output().unwrap())
}

fn undisturbed() -> Place {
    undisturbed_of(SWEEP)
}

fn undisturbed_of(sweep: &str) -> Place {
    let place = Place::new(sweep);
    place.expect(0, "run sweep.yaml");
    place
}

#[test]
fn trials_without_enough_memory_run_alone_and_with_smaller_micro_batches() {
    let place = Place::new(SWEEP);
    let ended = run(&place, "room=256");
    assert_eq!(ended.code, 0, "{}", ended.err);
    for words in
        ["attempt 1: out of memory", "attempt 2 runs alone\n", "attempt 3 runs alone, with micro-batches 1/2 as large"]
    {
        assert!(ended.err.contains(words), "{words}:\n{}", ended.err);
    }
    assert_eq!(place.count("trial_finished"), 3);
    assert_eq!(place.count("oom_policy_applied"), 6);
    let note = "out of memory: continued with micro-batches of 256 tokens in place of 512";
    assert!(place.read("results/sweep/report/summary.md").contains(note));
    assert!(place.expect(0, "status sweep.yaml").out.contains(note));
    let undisturbed = undisturbed();
    assert!(!undisturbed.read("results/sweep/report/summary.md").contains(note));
    for ((_, (one, _)), (_, (other, _))) in place.curves().iter().zip(&undisturbed.curves()) {
        assert_ne!(one, other, "micro-batches were not split");
        let losses = |text: &str| -> Vec<f64> {
            text.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().parse().unwrap()).collect()
        };
        let off = losses(one).into_iter().zip(losses(other)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off < 1e-3, "{off}");
    }
}

#[test]
fn a_device_that_fails_twice_is_retired_and_the_other_continues() {
    let place = Place::new(SWEEP);
    let ended = run(&place, "device=1");
    assert_eq!(ended.code, 1, "{}", ended.err);
    for words in
        ["cpu (slot 0) failed too often", "3 of 3 trials are left, but no device works any more", "run the same"]
    {
        assert!(ended.err.contains(words), "{words}:\n{}", ended.err);
    }
    assert!(place.path("results/sweep/report/index.html").is_file());
    assert_eq!((place.count("slot_retired"), place.count("trial_failed")), (2, 0));
    let ended = run(&place, "device=1,slot=0");
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!((place.count("slot_retired"), place.count("trial_failed")), (3, 0));
    assert_eq!(place.curves(), undisturbed().curves());
}

#[test]
fn a_full_disk_ends_the_run_with_the_space_needed_and_can_be_continued() {
    let place = Place::new(SWEEP);
    let ended = run(&place, "enospc=1");
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(ended.err.contains("/results/sweep: the disk is full"), "{}", ended.err);
    // Often enough that a worker and the parent meet the full disk.
    let mut codes = Vec::new();
    for seed in 0..6 {
        let ended = run(&place, &format!("enospc=0.01,short=0.01,eio=0.005,seed={seed}"));
        assert!([0, 1, 3].contains(&ended.code), "{}", ended.err);
        if ended.err.contains("the disk is full") {
            assert_eq!(ended.code, 3, "{}", ended.err);
            // After the last trial only the report needs space.
            let is_report = ended.err.contains("/report/");
            assert!(is_report || ended.err.contains("the trials left needed about"), "{}", ended.err);
        }
        codes.push(ended.code);
    }
    assert!(codes.contains(&3), "the disk was never full");
    place.expect(0, "run sweep.yaml --retry-failed");
    assert_eq!(place.count("trial_finished"), 3, "each trial ends once");
    assert_eq!(place.curves(), undisturbed().curves());
}

/// The disk is full now and then, and the run continues by itself.
#[test]
fn a_run_waits_while_the_disk_is_full() {
    let place = Place::new(&SWEEP.replace(", on_full_disk: stop", ""));
    let waited = (0..6).any(|seed| {
        let ended = run(&place, &format!("enospc=0.006,seed={seed}"));
        // The report is drawn once, after the last trial.
        let is_report = ended.code == 3 && ended.err.contains("/report/");
        assert!(is_report || [0, 1].contains(&ended.code), "{}", ended.err);
        ended.err.contains("The sweep waits for room and then continues by itself")
    });
    assert!(waited, "the disk was never full");
    place.expect(0, "run sweep.yaml --retry-failed");
    assert_eq!(place.curves(), undisturbed().curves());
}

/// The limit on the size of a file is reported, and no trial is to blame.
#[test]
fn a_file_size_limit_ends_the_run_and_fails_no_trial() {
    let place = Place::new(SWEEP);
    let program = env!("CARGO_BIN_EXE_plateau");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -f 100; exec {program} run sweep.yaml")]).current_dir(place.path(""));
    let ended = Ended::new(shell.output().unwrap());
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(ended.err.contains("a file has reached the largest size that its limit allows"), "{}", ended.err);
    place.expect(0, "run sweep.yaml");
    assert_eq!(place.curves(), undisturbed().curves());
}

/// On a system that counts the processes that it kills for lack of memory, another kill is an ordinary crash.
#[test]
#[cfg(target_os = "linux")]
fn a_kill_by_another_process_is_not_taken_for_lack_of_memory() {
    let sweep = SWEEP.replace("steps: 30", "steps: 100");
    let place = Place::new(&sweep);
    let parent = place.start("run sweep.yaml");
    place.wait_for_steps(6);
    let worker = place.workers()[0];
    signal(worker, Signal::KILL);
    wait(|| !place.workers().contains(&worker));
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("killed by another process (signal 9)"), "{}", ended.err);
    assert_eq!((place.count("attempt_failed"), place.count("oom_policy_applied")), (1, 0));
    assert_eq!(place.curves(), undisturbed_of(&sweep).curves());
}

/// A file of the training state stays broken. That is tried three times, the trial fails and names the file, and nothing is lost.
#[test]
fn a_file_that_stays_broken_fails_its_trial_and_loses_nothing() {
    let place = Place::new(&SWEEP.replace("steps: 30", "steps: 100"));
    let parent = place.start("run sweep.yaml");
    place.wait_for_steps(12);
    signal(parent.id() as i32, Signal::TERM);
    parent.wait_with_output().unwrap();
    let rows = |folder: &std::path::Path| std::fs::read(folder.join("metrics.csv")).map_or(0, |curve| curve.len());
    let before: Vec<_> = place.trials().into_iter().map(|(id, folder)| (id, rows(&folder))).collect();
    let ended = run(&place, "broken=newest.json");
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.err.contains("checkpoint/newest.json: Input/output error"), "{}", ended.err);
    assert_eq!((place.count("trial_failed"), place.count("attempt_failed")), (3, 9));
    // Another trial may have started since.
    let trials = place.trials();
    assert!(before.iter().all(|(id, length)| rows(&trials[id]) >= *length), "a curve was cut");
    place.expect(0, "run sweep.yaml --retry-failed");
    assert_eq!(place.curves(), undisturbed_of(&SWEEP.replace("steps: 30", "steps: 100")).curves());
}

/// Limits on memory, on the stack and on processor time are named, and no trial fails.
#[test]
fn limits_of_memory_stack_and_time_are_named() {
    let place = Place::new(&SWEEP.replace("steps: 30", "steps: 2000"));
    let limited = |limit: &str| {
        let script = format!("ulimit {limit}; exec \"$@\"");
        let arguments = ["-c", &script, "sh", env!("CARGO_BIN_EXE_plateau"), "run", "sweep.yaml", "--quiet"];
        Ended::new(Command::new("/bin/sh").args(arguments).current_dir(place.path(".")).output().unwrap())
    };
    // The program itself takes most of it: a build without optimisation is large.
    let program = std::fs::metadata(env!("CARGO_BIN_EXE_plateau")).unwrap().len() >> 10;
    for (limit, name) in [
        (format!("-v {}", program + 5_000), "ulimit -v"),
        ("-s 512".into(), "ulimit -s"),
        ("-t 2".into(), "ulimit -t"),
        ("-t 1".into(), "ulimit -t"),
        ("-d 30000".into(), "ulimit -d"),
    ] {
        let ended = limited(&limit);
        assert_eq!(ended.code, 3, "{limit}: {}", ended.err);
        assert!(ended.err.contains(name), "{limit}: {}", ended.err);
    }
    assert_eq!(place.count("trial_failed"), 0);
}
