//! The effect of signals on a run.

use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use crate::place::{Ended, Place, signal, small, wait};

const SWEEP: &str =
    small!("steps: 300\neval_every: 150\ngrid: {lr: [1e-3, 1e-4]}\nrun: {jobs: 1, checkpoint_every: 5}\n");

#[test]
fn sigterm_stops_a_run_like_ctrl_c() {
    let place = Place::new(SWEEP);
    let parent = place.start("run sweep.yaml");
    place.wait_for_steps(6);
    signal(parent.id() as i32, Signal::TERM);
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{}", ended.err);
    assert!(ended.err.contains("Run the same command again to continue"), "{}", ended.err);
    assert!(place.workers().is_empty());
    assert_eq!((place.count("attempt_interrupted"), place.count("attempt_failed")), (1, 0));
    place.expect(0, "run sweep.yaml");
    assert_eq!(place.count("trial_finished"), 2);
}

#[test]
fn a_run_survives_its_terminal() {
    let place = Place::new(SWEEP);
    let mut parent = place.start("run sweep.yaml");
    place.wait_for_steps(1);
    // Nothing reads the pipe any more, so every later write fails.
    drop((parent.stdout.take(), parent.stderr.take()));
    signal(parent.id() as i32, Signal::HUP);
    assert_eq!(parent.wait().unwrap().code(), Some(0));
    assert_eq!(place.count("trial_finished"), 2);
    assert!(place.path("results/sweep/report/index.html").is_file());
}

/// Before the first trial starts, a closed terminal is no reason to end either. A terminal sends the signal to the whole group of processes.
#[test]
#[cfg(target_os = "linux")]
fn a_run_survives_its_terminal_while_it_plans() {
    use std::os::unix::process::CommandExt as _;

    let place = Place::new(SWEEP);
    let pipe = std::process::Stdio::piped;
    let mut parent = place.command("run sweep.yaml").process_group(0).stdout(pipe()).stderr(pipe()).spawn().unwrap();
    drop((parent.stdout.take(), parent.stderr.take()));
    let pid = parent.id() as i32;
    let has_begun = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        u64::from_str_radix(blocked.trim(), 16).unwrap() & 1 == 1
    };
    wait(has_begun);
    let has_started = || place.path("results/sweep/trials").exists();
    assert!(!has_started());
    wait(|| {
        rustix::process::kill_process_group(rustix::process::Pid::from_raw(pid).unwrap(), Signal::HUP).unwrap();
        has_started()
    });
    assert_eq!(parent.wait().unwrap().code(), Some(0));
    assert_eq!(place.count("trial_finished"), 2);
}

/// A worker that does not react gets 1.5 seconds after the first Ctrl-C, and none after the second.
#[test]
fn a_second_ctrl_c_stops_at_once() {
    // A busy machine may be slow once, but not five times.
    assert!((0..5).any(|_| second_ctrl_c() < Duration::from_millis(1200)), "the second Ctrl-C makes no difference");
}

/// From the second Ctrl-C to the end of the worker.
fn second_ctrl_c() -> Duration {
    let place = Place::new(SWEEP);
    let parent = place.start("run sweep.yaml");
    let pid = parent.id() as i32;
    place.wait_for_steps(6);
    let worker = place.workers()[0];
    signal(worker, Signal::STOP);
    signal(pid, Signal::INT);
    sleep(Duration::from_millis(100));
    signal(pid, Signal::INT);
    let took = wait(|| place.workers().is_empty());
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{}", ended.err);
    assert_eq!(place.events().last().unwrap(), "sweep_interrupted");
    place.expect(0, "run sweep.yaml");
    assert_eq!(place.count("trial_finished"), 2);
    took
}

#[test]
fn a_live_view_without_a_terminal_continues_as_lines() {
    let place = Place::new(SWEEP);
    let parent = place.start("run sweep.yaml --progress bar");
    place.wait_for_steps(1);
    signal(parent.id() as i32, Signal::HUP);
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("[2/2]  "), "{}", ended.err);
}

/// On a file system without locks, a second run takes the place of one that was stopped. The first notices that when it
/// continues, and writes nothing.
#[test]
#[cfg(feature = "faults")]
fn a_run_that_was_stopped_gives_way_to_its_successor() {
    let place = Place::new(SWEEP);
    let run = || {
        let mut command = place.command("run sweep.yaml");
        command
            .env("PLATEAU_FAULTS", "flock=0")
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        command
    };
    let first = run().spawn().unwrap();
    place.wait_for_steps(6);
    signal(first.id() as i32, Signal::STOP);
    let second = Ended::new(run().output().unwrap());
    assert_eq!(second.code, 0, "{}", second.err);
    let files = || (place.read("results/sweep/journal.jsonl"), place.read("results/sweep/trials.csv"), place.curves());
    let before = files();
    signal(first.id() as i32, Signal::CONT);
    let ended = Ended::new(first.wait_with_output().unwrap());
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(ended.err.contains(".lock is in use by another process"), "{}", ended.err);
    assert_eq!(files(), before);
    assert_eq!((place.count("trial_finished"), place.count("sweep_closed")), (2, 1));
}
