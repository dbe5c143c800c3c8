//! Each kind of failure by itself, with the means of `PLATEAU_FAULTS` or of the system: what the program does, says and
//! leaves, and that a run without faults mends it.

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
run: {jobs: 2, checkpoint_every: 5}
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
fn a_machine_with_too_little_memory_trains_alone_and_in_smaller_pieces() {
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
    let note = "out of memory: went on with micro-batches of 256 tokens in place of 512";
    assert!(place.read("results/sweep/report/summary.md").contains(note));
    assert!(place.expect(0, "status sweep.yaml").out.contains(note));
    let undisturbed = undisturbed();
    assert!(!undisturbed.read("results/sweep/report/summary.md").contains(note));
    for ((_, (one, _)), (_, (other, _))) in place.curves().iter().zip(&undisturbed.curves()) {
        assert_ne!(one, other, "micro-batches were not cut");
        let losses = |text: &str| -> Vec<f64> {
            text.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().parse().unwrap()).collect()
        };
        let off = losses(one).into_iter().zip(losses(other)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off < 1e-3, "{off}");
    }
}

#[test]
fn a_device_that_fails_twice_is_out_of_use_and_the_other_goes_on() {
    let place = Place::new(SWEEP);
    let ended = run(&place, "device=1");
    assert_eq!(ended.code, 1, "{}", ended.err);
    for words in
        ["cpu (slot 0) has failed too often", "3 of 3 trials are left, but nothing to train them on", "run the same"]
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
fn a_full_disk_ends_the_run_with_folder_and_need_and_is_made_good() {
    let place = Place::new(SWEEP);
    let ended = run(&place, "enospc=1");
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(ended.err.contains("/results/sweep: the disk is full"), "{}", ended.err);
    // Until the full disk is met by a worker, and by the parent once more.
    let mut codes = Vec::new();
    for seed in 0..6 {
        let ended = run(&place, &format!("enospc=0.01,short=0.01,eio=0.005,seed={seed}"));
        assert!([0, 1, 3].contains(&ended.code), "{}", ended.err);
        if ended.err.contains("the disk is full") {
            assert_eq!(ended.code, 3, "{}", ended.err);
            assert!(ended.err.contains("what was left of the sweep at its start needs about"), "{}", ended.err);
        }
        codes.push(ended.code);
    }
    assert!(codes.contains(&3), "the disk was never full");
    place.expect(0, "run sweep.yaml --retry-failed");
    assert_eq!(place.count("trial_finished"), 3, "each trial ends once");
    assert_eq!(place.curves(), undisturbed().curves());
}

/// The system's own bound on the size of a file stands for a quota.
#[test]
fn a_file_that_may_not_grow_ends_the_run_like_a_full_disk() {
    let place = Place::new(SWEEP);
    let program = env!("CARGO_BIN_EXE_plateau");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -f 100; exec {program} run sweep.yaml")]).current_dir(place.path(""));
    let ended = Ended::new(shell.output().unwrap());
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(ended.err.contains("grown to the size that this system allows"), "{}", ended.err);
    place.expect(0, "run sweep.yaml");
    assert_eq!(place.curves(), undisturbed().curves());
}

/// On a system that counts the processes which it kills for lack of memory, another kill is no reason to run alone.
#[test]
#[cfg(target_os = "linux")]
fn a_worker_that_somebody_kills_is_no_matter_of_memory() {
    let sweep = SWEEP.replace("steps: 30", "steps: 100");
    let place = Place::new(&sweep);
    let parent = place.start("run sweep.yaml");
    place.wait_for_steps(6);
    let worker = place.workers()[0];
    signal(worker, Signal::KILL);
    wait(|| !place.workers().contains(&worker));
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("killed by somebody else (signal 9)"), "{}", ended.err);
    assert_eq!((place.count("attempt_failed"), place.count("oom_policy_applied")), (1, 0));
    assert_eq!(place.curves(), undisturbed_of(&sweep).curves());
}
